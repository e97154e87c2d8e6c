#include "ops/ops.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *w = nd->in[1], *b = nd->in[2], *y = nd->out;
    const vv_into dx = vv_grad(t, x), dw = vv_grad(t, w), db = vv_grad(t, b);
    VV_RUN(t, 2 * y->n * w->dim[0] * (x->needs_grad + w->needs_grad),
           vvb_conv_transpose2d_bwd(dx.p, dw.p, db.p, y->grad, vv_f(x), vv_f(w), x->dim[0], x->dim[1], x->dim[2],
                                    w->dim[0], w->dim[1], w->dim[2], dx.acc));
}
static const vv_opdef CONV_TRANSPOSE2D = {"conv_transpose2d", backward};

vv_tensor *vv_conv_transpose2d(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, vv_tensor *b)
{
    if (!vv_ready(t, 2, x, w)) return NULL;
    if (!vv_expect(t, "conv_transpose2d", name,
                   x->ndim == 4 && w->ndim == 4 && w->dim[0] == x->dim[3] && w->dim[2] == w->dim[3] && w->n > 0,
                   "x [B,H,W,Ci] and w [Ci,Co,k,k]", "x w", x, w))
        return NULL;
    if (b && !vv_expect(t, "conv_transpose2d", name, b->n == w->dim[1], "as many biases as output channels of w", "w b",
                        w, b))
        return NULL;
    const int64_t k = w->dim[2], dim[4] = {x->dim[0], k * x->dim[1], k * x->dim[2], w->dim[1]};
    vv_tensor *y = vv_new(t, name, 4, dim);
    if (!vv_ready(t, 1, y)) return NULL;
    VV_RUN(t, 2 * y->n * w->dim[0],
           vvb_conv_transpose2d_fwd(vv_f(y), vv_f(x), vv_f(w), vv_f(b), x->dim[0], x->dim[1], x->dim[2], w->dim[0],
                                    w->dim[1], k));
    return vv_done(t, (vv_node){.op = &CONV_TRANSPOSE2D, .in = {x, w, b}, .out = y});
}
