#include "ops/ops.h"

static vvb_conv_shape shape_of(const vv_tensor *x, const vv_tensor *w, int64_t stride, int64_t pad)
{
    return (vvb_conv_shape){x->dim[0], x->dim[1], x->dim[2], x->dim[3], w->dim[0], w->dim[2], w->dim[3], stride, pad};
}

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *w = nd->in[1], *b = nd->in[2], *y = nd->out;
    const vvb_conv_shape s = shape_of(x, w, nd->n[0], nd->n[1]);
    const vv_into dx = vv_grad(t, x), dw = vv_grad(t, w), db = vv_grad(t, b);
    VV_RUN(t, 2 * y->n * s.Ci * s.kh * s.kw * (x->needs_grad + w->needs_grad),
           vvb_conv2d_bwd(dx.p, dw.p, db.p, y->grad, vv_f(x), vv_f(w), &s, dx.acc));
}
static const vv_opdef CONV2D = {"conv2d", backward};

vv_tensor *vv_conv2d(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, vv_tensor *b, int64_t stride,
                     int64_t pad)
{
    if (!vv_ready(t, 2, x, w)) return NULL;
    if (!vv_expect(t, "conv2d", name, x->ndim == 4 && w->ndim == 4 && w->dim[1] == x->dim[3] && w->n > 0,
                   "x [B,H,W,Ci] and w [Co,Ci,kh,kw]", "x w", x, w))
        return NULL;
    if (b && !vv_expect(t, "conv2d", name, b->n == w->dim[0], "as many biases as output channels of w", "w b", w, b))
        return NULL;
    const vvb_conv_shape s = shape_of(x, w, stride, pad);
    const vv_tensor numbers = {.ndim = 2, .dim = {stride, pad}}; /* to be told */
    if (!vv_expect(t, "conv2d", name,
                   stride > 0 && pad >= 0 && pad <= INT32_MAX && s.kh <= s.Hh + 2 * pad && s.kw <= s.Ww + 2 * pad,
                   "a stride from 1, a padding from 0 on, and a kernel no larger than x with it", "x w stride,pad", x,
                   w, &numbers))
        return NULL;
    const int64_t dim[4] = {s.B, vvb_conv_size(s.Hh, s.kh, stride, pad), vvb_conv_size(s.Ww, s.kw, stride, pad), s.Co};
    vv_tensor *y = vv_new(t, name, 4, dim);
    if (!vv_ready(t, 1, y)) return NULL;
    VV_RUN(t, 2 * y->n * s.Ci * s.kh * s.kw, vvb_conv2d_fwd(vv_f(y), vv_f(x), vv_f(w), vv_f(b), &s));
    return vv_done(t, (vv_node){.op = &CONV2D, .in = {x, w, b}, .out = y, .n = {stride, pad}});
}
