/* Cases of vvb_elementary for a backend of any kind (tests/backend/test_elementary.c looks closer, at the CPU's own in
 * host memory). Variant k is function k of the contract; the judge is the C library in long double. */
#include "oracle/cases.h"

enum { Y, X };

static const struct {
    vvt_ref (*judge)(vvt_ref);
    double stretch; /* of the random arguments, to where the function is interesting */
} F[] = {[VVB_EXP] = {expl, 15}, [VVB_LOG] = {logl, 3},  [VVB_TANH] = {tanhl, 3},
         [VVB_ERF] = {erfl, 2},  [VVB_SIN] = {sinl, 90}, [VVB_COS] = {cosl, 90}};

static void shape(vvt_call *c)
{
    vvt_array *y = vvt_output(c, "y", VVT_OUT, 1, c->dim.n[0], 1);
    y->class = VVT_ULP;
    y->zeros_expected = 1; /* tanh and erf are 1 from some point on */
    vvt_input(c, "x", 1, c->dim.n[0]);
}

static void prepare(vvt_call *c)
{
    vv_real *x = vvt_host(c, X);
    for (int64_t i = 0; i < c->dim.n[0]; i++) {
        x[i] = (vv_real)(F[c->how.variant].stretch * (double)x[i]);
        if (c->how.variant == VVB_LOG && x[i] < 0 && isfinite(x[i])) x[i] = -x[i];
    }
}

static void run(vvt_call *c) { vvb_elementary(vvt_at(c, Y), vvt_at(c, X), c->dim.n[0], (vvb_function)c->how.variant); }

static void oracle(vvt_call *c)
{
    for (int64_t i = 0; i < c->dim.n[0]; i++)
        vvt_want(c, Y).v[i] += F[c->how.variant].judge((vvt_ref)vvt_host(c, X)[i]);
}

extern const vvt_op vvt_elementary;
const vvt_op vvt_elementary = {.name = "elementary",
                               .sizes = 1,
                               .medium = {{97}},
                               .variants = sizeof F / sizeof *F,
                               .alias = 1 + X,
                               .shape = shape,
                               .prepare = prepare,
                               .run = run,
                               .oracle = oracle,
                               .large = {{{4097}}, {{70001}}}};
