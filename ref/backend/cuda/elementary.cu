/* y[i] = f(x[i]). The functions themselves, with their derivations, are in base/elementary.h and .c: the same bits as on the CPU. */
#include "elementary_device.h"

static __global__ void exp_of(float *y, const float *x, int64_t n)
{
    VVCU_FOR(i, n) y[i] = vv_expf(x[i]);
}
static __global__ void log_of(float *y, const float *x, int64_t n)
{
    VVCU_FOR(i, n) y[i] = (float)vv_log(x[i]);
}
static __global__ void tanh_of(float *y, const float *x, int64_t n)
{
    VVCU_FOR(i, n) y[i] = (float)vv_tanh(x[i]);
}
static __global__ void erf_of(float *y, const float *x, int64_t n)
{
    VVCU_FOR(i, n) y[i] = (float)vv_erf(x[i]);
}
static __global__ void sin_of(float *y, const float *x, int64_t n)
{
    VVCU_FOR(i, n) y[i] = (float)vv_sin(x[i]);
}
static __global__ void cos_of(float *y, const float *x, int64_t n)
{
    VVCU_FOR(i, n) y[i] = (float)vv_cos(x[i]);
}

void vvb_elementary(float *y, const float *x, int64_t n, vvb_function f)
{
    static void (*const kernel[])(float *, const float *, int64_t) = {exp_of, log_of, tanh_of, erf_of, sin_of, cos_of};
    VVCU_LAUNCH("elementary", kernel[f], VVCU_GRID(n), VVCU_BLOCK, 0, y, x, n);
}
