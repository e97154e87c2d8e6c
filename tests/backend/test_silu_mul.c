/* silu(g) u and its derivatives. */
#include "oracle/cases.h"

enum { Y, G, U };            /* forward */
enum { DG, DU, DY, BG, BU }; /* backward */

static void fwd_shape(vvt_call *c)
{
    vvt_output(c, "y", VVT_OUT, 1, c->dim.n[0], 16);
    vvt_input(c, "g", 1, c->dim.n[0]);
    vvt_input(c, "u", 1, c->dim.n[0]);
}

/* Each gradient is added to on its own account: variant 1 always adds du, variant 2 dg, whatever the other does. */
static int adds(const vvt_call *c, int i) { return c->how.acc || c->how.variant == (i == DU ? 1 : 2); }

static void bwd_shape(vvt_call *c)
{
    for (int i = DG; i <= DU; i++)
        vvt_output(c, i == DG ? "dg" : "du", adds(c, i) && !c->how.acc ? VVT_ADDED : VVT_GRAD, 1, c->dim.n[0], 16);
    vvt_input(c, "dy", 1, c->dim.n[0]);
    vvt_input(c, "g", 1, c->dim.n[0]);
    vvt_input(c, "u", 1, c->dim.n[0]);
}

/* g reaches into both tails */
static void widen(vvt_call *c)
{
    vv_real *g = c->a[c->count - 2].host;
    for (int64_t i = 0; i < c->dim.n[0]; i++) g[i] *= i % 5 ? 2 : 40;
}

static void fwd_run(vvt_call *c) { vvb_silu_mul_fwd(vvt_at(c, Y), vvt_at(c, G), vvt_at(c, U), c->dim.n[0]); }
static void fwd_oracle(vvt_call *c) { vvo_silu_mul_fwd(vvt_want(c, Y), vvt_host(c, G), vvt_host(c, U), c->dim.n[0]); }
static void bwd_run(vvt_call *c)
{
    vvb_silu_mul_bwd(vvt_at(c, DG), vvt_at(c, DU), vvt_at(c, DY), vvt_at(c, BG), vvt_at(c, BU), c->dim.n[0],
                     adds(c, DG), adds(c, DU));
}
static void bwd_oracle(vvt_call *c)
{
    vvo_silu_mul_bwd(vvt_want(c, DG), vvt_want(c, DU), vvt_host(c, DY), vvt_host(c, BG), vvt_host(c, BU), c->dim.n[0]);
}

#define SIZES .sizes = 1, .medium = {{97}}, .prepare = widen, .large = {{{1000}}, {{16389}}, {{50001}}}
static const vvt_op OPS[] = {
    {"silu_mul_fwd", .shape = fwd_shape, .run = fwd_run, .oracle = fwd_oracle, .variants = 1, SIZES},
    {"silu_mul_bwd", .shape = bwd_shape, .run = bwd_run, .oracle = bwd_oracle, .variants = 3, SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/silu_mul", OPS, 2); }

VVT_MAIN(suite)
