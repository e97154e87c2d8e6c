/* The pair (x[d], x[d + D/2]) turns by the angle of its token: forward by +angle, backward by -angle. */
#include "base/elementary.h"
#include "cpu.h"

VVB_DEF void vvb_rope_table(vv_real *cos, vv_real *sin, const int32_t *pos, int64_t N, int64_t P, int64_t D,
                            double theta)
{
    const int64_t F = D / (2 * P);
    for (int64_t k = 0; k < F; k++) {
        const double frequency = vv_pow(theta, -(double)k / (double)F);
        for (int64_t n = 0; n < N; n++)
            for (int64_t a = 0; a < P; a++) {
                const double angle = pos[n * P + a] * frequency;
                cos[n * (D / 2) + a * F + k] = (vv_real)vv_cos(angle);
                sin[n * (D / 2) + a * F + k] = (vv_real)vv_sin(angle);
            }
    }
}

static void rotate(vv_real *y, int64_t ldy, const vv_real *x, int64_t ldx, const vv_real *cos, const vv_real *sin,
                   vv_real sign, int64_t N, int64_t H, int64_t D)
{
    const int64_t half = D / 2;
#pragma omp parallel for schedule(static) if (N * H * D >= VVCPU_GRAIN)
    for (int64_t n = 0; n < N; n++) {
        const vv_real *c = cos + n * half, *s = sin + n * half;
        for (int64_t h = 0; h < H; h++) {
            const vv_real *in = x + n * ldx + h * D;
            vv_real *out = y + n * ldy + h * D;
            for (int64_t d = 0; d < half; d++) {
                const vv_real lo = in[d], hi = in[d + half], t = sign * s[d];
                out[d] = lo * c[d] - hi * t;
                out[d + half] = hi * c[d] + lo * t;
            }
        }
    }
}

VVB_DEF void vvb_rope_fwd(vv_real *y, int64_t ldy, const vv_real *x, int64_t ldx, const vv_real *cos,
                          const vv_real *sin, int64_t N, int64_t H, int64_t D)
{
    rotate(y, ldy, x, ldx, cos, sin, 1, N, H, D);
}

VVB_DEF void vvb_rope_bwd(vv_real *dx, int64_t lddx, const vv_real *dy, int64_t lddy, const vv_real *cos,
                          const vv_real *sin, int64_t N, int64_t H, int64_t D)
{
    if (dx) rotate(dx, lddx, dy, lddy, cos, sin, -1, N, H, D);
}
