/* Curves of a run: one figure a value, stages side by side at equal widths, each with its own scale of updates.
 *
 *   thin    each update; with more than two a pixel, the least and the largest of each pixel's
 *   thick   mean over the updates at most 1/50 of the stage away (stages of at least 50)
 *   dots    losses of held-out samples, of stages that validate
 *
 * Easy to get wrong: what is not in the log breaks a line, a zero is drawn; a logarithmic axis leaves out what is not positive. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/elementary.h"
#include "eval/report_parts.h"

/* ---- axes -------------------------------------------------------------------------------------------------------------------------- */
/* m 10^k, exact for whole numbers, rounded once below 1 */
static double decimal(double m, int k)
{
    double power = 1;
    for (int i = 0; i < (k < 0 ? -k : k); i++) power *= 10;
    return k < 0 ? m / power : m * power;
}

/* the largest k with 10^k <= x */
static int decade(double x)
{
    int k = (int)floor(vv_log(x) / vv_log(10));
    while (decimal(1, k) > x) k--;
    while (decimal(1, k + 1) <= x) k++;
    return k;
}

double vv_round_step(double range, int count)
{
    const double least = range / count;
    const int k = decade(least);
    return decimal(1, k) >= least   ? decimal(1, k)
           : decimal(2, k) >= least ? decimal(2, k)
           : decimal(5, k) >= least ? decimal(5, k)
                                    : decimal(1, k + 1);
}

enum { TICKS = 4 };
static const double LEAST = 1e-100; /* what is smaller is 0 to a figure */

/* the nearest 1, 2 or 5 times a power of ten that is not above x (up: not below) */
static double round_number(double x, int up)
{
    static const double m[] = {1, 2, 5, 10};
    const int k = decade(x);
    int i = up ? 0 : 3;
    while (up ? decimal(m[i], k) < x : decimal(m[i], k) > x) i += up ? 1 : -1;
    return decimal(m[i], k);
}

vv_axis vv_axis_around(double lo, double hi, int log, double top, double bottom)
{
    vv_axis a = {lo, hi, top, bottom, log};
    if (log) {
        a.lo = round_number(lo, 0);
        a.hi = round_number(hi, 1);
        if (a.lo == a.hi) a.hi = round_number(1.5 * hi, 1);
        return a;
    }
    const double largest = fmax(fabs(lo), fabs(hi)), around = largest > LEAST ? largest / 2 : 1;
    if (!(hi - lo > 1e-9 * largest) || hi - lo < LEAST) { /* all the same, or so to the eye */
        a.lo = lo - around;
        a.hi = hi + around;
    }
    const double step = vv_round_step(a.hi - a.lo, TICKS);
    a.lo = floor(a.lo / step) * step;
    a.hi = ceil(a.hi / step) * step;
    return a;
}

double vv_axis_at(const vv_axis *a, double value)
{
    const double share = a->log ? vv_log(value / a->lo) / vv_log(a->hi / a->lo) : (value - a->lo) / (a->hi - a->lo);
    return a->bottom - share * (a->bottom - a->top);
}

static void tick(vv_page *p, const vv_axis *a, double value, double left, double right)
{
    const double y = vv_axis_at(a, value);
    vv_page_put(p, "<path class=\"rule\" d=\"M%.2f %.2fH%.2f\"/>", left, y, right);
    vv_page_put(p, "<text class=\"tick\" text-anchor=\"end\" x=\"%.2f\" y=\"%.2f\" dy=\"3.5\">%.6g</text>\n", left - 6,
                y, value);
}

void vv_axis_draw(vv_page *p, const vv_axis *a, double left, double right)
{
    static const double m[] = {1, 2, 5};
    if (!a->log) {
        const double step = vv_round_step(a->hi - a->lo, TICKS);
        const int64_t n = (int64_t)((a->hi - a->lo) / step + 0.5);
        for (int64_t i = 0; i <= n; i++) tick(p, a, (floor(a->lo / step + 0.5) + (double)i) * step, left, right);
        return;
    }
    const int first = decade(a->lo), last = decade(a->hi), all = last - first <= 1; /* few decades: also 2 and 5 */
    for (int k = first; k <= last; k++)
        for (int i = 0; i < (all ? 3 : 1); i++) {
            const double v = decimal(m[i], k);
            if (v >= a->lo * (1 - 1e-12) && v <= a->hi * (1 + 1e-12)) tick(p, a, v, left, right);
        }
}

void vv_svg_open(vv_page *p, double height, const char *title)
{
    vv_page_put(p, "<svg viewBox=\"0 0 %d %.0f\" role=\"img\" aria-label=\"", VV_SVG_WIDTH, height);
    vv_page_text(p, title);
    vv_page_put(p, "\">\n");
}

/* ---- a figure ----------------------------------------------------------------------------------------------------------------------- */
enum { HEIGHT = 210, TOP = 22, BOTTOM = 176, GAP = 10, MOST_LINES = VV_PARTS, AWAY = 50 };

typedef struct {
    int column;
    const char *colour, *name;
    int dots;
} curve;

typedef struct {
    const char *title, *caption;
    int log, exact; /* exact: single updates alone, nothing is a mean */
    curve curve[MOST_LINES];
    int n;
} figure;

/* where a stage is drawn */
typedef struct {
    const vv_log_stage *stage;
    double left, right, last; /* last: the update at the right end */
} strip;

static int shown(const figure *f, double v) { return isfinite(v) && (!f->log || v > LEAST); }

static int has(const figure *f, const vv_log_stage *s, int column)
{
    for (int64_t i = 0; i < s->n; i++)
        if (shown(f, s->row[i * VV_COLUMNS + column])) return 1;
    return 0;
}

static double value_at(const vv_log_stage *s, int64_t i, int column) { return s->row[i * VV_COLUMNS + column]; }

static double across(const strip *z, double update) { return z->left + update / z->last * (z->right - z->left); }

/* Rows of [first,end) that stand for all of them: the least and the largest, in the order they came; how many. */
static int extremes(const figure *f, const vv_log_stage *s, int column, int64_t first, int64_t end, int64_t row[2])
{
    int64_t least = -1, most = -1;
    for (int64_t k = first; k < end; k++) {
        const double v = value_at(s, k, column);
        if (!shown(f, v)) continue;
        if (least < 0 || v < value_at(s, least, column)) least = k;
        if (most < 0 || v > value_at(s, most, column)) most = k;
    }
    row[0] = vv_min(least, most);
    row[1] = vv_max(least, most);
    return least < 0 ? 0 : least == most ? 1 : 2;
}

/* all updates; window >= 0: means of those at most so far away */
static void line(vv_page *p, const figure *f, const strip *z, const vv_axis *y, const curve *c, int64_t window)
{
    const vv_log_stage *s = z->stage;
    const int64_t bucket = 1 + s->n / (int64_t)(2 * (z->right - z->left));
    char move = 'M';
    vv_page_put(p, "<path class=\"line %s %s\" d=\"", window < 0 ? "raw" : "smooth", c->colour);
    for (int64_t i = 0; i < s->n; i += bucket) {
        int64_t row[2];
        const int found = extremes(f, s, c->column, i, vv_min(i + bucket, s->n), row);
        if (!found) move = 'M';
        for (int k = 0; k < (window < 0 ? found : found > 0); k++) {
            const double v = window < 0 ? value_at(s, row[k], c->column)
                                        : vv_log_mean(s, c->column, row[k] - window, row[k] + window + 1);
            vv_page_put(p, "%c%.2f %.2f", move, across(z, value_at(s, row[k], VV_COLUMN_UPDATE)), vv_axis_at(y, v));
            move = 'L';
        }
    }
    vv_page_put(p, "\"/>\n");
}

static void dots(vv_page *p, const figure *f, const strip *z, const vv_axis *y, const curve *c)
{
    for (int64_t i = 0; i < z->stage->n; i++) {
        const double v = value_at(z->stage, i, c->column);
        if (shown(f, v))
            vv_page_put(p, "<circle class=\"%s\" cx=\"%.2f\" cy=\"%.2f\" r=\"2.5\"/>\n", c->colour,
                        across(z, value_at(z->stage, i, VV_COLUMN_UPDATE)), vv_axis_at(y, v));
    }
}

static void strip_axis(vv_page *p, const strip *z, int first)
{
    const double step = fmax(1, vv_round_step(z->last, z->right - z->left < 200 ? 2 : 5)),
                 middle = (z->left + z->right) / 2;
    vv_page_put(p, "<path class=\"axis\" d=\"M%.2f %dV%dH%.2f\"/>", z->left, TOP, BOTTOM, z->right);
    vv_page_put(p, "<text text-anchor=\"middle\" x=\"%.2f\" y=\"%d\">", middle, TOP - 8);
    vv_page_text(p, z->stage->name);
    vv_page_put(p, "</text>\n");
    for (double u = first ? 0 : step; u <= z->last; u += step) {
        const int at_end = u > 0.93 * z->last;
        vv_page_put(p, "<text class=\"update\" text-anchor=\"%s\" x=\"%.2f\" y=\"%d\">%.6g</text>",
                    u == 0   ? "start"
                    : at_end ? "end"
                             : "middle",
                    across(z, u), BOTTOM + 14, u);
    }
    vv_page_put(p, "\n");
}

static int64_t strips(strip *z, const vv_run_log *l, const figure *f)
{
    int64_t n = 0;
    for (int64_t i = 0; i < l->n; i++) {
        int any = 0;
        for (int k = 0; k < f->n; k++) any |= has(f, &l->stage[i], f->curve[k].column);
        if (any) z[n++].stage = &l->stage[i];
    }
    const double width = ((double)(VV_SVG_WIDTH - VV_SVG_LEFT - VV_SVG_RIGHT) - GAP * (double)(n - 1)) / (double)n;
    for (int64_t i = 0; i < n; i++) {
        const vv_log_stage *s = z[i].stage;
        z[i].left = VV_SVG_LEFT + (double)i * (width + GAP);
        z[i].right = z[i].left + width;
        z[i].last = value_at(s, s->n - 1, VV_COLUMN_UPDATE);
    }
    return n;
}

/* whether any strip has the curve */
static int anywhere(const strip *z, int64_t n, const figure *f, const curve *c)
{
    for (int64_t i = 0; i < n; i++)
        if (has(f, z[i].stage, c->column)) return 1;
    return 0;
}

static vv_axis values(const strip *z, int64_t n, const figure *f)
{
    double lo = DBL_MAX, hi = -DBL_MAX;
    for (int64_t i = 0; i < n; i++)
        for (int k = 0; k < f->n; k++)
            for (int64_t r = 0; r < z[i].stage->n; r++) {
                const double v = value_at(z[i].stage, r, f->curve[k].column);
                if (!shown(f, v)) continue;
                lo = fmin(lo, v);
                hi = fmax(hi, v);
            }
    return vv_axis_around(lo, hi, f->log, TOP, BOTTOM);
}

static void draw(vv_page *p, const vv_run_log *l, const figure *f)
{
    enum { MOST_STRIPS = 64 };
    strip z[MOST_STRIPS];
    const vv_run_log few = {l->stage, vv_min(l->n, MOST_STRIPS)};
    const int64_t n = strips(z, &few, f);
    if (n == 0) return;
    const vv_axis y = values(z, n, f);
    vv_page_put(p, "<figure>\n<figcaption><b>%s.</b> %s<br/>", f->title, f->caption);
    for (int k = 0; k < f->n; k++)
        if (!f->curve[k].dots || anywhere(z, n, f, &f->curve[k])) vv_page_key(p, f->curve[k].colour, f->curve[k].name);
    vv_page_put(p, "</figcaption>\n");
    vv_svg_open(p, HEIGHT, f->title);
    vv_axis_draw(p, &y, VV_SVG_LEFT, VV_SVG_WIDTH - VV_SVG_RIGHT);
    for (int64_t i = 0; i < n; i++) {
        const int64_t window = f->exact || z[i].stage->n < AWAY ? 0 : z[i].stage->n / AWAY;
        strip_axis(p, &z[i], i == 0);
        for (int raw = window > 0; raw >= 0; raw--)
            for (int k = 0; k < f->n; k++)
                if (!f->curve[k].dots && has(f, z[i].stage, f->curve[k].column))
                    line(p, f, &z[i], &y, &f->curve[k], raw ? -1 : window);
        for (int k = 0; k < f->n; k++)
            if (f->curve[k].dots) dots(p, f, &z[i], &y, &f->curve[k]);
    }
    vv_page_put(p, "<text text-anchor=\"middle\" x=\"%d\" y=\"%d\">update</text>\n</svg>\n</figure>\n",
                (VV_SVG_LEFT + VV_SVG_WIDTH) / 2, HEIGHT - 4);
}

/* ---- the figures ---------------------------------------------------------------------------------------------------------------------- */
static int same_everywhere(const vv_run_log *l, int a, int b)
{
    for (int64_t i = 0; i < l->n; i++)
        for (int64_t r = 0; r < l->stage[i].n; r++) {
            const double x = value_at(&l->stage[i], r, a), y = value_at(&l->stage[i], r, b);
            if (x != y && !(isnan(x) && isnan(y))) return 0;
        }
    return 1;
}

/* parts whose rates are the same everywhere share a curve */
static void rates(vv_page *p, const vv_run_log *l)
{
    static const char *const name[VV_PARTS] = {"tower", "projector", "language model", "depth head", "mask head"},
                             *const colour[VV_PARTS] = {"ink", "grey", "caption", "depth", "segmentation"};
    figure f = {.title = "Learning rate",
                .caption = "A stage trains the parts that have a line; all others keep their bits.",
                .exact = 1};
    char names[VV_PARTS][128];
    for (int k = 0; k < VV_PARTS; k++) {
        int any = 0, with = -1;
        for (int64_t i = 0; i < l->n; i++) any |= has(&f, &l->stage[i], VV_COLUMN_LR + k);
        for (int j = 0; j < f.n && with < 0; j++)
            if (same_everywhere(l, f.curve[j].column, VV_COLUMN_LR + k)) with = j;
        if (!any) continue;
        if (with < 0) {
            with = f.n++;
            f.curve[with] = (curve){VV_COLUMN_LR + k, colour[k], names[with], 0};
            names[with][0] = 0;
        } else strcat(names[with], ", ");
        strcat(names[with], name[k]);
    }
    draw(p, l, &f);
}

void vv_report_curves(vv_page *p, const vv_report *r)
{
    static const figure f[] = {
        {"Captions and answers",
         "Cross-entropy of the supervised tokens; look at where each stage ends, and whether the start of the "
         "last stage keeps what the one before has reached.",
         0,
         0,
         {{VV_COLUMN_LOSS + VV_TASK_CAPTION, "caption", "captions and answers", 0},
          {VV_COLUMN_HELD_OUT + VV_TASK_CAPTION, "ink", "held-out samples", 1}},
         2},
        {"Depth",
         "The loss of the disparity and its two terms before their weights; look at whether both terms fall.",
         0,
         0,
         {{VV_COLUMN_LOSS + VV_TASK_DEPTH, "depth", "depth", 0},
          {VV_COLUMN_SSI, "one", "scale and shift invariant term", 0},
          {VV_COLUMN_GM, "two", "gradient matching", 0},
          {VV_COLUMN_HELD_OUT + VV_TASK_DEPTH, "ink", "held-out samples", 1}},
         4},
        {"Segmentation",
         "The loss of the masks and its two terms before their weights; DICE of 1 is no overlap, 0 is all of it.",
         0,
         0,
         {{VV_COLUMN_LOSS + VV_TASK_SEGMENTATION, "segmentation", "segmentation", 0},
          {VV_COLUMN_BCE, "one", "BCE", 0},
          {VV_COLUMN_DICE, "two", "DICE", 0},
          {VV_COLUMN_HELD_OUT + VV_TASK_SEGMENTATION, "ink", "held-out samples", 1}},
         4},
        {"Gradient norm",
         "Over all parameters that train, before clipping, on a logarithmic axis; look for spikes and for a rise that "
         "does not end.",
         1,
         0,
         {{VV_COLUMN_GRAD_NORM, "ink", "norm", 0}},
         1}};
    vv_page_put(p, "<h2>Training</h2>\n");
    if (r->log.n == 0) {
        vv_page_put(p, "<p>The folder has no log.jsonl: there are no curves to draw.</p>\n");
        return;
    }
    vv_page_put(
        p,
        "<p class=\"faint\">Stages have equal widths, whatever their number of updates. Thin lines are single updates, "
        "thick ones the mean over about 4 %% of a stage. Colours, here and below, are from the palette of Okabe and "
        "Ito, made to be told apart with every kind of colour vision.</p>\n");
    for (int k = 0; k < 3; k++) draw(p, &r->log, &f[k]);
    rates(p, &r->log);
    draw(p, &r->log, &f[3]);
}
