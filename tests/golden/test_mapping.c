/* Mappings: every step, splits and joins, names, and what is refused. */
#include "golden/judging.h"
#include "golden/mapping.h"

static vv_golden golden;

/* 8 tokens of a grid of 2 x 4 */
static void open_golden(void)
{
    const char *const meta[] = {"versavit_golden", "2", "index",
                                "[{\"key\":\"u1/tower/in/grid_thw\",\"class\":\"EXACT\"},{\"key\":\"u1/tower/act/a\"}]",
                                NULL};
    const jd_tensor x[] = {{"u1/tower/in/grid_thw", 2, {1, 3}, NULL, (const int64_t[3]){1, 2, 4}},
                           jd_twelve("u1/tower/act/a", JD_R)};
    jd_write(vvt_path("golden"), x, 2, meta);
    VVT_OK(vv_golden_open(&golden, vvt_path("golden"), err));
}

static void close_golden(void) { vv_golden_close(&golden); }

/* the rules applied to tensors called by their keys; the outcome in *c */
static vv_status apply(vv_candidate *c, const char *rules, const jd_tensor *x, int64_t n, vv_error *why)
{
    char text[4000];
    vv_mapping *m = NULL;
    snprintf(text, sizeof text, "{\"about\": \"a test\", \"rules\": [%s]}", rules);
    vvt_write("map.json", text, strlen(text));
    jd_candidate("cand", x, n);
    VVT_OK(vv_candidate_open(c, vvt_path("cand"), err));
    vv_status s = vv_mapping_load(&m, vvt_path("map.json"), why);
    if (s == VV_OK) s = vv_mapping_apply(m, c, &golden, why);
    vv_mapping_free(m);
    if (s != VV_OK) vv_candidate_close(c);
    return s;
}

static void holds(const vv_candidate *c, const char *key, int ndim, const int64_t *shape, const double *want)
{
    double *v = NULL;
    const vv_candidate_tensor *t = vv_candidate_find(c, key, NULL);
    ck_assert_msg(t != NULL, "no %s", key);
    ck_assert_int_eq(t->e.ndim, ndim);
    ck_assert_mem_eq(t->e.shape, shape, (size_t)ndim * sizeof *shape);
    VVT_OK(vv_candidate_read(&v, c, t, err));
    for (int64_t i = 0; i < t->e.n; i++) ck_assert_double_eq(v[i], want[i]);
    free(v);
}

static void one(const char *rule, const jd_tensor *x, const char *key, int ndim, const int64_t *shape,
                const double *want)
{
    vv_candidate c;
    VVT_OK(apply(&c, rule, x, 1, err));
    ck_assert_int_eq(c.n, 1);
    holds(&c, key, ndim, shape, want);
    vv_candidate_close(&c);
}

#define SHAPE(...) ((const int64_t[]){__VA_ARGS__})
#define VALUES(...) ((const double[]){__VA_ARGS__})
static const double SIX[6] = {1, 2, 3, 4, 5, 6};
static const jd_tensor X = {"model.visual.x", 2, {2, 3}, SIX, NULL};

START_TEST(steps)
{
    one("{\"from\":\".*\",\"do\":[{\"transpose\":true}]}", &X, X.key, 2, SHAPE(3, 2), VALUES(1, 4, 2, 5, 3, 6));
    one("{\"from\":\".*\",\"do\":[{\"permute\":[1,0]}]}", &X, X.key, 2, SHAPE(3, 2), VALUES(1, 4, 2, 5, 3, 6));
    one("{\"from\":\".*\",\"do\":[{\"reshape\":[-1,2,1]}]}", &X, X.key, 3, SHAPE(3, 2, 1), SIX);
    one("{\"from\":\".*\",\"do\":[{\"reshape\":[0,1,-1]}]}", &X, X.key, 3, SHAPE(2, 1, 3), SIX);
    one("{\"from\":\".*\",\"do\":[{\"scale\":0.5}]}", &X, X.key, 2, SHAPE(2, 3), VALUES(.5, 1, 1.5, 2, 2.5, 3));
    one("{\"from\":\".*\",\"do\":[{\"reshape\":[2,1,3]},{\"permute\":[2,1,0]},{\"scale\":-1}]}", &X, X.key, 3,
        SHAPE(3, 1, 2), VALUES(-1, -4, -2, -5, -3, -6));
    one("{\"from\":\".*\",\"do\":[{\"unpad\":[1,3,2]}]}", &X, X.key, 2, SHAPE(2, 2), VALUES(1, 2, 4, 5));
    const jd_tensor padded = {"x", 2, {4, 2}, VALUES(1, 2, 3, 4, 5, 6, 7, 8), NULL};
    one("{\"from\":\".*\",\"do\":[{\"unpad\":[0,2,1]}]}", &padded, "x", 2, SHAPE(2, 2), VALUES(1, 2, 5, 6));
    const jd_tensor map = {"x", 4, {1, 1, 2, 3}, SIX, NULL}; /* one row of two pixels, three channels */
    one("{\"from\":\".*\",\"do\":[{\"nchw\":true}]}", &map, "x", 4, SHAPE(1, 3, 1, 2), VALUES(1, 4, 2, 5, 3, 6));
    const jd_tensor fine = {"x", 1, {3}, VALUES(1 + 0x1p-9, 1 + 0x1p-12, 1 + 0x1p-30), NULL};
    one("{\"from\":\".*\",\"do\":[{\"cast\":\"BF16\"}]}", &fine, "x", 1, SHAPE(3), VALUES(1, 1, 1));
    one("{\"from\":\".*\",\"do\":[{\"cast\":\"F16\"}]}", &fine, "x", 1, SHAPE(3), VALUES(1 + 0x1p-9, 1, 1));
    one("{\"from\":\".*\",\"do\":[{\"cast\":\"F32\"}]}", &fine, "x", 1, SHAPE(3), VALUES(1 + 0x1p-9, 1 + 0x1p-12, 1));
    const jd_tensor raster = {"x", 2, {8, 1}, VALUES(0, 1, 2, 3, 4, 5, 6, 7), NULL};
    one("{\"from\":\".*\",\"do\":[{\"order\":\"raster\"}]}", &raster, "x", 2, SHAPE(8, 1),
        VALUES(0, 1, 4, 5, 2, 3, 6, 7));
}
END_TEST

START_TEST(names)
{
    one("{\"from\":\"(?:model\\\\.)?visual\\\\.(.*)\",\"to\":\"$T/act/visual.$1\"}", &X, "u1/tower/act/visual.x", 2,
        SHAPE(2, 3), SIX);
    one("{\"from\":\"visual\\\\.(.*)\",\"to\":\"$1\"}", &X, X.key, 2, SHAPE(2, 3),
        SIX); /* the whole name, or nothing */
    one("{\"from\":\"(.*)\\\\.(.*)\\\\.(.*)\",\"to\":\"$3$$$2.$1/$0\"}", &X, "x$visual.model/model.visual.x", 2,
        SHAPE(2, 3), SIX);
    one("{\"from\":\"model\\\\.(.*)\",\"to\":\"$1\"},{\"from\":\"visual\\\\.(.*)\",\"to\":\"$1\"}", &X, "x", 2,
        SHAPE(2, 3), SIX);
    vv_candidate c;
    VVT_OK(apply(&c, "{\"from\":\"model.*\",\"drop\":true}", &X, 1, err));
    ck_assert_int_eq(c.n, 0);
    vv_candidate_close(&c);
}
END_TEST

START_TEST(splits_and_joins)
{
    vv_candidate c;
    const jd_tensor qkv = {"b.0.qkv.weight", 2, {3, 2}, SIX, NULL};
    VVT_OK(
        apply(&c, "{\"from\":\"(.*)\\\\.qkv\\\\.(.*)\",\"to\":[\"$1.q.$2\",\"$1.k.$2\",\"$1.v.$2\"]}", &qkv, 1, err));
    ck_assert_int_eq(c.n, 3);
    holds(&c, "b.0.q.weight", 2, SHAPE(1, 2), VALUES(1, 2));
    holds(&c, "b.0.k.weight", 2, SHAPE(1, 2), VALUES(3, 4));
    holds(&c, "b.0.v.weight", 2, SHAPE(1, 2), VALUES(5, 6));
    vv_candidate_close(&c);
    VVT_OK(apply(&c, "{\"from\":\".*\",\"to\":[\"a\",\"b\"],\"axis\":1,\"sizes\":[2,1]}", &X, 1,
                 err)); /* uneven, inner axis */
    holds(&c, "a", 2, SHAPE(2, 2), VALUES(1, 2, 4, 5));
    holds(&c, "b", 2, SHAPE(2, 1), VALUES(3, 6));
    vv_candidate_close(&c);
    const jd_tensor three[] = {{"b.0.q", 2, {2, 1}, VALUES(1, 4), NULL},
                               {"b.0.k", 2, {2, 1}, VALUES(2, 5), NULL},
                               {"b.0.v", 2, {2, 1}, VALUES(3, 6), NULL}};
    VVT_OK(apply(&c, "{\"from\":\"(.*)\\\\.q\",\"with\":[\"$1.k\",\"$1.v\"],\"axis\":1,\"to\":\"$1.qkv\"}", three, 3,
                 err));
    ck_assert_int_eq(c.n, 1);
    holds(&c, "b.0.qkv", 2, SHAPE(2, 3), SIX);
    vv_candidate_close(&c);
    VVT_OK(apply(&c, "{\"from\":\"(.*)\\\\.q\",\"with\":[\"$1.k\",\"$1.v\"],\"to\":\"$1.qkv\"}", three, 3,
                 err)); /* along the first axis */
    holds(&c, "b.0.qkv", 2, SHAPE(6, 1), VALUES(1, 4, 2, 5, 3, 6));
    vv_candidate_close(&c);
    vv_error why = {0};
    vvt_expect_error(&why,
                     apply(&c, "{\"from\":\"(.*)\\\\.q\",\"with\":[\"$1.kk\"],\"to\":\"$1.qkv\"}", three, 3, &why),
                     VV_FILE, "map.json", "rules[0]", "b.0.q", "b.0.kk", (char *)NULL);
    const jd_tensor two[] = {{"b.q", 2, {2, 1}, VALUES(1, 4), NULL}, {"b.k", 2, {1, 2}, VALUES(2, 5), NULL}};
    why = (vv_error){0};
    vvt_expect_error(&why,
                     apply(&c, "{\"from\":\"(.*)\\\\.q\",\"with\":[\"$1.k\"],\"axis\":1,\"to\":\"x\"}", two, 2, &why),
                     VV_FILE, "rules[0]", "b.k", "[1,2]", (char *)NULL);
    why = (vv_error){0};
    vvt_expect_error(&why, apply(&c, "{\"from\":\".*\",\"to\":[\"a\",\"b\",\"c\",\"d\"],\"axis\":1}", &X, 1, &why),
                     VV_FILE, "rules[0]", "4 equal", "3", (char *)NULL);
    why = (vv_error){0};
    vvt_expect_error(&why, apply(&c, "{\"from\":\".*\",\"to\":[\"a\",\"b\"],\"axis\":1,\"sizes\":[1,1]}", &X, 1, &why),
                     VV_FILE, "sizes", "3", "2", (char *)NULL);
}
END_TEST

START_TEST(refused)
{
    static const struct {
        const char *rule, *word;
    } bad[] = {{"1", "object"},
               {"{}", "from"},
               {"{\"from\":7}", "from"},
               {"{\"from\":\"(\"}", "regular expression"},
               {"{\"from\":\"x\",\"too\":\"y\"}", "too"},
               {"{\"from\":\"x\",\"to\":7}", "to"},
               {"{\"from\":\"x\",\"to\":[]}", "to"},
               {"{\"from\":\"x\",\"to\":[1]}", "to[0]"},
               {"{\"from\":\"x\",\"with\":\"y\"}", "with"},
               {"{\"from\":\"x\",\"with\":[2]}", "with[0]"},
               {"{\"from\":\"x\",\"axis\":8}", "axis"},
               {"{\"from\":\"x\",\"to\":\"y\",\"sizes\":[1]}", "sizes"},
               {"{\"from\":\"x\",\"drop\":1}", "drop"},
               {"{\"from\":\"x\",\"do\":{}}", "do"},
               {"{\"from\":\"x\",\"do\":[7]}", "do"},
               {"{\"from\":\"x\",\"do\":[{\"rotate\":1}]}", "reshape"},
               {"{\"from\":\"x\",\"do\":[{\"scale\":1,\"cast\":\"F32\"}]}", "reshape"},
               {"{\"from\":\"x\",\"do\":[{\"scale\":\"1\"}]}", "scale"},
               {"{\"from\":\"x\",\"do\":[{\"cast\":\"F8\"}]}", "cast"},
               {"{\"from\":\"x\",\"do\":[{\"reshape\":[1,2,3,4,5,6,7,8,9]}]}", "reshape"},
               {"{\"from\":\"x\",\"do\":[{\"unpad\":[1,2]}]}", "unpad"},
               {"{\"from\":\"x\",\"do\":[{\"order\":\"zigzag\"}]}", "order"},
               {"{\"from\":\".*\",\"to\":\"$5\"}", "$0 .. $0"},
               {"{\"from\":\".*\",\"to\":\"a$\"}", "dollar"},
               {"{\"from\":\".*\",\"do\":[{\"reshape\":[4,2]}]}", "[2,3]"},
               {"{\"from\":\".*\",\"do\":[{\"reshape\":[-1,-1]}]}", "[2,3]"},
               {"{\"from\":\".*\",\"do\":[{\"reshape\":[-1,-1,-1]}]}", "[2,3]"},
               {"{\"from\":\".*\",\"do\":[{\"reshape\":[-2,-3]}]}", "[2,3]"},
               {"{\"from\":\".*\",\"do\":[{\"reshape\":[0,0,0]}]}", "[2,3]"},
               {"{\"from\":\".*\",\"do\":[{\"reshape\":[9223372036854775807,9223372036854775807]}]}", "[2,3]"},
               {"{\"from\":\".*\",\"do\":[{\"permute\":[0,0]}]}", "[2,3]"},
               {"{\"from\":\".*\",\"do\":[{\"permute\":[0,-1]}]}", "[2,3]"},
               {"{\"from\":\".*\",\"do\":[{\"permute\":[0,1,2]}]}", "[2,3]"},
               {"{\"from\":\".*\",\"do\":[{\"nchw\":true}]}", "[B,H,W,C]"},
               {"{\"from\":\".*\",\"do\":[{\"unpad\":[1,2,1]}]}", "whole heads"},
               {"{\"from\":\".*\",\"do\":[{\"unpad\":[2,1,1]}]}", "whole heads"},
               {"{\"from\":\".*\",\"do\":[{\"order\":\"raster\"}]}", "grid_thw"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vv_candidate c;
        vv_error why = {0};
        vvt_expect_error(&why, apply(&c, bad[i].rule, &X, 1, &why), VV_FILE, "map.json", "rules[0]", bad[i].word,
                         (char *)NULL);
    }
    vv_mapping *m = NULL;
    static const char *const files[] = {
        "", "[]", "{\"rules\":[]", "{}", "{\"rules\":{}}", "{\"rules\":[],\"rulers\":1}"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        vv_error why = {0};
        vvt_expect_error(&why, vv_mapping_load(&m, vvt_write("map.json", files[i], strlen(files[i])), &why), VV_FILE,
                         "map.json", (char *)NULL);
        ck_assert_ptr_null(m);
    }
}
END_TEST

/* those in data/mappings are read, and find their names */
START_TEST(shipped)
{
    static const struct {
        const char *file, *name, *key;
    } known[] = {
        {"transformers", "model.visual.blocks.3.attn.qkv", "u1/tower/act/visual.blocks.3.attn.qkv"},
        {"transformers", "visual.merger.mlp.2.weight", "u1/tower/w/visual.merger.mlp.2.weight"},
        {"transformers", "visual.blocks.0.norm1.weight.grad", "u1/tower/dw/visual.blocks.0.norm1.weight"},
        {"transformers", "visual.blocks.0.norm1.grad", "u1/tower/dact/visual.blocks.0.norm1"},
        {"transformers", "model.language_model.layers.1.mlp.gate_proj", "u1/tower/act/model.layers.1.mlp.gate_proj"},
        {"transformers", "model.layers.1.input_layernorm.weight", "u1/tower/w/model.layers.1.input_layernorm.weight"},
        {"transformers", "u2/caption/dw/model.visual.blocks.0.norm1.bias", "u2/caption/dw/visual.blocks.0.norm1.bias"},
        {"llama.cpp", "v.blk.4.ffn_up.weight", "u1/tower/w/visual.blocks.4.mlp.fc1.weight"},
        {"llama.cpp", "v.post_ln.bias", "u1/tower/w/visual.merger.ln_q.bias"},
        {"llama.cpp", "mm.2.weight", "u1/tower/w/visual.merger.mlp.2.weight"},
        {"llama.cpp", "ln1-2", "u1/tower/act/visual.blocks.2.norm1"},
        {"llama.cpp", "ffn_inp-2", "u1/tower/act/visual.blocks.2.attn#residual"},
        {"llama.cpp", "layer_out-0", "u1/tower/act/visual.blocks.0"},
        {"onnx", "/visual/blocks.1/norm2/LayerNormalization_output_0", "u1/tower/act/visual.blocks.1.norm2"},
        {"onnx", "/blocks.1/mlp/fc1/Gemm_output_0", "u1/tower/act/visual.blocks.1.mlp.fc1"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char path[200];
        vv_mapping *m = NULL;
        vv_candidate c;
        snprintf(path, sizeof path, "data/mappings/%s.json", known[i].file);
        VVT_OK(vv_mapping_load(&m, vvt_root(path), err));
        const jd_tensor x = {known[i].name, 2, {2, 3}, SIX, NULL};
        VVT_OK(vv_candidate_open(&c, jd_candidate("cand", &x, 1), err));
        VVT_OK(vv_mapping_apply(m, &c, &golden, err));
        ck_assert_int_eq(c.n, 1);
        ck_assert_str_eq(c.at[0].key, known[i].key);
        vv_candidate_close(&c);
        vv_mapping_free(m);
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("mapping", &tc);
    tcase_add_unchecked_fixture(tc, open_golden, close_golden);
    tcase_add_test(tc, steps);
    tcase_add_test(tc, names);
    tcase_add_test(tc, splits_and_joins);
    tcase_add_test(tc, refused);
    tcase_add_test(tc, shipped);
    return s;
}
VVT_MAIN(suite)
