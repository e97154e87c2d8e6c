/* The language model alone.
 *
 *   decoder   packed sequences of random ids ("lengths"), of which each label is ignored with the probability "ignored", and all of
 *             the sequence "silent" (-1: none); losses ce (mean of sequences) and ce.token (mean of tokens), total is their sum.
 *             Logits are recorded, though the losses never make them.
 *   embed     text embeddings of such sequences, whole and cut to "dim"; total is a linear loss of the whole ones. */
#include <stdlib.h>

#include "base/rng.h"
#include "golden/case_text.h"
#include "loss/cross_entropy.h"
#include "loss/loss.h"
#include "model/text_embedding.h"

/* ---- decoder ------------------------------------------------------------------------------------------------------------ */
typedef struct {
    vv_case_tokens x;
    int32_t *labels;
} decoder_input;

static vv_status decoder_labels(vv_case *c, decoder_input *in, vv_error *err)
{
    const uint64_t stream = vv_stream("labels");
    double ignored = 0.3;
    int64_t silent = -1;
    VV_TRY(vv_json_real(c->root, c->path, "ignored", 0, 1, &ignored, err));
    VV_TRY(vv_json_int(c->root, c->path, "silent", -1, in->x.S - 1, &silent, err));
    if (!(in->labels = vv_calloc(in->x.N, sizeof *in->labels))) return vv_no_memory(err, c->path);
    for (int64_t s = 0; s < in->x.S; s++)
        for (int64_t i = in->x.cu[s]; i < in->x.cu[s + 1]; i++)
            in->labels[i] =
                s == silent || vv_random_uniform(c->seed, stream, (uint64_t)i) < ignored ? VV_IGNORED : in->x.ids[i];
    vv_case_record_ints(c, "ids", in->x.ids, in->x.N);
    vv_case_record_ints(c, "labels", in->labels, in->x.N);
    vv_case_record_ints(c, "cu_seqlens", in->x.cu, in->x.S + 1);
    return VV_OK;
}

static vv_tensor *cross_entropy(vv_tape *t, const char *name, const vv_qwen3 *m, vv_tensor *hidden,
                                const decoder_input *in, vv_ce_reduction reduction)
{
    vv_ce_window w = {.reduction = reduction};
    vv_ce_count(&w, in->labels, in->x.cu, in->x.S);
    return vv_cross_entropy(t, name, hidden, m->lm_head, in->labels, in->x.cu, in->x.S, &w, NULL);
}

static vv_status decode(vv_case *c, const decoder_input *in, vv_error *err)
{
    const vv_qwen3 *m = c->model.llm;
    vv_tape *t = vv_case_tape(c, err);
    if (!t) return err->status;
    vv_tensor *hidden = vv_qwen3_forward(t, m, vv_qwen3_embed(t, m, in->x.ids, in->x.N), in->x.cu, in->x.S);
    (void)vv_qwen3_logits(t, m, hidden);
    vv_tensor *sample = cross_entropy(t, "ce", m, hidden, in, VV_CE_SAMPLE);
    vv_tensor *token = cross_entropy(t, "ce.token", m, hidden, in, VV_CE_TOKEN);
    vv_backward(t, vv_weighted_sum(t, "total", 1, sample, 1, token), 1);
    const vv_status s = vv_tape_status(t, err);
    if (s == VV_OK) vv_record_gradients(c->rec, c->model.params);
    vv_tape_free(t);
    return s;
}

static vv_status run_decoder(vv_case *c, vv_error *err)
{
    decoder_input in = {0};
    vv_status s = vv_case_sequences(c, c->model.llm->config.vocab_size, &in.x, err);
    if (s == VV_OK) s = decoder_labels(c, &in, err);
    if (s == VV_OK) s = decode(c, &in, err);
    vv_case_tokens_free(&in.x);
    free(in.labels);
    return s;
}

static const char *const decoder_keys[] = {"lengths", "ignored", "silent", NULL};
const vv_case_kind vv_case_decoder = {"decoder", "caption", VV_TEXT, decoder_keys, run_decoder};

/* ---- embed -------------------------------------------------------------------------------------------------------------- */
static vv_status embed(vv_case *c, const vv_case_tokens *x, int64_t dim, vv_error *err)
{
    vv_tape *t = vv_case_tape(c, err);
    if (!t) return err->status;
    vv_tensor *whole = vv_embed_texts(t, c->model.llm, x->ids, x->cu, x->S, 0);
    vv_backward(t, vv_scale(t, "total", vv_case_dot(c, t, "cotangent", whole), 1), 1);
    vv_status s = vv_tape_status(t, err);
    if (s == VV_OK) vv_record_gradients(c->rec, c->model.params);
    vv_tape_free(t);
    if (s != VV_OK || !(t = vv_tape_new(NULL, 0))) return s != VV_OK ? s : vv_no_memory(err, c->path);
    vv_tensor *cut = vv_embed_texts(t, c->model.llm, x->ids, x->cu, x->S, dim);
    vv_real *host = vv_calloc(x->S * dim, sizeof *host);
    s = vv_tape_status(t, err);
    if (s == VV_OK && !host) s = vv_no_memory(err, c->path);
    if (s == VV_OK) {
        vvb_download(host, vv_f(cut), x->S * dim * (int64_t)sizeof *host);
        vv_record_reals(c->rec, "act", "embedding.cut", 2, (const int64_t[]){x->S, dim}, host);
    }
    free(host);
    vv_tape_free(t);
    return s;
}

static vv_status run_embed(vv_case *c, vv_error *err)
{
    vv_case_tokens x = {0};
    int64_t dim = c->model.llm->config.hidden_size;
    VV_TRY(vv_json_int(c->root, c->path, "dim", 1, dim, &dim, err));
    vv_status s = vv_case_sequences(c, c->model.llm->config.vocab_size, &x, err);
    if (s == VV_OK) {
        vv_case_record_ints(c, "ids", x.ids, x.N);
        vv_case_record_ints(c, "cu_seqlens", x.cu, x.S + 1);
        s = embed(c, &x, dim, err);
    }
    vv_case_tokens_free(&x);
    return s;
}

static const char *const embed_keys[] = {"lengths", "dim", NULL};
const vv_case_kind vv_case_embed = {"embed", "embed", VV_TEXT, embed_keys, run_embed};
