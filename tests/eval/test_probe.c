/* Probes: a picture by hand, features that hold the answer, and the whole of it on a micro tower. */
#include "eval/probe.h"

#include <math.h>
#include <omp.h>

#include "base/rng.h"
#include "eval/metrics.h"
#include "eval/probe_parts.h"
#include "model/tower.h"

#define NEAR(got, want) ck_assert_double_eq_tol(got, want, 1e-12)

/* ---- by hand --------------------------------------------------------------------------------------------------------------- */
enum { P = 14, S = 2 * P, PIXELS = S * S };

/* Four patches: floor at 1 m; a box whose left half is one object at 2 m, its right half another at 4 m; sky; and one whose left half is
 * wall at 3 m and its right half sky. */
static void by_hand(vv_scene *s)
{
    *s = (vv_scene){.n_objects = 2};
    s->image = (vv_image){.h = S, .w = S, .rgb = vv_calloc(3 * PIXELS, 1)};
    s->depth = vv_calloc(PIXELS, sizeof *s->depth);
    s->classes = vv_calloc(PIXELS, 1);
    s->masks = vv_calloc(2 * PIXELS, 1);
    s->object[0] = (vv_synth_object){.depth = 2, .nearest = 2, .mask = s->masks};
    s->object[1] = (vv_synth_object){.depth = 4, .nearest = 4, .mask = s->masks + PIXELS};
    for (int y = 0; y < S; y++)
        for (int x = 0; x < S; x++) {
            const int i = y * S + x, right = x % P >= P / 2;
            s->image.rgb[3 * i] = (unsigned char)y;
            s->image.rgb[3 * i + 1] = (unsigned char)x;
            s->depth[i] = x < P ? (y < P ? 1 : INFINITY) : y < P ? (right ? 4 : 2) : right ? INFINITY : 3;
            s->classes[i] = x < P   ? (y < P ? VV_SYNTH_FLOOR : VV_SYNTH_SKY)
                            : y < P ? VV_SYNTH_BOX
                                    : (right ? VV_SYNTH_SKY : VV_SYNTH_WALL);
            if (x >= P && y < P) s->object[right].mask[i] = 1;
        }
}

typedef struct {
    vv_scene scene;
    vv_scenes scenes;
    vv_probe_set set;
} hand;

static void hand_new(hand *h)
{
    by_hand(&h->scene);
    h->scenes = (vv_scenes){1, &h->scene};
    VVT_OK(vv_probe_set_new(&h->set, 1, S, P, err));
    vv_probe_set_put(&h->set, 0, &h->scene);
}

static void hand_free(hand *h)
{
    vv_probe_set_free(&h->set);
    vv_scene_free(&h->scene);
}

START_TEST(targets_by_hand)
{
    hand h;
    hand_new(&h);
    ck_assert_int_eq(h.set.cells, 4);
    NEAR(h.set.target[0], 0);
    NEAR(h.set.target[1], (log(2.) + log(4.)) / 2);
    ck_assert(isnan(h.set.target[2]));
    NEAR(h.set.target[3], log(3.));
    static const int label[4] = {VV_SYNTH_FLOOR, VV_SYNTH_BOX, VV_SYNTH_SKY, VV_SYNTH_SKY}; /* equal: the first class */
    for (int c = 0; c < 4; c++) ck_assert_int_eq(h.set.label[c], label[c]);
    hand_free(&h);
}
END_TEST

START_TEST(depth_by_hand)
{
    double prediction[4] = {1, 3, 9, 3};
    vv_probe_row row = {.prediction = prediction};
    int64_t pairs = 0;
    hand h;
    hand_new(&h);
    VVT_OK(vv_probe_score(&row, VV_PROBE_DEPTH, &h.set, &h.scenes, &pairs, err));
    NEAR(row.rmse, sqrt(196. / 490)); /* the box is off by 1 everywhere, sky counts nowhere */
    NEAR(row.rmse_objects, 1);
    NEAR(row.abs_rel, (98. / 2 + 98. / 4) / 490);
    NEAR(row.rmse_log, sqrt(98 * (pow(log(3. / 2), 2) + pow(log(3. / 4), 2)) / 490));
    ck_assert_int_eq(pairs, 1);
    NEAR(row.order, 0); /* a tie */
    VVT_OK(vv_probe_ceiling(&row, VV_PROBE_DEPTH, &h.set, &h.scenes, err));
    NEAR(row.rmse, sqrt(196. / 490));
    NEAR(row.rmse_objects, 1);
    NEAR(row.rmse_log, sqrt(196. * pow(log(2.) / 2, 2) / 490)); /* at the root of 8 */
    NEAR(row.abs_rel, 98. / 2 / 490);                           /* at 2: the weights are 1/2 and 1/4 */
    NEAR(prediction[1], 3);
    hand_free(&h);
}
END_TEST

START_TEST(objects_in_order)
{
    hand h;
    int64_t pairs;
    double z[PIXELS];
    hand_new(&h);
    for (int i = 0; i < PIXELS; i++) z[i] = h.scene.object[1].mask[i] ? 2.5 : 2.4;
    ck_assert(vv_scene_order(&h.scene, z, &pairs) == 1 && pairs == 1);
    for (int i = 0; i < PIXELS; i++) z[i] = h.scene.object[1].mask[i] ? 2.3 : 2.4;
    ck_assert(vv_scene_order(&h.scene, z, &pairs) == 0 && pairs == 1);
    for (int i = 0; i < PIXELS; i++) z[i] = 0.1;
    h.scene.object[1].mask[0] = 1; /* other sums of the same number */
    ck_assert(vv_scene_order(&h.scene, z, &pairs) == 0 && pairs == 1);
    h.scene.object[1].depth = 2.2; /* too close to tell */
    ck_assert(vv_scene_order(&h.scene, z, &pairs) == 0 && pairs == 0);
    hand_free(&h);
}
END_TEST

START_TEST(classes_by_hand)
{
    double prediction[4];
    vv_probe_row row = {.prediction = prediction};
    hand h;
    hand_new(&h);
    VVT_OK(vv_probe_ceiling(&row, VV_PROBE_SEGMENTATION, &h.set, &h.scenes, err));
    NEAR(row.accuracy, (784. - 98) / 784);
    NEAR(row.iou[VV_SYNTH_SKY], 294. / 392);
    NEAR(row.iou[VV_SYNTH_WALL], 0);
    ck_assert(isnan(row.iou[VV_SYNTH_CONE]));
    NEAR(row.miou, (0.75 + 0 + 1 + 1) / 4);
    hand_free(&h);
}
END_TEST

START_TEST(other_features_by_hand)
{
    hand h;
    hand_new(&h);
    vv_real x[4 * 3 * P * P];
    const vv_probe_source position = {.kind = VV_PROBE_POSITION}, pixels = {.kind = VV_PROBE_PATCHES};
    ck_assert_int_eq(vv_probe_columns(&position, &h.set), 5);
    VVT_OK(vv_probe_features(x, &position, &h.set, err));
    const double second[5] = {0.5, -0.5, 0.25, -0.25, 0.25}; /* right, above */
    for (int k = 0; k < 5; k++) NEAR((double)x[5 + k], second[k]);
    ck_assert_int_eq(vv_probe_columns(&pixels, &h.set), 3 * P * P);
    VVT_OK(vv_probe_features(x, &pixels, &h.set, err));
    for (int c = 0; c < 4; c++)
        for (int i = 0; i < P * P; i++) {
            const vv_real *at = x + (c * P * P + i) * 3;
            ck_assert(at[0] == c / 2 * P + i / P && at[1] == c % 2 * P + i % P && at[2] == 0);
        }
    hand_free(&h);
}
END_TEST

/* ---- features that hold the answer ----------------------------------------------------------------------------------------- */
enum { TRAIN = 20, TEST = 10, D = 12 };

typedef struct {
    vv_probe_set train, test;
    vv_scenes truth;
} answers;

static void answers_new(answers *a)
{
    vv_scenes train;
    vv_synth_options o = vv_synth_default();
    o.size = 56;
    VVT_OK(vv_scenes_draw(&train, &o, 0, TRAIN, err));
    VVT_OK(vv_scenes_draw(&a->truth, &o, 1000, TEST, err));
    VVT_OK(vv_probe_set_new(&a->train, TRAIN, o.size, P, err));
    VVT_OK(vv_probe_set_new(&a->test, TEST, o.size, P, err));
    for (int i = 0; i < TRAIN; i++) vv_probe_set_put(&a->train, i, &train.at[i]);
    for (int i = 0; i < TEST; i++) vv_probe_set_put(&a->test, i, &a->truth.at[i]);
    vv_scenes_free(&train);
}

static void answers_free(answers *a)
{
    vv_probe_set_free(&a->train);
    vv_probe_set_free(&a->test);
    vv_scenes_free(&a->truth);
}

/* An invertible mixture of the answer (log depth in one number, the class as one of VV_SYNTH_CLASSES) and of noise. */
static vv_real *hold(const vv_probe_set *s, vv_probe_task task, double answer, const char *stream)
{
    vv_real *x = vv_calloc(s->n * s->cells * D, sizeof *x);
    for (int64_t i = 0; i < s->n * s->cells; i++) {
        double v[D];
        for (int d = 0; d < D; d++) v[d] = vv_random_normal(3, vv_stream(stream), (uint64_t)(i * D + d));
        if (task == VV_PROBE_DEPTH) v[0] = answer * (isnan(s->target[i]) ? 100 : s->target[i]) + (1 - answer) * v[0];
        else
            for (int d = 0; d < VV_SYNTH_CLASSES; d++) v[d] = answer * (s->label[i] == d) + (1 - answer) * v[d];
        for (int d = 0; d < D; d++)
            x[i * D + d] = (vv_real)(5 * v[d] + 2 * v[(d + 1) % D] - 3 + 0.1 * d); /* 5^12 is not (-2)^12 */
    }
    return x;
}

static void fit(vv_probe_row *row, const answers *a, vv_probe_task task, double answer)
{
    vv_real *x = hold(&a->train, task, answer, "train"), *y = hold(&a->test, task, answer, "test");
    int64_t pairs;
    *row = (vv_probe_row){.prediction = vv_calloc(a->test.n * a->test.cells, sizeof *row->prediction)};
    VVT_OK(vv_probe_fit(row, task, &a->train, x, y, a->test.n * a->test.cells, D, err));
    VVT_OK(vv_probe_score(row, task, &a->test, &a->truth, &pairs, err));
    free(x);
    free(y);
}

START_TEST(depth_is_found)
{
    answers a;
    vv_probe_row row, ceiling, noise;
    double least = INFINITY, most = -INFINITY, spread = 0;
    answers_new(&a);
    fit(&row, &a, VV_PROBE_DEPTH, 1);
    for (int64_t i = 0; i < TRAIN * a.train.cells; i++) {
        if (a.train.target[i] < least) least = a.train.target[i];
        if (a.train.target[i] > most) most = a.train.target[i];
    }
    for (int64_t i = 0; i < TEST * a.test.cells; i++) {
        const double t = a.test.target[i] < least ? least : a.test.target[i] > most ? most : a.test.target[i];
        if (!isnan(t)) ck_assert_double_eq_tol(log(row.prediction[i]), t, 1e-3);
    }
    ceiling = (vv_probe_row){.prediction = vv_calloc(TEST * a.test.cells, sizeof *ceiling.prediction)};
    VVT_OK(vv_probe_ceiling(&ceiling, VV_PROBE_DEPTH, &a.test, &a.truth, err));
    ck_assert_double_eq_tol(row.rmse_log, ceiling.rmse_log, 1e-3);
    ck_assert(ceiling.rmse_log <= row.rmse_log + 1e-12 && ceiling.rmse < row.rmse && ceiling.abs_rel < row.abs_rel &&
              ceiling.rmse_objects < row.rmse_objects && row.lambda == 1e-5);
    fit(&noise, &a, VV_PROBE_DEPTH,
        0); /* what holds nothing gives nearly one number, far from the truth, and the largest lambda */
    for (int64_t i = 0; i < TEST * a.test.cells; i++)
        spread = fmax(spread, fabs(log(noise.prediction[i] / noise.prediction[0])));
    ck_assert(spread < 0.5 && noise.rmse_log > 2 * row.rmse_log && noise.lambda > 1);
    free(row.prediction);
    free(noise.prediction);
    free(ceiling.prediction);
    answers_free(&a);
}
END_TEST

START_TEST(classes_are_found)
{
    answers a;
    vv_probe_row row, ceiling, noise;
    answers_new(&a);
    fit(&row, &a, VV_PROBE_SEGMENTATION, 1);
    for (int64_t i = 0; i < TEST * a.test.cells; i++) ck_assert_int_eq((int)row.prediction[i], a.test.label[i]);
    ceiling = (vv_probe_row){.prediction = vv_calloc(TEST * a.test.cells, sizeof *ceiling.prediction)};
    VVT_OK(vv_probe_ceiling(&ceiling, VV_PROBE_SEGMENTATION, &a.test, &a.truth, err));
    ck_assert(row.miou == ceiling.miou && row.accuracy == ceiling.accuracy && row.lambda == 1e-5 && row.iterations > 0);
    fit(&noise, &a, VV_PROBE_SEGMENTATION, 0);
    ck_assert(noise.miou < 0.5 * row.miou && noise.lambda > 0.05);
    free(row.prediction);
    free(noise.prediction);
    free(ceiling.prediction);
    answers_free(&a);
}
END_TEST

/* ---- a tower --------------------------------------------------------------------------------------------------------------- */
/* Pictures in a batch give what each gives alone, put where vv_token_to_raster says; another layer gives other numbers. */
START_TEST(tower_features)
{
    answers a;
    vv_model m = tower_micro();
    answers_new(&a);
    const int64_t C = m.vit->config.embed_dim, cells = a.test.cells;
    vv_real *x = vv_calloc(TEST * cells * C, sizeof *x), *h = vv_calloc(cells * C, sizeof *h);
    vv_preprocess p = m.preprocess;
    p.fixed_h = p.fixed_w = 56;
    for (int64_t layer = 0; layer < 2; layer++) {
        const vv_probe_source from = {VV_PROBE_TOWER, m.vit, &m.preprocess, layer};
        VVT_OK(vv_probe_features(x, &from, &a.test, err));
        for (int64_t i = 0; i < TEST; i += 9) {
            vv_batch b = {0};
            vv_tensor *tap = NULL;
            VVT_OK(vv_batch_add(&b, &p, &a.truth.at[i].image, "x", err));
            vv_tape *t = vv_tape_new(NULL, 0);
            const int64_t dim[2] = {b.rows, b.width};
            const vv_vit_wanted want = {.taps = &layer, .n_taps = 1, .tap = &tap};
            vv_vit_forward(t, m.vit, vv_input(t, "x", VV_REALS, 2, dim, b.pixel_values), b.grid, 1, &want);
            VVT_OK(vv_tape_status(t, err));
            vvb_download(h, vv_f(tap), tap->n * (int64_t)sizeof *h);
            for (int64_t n = 0; n < cells; n++) {
                int64_t r, q;
                vv_token_to_raster(n, b.grid[0], 2, &r, &q);
                for (int64_t c = 0; c < C; c++)
                    ck_assert_double_eq_tol((double)x[(i * cells + r * a.test.gw + q) * C + c], (double)h[n * C + c],
                                            sizeof(vv_real) == 8 ? 1e-12 : 1e-4);
            }
            vv_tape_free(t);
            vv_batch_free(&b);
        }
    }
    free(x);
    free(h);
    answers_free(&a);
    vv_model_free(&m);
}
END_TEST

static vv_probe_options few(void)
{
    vv_probe_options o = vv_probe_default();
    o.train = 12;
    o.test = 5;
    o.scenes.size = 56;
    return o;
}

START_TEST(whole)
{
    const vv_probe_task task = _i ? VV_PROBE_SEGMENTATION : VV_PROBE_DEPTH;
    const vv_probe_options o = few();
    vv_model m = tower_micro();
    char *text[2];
    const int before = omp_get_max_threads();
    for (int t = 0; t < 2; t++) {
        vv_probe_result r;
        omp_set_num_threads(1 + t);
        VVT_OK(vv_probe(&r, &m, task, &o, err));
        ck_assert(r.gh == 4 && r.gw == 4 && r.options.layer == m.vit->config.depth - 1);
        for (int k = 0; k < VV_PROBES; k++) ck_assert(r.row[k].present && r.row[k].prediction);
        const vv_probe_row *best = &r.row[VV_PROBE_CEILING];
        for (int k = 0; k < VV_PROBE_CEILING; k++) {
            if (task == VV_PROBE_DEPTH)
                ck_assert(best->rmse < r.row[k].rmse && best->rmse_objects < r.row[k].rmse_objects &&
                          best->rmse_log < r.row[k].rmse_log && best->abs_rel < r.row[k].abs_rel);
            else ck_assert(best->accuracy > r.row[k].accuracy && best->miou > r.row[k].miou);
        }
        json_t *json = vv_probe_json(&r);
        text[t] = vv_json_text(json, JSON_COMPACT | JSON_SORT_KEYS);
        json_t *results = json_object_get(json, "results");
        ck_assert_int_eq(json_object_size(results), VV_PROBES);
        ck_assert(json_is_real(json_object_get(json_object_get(results, "tower"), task ? "miou" : "rmse_objects")));
        ck_assert(json_is_null(json_object_get(json_object_get(results, "ceiling"), "lambda")));
        json_decref(json);
        vv_probe_free(&r);
    }
    omp_set_num_threads(before);
    ck_assert_str_eq(text[0], text[1]);
    free(text[0]);
    free(text[1]);
    vv_model_free(&m);
}
END_TEST

START_TEST(tower_alone)
{
    vv_probe_options o = few();
    vv_model m = tower_micro();
    vv_probe_result r;
    o.tower_alone = 1;
    VVT_OK(vv_probe(&r, &m, VV_PROBE_DEPTH, &o, err));
    for (int k = 0; k < VV_PROBES; k++) ck_assert_int_eq(r.row[k].present, k == VV_PROBE_TOWER);
    json_t *json = vv_probe_json(&r);
    ck_assert_int_eq(json_object_size(json_object_get(json, "results")), 1);
    json_decref(json);
    vv_probe_free(&r);
    vv_model_free(&m);
}
END_TEST

START_TEST(refusals)
{
    vv_model m = tower_micro();
    const vv_model empty = {.params = NULL};
    vv_probe_result r;
    const struct {
        const char *word;
        int64_t size, layer, train, test;
    } bad[] = {
        {"multiple of 28", 70, -1, 12, 5}, {"layer", 56, 3, 12, 5}, {"train", 56, -1, 4, 5}, {"test", 56, -1, 12, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vv_probe_options o = few();
        vv_error e = {0};
        o.scenes.size = bad[i].size;
        o.layer = bad[i].layer;
        o.train = bad[i].train;
        o.test = bad[i].test;
        vvt_expect_error(&e, vv_probe(&r, &m, VV_PROBE_DEPTH, &o, &e), VV_USAGE, bad[i].word, NULL);
    }
    const vv_probe_options o = few();
    vv_error e = {0};
    vvt_expect_error(&e, vv_probe(&r, &empty, VV_PROBE_DEPTH, &o, &e), VV_FILE, "vision", NULL);
    vv_model_free(&m);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("probe", &tc);
    tcase_add_test(tc, targets_by_hand);
    tcase_add_test(tc, depth_by_hand);
    tcase_add_test(tc, objects_in_order);
    tcase_add_test(tc, classes_by_hand);
    tcase_add_test(tc, other_features_by_hand);
    tcase_add_test(tc, depth_is_found);
    tcase_add_test(tc, classes_are_found);
    tcase_add_test(tc, tower_features);
    tcase_add_loop_test(tc, whole, 0, 2);
    tcase_add_test(tc, tower_alone);
    tcase_add_test(tc, refusals);
    return s;
}
VVT_MAIN(suite)
