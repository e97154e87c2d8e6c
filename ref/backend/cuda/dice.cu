/* y = mean over masks of 1 - num/den,   num = 2 sum q z + e,  den = sum q + sum z + e,  q = s(x)
 *   d(1 - num/den)/dq = -(2 z den - num) / den^2,   dq/dx = q (1 - q)
 *
 * 1 - num/den is computed as sum (q (1 - z) + z (1 - q)) / den, and 1 - q as s(-x): nothing cancels when a mask is nearly right.
 * A mask is summed by several blocks, as many as its size says, then by one. */
#include "elementary_device.h"

typedef struct {
    double q, rest; /* s(x) and 1 - s(x) */
} shares;

static __device__ shares sigmoid(double x)
{
    const double e = vv_exp(x > 0 ? -x : x), big = 1 / (1 + e), small = e / (1 + e);
    const shares s = {x > 0 ? big : small, x > 0 ? small : big};
    return s;
}

typedef struct {
    double both, all, missed; /* sum q z,  sum q + z,  sum q (1 - z) + z (1 - q) */
} sums_of_mask;

static __device__ sums_of_mask block_sums(sums_of_mask s)
{
    s.both = vvcu_block_sum(s.both);
    s.all = vvcu_block_sum(s.all);
    s.missed = vvcu_block_sum(s.missed);
    return s;
}

/* part [R,parts] */
static __global__ void add_pixels(sums_of_mask *part, const float *x, const float *z, int64_t R, int64_t C,
                                  int64_t parts)
{
    const int64_t size = (C + parts - 1) / parts;
    VVCU_FOR_ROWS(k, R * parts) {
        const float *v = x + k / parts * C, *t = z + k / parts * C;
        const int64_t from = k % parts * size, end = min(C, from + size);
        sums_of_mask s = {0, 0, 0};
        for (int64_t c = from + threadIdx.x; c < end; c += blockDim.x) {
            const shares q = sigmoid((double)v[c]);
            s.both += q.q * (double)t[c];
            s.all += q.q + (double)t[c];
            s.missed += q.q * (1 - (double)t[c]) + (double)t[c] * q.rest;
        }
        s = block_sums(s);
        if (threadIdx.x == 0) part[k] = s;
    }
}

/* sums [R,2]; loss [R] of each mask */
static __global__ void add_parts(float *sums, double *loss, const sums_of_mask *part, int64_t R, int64_t parts,
                                 double smooth)
{
    VVCU_FOR(r, R) {
        sums_of_mask s = {0, 0, 0};
        for (int64_t k = r * parts; k < (r + 1) * parts; k++) {
            s.both += part[k].both;
            s.all += part[k].all;
            s.missed += part[k].missed;
        }
        sums[2 * r] = (float)(2 * s.both + smooth);
        sums[2 * r + 1] = (float)(s.all + smooth);
        loss[r] = s.missed / (s.all + smooth);
    }
}

static __global__ void mean(float *y, const double *sum, int64_t R) { y[0] = R > 0 ? (float)(sum[0] / (double)R) : 0; }

void vvb_dice_fwd(vv_real *y, vv_real *sums, const vv_real *x, const vv_real *z, int64_t R, int64_t C, double smooth)
{
    static const char *const name = "dice_fwd";
    const int64_t parts = vv_max(1, vv_min((C + 4095) / 4096, 64));
    const int64_t room = R * parts * (int64_t)sizeof(sums_of_mask) + (R + 1) * (int64_t)sizeof(double);
    double *sum = (double *)vvcu_scratch(name, room), *loss = sum + 1; /* then loss [R], then the parts */
    if (!sum) return;
    sums_of_mask *part = (sums_of_mask *)(loss + R);
    VVCU_LAUNCH(name, add_pixels, VVCU_ROWS(R * parts), VVCU_BLOCK, 0, part, x, z, R, C, parts);
    VVCU_LAUNCH(name, add_parts, VVCU_GRID(R), VVCU_BLOCK, 0, sums, loss, part, R, parts, smooth);
    vvcu_sum(name, sum, loss, R);
    VVCU_LAUNCH(name, mean, 1, 1, 0, y, sum, R);
}

static __global__ void gradient(float *dx, const float *dy, const float *x, const float *z, const float *sums,
                                int64_t R, int64_t C, int acc)
{
    VVCU_FOR(i, R * C) {
        const double num = (double)sums[2 * (i / C)], den = (double)sums[2 * (i / C) + 1],
                     w = (double)dy[0] / (double)R;
        const shares s = sigmoid((double)x[i]);
        const float g = (float)(w * ((num - 2 * (double)z[i] * den) / den / den) * (s.q * s.rest));
        dx[i] = acc ? dx[i] + g : g;
    }
}

void vvb_dice_bwd(vv_real *dx, const vv_real *dy, const vv_real *x, const vv_real *z, const vv_real *sums, int64_t R,
                  int64_t C, int acc)
{
    if (dx) VVCU_LAUNCH("dice_bwd", gradient, VVCU_GRID(R * C), VVCU_BLOCK, 0, dx, dy, x, z, sums, R, C, acc);
}
