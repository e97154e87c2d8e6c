/* m = b1 m + (1 - b1) g;   v = b2 v + (1 - b2) g^2;   p -= lr wd p + lr m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps)
 *
 * In float, 1 - lr wd rounds to 1 for the usual lr 1e-5, wd 0.01 or less: the decay would be lost. So p is updated in double and
 * rounded once, as the moments are. The quotient is in float. */
#include "cuda.h"

typedef struct {
    double beta1, beta2, decay, scale;
    float rate, root, eps;
} factors;

static __global__ void update(float *p, float *m, float *v, const float *g, int64_t n, factors f)
{
    VVCU_FOR(i, n) {
        const double gi = f.scale * (double)g[i];
        const float mi = (float)(f.beta1 * (double)m[i] + (1 - f.beta1) * gi);
        const float vi = (float)(f.beta2 * (double)v[i] + (1 - f.beta2) * (gi * gi));
        const float step = f.rate * mi / (sqrtf(vi) * f.root + f.eps);
        m[i] = mi;
        v[i] = vi;
        p[i] = (float)((double)p[i] - (f.decay * (double)p[i] + (double)step));
    }
}

/* 1 - b^t without cancelling, over the bits of t: with d = 1 - b^k, 1 - b^2k = d (2 - d) and 1 - b^(k+1) = (1 - b) + b d. */
static double one_minus_power(double b, int64_t t)
{
    double d = 0;
    for (int bit = 62; bit >= 0; bit--) {
        d *= 2 - d;
        if (t >> bit & 1) d = (1 - b) + b * d;
    }
    return d;
}

void vvb_adamw(float *p, float *m, float *v, const float *g, int64_t n, const vvb_adamw_args *a)
{
    const double bc1 = one_minus_power(a->beta1, a->t), bc2 = one_minus_power(a->beta2, a->t);
    const factors f = {
        a->beta1,     a->beta2, a->lr * a->weight_decay, a->grad_scale, (float)(a->lr / bc1), (float)(1 / sqrt(bc2)),
        (float)a->eps};
    VVCU_LAUNCH("adamw", update, VVCU_GRID(n), VVCU_BLOCK, 0, p, m, v, g, n, f);
}
