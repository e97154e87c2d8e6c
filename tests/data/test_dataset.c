/* Data sets: bad samples that are skipped, scenes, scenes as files against scenes drawn, many threads. */
#include <math.h>
#include <pthread.h>

#include "manifests.h"

/* ---- bad samples ------------------------------------------------------------------------------------------------------ */

#define LINE(image)                                                                                                    \
    "{\"image\": \"" image "\", \"conversations\": [{\"role\": \"user\", \"content\": \"q\"}, "                        \
    "{\"role\": \"assistant\", \"content\": \"a\"}]}\n"
/* The second has no form, the fourth no picture. */
static const char five[] = LINE("0.png") "{}\n" LINE("2.png") LINE("no.png") LINE("4.png");

static void pictures(void)
{
    char name[20];
    for (int i = 0; i < 6; i++) {
        snprintf(name, sizeof name, "%d.png", i);
        vvt_picture(name, 2, 3, i);
    }
}

/* Sample i is the picture of that number. */
static void expect(vv_dataset *d, int64_t i, int picture)
{
    vv_sample s;
    char name[20];
    VVT_OK(vv_dataset_get(d, i, &s, err));
    snprintf(name, sizeof name, "m.jsonl:%d", picture + 1);
    ck_assert_str_eq(s.name, vvt_path(name));
    ck_assert_int_eq(s.image.rgb[0], picture);
    vv_sample_free(&s);
}

static void expect_failure(vv_dataset *d, int64_t i, vv_status status, const char *a, const char *b)
{
    vv_sample s;
    vv_error e = {0};
    vvt_expect_error(&e, vv_dataset_get(d, i, &s, &e), status, a, b, NULL);
    ck_assert(!s.name && !s.image.rgb);
}

START_TEST(none_may_be_bad)
{
    vv_dataset *d;
    vv_error e = {0};
    pictures();
    vvt_hear();
    vvt_expect_error(&e, vvt_open(&d, "m.jsonl", five, VV_TASK_CAPTION, 0, &e), VV_FILE,
                     "m.jsonl:2: ", "'conversations'", NULL);
    ck_assert(!d && !strstr(e.msg, "skipped") && vvt_heard.n == 0);
}
END_TEST

START_TEST(one_may_be_bad)
{
    vv_dataset *d;
    pictures();
    vvt_hear();
    VVT_OK(vvt_open(&d, "m.jsonl", five, VV_TASK_CAPTION, 1, err));
    ck_assert_int_eq(vv_dataset_size(d), 5);
    ck_assert(vvt_heard.n == 1 && strstr(vvt_heard.text, "m.jsonl:2: ") && strstr(vvt_heard.text, "skipped"));
    for (int k = 0; k < 2; k++) { /* the same again */
        expect(d, 0, 0);
        expect(d, 1, 2);
        expect(d, 2, 2);
        expect_failure(d, 3, VV_FILE, "m.jsonl:4: ", "after 1 bad");
        expect(d, 4, 4);
    }
    ck_assert_int_eq(vvt_heard.n, 1);
    vv_dataset_free(d);
}
END_TEST

START_TEST(two_may_be_bad)
{
    vv_dataset *d;
    pictures();
    VVT_OK(vvt_open(&d, "m.jsonl", five, VV_TASK_CAPTION, 2, err));
    vvt_hear();
    for (int k = 0; k < 2; k++) {
        expect(d, 3, 4);
        expect(d, 1, 2);
        expect(d, 4, 4);
        ck_assert(vvt_heard.n == 1 && strstr(vvt_heard.text, "m.jsonl:4: ") && strstr(vvt_heard.text, "no.png"));
    }
    vv_dataset_free(d);
}
END_TEST

START_TEST(the_first_follows_the_last)
{
    vv_dataset *d;
    pictures();
    VVT_OK(vvt_open(&d, "m.jsonl", LINE("no") LINE("1.png") LINE("no") "{\n", VV_TASK_CAPTION, 9, err));
    for (int i = 2; i < 6; i++) expect(d, i % 4, 1);
    vv_dataset_free(d);
    VVT_OK(vvt_open(&d, "m.jsonl", LINE("no") "{\n" LINE("no"), VV_TASK_CAPTION, 9, err));
    vvt_hear();
    for (int i = 0; i < 3; i++) expect_failure(d, i, VV_FILE, "m.jsonl: ", "none of its 3 samples");
    ck_assert_int_eq(vvt_heard.n, 2);
    vv_dataset_free(d);
}
END_TEST

START_TEST(usage)
{
    vv_dataset *d;
    vv_error e = {0};
    pictures();
    vvt_expect_error(&e, vvt_open(&d, "m.jsonl", five, VV_TASK_CAPTION, -1, &e), VV_USAGE, "skip", "-1", NULL);
    VVT_OK(vvt_open(&d, "m.jsonl", LINE("0.png") LINE("1.png"), VV_TASK_CAPTION, 3, err));
    expect_failure(d, -1, VV_USAGE, "0 to 1", "-1");
    expect_failure(d, 2, VV_USAGE, "0 to 1", "found 2");
    vv_dataset_free(d);
    vv_dataset_free(NULL);
    const struct {
        int64_t size, first, count;
        int questions;
        const char *word;
    } bad[] = {{7, 0, 1, 0, "size"},
               {28, -1, 1, 0, "first"},
               {28, 0, 0, 0, "count"},
               {28, 0, 1, 4, "questions"},
               {28, INT64_MAX, 1, 0, "first"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vv_source source = {
            .scenes = vv_synth_default(), .first = bad[i].first, .count = bad[i].count, .questions = bad[i].questions};
        vv_error f = {0};
        source.scenes.size = bad[i].size;
        vvt_expect_error(&f, vv_dataset_open(&d, &source, VV_TASK_CAPTION, 0, &f), VV_USAGE, "scenes", bad[i].word,
                         NULL);
    }
}
END_TEST

/* ---- scenes ------------------------------------------------------------------------------------------------------------ */

enum { SIDE = 56, FIRST = 3, SCENES = 12 };

static vv_dataset *scenes(vv_task task, int questions, int text_alone)
{
    vv_dataset *d;
    vv_source source = {.scenes = vv_synth_default(),
                        .first = FIRST,
                        .count = SCENES,
                        .questions = questions,
                        .text_alone = text_alone};
    source.scenes.size = SIDE;
    VVT_OK(vv_dataset_open(&d, &source, task, 0, err));
    ck_assert_int_eq(vv_dataset_size(d), SCENES);
    return d;
}

static vv_scene drawn(int64_t i)
{
    vv_synth_options o = vv_synth_default();
    vv_scene s;
    o.size = SIDE;
    VVT_OK(vv_synth_scene(&s, &o, FIRST + i, err));
    return s;
}

/* which question of the scene the messages at and at + 1 are; -1: none */
static int64_t which_question(const vv_scene *scene, const vv_sample *s, int64_t at)
{
    for (int64_t k = 0; k < scene->n_questions; k++)
        if (!strcmp(scene->question[k].question, s->message[at].text) &&
            !strcmp(scene->question[k].answer, s->message[at + 1].text))
            return k;
    return -1;
}

START_TEST(scene_texts)
{
    for (int questions = VV_ASK_NOTHING; questions <= VV_ASK_BOTH; questions++) {
        vv_dataset *d = scenes(VV_TASK_CAPTION, questions, 0), *alone = scenes(VV_TASK_CAPTION, questions, 1);
        for (int64_t i = 0; i < SCENES; i++) {
            vv_scene scene = drawn(i);
            vv_sample s, t;
            char name[20];
            VVT_OK(vv_dataset_get(d, i, &s, err));
            VVT_OK(vv_dataset_get(alone, i, &t, err));
            snprintf(name, sizeof name, "scene %d", (int)(FIRST + i));
            ck_assert_str_eq(s.name, name);
            ck_assert(s.image.h == SIDE && s.image.w == SIDE && !t.image.rgb && t.image.h == 0);
            ck_assert(!memcmp(s.image.rgb, scene.image.rgb, 3 * SIDE * SIDE));
            ck_assert(s.n_messages == 2 && !strcmp(s.message[0].role, "user") &&
                      !strcmp(s.message[1].role, "assistant"));
            ck_assert_str_eq(s.message[1].text, t.message[1].text);
            if (questions == 0 || (questions == 2 && i % 2 == 0)) {
                ck_assert_str_eq(s.message[1].text, scene.caption);
                ck_assert_str_eq(s.type, "caption");
            } else {
                const int64_t k = which_question(&scene, &s, 0);
                ck_assert(k >= 0);
                ck_assert_str_eq(s.type, scene.question[k].type);
            }
            vv_sample_free(&s);
            vv_sample_free(&t);
            vv_scene_free(&scene);
        }
        vv_dataset_free(d);
        vv_dataset_free(alone);
    }
}
END_TEST

/* every second sample has each question of its scene once, not always in the scene's order */
START_TEST(scene_conversations)
{
    vv_dataset *d = scenes(VV_TASK_CAPTION, VV_ASK_ALL, 0);
    int64_t moved = 0;
    for (int64_t i = 0; i < SCENES; i++) {
        vv_scene scene = drawn(i);
        vv_sample s;
        int64_t seen = 0;
        VVT_OK(vv_dataset_get(d, i, &s, err));
        if (i % 2 == 0) {
            ck_assert_int_eq(s.n_messages, 2);
            ck_assert_str_eq(s.message[1].text, scene.caption);
        } else {
            ck_assert_int_eq(s.n_messages, 2 * scene.n_questions);
            ck_assert(scene.n_questions > 1);
            ck_assert_str_eq(s.type, "questions");
            for (int64_t at = 0; at < s.n_messages; at += 2) {
                const int64_t k = which_question(&scene, &s, at);
                ck_assert(k >= 0 && !(seen >> k & 1));
                seen |= (int64_t)1 << k;
                moved += k != at / 2;
            }
        }
        vv_sample_free(&s);
        vv_scene_free(&scene);
    }
    ck_assert_int_gt(moved, 0);
    vv_dataset_free(d);
}
END_TEST

START_TEST(scene_maps_and_masks)
{
    vv_dataset *depth = scenes(VV_TASK_DEPTH, 0, 0), *segmentation = scenes(VV_TASK_SEGMENTATION, 0, 0);
    int64_t instances = 0;
    for (int64_t i = 0; i < SCENES; i++) {
        vv_scene scene = drawn(i);
        vv_sample s, t;
        VVT_OK(vv_dataset_get(depth, i, &s, err));
        VVT_OK(vv_dataset_get(segmentation, i, &t, err));
        ck_assert(!memcmp(s.image.rgb, t.image.rgb, 3 * SIDE * SIDE) && !s.message && !t.message);
        ck_assert(!memcmp(s.classes, scene.classes, SIDE * SIDE) && !t.classes && !t.disparity && !s.instance);
        for (int k = 0; k < SIDE * SIDE; k++)
            ck_assert(s.disparity[k] == (isinf(scene.depth[k]) ? 0 : (float)(1 / (double)scene.depth[k])));
        ck_assert_int_eq(t.n_instances, scene.n_referring);
        for (int64_t k = 0; k < t.n_instances; k++, instances++) {
            ck_assert_str_eq(t.instance[k].text, scene.referring[k].text);
            ck_assert(!memcmp(t.instance[k].mask, scene.object[scene.referring[k].object].mask, SIDE * SIDE));
        }
        vv_sample_free(&s);
        vv_sample_free(&t);
        vv_scene_free(&scene);
    }
    ck_assert_int_gt(instances, SCENES);
    vv_dataset_free(depth);
    vv_dataset_free(segmentation);
}
END_TEST

static void same_sample(const vv_sample *a, const vv_sample *b)
{
    const size_t n = (size_t)(a->image.h * a->image.w);
    ck_assert(a->image.h == b->image.h && a->image.w == b->image.w && !memcmp(a->image.rgb, b->image.rgb, 3 * n));
    ck_assert(a->n_messages == b->n_messages && a->n_instances == b->n_instances);
    for (int64_t k = 0; k < a->n_messages; k++) {
        ck_assert_str_eq(a->message[k].role, b->message[k].role);
        ck_assert_str_eq(a->message[k].text, b->message[k].text);
    }
    for (int64_t k = 0; k < a->n_instances; k++) {
        ck_assert_str_eq(a->instance[k].text, b->instance[k].text);
        ck_assert(!memcmp(a->instance[k].mask, b->instance[k].mask, n));
    }
    ck_assert(!a->type == !b->type && (!a->type || !strcmp(a->type, b->type)));
    ck_assert(!a->classes == !b->classes && (!a->classes || !memcmp(a->classes, b->classes, n)));
    ck_assert(!a->disparity == !b->disparity);
}

/* What the renderer writes as files is what it draws, sample for sample. In the file the sky's depth is infinite, which is no
 * known depth. */
START_TEST(written_scenes)
{
    static const char *const manifest[VV_TASKS] = {"captions.jsonl", "depth.jsonl", "segmentation.jsonl"};
    vv_synth_options o = vv_synth_default();
    char path[600];
    o.size = SIDE;
    VVT_OK(vv_synth_write(vvt_path("scenes"), &o, FIRST, SCENES, 1, err));
    vvt_hear();
    for (int task = 0; task < VV_TASKS; task++) {
        vv_dataset *a = scenes((vv_task)task, 0, 0), *b;
        int64_t at = 0;
        snprintf(path, sizeof path, "%s/%s", vvt_path("scenes"), manifest[task]);
        VVT_OK(vv_dataset_open(&b, &(vv_source){.manifest = path}, (vv_task)task, 0, err));
        for (int64_t i = 0; i < SCENES; i++) {
            vv_sample s, t;
            VVT_OK(vv_dataset_get(a, i, &s, err));
            if (task == VV_TASK_SEGMENTATION && s.n_instances == 0) continue;
            VVT_OK(vv_dataset_get(b, at++, &t, err));
            same_sample(&s, &t);
            for (int k = 0; task == VV_TASK_DEPTH && k < SIDE * SIDE; k++)
                ck_assert(s.disparity[k] == t.disparity[k] || (s.classes[k] == VV_SYNTH_SKY && isnan(t.disparity[k])));
            vv_sample_free(&s);
            vv_sample_free(&t);
        }
        ck_assert_int_eq(at, vv_dataset_size(b));
        vv_dataset_free(a);
        vv_dataset_free(b);
    }
    ck_assert_msg(vvt_heard.n == 0, "%s", vvt_heard.text);
}
END_TEST

/* ---- threads ------------------------------------------------------------------------------------------------------------ */

enum { THREADS = 4 };
static struct {
    vv_dataset *d;
    int wrong[THREADS];
} shared;

static void *reader(void *ctx)
{
    int *wrong = ctx;
    const int want[5] = {0, 2, 2, 4, 4};
    for (int i = 0; i < 200; i++) {
        vv_sample s;
        vv_error e = {0};
        if (vv_dataset_get(shared.d, i % 5, &s, &e) != VV_OK || s.image.rgb[0] != want[i % 5]) ++*wrong;
        vv_sample_free(&s);
    }
    return NULL;
}

START_TEST(many_threads)
{
    pthread_t thread[THREADS];
    pictures();
    VVT_OK(vvt_open(&shared.d, "m.jsonl", five, VV_TASK_CAPTION, 2, err));
    vv_listen(NULL, NULL);
    for (int i = 0; i < THREADS; i++) ck_assert_int_eq(pthread_create(&thread[i], NULL, reader, &shared.wrong[i]), 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        ck_assert_int_eq(shared.wrong[i], 0);
    }
    vv_dataset_free(shared.d);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("dataset", &tc);
    tcase_add_test(tc, none_may_be_bad);
    tcase_add_test(tc, one_may_be_bad);
    tcase_add_test(tc, two_may_be_bad);
    tcase_add_test(tc, the_first_follows_the_last);
    tcase_add_test(tc, usage);
    tcase_add_test(tc, scene_texts);
    tcase_add_test(tc, scene_conversations);
    tcase_add_test(tc, scene_maps_and_masks);
    tcase_add_test(tc, written_scenes);
    tcase_add_test(tc, many_threads);
    return s;
}
VVT_MAIN(suite)
