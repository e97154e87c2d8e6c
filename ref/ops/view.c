#include "ops/ops.h"

static void backward(vv_tape *t, vv_node *nd) { vv_grad_hand_over(t, nd->in[0], nd->out); }
static const vv_opdef VIEW = {"view", backward};

vv_tensor *vv_view(vv_tape *t, const char *name, vv_tensor *x, int ndim, const int64_t *dim)
{
    if (!vv_ready(t, 1, x)) return NULL;
    vv_tensor *y = vv_alias(t, name, x, ndim, dim);
    if (!vv_ready(t, 1, y) || !vv_expect(t, "view", name, y->n == x->n, "as many numbers as before", "x y", x, y))
        return NULL;
    return vv_done(t, (vv_node){.op = &VIEW, .in = {x}, .out = y});
}
