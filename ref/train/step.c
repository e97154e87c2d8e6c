#include "train/step.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the tower -------------------------------------------------------------------------------------------------------------- */
enum { MOST_TAPS = 4 };

/* a tensor of one tape as an input of another */
static vv_tensor *carry(vv_tape *to, const vv_tensor *x)
{
    if (!x) return NULL;
    if (vv_is_dry(to)) return vv_input(to, x->name, VV_REALS, x->ndim, x->dim, NULL);
    vv_real *host = vv_calloc(x->n, sizeof *host);
    if (!host) return vv_tape_fail(to, VV_MEMORY, "features: out of memory");
    vvb_download(host, x->data, x->n * (int64_t)sizeof *host);
    vv_tensor *y = vv_input(to, x->name, VV_REALS, x->ndim, x->dim, host);
    free(host);
    return y;
}

/* Outputs of blocks taps [n] into tap, in token order; with n = 0 the last one is returned. */
static vv_tensor *tower(const vv_step *s, const vv_batch *pictures, const int64_t *taps, int64_t n, vv_tensor **tap)
{
    vv_tape *t = s->frozen ? s->frozen : s->tape;
    const int64_t dim[2] = {pictures->rows, pictures->width};
    const vv_vit_wanted want = {.taps = taps, .n_taps = n, .tap = tap};
    vv_tensor *x = vv_input(t, "pixel_values", VV_REALS, 2, dim, pictures->pixel_values);
    vv_tensor *h = vv_vit_forward(t, s->model->vit, x, pictures->grid, pictures->n, &want);
    if (!s->frozen) return h;
    vv_error why = {0};
    if (vv_tape_status(t, &why) != VV_OK) {
        vv_tape_fail(s->tape, why.status, "%s", why.msg);
        return NULL;
    }
    vv_tensor *carried[MOST_TAPS] = {NULL};
    for (int64_t k = 0; k < n; k++) {
        for (int64_t j = 0; j < k && !carried[k]; j++)
            if (taps[j] == taps[k]) carried[k] = carried[j];
        if (!carried[k]) carried[k] = carry(s->tape, tap[k]);
    }
    for (int64_t k = 0; k < n; k++) tap[k] = carried[k];
    h = n ? NULL : carry(s->tape, h);
    if (!vv_is_dry(t)) vv_tape_reset(t); /* a dry one keeps its FLOPs */
    return h;
}

/* ---- one micro-batch: its share of the batch's loss, and the terms of it ------------------------------------------------------ */
typedef struct {
    vv_tensor *loss, *part[2];
    double weight[2]; /* of the parts in the batch's */
    vv_depth_report report;
} outcome;

static outcome caption(const vv_step *s, const vv_task_batch *b, const vv_micro *x)
{
    const vv_model *m = s->model;
    vv_tape *t = s->tape;
    vv_tensor *features = NULL;
    if (x->text.pictures.n) {
        features = vv_projector_forward(t, m->projector, tower(s, &x->text.pictures, NULL, 0, NULL));
        if (!features) return (outcome){0};
    }
    vv_tensor *rows = vv_mllm_splice(t, m->llm, x->text.ids, x->text.N, vv_placeholder(m), features);
    vv_tensor *hidden = vv_qwen3_forward(t, m->llm, rows, x->text.cu, x->text.S);
    vv_tensor *loss = vv_cross_entropy(t, "caption", hidden, m->llm->lm_head, x->text.labels, x->text.cu, x->text.S,
                                       &b->window, NULL);
    return (outcome){.loss = loss};
}

/* the weight of a micro-batch with `mine` of `all` */
static double share(double mine, double all) { return all > 0 ? mine / all : 0; }

/* gradient matching with a weight for each scale: see the header */
static vv_tensor *by_scales(vv_tape *t, vv_depth_maps *maps, const vv_depth_config *c, const double *w)
{
    vv_tensor *sum = NULL;
    for (int64_t k = 0; k < c->how.scales; k++) {
        const double weight = w[k] - (k + 1 < c->how.scales ? w[k + 1] : 0);
        if (weight == 0 && !(k + 1 == c->how.scales && !sum)) continue;
        vv_depth_config first = *c;
        first.how.scales = k + 1;
        vv_tensor *y = vv_gradient_matching(t, "gradient_matching", maps, &first, NULL);
        sum = sum ? vv_weighted_sum(t, "gradient_matching", 1, sum, weight, y)
                  : vv_scale(t, "gradient_matching", y, weight);
        if (!sum) return NULL;
    }
    return sum;
}

static outcome depth(const vv_step *s, const vv_task_batch *b, const vv_micro *x, const vv_depth_window *all,
                     const vv_depth_window *mine)
{
    const vv_dpt_config *c = vv_dpt_config_of(s->model->depth);
    const vv_depth_config *how = &b->config->depth;
    const int64_t side = b->size / c->patch, dim[3] = {x->n, b->size, b->size};
    vv_tape *t = s->tape;
    vv_tensor *tap[VV_DPT_LEVELS] = {NULL}, *raster[VV_DPT_LEVELS] = {NULL};
    outcome o = {.weight = {1, 1}};
    tower(s, &x->pictures, c->taps, c->levels, tap);
    for (int64_t k = 0; k < c->levels; k++) {
        for (int64_t j = 0; j < k && !raster[k]; j++)
            if (c->taps[j] == c->taps[k]) raster[k] = raster[j];
        if (!raster[k]) raster[k] = vv_vit_raster(t, s->model->vit, NULL, tap[k], x->pictures.grid, x->n);
    }
    if (!vv_ready(t, 1, raster[0])) return o;
    vv_depth_maps maps = {.p = vv_dpt_forward(t, s->model->depth, raster, x->n, side, side),
                          .d = vv_input(t, "disparity", VV_REALS, 3, dim, x->disparity),
                          .sample = (const char *const *)x->name};
    double w[VVB_MAX_SCALES] = {0};
    o.part[0] = vv_ssi(t, "ssi", &maps, how, &o.report);
    if (all) {
        o.weight[0] = how->how.image ? share(mine->maps, all->maps) : share(mine->pixels, all->pixels);
        for (int64_t k = 0; k < how->how.scales; k++)
            w[k] = how->how.gm == VVB_GM_PAPER_SUM ? 1 : share(mine->scale[k], all->scale[k]);
        o.part[1] = by_scales(t, &maps, how, w); /* weighted already */
    } else {
        o.part[1] = vv_gradient_matching(t, "gradient_matching", &maps, how, NULL);
    }
    o.loss = vv_weighted_sum(t, "depth", how->lambda_ssi * o.weight[0], o.part[0], how->lambda_gm, o.part[1]);
    return o;
}

static outcome segmentation(const vv_step *s, const vv_task_batch *b, const vv_micro *x)
{
    const vv_mask_config *c = vv_mask_config_of(s->model->mask);
    const vv_seg_config *how = &b->config->segmentation;
    const int64_t P = x->instances, side = b->size / s->model->preprocess.patch_size;
    const int64_t text_dim[2] = {P, c->text_dim}, mask_dim[3] = {P, b->size, b->size};
    vv_tape *t = s->tape;
    vv_tensor *h = NULL;
    outcome o = {.weight = {share((double)P, (double)b->instances), share((double)P, (double)b->instances)}};
    tower(s, &x->pictures, &c->layer, 1, &h);
    h = vv_vit_raster(t, s->model->vit, NULL, h, x->pictures.grid, x->n);
    vv_tensor *text = vv_input(t, "text", VV_REALS, 2, text_dim, x->embedded);
    vv_tensor *logits = vv_mask_forward(t, s->model->mask, h, x->n, side, side, text, x->image_of, P);
    logits = vv_mask_resize(t, "masks", logits, b->size, b->size);
    vv_tensor *target = vv_input(t, "target", VV_REALS, 3, mask_dim, x->masks);
    o.part[0] = vv_bce(t, "bce", logits, target, x->instance);
    o.part[1] = vv_dice(t, "dice", logits, target, how->smooth, x->instance);
    o.loss = vv_weighted_sum(t, "segmentation", how->lambda_bce * o.weight[0], o.part[0],
                             how->lambda_dice * o.weight[1], o.part[1]);
    return o;
}

/* ---- the batch ----------------------------------------------------------------------------------------------------------------- */
static double number(const vv_tensor *x)
{
    vv_real v = 0;
    if (x && x->data) vvb_download(&v, x->data, sizeof v);
    return (double)v;
}

/* one micro-batch; windows: of the batch and of each micro-batch, or NULL when there is one alone */
static outcome forward(const vv_step *s, const vv_task_batch *b, int64_t i, const vv_depth_window *windows)
{
    const vv_micro *x = &b->micro[i];
    if (b->config->task == VV_TASK_CAPTION) return caption(s, b, x);
    if (b->config->task == VV_TASK_DEPTH) return depth(s, b, x, windows, windows ? &windows[i + 1] : NULL);
    return segmentation(s, b, x);
}

static vv_status run(const vv_step *s, const vv_task_batch *b, int64_t i, const vv_depth_window *windows, int backward,
                     vv_task_loss *loss, vv_error *err)
{
    if (b->config->task == VV_TASK_SEGMENTATION && b->micro[i].instances == 0) return VV_OK;
    const outcome o = forward(s, b, i, windows);
    if (backward) vv_backward(s->tape, o.loss, b->config->lambda);
    const vv_status st = vv_tape_status(s->tape, err);
    if (st == VV_OK) {
        loss->loss += number(o.loss);
        for (int k = 0; k < 2; k++) loss->part[k] += o.weight[k] * number(o.part[k]);
        loss->skipped += o.report.empty + o.report.single + o.report.flat_labels + o.report.flat_predictions;
    }
    vv_tape_reset(s->tape);
    return st;
}

vv_status vv_task_dry(const vv_step *s, const vv_task_batch *b, vv_error *err)
{
    const outcome o = forward(s, b, 0, NULL);
    vv_backward(s->tape, o.loss, b->config->lambda);
    return vv_tape_status(s->tape, err);
}

static vv_status count_depth(const vv_task_batch *b, vv_depth_window *w, vv_error *err)
{
    for (int64_t i = 0; i < b->n; i++) {
        vv_depth_window *mine = &w[i + 1];
        VV_TRY(vv_depth_count(mine, b->micro[i].disparity, b->micro[i].n, b->size, &b->config->depth, err));
        w[0].pixels += mine->pixels;
        w[0].maps += mine->maps;
        for (int k = 0; k < VVB_MAX_SCALES; k++) w[0].scale[k] += mine->scale[k];
    }
    return VV_OK;
}

static vv_status run_all(const vv_step *s, const vv_task_batch *b, int backward, vv_task_loss *loss, vv_error *err)
{
    vv_depth_window *windows = NULL;
    vv_status st = VV_OK;
    *loss = (vv_task_loss){0};
    if (b->config->task == VV_TASK_DEPTH && b->n > 1) {
        windows = vv_calloc(b->n + 1, sizeof *windows);
        st = windows ? count_depth(b, windows, err) : vv_no_memory(err, b->config->where);
    }
    if (s->bf16) vvb_set_precision(VVB_BF16, VVB_OUTPUTS);
    for (int64_t i = 0; st == VV_OK && i < b->n; i++) st = run(s, b, i, windows, backward, loss, err);
    if (s->bf16) vvb_set_precision(VVB_FULL, VVB_OUTPUTS);
    free(windows);
    if (st == VV_OK && !isfinite(loss->loss))
        st = vv_fail(err, VV_NONFINITE, "the loss %s of the batch from \"%.100s\" on is not finite",
                     vv_task_name[b->config->task], b->micro[0].name ? b->micro[0].name[0] : "");
    return st;
}

vv_status vv_task_gradients(const vv_step *s, const vv_task_batch *b, vv_task_loss *loss, vv_error *err)
{
    return run_all(s, b, 1, loss, err);
}

vv_status vv_task_loss_alone(const vv_step *s, const vv_task_batch *b, vv_task_loss *loss, vv_error *err)
{
    return run_all(s, b, 0, loss, err);
}
