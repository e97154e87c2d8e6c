/* OUT/log.jsonl as numbers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "eval/report_parts.h"
#include "io/file.h"
#include "io/lines.h"

void vv_run_log_free(vv_run_log *l)
{
    for (int64_t i = 0; i < l->n; i++) {
        free(l->stage[i].name);
        free(l->stage[i].row);
        json_decref(l->stage[i].gradients);
    }
    free(l->stage);
    *l = (vv_run_log){0};
}

static vv_status find_stage(vv_run_log *l, const char *name, vv_log_stage **out, vv_error *err)
{
    for (int64_t i = 0; i < l->n; i++)
        if (!strcmp(l->stage[i].name, name)) {
            *out = &l->stage[i];
            return VV_OK;
        }
    vv_log_stage *more = realloc(l->stage, (size_t)(l->n + 1) * sizeof *more);
    if (!more) return vv_no_memory(err, "log.jsonl");
    l->stage = more;
    *out = &l->stage[l->n];
    **out = (vv_log_stage){.name = vv_strdup(name), .gradients = json_array()};
    l->n++;
    return (*out)->name && (*out)->gradients ? VV_OK : vv_no_memory(err, "log.jsonl");
}

static vv_status new_row(vv_log_stage *s, double **row, vv_error *err)
{
    if (s->n == s->cap) {
        const int64_t cap = vv_max(64, 2 * s->cap);
        double *more = realloc(s->row, (size_t)cap * VV_COLUMNS * sizeof *more);
        if (!more) return vv_no_memory(err, "log.jsonl");
        s->row = more;
        s->cap = cap;
    }
    *row = s->row + s->n++ * VV_COLUMNS;
    for (int k = 0; k < VV_COLUMNS; k++) (*row)[k] = NAN;
    return VV_OK;
}

/* names [n] of the object at key into columns from `first` on; the object may be absent */
static vv_status take(double *row, const json_t *line, const char *where, const char *key, const char *const *names,
                      int64_t n, int first, vv_error *err)
{
    const json_t *object = NULL;
    VV_TRY(vv_json_object(line, where, key, &object, err));
    for (int64_t k = 0; object && k < n; k++)
        VV_TRY(vv_json_real(object, where, names[k], -1e300, 1e300, &row[first + k], err));
    return VV_OK;
}

static vv_status add_update(vv_log_stage *s, const json_t *line, const char *where, vv_error *err)
{
    static const char *const total[] = {"total"}, *const parts[] = {"ssi", "gm", "bce", "dice"};
    int64_t update = 0;
    double *row = NULL;
    VV_TRY(vv_json_need(line, where, "update", err));
    VV_TRY(vv_json_int(line, where, "update", 1, INT64_MAX, &update, err));
    VV_TRY(new_row(s, &row, err));
    row[VV_COLUMN_UPDATE] = (double)update;
    VV_TRY(take(row, line, where, "loss", vv_task_name, VV_TASKS, VV_COLUMN_LOSS, err));
    VV_TRY(take(row, line, where, "loss", total, 1, VV_COLUMN_TOTAL, err));
    VV_TRY(take(row, line, where, "parts", parts, 4, VV_COLUMN_SSI, err));
    VV_TRY(take(row, line, where, "lr", vv_part_key, VV_PARTS, VV_COLUMN_LR, err));
    VV_TRY(vv_json_real(line, where, "grad_norm", 0, 1e300, &row[VV_COLUMN_GRAD_NORM], err));
    return vv_json_real(line, where, "seconds", 0, 1e300, &row[VV_COLUMN_SECONDS], err);
}

/* into the row of its update, which comes just before */
static vv_status add_validation(vv_log_stage *s, const json_t *line, const char *where, vv_error *err)
{
    double *row = s->n ? s->row + (s->n - 1) * VV_COLUMNS : NULL;
    int64_t update = 0;
    VV_TRY(vv_json_need(line, where, "update", err));
    VV_TRY(vv_json_int(line, where, "update", 1, INT64_MAX, &update, err));
    if (!row || row[VV_COLUMN_UPDATE] != (double)update)
        return vv_fail(err, VV_FILE, "%s: update: expected that of the line of kind update before it; found %lld",
                       where, (long long)update);
    return take(row, line, where, "validation", vv_task_name, VV_TASKS, VV_COLUMN_HELD_OUT, err);
}

static vv_status add_start(vv_log_stage *s, const json_t *line, const char *where, vv_error *err)
{
    s->n = 0;
    json_array_clear(s->gradients);
    VV_TRY(vv_json_int(line, where, "updates", 0, INT64_MAX, &s->updates, err));
    VV_TRY(vv_json_int(line, where, "parameters", 0, INT64_MAX, &s->parameters, err));
    VV_TRY(vv_json_int(line, where, "trainable", 0, INT64_MAX, &s->trainable, err));
    return vv_json_int(line, where, "threads", 0, INT64_MAX, &s->threads, err);
}

static vv_status add_line(vv_run_log *l, json_t *line, const char *where, vv_error *err)
{
    const char *kind = NULL, *stage = NULL;
    vv_log_stage *s = NULL;
    VV_TRY(vv_json_need(line, where, "kind", err));
    VV_TRY(vv_json_need(line, where, "stage", err));
    VV_TRY(vv_json_string(line, where, "kind", &kind, err));
    VV_TRY(vv_json_string(line, where, "stage", &stage, err));
    VV_TRY(find_stage(l, stage, &s, err));
    if (!strcmp(kind, "start")) return add_start(s, line, where, err);
    if (!strcmp(kind, "update")) return add_update(s, line, where, err);
    if (!strcmp(kind, "validation")) return add_validation(s, line, where, err);
    if (!strcmp(kind, "gradients") && json_array_append(s->gradients, line)) return vv_no_memory(err, where);
    return VV_OK;
}

static vv_status read_lines(vv_run_log *l, const char *path, vv_error *err)
{
    vv_lines lines;
    VV_TRY(vv_lines_read(&lines, path, err));
    vv_status s = VV_OK;
    for (int64_t i = 0; s == VV_OK && i < lines.n; i++) {
        char where[VV_WHERE];
        json_t *line = NULL;
        vv_error why = {0};
        s = vv_lines_json(&line, &lines, i, path, where, &why);
        if (s == VV_FILE && i > 0 && i == lines.n - 1) { /* a process was ended while it wrote */
            s = VV_OK;
            break;
        }
        if (s == VV_OK) s = add_line(l, line, where, &why);
        if (s != VV_OK) vv_fail(err, s, "%s", why.msg);
        json_decref(line);
    }
    vv_lines_free(&lines);
    return s;
}

vv_status vv_run_log_read(vv_run_log *l, const char *folder, vv_error *err)
{
    struct stat there;
    *l = (vv_run_log){0};
    char *path = vv_path_join(folder, "log.jsonl");
    if (!path) return vv_no_memory(err, folder);
    const vv_status s = stat(path, &there) ? VV_OK : read_lines(l, path, err);
    free(path);
    if (s != VV_OK) vv_run_log_free(l);
    return s;
}

double vv_log_mean(const vv_log_stage *s, int column, int64_t first, int64_t end)
{
    double sum = 0, n = 0;
    for (int64_t i = vv_max(first, 0); i < vv_min(end, s->n); i++) {
        const double v = s->row[i * VV_COLUMNS + column];
        if (isnan(v)) continue;
        sum += v;
        n++;
    }
    return n > 0 ? sum / n : NAN;
}
