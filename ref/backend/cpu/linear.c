/* y = x w^T + b + res
 * dx = dy w,   dw = dy^T x,   db = column sums of dy,   dres = dy (the same numbers: the tape hands them on) */
#include "cpu.h"

/* The sum of x w in lanes of vv_real and a tree over them: no element waits for its neighbour. */
enum { LANES = 128 / sizeof(vv_real) };

static vv_real dot(const vv_real *x, const vv_real *w, int64_t n)
{
    vv_real lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += x[i + l] * w[i + l];
    for (int l = 0; i + l < n; l++) lane[l] += x[i + l] * w[i + l];
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int l = 0; l < half; l++) lane[l] += lane[l + half];
    return lane[0];
}

/* Few rows, as when text is generated token by token: reading w once is all that costs, and a product that first copies w
 * into panels reads it twice. A thread owns outputs; a row of w stays in the cache for all rows of x. */
enum { FEW = 4 };

static void few_rows(vv_real *y, const vv_real *x, const vv_real *w, const vv_real *b, const vv_real *res, int64_t R,
                     int64_t Ci, int64_t Co)
{
    vvcpu_ready();
#pragma omp parallel for schedule(static) if (R * Ci * Co >= VVCPU_GRAIN)
    for (int64_t o = 0; o < Co; o++)
        for (int64_t r = 0; r < R; r++)
            y[r * Co + o] = dot(x + r * Ci, w + o * Ci, Ci) + (b ? b[o] : 0) + (res ? res[r * Co + o] : 0);
}

VVB_DEF void vvb_linear_fwd(vv_real *y, const vv_real *x, const vv_real *w, const vv_real *b, const vv_real *res,
                            int64_t R, int64_t Ci, int64_t Co)
{
    if (R <= FEW && !vvcpu_rounds_operands()) few_rows(y, x, w, b, res, R, Ci, Co);
    else vvcpu_tiled_product(y, Co, x, Ci, 0, w, Ci, 1, R, Co, Ci, 1, 0, b, res, Co);
}

VVB_DEF void vvb_linear_bwd(vv_real *dx, vv_real *dw, vv_real *db, const vv_real *dy, const vv_real *x,
                            const vv_real *w, int64_t R, int64_t Ci, int64_t Co, int acc)
{
    if (dx) vvb_matmul(dx, Ci, dy, Co, 0, w, Ci, 0, R, Ci, Co, 1, acc ? 1 : 0);
    if (dw) vvb_matmul(dw, Ci, dy, Co, 1, x, Ci, 0, Co, Ci, R, 1, 1);
    if (db) vvcpu_add_column_sums(db, dy, R, Co);
}
