/* Forward and backward of one task's batch: the gradients of lambda * loss are ADDED to those of the parameters.
 *
 *   captions       tower, projector, decoder; cross-entropy of the supervised tokens (loss/cross_entropy.h)
 *   depth          tower, depth head; lambda_ssi ssi + lambda_gm gradient_matching
 *   segmentation   tower, mask head, logits resized to the squares; lambda_bce bce + lambda_dice dice; no mask in a batch: loss 0
 *
 * Micro-batches share the denominators of their batch, so that a batch gives the same loss and the same gradients, to rounding, however it
 * is cut. A loss of loss/loss.h divides by its own call's; a micro-batch's is weighted with that over the batch's:
 *   bce, dice, ssi    masks, or valid pixels of maps that count (reduction image: maps), of the micro-batch over those of the batch: w
 *   gradient_matching has denominators M_k of its own for each scale k, so w_k. With L(K) the loss of the first K scales:
 *                     sum_k w_k (L(k+1) - L(k)) = sum_k (w_k - w_{k+1}) L(k+1),  w_K = 0        (terms with equal weights drop out)
 * Whether a depth map counts depends on its label alone (it is known and not flat).
 *
 * A tower without a part that trains runs on a tape that does not record: its activations go at once, and its features are inputs. */
#ifndef VV_TRAIN_STEP_H
#define VV_TRAIN_STEP_H

#include "train/batch.h"

typedef struct {
    const vv_model *model;
    vv_tape *tape;   /* records */
    vv_tape *frozen; /* does not; for a tower that keeps its weights, else NULL */
    int bf16;        /* what operations write, forward and backward, is rounded to bf16 (vvb_set_precision) */
} vv_step;

typedef struct {
    double loss, part[2]; /* ssi and gradient_matching, or bce and dice */
    int64_t skipped;      /* depth maps without a gradient: nothing known, flat labels, flat predictions */
} vv_task_loss;

/* A loss that is not finite is VV_NONFINITE. */
vv_status vv_task_gradients(const vv_step *s, const vv_task_batch *b, vv_task_loss *loss, vv_error *err) VV_MUST_USE;
/* The same bits of the loss, without a backward: the tape need not record. */
vv_status vv_task_loss_alone(const vv_step *s, const vv_task_batch *b, vv_task_loss *loss, vv_error *err) VV_MUST_USE;
/* The same on dry tapes, of a batch of one micro-batch that has shapes alone; the tapes keep what they counted until they are reset. */
vv_status vv_task_dry(const vv_step *s, const vv_task_batch *b, vv_error *err) VV_MUST_USE;

/* ---- denominators of depth maps ------------------------------------------------------------------------------------------- */
typedef struct {
    double pixels, maps, scale[VVB_MAX_SCALES]; /* M and M_k of the maps that count, and how many there are */
} vv_depth_window;
/* Adds n maps d [n,size,size]. */
vv_status vv_depth_count(vv_depth_window *w, const vv_real *d, int64_t n, int64_t size, const vv_depth_config *c,
                         vv_error *err) VV_MUST_USE;

#endif
