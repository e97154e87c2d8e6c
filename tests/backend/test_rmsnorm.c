/* RMSNorm: y = w x rstd and its derivative. */
#include "oracle/cases.h"

enum { Y, RSTD, X, W };
enum { DX, DW, DY, BX, BW, BRSTD }; /* of the backward */

static double eps(const vvt_call *c) { return c->how.variant ? 0.01 : 1e-6; }

static void fwd_shape(vvt_call *c)
{
    const int64_t R = c->dim.n[0], C = c->dim.n[1];
    vvt_output(c, "y", VVT_OUT, R, C, (double)(C + 2));
    vvt_output(c, "rstd", VVT_OUT, R, 1, (double)(C + 2));
    vvt_input(c, "x", R, C);
    vvt_input(c, "w", 1, C);
}

static void fwd_run(vvt_call *c)
{
    vvb_rmsnorm_fwd(vvt_at(c, Y), vvt_at(c, RSTD), vvt_at(c, X), vvt_at(c, W), c->dim.n[0], c->dim.n[1], eps(c));
}

static void fwd_oracle(vvt_call *c)
{
    vvo_rmsnorm_fwd(vvt_want(c, Y), vvt_want(c, RSTD), vvt_host(c, X), vvt_host(c, W), c->dim.n[0], c->dim.n[1],
                    eps(c));
}

static void bwd_shape(vvt_call *c)
{
    const int64_t R = c->dim.n[0], C = c->dim.n[1];
    vvt_output(c, "dx", VVT_GRAD, R, C, (double)(C + 2));
    vvt_output(c, "dw", VVT_ADDED, 1, C, (double)(R + 2));
    vvt_input(c, "dy", R, C);
    vvt_input(c, "x", R, C);
    vvt_input(c, "w", 1, C);
    vvt_input(c, "rstd", R, 1);
}

/* rstd as the forward would have saved it: the oracle's, rounded */
static void bwd_prepare(vvt_call *c)
{
    const int64_t R = c->dim.n[0], C = c->dim.n[1];
    vvt_ref *room = vv_calloc(2 * R * C + 2 * R, sizeof *room);
    ck_assert_ptr_nonnull(room);
    const vvo_out y = {room, room + R * C}, rstd = {room + 2 * R * C, room + 2 * R * C + R};
    vvo_rmsnorm_fwd(y, rstd, vvt_host(c, BX), vvt_host(c, BW), R, C, eps(c));
    for (int64_t r = 0; r < R; r++) c->a[BRSTD].host[r] = (vv_real)rstd.v[r];
    free(room);
}

static void bwd_run(vvt_call *c)
{
    vvb_rmsnorm_bwd(vvt_at(c, DX), vvt_at(c, DW), vvt_at(c, DY), vvt_at(c, BX), vvt_at(c, BW), vvt_at(c, BRSTD),
                    c->dim.n[0], c->dim.n[1], c->how.acc);
}

static void bwd_oracle(vvt_call *c)
{
    vvo_rmsnorm_bwd(vvt_want(c, DX), vvt_want(c, DW), vvt_host(c, DY), vvt_host(c, BX), vvt_host(c, BW),
                    vvt_host(c, BRSTD), c->dim.n[0], c->dim.n[1]);
}

#define SIZES                                                                                                          \
    .sizes = 2, .least = {{0, 1}}, .medium = {{11, 19}}, .variants = 2,                                                \
    .large = {{{130, 257}}, {{3, 4099}}, {{700, 33}}, {{1, 20000}}}
static const vvt_op OPS[] = {
    {"rmsnorm_fwd", .shape = fwd_shape, .run = fwd_run, .oracle = fwd_oracle, SIZES},
    {"rmsnorm_bwd", .shape = bwd_shape, .prepare = bwd_prepare, .run = bwd_run, .oracle = bwd_oracle, SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/rmsnorm", OPS, 2); }

VVT_MAIN(suite)
