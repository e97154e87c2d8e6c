/* y = max(x, 0) + log(1 + e) with e = exp(-|x|),   dy/dx = s(x).
 *
 * In double in both builds, rounded once. In units of 2^-53, relative: exp 2, log(1 + e) 4.5 (base/elementary.h), last sum 1, together 7.5. */
#include "base/elementary.h"
#include "cpu.h"

static inline vv_real value(vv_real x)
{
    const double v = (double)x;
    return (vv_real)((v > 0 ? v : 0) + vv_log_1_plus(vv_exp(-fabs(v))));
}

#define LOOP(statement)                                                                                                \
    _Pragma("omp parallel for schedule(static) if (n >= VVCPU_GRAIN)") for (int64_t i = 0; i < n; i++) statement

VVB_DEF void vvb_softplus_fwd(vv_real *y, const vv_real *x, int64_t n) { LOOP(y[i] = value(x[i]);) }

VVB_DEF void vvb_softplus_bwd(vv_real *dx, const vv_real *dy, const vv_real *x, int64_t n, int acc)
{
    if (!dx) return;
    if (acc) LOOP(dx[i] += dy[i] * vv_sigmoid_real(x[i]);)
    else LOOP(dx[i] = dy[i] * vv_sigmoid_real(x[i]);)
}
