/* The first i with x[i] not finite: each block finds its own first, the host the first of those. */
#include "cuda.h"

static __global__ void first_of_block(int64_t *first, const float *x, int64_t n)
{
    __shared__ int64_t of_thread[VVCU_BLOCK];
    int64_t mine = n;
    VVCU_FOR(i, n)
        if (mine == n && !(fabsf(x[i]) <= FLT_MAX)) mine = i;
    of_thread[threadIdx.x] = mine;
    __syncthreads();
    if (threadIdx.x > 0) return;
    for (unsigned t = 1; t < blockDim.x; t++) mine = min(mine, of_thread[t]);
    first[blockIdx.x] = mine;
}

int64_t vvb_first_nonfinite(const float *x, int64_t n)
{
    int64_t first[1024], least = n;
    const unsigned parts = VVCU_PARTS(n);
    const int64_t bytes = parts * (int64_t)sizeof *first;
    int64_t *on_device = (int64_t *)vvcu_scratch("first_nonfinite", bytes);
    if (!on_device || n == 0) return -1;
    VVCU_LAUNCH("first_nonfinite", first_of_block, parts, VVCU_BLOCK, 0, on_device, x, n);
    memset(first, 0, sizeof first); /* a failure of the download leaves 0: not finite */
    vvb_download(first, on_device, bytes);
    for (unsigned b = 0; b < parts; b++) least = vv_min(least, first[b]);
    return least < n ? least : -1;
}
