/* Run configurations: what they say, what is refused and where. */
#include <math.h>

#include "train.h"

static vv_train_config load_micro(void)
{
    vv_train_config c;
    VVT_OK(vv_train_config_load(&c, vvt_root("data/configs/micro.json"), &vvt_as_written, err));
    return c;
}

START_TEST(test_values)
{
    vv_train_config c = load_micro();
    ck_assert_int_eq(c.n_stages, 4);
    const vv_stage_config *s = &c.stage[3];
    ck_assert_str_eq(s->name, "stage2");
    ck_assert_int_eq(s->train, VV_ALL_PARTS);
    ck_assert_int_eq(s->fresh, VV_DEPTH | VV_MASK);
    ck_assert_int_eq(s->task[VV_TASK_DEPTH].micro_batch, 2);
    ck_assert_int_eq(s->task[VV_TASK_CAPTION].micro_batch, 3);
    ck_assert(s->task[VV_TASK_CAPTION].lambda == 1.0 / 3);
    ck_assert_int_eq(vv_task_size(&s->task[VV_TASK_DEPTH], 1), 56);
    ck_assert_int_eq(vv_task_size(&s->task[VV_TASK_DEPTH], 2), 84);
    ck_assert_int_eq(vv_task_size(&s->task[VV_TASK_DEPTH], 3), 56);
    ck_assert_str_eq(s->task[VV_TASK_SEGMENTATION].text_encoder, "stage0");
    ck_assert(s->lr[VV_PARTS - 1] == 2e-3 && s->weight_decay == 0.01 && s->beta2 == 0.99 && s->keep_last == 2);
    ck_assert_int_eq(c.stage[1].task[VV_TASK_CAPTION].reduction, VV_CE_TOKEN);
    ck_assert_int_eq(c.stage[1].task[VV_TASK_CAPTION].text_alone, 1);
    ck_assert_int_eq(vv_task_parts(&c.stage[1].task[VV_TASK_CAPTION]), VV_TEXT);
    ck_assert_int_eq(c.stage[2].task[VV_TASK_CAPTION].plain, 1);
    ck_assert_str_eq(c.stage[2].load[0], "stage0");
    ck_assert_str_eq(c.stage[2].random, c.stage[2].name);
    ck_assert_int_eq(c.stage[0].task[0].source[1].first, 100);
    ck_assert_int_eq(c.stage[0].task[0].source[1].questions, 2);
    vv_train_config_free(&c);
}
END_TEST

/* Every configuration that comes with the project is one. */
START_TEST(test_all_files)
{
    static const char *const names[] = {"micro", "tiny", "small", "table4", "paper"};
    char path[100];
    snprintf(path, sizeof path, "data/configs/%s.json", names[_i]);
    vv_train_config c;
    vv_model shapes;
    VVT_OK(vv_train_config_load(&c, vvt_root(path), &vvt_as_written, err));
    VVT_OK(vv_model_from_config(&shapes, vvt_root(path), VV_ALL_PARTS | VV_SHAPES_ONLY, err));
    for (int64_t i = 0; i < c.n_stages; i++) {
        const int bare = !shapes.tokenizer; /* the paper's is not part of the project */
        vv_error why = {0};
        const vv_status s = vv_stage_check(&c.stage[i], &shapes, &why);
        if (!bare) ck_assert_msg(s == VV_OK, "%s", why.msg);
    }
    vv_model_free(&shapes);
    vv_train_config_free(&c);
}
END_TEST

/* What is written out with its defaults reads as the same again, and has all of them. */
START_TEST(test_round_trip)
{
    vv_train_config a = load_micro(), b;
    const char *const must[] = {"train.stages[0].optimizer.max_grad_norm",
                                "train.stages[0].tasks[0].sources[0].scenes.max_objects",
                                "train.stages[3].tasks[1].loss.ssi.eps",
                                "train.stages[3].tasks[2].loss.dice.smooth",
                                "train.stages[1].schedule.warmup_ratio",
                                "train.devices",
                                "train.init.std"};
    for (size_t i = 0; i < sizeof must / sizeof *must; i++) {
        char last[64];
        int64_t index;
        json_t *at = vvt_holder(a.root, must[i], last, &index);
        ck_assert_msg(json_object_get(at, last) != NULL, "%s", must[i]);
    }
    char *path = vvt_config(json_deep_copy(a.root), "again");
    VVT_OK(vv_train_config_load(&b, path, &vvt_as_written, err));
    char *differs = vv_config_difference(a.root, b.root), ha[17], hb[17];
    ck_assert_msg(!differs, "%s", differs);
    VVT_OK(vv_config_hash(a.root, ha, err));
    VVT_OK(vv_config_hash(b.root, hb, err));
    ck_assert_str_eq(ha, hb);
    ck_assert_str_eq(a.folder, b.folder); /* paths are still seen from where the first file was */
    free(path);
    vv_train_config_free(&a);
    vv_train_config_free(&b);
}
END_TEST

/* The losses written into run.json are the library's defaults. */
START_TEST(test_loss_defaults)
{
    vv_train_config c = load_micro();
    const vv_depth_config d = vv_depth_config_default(), *got = &c.stage[3].task[VV_TASK_DEPTH].depth;
    vv_depth_config read = {{0}, 0, 0};
    vv_seg_config seg = vv_seg_config_default(), read_seg = {0};
    char last[64];
    int64_t index;
    json_t *depth = json_object_get(vvt_holder(c.root, "train.stages[3].tasks[1].loss", last, &index), "loss");
    json_t *masks = json_object_get(vvt_holder(c.root, "train.stages[3].tasks[2].loss", last, &index), "loss");
    VVT_OK(vv_depth_config_parse(&read, depth, "loss", err));
    VVT_OK(vv_seg_config_parse(&read_seg, masks, "loss", err));
    const vv_depth_config *both[2] = {&read, got};
    for (int k = 0; k < 2; k++) {
        const vvb_depth_args *a = &both[k]->how, *b = &d.how;
        ck_assert(a->align == b->align && a->gm == b->gm && a->average == b->average && a->image == b->image &&
                  a->clamp == b->clamp && a->detach == b->detach && a->scales == b->scales && a->trim == b->trim &&
                  a->eps == b->eps && both[k]->lambda_ssi == d.lambda_ssi && both[k]->lambda_gm == d.lambda_gm);
    }
    ck_assert(read_seg.lambda_bce == seg.lambda_bce && read_seg.lambda_dice == seg.lambda_dice &&
              read_seg.smooth == seg.smooth);
    vv_train_config_free(&c);
}
END_TEST

/* path, JSON text to put there (NULL: taken away), and two words of the message */
static const char *const wrong[][4] = {
    {"train", NULL, "micro-wrong", "train"},
    {"train.sede", "1", "train: unknown key 'sede'", "seed"},
    {"train.seed", "-1", "train: 'seed'", "-1"},
    {"train.init.std", "\"wide\"", "train.init: 'std'", "fan_in"},
    {"train.stages", "[]", "train: 'stages'", "found 0"},
    {"train.stages[1]", "3", "train.stages[1]", "the integer 3"},
    {"train.stages[1].name", "\"a/b\"", "train.stages[1]: 'name'", "a/b"},
    {"train.stages[1].name", "\"stage0\"", "train.stages[1]: 'name'", "stage 0"},
    {"train.stages[1].name", NULL, "train.stages[1]: 'name'", "nothing"},
    {"train.stages[2].load.visual", "\"stage2\"", "train.stages[2].load: 'visual'", "earlier"},
    {"train.stages[2].load.projector", "\"stage0\"", "train.stages[2].load: 'projector'", "both"},
    {"train.stages[2].load.eyes", "\"stage0\"", "train.stages[2].load", "eyes"},
    {"train.stages[2].fresh", "[\"hands\"]", "train.stages[2]: 'fresh'", "hands"},
    {"train.stages[2].train", "[]", "train.stages[2].tasks[0]", "train"},
    {"train.stages[2].train", "[\"projector\", \"depth_head\"]", "train.stages[2]: 'train'", "depth_head"},
    {"train.stages[1].train", "[\"visual\"]", "train.stages[1].tasks[0]", "train"},
    {"train.stages[0].updates", "0", "train.stages[0]: 'updates'", "at"},
    {"train.stages[0].epochs", "1", "train.stages[0]: 'updates'", "both"},
    {"train.stages[0].updates", NULL, "train.stages[0]: 'updates'", "none"},
    {"train.stages[0].skip_if", "\"always\"", "train.stages[0]: 'skip_if'", "always"},
    {"train.stages[0].precision", "\"fp8\"", "train.stages[0]: 'precision'", "bf16"},
    {"train.stages[0].lr.visual", "true", "train.stages[0].lr: 'visual'", "true"},
    {"train.stages[0].lr.visual", NULL, "train.stages[0].lr: 'visual'", "nothing"},
    {"train.stages[0].lr.mask_head", "1e-3", "train.stages[0].lr: 'mask_head'", "train"},
    {"train.stages[0].optimizer.betas", "[0.9, 1]", "train.stages[0].optimizer: 'betas'", "less than 1"},
    {"train.stages[0].optimizer.beta", "0.9", "train.stages[0].optimizer", "unknown key 'beta'"},
    {"train.stages[0].schedule.type", "\"step\"", "train.stages[0].schedule: 'type'", "linear"},
    {"train.stages[0].schedule.warmup_ratio", "1.5", "train.stages[0].schedule: 'warmup_ratio'", "1.5"},
    {"train.stages[3].tasks[1].task", "\"caption\"", "train.stages[3].tasks[1]", "unknown key"},
    {"train.stages[3].tasks[1].batch", "\"3\"", "train.stages[3].tasks[1]: 'batch'", "string"},
    {"train.stages[3].tasks[1].batch", NULL, "train.stages[3].tasks[1]: 'batch'", "nothing"},
    {"train.stages[3].tasks[1].micro_batch", "4", "train.stages[3].tasks[1]: 'micro_batch'", "4"},
    {"train.stages[3].tasks[1].size", "[56, 1.5]", "train.stages[3].tasks[1]: 'size'", "1.5"},
    {"train.stages[3].tasks[1].loss", "{\"ssi\": {\"trim\": 2}}", "train.stages[3].tasks[1].loss: ssi: 'trim'", "2"},
    {"train.stages[3].tasks[1].lambda", "0", "train.stages[3].tasks[1]: 'lambda'", "0"},
    {"train.stages[3].tasks[2].text_encoder", NULL, "train.stages[3].tasks[2]: 'embeddings'", "none"},
    {"train.stages[3].tasks[2].embeddings", "\"x\"", "train.stages[3].tasks[2]: 'embeddings'", "both"},
    {"train.stages[3].tasks[2].max_tokens", "9", "train.stages[3].tasks[2]", "unknown key 'max_tokens'"},
    {"train.stages[3].tasks[2]",
     "{\"task\": \"depth\", \"batch\": 1, \"size\": 56, \"sources\": [{\"manifest\": \"x\"}]}",
     "train.stages[3].tasks[2]: 'task'", "once"},
    {"train.stages[3].tasks[0].sources[0].scenes.colour", "1", "train.stages[3].tasks[0].sources[0].scenes", "colour"},
    {"train.stages[3].tasks[0].sources[0].scenes.max_objects", "1", "train.stages[3].tasks[0].sources[0].scenes",
     "objects"},
    {"train.stages[3].tasks[0].sources[0].count", NULL, "train.stages[3].tasks[0].sources[0]: 'count'", "nothing"},
    {"train.stages[3].tasks[0].sources[0].manifest", "\"x\"", "train.stages[3].tasks[0].sources[0]", "unknown key"},
    {"train.stages[3].tasks[1].sources[0].questions", "\"both\"", "train.stages[3].tasks[1].sources[0]", "caption"},
    {"train.stages[3].tasks[0].sources", "[]", "train.stages[3].tasks[0]: 'sources'", "none"},
    {"train.stages[1].tasks[0].form", "\"plain\"", "train.stages[1].tasks[0]: 'form'", "picture"},
    {"train.stages[3].validate", "{\"every\": 0, \"count\": 1}", "train.stages[3].validate: 'every'", "0"},
    {"train.stages[3].validate", "{\"every\": 1}", "train.stages[3].validate: 'count'", "nothing"},
    {"train.stages[3].validate", "{\"every\": 1, \"count\": 1, \"best\": 1}", "train.stages[3].validate", "best"},
    {"train.stages[3].tasks[0].validation", "[{\"manifest\": \"x\"}]", "train.stages[3].tasks[0]: 'validation'",
     "validate"},
    {"train.stages[3].tasks[0].validation", "[]", "train.stages[3].tasks[0]: 'validation'", "none"},
    {"train.stages[1].tasks[0].validation", "[{\"scenes\": {}, \"count\": 1}]",
     "train.stages[1].tasks[0]: 'validation'", "pictures"},
    {"train.stages[3]",
     "{\"name\": \"m\", \"train\": [\"depth_head\"], \"updates\": 1, \"lr\": {\"depth_head\": 1}, \"validate\": "
     "{\"every\": "
     "1, \"count\": 1}, \"tasks\": [{\"task\": \"depth\", \"batch\": 1, \"size\": 56, \"sources\": [{\"manifest\": "
     "\"x\"}]}]}",
     "train.stages[3].tasks[0]: 'validation'", "manifest"},
};
enum { WRONG = sizeof wrong / sizeof *wrong };

START_TEST(test_wrong)
{
    json_t *root = vvt_micro();
    vv_train_config c;
    vv_error err = {0};
    vvt_set(root, wrong[_i][0], wrong[_i][1]);
    char *path = vvt_config(root, "micro-wrong");
    const vv_status s = vv_train_config_load(&c, path, &vvt_as_written, &err);
    vvt_expect_error(&err, s, VV_FILE, "micro-wrong.json", wrong[_i][2], wrong[_i][3], NULL);
    ck_assert_ptr_null(c.stage);
    free(path);
}
END_TEST

/* what only shows beside a model */
START_TEST(test_wrong_for_model)
{
    static const char *const cases[][3] = {
        {"train.stages[3].tasks[1].size", "60", "stages[3].tasks[1]: 'size': expected a multiple of 28"},
        {"train.stages[3].tasks[0].max_pixels", "100", "stages[3].tasks[0]: 'max_pixels'"},
        {"train.stages[3].tasks[0].max_tokens", "100000", "stages[3].tasks[0]: 'max_tokens'"},
        {"mask_head", NULL, "train.stages[3]: expected a segmentation head"},
        {"projector", NULL, "train.stages[0]: expected a projector"},

    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *root = vvt_micro();
        vv_train_config c;
        vv_model m;
        vv_error why = {0};
        vvt_set(root, cases[i][0], cases[i][1]);
        char *path = vvt_config(root, "micro-model");
        VVT_OK(vv_train_config_load(&c, path, &vvt_as_written, err));
        VVT_OK(vv_model_from_config(&m, path, VV_ALL_PARTS | VV_SHAPES_ONLY, err));
        vv_status s = VV_OK;
        for (int64_t k = 0; s == VV_OK && k < c.n_stages; k++) s = vv_stage_check(&c.stage[k], &m, &why);
        vvt_expect_error(&why, s, VV_FILE, "micro-model.json", cases[i][2], NULL);
        vv_model_free(&m);
        vv_train_config_free(&c);
        free(path);
    }
}
END_TEST

START_TEST(test_overrides)
{
    const vv_train_overrides o = {.seed = 7, .updates = 2, .init_tower = "some/where", .init_llm = NULL};
    vv_train_config c;
    VVT_OK(vv_train_config_load(&c, vvt_root("data/configs/micro.json"), &o, err));
    ck_assert_int_eq(c.seed, 7);
    for (int64_t i = 0; i < c.n_stages; i++) ck_assert_int_eq(c.stage[i].updates, 2);
    ck_assert_int_eq(c.init_tower[0], '/');
    ck_assert(vv_stage_skipped(&c, &c.stage[0]) && !vv_stage_skipped(&c, &c.stage[1]));
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(c.root, "train"), "seed")), 7);
    vv_train_config_free(&c);
}
END_TEST

START_TEST(test_difference)
{
    static const char *const cases[][3] = {
        {"train.stages[1].lr.model", "2e-3", "train.stages[1].lr.model"},
        {"train.stages[3].tasks[2].max_instances", "3", "train.stages[3].tasks[2].max_instances"},
        {"train.stages[3].tasks[1].size", "56", "train.stages[3].tasks[1].size"},
        {"vision_config.depth", "4", "vision_config.depth"},
        {"train.comment", "\"x\"", NULL},
        {"train.stages[0].comment", "\"x\"", NULL},
        {"train.stages[0].optimizer.eps", "1e-8", NULL}, /* the default */
    };
    vv_train_config a, b;
    char *path = vvt_config(vvt_micro(), "micro-a"), ha[17], hb[17];
    VVT_OK(vv_train_config_load(&a, path, &vvt_as_written, err));
    VVT_OK(vv_config_hash(a.root, ha, err));
    free(path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *root = vvt_micro();
        vvt_set(root, cases[i][0], cases[i][1]);
        path = vvt_config(root, "micro-b");
        VVT_OK(vv_train_config_load(&b, path, &vvt_as_written, err));
        VVT_OK(vv_config_hash(b.root, hb, err));
        char *got = vv_config_difference(a.root, b.root);
        if (cases[i][2]) ck_assert_msg(got && !strcmp(got, cases[i][2]), "%s", got ? got : "none");
        else ck_assert_msg(!got, "%s", got);
        ck_assert_int_eq(strcmp(ha, hb) == 0, cases[i][2] == NULL);
        free(got);
        free(path);
        vv_train_config_free(&b);
    }
    vv_train_config_free(&a);
}
END_TEST

/* The multipliers of transformers' schedules at S = 10, warm-up 3 (ratio 0.3), printed from its formulas by hand. */
START_TEST(test_schedule)
{
    const vv_schedule cosine = {VV_COSINE, 0.3, 0.05}, linear = {VV_LINEAR, 0.3, 0}, constant = {VV_CONSTANT, 0.3, 0.5},
                      none = {VV_COSINE, 0, 0}, rounded = {VV_LINEAR, 0.03, 0};
    const double third = 1.0 / 3;
    ck_assert(vv_schedule_factor(&cosine, 0, 10) == 0);
    ck_assert(fabs(vv_schedule_factor(&cosine, 1, 10) - third) < 1e-15);
    ck_assert(fabs(vv_schedule_factor(&cosine, 3, 10) - 1) < 1e-15);
    ck_assert(fabs(vv_schedule_factor(&cosine, 5, 10) - (0.05 + 0.95 * 0.5 * (1 + 0.62348980185873353))) <
              1e-15); /* cos 2 pi/7 */
    ck_assert(fabs(vv_schedule_factor(&cosine, 10, 10) - 0.05) < 1e-15);
    ck_assert(fabs(vv_schedule_factor(&linear, 5, 10) - 5.0 / 7) < 1e-15);
    ck_assert(fabs(vv_schedule_factor(&linear, 9, 10) - 1.0 / 7) < 1e-15);
    ck_assert(fabs(vv_schedule_factor(&constant, 2, 10) - 2 * third) < 1e-15);
    ck_assert(vv_schedule_factor(&constant, 9, 10) == 1);
    ck_assert(vv_schedule_factor(&none, 0, 10) == 1);
    ck_assert(vv_schedule_factor(&rounded, 0, 10) == 0 && vv_schedule_factor(&rounded, 1, 10) == 1); /* ceil(0.3) = 1 */
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("train/config", &tc);
    tcase_add_test(tc, test_values);
    tcase_add_loop_test(tc, test_all_files, 0, 5);
    tcase_add_test(tc, test_round_trip);
    tcase_add_test(tc, test_loss_defaults);
    tcase_add_loop_test(tc, test_wrong, 0, WRONG);
    tcase_add_test(tc, test_wrong_for_model);
    tcase_add_test(tc, test_overrides);
    tcase_add_test(tc, test_difference);
    tcase_add_test(tc, test_schedule);
    return s;
}

VVT_MAIN(suite)
