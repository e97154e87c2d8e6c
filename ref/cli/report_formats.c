/* The report of a comparison for programs: JSON, CSV, JUnit. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/report.h"

/* ---- JSON ---------------------------------------------------------------------------------------------------------------- */
/* it has no NaN and no infinity */
static json_t *number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static json_t *place(const vv_golden_entry *e, int64_t flat)
{
    char text[200];
    return json_loads(vv_index_text(e, flat, text, sizeof text), 0, NULL);
}

static json_t *numbers(const vv_judgement *x)
{
    const vv_measure *m = &x->m;
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:f, s:f, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:I, s:i}", "key",
                     x->entry->key, "verdict", vv_verdict_name(x->verdict), "rel_rms", number(m->rel_rms), "max_abs",
                     number(m->max_abs), "cosine", number(m->cosine), "limit", x->limit, "floor", x->floor, "floors",
                     number(vv_multiple(x)), "proven", number(vv_proven(x)), "ulp",
                     json_pack("[o,o,o]", number(m->ulp[0]), number(m->ulp[1]), number(m->ulp[2])), "worst_index",
                     (json_int_t)m->worst, "worst", place(x->entry, m->worst), "want", number(m->want), "got",
                     number(m->got), "ties", (json_int_t)x->ties, "alternative", x->alternative);
}

static json_t *comparison(const vv_judgement *x)
{
    char reason[500];
    if (x->measured) return numbers(x);
    return json_pack("{s:s, s:s, s:s}", "key", x->entry->key, "verdict", vv_verdict_name(x->verdict), "reason",
                     x->verdict == VV_ABSENT ? "" : report_reason(x, reason, sizeof reason));
}

static json_t *before(const vv_fault *f)
{
    json_t *list = json_array();
    for (int i = 0; i < f->n_before; i++)
        if (json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "key", f->before[i]->entry->key, "rel_rms",
                                                  number(f->before[i]->m.rel_rms), "floors",
                                                  number(vv_multiple(f->before[i]))))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

vv_status report_json(const report *r, vv_error *err)
{
    const vv_judged *j = r->j;
    json_t *list = json_array();
    int incomplete = !list;
    for (int64_t i = 0; !incomplete && i < j->n; i++) incomplete = json_array_append_new(list, comparison(&j->at[i]));
    json_t *root = json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:o, s:s, s:s, s:o}", "equal", r->equal,
                             "tensors", (json_int_t)j->judged, "failed", (json_int_t)j->failed, "missing",
                             (json_int_t)j->missing, "absent", (json_int_t)j->absent, "extra", (json_int_t)j->extra,
                             "ties", (json_int_t)j->ties, "first", j->first ? j->first->entry->key : "",
                             "first_missing", j->first_missing ? j->first_missing->entry->key : "", "before",
                             before(r->f), "cause", r->f->cause, "precision", r->f->precision, "comparisons", list);
    char *text = root && !incomplete ? vv_json_text(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    if (!text) return vv_no_memory(err, "json");
    puts(text);
    free(text);
    return VV_OK;
}

/* ---- CSV ----------------------------------------------------------------------------------------------------------------- */
static void quoted(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"') putchar('"');
        putchar(*text);
    }
    putchar('"');
}

void report_csv(const report *r)
{
    printf("key,verdict,floors,rel_rms,limit,floor,proven,max_abs,cosine,ulp_50,ulp_99,ulp_max,worst,want,got\n");
    for (int64_t i = 0; i < r->j->n; i++) {
        const vv_judgement *x = &r->j->at[i];
        char at[200];
        quoted(x->entry->key);
        printf(",%s,", vv_verdict_name(x->verdict));
        if (!x->measured) {
            printf(",,,,,,,,,,,,\n");
            continue;
        }
        const double m = vv_multiple(x);
        if (isfinite(m)) printf("%.9g", m);
        printf(",%.9g,%.9g,%.9g,", x->m.rel_rms, x->limit, x->floor);
        if (isfinite(vv_proven(x))) printf("%.9g", vv_proven(x));
        printf(",%.9g,%.17g,%.9g,%.9g,%.9g,", x->m.max_abs, x->m.cosine, x->m.ulp[0], x->m.ulp[1], x->m.ulp[2]);
        quoted(vv_index_text(x->entry, x->m.worst, at, sizeof at));
        printf(",%.17g,%.17g\n", x->m.want, x->m.got);
    }
}

/* ---- JUnit --------------------------------------------------------------------------------------------------------------- */
/* Control characters do not exist in XML 1.0. */
static void escaped(const char *text)
{
    for (; *text; text++) {
        const char *as = *text == '&'   ? "&amp;"
                         : *text == '<' ? "&lt;"
                         : *text == '>' ? "&gt;"
                         : *text == '"' ? "&quot;"
                                        : NULL;
        if (as) fputs(as, stdout);
        else putchar((unsigned char)*text < 0x20 ? '?' : *text);
    }
}

static void testcase(const report *r, const vv_judgement *x)
{
    const vv_golden_entry *e = x->entry;
    char reason[500];
    printf("  <testcase classname=\"");
    for (const char *p = e->key; p < e->name; p++)
        if (*p != '/') putchar(*p);
        else if (p + 1 < e->name) putchar('.');
    printf("\" name=\"");
    escaped(e->name);
    printf("\">");
    if (x->verdict == VV_ABSENT) printf("<skipped/>");
    if (vv_verdict_fails(x->verdict)) {
        printf("<failure type=\"%s\" message=\"", vv_verdict_name(x->verdict));
        escaped(report_reason(x, reason, sizeof reason));
        if (x == r->f->first && r->f->cause[0]) {
            printf("; first to diverge; likely cause: ");
            escaped(r->f->cause);
        }
        printf("\"/>");
    }
    printf("</testcase>\n");
}

void report_junit(const report *r)
{
    const vv_judged *j = r->j;
    printf("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n <testsuite name=\"");
    escaped(r->a);
    printf("\" tests=\"%lld\" failures=\"%lld\" skipped=\"%lld\" errors=\"0\">\n", (long long)j->judged,
           (long long)(j->failed + j->missing), (long long)j->absent);
    for (int64_t i = 0; i < j->n; i++) testcase(r, &j->at[i]);
    printf(" </testsuite>\n</testsuites>\n");
}
