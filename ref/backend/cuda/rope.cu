/* The pair (x[d], x[d + D/2]) turns by the angle of its token: forward by +angle, backward by -angle. The frequencies, F numbers, are
 * computed by the host; positions and frequencies go to the device as small tables. */
#include <stdlib.h>

#include "elementary_device.h"

static __global__ void table(float *cos, float *sin, const int32_t *pos, const double *frequency, int64_t N, int64_t P,
                             int64_t F)
{
    VVCU_FOR(i, N * P * F) /* (token n, coordinate a, frequency k), which is also where cos and sin stand */
    {
        const double angle = pos[i / F] * frequency[i % F];
        cos[i] = (float)vv_cos(angle);
        sin[i] = (float)vv_sin(angle);
    }
}

void vvb_rope_table(float *cos, float *sin, const int32_t *pos, int64_t N, int64_t P, int64_t D, double theta)
{
    const int64_t F = D / (2 * P);
    double *frequency = (double *)vv_calloc(F, sizeof *frequency);
    if (!frequency) {
        vvcu_fail("rope_table", "out of memory");
        return;
    }
    for (int64_t k = 0; k < F; k++) frequency[k] = vv_pow(theta, -(double)k / (double)F);
    const void *on_device = vvcu_upload_table("rope_table", frequency, F * (int64_t)sizeof *frequency);
    const void *places = vvcu_upload_table("rope_table", pos, N * P * (int64_t)sizeof *pos);
    free(frequency);
    if (!on_device || !places) return;
    VVCU_LAUNCH("rope_table", table, VVCU_GRID(N * P * F), VVCU_BLOCK, 0, cos, sin, (const int32_t *)places,
                (const double *)on_device, N, P, F);
}

/* y may be x: a thread owns both numbers of its pair */
static __global__ void rotate(float *y, int64_t ldy, const float *x, int64_t ldx, const float *cos, const float *sin,
                              float sign, int64_t N, int64_t H, int64_t half)
{
    VVCU_FOR(i, N * H * half) {
        const int64_t d = i % half, h = i / half % H, n = i / half / H;
        const float *in = x + n * ldx + h * 2 * half;
        float *out = y + n * ldy + h * 2 * half;
        const float lo = in[d], hi = in[d + half], c = cos[n * half + d], t = sign * sin[n * half + d];
        out[d] = lo * c - hi * t;
        out[d + half] = hi * c + lo * t;
    }
}

void vvb_rope_fwd(float *y, int64_t ldy, const float *x, int64_t ldx, const float *cos, const float *sin, int64_t N,
                  int64_t H, int64_t D)
{
    VVCU_LAUNCH("rope_fwd", rotate, VVCU_GRID(N * H * D / 2), VVCU_BLOCK, 0, y, ldy, x, ldx, cos, sin, 1.0f, N, H,
                D / 2);
}

void vvb_rope_bwd(float *dx, int64_t lddx, const float *dy, int64_t lddy, const float *cos, const float *sin, int64_t N,
                  int64_t H, int64_t D)
{
    if (!dx) return;
    VVCU_LAUNCH("rope_bwd", rotate, VVCU_GRID(N * H * D / 2), VVCU_BLOCK, 0, dx, lddx, dy, lddy, cos, sin, -1.0f, N, H,
                D / 2);
}
