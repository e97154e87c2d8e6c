/* The segmentation head: SAM's neck, prompt encoder and mask decoder (Kirillov et al. 2023, arXiv:2304.02643), prompted by a text
 * embedding as in LISA (Lai et al. 2024, arXiv:2308.00692).
 *
 *   features [B h w, C] --- neck: 1x1, LayerNorm, 3x3, LayerNorm ---> E [B,h,w,D]
 *   text [P,d_text] --- text_proj ---> one sparse prompt token for each of P instances; image_of[p] is the picture it belongs to
 *   tokens T = [iou_token, mask_tokens.., text] [P,n,D];   K = E + no_mask_embed, pos = image_pe (a fixed random Fourier code)
 *   two-way transformer (nn/two_way_transformer.h): tokens and pixels read each other; K becomes one map for each instance
 *   K --- upscaling: transposed 2x2, LayerNorm, GELU, transposed 2x2, GELU ---> U [P,4h,4w,D/8]
 *   mask logits [P,4h,4w] = hypernetwork_0(mask token 0) . U;    resized bilinearly (corners not aligned) to any size
 *   image_pe at row r, column q:  [sin z, cos z],  z = 2 pi (x G[0] + y G[1]),  x = (2q + 1)/w - 1,  y = (2r + 1)/h - 1
 *
 * Tensors under "mask_head.", under SAM's own names; M mask tokens, S = 16:
 *   image_encoder.neck.{0: [D,C,1,1], 1: norm, 2: [D,D,3,3], 3: norm}; the convolutions have no bias                   918,528
 *   prompt_encoder.no_mask_embed.weight [1,D]                                                        all of prompt_encoder: 6,220
 *                 .pe_layer.positional_encoding_gaussian_matrix G [2,D/2], N(0,1), never trained                 (and 256 in G)
 *                 .point_embeddings.{0..3}.weight, .not_a_point_embed.weight [1,D] (not read)
 *                 .mask_downscaling.{0: [S/4,1,2,2], 1: norm, 3: [S,S/4,2,2], 4: norm, 6: [D,S,1,1]} (not read)
 *   mask_decoder.iou_token.weight [1,D], .mask_tokens.weight [M,D]                                                    4,058,340
 *               .transformer.layers.{i}.{self_attn, cross_attn_token_to_image, cross_attn_image_to_token}.{q,k,v,out}_proj,
 *                                       .norm1 .. .norm4, .mlp.lin1, .mlp.lin2;  .final_attn_token_to_image, .norm_final_attn
 *               .output_upscaling.{0: [D,D/4,2,2], 1: norm, 3: [D/4,D/8,2,2]}
 *               .output_hypernetworks_mlps.{0..M-1}.layers.{0,1,2} (1.. not read), .iou_prediction_head.layers.{0,1,2} (not read)
 *   text_proj [D,d_text] (linear), text_proj.0 [d_text,d_text] and .2 [D,d_text] with ReLU between (mlp, as in LISA)   1,048,832
 * The numbers are the parameters of the published sizes. What is not read is there so that checkpoints keep it and counts agree; it
 * gets no gradient. iou_head 0 leaves out iou_token and iou_prediction_head: with mask_tokens 1 there is one output token.
 *
 * Source: facebookresearch/segment-anything, modeling/image_encoder.py (neck), prompt_encoder.py, transformer.py, mask_decoder.py;
 * dvlab-research/LISA for text embeddings as sparse prompts.
 *
 * Easy to get wrong
 *   - The first block replaces the tokens by its self attention: no residual, no position. The positional part of the tokens is T itself,
 *     the INITIAL tokens, everywhere: T has a gradient from every use.
 *   - Norms: eps 1e-6 in neck and upscaling (over channels of a pixel), 1e-5 in the transformer. ReLU in its MLPs, erf GELU in upscaling.
 *   - Self attention is D wide, the cross attentions D / 2; scores are scaled by their own head width.
 *   - Image features are indexed by image_of, never copied: instances of a picture share the keys of the first block.
 *   - G[0] goes with x, the column. G is no parameter in the original (a buffer), but it must be saved and loaded.
 *   - transformers keeps G twice (shared_image_embedding, prompt_encoder.shared_embedding) and saves one of the two. */
#ifndef VV_MASK_HEAD_H
#define VV_MASK_HEAD_H

#include "base/json.h"
#include "model/params.h"
#include "nn/two_way_transformer.h"

typedef enum { VV_TEXT_LINEAR, VV_TEXT_MLP, VV_TEXT_NONE } vv_text_proj;

typedef struct {
    int64_t width;       /* C, the tower's; set before parsing */
    int64_t depth;       /* blocks of the tower; set before parsing */
    int64_t layer;       /* whose output is read; default the last */
    int64_t dim;         /* D, 256: a multiple of 8, and of twice the heads */
    int64_t heads;       /* 8 */
    int64_t blocks;      /* 2 */
    int64_t mlp;         /* 2048 */
    int64_t mask_tokens; /* 4; 1 is possible */
    int iou_head;        /* default true; it has no loss and gets no gradient */
    vv_text_proj text_proj;
    int64_t text_dim;  /* d_text, 4096; D when text_proj is none */
    double text_scale; /* of the text when text_proj is none; default sqrt(D/2) = 11.3, the norm of a position's code */
} vv_mask_config;

/* From the object "mask_head": {"layer", "dim", "heads", "blocks", "mlp", "mask_tokens", "iou_head": true, "text_proj":
 * "linear"|"mlp"|"none", "text_dim", "text_scale"}; NULL: defaults; unknown keys are errors. */
vv_status vv_mask_config_parse(vv_mask_config *c, const json_t *object, const char *where, vv_error *err) VV_MUST_USE;
json_t *vv_mask_config_to_json(const vv_mask_config *c); /* NULL without memory */

typedef struct {
    vv_mask_config config;
    vv_part part;                       /* "mask_head.": in the order of the table above */
    vv_tensor *neck_0, *neck_2;         /* convolutions */
    vv_affine neck_1, neck_3;           /* norms */
    vv_tensor *gaussian, *no_mask;      /* G; no_mask_embed */
    vv_tensor *iou_token, *mask_tokens; /* iou_token NULL without an IoU head */
    vv_two_way transformer;             /* blocks: owned */
    vv_affine upscale_0, upscale_1, upscale_3;
    vv_affine hyper[3]; /* layers of output_hypernetworks_mlps.0 */
    vv_affine text[2];  /* linear: the first alone; none: NULL */
} vv_mask;
const vv_mask_config *vv_mask_config_of(const vv_mask *m);

/* Declares the parameters in params, not initialised. */
vv_status vv_mask_new(vv_mask **out, vv_params *params, const vv_mask_config *c, vv_error *err) VV_MUST_USE;
void vv_mask_free(vv_mask *m);
/* As SAM's modules start: layers U(+-1/sqrt(inputs)) with their biases, norms 1 and 0, embeddings, tokens and G N(0,1). */
vv_status vv_mask_init(vv_mask *m, uint64_t seed, vv_error *err) VV_MUST_USE;
/* Under mask_head. (ours), with SAM's own names (image_encoder.neck.*, prompt_encoder.*, mask_decoder.*), in the layout of
 * transformers' SamModel, by one table of names, or as LISA has it (model.visual_model. before SAM's names, and
 * model.text_hidden_fcs.0.* for text_proj, an mlp); what is not of these parts (the rest of an image encoder) is passed over. Stock
 * checkpoints have no text_proj: with VV_MASK_STOCK it keeps its start. */
enum { VV_MASK_WHOLE, VV_MASK_STOCK };
vv_status vv_mask_load_weights(vv_mask *m, const vv_weights *w, int stock, vv_error *err) VV_MUST_USE;

/* features [B h w, C] in raster order; text [P,text_dim], P at least 1; image_of (host) [P], not decreasing, below B: a picture may have
 * any number of instances, none too. Returns logits [P,4h,4w]. */
vv_tensor *vv_mask_forward(vv_tape *t, const vv_mask *m, vv_tensor *features, int64_t B, int64_t h, int64_t w,
                           vv_tensor *text, const int32_t *image_of, int64_t P);
/* The same logits at the size of the image [P,Hh,Ww]. */
vv_tensor *vv_mask_resize(vv_tape *t, const char *name, vv_tensor *logits, int64_t Hh, int64_t Ww);

#endif
