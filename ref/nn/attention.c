#include <math.h>

#include "nn/nn.h"

vv_tensor *vv_self_attention(vv_tape *t, const vv_attn *p, const vv_layout *l, vv_tensor *x, vv_tensor *res)
{
    vv_enter(t, "attn", -1);
    vv_tensor *qkv = vv_linear(t, "qkv", x, p->qkv.weight, p->qkv.bias, NULL);
    vv_tensor *turned = vv_rope(t, "qkv#rotated", qkv, l->angles, 2 * l->heads); /* q and k turn, v does not */
    const double head_dim = (double)(p->qkv.weight->dim[0] / (3 * l->heads));
    const vvb_attention_args args = {
        .cu_q = l->cu, .S = l->S, .H = l->heads, .Hkv = l->heads, .scale = 1 / sqrt(head_dim)};
    vv_tensor *context = vv_attention(t, "#context", turned, NULL, NULL, &args);
    vv_tensor *y = vv_linear(t, "#residual", context, p->proj.weight, p->proj.bias, res);
    vv_leave(t);
    return y;
}
