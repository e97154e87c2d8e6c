/* A small decoder, its heads wider than its rows (H d is not h) and two query heads to a key head, run on packed sequences. */
#ifndef VVT_DECODER_H
#define VVT_DECODER_H

#include "model/qwen3.h"
#include "model/tower.h"

static inline vv_qwen3_config decoder_config(int tied)
{
    vv_qwen3_config c = vv_qwen3_config_default();
    c.hidden_size = 16;
    c.intermediate_size = 24;
    c.num_hidden_layers = 3;
    c.num_attention_heads = 4;
    c.num_key_value_heads = 2;
    c.head_dim = 6;
    c.vocab_size = 40;
    c.max_position_embeddings = 64;
    c.tie_word_embeddings = tied;
    return c;
}

/* weights as in tower_fill: attention is far from uniform */
static inline vv_qwen3 *decoder_new(vv_params *ps, const vv_qwen3_config *c)
{
    vv_qwen3 *m = NULL;
    VVT_OK(vv_qwen3_new(&m, ps, c, err));
    tower_fill(ps);
    return m;
}

/* n ids below V, drawn from the seed */
static inline int32_t *decoder_ids(uint64_t seed, int64_t V, int64_t n)
{
    int32_t *ids = vv_calloc(n, sizeof *ids);
    ck_assert_ptr_nonnull(ids);
    for (int64_t i = 0; i < n; i++)
        ids[i] = (int32_t)(vv_random_uniform(seed, vv_stream("ids"), (uint64_t)i) * (double)V);
    return ids;
}

/* What to run; wanted: also the loss sum_r weight_r (-log p_r(wanted_r)), weight_r = 1/(r+1), and its gradients. */
typedef struct {
    const vv_qwen3 *m;
    const int32_t *ids, *cu;
    int64_t S;
    const int32_t *wanted;
    int flags, forward_only;
    vv_trace_fn trace;
    void *trace_ctx;
} decoder_in;

typedef struct {
    vv_real *hidden, *grad; /* [N,h]; of all parameters, one after the other */
    int64_t n_grad;
    double loss;
    vv_memory memory;
} decoder_out;

static inline void decoder_out_free(decoder_out *o)
{
    free(o->hidden);
    free(o->grad);
}

static inline vv_tensor *decoder_loss(vv_tape *t, const decoder_in *in, vv_tensor *hidden)
{
    const int64_t N = in->cu[in->S];
    double *weight = vv_calloc(N, sizeof *weight);
    for (int64_t r = 0; r < N; r++) weight[r] = 1 / (double)(r + 1);
    vv_tensor *loss = vv_linear_cross_entropy(t, "loss", hidden, in->m->lm_head, in->wanted, weight, N, NULL);
    free(weight);
    return loss;
}

static inline void decoder_gradients(const vv_params *ps, decoder_out *o)
{
    for (int64_t i = 0; i < ps->n; i++) o->n_grad += ps->at[i]->n;
    o->grad = vv_calloc(o->n_grad, sizeof *o->grad);
    for (int64_t i = 0, at = 0; i < ps->n; at += ps->at[i++]->n) {
        ck_assert_msg(ps->at[i]->has_grad, "%s has no gradient", ps->at[i]->name);
        vvb_download(o->grad + at, ps->at[i]->grad, ps->at[i]->n * (int64_t)sizeof *o->grad);
    }
}

static inline decoder_out decoder_run(const decoder_in *in)
{
    vv_params *ps = in->m->part.params;
    vv_tape *t = vv_tape_new(ps, in->flags | (in->wanted ? VV_RECORD : 0));
    decoder_out o = {0};
    vv_params_zero_grad(ps);
    vv_trace(t, in->trace, in->trace_ctx);
    vv_tensor *x = vv_qwen3_embed(t, in->m, in->ids, in->cu[in->S]);
    vv_tensor *hidden = vv_qwen3_forward(t, in->m, x, in->cu, in->S);
    VVT_OK(vv_tape_status(t, err));
    o.hidden = tower_get(hidden->data, hidden->n);
    if (in->wanted) {
        vv_tensor *loss = decoder_loss(t, in, hidden);
        if (!in->forward_only) vv_backward(t, loss, 1);
        VVT_OK(vv_tape_status(t, err));
        vv_real l;
        vvb_download(&l, loss->data, sizeof l);
        o.loss = (double)l;
        if (!in->forward_only) decoder_gradients(ps, &o);
    }
    o.memory = *vv_tape_memory(t);
    vv_tape_free(t);
    return o;
}

#endif
