/* One linear probe: from features to predictions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "eval/probe_parts.h"
#include "eval/regression.h"

enum { LAMBDAS = 7 };
static const double lambdas[LAMBDAS] = {10,   1,    1e-1, 1e-2,
                                        1e-3, 1e-4, 1e-5}; /* falling: each solution is the next one's start */
static const double rough = 1e-4, fine = 1e-6;             /* gradients: while choosing, and at last */

/* The training patches that have a target, in their order; the first `fitted` of `rows` are of the scenes that lambda is not chosen on. */
typedef struct {
    vv_probe_task task;
    int64_t rows, fitted;
    double *y, least, most; /* [rows] depth, and their extremes */
    unsigned char *label;   /* [rows] segmentation */
} fit;

/* Reads the targets, and moves the rows of x that have one together. */
static vv_status select_rows(fit *f, const vv_probe_set *s, vv_real *x, int64_t D, vv_error *err)
{
    const int64_t all = s->n * s->cells, kept = (s->n - vv_max(1, s->n / 5)) * s->cells;
    f->y = vv_calloc(all, sizeof *f->y);
    f->label = vv_calloc(all, 1);
    if (!f->y || !f->label) return vv_no_memory(err, "targets");
    f->least = INFINITY;
    f->most = -INFINITY;
    for (int64_t i = 0; i < all; i++) {
        if (i == kept) f->fitted = f->rows;
        if (f->task == VV_PROBE_DEPTH && isnan(s->target[i])) continue;
        f->label[f->rows] = s->label[i];
        f->y[f->rows] = s->target[i];
        if (s->target[i] < f->least) f->least = s->target[i];
        if (s->target[i] > f->most) f->most = s->target[i];
        if (f->rows != i) memcpy(x + f->rows * D, x + i * D, (size_t)D * sizeof *x);
        f->rows++;
    }
    if (f->fitted < 1 || f->rows == f->fitted)
        return vv_fail(err, VV_USAGE, "probe: expected training scenes with depth; found none");
    return VV_OK;
}

static double squared_error(const double *score, const double *y, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (score[i] - y[i]) * (score[i] - y[i]);
    return sum;
}

/* w [D+1]; score [rows] is room */
static vv_status fit_depth(const fit *f, vv_probe_row *row, double *w, double *score, const vv_real *x, int64_t D,
                           vv_error *err)
{
    const int64_t held = f->rows - f->fitted;
    double *all = vv_calloc(LAMBDAS * (D + 1), sizeof *all), best = INFINITY;
    vv_status s = all ? vv_ridge(all, x, f->y, f->fitted, D, lambdas, LAMBDAS, err) : vv_no_memory(err, "ridge");
    for (int i = 0; s == VV_OK && i < LAMBDAS; i++) {
        vv_linear_scores(score, x + f->fitted * D, all + i * (D + 1), held, D, 1);
        const double e = squared_error(score, f->y + f->fitted, held);
        if (e < best) best = e, row->lambda = lambdas[i];
    }
    if (s == VV_OK) s = vv_ridge(w, x, f->y, f->rows, D, &row->lambda, 1, err);
    free(all);
    return s;
}

/* w [D+1,K]; score [rows,K] */
static vv_status fit_classes(const fit *f, vv_probe_row *row, double *w, double *score, const vv_real *x, int64_t D,
                             vv_error *err)
{
    const int64_t K = VV_SYNTH_CLASSES, held = f->rows - f->fitted, n = (D + 1) * K;
    vv_softmax_info info = {0};
    double *path = vv_calloc(n, sizeof *path), best = INFINITY;
    vv_status s = path ? VV_OK : vv_no_memory(err, "softmax");
    for (int i = 0; s == VV_OK && i < LAMBDAS; i++) {
        s = vv_softmax(path, x, f->label, f->fitted, D, K, lambdas[i], rough, &info, err);
        if (s != VV_OK) break;
        vv_linear_scores(score, x + f->fitted * D, path, held, D, K);
        const double e = vv_mean_cross_entropy(score, f->label + f->fitted, held, K);
        if (!(e < best)) break; /* it only gets worse from here on */
        best = e;
        row->lambda = lambdas[i];
        memcpy(w, path, (size_t)n * sizeof *w);
    }
    if (s == VV_OK) s = vv_softmax(w, x, f->label, f->rows, D, K, row->lambda, fine, &info, err);
    if (s == VV_OK && !info.converged)
        vv_warn("the softmax of the probe stopped after %lld iterations with a gradient of %.1e",
                (long long)info.iterations, info.gradient);
    row->iterations = info.iterations;
    free(path);
    return s;
}

/* the predictions of scores [n,K] */
static void predict(const fit *f, vv_probe_row *row, const double *score, int64_t n)
{
    const int64_t K = VV_SYNTH_CLASSES;
    for (int64_t i = 0; i < n; i++) {
        if (f->task == VV_PROBE_DEPTH) {
            const double s = score[i] < f->least ? f->least : score[i] > f->most ? f->most : score[i];
            row->prediction[i] = vv_exp(s);
            continue;
        }
        int best = 0;
        for (int k = 1; k < K; k++)
            if (score[i * K + k] > score[i * K + best]) best = k;
        row->prediction[i] = best;
    }
}

static vv_status run(const fit *f, vv_probe_row *row, vv_real *x, vv_real *test, int64_t tests, int64_t D, double *work,
                     double *score, vv_error *err)
{
    const int64_t K = f->task == VV_PROBE_DEPTH ? 1 : VV_SYNTH_CLASSES;
    double *mean = work, *scale = mean + D, *w = scale + D;
    VV_TRY(vv_standard_fit(mean, scale, x, f->rows, D, err));
    vv_standardise(x, f->rows, D, mean, scale);
    vv_standardise(test, tests, D, mean, scale);
    if (f->task == VV_PROBE_DEPTH) VV_TRY(fit_depth(f, row, w, score, x, D, err));
    else VV_TRY(fit_classes(f, row, w, score, x, D, err));
    vv_linear_scores(score, test, w, tests, D, K);
    predict(f, row, score, tests);
    return VV_OK;
}

vv_status vv_probe_fit(vv_probe_row *row, vv_probe_task task, const vv_probe_set *s, vv_real *x, vv_real *test,
                       int64_t tests, int64_t D, vv_error *err)
{
    const int64_t K = VV_SYNTH_CLASSES;
    fit f = {.task = task};
    double *work = vv_calloc(2 * D + (D + 1) * K, sizeof *work);
    double *score = vv_calloc(vv_mul(vv_max(s->n * s->cells, tests), K), sizeof *score);
    vv_status st = work && score ? select_rows(&f, s, x, D, err) : vv_no_memory(err, "a probe");
    row->features = D;
    if (st == VV_OK) st = run(&f, row, x, test, tests, D, work, score, err);
    free(work);
    free(score);
    free(f.y);
    free(f.label);
    return st;
}
