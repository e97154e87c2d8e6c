/* One task's batch: the same loss and gradients however it is cut; frozen parts; lambda. */
#include <math.h>

#include "io/dtype.h"
#include "train.h"
#include "train/step.h"

/* A cut changes the order of sums, those of products too (their tiles depend on the number of rows): activations move by some u, and each
 * layer amplifies that by its condition. In double the largest distance is 7e-14 = 640 u; a factor of 5 for other
 * shapes of tiles. A wrong weight is 1e-2 or more. */
#define LIMIT (3000 * VV_U)

static vv_model model;
static vv_train_config config;
static int *trainable;
static vv_texts *texts;

static void set_up(void)
{
    char *path = vvt_config(vvt_micro(), "micro");
    VVT_OK(vv_train_config_load(&config, path, &vvt_as_written, err));
    VVT_OK(vv_model_from_config(&model, path, VV_ALL_PARTS, err));
    VVT_OK(vv_model_init(&model, 1, err));
    VVT_OK(vv_model_save(&model, vvt_path("encoder"), VV_DT_REAL, 0, err));
    VVT_OK(vv_tokenizer_copy(model.tokenizer_dir, vvt_path("encoder"), err));
    VVT_OK(vv_texts_encoder(&texts, vvt_path("encoder"), 16, err));
    trainable = calloc((size_t)model.params->n, sizeof *trainable);
    for (int64_t i = 0; i < model.params->n; i++) trainable[i] = model.params->at[i]->needs_grad;
    free(path);
}

static void tear_down(void)
{
    vv_texts_free(texts);
    vv_model_free(&model);
    vv_train_config_free(&config);
    free(trainable);
}

enum { BATCH = 5 };

/* scenes; with `holes` depth maps of which one is unknown, one flat, and others have holes that scales see differently */
static void draw(vv_sample *s, vv_task task, int holes)
{
    vv_source source = config.stage[3].task[task].source[0];
    vv_dataset *set;
    VVT_OK(vv_dataset_open(&set, &source, task, 0, err));
    for (int64_t i = 0; i < BATCH; i++) VVT_OK(vv_dataset_get(set, i, &s[i], err));
    vv_dataset_free(set);
    for (int64_t i = 0; holes && i < BATCH; i++)
        for (int64_t k = 0; k < s[i].image.h * s[i].image.w; k++) {
            const int64_t y = k / s[i].image.w, x = k % s[i].image.w;
            if (i == 1) s[i].disparity[k] = NAN;
            else if (i == 3) s[i].disparity[k] = 0.25f;
            else if (i == 0 ? (x % 2 && y > 5) : (x + y) % (3 + i) == 0) s[i].disparity[k] = NAN;
        }
}

static int in_bf16; /* what `gradients` asks for */

/* all gradients one after the other; *loss is the batch's */
static vv_real *gradients(const vv_task_config *c, const vv_sample *s, int train, int flags, vv_task_loss *loss,
                          int64_t *n)
{
    vv_task_batch b;
    vv_step step = {&model, vv_tape_new(model.params, VV_RECORD | flags), NULL, in_bf16};
    if (!(train & VV_VISION)) step.frozen = vv_tape_new(NULL, 0);
    for (int64_t i = 0; i < model.params->n; i++) {
        vv_tensor *p = model.params->at[i];
        p->needs_grad = trainable[i] && train >> vv_part_of(p) & 1;
    }
    vv_params_zero_grad(model.params);
    VVT_OK(vv_task_batch_make(&b, c, &model, s, 56, 1, "s", 0, texts, err));
    VVT_OK(vv_task_gradients(&step, &b, loss, err));
    *n = 0;
    for (int64_t i = 0; i < model.params->n; i++) *n += model.params->at[i]->n;
    vv_real *g = calloc((size_t)*n, sizeof *g), *to = g;
    for (int64_t i = 0; i < model.params->n; i++) {
        const vv_tensor *p = model.params->at[i];
        if (p->has_grad) vvb_download(to, p->grad, p->n * (int64_t)sizeof *g);
        ck_assert(!p->has_grad || p->needs_grad);
        to += p->n;
    }
    vv_task_batch_free(&b);
    vv_tape_free(step.tape);
    vv_tape_free(step.frozen);
    return g;
}

static double distance(const vv_real *a, const vv_real *b, double factor, int64_t n)
{
    double d = 0, size = 0;
    for (int64_t i = 0; i < n; i++) {
        d += ((double)a[i] - factor * (double)b[i]) * ((double)a[i] - factor * (double)b[i]);
        size += factor * factor * (double)b[i] * (double)b[i];
    }
    ck_assert(size > 0);
    return sqrt(d / size);
}

/* the task, a variant of its loss, and the JSON of it */
static const struct {
    vv_task task;
    int holes;
    const char *loss;
} cuts[] = {
    {VV_TASK_CAPTION, 0, "sample"},
    {VV_TASK_CAPTION, 0, "token"},
    {VV_TASK_SEGMENTATION, 0, "{}"},
    {VV_TASK_DEPTH, 0, "{}"},
    {VV_TASK_DEPTH, 1, "{}"},
    {VV_TASK_DEPTH, 1, "{\"ssi\": {\"reduction\": \"image\"}}"},
    {VV_TASK_DEPTH, 1, "{\"ssi\": {\"align\": \"ls\"}, \"gm\": {\"mode\": \"ls\", \"scales\": 3}}"},
    {VV_TASK_DEPTH, 1, "{\"gm\": {\"mode\": \"megadepth\"}}"},
    {VV_TASK_DEPTH, 1, "{\"gm\": {\"mode\": \"paper_sum\"}, \"lambda_gm\": 1e-4}"},
    {VV_TASK_DEPTH, 1, "{\"ssi\": {\"degenerate\": \"clamp\"}}"},
};
enum { CUTS = sizeof cuts / sizeof *cuts };

static vv_task_config variant(int i)
{
    vv_task_config c = config.stage[3].task[cuts[i].task];
    c.batch = c.micro_batch = BATCH;
    if (c.task == VV_TASK_CAPTION) {
        c.reduction = strcmp(cuts[i].loss, "token") ? VV_CE_SAMPLE : VV_CE_TOKEN;
    } else if (c.task == VV_TASK_DEPTH) {
        json_t *loss = json_loads(cuts[i].loss, 0, NULL);
        VVT_OK(vv_depth_config_parse(&c.depth, loss, "loss", err));
        json_decref(loss);
    }
    return c;
}

START_TEST(test_cuts)
{
    vv_sample s[BATCH];
    vv_task_config c = variant(_i);
    vv_task_loss whole, cut;
    int64_t n;
    draw(s, c.task, cuts[_i].holes);
    if (c.task == VV_TASK_SEGMENTATION)
        for (; s[2].n_instances; s[2].n_instances--) { /* a micro-batch without a mask */
            free(s[2].instance[s[2].n_instances - 1].text);
            free(s[2].instance[s[2].n_instances - 1].mask);
        }
    vv_real *g = gradients(&c, s, VV_ALL_PARTS, 0, &whole, &n);
    ck_assert(whole.loss > 0);
    for (int64_t micro = 1; micro < BATCH; micro++) {
        c.micro_batch = micro;
        vv_real *h = gradients(&c, s, VV_ALL_PARTS, 0, &cut, &n);
        const double d = distance(h, g, 1, n);
        ck_assert_msg(d <= LIMIT, "micro-batches of %d: gradients %.3g apart, at most %.3g", (int)micro, d, LIMIT);
        ck_assert_msg(fabs(cut.loss - whole.loss) <= LIMIT * whole.loss, "loss %.9g, %.9g", cut.loss, whole.loss);
        for (int k = 0; k < 2; k++) ck_assert(fabs(cut.part[k] - whole.part[k]) <= LIMIT * fabs(whole.part[k]));
        ck_assert_int_eq(cut.skipped, whole.skipped);
        free(h);
    }
    free(g);
    for (int i = 0; i < BATCH; i++) vv_sample_free(&s[i]);
}
END_TEST

/* The terms of the losses are what is reported, and lambda is a factor of the gradient alone. */
START_TEST(test_lambda)
{
    vv_sample s[BATCH];
    vv_task_loss a, b;
    int64_t n;
    vv_task_config c = config.stage[3].task[_i];
    c.batch = c.micro_batch = BATCH;
    draw(s, c.task, 0);
    vv_real *g = gradients(&c, s, VV_ALL_PARTS, 0, &a, &n);
    c.lambda *= 4;
    vv_real *h = gradients(&c, s, VV_ALL_PARTS, 0, &b, &n);
    ck_assert(a.loss == b.loss);
    ck_assert(distance(h, g, 4, n) <= 4 * VV_U);
    if (c.task == VV_TASK_DEPTH) ck_assert(fabs(a.loss - (1.0 * a.part[0] + 0.5 * a.part[1])) <= 4 * VV_U * a.loss);
    if (c.task == VV_TASK_SEGMENTATION)
        ck_assert(fabs(a.loss - (2.0 * a.part[0] + 0.5 * a.part[1])) <= 4 * VV_U * a.loss);
    free(g);
    free(h);
    for (int i = 0; i < BATCH; i++) vv_sample_free(&s[i]);
}
END_TEST

static int is_bf16(vv_real x) { return (double)vv_bf16_to_f32(vv_f64_to_bf16((double)x)) == (double)x; }

/* In bf16 every gradient is a number of bf16, and what comes after is computed in full again. Captions: near those of full precision, some 40
 * roundings of 2^-9 / sqrt(3) behind one another are 0.7 %. The heads of micro have signs and norms over two channels that amplify more. */
START_TEST(test_bf16)
{
    vv_sample s[BATCH];
    vv_task_loss a, b;
    int64_t n, more = 0;
    vv_task_config c = config.stage[3].task[_i];
    c.batch = c.micro_batch = BATCH;
    draw(s, c.task, 0);
    vv_real *g = gradients(&c, s, VV_ALL_PARTS, 0, &a, &n);
    in_bf16 = 1;
    vv_real *h = gradients(&c, s, VV_ALL_PARTS, 0, &b, &n);
    in_bf16 = 0;
    vv_real *again = gradients(&c, s, VV_ALL_PARTS, 0, &b, &n);
    for (int64_t k = 0, at = 0; k < model.params->n; at += model.params->at[k++]->n)
        for (int64_t i = at; i < at + model.params->at[k]->n; i++) {
            more += !is_bf16(g[i]);
            ck_assert(is_bf16(h[i]) || model.params->at[k]->n == 1); /* single numbers are not rounded */
        }
    ck_assert_int_gt(more, n / 4);
    if (c.task == VV_TASK_CAPTION) ck_assert(distance(h, g, 1, n) < 0.02);
    ck_assert(!memcmp(g, again, (size_t)n * sizeof *g));
    free(g);
    free(h);
    free(again);
    for (int i = 0; i < BATCH; i++) vv_sample_free(&s[i]);
}
END_TEST

/* A frozen tower has no gradient and less memory; what trains behind it gets the same bits. So it is with checkpointing. */
START_TEST(test_frozen)
{
    static const int behind[VV_TASKS] = {VV_PROJECTOR | VV_TEXT, VV_DEPTH, VV_MASK};
    vv_sample s[BATCH];
    vv_task_loss a, b, again;
    int64_t n, at = 0;
    vv_task_config c = config.stage[3].task[_i];
    c.batch = c.micro_batch = BATCH;
    draw(s, c.task, 0);
    vv_real *g = gradients(&c, s, VV_ALL_PARTS, 0, &a, &n), *h = gradients(&c, s, behind[_i], 0, &b, &n),
            *k = gradients(&c, s, VV_ALL_PARTS, VV_CHECKPOINT, &again, &n);
    ck_assert(a.loss == b.loss && a.loss == again.loss);
    ck_assert(!memcmp(g, k, (size_t)n * sizeof *g));
    for (int64_t i = 0; i < model.params->n; i++) {
        const vv_tensor *p = model.params->at[i];
        for (int64_t e = 0; e < p->n; e++, at++)
            ck_assert_msg(h[at] == (behind[_i] >> vv_part_of(p) & 1 ? g[at] : 0), "%s", p->name);
    }
    free(g);
    free(h);
    free(k);
    for (int i = 0; i < BATCH; i++) vv_sample_free(&s[i]);
}
END_TEST

/* No instance in a whole batch: no loss, no gradient, no error. */
START_TEST(test_no_masks)
{
    vv_sample s[BATCH];
    vv_task_loss loss;
    int64_t n;
    vv_task_config c = config.stage[3].task[VV_TASK_SEGMENTATION];
    c.batch = c.micro_batch = BATCH;
    draw(s, c.task, 0);
    for (int i = 0; i < BATCH; i++)
        for (; s[i].n_instances; s[i].n_instances--) {
            free(s[i].instance[s[i].n_instances - 1].text);
            free(s[i].instance[s[i].n_instances - 1].mask);
        }
    vv_real *g = gradients(&c, s, VV_ALL_PARTS, 0, &loss, &n);
    ck_assert(loss.loss == 0);
    for (int64_t i = 0; i < n; i++) ck_assert(g[i] == 0);
    free(g);
    for (int i = 0; i < BATCH; i++) vv_sample_free(&s[i]);
}
END_TEST

/* A weight that is not finite is met, with the sample's name for the dense heads. */
START_TEST(test_not_finite)
{
    static const char *const word[VV_TASKS] = {"caption", "scene 0", "scene 0"};
    vv_sample s[BATCH];
    vv_task_loss loss;
    vv_task_batch b;
    vv_error why = {0};
    vv_task_config c = config.stage[3].task[_i];
    vv_step step = {.model = &model, .tape = vv_tape_new(model.params, VV_RECORD)};
    vv_tensor *p = vv_param_find(model.params, "visual.blocks.0.mlp.fc1.weight");
    const vv_real kept = vvt_peek(vv_f(p), 0);
    c.batch = c.micro_batch = BATCH;
    draw(s, c.task, 0);
    vvt_poke(vv_f(p), 0, (vv_real)NAN);
    VVT_OK(vv_task_batch_make(&b, &c, &model, s, 56, 1, "s", 0, texts, err));
    const vv_status st = vv_task_gradients(&step, &b, &loss, &why);
    vvt_expect_error(&why, st, VV_NONFINITE, word[_i], NULL);
    vvt_poke(vv_f(p), 0, kept);
    vv_task_batch_free(&b);
    vv_tape_free(step.tape);
    for (int i = 0; i < BATCH; i++) vv_sample_free(&s[i]);
}
END_TEST

/* The pixels that count: not those of unknown, single or flat maps. */
START_TEST(test_window)
{
    vv_real d[4 * 36];
    for (int i = 0; i < 4 * 36; i++) d[i] = (vv_real)(i % 36);
    for (int i = 0; i < 36; i++) d[36 + i] = (vv_real)NAN, d[2 * 36 + i] = 3;
    d[3] = (vv_real)INFINITY;      /* row 0, column 3: seen by scale 0 alone */
    d[3 * 36 + 14] = (vv_real)NAN; /* row 2, column 2: scales 0 and 1 */
    vv_depth_window w = {0};
    vv_depth_config c = vv_depth_config_default();
    VVT_OK(vv_depth_count(&w, d, 4, 6, &c, err));
    ck_assert(w.maps == 2 && w.pixels == 70);
    ck_assert(w.scale[0] == 70 && w.scale[1] == 17 && w.scale[2] == 8 && w.scale[3] == 2);
    c.how.clamp = 1;
    w = (vv_depth_window){0};
    VVT_OK(vv_depth_count(&w, d, 4, 6, &c, err));
    ck_assert(w.maps == 3 && w.pixels == 106);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("train/step", &tc);
    tcase_add_unchecked_fixture(tc, set_up, tear_down);
    tcase_add_loop_test(tc, test_cuts, 0, CUTS);
    tcase_add_loop_test(tc, test_lambda, 0, VV_TASKS);
    tcase_add_loop_test(tc, test_bf16, 0, VV_TASKS);
    tcase_add_loop_test(tc, test_frozen, 0, VV_TASKS);
    tcase_add_test(tc, test_no_masks);
    tcase_add_loop_test(tc, test_not_finite, 0, VV_TASKS);
    tcase_add_test(tc, test_window);
    return s;
}

VVT_MAIN(suite)
