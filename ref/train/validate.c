#include "train/validate.h"

#include <stdlib.h>

#include "train/step.h"

typedef struct {
    vv_task_config config; /* the task's, with a batch of all samples; what it points to is the stage's */
    vv_dataset **set;
    char *stream;
} task;

struct vv_validation {
    task task[VV_TASKS];
    vv_step step;
    uint64_t seed;
};

void vv_validation_free(vv_validation *v)
{
    if (!v) return;
    for (int k = 0; k < VV_TASKS; k++) {
        task *t = &v->task[k];
        for (int64_t i = 0; t->set && i < t->config.n_validation; i++) vv_dataset_free(t->set[i]);
        free(t->set);
        free(t->stream);
    }
    vv_tape_free(v->step.tape);
    free(v);
}

static vv_status open_task(task *t, const vv_stage_config *stage, const vv_task_config *c, vv_error *err)
{
    t->config = *c;
    t->config.batch = stage->validate_count;
    t->config.micro_batch = vv_min(c->micro_batch, stage->validate_count);
    t->set = vv_calloc(c->n_validation, sizeof *t->set);
    t->stream = vv_asprintf("%s/%s/validation", stage->name, vv_task_name[c->task]);
    if (!t->set || !t->stream) return vv_no_memory(err, c->where);
    for (int64_t i = 0; i < c->n_validation; i++)
        VV_TRY(vv_dataset_open(&t->set[i], &c->validation[i], c->task, c->skip_bad, err));
    return VV_OK;
}

vv_status vv_validation_new(vv_validation **out, const vv_stage_config *config, const vv_model *m, uint64_t seed,
                            vv_error *err)
{
    vv_validation *v = *out = vv_calloc(1, sizeof *v);
    if (!v) return vv_no_memory(err, config->where);
    v->seed = seed;
    v->step.model = m;
    v->step.bf16 = config->bf16;
    v->step.tape = vv_tape_new(NULL, 0);
    vv_status s = v->step.tape ? VV_OK : vv_no_memory(err, "tape");
    for (int k = 0; s == VV_OK && k < VV_TASKS; k++)
        if (config->task[k].present) s = open_task(&v->task[k], config, &config->task[k], err);
    if (s != VV_OK) vv_validation_free(v), *out = NULL;
    return s;
}

/* the samples, [config.batch] */
static vv_status read_samples(const task *t, vv_sample *sample, vv_error *err)
{
    const vv_task_config *c = &t->config;
    double *weight = vv_calloc(c->n_validation, sizeof *weight);
    int64_t *taken = vv_calloc(c->n_validation, sizeof *taken);
    vv_status s = weight && taken ? VV_OK : vv_no_memory(err, c->where);
    for (int64_t i = 0; s == VV_OK && i < c->n_validation; i++) weight[i] = c->validation[i].weight;
    for (int64_t j = 0; s == VV_OK && j < c->batch; j++) {
        const int64_t i = vv_deal(weight, taken, c->n_validation);
        s = vv_dataset_get(t->set[i], (taken[i] - 1) % vv_dataset_size(t->set[i]), &sample[j], err);
    }
    free(weight);
    free(taken);
    return s;
}

static vv_status run_task(const vv_validation *v, const task *t, vv_texts *texts, double *loss, vv_error *err)
{
    const vv_task_config *c = &t->config;
    vv_sample *sample = vv_calloc(c->batch, sizeof *sample);
    vv_task_batch batch = {0};
    vv_task_loss sum = {0};
    vv_status s = sample ? read_samples(t, sample, err) : vv_no_memory(err, c->where);
    if (s == VV_OK)
        s = vv_task_batch_make(&batch, c, v->step.model, sample, c->task == VV_TASK_CAPTION ? 0 : vv_task_size(c, 1),
                               v->seed, t->stream, 0, texts, err);
    for (int64_t j = 0; sample && j < c->batch; j++) vv_sample_free(&sample[j]);
    free(sample);
    if (s == VV_OK) s = vv_task_loss_alone(&v->step, &batch, &sum, err);
    vv_task_batch_free(&batch);
    *loss = sum.loss;
    return s;
}

vv_status vv_validation_run(vv_validation *v, vv_texts *texts, vv_held_out *out, vv_error *err)
{
    vv_error why = {0};
    out->total = 0;
    for (int k = 0; k < VV_TASKS; k++) {
        const task *t = &v->task[k];
        if (!t->config.present) continue;
        const vv_status s = run_task(v, t, texts, &out->loss[k], &why);
        if (s != VV_OK) return vv_fail(err, s, "held-out samples: %.550s", why.msg);
        out->total += t->config.lambda * out->loss[k];
    }
    return VV_OK;
}
