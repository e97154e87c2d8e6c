#include "train/reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

vv_status vv_reader_wrong(const vv_reader *r, const char *key, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return vv_fail(r->err, VV_FILE, "%.190s: '%s': %s", r->where, key, text);
}

vv_status vv_reader_put(const vv_reader *r, const char *key, json_t *value)
{
    return value && json_object_set_new(r->out, key, value) == 0 ? VV_OK : vv_no_memory(r->err, r->where);
}

vv_status vv_reader_enter(vv_reader *inner, const vv_reader *r, const char *key, int64_t index)
{
    *inner = (vv_reader){.folder = r->folder, .err = r->err};
    if (index < 0) {
        snprintf(inner->where, sizeof inner->where, "%.300s.%s", r->where, key);
        VV_TRY(vv_json_object(r->in, r->where, key, &inner->in, r->err));
        inner->out = json_object();
        return vv_reader_put(r, key, inner->out);
    }
    const json_t *list = NULL;
    snprintf(inner->where, sizeof inner->where, "%.300s.%s[%lld]", r->where, key, (long long)index);
    VV_TRY(vv_json_array(r->in, r->where, key, &list, r->err));
    inner->in = json_array_get(list, (size_t)index);
    char found[120];
    if (!json_is_object(inner->in))
        return vv_fail(r->err, VV_FILE, "%s: expected an object, found %s", inner->where,
                       vv_json_found(inner->in, found, sizeof found));
    inner->out = json_object();
    if (!json_object_get(r->out, key)) VV_TRY(vv_reader_put(r, key, json_array()));
    json_t *to = json_object_get(r->out, key);
    return inner->out && json_array_append_new(to, inner->out) == 0 ? VV_OK : vv_no_memory(r->err, r->where);
}

vv_status vv_reader_only(const vv_reader *r, const char *const *keys)
{
    const char *all[40] = {"comment"};
    for (int i = 0; i < 38 && keys[i]; i++) all[i + 1] = keys[i];
    return r->in ? vv_json_only(r->in, r->where, all, r->err) : VV_OK;
}

vv_status vv_reader_need(const vv_reader *r, const char *key)
{
    if (!r->in) return vv_fail(r->err, VV_FILE, "%s: expected an object with '%s', found nothing", r->where, key);
    return vv_json_need(r->in, r->where, key, r->err);
}

vv_status vv_reader_int(const vv_reader *r, const char *key, int64_t lo, int64_t hi, int64_t *v)
{
    if (r->in) VV_TRY(vv_json_int(r->in, r->where, key, lo, hi, v, r->err));
    return vv_reader_put(r, key, json_integer(*v));
}

vv_status vv_reader_real(const vv_reader *r, const char *key, double lo, double hi, double *v)
{
    if (r->in) VV_TRY(vv_json_real(r->in, r->where, key, lo, hi, v, r->err));
    return vv_reader_put(r, key, json_real(*v));
}

vv_status vv_reader_bool(const vv_reader *r, const char *key, int *v)
{
    if (r->in) VV_TRY(vv_json_bool(r->in, r->where, key, v, r->err));
    return vv_reader_put(r, key, json_boolean(*v));
}

/* the place of a word, -1; list [200] becomes all of them, for messages */
static int find(const char *const *words, const char *word, char *list)
{
    *list = 0;
    for (int i = 0; words[i]; i++) {
        if (!strcmp(words[i], word)) return i;
        const size_t n = strlen(list);
        snprintf(list + n, 200 - n, "%s\"%s\"", i ? ", " : "", words[i]);
    }
    return -1;
}

vv_status vv_reader_word(const vv_reader *r, const char *key, const char *const *words, int *v)
{
    const char *word = NULL;
    char list[200];
    if (r->in) VV_TRY(vv_json_string(r->in, r->where, key, &word, r->err));
    const int at = word ? find(words, word, list) : *v;
    if (at < 0) return vv_reader_wrong(r, key, "expected one of %s, found \"%.60s\"", list, word);
    *v = at;
    return vv_reader_put(r, key, json_string(words[at]));
}

char *vv_config_path(const char *folder, const char *path)
{
    return *path == '/' ? vv_strdup(path) : vv_asprintf("%s/%s", folder, path);
}

vv_status vv_reader_text(const vv_reader *r, const char *key, int path, char **v)
{
    const char *text = NULL;
    *v = NULL;
    if (r->in) VV_TRY(vv_json_string(r->in, r->where, key, &text, r->err));
    if (!text) return VV_OK;
    if (!*text) return vv_reader_wrong(r, key, "expected a text, found an empty one");
    if (!(*v = path ? vv_config_path(r->folder, text) : vv_strdup(text))) return vv_no_memory(r->err, r->where);
    return vv_reader_put(r, key, json_string(text));
}

vv_status vv_reader_parts(const vv_reader *r, const char *key, int *v)
{
    const json_t *list = NULL;
    char all[200], found[120];
    const char *names[VV_PARTS + 1] = {NULL};
    for (int k = 0; k < VV_PARTS; k++) names[k] = vv_part_key[k];
    if (r->in) VV_TRY(vv_json_array(r->in, r->where, key, &list, r->err));
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);
        const int k = json_is_string(item) ? find(names, json_string_value(item), all) : -1;
        if (!json_is_string(item)) (void)find(names, "", all);
        if (k < 0)
            return vv_reader_wrong(r, key, "expected one of %s, found %s", all,
                                   vv_json_found(item, found, sizeof found));
        *v |= 1 << k;
    }
    json_t *out = json_array();
    for (int k = 0; k < VV_PARTS; k++)
        if (*v >> k & 1) json_array_append_new(out, json_string(vv_part_key[k]));
    return vv_reader_put(r, key, out);
}
