/* golden check and golden floors. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/golden.h"
#include "cli/report.h"
#include "golden/floors.h"

/* ---- check ----------------------------------------------------------------------------------------------------------------- */
static const cli_usage check_usage = {
    "golden check FILE CANDIDATE [--precision P] [--scope S] [--map NAME] [--multiple M | --limit X] [--html PAGE]",
    "Judges a candidate against a golden file, tensor by tensor in the order of execution, and says where it goes "
    "wrong first.",
    "CANDIDATE is a .safetensors, an .npz, a folder of .npy (the key as a path), or a folder with golden.safetensors "
    "in it.\n"
    "A tensor passes when its relative RMS error is at most M floors (default 13); the floor is what correct float "
    "builds\n"
    "were measured to lose, or with --precision tf32, bf16 or fp16 what builds that round so do. --limit sets one "
    "relative RMS\n"
    "for all instead. --scope says what must be there: outputs, forward (also activations), backward (also gradients) "
    "or\n"
    "update (also optimizer steps, the default). --map renames and reshapes: transformers, onnx, llama.cpp, or a file.",
    "versavit golden check golden/tower-micro mine.safetensors",
    2,
    2};

typedef struct {
    const char *precision, *scope, *map, *format;
    int json;
} check_words;

static vv_status read_words(const check_words *w, vv_judge_options *o, report_options *how, char **map, vv_error *err)
{
    if (w->precision && !vv_precision_parse(w->precision, &o->precision))
        return vv_fail(err, VV_USAGE, "--precision: expected float, tf32, bf16 or fp16; found \"%s\"", w->precision);
    if (w->scope && !vv_scope_parse(w->scope, &o->scope))
        return vv_fail(err, VV_USAGE, "--scope: expected outputs, forward, backward or update; found \"%s\"", w->scope);
    if (w->format && !report_format_parse(w->format, &how->format))
        return vv_fail(err, VV_USAGE, "--format: expected text, json, csv or junit; found \"%s\"", w->format);
    if (w->json) how->format = REPORT_JSON;
    if (w->map && !(*map = cli_data_file("mappings", w->map))) return vv_no_memory(err, w->map);
    o->map = *map;
    return VV_OK;
}

int golden_check(int argc, char **argv)
{
    report_options how = {0};
    check_words w = {0};
    vv_judge_options o = {.limit = -1, .ignore_extra = 1, .scope = VV_SCOPE_UPDATE};
    const cli_option options[] = {
        {"precision", 'p', "P", "float (default), tf32, bf16 or fp16: which floors to judge by", &w.precision, NULL,
         NULL, NULL},
        {"scope", 's', "S", "what must be there: outputs, forward, backward or update (default)", &w.scope, NULL, NULL,
         NULL},
        {"map", 'm', "NAME", "a mapping of data/mappings, or the path of such a file", &w.map, NULL, NULL, NULL},
        {"multiple", 0, "M", "allowed multiple of the floor (default 13)", NULL, NULL, &o.multiple, NULL},
        {"limit", 0, "X", "allowed relative RMS instead", NULL, NULL, &o.limit, NULL},
        {"floors", 0, "FILE", "floors of one's own, as `golden floors` writes them", &o.floors, NULL, NULL, NULL},
        {"present", 0, NULL, "judge only what the candidate holds", NULL, NULL, NULL, &o.present},
        {"all", 'a', NULL, "print every tensor", NULL, NULL, NULL, &how.all},
        {"format", 'f', "F", "text (default), json, csv or junit", &w.format, NULL, NULL, NULL},
        {"json", 'j', NULL, "the same as --format json", NULL, NULL, NULL, &w.json},
        {"html", 0, "PAGE", "also draw it as a page", &how.html, NULL, NULL, NULL},
        {0}};
    char **args, *map = NULL;
    int n, status;
    if (!cli_parse(argc, argv, &check_usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    const vv_status s = read_words(&w, &o, &how, &map, &err);
    status = s == VV_OK ? report_comparison(args[0], args[1], &o, &how) : cli_end(s, &err);
    free(map);
    return status;
}

/* ---- floors ----------------------------------------------------------------------------------------------------------------- */
static const cli_usage floors_usage = {
    "golden floors TRUTH CANDIDATE... -o FILE",
    "Copies a golden file, adding how far correct builds land from it: the floor of each tensor.",
    "Candidates say in their metadata what they are: of float builds come the floors, of those that imitate tf32, bf16 "
    "or fp16\n"
    "the bands, of those made with --resync the floors of single layers. Floors from runs of one's own (int8, fp8, "
    "anything)\n"
    "are made the same way and given to `golden check --floors`.",
    "versavit golden floors truth.safetensors float.safetensors -o golden.safetensors",
    2,
    -1};

int golden_floors(int argc, char **argv)
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
