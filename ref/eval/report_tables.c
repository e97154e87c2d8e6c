/* What `versavit probe` and `versavit eval` measured, as tables. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "eval/report_parts.h"
#include "io/file.h"

enum { FILE_BYTES = 64 << 20 };

/* A column: a number of a result. per_cent ones are shares. */
typedef struct {
    const char *key, *title;
    int per_cent;
} column;

typedef struct {
    json_t *root;
    const char *path;
} measured;

static void head(vv_page *p, const char *first, const column *c, int n)
{
    vv_page_put(p, "<div class=\"wide\"><table>\n<tr><th>");
    vv_page_text(p, first);
    vv_page_put(p, "</th>");
    for (int k = 0; k < n; k++) {
        vv_page_put(p, "<th class=\"n\">");
        vv_page_text(p, c[k].title);
        vv_page_put(p, "</th>");
    }
    vv_page_put(p, "</tr>\n");
}

static vv_status number(vv_page *p, const json_t *of, const char *where, const column *c, vv_error *err)
{
    double v = NAN;
    VV_TRY(vv_json_real(of, where, c->key, -1e300, 1e300, &v, err));
    if (isnan(v)) vv_page_put(p, "<td class=\"n\"></td>");
    else if (c->per_cent) vv_page_put(p, "<td class=\"n\">%.1f</td>", 100 * v);
    else vv_page_put(p, "<td class=\"n\">%.4g</td>", v);
    return VV_OK;
}

static vv_status row(vv_page *p, const char *name, const char *of_model, const json_t *of, const char *where,
                     const column *c, int n, vv_error *err)
{
    vv_page_put(p, "<tr><td>");
    vv_page_text(p, name);
    if (of_model) {
        vv_page_put(p, ", ");
        vv_page_text(p, of_model);
    }
    vv_page_put(p, "</td>");
    for (int k = 0; k < n; k++) VV_TRY(number(p, of, where, &c[k], err));
    vv_page_put(p, "</tr>\n");
    return VV_OK;
}

/* ---- probes -------------------------------------------------------------------------------------------------------------------------- */
static const char *task_of(const measured *m) { return json_string_value(json_object_get(m->root, "probe")); }

static const json_t *result(const measured *m, const char *name)
{
    const json_t *o = json_object_get(json_object_get(m->root, "results"), name);
    return json_is_object(o) ? o : NULL;
}

static int is_of(const measured *m, const char *task) { return task_of(m) && !strcmp(task_of(m), task); }

/* the towers of all files, then what stands beside them in the first that has it */
static vv_status probe_table(vv_page *p, const char *task, const measured *m, int64_t n, const column *c, int columns,
                             vv_error *err)
{
    static const char *const beside[][2] = {{"mean_map", "mean map"},
                                            {"position", "position of the patch alone"},
                                            {"patches", "pixels of the patch"},
                                            {"random_tower", "tower with random weights"},
                                            {"ceiling", "best that a number a patch can do"}};
    head(p, "read from", c, columns);
    for (int64_t i = 0; i < n; i++) {
        const char *model = NULL;
        if (!is_of(&m[i], task) || !result(&m[i], "tower")) continue;
        VV_TRY(vv_json_string(m[i].root, m[i].path, "model", &model, err));
        VV_TRY(row(p, "tower", model ? model : m[i].path, result(&m[i], "tower"), m[i].path, c, columns, err));
    }
    for (size_t k = 0; k < sizeof beside / sizeof *beside; k++)
        for (int64_t i = 0; i < n; i++) {
            const json_t *of = is_of(&m[i], task) ? result(&m[i], beside[k][0]) : NULL;
            if (!of) continue;
            VV_TRY(row(p, beside[k][1], NULL, of, m[i].path, c, columns, err));
            break;
        }
    vv_page_put(p, "</table></div>\n");
    return VV_OK;
}

static vv_status probes(vv_page *p, const measured *m, int64_t n, vv_error *err)
{
    static const column depth[] = {{"rmse", "RMSE, m", 0},
                                   {"rmse_objects", "RMSE on objects, m", 0},
                                   {"rmse_log", "RMSE of logs", 0},
                                   {"abs_rel", "AbsRel", 0},
                                   {"order", "depth order, %", 1}},
                        classes[] = {{"miou", "mIoU, %", 1}, {"accuracy", "accuracy, %", 1}};
    int found[2] = {0, 0};
    for (int64_t i = 0; i < n; i++) {
        found[0] |= is_of(&m[i], "depth");
        found[1] |= is_of(&m[i], "segmentation");
        if (!is_of(&m[i], "depth") && !is_of(&m[i], "segmentation"))
            return vv_fail(err, VV_FILE, "%s: 'probe': expected depth or segmentation, as `versavit probe` writes",
                           m[i].path);
    }
    vv_page_put(p, "<h2>Linear probes</h2>\n");
    if (n == 0) vv_page_put(p, "<p>No files of versavit probe are there: no tables of probes.</p>\n");
    else
        vv_page_put(p,
                    "<p>What one linear map reads from frozen features on scenes that nothing was trained on; compare "
                    "the towers with each other, and with what a map reads from less.</p>\n");
    if (found[0]) {
        vv_page_put(p, "<h3>Depth: smaller is better but for the order</h3>\n");
        VV_TRY(probe_table(p, "depth", m, n, depth, 5, err));
    }
    if (found[1]) {
        vv_page_put(p, "<h3>Classes: larger is better</h3>\n");
        VV_TRY(probe_table(p, "segmentation", m, n, classes, 2, err));
    }
    return VV_OK;
}

/* ---- evaluations ----------------------------------------------------------------------------------------------------------------------- */
typedef struct {
    const char *key, *name;
} line;

/* the rows that the part has; part NULL: nothing */
static vv_status part_table(vv_page *p, const json_t *part, const char *where, const char *title, const char *look,
                            const line *lines, int n, const column *c, int columns, vv_error *err)
{
    if (!part) return VV_OK;
    vv_page_put(p, "<h3>%s</h3>\n<p>%s</p>\n", title, look);
    head(p, "", c, columns);
    for (int k = 0; k < n; k++) {
        const json_t *of = NULL;
        VV_TRY(vv_json_object(part, where, lines[k].key, &of, err));
        if (of) VV_TRY(row(p, lines[k].name, NULL, of, where, c, columns, err));
    }
    vv_page_put(p, "</table></div>\n");
    return VV_OK;
}

static vv_status questions(vv_page *p, const json_t *part, const char *where, vv_error *err)
{
    static const column c[] = {{"n", "questions", 0},
                               {"accuracy", "right, %", 1},
                               {"majority", "most frequent answer, %", 1},
                               {"grey", "on a grey picture, %", 1}};
    const json_t *types = NULL, *all = NULL, *of;
    const char *type;
    if (!part) return VV_OK;
    VV_TRY(vv_json_object(part, where, "types", &types, err));
    VV_TRY(vv_json_object(part, where, "all", &all, err));
    vv_page_put(p, "<h3>Questions by type</h3>\n<p>Look at how far the model is above what needs no picture: the most "
                   "frequent answer of each type, and the same model on a grey picture.</p>\n");
    head(p, "type", c, 4);
    json_object_foreach((json_t *)types, type, of) VV_TRY(row(p, type, NULL, of, where, c, 4, err));
    if (all) VV_TRY(row(p, "all", NULL, all, where, c, 4, err));
    vv_page_put(p, "</table></div>\n");
    return VV_OK;
}

static vv_status captions(vv_page *p, const json_t *part, const char *where, vv_error *err)
{
    double loss = NAN, grey = NAN;
    if (!part) return VV_OK;
    VV_TRY(vv_json_real(part, where, "loss", 0, 1e300, &loss, err));
    VV_TRY(vv_json_real(part, where, "loss_grey", 0, 1e300, &grey, err));
    vv_page_put(
        p,
        "<h3>Captions</h3>\n<p>Cross-entropy of a token of the true captions: %.4g given the picture, %.4g given a "
        "grey one; the difference is what the picture tells.</p>\n",
        loss, grey);
    return VV_OK;
}

static vv_status left_out(vv_page *p, const json_t *root, const char *where, vv_error *err)
{
    const json_t *why = NULL, *of;
    const char *part;
    VV_TRY(vv_json_object(root, where, "left_out", &why, err));
    json_object_foreach((json_t *)why, part, of)
    {
        if (!json_is_string(of)) continue;
        vv_page_put(p, "<p>Not measured: ");
        vv_page_text(p, part);
        vv_page_put(p, ": ");
        vv_page_text(p, json_string_value(of));
        vv_page_put(p, ".</p>\n");
    }
    return VV_OK;
}

static vv_status evaluation(vv_page *p, const measured *m, vv_error *err)
{
    static const line depth[] = {{"head", "depth head"},
                                 {"mean_map", "mean map of these scenes"},
                                 {"constant", "each picture's best constant"}},
                      masks[] = {{"head", "mask head"},
                                 {"shuffled_texts", "with the texts of other scenes"},
                                 {"nothing", "no pixel"},
                                 {"whole", "the whole picture"},
                                 {"best_constant", "the best single mask"}};
    static const column of_depth[] = {{"rmse", "RMSE, m", 0},
                                      {"rmse_objects", "RMSE on objects, m", 0},
                                      {"abs_rel", "AbsRel", 0},
                                      {"delta1", "within a quarter, %", 1},
                                      {"rmse_disparity", "RMSE of disparity, 1/m", 0},
                                      {"order", "depth order, %", 1}},
                        of_masks[] = {
                            {"ciou", "cIoU, %", 1}, {"giou", "gIoU, %", 1}, {"precision_half", "P@0.5, %", 1}};
    static const char *const name[] = {"vqa", "depth", "segmentation", "caption"};
    const json_t *part[4] = {NULL};
    for (int k = 0; k < 4; k++) VV_TRY(vv_json_object(m->root, m->path, name[k], &part[k], err));
    VV_TRY(questions(p, part[0], m->path, err));
    VV_TRY(part_table(
        p, part[1], m->path, "Depth head",
        "All rows are aligned to each picture's truth by scale and shift; compare the head with the two below it.",
        depth, 3, of_depth, 6, err));
    VV_TRY(part_table(
        p, part[2], m->path, "Referring segmentation",
        "Look at how much is lost when the texts are those of other scenes, and at what no text at all gives.", masks,
        5, of_masks, 3, err));
    VV_TRY(captions(p, part[3], m->path, err));
    return left_out(p, m->root, m->path, err);
}

/* ---- the files ------------------------------------------------------------------------------------------------------------------------ */
/* a file that was named, or RUN/NAME where it is there; root NULL: nothing */
static vv_status open_file(measured *m, const char *path, const char *run, const char *name, char **made, vv_error *err)
{
    struct stat there;
    *m = (measured){NULL, path};
    if (!path) {
        if (!(*made = vv_path_join(run, name))) return vv_no_memory(err, "report");
        m->path = *made;
        if (stat(*made, &there)) return VV_OK;
    }
    return vv_json_load(&m->root, m->path, FILE_BYTES, err);
}

static vv_status all_probes(vv_page *p, const vv_report_options *o, vv_error *err)
{
    const int64_t n = vv_max(o->n_probes, 1);
    char *made = NULL;
    int64_t found = 0;
    measured *m = vv_calloc(n, sizeof *m);
    vv_status s = m ? VV_OK : vv_no_memory(err, "report");
    for (int64_t i = 0; s == VV_OK && i < n; i++) {
        s = open_file(&m[i], o->n_probes ? o->probe[i] : NULL, o->run, "probe.json", &made, err);
        found += m[i].root != NULL;
    }
    if (s == VV_OK) s = probes(p, m, found, err);
    for (int64_t i = 0; m && i < n; i++) json_decref(m[i].root);
    free(m);
    free(made);
    return s;
}

vv_status vv_report_tables(vv_page *p, const vv_report *r, vv_error *err)
{
    measured m = {NULL, NULL};
    char *made = NULL;
    VV_TRY(all_probes(p, r->options, err));
    vv_page_put(p, "<h2>Held-out scenes in numbers</h2>\n");
    vv_status s = open_file(&m, r->options->eval, r->options->run, "eval.json", &made, err);
    if (s == VV_OK && m.root) s = evaluation(p, &m, err);
    if (s == VV_OK && !m.root) vv_page_put(p, "<p>No file of versavit eval is there: no figures.</p>\n");
    json_decref(m.root);
    free(made);
    return s;
}
