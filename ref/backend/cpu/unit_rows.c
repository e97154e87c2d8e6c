/* y = x / n,   n = |x|.   n changes with x[e] by y[e], and y[d] with n by -y[d] / n, so
 * dx[d] = dy[d] / n - y[d] sum_e dy[e] y[e] / n */
#include <math.h>

#include "cpu.h"

static const double LEAST = 1e-12;

VVB_DEF void vvb_unit_rows_fwd(vv_real *y, vv_real *n, const vv_real *x, int64_t R, int64_t C, int64_t D)
{
#pragma omp parallel for schedule(static) if (R * D >= VVCPU_GRAIN)
    for (int64_t r = 0; r < R; r++) {
        const vv_real *xr = x + r * C;
        double sum;
        VVCPU_SUM(sum, D, d, (double)xr[d] * (double)xr[d]);
        const double length = sqrt(sum) < LEAST ? LEAST : sqrt(sum); /* a NaN stays */
        for (int64_t d = 0; d < D; d++) y[r * D + d] = (vv_real)((double)xr[d] / length);
        n[r] = (vv_real)length;
    }
}

VVB_DEF void vvb_unit_rows_bwd(vv_real *dx, const vv_real *dy, const vv_real *y, const vv_real *n, int64_t R, int64_t C,
                               int64_t D, int acc)
{
    if (!dx) return;
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t r = 0; r < R; r++) {
        const vv_real *g = dy + r * D, *yr = y + r * D;
        vv_real *out = dx + r * C;
        double sum;
        VVCPU_SUM(sum, D, d, (double)g[d] * (double)yr[d]);
        if (n[r] <= (vv_real)LEAST) sum = 0;
        for (int64_t d = 0; d < D; d++) {
            const double v = ((double)g[d] - (double)yr[d] * sum) / (double)n[r];
            out[d] = (vv_real)(acc ? (double)out[d] + v : v);
        }
        for (int64_t d = D; d < C && !acc; d++) out[d] = 0;
    }
}
