#include "ops/ops.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *y = nd->out;
    const vv_into dx = vv_grad(t, x);
    if (dx.acc) VV_RUN(t, 2 * x->n, vvb_axpy(dx.p, y->grad, nd->s, x->n));
    else VV_RUN(t, x->n, vvb_scale(dx.p, y->grad, nd->s, x->n));
}
static const vv_opdef SCALE = {"scale", backward};

vv_tensor *vv_scale(vv_tape *t, const char *name, vv_tensor *x, double a)
{
    if (!vv_ready(t, 1, x)) return NULL;
    vv_tensor *y = vv_new(t, name, x->ndim, x->dim);
    if (!vv_ready(t, 1, y)) return NULL;
    VV_RUN(t, x->n, vvb_scale(vv_f(y), vv_f(x), a, x->n));
    return vv_done(t, (vv_node){.op = &SCALE, .in = {x}, .out = y, .s = a});
}
