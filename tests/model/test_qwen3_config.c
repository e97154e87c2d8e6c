/* config.json of the decoder: what is read, what is refused and in which words. */
#include "vvt.h"

#include "model/qwen3.h"

static vv_status parse(vv_qwen3_config *c, const char *text, vv_error *err)
{
    json_t *root = NULL;
    *c = vv_qwen3_config_default();
    VV_TRY(vv_json_parse(&root, text, strlen(text), "c.json", err));
    const vv_status s = vv_qwen3_config_parse(c, root, "c.json", err);
    json_decref(root);
    return s;
}

/* As Qwen/Qwen3-0.6B's file. */
static const char PUBLISHED[] =
    "{\"architectures\": [\"Qwen3ForCausalLM\"], \"attention_bias\": false, \"attention_dropout\": 0.0, "
    "\"bos_token_id\": 151643, \"eos_token_id\": 151645, \"head_dim\": 128, \"hidden_act\": \"silu\", "
    "\"hidden_size\": 1024, \"initializer_range\": 0.02, \"intermediate_size\": 3072, "
    "\"max_position_embeddings\": 40960, \"max_window_layers\": 28, \"model_type\": \"qwen3\", "
    "\"num_attention_heads\": 16, \"num_hidden_layers\": 28, \"num_key_value_heads\": 8, \"rms_norm_eps\": 1e-06, "
    "\"rope_scaling\": null, \"rope_theta\": 1000000, \"sliding_window\": null, \"tie_word_embeddings\": true, "
    "\"torch_dtype\": \"bfloat16\", \"transformers_version\": \"4.51.0\", \"use_cache\": true, "
    "\"use_sliding_window\": false, \"vocab_size\": 151936}";

static void expect_published(const vv_qwen3_config *c)
{
    ck_assert(c->hidden_size == 1024 && c->intermediate_size == 3072 && c->num_hidden_layers == 28);
    ck_assert(c->num_attention_heads == 16 && c->num_key_value_heads == 8 && c->head_dim == 128);
    ck_assert(c->vocab_size == 151936 && c->max_position_embeddings == 40960 && c->tie_word_embeddings == 1);
    ck_assert(c->rms_norm_eps == 1e-6 && c->rope_theta == 1e6 && c->initializer_range == 0.02);
    ck_assert(c->n_eos == 1 && c->eos[0] == 151645);
}

START_TEST(what_is_read)
{
    vv_qwen3_config c;
    VVT_OK(parse(&c, PUBLISHED, err));
    expect_published(&c);
    VVT_OK(parse(&c,
                 "{\"num_hidden_layers\": 2, \"layer_types\": [\"full_attention\", \"full_attention\"], "
                 "\"sliding_window\": 4096, \"eos_token_id\": [7, 3], \"rms_norm_eps\": 0.25, "
                 "\"initializer_range\": 1, \"something_new\": [1]}",
                 err));
    ck_assert(c.num_hidden_layers == 2 && c.rms_norm_eps == 0.25 && c.initializer_range == 1);
    ck_assert(c.n_eos == 2 && c.eos[0] == 7 && c.eos[1] == 3);
    VVT_OK(parse(&c, "{\"num_attention_heads\": 4, \"num_key_value_heads\": null, \"eos_token_id\": null}", err));
    ck_assert(c.num_key_value_heads == 4 && c.n_eos == 0);
}
END_TEST

/* transformers 5.23, Qwen3Config() without arguments */
START_TEST(defaults)
{
    vv_qwen3_config c;
    VVT_OK(parse(&c, "{}", err));
    ck_assert(c.hidden_size == 4096 && c.intermediate_size == 22016 && c.num_hidden_layers == 32);
    ck_assert(c.num_attention_heads == 32 && c.num_key_value_heads == 32 && c.head_dim == 128);
    ck_assert(c.vocab_size == 151936 && c.max_position_embeddings == 32768 && c.tie_word_embeddings == 0);
    ck_assert(c.rms_norm_eps == 1e-6 && c.rope_theta == 1e4 && c.initializer_range == 0.02 && c.n_eos == 0);
    /* head_dim is its own setting: h / H would be 16 */
    VVT_OK(parse(&c, "{\"hidden_size\": 64, \"num_attention_heads\": 4, \"num_key_value_heads\": 2}", err));
    ck_assert_int_eq(c.head_dim, 128);
}
END_TEST

/* As transformers: the object wins over the plain key, "rope_scaling" over "rope_parameters". */
START_TEST(rotary_base)
{
    static const struct {
        const char *text;
        double theta;
    } good[] = {{"{\"rope_theta\": 5}", 5},
                {"{\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 1e6}}", 1e6},
                {"{\"rope_theta\": 5, \"rope_parameters\": {\"rope_theta\": 7.5}}", 7.5},
                {"{\"rope_theta\": 5, \"rope_scaling\": {\"rope_type\": \"default\"}}", 5},
                {"{\"rope_scaling\": {\"type\": \"default\", \"rope_theta\": 3}}", 3},
                {"{\"rope_scaling\": {\"rope_theta\": 4}, \"rope_parameters\": {\"rope_theta\": 3}}", 4},
                {"{\"rope_parameters\": null, \"rope_scaling\": {}}", 1e4}};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        vv_qwen3_config c;
        VVT_OK(parse(&c, good[i].text, err));
        ck_assert_msg(c.rope_theta == good[i].theta, "%s: %g", good[i].text, c.rope_theta);
    }
}
END_TEST

START_TEST(written_and_read_again)
{
    static const char *const text[] = {
        PUBLISHED,
        "{\"hidden_size\": 64, \"head_dim\": 6, \"vocab_size\": 9, \"rope_theta\": 12345.5, \"eos_token_id\": [8, 0, "
        "2], "
        "\"num_attention_heads\": 6, \"num_key_value_heads\": 3, \"tie_word_embeddings\": true, \"rms_norm_eps\": "
        "3e-5, "
        "\"intermediate_size\": 11, \"num_hidden_layers\": 5, \"max_position_embeddings\": 77}",
        "{}"};
    for (int i = 0; i < 3; i++) {
        vv_qwen3_config c, back;
        VVT_OK(parse(&c, text[i], err));
        json_t *root = vv_qwen3_config_to_json(&c);
        ck_assert_str_eq(json_string_value(json_object_get(root, "model_type")), "qwen3");
        char *again = json_dumps(root, 0);
        VVT_OK(parse(&back, again, err));
        ck_assert(c.hidden_size == back.hidden_size && c.intermediate_size == back.intermediate_size);
        ck_assert(c.num_hidden_layers == back.num_hidden_layers && c.num_attention_heads == back.num_attention_heads);
        ck_assert(c.num_key_value_heads == back.num_key_value_heads && c.head_dim == back.head_dim);
        ck_assert(c.vocab_size == back.vocab_size && c.max_position_embeddings == back.max_position_embeddings);
        ck_assert(c.rms_norm_eps == back.rms_norm_eps && c.rope_theta == back.rope_theta);
        ck_assert(c.initializer_range == back.initializer_range && c.tie_word_embeddings == back.tie_word_embeddings);
        ck_assert(c.n_eos == back.n_eos && !memcmp(c.eos, back.eos, (size_t)c.n_eos * sizeof *c.eos));
        free(again);
        json_decref(root);
    }
}
END_TEST

START_TEST(what_is_refused)
{
    static const struct {
        const char *text, *word[3];
    } bad[] = {
        {"{\"model_type\": \"qwen2\"}", {"model_type", "\"qwen3\"", "\"qwen2\""}},
        {"{\"model_type\": 3}", {"model_type", "string", "3"}},
        {"{\"hidden_act\": \"gelu\"}", {"hidden_act", "\"silu\"", "\"gelu\""}},
        {"{\"attention_bias\": true}", {"attention_bias", "false", "true"}},
        {"{\"attention_bias\": 0}", {"attention_bias", "true or false", "0"}},
        {"{\"use_sliding_window\": true}", {"use_sliding_window", "false", "true"}},
        {"{\"attention_dropout\": 0.1}", {"attention_dropout", "0", "0.1"}},
        {"{\"num_hidden_layers\": 2, \"layer_types\": [\"full_attention\", \"sliding_attention\"]}",
         {"layer_types", "full_attention", "sliding_attention\" for layer 1"}},
        {"{\"num_hidden_layers\": 1, \"layer_types\": [3]}", {"layer_types", "full_attention", "the integer 3"}},
        {"{\"num_hidden_layers\": 2, \"layer_types\": [\"full_attention\"]}", {"layer_types", "2 layers", "found 1"}},
        {"{\"layer_types\": \"full_attention\"}", {"layer_types", "array", "string"}},
        {"{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0}}",
         {"rope_scaling: rope_type", "default", "yarn"}},
        {"{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}}", {"rope_scaling: type", "default", "linear"}},
        {"{\"rope_parameters\": {\"rope_type\": \"dynamic\"}}", {"rope_parameters: rope_type", "default", "dynamic"}},
        {"{\"rope_parameters\": {\"rope_type\": \"default\", \"mrope_section\": [24, 20, 20]}}",
         {"rope_parameters", "rope_theta", "mrope_section"}},
        {"{\"rope_parameters\": {\"rope_theta\": 0}}", {"rope_parameters", "rope_theta", "0"}},
        {"{\"rope_parameters\": 3}", {"rope_parameters", "object", "3"}},
        {"{\"rope_theta\": -1}", {"rope_theta", "1", "-1"}},
        {"{\"num_attention_heads\": 6, \"num_key_value_heads\": 4}", {"num_key_value_heads", "multiple", "6 and 4"}},
        {"{\"num_attention_heads\": 2, \"num_key_value_heads\": 4}", {"num_key_value_heads", "multiple", "2 and 4"}},
        {"{\"num_key_value_heads\": 0}", {"num_key_value_heads", "1", "0"}},
        {"{\"head_dim\": 7}", {"head_dim", "even", "7"}},
        {"{\"head_dim\": 0}", {"head_dim", "1", "0"}},
        {"{\"hidden_size\": 64.0}", {"hidden_size", "integer", "real"}},
        {"{\"hidden_size\": -64}", {"hidden_size", "1", "-64"}},
        {"{\"intermediate_size\": \"9\"}", {"intermediate_size", "integer", "string"}},
        {"{\"num_hidden_layers\": 1025}", {"num_hidden_layers", "1024", "1025"}},
        {"{\"vocab_size\": 2147483648}", {"vocab_size", "1073741824", "2147483648"}},
        {"{\"max_position_embeddings\": 0}", {"max_position_embeddings", "1", "0"}},
        {"{\"rms_norm_eps\": -1e-6}", {"rms_norm_eps", "0", "-"}},
        {"{\"initializer_range\": -1}", {"initializer_range", "0", "-1"}},
        {"{\"tie_word_embeddings\": 1}", {"tie_word_embeddings", "true or false", "1"}},
        {"{\"vocab_size\": 10, \"eos_token_id\": 10}", {"eos_token_id", "0 to 9", "10"}},
        {"{\"vocab_size\": 10, \"eos_token_id\": [9, -1]}", {"eos_token_id", "0 to 9", "-1"}},
        {"{\"vocab_size\": 10, \"eos_token_id\": [\"a\"]}", {"eos_token_id", "0 to 9", "string"}},
        {"{\"vocab_size\": 10, \"eos_token_id\": [0,1,2,3,4,5,6,7,8]}", {"eos_token_id", "at most 8", "found 9"}},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vv_qwen3_config c;
        vv_error err = {0};
        vvt_expect_error(&err, parse(&c, bad[i].text, &err), VV_FILE, "c.json", bad[i].word[0], bad[i].word[1],
                         bad[i].word[2], (char *)NULL);
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("qwen3 configuration", &tc);
    tcase_add_test(tc, what_is_read);
    tcase_add_test(tc, defaults);
    tcase_add_test(tc, rotary_base);
    tcase_add_test(tc, written_and_read_again);
    tcase_add_test(tc, what_is_refused);
    return s;
}
VVT_MAIN(suite)
