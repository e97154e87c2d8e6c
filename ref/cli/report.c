/* The table of a comparison, for golden check and diff. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/report.h"

typedef struct {
    report_options how;
    json_t *list;    /* with json */
    int incomplete;  /* the list has no memory for all of them */
    int64_t printed; /* lines so far */
    double most;     /* largest multiple of a floor */
} report;

/* JSON has no NaN and no infinity */
static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static void print_line(void *ctx, const vv_comparison *c)
{
    report *r = ctx;
    const int fails = c->verdict != VV_PASS && c->verdict != VV_ABSENT;
    if (r->how.json) {
        json_t *line = json_pack("{s:s, s:s, s:o, s:o, s:f, s:f, s:I, s:o, s:o}", "key", c->key, "verdict",
                                 vv_verdict_name(c->verdict), "rel_rms", number(c->rel_rms), "max_abs",
                                 number(c->max_abs), "limit", c->limit, "floor", c->floor, "worst_index",
                                 (json_int_t)c->worst, "want", number(c->want), "got", number(c->got));
        r->incomplete |= json_array_append_new(r->list, line);
        return;
    }
    if (c->floor > 0 && c->rel_rms / c->floor > r->most) r->most = c->rel_rms / c->floor;
    if (c->verdict == VV_MISSING || c->verdict == VV_ABSENT) {
        if (r->how.all) printf("%-10s %s\n", vv_verdict_name(c->verdict), c->key);
        return; /* without numbers; the summary counts them */
    }
    if (!fails && !r->how.all) return;
    if (r->printed++ == 0)
        printf("%-10s %-52s %9s %9s %9s  %s\n", "verdict", "tensor", "rel rms", "limit", "max abs",
               "worst: index expected got");
    if (!r->how.all && r->printed > 10) return;
    printf("%-10s %-52s %9.2e %9.2e %9.2e  [%lld] %.9g %.9g\n", vv_verdict_name(c->verdict), c->key, c->rel_rms,
           c->limit, c->max_abs, (long long)c->worst, c->want, c->got);
}

static vv_status print_end(report *r, const char *a, const char *b, vv_status s, const vv_compare_summary *sum,
                           vv_error *err)
{
    if (s != VV_OK && s != VV_DIFFERS) return s;
    if (r->how.json) {
        json_t *root = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:s, s:O}", "equal", s == VV_OK, "tensors",
                                 (json_int_t)sum->tensors, "failed", (json_int_t)sum->failed, "missing",
                                 (json_int_t)sum->missing, "absent", (json_int_t)sum->absent, "extra",
                                 (json_int_t)sum->extra, "first", sum->first, "comparisons", r->list);
        char *text = root && !r->incomplete ? vv_json_text(root, JSON_INDENT(1)) : NULL;
        if (text) puts(text);
        else s = vv_no_memory(err, "json");
        free(text);
        json_decref(root);
        return s;
    }
    if (r->printed > 10 && !r->how.all)
        printf("... %lld more (--all shows every tensor)\n", (long long)r->printed - 10);
    if (sum->failed) printf("first to diverge, in the order of execution: %s\n", sum->first);
    if (sum->missing)
        printf("missing: %lld required tensors, the first %s (--present judges only what is there)\n",
               (long long)sum->missing, sum->first_missing);
    if (cli_quiet) return s;
    const int64_t common = sum->tensors - sum->absent - sum->missing;
    printf("%s: %lld of %lld common tensors within their limits", s == VV_OK ? "equal" : "DIFFERENT",
           (long long)(common - sum->failed), (long long)common);
    if (r->most > 0) printf("; the worst at %.1f times its floor", r->most);
    if (sum->absent) printf("; %lld of %s absent", (long long)sum->absent, a);
    if (sum->extra) printf("; %lld more in %s", (long long)sum->extra, b);
    printf("\n");
    return s;
}

int report_comparison(const char *a, const char *b, const vv_compare_options *o, const report_options *how)
{
    vv_error err = {0};
    vv_compare_summary sum;
    report r = {.how = *how, .list = how->json ? json_array() : NULL};
    vv_status s = vv_compare(a, b, o, print_line, &r, &sum, &err);
    s = print_end(&r, a, b, s, &sum, &err);
    json_decref(r.list);
    return cli_end(s, &err);
}
