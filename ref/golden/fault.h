/* Where a candidate goes wrong first, and why.
 *
 *   first      the first tensor in the order of execution, forward then backward, that fails
 *   before     the nearest tensors before it that are judged by floors: how far ITS inputs were. Small multiples: the fault is in this layer
 *   precision  which arithmetic the whole looks like, from all tensors with floors and bands
 *   cause      a known mistake that leaves much less of the difference: it explains the first tensor better than noise does
 *
 * Causes are computed from the first tensor alone, its golden neighbours and the golden weights; nothing is run again:
 *   layout     transposed, channels last, rows in another order (raster for merge-block), columns in another order, shifted by one
 *   factor     a constant factor (-1, 1/N, sqrt(head size), a number of the case), and what number that is
 *   left out   the difference is a recorded tensor (a residual) or the same vector in each row (a bias)
 *   recomputed from the golden input: GELU (erf, tanh, quick), norms (unbiased variance, no mean, other eps), rotary embedding
 *              (neighbours for halves, other direction, axes exchanged), attention of tower, decoder and mask head (across pictures,
 *              causal or not, scale, key heads, axis of the softmax), positions of the mask head, the gate of the decoder, a square
 *              weight transposed; of activations also their gradients; steps and moments of AdamW (betas, bias correction, eps,
 *              decay, clipping)
 * A recomputation counts only where the same function, done right, reproduces the golden tensor. */
#ifndef VV_GOLDEN_FAULT_H
#define VV_GOLDEN_FAULT_H

#include "golden/judge.h"

enum { VV_FAULT_BEFORE = 3, VV_FAULT_TEXT = 400 };

typedef struct {
    const vv_judgement *first;                   /* NULL: none */
    const vv_judgement *before[VV_FAULT_BEFORE]; /* the nearest last; n_before of them */
    int n_before;
    char precision[VV_FAULT_TEXT]; /* "behaves like float32"; "" when there is nothing to say it from */
    char cause[VV_FAULT_TEXT];     /* "": none known */
    double left;                   /* relative RMS that remains when the cause is taken away */
} vv_fault;

vv_status vv_fault_find(vv_fault *f, const vv_judged *j, vv_error *err) VV_MUST_USE;

/* The arithmetic that the candidate behaves like, as words. */
void vv_fault_precision(char text[VV_FAULT_TEXT], const vv_judged *j);

#endif
