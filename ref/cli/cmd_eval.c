/* versavit eval: what a model says of held-out scenes. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "eval/evaluate.h"

static const cli_usage usage = {
    "eval --model DIR [--text-encoder DIR] [--count N] [--json] [-o FILE]",
    "Evaluates a model on held-out synthetic scenes: depth, referring segmentation, questions, captions.",
    "depth: the head's disparity, aligned to each picture's truth by scale and shift, in metres; beside the mean map "
    "and\n"
    "each picture's best constant. segmentation: cIoU, gIoU and precision at 0.5 over all referring texts; beside "
    "texts of\n"
    "other scenes, nothing, the whole picture, and the best mask that answers everything. vqa: greedy answers by type "
    "of\n"
    "question; beside the most frequent answer and the same model on a grey picture. caption: loss of a token, with "
    "the\n"
    "picture and with a grey one. What the model has no part for is left out.\n"
    "Referring texts must be embedded as in training: name the encoder of that time, which need not be the model's "
    "own\n"
    "language model (the default).\n"
    "--json and -o FILE give\n"
    "  {\"model\", \"size\", \"scenes\": {\"seed\", \"first\", \"count\", \"closeups\", \"min_objects\", "
    "\"max_objects\", \"held_out\"},\n"
    "   \"depth\": {\"pairs\", NAME: {\"rmse\", \"rmse_objects\", \"abs_rel\", \"delta1\", \"rmse_disparity\", "
    "\"order\"}},\n"
    "            NAME is head, mean_map or constant\n"
    "   \"segmentation\": {\"samples\", NAME: {\"ciou\", \"giou\", \"precision_half\"}},\n"
    "            NAME is head, shuffled_texts, nothing, whole or best_constant, which has \"share\" too\n"
    "   \"vqa\": {\"all\": {\"n\", \"accuracy\", \"majority\", \"grey\"},\n"
    "           \"types\": {TYPE: {\"n\", \"accuracy\", \"majority\", \"majority_answer\", \"grey\"}}},\n"
    "   \"caption\": {\"tokens\", \"loss\", \"loss_grey\"}, \"left_out\": {PART: WHY}}\n"
    "where a part that is left out, and a number that does not exist, is null.",
    "versavit eval --model run/stage2/model --text-encoder run/stage0/model",
    0,
    0};

static void print_depth(const char *name, const vv_eval_depth *d)
{
    printf("  %-15s", name);
    cli_number(9, d->rmse, 3);
    cli_number(9, d->rmse_objects, 3);
    cli_number(9, d->abs_rel, 4);
    cli_number(9, 100 * d->delta1, 1);
    cli_number(9, d->rmse_disparity, 4);
    cli_number(9, 100 * d->order, 1);
    printf("\n");
}

static void print_masks(const char *name, const vv_eval_masks *m)
{
    printf("  %-15s", name);
    cli_number(9, 100 * m->ciou, 2);
    cli_number(9, 100 * m->giou, 2);
    cli_number(9, 100 * m->precision_half, 2);
    printf("\n");
}

static void print_questions(const vv_eval_questions *q)
{
    printf("  %-15s %9lld", q->type ? q->type : "all", (long long)q->n);
    cli_number(9, 100 * q->accuracy, 1);
    cli_number(9, 100 * q->majority, 1);
    cli_number(9, 100 * q->grey, 1);
    printf("  %s\n", q->majority_answer);
}

static int there(const vv_eval_result *r, int part) { return r->left_out[part][0] == 0; }

static void print_tables(const vv_eval_result *r)
{
    cli_line();
    printf("%lld scenes of %lld pixels\n", (long long)r->options.count, (long long)r->options.scenes.size);
    if (there(r, VV_EVAL_DEPTH)) {
        printf("\n%-17s %9s %9s %9s %9s %9s %9s\n", "depth", "rmse m", "objects m", "abs rel", "delta1 %", "disparity",
               "order %");
        print_depth("head", &r->depth.head);
        print_depth("mean map", &r->depth.mean_map);
        print_depth("constant", &r->depth.constant);
    }
    if (there(r, VV_EVAL_SEGMENTATION)) {
        printf("\n%-17s %9s %9s %9s   per cent, %lld texts\n", "segmentation", "cIoU", "gIoU", "P@0.5",
               (long long)r->samples);
        print_masks("head", &r->segmentation.head);
        print_masks("shuffled texts", &r->segmentation.shuffled_texts);
        print_masks("best constant", &r->segmentation.best_constant);
        print_masks("whole", &r->segmentation.whole);
        print_masks("nothing", &r->segmentation.nothing);
    }
    if (there(r, VV_EVAL_VQA)) {
        printf("\n%-17s %9s %9s %9s %9s\n", "questions", "n", "right %", "majority", "grey");
        for (int t = 0; t <= VV_EVAL_TYPES; t++) print_questions(&r->vqa[t]);
    }
    if (there(r, VV_EVAL_CAPTION))
        printf("\n%-17s %9.4f a token, %.4f with a grey picture, %lld tokens\n", "captions", r->caption,
               r->caption_grey, (long long)r->tokens);
    for (int k = 0; k < VV_EVAL_PARTS; k++)
        if (!there(r, k)) printf("\n%s: left out: %s\n", vv_eval_part_name[k], r->left_out[k]);
}

static vv_status run(const vv_eval_options *o, int json, const char *out, vv_error *err)
{
    vv_model m;
    VV_TRY(cli_need("--model", o->model_dir, err));
    if (o->text_encoder && o->embeddings)
        return vv_fail(err, VV_USAGE, "--text-encoder: expected alone; found --embeddings too");
    VV_TRY(cli_output(out, err));
    vv_eval_result *r = vv_calloc(1, sizeof *r);
    if (!r) return vv_no_memory(err, "results");
    vv_status s = vv_model_load(&m, o->model_dir, VV_ALL_PARTS, err);
    if (s == VV_OK) {
        s = vv_evaluate(r, &m, o, err);
        if (s == VV_OK) s = cli_results(vv_eval_json(r), o->model_dir, json, out, err);
        if (s == VV_OK && !json && !cli_quiet) print_tables(r);
        vv_model_free(&m);
    }
    free(r);
    return s;
}

int cmd_eval(int argc, char **argv)
{
    const char *out = NULL;
    vv_eval_options o = vv_eval_default();
    int64_t seed = VV_EVAL_SEED;
    int json = 0;
    const cli_option options[] = {
        {"model", 'm', "DIR", "Hugging Face folder", &o.model_dir, NULL, NULL, NULL},
        {"text-encoder", 0, "DIR", "folder of the language model that embeds referring texts (default: --model)",
         &o.text_encoder, NULL, NULL, NULL},
        {"embeddings", 0, "FILE", "or a file of embed-text that has them", &o.embeddings, NULL, NULL, NULL},
        {"count", 'n', "N", "scenes (default 400)", NULL, &o.count, NULL, NULL},
        {"seed", 's', "S", "of the scenes (default 1000)", NULL, &seed, NULL, NULL},
        {"first", 0, "I", "begin with scene I (default 20000000)", NULL, &o.first, NULL, NULL},
        {"size", 0, "PIXELS", "of both sides of the scenes (default 112)", NULL, &o.scenes.size, NULL, NULL},
        {"closeups", 0, "SHARE", "share of close-ups of one object (default 0.25)", NULL, NULL, &o.scenes.closeups,
         NULL},
        {"held-out", 0, NULL, "with the held-out pairs of colour and shape too", NULL, NULL, NULL, &o.scenes.held_out},
        {"output", 'o', "FILE", "results as JSON", &out, NULL, NULL, NULL},
        {"json", 0, NULL, "print JSON instead of tables", NULL, NULL, NULL, &json},
        {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    o.scenes.seed = (uint64_t)seed;
    return cli_end(run(&o, json, out, &err), &err);
}
