/* The depth head: DPT (Ranftl et al. 2021, arXiv:2103.13413) in the form of Depth Anything V2 (Yang et al. 2024, arXiv:2406.09414).
 *
 *   tap i [B h w,C] --- projects.i (1x1) ---> [B,h,w,oc_i] --- resize_layers.i ---> y_i      sizes 4h, 2h, h, h/2 (rounded up)
 *   r_i = scratch.layer{i+1}_rn y_i (3x3, no bias)                                            [.., F]
 *   p_L = fuse_L(r_L);  p_i = fuse_i(p_{i+1}, r_i), from the deepest level to the first
 *     fuse(a, b) = out_conv( up( RCU2( a + RCU1(b) ) ) )      up: bilinear, align_corners, to the size of the next level (the last: twice)
 *     RCU(x) = conv2(relu(conv1(relu(x)))) + x                the skip is x itself, not relu(x)
 *   o = output_conv1 p_1 (3x3);  o = up(o) to (14h, 14w);  d = final(output_conv2.2 relu(output_conv2.0 o))      [B,14h,14w]
 * The result is relative inverse depth (disparity), >= 0 with the default final activation. Three levels: without the last, or
 * (first_scale 2) without the first size. 14 is the patch size.
 *
 * Tensors, after "depth_head." (L levels; i = 0 .. L-1, j = 1 .. L, u and v = 1, 2; weights and, but for layer{j}_rn, biases):
 *   tap_norm.{i}                                [C], [C]              with tap_norm only: ours
 *   projects.{i}                                [oc_i, C, 1, 1]
 *   resize_layers.{i}                           [oc_i, oc_i, k, k]    transposed, k = stride = 4 or 2; none where the size stays;
 *                                                                     k = 3, stride 2, padding 1 where it halves
 *   scratch.layer{j}_rn.weight                  [F, oc_i, 3, 3]
 *   scratch.refinenet{j}.out_conv               [F, F, 1, 1]
 *   scratch.refinenet{j}.resConfUnit{u}.conv{v} [F, F, 3, 3]
 *   scratch.output_conv1                        [F/2, F, 3, 3]
 *   scratch.output_conv2.0, .2                  [32, F/2, 3, 3], [1, 32, 1, 1]
 * Activations are traced under the same names; "#sum" and "#up" of a refinenet are what goes into RCU2 and what comes out of up.
 *
 * Source: DepthAnything/Depth-Anything-V2, depth_anything_v2/dpt.py (DPTHead without a class token) and util/blocks.py.
 *
 * Where the facts come from: [P] printed in the VersaViT paper, [C] read in that public code, [I] inferred, [D] our default.
 *   [C] everything in the diagram and the table above but tap_norm; the 32 channels
 *   [P] 37.0 "M" parameters (Table 13); three uniformly sampled layers
 *   [I] in units of 2^20, four levels with F 256 and out_channels 256, 512, C, C (C = 1280): 38,812,097 / 2^20 = 37.01
 *   [D] which layers: 10, 21, 31 of 32, the last read twice; no norm on the taps
 *
 * Easy to get wrong
 *   - out_conv comes after the upsampling, and the upsampling aligns corners.
 *   - The deepest level has no second input: its resConfUnit1 exists in checkpoints and counts, but nothing reads it. It gets no gradient
 *     and the optimizer skips it.
 *   - Taps are in raster order; the tower's are not.
 *   - A final ReLU that is 0 everywhere passes no gradient ever again: watch vv_dpt_dead. */
#ifndef VV_DPT_HEAD_H
#define VV_DPT_HEAD_H

#include "base/json.h"
#include "model/params.h"

enum { VV_DPT_LEVELS = 4 };
typedef enum { VV_DPT_RELU, VV_DPT_SOFTPLUS, VV_DPT_NONE } vv_dpt_final;

typedef struct {
    int64_t width;  /* C, the tower's; set before parsing */
    int64_t depth;  /* blocks of the tower: taps are below it; set before parsing */
    int64_t patch;  /* pixels a token side: the output is patch h x patch w; set before parsing */
    int64_t levels; /* 3 or 4 */
    int64_t taps[VV_DPT_LEVELS], out_channels[VV_DPT_LEVELS];
    int64_t features;        /* F */
    int64_t output_features; /* of output_conv1; default F/2 */
    int64_t first_scale;     /* of level 0's map over the grid: 4 (4, 2, 1, 1/2), or with three levels 2 (2, 1, 1/2) */
    int unused_unit;         /* the deepest resConfUnit1 exists (default 1) */
    int tap_norm;            /* a LayerNorm on each level's tap, eps 1e-6 (default 0) */
    vv_dpt_final final;
} vv_dpt_config;

/* From the object "depth_head": {"taps": [..], "out_channels": [..], "features": 256, "output_features": 128, "first_scale": 4,
 * "unused_unit": true, "tap_norm": "none"|"ln", "final_act": "relu"|"softplus"|"none"}; unknown keys are errors. The lists have a number
 * for each level, and one of them tells how many there are; without lists there are four. Default taps are a third, two thirds and
 * all of the way from block 0 to the last (10, 21, 31 of 32), the last for the fourth level too; channels 256, 512, C, C. */
vv_status vv_dpt_config_parse(vv_dpt_config *c, const json_t *object, const char *where, vv_error *err) VV_MUST_USE;
json_t *vv_dpt_config_to_json(const vv_dpt_config *c); /* NULL without memory */

typedef struct vv_dpt vv_dpt; /* config, part "depth_head.", parameters: dpt_parts.h */
const vv_dpt_config *vv_dpt_config_of(const vv_dpt *m);

/* Declares the head's parameters in params, not initialised. They live as long as params does. */
vv_status vv_dpt_new(vv_dpt **out, vv_params *params, const vv_dpt_config *c, vv_error *err) VV_MUST_USE;
void vv_dpt_free(vv_dpt *m);
/* As torch starts its modules: weights and biases U(+-1/sqrt(fan_in)), tap_norm 1 and 0. */
vv_status vv_dpt_init(vv_dpt *m, uint64_t seed, vv_error *err) VV_MUST_USE;
/* Under depth_head. (ours and the original repository's) or in the layout of transformers (neck.*, head.*), by one table of names.
 * VV_FILE: a tensor is missing, has another shape, or is unknown. */
vv_status vv_dpt_load_weights(vv_dpt *m, const vv_weights *w, vv_error *err) VV_MUST_USE;
/* Writes the head alone, as model.safetensors in the folder dir, in the layout of transformers' DepthAnythingForDepthEstimation (neck.*,
 * head.*). VV_USAGE for a head that it has no place for. */
vv_status vv_dpt_export(const vv_dpt *m, const char *dir, vv_error *err) VV_MUST_USE;

/* tap[level] [B h w, C] in raster order, for each level (one tensor may serve two). Returns d [B, patch h, patch w]. Each way
 * from a tap to r, each unit 1, each way from a sum to the next level and the way from p_1 to d is a segment. */
vv_tensor *vv_dpt_forward(vv_tape *t, const vv_dpt *m, vv_tensor *const *tap, int64_t B, int64_t h, int64_t w);
/* Whether all numbers of d are 0. */
int vv_dpt_dead(const vv_tensor *d);

#endif
