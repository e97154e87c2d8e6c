/* The npy reader against files built byte by byte here, and the writer against the reader. */
#include "vvt.h"

#include <unistd.h>

#include "io/npy.h"

#define BAD(call, status, ...)                                                                                         \
    do {                                                                                                               \
        vv_error e = {0};                                                                                              \
        const vv_status st_ = (call);                                                                                  \
        vvt_expect_error(&e, st_, status, __VA_ARGS__, (char *)NULL);                                                  \
    } while (0)

/* Magic, version, length, the dict and a newline, and n data bytes 1,2,3,... */
static const char *write_file(const char *name, int major, const char *dict, int n)
{
    unsigned char buf[2000] = "\x93NUMPY";
    const size_t base = major == 1 ? 10 : 12, length = strlen(dict) + 1;
    ck_assert(base + length + (size_t)n <= sizeof buf);
    buf[6] = (unsigned char)major;
    buf[7] = 0;
    for (size_t i = 8; i < base; i++) buf[i] = (unsigned char)(length >> 8 * (i - 8));
    memcpy(buf + base, dict, length);
    buf[base + length - 1] = '\n';
    for (int i = 0; i < n; i++) buf[base + length + (size_t)i] = (unsigned char)(i + 1);
    return vvt_write(name, buf, base + length + (size_t)n);
}

#define DICT(descr, order, shape) "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }"

/* ---- legal files ----------------------------------------------------------------------------------------------- */

static const struct {
    int major;
    const char *dict;
    vv_dtype dtype;
    int ndim;
    int64_t n;
} good[] = {
    {1, DICT("'<f4'", "False", "(2, 3)"), VV_DT_F32, 2, 6},
    {1, DICT("'<f8'", "False", "(2,)"), VV_DT_F64, 1, 2},
    {1, DICT("'<f2'", "False", "()"), VV_DT_F16, 0, 1},
    {1, DICT("'<i2'", "False", "(1,)"), VV_DT_I16, 1, 1},
    {1, DICT("'<i4'", "False", "(1,)"), VV_DT_I32, 1, 1},
    {1, DICT("'<i8'", "False", "(1,)"), VV_DT_I64, 1, 1},
    {1, DICT("'<u2'", "False", "(1,)"), VV_DT_U16, 1, 1},
    {1, DICT("'<u4'", "False", "(1,)"), VV_DT_U32, 1, 1},
    {1, DICT("'<u8'", "False", "(1,)"), VV_DT_U64, 1, 1},
    {1, DICT("'|u1'", "False", "(3,)"), VV_DT_U8, 1, 3},
    {1, DICT("'|i1'", "False", "(3,)"), VV_DT_I8, 1, 3},
    {1, DICT("'|b1'", "False", "(1,)"), VV_DT_BOOL, 1, 1},
    {2, DICT("'<f4'", "False", "(2, 3)"), VV_DT_F32, 2, 6},
    {3, DICT("'<f4'", "False", "(2, 3)"), VV_DT_F32, 2, 6},
    {1, DICT("'<f4'", "False", "(0, 3)"), VV_DT_F32, 2, 0},
    {1, DICT("'|u1'", "False", "(1, 1, 1, 1, 1, 1, 1, 2)"), VV_DT_U8, 8, 2},
    {1, "{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}", VV_DT_F32, 2, 6},
    {1, "  {\"descr\":\"<f4\",\"fortran_order\":False,\"shape\":(2,3,)}      ", VV_DT_F32, 2, 6},
    {1, DICT("'<f4'", "False", "(2L, 3L)"), VV_DT_F32, 2, 6},
    {1, DICT("\t'<f4'", "False", "( 2 , 3 )"), VV_DT_F32, 2, 6},
};

START_TEST(accepted)
{
    vv_npy npy;
    const int64_t bytes = good[_i].n * vv_dtype_size(good[_i].dtype);
    VVT_OK(vv_npy_open(&npy, write_file("good.npy", good[_i].major, good[_i].dict, (int)bytes), err));
    ck_assert(npy.e.dtype == good[_i].dtype && npy.e.ndim == good[_i].ndim && npy.e.n == good[_i].n);
    ck_assert_int_eq(npy.e.bytes, bytes);
    if (bytes) ck_assert_int_eq(npy.e.data[bytes - 1], bytes);
    if (vv_dtype_is_real(npy.e.dtype)) {
        double x[6];
        vv_real r[6];
        VVT_OK(vv_npy_read_f64(&npy, x, err));
        VVT_OK(vv_npy_read_real(&npy, r, err));
        if (npy.e.dtype == VV_DT_F32 && bytes) ck_assert(x[0] == 0x1.060402p-119 && (double)r[0] == x[0]);
    } else {
        int64_t x[3];
        VVT_OK(vv_npy_read_i64(&npy, x, err));
        ck_assert(x[0] % 256 == 1);
    }
    vv_npy_close(&npy);
    vv_npy_close(&npy); /* twice is fine */
}
END_TEST

/* Column order: element [i,j,k] of a shape (2, 3, 2) is the file's i + 2 j + 6 k. One axis, or none, has no order. */
START_TEST(columns)
{
    vv_npy npy;
    int64_t x[12];
    VVT_OK(vv_npy_open(&npy, write_file("columns.npy", 1, DICT("'|u1'", "True", "(2, 3, 2)"), 12), err));
    VVT_OK(vv_npy_read_i64(&npy, x, err));
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 2; k++) ck_assert_int_eq(x[(i * 3 + j) * 2 + k], 1 + i + 2 * j + 6 * k);
    vv_npy_close(&npy);
    ck_assert_ptr_null(npy.turned);
    VVT_OK(vv_npy_open(&npy, write_file("columns.npy", 1, DICT("'<f4'", "True", "(2, 3)"), 24), err));
    static const unsigned char second[4] = {9, 10, 11, 12};
    ck_assert(!memcmp(npy.e.data + 4, second, 4)); /* [0,1] is the file's third */
    vv_npy_close(&npy);
    VVT_OK(vv_npy_open(&npy, write_file("columns.npy", 1, DICT("'|u1'", "True", "(3,)"), 3), err));
    ck_assert(npy.e.data[0] == 1 && npy.e.data[2] == 3);
    vv_npy_close(&npy);
    VVT_OK(vv_npy_open(&npy, write_file("columns.npy", 1, DICT("'<f4'", "True", "(0, 3)"), 0), err));
    ck_assert(npy.e.n == 0);
    vv_npy_close(&npy);
}
END_TEST

/* ---- illegal files --------------------------------------------------------------------------------------------- */

static const struct {
    const char *dict;
    int n; /* data bytes */
    const char *words[3];
} bad[] = {
    /* the dict */
    {"", 0, {"expected a dict"}},
    {"x", 0, {"offset 10", "expected a dict", "\"x"}},
    {"[]", 0, {"expected a dict"}},
    {"()", 0, {"expected a dict"}},
    {"{", 0, {"the key", "its end"}},
    {"{}", 0, {"'descr'", "found none"}},
    {"{,}", 0, {"the key", "\",}"}},
    {"{'descr'}", 0, {"':'"}},
    {"{'descr' '<f4'}", 0, {"':'"}},
    {"{'descr': '<f4'}", 4, {"'fortran_order'", "found none"}},
    {"{'descr': '<f4', 'fortran_order': False}", 4, {"'shape'", "found none"}},
    {"{'fortran_order': False, 'shape': ()}", 4, {"'descr'", "found none"}},
    {"{'descr': '<f4', 'shape': ()}", 4, {"'fortran_order'", "found none"}},
    {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}", 4, {"every key once"}},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (), 'x': 1}", 4, {"the key", "'x'"}},
    {"{'Descr': '<f4', 'fortran_order': False, 'shape': ()}", 4, {"the key", "Descr"}},
    {"{'averyverylongkeyname': 1}", 4, {"the key"}},
    {"{'desc\\x72': '<f4', 'fortran_order': False, 'shape': ()}", 4, {"the key"}},
    {"{descr: '<f4', 'fortran_order': False, 'shape': ()}", 4, {"the key"}},
    {"{'descr\": '<f4'}", 4, {"the key"}},
    {"{'descr': '<f4' 'fortran_order': False, 'shape': ()}", 4, {"',' or '}'"}},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': ()", 4, {"',' or '}'", "its end"}},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (),,}", 4, {"the key"}},
    {DICT("'<f4'", "False", "()") " x", 4, {"nothing but spaces", "\"x"}},
    {DICT("'<f4'", "False", "()") "}", 4, {"nothing but spaces"}},
    {DICT("'<f4'", "False", "()") "#", 4, {"nothing but spaces"}},
    /* descr */
    {DICT("'>f4'", "False", "()"), 4, {"little-endian", "big-endian", ">f4"}},
    {DICT("'>i8'", "False", "()"), 8, {"little-endian", "big-endian", ">i8"}},
    {DICT("'=f4'", "False", "()"), 4, {"'descr'", "<f4", "=f4"}},
    {DICT("'f4'", "False", "()"), 4, {"'descr'", "\"'f4'"}},
    {DICT("'<f4 '", "False", "()"), 4, {"'descr'"}},
    {DICT("'<c8'", "False", "()"), 8, {"'descr'", "<c8"}},
    {DICT("'<f16'", "False", "()"), 16, {"'descr'", "<f16"}},
    {DICT("'|O'", "False", "()"), 8, {"'descr'", "|O"}},
    {DICT("'<U4'", "False", "()"), 16, {"'descr'", "<U4"}},
    {DICT("'|S4'", "False", "()"), 4, {"'descr'", "|S4"}},
    {DICT("'<M8[ns]'", "False", "()"), 8, {"'descr'", "<M8"}},
    {DICT("'|V2'", "False", "()"), 2, {"'descr'", "|V2"}},
    {DICT("'<u1'", "False", "()"), 1, {"'descr'", "<u1"}},
    {DICT("''", "False", "()"), 1, {"'descr'"}},
    {DICT("[('a', '<f4')]", "False", "()"), 4, {"records are not supported", "[("}},
    {DICT("f4", "False", "()"), 4, {"'descr'", "\"f4"}},
    {DICT("4", "False", "()"), 4, {"'descr'"}},
    {DICT("None", "False", "()"), 4, {"'descr'", "None"}},
    {DICT("'<f4", "False", "()"), 4, {"'descr'"}},
    /* fortran_order */
    {DICT("'<f4'", "Truely", "(2, 3)"), 24, {"',' or '}'", "ly"}},
    {DICT("'<f4'", "True", "(2, 3)"), 23, {"expected 24 bytes", "found 23"}},
    {DICT("'<f4'", "false", "()"), 4, {"'fortran_order' to be True or False", "false"}},
    {DICT("'<f4'", "0", "()"), 4, {"'fortran_order' to be True or False"}},
    {DICT("'<f4'", "'False'", "()"), 4, {"'fortran_order' to be True or False"}},
    {DICT("'<f4'", "None", "()"), 4, {"'fortran_order' to be True or False"}},
    {DICT("'<f4'", "Falsey", "()"), 4, {"',' or '}'"}},
    /* shape */
    {DICT("'<f4'", "False", "2"), 8, {"'shape'", "tuple"}},
    {DICT("'<f4'", "False", "[2]"), 8, {"'shape'", "tuple", "[2]"}},
    {DICT("'<f4'", "False", "None"), 8, {"'shape'", "tuple"}},
    {DICT("'<f4'", "False", "(2)"), 8, {"comma", "(3,)"}},
    {DICT("'<f4'", "False", "(,)"), 4, {"size", "shape"}},
    {DICT("'<f4'", "False", "(2,,3)"), 24, {"size", "shape", "\",3"}},
    {DICT("'<f4'", "False", "(2 3)"), 24, {"',' or ')'", "\"3)"}},
    {DICT("'<f4'", "False", "(2, 3"), 24, {"size", "shape"}},
    {DICT("'<f4'", "False", "(-1,)"), 4, {"at least 0", "-1"}},
    {DICT("'<f4'", "False", "(+1,)"), 4, {"at least 0", "+1"}},
    {DICT("'<f4'", "False", "(1.0,)"), 4, {"',' or ')'", ".0"}},
    {DICT("'<f4'", "False", "(1e0,)"), 4, {"',' or ')'", "e0"}},
    {DICT("'<f4'", "False", "(0x1,)"), 4, {"',' or ')'", "x1"}},
    {DICT("'<f4'", "False", "(01,)"), 4, {"leading zeros", "01"}},
    {DICT("'<f4'", "False", "('1',)"), 4, {"at least 0"}},
    {DICT("'<f4'", "False", "(True,)"), 4, {"at least 0", "True"}},
    {DICT("'<f4'", "False", "(1LL,)"), 4, {"',' or ')'"}},
    {DICT("'<f4'", "False", "(9223372036854775808,)"), 4, {"2^63", "9223372036854775808"}},
    {DICT("'<f4'", "False", "(99999999999999999999999999,)"), 4, {"2^63"}},
    {DICT("'<f4'", "False", "(4611686018427387904,)"), 4, {"shape", "2^63", "F32"}},
    {DICT("'|u1'", "False", "(4294967296, 4294967296)"), 4, {"shape", "2^63", "U8"}},
    {DICT("'|u1'", "False", "(4294967296, 4294967296, 0)"), 0, {"shape", "2^63"}},
    {DICT("'|u1'", "False", "(1, 1, 1, 1, 1, 1, 1, 1, 1)"), 1, {"at most 8 dimensions"}},
    /* sizes */
    {DICT("'<f4'", "False", "(2, 3)"), 23, {"expected 24 bytes", "F32 [2,3]", "found 23"}},
    {DICT("'<f4'", "False", "(2, 3)"), 25, {"expected 24 bytes", "found 25"}},
    {DICT("'<f4'", "False", "(2, 3)"), 0, {"expected 24 bytes", "found 0"}},
    {DICT("'<f8'", "False", "()"), 4, {"expected 8 bytes", "F64 []", "found 4"}},
    {DICT("'<f4'", "False", "(0,)"), 4, {"expected 0 bytes", "found 4"}},
    {DICT("'|u1'", "False", "(9223372036854775800,)"), 4, {"expected 9223372036854775800", "found 4"}},
};
enum { BAD_COUNT = sizeof bad / sizeof *bad };

START_TEST(refused)
{
    vv_npy npy;
    vv_error e = {0};
    const vv_status s = vv_npy_open(&npy, write_file("bad.npy", 1, bad[_i].dict, bad[_i].n), &e);
    vvt_expect_error(&e, s, VV_FILE, "bad.npy", (char *)NULL);
    for (int k = 0; k < 3 && bad[_i].words[k]; k++) vvt_expect_error(&e, s, VV_FILE, bad[_i].words[k], (char *)NULL);
    ck_assert(!npy.path && !npy.map.data);
}
END_TEST

static const struct {
    const char *bytes;
    size_t n;
    const char *words[2];
} raw[] = {
    {"", 0, {"no npy file", "fewer than 10"}},
    {"\x93NUMPY\1\0\0", 9, {"no npy file", "fewer than 10"}},
    {"\x93NUMPX\1\0\0\0", 10, {"no npy file", "other bytes"}},
    {"NUMPY\1\0\0\0\0\0", 11, {"no npy file"}},
    {"PK\3\4......", 10, {"no npy file"}}, /* an npz */
    {"\x93NUMPY\0\0\1\0\n", 11, {"version", "found 0.0"}},
    {"\x93NUMPY\4\0\1\0\n", 11, {"version", "found 4.0"}},
    {"\x93NUMPY\1\1\1\0\n", 11, {"version", "found 1.1"}},
    {"\x93NUMPY\xff\xff\1\0\n", 11, {"version", "found 255.255"}},
    {"\x93NUMPY\1\0\0\0", 10, {"newline"}},
    {"\x93NUMPY\1\0\1\0", 10, {"header length", "at most 0, found 1"}},
    {"\x93NUMPY\1\0\xff\xff\n", 11, {"header length", "at most 1, found 65535"}},
    {"\x93NUMPY\2\0\1\0", 10, {"header length", "the end"}},
    {"\x93NUMPY\2\0\xff\xff\xff\xff\n", 13, {"header length", "at most 1, found 4294967295"}},
    {"\x93NUMPY\1\0\2\0{}", 12, {"newline", "offset 11"}},
    {"\x93NUMPY\1\0\4\0{\0}\n", 14, {"the key"}},
    {"\x93NUMPY\1\0\5\0{'\0'\n", 15, {"the key"}},
    {"\x93NUMPY\1\0\2\0{\n", 12, {"the key", "its end"}},
};
enum { RAW_COUNT = sizeof raw / sizeof *raw };

START_TEST(refused_raw)
{
    vv_npy npy;
    vv_error e = {0};
    const vv_status s = vv_npy_open(&npy, vvt_write("raw.npy", raw[_i].bytes, raw[_i].n), &e);
    vvt_expect_error(&e, s, VV_FILE, "raw.npy", (char *)NULL);
    for (int k = 0; k < 2 && raw[_i].words[k]; k++) vvt_expect_error(&e, s, VV_FILE, raw[_i].words[k], (char *)NULL);
}
END_TEST

START_TEST(every_cut_is_refused)
{
    unsigned char whole[300];
    FILE *f = fopen(write_file("cut.npy", 2, DICT("'<f4'", "False", "(2, 3)"), 24), "rb");
    const size_t n = fread(whole, 1, sizeof whole, f);
    fclose(f);
    vv_npy npy;
    for (size_t k = 0; k <= n + 1; k++) {
        vv_error e = {0};
        ck_assert_int_eq(vv_npy_open(&npy, vvt_write("cut.npy", whole, k), &e), k == n ? VV_OK : VV_FILE);
        vv_npy_close(&npy);
    }
    for (size_t k = 0; k < n - 24; k++)
        for (int bit = 0; bit < 8; bit++) {
            whole[k] ^= (unsigned char)(1 << bit);
            vv_error e = {0};
            const vv_status s = vv_npy_open(&npy, vvt_write("cut.npy", whole, n), &e);
            ck_assert(s == VV_OK ? npy.e.offset + npy.e.bytes == (int64_t)n : s == VV_FILE && e.msg[0]);
            vv_npy_close(&npy);
            whole[k] ^= (unsigned char)(1 << bit);
        }
}
END_TEST

/* ---- writing --------------------------------------------------------------------------------------------------- */

START_TEST(exact_bytes)
{
    static const char want[] = "\x93NUMPY\1\0v\0{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }";
    const float x[3] = {1, 2, -3};
    const int64_t shape[1] = {3};
    unsigned char got[300];
    VVT_OK(vv_npy_write(vvt_path("exact.npy"), VV_DT_F32, 1, shape, x, err));
    FILE *f = fopen(vvt_path("exact.npy"), "rb");
    ck_assert_uint_eq(fread(got, 1, sizeof got, f), 128 + 12);
    fclose(f);
    ck_assert(!memcmp(got, want, sizeof want - 1));
    for (size_t i = sizeof want - 1; i < 127; i++) ck_assert_int_eq(got[i], ' ');
    ck_assert_int_eq(got[127], '\n');
    ck_assert(!memcmp(got + 128, "\0\0\x80\x3f\0\0\0\x40\0\0\x40\xc0", 12));
}
END_TEST

START_TEST(round_trips)
{
    const int64_t shape[8] = {2, 1, 3, 1, 1, 1, 1, 1};
    double x[6] = {1, -2.5, 1e-300, 0, 7, 8}, back[6];
    int32_t v[6] = {1, -2, 3, INT32_MIN, 5, INT32_MAX};
    int64_t w[6];
    vv_npy npy;
    for (int ndim = 0; ndim <= 8; ndim++) {
        int64_t n = 1;
        for (int k = 0; k < ndim; k++) n *= shape[k];
        VVT_OK(vv_npy_write(vvt_path("r.npy"), VV_DT_F64, ndim, shape, x, err));
        VVT_OK(vv_npy_open(&npy, vvt_path("r.npy"), err));
        ck_assert(npy.e.ndim == ndim && npy.e.n == n && npy.e.offset % 64 == 0);
        for (int k = 0; k < ndim; k++) ck_assert_int_eq(npy.e.shape[k], shape[k]);
        VVT_OK(vv_npy_read_f64(&npy, back, err));
        ck_assert(!memcmp(back, x, (size_t)n * sizeof *x));
        BAD(vv_npy_read_i64(&npy, w, &e), VV_FILE, "r.npy", "integer", "F64");
        vv_npy_close(&npy);
    }
    VVT_OK(vv_npy_write(vvt_path("i.npy"), VV_DT_I32, 3, shape, v, err));
    VVT_OK(vv_npy_open(&npy, vvt_path("i.npy"), err));
    VVT_OK(vv_npy_read_i64(&npy, w, err));
    for (int i = 0; i < 6; i++) ck_assert_int_eq(w[i], v[i]);
    BAD(vv_npy_read_f64(&npy, back, &e), VV_FILE, "i.npy", "F32", "I32");
    vv_npy_close(&npy);
    const int64_t none[2] = {0, 5};
    VVT_OK(vv_npy_write(vvt_path("e.npy"), VV_DT_F32, 2, none, NULL, err));
    VVT_OK(vv_npy_open(&npy, vvt_path("e.npy"), err));
    ck_assert(npy.e.n == 0 && npy.e.shape[1] == 5);
    vv_npy_close(&npy);
}
END_TEST

START_TEST(refused_writing)
{
    const int64_t negative[1] = {-1}, huge[2] = {1LL << 40, 1LL << 40};
    const double x = 1;
    BAD(vv_npy_write(vvt_path("n.npy"), VV_DT_BF16, 0, NULL, &x, &e), VV_USAGE, "n.npy", "BF16");
    BAD(vv_npy_write(vvt_path("n.npy"), VV_DT_F64, 1, negative, &x, &e), VV_USAGE, "n.npy", "[-1]");
    BAD(vv_npy_write(vvt_path("n.npy"), VV_DT_F64, 2, huge, &x, &e), VV_USAGE, "n.npy", "impossible");
    BAD(vv_npy_write(vvt_path("n.npy"), VV_DT_F64, 9, huge, &x, &e), VV_USAGE, "n.npy", "found 9");
    BAD(vv_npy_write(vvt_path("no/n.npy"), VV_DT_F64, 0, NULL, &x, &e), VV_FILE, "no/n.npy", "cannot be written");
    ck_assert_int_ne(access(vvt_path("n.npy"), F_OK), 0);
    vv_npy npy;
    BAD(vv_npy_open(&npy, vvt_path("n.npy"), &e), VV_FILE, "n.npy", "No such file");
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("npy", &tc);
    tcase_add_loop_test(tc, accepted, 0, (int)(sizeof good / sizeof *good));
    tcase_add_test(tc, columns);
    tcase_add_loop_test(tc, refused, 0, BAD_COUNT);
    tcase_add_loop_test(tc, refused_raw, 0, RAW_COUNT);
    tcase_add_test(tc, every_cut_is_refused);
    tcase_add_test(tc, exact_bytes);
    tcase_add_test(tc, round_trips);
    tcase_add_test(tc, refused_writing);
    return s;
}

VVT_MAIN(suite)
