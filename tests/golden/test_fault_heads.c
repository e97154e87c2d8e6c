/* Likely causes in the decoder and the mask head: attention, positions, the gate. Each mistake is computed here by naive loops, planted into
 * a committed recording, and must be called by its name. */
#include "golden/planted.h"

typedef struct {
    int64_t H, Hkv, D;
    double scale;
    int across, causal, tiled, queries; /* queries: the softmax goes over them */
    const int64_t *of_query, *of_key;   /* segments */
} attention;

static int sees(const attention *a, int64_t i, int64_t k)
{
    if (!a->across && a->of_query[i] != a->of_key[k]) return 0;
    return !a->causal || k <= i;
}

static void attend(double *y, const double *q, const double *k, const double *v, int64_t N, int64_t M,
                   const attention *a)
{
    const int64_t C = a->H * a->D, K = a->Hkv * a->D;
    double *p = vv_calloc(N * M, sizeof *p);
    ck_assert_ptr_nonnull(p);
    for (int64_t h = 0; h < a->H; h++) {
        const int64_t own = (a->tiled ? h % a->Hkv : h / (a->H / a->Hkv)) * a->D;
        for (int64_t i = 0; i < N; i++)
            for (int64_t j = 0; j < M; j++) {
                double s = 0;
                for (int64_t d = 0; d < a->D; d++) s += q[i * C + h * a->D + d] * k[j * K + own + d];
                p[i * M + j] = sees(a, i, j) ? exp(a->scale * s) : 0;
            }
        for (int64_t i = 0; i < N; i++)
            for (int64_t d = 0; d < a->D; d++) {
                double o = 0;
                for (int64_t j = 0; j < M; j++) {
                    double sum = 0;
                    if (p[i * M + j] == 0) continue;
                    for (int64_t x = 0; x < (a->queries ? N : M); x++) sum += a->queries ? p[x * M + j] : p[i * M + x];
                    o += p[i * M + j] / sum * v[j * K + own + d];
                }
                y[i * C + h * a->D + d] = o;
            }
    }
    free(p);
}

/* segment of each of n rows from prefix sums */
static int64_t *by_sums(const double *cu, int64_t count, int64_t n)
{
    int64_t *of = vv_calloc(n, sizeof *of);
    ck_assert_ptr_nonnull(of);
    for (int64_t s = 0; s < count; s++)
        for (int64_t i = (int64_t)cu[s]; i < (int64_t)cu[s + 1]; i++) of[i] = s;
    return of;
}

/* ---- the decoder ---------------------------------------------------------------------------------------------------------------- */
#define LAYER "u1/caption/act/model.layers.0."
static void open_decoder(void) { pl_open("golden/decoder-micro"); }

static void decoder(attention a, const char *words)
{
    const char *key = LAYER "self_attn#context", *cu = "u1/caption/in/cu_seqlens";
    const int64_t N = pl_count(key) / 24;
    int64_t *of = by_sums(pl_of(cu), pl_count(cu) - 1, N);
    a.H = 4, a.Hkv = 2, a.D = 6, a.of_query = a.of_key = of;
    attend(pl_at(key), pl_of(LAYER "self_attn.q_norm#rotated"), pl_of(LAYER "self_attn.k_norm#rotated"),
           pl_of(LAYER "self_attn.v_proj"), N, N, &a);
    if (words) {
        pl_located(key, words);
    } else {
        for (int64_t i = 0; i < N * 24; i++) ck_assert_double_eq_tol(pl_at(key)[i], pl_of(key)[i], 1e-9);
        pl_fresh();
    }
    free(of);
}

START_TEST(of_decoder)
{
    const double due = 1 / sqrt(6);
    decoder((attention){.scale = due, .causal = 1}, NULL); /* the right form is the recording */
    decoder((attention){.scale = due}, "not causal");
    decoder((attention){.scale = due, .causal = 1, .across = 1}, "across pictures (sequences");
    decoder((attention){.scale = 1, .causal = 1}, "not scaled");
    decoder((attention){.scale = 1.0 / 6, .causal = 1}, "1/D");
    decoder((attention){.scale = 1 / sqrt(24), .causal = 1}, "the width of all heads");
    decoder((attention){.scale = due, .causal = 1, .tiled = 1}, "h % K, where h / (H / K)");
    decoder((attention){.scale = due, .causal = 1, .queries = 1}, "the softmax goes over queries");
}
END_TEST

START_TEST(gate)
{
    const char *key = LAYER "mlp#gated";
    const double *a = pl_of(LAYER "mlp.gate_proj"), *b = pl_of(LAYER "mlp.up_proj");
    for (int64_t i = 0; i < pl_count(key); i++) pl_at(key)[i] = 0.5 * a[i] * (1 + erf(a[i] * sqrt(0.5))) * b[i];
    pl_located(key, "GELU with erf in the gate, where SiLU is due");
    for (int64_t i = 0; i < pl_count(key); i++) pl_at(key)[i] = a[i] * b[i];
    pl_located(key, "no activation at all in the gate");
    for (int64_t i = 0; i < pl_count(key); i++) pl_at(key)[i] = b[i] / (1 + exp(-b[i])) * a[i];
    pl_located(key, "gate_proj and up_proj are exchanged");
}
END_TEST

START_TEST(rotary)
{
    const char *in = LAYER "self_attn.q_norm", *out = LAYER "self_attn.q_norm#rotated";
    memcpy(pl_at(out), pl_of(in), sizeof(double) * (size_t)pl_count(in));
    pl_located(out, "the rotary embedding is left out");
}
END_TEST

/* ---- the mask head -------------------------------------------------------------------------------------------------------------- */
#define HEAD "u1/segmentation/act/mask_head."
#define BLOCK HEAD "mask_decoder.transformer.layers."
static void open_masks(void) { pl_open("golden/segmentation-micro"); }

/* `shared`: keys are those of the instance's picture */
static void masks(const char *name, int64_t C, int shared, attention a, const char *words)
{
    char key[4][200];
    const char *const part[] = {"#context", ".q_proj", shared ? ".k_proj#pictures" : ".k_proj",
                                shared ? ".v_proj#pictures" : ".v_proj"};
    for (int i = 0; i < 4; i++) snprintf(key[i], sizeof key[i], BLOCK "%s%s", name, part[i]);
    const double *image_of = pl_of("u1/segmentation/in/image_of");
    const int64_t P = pl_count("u1/segmentation/in/image_of"), N = pl_count(key[0]) / C, M = pl_count(key[2]) / C,
                  sets = shared ? 3 : P;
    int64_t *of_query = vv_calloc(N, sizeof *of_query), *of_key = vv_calloc(M, sizeof *of_key);
    ck_assert(of_query && of_key);
    for (int64_t i = 0; i < N; i++) of_query[i] = shared ? (int64_t)image_of[i / (N / P)] : i / (N / P);
    for (int64_t k = 0; k < M; k++) of_key[k] = k / (M / sets);
    a.H = a.Hkv = 2, a.D = C / 2, a.of_query = of_query, a.of_key = of_key;
    attend(pl_at(key[0]), pl_of(key[1]), pl_of(key[2]), pl_of(key[3]), N, M, &a);
    if (words) {
        pl_located(key[0], words);
    } else {
        for (int64_t i = 0; i < N * C; i++) ck_assert_double_eq_tol(pl_at(key[0])[i], pl_of(key[0])[i], 1e-9);
        pl_fresh();
    }
    free(of_query);
    free(of_key);
}

START_TEST(of_masks)
{
    static const char *const name[] = {"0.self_attn", "0.cross_attn_token_to_image", "1.cross_attn_image_to_token"};
    for (int i = 0; i < 3; i++) {
        const int64_t C = i ? 8 : 16;
        const double due = 1 / sqrt((double)C / 2);
        masks(name[i], C, i == 1, (attention){.scale = due}, NULL);
        masks(name[i], C, i == 1, (attention){.scale = 1}, "not scaled");
        masks(name[i], C, i == 1, (attention){.scale = 1 / sqrt((double)C)}, "the width of all heads");
        masks(name[i], C, i == 1, (attention){.scale = due, .across = 1},
              "instances), where each must see only itself");
    }
    masks(name[0], 16, 0, (attention){.scale = 1 / sqrt(8), .queries = 1}, "the softmax goes over queries");
    masks(name[2], 8, 0, (attention){.scale = 1 / sqrt(4), .queries = 1}, "the softmax goes over queries");
}
END_TEST

/* sign times code W^T added to a projection's golden output */
static void project(const char *name, const char *code, double sign, const char *words)
{
    char key[200], weight[200];
    const int stem = (int)strcspn(name, "#");
    snprintf(key, sizeof key, BLOCK "%s", name);
    snprintf(weight, sizeof weight, "mask_head.mask_decoder.transformer.layers.%.*s.weight", stem, name);
    const vv_st_entry *e = vv_golden_weight(&pl_golden, &pl_golden.entry[pl_find(key)], weight);
    double *w = NULL;
    const double *x = pl_of(code);
    ck_assert_ptr_nonnull(e);
    VVT_OK(vv_entry_doubles(&w, pl_golden.path, e, err));
    const int64_t O = e->shape[0], D = e->shape[1], rows = pl_count(code) / D;
    for (int64_t i = 0; i < pl_count(key); i++)
        for (int64_t k = 0; k < D; k++) pl_at(key)[i] += sign * x[i / O % rows * D + k] * w[i % O * D + k];
    free(w);
    pl_located(key, words);
}

START_TEST(positions)
{
    const char *pixels = HEAD "prompt_encoder.pe_layer", *tokens = HEAD "mask_decoder#tokens";
    project("0.cross_attn_token_to_image.k_proj#pictures", pixels, -1, "the position of pixels");
    project("0.cross_attn_token_to_image.k_proj#pictures", pixels, -1, "not added before the projection");
    project("0.cross_attn_token_to_image.q_proj", tokens, -1, "the position of tokens");
    project("1.self_attn.k_proj", tokens, -1, "not added before the projection");
    project("1.cross_attn_image_to_token.q_proj", pixels, -1, "the position of pixels");
    project("0.self_attn.q_proj", tokens, 1, "is added where none is due"); /* the first block has none */
    project("1.cross_attn_token_to_image.v_proj", pixels, 1, "is added where none is due");
}
END_TEST

static Suite *suite(void)
{
    TCase *decoder_case, *masks_case = tcase_create("masks");
    Suite *s = vvt_suite("fault_heads", &decoder_case);
    tcase_add_unchecked_fixture(decoder_case, open_decoder, pl_close);
    tcase_add_test(decoder_case, of_decoder);
    tcase_add_test(decoder_case, gate);
    tcase_add_test(decoder_case, rotary);
    tcase_add_unchecked_fixture(masks_case, open_masks, pl_close);
    tcase_add_test(masks_case, of_masks);
    tcase_add_test(masks_case, positions);
    suite_add_tcase(s, masks_case);
    return s;
}
VVT_MAIN(suite)
