/* Ridge regression, and the linear algebra of linear probes.
 *
 * With centred features x' and targets y', and G = sum x' x'^T:   (G/N + lambda) w = 1/N sum x' y',   intercept = mean y - w . mean x. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/regression.h"

enum { TILE = 64, ROWS = 32, WIDE = 8, TALL = 4, STRIP = 16, DEEP = 128, GRAIN = 1 << 20 };

/* ---- columns --------------------------------------------------------------------------------------------------------------- */
static void column_means(double *mean, const vv_real *x, int64_t N, int64_t D)
{
#pragma omp parallel for schedule(static) if (N * D > GRAIN)
    for (int64_t d0 = 0; d0 < D; d0 += STRIP) {
        const int64_t m = vv_min(STRIP, D - d0);
        double sum[STRIP] = {0};
        for (int64_t n = 0; n < N; n++)
            for (int64_t j = 0; j < m; j++) sum[j] += (double)x[n * D + d0 + j];
        for (int64_t j = 0; j < m; j++) mean[d0 + j] = sum[j] / (double)N;
    }
}

vv_status vv_standard_fit(double *mean, double *scale, const vv_real *x, int64_t N, int64_t D, vv_error *err)
{
    if (N < 1 || D < 1)
        return vv_fail(err, VV_USAGE, "features: expected at least one row and column; got [%lld,%lld]", (long long)N,
                       (long long)D);
    column_means(mean, x, N, D);
    for (int64_t d = 0; d < D; d++)
        for (int64_t n = 0; n < N && !isfinite(mean[d]); n++)
            if (!isfinite(x[n * D + d]))
                return vv_fail(err, VV_NONFINITE, "features: row %lld, column %lld: expected a finite number; found %g",
                               (long long)n, (long long)d, (double)x[n * D + d]);
#pragma omp parallel for schedule(static) if (N * D > GRAIN)
    for (int64_t d0 = 0; d0 < D; d0 += STRIP) {
        const int64_t m = vv_min(STRIP, D - d0);
        double sum[STRIP] = {0};
        for (int64_t n = 0; n < N; n++)
            for (int64_t j = 0; j < m; j++) {
                const double off = (double)x[n * D + d0 + j] - mean[d0 + j];
                sum[j] += off * off;
            }
        for (int64_t j = 0; j < m; j++) {
            const double deviation = sqrt(sum[j] / (double)N);
            scale[d0 + j] = deviation > 4 * VV_U * fabs(mean[d0 + j]) ? 1 / deviation : 0;
        }
    }
    return VV_OK;
}

void vv_standardise(vv_real *x, int64_t N, int64_t D, const double *mean, const double *scale)
{
#pragma omp parallel for schedule(static) if (N * D > GRAIN)
    for (int64_t n = 0; n < N; n++)
        for (int64_t d = 0; d < D; d++) x[n * D + d] = (vv_real)(((double)x[n * D + d] - mean[d]) * scale[d]);
}

/* ---- products -------------------------------------------------------------------------------------------------------------- */
/* score[r][k] += sum_d x[r,d] w[d][k] over m columns, of at most TALL rows and `cols` classes */
static void add_scores(double *score, const vv_real *x, double w[DEEP][WIDE], int64_t rows, int64_t cols, int64_t m,
                       int64_t D, int64_t K)
{
    double sum[TALL][WIDE] = {{0}};
    const vv_real *row[TALL];
    for (int r = 0; r < TALL; r++) row[r] = x + vv_min(r, rows - 1) * D;
    for (int64_t r = 0; r < rows; r++) memcpy(sum[r], score + r * K, (size_t)cols * sizeof **sum);
    for (int64_t d = 0; d < m; d++)
        for (int r = 0; r < TALL; r++) {
            const double v = (double)row[r][d];
            for (int k = 0; k < WIDE; k++) sum[r][k] += v * w[d][k];
        }
    for (int64_t r = 0; r < rows; r++) memcpy(score + r * K, sum[r], (size_t)cols * sizeof **sum);
}

void vv_linear_scores(double *score, const vv_real *x, const double *w, int64_t N, int64_t D, int64_t K)
{
#pragma omp parallel for schedule(static) if (N * D * K > GRAIN)
    for (int64_t n0 = 0; n0 < N; n0 += TILE) {
        const int64_t end = vv_min(n0 + TILE, N);
        for (int64_t n = n0; n < end; n++) memcpy(score + n * K, w + D * K, (size_t)K * sizeof *w);
        for (int64_t k0 = 0; k0 < K; k0 += WIDE)
            for (int64_t d0 = 0; d0 < D; d0 += DEEP) {
                const int64_t cols = vv_min(WIDE, K - k0), m = vv_min(DEEP, D - d0);
                double part[DEEP][WIDE] = {{0}};
                for (int64_t d = 0; d < m; d++) memcpy(part[d], w + (d0 + d) * K + k0, (size_t)cols * sizeof *w);
                for (int64_t n = n0; n < end; n += TALL)
                    add_scores(score + n * K + k0, x + n * D + d0, part, vv_min(TALL, end - n), cols, m, D, K);
            }
    }
}

/* rows n0 .. n0+rows of columns d0 .. d0+m, centred, into [ROWS,TILE]; zero beyond */
static void load(double panel[ROWS][TILE], const vv_real *x, const double *mean, int64_t n0, int64_t rows, int64_t d0,
                 int64_t m, int64_t D)
{
    if (rows < ROWS || m < TILE) memset(panel, 0, ROWS * sizeof *panel);
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < m; j++) panel[r][j] = (double)x[(n0 + r) * D + d0 + j] - (mean ? mean[d0 + j] : 0);
}

/* sum += a^T b, over the rows one after the other */
static void add_products(double sum[TILE][TILE], double a[ROWS][TILE], double b[ROWS][TILE])
{
    for (int i = 0; i < TILE; i += TALL)
        for (int j = 0; j < TILE; j += WIDE) {
            double s[TALL][WIDE];
            for (int p = 0; p < TALL; p++)
                for (int q = 0; q < WIDE; q++) s[p][q] = sum[i + p][j + q];
            for (int r = 0; r < ROWS; r++)
                for (int p = 0; p < TALL; p++)
                    for (int q = 0; q < WIDE; q++) s[p][q] += a[r][i + p] * b[r][j + q];
            for (int p = 0; p < TALL; p++)
                for (int q = 0; q < WIDE; q++) sum[i + p][j + q] = s[p][q];
        }
}

vv_status vv_gram(double *g, const vv_real *x, const double *mean, int64_t N, int64_t D, vv_error *err)
{
    const int64_t tiles = (D + TILE - 1) / TILE;
    int failed = 0;
#pragma omp parallel for schedule(dynamic) if (N * D * D > GRAIN)
    for (int64_t t = 0; t < tiles * tiles; t++) {
        const int64_t i0 = t / tiles * TILE, j0 = t % tiles * TILE, ni = vv_min(TILE, D - i0),
                      nj = vv_min(TILE, D - j0);
        if (j0 < i0) continue; /* the mirror of another tile */
        double(*work)[TILE] = vv_calloc(TILE + 2 * ROWS, sizeof *work);
        if (!work) {
#pragma omp atomic write
            failed = 1;
            continue;
        }
        for (int64_t n0 = 0; n0 < N; n0 += ROWS) {
            const int64_t rows = vv_min(ROWS, N - n0);
            load(work + TILE, x, mean, n0, rows, i0, ni, D);
            load(work + TILE + ROWS, x, mean, n0, rows, j0, nj, D);
            add_products(work, work + TILE, work + TILE + ROWS);
        }
        for (int64_t i = 0; i < ni; i++)
            for (int64_t j = 0; j < nj; j++) g[(i0 + i) * D + j0 + j] = g[(j0 + j) * D + i0 + i] = work[i][j];
        free(work);
    }
    return failed ? vv_no_memory(err, "features") : VV_OK;
}

int vv_cholesky(double *a, int64_t m)
{
    for (int64_t k = 0; k < m; k++) {
        double *row = a + k * m;
        if (!(row[k] > 0)) return 0;
        const double pivot = sqrt(row[k]);
        for (int64_t j = k; j < m; j++) row[j] /= pivot;
        for (int64_t i = k + 1; i < m; i++) {
            const double v = row[i];
            for (int64_t j = i; j < m; j++) a[i * m + j] -= v * row[j];
        }
    }
    return 1;
}

void vv_cholesky_solve(const double *r, double *x, int64_t m, int64_t K)
{
    for (int64_t i = 0; i < m; i++) { /* R^T u = x */
        double *u = x + i * K;
        for (int64_t k = 0; k < K; k++) u[k] /= r[i * m + i];
        for (int64_t j = i + 1; j < m; j++)
            for (int64_t k = 0; k < K; k++) x[j * K + k] -= r[i * m + j] * u[k];
    }
    for (int64_t i = m - 1; i >= 0; i--) { /* R x = u */
        double *u = x + i * K;
        for (int64_t j = i + 1; j < m; j++)
            for (int64_t k = 0; k < K; k++) u[k] -= r[i * m + j] * x[j * K + k];
        for (int64_t k = 0; k < K; k++) u[k] /= r[i * m + i];
    }
}

/* ---- ridge ----------------------------------------------------------------------------------------------------------------- */
/* right [D] = sum (x - mean) (y - mean y) */
static void right_side(double *right, const vv_real *x, const double *mean, const double *y, double mean_y, int64_t N,
                       int64_t D)
{
#pragma omp parallel for schedule(static) if (N * D > GRAIN)
    for (int64_t d0 = 0; d0 < D; d0 += STRIP) {
        const int64_t m = vv_min(STRIP, D - d0);
        double sum[STRIP] = {0};
        for (int64_t n = 0; n < N; n++)
            for (int64_t j = 0; j < m; j++) sum[j] += ((double)x[n * D + d0 + j] - mean[d0 + j]) * (y[n] - mean_y);
        memcpy(right + d0, sum, (size_t)m * sizeof *sum);
    }
}

static vv_status solve(double *w, double *a, const double *gram, const double *right, const double *mean, double mean_y,
                       int64_t N, int64_t D, double lambda, vv_error *err)
{
    if (!(lambda > 0 && lambda <= 1e300)) return vv_fail(err, VV_USAGE, "ridge: expected lambda > 0; got %g", lambda);
    for (int64_t i = 0; i < D * D; i++) a[i] = gram[i] / (double)N + (i % (D + 1) == 0 ? lambda : 0);
    for (int64_t d = 0; d < D; d++) w[d] = right[d] / (double)N;
    if (!vv_cholesky(a, D))
        return vv_fail(err, VV_NONFINITE, "ridge: the normal equations are not positive definite with lambda %g",
                       lambda);
    vv_cholesky_solve(a, w, D, 1);
    w[D] = mean_y;
    for (int64_t d = 0; d < D; d++) w[D] -= w[d] * mean[d];
    return VV_OK;
}

vv_status vv_ridge(double *w, const vv_real *x, const double *y, int64_t N, int64_t D, const double *lambda, int64_t n,
                   vv_error *err)
{
    if (N < 1 || D < 1 || n < 1)
        return vv_fail(err, VV_USAGE, "ridge: expected at least one row and column; got [%lld,%lld]", (long long)N,
                       (long long)D);
    double *work = vv_calloc(2 * D * D + 2 * D, sizeof *work), mean_y = 0;
    if (!work) return vv_no_memory(err, "ridge");
    double *gram = work, *a = gram + D * D, *mean = a + D * D, *right = mean + D;
    for (int64_t i = 0; i < N; i++) mean_y += y[i];
    mean_y /= (double)N;
    column_means(mean, x, N, D);
    vv_status s = vv_gram(gram, x, mean, N, D, err);
    right_side(right, x, mean, y, mean_y, N, D);
    for (int64_t i = 0; s == VV_OK && i < n; i++)
        s = solve(w + i * (D + 1), a, gram, right, mean, mean_y, N, D, lambda[i], err);
    free(work);
    return s;
}
