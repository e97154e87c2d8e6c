/* The dense decoder Qwen3 (Yang et al. 2025, arXiv:2505.09388), the language model that reads the tower's features.
 *
 *   ids [N] --- embed_tokens (rows of a table) ---> x [N,h]        x may be spliced with image features before it goes on
 *        L x   a = rms(x, input_layernorm)
 *              q = rope(rms_head(q_proj a, q_norm))  k = rope(rms_head(k_proj a, k_norm))  v = v_proj a
 *              x = x + o_proj attention(q, k, v)                  causal within each sequence; H query heads share K key heads
 *              n = rms(x, post_attention_layernorm)
 *              x = x + down_proj(silu(gate_proj n) * up_proj n)
 *   hidden = rms(x, norm)                                         logits = hidden W^T, W = embed_tokens when tied, else lm_head
 *
 * Tensors, after one of the prefixes "model." (Qwen3), "model.language_model." (multimodal checkpoints), "base_model.model." with or
 * without another "model." (PEFT), or none (Qwen3-Embedding); lm_head.weight stands beside them:
 *   embed_tokens.weight                                        [V,h]
 *   layers.{i}.input_layernorm.weight                          [h]
 *   layers.{i}.self_attn.q_proj.weight                         [H d, h]
 *   layers.{i}.self_attn.k_proj.weight, v_proj.weight          [K d, h]
 *   layers.{i}.self_attn.o_proj.weight                         [h, H d]
 *   layers.{i}.self_attn.q_norm.weight, k_norm.weight          [d]
 *   layers.{i}.post_attention_layernorm.weight                 [h]
 *   layers.{i}.mlp.gate_proj.weight, up_proj.weight            [I, h]
 *   layers.{i}.mlp.down_proj.weight                            [h, I]
 *   norm.weight                                                [h]
 *   lm_head.weight                                             [V,h], only when the embeddings are not tied
 *
 * Source: transformers, models/qwen3/modeling_qwen3.py.
 *
 * Easy to get wrong
 *   - The norms of q and k come before the rotation, over one head's d numbers, with one weight for all heads; v has none.
 *   - head_dim is its own setting: H d need not be h (0.6B: 2048 and 1024).
 *   - Query head j uses key head j / (H / K), rounded down. Rotary pairs are (d, d + head_dim/2).
 *   - Tied embeddings: the table's gradient adds that of the rows that were read and that of the output projection.
 *   - cos and sin are computed in double here, in float by transformers: at position 40960 its angles are off by 3e-3. */
#ifndef VV_QWEN3_H
#define VV_QWEN3_H

#include "base/json.h"
#include "model/params.h"

enum { VV_MAX_EOS = 8 };

typedef struct {
    int64_t hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim,
        vocab_size, max_position_embeddings;
    double rms_norm_eps, rope_theta, initializer_range;
    int tie_word_embeddings;
    int32_t eos[VV_MAX_EOS]; /* "eos_token_id": one or a list */
    int n_eos;
} vv_qwen3_config;

/* Class defaults of transformers' Qwen3Config, for keys that are absent. */
vv_qwen3_config vv_qwen3_config_default(void);
/* From config.json's root or from the "text_config" that a composed model holds; the caller passes the object itself. Absent keys
 * leave what *c holds; an absent head_dim is never derived from the widths. Refused, naming key, expected and found: another
 * model_type, rotary type or activation (silu), sliding window, bias or dropout of attention, layer types other than full_attention,
 * heads that do not divide, an odd head_dim. */
vv_status vv_qwen3_config_parse(vv_qwen3_config *c, const json_t *object, const char *where, vv_error *err) VV_MUST_USE;
json_t *vv_qwen3_config_to_json(const vv_qwen3_config *c); /* NULL without memory */

typedef struct {
    vv_tensor *input_layernorm, *q_proj, *k_proj, *v_proj, *o_proj, *q_norm, *k_norm, *post_attention_layernorm,
        *gate_proj, *up_proj, *down_proj;
} vv_qwen3_layer;

typedef struct {
    vv_qwen3_config config;
    vv_part part; /* "model.": in the order of the table above; lm_head.weight is not in it */
    vv_tensor *embed_tokens, *norm;
    vv_tensor *lm_head; /* embed_tokens itself when tied */
    vv_qwen3_layer *layers;
} vv_qwen3;

/* Declares the parameters model.* and lm_head.weight in params, not initialised. */
vv_status vv_qwen3_new(vv_qwen3 **out, vv_params *params, const vv_qwen3_config *c, vv_error *err) VV_MUST_USE;
void vv_qwen3_free(vv_qwen3 *m);
/* Matrices N(0, initializer_range), norms 1. */
vv_status vv_qwen3_init(vv_qwen3 *m, uint64_t seed, vv_error *err) VV_MUST_USE;
/* VV_FILE: a tensor is missing, has another shape, or is unknown. A tied checkpoint may carry lm_head.weight all the same: it is compared
 * with the embeddings, and a difference is warned about. */
vv_status vv_qwen3_load_weights(vv_qwen3 *m, const vv_weights *w, vv_error *err) VV_MUST_USE;

/* ---- forward ------------------------------------------------------------------------------------------------------------ */
/* Rows of the table; ids (host) [n], checked: "token 7: expected an id from 0 to V-1; got ...". */
vv_tensor *vv_qwen3_embed(vv_tape *t, const vv_qwen3 *m, const int32_t *ids, int64_t n);

/* S sequences packed one after the other, cu (host) [S+1] the prefix sums of their lengths, each at most max_position_embeddings;
 * positions count from 0 in each. x [N,h] (vv_qwen3_embed, or spliced) to the hidden states after the last norm [N,h]. Each layer is a
 * segment. */
vv_tensor *vv_qwen3_forward(vv_tape *t, const vv_qwen3 *m, vv_tensor *x, const int32_t *cu, int64_t S);

/* hidden [R,h] to logits [R,V]: for generation and for tests; training never makes this matrix (vv_linear_cross_entropy). */
vv_tensor *vv_qwen3_logits(vv_tape *t, const vv_qwen3 *m, vv_tensor *hidden);

/* ---- decoding ------------------------------------------------------------------------------------------------------------
 * Keys (after norm and rotation) and values of one sequence, layer by layer [capacity, K d]; grows as needed. */
typedef struct vv_kv_cache vv_kv_cache;
vv_status vv_kv_cache_new(vv_kv_cache **out, const vv_qwen3 *m, int64_t capacity, vv_error *err) VV_MUST_USE;
void vv_kv_cache_free(vv_kv_cache *c);
int64_t vv_kv_cache_length(const vv_kv_cache *c);
/* The next n tokens of the sequence, at positions length ... length+n-1, on a tape that does not record (no gradient goes through the
 * cache); the cache grows by n, and is as it was after a failure. Equals the last n rows of vv_qwen3_forward on the whole sequence, to
 * rounding. */
vv_tensor *vv_qwen3_decode(vv_tape *t, const vv_qwen3 *m, vv_tensor *x, vv_kv_cache *c);

#endif
