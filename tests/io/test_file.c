/* Mapping files, and writing them all or not at all. */
#include "vvt.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/file.h"

#define BAD(call, status, ...)                                                                                         \
    do {                                                                                                               \
        vv_error e = {0};                                                                                              \
        const vv_status st = (call);                                                                                   \
        vvt_expect_error(&e, st, status, __VA_ARGS__, (char *)NULL);                                                   \
    } while (0)

/* Files in the folder whose name contains the word. */
static int count(const char *folder, const char *word)
{
    int n = 0;
    DIR *d = opendir(folder);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) n += strstr(e->d_name, word) != NULL;
    closedir(d);
    return n;
}

static void expect_content(const char *path, const char *text)
{
    vv_map m;
    VVT_OK(vv_map_open(&m, path, err));
    ck_assert_int_eq(m.bytes, (int64_t)strlen(text));
    ck_assert(!memcmp(m.data, text, strlen(text)));
    vv_map_close(&m);
}

START_TEST(map)
{
    vv_map m;
    expect_content(vvt_write("five", "hello", 5), "hello");
    VVT_OK(vv_map_open(&m, vvt_write("empty", "", 0), err));
    ck_assert_int_eq(m.bytes, 0);
    ck_assert_ptr_nonnull(m.data);
    vv_map_close(&m);
    vv_map_close(&m); /* twice is fine */
    BAD(vv_map_open(&m, vvt_path("nowhere"), &e), VV_FILE, "nowhere", "No such file");
    ck_assert_ptr_null(m.data);
    BAD(vv_map_open(&m, vvt_tmpdir(), &e), VV_FILE, vvt_tmpdir(), "folder");
    BAD(vv_map_open(&m, "/dev/null", &e), VV_FILE, "/dev/null", "regular file");
    ck_assert_int_eq(mkfifo(vvt_path("fifo"), 0600), 0);
    BAD(vv_map_open(&m, vvt_path("fifo"), &e), VV_FILE, "fifo", "regular file");
    if (geteuid() != 0) {
        const char *secret = vvt_write("secret", "x", 1);
        chmod(secret, 0);
        BAD(vv_map_open(&m, secret, &e), VV_FILE, "secret", "Permission denied");
    }
}
END_TEST

START_TEST(commit_and_abort)
{
    const char *path = vvt_path("out");
    vv_out *o;
    VVT_OK(vv_out_open(&o, path, err));
    VVT_OK(vv_out_write(o, "abc", 3, err));
    VVT_OK(vv_out_pwrite(o, "X", 1, 1, err));
    VVT_OK(vv_out_write(o, "def", 3, err));
    ck_assert_int_ne(access(path, F_OK), 0); /* nothing there before the commit */
    ck_assert_int_eq(count(vvt_tmpdir(), ".tmp"), 1);
    VVT_OK(vv_out_commit(o, err));
    expect_content(path, "aXcdef");
    ck_assert_int_eq(count(vvt_tmpdir(), ".tmp"), 0);

    VVT_OK(vv_out_open(&o, path, err)); /* an abort leaves the old content */
    VVT_OK(vv_out_write(o, "new", 3, err));
    vv_out_abort(o);
    expect_content(path, "aXcdef");
    ck_assert_int_eq(count(vvt_tmpdir(), ".tmp"), 0);
    vv_out_abort(NULL);

    vv_map old; /* a mapping survives the replacement of its file */
    VVT_OK(vv_map_open(&old, path, err));
    VVT_OK(vv_out_open(&o, path, err));
    VVT_OK(vv_out_write(o, "n", 1, err));
    VVT_OK(vv_out_sync(o, err));
    VVT_OK(vv_out_sync(o, err));
    VVT_OK(vv_out_commit(o, err));
    ck_assert(!memcmp(old.data, "aXcdef", 6));
    vv_map_close(&old);
    expect_content(path, "n");
}
END_TEST

START_TEST(relative_names)
{
    char before[1024];
    vv_out *o;
    ck_assert_ptr_nonnull(getcwd(before, sizeof before));
    ck_assert_int_eq(chdir(vvt_tmpdir()), 0);
    VVT_OK(vv_out_open(&o, "plain", err));
    VVT_OK(vv_out_commit(o, err));
    expect_content("plain", "");
    ck_assert_int_eq(chdir(before), 0);
}
END_TEST

START_TEST(links_are_replaced)
{
    const char *target = vvt_write("target", "keep", 4), *path = vvt_path("link");
    struct stat st;
    vv_out *o;
    ck_assert_int_eq(symlink(target, path), 0);
    VVT_OK(vv_out_open(&o, path, err));
    VVT_OK(vv_out_write(o, "new", 3, err));
    VVT_OK(vv_out_commit(o, err));
    expect_content(target, "keep");
    ck_assert_int_eq(lstat(path, &st), 0);
    ck_assert(S_ISREG(st.st_mode));
}
END_TEST

START_TEST(unwritable)
{
    vv_out *o;
    char name[5000];
    BAD(vv_out_open(&o, vvt_path("no/such/x"), &e), VV_FILE, "no/such/x", "cannot be written", "No such file");
    ck_assert_ptr_null(o);
    BAD(vv_out_open(&o, vvt_tmpdir(), &e), VV_FILE, "cannot be written", "folder");
    BAD(vv_out_open(&o, "/dev/null", &e), VV_FILE, "/dev/null", "device");
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    BAD(vv_out_open(&o, name, &e), VV_FILE, "xxx");
    if (geteuid() != 0) {
        ck_assert_int_eq(mkdir(vvt_path("locked"), 0500), 0);
        BAD(vv_out_open(&o, vvt_path("locked/x"), &e), VV_FILE, "locked/x", "Permission denied");
    }
    ck_assert_int_eq(mkdir(vvt_path("late"), 0700), 0); /* a folder that appears between open and commit */
    const char *path = vvt_path("late/d");
    VVT_OK(vv_out_open(&o, path, err));
    ck_assert_int_eq(mkdir(path, 0700), 0);
    BAD(vv_out_commit(o, &e), VV_FILE, "late/d", "cannot be written");
    ck_assert_int_eq(count(vvt_path("late"), ".tmp"), 0);
    rmdir(path);
}
END_TEST

START_TEST(full_disk)
{
    struct rlimit before, small;
    vv_out *o;
    char block[4096] = {0};
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = before;
    small.rlim_cur = 6000;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    vv_error e = {0};
    vv_status s = vv_out_open(&o, vvt_path("full"), &e);
    if (s == VV_OK) s = vv_out_write(o, block, sizeof block, &e);
    const vv_status first = s;
    if (s == VV_OK) s = vv_out_write(o, block, sizeof block, &e);
    vv_out_abort(o);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, handler);
    ck_assert_int_eq(first, VV_OK);
    vvt_expect_error(&e, s, VV_FILE, "full", "cannot be written", "too large", (char *)NULL);
    ck_assert_int_eq(count(vvt_tmpdir(), "full"), 0);
}
END_TEST

START_TEST(many_at_once)
{
    vv_out *o[VV_OUT_MAX], *more;
    for (int i = 0; i < VV_OUT_MAX; i++) VVT_OK(vv_out_open(&o[i], vvt_path("many"), err));
    BAD(vv_out_open(&more, vvt_path("many"), &e), VV_FILE, "many", "open files");
    ck_assert_int_eq(count(vvt_tmpdir(), ".tmp"), VV_OUT_MAX);
    vv_out_abort(o[5]); /* a place is free again */
    VVT_OK(vv_out_open(&o[5], vvt_path("many"), err));
    vv_unlink_temporaries();
    ck_assert_int_eq(count(vvt_tmpdir(), ".tmp"), 0);
    for (int i = 0; i < VV_OUT_MAX; i++) vv_out_abort(o[i]);
}
END_TEST

static void on_term(int sig)
{
    vv_unlink_temporaries();
    signal(sig, SIG_DFL);
    raise(sig);
}

START_TEST(signal_removes_temporaries)
{
    int pipes[2];
    char c;
    ck_assert_int_eq(mkdir(vvt_path("sig"), 0700), 0);
    ck_assert_int_eq(pipe(pipes), 0);
    const pid_t child = fork();
    if (child == 0) {
        vv_out *a, *b;
        signal(SIGTERM, on_term);
        if (vv_out_open(&a, vvt_path("sig/a"), NULL) || vv_out_open(&b, vvt_path("sig/b"), NULL)) _exit(9);
        if (vv_out_commit(a, NULL)) _exit(9);
        if (write(pipes[1], "r", 1) != 1) _exit(9);
        for (;;) pause();
    }
    ck_assert_int_eq(read(pipes[0], &c, 1), 1);
    ck_assert_int_eq(count(vvt_path("sig"), ".tmp"), 1);
    ck_assert_int_eq(kill(child, SIGTERM), 0);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    ck_assert_int_eq(count(vvt_path("sig"), ".tmp"), 0);
    ck_assert_int_eq(access(vvt_path("sig/a"), F_OK), 0); /* what was committed stays */
    close(pipes[0]);
    close(pipes[1]);
}
END_TEST

START_TEST(folders)
{
    VVT_OK(vv_dir_make(vvt_path("made"), err));
    VVT_OK(vv_dir_make(vvt_path("made"), err));
    VVT_OK(vv_dir_make(vvt_path("made/"), err));
    BAD(vv_dir_make(vvt_path("not/yet"), &e), VV_FILE, "not/yet", "No such file");
    BAD(vv_dir_make(vvt_write("afile", "", 0), &e), VV_FILE, "afile", "expected a folder");
    static const char *const joins[][3] = {{"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"/", "b", "/b"}, {"", "b", "b"}};
    for (int i = 0; i < 4; i++) {
        char *p = vv_path_join(joins[i][0], joins[i][1]);
        ck_assert_str_eq(p, joins[i][2]);
        free(p);
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("file", &tc);
    tcase_add_test(tc, map);
    tcase_add_test(tc, commit_and_abort);
    tcase_add_test(tc, relative_names);
    tcase_add_test(tc, links_are_replaced);
    tcase_add_test(tc, unwritable);
    tcase_add_test(tc, full_disk);
    tcase_add_test(tc, many_at_once);
    tcase_add_test(tc, signal_removes_temporaries);
    tcase_add_test(tc, folders);
    return s;
}

VVT_MAIN(suite)
