/* Greedy generation: prompts of random ids ("lengths"); to the first ones the pictures of "pictures" are given, their placeholders after
 * the first id. For each prompt "new_tokens" ids are generated with the cache; recorded are the ids and the logits that each was chosen
 * from, computed anew by one forward over prompt and ids (teacher forced). After a choice that is legal and different, other logits
 * follow: a candidate is not judged from there on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/case_text.h"
#include "golden/margins.h"
#include "model/generate.h"
#include "model/mllm.h"

/* in RMS of the logits: so far apart that emulated precisions, too, choose the same tokens */
#define TOKEN_MARGIN 0.1

typedef struct {
    int32_t *ids; /* [n + new] the prompt and room for what follows */
    int64_t n, made;
    vv_batch pictures;
} prompt;

static void prompt_free(prompt *p)
{
    free(p->ids);
    vv_batch_free(&p->pictures);
}

/* Prompt `index`: the ids with the placeholders of its picture, if there is one. */
static vv_status prompt_make(vv_case *c, prompt *p, const vv_case_tokens *x, int64_t index, int64_t new_tokens,
                             vv_error *err)
{
    char name[40];
    int64_t(*hw)[2] = NULL, pictures = 0;
    if (json_object_get(c->root, "pictures")) VV_TRY(vv_case_sizes(c, "pictures", &hw, &pictures, err));
    vv_image image = {0};
    vv_status s = VV_OK;
    if (index < pictures) {
        s = vv_case_draw(c, &image, hw[index][0], hw[index][1], index, err);
        if (s == VV_OK) vv_case_record_image(c, &image, index);
        if (s == VV_OK) s = vv_batch_add(&p->pictures, &c->model.preprocess, &image, c->path, err);
    }
    vv_image_free(&image);
    free(hw);
    VV_TRY(s);
    const int64_t pads = p->pictures.rows / c->model.projector->config.cells, words = x->cu[index + 1] - x->cu[index];
    p->n = words + pads;
    if (!(p->ids = vv_calloc(p->n + new_tokens, sizeof *p->ids))) return vv_no_memory(err, c->path);
    memcpy(p->ids, x->ids + x->cu[index], sizeof *p->ids);
    for (int64_t i = 0; i < pads; i++) p->ids[1 + i] = vv_image_pad(&c->model);
    memcpy(p->ids + 1 + pads, x->ids + x->cu[index] + 1, (size_t)(words - 1) * sizeof *p->ids);
    snprintf(name, sizeof name, "prompt.%lld", (long long)index);
    vv_case_record_ints(c, name, p->ids, p->n);
    return VV_OK;
}

/* the rows that the decoder reads of the first n ids */
static vv_tensor *rows(vv_tape *t, const vv_model *m, const prompt *p, int64_t n)
{
    vv_tensor *features = p->pictures.n ? vv_mllm_features(t, m, &p->pictures) : NULL;
    return p->pictures.n && !features ? NULL : vv_mllm_splice(t, m->llm, p->ids, n, vv_image_pad(m), features);
}

static vv_status generate(vv_case *c, prompt *p, int64_t new_tokens, vv_error *err)
{
    vv_qwen3 endless = *c->model.llm; /* knows no id that ends a text */
    vv_generate_options o = vv_generate_default();
    int stopped = 0;
    endless.config.n_eos = 0;
    o.max_new_tokens = new_tokens;
    vv_tape *t = vv_tape_new(NULL, 0);
    if (!t) return vv_no_memory(err, c->path);
    vv_tensor *x = rows(t, &c->model, p, p->n);
    vv_status s = vv_tape_status(t, err);
    if (s == VV_OK)
        s = vv_generate(t, &endless, x, p->ids, p->n, &o, NULL, NULL, p->ids + p->n, &p->made, &stopped, err);
    vv_tape_free(t);
    return s;
}

/* z [made,V]: the logits before each of the ids */
static vv_status logits(vv_case *c, const prompt *p, vv_real *z, vv_error *err)
{
    const vv_qwen3 *m = c->model.llm;
    const int64_t n = p->n + p->made - 1;
    const int32_t cu[2] = {0, (int32_t)n};
    int32_t *at = vv_calloc(p->made, sizeof *at);
    vv_tape *t = vv_tape_new(NULL, 0);
    vv_status s = at && t ? VV_OK : vv_no_memory(err, c->path);
    if (s == VV_OK) {
        for (int64_t i = 0; i < p->made; i++) at[i] = (int32_t)(p->n - 1 + i);
        vv_tensor *hidden = vv_qwen3_forward(t, m, rows(t, &c->model, p, n), cu, 1);
        vv_tensor *y = vv_qwen3_logits(t, m, vv_gather_rows(t, NULL, hidden, at, p->made));
        s = vv_tape_status(t, err);
        if (s == VV_OK) vvb_download(z, vv_f(y), y->n * (int64_t)sizeof *z);
    }
    free(at);
    vv_tape_free(t);
    return s;
}

static vv_status one(vv_case *c, prompt *p, int64_t index, int64_t new_tokens, vv_margins *margins, vv_error *err)
{
    char name[40], of[40], key[VV_NAME_MAX + 64];
    const int64_t V = c->model.llm->config.vocab_size;
    vv_real *z = vv_calloc(new_tokens * V, sizeof *z);
    vv_status s = z ? generate(c, p, new_tokens, err) : vv_no_memory(err, c->path);
    if (s == VV_OK) s = logits(c, p, z, err);
    if (s == VV_OK) {
        snprintf(of, sizeof of, "logits.%lld", (long long)index);
        snprintf(name, sizeof name, "ids.%lld", (long long)index);
        vv_margins_argmax(margins, of, z, new_tokens, V);
        vv_record_reals(c->rec, "act", of, 2, (const int64_t[]){new_tokens, V}, z);
        vv_record_host(c->rec, "act", name, VV_DT_I32, 1, &new_tokens, p->ids + p->n);
        vv_record_mark(c->rec, "act", name, "of", json_string(vv_record_key(c->rec, "act", of, key)));
        vv_record_mark(c->rec, "act", name, "rule", json_string("argmax"));
        vv_record_mark(c->rec, "act", name, "output", json_true());
    }
    free(z);
    return s;
}

static vv_status run_generate(vv_case *c, vv_error *err)
{
    vv_case_tokens x = {0};
    vv_margins margins = vv_margins_begin();
    int64_t new_tokens = 8;
    vv_status s = vv_json_int(c->root, c->path, "new_tokens", 1, 1 << 12, &new_tokens, err);
    if (s == VV_OK) s = vv_case_sequences(c, c->model.llm->config.vocab_size, &x, err);
    for (int64_t i = 0; s == VV_OK && i < x.S; i++) {
        prompt p = {0};
        s = prompt_make(c, &p, &x, i, new_tokens, err);
        if (s == VV_OK) s = one(c, &p, i, new_tokens, &margins, err);
        prompt_free(&p);
    }
    vv_case_tokens_free(&x);
    return s == VV_OK ? vv_margins_check(&margins, c, TOKEN_MARGIN, err) : s;
}

static const char *const keys[] = {"lengths", "pictures", "new_tokens", NULL};
const vv_case_kind vv_case_generate = {"generate", "generate", VV_VISION | VV_PROJECTOR | VV_TEXT, keys, run_generate};
