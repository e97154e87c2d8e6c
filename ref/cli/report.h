/* The table of a comparison, for golden check and diff. */
#ifndef VV_CLI_REPORT_H
#define VV_CLI_REPORT_H

#include <jansson.h>

#include "cli/cli.h"
#include "golden/compare.h"

typedef struct {
    int json, all;   /* one JSON object; every tensor instead of the first ten failures */
    json_t *list;    /* with json: a fresh array, the caller's */
    int incomplete;  /* the list has no memory for all of them */
    int64_t printed; /* lines so far */
    double most;     /* largest multiple of a floor */
} report;

void report_line(void *ctx, const vv_comparison *c); /* a vv_compare_fn */
vv_status report_end(report *r, const char *a, const char *b, vv_status s, const vv_compare_summary *sum,
                     vv_error *err);

#endif
