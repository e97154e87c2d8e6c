/* What a configuration and a model must agree about, and what two configurations differ in. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "train/config.h"

/* ---- configuration and model ---------------------------------------------------------------------------------------------- */
/* shapes alone have no tokenizer */
static vv_status need(const vv_model *m, int parts, const char *where, vv_error *err)
{
    if (!m->params->dry || !m->llm) return vv_model_need(m, parts, where, err);
    return vv_model_need(m, parts & ~VV_TEXT, where, err);
}

static vv_status check_task(const vv_task_config *t, const vv_model *m, vv_error *err)
{
    VV_TRY(need(m, vv_task_parts(t), t->where, err));
    const vv_preprocess *p = &m->preprocess;
    const int64_t cell = p->patch_size * p->merge_size;
    if (t->task == VV_TASK_CAPTION) {
        if (t->max_pixels && (t->max_pixels < p->min_pixels || t->max_pixels < cell * cell))
            return vv_fail(err, VV_FILE, "%s: 'max_pixels': expected at least min_pixels, %lld, found %lld", t->where,
                           (long long)vv_max(p->min_pixels, cell * cell), (long long)t->max_pixels);
        if (t->max_tokens > m->llm->config.max_position_embeddings)
            return vv_fail(err, VV_FILE, "%s: 'max_tokens': expected at most max_position_embeddings, %lld, found %lld",
                           t->where, (long long)m->llm->config.max_position_embeddings, (long long)t->max_tokens);
        return VV_OK;
    }
    for (int64_t i = 0; i < t->n_sizes; i++)
        if (t->size[i] % cell)
            return vv_fail(err, VV_FILE, "%s: 'size': expected a multiple of %lld (patch_size merge_size), found %lld",
                           t->where, (long long)cell, (long long)t->size[i]);
    return VV_OK;
}

vv_status vv_stage_check(const vv_stage_config *s, const vv_model *m, vv_error *err)
{
    VV_TRY(need(m, s->train | s->fresh, s->where, err));
    for (int k = 0; k < VV_TASKS; k++)
        if (s->task[k].present) VV_TRY(check_task(&s->task[k], m, err));
    return VV_OK;
}

/* ---- two configurations --------------------------------------------------------------------------------------------------- */
/* all but comments and the folder that the file was read from */
static int matters(const char *path, const char *key)
{
    return strcmp(key, "comment") && (strcmp(path, "train") || strcmp(key, "folder"));
}

static char *difference(const json_t *a, const json_t *b, const char *path);

static char *in_objects(const json_t *a, const json_t *b, const char *path)
{
    const json_t *both[2] = {a, b};
    for (int k = 0; k < 2; k++) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)both[k], key, value)
        {
            if (!matters(path, key)) continue;
            char *inner = vv_asprintf("%s%s%s", path, *path ? "." : "", key);
            char *found = inner ? difference(json_object_get(a, key), json_object_get(b, key), inner) : NULL;
            free(inner);
            if (found) return found;
        }
    }
    return NULL;
}

static char *difference(const json_t *a, const json_t *b, const char *path)
{
    if (json_equal(a, b)) return NULL;
    if (json_is_object(a) && json_is_object(b)) return in_objects(a, b, path);
    if (!json_is_array(a) || !json_is_array(b) || json_array_size(a) != json_array_size(b)) return vv_strdup(path);
    for (size_t i = 0; i < json_array_size(a); i++) {
        char *inner = vv_asprintf("%s[%zu]", path, i);
        char *found = inner ? difference(json_array_get(a, i), json_array_get(b, i), inner) : NULL;
        free(inner);
        if (found) return found;
    }
    return NULL;
}

char *vv_config_difference(const json_t *a, const json_t *b) { return difference(a, b, ""); }

/* a copy without what does not matter; NULL without memory */
static json_t *essence(const json_t *value, const char *path)
{
    const char *key;
    json_t *inner, *copy;
    int ok = 1;
    if (json_is_array(value)) {
        copy = json_array();
        for (size_t i = 0; copy && i < json_array_size(value); i++)
            ok = ok && json_array_append_new(copy, essence(json_array_get(value, i), "")) == 0;
    } else if (json_is_object(value)) {
        copy = json_object();
        json_object_foreach((json_t *)value, key, inner)
        {
            if (matters(path, key)) ok = ok && json_object_set_new(copy, key, essence(inner, *path ? "" : key)) == 0;
        }
    } else {
        return json_deep_copy(value);
    }
    if (ok) return copy;
    json_decref(copy);
    return NULL;
}

vv_status vv_config_hash(const json_t *root, char hash[17], vv_error *err)
{
    json_t *rest = essence(root, "");
    char *text = vv_json_text(rest, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(rest);
    if (!text) return vv_no_memory(err, "the configuration");
    snprintf(hash, 17, "%016llx", (unsigned long long)vv_stream(text));
    free(text);
    return VV_OK;
}
