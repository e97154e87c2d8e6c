#include "golden/case.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "golden/index.h"
#include "io/file.h"

static const vv_case_kind *const kinds[] = {
    &vv_case_tower,   &vv_case_pixels, &vv_case_layers,       &vv_case_decoder, &vv_case_embed, &vv_case_generate,
    &vv_case_caption, &vv_case_depth,  &vv_case_segmentation, &vv_case_losses,  &vv_case_adamw, &vv_case_updates};
static const char *const common[] = {"kind", "about", "config", "model", "seed", "outliers", "lean", "sample", NULL};
enum { CASE_BYTES = 1 << 20 };

/* ---- paths --------------------------------------------------------------------------------------------------------------- */
char *vv_case_path(const vv_case *c, const char *name)
{
    const char *slash = strrchr(c->path, '/');
    return *name == '/' || !slash ? vv_strdup(name) : vv_asprintf("%.*s/%s", (int)(slash - c->path), c->path, name);
}

static vv_status open_golden(vv_st **st, const char *path, vv_error *err)
{
    if (!path) return VV_OK;
    char *file = vv_golden_file(path);
    const vv_status s = file ? vv_st_open(st, file, err) : vv_no_memory(err, path);
    free(file);
    return s;
}

/* ---- the model ----------------------------------------------------------------------------------------------------------- */
static vv_status random_weights(const vv_case *c, vv_error *err)
{
    for (int64_t p = 0; p < c->model.params->n; p++) {
        vv_tensor *x = c->model.params->at[p];
        const int matrix = x->ndim > 1, norm_weight = !matrix && strstr(x->name, ".weight");
        const double std = matrix ? 1 / sqrt((double)(x->n / x->dim[0])) : 0.1;
        vv_real *v = vv_case_normals(c, x->name, norm_weight ? 1 : 0, std, x->n);
        if (!v) return vv_no_memory(err, x->name);
        vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
        free(v);
    }
    return VV_OK;
}

static vv_status stretch(vv_tensor *x, const int64_t rows[3], double factor, vv_error *err)
{
    const int64_t width = x->dim[0] ? x->n / x->dim[0] : 0, bytes = x->n * (int64_t)sizeof(vv_real);
    vv_real *v = vv_calloc(x->n, sizeof *v);
    if (!v) return vv_no_memory(err, x->name);
    vvb_download(v, x->data, bytes);
    for (int64_t r = rows[0]; r < vv_min(rows[1], x->dim[0]); r += rows[2])
        for (int64_t i = r * width; i < (r + 1) * width; i++) v[i] = (float)(v[i] * factor);
    vvb_upload(x->data, v, bytes);
    free(v);
    return VV_OK;
}

/* one element of "outliers" */
static vv_status outlier(const vv_case *c, const json_t *rule, const char *where, vv_error *err)
{
    static const char *const keys[] = {"name", "rows", "factor", NULL};
    const char *name = NULL;
    const json_t *list = NULL;
    int64_t rows[3] = {0, INT64_MAX, 1}, found = 0;
    double factor = 1;
    VV_TRY(vv_json_only(rule, where, keys, err));
    VV_TRY(vv_json_need(rule, where, "name", err));
    VV_TRY(vv_json_need(rule, where, "factor", err));
    VV_TRY(vv_json_string(rule, where, "name", &name, err));
    VV_TRY(vv_json_real(rule, where, "factor", -1e6, 1e6, &factor, err));
    VV_TRY(vv_json_array(rule, where, "rows", &list, err));
    for (size_t i = 0; list && i < 3; i++) rows[i] = json_integer_value(json_array_get(list, i));
    if (list && (json_array_size(list) != 3 || rows[0] < 0 || rows[1] <= rows[0] || rows[2] < 1))
        return vv_fail(err, VV_FILE, "%s: rows: expected [first, end, step], first below end, step at least 1", where);
    for (int64_t p = 0; p < c->model.params->n; p++) {
        vv_tensor *x = c->model.params->at[p];
        if (!strstr(x->name, name)) continue;
        VV_TRY(stretch(x, rows, factor, err));
        found++;
    }
    return found ? VV_OK : vv_fail(err, VV_FILE, "%s: name: expected part of a parameter's; found \"%s\"", where, name);
}

static vv_status outliers(const vv_case *c, vv_error *err)
{
    const json_t *list = NULL;
    VV_TRY(vv_json_array(c->root, c->path, "outliers", &list, err));
    for (size_t i = 0; i < json_array_size(list); i++) {
        char *where = vv_asprintf("%s: outliers[%d]", c->path, (int)i);
        const vv_status s = where ? outlier(c, json_array_get(list, i), where, err) : vv_no_memory(err, c->path);
        free(where);
        VV_TRY(s);
    }
    return VV_OK;
}

static vv_status open_model(vv_case *c, const vv_case_kind *k, vv_error *err)
{
    const char *config = NULL, *folder = NULL;
    VV_TRY(vv_json_string(c->root, c->path, "config", &config, err));
    VV_TRY(vv_json_string(c->root, c->path, "model", &folder, err));
    if (!k->parts) {
        if (!config && !folder && !json_object_get(c->root, "outliers")) return VV_OK;
        return vv_fail(err, VV_FILE, "%s: kind %s: expected no config, model or outliers: it has no model", c->path,
                       k->kind);
    }
    if (!config == !folder)
        return vv_fail(err, VV_FILE, "%s: expected one of config and model; found %s", c->path,
                       config ? "both" : "neither");
    char *path = vv_case_path(c, config ? config : folder);
    vv_status s = !path    ? vv_no_memory(err, c->path)
                  : config ? vv_model_from_config(&c->model, path, k->parts, err)
                           : vv_model_load(&c->model, path, k->parts, err);
    if (s == VV_OK) s = vv_model_need(&c->model, k->parts, path, err);
    free(path);
    if (s == VV_OK && config) s = random_weights(c, err);
    return s == VV_OK ? outliers(c, err) : s;
}

/* ---- the case's file -------------------------------------------------------------------------------------------------------- */
static vv_status find_kind(const vv_case_kind **out, const vv_case *c, vv_error *err)
{
    const char *kind = NULL;
    char known[200] = "";
    VV_TRY(vv_json_need(c->root, c->path, "kind", err));
    VV_TRY(vv_json_string(c->root, c->path, "kind", &kind, err));
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!strcmp(kinds[i]->kind, kind)) *out = kinds[i];
        strcat(strcat(known, i ? ", " : ""), kinds[i]->kind);
    }
    return *out ? VV_OK : vv_fail(err, VV_FILE, "%s: kind: expected %s; found \"%.40s\"", c->path, known, kind);
}

static vv_status check_keys(const vv_case *c, const vv_case_kind *k, vv_error *err)
{
    const char *keys[64];
    int n = 0;
    for (const char *const *p = common; *p; p++) keys[n++] = *p;
    for (const char *const *p = k->keys; *p && n < 63; p++) keys[n++] = *p;
    keys[n] = NULL;
    return vv_json_only(c->root, c->path, keys, err);
}

static vv_status read_case(vv_case *c, const vv_case_kind **k, vv_record_options *r, vv_error *err)
{
    int64_t seed = 1;
    VV_TRY(find_kind(k, c, err));
    VV_TRY(check_keys(c, *k, err));
    VV_TRY(vv_json_int(c->root, c->path, "seed", 0, INT64_MAX, &seed, err));
    VV_TRY(vv_json_bool(c->root, c->path, "lean", &r->lean, err));
    VV_TRY(vv_json_bool(c->root, c->path, "sample", &r->sample, err));
    c->seed = (uint64_t)seed;
    return open_model(c, *k, err);
}

/* ---- making it ------------------------------------------------------------------------------------------------------------- */
static int is_file(const char *out)
{
    const size_t n = strlen(out), tail = strlen(".safetensors");
    return n >= tail && !strcmp(out + n - tail, ".safetensors");
}

/* the case, the model's configuration, and what the arithmetic was: with the seed, all that determines the values */
static vv_status finish(const vv_case *c, const vv_golden_options *o, vv_error *err)
{
    static const char *const precision[] = {NULL, "tf32", "bf16", "fp16"}, *const placement[] = {NULL, "operands",
                                                                                                 "outputs", "both"};
    const char *meta[16] = {0};
    int n = 0;
    json_t *config = c->model.params ? vv_model_config_to_json(&c->model) : json_object();
    char *config_text = config ? vv_json_text(config, JSON_COMPACT) : NULL,
         *case_text = vv_json_text(c->root, JSON_COMPACT);
    meta[n++] = "case";
    meta[n++] = case_text;
    if (c->model.params) {
        meta[n++] = "config";
        meta[n++] = config_text;
    }
    if (o->precision != VVB_FULL) {
        meta[n++] = "emulated";
        meta[n++] = precision[o->precision];
        meta[n++] = "placement";
        meta[n++] = placement[o->placement];
    }
    const vv_status s = config_text && case_text ? vv_record_finish(c->rec, meta, err) : vv_no_memory(err, c->path);
    free(config_text);
    free(case_text);
    json_decref(config);
    return s;
}

static vv_status run(vv_case *c, const vv_case_kind *k, const vv_golden_options *o, vv_error *err)
{
    vv_record_task(c->rec, 1, k->task);
    if (c->model.params && is_file(o->out)) vv_record_params(c->rec, "w", c->model.params);
    if (o->precision != VVB_FULL) vvb_set_precision(o->precision, o->placement);
    const vv_status s = k->run(c, err);
    vvb_set_precision(VVB_FULL, VVB_BOTH);
    return s == VV_OK ? vv_record_status(c->rec, err) : s;
}

static vv_status save_model(const vv_case *c, const char *dir, vv_error *err)
{
    if (c->model.tokenizer_dir) VV_TRY(vv_tokenizer_copy(c->model.tokenizer_dir, dir, err));
    return vv_model_save(&c->model, dir, VV_DT_F32, INT64_MAX, err);
}

static vv_status record(vv_case *c, const vv_case_kind *k, vv_record_options *r, const vv_golden_options *o,
                        vv_error *err)
{
    const int folder = !is_file(o->out);
    int made = 0; /* the folder, by us */
    if (folder && access(o->out, F_OK)) {
        VV_TRY(vv_dir_make(o->out, err));
        made = 1;
    }
    char *path = folder ? vv_path_join(o->out, "golden.safetensors") : vv_strdup(o->out);
    r->path = path;
    vv_status s = path ? vv_record_begin(&c->rec, r, err) : vv_no_memory(err, o->out);
    if (s == VV_OK) s = run(c, k, o, err);
    if (s == VV_OK) s = finish(c, o, err);
    if (s == VV_OK && folder && c->model.params) s = save_model(c, o->out, err); /* now that the rest is on the disk */
    if (s == VV_OK) s = vv_record_commit(c->rec, err);
    else vv_record_abort(c->rec);
    c->rec = NULL;
    free(path);
    if (s != VV_OK && made) (void)rmdir(o->out); /* stays when it holds something */
    return s;
}

vv_status vv_golden_make(const char *case_path, const vv_golden_options *o, vv_error *err)
{
    vv_case c = {.path = case_path, .tape_flags = VV_RECORD | o->tape_flags};
    vv_record_options r = {0};
    const vv_case_kind *kind = NULL;
    json_t *root = NULL;
    vv_st *resync = NULL, *from = NULL;
    if (o->resync && o->tape_flags & VV_CHECKPOINT)
        return vv_fail(err, VV_USAGE, "resync: a block that runs again would not meet the values it was given");
    vv_status s = vv_json_load(&root, case_path, CASE_BYTES, err);
    c.root = root;
    if (s == VV_OK) s = open_golden(&resync, o->resync, err);
    if (s == VV_OK) s = open_golden(&from, o->from, err);
    r.resync = resync;
    c.from = from;
    c.truth = sizeof(vv_real) == sizeof(double) && o->precision == VVB_FULL && !resync && !from;
    if (s == VV_OK) s = read_case(&c, &kind, &r, err);
    if (s == VV_OK) s = record(&c, kind, &r, o, err);
    vv_model_free(&c.model);
    json_decref(root);
    vv_st_close(resync);
    vv_st_close(from);
    return s;
}
