#include "nn/nn.h"

vv_tensor *vv_mlp(vv_tape *t, const vv_mlp_params *p, vvb_gelu_kind act, vv_tensor *x, vv_tensor *res, const char *out)
{
    vv_enter(t, "mlp", -1);
    vv_tensor *hidden = vv_linear(t, "fc1", x, p->fc1.weight, p->fc1.bias, NULL);
    vv_tensor *active = vv_gelu(t, "act", hidden, act);
    vv_leave(t);
    return vv_linear(t, out, active, p->fc2.weight, p->fc2.bias, res);
}
