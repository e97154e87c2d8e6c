/* Binary cross-entropy on logits. Sizes: masks R, pixels C. Variants: targets of any value, of 0 and 1 under far logits. */
#include "oracle/cases.h"

enum { Y, X, Z };        /* forward */
enum { DX, DY, BX, BZ }; /* backward */

static void fwd_shape(vvt_call *c)
{
    vvt_output(c, "y", VVT_OUT, 1, 1, 4);
    vvt_input(c, "x", c->dim.n[0], c->dim.n[1]);
    vvt_input(c, "z", c->dim.n[0], c->dim.n[1]);
}

static void bwd_shape(vvt_call *c)
{
    vvt_output(c, "dx", VVT_GRAD, c->dim.n[0], c->dim.n[1], 4);
    vvt_input(c, "dy", 1, 1);
    vvt_input(c, "x", c->dim.n[0], c->dim.n[1]);
    vvt_input(c, "z", c->dim.n[0], c->dim.n[1]);
}

/* confident and mostly right: what is left are exponentials of -30 and less */
static void prepare(vvt_call *c)
{
    vv_real *x = c->a[c->count - 2].host, *z = c->a[c->count - 1].host;
    for (int64_t i = 0; c->how.variant && i < c->dim.n[0] * c->dim.n[1]; i++) {
        z[i] = z[i] > 0;
        x[i] = x[i] * x[i] * (z[i] > 0 ? 30 : -30);
    }
}

static void fwd_run(vvt_call *c) { vvb_bce_fwd(vvt_at(c, Y), vvt_at(c, X), vvt_at(c, Z), c->dim.n[0], c->dim.n[1]); }
static void fwd_oracle(vvt_call *c)
{
    vvo_bce_fwd(vvt_want(c, Y), vvt_host(c, X), vvt_host(c, Z), c->dim.n[0], c->dim.n[1]);
}
static void bwd_run(vvt_call *c)
{
    vvb_bce_bwd(vvt_at(c, DX), vvt_at(c, DY), vvt_at(c, BX), vvt_at(c, BZ), c->dim.n[0], c->dim.n[1], c->how.acc);
}
static void bwd_oracle(vvt_call *c)
{
    vvo_bce_bwd(vvt_want(c, DX), vvt_host(c, DY), vvt_host(c, BX), vvt_host(c, BZ), c->dim.n[0], c->dim.n[1]);
}

#define SIZES                                                                                                          \
    .sizes = 2, .medium = {{5, 33}}, .variants = 2, .prepare = prepare, .any_nonfinite = 1,                            \
    .large = {{{1, 20011}}, {{130, 257}}, {{700, 3}}}
static const vvt_op OPS[] = {
    {"bce_fwd", .shape = fwd_shape, .run = fwd_run, .oracle = fwd_oracle, SIZES},
    {"bce_bwd", .shape = bwd_shape, .run = bwd_run, .oracle = bwd_oracle, SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/bce", OPS, 2); }

VVT_MAIN(suite)
