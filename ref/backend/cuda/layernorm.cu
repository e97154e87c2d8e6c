/* y = (x - mean) rstd w + b,   rstd = 1 / sqrt(var + eps). A block owns a row.
 *
 * With n = (x - mean) rstd and g = dy w:   db = sum_r dy,   dw = sum_r dy n,
 *   dx = rstd (g - mean_c(g) - n mean_c(g n))
 * The two subtracted terms are the paths through the mean and through rstd: d mean/dx = 1/C, d rstd/dx = -rstd^2 n / C. */
#include "cuda.h"

static __global__ void values(float *y, float *mean, float *rstd, const float *x, const float *w, const float *b,
                              int64_t R, int64_t C, double eps)
{
    VVCU_FOR_ROWS(r, R) {
        const float *v = x + r * C;
        double sum = 0, var = 0;
        for (int64_t c = threadIdx.x; c < C; c += blockDim.x) sum += (double)v[c];
        const double mu = vvcu_block_sum(sum) / (double)C;
        for (int64_t c = threadIdx.x; c < C; c += blockDim.x) var += ((double)v[c] - mu) * ((double)v[c] - mu);
        const float m = (float)mu, s = (float)(1 / sqrt(vvcu_block_sum(var) / (double)C + eps));
        for (int64_t c = threadIdx.x; c < C; c += blockDim.x) y[r * C + c] = (v[c] - m) * s * w[c] + b[c];
        if (threadIdx.x == 0) {
            mean[r] = m;
            rstd[r] = s;
        }
    }
}

void vvb_layernorm_fwd(float *y, float *mean, float *rstd, const float *x, const float *w, const float *b, int64_t R,
                       int64_t C, double eps)
{
    VVCU_LAUNCH("layernorm_fwd", values, VVCU_ROWS(R), VVCU_WARPS(C), 0, y, mean, rstd, x, w, b, R, C, eps);
}

struct of_weight {
    const float *dy, *x, *mean, *rstd;
    int64_t C;
    __device__ double operator()(int64_t r, int64_t c) const
    {
        return (double)(dy[r * C + c] * ((x[r * C + c] - mean[r]) * rstd[r]));
    }
};

static __global__ void input_grad(float *dx, const float *dy, const float *x, const float *w, const float *mean,
                                  const float *rstd, int64_t R, int64_t C, int acc)
{
    VVCU_FOR_ROWS(r, R) {
        const float *g = dy + r * C, *v = x + r * C, m = mean[r], s = rstd[r];
        float *out = dx + r * C;
        double sum_g = 0, sum_gn = 0;
        for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
            sum_g += (double)(g[c] * w[c]);
            sum_gn += (double)(g[c] * w[c] * ((v[c] - m) * s));
        }
        const float mg = (float)(vvcu_block_sum(sum_g) / (double)C), mgn = (float)(vvcu_block_sum(sum_gn) / (double)C);
        for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
            const float d = s * (g[c] * w[c] - mg - (v[c] - m) * s * mgn);
            out[c] = acc ? out[c] + d : d;
        }
    }
}

void vvb_layernorm_bwd(float *dx, float *dw, float *db, const float *dy, const float *x, const float *w,
                       const float *mean, const float *rstd, int64_t R, int64_t C, int acc)
{
    const of_weight term = {dy, x, mean, rstd, C};
    if (dw) vvcu_add_columns("layernorm_bwd", dw, term, R, C);
    if (db) vvcu_add_column_sums("layernorm_bwd", db, dy, R, C);
    if (dx)
        VVCU_LAUNCH("layernorm_bwd", input_grad, VVCU_ROWS(R), VVCU_WARPS(C), 0, dx, dy, x, w, mean, rstd, R, C, acc);
}
