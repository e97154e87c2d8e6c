/* The vision tower of Qwen2-VL (Wang et al. 2024, arXiv:2409.12191, section 2.1), the backbone that VersaViT trains.
 *
 *   pixel_values [N,1176] --- patch_embed (Linear, no bias) ---> h [N,C]
 *        32 x   h = h + proj(attention(rope2d(qkv(norm1(h)))))          each picture attends to itself alone
 *               h = h + fc2(quick_gelu(fc1(norm2(h))))                   <- taps: h after any block, not normalised
 *   merger      z = ln_q(h) [N,C], four consecutive tokens side by side [N/4,4C]
 *               out = mlp.2(gelu(mlp.0(z))) [N/4,hidden_size]
 *
 * Tensors, after one of the prefixes "visual." (released checkpoints, what we write), "model.visual." (newer transformers) or none:
 *   patch_embed.proj.weight              [C, 3, temporal, patch, patch]
 *   blocks.{i}.norm1.weight, .bias       [C]                    blocks.{i}.norm2.weight, .bias   [C]
 *   blocks.{i}.attn.qkv.weight, .bias    [3C, C], [3C]          rows: all of q, all of k, all of v, each head by head
 *   blocks.{i}.attn.proj.weight, .bias   [C, C], [C]
 *   blocks.{i}.mlp.fc1.weight, .bias     [mlp_ratio C, C], ..   blocks.{i}.mlp.fc2.weight, .bias [C, mlp_ratio C], [C]
 *   merger.ln_q.weight, .bias            [C]
 *   merger.mlp.0.weight, .bias           [4C, 4C], [4C]         merger.mlp.2.weight, .bias       [hidden_size, 4C], ..
 *
 * Source: transformers, models/qwen2_vl/modeling_qwen2_vl.py, Qwen2VisionTransformerPretrainedModel.
 *
 * Where the facts come from: [P] printed in the VersaViT paper, [C] read in that public code, [I] inferred, [D] our default.
 *   [C] everything in the diagram and the table above; eps 1e-6; scores scaled by 1/sqrt(head_dim); rotary base 10000
 *   [P] 644.5 "M" parameters (Table 13)  [I] in units of 2^20, this tower with its 3584-wide merger: 675,759,104 / 2^20 = 644.45
 *   [P] dense heads read "uniformly sampled" layers  [I] the residual sum after a block, no norm  [D] which ones: the caller's list
 *
 * Easy to get wrong
 *   - Tokens run in merge-block order, not in raster order: in pixel_values, in the positions, in the taps.
 *   - Rotary: the first half of the angles turns with the row y, the second with the column x, of the full patch grid; pairs are
 *     (d, d + head_dim/2), not neighbours; the frequencies are those of dimension head_dim/2.
 *   - quick_gelu in the blocks, exact GELU in the merger. No final norm on the taps; ln_q is the only norm after the blocks.
 *   - "hidden_size" in config.json is the width of the merger's output, not of the tower (that is embed_dim).            */
#ifndef VV_QWEN2VL_VIT_H
#define VV_QWEN2VL_VIT_H

#include "base/json.h"
#include "data/preprocess.h"
#include "model/params.h"

typedef struct {
    int64_t depth, embed_dim, hidden_size, mlp_ratio, num_heads, in_channels, patch_size, temporal_patch_size,
        spatial_merge_size;
    vvb_gelu_kind hidden_act;
    double initializer_range;
    double rope_theta; /* ours: the published towers have no such key, always 10000 */
} vv_vit_config;

/* The published 7B configuration. */
vv_vit_config vv_vit_config_default(void);
/* From config.json's "vision_config" (or the root, when it is a bare vision configuration); absent keys keep the default.
 * VV_FILE naming file, key, expected and found. */
vv_status vv_vit_config_parse(vv_vit_config *c, const json_t *root, const char *where, vv_error *err) VV_MUST_USE;
json_t *vv_vit_config_to_json(const vv_vit_config *c); /* NULL without memory */

typedef struct {
    vv_affine norm1, norm2;
    vv_attn attn;
    vv_mlp_params mlp;
} vv_vit_block;

typedef struct {
    vv_vit_config config;
    vv_part part; /* in the order of the table above */
    vv_tensor *patch_embed;
    vv_vit_block *blocks;
    vv_affine ln_q, merger_0, merger_2;
} vv_vit;

/* Declares the tower's parameters in params, not initialised. They live as long as params does. */
vv_status vv_vit_new(vv_vit **out, vv_params *params, const vv_vit_config *c, vv_error *err) VV_MUST_USE;
void vv_vit_free(vv_vit *m);

/* Linear and patch weights N(0, initializer_range), biases 0, norms 1 and 0 [C]; rounded to float in both builds. */
vv_status vv_vit_init(vv_vit *m, uint64_t seed, vv_error *err) VV_MUST_USE;

/* Fills all parameters. VV_FILE: a tensor is missing, has another shape, or is unknown under the tower's prefix. */
vv_status vv_vit_load_weights(vv_vit *m, const vv_weights *w, vv_error *err) VV_MUST_USE;

/* The tower on n packed pictures: pixel_values [N, in_channels temporal patch^2], N = sum of t h w over the grids.
 * taps: n_taps block numbers (0-based); tap[i] receives h after block taps[i] [N,C], in token order. Returns the merged
 * features [N/merge^2, hidden_size], pictures one after the other, raster order over the merged grid; with merged == 0 it stops
 * after the last block and returns h. Each block is a segment. */
typedef struct {
    const int64_t *taps;
    int64_t n_taps;
    vv_tensor **tap;
    int merged;
} vv_vit_wanted;
vv_tensor *vv_vit_forward(vv_tape *t, const vv_vit *m, vv_tensor *pixel_values, const vv_grid *grid, int64_t n,
                          const vv_vit_wanted *want);

/* Rows [N,C] of one picture or of several, from token order to raster order, picture by picture. */
vv_tensor *vv_vit_raster(vv_tape *t, const vv_vit *m, const char *name, vv_tensor *h, const vv_grid *grid, int64_t n);

#endif
