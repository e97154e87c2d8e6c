/* y = x w^T + b + res
 * dx = dy w,   dw = dy^T x,   db = column sums of dy,   dres = dy (the same numbers: the tape hands them on) */
#include "cpu.h"

VVB_DEF void vvb_linear_fwd(vv_real *y, const vv_real *x, const vv_real *w, const vv_real *b, const vv_real *res,
                            int64_t R, int64_t Ci, int64_t Co)
{
    vvcpu_tiled_product(y, Co, x, Ci, 0, w, Ci, 1, R, Co, Ci, 1, 0, b, res, Co);
}

VVB_DEF void vvb_linear_bwd(vv_real *dx, vv_real *dw, vv_real *db, const vv_real *dy, const vv_real *x,
                            const vv_real *w, int64_t R, int64_t Ci, int64_t Co, int acc)
{
    if (dx) vvb_matmul(dx, Ci, dy, Co, 0, w, Ci, 0, R, Ci, Co, 1, acc ? 1 : 0);
    if (dw) vvb_matmul(dw, Ci, dy, Co, 1, x, Ci, 0, Co, Ci, R, 1, 1);
    if (db) vvcpu_add_column_sums(db, dy, R, Co);
}
