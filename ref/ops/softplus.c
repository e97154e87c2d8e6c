#include "ops/ops.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *y = nd->out;
    const vv_into dx = vv_grad(t, x);
    VV_RUN(t, 5 * x->n, vvb_softplus_bwd(dx.p, y->grad, vv_f(x), x->n, dx.acc));
}
static const vv_opdef SOFTPLUS = {"softplus", backward};

vv_tensor *vv_softplus(vv_tape *t, const char *name, vv_tensor *x)
{
    if (!vv_ready(t, 1, x)) return NULL;
    vv_tensor *y = vv_new(t, name, x->ndim, x->dim);
    if (!vv_ready(t, 1, y)) return NULL;
    VV_RUN(t, 10 * x->n, vvb_softplus_fwd(vv_f(y), vv_f(x), x->n));
    return vv_done(t, (vv_node){.op = &SOFTPLUS, .in = {x}, .out = y});
}
