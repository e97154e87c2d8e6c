#include "train/batch.h"

#include <stdlib.h>
#include <string.h>

#include "data/chat.h"

void vv_micro_free(vv_micro *x)
{
    for (int64_t i = 0; x->name && i < x->n; i++) free(x->name[i]);
    free(x->name);
    vv_mllm_batch_free(&x->text);
    vv_batch_free(&x->pictures);
    free(x->disparity);
    free(x->image_of);
    free(x->instance);
    free(x->masks);
    free(x->embedded);
}

void vv_task_batch_free(vv_task_batch *b)
{
    for (int64_t i = 0; b->micro && i < b->n; i++) vv_micro_free(&b->micro[i]);
    free(b->micro);
    *b = (vv_task_batch){0};
}

/* ---- captions ------------------------------------------------------------------------------------------------------------- */
/* the first n turns of a sample as ids; tokens: of its picture, 0 without one */
static vv_status render(vv_chat *chat, const vv_task_config *c, const vv_model *m, const vv_sample *s, int64_t n,
                        int64_t tokens, vv_error *err)
{
    if (c->plain) {
        const char *caption = NULL;
        for (int64_t i = 0; i < n && !caption; i++)
            if (!strcmp(s->message[i].role, "assistant")) caption = s->message[i].text;
        if (!caption || !tokens)
            return vv_fail(err, VV_FILE, "expected a picture and an answer for the form plain; found no %s",
                           tokens ? "answer" : "picture");
        return vv_chat_plain(chat, m->tokenizer, caption, tokens, err);
    }
    vv_turn *turn = vv_calloc(n, sizeof *turn);
    if (!turn) return vv_no_memory(err, s->name);
    int64_t images = tokens > 0;
    for (int64_t i = 0; i < n; i++) {
        const char *role = s->message[i].role;
        turn[i].role = !strcmp(role, "system") ? VV_SYSTEM : !strcmp(role, "user") ? VV_USER : VV_ASSISTANT;
        turn[i].text = s->message[i].text;
        if (turn[i].role == VV_USER && images) turn[i].images = images--;
    }
    const vv_status st = vv_chat_render(chat, m->tokenizer, turn, n, &tokens, tokens > 0, NULL, err);
    free(turn);
    return st;
}

/* the turns that are left without the last answer and what asked for it; 0 when none would be */
static int64_t shorter(const vv_sample *s, int64_t n)
{
    int64_t answers = 0;
    while (n > 0 && strcmp(s->message[n - 1].role, "assistant")) n--;
    n = n > 0 ? n - 1 : 0;
    while (n > 0 && strcmp(s->message[n - 1].role, "assistant")) n--;
    for (int64_t i = 0; i < n; i++) answers += !strcmp(s->message[i].role, "assistant");
    return answers ? n : 0;
}

static vv_status fit(vv_chat *chat, const vv_task_config *c, const vv_model *m, const vv_sample *s, int64_t tokens,
                     vv_error *err)
{
    const int64_t most = c->max_tokens ? c->max_tokens : m->llm->config.max_position_embeddings;
    for (int64_t n = s->n_messages; n > 0; n = c->plain ? 0 : shorter(s, n)) {
        vv_chat_free(chat);
        VV_TRY(render(chat, c, m, s, n, tokens, err));
        if (chat->ids.n <= most) return VV_OK;
    }
    return vv_fail(err, VV_FILE, "expected at most %lld tokens (max_tokens); found %lld, %lld of them the picture's",
                   (long long)most, (long long)chat->ids.n, (long long)tokens);
}

static vv_status add_conversation(vv_micro *x, const vv_task_config *c, const vv_model *m, const vv_sample *s,
                                  vv_error *err)
{
    vv_batch picture = {0};
    vv_chat chat = {{NULL, 0, 0}, {NULL, 0, 0}, {NULL, 0, 0}};
    vv_error why = {0};
    vv_preprocess p = m->preprocess;
    if (c->max_pixels) p.max_pixels = c->max_pixels;
    vv_status st = s->image.rgb ? vv_batch_add(&picture, &p, &s->image, s->name, err) : VV_OK;
    const int64_t tokens = picture.n ? picture.rows / m->projector->config.cells : 0;
    if (st == VV_OK && (st = fit(&chat, c, m, s, tokens, &why)) != VV_OK)
        vv_fail(err, st, "%.200s: %.300s", s->name, why.msg);
    if (st == VV_OK)
        st = vv_mllm_add(&x->text, m, s->name, chat.ids.id, chat.labels.id, chat.ids.n, picture.n ? &picture : NULL,
                         err);
    vv_chat_free(&chat);
    vv_batch_free(&picture);
    return st;
}

/* ---- squares --------------------------------------------------------------------------------------------------------------- */
/* where output pixel i of `size` reads in `from`: the nearest centre */
static int64_t nearest(int64_t i, int64_t size, int64_t from) { return (2 * i + 1) * from / (2 * size); }

static vv_status add_square(vv_micro *x, const vv_model *m, const vv_sample *s, int64_t size, vv_error *err)
{
    vv_preprocess p = m->preprocess;
    p.fixed_h = p.fixed_w = size;
    return vv_batch_add(&x->pictures, &p, &s->image, s->name, err);
}

static vv_status add_disparity(vv_micro *x, const vv_sample *s, int64_t at, int64_t size, vv_error *err)
{
    vv_real *to = x->disparity + at * size * size;
    if (!s->disparity) return vv_fail(err, VV_FILE, "%.200s: expected a depth map; found none", s->name);
    for (int64_t r = 0; r < size; r++)
        for (int64_t q = 0; q < size; q++)
            to[r * size + q] =
                (vv_real)s->disparity[nearest(r, size, s->image.h) * s->image.w + nearest(q, size, s->image.w)];
    return VV_OK;
}

/* what a sample's instances are drawn by */
typedef struct {
    uint64_t seed;
    char *stream;
    int64_t draw; /* of the micro-batch's first sample */
} drawing;

static int64_t kept(const vv_task_config *c, const vv_sample *s) { return vv_min(s->n_instances, c->max_instances); }

static vv_status add_instances(vv_micro *x, const vv_task_config *c, const vv_model *m, const vv_sample *s, int64_t at,
                               int64_t size, const drawing *d, vv_texts *texts, vv_error *err)
{
    const int64_t n = kept(c, s), dim = m->mask->config.text_dim;
    for (int64_t k = 0; k < n; k++, x->instances++) {
        const int64_t chosen = n < s->n_instances ? vv_draw(d->seed, d->stream, d->draw + at, k, s->n_instances) : k;
        const vv_instance *from = &s->instance[chosen];
        vv_real *to = x->masks + x->instances * size * size;
        const vv_real *vector = NULL;
        vv_error why = {0};
        if (vv_texts_find(texts, from->text, &vector, &why) != VV_OK)
            return vv_fail(err, why.status, "%.150s: %.400s", s->name, why.msg);
        memcpy(x->embedded + x->instances * dim, vector, (size_t)dim * sizeof *vector);
        for (int64_t r = 0; r < size; r++)
            for (int64_t q = 0; q < size; q++)
                to[r * size + q] = from->mask[nearest(r, size, s->image.h) * s->image.w + nearest(q, size, s->image.w)];
        x->image_of[x->instances] = (int32_t)at;
        x->instance[x->instances] = x->name[at];
    }
    return VV_OK;
}

/* ---- the batch -------------------------------------------------------------------------------------------------------------- */
static vv_status allocate(vv_micro *x, const vv_task_config *c, const vv_model *m, int64_t n, int64_t P, int64_t size,
                          vv_error *err)
{
    const int64_t pixels = size * size;
    int ok = (x->name = vv_calloc(n, sizeof *x->name)) != NULL;
    x->n = n;
    if (c->task == VV_TASK_DEPTH) ok = ok && (x->disparity = vv_calloc(vv_mul(n, pixels), sizeof *x->disparity));
    if (c->task == VV_TASK_SEGMENTATION) {
        ok = ok && (x->masks = vv_calloc(vv_mul(P, pixels), sizeof *x->masks));
        ok = ok && (x->embedded = vv_calloc(P * m->mask->config.text_dim, sizeof *x->embedded));
        ok = ok && (x->image_of = vv_calloc(P, sizeof *x->image_of));
        ok = ok && (x->instance = vv_calloc(P, sizeof *x->instance));
    }
    return ok ? VV_OK : vv_no_memory(err, c->where);
}

static vv_status fill(vv_micro *x, const vv_task_config *c, const vv_model *m, const vv_sample *samples, int64_t n,
                      int64_t size, const drawing *d, vv_texts *texts, vv_error *err)
{
    int64_t P = 0;
    for (int64_t i = 0; i < n && c->task == VV_TASK_SEGMENTATION; i++) P += kept(c, &samples[i]);
    VV_TRY(allocate(x, c, m, n, P, size, err));
    for (int64_t i = 0; i < n; i++) {
        const vv_sample *s = &samples[i];
        if (!(x->name[i] = vv_strdup(s->name))) return vv_no_memory(err, c->where);
        if (c->task == VV_TASK_CAPTION) {
            VV_TRY(add_conversation(x, c, m, s, err));
            continue;
        }
        VV_TRY(add_square(x, m, s, size, err));
        if (c->task == VV_TASK_DEPTH) VV_TRY(add_disparity(x, s, i, size, err));
        else VV_TRY(add_instances(x, c, m, s, i, size, d, texts, err));
    }
    return VV_OK;
}

static vv_status cut(vv_task_batch *b, const vv_task_config *c, int64_t size, vv_error *err)
{
    *b = (vv_task_batch){.config = c, .size = size, .samples = c->batch, .window.reduction = c->reduction};
    b->n = (c->batch + c->micro_batch - 1) / c->micro_batch;
    b->micro = vv_calloc(b->n, sizeof *b->micro);
    return b->micro ? VV_OK : vv_no_memory(err, c->where);
}

/* denominators, and a word about samples that teach nothing */
static vv_status count(vv_task_batch *b, vv_error *err)
{
    for (int64_t i = 0; i < b->n; i++) {
        const vv_micro *x = &b->micro[i];
        if (b->config->task == VV_TASK_CAPTION) vv_ce_count(&b->window, x->text.labels, x->text.cu, x->text.S);
        b->instances += x->instances;
    }
    if (b->config->task != VV_TASK_CAPTION) return VV_OK;
    if (b->window.tokens == 0)
        return vv_fail(err, VV_FILE, "%s: expected something to learn in a batch; found none from \"%.150s\" on",
                       b->config->where, b->micro[0].name[0]);
    if (b->window.empty)
        vv_warn("%lld of the %lld conversations of a batch from \"%.150s\" on have nothing to learn",
                (long long)b->window.empty, (long long)b->samples, b->micro[0].name[0]);
    return VV_OK;
}

vv_status vv_task_batch_make(vv_task_batch *b, const vv_task_config *c, const vv_model *m, const vv_sample *samples,
                             int64_t size, uint64_t seed, const char *stream, int64_t first_draw, vv_texts *texts,
                             vv_error *err)
{
    drawing d = {seed, vv_asprintf("%s/instances", stream), first_draw};
    vv_status s = d.stream ? cut(b, c, size, err) : vv_no_memory(err, c->where);
    for (int64_t i = 0, at = 0; s == VV_OK && i < b->n; i++) {
        const int64_t n = vv_min(c->micro_batch, c->batch - at);
        d.draw = first_draw + at;
        s = fill(&b->micro[i], c, m, samples + at, n, size, &d, texts, err);
        at += n;
    }
    if (s == VV_OK) s = count(b, err);
    free(d.stream);
    if (s != VV_OK) vv_task_batch_free(b);
    return s;
}
