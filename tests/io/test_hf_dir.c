/* Hugging Face folders: one file, shards with an index, and saving both. */
#include "vvt.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "io/file.h"
#include "io/hf_dir.h"

#define BAD(call, status, ...)                                                                                         \
    do {                                                                                                               \
        vv_error e = {0};                                                                                              \
        const vv_status st_ = (call);                                                                                  \
        vvt_expect_error(&e, st_, status, __VA_ARGS__, (char *)NULL);                                                  \
    } while (0)

static char last_warning[600];
static int warnings;

static void listen(void *ctx, const char *what, int64_t done, int64_t total)
{
    (void)ctx, (void)done;
    if (total) return;
    warnings++;
    snprintf(last_warning, sizeof last_warning, "%s", what);
}

/* dir/name below the temporary folder; made[] keeps them apart from vvt_path's few buffers. */
static const char *fresh_dir(void)
{
    static char dir[1000];
    static int k;
    snprintf(dir, sizeof dir, "%s/m%d", vvt_tmpdir(), k++);
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    warnings = 0;
    last_warning[0] = 0;
    vv_listen(listen, NULL);
    return dir;
}

static const char *in(const char *dir, const char *name)
{
    static char path[4][1200];
    static int k;
    k = (k + 1) % 4;
    snprintf(path[k], sizeof path[k], "%s/%s", dir, name);
    return path[k];
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    fclose(f);
}

/* A file with one-element U8 tensors, named by the letters, each holding its letter. */
static void write_letters(const char *path, const char *letters)
{
    vv_st_decl d[8] = {{0}};
    char names[8][2];
    const int n = (int)strlen(letters);
    vv_stw *w;
    for (int i = 0; i < n; i++) {
        names[i][0] = letters[i], names[i][1] = 0;
        d[i] = (vv_st_decl){names[i], VV_DT_U8, 1, {1}};
    }
    VVT_OK(vv_stw_open(&w, path, d, n, NULL, 1, err));
    for (int i = 0; i < n; i++) VVT_OK(vv_stw_write(w, i, &letters[i], err));
    VVT_OK(vv_stw_commit(w, err));
}

static int files_in(const char *dir)
{
    int n = 0;
    DIR *d = opendir(dir);
    if (!d) return -1;
    while (readdir(d)) n++;
    closedir(d);
    return n - 2;
}

/* ---- reading --------------------------------------------------------------------------------------------------- */

START_TEST(single)
{
    const char *dir = fresh_dir();
    const vv_st *file = NULL;
    vv_weights *w;
    write_letters(in(dir, "model.safetensors"), "cab");
    for (int k = 0; k < 2; k++) { /* the folder, then the file itself */
        const char *path = k ? in(dir, "model.safetensors") : dir;
        VVT_OK(vv_weights_open(&w, path, err));
        ck_assert_str_eq(vv_weights_path(w), path);
        ck_assert_int_eq(vv_weights_count(w), 3);
        ck_assert_str_eq(vv_weights_at(w, 0, &file)->name, "c");
        ck_assert_ptr_nonnull(strstr(vv_st_path(file), "model.safetensors"));
        ck_assert_int_eq(vv_weights_find(w, "b", NULL)->data[0], 'b');
        ck_assert_ptr_null(vv_weights_find(w, "d", NULL));
        ck_assert_ptr_null(vv_weights_at(w, 3, NULL));
        ck_assert_ptr_null(vv_weights_at(w, -1, NULL));
        vv_weights_close(w);
    }
    vv_weights_close(NULL);
    ck_assert_int_eq(warnings, 0);
}
END_TEST

#define MAP(text) "{\"metadata\":{\"total_size\":4},\"weight_map\":{" text "}}"

START_TEST(shards)
{
    const char *dir = fresh_dir();
    const vv_st *file;
    vv_weights *w;
    write_letters(in(dir, "one.safetensors"), "ab");
    write_letters(in(dir, "two.safetensors"), "dc");
    write_text(
        in(dir, "model.safetensors.index.json"),
        MAP("\"c\":\"two.safetensors\",\"a\":\"one.safetensors\",\"b\":\"one.safetensors\",\"d\":\"two.safetensors\""));
    VVT_OK(vv_weights_open(&w, dir, err));
    ck_assert_int_eq(vv_weights_count(w), 4);
    for (int i = 0; i < 4; i++) ck_assert_int_eq(vv_weights_at(w, i, &file)->name[0], "dcab"[i]);
    for (int i = 0; i < 4; i++) {
        const char name[2] = {"abcd"[i], 0};
        const vv_st_entry *e = vv_weights_find(w, name, &file);
        ck_assert_int_eq(e->data[0], name[0]);
        ck_assert_ptr_nonnull(strstr(vv_st_path(file), i < 2 ? "one" : "two"));
    }
    ck_assert_int_eq(warnings, 0);
    vv_weights_close(w);
}
END_TEST

START_TEST(warnings_only)
{
    const char *dir = fresh_dir();
    vv_weights *w;
    write_letters(in(dir, "one.safetensors"), "abx");
    write_letters(in(dir, "two.safetensors"), "ac");
    const char *index = in(dir, "model.safetensors.index.json");
    write_text(index, "{\"metadata\":{\"total_size\":3.0},\"weight_map\":{\"a\":\"two.safetensors\",\"b\":"
                      "\"one.safetensors\",\"c\":\"two.safetensors\"}}");
    VVT_OK(vv_weights_open(&w, dir, err));
    ck_assert_int_eq(vv_weights_count(w), 3); /* a from two; a and x of one are not visible */
    ck_assert_ptr_null(vv_weights_find(w, "x", NULL));
    ck_assert_int_eq(warnings, 1);
    ck_assert_ptr_nonnull(strstr(last_warning, "2 tensors"));
    ck_assert_ptr_nonnull(strstr(last_warning, "one.safetensors"));
    vv_weights_close(w);

    write_text(
        index,
        "{\"metadata\":{\"total_size\":99},\"weight_map\":{\"c\":\"two.safetensors\",\"a\":\"two.safetensors\"}}");
    warnings = 0;
    VVT_OK(vv_weights_open(&w, dir, err));
    ck_assert_int_eq(warnings, 1);
    ck_assert_ptr_nonnull(strstr(last_warning, "expected 2"));
    ck_assert_ptr_nonnull(strstr(last_warning, "found 99"));
    vv_weights_close(w);

    write_letters(in(dir, "model.safetensors"), "q");
    warnings = 0;
    VVT_OK(vv_weights_open(&w, dir, err));
    ck_assert_int_eq(warnings, 1);
    ck_assert_ptr_nonnull(vv_weights_find(w, "q", NULL));
    vv_weights_close(w);
}
END_TEST

static const struct {
    const char *index;
    const char *words[3];
} bad[] = {
    {"", {"index.json", "JSON"}},
    {"[]", {"index.json", "object"}},
    {"{}", {"index.json", "weight_map", "nothing"}},
    {"{\"weight_map\":null}", {"weight_map", "null"}},
    {"{\"weight_map\":[]}", {"weight_map", "an object", "array"}},
    {"{\"weight_map\":{\"a\":1}}", {"weight_map", "'a'", "integer 1"}},
    {"{\"weight_map\":{\"a\":null}}", {"'a'", "file name", "null"}},
    {"{\"weight_map\":{\"a\":\"\"}}", {"'a'", "file name"}},
    {"{\"weight_map\":{\"a\":\"sub/one.safetensors\"}}", {"'a'", "same folder", "sub/one"}},
    {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", {"'a'", "same folder", "/etc/passwd"}},
    {"{\"weight_map\":{\"a\":\"../one.safetensors\"}}", {"'a'", "same folder", "../one"}},
    {"{\"weight_map\":{\"a\":\"..\"}}", {"'a'", "same folder"}},
    {"{\"weight_map\":{\"a\":\"x\\\\one\"}}", {"'a'", "same folder"}},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"a\":\"one.safetensors\"}}", {"duplicate"}},
    {"{\"weight_map\":{\"a\":\"three.safetensors\"}}", {"three.safetensors", "No such file", "index.json"}},
    {"{\"weight_map\":{\"z\":\"one.safetensors\"}}", {"one.safetensors", "'z'", "found none"}},
    {"{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"broken.safetensors\"}}", {"broken.safetensors", "8 bytes"}},
    {"{\"weight_map\":{\"a\":\".\"}}", {"folder"}},
};

START_TEST(refused)
{
    const char *dir = fresh_dir();
    vv_weights *w = (vv_weights *)1;
    vv_error e = {0};
    write_letters(in(dir, "one.safetensors"), "ab");
    write_text(in(dir, "broken.safetensors"), "xyz");
    write_text(in(dir, "model.safetensors.index.json"), bad[_i].index);
    const vv_status s = vv_weights_open(&w, dir, &e);
    for (int k = 0; k < 3 && bad[_i].words[k]; k++) vvt_expect_error(&e, s, VV_FILE, bad[_i].words[k], (char *)NULL);
    ck_assert_ptr_null(w);
}
END_TEST

START_TEST(nothing_there)
{
    const char *dir = fresh_dir();
    vv_weights *w;
    BAD(vv_weights_open(&w, dir, &e), VV_FILE, dir, "model.safetensors.index.json", "neither");
    BAD(vv_weights_open(&w, in(dir, "no"), &e), VV_FILE, "/no", "No such file");
    write_text(in(dir, "model.safetensors"), "junk");
    BAD(vv_weights_open(&w, dir, &e), VV_FILE, "model.safetensors", "8 bytes");
}
END_TEST

/* ---- saving ---------------------------------------------------------------------------------------------------- */

/* Tensor i holds i, i+0.5, ...; a failing callback at tensor `fail_at`. */
typedef struct {
    const vv_st_decl *d;
    int64_t fail_at, calls;
} source;

static vv_status get(void *ctx, int64_t i, vv_real *dst, vv_error *err)
{
    source *s = ctx;
    ck_assert_int_eq(i, s->calls++);
    if (i == s->fail_at) return vv_fail(err, VV_NONFINITE, "tensor %d is not finite", (int)i);
    for (int64_t k = 0; k < s->d[i].shape[0]; k++) dst[k] = (vv_real)i + (vv_real)k / 2;
    return VV_OK;
}

static const vv_st_decl decls[5] = {{"e", VV_DT_F32, 1, {4}},
                                    {"d", VV_DT_BF16, 1, {8}},
                                    {"c", VV_DT_F32, 1, {20}}, /* larger than a shard of 40 bytes */
                                    {"b", VV_DT_F64, 1, {1}},
                                    {"a", VV_DT_F16, 1, {3}}};
enum { TOTAL = 16 + 16 + 80 + 8 + 6 };

static vv_status save(const char *dir, int64_t limit, int64_t fail_at, vv_error *err)
{
    source s = {decls, fail_at, 0};
    return vv_weights_save(dir, decls, 5, limit, get, &s, err);
}

static void expect_saved(const char *dir)
{
    vv_weights *w;
    VVT_OK(vv_weights_open(&w, dir, err));
    ck_assert_int_eq(vv_weights_count(w), 5);
    for (int i = 0; i < 5; i++) {
        const vv_st *file = NULL;
        const vv_st_entry *e = vv_weights_find(w, decls[i].name, &file);
        double x[20];
        ck_assert(e && e->n == decls[i].shape[0] && e->dtype == decls[i].dtype);
        VVT_OK(vv_st_read_f64(file, e, x, err));
        for (int64_t k = 0; k < e->n; k++) ck_assert(x[k] == (double)i + (double)k / 2);
    }
    vv_weights_close(w);
    ck_assert_int_eq(warnings, 0);
}

START_TEST(save_single)
{
    const char *dir = fresh_dir();
    VVT_OK(save(dir, 0, -1, err));
    ck_assert_int_eq(files_in(dir), 1);
    expect_saved(dir);
    VVT_OK(save(dir, TOTAL, -1, err)); /* exactly fitting, over the old one */
    ck_assert_int_eq(files_in(dir), 1);
    expect_saved(dir);
    VVT_OK(save(in(dir, "new"), 0, -1, err)); /* the folder is made */
    ck_assert_int_eq(files_in(in(dir, "new")), 1);
    unlink(in(dir, "new/model.safetensors"));
    rmdir(in(dir, "new"));
}
END_TEST

START_TEST(save_shards)
{
    const char *dir = fresh_dir();
    json_t *j;
    VVT_OK(save(dir, 40, -1, err)); /* [e d] [c] [b a] */
    ck_assert_int_eq(files_in(dir), 4);
    expect_saved(dir);
    const char *index = in(dir, "model.safetensors.index.json");
    VVT_OK(vv_json_load(&j, index, 10000, err));
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(j, "metadata"), "total_size")), TOTAL);
    static const char *const where[5] = {"model-00001-of-00003.safetensors", "model-00001-of-00003.safetensors",
                                         "model-00002-of-00003.safetensors", "model-00003-of-00003.safetensors",
                                         "model-00003-of-00003.safetensors"};
    for (int i = 0; i < 5; i++)
        ck_assert_str_eq(json_string_value(json_object_get(json_object_get(j, "weight_map"), decls[i].name)), where[i]);
    json_decref(j);
    VVT_OK(save(dir, TOTAL - 1, -1, err)); /* one byte too many: two shards */
    ck_assert_int_eq(access(in(dir, "model-00002-of-00002.safetensors"), F_OK), 0);
    expect_saved(dir);
}
END_TEST

START_TEST(the_other_form_is_removed)
{
    const char *dir = fresh_dir();
    VVT_OK(save(dir, 40, -1, err));
    VVT_OK(save(dir, 0, -1, err));
    ck_assert_int_ne(access(in(dir, "model.safetensors.index.json"), F_OK), 0);
    expect_saved(dir);
    VVT_OK(save(dir, 40, -1, err));
    ck_assert_int_ne(access(in(dir, "model.safetensors"), F_OK), 0);
    expect_saved(dir);
}
END_TEST

START_TEST(failures_leave_nothing)
{
    const char *dir = fresh_dir();
    const vv_st_decl twice[2] = {decls[0], decls[0]};
    const vv_st_decl negative[1] = {{"n", VV_DT_F32, 1, {-4}}};
    for (int64_t limit = 0; limit < 80; limit += 40) {
        BAD(save(dir, limit, 4, &e), VV_NONFINITE, "tensor 4");
        BAD(save(dir, limit, 0, &e), VV_NONFINITE, "tensor 0");
        ck_assert_int_eq(files_in(dir), 0);
    }
    for (int64_t limit = 0; limit < 40; limit += 16) { /* in one file, or in two shards */
        source s = {twice, -1, 0};
        BAD(vv_weights_save(dir, twice, 2, limit, get, &s, &e), VV_USAGE, "twice");
    }
    source s = {negative, -1, 0};
    BAD(vv_weights_save(dir, negative, 1, 0, get, &s, &e), VV_USAGE, "'n'", "impossible");
    ck_assert_int_eq(files_in(dir), 0);
    BAD(save(in(dir, "a/b"), 0, -1, &e), VV_FILE, "a/b", "folder");
    write_text(in(dir, "file"), "x");
    BAD(save(in(dir, "file"), 0, -1, &e), VV_FILE, "expected a folder");
}
END_TEST

START_TEST(too_many_shards)
{
    const char *dir = fresh_dir();
    vv_st_decl many[VV_OUT_MAX] = {{0}};
    char names[VV_OUT_MAX][8];
    for (int i = 0; i < VV_OUT_MAX; i++) {
        snprintf(names[i], sizeof names[i], "t%d", i);
        many[i] = (vv_st_decl){names[i], VV_DT_F32, 1, {1}};
    }
    source s = {many, -1, 0};
    BAD(vv_weights_save(dir, many, VV_OUT_MAX, 4, get, &s, &e), VV_USAGE, "shards", "found 128");
    s.calls = 0;
    VVT_OK(vv_weights_save(dir, many, VV_OUT_MAX - 8, 4, get, &s, err));
    ck_assert_int_eq(files_in(dir), VV_OUT_MAX - 8 + 1);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("hf_dir", &tc);
    tcase_add_test(tc, single);
    tcase_add_test(tc, shards);
    tcase_add_test(tc, warnings_only);
    tcase_add_loop_test(tc, refused, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_test(tc, nothing_there);
    tcase_add_test(tc, save_single);
    tcase_add_test(tc, save_shards);
    tcase_add_test(tc, the_other_form_is_removed);
    tcase_add_test(tc, failures_leave_nothing);
    tcase_add_test(tc, too_many_shards);
    return s;
}

VVT_MAIN(suite)
