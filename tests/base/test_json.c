/* Loading JSON and typed access: what is accepted, and what each refusal says. */
#include "vvt.h"

#include <sys/stat.h>

#include "base/json.h"

static const char TEXT[] =
    "{\"i\": -7, \"big\": 9223372036854775807, \"r\": 2.5, \"e\": 1e5, \"s\": \"hi\", \"t\": true, "
    "\"f\": false, \"z\": null, \"o\": {\"k\": 1}, \"a\": [1, 2]}";

static json_t *parse(const char *text)
{
    json_t *root = NULL;
    VVT_OK(vv_json_parse(&root, text, strlen(text), "t.json", err));
    return root;
}

START_TEST(getters)
{
    json_t *j = parse(TEXT);
    int64_t i = 0;
    double r = 0;
    const char *s = NULL;
    int b = -1;
    const json_t *o = NULL, *a = NULL;
    VVT_OK(vv_json_int(j, "t", "i", -7, -7, &i, err));
    ck_assert_int_eq(i, -7);
    VVT_OK(vv_json_int(j, "t", "big", INT64_MIN, INT64_MAX, &i, err));
    ck_assert(i == INT64_MAX);
    VVT_OK(vv_json_real(j, "t", "r", 2.5, 2.5, &r, err));
    ck_assert(r == 2.5);
    VVT_OK(vv_json_real(j, "t", "i", -10, 0, &r, err)); /* an integer is a number */
    ck_assert(r == -7);
    VVT_OK(vv_json_string(j, "t", "s", &s, err));
    ck_assert_str_eq(s, "hi");
    VVT_OK(vv_json_bool(j, "t", "t", &b, err));
    ck_assert_int_eq(b, 1);
    VVT_OK(vv_json_bool(j, "t", "f", &b, err));
    ck_assert_int_eq(b, 0);
    VVT_OK(vv_json_object(j, "t", "o", &o, err));
    ck_assert(json_is_object(o));
    VVT_OK(vv_json_array(j, "t", "a", &a, err));
    ck_assert_uint_eq(json_array_size(a), 2);
    VVT_OK(vv_json_need(j, "t", "i", err));
    json_decref(j);
}
END_TEST

START_TEST(absent_and_null_leave_the_default)
{
    json_t *j = parse(TEXT);
    int64_t i = 42;
    double r = 4.5;
    const char *s = "default";
    int b = 7;
    static const char *const keys[] = {"missing", "z"};
    for (int k = 0; k < 2; k++) {
        VVT_OK(vv_json_int(j, "t", keys[k], 0, 1, &i, err));
        VVT_OK(vv_json_real(j, "t", keys[k], 0, 1, &r, err));
        VVT_OK(vv_json_string(j, "t", keys[k], &s, err));
        VVT_OK(vv_json_bool(j, "t", keys[k], &b, err));
    }
    ck_assert_int_eq(i, 42);
    ck_assert(r == 4.5);
    ck_assert_str_eq(s, "default");
    ck_assert_int_eq(b, 7);
    json_decref(j);
}
END_TEST

START_TEST(wrong_types_are_named)
{
    json_t *j = parse(TEXT);
    int64_t i = 42;
    double r = 4.5;
    const char *s = "default";
    int b = 7;
    const json_t *o = NULL;
#define BAD(call, ...)                                                                                                 \
    do {                                                                                                               \
        vv_error e = {0};                                                                                              \
        const vv_status st = (call);                                                                                   \
        vvt_expect_error(&e, st, VV_FILE, __VA_ARGS__, (char *)NULL);                                                  \
    } while (0)
    BAD(vv_json_int(j, "a.json", "r", 0, 9, &i, &e), "a.json", "'r'", "integer from 0 to 9", "real 2.5");
    BAD(vv_json_int(j, "a.json", "e", 0, INT64_MAX, &i, &e), "'e'", "integer of at least 0", "real 100000");
    BAD(vv_json_int(j, "a.json", "i", -6, 9, &i, &e), "'i'", "from -6 to 9", "integer -7");
    BAD(vv_json_int(j, "a.json", "i", -9, -8, &i, &e), "'i'", "from -9 to -8", "integer -7");
    BAD(vv_json_int(j, "a.json", "s", INT64_MIN, INT64_MAX, &i, &e), "'s'", "expected an integer", "string \"hi\"");
    BAD(vv_json_int(j, "a.json", "t", 0, 1, &i, &e), "'t'", "found true");
    BAD(vv_json_real(j, "a.json", "s", 0, 1, &r, &e), "'s'", "number from 0 to 1", "string");
    BAD(vv_json_real(j, "a.json", "r", 0, 1, &r, &e), "'r'", "number from 0 to 1", "2.5");
    BAD(vv_json_string(j, "a.json", "a", &s, &e), "'a'", "a string", "array of 2");
    BAD(vv_json_bool(j, "a.json", "i", &b, &e), "'i'", "true or false", "integer -7");
    BAD(vv_json_object(j, "a.json", "a", &o, &e), "'a'", "an object", "array of 2");
    BAD(vv_json_array(j, "a.json", "o", &o, &e), "'o'", "an array", "an object");
    BAD(vv_json_need(j, "a.json", "q", &e), "'q'", "a value", "nothing");
    BAD(vv_json_need(j, "a.json", "z", &e), "'z'", "a value", "null");
    BAD(vv_json_int(json_object_get(j, "a"), "a.json", "k", 0, 1, &i, &e), "a.json", "object with 'k'", "array of 2");
    BAD(vv_json_int(NULL, "a.json", "k", 0, 1, &i, &e), "object with 'k'", "nothing");
    ck_assert_int_eq(i, 42);
    ck_assert(r == 4.5 && b == 7 && !strcmp(s, "default") && !o);
    json_decref(j);
}
END_TEST

START_TEST(only_known_keys)
{
    static const char *const all[] = {"lr", "steps", NULL};
    json_t *j = parse("{\"lr\": 1, \"step\": 2}");
    BAD(vv_json_only(j, "run.json", all, &e), "run.json", "'step'", "lr, steps");
    json_decref(j);
    j = parse("{\"lr\": 1, \"steps\": 2}");
    VVT_OK(vv_json_only(j, "run.json", all, err));
    json_decref(j);
    j = parse("{}");
    VVT_OK(vv_json_only(j, "run.json", all, err));
    json_decref(j);
}
END_TEST

/* Text that must be refused, and what the message says besides the name. */
static const struct {
    const char *text, *word;
} bad[] = {
    {"", "JSON"},
    {" ", "JSON"},
    {"{", "JSON"},
    {"}", "JSON"},
    {"[1]", "expected an object"},
    {"1", "JSON"},
    {"null", "JSON"},
    {"{\"a\":1,\"a\":2}", "duplicate"},
    {"{\"o\":{\"a\":1,\"a\":2}}", "duplicate"},
    {"{} x", "end of file"},
    {"{}{}", "end of file"},
    {"{\"a\":01}", "line 1"},
    {"{\"a\":1,}", "line 1"},
    {"{\"a\":9223372036854775808}", "too big"},
    {"{\"a\":1e999}", "overflow"},
    {"{\"a\":NaN}", "token"},
    {"{\"a\":\"\xff\"}", "unable to decode byte 0xff"},
    {"{\"a\":\"\\u0000\"}", "u0000"},
    {"{\"a\":\"\\ud800\"}", "line 1"},
    {"\xef\xbb\xbf{}", "line 1"},
    {"{'a':1}", "line 1"},
    {"{\"a\" 1}", "':'"},
    {"{\"a\":tru}", "line 1"},
    {"{\n\n\"a\":x}", "line 3"},
};

START_TEST(refused_text)
{
    json_t *j = (json_t *)1;
    vv_error e = {0};
    const vv_status s = vv_json_parse(&j, bad[_i].text, strlen(bad[_i].text), "bad.json", &e);
    vvt_expect_error(&e, s, VV_FILE, "bad.json", bad[_i].word, (char *)NULL);
    ck_assert_ptr_null(j);
}
END_TEST

START_TEST(depth_is_limited)
{
    char deep[20001];
    memset(deep, '[', 20000);
    memcpy(deep, "{\"a\":", 5);
    json_t *j;
    BAD(vv_json_parse(&j, deep, 20000, "deep.json", &e), "deep.json", "depth");
}
END_TEST

START_TEST(files)
{
    json_t *j;
    const char *path = vvt_write("ok.json", " {\"a\": 3}\n", 10);
    int64_t a = 0;
    VVT_OK(vv_json_load(&j, path, 10, err));
    VVT_OK(vv_json_int(j, path, "a", 0, 9, &a, err));
    ck_assert_int_eq(a, 3);
    json_decref(j);
    BAD(vv_json_load(&j, path, 9, &e), "ok.json", "at most 9", "found 10");
    ck_assert_ptr_null(j);
    BAD(vv_json_load(&j, vvt_path("none.json"), 99, &e), "none.json", "No such file");
    BAD(vv_json_load(&j, vvt_tmpdir(), 99999, &e), vvt_tmpdir(), "folder");
    BAD(vv_json_load(&j, vvt_write("empty.json", "", 0), 99, &e), "empty.json", "JSON");
    BAD(vv_json_load(&j, vvt_write("nul.json", "{}\0", 3), 99, &e), "nul.json", "JSON");
    ck_assert_int_eq(mkfifo(vvt_path("fifo"), 0600), 0);
    BAD(vv_json_load(&j, vvt_path("fifo"), 99, &e), "fifo", "regular file");
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("json", &tc);
    tcase_add_test(tc, getters);
    tcase_add_test(tc, absent_and_null_leave_the_default);
    tcase_add_test(tc, wrong_types_are_named);
    tcase_add_test(tc, only_known_keys);
    tcase_add_loop_test(tc, refused_text, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_test(tc, depth_is_limited);
    tcase_add_test(tc, files);
    return s;
}

VVT_MAIN(suite)
