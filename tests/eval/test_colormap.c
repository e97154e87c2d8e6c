/* The colour map against another way through Oklab: from the bytes back to lightness, chroma and hue. */
#include "eval/colormap.h"

#include <math.h>

#include "vvt.h"

typedef struct {
    double L, a, b;
} lab;

/* bytes of sRGB to Oklab, by the forward matrices of its definition (the code has the inverse ones) and libm */
static lab to_oklab(const unsigned char *rgb)
{
    double c[3];
    for (int k = 0; k < 3; k++) {
        const double x = rgb[k] / 255.0;
        c[k] = x <= 0.04045 ? x / 12.92 : pow((x + 0.055) / 1.055, 2.4);
    }
    const double l = cbrt(0.4122214708 * c[0] + 0.5363325363 * c[1] + 0.0514459929 * c[2]);
    const double m = cbrt(0.2119034982 * c[0] + 0.6806995451 * c[1] + 0.1073969566 * c[2]);
    const double s = cbrt(0.0883024619 * c[0] + 0.2817188376 * c[1] + 0.6299787005 * c[2]);
    return (lab){0.2104542553 * l + 0.7936177850 * m - 0.0040720468 * s,
                 1.9779984951 * l - 2.4285922050 * m + 0.4505937099 * s,
                 0.0259040371 * l + 0.7827717662 * m - 0.8086757660 * s};
}

static double apart(lab x, lab y)
{
    return sqrt((x.L - y.L) * (x.L - y.L) + (x.a - y.a) * (x.a - y.a) + (x.b - y.b) * (x.b - y.b));
}

/* The lightness rises with every entry, after rounding to bytes too, along the straight line; chroma and hue are those of the formula:
 * so nothing was clipped. A byte's half step is worth at most 0.006 in the dark, where sRGB is steepest. */
START_TEST(formula)
{
    unsigned char map[VV_COLORMAP][3];
    const double pi = acos(-1);
    vv_colormap(map);
    for (int i = 0; i < VV_COLORMAP; i++) {
        const double t = i / 255.0, C = 0.04 + 0.13 * sin(pi * t), h = (270 + 200 * t) * pi / 180;
        const lab x = to_oklab(map[i]), want = {0.15 + 0.8 * t, C * cos(h), C * sin(h)};
        ck_assert_msg(apart(x, want) < 0.006, "%d: %g %g %g, expected %g %g %g", i, x.L, x.a, x.b, want.L, want.a,
                      want.b);
        ck_assert_msg(i == 0 || x.L > to_oklab(map[i - 1]).L, "%d: not lighter than the one before", i);
    }
}
END_TEST

/* Equal steps look equal: no step of eight entries differs from the mean one by more than a third. */
START_TEST(even)
{
    unsigned char map[VV_COLORMAP][3];
    double step[31], mean = 0;
    vv_colormap(map);
    for (int i = 0; i < 31; i++) mean += step[i] = apart(to_oklab(map[8 * i]), to_oklab(map[8 * i + 8]));
    for (int i = 0; i < 31; i++)
        ck_assert_msg(fabs(31 * step[i] / mean - 1) < 1.0 / 3, "%d: %g of the mean", i, 31 * step[i] / mean);
}
END_TEST

START_TEST(draw)
{
    unsigned char map[VV_COLORMAP][3], rgb[30];
    const float x[10] = {2, 4, 3, 1, 5, -INFINITY, INFINITY, NAN, 2.0039F, 3.9F};
    const int want[10] = {0, 255, 128, 0, 255, -1, -1, -1, 0, 242}; /* 255 (x - 2) / 2 to the nearest */
    vv_colormap(map);
    vv_colormap_draw(rgb, x, 10, 2, 4);
    for (int i = 0; i < 10; i++)
        for (int k = 0; k < 3; k++) ck_assert_int_eq(rgb[3 * i + k], want[i] < 0 ? 128 : map[want[i]][k]);
    static const double nothing[][2] = {{2, 2}, {4, 2}, {NAN, 2}, {2, NAN}, {2, INFINITY}, {-1e308, 1e308}};
    for (int j = 0; j < 6; j++) {
        memset(rgb, 7, sizeof rgb);
        vv_colormap_draw(rgb, x, 10, nothing[j][0], nothing[j][1]);
        for (int i = 0; i < 30; i++) ck_assert_int_eq(rgb[i], 128);
    }
    memset(rgb, 7, sizeof rgb);
    vv_colormap_draw(rgb, x, 0, 2, 4);
    ck_assert_int_eq(rgb[0], 7);
}
END_TEST

/* The first dozen colours are of one lightness and never nearer than neighbours on a wheel of two dozen; clipping, which the most
 * vivid ones meet, shifts them a little. */
START_TEST(told_apart)
{
    lab x[12];
    for (int k = 0; k < 12; k++) {
        unsigned char rgb[3];
        vv_colour_of(k, rgb);
        x[k] = to_oklab(rgb);
        ck_assert_double_eq_tol(x[k].L, 0.72, 0.03);
        for (int j = 0; j < k; j++)
            ck_assert_msg(apart(x[k], x[j]) > 2 * 0.16 * sin(acos(-1) / 24), "%d and %d: %g", j, k, apart(x[k], x[j]));
    }
    unsigned char far[3];
    vv_colour_of((int64_t)1 << 40, far); /* any number */
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("colormap", &tc);
    tcase_add_test(tc, formula);
    tcase_add_test(tc, even);
    tcase_add_test(tc, draw);
    tcase_add_test(tc, told_apart);
    return s;
}
VVT_MAIN(suite)
