/* The stream, copies, events, and what the runtime says about the device. */
#include <deque>
#include <map>
#include <random>
#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <vector>

#include "standin.h"

/* ---- the order in which things are done ------------------------------------------------------------------------------------------------ */
void vvsi_order(unsigned *order, unsigned n)
{
    static const std::string how = getenv("VVSI_ORDER") ? getenv("VVSI_ORDER") : "forward";
    static std::mt19937 random(how.rfind("shuffled:", 0) == 0 ? (unsigned)atoi(how.c_str() + 9) : 0);
    const bool shuffled = how.rfind("shuffled:", 0) == 0, reversed = how == "reversed";
    if (!shuffled && !reversed && how != "forward") vvsi_die("VVSI_ORDER: expected forward, reversed or shuffled:SEED");
    for (unsigned i = 0; i < n; i++) order[i] = reversed ? n - 1 - i : i;
    for (unsigned i = n; shuffled && i > 1; i--) std::swap(order[i - 1], order[random() % i]);
}

/* ---- the stream ---------------------------------------------------------------------------------------------------------------------------- */
static std::deque<std::function<void()>> waiting;

void vvsi_enqueue(std::function<void()> work)
{
    static const bool later = getenv("VVSI_ASYNC") && atoi(getenv("VVSI_ASYNC"));
    if (later) waiting.push_back(work);
    else work();
}

static void do_one()
{
    const std::function<void()> work = waiting.front();
    waiting.pop_front();
    work();
}

void vvsi_drain()
{
    while (!waiting.empty()) do_one();
}

struct vvsi_stream {
    int unused;
};
struct vvsi_event {
    long recorded, done; /* how often */
};
struct vvsi_pool {
    int unused;
};

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned)
{
    *s = new vvsi_stream();
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    vvsi_drain();
    delete s;
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t)
{
    vvsi_drain();
    return cudaSuccess;
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    *e = new vvsi_event();
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    delete e;
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t)
{
    e->recorded++;
    vvsi_enqueue([=] { e->done++; });
    return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t e)
{
    while (e->done < e->recorded) do_one();
    return cudaSuccess;
}

/* ---- memory of the host that the device may read while the host goes on ----------------------------------------------------------------------- */
static std::map<char *, size_t> pinned;

cudaError_t vvsi_malloc_host(void **p, size_t bytes)
{
    *p = malloc(bytes + 1);
    memset(*p, 0xff, bytes);
    pinned[(char *)*p] = bytes;
    return cudaSuccess;
}
cudaError_t cudaFreeHost(void *p)
{
    vvsi_drain();
    if (p && !pinned.erase((char *)p)) vvsi_die("cudaFreeHost: %p was not allocated by cudaMallocHost", p);
    free(p);
    return cudaSuccess;
}

static bool is_pinned(const void *p, size_t bytes)
{
    auto it = pinned.upper_bound((char *)p);
    if (it == pinned.begin()) return false;
    --it;
    if ((char *)p >= it->first + it->second) return false;
    if ((char *)p + bytes > it->first + it->second) vvsi_die("a copy beyond the end of pinned memory");
    return true;
}

/* ---- copies -------------------------------------------------------------------------------------------------------------------------------------- */
static void must_be_host(const char *what, const void *p)
{
    if (vvsi_is_device(p)) vvsi_die("%s is device memory: wrong direction of a copy", what);
}

cudaError_t cudaMemcpyAsync(void *dst, const void *src, size_t bytes, cudaMemcpyKind kind, cudaStream_t)
{
    if (bytes == 0) return cudaSuccess;
    if (kind == cudaMemcpyHostToDevice) {
        must_be_host("the source of an upload", src);
        const bool deferred = is_pinned(src, bytes);
        const std::vector<char> staged((const char *)src, (const char *)src + (deferred ? 0 : bytes));
        vvsi_enqueue([=] {
            vvsi_inside("the target of an upload", dst, bytes);
            memcpy(vvsi_alias(dst), deferred ? src : staged.data(), bytes);
        });
    } else if (kind == cudaMemcpyDeviceToHost) {
        must_be_host("the target of a download", dst);
        vvsi_enqueue([=] {
            vvsi_inside("the source of a download", src, bytes);
            memcpy(dst, vvsi_alias(src), bytes);
        });
        if (!is_pinned(dst, bytes)) vvsi_drain();
    } else {
        vvsi_enqueue([=] {
            vvsi_inside("the target of a copy", dst, bytes);
            vvsi_inside("the source of a copy", src, bytes);
            if ((const char *)dst < (const char *)src + bytes && (const char *)src < (const char *)dst + bytes)
                vvsi_die("source and target of a copy overlap");
            memcpy(vvsi_alias(dst), vvsi_alias(src), bytes);
        });
    }
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *p, int value, size_t bytes, cudaStream_t)
{
    vvsi_enqueue([=] {
        vvsi_inside("memset", p, bytes);
        if (bytes) memset(vvsi_alias(p), value, bytes);
    });
    return cudaSuccess;
}

/* ---- the device -------------------------------------------------------------------------------------------------------------------------------------- */
static bool absent() { return getenv("VVSI_DEVICES") && !atoi(getenv("VVSI_DEVICES")); }

const char *cudaGetErrorString(cudaError_t e)
{
    return e == cudaSuccess                     ? "no error"
           : e == cudaErrorMemoryAllocation     ? "out of memory"
           : e == cudaErrorInvalidConfiguration ? "invalid configuration argument"
           : e == cudaErrorNoDevice             ? "no CUDA-capable device is detected"
                                                : "invalid argument";
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudaSuccess;
}
cudaError_t cudaGetDeviceCount(int *n)
{
    *n = absent() ? 0 : 1;
    return absent() ? cudaErrorNoDevice : cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *p, int)
{
    memset(p, 0, sizeof *p);
    snprintf(p->name, sizeof p->name, "stand-in on the processor");
    p->major = 7;
    p->minor = 5;
    p->multiProcessorCount = 4;
    p->sharedMemPerBlockOptin = 64 << 10;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr, int)
{
    *value = 1;
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int *version)
{
    *version = 0;
    return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = 0;
    return cudaSuccess;
}
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t *pool, int)
{
    static vvsi_pool one;
    *pool = &one;
    return cudaSuccess;
}
cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t, cudaMemPoolAttr, void *) { return cudaSuccess; }
