/* y = 1 / (1 + exp(-x)),   dy/dx = y (1 - y) */
#include "base/elementary.h"
#include "cpu.h"

#define LOOP(statement)                                                                                                \
    _Pragma("omp parallel for schedule(static) if (n >= VVCPU_GRAIN)") for (int64_t i = 0; i < n; i++) statement

VVB_DEF void vvb_sigmoid_fwd(vv_real *y, const vv_real *x, int64_t n) { LOOP(y[i] = vv_sigmoid_real(x[i]);) }

VVB_DEF void vvb_sigmoid_bwd(vv_real *dx, const vv_real *dy, const vv_real *y, int64_t n, int acc)
{
    if (!dx) return;
    if (acc) LOOP(dx[i] += dy[i] * (y[i] * (1 - y[i]));)
    else LOOP(dx[i] = dy[i] * (y[i] * (1 - y[i]));)
}
