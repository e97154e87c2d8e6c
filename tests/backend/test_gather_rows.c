/* Rows by index, and back: repeated indices add up. */
#include "oracle/cases.h"

enum { Y, X }; /* forward: y, x; backward: dx, dy */

/* sizes R, C, Rx; variant 0: indices all over with repeats, 1: all the last row */
static void indices(vvt_call *c)
{
    if (!c->dim.n[2]) c->dim.n[0] = 0; /* nothing to point at */
    const int64_t R = c->dim.n[0], Rx = c->dim.n[2];
    int32_t *idx = vvt_table(c, R);
    for (int64_t i = 0; i < R; i++) idx[i] = (int32_t)(c->how.variant ? Rx - 1 : (i + 1) * 40503 / 16 % Rx);
}

static void fwd_shape(vvt_call *c)
{
    indices(c);
    vvt_array *y = vvt_output(c, "y", VVT_OUT, c->dim.n[0], c->dim.n[1], 0);
    y->class = VVT_EXACT;
    y->zeros_expected = c->dim.n[1] == 1 && (c->how.variant || c->dim.n[2] == 1); /* the same number everywhere */
    vvt_input(c, "x", c->dim.n[2], c->dim.n[1]);
}

static void fwd_run(vvt_call *c)
{
    vvb_gather_rows_fwd(vvt_at(c, Y), vvt_at(c, X), vvt_buffer_at(&c->device_table), c->dim.n[0], c->dim.n[1]);
}

static void fwd_oracle(vvt_call *c)
{
    vvo_gather_rows_fwd(vvt_want(c, Y), vvt_host(c, X), c->table, c->dim.n[0], c->dim.n[1]);
}

static void bwd_shape(vvt_call *c)
{
    indices(c);
    vvt_output(c, "dx", VVT_GRAD, c->dim.n[2], c->dim.n[1], (double)c->dim.n[0])->zeros_expected =
        1; /* rows not asked for */
    vvt_input(c, "dy", c->dim.n[0], c->dim.n[1]);
}

static void bwd_run(vvt_call *c)
{
    vvb_gather_rows_bwd(vvt_at(c, Y), vvt_at(c, X), vvt_buffer_at(&c->device_table), c->dim.n[0], c->dim.n[1],
                        c->dim.n[2], c->how.acc);
}

static void bwd_oracle(vvt_call *c)
{
    vvo_gather_rows_bwd(vvt_want(c, Y), vvt_host(c, X), c->table, c->dim.n[0], c->dim.n[1]);
}

#define SIZES                                                                                                          \
    .sizes = 3, .medium = {{19, 11, 7}}, .variants = 2, .exact = 2,                                                    \
    .large = {{{257, 130, 100}}, {{1000, 33, 2000}}, {{3, 8000, 2}}}
static const vvt_op OPS[] = {
    {"gather_rows_fwd", .shape = fwd_shape, .run = fwd_run, .oracle = fwd_oracle, SIZES},
    {"gather_rows_bwd", .shape = bwd_shape, .run = bwd_run, .oracle = bwd_oracle, SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/gather_rows", OPS, 2); }

VVT_MAIN(suite)
