/* ERF:   y = x Phi(x),        dy/dx = Phi(x) + x phi(x)
 * QUICK: y = x s(1.702 x),    dy/dx = s + 1.702 x s (1 - s) */
#include "base/elementary.h"
#include "cpu.h"

static const double SQRT1_2 = 0.70710678118654752440, INV_SQRT_2PI = 0.39894228040143267794;

static inline vv_real erf_value(vv_real x) { return (vv_real)(0.5 * (double)x * (1 + vv_erf((double)x * SQRT1_2))); }
static inline vv_real erf_slope(vv_real x)
{
    const double v = (double)x;
    return (vv_real)(0.5 * (1 + vv_erf(v * SQRT1_2)) + v * (INV_SQRT_2PI * vv_exp(-0.5 * v * v)));
}
static inline vv_real quick_value(vv_real x) { return x * vv_sigmoid_real((vv_real)1.702 * x); }
static inline vv_real quick_slope(vv_real x)
{
    const vv_real s = vv_sigmoid_real((vv_real)1.702 * x);
    return s + (vv_real)1.702 * x * s * (1 - s);
}

#define LOOP(statement)                                                                                                \
    _Pragma("omp parallel for schedule(static) if (n >= VVCPU_GRAIN)") for (int64_t i = 0; i < n; i++) statement

VVB_DEF void vvb_gelu_fwd(vv_real *y, const vv_real *x, int64_t n, vvb_gelu_kind kind)
{
    if (kind == VVB_GELU_ERF) LOOP(y[i] = erf_value(x[i]);)
    else LOOP(y[i] = quick_value(x[i]);)
}

VVB_DEF void vvb_gelu_bwd(vv_real *dx, const vv_real *dy, const vv_real *x, int64_t n, vvb_gelu_kind kind, int acc)
{
    if (!dx) return;
    if (kind == VVB_GELU_ERF && acc) LOOP(dx[i] += dy[i] * erf_slope(x[i]);)
    else if (kind == VVB_GELU_ERF) LOOP(dx[i] = dy[i] * erf_slope(x[i]);)
    else if (acc) LOOP(dx[i] += dy[i] * quick_slope(x[i]);)
    else LOOP(dx[i] = dy[i] * quick_slope(x[i]);)
}
