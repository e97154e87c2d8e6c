/* y[idx[i]] = x[i];   dx[i] = dy[idx[i]]. Indices are distinct: rows can be owned by threads both ways. */
#include <string.h>

#include "cpu.h"

VVB_DEF void vvb_scatter_rows_fwd(vv_real *y, const vv_real *x, const int32_t *idx, int64_t R, int64_t C)
{
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t i = 0; i < R; i++) memcpy(y + idx[i] * C, x + i * C, (size_t)C * sizeof *y);
}

VVB_DEF void vvb_scatter_rows_bwd(vv_real *dx, const vv_real *dy, const int32_t *idx, int64_t R, int64_t C, int acc)
{
    if (!dx) return;
    if (!acc) vvb_gather_rows_fwd(dx, dy, idx, R, C);
    else {
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
        for (int64_t i = 0; i < R; i++)
            for (int64_t c = 0; c < C; c++) dx[i * C + c] += dy[idx[i] * C + c];
    }
}
