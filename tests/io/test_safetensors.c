/* The safetensors reader against files built byte by byte here, and the writer against the reader. */
#include "vvt.h"

#include <math.h>
#include <unistd.h>

#include "io/safetensors.h"

#define BAD(call, status, ...)                                                                                         \
    do {                                                                                                               \
        vv_error e = {0};                                                                                              \
        const vv_status st_ = (call);                                                                                  \
        vvt_expect_error(&e, st_, status, __VA_ARGS__, (char *)NULL);                                                  \
    } while (0)

/* Length, header and n data bytes 0,1,2,... as a file. */
static const char *write_file(const char *name, const char *header, size_t length, int n)
{
    static unsigned char buf[100000];
    ck_assert(8 + length + (size_t)n <= sizeof buf);
    for (int i = 0; i < 8; i++) buf[i] = (unsigned char)((uint64_t)length >> 8 * i);
    memcpy(buf + 8, header, length);
    for (int i = 0; i < n; i++) buf[8 + length + (size_t)i] = (unsigned char)i;
    return vvt_write(name, buf, 8 + length + (size_t)n);
}

static vv_st *open_text(const char *header, int n)
{
    vv_st *st = NULL;
    VVT_OK(vv_st_open(&st, write_file("good.safetensors", header, strlen(header), n), err));
    return st;
}

/* ---- legal files ----------------------------------------------------------------------------------------------- */

START_TEST(empty_files)
{
    static const char *const headers[] = {"{}",
                                          " \n{}",
                                          "{}   \t\n",
                                          "{\"__metadata__\":null}",
                                          "{\"__metadata__\":{}}",
                                          "{\"__metadata__\":{\"a\":\"b\"}}"};
    for (int i = 0; i < 6; i++) {
        vv_st *st = open_text(headers[i], 0);
        ck_assert_int_eq(vv_st_count(st), 0);
        ck_assert_ptr_null(vv_st_at(st, 0));
        ck_assert_ptr_null(vv_st_find(st, ""));
        if (i == 5) ck_assert_str_eq(vv_st_metadata(st, "a"), "b");
        ck_assert_ptr_null(vv_st_metadata(st, "b"));
        vv_st_close(st);
    }
    vv_st_close(NULL);
}
END_TEST

START_TEST(order_and_lookup)
{
    vv_st *st = open_text("{\"z/../z\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[2,5]},"
                          "\"\":{\"shape\":[],\"data_offsets\":[0,2],\"dtype\":\"I16\",\"unknown\":[{}]},"
                          "\"nil\":{\"dtype\":\"F64\",\"shape\":[4,0,2],\"data_offsets\":[5,5]},"
                          "\"f\":{\"dtype\":\"F32\",\"shape\":[1,1],\"data_offsets\":[5,9]}}",
                          9);
    static const char *const names[] = {"", "z/../z", "nil", "f"};
    static const int64_t n[] = {1, 3, 0, 1}, begin[] = {0, 2, 5, 5};
    ck_assert_int_eq(vv_st_count(st), 4);
    for (int i = 0; i < 4; i++) {
        const vv_st_entry *e = vv_st_at(st, i);
        ck_assert_str_eq(e->name, names[i]);
        ck_assert_ptr_eq(vv_st_find(st, names[i]), e);
        ck_assert_int_eq(e->n, n[i]);
        ck_assert_int_eq(e->offset - vv_st_at(st, 0)->offset, begin[i]);
        if (e->n) ck_assert_int_eq(e->data[0], begin[i]);
    }
    ck_assert_ptr_null(vv_st_find(st, "zz"));
    int64_t u[3];
    VVT_OK(vv_st_read_i64(st, vv_st_at(st, 1), u, err));
    ck_assert(u[0] == 2 && u[1] == 3 && u[2] == 4);
    vv_st_close(st);
}
END_TEST

/* ---- illegal files --------------------------------------------------------------------------------------------- */

#define T(name, dtype, shape, offsets)                                                                                 \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define ONE(dtype, shape, offsets) "{" T("t", dtype, shape, offsets) "}"

static const struct {
    const char *header;
    int n; /* data bytes */
    const char *words[4];
} bad[] = {
    /* the text */
    {"", 0, {"JSON"}},
    {"{", 0, {"header at offset 8", "JSON"}},
    {"}", 0, {"JSON"}},
    {"\xff", 0, {"JSON"}},
    {"[]", 0, {"expected an object", "array"}},
    {"\"a\"", 0, {"JSON"}},
    {"12", 0, {"JSON"}},
    {"null", 0, {"JSON"}},
    {"{} {}", 0, {"JSON", "end of file"}},
    {"{}x", 0, {"JSON"}},
    {"\xef\xbb\xbf{}", 0, {"JSON"}},
    {"{\"a\xff\":{}}", 0, {"0xff"}},
    {"{\"\xc0\x80\":{}}", 0, {"JSON"}},
    {"{\"\\u0000\":{}}", 0, {"JSON"}},
    {"{'t':{}}", 0, {"JSON"}},
    {"{" T("t", "U8", "[1]", "[0,1]") "," T("t", "U8", "[1]", "[1,2]") "}", 2, {"duplicate", "t"}},
    {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, {"duplicate"}},
    {"{\"t\":{\"dtype\":\"U8\",\"dtype\":\"I8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, {"duplicate"}},
    {"{\"__metadata__\":{\"a\":\"1\",\"a\":\"2\"}}", 0, {"duplicate"}},
    {ONE("U8", "[01]", "[0,1]"), 1, {"JSON"}},
    {ONE("U8", "[1,]", "[0,1]"), 1, {"JSON"}},
    {ONE("U8", "[+1]", "[0,1]"), 1, {"JSON"}},
    {ONE("U8", "[NaN]", "[0,1]"), 1, {"JSON"}},
    /* metadata */
    {"{\"__metadata__\":[]}", 0, {"__metadata__", "expected an object", "array"}},
    {"{\"__metadata__\":\"x\"}", 0, {"__metadata__", "expected an object", "string"}},
    {"{\"__metadata__\":{\"k\":1}}", 0, {"__metadata__", "'k'", "expected a string", "integer 1"}},
    {"{\"__metadata__\":{\"k\":null}}", 0, {"'k'", "expected a string", "null"}},
    {"{\"__metadata__\":{\"k\":{}}}", 0, {"'k'", "expected a string", "object"}},
    /* the form of an entry */
    {"{\"t\":1}", 0, {"'t'", "expected an object", "integer 1"}},
    {"{\"t\":null}", 0, {"'t'", "expected an object", "null"}},
    {"{\"t\":[]}", 0, {"'t'", "expected an object", "array"}},
    {"{\"t\":{}}", 0, {"'t'", "dtype", "expected a string", "nothing"}},
    {"{\"t\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, {"'t'", "dtype", "nothing"}},
    {"{\"t\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, {"'t'", "shape", "nothing"}},
    {"{\"t\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, {"'t'", "data_offsets", "nothing"}},
    /* dtype */
    {"{\"t\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, {"dtype", "a string", "integer 1"}},
    {ONE("u8", "[1]", "[0,1]"), 1, {"'t'", "dtype", "expected a type", "\"u8\""}},
    {ONE("", "[1]", "[0,1]"), 1, {"dtype", "expected a type"}},
    {ONE("F32 ", "[1]", "[0,4]"), 4, {"dtype", "expected a type"}},
    {ONE("F8_E4M3", "[1]", "[0,1]"), 1, {"'t'", "F8_E4M3", "not supported"}},
    {ONE("F8_E5M2", "[1]", "[0,1]"), 1, {"'t'", "F8_E5M2", "not supported"}},
    {ONE("F8_E8M0", "[1]", "[0,1]"), 1, {"F8_E8M0", "not supported"}},
    {ONE("F4", "[2]", "[0,1]"), 1, {"F4", "not supported"}},
    {ONE("C64", "[1]", "[0,8]"), 8, {"C64", "not supported"}},
    /* shape */
    {ONE("U8", "1", "[0,1]"), 1, {"shape", "expected an array", "integer 1"}},
    {ONE("U8", "{}", "[0,1]"), 1, {"shape", "expected an array", "object"}},
    {ONE("U8", "null", "[0,1]"), 1, {"shape", "expected an array", "null"}},
    {ONE("U8", "[-1]", "[0,1]"), 1, {"shape", "at least 0", "-1"}},
    {ONE("U8", "[1.0]", "[0,1]"), 1, {"shape", "integers", "real"}},
    {ONE("U8", "[1e0]", "[0,1]"), 1, {"shape", "integers", "real"}},
    {ONE("U8", "[\"1\"]", "[0,1]"), 1, {"shape", "integers", "string"}},
    {ONE("U8", "[true]", "[0,1]"), 1, {"shape", "integers", "true"}},
    {ONE("U8", "[9223372036854775808]", "[0,1]"), 1, {"JSON", "big"}},
    {ONE("U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, {"'t'", "shape", "at most 8", "found 9"}},
    {ONE("U8", "[4294967296,4294967296]", "[0,1]"), 1, {"shape", "2^63", "4294967296"}},
    {ONE("U8", "[1099511627776,1099511627776,0]", "[0,0]"), 0, {"shape", "2^63"}},
    {ONE("F64", "[2305843009213693952]", "[0,1]"), 1, {"shape", "2^63", "F64"}},
    /* offsets */
    {ONE("U8", "[1]", "[0]"), 1, {"data_offsets", "2 integers", "array of 1"}},
    {ONE("U8", "[1]", "[0,1,1]"), 1, {"data_offsets", "2 integers", "array of 3"}},
    {ONE("U8", "[1]", "0"), 1, {"data_offsets", "2 integers", "integer 0"}},
    {ONE("U8", "[1]", "{\"0\":0}"), 1, {"data_offsets", "2 integers", "object"}},
    {ONE("U8", "[1]", "[0,1.0]"), 1, {"data_offsets", "integers", "real"}},
    {ONE("U8", "[1]", "[-1,0]"), 1, {"data_offsets", "at least 0", "-1"}},
    {ONE("U8", "[1]", "[0,\"1\"]"), 1, {"data_offsets", "integers", "string"}},
    {ONE("U8", "[1]", "[0,18446744073709551615]"), 1, {"JSON", "big"}},
    {ONE("U8", "[1]", "[1,2]"), 2, {"'t'", "hole", "expected begin 0", "found 1"}},
    {ONE("U8", "[1]", "[1,0]"), 1, {"'t'", "hole", "expected begin 0"}},
    {"{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[1]", "[2,1]") "}", 2, {"'b'", "[2,1]", "end >= begin"}},
    {"{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[2]", "[1,3]") "}",
     3,
     {"'b'", "overlap", "begin 2", "found 1"}},
    {"{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[2]", "[0,2]") "}",
     2,
     {"'b'", "overlap", "begin 2", "found 0"}},
    {"{" T("a", "U8", "[2]", "[0,2]") "," T("b", "U8", "[1]", "[3,4]") "}", 4, {"'b'", "hole", "begin 2", "found 3"}},
    {"{" T("a", "U8", "[0]", "[1,1]") "," T("b", "U8", "[2]", "[0,2]") "}", 2, {"'a'", "overlap", "begin 2"}},
    /* sizes */
    {ONE("F32", "[2]", "[0,4]"), 4, {"'t'", "expected 8 bytes", "F32 [2]", "found 4"}},
    {ONE("F32", "[]", "[0,0]"), 0, {"'t'", "expected 4 bytes", "F32 []", "found 0"}},
    {ONE("F32", "[0]", "[0,4]"), 4, {"'t'", "expected 0 bytes", "found 4"}},
    {ONE("BF16", "[3]", "[0,12]"), 12, {"'t'", "expected 6 bytes", "found 12"}},
    {ONE("F32", "[2]", "[0,8]"), 6, {"'t'", "too short", "expected 8", "found 6"}},
    {ONE("U8", "[9223372036854775807]", "[0,9223372036854775807]"), 1, {"'t'", "too short", "found 1"}},
    {ONE("F32", "[2]", "[0,8]"), 9, {"no tensor", "found"}},
    {"{}", 1, {"no tensor", "offset 10", "expected 10", "found 11"}},
};
enum { BAD_COUNT = sizeof bad / sizeof *bad };

START_TEST(refused)
{
    const char *path = write_file("bad.safetensors", bad[_i].header, strlen(bad[_i].header), bad[_i].n);
    vv_st *st = (vv_st *)1;
    vv_error e = {0};
    const vv_status s = vv_st_open(&st, path, &e);
    vvt_expect_error(&e, s, VV_FILE, "bad.safetensors", (char *)NULL);
    for (int k = 0; k < 4 && bad[_i].words[k]; k++) vvt_expect_error(&e, s, VV_FILE, bad[_i].words[k], (char *)NULL);
    ck_assert_ptr_null(st);
}
END_TEST

/* Files whose first bytes are wrong; seeds of the original's tests among them. */
static const struct {
    const char *bytes;
    size_t n;
    const char *words[3];
} raw[] = {
    {"", 0, {"at least 8 bytes", "found 0"}},
    {"\1\0\0\0\0\0\0", 7, {"at least 8 bytes", "found 7"}},
    {"\0\0\0\0\0\0\0\0", 8, {"JSON"}},
    {"\1\0\0\0\0\0\0\0", 8, {"header length", "at most 0", "found 1"}},
    {"\1\0\0\0\0\0\0\0\xff", 9, {"JSON"}},
    {"\1\0\0\0\0\0\0\0{", 9, {"JSON"}},
    {"\3\0\0\0\0\0\0\0{}", 10, {"header length", "at most 2", "found 3"}},
    {"\2\0\0\0\0\0\0\0{}\0", 11, {"no tensor", "offset 10", "found 11"}},
    {"\3\0\0\0\0\0\0\0{}\0", 11, {"JSON"}},
    {"\x3c\0\0\0\0\xff\xff\xff{}", 10, {"header length", "at most 100000000", "found 18446742974197923900"}},
    {"\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, {"at most 100000000", "18446744073709551615"}},
    {"\x01\xe1\xf5\x05\0\0\0\0{}", 10, {"at most 100000000", "found 100000001"}},
    {"\x00\xe1\xf5\x05\0\0\0\0{}", 10, {"at most 2", "found 100000000"}},
    {"\0\0\0\0\0\0\0\x80{}", 10, {"at most 100000000", "9223372036854775808"}},
    {"\x80\x02}q\x01X\x04\0\0\0", 11, {"header length"}}, /* a pickle */
    {"PK\3\4\x14\0\0\0\0\0", 10, {"header length"}},      /* a .pth archive */
};
enum { RAW_COUNT = sizeof raw / sizeof *raw };

START_TEST(refused_raw)
{
    const char *path = vvt_write("raw.safetensors", raw[_i].bytes, raw[_i].n);
    vv_st *st;
    vv_error e = {0};
    const vv_status s = vv_st_open(&st, path, &e);
    vvt_expect_error(&e, s, VV_FILE, "raw.safetensors", (char *)NULL);
    for (int k = 0; k < 3 && raw[_i].words[k]; k++) vvt_expect_error(&e, s, VV_FILE, raw[_i].words[k], (char *)NULL);
}
END_TEST

/* Two tensors: every shortening and a lengthening of the file is refused, and so is every changed byte of the
 * length. */
START_TEST(every_cut_is_refused)
{
    static const char header[] = "{" T("a", "F32", "[2]", "[0,8]") "," T("b", "U8", "[3]", "[8,11]") "}";
    static unsigned char whole[400];
    const size_t n = 8 + strlen(header) + 11;
    FILE *f = fopen(write_file("cut.safetensors", header, strlen(header), 11), "rb");
    ck_assert_uint_eq(fread(whole, 1, sizeof whole, f), n);
    fclose(f);
    vv_st *st;
    for (size_t k = 0; k <= n + 1; k++) {
        vv_error e = {0};
        const vv_status s = vv_st_open(&st, vvt_write("cut.safetensors", whole, k), &e);
        ck_assert_int_eq(s, k == n ? VV_OK : VV_FILE);
        vv_st_close(st);
    }
    for (size_t k = 0; k < 8 + strlen(header); k++)
        for (int bit = 0; bit < 8; bit++) { /* damage: never a crash, and what opens lies inside the file */
            whole[k] ^= (unsigned char)(1 << bit);
            vv_error e = {0};
            const vv_status s = vv_st_open(&st, vvt_write("cut.safetensors", whole, n), &e);
            ck_assert(s == VV_OK || (s == VV_FILE && e.msg[0]));
            for (int64_t i = 0; st && i < vv_st_count(st); i++)
                ck_assert(vv_st_at(st, i)->offset + vv_st_at(st, i)->bytes <= (int64_t)n);
            vv_st_close(st);
            whole[k] ^= (unsigned char)(1 << bit);
        }
}
END_TEST

START_TEST(costly_header)
{
    enum { N = 12000000 };
    char *text = malloc(8 + N);
    vv_st *st;
    for (int i = 0; i < 8; i++) text[i] = (char)((int64_t)N >> 8 * i & 255);
    memcpy(text + 8, "{\"t\":[", 6);
    for (int i = 6; i < N; i++) text[8 + i] = i % 2 ? ',' : '1';
    BAD(vv_st_open(&st, vvt_write("costly.safetensors", text, 8 + N), &e), VV_FILE, "costly", "memory to parse");
    memset(text + 8, ' ', N); /* as long, but honest */
    memcpy(text + 8, "{}", 2);
    VVT_OK(vv_st_open(&st, vvt_write("costly.safetensors", text, 8 + N), err));
    vv_st_close(st);
    free(text);
}
END_TEST

START_TEST(no_file)
{
    vv_st *st;
    BAD(vv_st_open(&st, vvt_path("absent.safetensors"), &e), VV_FILE, "absent.safetensors", "No such file");
    BAD(vv_st_open(&st, vvt_tmpdir(), &e), VV_FILE, "folder");
}
END_TEST

/* ---- reading values -------------------------------------------------------------------------------------------- */

START_TEST(wrong_types_when_reading)
{
    vv_st *st = open_text(
        "{" T("b", "BOOL", "[3]", "[0,3]") "," T("u", "U64", "[1]", "[3,11]") "," T("f", "F32", "[1]", "[11,15]") "}",
        15);
    int64_t i[3];
    double d[3];
    vv_real r[3];
    BAD(vv_st_read_real(st, vv_st_find(st, "b"), r, &e), VV_FILE, "good.safetensors", "'b'", "F32", "BOOL", "offset");
    BAD(vv_st_read_f64(st, vv_st_find(st, "u"), d, &e), VV_FILE, "good.safetensors", "'u'", "F32", "U64");
    BAD(vv_st_read_i64(st, vv_st_find(st, "f"), i, &e), VV_FILE, "good.safetensors", "'f'", "integer", "F32");
    BAD(vv_st_read_i64(st, vv_st_find(st, "b"), i, &e), VV_FILE, "'b'", "element 2", "0 or 1", "found 2");
    VVT_OK(vv_st_read_i64(st, vv_st_find(st, "u"), i, err));
    ck_assert(i[0] == 0x0a09080706050403);
    BAD(vv_st_read_i64(NULL, vv_st_find(st, "f"), i, &e), VV_FILE, "no file", "'f'");
    vv_st_close(st);
}
END_TEST

/* ---- writing --------------------------------------------------------------------------------------------------- */

static const vv_st_decl all_types[VV_DT_COUNT] = {
    {"bool", VV_DT_BOOL, 1, {2}}, {"u8", VV_DT_U8, 2, {2, 1}}, {"i8", VV_DT_I8, 1, {2}},     {"i16", VV_DT_I16, 1, {2}},
    {"u16", VV_DT_U16, 1, {2}},   {"f16", VV_DT_F16, 1, {2}},  {"bf16", VV_DT_BF16, 1, {2}}, {"i32", VV_DT_I32, 1, {2}},
    {"u32", VV_DT_U32, 1, {2}},   {"f32", VV_DT_F32, 1, {2}},  {"f64", VV_DT_F64, 1, {2}},   {"i64", VV_DT_I64, 1, {2}},
    {"u64", VV_DT_U64, 1, {2}},
};

START_TEST(round_trip_of_all_types)
{
    const int keep_order = _i;
    const char *path = vvt_path("all.safetensors");
    static const char *const meta[] = {"k\"\n", "v\xc3\xa9", "format", "pt", NULL};
    unsigned char bytes[16];
    vv_stw *w;
    vv_st *st;
    VVT_OK(vv_stw_open(&w, path, all_types, VV_DT_COUNT, meta, keep_order, err));
    for (int k = 0; k < VV_DT_COUNT; k++) {
        const int i = k * 5 % VV_DT_COUNT; /* any order */
        memset(bytes, 0, sizeof bytes);
        bytes[0] = 1;
        bytes[vv_dtype_size((vv_dtype)i)] = i ? 7 : 1;
        VVT_OK(vv_stw_write(w, i, bytes, err));
    }
    VVT_OK(vv_stw_commit(w, err));
    VVT_OK(vv_st_open(&st, path, err));
    ck_assert_int_eq(vv_st_count(st), VV_DT_COUNT);
    ck_assert_str_eq(vv_st_metadata(st, "format"), "pt");
    ck_assert_str_eq(vv_st_metadata(st, "k\"\n"), "v\xc3\xa9");
    ck_assert_int_eq(vv_st_at(st, 0)->offset % 8, 0);
    for (int i = 0; i < VV_DT_COUNT; i++) {
        const vv_st_entry *e = vv_st_find(st, all_types[i].name);
        ck_assert(e->dtype == (vv_dtype)i && e->n == 2 && e->ndim == all_types[i].ndim);
        ck_assert(e->data[0] == 1 && e->data[vv_dtype_size(e->dtype)] == (i ? 7 : 1));
        if (keep_order) ck_assert_ptr_eq(e, vv_st_at(st, i));
        else ck_assert_int_eq(e->offset % vv_dtype_size(e->dtype), 0);
    }
    if (!keep_order) { /* by size descending, then by name */
        static const char *const sorted[VV_DT_COUNT] = {"f64", "i64", "u64", "f32",  "i32", "u32", "bf16",
                                                        "f16", "i16", "u16", "bool", "i8",  "u8"};
        for (int i = 0; i < VV_DT_COUNT; i++) ck_assert_str_eq(vv_st_at(st, i)->name, sorted[i]);
    }
    vv_st_close(st);
}
END_TEST

START_TEST(exact_bytes)
{
    static const vv_st_decl decls[] = {{"b", VV_DT_U8, 1, {1}}, {"a", VV_DT_F32, 0, {0}}, {"e", VV_DT_F32, 2, {0, 3}}};
    static const char want[] =
        "\xc8\0\0\0\0\0\0\0{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_"
        "offsets\":[0,4]},"
        "\"e\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[4,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[1],"
        "\"data_offsets\":[4,5]}}";
    unsigned char got[400];
    vv_stw *w;
    const vv_real one = 1;
    const char *path = vvt_path("exact.safetensors");
    VVT_OK(vv_stw_open(&w, path, decls, 3, NULL, 0, err));
    VVT_OK(vv_stw_write(w, 0, "\x2a", err));
    VVT_OK(vv_stw_write_real(w, 1, &one, err));
    VVT_OK(vv_stw_write_real(w, 2, NULL, err));
    VVT_OK(vv_stw_commit(w, err));
    FILE *f = fopen(path, "rb");
    const size_t n = fread(got, 1, sizeof got, f), text = sizeof want - 1;
    fclose(f);
    ck_assert_uint_eq(got[0], (text - 8 + 7) / 8 * 8);
    ck_assert_uint_eq(n, 8u + got[0] + 5u);
    ck_assert(!memcmp(got + 8, want + 8, text - 8));
    for (size_t i = text; i < 8u + got[0]; i++) ck_assert_int_eq(got[i], ' ');
    ck_assert(!memcmp(got + 8 + got[0], "\0\0\x80\x3f\x2a", 5));
}
END_TEST

START_TEST(real_numbers)
{
    enum { N = 40000 }; /* more than two of the writer's chunks */
    static const vv_st_decl decls[] = {{"f16", VV_DT_F16, 1, {N}},
                                       {"bf16", VV_DT_BF16, 1, {N}},
                                       {"f32", VV_DT_F32, 1, {N}},
                                       {"f64", VV_DT_F64, 1, {N}}};
    vv_real *src = vv_calloc(N, sizeof *src), *back = vv_calloc(N, sizeof *back);
    double *wide = vv_calloc(N, sizeof *wide);
    vv_stw *w;
    vv_st *st;
    for (int i = 0; i < N; i++) src[i] = (vv_real)(i % 2048 - 1024) / 1024 + (vv_real)(i / 2048) * 0x1p-20f;
    src[N - 1] = -(vv_real)NAN;
    VVT_OK(vv_stw_open(&w, vvt_path("real.safetensors"), decls, 4, NULL, 0, err));
    for (int k = 0; k < 4; k++) VVT_OK(vv_stw_write_real(w, k, src, err));
    VVT_OK(vv_stw_commit(w, err));
    VVT_OK(vv_st_open(&st, vvt_path("real.safetensors"), err));
    for (int k = 0; k < 4; k++) {
        const vv_st_entry *e = vv_st_find(st, decls[k].name);
        VVT_OK(vv_st_read_real(st, e, back, err));
        VVT_OK(vv_st_read_f64(st, e, wide, err));
        for (int i = 0; i < N - 1; i++) {
            const double want = k == 0   ? (double)vv_f16_to_f32(vv_f64_to_f16((double)src[i]))
                                : k == 1 ? (double)vv_bf16_to_f32(vv_f64_to_bf16((double)src[i]))
                                : k == 2 ? (double)(float)src[i]
                                         : (double)src[i];
            ck_assert_msg(wide[i] == want && (double)back[i] == (double)(vv_real)want, "%s [%d]", decls[k].name, i);
        }
        ck_assert(isnan(back[N - 1]) && isnan(wide[N - 1]));
        ck_assert_int_eq(e->data[e->bytes - 1], 0x7f - (k == 0) * 1); /* positive, whatever the sign was */
    }
    vv_st_close(st);
    free(src);
    free(back);
    free(wide);
}
END_TEST

static vv_status try_open(vv_st_decl a, vv_st_decl b, const char *const *meta, vv_error *e)
{
    const vv_st_decl d[2] = {a, b};
    vv_stw *w;
    const vv_status s = vv_stw_open(&w, vvt_path("never.safetensors"), d, 2, meta, 0, e);
    ck_assert((s == VV_OK) == (w != NULL));
    vv_stw_abort(w);
    return s;
}

START_TEST(wrong_declarations)
{
    const vv_st_decl ok = {"a", VV_DT_U8, 1, {1}};
#define D(...) ((vv_st_decl){__VA_ARGS__})
    static const char *const twice[] = {"k", "1", "k", "2", NULL}, *const format[] = {"format", "np", NULL},
                             *const latin[] = {"k", "\xe9", NULL};
    BAD(try_open(ok, ok, NULL, &e), VV_USAGE, "never", "'a'", "twice");
    BAD(try_open(ok, D("__metadata__", VV_DT_U8, 0, {0}), NULL, &e), VV_USAGE, "__metadata__", "reserved");
    BAD(try_open(ok, D("\xff", VV_DT_U8, 0, {0}), NULL, &e), VV_USAGE, "UTF-8");
    BAD(try_open(ok, D("b", VV_DT_U8, 1, {-1}), NULL, &e), VV_USAGE, "'b'", "[-1]");
    BAD(try_open(ok, D("b", VV_DT_F64, 2, {1LL << 31, 1LL << 31}), NULL, &e), VV_USAGE, "'b'", "impossible");
    BAD(try_open(ok, D("b", VV_DT_U8, 9, {1}), NULL, &e), VV_USAGE, "'b'", "found 9");
    BAD(try_open(ok, D("b", (vv_dtype)99, 1, {1}), NULL, &e), VV_USAGE, "'b'", "type 99");
    BAD(try_open(ok, D("b", VV_DT_U8, 1, {1}), twice, &e), VV_USAGE, "'k'", "twice");
    BAD(try_open(ok, D("b", VV_DT_U8, 1, {1}), format, &e), VV_USAGE, "'format'", "twice");
    BAD(try_open(ok, D("b", VV_DT_U8, 1, {1}), latin, &e), VV_USAGE, "'k'", "UTF-8");
    VVT_OK(try_open(ok, D("b", VV_DT_U8, 1, {1}), NULL, err));
    ck_assert_int_ne(access(vvt_path("never.safetensors"), F_OK), 0);
}
END_TEST

START_TEST(wrong_writing)
{
    static const vv_st_decl decls[] = {{"a", VV_DT_U8, 1, {1}}, {"b", VV_DT_F32, 1, {1}}};
    const char *path = vvt_write("kept.safetensors", "old", 3);
    const vv_real one = 1;
    vv_stw *w;
    vv_st *st;
    VVT_OK(vv_stw_open(&w, path, decls, 2, NULL, 0, err));
    BAD(vv_stw_write(w, 2, "x", &e), VV_USAGE, "kept", "0 to 1");
    BAD(vv_stw_write(w, -1, "x", &e), VV_USAGE, "kept", "0 to 1");
    BAD(vv_stw_write_real(w, 0, &one, &e), VV_USAGE, "'a'", "U8");
    VVT_OK(vv_stw_write(w, 0, "x", err));
    BAD(vv_stw_write(w, 0, "x", &e), VV_USAGE, "'a'", "already");
    BAD(vv_stw_commit(w, &e), VV_USAGE, "kept", "'b'", "not written");
    BAD(vv_st_open(&st, path, &e), VV_FILE, "found 3"); /* the old content is still there */
    BAD(vv_stw_open(&w, vvt_path("no/dir"), decls, 2, NULL, 0, &e), VV_FILE, "no/dir", "cannot be written");
}
END_TEST

START_TEST(many_tensors)
{
    enum { N = 3000 };
    vv_st_decl *d = vv_calloc(N, sizeof *d);
    char(*names)[16] = vv_calloc(N, sizeof *names);
    vv_stw *w;
    vv_st *st;
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "t%d", i * 7919 % N);
        d[i] = (vv_st_decl){names[i], VV_DT_I32, 1, {1}};
    }
    VVT_OK(vv_stw_open(&w, vvt_path("many.safetensors"), d, N, NULL, 1, err));
    for (int i = 0; i < N; i++) {
        const unsigned char v[4] = {(unsigned char)i, (unsigned char)(i >> 8), 0, 0};
        VVT_OK(vv_stw_write(w, i, v, err));
    }
    VVT_OK(vv_stw_commit(w, err));
    VVT_OK(vv_st_open(&st, vvt_path("many.safetensors"), err));
    for (int i = 0; i < N; i++) {
        int64_t v;
        const vv_st_entry *e = vv_st_find(st, names[i]);
        ck_assert_ptr_eq(e, vv_st_at(st, i));
        VVT_OK(vv_st_read_i64(st, e, &v, err));
        ck_assert_int_eq(v, i);
    }
    vv_st_close(st);
    free(names);
    free(d);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("safetensors", &tc);
    tcase_add_test(tc, empty_files);
    tcase_add_test(tc, order_and_lookup);
    tcase_add_loop_test(tc, refused, 0, BAD_COUNT);
    tcase_add_loop_test(tc, refused_raw, 0, RAW_COUNT);
    tcase_add_test(tc, every_cut_is_refused);
    tcase_add_test(tc, costly_header);
    tcase_add_test(tc, no_file);
    tcase_add_test(tc, wrong_types_when_reading);
    tcase_add_loop_test(tc, round_trip_of_all_types, 0, 2);
    tcase_add_test(tc, exact_bytes);
    tcase_add_test(tc, real_numbers);
    tcase_add_test(tc, wrong_declarations);
    tcase_add_test(tc, wrong_writing);
    tcase_add_test(tc, many_tensors);
    return s;
}

VVT_MAIN(suite)
