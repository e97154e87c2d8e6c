/* Inside the CUDA backend: depth maps and how predictions are aligned with their labels (ssi.cu, gradient_matching.cu), and the
 * element at a given place of the sorted order. A map is aligned and summed by one block. */
#ifndef VV_CUDA_DEPTH_MAP_H
#define VV_CUDA_DEPTH_MAP_H

#include "cuda.h"

typedef enum { VVCU_NORMALISED, VVCU_LEAST_SQUARES, VVCU_SCALED_LABEL } vvcu_residual;

/* B maps of N pixels and how they are to be aligned; the pointers are the device's */
typedef struct {
    const float *p, *d;
    const int32_t *mask, *at; /* at [2,B,2] */
    int64_t B, N;
    vvcu_residual kind;
    int average, clamp, detach;
    double eps;
} vvcu_depth;

/* One of them, aligned:
 *   NORMALISED     R = (p - tp) / sp - (d - td) / sd
 *   LEAST_SQUARES  R = slope (p - tp) - (d - td)       t the means here
 *   SCALED_LABEL   R = ratio d - p                     ratio = sp / sd                                                  */
typedef struct {
    int64_t M;
    vvb_map state;
    int counted, moves; /* in value and denominators; has a gradient */
    int fixed;          /* sp is eps and does not follow p */
    int64_t middle[2];  /* pixels of p's median: the same one twice, or with `average` two */
    double tp, sp, td, sd;
    double slope, ratio, A; /* A = sum (p - tp)^2 */
} vvcu_map;

vvcu_depth vvcu_depth_of(const float *p, const float *d, const int32_t *mask, const int32_t *at, int64_t B, int64_t N,
                         vvcu_residual kind, const vvb_depth_args *a);

/* Each of these for all B maps. map [B], r and v [B,N] are scratch memory. */
void vvcu_align_maps(const char *function, vvcu_map *map, const vvcu_depth *g);
void vvcu_maps_info(const char *function, int32_t *info, const vvcu_map *map, int64_t B); /* nothing for NULL */
void vvcu_maps_residual(const char *function, double *r, const vvcu_map *map,
                        const vvcu_depth *g); /* 0 outside V, and of maps that do not count */
/* dp = dy dy/dp from v = dy/dR, which is 0 outside V */
void vvcu_maps_backward(const char *function, float *dp, const vvcu_map *map, const vvcu_depth *g, const double *v,
                        const float *dy, int acc);

static __device__ inline int vvcu_is_valid(const int32_t *mask, const float *d, int64_t i)
{
    return (!mask || mask[i]) && fabsf(d[i]) <= FLT_MAX;
}

static __device__ inline double vvcu_sign(double x) { return (double)((x > 0) - (x < 0)); }

enum { VVCU_MAP_BLOCK = 1024 }; /* threads for a map */

/* result = sum over i < n of EXPR(i), by the block; every thread has it */
#define VVCU_BLOCK_SUM(result, n, i, EXPR)                                                                             \
    do {                                                                                                               \
        double sum_ = 0;                                                                                               \
        for (int64_t i = threadIdx.x; i < (n); i += blockDim.x) sum_ += (EXPR);                                        \
        (result) = vvcu_block_sum(sum_);                                                                               \
    } while (0)

/* Digits of the answer from the top: the block counts the keys by their next 8 bits, goes on with those that share the answer's.
 * The key of `bits` bits at place `rank` of those that are, in order; 0 <= rank < their number. Key is a struct with
 * `__device__ int operator()(int64_t i, uint64_t *key) const`, which says whether item i < n is one and what its key is. */
template <class Key> static __device__ uint64_t vvcu_block_nth(Key key_of, int64_t n, int64_t rank, int bits)
{
    __shared__ unsigned count[256];
    uint64_t found = 0, key;
    for (int shift = bits - 8; shift >= 0; shift -= 8) {
        __syncthreads();
        for (unsigned k = threadIdx.x; k < 256; k += blockDim.x) count[k] = 0;
        __syncthreads();
        for (int64_t i = threadIdx.x; i < n; i += blockDim.x)
            if (key_of(i, &key) && (shift + 8 == bits || key >> (shift + 8) == found))
                atomicAdd(&count[key >> shift & 255], 1u);
        __syncthreads();
        unsigned digit = 0;
        while (digit < 255 && rank >= count[digit]) rank -= count[digit++];
        found = found << 8 | digit;
    }
    return found;
}

#endif
