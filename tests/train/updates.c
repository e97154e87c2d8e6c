/* updates CONFIG STAGE UPDATES OUT: the first updates of a stage, run by the trainer in the folder OUT, where every update leaves its
 * checkpoint, and OUT/updates.safetensors, all that it takes to compute them again (scripts/torch/check_updates.py). Keys, k from 1:
 *
 *   u<k>/<task>/in/<name>     the batch as the model gets it, of all micro-batches: pixel_values, grid_thw; ids, labels, cu_seqlens;
 *                             disparity (NaN: unknown); masks, text, image_of
 *   u<k>/depth/act/depth      the prediction, so that others can choose medians and signs by it (loss/loss.h, Kinks)
 *   u<k>/<task>/dw/<name>     the gradients of this task alone
 *   u<k>/<task>/loss/<name>, u<k>/all/loss/total, u<k>/all/lr/<part>, u<k>/all/norm     as the trainer tells
 *   u<k>/all/dw/<name>        the gradients that the optimizer has read, before clipping
 *   u<k>/all/w/<name>         what may train, after the update; u0: before the first
 *
 * Batches and gradients of single tasks are made beside the run, with the weights of the moment; the rest is the run itself. */
#include <stdarg.h>
#include <string.h>

#include "io/file.h"
#include "train.h"
#include "train/stage.h"
#include "train/step.h"

/* ---- the file ------------------------------------------------------------------------------------------------------------------ */
enum { ITEMS = 1 << 14, KEY = 200 };

static vv_st_decl decl[ITEMS];
static void *bytes[ITEMS];
static int64_t items;

static int64_t size_of(const vv_st_decl *d)
{
    int64_t n = d->dtype == VV_DT_I32 ? 4 : d->dtype == VV_DT_REAL ? (int64_t)sizeof(vv_real) : 8;
    for (int i = 0; i < d->ndim; i++) n *= d->shape[i];
    return n;
}

/* A tensor under the key; what is there under it already grows along the first axis. */
static void put(vv_dtype type, int ndim, const int64_t *shape, const void *data, const char *fmt, ...)
{
    char key[KEY];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(key, sizeof key, fmt, ap);
    va_end(ap);
    int64_t i = 0;
    while (i < items && strcmp(decl[i].name, key)) i++;
    ck_assert_int_lt(i, ITEMS);
    vv_st_decl more = {.name = i < items ? decl[i].name : vv_strdup(key), .dtype = type, .ndim = ndim};
    for (int k = 0; k < ndim; k++) more.shape[k] = shape[k];
    const int64_t before = i < items ? size_of(&decl[i]) : 0, n = size_of(&more);
    bytes[i] = realloc(bytes[i], (size_t)(before + n) + 1);
    memcpy((char *)bytes[i] + before, data, (size_t)n);
    more.shape[0] += i < items && ndim ? decl[i].shape[0] : 0;
    decl[i] = more;
    items += i == items;
}

static void put_number(double x, const char *key, const char *name, int64_t update)
{
    put(VV_DT_F64, 0, NULL, &x, "u%lld/%s%s", (long long)update, key, name);
}

static void put_params(const vv_params *ps, int gradients, int64_t update, const char *kind)
{
    for (int64_t i = 0; i < ps->n; i++) {
        const vv_tensor *p = ps->at[i];
        if (gradients ? !p->has_grad : !p->needs_grad) continue;
        vv_real *host = malloc((size_t)p->n * sizeof *host);
        vvb_download(host, gradients ? p->grad : p->data, p->n * (int64_t)sizeof *host);
        put(VV_DT_REAL, p->ndim, p->dim, host, "u%lld/%s/%s", (long long)update, kind, p->name);
        free(host);
    }
}

static void write_file(const char *folder)
{
    vv_stw *out;
    char *path = vv_path_join(folder, "updates.safetensors");
    VVT_OK(vv_stw_open(&out, path, decl, items, NULL, 1, err));
    for (int64_t i = 0; i < items; i++) VVT_OK(vv_stw_write(out, i, bytes[i], err));
    VVT_OK(vv_stw_commit(out, err));
    free(path);
}

/* ---- batches ------------------------------------------------------------------------------------------------------------------- */
enum { SOURCES = 8, BATCH = 64 };

static struct {
    vv_run run;
    const vv_stage_config *stage;
    int64_t updates, seen; /* wanted; done */
    struct {
        char stream[80];
        vv_dataset *set[SOURCES];
        vv_loader *loader;
    } feed[VV_TASKS];
    vv_texts *texts;
    int64_t tracing; /* the update whose prediction is kept, or 0 */
} all;

static void open_feed(int k)
{
    const vv_task_config *c = &all.stage->task[k];
    double weight[SOURCES];
    ck_assert(c->n_sources <= SOURCES && c->batch <= BATCH);
    snprintf(all.feed[k].stream, sizeof all.feed[k].stream, "%.60s/%s", all.stage->name, vv_task_name[k]);
    for (int64_t i = 0; i < c->n_sources; i++) {
        VVT_OK(vv_dataset_open(&all.feed[k].set[i], &c->source[i], c->task, c->skip_bad, err));
        weight[i] = c->source[i].weight;
    }
    VVT_OK(vv_loader_new(&all.feed[k].loader, all.feed[k].set, weight, c->n_sources, all.run.config.seed,
                         all.feed[k].stream, c->batch, 0, err));
    if (k != VV_TASK_SEGMENTATION) return;
    char *folder;
    ck_assert_msg(c->text_encoder != NULL, "%s: expected a text_encoder", c->where);
    VVT_OK(vv_stage_source(&all.run, all.stage, c->text_encoder, VV_TEXT, "text_encoder", &folder, err));
    VVT_OK(vv_texts_encoder(&all.texts, folder, all.run.model.mask->config.text_dim, err));
    free(folder);
}

static void close_feed(int k)
{
    vv_loader_free(all.feed[k].loader);
    for (int i = 0; i < SOURCES; i++) vv_dataset_free(all.feed[k].set[i]);
}

static void put_pictures(const vv_batch *b, int64_t update, const char *task)
{
    for (int64_t i = 0; i < b->n; i++)
        put(VV_DT_I64, 2, (int64_t[]){1, 3}, (int64_t[]){b->grid[i].t, b->grid[i].h, b->grid[i].w},
            "u%lld/%s/in/grid_thw", (long long)update, task);
    if (b->n)
        put(VV_DT_REAL, 2, (int64_t[]){b->rows, b->width}, b->pixel_values, "u%lld/%s/in/pixel_values",
            (long long)update, task);
}

/* tokens: of the micro-batches before */
static void put_conversations(const vv_mllm_batch *b, int64_t tokens, int64_t update)
{
    const int first = tokens == 0;
    int32_t *cu = malloc((size_t)(b->S + 1) * sizeof *cu);
    for (int64_t i = 0; i <= b->S; i++) cu[i] = b->cu[i] + (int32_t)tokens;
    put(VV_DT_I32, 1, &b->N, b->ids, "u%lld/caption/in/ids", (long long)update);
    put(VV_DT_I32, 1, &b->N, b->labels, "u%lld/caption/in/labels", (long long)update);
    put(VV_DT_I32, 1, (int64_t[]){b->S + first}, cu + !first, "u%lld/caption/in/cu_seqlens", (long long)update);
    free(cu);
}

/* pictures: of the micro-batches before */
static void put_masks(const vv_micro *x, int64_t size, int64_t dim, int64_t pictures, int64_t update)
{
    int32_t *of = malloc((size_t)(x->instances + 1) * sizeof *of);
    for (int64_t i = 0; i < x->instances; i++) of[i] = x->image_of[i] + (int32_t)pictures;
    put(VV_DT_REAL, 3, (int64_t[]){x->instances, size, size}, x->masks, "u%lld/segmentation/in/masks",
        (long long)update);
    put(VV_DT_REAL, 2, (int64_t[]){x->instances, dim}, x->embedded, "u%lld/segmentation/in/text", (long long)update);
    put(VV_DT_I32, 1, &x->instances, of, "u%lld/segmentation/in/image_of", (long long)update);
    free(of);
}

static void put_batch(const vv_task_batch *b, int64_t update)
{
    const vv_task task = b->config->task;
    int64_t tokens = 0, pictures = 0;
    for (int64_t i = 0; i < b->n; i++) {
        const vv_micro *x = &b->micro[i];
        put_pictures(task == VV_TASK_CAPTION ? &x->text.pictures : &x->pictures, update, vv_task_name[task]);
        if (task == VV_TASK_CAPTION) put_conversations(&x->text, tokens, update);
        if (task == VV_TASK_DEPTH)
            put(VV_DT_REAL, 3, (int64_t[]){x->n, b->size, b->size}, x->disparity, "u%lld/depth/in/disparity",
                (long long)update);
        if (task == VV_TASK_SEGMENTATION) put_masks(x, b->size, all.run.model.mask->config.text_dim, pictures, update);
        tokens += x->text.N;
        pictures += x->n;
    }
}

/* ---- beside the run ------------------------------------------------------------------------------------------------------------ */
static void trace(void *ctx, vv_event event, const vv_tensor *x)
{
    char name[VV_NAME_MAX];
    (void)ctx;
    if (event != VV_EVENT_ACT || strcmp(vv_name(x, name), "depth_head.scratch.output_conv2.3")) return;
    vv_real *host = malloc((size_t)x->n * sizeof *host);
    vvb_download(host, x->data, x->n * (int64_t)sizeof *host);
    put(VV_DT_REAL, 3, x->dim, host, "u%lld/depth/act/depth", (long long)all.tracing);
    free(host);
}

/* one task of the update that comes next */
static void look(int k, int64_t update)
{
    const vv_task_config *c = &all.stage->task[k];
    vv_model *m = &all.run.model;
    vv_sample s[BATCH];
    vv_task_batch b;
    vv_task_loss loss;
    char kind[40];
    vv_step step = {.model = m, .tape = vv_tape_new(m->params, VV_RECORD)};
    if (!(all.stage->train & VV_VISION)) step.frozen = vv_tape_new(NULL, 0);
    VVT_OK(vv_loader_next(all.feed[k].loader, s, err));
    VVT_OK(vv_task_batch_make(&b, c, m, s, k == VV_TASK_CAPTION ? 0 : vv_task_size(c, update), all.run.config.seed,
                              all.feed[k].stream, (update - 1) * c->batch, all.texts, err));
    put_batch(&b, update);
    all.tracing = update;
    vv_trace(step.tape, trace, NULL);
    vv_params_zero_grad(m->params);
    VVT_OK(vv_task_gradients(&step, &b, &loss, err));
    snprintf(kind, sizeof kind, "%s/dw", vv_task_name[k]);
    put_params(m->params, 1, update, kind);
    vv_params_zero_grad(m->params);
    vv_task_batch_free(&b);
    for (int64_t i = 0; i < c->batch; i++) vv_sample_free(&s[i]);
    vv_tape_free(step.tape);
    vv_tape_free(step.frozen);
}

static void look_ahead(int64_t update)
{
    for (int k = 0; k < VV_TASKS; k++) look(k, update);
}

static void told(void *ctx, const vv_update *u)
{
    (void)ctx;
    for (int k = 0; k < VV_TASKS; k++) {
        char key[40];
        snprintf(key, sizeof key, "%s/loss/", vv_task_name[k]);
        put_number(u->loss[k], key, vv_task_name[k], u->update);
    }
    put_number(u->ssi, "depth/loss/", "ssi", u->update);
    put_number(u->gm, "depth/loss/", "gradient_matching", u->update);
    put_number(u->bce, "segmentation/loss/", "bce", u->update);
    put_number(u->dice, "segmentation/loss/", "dice", u->update);
    put_number(u->total, "all/loss/", "total", u->update);
    put_number(u->grad_norm, "all/", "norm", u->update);
    for (int k = 0; k < VV_PARTS; k++)
        if (u->train >> k & 1) put_number(u->lr[k], "all/lr/", vv_part_key[k], u->update);
    put_params(all.run.model.params, 1, u->update, "all/dw");
    put_params(all.run.model.params, 0, u->update, "all/w");
    all.seen = u->update;
    if (all.seen < all.updates) look_ahead(u->update + 1);
}

static int stop(void *ctx)
{
    (void)ctx;
    return all.seen >= all.updates;
}

/* ---- the run ------------------------------------------------------------------------------------------------------------------- */
static char **words;

START_TEST(record)
{
    const vv_train_options o = {
        .config = words[1], .out = words[4], .overrides = vvt_as_written, .told = told, .stop = stop};
    vv_run *r = &all.run;
    int stopped;
    all.updates = strtoll(words[3], NULL, 10);
    r->options = &o;
    VVT_OK(vv_train_config_load(&r->config, o.config, &o.overrides, err));
    VVT_OK(vv_config_hash(r->config.root, r->hash, err));
    VVT_OK(vv_model_from_config(&r->model, o.config, VV_ALL_PARTS, err));
    const int64_t index = vv_stage_find(&r->config, words[2]);
    ck_assert_msg(index >= 0, "no stage %s", words[2]);
    all.stage = &r->config.stage[index];
    VVT_OK(vv_stage_check(all.stage, &r->model, err));
    r->trainable = calloc((size_t)r->model.params->n, sizeof *r->trainable);
    for (int64_t i = 0; i < r->model.params->n; i++) r->trainable[i] = r->model.params->at[i]->needs_grad;
    VVT_OK(vv_dir_make(o.out, err));
    VVT_OK(vv_log_open(&r->log, o.out, err));
    VVT_OK(vv_stage_begin(r, index, err));
    vv_stage_freeze(&r->model, r->trainable, all.stage->train);
    for (int k = 0; k < VV_TASKS; k++) open_feed(k);
    put_params(r->model.params, 0, 0, "all/w");
    look_ahead(1);
    VVT_OK(vv_stage_run(r, index, &stopped, err));
    ck_assert_int_eq(all.seen, all.updates);
    write_file(o.out);
    for (int k = 0; k < VV_TASKS; k++) close_feed(k);
    vv_texts_free(all.texts);
    vv_log_close(&r->log);
    free(r->trainable);
    vv_model_free(&r->model);
    vv_train_config_free(&r->config);
    while (items--) free((char *)decl[items].name), free(bytes[items]);
}
END_TEST

int main(int argc, char **argv)
{
    TCase *tc;
    Suite *s = vvt_suite("updates", &tc);
    tcase_add_test(tc, record);
    words = argv;
    if (argc == 5) return vvt_run(s);
    fprintf(stderr, "usage: %s CONFIG STAGE UPDATES OUT\n", argv[0]);
    return 2;
}
