#include "ops/ops.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *w = nd->in[1], *b = nd->in[2], *res = nd->in[3], *y = nd->out;
    const int64_t Co = w->dim[0], Ci = w->n / Co, R = y->n / Co;
    const vv_into dx = vv_grad(t, x), dw = vv_grad(t, w), db = vv_grad(t, b);
    VV_RUN(t, 2 * R * Ci * Co * (x->needs_grad + w->needs_grad),
           vvb_linear_bwd(dx.p, dw.p, db.p, y->grad, vv_f(x), vv_f(w), R, Ci, Co, dx.acc));
    if (res) vv_grad_hand_over(t, res, y);
}
static const vv_opdef LINEAR = {"linear", backward};

static vv_tensor *plain(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, vv_tensor *b, vv_tensor *res)
{
    if (!vv_ready(t, 2, x, w)) return NULL;
    const int64_t Co = w->ndim ? w->dim[0] : 0, Ci = Co ? w->n / Co : 0;
    if (!vv_expect(t, "linear", name, Co > 0 && x->ndim > 0 && vv_last(x) == Ci, "x to end in the row length of w",
                   "x w", x, w))
        return NULL;
    if (b && !vv_expect(t, "linear", name, b->n == Co, "as many biases as rows of w", "w b", w, b)) return NULL;
    int64_t dim[VV_MAXDIM];
    for (int i = 0; i < x->ndim; i++) dim[i] = x->dim[i];
    dim[x->ndim - 1] = Co;
    const int64_t R = vv_rows(x);
    if (res && !vv_expect(t, "linear", name, res->n == R * Co && vv_last(res) == Co,
                          "the residual to have the shape of the result", "x w residual", x, w, res))
        return NULL;
    vv_tensor *y = vv_new(t, name, x->ndim, dim);
    if (!vv_ready(t, 1, y)) return NULL;
    VV_RUN(t, 2 * R * Ci * Co, vvb_linear_fwd(vv_f(y), vv_f(x), vv_f(w), vv_f(b), vv_f(res), R, Ci, Co));
    return vv_done(t, (vv_node){.op = &LINEAR, .in = {x, w, b, res}, .out = y});
}

vv_tensor *vv_linear(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, vv_tensor *b, vv_tensor *res)
{
    if (!w || !w->adapter) return plain(t, name, x, w, b, res);
    const vv_adapter *d = w->adapter;
    vv_tensor *y = plain(t, NULL, x, w, b, res), *low = plain(t, NULL, x, d->a, NULL, NULL);
    return plain(t, name, vv_scale(t, NULL, low, d->scale), d->b, NULL, y);
}
