/* The logistic sigmoid, into both tails, and its derivative. */
#include "oracle/cases.h"

enum { Y, X };       /* forward */
enum { DX, DY, BY }; /* backward */

static void fwd_shape(vvt_call *c)
{
    vvt_output(c, "y", VVT_OUT, 1, c->dim.n[0], 4)->class = VVT_ULP;
    vvt_input(c, "x", 1, c->dim.n[0]);
}

static void bwd_shape(vvt_call *c)
{
    vvt_output(c, "dx", VVT_GRAD, 1, c->dim.n[0], 3);
    vvt_input(c, "dy", 1, c->dim.n[0]);
    vvt_input(c, "y", 1, c->dim.n[0]);
}

static void widen(vvt_call *c)
{
    for (int64_t i = 0; i < c->dim.n[0]; i++) c->a[X].host[i] *= i % 5 ? 2 : 30;
}

/* values of a sigmoid, from near 0 to near 1 */
static void squash(vvt_call *c)
{
    vv_real *y = c->a[BY].host;
    for (int64_t i = 0; i < c->dim.n[0]; i++)
        if (isfinite(y[i])) y[i] = (1 + 9 * y[i] / (1 + 9 * (vv_real)fabs((double)y[i]))) / 2;
}

static void fwd_run(vvt_call *c) { vvb_sigmoid_fwd(vvt_at(c, Y), vvt_at(c, X), c->dim.n[0]); }
static void fwd_oracle(vvt_call *c) { vvo_sigmoid_fwd(vvt_want(c, Y), vvt_host(c, X), c->dim.n[0]); }
static void bwd_run(vvt_call *c)
{
    vvb_sigmoid_bwd(vvt_at(c, DX), vvt_at(c, DY), vvt_at(c, BY), c->dim.n[0], c->how.acc);
}
static void bwd_oracle(vvt_call *c) { vvo_sigmoid_bwd(vvt_want(c, DX), vvt_host(c, DY), vvt_host(c, BY), c->dim.n[0]); }

#define SIZES .sizes = 1, .medium = {{97}}, .variants = 1, .large = {{{1000}}, {{16389}}, {{50001}}}
static const vvt_op OPS[] = {
    {"sigmoid_fwd", .shape = fwd_shape, .prepare = widen, .run = fwd_run, .oracle = fwd_oracle, .alias = X + 1, SIZES},
    {"sigmoid_bwd", .shape = bwd_shape, .prepare = squash, .run = bwd_run, .oracle = bwd_oracle, .alias = DY + 1,
     SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/sigmoid", OPS, 2); }

VVT_MAIN(suite)
