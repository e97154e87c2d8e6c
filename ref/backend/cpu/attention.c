/* s = scale q k^T,   p = softmax(s),   o = p v,   lse = log sum exp s
 *
 * Backward, with delta[i] = sum_d dO[i,d] o[i,d] = sum_j dP[i,j] p[i,j]:
 *   dv = p^T dO,   dP = dO v^T,   ds = p (dP - delta),   dq = scale ds k,   dk = scale ds^T q
 * (ds is the derivative of a softmax: every score of a row also lowers all the other probabilities, hence delta.)
 *
 * Scores exist for TILE query rows of one head at a time, so memory grows with the segment's length, never its square. p is
 * not kept: the backward computes it again from lse. Forward, a thread owns one tile; backward, it owns one head of one
 * segment, because dk and dv add up over the tiles, in order. */
#include "base/elementary.h"
#include "cpu.h"

enum { TILE = 128 };

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

static vv_real row_max(const vv_real *x, int64_t n)
{
    vv_real lane[VVCPU_LANES];
    for (int l = 0; l < VVCPU_LANES; l++) lane[l] = x[0];
    int64_t i = 0;
    for (; i + VVCPU_LANES <= n; i += VVCPU_LANES)
        for (int l = 0; l < VVCPU_LANES; l++) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    for (; i < n; i++) lane[0] = x[i] > lane[0] ? x[i] : lane[0];
    for (int l = 1; l < VVCPU_LANES; l++) lane[0] = lane[l] > lane[0] ? lane[l] : lane[0];
    return lane[0];
}

/* x = exp(x - shift); returns the sum: lanes in vv_real over at most BLOCK elements, lanes and blocks in double */
enum { BLOCK = 1024 };

static double exp_and_sum(vv_real *x, int64_t n, vv_real shift)
{
    double total = 0;
    for (int64_t b = 0; b < n; b += BLOCK) {
        const int64_t end = vv_min(n, b + BLOCK);
        vv_real lane[VVCPU_LANES] = {0};
        double wide[VVCPU_LANES];
        int64_t i = b;
        for (; i + VVCPU_LANES <= end; i += VVCPU_LANES)
            for (int l = 0; l < VVCPU_LANES; l++) {
                x[i + l] = vv_exp_real(x[i + l] - shift);
                lane[l] += x[i + l];
            }
        for (int l = 0; i < end; i++, l++) lane[l] += x[i] = vv_exp_real(x[i] - shift);
        for (int l = 0; l < VVCPU_LANES; l++) wide[l] = (double)lane[l];
        total += vvcpu_tree(wide);
    }
    return total;
}

/* one tile of query rows of one head: m rows from row i0 of the segment */
static void tile_fwd(vv_real *o, int64_t ldo, vv_real *lse, int64_t H, const vv_real *q, int64_t ldq, const vv_real *k,
                     int64_t ldk, const vv_real *v, int64_t ldv, int64_t m, int64_t n, int64_t D, double scale,
                     vv_real *p)
{
    vvcpu_product(p, n, q, ldq, 0, k, ldk, 1, m, n, D, scale, 0);
    double inverse[TILE];
    for (int64_t i = 0; i < m; i++) {
        const vv_real max = row_max(p + i * n, n);
        const double sum = exp_and_sum(p + i * n, n, max);
        lse[i * H] = (vv_real)((double)max + vv_log(sum));
        inverse[i] = 1 / sum;
    }
    vvcpu_product(o, ldo, p, n, 0, v, ldv, 0, m, D, n, 1, 0);
    for (int64_t i = 0; i < m; i++) {
        const vv_real f = (vv_real)inverse[i];
        for (int64_t d = 0; d < D; d++) o[i * ldo + d] *= f;
    }
}

VVB_DEF void vvb_attention_fwd(vv_real *o, int64_t ldo, vv_real *lse, const vv_real *q, int64_t ldq, const vv_real *k,
                               int64_t ldk, const vv_real *v, int64_t ldv, const int32_t *cu, int64_t S, int64_t H,
                               int64_t D, double scale)
{
    vvcpu_ready();
    const int64_t n_max = longest(cu, S), tiles = (n_max + TILE - 1) / TILE;
#pragma omp parallel for collapse(3) schedule(dynamic, 1) if (cu[S] * n_max * H * D >= VVCPU_GRAIN)
    for (int64_t s = 0; s < S; s++)
        for (int64_t h = 0; h < H; h++)
            for (int64_t t = 0; t < tiles; t++) {
                const segment g = segment_at(cu, s);
                const int64_t i0 = t * TILE, m = vv_min(TILE, g.n - i0), row = g.first + i0;
                vv_real *p = m > 0 ? vvcpu_scratch("attention_fwd", m * g.n) : NULL;
                if (!p) continue;
                tile_fwd(o + row * ldo + h * D, ldo, lse + row * H + h, H, q + row * ldq + h * D, ldq,
                         k + g.first * ldk + h * D, ldk, v + g.first * ldv + h * D, ldv, m, g.n, D, scale, p);
            }
}

/* p and ds of one tile; dP arrives in ds */
static void scores_bwd(vv_real *p, vv_real *ds, const vv_real *lse, int64_t H, const vv_real *dO, const vv_real *o,
                       int64_t ldo, int64_t m, int64_t n, int64_t D)
{
    for (int64_t i = 0; i < m; i++) {
        double delta;
        VVCPU_SUM(delta, D, d, dO[i * ldo + d] * o[i * ldo + d]);
        const vv_real shift = lse[i * H], dl = (vv_real)delta;
        vv_real *pi = p + i * n, *di = ds + i * n;
        for (int64_t j = 0; j < n; j++) {
            pi[j] = vv_exp_real(pi[j] - shift);
            di[j] = pi[j] * (di[j] - dl);
        }
    }
}

static void head_bwd(vv_real *dq, vv_real *dk, vv_real *dv, const vv_real *dO, const vv_real *o, int64_t ldo,
                     const vv_real *lse, int64_t H, const vv_real *q, int64_t ldq, const vv_real *k, int64_t ldk,
                     const vv_real *v, int64_t ldv, int64_t n, int64_t D, double scale, vv_real *p, vv_real *ds)
{
    for (int64_t i0 = 0; i0 < n; i0 += TILE) {
        const int64_t m = vv_min(TILE, n - i0);
        const vv_real *qi = q + i0 * ldq, *dOi = dO + i0 * ldo;
        const double add = i0 > 0; /* the first tile writes dk and dv, the others add */
        vvcpu_product(p, n, qi, ldq, 0, k, ldk, 1, m, n, D, scale, 0);
        vvcpu_product(ds, n, dOi, ldo, 0, v, ldv, 1, m, n, D, 1, 0);
        scores_bwd(p, ds, lse + i0 * H, H, dOi, o + i0 * ldo, ldo, m, n, D);
        if (dv) vvcpu_product(dv, ldv, p, n, 1, dOi, ldo, 0, n, D, m, 1, add);
        if (dq) vvcpu_product(dq + i0 * ldq, ldq, ds, n, 0, k, ldk, 0, m, D, n, scale, 0);
        if (dk) vvcpu_product(dk, ldk, ds, n, 1, qi, ldq, 0, n, D, m, scale, add);
    }
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
            const int64_t tile = vv_min(TILE, g.n) * g.n, c = h * D, qr = g.first * ldq + c, kr = g.first * ldk + c,
                          vr = g.first * ldv + c, orow = g.first * ldo + c;
            vv_real *p = g.n > 0 ? vvcpu_scratch("attention_bwd", 2 * tile) : NULL;
            if (!p) continue;
            head_bwd(dq ? dq + qr : NULL, dk ? dk + kr : NULL, dv ? dv + vr : NULL, dO + orow, o + orow, ldo,
                     lse + g.first * H + h, H, q + qr, ldq, k + kr, ldk, v + vr, ldv, g.n, D, scale, p, p + tile);
        }
}
