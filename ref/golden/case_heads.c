/* The heads behind the tower, from 8-bit pictures to the losses. All pictures must have one size when the model sees them.
 *
 *   depth          random labels; "known": of each map, which part of its pixels is valid. Losses ssi, gm, total as loss/loss.h has it by
 *                  default
 *   segmentation   "instances": how many masks each picture has, with random texts; masks are random boxes, but mask number "empty" (-1:
 *                  none) has nothing in it. Losses bce, dice, total */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "golden/case_text.h"
#include "golden/gauges.h"
#include "golden/margins.h"
#include "loss/loss.h"

typedef struct {
    const vv_model *model;
    vv_batch pictures;
    int64_t B, h, w, Hh, Ww; /* pictures, patches, pixels */
    /* depth */
    vv_real *label;
    int32_t *mask;
    /* segmentation */
    int64_t P;
    int32_t *image_of;
    vv_real *text, *target;
} head_run;

static void run_free(head_run *r)
{
    vv_batch_free(&r->pictures);
    free(r->label);
    free(r->mask);
    free(r->image_of);
    free(r->text);
    free(r->target);
}

static vv_status pictures(vv_case *c, head_run *r, vv_error *err)
{
    r->model = &c->model;
    VV_TRY(vv_case_pictures(c, "pictures", &r->pictures, err));
    const vv_grid *g = r->pictures.grid;
    r->B = r->pictures.n;
    r->h = g->h;
    r->w = g->w;
    r->Hh = r->h * c->model.preprocess.patch_size;
    r->Ww = r->w * c->model.preprocess.patch_size;
    for (int64_t i = 1; i < r->B; i++)
        if (g[i].h != r->h || g[i].w != r->w)
            return vv_fail(err, VV_FILE,
                           "%s: pictures: expected one size after resizing, %lld x %lld; found %lld x %lld", c->path,
                           (long long)r->Hh, (long long)r->Ww, (long long)(g[i].h * c->model.preprocess.patch_size),
                           (long long)(g[i].w * c->model.preprocess.patch_size));
    return VV_OK;
}

/* outputs of the blocks taps [n], each in raster order, one tensor for two equal ones */
static void features(vv_tape *t, const head_run *r, const int64_t *taps, int64_t n, vv_tensor **raster)
{
    const int64_t dim[2] = {r->pictures.rows, r->pictures.width};
    vv_tensor *tap[VV_DPT_LEVELS] = {NULL};
    const vv_vit_wanted want = {.taps = taps, .n_taps = n, .tap = tap};
    vv_tensor *x = vv_input(t, "pixel_values", VV_REALS, 2, dim, r->pictures.pixel_values);
    (void)vv_vit_forward(t, r->model->vit, x, r->pictures.grid, r->B, &want);
    for (int64_t k = 0; k < n; k++) {
        raster[k] = NULL;
        for (int64_t j = 0; j < k && !raster[k]; j++)
            if (taps[j] == taps[k]) raster[k] = raster[j];
        if (!raster[k]) raster[k] = vv_vit_raster(t, r->model->vit, NULL, tap[k], r->pictures.grid, r->B);
    }
}

/* Runs forward once before anything is recorded, to look how far its ReLUs are from ties. The prediction goes to host [n]. */
static vv_status look(const vv_case *c, const head_run *r, vv_tensor *(*forward)(vv_tape *t, const head_run *r),
                      vv_margins *m, vv_real *host, int64_t n, vv_error *err)
{
    vv_tape *t = vv_tape_new(NULL, 0);
    if (!t) return vv_no_memory(err, c->path);
    vv_trace(t, vv_margins_trace, m);
    const vv_tensor *y = forward(t, r);
    const vv_status s = vv_tape_status(t, err);
    if (s == VV_OK) vvb_download(host, vv_f(y), n * (int64_t)sizeof *host);
    vv_tape_free(t);
    return s;
}

/* A loss, from pictures on. */
typedef vv_tensor *(*head_fn)(vv_tape *t, const head_run *r);

static void on_gradient(void *ctx, vv_event event, const vv_tensor *x)
{
    if (event == VV_EVENT_GRAD) vv_gauges_add(ctx, x);
}

/* Forward and backward on a tape that is recorded, and once more to see how large gradients that are truly zero might have been. */
static vv_status learn(vv_case *c, const head_run *r, head_fn total, vv_error *err)
{
    vv_gauges *g = vv_calloc(1, sizeof *g);
    if (!g) return vv_no_memory(err, c->path);
    vv_status s = VV_OK;
    g->factor = 1;
    for (int pass = 0; s == VV_OK && pass < 2; pass++) {
        vv_tape *t = pass ? vv_tape_new(c->model.params, VV_RECORD) : vv_case_tape(c, err);
        if (!t) s = vv_no_memory(err, c->path);
        if (t && pass) vv_params_zero_grad(c->model.params), vv_trace(t, on_gradient, g);
        if (t) vv_backward(t, total(t, r), 1);
        if (t) s = vv_tape_status(t, err);
        if (s == VV_OK && !pass) vv_record_gradients(c->rec, c->model.params);
        vv_tape_free(t);
    }
    if (s == VV_OK) s = vv_gauges_mark(g, c->rec, c->model.params, 1, 0, err);
    free(g);
    return s;
}

/* ---- depth -------------------------------------------------------------------------------------------------------------- */
static vv_status labels(vv_case *c, head_run *r, vv_error *err)
{
    const json_t *known = NULL;
    const int64_t N = r->Hh * r->Ww;
    VV_TRY(vv_json_need(c->root, c->path, "known", err));
    VV_TRY(vv_json_array(c->root, c->path, "known", &known, err));
    if ((int64_t)json_array_size(known) != r->B)
        return vv_fail(err, VV_FILE, "%s: known: expected a number from 0 to 1 for each picture", c->path);
    r->label = vv_case_normals(c, "disparity", 2, 1, r->B * N);
    r->mask = vv_calloc(r->B * N, sizeof *r->mask);
    if (!r->label || !r->mask) return vv_no_memory(err, c->path);
    for (int64_t i = 0; i < r->B * N; i++)
        r->mask[i] = vv_random_uniform(c->seed, vv_stream("mask"), (uint64_t)i) <
                     json_number_value(json_array_get(known, (size_t)(i / N)));
    return VV_OK;
}

static vv_tensor *predict(vv_tape *t, const head_run *r)
{
    const vv_dpt_config *d = vv_dpt_config_of(r->model->depth);
    vv_tensor *raster[VV_DPT_LEVELS] = {NULL};
    features(t, r, d->taps, d->levels, raster);
    return vv_ready(t, 1, raster[0]) ? vv_dpt_forward(t, r->model->depth, raster, r->B, r->h, r->w) : NULL;
}

static vv_status depth_margins(const vv_case *c, const head_run *r, vv_error *err)
{
    vv_margins m = vv_margins_begin();
    const int64_t n = r->B * r->Hh * r->Ww;
    vv_real *p = vv_calloc(n, sizeof *p);
    vv_status s = p ? look(c, r, predict, &m, p, n, err) : vv_no_memory(err, c->path);
    if (s == VV_OK)
        vv_margins_depth(&m, p, r->label, r->mask, r->B, r->Hh, r->Ww, vv_depth_config_default().how.scales);
    int64_t dead = 0;
    for (int64_t i = 0; s == VV_OK && i < n; i++) dead += p[i] == 0;
    free(p);
    if (s == VV_OK && 2 * dead > n)
        s = vv_fail(err, VV_FILE, "%s: seed %llu: the head is dead at %lld of %lld pixels: take another seed", c->path,
                    (unsigned long long)c->seed, (long long)dead, (long long)n);
    return s == VV_OK ? vv_margins_check(&m, c, VV_MARGIN, err) : s;
}

static vv_tensor *depth_loss(vv_tape *t, const head_run *r)
{
    const vv_depth_config how = vv_depth_config_default();
    const int64_t dim[3] = {r->B, r->Hh, r->Ww};
    vv_depth_maps maps = {.d = vv_input(t, "disparity", VV_REALS, 3, dim, r->label),
                          .mask = vv_input(t, "mask", VV_INTS, 3, dim, r->mask)};
    maps.p = predict(t, r);
    maps.medians = maps.p ? vv_depth_medians(t, "medians", &maps) : NULL;
    vv_tensor *ssi = vv_ssi(t, "ssi", &maps, &how, NULL), *gm = vv_gradient_matching(t, "gm", &maps, &how, NULL);
    return vv_weighted_sum(t, "total", how.lambda_ssi, ssi, how.lambda_gm, gm);
}

static void mark_depth(vv_case *c)
{
    char key[VV_NAME_MAX + 64];
    const int has_final = vv_dpt_config_of(c->model.depth)->final != VV_DPT_NONE;
    const char *of = has_final ? "depth_head.scratch.output_conv2.3" : "depth_head.scratch.output_conv2.2";
    vv_record_mark(c->rec, "act", "medians", "of", json_string(vv_record_key(c->rec, "act", of, key)));
    vv_record_mark(c->rec, "act", "medians", "rule", json_string("median"));
    vv_record_mark(c->rec, "act", "medians", "required", json_false());
    vv_record_mark(c->rec, "act", of, "output", json_true());
}

static vv_status run_depth(vv_case *c, vv_error *err)
{
    head_run r = {0};
    vv_status s = pictures(c, &r, err);
    if (s == VV_OK) s = labels(c, &r, err);
    if (s == VV_OK && c->truth) s = depth_margins(c, &r, err);
    if (s == VV_OK) s = learn(c, &r, depth_loss, err);
    if (s == VV_OK) mark_depth(c);
    run_free(&r);
    return s;
}

static const char *const depth_keys[] = {"pictures", "known", NULL};
const vv_case_kind vv_case_depth = {"depth", "depth", VV_VISION | VV_DEPTH, depth_keys, run_depth};

/* ---- segmentation ------------------------------------------------------------------------------------------------------- */
/* a random box from edge to edge of a map */
static void box(const vv_case *c, vv_real *mask, int64_t index, int64_t Hh, int64_t Ww)
{
    double u[4];
    for (int k = 0; k < 4; k++) u[k] = vv_random_uniform(c->seed, vv_stream("box"), (uint64_t)(4 * index + k));
    for (int64_t y = 0; y < Hh; y++)
        for (int64_t x = 0; x < Ww; x++) {
            const double fy = (double)y / (double)Hh - u[0] / 2, fx = (double)x / (double)Ww - u[1] / 2;
            mask[y * Ww + x] = fy >= 0 && fy < 0.2 + u[2] / 2 && fx >= 0 && fx < 0.2 + u[3] / 2;
        }
}

static vv_status instances(vv_case *c, head_run *r, vv_error *err)
{
    int64_t *count = NULL, n = 0, empty = -1, p = 0;
    const int64_t N = r->Hh * r->Ww;
    VV_TRY(vv_case_ints(c, "instances", 0, 64, &count, &n, err));
    for (int64_t i = 0; i < n; i++) r->P += count[i];
    r->image_of = vv_calloc(r->P, sizeof *r->image_of);
    r->target = vv_calloc(r->P * N, sizeof *r->target);
    r->text = vv_case_normals(c, "text", 0, 1, r->P * vv_mask_config_of(c->model.mask)->text_dim);
    for (int64_t i = 0; r->image_of && i < n; i++)
        for (int64_t k = 0; k < count[i]; k++) r->image_of[p++] = (int32_t)i;
    free(count);
    if (!r->image_of || !r->target || !r->text) return vv_no_memory(err, c->path);
    if (n != r->B || r->P == 0)
        return vv_fail(err, VV_FILE, "%s: instances: expected a number for each picture, not all 0", c->path);
    VV_TRY(vv_json_int(c->root, c->path, "empty", -1, r->P - 1, &empty, err));
    for (p = 0; p < r->P; p++)
        if (p != empty) box(c, r->target + p * N, p, r->Hh, r->Ww);
    return VV_OK;
}

static vv_tensor *segment(vv_tape *t, const head_run *r)
{
    const vv_mask_config *m = vv_mask_config_of(r->model->mask);
    const int64_t dim[2] = {r->P, m->text_dim};
    vv_tensor *raster = NULL, *text = vv_input(t, "text", VV_REALS, 2, dim, r->text);
    features(t, r, &m->layer, 1, &raster);
    vv_tensor *logits = vv_mask_forward(t, r->model->mask, raster, r->B, r->h, r->w, text, r->image_of, r->P);
    return vv_mask_resize(t, "masks", logits, r->Hh, r->Ww);
}

/* the predicted masks, U8: a logit above 0 */
static vv_status bits(vv_case *c, const head_run *r, const vv_real *logits, vv_error *err)
{
    char key[VV_NAME_MAX + 64];
    const int64_t dim[3] = {r->P, r->Hh, r->Ww}, n = r->P * r->Hh * r->Ww;
    unsigned char *bit = vv_calloc(n, 1);
    if (!bit) return vv_no_memory(err, c->path);
    for (int64_t i = 0; i < n; i++) bit[i] = logits[i] > 0;
    vv_record_host(c->rec, "act", "masks#bits", VV_DT_U8, 3, dim, bit);
    vv_record_mark(c->rec, "act", "masks#bits", "of", json_string(vv_record_key(c->rec, "act", "masks", key)));
    vv_record_mark(c->rec, "act", "masks#bits", "rule", json_string("threshold"));
    vv_record_mark(c->rec, "act", "masks", "output", json_true());
    free(bit);
    return VV_OK;
}

static vv_tensor *segmentation_loss(vv_tape *t, const head_run *r)
{
    const vv_seg_config how = vv_seg_config_default();
    const int64_t dim[3] = {r->P, r->Hh, r->Ww};
    vv_tensor *logits = segment(t, r), *target = vv_input(t, "target", VV_REALS, 3, dim, r->target);
    vv_tensor *bce = vv_bce(t, "bce", logits, target, NULL),
              *dice = vv_dice(t, "dice", logits, target, how.smooth, NULL);
    return vv_weighted_sum(t, "total", how.lambda_bce, bce, how.lambda_dice, dice);
}

static vv_status run_segmentation(vv_case *c, vv_error *err)
{
    head_run r = {0};
    vv_margins m = vv_margins_begin();
    vv_status s = pictures(c, &r, err);
    if (s == VV_OK) s = instances(c, &r, err);
    const int64_t N = r.Hh * r.Ww, n = r.P * N;
    vv_real *logits = vv_calloc(n, sizeof *logits);
    double *wide = vv_calloc(n, sizeof *wide);
    if (s == VV_OK && (!logits || !wide)) s = vv_no_memory(err, c->path);
    if (s == VV_OK) s = look(c, &r, segment, &m, logits, n, err);
    for (int64_t i = 0; s == VV_OK && i < n; i++) wide[i] = (double)logits[i];
    if (s == VV_OK) vv_margins_add(&m, "a mask's logit", wide, n, vv_margins_rms(wide, n));
    if (s == VV_OK) s = vv_margins_check(&m, c, VV_MARGIN, err);
    if (s == VV_OK) vv_case_record_ints(c, "image_of", r.image_of, r.P);
    if (s == VV_OK) s = learn(c, &r, segmentation_loss, err);
    if (s == VV_OK) s = bits(c, &r, logits, err);
    free(logits);
    free(wide);
    run_free(&r);
    return s;
}

static const char *const segmentation_keys[] = {"pictures", "instances", "empty", NULL};
const vv_case_kind vv_case_segmentation = {"segmentation", "segmentation", VV_VISION | VV_MASK, segmentation_keys,
                                           run_segmentation};
