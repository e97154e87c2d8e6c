/* The updates of a stage. */
#include "train/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "train/masters.h"
#include "train/step.h"
#include "train/validate.h"

/* one task's data and its order */
typedef struct {
    vv_dataset **set;
    vv_loader *loader;
    vv_sample *sample; /* [batch] */
    char *stream;
    vv_texts *texts;
} feed;

typedef struct {
    vv_run *run;
    const vv_stage_config *config;
    char *folder;
    feed feed[VV_TASKS];
    vv_step step;
    vv_adamw *optimizer;
    vv_masters masters;
    vv_gradients gradients;
    vv_validation *validation; /* NULL: never */
    int64_t updates;
    vv_train_state state;
    int told;               /* of depth maps without a gradient */
    double started, before; /* seconds: of the clock, and of earlier processes */
} stage;

/* ---- setting up ------------------------------------------------------------------------------------------------------------- */
static void free_feed(feed *f, const vv_task_config *c)
{
    vv_loader_free(f->loader);
    for (int64_t i = 0; f->set && i < c->n_sources; i++) vv_dataset_free(f->set[i]);
    free(f->set);
    free(f->sample);
    free(f->stream);
    vv_texts_free(f->texts);
}

static void free_stage(stage *s)
{
    for (int k = 0; k < VV_TASKS; k++) free_feed(&s->feed[k], &s->config->task[k]);
    vv_tape_free(s->step.tape);
    vv_tape_free(s->step.frozen);
    vv_adamw_free(s->optimizer);
    vv_masters_free(&s->masters);
    vv_gradients_free(&s->gradients);
    vv_validation_free(s->validation);
    free(s->folder);
}

static vv_status open_texts(stage *s, feed *f, const vv_task_config *c, vv_error *err)
{
    const int64_t dim = s->run->model.mask->config.text_dim;
    char *folder = NULL;
    if (c->embeddings) return vv_texts_open(&f->texts, c->embeddings, dim, err);
    VV_TRY(vv_stage_source(s->run, s->config, c->text_encoder, VV_TEXT, "text_encoder", &folder, err));
    const vv_status st = vv_texts_encoder(&f->texts, folder, dim, err);
    free(folder);
    return st;
}

static vv_status open_sources(stage *s, int k, vv_error *err)
{
    const vv_task_config *c = &s->config->task[k];
    feed *f = &s->feed[k];
    f->set = vv_calloc(c->n_sources, sizeof *f->set);
    f->sample = vv_calloc(c->batch, sizeof *f->sample);
    f->stream = vv_asprintf("%s/%s", s->config->random, vv_task_name[k]);
    if (!f->set || !f->sample || !f->stream) return vv_no_memory(err, c->where);
    for (int64_t i = 0; i < c->n_sources; i++)
        VV_TRY(vv_dataset_open(&f->set[i], &c->source[i], c->task, c->skip_bad, err));
    return c->task == VV_TASK_SEGMENTATION ? open_texts(s, f, c, err) : VV_OK;
}

/* updates of the stage: the task with the most of them in an epoch sets the pace, the others are repeated */
static int64_t count_updates(const stage *s)
{
    int64_t most = 0;
    if (s->config->updates) return s->config->updates;
    for (int k = 0; k < VV_TASKS; k++) {
        const vv_task_config *c = &s->config->task[k];
        int64_t n = 0;
        for (int64_t i = 0; i < c->n_sources; i++) n += vv_dataset_size(s->feed[k].set[i]);
        if (c->present) most = vv_max(most, (n + c->batch - 1) / c->batch);
    }
    return most * s->config->epochs;
}

static vv_status start_loader(stage *s, int k, vv_error *err)
{
    const vv_task_config *c = &s->config->task[k];
    double *weight = vv_calloc(c->n_sources, sizeof *weight);
    if (!weight) return vv_no_memory(err, c->where);
    for (int64_t i = 0; i < c->n_sources; i++) weight[i] = c->source[i].weight;
    const vv_status st = vv_loader_new(&s->feed[k].loader, s->feed[k].set, weight, c->n_sources, s->run->config.seed,
                                       s->feed[k].stream, c->batch, s->state.draws[k], err);
    free(weight);
    return st;
}

static vv_status new_optimizer(stage *s, vv_error *err)
{
    const vv_stage_config *c = s->config;
    vv_adamw_group group[VV_GROUPS];
    for (int g = 0; g < VV_GROUPS; g++)
        group[g] = (vv_adamw_group){0, c->beta1, c->beta2, c->eps, g % 2 ? 0 : c->weight_decay};
    return vv_adamw_new(&s->optimizer, s->run->model.params, group, VV_GROUPS, vv_stage_group, NULL, err);
}

/* the checkpoint that is there, or the beginning */
static vv_status restore(stage *s, int64_t index, vv_error *err)
{
    int64_t at = 0;
    VV_TRY(vv_checkpoint_newest(s->folder, &at, err));
    if (at == 0) return vv_stage_begin(s->run, index, err);
    VV_TRY(vv_checkpoint_read(s->folder, at, s->config, &s->run->model, s->optimizer, &s->state, err));
    if (strcmp(s->state.config, s->run->hash))
        return vv_fail(err, VV_FILE, "%s/checkpoint-%lld: expected one of this configuration, %s; found one of %s",
                       s->folder, (long long)at, s->run->hash, s->state.config);
    s->before = s->state.seconds;
    return VV_OK;
}

static vv_status set_up(stage *s, int64_t index, vv_error *err)
{
    vv_run *r = s->run;
    const int flags = VV_RECORD | (s->config->checkpointing ? VV_CHECKPOINT : 0);
    if (!(s->folder = vv_run_folder(r, s->config->name))) return vv_no_memory(err, s->config->name);
    VV_TRY(vv_dir_make(s->folder, err));
    vv_stage_freeze(&r->model, r->trainable, s->config->train);
    VV_TRY(new_optimizer(s, err));
    VV_TRY(restore(s, index, err));
    for (int k = 0; k < VV_TASKS; k++)
        if (s->config->task[k].present) VV_TRY(open_sources(s, k, err));
    s->updates = count_updates(s);
    for (int k = 0; k < VV_TASKS; k++)
        if (s->config->task[k].present) VV_TRY(start_loader(s, k, err));
    if (s->config->bf16) VV_TRY(vv_masters_new(&s->masters, r->model.params, err));
    VV_TRY(vv_gradients_new(&s->gradients, &r->model, err));
    if (s->config->validate_every) VV_TRY(vv_validation_new(&s->validation, s->config, &r->model, r->config.seed, err));
    s->step.model = &r->model;
    s->step.bf16 = s->config->bf16;
    s->step.tape = vv_tape_new(r->model.params, flags);
    if (s->step.tape && !(s->config->train & VV_VISION)) s->step.frozen = vv_tape_new(NULL, 0);
    if (!s->step.tape || (!(s->config->train & VV_VISION) && !s->step.frozen)) return vv_no_memory(err, "tape");
    return VV_OK;
}

/* ---- one update ------------------------------------------------------------------------------------------------------------- */
static vv_status task_gradients(stage *s, int k, vv_update *u, vv_error *err)
{
    const vv_task_config *c = &s->config->task[k];
    feed *f = &s->feed[k];
    vv_task_batch batch = {0};
    vv_task_loss loss = {0};
    const int64_t size = k == VV_TASK_CAPTION ? 0 : vv_task_size(c, u->update);
    VV_TRY(vv_loader_next(f->loader, f->sample, err));
    vv_status st = vv_task_batch_make(&batch, c, &s->run->model, f->sample, size, s->run->config.seed, f->stream,
                                      s->state.draws[k], f->texts, err);
    for (int64_t i = 0; i < c->batch; i++) vv_sample_free(&f->sample[i]);
    if (st == VV_OK) st = vv_task_gradients(&s->step, &batch, &loss, err);
    if (loss.skipped && !s->told++)
        vv_warn("stage %s, update %lld: %lld of %lld depth maps teach nothing: unknown, flat, or predicted flat (said "
                "once)",
                u->stage, (long long)u->update, (long long)loss.skipped, (long long)c->batch);
    vv_task_batch_free(&batch);
    s->state.draws[k] += c->batch;
    u->tasks |= 1 << k;
    u->loss[k] = loss.loss;
    u->total += c->lambda * loss.loss;
    u->samples += c->batch;
    if (k == VV_TASK_DEPTH) u->ssi = loss.part[0], u->gm = loss.part[1];
    if (k == VV_TASK_SEGMENTATION) u->bce = loss.part[0], u->dice = loss.part[1];
    return st;
}

/* parameters that train but were not reached: with decay_unused they get a gradient of zeros, so that they decay */
static vv_status fill_unused(const stage *s, vv_error *err)
{
    vv_params *ps = s->run->model.params;
    for (int64_t i = 0; s->config->decay_unused && i < ps->n; i++) {
        vv_tensor *p = ps->at[i];
        const int64_t bytes = p->n * (int64_t)sizeof *p->grad;
        if (!p->needs_grad || p->has_grad) continue;
        if (!p->grad && !(p->grad = vvb_alloc(bytes))) {
            (void)vvb_error();
            return vv_no_memory(err, p->name);
        }
        vvb_zero(p->grad, bytes);
        p->has_grad = 1;
    }
    return VV_OK;
}

static void set_rates(stage *s, vv_update *u)
{
    const double factor = vv_schedule_factor(&s->config->schedule, u->update - 1, s->updates);
    for (int k = 0; k < VV_PARTS; k++) {
        u->lr[k] = s->config->lr[k] * factor;
        s->optimizer->group[2 * k].lr = s->optimizer->group[2 * k + 1].lr = u->lr[k];
    }
}

static vv_status all_gradients(stage *s, vv_update *u, int look, vv_error *err)
{
    vv_status st = VV_OK;
    if (s->config->bf16) vv_masters_round(&s->masters);
    for (int k = 0; st == VV_OK && k < VV_TASKS; k++) {
        if (!s->config->task[k].present) continue;
        st = task_gradients(s, k, u, err);
        if (st == VV_OK && look) st = vv_gradients_after(&s->gradients, (vv_task)k, err);
    }
    if (s->config->bf16) vv_masters_restore(&s->masters);
    return st;
}

/* an error of an update, with its place */
static vv_status at_update(const vv_update *u, const vv_error *why, vv_error *err)
{
    return vv_fail(err, why->status, "stage %s, update %lld: %.500s", u->stage, (long long)u->update, why->msg);
}

static vv_status update(stage *s, vv_update *u, vv_error *err)
{
    vv_params *ps = s->run->model.params;
    const int look = s->config->gradients_every > 0 && u->update % s->config->gradients_every == 0;
    vv_error why = {0};
    vv_params_zero_grad(ps);
    set_rates(s, u);
    vv_status st = all_gradients(s, u, look, &why);
    if (st == VV_OK) st = fill_unused(s, &why);
    if (st == VV_OK) st = vv_adamw_step(s->optimizer, s->config->max_grad_norm, &u->grad_norm, &why);
    if (st != VV_OK) return at_update(u, &why, err);
    u->seconds = s->before + vv_seconds() - s->started;
    s->state.update = u->update;
    s->state.seconds = u->seconds;
    VV_TRY(vv_log_update(&s->run->log, u, err));
    if (!look) return VV_OK;
    vv_gradients_finish(&s->gradients);
    return vv_log_gradients(&s->run->log, u, &s->gradients, err);
}

/* bytes of activations and their gradients, the most so far */
static int64_t activations(const stage *s)
{
    const vv_memory *main = vv_tape_memory(s->step.tape);
    const int64_t frozen = s->step.frozen ? vv_tape_memory(s->step.frozen)->activations_peak : 0;
    return main->activations_peak + main->gradients_peak + frozen;
}

/* Held-out losses after update u when it is their turn; the best weights so far go to OUT/STAGE/best, before any checkpoint that
 * knows of them. */
static vv_status validate(stage *s, vv_update *u, vv_error *err)
{
    vv_error why = {0};
    if (s->validation && (u->update % s->config->validate_every == 0 || u->update == s->updates)) {
        if (s->config->bf16) vv_masters_round(&s->masters);
        const vv_status st = vv_validation_run(s->validation, s->feed[VV_TASK_SEGMENTATION].texts, &u->held_out, &why);
        if (s->config->bf16) vv_masters_restore(&s->masters);
        if (st != VV_OK) return at_update(u, &why, err);
        u->held_out.update = u->update;
        if (!s->state.best_update || u->held_out.total < s->state.best_total) {
            VV_TRY(vv_checkpoint_model(s->folder, "best", &s->run->model, err));
            s->state.best_update = u->update;
            s->state.best_total = u->held_out.total;
        }
    }
    u->best.update = s->state.best_update;
    u->best.total = s->state.best_total;
    return u->held_out.update ? vv_log_validation(&s->run->log, u, err) : VV_OK;
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------ */
static vv_status save(stage *s, vv_error *err)
{
    memcpy(s->state.config, s->run->hash, sizeof s->state.config);
    VV_TRY(vv_checkpoint_write(s->folder, s->config->name, &s->run->model, s->optimizer, &s->state, err));
    return vv_checkpoint_prune(s->folder, s->config->keep_last, err);
}

static vv_status begin_log(const stage *s, vv_error *err)
{
    vv_run *r = s->run;
    int64_t all = 0, trained = 0;
    if (s->state.update) return vv_log_resume(&r->log, s->config->name, s->state.update, err);
    for (int64_t i = 0; i < r->model.params->n; i++) {
        all += r->model.params->at[i]->n;
        if (r->model.params->at[i]->needs_grad) trained += r->model.params->at[i]->n;
    }
    return vv_log_start(&r->log, s->config->name, s->updates, all, trained, err);
}

static vv_status updates(stage *s, int *stopped, vv_error *err)
{
    const vv_train_options *o = s->run->options;
    while (s->state.update < s->updates) {
        vv_update u = {
            .stage = s->config->name, .update = s->state.update + 1, .updates = s->updates, .train = s->config->train};
        VV_TRY(update(s, &u, err));
        VV_TRY(validate(s, &u, err));
        u.activations = activations(s);
        if (o->told) o->told(o->ctx, &u);
        *stopped = o->stop && o->stop(o->ctx);
        if (u.update == s->updates) break;
        const int due = s->config->save_every > 0 && u.update % s->config->save_every == 0;
        if (due || *stopped) VV_TRY(save(s, err));
        if (*stopped) return VV_OK;
    }
    VV_TRY(vv_log_end(&s->run->log, s->config->name, s->updates, s->state.seconds, activations(s), err));
    return vv_checkpoint_model(s->folder, "model", &s->run->model, err);
}

vv_status vv_stage_run(vv_run *r, int64_t index, int *stopped, vv_error *err)
{
    stage s = {.run = r, .config = &r->config.stage[index]};
    vv_status st = set_up(&s, index, err);
    if (st == VV_OK) st = begin_log(&s, err);
    s.started = vv_seconds();
    if (st == VV_OK) st = updates(&s, stopped, err);
    free_stage(&s);
    return st;
}
