/* Alignment of one depth map, and the way back through it. With v = dL/dR:
 *
 * NORMALISED. a_i = (p_i - t) / s, t = sum_k w_k p_k (w = 1 at the median's pixel), s = sum |p_i - t| / M:
 *   dt/dp_k = w_k;   ds/dp_k = (c_k - w_k S) / M,  c = sign(p - t), S = sum c
 *   dL/dp_k = sum_i v_i ((i=k) - w_k) / s - sum_i v_i a_i / s ds/dp_k = (v_k - w_k U - h (c_k - w_k S)) / s,  U = sum v, h = sum v a / M
 * SCALED_LABEL. R = ratio d - p, ratio = s / sd:   dL/dp_k = -v_k + h (c_k - w_k S),   h = sum v d / (sd M)
 * LEAST_SQUARES. With q = p - mean p, e = d - mean d and A = sum q^2 the fit is slope = sum q e / A, R = slope q - e. A mean moves
 *   by 1/M a pixel, and sum q = sum e = 0:   dslope/dp_k = (e_k - 2 slope q_k) / A
 *   dL/dp_k = sum(v q) dslope/dp_k + slope (v_k - mean v)
 * (centred sums: sum p^2 sum 1 - (sum p)^2 would lose all digits of a map far from zero). */
#include "depth_map.h"

#include <stdlib.h>

/* Digits of the answer from the top: count the keys by their next 8 bits, keep those that share the answer's. */
double vvcpu_nth(uint64_t *key, int64_t n, int64_t rank)
{
    for (int shift = 56; n > 1 && shift >= 0; shift -= 8) {
        int64_t count[256] = {0}, kept = 0;
        for (int64_t i = 0; i < n; i++) count[key[i] >> shift & 255]++;
        unsigned digit = 0;
        while (rank >= count[digit]) rank -= count[digit++];
        for (int64_t i = 0; i < n; i++)
            if ((key[i] >> shift & 255) == digit) key[kept++] = key[i];
        n = kept;
    }
    const uint64_t u = key[0] >> 63 ? key[0] & ~((uint64_t)1 << 63) : ~key[0];
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* median t and mean |x - t| of one of the maps; 0 when a middle is no valid pixel */
static int centre(const vvcpu_map *m, const vv_real *x, const int32_t *at, int average, double *t, double *spread)
{
    for (int k = 0; k <= average; k++)
        if (at[k] < 0 || at[k] >= m->N || !vvcpu_is_valid(m, at[k])) return 0;
    *t = average ? ((double)x[at[0]] + (double)x[at[1]]) / 2 : (double)x[at[0]];
    double sum;
    VVCPU_SUM(sum, m->N, i, vvcpu_is_valid(m, i) ? fabs((double)x[i] - *t) : 0);
    *spread = sum / (double)m->M;
    return 1;
}

static double largest_label(const vvcpu_map *m)
{
    double most = 0;
    for (int64_t i = 0; i < m->N; i++)
        if (vvcpu_is_valid(m, i) && fabs((double)m->d[i]) > most) most = fabs((double)m->d[i]);
    return most;
}

/* the least-squares fit; 0 when p is too flat for one */
static int fit(vvcpu_map *m)
{
    const double M = (double)m->M;
    double p, d, pp, qe;
    VVCPU_SUM(p, m->N, i, vvcpu_is_valid(m, i) ? (double)m->p[i] : 0);
    VVCPU_SUM(d, m->N, i, vvcpu_is_valid(m, i) ? (double)m->d[i] : 0);
    m->tp = p / M;
    m->td = d / M;
    VVCPU_SUM(pp, m->N, i, vvcpu_is_valid(m, i) ? (double)m->p[i] * (double)m->p[i] : 0);
    VVCPU_SUM(m->A, m->N, i, vvcpu_is_valid(m, i) ? ((double)m->p[i] - m->tp) * ((double)m->p[i] - m->tp) : 0);
    VVCPU_SUM(qe, m->N, i, vvcpu_is_valid(m, i) ? ((double)m->p[i] - m->tp) * ((double)m->d[i] - m->td) : 0);
    if (m->A <= 1e-12 * fmax(pp, 1 / M)) return 0;
    m->slope = qe / m->A;
    return 1;
}

static vvb_map align(vvcpu_map *m, const int32_t *at_p, const int32_t *at_d, const vvb_depth_args *a)
{
    double spread_p, spread_d;
    for (int64_t i = 0; i < m->N; i++) m->M += vvcpu_is_valid(m, i);
    if (m->M == 0) return VVB_MAP_EMPTY;
    if (!centre(m, m->p, at_p, a->average, &m->tp, &spread_p)) return VVB_MAP_NO_MEDIAN;
    if (!centre(m, m->d, at_d, a->average, &m->td, &spread_d)) return VVB_MAP_NO_MEDIAN;
    if (m->M == 1) return VVB_MAP_SINGLE;
    m->middle[0] = at_p[0];
    m->middle[1] = at_p[a->average ? 1 : 0];
    m->fixed = spread_p <= a->eps;
    m->sp = m->fixed ? a->eps : spread_p;
    m->sd = spread_d <= a->eps ? a->eps : spread_d;
    m->ratio = m->sp / m->sd;
    const int flat = m->kind == VVCPU_LEAST_SQUARES ? !fit(m) : m->fixed;
    if (spread_d <= a->eps * fmax(1, largest_label(m))) {
        m->counted = a->clamp;
        m->moves = a->clamp && !(flat && m->kind == VVCPU_LEAST_SQUARES);
        return VVB_MAP_FLAT_LABEL;
    }
    m->counted = 1;
    m->moves = !flat || (a->clamp && m->kind != VVCPU_LEAST_SQUARES);
    return flat ? VVB_MAP_FLAT_PREDICTION : VVB_MAP_COUNTED;
}

vvcpu_map *vvcpu_maps(const char *function, const vv_real *p, const vv_real *d, const int32_t *mask, const int32_t *at,
                      int64_t B, int64_t N, vvcpu_residual kind, const vvb_depth_args *a)
{
    vvcpu_map *map = vv_calloc(B, sizeof *map);
    if (!map) {
        vvcpu_fail(function, "out of memory");
        return NULL;
    }
#pragma omp parallel for schedule(static) if (B * N >= VVCPU_GRAIN)
    for (int64_t b = 0; b < B; b++) {
        vvcpu_map *m = &map[b];
        *m = (vvcpu_map){.p = p + b * N, .d = d + b * N, .mask = mask ? mask + b * N : NULL, .N = N, .kind = kind};
        m->detach = a->detach;
        m->state = align(m, at + 2 * b, at + 2 * (B + b), a);
    }
    return map;
}

void vvcpu_maps_info(int32_t *info, const vvcpu_map *map, int64_t B)
{
    for (int64_t b = 0; info && b < B; b++) {
        info[2 * b] = (int32_t)map[b].state;
        info[2 * b + 1] = (int32_t)map[b].M;
    }
}

void vvcpu_map_residual(double *r, const vvcpu_map *m)
{
    for (int64_t i = 0; i < m->N; i++) {
        const double p = (double)m->p[i], d = (double)m->d[i];
        if (!vvcpu_is_valid(m, i)) r[i] = 0;
        else if (m->kind == VVCPU_NORMALISED) r[i] = (p - m->tp) / m->sp - (d - m->td) / m->sd;
        else if (m->kind == VVCPU_LEAST_SQUARES) r[i] = m->slope * (p - m->tp) - (d - m->td);
        else r[i] = m->ratio * d - p;
    }
}

static inline void put(vv_real *dp, int64_t i, double g, int acc)
{
    if (acc) dp[i] += (vv_real)g;
    else dp[i] = (vv_real)g;
}

/* through the median and the mean absolute deviation: g = out v - w U - h (c - w S), all over `over` */
static void backward_median(vv_real *dp, const vvcpu_map *m, const double *v, double dy, int acc)
{
    const int scaled = m->kind == VVCPU_SCALED_LABEL;
    const double own = scaled ? -1 : 1, over = scaled ? 1 : m->sp;
    double U = 0, h = 0, S = 0;
    if (!scaled && !m->detach) VVCPU_SUM(U, m->N, i, v[i]);
    if (!m->fixed && !m->detach) {
        if (scaled) VVCPU_SUM(h, m->N, i, vvcpu_is_valid(m, i) ? -v[i] * (double)m->d[i] : 0);
        else VVCPU_SUM(h, m->N, i, v[i] * ((double)m->p[i] - m->tp));
        h /= (scaled ? m->sd : m->sp) * (double)m->M;
        VVCPU_SUM(S, m->N, i, vvcpu_is_valid(m, i) ? vvcpu_sign((double)m->p[i] - m->tp) : 0);
    }
    for (int64_t i = 0; i < m->N; i++) {
        if (!vvcpu_is_valid(m, i)) {
            put(dp, i, 0, acc);
            continue;
        }
        const double w = 0.5 * ((i == m->middle[0]) + (i == m->middle[1]));
        const double g = own * v[i] - w * U - h * (vvcpu_sign((double)m->p[i] - m->tp) - w * S);
        put(dp, i, dy * (g / over), acc);
    }
}

static void backward_fit(vv_real *dp, const vvcpu_map *m, const double *v, double dy, int acc)
{
    double V = 0, vq = 0;
    if (!m->detach) {
        VVCPU_SUM(V, m->N, i, v[i]);
        VVCPU_SUM(vq, m->N, i, v[i] * ((double)m->p[i] - m->tp));
    }
    for (int64_t i = 0; i < m->N; i++) {
        if (!vvcpu_is_valid(m, i)) {
            put(dp, i, 0, acc);
            continue;
        }
        const double q = (double)m->p[i] - m->tp, e = (double)m->d[i] - m->td;
        const double g = m->slope * (v[i] - V / (double)m->M) + vq / m->A * (e - 2 * m->slope * q);
        put(dp, i, dy * g, acc);
    }
}

void vvcpu_map_backward(vv_real *dp, const vvcpu_map *m, const double *v, double dy, int acc)
{
    if (!m->counted || !m->moves) {
        for (int64_t i = 0; i < m->N && !acc; i++) dp[i] = 0;
        return;
    }
    if (m->kind == VVCPU_LEAST_SQUARES) backward_fit(dp, m, v, dy, acc);
    else backward_median(dp, m, v, dy, acc);
}
