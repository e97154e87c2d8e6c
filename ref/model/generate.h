/* Generating text token by token: prefill, then one cached step a token.
 *
 * What happens to the logits z [V], in this order (transformers, generation/logits_process.py), all in double on the host:
 *   1. repetition penalty p:  z = z p if z < 0 else z / p, once for each distinct id of prompt and output (never image placeholders)
 *   2. greedy (temperature 0): the lowest id among the largest z gets probability 1
 *      otherwise z = z / temperature;  top_k: what is below the k-th largest z is dropped (ties with it survive);
 *      top_p: with the probabilities of what is left from the largest down, of equal ones the lowest id first, the smallest number
 *      of them is kept whose sum reaches top_p, at least one;  softmax of what is left
 *   3. a draw: the lowest id whose cumulative probability, over ascending ids, exceeds the counter-based random number of (seed,
 *      position): repeatable, not the number that torch would draw
 * Ids beyond the tokenizer's vocabulary (padding of the table) are never chosen. */
#ifndef VV_GENERATE_H
#define VV_GENERATE_H

#include "model/qwen3.h"

typedef struct {
    double temperature;        /* 0: greedy (the default) */
    int64_t top_k;             /* 0: off */
    double top_p;              /* 1: off */
    double repetition_penalty; /* 1: off */
    int penalty_on_output_only;
    uint64_t seed;
    int64_t max_new_tokens; /* default 128 */
    int64_t vocab_used;     /* ids below this exist; 0: all of the table */
    const int32_t *stop;    /* ids that end the text, besides the model's eos list; they are not part of it */
    int64_t n_stop;
    const int32_t *no_penalty; /* ids that the penalty leaves alone (image placeholders) */
    int64_t n_no_penalty;
} vv_generate_options;
vv_generate_options vv_generate_default(void);
vv_status vv_generate_check(const vv_generate_options *o, vv_error *err) VV_MUST_USE; /* VV_USAGE naming the option */

/* The probabilities [V] after all processing (greedy: one 1). seen: ids for the penalty. A logit -Inf is never chosen; VV_NONFINITE
 * for NaN or +Inf, or when no logit is finite. */
vv_status vv_next_probabilities(double *p, const vv_real *logits, int64_t V, const int32_t *seen, int64_t n_seen,
                                const vv_generate_options *o, vv_error *err) VV_MUST_USE;

/* The draw of step 3 for the token at this position of the sequence. p [V] as above, u in (0,1). */
int32_t vv_draw_token(const double *p, int64_t V, uint64_t seed, int64_t position);

/* Told of each token as it comes; nonzero stops. */
typedef int (*vv_token_fn)(void *ctx, int32_t id);

/* Continues the prompt whose embedded (perhaps spliced) rows are x [n,h] on a tape that does not record and whose ids [n] are given
 * for the penalty. Writes at most max_new_tokens ids to out, *n_out of them, without the one that ended the text; *stopped tells whether
 * one did, and not the number of tokens, fn, or the end of the positions that the model knows (max_position_embeddings). After the
 * prefill the tape is reset: x is gone. After a failure out holds the tokens until then. */
vv_status vv_generate(vv_tape *t, const vv_qwen3 *m, vv_tensor *x, const int32_t *ids, int64_t n,
                      const vv_generate_options *o, vv_token_fn fn, void *ctx, int32_t *out, int64_t *n_out,
                      int *stopped, vv_error *err) VV_MUST_USE;

#endif
