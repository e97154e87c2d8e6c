/* y[idx[i]] = x[i];   dx[i] = dy[idx[i]]. Indices are distinct: each number has one owner both ways. */
#include "cuda.h"

static __global__ void scatter(float *y, const float *x, const int32_t *idx, int64_t n, int64_t C)
{
    VVCU_FOR(i, n) y[idx[i / C] * C + i % C] = x[i];
}

void vvb_scatter_rows_fwd(float *y, const float *x, const int32_t *idx, int64_t R, int64_t C)
{
    VVCU_LAUNCH("scatter_rows_fwd", scatter, VVCU_GRID(R * C), VVCU_BLOCK, 0, y, x, idx, R * C, C);
}

static __global__ void gradients(float *dx, const float *dy, const int32_t *idx, int64_t n, int64_t C, int acc)
{
    VVCU_FOR(i, n) {
        const float v = dy[idx[i / C] * C + i % C];
        dx[i] = acc ? dx[i] + v : v;
    }
}

void vvb_scatter_rows_bwd(float *dx, const float *dy, const int32_t *idx, int64_t R, int64_t C, int acc)
{
    if (dx) VVCU_LAUNCH("scatter_rows_bwd", gradients, VVCU_GRID(R * C), VVCU_BLOCK, 0, dx, dy, idx, R * C, C, acc);
}
