/* y = sum |R| / sum M, or the mean of mean |R|;   dy/dR = sign(R) / sum M, or sign(R) / (maps M)
 * The way from R to p is depth_map.c's. */
#include <stdlib.h>

#include "depth_map.h"

/* What a map's sum |R| is multiplied by. */
static double weight(const vvcpu_map *map, int64_t B, int64_t b, int image)
{
    double pixels = 0, maps = 0;
    for (int64_t i = 0; i < B; i++)
        if (map[i].counted) {
            pixels += (double)map[i].M;
            maps++;
        }
    return !map[b].counted ? 0 : image ? 1 / (maps * (double)map[b].M) : 1 / pixels;
}

/* Sets all but the smallest floor((1 - part) M) residuals to 0; of equal ones the first pixels stay. */
static void trim(double *r, const vvcpu_map *m, double part, uint64_t *key)
{
    const int64_t keep = (int64_t)((1 - part) * (double)m->M);
    int64_t n = 0, below = 0;
    if (keep >= m->M) return;
    for (int64_t i = 0; i < m->N; i++)
        if (vvcpu_is_valid(m, i)) key[n++] = vvcpu_key(fabs(r[i]));
    const double last = keep > 0 ? vvcpu_nth(key, n, keep - 1) : -1;
    for (int64_t i = 0; i < m->N; i++) below += vvcpu_is_valid(m, i) && fabs(r[i]) < last;
    int64_t equal = keep - below;
    for (int64_t i = 0; i < m->N; i++)
        if (vvcpu_is_valid(m, i) && (fabs(r[i]) > last || (fabs(r[i]) == last && equal-- <= 0))) r[i] = 0;
}

static void residual(double *r, const vvcpu_map *m, double part)
{
    vvcpu_map_residual(r, m);
    if (part > 0) trim(r, m, part, (uint64_t *)(void *)(r + m->N));
}

static vvcpu_residual kind(const vvb_depth_args *a)
{
    return a->align == VVB_ALIGN_LS ? VVCPU_LEAST_SQUARES : VVCPU_NORMALISED;
}

VVB_DEF void vvb_ssi_fwd(vv_real *y, int32_t *info, const vv_real *p, const vv_real *d, const int32_t *mask,
                         const int32_t *at, int64_t B, int64_t N, const vvb_depth_args *a)
{
    vvcpu_map *map = vvcpu_maps("ssi_fwd", p, d, mask, at, B, N, kind(a), a);
    double *sum = vv_calloc(B, sizeof *sum), all = 0;
    if (map && sum) {
#pragma omp parallel for schedule(static) if (B * N >= VVCPU_GRAIN)
        for (int64_t b = 0; b < B; b++) {
            double *r = map[b].counted ? vvcpu_scratch_wide("ssi_fwd", 2 * N) : NULL;
            if (!r) continue;
            residual(r, &map[b], a->trim);
            VVCPU_SUM(sum[b], N, i, fabs(r[i]));
        }
        for (int64_t b = 0; b < B; b++) all += sum[b] * weight(map, B, b, a->image);
        vvcpu_maps_info(info, map, B);
    } else vvcpu_fail("ssi_fwd", "out of memory");
    y[0] = (vv_real)all;
    free(sum);
    free(map);
}

VVB_DEF void vvb_ssi_bwd(vv_real *dp, const vv_real *dy, const vv_real *p, const vv_real *d, const int32_t *mask,
                         const int32_t *at, int64_t B, int64_t N, const vvb_depth_args *a, int acc)
{
    vvcpu_map *map = dp ? vvcpu_maps("ssi_bwd", p, d, mask, at, B, N, kind(a), a) : NULL;
    if (!map) return;
#pragma omp parallel for schedule(static) if (B * N >= VVCPU_GRAIN)
    for (int64_t b = 0; b < B; b++) {
        double *r = vvcpu_scratch_wide("ssi_bwd", 2 * N);
        if (!r) continue;
        if (map[b].counted && map[b].moves) residual(r, &map[b], a->trim);
        const double w = weight(map, B, b, a->image);
        for (int64_t i = 0; i < N && map[b].moves; i++) r[i] = w * vvcpu_sign(r[i]);
        vvcpu_map_backward(dp + b * N, &map[b], r, (double)dy[0], acc);
    }
    free(map);
}
