/* Greedy answers to many questions at a time.
 *
 * The questions that have not ended are one packed batch, which runs anew for each token: answers are a few tokens long, and one product
 * over all sequences costs less than many small steps with cached keys (model/generate.h, whose greedy texts these are, to rounding). */
#include <stdlib.h>
#include <string.h>

#include "data/chat.h"
#include "eval/evaluate_parts.h"
#include "model/generate.h"

enum { GROUP = 64 }; /* questions */

typedef struct {
    const vv_evaluation *e;
    const vv_real *features;
    int64_t rows, width; /* of a picture's features */
    vv_asked *asked;     /* [n] of the group */
    int64_t n;
    vv_chat chat[GROUP]; /* with the answer so far */
    int64_t prompt[GROUP];
    double *p;       /* [V] */
    vv_real *logits; /* [GROUP, V] */
} group;

static vv_status prepare(group *g, vv_error *err)
{
    const vv_tokenizer *tokenizer = g->e->model->tokenizer;
    const vv_chat_options o = {0};
    for (int64_t i = 0; i < g->n; i++) {
        const vv_turn turn = {.role = VV_USER, .text = g->asked[i].question, .images = 1};
        VV_TRY(vv_chat_render(&g->chat[i], tokenizer, &turn, 1, &g->rows, 1, &o, err));
        VV_TRY(vv_chat_prompt(&g->chat[i], tokenizer, &o, err));
        g->prompt[i] = g->chat[i].ids.n;
    }
    return VV_OK;
}

/* The logits that follow each of the sequences `active` [n]. */
static vv_status run(const group *g, const int64_t *active, int64_t n, vv_error *err)
{
    const vv_qwen3 *llm = g->e->model->llm;
    const int64_t block = g->rows * g->width, dim[2] = {n * g->rows, g->width};
    vv_tape *t = g->e->tape;
    int32_t cu[GROUP + 1] = {0}, last[GROUP];
    for (int64_t i = 0; i < n; i++) {
        cu[i + 1] = cu[i] + (int32_t)g->chat[active[i]].ids.n;
        last[i] = cu[i + 1] - 1;
    }
    int32_t *ids = vv_calloc(cu[n], sizeof *ids);
    vv_real *features = vv_calloc(n * block, sizeof *features);
    vv_status s = ids && features ? VV_OK : vv_no_memory(err, "questions");
    for (int64_t i = 0; s == VV_OK && i < n; i++) {
        const vv_ids *of = &g->chat[active[i]].ids;
        memcpy(ids + cu[i], of->id, (size_t)of->n * sizeof *ids);
        memcpy(features + i * block, g->features + g->asked[active[i]].picture * block,
               (size_t)block * sizeof *features);
    }
    if (s == VV_OK) {
        vv_tensor *x = vv_mllm_splice(t, llm, ids, cu[n], vv_image_pad(g->e->model),
                                      vv_input(t, "features", VV_REALS, 2, dim, features));
        vv_tensor *hidden = vv_qwen3_forward(t, llm, x, cu, n);
        vv_tensor *z = vv_qwen3_logits(t, llm, vv_gather_rows(t, NULL, hidden, last, n));
        s = vv_tape_status(t, err);
        if (s == VV_OK) vvb_download(g->logits, vv_f(z), z->n * (int64_t)sizeof *g->logits);
        vv_tape_reset(t);
    }
    free(ids);
    free(features);
    return s;
}

static int is_end(const vv_qwen3_config *c, int32_t id)
{
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos[i] == id) return 1;
    return 0;
}

/* the next token of each; those that go on stay in active */
static vv_status extend(group *g, int64_t *active, int64_t *n, int64_t most_tokens, vv_error *err)
{
    const vv_qwen3_config *c = &g->e->model->llm->config;
    vv_generate_options o = vv_generate_default();
    int64_t left = 0;
    o.vocab_used = vv_min(vv_tokenizer_size(g->e->model->tokenizer), c->vocab_size);
    VV_TRY(run(g, active, *n, err));
    for (int64_t i = 0; i < *n; i++) {
        const int64_t k = active[i];
        VV_TRY(vv_next_probabilities(g->p, g->logits + i * c->vocab_size, c->vocab_size, NULL, 0, &o, err));
        const int32_t id = vv_draw_token(g->p, c->vocab_size, 0, 0); /* the one that has them all */
        g->asked[k].ended = is_end(c, id);
        if (g->asked[k].ended) continue;
        VV_TRY(vv_ids_push(&g->chat[k].ids, id, err));
        if (g->chat[k].ids.n - g->prompt[k] < most_tokens && g->chat[k].ids.n < c->max_position_embeddings)
            active[left++] = k;
    }
    *n = left;
    return VV_OK;
}

static vv_status answer_group(group *g, int64_t most_tokens, vv_error *err)
{
    int64_t active[GROUP], left = g->n;
    for (int64_t i = 0; i < g->n; i++) active[i] = i;
    VV_TRY(prepare(g, err));
    while (left > 0) VV_TRY(extend(g, active, &left, most_tokens, err));
    for (int64_t i = 0; i < g->n; i++) {
        const vv_ids *ids = &g->chat[i].ids;
        g->asked[i].text = vv_decode(g->e->model->tokenizer, ids->id + g->prompt[i], ids->n - g->prompt[i], 1, NULL);
        if (!g->asked[i].text) return vv_no_memory(err, "answers");
    }
    return VV_OK;
}

vv_status vv_eval_answer(const vv_evaluation *e, vv_asked *asked, int64_t n, const vv_real *features, int64_t rows,
                         int64_t most_tokens, vv_error *err)
{
    const vv_qwen3_config *c = &e->model->llm->config;
    group *g = vv_calloc(1, sizeof *g);
    if (!g) return vv_no_memory(err, "questions");
    *g = (group){.e = e, .features = features, .rows = rows, .width = c->hidden_size};
    g->p = vv_calloc(c->vocab_size, sizeof *g->p);
    g->logits = vv_calloc(vv_mul(GROUP, c->vocab_size), sizeof *g->logits);
    vv_status s = g->p && g->logits ? VV_OK : vv_no_memory(err, "questions");
    for (int64_t i = 0; s == VV_OK && i < n; i += GROUP) {
        g->asked = asked + i;
        g->n = vv_min(GROUP, n - i);
        s = answer_group(g, most_tokens, err);
        for (int64_t k = 0; k < g->n; k++) vv_chat_free(&g->chat[k]);
    }
    free(g->p);
    free(g->logits);
    free(g);
    return s;
}
