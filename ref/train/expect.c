/* A log against bands that it should stay in. */
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "train/log.h"

static const char *const values[] = {"caption", "depth", "segmentation", "total",     "ssi",
                                     "gm",      "bce",   "dice",         "grad_norm", NULL};

static const json_t *value_of(const json_t *line, const char *name)
{
    static const char *const places[] = {"loss", "parts"};
    for (int k = 0; k < 2; k++) {
        const json_t *v = json_object_get(json_object_get(line, places[k]), name);
        if (v) return v;
    }
    return json_object_get(line, name);
}

/* the last line of that update of the stage; NULL when there is none */
static json_t *find_update(const vv_map *log, const char *stage, int64_t update)
{
    const char *p = (const char *)log->data, *end = p + log->bytes;
    json_t *found = NULL;
    while (p < end) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        json_t *line = json_loadb(p, stop ? (size_t)(stop - p) : (size_t)(end - p), 0, NULL);
        const char *kind = json_string_value(json_object_get(line, "kind")),
                   *of = json_string_value(json_object_get(line, "stage"));
        if (kind && of && !strcmp(kind, "update") && !strcmp(of, stage) &&
            json_integer_value(json_object_get(line, "update")) == update) {
            json_decref(found);
            found = json_incref(line);
        }
        json_decref(line);
        p = stop ? stop + 1 : end;
    }
    return found;
}

typedef struct {
    const vv_map *log;
    const char *bands, *stage, *name;
} place;

static vv_status check(const place *at, const char *update, const json_t *band, vv_error *err)
{
    char *end;
    const long long u = strtoll(update, &end, 10);
    const json_t *lo = json_array_get(band, 0), *hi = json_array_get(band, 1);
    if (*end || u < 1 || json_array_size(band) != 2 || !json_is_number(lo) || !json_is_number(hi))
        return vv_fail(err, VV_FILE, "%s: %s.%s.%s: expected an update from 1 on and two numbers [lo, hi]", at->bands,
                       at->stage, at->name, update);
    json_t *line = find_update(at->log, at->stage, u);
    const json_t *v = value_of(line, at->name);
    const double x = json_number_value(v), a = json_number_value(lo), b = json_number_value(hi);
    vv_status s = VV_OK;
    if (!v)
        s = vv_fail(err, VV_DIFFERS, "%s: %s at update %lld: expected %g to %g; the log has no such value", at->stage,
                    at->name, u, a, b);
    else if (!(x >= a && x <= b))
        s = vv_fail(err, VV_DIFFERS, "%s: %s at update %lld: expected %g to %g; found %g", at->stage, at->name, u, a, b,
                    x);
    json_decref(line);
    return s;
}

static vv_status check_stage(place at, const json_t *of, vv_error *err)
{
    const char *name, *update;
    json_t *curve, *band;
    char where[300];
    snprintf(where, sizeof where, "%.200s: %.90s", at.bands, at.stage);
    VV_TRY(vv_json_only(of, where, values, err));
    json_object_foreach((json_t *)of, name, curve)
    {
        const json_t *o = NULL;
        VV_TRY(vv_json_object(of, where, name, &o, err));
        at.name = name;
        json_object_foreach(curve, update, band) VV_TRY(check(&at, update, band, err));
    }
    return VV_OK;
}

vv_status vv_expect_bands(const char *folder, const char *bands, vv_error *err)
{
    json_t *root = NULL, *of;
    vv_map log = {0};
    const char *stage;
    VV_TRY(vv_json_load(&root, bands, 16 << 20, err));
    char *path = vv_path_join(folder, "log.jsonl");
    vv_status s = path ? vv_map_open(&log, path, err) : vv_no_memory(err, folder);
    json_object_foreach(root, stage, of)
    {
        if (s == VV_OK && strcmp(stage, "comment")) s = check_stage((place){&log, bands, stage, NULL}, of, err);
    }
    vv_map_close(&log);
    free(path);
    json_decref(root);
    return s;
}
