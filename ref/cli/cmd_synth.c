/* versavit synth: synthetic scenes as a data set. */
#include "cli/cli.h"
#include "data/synth.h"

static const cli_usage usage = {
    "synth -o DIR [--count N] [--seed S]",
    "A data set for all three tasks: small ray-traced scenes with captions, questions, depth and masks.",
    "DIR receives images/, depth/ (metres, .npy), classes/, masks/ and the manifests captions.jsonl, vqa.jsonl,\n"
    "depth.jsonl and segmentation.jsonl. Scene I of a seed is the same wherever it is drawn: --first goes on where\n"
    "another run ended, and other seeds are other scenes. Eight pairs of colour and shape occur in no scene unless\n"
    "--held-out is given: train without, evaluate with it.",
    "versavit synth -o scenes --count 1000 --seed 1",
    0,
    0};

static vv_status run(const char *dir, const vv_synth_options *o, int64_t first, int64_t count, int force, vv_error *err)
{
    VV_TRY(cli_need("-o", dir, err));
    VV_TRY(vv_synth_write(dir, o, first, count, force, err));
    if (!cli_quiet)
        printf("%s: %lld scenes of %lld x %lld pixels\n", dir, (long long)count, (long long)o->size,
               (long long)o->size);
    return VV_OK;
}

int cmd_synth(int argc, char **argv)
{
    const char *dir = NULL;
    vv_synth_options o = vv_synth_default();
    int64_t first = 0, count = 100, seed = 0;
    int force = 0;
    const cli_option options[] = {
        {"output", 'o', "DIR", "folder to write", &dir, NULL, NULL, NULL},
        {"count", 'n', "N", "number of scenes (default 100)", NULL, &count, NULL, NULL},
        {"seed", 's', "S", "of the scenes (default 0)", NULL, &seed, NULL, NULL},
        {"first", 0, "I", "begin with scene I (default 0)", NULL, &first, NULL, NULL},
        {"size", 0, "PIXELS", "of both sides (default 112)", NULL, &o.size, NULL, NULL},
        {"min-objects", 0, "N", "least objects of a scene that is no close-up (default 2)", NULL, &o.min_objects, NULL,
         NULL},
        {"max-objects", 0, "N", "most objects, up to 6 (default 6)", NULL, &o.max_objects, NULL, NULL},
        {"closeups", 0, "SHARE", "share of close-ups of one object (default 0.25)", NULL, NULL, &o.closeups, NULL},
        {"held-out", 0, NULL, "draw the held-out pairs of colour and shape too", NULL, NULL, NULL, &o.held_out},
        {"force", 0, NULL, "write into a folder that exists", NULL, NULL, NULL, &force},
        {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    o.seed = (uint64_t)seed;
    return cli_end(run(dir, &o, first, count, force, &err), &err);
}
