/* Ridge and softmax regression: small cases by hand, larger ones by their own conditions of a minimum, in naive loops. */
#include "eval/regression.h"

#include <math.h>
#include <omp.h>

#include "base/rng.h"
#include "vvt.h"

static vv_real *normal(const char *stream, int64_t n, double mean, double std)
{
    vv_real *x = vv_calloc(n, sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = (vv_real)(mean + std * vv_random_normal(5, vv_stream(stream), (uint64_t)i));
    return x;
}

/* the product that the scores are, one by one */
static double naive_score(const vv_real *x, const double *w, int64_t n, int64_t k, int64_t D, int64_t K)
{
    double sum = w[D * K + k];
    for (int64_t d = 0; d < D; d++) sum += (double)x[n * D + d] * w[d * K + k];
    return sum;
}

/* ---- linear algebra -------------------------------------------------------------------------------------------------------- */
START_TEST(scores)
{
    static const int size[][3] = {{1, 1, 1}, {3, 5, 2}, {64, 16, 8}, {67, 130, 9}, {130, 128, 17}, {5, 300, 1}};
    for (size_t c = 0; c < sizeof size / sizeof *size; c++) {
        const int64_t N = size[c][0], D = size[c][1], K = size[c][2];
        vv_real *x = normal("x", N * D, 0.3, 1), *v = normal("w", (D + 1) * K, 0, 1);
        double *w = vv_calloc((D + 1) * K, sizeof *w), *z = vv_calloc(N * K, sizeof *z);
        for (int64_t i = 0; i < (D + 1) * K; i++) w[i] = (double)v[i];
        vv_linear_scores(z, x, w, N, D, K);
        for (int64_t i = 0; i < N * K; i++) ck_assert_double_eq_tol(z[i], naive_score(x, w, i / K, i % K, D, K), 1e-12);
        free(x);
        free(v);
        free(w);
        free(z);
    }
}
END_TEST

START_TEST(products_and_factors)
{
    static const int size[][2] = {{1, 1}, {7, 3}, {33, 64}, {200, 65}, {90, 131}};
    for (size_t c = 0; c < sizeof size / sizeof *size; c++) {
        const int64_t N = size[c][0], D = size[c][1];
        vv_real *x = normal("x", N * D, 1, 1);
        double *mean = vv_calloc(D, sizeof *mean), *g = vv_calloc(D * D, sizeof *g), *b = vv_calloc(3 * D, sizeof *b);
        double *keep = vv_calloc(D * D, sizeof *keep);
        for (int64_t d = 0; d < D; d++) mean[d] = 0.9 + 0.01 * (double)d;
        VVT_OK(vv_gram(g, x, mean, N, D, err));
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < D; j++) {
                double sum = 0;
                for (int64_t n = 0; n < N; n++)
                    sum += ((double)x[n * D + i] - mean[i]) * ((double)x[n * D + j] - mean[j]);
                ck_assert_double_eq_tol(g[i * D + j], sum, 1e-11 * (double)N);
            }
        for (int64_t d = 0; d < D; d++) g[d * D + d] += 1;
        memcpy(keep, g, (size_t)(D * D) * sizeof *g);
        for (int64_t i = 0; i < 3 * D; i++) b[i] = (double)(i % 7) - 3;
        ck_assert(vv_cholesky(g, D));
        vv_cholesky_solve(g, b, D, 3);
        for (int64_t i = 0; i < D; i++)
            for (int k = 0; k < 3; k++) {
                double sum = 0;
                for (int64_t j = 0; j < D; j++) sum += keep[i * D + j] * b[j * 3 + k];
                ck_assert_double_eq_tol(sum, (double)((i * 3 + k) % 7) - 3, 1e-9);
            }
        free(x);
        free(mean);
        free(g);
        free(b);
        free(keep);
    }
    double indefinite[4] = {1, 2, 2, 1}, zero = 0;
    ck_assert(!vv_cholesky(indefinite, 2));
    ck_assert(!vv_cholesky(&zero, 1));
}
END_TEST

START_TEST(standardising)
{
    vv_real x[12] = {1, (vv_real)0.1, 5, 3, (vv_real)0.1, 5, 5, (vv_real)0.1, 5, 7, (vv_real)0.1, 6};
    double mean[3], scale[3];
    VVT_OK(vv_standard_fit(mean, scale, x, 4, 3, err));
    ck_assert_double_eq_tol(mean[0], 4, 1e-15);
    ck_assert_double_eq_tol(scale[0], 1 / sqrt(5.), 1e-15);
    ck_assert(scale[1] == 0); /* constant to rounding */
    ck_assert_double_eq_tol(scale[2], 1 / sqrt(3. / 16), 1e-15);
    vv_standardise(x, 4, 3, mean, scale);
    ck_assert_double_eq_tol((double)x[9], 3 / sqrt(5.), 1e-6);
    ck_assert(x[1] == 0 && x[10] == 0);
    vv_error e = {0}, f = {0};
    x[7] = (vv_real)NAN;
    vvt_expect_error(&e, vv_standard_fit(mean, scale, x, 4, 3, &e), VV_NONFINITE, "row 2", "column 1", NULL);
    vvt_expect_error(&f, vv_standard_fit(mean, scale, x, 0, 3, &f), VV_USAGE, "[0,3]", NULL);
}
END_TEST

/* ---- ridge ----------------------------------------------------------------------------------------------------------------- */
/* x = 0, 1, 2 and y = 0, 0, 3: the centred products are 2/3 and 1, so w = 1 / (2/3 + lambda) and the line passes through (1,1) */
START_TEST(ridge_by_hand)
{
    const vv_real x[3] = {0, 1, 2};
    const double y[3] = {0, 0, 3}, lambda[2] = {1. / 3, 4. / 3};
    double w[4];
    VVT_OK(vv_ridge(w, x, y, 3, 1, lambda, 2, err));
    const double want[4] = {1, 0, 0.5, 0.5};
    for (int i = 0; i < 4; i++) ck_assert_double_eq_tol(w[i], want[i], 1e-15);
}
END_TEST

/* the gradient of the penalised mean squared error, by naive loops, is zero */
START_TEST(ridge_minimum)
{
    enum { N = 300, D = 70, L = 3 };
    static const double lambda[L] = {1e-4, 1e-1, 10};
    vv_real *x = normal("x", N * D, 2, 3);
    double y[N], w[L * (D + 1)];
    for (int n = 0; n < N; n++)
        y[n] = 5 + (double)x[n * D] - 2 * (double)x[n * D + 69] + vv_random_normal(5, vv_stream("y"), (uint64_t)n);
    VVT_OK(vv_ridge(w, x, y, N, D, lambda, L, err));
    for (int l = 0; l < L; l++)
        for (int d = 0; d <= D; d++) {
            const double *v = w + l * (D + 1);
            double g = d < D ? lambda[l] * v[d] : 0;
            for (int n = 0; n < N; n++)
                g += (naive_score(x, v, n, 0, D, 1) - y[n]) * (d < D ? (double)x[n * D + d] : 1) / N;
            ck_assert_msg(fabs(g) < 1e-10, "lambda %g, component %d: %g", lambda[l], d, g);
        }
    free(x);
}
END_TEST

/* ---- softmax --------------------------------------------------------------------------------------------------------------- */
/* One column of -1 and 1: with hardly any penalty the frequencies are met, 3 of 4 at both places, so half of the weights' difference is
 * the logarithm of 3, and the intercepts are 0. */
START_TEST(softmax_by_hand)
{
    const vv_real x[8] = {-1, -1, -1, -1, 1, 1, 1, 1};
    const unsigned char label[8] = {0, 1, 0, 0, 1, 0, 1, 1};
    double w[4] = {0};
    vv_softmax_info info;
    VVT_OK(vv_softmax(w, x, label, 8, 1, 2, 1e-9, 1e-12, &info, err));
    ck_assert(info.converged);
    ck_assert_double_eq_tol(w[1], log(3.) / 2, 1e-7);
    ck_assert_double_eq_tol(w[0], -w[1], 1e-7);
    ck_assert_double_eq_tol(w[2], 0, 1e-7);
    ck_assert_double_eq_tol(w[3], 0, 1e-7);
    ck_assert_double_eq_tol(info.loss, -(3 * log(0.75) + log(0.25)) / 4, 1e-8);
}
END_TEST

static double naive_loss(double *gradient, const double *w, const vv_real *x, const unsigned char *label, int64_t N,
                         int64_t D, int64_t K, double lambda)
{
    double loss = 0;
    for (int64_t i = 0; i < (D + 1) * K; i++) {
        loss += (i < D * K ? lambda : 1e-4) / 2 * w[i] * w[i];
        gradient[i] = (i < D * K ? lambda : 1e-4) * w[i];
    }
    for (int64_t n = 0; n < N; n++) {
        double z[32] = {0}, sum = 0;
        for (int64_t k = 0; k < K; k++) sum += exp(z[k] = naive_score(x, w, n, k, D, K));
        /* cppcheck-suppress invalidFunctionArg ; K is at least 1 */
        loss += (log(sum) - z[label[n]]) / (double)N;
        for (int64_t k = 0; k < K; k++)
            for (int64_t d = 0; d <= D; d++)
                gradient[d * K + k] +=
                    (exp(z[k]) / sum - (k == label[n])) * (d < D ? (double)x[n * D + d] : 1) / (double)N;
    }
    return loss;
}

START_TEST(softmax_minimum)
{
    static const int size[][3] = {{150, 20, 9}, {60, 1, 2}, {101, 33, 17}, {40, 5, 1}};
    const int64_t N = size[_i][0], D = size[_i][1], K = size[_i][2];
    const double lambda = 1e-2, tolerance = 1e-8;
    vv_real *x = normal("x", N * D, 0.5, 1);
    unsigned char *label = vv_calloc(N, 1);
    double *w = vv_calloc((D + 1) * K, sizeof *w), *g = vv_calloc((D + 1) * K, sizeof *g);
    double *z = vv_calloc(N * K, sizeof *z), penalty = 0;
    vv_softmax_info info;
    for (int64_t n = 0; n < N; n++) /* the last class never occurs, when there are several */
        label[n] = (unsigned char)((int64_t)(4 * fabs((double)x[n * D])) % (K > 1 ? K - 1 : 1));
    VVT_OK(vv_softmax(w, x, label, N, D, K, lambda, tolerance, &info, err));
    const double loss = naive_loss(g, w, x, label, N, D, K, lambda);
    ck_assert(info.converged && info.gradient <= tolerance);
    ck_assert_double_eq_tol(info.loss, loss, 1e-12);
    for (int64_t i = 0; i < (D + 1) * K; i++)
        ck_assert_msg(fabs(g[i]) < tolerance + 1e-12, "component %d: %g", (int)i, g[i]);
    vv_linear_scores(z, x, w, N, D, K);
    for (int64_t i = 0; i < (D + 1) * K; i++) penalty += (i < D * K ? lambda : 1e-4) / 2 * w[i] * w[i];
    ck_assert_double_eq_tol(vv_mean_cross_entropy(z, label, N, K) + penalty, loss, 1e-12);
    free(x);
    free(label);
    free(w);
    free(g);
    free(z);
}
END_TEST

START_TEST(any_number_of_threads)
{
    enum { N = 3000, D = 80, K = 8 };
    static double w[3][(D + 1) * K], r[3][D + 1];
    vv_real *x = normal("x", N * D, 0, 1);
    unsigned char label[N];
    double y[N];
    const double lambda = 1e-3;
    const int before = omp_get_max_threads();
    for (int n = 0; n < N; n++) {
        y[n] = (double)x[n * D + 3] + 0.3 * (double)x[n * D + 5];
        label[n] = (unsigned char)((int)(3 * fabs(y[n])) % K);
    }
    for (int t = 0; t < 3; t++) {
        vv_softmax_info info;
        omp_set_num_threads(t + 1);
        VVT_OK(vv_ridge(r[t], x, y, N, D, &lambda, 1, err));
        VVT_OK(vv_softmax(w[t], x, label, N, D, K, lambda, 1e-4, &info, err));
        ck_assert(info.converged);
        ck_assert(!memcmp(w[t], w[0], sizeof *w) && !memcmp(r[t], r[0], sizeof *r));
    }
    omp_set_num_threads(before);
    free(x);
}
END_TEST

START_TEST(refusals)
{
    const vv_real x[2] = {0, 1};
    const unsigned char label[2] = {0, 3};
    const double y[2] = {0, 1}, none = 0;
    double w[8] = {0};
    vv_softmax_info info;
    vv_error e = {0}, f = {0}, g = {0}, h = {0};
    vvt_expect_error(&e, vv_ridge(w, x, y, 2, 1, &none, 1, &e), VV_USAGE, "lambda", NULL);
    vvt_expect_error(&f, vv_ridge(w, x, y, 0, 1, &none, 1, &f), VV_USAGE, "[0,1]", NULL);
    vvt_expect_error(&g, vv_softmax(w, x, label, 2, 1, 3, 1, 1e-6, &info, &g), VV_USAGE, "row 1", "below 3", NULL);
    vvt_expect_error(&h, vv_softmax(w, x, label, 2, 1, 4, 0, 1e-6, &info, &h), VV_USAGE, "lambda", NULL);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("regression", &tc);
    tcase_add_test(tc, scores);
    tcase_add_test(tc, products_and_factors);
    tcase_add_test(tc, standardising);
    tcase_add_test(tc, ridge_by_hand);
    tcase_add_test(tc, ridge_minimum);
    tcase_add_test(tc, softmax_by_hand);
    tcase_add_loop_test(tc, softmax_minimum, 0, 4);
    tcase_add_test(tc, any_number_of_threads);
    tcase_add_test(tc, refusals);
    return s;
}
VVT_MAIN(suite)
