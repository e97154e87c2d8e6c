/* A report of a whole run: its pictures are those of the scenes, and what it says of them is what an evaluation measures. */
#include <dirent.h>
#include <math.h>

#include "../train/train.h"
#include "eval/evaluate_parts.h"
#include "pages.h"

static void remove_all(const char *path)
{
    DIR *d = opendir(path);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        char inner[1400];
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        snprintf(inner, sizeof inner, "%s/%s", path, e->d_name);
        if (remove(inner)) remove_all(inner);
    }
    if (d) closedir(d);
    remove(path);
}

static int count(const char *page, const char *what)
{
    int n = 0;
    for (const char *p = strstr(page, what); p; p = strstr(p + 1, what)) n++;
    return n;
}

static int digit(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
                                  : 63;
}

/* the picture of an img element */
static void decode(vv_image *out, const char *img)
{
    const char *text = strstr(img, "base64,") + 7;
    const size_t n = strcspn(text, "=\"");
    unsigned char *bytes = calloc(n, 1);
    for (size_t bit = 0; bit < 6 * n; bit++)
        bytes[bit / 8] |= (unsigned char)((digit(text[bit / 6]) >> (5 - bit % 6) & 1) << (7 - bit % 8));
    VVT_OK(vv_image_decode(out, bytes, (int64_t)(6 * n / 8), "a picture of the page", err));
    free(bytes);
}

/* mean of the numbers after `before` in the page; how many */
static double mean_after(const char *page, const char *before, int *n)
{
    double sum = 0;
    *n = 0;
    for (const char *p = strstr(page, before); p; p = strstr(p + 1, before)) {
        sum += strtod(p + strlen(before), NULL);
        ++*n;
    }
    return sum / *n;
}

/* A model that has hardly trained gives the same mask, all or nothing, for every text: this one's depend on text and place. */
static void make_masks_differ(const char *dir)
{
    vv_model m;
    VVT_OK(vv_model_load(&m, dir, VV_ALL_PARTS, err));
    VVT_OK(vv_mask_init(m.mask, 2, err));
    for (int64_t i = 0; i < m.params->n; i++) {
        const vv_tensor *p = m.params->at[i];
        if (p->ndim < 2 || strncmp(p->name, "mask_head.", 10)) continue;
        vv_real *v = vv_calloc(p->n, sizeof *v);
        vvb_download(v, p->data, p->n * (int64_t)sizeof *v);
        for (int64_t k = 0; k < p->n; k++) v[k] *= strstr(p->name, "text_proj") ? 400 : 4;
        vvb_upload(p->data, v, p->n * (int64_t)sizeof *v);
        free(v);
    }
    VVT_OK(vv_model_save(&m, dir, sizeof(vv_real) == 8 ? VV_DT_F64 : VV_DT_F32, 0, err));
    vv_model_free(&m);
}

/* Each expression that the page shows of scene 0, alone, through the evaluation's tower: the same IoU. */
static void expect_masks(const char *page, const vv_model *m, vv_scene *s, const char *encoder)
{
    const vv_scenes one = {1, s};
    const vv_evaluation e = {.model = m, .scenes = &one, .size = s->image.h, .tape = vv_tape_new(NULL, 0)};
    const int64_t layer = vv_mask_config_of(m->mask)->layer, dim[2] = {1, vv_mask_config_of(m->mask)->text_dim};
    const int64_t side = s->image.h / 14, pixels = s->image.h * s->image.w;
    const int32_t image_of = 0;
    const char *end = strstr(page, "<h3>Scene 1");
    vv_real *v = vv_calloc(pixels, sizeof *v);
    vv_texts *texts = NULL;
    int shown = 0;
    VVT_OK(vv_texts_encoder(&texts, encoder, dim[1], err));
    for (int64_t k = 0; k < s->n_referring; k++) {
        vv_tensor *raster = NULL;
        const vv_real *vector = NULL;
        char start[100];
        snprintf(start, sizeof start, "<figcaption>%s: IoU ", s->referring[k].text);
        const char *at = strstr(page, start);
        if (!at || at > end) continue;
        VVT_OK(vv_texts_find(texts, s->referring[k].text, &vector, err));
        VVT_OK(vv_eval_tower(&e, 0, 1, &layer, 1, &raster, err));
        vv_tensor *text = vv_input(e.tape, "text", VV_REALS, 2, dim, vector);
        vv_tensor *logits = vv_mask_forward(e.tape, m->mask, raster, 1, side, side, text, &image_of, 1);
        logits = vv_mask_resize(e.tape, "mask", logits, s->image.h, s->image.w);
        VVT_OK(vv_tape_status(e.tape, err));
        vvb_download(v, logits->data, pixels * (int64_t)sizeof *v);
        double both = 0, either = 0;
        for (int64_t i = 0; i < pixels; i++) {
            const int truth = s->object[s->referring[k].object].mask[i] != 0;
            both += v[i] > 0 && truth;
            either += v[i] > 0 || truth;
        }
        const double iou = strtod(at + strlen(start), NULL);
        ck_assert_msg(fabs(iou - both / either) < 0.0051, "%s: %g, expected %g", s->referring[k].text, iou,
                      both / either);
        shown++;
        vv_tape_reset(e.tape);
    }
    ck_assert_int_eq(shown, VV_SHOWN_MASKS);
    free(v);
    vv_texts_free(texts);
    vv_tape_free(e.tape);
}

/* The answers about a scene in the page are those of the evaluation's own generation. */
static void expect_answers(const char *page, const vv_model *m, const vv_scene *s)
{
    vv_asked asked[VV_SYNTH_QUESTIONS] = {{0}};
    vv_batch b = {0};
    vv_evaluation e = {.model = m, .tape = vv_tape_new(NULL, 0)};
    VVT_OK(vv_batch_add(&b, &m->preprocess, &s->image, "scene", err));
    const vv_tensor *x = vv_mllm_features(e.tape, m, &b);
    const int64_t rows = x->dim[0];
    vv_real *features = vv_calloc(x->n, sizeof *features);
    vvb_download(features, x->data, x->n * (int64_t)sizeof *features);
    vv_tape_reset(e.tape);
    for (int64_t k = 0; k < s->n_questions; k++) asked[k].question = s->question[k].question;
    VVT_OK(vv_eval_answer(&e, asked, s->n_questions, features, rows, 24, err));
    for (int64_t k = 0; k < s->n_questions; k++) {
        vv_page row = {0};
        vv_page_put(&row, "<tr><td>");
        vv_page_text(&row, s->question[k].question);
        vv_page_put(&row, "</td><td>");
        vv_page_text(&row, s->question[k].answer);
        vv_page_put(&row, "</td><td>");
        vv_page_text(&row, asked[k].text);
        vv_page_put(&row, "</td>");
        ck_assert_msg(strstr(page, row.text) != NULL, "%s", row.text);
        vv_page_free(&row);
        free(asked[k].text);
    }
    free(features);
    vv_batch_free(&b);
    vv_tape_free(e.tape);
}

/* What the page says of scenes is what an evaluation of them measures, which has code of its own. */
static void expect_as_evaluated(const char *page, const char *run, const vv_synth_options *scenes, int64_t n)
{
    vv_model m;
    vv_scene s;
    vv_eval_result r;
    vv_eval_options o = vv_eval_default();
    int count = 0;
    char *model = vv_asprintf("%s/stage2/model", run), *encoder = vv_asprintf("%s/stage0/model", run);
    VVT_OK(vv_model_load(&m, model, VV_ALL_PARTS, err));
    o.scenes = *scenes;
    o.first = VV_PROBE_TEST;
    o.count = n;
    o.text_encoder = encoder;
    VVT_OK(vv_evaluate(&r, &m, &o, err));
    const double abs_rel = mean_after(page, "<figcaption>predicted, aligned: AbsRel ", &count);
    ck_assert_int_eq(count, (int)n);
    ck_assert_msg(fabs(abs_rel - r.depth.head.abs_rel) < 0.00051, "%g, expected %g", abs_rel, r.depth.head.abs_rel);
    VVT_OK(vv_synth_scene(&s, scenes, VV_PROBE_TEST, err));
    expect_answers(page, &m, &s);
    expect_masks(page, &m, &s, encoder);
    vv_scene_free(&s);
    vv_model_free(&m);
    free(model);
    free(encoder);
}

/* The micro run: every part has its pictures, the first is scene VV_PROBE_TEST of a seed that the run does not have, and its true
 * caption stands in the page. Without heads that trained they are left out. */
START_TEST(whole_run)
{
    enum { SCENES = 4 };
    json_t *root = vvt_micro();
    char *config = vvt_config(root, "micro"), *run = strdup(vvt_path("run"));
    const vv_train_options t = {.config = config, .out = run, .overrides = vvt_as_written};
    int stopped = 0;
    VVT_OK(vv_train(&t, &stopped, err));
    vv_synth_options scenes = vv_synth_default();
    scenes.seed = VV_PROBE_SEED;
    scenes.size = 56;
    char *last = vv_asprintf("%s/stage2/model", run);
    make_masks_differ(last);
    free(last);
    vv_report_options o = {.run = run, .out = vvt_path("run.html"), .scenes = SCENES};
    char *page = report(&o);
    for (int i = 0; i < SCENES; i++) {
        vv_scene s;
        vv_image shown;
        char title[40];
        VVT_OK(vv_synth_scene(&s, &scenes, VV_PROBE_TEST + i, err));
        snprintf(title, sizeof title, "<h3>Scene %d", i);
        const char *at = strstr(page, title);
        ck_assert_ptr_nonnull(at);
        decode(&shown, strstr(at, "<img "));
        ck_assert(shown.h == 56 && shown.w == 56 && !memcmp(shown.rgb, s.image.rgb, 56 * 56 * 3));
        ck_assert_ptr_nonnull(strstr(at, s.caption));
        ck_assert_ptr_nonnull(strstr(at, s.question[0].question));
        vv_image_free(&shown);
        vv_scene_free(&s);
    }
    ck_assert_int_eq(count(page, "alt=\"features, base tower\""), SCENES);
    ck_assert_int_eq(count(page, "alt=\"features, trained tower\""), SCENES);
    ck_assert_int_eq(count(page, "alt=\"true disparity\""), SCENES);
    ck_assert_int_eq(count(page, "alt=\"linear probe of depth, base tower\""), SCENES);
    ck_assert_int_eq(count(page, "alt=\"linear probe of classes, trained tower\""), SCENES);
    ck_assert_int_ge(count(page, ": IoU "), 2 * SCENES);
    expect_as_evaluated(page, run, &scenes, SCENES);
    free(page);
    char *early = vv_asprintf("%s/stage0/model", run);
    o.model = early;
    o.scenes = 1;
    page = report(&o);
    ck_assert_ptr_nonnull(strstr(page, "no depth head that trained"));
    ck_assert_ptr_nonnull(strstr(page, "no mask head that trained"));
    ck_assert_int_eq(count(page, "base tower\""), 0);
    ck_assert_int_eq(count(page, "alt=\"true disparity\""), 0);
    free(page);
    free(early);
    remove_all(run);
    free(run);
    free(config);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("report of a run", &tc);
    tcase_add_test(tc, whole_run);
    return s;
}
VVT_MAIN(suite)
