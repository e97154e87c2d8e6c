/* axpy, scale, dot, add, gather_rows: the formulas of backend/backend.h, term by term. */
#include <math.h>

#include "oracle/oracle.h"

static void term(vvo_out y, int64_t i, vvt_ref v)
{
    y.v[i] += v;
    y.g[i] += fabsl(v);
}

void vvo_axpy(vvo_out y, const vv_real *x, double a, int64_t n)
{
    for (int64_t i = 0; i < n; i++) term(y, i, (vvt_ref)a * (vvt_ref)x[i]);
}

void vvo_scale(vvo_out y, const vv_real *x, double a, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y.v[i] += (vvt_ref)a * (vvt_ref)x[i];
}

void vvo_dot(vvo_out y, const vv_real *x, const vv_real *w, int64_t n)
{
    for (int64_t i = 0; i < n; i++) term(y, 0, (vvt_ref)x[i] * (w ? (vvt_ref)w[i] : 1));
}

void vvo_add_fwd(vvo_out y, const vv_real *x, const vv_real *b, int64_t R, int64_t C, int64_t Rb)
{
    for (int64_t r = 0; r < R; r++)
        for (int64_t c = 0; c < C; c++) y.v[r * C + c] += (vvt_ref)x[r * C + c] + (vvt_ref)b[r % Rb * C + c];
}

void vvo_add_bwd(vvo_out db, const vv_real *dy, int64_t R, int64_t C, int64_t Rb)
{
    for (int64_t r = 0; r < R; r++)
        for (int64_t c = 0; c < C; c++) term(db, r % Rb * C + c, (vvt_ref)dy[r * C + c]);
}

void vvo_gather_rows_fwd(vvo_out y, const vv_real *x, const int32_t *idx, int64_t R, int64_t C)
{
    for (int64_t i = 0; i < R; i++)
        for (int64_t c = 0; c < C; c++) y.v[i * C + c] += (vvt_ref)x[(int64_t)idx[i] * C + c];
}

void vvo_gather_rows_bwd(vvo_out dx, const vv_real *dy, const int32_t *idx, int64_t R, int64_t C)
{
    for (int64_t i = 0; i < R; i++)
        for (int64_t c = 0; c < C; c++) term(dx, (int64_t)idx[i] * C + c, (vvt_ref)dy[i * C + c]);
}
