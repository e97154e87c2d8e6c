/* Finding the fault: mistakes planted into the committed recording of the tower, each of which must be found at its place and called by its
 * name; and noise, which must get no name. */
#include "golden/judging.h"
#include "io/hf_dir.h"

/* Everything of the recording, as it is changed. Weights stand in the file, or beside it in the folder. */
static vv_golden real;
static jd_tensor tensor[JD_TENSORS];
static double *value[JD_TENSORS], *truth[JD_TENSORS];
static char *key_of[JD_TENSORS];
static int n_tensors;
static char index_text[200000];

static void take(const char *key, const char *path, const vv_st_entry *e, int plain)
{
    const int i = n_tensors++;
    ck_assert_int_lt(i, JD_TENSORS);
    key_of[i] = plain ? vv_asprintf("u1/vision/w/%s", key) : vv_strdup(key);
    VVT_OK(vv_entry_doubles(&value[i], path, e, err));
    VVT_OK(vv_entry_doubles(&truth[i], path, e, err));
    tensor[i] = (jd_tensor){.key = key_of[i], .ndim = e->ndim, .v = value[i]};
    memcpy(tensor[i].shape, e->shape, sizeof e->shape);
    const char *class = strstr(key_of[i], "/in/") || strstr(key_of[i], "/w/") ? "EXACT" : "CHAIN";
    snprintf(index_text + strlen(index_text), sizeof index_text - strlen(index_text),
             "%s{\"key\":\"%s\",\"class\":\"%s\",\"floor\":1e-7,\"bands\":{\"tf32\":[1e-4,4e-4],\"fp16\":[1e-4,4e-4],"
             "\"bf16\":[2e-3,6e-3]}}",
             i ? "," : "[", key_of[i], class);
}

static void open_real(void)
{
    VVT_OK(vv_golden_open(&real, vvt_root("golden/tower-micro"), err));
    for (int64_t i = 0; real.weights && i < vv_st_count(real.weights); i++)
        if (!strncmp(vv_st_at(real.weights, i)->name, "visual.", 7))
            take(vv_st_at(real.weights, i)->name, real.path, vv_st_at(real.weights, i), 1);
    for (int64_t i = 0; i < real.n; i++) take(real.entry[i].key, real.path, real.entry[i].at, 0);
    strcat(index_text, "]");
    const char *const meta[] = {"versavit_golden",
                                "2",
                                "index",
                                index_text,
                                "config",
                                "{\"num_heads\":2,\"embed_dim\":16,\"spatial_merge_size\":2}",
                                "case",
                                "{\"loss\":{\"lambda\":0.3},\"seed\":7}",
                                NULL};
    jd_write(vvt_path("ref"), tensor, n_tensors, meta);
}

static void close_real(void)
{
    for (int i = 0; i < n_tensors; i++) {
        free(value[i]);
        free(truth[i]);
        free(key_of[i]);
    }
    vv_golden_close(&real);
}

/* every value anew, with the noise of a float build: relative 1e-8 to 1e-7, never twice the same */
static void fresh(void)
{
    uint32_t state = 1;
    for (int i = 0; i < n_tensors; i++) {
        const int exact = strstr(key_of[i], "/in/") || strstr(key_of[i], "/w/");
        for (int64_t k = 0; k < jd_count(&tensor[i]); k++) {
            state = state * 1664525u + 1013904223u;
            value[i][k] = truth[i][k] * (exact ? 1 : 1 + 1e-7 * ((double)(state >> 8) / 0x1p24 - 0.5));
        }
    }
}

static int find(const char *kind, const char *name)
{
    char key[300];
    snprintf(key, sizeof key, "u1/vision/%s/%s", kind, name);
    for (int i = 0; i < n_tensors; i++)
        if (!strcmp(key_of[i], key)) return i;
    ck_abort_msg("%s is not in the recording", key);
    return -1;
}
static double *at(const char *kind, const char *name) { return value[find(kind, name)]; }
static const double *golden(const char *kind, const char *name) { return truth[find(kind, name)]; }
static int64_t count(const char *kind, const char *name) { return jd_count(&tensor[find(kind, name)]); }

/* the first divergent tensor is kind/name, and its cause holds the words (NULL: there is none) */
static void located(const char *kind, const char *name, const char *words)
{
    vv_judged j;
    vv_fault f;
    char key[300];
    snprintf(key, sizeof key, "u1/vision/%s/%s", kind, name);
    jd_candidate("cand", tensor, n_tensors);
    const vv_judge_options o = {.limit = -1, .scope = VV_SCOPE_UPDATE};
    vv_error why = {0};
    const vv_status s = vv_judge(&j, vvt_path("ref"), vvt_path("cand"), &o, &why);
    ck_assert_msg(s == VV_DIFFERS, "%s: status %d %s", key, (int)s, why.msg);
    VVT_OK(vv_fault_find(&f, &j, err));
    ck_assert_str_eq(f.first->entry->key, key);
    if (words)
        ck_assert_msg(strstr(f.cause, words) != NULL, "%s: expected the cause \"%s\"; found \"%s\" (left %g)", key,
                      words, f.cause, f.left);
    else ck_assert_msg(!f.cause[0], "%s: expected no cause; found \"%s\"", key, f.cause);
    ck_assert_msg(strstr(f.precision, "float32") != NULL || !f.precision[0], "%s", f.precision);
    for (int i = 0; i < f.n_before; i++) ck_assert_double_lt(vv_multiple(f.before[i]), 4);
    vv_judged_free(&j);
    fresh();
}

/* ---- a function done wrong ------------------------------------------------------------------------------------------------- */
START_TEST(activations)
{
    const char *in = "visual.merger.mlp.0", *out = "visual.merger.mlp.1";
    for (int64_t i = 0; i < count("act", out); i++) {
        const double x = golden("act", in)[i];
        at("act", out)[i] = 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    }
    located("act", out, "tanh approximation of GELU, where GELU with erf");
    for (int64_t i = 0; i < count("act", out); i++)
        at("act", out)[i] = golden("act", in)[i] / (1 + exp(-1.702 * golden("act", in)[i]));
    located("act", out, "quick GELU");
    in = "visual.blocks.1.mlp.fc1", out = "visual.blocks.1.mlp.act";
    for (int64_t i = 0; i < count("act", out); i++)
        at("act", out)[i] = golden("act", in)[i] * 0.5 * (1 + erf(golden("act", in)[i] * sqrt(0.5)));
    located("act", out, "GELU with erf, where quick GELU");
    for (int64_t i = 0; i < count("act", out); i++)
        at("act", out)[i] = golden("act", in)[i] / (1 + exp(-golden("act", in)[i]));
    located("act", out, "SiLU");
    for (int64_t i = 0; i < count("act", out); i++) { /* only the backward has the other form */
        const double x = golden("act", in)[i], p = 1 / (1 + exp(-x));
        at("dact", in)[i] = golden("dact", out)[i] * (p + x * p * (1 - p));
    }
    located("dact", in, "the derivative of SiLU, where quick GELU");
}
END_TEST

/* LayerNorm of block 1's input */
static void layernorm(double unbiased, double centred, double eps)
{
    const char *name = "visual.blocks.1.norm1";
    const double *x = golden("act", "visual.blocks.0"), *w = golden("w", "visual.blocks.1.norm1.weight"),
                 *b = golden("w", "visual.blocks.1.norm1.bias");
    for (int64_t row = 0; row < count("act", name); row += 16) {
        double mean = 0, var = 0;
        for (int c = 0; c < 16; c++) mean += centred * x[row + c] / 16;
        for (int c = 0; c < 16; c++) var += (x[row + c] - mean) * (x[row + c] - mean) / (16 - unbiased);
        for (int c = 0; c < 16; c++) at("act", name)[row + c] = (x[row + c] - mean) / sqrt(var + eps) * w[c] + b[c];
    }
}

START_TEST(norms)
{
    layernorm(1, 1, 1e-6);
    located("act", "visual.blocks.1.norm1", "unbiased variance");
    layernorm(0, 0, 1e-6);
    located("act", "visual.blocks.1.norm1", "RMSNorm");
    layernorm(0, 1, 1e-5);
    located("act", "visual.blocks.1.norm1", "eps 1e-5, where LayerNorm with eps 1e-6");
    for (int64_t i = 0; i < count("act", "visual.blocks.1.norm1"); i++)
        at("act", "visual.blocks.1.norm1")[i] -= golden("w", "visual.blocks.1.norm1.bias")[i % 16];
    located("act", "visual.blocks.1.norm1", "bias");
}
END_TEST

START_TEST(weights)
{
    const char *out = "visual.merger.mlp.0"; /* [9,64] of [9,64], square */
    const double *x = golden("act", "visual.merger.ln_q"), *w = golden("w", "visual.merger.mlp.0.weight"),
                 *b = golden("w", "visual.merger.mlp.0.bias");
    for (int64_t i = 0; i < 9 * 64; i++) {
        double y = b[i % 64];
        for (int64_t k = 0; k < 64; k++) y += x[i / 64 * 64 + k] * w[k * 64 + i % 64];
        at("act", out)[i] = y;
    }
    located("act", out, "visual.merger.mlp.0.weight is transposed");
    out = "visual.blocks.1.attn#residual"; /* with something added */
    x = golden("act", "visual.blocks.1.attn#context");
    w = golden("w", "visual.blocks.1.attn.proj.weight");
    for (int64_t i = 0; i < count("act", out); i++) {
        double d = 0;
        for (int64_t k = 0; k < 16; k++) d += x[i / 16 * 16 + k] * (w[k * 16 + i % 16] - w[i % 16 * 16 + k]);
        at("act", out)[i] += d;
    }
    located("act", out, "visual.blocks.1.attn.proj.weight is transposed");
    const char *dw = "visual.blocks.0.attn.proj.weight";
    for (int i = 0; i < 256; i++) at("dw", dw)[i] = golden("dw", dw)[i % 16 * 16 + i / 16];
    located("dw", dw, "transposed");
    for (int i = 0; i < 64 * 16; i++)
        at("dw", "visual.blocks.0.mlp.fc1.weight")[i] =
            golden("dw", "visual.blocks.0.mlp.fc1.weight")[i % 64 * 16 + i / 64];
    located("dw", "visual.blocks.0.mlp.fc1.weight", "memory holds [16,64]");
}
END_TEST

/* ---- attention --------------------------------------------------------------------------------------------------------------- */
START_TEST(rotary)
{
    const char *in = "visual.blocks.1.attn.qkv", *out = "visual.blocks.1.attn.qkv#rotated";
    const double *x = golden("act", in), *y = golden("act", out);
    static const char *const words[3] = {"neighbours", "backwards", "left out"};
    for (int k = 0; k < 3; k++) {
        for (int64_t i = 0; i < count("act", out); i += 8)
            for (int j = 0; j < 4; j++) {
                const double a = x[i + j], b = x[i + j + 4], r = a * a + b * b;
                const double c = (a * y[i + j] + b * y[i + j + 4]) / r, s = (a * y[i + j + 4] - b * y[i + j]) / r;
                double *o = at("act", out) + i;
                if (k == 0) {
                    o[2 * j] = x[i + 2 * j] * c - x[i + 2 * j + 1] * s;
                    o[2 * j + 1] = x[i + 2 * j] * s + x[i + 2 * j + 1] * c;
                } else {
                    o[j] = k == 1 ? a * c + b * s : a;
                    o[j + 4] = k == 1 ? b * c - a * s : b;
                }
            }
        located("act", out, words[k]);
    }
}
END_TEST

/* attention of block 0 from its rotated q, k, v; pictures see one another when `across` */
static void attention(int across, double scale)
{
    const double *qkv = golden("act", "visual.blocks.0.attn.qkv#rotated"), *grid = golden("in", "grid_thw");
    const int64_t N = count("act", "visual.blocks.0.attn#context") / 16,
                  first_picture = (int64_t)(grid[0] * grid[1] * grid[2]);
    for (int64_t i = 0; i < N; i++)
        for (int h = 0; h < 2; h++) {
            double sum = 0, o[8] = {0};
            for (int64_t k = 0; k < N; k++) {
                double p = 0;
                if (!across && (i < first_picture) != (k < first_picture)) continue;
                for (int d = 0; d < 8; d++) p += qkv[i * 48 + h * 8 + d] * qkv[k * 48 + 16 + h * 8 + d];
                p = exp(p * scale);
                sum += p;
                for (int d = 0; d < 8; d++) o[d] += p * qkv[k * 48 + 32 + h * 8 + d];
            }
            for (int d = 0; d < 8; d++) at("act", "visual.blocks.0.attn#context")[i * 16 + h * 8 + d] = o[d] / sum;
        }
}

START_TEST(attentions)
{
    attention(1, 1 / sqrt(8));
    located("act", "visual.blocks.0.attn#context", "across pictures");
    attention(0, 1);
    located("act", "visual.blocks.0.attn#context", "not scaled");
    attention(0, 1.0 / 8);
    located("act", "visual.blocks.0.attn#context", "1/D");
}
END_TEST

/* ---- order --------------------------------------------------------------------------------------------------------------------- */
START_TEST(order)
{
    const char *name = "visual.patch_embed";
    const int64_t N = count("act", name) / 16;
    int64_t *place = NULL;
    vv_golden g;
    VVT_OK(vv_golden_open(&g, vvt_path("ref"), err));
    VVT_OK(vv_golden_raster(&place, &g, N, err));
    ck_assert_ptr_nonnull(place);
    for (int64_t i = 0; i < N; i++)
        memcpy(at("act", name) + place[i] * 16, golden("act", name) + i * 16, 16 * sizeof(double));
    located("act", name, "raster order");
    free(place);
    vv_golden_close(&g);
    for (int64_t i = 1; i < N; i++)
        memcpy(at("act", name) + i * 16, golden("act", name) + (i - 1) * 16, 16 * sizeof(double));
    located("act", name, "shifted by one along axis 0");
    for (int64_t i = 0; i < N; i++)
        memcpy(at("act", name) + i * 16, golden("act", name) + (N - 1 - i) * 16, 16 * sizeof(double));
    located("act", name, "rows stand in another order");
    const char *qkv = "visual.blocks.0.attn.qkv"; /* q, k, v of a head side by side */
    for (int64_t i = 0; i < N; i++)
        for (int c = 0; c < 48; c++)
            at("act", qkv)[i * 48 + c] = golden("act", qkv)[i * 48 + c / 8 % 3 * 16 + c / 24 * 8 + c % 8];
    located("act", qkv, "columns stand in another order");
}
END_TEST

/* ---- factors, and what is left out ----------------------------------------------------------------------------------------------- */
static void times(const char *kind, const char *name, double factor)
{
    for (int64_t i = 0; i < count(kind, name); i++) at(kind, name)[i] = golden(kind, name)[i] * factor;
}

START_TEST(factors)
{
    times("dw", "visual.blocks.2.mlp.fc1.weight", 1.0 / 36);
    located("dw", "visual.blocks.2.mlp.fc1.weight", "1 / 36");
    times("act", "visual.blocks.1.attn.qkv", sqrt(8));
    located("act", "visual.blocks.1.attn.qkv", "sqrt(8 (the size of a head))");
    times("dact", "visual.blocks.1.norm2", -1);
    located("dact", "visual.blocks.1.norm2", "the sign");
    times("dw", "visual.blocks.0.norm2.bias", 0.3);
    located("dw", "visual.blocks.0.norm2.bias", "0.3 (loss.lambda)");
    times("loss", "total", 9);
    located("loss", "total", "9 (axis 0 of cotangent)"); /* summed, not averaged over 9 tokens */
    times("act", "visual.blocks.2", 1.01);
    located("act", "visual.blocks.2", "times 1.01");
    times("act", "visual.blocks.2", sqrt(15.0 / 16));
    located("act", "visual.blocks.2", "unbiased variance");
    times("loss", "total", 1.2345); /* any two numbers have a factor */
    located("loss", "total", NULL);
}
END_TEST

START_TEST(left_out)
{
    for (int64_t i = 0; i < count("act", "visual.blocks.1"); i++)
        at("act", "visual.blocks.1")[i] -= golden("act", "visual.blocks.1.attn#residual")[i];
    located("act", "visual.blocks.1", "visual.blocks.1.attn#residual is left out");
    for (int64_t i = 0; i < count("act", "visual.blocks.1"); i++)
        at("act", "visual.blocks.1")[i] += golden("act", "visual.blocks.1.attn#residual")[i];
    located("act", "visual.blocks.1", "once too often");
    for (int64_t i = 0; i < count("act", "visual.blocks.1.mlp.fc1"); i++)
        at("act", "visual.blocks.1.mlp.fc1")[i] -= golden("w", "visual.blocks.1.mlp.fc1.bias")[i % 64];
    located("act", "visual.blocks.1.mlp.fc1", "visual.blocks.1.mlp.fc1.bias is left out");
    for (int64_t i = 0; i < count("dact", "visual.blocks.1"); i++)
        at("dact", "visual.blocks.1")[i] -= golden("dact", "visual.blocks.2.attn#residual")[i];
    located("dact", "visual.blocks.1", "visual.blocks.2.attn#residual is left out");
    for (int64_t i = 0; i < count("dw", "visual.blocks.0.mlp.fc1.weight"); i++)
        at("dw", "visual.blocks.0.mlp.fc1.weight")[i] += 0.01 * golden("w", "visual.blocks.0.mlp.fc1.weight")[i];
    located("dw", "visual.blocks.0.mlp.fc1.weight", "0.01 times the weight itself");
}
END_TEST

/* what is no known mistake gets no name */
START_TEST(noise)
{
    static const char *const names[] = {
        "visual.patch_embed",           "visual.blocks.0.norm1", "visual.blocks.1.attn.qkv#rotated",
        "visual.blocks.1.attn#context", "visual.blocks.2",       "visual.merger.mlp.0",
        "visual.merger.mlp.1"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++)
        for (int size = 0; size < 3; size++) {
            uint32_t state = 99;
            for (int64_t i = 0; i < count("act", names[k]); i++) {
                state = state * 1664525u + 1013904223u;
                at("act", names[k])[i] += (size == 0   ? 1e-5
                                           : size == 1 ? 1e-2
                                                       : 10) *
                                          ((double)(state >> 8) / 0x1p24 - 0.5);
            }
            located("act", names[k], NULL);
        }
}
END_TEST

/* ---- precision -------------------------------------------------------------------------------------------------------------------- */
START_TEST(arithmetic)
{
    static const struct {
        double error;
        const char *words;
    } kinds[] = {{1e-16, "behaves like float64"},
                 {5e-8, "behaves like float32"},
                 {2e-4, "behaves like TF32 and FP16: they cannot be told apart"},
                 {4e-3, "behaves like BF16"},
                 {0.3, "no single precision"}};
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        vv_judged j;
        char text[VV_FAULT_TEXT];
        for (int i = 0; i < n_tensors; i++)
            if (!strstr(key_of[i], "/in/") && !strstr(key_of[i], "/w/"))
                for (int64_t e = 0; e < jd_count(&tensor[i]); e++)
                    value[i][e] = truth[i][e] * (1 + kinds[k].error * (e % 2 ? 1 : -1));
        jd_candidate("cand", tensor, n_tensors);
        const vv_judge_options o = {.limit = 1, .scope = VV_SCOPE_UPDATE};
        VVT_OK(vv_judge(&j, vvt_path("ref"), vvt_path("cand"), &o, err));
        vv_fault_precision(text, &j);
        ck_assert_msg(strstr(text, kinds[k].words) != NULL, "expected \"%s\"; found \"%s\"", kinds[k].words, text);
        vv_judged_free(&j);
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("fault", &tc);
    tcase_add_unchecked_fixture(tc, open_real, close_real);
    tcase_add_checked_fixture(tc, fresh, NULL);
    tcase_add_test(tc, activations);
    tcase_add_test(tc, norms);
    tcase_add_test(tc, weights);
    tcase_add_test(tc, rotary);
    tcase_add_test(tc, attentions);
    tcase_add_test(tc, order);
    tcase_add_test(tc, factors);
    tcase_add_test(tc, left_out);
    tcase_add_test(tc, noise);
    tcase_add_test(tc, arithmetic);
    return s;
}
VVT_MAIN(suite)
