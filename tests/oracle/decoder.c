/* rmsnorm, unit_rows, silu_mul, linear_cross_entropy: the formulas of backend/backend.h, term by term. */
#include <math.h>
#include <stdlib.h>

#include "oracle/oracle.h"

static void term(vvo_out y, int64_t i, vvt_ref v, vvt_ref gauge)
{
    y.v[i] += v;
    y.g[i] += gauge;
}

/* ---- y = w x rstd --------------------------------------------------------------------------------------------------- */
void vvo_unit_rows_fwd(vvo_out y, vvo_out n, const vv_real *x, int64_t R, int64_t C, int64_t D)
{
    for (int64_t r = 0; r < R; r++) {
        vvt_ref sum = 0;
        for (int64_t d = 0; d < D; d++) sum += (vvt_ref)x[r * C + d] * (vvt_ref)x[r * C + d];
        const vvt_ref length = sqrtl(sum) < 1e-12L ? 1e-12L : sqrtl(sum);
        n.v[r] += length;
        n.g[r] += length;
        for (int64_t d = 0; d < D; d++) {
            y.v[r * D + d] += (vvt_ref)x[r * C + d] / length;
            y.g[r * D + d] += fabsl((vvt_ref)x[r * C + d]) / length;
        }
    }
}

void vvo_unit_rows_bwd(vvo_out dx, const vv_real *dy, const vv_real *y, const vv_real *n, int64_t R, int64_t C,
                       int64_t D)
{
    for (int64_t r = 0; r < R; r++) {
        vvt_ref sum = 0, gauge = 0;
        for (int64_t d = 0; d < D && n[r] > (vv_real)1e-12; d++) {
            sum += (vvt_ref)y[r * D + d] * (vvt_ref)dy[r * D + d];
            gauge += fabsl((vvt_ref)y[r * D + d] * (vvt_ref)dy[r * D + d]);
        }
        if (isnan(n[r])) sum = gauge = NAN;
        for (int64_t d = 0; d < D; d++) {
            dx.v[r * C + d] += ((vvt_ref)dy[r * D + d] - (vvt_ref)y[r * D + d] * sum) / (vvt_ref)n[r];
            dx.g[r * C + d] += (fabsl((vvt_ref)dy[r * D + d]) + fabsl((vvt_ref)y[r * D + d]) * gauge) / (vvt_ref)n[r];
        }
    }
}

void vvo_rmsnorm_fwd(vvo_out y, vvo_out rstd, const vv_real *x, const vv_real *w, int64_t R, int64_t C, double eps)
{
    for (int64_t r = 0; r < R; r++) {
        vvt_ref square = 0;
        for (int64_t c = 0; c < C; c++) square += (vvt_ref)x[r * C + c] * (vvt_ref)x[r * C + c];
        const vvt_ref s = 1 / sqrtl(square / (vvt_ref)C + (vvt_ref)eps);
        term(rstd, r, s, s);
        for (int64_t c = 0; c < C; c++) {
            const vvt_ref v = (vvt_ref)w[c] * ((vvt_ref)x[r * C + c] * s);
            term(y, r * C + c, v, fabsl(v));
        }
    }
}

/* With n = x rstd and g = dy w: dx = rstd (g - n mean(g n)), dw = sum_r dy n */
void vvo_rmsnorm_bwd(vvo_out dx, vvo_out dw, const vv_real *dy, const vv_real *x, const vv_real *w, const vv_real *rstd,
                     int64_t R, int64_t C)
{
    for (int64_t r = 0; r < R; r++) {
        const vvt_ref s = (vvt_ref)rstd[r];
        vvt_ref sum = 0, abs_sum = 0;
        for (int64_t c = 0; c < C; c++) {
            const vvt_ref d = (vvt_ref)dy[r * C + c], n = (vvt_ref)x[r * C + c] * s, t = d * (vvt_ref)w[c] * n;
            sum += t;
            abs_sum += fabsl(t);
            term(dw, c, d * n, fabsl(d * n));
        }
        for (int64_t c = 0; c < C; c++) {
            const vvt_ref g = (vvt_ref)dy[r * C + c] * (vvt_ref)w[c], n = (vvt_ref)x[r * C + c] * s;
            term(dx, r * C + c, s * (g - n * sum / (vvt_ref)C), s * (fabsl(g) + fabsl(n) * abs_sum / (vvt_ref)C));
        }
    }
}

/* ---- y = silu(g) u ---------------------------------------------------------------------------------------------------- */
static vvt_ref sigmoid(vvt_ref x) { return 1 / (1 + expl(-x)); }

void vvo_silu_mul_fwd(vvo_out y, const vv_real *g, const vv_real *u, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const vvt_ref a = (vvt_ref)g[i], b = (vvt_ref)u[i];
        term(y, i, a * sigmoid(a) * b, fabsl(a * b));
    }
}

void vvo_silu_mul_bwd(vvo_out dg, vvo_out du, const vv_real *dy, const vv_real *g, const vv_real *u, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const vvt_ref d = (vvt_ref)dy[i], a = (vvt_ref)g[i], b = (vvt_ref)u[i], s = sigmoid(a);
        term(dg, i, d * b * (s + a * s * sigmoid(-a)), fabsl(d * b) * (1 + fabsl(a)));
        term(du, i, d * a * s, fabsl(d * a));
    }
}

/* ---- cross-entropy of z = x w^T --------------------------------------------------------------------------------------- */
/* z [V] of one row, and Z = |x||w| */
static void scores(vvt_ref *z, vvt_ref *Z, const vv_real *x, const vv_real *w, int64_t V, int64_t C)
{
    for (int64_t v = 0; v < V; v++) {
        z[v] = Z[v] = 0;
        for (int64_t c = 0; c < C; c++) {
            z[v] += (vvt_ref)x[c] * (vvt_ref)w[v * C + c];
            Z[v] += fabsl((vvt_ref)x[c] * (vvt_ref)w[v * C + c]);
        }
    }
}

static vvt_ref log_sum_exp(const vvt_ref *z, int64_t V)
{
    vvt_ref max = z[0], sum = 0;
    for (int64_t v = 1; v < V; v++) max = z[v] > max ? z[v] : max;
    if (!isfinite(max)) max = 0;
    for (int64_t v = 0; v < V; v++) sum += expl(z[v] - max);
    return max + logl(sum);
}

void vvo_linear_cross_entropy_fwd(vvo_out loss, vvo_out ce, vvo_out lse, const vv_real *x, const vv_real *w,
                                  const int32_t *target, const vv_real *weight, int64_t R, int64_t V, int64_t C)
{
    vvt_ref *z = calloc((size_t)(2 * V), sizeof *z), *Z = z + V;
    for (int64_t r = 0; z && r < R; r++) {
        scores(z, Z, x + r * C, w, V, C);
        vvt_ref E = 1;
        for (int64_t v = 0; v < V; v++) E = fmaxl(E, 1 + 2 * Z[v]);
        const vvt_ref l = log_sum_exp(z, V), e = l - z[target[r]], f = (vvt_ref)weight[r];
        term(lse, r, l, fabsl(l) + E);
        term(ce, r, e, fabsl(e) + E);
        term(loss, 0, f * e, fabsl(f) * (fabsl(e) + E));
    }
    free(z);
}

void vvo_linear_cross_entropy_bwd(vvo_out dx, vvo_out dw, const vv_real *dloss, const vv_real *x, const vv_real *w,
                                  const int32_t *target, const vv_real *weight, const vv_real *lse, int64_t R,
                                  int64_t V, int64_t C)
{
    vvt_ref *z = calloc((size_t)(2 * V), sizeof *z), *Z = z + V;
    for (int64_t r = 0; z && r < R; r++) {
        const vvt_ref f = (vvt_ref)dloss[0] * (vvt_ref)weight[r];
        scores(z, Z, x + r * C, w, V, C);
        for (int64_t v = 0; v < V; v++) {
            const vvt_ref p = expl(z[v] - (vvt_ref)lse[r]), hit = v == target[r];
            const vvt_ref dz = f * (p - hit), D = fabsl(f) * ((1 + Z[v]) * p + hit);
            for (int64_t c = 0; c < C; c++) {
                const vvt_ref a = (vvt_ref)x[r * C + c], b = (vvt_ref)w[v * C + c];
                term(dx, r * C + c, dz * b, D * fabsl(b));
                term(dw, v * C + c, dz * a, D * fabsl(a));
            }
        }
    }
    free(z);
}
