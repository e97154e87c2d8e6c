/* ERF:   y = x Phi(x),        dy/dx = Phi(x) + x phi(x)
 * QUICK: y = x s(1.702 x),    dy/dx = s + 1.702 x s (1 - s) */
#include "elementary_device.h"

static __device__ inline float erf_value(float x)
{
    return (float)(0.5 * (double)x * (1 + vv_erf((double)x * 0.70710678118654752440)));
}
static __device__ inline float erf_slope(float x)
{
    const double v = (double)x, inv_sqrt_2pi = 0.39894228040143267794;
    return (float)(0.5 * (1 + vv_erf(v * 0.70710678118654752440)) + v * (inv_sqrt_2pi * vv_exp(-0.5 * v * v)));
}
static __device__ inline float quick_value(float x) { return x * vv_sigmoid_real(1.702f * x); }
static __device__ inline float quick_slope(float x)
{
    const float s = vv_sigmoid_real(1.702f * x);
    return s + 1.702f * x * s * (1 - s);
}

static __global__ void values(float *y, const float *x, int64_t n, vvb_gelu_kind kind)
{
    VVCU_FOR(i, n) y[i] = kind == VVB_GELU_ERF ? erf_value(x[i]) : quick_value(x[i]);
}

void vvb_gelu_fwd(float *y, const float *x, int64_t n, vvb_gelu_kind kind)
{
    VVCU_LAUNCH("gelu_fwd", values, VVCU_GRID(n), VVCU_BLOCK, 0, y, x, n, kind);
}

static __global__ void gradients(float *dx, const float *dy, const float *x, int64_t n, vvb_gelu_kind kind, int acc)
{
    VVCU_FOR(i, n) {
        const float v = dy[i] * (kind == VVB_GELU_ERF ? erf_slope(x[i]) : quick_slope(x[i]));
        dx[i] = acc ? dx[i] + v : v;
    }
}

void vvb_gelu_bwd(float *dx, const float *dy, const float *x, int64_t n, vvb_gelu_kind kind, int acc)
{
    if (dx) VVCU_LAUNCH("gelu_bwd", gradients, VVCU_GRID(n), VVCU_BLOCK, 0, dx, dy, x, n, kind, acc);
}
