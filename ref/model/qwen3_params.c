/* The parameters of the decoder: names and shapes, initialisation, checkpoints. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/qwen3.h"

static void layer_params(vv_qwen3 *m, vv_declare *d, int64_t i)
{
    const vv_qwen3_config *c = &m->config;
    const int64_t h = c->hidden_size, wide = c->num_attention_heads * c->head_dim,
                  narrow = c->num_key_value_heads * c->head_dim;
    char scope[32];
    snprintf(scope, sizeof scope, "layers.%lld.", (long long)i);
    vv_qwen3_layer *p = &m->layers[i];
    p->input_layernorm = vv_declare_vector(d, scope, "input_layernorm.weight", h);
    p->q_proj = vv_declare_matrix(d, scope, "self_attn.q_proj.weight", wide, h);
    p->k_proj = vv_declare_matrix(d, scope, "self_attn.k_proj.weight", narrow, h);
    p->v_proj = vv_declare_matrix(d, scope, "self_attn.v_proj.weight", narrow, h);
    p->o_proj = vv_declare_matrix(d, scope, "self_attn.o_proj.weight", h, wide);
    p->q_norm = vv_declare_vector(d, scope, "self_attn.q_norm.weight", c->head_dim);
    p->k_norm = vv_declare_vector(d, scope, "self_attn.k_norm.weight", c->head_dim);
    p->post_attention_layernorm = vv_declare_vector(d, scope, "post_attention_layernorm.weight", h);
    p->gate_proj = vv_declare_matrix(d, scope, "mlp.gate_proj.weight", c->intermediate_size, h);
    p->up_proj = vv_declare_matrix(d, scope, "mlp.up_proj.weight", c->intermediate_size, h);
    p->down_proj = vv_declare_matrix(d, scope, "mlp.down_proj.weight", h, c->intermediate_size);
}

/* lm_head.weight stands beside the part: checkpoints keep it outside the decoder's prefix */
static vv_status head_param(vv_qwen3 *m, vv_params *params, vv_error *err)
{
    vv_part beside;
    vv_declare d = vv_declare_begin(&beside, params, "");
    m->lm_head = m->config.tie_word_embeddings
                     ? m->embed_tokens
                     : vv_declare_matrix(&d, "", "lm_head.weight", m->config.vocab_size, m->config.hidden_size);
    return vv_declare_end(&d, err);
}

vv_status vv_qwen3_new(vv_qwen3 **out, vv_params *params, const vv_qwen3_config *c, vv_error *err)
{
    vv_qwen3 *m = vv_calloc(1, sizeof *m);
    if (!m || !(m->layers = vv_calloc(c->num_hidden_layers, sizeof *m->layers))) {
        vv_qwen3_free(m);
        return vv_no_memory(err, "decoder");
    }
    m->config = *c;
    vv_declare d = vv_declare_begin(&m->part, params, "model.");
    m->embed_tokens = vv_declare_matrix(&d, "", "embed_tokens.weight", c->vocab_size, c->hidden_size);
    for (int64_t i = 0; i < c->num_hidden_layers; i++) layer_params(m, &d, i);
    m->norm = vv_declare_vector(&d, "", "norm.weight", c->hidden_size);
    vv_status s = vv_declare_end(&d, err);
    if (s == VV_OK) s = head_param(m, params, err);
    if (s == VV_OK) *out = m;
    else vv_qwen3_free(m);
    return s;
}

void vv_qwen3_free(vv_qwen3 *m)
{
    if (!m) return;
    free(m->layers);
    free(m);
}

static vv_status fill(vv_tensor *x, double range, uint64_t seed, vv_error *err)
{
    if (x->ndim == 1) return vv_param_fill(x, VV_FILL_CONSTANT, 1, seed, err); /* all vectors are weights of norms */
    return vv_param_fill(x, VV_FILL_NORMAL, range, seed, err);
}

vv_status vv_qwen3_init(vv_qwen3 *m, uint64_t seed, vv_error *err)
{
    const double range = m->config.initializer_range;
    for (int64_t i = 0; i < m->part.n; i++) {
        VV_TRY(fill(m->part.params->at[m->part.first + i], range, seed, err));
        vv_progress("initialise", i + 1, m->part.n);
    }
    return m->config.tie_word_embeddings ? VV_OK : fill(m->lm_head, range, seed, err);
}

/* ---- checkpoints -------------------------------------------------------------------------------------------------------- */
/* not of the part: tables of angles that old checkpoints keep; and head, the output projection when it stands under the prefix */
static int is_beside(const void *head, const char *name)
{
    return strstr(name, "rotary_emb.inv_freq") != NULL || (head && !strcmp(name, head));
}

static int same_bytes(const vv_st_entry *a, const vv_st_entry *b)
{
    int same = a->dtype == b->dtype && a->ndim == b->ndim && a->bytes == b->bytes;
    for (int i = 0; same && i < a->ndim; i++) same = a->shape[i] == b->shape[i];
    return same && !memcmp(a->data, b->data, (size_t)a->bytes);
}

/* The name of the output projection in the file; NULL: it has none. */
static const char *head_name(const vv_weights *w)
{
    static const char *const names[] = {"lm_head.weight", "base_model.model.lm_head.weight"};
    for (int i = 0; i < 2; i++)
        if (vv_weights_find(w, names[i], NULL)) return names[i];
    return NULL;
}

static void compare_tied_head(const vv_weights *w, const char *prefix, const char *head)
{
    char table[VV_NAME_MAX];
    const vv_st *file[2];
    snprintf(table, sizeof table, "%sembed_tokens.weight", prefix);
    const vv_st_entry *e = vv_weights_find(w, table, &file[0]), *h = vv_weights_find(w, head, &file[1]);
    if (!same_bytes(e, h))
        vv_warn("%s: %s: expected a copy of %s, which config.json ties it to; found another tensor, not used",
                vv_st_path(file[1]), head, table);
    vv_st_done(file[0], e);
    vv_st_done(file[1], h);
}

vv_status vv_qwen3_load_weights(vv_qwen3 *m, const vv_weights *w, vv_error *err)
{
    static const char *const prefixes[] = {
        "model.", "model.language_model.", "base_model.model.model.", "base_model.model.", "", NULL};
    const char *prefix = vv_part_prefix(&m->part, w, prefixes), *head = head_name(w);
    if (!prefix)
        return vv_fail(err, VV_FILE,
                       "%s: expected embed_tokens.weight under \"model.\", \"model.language_model.\", "
                       "\"base_model.model.\" or no prefix; found no such tensor",
                       vv_weights_path(w));
    if (!m->config.tie_word_embeddings && !head)
        return vv_fail(err, VV_FILE,
                       "%s: lm_head.weight: expected this tensor, the embeddings are not tied; found none",
                       vv_weights_path(w));
    const size_t skip = strlen(prefix);
    VV_TRY(
        vv_part_load(&m->part, w, prefix, is_beside, head && !strncmp(head, prefix, skip) ? head + skip : NULL, err));
    if (!m->config.tie_word_embeddings) return vv_param_load(m->lm_head, w, head, err);
    if (head) compare_tied_head(w, prefix, head);
    return VV_OK;
}
