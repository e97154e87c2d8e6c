/* The examples of RFC 4648, section 10, and every byte in every place of a group, read back. */
#include "base/base64.h"

#include "vvt.h"

START_TEST(published)
{
    static const char *const pair[][2] = {{"", ""},
                                          {"f", "Zg=="},
                                          {"fo", "Zm8="},
                                          {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="},
                                          {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) {
        char *text = vv_base64((const unsigned char *)pair[i][0], (int64_t)strlen(pair[i][0]));
        ck_assert_str_eq(text, pair[i][1]);
        free(text);
    }
    ck_assert(vv_base64(NULL, -1) == NULL);
}
END_TEST

static int value(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

START_TEST(all_bytes)
{
    for (int n = 766; n <= 768; n++) {
        unsigned char bytes[768];
        for (int i = 0; i < n; i++) bytes[i] = (unsigned char)(i + i / 256);
        char *text = vv_base64(bytes, n);
        ck_assert_int_eq((int)strlen(text), (n + 2) / 3 * 4);
        for (int i = 0; i < n; i++) { /* byte i is bits 8i .. 8i+7 */
            const int at = 8 * i / 6, v = value(text[at]) << 6 | (value(text[at + 1]) & 63);
            ck_assert_int_eq(v >> (4 - 8 * i % 6) & 255, bytes[i]);
        }
        free(text);
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("base64", &tc);
    tcase_add_test(tc, published);
    tcase_add_test(tc, all_bytes);
    return s;
}
VVT_MAIN(suite)
