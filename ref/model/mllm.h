/* The multimodal language model: tower, projector and decoder on packed conversations.
 *
 *   x = embed_tokens(ids), but each <|image_pad|> is replaced, in order, by a row of the projected features of the pictures
 *   hidden = decoder(x)
 *
 * The ids carry one placeholder for each merged patch, (h/2)(w/2) for a picture of h x w patches. Positions count 0, 1, 2 ... over the
 * spliced sequence: Qwen3 has 1-D rotary positions (M-RoPE belongs to Qwen2-VL's own decoder).
 *
 * Source: VersaViT, section 4.1; the splice as in transformers, models/qwen2_vl/modeling_qwen2_vl.py (masked_scatter).
 *
 * Easy to get wrong: the row of <|image_pad|> in the table is read and replaced, so it gets no gradient from the input; the features are those
 * before the tower's merger, in token order (merge blocks), which is the order of the placeholders. */
#ifndef VV_MLLM_H
#define VV_MLLM_H

#include "model/versavit.h"

/* Packed conversations. All arrays are the batch's own. */
typedef struct {
    int64_t S, N;          /* sequences; tokens in all */
    int32_t *ids, *labels; /* [N]; labels VV_IGNORED where nothing is learnt */
    int32_t *cu;           /* [S+1] */
    vv_batch pictures;     /* of all sequences, in the order of their placeholders */
} vv_mllm_batch;           /* zeroed to begin */
void vv_mllm_batch_free(vv_mllm_batch *b);

/* Appends a conversation of n tokens (labels NULL: nothing is learnt) and its pictures, preprocessed already. VV_FILE when the placeholders
 * are not as many as the pictures' features: "sample NAME: expected 64 image placeholders for its 1 picture; found 63". */
vv_status vv_mllm_add(vv_mllm_batch *b, const vv_model *m, const char *name, const int32_t *ids, const int32_t *labels,
                      int64_t n, const vv_batch *pictures, vv_error *err) VV_MUST_USE;

/* Projected features of packed pictures, one row a placeholder [F,h]. */
vv_tensor *vv_mllm_features(vv_tape *t, const vv_model *m, const vv_batch *pictures);

/* The rows that the decoder reads [n,h]: embeddings, and features (NULL: none) where ids hold image_pad. */
vv_tensor *vv_mllm_splice(vv_tape *t, const vv_qwen3 *llm, const int32_t *ids, int64_t n, int32_t image_pad,
                          vv_tensor *features);

/* All of it: hidden states after the last norm [N,h]. */
vv_tensor *vv_mllm_forward(vv_tape *t, const vv_model *m, const vv_mllm_batch *b);

/* The id of <|image_pad|>: the tokenizer's. */
int32_t vv_image_pad(const vv_model *m);

#endif
