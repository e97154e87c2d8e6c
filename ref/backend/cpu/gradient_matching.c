/* y = sum over scales k of (sum over neighbours |R_j - R_i|) / M_k
 * dy/dR_j += sign(R_j - R_i) / M_k,  dy/dR_i -= the same.   The way from R to p is depth_map.c's. */
#include <stdlib.h>

#include "depth_map.h"

/* What scale k sees of a map: rows and columns 0, step, 2 step ...; a pair is `reach` pixels apart. */
typedef struct {
    int64_t Hh, Ww, step, reach;
} grid;

static grid scale(int64_t Hh, int64_t Ww, vvb_gm gm, int64_t k)
{
    const int far = gm == VVB_GM_MEGADEPTH;
    const int64_t step = far ? vv_max(1, 2 * k) : (int64_t)1 << k;
    return (grid){Hh, Ww, step, far ? 2 * step : step};
}

static vvcpu_residual kind(vvb_gm gm)
{
    return gm == VVB_GM_LS                                ? VVCPU_LEAST_SQUARES
           : gm == VVB_GM_PAPER || gm == VVB_GM_PAPER_SUM ? VVCPU_SCALED_LABEL
                                                          : VVCPU_NORMALISED;
}

static int64_t seen(const vvcpu_map *m, grid g)
{
    int64_t n = 0;
    for (int64_t y = 0; y < g.Hh; y += g.step)
        for (int64_t x = 0; x < g.Ww; x += g.step) n += vvcpu_is_valid(m, y * g.Ww + x);
    return n;
}

/* |R_j - R_i| to the right of pixel (y,x) and below it */
static inline double from(const vvcpu_map *m, const double *r, grid g, int64_t y, int64_t x)
{
    const int64_t i = y * g.Ww + x, right = i + g.reach, below = i + g.reach * g.Ww;
    double sum = 0;
    if (!vvcpu_is_valid(m, i)) return 0;
    if (x + g.reach < g.Ww && vvcpu_is_valid(m, right)) sum = fabs(r[right] - r[i]);
    if (y + g.reach < g.Hh && vvcpu_is_valid(m, below)) sum += fabs(r[below] - r[i]);
    return sum;
}

static double differences(const vvcpu_map *m, const double *r, grid g)
{
    const int64_t columns = (g.Ww + g.step - 1) / g.step;
    double sum = 0, row;
    for (int64_t y = 0; y < g.Hh; y += g.step) {
        VVCPU_SUM(row, columns, j, from(m, r, g, y, j * g.step));
        sum += row;
    }
    return sum;
}

static void spread(const vvcpu_map *m, double *v, const double *r, grid g, double w)
{
    for (int64_t y = 0; y < g.Hh; y += g.step)
        for (int64_t x = 0; x < g.Ww; x += g.step) {
            const int64_t i = y * g.Ww + x, next[2] = {i + g.reach, i + g.reach * g.Ww};
            const int inside[2] = {x + g.reach < g.Ww, y + g.reach < g.Hh};
            for (int k = 0; k < 2 && vvcpu_is_valid(m, i); k++) {
                if (!inside[k] || !vvcpu_is_valid(m, next[k])) continue;
                const double s = w * vvcpu_sign(r[next[k]] - r[i]);
                v[next[k]] += s;
                v[i] -= s;
            }
        }
}

/* One over the valid pixels of each scale, over all maps that count; 0 where there are none. */
static void weights(double *w, const vvcpu_map *map, int64_t B, int64_t Hh, int64_t Ww, const vvb_depth_args *a)
{
    for (int64_t k = 0; k < a->scales; k++) {
        int64_t n = 0;
        for (int64_t b = 0; b < B; b++)
            if (map[b].counted) n += seen(&map[b], scale(Hh, Ww, a->gm, k));
        w[k] = n == 0 ? 0 : a->gm == VVB_GM_PAPER_SUM ? 1 : 1 / (double)n;
    }
}

VVB_DEF void vvb_gradient_matching_fwd(vv_real *y, int32_t *info, const vv_real *p, const vv_real *d,
                                       const int32_t *mask, const int32_t *at, int64_t B, int64_t Hh, int64_t Ww,
                                       const vvb_depth_args *a)
{
    const int64_t N = Hh * Ww, K = a->scales;
    vvcpu_map *map = vvcpu_maps("gradient_matching_fwd", p, d, mask, at, B, N, kind(a->gm), a);
    double *sum = vv_calloc(B, VVB_MAX_SCALES * sizeof *sum), w[VVB_MAX_SCALES], all = 0;
    if (map && sum) {
#pragma omp parallel for schedule(static) if (B * N >= VVCPU_GRAIN)
        for (int64_t b = 0; b < B; b++) {
            double *r = map[b].counted ? vvcpu_scratch_wide("gradient_matching_fwd", N) : NULL;
            if (!r) continue;
            vvcpu_map_residual(r, &map[b]);
            for (int64_t k = 0; k < K; k++) sum[b * K + k] = differences(&map[b], r, scale(Hh, Ww, a->gm, k));
        }
        weights(w, map, B, Hh, Ww, a);
        for (int64_t k = 0; k < K; k++)
            for (int64_t b = 0; b < B; b++) all += w[k] * sum[b * K + k];
        vvcpu_maps_info(info, map, B);
    } else vvcpu_fail("gradient_matching_fwd", "out of memory");
    y[0] = (vv_real)all;
    free(sum);
    free(map);
}

VVB_DEF void vvb_gradient_matching_bwd(vv_real *dp, const vv_real *dy, const vv_real *p, const vv_real *d,
                                       const int32_t *mask, const int32_t *at, int64_t B, int64_t Hh, int64_t Ww,
                                       const vvb_depth_args *a, int acc)
{
    const int64_t N = Hh * Ww;
    double w[VVB_MAX_SCALES];
    vvcpu_map *map = dp ? vvcpu_maps("gradient_matching_bwd", p, d, mask, at, B, N, kind(a->gm), a) : NULL;
    if (!map) return;
    weights(w, map, B, Hh, Ww, a);
#pragma omp parallel for schedule(static) if (B * N >= VVCPU_GRAIN)
    for (int64_t b = 0; b < B; b++) {
        double *r = vvcpu_scratch_wide("gradient_matching_bwd", 2 * N);
        if (!r) continue;
        double *v = r + N;
        if (map[b].counted && map[b].moves) {
            vvcpu_map_residual(r, &map[b]);
            memset(v, 0, (size_t)N * sizeof *v);
            for (int64_t k = 0; k < a->scales; k++) spread(&map[b], v, r, scale(Hh, Ww, a->gm, k), w[k]);
        }
        vvcpu_map_backward(dp + b * N, &map[b], v, (double)dy[0], acc);
    }
    free(map);
}
