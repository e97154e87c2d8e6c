/* y = mean over masks of 1 - num/den,   num = 2 sum q z + e,  den = sum q + sum z + e,  q = s(x)
 *   d(1 - num/den)/dq = -(2 z den - num) / den^2,   dq/dx = q (1 - q)
 *
 * 1 - num/den is computed as sum (q (1 - z) + z (1 - q)) / den, and 1 - q as s(-x): nothing cancels when a mask is nearly right. */
#include <stdlib.h>

#include "base/elementary.h"
#include "cpu.h"

typedef struct {
    double q, rest; /* s(x) and 1 - s(x) */
} share;

static inline share sigmoid(double x)
{
    const double e = vv_exp(x > 0 ? -x : x), big = 1 / (1 + e), small = e / (1 + e);
    return x > 0 ? (share){big, small} : (share){small, big};
}

static inline double missed(double x, double z)
{
    const share s = sigmoid(x);
    return s.q * (1 - z) + z * s.rest;
}

VVB_DEF void vvb_dice_fwd(vv_real *y, vv_real *sums, const vv_real *x, const vv_real *z, int64_t R, int64_t C,
                          double smooth)
{
    double *row = vv_calloc(R, sizeof *row), sum = 0;
    if (!row) vvcpu_fail("dice_fwd", "out of memory");
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t r = 0; r < R; r++) {
        const vv_real *v = x + r * C, *t = z + r * C;
        double both, all, miss;
        if (!row) continue;
        VVCPU_SUM(both, C, c, sigmoid((double)v[c]).q * (double)t[c]);
        VVCPU_SUM(all, C, c, sigmoid((double)v[c]).q + (double)t[c]);
        VVCPU_SUM(miss, C, c, missed((double)v[c], (double)t[c]));
        sums[2 * r] = (vv_real)(2 * both + smooth);
        sums[2 * r + 1] = (vv_real)(all + smooth);
        row[r] = miss / (all + smooth);
    }
    for (int64_t r = 0; row && r < R; r++) sum += row[r];
    y[0] = (vv_real)(R > 0 ? sum / (double)R : 0);
    free(row);
}

VVB_DEF void vvb_dice_bwd(vv_real *dx, const vv_real *dy, const vv_real *x, const vv_real *z, const vv_real *sums,
                          int64_t R, int64_t C, int acc)
{
    if (!dx) return;
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t r = 0; r < R; r++) {
        const double num = (double)sums[2 * r], den = (double)sums[2 * r + 1], w = (double)dy[0] / (double)R;
        for (int64_t i = r * C; i < (r + 1) * C; i++) {
            const share s = sigmoid((double)x[i]);
            const vv_real g = (vv_real)(w * ((num - 2 * (double)z[i] * den) / den / den) * (s.q * s.rest));
            dx[i] = acc ? dx[i] + g : g;
        }
    }
}
