/* Emulated bf16 data precision: the forward and the backward see weights rounded to bf16 (nearest, ties to even) from the masters, which keep
 * the precision of vv_real; so do moments. AdamW updates the masters, and checkpoints hold them.
 *
 * What operations write is rounded too, activations, their gradients and the sums of weight gradients (vv_step.bf16); products add up in
 * vv_real, and losses, norms' statistics and softmax are computed in it, as bf16 hardware does. */
#ifndef VV_TRAIN_MASTERS_H
#define VV_TRAIN_MASTERS_H

#include "tape/tape.h"

typedef struct {
    vv_params *params;
    vv_real **rounded; /* [n] each as large as its parameter */
    int in_use;
} vv_masters;

vv_status vv_masters_new(vv_masters *m, vv_params *params, vv_error *err) VV_MUST_USE;
void vv_masters_free(vv_masters *m); /* the masters are in place again */
/* Between these two the parameters' data are the rounded ones. */
void vv_masters_round(vv_masters *m);
void vv_masters_restore(vv_masters *m);

#endif
