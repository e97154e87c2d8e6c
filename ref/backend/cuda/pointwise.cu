/* axpy, scale, dot, broadcast add: one pass over memory each. Sums: in double, by blocks, then over the blocks. */
#include "cuda.h"

static __global__ void axpy(float *y, const float *x, float a, int64_t n)
{
    VVCU_FOR(i, n) y[i] += a * x[i];
}

void vvb_axpy(float *y, const float *x, double a, int64_t n)
{
    VVCU_LAUNCH("axpy", axpy, VVCU_GRID(n), VVCU_BLOCK, 0, y, x, (float)a, n);
}

static __global__ void scale(float *y, const float *x, float a, int64_t n)
{
    VVCU_FOR(i, n) y[i] = a * x[i];
}

void vvb_scale(float *y, const float *x, double a, int64_t n)
{
    VVCU_LAUNCH("scale", scale, VVCU_GRID(n), VVCU_BLOCK, 0, y, x, (float)a, n);
}

/* ---- sums ------------------------------------------------------------------------------------------------------------------ */
static __global__ void sum_parts(double *out, const double *x, int64_t n)
{
    double s = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) s += x[i];
    s = vvcu_block_sum(s);
    if (threadIdx.x == 0) out[0] = s;
}

void vvcu_sum(const char *function, double *out, const double *x, int64_t n)
{
    VVCU_LAUNCH(function, sum_parts, 1, VVCU_BLOCK, 0, out, x, n);
}

struct of_products { /* w NULL: x alone */
    const float *x, *w;
    __device__ double operator()(int64_t i) const { return w ? (double)x[i] * (double)w[i] : (double)x[i]; }
};

/* where the sum over x w lies on the device */
static double *sum_of_products(const char *function, const float *x, const float *w, int64_t n)
{
    const unsigned parts = VVCU_PARTS(n);
    double *sum = (double *)vvcu_scratch(function, (parts + 1) * (int64_t)sizeof(double));
    const of_products term = {x, w};
    if (!sum) return NULL;
    VVCU_LAUNCH(function, vvcu_partial_sums<of_products>, parts, VVCU_BLOCK, 0, sum + 1, term, n);
    vvcu_sum(function, sum, sum + 1, parts);
    return sum;
}

static __global__ void as_float(float *y, const double *x) { y[0] = (float)x[0]; }

void vvb_dot(float *y, const float *x, const float *w, int64_t n)
{
    const double *sum = sum_of_products("dot", x, w, n);
    if (sum) VVCU_LAUNCH("dot", as_float, 1, 1, 0, y, sum);
}

double vvb_sum_squares(const float *x, int64_t n)
{
    double s = 0;
    const double *sum = sum_of_products("sum_squares", x, x, n);
    if (sum) vvb_download(&s, sum, sizeof s);
    return s;
}

/* ---- add --------------------------------------------------------------------------------------------------------------------- */
static __global__ void add(float *y, const float *x, const float *b, int64_t n, int64_t repeat)
{
    VVCU_FOR(i, n) y[i] = x[i] + b[i % repeat];
}

void vvb_add_fwd(float *y, const float *x, const float *b, int64_t R, int64_t C, int64_t Rb)
{
    VVCU_LAUNCH("add_fwd", add, VVCU_GRID(R * C), VVCU_BLOCK, 0, y, x, b, R * C, Rb * C);
}

/* [R,C] seen as [R/Rb, Rb C]: the sum over the repeats is a sum of columns */
void vvb_add_bwd(float *db, const float *dy, int64_t R, int64_t C, int64_t Rb)
{
    if (!db || R == 0) return;
    const int64_t whole = R / Rb, rest = R % Rb;
    vvcu_add_column_sums("add_bwd", db, dy, whole, Rb * C);
    vvcu_add_column_sums("add_bwd", db, dy + whole * Rb * C, 1, rest * C);
}

struct of_column {
    const float *x;
    int64_t C;
    __device__ double operator()(int64_t r, int64_t c) const { return (double)x[r * C + c]; }
};

void vvcu_add_column_sums(const char *function, float *out, const float *x, int64_t R, int64_t C)
{
    const of_column term = {x, C};
    vvcu_add_columns(function, out, term, R, C);
}

static __global__ void add_column_parts(float *out, const double *part, int64_t parts, int64_t C)
{
    VVCU_FOR(c, C) {
        double s = 0;
        for (int64_t p = 0; p < parts; p++) s += part[p * C + c];
        out[c] += (float)s;
    }
}

void vvcu_finish_columns(const char *function, float *out, const double *part, int64_t parts, int64_t C)
{
    VVCU_LAUNCH(function, add_column_parts, VVCU_GRID(C), VVCU_BLOCK, 0, out, part, parts, C);
}
