/* Text files as lines. */
#include "io/lines.h"

#include "vvt.h"

static const struct {
    const char *text;
    int n;
    const char *line[4];
} good[] = {
    {"", 0, {0}},
    {"\n", 1, {""}},
    {"a", 1, {"a"}},
    {"a\n", 1, {"a"}},
    {"a\n\n", 2, {"a", ""}},
    {"\na", 2, {"", "a"}},
    {"a\r\nb\r\n", 2, {"a", "b"}},
    {"a\rb", 1, {"a\rb"}},
    {"a\r\r\n\r", 2, {"a\r", ""}},
    {" a \n\t\n b", 3, {" a ", "\t", " b"}},
    {"\xff\xfe\n\xc3\xa9", 2, {"\xff\xfe", "\xc3\xa9"}},
};
enum { GOOD = sizeof good / sizeof *good };

START_TEST(lines)
{
    vv_lines l;
    VVT_OK(vv_lines_read(&l, vvt_write("l.txt", good[_i].text, strlen(good[_i].text)), err));
    ck_assert_int_eq(l.n, good[_i].n);
    for (int i = 0; i < good[_i].n; i++) ck_assert_str_eq(l.line[i], good[_i].line[i]);
    vv_lines_free(&l);
    vv_lines_free(&l); /* twice is fine */
    ck_assert(!l.line && !l.text && l.n == 0);
}
END_TEST

START_TEST(many_lines)
{
    enum { N = 5000 };
    char *text = malloc(8 * N), *p = text;
    for (int i = 0; i < N; i++) p += sprintf(p, "%d\n", i);
    vv_lines l;
    VVT_OK(vv_lines_read(&l, vvt_write("l.txt", text, (size_t)(p - text)), err));
    ck_assert_int_eq(l.n, N);
    for (int i = 0; i < N; i++) ck_assert_int_eq(atoi(l.line[i]), i);
    vv_lines_free(&l);
    free(text);
}
END_TEST

START_TEST(refused)
{
    vv_lines l;
    vv_error e = {0}, f = {0}, g = {0};
    vvt_expect_error(&e, vv_lines_read(&l, vvt_write("nul.txt", "ab\n\0c", 5), &e), VV_FILE, "nul.txt", "NUL", "byte 3",
                     NULL);
    ck_assert(!l.line && !l.text && l.n == 0);
    vvt_expect_error(&f, vv_lines_read(&l, vvt_path("no.txt"), &f), VV_FILE, "no.txt", NULL);
    vvt_expect_error(&g, vv_lines_read(&l, vvt_tmpdir(), &g), VV_FILE, "folder", NULL);
}
END_TEST

START_TEST(json)
{
    static const char text[] = "{\"a\": 1}\r\n{\"a\": }\n[1]\n\n{\"a\": 5}";
    const char *path = vvt_write("l.jsonl", text, sizeof text - 1);
    char where[VV_WHERE];
    vv_lines l;
    json_t *o;
    VVT_OK(vv_lines_read(&l, path, err));
    ck_assert_int_eq(l.n, 5);
    for (int i = 0; i < 5; i += 4) {
        VVT_OK(vv_lines_json(&o, &l, i, "l.jsonl", where, err));
        ck_assert_int_eq(json_integer_value(json_object_get(o, "a")), i + 1);
        ck_assert_str_eq(where, i ? "l.jsonl:5" : "l.jsonl:1");
        json_decref(o);
    }
    for (int i = 1; i < 4; i++) {
        vv_error e = {0};
        const char *const places[] = {"l.jsonl:2", "l.jsonl:3", "l.jsonl:4"};
        vvt_expect_error(&e, vv_lines_json(&o, &l, i, "l.jsonl", where, &e), VV_FILE, places[i - 1], NULL);
        ck_assert(!o);
    }
    vv_lines_free(&l);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("lines", &tc);
    tcase_add_loop_test(tc, lines, 0, GOOD);
    tcase_add_test(tc, many_lines);
    tcase_add_test(tc, refused);
    tcase_add_test(tc, json);
    return s;
}
VVT_MAIN(suite)
