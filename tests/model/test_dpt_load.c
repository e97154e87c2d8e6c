/* The depth head: how it starts, checkpoints in both layouts, configurations, and what is refused of them. */
#include "model/dpt.h"

/* ---- values and checkpoints -------------------------------------------------------------------------------------------- */
static void expect_uniform(const vv_params *ps, const char *name, double bound)
{
    const vv_tensor *x = vv_param_find(ps, name);
    ck_assert_ptr_nonnull(x);
    vv_real *v = tower_get(x->data, x->n);
    double most = 0, sum = 0, square = 0;
    for (int64_t i = 0; i < x->n; i++) {
        most = fmax(most, fabs((double)v[i]));
        sum += (double)v[i];
        square += (double)v[i] * (double)v[i];
    }
    const double n = (double)x->n, sd = bound / sqrt(3); /* five standard errors */
    ck_assert_msg(most <= bound && fabs(sum / n) <= 5 * sd / sqrt(n) && fabs(square / n / (sd * sd) - 1) <= 5 / sqrt(n),
                  "%s: largest %g of %g, mean %g, variance over expected %g", name, most, bound, sum / n,
                  square / n / (sd * sd));
    free(v);
}

START_TEST(starts_as_torch)
{
    dpt_setup s;
    dpt_start(&s, "{\"out_channels\": [16, 20, 24, 24], \"features\": 16, \"tap_norm\": \"ln\"}",
              &(dpt_size){12, 3, 2, 1, 1, 1});
    VVT_OK(vv_dpt_init(s.head, 5, err));
    const vv_params *ps = &s.params;
    expect_uniform(ps, "depth_head.projects.1.weight", 1 / sqrt(12));
    expect_uniform(ps, "depth_head.projects.1.bias", 1 / sqrt(12));
    expect_uniform(ps, "depth_head.resize_layers.0.weight", 1 / sqrt(16 * 16));
    expect_uniform(ps, "depth_head.resize_layers.0.bias", 1 / sqrt(16 * 16));
    expect_uniform(ps, "depth_head.resize_layers.3.weight", 1 / sqrt(24 * 9));
    expect_uniform(ps, "depth_head.scratch.layer2_rn.weight", 1 / sqrt(20 * 9));
    expect_uniform(ps, "depth_head.scratch.refinenet4.resConfUnit1.conv2.weight", 1 / sqrt(16 * 9));
    expect_uniform(ps, "depth_head.scratch.output_conv2.0.weight", 1 / sqrt(8 * 9));
    for (int i = 0; i < 2; i++) {
        const vv_tensor *x = vv_param_find(ps, i ? "depth_head.tap_norm.3.weight" : "depth_head.tap_norm.3.bias");
        vv_real *v = tower_get(x->data, x->n);
        for (int64_t k = 0; k < x->n; k++) ck_assert(v[k] == i);
        free(v);
    }
    dpt_finish(&s);
}
END_TEST

static void expect_same(const vv_tensor *x, const vv_tensor *y)
{
    ck_assert_int_eq(x->n, y->n);
    vv_real *a = tower_get(x->data, x->n), *b = tower_get(y->data, y->n);
    ck_assert_msg(!memcmp(a, b, (size_t)x->n * sizeof *a), "%s", x->name);
    free(a);
    free(b);
}

/* what is what in a file of transformers, one of each kind; its fusion layers begin with the deepest level */
static const char *const PAIRS[][2] = {
    {"projects.1.weight", "neck.reassemble_stage.layers.1.projection.weight"},
    {"resize_layers.3.bias", "neck.reassemble_stage.layers.3.resize.bias"},
    {"scratch.layer4_rn.weight", "neck.convs.3.weight"},
    {"scratch.refinenet4.out_conv.weight", "neck.fusion_stage.layers.0.projection.weight"},
    {"scratch.refinenet1.out_conv.bias", "neck.fusion_stage.layers.3.projection.bias"},
    {"scratch.refinenet4.resConfUnit1.conv1.weight", "neck.fusion_stage.layers.0.residual_layer1.convolution1.weight"},
    {"scratch.refinenet3.resConfUnit1.conv2.bias", "neck.fusion_stage.layers.1.residual_layer1.convolution2.bias"},
    {"scratch.refinenet2.resConfUnit2.conv1.weight", "neck.fusion_stage.layers.2.residual_layer2.convolution1.weight"},
    {"scratch.refinenet1.resConfUnit2.conv2.weight", "neck.fusion_stage.layers.3.residual_layer2.convolution2.weight"},
    {"scratch.output_conv1.weight", "head.conv1.weight"},
    {"scratch.output_conv2.0.bias", "head.conv2.bias"},
    {"scratch.output_conv2.2.weight", "head.conv3.weight"},
};

/* Saved under our names, and exported under those of transformers: both give the same numbers back. */
START_TEST(both_layouts)
{
    dpt_setup s, other;
    const char *const dir[2] = {"ours", "theirs"};
    dpt_start(&s, SMALL[0].config, &SMALL[0].size);
    VVT_OK(vv_params_save(&s.params, vvt_path(dir[0]), VV_DT_REAL, 0, err));
    VVT_OK(vv_dpt_export(s.head, vvt_path(dir[1]), err));
    for (int k = 0; k < 2; k++) {
        vv_weights *w = NULL;
        dpt_start(&other, SMALL[0].config, &SMALL[0].size);
        VVT_OK(vv_dpt_init(other.head, 1, err));
        VVT_OK(vv_weights_open(&w, vvt_path(dir[k]), err));
        VVT_OK(vv_dpt_load_weights(other.head, w, err));
        for (int64_t i = s.config.depth; i < s.params.n; i++) expect_same(s.params.at[i], other.params.at[i]);
        if (k) ck_assert_int_eq(vv_weights_count(w), s.params.n - s.config.depth);
        for (size_t i = 0; k && i < sizeof PAIRS / sizeof *PAIRS; i++) {
            char name[VV_NAME_MAX];
            snprintf(name, sizeof name, "depth_head.%s", PAIRS[i][0]);
            VVT_OK(vv_param_load(vv_param_find(&other.params, name), w, PAIRS[i][1], err));
            expect_same(vv_param_find(&s.params, name), vv_param_find(&other.params, name));
        }
        vv_weights_close(w);
        dpt_finish(&other);
    }
    dpt_finish(&s);
}
END_TEST

/* ---- refused ------------------------------------------------------------------------------------------------------------ */
static void load_fails(const char *config, const char *from, const char *word1, const char *word2)
{
    dpt_setup s;
    vv_weights *w = NULL;
    vv_error e = {0};
    dpt_start(&s, config, &SMALL[0].size);
    VVT_OK(vv_weights_open(&w, from, err));
    const vv_status got = vv_dpt_load_weights(s.head, w, &e);
    vvt_expect_error(&e, got, VV_FILE, from, word1, word2, NULL);
    vv_weights_close(w);
    dpt_finish(&s);
}

START_TEST(refused_checkpoints)
{
    dpt_setup s;
    const char *three = "{\"out_channels\": [3, 4, 5], \"features\": 4}";
    const char *wide = "{\"out_channels\": [3, 4, 5, 4], \"features\": 6}";
    const char *bare = "{\"out_channels\": [3, 4, 5, 4], \"features\": 4, \"unused_unit\": false}";
    const char *norm = "{\"out_channels\": [3, 4, 5, 4], \"features\": 4, \"tap_norm\": \"ln\"}";
    dpt_start(&s, SMALL[0].config, &SMALL[0].size);
    char ours[400], theirs[400], taps[400];
    snprintf(ours, sizeof ours, "%s", vvt_path("ours"));
    snprintf(theirs, sizeof theirs, "%s", vvt_path("theirs"));
    snprintf(taps, sizeof taps, "%s", vvt_path("taps"));
    VVT_OK(vv_params_save(&s.params, ours, VV_DT_REAL, 0, err));
    VVT_OK(vv_dpt_export(s.head, theirs, err));
    load_fails(three, theirs, "neck.", "unknown");
    load_fails(bare, theirs, "residual_layer1", "unknown");
    load_fails(wide, theirs, "neck.convs.0.weight", "expected shape [6,3,3,3]; found [4,3,3,3]");
    load_fails(norm, theirs, "tap_norm.0.weight", "found none");
    load_fails(three, ours, "depth_head.", "unknown");
    load_fails(norm, ours, "depth_head.tap_norm.0.weight", "found none");
    dpt_finish(&s);

    vv_params ps = {0};
    const int64_t one = 1;
    vv_real zero = 0;
    dpt_set(vv_param_new(&ps, "tap.0", 1, &one, NULL), &zero);
    VVT_OK(vv_params_save(&ps, taps, VV_DT_REAL, 0, err));
    vv_params_free(&ps);
    load_fails(SMALL[0].config, taps, "depth_head.projects.0.weight", "neither");

    for (int i = 1; i < N_SMALL; i++) { /* transformers has no place for them */
        vv_error e = {0};
        dpt_start(&s, SMALL[i].config, &SMALL[i].size);
        const vv_status got = vv_dpt_export(s.head, vvt_path("none"), &e);
        vvt_expect_error(&e, got, VV_USAGE, "none", "tap_norm", "final_act", NULL);
        dpt_finish(&s);
    }
}
END_TEST

static const struct {
    const char *config, *words[2];
} WRONG[] = {
    {"{\"tap\": [1, 2, 3]}", {"'tap'", "taps"}},
    {"{\"taps\": [1, 2]}", {"taps", "3 or 4 levels; found 2"}},
    {"{\"taps\": [0, 1, 2, 3, 4]}", {"taps", "found 5"}},
    {"{\"taps\": [0, 1, 12]}", {"taps[2]", "from 0 to 11; found the integer 12"}},
    {"{\"taps\": [0, -1, 2]}", {"taps[1]", "from 0 to 11"}},
    {"{\"taps\": [0, 1.5, 2]}", {"taps[1]", "an integer"}},
    {"{\"taps\": 3}", {"taps", "array"}},
    {"{\"out_channels\": [1, 0, 2]}", {"out_channels[1]", "from 1"}},
    {"{\"out_channels\": [8, 8, 8, 8], \"taps\": [1, 2, 3]}", {"out_channels", "as many as taps, 3; found 4"}},
    {"{\"features\": 1}", {"features", "2"}},
    {"{\"output_features\": 0}", {"output_features", "1"}},
    {"{\"first_scale\": 2}", {"first_scale", "three levels; found 2 with 4"}},
    {"{\"first_scale\": 3, \"taps\": [1, 2, 3]}", {"first_scale", "found 3 with 3"}},
    {"{\"first_scale\": 8}", {"first_scale", "8"}},
    {"{\"unused_unit\": 1}", {"unused_unit", "true"}},
    {"{\"tap_norm\": \"rms\"}", {"tap_norm", "\"none\", \"ln\"; found \"rms\""}},
    {"{\"final_act\": \"sigmoid\"}", {"final_act", "\"relu\", \"softplus\", \"none\"; found \"sigmoid\""}},
};

START_TEST(refused_configurations)
{
    vv_dpt_config c = {.width = 16, .depth = 12, .patch = 14};
    vv_error e = {0};
    json_t *o = NULL;
    VVT_OK(vv_json_parse(&o, WRONG[_i].config, strlen(WRONG[_i].config), "x.json", err));
    const vv_status got = vv_dpt_config_parse(&c, o, "x.json: depth_head", &e);
    vvt_expect_error(&e, got, VV_FILE, "x.json: depth_head", WRONG[_i].words[0], WRONG[_i].words[1], NULL);
    json_decref(o);
}
END_TEST

START_TEST(configurations)
{
    static const int64_t defaults[][5] = {{32, 10, 21, 31, 31}, {12, 4, 7, 11, 11}, {3, 1, 1, 2, 2}, {1, 0, 0, 0, 0}};
    for (size_t i = 0; i < sizeof defaults / sizeof *defaults; i++) {
        const vv_dpt_config c = dpt_config("{}", &(dpt_size){48, defaults[i][0], 14, 0, 0, 0});
        ck_assert_mem_eq(c.taps, defaults[i] + 1, sizeof c.taps);
        ck_assert(c.levels == 4 && c.out_channels[0] == 256 && c.out_channels[1] == 512 && c.out_channels[2] == 48);
    }
    static const char *const more[] = {"{}", "{\"taps\": [7, 15, 23, 31]}", "{\"taps\": [1, 2, 3], \"features\": 384}"};
    for (int i = 0; i < 3 + N_SMALL; i++) { /* written and read again: the same */
        const char *text = i < 3 ? more[i] : SMALL[i - 3].config;
        const dpt_size z = {24, 40, 14, 0, 0, 0};
        const vv_dpt_config c = dpt_config(text, &z);
        json_t *o = vv_dpt_config_to_json(&c);
        ck_assert_ptr_nonnull(o);
        char *again = vv_json_text(o, 0);
        const vv_dpt_config d = dpt_config(again, &z);
        ck_assert_mem_eq(&c, &d, sizeof c);
        free(again);
        json_decref(o);
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("depth head, load", &tc);
    tcase_add_test(tc, starts_as_torch);
    tcase_add_test(tc, both_layouts);
    tcase_add_test(tc, refused_checkpoints);
    tcase_add_test(tc, configurations);
    tcase_add_loop_test(tc, refused_configurations, 0, sizeof WRONG / sizeof *WRONG);
    return s;
}
VVT_MAIN(suite)
