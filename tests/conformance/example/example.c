/* A backend of three functions, as somebody else might write them: the archive made from this file replaces the CPU's
 * gelu_fwd, layernorm_fwd and add_fwd, the rest stays the CPU's.
 *
 *   make -f tests/conformance/example/Makefile OUT=build/example        libexample.a, and libwrong1.a .. libwrong3.a
 *   make conformance BACKEND=build/example/libexample.a
 *
 * WRONG=1, 2, 3 makes one mistake of a kind that happens; tests/conformance/run.sh shows that each is found. */
#include <math.h>

#include "backend/backend.h"

#ifndef WRONG
#define WRONG 0
#endif

/* ---- GELU, through the complementary error function, which does not cancel ------------------------------------------- */
static vv_real gelu_erf(double x)
{
    if (WRONG == 1)
        return (vv_real)(0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))); /* the other GELU */
    return (vv_real)(0.5 * x * erfc(-x * 0.70710678118654752440));
}

static vv_real gelu_quick(double x) { return (vv_real)(x / (1 + exp(-1.702 * x))); }

void vvb_gelu_fwd(vv_real *y, const vv_real *x, int64_t n, vvb_gelu_kind kind)
{
    for (int64_t i = 0; i < n; i++) y[i] = kind == VVB_GELU_ERF ? gelu_erf((double)x[i]) : gelu_quick((double)x[i]);
}

/* ---- LayerNorm, four partial sums at a time ------------------------------------------------------------------------------- */
static double sum(const vv_real *x, int64_t n)
{
    double s[4] = {0, 0, 0, 0};
    int64_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++) s[k] += (double)x[i + k];
    for (; i < n; i++) s[0] += (double)x[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

static double sum_of_squares(const vv_real *x, int64_t n, double mean)
{
    double s[4] = {0, 0, 0, 0};
    for (int64_t i = 0; i < n; i++) s[i % 4] += ((double)x[i] - mean) * ((double)x[i] - mean);
    return (s[0] + s[1]) + (s[2] + s[3]);
}

void vvb_layernorm_fwd(vv_real *y, vv_real *mean, vv_real *rstd, const vv_real *x, const vv_real *w, const vv_real *b,
                       int64_t R, int64_t C, double eps)
{
    for (int64_t r = 0; r < R; r++, x += C, y += C) {
        const double m = sum(x, C) / (double)C;
        const double var =
            sum_of_squares(x, C, m) / (double)(WRONG == 2 && C > 1 ? C - 1 : C); /* torch.var's default */
        const double scale = 1 / sqrt(var + eps);
        for (int64_t c = 0; c < C; c++) y[c] = (vv_real)(((double)x[c] - m) * scale * (double)w[c] + (double)b[c]);
        mean[r] = (vv_real)m;
        rstd[r] = (vv_real)scale;
    }
}

/* ---- add, unrolled by four -------------------------------------------------------------------------------------------- */
void vvb_add_fwd(vv_real *y, const vv_real *x, const vv_real *b, int64_t R, int64_t C, int64_t Rb)
{
    for (int64_t r = 0; r < R; r++, x += C, y += C) {
        const vv_real *a = b + r % Rb * C;
        int64_t c = 0;
        for (; c + 4 <= C; c += 4) {
            y[c] = x[c] + a[c];
            y[c + 1] = x[c + 1] + a[c + 1];
            y[c + 2] = x[c + 2] + a[c + 2];
            y[c + 3] = x[c + 3] + a[c + 3];
        }
        for (; c < C && WRONG != 3; c++) y[c] = x[c] + a[c]; /* the remainder of an unrolled loop */
    }
}
