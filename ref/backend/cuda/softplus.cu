/* y = max(x, 0) + log(1 + e) with e = exp(-|x|),   dy/dx = s(x). The form and its error are those of backend/cpu/softplus.c. */
#include "elementary_device.h"

static __global__ void values(float *y, const float *x, int64_t n)
{
    VVCU_FOR(i, n) {
        const double v = (double)x[i];
        y[i] = (float)((v > 0 ? v : 0) + vv_log_1_plus(vv_exp(-fabs(v))));
    }
}

void vvb_softplus_fwd(float *y, const float *x, int64_t n)
{
    VVCU_LAUNCH("softplus_fwd", values, VVCU_GRID(n), VVCU_BLOCK, 0, y, x, n);
}

static __global__ void gradients(float *dx, const float *dy, const float *x, int64_t n, int acc)
{
    VVCU_FOR(i, n) {
        const float v = dy[i] * vv_sigmoid_real(x[i]);
        dx[i] = acc ? dx[i] + v : v;
    }
}

void vvb_softplus_bwd(float *dx, const float *dy, const float *x, int64_t n, int acc)
{
    if (dx) VVCU_LAUNCH("softplus_bwd", gradients, VVCU_GRID(n), VVCU_BLOCK, 0, dx, dy, x, n, acc);
}
