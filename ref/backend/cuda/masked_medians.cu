/* at[b,0], at[b,1]: the first pixels with the values at the places (M-1)/2 and M/2 of the sorted valid ones. The lower middle is
 * selected; the upper one is the same value or the next larger that occurs. */
#include "depth_map.h"

static __device__ uint32_t key_of_float(float x) /* sorts as the numbers do */
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u >> 31 ? ~u : u | 1u << 31;
}

static __device__ float float_of_key(uint32_t u)
{
    float x;
    u = u >> 31 ? u & ~(1u << 31) : ~u;
    memcpy(&x, &u, sizeof x);
    return x;
}

struct valid_pixel {
    const float *x, *d;
    const int32_t *mask;
    __device__ int operator()(int64_t i, uint64_t *key) const
    {
        *key = key_of_float(x[i]);
        return vvcu_is_valid(mask, d, i);
    }
};

static __device__ uint64_t block_min(uint64_t x)
{
    __shared__ unsigned long long least[32];
    unsigned long long m = x;
    for (int k = 16; k > 0; k /= 2) m = min(m, __shfl_xor_sync(0xffffffffu, m, k));
    __syncthreads();
    if (threadIdx.x % 32 == 0) least[threadIdx.x / 32] = m;
    __syncthreads();
    m = least[0];
    for (unsigned w = 1; w < blockDim.x / 32; w++) m = min(m, least[w]);
    return m;
}

static __device__ void medians(int32_t *at, const valid_pixel &pixel, int64_t N)
{
    double M, up_to;
    uint64_t first = UINT64_MAX, next = UINT64_MAX;
    VVCU_BLOCK_SUM(M, N, i, vvcu_is_valid(pixel.mask, pixel.d, i));
    if (M == 0) {
        if (threadIdx.x == 0) at[0] = at[1] = -1;
        return;
    }
    const int64_t all = (int64_t)M;
    const float t = float_of_key((uint32_t)vvcu_block_nth(pixel, N, (all - 1) / 2, 32));
    VVCU_BLOCK_SUM(up_to, N, i, vvcu_is_valid(pixel.mask, pixel.d, i) && pixel.x[i] <= t);
    for (int64_t i = threadIdx.x; i < N; i += blockDim.x) {
        const float v = pixel.x[i];
        if (!vvcu_is_valid(pixel.mask, pixel.d, i)) continue;
        if (v == t) first = min(first, (uint64_t)i);
        else if (v > t) next = min(next, (uint64_t)key_of_float(v + 0.0f) << 32 | (uint64_t)i); /* -0 counts as 0 */
    }
    first = block_min(first);
    next = block_min(next);
    if (threadIdx.x > 0) return;
    at[0] = (int32_t)first;
    at[1] = (int64_t)up_to > all / 2 ? at[0] : (int32_t)(next & UINT32_MAX);
}

static __global__ void all_medians(int32_t *at, const float *x, const float *d, const int32_t *mask, int64_t B,
                                   int64_t N)
{
    VVCU_FOR_ROWS(b, B) {
        const valid_pixel pixel = {x + b * N, d + b * N, mask ? mask + b * N : NULL};
        medians(at + 2 * b, pixel, N);
    }
}

void vvb_masked_medians(int32_t *at, const vv_real *x, const vv_real *d, const int32_t *mask, int64_t B, int64_t N)
{
    VVCU_LAUNCH("masked_medians", all_medians, VVCU_ROWS(B), VVCU_MAP_BLOCK, 0, at, x, d, mask, B, N);
}
