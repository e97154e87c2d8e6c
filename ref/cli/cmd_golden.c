#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/report.h"
#include "golden/tower.h"
#include "tape/tape.h"

/* ---- make ---------------------------------------------------------------------------------------------------------------- */
static const cli_usage make_usage = {
    "golden make CASE -o FILE [--checkpoint]",
    "Runs a built-in case, forward and backward, and records every activation, every gradient and the loss.",
    "CASE is one of data/cases (tower-micro, tower-odd) or the path of such a file. The double BLAS=none build writes "
    "the truth\n"
    "that is committed in golden/; any other build writes a candidate for `golden check`.",
    "versavit golden make tower-micro -o mine.safetensors",
    1,
    1};

static int golden_make(int argc, char **argv)
{
    const char *out = NULL;
    int checkpoint = 0;
    const cli_option options[] = {{"output", 'o', "FILE", "safetensors file to write", &out, NULL, NULL, NULL},
                                  {"checkpoint", 0, NULL, "recompute blocks in the backward (same bits, less memory)",
                                   NULL, NULL, NULL, &checkpoint},
                                  {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &make_usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    vv_status s = cli_need("-o", out, &err);
    char *path = s == VV_OK ? cli_data_file("cases", args[0]) : NULL;
    if (s == VV_OK)
        s = path ? vv_golden_make(path, out, checkpoint ? VV_CHECKPOINT : 0, &err) : vv_no_memory(&err, args[0]);
    free(path);
    return cli_end(s, &err);
}

/* ---- record --------------------------------------------------------------------------------------------------------------- */
static const cli_usage record_usage = {
    "golden record --model DIR --recording FILE -o OUT [--from image|pixel_values]",
    "Runs the model of a Hugging Face folder on the inputs of another recording and records it with the same keys.",
    NULL,
    "versavit golden record --model golden/torch/micro --recording golden/torch/micro/recording.safetensors -o "
    "mine.safetensors",
    0,
    0};

static int golden_record(int argc, char **argv)
{
    const char *model = NULL, *recording = NULL, *out = NULL, *from = "image";
    const cli_option options[] = {
        {"model", 'm', "DIR", "Hugging Face folder", &model, NULL, NULL, NULL},
        {"recording", 'r', "FILE", "recording whose inputs to use", &recording, NULL, NULL, NULL},
        {"from", 0, "KIND", "start at its image (default) or at its pixel_values", &from, NULL, NULL, NULL},
        {"output", 'o', "FILE", "safetensors file to write", &out, NULL, NULL, NULL},
        {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &record_usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    vv_status s = cli_need("--model", model, &err);
    if (s == VV_OK) s = cli_need("--recording", recording, &err);
    if (s == VV_OK) s = cli_need("-o", out, &err);
    if (s == VV_OK && strcmp(from, "image") && strcmp(from, "pixel_values"))
        s = vv_fail(&err, VV_USAGE, "--from: expected image or pixel_values; found \"%s\"", from);
    if (s == VV_OK) s = vv_golden_record(model, recording, !strcmp(from, "pixel_values"), out, &err);
    return cli_end(s, &err);
}

/* ---- check ----------------------------------------------------------------------------------------------------------------- */
static const cli_usage check_usage = {
    "golden check FILE CANDIDATE [--multiple M | --limit X] [--all] [--json]",
    "Judges a candidate against a golden file, tensor by tensor in the order of execution.",
    "A tensor passes when its relative RMS error is at most M floors (default 16); the floor is what a correct float "
    "build was\n"
    "measured to lose. --limit sets one relative RMS for all instead. Optional tensors may be absent; additional ones "
    "are counted.",
    "versavit golden check golden/tower-micro.safetensors mine.safetensors",
    2,
    2};

static int golden_check(int argc, char **argv)
{
    report_options how = {0};
    vv_compare_options o = {.limit = -1, .ignore_extra = 1};
    const cli_option options[] = {
        {"multiple", 0, "M", "allowed multiple of the floor (default 16)", NULL, NULL, &o.multiple, NULL},
        {"limit", 0, "X", "allowed relative RMS instead", NULL, NULL, &o.limit, NULL},
        {"present", 0, NULL, "judge only what the candidate holds", NULL, NULL, NULL, &o.present},
        {"all", 'a', NULL, "print every tensor", NULL, NULL, NULL, &how.all},
        {"json", 'j', NULL, "the report as JSON", NULL, NULL, NULL, &how.json},
        {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &check_usage, options, &args, &n, &status)) return status;
    return report_comparison(args[0], args[1], &o, &how);
}

/* ---- floors ----------------------------------------------------------------------------------------------------------------- */
static const cli_usage floors_usage = {
    "golden floors TRUTH CANDIDATE... -o FILE",
    "Copies a golden file, adding how far correct float builds land from it: the floor of each tensor.",
    NULL,
    "versavit golden floors truth.safetensors float.safetensors -o golden/tower-micro.safetensors",
    2,
    -1};

static int golden_floors(int argc, char **argv)
{
    const char *out = NULL;
    const cli_option options[] = {{"output", 'o', "FILE", "golden file to write", &out, NULL, NULL, NULL}, {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &floors_usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    vv_status s = cli_need("-o", out, &err);
    if (s == VV_OK) s = vv_golden_floors(args[0], (const char *const *)args + 1, n - 1, out, &err);
    return cli_end(s, &err);
}

/* ---- golden ------------------------------------------------------------------------------------------------------------------ */
static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} verbs[] = {{"make", golden_make, "record a built-in case"},
             {"record", golden_record, "record a model on the inputs of another recording"},
             {"check", golden_check, "judge a candidate against a golden file"},
             {"floors", golden_floors, "add measured floors to a golden file"}};

int cmd_golden(int argc, char **argv)
{
    const size_t n = sizeof verbs / sizeof *verbs;
    for (size_t i = 0; argc > 1 && i < n; i++)
        if (!strcmp(argv[1], verbs[i].name)) return verbs[i].run(argc - 1, argv + 1);
    const int asked = argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"));
    if (argc > 1 && !asked) {
        fprintf(stderr, "versavit: golden %s: unknown verb; see versavit golden --help\n", argv[1]);
        return VV_USAGE;
    }
    FILE *to = asked ? stdout : stderr;
    fprintf(to, "usage: versavit golden VERB [ARGUMENT...]\n\nGolden files: what other backends are checked against. "
                "Each verb has --help.\n\n");
    for (size_t i = 0; i < n; i++) fprintf(to, "  %-8s %s\n", verbs[i].name, verbs[i].summary);
    fprintf(to, "\nexample:\n  %s\n", check_usage.example);
    return asked ? cli_end(VV_OK, NULL) : VV_USAGE;
}
