/* The decoder: names, counts, what a token sees, the cache. */
#include "model/decoder.h"
#include "tape/small.h"

/* ---- parameters ------------------------------------------------------------------------------------------------------------ */
typedef struct {
    const char *name;
    int64_t h, I, L, H, K, V;
    int tied;
    int64_t count, decoder; /* all parameters; without embeddings and head */
} published;

static const published MODEL[] = {
    {"Qwen3-0.6B", 1024, 3072, 28, 16, 8, 151936, 1, 596049920, 440467456},
    {"Qwen3-1.7B", 2048, 6144, 28, 16, 8, 151936, 1, 1720574976, 1409410048},
    {"Qwen3-8B", 4096, 12288, 36, 32, 8, 151936, 0, 8190735360, 6946075648},
    {"Qwen3-Embedding-0.6B", 1024, 3072, 28, 16, 8, 151669, 1, 595776512, 440467456},
};

START_TEST(published_counts)
{
    const published *p = &MODEL[_i];
    vv_qwen3_config c = vv_qwen3_config_default();
    c.hidden_size = p->h, c.intermediate_size = p->I, c.num_hidden_layers = p->L, c.num_attention_heads = p->H;
    c.num_key_value_heads = p->K, c.vocab_size = p->V, c.tie_word_embeddings = p->tied;
    vv_params ps = {.dry = 1};
    vv_qwen3 *m = NULL;
    VVT_OK(vv_qwen3_new(&m, &ps, &c, err));
    int64_t count = 0;
    for (int64_t i = 0; i < ps.n; i++) count += ps.at[i]->n;
    ck_assert_msg(count == p->count, "%s: %lld parameters", p->name, (long long)count);
    ck_assert_int_eq(count - (2 - p->tied) * p->V * p->h, p->decoder);
    ck_assert_int_eq(m->part.n, 11 * p->L + 2); /* 310 tensors in 0.6B */
    ck_assert_int_eq(ps.n, m->part.n + !p->tied);
    vv_qwen3_free(m);
    vv_params_free(&ps);
}
END_TEST

START_TEST(names_and_shapes)
{
    static const char *const want[] = {"model.embed_tokens.weight",
                                       "[40,16]",
                                       "model.layers.0.input_layernorm.weight",
                                       "[16]",
                                       "model.layers.0.self_attn.q_proj.weight",
                                       "[24,16]",
                                       "model.layers.0.self_attn.k_proj.weight",
                                       "[12,16]",
                                       "model.layers.0.self_attn.v_proj.weight",
                                       "[12,16]",
                                       "model.layers.0.self_attn.o_proj.weight",
                                       "[16,24]",
                                       "model.layers.0.self_attn.q_norm.weight",
                                       "[6]",
                                       "model.layers.0.self_attn.k_norm.weight",
                                       "[6]",
                                       "model.layers.0.post_attention_layernorm.weight",
                                       "[16]",
                                       "model.layers.0.mlp.gate_proj.weight",
                                       "[24,16]",
                                       "model.layers.0.mlp.up_proj.weight",
                                       "[24,16]",
                                       "model.layers.0.mlp.down_proj.weight",
                                       "[16,24]",
                                       "model.norm.weight",
                                       "[16]",
                                       "lm_head.weight",
                                       "[40,16]"};
    vv_qwen3_config c = decoder_config(_i);
    c.num_hidden_layers = 1;
    vv_params ps = {.dry = 1};
    vv_qwen3 *m = NULL;
    VVT_OK(vv_qwen3_new(&m, &ps, &c, err));
    ck_assert_int_eq(ps.n, _i ? 13 : 14);
    ck_assert((m->lm_head == m->embed_tokens) == _i);
    for (int64_t i = 0; i < ps.n; i++) {
        char shape[200];
        ck_assert_str_eq(ps.at[i]->name, want[2 * i]);
        ck_assert_str_eq(vv_shape_text(ps.at[i]->dim, ps.at[i]->ndim, shape, sizeof shape), want[2 * i + 1]);
    }
    vv_qwen3_free(m);
    vv_params_free(&ps);
}
END_TEST

START_TEST(initialised)
{
    vv_qwen3_config c = decoder_config(0);
    c.initializer_range = 0.5;
    vv_params ps = {0};
    vv_qwen3 *m = decoder_new(&ps, &c);
    VVT_OK(vv_qwen3_init(m, 5, err));
    for (int64_t p = 0; p < ps.n; p++) {
        const vv_tensor *x = ps.at[p];
        vv_real *v = tower_get(x->data, x->n);
        double squares = 0;
        for (int64_t i = 0; i < x->n; i++) {
            if (x->ndim == 1) ck_assert_double_eq((double)v[i], 1);
            squares += (double)v[i] * (double)v[i];
        }
        if (x->ndim == 2) /* 5 standard errors */
            ck_assert_double_le(fabs(sqrt(squares / (double)x->n) - 0.5), 5 * 0.5 / sqrt(2.0 * (double)x->n));
        free(v);
    }
    vv_qwen3_free(m);
    vv_params_free(&ps);
}
END_TEST

/* ---- the trace --------------------------------------------------------------------------------------------------------------- */
START_TEST(names_in_order)
{
    static const char want[] = "act model.embed_tokens[3,16]\n"
                               "act model.layers.0.input_layernorm[3,16]\n"
                               "act model.layers.0.self_attn.q_proj[3,24]\n"
                               "act model.layers.0.self_attn.k_proj[3,12]\n"
                               "act model.layers.0.self_attn.v_proj[3,12]\n"
                               "act model.layers.0.self_attn.q_norm[3,24]\n"
                               "act model.layers.0.self_attn.q_norm#rotated[3,24]\n"
                               "act model.layers.0.self_attn.k_norm[3,12]\n"
                               "act model.layers.0.self_attn.k_norm#rotated[3,12]\n"
                               "act model.layers.0.self_attn#context[3,24]\n"
                               "act model.layers.0.self_attn#residual[3,16]\n"
                               "act model.layers.0.post_attention_layernorm[3,16]\n"
                               "act model.layers.0.mlp.gate_proj[3,24]\n"
                               "act model.layers.0.mlp.up_proj[3,24]\n"
                               "act model.layers.0.mlp#gated[3,24]\n"
                               "act model.layers.0[3,16]\n"
                               "act model.norm[3,16]\n"
                               "act lm_head[3,40]\n";
    static const int32_t ids[3] = {1, 39, 0}, cu[2] = {0, 3};
    vv_qwen3_config c = decoder_config(1);
    c.num_hidden_layers = 1;
    vv_params ps = {0};
    vv_qwen3 *m = decoder_new(&ps, &c);
    small_events e = {.used = 0};
    vv_tape *t = vv_tape_new(NULL, 0);
    vv_trace(t, small_event, &e);
    vv_qwen3_logits(t, m, vv_qwen3_forward(t, m, vv_qwen3_embed(t, m, ids, 3), cu, 1));
    small_ok(t);
    ck_assert_str_eq(e.text, want);
    vv_tape_free(t);
    vv_qwen3_free(m);
    vv_params_free(&ps);
}
END_TEST

/* ---- what a token sees --------------------------------------------------------------------------------------------------------- */
/* Rows whose hidden states are other bits. */
static void expect_changed(const decoder_out *a, const decoder_out *b, int64_t N, int64_t h, int64_t from, int64_t to)
{
    for (int64_t r = 0; r < N; r++) {
        const int same = !memcmp(a->hidden + r * h, b->hidden + r * h, (size_t)h * sizeof *a->hidden);
        ck_assert_msg(same == (r < from || r >= to), "row %d", (int)r);
    }
}

/* Three sequences packed: a token that changes changes itself and what follows it in its sequence, and not a bit elsewhere. */
START_TEST(causal_within_a_sequence)
{
    static const int32_t cu[4] = {0, 9, 10, 24};
    static const int at[][2] = {{0, 9},   {4, 9},   {8, 9},  {9, 10},
                                {10, 24}, {17, 24}, {23, 24}}; /* token, end of its sequence */
    const vv_qwen3_config c = decoder_config(1);
    vv_params ps = {0};
    vv_qwen3 *m = decoder_new(&ps, &c);
    int32_t *ids = decoder_ids(1, 40, 24);
    decoder_out before = decoder_run(&(decoder_in){.m = m, .ids = ids, .cu = cu, .S = 3});
    for (size_t k = 0; k < sizeof at / sizeof *at; k++) {
        const int32_t keep = ids[at[k][0]];
        ids[at[k][0]] = (keep + 7) % 40;
        decoder_out after = decoder_run(&(decoder_in){.m = m, .ids = ids, .cu = cu, .S = 3});
        expect_changed(&before, &after, 24, 16, at[k][0], at[k][1]);
        ids[at[k][0]] = keep;
        decoder_out_free(&after);
    }
    decoder_out_free(&before);
    free(ids);
    vv_qwen3_free(m);
    vv_params_free(&ps);
}
END_TEST

START_TEST(packed_equals_alone)
{
    static const int32_t cu[5] = {0, 11, 11, 12, 30}; /* the second is empty */
    const vv_qwen3_config c = decoder_config(1);
    vv_params ps = {0};
    vv_qwen3 *m = decoder_new(&ps, &c);
    int32_t *ids = decoder_ids(2, 40, 30);
    decoder_out all = decoder_run(&(decoder_in){.m = m, .ids = ids, .cu = cu, .S = 4});
    for (int s = 0; s < 4; s++) {
        const int32_t n = cu[s + 1] - cu[s], one[2] = {0, n};
        decoder_out alone = decoder_run(&(decoder_in){.m = m, .ids = ids + cu[s], .cu = one, .S = 1});
        if (n)
            ck_assert_double_le(tower_distance(alone.hidden, all.hidden + cu[s] * 16, (int64_t)n * 16),
                                sizeof(vv_real) == 8 ? 1e-13 : 1e-5);
        decoder_out_free(&alone);
    }
    decoder_out_free(&all);
    free(ids);
    vv_qwen3_free(m);
    vv_params_free(&ps);
}
END_TEST

/* ---- the cache ------------------------------------------------------------------------------------------------------------------- */
/* Decodes the ids in pieces of these lengths (0 ends; the last one repeats) and compares each row with the forward's. */
static void decode_in_pieces(const vv_qwen3 *m, const int32_t *ids, int32_t n, const vv_real *want, const int *piece,
                             int64_t capacity)
{
    const int64_t h = m->config.hidden_size, bytes = vvb_get_info()->bytes;
    vv_kv_cache *cache = NULL;
    vv_tape *t = vv_tape_new(NULL, 0);
    VVT_OK(vv_kv_cache_new(&cache, m, capacity, err));
    for (int32_t at = 0; at < n;) {
        const int32_t k = (int32_t)vv_min(*piece, n - at);
        if (piece[1]) piece++;
        vv_tensor *y = vv_qwen3_decode(t, m, vv_qwen3_embed(t, m, ids + at, k), cache);
        VVT_OK(vv_tape_status(t, err));
        ck_assert_int_eq(vv_kv_cache_length(cache), at + k);
        vv_real *got = tower_get(y->data, y->n);
        for (int32_t r = 0; r < k; r++)
            ck_assert_double_le(tower_distance(got + r * h, want + (at + r) * h, h),
                                sizeof(vv_real) == 8 ? 1e-13 : 1e-5);
        free(got);
        vv_tape_reset(t);
        at += k;
    }
    vv_tape_free(t);
    vv_kv_cache_free(cache);
    ck_assert_int_eq(vvb_get_info()->bytes, bytes);
}

START_TEST(cached_equals_forward)
{
    static const int one[] = {1, 0}, all[] = {64, 0}, mixed[] = {7, 1, 1, 20, 3, 0}, prefill[] = {30, 1, 0};
    static const int *const pieces[] = {one, all, mixed, prefill};
    static const int64_t capacity[] = {0, 1, 5, 64};
    const vv_qwen3_config c = decoder_config(_i);
    vv_params ps = {0};
    vv_qwen3 *m = decoder_new(&ps, &c);
    int32_t *ids = decoder_ids(3, 40, 64);
    const int32_t cu[2] = {0, 64};
    decoder_out o = decoder_run(&(decoder_in){.m = m, .ids = ids, .cu = cu, .S = 1});
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < 4; k++) decode_in_pieces(m, ids, 64, o.hidden, pieces[i], capacity[k]);
    decoder_out_free(&o);
    free(ids);
    vv_qwen3_free(m);
    vv_params_free(&ps);
}
END_TEST

/* ---- what it refuses --------------------------------------------------------------------------------------------------------------- */
typedef struct {
    int32_t ids[4], cu[4];
    int64_t n, S;
    const char *word[3];
} wrong;

START_TEST(wrong_sequences)
{
    static const wrong bad[] = {{{0, 1, 40, 2}, {0, 4}, 4, 1, {"token 2", "0 to 39", "got 40"}},
                                {{-1, 1, 1, 2}, {0, 4}, 4, 1, {"token 0", "0 to 39", "got -1"}},
                                {{0}, {0, 3}, 4, 1, {"model: decoder", "cover", "[4,16]"}},
                                {{0}, {1, 4}, 4, 1, {"model: decoder", "cover", "[4,16]"}},
                                {{0}, {0, 3, 2, 4}, 4, 3, {"model: decoder", "upwards", "[4,16]"}},
                                {{0}, {0, 1, 4}, 4, 2, {"sequence 1", "at most 2 tokens", "got 3"}}};
    vv_qwen3_config c = decoder_config(1);
    vv_params ps = {0};
    c.max_position_embeddings = 2;
    vv_qwen3 *m = decoder_new(&ps, &c);
    vv_tape *t = vv_tape_new(NULL, 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vv_error err = {0};
        vv_tensor *x = vv_qwen3_embed(t, m, bad[i].ids, bad[i].n);
        ck_assert_ptr_null(vv_qwen3_forward(t, m, x, bad[i].cu, bad[i].S));
        vvt_expect_error(&err, vv_tape_status(t, &err), VV_USAGE, bad[i].word[0], bad[i].word[1], bad[i].word[2],
                         (char *)NULL);
        vv_tape_reset(t);
    }
    vv_tape_free(t);
    vv_qwen3_free(m);
    vv_params_free(&ps);
}
END_TEST

/* A step that fails leaves the cache as it was. */
START_TEST(wrong_steps)
{
    static const int32_t ids[4] = {1, 2, 3, 4};
    const int64_t dim[2] = {1, 15};
    vv_qwen3_config c = decoder_config(1);
    vv_params ps = {0}, others = {0};
    c.max_position_embeddings = 4;
    vv_qwen3 *m = decoder_new(&ps, &c), *other = decoder_new(&others, &c);
    vv_kv_cache *cache = NULL;
    vv_tape *t = vv_tape_new(NULL, 0);
    VVT_OK(vv_kv_cache_new(&cache, m, 2, err));
    vv_qwen3_decode(t, m, vv_qwen3_embed(t, m, ids, 3), cache);
    VVT_OK(vv_tape_status(t, err));
    for (int i = 0; i < 3; i++) {
        static const char *const word[3] = {"at most 4 tokens", "cache of this model",
                                            "model.layers.0.input_layernorm"};
        vv_error err = {0};
        vv_tensor *x = i == 2 ? vv_input(t, "x", VV_REALS, 2, dim, NULL) : vv_qwen3_embed(t, m, ids, 2 - i);
        ck_assert_ptr_null(vv_qwen3_decode(t, i == 1 ? other : m, x, cache));
        vvt_expect_error(&err, vv_tape_status(t, &err), VV_USAGE, word[i], (char *)NULL);
        ck_assert_int_eq(vv_kv_cache_length(cache), 3);
        vv_tape_reset(t);
    }
    vv_qwen3_decode(t, m, vv_qwen3_embed(t, m, ids + 3, 1), cache);
    VVT_OK(vv_tape_status(t, err));
    ck_assert_int_eq(vv_kv_cache_length(cache), 4);
    vv_error err = {0};
    vvt_expect_error(&err, vv_kv_cache_new(&cache, m, (int64_t)1 << 60, &err), VV_MEMORY, "key and value cache",
                     (char *)NULL);
    ck_assert_int_eq(vv_kv_cache_length(cache), 4);
    vv_kv_cache_free(cache);
    vv_tape_free(t);
    vv_qwen3_free(m);
    vv_qwen3_free(other);
    vv_params_free(&ps);
    vv_params_free(&others);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("qwen3", &tc);
    tcase_add_loop_test(tc, published_counts, 0, (int)(sizeof MODEL / sizeof *MODEL));
    tcase_add_loop_test(tc, names_and_shapes, 0, 2);
    tcase_add_test(tc, initialised);
    tcase_add_test(tc, names_in_order);
    tcase_add_test(tc, causal_within_a_sequence);
    tcase_add_test(tc, packed_equals_alone);
    tcase_add_loop_test(tc, cached_equals_forward, 0, 2);
    tcase_add_test(tc, wrong_sequences);
    tcase_add_test(tc, wrong_steps);
    return s;
}
VVT_MAIN(suite)
