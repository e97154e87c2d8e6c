/* The CUDA runtime as far as ref/backend/cuda uses it, on the processor: the same .cu files, compiled as C++, run with values.
 *
 * What it is strict about, each with a message that names the kernel or the call, and the end of the process with status 70:
 *   memory    the host cannot touch device memory (its pages are closed but for launches and copies); copies stay inside one allocation
 *             and go in the direction that is said; guard bytes around allocations stay as they are, and freed memory does; no double
 *             free; nothing is left at the end; pointers given to a kernel lie in live allocations, pointers to host memory are refused;
 *             fresh device memory and the shared memory of each block are NaNs. With AddressSanitizer, device memory around allocations,
 *             freed memory and what the host may not touch are poisoned.
 *   threads   a block's threads are fibers that change at barriers and shuffles only. All of a block come to the same __syncthreads, all of
 *             a mask to the same shuffle, or it is an error. The order is that of the numbers, or what VVSI_ORDER says: "reversed",
 *             "shuffled:SEED", of blocks and threads: another order and other results are a race.
 *   streams   with VVSI_ASYNC=1 launches, and copies that a stream would do later, wait until the host waits for them.
 *   products  cublas_v2.h: sizes, strides and operands inside their allocations.
 * Not imitated: memory ordering between threads that do not meet at a barrier, speed, and the rounding of tensor cores' sums.             */
#ifndef VV_STANDIN_RUNTIME_H
#define VV_STANDIN_RUNTIME_H

#define CUDART_VERSION 13000

#include <functional>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <tuple>
#include <type_traits>

/* ---- words of the language ------------------------------------------------------------------------------------------------------ */
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __shared__ static __attribute__((section("vvsi_shared")))
#define __constant__ static
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

/* ---- types ----------------------------------------------------------------------------------------------------------------------- */
struct uint3 {
    unsigned x, y, z;
};
struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) double2 {
    double x, y;
};
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline int2 make_int2(int x, int y) { return {x, y}; }
static inline double2 make_double2(double x, double y) { return {x, y}; }

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorNoDevice = 100
};
enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaDeviceAttr { cudaDevAttrMemoryPoolsSupported = 115 };
enum cudaMemPoolAttr { cudaMemPoolAttrReleaseThreshold = 4 };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
struct cudaDeviceProp {
    char name[256];
    int major, minor, multiProcessorCount;
    size_t sharedMemPerBlockOptin;
};
typedef struct vvsi_stream *cudaStream_t;
typedef struct vvsi_event *cudaEvent_t;
typedef struct vvsi_pool *cudaMemPool_t;

/* ---- the host's calls -------------------------------------------------------------------------------------------------------------- */
const char *cudaGetErrorString(cudaError_t e);
cudaError_t cudaGetLastError();
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaGetDeviceCount(int *n);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr a, int device);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t s);
cudaError_t cudaStreamSynchronize(cudaStream_t s);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t e);
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s);
cudaError_t cudaEventSynchronize(cudaEvent_t e);
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int device);
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr a, void *value);
cudaError_t vvsi_malloc(void **p, size_t bytes, cudaStream_t s);
cudaError_t vvsi_malloc_host(void **p, size_t bytes);
template <class T> cudaError_t cudaMallocAsync(T **p, size_t bytes, cudaStream_t s)
{
    return vvsi_malloc((void **)p, bytes, s);
}
template <class T> cudaError_t cudaMallocHost(T **p, size_t bytes) { return vvsi_malloc_host((void **)p, bytes); }
cudaError_t cudaFreeAsync(void *p, cudaStream_t s);
cudaError_t cudaFreeHost(void *p);
cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t s);
cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind, cudaStream_t s);
cudaError_t vvsi_shared_limit(const void *kernel, int bytes);
template <class K> cudaError_t cudaFuncSetAttribute(K *kernel, cudaFuncAttribute, int bytes)
{
    return vvsi_shared_limit((const void *)kernel, bytes);
}

/* ---- inside kernels ------------------------------------------------------------------------------------------------------------------ */
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
enum { warpSize = 32 };
extern unsigned char *vvsi_dynamic; /* the shared memory that the launch asked for */

void vvsi_barrier(const char *file, int line);
/* All threads of the mask give a value of `size` bytes; *in becomes that of thread `from` of the warp. */
void vvsi_exchange(unsigned mask, void *value, size_t size, int from, const char *file, int line);
unsigned vvsi_lane();
unsigned vvsi_ballot(unsigned mask, int predicate, const char *file, int line);

template <class T> static inline T vvsi_shuffle(unsigned mask, T v, int from, const char *file, int line)
{
    vvsi_exchange(mask, &v, sizeof v, from, file, line);
    return v;
}
#define VVSI_HERE __FILE__, __LINE__
#define __syncthreads() vvsi_barrier(VVSI_HERE)
#define __syncwarp(...) ((void)vvsi_ballot(0xffffffffu, 1, VVSI_HERE))
#define __shfl_sync(mask, v, from) vvsi_shuffle(mask, v, (int)((from) % 32), VVSI_HERE)
#define __shfl_xor_sync(mask, v, bits) vvsi_shuffle(mask, v, (int)(vvsi_lane() ^ (unsigned)(bits)), VVSI_HERE)
#define __shfl_down_sync(mask, v, by)                                                                                  \
    vvsi_shuffle(mask, v, (int)(vvsi_lane() + (unsigned)(by) < 32 ? vvsi_lane() + (unsigned)(by) : vvsi_lane()),       \
                 VVSI_HERE)
#define __shfl_up_sync(mask, v, by)                                                                                    \
    vvsi_shuffle(mask, v, (int)(vvsi_lane() >= (unsigned)(by) ? vvsi_lane() - (unsigned)(by) : vvsi_lane()), VVSI_HERE)
#define __ballot_sync(mask, p) vvsi_ballot(mask, (p) != 0, VVSI_HERE)
#define __any_sync(mask, p) (vvsi_ballot(mask, (p) != 0, VVSI_HERE) != 0)
#define __all_sync(mask, p) (vvsi_ballot(mask, (p) == 0, VVSI_HERE) == 0)

template <class T> static inline T __ldg(const T *p) { return *p; }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
static inline unsigned __float_as_uint(float x)
{
    unsigned u;
    memcpy(&u, &x, sizeof u);
    return u;
}
static inline float __uint_as_float(unsigned u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
static inline int __float_as_int(float x) { return (int)__float_as_uint(x); }
template <class T> static inline T min(T a, T b) { return b < a ? b : a; }
template <class T> static inline T max(T a, T b) { return a < b ? b : a; }
#define VVSI_ATOMIC(name, result)                                                                                      \
    template <class T> static inline T name(T *p, T v)                                                                 \
    {                                                                                                                  \
        static_assert(std::is_integral<T>::value, "atomics on floating-point numbers have no fixed order");            \
        const T old = *p;                                                                                              \
        *p = result;                                                                                                   \
        return old;                                                                                                    \
    }
VVSI_ATOMIC(atomicAdd, (T)(old + v))
VVSI_ATOMIC(atomicMin, old < v ? old : v)
VVSI_ATOMIC(atomicMax, old < v ? v : old)
VVSI_ATOMIC(atomicOr, (T)(old | v))

/* ---- launches -------------------------------------------------------------------------------------------------------------------------- */
/* An argument of a kernel: a pointer must point into live device memory, and a struct must hold no pointer to the host's. */
void vvsi_check_pointer(const char *kernel, int number, const void *p);
void vvsi_check_bytes(const char *kernel, int number, const void *bytes, size_t size);
template <class T> static inline void vvsi_check_argument(const char *kernel, int number, const T &v)
{
    static_assert(std::is_trivially_copyable<T>::value, "kernel arguments are copied byte by byte");
    if constexpr (std::is_pointer<T>::value) vvsi_check_pointer(kernel, number, v);
    else if constexpr (std::is_class<T>::value) vvsi_check_bytes(kernel, number, &v, sizeof v);
}

struct vvsi_launch_shape {
    const char *function, *kernel;
    const void *address;
    dim3 grid, block;
    size_t shared;
};
void vvsi_launch(const vvsi_launch_shape &shape, std::function<void()> check, std::function<void()> thread);

template <class... P, class... A>
static inline void vvsi_start(const char *function, const char *name, void (*kernel)(P...), dim3 grid, dim3 block,
                              size_t shared, A... a)
{
    static_assert((sizeof(P) + ... + 0) <= 4096, "a kernel's arguments are 4 KB at most");
    const std::tuple<P...> args(static_cast<P>(a)...);
    vvsi_launch(
        {function, name, (const void *)kernel, grid, block, shared},
        [=] {
            int number = 0;
            std::apply([&](const auto &...v) { (vvsi_check_argument(name, ++number, v), ...); }, args);
        },
        [=] { std::apply(kernel, args); });
}
#define VVCU_LAUNCH(function, kernel, grid, block, shared_bytes, ...)                                                  \
    do {                                                                                                               \
        const dim3 grid_ = (grid);                                                                                     \
        if (grid_.x && grid_.y && grid_.z && vvcu_ready()) {                                                           \
            vvsi_start(function, #kernel, kernel, grid_, (block), (size_t)(shared_bytes), __VA_ARGS__);                \
            vvcu_check(function, cudaGetLastError());                                                                  \
        }                                                                                                              \
    } while (0)
#define VVCU_SHARED(type, name) type *const name = (type *)vvsi_dynamic

#endif
