/* Inside the CPU backend: one depth map and how its prediction is aligned with its label (ssi.c, gradient_matching.c). */
#ifndef VV_CPU_DEPTH_MAP_H
#define VV_CPU_DEPTH_MAP_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "cpu.h"

typedef enum { VVCPU_NORMALISED, VVCPU_LEAST_SQUARES, VVCPU_SCALED_LABEL } vvcpu_residual;

/*   NORMALISED     R = (p - tp) / sp - (d - td) / sd
 *   LEAST_SQUARES  R = slope (p - tp) - (d - td)       t the means here
 *   SCALED_LABEL   R = ratio d - p                     ratio = sp / sd                                                  */
typedef struct {
    const vv_real *p, *d;
    const int32_t *mask;
    int64_t N, M;
    vvcpu_residual kind;
    vvb_map state;
    int counted, moves; /* in value and denominators; has a gradient */
    int fixed, detach;  /* sp is eps and does not follow p; nothing of the alignment does */
    int64_t middle[2];  /* pixels of p's median: the same one twice, or with `average` two */
    double tp, sp, td, sd;
    double slope, ratio, A; /* A = sum (p - tp)^2 */
} vvcpu_map;

static inline int vvcpu_is_valid(const vvcpu_map *m, int64_t i)
{
    return (!m->mask || m->mask[i]) && fabs((double)m->d[i]) <= DBL_MAX;
}

static inline double vvcpu_sign(double x) { return (double)((x > 0) - (x < 0)); }

/* The B maps with their alignments, each by one thread; the caller frees them. NULL (and a failure kept) without memory. */
vvcpu_map *vvcpu_maps(const char *function, const vv_real *p, const vv_real *d, const int32_t *mask, const int32_t *at,
                      int64_t B, int64_t N, vvcpu_residual kind, const vvb_depth_args *a);
/* state and M of each map, unless info is NULL */
void vvcpu_maps_info(int32_t *info, const vvcpu_map *map, int64_t B);

void vvcpu_map_residual(double *r, const vvcpu_map *m); /* [N], 0 outside V */
/* dp = dy dy/dp from v = dy/dR [N] (0 outside V) */
void vvcpu_map_backward(vv_real *dp, const vvcpu_map *m, const double *v, double dy, int acc);

/* The value at place `rank` (0 <= rank < n) of the sorted numbers whose keys these are; the keys are moved about. */
static inline uint64_t vvcpu_key(double x) /* sorts as the numbers do */
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u >> 63 ? ~u : u | (uint64_t)1 << 63;
}
double vvcpu_nth(uint64_t *key, int64_t n, int64_t rank);

/* At least n doubles or keys of the calling thread's own (vvcpu_scratch), also of 0 something that is not NULL. */
static inline void *vvcpu_scratch_wide(const char *function, int64_t n)
{
    return vvcpu_scratch(function, vv_max(n, 1) * (int64_t)(sizeof(double) / sizeof(vv_real)));
}

#endif
