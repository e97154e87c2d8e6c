#include "golden/manifest.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "golden/record.h"
#include "io/file.h"

enum { MANIFEST_BYTES = 1 << 20 };

/* ---- writing ------------------------------------------------------------------------------------------------------------- */
/* "u1/vision" of every tensor, each once, as they come */
static json_t *tasks_of(const json_t *index)
{
    json_t *list = json_array(), *entry, *had;
    size_t i, k;
    json_array_foreach((json_t *)index, i, entry)
    {
        const char *key = json_string_value(json_object_get(entry, "key")), *slash = key ? strchr(key, '/') : NULL;
        slash = slash ? strchr(slash + 1, '/') : NULL;
        if (!slash) continue;
        json_t *task = json_stringn(key, (size_t)(slash - key));
        int known = 0;
        json_array_foreach(list, k, had) known |= json_equal(had, task);
        if (!known) json_array_append(list, task);
        json_decref(task);
    }
    return list;
}

static vv_status describe(json_t *cases, const char *name, const char *path, vv_error *err)
{
    vv_map map;
    vv_st *st = NULL;
    char sha[65];
    VV_TRY(vv_map_open(&map, path, err));
    vv_sha256(map.data, (size_t)map.bytes, sha);
    const int64_t bytes = map.bytes;
    vv_map_close(&map);
    VV_TRY(vv_st_open(&st, path, err));
    const char *text = vv_st_metadata(st, "case"), *index_text = vv_st_metadata(st, "index");
    json_t *about = text ? json_loads(text, 0, NULL) : NULL,
           *index = index_text ? json_loads(index_text, 0, NULL) : NULL;
    const char *line = json_string_value(json_object_get(about, "about"));
    json_t *entry =
        json_pack("{s:s, s:s, s:s, s:I, s:I, s:o}", "name", name, "about", line ? line : "", "sha256", sha, "bytes",
                  (json_int_t)bytes, "tensors", (json_int_t)vv_st_count(st), "tasks", tasks_of(index));
    vv_status s = VV_OK;
    if (!index) s = vv_fail(err, VV_FILE, "%s: expected a golden file with an index; found none", path);
    else if (json_array_append(cases, entry)) s = vv_no_memory(err, path);
    json_decref(entry);
    json_decref(about);
    json_decref(index);
    vv_st_close(st);
    return s;
}

static char *golden_of(const char *dir, const char *name)
{
    return *name == '.' ? NULL : vv_asprintf("%s/%s/golden.safetensors", dir, name);
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* the names in the folder, sorted; *n of them */
static vv_status names_of(const char *dir, char ***out, int64_t *n, vv_error *err)
{
    DIR *d = opendir(dir);
    if (!d) return vv_fail(err, VV_FILE, "%s: expected a folder of golden files; found none", dir);
    int64_t cap = 0;
    vv_status s = VV_OK;
    for (struct dirent *e = readdir(d); e && s == VV_OK; e = readdir(d)) {
        if (*n == cap) {
            cap = cap ? 2 * cap : 32;
            char **more = realloc(*out, (size_t)cap * sizeof *more);
            if (more) *out = more;
            else s = vv_no_memory(err, dir);
        }
        if (s == VV_OK && !((*out)[*n] = vv_strdup(e->d_name))) s = vv_no_memory(err, dir);
        if (s == VV_OK) ++*n;
    }
    closedir(d);
    if (*n) qsort(*out, (size_t)*n, sizeof **out, by_name);
    return s;
}

vv_status vv_manifest_write(const char *dir, vv_error *err)
{
    char **names = NULL, *path;
    int64_t n = 0;
    json_t *cases = json_array(), *root = json_pack("{s:i, s:O}", "format", VV_GOLDEN_FORMAT, "cases", cases);
    vv_status s = root ? names_of(dir, &names, &n, err) : vv_no_memory(err, dir);
    for (int64_t i = 0; i < n; i++) {
        path = golden_of(dir, names[i]);
        if (s == VV_OK && path && access(path, F_OK) == 0) s = describe(cases, names[i], path, err);
        free(path);
        free(names[i]);
    }
    free(names);
    char *text = s == VV_OK ? vv_json_text(root, JSON_INDENT(1)) : NULL;
    path = vv_path_join(dir, "manifest.json");
    if (s == VV_OK) s = text && path ? vv_out_text(path, text, err) : vv_no_memory(err, dir);
    free(text);
    free(path);
    json_decref(cases);
    json_decref(root);
    return s;
}

/* ---- reading ------------------------------------------------------------------------------------------------------------------ */
vv_status vv_manifest_load(json_t **root, const json_t **cases, const char *dir, vv_error *err)
{
    static const char *const fields[] = {"name", "about", "sha256", "bytes", "tensors", "tasks"};
    char *path = vv_path_join(dir, "manifest.json");
    vv_status s = path ? vv_json_load(root, path, MANIFEST_BYTES, err) : vv_no_memory(err, dir);
    if (s == VV_OK) s = vv_json_need(*root, path, "cases", err);
    if (s == VV_OK) s = vv_json_array(*root, path, "cases", cases, err);
    for (size_t i = 0; s == VV_OK && i < json_array_size(*cases); i++)
        for (size_t k = 0; s == VV_OK && k < sizeof fields / sizeof *fields; k++)
            s = vv_json_need(json_array_get(*cases, i), path, fields[k], err);
    free(path);
    if (s == VV_OK) return VV_OK;
    json_decref(*root);
    *root = NULL;
    return s;
}
