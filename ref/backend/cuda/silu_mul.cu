/* y = silu(g) u,   silu(g) = g s,   s = 1 / (1 + exp(-g))
 *
 * ds/dg = s (1 - s), so silu'(g) = s + g s (1 - s) = s (1 + g (1 - s)):   dg = dy u silu'(g),   du = dy silu(g) */
#include "elementary_device.h"

static __global__ void values(float *y, const float *g, const float *u, int64_t n)
{
    VVCU_FOR(i, n) y[i] = g[i] * vv_sigmoid_real(g[i]) * u[i];
}

void vvb_silu_mul_fwd(float *y, const float *g, const float *u, int64_t n)
{
    VVCU_LAUNCH("silu_mul_fwd", values, VVCU_GRID(n), VVCU_BLOCK, 0, y, g, u, n);
}

static __global__ void gradients(float *dg, float *du, const float *dy, const float *g, const float *u, int64_t n,
                                 int acc_g, int acc_u)
{
    VVCU_FOR(i, n) {
        const float x = g[i], s = vv_sigmoid_real(x);
        const float of_g = dy[i] * u[i] * (s * (1 + x * (1 - s))), of_u = dy[i] * (x * s);
        if (dg) dg[i] = acc_g ? dg[i] + of_g : of_g;
        if (du) du[i] = acc_u ? du[i] + of_u : of_u;
    }
}

void vvb_silu_mul_bwd(float *dg, float *du, const float *dy, const float *g, const float *u, int64_t n, int acc_g,
                      int acc_u)
{
    VVCU_LAUNCH("silu_mul_bwd", gradients, VVCU_GRID(n), VVCU_BLOCK, 0, dg, du, dy, g, u, n, acc_g, acc_u);
}
