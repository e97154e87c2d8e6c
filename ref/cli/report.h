/* The report of a comparison, for golden check and diff: what a person reads, and what programs read. */
#ifndef VV_CLI_REPORT_H
#define VV_CLI_REPORT_H

#include "cli/cli.h"
#include "golden/fault.h"

typedef enum { REPORT_TEXT, REPORT_JSON, REPORT_CSV, REPORT_JUNIT } report_format;
int report_format_parse(const char *name, report_format *f); /* 1 when the name is known */

typedef struct {
    report_format format;
    int all;          /* in text: every tensor instead of the first ten failures */
    const char *html; /* a page to write besides, NULL: none */
} report_options;

/* Judges candidate b by a and prints the report; returns the exit status. */
int report_comparison(const char *a, const char *b, const vv_judge_options *o, const report_options *how);

/* ---- inside report*.c: the same report in other forms --------------------------------------------------------------------- */
typedef struct {
    const char *a, *b; /* as they were named */
    const vv_judged *j;
    const vv_fault *f;
    int equal;
} report;

vv_status report_json(const report *r, vv_error *err) VV_MUST_USE;
void report_csv(const report *r);
void report_junit(const report *r);
vv_status report_page(const report *r, const char *path, vv_error *err) VV_MUST_USE;

/* One line that says why a tensor fails, into buf; returns it. */
const char *report_reason(const vv_judgement *x, char *buf, size_t size);

#endif
