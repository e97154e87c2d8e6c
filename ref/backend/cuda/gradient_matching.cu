/* y = sum over scales k of (sum over neighbours |R_j - R_i|) / M_k
 * dy/dR_j += sign(R_j - R_i) / M_k,  dy/dR_i -= the same.   The way from R to p is depth_map.cu's. */
#include "depth_map.h"

/* What scale k sees of a map: rows and columns 0, step, 2 step ...; a pair is `reach` pixels apart. */
typedef struct {
    int64_t step, reach;
} grid;

static __device__ grid scale(vvb_gm gm, int64_t k)
{
    const int far = gm == VVB_GM_MEGADEPTH;
    const int64_t step = far ? max((int64_t)1, 2 * k) : (int64_t)1 << k;
    const grid g = {step, far ? 2 * step : step};
    return g;
}

static vvcu_residual kind(vvb_gm gm)
{
    return gm == VVB_GM_LS                                ? VVCU_LEAST_SQUARES
           : gm == VVB_GM_PAPER || gm == VVB_GM_PAPER_SUM ? VVCU_SCALED_LABEL
                                                          : VVCU_NORMALISED;
}

/* All maps: their sizes, what is done with them, and r [B,N]. */
typedef struct {
    vvcu_depth g;
    const vvcu_map *map;
    const double *r;
    int64_t Hh, Ww, scales;
    vvb_gm gm;
} problem;

static __device__ int valid(const problem &q, int64_t b, int64_t i)
{
    return vvcu_is_valid(q.g.mask ? q.g.mask + b * q.g.N : NULL, q.g.d + b * q.g.N, i);
}

/* |R_j - R_i| to the right of pixel (y,x), a valid one, and below it */
static __device__ double from(const problem &q, int64_t b, int64_t reach, int64_t y, int64_t x)
{
    const int64_t i = y * q.Ww + x, right = i + reach, below = i + reach * q.Ww;
    const double *r = q.r + b * q.g.N;
    double sum = 0;
    if (x + reach < q.Ww && valid(q, b, right)) sum = fabs(r[right] - r[i]);
    if (y + reach < q.Hh && valid(q, b, below)) sum += fabs(r[below] - r[i]);
    return sum;
}

/* seen, sum [B,scales]: the valid pixels of each scale, and what they add up to */
static __global__ void scale_sums(double *seen, double *sum, problem q)
{
    VVCU_FOR_ROWS(n, q.g.B * q.scales) {
        const int64_t b = n / q.scales;
        const grid g = scale(q.gm, n % q.scales);
        const int64_t rows = (q.Hh + g.step - 1) / g.step, columns = (q.Ww + g.step - 1) / g.step;
        double pixels = 0, all = 0;
        for (int64_t k = threadIdx.x; k < rows * columns; k += blockDim.x) {
            const int64_t y = k / columns * g.step, x = k % columns * g.step;
            if (!valid(q, b, y * q.Ww + x)) continue;
            pixels++;
            all += from(q, b, g.reach, y, x);
        }
        pixels = vvcu_block_sum(pixels);
        all = vvcu_block_sum(all);
        if (threadIdx.x > 0) continue;
        seen[n] = pixels;
        sum[n] = all;
    }
}

/* w [scales]: one over the valid pixels of each scale, over all maps that count; 0 where there are none. y NULL: not wanted */
static __global__ void finish(float *y, double *w, const double *seen, const double *sum, problem q)
{
    double all = 0;
    for (int64_t k = 0; k < q.scales; k++) {
        double n = 0, differences = 0;
        for (int64_t b = 0; b < q.g.B; b++) {
            if (!q.map[b].counted) continue;
            n += seen[b * q.scales + k];
            differences += sum[b * q.scales + k];
        }
        w[k] = n == 0 ? 0 : q.gm == VVB_GM_PAPER_SUM ? 1 : 1 / n;
        all += w[k] * differences;
    }
    if (y) y[0] = (float)all;
}

typedef struct {
    vvcu_map *map;
    double *r, *v, *seen, *sum, *w;
} rooms;

/* Carves all from the scratch memory, aligns, and sums up every scale; y may be NULL. 0 (and a failure kept) without memory. */
static int begin(const char *function, rooms *o, problem *q, float *y)
{
    const int64_t B = q->g.B, size = (int64_t)sizeof(double);
    const int64_t maps = vvcu_aligned(B * (int64_t)sizeof *o->map), pixels = vvcu_aligned(B * q->g.N * size);
    const int64_t sums = vvcu_aligned(B * VVB_MAX_SCALES * size);
    char *room = (char *)vvcu_scratch(function, maps + 2 * pixels + 2 * sums + VVB_MAX_SCALES * size);
    if (!room) return 0;
    o->map = (vvcu_map *)(void *)room;
    o->r = (double *)(void *)(room + maps);
    o->v = (double *)(void *)(room + maps + pixels);
    o->seen = (double *)(void *)(room + maps + 2 * pixels);
    o->sum = (double *)(void *)(room + maps + 2 * pixels + sums);
    o->w = (double *)(void *)(room + maps + 2 * pixels + 2 * sums);
    q->map = o->map;
    q->r = o->r;
    vvcu_align_maps(function, o->map, &q->g);
    vvcu_maps_residual(function, o->r, o->map, &q->g);
    VVCU_LAUNCH(function, scale_sums, VVCU_ROWS(B * q->scales), VVCU_MAP_BLOCK, 0, o->seen, o->sum, *q);
    VVCU_LAUNCH(function, finish, 1, 1, 0, y, o->w, o->seen, o->sum, *q);
    return 1;
}

void vvb_gradient_matching_fwd(vv_real *y, int32_t *info, const vv_real *p, const vv_real *d, const int32_t *mask,
                               const int32_t *at, int64_t B, int64_t Hh, int64_t Ww, const vvb_depth_args *a)
{
    static const char *const name = "gradient_matching_fwd";
    problem q = {vvcu_depth_of(p, d, mask, at, B, Hh * Ww, kind(a->gm), a), NULL, NULL, Hh, Ww, a->scales, a->gm};
    rooms o;
    if (begin(name, &o, &q, y)) vvcu_maps_info(name, info, o.map, B);
}

/* The sign of R_j - R_i, 0 unless j, `way` pixels behind i, is inside and valid. */
static __device__ double pull(const problem &q, int64_t b, int64_t i, int64_t way, int inside)
{
    const double *r = q.r + b * q.g.N;
    return inside && valid(q, b, i + way) ? vvcu_sign(r[i + way] - r[i]) : 0;
}

/* v = dy/dR: each pixel asks its neighbours on all scales that see it. sign(-x) = -sign(x), so that four of a kind are subtracted. */
static __global__ void slopes(double *v, const double *w, problem q)
{
    VVCU_FOR(n, q.g.B * q.g.N) {
        const int64_t b = n / q.g.N, i = n % q.g.N, y = i / q.Ww, x = i % q.Ww;
        double sum = 0;
        for (int64_t k = 0; k < q.scales && valid(q, b, i); k++) {
            const grid g = scale(q.gm, k);
            if (y % g.step || x % g.step) continue;
            sum -= w[k] *
                   (pull(q, b, i, g.reach, x + g.reach < q.Ww) + pull(q, b, i, -g.reach, x >= g.reach) +
                    pull(q, b, i, g.reach * q.Ww, y + g.reach < q.Hh) + pull(q, b, i, -g.reach * q.Ww, y >= g.reach));
        }
        v[n] = sum;
    }
}

void vvb_gradient_matching_bwd(vv_real *dp, const vv_real *dy, const vv_real *p, const vv_real *d, const int32_t *mask,
                               const int32_t *at, int64_t B, int64_t Hh, int64_t Ww, const vvb_depth_args *a, int acc)
{
    static const char *const name = "gradient_matching_bwd";
    problem q = {vvcu_depth_of(p, d, mask, at, B, Hh * Ww, kind(a->gm), a), NULL, NULL, Hh, Ww, a->scales, a->gm};
    rooms o;
    if (!dp || !begin(name, &o, &q, NULL)) return;
    VVCU_LAUNCH(name, slopes, VVCU_GRID(B * q.g.N), VVCU_BLOCK, 0, o.v, o.w, q);
    vvcu_maps_backward(name, dp, o.map, &q.g, o.v, dy, acc);
}
