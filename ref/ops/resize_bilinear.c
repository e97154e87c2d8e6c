#include "ops/ops.h"

static void backward(vv_tape *t, vv_node *nd)
{
    vv_tensor *x = nd->in[0], *y = nd->out;
    const vv_into dx = vv_grad(t, x);
    VV_RUN(t, 8 * y->n,
           vvb_resize_bilinear_bwd(dx.p, y->grad, x->dim[0], x->dim[1], x->dim[2], y->dim[1], y->dim[2], x->dim[3],
                                   (int)nd->n[0], dx.acc));
}
static const vv_opdef RESIZE_BILINEAR = {"resize_bilinear", backward};

vv_tensor *vv_resize_bilinear(vv_tape *t, const char *name, vv_tensor *x, int64_t Ho, int64_t Wo, int align_corners)
{
    if (!vv_ready(t, 1, x)) return NULL;
    const vv_tensor size = {.ndim = 2, .dim = {Ho, Wo}}; /* to be told */
    if (!vv_expect(t, "resize_bilinear", name,
                   x->ndim == 4 && x->dim[1] > 0 && x->dim[2] > 0 && Ho > 0 && Wo > 0 && Ho <= INT32_MAX &&
                       Wo <= INT32_MAX,
                   "x [B,H,W,C] with pixels, and a size from 1 to 2^31 - 1", "x size", x, &size))
        return NULL;
    const int64_t dim[4] = {x->dim[0], Ho, Wo, x->dim[3]};
    vv_tensor *y = vv_new(t, name, 4, dim);
    if (!vv_ready(t, 1, y)) return NULL;
    VV_RUN(
        t, 9 * y->n,
        vvb_resize_bilinear_fwd(vv_f(y), vv_f(x), x->dim[0], x->dim[1], x->dim[2], Ho, Wo, x->dim[3], align_corners));
    return vv_done(t, (vv_node){.op = &RESIZE_BILINEAR, .in = {x}, .out = y, .n = {align_corners}});
}
