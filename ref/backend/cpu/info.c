/* Start, information, errors and memory of the CPU backend. */
#define _DEFAULT_SOURCE /* madvise: POSIX knows no large pages */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "cpu.h"

/* ---- errors ------------------------------------------------------------------------------------------------------- */
static char error_text[128];

void vvcpu_fail(const char *function, const char *what)
{
#pragma omp critical(vvcpu_error)
    if (!error_text[0]) snprintf(error_text, sizeof error_text, "%s: %s", function, what);
}

VVB_DEF const char *vvb_error(void)
{
    static char told[sizeof error_text];
    if (!error_text[0]) return NULL;
    memcpy(told, error_text, sizeof told);
    error_text[0] = 0;
    return told;
}

/* ---- threads and the BLAS ------------------------------------------------------------------------------------------- */
#ifdef VV_OPENBLAS
/* Declared here because another BLAS's cblas.h may be the one that is installed. */
extern int openblas_get_parallel(void); /* 0 serial, 1 pthread, 2 OpenMP */
extern void openblas_set_num_threads(int n);
extern char *openblas_get_config(void);
extern char *openblas_get_corename(void);
#endif

/* A container's CPU quota, in whole processors (0: none). cgroup version 2, then 1. */
static int cgroup_quota(void)
{
    long long quota = 0, period = 0;
    FILE *f = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (f) {
        if (fscanf(f, "%lld %lld", &quota, &period) != 2) quota = 0; /* "max" */
        fclose(f);
    } else if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r"))) {
        if (fscanf(f, "%lld", &quota) != 1) quota = 0;
        fclose(f);
        if ((f = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r"))) {
            if (fscanf(f, "%lld", &period) != 1) period = 0;
            fclose(f);
        }
    }
    return quota > 0 && period > 0 ? (int)((quota + period - 1) / period) : 0;
}

static int default_threads(void)
{
    if (getenv("OMP_NUM_THREADS")) return omp_get_max_threads();
    const int procs = omp_get_num_procs(), quota = cgroup_quota();
    return quota > 0 && quota < procs ? quota : procs;
}

static vvb_info info;

static void describe(void)
{
    static char device[128] = "unknown processor", product[128];
    FILE *f = fopen("/proc/cpuinfo", "r");
    char line[256];
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (colon && !strncmp(line, "model name", 10)) {
            snprintf(device, sizeof device, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
            break;
        }
    }
    if (f) fclose(f);
#ifdef VV_OPENBLAS
    static const char *const flavour[] = {"serial", "pthread", "OpenMP"};
    const char *config = openblas_get_config();
    const int parallel = openblas_get_parallel(), words = (int)strcspn(config, " ");
    snprintf(product, sizeof product, "%.*s %s", words + 1 + (int)strcspn(config + words + 1, " "), config,
             flavour[parallel < 0 || parallel > 2 ? 0 : parallel]);
    info.core = openblas_get_corename();
#else
    snprintf(product, sizeof product, "%s", strcmp(VV_BLAS_NAME, "none") ? VV_BLAS_NAME : "own blocked product");
    info.core = "none";
#endif
    info.name = "cpu";
    info.device = device;
    info.product = product;
#if defined(VV_OPENBLAS) || !defined(VV_CBLAS)
    info.deterministic = 1;
#endif /* another library may split a tile over threads of its own: it must be told by its own variable */
}

/* Our own loop runs the tiles, so each library call must stay on its thread. The OpenMP flavour does that inside a parallel region
 * by itself, and setting its number would set ours. */
void vvcpu_library_threads(int n)
{
#ifdef VV_OPENBLAS
    if (openblas_get_parallel() == 1) openblas_set_num_threads(n);
#elif defined(VV_ACCELERATE)
    char text[16];
    snprintf(text, sizeof text, "%d", n);
    setenv("VECLIB_MAXIMUM_THREADS", text, 1);
#else
    (void)n;
#endif
}

/* Scratch memory. Grow-only, one buffer a thread: a fresh allocation per call would cost page faults each time. It lives as
 * long as its thread; the pointer in thread storage keeps it reachable. */
static vv_real *scratch;
static int64_t scratch_n;
#pragma omp threadprivate(scratch, scratch_n)

/* Another number of threads ends those that are too many, and their pointers with them. */
static void free_scratch(void)
{
#pragma omp parallel
    {
        free(scratch);
        scratch = NULL;
        scratch_n = 0;
    }
}

VVB_DEF void vvb_init(int threads)
{
    if (info.threads) free_scratch();
    if (!info.name) {
        describe();
        vvcpu_library_threads(1);
    }
    static int usual; /* asked once: later the answer is what was set here */
    if (!usual) usual = default_threads();
    omp_set_dynamic(0);
    info.threads = threads > 0 ? threads : usual;
    omp_set_num_threads(info.threads);
}

void vvcpu_ready(void)
{
    if (!info.name) vvb_init(0);
}

VVB_DEF const vvb_info *vvb_get_info(void)
{
    vvcpu_ready();
    info.unit_roundoff = vvcpu_unit_roundoff();
    return &info;
}

/* ---- memory --------------------------------------------------------------------------------------------------------- */
/* Aligned for any vector. Large blocks begin on a large page and ask for such pages: products read weights and activations row by
 * row, and each small page would cost them an address translation. */
enum { LARGE_PAGE = 2 << 20 };

static void *aligned(int64_t bytes)
{
    void *p = NULL;
    const int large = bytes >= 2 * LARGE_PAGE;
    if (bytes < 0 || (uint64_t)bytes > SIZE_MAX - LARGE_PAGE) return NULL;
    if (posix_memalign(&p, large ? LARGE_PAGE : 64, (size_t)(bytes ? bytes : 1))) return NULL;
#ifdef MADV_HUGEPAGE
    if (large) (void)madvise(p, (size_t)bytes, MADV_HUGEPAGE);
#endif
    return p;
}

VVB_DEF void *vvb_alloc(int64_t bytes)
{
    void *p = aligned(bytes);
    if (!p) {
        vvcpu_fail("alloc", "out of memory");
        return NULL;
    }
    info.bytes += bytes;
    if (info.bytes > info.peak_bytes) info.peak_bytes = info.bytes;
    return p;
}

VVB_DEF void vvb_free(void *p, int64_t bytes)
{
    if (p) info.bytes -= bytes;
    free(p);
}

VVB_DEF void vvb_zero(void *p, int64_t bytes)
{
    if (bytes > 0) memset(p, 0, (size_t)bytes);
}

static void copy_bytes(void *dst, const void *src, int64_t bytes)
{
    if (bytes > 0) memcpy(dst, src, (size_t)bytes);
}
VVB_DEF void vvb_upload(void *dst, const void *host, int64_t bytes) { copy_bytes(dst, host, bytes); }
VVB_DEF void vvb_download(void *host, const void *src, int64_t bytes) { copy_bytes(host, src, bytes); }
VVB_DEF void vvb_copy(void *dst, const void *src, int64_t bytes) { copy_bytes(dst, src, bytes); }
VVB_DEF void vvb_sync(void) {}

vv_real *vvcpu_scratch(const char *function, int64_t n)
{
    if (n > scratch_n) {
        free(scratch);
        scratch = NULL;
        scratch_n = 0;
        if (!(scratch = aligned(vv_mul(n, sizeof(vv_real))))) {
            vvcpu_fail(function, "out of memory");
            return NULL;
        }
        scratch_n = n;
    }
    return scratch;
}
