/* Projector, splice, decoder and caption loss as one, LoRA, and text embeddings, against plain torch in float64 (golden/torch). */
#include "loss/cross_entropy.h"
#include "model/lora.h"
#include "model/mllm.h"
#include "model/recorded.h"
#include "model/text_embedding.h"

typedef struct {
    vv_params params, input;
    vv_qwen3 *llm;
    vv_projector *projector;
    vv_tensor *features; /* before the projector: a parameter, so that its gradient is asked for */
    int32_t *ids, *labels, *cu, pad;
    int64_t N, S;
    vv_ce_window window;
} model;

static json_t *metadata(const vv_st *st, const char *key)
{
    json_t *root = NULL;
    const char *text = vv_st_metadata(st, key);
    ck_assert_ptr_nonnull(text);
    VVT_OK(vv_json_parse(&root, text, strlen(text), key, err));
    return root;
}

/* the weights from `base`, the batch from `st` */
static model load(const vv_st *base, const vv_st *st, const char *task)
{
    model m = {.pad = (int32_t)atoi(vv_st_metadata(st, "image_pad"))};
    vv_qwen3_config c = vv_qwen3_config_default();
    json_t *config = metadata(base, "config"), *projector = metadata(base, "projector");
    VVT_OK(vv_qwen3_config_parse(&c, config, "config", err));
    vv_projector_config p = {.width = atoi(vv_st_metadata(base, "channels")), .cells = 4, .out = c.hidden_size};
    VVT_OK(vv_projector_config_parse(&p, projector, "projector", err));
    VVT_OK(vv_qwen3_new(&m.llm, &m.params, &c, err));
    VVT_OK(vv_projector_new(&m.projector, &m.params, &p, err));
    recorded_weights(base, "caption", &m.params);
    json_decref(config);
    json_decref(projector);
    const vv_st_entry *e = recorded_find(st, task, "in/features");
    vv_error err = {0};
    m.features = vv_param_new(&m.input, "features", 2, e->shape, &err);
    recorded_load(st, e, m.features);
    m.ids = recorded_ids(st, task, "in/ids", &m.N);
    m.labels = recorded_ids(st, task, "in/labels", NULL);
    m.cu = recorded_ids(st, task, "in/cu_seqlens", &m.S);
    m.S--;
    m.window.reduction = strcmp(vv_st_metadata(st, "reduction"), "sample") ? VV_CE_TOKEN : VV_CE_SAMPLE;
    vv_ce_count(&m.window, m.labels, m.cu, m.S);
    return m;
}

static void unload(model *m)
{
    vv_qwen3_free(m->llm);
    vv_projector_free(m->projector);
    vv_params_free(&m->params);
    vv_params_free(&m->input);
    free(m->ids);
    free(m->labels);
    free(m->cu);
}

/* loss and gradients of the whole, judged; trained: whose gradients are recorded */
static recorded_verdict compare(const vv_st *st, model *m, const char *task, const vv_params *trained)
{
    recorded_verdict v = {.st = st, .task = task};
    vv_tape *t = vv_tape_new(&m->params, VV_RECORD);
    vv_trace(t, recorded_trace, &v);
    vv_tensor *rows = vv_projector_forward(t, m->projector, m->features);
    vv_tensor *x = vv_mllm_splice(t, m->llm, m->ids, m->N, m->pad, rows);
    vv_tensor *hidden = vv_qwen3_forward(t, m->llm, x, m->cu, m->S);
    vv_tensor *loss = vv_cross_entropy(t, "loss", hidden, m->llm->lm_head, m->labels, m->cu, m->S, &m->window, NULL);
    vv_backward(t, loss, 1);
    VVT_OK(vv_tape_status(t, err));
    recorded_judge(&v, recorded_find(st, task, "loss/total"), loss->data, 1);
    recorded_judge(&v, recorded_find(st, task, "dact/features"), m->features->grad, m->features->n);
    recorded_gradients(&v, trained);
    vv_tape_free(t);
    return v;
}

START_TEST(caption)
{
    vv_st *st = recorded_open(_i ? "language-micro-untied" : "language-micro-tied");
    model m = load(st, st, "caption");
    const recorded_verdict v = compare(st, &m, "caption", &m.params);
    ck_assert_msg(v.worst <= LIMIT, "%s: %.2e", v.key, v.worst);
    unload(&m);
    vv_st_close(st);
}
END_TEST

/* The loss of a window of three batches of one sequence each is that of one batch of three, term by term and in the sum. */
START_TEST(micro_batches)
{
    vv_st *st = recorded_open("language-micro-tied");
    for (int reduction = 0; reduction < 2; reduction++) {
        model m = load(st, st, "caption");
        m.window = (vv_ce_window){.reduction = reduction ? VV_CE_SAMPLE : VV_CE_TOKEN};
        vv_ce_count(&m.window, m.labels, m.cu, m.S);
        ck_assert(m.window.tokens == 11 && m.window.sequences == 3 && m.window.empty == 0);
        vv_tape *t = vv_tape_new(&m.params, 0);
        vv_tensor *x = vv_mllm_splice(t, m.llm, m.ids, m.N, m.pad, vv_projector_forward(t, m.projector, m.features));
        vv_tensor *hidden = vv_qwen3_forward(t, m.llm, x, m.cu, m.S);
        double sum = 0;
        for (int64_t s = 0; s < m.S; s++) {
            int32_t rows[64];
            const int32_t n = m.cu[s + 1] - m.cu[s], one[2] = {0, n};
            for (int32_t i = 0; i < n; i++) rows[i] = m.cu[s] + i;
            vv_tensor *loss = vv_cross_entropy(t, "loss", vv_gather_rows(t, NULL, hidden, rows, n), m.llm->lm_head,
                                               m.labels + m.cu[s], one, 1, &m.window, NULL);
            VVT_OK(vv_tape_status(t, err));
            vv_real *v = tower_get(loss->data, 1);
            sum += (double)*v;
            free(v);
        }
        double *want = recorded_numbers(st, recorded_find(st, "caption", reduction ? "loss/sample" : "loss/token"));
        ck_assert_double_le(fabs(sum - *want), LIMIT * *want);
        free(want);
        vv_tape_free(t);
        unload(&m);
    }
    vv_st_close(st);
}
END_TEST

/* no target: 0, no gradient, and counted */
START_TEST(nothing_to_learn)
{
    vv_st *st = recorded_open("language-micro-tied");
    model m = load(st, st, "caption");
    for (int64_t i = 0; i < m.N; i++) m.labels[i] = VV_IGNORED;
    m.labels[0] = m.labels[m.cu[1]] = 5; /* nobody predicts the first token of a sequence */
    m.window = (vv_ce_window){.reduction = VV_CE_SAMPLE};
    vv_ce_count(&m.window, m.labels, m.cu, m.S);
    ck_assert(m.window.tokens == 0 && m.window.sequences == 0 && m.window.empty == 3);
    vv_tape *t = vv_tape_new(&m.params, VV_RECORD);
    vv_tensor *x = vv_mllm_splice(t, m.llm, m.ids, m.N, m.pad, vv_projector_forward(t, m.projector, m.features));
    vv_tensor *loss = vv_cross_entropy(t, "loss", vv_qwen3_forward(t, m.llm, x, m.cu, m.S), m.llm->lm_head, m.labels,
                                       m.cu, m.S, &m.window, NULL);
    vv_backward(t, loss, 1);
    VVT_OK(vv_tape_status(t, err));
    vv_real *v = tower_get(loss->data, 1);
    ck_assert(*v == 0);
    for (int64_t i = 0; i < m.params.n; i++) ck_assert(!m.params.at[i]->has_grad);
    free(v);
    vv_tape_free(t);
    unload(&m);
    vv_st_close(st);
}
END_TEST

/* too few and too many rows of features */
START_TEST(wrong_counts)
{
    vv_st *st = recorded_open("language-micro-tied");
    model m = load(st, st, "caption");
    for (int i = 0; i < 2; i++) {
        vv_error err = {0};
        vv_tape *t = vv_tape_new(&m.params, 0);
        int32_t *ids = vv_calloc(m.N, sizeof *ids);
        memcpy(ids, m.ids, (size_t)m.N * sizeof *ids);
        for (int64_t k = 0, done = 0; k < m.N && !done; k++)
            if ((ids[k] == m.pad) != i) ids[k] = i ? m.pad : 1, done = 1;
        vv_tensor *x = vv_mllm_splice(t, m.llm, ids, m.N, m.pad, vv_projector_forward(t, m.projector, m.features));
        ck_assert_ptr_null(x);
        vvt_expect_error(&err, vv_tape_status(t, &err), VV_USAGE, "splice", "placeholder", "features [5,16]",
                         (char *)NULL);
        free(ids);
        vv_tape_free(t);
    }
    unload(&m);
    vv_st_close(st);
}
END_TEST

/* ---- LoRA ----------------------------------------------------------------------------------------------------------------------- */
static vv_lora *adapters(model *m)
{
    vv_lora_config c = vv_lora_default();
    vv_lora *l = NULL;
    c.r = 4;
    VVT_OK(vv_lora_new(&l, &m->params, &c, err));
    return l;
}

START_TEST(lora)
{
    vv_st *base = recorded_open("language-micro-tied"), *st = recorded_open("language-lora");
    model m = load(base, st, "lora");
    vv_lora *l = adapters(&m);
    ck_assert_int_eq(vv_lora_params(l)->n, 8);
    recorded_weights(st, "lora", vv_lora_params(l));
    recorded_verdict v = compare(st, &m, "lora", vv_lora_params(l));
    ck_assert_msg(v.worst <= LIMIT, "%s: %.2e", v.key, v.worst);
    for (int64_t i = 0; i < m.params.n; i++) ck_assert(!m.params.at[i]->has_grad); /* the base is frozen */
    /* saved, loaded, and merged: the same loss */
    VVT_OK(vv_lora_save(l, vvt_path("adapter"), "base", err));
    vv_lora_free(l);
    for (int64_t i = 0; i < m.params.n; i++) ck_assert(m.params.at[i]->needs_grad && !m.params.at[i]->adapter);
    VVT_OK(vv_lora_load(&l, &m.params, vvt_path("adapter"), err));
    vv_params_zero_grad(vv_lora_params(l));
    vv_params_zero_grad(&m.input);
    v = compare(st, &m, "lora", vv_lora_params(l));
    ck_assert_msg(v.worst <= LIMIT, "loaded: %s: %.2e", v.key, v.worst);
    vv_lora_free(l);
    unload(&m);
    vv_st_close(st);
    vv_st_close(base);
}
END_TEST

/* the loss alone */
static double loss_of(model *m)
{
    vv_tape *t = vv_tape_new(&m->params, 0);
    vv_tensor *x = vv_mllm_splice(t, m->llm, m->ids, m->N, m->pad, vv_projector_forward(t, m->projector, m->features));
    vv_tensor *loss = vv_cross_entropy(t, "loss", vv_qwen3_forward(t, m->llm, x, m->cu, m->S), m->llm->lm_head,
                                       m->labels, m->cu, m->S, &m->window, NULL);
    VVT_OK(vv_tape_status(t, err));
    vv_real *v = tower_get(loss->data, 1);
    const double value = (double)*v;
    free(v);
    vv_tape_free(t);
    return value;
}

START_TEST(lora_merged)
{
    vv_st *base = recorded_open("language-micro-tied"), *st = recorded_open("language-lora");
    model m = load(base, st, "lora");
    const double before = loss_of(&m);
    vv_lora *l = adapters(&m);
    VVT_OK(vv_lora_init(l, 3, err));
    ck_assert(loss_of(&m) == before); /* B is 0: the base, bit for bit */
    recorded_weights(st, "lora", vv_lora_params(l));
    vv_tensor *w = m.llm->layers[1].q_proj;
    vv_real *original = tower_get(w->data, w->n);
    const double adapted = loss_of(&m);
    VVT_OK(vv_lora_merge(l, err));
    ck_assert_double_le(fabs(loss_of(&m) - adapted), LIMIT * adapted);
    ck_assert_double_gt(fabs(adapted - before), 1e-3);
    vv_lora_unmerge(l);
    vv_real *again = tower_get(w->data, w->n);
    ck_assert_mem_eq(original, again, (size_t)w->n * sizeof *again);
    ck_assert(loss_of(&m) == adapted);
    vv_lora_free(l);
    ck_assert(loss_of(&m) == before);
    free(original);
    free(again);
    unload(&m);
    vv_st_close(st);
    vv_st_close(base);
}
END_TEST

START_TEST(lora_choices)
{
    static const struct {
        const char *names[3], *regex;
        int64_t modules; /* 0: refused, with this word */
        const char *word;
    } cases[] = {{{"q_proj"}, NULL, 2, NULL},
                 {{"self_attn.q_proj", "down_proj"}, NULL, 4, NULL},
                 {{NULL}, ".*\\.layers\\.1\\..*_proj", 7, NULL},
                 {{NULL}, "q_proj", 0, "nothing matches"}, /* the whole path must match */
                 {{NULL}, "(", 0, "regular expression"},
                 {{"q_proj", "w_proj"}, NULL, 0, "w_proj"},
                 {{"roj"}, NULL, 0, "roj"},
                 {{"q_norm"}, NULL, 0, "q_norm"}}; /* a vector is no Linear */
    vv_st *base = recorded_open("language-micro-tied");
    model m = load(base, base, "caption");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vv_lora_config c = vv_lora_default();
        vv_lora *l = NULL;
        vv_error err = {0};
        c.target = cases[i].names;
        c.n_target = 0;
        while (cases[i].names[c.n_target]) c.n_target++;
        c.regex = cases[i].regex;
        const vv_status s = vv_lora_new(&l, &m.params, &c, &err);
        if (cases[i].modules) {
            ck_assert_msg(s == VV_OK, "%s", err.msg);
            ck_assert_int_eq(vv_lora_params(l)->n, 2 * cases[i].modules);
        } else {
            vvt_expect_error(&err, s, VV_USAGE, "target_modules", cases[i].word, (char *)NULL);
            for (int64_t k = 0; k < m.params.n; k++) ck_assert(m.params.at[k]->needs_grad && !m.params.at[k]->adapter);
        }
        vv_lora_free(l);
    }
    unload(&m);
    vv_st_close(base);
}
END_TEST

/* adapter_config.json that is not plain LoRA, or does not fit */
START_TEST(lora_files)
{
    static const char *const wrong[][2] = {
        {"{\"peft_type\": \"IA3\"", "peft_type"},
        {"{\"r\": 4", "peft_type"},
        {"{\"peft_type\": \"LORA\", \"use_dora\": true", "use_dora"},
        {"{\"peft_type\": \"LORA\", \"bias\": \"all\"", "bias"},
        {"{\"peft_type\": \"LORA\", \"rank_pattern\": {\"q_proj\": 2}", "rank_pattern"},
        {"{\"peft_type\": \"LORA\", \"modules_to_save\": [\"lm_head\"]", "modules_to_save"},
        {"{\"peft_type\": \"LORA\", \"r\": 0", "'r': expected"},
        {"{\"peft_type\": \"LORA\", \"r\": 5, \"target_modules\": [\"q_proj\", \"v_proj\"]", "[5,16]"},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [\"q_proj\"]", "expected 4 tensors"},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": []", "target_modules"},
        {"{\"peft_type\": \"LORA\", \"r\": 4, \"target_modules\": [3]", "target_modules[0]"}};
    vv_st *base = recorded_open("language-micro-tied"), *st = recorded_open("language-lora");
    model m = load(base, st, "lora");
    vv_lora *l = adapters(&m);
    recorded_weights(st, "lora", vv_lora_params(l));
    VVT_OK(vv_lora_save(l, vvt_path("wrong"), NULL, err));
    vv_lora_free(l);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        vv_error err = {0};
        char text[400];
        l = NULL;
        snprintf(text, sizeof text, "%s}", wrong[i][0]);
        vvt_write("wrong/adapter_config.json", text, strlen(text));
        vvt_expect_error(&err, vv_lora_load(&l, &m.params, vvt_path("wrong"), &err), VV_FILE, wrong[i][1],
                         (char *)NULL);
        ck_assert_ptr_null(l);
    }
    unload(&m);
    vv_st_close(st);
    vv_st_close(base);
}
END_TEST

/* ---- embeddings ------------------------------------------------------------------------------------------------------------------- */
START_TEST(text_embeddings)
{
    vv_st *base = recorded_open("language-micro-tied"), *st = recorded_open("language-embed");
    model m = load(base, base, "caption");
    int64_t S;
    int32_t *ids = recorded_ids(st, "embed", "in/ids", NULL), *cu = recorded_ids(st, "embed", "in/cu_seqlens", &S);
    recorded_verdict v = {.st = st, .task = "embed"};
    vv_tape *t = vv_tape_new(NULL, 0);
    for (int64_t cut = 0; cut < 2; cut++) {
        vv_tensor *e = vv_embed_texts(t, m.llm, ids, cu, S - 1, cut ? 10 : 0);
        VVT_OK(vv_tape_status(t, err));
        recorded_judge(&v, recorded_find(st, "embed", cut ? "out/embedding.10" : "out/embedding.16"), e->data, e->n);
    }
    ck_assert_msg(v.worst <= LIMIT, "%s: %.2e", v.key, v.worst);
    vv_tape_free(t);
    free(ids);
    free(cu);
    unload(&m);
    vv_st_close(st);
    vv_st_close(base);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("multimodal, against torch", &tc);
    tcase_add_loop_test(tc, caption, 0, 2);
    tcase_add_test(tc, micro_batches);
    tcase_add_test(tc, nothing_to_learn);
    tcase_add_test(tc, wrong_counts);
    tcase_add_test(tc, lora);
    tcase_add_test(tc, lora_merged);
    tcase_add_test(tc, lora_choices);
    tcase_add_test(tc, lora_files);
    tcase_add_test(tc, text_embeddings);
    return s;
}
VVT_MAIN(suite)
