/* Emulated bf16 data precision: the forward and the backward see weights rounded to bf16 (nearest, ties to even) from the masters, which keep
 * the precision of vv_real; so do gradients and moments. AdamW updates the masters, and checkpoints hold them.
 *
 * What is emulated is the weights alone. Activations, their gradients and the sums of products stay vv_real: they are rounded inside
 * operations, which is the backend's. A run in bf16 on other hardware is therefore rounder than this one. */
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
