/* What test_ssi.c and test_gradient_matching.c share: arrays of a call. Its table holds the mask [B N] and the medians [2,B,2] of
 * the oracle. Sizes are chosen: of a map with three valid pixels the normalised residuals of the outer two are *equal* (the mean
 * deviations are 1), their difference is rounding, and either sign of it is right. Two pixels are fitted
 * exactly by least squares: the same. */
#ifndef VVT_DEPTH_CASES_H
#define VVT_DEPTH_CASES_H

#include "oracle/cases.h"

typedef struct {
    vvo_depth how;
    int maskless;
} depth_variant;

enum { FWD_Y, FWD_P, FWD_D };
enum { BWD_DP, BWD_DY, BWD_P, BWD_D };

static inline vvb_depth_args depth_args(const vvo_depth *h)
{
    return (vvb_depth_args){.align = h->ls ? VVB_ALIGN_LS : VVB_ALIGN_MEDIAN,
                            .gm = (vvb_gm)h->gm,
                            .average = h->average,
                            .image = h->image,
                            .clamp = h->clamp,
                            .detach = h->detach,
                            .scales = h->scales,
                            .trim = h->trim,
                            .eps = h->eps};
}

/* every fourth pixel or so is masked, unevenly */
static inline void depth_table(vvt_call *c, int64_t B, int64_t N)
{
    int32_t *table = vvt_table(c, B * N + 4 * B);
    for (int64_t i = 0; i < B * N; i++) table[i] = (int32_t)((i * 7919 + i / 5) % 11 % 4 ? 1 + i % 2 : 0);
}

static inline void depth_fwd_arrays(vvt_call *c, int64_t B, int64_t N)
{
    vvt_output(c, "y", VVT_OUT, 1, 1, 4);
    vvt_input(c, "p", B, N);
    vvt_input(c, "d", B, N);
    depth_table(c, B, N);
}

static inline void depth_bwd_arrays(vvt_call *c, int64_t B, int64_t N)
{
    vvt_output(c, "dp", VVT_GRAD, B, N, 4)->zeros_expected = 1;
    vvt_input(c, "dy", 1, 1);
    vvt_input(c, "p", B, N);
    vvt_input(c, "d", B, N);
    depth_table(c, B, N);
}

/* some labels are infinite; then the medians */
static inline void depth_prepare(vvt_call *c, int first, int64_t B, int64_t N, const depth_variant *v)
{
    vv_real *d = c->a[first + 1].host;
    for (int64_t i = 5; i < B * N; i += 13) d[i] = i % 2 ? (vv_real)INFINITY : (vv_real)NAN;
    const int32_t *mask = v->maskless ? NULL : c->table;
    vvo_medians(c->table + B * N, c->a[first].host, d, mask, B, N);
    vvo_medians(c->table + B * N + 2 * B, d, d, mask, B, N);
}

#define DEPTH_MASK(c, v, table) ((v)->maskless ? NULL : (table))

#endif
