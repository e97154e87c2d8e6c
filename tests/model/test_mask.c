/* The segmentation head: its positional code, its gradients, and that what instances share changes nothing. */
#include "model/mask.h"

static const double LIMIT = sizeof(vv_real) == 8 ? 1e-12 : 1e-5; /* of two orders of the same sums */

static const int32_t TWO_NONE_ONE[] = {0, 0, 2, -1};

/* ---- what passes by ------------------------------------------------------------------------------------------------------ */
typedef struct {
    const char *name; /* the end of an activation's name */
    vv_real *value;
    int64_t n, events;
} wanted;

static void on_event(void *ctx, vv_event event, const vv_tensor *x)
{
    wanted *w = ctx;
    char full[VV_NAME_MAX];
    const size_t n = strlen(vv_name(x, full)), end = strlen(w->name);
    w->events++;
    if (event != VV_EVENT_ACT || n < end || strcmp(full + n - end, w->name)) return;
    free(w->value);
    w->value = tower_get(x->data, w->n = x->n);
}

/* the activation of that name, in *w; free(w->value) */
static void see(mask_case *k, wanted *w, const char *name)
{
    *w = (wanted){.name = name};
    k->trace = on_event;
    k->trace_ctx = w;
    mask_out o = mask_run(k, 0);
    mask_out_free(&o);
    k->trace = NULL;
    k->trace_ctx = NULL;
    ck_assert_msg(w->value != NULL, "%s", name);
}

/* ---- positional code ----------------------------------------------------------------------------------------------------- */
/* At the opposite place of the grid the angle has the other sign: sin is odd, cos even, to the bit. And rows of norm sqrt(D/2),
 * by the angle of the formula. */
START_TEST(positional_code)
{
    mask_case k;
    mask_start(&k, mask_config("{" MASK_SMALL "}"), 1, 7, 10, (const int32_t[]){0, -1});
    const int64_t D = 32, half = D / 2, h = k.h, w = k.w;
    wanted pe;
    see(&k, &pe, "prompt_encoder.pe_layer");
    ck_assert_int_eq(pe.n, h * w * D);
    vv_real *G = tower_get(k.m->gaussian->data, D);
    for (int64_t i = 0; i < h * w; i++) {
        const vv_real *here = pe.value + i * D, *there = pe.value + (h * w - 1 - i) * D;
        const double x = (((double)(i % w) + 0.5) / (double)w - 0.5) * 2,
                     y = (((double)(i / w) + 0.5) / (double)h - 0.5) * 2;
        double norm = 0;
        for (int64_t c = 0; c < half; c++) {
            const double z = 2 * acos(-1) * (x * (double)G[c] + y * (double)G[half + c]);
            ck_assert(here[c] == -there[c] && here[half + c] == there[half + c]);
            ck_assert_double_le(fabs((double)here[c] - sin(z)), 2e-14 + VV_U);
            ck_assert_double_le(fabs((double)here[half + c] - cos(z)), 2e-14 + VV_U);
            norm += (double)here[c] * (double)here[c] + (double)here[half + c] * (double)here[half + c];
        }
        ck_assert_double_le(fabs(norm - (double)half), 1e-5);
    }
    free(G);
    free(pe.value);
    mask_finish(&k);
}
END_TEST

/* ---- gradients ------------------------------------------------------------------------------------------------------------ */
#ifdef VV_DOUBLE
/* how near to 0 the inputs of the ReLUs are */
static double margin(mask_case *k)
{
    static const char *const input[] = {"layers.0.mlp.lin1", "layers.1.mlp.lin1", "mlps.0.layers.0", "mlps.0.layers.1",
                                        "text_proj.0"};
    double least = HUGE_VAL;
    for (int i = 0; i < (k->m->config.text_proj == VV_TEXT_MLP ? 5 : 4); i++) {
        if (i == 1 && k->m->config.blocks == 1) continue;
        wanted w;
        see(k, &w, input[i]);
        for (int64_t j = 0; j < w.n; j++) least = fmin(least, fabs(w.value[j]));
        free(w.value);
    }
    return least;
}

static double moved(mask_case *k, vv_tensor *x, vv_real *v, int64_t at, double h)
{
    const vv_real keep = v[at];
    v[at] += h;
    mask_put(x, v);
    mask_out o = mask_run(k, 0);
    v[at] = keep;
    mask_put(x, v);
    mask_out_free(&o);
    return o.loss;
}

static const char *const HEADS[] = {
    "{" MASK_SMALL "}",
    "{" MASK_SMALL ", \"mask_tokens\": 1, \"iou_head\": false, \"text_proj\": \"mlp\", \"blocks\": 1}",
    "{\"dim\": 32, \"heads\": 4, \"mlp\": 12, \"text_proj\": \"none\", \"text_scale\": 0.5}",
};

/* parameters that are there for checkpoints only */
static int unread(const char *name)
{
    static const char *const part[] = {"gaussian",        "point_embeddings", "not_a_point", "mask_downscaling",
                                       "prediction_head", "mlps.1",           "mlps.2",      "mlps.3"};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        if (strstr(name, part[i])) return 1;
    return 0;
}

static void check_gradient(mask_case *k, vv_tensor *x)
{
    enum { SAMPLES = 8 };
    const double h = 1e-5;
    vv_real *v = tower_get(x->data, x->n), *grad = tower_get(x->grad, x->n);
    double d2 = 0, g2 = 0;
    for (int s = 0; s < SAMPLES; s++) {
        const int64_t i = (int64_t)(vv_random_uniform(3, vv_stream(x->name), (uint64_t)s) * (double)x->n);
        const double fd = (moved(k, x, v, i, h) - moved(k, x, v, i, -h)) / (2 * h), g = grad[i];
        d2 += (fd - g) * (fd - g);
        g2 += g * g;
    }
    const double scale = mask_zero_gradient(x->name) ? 1 : sqrt(g2);
    ck_assert_msg(scale > 0 && sqrt(d2) <= 1e-6 * scale, "%s: %.2e of %.2e", x->name, sqrt(d2), scale);
    free(v);
    free(grad);
}

/* Eight numbers of each parameter, of the features and of the texts. Moving one by h = 1e-5 moves the input of a ReLU by less than
 * 100 h: no kink between the two ends when all are further from 0. */
START_TEST(finite_differences)
{
    mask_case k;
    mask_start(&k, mask_config(HEADS[_i]), 3, 2, 3, TWO_NONE_ONE);
    const double least = margin(&k);
    ck_assert_msg(least > 1e-3, "an input of a ReLU is %g", least);
    mask_out o = mask_run(&k, 1);
    for (int64_t p = 0; p < k.ps.n; p++) {
        vv_tensor *x = k.ps.at[p];
        ck_assert_msg(x->has_grad == !unread(x->name), "%s: gradient: %d", x->name, x->has_grad);
        if (x->has_grad) {
            check_gradient(&k, x);
        } else if (x != k.m->gaussian) {
            vv_real *v = tower_get(x->data, x->n);
            ck_assert_msg(moved(&k, x, v, x->n / 2, 0.5) == o.loss, "%s has an effect and no gradient", x->name);
            free(v);
        }
    }
    mask_out_free(&o);
    mask_finish(&k);
}
END_TEST
#endif

/* ---- instances and pictures ------------------------------------------------------------------------------------------------ */
static const int32_t MANY[] = {0, 0, 1, 3, 3, 3, -1};

/* the gradients of all parameters, one after the other: zeros where there is none */
static vv_real *gradients(const mask_case *k, int64_t *n)
{
    *n = 0;
    for (int64_t p = 0; p < k->ps.n; p++) *n += k->ps.at[p]->n;
    vv_real *g = vv_calloc(*n, sizeof *g);
    for (int64_t p = 0, at = 0; p < k->ps.n; at += k->ps.at[p++]->n)
        if (k->ps.at[p]->has_grad) vvb_download(g + at, k->ps.at[p]->grad, k->ps.at[p]->n * (int64_t)sizeof *g);
    return g;
}

/* instance p of `all` with its picture alone; the sums of the gradients go into *sum_features and sum (of the head's parameters) */
static void alone(const mask_case *all, const mask_out *o, int64_t p, vv_real *sum_features, vv_real *sum)
{
    mask_case k;
    const int64_t pixels = all->h * all->w, C = all->m->config.width, d = all->m->config.text_dim,
                  picture = all->image_of[p], area = all->Hh * all->Ww, mask = 16 * pixels;
    mask_start(&k, all->m->config, 1, all->h, all->w, (const int32_t[]){0, -1});
    vv_real *f = tower_get(all->features->data, all->features->n), *x = tower_get(all->text->data, all->text->n);
    mask_put(k.features, f + picture * pixels * C);
    mask_put(k.text, x + p * d);
    memcpy(k.c, all->c + p * area, (size_t)area * sizeof *k.c);
    mask_out one = mask_run(&k, 1);
    ck_assert_double_le(mask_distance(one.logits, o->logits + p * mask, mask, 0), LIMIT);
    ck_assert_double_le(mask_distance(one.resized, o->resized + p * area, area, 0), LIMIT);
    int64_t n;
    vv_real *g = gradients(&k, &n);
    const int64_t head = n - k.features->n - k.text->n;
    for (int64_t i = 0; i < head; i++) sum[i] += g[i];
    for (int64_t i = 0; i < k.features->n; i++) sum_features[picture * pixels * C + i] += g[head + i];
    vv_real *dx = tower_get(all->text->grad, all->text->n);
    ck_assert_double_le(mask_distance(g + head + k.features->n, dx + p * d, d, 0), LIMIT);
    free(dx);
    free(g);
    free(f);
    free(x);
    mask_out_free(&one);
    mask_finish(&k);
}

/* Six instances of four pictures in one pass, one picture with none: masks are those of one at a time, gradients their sums. */
START_TEST(together_or_alone)
{
    mask_case k;
    int64_t n;
    mask_start(&k, mask_config("{" MASK_SMALL "}"), 4, 3, 2, MANY);
    mask_out o = mask_run(&k, 1);
    vv_real *g = gradients(&k, &n), *sum = vv_calloc(n, sizeof *sum), *f = vv_calloc(k.features->n, sizeof *f);
    for (int64_t p = 0; p < k.P; p++) alone(&k, &o, p, f, sum);
    int64_t at = 0;
    for (int64_t p = 0; p < k.m->part.n; at += k.ps.at[p++]->n) {
        const vv_tensor *x = k.ps.at[p];
        if (!x->has_grad) continue;
        const double floor = mask_zero_gradient(x->name) ? 1 : 0;
        ck_assert_msg(mask_distance(sum + at, g + at, x->n, floor) <= 10 * LIMIT, "%s: %.2e", x->name,
                      mask_distance(sum + at, g + at, x->n, floor));
    }
    ck_assert_double_le(mask_distance(f, g + at, k.features->n, 0), 10 * LIMIT);
    const int64_t picture = k.features->n / k.B;
    for (int64_t i = 0; i < picture; i++) /* the third has no instance */
        ck_assert(g[at + 2 * picture + i] == 0 && g[at + 3 * picture] != 0);
    free(g);
    free(sum);
    free(f);
    mask_out_free(&o);
    mask_finish(&k);
}
END_TEST

START_TEST(threads)
{
    mask_case k;
    mask_start(&k, mask_config("{\"dim\": 64, \"text_dim\": 40}"), 4, 9, 11, MANY);
    mask_out first = {0};
    vv_real *g_first = NULL;
    for (int i = 0; i < 4; i++) {
        static const int count[] = {1, 2, 3, 5};
        int64_t n;
        vvb_init(count[i]);
        mask_out o = mask_run(&k, 1);
        vv_real *g = gradients(&k, &n);
        if (i) {
            ck_assert(!memcmp(o.logits, first.logits, (size_t)o.n_logits * sizeof *o.logits) && o.loss == first.loss);
            ck_assert(!memcmp(g, g_first, (size_t)n * sizeof *g));
            mask_out_free(&o);
            free(g);
        } else {
            first = o;
            g_first = g;
        }
    }
    vvb_init(0);
    mask_out_free(&first);
    free(g_first);
    mask_finish(&k);
}
END_TEST

/* ---- texts ------------------------------------------------------------------------------------------------------------------ */
/* "none" multiplies: the same masks as a linear layer that is a multiple of the identity */
START_TEST(text_as_it_is)
{
    mask_case a, b;
    const char *none = "{\"dim\": 16, \"heads\": 2, \"mlp\": 8, \"text_proj\": \"none\", \"text_scale\": 0.75}",
               *linear = "{\"dim\": 16, \"heads\": 2, \"mlp\": 8, \"text_dim\": 16}";
    mask_start(&a, mask_config(none), 3, 2, 3, TWO_NONE_ONE);
    mask_start(&b, mask_config(linear), 3, 2, 3, TWO_NONE_ONE);
    vv_real *w = vv_calloc(256, sizeof *w);
    mask_put(b.m->text[0].bias, w);
    for (int i = 0; i < 16; i++) w[17 * i] = (vv_real)0.75;
    mask_put(b.m->text[0].weight, w);
    mask_out x = mask_run(&a, 1), y = mask_run(&b, 1);
    ck_assert_double_le(mask_distance(x.logits, y.logits, x.n_logits, 0), LIMIT);
    vv_real *da = tower_get(a.text->grad, a.text->n), *db = tower_get(b.text->grad, b.text->n);
    ck_assert_double_le(mask_distance(da, db, a.text->n, 0), LIMIT);
    free(w);
    free(da);
    free(db);
    mask_out_free(&x);
    mask_out_free(&y);
    mask_finish(&a);
    mask_finish(&b);
}
END_TEST

/* ---- a dry run, and what is refused ----------------------------------------------------------------------------------------- */
START_TEST(dry)
{
    mask_case k;
    wanted real = {.name = "none"}, shapes = {.name = "none"};
    mask_start(&k, mask_config("{" MASK_SMALL "}"), 4, 3, 2, MANY);
    k.trace = on_event;
    k.trace_ctx = &real;
    mask_out o = mask_run(&k, 0);
    vv_tape *t = vv_tape_new(&k.ps, VV_DRY);
    vv_trace(t, on_event, &shapes);
    vv_tensor *y = vv_mask_forward(t, k.m, k.features, 4, 3, 2, k.text, MANY, 6);
    ck_assert(y && !y->data && y->ndim == 3 && y->dim[0] == 6 && y->dim[1] == 12 && y->dim[2] == 8);
    ck_assert(vv_mask_resize(t, "mask_head#resized", y, k.Hh, k.Ww) != NULL);
    ck_assert(shapes.events == real.events && real.events > 60);
    ck_assert(vv_tape_memory(t)->flops_forward > 1e6);
    vv_tape_free(t);
    mask_out_free(&o);
    mask_finish(&k);
}
END_TEST

static void refused(mask_case *k, int64_t B, int64_t h, const int32_t *image_of, int64_t P, vv_status status,
                    const char *word, const char *found)
{
    vv_error err = {0};
    vv_tape *t = vv_tape_new(&k->ps, 0);
    vv_tensor *y = vv_mask_forward(t, k->m, k->features, B, h, 3, k->text, image_of, P);
    ck_assert(!y && !vv_mask_resize(t, "big", y, 4, 4));
    vvt_expect_error(&err, vv_tape_status(t, &err), status, "expected", word, found, NULL);
    vv_tape_free(t);
}

START_TEST(what_is_refused)
{
    mask_case k;
    mask_start(&k, mask_config("{" MASK_SMALL "}"), 3, 2, 3, TWO_NONE_ONE);
    refused(&k, 3, 3, TWO_NONE_ONE, 3, VV_USAGE, "pixel of the maps", "[18,10]");
    refused(&k, 0, 2, TWO_NONE_ONE, 3, VV_USAGE, "pixel of the maps", "[18,10]");
    refused(&k, 3, 2, TWO_NONE_ONE, 2, VV_USAGE, "each instance", "[3,6]");
    refused(&k, 3, 2, TWO_NONE_ONE, 0, VV_USAGE, "each instance", "[3,6]");
    refused(&k, 3, 2, (const int32_t[]){0, 2, 1}, 3, VV_USAGE, "do not decrease", "1 at place 2");
    refused(&k, 3, 2, (const int32_t[]){-1, 2, 2}, 3, VV_USAGE, "do not decrease", "-1 at place 0");
    refused(&k, 3, 2, (const int32_t[]){0, 2, 3}, 3, VV_USAGE, "from 0 to 2", "3 at place 2");
    vv_tape *t = vv_tape_new(&k.ps, 0);
    vv_error err = {0};
    ck_assert_ptr_null(vv_mask_resize(t, "big", k.features, 4, 4));
    vvt_expect_error(&err, vv_tape_status(t, &err), VV_USAGE, "big", "[P,H,W]", "[18,10]", NULL);
    vv_tape_free(t);
    vv_real *G = tower_get(k.m->gaussian->data, 32);
    G[5] = (vv_real)1e6;
    mask_put(k.m->gaussian, G);
    refused(&k, 3, 2, TWO_NONE_ONE, 3, VV_NONFINITE, "gaussian_matrix", "2^21");
    G[5] = (vv_real)NAN;
    mask_put(k.m->gaussian, G);
    refused(&k, 3, 2, TWO_NONE_ONE, 3, VV_NONFINITE, "gaussian_matrix", "2^21");
    free(G);
    mask_finish(&k);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("segmentation head", &tc);
    tcase_add_test(tc, positional_code);
#ifdef VV_DOUBLE
    tcase_add_loop_test(tc, finite_differences, 0, sizeof HEADS / sizeof *HEADS);
#endif
    tcase_add_test(tc, together_or_alone);
    tcase_add_test(tc, threads);
    tcase_add_test(tc, text_as_it_is);
    tcase_add_test(tc, dry);
    tcase_add_test(tc, what_is_refused);
    return s;
}
VVT_MAIN(suite)
