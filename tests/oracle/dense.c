/* matmul, linear, layernorm, gelu: the formulas of backend/backend.h, term by term. */
#include <math.h>

#include "oracle/oracle.h"

static void term(vvo_out y, int64_t i, vvt_ref v)
{
    y.v[i] += v;
    y.g[i] += fabsl(v);
}

/* ---- c = alpha op(a) op(b) + beta c --------------------------------------------------------------------------------- */
void vvo_matmul(vvo_out c, int64_t ldc, const vv_real *a, int64_t lda, int ta, const vv_real *b, int64_t ldb, int tb,
                int64_t M, int64_t N, int64_t K, double alpha, double beta)
{
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            const int64_t at = m * ldc + n;
            c.v[at] *= (vvt_ref)beta;
            c.g[at] *= fabsl((vvt_ref)beta);
            for (int64_t k = 0; k < K; k++) {
                const vvt_ref x = (vvt_ref)(ta ? a[k * lda + m] : a[m * lda + k]);
                const vvt_ref y = (vvt_ref)(tb ? b[n * ldb + k] : b[k * ldb + n]);
                term(c, at, (vvt_ref)alpha * x * y);
            }
        }
}

/* ---- y = x w^T + b + res ---------------------------------------------------------------------------------------------- */
void vvo_linear_fwd(vvo_out y, const vv_real *x, const vv_real *w, const vv_real *b, const vv_real *res, int64_t R,
                    int64_t Ci, int64_t Co)
{
    for (int64_t r = 0; r < R; r++)
        for (int64_t o = 0; o < Co; o++) {
            for (int64_t i = 0; i < Ci; i++) term(y, r * Co + o, (vvt_ref)x[r * Ci + i] * (vvt_ref)w[o * Ci + i]);
            if (b) term(y, r * Co + o, (vvt_ref)b[o]);
            if (res) term(y, r * Co + o, (vvt_ref)res[r * Co + o]);
        }
}

void vvo_linear_bwd(vvo_out dx, vvo_out dw, vvo_out db, const vv_real *dy, const vv_real *x, const vv_real *w,
                    int64_t R, int64_t Ci, int64_t Co)
{
    for (int64_t r = 0; r < R; r++)
        for (int64_t o = 0; o < Co; o++) {
            const vvt_ref g = (vvt_ref)dy[r * Co + o];
            term(db, o, g);
            for (int64_t i = 0; i < Ci; i++) {
                term(dx, r * Ci + i, g * (vvt_ref)w[o * Ci + i]);
                term(dw, o * Ci + i, g * (vvt_ref)x[r * Ci + i]);
            }
        }
}

/* ---- y = (x - mean) rstd w + b ------------------------------------------------------------------------------------------ */
void vvo_layernorm_fwd(vvo_out y, vvo_out mean, vvo_out rstd, const vv_real *x, const vv_real *w, const vv_real *b,
                       int64_t R, int64_t C, double eps)
{
    for (int64_t r = 0; r < R; r++) {
        const vv_real *v = x + r * C;
        vvt_ref m = 0, abs_m = 0, var = 0;
        for (int64_t c = 0; c < C; c++) m += (vvt_ref)v[c] / (vvt_ref)C;
        for (int64_t c = 0; c < C; c++) abs_m += fabsl((vvt_ref)v[c]) / (vvt_ref)C;
        for (int64_t c = 0; c < C; c++) var += ((vvt_ref)v[c] - m) * ((vvt_ref)v[c] - m) / (vvt_ref)C;
        const vvt_ref s = 1 / sqrtl(var + (vvt_ref)eps);
        mean.v[r] += m;
        mean.g[r] += abs_m;
        rstd.v[r] += s;
        rstd.g[r] += s * (1 + s * abs_m);
        for (int64_t c = 0; c < C; c++) {
            y.v[r * C + c] += ((vvt_ref)v[c] - m) * s * (vvt_ref)w[c] + (vvt_ref)b[c];
            y.g[r * C + c] += (fabsl((vvt_ref)v[c]) + abs_m) * s * fabsl((vvt_ref)w[c]) + fabsl((vvt_ref)b[c]);
        }
    }
}

/* With n = (x - mean) rstd, N = (|x| + mean|x|) rstd, g = dy w, G = |g|:
 *   dx = rstd (g - mean g - n mean(g n)), gauge rstd (G + mean G + N mean(G N)) */
void vvo_layernorm_bwd(vvo_out dx, vvo_out dw, vvo_out db, const vv_real *dy, const vv_real *x, const vv_real *w,
                       const vv_real *mean, const vv_real *rstd, int64_t R, int64_t C)
{
    for (int64_t r = 0; r < R; r++) {
        const vvt_ref m = (vvt_ref)mean[r], s = (vvt_ref)rstd[r], part = 1 / (vvt_ref)C;
        vvt_ref abs_m = 0, mg = 0, mgn = 0, mG = 0, mGN = 0;
        for (int64_t c = 0; c < C; c++) abs_m += fabsl((vvt_ref)x[r * C + c]) * part;
        for (int64_t c = 0; c < C; c++) {
            const vvt_ref v = (vvt_ref)x[r * C + c], d = (vvt_ref)dy[r * C + c], g = d * (vvt_ref)w[c];
            const vvt_ref n = (v - m) * s, N = (fabsl(v) + abs_m) * s;
            mg += g * part;
            mgn += g * n * part;
            mG += fabsl(g) * part;
            mGN += fabsl(g) * N * part;
            term(db, c, d);
            dw.v[c] += d * n;
            dw.g[c] += fabsl(d) * N;
        }
        for (int64_t c = 0; c < C; c++) {
            const vvt_ref v = (vvt_ref)x[r * C + c], g = (vvt_ref)dy[r * C + c] * (vvt_ref)w[c];
            dx.v[r * C + c] += s * (g - mg - (v - m) * s * mgn);
            dx.g[r * C + c] += s * (fabsl(g) + mG + (fabsl(v) + abs_m) * s * mGN);
        }
    }
}

/* ---- gelu ------------------------------------------------------------------------------------------------------------- */
static const vvt_ref PI = 3.14159265358979323846264338327950288L;

static vvt_ref normal_cdf(vvt_ref x)
{
    return erfcl(-x / sqrtl(2)) / 2;
} /* (1 + erf(x / sqrt 2)) / 2, without cancelling */
static vvt_ref normal_density(vvt_ref x) { return expl(-x * x / 2) / sqrtl(2 * PI); }
static vvt_ref sigmoid(vvt_ref x) { return 1 / (1 + expl(-x)); }

void vvo_gelu_fwd(vvo_out y, const vv_real *x, int64_t n, int quick)
{
    for (int64_t i = 0; i < n; i++) {
        const vvt_ref v = (vvt_ref)x[i];
        y.v[i] += v * (quick ? sigmoid(1.702L * v) : normal_cdf(v));
        y.g[i] += fabsl(v) * (1 + fabsl(v));
    }
}

void vvo_gelu_bwd(vvo_out dx, const vv_real *dy, const vv_real *x, int64_t n, int quick)
{
    for (int64_t i = 0; i < n; i++) {
        const vvt_ref v = (vvt_ref)x[i], s = sigmoid(1.702L * v);
        const vvt_ref slope = quick ? s + 1.702L * v * s * (1 - s) : normal_cdf(v) + v * normal_density(v);
        dx.v[i] += (vvt_ref)dy[i] * slope;
        dx.g[i] += fabsl((vvt_ref)dy[i]) * (1 + v * v);
    }
}
