#include "golden/tower.h"
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "golden/record.h"

static const char TASK[] = "vision";

typedef struct {
    vv_model model;
    vv_image *image; /* [n_images]; none when the run starts at pixel_values */
    int64_t n_images;
    vv_batch batch;
    int64_t tap;
    vv_real *cotangent, *cotangent_tap; /* of the merged features, of the tap */
    int64_t *grid_thw;                  /* [n,3] as recorded */
    uint64_t seed;
} tower_run;

static void run_free(tower_run *r)
{
    vv_model_free(&r->model);
    for (int64_t i = 0; i < r->n_images; i++) vv_image_free(&r->image[i]);
    vv_batch_free(&r->batch);
    free(r->image);
    free(r->cotangent);
    free(r->cotangent_tap);
    free(r->grid_thw);
}

/* sizes of the merged features and of a layer */
static void sizes(const tower_run *r, int64_t merged[2], int64_t layer[2])
{
    const vv_vit_config *c = &r->model.vit->config;
    merged[0] = r->batch.rows / (c->spatial_merge_size * c->spatial_merge_size);
    merged[1] = c->hidden_size;
    layer[0] = r->batch.rows;
    layer[1] = c->embed_dim;
}

static vv_status run_tower(vv_tape *t, void *ctx, vv_error *err)
{
    const tower_run *r = ctx;
    int64_t merged_dim[2], layer_dim[2];
    const int64_t pixels[2] = {r->batch.rows, r->batch.width};
    sizes(r, merged_dim, layer_dim);
    vv_tensor *tap = NULL;
    const vv_vit_wanted want = {&r->tap, 1, &tap, 1};
    vv_tensor *x = vv_input(t, "pixel_values", VV_REALS, 2, pixels, r->batch.pixel_values);
    vv_tensor *c = vv_input(t, "cotangent", VV_REALS, 2, merged_dim, r->cotangent);
    vv_tensor *c_tap = vv_input(t, "cotangent_tap", VV_REALS, 2, layer_dim, r->cotangent_tap);
    vv_tensor *merged = vv_vit_forward(t, r->model.vit, x, r->batch.grid, r->batch.n, &want);
    vv_tensor *loss = vv_add(t, "total", vv_dot(t, NULL, merged, c), vv_dot(t, NULL, tap, c_tap));
    vv_backward(t, loss, 1);
    return vv_tape_status(t, err);
}

static vv_status record(tower_run *r, const char *out, int tape_flags, const char *const *meta, vv_error *err)
{
    const int64_t n = r->batch.n;
    vv_record_extra *extra = vv_calloc(r->n_images + 1, sizeof *extra);
    char(*name)[32] = vv_calloc(r->n_images + 1, sizeof *name);
    r->grid_thw = vv_calloc(3 * n, sizeof *r->grid_thw);
    vv_status s = extra && name && r->grid_thw ? VV_OK : vv_no_memory(err, out);
    for (int64_t i = 0; s == VV_OK && i < r->n_images; i++) {
        snprintf(name[i], sizeof name[i], "image.%lld", (long long)i);
        extra[i] = (vv_record_extra){{name[i], VV_DT_U8, 3, {r->image[i].h, r->image[i].w, 3}}, r->image[i].rgb};
    }
    if (s == VV_OK) {
        for (int64_t i = 0; i < n; i++)
            memcpy(r->grid_thw + 3 * i, (int64_t[3]){r->batch.grid[i].t, r->batch.grid[i].h, r->batch.grid[i].w}, 24);
        extra[r->n_images] = (vv_record_extra){{"grid_thw", VV_DT_I64, 2, {n, 3}}, r->grid_thw};
        const vv_record_options o = {
            out, TASK, 1, tape_flags | VV_RECORD, meta, extra, r->n_images + 1, r->model.params};
        s = vv_record(&o, run_tower, r, err);
    }
    free(extra);
    free(name);
    return s;
}

/* ---- built-in cases ---------------------------------------------------------------------------------------------------- */
static vv_real *normals(const char *name, uint64_t seed, double mean, double std, int64_t n)
{
    vv_real *v = vv_calloc(n, sizeof *v);
    const uint64_t stream = vv_stream(name);
    for (int64_t i = 0; v && i < n; i++) v[i] = (float)(mean + std * vv_random_normal(seed, stream, (uint64_t)i));
    return v;
}

/* Linear weights N(0, 1/sqrt(inputs)), biases N(0, 0.1), norm weights N(1, 0.1): nothing is zero, one or nearly uniform. */
static vv_status random_weights(vv_params *ps, uint64_t seed, vv_error *err)
{
    for (int64_t p = 0; p < ps->n; p++) {
        vv_tensor *x = ps->at[p];
        const int matrix = x->ndim > 1, norm_weight = !matrix && strstr(x->name, ".weight");
        const double std = matrix ? 1 / sqrt((double)(x->n / x->dim[0])) : 0.1;
        vv_real *v = normals(x->name, seed, norm_weight ? 1 : 0, std, x->n);
        if (!v) return vv_no_memory(err, x->name);
        vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
        free(v);
    }
    return VV_OK;
}

/* waves of a few pixels' length under noise: every frequency the resize can meet */
static vv_status draw(vv_image *image, int64_t h, int64_t w, uint64_t seed, int64_t index, vv_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "picture.%lld", (long long)index);
    const uint64_t stream = vv_stream(name);
    VV_TRY(vv_image_new(image, h, w, err));
    for (int64_t i = 0; i < h * w * 3; i++) {
        const int64_t c = i % 3, x = i / 3 % w, y = i / 3 / w;
        const double wave = (double)((x * (5 + 2 * c) + y * (7 - 2 * c)) % 192),
                     noise = vv_random_uniform(seed, stream, (uint64_t)i);
        image->rgb[i] = (unsigned char)(wave + 63 * noise);
    }
    return VV_OK;
}

static vv_status case_pictures(tower_run *r, const json_t *root, const char *path, vv_error *err)
{
    const json_t *list = NULL;
    VV_TRY(vv_json_array(root, path, "pictures", &list, err));
    const int64_t n = (int64_t)json_array_size(list);
    if (n == 0) return vv_fail(err, VV_FILE, "%s: pictures: expected a list of [height, width]; found none", path);
    if (!(r->image = vv_calloc(n, sizeof *r->image))) return vv_no_memory(err, path);
    for (int64_t i = 0; i < n; i++) {
        const json_t *size = json_array_get(list, (size_t)i);
        const json_int_t h = json_integer_value(json_array_get(size, 0)),
                         w = json_integer_value(json_array_get(size, 1));
        if (json_array_size(size) != 2 || h < 1 || w < 1)
            return vv_fail(err, VV_FILE, "%s: pictures[%lld]: expected [height, width] in pixels", path, (long long)i);
        VV_TRY(draw(&r->image[i], h, w, r->seed, i, err));
        r->n_images++;
        VV_TRY(vv_batch_add(&r->batch, &r->model.preprocess, &r->image[i], path, err));
    }
    return VV_OK;
}

static vv_status case_load(tower_run *r, const json_t *root, const char *path, vv_error *err)
{
    static const char *const keys[] = {"comment", "config", "seed", "pictures", "tap", NULL};
    const char *config = NULL;
    int64_t seed = 1, merged[2], layer[2];
    VV_TRY(vv_json_only(root, path, keys, err));
    VV_TRY(vv_json_need(root, path, "config", err));
    VV_TRY(vv_json_string(root, path, "config", &config, err));
    VV_TRY(vv_json_int(root, path, "seed", 0, INT64_MAX, &seed, err));
    r->seed = (uint64_t)seed;
    const char *slash = strrchr(path, '/');
    char *config_path =
        config[0] == '/' || !slash ? vv_strdup(config) : vv_asprintf("%.*s/%s", (int)(slash - path), path, config);
    if (!config_path) return vv_no_memory(err, path);
    const vv_status s = vv_model_from_config(&r->model, config_path, VV_VISION, err);
    free(config_path);
    if (s != VV_OK) return s;
    VV_TRY(vv_json_int(root, path, "tap", 0, r->model.vit->config.depth - 1, &r->tap, err));
    VV_TRY(random_weights(r->model.params, r->seed, err));
    VV_TRY(case_pictures(r, root, path, err));
    sizes(r, merged, layer);
    r->cotangent = normals("cotangent", r->seed, 0, 1, merged[0] * merged[1]);
    r->cotangent_tap = normals("cotangent_tap", r->seed, 0, 1, layer[0] * layer[1]);
    return r->cotangent && r->cotangent_tap ? VV_OK : vv_no_memory(err, path);
}

/* the case, and the model's configuration: with the seed, all that determines the values */
static vv_status record_case(tower_run *r, json_t *root, const char *out, int tape_flags, vv_error *err)
{
    json_t *config = vv_vit_config_to_json(&r->model.vit->config);
    char *config_text = config ? vv_json_text(config, JSON_COMPACT) : NULL,
         *case_text = vv_json_text(root, JSON_COMPACT);
    char tap[24];
    snprintf(tap, sizeof tap, "%lld", (long long)r->tap);
    const char *meta[] = {"case", case_text, "vision_config", config_text, "tap", tap, NULL};
    const vv_status s = config_text && case_text ? record(r, out, tape_flags, meta, err) : vv_no_memory(err, out);
    free(config_text);
    free(case_text);
    json_decref(config);
    return s;
}

vv_status vv_golden_make(const char *case_path, const char *out, int tape_flags, vv_error *err)
{
    tower_run r = {0};
    json_t *root = NULL;
    VV_TRY(vv_json_load(&root, case_path, 1 << 20, err));
    vv_status s = case_load(&r, root, case_path, err);
    if (s == VV_OK) s = record_case(&r, root, out, tape_flags, err);
    json_decref(root);
    run_free(&r);
    return s;
}

/* ---- the inputs of another recording ------------------------------------------------------------------------------------ */
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

static vv_status read_pictures(tower_run *r, const vv_st *st, int64_t n, vv_error *err)
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
        VV_TRY(vv_batch_add(&r->batch, &r->model.preprocess, &r->image[i], name, err));
    }
    return VV_OK;
}

static vv_status read_pixel_values(tower_run *r, const vv_st *st, const int64_t *thw, int64_t n, vv_error *err)
{
    const vv_vit_config *c = &r->model.vit->config;
    r->batch.width = 3 * c->temporal_patch_size * c->patch_size * c->patch_size;
    if (!(r->batch.grid = vv_calloc(n, sizeof *r->batch.grid))) return vv_no_memory(err, "grids");
    for (int64_t i = 0; i < n; i++) {
        const int64_t tokens = vv_mul(thw[3 * i], vv_mul(thw[3 * i + 1], thw[3 * i + 2]));
        if (tokens < 1 || tokens > 1 << 24)
            return vv_fail(err, VV_FILE, "%s: grid_thw: row %lld makes no sense", vv_st_path(st), (long long)i);
        r->batch.grid[r->batch.n++] = (vv_grid){thw[3 * i], thw[3 * i + 1], thw[3 * i + 2]};
        r->batch.rows += tokens;
    }
    const int64_t numbers = vv_mul(r->batch.rows, r->batch.width);
    if (numbers < 0)
        return vv_fail(err, VV_FILE, "%s: grid_thw: more patches than memory has addresses", vv_st_path(st));
    r->batch.pixel_values = real_input(st, "pixel_values", numbers, err);
    return r->batch.pixel_values ? VV_OK : err->status;
}

static vv_status read_tap(tower_run *r, const vv_st *st, vv_error *err)
{
    const char *tap = vv_st_metadata(st, "tap");
    const int64_t last = r->model.vit->config.depth - 1;
    char *end = NULL;
    r->tap = tap ? strtoll(tap, &end, 10) : 0;
    if (!tap || (end != tap && !*end && r->tap >= 0 && r->tap <= last)) return VV_OK;
    return vv_fail(err, VV_FILE, "%s: tap: expected a block from 0 to %lld; found \"%.40s\"", vv_st_path(st),
                   (long long)last, tap);
}

static vv_status read_inputs(tower_run *r, const vv_st *st, int from_pixel_values, vv_error *err)
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
    sizes(r, merged, layer);
    r->cotangent = real_input(st, "cotangent", merged[0] * merged[1], err);
    if (r->cotangent) r->cotangent_tap = real_input(st, "cotangent_tap", layer[0] * layer[1], err);
    return r->cotangent_tap ? VV_OK : err->status;
}

vv_status vv_golden_record(const char *model_dir, const char *recording, int from_pixel_values, const char *out,
                           vv_error *err)
{
    tower_run r = {0};
    vv_st *st = NULL;
    vv_error local = {0}, *e = err ? err : &local;
    vv_status s = vv_st_open(&st, recording, e);
    if (s == VV_OK) s = vv_model_load(&r.model, model_dir, VV_VISION, e);
    if (s == VV_OK) s = read_inputs(&r, st, from_pixel_values, e);
    if (s == VV_OK) s = record(&r, out, 0, NULL, e);
    vv_st_close(st);
    run_free(&r);
    return s;
}
