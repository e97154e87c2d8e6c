/* The segmentation head against recordings of plain PyTorch in float64 (golden/torch/README.md), which transformers' SamModel agrees
 * with: every activation and gradient that they hold. */
#include "model/mask.h"

#include "io/hf_dir.h"

static const char *const FILES[] = {"golden/torch/mask-micro.safetensors", "golden/torch/mask-single.safetensors"};
static const int HOLDS_ALL_DW[] = {1, 0}, ACTIVATIONS[] = {52, 13};
static const double LIMIT = sizeof(vv_real) == 8 ? 1e-11 : 1e-5;

/* Truly zero (mask.h), judged against the size of what cancels: "gauges" of the file. All others are judged by their own size. */
static const char *const ZERO[] = {
    "mask_head.mask_decoder.transformer.layers.0.self_attn.k_proj.bias",
    "mask_head.mask_decoder.transformer.layers.0.cross_attn_token_to_image.k_proj.bias",
    "mask_head.mask_decoder.transformer.layers.0.cross_attn_image_to_token.k_proj.bias",
    "mask_head.mask_decoder.transformer.layers.1.self_attn.k_proj.bias",
    "mask_head.mask_decoder.transformer.layers.1.cross_attn_token_to_image.k_proj.bias",
    "mask_head.mask_decoder.transformer.layers.1.cross_attn_image_to_token.k_proj.bias",
    "mask_head.mask_decoder.transformer.final_attn_token_to_image.k_proj.bias",
};

typedef struct {
    mask_case k;
    vv_st *st;
    json_t *gauges;
    int activations, differ; /* compared, beyond the limit */
    double worst;
    char first[VV_NAME_MAX + 40];
} recording;

static const vv_st_entry *find(const recording *r, const char *kind, const char *name)
{
    char key[VV_NAME_MAX + 16];
    snprintf(key, sizeof key, "u1/mask/%s/%s", kind, name);
    return vv_st_find(r->st, key);
}

static vv_real *read_real(const recording *r, const char *kind, const char *name, int64_t n)
{
    const vv_st_entry *e = find(r, kind, name);
    ck_assert_msg(e && e->n == n, "%s/%s: %lld numbers expected", kind, name, (long long)n);
    vv_real *v = vv_calloc(n, sizeof *v);
    VVT_OK(vv_st_read_real(r->st, e, v, err));
    return v;
}

static void open_recording(recording *r, const char *path)
{
    *r = (recording){0};
    VVT_OK(vv_st_open(&r->st, vvt_root(path), err));
    const char *gauges = vv_st_metadata(r->st, "gauges"), *head = vv_st_metadata(r->st, "mask_head");
    ck_assert(gauges && head && atof(vv_st_metadata(r->st, "margin")) >= 3e-3);
    json_t *o = NULL;
    VVT_OK(vv_json_parse(&r->gauges, gauges, strlen(gauges), "gauges", err));
    VVT_OK(vv_json_parse(&o, head, strlen(head), "mask_head", err));
    const vv_st_entry *f = find(r, "in", "features"), *of = find(r, "in", "image_of"), *c = find(r, "in", "cotangent");
    ck_assert(f && of && c && f->ndim == 4 && of->n <= 7 && c->ndim == 3);
    vv_mask_config config = {.width = f->shape[3], .depth = 1};
    VVT_OK(vv_mask_config_parse(&config, o, "mask_head", err));
    json_decref(o);
    int64_t wide[8];
    int32_t image_of[8];
    VVT_OK(vv_st_read_i64(r->st, of, wide, err));
    for (int64_t p = 0; p < of->n; p++) image_of[p] = (int32_t)wide[p];
    image_of[of->n] = -1;
    mask_start(&r->k, config, f->shape[0], f->shape[1], f->shape[2], image_of);
    free(r->k.c);
    r->k.c = read_real(r, "in", "cotangent", c->n);
    r->k.Hh = c->shape[1];
    r->k.Ww = c->shape[2];
    for (int64_t p = 0; p < r->k.ps.n; p++) {
        vv_tensor *x = r->k.ps.at[p];
        vv_real *v = read_real(r, x == r->k.features || x == r->k.text ? "in" : "w", x->name, x->n);
        mask_put(x, v);
        free(v);
    }
}

static void close_recording(recording *r)
{
    mask_finish(&r->k);
    json_decref(r->gauges);
    vv_st_close(r->st);
}

static void judge(recording *r, const char *kind, const char *name, const vv_real *got, int64_t n, double floor)
{
    vv_real *want = read_real(r, kind, name, n);
    const double d = mask_distance(got, want, n, floor);
    if (!(d <= LIMIT) && !r->differ++) snprintf(r->first, sizeof r->first, "%s/%s: %.2e", kind, name, d);
    r->worst = fmax(r->worst, d);
    free(want);
}

static void on_event(void *ctx, vv_event event, const vv_tensor *x)
{
    recording *r = ctx;
    char name[VV_NAME_MAX];
    const vv_st_entry *e = event == VV_EVENT_ACT ? find(r, "act", vv_name(x, name)) : NULL;
    if (!e) return;
    ck_assert_int_eq(e->ndim, x->ndim);
    for (int i = 0; i < x->ndim; i++) ck_assert_msg(e->shape[i] == x->dim[i], "%s: other shape", name);
    vv_real *v = tower_get(x->data, x->n);
    judge(r, "act", name, v, x->n, 0);
    r->activations++;
    free(v);
}

static int is_zero(const char *name)
{
    for (size_t i = 0; i < sizeof ZERO / sizeof *ZERO; i++)
        if (!strcmp(name, ZERO[i])) return 1;
    return 0;
}

static double gauge(const recording *r, const char *name)
{
    char key[VV_NAME_MAX + 8];
    snprintf(key, sizeof key, "dw/%s", name);
    const json_t *g = json_object_get(r->gauges, key);
    ck_assert_msg(json_is_real(g), "%s", key);
    return json_real_value(g);
}

/* The gradients: those of the file, and in a file that holds them all no others. */
static void judge_gradients(recording *r, int all)
{
    for (int64_t p = 0; p < r->k.ps.n; p++) {
        const vv_tensor *x = r->k.ps.at[p];
        const char *kind = x == r->k.features || x == r->k.text ? "dact" : "dw";
        const int there = find(r, kind, x->name) != NULL;
        ck_assert_msg(there ? x->has_grad : !all || !x->has_grad, "%s: a gradient on one side only", x->name);
        if (!there) continue;
        vv_real *g = tower_get(x->grad, x->n);
        judge(r, kind, x->name, g, x->n, is_zero(x->name) ? gauge(r, x->name) : 0);
        free(g);
    }
}

static void compare(recording *r, int all)
{
    r->k.trace = on_event;
    r->k.trace_ctx = r;
    mask_out o = mask_run(&r->k, 1);
    judge_gradients(r, all);
    const json_t *g = json_object_get(r->gauges, "loss/total");
    const vv_real loss = (vv_real)o.loss;
    judge(r, "loss", "total", &loss, 1, json_real_value(g));
    mask_out_free(&o);
}

START_TEST(agrees)
{
    recording r;
    open_recording(&r, FILES[_i]);
    compare(&r, HOLDS_ALL_DW[_i]);
    ck_assert_msg(!r.differ, "%s: %d tensors beyond %.0e, first %s; worst %.2e", FILES[_i], r.differ, LIMIT, r.first,
                  r.worst);
    ck_assert_int_eq(r.activations, ACTIVATIONS[_i]);
    close_recording(&r);
}
END_TEST

/* One matrix is one per cent off: the first tensor that feels it is its own output. */
START_TEST(a_wrong_weight_shows)
{
    static const char name[] = "mask_head.mask_decoder.transformer.layers.0.cross_attn_image_to_token.v_proj";
    char weight[128];
    recording r;
    open_recording(&r, FILES[0]);
    snprintf(weight, sizeof weight, "%s.weight", name);
    vv_tensor *x = vv_param_find(&r.k.ps, weight);
    ck_assert_ptr_nonnull(x);
    vv_real *v = tower_get(x->data, x->n);
    for (int64_t i = 0; i < x->n; i++) v[i] *= (vv_real)1.01;
    mask_put(x, v);
    compare(&r, 1);
    ck_assert(r.differ > 10 && !strncmp(r.first, "act/", 4) && !strncmp(r.first + 4, name, strlen(name)));
    free(v);
    close_recording(&r);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("segmentation head, torch", &tc);
    tcase_add_loop_test(tc, agrees, 0, 2);
    tcase_add_test(tc, a_wrong_weight_shows);
    return s;
}
VVT_MAIN(suite)
