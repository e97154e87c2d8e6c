#include "model/versavit.h"
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"

static const int64_t CONFIG_BYTES = 16 << 20;

void vv_model_free(vv_model *m)
{
    vv_vit_free(m->vit);
    vv_projector_free(m->projector);
    vv_qwen3_free(m->llm);
    vv_dpt_free(m->depth);
    vv_mask_free(m->mask);
    vv_tokenizer_free(m->tokenizer);
    free(m->tokenizer_dir);
    if (m->params) vv_params_free(m->params);
    free(m->params);
    *m = (vv_model){0};
}

vv_status vv_model_need(const vv_model *m, int parts, const char *where, vv_error *err)
{
    const struct {
        int part, there;
        const char *words;
    } list[] = {{VV_VISION, m->vit != NULL, "a vision tower (vision_config)"},
                {VV_TEXT, m->llm != NULL, "a language model (text_config)"},
                {VV_TEXT, m->tokenizer != NULL, "a tokenizer (tokenizer.json)"},
                {VV_PROJECTOR, m->projector != NULL, "a projector (projector)"},
                {VV_DEPTH, m->depth != NULL, "a depth head (depth_head)"},
                {VV_MASK, m->mask != NULL, "a segmentation head (mask_head)"}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (parts & list[i].part && !list[i].there)
            return vv_fail(err, VV_FILE, "%s: expected %s; found none", where, list[i].words);
    return VV_OK;
}

/* ---- configurations ------------------------------------------------------------------------------------------------------ */
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

/* what the configuration says, read before anything is made */
typedef struct {
    vv_vit_config vision;
    vv_qwen3_config text;
    vv_projector_config projector;
    vv_dpt_config depth;
    vv_mask_config mask;
    int parts; /* that there are, and are wanted */
} configs;

/* the object of that name into *o, NULL when absent; its place in messages into where [300] */
static vv_status section(const json_t *root, const char *path, const char *key, const json_t **o, char *where,
                         vv_error *err)
{
    *o = NULL;
    snprintf(where, 300, "%s: %s", path, key);
    return vv_json_object(root, path, key, o, err);
}

static vv_status parse_heads(configs *c, const json_t *root, const char *path, int parts, vv_error *err)
{
    const vv_vit_config *v = &c->vision;
    const json_t *o = NULL;
    char where[300];
    c->depth = (vv_dpt_config){.width = v->embed_dim, .depth = v->depth, .patch = v->patch_size};
    c->mask = (vv_mask_config){.width = v->embed_dim, .depth = v->depth};
    c->projector = (vv_projector_config){
        .width = v->embed_dim, .cells = v->spatial_merge_size * v->spatial_merge_size, .out = c->text.hidden_size};
    VV_TRY(section(root, path, "projector", &o, where, err));
    if (o && parts & VV_PROJECTOR) {
        if (!(c->parts & VV_VISION) || !(c->parts & VV_TEXT))
            return vv_fail(err, VV_FILE, "%s: expected vision_config and text_config beside it; found none", where);
        VV_TRY(vv_projector_config_parse(&c->projector, o, where, err));
        c->parts |= VV_PROJECTOR;
    }
    VV_TRY(section(root, path, "depth_head", &o, where, err));
    if (o && parts & VV_DEPTH) {
        VV_TRY(vv_dpt_config_parse(&c->depth, o, where, err));
        c->parts |= VV_DEPTH;
    }
    VV_TRY(section(root, path, "mask_head", &o, where, err));
    if (o && parts & VV_MASK) {
        VV_TRY(vv_mask_config_parse(&c->mask, o, where, err));
        c->parts |= VV_MASK;
    }
    return VV_OK;
}

/* A root without any section is a bare configuration: of a language model when it says so, otherwise of a tower. */
static vv_status parse(configs *c, const json_t *root, const char *path, int parts, vv_error *err)
{
    const json_t *vision = NULL, *text = NULL;
    const char *type = NULL;
    char where[300];
    *c = (configs){.vision = vv_vit_config_default(), .text = vv_qwen3_config_default()};
    VV_TRY(section(root, path, "vision_config", &vision, where, err));
    VV_TRY(vv_json_string(root, path, "model_type", &type, err));
    const int bare_text = !vision && type && !strcmp(type, "qwen3");
    VV_TRY(section(root, path, "text_config", &text, where, err));
    if (parts & (VV_TEXT | VV_PROJECTOR) && (text || bare_text)) {
        VV_TRY(vv_qwen3_config_parse(&c->text, bare_text ? root : text, bare_text ? path : where, err));
        c->parts |= VV_TEXT;
    }
    if (!bare_text && (vision || !text)) {
        VV_TRY(vv_vit_config_parse(&c->vision, root, path, err));
        c->parts |= VV_VISION;
    }
    VV_TRY(parse_heads(c, root, path, parts, err));
    c->parts &= parts | VV_SHAPES_ONLY;
    return VV_OK;
}

static vv_status build(vv_model *m, const configs *c, int shapes_only, vv_error *err)
{
    if (!(m->params = vv_calloc(1, sizeof *m->params))) return vv_no_memory(err, "parameters");
    m->params->dry = shapes_only;
    if (c->parts & VV_VISION) VV_TRY(vv_vit_new(&m->vit, m->params, &c->vision, err));
    if (c->parts & VV_PROJECTOR) VV_TRY(vv_projector_new(&m->projector, m->params, &c->projector, err));
    if (c->parts & VV_TEXT) VV_TRY(vv_qwen3_new(&m->llm, m->params, &c->text, err));
    if (c->parts & VV_DEPTH) VV_TRY(vv_dpt_new(&m->depth, m->params, &c->depth, err));
    if (c->parts & VV_MASK) VV_TRY(vv_mask_new(&m->mask, m->params, &c->mask, err));
    return VV_OK;
}

/* ---- loading -------------------------------------------------------------------------------------------------------------- */
static vv_status load_weights(vv_model *m, const char *dir, vv_error *err)
{
    vv_weights *w = NULL;
    VV_TRY(vv_weights_open(&w, dir, err));
    vv_status s = VV_OK;
    if (m->vit) s = vv_vit_load_weights(m->vit, w, err);
    if (s == VV_OK && m->projector) s = vv_projector_load_weights(m->projector, w, err);
    if (s == VV_OK && m->llm) s = vv_qwen3_load_weights(m->llm, w, err);
    if (s == VV_OK && m->depth) s = vv_dpt_load_weights(m->depth, w, err);
    if (s == VV_OK && m->mask) s = vv_mask_load_weights(m->mask, w, VV_MASK_WHOLE, err);
    vv_weights_close(w);
    return s;
}

/* The tokenizer of a folder that has one; what it may say must have a row in the table. */
static vv_status load_tokenizer(vv_model *m, const char *dir, vv_error *err)
{
    char *json = vv_path_join(dir, "tokenizer.json"), *vocab = vv_path_join(dir, "vocab.json");
    vv_status s = json && vocab ? VV_OK : vv_no_memory(err, dir);
    if (s == VV_OK && (access(json, F_OK) == 0 || access(vocab, F_OK) == 0))
        s = (m->tokenizer_dir = vv_strdup(dir)) ? vv_tokenizer_load(&m->tokenizer, dir, err) : vv_no_memory(err, dir);
    if (s == VV_OK && m->tokenizer && vv_tokenizer_size(m->tokenizer) > m->llm->config.vocab_size)
        s = vv_fail(err, VV_FILE, "%s: vocab_size: expected at least the tokenizer's %lld; found %lld", dir,
                    (long long)vv_tokenizer_size(m->tokenizer), (long long)m->llm->config.vocab_size);
    free(json);
    free(vocab);
    return s;
}

vv_status vv_model_load(vv_model *m, const char *dir, int parts, vv_error *err)
{
    *m = (vv_model){.preprocess = vv_preprocess_default()};
    configs c = {.parts = 0};
    char *path = vv_path_join(dir, "config.json"), *pre = vv_path_join(dir, "preprocessor_config.json");
    json_t *root = NULL;
    vv_status s = path && pre ? vv_json_load(&root, path, CONFIG_BYTES, err) : vv_no_memory(err, dir);
    if (s == VV_OK) s = parse(&c, root, path, parts, err);
    const int found = s == VV_OK && access(pre, F_OK) == 0;
    if (found) s = vv_preprocess_load(&m->preprocess, pre, err);
    if (s == VV_OK && c.parts & VV_VISION)
        s = check_pair(&c.vision, &m->preprocess, found ? pre : "the published preprocessing", err);
    if (s == VV_OK) s = build(m, &c, parts & VV_SHAPES_ONLY, err);
    if (s == VV_OK && m->llm) s = load_tokenizer(m, dir, err);
    if (s == VV_OK && !(parts & VV_SHAPES_ONLY)) s = load_weights(m, dir, err);
    json_decref(root);
    free(path);
    free(pre);
    if (s != VV_OK) vv_model_free(m);
    return s;
}

/* "tokenizer": a folder, as seen from the folder of the configuration's file */
static vv_status config_tokenizer(vv_model *m, const json_t *root, const char *path, vv_error *err)
{
    const char *folder = NULL, *slash = strrchr(path, '/');
    VV_TRY(vv_json_string(root, path, "tokenizer", &folder, err));
    if (!folder || !m->llm) return VV_OK;
    char *dir =
        *folder == '/' || !slash ? vv_strdup(folder) : vv_asprintf("%.*s/%s", (int)(slash - path), path, folder);
    vv_status s = dir ? load_tokenizer(m, dir, err) : vv_no_memory(err, path);
    if (s == VV_OK && !m->tokenizer)
        s = vv_fail(err, VV_FILE, "%s: tokenizer: expected a folder with tokenizer.json; found none in %s", path, dir);
    free(dir);
    return s;
}

vv_status vv_model_from_config(vv_model *m, const char *path, int parts, vv_error *err)
{
    static const char *const keys[] = {"comment",    "vision_config", "preprocessor", "text_config", "projector",
                                       "depth_head", "mask_head",     "tokenizer",    "train",       NULL};
    *m = (vv_model){.preprocess = vv_preprocess_default()};
    configs c = {.parts = 0};
    const json_t *pre = NULL;
    json_t *root = NULL;
    VV_TRY(vv_json_load(&root, path, CONFIG_BYTES, err));
    vv_status s = vv_json_only(root, path, keys, err);
    if (s == VV_OK) s = vv_json_need(root, path, "vision_config", err);
    if (s == VV_OK) s = parse(&c, root, path, parts, err);
    if (s == VV_OK) {
        m->preprocess.patch_size = c.vision.patch_size;
        m->preprocess.temporal_patch_size = c.vision.temporal_patch_size;
        m->preprocess.merge_size = c.vision.spatial_merge_size;
    }
    if (s == VV_OK) s = vv_json_object(root, path, "preprocessor", &pre, err);
    if (s == VV_OK && pre) s = vv_preprocess_parse(&m->preprocess, pre, path, err);
    if (s == VV_OK) s = check_pair(&c.vision, &m->preprocess, path, err);
    if (s == VV_OK) s = build(m, &c, parts & VV_SHAPES_ONLY, err);
    if (s == VV_OK) s = config_tokenizer(m, root, path, err);
    json_decref(root);
    if (s != VV_OK) vv_model_free(m);
    return s;
}

vv_status vv_model_init(vv_model *m, uint64_t seed, vv_error *err)
{
    if (m->vit) VV_TRY(vv_vit_init(m->vit, seed, err));
    if (m->projector) VV_TRY(vv_projector_init(m->projector, seed, err));
    if (m->llm) VV_TRY(vv_qwen3_init(m->llm, seed, err));
    if (m->depth) VV_TRY(vv_dpt_init(m->depth, seed, err));
    if (m->mask) VV_TRY(vv_mask_init(m->mask, seed, err));
    return VV_OK;
}

/* ---- saving --------------------------------------------------------------------------------------------------------------- */
json_t *vv_model_config_to_json(const vv_model *m)
{
    json_t *root = json_pack("{s:[s], s:s}", "architectures", "VersaViT", "model_type", "versavit");
    const struct {
        const char *key;
        json_t *value;
    } section[] = {{"vision_config", m->vit ? vv_vit_config_to_json(&m->vit->config) : json_null()},
                   {"text_config", m->llm ? vv_qwen3_config_to_json(&m->llm->config) : json_null()},
                   {"projector", m->projector ? vv_projector_config_to_json(&m->projector->config) : json_null()},
                   {"depth_head", m->depth ? vv_dpt_config_to_json(vv_dpt_config_of(m->depth)) : json_null()},
                   {"mask_head", m->mask ? vv_mask_config_to_json(vv_mask_config_of(m->mask)) : json_null()}};
    int ok = root != NULL;
    for (size_t i = 0; i < sizeof section / sizeof *section; i++) {
        if (section[i].value && json_is_null(section[i].value)) continue;
        ok = ok && section[i].value && json_object_set(root, section[i].key, section[i].value) == 0;
        json_decref(section[i].value);
    }
    if (ok) return root;
    json_decref(root);
    return NULL;
}

static vv_status save_config(const vv_model *m, const char *path, vv_error *err)
{
    json_t *root = vv_model_config_to_json(m);
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
    if (s == VV_OK && m->vit) s = vv_preprocess_save(&m->preprocess, pre, err);
    if (s == VV_OK) s = vv_params_save(m->params, dir, dtype, max_shard_bytes, err);
    free(path);
    free(pre);
    return s;
}

/* ---- batches ------------------------------------------------------------------------------------------------------------- */
vv_status vv_batch_append(vv_batch *b, const vv_batch *more, vv_error *err)
{
    if (b->n && b->width != more->width)
        return vv_fail(err, VV_USAGE, "pictures: expected patches of %lld numbers; got %lld", (long long)b->width,
                       (long long)more->width);
    const int64_t had = b->rows * more->width, get = more->rows * more->width;
    vv_grid *grid = realloc(b->grid, (size_t)(b->n + more->n) * sizeof *grid + 1);
    if (grid) b->grid = grid;
    vv_real *values = grid ? realloc(b->pixel_values, (size_t)(had + get) * sizeof *values + 1) : NULL;
    if (!values) return vv_no_memory(err, "pictures");
    b->pixel_values = values;
    memcpy(values + had, more->pixel_values, (size_t)get * sizeof *values);
    memcpy(grid + b->n, more->grid, (size_t)more->n * sizeof *grid);
    b->n += more->n;
    b->rows += more->rows;
    b->width = more->width;
    return VV_OK;
}

vv_status vv_batch_add(vv_batch *b, const vv_preprocess *p, const vv_image *image, const char *where, vv_error *err)
{
    float *patches = NULL;
    vv_grid g;
    VV_TRY(vv_preprocess_image(p, image, &patches, &g, where, err));
    const int64_t rows = g.t * g.h * g.w, width = 3 * p->temporal_patch_size * p->patch_size * p->patch_size;
    vv_batch one = {1, rows, width, &g, vv_calloc(rows * width, sizeof *one.pixel_values)};
    vv_status s = one.pixel_values ? VV_OK : vv_no_memory(err, where);
    for (int64_t i = 0; s == VV_OK && i < rows * width; i++) one.pixel_values[i] = (vv_real)patches[i];
    free(patches);
    if (s == VV_OK) s = vv_batch_append(b, &one, err);
    free(one.pixel_values);
    return s;
}

void vv_batch_free(vv_batch *b)
{
    free(b->grid);
    free(b->pixel_values);
    *b = (vv_batch){0};
}
