/* The cases of the language side, the heads, the losses and the optimizer: complete, in order, without ties; logits, tokens and embeddings. */
#include <unistd.h>

#include "golden/made.h"
#include "golden/margins.h"

/* ---- order of execution --------------------------------------------------------------------------------------------------- */
static void in_order(const golden *g, const char *const *keys)
{
    int last = -1;
    for (; *keys; keys++) {
        const int at = gf_place(g->index, *keys);
        ck_assert_msg(at > last, "%s: %s", *keys, at < 0 ? "is not there" : "comes too early");
        last = at;
    }
}

static const struct {
    const char *name, *keys[20];
} orders[] = {
    {"decoder-micro",
     {"u1/caption/in/ids", "u1/caption/in/labels", "u1/caption/in/cu_seqlens", "u1/caption/act/model.embed_tokens",
      "u1/caption/act/model.layers.0.input_layernorm", "u1/caption/act/model.layers.0.self_attn.q_norm",
      "u1/caption/act/model.layers.0", "u1/caption/act/model.layers.1", "u1/caption/act/model.norm",
      "u1/caption/act/lm_head", "u1/caption/loss/ce", "u1/caption/loss/ce.token", "u1/caption/loss/total",
      "u1/caption/dact/model.norm", "u1/caption/dact/model.layers.0", "u1/caption/dw/model.embed_tokens.weight",
      "u1/caption/dw/model.layers.1.mlp.down_proj.weight", "u1/caption/dw/model.norm.weight"}},
    {"decoder-untied", {"u1/caption/act/lm_head", "u1/caption/loss/total", "u1/caption/dw/lm_head.weight"}},
    {"embed-micro",
     {"u1/embed/in/ids", "u1/embed/act/embedding", "u1/embed/loss/total", "u1/embed/dw/model.norm.weight"}},
    {"generate-micro",
     {"u1/generate/in/image.0", "u1/generate/in/prompt.0", "u1/generate/act/logits.0", "u1/generate/act/ids.0",
      "u1/generate/in/prompt.1", "u1/generate/act/ids.1"}},
    {"caption-micro",
     {"u1/caption/in/image.0", "u1/caption/in/image.2", "u1/caption/in/grid_thw", "u1/caption/in/ids",
      "u1/caption/in/pixel_values", "u1/caption/act/visual.blocks.0", "u1/caption/act/projector.norm",
      "u1/caption/act/projector.fc2", "u1/caption/act/model.embed_tokens", "u1/caption/act/model.norm",
      "u1/caption/loss/ce", "u1/caption/dw/visual.patch_embed.proj.weight", "u1/caption/dw/projector.fc1.weight",
      "u1/caption/dw/model.embed_tokens.weight"}},
    {"depth-micro",
     {"u1/depth/in/image.0", "u1/depth/in/disparity", "u1/depth/in/mask", "u1/depth/in/pixel_values",
      "u1/depth/act/depth_head.projects.0", "u1/depth/act/depth_head.scratch.output_conv2.3", "u1/depth/act/medians",
      "u1/depth/loss/ssi", "u1/depth/loss/gm", "u1/depth/loss/total", "u1/depth/dw/visual.patch_embed.proj.weight",
      "u1/depth/dw/depth_head.scratch.output_conv2.2.weight"}},
    {"segmentation-micro",
     {"u1/segmentation/in/image.2", "u1/segmentation/in/text", "u1/segmentation/act/visual.blocks.1",
      "u1/segmentation/act/mask_head.image_encoder.neck.3", "u1/segmentation/act/mask_head.mask_decoder",
      "u1/segmentation/act/masks", "u1/segmentation/loss/bce", "u1/segmentation/loss/dice",
      "u1/segmentation/loss/total", "u1/segmentation/dact/masks", "u1/segmentation/dw/visual.patch_embed.proj.weight",
      "u1/segmentation/dw/mask_head.text_proj.weight", "u1/segmentation/act/masks#bits"}},
    {"updates",
     {"u1/update/in/lr", "u1/caption/dw/visual.patch_embed.proj.weight", "u1/caption/in/image.0", "u1/caption/loss/ce",
      "u1/depth/in/disparity", "u1/depth/loss/total", "u1/segmentation/in/text", "u1/segmentation/loss/total",
      "u1/update/loss/total", "u1/update/dw/visual.patch_embed.proj.weight", "u1/update/loss/grad_norm",
      "u1/update/dstep/visual.patch_embed.proj.weight", "u2/update/w/visual.patch_embed.proj.weight",
      "u2/update/m/visual.patch_embed.proj.weight", "u2/update/dstep/visual.patch_embed.proj.weight",
      "u3/update/v/visual.patch_embed.proj.weight", "u10/update/w/visual.patch_embed.proj.weight",
      "u10/update/dstep/model.norm.weight"}}};

START_TEST(complete_and_in_order)
{
    golden g = make(orders[_i].name, "order.safetensors", NULL);
    in_order(&g, orders[_i].keys);
    for (int64_t i = 0; i < vv_st_count(g.st); i++) { /* all of it is finite */
        const vv_st_entry *e = vv_st_at(g.st, i);
        double *v = vv_dtype_is_real(e->dtype) ? gf_values(g.st, e->name) : NULL;
        for (int64_t k = 0; v && k < e->n; k++) ck_assert_msg(isfinite(v[k]), "%s is not finite", e->name);
        free(v);
    }
    close_golden(&g);
}
END_TEST

/* ---- language ------------------------------------------------------------------------------------------------------------- */
static double cross_entropy(const double *z, int64_t V, int64_t target)
{
    double top = z[0], sum = 0;
    for (int64_t v = 1; v < V; v++) top = fmax(top, z[v]);
    for (int64_t v = 0; v < V; v++) sum += exp(z[v] - top);
    /* cppcheck-suppress invalidFunctionArg ; V > 0, so that the sum is at least 1 */
    return top + log(sum) - z[target];
}

START_TEST(losses_follow_from_logits)
{
    static const char *const names[] = {"decoder-micro", "decoder-untied"};
    golden g = make(names[_i], "decoder.safetensors", NULL);
    double *z = gf_values(g.st, "u1/caption/act/lm_head"), token = 0, sample = 0, tokens = 0, samples = 0, extreme = 0;
    int32_t *labels = ints(&g, "u1/caption/in/labels"), *cu = ints(&g, "u1/caption/in/cu_seqlens");
    const int64_t S = count(&g, "u1/caption/in/cu_seqlens") - 1, V = count(&g, "u1/caption/act/lm_head") / cu[S];
    for (int64_t s = 0; s < S; s++) {
        double sum = 0, n = 0;
        for (int64_t i = cu[s] + 1; i < cu[s + 1]; i++)
            if (labels[i] != VV_IGNORED) sum += cross_entropy(z + (i - 1) * V, V, labels[i]), n++;
        token += sum;
        tokens += n;
        sample += n > 0 ? sum / n : 0;
        samples += n > 0;
    }
    ck_assert(samples < S); /* one token, or nothing to learn */
    sample /= samples;
    token /= tokens;
    agrees(&g, "u1/caption/loss/ce", &sample, 1, 0);
    agrees(&g, "u1/caption/loss/ce.token", &token, 1, 0);
    sample += token;
    agrees(&g, "u1/caption/loss/total", &sample, 1, 0);
    for (int64_t i = 0; i < cu[S] * V; i++) extreme = fmax(extreme, fabs(z[i]));
    ck_assert(_i == 0 || extreme > 80);
    free(z);
    free(labels);
    free(cu);
    close_golden(&g);
}
END_TEST

START_TEST(tokens_are_the_largest_logits)
{
    golden g = make("generate-micro", "generate.safetensors", NULL);
    for (int p = 0; p < 2; p++) {
        double *z = gf_values(g.st, keyf("u1/generate/act/logits.%d", p));
        int32_t *ids = ints(&g, keyf("u1/generate/act/ids.%d", p));
        const int64_t n = count(&g, keyf("u1/generate/act/ids.%d", p)),
                      V = count(&g, keyf("u1/generate/act/logits.%d", p)) / n;
        for (int64_t i = 0; i < n; i++)
            for (int64_t v = 0; v < V; v++) ck_assert(v == ids[i] || z[i * V + v] < z[i * V + ids[i]]);
        free(z);
        free(ids);
    }
    close_golden(&g);
}
END_TEST

START_TEST(embeddings_have_length_one)
{
    golden g = make("embed-micro", "embed.safetensors", NULL);
    double *rows = gf_values(g.st, "u1/embed/act/model.norm");
    int32_t *cu = ints(&g, "u1/embed/in/cu_seqlens");
    const int64_t S = count(&g, "u1/embed/in/cu_seqlens") - 1, C = count(&g, "u1/embed/act/embedding") / S,
                  D = count(&g, "u1/embed/act/embedding.cut") / S;
    ck_assert_int_lt(D, C);
    for (int cut = 0; cut < 2; cut++) {
        const int64_t width = cut ? D : C;
        double *want = vv_calloc(S * width, sizeof *want);
        for (int64_t s = 0; s < S; s++) {
            const double *last = rows + (cu[s + 1] - 1) * C;
            double sum = 0;
            for (int64_t i = 0; i < width; i++) sum += last[i] * last[i];
            for (int64_t i = 0; i < width; i++) want[s * width + i] = last[i] / sqrt(sum);
        }
        agrees(&g, cut ? "u1/embed/act/embedding.cut" : "u1/embed/act/embedding", want, S * width, 0);
        free(want);
    }
    free(rows);
    free(cu);
    close_golden(&g);
}
END_TEST

/* ---- ties ------------------------------------------------------------------------------------------------------------------- */
START_TEST(margins_see_ties)
{
    enum { H = 3, W = 5, N = H * W };
    vv_real p[N], d[N];
    for (int i = 0; i < N; i++) {
        p[i] = (vv_real)((7 * i) % N) + (vv_real)0.013 * (vv_real)(i * i); /* no two differences alike */
        d[i] = (vv_real)((4 * i + 1) % N) + (vv_real)0.017 * (vv_real)(i * i % 11);
    }
    vv_margins m = vv_margins_begin();
    vv_margins_depth(&m, p, d, NULL, 1, H, W, 2);
    ck_assert_msg(m.least > VV_MARGIN && m.least < 1, "%g", m.least);
    int median = 0;
    for (int i = 0; i < N; i++) {
        int below = 0;
        for (int j = 0; j < N; j++) below += p[j] < p[i];
        if (below == (N - 1) / 2) median = i;
    }
    p[(median + 3) % N] = p[median] + (vv_real)1e-4; /* almost the median */
    m = vv_margins_begin();
    vv_margins_depth(&m, p, d, NULL, 1, H, W, 2);
    ck_assert(m.least < VV_MARGIN);
    ck_assert_str_eq(m.where, "the median of a prediction");
    const vv_real z[6] = {1, 3, 2, -5, (vv_real)4.0001, 4};
    m = vv_margins_begin();
    vv_margins_argmax(&m, "logits", z, 2, 3);
    ck_assert(m.least > 1e-5 && m.least < 1e-4);
    vv_case c = {.path = "some.json", .seed = 7}; /* a candidate may be there, the truth not */
    vv_error why = {0};
    VVT_OK(vv_margins_check(&m, &c, VV_MARGIN, err));
    c.truth = 1;
    vvt_expect_error(&why, vv_margins_check(&m, &c, VV_MARGIN, &why), VV_FILE, "some.json", "seed 7", "logits", NULL);
    VVT_OK(vv_margins_check(&m, &c, 1e-5, err));
}
END_TEST

/* A truth with a seed that comes near a tie is refused, with the place; a candidate never: one wants to see where it is wrong. */
START_TEST(ties_are_refused)
{
    json_t *root = NULL;
    VVT_OK(vv_json_load(&root, case_file("depth-micro"), 1 << 20, err));
    json_object_set_new(root, "seed", json_integer(2));
    char *config = vv_strdup(vvt_root("data/configs/nano.json")), here[1024];
    if (*config != '/') {
        char *whole = vv_asprintf("%s/%s", getcwd(here, sizeof here), config);
        free(config);
        config = whole;
    }
    json_object_set_new(root, "config", json_string(config));
    char *text = json_dumps(root, 0);
    const char *path = vvt_write("tied.json", text, strlen(text));
    const vv_golden_options o = {.out = vvt_path("tied.safetensors")};
    if (sizeof(vv_real) == sizeof(double)) {
        vv_error why = {0};
        vvt_expect_error(&why, vv_golden_make(path, &o, &why), VV_FILE, "tied.json", "seed 2", "depth_head.",
                         "from a tie", "take another seed", NULL);
        ck_assert_int_ne(access(o.out, F_OK), 0);
    } else {
        VVT_OK(vv_golden_make(path, &o, err));
    }
    golden other = make("adamw", "other.safetensors", NULL);
    const vv_golden_options emulated = {.out = o.out, .precision = VVB_BF16, .placement = VVB_BOTH},
                            from = {.out = o.out, .from = vvt_path("other.safetensors")};
    VVT_OK(vv_golden_make(path, &emulated, err));
    VVT_OK(vv_golden_make(path, &from, err));
    const vv_golden_options resync = {.out = vvt_path("synced.safetensors"), .resync = o.out};
    VVT_OK(vv_golden_make(path, &resync, err));
    close_golden(&other);
    free(text);
    free(config);
    json_decref(root);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("cases of the language side", &tc);
    tcase_add_loop_test(tc, complete_and_in_order, 0, sizeof orders / sizeof *orders);
    tcase_add_loop_test(tc, losses_follow_from_logits, 0, 2);
    tcase_add_test(tc, tokens_are_the_largest_logits);
    tcase_add_test(tc, embeddings_have_length_one);
    tcase_add_test(tc, margins_see_ties);
    tcase_add_test(tc, ties_are_refused);
    return s;
}
VVT_MAIN(suite)
