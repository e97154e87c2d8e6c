/* Rotary embedding: the tables of angles, the rotation and its transpose. */
#include "oracle/cases.h"

/* ---- tables: sizes N, P, F (frequencies an axis); variant 1: far positions, another base ------------------------------- */
enum { COS, SIN };
static const double THETA[] = {10000, 1e6};

static int64_t width(const vvt_call *c) { return 2 * c->dim.n[1] * c->dim.n[2]; }

static void table_shape(vvt_call *c)
{
    const int64_t N = c->dim.n[0], P = c->dim.n[1];
    int32_t *pos = vvt_table(c, N * P);
    for (int64_t i = 0; i < N * P; i++) pos[i] = (int32_t)(c->how.variant ? i * 104729 % 1000003 : i * 37 % 101);
    for (int k = 0; k < 2; k++) {
        vvt_array *x = vvt_output(c, k ? "sin" : "cos", VVT_OUT, N, width(c) / 2, 1);
        x->class = VVT_ULP;
        x->zeros_expected = N * P < 6; /* few positions, one of them 0 */
    }
}

static void table_run(vvt_call *c)
{
    vvb_rope_table(vvt_at(c, COS), vvt_at(c, SIN), c->table, c->dim.n[0], c->dim.n[1], width(c), THETA[c->how.variant]);
}

static void table_oracle(vvt_call *c)
{
    const int64_t n = c->dim.n[0] * width(c) / 2;
    memset(vvt_want(c, COS).g, 0, (size_t)n * sizeof(vvt_ref));
    memset(vvt_want(c, SIN).g, 0, (size_t)n * sizeof(vvt_ref));
    vvo_rope_table(vvt_want(c, COS), vvt_want(c, SIN), c->table, c->dim.n[0], c->dim.n[1], width(c),
                   THETA[c->how.variant]);
}

/* ---- rotation: sizes N, H, D/2. cos and sin are any numbers: the formula does not need a circle ---------------------------- */
enum { Y, X, C, S };

static void shape(vvt_call *c)
{
    const int64_t N = c->dim.n[0], wide = c->dim.n[1] * 2 * c->dim.n[2];
    vvt_strided(c, vvt_output(c, "y", VVT_OUT, N, wide, 2), wide);
    vvt_strided(c, vvt_input(c, "x", N, wide), wide);
    vvt_input(c, "cos", N, c->dim.n[2]);
    vvt_input(c, "sin", N, c->dim.n[2]);
}

static void bwd_shape(vvt_call *c)
{
    shape(c);
    c->how.acc = 0; /* there is no adding */
    c->a[Y].role = VVT_GRAD;
}

static void run(vvt_call *c)
{
    vvb_rope_fwd(vvt_at(c, Y), vvt_ld(c, Y), vvt_at(c, X), vvt_ld(c, X), vvt_at(c, C), vvt_at(c, S), c->dim.n[0],
                 c->dim.n[1], 2 * c->dim.n[2]);
}

static void judge(vvt_call *c)
{
    vvo_rope_fwd(vvt_want(c, Y), vvt_ld(c, Y), vvt_host(c, X), vvt_ld(c, X), vvt_host(c, C), vvt_host(c, S),
                 c->dim.n[0], c->dim.n[1], 2 * c->dim.n[2]);
}

static void bwd_run(vvt_call *c)
{
    vvb_rope_bwd(vvt_at(c, Y), vvt_ld(c, Y), vvt_at(c, X), vvt_ld(c, X), vvt_at(c, C), vvt_at(c, S), c->dim.n[0],
                 c->dim.n[1], 2 * c->dim.n[2]);
}

static void bwd_judge(vvt_call *c)
{
    vvo_rope_bwd(vvt_want(c, Y), vvt_ld(c, Y), vvt_host(c, X), vvt_ld(c, X), vvt_host(c, C), vvt_host(c, S),
                 c->dim.n[0], c->dim.n[1], 2 * c->dim.n[2]);
}

#define SIZES                                                                                                          \
    .sizes = 3, .medium = {{11, 3, 7}}, .variants = 1, .exact = 1, .strided = 1, .alias = X + 1,                       \
    .large = {{{130, 3, 40}}, {{257, 16, 5}}, {{2, 1, 9000}}}
static const vvt_op OPS[] = {
    {"rope_table", .sizes = 3, .least = {{0, 1, 0}}, .medium = {{11, 2, 7}}, .variants = 2, .shape = table_shape,
     .run = table_run, .oracle = table_oracle, .large = {{{1000, 2, 20}}, {{257, 3, 16}}, {{5000, 1, 8}}}},
    {"rope_fwd", .shape = shape, .run = run, .oracle = judge, SIZES},
    {"rope_bwd", .shape = bwd_shape, .run = bwd_run, .oracle = bwd_judge, SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/rope", OPS, sizeof OPS / sizeof OPS[0]); }

VVT_MAIN(suite)
