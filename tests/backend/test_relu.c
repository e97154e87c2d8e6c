/* ReLU and its derivative: 0 at 0. */
#include "oracle/cases.h"

enum { Y, X };       /* forward */
enum { DX, DY, BX }; /* backward */

static void fwd_shape(vvt_call *c)
{
    vvt_array *y = vvt_output(c, "y", VVT_OUT, 1, c->dim.n[0], 0);
    y->class = VVT_EXACT;
    y->zeros_expected = 1;
    vvt_input(c, "x", 1, c->dim.n[0]);
}

static void bwd_shape(vvt_call *c)
{
    vvt_array *dx = vvt_output(c, "dx", VVT_GRAD, 1, c->dim.n[0], 2);
    dx->class = c->how.acc || c->how.twice ? VVT_DOT : VVT_EXACT;
    dx->zeros_expected = 1;
    vvt_input(c, "dy", 1, c->dim.n[0]);
    vvt_input(c, "x", 1, c->dim.n[0]);
}

/* zeros of both signs among x */
static void some_zeros(vvt_call *c)
{
    vv_real *x = c->a[c->count - 1].host;
    for (int64_t i = 1; i < c->dim.n[0]; i += 5)
        if (isfinite(x[i])) x[i] *= 0;
}

static void fwd_run(vvt_call *c) { vvb_relu_fwd(vvt_at(c, Y), vvt_at(c, X), c->dim.n[0]); }
static void fwd_oracle(vvt_call *c) { vvo_relu_fwd(vvt_want(c, Y), vvt_host(c, X), c->dim.n[0]); }
static void bwd_run(vvt_call *c) { vvb_relu_bwd(vvt_at(c, DX), vvt_at(c, DY), vvt_at(c, BX), c->dim.n[0], c->how.acc); }
static void bwd_oracle(vvt_call *c) { vvo_relu_bwd(vvt_want(c, DX), vvt_host(c, DY), vvt_host(c, BX), c->dim.n[0]); }

#define SIZES                                                                                                          \
    .sizes = 1, .medium = {{97}}, .variants = 1, .exact = 1, .prepare = some_zeros,                                    \
    .large = {{{1000}}, {{16389}}, {{50001}}}
static const vvt_op OPS[] = {
    {"relu_fwd", .shape = fwd_shape, .run = fwd_run, .oracle = fwd_oracle, .alias = X + 1, SIZES},
    {"relu_bwd", .shape = bwd_shape, .run = bwd_run, .oracle = bwd_oracle, .alias = DY + 1, SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/relu", OPS, 2); }

VVT_MAIN(suite)
