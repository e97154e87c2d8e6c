/* versavit train: a whole run. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "io/file.h"
#include "train/trainer.h"

static const cli_usage usage = {
    "train --config NAME|FILE -o DIR [--resume] [--stage NAME] [--expect FILE] | train --config NAME|FILE --dry-run",
    "Trains a model: the stages of a run configuration one after the other.",
    "DIR receives run.json (the configuration with every default), log.jsonl (a line for each update), and for each "
    "stage\n"
    "STAGE/checkpoint-N and STAGE/model, Hugging Face folders; of a stage that validates also STAGE/best, the weights\n"
    "with the least loss on held-out samples. --resume goes on after the newest checkpoint, with the same bits as if\n"
    "nothing had happened. SIGINT and SIGTERM finish the update, write a checkpoint and end with 128 + "
    "n.\n"
    "--dry-run tells parameters, memory and FLOPs of each stage without reading or allocating anything.\n"
    "--expect compares the log with a file of bands when the run is done, and ends with 1 at the first value outside:\n"
    "  {\"STAGE\": {\"VALUE\": {\"UPDATE\": [LO, HI], ...}, ...}, ...}\n"
    "VALUE is caption, depth, segmentation, total, ssi, gm, bce, dice or grad_norm.",
    "versavit train --config micro -o run",
    0,
    0};

/* ---- signals -------------------------------------------------------------------------------------------------------------------- */
static volatile sig_atomic_t caught;

/* the first one asks for an end, a second one ends */
static void on_signal(int n)
{
    if (caught) {
        vv_unlink_temporaries();
        signal(n, SIG_DFL);
        raise(n);
    }
    caught = n;
    signal(n, on_signal);
}

static int stop(void *ctx)
{
    (void)ctx;
    return caught != 0;
}

static void catch_signals(void)
{
    static const int all[] = {SIGINT, SIGTERM};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (signal(all[i], SIG_IGN) != SIG_IGN) signal(all[i], on_signal);
}

/* ---- progress ------------------------------------------------------------------------------------------------------------------- */
typedef struct {
    int64_t every;
    int terminal;
    double first_seconds; /* where this process came in */
    int64_t first_update;
    vv_held_out held_out; /* the last one */
    char stage[80];
} progress;

static const char *bytes_text(double bytes, char buf[32])
{
    static const char *const unit[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    int k = 0;
    while (bytes >= 1000 && k < 5) bytes /= 1000, k++;
    snprintf(buf, 32, k ? "%.2f %s" : "%.0f %s", bytes, unit[k]);
    return buf;
}

static void print_values(const progress *p, const vv_update *u)
{
    for (int k = 0; k < VV_TASKS; k++)
        if (u->tasks >> k & 1) fprintf(stderr, "  %s %.4f", vv_task_name[k], u->loss[k]);
    fprintf(stderr, "  |g| %.3g", u->grad_norm);
    if (p->held_out.update)
        fprintf(stderr, "  held out %.4f (best %.4f at %lld)", p->held_out.total, u->best.total,
                (long long)u->best.update);
}

static void print_time(double s)
{
    const long long t = s > 0 ? (long long)(s + 0.5) : 0;
    if (t >= 3600) fprintf(stderr, "%lld:%02lld:%02lld", t / 3600, t / 60 % 60, t % 60);
    else fprintf(stderr, "%lld:%02lld", t / 60, t % 60);
}

/* a warning is not written into the progress line */
static void heard(void *ctx, const char *what, int64_t done, int64_t total)
{
    const progress *p = ctx;
    (void)done;
    if (total == 0) fprintf(stderr, "%sversavit: warning: %s\n", p->terminal && !cli_quiet ? "\r\033[K" : "", what);
}

static void told(void *ctx, const vv_update *u)
{
    progress *p = ctx;
    if (strcmp(p->stage, u->stage)) {
        snprintf(p->stage, sizeof p->stage, "%s", u->stage);
        p->first_update = u->update;
        p->first_seconds = u->seconds;
        p->held_out.update = 0;
    }
    if (u->held_out.update) p->held_out = u->held_out;
    const int64_t done = u->update - p->first_update;
    const double each = done ? (u->seconds - p->first_seconds) / (double)done : 0;
    const int last = u->update == u->updates;
    if (cli_quiet || (!p->terminal && !last && u->update % p->every)) return;
    fprintf(stderr, "%s%s %lld/%lld", p->terminal ? "\r\033[K" : "", u->stage, (long long)u->update,
            (long long)u->updates);
    print_values(p, u);
    if (done) {
        fprintf(stderr, "  %.1f samples/s  ETA ", (double)u->samples / each);
        print_time(each * (double)(u->updates - u->update));
    }
    char most[32];
    if (last) fprintf(stderr, "  activations %s", bytes_text((double)u->activations, most));
    if (!p->terminal || last) fprintf(stderr, "\n");
    fflush(stderr);
}

/* ---- a dry run -------------------------------------------------------------------------------------------------------------------- */
static const char *flops_text(double flops, char buf[32])
{
    static const char *const unit[] = {"", "k", "M", "G", "T", "P", "E"};
    int k = 0;
    while (flops >= 1000 && k < 6) flops /= 1000, k++;
    snprintf(buf, 32, "%.2f %sFLOP", flops, unit[k]);
    return buf;
}

static void print_parts(const vv_dry_stage *d, int64_t *all, int64_t *trained)
{
    for (int k = 0; k < VV_PARTS; k++) {
        if (!d->part[k].parameters) continue;
        *all += d->part[k].parameters;
        *trained += d->part[k].trained;
        printf("  %-12s %14lld parameters = %9.3f x 2^20   %s\n", vv_part_key[k], (long long)d->part[k].parameters,
               (double)d->part[k].parameters / (1 << 20), d->part[k].trained ? "trains" : "frozen");
    }
    printf("  %-12s %14lld parameters, %lld train\n", "together", (long long)*all, (long long)*trained);
}

/* DeepSpeed's own estimate for ZeRO-2 in bf16: 2 bytes of a weight on each device, 18 more of a trained one shared by all */
static void print_devices(const vv_train_config *c, int64_t all, int64_t trained, double flops)
{
    char a[32], b[32];
    if (c->devices == 1) return;
    const double zero = 2 * (double)all + 18 * (double)trained / (double)c->devices;
    printf("  %lld devices: the batches above are each one's; together %s an update. In bf16 with ZeRO-2 weights,\n"
           "  gradients and moments take %s of each device (2 bytes a parameter + 18 / devices a trained one)\n",
           (long long)c->devices, flops_text(flops * (double)c->devices, a), bytes_text(zero, b));
}

static void print_stage(const vv_train_config *c, const vv_dry_stage *d, const vv_stage_config *s)
{
    char a[32], b[32], e[32];
    int64_t all = 0, trained = 0;
    double flops = d->other;
    printf("\n%s%s", d->stage, d->skipped ? " (left out: its result is given)" : "");
    if (d->updates) printf(": %lld updates\n", (long long)d->updates);
    else printf(": %lld epochs\n", (long long)s->epochs);
    print_parts(d, &all, &trained);
    printf("  memory       weights %s, gradients %s, moments %s", bytes_text((double)d->weights, a),
           bytes_text((double)d->gradients, b), bytes_text((double)d->moments, e));
    printf(", activations %s (%s checkpointing, %s %s)\n", bytes_text((double)d->activations, a),
           s->checkpointing ? "with" : "without", bytes_text((double)d->activations_otherwise, b),
           s->checkpointing ? "without" : "with");
    printf("               together %s, as %s\n",
           bytes_text((double)(d->weights + d->gradients + d->moments + d->activations), a), VV_REAL_NAME);
    for (int k = 0; k < VV_TASKS; k++) {
        if (!s->task[k].present) continue;
        flops += d->forward[k] + d->backward[k];
        printf("  %-12s forward %s, backward %s; batch %lld in micro-batches of %lld, %lld patches, %lld tokens\n",
               vv_task_name[k], flops_text(d->forward[k], a), flops_text(d->backward[k], b),
               (long long)s->task[k].batch, (long long)s->task[k].micro_batch, (long long)d->tokens[k],
               (long long)d->text[k]);
    }
    printf("  an update    %s%s\n", flops_text(flops, a), c->devices > 1 ? " a device" : "");
    print_devices(c, all, trained, flops);
}

static vv_status dry_run(const char *path, const vv_train_overrides *o, vv_error *err)
{
    vv_train_config c;
    vv_model shapes = {0};
    VV_TRY(vv_train_config_load(&c, path, o, err));
    vv_status s = vv_model_from_config(&shapes, path, VV_ALL_PARTS | VV_SHAPES_ONLY, err);
    for (int64_t i = 0; s == VV_OK && i < c.n_stages; i++) {
        vv_dry_stage d = {0};
        for (int64_t k = 0; k < shapes.params->n; k++) shapes.params->at[k]->has_grad = 0;
        s = vv_train_dry(&c, i, &shapes, &d, err);
        if (s == VV_OK) print_stage(&c, &d, &c.stage[i]);
    }
    if (s == VV_OK)
        printf("\nCaptions are counted with the largest picture of their sources and, without max_tokens, %d tokens of "
               "text;\n"
               "segmentation with max_instances masks a picture.\n",
               VV_DRY_WORDS);
    vv_model_free(&shapes);
    vv_train_config_free(&c);
    return s;
}

/* ---- the command ------------------------------------------------------------------------------------------------------------------ */
typedef struct {
    const char *config, *expect;
    vv_train_options o;
    int dry;
    progress progress;
} job;

static vv_status run(job *j, int *stopped, vv_error *err)
{
    VV_TRY(cli_need("--config", j->config, err));
    char *path = cli_data_file("configs", j->config);
    if (!path) return vv_no_memory(err, j->config);
    vv_status s = j->dry ? dry_run(path, &j->o.overrides, err) : cli_need("-o", j->o.out, err);
    if (s == VV_OK && !j->dry) {
        catch_signals();
        vv_listen(heard, &j->progress);
        j->o.config = path;
        j->o.told = told;
        j->o.stop = stop;
        j->o.ctx = &j->progress;
        s = vv_train(&j->o, stopped, err);
    }
    if (s == VV_OK && j->expect && !*stopped && !j->dry) s = vv_expect_bands(j->o.out, j->expect, err);
    free(path);
    return s;
}

int cmd_train(int argc, char **argv)
{
    job j = {.o.overrides.seed = -1, .progress = {.every = 50, .terminal = isatty(STDERR_FILENO)}};
    int64_t seed = -1;
    const cli_option options[] = {
        {"config", 'c', "NAME|FILE", "run configuration: micro, tiny, small, paper of data/configs, or a file",
         &j.config, NULL, NULL, NULL},
        {"output", 'o', "DIR", "folder of the run", &j.o.out, NULL, NULL, NULL},
        {"resume", 0, NULL, "go on with the run in DIR", NULL, NULL, NULL, &j.o.resume},
        {"stage", 0, "NAME", "only this stage, from what earlier ones left in DIR", &j.o.stage, NULL, NULL, NULL},
        {"updates", 0, "N", "at most N updates a stage", NULL, &j.o.overrides.updates, NULL, NULL},
        {"seed", 's', "N", "another seed than the configuration's", NULL, &seed, NULL, NULL},
        {"init-tower", 0, "DIR", "begin with this tower; stages that would make one are left out",
         &j.o.overrides.init_tower, NULL, NULL, NULL},
        {"init-llm", 0, "DIR", "begin with this language model, likewise", &j.o.overrides.init_llm, NULL, NULL, NULL},
        {"expect", 0, "FILE", "bands that the log must stay in", &j.expect, NULL, NULL, NULL},
        {"every", 0, "N", "without a terminal, a line every N updates (default 50)", NULL, &j.progress.every, NULL,
         NULL},
        {"dry-run", 0, NULL, "parameters, memory and FLOPs of each stage", NULL, NULL, NULL, &j.dry},
        {0}};
    char **args;
    int n, status, stopped = 0;
    if (!cli_parse(argc, argv, &usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    j.o.overrides.seed = seed;
    if (j.progress.every < 1) j.progress.every = 1;
    const vv_status s = run(&j, &stopped, &err);
    if (s != VV_OK && j.progress.terminal && !cli_quiet) fprintf(stderr, "\n");
    status = cli_end(s, &err);
    if (s == VV_DIFFERS && err.msg[0] == 0) return status;
    return s == VV_OK && stopped ? 128 + (int)caught : status;
}
