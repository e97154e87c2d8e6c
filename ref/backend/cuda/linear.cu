/* y = x w^T + b + res
 * dx = dy w,   dw = dy^T x,   db = column sums of dy,   dres = dy (the same numbers: the tape hands them on) */
#include "cuda.h"

static __global__ void start(float *y, const float *b, const float *res, int64_t n, int64_t Co)
{
    VVCU_FOR(i, n) y[i] = b && res ? b[i % Co] + res[i] : b ? b[i % Co] : res[i];
}

void vvb_linear_fwd(float *y, const float *x, const float *w, const float *b, const float *res, int64_t R, int64_t Ci,
                    int64_t Co)
{
    if (b || (res && res != y))
        VVCU_LAUNCH("linear_fwd", start, VVCU_GRID(R * Co), VVCU_BLOCK, 0, y, b, res, R * Co, Co);
    vvcu_gemm("linear_fwd", y, Co, x, Ci, 0, w, Ci, 1, R, Co, Ci, 1, b || res ? 1 : 0);
}

void vvb_linear_bwd(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w, int64_t R,
                    int64_t Ci, int64_t Co, int acc)
{
    if (dx) vvcu_gemm("linear_bwd", dx, Ci, dy, Co, 0, w, Ci, 0, R, Ci, Co, 1, acc ? 1 : 0);
    if (dw) vvcu_gemm("linear_bwd", dw, Ci, dy, Co, 1, x, Ci, 0, Co, Ci, R, 1, 1);
    if (db) vvcu_add_column_sums("linear_bwd", db, dy, R, Co);
}
