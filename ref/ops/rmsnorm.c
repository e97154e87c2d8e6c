#include "ops/ops.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *w = nd->in[1], *y = nd->out;
    const vv_into dx = vv_grad(t, x), dw = vv_grad(t, w);
    VV_RUN(t, 10 * x->n,
           vvb_rmsnorm_bwd(dx.p, dw.p, y->grad, vv_f(x), vv_f(w), vv_f(nd->saved[0]), x->n / w->n, w->n, dx.acc));
}
static const vv_opdef RMSNORM = {"rmsnorm", backward};

vv_tensor *vv_rmsnorm(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *w, double eps)
{
    if (!vv_ready(t, 2, x, w)) return NULL;
    const int64_t C = w->n;
    if (!vv_expect(t, "rmsnorm", name, C > 0 && x->ndim > 0 && vv_last(x) % C == 0,
                   "the last axis of x to be a multiple of w", "x w", x, w))
        return NULL;
    vv_tensor *y = vv_new(t, name, x->ndim, x->dim), *rstd = vv_saved(t, x->n / C);
    if (!vv_ready(t, 2, y, rstd)) return NULL;
    VV_RUN(t, 4 * x->n, vvb_rmsnorm_fwd(vv_f(y), vv_f(rstd), vv_f(x), vv_f(w), x->n / C, C, eps));
    return vv_done(t, (vv_node){.op = &RMSNORM, .in = {x, w}, .out = y, .saved = {rstd}});
}
