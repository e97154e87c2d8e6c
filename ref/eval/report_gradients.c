/* Do the tasks pull the tower in different directions? What train/gradients.h wrote: for each layer the norm of each task's gradient, and
 * the cosine between every two of them.
 *
 *   bars      norms, the mean over the recorded updates, on a logarithmic axis: one task may outweigh another a hundred times
 *   maps      cosines, a column for each recorded update (means of neighbours when there are more than MOST_COLUMNS), a row for each layer
 *
 * A layer that no task reaches (the merger, when nothing reads it) is left out. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/report_parts.h"

enum { PAIRS = VV_TASKS, MOST_COLUMNS = 60 };
static const int pair[PAIRS][2] = {{0, 1}, {0, 2}, {1, 2}};

typedef struct {
    const vv_log_stage *stage;
    int64_t records, layers;
    const char **name;     /* [layers] */
    double *update;        /* [records] */
    double *norm, *cosine; /* [records,layers,3], NaN: not there */
} table;

static void table_free(table *t)
{
    free(t->name);
    free(t->update);
    free(t->norm);
    free(t->cosine);
}

/* ---- reading --------------------------------------------------------------------------------------------------------------------- */
static vv_status read_layer(table *t, const json_t *layer, int64_t record, int64_t i, const char *where, vv_error *err)
{
    const char *name = NULL;
    const json_t *norm = NULL, *cosine = NULL;
    VV_TRY(vv_json_need(layer, where, "layer", err));
    VV_TRY(vv_json_string(layer, where, "layer", &name, err));
    VV_TRY(vv_json_object(layer, where, "norm", &norm, err));
    VV_TRY(vv_json_object(layer, where, "cosine", &cosine, err));
    if (record == 0) t->name[i] = name;
    if (strcmp(t->name[i], name))
        return vv_fail(err, VV_FILE, "%s: layers[%lld]: expected %.100s, as in the first of the stage; found %.100s",
                       where, (long long)i, t->name[i], name);
    for (int k = 0; k < VV_TASKS; k++) {
        const int64_t at = (record * t->layers + i) * VV_TASKS + k;
        char key[64];
        snprintf(key, sizeof key, "%s.%s", vv_task_name[pair[k][0]], vv_task_name[pair[k][1]]);
        t->norm[at] = t->cosine[at] = NAN;
        if (norm) VV_TRY(vv_json_real(norm, where, vv_task_name[k], 0, DBL_MAX, &t->norm[at], err));
        if (cosine) VV_TRY(vv_json_real(cosine, where, key, -1.001, 1.001, &t->cosine[at], err));
    }
    return VV_OK;
}

static vv_status read_record(table *t, int64_t record, vv_error *err)
{
    static const char where[] = "log.jsonl: gradients";
    const json_t *line = json_array_get(t->stage->gradients, (size_t)record), *layers = NULL;
    VV_TRY(vv_json_need(line, where, "update", err));
    VV_TRY(vv_json_real(line, where, "update", 0, DBL_MAX, &t->update[record], err));
    VV_TRY(vv_json_need(line, where, "layers", err));
    VV_TRY(vv_json_array(line, where, "layers", &layers, err));
    if ((int64_t)json_array_size(layers) != t->layers)
        return vv_fail(err, VV_FILE, "%s: expected %lld layers, as in the first of the stage; found %lld", where,
                       (long long)t->layers, (long long)json_array_size(layers));
    for (int64_t i = 0; i < t->layers; i++)
        VV_TRY(read_layer(t, json_array_get(layers, (size_t)i), record, i, where, err));
    return VV_OK;
}

static vv_status table_read(table *t, const vv_log_stage *s, vv_error *err)
{
    *t = (table){.stage = s, .records = (int64_t)json_array_size(s->gradients)};
    t->layers = (int64_t)json_array_size(json_object_get(json_array_get(s->gradients, 0), "layers"));
    const int64_t n = vv_mul(vv_mul(t->records, t->layers), VV_TASKS);
    t->name = vv_calloc(t->layers, sizeof *t->name);
    t->update = vv_calloc(t->records, sizeof *t->update);
    t->norm = vv_calloc(n, sizeof *t->norm);
    t->cosine = vv_calloc(n, sizeof *t->cosine);
    vv_status st = t->name && t->update && t->norm && t->cosine ? VV_OK : vv_no_memory(err, "gradients");
    for (int64_t i = 0; st == VV_OK && i < t->records; i++) st = read_record(t, i, err);
    return st;
}

/* mean of x over records [first,end) of layer i (-1: of all) and task or pair k, NaN without any */
static double mean(const table *t, const double *x, int64_t first, int64_t end, int64_t i, int k)
{
    double sum = 0, n = 0;
    for (int64_t r = first; r < end; r++)
        for (int64_t l = i < 0 ? 0 : i; l < (i < 0 ? t->layers : i + 1); l++) {
            const double v = x[(r * t->layers + l) * VV_TASKS + k];
            if (isnan(v)) continue;
            sum += v;
            n++;
        }
    return n > 0 ? sum / n : NAN;
}

/* without the layers in which no task ever has a gradient */
static void drop_unreached(table *t)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < t->layers; i++) {
        int any = 0;
        for (int k = 0; k < VV_TASKS; k++) any |= mean(t, t->norm, 0, t->records, i, k) > 0;
        if (!any) continue;
        t->name[kept] = t->name[i];
        for (int64_t r = 0; r < t->records; r++) /* stays as wide as it was: moved together below */
            for (int k = 0; k < VV_TASKS; k++) {
                t->norm[(r * t->layers + kept) * VV_TASKS + k] = t->norm[(r * t->layers + i) * VV_TASKS + k];
                t->cosine[(r * t->layers + kept) * VV_TASKS + k] = t->cosine[(r * t->layers + i) * VV_TASKS + k];
            }
        kept++;
    }
    for (int64_t r = 0; r < t->records; r++)
        for (int64_t at = 0; at < kept * VV_TASKS; at++) {
            t->norm[r * kept * VV_TASKS + at] = t->norm[r * t->layers * VV_TASKS + at];
            t->cosine[r * kept * VV_TASKS + at] = t->cosine[r * t->layers * VV_TASKS + at];
        }
    t->layers = kept;
}

/* "visual.blocks.3" is 3, "visual.patch_embed" patches */
static const char *short_name(const char *name)
{
    if (!strncmp(name, "visual.", 7)) name += 7;
    return !strncmp(name, "blocks.", 7) ? name + 7 : !strcmp(name, "patch_embed") ? "patches" : name;
}

/* ---- bars -------------------------------------------------------------------------------------------------------------------------- */
enum { TOP = 12, BOTTOM = 176, HEIGHT = 212 };

static void bars(vv_page *p, const table *t)
{
    double lo = DBL_MAX, hi = 0;
    for (int64_t i = 0; i < t->layers; i++)
        for (int k = 0; k < VV_TASKS; k++) {
            const double v = mean(t, t->norm, 0, t->records, i, k);
            if (!(v > 0)) continue;
            lo = fmin(lo, v);
            hi = fmax(hi, v);
        }
    const vv_axis y = vv_axis_around(lo / 2, hi, 1, TOP, BOTTOM);
    const double each = (double)(VV_SVG_WIDTH - VV_SVG_LEFT - VV_SVG_RIGHT) / (double)t->layers,
                 bar = each * 0.8 / VV_TASKS;
    const int64_t stride = 1 + (int64_t)(24 / each);
    vv_svg_open(p, HEIGHT, "Norms of the tasks' gradients");
    vv_axis_draw(p, &y, VV_SVG_LEFT, VV_SVG_WIDTH - VV_SVG_RIGHT);
    for (int64_t i = 0; i < t->layers; i++) {
        const double left = VV_SVG_LEFT + each * ((double)i + 0.1);
        for (int k = 0; k < VV_TASKS; k++) {
            const double v = mean(t, t->norm, 0, t->records, i, k);
            if (!(v > 0)) continue;
            const double top = vv_axis_at(&y, v);
            vv_page_put(p, "<rect class=\"bar %s\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"/>",
                        vv_task_name[k], left + bar * k, top, bar, BOTTOM - top);
        }
        if (i % stride) continue;
        vv_page_put(p, "<text text-anchor=\"middle\" x=\"%.2f\" y=\"%d\">", left + 0.4 * each, BOTTOM + 14);
        vv_page_text(p, short_name(t->name[i]));
        vv_page_put(p, "</text>\n");
    }
    vv_page_put(p, "<path class=\"axis\" d=\"M%d %dH%d\"/>", VV_SVG_LEFT, BOTTOM, VV_SVG_WIDTH - VV_SVG_RIGHT);
    vv_page_put(p, "<text text-anchor=\"middle\" x=\"%d\" y=\"%d\">layer of the tower</text>\n</svg>\n",
                (VV_SVG_LEFT + VV_SVG_WIDTH) / 2, HEIGHT - 4);
}

/* ---- maps --------------------------------------------------------------------------------------------------------------------------- */
/* -1 vermilion, 0 a light grey, 1 blue, straight between: the same on light and dark pages */
static void colour_of(double v, int rgb[3])
{
    static const int end[2][3] = {{213, 94, 0}, {0, 114, 178}}, middle = 235;
    const double share = fmin(fabs(v), 1);
    for (int c = 0; c < 3; c++) rgb[c] = (int)(middle + share * (end[v > 0][c] - middle) + 0.5);
}

static void cell(vv_page *p, double x, double y, double w, double h, double v, double limit)
{
    int rgb[3];
    if (isnan(v)) return;
    colour_of(v / limit, rgb);
    vv_page_put(p, "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"#%02x%02x%02x\"/>", x, y, w, h,
                rgb[0], rgb[1], rgb[2]);
}

typedef struct {
    int64_t bucket, columns;
    double limit, row; /* the cosine of the full colour; height of a row */
} scale;

static void map(vv_page *p, const table *t, const scale *s, int k, double left, double width)
{
    const double top = 20, w = width / (double)s->columns, bottom = top + s->row * (double)t->layers;
    vv_page_put(p, "<text text-anchor=\"middle\" x=\"%.2f\" y=\"12\">%s and %s</text>\n", left + width / 2,
                vv_task_name[pair[k][0]], vv_task_name[pair[k][1]]);
    for (int64_t c = 0; c < s->columns; c++)
        for (int64_t i = 0; i < t->layers; i++)
            cell(p, left + w * (double)c, top + s->row * (double)i, w, s->row,
                 mean(t, t->cosine, c * s->bucket, vv_min((c + 1) * s->bucket, t->records), i, k), s->limit);
    vv_page_put(p, "\n<path class=\"rule\" d=\"M%.2f %.2fV%.2fH%.2fV%.2fZ\"/>", left, top, bottom, left + width, top);
    vv_page_put(p,
                "<text x=\"%.2f\" y=\"%.2f\">%.6g</text><text text-anchor=\"end\" x=\"%.2f\" y=\"%.2f\">%.6g</text>\n",
                left, bottom + 14, t->update[0], left + width, bottom + 14, t->update[t->records - 1]);
    vv_page_put(p, "<text text-anchor=\"middle\" x=\"%.2f\" y=\"%.2f\">update</text>\n", left + width / 2, bottom + 14);
}

static scale scale_of(const table *t)
{
    int tenths = 1;
    scale s = {1 + (t->records - 1) / MOST_COLUMNS, 0, 0, fmin(fmax(160.0 / (double)t->layers, 5), 18)};
    s.columns = (t->records + s.bucket - 1) / s.bucket;
    for (int64_t c = 0; c < s.columns; c++)
        for (int64_t i = 0; i < t->layers; i++)
            for (int k = 0; k < PAIRS; k++) {
                const double v = mean(t, t->cosine, c * s.bucket, vv_min((c + 1) * s.bucket, t->records), i, k);
                while (10 * fabs(v) > tenths && tenths < 10) tenths++;
            }
    s.limit = tenths / 10.0;
    return s;
}

static void legend(vv_page *p, const scale *s, double y)
{
    enum { STEPS = 40, WIDE = 240 };
    const double left = VV_SVG_LEFT;
    for (int i = 0; i <= STEPS; i++)
        cell(p, left + 40 + (double)i * WIDE / (STEPS + 1), y, (double)WIDE / (STEPS + 1), 10, 2.0 * i / STEPS - 1, 1);
    vv_page_put(p, "\n<text text-anchor=\"end\" x=\"%.2f\" y=\"%.2f\">-%.1f</text>", left + 34, y + 9, s->limit);
    vv_page_put(p, "<text x=\"%.2f\" y=\"%.2f\">+%.1f cosine</text>\n", left + 46 + WIDE, y + 9, s->limit);
}

static void maps(vv_page *p, const table *t)
{
    int shown[PAIRS], n = 0;
    for (int k = 0; k < PAIRS; k++)
        if (!isnan(mean(t, t->cosine, 0, t->records, -1, k))) shown[n++] = k;
    const scale s = scale_of(t);
    const double gap = 16, width = ((double)(VV_SVG_WIDTH - VV_SVG_LEFT - VV_SVG_RIGHT) - gap * (PAIRS - 1)) / PAIRS,
                 bottom = 20 + s.row * (double)t->layers;
    const int64_t stride = 1 + (int64_t)(12 / s.row);
    vv_svg_open(p, bottom + 48, "Cosines between the tasks' gradients");
    for (int64_t i = 0; i < t->layers; i += stride) {
        vv_page_put(p, "<text text-anchor=\"end\" x=\"%d\" y=\"%.2f\" dy=\"3.5\">", VV_SVG_LEFT - 6,
                    20 + s.row * ((double)i + 0.5));
        vv_page_text(p, short_name(t->name[i]));
        vv_page_put(p, "</text>\n");
    }
    for (int k = 0; k < n; k++) map(p, t, &s, shown[k], VV_SVG_LEFT + k * (width + gap), width);
    legend(p, &s, bottom + 30);
    vv_page_put(p, "</svg>\n");
}

/* ---- in words ------------------------------------------------------------------------------------------------------------------------ */
static void words(vv_page *p, const table *t)
{
    vv_page_put(p, "<table>\n<tr><th>gradients of</th><th class=\"n\">mean cosine</th>"
                   "<th class=\"n\">share below 0, %%</th></tr>\n");
    for (int k = 0; k < PAIRS; k++) {
        double against = 0, all = 0;
        for (int64_t at = k; at < t->records * t->layers * PAIRS; at += PAIRS) {
            against += t->cosine[at] < 0;
            all += !isnan(t->cosine[at]);
        }
        if (all > 0)
            vv_page_put(p, "<tr><td>%s and %s</td><td class=\"n\">%+.3f</td><td class=\"n\">%.0f</td></tr>\n",
                        vv_task_name[pair[k][0]], vv_task_name[pair[k][1]], mean(t, t->cosine, 0, t->records, -1, k),
                        100 * against / all);
    }
    vv_page_put(p, "</table>\n<p class=\"faint\">Over all layers and recorded updates.</p>\n");
}

static void key(vv_page *p, const table *t)
{
    for (int k = 0; k < VV_TASKS; k++)
        if (!isnan(mean(t, t->norm, 0, t->records, -1, k))) vv_page_key(p, vv_task_name[k], vv_task_name[k]);
}

static void section(vv_page *p, const table *t)
{
    int pairs = 0;
    for (int k = 0; k < PAIRS; k++) pairs += !isnan(mean(t, t->cosine, 0, t->records, -1, k));
    vv_page_put(p, "<h3>");
    vv_page_text(p, t->stage->name);
    vv_page_put(p,
                ", %lld recorded updates</h3>\n<figure>\n<figcaption><b>Norms of the tasks' gradients</b>, with their "
                "weights, on a logarithmic axis, means over the recorded updates; look at which task leads in which "
                "layer.<br/>",
                (long long)t->records);
    key(p, t);
    vv_page_put(p, "</figcaption>\n");
    bars(p, t);
    vv_page_put(p, "</figure>\n");
    if (pairs == 0) {
        vv_page_put(p, "<p>A single task trains in this stage: there are no angles to draw.</p>\n");
        return;
    }
    vv_page_put(
        p, "<figure>\n<figcaption><b>Cosines between the tasks' gradients</b>, layer by layer over the stage; blue: "
           "both tasks pull a layer the same way, orange: against each other, grey: at right angles.</figcaption>\n");
    maps(p, t);
    vv_page_put(p, "</figure>\n");
    words(p, t);
}

vv_status vv_report_gradients(vv_page *p, const vv_report *r, vv_error *err)
{
    int any = 0;
    vv_page_put(p, "<h2>Do the tasks pull in different directions?</h2>\n");
    for (int64_t i = 0; i < r->log.n; i++) {
        table t;
        if (json_array_size(r->log.stage[i].gradients) == 0) continue;
        const vv_status s = table_read(&t, &r->log.stage[i], err);
        if (s == VV_OK) drop_unreached(&t);
        if (s == VV_OK && t.layers > 0) {
            section(p, &t);
            any = 1;
        }
        table_free(&t);
        VV_TRY(s);
    }
    if (!any)
        vv_page_put(p, "<p>The log has no gradients of single tasks (gradients_every in the configuration): nothing to "
                       "draw.</p>\n");
    return VV_OK;
}
