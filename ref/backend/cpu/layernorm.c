/* y = (x - mean) rstd w + b,   rstd = 1 / sqrt(var + eps)
 *
 * With n = (x - mean) rstd and g = dy w:   db = sum_r dy,   dw = sum_r dy n,
 *   dx = rstd (g - mean_c(g) - n mean_c(g n))
 * The two subtracted terms are the paths through the mean and through rstd: d mean/dx = 1/C, d rstd/dx = -rstd^2 n / C. */
#include <math.h>

#include "cpu.h"

VVB_DEF void vvb_layernorm_fwd(vv_real *y, vv_real *mean, vv_real *rstd, const vv_real *x, const vv_real *w,
                               const vv_real *b, int64_t R, int64_t C, double eps)
{
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t r = 0; r < R; r++) {
        const vv_real *v = x + r * C;
        vv_real *out = y + r * C;
        double sum, var;
        VVCPU_SUM(sum, C, i, v[i]);
        const double mu = sum / (double)C;
        VVCPU_SUM(var, C, i, ((double)v[i] - mu) * ((double)v[i] - mu));
        const double rs = 1 / sqrt(var / (double)C + eps);
        const vv_real m = (vv_real)mu, s = (vv_real)rs;
        for (int64_t c = 0; c < C; c++) out[c] = (v[c] - m) * s * w[c] + b[c];
        mean[r] = m;
        rstd[r] = s;
    }
}

static void weight_grads(vv_real *dw, vv_real *db, const vv_real *dy, const vv_real *x, const vv_real *mean,
                         const vv_real *rstd, int64_t R, int64_t C)
{
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t c0 = 0; c0 < C; c0 += VVCPU_STRIP) {
        const int64_t n = vv_min(VVCPU_STRIP, C - c0);
        double sw[VVCPU_STRIP] = {0}, sb[VVCPU_STRIP] = {0};
        for (int64_t r = 0; r < R; r++) {
            const vv_real *g = dy + r * C + c0, *v = x + r * C + c0;
            for (int64_t j = 0; j < n; j++) {
                sw[j] += (double)(g[j] * ((v[j] - mean[r]) * rstd[r]));
                sb[j] += (double)g[j];
            }
        }
        for (int64_t j = 0; j < n; j++) {
            if (dw) dw[c0 + j] += (vv_real)sw[j];
            if (db) db[c0 + j] += (vv_real)sb[j];
        }
    }
}

static void input_grad(vv_real *dx, const vv_real *dy, const vv_real *x, const vv_real *w, const vv_real *mean,
                       const vv_real *rstd, int64_t R, int64_t C, int acc)
{
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t r = 0; r < R; r++) {
        const vv_real *g = dy + r * C, *v = x + r * C, m = mean[r], s = rstd[r];
        vv_real *out = dx + r * C;
        double sum_g, sum_gn;
        VVCPU_SUM(sum_g, C, i, g[i] * w[i]);
        VVCPU_SUM(sum_gn, C, i, g[i] * w[i] * ((v[i] - m) * s));
        const vv_real mg = (vv_real)(sum_g / (double)C), mgn = (vv_real)(sum_gn / (double)C);
        if (acc)
            for (int64_t c = 0; c < C; c++) out[c] += s * (g[c] * w[c] - mg - (v[c] - m) * s * mgn);
        else
            for (int64_t c = 0; c < C; c++) out[c] = s * (g[c] * w[c] - mg - (v[c] - m) * s * mgn);
    }
}

VVB_DEF void vvb_layernorm_bwd(vv_real *dx, vv_real *dw, vv_real *db, const vv_real *dy, const vv_real *x,
                               const vv_real *w, const vv_real *mean, const vv_real *rstd, int64_t R, int64_t C,
                               int acc)
{
    if (dw || db) weight_grads(dw, db, dy, x, mean, rstd, R, C);
    if (dx) input_grad(dx, dy, x, w, mean, rstd, R, C, acc);
}
