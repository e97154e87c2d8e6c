/* y = 1 / (1 + exp(-x)),   dy/dx = y (1 - y) */
#include "elementary_device.h"

static __global__ void values(float *y, const float *x, int64_t n)
{
    VVCU_FOR(i, n) y[i] = vv_sigmoid_real(x[i]);
}

void vvb_sigmoid_fwd(float *y, const float *x, int64_t n)
{
    VVCU_LAUNCH("sigmoid_fwd", values, VVCU_GRID(n), VVCU_BLOCK, 0, y, x, n);
}

static __global__ void gradients(float *dx, const float *dy, const float *y, int64_t n, int acc)
{
    VVCU_FOR(i, n) {
        const float v = dy[i] * (y[i] * (1 - y[i]));
        dx[i] = acc ? dx[i] + v : v;
    }
}

void vvb_sigmoid_bwd(float *dx, const float *dy, const float *y, int64_t n, int acc)
{
    if (dx) VVCU_LAUNCH("sigmoid_bwd", gradients, VVCU_GRID(n), VVCU_BLOCK, 0, dx, dy, y, n, acc);
}
