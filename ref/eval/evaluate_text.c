/* Questions and captions. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/chat.h"
#include "data/dataset.h"
#include "eval/evaluate_parts.h"
#include "loss/cross_entropy.h"

enum { BATCH = 16 }; /* scenes */
static const char *const types[VV_EVAL_TYPES] = {"count", "color", "shape", "position", "depth_order", "existence"};

/* ---- pictures -------------------------------------------------------------------------------------------------------------- */
static vv_status add_picture(const vv_evaluation *e, vv_batch *b, const vv_image *image, vv_error *err)
{
    vv_preprocess p = e->model->preprocess;
    p.fixed_h = p.fixed_w = e->size;
    return vv_batch_add(b, &p, image, "a scene", err);
}

/* Projected features of n pictures in fresh memory, *rows a picture. */
static vv_status features_of(const vv_evaluation *e, const vv_image *const *image, int64_t n, vv_real **features,
                             int64_t *rows, vv_error *err)
{
    vv_batch b = {0};
    vv_status s = VV_OK;
    *features = NULL;
    for (int64_t i = 0; s == VV_OK && i < n; i++) s = add_picture(e, &b, image[i], err);
    vv_tensor *x = s == VV_OK ? vv_mllm_features(e->tape, e->model, &b) : NULL;
    if (s == VV_OK) s = vv_tape_status(e->tape, err);
    if (s == VV_OK && !(*features = vv_calloc(x->n, sizeof **features))) s = vv_no_memory(err, "features");
    if (s == VV_OK) {
        *rows = vv_rows(x) / n;
        vvb_download(*features, vv_f(x), x->n * (int64_t)sizeof **features);
    }
    vv_tape_reset(e->tape);
    vv_batch_free(&b);
    return s;
}

/* ---- questions ------------------------------------------------------------------------------------------------------------- */
/* All questions of all scenes, in their order. */
typedef struct {
    int64_t n;
    vv_asked *asked;
    const vv_synth_question **question; /* [n] */
    int *right, *grey_right;            /* [n] */
} quiz;

static void free_quiz(quiz *q)
{
    for (int64_t i = 0; q->asked && i < q->n; i++) free(q->asked[i].text);
    free(q->asked);
    free(q->question);
    free(q->right);
    free(q->grey_right);
}

static vv_status new_quiz(quiz *q, const vv_scenes *scenes, vv_error *err)
{
    for (int64_t i = 0; i < scenes->n; i++) q->n += scenes->at[i].n_questions;
    q->asked = vv_calloc(q->n, sizeof *q->asked);
    q->question = vv_calloc(q->n, sizeof *q->question);
    q->right = vv_calloc(q->n, sizeof *q->right);
    q->grey_right = vv_calloc(q->n, sizeof *q->grey_right);
    if (!q->asked || !q->question || !q->right || !q->grey_right) return vv_no_memory(err, "questions");
    for (int64_t i = 0, at = 0; i < scenes->n; i++)
        for (int64_t k = 0; k < scenes->at[i].n_questions; k++, at++) {
            q->question[at] = &scenes->at[i].question[k];
            q->asked[at] = (vv_asked){.question = q->question[at]->question};
        }
    return VV_OK;
}

/* one token more than the longest answer has, so that what goes on is seen to go on */
static vv_status longest(const vv_evaluation *e, const quiz *q, int64_t *tokens, vv_error *err)
{
    *tokens = 0;
    for (int64_t i = 0; i < q->n; i++) {
        const char *text = q->question[i]->answer;
        vv_ids ids = {0};
        VV_TRY(vv_encode(e->model->tokenizer, text, strlen(text), 0, &ids, err));
        *tokens = vv_max(*tokens, ids.n + 1);
        vv_ids_free(&ids);
    }
    return VV_OK;
}

/* asks questions first .. first+n and marks the answers; grey: all of the picture 0 */
static vv_status ask(const vv_evaluation *e, quiz *q, int64_t first, int64_t n, const vv_real *features, int64_t rows,
                     int grey, int64_t tokens, vv_error *err)
{
    for (int64_t i = first; i < first + n; i++) {
        free(q->asked[i].text);
        q->asked[i].text = NULL;
        if (grey) q->asked[i].picture = 0;
    }
    VV_TRY(vv_eval_answer(e, q->asked + first, n, features, rows, tokens, err));
    for (int64_t i = first; i < first + n; i++)
        (grey ? q->grey_right : q->right)[i] = q->asked[i].ended && !strcmp(q->asked[i].text, q->question[i]->answer);
    return VV_OK;
}

static vv_status ask_all(const vv_evaluation *e, quiz *q, const vv_real *grey, int64_t tokens, vv_error *err)
{
    const vv_scenes *scenes = e->scenes;
    vv_status s = VV_OK;
    for (int64_t i = 0, first = 0; s == VV_OK && i < scenes->n; i += BATCH) {
        const int64_t pictures = vv_min(BATCH, scenes->n - i);
        const vv_image *image[BATCH];
        vv_real *features = NULL;
        int64_t n = 0, rows = 0;
        for (int64_t k = 0; k < pictures; k++) {
            image[k] = &scenes->at[i + k].image;
            for (int64_t m = 0; m < scenes->at[i + k].n_questions; m++) q->asked[first + n++].picture = k;
        }
        s = features_of(e, image, pictures, &features, &rows, err);
        if (s == VV_OK) s = ask(e, q, first, n, features, rows, 0, tokens, err);
        if (s == VV_OK) s = ask(e, q, first, n, grey, rows, 1, tokens, err);
        free(features);
        first += n;
        vv_progress("questions", i + pictures, scenes->n);
    }
    return s;
}

/* the most frequent answer to the questions of a type, of equal ones the first; returns how often it is right */
static int64_t majority(const quiz *q, const char *type, char answer[40])
{
    int64_t best = 0;
    for (int64_t i = 0; i < q->n; i++) {
        int64_t same = 0;
        if (strcmp(q->question[i]->type, type)) continue;
        for (int64_t k = i; k < q->n; k++)
            same += !strcmp(q->question[k]->type, type) && !strcmp(q->question[k]->answer, q->question[i]->answer);
        if (same > best) best = same, memcpy(answer, q->question[i]->answer, sizeof q->question[i]->answer);
    }
    return best;
}

static double share(double part, double all) { return all > 0 ? part / all : (double)NAN; }

static void mark(vv_eval_result *r, const quiz *q)
{
    vv_eval_questions *all = &r->vqa[VV_EVAL_TYPES];
    for (int t = 0; t < VV_EVAL_TYPES; t++) {
        vv_eval_questions *to = &r->vqa[t];
        double right = 0, grey = 0;
        *to = (vv_eval_questions){.type = types[t]};
        for (int64_t i = 0; i < q->n; i++) {
            if (strcmp(q->question[i]->type, types[t])) continue;
            to->n++;
            right += q->right[i];
            grey += q->grey_right[i];
        }
        const double often = (double)majority(q, types[t], to->majority_answer);
        to->accuracy = share(right, (double)to->n);
        to->majority = share(often, (double)to->n);
        to->grey = share(grey, (double)to->n);
        all->n += to->n;
        all->accuracy += right / (double)q->n;
        all->majority += often / (double)q->n;
        all->grey += grey / (double)q->n;
    }
}

vv_status vv_eval_run_vqa(const vv_evaluation *e, vv_error *err)
{
    quiz q = {0};
    vv_image image = {0};
    const vv_image *const only = &image;
    vv_real *grey = NULL;
    int64_t rows = 0, tokens = 0;
    vv_status s = new_quiz(&q, e->scenes, err);
    if (s == VV_OK) s = longest(e, &q, &tokens, err);
    if (s == VV_OK) s = vv_eval_grey(e, &image, err);
    if (s == VV_OK) s = features_of(e, &only, 1, &grey, &rows, err);
    if (s == VV_OK) s = ask_all(e, &q, grey, tokens, err);
    if (s == VV_OK) mark(e->r, &q);
    vv_image_free(&image);
    free(grey);
    free_quiz(&q);
    return s;
}

/* ---- captions -------------------------------------------------------------------------------------------------------------- */
/* the conversation of a scene's caption, with the scene's picture or a grey one */
static vv_status add_caption(const vv_evaluation *e, vv_mllm_batch *b, const vv_scene *scene, const vv_image *image,
                             vv_error *err)
{
    const vv_turn turn[2] = {{.role = VV_USER, .text = VV_CAPTION_PROMPT, .images = 1},
                             {.role = VV_ASSISTANT, .text = scene->caption}};
    vv_chat chat = {.ids = {NULL, 0, 0}};
    vv_batch picture = {0};
    vv_status s = add_picture(e, &picture, image, err);
    const int64_t tokens = picture.rows / e->model->projector->config.cells;
    if (s == VV_OK) s = vv_chat_render(&chat, e->model->tokenizer, turn, 2, &tokens, 1, NULL, err);
    if (s == VV_OK) s = vv_mllm_add(b, e->model, "a scene", chat.ids.id, chat.labels.id, chat.ids.n, &picture, err);
    vv_chat_free(&chat);
    vv_batch_free(&picture);
    return s;
}

/* the summed cross-entropy of a batch's captions, and their tokens */
static vv_status caption_loss(const vv_evaluation *e, const vv_mllm_batch *b, double *sum, int64_t *tokens,
                              vv_error *err)
{
    const vv_qwen3 *llm = e->model->llm;
    vv_ce_window w = {.reduction = VV_CE_TOKEN};
    vv_real loss = 0;
    vv_ce_count(&w, b->labels, b->cu, b->S);
    vv_tensor *hidden = vv_mllm_forward(e->tape, e->model, b);
    vv_tensor *y = vv_cross_entropy(e->tape, "caption", hidden, llm->lm_head, b->labels, b->cu, b->S, &w, NULL);
    const vv_status s = vv_tape_status(e->tape, err);
    if (s == VV_OK) vvb_download(&loss, vv_f(y), sizeof loss);
    vv_tape_reset(e->tape);
    *sum += (double)loss * (double)w.tokens;
    *tokens += w.tokens;
    return s;
}

static vv_status captions(const vv_evaluation *e, const vv_image *grey, double *loss, int64_t *tokens, vv_error *err)
{
    double sum = 0;
    vv_status s = VV_OK;
    *tokens = 0;
    for (int64_t i = 0; s == VV_OK && i < e->scenes->n; i += BATCH) {
        vv_mllm_batch b = {0};
        for (int64_t k = i; s == VV_OK && k < vv_min(i + BATCH, e->scenes->n); k++)
            s = add_caption(e, &b, &e->scenes->at[k], grey ? grey : &e->scenes->at[k].image, err);
        if (s == VV_OK) s = caption_loss(e, &b, &sum, tokens, err);
        vv_mllm_batch_free(&b);
        vv_progress("captions", vv_min(i + BATCH, e->scenes->n), e->scenes->n);
    }
    *loss = share(sum, (double)*tokens);
    return s;
}

vv_status vv_eval_run_captions(const vv_evaluation *e, vv_error *err)
{
    vv_image grey = {0};
    vv_status s = captions(e, NULL, &e->r->caption, &e->r->tokens, err);
    if (s == VV_OK) s = vv_eval_grey(e, &grey, err);
    if (s == VV_OK) s = captions(e, &grey, &e->r->caption_grey, &e->r->tokens, err);
    vv_image_free(&grey);
    return s;
}
