/* Losses of the dense heads: depth maps known up to scale and shift, and masks.
 *
 *   L_depth = lambda_ssi ssi + lambda_gm gradient_matching        1.0, 0.5
 *   L_seg   = lambda_bce bce + lambda_dice dice                   2.0, 0.5
 *
 * Formulas and gradients, every switch and every edge case: backend/backend.h, under the same names. Sources of the choices:
 *   ssi.align median          Depth Anything (Yang et al. 2024, arXiv:2401.10891, section 3.1);
 *                             DepthAnything/Video-Depth-Anything, loss/loss.py
 *   ssi.align ls              MiDaS (Ranftl et al. 2020, arXiv:1907.01341, equations 3 and 4)
 *   ssi.median average        numpy.median; lower is torch.median
 *   ssi.trim                  MiDaS, equation 7 (0.2 there, without its factor 1/2): trimmed map by map as printed there
 *   ssi.reduction             reduction_batch_based and reduction_image_based of the code published with MiDaS
 *   gm.mode norm              MiDaS, equation 11, on normalised maps as in Video-Depth-Anything, loss/loss.py, TrimmedProcrustesLoss
 *   gm.mode ls                the same on least-squares aligned predictions: MiDaS; isl-org/ZoeDepth, zoedepth/trainer/loss.py
 *   gm.mode paper, paper_sum  as VersaViT prints it, with and without the division by the number of pixels
 *   gm.mode megadepth         facebookresearch/dinov2, dinov2/eval/depth/models/losses/gradientloss.py: its grid (1, 2, 4, 6, and
 *                             differences over two places), on normalised maps where it takes logarithms of metric depth
 *   bce, dice                 dvlab-research/LISA, model/LISA.py (weights, reductions; its scale 1000 and eps 1e-6 are smooth = 1e-3)
 *
 * Why `paper` is no default. It compares s grad d with grad p, s = s(p)/s(d): halve the prediction and both halve, the loss too.
 * Beside ssi, which is blind to scale, nothing resists a prediction that shrinks to nothing. The default divides both maps by
 * their own spread first.
 *
 * Easy to get wrong
 *   - The median is one of valid pixels only, and it moves with the prediction: the gradient passes through it and through the
 *     mean deviation. So sum g = 0 and sum p g = 0 in each map, whatever the label.
 *   - The label is disparity, not depth; 0 (sky) is a valid label, infinite and NaN ones are not.
 *   - The denominators are sums over the whole batch: of one call. Micro-batches are other denominators.
 *   - Targets of masks are 0 or 1 at the resolution of the logits; N = 0 masks is a loss of 0.
 *
 * Kinks. Every absolute value and every choice of a median makes the loss not differentiable somewhere: between two values
 * that are nearly equal the *exact* gradient jumps. Another median pixel moves the gradient of that pixel from one place to
 * another (it is the sum of all others); a residual or a difference that changes its sign moves one or two pixels by 2/M. The
 * value is continuous. Two implementations whose predictions differ by rounding are therefore compared like this:
 *   1. Compare the losses; they need no care.
 *   2. Record the medians of one (the tensor "#medians", int32 [2,B,2]) and force them on the other (vv_depth_maps.medians). What is
 *      left are signs.
 *   3. Compare gradients away from pixels whose |R|, or whose difference to a neighbour, is below the error of the
 *      predictions; the trimmed set likewise. On identical predictions (tests here) nothing is left out. */
#ifndef VV_LOSS_H
#define VV_LOSS_H

#include "base/json.h"
#include "tape/tape.h"

/* ---- depth ----------------------------------------------------------------------------------------------------------------- */
typedef struct {
    vvb_depth_args how;
    double lambda_ssi, lambda_gm;
} vv_depth_config;
vv_depth_config vv_depth_config_default(void);

/* From {"ssi": {"align": "median", "median": "lower", "trim": 0, "reduction": "batch", "eps": 1e-6, "degenerate": "skip",
 * "detach_norm": false}, "gm": {"mode": "norm", "scales": 4}, "lambda_ssi": 1, "lambda_gm": 0.5}: these are the defaults, and what is
 * absent keeps c's value. Median, eps, degenerate and detach_norm hold for both losses. */
vv_status vv_depth_config_parse(vv_depth_config *c, const json_t *obj, const char *where, vv_error *err) VV_MUST_USE;

/* A batch of predictions and labels. */
typedef struct {
    vv_tensor *p;       /* [B,Hh,Ww] or [B,Hh,Ww,1] */
    vv_tensor *d;       /* [B,Hh,Ww], a constant; a pixel that is not finite is invalid */
    vv_tensor *mask;    /* int32 [B,Hh,Ww], a constant, 0: invalid. NULL: what is finite in d is valid */
    vv_tensor *medians; /* int32 [2,B,2]: the choice to use (see Kinks). NULL: found by the first loss, and put here */
    const char *const *sample; /* (host) [B] names for messages; NULL: numbers alone */
} vv_depth_maps;

/* What became of the maps of a call (vvb_map). Maps of the first three kinds are in no sum and no denominator; flat labels neither, and
 * flat predictions have no gradient, unless degenerate is "clamp". */
typedef struct {
    int64_t maps, empty, single, flat_labels, flat_predictions;
    int64_t pixels;     /* valid ones, of all maps */
    int64_t flat_label; /* the first such map, for a warning; -1 */
    int64_t flat_prediction;
} vv_depth_report;

/* The medians of p and of d, int32 [2,B,2], traced under this name; no gradient. */
vv_tensor *vv_depth_medians(vv_tape *t, const char *name, const vv_depth_maps *m);

/* Scalars. A prediction that is not finite is an error (VV_NONFINITE) that names sample and pixel. report may be NULL. */
vv_tensor *vv_ssi(vv_tape *t, const char *name, vv_depth_maps *m, const vv_depth_config *c, vv_depth_report *report);
vv_tensor *vv_gradient_matching(vv_tape *t, const char *name, vv_depth_maps *m, const vv_depth_config *c,
                                vv_depth_report *report);
/* Its terms are traced as "ssi" and "gradient_matching". The report is ssi's. */
vv_tensor *vv_depth_loss(vv_tape *t, const char *name, vv_depth_maps *m, const vv_depth_config *c,
                         vv_depth_report *report);

/* ---- masks ----------------------------------------------------------------------------------------------------------------- */
typedef struct {
    double lambda_bce, lambda_dice, smooth;
} vv_seg_config;
vv_seg_config vv_seg_config_default(void);

/* From {"lambda_bce": 2, "lambda_dice": 0.5, "dice": {"smooth": 1e-3}}, likewise. */
vv_status vv_seg_config_parse(vv_seg_config *c, const json_t *obj, const char *where, vv_error *err) VV_MUST_USE;

/* Scalars. x logits [R,...], z targets as many, a constant, in [0,1]; sample (host) [R] or NULL as above. */
vv_tensor *vv_bce(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *z, const char *const *sample);
vv_tensor *vv_dice(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *z, double smooth, const char *const *sample);
/* Its terms are traced as "bce" and "dice". */
vv_tensor *vv_seg_loss(vv_tape *t, const char *name, vv_tensor *x, vv_tensor *z, const vv_seg_config *c,
                       const char *const *sample);

/* ---- for these files ------------------------------------------------------------------------------------------------------- */
/* a x + b y of two scalars. */
vv_tensor *vv_weighted_sum(vv_tape *t, const char *name, double a, vv_tensor *x, double b, vv_tensor *y);

/* x, R maps of Hh x Ww, is finite: otherwise the tape's error says in which sample and where. */
int vv_is_finite(vv_tape *t, const char *op, const vv_tensor *x, int64_t R, int64_t Ww, const char *const *sample);

#endif
