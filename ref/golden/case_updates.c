/* Whole updates of all three tasks, by the trainer's own code (train/step.h, optim/adamw.h): gradients of every task's batch, cut into
 * micro-batches, times its lambda; one norm, clipping, AdamW.
 *
 *   record     which updates are recorded: [1, 2, 3, 10]; the last one is the end
 *   gradients  of which of them the summed gradients are recorded; without: of all
 *   seeds      a seed for the data of each update, from 1 to the end
 *   caption, depth, segmentation    {"lambda", "batch", "micro_batch"};  size: of the squares
 *   lr         {"visual": .., ...}, cosine from there over all updates to min_lr_ratio times as much
 *   beta1, beta2, eps, weight_decay (of matrices), max_grad_norm
 *
 * The state after each update, weights and moments, is rounded to float before the next one starts, in both builds: update k is a function
 * of the golden state k-1, which stands in the file (w, m, v of update k). Recorded are: what each task reads (in), its losses, the rates
 * (in/lr: one for each part, in the order visual, projector, model, depth_head, mask_head; float values), under `update` total, the
 * gradients before clipping (dw), grad_norm and dstep; of update 1 also the tower's gradients of each task's own loss (what lies behind
 * the tower is reached by one task alone). In update 1 what nothing reaches has dstep 0. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "golden/case_updates.h"
#include "golden/gauges.h"
#include "golden/steps.h"

/* ---- the case's file ------------------------------------------------------------------------------------------------------- */
static vv_status read_task(vv_updates *u, vv_task k, vv_error *err)
{
    static const char *const keys[] = {"lambda", "batch", "micro_batch", NULL};
    const char *name = vv_task_name[k], *path = u->c->path;
    const json_t *obj = NULL;
    vv_task_config *t = &u->task[k];
    VV_TRY(vv_json_need(u->c->root, path, name, err));
    VV_TRY(vv_json_object(u->c->root, path, name, &obj, err));
    *t = (vv_task_config){.present = 1, .where = (char *)name, .task = k, .lambda = 1, .batch = 2};
    t->reduction = VV_CE_SAMPLE;
    t->depth = vv_depth_config_default();
    t->segmentation = vv_seg_config_default();
    VV_TRY(vv_json_only(obj, path, keys, err));
    VV_TRY(vv_json_real(obj, path, "lambda", 0, 1e6, &t->lambda, err));
    VV_TRY(vv_json_int(obj, path, "batch", 1, VV_UPDATES_BATCH, &t->batch, err));
    t->micro_batch = t->batch;
    return vv_json_int(obj, path, "micro_batch", 1, t->batch, &t->micro_batch, err);
}

static vv_status read_optimizer(vv_updates *u, vv_error *err)
{
    const json_t *root = u->c->root, *lr = NULL;
    const char *path = u->c->path;
    vv_adamw_group g = vv_adamw_default();
    VV_TRY(vv_json_real(root, path, "beta1", 0, 1, &g.beta1, err));
    VV_TRY(vv_json_real(root, path, "beta2", 0, 1, &g.beta2, err));
    VV_TRY(vv_json_real(root, path, "eps", 1e-30, 1, &g.eps, err));
    VV_TRY(vv_json_real(root, path, "weight_decay", 0, 1e3, &g.weight_decay, err));
    VV_TRY(vv_json_real(root, path, "max_grad_norm", 0, 1e30, &u->max_norm, err));
    VV_TRY(vv_json_real(root, path, "min_lr_ratio", 0, 1, &u->schedule.min_lr_ratio, err));
    for (int k = 0; k < VV_GROUPS; k++) {
        u->group[k] = g;
        if (k % 2) u->group[k].weight_decay = 0;
    }
    VV_TRY(vv_json_need(root, path, "lr", err));
    VV_TRY(vv_json_object(root, path, "lr", &lr, err));
    for (int k = 0; k < VV_PARTS; k++) {
        VV_TRY(vv_json_need(lr, path, vv_part_key[k], err));
        VV_TRY(vv_json_real(lr, path, vv_part_key[k], 0, 1, &u->lr[k], err));
    }
    return VV_OK;
}

static vv_status read_settings(vv_updates *u, vv_error *err)
{
    const vv_case *c = u->c;
    for (int k = 0; k < VV_TASKS; k++) VV_TRY(read_task(u, (vv_task)k, err));
    VV_TRY(read_optimizer(u, err));
    const vv_preprocess *p = &c->model.preprocess;
    const int64_t block = p->patch_size * p->merge_size;
    u->size = block;
    VV_TRY(vv_json_int(c->root, c->path, "size", block, 1 << 12, &u->size, err));
    if (u->size % block)
        return vv_fail(err, VV_FILE, "%s: size: expected a multiple of %lld", c->path, (long long)block);
    VV_TRY(vv_case_ints(c, "seeds", 0, INT64_MAX, &u->seeds, &u->updates, err));
    VV_TRY(vv_case_ints(c, "record", 1, u->updates, &u->recorded, &u->n_recorded, err));
    if (!json_object_get(c->root, "gradients")) return VV_OK;
    return vv_case_ints(c, "gradients", 1, u->updates, &u->gradients, &u->n_gradients, err);
}

static int has(const int64_t *list, int64_t n, int64_t update)
{
    for (int64_t i = 0; i < n; i++)
        if (list[i] == update) return 1;
    return 0;
}

static int is_recorded(const vv_updates *u, int64_t update) { return has(u->recorded, u->n_recorded, update); }

/* ---- states ---------------------------------------------------------------------------------------------------------------- */
/* The numbers of backend memory rounded to float, or replaced by those of `from`, or recorded as `kind`; what is not wanted is NULL. */
static vv_status pass(vv_updates *u, const vv_tensor *p, const char *kind, vv_real *x, const vv_st *from, int record,
                      vv_error *err)
{
    const int64_t bytes = p->n * (int64_t)sizeof *x;
    char key[VV_NAME_MAX + 64];
    vv_real *host = vv_calloc(p->n, sizeof *host);
    vv_status s = host ? VV_OK : vv_no_memory(err, p->name);
    if (host) vvb_download(host, x, bytes);
    const vv_st_entry *e = from ? vv_st_find(from, vv_record_key(u->c->rec, kind, p->name, key)) : NULL;
    if (s == VV_OK && from && (!e || e->n != p->n))
        s = vv_fail(err, VV_FILE, "%s: %s: expected %lld numbers; found %s", vv_st_path(from), key, (long long)p->n,
                    e ? "others" : "none");
    if (s == VV_OK && e) s = vv_st_read_real(from, e, host, err);
    for (int64_t i = 0; host && i < p->n; i++) host[i] = (vv_real)(float)host[i];
    if (s == VV_OK && record) vv_record_reals(u->c->rec, kind, p->name, p->ndim, p->dim, host);
    if (s == VV_OK) vvb_upload(x, host, bytes);
    free(host);
    return s;
}

/* The state of every parameter that an update may have moved. */
static vv_status state(vv_updates *u, const vv_st *from, int record, vv_error *err)
{
    const vv_params *ps = u->c->model.params;
    for (int64_t i = 0; i < ps->n; i++) {
        const vv_tensor *p = ps->at[i];
        if (!u->optimizer->m[i]) continue;
        VV_TRY(pass(u, p, "w", p->data, from, record, err));
        VV_TRY(pass(u, p, "m", u->optimizer->m[i], from, record, err));
        VV_TRY(pass(u, p, "v", u->optimizer->v[i], from, record, err));
    }
    return VV_OK;
}

/* ---- watching a task's tape ------------------------------------------------------------------------------------------------- */
typedef struct {
    vv_margins margins;
    const vv_task_batch *batch;
    int64_t micro; /* the micro-batch whose prediction comes next */
    vv_gauges gauges;
} watch;

static void on_event(void *ctx, vv_event event, const vv_tensor *x)
{
    watch *w = ctx;
    char name[VV_NAME_MAX];
    vv_margins_trace(&w->margins, event, x);
    if (event == VV_EVENT_GRAD) vv_gauges_add(&w->gauges, x);
    if (event != VV_EVENT_ACT || strcmp(vv_name(x, name), "depth_head.scratch.output_conv2.3")) return;
    const vv_micro *m = &w->batch->micro[w->micro++];
    vv_real *p = vv_calloc(x->n, sizeof *p);
    if (!p) {
        (void)vv_no_memory(&w->margins.err, name);
        return;
    }
    vvb_download(p, vv_f(x), x->n * (int64_t)sizeof *p);
    vv_margins_depth(&w->margins, p, m->disparity, NULL, m->n, w->batch->size, w->batch->size,
                     w->batch->config->depth.how.scales);
    free(p);
}

/* ---- one update ------------------------------------------------------------------------------------------------------------- */
static void record_number(vv_updates *u, const char *name, double x)
{
    vv_real v = (vv_real)x;
    vv_record_reals(u->c->rec, "loss", name, 0, NULL, &v);
}

static void record_losses(vv_updates *u, vv_task k, const vv_task_loss *loss)
{
    static const char *const part[VV_TASKS][2] = {{NULL, NULL}, {"ssi", "gm"}, {"bce", "dice"}};
    for (int i = 0; i < 2 && part[k][i]; i++) record_number(u, part[k][i], loss->part[i]);
    record_number(u, k == VV_TASK_CAPTION ? "ce" : "total", loss->loss);
}

/* Adds a task's gradients. Recorded: its inputs and losses, and in update 1 first its own gradients, alone and without lambda. */
static vv_status add_task(vv_updates *u, vv_task k, int64_t update, int record, watch *w, double *total, vv_error *err)
{
    vv_task_batch b;
    vv_task_loss loss = {0};
    vv_record_task(u->c->rec, (int)update, vv_task_name[k]);
    VV_TRY(vv_updates_batch(u, k, (uint64_t)u->seeds[update - 1], record, &b, err));
    /* cppcheck-suppress autoVariables ; w looks at it during the task's gradients alone */
    w->batch = &b;
    w->micro = 0;
    w->gauges.factor = u->task[k].lambda;
    vv_trace(u->step.tape, record ? on_event : NULL, w);
    const vv_status s = vv_task_gradients(&u->step, &b, &loss, err);
    *total += u->task[k].lambda * loss.loss;
    if (s == VV_OK && record) record_losses(u, k, &loss);
    vv_trace(u->step.tape, NULL, NULL);
    vv_task_batch_free(&b);
    return s;
}

/* the tower's gradients of each task's own loss */
static vv_status alone(vv_updates *u, watch *w, vv_error *err)
{
    vv_params *ps = u->c->model.params;
    const vv_part *part = &u->c->model.vit->part;
    const vv_params tower = {.at = ps->at + part->first, .n = part->n};
    for (int k = 0; k < VV_TASKS; k++) {
        vv_task_batch b;
        vv_task_loss loss;
        const double lambda = u->task[k].lambda;
        vv_record_task(u->c->rec, 1, vv_task_name[k]);
        VV_TRY(vv_updates_batch(u, (vv_task)k, (uint64_t)u->seeds[0], 0, &b, err));
        *w = (watch){.margins = vv_margins_begin(), .batch = &b, .gauges.factor = 1};
        vv_trace(u->step.tape, on_event, w);
        u->task[k].lambda = 1;
        vv_params_zero_grad(ps);
        const vv_status s = vv_task_gradients(&u->step, &b, &loss, err);
        u->task[k].lambda = lambda;
        vv_trace(u->step.tape, NULL, NULL);
        vv_task_batch_free(&b);
        VV_TRY(s);
        vv_record_gradients(u->c->rec, &tower);
        VV_TRY(vv_gauges_mark(&w->gauges, u->c->rec, &tower, 1, 0, err));
    }
    return VV_OK;
}

static void set_rates(vv_updates *u, int64_t update, int record)
{
    const int64_t n = VV_PARTS;
    vv_real lr[VV_PARTS];
    for (int k = 0; k < VV_PARTS; k++) {
        lr[k] = (vv_real)(float)(u->lr[k] * vv_schedule_factor(&u->schedule, update - 1, u->updates));
        u->optimizer->group[2 * k].lr = u->optimizer->group[2 * k + 1].lr = (double)lr[k];
    }
    if (record) vv_record_reals(u->c->rec, "in", "lr", 1, &n, lr);
}

/* from the summed gradients to the new weights */
static vv_status apply(vv_updates *u, int64_t update, int record, const watch *w, double total, vv_error *err)
{
    vv_steps steps = {0};
    double norm = 0;
    const int gradients = !u->gradients || has(u->gradients, u->n_gradients, update);
    vv_record_task(u->c->rec, (int)update, "update");
    if (record) {
        record_number(u, "total", total);
        if (gradients) vv_record_gradients(u->c->rec, u->c->model.params);
        VV_TRY(vv_steps_begin(&steps, u->c->model.params, err));
    }
    vv_status s = vv_adamw_step(u->optimizer, u->max_norm, &norm, err);
    if (s == VV_OK && record) {
        record_number(u, "grad_norm", norm);
        s = vv_steps_record(&steps, u->c->rec, u->optimizer, update == 1, err);
        const double clip = u->max_norm > 0 ? fmin(1, u->max_norm / norm) : 1;
        /* a gradient far below eps moves its weight by itself / eps */
        if (s == VV_OK)
            s = vv_gauges_mark(&w->gauges, u->c->rec, u->c->model.params, gradients, clip / u->group[0].eps, err);
    }
    vv_steps_end(&steps);
    return s;
}

static vv_status one(vv_updates *u, int64_t update, watch *w, vv_error *err)
{
    const int record = is_recorded(u, update);
    double total = 0;
    vv_record_task(u->c->rec, (int)update, "update");
    if (update > 1 && record) {
        VV_TRY(state(u, u->c->from, 1, err));
        for (int64_t i = 0; i < u->c->model.params->n; i++)
            if (u->optimizer->m[i]) u->optimizer->t[i] = update - 1;
    }
    set_rates(u, update, record);
    if (update == 1 && record) VV_TRY(alone(u, w, err));
    *w = (watch){.margins = vv_margins_begin()};
    vv_params_zero_grad(u->c->model.params);
    for (int k = 0; k < VV_TASKS; k++) VV_TRY(add_task(u, (vv_task)k, update, record, w, &total, err));
    VV_TRY(apply(u, update, record, w, total, err));
    VV_TRY(state(u, NULL, 0, err));
    if (!record) return VV_OK;
    vv_case own = *u->c; /* whose seed the message names */
    own.seed = (uint64_t)u->seeds[update - 1];
    return vv_margins_check(&w->margins, &own, VV_MARGIN, err);
}

/* the weights as they were */
static void put_back(const vv_params *ps, vv_real *const *before)
{
    for (int64_t i = 0; i < ps->n; i++) vvb_upload(ps->at[i]->data, before[i], ps->at[i]->n * (int64_t)sizeof(vv_real));
}

static vv_status run_updates(vv_case *c, vv_error *err)
{
    vv_updates u = {.c = c};
    vv_steps first = {0};
    watch *w = vv_calloc(1, sizeof *w);
    vv_status s = w ? read_settings(&u, err) : vv_no_memory(err, c->path);
    if (s == VV_OK) s = vv_steps_begin(&first, c->model.params, err);
    if (s == VV_OK) s = vv_adamw_new(&u.optimizer, c->model.params, u.group, VV_GROUPS, vv_stage_group, NULL, err);
    u.step = (vv_step){.model = &c->model, .tape = vv_tape_new(c->model.params, c->tape_flags)};
    if (s == VV_OK && !u.step.tape) s = vv_no_memory(err, c->path);
    for (int64_t k = 1; s == VV_OK && k <= u.updates; k++)
        if (!c->from || k == 1 || is_recorded(&u, k)) s = one(&u, k, w, err);
    if (s == VV_OK) put_back(c->model.params, first.before);
    vv_steps_end(&first);
    vv_tape_free(u.step.tape);
    vv_adamw_free(u.optimizer);
    free(u.seeds);
    free(u.recorded);
    free(u.gradients);
    free(w);
    return s;
}

static const char *const keys[] = {
    "caption", "depth", "segmentation", "size",          "seeds",        "record",    "lr", "beta1",
    "beta2",   "eps",   "weight_decay", "max_grad_norm", "min_lr_ratio", "gradients", NULL};
const vv_case_kind vv_case_updates = {"updates", "update", VV_ALL_PARTS, keys, run_updates};
