/* The output layer and the loss of a language model in one, forward and backward. */
#include "oracle/cases.h"

enum { LOSS, CE, LSE, X, W, WEIGHT };
enum { DX, DW, DLOSS, BX, BW, BWEIGHT, BLSE }; /* of the backward */

/* sizes R, C, V; the variant is how loud the scores are: usual, or so large that exp alone would overflow */
enum { QUIET, LOUD, VARIANTS };

static int64_t R(const vvt_call *c) { return c->dim.n[0]; }
static int64_t C(const vvt_call *c) { return c->dim.n[1]; }
static int64_t V(const vvt_call *c) { return c->dim.n[2]; }

static void targets(vvt_call *c)
{
    int32_t *t = vvt_table(c, R(c));
    for (int64_t r = 0; r < R(c); r++) t[r] = (int32_t)((r + 1) * 40503 / 16 % V(c));
}

static void fwd_shape(vvt_call *c)
{
    const double k = (double)(C(c) + 4);
    targets(c);
    vvt_output(c, "loss", VVT_OUT, 1, 1, k + (double)R(c));
    /* one choice is certain; without columns all scores are 0, and lse log V */
    vvt_output(c, "ce", VVT_OUT, R(c), 1, k)->zeros_expected = V(c) == 1 || C(c) == 0 || c->how.variant == LOUD;
    vvt_output(c, "lse", VVT_OUT, R(c), 1, k)->zeros_expected = C(c) == 0;
    vvt_input(c, "x", R(c), C(c));
    vvt_input(c, "w", V(c), C(c));
    vvt_input(c, "weight", R(c), 1);
}

static void raise_voice(vvt_call *c, int x)
{
    for (int64_t i = 0; i < R(c) * C(c) && c->how.variant == LOUD; i++) c->a[x].host[i] *= 1000;
}

static void fwd_prepare(vvt_call *c) { raise_voice(c, X); }

static void fwd_run(vvt_call *c)
{
    vvb_linear_cross_entropy_fwd(vvt_at(c, LOSS), vvt_at(c, CE), vvt_at(c, LSE), vvt_at(c, X), vvt_at(c, W),
                                 vvt_buffer_at(&c->device_table), vvt_at(c, WEIGHT), R(c), V(c), C(c));
}

static void fwd_oracle(vvt_call *c)
{
    vvo_linear_cross_entropy_fwd(vvt_want(c, LOSS), vvt_want(c, CE), vvt_want(c, LSE), vvt_host(c, X), vvt_host(c, W),
                                 c->table, vvt_host(c, WEIGHT), R(c), V(c), C(c));
}

static void bwd_shape(vvt_call *c)
{
    targets(c);
    vvt_output(c, "dx", VVT_GRAD, R(c), C(c), (double)(C(c) + V(c)))->zeros_expected =
        V(c) == 1 || c->how.variant == LOUD;
    vvt_output(c, "dw", VVT_ADDED, V(c), C(c), (double)(C(c) + R(c)));
    vvt_input(c, "dloss", 1, 1);
    vvt_input(c, "x", R(c), C(c));
    vvt_input(c, "w", V(c), C(c));
    vvt_input(c, "weight", R(c), 1);
    vvt_input(c, "lse", R(c), 1);
}

/* lse as the forward would have saved it: the oracle's, rounded */
static void bwd_prepare(vvt_call *c)
{
    raise_voice(c, BX);
    vvt_ref *room = vv_calloc(4 * R(c) + 2, sizeof *room);
    ck_assert_ptr_nonnull(room);
    const vvo_out lse = {room, room + R(c)}, ce = {room + 2 * R(c), room + 3 * R(c)},
                  loss = {room + 4 * R(c), room + 4 * R(c) + 1};
    vvo_linear_cross_entropy_fwd(loss, ce, lse, vvt_host(c, BX), vvt_host(c, BW), c->table, vvt_host(c, BWEIGHT), R(c),
                                 V(c), C(c));
    for (int64_t r = 0; r < R(c); r++) c->a[BLSE].host[r] = (vv_real)lse.v[r];
    free(room);
}

static void bwd_run(vvt_call *c)
{
    vvb_linear_cross_entropy_bwd(vvt_at(c, DX), vvt_at(c, DW), vvt_at(c, DLOSS), vvt_at(c, BX), vvt_at(c, BW),
                                 vvt_buffer_at(&c->device_table), vvt_at(c, BWEIGHT), vvt_at(c, BLSE), R(c), V(c), C(c),
                                 c->how.acc);
}

static void bwd_oracle(vvt_call *c)
{
    vvo_linear_cross_entropy_bwd(vvt_want(c, DX), vvt_want(c, DW), vvt_host(c, DLOSS), vvt_host(c, BX), vvt_host(c, BW),
                                 c->table, vvt_host(c, BWEIGHT), vvt_host(c, BLSE), R(c), V(c), C(c));
}

/* beyond 512 rows, 640 columns (a tile of scores) and 6400 (a group of tiles) */
#define SIZES                                                                                                          \
    .sizes = 3, .least = {{0, 0, 1}}, .medium = {{11, 7, 19}}, .variants = VARIANTS,                                   \
    .large = {{{1030, 9, 33}}, {{130, 65, 257}}, {{17, 5, 1500}}, {{5, 3, 13000}}, {{515, 2, 700}}}
static const vvt_op OPS[] = {
    {"linear_cross_entropy_fwd", .shape = fwd_shape, .prepare = fwd_prepare, .run = fwd_run, .oracle = fwd_oracle,
     SIZES},
    {"linear_cross_entropy_bwd", .shape = bwd_shape, .prepare = bwd_prepare, .any_nonfinite = 1, .run = bwd_run,
     .oracle = bwd_oracle, SIZES},
};

/* ---- scores chosen by hand: x = 1, so z is w ------------------------------------------------------------------------ */
enum { MANY = 13001 };

typedef struct {
    double loss, dx, dw_target, dw_other; /* dw_other: of score 1 when that is not the target's */
} result;

static void *upload(const void *host, int64_t bytes)
{
    void *p = vvb_alloc(bytes);
    ck_assert_ptr_nonnull(p);
    vvb_upload(p, host, bytes);
    return p;
}

static result of_scores(const vv_real *z, int64_t n, int32_t target)
{
    static const vv_real zero[MANY], one = 1;
    const int64_t size = (int64_t)sizeof(vv_real);
    vv_real *w = upload(z, n * size), *dw = upload(zero, n * size), *x = upload(&one, size),
            *out = upload(zero, 4 * size);
    int32_t *t = upload(&target, (int64_t)sizeof target);
    vv_real got[4], grad[MANY];
    vvb_linear_cross_entropy_fwd(out, out + 1, out + 2, x, w, t, x, 1, n, 1);
    vvb_linear_cross_entropy_bwd(out + 3, dw, x, x, w, t, x, out + 2, 1, n, 1, 0);
    ck_assert_ptr_null(vvb_error());
    vvb_download(got, out, 4 * size);
    vvb_download(grad, dw, n * size);
    vvb_free(w, n * size);
    vvb_free(dw, n * size);
    vvb_free(x, size);
    vvb_free(out, 4 * size);
    vvb_free(t, (int64_t)sizeof target);
    return (result){(double)got[0], (double)got[3], (double)grad[target], (double)grad[1]};
}

START_TEST(extremes)
{
    vv_real z[MANY];
    const vv_real few[] = {10000, -10000, 0};
    result r = of_scores(few, 3, 0); /* certain and right */
    ck_assert(r.loss == 0 && r.dx == 0 && r.dw_target == 0 && r.dw_other == 0);
    r = of_scores(few, 3, 1); /* certain and wrong: dz = (1, -1, 0) */
    ck_assert(r.loss == 20000 && r.dx == 20000 && r.dw_target == -1);
    const vv_real low[] = {-10000, -10000};
    r = of_scores(low, 2, 0); /* undecided at -10000: log 2, to the last place of 10000 */
    ck_assert_double_eq_tol(r.loss, log(2), 1e-7);
    ck_assert_double_eq_tol(r.dw_target, -0.5, 1e-3);
    ck_assert_double_eq_tol(r.dw_other, 0.5, 1e-3);

    /* whole tiles of -Inf before the first finite score and after the last one: out of the question, no NaN */
    for (int i = 0; i < MANY; i++) z[i] = i == 7000 || i == 7001 ? 3 : -(vv_real)INFINITY;
    r = of_scores(z, MANY, 7001);
    ck_assert_double_eq_tol(r.loss, log(2), 1e-6);
    ck_assert_double_eq_tol(r.dw_target, -0.5, 1e-6);
    ck_assert(r.dw_other == 0);
    /* a larger score in a later tile */
    for (int i = 0; i < MANY; i++) z[i] = i / 640 * 100;
    r = of_scores(z, MANY, MANY - 1);
    ck_assert_double_eq_tol(r.loss, log(MANY % 640), 1e-5);

    z[9000] = (vv_real)INFINITY; /* the formula: log of Inf, less a finite score */
    ck_assert(of_scores(z, MANY, 1).loss == INFINITY);
    z[9000] = (vv_real)NAN;
    r = of_scores(z, MANY, 1);
    ck_assert(isnan(r.loss) && isnan(r.dx) && isnan(r.dw_target));
    for (int i = 0; i < MANY; i++) z[i] = -(vv_real)INFINITY; /* -Inf less -Inf */
    ck_assert(isnan(of_scores(z, MANY, 1).loss));
}
END_TEST

/* more rows and more columns than are held at a time: each gradient is added up over both */
START_TEST(groups)
{
    for (int i = 0; i < 2; i++) vvt_case(&OPS[i], (vvt_dims){{513, 1, 6401}}, (vvt_how){.fill = VVT_NORMAL});
}
END_TEST

static Suite *suite(void)
{
    Suite *s = vvt_op_suite("backend/linear_cross_entropy", OPS, 2);
    tcase_add_test(vvt_more(s, "groups"), groups);
    tcase_add_test(vvt_more(s, "extremes"), extremes);
    return s;
}

VVT_MAIN(suite)
