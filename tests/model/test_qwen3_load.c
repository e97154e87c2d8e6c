/* Checkpoints of the decoder: prefixes, the output projection tied or not, what is refused. */
#include "model/decoder.h"

/* ---- files -------------------------------------------------------------------------------------------------------------------- */
/* How a file differs from the parameters as they are called here. */
typedef struct {
    const char *prefix;         /* instead of "model." */
    const char *head;           /* name of the output projection; NULL: it is left out */
    int other_head, head_dtype; /* it is not a copy of the table; 1: another type */
    const char *drop, *reshape, *extra;
} change;

/* the weights of a tied or untied model as one file, its path */
static const char *written(const vv_qwen3 *m, const change *c)
{
    static const float one[1] = {1};
    const vv_params *ps = m->part.params;
    const char *path = vvt_path("weights.safetensors");
    vv_st_decl d[64] = {{0}};
    const vv_tensor *from[64] = {NULL};
    char name[64][128];
    int64_t n = 0;
    for (int64_t i = 0; i < m->part.n; i++) {
        const vv_tensor *x = ps->at[m->part.first + i];
        snprintf(name[n], sizeof name[n], "%s%s", c->prefix, x->name + strlen("model."));
        if (c->drop && !strcmp(c->drop, name[n])) continue;
        d[n] = (vv_st_decl){name[n], VV_DT_F32, x->ndim, {x->dim[0], x->ndim > 1 ? x->dim[1] : 0}};
        if (c->reshape && !strcmp(c->reshape, name[n])) d[n].ndim = 1, d[n].shape[0] = x->n;
        from[n++] = x;
    }
    if (c->head) {
        from[n] = m->lm_head;
        d[n++] = (vv_st_decl){c->head, c->head_dtype ? VV_DT_F64 : VV_DT_F32, 2, {40, 16}};
    }
    if (c->extra) d[n++] = (vv_st_decl){c->extra, VV_DT_F32, 1, {1}};
    vv_stw *w = NULL;
    VVT_OK(vv_stw_open(&w, path, d, n, NULL, 0, err));
    for (int64_t i = 0; i < n; i++) {
        if (!from[i]) {
            VVT_OK(vv_stw_write(w, i, one, err));
            continue;
        }
        vv_real *v = tower_get(from[i]->data, from[i]->n);
        if (c->other_head && d[i].name == c->head) v[77] += 1;
        VVT_OK(vv_stw_write_real(w, i, v, err));
        free(v);
    }
    VVT_OK(vv_stw_commit(w, err));
    return path;
}

/* a vv_listener that keeps the last warning */
static void hear(void *ctx, const char *what, int64_t done, int64_t total)
{
    (void)done;
    if (total == 0) snprintf(ctx, 600, "%s", what);
}

static vv_status load(vv_qwen3 *m, const char *path, vv_error *err)
{
    vv_weights *w = NULL;
    VV_TRY(vv_weights_open(&w, path, err));
    const vv_status s = vv_qwen3_load_weights(m, w, err);
    vv_weights_close(w);
    return s;
}

/* Loads the file into a fresh model and compares all parameters; returns the warning, "" when there was none. */
static const char *expect_loaded(const vv_qwen3 *m, const char *path)
{
    static char warning[600];
    vv_params ps = {0};
    vv_qwen3 *back = NULL;
    warning[0] = 0;
    VVT_OK(vv_qwen3_new(&back, &ps, &m->config, err));
    vv_listen(hear, warning);
    VVT_OK(load(back, path, err));
    vv_listen(NULL, NULL);
    ck_assert_int_eq(ps.n, m->part.params->n);
    for (int64_t p = 0; p < ps.n; p++) {
        const vv_tensor *x = m->part.params->at[p];
        vv_real *a = tower_get(x->data, x->n), *b = tower_get(ps.at[p]->data, x->n);
        ck_assert_msg(!memcmp(a, b, (size_t)x->n * sizeof *a), "%s", x->name);
        free(a);
        free(b);
    }
    vv_qwen3_free(back);
    vv_params_free(&ps);
    return warning;
}

static void refuse(const vv_qwen3 *m, const char *path, const char *a, const char *b, const char *c)
{
    vv_params ps = {0};
    vv_qwen3 *back = NULL;
    VVT_OK(vv_qwen3_new(&back, &ps, &m->config, err));
    vv_error err = {0};
    vvt_expect_error(&err, load(back, path, &err), VV_FILE, "weights.safetensors", a, b, c, (char *)NULL);
    vv_qwen3_free(back);
    vv_params_free(&ps);
}

typedef struct {
    vv_params ps;
    vv_qwen3_config c;
    vv_qwen3 *m;
} setup;

static void start(setup *s, int tied)
{
    *s = (setup){.c = decoder_config(tied)};
    s->m = decoder_new(&s->ps, &s->c);
}

static void finish(setup *s)
{
    vv_qwen3_free(s->m);
    vv_params_free(&s->ps);
}

/* ---- what is read ---------------------------------------------------------------------------------------------------------------- */
START_TEST(prefixes)
{
    static const char *const prefix[][2] = {{"model.", "lm_head.weight"},
                                            {"model.language_model.", "lm_head.weight"},
                                            {"base_model.model.", "lm_head.weight"},
                                            {"base_model.model.", "base_model.model.lm_head.weight"},
                                            {"base_model.model.model.", "base_model.model.lm_head.weight"},
                                            {"", "lm_head.weight"}};
    for (int tied = 0; tied < 2; tied++) {
        setup s;
        start(&s, tied);
        for (size_t i = 0; i < sizeof prefix / sizeof *prefix; i++) {
            const change c = {.prefix = prefix[i][0], .head = tied ? NULL : prefix[i][1]};
            ck_assert_str_eq(expect_loaded(s.m, written(s.m, &c)), "");
        }
        finish(&s);
    }
}
END_TEST

/* A tower beside the decoder and tables of angles are no concern of ours. */
START_TEST(beside)
{
    setup s;
    start(&s, 1);
    expect_loaded(s.m, written(s.m, &(change){.prefix = "model.", .extra = "visual.blocks.0.norm1.weight"}));
    expect_loaded(s.m, written(s.m, &(change){.prefix = "model.language_model.", .extra = "model.visual.x"}));
    expect_loaded(s.m,
                  written(s.m, &(change){.prefix = "model.", .extra = "model.layers.0.self_attn.rotary_emb.inv_freq"}));
    expect_loaded(s.m, written(s.m, &(change){.prefix = "", .extra = "rotary_emb.inv_freq"}));
    finish(&s);
}
END_TEST

START_TEST(tied_with_a_head)
{
    static const char *const prefix[] = {"model.", ""};
    setup s;
    start(&s, 1);
    for (int i = 0; i < 2; i++) {
        change c = {.prefix = prefix[i], .head = "lm_head.weight"};
        ck_assert_str_eq(expect_loaded(s.m, written(s.m, &c)), "");
        c.other_head = 1;
        const char *warning = expect_loaded(s.m, written(s.m, &c)); /* the table is what is read */
        ck_assert_msg(strstr(warning, "lm_head.weight") && strstr(warning, "embed_tokens.weight"), "%s", warning);
        c.other_head = 0;
        c.head_dtype = 1;
        ck_assert_ptr_nonnull(strstr(expect_loaded(s.m, written(s.m, &c)), "lm_head.weight"));
    }
    finish(&s);
}
END_TEST

/* ---- what is refused ---------------------------------------------------------------------------------------------------------------- */
START_TEST(wrong_files)
{
    const char *k = "model.layers.1.self_attn.k_proj.weight";
    setup tied, untied;
    start(&tied, 1);
    start(&untied, 0);
    refuse(untied.m, written(untied.m, &(change){.prefix = "model."}), "lm_head.weight", "expected", "found none");
    refuse(tied.m, written(tied.m, &(change){.prefix = "model.", .drop = k}), k, "expected", "found none");
    refuse(tied.m, written(tied.m, &(change){.prefix = "model.", .drop = "model.norm.weight"}), "model.norm.weight",
           "expected", "found none");
    refuse(tied.m, written(tied.m, &(change){.prefix = "model.", .drop = "model.embed_tokens.weight"}),
           "embed_tokens.weight", "no prefix", "no such tensor");
    refuse(tied.m, written(tied.m, &(change){.prefix = "transformer."}), "embed_tokens.weight", "no prefix",
           "no such tensor");
    refuse(tied.m, written(tied.m, &(change){.prefix = "model.", .reshape = k}), k, "expected shape [12,16]",
           "found [192]");
    refuse(tied.m, written(tied.m, &(change){.prefix = "model.", .extra = "model.layers.3.input_layernorm.weight"}),
           "model.layers.3.input_layernorm.weight", "expected", "unknown");
    refuse(tied.m, written(tied.m, &(change){.prefix = "", .extra = "layers.0.self_attn.q_proj.bias"}),
           "layers.0.self_attn.q_proj.bias", "expected", "unknown");
    refuse(tied.m, written(tied.m, &(change){.prefix = "model.", .extra = "model.lm_head.weight"}),
           "model.lm_head.weight", "expected", "unknown");
    finish(&tied);
    finish(&untied);
}
END_TEST

/* What is saved has the table once when it is tied, and loads again. */
START_TEST(saved)
{
    for (int tied = 0; tied < 2; tied++) {
        setup s;
        start(&s, tied);
        vv_weights *w = NULL;
        const char *dir = vvt_path(tied ? "tied" : "untied");
        VVT_OK(vv_params_save(&s.ps, dir, VV_DT_F32, 0, err));
        VVT_OK(vv_weights_open(&w, dir, err));
        ck_assert_int_eq(vv_weights_find(w, "lm_head.weight", NULL) == NULL, tied);
        vv_weights_close(w);
        ck_assert_str_eq(expect_loaded(s.m, dir), "");
        finish(&s);
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("qwen3 checkpoints", &tc);
    tcase_add_test(tc, prefixes);
    tcase_add_test(tc, beside);
    tcase_add_test(tc, tied_with_a_head);
    tcase_add_test(tc, wrong_files);
    tcase_add_test(tc, saved);
    return s;
}
VVT_MAIN(suite)
