/* Linear with optional bias and residual, and its gradients. */
#include "oracle/cases.h"

enum { Y, X, W, B, RES };
enum { DX, DW, DB, DY, BX, BW }; /* of the backward */

/* sizes R, Ci, Co; variants: bias and residual, residual, bias, neither */
static void fwd_shape(vvt_call *c)
{
    const int64_t R = c->dim.n[0], Ci = c->dim.n[1], Co = c->dim.n[2];
    vvt_output(c, "y", VVT_OUT, R, Co, (double)Ci + 2)->zeros_expected =
        Ci == 0; /* nothing, or the bias in every row */
    vvt_input(c, "x", R, Ci);
    vvt_input(c, "w", Co, Ci);
    vvt_input(c, "b", 1, Co)->role = c->how.variant & 1 ? VVT_ABSENT : VVT_IN;
    vvt_input(c, "res", R, Co)->role = c->how.variant & 2 ? VVT_ABSENT : VVT_IN;
}

static void fwd_run(vvt_call *c)
{
    vvb_linear_fwd(vvt_at(c, Y), vvt_at(c, X), vvt_at(c, W), vvt_at(c, B), vvt_at(c, RES), c->dim.n[0], c->dim.n[1],
                   c->dim.n[2]);
}

static void fwd_oracle(vvt_call *c)
{
    vvo_linear_fwd(vvt_want(c, Y), vvt_host(c, X), vvt_host(c, W), vvt_host(c, B), vvt_host(c, RES), c->dim.n[0],
                   c->dim.n[1], c->dim.n[2]);
}

static void bwd_shape(vvt_call *c)
{
    const int64_t R = c->dim.n[0], Ci = c->dim.n[1], Co = c->dim.n[2];
    vvt_output(c, "dx", VVT_GRAD, R, Ci, (double)Co)->zeros_expected = Co == 0;
    vvt_output(c, "dw", VVT_ADDED, Co, Ci, (double)R);
    vvt_output(c, "db", VVT_ADDED, 1, Co, (double)R);
    vvt_input(c, "dy", R, Co);
    vvt_input(c, "x", R, Ci);
    vvt_input(c, "w", Co, Ci);
}

static void bwd_run(vvt_call *c)
{
    vvb_linear_bwd(vvt_at(c, DX), vvt_at(c, DW), vvt_at(c, DB), vvt_at(c, DY), vvt_at(c, BX), vvt_at(c, BW),
                   c->dim.n[0], c->dim.n[1], c->dim.n[2], c->how.acc);
}

static void bwd_oracle(vvt_call *c)
{
    vvo_linear_bwd(vvt_want(c, DX), vvt_want(c, DW), vvt_want(c, DB), vvt_host(c, DY), vvt_host(c, BX), vvt_host(c, BW),
                   c->dim.n[0], c->dim.n[1], c->dim.n[2]);
}

#define SIZES                                                                                                          \
    .sizes = 3, .medium = {{11, 7, 19}},                                                                               \
    .large = {{{130, 33, 257}}, {{257, 130, 40}}, {{500, 17, 65}}, {{3, 1025, 100}}, {{1, 4099, 37}}, {{4, 257, 130}}}
static const vvt_op OPS[] = {
    {"linear_fwd", .shape = fwd_shape, .run = fwd_run, .oracle = fwd_oracle, .variants = 4, .exact = 4,
     .alias = RES + 1, SIZES},
    {"linear_bwd", .shape = bwd_shape, .run = bwd_run, .oracle = bwd_oracle, .variants = 1, .exact = 1, SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/linear", OPS, 2); }

VVT_MAIN(suite)
