/* axpy, scale, dot, broadcast add: one pass over memory each. */
#include <stdlib.h>

#include "cpu.h"

VVB_DEF void vvb_axpy(vv_real *y, const vv_real *x, double a, int64_t n)
{
    const vv_real f = (vv_real)a;
#pragma omp parallel for schedule(static) if (n >= VVCPU_GRAIN)
    for (int64_t i = 0; i < n; i++) y[i] += f * x[i];
}

VVB_DEF void vvb_scale(vv_real *y, const vv_real *x, double a, int64_t n)
{
    const vv_real f = (vv_real)a;
#pragma omp parallel for schedule(static) if (n >= VVCPU_GRAIN)
    for (int64_t i = 0; i < n; i++) y[i] = f * x[i];
}

/* Blocks of BLOCK elements are summed in lanes, the block sums as the leaves of a binary tree whose shape is a function of
 * their number alone. */
enum { BLOCK = 4096 };

static double tree(const double *s, int64_t n)
{
    if (n == 1) return s[0];
    const int64_t half = n / 2;
    return tree(s, half) + tree(s + half, n - half);
}

/* sum x w; w NULL: sum x */
static double sum_of_products(const char *function, const vv_real *x, const vv_real *w, int64_t n)
{
    const int64_t blocks = (n + BLOCK - 1) / BLOCK;
    double *sums = vv_calloc(blocks + 1, sizeof *sums);
    if (!sums) {
        vvcpu_fail(function, "out of memory");
        return 0;
    }
#pragma omp parallel for schedule(static) if (n >= VVCPU_GRAIN)
    for (int64_t k = 0; k < blocks; k++) {
        const int64_t m = vv_min(BLOCK, n - k * BLOCK);
        const vv_real *u = x + k * BLOCK, *v = w ? w + k * BLOCK : NULL;
        if (v) VVCPU_SUM(sums[k], m, i, (double)u[i] * (double)v[i]);
        else VVCPU_SUM(sums[k], m, i, u[i]);
    }
    const double sum = blocks ? tree(sums, blocks) : 0;
    free(sums);
    return sum;
}

VVB_DEF void vvb_dot(vv_real *y, const vv_real *x, const vv_real *w, int64_t n)
{
    y[0] = (vv_real)sum_of_products("dot", x, w, n);
}

VVB_DEF double vvb_sum_squares(const vv_real *x, int64_t n) { return sum_of_products("sum_squares", x, x, n); }

VVB_DEF void vvb_add_fwd(vv_real *y, const vv_real *x, const vv_real *b, int64_t R, int64_t C, int64_t Rb)
{
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t r = 0; r < R; r++)
        for (int64_t c = 0; c < C; c++) y[r * C + c] = x[r * C + c] + b[r % Rb * C + c];
}

/* [R,C] seen as [R/Rb, Rb C]: the sum over the repeats is a sum of columns */
VVB_DEF void vvb_add_bwd(vv_real *db, const vv_real *dy, int64_t R, int64_t C, int64_t Rb)
{
    if (!db || R == 0) return;
    const int64_t whole = R / Rb, rest = R % Rb;
    vvcpu_add_column_sums(db, dy, whole, Rb * C);
    vvcpu_add_column_sums(db, dy + whole * Rb * C, 1, rest * C);
}

void vvcpu_add_column_sums(vv_real *out, const vv_real *x, int64_t R, int64_t C)
{
#pragma omp parallel for schedule(static) if (R * C >= VVCPU_GRAIN)
    for (int64_t c0 = 0; c0 < C; c0 += VVCPU_STRIP) {
        const int64_t n = vv_min(VVCPU_STRIP, C - c0);
        double s[VVCPU_STRIP] = {0};
        for (int64_t r = 0; r < R; r++)
            for (int64_t j = 0; j < n; j++) s[j] += (double)x[r * C + c0 + j];
        for (int64_t j = 0; j < n; j++) out[c0 + j] += (vv_real)s[j];
    }
}
