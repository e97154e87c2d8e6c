/* Configurations: what is read, what is refused and in which words, the published counts. */
#include "vvt.h"

#include "model/versavit.h"

static vv_status parse(vv_vit_config *c, const char *text, vv_error *err)
{
    json_t *root = NULL;
    *c = vv_vit_config_default();
    VV_TRY(vv_json_parse(&root, text, strlen(text), "c.json", err));
    const vv_status s = vv_vit_config_parse(c, root, "c.json", err);
    json_decref(root);
    return s;
}

START_TEST(what_is_read)
{
    vv_vit_config c;
    VVT_OK(parse(&c,
                 "{\"vision_config\": {\"depth\": 5, \"embed_dim\": 48, \"hidden_size\": 20, \"mlp_ratio\": 3.0, "
                 "\"num_heads\": 6,"
                 "\"in_chans\": 3, \"patch_size\": 8, \"temporal_patch_size\": 1, \"spatial_merge_size\": 3, "
                 "\"hidden_act\": \"gelu\","
                 "\"initializer_range\": 0.5, \"rope_theta\": 100, \"something_new\": [1]}, \"embed_dim\": 7}",
                 err));
    ck_assert(c.depth == 5 && c.embed_dim == 48 && c.hidden_size == 20 && c.mlp_ratio == 3 && c.num_heads == 6);
    ck_assert(c.in_channels == 3 && c.patch_size == 8 && c.temporal_patch_size == 1 && c.spatial_merge_size == 3);
    ck_assert(c.hidden_act == VVB_GELU_ERF && c.initializer_range == 0.5 && c.rope_theta == 100);
    VVT_OK(parse(&c, "{\"embed_dim\": 64, \"num_heads\": 2, \"depth\": null, \"mlp_ratio\": 2}", err)); /* a bare one */
    ck_assert(c.embed_dim == 64 && c.num_heads == 2 && c.depth == 32 && c.mlp_ratio == 2 &&
              c.hidden_act == VVB_GELU_QUICK && c.rope_theta == 10000);
}
END_TEST

START_TEST(written_and_read_again)
{
    vv_vit_config c, back;
    VVT_OK(parse(&c,
                 "{\"embed_dim\": 24, \"num_heads\": 3, \"depth\": 2, \"mlp_ratio\": 3, \"patch_size\": 8, "
                 "\"hidden_act\": \"gelu\", \"rope_theta\": 50}",
                 err));
    json_t *root = vv_vit_config_to_json(&c);
    char *text = json_dumps(root, 0);
    VVT_OK(parse(&back, text, err));
    ck_assert(c.depth == back.depth && c.embed_dim == back.embed_dim && c.hidden_size == back.hidden_size);
    ck_assert(c.mlp_ratio == back.mlp_ratio && c.num_heads == back.num_heads && c.in_channels == back.in_channels);
    ck_assert(c.patch_size == back.patch_size && c.temporal_patch_size == back.temporal_patch_size);
    ck_assert(c.spatial_merge_size == back.spatial_merge_size && c.hidden_act == back.hidden_act);
    ck_assert(c.initializer_range == back.initializer_range && c.rope_theta == back.rope_theta);
    free(text);
    json_decref(root);
}
END_TEST

START_TEST(what_is_refused)
{
    static const struct {
        const char *text, *word[3];
    } bad[] = {
        {"{\"vision_config\": {\"depth\": 3}}", {"embed_dim", "expected", "found"}}, /* Qwen2.5-VL has none */
        {"{\"vision_config\": {\"depth\": 32, \"hidden_size\": 1280, \"num_heads\": 16, \"out_hidden_size\": 3584,"
         "\"fullatt_block_indexes\": [7, 15, 23, 31], \"window_size\": 112, \"hidden_act\": \"silu\"}}",
         {"embed_dim", "expected", "found"}},
        {"{\"vision_config\": [1]}", {"vision_config", "object", "array"}},
        {"{\"vision_config\": {\"embed_dim\": \"16\"}}", {"embed_dim", "integer", "string"}},
        {"{\"embed_dim\": 16.0}", {"embed_dim", "integer", "real"}},
        {"{\"embed_dim\": 0}", {"embed_dim", "1", "0"}},
        {"{\"embed_dim\": -16}", {"embed_dim", "1", "-16"}},
        {"{\"embed_dim\": 16, \"depth\": true}", {"depth", "integer", "true"}},
        {"{\"embed_dim\": 16, \"depth\": 1025}", {"depth", "1024", "1025"}},
        {"{\"embed_dim\": 16, \"num_heads\": 3}", {"num_heads", "divisible by 4", "16 / 3"}},
        {"{\"embed_dim\": 36, \"num_heads\": 6}", {"num_heads", "divisible by 4", "36 / 6"}},
        {"{\"embed_dim\": 16, \"num_heads\": 32}", {"num_heads", "divisible by 4", "16 / 32"}},
        {"{\"embed_dim\": 16, \"num_heads\": 2, \"mlp_ratio\": 2.5}", {"mlp_ratio", "whole", "2.5"}},
        {"{\"embed_dim\": 16, \"num_heads\": 2, \"mlp_ratio\": \"4\"}", {"mlp_ratio", "number", "string"}},
        {"{\"embed_dim\": 16, \"num_heads\": 2, \"hidden_act\": \"silu\"}", {"hidden_act", "quick_gelu", "silu"}},
        {"{\"embed_dim\": 16, \"num_heads\": 2, \"hidden_act\": 1}", {"hidden_act", "string", "1"}},
        {"{\"embed_dim\": 16, \"num_heads\": 2, \"in_chans\": 4}", {"in_channels", "3", "4"}},
        {"{\"embed_dim\": 16, \"num_heads\": 2, \"initializer_range\": -1}", {"initializer_range", "0", "-1"}},
        {"{\"embed_dim\": 16, \"num_heads\": 2, \"rope_theta\": 0.5}", {"rope_theta", "1", "0.5"}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vv_vit_config c;
        vv_error err = {0};
        vvt_expect_error(&err, parse(&c, bad[i].text, &err), VV_FILE, "c.json", bad[i].word[0], bad[i].word[1],
                         bad[i].word[2], (char *)NULL);
    }
}
END_TEST

/* ---- run configurations -------------------------------------------------------------------------------------------------- */
static void refuse_run(const char *text, const char *a, const char *b)
{
    vv_model m;
    vv_error err = {0};
    const char *path = vvt_write("run.json", text, strlen(text));
    vvt_expect_error(&err, vv_model_from_config(&m, path, VV_VISION | VV_SHAPES_ONLY, &err), VV_FILE, "run.json", a, b,
                     (char *)NULL);
    ck_assert_ptr_null(m.vit);
}

START_TEST(run_configurations)
{
    refuse_run("{\"vision_confg\": {\"embed_dim\": 16}}", "vision_confg", "vision_config");
    refuse_run("{\"comment\": \"empty\"}", "vision_config", "found");
    refuse_run("{\"vision_config\": {\"embed_dim\": 16, \"num_heads\": 2}, \"preprocessor\": 3}", "preprocessor",
               "object");
    refuse_run("{\"vision_config\": {\"embed_dim\": 16, \"num_heads\": 2}, \"preprocessor\": {\"patch_size\": 16}}",
               "patch", "16");
    refuse_run("{\"vision_config\": {\"embed_dim\": 16, \"num_heads\": 2}", "JSON", "line 1");
    vv_model m;
    vv_error err = {0};
    vvt_expect_error(&err, vv_model_from_config(&m, vvt_path("none.json"), VV_VISION | VV_SHAPES_ONLY, &err), VV_FILE,
                     "none.json", (char *)NULL);
    ck_assert_ptr_null(m.vit);
    const char *text = "{\"vision_config\": {\"embed_dim\": 1048576, \"num_heads\": 2, \"spatial_merge_size\": 1024}}";
    err = (vv_error){0}; /* legal numbers whose product is none */
    vvt_expect_error(
        &err, vv_model_from_config(&m, vvt_write("run.json", text, strlen(text)), VV_VISION | VV_SHAPES_ONLY, &err),
        VV_MEMORY, "merger.mlp.0", "memory", (char *)NULL);
    ck_assert_ptr_null(m.vit);
}
END_TEST

/* Table 13 of the paper: 644.5 "M" in units of 2^20. */
START_TEST(published_count)
{
    const int64_t bytes = vvb_get_info()->peak_bytes;
    int64_t total = 0, without_merger = 0;
    vv_model m;
    VVT_OK(vv_model_from_config(&m, vvt_root("data/configs/paper.json"), VV_VISION | VV_SHAPES_ONLY, err));
    for (int64_t i = 0; i < m.params->n; i++) {
        const vv_tensor *x = m.params->at[i];
        ck_assert_ptr_null(x->data);
        total += x->n;
        if (!strstr(x->name, ".merger.")) without_merger += x->n;
    }
    ck_assert_int_eq(total, 675759104);
    ck_assert_int_eq(without_merger, 32 * (12 * 1280 * 1280 + 13 * 1280) + 1280 * 1176);
    ck_assert_int_eq((int64_t)((double)total / (1 << 20) * 100 + 0.5), 64445);
    ck_assert_int_eq(vvb_get_info()->peak_bytes, bytes); /* nothing was allocated */
    ck_assert_int_eq(m.params->n, 1 + 32 * 12 + 6);
    vv_model_free(&m);
    static const char *const names[] = {"micro", "tiny", "small"};
    for (int i = 0; i < 3; i++) {
        char path[64];
        snprintf(path, sizeof path, "data/configs/%s.json", names[i]);
        VVT_OK(vv_model_from_config(&m, vvt_root(path), VV_VISION | VV_SHAPES_ONLY, err));
        vv_model_free(&m);
        ck_assert_ptr_null(m.vit);
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("config", &tc);
    tcase_add_test(tc, what_is_read);
    tcase_add_test(tc, written_and_read_again);
    tcase_add_test(tc, what_is_refused);
    tcase_add_test(tc, run_configurations);
    tcase_add_test(tc, published_count);
    return s;
}
VVT_MAIN(suite)
