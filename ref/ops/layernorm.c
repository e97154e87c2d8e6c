#include "ops/ops.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *w = nd->in[1], *b = nd->in[2], *y = nd->out;
    const vv_into dx = vv_grad(t, x), dw = vv_grad(t, w), db = vv_grad(t, b);
    VV_RUN(t, 14 * x->n,
           vvb_layernorm_bwd(dx.p, dw.p, db.p, y->grad, vv_f(x), vv_f(w), vv_f(nd->saved[0]), vv_f(nd->saved[1]),
                             x->n / w->n, w->n, dx.acc));
}
static const vv_opdef LAYERNORM = {"layernorm", backward};

vv_tensor *vv_layernorm(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, vv_tensor *b, double eps)
{
    if (!vv_ready(t, 3, x, w, b)) return NULL;
    const int64_t C = vv_last(x), R = vv_rows(x);
    if (!vv_expect(t, "layernorm", name, C > 0 && w->n == C && b->n == C, "w and b as long as the last axis of x",
                   "x w b", x, w, b))
        return NULL;
    vv_tensor *y = vv_new(t, name, x->ndim, x->dim), *mean = vv_saved(t, R), *rstd = vv_saved(t, R);
    if (!vv_ready(t, 3, y, mean, rstd)) return NULL;
    VV_RUN(t, 8 * x->n, vvb_layernorm_fwd(vv_f(y), vv_f(mean), vv_f(rstd), vv_f(x), vv_f(w), vv_f(b), R, C, eps));
    return vv_done(t, (vv_node){.op = &LAYERNORM, .in = {x, w, b}, .out = y, .saved = {mean, rstd}});
}
