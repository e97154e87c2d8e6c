/* z = x w^T,   lse[r] = log sum_v exp z[r,v],   ce[r] = lse[r] - z[r,target[r]],   loss = sum_r weight[r] ce[r]
 *
 * d lse[r] / dz[r,v] = exp(z[r,v] - lse[r]) = p[r,v], hence dz = dloss weight (p - [v = target]);   dx = dz w,   dw += dz^T x
 *
 * Scores exist for a tile of ROWS x TILE at a time, which a thread computes and uses while it is in its cache. Forward, each tile
 * leaves the largest score of a row and the sum of exp(z - largest), joined at the end (Milakov, Gimelshein 2018,
 * arXiv:1805.02867); the backward computes z again, p from lse, and joins the tiles of COLUMNS columns for its products.
 * Tiles hold many rows because each group of rows reads all of w, and reads and writes all of dw: 622 MB each with the 151936
 * tokens of Qwen3-0.6B. */
#include <math.h>
#include <stdlib.h>

#include "base/elementary.h"
#include "cpu.h"

enum { ROWS = 512, TILE = 640, COLUMNS = 10 * TILE };

/* the scores [m,n], of stride ld, of the rows and columns that begin at x and w */
static void scores(vv_real *z, int64_t ld, const vv_real *x, const vv_real *w, int64_t m, int64_t n, int64_t C)
{
    vvcpu_product(z, ld, x, C, 0, w, C, 1, m, n, C, 1, 0);
}

/* ---- forward -------------------------------------------------------------------------------------------------------- */
typedef struct {
    double max, sum; /* of some scores of a row: the largest, and the sum of exp(score - shift_of(max)) */
} part;

/* Infinite scores are not subtracted from each other: Inf gives a sum of Inf, nothing but -Inf a sum of 0. */
static double shift_of(double max) { return isfinite(max) ? max : 0; }

/* a NaN may be passed over here: it comes through the sum */
static double largest(const vv_real *z, int64_t n)
{
    vv_real lane[VVCPU_LANES];
    for (int l = 0; l < VVCPU_LANES; l++) lane[l] = -(vv_real)INFINITY;
    int64_t i = 0;
    for (; i + VVCPU_LANES <= n; i += VVCPU_LANES)
        for (int l = 0; l < VVCPU_LANES; l++) lane[l] = z[i + l] > lane[l] ? z[i + l] : lane[l];
    for (; i < n; i++) lane[0] = z[i] > lane[0] ? z[i] : lane[0];
    for (int l = 1; l < VVCPU_LANES; l++) lane[0] = lane[l] > lane[0] ? lane[l] : lane[0];
    return (double)lane[0];
}

static part part_of(const vv_real *z, int64_t n)
{
    part p = {.max = largest(z, n)};
    const vv_real shift = (vv_real)shift_of(p.max);
    VVCPU_SUM(p.sum, n, i, vv_exp_real(z[i] - shift));
    return p;
}

/* log sum exp of a row from its tiles, p[0], p[stride], ... */
static double join(const part *p, int64_t stride, int64_t tiles)
{
    double max = -INFINITY, sum = 0;
    for (int64_t k = 0; k < tiles; k++) max = p[k * stride].max > max ? p[k * stride].max : max;
    const double shift = shift_of(max);
    for (int64_t k = 0; k < tiles; k++) sum += p[k * stride].sum * vv_exp(shift_of(p[k * stride].max) - shift);
    return shift + vv_log(sum);
}

/* m <= ROWS rows; p has room for the parts of each row of each tile */
static void rows_fwd(vv_real *ce, vv_real *lse, const vv_real *x, const vv_real *w, const int32_t *target, int64_t m,
                     int64_t V, int64_t C, part *p)
{
    const int64_t tiles = (V + TILE - 1) / TILE;
    vv_real of_target[ROWS] = {0}; /* each is set by the tile that holds the target */
#pragma omp parallel for schedule(dynamic, 1) if (m * V >= VVCPU_GRAIN)
    for (int64_t k = 0; k < tiles; k++) {
        const int64_t v0 = k * TILE, n = vv_min(TILE, V - v0);
        vv_real *z = vvcpu_scratch("linear_cross_entropy_fwd", m * n);
        if (!z) continue;
        scores(z, n, x, w + v0 * C, m, n, C);
        for (int64_t r = 0; r < m; r++) {
            p[k * m + r] = part_of(z + r * n, n);
            if (target[r] >= v0 && target[r] < v0 + n) of_target[r] = z[r * n + target[r] - v0];
        }
    }
#pragma omp parallel for schedule(static) if (m * tiles >= VVCPU_GRAIN / 8)
    for (int64_t r = 0; r < m; r++) {
        const double l = join(p + r, m, tiles);
        lse[r] = (vv_real)l;
        ce[r] = (vv_real)(l - (double)of_target[r]);
    }
}

VVB_DEF void vvb_linear_cross_entropy_fwd(vv_real *loss, vv_real *ce, vv_real *lse, const vv_real *x, const vv_real *w,
                                          const int32_t *target, const vv_real *weight, int64_t R, int64_t V, int64_t C)
{
    vvcpu_ready();
    part *p = vv_calloc(vv_min(ROWS, R) * ((V + TILE - 1) / TILE), sizeof *p);
    if (!p) {
        vvcpu_fail("linear_cross_entropy_fwd", "out of memory");
        return;
    }
    for (int64_t r = 0; r < R; r += ROWS)
        rows_fwd(ce + r, lse + r, x + r * C, w, target + r, vv_min(ROWS, R - r), V, C, p);
    free(p);
    double sum;
    VVCPU_SUM(sum, R, r, (double)weight[r] * (double)ce[r]);
    loss[0] = (vv_real)sum;
}

/* ---- backward ------------------------------------------------------------------------------------------------------- */
/* scores of a row become f (p - [v = t]); t may lie outside */
static void scores_grad(vv_real *z, int64_t n, vv_real lse, vv_real f, int64_t t)
{
    const int here = t >= 0 && t < n;
    const vv_real p = here ? vv_exp_real(z[t] - lse) : 0;
    for (int64_t i = 0; i < n; i++) z[i] = f * vv_exp_real(z[i] - lse);
    if (here) z[t] = f * (p - 1);
}

/* dz [m,n] for m <= ROWS rows and the n <= COLUMNS columns from v0 on */
static void group_grad(vv_real *dz, vv_real dloss, const vv_real *x, const vv_real *w, const int32_t *target,
                       const vv_real *weight, const vv_real *lse, int64_t m, int64_t v0, int64_t n, int64_t C)
{
#pragma omp parallel for schedule(dynamic, 1) if (m * n >= VVCPU_GRAIN)
    for (int64_t j = 0; j < n; j += TILE) {
        const int64_t k = vv_min(TILE, n - j);
        scores(dz + j, n, x, w + (v0 + j) * C, m, k, C);
        for (int64_t r = 0; r < m; r++) scores_grad(dz + r * n + j, k, lse[r], dloss * weight[r], target[r] - v0 - j);
    }
}

VVB_DEF void vvb_linear_cross_entropy_bwd(vv_real *dx, vv_real *dw, const vv_real *dloss, const vv_real *x,
                                          const vv_real *w, const int32_t *target, const vv_real *weight,
                                          const vv_real *lse, int64_t R, int64_t V, int64_t C, int acc)
{
    if (!dx && !dw) return;
    vvcpu_ready();
    vv_real *dz = vvcpu_scratch("linear_cross_entropy_bwd", vv_min(R, ROWS) * vv_min(V, COLUMNS));
    if (!dz) return;
    for (int64_t r = 0; r < R; r += ROWS)
        for (int64_t v = 0; v < V; v += COLUMNS) {
            const int64_t m = vv_min(ROWS, R - r), n = vv_min(COLUMNS, V - v);
            group_grad(dz, dloss[0], x + r * C, w, target + r, weight + r, lse + r, m, v, n, C);
            if (dx) vvb_matmul(dx + r * C, C, dz, n, 0, w + v * C, C, 0, m, C, n, 1, acc || v > 0);
            if (dw) vvb_matmul(dw + v * C, C, dz, n, 1, x + r * C, C, 0, n, C, m, 1, 1);
        }
}
