/* Start, information, errors and memory of the CUDA backend: one device, the current one, and one stream. */
#include <stdio.h>
#include <stdlib.h>

#include "cuda.h"
#include "products.h"

/* ---- errors ------------------------------------------------------------------------------------------------------- */
static char error_text[200];

void vvcu_fail(const char *function, const char *what)
{
    if (!error_text[0]) snprintf(error_text, sizeof error_text, "%s: %s", function, what);
}

int vvcu_check(const char *function, cudaError_t e)
{
    if (e == cudaSuccess) return 1;
    vvcu_fail(function, e == cudaErrorMemoryAllocation ? "out of memory" : cudaGetErrorString(e));
    return 0;
}

const char *vvb_error(void)
{
    static char told[sizeof error_text];
    if (!error_text[0]) return NULL;
    memcpy(told, error_text, sizeof told);
    error_text[0] = 0;
    return told;
}

/* ---- start ------------------------------------------------------------------------------------------------------------ */
static vvb_info info;
static cudaStream_t stream;
static char no_device[150]; /* why there is none */
static int asked;           /* whether it was looked for */

cudaStream_t vvcu_stream(void) { return stream; }

static int open_device(void)
{
    static char name[400], core[32];
    int n = 0, device = 0, driver = 0;
    cudaDeviceProp p;
    cudaMemPool_t pool;
    uint64_t keep = UINT64_MAX; /* what was freed stays with the process: the next update needs it again */
    cudaError_t e = cudaGetDeviceCount(&n);
    if (e == cudaSuccess && n == 0) e = cudaErrorNoDevice;
    if (e == cudaSuccess) e = cudaGetDevice(&device);
    if (e == cudaSuccess) e = cudaGetDeviceProperties(&p, device);
    if (e == cudaSuccess) e = cudaDeviceGetDefaultMemPool(&pool, device);
    if (e == cudaSuccess) e = cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep);
    if (e == cudaSuccess) e = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    if (e != cudaSuccess) {
        snprintf(no_device, sizeof no_device, "no CUDA device can be used (%s)", cudaGetErrorString(e));
        (void)cudaGetLastError();
        return 0;
    }
    (void)cudaDriverGetVersion(&driver);
    snprintf(core, sizeof core, "sm_%d%d", p.major, p.minor);
    snprintf(name, sizeof name, "%s, %d multiprocessors, driver for CUDA %d.%d", p.name, p.multiProcessorCount,
             driver / 1000, driver % 1000 / 10);
    info.device = name;
    info.core = core;
    info.deterministic = 1;
    return 1;
}

static void close_device(void);

int vvcu_ready(void)
{
    if (!asked) {
        asked = 1;
        info.name = "cuda";
        info.device = info.product = info.core = "none";
        info.threads = 1;
        if (open_device()) {
            atexit(close_device);
            info.product = vvcu_open_products(no_device, sizeof no_device);
        }
    }
    if (no_device[0]) vvcu_fail("init", no_device);
    return !no_device[0];
}

/* The number of threads is the device's own business. */
void vvb_init(int) { (void)vvcu_ready(); }

const vvb_info *vvb_get_info(void)
{
    (void)vvcu_ready();
    info.unit_roundoff = vvcu_unit_roundoff();
    return &info;
}

/* ---- memory --------------------------------------------------------------------------------------------------------- */
static void *allocate(const char *function, int64_t bytes)
{
    void *p = NULL;
    if (!vvcu_ready()) return NULL;
    const cudaError_t e = bytes < 0 ? cudaErrorMemoryAllocation : cudaMallocAsync(&p, (size_t)vv_max(bytes, 1), stream);
    if (e == cudaErrorMemoryAllocation)
        (void)cudaGetLastError(); /* told here: the next launch must not find it again */
    return vvcu_check(function, e) ? p : NULL;
}

void *vvb_alloc(int64_t bytes)
{
    void *p = allocate("alloc", bytes);
    if (!p) return NULL;
    info.bytes += bytes;
    info.peak_bytes = vv_max(info.bytes, info.peak_bytes);
    return p;
}

void vvb_free(void *p, int64_t bytes)
{
    if (!p) return;
    info.bytes -= bytes;
    vvcu_check("free", cudaFreeAsync(p, stream));
}

void vvb_zero(void *p, int64_t bytes)
{
    if (bytes > 0 && vvcu_ready()) vvcu_check("zero", cudaMemsetAsync(p, 0, (size_t)bytes, stream));
}

static void copy_bytes(const char *function, void *dst, const void *src, int64_t bytes, cudaMemcpyKind kind)
{
    if (bytes > 0 && vvcu_ready()) vvcu_check(function, cudaMemcpyAsync(dst, src, (size_t)bytes, kind, stream));
}

/* The host's arrays are not pinned: an upload has read all of its array, a download has written it, when the call returns. */
void vvb_upload(void *dst, const void *host, int64_t bytes)
{
    copy_bytes("upload", dst, host, bytes, cudaMemcpyHostToDevice);
}

void vvb_download(void *host, const void *src, int64_t bytes)
{
    copy_bytes("download", host, src, bytes, cudaMemcpyDeviceToHost);
    vvb_sync(); /* also brings the failures of the launches before */
}

void vvb_copy(void *dst, const void *src, int64_t bytes)
{
    copy_bytes("copy", dst, src, bytes, cudaMemcpyDeviceToDevice);
}

void vvb_sync(void)
{
    if (vvcu_ready()) vvcu_check("sync", cudaStreamSynchronize(stream));
}

/* ---- memory of the backend's own ----------------------------------------------------------------------------------------- */
typedef struct {
    void *p;
    int64_t bytes;
} buffer;
static buffer scratch, product_scratch;

/* Grow-only. What ran before still has the old memory: it is freed in the order of the stream. */
static void *grown(buffer *b, const char *function, int64_t bytes)
{
    if (bytes > b->bytes || !b->p) {
        if (b->p) vvcu_check(function, cudaFreeAsync(b->p, stream));
        b->bytes = 0;
        if ((b->p = allocate(function, bytes))) b->bytes = bytes;
    }
    return b->p;
}

void *vvcu_scratch(const char *function, int64_t bytes) { return grown(&scratch, function, bytes); }
void *vvcu_product_scratch(const char *function, int64_t bytes) { return grown(&product_scratch, function, bytes); }

/* A ring of tables: the host writes into pinned memory, which the stream copies when it comes to it. Before a slot is used again its
 * last copy must have been made; the device's side needs no waiting, because its readers stand before the new copy in the stream. */
typedef struct {
    void *host;
    int64_t host_bytes;
    buffer device;
    cudaEvent_t copied;
} table;
static table tables[VVCU_TABLES];

static int prepare(table *t, const char *function, int64_t bytes)
{
    if (!t->copied) {
        if (!vvcu_check(function, cudaEventCreateWithFlags(&t->copied, cudaEventDisableTiming))) return 0;
    } else if (!vvcu_check(function, cudaEventSynchronize(t->copied))) return 0;
    if (bytes > t->host_bytes || !t->host) {
        if (t->host) vvcu_check(function, cudaFreeHost(t->host));
        t->host = NULL;
        t->host_bytes = 0;
        if (!vvcu_check(function, cudaMallocHost(&t->host, (size_t)vv_max(bytes, 1)))) return 0;
        t->host_bytes = bytes;
    }
    return grown(&t->device, function, bytes) != NULL;
}

void *vvcu_upload_table(const char *function, const void *host, int64_t bytes)
{
    static int next;
    table *t = &tables[next++ % VVCU_TABLES];
    if (!vvcu_ready() || !prepare(t, function, bytes)) return NULL;
    if (bytes > 0) memcpy(t->host, host, (size_t)bytes);
    copy_bytes(function, t->device.p, t->host, bytes, cudaMemcpyHostToDevice);
    return vvcu_check(function, cudaEventRecord(t->copied, stream)) ? t->device.p : NULL;
}

/* At the end of the program, so that a checker of leaks finds none. */
static void close_device(void)
{
    (void)cudaStreamSynchronize(stream);
    vvcu_close_products();
    for (table *t = tables; t < tables + VVCU_TABLES; t++) {
        if (t->host) (void)cudaFreeHost(t->host);
        if (t->device.p) (void)cudaFreeAsync(t->device.p, stream);
        if (t->copied) (void)cudaEventDestroy(t->copied);
    }
    if (scratch.p) (void)cudaFreeAsync(scratch.p, stream);
    if (product_scratch.p) (void)cudaFreeAsync(product_scratch.p, stream);
    (void)cudaStreamSynchronize(stream);
    (void)cudaStreamDestroy(stream);
}
