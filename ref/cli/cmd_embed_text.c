#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "io/lines.h"
#include "model/lora.h"
#include "model/text_embedding.h"

static const cli_usage usage = {
    "embed-text --model DIR --texts FILE -o FILE.safetensors [--adapter DIR] [--dim N] [--instruct TASK]",
    "Embeds texts in the way of Qwen3-Embedding: the last token's hidden state, cut, of length 1.",
    "FILE holds one text a line. The output is one tensor \"embeddings\" [texts, dim], and the texts themselves as a "
    "JSON list in the "
    "metadata key \"texts\": `segment` and training look a text up there.\n"
    "--instruct puts \"Instruct: TASK\\nQuery:\" before each text; what was used is kept in the metadata.",
    "versavit embed-text --model model --texts phrases.txt -o embeddings.safetensors",
    0,
    0};

typedef struct {
    const char *model_dir, *adapter, *texts, *out;
    vv_embed_options o;
    vv_model model;
    vv_lora *lora;
    vv_lines lines;
    vv_real *rows; /* [texts, dim] */
    int64_t dim;
} job;

/* texts one after the other: they share nothing, and memory stays small */
static vv_status embed(job *j, vv_error *err)
{
    vv_tape *t = vv_tape_new(NULL, 0);
    vv_status s = t ? VV_OK : vv_no_memory(err, "tape");
    for (int64_t i = 0; s == VV_OK && i < j->lines.n; i++) {
        vv_ids ids = {0};
        s = vv_embed_ids(&j->model, j->lines.line[i], &j->o, &ids, err);
        const int32_t cu[2] = {0, (int32_t)ids.n};
        vv_tensor *e = s == VV_OK ? vv_embed_texts(t, j->model.llm, ids.id, cu, 1, j->dim) : NULL;
        if (s == VV_OK) s = vv_tape_status(t, err);
        if (s == VV_OK) vvb_download(j->rows + i * j->dim, e->data, j->dim * (int64_t)sizeof *j->rows);
        vv_ids_free(&ids);
        vv_tape_reset(t);
        vv_progress("embed", i + 1, j->lines.n);
    }
    vv_tape_free(t);
    return s;
}

static vv_status write(const job *j, vv_error *err)
{
    json_t *texts = json_array();
    char dim[32];
    int ok = texts != NULL;
    for (int64_t i = 0; ok && i < j->lines.n; i++) ok = !json_array_append_new(texts, json_string(j->lines.line[i]));
    char *list = ok ? vv_json_text(texts, JSON_COMPACT) : NULL;
    json_decref(texts);
    if (!list) return vv_no_memory(err, j->out);
    snprintf(dim, sizeof dim, "%lld", (long long)j->dim);
    const char *const meta[] = {"texts",    list,
                                "model",    j->model_dir,
                                "adapter",  j->adapter ? j->adapter : "",
                                "dim",      dim,
                                "instruct", j->o.instruct ? j->o.instruct : "",
                                NULL};
    const vv_st_decl decl = {"embeddings", sizeof(vv_real) == 8 ? VV_DT_F64 : VV_DT_F32, 2, {j->lines.n, j->dim}};
    vv_stw *w = NULL;
    vv_status s = vv_stw_open(&w, j->out, &decl, 1, meta, 0, err);
    if (s == VV_OK) s = vv_stw_write_real(w, 0, j->rows, err);
    if (s == VV_OK) s = vv_stw_commit(w, err);
    else vv_stw_abort(w);
    free(list);
    return s;
}

static vv_status run(job *j, vv_error *err)
{
    VV_TRY(cli_need("--model", j->model_dir, err));
    VV_TRY(cli_need("--texts", j->texts, err));
    VV_TRY(cli_need("-o", j->out, err));
    VV_TRY(cli_output(j->out, err));
    VV_TRY(vv_lines_read(&j->lines, j->texts, err));
    VV_TRY(vv_model_load(&j->model, j->model_dir, VV_TEXT, err));
    VV_TRY(vv_model_need(&j->model, VV_TEXT, j->model_dir, err));
    if (j->adapter) VV_TRY(vv_lora_load(&j->lora, j->model.params, j->adapter, err));
    const int64_t h = j->model.llm->config.hidden_size;
    if (j->o.dim < 0 || j->o.dim > h)
        return vv_fail(err, VV_USAGE, "--dim: expected 1 to %lld, the model's width; found %lld", (long long)h,
                       (long long)j->o.dim);
    j->dim = j->o.dim ? j->o.dim : h;
    if (!(j->rows = vv_calloc(j->lines.n * j->dim, sizeof *j->rows))) return vv_no_memory(err, j->texts);
    VV_TRY(embed(j, err));
    return write(j, err);
}

int cmd_embed_text(int argc, char **argv)
{
    job j = {0};
    const cli_option options[] = {
        {"model", 'm', "DIR", "Hugging Face folder of the language model", &j.model_dir, NULL, NULL, NULL},
        {"adapter", 'a', "DIR", "LoRA adapters for it, a folder of PEFT", &j.adapter, NULL, NULL, NULL},
        {"texts", 0, "FILE", "one text a line", &j.texts, NULL, NULL, NULL},
        {"output", 'o', "FILE", "embeddings, as safetensors", &j.out, NULL, NULL, NULL},
        {"dim", 'd', "N", "keep the first N numbers (default: all)", NULL, &j.o.dim, NULL, NULL},
        {"instruct", 0, "TASK", "the instruction before each text (default: none)", &j.o.instruct, NULL, NULL, NULL},
        {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    const vv_status s = run(&j, &err);
    if (s == VV_OK && !cli_quiet) {
        cli_line();
        printf("%s: %lld texts, %lld numbers each\n", j.out, (long long)j.lines.n, (long long)j.dim);
    }
    free(j.rows);
    vv_lines_free(&j.lines);
    vv_lora_free(j.lora);
    vv_model_free(&j.model);
    return cli_end(s, &err);
}
