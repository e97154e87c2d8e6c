/* The report of a comparison as a page: tensors down the page in the order of execution, their errors on a logarithmic axis.
 *
 * A row is a tensor: the grey bar reaches from its floor to its limit, the mark is its error. Left of the bar: better than the floor;
 * right of it: failed. A tick stands at the proven bound where there is one. */
#include <math.h>
#include <string.h>

#include "base/elementary.h"
#include "cli/report.h"
#include "eval/report_parts.h"
#include "io/file.h"

enum { WIDTH = 960, LEFT = 372, RIGHT = 860, ROW = 17, HEAD = 26 };

static const char style[] =
    ":root{color-scheme:light "
    "dark;--paper:#fff;--ink:#1a1a1a;--faint:#6a6a6a;--rule:#e2e2e2;--panel:#f6f6f6;--band:#cfd8dc;"
    "--good:#0072b2;--bad:#d55e00}\n"
    "@media (prefers-color-scheme:dark){:root{--paper:#161616;--ink:#e8e8e8;--faint:#a0a0a0;--rule:#333;--panel:#222;"
    "--band:#3d4a50;--good:#56b4e9;--bad:#ff8c42}}\n"
    "body{margin:2rem auto;max-width:66rem;padding:0 1rem;background:var(--paper);color:var(--ink);font:16px/1.5 "
    "system-ui,"
    "sans-serif}\n"
    "h1{font-size:1.5rem;margin-bottom:.3rem}h2{font-size:1.15rem;margin:2.2rem 0 .3rem}.faint{color:var(--faint)}\n"
    ".box{background:var(--panel);border-left:5px solid var(--good);padding:.8rem 1.1rem;margin:1rem 0}\n"
    ".box.bad{border-color:var(--bad)}.box p{margin:.25rem 0}.box b.v{font-size:1.15rem}code{font:.9em ui-monospace,"
    "monospace}\n"
    "svg{display:block;width:100%;min-width:44rem;height:auto;font:11px system-ui,sans-serif}svg "
    "text{fill:var(--ink)}svg "
    ".dim{fill:var(--"
    "faint)}\n"
    "svg .proven{stroke:var(--ink);stroke-width:1.5}svg .rule{stroke:var(--rule)}svg .band{fill:var(--band)}svg "
    ".pass{fill:var(--good)}svg "
    ".fail{fill:none;stroke:var(--bad);"
    "stroke-width:2.4}\n"
    "svg text.bad{fill:var(--bad);font-weight:600}svg .hit{fill:transparent}svg g:hover "
    ".hit{fill:var(--rule);opacity:.6}\n"
    "svg .first{fill:var(--bad);opacity:.12}table{border-collapse:collapse;font-size:.8rem}th,td{padding:.15rem .6rem;"
    "text-align:left;border-bottom:1px solid var(--rule);font-variant-numeric:tabular-nums;white-space:nowrap}\n"
    "td.n,th.n{text-align:right}tr.bad td{color:var(--bad)}.wide{overflow-x:auto}summary{cursor:pointer;margin:2rem 0 "
    "1rem}\n";

/* ---- the axis ------------------------------------------------------------------------------------------------------------ */
typedef struct {
    int lo, hi; /* powers of ten */
} axis;

static double decades(double x) { return vv_log(x) / vv_log(10); }

static int charted(const vv_judgement *x)
{
    return x->measured && x->entry->class == VV_CHAIN && x->m.finite_g && x->m.finite_r;
}

static int failed_mark(const vv_judgement *x) { return vv_verdict_fails(x->verdict); }

static axis axis_of(const vv_judged *j)
{
    double lo = HUGE_VAL, hi = 0;
    for (int64_t i = 0; i < j->n; i++) {
        const vv_judgement *x = &j->at[i];
        if (!charted(x)) continue;
        const double least = x->floor > 0 ? x->floor : x->limit, e = x->m.rel_rms;
        if (e > 0) lo = fmin(lo, e);
        if (least > 0) lo = fmin(lo, least);
        hi = fmax(hi, fmax(fmax(e, x->limit), isfinite(vv_proven(x)) ? vv_proven(x) : 0));
    }
    axis a = {-8, 0};
    if (lo < HUGE_VAL && hi > 0) {
        a.lo = (int)fmax(-18, floor(decades(lo)));
        a.hi = (int)fmin(18, ceil(decades(hi)));
        if (a.hi <= a.lo) a.hi = a.lo + 1;
    }
    return a;
}

static double across(const axis *a, double x)
{
    const double t = x > 0 ? (decades(x) - a->lo) / (a->hi - a->lo) : 0;
    return LEFT + fmin(1, fmax(0, t)) * (RIGHT - LEFT);
}

static void draw_axis(vv_page *p, const axis *a, int64_t rows)
{
    const int step = a->hi - a->lo > 10 ? 2 : 1;
    for (int k = a->lo; k <= a->hi; k += step) {
        const double x = LEFT + (double)(k - a->lo) / (a->hi - a->lo) * (RIGHT - LEFT);
        vv_page_put(p,
                    "<path class=\"rule\" d=\"M%.1f %dV%lld\"/><text class=\"dim\" text-anchor=\"middle\" x=\"%.1f\" "
                    "y=\"13\">1e%d</text>",
                    x, HEAD - 8, (long long)(HEAD + rows * ROW), x, k);
    }
    vv_page_put(p,
                "<text class=\"dim\" x=\"0\" y=\"13\">relative RMS error of each tensor</text><text class=\"dim\" "
                "text-anchor=\"end\" x=\"%d\" "
                "y=\"13\">floors</text>\n",
                WIDTH - 4);
}

/* ---- one tensor ---------------------------------------------------------------------------------------------------------- */
static void tooltip(vv_page *p, const vv_judgement *x)
{
    char text[900], at[200];
    vv_page_put(p, "<title>");
    vv_page_text(p, x->entry->key);
    snprintf(text, sizeof text,
             "\n%s: relative RMS %.3g, limit %.3g, floor %.3g\nlargest difference %.3g at %s: expected %.9g, found "
             "%.9g\ncosine 1 - %.2g; ULP 50%% %.3g, "
             "99%% %.3g, most %.3g",
             vv_verdict_name(x->verdict), x->m.rel_rms, x->limit, x->floor, x->m.max_abs,
             vv_index_text(x->entry, x->m.worst, at, sizeof at), x->m.want, x->m.got, 1 - x->m.cosine, x->m.ulp[0],
             x->m.ulp[1], x->m.ulp[2]);
    vv_page_text(p, text);
    vv_page_put(p, "</title>");
}

/* its last `most` characters, which tell tensors apart */
static void label(vv_page *p, const char *name, size_t most)
{
    const size_t n = strlen(name);
    if (n > most) vv_page_text(p, "\xe2\x80\xa6");
    vv_page_text(p, n > most ? name + n - most : name);
}

static void row(vv_page *p, const report *r, const axis *a, const vv_judgement *x, int64_t at)
{
    const double y = HEAD + (double)at * ROW, middle = y + ROW / 2.0, m = vv_multiple(x);
    const int bad = failed_mark(x);
    vv_page_put(p, "<g>");
    if (x == r->f->first)
        vv_page_put(p, "<rect class=\"first\" x=\"0\" y=\"%.1f\" width=\"%d\" height=\"%d\"/>", y, WIDTH, ROW);
    vv_page_put(p, "<text class=\"%s\" text-anchor=\"end\" x=\"%d\" y=\"%.1f\">", bad ? "bad" : "", LEFT - 14,
                middle + 4);
    label(p, x->entry->name, 58);
    vv_page_put(p, "</text>");
    if (charted(x)) {
        const double from = x->floor > 0 ? across(a, x->floor) : LEFT, to = across(a, x->limit),
                     e = across(a, x->m.rel_rms);
        vv_page_put(p, "<rect class=\"band\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"6\"/>", from, middle - 3,
                    fmax(1, to - from));
        if (isfinite(vv_proven(x)))
            vv_page_put(p, "<path class=\"proven\" d=\"M%.1f %.1fv10\"/>", across(a, vv_proven(x)), middle - 5);
        if (bad) vv_page_put(p, "<path class=\"fail\" d=\"M%.1f %.1fl9 9m0 -9l-9 9\"/>", e - 4.5, middle - 4.5);
        else vv_page_put(p, "<circle class=\"pass\" cx=\"%.1f\" cy=\"%.1f\" r=\"4\"/>", e, middle);
    } else {
        vv_page_put(p, "<text class=\"%s\" x=\"%d\" y=\"%.1f\">%s</text>", bad ? "bad" : "dim", LEFT + 4, middle + 4,
                    vv_verdict_name(x->verdict));
    }
    if (isfinite(m))
        vv_page_put(p, "<text class=\"%s\" text-anchor=\"end\" x=\"%d\" y=\"%.1f\">%.3g</text>", bad ? "bad" : "dim",
                    WIDTH - 4, middle + 4, m);
    vv_page_put(p, "<rect class=\"hit\" x=\"0\" y=\"%.1f\" width=\"%d\" height=\"%d\" fill-opacity=\"0.25\">", y, WIDTH,
                ROW);
    if (x->measured) tooltip(p, x);
    vv_page_put(p, "</rect></g>\n");
}

/* ---- sections --------------------------------------------------------------------------------------------------------------- */
static const char *const kind_title[] = {"Inputs",
                                         "Weights it starts from",
                                         "First moments",
                                         "Second moments",
                                         "Forward: activations",
                                         "Losses",
                                         "Backward: gradients of activations",
                                         "Gradients of weights",
                                         "Steps of the optimizer",
                                         "",
                                         "Tensors"};

static int belongs(const vv_judgement *x, const vv_judgement *first)
{
    return x->entry->kind == first->entry->kind && x->entry->task_n == first->entry->task_n &&
           (first->entry->kind == VV_KIND_OTHER ||
            !strncmp(x->entry->task, first->entry->task, (size_t)x->entry->task_n));
}

/* worth a row: chart or failure; exact and absent ones are counted */
static int shown(const vv_judgement *x) { return charted(x) || failed_mark(x); }

static void section(vv_page *p, const report *r, const axis *a, int64_t from)
{
    const vv_judgement *first = &r->j->at[from];
    int64_t rows = 0, all = 0, at = 0, failed = 0;
    for (int64_t i = from; i < r->j->n; i++)
        if (belongs(&r->j->at[i], first)) {
            all++;
            rows += shown(&r->j->at[i]);
            failed += failed_mark(&r->j->at[i]);
        }
    vv_page_put(p, "<h2>%s", kind_title[first->entry->kind]);
    if (first->entry->kind != VV_KIND_OTHER) {
        vv_page_put(p, " <span class=\"faint\">");
        char task[200];
        snprintf(task, sizeof task, "%.*s", first->entry->task_n, first->entry->task);
        vv_page_text(p, task);
        vv_page_put(p, "</span>");
    }
    vv_page_put(p, "</h2>\n<p class=\"faint\">%lld tensor%s, %lld failed%s</p>\n", (long long)all, all == 1 ? "" : "s",
                (long long)failed, rows < all ? "; those that are equal, discrete or absent are not drawn" : "");
    if (rows == 0) return;
    vv_page_put(p, "<div class=\"wide\"><svg viewBox=\"0 0 %d %lld\" role=\"img\" aria-label=\"errors\">\n", WIDTH,
                (long long)(HEAD + rows * ROW + 4));
    draw_axis(p, a, rows);
    for (int64_t i = from; i < r->j->n; i++)
        if (belongs(&r->j->at[i], first) && shown(&r->j->at[i])) row(p, r, a, &r->j->at[i], at++);
    vv_page_put(p, "</svg></div>\n");
}

static void sections(vv_page *p, const report *r)
{
    const axis a = axis_of(r->j);
    for (int64_t i = 0; i < r->j->n; i++) {
        int seen = 0;
        for (int64_t k = 0; k < i && !seen; k++) seen = belongs(&r->j->at[i], &r->j->at[k]);
        if (!seen) section(p, r, &a, i);
    }
}

static void line(vv_page *p, const char *what, const char *text)
{
    vv_page_put(p, "<p>%s ", what);
    vv_page_text(p, text);
    vv_page_put(p, "</p>\n");
}

static void summary(vv_page *p, const report *r)
{
    const vv_judged *j = r->j;
    const vv_fault *f = r->f;
    char text[900], reason[500];
    vv_page_put(p, "<h1>Golden check</h1>\n<p class=\"faint\">");
    vv_page_text(p, r->b);
    vv_page_put(p, " judged by ");
    vv_page_text(p, r->a);
    vv_page_put(p, "</p>\n<div class=\"box%s\">\n<p><b class=\"v\">%s</b></p>\n", r->equal ? "" : " bad",
                r->equal ? "Equal within the limits" : "Different");
    snprintf(
        text, sizeof text,
        "%lld tensors: %lld failed, %lld missing, %lld absent, %lld more in the candidate; the worst at %.1f floors",
        (long long)j->judged, (long long)j->failed, (long long)j->missing, (long long)j->absent, (long long)j->extra,
        j->most);
    line(p, "", text);
    if (f->first) {
        vv_page_put(p, "<p>First to diverge: <code>");
        vv_page_text(p, f->first->entry->key);
        vv_page_put(p, "</code></p>\n");
        line(p, "", report_reason(f->first, reason, sizeof reason));
        for (int i = 0; i < f->n_before; i++) {
            snprintf(text, sizeof text, "%s at %.3g floors", f->before[i]->entry->key, vv_multiple(f->before[i]));
            line(p, i ? "then" : "before it", text);
        }
    }
    if (f->cause[0]) line(p, "<b>Likely cause:</b>", f->cause);
    if (f->precision[0]) line(p, "<b>Precision:</b>", f->precision);
    vv_page_put(p, "</div>\n<p class=\"faint\">The bar of a tensor reaches from its floor, what correct builds were "
                   "measured to lose, to its limit; the mark is "
                   "its error. A tick is a proven bound, where there is one. Point at a row for its numbers.</p>\n");
}

static void table(vv_page *p, const report *r)
{
    vv_page_put(p, "<details><summary>All numbers</summary><div "
                   "class=\"wide\"><table><tr><th>verdict</th><th>tensor</th><th class=\"n\">floors</th><th "
                   "class=\"n\">rel rms</th><th class=\"n\">floor</th><th class=\"n\">limit</th><th "
                   "class=\"n\">proven</th><th class=\"n\">max abs</th><th "
                   "class=\"n\">1-cosine</th><th class=\"n\">ulp "
                   "50%%</th><th class=\"n\">ulp 99%%</th><th class=\"n\">ulp max</th><th>worst</th><th "
                   "class=\"n\">expected</th><th "
                   "class=\"n\">found</th></tr>\n");
    for (int64_t i = 0; i < r->j->n; i++) {
        const vv_judgement *x = &r->j->at[i];
        char at[200];
        vv_page_put(p, "<tr%s><td>%s</td><td>", failed_mark(x) ? " class=\"bad\"" : "", vv_verdict_name(x->verdict));
        vv_page_text(p, x->entry->key);
        vv_page_put(p, "</td>");
        if (x->measured) {
            if (isfinite(vv_multiple(x))) vv_page_put(p, "<td class=\"n\">%.3g</td>", vv_multiple(x));
            else vv_page_put(p, "<td></td>");
            vv_page_put(p, "<td class=\"n\">%.3g</td><td class=\"n\">%.3g</td><td class=\"n\">%.3g</td>", x->m.rel_rms,
                        x->floor, x->limit);
            if (isfinite(vv_proven(x))) vv_page_put(p, "<td class=\"n\">%.3g</td>", vv_proven(x));
            else vv_page_put(p, "<td></td>");
            vv_page_put(p,
                        "<td class=\"n\">%.3g</td><td "
                        "class=\"n\">%.2g</td><td class=\"n\">%.3g</td><td "
                        "class=\"n\">%.3g</td><td class=\"n\">%.3g</td><td>%s</td><td class=\"n\">%.9g</td><td "
                        "class=\"n\">%.9g</td>",
                        x->m.max_abs, 1 - x->m.cosine, x->m.ulp[0], x->m.ulp[1], x->m.ulp[2],
                        vv_index_text(x->entry, x->m.worst, at, sizeof at), x->m.want, x->m.got);
        }
        vv_page_put(p, "</tr>\n");
    }
    vv_page_put(p, "</table></div></details>\n");
}

vv_status report_page(const report *r, const char *path, vv_error *err)
{
    vv_page p = {0};
    vv_page_put(&p,
                "<!DOCTYPE html>\n<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head><meta "
                "charset=\"utf-8\"/><meta name=\"viewport\" "
                "content=\"width=device-width\"/>\n<title>Golden check</title>\n<style>\n%s</style></head>\n<body>\n",
                style);
    summary(&p, r);
    sections(&p, r);
    table(&p, r);
    vv_page_put(&p, "</body>\n</html>");
    const vv_status s = p.failed ? vv_no_memory(err, path) : vv_out_text(path, p.text, err);
    vv_page_free(&p);
    return s;
}
