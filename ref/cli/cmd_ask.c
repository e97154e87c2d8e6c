/* versavit caption and versavit ask: text about pictures, token by token. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "data/chat.h"
#include "data/dataset.h"
#include "io/lines.h"
#include "model/generate.h"
#include "model/lora.h"
#include "model/mllm.h"

static const char GENERATION[] =
    "Greedy unless --temperature is given; a seed then makes the same text again. The text ends at the model's end "
    "tokens, or after "
    "--max-tokens. Tokens appear as they come; with --json, one object a line when each text is complete.";

static const cli_usage caption_usage = {"caption IMAGE... --model DIR [--prompt TEXT]",
                                        "Describes pictures.",
                                        GENERATION,
                                        "versavit caption photo.jpg --model model --max-tokens 64",
                                        1,
                                        -1};
static const cli_usage ask_usage = {
    "ask IMAGE --model DIR --question TEXT | ask --model DIR --batch FILE.jsonl",
    "Answers questions about pictures.",
    GENERATION,
    "versavit ask photo.jpg --model model --question \"How many cups are there?\"\n"
    "  versavit ask --model model --batch questions.jsonl --json      lines of {\"image\": PATH, \"question\": TEXT}",
    0,
    1};

typedef struct {
    char *image, *path, *question; /* image: as it was given */
    vv_batch picture;
    vv_chat chat;
} item;

typedef struct {
    const char *model_dir, *adapter, *question, *batch;
    int json;
    int64_t seed;
    vv_generate_options g;
    vv_model model;
    vv_lora *lora;
    item *item;
    int64_t n;
} job;

/* ---- what is asked --------------------------------------------------------------------------------------------------------- */
/* folder [n bytes]: that a relative path is seen from, with its slash; NULL: the current one */
static vv_status add_item(job *j, const char *image, const char *folder, int n, const char *question, vv_error *err)
{
    item *x = &j->item[j->n++];
    x->image = vv_strdup(image);
    x->path = folder && *image != '/' ? vv_asprintf("%.*s%s", n, folder, image) : vv_strdup(image);
    x->question = vv_strdup(question);
    return x->image && x->path && x->question ? VV_OK : vv_no_memory(err, image);
}

static vv_status read_batch(job *j, vv_error *err)
{
    vv_lines lines;
    const char *slash = strrchr(j->batch, '/');
    const int folder = slash ? (int)(slash - j->batch) + 1 : 0;
    VV_TRY(vv_lines_read(&lines, j->batch, err));
    vv_status s = (j->item = vv_calloc(lines.n, sizeof *j->item)) ? VV_OK : vv_no_memory(err, j->batch);
    for (int64_t i = 0; s == VV_OK && i < lines.n; i++) {
        char where[VV_WHERE];
        const char *image = NULL, *question = NULL;
        json_t *o = NULL;
        s = vv_lines_json(&o, &lines, i, j->batch, where, err);
        if (s == VV_OK) s = vv_json_need(o, where, "image", err);
        if (s == VV_OK) s = vv_json_need(o, where, "question", err);
        if (s == VV_OK) s = vv_json_string(o, where, "image", &image, err);
        if (s == VV_OK) s = vv_json_string(o, where, "question", &question, err);
        if (s == VV_OK) s = add_item(j, image, j->batch, folder, question, err);
        json_decref(o);
    }
    vv_lines_free(&lines);
    return s;
}

static vv_status collect(job *j, char **images, int n, vv_error *err)
{
    if (j->batch && (n || j->question))
        return vv_fail(err, VV_USAGE, "--batch: expected no IMAGE and no --question beside it");
    if (j->batch) return read_batch(j, err);
    if (n == 0) return vv_fail(err, VV_USAGE, "ask: expected an IMAGE, or --batch; see --help");
    VV_TRY(cli_need("--question", j->question, err));
    if (!(j->item = vv_calloc(n, sizeof *j->item))) return vv_no_memory(err, "questions");
    for (int i = 0; i < n; i++) VV_TRY(add_item(j, images[i], NULL, 0, j->question, err));
    return VV_OK;
}

/* the picture's patches and the conversation with its placeholders */
static vv_status prepare(job *j, item *x, vv_error *err)
{
    vv_image image = {0};
    VV_TRY(vv_image_read(&image, x->path, err));
    const vv_status s = vv_batch_add(&x->picture, &j->model.preprocess, &image, x->path, err);
    vv_image_free(&image);
    if (s != VV_OK) return s;
    const int64_t tokens = x->picture.rows / j->model.projector->config.cells;
    const vv_turn turn = {.role = VV_USER, .text = x->question, .images = 1};
    const vv_chat_options o = {0};
    VV_TRY(vv_chat_render(&x->chat, j->model.tokenizer, &turn, 1, &tokens, 1, &o, err));
    return vv_chat_prompt(&x->chat, j->model.tokenizer, &o, err);
}

/* ---- answers --------------------------------------------------------------------------------------------------------------- */
typedef struct {
    const vv_tokenizer *tokenizer;
    vv_decoder decoder;
    int show;
    vv_status status;
    vv_error *err;
} stream;

static int on_token(void *ctx, int32_t id)
{
    stream *s = ctx;
    const int64_t before = s->decoder.n;
    s->status = vv_decoder_push(&s->decoder, s->tokenizer, id, 1, s->err);
    if (s->status == VV_OK && s->show && s->decoder.n > before) {
        fwrite(s->decoder.text + before, 1, (size_t)(s->decoder.n - before), stdout);
        fflush(stdout);
    }
    return s->status != VV_OK;
}

static vv_status print_json(const item *x, const char *text, int64_t tokens, int stopped, vv_error *err)
{
    json_t *o = json_pack("{s:s, s:s, s:s, s:I, s:b}", "image", x->image, "question", x->question, "answer", text,
                          "tokens", (json_int_t)tokens, "stopped", stopped);
    char *line = vv_json_text(o, JSON_COMPACT);
    json_decref(o);
    if (!line) return vv_no_memory(err, "answer");
    puts(line);
    free(line);
    return VV_OK;
}

static vv_status answer(job *j, vv_tape *t, const item *x, vv_error *err)
{
    stream to = {.tokenizer = j->model.tokenizer, .show = !j->json, .err = err};
    int32_t *out = vv_calloc(j->g.max_new_tokens, sizeof *out);
    if (!out) return vv_no_memory(err, "answer");
    int64_t n_out = 0;
    int stopped = 0;
    if (!j->json && j->n > 1) printf("%s: ", x->image);
    vv_tensor *features = vv_mllm_features(t, &j->model, &x->picture);
    vv_tensor *rows = vv_mllm_splice(t, j->model.llm, x->chat.ids.id, x->chat.ids.n, vv_image_pad(&j->model), features);
    vv_status s = vv_tape_status(t, err);
    if (s == VV_OK)
        s = vv_generate(t, j->model.llm, rows, x->chat.ids.id, x->chat.ids.n, &j->g, on_token, &to, out, &n_out,
                        &stopped, err);
    if (s == VV_OK) s = to.status;
    const int64_t before = to.decoder.n;
    if (s == VV_OK) s = vv_decoder_flush(&to.decoder, err);
    if (s == VV_OK && j->json) s = print_json(x, to.decoder.text ? to.decoder.text : "", n_out, stopped, err);
    else if (s == VV_OK) printf("%s\n", to.decoder.text ? to.decoder.text + before : "");
    vv_decoder_free(&to.decoder);
    free(out);
    vv_tape_reset(t);
    return s;
}

/* as the library does, but by the names of the command's options */
static vv_status check_options(const vv_generate_options *g, vv_error *err)
{
    static const char *const name[][2] = {{"temperature", "--temperature"},
                                          {"top_k", "--top-k"},
                                          {"top_p", "--top-p"},
                                          {"repetition_penalty", "--repetition-penalty"},
                                          {"max_new_tokens", "--max-tokens"}};
    vv_error why = {0};
    const vv_status s = vv_generate_check(g, &why);
    for (size_t i = 0; s != VV_OK && i < sizeof name / sizeof *name; i++) {
        const size_t n = strlen(name[i][0]);
        if (!strncmp(why.msg, name[i][0], n) && why.msg[n] == ':')
            return vv_fail(err, s, "%s%.300s", name[i][1], why.msg + n);
    }
    return s == VV_OK ? VV_OK : vv_fail(err, s, "%s", why.msg);
}

static vv_status run(job *j, char **images, int n, vv_error *err)
{
    j->g.seed = (uint64_t)j->seed;
    VV_TRY(cli_need("--model", j->model_dir, err));
    VV_TRY(check_options(&j->g, err));
    VV_TRY(collect(j, images, n, err));
    const int parts = VV_VISION | VV_PROJECTOR | VV_TEXT;
    VV_TRY(vv_model_load(&j->model, j->model_dir, parts, err));
    VV_TRY(vv_model_need(&j->model, parts, j->model_dir, err));
    if (j->adapter) VV_TRY(vv_lora_load(&j->lora, j->model.params, j->adapter, err));
    for (int64_t i = 0; i < j->n; i++) VV_TRY(prepare(j, &j->item[i], err));
    const int32_t pad = vv_image_pad(&j->model);
    j->g.vocab_used = vv_tokenizer_size(j->model.tokenizer);
    j->g.no_penalty = &pad;
    j->g.n_no_penalty = 1;
    vv_tape *t = vv_tape_new(NULL, 0);
    vv_status s = t ? VV_OK : vv_no_memory(err, "tape");
    cli_line();
    for (int64_t i = 0; s == VV_OK && i < j->n; i++) s = answer(j, t, &j->item[i], err);
    vv_tape_free(t);
    return s;
}

static int ask(int argc, char **argv, const cli_usage *usage, const char *prompt)
{
    job j = {.g = vv_generate_default(), .question = prompt};
    const int captions = prompt != NULL;
    const cli_option options[] = {
        {"model", 'm', "DIR", "Hugging Face folder with tower, projector and language model", &j.model_dir, NULL, NULL,
         NULL},
        {"adapter", 'a', "DIR", "LoRA adapters for it, a folder of PEFT", &j.adapter, NULL, NULL, NULL},
        {captions ? "prompt" : "question", 'q', "TEXT", captions ? "what is asked of each picture" : "the question",
         &j.question, NULL, NULL, NULL},
        {"max-tokens", 0, "N", "at most N tokens (default 128)", NULL, &j.g.max_new_tokens, NULL, NULL},
        {"temperature", 't', "T", "draw, with the logits divided by T (default 0: greedy)", NULL, NULL,
         &j.g.temperature, NULL},
        {"top-k", 0, "N", "draw among the N most probable", NULL, &j.g.top_k, NULL, NULL},
        {"top-p", 0, "P", "draw among the most probable that hold P of the mass", NULL, NULL, &j.g.top_p, NULL},
        {"repetition-penalty", 0, "P", "above 1: words that occurred become less likely", NULL, NULL,
         &j.g.repetition_penalty, NULL},
        {"seed", 's', "N", "of the draws (default 0)", NULL, &j.seed, NULL, NULL},
        {"json", 0, NULL, "one JSON object a line", NULL, NULL, NULL, &j.json},
        {captions ? NULL : "batch", 0, "FILE.jsonl", "many questions; relative paths are seen from its folder",
         &j.batch, NULL, NULL, NULL},
        {0}};
    char **images;
    int n, status;
    if (!cli_parse(argc, argv, usage, options, &images, &n, &status)) return status;
    vv_error err = {0};
    const vv_status s = run(&j, images, n, &err);
    for (int64_t i = 0; i < j.n; i++) {
        free(j.item[i].image);
        free(j.item[i].path);
        free(j.item[i].question);
        vv_batch_free(&j.item[i].picture);
        vv_chat_free(&j.item[i].chat);
    }
    free(j.item);
    vv_lora_free(j.lora);
    vv_model_free(&j.model);
    return cli_end(s, &err);
}

int cmd_caption(int argc, char **argv) { return ask(argc, argv, &caption_usage, VV_CAPTION_PROMPT); }
int cmd_ask(int argc, char **argv) { return ask(argc, argv, &ask_usage, NULL); }
