/* y = mean of max(x,0) - x z + log(1 + exp(-|x|)),   dx = dy (s(x) - z) / (R C)
 *
 * s - z = (1 - z) s(x) - z s(-x): two terms of one sign for a target that is 0 or 1, so that the gradient of a confident, right
 * pixel keeps its digits. So does log(1 + e) for small e (base/elementary.h). */
#include <stdlib.h>

#include "base/elementary.h"
#include "cpu.h"

static inline double term(double x, double z)
{
    return (x > 0 ? x : 0) - x * z + vv_log_1_plus(vv_exp(x > 0 ? -x : x));
}

VVB_DEF void vvb_bce_fwd(vv_real *y, const vv_real *x, const vv_real *z, int64_t R, int64_t C)
{
    double *row = vv_calloc(R, sizeof *row), sum = 0;
    if (!row) vvcpu_fail("bce_fwd", "out of memory");
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t r = 0; r < R; r++)
        if (row) VVCPU_SUM(row[r], C, c, term((double)x[r * C + c], (double)z[r * C + c]));
    for (int64_t r = 0; row && r < R; r++) sum += row[r];
    y[0] = (vv_real)(R * C > 0 ? sum / ((double)R * (double)C) : 0);
    free(row);
}

VVB_DEF void vvb_bce_bwd(vv_real *dx, const vv_real *dy, const vv_real *x, const vv_real *z, int64_t R, int64_t C,
                         int acc)
{
    const int64_t n = R * C;
    const double w = dx && n ? (double)dy[0] / ((double)R * (double)C) : 0;
    if (!dx) return;
#pragma omp parallel for schedule(static) if (n >= VVCPU_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const double v = (double)x[i], t = (double)z[i], e = vv_exp(v > 0 ? -v : v);
        const double up = (v > 0 ? 1 : e) / (1 + e), down = (v > 0 ? e : 1) / (1 + e);
        const vv_real g = (vv_real)(w * ((1 - t) * up - t * down));
        dx[i] = acc ? dx[i] + g : g;
    }
}
