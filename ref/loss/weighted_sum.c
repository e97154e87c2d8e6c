#include "loss/loss.h"

/* dx += a dy, dy += b dy: numbers of one element each */
static void backward(vv_tape *t, vv_node *nd)
{
    const double weight[2] = {nd->s, ((const double *)nd->ctx)[0]};
    for (int k = 0; k < 2; k++) {
        if (!nd->in[k]->needs_grad) continue;
        const vv_into d = vv_grad(t, nd->in[k]);
        VV_RUN(t, 2, {
            if (!d.acc) vvb_zero(d.p, (int64_t)sizeof *d.p);
            vvb_axpy(d.p, nd->out->grad, weight[k], 1);
        });
    }
}
static const vv_opdef WEIGHTED_SUM = {"weighted_sum", backward};

vv_tensor *vv_weighted_sum(vv_tape *t, const char *name, double a, vv_tensor *x, double b, vv_tensor *y)
{
    if (!vv_ready(t, 2, x, y)) return NULL;
    if (!vv_expect(t, "weighted_sum", name, x->n == 1 && y->n == 1, "two numbers", "x y", x, y)) return NULL;
    vv_tensor *z = vv_new(t, name, 0, NULL);
    const void *ctx = vv_keep(t, &b, sizeof b);
    if (!vv_ready(t, 1, z)) return NULL;
    VV_RUN(t, 3, {
        vvb_zero(z->data, (int64_t)sizeof(vv_real));
        vvb_axpy(vv_f(z), vv_f(x), a, 1);
        vvb_axpy(vv_f(z), vv_f(y), b, 1);
    });
    return vv_done(t, (vv_node){.op = &WEIGHTED_SUM, .in = {x, y}, .out = z, .s = a, .ctx = ctx});
}
