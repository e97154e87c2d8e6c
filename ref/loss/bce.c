#include "loss/masks.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *z = nd->in[1];
    const vv_masks s = vv_masks_of(z);
    const vv_into dx = vv_grad(t, x);
    VV_RUN(t, 14 * x->n, vvb_bce_bwd(dx.p, nd->out->grad, vv_f(x), vv_f(z), s.R, s.C, dx.acc));
}
static const vv_opdef BCE = {"bce", backward};

vv_tensor *vv_bce(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *z, const char *const *sample)
{
    if (!vv_masks_ready(t, "bce", name, x, z, sample)) return NULL;
    const vv_masks s = vv_masks_of(z);
    vv_tensor *y = vv_new(t, name, 0, NULL);
    if (!vv_ready(t, 1, y)) return NULL;
    VV_RUN(t, 12 * x->n, vvb_bce_fwd(vv_f(y), vv_f(x), vv_f(z), s.R, s.C));
    return vv_done(t, (vv_node){.op = &BCE, .in = {x, z}, .out = y});
}
