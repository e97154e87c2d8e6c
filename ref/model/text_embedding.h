/* Text embeddings in the way of Qwen3-Embedding (Zhang et al. 2025, arXiv:2506.05176): the hidden state after the last norm at the last
 * token, cut to its first `dim` numbers, then divided by its length.
 *
 *   ids = encode(text), cut to max_length - 1, + the token that the tokenizer's post-processor appends (<|endoftext|>)
 *   e = hidden[last];  e = e[0..dim);  e / max(|e|, 1e-12)
 *
 * Queries may carry an instruction: "Instruct: {task}\nQuery:{text}" (no space after "Query:"). VersaViT embeds its referring texts with the
 * 8B model and does not say whether with an instruction; none is the default.
 *
 * Source: QwenLM/Qwen3-Embedding, README.
 *
 * Easy to get wrong: the end token is not the eos token of the configuration; cutting comes before normalising. */
#ifndef VV_TEXT_EMBEDDING_H
#define VV_TEXT_EMBEDDING_H

#include "model/versavit.h"

typedef struct {
    const char *instruct; /* the task; NULL: none */
    int64_t dim;          /* numbers kept; 0: all */
    int64_t max_length;   /* tokens of a text, the end token included; 0: 8192 */
} vv_embed_options;

/* The ids of a text as the encoder reads them, appended. */
vv_status vv_embed_ids(const vv_model *m, const char *text, const vv_embed_options *o, vv_ids *out,
                       vv_error *err) VV_MUST_USE;

/* Rows [S,dim] of S packed texts of at least one token, with their gradients when the tape records. dim 0: all. */
vv_tensor *vv_embed_texts(vv_tape *t, const vv_qwen3 *llm, const int32_t *ids, const int32_t *cu, int64_t S,
                          int64_t dim);

#endif
