/* s = scale q k^T,   p = softmax(s),   o = p v,   lse = log sum exp s
 * dv = p^T dO,   dP = dO v^T,   ds = p (dP - delta),   dq = scale ds k,   dk = scale ds^T q,   delta = sum_d dO o
 *
 * A block owns TILE rows of a result, of one head: of o or dq, then it walks the keys they see, or of dk and dv, then it walks
 * the queries that see them, of all heads that share them. It takes TILE of the others at a time; their scores with its rows stay
 * in registers, p and ds pass through shared memory, and nothing as large as a segment squared exists anywhere. Forward the
 * largest score of a row grows from tile to tile: what was added up before is scaled down to the new one (Milakov, Gimelshein
 * 2018, arXiv:1805.02867). Rows have one owner and a fixed order, so there are no atomics, and the same bits every time.
 *
 * Two products make all of it. Thread (ty,tx) of 8 x 16 has of a tile the rows ty + 8r and, of the
 *   inner product  s[i,j] = sum_d a[i,d] b[j,d]     the columns tx + 16c: 8 x 4 sums, each step reads 12 vectors for 128 multiplications
 *   outer product  c[i,d] += sum_j p[i,j] x[j,d]    all columns d of a slab: W / 16 of them
 * The 16 threads of a row are half a warp, so that maxima and sums of rows are shuffles. W is the width of a slab of the head's D
 * columns: wider heads are several slabs, whose blocks compute the scores again. */
#include <stdlib.h>

#include "cuda.h"

#include "elementary_device.h"

enum { TILE = 64, THREADS = 128, ROWS = 8, COLS = 4 };
enum {
    DEPTH = 32,     /* columns of both matrices that an inner product holds in shared memory */
    LD = DEPTH + 4, /* 4 more: rows next to each other begin in other banks */
    DEEP = 16,      /* rows of x that an outer product holds */
    WIDEST = 256,   /* a slab */
    LDP = TILE + 4,
    ROOM = 2 * TILE * LD
};
static_assert(ROOM >= DEEP * WIDEST, "the room of an inner product has to hold the rows of an outer one");

/* What all blocks share. */
typedef struct {
    const float *q, *k, *v, *dO, *lse, *delta;
    float *o, *save, *dq, *dk, *dv;
    int64_t ldq, ldk, ldv, ldo, H, D;
    int per_key, causal; /* query heads for each key head */
    float scale;
    vvb_precision operands;
} problem;

/* A tile of one segment: its queries begin at q, its keys at k; `at` is the tile's first row in it. */
typedef struct {
    int32_t q, k, n, m, at;
} query_tile;

/* A tile of a key segment, and the query segments that look at it: first <= s < end. */
typedef struct {
    int32_t k, m, at, first, end;
} key_tile;

/* n <= TILE rows of D numbers; whatever lies beyond is zeros */
typedef struct {
    const float *at;
    int64_t ld, D;
    int n;
    int whole; /* four at a time: rows begin at multiples of 16 bytes */
} rows;

static __device__ rows rows_at(const float *at, int64_t ld, int64_t D, int64_t left)
{
    const int whole = ld % 4 == 0 && (uintptr_t)at % 16 == 0;
    const rows x = {at, ld, D, (int)min(left, (int64_t)TILE), whole};
    return x;
}

static __device__ int seen(int causal, int n, int m, int end) { return causal ? m - n + end : m; }

static __device__ float4 four(const rows &x, int r, int64_t d, vvb_precision f)
{
    float4 y = {0, 0, 0, 0};
    if (r >= x.n || d >= x.D) return y;
    const float *from = x.at + r * x.ld + d;
    if (x.whole && d + 4 <= x.D) y = *(const float4 *)from;
    else {
        y.x = from[0];
        if (d + 1 < x.D) y.y = from[1];
        if (d + 2 < x.D) y.z = from[2];
        if (d + 3 < x.D) y.w = from[3];
    }
    y.x = vvcu_nearest(y.x, f), y.y = vvcu_nearest(y.y, f), y.z = vvcu_nearest(y.z, f), y.w = vvcu_nearest(y.w, f);
    return y;
}

/* to [height,ld] = rows from r0 on and columns from d0 on, width of them, a multiple of 4 */
static __device__ void fetch(float *to, int ld, const rows &x, int r0, int64_t d0, int height, int width,
                             vvb_precision f)
{
    for (int t = (int)threadIdx.x; t < height * width / 4; t += THREADS) {
        const int r = t / (width / 4), d = t % (width / 4) * 4;
        *(float4 *)(to + r * ld + d) = four(x, r0 + r, d0 + d, f);
    }
}

static __device__ int own_row(int r) { return (int)threadIdx.x / 16 + 8 * r; }
static __device__ int own_column(int c) { return (int)threadIdx.x % 16 + 16 * c; }

/* s[r][c] = the inner product of this thread's rows of a and b */
static __device__ void inner(float (&s)[ROWS][COLS], float *room, const rows &a, const rows &b, vvb_precision f)
{
    float *left = room, *right = room + TILE * LD;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++) s[r][c] = 0;
    for (int64_t d0 = 0; d0 == 0 || d0 < a.D; d0 += DEPTH) { /* once at least: who writes p relies on the barriers */
        const int depth = (int)min(a.D - d0, (int64_t)DEPTH);
        __syncthreads(); /* the room may still be read */
        fetch(left, LD, a, 0, d0, TILE, DEPTH, f);
        fetch(right, LD, b, 0, d0, TILE, DEPTH, f);
        __syncthreads();
        for (int d = 0; d < depth; d += 4) {
            float4 y[COLS];
#pragma unroll
            for (int c = 0; c < COLS; c++) y[c] = *(const float4 *)(right + own_column(c) * LD + d);
#pragma unroll
            for (int r = 0; r < ROWS; r++) {
                const float4 x = *(const float4 *)(left + own_row(r) * LD + d);
#pragma unroll
                for (int c = 0; c < COLS; c++)
                    s[r][c] = fmaf(x.w, y[c].w, fmaf(x.z, y[c].z, fmaf(x.y, y[c].y, fmaf(x.x, y[c].x, s[r][c]))));
            }
        }
    }
}

/* A slab of W = 64 F + 16 S columns: a thread has F times four neighbours, and S single ones. */
template <int W> struct slab {
    enum { F = W / 64, S = W % 64 / 16, N = 4 * F + S };
    static __device__ int column(int c)
    {
        const int tx = (int)threadIdx.x % 16;
        return c < 4 * F ? 64 * (c / 4) + 4 * tx + c % 4 : 64 * F + 16 * (c - 4 * F) + tx;
    }
    static __device__ void read(float (&y)[N], const float *row)
    {
        const int tx = (int)threadIdx.x % 16;
#pragma unroll
        for (int c = 0; c < F; c++) {
            const float4 v = *(const float4 *)(row + 64 * c + 4 * tx);
            y[4 * c] = v.x, y[4 * c + 1] = v.y, y[4 * c + 2] = v.z, y[4 * c + 3] = v.w;
        }
#pragma unroll
        for (int c = 0; c < S; c++) y[4 * F + c] = row[64 * F + 16 * c + tx];
    }
};

/* sum[r][c] += p [TILE,TILE], of which this half of a warp wrote its rows, times x, columns from d0 on */
template <int W>
static __device__ void outer(float (&sum)[ROWS][slab<W>::N], const float *p, float *room, const rows &x, int64_t d0,
                             vvb_precision f)
{
    for (int j0 = 0; j0 < x.n; j0 += DEEP) {
        __syncthreads(); /* the room may still be read; p is written */
        fetch(room, W, x, j0, d0, DEEP, W, f);
        __syncthreads();
        for (int j = 0; j < DEEP; j += 4) {
            float4 q[ROWS];
#pragma unroll
            for (int r = 0; r < ROWS; r++) q[r] = *(const float4 *)(p + own_row(r) * LDP + j0 + j);
#pragma unroll
            for (int e = 0; e < 4; e++) {
                float y[slab<W>::N];
                slab<W>::read(y, room + (j + e) * W);
#pragma unroll
                for (int r = 0; r < ROWS; r++) {
                    const float share = e == 0 ? q[r].x : e == 1 ? q[r].y : e == 2 ? q[r].z : q[r].w;
#pragma unroll
                    for (int c = 0; c < slab<W>::N; c++) sum[r][c] = fmaf(share, y[c], sum[r][c]);
                }
            }
        }
    }
}

/* out[row,d0 + column] = factor sum */
template <int W>
static __device__ void put_row(float *out, const float (&sum)[slab<W>::N], float factor, int64_t d0, int64_t D)
{
#pragma unroll
    for (int c = 0; c < slab<W>::N; c++)
        if (d0 + slab<W>::column(c) < D) out[d0 + slab<W>::column(c)] = factor * sum[c];
}

/* of the 16 threads that share a row */
static __device__ float row_max(float x)
{
#pragma unroll
    for (int step = 8; step > 0; step /= 2) x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, step));
    return x;
}

static __device__ float row_sum(float x)
{
#pragma unroll
    for (int step = 8; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffu, x, step);
    return x;
}

/* ---- forward ------------------------------------------------------------------------------------------------------------------ */
/* The scores s of keys j0 + column become p, which goes to shared memory; max, sum and o follow. A NaN is passed over by fmaxf and
 * shows in the sum; scores of -Inf alone are not subtracted from each other, their sum stays 0. */
template <int W>
static __device__ void soften(float (&s)[ROWS][COLS], float (&o)[ROWS][slab<W>::N], float *max, float *sum, float *p,
                              const problem &g, const query_tile &t, int j0)
{
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const int end = min(t.m, seen(g.causal, t.n, t.m, t.at + own_row(r) + 1));
        float most = max[r];
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            s[r][c] = j0 + own_column(c) < end ? g.scale * s[r][c] : -INFINITY;
            most = fmaxf(most, s[r][c]);
        }
        most = row_max(most);
        const float shift = most == -INFINITY ? 0 : most, keep = vv_exp_bounded(max[r] - shift);
        sum[r] *= keep;
        max[r] = most;
#pragma unroll
        for (int c = 0; c < slab<W>::N; c++) o[r][c] *= keep;
#pragma unroll
        for (int c = 0; c < COLS; c++) {
            const float e = vv_exp_bounded(s[r][c] - shift);
            sum[r] += e;
            p[own_row(r) * LDP + own_column(c)] = vvcu_nearest(e, g.operands);
        }
    }
}

template <int W> static __global__ void __launch_bounds__(THREADS) forward(problem g, const query_tile *tiles)
{
    __shared__ __align__(16) float room[ROOM];
    __shared__ __align__(16) float p[TILE * LDP];
    const query_tile t = tiles[blockIdx.x];
    const int64_t h = blockIdx.y, d0 = (int64_t)blockIdx.z * W, key = h / g.per_key * g.D, first = t.q + t.at;
    const rows q = rows_at(g.q + first * g.ldq + h * g.D, g.ldq, g.D, t.n - t.at);
    const int keys = min(t.m, seen(g.causal, t.n, t.m, t.at + q.n));
    float o[ROWS][slab<W>::N] = {{0}}, max[ROWS], sum[ROWS] = {0};
#pragma unroll
    for (int r = 0; r < ROWS; r++) max[r] = -INFINITY;
    for (int j0 = 0; j0 < keys; j0 += TILE) {
        float s[ROWS][COLS];
        inner(s, room, q, rows_at(g.k + (t.k + j0) * g.ldk + key, g.ldk, g.D, keys - j0), g.operands);
        soften<W>(s, o, max, sum, p, g, t, j0);
        outer<W>(o, p, room, rows_at(g.v + (t.k + j0) * g.ldv + key, g.ldv, g.D, keys - j0), d0, g.operands);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        const float all = row_sum(sum[r]);
        const int64_t i = first + own_row(r);
        if (own_row(r) >= q.n) continue;
        put_row<W>(g.o + i * g.ldo + h * g.D, o[r], keys > 0 ? 1 / all : 0, d0, g.D);
        if (d0 > 0 || own_column(0) > 0) continue;
        g.save[i * g.H + h] = keys == 0  ? -INFINITY
                              : all == 0 ? NAN /* Inf - Inf */
                                         : (float)((double)max[r] + vv_log((double)all));
    }
}

/* ---- backward ----------------------------------------------------------------------------------------------------------------- */
/* delta [Nq,H]: a warp for each */
static __global__ void deltas(float *delta, problem g, int64_t n)
{
    const int64_t at = ((int64_t)blockIdx.x * blockDim.x + threadIdx.x) / 32;
    if (at >= n) return;
    const float *dO = g.dO + at / g.H * g.ldo + at % g.H * g.D, *o = g.o + at / g.H * g.ldo + at % g.H * g.D;
    double sum = 0;
    for (int64_t d = threadIdx.x % 32; d < g.D; d += 32) sum += (double)dO[d] * (double)o[d];
    for (int step = 16; step > 0; step /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, step);
    if (threadIdx.x % 32 == 0) delta[at] = (float)sum;
}

/* A row of dq: queries are the rows of the scores. */
template <int W> static __global__ void __launch_bounds__(THREADS) query_grad(problem g, const query_tile *tiles)
{
    __shared__ __align__(16) float room[ROOM];
    __shared__ __align__(16) float ds[TILE * LDP];
    const query_tile t = tiles[blockIdx.x];
    const int64_t h = blockIdx.y, d0 = (int64_t)blockIdx.z * W, key = h / g.per_key * g.D, first = t.q + t.at;
    const rows q = rows_at(g.q + first * g.ldq + h * g.D, g.ldq, g.D, t.n - t.at);
    const rows dO = rows_at(g.dO + first * g.ldo + h * g.D, g.ldo, g.D, t.n - t.at);
    const int keys = min(t.m, seen(g.causal, t.n, t.m, t.at + q.n));
    float dq[ROWS][slab<W>::N] = {{0}};
    for (int j0 = 0; j0 < keys; j0 += TILE) {
        const rows k = rows_at(g.k + (t.k + j0) * g.ldk + key, g.ldk, g.D, keys - j0);
        float s[ROWS][COLS], dP[ROWS][COLS];
        inner(s, room, q, k, g.operands);
        inner(dP, room, dO, rows_at(g.v + (t.k + j0) * g.ldv + key, g.ldv, g.D, keys - j0), g.operands);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const int64_t at = (first + own_row(r)) * g.H + h;
            const int there = own_row(r) < q.n, end = seen(g.causal, t.n, t.m, t.at + own_row(r) + 1);
            const float lse = there ? g.lse[at] : 0, delta = there ? g.delta[at] : 0;
#pragma unroll
            for (int c = 0; c < COLS; c++) {
                const int sees = there && j0 + own_column(c) < min(t.m, end);
                const float p = sees ? vv_exp_bounded(g.scale * s[r][c] - lse) : 0;
                ds[own_row(r) * LDP + own_column(c)] = sees ? vvcu_nearest(p * (dP[r][c] - delta), g.operands) : 0;
            }
        }
        outer<W>(dq, ds, room, k, d0, g.operands);
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        if (own_row(r) < q.n) put_row<W>(g.dq + (first + own_row(r)) * g.ldq + h * g.D, dq[r], g.scale, d0, g.D);
}

/* s and dP of keys at ... and queries i0 ... become p and ds, keys are the rows */
static __device__ void scores_grad(float (&s)[ROWS][COLS], float (&dP)[ROWS][COLS], const problem &g, const key_tile &t,
                                   int64_t q0, int n, int i0, int64_t h)
{
#pragma unroll
    for (int c = 0; c < COLS; c++) {
        const int i = i0 + own_column(c), there = i < n, end = min(t.m, seen(g.causal, n, t.m, i + 1));
        const float lse = there ? g.lse[(q0 + i) * g.H + h] : 0, delta = there ? g.delta[(q0 + i) * g.H + h] : 0;
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const int sees = there && t.at + own_row(r) < end;
            s[r][c] = sees ? vv_exp_bounded(g.scale * s[r][c] - lse) : 0;
            dP[r][c] = sees ? s[r][c] * (dP[r][c] - delta) : 0;
        }
    }
}

static __device__ void share(float *p, const float (&s)[ROWS][COLS], vvb_precision f)
{
    __syncthreads(); /* p may still be read */
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int c = 0; c < COLS; c++) p[own_row(r) * LDP + own_column(c)] = vvcu_nearest(s[r][c], f);
}

/* A row of dk and dv, of one key head: keys are the rows of the scores. */
template <int W>
static __global__ void __launch_bounds__(THREADS) key_grad(problem g, const key_tile *tiles, const int32_t *cu_q)
{
    __shared__ __align__(16) float room[ROOM];
    __shared__ __align__(16) float p[TILE * LDP];
    const key_tile t = tiles[blockIdx.x];
    const int64_t hk = blockIdx.y, d0 = (int64_t)blockIdx.z * W, first = t.k + t.at;
    const rows k = rows_at(g.k + first * g.ldk + hk * g.D, g.ldk, g.D, t.m - t.at);
    const rows v = rows_at(g.v + first * g.ldv + hk * g.D, g.ldv, g.D, t.m - t.at);
    float dk[ROWS][slab<W>::N] = {{0}}, dv[ROWS][slab<W>::N] = {{0}};
    for (int segment = t.first; segment < t.end; segment++) {
        const int64_t q0 = cu_q[segment];
        const int n = cu_q[segment + 1] - cu_q[segment], before = g.causal ? max(0, t.at - (t.m - n)) : 0;
        for (int64_t h = hk * g.per_key; h < (hk + 1) * g.per_key; h++)
            for (int i0 = before / TILE * TILE; i0 < n; i0 += TILE) {
                const rows q = rows_at(g.q + (q0 + i0) * g.ldq + h * g.D, g.ldq, g.D, n - i0);
                const rows dO = rows_at(g.dO + (q0 + i0) * g.ldo + h * g.D, g.ldo, g.D, n - i0);
                float s[ROWS][COLS], ds[ROWS][COLS];
                inner(s, room, k, q, g.operands);
                inner(ds, room, v, dO, g.operands);
                scores_grad(s, ds, g, t, q0, n, i0, h);
                if (g.dv) {
                    share(p, s, g.operands);
                    outer<W>(dv, p, room, dO, d0, g.operands);
                }
                if (g.dk) {
                    share(p, ds, g.operands);
                    outer<W>(dk, p, room, q, d0, g.operands);
                }
            }
    }
#pragma unroll
    for (int r = 0; r < ROWS; r++) {
        if (own_row(r) >= k.n) continue;
        if (g.dk) put_row<W>(g.dk + (first + own_row(r)) * g.ldk + hk * g.D, dk[r], g.scale, d0, g.D);
        if (g.dv) put_row<W>(g.dv + (first + own_row(r)) * g.ldv + hk * g.D, dv[r], 1, d0, g.D);
    }
}

/* ---- the contract ------------------------------------------------------------------------------------------------------------- */
static int64_t tiles_of(const int32_t *cu, int64_t s) { return (cu[s + 1] - cu[s] + TILE - 1) / TILE; }

static int64_t all_tiles(const int32_t *cu, int64_t segments)
{
    int64_t n = 0;
    for (int64_t s = 0; s < segments; s++) n += tiles_of(cu, s);
    return n;
}

/* The tiles of all query segments, on the device; NULL (and a failure kept) without memory, or when there are none. */
static const query_tile *query_tiles(const char *function, const vvb_attention_args *a, int64_t n)
{
    const int32_t *cu_k = a->cu_k ? a->cu_k : a->cu_q;
    query_tile *list = (query_tile *)vv_calloc(n, sizeof *list);
    if (!list) {
        vvcu_fail(function, "out of memory");
        return NULL;
    }
    int64_t used = 0;
    for (int64_t s = 0; s < a->S; s++) {
        const int64_t key = a->k_of ? a->k_of[s] : s;
        for (int64_t i = 0; i < tiles_of(a->cu_q, s); i++)
            list[used++] = {a->cu_q[s], cu_k[key], a->cu_q[s + 1] - a->cu_q[s], cu_k[key + 1] - cu_k[key],
                            (int32_t)(i * TILE)};
    }
    const void *there = vvcu_upload_table(function, list, n * (int64_t)sizeof *list);
    free(list);
    return (const query_tile *)there;
}

/* The tiles of all key segments, then cu_q. */
static const key_tile *key_tiles(const char *function, const vvb_attention_args *a, int64_t n)
{
    const int32_t *cu_k = a->cu_k ? a->cu_k : a->cu_q;
    const int64_t bytes = n * (int64_t)sizeof(key_tile) + (a->S + 1) * (int64_t)sizeof(int32_t);
    key_tile *list = (key_tile *)vv_calloc(bytes, 1);
    if (!list) {
        vvcu_fail(function, "out of memory");
        return NULL;
    }
    int64_t used = 0, first = 0;
    for (int64_t g = 0; g < (a->cu_k ? a->Sk : a->S); g++) {
        int64_t end = a->k_of ? first : vv_min(g + 1, a->S);
        while (a->k_of && end < a->S && a->k_of[end] == g) end++;
        for (int64_t j = 0; j < tiles_of(cu_k, g); j++)
            list[used++] = {cu_k[g], cu_k[g + 1] - cu_k[g], (int32_t)(j * TILE), (int32_t)first, (int32_t)end};
        first = end;
    }
    memcpy(list + n, a->cu_q, (size_t)(a->S + 1) * sizeof(int32_t));
    const void *there = vvcu_upload_table(function, list, bytes);
    free(list);
    return (const key_tile *)there;
}

/* One slab, as narrow as it may be; wider heads take several of the widest. */
#define LAUNCH_SLAB(function, kernel, W, tiles, heads, ...)                                                            \
    VVCU_LAUNCH(function, kernel<W>,                                                                                   \
                dim3((unsigned)(tiles), (unsigned)(heads), (unsigned)vv_max((g.D + (W)-1) / (W), 1)), THREADS, 0,      \
                __VA_ARGS__)
#define LAUNCH(function, kernel, widest, tiles, heads, ...)                                                            \
    do {                                                                                                               \
        if (g.D <= 32) LAUNCH_SLAB(function, kernel, 32, tiles, heads, __VA_ARGS__);                                   \
        else if (g.D <= 64) LAUNCH_SLAB(function, kernel, 64, tiles, heads, __VA_ARGS__);                              \
        else if (g.D <= 80) LAUNCH_SLAB(function, kernel, 80, tiles, heads, __VA_ARGS__);                              \
        else if (g.D <= 128 || (widest) == 128) LAUNCH_SLAB(function, kernel, 128, tiles, heads, __VA_ARGS__);         \
        else LAUNCH_SLAB(function, kernel, widest, tiles, heads, __VA_ARGS__);                                         \
    } while (0)

static problem problem_of(const vvb_attention_args *a, const float *q, int64_t ldq, const float *k, int64_t ldk,
                          const float *v, int64_t ldv, int64_t ldo)
{
    problem g = {};
    g.q = q, g.k = k, g.v = v;
    g.ldq = ldq, g.ldk = ldk, g.ldv = ldv, g.ldo = ldo;
    g.H = a->H, g.D = a->D;
    g.per_key = (int)(a->H / vv_max(a->Hkv, 1));
    g.causal = a->causal;
    g.scale = (float)a->scale;
    g.operands = vvcu_operands();
    return g;
}

void vvb_attention_fwd(vv_real *o, int64_t ldo, vv_real *lse, const vv_real *q, int64_t ldq, const vv_real *k,
                       int64_t ldk, const vv_real *v, int64_t ldv, const vvb_attention_args *a)
{
    static const char *const name = "attention_fwd";
    const int64_t n = all_tiles(a->cu_q, a->S);
    if (!vvcu_ready() || n == 0 || a->H == 0) return;
    const query_tile *tiles = query_tiles(name, a, n);
    if (!tiles) return;
    problem g = problem_of(a, q, ldq, k, ldk, v, ldv, ldo);
    g.o = o, g.save = lse;
    LAUNCH(name, forward, WIDEST, n, a->H, g, tiles);
}

void vvb_attention_bwd(vv_real *dq, vv_real *dk, vv_real *dv, const vv_real *dO, const vv_real *o, int64_t ldo,
                       const vv_real *lse, const vv_real *q, int64_t ldq, const vv_real *k, int64_t ldk,
                       const vv_real *v, int64_t ldv, const vvb_attention_args *a)
{
    static const char *const name = "attention_bwd";
    const int64_t pairs = a->cu_q[a->S] * a->H, n = all_tiles(a->cu_q, a->S);
    const int64_t m = a->cu_k ? all_tiles(a->cu_k, a->Sk) : n;
    if (!vvcu_ready() || a->H == 0) return;
    problem g = problem_of(a, q, ldq, k, ldk, v, ldv, ldo);
    float *delta = (float *)vvcu_scratch(name, pairs * (int64_t)sizeof *delta);
    if (!delta) return;
    g.o = (float *)o, g.dO = dO, g.lse = lse, g.dq = dq, g.dk = dk, g.dv = dv;
    if (pairs > 0) VVCU_LAUNCH(name, deltas, (unsigned)((pairs + 3) / 4), 128, 0, delta, g, pairs);
    g.delta = delta;
    const query_tile *queries = dq && n > 0 ? query_tiles(name, a, n) : NULL;
    if (queries) LAUNCH(name, query_grad, WIDEST, n, a->H, g, queries);
    const key_tile *keys = (dk || dv) && m > 0 ? key_tiles(name, a, m) : NULL;
    if (keys) LAUNCH(name, key_grad, 128, m, a->Hkv, g, keys, (const int32_t *)(keys + m));
}
