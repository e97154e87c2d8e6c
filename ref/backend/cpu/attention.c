/* s = scale q k^T,   p = softmax(s),   o = p v,   lse = log sum exp s
 *
 * Backward, with delta[i] = sum_d dO[i,d] o[i,d] = sum_j dP[i,j] p[i,j]:
 *   dv = p^T dO,   dP = dO v^T,   ds = p (dP - delta),   dq = scale ds k,   dk = scale ds^T q
 * (ds is the derivative of a softmax: every score of a row also lowers all the other probabilities, hence delta.)
 *
 * Scores exist for TILE query rows of one head at a time, so memory grows with the segment's length, never its square. p is
 * not kept: the backward computes it again from lse. Forward, p stays as exp(s - max) and o is divided by its sum at the end.
 * A thread owns one key head of one key segment with all queries that look there, because dk and dv add up over them, in order.
 *
 * Two things make it fast. Tiles are stored transposed, [keys, queries]: maxima and sums over the keys of many queries run side by
 * side, and the products find p in the order in which they read it. And k, v of the head are copied together first: in place their
 * rows lie a page apart, which costs the products more than the copy (but for a few queries the copy costs more). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "cpu.h"

enum {
    TILE = 224,
    FEW = 8
}; /* most query rows of a tile: at 1600 keys in float its scores fill most of a 2 MB cache */

/* the rows of one head of one segment, forward or backward */
typedef struct {
    int64_t n, m, D, H; /* queries, keys */
    int64_t ldq, ldk, ldv, ldo;
    const vv_real *q, *k, *v, *dO;
    vv_real *o, *lse, *dq; /* o and lse: written forward, read backward */
    double scale;
    int causal;
} head;

/* keys that the queries before row `end` see */
static int64_t seen(const head *h, int64_t end) { return h->causal ? h->m - h->n + end : h->m; }

/* scores [keys,rows] of the query rows i ... i+rows-1; what a causal query must not see is -Inf: p = 0 */
static void scores(vv_real *s, const head *h, int64_t i, int64_t rows)
{
    const int64_t keys = seen(h, i + rows);
    vvcpu_product(s, rows, h->k, h->ldk, 0, h->q + i * h->ldq, h->ldq, 1, keys, rows, h->D, h->scale, 0);
    for (int64_t j = seen(h, i + 1); j < keys; j++)
        for (int64_t r = 0; r < j - seen(h, i); r++) s[j * rows + r] = -(vv_real)INFINITY;
}

/* max[i] of column i of x [n,m] */
static void column_max(vv_real *max, const vv_real *x, int64_t n, int64_t m)
{
    for (int64_t i = 0; i < m; i++) max[i] = x[i];
    for (int64_t j = 1; j < n; j++)
        for (int64_t i = 0; i < m; i++)
            max[i] = x[j * m + i] <= max[i] ? max[i] : x[j * m + i]; /* a NaN shows in the sum */
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
                row[i] = vv_exp_bounded(row[i] - shift[i]);
                part[i] += row[i];
            }
        }
        for (int64_t i = 0; i < m; i++) sum[i] += (double)part[i];
    }
}

/* query rows i ... i+rows-1 of one head; p is scratch [keys,rows] */
static void tile_fwd(const head *h, int64_t i, int64_t rows, vv_real *p)
{
    vv_real max[TILE], *o = h->o + i * h->ldo;
    double sum[TILE];
    const int64_t keys = seen(h, i + rows);
    scores(p, h, i, rows);
    column_max(max, p, keys, rows);
    exp_and_sum(p, sum, max, keys, rows);
    vvcpu_product(o, h->ldo, p, rows, 1, h->v, h->ldv, 0, rows, h->D, keys, 1, 0);
    for (int64_t r = 0; r < rows; r++) {
        const vv_real f = (vv_real)(1 / sum[r]);
        h->lse[(i + r) * h->H] = (vv_real)((double)max[r] + vv_log(sum[r]));
        for (int64_t d = 0; d < h->D; d++) o[r * h->ldo + d] *= f;
    }
}

/* a segment's query rows, at least one, split evenly */
static int64_t tile_rows(int64_t n)
{
    const int64_t tiles = (n + TILE - 1) / TILE;
    return (n + tiles - 1) / tiles;
}

static void head_fwd(const head *h, vv_real *p)
{
    const int64_t rows = tile_rows(h->n);
    if (h->m > 0) {
        for (int64_t i = 0; i < h->n; i += rows) tile_fwd(h, i, vv_min(rows, h->n - i), p);
        return;
    }
    for (int64_t i = 0; i < h->n; i++) {
        h->lse[i * h->H] = -(vv_real)INFINITY;
        for (int64_t d = 0; d < h->D; d++) h->o[i * h->ldo + d] = 0;
    }
}

/* one tile [keys,rows]: s arrives in p and becomes p = exp(s - lse); dP arrives in ds and becomes ds = p (dP - delta) */
static void scores_bwd(vv_real *p, vv_real *ds, const head *h, int64_t i, int64_t rows, int64_t keys)
{
    vv_real shift[TILE], delta[TILE];
    for (int64_t r = 0; r < rows; r++) {
        const vv_real *dO = h->dO + (i + r) * h->ldo, *o = h->o + (i + r) * h->ldo;
        double sum;
        VVCPU_SUM(sum, h->D, d, dO[d] * o[d]);
        delta[r] = (vv_real)sum;
        shift[r] = h->lse[(i + r) * h->H];
    }
    for (int64_t j = 0; j < keys; j++)
        for (int64_t r = 0; r < rows; r++) {
            const vv_real pj = vv_exp_bounded(p[j * rows + r] - shift[r]);
            p[j * rows + r] = pj;
            ds[j * rows + r] = pj * (ds[j * rows + r] - delta[r]);
        }
}

/* dq is written, dk and dv [m,D] (NULL: not wanted) are added to: every key is first written by the caller. From the last tile to
 * the first, whose keys may be fewer. */
static void head_bwd(const head *h, vv_real *dk, vv_real *dv, vv_real *p, vv_real *ds)
{
    const int64_t rows = tile_rows(h->n), D = h->D;
    for (int64_t i = (h->n - 1) / rows * rows; i >= 0; i -= rows) {
        const int64_t m = vv_min(rows, h->n - i), keys = seen(h, i + m);
        const vv_real *q = h->q + i * h->ldq, *dO = h->dO + i * h->ldo;
        scores(p, h, i, m);
        vvcpu_product(ds, m, h->v, h->ldv, 0, dO, h->ldo, 1, keys, m, D, 1, 0);
        scores_bwd(p, ds, h, i, m, keys);
        if (dv) vvcpu_product(dv, D, p, m, 0, dO, h->ldo, 0, keys, D, m, 1, 1);
        if (h->dq) vvcpu_product(h->dq + i * h->ldq, h->ldq, ds, m, 1, h->k, h->ldk, 0, m, D, keys, h->scale, 0);
        if (dk) vvcpu_product(dk, D, ds, m, 0, q, h->ldq, 0, keys, D, m, h->scale, 1);
    }
}

/* ---- all heads of all segments ----------------------------------------------------------------------------------------- */
/* n rows of D numbers from one stride to another */
static void copy_rows(vv_real *dst, int64_t ldd, const vv_real *src, int64_t lds, int64_t n, int64_t D)
{
    for (int64_t i = 0; i < n; i++) memcpy(dst + i * ldd, src + i * lds, (size_t)D * sizeof *dst);
}

/* The key segments, with the query segments that look at each: [first, end). */
typedef struct {
    int64_t first, end, key, m, queries; /* its first key, their number; all the queries */
    int64_t tile;                        /* rows of the largest tile */
} group;

static int64_t key_segments(const vvb_attention_args *a) { return a->cu_k ? a->Sk : a->S; }

static group group_at(const vvb_attention_args *a, int64_t g, int64_t from)
{
    const int32_t *cu_k = a->cu_k ? a->cu_k : a->cu_q;
    group x = {.first = a->k_of ? from : vv_min(g, a->S), .key = cu_k[g], .m = cu_k[g + 1] - cu_k[g]};
    x.end = a->k_of ? x.first : vv_min(g + 1, a->S);
    while (a->k_of && x.end < a->S && a->k_of[x.end] == g) x.end++;
    for (int64_t s = x.first; s < x.end; s++) {
        const int64_t n = a->cu_q[s + 1] - a->cu_q[s];
        x.queries += n;
        if (n > 0) x.tile = vv_max(x.tile, tile_rows(n));
    }
    return x;
}

static group *groups(const vvb_attention_args *a, const char *function)
{
    const int64_t n = key_segments(a);
    group *x = vv_calloc(n, sizeof *x);
    if (!x) vvcpu_fail(function, "out of memory");
    for (int64_t g = 0, from = 0; x && g < n; g++) {
        x[g] = group_at(a, g, from);
        from = x[g].end;
    }
    return x;
}

static int worth_threads(const vvb_attention_args *a, const group *x)
{
    double work = 0;
    for (int64_t g = 0; g < key_segments(a); g++) work += (double)(x[g].queries * x[g].m);
    return work * (double)(a->H * a->D) >= VVCPU_GRAIN;
}

VVB_DEF void vvb_attention_fwd(vv_real *o, int64_t ldo, vv_real *lse, const vv_real *q, int64_t ldq, const vv_real *k,
                               int64_t ldk, const vv_real *v, int64_t ldv, const vvb_attention_args *a)
{
    const int64_t D = a->D, per_key = a->H / vv_max(a->Hkv, 1);
    vvcpu_ready();
    group *list = groups(a, "attention_fwd");
    if (!list) return;
#pragma omp parallel for collapse(2) schedule(dynamic, 1) if (worth_threads(a, list))
    for (int64_t g = 0; g < key_segments(a); g++)
        for (int64_t hk = 0; hk < a->Hkv; hk++) {
            const group x = list[g];
            const int copy = x.queries * per_key > FEW;
            vv_real *p = vvcpu_scratch("attention_fwd", (2 * D * copy + x.tile) * x.m);
            if (!p) continue;
            head h = {.m = x.m,
                      .D = D,
                      .H = a->H,
                      .ldq = ldq,
                      .ldk = ldk,
                      .ldv = ldv,
                      .ldo = ldo,
                      .k = k + x.key * ldk + hk * D,
                      .v = v + x.key * ldv + hk * D,
                      .scale = a->scale,
                      .causal = a->causal};
            if (copy) {
                vv_real *kc = p + x.tile * x.m, *vc = kc + D * x.m;
                copy_rows(kc, D, h.k, ldk, x.m, D);
                copy_rows(vc, D, h.v, ldv, x.m, D);
                h.k = kc, h.v = vc, h.ldk = h.ldv = D;
            }
            for (int64_t s = x.first; s < x.end; s++)
                for (int64_t hq = hk * per_key; hq < (hk + 1) * per_key; hq++) {
                    const int64_t t = a->cu_q[s];
                    h.n = a->cu_q[s + 1] - t;
                    h.q = q + t * ldq + hq * D;
                    h.o = o + t * ldo + hq * D;
                    h.lse = lse + t * a->H + hq;
                    if (h.n > 0) head_fwd(&h, p);
                }
        }
    free(list);
}

VVB_DEF void vvb_attention_bwd(vv_real *dq, vv_real *dk, vv_real *dv, const vv_real *dO, const vv_real *o, int64_t ldo,
                               const vv_real *lse, const vv_real *q, int64_t ldq, const vv_real *k, int64_t ldk,
                               const vv_real *v, int64_t ldv, const vvb_attention_args *a)
{
    const int64_t D = a->D, per_key = a->H / vv_max(a->Hkv, 1);
    vvcpu_ready();
    group *list = groups(a, "attention_bwd");
    if (!list) return;
#pragma omp parallel for collapse(2) schedule(dynamic, 1) if (worth_threads(a, list))
    for (int64_t g = 0; g < key_segments(a); g++)
        for (int64_t hk = 0; hk < a->Hkv; hk++) {
            const group x = list[g];
            vv_real *kc = vvcpu_scratch("attention_bwd", (4 * D + 2 * x.tile) * x.m);
            if (!kc) continue;
            vv_real *vc = kc + D * x.m, *dkc = vc + D * x.m, *dvc = dkc + D * x.m, *p = dvc + D * x.m;
            copy_rows(kc, D, k + x.key * ldk + hk * D, ldk, x.m, D);
            copy_rows(vc, D, v + x.key * ldv + hk * D, ldv, x.m, D);
            memset(dkc, 0, (size_t)(2 * D * x.m) * sizeof *dkc);
            head h = {.m = x.m,
                      .D = D,
                      .H = a->H,
                      .ldq = ldq,
                      .ldk = D,
                      .ldv = D,
                      .ldo = ldo,
                      .k = kc,
                      .v = vc,
                      .scale = a->scale,
                      .causal = a->causal};
            for (int64_t s = x.first; s < x.end; s++)
                for (int64_t hq = hk * per_key; hq < (hk + 1) * per_key; hq++) {
                    const int64_t t = a->cu_q[s];
                    h.n = a->cu_q[s + 1] - t;
                    h.q = q + t * ldq + hq * D;
                    h.o = (vv_real *)o + t * ldo + hq * D;
                    h.lse = (vv_real *)lse + t * a->H + hq;
                    h.dO = dO + t * ldo + hq * D;
                    h.dq = dq ? dq + t * ldq + hq * D : NULL;
                    if (h.n > 0) head_bwd(&h, dk ? dkc : NULL, dv ? dvc : NULL, p, p + x.tile * x.m);
                }
            if (dk) copy_rows(dk + x.key * ldk + hk * D, ldk, dkc, D, x.m, D);
            if (dv) copy_rows(dv + x.key * ldv + hk * D, ldv, dvc, D, x.m, D);
        }
    free(list);
}
