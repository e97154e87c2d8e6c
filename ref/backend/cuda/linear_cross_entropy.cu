/* z = x w^T,   lse[r] = log sum_v exp z[r,v],   ce[r] = lse[r] - z[r,target[r]],   loss = sum_r weight[r] ce[r]
 *
 * d lse[r] / dz[r,v] = exp(z[r,v] - lse[r]) = p[r,v], hence dz = dloss weight (p - [v = target]);   dx = dz w,   dw += dz^T x
 *
 * Scores exist for ROWS x COLUMNS at a time. Forward, each such tile leaves the largest score of a row and the sum of
 * exp(z - largest), joined at the end (Milakov, Gimelshein 2018, arXiv:1805.02867); the backward computes z again and p from lse. */
#include "elementary_device.h"

enum { ROWS = 512, COLUMNS = VVCU_ROOM / ROWS };

typedef struct {
    double max, sum; /* of some scores of a row: the largest, and the sum of exp(score - shift_of(max)) */
} part;

/* Infinite scores are not subtracted from each other: Inf gives a sum of Inf, nothing but -Inf a sum of 0. */
static __device__ double shift_of(double max) { return fabs(max) <= DBL_MAX ? max : 0; }

/* over the block; a NaN is passed over: it comes through the sum */
static __device__ float block_max(float x)
{
    __shared__ float most[32];
    for (int d = 16; d > 0; d /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, d));
    __syncthreads();
    if (threadIdx.x % 32 == 0) most[threadIdx.x / 32] = x;
    __syncthreads();
    x = most[0];
    for (unsigned w = 1; w < blockDim.x / 32; w++) x = fmaxf(x, most[w]);
    return x;
}

/* p[r] of the scores z [m,n] of the columns from v0 on, and the targets among them; a block for each row */
static __global__ void row_parts(part *p, float *of_target, const float *z, const int32_t *target, int64_t m,
                                 int64_t v0, int64_t n)
{
    VVCU_FOR_ROWS(r, m) {
        const float *row = z + r * n;
        float most = -INFINITY;
        for (int64_t v = threadIdx.x; v < n; v += blockDim.x) most = fmaxf(most, row[v]);
        most = block_max(most);
        const float shift = (float)shift_of(most);
        double sum = 0;
        for (int64_t v = threadIdx.x; v < n; v += blockDim.x) sum += (double)vv_expf(row[v] - shift);
        sum = vvcu_block_sum(sum);
        if (threadIdx.x > 0) continue;
        p[r].max = most;
        p[r].sum = sum;
        if (target[r] >= v0 && target[r] < v0 + n) of_target[r] = row[target[r] - v0];
    }
}

/* log sum exp of each row from its tiles p [tiles,m], and what follows from it */
static __global__ void join(float *ce, float *lse, const part *p, const float *of_target, int64_t m, int64_t tiles)
{
    VVCU_FOR(r, m) {
        double max = -INFINITY, sum = 0;
        for (int64_t k = 0; k < tiles; k++) max = p[k * m + r].max > max ? p[k * m + r].max : max;
        const double shift = shift_of(max);
        for (int64_t k = 0; k < tiles; k++) sum += p[k * m + r].sum * vv_exp(shift_of(p[k * m + r].max) - shift);
        const double l = shift + vv_log(sum);
        lse[r] = (float)l;
        ce[r] = (float)(l - (double)of_target[r]);
    }
}

static __global__ void weighted_sum(float *loss, const float *weight, const float *ce, int64_t R)
{
    double sum = 0;
    for (int64_t r = threadIdx.x; r < R; r += blockDim.x) sum += (double)weight[r] * (double)ce[r];
    sum = vvcu_block_sum(sum);
    if (threadIdx.x == 0) loss[0] = (float)sum;
}

void vvb_linear_cross_entropy_fwd(vv_real *loss, vv_real *ce, vv_real *lse, const vv_real *x, const vv_real *w,
                                  const int32_t *target, const vv_real *weight, int64_t R, int64_t V, int64_t C)
{
    static const char *const name = "linear_cross_entropy_fwd";
    const int64_t rows = vv_min(R, ROWS), columns = vv_min(V, COLUMNS), tiles = (V + COLUMNS - 1) / COLUMNS;
    const int64_t parts = vvcu_aligned(rows * tiles * (int64_t)sizeof(part));
    const int64_t targets = vvcu_aligned(rows * (int64_t)sizeof(float));
    char *room = (char *)vvcu_scratch(name, parts + targets + rows * columns * (int64_t)sizeof(float));
    if (!room) return;
    part *p = (part *)room;
    float *of_target = (float *)(room + parts), *z = (float *)(room + parts + targets);
    for (int64_t r = 0; r < R; r += ROWS) {
        const int64_t m = vv_min(ROWS, R - r);
        for (int64_t k = 0; k < tiles; k++) {
            const int64_t v = k * COLUMNS, n = vv_min(COLUMNS, V - v);
            vvcu_gemm(name, z, n, x + r * C, C, 0, w + v * C, C, 1, m, n, C, 1, 0);
            VVCU_LAUNCH(name, row_parts, VVCU_ROWS(m), VVCU_BLOCK, 0, p + k * m, of_target, z, target + r, m, v, n);
        }
        VVCU_LAUNCH(name, join, VVCU_GRID(m), VVCU_BLOCK, 0, ce + r, lse + r, p, of_target, m, tiles);
    }
    VVCU_LAUNCH(name, weighted_sum, 1, VVCU_BLOCK, 0, loss, weight, ce, R);
}

/* scores z [m,n] of the columns from v0 on become dz */
static __global__ void scores_grad(float *z, const float *dloss, const int32_t *target, const float *weight,
                                   const float *lse, int64_t m, int64_t v0, int64_t n)
{
    VVCU_FOR(i, m * n) {
        const int64_t r = i / n;
        const float p = vv_expf(z[i] - lse[r]);
        z[i] = dloss[0] * weight[r] * (v0 + i % n == target[r] ? p - 1 : p);
    }
}

void vvb_linear_cross_entropy_bwd(vv_real *dx, vv_real *dw, const vv_real *dloss, const vv_real *x, const vv_real *w,
                                  const int32_t *target, const vv_real *weight, const vv_real *lse, int64_t R,
                                  int64_t V, int64_t C, int acc)
{
    static const char *const name = "linear_cross_entropy_bwd";
    if (!dx && !dw) return;
    float *dz = (float *)vvcu_scratch(name, vv_min(R, ROWS) * vv_min(V, COLUMNS) * (int64_t)sizeof(float));
    if (!dz) return;
    for (int64_t r = 0; r < R; r += ROWS)
        for (int64_t v = 0; v < V; v += COLUMNS) {
            const int64_t m = vv_min(ROWS, R - r), n = vv_min(COLUMNS, V - v);
            vvcu_gemm(name, dz, n, x + r * C, C, 0, w + v * C, C, 1, m, n, C, 1, 0);
            VVCU_LAUNCH(name, scores_grad, VVCU_GRID(m * n), VVCU_BLOCK, 0, dz, dloss, target + r, weight + r, lse + r,
                        m, v, n);
            if (dx) vvcu_gemm(name, dx + r * C, C, dz, n, 0, w + v * C, C, 0, m, C, n, 1, acc || v > 0);
            if (dw) vvcu_gemm(name, dw + v * C, C, dz, n, 1, x + r * C, C, 0, n, C, m, 1, 1);
        }
}
