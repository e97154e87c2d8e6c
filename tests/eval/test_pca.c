/* Features made of known directions come apart into them; degenerate sizes are drawn grey. */
#include "eval/pca.h"

#include <math.h>

#include "vvt.h"

static double uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) * 0x1p-52 - 1;
}

/* x = 5 + 9 a e0 + 4 b e1 + 2 c e2 + tiny noise, e orthogonal +-1/sqrt(C) patterns, a, b, c orthogonal cosines: 24
 * channels and 300 tokens, and more channels than tokens, which takes the other matrix. */
START_TEST(known_directions)
{
    const int64_t N = _i ? 24 : 300, C = _i ? 304 : 24;
    const double size[3] = {9, 4, 2};
    double *x = malloc(sizeof *x * (size_t)(N * C)), *comp = malloc(sizeof *comp * (size_t)(3 * N)), var[3];
    double *part = malloc(sizeof *part * (size_t)(3 * N));
    uint64_t state = 7;
    for (int64_t n = 0; n < N; n++) {
        /* orthogonal coefficients also over the tokens, so that the answer is exact: cosines of whole periods */
        for (int p = 0; p < 3; p++)
            part[3 * n + p] = size[p] * cos(2 * 3.14159265358979323846 * (p + 1) * ((double)n + 0.5) / (double)N);
        for (int64_t c = 0; c < C; c++) {
            x[n * C + c] = 5 + 1e-9 * uniform(&state);
            /* the first pattern is -1 everywhere, so the sign rule must turn it */
            const double e[3] = {-1, c & 1 ? 1 : -1, c & 2 ? 1 : -1};
            for (int p = 0; p < 3; p++) x[n * C + c] += part[3 * n + p] * e[p] / sqrt((double)C);
        }
    }
    VVT_OK(vv_pca_components(x, N, C, comp, var, err));
    for (int p = 0; p < 3; p++) {
        ck_assert_double_eq_tol(var[p], size[p] * size[p] / 2, 1e-6);
        /* patterns 1 and 2 begin with -1, all magnitudes equal up to noise: only |comp| is determined */
        for (int64_t n = 0; n < N; n++) {
            const double want = part[3 * n + p], got = comp[3 * n + p];
            ck_assert_msg(fabs(p == 0 ? got + want : fabs(got) - fabs(want)) < 1e-6, "%d %d: %g %g", p, (int)n, want,
                          got);
        }
    }
    free(x);
    free(comp);
    free(part);
}
END_TEST

/* Three clusters: one colour each, all different; scale does not matter, however large or small. */
START_TEST(clusters)
{
    static const double scale[3] = {1, 1e-160, 1e140};
    enum { N = 90, C = 5 };
    unsigned char first[3 * N];
    for (int k = 0; k < 3; k++) {
        double x[N * C];
        unsigned char rgb[3 * N];
        for (int n = 0; n < N; n++)
            for (int c = 0; c < C; c++) x[n * C + c] = scale[k] * (n % 3 == 0 ? c : n % 3 == 1 ? -2 * c : 3 - c * c);
        VVT_OK(vv_pca_image(x, N, C, rgb, err));
        for (int n = 3; n < N; n++) ck_assert(memcmp(rgb + 3 * n, rgb + 3 * (n % 3), 3) == 0);
        ck_assert(memcmp(rgb, rgb + 3, 3) != 0 && memcmp(rgb, rgb + 6, 3) != 0 && memcmp(rgb + 3, rgb + 6, 3) != 0);
        int lo = 255, hi = 0;
        for (int n = 0; n < N; n++) {
            lo = rgb[3 * n] < lo ? rgb[3 * n] : lo;
            hi = rgb[3 * n] > hi ? rgb[3 * n] : hi;
            ck_assert_int_eq(rgb[3 * n + 2], 128); /* three points span a plane: no third component */
        }
        ck_assert(lo == 0 && hi == 255);
        if (k == 0) memcpy(first, rgb, sizeof first);
        for (int i = 0; i < 3 * N; i++) ck_assert(abs(rgb[i] - first[i]) <= 1);
    }
}
END_TEST

START_TEST(outliers)
{
    enum { N = 400 };
    double x[N];
    unsigned char rgb[3 * N];
    for (int n = 0; n < N; n++) x[n] = n;
    x[N - 1] = 1e6;
    VVT_OK(vv_pca_image(x, N, 1, rgb, err));
    ck_assert_int_eq(rgb[0], 0);
    ck_assert_int_eq(rgb[3 * (N - 1)], 255);
    ck_assert(rgb[3 * 200] > 120 && rgb[3 * 200] < 136); /* the outlier does not flatten the rest */
}
END_TEST

START_TEST(degenerate)
{
    double x[12] = {0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1};
    unsigned char rgb[36];
    static const int size[][2] = {{1, 1}, {1, 12}, {12, 1}, {4, 3}, {3, 4}, {2, 6}};
    for (size_t i = 0; i < sizeof size / sizeof *size; i++) {
        memset(rgb, 7, sizeof rgb);
        VVT_OK(vv_pca_image(x, size[i][0], size[i][1], rgb, err));
        for (int k = 0; k < 3 * size[i][0]; k++) ck_assert_int_eq(rgb[k], 128);
    }
    memset(x, 0, sizeof x);
    VVT_OK(vv_pca_image(x, 4, 3, rgb, err));
    ck_assert_int_eq(rgb[11], 128);
}
END_TEST

START_TEST(repeat_and_refusals)
{
    enum { N = 200, C = 70 };
    static double x[N * C], a[3 * N], b[3 * N];
    uint64_t state = 3;
    for (int i = 0; i < N * C; i++) x[i] = uniform(&state);
    VVT_OK(vv_pca_components(x, N, C, a, NULL, err));
    VVT_OK(vv_pca_components(x, N, C, b, NULL, err));
    ck_assert(memcmp(a, b, sizeof a) == 0);
    unsigned char rgb[3 * N];
    vv_error e = {0}, f = {0}, g = {0};
    vvt_expect_error(&e, vv_pca_image(x, 0, 3, rgb, &e), VV_USAGE, "[0,3]", NULL);
    vvt_expect_error(&f, vv_pca_image(x, -1, 3, rgb, &f), VV_USAGE, "[-1,3]", NULL);
    x[C + 2] = NAN;
    vvt_expect_error(&g, vv_pca_image(x, N, C, rgb, &g), VV_NONFINITE, "row 1, channel 2", NULL);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("pca", &tc);
    tcase_add_loop_test(tc, known_directions, 0, 2);
    tcase_add_test(tc, clusters);
    tcase_add_test(tc, outliers);
    tcase_add_test(tc, degenerate);
    tcase_add_test(tc, repeat_and_refusals);
    return s;
}
VVT_MAIN(suite)
