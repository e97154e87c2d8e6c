/* s = scale q k^T,   p = softmax(s),   o = p v,   lse = log sum exp s
 *
 * Backward, with delta[i] = sum_d dO[i,d] o[i,d] = sum_j dP[i,j] p[i,j]:
 *   dv = p^T dO,   dP = dO v^T,   ds = p (dP - delta),   dq = scale ds k,   dk = scale ds^T q
 * (ds is the derivative of a softmax: every score of a row also lowers all the other probabilities, hence delta.)
 *
 * Scores exist for TILE query rows of one head at a time, so memory grows with the segment's length, never its square. p is
 * not kept: the backward computes it again from lse. Forward, p stays as exp(s - max) and o is divided by its sum at the end. A thread owns one head of one segment, because dk and dv add up over the
 * tiles, in order.
 *
 * Two things make it fast. Tiles are stored transposed, [keys, queries]: maxima and sums over the keys of many queries run side by
 * side, and the products find p in the order in which they read it. And k, v of the head are copied together first: in place their rows
 * lie a page apart, which costs the products more than the copy. */
#include <string.h>

#include "base/elementary.h"
#include "cpu.h"

enum { TILE = 224 }; /* most query rows of a tile: at 1600 keys in float its scores fill most of a 2 MB cache */

typedef struct {
    int64_t first, n; /* a segment: its first token and its length */
} segment;

static segment segment_at(const int32_t *cu, int64_t s) { return (segment){cu[s], cu[s + 1] - cu[s]}; }

static int64_t longest(const int32_t *cu, int64_t S)
{
    int64_t n = 0;
    for (int64_t s = 0; s < S; s++) n = vv_max(n, cu[s + 1] - cu[s]);
    return n;
}

/* max[i] of column i of x [n,m] */
static void column_max(vv_real *max, const vv_real *x, int64_t n, int64_t m)
{
    for (int64_t i = 0; i < m; i++) max[i] = x[i];
    for (int64_t j = 1; j < n; j++)
        for (int64_t i = 0; i < m; i++)
            max[i] = x[j * m + i] <= max[i] ? max[i] : x[j * m + i]; /* a NaN stays or comes */
}

/* x [n,m] = exp(x - shift[column]); sum[i] of column i: in vv_real over BLOCK rows, these in double */
enum { BLOCK = 64 };

static void exp_and_sum(vv_real *x, double *sum, const vv_real *shift, int64_t n, int64_t m)
{
    for (int64_t i = 0; i < m; i++) sum[i] = 0;
    for (int64_t j0 = 0; j0 < n; j0 += BLOCK) {
        vv_real part[TILE] = {0};
        for (int64_t j = j0; j < vv_min(n, j0 + BLOCK); j++) {
            vv_real *row = x + j * m;
            for (int64_t i = 0; i < m; i++) {
                row[i] = vv_exp_real(row[i] - shift[i]);
                part[i] += row[i];
            }
        }
        for (int64_t i = 0; i < m; i++) sum[i] += (double)part[i];
    }
}

/* one tile of query rows of one head: m rows against all n keys; p is scratch [n,m] */
static void tile_fwd(vv_real *o, int64_t ldo, vv_real *lse, int64_t H, const vv_real *q, int64_t ldq, const vv_real *k,
                     const vv_real *v, int64_t m, int64_t n, int64_t D, double scale, vv_real *p)
{
    vv_real max[TILE];
    double sum[TILE];
    vvcpu_product(p, m, k, D, 0, q, ldq, 1, n, m, D, scale, 0);
    column_max(max, p, n, m);
    exp_and_sum(p, sum, max, n, m);
    vvcpu_product(o, ldo, p, m, 1, v, D, 0, m, D, n, 1, 0);
    for (int64_t i = 0; i < m; i++) {
        const vv_real f = (vv_real)(1 / sum[i]);
        lse[i * H] = (vv_real)((double)max[i] + vv_log(sum[i]));
        for (int64_t d = 0; d < D; d++) o[i * ldo + d] *= f;
    }
}

/* n rows of D numbers from one stride to another */
static void copy_rows(vv_real *dst, int64_t ldd, const vv_real *src, int64_t lds, int64_t n, int64_t D)
{
    for (int64_t i = 0; i < n; i++) memcpy(dst + i * ldd, src + i * lds, (size_t)D * sizeof *dst);
}

/* a segment's query rows, split evenly */
static int64_t tile_rows(int64_t n)
{
    const int64_t tiles = (n + TILE - 1) / TILE;
    return (n + tiles - 1) / tiles;
}

static void head_fwd(vv_real *o, int64_t ldo, vv_real *lse, int64_t H, const vv_real *q, int64_t ldq, const vv_real *k,
                     int64_t ldk, const vv_real *v, int64_t ldv, int64_t n, int64_t D, double scale)
{
    const int64_t M = tile_rows(n);
    vv_real *kc = vvcpu_scratch("attention_fwd", (2 * D + M) * n);
    if (!kc) return;
    vv_real *vc = kc + n * D, *p = vc + n * D;
    copy_rows(kc, D, k, ldk, n, D);
    copy_rows(vc, D, v, ldv, n, D);
    for (int64_t i = 0; i < n; i += M)
        tile_fwd(o + i * ldo, ldo, lse + i * H, H, q + i * ldq, ldq, kc, vc, vv_min(M, n - i), n, D, scale, p);
}

VVB_DEF void vvb_attention_fwd(vv_real *o, int64_t ldo, vv_real *lse, const vv_real *q, int64_t ldq, const vv_real *k,
                               int64_t ldk, const vv_real *v, int64_t ldv, const int32_t *cu, int64_t S, int64_t H,
                               int64_t D, double scale)
{
    vvcpu_ready();
#pragma omp parallel for collapse(2) schedule(dynamic, 1) if (cu[S] * longest(cu, S) * H * D >= VVCPU_GRAIN)
    for (int64_t s = 0; s < S; s++)
        for (int64_t h = 0; h < H; h++) {
            const segment g = segment_at(cu, s);
            const int64_t t = g.first, c = h * D;
            if (g.n > 0)
                head_fwd(o + t * ldo + c, ldo, lse + t * H + h, H, q + t * ldq + c, ldq, k + t * ldk + c, ldk,
                         v + t * ldv + c, ldv, g.n, D, scale);
        }
}

/* one tile [n,m]: s arrives in p and becomes p = exp(s - lse); dP arrives in ds and becomes ds = p (dP - delta) */
static void scores_bwd(vv_real *p, vv_real *ds, const vv_real *lse, int64_t H, const vv_real *dO, const vv_real *o,
                       int64_t ldo, int64_t m, int64_t n, int64_t D)
{
    vv_real shift[TILE], delta[TILE];
    for (int64_t i = 0; i < m; i++) {
        double sum;
        VVCPU_SUM(sum, D, d, dO[i * ldo + d] * o[i * ldo + d]);
        delta[i] = (vv_real)sum;
        shift[i] = lse[i * H];
    }
    for (int64_t j = 0; j < n; j++)
        for (int64_t i = 0; i < m; i++) {
            const vv_real pij = vv_exp_real(p[j * m + i] - shift[i]);
            p[j * m + i] = pij;
            ds[j * m + i] = pij * (ds[j * m + i] - delta[i]);
        }
}

static void head_bwd(vv_real *dq, vv_real *dk, vv_real *dv, const vv_real *dO, const vv_real *o, int64_t ldo,
                     const vv_real *lse, int64_t H, const vv_real *q, int64_t ldq, const vv_real *k, int64_t ldk,
                     const vv_real *v, int64_t ldv, int64_t n, int64_t D, double scale)
{
    const int64_t M = tile_rows(n);
    vv_real *kc = vvcpu_scratch("attention_bwd", (4 * D + 2 * M) * n);
    if (!kc) return;
    vv_real *vc = kc + n * D, *dkc = vc + n * D, *dvc = dkc + n * D, *p = dvc + n * D, *ds = p + M * n;
    copy_rows(kc, D, k, ldk, n, D);
    copy_rows(vc, D, v, ldv, n, D);
    for (int64_t i = 0; i < n; i += M) {
        const int64_t m = vv_min(M, n - i);
        const vv_real *qi = q + i * ldq, *dOi = dO + i * ldo;
        const double add = i > 0; /* the first tile writes dk and dv, the others add */
        vvcpu_product(p, m, kc, D, 0, qi, ldq, 1, n, m, D, scale, 0);
        vvcpu_product(ds, m, vc, D, 0, dOi, ldo, 1, n, m, D, 1, 0);
        scores_bwd(p, ds, lse + i * H, H, dOi, o + i * ldo, ldo, m, n, D);
        if (dv) vvcpu_product(dvc, D, p, m, 0, dOi, ldo, 0, n, D, m, 1, add);
        if (dq) vvcpu_product(dq + i * ldq, ldq, ds, m, 1, kc, D, 0, m, D, n, scale, 0);
        if (dk) vvcpu_product(dkc, D, ds, m, 0, qi, ldq, 0, n, D, m, scale, add);
    }
    if (dk) copy_rows(dk, ldk, dkc, D, n, D);
    if (dv) copy_rows(dv, ldv, dvc, D, n, D);
}

VVB_DEF void vvb_attention_bwd(vv_real *dq, vv_real *dk, vv_real *dv, const vv_real *dO, const vv_real *o, int64_t ldo,
                               const vv_real *lse, const vv_real *q, int64_t ldq, const vv_real *k, int64_t ldk,
                               const vv_real *v, int64_t ldv, const int32_t *cu, int64_t S, int64_t H, int64_t D,
                               double scale)
{
    vvcpu_ready();
#pragma omp parallel for collapse(2) schedule(dynamic, 1) if (cu[S] * longest(cu, S) * H * D >= VVCPU_GRAIN)
    for (int64_t s = 0; s < S; s++)
        for (int64_t h = 0; h < H; h++) {
            const segment g = segment_at(cu, s);
            const int64_t t = g.first, c = h * D;
            if (g.n > 0)
                head_bwd(dq ? dq + t * ldq + c : NULL, dk ? dk + t * ldk + c : NULL, dv ? dv + t * ldv + c : NULL,
                         dO + t * ldo + c, o + t * ldo + c, ldo, lse + t * H + h, H, q + t * ldq + c, ldq,
                         k + t * ldk + c, ldk, v + t * ldv + c, ldv, g.n, D, scale);
        }
}
