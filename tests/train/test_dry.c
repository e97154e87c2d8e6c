/* Dry runs: they count what a real run counts, and take no memory. */
#include "train.h"
#include "train/step.h"

static void load(vv_train_config *c, vv_model *m, const char *name, int shapes)
{
    char file[60];
    snprintf(file, sizeof file, "data/configs/%s.json", name);
    VVT_OK(vv_train_config_load(c, vvt_root(file), &vvt_as_written, err));
    VVT_OK(vv_model_from_config(m, vvt_root(file), VV_ALL_PARTS | shapes, err));
}

/* Depth and segmentation of micro's stage 2, one task at a time: FLOPs and the highest memory of a real batch. */
START_TEST(test_counts)
{
    vv_train_config c;
    vv_model shapes, m;
    vv_dry_stage dry;
    load(&c, &shapes, "micro", VV_SHAPES_ONLY);
    VVT_OK(vv_model_from_config(&m, vvt_root("data/configs/micro.json"), VV_ALL_PARTS, err));
    VVT_OK(vv_model_init(&m, 1, err));
    vv_stage_config *s = &c.stage[3];
    for (int k = 0; k < VV_TASKS; k++) s->task[k].present = k == _i;
    s->train = _i == VV_TASK_DEPTH ? VV_VISION | VV_DEPTH : VV_VISION | VV_MASK;
    s->task[_i].micro_batch = 3;
    s->task[_i].n_sizes = 1;
    s->task[_i].max_instances = 1;
    VVT_OK(vv_train_dry(&c, 3, &shapes, &dry, err));

    vv_sample sample[3];
    vv_dataset *set;
    vv_task_batch b;
    vv_task_loss loss;
    vv_texts *texts = NULL;
    VVT_OK(vv_model_save(&m, vvt_path("encoder"), VV_DT_REAL, 0, err));
    VVT_OK(vv_tokenizer_copy(m.tokenizer_dir, vvt_path("encoder"), err));
    VVT_OK(vv_texts_encoder(&texts, vvt_path("encoder"), 16, err));
    VVT_OK(vv_dataset_open(&set, &s->task[_i].source[0], s->task[_i].task, 0, err));
    for (int k = 0; k < 3; k++) VVT_OK(vv_dataset_get(set, k, &sample[k], err));
    VVT_OK(vv_task_batch_make(&b, &s->task[_i], &m, sample, 56, 1, "s", 0, texts, err));
    vv_step step = {.model = &m, .tape = vv_tape_new(m.params, VV_RECORD)};
    VVT_OK(vv_task_gradients(&step, &b, &loss, err));
    const vv_memory *real = vv_tape_memory(step.tape);
    ck_assert_int_eq(dry.activations, real->activations_peak + real->gradients_peak);
    VVT_OK(vv_task_dry(&step, &b, err)); /* leaves its FLOPs on the tape */
    ck_assert(real->flops_forward > 0 && dry.forward[_i] == real->flops_forward &&
              dry.backward[_i] == real->flops_backward);
    int64_t gradients = 0;
    for (int64_t i = 0; i < m.params->n; i++)
        if (m.params->at[i]->has_grad) gradients += m.params->at[i]->n * (int64_t)sizeof(vv_real);
    ck_assert_int_eq(dry.gradients, gradients);
    ck_assert_int_eq(dry.moments, 2 * gradients);
    ck_assert_int_eq(dry.weights, m.params->bytes - gradients);
    ck_assert_int_eq(dry.tokens[_i], 3 * 16);

    for (int k = 0; k < 3; k++) vv_sample_free(&sample[k]);
    vv_texts_free(texts);
    vv_task_batch_free(&b);
    vv_dataset_free(set);
    vv_tape_free(step.tape);
    vv_model_free(&m);
    vv_model_free(&shapes);
    vv_train_config_free(&c);
}
END_TEST

/* The paper's model: Table 13 in units of 2^20, micro-batches, and no memory. */
START_TEST(test_paper)
{
    vv_train_config c;
    vv_model shapes;
    vv_dry_stage one, two, cut;
    const int64_t before = vvb_get_info()->bytes;
    load(&c, &shapes, "paper", VV_SHAPES_ONLY);
    VVT_OK(vv_train_dry(&c, 0, &shapes, &one, err));
    VVT_OK(vv_train_dry(&c, 1, &shapes, &two, err));
    ck_assert_int_eq(one.part[0].parameters, 675759104);
    ck_assert_int_eq(one.part[1].parameters, 36709888);
    ck_assert_int_eq(one.part[2].parameters, 1720574976);
    ck_assert_int_eq(one.part[3].parameters, 38812097);
    ck_assert(one.part[1].trained == 36709888 && one.part[0].trained == 0 && one.part[2].trained == 0);
    ck_assert(one.updates == 9180 && two.updates == 13672);
    ck_assert_int_eq(two.tokens[VV_TASK_DEPTH], 32 * 38 * 38);
    ck_assert_int_eq(two.tokens[VV_TASK_SEGMENTATION], 32 * 40 * 40);
    ck_assert_int_eq(two.tokens[VV_TASK_CAPTION], 8 * 64 * 64);
    ck_assert_int_eq(two.text[VV_TASK_CAPTION], 8 * 2048);
    for (int k = 0; k < VV_TASKS; k++) c.stage[1].task[k].micro_batch = 3; /* the same work, a part at a time */
    VVT_OK(vv_train_dry(&c, 1, &shapes, &cut, err));
    for (int k = 0; k < VV_TASKS; k++) {
        ck_assert(cut.forward[k] / two.forward[k] > 0.999 && cut.forward[k] / two.forward[k] < 1.001);
        ck_assert_int_eq(cut.tokens[k], two.tokens[k]);
    }
    ck_assert_int_lt(cut.activations, two.activations / 2);
    ck_assert_int_lt(2 * two.activations, two.activations_otherwise); /* checkpointing is what makes it fit */
    c.stage[1].checkpointing = 0;
    VVT_OK(vv_train_dry(&c, 1, &shapes, &one, err));
    ck_assert(one.activations == cut.activations_otherwise && one.activations_otherwise == cut.activations);
    ck_assert_int_eq(vvb_get_info()->bytes, before);
    vv_model_free(&shapes);
    vv_train_config_free(&c);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("train/dry", &tc);
    tcase_add_loop_test(tc, test_counts, VV_TASK_DEPTH, VV_TASKS);
    tcase_add_test(tc, test_paper);
    return s;
}

VVT_MAIN(suite)
