/* The caption and VQA loss: cross-entropy of the next token, over the supervised tokens of packed sequences.
 *
 *   CE_t = logsumexp(z_t) - z_t[label_{t+1}]       position t predicts the label of t+1; labels of -100 are ignored
 *   sample:  L = 1/B sum_b 1/L_b sum_t CE_t        L_b targets of sequence b, B sequences that have any (VersaViT, section 4.2.1)
 *   token:   L = 1/N sum CE_t                      N targets in all (transformers since 4.46)
 *
 * B and N count the whole accumulation window and are fixed before its first backward (vv_ce_count over all its batches): one batch of
 * 8 equals 8 batches of 1 to rounding. A mean of means would weigh short answers more.
 *
 * Easy to get wrong: the shift by one happens here and nowhere else; a label at the first position of a sequence has nobody to predict
 * it; what is masked is masked by position, never by id (the pad token is also a token that ends a text). */
#ifndef VV_CROSS_ENTROPY_H
#define VV_CROSS_ENTROPY_H

#include "ops/ops.h"

typedef enum { VV_CE_TOKEN, VV_CE_SAMPLE } vv_ce_reduction;

typedef struct {
    vv_ce_reduction reduction;
    int64_t sequences, tokens; /* B and N of the window */
    int64_t empty;             /* sequences without a target: they count nowhere, and the caller warns */
} vv_ce_window;

/* Counts a batch in: labels (host) [N], cu (host) [S+1] the prefix sums of the sequences' lengths. */
void vv_ce_count(vv_ce_window *w, const int32_t *labels, const int32_t *cu, int64_t S);

/* The part of the window's loss that this batch contributes: hidden [N,h] after the last norm, table [V,h] (the tied embeddings or
 * lm_head). 0 without a gradient when the batch has no target. per_token, unless NULL, receives the CE_t [targets] in order. */
vv_tensor *vv_cross_entropy(vv_tape *t, const char *name, vv_tensor *hidden, vv_tensor *table, const int32_t *labels,
                            const int32_t *cu, int64_t S, const vv_ce_window *w, vv_tensor **per_token);

#endif
