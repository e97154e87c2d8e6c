/* versavit report: a run as one HTML file. */
#include <stdlib.h>

#include "cli/cli.h"
#include "eval/report.h"

static const cli_usage usage = {
    "report RUN -o FILE.html [--scenes N] [--model DIR] [--base DIR] [--eval FILE] [--probe FILE]...",
    "Draws a run as one page that needs nothing else: curves, the tasks' gradients, held-out scenes, tables.",
    "RUN is a folder that `versavit train` wrote. The page is a single HTML file without scripts; pictures are in it.\n"
    "Curves and gradients are those of RUN/log.jsonl. Scenes are drawn with a seed that the run was not trained on; "
    "each shows\n"
    "the picture, the features of the tower and of the base's (three principal components), linear probes of both, "
    "true and\n"
    "predicted depth, masks with their texts, caption and answers beside the truth. What is not there is left out.\n"
    "Tables show files of `versavit probe` (one for each tower and task, the base's first) and of `versavit eval`; "
    "without\n"
    "these options RUN/probe.json and RUN/eval.json, where they are there.",
    "versavit report run -o report.html",
    1,
    1};

static vv_status run(const vv_report_options *o, vv_error *err)
{
    VV_TRY(cli_need("-o", o->out, err));
    VV_TRY(cli_output(o->out, err));
    VV_TRY(vv_report_write(o, err));
    cli_line();
    if (!cli_quiet) printf("%s\n", o->out);
    return VV_OK;
}

int cmd_report(int argc, char **argv)
{
    vv_report_options o = {.scenes = 12};
    const char **probe = vv_calloc(argc, sizeof *probe);
    const cli_option options[] = {
        {"output", 'o', "FILE.html", "the page", &o.out, NULL, NULL, NULL},
        {"scenes", 'n', "N", "held-out scenes to show (default 12; 0: none)", NULL, &o.scenes, NULL, NULL},
        {"model", 'm', "DIR", "the model to show (default: of the last stage that has one)", &o.model, NULL, NULL,
         NULL},
        {"base", 'b', "DIR", "the tower to compare with (default: of the stage before the model's)", &o.base, NULL,
         NULL, NULL},
        {"eval", 'e', "FILE", "results of versavit eval", &o.eval, NULL, NULL, NULL},
        {"probe", 'p', "FILE", "results of versavit probe; any number of times", probe, &o.n_probes, NULL, NULL},
        {"tables", 't', "FILE", "tables to show beside this run's, as scripts/table4 writes them", &o.tables, NULL,
         NULL, NULL},
        {0}};
    char **args;
    int n, status;
    vv_error err = {0};
    if (!probe) return cli_end(vv_no_memory(&err, "--probe"), &err);
    if (cli_parse(argc, argv, &usage, options, &args, &n, &status)) {
        o.run = args[0];
        o.probe = probe;
        status = cli_end(run(&o, &err), &err);
    }
    free(probe);
    return status;
}
