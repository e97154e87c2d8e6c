/* What a stage needs, from shapes alone. */
#include <math.h>
#include <stdlib.h>

#include "data/resize.h"
#include "train/stage.h"
#include "train/step.h"

/* ---- a batch without content ---------------------------------------------------------------------------------------------------- */
/* the size at which the model sees the pictures of a caption task's largest source */
static vv_status largest_picture(const vv_task_config *c, const vv_model *m, int64_t *h, int64_t *w, vv_error *err)
{
    vv_preprocess p = m->preprocess;
    const int64_t cell = p.patch_size * p.merge_size;
    int64_t side = 0;
    if (c->max_pixels) p.max_pixels = c->max_pixels;
    for (int64_t i = 0; i < c->n_sources; i++) {
        if (c->source[i].manifest) side = INT64_MAX;
        else if (!c->source[i].text_alone) side = vv_max(side, c->source[i].scenes.size);
    }
    if (side < INT64_MAX) return vv_preprocess_size(&p, side, side, h, w, c->where, err);
    *h = *w = (int64_t)floor(sqrt((double)p.max_pixels) / (double)cell) * cell;
    return VV_OK;
}

static vv_status empty_pictures(vv_batch *b, const vv_model *m, int64_t n, int64_t h, int64_t w, vv_error *err)
{
    const vv_preprocess *p = &m->preprocess;
    const vv_grid g = {1, h / p->patch_size, w / p->patch_size};
    if (!(b->grid = vv_calloc(n, sizeof *b->grid))) return vv_no_memory(err, "a batch");
    for (int64_t i = 0; i < n; i++) b->grid[i] = g;
    b->n = n;
    b->rows = n * g.h * g.w;
    b->width = 3 * p->temporal_patch_size * p->patch_size * p->patch_size;
    return VV_OK;
}

/* n conversations: the placeholders of a picture, then words that are all learnt */
static vv_status empty_texts(vv_mllm_batch *b, const vv_model *m, int64_t n, int64_t placeholders, int64_t words,
                             vv_error *err)
{
    const int64_t each = placeholders + words;
    b->ids = vv_calloc(n * each, sizeof *b->ids);
    b->labels = vv_calloc(n * each, sizeof *b->labels);
    b->cu = vv_calloc(n + 1, sizeof *b->cu);
    if (!b->ids || !b->labels || !b->cu) return vv_no_memory(err, "a batch");
    for (int64_t i = 0; i < n * each; i++) {
        const int is_word = i % each >= placeholders;
        b->ids[i] = is_word ? 0 : vv_placeholder(m);
        b->labels[i] = is_word ? 0 : VV_IGNORED;
    }
    for (int64_t i = 1; i <= n; i++) b->cu[i] = (int32_t)(i * each);
    b->S = n;
    b->N = n * each;
    return VV_OK;
}

static vv_status empty_micro(vv_micro *x, const vv_task_config *c, const vv_model *m, int64_t n, int64_t size,
                             vv_error *err)
{
    x->n = n;
    if (c->task != VV_TASK_CAPTION) {
        x->instances = c->task == VV_TASK_SEGMENTATION ? n * c->max_instances : 0;
        if (!(x->image_of = vv_calloc(x->instances, sizeof *x->image_of))) return vv_no_memory(err, c->where);
        for (int64_t i = 0; i < x->instances; i++) x->image_of[i] = (int32_t)(i / c->max_instances);
        return empty_pictures(&x->pictures, m, n, size, size, err);
    }
    int64_t h = 0, w = 0, placeholders = 0;
    if (!c->text_alone) {
        VV_TRY(largest_picture(c, m, &h, &w, err));
        VV_TRY(empty_pictures(&x->text.pictures, m, n, h, w, err));
        placeholders = x->text.pictures.rows / n / m->projector->config.cells;
    }
    const int64_t words = c->max_tokens > placeholders + 1 ? c->max_tokens - placeholders : VV_DRY_WORDS;
    return empty_texts(&x->text, m, n, placeholders, words, err);
}

/* ---- one task -------------------------------------------------------------------------------------------------------------------- */
typedef struct {
    vv_step step;
    vv_dry_stage *out;
} dry;

static vv_status run_micro(dry *d, const vv_task_config *c, int64_t n, int64_t times, int64_t size, vv_error *err)
{
    const vv_memory *main = vv_tape_memory(d->step.tape),
                    *other = d->step.frozen ? vv_tape_memory(d->step.frozen) : NULL;
    vv_micro micro = {0};
    vv_task_batch b = {.config = c, .size = size, .micro = &micro, .n = 1, .samples = n};
    vv_error why = {0};
    vv_status s = empty_micro(&micro, c, d->step.model, n, size, err);
    b.instances = micro.instances;
    b.window = (vv_ce_window){c->reduction, n, micro.text.N, 0};
    if (s == VV_OK) s = vv_task_dry(&d->step, &b, &why);
    if (s == VV_OK) {
        d->out->forward[c->task] += (double)times * (main->flops_forward + (other ? other->flops_forward : 0));
        d->out->backward[c->task] += (double)times * main->flops_backward;
        d->out->tokens[c->task] += times * (micro.text.pictures.rows + micro.pictures.rows);
        d->out->text[c->task] += times * micro.text.N;
    } else if (why.msg[0]) {
        vv_fail(err, s, "%s: %.400s", c->where, why.msg);
    }
    vv_tape_reset(d->step.tape);
    if (d->step.frozen) vv_tape_reset(d->step.frozen);
    vv_micro_free(&micro);
    return s;
}

static vv_status run_task(dry *d, const vv_task_config *c, vv_error *err)
{
    int64_t size = 0;
    for (int64_t i = 0; i < c->n_sizes; i++) size = vv_max(size, c->size[i]);
    VV_TRY(run_micro(d, c, c->micro_batch, c->batch / c->micro_batch, size, err));
    return c->batch % c->micro_batch ? run_micro(d, c, c->batch % c->micro_batch, 1, size, err) : VV_OK;
}

/* ---- a stage --------------------------------------------------------------------------------------------------------------------- */
static vv_status run_tasks(dry *d, const vv_stage_config *s, vv_error *err)
{
    for (int k = 0; k < VV_TASKS; k++)
        if (s->task[k].present) VV_TRY(run_task(d, &s->task[k], err));
    return VV_OK;
}

static void count_parts(vv_dry_stage *out, const vv_model *m, const vv_stage_config *s)
{
    const int64_t bytes = (int64_t)sizeof(vv_real);
    for (int64_t i = 0; i < m->params->n; i++) {
        const vv_tensor *p = m->params->at[i];
        vv_dry_part *part = &out->part[vv_part_of(p)];
        part->parameters += p->n;
        if (p->needs_grad) part->trained += p->n;
        out->weights += p->n * bytes * (s->bf16 ? 2 : 1); /* and the rounded ones */
        out->gradients += p->has_grad ? p->n * bytes : 0;
        out->moments += p->has_grad ? 2 * p->n * bytes : 0;
        out->other += p->has_grad ? 18.0 * (double)p->n : 0;
    }
}

/* an update with checkpointing or without: FLOPs and tokens into out, the peak of activations into *peak */
static vv_status run_update(const vv_stage_config *s, vv_model *shapes, int checkpointing, vv_dry_stage *out,
                            int64_t *peak, vv_error *err)
{
    dry d = {.step.model = shapes, .out = out};
    d.step.tape = vv_tape_new(shapes->params, VV_DRY | VV_RECORD | (checkpointing ? VV_CHECKPOINT : 0));
    if (!(s->train & VV_VISION)) d.step.frozen = vv_tape_new(NULL, VV_DRY);
    vv_status st = d.step.tape && (d.step.frozen || s->train & VV_VISION) ? VV_OK : vv_no_memory(err, s->name);
    if (st == VV_OK) st = run_tasks(&d, s, err);
    if (st == VV_OK) {
        const vv_memory *main = vv_tape_memory(d.step.tape),
                        *other = d.step.frozen ? vv_tape_memory(d.step.frozen) : NULL;
        *peak = main->activations_peak + main->gradients_peak + (other ? other->activations_peak : 0);
    }
    vv_tape_free(d.step.tape);
    vv_tape_free(d.step.frozen);
    return st;
}

vv_status vv_train_dry(const vv_train_config *c, int64_t stage, vv_model *shapes, vv_dry_stage *out, vv_error *err)
{
    const vv_stage_config *s = &c->stage[stage];
    int *trainable = vv_calloc(shapes->params->n, sizeof *trainable);
    vv_dry_stage unused = {0};
    *out = (vv_dry_stage){.stage = s->name, .updates = s->updates, .skipped = vv_stage_skipped(c, s)};
    vv_status st = trainable ? vv_stage_check(s, shapes, err) : vv_no_memory(err, s->name);
    if (st == VV_OK) {
        for (int64_t i = 0; i < shapes->params->n; i++) trainable[i] = shapes->params->at[i]->needs_grad;
        vv_stage_freeze(shapes, trainable, s->train);
        st = run_update(s, shapes, s->checkpointing, out, &out->activations, err);
        if (st == VV_OK) st = run_update(s, shapes, !s->checkpointing, &unused, &out->activations_otherwise, err);
        count_parts(out, shapes, s);
        for (int64_t i = 0; i < shapes->params->n; i++) shapes->params->at[i]->needs_grad = trainable[i];
    }
    free(trainable);
    return st;
}
