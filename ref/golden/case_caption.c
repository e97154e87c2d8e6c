/* Conversations about pictures, from the 8-bit pictures and the ids to the loss: tower, projector, splice, decoder, cross-entropy (mean of
 * sequences).
 *   conversations   [{"pictures": 1, "turns": ["question", "answer", ...]}, ...]: the pictures, taken in turn from "pictures", stand before
 *                   the first question; answers are learnt */
#include <stdlib.h>
#include <string.h>

#include "data/chat.h"
#include "golden/case_text.h"
#include "loss/cross_entropy.h"
#include "model/mllm.h"

enum { MOST_TURNS = 16, MOST_PICTURES = 8 };

/* Conversation `index`; `first`: of its pictures in the batch of all of them. */
static vv_status converse(vv_case *c, const json_t *talk, const char *where, int64_t *first, vv_mllm_batch *b,
                          vv_error *err)
{
    static const char *const keys[] = {"pictures", "turns", NULL};
    const json_t *list = NULL;
    vv_turn turn[MOST_TURNS] = {{0}};
    int64_t images = 0, tokens[MOST_PICTURES];
    vv_chat chat = {{NULL, 0, 0}, {NULL, 0, 0}, {NULL, 0, 0}};
    VV_TRY(vv_json_only(talk, where, keys, err));
    VV_TRY(vv_json_int(talk, where, "pictures", 0, vv_min(MOST_PICTURES, b->pictures.n - *first), &images, err));
    VV_TRY(vv_json_need(talk, where, "turns", err));
    VV_TRY(vv_json_array(talk, where, "turns", &list, err));
    const int64_t n = (int64_t)json_array_size(list);
    if (n > MOST_TURNS) return vv_fail(err, VV_FILE, "%s: turns: expected at most %d", where, MOST_TURNS);
    for (int64_t i = 0; i < n; i++) {
        const char *text = json_string_value(json_array_get(list, (size_t)i));
        if (!text) return vv_fail(err, VV_FILE, "%s: turns: expected texts", where);
        turn[i] = (vv_turn){.role = i % 2 ? VV_ASSISTANT : VV_USER, .text = text, .images = i ? 0 : images};
    }
    for (int64_t i = 0; i < images; i++, ++*first) {
        const vv_grid *g = &b->pictures.grid[*first];
        tokens[i] = g->t * g->h * g->w / c->model.projector->config.cells;
    }
    VV_TRY(vv_chat_render(&chat, c->model.tokenizer, turn, n, tokens, images, NULL, err));
    const int64_t N = b->N + chat.ids.n;
    int32_t *ids = realloc(b->ids, (size_t)N * sizeof *ids), *labels = realloc(b->labels, (size_t)N * sizeof *labels);
    if (ids) b->ids = ids;
    if (labels) b->labels = labels;
    if (ids && labels) {
        memcpy(ids + b->N, chat.ids.id, (size_t)chat.ids.n * sizeof *ids);
        memcpy(labels + b->N, chat.labels.id, (size_t)chat.ids.n * sizeof *labels);
        b->cu[++b->S] = (int32_t)(b->N = N);
    }
    vv_chat_free(&chat);
    return ids && labels ? VV_OK : vv_no_memory(err, where);
}

static vv_status conversations(vv_case *c, vv_mllm_batch *b, vv_error *err)
{
    const json_t *list = NULL;
    int64_t pictures = 0;
    VV_TRY(vv_json_need(c->root, c->path, "conversations", err));
    VV_TRY(vv_json_array(c->root, c->path, "conversations", &list, err));
    const int64_t n = (int64_t)json_array_size(list);
    if (!(b->cu = vv_calloc(n + 1, sizeof *b->cu))) return vv_no_memory(err, c->path);
    for (int64_t i = 0; i < n; i++) {
        char *where = vv_asprintf("%s: conversations[%lld]", c->path, (long long)i);
        const json_t *talk = json_array_get(list, (size_t)i);
        const vv_status s = where ? converse(c, talk, where, &pictures, b, err) : vv_no_memory(err, c->path);
        free(where);
        VV_TRY(s);
    }
    if (pictures < b->pictures.n)
        return vv_fail(err, VV_FILE, "%s: expected all of the %lld pictures in conversations; found %lld", c->path,
                       (long long)b->pictures.n, (long long)pictures);
    vv_case_record_ints(c, "ids", b->ids, b->N);
    vv_case_record_ints(c, "labels", b->labels, b->N);
    vv_case_record_ints(c, "cu_seqlens", b->cu, b->S + 1);
    return VV_OK;
}

static vv_status learn(vv_case *c, const vv_mllm_batch *b, vv_error *err)
{
    vv_ce_window w = {.reduction = VV_CE_SAMPLE};
    vv_tape *t = vv_case_tape(c, err);
    if (!t) return err->status;
    vv_ce_count(&w, b->labels, b->cu, b->S);
    vv_tensor *hidden = vv_mllm_forward(t, &c->model, b);
    vv_backward(t, vv_cross_entropy(t, "ce", hidden, c->model.llm->lm_head, b->labels, b->cu, b->S, &w, NULL), 1);
    const vv_status s = vv_tape_status(t, err);
    if (s == VV_OK) vv_record_gradients(c->rec, c->model.params);
    vv_tape_free(t);
    return s;
}

static vv_status run_caption(vv_case *c, vv_error *err)
{
    vv_mllm_batch b = {0};
    vv_status s = vv_case_pictures(c, "pictures", &b.pictures, err);
    if (s == VV_OK) s = conversations(c, &b, err);
    if (s == VV_OK) s = learn(c, &b, err);
    vv_mllm_batch_free(&b);
    return s;
}

static const char *const keys[] = {"pictures", "conversations", NULL};
const vv_case_kind vv_case_caption = {"caption", "caption", VV_VISION | VV_PROJECTOR | VV_TEXT, keys, run_caption};
