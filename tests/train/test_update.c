/* Updates of all three tasks against the same put together by hand: drawn samples, one gradient after the other, the sum's norm, clipping, and
 * AdamW's first step, whose moments are the gradient itself: p (1 - lr wd) - lr g / (|g| + eps). */
#include <math.h>

#include "train.h"
#include "train/checkpoint.h"
#include "train/step.h"

enum { BATCH = 3 };

static vv_train_config config;
static vv_model model;
static char *path;

static int is_vector(const vv_tensor *p) { return p->ndim < 2; }

/* stage 2 alone, from random weights; its texts from a folder */
static void set_up(void)
{
    json_t *root = vvt_micro();
    vvt_stages(root, 3, 3);
    vvt_set(root, "train.stages[0].fresh", NULL);
    vvt_set(root, "train.stages[0].updates", "2");
    vvt_set(root, "train.stages[0].save_every", "1");
    vvt_set(root, "train.stages[0].schedule", "{\"type\": \"constant\", \"warmup_ratio\": 0}");
    vvt_set(root, "train.stages[0].tasks[2].text_encoder", "\"./encoder\"");
    vvt_set(root, "train.stages[0].tasks[1].lambda", "0.05");
    vvt_set(root, "train.stages[0].optimizer",
            "{\"betas\": [0.9, 0.99], \"weight_decay\": 0.5, \"max_grad_norm\": 0.25, \"eps\": 1e-3}");
    vvt_set(root, "train.stages[0].lr",
            "{\"visual\": 1e-2, \"projector\": 2e-2, \"model\": 3e-2, \"depth_head\": 4e-2, \"mask_head\": 5e-2}");
    path = vvt_config(root, "hand");
    VVT_OK(vv_train_config_load(&config, path, &vvt_as_written, err));
    VVT_OK(vv_model_from_config(&model, path, VV_ALL_PARTS, err));
    VVT_OK(vv_model_init(&model, 9, err));
    VVT_OK(vv_model_save(&model, vvt_path("encoder"), VV_DT_REAL, 0, err));
    VVT_OK(vv_tokenizer_copy(model.tokenizer_dir, vvt_path("encoder"), err));
}

static void tear_down(void)
{
    vv_model_free(&model);
    vv_train_config_free(&config);
    free(path);
}

/* the weights that the run begins with: the init of seed 1, matrices of tower and decoder with the fan_in rule, a depth map near 1 */
static void begin(void)
{
    VVT_OK(vv_model_init(&model, 1, err));
    for (int64_t i = 0; i < model.params->n; i++) {
        vv_tensor *p = model.params->at[i];
        if ((strncmp(p->name, "visual.", 7) && strncmp(p->name, "model.", 6)) || is_vector(p)) continue;
        int64_t inputs = 1;
        for (int k = 1; k < p->ndim; k++) inputs *= p->dim[k];
        VVT_OK(vv_param_fill(p, VV_FILL_NORMAL, 1 / sqrt((double)inputs), 1, err));
    }
    vv_tensor *bias = vv_param_find(model.params, "depth_head.scratch.output_conv2.2.bias");
    VVT_OK(vv_param_fill(bias, VV_FILL_CONSTANT, 1, 1, err));
}

/* adds the gradient of one task's batch: draws `first` and on */
static void add_task(int k, int64_t first, vv_texts *texts)
{
    const vv_task_config *c = &config.stage[0].task[k];
    char stream[40];
    vv_dataset *set;
    vv_sample s[BATCH];
    vv_task_batch b;
    vv_task_loss loss;
    vv_step step = {.model = &model, .tape = vv_tape_new(model.params, VV_RECORD)};
    snprintf(stream, sizeof stream, "stage2/%s", vv_task_name[k]);
    VVT_OK(vv_dataset_open(&set, &c->source[0], c->task, 0, err));
    for (int64_t j = 0; j < BATCH; j++)
        VVT_OK(vv_dataset_get(set, vv_draw(1, stream, 0, first + j, vv_dataset_size(set)), &s[j], err));
    VVT_OK(vv_task_batch_make(&b, c, &model, s, c->n_sizes ? vv_task_size(c, first / BATCH + 1) : 0, 1, stream, first,
                              texts, err));
    VVT_OK(vv_task_gradients(&step, &b, &loss, err));
    for (int i = 0; i < BATCH; i++) vv_sample_free(&s[i]);
    vv_task_batch_free(&b);
    vv_dataset_free(set);
    vv_tape_free(step.tape);
}

static void told(void *ctx, const vv_update *u) { ((vv_update *)ctx)[u->update - 1] = *u; }

/* the norm over all gradients there are */
static double norm_of_all(void)
{
    double squares = 0;
    for (int64_t i = 0; i < model.params->n; i++)
        for (int64_t e = 0; model.params->at[i]->has_grad && e < model.params->at[i]->n; e++)
            squares += pow((double)vvt_peek(model.params->at[i]->grad, e), 2);
    return sqrt(squares);
}

START_TEST(test_by_hand)
{
    const double rate[VV_PARTS] = {1e-2, 2e-2, 3e-2, 4e-2, 5e-2};
    vv_texts *texts;
    VVT_OK(vv_texts_encoder(&texts, vvt_path("encoder"), 16, err));
    begin();
    for (int k = 0; k < VV_TASKS; k++) add_task(k, 0, texts);
    const double norm = norm_of_all(), clip = fmin(1, 0.25 / (norm + 1e-6));
    ck_assert(clip < 1);

    vv_update us[2] = {{0}}, u;
    int stopped;
    char *out = vv_strdup(vvt_path("run"));
    const vv_train_options o = {.config = path, .out = out, .overrides = vvt_as_written, .told = told, .ctx = us};
    VVT_OK(vv_train(&o, &stopped, err));
    u = us[0];
    ck_assert(fabs(u.grad_norm - norm) <= 1e-12 * norm);
    ck_assert(u.lr[0] == 1e-2 && u.lr[4] == 5e-2 && u.tasks == 7 && u.samples == 9);
    ck_assert(fabs(u.total - (u.loss[0] / 3 + 0.05 * u.loss[1] + u.loss[2] / 3)) <= 1e-12 * u.total);

    char *file = vv_asprintf("%s/stage2/checkpoint-1/model.safetensors", out);
    vv_st *st;
    int64_t skipped = 0;
    VVT_OK(vv_st_open(&st, file, err));
    for (int64_t i = 0; i < model.params->n; i++) {
        const vv_tensor *p = model.params->at[i];
        const vv_st_entry *e = vv_st_find(st, p->name);
        double *got = calloc((size_t)p->n, sizeof *got);
        VVT_OK(vv_st_read_f64(st, e, got, err));
        const double lr = rate[vv_part_of(p)], keep = is_vector(p) ? 1 : 1 - lr * 0.5;
        skipped += !p->has_grad;
        for (int64_t k = 0; k < p->n; k++) {
            const double before = (double)vvt_peek(vv_f(p), k),
                         g = p->has_grad ? clip * (double)vvt_peek(p->grad, k) : 0;
            const double want = p->has_grad ? before * keep - lr * g / (fabs(g) + 1e-3) : before;
            /* m and v are rounded: their quotient, at most 1, by 2 u; the result once more; clip is as exact as the norm */
            ck_assert_msg(fabs(got[k] - want) <= 4 * VV_U * (fabs(before) + lr) + 1e-12 * lr,
                          "%s[%d]: %.9g, expected %.9g", p->name, (int)k, got[k], want);
        }
        free(got);
    }
    ck_assert_int_gt(skipped, 0); /* merger, IoU head: nothing reads them, and they do not decay */
    vv_st_close(st);
    free(file);

    /* the second update begins there, with the next draws, and with depth maps of the next size */
    char *folder = vv_asprintf("%s/stage2/checkpoint-1", out);
    for (int k = 0; k < VV_PARTS; k++) VVT_OK(vv_part_read(&model, 1 << k, folder, err));
    vv_params_zero_grad(model.params);
    for (int k = 0; k < VV_TASKS; k++) add_task(k, BATCH, texts);
    ck_assert(fabs(us[1].grad_norm - norm_of_all()) <= 1e-12 * norm_of_all());
    vv_texts_free(texts);
    free(folder);
    free(out);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("train/update", &tc);
    tcase_add_unchecked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, test_by_hand);
    return s;
}

VVT_MAIN(suite)
