/* Held-out samples: which they are, what their losses are, that looking changes no bit, and the best weights. */
#include "runs.h"
#include "train/step.h"

enum { COUNT = 5 };

static void put_everywhere(json_t *root, const char *key, const char *text)
{
    static const int stages[] = {0, 3};
    for (int i = 0; i < 2; i++) {
        char path[80];
        snprintf(path, sizeof path, "train.stages[%d].%s", stages[i], key);
        vvt_set(root, path, text);
    }
}

/* every second update and the last one, of stage 0 and stage 2; every checkpoint stays */
static void validating(json_t *root)
{
    put_everywhere(root, "validate", "{\"every\": 2, \"count\": 5}");
    put_everywhere(root, "save_every", "1");
    put_everywhere(root, "keep_last", "0");
}

/* ---- the samples --------------------------------------------------------------------------------------------------------------- */
START_TEST(test_sources)
{
    json_t *root = vvt_micro();
    vv_train_config c;
    validating(root);
    vvt_set(root, "train.stages[2].tasks[0].sources[0].scenes.seed", "1"); /* up to 19, after those up to 119 */
    vvt_set(root, "train.stages[3].tasks[1].validation",
            "[{\"scenes\": {\"seed\": 9, \"size\": 84}, \"first\": 7, \"count\": 3}]");
    char *path = vvt_config(root, "sources");
    VVT_OK(vv_train_config_load(&c, path, &vvt_as_written, err));
    const vv_task_config *caption = &c.stage[0].task[VV_TASK_CAPTION], *depth = &c.stage[3].task[VV_TASK_DEPTH],
                         *masks = &c.stage[3].task[VV_TASK_SEGMENTATION];
    ck_assert_int_eq(caption->n_validation, 2); /* seed 1 is drawn from up to scene 119 */
    for (int i = 0; i < 2; i++) {
        const vv_source *s = &caption->validation[i], *t = &caption->source[i];
        ck_assert(s->first == 120 && s->count == COUNT && s->scenes.seed == 1 && s->scenes.size == 56);
        ck_assert(s->questions == t->questions && s->weight == t->weight && s->scenes.closeups == t->scenes.closeups);
    }
    ck_assert(depth->n_validation == 1 && depth->validation[0].first == 7 && depth->validation[0].scenes.seed == 9);
    ck_assert(masks->validation[0].first == 20 && masks->validation[0].scenes.seed == 4);
    ck_assert(!c.stage[1].task[VV_TASK_CAPTION].n_validation && !c.stage[1].validate_every);
    free(path);
    path = vvt_config(json_deep_copy(c.root), "sources again"); /* run.json says the same */
    vv_train_config again;
    VVT_OK(vv_train_config_load(&again, path, &vvt_as_written, err));
    char *differs = vv_config_difference(c.root, again.root);
    ck_assert_msg(!differs, "%s", differs);
    ck_assert(again.stage[3].validate_every == 2 && again.stage[3].task[VV_TASK_DEPTH].validation[0].first == 7);
    free(path);
    vv_train_config_free(&again);
    vv_train_config_free(&c);
}
END_TEST

/* ---- the losses ----------------------------------------------------------------------------------------------------------------- */
/* the lines "validation" of the stage: updates and totals; how many */
static int validations(const char *out, const char *stage, int64_t update[], double total[], int64_t best[],
                       json_t **last)
{
    size_t size;
    int n = 0;
    char *text = read_all(out, "log.jsonl", &size);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *o = json_loads(line, 0, NULL);
        ck_assert_msg(o != NULL, "%s", line);
        if (!strcmp(json_string_value(json_object_get(o, "kind")), "validation") &&
            !strcmp(json_string_value(json_object_get(o, "stage")), stage)) {
            const json_t *v = json_object_get(o, "validation");
            update[n] = json_integer_value(json_object_get(o, "update"));
            total[n] = json_number_value(json_object_get(v, "total"));
            best[n++] = json_integer_value(json_object_get(o, "best"));
            if (last) json_decref(*last), *last = json_deep_copy(v);
        }
        json_decref(o);
    }
    free(text);
    return n;
}

/* the task's loss of scenes 20 to 24 as the trainer has it for a batch, by the weights that stage 2 ended with */
static double by_hand(const vv_train_config *c, vv_model *m, vv_task task, vv_texts *texts)
{
    const vv_task_config *of = &c->stage[3].task[task];
    vv_task_config config = *of;
    vv_source source = of->source[0];
    vv_dataset *set;
    vv_sample s[COUNT];
    vv_task_batch b;
    vv_task_loss loss;
    config.batch = COUNT;
    source.first = 20;
    VVT_OK(vv_dataset_open(&set, &source, task, 0, err));
    for (int i = 0; i < COUNT; i++) VVT_OK(vv_dataset_get(set, i, &s[i], err));
    char stream[80];
    snprintf(stream, sizeof stream, "stage2/%s/validation", vv_task_name[task]);
    VVT_OK(vv_task_batch_make(&b, &config, m, s, 56, c->seed, stream, 0, texts, err));
    const vv_step step = {.model = m, .tape = vv_tape_new(m->params, VV_RECORD)};
    VVT_OK(vv_task_gradients(&step, &b, &loss, err));
    vv_tape_free(step.tape);
    vv_task_batch_free(&b);
    for (int i = 0; i < COUNT; i++) vv_sample_free(&s[i]);
    vv_dataset_free(set);
    return loss.loss;
}

START_TEST(test_losses)
{
    char *out = whole("validating", validating), *path = inside(out, "run.json"), *folder = inside(out, "stage2/model"),
         *encoder = inside(out, "stage0/model");
    int64_t update[16], best[16];
    double total[16], sum = 0;
    json_t *last = NULL;
    vv_train_config c;
    vv_model m;
    vv_texts *texts;
    ck_assert_int_eq(validations(out, "stage2", update, total, best, &last), 2);
    ck_assert(update[0] == 2 && update[1] == 3);
    VVT_OK(vv_train_config_load(&c, path, &vvt_as_written, err));
    VVT_OK(vv_model_load(&m, folder, VV_ALL_PARTS, err));
    VVT_OK(vv_texts_encoder(&texts, encoder, m.mask->config.text_dim, err));
    for (int k = 0; k < VV_TASKS; k++) {
        const double want = by_hand(&c, &m, (vv_task)k, texts),
                     got = json_number_value(json_object_get(last, vv_task_name[k]));
        ck_assert_msg(want > 0 && want == got, "%s: %.17g, logged %.17g", vv_task_name[k], want, got);
        sum += c.stage[3].task[k].lambda * want;
    }
    ck_assert(sum == total[1]);
    json_decref(last);
    vv_texts_free(texts);
    vv_model_free(&m);
    vv_train_config_free(&c);
    free(out);
    free(path);
    free(folder);
    free(encoder);
}
END_TEST

/* ---- what it leaves ------------------------------------------------------------------------------------------------------------- */
static void in_bf16(json_t *root) { put_everywhere(root, "precision", "\"bf16\""); }
static void validating_bf16(json_t *root)
{
    in_bf16(root);
    validating(root);
}

START_TEST(test_same_weights)
{
    char *plain = _i ? whole("bf16 alone", in_bf16) : whole("straight", NULL),
         *other = _i ? whole("validating bf16", validating_bf16) : whole("validating", validating);
    ck_assert(same_file(plain, other, "stage0/model/model.safetensors"));
    ck_assert(same_file(plain, other, "stage2/model/model.safetensors"));
    ck_assert(!there(plain, "stage2/best") && !there(other, "stage1/best"));
    free(plain);
    free(other);
}
END_TEST

/* The best is the update with the least total, and its weights are in STAGE/best: when the loss falls, and when it rises (learning
 * rates that grow far too large). */
static void rising(json_t *root)
{
    vvt_stages(root, 0, 0);
    vvt_set(root, "train.stages[0].validate", "{\"every\": 1, \"count\": 5}");
    vvt_set(root, "train.stages[0].updates", "8");
    vvt_set(root, "train.stages[0].save_every", "1");
    vvt_set(root, "train.stages[0].keep_last", "0");
    vvt_set(root, "train.stages[0].schedule", "{\"type\": \"linear\", \"warmup_ratio\": 1}");
    vvt_set(root, "train.stages[0].lr", "{\"visual\": 0.3, \"projector\": 0.3, \"model\": 0.3}");
}

START_TEST(test_best)
{
    char *out = _i ? whole("rising", rising) : whole("validating", validating), at[80];
    int64_t update[16], best[16];
    double total[16];
    const int n = validations(out, "stage0", update, total, best, NULL);
    int least = 0;
    ck_assert_int_eq(n, _i ? 8 : 2);
    for (int i = 0; i < n; i++) {
        if (total[i] < total[least]) least = i;
        ck_assert_int_eq(best[i], update[least]);
    }
    if (_i) ck_assert_int_lt(least, n - 1);
    if (least == n - 1) snprintf(at, sizeof at, "stage0/model");
    else snprintf(at, sizeof at, "stage0/checkpoint-%lld", (long long)update[least]);
    ck_assert(same_part(out, at, "stage0/best", "visual.") && same_part(out, at, "stage0/best", "model."));
    ck_assert(!same_part(out, "stage0/checkpoint-1", least ? "stage0/best" : "stage0/model", "model."));
    ck_assert(there(out, "stage0/best/config.json") && there(out, "stage0/best/tokenizer.json"));
    ck_assert(!there(out, "stage0/best/trainer_state.json"));
    free(out);
}
END_TEST

/* After each number of updates: a stop, then the rest in another number of threads. Losses, best and weights are the same bits. */
START_TEST(test_resume)
{
    char *straight = whole("rising", rising), *out = vv_strdup(vvt_path("stopped"));
    json_t *root = vvt_micro();
    int stopped;
    rising(root);
    char *config = vvt_config(root, "stopped");
    vvb_init(_i % 2 ? 1 : 2);
    VVT_OK(run(config, out, 0, _i, &stopped, err));
    ck_assert(stopped);
    vvb_init(_i % 2 ? 2 : 1);
    VVT_OK(run(config, out, 1, 0, &stopped, err));
    vvb_init(0);
    char *x = log_without_time(straight), *y = log_without_time(out);
    ck_assert_msg(!strcmp(x, y), "the logs differ");
    ck_assert(same_file(straight, out, "stage0/best/model.safetensors"));
    ck_assert(same_file(straight, out, "stage0/model/model.safetensors"));
    free(x);
    free(y);
    char *command = vv_asprintf("rm -rf '%s'", out);
    ck_assert_int_eq(system(command), 0);
    free(command);
    free(straight);
    free(config);
    free(out);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("train/validate", &tc);
    tcase_add_test(tc, test_sources);
    tcase_add_test(tc, test_losses);
    tcase_add_loop_test(tc, test_same_weights, 0, 2);
    tcase_add_loop_test(tc, test_best, 0, 2);
    tcase_add_loop_test(tc, test_resume, 1, 8);
    return s;
}

VVT_MAIN(suite)
