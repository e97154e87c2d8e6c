/* The table of a comparison, for golden check and diff. */
#include "cli/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_FAILURES = 10 };

int report_format_parse(const char *name, report_format *f)
{
    static const char *const names[] = {"text", "json", "csv", "junit"};
    for (int i = 0; i < 4; i++)
        if (!strcmp(names[i], name)) {
            *f = (report_format)i;
            return 1;
        }
    return 0;
}

const char *report_reason(const vv_judgement *x, char *buf, size_t size)
{
    char at[200], shape[200];
    switch (x->verdict) {
    case VV_MISSING:
        snprintf(buf, size, "expected this tensor; found none");
        break;
    case VV_DUPLICATE:
        snprintf(buf, size, "expected this tensor once; found several");
        break;
    case VV_SHAPE:
        snprintf(buf, size, "expected shape %s; found %s",
                 vv_shape_text(x->entry->shape, x->entry->ndim, at, sizeof at),
                 vv_shape_text(x->shape, x->ndim, shape, sizeof shape));
        break;
    case VV_UNTRUSTED:
        snprintf(buf, size, "the reference is not finite, or the same number everywhere: it proves nothing");
        break;
    case VV_NOT_FINITE:
        snprintf(buf, size, "at %s expected %.9g; found %.9g", vv_index_text(x->entry, x->m.worst, at, sizeof at),
                 x->m.want, x->m.got);
        break;
    default:
        snprintf(buf, size, "relative RMS %.3g, limit %.3g; at %s expected %.9g, found %.9g", x->m.rel_rms, x->limit,
                 vv_index_text(x->entry, x->m.worst, at, sizeof at), x->m.want, x->m.got);
    }
    return buf;
}

/* ---- text ---------------------------------------------------------------------------------------------------------------- */
static void print_line(const vv_judgement *x)
{
    char at[200];
    printf("%-10s %-52s ", vv_verdict_name(x->verdict), x->entry->key);
    if (x->verdict == VV_SHAPE || x->verdict == VV_MISSING || x->verdict == VV_DUPLICATE) {
        char reason[500];
        printf("%s\n", report_reason(x, reason, sizeof reason));
        return;
    }
    if (!x->measured) {
        printf("\n");
        return;
    }
    const double m = vv_multiple(x), proven = vv_proven(x);
    if (isfinite(m)) printf("%8.3g", m);
    else printf("%8s", "-");
    printf(" %9.2e %9.2e %9.2e ", x->m.rel_rms, x->floor, x->limit);
    if (isfinite(proven)) printf("%9.2e", proven);
    else printf("%9s", "-");
    printf(" %9.2e %9.2e %8.3g %8.3g %8.3g  %s %.9g %.9g", x->m.max_abs, 1 - x->m.cosine, x->m.ulp[VV_ULP_50],
           x->m.ulp[VV_ULP_99], x->m.ulp[VV_ULP_MAX], vv_index_text(x->entry, x->m.worst, at, sizeof at), x->m.want,
           x->m.got);
    if (x->alternative) printf(" (alternative %d)", x->alternative);
    printf("\n");
}

static void print_table(const vv_judged *j, int all)
{
    int64_t failed = 0, printed = 0;
    for (int64_t i = 0; i < j->n; i++) {
        const vv_judgement *x = &j->at[i];
        const int fails = vv_verdict_fails(x->verdict) && x->verdict != VV_MISSING; /* the closing lines count those */
        failed += fails;
        if (!all && (!fails || failed > FIRST_FAILURES)) continue;
        if (printed++ == 0)
            printf("%-10s %-52s %8s %9s %9s %9s %9s %9s %9s %8s %8s %8s  %s\n", "verdict", "tensor", "floors",
                   "rel rms", "floor", "limit", "proven", "max abs", "1-cosine", "ulp 50%", "ulp 99%", "ulp max",
                   "worst: index expected got");
        print_line(x);
    }
    if (!all && failed > FIRST_FAILURES)
        printf("... %lld more (--all shows every tensor)\n", (long long)(failed - FIRST_FAILURES));
}

static void print_neighbours(const vv_judgement *x)
{
    char at[200];
    if (!x->measured || x->near_n < 2) return;
    printf("  around the worst, from %s: expected", vv_index_text(x->entry, x->near_first, at, sizeof at));
    for (int i = 0; i < x->near_n; i++) printf(" %.6g", x->near_want[i]);
    printf("; found");
    for (int i = 0; i < x->near_n; i++) printf(" %.6g", x->near_got[i]);
    printf("\n");
}

static void print_fault(const report *r)
{
    const vv_fault *f = r->f;
    char reason[500];
    if (f->first) {
        printf("first to diverge, in the order of execution: %s\n", f->first->entry->key);
        printf("  %s\n", report_reason(f->first, reason, sizeof reason));
        print_neighbours(f->first);
        for (int i = 0; i < f->n_before; i++) {
            const vv_judgement *b = f->before[i];
            const double m = vv_multiple(b);
            printf("  %s %s: ", i ? "     then" : "before it", b->entry->key);
            if (isfinite(m)) printf("%.3g floors\n", m);
            else printf("relative RMS %.2e\n", b->m.rel_rms);
        }
        if (f->cause[0])
            printf("likely cause: %s (that leaves %.2e of %.2e)\n", f->cause, f->left, f->first->m.rel_rms);
    }
    if (f->precision[0]) printf("precision: %s\n", f->precision);
}

static void print_text(const report *r, int all)
{
    const vv_judged *j = r->j;
    const int64_t common = j->judged - j->absent - j->missing;
    print_table(j, all);
    print_fault(r);
    if (j->missing)
        printf("missing: %lld required tensors, the first %s (--present judges only what is there)\n",
               (long long)j->missing, j->first_missing->entry->key);
    if (cli_quiet) return;
    printf("%s: %lld of %lld common tensors within their limits", r->equal ? "equal" : "DIFFERENT",
           (long long)(common - j->failed), (long long)common);
    if (j->most > 0) printf("; the worst at %.1f times its floor", j->most);
    if (j->ties) printf("; %lld with other choices in a tie", (long long)j->ties);
    if (j->absent) printf("; %lld of %s absent", (long long)j->absent, r->a);
    if (j->extra) printf("; %lld more in %s", (long long)j->extra, r->b);
    printf("\n");
}

int report_comparison(const char *a, const char *b, const vv_judge_options *o, const report_options *how)
{
    vv_error err = {0};
    vv_judged j;
    vv_fault fault;
    const vv_status judged = vv_judge(&j, a, b, o, &err);
    vv_status s = judged == VV_DIFFERS ? VV_OK : judged;
    if (s != VV_OK) return cli_end(s, &err);
    s = vv_fault_find(&fault, &j, &err);
    const report r = {a, b, &j, &fault, judged == VV_OK};
    if (s == VV_OK) switch (how->format) {
        case REPORT_TEXT:
            print_text(&r, how->all);
            break;
        case REPORT_JSON:
            s = report_json(&r, &err);
            break;
        case REPORT_CSV:
            report_csv(&r);
            break;
        case REPORT_JUNIT:
            report_junit(&r);
            break;
        }
    if (s == VV_OK && how->html) s = report_page(&r, how->html, &err);
    vv_judged_free(&j);
    return cli_end(s == VV_OK ? judged : s, &err);
}
