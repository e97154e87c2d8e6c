/* The two-way transformer of SAM (Kirillov et al. 2023, arXiv:2304.02643, section 3 and appendix A): a few tokens and the pixels of a
 * picture read each other.
 *
 * P instances of n tokens each, packed as rows [P n, D]; B pictures of m pixels each [B m, D]; image_of[p] is the picture of instance p.
 * T is the tokens at the start, pos [m, D] the code of the pixels' positions. attn(q, k, v) = out_proj(softmax attention of
 * q_proj q, k_proj k, v_proj v), heads of equal width, scores scaled by 1/sqrt(width of a head).
 *   block 0:  Q = norm1(attn(Q, Q, Q))                          nothing is added to it
 *   others :  Q = norm1(Q + attn(Q+T, Q+T, Q))
 *   each   :  Q = norm2(Q + attn(Q+T, K+pos, K));  Q = norm3(Q + lin2 relu(lin1 Q));  K = norm4(K + attn(K+pos, Q+T, Q))
 *   last   :  Q = norm_final_attn(Q + attn(Q+T, K+pos, K))
 * K starts as the pixels of pictures and becomes the pixels of instances, [P m, D], at its first update: until there everything that is
 * made of K alone is made once a picture ("#pictures" in traces, where SAM's modules return a copy for each instance).
 *
 * Source: facebookresearch/segment-anything, modeling/transformer.py. LayerNorm eps 1e-5, PyTorch's default, there; transformers'
 * SamModel takes 1e-6 in norm1 to norm4. */
#ifndef VV_TWO_WAY_TRANSFORMER_H
#define VV_TWO_WAY_TRANSFORMER_H

#include "nn/nn.h"

typedef struct {
    vv_affine q_proj, k_proj, v_proj, out_proj;
} vv_cross_attn;

typedef struct {
    vv_cross_attn self_attn, token_to_image, image_to_token;
    vv_affine norm1, norm2, norm3, norm4, lin1, lin2;
} vv_two_way_block;

typedef struct {
    vv_two_way_block *blocks; /* [depth] */
    int64_t depth, heads;
    vv_cross_attn final_attn;
    vv_affine norm_final_attn;
} vv_two_way;

typedef struct {
    int64_t P, n, B, m;      /* P n and P m below 2^31 */
    const int32_t *image_of; /* (host) [P], not decreasing, below B */
} vv_two_way_layout;

typedef struct {
    vv_tensor *Q, *K; /* [P n, D], [P m, D] */
} vv_two_way_state;

/* Under the scope "transformer". tokens [P n, D], pixels [B m, D], pos [m, D]; depth at least 1. */
vv_two_way_state vv_two_way_forward(vv_tape *t, const vv_two_way *p, const vv_two_way_layout *l, vv_tensor *tokens,
                                    vv_tensor *pixels, vv_tensor *pos);

#endif
