/* One update of AdamW: weights, and both moments. */
#include "oracle/cases.h"

enum { P, M, V, G };

/* size n; the variants: a first update as usual, a later one with large steps, one without memory and decay, and
 * one where 1 - beta2^t cancels, from weights so small that the step is all there is */
static const vvb_adamw_args ARGS[] = {{1e-3, 0.9, 0.999, 1e-8, 0.01, 1, 1},
                                      {0.1, 0.8, 0.95, 1e-3, 0.3, 0.3, 7},
                                      {1e-2, 0, 0.999, 1e-8, 0, 2, 1000},
                                      {0.1, 0.9, 0.999, 1e-8, 0.01, 1, 10}};
enum { VARIANTS = sizeof ARGS / sizeof ARGS[0] };

static void shape(vvt_call *c)
{
    static const char *const name[] = {"p", "m", "v"};
    for (int i = P; i <= V; i++) vvt_output(c, name[i], VVT_ADDED, 1, c->dim.n[0], 4);
    vvt_input(c, "g", 1, c->dim.n[0]);
}

enum { CANCELS = 3 };

/* v is a mean of squares */
static void prepare(vvt_call *c)
{
    vv_real *v = vvt_host(c, V);
    for (int64_t i = 0; i < c->dim.n[0]; i++) v[i] *= v[i];
    for (int64_t i = 0; c->how.variant == CANCELS && i < c->dim.n[0]; i++) vvt_host(c, P)[i] *= (vv_real)0x1p-20;
}

static void run(vvt_call *c)
{
    vvb_adamw(vvt_at(c, P), vvt_at(c, M), vvt_at(c, V), vvt_at(c, G), c->dim.n[0], &ARGS[c->how.variant]);
}

static void judge(vvt_call *c)
{
    const vvb_adamw_args *a = &ARGS[c->how.variant];
    vvo_adamw(vvt_want(c, P), vvt_want(c, M), vvt_want(c, V), vvt_host(c, G), c->dim.n[0], a->lr, a->beta1, a->beta2,
              a->eps, a->weight_decay, a->grad_scale, a->t);
}

static const vvt_op OPS[] = {
    {"adamw", .sizes = 1, .medium = {{97}}, .variants = VARIANTS, .must = 1, .shape = shape, .prepare = prepare,
     .run = run, .oracle = judge, .large = {{{1000}}, {{16389}}, {{50001}}}},
};

static Suite *suite(void) { return vvt_op_suite("backend/adamw", OPS, 1); }

VVT_MAIN(suite)
