#include "ops/ops.h"

/* dx = dy w: one scalar times a constant tensor */
static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *w = nd->saved[0], *y = nd->out;
    const vv_into dx = vv_grad(t, x);
    VV_RUN(t, 2 * x->n, {
        vv_real dy;
        vvb_download(&dy, y->grad, sizeof dy);
        if (!dx.acc) vvb_zero(dx.p, x->n * (int64_t)sizeof(vv_real));
        vvb_axpy(dx.p, vv_f(w), (double)dy, x->n);
    });
}
static const vv_opdef DOT = {"dot", backward};

vv_tensor *vv_dot(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w)
{
    if (!vv_ready(t, 2, x, w)) return NULL;
    if (!vv_expect(t, "dot", name, x->n == w->n && !w->needs_grad, "a constant w as large as x", "x w", x, w))
        return NULL;
    vv_tensor *y = vv_new(t, name, 0, NULL);
    if (!vv_ready(t, 1, y)) return NULL;
    VV_RUN(t, 2 * x->n, vvb_dot(vv_f(y), vv_f(x), vv_f(w), x->n));
    return vv_done(t, (vv_node){.op = &DOT, .in = {x}, .out = y, .saved = {w}});
}
