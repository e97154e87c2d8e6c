/* An update of all three tasks, of the stage "stage2" of a configuration in data/configs: forward and backward of each task's batch,
 * one norm, clipping, AdamW. The weights are random, the batches are the first samples of the sources, made once. */
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"
#include "io/safetensors.h"
#include "optim/adamw.h"
#include "train/step.h"
#include "train/trainer.h"

typedef struct {
    vv_train_config config;
    vv_model model, shapes;
    vv_texts *texts;
    vv_task_batch batch[VV_TASKS];
    vv_task_loss loss[VV_TASKS];
    vv_step step;
    vv_adamw *optimizer;
} update;

/* ---- setting up ------------------------------------------------------------------------------------------------------------- */
static vv_status make_batch(update *u, const vv_task_config *c, vv_error *err)
{
    vv_dataset *set = NULL;
    vv_sample *sample = vv_calloc(c->batch, sizeof *sample);
    vv_status s = sample ? vv_dataset_open(&set, &c->source[0], c->task, 0, err) : vv_no_memory(err, c->where);
    for (int64_t i = 0; s == VV_OK && i < c->batch; i++) s = vv_dataset_get(set, i, &sample[i], err);
    if (s == VV_OK)
        s = vv_task_batch_make(&u->batch[c->task], c, &u->model, sample, c->n_sizes ? vv_task_size(c, 1) : 0, 1,
                               vv_task_name[c->task], 0, u->texts, err);
    for (int64_t i = 0; sample && i < c->batch; i++) vv_sample_free(&sample[i]);
    free(sample);
    vv_dataset_free(set);
    return s;
}

static vv_status set_up(update *u, const char *name, bench_result *r, vv_error *err)
{
    const vv_train_overrides as_written = {.seed = -1};
    const vv_adamw_group group = vv_adamw_default();
    vv_dry_stage dry;
    char *path = cli_data_file("configs", name);
    if (!path) return vv_no_memory(err, name);
    vv_status s = vv_train_config_load(&u->config, path, &as_written, err);
    if (s == VV_OK) s = vv_model_from_config(&u->model, path, VV_ALL_PARTS, err);
    if (s == VV_OK) s = vv_model_from_config(&u->shapes, path, VV_ALL_PARTS | VV_SHAPES_ONLY, err);
    if (s == VV_OK) s = vv_model_init(&u->model, 1, err);
    const int64_t at = s == VV_OK ? vv_stage_find(&u->config, "stage2") : -1;
    if (s == VV_OK && at < 0) s = vv_fail(err, VV_FILE, "%s: expected a stage \"stage2\"; found none", path);
    free(path);
    VV_TRY(s);
    const vv_stage_config *stage = &u->config.stage[at];
    VV_TRY(vv_stage_check(stage, &u->model, err));
    VV_TRY(vv_train_dry(&u->config, at, &u->shapes, &dry, err));
    VV_TRY(vv_texts_model(&u->texts, &u->model, name, u->model.mask->config.text_dim, err));
    r->flops = dry.other;
    for (int k = 0; k < VV_TASKS; k++) {
        r->flops += dry.forward[k] + dry.backward[k];
        if (stage->task[k].present) VV_TRY(make_batch(u, &stage->task[k], err));
    }
    u->step = (vv_step){.model = &u->model, .tape = vv_tape_new(u->model.params, VV_RECORD)};
    if (!u->step.tape) return vv_no_memory(err, "tape");
    return vv_adamw_new(&u->optimizer, u->model.params, &group, 1, NULL, NULL, err);
}

static void tear_down(update *u)
{
    for (int k = 0; k < VV_TASKS; k++) vv_task_batch_free(&u->batch[k]);
    vv_adamw_free(u->optimizer);
    vv_tape_free(u->step.tape);
    vv_texts_free(u->texts);
    vv_model_free(&u->shapes);
    vv_model_free(&u->model);
    vv_train_config_free(&u->config);
}

/* ---- what it was made of ------------------------------------------------------------------------------------------------------ */
enum { MOST = 4096 };

typedef struct {
    vv_st_decl decl[MOST];
    const void *data[MOST];       /* on the host */
    const vv_tensor *param[MOST]; /* or on the backend */
    int64_t n;
} tensors;

static void put(tensors *t, const char *name, vv_dtype type, int ndim, const int64_t *shape, const void *data)
{
    if (t->n == MOST || !data) return;
    t->decl[t->n] = (vv_st_decl){.name = name, .dtype = type, .ndim = ndim};
    for (int k = 0; k < ndim; k++) t->decl[t->n].shape[k] = shape[k];
    t->data[t->n++] = data;
}

static vv_status write(vv_stw *out, const tensors *t, int64_t i, vv_error *err)
{
    const vv_tensor *p = t->param[i];
    vv_real *host = p ? vv_calloc(p->n, sizeof *host) : NULL;
    if (p && !host) return vv_no_memory(err, p->name);
    if (p) vvb_download(host, p->data, p->n * (int64_t)sizeof *host);
    const vv_status s = vv_stw_write(out, i, p ? host : t->data[i], err);
    free(host);
    return s;
}

/* batches of one micro-batch, which those of tiny and small are */
static void put_batches(tensors *t, const update *u)
{
    const vv_micro *c = u->batch[VV_TASK_CAPTION].micro, *d = u->batch[VV_TASK_DEPTH].micro,
                   *s = u->batch[VV_TASK_SEGMENTATION].micro;
    const int64_t size = u->batch[VV_TASK_DEPTH].size, side = u->batch[VV_TASK_SEGMENTATION].size;
    const int64_t one = c->text.S + 1;
    put(t, "caption/pixel_values", VV_DT_REAL, 2, (int64_t[]){c->text.pictures.rows, c->text.pictures.width},
        c->text.pictures.pixel_values);
    put(t, "caption/ids", VV_DT_I32, 1, &c->text.N, c->text.ids);
    put(t, "caption/labels", VV_DT_I32, 1, &c->text.N, c->text.labels);
    put(t, "caption/cu_seqlens", VV_DT_I32, 1, &one, c->text.cu);
    put(t, "depth/pixel_values", VV_DT_REAL, 2, (int64_t[]){d->pictures.rows, d->pictures.width},
        d->pictures.pixel_values);
    put(t, "depth/disparity", VV_DT_REAL, 3, (int64_t[]){d->n, size, size}, d->disparity);
    put(t, "segmentation/pixel_values", VV_DT_REAL, 2, (int64_t[]){s->pictures.rows, s->pictures.width},
        s->pictures.pixel_values);
    put(t, "segmentation/masks", VV_DT_REAL, 3, (int64_t[]){s->instances, side, side}, s->masks);
    put(t, "segmentation/text", VV_DT_REAL, 2, (int64_t[]){s->instances, u->model.mask->config.text_dim}, s->embedded);
    put(t, "segmentation/image_of", VV_DT_I32, 1, &s->instances, s->image_of);
}

/* weights before the update, losses of it */
static vv_status record(const update *u, const char *file, vv_error *err)
{
    tensors *t = vv_calloc(1, sizeof *t);
    vv_stw *out = NULL;
    double loss[VV_TASKS];
    const int64_t three = VV_TASKS;
    const int32_t pad = vv_placeholder(&u->model);
    if (!t) return vv_no_memory(err, file);
    for (int k = 0; k < VV_TASKS; k++) loss[k] = u->loss[k].loss;
    put_batches(t, u);
    put(t, "image_pad", VV_DT_I32, 0, NULL, &pad);
    put(t, "losses", VV_DT_F64, 1, &three, loss);
    for (int64_t i = 0; i < u->model.params->n; i++) {
        const vv_tensor *p = u->model.params->at[i];
        t->param[t->n] = p;
        put(t, p->name, VV_DT_REAL, p->ndim, p->dim, p);
    }
    vv_status s = vv_stw_open(&out, file, t->decl, t->n, NULL, 0, err);
    for (int64_t i = 0; s == VV_OK && i < t->n; i++) s = write(out, t, i, err);
    if (s == VV_OK) s = vv_stw_commit(out, err);
    else vv_stw_abort(out);
    free(t);
    return s;
}

/* ---- the update ---------------------------------------------------------------------------------------------------------------- */
static vv_status gradients(update *u, vv_error *err)
{
    vv_params_zero_grad(u->model.params);
    for (int k = 0; k < VV_TASKS; k++)
        if (u->batch[k].config) VV_TRY(vv_task_gradients(&u->step, &u->batch[k], &u->loss[k], err));
    return VV_OK;
}

vv_status bench_train(int *known, bench_result *r, const bench_settings *s, vv_error *err)
{
    *known = !strcmp(r->name, "train_tiny") || !strcmp(r->name, "train_small");
    if (!*known) return VV_OK;
    update *u = vv_calloc(1, sizeof *u);
    if (!u) return vv_no_memory(err, r->name);
    vv_status st = set_up(u, strchr(r->name, '_') + 1, r, err);
    if (st == VV_OK && s->record) st = gradients(u, err);
    if (st == VV_OK && s->record) st = record(u, s->record, err);
    for (int64_t i = 0; st == VV_OK && i <= s->repeat; i++) { /* the first one pays for the memory */
        const double t0 = vv_seconds();
        st = gradients(u, err);
        if (st == VV_OK) st = vv_adamw_step(u->optimizer, 1, NULL, err);
        vvb_sync();
        if (i) r->seconds = bench_least(r->seconds, vv_seconds() - t0);
        vv_progress(r->name, i + 1, s->repeat + 1);
    }
    if (st == VV_OK) {
        const vv_memory *m = vv_tape_memory(u->step.tape);
        r->peak_bytes = u->model.params->peak + u->optimizer->bytes + m->activations_peak + m->gradients_peak;
    }
    tear_down(u);
    free(u);
    return st;
}
