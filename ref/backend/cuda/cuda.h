/* Inside the CUDA backend only: errors, the stream, memory of the backend's own, launches, sums in a fixed order, products.
 *
 * Everything runs on one stream, in the order of the calls. No floating-point atomics: each output has one owner, sums are fixed
 * trees whose shape is a function of the sizes alone, so that the same call gives the same bits. Compiled with -fmad=false: where a
 * fused multiply-add is wanted, fmaf stands in the text. Formulas and shapes are those of backend.h.                         */
#ifndef VV_CUDA_H
#define VV_CUDA_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cuda_runtime.h>

extern "C" {
#include "base/base.h"
}
#include "backend/backend.h"

#ifdef VV_DOUBLE
#error "the CUDA backend computes in float: REAL=double is for the CPU"
#endif

/* ---- errors and start (device.cu) --------------------------------------------------------------------------------------- */
/* Keeps the first failure for vvb_error. */
void vvcu_fail(const char *function, const char *what);

/* Whether e is success; if not, it is kept. */
int vvcu_check(const char *function, cudaError_t e);

/* Whether there is a device, set up on the first call; if not, that is kept as the failure. */
int vvcu_ready(void);
cudaStream_t vvcu_stream(void);

/* ---- memory of the backend's own (device.cu) ------------------------------------------------------------------------------ */
/* At least so many bytes of device memory, aligned to 256, valid until the next call of vvcu_scratch (by anybody): several buffers
 * are carved from one call. NULL, and a failure kept, without memory. */
void *vvcu_scratch(const char *function, int64_t bytes);

/* The same for the inside of a product, so that callers keep what they carved. */
void *vvcu_product_scratch(const char *function, int64_t bytes);

/* A copy of a small host array in device memory, valid for the launches that follow until VVCU_TABLES more were made. The host array
 * may change at once. NULL, and a failure kept, without memory. */
enum { VVCU_TABLES = 8 };
void *vvcu_upload_table(const char *function, const void *host, int64_t bytes);

/* How many numbers a function keeps at a time of what would grow with the problem: a panel of windows, a tile of scores. 128 MB. The
 * stand-in's are few, so that small tests see several. */
#ifndef VVCU_ROOM
#define VVCU_ROOM (1 << 25)
#endif

/* Bytes rounded up to the alignment of scratch memory, for carving. */
static inline int64_t vvcu_aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }

/* ---- launches ---------------------------------------------------------------------------------------------------------------
 * A grid of 0 blocks does nothing. The kernel of a template goes in parentheses: (kernel<4, 8>). */
#ifndef VVCU_LAUNCH
#define VVCU_LAUNCH(function, kernel, grid, block, shared_bytes, ...)                                                  \
    do {                                                                                                               \
        const dim3 grid_ = (grid);                                                                                     \
        if (grid_.x && grid_.y && grid_.z && vvcu_ready()) {                                                           \
            kernel<<<grid_, (block), (shared_bytes), vvcu_stream()>>>(__VA_ARGS__);                                    \
            vvcu_check(function, cudaGetLastError());                                                                  \
        }                                                                                                              \
    } while (0)
/* `type *name`: the shared memory whose size the launch gave */
#define VVCU_SHARED(type, name)                                                                                        \
    extern __shared__ __align__(16) unsigned char vvcu_shared_bytes[];                                                 \
    type *const name = (type *)vvcu_shared_bytes
#endif

/* Loops over one dimension: VVCU_LAUNCH(f, kernel, VVCU_GRID(n), VVCU_BLOCK, 0, ...), in the kernel VVCU_FOR(i, n) statement */
enum { VVCU_BLOCK = 256 };
#define VVCU_GRID(n) ((unsigned)vv_min(((n) + VVCU_BLOCK - 1) / VVCU_BLOCK, 65536))
#define VVCU_FOR(i, n)                                                                                                 \
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += (int64_t)gridDim.x * blockDim.x)

/* One block a row, of as many warps as its C elements are worth: VVCU_LAUNCH(f, kernel, VVCU_ROWS(R), VVCU_WARPS(C), 0, ...), in the
 * kernel VVCU_FOR_ROWS(r, R) { ... for (int64_t c = threadIdx.x; c < C; c += blockDim.x) ... } */
#define VVCU_ROWS(R) ((unsigned)vv_min(R, 65536))
#define VVCU_WARPS(C) ((unsigned)vv_max(32, vv_min(((C) + 31) / 32 * 32, VVCU_BLOCK)))
#define VVCU_FOR_ROWS(r, R) for (int64_t r = blockIdx.x; r < (R); r += gridDim.x)

/* ---- sums in a fixed tree ----------------------------------------------------------------------------------------------------- */
/* Over the 32 threads of a warp; all get the same bits. */
static __device__ inline double vvcu_warp_sum(double v)
{
    for (int d = 16; d > 0; d /= 2) v += __shfl_xor_sync(0xffffffffu, v, d);
    return v;
}

/* Over a one-dimensional block of whole warps; all threads call it, all get the same bits. */
static __device__ inline double vvcu_block_sum(double v)
{
    __shared__ double part[32];
    const unsigned lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    v = vvcu_warp_sum(v);
    __syncthreads(); /* part may still be read for the sum before */
    if (lane == 0) part[warp] = v;
    __syncthreads();
    return vvcu_warp_sum(lane < blockDim.x / 32 ? part[lane] : 0);
}

/* out[0] = sum of x[i], i < n, doubles of the device, by one block. */
void vvcu_sum(const char *function, double *out, const double *x, int64_t n);

/* Stage one over many blocks: part[b] = sum of term(i) over the i of block b, b < VVCU_PARTS(n). Then vvcu_sum. Term is a struct with
 * `__device__ double operator()(int64_t i) const`. */
#define VVCU_PARTS(n) ((unsigned)vv_min(((n) + 4095) / 4096, 1024))
template <class Term> static __global__ void vvcu_partial_sums(double *part, Term term, int64_t n)
{
    double s = 0;
    VVCU_FOR(i, n) s += term(i);
    s = vvcu_block_sum(s);
    if (threadIdx.x == 0) part[blockIdx.x] = s;
}

/* out[c] += sum over r of term(r, c), in double: blocks of 32 columns and a stretch of rows, then the stretches in order. Term is a struct
 * with `__device__ double operator()(int64_t r, int64_t c) const`. Uses the memory of vvcu_scratch. */
enum { VVCU_COLUMNS = 32, VVCU_COLUMN_ROWS = 8 };
template <class Term>
static __global__ void vvcu_column_parts(double *part, Term term, int64_t R, int64_t C, int64_t stretch)
{
    __shared__ double sum[VVCU_COLUMN_ROWS][VVCU_COLUMNS];
    const int64_t c = (int64_t)blockIdx.x * VVCU_COLUMNS + threadIdx.x, r0 = blockIdx.y * stretch;
    double s = 0;
    for (int64_t r = r0 + threadIdx.y; c < C && r < min(r0 + stretch, R); r += VVCU_COLUMN_ROWS) s += term(r, c);
    sum[threadIdx.y][threadIdx.x] = s;
    __syncthreads();
    if (threadIdx.y > 0 || c >= C) return;
    for (int i = 1; i < VVCU_COLUMN_ROWS; i++) s += sum[i][threadIdx.x];
    part[blockIdx.y * C + c] = s;
}

void vvcu_finish_columns(const char *function, float *out, const double *part, int64_t parts, int64_t C);

template <class Term>
static void vvcu_add_columns(const char *function, float *out, const Term &term, int64_t R, int64_t C)
{
    const int64_t stretch = vv_max(64, (R + 255) / 256), parts = (R + stretch - 1) / stretch;
    if (R == 0 || C == 0) return;
    double *part = (double *)vvcu_scratch(function, parts * C * (int64_t)sizeof(double));
    if (!part) return;
    const dim3 grid((unsigned)((C + VVCU_COLUMNS - 1) / VVCU_COLUMNS), (unsigned)parts),
        block(VVCU_COLUMNS, VVCU_COLUMN_ROWS);
    VVCU_LAUNCH(function, vvcu_column_parts<Term>, grid, block, 0, part, term, R, C, stretch);
    vvcu_finish_columns(function, out, part, parts, C);
}

/* The same of a matrix x [R,C] (pointwise.cu). */
void vvcu_add_column_sums(const char *function, float *out, const float *x, int64_t R, int64_t C);

/* ---- products (gemm.cu) --------------------------------------------------------------------------------------------------------- */
/* c = alpha op(a) op(b) + beta c, arguments as vvb_matmul, in the precision that is set for operands. Does not touch the memory of
 * vvcu_scratch. */
void vvcu_gemm(const char *function, float *c, int64_t ldc, const float *a, int64_t lda, int ta, const float *b,
               int64_t ldb, int tb, int64_t M, int64_t N, int64_t K, double alpha, double beta);

/* ---- emulated precision (precision.cu) -------------------------------------------------------------------------------------------- */
/* What products round their operands to: VVB_FULL when they do not. */
vvb_precision vvcu_operands(void);
double vvcu_unit_roundoff(void);

/* The nearest number of the format, ties to even. TF32 and BF16 have the exponents of float: half a last place is added to the bits
 * and the rest cut off, a carry moves into the exponent by itself, also from subnormals and into Inf. FP16's subnormal numbers are
 * 2^-24 apart, as the floats from 1/2 to 1 are. */
static __host__ __device__ inline float vvcu_nearest(float x, vvb_precision p)
{
    if (p == VVB_FULL || !(fabsf(x) <= FLT_MAX)) return x;
    if (p == VVB_FP16 && fabsf(x) < 0x1p-14f) return copysignf((fabsf(x) + 0.75f) - 0.75f, x);
    const uint32_t one = 1u << (p == VVB_BF16 ? 16 : 13);
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits += one / 2 - 1 + (bits / one & 1);
    bits &= ~(one - 1);
    memcpy(&x, &bits, sizeof x);
    return p == VVB_FP16 && fabsf(x) >= 65536.0f ? copysignf(HUGE_VALF, x) : x;
}

#endif
