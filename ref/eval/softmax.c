/* Softmax regression by L-BFGS (Nocedal and Wright 2006, algorithm 7.4) with a preconditioner.
 *
 * The Hessian in the features is close to f (G/N) + lambda for each class, with G = sum x x^T and f the mean of p (1 - p); Boehning
 * (1992) bounds it by 1/2 G/N + lambda. Its Cholesky factor, made once, is what L-BFGS starts its inverse from: correlated features cost no
 * iterations. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "eval/regression.h"

enum { MEMORY = 10, MOST = 1000, HALVINGS = 40, ROWS = 32, WIDE = 8, TALL = 4, STRIP = 16, GRAIN = 1 << 20 };

typedef struct {
    const vv_real *x;
    const unsigned char *label;
    int64_t N, D, K, n;     /* n = (D+1) K unknowns */
    double lambda, *factor; /* Cholesky [D,D] */
    double flat;            /* curvature of the intercepts */
    double *score, *row;    /* [N,K]: scores, then p - 1{label};  [N]: losses */
} problem;

/* ---- the function ---------------------------------------------------------------------------------------------------------- */
static double largest_score(const double *z, int64_t K)
{
    double most = z[0];
    for (int64_t k = 1; k < K; k++) most = z[k] > most ? z[k] : most;
    return most;
}

double vv_mean_cross_entropy(const double *score, const unsigned char *label, int64_t N, int64_t K)
{
    double all = 0;
    for (int64_t n = 0; n < N; n++) {
        const double *z = score + n * K, most = largest_score(z, K);
        double sum = 0;
        for (int64_t k = 0; k < K; k++) sum += vv_exp(z[k] - most);
        all += vv_log(sum) + (most - z[label[n]]);
    }
    return N ? all / (double)N : 0;
}

/* The cross-entropy of one row, whose scores become p - 1{label}. */
static double residual(double *z, int64_t K, int label)
{
    const double most = largest_score(z, K), at = z[label];
    double sum = 0;
    for (int64_t k = 0; k < K; k++) sum += z[k] = vv_exp(z[k] - most);
    for (int64_t k = 0; k < K; k++) z[k] = z[k] / sum - (k == label);
    return vv_log(sum) + (most - at);
}

/* sum += x^T r over ROWS rows, one after the other */
static void add_products(double sum[STRIP][WIDE], double x[ROWS][STRIP], double r[ROWS][WIDE])
{
    for (int i = 0; i < STRIP; i += TALL) {
        double s[TALL][WIDE];
        memcpy(s, sum[i], sizeof s);
        for (int n = 0; n < ROWS; n++)
            for (int a = 0; a < TALL; a++)
                for (int k = 0; k < WIDE; k++) s[a][k] += x[n][i + a] * r[n][k];
        memcpy(sum[i], s, sizeof s);
    }
}

/* g [m,K] of columns d0 .. d0+m: 1/N sum x r, for classes k0 .. k0+cols */
static void gradient_tile(double *g, const problem *p, int64_t d0, int64_t m, int64_t k0, int64_t cols)
{
    double sum[STRIP][WIDE] = {{0}}, x[ROWS][STRIP] = {{0}}, r[ROWS][WIDE] = {{0}};
    for (int64_t n0 = 0; n0 < p->N; n0 += ROWS) {
        const int64_t rows = vv_min(ROWS, p->N - n0);
        if (rows < ROWS) memset(r, 0, sizeof r);
        for (int64_t n = 0; n < rows; n++) {
            const vv_real *from = p->x + (n0 + n) * p->D + d0;
            const double *residual_of = p->score + (n0 + n) * p->K + k0;
            for (int64_t d = 0; d < m; d++) x[n][d] = (double)from[d];
            for (int64_t k = 0; k < cols; k++) r[n][k] = residual_of[k];
        }
        add_products(sum, x, r);
    }
    for (int64_t d = 0; d < m; d++)
        for (int64_t k = 0; k < cols; k++) g[(d0 + d) * p->K + k0 + k] = sum[d][k] / (double)p->N;
}

/* the function at w, its gradient in g */
static double value(const problem *p, const double *w, double *g)
{
    const int64_t D = p->D, K = p->K, strips = (D + STRIP - 1) / STRIP, panels = (K + WIDE - 1) / WIDE;
    double loss = 0, penalty = 0;
    vv_linear_scores(p->score, p->x, w, p->N, D, K);
#pragma omp parallel for schedule(static) if (p->N * K > GRAIN)
    for (int64_t n = 0; n < p->N; n++) p->row[n] = residual(p->score + n * K, K, p->label[n]);
#pragma omp parallel for schedule(dynamic) if (p->N * D * K > GRAIN)
    for (int64_t t = 0; t < strips * panels; t++) {
        const int64_t d0 = t / panels * STRIP, k0 = t % panels * WIDE;
        gradient_tile(g, p, d0, vv_min(STRIP, D - d0), k0, vv_min(WIDE, K - k0));
    }
    memset(g + D * K, 0, (size_t)K * sizeof *g);
    for (int64_t n = 0; n < p->N; n++) {
        loss += p->row[n];
        for (int64_t k = 0; k < K; k++) g[D * K + k] += p->score[n * K + k];
    }
    for (int64_t k = 0; k < K; k++) g[D * K + k] /= (double)p->N;
    for (int64_t i = 0; i < p->n; i++) {
        const double lambda = i < D * K ? p->lambda : VV_SOFTMAX_INTERCEPT;
        penalty += lambda / 2 * w[i] * w[i];
        g[i] += lambda * w[i];
    }
    return loss / (double)p->N + penalty;
}

/* ---- L-BFGS ---------------------------------------------------------------------------------------------------------------- */
static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static double largest(const double *a, int64_t n)
{
    double most = 0;
    for (int64_t i = 0; i < n; i++) most = fabs(a[i]) > most ? fabs(a[i]) : most;
    return most;
}

static void precondition(const problem *p, double *v)
{
    vv_cholesky_solve(p->factor, v, p->D, p->K);
    for (int64_t k = 0; k < p->K; k++) v[p->D * p->K + k] /= p->flat;
}

/* The last steps s and changes of the gradient y, MEMORY of them at most, in a ring. */
typedef struct {
    double *s, *y, rho[MEMORY];
    int64_t n; /* so far */
    double gamma;
} history;

/* v becomes minus the inverse Hessian times it */
static void direction(const problem *p, const history *h, double *v)
{
    double alpha[MEMORY] = {0};
    const int64_t oldest = vv_max(0, h->n - MEMORY);
    for (int64_t i = h->n - 1; i >= oldest; i--) {
        const int64_t at = i % MEMORY;
        alpha[at] = h->rho[at] * dot(h->s + at * p->n, v, p->n);
        for (int64_t j = 0; j < p->n; j++) v[j] -= alpha[at] * h->y[at * p->n + j];
    }
    precondition(p, v);
    for (int64_t j = 0; j < p->n; j++) v[j] *= h->gamma;
    for (int64_t i = oldest; i < h->n; i++) {
        const int64_t at = i % MEMORY;
        const double beta = h->rho[at] * dot(h->y + at * p->n, v, p->n);
        for (int64_t j = 0; j < p->n; j++) v[j] += (alpha[at] - beta) * h->s[at * p->n + j];
    }
    for (int64_t j = 0; j < p->n; j++) v[j] = -v[j];
}

/* keeps the step from (w, g) to (w2, g2); v is scratch [n] */
static void remember(const problem *p, history *h, const double *w, const double *w2, const double *g, const double *g2,
                     double *v)
{
    double *s = h->s + h->n % MEMORY * p->n, *y = h->y + h->n % MEMORY * p->n;
    for (int64_t j = 0; j < p->n; j++) {
        s[j] = w2[j] - w[j];
        v[j] = y[j] = g2[j] - g[j];
    }
    const double sy = dot(s, y, p->n);
    precondition(p, v);
    const double yPy = dot(y, v, p->n);
    if (!(sy > 0 && yPy > 0)) return; /* no curvature left but rounding */
    h->rho[h->n++ % MEMORY] = 1 / sy;
    h->gamma = sy / yPy;
}

/* Steps along v from w, where the function is f and its gradient g: w2, f2, g2. 0: nothing goes down. Near the minimum the decrease
 * drowns in the rounding of f; then a smaller slope is enough. */
static int step(const problem *p, const double *w, double f, const double *g, const double *v, double *w2, double *f2,
                double *g2)
{
    const double slope = dot(g, v, p->n);
    if (!(slope < 0)) return 0;
    double length = 1;
    for (int i = 0; i < HALVINGS; i++, length /= 2) {
        for (int64_t j = 0; j < p->n; j++) w2[j] = w[j] + length * v[j];
        *f2 = value(p, w2, g2);
        if (*f2 <= f + 1e-4 * length * slope) return 1;
        if (*f2 <= f + 1e-14 * fabs(f) && fabs(dot(g2, v, p->n)) <= -0.9 * slope) return 1;
    }
    return 0;
}

static void minimise(const problem *p, double *w, double *work, double tolerance, vv_softmax_info *info)
{
    double *g = work, *w2 = g + p->n, *g2 = w2 + p->n, *v = g2 + p->n, f2 = 0;
    history h = {.s = v + p->n, .y = v + (1 + MEMORY) * p->n, .gamma = 1};
    double f = value(p, w, g);
    *info = (vv_softmax_info){.gradient = largest(g, p->n)};
    while (info->gradient > tolerance && info->iterations < MOST) {
        memcpy(v, g, (size_t)p->n * sizeof *v);
        direction(p, &h, v);
        if (!step(p, w, f, g, v, w2, &f2, g2)) break;
        remember(p, &h, w, w2, g, g2, v);
        memcpy(w, w2, (size_t)p->n * sizeof *w);
        memcpy(g, g2, (size_t)p->n * sizeof *g);
        f = f2;
        info->iterations++;
        info->gradient = largest(g, p->n);
    }
    info->loss = f;
    info->converged = info->gradient <= tolerance;
}

/* f (G/N) + lambda, f the mean of p (1 - p) for the frequencies p of the classes; with one class alone it would be 0 */
static vv_status prepare(problem *p, vv_error *err)
{
    int64_t count[256] = {0};
    for (int64_t n = 0; n < p->N; n++) {
        if (p->label[n] >= p->K)
            return vv_fail(err, VV_USAGE, "softmax: row %lld: expected a label below %lld; got %d", (long long)n,
                           (long long)p->K, p->label[n]);
        count[p->label[n]]++;
    }
    for (int64_t k = 0; k < p->K; k++) {
        const double share = (double)count[k] / (double)p->N;
        p->flat += share * (1 - share) / (double)p->K;
    }
    p->flat = p->flat > 1e-3 ? p->flat : 1e-3;
    VV_TRY(vv_gram(p->factor, p->x, NULL, p->N, p->D, err));
    for (int64_t i = 0; i < p->D * p->D; i++)
        p->factor[i] = p->flat * p->factor[i] / (double)p->N + (i % (p->D + 1) == 0 ? p->lambda : 0);
    if (!vv_cholesky(p->factor, p->D))
        return vv_fail(err, VV_NONFINITE, "softmax: the features' products are not positive definite");
    return VV_OK;
}

vv_status vv_softmax(double *w, const vv_real *x, const unsigned char *label, int64_t N, int64_t D, int64_t K,
                     double lambda, double tolerance, vv_softmax_info *info, vv_error *err)
{
    *info = (vv_softmax_info){0};
    if (N < 1 || D < 1 || K < 1 || K > 255 || !(lambda > 0 && lambda <= 1e300) || !(tolerance > 0))
        return vv_fail(err, VV_USAGE,
                       "softmax: expected rows, columns, 1 to 255 classes, lambda and tolerance > 0; got [%lld,%lld], "
                       "%lld, %g, %g",
                       (long long)N, (long long)D, (long long)K, lambda, tolerance);
    problem p = {.x = x, .label = label, .N = N, .D = D, .K = K, .n = (D + 1) * K, .lambda = lambda};
    double *work = vv_calloc((4 + 2 * MEMORY) * p.n, sizeof *work);
    p.factor = vv_calloc(vv_mul(D, D), sizeof *p.factor);
    p.score = vv_calloc(vv_mul(N, K), sizeof *p.score);
    p.row = vv_calloc(N, sizeof *p.row);
    vv_status s = work && p.factor && p.score && p.row ? prepare(&p, err) : vv_no_memory(err, "softmax");
    if (s == VV_OK) minimise(&p, w, work, tolerance, info);
    free(work);
    free(p.factor);
    free(p.score);
    free(p.row);
    return s;
}
