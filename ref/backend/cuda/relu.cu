/* y = max(x, 0),   dy/dx = 1 for x > 0, else 0. Written so that a NaN stays one. */
#include "cuda.h"

static __global__ void values(float *y, const float *x, int64_t n)
{
    VVCU_FOR(i, n) y[i] = x[i] <= 0 ? 0 : x[i];
}

void vvb_relu_fwd(float *y, const float *x, int64_t n)
{
    VVCU_LAUNCH("relu_fwd", values, VVCU_GRID(n), VVCU_BLOCK, 0, y, x, n);
}

static __global__ void gradients(float *dx, const float *dy, const float *x, int64_t n, int acc)
{
    VVCU_FOR(i, n) {
        const float v = x[i] <= 0 ? 0 : dy[i];
        dx[i] = acc ? dx[i] + v : v;
    }
}

void vvb_relu_bwd(float *dx, const float *dy, const float *x, int64_t n, int acc)
{
    if (dx) VVCU_LAUNCH("relu_bwd", gradients, VVCU_GRID(n), VVCU_BLOCK, 0, dx, dy, x, n, acc);
}
