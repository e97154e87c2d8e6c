/* Cases shaped like Qwen3-0.6B: prefill, a training pass, decoding. */
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "model/qwen3.h"

enum { TOKENS = 512, PROMPT = 128, STEPS = 8 };

typedef struct {
    vv_params params;
    vv_qwen3 *llm;
    int32_t ids[TOKENS];
    double weight[TOKENS];
} llm;

static vv_status set_up(llm *l, const bench_settings *s, vv_error *err)
{
    vv_qwen3_config c = vv_qwen3_config_default();
    c.hidden_size = 1024;
    c.intermediate_size = 3072;
    c.num_hidden_layers = s->depth ? s->depth : 28;
    c.num_attention_heads = 16;
    c.num_key_value_heads = 8;
    c.head_dim = 128;
    c.vocab_size = 151936;
    c.tie_word_embeddings = 1;
    for (int i = 0; i < TOKENS; i++) {
        l->ids[i] = i * 7919 % 151936;
        l->weight[i] = 1.0 / TOKENS;
    }
    VV_TRY(vv_qwen3_new(&l->llm, &l->params, &c, err));
    return bench_fill(&l->params, err);
}

/* hidden states of the text, and the logits after its last token */
static vv_status prefill(llm *l, vv_tape *t, vv_error *err)
{
    const int32_t cu[2] = {0, TOKENS}, last = TOKENS - 1;
    vv_tensor *hidden = vv_qwen3_forward(t, l->llm, vv_qwen3_embed(t, l->llm, l->ids, TOKENS), cu, 1);
    vv_qwen3_logits(t, l->llm, vv_gather_rows(t, "last", hidden, &last, 1));
    return vv_tape_status(t, err);
}

/* every token supervised: forward, loss over the whole vocabulary, backward */
static vv_status train(llm *l, vv_tape *t, vv_error *err)
{
    const int32_t cu[2] = {0, TOKENS};
    vv_params_zero_grad(&l->params);
    vv_tensor *hidden = vv_qwen3_forward(t, l->llm, vv_qwen3_embed(t, l->llm, l->ids, TOKENS), cu, 1);
    vv_backward(t, vv_linear_cross_entropy(t, "loss", hidden, l->llm->lm_head, l->ids, l->weight, TOKENS, NULL), 1);
    return vv_tape_status(t, err);
}

/* bytes a second of y += a x over two arrays that no cache holds: two are read, one is written */
static double memory_bandwidth(void)
{
    const int64_t n = 64 << 20, bytes = n * (int64_t)sizeof(vv_real);
    vv_real *x = bench_operand(n), *y = bench_operand(n);
    double best = 0;
    for (int r = 0; x && y && r < 5; r++) {
        const double t0 = vv_seconds();
        vvb_axpy(y, x, 0.5, n);
        vvb_sync();
        best = bench_least(best, vv_seconds() - t0);
    }
    vvb_free(x, bytes);
    vvb_free(y, bytes);
    return 3 * (double)bytes / best;
}

/* seconds of a token, and the weights' bytes over them as a fraction of what memory gives */
static vv_status decode(bench_result *r, llm *l, vv_tape *t, vv_error *err)
{
    vv_kv_cache *cache = NULL;
    VV_TRY(vv_kv_cache_new(&cache, l->llm, PROMPT + STEPS, err));
    vv_status st = VV_OK;
    for (int64_t i = 0, n; st == VV_OK && i < PROMPT + STEPS; i += n) {
        n = i ? 1 : PROMPT;
        const double t0 = vv_seconds();
        vv_qwen3_logits(t, l->llm, vv_qwen3_decode(t, l->llm, vv_qwen3_embed(t, l->llm, l->ids + i, n), cache));
        vvb_sync();
        if (i) r->seconds = bench_least(r->seconds, vv_seconds() - t0);
        r->flops = vv_tape_memory(t)->flops_forward;
        st = vv_tape_status(t, err);
        vv_tape_reset(t);
    }
    vv_kv_cache_free(cache);
    r->extra = (double)l->params.bytes / r->seconds / memory_bandwidth();
    r->extra_name = "of_memory_bandwidth";
    return st;
}

vv_status bench_language(int *known, bench_result *r, const bench_settings *s, vv_error *err)
{
    const int is_train = !strcmp(r->name, "qwen_train"), is_decode = !strcmp(r->name, "qwen_decode");
    *known = is_train || is_decode || !strcmp(r->name, "qwen_prefill");
    if (!*known) return VV_OK;
    llm *l = vv_calloc(1, sizeof *l);
    if (!l) return vv_no_memory(err, r->name);
    vv_status st = set_up(l, s, err);
    vv_tape *t = st == VV_OK ? vv_tape_new(&l->params, is_train ? VV_RECORD : 0) : NULL;
    if (st == VV_OK && !t) st = vv_no_memory(err, r->name);
    if (st == VV_OK && is_decode) st = decode(r, l, t, err);
    for (int64_t i = 0; st == VV_OK && !is_decode && i <= s->repeat; i++) { /* the first one pays for the memory */
        const double t0 = vv_seconds();
        st = is_train ? train(l, t, err) : prefill(l, t, err);
        vvb_sync();
        if (i) r->seconds = bench_least(r->seconds, vv_seconds() - t0);
        r->flops = vv_tape_memory(t)->flops_forward + vv_tape_memory(t)->flops_backward;
        vv_tape_reset(t);
        vv_progress(r->name, i + 1, s->repeat + 1);
    }
    if (t) r->peak_bytes = l->params.peak + vv_tape_memory(t)->activations_peak + vv_tape_memory(t)->gradients_peak;
    vv_tape_free(t);
    vv_qwen3_free(l->llm);
    vv_params_free(&l->params);
    free(l);
    return st;
}
