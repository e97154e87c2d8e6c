#include "cli/cli.h"
#include "cli/report.h"

static const cli_usage usage = {
    "diff A B [--limit X] [--all] [--json]",
    "Compares two recordings, or any two safetensors files, tensor by tensor, and names the first that diverges.",
    "The order is that of execution when A is a recording, else that of the file. A tensor differs when the relative "
    "RMS\n"
    "RMS(b - a) / RMS(a) is above X (default 0: any difference of value); a tensor in only one file is a difference "
    "too.\n"
    "Numbers are compared as numbers: an F32 and an F64 may be equal.",
    "versavit diff golden/tower-micro/golden.safetensors mine.safetensors --limit 1e-5",
    2,
    2};

int cmd_diff(int argc, char **argv)
{
    report_options how = {0};
    int json = 0;
    vv_judge_options o = {.scope = VV_SCOPE_UPDATE};
    const cli_option options[] = {
        {"limit", 0, "X", "largest relative RMS that counts as equal", NULL, NULL, &o.limit, NULL},
        {"present", 0, NULL, "judge only what the candidate holds", NULL, NULL, NULL, &o.present},
        {"all", 'a', NULL, "print every tensor", NULL, NULL, NULL, &how.all},
        {"json", 'j', NULL, "the report as JSON", NULL, NULL, NULL, &json},
        {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &usage, options, &args, &n, &status)) return status;
    if (json) how.format = REPORT_JSON;
    return report_comparison(args[0], args[1], &o, &how);
}
