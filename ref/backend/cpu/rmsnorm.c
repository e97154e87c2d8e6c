/* y = w (x rstd),   rstd = 1 / sqrt(mean x^2 + eps)
 *
 * With n = x rstd and g = dy w:   dw = sum_r dy n,
 *   dx = rstd (g - n mean_c(g n))
 * The subtracted term is the path through rstd: d rstd/dx = -rstd^3 x / C. */
#include <math.h>

#include "cpu.h"

VVB_DEF void vvb_rmsnorm_fwd(vv_real *y, vv_real *rstd, const vv_real *x, const vv_real *w, int64_t R, int64_t C,
                             double eps)
{
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t r = 0; r < R; r++) {
        const vv_real *v = x + r * C;
        vv_real *out = y + r * C;
        double sum;
        VVCPU_SUM(sum, C, i, (double)v[i] * (double)v[i]);
        const vv_real s = (vv_real)(1 / sqrt(sum / (double)C + eps));
        for (int64_t c = 0; c < C; c++) out[c] = w[c] * (v[c] * s);
        rstd[r] = s;
    }
}

static void weight_grad(vv_real *dw, const vv_real *dy, const vv_real *x, const vv_real *rstd, int64_t R, int64_t C)
{
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t c0 = 0; c0 < C; c0 += VVCPU_STRIP) {
        const int64_t n = vv_min(VVCPU_STRIP, C - c0);
        double sum[VVCPU_STRIP] = {0};
        for (int64_t r = 0; r < R; r++) {
            const vv_real *g = dy + r * C + c0, *v = x + r * C + c0;
            for (int64_t j = 0; j < n; j++) sum[j] += (double)(g[j] * (v[j] * rstd[r]));
        }
        for (int64_t j = 0; j < n; j++) dw[c0 + j] += (vv_real)sum[j];
    }
}

static void input_grad(vv_real *dx, const vv_real *dy, const vv_real *x, const vv_real *w, const vv_real *rstd,
                       int64_t R, int64_t C, int acc)
{
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t r = 0; r < R; r++) {
        const vv_real *g = dy + r * C, *v = x + r * C, s = rstd[r];
        vv_real *out = dx + r * C;
        double sum;
        VVCPU_SUM(sum, C, i, g[i] * w[i] * (v[i] * s));
        const vv_real mean = (vv_real)(sum / (double)C);
        if (acc)
            for (int64_t c = 0; c < C; c++) out[c] += s * (g[c] * w[c] - v[c] * s * mean);
        else
            for (int64_t c = 0; c < C; c++) out[c] = s * (g[c] * w[c] - v[c] * s * mean);
    }
}

VVB_DEF void vvb_rmsnorm_bwd(vv_real *dx, vv_real *dw, const vv_real *dy, const vv_real *x, const vv_real *w,
                             const vv_real *rstd, int64_t R, int64_t C, int acc)
{
    if (dw) weight_grad(dw, dy, x, rstd, R, C);
    if (dx) input_grad(dx, dy, x, w, rstd, R, C, acc);
}
