/* What a model makes of a scene: features, disparity, masks, words. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/chat.h"
#include "eval/report_parts.h"
#include "model/generate.h"
#include "model/mllm.h"
#include "train/texts.h"

enum { MOST_TAPS = VV_DPT_LEVELS + 2, CAPTION_TOKENS = 192, ANSWER_TOKENS = 24 };

void vv_shown_free(vv_shown *s)
{
    vv_scene_free(&s->scene);
    free(s->features);
    free(s->disparity);
    for (int k = 0; k < VV_SHOWN_MASKS; k++) free(s->mask[k]);
    free(s->caption);
    for (int k = 0; k < VV_SYNTH_QUESTIONS; k++) free(s->answer[k]);
    *s = (vv_shown){0};
}

void vv_predictor_free(vv_predictor *p)
{
    vv_tape_free(p->tape);
    vv_texts_free(p->texts);
    vv_model_free(&p->model);
    *p = (vv_predictor){0};
}

/* ---- the tower ------------------------------------------------------------------------------------------------------------------- */
/* the outputs of blocks layer [n] in raster order */
static vv_status tower(vv_predictor *p, vv_shown *s, const int64_t *layer, int64_t n, vv_tensor **raster, vv_error *err)
{
    vv_preprocess how = p->model.preprocess;
    vv_batch b = {0};
    vv_tensor *tap[MOST_TAPS] = {NULL};
    const vv_vit_wanted want = {.taps = layer, .n_taps = n, .tap = tap};
    how.fixed_h = how.fixed_w = p->size;
    VV_TRY(vv_batch_add(&b, &how, &s->scene.image, "a scene", err));
    const int64_t dim[2] = {b.rows, b.width};
    s->grid = b.grid[0];
    vv_tensor *x = vv_input(p->tape, "pixel_values", VV_REALS, 2, dim, b.pixel_values);
    (void)vv_vit_forward(p->tape, p->model.vit, x, b.grid, 1, &want);
    for (int64_t k = 0; k < n; k++) raster[k] = vv_vit_raster(p->tape, p->model.vit, NULL, tap[k], b.grid, 1);
    vv_batch_free(&b);
    return vv_tape_status(p->tape, err);
}

static vv_status keep_features(vv_shown *s, const vv_tensor *x, vv_error *err)
{
    if (!(s->features = vv_calloc(x->n, sizeof *s->features))) return vv_no_memory(err, "features");
    vvb_download(s->features, x->data, x->n * (int64_t)sizeof *s->features);
    return VV_OK;
}

vv_status vv_predict_tower(vv_predictor *p, vv_shown *s, vv_error *err)
{
    const int64_t last = p->model.vit->config.depth - 1;
    vv_tensor *raster = NULL;
    vv_status st = tower(p, s, &last, 1, &raster, err);
    if (st == VV_OK) st = keep_features(s, raster, err);
    vv_tape_reset(p->tape);
    return st;
}

/* ---- dense heads ------------------------------------------------------------------------------------------------------------------- */
static vv_status predict_depth(vv_predictor *p, vv_shown *s, vv_tensor *const *tap, vv_error *err)
{
    const vv_tensor *d = vv_dpt_forward(p->tape, p->model.depth, tap, 1, s->grid.h, s->grid.w);
    VV_TRY(vv_tape_status(p->tape, err));
    vv_real *v = vv_calloc(d->n, sizeof *v);
    s->disparity = vv_calloc(d->n, sizeof *s->disparity);
    s->size = d->dim[1];
    if (v && s->disparity) vvb_download(v, d->data, d->n * (int64_t)sizeof *v);
    for (int64_t i = 0; v && s->disparity && i < d->n; i++) s->disparity[i] = (float)v[i];
    free(v);
    return v && s->disparity ? VV_OK : vv_no_memory(err, "depth");
}

/* Up to VV_SHOWN_MASKS expressions, those of objects without one before second ones. A file of embeddings may lack some: those are not
 * shown. */
static void choose(const vv_predictor *p, vv_shown *s)
{
    int taken[VV_SYNTH_REFERRING] = {0};
    const vv_real *vector;
    for (int64_t i = 0; p->texts && i < s->scene.n_referring; i++)
        taken[i] = vv_texts_find(p->texts, s->scene.referring[i].text, &vector, NULL) == VV_FILE;
    for (int again = 0; again < 2; again++)
        for (int64_t i = 0; i < s->scene.n_referring && s->masks < VV_SHOWN_MASKS; i++) {
            int other = 0;
            for (int64_t k = 0; k < s->masks; k++)
                other |= s->scene.referring[s->referring[k]].object == s->scene.referring[i].object;
            if (taken[i] || (other && !again)) continue;
            taken[i] = 1;
            s->referring[s->masks++] = i;
        }
}

static vv_status embed(vv_predictor *p, const vv_shown *s, vv_real *rows, vv_error *err)
{
    const int64_t dim = p->model.mask->config.text_dim;
    for (int64_t k = 0; k < s->masks; k++) {
        const vv_real *vector = NULL;
        VV_TRY(vv_texts_find(p->texts, s->scene.referring[s->referring[k]].text, &vector, err));
        memcpy(rows + k * dim, vector, (size_t)dim * sizeof *rows);
    }
    return VV_OK;
}

/* a pixel is in the mask when its logit is above 0 */
static vv_status keep_masks(vv_shown *s, const vv_tensor *logits, vv_error *err)
{
    const int64_t n = s->scene.image.h * s->scene.image.w;
    vv_real *v = vv_calloc(logits->n, sizeof *v);
    vv_status st = v ? VV_OK : vv_no_memory(err, "masks");
    if (v) vvb_download(v, logits->data, logits->n * (int64_t)sizeof *v);
    for (int64_t k = 0; st == VV_OK && k < s->masks; k++) {
        if (!(s->mask[k] = vv_calloc(n, 1))) st = vv_no_memory(err, "masks");
        for (int64_t i = 0; st == VV_OK && i < n; i++) s->mask[k][i] = v[k * n + i] > 0;
    }
    free(v);
    return st;
}

static vv_status predict_masks(vv_predictor *p, vv_shown *s, vv_tensor *features, vv_error *err)
{
    const int32_t image_of[VV_SHOWN_MASKS] = {0};
    const int64_t dim[2] = {s->masks, p->model.mask->config.text_dim};
    if (s->masks == 0) return VV_OK;
    vv_real *rows = vv_calloc(dim[0] * dim[1], sizeof *rows);
    vv_status st = rows ? embed(p, s, rows, err) : vv_no_memory(err, "texts");
    if (st == VV_OK) {
        vv_tensor *text = vv_input(p->tape, "text", VV_REALS, 2, dim, rows);
        vv_tensor *logits =
            vv_mask_forward(p->tape, p->model.mask, features, 1, s->grid.h, s->grid.w, text, image_of, s->masks);
        logits = vv_mask_resize(p->tape, "masks", logits, s->scene.image.h, s->scene.image.w);
        st = vv_tape_status(p->tape, err);
        if (st == VV_OK) st = keep_masks(s, logits, err);
    }
    free(rows);
    return st;
}

static vv_status predict_dense(vv_predictor *p, vv_shown *s, vv_error *err)
{
    const vv_model *m = &p->model;
    int64_t layer[MOST_TAPS], n = 0;
    vv_tensor *raster[MOST_TAPS] = {NULL};
    layer[n++] = m->vit->config.depth - 1;
    if (p->texts) layer[n++] = vv_mask_config_of(m->mask)->layer;
    const int64_t first = n;
    for (int64_t k = 0; p->depth && k < vv_dpt_config_of(m->depth)->levels; k++)
        layer[n++] = vv_dpt_config_of(m->depth)->taps[k];
    VV_TRY(tower(p, s, layer, n, raster, err));
    VV_TRY(keep_features(s, raster[0], err));
    if (p->depth) VV_TRY(predict_depth(p, s, raster + first, err));
    return p->texts ? predict_masks(p, s, raster[1], err) : VV_OK;
}

/* ---- words -------------------------------------------------------------------------------------------------------------------------- */
static vv_status generate(vv_predictor *p, const vv_chat *chat, const vv_batch *picture, int64_t tokens, char **text,
                          vv_error *err)
{
    const vv_model *m = &p->model;
    const int32_t pad = vv_image_pad(m);
    vv_generate_options o = vv_generate_default();
    int64_t n = 0;
    int stopped = 0;
    o.max_new_tokens = tokens;
    o.vocab_used = vv_tokenizer_size(m->tokenizer);
    o.no_penalty = &pad;
    o.n_no_penalty = 1;
    int32_t *out = vv_calloc(tokens, sizeof *out);
    if (!out) return vv_no_memory(err, "answer");
    vv_tensor *features = vv_mllm_features(p->tape, m, picture);
    vv_tensor *rows = vv_mllm_splice(p->tape, m->llm, chat->ids.id, chat->ids.n, pad, features);
    vv_status st = vv_tape_status(p->tape, err);
    if (st == VV_OK)
        st = vv_generate(p->tape, m->llm, rows, chat->ids.id, chat->ids.n, &o, NULL, NULL, out, &n, &stopped, err);
    if (st == VV_OK && !(*text = vv_decode(m->tokenizer, out, n, 1, NULL))) st = vv_no_memory(err, "answer");
    free(out);
    vv_tape_reset(p->tape);
    return st;
}

/* What the model answers to a question about the picture, greedily. */
static vv_status answer(vv_predictor *p, const vv_shown *s, const char *question, int64_t tokens, char **text,
                        vv_error *err)
{
    const vv_turn turn = {.role = VV_USER, .text = question, .images = 1};
    const vv_chat_options form = {0};
    vv_preprocess how = p->model.preprocess;
    vv_batch picture = {0};
    vv_chat chat = {{NULL, 0, 0}, {NULL, 0, 0}, {NULL, 0, 0}};
    if (p->max_pixels) how.max_pixels = p->max_pixels;
    VV_TRY(vv_batch_add(&picture, &how, &s->scene.image, "a scene", err));
    const int64_t features = picture.rows / p->model.projector->config.cells;
    vv_status st = vv_chat_render(&chat, p->model.tokenizer, &turn, 1, &features, 1, &form, err);
    if (st == VV_OK) st = vv_chat_prompt(&chat, p->model.tokenizer, &form, err);
    if (st == VV_OK) st = generate(p, &chat, &picture, tokens, text, err);
    vv_chat_free(&chat);
    vv_batch_free(&picture);
    return st;
}

vv_status vv_predict(vv_predictor *p, vv_shown *s, vv_error *err)
{
    choose(p, s);
    const vv_status st = predict_dense(p, s, err);
    vv_tape_reset(p->tape);
    VV_TRY(st);
    if (!p->language) return VV_OK;
    VV_TRY(answer(p, s, VV_CAPTION_PROMPT, CAPTION_TOKENS, &s->caption, err));
    for (int64_t k = 0; k < s->scene.n_questions; k++)
        VV_TRY(answer(p, s, s->scene.question[k].question, ANSWER_TOKENS, &s->answer[k], err));
    return VV_OK;
}
