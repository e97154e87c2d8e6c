/* axpy, scale, dot, add, gather_rows, scatter_rows, adamw: the formulas of backend/backend.h, term by term. */
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

void vvo_scatter_rows_fwd(vvo_out y, const vv_real *x, const int32_t *idx, int64_t R, int64_t C)
{
    for (int64_t i = 0; i < R; i++)
        for (int64_t c = 0; c < C; c++) y.v[(int64_t)idx[i] * C + c] = (vvt_ref)x[i * C + c];
}

void vvo_scatter_rows_bwd(vvo_out dx, const vv_real *dy, const int32_t *idx, int64_t R, int64_t C)
{
    for (int64_t i = 0; i < R; i++)
        for (int64_t c = 0; c < C; c++) term(dx, i * C + c, (vvt_ref)dy[(int64_t)idx[i] * C + c]);
}

vvt_ref vvo_sum_squares(const vv_real *x, int64_t n)
{
    vvt_ref sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (vvt_ref)x[i] * (vvt_ref)x[i];
    return sum;
}

/* The gauges follow the update with every term taken absolutely, the step of p four times. */
void vvo_adamw(vvo_out p, vvo_out m, vvo_out v, const vv_real *g, int64_t n, double lr, double beta1, double beta2,
               double eps, double weight_decay, double grad_scale, int64_t t)
{
    const vvt_ref b1 = (vvt_ref)beta1, b2 = (vvt_ref)beta2, rate = (vvt_ref)lr, decay = (vvt_ref)weight_decay;
    const vvt_ref corrected1 = 1 - powl(b1, (vvt_ref)t), corrected2 = 1 - powl(b2, (vvt_ref)t);
    for (int64_t i = 0; i < n; i++) {
        const vvt_ref gi = (vvt_ref)grad_scale * (vvt_ref)g[i];
        m.v[i] = b1 * m.v[i] + (1 - b1) * gi;
        m.g[i] = b1 * m.g[i] + (1 - b1) * fabsl(gi);
        v.v[i] = b2 * v.v[i] + (1 - b2) * gi * gi;
        v.g[i] = b2 * v.g[i] + (1 - b2) * gi * gi;
        const vvt_ref below = sqrtl(v.v[i] / corrected2) + (vvt_ref)eps;
        p.g[i] += 4 * (rate * decay * p.g[i] + rate * m.g[i] / corrected1 / below);
        p.v[i] -= rate * decay * p.v[i] + rate * m.v[i] / corrected1 / below;
    }
}
