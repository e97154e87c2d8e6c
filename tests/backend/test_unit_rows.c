/* Rows of length 1: y = x / |x| over the first D of C numbers, and its derivative. Variant 1: all numbers, variant 2: rows of zeros. */
#include "oracle/cases.h"

enum { Y, N, X };
enum { DX, DY, BY, BN, BX }; /* of the backward; BX is what y and n are made of */

static int64_t kept(const vvt_call *c) { return c->how.variant == 1 ? c->dim.n[1] : (c->dim.n[1] + 1) / 2; }

static void zero_rows(vvt_call *c, vv_real *x)
{
    for (int64_t i = 0; c->how.variant == 2 && i < c->dim.n[0] * c->dim.n[1]; i++) x[i] = 0;
}

static void fwd_shape(vvt_call *c)
{
    const int64_t R = c->dim.n[0], C = c->dim.n[1], D = kept(c);
    vvt_output(c, "y", VVT_OUT, R, D, (double)(D + 2))->zeros_expected = c->how.variant == 2 || D == 1; /* 1 or -1 */
    vvt_output(c, "n", VVT_OUT, R, 1, (double)(D + 2))->zeros_expected = c->how.variant == 2 || D == 0;
    vvt_input(c, "x", R, C);
}

static void fwd_prepare(vvt_call *c) { zero_rows(c, c->a[X].host); }

static void fwd_run(vvt_call *c)
{
    vvb_unit_rows_fwd(vvt_at(c, Y), vvt_at(c, N), vvt_at(c, X), c->dim.n[0], c->dim.n[1], kept(c));
}

static void fwd_oracle(vvt_call *c)
{
    vvo_unit_rows_fwd(vvt_want(c, Y), vvt_want(c, N), vvt_host(c, X), c->dim.n[0], c->dim.n[1], kept(c));
}

static void bwd_shape(vvt_call *c)
{
    const int64_t R = c->dim.n[0], C = c->dim.n[1], D = kept(c);
    vvt_output(c, "dx", VVT_GRAD, R, C, (double)(2 * D + 2))->zeros_expected = 1; /* the numbers beyond D */
    vvt_input(c, "dy", R, D);
    vvt_input(c, "y", R, D);
    vvt_input(c, "n", R, 1);
    vvt_input(c, "x", R, C);
}

/* y and n as the forward would have saved them: the oracle's, rounded */
static void bwd_prepare(vvt_call *c)
{
    const int64_t R = c->dim.n[0], D = kept(c);
    vvt_ref *room = vv_calloc(2 * R * D + 2 * R, sizeof *room);
    ck_assert_ptr_nonnull(room);
    const vvo_out y = {room, room + R * D}, n = {room + 2 * R * D, room + 2 * R * D + R};
    zero_rows(c, c->a[BX].host);
    vvo_unit_rows_fwd(y, n, c->a[BX].host, R, c->dim.n[1], D);
    for (int64_t i = 0; i < R * D; i++) c->a[BY].host[i] = (vv_real)y.v[i];
    for (int64_t r = 0; r < R; r++) c->a[BN].host[r] = (vv_real)n.v[r];
    free(room);
}

static void bwd_run(vvt_call *c)
{
    vvb_unit_rows_bwd(vvt_at(c, DX), vvt_at(c, DY), vvt_at(c, BY), vvt_at(c, BN), c->dim.n[0], c->dim.n[1], kept(c),
                      c->how.acc);
}

static void bwd_oracle(vvt_call *c)
{
    vvo_unit_rows_bwd(vvt_want(c, DX), vvt_host(c, DY), vvt_host(c, BY), vvt_host(c, BN), c->dim.n[0], c->dim.n[1],
                      kept(c));
}

#define SIZES                                                                                                          \
    .sizes = 2, .least = {{0, 1}}, .medium = {{11, 19}}, .variants = 3,                                                \
    .large = {{{130, 257}}, {{3, 4099}}, {{700, 33}}}
static const vvt_op OPS[] = {
    {"unit_rows_fwd", .shape = fwd_shape, .prepare = fwd_prepare, .run = fwd_run, .oracle = fwd_oracle, SIZES},
    {"unit_rows_bwd", .shape = bwd_shape, .prepare = bwd_prepare, .run = bwd_run, .oracle = bwd_oracle, SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/unit_rows", OPS, 2); }

VVT_MAIN(suite)
