#include "ops/ops.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *g = nd->in[0], *u = nd->in[1], *y = nd->out;
    const vv_into dg = vv_grad(t, g), du = vv_grad(t, u);
    VV_RUN(t, 14 * y->n, vvb_silu_mul_bwd(dg.p, du.p, y->grad, vv_f(g), vv_f(u), y->n, dg.acc, du.acc));
}
static const vv_opdef SILU_MUL = {"silu_mul", backward};

static int same_shape(const vv_tensor *a, const vv_tensor *b)
{
    int same = a->ndim == b->ndim;
    for (int i = 0; same && i < a->ndim; i++) same = a->dim[i] == b->dim[i];
    return same;
}

vv_tensor *vv_silu_mul(vv_tape *t, const char *name, vv_tensor *g, vv_tensor *u)
{
    if (!vv_ready(t, 2, g, u)) return NULL;
    if (!vv_expect(t, "silu_mul", name, g != u && same_shape(g, u), "two tensors of the same shape", "g u", g, u))
        return NULL;
    vv_tensor *y = vv_new(t, name, g->ndim, g->dim);
    if (!vv_ready(t, 1, y)) return NULL;
    VV_RUN(t, 8 * y->n, vvb_silu_mul_fwd(vv_f(y), vv_f(g), vv_f(u), y->n));
    return vv_done(t, (vv_node){.op = &SILU_MUL, .in = {g, u}, .out = y});
}
