#include "model/versavit.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"

static const int64_t CONFIG_BYTES = 16 << 20;

void vv_model_free(vv_model *m)
{
    vv_vit_free(m->vit);
    if (m->params) vv_params_free(m->params);
    free(m->params);
    *m = (vv_model){0};
}

/* the preprocessor must cut the patches that the tower reads */
static vv_status check_pair(const vv_vit_config *c, const vv_preprocess *p, const char *where, vv_error *err)
{
    if (c->patch_size != p->patch_size || c->temporal_patch_size != p->temporal_patch_size ||
        c->spatial_merge_size != p->merge_size)
        return vv_fail(
            err, VV_FILE,
            "%s: expected patch, temporal and merge sizes %lld, %lld, %lld of the tower; found %lld, %lld, %lld", where,
            (long long)c->patch_size, (long long)c->temporal_patch_size, (long long)c->spatial_merge_size,
            (long long)p->patch_size, (long long)p->temporal_patch_size, (long long)p->merge_size);
    return VV_OK;
}

static vv_status add_tower(vv_model *m, const vv_vit_config *c, int shapes_only, vv_error *err)
{
    if (!(m->params = vv_calloc(1, sizeof *m->params))) return vv_no_memory(err, "parameters");
    m->params->dry = shapes_only;
    return vv_vit_new(&m->vit, m->params, c, err);
}

static vv_status load_weights(vv_model *m, const char *dir, vv_error *err)
{
    vv_weights *w = NULL;
    VV_TRY(vv_weights_open(&w, dir, err));
    const vv_status s = vv_vit_load_weights(m->vit, w, err);
    vv_weights_close(w);
    return s;
}

vv_status vv_model_load(vv_model *m, const char *dir, int shapes_only, vv_error *err)
{
    *m = (vv_model){.preprocess = vv_preprocess_default()};
    vv_vit_config config = vv_vit_config_default();
    char *path = vv_path_join(dir, "config.json"), *pre = vv_path_join(dir, "preprocessor_config.json");
    json_t *root = NULL;
    vv_status s = path && pre ? vv_json_load(&root, path, CONFIG_BYTES, err) : vv_no_memory(err, dir);
    if (s == VV_OK) s = vv_vit_config_parse(&config, root, path, err);
    const int found = s == VV_OK && access(pre, F_OK) == 0;
    if (found) s = vv_preprocess_load(&m->preprocess, pre, err);
    if (s == VV_OK) s = check_pair(&config, &m->preprocess, found ? pre : "the published preprocessing", err);
    if (s == VV_OK) s = add_tower(m, &config, shapes_only, err);
    if (s == VV_OK && !shapes_only) s = load_weights(m, dir, err);
    json_decref(root);
    free(path);
    free(pre);
    if (s != VV_OK) vv_model_free(m);
    return s;
}

vv_status vv_model_from_config(vv_model *m, const char *path, int shapes_only, vv_error *err)
{
    static const char *const keys[] = {"comment", "vision_config", "preprocessor", NULL};
    *m = (vv_model){.preprocess = vv_preprocess_default()};
    vv_vit_config config = vv_vit_config_default();
    const json_t *pre = NULL;
    json_t *root = NULL;
    VV_TRY(vv_json_load(&root, path, CONFIG_BYTES, err));
    vv_status s = vv_json_only(root, path, keys, err);
    if (s == VV_OK) s = vv_json_need(root, path, "vision_config", err);
    if (s == VV_OK) s = vv_vit_config_parse(&config, root, path, err);
    m->preprocess.patch_size = config.patch_size;
    m->preprocess.temporal_patch_size = config.temporal_patch_size;
    m->preprocess.merge_size = config.spatial_merge_size;
    if (s == VV_OK) s = vv_json_object(root, path, "preprocessor", &pre, err);
    if (s == VV_OK && pre) s = vv_preprocess_parse(&m->preprocess, pre, path, err);
    if (s == VV_OK) s = check_pair(&config, &m->preprocess, path, err);
    if (s == VV_OK) s = add_tower(m, &config, shapes_only, err);
    json_decref(root);
    return s;
}

static vv_status save_config(const vv_model *m, const char *path, vv_error *err)
{
    json_t *root = json_pack("{s:[s], s:s, s:o}", "architectures", "VersaViT", "model_type", "versavit",
                             "vision_config", vv_vit_config_to_json(&m->vit->config));
    char *text = root ? vv_json_text(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (!text) return vv_no_memory(err, path);
    const vv_status s = vv_out_text(path, text, err);
    free(text);
    return s;
}

vv_status vv_model_save(const vv_model *m, const char *dir, vv_dtype dtype, int64_t max_shard_bytes, vv_error *err)
{
    VV_TRY(vv_dir_make(dir, err));
    char *path = vv_path_join(dir, "config.json"), *pre = vv_path_join(dir, "preprocessor_config.json");
    vv_status s = path && pre ? save_config(m, path, err) : vv_no_memory(err, dir);
    if (s == VV_OK) s = vv_preprocess_save(&m->preprocess, pre, err);
    if (s == VV_OK) s = vv_params_save(m->params, dir, dtype, max_shard_bytes, err);
    free(path);
    free(pre);
    return s;
}

/* ---- batches ------------------------------------------------------------------------------------------------------------- */
vv_status vv_batch_add(vv_batch *b, const vv_preprocess *p, const vv_image *image, const char *where, vv_error *err)
{
    float *patches = NULL;
    vv_grid g;
    VV_TRY(vv_preprocess_image(p, image, &patches, &g, where, err));
    const int64_t rows = g.t * g.h * g.w, width = 3 * p->temporal_patch_size * p->patch_size * p->patch_size;
    vv_grid *grid = realloc(b->grid, (size_t)(b->n + 1) * sizeof *grid);
    if (grid) b->grid = grid;
    vv_real *values = grid ? realloc(b->pixel_values, (size_t)((b->rows + rows) * width) * sizeof *values) : NULL;
    if (!values) {
        free(patches);
        return vv_no_memory(err, where);
    }
    for (int64_t i = 0; i < rows * width; i++) values[b->rows * width + i] = (vv_real)patches[i];
    free(patches);
    b->pixel_values = values;
    b->grid[b->n++] = g;
    b->rows += rows;
    b->width = width;
    return VV_OK;
}

void vv_batch_free(vv_batch *b)
{
    free(b->grid);
    free(b->pixel_values);
    *b = (vv_batch){0};
}
