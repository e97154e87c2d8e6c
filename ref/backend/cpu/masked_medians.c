/* at[b,0], at[b,1]: the first pixels with the values at the places (M-1)/2 and M/2 of the sorted valid ones */
#include "depth_map.h"

/* The lower middle is selected; the upper one is the same value or the next larger that occurs. */
static void medians(int32_t *at, const vv_real *x, const vvcpu_map *m, uint64_t *key)
{
    int64_t M = 0, up_to = 0;
    at[0] = at[1] = -1;
    for (int64_t i = 0; i < m->N; i++)
        if (vvcpu_is_valid(m, i)) key[M++] = vvcpu_key((double)x[i]);
    if (M == 0) return;
    const double t = vvcpu_nth(key, M, (M - 1) / 2);
    double next = INFINITY;
    for (int64_t i = 0; i < m->N; i++) {
        const double v = (double)x[i];
        if (!vvcpu_is_valid(m, i)) continue;
        if (v == t && at[0] < 0) at[0] = (int32_t)i;
        if (v <= t) up_to++;
        else if (v < next) {
            next = v;
            at[1] = (int32_t)i;
        }
    }
    if (up_to > M / 2) at[1] = at[0];
}

VVB_DEF void vvb_masked_medians(int32_t *at, const vv_real *x, const vv_real *d, const int32_t *mask, int64_t B,
                                int64_t N)
{
#pragma omp parallel for schedule(static) if (B * N >= VVCPU_GRAIN)
    for (int64_t b = 0; b < B; b++) {
        const vvcpu_map m = {.d = d + b * N, .mask = mask ? mask + b * N : NULL, .N = N};
        uint64_t *key = vvcpu_scratch_wide("masked_medians", N);
        if (key) medians(at + 2 * b, x + b * N, &m, key);
    }
}
