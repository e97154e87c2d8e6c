/* The table of a comparison, for golden check and diff. */
#ifndef VV_CLI_REPORT_H
#define VV_CLI_REPORT_H

#include "cli/cli.h"
#include "golden/compare.h"

typedef struct {
    int json, all; /* one JSON object; every tensor instead of the first ten failures */
} report_options;

/* Compares file b with file a and prints the report; returns the exit status. */
int report_comparison(const char *a, const char *b, const vv_compare_options *o, const report_options *how);

#endif
