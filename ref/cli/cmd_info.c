#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/json.h"
#include "cli/cli.h"
#include "model/versavit.h"

static const cli_usage usage = {
    "info FILE|DIR|NAME [--json] [--tensors]",
    "Tensors, shapes and parameter counts by module.",
    "FILE is a .safetensors file or a run configuration (.json); DIR a Hugging Face folder; NAME one of data/configs.\n"
    "Counts are given in units of 2^20 too, because Table 13 of the paper is: the paper configuration shows its 644.5.",
    "versavit info paper\n  versavit info model --tensors",
    1,
    1};

typedef struct {
    const char *name;
    char shape[200];
    const char *dtype;
    int64_t n;
} row;

typedef struct {
    row *at;
    int64_t n;
} table;

static vv_status from_model(table *t, const vv_model *m, vv_error *err)
{
    if (!(t->at = vv_calloc(m->params->n, sizeof *t->at))) return vv_no_memory(err, "table");
    for (; t->n < m->params->n; t->n++) {
        const vv_tensor *x = m->params->at[t->n];
        row *r = &t->at[t->n];
        *r = (row){.name = vv_strdup(x->name), .dtype = "-", .n = x->n};
        vv_shape_text(x->dim, x->ndim, r->shape, sizeof r->shape);
    }
    return VV_OK;
}

static vv_status from_weights(table *t, const char *path, vv_error *err)
{
    vv_weights *w = NULL;
    VV_TRY(vv_weights_open(&w, path, err));
    t->at = vv_calloc(vv_weights_count(w), sizeof *t->at);
    for (; t->at && t->n < vv_weights_count(w); t->n++) {
        const vv_st_entry *e = vv_weights_at(w, t->n, NULL);
        row *r = &t->at[t->n];
        *r = (row){.name = vv_strdup(e->name), .dtype = vv_dtype_name(e->dtype), .n = e->n};
        vv_shape_text(e->shape, e->ndim, r->shape, sizeof r->shape);
    }
    vv_weights_close(w);
    return t->at ? VV_OK : vv_no_memory(err, path);
}

static vv_status load(table *t, const char *what, vv_error *err)
{
    struct stat st;
    const size_t n = strlen(what);
    const int json = n > 5 && !strcmp(what + n - 5, ".json");
    if (stat(what, &st) == 0 && !json) /* a folder, or a file of tensors whatever its name */
        return from_weights(t, what, err);
    char *path = cli_data_file("configs", what);
    vv_model m = {0};
    vv_status s = path ? vv_model_from_config(&m, path, VV_ALL_PARTS | VV_SHAPES_ONLY, err) : vv_no_memory(err, what);
    if (s == VV_OK) s = from_model(t, &m, err);
    vv_model_free(&m);
    free(path);
    return s;
}

/* the length of the part's name: "visual" of "visual.blocks.3.attn.qkv.weight"; a recording's is "u1/vision/act" */
static int part_length(const char *name)
{
    const char *slash = strrchr(name, '/');
    return slash ? (int)(slash - name) : (int)strcspn(name, ".");
}

/* of "visual.blocks", for the parts that are worth a second look */
static int module_length(const char *name)
{
    static const char *const deep[] = {"visual.", "model.", "mask_head."};
    for (size_t i = 0; i < sizeof deep / sizeof *deep && !strchr(name, '/'); i++) {
        const size_t n = strlen(deep[i]);
        if (!strncmp(name, deep[i], n)) return (int)(n + strcspn(name + n, "."));
    }
    return part_length(name);
}

typedef struct {
    const char *name;
    int length;
    int64_t n, tensors;
} module;

static int64_t group(const table *t, module *out)
{
    int64_t n = 0;
    for (int64_t i = 0; i < t->n; i++) {
        const int length = module_length(t->at[i].name);
        int64_t k = 0;
        while (k < n && (out[k].length != length || strncmp(out[k].name, t->at[i].name, (size_t)length))) k++;
        if (k == n) out[n++] = (module){t->at[i].name, length, 0, 0};
        out[k].n += t->at[i].n;
        out[k].tensors++;
    }
    return n;
}

static vv_status print_json(const table *t, const module *m, int64_t modules, int64_t total, vv_error *err)
{
    json_t *list = json_array(), *by = json_object();
    int ok = list && by;
    for (int64_t i = 0; ok && i < t->n; i++)
        ok = !json_array_append_new(list,
                                    json_pack("{s:s, s:s, s:s, s:I}", "name", t->at[i].name, "dtype", t->at[i].dtype,
                                              "shape", t->at[i].shape, "count", (json_int_t)t->at[i].n));
    for (int64_t k = 0; ok && k < modules; k++) {
        char *name = vv_asprintf("%.*s", m[k].length, m[k].name);
        ok = name && !json_object_set_new(by, name, json_integer((json_int_t)m[k].n));
        free(name);
    }
    json_t *root = json_pack("{s:I, s:O, s:O}", "parameters", (json_int_t)total, "modules", by, "tensors", list);
    char *text = ok && root ? vv_json_text(root, JSON_INDENT(1)) : NULL;
    ok = text != NULL;
    if (ok) puts(text);
    free(text);
    json_decref(root);
    json_decref(list);
    json_decref(by);
    return ok ? VV_OK : vv_no_memory(err, "json");
}

static void print_row(const char *indent, int length, const char *name, int64_t tensors, int64_t n)
{
    printf("%s%-*.*s %8lld %14lld %10.3f %10.3f\n", indent, 40 - (int)strlen(indent), length, name, (long long)tensors,
           (long long)n, (double)n / 1e6, ldexp((double)n, -20));
}

/* each part with its sum, where it has several modules, and these below it */
static void print_modules(const module *m, int64_t modules)
{
    for (int64_t k = 0, end; k < modules; k = end) {
        const int length = part_length(m[k].name);
        module part = {m[k].name, length, 0, 0};
        for (end = k;
             end < modules && part_length(m[end].name) == length && !strncmp(m[end].name, m[k].name, (size_t)length);
             end++) {
            part.n += m[end].n;
            part.tensors += m[end].tensors;
        }
        if (end > k + 1) print_row("", length, part.name, part.tensors, part.n);
        for (int64_t i = k; i < end; i++)
            print_row(end > k + 1 ? "  " : "", m[i].length, m[i].name, m[i].tensors, m[i].n);
    }
}

static vv_status print(const table *t, int json, int tensors, vv_error *err)
{
    module *m = vv_calloc(t->n + 1, sizeof *m);
    if (!m) return vv_no_memory(err, "table");
    const int64_t modules = group(t, m);
    int64_t total = 0;
    for (int64_t i = 0; i < t->n; i++) total += t->at[i].n;
    vv_status s = VV_OK;
    if (json) {
        s = print_json(t, m, modules, total, err);
    } else {
        for (int64_t i = 0; tensors && i < t->n; i++)
            printf("%-48s %-5s %-20s %12lld\n", t->at[i].name, t->at[i].dtype, t->at[i].shape, (long long)t->at[i].n);
        printf("%-40s %8s %14s %10s %10s\n", "module", "tensors", "parameters", "/ 10^6", "/ 2^20");
        print_modules(m, modules);
        print_row("", 5, "total", t->n, total);
    }
    free(m);
    return s;
}

int cmd_info(int argc, char **argv)
{
    int json = 0, tensors = 0;
    const cli_option options[] = {{"json", 'j', NULL, "everything as JSON", NULL, NULL, NULL, &json},
                                  {"tensors", 't', NULL, "list every tensor", NULL, NULL, NULL, &tensors},
                                  {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    table t = {0};
    vv_status s = load(&t, args[0], &err);
    for (int64_t i = 0; s == VV_OK && i < t.n; i++)
        if (!t.at[i].name) s = vv_no_memory(&err, args[0]);
    if (s == VV_OK) s = print(&t, json, tensors, &err);
    for (int64_t i = 0; i < t.n; i++) free((char *)t.at[i].name);
    free(t.at);
    return cli_end(s, &err);
}
