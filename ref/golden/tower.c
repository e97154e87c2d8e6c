#include "golden/tower.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static const char TASK[] = "vision";

void vv_tower_free(vv_tower_run *r)
{
    vv_batch_free(&r->batch);
    free(r->cotangent);
    free(r->cotangent_tap);
}

void vv_tower_sizes(const vv_tower_run *r, int64_t merged[2], int64_t layer[2])
{
    const vv_vit_config *c = &r->model->vit->config;
    merged[0] = r->batch.rows / (c->spatial_merge_size * c->spatial_merge_size);
    merged[1] = c->hidden_size;
    layer[0] = r->batch.rows;
    layer[1] = c->embed_dim;
}

vv_status vv_tower_record(const vv_tower_run *r, vv_recorder *rec, vv_tape *t, vv_error *err)
{
    int64_t merged_dim[2], layer_dim[2];
    const int64_t pixels[2] = {r->batch.rows, r->batch.width};
    vv_tower_sizes(r, merged_dim, layer_dim);
    vv_tensor *tap = NULL;
    const vv_vit_wanted want = {&r->tap, 1, &tap, 1};
    vv_tensor *x = vv_input(t, "pixel_values", VV_REALS, 2, pixels, r->batch.pixel_values);
    vv_tensor *c = vv_input(t, "cotangent", VV_REALS, 2, merged_dim, r->cotangent);
    vv_tensor *c_tap = vv_input(t, "cotangent_tap", VV_REALS, 2, layer_dim, r->cotangent_tap);
    vv_tensor *merged = vv_vit_forward(t, r->model->vit, x, r->batch.grid, r->batch.n, &want);
    vv_tensor *loss = vv_add(t, "total", vv_record_dot(rec, t, merged, c), vv_record_dot(rec, t, tap, c_tap));
    vv_backward(t, loss, 1);
    VV_TRY(vv_tape_status(t, err));
    vv_record_gradients(rec, r->model->params);
    vv_record_mark(rec, "act", "visual.merger.mlp.2", "output", json_true());
    return vv_record_status(rec, err);
}

/* ---- the inputs of another recording ------------------------------------------------------------------------------------ */
typedef struct {
    vv_model model;
    vv_image *image; /* [n_images]; none when the run starts at pixel_values */
    int64_t n_images;
    vv_tower_run run;
} reading;

static void reading_free(reading *r)
{
    for (int64_t i = 0; i < r->n_images; i++) vv_image_free(&r->image[i]);
    free(r->image);
    vv_tower_free(&r->run);
    vv_model_free(&r->model);
}

static const vv_st_entry *input(const vv_st *st, const char *name, int64_t n, vv_error *err)
{
    char key[VV_NAME_MAX];
    snprintf(key, sizeof key, "u1/%s/in/%s", TASK, name);
    const vv_st_entry *e = vv_st_find(st, key);
    if (!e) vv_fail(err, VV_FILE, "%s: %s: expected this input; found none", vv_st_path(st), key);
    else if (n >= 0 && e->n != n)
        vv_fail(err, VV_FILE, "%s: %s: expected %lld numbers; found %lld", vv_st_path(st), key, (long long)n,
                (long long)e->n);
    else return e;
    return NULL;
}

static vv_real *real_input(const vv_st *st, const char *name, int64_t n, vv_error *err)
{
    const vv_st_entry *e = input(st, name, n, err);
    vv_real *v = e ? vv_calloc(n, sizeof *v) : NULL;
    if (e && !v) (void)vv_no_memory(err, name);
    if (v && vv_st_read_real(st, e, v, err) == VV_OK) return v;
    free(v);
    return NULL;
}

static vv_status read_pictures(reading *r, const vv_st *st, int64_t n, vv_error *err)
{
    if (!(r->image = vv_calloc(n, sizeof *r->image))) return vv_no_memory(err, "pictures");
    for (int64_t i = 0; i < n; i++) {
        char name[32];
        snprintf(name, sizeof name, "image.%lld", (long long)i);
        const vv_st_entry *e = input(st, name, -1, err);
        if (!e) return VV_FILE;
        if (e->dtype != VV_DT_U8 || e->ndim != 3 || e->shape[2] != 3)
            return vv_fail(err, VV_FILE, "%s: %s: expected U8 [height,width,3]", vv_st_path(st), e->name);
        VV_TRY(vv_image_new(&r->image[i], e->shape[0], e->shape[1], err));
        r->n_images++;
        memcpy(r->image[i].rgb, e->data, (size_t)e->bytes);
        VV_TRY(vv_batch_add(&r->run.batch, &r->model.preprocess, &r->image[i], name, err));
    }
    return VV_OK;
}

static vv_status read_pixel_values(reading *r, const vv_st *st, const int64_t *thw, int64_t n, vv_error *err)
{
    const vv_vit_config *c = &r->model.vit->config;
    r->run.batch.width = 3 * c->temporal_patch_size * c->patch_size * c->patch_size;
    if (!(r->run.batch.grid = vv_calloc(n, sizeof *r->run.batch.grid))) return vv_no_memory(err, "grids");
    for (int64_t i = 0; i < n; i++) {
        const int64_t tokens = vv_mul(thw[3 * i], vv_mul(thw[3 * i + 1], thw[3 * i + 2]));
        if (tokens < 1 || tokens > 1 << 24)
            return vv_fail(err, VV_FILE, "%s: grid_thw: row %lld makes no sense", vv_st_path(st), (long long)i);
        r->run.batch.grid[r->run.batch.n++] = (vv_grid){thw[3 * i], thw[3 * i + 1], thw[3 * i + 2]};
        r->run.batch.rows += tokens;
    }
    const int64_t numbers = vv_mul(r->run.batch.rows, r->run.batch.width);
    if (numbers < 0)
        return vv_fail(err, VV_FILE, "%s: grid_thw: more patches than memory has addresses", vv_st_path(st));
    r->run.batch.pixel_values = real_input(st, "pixel_values", numbers, err);
    return r->run.batch.pixel_values ? VV_OK : err->status;
}

/* "tap" of the metadata, or of the case in it */
static vv_status read_tap(reading *r, const vv_st *st, vv_error *err)
{
    const char *tap = vv_st_metadata(st, "tap"), *text = vv_st_metadata(st, "case");
    const int64_t last = r->model.vit->config.depth - 1;
    char *end = NULL;
    if (!tap && text) {
        json_t *root = NULL;
        VV_TRY(vv_json_parse(&root, text, strlen(text), vv_st_path(st), err));
        const vv_status s = vv_json_int(root, vv_st_path(st), "tap", 0, last, &r->run.tap, err);
        json_decref(root);
        return s;
    }
    r->run.tap = tap ? strtoll(tap, &end, 10) : 0;
    if (!tap || (end != tap && !*end && r->run.tap >= 0 && r->run.tap <= last)) return VV_OK;
    return vv_fail(err, VV_FILE, "%s: tap: expected a block from 0 to %lld; found \"%.40s\"", vv_st_path(st),
                   (long long)last, tap);
}

static vv_status read_inputs(reading *r, const vv_st *st, int from_pixel_values, vv_error *err)
{
    int64_t merged[2], layer[2];
    const vv_st_entry *grid = input(st, "grid_thw", -1, err);
    if (!grid) return err->status;
    if (grid->ndim != 2 || grid->shape[1] != 3)
        return vv_fail(err, VV_FILE, "%s: grid_thw: expected shape [pictures,3]", vv_st_path(st));
    int64_t *thw = vv_calloc(grid->n, sizeof *thw);
    if (!thw) return vv_no_memory(err, "grid_thw");
    vv_status s = vv_st_read_i64(st, grid, thw, err);
    if (s == VV_OK)
        s = from_pixel_values ? read_pixel_values(r, st, thw, grid->shape[0], err)
                              : read_pictures(r, st, grid->shape[0], err);
    free(thw);
    if (s != VV_OK) return s;
    VV_TRY(read_tap(r, st, err));
    vv_tower_sizes(&r->run, merged, layer);
    r->run.cotangent = real_input(st, "cotangent", merged[0] * merged[1], err);
    if (r->run.cotangent) r->run.cotangent_tap = real_input(st, "cotangent_tap", layer[0] * layer[1], err);
    return r->run.cotangent_tap ? VV_OK : err->status;
}

/* kind in: the pictures that it starts from, and the grids */
static vv_status record_inputs(const reading *r, vv_recorder *rec, vv_error *err)
{
    const int64_t n = r->run.batch.n;
    int64_t *thw = vv_calloc(3 * n, sizeof *thw);
    if (!thw) return vv_no_memory(err, "grid_thw");
    for (int64_t i = 0; i < r->n_images; i++) {
        char name[32];
        snprintf(name, sizeof name, "image.%lld", (long long)i);
        vv_record_host(rec, "in", name, VV_DT_U8, 3, (int64_t[3]){r->image[i].h, r->image[i].w, 3}, r->image[i].rgb);
    }
    for (int64_t i = 0; i < n; i++) {
        const vv_grid g = r->run.batch.grid[i];
        memcpy(thw + 3 * i, (int64_t[3]){g.t, g.h, g.w}, 3 * sizeof *thw);
    }
    vv_record_host(rec, "in", "grid_thw", VV_DT_I64, 2, (int64_t[2]){n, 3}, thw);
    free(thw);
    return VV_OK;
}

static vv_status record(reading *r, const char *out, vv_error *err)
{
    const vv_record_options o = {.path = out};
    vv_recorder *rec = NULL;
    VV_TRY(vv_record_begin(&rec, &o, err));
    vv_status s = record_inputs(r, rec, err);
    vv_record_params(rec, "w", r->model.params);
    vv_tape *t = vv_tape_new(r->model.params, VV_RECORD);
    if (!t) s = vv_no_memory(err, out);
    if (t) vv_record_tape(rec, t);
    if (s == VV_OK) s = vv_tower_record(&r->run, rec, t, err);
    vv_tape_free(t);
    char tap[24];
    snprintf(tap, sizeof tap, "%lld", (long long)r->run.tap);
    const char *const meta[] = {"tap", tap, NULL};
    if (s == VV_OK) s = vv_record_finish(rec, meta, err);
    if (s == VV_OK) return vv_record_commit(rec, err);
    vv_record_abort(rec);
    return s;
}

vv_status vv_golden_record(const char *model_dir, const char *recording, int from_pixel_values, const char *out,
                           vv_error *err)
{
    reading r = {.n_images = 0};
    vv_st *st = NULL;
    vv_error local = {0}, *e = err ? err : &local;
    vv_status s = vv_st_open(&st, recording, e);
    if (s == VV_OK) s = vv_model_load(&r.model, model_dir, VV_VISION, e);
    r.run.model = &r.model;
    if (s == VV_OK) s = read_inputs(&r, st, from_pixel_values, e);
    if (s == VV_OK) s = record(&r, out, e);
    vv_st_close(st);
    reading_free(&r);
    return s;
}
