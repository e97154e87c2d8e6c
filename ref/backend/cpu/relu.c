/* y = max(x, 0),   dy/dx = 1 for x > 0, else 0. Written so that a NaN stays one. */
#include "cpu.h"

#define LOOP(statement)                                                                                                \
    _Pragma("omp parallel for schedule(static) if (n >= VVCPU_GRAIN)") for (int64_t i = 0; i < n; i++) statement

VVB_DEF void vvb_relu_fwd(vv_real *y, const vv_real *x, int64_t n) { LOOP(y[i] = x[i] <= 0 ? 0 : x[i];) }

VVB_DEF void vvb_relu_bwd(vv_real *dx, const vv_real *dy, const vv_real *x, int64_t n, int acc)
{
    if (!dx) return;
    if (acc) LOOP(dx[i] += x[i] <= 0 ? 0 : dy[i];)
    else LOOP(dx[i] = x[i] <= 0 ? 0 : dy[i];)
}
