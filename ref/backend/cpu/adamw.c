/* m = b1 m + (1 - b1) g;   v = b2 v + (1 - b2) g^2;   p -= lr wd p + lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)
 *
 * In float, 1 - lr wd rounds to 1 for the usual lr 1e-5, wd 0.01 or less: the decay would be lost. So p is updated in double and
 * rounded once. Only the quotient is in vv_real: it needs its relative precision, not more, and its roots and divisions would cost
 * more than the memory traffic in double. */
#include <math.h>

#include "cpu.h"

#ifdef VV_DOUBLE
#define SQRT sqrt /* IEEE 754 defines it: the same bits everywhere */
#else
#define SQRT sqrtf
#endif

/* 1 - b^t without cancelling, over the bits of t: with d = 1 - b^k, 1 - b^2k = d (2 - d) and 1 - b^(k+1) = (1 - b) + b d.
 * (1 - pow(0.999, 10) has lost two digits.) */
static double one_minus_power(double b, int64_t t)
{
    double d = 0;
    for (int bit = 62; bit >= 0; bit--) {
        d *= 2 - d;
        if (t >> bit & 1) d = (1 - b) + b * d;
    }
    return d;
}

VVB_DEF void vvb_adamw(vv_real *p, vv_real *m, vv_real *v, const vv_real *g, int64_t n, const vvb_adamw_args *a)
{
    const double bc1 = one_minus_power(a->beta1, a->t), bc2 = one_minus_power(a->beta2, a->t);
    const double beta1 = a->beta1, beta2 = a->beta2, decay = a->lr * a->weight_decay, scale = a->grad_scale;
    const vv_real rate = (vv_real)(a->lr / bc1), root = (vv_real)(1 / sqrt(bc2)), eps = (vv_real)a->eps;
#pragma omp parallel for schedule(static) if (n >= VVCPU_GRAIN)
    for (int64_t i = 0; i < n; i++) {
        const double gi = scale * (double)g[i];
        m[i] = (vv_real)(beta1 * (double)m[i] + (1 - beta1) * gi);
        v[i] = (vv_real)(beta2 * (double)v[i] + (1 - beta2) * (gi * gi));
        const vv_real step = rate * m[i] / (SQRT(v[i]) * root + eps);
        p[i] = (vv_real)((double)p[i] - (decay * (double)p[i] + (double)step));
    }
}
