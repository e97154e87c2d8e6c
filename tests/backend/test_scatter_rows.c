/* Rows to distinct places, and back: the other rows stay as they are. */
#include "oracle/cases.h"

enum { Y, X }; /* forward: y, x; backward: dx, dy */

static int64_t common_divisor(int64_t a, int64_t b) { return b ? common_divisor(b, a % b) : a; }

/* sizes R, C, and how many rows y has besides; R places of those rows, all over: a step without a common divisor meets each once */
static int64_t indices(vvt_call *c)
{
    const int64_t R = c->dim.n[0], rows = R + c->dim.n[2];
    int32_t *idx = vvt_table(c, R);
    int64_t step = rows / 2 + 1;
    while (common_divisor(step, rows) > 1) step++;
    for (int64_t i = 0; i < R; i++) idx[i] = (int32_t)((i + 1) * step % rows);
    return rows;
}

static void fwd_shape(vvt_call *c)
{
    vvt_output(c, "y", VVT_ADDED, indices(c), c->dim.n[1], 0)->class = VVT_EXACT;
    vvt_input(c, "x", c->dim.n[0], c->dim.n[1]);
}

static void fwd_run(vvt_call *c)
{
    vvb_scatter_rows_fwd(vvt_at(c, Y), vvt_at(c, X), vvt_buffer_at(&c->device_table), c->dim.n[0], c->dim.n[1]);
}

static void fwd_oracle(vvt_call *c)
{
    vvo_scatter_rows_fwd(vvt_want(c, Y), vvt_host(c, X), c->table, c->dim.n[0], c->dim.n[1]);
}

static void bwd_shape(vvt_call *c)
{
    const int64_t rows = indices(c);
    vvt_array *dx = vvt_output(c, "dx", VVT_GRAD, c->dim.n[0], c->dim.n[1], 2);
    if (!c->how.acc) dx->class = VVT_EXACT;
    vvt_input(c, "dy", rows, c->dim.n[1]);
}

static void bwd_run(vvt_call *c)
{
    vvb_scatter_rows_bwd(vvt_at(c, Y), vvt_at(c, X), vvt_buffer_at(&c->device_table), c->dim.n[0], c->dim.n[1],
                         c->how.acc);
}

static void bwd_oracle(vvt_call *c)
{
    vvo_scatter_rows_bwd(vvt_want(c, Y), vvt_host(c, X), c->table, c->dim.n[0], c->dim.n[1]);
}

#define SIZES                                                                                                          \
    .sizes = 3, .medium = {{19, 11, 7}}, .variants = 1, .exact = 1,                                                    \
    .large = {{{257, 130, 100}}, {{1000, 33, 2000}}, {{3, 8000, 2}}}
static const vvt_op OPS[] = {
    {"scatter_rows_fwd", .shape = fwd_shape, .run = fwd_run, .oracle = fwd_oracle, .must = 1, SIZES},
    {"scatter_rows_bwd", .shape = bwd_shape, .run = bwd_run, .oracle = bwd_oracle, SIZES},
};

static Suite *suite(void) { return vvt_op_suite("backend/scatter_rows", OPS, 2); }

VVT_MAIN(suite)
