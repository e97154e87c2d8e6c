/* y = sum |R| / sum M, or the mean of mean |R|;   dy/dR = sign(R) / sum M, or sign(R) / (maps M)
 * The way from R to p is depth_map.cu's. */
#include "depth_map.h"

/* What a map's sum |R| is multiplied by. */
static __device__ double weight(const vvcu_map *map, int64_t B, int64_t b, int image)
{
    double pixels = 0, maps = 0;
    for (int64_t i = 0; i < B; i++)
        if (map[i].counted) {
            pixels += (double)map[i].M;
            maps++;
        }
    return !map[b].counted ? 0 : image ? 1 / (maps * (double)map[b].M) : 1 / pixels;
}

struct size_of_residual { /* numbers that are not negative sort as their bits do */
    const double *r;
    const float *d;
    const int32_t *mask;
    __device__ int operator()(int64_t i, uint64_t *key) const
    {
        const double size = fabs(r[i]);
        memcpy(key, &size, sizeof *key);
        return vvcu_is_valid(mask, d, i);
    }
};

struct pixel_of_size { /* of those with residuals of one size, the pixel */
    size_of_residual item;
    uint64_t size;
    __device__ int operator()(int64_t i, uint64_t *key) const
    {
        const int is = item(i, key) && *key == size;
        *key = (uint64_t)i;
        return is;
    }
};

/* Sets all but the smallest floor((1 - part) M) residuals of each map to 0; of equal ones the first pixels stay. */
static __global__ void trim(double *all, const vvcu_map *map, vvcu_depth g, double part)
{
    VVCU_FOR_ROWS(b, g.B) {
        double *r = all + b * g.N, below = 0;
        const size_of_residual item = {r, g.d + b * g.N, g.mask ? g.mask + b * g.N : NULL};
        const int64_t keep = (int64_t)((1 - part) * (double)map[b].M);
        uint64_t last = 0, pixel = 0, size;
        if (!map[b].counted || keep >= map[b].M) continue;
        if (keep > 0) {
            last = vvcu_block_nth(item, g.N, keep - 1, 64);
            VVCU_BLOCK_SUM(below, g.N, i, item(i, &size) && size < last);
            const pixel_of_size of_last = {item, last};
            pixel = vvcu_block_nth(of_last, g.N, keep - 1 - (int64_t)below, 32);
        }
        __syncthreads(); /* r is still read */
        for (int64_t i = threadIdx.x; i < g.N; i += blockDim.x)
            if (item(i, &size) && (keep == 0 || size > last || (size == last && (uint64_t)i > pixel))) r[i] = 0;
    }
}

static vvcu_residual kind(const vvb_depth_args *a)
{
    return a->align == VVB_ALIGN_LS ? VVCU_LEAST_SQUARES : VVCU_NORMALISED;
}

/* The maps, aligned, and their residuals, in the scratch memory, which begins with `more` bytes; NULL (and a failure kept) without. */
static char *residuals(const char *function, const vvcu_depth *g, double part, int64_t more, vvcu_map **map, double **r)
{
    const int64_t maps = vvcu_aligned(g->B * (int64_t)sizeof **map), numbers = g->B * g->N * (int64_t)sizeof **r;
    char *room = (char *)vvcu_scratch(function, vvcu_aligned(more) + maps + numbers);
    if (!room) return NULL;
    *map = (vvcu_map *)(room + vvcu_aligned(more));
    *r = (double *)(room + vvcu_aligned(more) + maps);
    vvcu_align_maps(function, *map, g);
    vvcu_maps_residual(function, *r, *map, g);
    if (part > 0) VVCU_LAUNCH(function, trim, VVCU_ROWS(g->B), VVCU_MAP_BLOCK, 0, *r, *map, *g, part);
    return room;
}

static __global__ void add_sizes(double *sum, const double *r, int64_t B, int64_t N)
{
    VVCU_FOR_ROWS(b, B) {
        double s;
        VVCU_BLOCK_SUM(s, N, i, fabs(r[b * N + i]));
        if (threadIdx.x == 0) sum[b] = s;
    }
}

static __global__ void finish(float *y, const double *sum, const vvcu_map *map, int64_t B, int image)
{
    double all = 0;
    for (int64_t b = 0; b < B; b++) all += sum[b] * weight(map, B, b, image);
    y[0] = (float)all;
}

void vvb_ssi_fwd(vv_real *y, int32_t *info, const vv_real *p, const vv_real *d, const int32_t *mask, const int32_t *at,
                 int64_t B, int64_t N, const vvb_depth_args *a)
{
    static const char *const name = "ssi_fwd";
    const vvcu_depth g = vvcu_depth_of(p, d, mask, at, B, N, kind(a), a);
    vvcu_map *map;
    double *r, *sum = (double *)(void *)residuals(name, &g, a->trim, B * (int64_t)sizeof *sum, &map, &r);
    if (!sum) return;
    VVCU_LAUNCH(name, add_sizes, VVCU_ROWS(B), VVCU_MAP_BLOCK, 0, sum, r, B, N);
    VVCU_LAUNCH(name, finish, 1, 1, 0, y, sum, map, B, a->image);
    vvcu_maps_info(name, info, map, B);
}

/* r becomes dy/dR */
static __global__ void signs(double *r, const vvcu_map *map, int64_t B, int64_t N, int image)
{
    VVCU_FOR_ROWS(b, B) {
        const double w = weight(map, B, b, image);
        for (int64_t i = threadIdx.x; i < N; i += blockDim.x) r[b * N + i] = w * vvcu_sign(r[b * N + i]);
    }
}

void vvb_ssi_bwd(vv_real *dp, const vv_real *dy, const vv_real *p, const vv_real *d, const int32_t *mask,
                 const int32_t *at, int64_t B, int64_t N, const vvb_depth_args *a, int acc)
{
    static const char *const name = "ssi_bwd";
    const vvcu_depth g = vvcu_depth_of(p, d, mask, at, B, N, kind(a), a);
    vvcu_map *map;
    double *r;
    if (!dp || !residuals(name, &g, a->trim, 0, &map, &r)) return;
    VVCU_LAUNCH(name, signs, VVCU_ROWS(B), VVCU_MAP_BLOCK, 0, r, map, B, N, a->image);
    vvcu_maps_backward(name, dp, map, &g, r, dy, acc);
}
