/* versavit probe: what a linear map can read from the tower's features. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "eval/probe.h"

static const cli_usage usage = {
    "probe depth|segmentation --model DIR [--train N] [--test N] [--layer K] [--json] [-o FILE]",
    "Linear probes of a frozen tower on held-out synthetic scenes, beside what a linear map reads from less.",
    "Features are one row a patch, after the last block and before the merger. depth: ridge regression on the mean "
    "log\n"
    "depth of a patch; segmentation: softmax regression on its most frequent class. lambda is chosen on a fifth of "
    "the\n"
    "training scenes. A patch's prediction holds for all its pixels, and those are measured: depth in metres (mean "
    "over\n"
    "pictures), order of pairs of objects, mIoU of the class map.\n"
    "Beside the tower: the mean map, a patch's position, its pixels, a tower with random weights, and the ceiling,\n"
    "which is the best that one prediction a patch can do.\n"
    "--json and -o FILE give\n"
    "  {\"probe\", \"model\", \"layer\", \"size\", \"grid\": [h, w], \"scenes\": {\"seed\", \"train\", \"test\", "
    "\"closeups\",\n"
    "   \"min_objects\", \"max_objects\", \"held_out\"}, \"target\", \"upsampling\", \"pairs\",\n"
    "   \"results\": {NAME: {\"features\", \"lambda\", \"rmse\", \"rmse_objects\", \"rmse_log\", \"abs_rel\", "
    "\"order\"}}}\n"
    "for depth; for segmentation without pairs, and with {\"features\", \"lambda\", \"iterations\", \"miou\", "
    "\"accuracy\",\n"
    "\"iou\": {CLASS: X}}. NAME is tower, mean_map, position, patches, random_tower or ceiling; what does not exist is "
    "null.",
    "versavit probe depth --model run/stage2/model",
    1,
    1};

static void print_row(const vv_probe_result *r, int k)
{
    const vv_probe_row *row = &r->row[k];
    printf("%-13s", vv_probe_name[k]);
    if (r->task == VV_PROBE_DEPTH) {
        cli_number(8, row->rmse, 3);
        cli_number(8, row->rmse_objects, 3);
        cli_number(8, row->rmse_log, 4);
        cli_number(8, row->abs_rel, 4);
        cli_number(8, 100 * row->order, 1);
    } else {
        cli_number(8, 100 * row->miou, 2);
        cli_number(8, 100 * row->accuracy, 2);
        for (int c = 0; c < VV_SYNTH_CLASSES; c++) cli_number(8, 100 * row->iou[c], 1);
    }
    if (row->features) printf(" %8lld %8g", (long long)row->features, row->lambda);
    printf("\n");
}

static void print_table(const vv_probe_result *r)
{
    const vv_probe_options *o = &r->options;
    cli_line();
    printf("%s, layer %lld, %lld x %lld patches, %lld training and %lld test scenes\n",
           r->task == VV_PROBE_DEPTH ? "depth in metres" : "classes, in per cent", (long long)o->layer,
           (long long)r->gh, (long long)r->gw, (long long)o->train, (long long)o->test);
    printf("%-13s", "");
    if (r->task == VV_PROBE_DEPTH) printf(" %8s %8s %8s %8s %8s", "rmse", "objects", "log", "abs rel", "order %");
    else printf(" %8s %8s", "mIoU", "accuracy");
    for (int c = 0; r->task == VV_PROBE_SEGMENTATION && c < VV_SYNTH_CLASSES; c++)
        printf(" %8.8s", vv_synth_class_name[c]);
    printf(" %8s %8s\n", "features", "lambda");
    for (int k = 0; k < VV_PROBES; k++)
        if (r->row[k].present) print_row(r, k);
}

static vv_status run(const char *what, const char *dir, const vv_probe_options *o, int json, const char *out,
                     vv_error *err)
{
    const int depth = !strcmp(what, "depth");
    if (!depth && strcmp(what, "segmentation"))
        return vv_fail(err, VV_USAGE, "probe: expected depth or segmentation; found \"%s\"", what);
    VV_TRY(cli_need("--model", dir, err));
    VV_TRY(cli_output(out, err));
    vv_model m;
    vv_probe_result r = {0};
    VV_TRY(vv_model_load(&m, dir, VV_VISION, err));
    vv_status s = vv_model_need(&m, VV_VISION, dir, err);
    if (s == VV_OK) s = vv_probe(&r, &m, depth ? VV_PROBE_DEPTH : VV_PROBE_SEGMENTATION, o, err);
    if (s == VV_OK) s = cli_results(vv_probe_json(&r), dir, json, out, err);
    if (s == VV_OK && !json && !cli_quiet) print_table(&r);
    vv_probe_free(&r);
    vv_model_free(&m);
    return s;
}

int cmd_probe(int argc, char **argv)
{
    const char *dir = NULL, *out = NULL;
    vv_probe_options o = vv_probe_default();
    int64_t seed = VV_PROBE_SEED, layer = -1, random_seed = (int64_t)o.random_seed;
    int json = 0;
    const cli_option options[] = {
        {"model", 'm', "DIR", "Hugging Face folder with a tower", &dir, NULL, NULL, NULL},
        {"train", 0, "N", "scenes to fit on (default 400)", NULL, &o.train, NULL, NULL},
        {"test", 0, "N", "scenes to measure on (default 400)", NULL, &o.test, NULL, NULL},
        {"layer", 0, "K", "block whose output is read, from 0 (default: the last)", NULL, &layer, NULL, NULL},
        {"size", 0, "PIXELS", "of both sides of the scenes (default 112)", NULL, &o.scenes.size, NULL, NULL},
        {"seed", 's', "S", "of the scenes (default 1000)", NULL, &seed, NULL, NULL},
        {"closeups", 0, "SHARE", "share of close-ups of one object (default 0.25)", NULL, NULL, &o.scenes.closeups,
         NULL},
        {"held-out", 0, NULL, "test scenes with the held-out pairs of colour and shape too", NULL, NULL, NULL,
         &o.scenes.held_out},
        {"random-seed", 0, "N", "of the tower with random weights (default 1)", NULL, &random_seed, NULL, NULL},
        {"tower-only", 0, NULL, "without the others", NULL, NULL, NULL, &o.tower_alone},
        {"output", 'o', "FILE", "results as JSON", &out, NULL, NULL, NULL},
        {"json", 0, NULL, "print JSON instead of a table", NULL, NULL, NULL, &json},
        {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    o.scenes.seed = (uint64_t)seed;
    o.random_seed = (uint64_t)random_seed;
    o.layer = layer;
    return cli_end(run(args[0], dir, &o, json, out, &err), &err);
}
