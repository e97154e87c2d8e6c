/* Golden files and candidates as they are read: what an index says, and what is wrong with it. */
#include "golden/judging.h"
#include "golden/record.h"
#include "io/file.h"
#include "io/npy.h"

static const int64_t INTS[3] = {0, 1, 3};

static vv_status open_with(vv_golden *g, const char *index, const char *format, vv_error *why)
{
    const char *const meta[] = {
        "versavit_golden", format, "index", index, "config", "{\"spatial_merge_size\":2}", NULL};
    const jd_tensor x[] = {jd_twelve(JD_KEY, JD_R),
                           jd_twelve("u1/vision/alt/a", JD_R),
                           {"u1/vision/act/top", 1, {3}, NULL, INTS},
                           {"u1/vision/in/grid_thw", 2, {1, 3}, NULL, (const int64_t[3]){1, 2, 4}}};
    jd_write(vvt_path("ref"), x, 4, meta + (format ? 0 : 2));
    return vv_golden_open(g, vvt_path("ref"), why);
}

START_TEST(fields)
{
    vv_golden g;
    const char *index =
        "[{\"key\":\"u1/vision/act/"
        "a\",\"class\":\"CHAIN\",\"required\":false,\"output\":true,\"floor\":1e-7,\"local\":2e-7,"
        "\"bands\":{\"tf32\":[1e-4,2e-4],\"bf16\":[1e-3,3e-3]},\"local_bands\":{\"fp16\":[0,5e-4]},\"scale\":0.5,"
        "\"alternatives\":[\"u1/vision/alt/a\"]},"
        "{\"key\":\"u1/vision/act/top\",\"class\":\"DISCRETE\",\"of\":\"u1/vision/act/a\",\"rule\":\"argmax\"},"
        "{\"key\":\"u1/vision/in/grid_thw\",\"class\":\"EXACT\"}]";
    VVT_OK(open_with(&g, index, "2", err));
    ck_assert_int_eq(g.n, 3);
    const vv_golden_entry *e = vv_golden_find(&g, JD_KEY);
    ck_assert(e == &g.entry[0] && e->kind == VV_KIND_ACT && e->class == VV_CHAIN && !e->required && e->output);
    ck_assert_str_eq(e->name, "a");
    ck_assert(e->task_n == 9 && !strncmp(e->task, "u1/vision", 9));
    ck_assert_double_eq(e->band[0][VV_AS_FLOAT].hi, 1e-7);
    ck_assert_double_eq(e->band[1][VV_AS_FLOAT].hi, 2e-7);
    ck_assert_double_eq(e->band[0][VV_AS_TF32].lo, 1e-4);
    ck_assert_double_eq(e->band[0][VV_AS_BF16].hi, 3e-3);
    ck_assert_double_eq(e->band[0][VV_AS_FP16].hi, 0);
    ck_assert_double_eq(e->band[1][VV_AS_FP16].hi, 5e-4);
    ck_assert_double_eq(e->scale, 0.5);
    ck_assert_int_eq((int)json_array_size(e->alternatives), 1);
    ck_assert(g.entry[1].class == VV_DISCRETE && g.entry[1].rule == VV_RULE_ARGMAX && g.entry[1].required);
    ck_assert(g.entry[2].class == VV_EXACT && g.entry[2].kind == VV_KIND_IN);
    int64_t *order = NULL; /* 2 x 4 patches: two blocks of 2 x 2 */
    static const int64_t want[8] = {0, 1, 4, 5, 2, 3, 6, 7};
    VVT_OK(vv_golden_raster(&order, &g, 8, err));
    ck_assert_mem_eq(order, want, sizeof want);
    free(order);
    VVT_OK(vv_golden_raster(&order, &g, 12, err));
    ck_assert_ptr_null(order);
    vv_golden_close(&g);
}
END_TEST

START_TEST(formats)
{
    vv_golden g;
    vv_error why = {0};
    vvt_expect_error(&why, open_with(&g, "[]", "1", &why), VV_FILE, "ref", "versavit_golden", "2", "\"1\"",
                     (char *)NULL);
    why = (vv_error){0};
    vvt_expect_error(&why, open_with(&g, "[]", "3", &why), VV_FILE, "ref", "\"3\"", (char *)NULL);
    jd_candidate("ref", &(jd_tensor){"any/name", 2, {3, 4}, JD_R, NULL}, 1); /* no golden file at all */
    VVT_OK(vv_golden_open(&g, vvt_path("ref"), err));
    ck_assert(g.plain && g.n == 1 && g.entry[0].class == VV_CHAIN && g.entry[0].required &&
              g.entry[0].kind == VV_KIND_OTHER);
    vv_golden_close(&g);
    why = (vv_error){0};
    jd_write(vvt_path("ref"), &(jd_tensor){JD_KEY, 2, {3, 4}, JD_R, NULL}, 1,
             (const char *const[]){"versavit_golden", "2", NULL});
    vvt_expect_error(&why, vv_golden_open(&g, vvt_path("ref"), &why), VV_FILE, "ref", "index", "none", (char *)NULL);
}
END_TEST

START_TEST(damaged)
{
#define A "\"key\":\"u1/vision/act/a\""
    static const struct {
        const char *index, *word, *other;
    } bad[] = {
        {"", "index", "JSON"},
        {"{}", "index", "list"},
        {"[{" A "}", "index", "JSON"},
        {"[{" A "}] x", "index", "JSON"},
        {"[{" A "," A "}]", "index", "JSON"},
        {"[1]", "key", "expected"},
        {"[{}]", "key", "expected"},
        {"[{\"key\":7}]", "key", "7"},
        {"[{\"key\":\"u1/vision/act/z\"}]", "act/z", "not in the file"},
        {"[{\"key\":\"a\"}]", "\"a\"", "u<update>"},
        {"[{\"key\":\"u1/vision/guess/a\"}]", "guess", "u<update>"},
        {"[{" A "},{" A "}]", "act/a", "twice"},
        {"[{" A ",\"class\":3}]", "act/a", "class"},
        {"[{" A ",\"class\":\"ROUGH\"}]", "act/a", "ROUGH"},
        {"[{" A ",\"flour\":1}]", "act/a", "flour"},
        {"[{" A ",\"required\":\"yes\"}]", "act/a", "required"},
        {"[{" A ",\"floor\":-1}]", "act/a", "floor"},
        {"[{" A ",\"floor\":\"1e-7\"}]", "act/a", "floor"},
        {"[{" A ",\"local\":null,\"scale\":-2}]", "act/a", "scale"},
        {"[{" A ",\"bands\":[]}]", "act/a", "bands"},
        {"[{" A ",\"bands\":{\"fp8\":[0,1]}}]", "act/a", "fp8"},
        {"[{" A ",\"bands\":{\"float\":[0,1]}}]", "act/a", "float"},
        {"[{" A ",\"bands\":{\"tf32\":[2,1]}}]", "tf32", "lo <= hi"},
        {"[{" A ",\"bands\":{\"tf32\":[1]}}]", "tf32", "lo <= hi"},
        {"[{" A ",\"local_bands\":{\"tf32\":[\"1\",2]}}]", "local_bands", "lo <= hi"},
        {"[{" A ",\"of\":\"u1/vision/act/a\"}]", "act/a", "rule"},
        {"[{" A ",\"of\":\"u1/vision/act/a\",\"rule\":\"sign\"}]", "act/a", "DISCRETE"},
        {"[{" A ",\"class\":\"DISCRETE\",\"of\":\"u1/vision/act/a\",\"rule\":\"dice\"}]", "act/a", "dice"},
        {"[{" A ",\"class\":\"DISCRETE\",\"of\":\"u1/vision/act/z\",\"rule\":\"sign\"}]", "act/z", "not in the file"},
        {"[{" A ",\"class\":\"DISCRETE\",\"of\":\"u1/vision/act/top\",\"rule\":\"sign\"}]", "of", "12"},
        {"[{" A ",\"alternatives\":[\"u1/vision/alt/z\"]}]", "alternatives[0]", "12"},
        {"[{" A ",\"alternatives\":[\"u1/vision/act/top\"]}]", "alternatives[0]", "12"},
        {"[{" A ",\"sample\":12}]", "sample", "4096"},
        {"[{" A ",\"sample\":4096}]", "shape", "expected"},
        {"[{" A ",\"sample\":4096,\"shape\":[64,64],\"rms\":1}]", "sample", "12"}};
#undef A
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vv_golden g;
        vv_error why = {0};
        vvt_expect_error(&why, open_with(&g, bad[i].index, "2", &why), VV_FILE, "ref", bad[i].word, bad[i].other,
                         (char *)NULL);
        ck_assert_ptr_null(g.st);
    }
}
END_TEST

/* ---- candidates ---------------------------------------------------------------------------------------------------------- */
static void expect_values(const vv_candidate *c, const char *key, const double *want, int64_t n)
{
    double *v = NULL;
    int64_t same = 0;
    const vv_candidate_tensor *t = vv_candidate_find(c, key, &same);
    ck_assert_msg(t != NULL, "%s: no %s", c->path, key);
    ck_assert_int_eq(same, 1);
    ck_assert_int_eq(t->e.n, n);
    VVT_OK(vv_candidate_read(&v, c, t, err));
    ck_assert_mem_eq(v, want, (size_t)n * sizeof *v);
    free(v);
}

START_TEST(folders)
{
    static const float f[3] = {1.5f, -2, 3};
    static const double d[3] = {1.5, -2, 3}, whole[3] = {0, 1, 3};
    static const uint16_t half[3] = {0x3e00, 0xc000, 0x4200};
    static const int64_t three[1] = {3};
    vv_candidate c;
    const char *const inner[] = {"npy", "npy/u1", "npy/u1/vision", "npy/u1/vision/act"};
    for (int i = 0; i < 4; i++) VVT_OK(vv_dir_make(vvt_path(inner[i]), err));
    VVT_OK(vv_npy_write(vvt_path("npy/u1/vision/act/a.npy"), VV_DT_F32, 1, three, f, err));
    VVT_OK(vv_npy_write(vvt_path("npy/u1/vision/act/b.c#d.npy"), VV_DT_F64, 1, three, d, err));
    VVT_OK(vv_npy_write(vvt_path("npy/u1/vision/half.npy"), VV_DT_F16, 1, three, half, err));
    VVT_OK(vv_npy_write(vvt_path("npy/top.npy"), VV_DT_I64, 1, three, INTS, err));
    vvt_write("npy/notes.txt", "no tensor", 9);
    VVT_OK(vv_candidate_open(&c, vvt_path("npy"), err));
    ck_assert_int_eq(c.n, 4);
    expect_values(&c, "u1/vision/act/a", d, 3);
    expect_values(&c, "u1/vision/act/b.c#d", d, 3);
    expect_values(&c, "u1/vision/half", d, 3);
    expect_values(&c, "top", whole, 3);
    ck_assert_ptr_null(vv_candidate_find(&c, "notes", NULL));
    ck_assert_ptr_null(vv_candidate_metadata(&c, "precision"));
    vv_candidate_close(&c);
    vv_error why = {0};
    vvt_write("npy/u1/bad.npy", "no array", 8);
    vvt_expect_error(&why, vv_candidate_open(&c, vvt_path("npy"), &why), VV_FILE, "bad.npy", (char *)NULL);
    VVT_OK(vv_dir_make(vvt_path("empty"), err));
    why = (vv_error){0};
    vvt_expect_error(&why, vv_candidate_open(&c, vvt_path("empty"), &why), VV_FILE, "empty", "none", (char *)NULL);
    jd_candidate("empty/golden.safetensors", &(jd_tensor){"u1/x", 1, {3}, d, NULL}, 1);
    VVT_OK(vv_candidate_open(&c, vvt_path("empty"), err));
    expect_values(&c, "u1/x", d, 3);
    vv_candidate_close(&c);
}
END_TEST

/* a stored member named "t.npy" of a .npz, twice when asked: numpy warns, and keeps both */
static size_t put16(unsigned char *p, unsigned v)
{
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
    return 2;
}
static size_t put32(unsigned char *p, unsigned long v)
{
    (void)put16(p, (unsigned)(v & 0xffff));
    return put16(p + 2, (unsigned)(v >> 16)) + 2;
}
static unsigned long crc32_of(const unsigned char *p, size_t n)
{
    unsigned long c = 0xffffffffUL;
    for (size_t i = 0; i < n; i++) {
        c ^= p[i];
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320UL ^ c >> 1 : c >> 1;
    }
    return c ^ 0xffffffffUL;
}
static size_t zip_head(unsigned char *p, int central, const char *name, unsigned long crc, size_t bytes, size_t offset)
{
    const size_t n = strlen(name);
    unsigned char *q = p;
    q += put32(q, central ? 0x02014b50 : 0x04034b50);
    if (central) q += put16(q, 20);
    q += put16(q, 20);
    for (int i = 0; i < 4; i++)
        q += put16(q, i == 3 ? 0x21 : 0); /* flags, stored, time, date: the first of January 1980 */
    q += put32(q, crc);
    q += put32(q, bytes);
    q += put32(q, bytes);
    q += put16(q, (unsigned)n);
    q += put16(q, 0);
    if (central) {
        for (int i = 0; i < 3; i++) q += put16(q, 0);
        q += put32(q, 0);
        q += put32(q, offset);
    }
    memcpy(q, name, n);
    return (size_t)(q - p) + n;
}

static const char *write_npz(const char *name, const char *inner, int wrong_crc, size_t claimed)
{
    unsigned char z[2048];
    vv_map m;
    static const double d[3] = {1.5, -2, 3};
    VVT_OK(vv_npy_write(vvt_path("one.npy"), VV_DT_F64, 1, (const int64_t[1]){3}, d, err));
    VVT_OK(vv_map_open(&m, vvt_path("one.npy"), err));
    const size_t n = claimed ? claimed : (size_t)m.bytes;
    const unsigned long crc = crc32_of(m.data, (size_t)m.bytes) ^ (wrong_crc ? 1UL : 0UL);
    size_t at = zip_head(z, 0, inner, crc, n, 0);
    memcpy(z + at, m.data, (size_t)m.bytes);
    at += (size_t)m.bytes;
    const size_t directory = at;
    at += zip_head(z + at, 1, inner, crc, n, 0);
    const size_t end = at;
    at += put32(z + at, 0x06054b50);
    at += put32(z + at, 0);
    at += put16(z + at, 1);
    at += put16(z + at, 1);
    at += put32(z + at, end - directory);
    at += put32(z + at, directory);
    at += put16(z + at, 0);
    vv_map_close(&m);
    return vvt_write(name, z, at);
}

START_TEST(archives)
{
    static const double d[3] = {1.5, -2, 3};
    vv_candidate c;
    VVT_OK(vv_candidate_open(&c, write_npz("a.npz", "u1/vision/act/a.npy", 0, 0), err));
    ck_assert_int_eq(c.n, 1);
    expect_values(&c, "u1/vision/act/a", d, 3);
    vv_candidate_close(&c);
    vv_error why = {0};
    vvt_expect_error(&why, vv_candidate_open(&c, write_npz("a.npz", "u1/a.npy", 1, 0), &why), VV_FILE, "a.npz",
                     "u1/a.npy", "unpacked", (char *)NULL);
    why = (vv_error){0};
    vvt_expect_error(&why, vv_candidate_open(&c, write_npz("a.npz", "u1/a.npy", 0, (size_t)1 << 30), &why), VV_FILE,
                     "a.npz", (char *)NULL);
    why = (vv_error){0};
    vvt_expect_error(&why, vv_candidate_open(&c, vvt_write("a.npz", "no archive", 10), &why), VV_FILE, "a.npz",
                     "archive", (char *)NULL);
    why = (vv_error){0};
    vvt_expect_error(&why, vv_candidate_open(&c, vvt_path("none.npz"), &why), VV_FILE, "none.npz", (char *)NULL);
    why = (vv_error){0};
    vvt_expect_error(&why, vv_candidate_open(&c, vvt_path("none"), &why), VV_FILE, "none", (char *)NULL);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("index", &tc);
    tcase_add_test(tc, fields);
    tcase_add_test(tc, formats);
    tcase_add_test(tc, damaged);
    tcase_add_test(tc, folders);
    tcase_add_test(tc, archives);
    return s;
}
VVT_MAIN(suite)
