/* The DICE loss on logits. Sizes: masks R, pixels C. Variants: smooth of LISA (1e-3) and of DETR (1); targets 0 and 1, of every
 * third mask all 0. */
#include "oracle/cases.h"

enum { Y, SUMS, X, Z };         /* forward */
enum { DX, DY, BX, BZ, BSUMS }; /* backward */

static double smooth(const vvt_call *c) { return c->how.variant ? 1 : 1e-3; }

static void fwd_shape(vvt_call *c)
{
    const int64_t R = c->dim.n[0], C = c->dim.n[1];
    vvt_output(c, "y", VVT_OUT, 1, 1, 4);
    vvt_output(c, "sums", VVT_OUT, R, 2, 4)->zeros_expected = C == 0;
    vvt_input(c, "x", R, C);
    vvt_input(c, "z", R, C);
}

static void bwd_shape(vvt_call *c)
{
    const int64_t R = c->dim.n[0], C = c->dim.n[1];
    vvt_output(c, "dx", VVT_GRAD, R, C, 4);
    vvt_input(c, "dy", 1, 1);
    vvt_input(c, "x", R, C);
    vvt_input(c, "z", R, C);
    vvt_input(c, "sums", R, 2);
}

static void targets(vvt_call *c, int at)
{
    vv_real *z = c->a[at].host;
    for (int64_t i = 0; i < c->dim.n[0] * c->dim.n[1]; i++) z[i] = z[i] > 0 && i / c->dim.n[1] % 3 != 2;
}

static void fwd_prepare(vvt_call *c) { targets(c, Z); }

/* sums as the forward would have saved them: the oracle's, rounded */
static void bwd_prepare(vvt_call *c)
{
    const int64_t R = c->dim.n[0], C = c->dim.n[1];
    vvt_ref *room = vv_calloc(4 * R + 2, sizeof *room);
    ck_assert_ptr_nonnull(room);
    targets(c, BZ);
    const vvo_out y = {room, room + 1}, sums = {room + 2, room + 2 + 2 * R};
    vvo_dice_fwd(y, sums, vvt_host(c, BX), vvt_host(c, BZ), R, C, smooth(c));
    for (int64_t i = 0; i < 2 * R; i++) c->a[BSUMS].host[i] = (vv_real)sums.v[i];
    free(room);
}

static void fwd_run(vvt_call *c)
{
    vvb_dice_fwd(vvt_at(c, Y), vvt_at(c, SUMS), vvt_at(c, X), vvt_at(c, Z), c->dim.n[0], c->dim.n[1], smooth(c));
}
static void fwd_oracle(vvt_call *c)
{
    vvo_dice_fwd(vvt_want(c, Y), vvt_want(c, SUMS), vvt_host(c, X), vvt_host(c, Z), c->dim.n[0], c->dim.n[1],
                 smooth(c));
}
static void bwd_run(vvt_call *c)
{
    vvb_dice_bwd(vvt_at(c, DX), vvt_at(c, DY), vvt_at(c, BX), vvt_at(c, BZ), vvt_at(c, BSUMS), c->dim.n[0], c->dim.n[1],
                 c->how.acc);
}
static void bwd_oracle(vvt_call *c)
{
    vvo_dice_bwd(vvt_want(c, DX), vvt_host(c, DY), vvt_host(c, BX), vvt_host(c, BZ), vvt_host(c, BSUMS), c->dim.n[0],
                 c->dim.n[1]);
}

#define SIZES                                                                                                          \
    .sizes = 2, .medium = {{5, 33}}, .variants = 2, .any_nonfinite = 1,                                                \
    .large = {{{1, 20011}}, {{130, 257}}, {{700, 3}}}
static const vvt_op OPS[] = {
    {"dice_fwd", .shape = fwd_shape, .prepare = fwd_prepare, .run = fwd_run, .oracle = fwd_oracle, SIZES},
    {"dice_bwd", .shape = bwd_shape, .prepare = bwd_prepare, .run = bwd_run, .oracle = bwd_oracle, SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/dice", OPS, 2); }

VVT_MAIN(suite)
