#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/golden.h"
#include "golden/case.h"
#include "golden/manifest.h"
#include "golden/tower.h"
#include "tape/tape.h"

/* ---- make ---------------------------------------------------------------------------------------------------------------- */
static const cli_usage make_usage = {
    "golden make CASE -o DIR|FILE.safetensors [--precision P [--placement WHERE]] [--resync GOLDEN] [--from GOLDEN]",
    "Runs a built-in case and records inputs, activations, losses and gradients.",
    "CASE is one of data/cases (versavit golden list) or the path of such a file. A folder receives "
    "golden.safetensors, config.json\n"
    "and model.safetensors; FILE.safetensors everything in one, the weights too. The double BLAS=none build writes "
    "the\n"
    "truth that is committed in golden/; any other build writes a candidate for `golden check`.\n"
    "--precision rounds as such hardware would: the operands of products, the outputs of operations, or (default) "
    "both.\n"
    "--resync computes each layer from the values of another recording, so that it is judged alone. --from starts each "
    "training\n"
    "update from the state of another recording.",
    "versavit golden make tower-micro -o mine",
    1,
    1};

static vv_status word(const char *option, const char *text, const char *const *words, int *value, vv_error *err)
{
    char known[100] = "";
    for (int i = 0; words[i]; i++) {
        if (!strcmp(words[i], text)) {
            *value = i + 1;
            return VV_OK;
        }
        strcat(strcat(known, i ? ", " : ""), words[i]);
    }
    return vv_fail(err, VV_USAGE, "%s: expected %s; found \"%s\"", option, known, text);
}

static vv_status emulation(vv_golden_options *o, const char *precision, const char *placement, vv_error *err)
{
    static const char *const precisions[] = {"tf32", "bf16", "fp16", NULL}, *const placements[] = {
                                                                                "operands", "outputs", "both",
                                                                                NULL}; /* in the order of backend.h */
    int p = VVB_FULL, where = VVB_BOTH;
    if (precision) VV_TRY(word("--precision", precision, precisions, &p, err));
    if (placement) VV_TRY(word("--placement", placement, placements, &where, err));
    if (placement && !precision) return vv_fail(err, VV_USAGE, "--placement: expected --precision with it");
    o->precision = (vvb_precision)p;
    o->placement = (vvb_placement)where;
    return VV_OK;
}

int golden_make(int argc, char **argv)
{
    vv_golden_options o = {.tape_flags = 0};
    const char *precision = NULL, *placement = NULL;
    int checkpoint = 0;
    const cli_option options[] = {
        {"output", 'o', "DIR", "folder, or FILE.safetensors, to write", &o.out, NULL, NULL, NULL},
        {"precision", 'p', "P", "imitate tf32, bf16 or fp16", &precision, NULL, NULL, NULL},
        {"placement", 0, "WHERE", "round operands, outputs or both", &placement, NULL, NULL, NULL},
        {"resync", 0, "GOLDEN", "replace what is recorded by that recording's values", &o.resync, NULL, NULL, NULL},
        {"from", 0, "GOLDEN", "start updates from that recording's states", &o.from, NULL, NULL, NULL},
        {"checkpoint", 0, NULL, "recompute blocks in the backward (same bits, less memory)", NULL, NULL, NULL,
         &checkpoint},
        {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &make_usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    vv_status s = cli_need("-o", o.out, &err);
    if (s == VV_OK) s = emulation(&o, precision, placement, &err);
    char *path = s == VV_OK ? cli_data_file("cases", args[0]) : NULL;
    o.tape_flags = checkpoint ? VV_CHECKPOINT : 0;
    if (s == VV_OK) s = path ? vv_golden_make(path, &o, &err) : vv_no_memory(&err, args[0]);
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

int golden_record(int argc, char **argv)
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

/* ---- list ------------------------------------------------------------------------------------------------------------------- */
static const cli_usage list_usage = {"golden list [DIR] [--json] [--write]",
                                     "Lists the golden files of a folder (default golden/) from its manifest.json.",
                                     "--write makes the manifest anew from the files.",
                                     "versavit golden list",
                                     0,
                                     1};

static vv_status print_manifest(const char *dir, int json, vv_error *err)
{
    json_t *root = NULL;
    const json_t *cases = NULL;
    VV_TRY(vv_manifest_load(&root, &cases, dir, err));
    char *text = json ? vv_json_text(root, JSON_INDENT(2)) : NULL;
    if (text) printf("%s\n", text);
    for (size_t i = 0; !json && i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        printf("%-18s %8.2f MB %5d tensors  %s\n", json_string_value(json_object_get(c, "name")),
               (double)json_integer_value(json_object_get(c, "bytes")) / 1e6,
               (int)json_integer_value(json_object_get(c, "tensors")), json_string_value(json_object_get(c, "about")));
    }
    const vv_status s = json && !text ? vv_no_memory(err, dir) : VV_OK;
    free(text);
    json_decref(root);
    return s;
}

int golden_list(int argc, char **argv)
{
    int json = 0, write = 0;
    const cli_option options[] = {{"json", 'j', NULL, "the manifest as JSON", NULL, NULL, NULL, &json},
                                  {"write", 0, NULL, "make the manifest anew first", NULL, NULL, NULL, &write},
                                  {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &list_usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    const char *dir = n ? args[0] : "golden";
    vv_status s = write ? vv_manifest_write(dir, &err) : VV_OK;
    if (s == VV_OK) s = print_manifest(dir, json, &err);
    return cli_end(s, &err);
}
