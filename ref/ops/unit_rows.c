#include "ops/ops.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *y = nd->out;
    const vv_into dx = vv_grad(t, x);
    VV_RUN(t, 6 * y->n,
           vvb_unit_rows_bwd(dx.p, y->grad, vv_f(y), vv_f(nd->saved[0]), vv_rows(x), vv_last(x), vv_last(y), dx.acc));
}
static const vv_opdef UNIT_ROWS = {"unit_rows", backward};

vv_tensor *vv_unit_rows(vv_tape *t, const char *name, vv_tensor *x, int64_t D)
{
    if (!vv_ready(t, 1, x)) return NULL;
    if (!vv_expect(t, "unit_rows", name, D >= 0 && D <= vv_last(x), "no more numbers than a row has", "x", x))
        return NULL;
    const int64_t dim[2] = {vv_rows(x), D};
    vv_tensor *y = vv_new(t, name, 2, dim), *n = vv_saved(t, dim[0]);
    if (!vv_ready(t, 2, y, n)) return NULL;
    VV_RUN(t, 3 * y->n, vvb_unit_rows_fwd(vv_f(y), vv_f(n), vv_f(x), dim[0], vv_last(x), D));
    return vv_done(t, (vv_node){.op = &UNIT_ROWS, .in = {x}, .out = y, .saved = {n}});
}
