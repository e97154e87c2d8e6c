/* y = x / n,   n = |x|. A block owns a row.   n changes with x[e] by y[e], and y[d] with n by -y[d] / n, so
 * dx[d] = dy[d] / n - y[d] sum_e dy[e] y[e] / n */
#include "cuda.h"

#define LEAST 1e-12

static __global__ void values(float *y, float *n, const float *x, int64_t R, int64_t C, int64_t D)
{
    VVCU_FOR_ROWS(r, R) {
        const float *xr = x + r * C;
        double sum = 0;
        for (int64_t d = threadIdx.x; d < D; d += blockDim.x) sum += (double)xr[d] * (double)xr[d];
        const double root = sqrt(vvcu_block_sum(sum)), length = root < LEAST ? LEAST : root; /* a NaN stays */
        for (int64_t d = threadIdx.x; d < D; d += blockDim.x) y[r * D + d] = (float)((double)xr[d] / length);
        if (threadIdx.x == 0) n[r] = (float)length;
    }
}

void vvb_unit_rows_fwd(float *y, float *n, const float *x, int64_t R, int64_t C, int64_t D)
{
    VVCU_LAUNCH("unit_rows_fwd", values, VVCU_ROWS(R), VVCU_WARPS(D), 0, y, n, x, R, C, D);
}

static __global__ void gradients(float *dx, const float *dy, const float *y, const float *n, int64_t R, int64_t C,
                                 int64_t D, int acc)
{
    VVCU_FOR_ROWS(r, R) {
        const float *g = dy + r * D, *yr = y + r * D;
        float *out = dx + r * C;
        double sum = 0;
        for (int64_t d = threadIdx.x; d < D; d += blockDim.x) sum += (double)g[d] * (double)yr[d];
        sum = vvcu_block_sum(sum);
        if (n[r] <= (float)LEAST) sum = 0;
        for (int64_t d = threadIdx.x; d < C; d += blockDim.x) {
            const double v = d < D ? ((double)g[d] - (double)yr[d] * sum) / (double)n[r] : 0;
            if (d < D) out[d] = (float)(acc ? (double)out[d] + v : v);
            else if (!acc) out[d] = 0;
        }
    }
}

void vvb_unit_rows_bwd(float *dx, const float *dy, const float *y, const float *n, int64_t R, int64_t C, int64_t D,
                       int acc)
{
    if (dx) VVCU_LAUNCH("unit_rows_bwd", gradients, VVCU_ROWS(R), VVCU_WARPS(C), 0, dx, dy, y, n, R, C, D, acc);
}
