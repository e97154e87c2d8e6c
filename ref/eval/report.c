/* The report: what is there, and the sections one after the other. */
#include "eval/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "eval/report_parts.h"
#include "io/file.h"

static int there(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0;
}

static void report_free(vv_report *r)
{
    if (r->has_config) vv_train_config_free(&r->config);
    vv_run_log_free(&r->log);
    free(r->model);
    free(r->base);
}

/* ---- the models -------------------------------------------------------------------------------------------------------------------- */
/* RUN/STAGE/model when its weights are there; *folder NULL when they are not */
static vv_status stage_model(const vv_report *r, int64_t stage, char **folder, vv_error *err)
{
    static const char *const weights[] = {"model.safetensors", "model.safetensors.index.json"};
    *folder = vv_asprintf("%s/%s/model", r->options->run, r->config.stage[stage].name);
    if (!*folder) return vv_no_memory(err, "report");
    for (int k = 0; k < 2; k++) {
        char *path = vv_path_join(*folder, weights[k]);
        if (!path) return vv_no_memory(err, "report");
        const int found = there(path);
        free(path);
        if (found) return VV_OK;
    }
    free(*folder);
    *folder = NULL;
    return VV_OK;
}

/* the stage whose name is the folder above the model's, -1 when none is */
static int64_t stage_of_model(const vv_report *r)
{
    const char *path = r->options->model;
    int64_t end = (int64_t)strlen(path);
    while (end > 1 && path[end - 1] == '/') end--;
    while (end > 0 && path[end - 1] != '/') end--; /* "model" or "checkpoint-N" */
    while (end > 0 && path[end - 1] == '/') end--;
    int64_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    char *name = vv_asprintf("%.*s", (int)(end - begin), path + begin);
    const int64_t stage = name && r->has_config ? vv_stage_find(&r->config, name) : -1;
    free(name);
    return stage;
}

static vv_status given(char **to, const char *path, vv_error *err)
{
    *to = vv_strdup(path);
    return *to ? VV_OK : vv_no_memory(err, "report");
}

static vv_status find_models(vv_report *r, vv_error *err)
{
    r->stage = -1;
    if (r->options->model) {
        VV_TRY(given(&r->model, r->options->model, err));
        r->stage = stage_of_model(r);
    } else
        for (int64_t i = r->has_config ? r->config.n_stages - 1 : -1; i >= 0 && !r->model; i--) {
            VV_TRY(stage_model(r, i, &r->model, err));
            if (r->model) r->stage = i;
        }
    if (r->options->base) return given(&r->base, r->options->base, err);
    for (int64_t i = r->model ? r->stage - 1 : -1; i >= 0 && !r->base; i--) VV_TRY(stage_model(r, i, &r->base, err));
    return VV_OK;
}

static vv_status open_run(vv_report *r, vv_error *err)
{
    const vv_train_overrides none = {.seed = -1};
    if (!there(r->options->run)) return vv_fail(err, VV_FILE, "%s: no such folder", r->options->run);
    char *path = vv_path_join(r->options->run, "run.json");
    if (!path) return vv_no_memory(err, "report");
    vv_status s = VV_OK;
    if (there(path)) {
        s = vv_train_config_load(&r->config, path, &none, err);
        r->has_config = s == VV_OK;
    }
    free(path);
    if (s == VV_OK) s = vv_run_log_read(&r->log, r->options->run, err);
    if (s == VV_OK && !r->has_config && r->log.n == 0 && !r->options->model)
        s = vv_fail(err, VV_FILE, "%s: expected the folder of a run, with run.json or log.jsonl; found neither",
                    r->options->run);
    return s == VV_OK ? find_models(r, err) : s;
}

/* ---- the stages ---------------------------------------------------------------------------------------------------------------------- */
static void number(vv_page *p, double v)
{
    if (isnan(v)) vv_page_put(p, "<td class=\"n\"></td>");
    else vv_page_put(p, "<td class=\"n\">%.3f</td>", v);
}

static void stage_row(vv_page *p, const vv_log_stage *s)
{
    const int64_t tail = vv_max(1, s->n / 20);
    const double seconds = s->n > 0 ? s->row[(s->n - 1) * VV_COLUMNS + VV_COLUMN_SECONDS] : NAN;
    vv_page_put(p, "<tr><td>");
    vv_page_text(p, s->name);
    vv_page_put(p, "</td><td>");
    for (int k = 0, any = 0; k < VV_PARTS; k++)
        if (s->n > 0 && !isnan(s->row[(s->n - 1) * VV_COLUMNS + VV_COLUMN_LR + k]))
            vv_page_put(p, "%s%s", any++ ? ", " : "", vv_part_key[k]);
    vv_page_put(p, "</td><td class=\"n\">%lld", (long long)s->n);
    if (s->updates > s->n) vv_page_put(p, " of %lld", (long long)s->updates);
    vv_page_put(p, "</td><td class=\"n\">%lld</td><td class=\"n\">%lld</td>", (long long)s->parameters,
                (long long)s->trainable);
    vv_page_put(p, isnan(seconds) ? "<td></td>" : "<td class=\"n\">%.1f</td>", seconds);
    for (int k = 0; k < VV_TASKS; k++) number(p, vv_log_mean(s, VV_COLUMN_LOSS + k, s->n - tail, s->n));
    vv_page_put(p, "</tr>\n");
}

static void stages(vv_page *p, const vv_report *r)
{
    if (r->log.n == 0) return;
    vv_page_put(p, "<div class=\"wide\"><table>\n<tr><th>stage</th><th>trains</th><th class=\"n\">updates</th>"
                   "<th class=\"n\">parameters</th><th class=\"n\">trained</th><th class=\"n\">seconds</th>"
                   "<th class=\"n\">caption</th><th class=\"n\">depth</th><th class=\"n\">segmentation</th></tr>\n");
    for (int64_t i = 0; i < r->log.n; i++) stage_row(p, &r->log.stage[i]);
    vv_page_put(p, "</table></div>\n<p class=\"faint\">Losses are means over the last twentieth of a stage's "
                   "updates.</p>\n");
}

static void introduce(vv_page *p, const vv_report *r)
{
    vv_page_head(p, "A VersaViT run");
    vv_page_put(p, "<h1>A VersaViT run</h1>\n<p>");
    vv_page_text(p, r->options->run);
    if (r->has_config) vv_page_put(p, ", seed %llu", (unsigned long long)r->config.seed);
    vv_page_put(p, ", arithmetic in %s.</p>\n", VV_REAL_NAME);
    stages(p, r);
}

static vv_status write_page(vv_page *p, const vv_report *r, vv_error *err)
{
    introduce(p, r);
    vv_report_curves(p, r);
    VV_TRY(vv_report_gradients(p, r, err));
    VV_TRY(vv_report_scenes(p, r, err));
    VV_TRY(vv_report_tables(p, r, err));
    VV_TRY(vv_report_given(p, r->options->tables, err));
    vv_page_tail(p);
    return p->failed ? vv_no_memory(err, "report") : vv_out_text(r->options->out, p->text, err);
}

vv_status vv_report_write(const vv_report_options *o, vv_error *err)
{
    vv_report r = {.options = o};
    vv_page p = {0};
    vv_status s = open_run(&r, err);
    if (s == VV_OK) s = write_page(&p, &r, err);
    vv_page_free(&p);
    report_free(&r);
    return s;
}
