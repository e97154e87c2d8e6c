/* The decoder against recordings of plain torch in float64 (golden/torch/README.md): fidelity, without Python. Rows of pictures are
 * taken from the recording, as they come out of the projector. */
#include "model/decoder.h"
#include "model/generate.h"
#include "model/recorded.h"

/* ---- the model of a recording ------------------------------------------------------------------------------------------------------- */
typedef struct {
    vv_params ps;
    vv_qwen3 *m;
} loaded;

static void load(loaded *l, const vv_st *st)
{
    vv_qwen3_config c = vv_qwen3_config_default();
    const char *config = vv_st_metadata(st, "config");
    json_t *root = NULL;
    VVT_OK(vv_json_parse(&root, config, strlen(config), "config", err));
    VVT_OK(vv_qwen3_config_parse(&c, root, "config", err));
    json_decref(root);
    *l = (loaded){.m = NULL};
    l->m = decoder_new(&l->ps, &c);
    recorded_weights(st, "caption", &l->ps);
}

static void unload(loaded *l)
{
    vv_qwen3_free(l->m);
    vv_params_free(&l->ps);
}

/* ---- a packed batch, forward and backward -------------------------------------------------------------------------------------------- */
/* The parts of a batch on the host. */
typedef struct {
    int32_t *ids, *labels, *cu, text[64], picture[64], row[64], wanted[64];
    int64_t N, S, n_text, n_picture, R; /* R rows have a label at the next token of their sequence */
    double token[64], sample[64];       /* weight of each in the two reductions [R] */
} batch;

static batch batch_of(const vv_st *st)
{
    batch b = {.R = 0};
    b.ids = recorded_ids(st, "caption", "in/ids", &b.N);
    b.labels = recorded_ids(st, "caption", "in/labels", NULL);
    b.cu = recorded_ids(st, "caption", "in/cu_seqlens", &b.S);
    b.S--;
    const int32_t pad = (int32_t)atoi(vv_st_metadata(st, "image_pad"));
    ck_assert(b.N <= 64);
    for (int32_t i = 0; i < b.N; i++)
        if (b.ids[i] == pad) b.picture[b.n_picture++] = i;
        else b.text[b.n_text++] = i;
    for (int64_t s = 0; s < b.S; s++) {
        const int64_t first = b.R;
        for (int32_t i = b.cu[s]; i + 1 < b.cu[s + 1]; i++)
            if (b.labels[i + 1] >= 0) b.row[b.R] = i, b.wanted[b.R++] = b.labels[i + 1];
        for (int64_t r = first; r < b.R; r++) b.sample[r] = 1.0 / (double)((b.R - first) * b.S);
    }
    for (int64_t r = 0; r < b.R; r++) b.token[r] = 1.0 / (double)b.R;
    return b;
}

static void batch_free(batch *b)
{
    free(b->ids);
    free(b->labels);
    free(b->cu);
}

/* The recorded rows of pictures, as a parameter so that their gradient is asked for. */
static vv_tensor *picture_rows(const vv_st *st, loaded *l, const batch *b)
{
    const int64_t h = l->m->config.hidden_size, dim[2] = {b->n_picture, h};
    vv_error err = {0};
    vv_tensor *x = vv_param_new(&l->ps, "features", 2, dim, &err);
    double *all = recorded_numbers(st, recorded_find(st, "caption", "act/model.embed_tokens#spliced"));
    vv_real *v = vv_calloc(x->n, sizeof *v);
    for (int64_t i = 0; i < x->n; i++) v[i] = (vv_real)all[b->picture[i / h] * h + i % h];
    vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
    free(v);
    free(all);
    return x;
}

/* embed_tokens(ids) with the rows of pictures in their places */
static vv_tensor *spliced(vv_tape *t, const loaded *l, const batch *b, vv_tensor *pictures)
{
    vv_tensor *text = vv_gather_rows(t, NULL, vv_qwen3_embed(t, l->m, b->ids, b->N), b->text, b->n_text);
    vv_enter(t, "model", -1);
    vv_tensor *x = vv_merge_rows(t, "embed_tokens#spliced", text, b->text, pictures, b->picture);
    vv_leave(t);
    return x;
}

/* The terms of the loss are the recorded ones, and both reductions of them. */
static void judge_losses(recorded_verdict *v, const batch *b, const vv_tensor *ce, const vv_tensor *loss)
{
    double *tokens = recorded_numbers(v->st, recorded_find(v->st, "caption", "act/lm_head#ce")), sum[2] = {0, 0};
    vv_real *got = tower_get(ce->data, b->R), *full = vv_calloc(b->N, sizeof *full);
    for (int64_t r = 0; r < b->R; r++) {
        full[b->row[r]] = got[r];
        sum[0] += (double)got[r] * b->sample[r];
        sum[1] += (double)got[r] * b->token[r];
    }
    recorded_note(v, "act/lm_head#ce", recorded_distance(full, tokens, b->N));
    for (int i = 0; i < 2; i++) {
        double *want = recorded_numbers(v->st, recorded_find(v->st, "caption", i ? "loss/token" : "loss/sample"));
        recorded_note(v, i ? "loss/token" : "loss/sample", fabs(sum[i] - *want) / *want);
        free(want);
    }
    recorded_judge(v, recorded_find(v->st, "caption", "loss/total"), loss->data, 1);
    free(tokens);
    free(got);
    free(full);
}

static recorded_verdict compare(const vv_st *st, loaded *l, int flags)
{
    recorded_verdict v = {.st = st, .task = "caption"};
    batch b = batch_of(st);
    vv_tensor *pictures = picture_rows(st, l, &b), *ce = NULL;
    vv_tape *t = vv_tape_new(&l->ps, VV_RECORD | flags);
    vv_trace(t, recorded_trace, &v);
    vv_tensor *hidden = vv_qwen3_forward(t, l->m, spliced(t, l, &b, pictures), b.cu, b.S);
    vv_qwen3_logits(t, l->m, hidden);
    vv_tensor *rows = vv_gather_rows(t, NULL, hidden, b.row, b.R);
    const int per_sample = !strcmp(vv_st_metadata(st, "reduction"), "sample");
    vv_tensor *loss =
        vv_linear_cross_entropy(t, "loss", rows, l->m->lm_head, b.wanted, per_sample ? b.sample : b.token, b.R, &ce);
    vv_backward(t, loss, 1);
    VVT_OK(vv_tape_status(t, err));
    judge_losses(&v, &b, ce, loss);
    for (int64_t i = 0; i < l->ps.n; i++) {
        const vv_tensor *x = l->ps.at[i];
        char name[200];
        if (x == pictures) continue;
        snprintf(name, sizeof name, "dw/%s", x->name);
        ck_assert_msg(x->has_grad, "%s", x->name);
        recorded_judge(&v, recorded_find(st, "caption", name), x->grad, x->n);
    }
    const vv_st_entry *e = vv_st_find(st, "u1/caption/dact/projector.fc2"); /* one model only has it */
    if (e) recorded_judge(&v, e, pictures->grad, pictures->n);
    vv_tape_free(t);
    batch_free(&b);
    return v;
}

/* The projector's, its input's, and what the fused loss never makes. */
static int not_ours(const char *key)
{
    static const char *const rest[] = {"/in/",           "/w/",         "projector.", "dact/features", "dact/lm_head",
                                       "act/lm_head#ce", "loss/sample", "loss/token"};
    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++)
        if (strstr(key, rest[i])) return 1;
    return 0;
}

static const char *const MODELS[] = {"language-micro-tied", "language-micro-untied"};

START_TEST(caption)
{
    const char *model = MODELS[_i % 2];
    vv_st *st = recorded_open(model);
    loaded l;
    load(&l, st);
    const recorded_verdict v = compare(st, &l, _i / 2 ? VV_CHECKPOINT : 0);
    ck_assert_msg(v.worst <= LIMIT, "%s: %s: %.2e", model, v.key, v.worst);
    for (int64_t i = 0; i < vv_st_count(st); i++)
        ck_assert_msg(v.seen[i] || not_ours(vv_st_at(st, i)->name), "%s was not compared", vv_st_at(st, i)->name);
    unload(&l);
    vv_st_close(st);
}
END_TEST

START_TEST(a_wrong_weight_shows)
{
    vv_st *st = recorded_open("language-micro-tied");
    loaded l;
    load(&l, st);
    vv_tensor *x = l.m->layers[1].k_norm;
    vv_real *v = tower_get(x->data, x->n);
    v[2] *= (vv_real)1.001;
    vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
    ck_assert_double_gt(compare(st, &l, 0).worst, 1e-5); /* the float build's limit */
    free(v);
    unload(&l);
    vv_st_close(st);
}
END_TEST

/* ---- embeddings, generation --------------------------------------------------------------------------------------------------------- */
START_TEST(text_embeddings)
{
    vv_st *base = recorded_open("language-micro-tied"), *st = recorded_open("language-embed");
    loaded l;
    load(&l, base);
    int64_t n, S;
    const int64_t h = l.m->config.hidden_size;
    int32_t *ids = recorded_ids(st, "embed", "in/ids", &n), *cu = recorded_ids(st, "embed", "in/cu_seqlens", &S);
    S--;
    decoder_out o = decoder_run(&(decoder_in){.m = l.m, .ids = ids, .cu = cu, .S = S});
    for (int cut = 0; cut < 2; cut++) {
        const int64_t D = cut ? 10 : 16;
        double *want = recorded_numbers(st, recorded_find(st, "embed", cut ? "out/embedding.10" : "out/embedding.16"));
        for (int64_t s = 0; s < S; s++) {
            const vv_real *last = o.hidden + (cu[s + 1] - 1) * h;
            double length = 0;
            vv_real unit[16] = {0};
            for (int64_t i = 0; i < D; i++) length += (double)last[i] * (double)last[i];
            for (int64_t i = 0; i < D; i++) unit[i] = (vv_real)((double)last[i] / sqrt(length));
            ck_assert_double_le(recorded_distance(unit, want + s * D, D), LIMIT);
        }
        free(want);
    }
    decoder_out_free(&o);
    free(ids);
    free(cu);
    unload(&l);
    vv_st_close(base);
    vv_st_close(st);
}
END_TEST

/* The prompt without pictures: it ends at the second eos of the list. */
START_TEST(greedy)
{
    vv_st *base = recorded_open("language-micro-untied"), *st = recorded_open("language-generate");
    loaded l;
    load(&l, base);
    int64_t n, m, n_out;
    int stopped;
    int32_t *prompt = recorded_ids(st, "greedy1", "in/ids", &n), *want = recorded_ids(st, "greedy1", "out/ids", &m),
            out[32];
    double *logits = recorded_numbers(st, recorded_find(st, "greedy1", "out/logits"));
    vv_generate_options o = vv_generate_default();
    o.max_new_tokens = atoi(vv_st_metadata(st, "max_new"));
    vv_tape *t = vv_tape_new(NULL, 0);
    VVT_OK(
        vv_generate(t, l.m, vv_qwen3_embed(t, l.m, prompt, n), prompt, n, &o, NULL, NULL, out, &n_out, &stopped, err));
    ck_assert(stopped == 1 && n_out == m - 1 && l.m->config.eos[1] == want[m - 1]);
    ck_assert_mem_eq(out, want, (size_t)n_out * sizeof *out);
    vv_kv_cache *cache = NULL;
    VVT_OK(vv_kv_cache_new(&cache, l.m, 0, err));
    for (int64_t k = 0; k < m; k++) { /* the logits that each was chosen from */
        vv_tape_reset(t);
        vv_tensor *x = k ? vv_qwen3_embed(t, l.m, want + k - 1, 1) : vv_qwen3_embed(t, l.m, prompt, n);
        vv_tensor *z = vv_qwen3_logits(t, l.m, vv_qwen3_decode(t, l.m, x, cache));
        VVT_OK(vv_tape_status(t, err));
        vv_real *got = tower_get(z->data, z->n);
        ck_assert_double_le(recorded_distance(got + z->n - 64, logits + 64 * k, 64), LIMIT);
        free(got);
    }
    vv_kv_cache_free(cache);
    vv_tape_free(t);
    free(prompt);
    free(want);
    free(logits);
    unload(&l);
    vv_st_close(base);
    vv_st_close(st);
}
END_TEST

START_TEST(sampling)
{
    vv_st *st = recorded_open("language-generate");
    int64_t n_seen;
    int32_t *seen = recorded_ids(st, "sampling", "in/seen", &n_seen);
    const vv_st_entry *e = recorded_find(st, "sampling", "in/settings");
    double *setting = recorded_numbers(st, e),
           *want = recorded_numbers(st, recorded_find(st, "sampling", "out/probability")), p[64];
    vv_real logits[64];
    VVT_OK(vv_st_read_real(st, recorded_find(st, "sampling", "in/logits"), logits, err));
    ck_assert_int_ge(e->shape[0], 10);
    for (int64_t k = 0; k < e->shape[0]; k++) {
        const double *s = setting + 4 * k;
        vv_generate_options o = vv_generate_default();
        o.temperature = s[0], o.top_k = (int64_t)s[1], o.top_p = s[2], o.repetition_penalty = s[3];
        VVT_OK(vv_next_probabilities(p, logits, 64, seen, n_seen, &o, err));
        for (int i = 0; i < 64; i++)
            ck_assert_msg((p[i] == 0) == (want[64 * k + i] == 0) && fabs(p[i] - want[64 * k + i]) <= 1e-14,
                          "case %d, id %d: %.17g, recorded %.17g", (int)k, i, p[i], want[64 * k + i]);
    }
    free(seen);
    free(setting);
    free(want);
    vv_st_close(st);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("language against torch", &tc);
    tcase_add_loop_test(tc, caption, 0, 4);
    tcase_add_test(tc, a_wrong_weight_shows);
    tcase_add_test(tc, text_embeddings);
    tcase_add_test(tc, greedy);
    tcase_add_test(tc, sampling);
    return s;
}
VVT_MAIN(suite)
