/* The scale and shift invariant loss of depth maps, under every switch. Sizes: maps B, pixels N. */
#include "oracle/depth_cases.h"

static const depth_variant VARIANTS[] = {
    {{.eps = 1e-6}, 0},
    {{.eps = 1e-6, .average = 1, .image = 1}, 1},
    {{.eps = 1e-6, .ls = 1}, 0},
    {{.eps = 1e-6, .trim = 0.2}, 0},
    {{.eps = 1e-6, .detach = 1, .clamp = 1, .image = 1}, 0},
    {{.eps = 1e-6, .ls = 1, .detach = 1, .average = 1}, 1},
    {{.eps = 0.5, .clamp = 1}, 0}, /* so large that maps may be flat */
};

static const depth_variant *variant(const vvt_call *c) { return &VARIANTS[c->how.variant]; }
static int64_t maps(const vvt_call *c) { return c->dim.n[0]; }
static int64_t pixels(const vvt_call *c) { return c->dim.n[1]; }

static void fwd_shape(vvt_call *c) { depth_fwd_arrays(c, maps(c), pixels(c)); }
static void bwd_shape(vvt_call *c) { depth_bwd_arrays(c, maps(c), pixels(c)); }
static void fwd_prepare(vvt_call *c) { depth_prepare(c, FWD_P, maps(c), pixels(c), variant(c)); }
static void bwd_prepare(vvt_call *c) { depth_prepare(c, BWD_P, maps(c), pixels(c), variant(c)); }

static void fwd_run(vvt_call *c)
{
    const int32_t *table = vvt_buffer_at(&c->device_table);
    const vvb_depth_args a = depth_args(&variant(c)->how);
    vvb_ssi_fwd(vvt_at(c, FWD_Y), NULL, vvt_at(c, FWD_P), vvt_at(c, FWD_D), DEPTH_MASK(c, variant(c), table),
                table + maps(c) * pixels(c), maps(c), pixels(c), &a);
}

static void bwd_run(vvt_call *c)
{
    const int32_t *table = vvt_buffer_at(&c->device_table);
    const vvb_depth_args a = depth_args(&variant(c)->how);
    vvb_ssi_bwd(vvt_at(c, BWD_DP), vvt_at(c, BWD_DY), vvt_at(c, BWD_P), vvt_at(c, BWD_D),
                DEPTH_MASK(c, variant(c), table), table + maps(c) * pixels(c), maps(c), pixels(c), &a, c->how.acc);
}

static void fwd_oracle(vvt_call *c)
{
    const vvo_out none = {NULL, NULL};
    vvo_ssi(vvt_want(c, FWD_Y), none, 1, vvt_host(c, FWD_P), vvt_host(c, FWD_D), DEPTH_MASK(c, variant(c), c->table),
            c->table + maps(c) * pixels(c), maps(c), pixels(c), &variant(c)->how);
}

static void bwd_oracle(vvt_call *c)
{
    const vvo_out none = {NULL, NULL};
    vvo_ssi(none, vvt_want(c, BWD_DP), vvt_host(c, BWD_DY)[0], vvt_host(c, BWD_P), vvt_host(c, BWD_D),
            DEPTH_MASK(c, variant(c), c->table), c->table + maps(c) * pixels(c), maps(c), pixels(c), &variant(c)->how);
}

#define SIZES                                                                                                          \
    .medium = {{3, 61}}, .any_nonfinite = 1, .variants = sizeof VARIANTS / sizeof *VARIANTS,                           \
    .large = {{{1, 17000}}, {{17, 1009}}, {{5, 130}}, {{1, 1}}, {{4, 11}}, {{9, 7}}}
static const vvt_op OPS[] = {
    {"ssi_fwd", .shape = fwd_shape, .prepare = fwd_prepare, .run = fwd_run, .oracle = fwd_oracle, .finite = FWD_P + 1,
     SIZES},
    {"ssi_bwd", .shape = bwd_shape, .prepare = bwd_prepare, .run = bwd_run, .oracle = bwd_oracle, .finite = BWD_P + 1,
     SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/ssi", OPS, 2); }

VVT_MAIN(suite)
