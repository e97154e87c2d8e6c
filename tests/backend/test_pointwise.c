/* axpy, scale, dot, sum of squares, and the broadcast add with its gradient. */
#include <float.h>

#include "oracle/cases.h"

/* ---- axpy, scale: size n; the factor is exact in binary, or (variant 2) half a unit off ------------------------------------------ */
enum { Y, X, W };
static const double FACTOR[] = {1, -0.75, 2.0264617217807004};

static void axpy_shape(vvt_call *c)
{
    vvt_output(c, "y", VVT_ADDED, 1, c->dim.n[0], 2);
    vvt_input(c, "x", 1, c->dim.n[0]);
}
static void axpy_run(vvt_call *c) { vvb_axpy(vvt_at(c, Y), vvt_at(c, X), FACTOR[c->how.variant], c->dim.n[0]); }
static void axpy_oracle(vvt_call *c) { vvo_axpy(vvt_want(c, Y), vvt_host(c, X), FACTOR[c->how.variant], c->dim.n[0]); }

static void scale_shape(vvt_call *c)
{
    vvt_output(c, "y", VVT_OUT, 1, c->dim.n[0], 2)->class = VVT_ULP;
    vvt_input(c, "x", 1, c->dim.n[0]);
}
static void scale_run(vvt_call *c) { vvb_scale(vvt_at(c, Y), vvt_at(c, X), FACTOR[c->how.variant], c->dim.n[0]); }
static void scale_oracle(vvt_call *c)
{
    vvo_scale(vvt_want(c, Y), vvt_host(c, X), FACTOR[c->how.variant], c->dim.n[0]);
}

/* ---- dot: size n; variant 1: without w ------------------------------------------------------------------------------------ */
static void dot_shape(vvt_call *c)
{
    vvt_output(c, "y", VVT_OUT, 1, 1, (double)c->dim.n[0]);
    vvt_input(c, "x", 1, c->dim.n[0]);
    vvt_array *w = vvt_input(c, "w", 1, c->dim.n[0]);
    if (c->how.variant) w->role = VVT_ABSENT;
}
static void dot_run(vvt_call *c) { vvb_dot(vvt_at(c, Y), vvt_at(c, X), vvt_at(c, W), c->dim.n[0]); }
static void dot_oracle(vvt_call *c) { vvo_dot(vvt_want(c, Y), vvt_host(c, X), vvt_host(c, W), c->dim.n[0]); }

/* ---- add: sizes R, C, Rb ---------------------------------------------------------------------------------------------------- */
static void need_rows(vvt_call *c)
{
    if (!c->dim.n[2]) c->dim.n[0] = 0; /* no row of b to add */
}

static void add_shape(vvt_call *c)
{
    need_rows(c);
    vvt_output(c, "y", VVT_OUT, c->dim.n[0], c->dim.n[1], 1)->class = VVT_ULP;
    vvt_input(c, "x", c->dim.n[0], c->dim.n[1]);
    vvt_input(c, "b", c->dim.n[2], c->dim.n[1]);
}
static void add_run(vvt_call *c)
{
    vvb_add_fwd(vvt_at(c, Y), vvt_at(c, X), vvt_at(c, W), c->dim.n[0], c->dim.n[1], c->dim.n[2]);
}
static void add_oracle(vvt_call *c)
{
    vvo_add_fwd(vvt_want(c, Y), vvt_host(c, X), vvt_host(c, W), c->dim.n[0], c->dim.n[1], c->dim.n[2]);
    memset(vvt_want(c, Y).g, 0, (size_t)(c->dim.n[0] * c->dim.n[1]) * sizeof(vvt_ref)); /* ULP: nothing besides */
}

static void add_bwd_shape(vvt_call *c)
{
    need_rows(c);
    const int64_t R = c->dim.n[0], Rb = c->dim.n[2];
    vvt_output(c, "db", VVT_ADDED, Rb, c->dim.n[1], Rb ? ceil((double)R / (double)Rb) : 0);
    vvt_input(c, "dy", R, c->dim.n[1]);
}
static void add_bwd_run(vvt_call *c) { vvb_add_bwd(vvt_at(c, Y), vvt_at(c, X), c->dim.n[0], c->dim.n[1], c->dim.n[2]); }
static void add_bwd_oracle(vvt_call *c)
{
    vvo_add_bwd(vvt_want(c, Y), vvt_host(c, X), c->dim.n[0], c->dim.n[1], c->dim.n[2]);
}

#define LINE .sizes = 1, .medium = {{97}}, .large = {{{4096}}, {{4097}}, {{16389}}, {{70001}}}
#define ROWS                                                                                                           \
    .sizes = 3, .medium = {{19, 11, 7}}, .variants = 1, .exact = 1,                                                    \
    .large = {{{257, 130, 1}}, {{130, 257, 130}}, {{601, 70, 200}}, {{3, 8000, 2}}}
static const vvt_op OPS[] = {
    {"axpy", .shape = axpy_shape, .run = axpy_run, .oracle = axpy_oracle, .variants = 3, .exact = 2, .must = 1, LINE},
    {"scale", .shape = scale_shape, .run = scale_run, .oracle = scale_oracle, .variants = 3, .exact = 2, .alias = X + 1,
     LINE},
    {"dot", .shape = dot_shape, .run = dot_run, .oracle = dot_oracle, .variants = 2, .exact = 2, LINE},
    {"add_fwd", .shape = add_shape, .run = add_run, .oracle = add_oracle, .alias = X + 1, ROWS},
    {"add_bwd", .shape = add_bwd_shape, .run = add_bwd_run, .oracle = add_bwd_oracle, ROWS},
};

/* ---- sum_squares: a double on the host, in both builds --------------------------------------------------------------------- */
enum { MANY = 70001 };

static double sum_squares(const vv_real *host, int64_t n)
{
    vvt_buffer x = vvt_buffer_new(host, n * (int64_t)sizeof *host);
    const double sum = vvb_sum_squares(vvt_buffer_at(&x), n);
    const char *error = vvb_error();
    if (error || !vvt_buffer_intact(&x))
        ck_abort_msg("sum_squares of %lld: %s", (long long)n, error ? error : "overwrites");
    vvt_buffer_free(&x);
    return sum;
}

START_TEST(squares)
{
    static const int64_t size[] = {0, 1, 2, 3, 5, 17, 50, 4096, 4097, 16389, MANY};
    static vv_real x[MANY];
    for (size_t i = 0; i < sizeof size / sizeof size[0]; i++)
        for (vvt_fill f = VVT_INTEGERS; f <= VVT_POSITIVE; f++) {
            const int64_t n = size[i];
            vvt_fill_array(x, n, f, "squares");
            const vvt_ref want = vvo_sum_squares(x, n), n1 = (vvt_ref)vv_max(n, 1);
            const double got = sum_squares(x, n);
            const vvt_ref allowed =
                f == VVT_INTEGERS ? 0 : (4 * sqrtl(n1) * 0x1p-53L + n1 * (vvt_ref)LDBL_EPSILON) * want;
            if (!(fabsl((vvt_ref)got - want) <= allowed))
                ck_abort_msg("sum_squares of %lld: %.17g, should be %.17Lg", (long long)n, got, want);
            for (int threads = 1; threads <= 4; threads++) {
                vvb_init(threads);
                if (vvb_get_info()->deterministic && sum_squares(x, n) != got)
                    ck_abort_msg("%d threads: other bits", threads);
            }
            vvb_init(0);
        }
    x[MANY / 2] = (vv_real)NAN;
    ck_assert(isnan(sum_squares(x, MANY)));
    x[MANY / 2] = (vv_real)-INFINITY;
    ck_assert(isinf(sum_squares(x, MANY)));
}
END_TEST

static Suite *suite(void)
{
    Suite *s = vvt_op_suite("backend/pointwise", OPS, sizeof OPS / sizeof OPS[0]);
    tcase_add_test(vvt_more(s, "squares"), squares);
    return s;
}

VVT_MAIN(suite)
