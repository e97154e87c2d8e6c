/* A manifest as text and as lines; the images and names that all tasks share. The tasks' own parts are in manifest_*.c. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset_parts.h"
#include "io/file.h"

/* ---- the text, cut into samples ---------------------------------------------------------------------------------- */

void vv_manifest_free(vv_manifest *m)
{
    free(m->path);
    free(m->folder);
    free(m->text);
    free(m->item);
    *m = (vv_manifest){0};
}

static int is_blank(int c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

static vv_status add_item(vv_manifest *m, const char *text, int64_t line, vv_error *err)
{
    if ((m->n & (m->n - 1)) == 0) { /* full at every power of two */
        const int64_t room = m->n ? 2 * m->n : 1, bytes = vv_mul(room, sizeof *m->item);
        void *more = bytes < 0 ? NULL : realloc(m->item, (size_t)bytes);
        if (!more) return vv_no_memory(err, m->path);
        m->item = more;
    }
    m->item[m->n].text = text;
    m->item[m->n++].line = line;
    return VV_OK;
}

/* Each line that is not blank is a sample. */
static vv_status cut_lines(vv_manifest *m, vv_error *err)
{
    char *next = m->text;
    for (int64_t line = 1; next; line++) {
        char *p = next, *end = strchr(p, '\n');
        if (end) *end = 0;
        next = end ? end + 1 : NULL;
        while (is_blank(*p)) p++;
        if (*p) VV_TRY(add_item(m, p, line, err));
    }
    return VV_OK;
}

/* The end of the element at p: the ',' or ']' behind it, or the end of the text. Elements need not be right: they are parsed
 * later, each by itself. */
static char *element_end(char *p, int64_t *line)
{
    int64_t depth = 0;
    for (int quoted = 0; *p; p++) {
        *line += *p == '\n';
        if (quoted) {
            if (*p == '\\' && p[1]) p++;
            else quoted = *p != '"';
        } else if (*p == '"') quoted = 1;
        else if (*p == '{' || *p == '[') depth++;
        else if (depth == 0 && (*p == ',' || *p == ']')) break;
        else if (*p == '}' || *p == ']') depth--;
    }
    return p;
}

static char *skip_blanks(char *p, int64_t *line)
{
    for (; is_blank(*p); p++) *line += *p == '\n';
    return p;
}

/* The elements of one JSON list. */
static vv_status cut_list(vv_manifest *m, vv_error *err)
{
    int64_t line = 1;
    char *p = skip_blanks(m->text, &line);
    if (*p != '[')
        return vv_fail(err, VV_FILE, "%s:%lld: expected a list [ ] of samples (a file of lines is called .jsonl)",
                       m->path, (long long)line);
    for (char last = ','; last == ',';) {
        p = skip_blanks(p + 1, &line);
        if (*p == ']' && m->n == 0) break;
        VV_TRY(add_item(m, p, line, err));
        p = element_end(p, &line);
        last = *p;
        if (!last) return vv_fail(err, VV_FILE, "%s:%lld: expected the list to end with ]", m->path, (long long)line);
        *p = 0;
    }
    p = skip_blanks(p + 1, &line);
    if (*p) return vv_fail(err, VV_FILE, "%s:%lld: expected nothing behind the list", m->path, (long long)line);
    return VV_OK;
}

static vv_status cut(vv_manifest *m, const char *text, int64_t n, vv_error *err)
{
    const char *nul = n ? memchr(text, 0, (size_t)n) : NULL, *slash = strrchr(m->path, '/');
    const size_t length = strlen(m->path);
    m->folder = vv_strdup(slash ? m->path : "");
    m->text = malloc((size_t)n + 1);
    if (!m->folder || !m->text) return vv_no_memory(err, m->path);
    if (slash) m->folder[slash - m->path + 1] = 0;
    if (nul)
        return vv_fail(err, VV_FILE, "%s: expected text, found a NUL at byte %lld", m->path, (long long)(nul - text));
    memcpy(m->text, text, (size_t)n);
    m->text[n] = 0;
    VV_TRY(length >= 5 && !strcmp(m->path + length - 5, ".json") ? cut_list(m, err) : cut_lines(m, err));
    return m->n ? VV_OK : vv_fail(err, VV_FILE, "%s: expected at least one sample, found none", m->path);
}

vv_status vv_manifest_parse(vv_manifest *m, const char *text, int64_t n, const char *path, vv_task task, vv_error *err)
{
    *m = (vv_manifest){.task = task, .path = vv_strdup(path)};
    const vv_status s = m->path ? cut(m, text, n, err) : vv_no_memory(err, path);
    if (s != VV_OK) vv_manifest_free(m);
    return s;
}

vv_status vv_manifest_open(vv_manifest *m, const char *path, vv_task task, vv_error *err)
{
    vv_map map;
    *m = (vv_manifest){0};
    VV_TRY(vv_map_open(&map, path, err));
    const vv_status s = vv_manifest_parse(m, (const char *)map.data, map.bytes, path, task, err);
    vv_map_close(&map);
    return s;
}

/* ---- places and files -------------------------------------------------------------------------------------------- */

const char *vv_manifest_place(const vv_manifest *m, int64_t i, char buf[VV_PLACE])
{
    enum { ROOM = VV_PLACE - 24 }; /* of a longer path, the end */
    const size_t n = strlen(m->path);
    snprintf(buf, VV_PLACE, "%s:%lld", n > ROOM ? m->path + n - ROOM : m->path, (long long)m->item[i].line);
    return buf;
}

char *vv_manifest_file(const vv_manifest *m, const char *name)
{
    return vv_path_join(name[0] == '/' ? "" : m->folder, name);
}

vv_status vv_at_place(const char *place, vv_status s, const vv_error *why, vv_error *err)
{
    return s == VV_OK ? VV_OK : vv_fail(err, s, "%s: %s", place, why->msg);
}

/* ---- samples ----------------------------------------------------------------------------------------------------- */

static const char *const keys[VV_TASKS][10] = {
    {"id", "image", "conversations", "type", NULL},
    {"id", "image", "depth", "kind", "valid", "classes", NULL},
    {"id", "image", "instances", "text", "mask", NULL},
};

static vv_status find_unknown(const vv_manifest *m, const json_t *o, char **unknown, vv_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)o, key, value)
    {
        const char *const *k = keys[m->task];
        while (*k && strcmp(*k, key)) k++;
        if (!*k) return (*unknown = vv_strdup(key)) ? VV_OK : vv_no_memory(err, m->path);
    }
    return VV_OK;
}

static vv_status parse(const vv_manifest *m, int64_t i, json_t **o, char place[VV_PLACE], vv_error *err)
{
    vv_manifest_place(m, i, place);
    return vv_json_parse(o, m->item[i].text, strlen(m->item[i].text), place, err);
}

vv_status vv_manifest_check(const vv_manifest *m, int64_t i, char **unknown, vv_error *err)
{
    char place[VV_PLACE];
    json_t *o;
    *unknown = NULL;
    VV_TRY(parse(m, i, &o, place, err));
    vv_status s = m->task == VV_TASK_CAPTION ? vv_caption_check(o, place, err)
                  : m->task == VV_TASK_DEPTH ? vv_depth_check(o, place, err)
                                             : vv_segmentation_check(o, place, err);
    if (s == VV_OK) s = find_unknown(m, o, unknown, err);
    json_decref(o);
    return s;
}

static vv_status read_image(const vv_manifest *m, const json_t *o, const char *place, vv_image *out, vv_error *err)
{
    const char *name = json_string_value(json_object_get(o, "image"));
    vv_error why = {0};
    if (!name) return VV_OK;
    char *path = vv_manifest_file(m, name);
    const vv_status s = path ? vv_image_read(out, path, &why) : vv_no_memory(&why, name);
    free(path);
    return vv_at_place(place, s, &why, err);
}

vv_status vv_manifest_read(const vv_manifest *m, int64_t i, vv_sample *out, vv_notes *notes, vv_error *err)
{
    char place[VV_PLACE];
    json_t *o;
    *out = (vv_sample){0};
    VV_TRY(parse(m, i, &o, place, err));
    out->name = vv_strdup(place);
    vv_status s = out->name ? read_image(m, o, place, &out->image, err) : vv_no_memory(err, place);
    if (s == VV_OK)
        s = m->task == VV_TASK_CAPTION ? vv_caption_read(o, place, out, err)
            : m->task == VV_TASK_DEPTH ? vv_depth_read(m, o, place, out, notes, err)
                                       : vv_segmentation_read(m, o, place, out, notes, err);
    json_decref(o);
    if (s != VV_OK) vv_sample_free(out);
    return s;
}
