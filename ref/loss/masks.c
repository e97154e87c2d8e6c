/* Batches of masks: their shapes, and the weighted loss. */
#include "loss/masks.h"

int vv_masks_ready(vv_tape *t, const char *op, const char *name, const vv_tensor *x, const vv_tensor *z,
                   const char *const *sample)
{
    if (!vv_ready(t, 2, x, z)) return 0;
    const int ok = x->n == z->n && x->ndim > 0 && z->ndim > 0 && x->dim[0] == z->dim[0] && !z->needs_grad &&
                   x->kind == VV_REALS && z->kind == VV_REALS;
    if (!vv_expect(t, op, name, ok, "logits and constant targets of as many masks and pixels", "logits targets", x, z))
        return 0;
    return vv_is_finite(t, op, x, x->dim[0], z->ndim > 2 ? z->dim[2] : vv_masks_of(z).C, sample);
}

vv_tensor *vv_seg_loss(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *z, const vv_seg_config *c,
                       const char *const *sample)
{
    vv_tensor *bce = vv_bce(t, "bce", x, z, sample), *dice = vv_dice(t, "dice", x, z, c->smooth, sample);
    return vv_weighted_sum(t, name, c->lambda_bce, bce, c->lambda_dice, dice);
}
