/* Blocks that several models share, forward only, composed of ops/. Parameters carry the checkpoint's names. */
#ifndef VV_NN_H
#define VV_NN_H

#include "ops/ops.h"

/* weight and bias of a Linear or a norm */
typedef struct {
    vv_tensor *weight, *bias;
} vv_affine;

typedef struct {
    vv_affine qkv, proj;
} vv_attn;

/* What every block of a tower shares about the positions of its tokens. */
typedef struct {
    vv_rope_angles angles;
    const int32_t *cu; /* prefix sums of the S segment lengths (host) */
    int64_t S, heads;
} vv_layout;

/* res + proj(attention(rope(qkv(x)))) under the scope "attn"; scores are scaled by 1/sqrt(head_dim). */
vv_tensor *vv_self_attention(vv_tape *t, const vv_attn *p, const vv_layout *l, vv_tensor *x, vv_tensor *res);

typedef struct {
    vv_affine fc1, fc2;
} vv_mlp_params;

/* res + fc2(gelu(fc1(x))) under the scope "mlp"; the result is named `out` in the enclosing scope. */
vv_tensor *vv_mlp(vv_tape *t, const vv_mlp_params *p, vvb_gelu_kind act, vv_tensor *x, vv_tensor *res, const char *out);

#endif
