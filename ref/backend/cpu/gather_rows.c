/* y[i] = x[idx[i]];   dx[idx[i]] += dy[i], in the order of i */
#include <string.h>

#include "cpu.h"

VVB_DEF void vvb_gather_rows_fwd(vv_real *y, const vv_real *x, const int32_t *idx, int64_t R, int64_t C)
{
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t i = 0; i < R; i++) memcpy(y + i * C, x + idx[i] * C, (size_t)C * sizeof *y);
}

/* a thread owns columns, not rows: an index may repeat */
VVB_DEF void vvb_gather_rows_bwd(vv_real *dx, const vv_real *dy, const int32_t *idx, int64_t R, int64_t C, int64_t Rx,
                                 int acc)
{
    if (!dx) return;
    if (!acc) vvb_zero(dx, Rx * C * (int64_t)sizeof *dx);
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t c0 = 0; c0 < C; c0 += VVCPU_STRIP) {
        const int64_t n = vv_min(VVCPU_STRIP, C - c0);
        for (int64_t i = 0; i < R; i++)
            for (int64_t j = 0; j < n; j++) dx[idx[i] * C + c0 + j] += dy[i * C + c0 + j];
    }
}
