/* Portable Float Maps, built byte by byte here. */
#include "io/pfm.h"

#include <math.h>

#include "vvt.h"

enum { H = 2, W = 3 };
static const float value[H][W] = {{1, -2.5f, 0x1p-149f}, {0, INFINITY, 1e30f}};

/* The header and the values, the lower row first, in either order of bytes. *n receives the size. */
static unsigned char *make(const char *header, int big, size_t *n)
{
    const size_t head = strlen(header);
    unsigned char *b = malloc(head + sizeof value);
    memcpy(b, header, head);
    for (int k = 0; k < H * W; k++) {
        uint32_t bits;
        memcpy(&bits, &value[H - 1 - k / W][k % W], 4);
        for (int i = 0; i < 4; i++) b[head + (size_t)(4 * k + i)] = (unsigned char)(bits >> 8 * (big ? 3 - i : i));
    }
    *n = head + sizeof value;
    return b;
}

static const struct {
    const char *header;
    int big;
} good[] = {{"Pf\n3 2\n-1.0\n", 0},  {"Pf\n3 2\n1.0\n", 1},          {"Pf 3\t2 -0.5\r", 0},   {"Pf\n3\n2\n+1e-3 ", 1},
            {"Pf\r\n3 2\r\n-1 ", 0}, {"Pf\n003 2\n-.000001E5\n", 0}, {"Pf\n3 2\n65535.\n", 1}};
enum { GOOD = sizeof good / sizeof *good };

START_TEST(read)
{
    size_t n;
    unsigned char *b = make(good[_i].header, good[_i].big, &n);
    vv_pfm p;
    VVT_OK(vv_pfm_parse(&p, b, (int64_t)n, "x.pfm", err));
    ck_assert(p.h == H && p.w == W && !memcmp(p.v, value, sizeof value));
    vv_pfm_free(&p);
    vv_pfm_free(&p); /* twice is fine */
    ck_assert(!p.v && p.h == 0);
    for (size_t k = 0; k <= n + 1; k++) { /* every cut, and a byte too many */
        unsigned char *cut = calloc(k + 1, 1);
        memcpy(cut, b, k < n ? k : n);
        vv_error e = {0};
        if (k == n) VVT_OK(vv_pfm_parse(&p, cut, (int64_t)k, "cut.pfm", err));
        else vvt_expect_error(&e, vv_pfm_parse(&p, cut, (int64_t)k, "cut.pfm", &e), VV_FILE, "cut.pfm", NULL);
        vv_pfm_free(&p);
        free(cut);
    }
    free(b);
}
END_TEST

START_TEST(nan_stays)
{
    static const unsigned char file[] = "Pf\n1 1\n-1\n\x01\x00\xc0\x7f";
    vv_pfm p;
    VVT_OK(vv_pfm_parse(&p, file, sizeof file - 1, "x", err));
    ck_assert(isnan(p.v[0]) && !memcmp(p.v, file + 10, 4));
    vv_pfm_free(&p);
}
END_TEST

static const struct {
    const char *header, *words[2];
} bad[] = {
    {"PF\n3 2\n-1\n", {"one channel", "PF"}},
    {"P5\n3 2\n255\n", {"no PFM", "Pf"}},
    {"Pfx\n3 2\n-1\n", {"no PFM"}},
    {"Pf\n0 2\n-1\n", {"width and height", "1..65535"}},
    {"Pf\n3 -2\n-1\n", {"width and height"}},
    {"Pf\n3.0 2\n-1\n", {"width and height"}},
    {"Pf\n65536 65536\n-1\n", {"width and height"}},
    {"Pf\n99999999999999999999999999 2\n-1\n", {"width and height"}},
    {"Pf\n9999999999999999999999999999999999999999 2\n-1\n", {"width and height"}},
    {"Pf\n65535 65535\n-1\n", {"17179344900 bytes", "found 24"}},
    {"Pf\n2 2\n-1\n", {"expected 16 bytes", "found 24"}},
    {"Pf\n3 2\n0.0\n", {"scale"}},
    {"Pf\n3 2\n-0e5\n", {"scale"}},
    {"Pf\n3 2\nnan\n", {"scale"}},
    {"Pf\n3 2\n-inf\n", {"scale"}},
    {"Pf\n3 2\n1e\n", {"scale"}},
    {"Pf\n3 2\n1e+\n", {"scale"}},
    {"Pf\n3 2\n1.0.0\n", {"scale"}},
    {"Pf\n3 2\n-\n", {"scale"}},
    {"Pf\n3 2\n0x1\n", {"scale"}},
};
enum { BAD = sizeof bad / sizeof *bad };

START_TEST(refused)
{
    size_t n;
    unsigned char *b = make(bad[_i].header, 0, &n);
    vv_pfm p;
    vv_error e = {0};
    const vv_status s = vv_pfm_parse(&p, b, (int64_t)n, "bad.pfm", &e);
    for (int k = 0; k < 2 && bad[_i].words[k]; k++) vvt_expect_error(&e, s, VV_FILE, "bad.pfm", bad[_i].words[k], NULL);
    ck_assert(!p.v && p.h == 0);
    free(b);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("pfm", &tc);
    tcase_add_loop_test(tc, read, 0, GOOD);
    tcase_add_test(tc, nan_stays);
    tcase_add_loop_test(tc, refused, 0, BAD);
    return s;
}
VVT_MAIN(suite)
