/* Runs: what trains and what stays, stops and continuations, what changes no bit, and the log. */
#include "runs.h"

/* ---- what trains ---------------------------------------------------------------------------------------------------------------- */
START_TEST(test_parts)
{
    char *out = whole("straight", NULL);
    static const struct {
        const char *before, *after, *same,
            *other; /* parts by their first letter of visual, Projector, model, depth_head, Kmask_head */
    } steps[] = {{"stage0", "stage0b", "vPdk", "m"}, {"stage1", "stage2", "", "vPmdk"}};
    static const struct {
        char letter;
        const char *prefix;
    } parts[] = {{'v', "visual."}, {'P', "projector."}, {'m', "model."}, {'d', "depth_head."}, {'k', "mask_head."}};
    for (size_t i = 0; i < 2; i++)
        for (size_t k = 0; k < 5; k++) {
            char a[40], b[40];
            snprintf(a, sizeof a, "%s/model", steps[i].before);
            snprintf(b, sizeof b, "%s/model", steps[i].after);
            const int same = same_part(out, a, b, parts[k].prefix);
            ck_assert_msg(same == (strchr(steps[i].same, parts[k].letter) != NULL), "%s: %s", b, parts[k].prefix);
        }
    /* stage 1 takes the tower of stage 0 and the decoder of stage 0b, and moves neither */
    ck_assert(same_part(out, "stage0/model", "stage1/model", "visual."));
    ck_assert(same_part(out, "stage0b/model", "stage1/model", "model."));
    ck_assert(!same_part(out, "stage0b/model", "stage1/model", "projector."));
    ck_assert(!same_part(out, "stage1/checkpoint-1", "stage1/model", "projector."));
    /* the fixed matrix of a trained head */
    ck_assert(same_part(out, "stage2/checkpoint-2", "stage2/model", "mask_head.prompt_encoder.pe_layer"));
    free(out);
}
END_TEST

/* What no task reads keeps its value, or decays when that is asked for; a head's fixed matrix never does. */
static void decaying(json_t *root) { vvt_set(root, "train.stages[3].optimizer.decay_unused", "true"); }

START_TEST(test_unused)
{
    static const char fixed[] = "mask_head.prompt_encoder.pe_layer", unused[] = "visual.merger.mlp.0.weight";
    char *kept = whole("straight", NULL), *decayed = whole("decaying", decaying);
    ck_assert(same_part(kept, "stage1/model", "stage2/model", unused));
    ck_assert(!same_part(decayed, "stage1/model", "stage2/model", unused));
    ck_assert(same_part(decayed, "stage2/checkpoint-2", "stage2/model", fixed));
    free(kept);
    free(decayed);
}
END_TEST

/* A fresh depth head starts above 0: its final ReLU would let no gradient through a map that starts below. Stage 0 does not train it. */
START_TEST(test_depth_alive)
{
    char *out = whole("straight", NULL), *path = inside(out, "stage0/model/model.safetensors");
    vv_st *f;
    double bias;
    VVT_OK(vv_st_open(&f, path, err));
    VVT_OK(vv_st_read_f64(f, vv_st_find(f, "depth_head.scratch.output_conv2.2.bias"), &bias, err));
    ck_assert(bias == 1);
    vv_st_close(f);
    free(path);
    free(out);
}
END_TEST

/* No moments for what does not train; as many updates as there were. */
START_TEST(test_moments)
{
    char *out = whole("straight", NULL), *path = inside(out, "stage1/checkpoint-1/optimizer.safetensors");
    vv_st *f;
    VVT_OK(vv_st_open(&f, path, err));
    int64_t step[16], n = vv_st_find(f, "opt.step")->n;
    ck_assert_int_eq(vv_st_count(f), 2 * n + 1);
    VVT_OK(vv_st_read_i64(f, vv_st_find(f, "opt.step"), step, err));
    for (int64_t i = 0; i < n; i++) ck_assert_int_eq(step[i], 1);
    for (int64_t i = 0; i < vv_st_count(f); i++) {
        const char *name = vv_st_at(f, i)->name;
        ck_assert_msg(strstr(name, ".projector.") || !strcmp(name, "opt.step"), "%s", name);
    }
    ck_assert_ptr_nonnull(vv_st_find(f, "opt.exp_avg_sq.projector.fc1.weight"));
    vv_st_close(f);
    free(path);
    free(out);
}
END_TEST

/* ---- what changes no bit --------------------------------------------------------------------------------------------------------- */
static void looking(json_t *root)
{
    vvt_set(root, "train.stages[0].gradients_every", "1");
    vvt_set(root, "train.stages[3].gradients_every", "1");
}
static void checkpointed(json_t *root)
{
    for (int i = 0; i < 4; i++) {
        char path[60];
        snprintf(path, sizeof path, "train.stages[%d].checkpointing", i);
        vvt_set(root, path, "true");
    }
}
static void saving(json_t *root)
{
    vvt_set(root, "train.stages[3].save_every", "1");
    vvt_set(root, "train.stages[3].keep_last", "1");
}

START_TEST(test_same_weights)
{
    static void (*const change[])(json_t *) = {looking, checkpointed, saving};
    static const char *const name[] = {"looking", "checkpointed", "saving"};
    char *plain = whole("straight", NULL), *other = whole(name[_i], change[_i]);
    ck_assert(same_file(plain, other, "stage0/model/model.safetensors"));
    ck_assert(same_file(plain, other, "stage2/model/model.safetensors"));
    if (_i == 2) ck_assert(!there(other, "stage2/checkpoint-1") && there(other, "stage2/checkpoint-2"));
    free(plain);
    free(other);
}
END_TEST

/* A stage under another name is another stage, unless it draws its random numbers under the first one's. */
static void renamed(json_t *root) { vvt_set(root, "train.stages[3].name", "\"arm\""); }
static void paired(json_t *root)
{
    renamed(root);
    vvt_set(root, "train.stages[3].random", "\"stage2\"");
}

START_TEST(test_random_of)
{
    char *plain = whole("straight", NULL), *other = whole("renamed", renamed), *same = whole("paired", paired);
    static const char *const part[] = {"visual.", "depth_head."};
    char *folder = vv_strdup(vvt_path("."));
    for (int i = 0; i < 2; i++) {
        ck_assert(same_part(folder, "straight/stage2/model", "paired/arm/model", part[i]));
        ck_assert(!same_part(folder, "straight/stage2/model", "renamed/arm/model", part[i]));
    }
    free(folder);
    free(plain);
    free(other);
    free(same);
}
END_TEST

/* bf16 moves the run, but the masters keep their digits. */
static void in_bf16(json_t *root)
{
    vvt_stages(root, 0, 0);
    vvt_set(root, "train.stages[0].precision", "\"bf16\"");
}
static void in_float(json_t *root) { vvt_stages(root, 0, 0); }

START_TEST(test_bf16)
{
    char *a = whole("float", in_float), *b = whole("bf16", in_bf16);
    vv_st *x, *y;
    char *pa = inside(a, "stage0/model/model.safetensors"), *pb = inside(b, "stage0/model/model.safetensors");
    VVT_OK(vv_st_open(&x, pa, err));
    VVT_OK(vv_st_open(&y, pb, err));
    double d = 0, size = 0;
    int64_t rough = 0, all = 0;
    for (int64_t i = 0; i < vv_st_count(x); i++) {
        const vv_st_entry *e = vv_st_at(x, i), *f = vv_st_find(y, e->name);
        double *v = calloc((size_t)e->n, sizeof *v), *w = calloc((size_t)e->n, sizeof *w);
        VVT_OK(vv_st_read_f64(x, e, v, err));
        VVT_OK(vv_st_read_f64(y, f, w, err));
        for (int64_t k = 0; k < e->n; k++) {
            d += (v[k] - w[k]) * (v[k] - w[k]);
            size += v[k] * v[k];
            all += w[k] != 0;
            rough += w[k] != 0 && (double)vv_bf16_to_f32(vv_f64_to_bf16(w[k])) == w[k];
        }
        free(v);
        free(w);
    }
    ck_assert(d > 0 && sqrt(d / size) < 1e-2);
    ck_assert(rough < all / 10); /* norms are 1 */
    vv_st_close(x);
    vv_st_close(y);
    free(pa);
    free(pb);
    free(a);
    free(b);
}
END_TEST

/* ---- stops and continuations ------------------------------------------------------------------------------------------------------- */
/* After each number of updates there are in the run (3 + 2 + 2 + 3): a stop, then the rest in as many threads as the first part had not. */
START_TEST(test_stop_and_resume)
{
    char *straight = whole("straight", NULL), *out = vv_strdup(vvt_path("stopped")),
         *config = vvt_config(vvt_micro(), "stopped");
    int stopped;
    vvb_init(_i % 2 ? 1 : 2);
    VVT_OK(run(config, out, 0, _i, &stopped, err));
    ck_assert(stopped);
    vvb_init(_i % 2 ? 2 : 1);
    VVT_OK(run(config, out, 1, 0, &stopped, err));
    ck_assert(!stopped);
    vvb_init(0);
    expect_same_run(straight, out);
    /* once more: nothing is left to do, and nothing changes */
    VVT_OK(run(config, out, 1, 0, &stopped, err));
    expect_same_run(straight, out);
    free(straight);
    free(config);
    char *command = vv_asprintf("rm -rf '%s'", out);
    ck_assert_int_eq(system(command), 0);
    free(command);
    free(out);
}
END_TEST

/* A stage alone takes what the earlier ones left. */
START_TEST(test_one_stage)
{
    static const char *const names[] = {"stage0", "stage0b", "stage1", "stage2"};
    char *straight = whole("straight", NULL), *config = vvt_config(vvt_micro(), "single"),
         *out = vv_strdup(vvt_path("single"));
    watch w = {0, 0};
    int stopped;
    vv_error why = {0};
    vv_train_options o = {
        .config = config, .out = out, .stage = "stage1", .overrides = vvt_as_written, .told = told, .ctx = &w};
    vv_status s = vv_train(&o, &stopped, &why);
    vvt_expect_error(&why, s, VV_FILE, "single/stage", "model", NULL);
    for (int i = 0; i < 4; i++) {
        o.stage = names[i];
        VVT_OK(vv_train(&o, &stopped, err));
    }
    expect_same_run(straight, out);
    why = (vv_error){0};
    s = vv_train(&o, &stopped, &why);
    vvt_expect_error(&why, s, VV_FILE, "stage2", "model", NULL);
    o.stage = "stage9";
    why = (vv_error){0};
    s = vv_train(&o, &stopped, &why);
    vvt_expect_error(&why, s, VV_USAGE, "--stage", "stage9", NULL);
    free(straight);
    free(config);
    free(out);
}
END_TEST

/* Given weights: stages that would make them are left out. */
START_TEST(test_given)
{
    char *first = whole("straight", NULL), *donor = inside(first, "stage0/model"),
         *config = vvt_config(vvt_micro(), "given"), *out = vv_strdup(vvt_path("given"));
    watch w = {0, 0};
    int stopped;
    const vv_train_options o = {.config = config,
                                .out = out,
                                .overrides = {.seed = -1, .init_tower = donor, .init_llm = donor},
                                .told = told,
                                .ctx = &w};
    VVT_OK(vv_train(&o, &stopped, err));
    ck_assert(!there(out, "stage0") && !there(out, "stage0b") && there(out, "stage2/model"));
    char *path = vv_strdup("../straight/stage0/model");
    ck_assert(same_part(out, path, "stage1/model", "visual.") && same_part(out, path, "stage1/model", "model."));
    free(path);
    free(first);
    free(donor);
    free(config);
    free(out);
}
END_TEST

/* Epochs: as many updates as the task with the most batches needs; the other one is repeated. */
START_TEST(test_epochs)
{
    json_t *root = vvt_micro();
    vvt_stages(root, 0, 0);
    vvt_set(root, "train.stages[0].updates", NULL);
    vvt_set(root, "train.stages[0].epochs", "2");
    vvt_set(root, "train.stages[0].tasks",
            "[{\"task\": \"caption\", \"batch\": 4, \"sources\": [{\"scenes\": {\"size\": 56}, "
            "\"count\": 5}, {\"scenes\": {\"size\": 56}, \"count\": 4}]}, {\"task\": \"depth\", "
            "\"batch\": 2, \"size\": 56, \"sources\": [{\"scenes\": {\"size\": 56}, \"count\": 3}]}]");
    char *config = vvt_config(root, "epochs"), *out = vv_strdup(vvt_path("epochs"));
    int stopped;
    size_t n;
    VVT_OK(run(config, out, 0, 0, &stopped, err));
    char *text = read_all(out, "log.jsonl", &n); /* ceil(9 / 4) = 3 and ceil(3 / 2) = 2: three updates an epoch */
    ck_assert(strstr(text, "\"kind\":\"start\",\"stage\":\"stage0\",\"updates\":6") && strstr(text, "\"update\":6"));
    free(text);
    free(config);
    free(out);
}
END_TEST

/* ---- the log ----------------------------------------------------------------------------------------------------------------------- */
START_TEST(test_bands)
{
    char *out = whole("bands", in_float);
    static const struct {
        const char *text, *word;
        vv_status status;
    } cases[] = {
        {"{\"stage0\": {\"caption\": {\"1\": [1, 10], \"3\": [0, 100]}, \"grad_norm\": {\"2\": [0, 1e9]}}}", NULL,
         VV_OK},
        {"{\"stage0\": {\"total\": {\"2\": [0, 0.5]}}}", "stage0: total at update 2", VV_DIFFERS},
        {"{\"stage0\": {\"total\": {\"4\": [0, 100]}}}", "no such value", VV_DIFFERS},
        {"{\"stage0\": {\"depth\": {\"2\": [0, 100]}}}", "no such value", VV_DIFFERS},
        {"{\"stage7\": {\"total\": {\"2\": [0, 100]}}}", "stage7", VV_DIFFERS},
        {"{\"stage0\": {\"loss\": {\"2\": [0, 100]}}}", "loss", VV_FILE},
        {"{\"stage0\": {\"total\": {\"two\": [0, 100]}}}", "two", VV_FILE},
        {"{\"stage0\": {\"total\": {\"2\": [0]}}}", "[lo, hi]", VV_FILE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vv_error why = {0};
        const vv_status s = vv_expect_bands(out, vvt_write("bands.json", cases[i].text, strlen(cases[i].text)), &why);
        if (cases[i].status == VV_OK) ck_assert_msg(s == VV_OK, "%s", why.msg);
        else vvt_expect_error(&why, s, cases[i].status, cases[i].word, NULL);
    }
    free(out);
}
END_TEST

/* Learning rates of three updates with one of warm-up: nothing, all, and half way down the cosine to 5 %. */
START_TEST(test_rates)
{
    const double want[3] = {0, 1e-3, 1e-3 * (0.05 + 0.95 * 0.5)};
    char *out = whole("straight", NULL);
    size_t n;
    char *text = read_all(out, "log.jsonl", &n);
    int64_t u = 0;
    for (char *line = strtok(text, "\n"); line && u < 3; line = strtok(NULL, "\n")) {
        json_t *o = json_loads(line, 0, NULL), *lr = json_object_get(o, "lr");
        if (lr) ck_assert(fabs(json_number_value(json_object_get(lr, "visual")) - want[u++]) < 1e-15);
        json_decref(o);
    }
    ck_assert_int_eq(u, 3);
    free(text);
    free(out);
}
END_TEST

/* Layers, tasks and ranges of the gradients' lines. */
START_TEST(test_gradient_lines)
{
    char *out = whole("straight", NULL);
    size_t n;
    char *text = read_all(out, "log.jsonl", &n);
    int lines = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        json_t *o = json_loads(line, 0, NULL), *layers = json_object_get(o, "layers");
        ck_assert_msg(o != NULL, "%s", line);
        lines += layers != NULL;
        if (layers) ck_assert_int_eq(json_array_size(layers), 5); /* patch embedding, three blocks, merger */
        for (size_t i = 0; i < json_array_size(layers); i++) {
            const json_t *l = json_array_get(layers, i);
            const char *name = json_string_value(json_object_get(l, "layer"));
            ck_assert_int_eq(json_object_size(json_object_get(l, "norm")), 3);
            ck_assert_int_eq(json_object_size(json_object_get(l, "cosine")), 3);
            const double norm = json_number_value(json_object_get(json_object_get(l, "norm"), "depth"));
            const double cosine =
                json_number_value(json_object_get(json_object_get(l, "cosine"), "caption.segmentation"));
            ck_assert_msg((norm > 0) == (strcmp(name, "visual.merger") != 0), "%s: %g", name, norm);
            ck_assert(fabs(cosine) <= 1);
        }
        json_decref(o);
    }
    ck_assert_int_eq(lines, 1);
    free(text);
    free(out);
}
END_TEST

/* The tower's gradient by hand: of each task alone. */
START_TEST(test_gradient_numbers)
{
    vv_gradients g;
    vv_model m;
    char *config = vvt_config(vvt_micro(), "numbers");
    VVT_OK(vv_model_from_config(&m, config, VV_VISION, err));
    VVT_OK(vv_gradients_new(&g, &m, err));
    for (int k = 0; k < VV_TASKS; k++) {
        for (int64_t i = 0; i < m.params->n; i++) {
            vv_tensor *p = m.params->at[i];
            if (!p->grad) ck_assert_ptr_nonnull(p->grad = vvb_alloc(p->n * (int64_t)sizeof *p->grad));
            for (int64_t e = 0; e < p->n; e++) /* 1 in all; then +2 in every second place; then -1, +1, -1 ... */
                vvt_poke(p->grad, e,
                         k == 0 ? 1
                                : vvt_peek(p->grad, e) + (vv_real)(k == 1  ? (e % 2 ? 2 : 0)
                                                                   : e % 2 ? 1
                                                                           : -1));
            p->has_grad = 1;
        }
        VVT_OK(vv_gradients_after(&g, (vv_task)k, err));
    }
    vv_gradients_finish(&g);
    const vv_layer *patch = &g.layer[0];
    int64_t n = m.params->at[patch->first]->n;
    ck_assert_str_eq(patch->name, "visual.patch_embed");
    ck_assert_int_eq(patch->n, 1);
    ck_assert(fabs(patch->norm[0] - sqrt((double)n)) < 1e-9 && fabs(patch->norm[1] - sqrt(2.0 * (double)n)) < 1e-9 &&
              fabs(patch->norm[2] - sqrt((double)n)) < 1e-9);
    ck_assert(fabs(patch->cosine[0] - sqrt(0.5)) < 1e-12 && fabs(patch->cosine[1]) < 1e-12 &&
              fabs(patch->cosine[2] - sqrt(0.5)) < 1e-12);
    vv_gradients_free(&g);
    vv_model_free(&m);
    free(config);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("train/trainer", &tc);
    tcase_add_test(tc, test_parts);
    tcase_add_test(tc, test_unused);
    tcase_add_test(tc, test_depth_alive);
    tcase_add_test(tc, test_moments);
    tcase_add_loop_test(tc, test_same_weights, 0, 3);
    tcase_add_test(tc, test_random_of);
    tcase_add_test(tc, test_bf16);
    tcase_add_loop_test(tc, test_stop_and_resume, 1, 10);
    tcase_add_test(tc, test_one_stage);
    tcase_add_test(tc, test_given);
    tcase_add_test(tc, test_epochs);
    tcase_add_test(tc, test_bands);
    tcase_add_test(tc, test_rates);
    tcase_add_test(tc, test_gradient_lines);
    tcase_add_test(tc, test_gradient_numbers);
    return s;
}

VVT_MAIN(suite)
