/* The forward of the decoder, of whole sequences and with a cache; the picture of it is in the header. */
#include "model/qwen3.h"

#include <math.h>
#include <stdlib.h>

/* ---- the cache ---------------------------------------------------------------------------------------------------------- */
struct vv_kv_cache {
    const vv_qwen3 *model;
    int64_t length, capacity; /* tokens there are, tokens there is room for */
    vv_real *data;            /* [2 L, capacity, K d]: the keys of a layer, then its values */
    vv_tensor *seen;          /* [2 L]: the same as tensors of the rows that the running step sees */
};

static int64_t cache_width(const vv_kv_cache *c)
{
    return c->model->config.num_key_value_heads * c->model->config.head_dim;
}

static int64_t cache_bytes(const vv_kv_cache *c)
{
    const int64_t rows = vv_mul(2 * c->model->config.num_hidden_layers, c->capacity);
    return vv_mul(rows, cache_width(c) * (int64_t)sizeof(vv_real));
}

static vv_real *cache_rows(const vv_kv_cache *c, int64_t block) /* block 2i: keys of layer i, 2i + 1: values */
{
    return c->data + block * c->capacity * cache_width(c);
}

/* Fresh memory for c->capacity tokens; 0 without. */
static int cache_alloc(vv_kv_cache *c)
{
    const int64_t bytes = cache_bytes(c);
    c->data = bytes < 0 ? NULL : vvb_alloc(bytes);
    if (!c->data) (void)vvb_error();
    return c->data != NULL;
}

vv_status vv_kv_cache_new(vv_kv_cache **out, const vv_qwen3 *m, int64_t capacity, vv_error *err)
{
    vv_kv_cache *c = vv_calloc(1, sizeof *c);
    if (!c) return vv_no_memory(err, "key and value cache");
    *c = (vv_kv_cache){.model = m, .capacity = capacity};
    c->seen = vv_calloc(2 * m->config.num_hidden_layers, sizeof *c->seen);
    if (!c->seen || !cache_alloc(c)) {
        vv_kv_cache_free(c);
        return vv_no_memory(err, "key and value cache");
    }
    *out = c;
    return VV_OK;
}

void vv_kv_cache_free(vv_kv_cache *c)
{
    if (!c) return;
    if (c->data) vvb_free(c->data, cache_bytes(c));
    free(c->seen);
    free(c);
}

int64_t vv_kv_cache_length(const vv_kv_cache *c) { return c->length; }

/* Room for `length` tokens, at least twice of what there was: n single steps copy less than 2n rows. */
static void cache_reserve(vv_tape *t, vv_kv_cache *c, int64_t length)
{
    if (length <= c->capacity) return;
    const vv_kv_cache old = *c;
    c->capacity = vv_max(length, 2 * old.capacity);
    if (!cache_alloc(c)) {
        *c = old;
        vv_tape_fail(t, VV_MEMORY, "key and value cache: out of memory for %lld tokens", (long long)length);
        return;
    }
    for (int64_t i = 0; i < 2 * c->model->config.num_hidden_layers; i++)
        vvb_copy(cache_rows(c, i), cache_rows(&old, i), old.length * cache_width(c) * (int64_t)sizeof(vv_real));
    vvb_free(old.data, cache_bytes(&old));
}

/* Writes x behind the rows of the block, of which there is enough room, and returns all of them. */
static vv_tensor *cache_append(vv_tape *t, vv_kv_cache *c, int64_t block, const vv_tensor *x)
{
    if (!vv_ready(t, 1, x)) return NULL;
    const int64_t width = cache_width(c), length = c->length + vv_rows(x);
    vv_real *rows = cache_rows(c, block);
    VV_RUN(t, 0, vvb_copy(rows + c->length * width, vv_f(x), x->n * (int64_t)sizeof(vv_real)));
    c->seen[block] =
        (vv_tensor){.kind = VV_REALS, .ndim = 2, .dim = {length, width}, .n = length * width, .data = rows};
    return &c->seen[block];
}

/* ---- a layer ------------------------------------------------------------------------------------------------------------ */
/* what vv_segment keeps of one layer until its backward */
typedef struct {
    const vv_qwen3 *model;
    int64_t index;
    vv_rope_angles angles;
    const int32_t *cu; /* prefix sums of the S sequence lengths (host) */
    int64_t S;
    vv_kv_cache *cache; /* NULL: the sequences begin here */
} layer_ctx;

static vv_tensor *self_attention(vv_tape *t, const layer_ctx *c, vv_tensor *x, vv_tensor *res)
{
    const vv_qwen3_config *g = &c->model->config;
    const vv_qwen3_layer *p = &c->model->layers[c->index];
    const int64_t H = g->num_attention_heads, K = g->num_key_value_heads;
    vvb_attention_args args = {
        .cu_q = c->cu, .S = c->S, .H = H, .Hkv = K, .scale = 1 / sqrt((double)g->head_dim), .causal = 1};
    int32_t cu_k[2] = {0, 0};
    vv_enter(t, "self_attn", -1);
    vv_tensor *q = vv_linear(t, "q_proj", x, p->q_proj, NULL, NULL);
    vv_tensor *k = vv_linear(t, "k_proj", x, p->k_proj, NULL, NULL);
    vv_tensor *v = vv_linear(t, "v_proj", x, p->v_proj, NULL, NULL);
    q = vv_rmsnorm(t, "q_norm", q, p->q_norm, g->rms_norm_eps);
    q = vv_rope(t, "q_norm#rotated", q, c->angles, H);
    k = vv_rmsnorm(t, "k_norm", k, p->k_norm, g->rms_norm_eps);
    k = vv_rope(t, "k_norm#rotated", k, c->angles, K);
    if (c->cache) {
        k = cache_append(t, c->cache, 2 * c->index, k);
        v = cache_append(t, c->cache, 2 * c->index + 1, v);
        cu_k[1] = k ? (int32_t)vv_rows(k) : 0;
        args.cu_k = cu_k;
        args.Sk = 1;
    }
    vv_tensor *context = vv_attention(t, "#context", q, k, v, &args);
    vv_tensor *y = vv_linear(t, "#residual", context, p->o_proj, NULL, res);
    vv_leave(t);
    return y;
}

static vv_tensor *layer(vv_tape *t, const void *ctx, vv_tensor *x)
{
    const layer_ctx *c = ctx;
    const vv_qwen3_layer *p = &c->model->layers[c->index];
    const double eps = c->model->config.rms_norm_eps;
    vv_enter(t, "layers", c->index);
    vv_tensor *n = vv_rmsnorm(t, "input_layernorm", x, p->input_layernorm, eps);
    x = self_attention(t, c, n, x);
    n = vv_rmsnorm(t, "post_attention_layernorm", x, p->post_attention_layernorm, eps);
    vv_enter(t, "mlp", -1);
    vv_tensor *gate = vv_linear(t, "gate_proj", n, p->gate_proj, NULL, NULL);
    vv_tensor *up = vv_linear(t, "up_proj", n, p->up_proj, NULL, NULL);
    vv_tensor *gated = vv_silu_mul(t, "#gated", gate, up);
    vv_leave(t);
    x = vv_linear(t, "", gated, p->down_proj, NULL, x);
    vv_leave(t);
    return x;
}

static vv_tensor *layers(vv_tape *t, const vv_qwen3 *m, vv_tensor *x, const int32_t *pos, const int32_t *cu, int64_t S,
                         vv_kv_cache *cache)
{
    const vv_qwen3_config *c = &m->config;
    vv_enter(t, "model", -1);
    layer_ctx ctx = {m,
                     0,
                     vv_rope_table(t, pos, vv_rows(x), 1, c->head_dim, c->rope_theta),
                     vv_keep(t, cu, (S + 1) * (int64_t)sizeof *cu),
                     S,
                     cache};
    for (; ctx.index < c->num_hidden_layers; ctx.index++) x = vv_segment(t, layer, &ctx, sizeof ctx, x);
    x = vv_rmsnorm(t, "norm", x, m->norm, c->rms_norm_eps);
    vv_leave(t);
    return x;
}

/* ---- the whole ---------------------------------------------------------------------------------------------------------- */
vv_tensor *vv_qwen3_embed(vv_tape *t, const vv_qwen3 *m, const int32_t *ids, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (ids[i] < 0 || ids[i] >= m->config.vocab_size)
            return vv_tape_fail(t, VV_USAGE, "token %lld: expected an id from 0 to %lld; got %d", (long long)i,
                                (long long)m->config.vocab_size - 1, (int)ids[i]);
    vv_enter(t, "model", -1);
    vv_tensor *x = vv_gather_rows(t, "embed_tokens", m->embed_tokens, ids, n);
    vv_leave(t);
    return x;
}

static int fits(vv_tape *t, const vv_qwen3 *m, int64_t s, int64_t length)
{
    if (length <= m->config.max_position_embeddings) return 1;
    vv_tape_fail(t, VV_USAGE, "sequence %lld: expected at most %lld tokens (max_position_embeddings); got %lld",
                 (long long)s, (long long)m->config.max_position_embeddings, (long long)length);
    return 0;
}

/* Positions [N] that count from 0 in each sequence, in fresh memory; NULL after an error. */
static int32_t *positions(vv_tape *t, const vv_qwen3 *m, const vv_tensor *x, const int32_t *cu, int64_t S)
{
    const int64_t N = vv_rows(x);
    int covers = cu[0] == 0 && cu[S] == N;
    for (int64_t s = 0; s < S; s++) covers &= cu[s] <= cu[s + 1];
    if (!vv_expect(t, "decoder", "model", covers, "sequences that cover the rows of x, from 0 upwards", "x", x))
        return NULL;
    for (int64_t s = 0; s < S; s++)
        if (!fits(t, m, s, cu[s + 1] - cu[s])) return NULL;
    int32_t *pos = vv_calloc(N, sizeof *pos);
    if (!pos) vv_tape_fail(t, VV_MEMORY, "model: out of memory for %lld positions", (long long)N);
    for (int64_t s = 0; pos && s < S; s++)
        for (int32_t i = cu[s]; i < cu[s + 1]; i++) pos[i] = i - cu[s];
    return pos;
}

vv_tensor *vv_qwen3_forward(vv_tape *t, const vv_qwen3 *m, vv_tensor *x, const int32_t *cu, int64_t S)
{
    if (!vv_ready(t, 1, x)) return NULL;
    int32_t *pos = positions(t, m, x, cu, S);
    if (!pos) return NULL;
    vv_tensor *hidden = layers(t, m, x, pos, cu, S, NULL);
    free(pos);
    return hidden;
}

vv_tensor *vv_qwen3_logits(vv_tape *t, const vv_qwen3 *m, vv_tensor *hidden)
{
    return vv_linear(t, "lm_head", hidden, m->lm_head, NULL, NULL);
}

vv_tensor *vv_qwen3_decode(vv_tape *t, const vv_qwen3 *m, vv_tensor *x, vv_kv_cache *c)
{
    if (!vv_ready(t, 1, x)) return NULL;
    const int64_t n = vv_rows(x);
    if (c->model != m) return vv_tape_fail(t, VV_USAGE, "decode: expected a cache of this model");
    if (!fits(t, m, 0, c->length + n)) return NULL;
    cache_reserve(t, c, c->length + n);
    int32_t *pos = vv_calloc(n, sizeof *pos);
    if (!pos) return vv_tape_fail(t, VV_MEMORY, "model: out of memory for %lld positions", (long long)n);
    for (int64_t i = 0; i < n; i++) pos[i] = (int32_t)(c->length + i);
    const int32_t cu[2] = {0, (int32_t)n};
    vv_tensor *hidden = layers(t, m, x, pos, cu, 1, c);
    free(pos);
    if (hidden) c->length += n; /* after a failure the cache is as it was */
    return hidden;
}
