#include "ops/ops.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *idx = nd->saved[0], *y = nd->out;
    const vv_into dx = vv_grad(t, x);
    VV_RUN(t, y->n, vvb_gather_rows_bwd(dx.p, y->grad, vv_i(idx), idx->n, vv_last(x), vv_rows(x), dx.acc));
}
static const vv_opdef GATHER_ROWS = {"gather_rows", backward};

vv_tensor *vv_gather_rows(vv_tape *t, const char *name, vv_tensor *x, const int32_t *idx, int64_t R)
{
    if (!vv_ready(t, 1, x)) return NULL;
    for (int64_t i = 0; i < R; i++)
        if (idx[i] < 0 || idx[i] >= vv_rows(x)) {
            char full[VV_NAME_MAX];
            return vv_tape_fail(t, VV_USAGE, "%s: gather_rows: expected indices from 0 to %lld; got %d at place %lld",
                                vv_name(x, full), (long long)vv_rows(x) - 1, (int)idx[i], (long long)i);
        }
    const int64_t dim[2] = {R, vv_last(x)};
    vv_tensor *y = vv_new(t, name, 2, dim), *table = vv_indices(t, idx, R);
    if (!vv_ready(t, 2, y, table)) return NULL;
    VV_RUN(t, 0, vvb_gather_rows_fwd(vv_f(y), vv_f(x), vv_i(table), R, vv_last(x)));
    return vv_done(t, (vv_node){.op = &GATHER_ROWS, .in = {x}, .out = y, .saved = {table}});
}
