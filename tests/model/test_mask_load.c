/* The segmentation head's configuration, its counts, how it starts, and checkpoints in four layouts. */
#include "model/mask.h"

/* ---- configuration ------------------------------------------------------------------------------------------------------ */
static vv_status parse(vv_mask_config *c, const char *text, vv_error *err)
{
    json_t *o = NULL;
    *c = (vv_mask_config){.width = 1280, .depth = 32};
    VV_TRY(vv_json_parse(&o, text, strlen(text), "c.json", err));
    const vv_status s = vv_mask_config_parse(c, o, "c.json", err);
    json_decref(o);
    return s;
}

START_TEST(what_is_read)
{
    vv_mask_config c = {.width = 1280, .depth = 32}, back;
    VVT_OK(vv_mask_config_parse(&c, NULL, "none", err));
    ck_assert(c.width == 1280 && c.layer == 31 && c.dim == 256 && c.heads == 8 && c.blocks == 2 && c.mlp == 2048);
    ck_assert(c.mask_tokens == 4 && c.iou_head == 1 && c.text_proj == VV_TEXT_LINEAR && c.text_dim == 4096);
    ck_assert(fabs(c.text_scale - sqrt(128)) < 1e-12);
    VVT_OK(
        parse(&c,
              "{\"layer\": 0, \"dim\": 48, \"heads\": 3, \"blocks\": 1, \"mlp\": 5, \"mask_tokens\": 1, \"iou_head\": "
              "false, \"text_proj\": \"none\"}",
              err));
    ck_assert(c.layer == 0 && c.dim == 48 && c.heads == 3 && c.blocks == 1 && c.mlp == 5 && c.mask_tokens == 1);
    ck_assert(!c.iou_head && c.text_proj == VV_TEXT_NONE && c.text_dim == 48 && fabs(c.text_scale - sqrt(24)) < 1e-12);
    VVT_OK(parse(&c, "{\"dim\": 16, \"heads\": 2, \"text_proj\": \"mlp\", \"text_dim\": 9, \"text_scale\": 2}", err));
    json_t *root = vv_mask_config_to_json(&c);
    char *text = vv_json_text(root, 0);
    VVT_OK(parse(&back, text, err));
    ck_assert(c.layer == back.layer && c.dim == back.dim && c.heads == back.heads && c.blocks == back.blocks);
    ck_assert(c.mlp == back.mlp && c.mask_tokens == back.mask_tokens && c.iou_head == back.iou_head);
    ck_assert(c.text_proj == back.text_proj && c.text_dim == 9 && back.text_dim == 9 && back.text_scale == 2);
    free(text);
    json_decref(root);
}
END_TEST

START_TEST(what_is_refused)
{
    static const struct {
        const char *text, *word[3];
    } bad[] = {
        {"{\"heeds\": 3}", {"heeds", "c.json", "mask_tokens"}},
        {"{\"dim\": 20}", {"dim and heads", "multiple of 8", "20 / 8"}},
        {"{\"dim\": 24}", {"dim and heads", "twice the heads", "24 / 8"}},
        {"{\"layer\": 32}", {"layer", "31", "32"}},
        {"{\"layer\": -1}", {"layer", "expected", "-1"}},
        {"{\"blocks\": 0}", {"blocks", "1", "0"}},
        {"{\"mask_tokens\": 0}", {"mask_tokens", "1", "0"}},
        {"{\"iou_head\": 1}", {"iou_head", "true or false", "1"}},
        {"{\"text_proj\": \"lisa\"}", {"text_proj", "\"linear\", \"mlp\" or \"none\"", "lisa"}},
        {"{\"text_proj\": \"none\", \"text_dim\": 64}", {"text_dim", "256", "64"}},
        {"{\"text_scale\": \"x\"}", {"text_scale", "expected", "x"}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vv_mask_config c;
        vv_error err = {0};
        vvt_expect_error(&err, parse(&c, bad[i].text, &err), VV_FILE, bad[i].word[0], bad[i].word[1], bad[i].word[2],
                         NULL);
    }
}
END_TEST

/* ---- counts ------------------------------------------------------------------------------------------------------------- */
static int64_t count(const vv_params *ps, const char *prefix)
{
    int64_t n = 0;
    for (int64_t i = 0; i < ps->n; i++)
        if (!strncmp(ps->at[i]->name, prefix, strlen(prefix))) n += ps->at[i]->n;
    return n;
}

static void expect_counts(const char *json, int64_t decoder, int64_t text)
{
    vv_mask_config c;
    vv_params ps = {.dry = 1};
    vv_mask *m;
    VVT_OK(parse(&c, json, err));
    VVT_OK(vv_mask_new(&m, &ps, &c, err));
    ck_assert_int_eq(count(&ps, "mask_head.image_encoder.neck."), 918528);
    ck_assert_int_eq(count(&ps, "mask_head.prompt_encoder."), 6220 + 256);
    ck_assert_int_eq(count(&ps, "mask_head.prompt_encoder.pe_layer."), 256);
    ck_assert_int_eq(count(&ps, "mask_head.mask_decoder."), decoder);
    ck_assert_int_eq(count(&ps, "mask_head.text_proj"), text);
    ck_assert_int_eq(count(&ps, ""), 918528 + 6220 + 256 + decoder + text);
    ck_assert(m->part.first == 0 && m->part.n == ps.n && vv_mask_config_of(m) == &m->config);
    vv_mask_free(m);
    vv_params_free(&ps);
}

START_TEST(published_counts)
{
    expect_counts("{}", 4058340, 1048832);
    expect_counts("{\"iou_head\": false}", 3925472, 1048832);
    expect_counts("{\"mask_tokens\": 1}", 3637377, 1048832);
    expect_counts("{\"mask_tokens\": 1, \"iou_head\": false, \"text_proj\": \"none\"}", 3505280, 0);
    expect_counts("{\"text_proj\": \"mlp\", \"text_dim\": 1024}", 4058340, 1024 * 1025 + 256 * 1025);
}
END_TEST

/* ---- start -------------------------------------------------------------------------------------------------------------- */
static int is_embedding(const char *name)
{
    static const char *const whole[] = {"iou_token.weight", "mask_tokens.weight", "no_mask_embed.weight",
                                        "not_a_point_embed.weight", "gaussian_matrix"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (strlen(name) > strlen(whole[i]) && !strcmp(name + strlen(name) - strlen(whole[i]), whole[i])) return 1;
    return strstr(name, "point_embeddings.") != NULL;
}

/* each parameter's extremes: of a uniform layer within 1/sqrt(inputs), and near it when there are many */
START_TEST(starts_as_sam)
{
    vv_mask_config c = mask_config("{" MASK_SMALL "}");
    vv_params ps = {0};
    vv_mask *m;
    VVT_OK(vv_mask_new(&m, &ps, &c, err));
    VVT_OK(vv_mask_init(m, 5, err));
    double bound = 0; /* of the layer whose bias comes next */
    for (int64_t p = 0; p < ps.n; p++) {
        const vv_tensor *x = ps.at[p];
        const int bias = strstr(x->name, ".bias") != NULL, norm = !bias && x->ndim == 1;
        vv_real *v = tower_get(x->data, x->n);
        double most = 0, sum = 0, squares = 0;
        for (int64_t i = 0; i < x->n; i++) {
            most = fmax(most, fabs((double)v[i]));
            sum += (double)v[i];
            squares += (double)v[i] * (double)v[i];
        }
        if (!bias) bound = norm ? 0 : sqrt((double)x->dim[0] / (double)x->n);
        if (norm) ck_assert_msg(most == 1 && sum == (double)x->n, "%s", x->name);
        else if (is_embedding(x->name))
            ck_assert_msg(squares > 0.5 * (double)x->n && squares < 2 * (double)x->n && most > 1, "%s", x->name);
        else
            ck_assert_msg(most <= bound * (1 + 1e-6) && most >= (x->n > 8 ? 0.6 : 0) * bound, "%s: %g, %g", x->name,
                          most, bound);
        free(v);
    }
    ck_assert(!m->gaussian->needs_grad && m->no_mask->needs_grad);
    vv_mask_free(m);
    vv_params_free(&ps);
}
END_TEST

/* ---- checkpoints -------------------------------------------------------------------------------------------------------- */
enum { MOST = 200 };
typedef struct {
    char name[MOST][160]; /* of our parameters, in a file */
    int n;
} names;

static void one(names *l, const char *module, const char *what)
{
    ck_assert(l->n < MOST);
    snprintf(l->name[l->n++], 160, "%s%s", module, what);
}

static void both(names *l, const char *module)
{
    one(l, module, ".weight");
    one(l, module, ".bias");
}

static void attention(names *l, const char *block, const char *module)
{
    static const char *const proj[] = {"q_proj", "k_proj", "v_proj", "out_proj"};
    for (int i = 0; i < 4; i++) {
        char name[120];
        snprintf(name, sizeof name, "mask_decoder.transformer.%s%s.%s", block, module, proj[i]);
        both(l, name);
    }
}

static void layers(names *l, const char *module)
{
    static const char *const layer[] = {"proj_in", "layers.0", "proj_out"};
    for (int i = 0; i < 3; i++) {
        char name[120];
        snprintf(name, sizeof name, "mask_decoder.%s.%s", module, layer[i]);
        both(l, name);
    }
}

/* transformers' names of a head with two blocks and two mask tokens, in our order; with_text: text_proj too */
static names transformers_names(int with_text)
{
    static const char *const mask[] = {"conv1", "layer_norm1", "conv2", "layer_norm2", "conv3"};
    names l = {.n = 0};
    char name[120];
    one(&l, "vision_encoder.neck.conv1", ".weight");
    both(&l, "vision_encoder.neck.layer_norm1");
    one(&l, "vision_encoder.neck.conv2", ".weight");
    both(&l, "vision_encoder.neck.layer_norm2");
    one(&l, "shared_image_embedding.positional_embedding", "");
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "prompt_encoder.point_embed.%d", i);
        one(&l, name, ".weight");
    }
    one(&l, "prompt_encoder.not_a_point_embed", ".weight");
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "prompt_encoder.mask_embed.%s", mask[i]);
        both(&l, name);
    }
    one(&l, "prompt_encoder.no_mask_embed", ".weight");
    one(&l, "mask_decoder.iou_token", ".weight");
    one(&l, "mask_decoder.mask_tokens", ".weight");
    for (int i = 0; i < 2; i++) {
        static const char *const rest[] = {"layer_norm2", "mlp.lin1", "mlp.lin2", "layer_norm3", "layer_norm4"};
        char block[32];
        snprintf(block, sizeof block, "layers.%d.", i);
        attention(&l, block, "self_attn");
        snprintf(name, sizeof name, "mask_decoder.transformer.%slayer_norm1", block);
        both(&l, name);
        attention(&l, block, "cross_attn_token_to_image");
        for (int k = 0; k < 5; k++) {
            snprintf(name, sizeof name, "mask_decoder.transformer.%s%s", block, rest[k]);
            both(&l, name);
        }
        attention(&l, block, "cross_attn_image_to_token");
    }
    attention(&l, "", "final_attn_token_to_image");
    both(&l, "mask_decoder.transformer.layer_norm_final_attn");
    both(&l, "mask_decoder.upscale_conv1");
    both(&l, "mask_decoder.upscale_layer_norm");
    both(&l, "mask_decoder.upscale_conv2");
    layers(&l, "output_hypernetworks_mlps.0");
    layers(&l, "output_hypernetworks_mlps.1");
    layers(&l, "iou_prediction_head");
    if (with_text) both(&l, "text_proj");
    return l;
}

static names own_names(const mask_case *k, int skip, int with_text)
{
    names l = {.n = 0};
    for (int64_t i = 0; i < k->m->part.n; i++)
        if (with_text || !strstr(k->ps.at[i]->name, "text_proj")) one(&l, k->ps.at[i]->name + skip, "");
    return l;
}

/* the parameters of k under these names into a file, and one more tensor unless NULL */
static const char *write_file(const mask_case *k, const names *l, const char *extra, const char *file)
{
    static const float nothing[1] = {0};
    vv_st_decl d[MOST + 1];
    for (int i = 0; i < l->n; i++) {
        const vv_tensor *x = k->ps.at[i];
        d[i] = (vv_st_decl){.name = l->name[i], .dtype = VV_DT_F32, .ndim = x->ndim};
        memcpy(d[i].shape, x->dim, (size_t)x->ndim * sizeof *x->dim);
    }
    if (extra) d[l->n] = (vv_st_decl){extra, VV_DT_F32, 1, {1}};
    vv_stw *w = NULL;
    const char *path = vvt_path(file);
    VVT_OK(vv_stw_open(&w, path, d, l->n + (extra != NULL), NULL, 0, err));
    for (int i = 0; i < l->n; i++) {
        vv_real *v = tower_get(k->ps.at[i]->data, k->ps.at[i]->n);
        VVT_OK(vv_stw_write_real(w, i, v, err));
        free(v);
    }
    if (extra) VVT_OK(vv_stw_write(w, l->n, nothing, err));
    VVT_OK(vv_stw_commit(w, err));
    return path;
}

static const int32_t ONE[] = {0, -1};

static void start(mask_case *k, const char *json) { mask_start(k, mask_config(json), 1, 2, 2, ONE); }

#define TWO "{" MASK_SMALL ", \"mask_tokens\": 2}"
#define TWO_MLP "{" MASK_SMALL ", \"mask_tokens\": 2, \"text_proj\": \"mlp\"}"

static vv_status load(mask_case *k, const char *path, int stock, vv_error *err)
{
    vv_weights *w = NULL;
    VV_TRY(vv_weights_open(&w, path, err));
    const vv_status s = vv_mask_load_weights(k->m, w, stock, err);
    vv_weights_close(w);
    return s;
}

/* Every parameter is that of the file, but those of text_proj where the file has none: they are as they were (1). */
static void expect_loaded_by(const mask_case *a, const char *json, const char *path, int stock, int with_text)
{
    mask_case b;
    start(&b, json);
    for (int64_t i = 0; i < b.m->part.n; i++) VVT_OK(vv_param_fill(b.ps.at[i], VV_FILL_CONSTANT, 1, 0, err));
    VVT_OK(load(&b, path, stock, err));
    for (int64_t i = 0; i < b.m->part.n; i++) {
        const vv_tensor *x = a->ps.at[i], *y = b.ps.at[i];
        const int kept = !with_text && strstr(x->name, "text_proj");
        vv_real *v = tower_get(x->data, x->n), *got = tower_get(y->data, y->n);
        for (int64_t j = 0; j < x->n; j++) ck_assert_msg(got[j] == (kept ? 1 : v[j]), "%s: %s", path, x->name);
        free(v);
        free(got);
    }
    mask_finish(&b);
}

static void expect_loaded(const mask_case *a, const char *path, int stock, int with_text)
{
    expect_loaded_by(a, TWO, path, stock, with_text);
}

START_TEST(three_layouts)
{
    mask_case k;
    start(&k, TWO);
    for (int text = 0; text < 2; text++) {
        const names ours = own_names(&k, 0, text), sam = own_names(&k, (int)strlen("mask_head."), text);
        names hf = transformers_names(text);
        ck_assert_int_eq(hf.n, ours.n);
        const int stock = text ? VV_MASK_WHOLE : VV_MASK_STOCK;
        expect_loaded(&k, write_file(&k, &ours, "visual.something", "ours.safetensors"), stock, text);
        expect_loaded(&k, write_file(&k, &sam, "image_encoder.pos_embed", "sam.safetensors"), stock, text);
        expect_loaded(&k, write_file(&k, &hf, "vision_encoder.pos_embed", "hf.safetensors"), stock, text);
        expect_loaded(&k,
                      write_file(&k, &hf, "prompt_encoder.shared_embedding.positional_embedding", "hf2.safetensors"),
                      stock, text);
        snprintf(hf.name[6], sizeof hf.name[6], "prompt_encoder.shared_embedding.positional_embedding");
        expect_loaded(&k, write_file(&k, &hf, NULL, "hf3.safetensors"), stock, text); /* that of the two alone */
    }
    VVT_OK(vv_params_save(&k.ps, vvt_path("saved"), VV_DT_F32, 0, err)); /* with what else the model has */
    expect_loaded(&k, vvt_path("saved"), VV_MASK_WHOLE, 1);
    mask_finish(&k);
}
END_TEST

static void refused(const mask_case *from, const names *l, const char *extra, const char *json, int stock,
                    const char *const word[3])
{
    mask_case k;
    vv_error err = {0};
    start(&k, json);
    vvt_expect_error(&err, load(&k, write_file(from, l, extra, "bad.safetensors"), stock, &err), VV_FILE,
                     "bad.safetensors", word[0], word[1], word[2], NULL);
    mask_finish(&k);
}

/* LISA: its names around SAM's, spelt out where they differ, among those of a language model */
START_TEST(layout_of_lisa)
{
    static const char *const text[][2] = {{"text_proj.0.weight", "model.text_hidden_fcs.0.0.weight"},
                                          {"text_proj.0.bias", "model.text_hidden_fcs.0.0.bias"},
                                          {"text_proj.2.weight", "model.text_hidden_fcs.0.2.weight"},
                                          {"text_proj.2.bias", "model.text_hidden_fcs.0.2.bias"}};
    mask_case k;
    start(&k, TWO_MLP);
    names l = own_names(&k, (int)strlen("mask_head."), 1);
    int found = 0;
    for (int i = 0; i < l.n; i++) {
        const names sam = l;
        snprintf(l.name[i], sizeof l.name[i], "model.visual_model.%s", sam.name[i]);
        for (int j = 0; j < 4; j++)
            if (!strcmp(sam.name[i], text[j][0])) found += snprintf(l.name[i], sizeof l.name[i], "%s", text[j][1]) > 0;
    }
    ck_assert_int_eq(found, 4);
    expect_loaded_by(&k, TWO_MLP, write_file(&k, &l, "model.layers.0.mlp.up_proj.weight", "lisa.safetensors"),
                     VV_MASK_WHOLE, 1);
    refused(&k, &l, "model.visual_model.mask_decoder.more", TWO_MLP, VV_MASK_WHOLE,
            (const char *[]){"model.visual_model.mask_decoder.more", "unknown", "expected"});
    mask_finish(&k);
}
END_TEST

START_TEST(what_a_checkpoint_may_lack)
{
    mask_case k;
    start(&k, TWO);
    const names with = own_names(&k, 0, 1), without = own_names(&k, 0, 0), hf = transformers_names(0);
    refused(&k, &without, NULL, TWO, VV_MASK_WHOLE, (const char *[]){"mask_head.text_proj.weight", "expected", "none"});
    refused(&k, &hf, NULL, TWO, VV_MASK_WHOLE, (const char *[]){"text_proj.weight", "expected", "none"});
    refused(&k, &with, "mask_head.mask_decoder.more", TWO, VV_MASK_STOCK,
            (const char *[]){"mask_head.mask_decoder.more", "unknown", "expected"});
    refused(&k, &hf, "mask_decoder.transformer.layers.0.norm1.weight", TWO, VV_MASK_STOCK,
            (const char *[]){"mask_decoder.transformer.layers.0.norm1.weight", "unknown", "expected"});
    refused(&k, &with, NULL, "{" MASK_SMALL "}", VV_MASK_STOCK,
            (const char *[]){"mask_head.mask_decoder.mask_tokens.weight", "[4,32]", "[2,32]"});
    refused(&k, &with, NULL, "{" MASK_SMALL ", \"mask_tokens\": 2, \"iou_head\": false}", VV_MASK_STOCK,
            (const char *[]){"iou_", "unknown", "expected"});
    refused(&k, &hf, NULL, "{" MASK_SMALL ", \"mask_tokens\": 2, \"blocks\": 3}", VV_MASK_STOCK,
            (const char *[]){"mask_decoder.transformer.layers.2.self_attn.q_proj.weight", "expected", "none"});
    names few = with;
    few.n = 0;
    one(&few, "some.weight", "");
    refused(&k, &few, NULL, TWO, VV_MASK_STOCK,
            (const char *[]){"mask_head.image_encoder.neck.0.weight", "vision_encoder.neck.conv1.weight", "none of"});
    few = hf;
    snprintf(few.name[6], sizeof few.name[6], "elsewhere");
    refused(&k, &few, NULL, TWO, VV_MASK_STOCK,
            (const char *[]){"shared_image_embedding.positional_embedding", "expected", "none"});
    mask_finish(&k);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("segmentation head, parameters", &tc);
    tcase_add_test(tc, what_is_read);
    tcase_add_test(tc, what_is_refused);
    tcase_add_test(tc, published_counts);
    tcase_add_test(tc, starts_as_sam);
    tcase_add_test(tc, three_layouts);
    tcase_add_test(tc, layout_of_lisa);
    tcase_add_test(tc, what_a_checkpoint_may_lack);
    return s;
}
VVT_MAIN(suite)
