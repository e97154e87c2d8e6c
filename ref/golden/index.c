#include "golden/index.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "golden/record.h"
#include "io/file.h"

static const int64_t INDEX_BYTES = 64 << 20, EXACT_IN_DOUBLE = (int64_t)1 << 53;
static const char *const kinds[] = {"in", "w", "m", "v", "act", "loss", "dact", "dw", "dstep", "alt"};
static const char *const classes[] = {"EXACT", "CHAIN", "DISCRETE"};
static const char *const rules[] = {"", "argmax", "sign", "threshold", "median"};
static const char *const precisions[VV_PRECISIONS] = {"float", "tf32", "bf16", "fp16"};

const char *vv_precision_name(vv_precision p) { return precisions[p]; }

static int which(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(names[i], name)) return (int)i;
    return -1;
}

int vv_precision_parse(const char *name, vv_precision *p)
{
    const int i = which(precisions, VV_PRECISIONS, name);
    if (i >= 0) *p = (vv_precision)i;
    return i >= 0;
}

/* ---- numbers ----------------------------------------------------------------------------------------------------------- */
vv_status vv_entry_doubles(double **out, const char *path, const vv_st_entry *e, vv_error *err)
{
    double *v = vv_calloc(e->n, sizeof *v);
    if (!v) return vv_no_memory(err, e->name);
    vv_status s = VV_OK;
    if (vv_dtype_is_real(e->dtype)) {
        s = vv_entry_read_f64(path, e, v, err);
    } else {
        int64_t *i = vv_calloc(e->n, sizeof *i);
        s = i ? vv_entry_read_i64(path, e, i, err) : vv_no_memory(err, e->name);
        for (int64_t k = 0; s == VV_OK && k < e->n; k++) {
            v[k] = (double)i[k];
            if (i[k] > EXACT_IN_DOUBLE || i[k] < -EXACT_IN_DOUBLE)
                s = vv_fail(err, VV_FILE, "%s: %s: expected whole numbers up to 2^53; found %lld", path, e->name,
                            (long long)i[k]);
        }
        free(i);
    }
    if (s == VV_OK) *out = v;
    else free(v);
    return s;
}

vv_status vv_golden_doubles(double **out, const vv_golden *g, const vv_st_entry *e, vv_error *err)
{
    if (g->digests) {
        const char *want = json_string_value(json_object_get(g->digests, e->name));
        char got[65];
        vv_sha256(e->data, (size_t)e->bytes, got);
        if (!want || strcmp(want, got))
            return vv_fail(err, VV_FILE, "%s: %s: damaged: expected data whose sha256 is %.64s; found %s", g->path,
                           e->name, want ? want : "in its metadata", got);
    }
    return vv_entry_doubles(out, g->path, e, err);
}

/* ---- one entry ----------------------------------------------------------------------------------------------------------- */
/* u<digits>/<task>/<kind>/<name> */
static int split_key(vv_golden_entry *e)
{
    const char *p = e->key;
    if (*p++ != 'u' || *p < '0' || *p > '9') return 0;
    while (*p >= '0' && *p <= '9') p++;
    const char *task = *p == '/' ? strchr(p + 1, '/') : NULL, *kind = task ? strchr(task + 1, '/') : NULL;
    if (!kind || task == p + 1 || !kind[1]) return 0;
    e->task = e->key;
    e->task_n = (int)(task - e->key);
    e->name = kind + 1;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        if (strlen(kinds[k]) == (size_t)(kind - task - 1) && !strncmp(kinds[k], task + 1, (size_t)(kind - task - 1))) {
            e->kind = (vv_golden_kind)k;
            return 1;
        }
    return 0;
}

static vv_status read_bands(vv_golden_entry *e, const char *where, const char *field, int local, vv_error *err)
{
    const json_t *bands = NULL;
    VV_TRY(vv_json_object(e->item, where, field, &bands, err));
    const char *name;
    json_t *pair;
    json_object_foreach((json_t *)bands, name, pair)
    {
        const int p = which(precisions, VV_PRECISIONS, name);
        const json_t *lo = json_array_get(pair, 0), *hi = json_array_get(pair, 1);
        vv_band *b = &e->band[local][p > 0 ? p : 0];
        if (p <= 0)
            return vv_fail(err, VV_FILE, "%s: %s: expected tf32, bf16 or fp16; found \"%.40s\"", where, field, name);
        *b = (vv_band){json_number_value(lo), json_number_value(hi)};
        if (json_array_size(pair) != 2 || !json_is_number(lo) || !json_is_number(hi) || b->lo < 0 || b->hi < b->lo)
            return vv_fail(err, VV_FILE, "%s: %s: %s: expected [lo, hi] with 0 <= lo <= hi", where, field, name);
    }
    return VV_OK;
}

static vv_status read_alternatives(vv_golden_entry *e, const vv_st *st, const char *where, vv_error *err)
{
    VV_TRY(vv_json_array(e->item, where, "alternatives", &e->alternatives, err));
    size_t i;
    json_t *key;
    json_array_foreach((json_t *)e->alternatives, i, key)
    {
        const vv_st_entry *a = json_is_string(key) ? vv_st_find(st, json_string_value(key)) : NULL;
        if (!a || a->n != e->at->n)
            return vv_fail(err, VV_FILE,
                           "%s: alternatives[%d]: expected the key of a tensor of %lld numbers in the file", where,
                           (int)i, (long long)e->at->n);
    }
    return VV_OK;
}

static vv_status read_sample(vv_golden_entry *e, const char *where, vv_error *err)
{
    const json_t *shape = NULL;
    e->ndim = e->at->ndim;
    e->n = e->at->n;
    memcpy(e->shape, e->at->shape, sizeof e->shape);
    VV_TRY(vv_json_int(e->item, where, "sample", VV_SAMPLES, VV_SAMPLES, &e->sample, err));
    if (!e->sample) return VV_OK;
    VV_TRY(vv_json_need(e->item, where, "shape", err));
    VV_TRY(vv_json_array(e->item, where, "shape", &shape, err));
    VV_TRY(vv_json_need(e->item, where, "rms", err));
    VV_TRY(vv_json_real(e->item, where, "rms", 0, HUGE_VAL, &e->rms, err));
    const size_t ndim = json_array_size(shape);
    e->n = 1;
    for (size_t i = 0; i < ndim && i < VV_ST_MAXDIM; i++) {
        const json_t *d = json_array_get(shape, i);
        e->shape[i] = json_integer_value(d);
        e->n = json_is_integer(d) ? vv_mul(e->n, e->shape[i]) : -1;
    }
    e->ndim = (int)ndim;
    if (ndim > VV_ST_MAXDIM || e->n < e->sample || e->at->n != e->sample)
        return vv_fail(err, VV_FILE, "%s: sample: expected %d of at least so many elements of \"shape\"; found %lld",
                       where, (int)VV_SAMPLES, (long long)e->at->n);
    return VV_OK;
}

static vv_status read_decision(vv_golden_entry *e, const vv_st *st, const char *where, vv_error *err)
{
    const char *rule = NULL;
    VV_TRY(vv_json_string(e->item, where, "of", &e->of, err));
    VV_TRY(vv_json_string(e->item, where, "rule", &rule, err));
    VV_TRY(vv_json_real(e->item, where, "threshold", -HUGE_VAL, HUGE_VAL, &e->threshold, err));
    const int r = rule ? which(rules, sizeof rules / sizeof *rules, rule) : 0;
    if (r < 0 || (rule && !*rule))
        return vv_fail(err, VV_FILE, "%s: rule: expected argmax, sign, threshold or median; found \"%.40s\"", where,
                       rule);
    e->rule = (vv_rule)r;
    if ((e->of != NULL) != (r > 0) || (e->of && e->class != VV_DISCRETE))
        return vv_fail(err, VV_FILE, "%s: expected \"of\" and \"rule\" together, in class DISCRETE", where);
    const vv_st_entry *of = e->of ? vv_st_find(st, e->of) : NULL;
    if (e->of && !of) return vv_fail(err, VV_FILE, "%s: of: %s is not in the file", where, e->of);
    const int by_element = e->rule == VV_RULE_SIGN || e->rule == VV_RULE_THRESHOLD;
    if (of && e->at->n > 0 && (by_element ? of->n != e->at->n : of->n == 0 || of->n % e->at->n))
        return vv_fail(err, VV_FILE, "%s: of: expected a tensor that decides %lld elements; found one of %lld numbers",
                       where, (long long)e->at->n, (long long)of->n);
    return VV_OK;
}

static vv_status read_fields(vv_golden_entry *e, const vv_st *st, const char *where, vv_error *err)
{
    static const char *const keys[] = {
        "key",       "class",        "required",    "output", "floor", "local", "bands", "scale",  "of",    "rule",
        "threshold", "alternatives", "local_bands", "sample", "shape", "rms",   "max",   "sha256", "bound", NULL};
    const char *class = "CHAIN";
    VV_TRY(vv_json_only(e->item, where, keys, err));
    VV_TRY(vv_json_string(e->item, where, "class", &class, err));
    const int c = which(classes, 3, class);
    if (c < 0)
        return vv_fail(err, VV_FILE, "%s: class: expected \"EXACT\", \"CHAIN\" or \"DISCRETE\"; found \"%.40s\"", where,
                       class);
    e->class = (vv_golden_class)c;
    VV_TRY(vv_json_bool(e->item, where, "required", &e->required, err));
    VV_TRY(vv_json_bool(e->item, where, "output", &e->output, err));
    VV_TRY(vv_json_real(e->item, where, "floor", 0, HUGE_VAL, &e->band[0][VV_AS_FLOAT].hi, err));
    VV_TRY(vv_json_real(e->item, where, "local", 0, HUGE_VAL, &e->band[1][VV_AS_FLOAT].hi, err));
    VV_TRY(vv_json_real(e->item, where, "scale", 0, HUGE_VAL, &e->scale, err));
    VV_TRY(vv_json_real(e->item, where, "bound", 0, HUGE_VAL, &e->bound, err));
    VV_TRY(read_bands(e, where, "bands", 0, err));
    VV_TRY(read_bands(e, where, "local_bands", 1, err));
    if (!(e->at = vv_st_find(st, e->key))) return vv_fail(err, VV_FILE, "%s: is not in the file", where);
    VV_TRY(read_decision(e, st, where, err));
    VV_TRY(read_alternatives(e, st, where, err));
    return read_sample(e, where, err);
}

static vv_status read_entry(vv_golden *g, vv_golden_entry *e, json_t *item, vv_error *err)
{
    *e = (vv_golden_entry){.item = item, .required = 1, .kind = VV_KIND_OTHER};
    VV_TRY(vv_json_need(item, g->path, "key", err));
    VV_TRY(vv_json_string(item, g->path, "key", &e->key, err));
    e->name = e->task = e->key;
    if (!split_key(e) && !g->plain)
        return vv_fail(err, VV_FILE, "%s: index: expected a key u<update>/<task>/<kind>/<name>; found \"%.80s\"",
                       g->path, e->key);
    char *where = vv_asprintf("%s: index: %s", g->path, e->key);
    if (!where) return vv_no_memory(err, g->path);
    const vv_status s = read_fields(e, g->st, where, err);
    free(where);
    return s;
}

/* ---- the file ------------------------------------------------------------------------------------------------------------ */
/* JSON text of the metadata; *out NULL where there is none */
static vv_status metadata_json(json_t **out, const vv_st *st, const char *field, vv_error *err)
{
    const char *text = vv_st_metadata(st, field);
    *out = NULL;
    if (!text) return VV_OK;
    errno = 0;
    *out = strlen(text) < (size_t)INDEX_BYTES ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : NULL;
    if (*out && errno != ENOMEM) return VV_OK;
    json_decref(*out);
    *out = NULL;
    if (errno == ENOMEM) return vv_no_memory(err, vv_st_path(st));
    return vv_fail(err, VV_FILE, "%s: __metadata__.%s: expected JSON", vv_st_path(st), field);
}

static vv_status check_format(vv_golden *g, vv_error *err)
{
    const char *format = vv_st_metadata(g->st, "versavit_golden");
    char want[16];
    snprintf(want, sizeof want, "%d", VV_GOLDEN_FORMAT);
    g->plain = !format;
    if (format && strcmp(format, want))
        return vv_fail(
            err, VV_FILE,
            "%s: versavit_golden: expected format %s; found \"%.20s\"; make the file anew (versavit golden make)",
            g->path, want, format);
    return VV_OK;
}

static vv_status load_index(vv_golden *g, vv_error *err)
{
    VV_TRY(metadata_json(&g->index, g->st, "index", err));
    if (!g->index && !g->plain)
        return vv_fail(err, VV_FILE, "%s: __metadata__.index: expected a JSON list; found none", g->path);
    if (!g->index && !(g->index = json_array())) return vv_no_memory(err, g->path);
    if (!json_is_array(g->index)) return vv_fail(err, VV_FILE, "%s: __metadata__.index: expected a JSON list", g->path);
    if (!vv_st_metadata(g->st, "index"))
        for (int64_t i = 0; i < vv_st_count(g->st); i++)
            if (json_array_append_new(g->index, json_pack("{s:s}", "key", vv_st_at(g->st, i)->name)))
                return vv_no_memory(err, g->path);
    g->n = (int64_t)json_array_size(g->index);
    if (!(g->entry = vv_calloc(g->n, sizeof *g->entry))) return vv_no_memory(err, g->path);
    for (int64_t i = 0; i < g->n; i++) {
        VV_TRY(read_entry(g, &g->entry[i], json_array_get(g->index, (size_t)i), err));
        if (vv_golden_find(g, g->entry[i].key) != &g->entry[i])
            return vv_fail(err, VV_FILE, "%s: index: %s: expected once; found twice", g->path, g->entry[i].key);
    }
    return VV_OK;
}

char *vv_golden_file(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode) ? vv_path_join(path, "golden.safetensors") : vv_strdup(path);
}

static vv_status open_weights(vv_golden *g, vv_error *err)
{
    const char *slash = strrchr(g->path, '/');
    char *path =
        slash ? vv_asprintf("%.*s/model.safetensors", (int)(slash - g->path), g->path) : vv_strdup("model.safetensors");
    struct stat st;
    if (!path) return vv_no_memory(err, g->path);
    const vv_status s = !g->plain && !stat(path, &st) ? vv_st_open(&g->weights, path, err) : VV_OK;
    free(path);
    return s;
}

static vv_status load(vv_golden *g, const char *path, vv_error *err)
{
    if (!(g->path = vv_golden_file(path))) return vv_no_memory(err, path);
    VV_TRY(vv_st_open(&g->st, g->path, err));
    VV_TRY(check_format(g, err));
    VV_TRY(load_index(g, err));
    if (!g->plain) {
        VV_TRY(metadata_json(&g->cases, g->st, "case", err));
        VV_TRY(metadata_json(&g->config, g->st, "config", err));
        VV_TRY(metadata_json(&g->digests, g->st, "sha256", err));
    }
    return open_weights(g, err);
}

vv_status vv_golden_open(vv_golden *g, const char *path, vv_error *err)
{
    *g = (vv_golden){0};
    const vv_status s = load(g, path, err);
    if (s != VV_OK) vv_golden_close(g);
    return s;
}

void vv_golden_close(vv_golden *g)
{
    json_decref(g->index);
    json_decref(g->config);
    json_decref(g->cases);
    json_decref(g->digests);
    free(g->entry);
    free(g->path);
    vv_st_close(g->st);
    vv_st_close(g->weights);
    *g = (vv_golden){0};
}

const vv_golden_entry *vv_golden_find(const vv_golden *g, const char *key)
{
    for (int64_t i = 0; i < g->n; i++)
        if (g->entry[i].key && !strcmp(g->entry[i].key, key)) return &g->entry[i];
    return NULL;
}

const vv_st_entry *vv_golden_weight(const vv_golden *g, const vv_golden_entry *near, const char *name)
{
    char key[512];
    snprintf(key, sizeof key, "%.*s/w/%s", near->task_n, near->task, name);
    const vv_st_entry *e = vv_st_find(g->st, key);
    for (int64_t i = 0; !e && i < g->n; i++)
        if (g->entry[i].kind == VV_KIND_W && !strcmp(g->entry[i].name, name)) e = g->entry[i].at;
    if (!e && g->weights) e = vv_st_find(g->weights, name);
    if (!e && g->weights) {
        snprintf(key, sizeof key, "model.%s", name);
        e = vv_st_find(g->weights, key);
    }
    return e;
}

/* ---- token order ----------------------------------------------------------------------------------------------------------- */
/* "spatial_merge_size" anywhere in the configuration */
static int64_t merge_size(const json_t *config)
{
    const json_t *own = json_object_get(config, "spatial_merge_size");
    if (json_is_integer(own)) return json_integer_value(own);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)config, key, value)
    {
        const int64_t m = json_is_object(value) ? merge_size(value) : 0;
        if (m > 0) return m;
    }
    return 0;
}

/* tokens of one picture, appended */
static int64_t walk(int64_t *order, int64_t at, const int64_t thw[3], int64_t m)
{
    const int64_t first = at, h = thw[1], w = thw[2];
    for (int64_t t = 0; t < thw[0]; t++)
        for (int64_t y = 0; y < h; y += m)
            for (int64_t x = 0; x < w; x += m)
                for (int64_t i = 0; i < m * m; i++) order[at++] = first + (t * h + y + i / m) * w + x + i % m;
    return at;
}

vv_status vv_golden_raster(int64_t **order, const vv_golden *g, int64_t rows, vv_error *err)
{
    int64_t m = merge_size(g->config);
    *order = NULL;
    if (m < 1) m = 2;
    for (int64_t k = 0; k < g->n; k++) {
        const vv_golden_entry *e = &g->entry[k];
        double *thw = NULL;
        int64_t tokens = 0;
        if (e->kind != VV_KIND_IN || strcmp(e->name, "grid_thw") || e->n % 3) continue;
        VV_TRY(vv_entry_doubles(&thw, g->path, e->at, err));
        int fits = 1;
        for (int64_t i = 0; i < e->n; i += 3) {
            for (int j = 0; j < 3; j++)
                fits &= thw[i + j] >= 1 && thw[i + j] < 1 << 20 && (j == 0 || !((int64_t)thw[i + j] % m));
            if (fits) tokens = vv_min((int64_t)1 << 50, tokens + (int64_t)(thw[i] * thw[i + 1] * thw[i + 2]));
        }
        if (fits && tokens == rows) {
            int64_t at = 0;
            if (!(*order = vv_calloc(rows, sizeof **order))) (void)vv_no_memory(err, e->key);
            for (int64_t i = 0; *order && i < e->n; i += 3)
                at = walk(*order, at, (int64_t[3]){(int64_t)thw[i], (int64_t)thw[i + 1], (int64_t)thw[i + 2]}, m);
            free(thw);
            return *order ? VV_OK : VV_MEMORY;
        }
        free(thw);
    }
    return VV_OK;
}
