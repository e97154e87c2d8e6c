#include "loss/masks.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *z = nd->in[1];
    const vv_masks s = vv_masks_of(z);
    const vv_into dx = vv_grad(t, x);
    VV_RUN(t, 16 * x->n, vvb_dice_bwd(dx.p, nd->out->grad, vv_f(x), vv_f(z), vv_f(nd->saved[0]), s.R, s.C, dx.acc));
}
static const vv_opdef DICE = {"dice", backward};

vv_tensor *vv_dice(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *z, double smooth, const char *const *sample)
{
    if (!vv_masks_ready(t, "dice", name, x, z, sample)) return NULL;
    if (!(smooth > 0)) return vv_tape_fail(t, VV_USAGE, "dice: smooth: expected a number above 0; got %g", smooth);
    const vv_masks s = vv_masks_of(z);
    vv_tensor *y = vv_new(t, name, 0, NULL), *sums = vv_saved(t, 2 * s.R);
    if (!vv_ready(t, 2, y, sums)) return NULL;
    VV_RUN(t, 12 * x->n, vvb_dice_fwd(vv_f(y), vv_f(sums), vv_f(x), vv_f(z), s.R, s.C, smooth));
    return vv_done(t, (vv_node){.op = &DICE, .in = {x, z}, .out = y, .saved = {sums}});
}
