/* Programs with one mistake each, for tests/cuda/run.sh: the stand-in must find them. `mistakes NAME` makes the one of that name; where the
 * stand-in cannot know what was meant, the wrong result is told: exit 1 and "wrong result". */
#include <stdio.h>
#include <stdlib.h>

#include "backend/cuda/cuda.h"

enum { N = 64 };

static float *fresh(int64_t n) { return (float *)vvb_alloc(n * (int64_t)sizeof(float)); }
static void release(float *x, int64_t n) { vvb_free(x, n * (int64_t)sizeof(float)); }

/* whether x [N] of the device is 0, 1, 2 ... */
static int counts(const float *x)
{
    float host[N];
    vvb_download(host, x, sizeof host);
    for (int i = 0; i < N; i++)
        if (host[i] != (float)i) return puts("wrong result"), 1;
    return 0;
}

static __global__ void count(float *x, int64_t n)
{
    VVCU_FOR(i, n) x[i] = (float)i;
}
static void start(float *x, int64_t n) { VVCU_LAUNCH("start", count, VVCU_GRID(n), VVCU_BLOCK, 0, x, n); }

/* ---- memory ---------------------------------------------------------------------------------------------------------------- */
static int nothing_wrong(void)
{
    float *x = fresh(N);
    start(x, N);
    const int s = counts(x);
    release(x, N);
    return s;
}

static int beyond_the_end(void)
{
    float *x = fresh(N);
    start(x, N + 1);
    release(x, N);
    return 0;
}

static __global__ void one_before(float *x) { x[-1] = 0; }
static int before_the_start(void)
{
    float *x = fresh(N);
    VVCU_LAUNCH("test", one_before, 1, 1, 0, x);
    release(x, N);
    return 0;
}

static int use_after_free(void)
{
    float *x = fresh(N);
    release(x, N);
    start(x, N);
    return 0;
}

struct holder {
    float *x;
    int64_t n;
};
static __global__ void count_held(holder h)
{
    VVCU_FOR(i, h.n) h.x[i] = (float)i;
}
static int freed_in_a_struct(void)
{
    const holder h = {fresh(N), N};
    release(h.x, N);
    VVCU_LAUNCH("test", count_held, 1, N, 0, h);
    return 0;
}

/* a pointer that the check of arguments does not see: hidden in device memory */
static __global__ void through(float **p) { p[0][0] = 1; }
static int write_after_free(void)
{
    float *x = fresh(N), **p = (float **)vvb_alloc(sizeof *p);
    vvb_upload(p, &x, sizeof x);
    release(x, N);
    VVCU_LAUNCH("test", through, 1, 1, 0, p);
    vvb_free(p, sizeof *p);
    return 0;
}

static int leak(void)
{
    start(fresh(N), N);
    return 0;
}

static int double_free(void)
{
    float *x = fresh(N);
    release(x, N);
    release(x, N);
    return 0;
}

static int uninitialised(void)
{
    float *x = fresh(N);
    const int s = counts(x);
    release(x, N);
    return s;
}

static int host_reads(void)
{
    float *x = fresh(N);
    start(x, N);
    return x[0] == 0;
}

static int wrong_direction(void)
{
    float host[N], *x = fresh(N);
    cudaMemcpyAsync(host, x, sizeof host, cudaMemcpyHostToDevice, vvcu_stream());
    return 0;
}

static int long_download(void)
{
    float host[N + 1], *x = fresh(N);
    vvb_download(host, x, sizeof host);
    return 0;
}

static int host_pointer(void)
{
    float *x = (float *)malloc(N * sizeof *x);
    start(x, N);
    return 0;
}

static int host_pointer_in_a_struct(void)
{
    float *x = (float *)malloc(N * sizeof *x);
    const holder h = {x, N};
    VVCU_LAUNCH("test", count_held, 1, N, 0, h);
    return 0;
}

static int short_matrix(void)
{
    float *c = fresh(N), *a = fresh(N), *b = fresh(N - 1);
    vvb_matmul(c, 8, a, 8, 0, b, 8, 0, 8, 8, 8, 1, 0);
    return 0;
}

/* pinned memory changes before the stream has read it: VVSI_ASYNC=1 shows it */
static int early_change(void)
{
    float *host, *x = fresh(N);
    cudaMallocHost(&host, N * sizeof *host);
    for (int i = 0; i < N; i++) host[i] = (float)i;
    cudaMemcpyAsync(x, host, N * sizeof *host, cudaMemcpyHostToDevice, vvcu_stream());
    host[0] = 1;
    const int s = counts(x);
    cudaFreeHost(host);
    release(x, N);
    return s;
}

/* ---- threads --------------------------------------------------------------------------------------------------------------- */
static __global__ void no_barrier(float *x)
{
    __shared__ float s[N];
    s[threadIdx.x] = (float)(N - 1 - threadIdx.x);
    x[threadIdx.x] = s[N - 1 - threadIdx.x];
}
static int missing_barrier(void)
{
    float *x = fresh(N);
    VVCU_LAUNCH("test", no_barrier, 1, N, 0, x);
    const int s = counts(x);
    release(x, N);
    return s;
}

static __global__ void half_barrier(float *x)
{
    if (threadIdx.x < 32) __syncthreads();
    x[threadIdx.x] = 0;
}
static int divergent_barrier(void)
{
    float *x = fresh(N);
    VVCU_LAUNCH("test", half_barrier, 1, N, 0, x);
    release(x, N);
    return 0;
}

static __global__ void two_barriers(float *x)
{
    if (threadIdx.x < 32) __syncthreads();
    else __syncthreads();
    x[threadIdx.x] = 0;
}
static int different_barriers(void)
{
    float *x = fresh(N);
    VVCU_LAUNCH("test", two_barriers, 1, N, 0, x);
    release(x, N);
    return 0;
}

static __global__ void half_shuffle(float *x)
{
    float v = 1;
    if (threadIdx.x < 16) v = __shfl_xor_sync(0xffffffffu, v, 1);
    x[threadIdx.x] = v;
}
static int divergent_shuffle(void)
{
    float *x = fresh(N);
    VVCU_LAUNCH("test", half_shuffle, 1, N, 0, x);
    release(x, N);
    return 0;
}

static __global__ void shared_unset(float *x)
{
    VVCU_SHARED(float, s);
    if (threadIdx.x > 0) s[threadIdx.x] = (float)threadIdx.x;
    __syncthreads();
    x[threadIdx.x] = s[threadIdx.x];
}
static int uninitialised_shared(void)
{
    float *x = fresh(N);
    VVCU_LAUNCH("test", shared_unset, 1, N, N * sizeof(float), x);
    const int s = counts(x);
    release(x, N);
    return s;
}

/* all threads write one number: the last one stays, and which that is depends on VVSI_ORDER */
static __global__ void all_write(float *x) { x[0] = (float)(N - 1 - threadIdx.x); }
static int race(void)
{
    float *x = fresh(N);
    start(x, N);
    VVCU_LAUNCH("test", all_write, 1, N, 0, x);
    const int s = counts(x);
    release(x, N);
    return s;
}

static __global__ void block_races(float *x) { x[0] = (float)(gridDim.x - 1 - blockIdx.x); }
static int race_of_blocks(void)
{
    float *x = fresh(N);
    start(x, N);
    VVCU_LAUNCH("test", block_races, 4, 1, 0, x);
    const int s = counts(x);
    release(x, N);
    return s;
}

static int large_block(void)
{
    float *x = fresh(N);
    VVCU_LAUNCH("test", count, 1, 2048, 0, x, N);
    return 0;
}

static const struct {
    const char *name;
    int (*make)(void);
} ALL[] = {{"nothing_wrong", nothing_wrong},
           {"beyond_the_end", beyond_the_end},
           {"before_the_start", before_the_start},
           {"use_after_free", use_after_free},
           {"freed_in_a_struct", freed_in_a_struct},
           {"write_after_free", write_after_free},
           {"leak", leak},
           {"double_free", double_free},
           {"uninitialised", uninitialised},
           {"host_reads", host_reads},
           {"wrong_direction", wrong_direction},
           {"long_download", long_download},
           {"host_pointer", host_pointer},
           {"host_pointer_in_a_struct", host_pointer_in_a_struct},
           {"short_matrix", short_matrix},
           {"early_change", early_change},
           {"missing_barrier", missing_barrier},
           {"divergent_barrier", divergent_barrier},
           {"different_barriers", different_barriers},
           {"divergent_shuffle", divergent_shuffle},
           {"uninitialised_shared", uninitialised_shared},
           {"race", race},
           {"race_of_blocks", race_of_blocks},
           {"large_block", large_block}};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof ALL / sizeof *ALL; i++)
        if (!strcmp(argv[1], ALL[i].name)) return ALL[i].make();
    fprintf(stderr, "usage: mistakes NAME\n");
    return 2;
}
