/* y = silu(g) u,   silu(g) = g s,   s = 1 / (1 + exp(-g))
 *
 * ds/dg = s (1 - s), so silu'(g) = s + g s (1 - s) = s (1 + g (1 - s)):   dg = dy u silu'(g),   du = dy silu(g) */
#include "base/elementary.h"
#include "cpu.h"

VVB_DEF void vvb_silu_mul_fwd(vv_real *y, const vv_real *g, const vv_real *u, int64_t n)
{
#pragma omp parallel for schedule(static) if (n >= VVCPU_GRAIN)
    for (int64_t i = 0; i < n; i++) y[i] = g[i] * vv_sigmoid_real(g[i]) * u[i];
}

/* Both gradients of a block are computed side by side and then go where they are wanted: one pass, one loop. */
enum { BLOCK = 512 };

static void put(vv_real *to, const vv_real *from, int64_t n, int acc)
{
    if (acc)
        for (int64_t i = 0; i < n; i++) to[i] += from[i];
    else
        for (int64_t i = 0; i < n; i++) to[i] = from[i];
}

VVB_DEF void vvb_silu_mul_bwd(vv_real *dg, vv_real *du, const vv_real *dy, const vv_real *g, const vv_real *u,
                              int64_t n, int acc_g, int acc_u)
{
#pragma omp parallel for schedule(static) if (n >= VVCPU_GRAIN)
    for (int64_t i0 = 0; i0 < n; i0 += BLOCK) {
        const int64_t m = vv_min(BLOCK, n - i0);
        vv_real of_g[BLOCK], of_u[BLOCK];
        for (int64_t i = 0; i < m; i++) {
            const vv_real x = g[i0 + i], s = vv_sigmoid_real(x);
            of_g[i] = dy[i0 + i] * u[i0 + i] * (s * (1 + x * (1 - s)));
            of_u[i] = dy[i0 + i] * (x * s);
        }
        if (dg) put(dg + i0, of_g, m, acc_g);
        if (du) put(du + i0, of_u, m, acc_u);
    }
}
