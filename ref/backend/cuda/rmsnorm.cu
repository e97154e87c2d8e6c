/* y = w (x rstd),   rstd = 1 / sqrt(mean x^2 + eps). A block owns a row.
 *
 * With n = x rstd and g = dy w:   dw = sum_r dy n,
 *   dx = rstd (g - n mean_c(g n))
 * The subtracted term is the path through rstd: d rstd/dx = -rstd^3 x / C. */
#include "cuda.h"

static __global__ void values(float *y, float *rstd, const float *x, const float *w, int64_t R, int64_t C, double eps)
{
    VVCU_FOR_ROWS(r, R) {
        const float *v = x + r * C;
        double sum = 0;
        for (int64_t c = threadIdx.x; c < C; c += blockDim.x) sum += (double)v[c] * (double)v[c];
        const float s = (float)(1 / sqrt(vvcu_block_sum(sum) / (double)C + eps));
        for (int64_t c = threadIdx.x; c < C; c += blockDim.x) y[r * C + c] = w[c] * (v[c] * s);
        if (threadIdx.x == 0) rstd[r] = s;
    }
}

void vvb_rmsnorm_fwd(float *y, float *rstd, const float *x, const float *w, int64_t R, int64_t C, double eps)
{
    VVCU_LAUNCH("rmsnorm_fwd", values, VVCU_ROWS(R), VVCU_WARPS(C), 0, y, rstd, x, w, R, C, eps);
}

struct of_weight {
    const float *dy, *x, *rstd;
    int64_t C;
    __device__ double operator()(int64_t r, int64_t c) const
    {
        return (double)(dy[r * C + c] * (x[r * C + c] * rstd[r]));
    }
};

static __global__ void input_grad(float *dx, const float *dy, const float *x, const float *w, const float *rstd,
                                  int64_t R, int64_t C, int acc)
{
    VVCU_FOR_ROWS(r, R) {
        const float *g = dy + r * C, *v = x + r * C, s = rstd[r];
        float *out = dx + r * C;
        double sum = 0;
        for (int64_t c = threadIdx.x; c < C; c += blockDim.x) sum += (double)(g[c] * w[c] * (v[c] * s));
        const float mean = (float)(vvcu_block_sum(sum) / (double)C);
        for (int64_t c = threadIdx.x; c < C; c += blockDim.x) {
            const float d = s * (g[c] * w[c] - v[c] * s * mean);
            out[c] = acc ? out[c] + d : d;
        }
    }
}

void vvb_rmsnorm_bwd(float *dx, float *dw, const float *dy, const float *x, const float *w, const float *rstd,
                     int64_t R, int64_t C, int acc)
{
    const of_weight term = {dy, x, rstd, C};
    if (dw) vvcu_add_columns("rmsnorm_bwd", dw, term, R, C);
    if (dx) VVCU_LAUNCH("rmsnorm_bwd", input_grad, VVCU_ROWS(R), VVCU_WARPS(C), 0, dx, dy, x, w, rstd, R, C, acc);
}
