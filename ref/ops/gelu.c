#include "ops/ops.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *y = nd->out;
    const vv_into dx = vv_grad(t, x);
    VV_RUN(t, 14 * x->n, vvb_gelu_bwd(dx.p, y->grad, vv_f(x), x->n, (vvb_gelu_kind)nd->n[0], dx.acc));
}
static const vv_opdef GELU = {"gelu", backward};

vv_tensor *vv_gelu(vv_tape *t, const char *name, vv_tensor *x, vvb_gelu_kind kind)
{
    if (!vv_ready(t, 1, x)) return NULL;
    vv_tensor *y = vv_new(t, name, x->ndim, x->dim);
    if (!vv_ready(t, 1, y)) return NULL;
    VV_RUN(t, 8 * x->n, vvb_gelu_fwd(vv_f(y), vv_f(x), x->n, kind));
    return vv_done(t, (vv_node){.op = &GELU, .in = {x}, .out = y, .n = {kind}});
}
