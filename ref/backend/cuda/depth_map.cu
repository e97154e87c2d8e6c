/* Alignment of depth maps, and the way back through it. With v = dL/dR:
 *
 * NORMALISED. a_i = (p_i - t) / s, t = sum_k w_k p_k (w = 1 at the median's pixel), s = sum |p_i - t| / M:
 *   dt/dp_k = w_k;   ds/dp_k = (c_k - w_k S) / M,  c = sign(p - t), S = sum c
 *   dL/dp_k = sum_i v_i ((i=k) - w_k) / s - sum_i v_i a_i / s ds/dp_k = (v_k - w_k U - h (c_k - w_k S)) / s,  U = sum v, h = sum v a / M
 * SCALED_LABEL. R = ratio d - p, ratio = s / sd:   dL/dp_k = -v_k + h (c_k - w_k S),   h = sum v d / (sd M)
 * LEAST_SQUARES. With q = p - mean p, e = d - mean d and A = sum q^2 the fit is slope = sum q e / A, R = slope q - e. A mean moves
 *   by 1/M a pixel, and sum q = sum e = 0:   dslope/dp_k = (e_k - 2 slope q_k) / A
 *   dL/dp_k = sum(v q) dslope/dp_k + slope (v_k - mean v)
 * (centred sums: sum p^2 sum 1 - (sum p)^2 would lose all digits of a map far from zero).
 *
 * All threads of a block have all numbers of their map; the first writes them. */
#include "depth_map.h"

vvcu_depth vvcu_depth_of(const float *p, const float *d, const int32_t *mask, const int32_t *at, int64_t B, int64_t N,
                         vvcu_residual kind, const vvb_depth_args *a)
{
    return {p, d, mask, at, B, N, kind, a->average, a->clamp, a->detach, a->eps};
}

/* map b of them alone; at stays */
static __device__ vvcu_depth one_map(vvcu_depth g, int64_t b)
{
    g.p += b * g.N;
    g.d += b * g.N;
    g.mask = g.mask ? g.mask + b * g.N : NULL;
    return g;
}

static __device__ int valid(const vvcu_depth &g, int64_t i) { return vvcu_is_valid(g.mask, g.d, i); }

/* ---- alignment ------------------------------------------------------------------------------------------------------------------ */
/* median t and mean |x - t| of one of the maps; 0 when a middle is no valid pixel */
static __device__ int centre(const vvcu_depth &g, int64_t M, const float *x, const int32_t *at, double *t,
                             double *spread)
{
    for (int k = 0; k <= g.average; k++)
        if (at[k] < 0 || at[k] >= g.N || !valid(g, at[k])) return 0;
    *t = g.average ? ((double)x[at[0]] + (double)x[at[1]]) / 2 : (double)x[at[0]];
    double sum;
    VVCU_BLOCK_SUM(sum, g.N, i, valid(g, i) ? fabs((double)x[i] - *t) : 0);
    *spread = sum / (double)M;
    return 1;
}

static __device__ double largest_label(const vvcu_depth &g)
{
    __shared__ float largest[32];
    float most = 0;
    for (int64_t i = threadIdx.x; i < g.N; i += blockDim.x)
        if (valid(g, i)) most = fmaxf(most, fabsf(g.d[i]));
    for (int k = 16; k > 0; k /= 2) most = fmaxf(most, __shfl_xor_sync(0xffffffffu, most, k));
    __syncthreads();
    if (threadIdx.x % 32 == 0) largest[threadIdx.x / 32] = most;
    __syncthreads();
    for (unsigned w = 0; w < blockDim.x / 32; w++) most = fmaxf(most, largest[w]);
    return (double)most;
}

/* the least-squares fit; 0 when p is too flat for one */
static __device__ int fit(vvcu_map *m, const vvcu_depth &g)
{
    const double M = (double)m->M;
    double p, d, pp, qe;
    VVCU_BLOCK_SUM(p, g.N, i, valid(g, i) ? (double)g.p[i] : 0);
    VVCU_BLOCK_SUM(d, g.N, i, valid(g, i) ? (double)g.d[i] : 0);
    m->tp = p / M;
    m->td = d / M;
    VVCU_BLOCK_SUM(pp, g.N, i, valid(g, i) ? (double)g.p[i] * (double)g.p[i] : 0);
    VVCU_BLOCK_SUM(m->A, g.N, i, valid(g, i) ? ((double)g.p[i] - m->tp) * ((double)g.p[i] - m->tp) : 0);
    VVCU_BLOCK_SUM(qe, g.N, i, valid(g, i) ? ((double)g.p[i] - m->tp) * ((double)g.d[i] - m->td) : 0);
    if (m->A <= 1e-12 * fmax(pp, 1 / M)) return 0;
    m->slope = qe / m->A;
    return 1;
}

static __device__ vvb_map align(vvcu_map *m, const vvcu_depth &g, const int32_t *at_p, const int32_t *at_d)
{
    double M, spread_p, spread_d;
    VVCU_BLOCK_SUM(M, g.N, i, valid(g, i));
    m->M = (int64_t)M;
    if (m->M == 0) return VVB_MAP_EMPTY;
    if (!centre(g, m->M, g.p, at_p, &m->tp, &spread_p)) return VVB_MAP_NO_MEDIAN;
    if (!centre(g, m->M, g.d, at_d, &m->td, &spread_d)) return VVB_MAP_NO_MEDIAN;
    if (m->M == 1) return VVB_MAP_SINGLE;
    m->middle[0] = at_p[0];
    m->middle[1] = at_p[g.average ? 1 : 0];
    m->fixed = spread_p <= g.eps;
    m->sp = m->fixed ? g.eps : spread_p;
    m->sd = spread_d <= g.eps ? g.eps : spread_d;
    m->ratio = m->sp / m->sd;
    const int flat = g.kind == VVCU_LEAST_SQUARES ? !fit(m, g) : m->fixed;
    if (spread_d <= g.eps * fmax(1.0, largest_label(g))) {
        m->counted = g.clamp;
        m->moves = g.clamp && !(flat && g.kind == VVCU_LEAST_SQUARES);
        return VVB_MAP_FLAT_LABEL;
    }
    m->counted = 1;
    m->moves = !flat || (g.clamp && g.kind != VVCU_LEAST_SQUARES);
    return flat ? VVB_MAP_FLAT_PREDICTION : VVB_MAP_COUNTED;
}

static __global__ void align_all(vvcu_map *map, vvcu_depth g)
{
    VVCU_FOR_ROWS(b, g.B) {
        vvcu_map m = {};
        m.state = align(&m, one_map(g, b), g.at + 2 * b, g.at + 2 * (g.B + b));
        if (threadIdx.x == 0) map[b] = m;
    }
}

void vvcu_align_maps(const char *function, vvcu_map *map, const vvcu_depth *g)
{
    VVCU_LAUNCH(function, align_all, VVCU_ROWS(g->B), VVCU_MAP_BLOCK, 0, map, *g);
}

static __global__ void tell(int32_t *info, const vvcu_map *map, int64_t B)
{
    VVCU_FOR(b, B) {
        info[2 * b] = (int32_t)map[b].state;
        info[2 * b + 1] = (int32_t)map[b].M;
    }
}

void vvcu_maps_info(const char *function, int32_t *info, const vvcu_map *map, int64_t B)
{
    if (info) VVCU_LAUNCH(function, tell, VVCU_GRID(B), VVCU_BLOCK, 0, info, map, B);
}

static __global__ void residual(double *r, const vvcu_map *map, vvcu_depth g)
{
    VVCU_FOR(i, g.B * g.N) {
        const vvcu_map *m = &map[i / g.N];
        const double p = (double)g.p[i], d = (double)g.d[i];
        if (!m->counted || !valid(g, i)) r[i] = 0;
        else if (g.kind == VVCU_NORMALISED) r[i] = (p - m->tp) / m->sp - (d - m->td) / m->sd;
        else if (g.kind == VVCU_LEAST_SQUARES) r[i] = m->slope * (p - m->tp) - (d - m->td);
        else r[i] = m->ratio * d - p;
    }
}

void vvcu_maps_residual(const char *function, double *r, const vvcu_map *map, const vvcu_depth *g)
{
    VVCU_LAUNCH(function, residual, VVCU_GRID(g->B * g->N), VVCU_BLOCK, 0, r, map, *g);
}

/* ---- the way back --------------------------------------------------------------------------------------------------------------- */
/* What the pixels of a map have in common. */
typedef struct {
    double U, h, S; /* through the median and the mean absolute deviation */
    double V, vq;   /* through the fit */
} common;

static __device__ common sum_up(const vvcu_map &m, const vvcu_depth &g, const double *v)
{
    common s = {0, 0, 0, 0, 0};
    if (g.detach) return s;
    if (g.kind == VVCU_LEAST_SQUARES) {
        VVCU_BLOCK_SUM(s.V, g.N, i, v[i]);
        VVCU_BLOCK_SUM(s.vq, g.N, i, v[i] * ((double)g.p[i] - m.tp));
        return s;
    }
    const int scaled = g.kind == VVCU_SCALED_LABEL;
    if (!scaled) VVCU_BLOCK_SUM(s.U, g.N, i, v[i]);
    if (m.fixed) return s;
    if (scaled) VVCU_BLOCK_SUM(s.h, g.N, i, valid(g, i) ? -v[i] * (double)g.d[i] : 0);
    else VVCU_BLOCK_SUM(s.h, g.N, i, v[i] * ((double)g.p[i] - m.tp));
    s.h /= (scaled ? m.sd : m.sp) * (double)m.M;
    VVCU_BLOCK_SUM(s.S, g.N, i, valid(g, i) ? vvcu_sign((double)g.p[i] - m.tp) : 0);
    return s;
}

/* dL/dp of pixel i. The median: own v - w U - h (c - w S), all over `over` */
static __device__ double pixel_grad(const vvcu_map &m, const vvcu_depth &g, const common &s, double v, int64_t i)
{
    const double from_t = (double)g.p[i] - m.tp;
    if (g.kind == VVCU_LEAST_SQUARES) {
        const double e = (double)g.d[i] - m.td;
        return m.slope * (v - s.V / (double)m.M) + s.vq / m.A * (e - 2 * m.slope * from_t);
    }
    const int scaled = g.kind == VVCU_SCALED_LABEL;
    const double own = scaled ? -1 : 1, over = scaled ? 1 : m.sp, w = 0.5 * ((i == m.middle[0]) + (i == m.middle[1]));
    return (own * v - w * s.U - s.h * (vvcu_sign(from_t) - w * s.S)) / over;
}

static __global__ void backward(float *dp, const vvcu_map *map, vvcu_depth all, const double *v, const float *dy,
                                int acc)
{
    VVCU_FOR_ROWS(b, all.B) {
        const vvcu_map m = map[b];
        const vvcu_depth g = one_map(all, b);
        const int moves = m.counted && m.moves;
        common s = {0, 0, 0, 0, 0};
        if (moves) s = sum_up(m, g, v + b * g.N);
        for (int64_t i = threadIdx.x; i < g.N; i += blockDim.x) {
            float *out = dp + b * g.N + i;
            const double grad = moves && valid(g, i) ? (double)dy[0] * pixel_grad(m, g, s, v[b * g.N + i], i) : 0;
            if (!acc) *out = (float)grad;
            else if (moves) *out += (float)grad;
        }
    }
}

void vvcu_maps_backward(const char *function, float *dp, const vvcu_map *map, const vvcu_depth *g, const double *v,
                        const float *dy, int acc)
{
    VVCU_LAUNCH(function, backward, VVCU_ROWS(g->B), VVCU_MAP_BLOCK, 0, dp, map, *g, v, dy, acc);
}
