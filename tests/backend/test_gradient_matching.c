/* Differences of neighbouring residuals at several scales, in every mode. Sizes: maps B, height, width. */
#include "oracle/depth_cases.h"

static const depth_variant VARIANTS[] = {
    {{.eps = 1e-6, .scales = 4, .gm = VVB_GM_NORM}, 0},
    {{.eps = 1e-6, .scales = 4, .gm = VVB_GM_NORM, .average = 1}, 1},
    {{.eps = 1e-6, .scales = 4, .gm = VVB_GM_LS}, 0},
    {{.eps = 1e-6, .scales = 4, .gm = VVB_GM_PAPER}, 0},
    {{.eps = 1e-6, .scales = 3, .gm = VVB_GM_PAPER_SUM, .average = 1}, 0},
    {{.eps = 1e-6, .scales = 4, .gm = VVB_GM_MEGADEPTH}, 0},
    {{.eps = 1e-6, .scales = 16, .gm = VVB_GM_NORM, .detach = 1}, 0},
    {{.eps = 1e-6, .scales = 1, .gm = VVB_GM_PAPER, .detach = 1}, 1},
    {{.eps = 0.5, .scales = 2, .gm = VVB_GM_PAPER, .clamp = 1}, 0},
};

static const depth_variant *variant(const vvt_call *c) { return &VARIANTS[c->how.variant]; }
static int64_t pixels(const vvt_call *c) { return c->dim.n[1] * c->dim.n[2]; }

static void fwd_shape(vvt_call *c) { depth_fwd_arrays(c, c->dim.n[0], pixels(c)); }
static void bwd_shape(vvt_call *c) { depth_bwd_arrays(c, c->dim.n[0], pixels(c)); }
static void fwd_prepare(vvt_call *c) { depth_prepare(c, FWD_P, c->dim.n[0], pixels(c), variant(c)); }
static void bwd_prepare(vvt_call *c) { depth_prepare(c, BWD_P, c->dim.n[0], pixels(c), variant(c)); }

static void fwd_run(vvt_call *c)
{
    const int64_t *n = c->dim.n;
    const int32_t *table = vvt_buffer_at(&c->device_table);
    const vvb_depth_args a = depth_args(&variant(c)->how);
    vvb_gradient_matching_fwd(vvt_at(c, FWD_Y), NULL, vvt_at(c, FWD_P), vvt_at(c, FWD_D),
                              DEPTH_MASK(c, variant(c), table), table + n[0] * pixels(c), n[0], n[1], n[2], &a);
}

static void bwd_run(vvt_call *c)
{
    const int64_t *n = c->dim.n;
    const int32_t *table = vvt_buffer_at(&c->device_table);
    const vvb_depth_args a = depth_args(&variant(c)->how);
    vvb_gradient_matching_bwd(vvt_at(c, BWD_DP), vvt_at(c, BWD_DY), vvt_at(c, BWD_P), vvt_at(c, BWD_D),
                              DEPTH_MASK(c, variant(c), table), table + n[0] * pixels(c), n[0], n[1], n[2], &a,
                              c->how.acc);
}

static void fwd_oracle(vvt_call *c)
{
    const int64_t *n = c->dim.n;
    const vvo_out none = {NULL, NULL};
    vvo_gradient_matching(vvt_want(c, FWD_Y), none, 1, vvt_host(c, FWD_P), vvt_host(c, FWD_D),
                          DEPTH_MASK(c, variant(c), c->table), c->table + n[0] * pixels(c), n[0], n[1], n[2],
                          &variant(c)->how);
}

static void bwd_oracle(vvt_call *c)
{
    const int64_t *n = c->dim.n;
    const vvo_out none = {NULL, NULL};
    vvo_gradient_matching(none, vvt_want(c, BWD_DP), vvt_host(c, BWD_DY)[0], vvt_host(c, BWD_P), vvt_host(c, BWD_D),
                          DEPTH_MASK(c, variant(c), c->table), c->table + n[0] * pixels(c), n[0], n[1], n[2],
                          &variant(c)->how);
}

#define SIZES                                                                                                          \
    .medium = {{3, 9, 14}}, .any_nonfinite = 1, .variants = sizeof VARIANTS / sizeof *VARIANTS,                        \
    .large = {{{1, 130, 131}}, {{17, 37, 29}}, {{2, 1, 50}}, {{3, 1, 1}}, {{2, 41, 1}}, {{4, 3, 5}}}
static const vvt_op OPS[] = {
    {"gradient_matching_fwd", .shape = fwd_shape, .prepare = fwd_prepare, .run = fwd_run, .oracle = fwd_oracle,
     .finite = FWD_P + 1, SIZES},
    {"gradient_matching_bwd", .shape = bwd_shape, .prepare = bwd_prepare, .run = bwd_run, .oracle = bwd_oracle,
     .finite = BWD_P + 1, SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/gradient_matching", OPS, 2); }

VVT_MAIN(suite)
