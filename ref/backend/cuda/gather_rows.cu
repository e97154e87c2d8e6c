/* y[i] = x[idx[i]];   dx[idx[i]] += dy[i], in the order of i
 *
 * Backward without atomics: the first i of each index owns its row of dx, and its block goes through the later ones in order. That
 * reads the R indices once a block, which is little beside the rows. */
#include "cuda.h"

static __global__ void gather(float *y, const float *x, const int32_t *idx, int64_t n, int64_t C)
{
    VVCU_FOR(i, n) y[i] = x[idx[i / C] * C + i % C];
}

void vvb_gather_rows_fwd(float *y, const float *x, const int32_t *idx, int64_t R, int64_t C)
{
    VVCU_LAUNCH("gather_rows_fwd", gather, VVCU_GRID(R * C), VVCU_BLOCK, 0, y, x, idx, R * C, C);
}

/* whether an index before i is the same: asked by a whole block */
static __device__ bool occurred(const int32_t *idx, int64_t i)
{
    int earlier = 0;
    for (int64_t j = threadIdx.x; j < i && !earlier; j += blockDim.x) earlier = idx[j] == idx[i];
    return vvcu_block_sum(earlier) > 0;
}

static __global__ void add_rows(float *dx, const float *dy, const int32_t *idx, int64_t R, int64_t C)
{
    __shared__ int32_t tile[VVCU_BLOCK];
    VVCU_FOR_ROWS(i, R) {
        if (occurred(idx, i)) continue;
        for (int64_t c0 = 0; c0 < C; c0 += blockDim.x) {
            const int64_t c = c0 + threadIdx.x;
            float sum = c < C ? dx[idx[i] * C + c] : 0;
            for (int64_t j0 = i; j0 < R; j0 += blockDim.x) {
                __syncthreads(); /* the tile before has been read */
                tile[threadIdx.x] = j0 + threadIdx.x < R ? idx[j0 + threadIdx.x] : -1;
                __syncthreads();
                for (unsigned j = 0; c < C && j < blockDim.x; j++)
                    if (tile[j] == idx[i]) sum += dy[(j0 + j) * C + c];
            }
            if (c < C) dx[idx[i] * C + c] = sum;
        }
    }
}

void vvb_gather_rows_bwd(float *dx, const float *dy, const int32_t *idx, int64_t R, int64_t C, int64_t Rx, int acc)
{
    if (!dx) return;
    if (!acc) vvb_zero(dx, Rx * C * (int64_t)sizeof *dx);
    if (C > 0) VVCU_LAUNCH("gather_rows_bwd", add_rows, VVCU_ROWS(R), VVCU_WARPS(C), 0, dx, dy, idx, R, C);
}
