/* Equality with Pillow (recorded hashes), the specification's row and table, and what is refused. */
#include "data/resize.h"

#include "vvt.h"

#include "pillow_resize.h"

static uint64_t fnv1a(const unsigned char *p, int64_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (int64_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

/* The generator of scripts/torch/make_pillow_vectors.py. */
static unsigned char *noise(uint64_t index, int64_t n)
{
    unsigned char *p = malloc((size_t)n);
    uint64_t state = index;
    for (int64_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        const unsigned char byte = (unsigned char)(state >> 56);
        p[i] = index % 2 == 0 ? byte : byte > 127 ? 255 : 0;
    }
    return p;
}

START_TEST(equals_pillow)
{
    const int64_t h = PILLOW[_i].h, w = PILLOW[_i].w, oh = PILLOW[_i].oh, ow = PILLOW[_i].ow;
    unsigned char *src = noise((uint64_t)_i, 3 * h * w), *dst = malloc((size_t)(3 * oh * ow));
    VVT_OK(vv_resize_bicubic_u8(dst, oh, ow, src, h, w, err));
    for (int c = 0; c < 3; c++) ck_assert_int_eq(dst[c], PILLOW[_i].first[c]);
    ck_assert_msg(fnv1a(dst, 3 * oh * ow) == PILLOW[_i].fnv, "%dx%d to %dx%d differs from Pillow", (int)h, (int)w,
                  (int)oh, (int)ow);
    free(src);
    free(dst);
}
END_TEST

/* Vision spec 6.1: a step of 8 pixels enlarged to 28; the same down a column. */
START_TEST(step)
{
    static const int want[4] = {11, 83, 172, 244};
    for (int vertical = 0; vertical < 2; vertical++) {
        unsigned char src[24], dst[84];
        for (int i = 0; i < 24; i++) src[i] = i < 12 ? 0 : 255;
        VVT_OK(vertical ? vv_resize_bicubic_u8(dst, 28, 1, src, 8, 1, err)
                        : vv_resize_bicubic_u8(dst, 1, 28, src, 1, 8, err));
        for (int i = 0; i < 84; i++) ck_assert_int_eq(dst[i], i < 36 ? 0 : i < 48 ? want[i / 3 - 12] : 255);
    }
}
END_TEST

/* Large enough for the parallel paths: a constant picture stays constant, and twice is the same. */
START_TEST(large)
{
    const int64_t h = 300, w = 400, oh = 420, ow = 350;
    unsigned char *src = noise(2, 3 * h * w), *a = malloc((size_t)(3 * oh * ow)), *b = malloc((size_t)(3 * oh * ow));
    VVT_OK(vv_resize_bicubic_u8(a, oh, ow, src, h, w, err));
    VVT_OK(vv_resize_bicubic_u8(b, oh, ow, src, h, w, err));
    ck_assert(memcmp(a, b, (size_t)(3 * oh * ow)) == 0);
    memset(src, 201, (size_t)(3 * h * w));
    VVT_OK(vv_resize_bicubic_u8(a, oh, ow, src, h, w, err));
    for (int64_t i = 0; i < 3 * oh * ow; i++) ck_assert_int_eq(a[i], 201);
    free(src);
    free(a);
    free(b);
}
END_TEST

START_TEST(nearest)
{
    static const unsigned char src[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}; /* 2x2 */
    unsigned char dst[3 * 4 * 6];
    VVT_OK(vv_resize_nearest_u8(dst, 4, 6, src, 2, 2, err));
    for (int y = 0; y < 4; y++)
        for (int x = 0; x < 6; x++)
            for (int c = 0; c < 3; c++) ck_assert_int_eq(dst[3 * (6 * y + x) + c], src[3 * (2 * (y / 2) + x / 3) + c]);
    VVT_OK(vv_resize_nearest_u8(dst, 1, 1, src, 2, 2, err));
    ck_assert_int_eq(dst[0], 10); /* the centre of the picture is the corner of the last pixel */
}
END_TEST

START_TEST(bad_sides)
{
    unsigned char p[12] = {0};
    static const int bad[][4] = {{0, 1, 1, 1},  {1, 0, 1, 1},     {1, 1, 0, 1},
                                 {1, 1, 1, -1}, {65536, 1, 1, 1}, {1, 1, 1, 65536}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vv_error e = {0};
        vvt_expect_error(&e, vv_resize_bicubic_u8(p, bad[i][0], bad[i][1], p, bad[i][2], bad[i][3], &e), VV_USAGE,
                         "1..65535", NULL);
        vv_error f = {0};
        vvt_expect_error(&f, vv_resize_nearest_u8(p, bad[i][0], bad[i][1], p, bad[i][2], bad[i][3], &f), VV_USAGE,
                         "1..65535", NULL);
    }
}
END_TEST

/* Vision spec 1.1.2: every row of the table, ties to even included. */
START_TEST(smart_table)
{
    enum { CLASS = 1003520, RELEASED = 12845056, PAPER = 802816 };
    static const int row[][5] = {
        {480, 640, CLASS, 476, 644},    {480, 640, RELEASED, 476, 644},     {480, 640, PAPER, 476, 644},
        {1080, 1920, CLASS, 728, 1316}, {1080, 1920, RELEASED, 1092, 1932}, {1080, 1920, PAPER, 672, 1176},
        {4000, 3000, CLASS, 1148, 840}, {4000, 3000, RELEASED, 4004, 2996}, {4000, 3000, PAPER, 1008, 756},
        {70, 70, CLASS, 56, 56},        {98, 98, CLASS, 112, 112},          {126, 126, CLASS, 112, 112},
        {42, 42, CLASS, 56, 56},        {14, 300, CLASS, 28, 280},          {10, 100, CLASS, 28, 196},
        {1, 200, CLASS, 28, 812},
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        int64_t oh = 0, ow = 0;
        VVT_OK(vv_smart_resize(row[i][0], row[i][1], 28, 3136, row[i][2], &oh, &ow, "x", err));
        ck_assert_int_eq(oh, row[i][3]);
        ck_assert_int_eq(ow, row[i][4]);
    }
}
END_TEST

START_TEST(smart_refusals)
{
    int64_t oh = 0, ow = 0;
    static const int64_t bad[][5] = {{0, 5, 28, 3136, 12845056},     {5, -1, 28, 3136, 12845056},
                                     {5, 5, 0, 3136, 12845056},      {5, 5, 28, 0, 12845056},
                                     {5, 5, 28, 3136, 3135},         {5, 5, 28, 1, 783},
                                     {70000, 5, 28, 3136, 12845056}, {5, 5, 28, 1, INT64_MAX}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vv_error e = {0};
        vvt_expect_error(
            &e, vv_smart_resize(bad[i][0], bad[i][1], bad[i][2], bad[i][3], bad[i][4], &oh, &ow, "pic.png", &e),
            VV_USAGE, "pic.png", "expected", NULL);
    }
    vv_error e = {0};
    vvt_expect_error(&e, vv_smart_resize(1, 201, 28, 3136, 12845056, &oh, &ow, "pic.png", &e), VV_FILE, "pic.png",
                     "1 x 201", "200", NULL);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("resize", &tc);
    tcase_add_loop_test(tc, equals_pillow, 0, (int)(sizeof PILLOW / sizeof *PILLOW));
    tcase_add_test(tc, step);
    tcase_add_test(tc, large);
    tcase_add_test(tc, nearest);
    tcase_add_test(tc, bad_sides);
    tcase_add_test(tc, smart_table);
    tcase_add_test(tc, smart_refusals);
    return s;
}
VVT_MAIN(suite)
