#include "vvt.h"

#include <dirent.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/backend.h"

/* A backend that cannot start here (a GPU's without a GPU) is not judged. */
int vvt_no_backend(void)
{
    (void)vvb_get_info();
    const char *what = vvb_error();
    if (what) printf("skipped: %s\n", what);
    return what != NULL;
}

int vvt_run(Suite *s)
{
    SRunner *r = srunner_create(s);
    if (vvt_no_backend()) {
        srunner_free(r);
        return VVT_SKIPPED;
    }
    srunner_set_fork_status(r, CK_NOFORK);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r), run = srunner_ntests_run(r);
    srunner_free(r);
    if (run == 0) fprintf(stderr, "no test was run\n");
    return failed || run == 0;
}

Suite *vvt_suite(const char *name, TCase **tc)
{
    Suite *s = suite_create(name);
    *tc = tcase_create(name);
    tcase_set_timeout(*tc, 300);
    suite_add_tcase(s, *tc);
    return s;
}

static char dir[256];

static void remove_dir(void)
{
    DIR *d = opendir(dir);
    if (!d) return;
    for (struct dirent *e = readdir(d); e; e = readdir(d))
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..")) {
            char path[600];
            snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
            if (remove(path)) { /* a folder: one level is all that tests make */
                DIR *sub = opendir(path);
                for (struct dirent *f = sub ? readdir(sub) : NULL; f; f = readdir(sub)) {
                    char inner[900];
                    snprintf(inner, sizeof inner, "%s/%s", path, f->d_name);
                    if (f->d_name[0] != '.' || strlen(f->d_name) > 2) remove(inner);
                }
                if (sub) closedir(sub);
                remove(path);
            }
        }
    closedir(d);
    rmdir(dir);
}

const char *vvt_tmpdir(void)
{
    if (!dir[0]) {
        const char *base = getenv("TMPDIR");
        snprintf(dir, sizeof dir, "%s/vvt-XXXXXX", base ? base : "/tmp");
        ck_assert_ptr_nonnull(mkdtemp(dir));
        atexit(remove_dir);
    }
    return dir;
}

static const char *join(const char *folder, const char *name)
{
    static char buf[8][1024];
    static int k;
    k = (k + 1) % 8;
    snprintf(buf[k], sizeof buf[k], "%s/%s", folder, name);
    return buf[k];
}

const char *vvt_path(const char *name) { return join(vvt_tmpdir(), name); }

const char *vvt_root(const char *name)
{
    const char *root = getenv("VVT_ROOT");
    return join(root ? root : ".", name);
}

vv_real vvt_peek(const void *x, int64_t i)
{
    vv_real v = 0;
    vvb_download(&v, (const vv_real *)x + i, sizeof v);
    return v;
}

void vvt_poke(void *x, int64_t i, vv_real v) { vvb_upload((vv_real *)x + i, &v, sizeof v); }

const char *vvt_write(const char *name, const void *bytes, size_t n)
{
    const char *path = vvt_path(name);
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(bytes, 1, n, f), n);
    ck_assert_int_eq(fclose(f), 0);
    return path;
}

void vvt_expect_error(const vv_error *err, vv_status got, vv_status want, const char *word, ...)
{
    ck_assert_msg(got == want, "status %d, expected %d; message: %s", (int)got, (int)want, err->msg);
    ck_assert_int_eq(err->status, want);
    ck_assert_ptr_null(strchr(err->msg, '\n'));
    va_list ap;
    va_start(ap, word);
    for (const char *w = word; w; w = va_arg(ap, const char *))
        ck_assert_msg(strstr(err->msg, w) != NULL, "message lacks '%s': %s", w, err->msg);
    va_end(ap);
}
