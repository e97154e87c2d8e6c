/* y = mean of max(x,0) - x z + log(1 + exp(-|x|)),   dx = dy (s(x) - z) / (R C)
 *
 * s - z = (1 - z) s(x) - z s(-x): two terms of one sign for a target that is 0 or 1, so that the gradient of a confident, right
 * pixel keeps its digits. So does log(1 + e) for small e (base/elementary.h). */
#include "elementary_device.h"

struct pixel_loss {
    const float *x, *z;
    __device__ double operator()(int64_t i) const
    {
        const double v = (double)x[i], t = (double)z[i];
        return (v > 0 ? v : 0) - v * t + vv_log_1_plus(vv_exp(v > 0 ? -v : v));
    }
};

static __global__ void mean(float *y, const double *sum, int64_t R, int64_t C)
{
    y[0] = R * C > 0 ? (float)(sum[0] / ((double)R * (double)C)) : 0;
}

void vvb_bce_fwd(vv_real *y, const vv_real *x, const vv_real *z, int64_t R, int64_t C)
{
    static const char *const name = "bce_fwd";
    const int64_t n = R * C, parts = VVCU_PARTS(n);
    double *sum = (double *)vvcu_scratch(name, (parts + 1) * (int64_t)sizeof *sum);
    const pixel_loss term = {x, z};
    if (!sum) return;
    VVCU_LAUNCH(name, vvcu_partial_sums<pixel_loss>, (unsigned)parts, VVCU_BLOCK, 0, sum + 1, term, n);
    vvcu_sum(name, sum, sum + 1, parts);
    VVCU_LAUNCH(name, mean, 1, 1, 0, y, sum, R, C);
}

static __global__ void gradient(float *dx, const float *dy, const float *x, const float *z, int64_t R, int64_t C,
                                int acc)
{
    const double w = (double)dy[0] / ((double)R * (double)C);
    VVCU_FOR(i, R * C) {
        const double v = (double)x[i], t = (double)z[i], e = vv_exp(v > 0 ? -v : v);
        const double up = (v > 0 ? 1 : e) / (1 + e), down = (v > 0 ? e : 1) / (1 + e);
        const float g = (float)(w * ((1 - t) * up - t * down));
        dx[i] = acc ? dx[i] + g : g;
    }
}

void vvb_bce_bwd(vv_real *dx, const vv_real *dy, const vv_real *x, const vv_real *z, int64_t R, int64_t C, int acc)
{
    if (dx) VVCU_LAUNCH("bce_bwd", gradient, VVCU_GRID(R * C), VVCU_BLOCK, 0, dx, dy, x, z, R, C, acc);
}
