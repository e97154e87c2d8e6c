/* Evaluations of a micro model, each number found again by naive loops over one scene at a time. */
#include "eval/evaluate.h"

#include <math.h>
#include <omp.h>

#include "data/chat.h"
#include "eval/evaluate_parts.h"
#include "eval/metrics.h"
#include "loss/cross_entropy.h"
#include "model/generate.h"
#include "model/tower.h"

enum { SCENES = 19, SIDE = 56, PIXELS = SIDE * SIDE }; /* more than a batch */

static vv_model micro(int parts)
{
    vv_model m;
    VVT_OK(vv_model_from_config(&m, vvt_root("data/configs/micro.json"), parts, err));
    tower_fill(m.params);
    return m;
}

typedef struct {
    vv_model model;
    vv_scenes scenes;
    vv_eval_result r;
    vv_evaluation e;
} bench;

static void bench_new(bench *b, int parts)
{
    *b = (bench){.model = micro(parts)};
    b->r.options = vv_eval_default();
    b->r.options.scenes.size = SIDE;
    b->r.options.count = SCENES;
    VVT_OK(vv_scenes_draw(&b->scenes, &b->r.options.scenes, b->r.options.first, SCENES, err));
    b->e = (vv_evaluation){&b->model, &b->scenes, SIDE, vv_tape_new(NULL, 0), &b->r};
}

static void bench_free(bench *b)
{
    vv_tape_free(b->e.tape);
    vv_scenes_free(&b->scenes);
    vv_model_free(&b->model);
}

/* pixel values of one scene; the features of block k in raster order, through the tower alone */
static vv_tensor *tap_of(vv_tape *t, const bench *b, const vv_image *image, int64_t k)
{
    vv_batch batch = {0};
    vv_preprocess p = b->model.preprocess;
    vv_tensor *tap = NULL;
    p.fixed_h = p.fixed_w = SIDE;
    VVT_OK(vv_batch_add(&batch, &p, image, "x", err));
    const int64_t dim[2] = {batch.rows, batch.width};
    const vv_vit_wanted want = {.taps = &k, .n_taps = 1, .tap = &tap};
    vv_vit_forward(t, b->model.vit, vv_input(t, "x", VV_REALS, 2, dim, batch.pixel_values), batch.grid, 1, &want);
    int32_t at[16];
    for (int64_t n = 0; n < 16; n++) {
        int64_t y, x;
        vv_token_to_raster(n, batch.grid[0], 2, &y, &x);
        at[4 * y + x] = (int32_t)n;
    }
    vv_batch_free(&batch);
    return vv_gather_rows(t, NULL, tap, at, 16);
}

/* ---- depth ----------------------------------------------------------------------------------------------------------------- */
static vv_real *head_of(const bench *b, int64_t i)
{
    vv_tape *t = vv_tape_new(NULL, 0);
    vv_tensor *raster[VV_DPT_LEVELS];
    const vv_dpt_config *c = vv_dpt_config_of(b->model.depth);
    for (int64_t k = 0; k < c->levels; k++) raster[k] = tap_of(t, b, &b->scenes.at[i].image, c->taps[k]);
    vv_tensor *d = vv_dpt_forward(t, b->model.depth, raster, 1, 4, 4);
    VVT_OK(vv_tape_status(t, err));
    vv_real *q = vv_calloc(PIXELS, sizeof *q);
    vvb_download(q, vv_f(d), PIXELS * (int64_t)sizeof *q);
    vv_tape_free(t);
    return q;
}

START_TEST(depth)
{
    bench b;
    bench_new(&b, VV_ALL_PARTS);
    VVT_OK(vv_eval_run_depth(&b.e, err));
    double mean[PIXELS] = {0}, sums[2][4] = {{0}}, disparity_error[2] = {0};
    for (int i = 0; i < SCENES; i++)
        for (int p = 0; p < PIXELS; p++) mean[p] += 1 / (double)b.scenes.at[i].depth[p]; /* of infinity 0 */
    for (int i = 0; i < SCENES; i++) {
        const vv_scene *s = &b.scenes.at[i];
        vv_real *q = head_of(&b, i);
        for (int which = 0; which < 2; which++) {
            /* normal equations, not centred */
            double n = 0, a = 0, aa = 0, c = 0, ac = 0;
            for (int p = 0; p < PIXELS; p++) {
                const double x = which ? mean[p] : (double)q[p], y = 1 / (double)s->depth[p];
                if (y > 0) n++, a += x, aa += x * x, c += y, ac += x * y;
            }
            const double scale = (n * ac - a * c) / (n * aa - a * a), shift = (c - scale * a) / n;
            double square = 0, object = 0, objects = 0, relative = 0, within = 0, off = 0;
            for (int p = 0; p < PIXELS; p++) {
                const double d = (double)s->depth[p], x = scale * (which ? mean[p] : (double)q[p]) + shift;
                if (isinf(d)) continue;
                const double z = x <= 1 / 60. ? 60 : fmax(1 / x, 0.1);
                square += (z - d) * (z - d);
                relative += fabs(z - d) / d;
                within += fmax(z / d, d / z) < 1.25;
                off += (x - 1 / d) * (x - 1 / d);
                if (s->classes[p] >= VV_SYNTH_SPHERE && s->classes[p] <= VV_SYNTH_CONE)
                    object += (z - d) * (z - d), objects++;
            }
            sums[which][0] += sqrt(square / n) / SCENES;
            sums[which][1] += sqrt(object / objects) / SCENES;
            sums[which][2] += relative / n / SCENES;
            sums[which][3] += within / n / SCENES;
            disparity_error[which] += sqrt(off / n) / SCENES;
        }
        free(q);
    }
    for (int which = 0; which < 2; which++) {
        const vv_eval_depth *got = which ? &b.r.depth.mean_map : &b.r.depth.head;
        const double near = which || sizeof(vv_real) == 8 ? 1e-9 : 1e-3;
        ck_assert_double_eq_tol(got->rmse, sums[which][0], near);
        ck_assert_double_eq_tol(got->rmse_objects, sums[which][1], near);
        ck_assert_double_eq_tol(got->abs_rel, sums[which][2], near);
        ck_assert_double_eq_tol(got->delta1, sums[which][3], near);
        ck_assert_double_eq_tol(got->rmse_disparity, disparity_error[which], near);
    }
    ck_assert(b.r.depth.constant.order == 0 && b.r.pairs > 10);
    ck_assert(b.r.depth.constant.rmse_disparity >= b.r.depth.head.rmse_disparity);
    ck_assert(b.r.depth.constant.rmse_disparity >= b.r.depth.mean_map.rmse_disparity);
    bench_free(&b);
}
END_TEST

/* The truth, scaled and shifted, is found again, with every pair in order. */
START_TEST(depth_of_the_truth)
{
    bench b;
    bench_new(&b, VV_ALL_PARTS);
    double q[PIXELS], z[PIXELS], s, o, p[PIXELS], d[PIXELS];
    unsigned char valid[PIXELS], object[PIXELS];
    int64_t pairs, all = 0, right = 0;
    for (int i = 0; i < SCENES; i++) {
        vv_scene_truth(&b.scenes.at[i], d, valid, object);
        for (int k = 0; k < PIXELS; k++) p[k] = valid[k] ? 1 / d[k] : 0, q[k] = 3 - 0.25 * p[k];
        ck_assert(vv_align(&s, &o, q, p, valid, PIXELS));
        vv_depth_from_disparity(z, q, PIXELS, s, o, 0.1, VV_SYNTH_FAR);
        ck_assert(vv_depth_compare(z, d, valid, PIXELS).rmse < 1e-8);
        ck_assert(vv_depth_compare(z, d, object, PIXELS).pixels > 0);
        right += vv_scene_order(&b.scenes.at[i], z, &pairs);
        all += pairs;
    }
    ck_assert(all > 10 && right == all);
    bench_free(&b);
}
END_TEST

/* ---- masks ----------------------------------------------------------------------------------------------------------------- */
static double ciou_of(const bench *b, const unsigned char *constant)
{
    double both = 0, either = 0;
    for (int i = 0; i < SCENES; i++)
        for (int64_t k = 0; k < b->scenes.at[i].n_referring; k++) {
            const unsigned char *mask = b->scenes.at[i].object[b->scenes.at[i].referring[k].object].mask;
            for (int p = 0; p < PIXELS; p++) both += constant[p] && mask[p], either += constant[p] || mask[p];
        }
    return both / either;
}

START_TEST(masks)
{
    bench b;
    vv_texts *texts;
    bench_new(&b, VV_ALL_PARTS);
    const vv_mask_config *c = vv_mask_config_of(b.model.mask);
    VVT_OK(vv_model_save(&b.model, vvt_path("model"), VV_DT_F64, 0, err));
    VVT_OK(vv_tokenizer_copy(vvt_root("data/tokenizer"), vvt_path("model"), err));
    VVT_OK(vv_texts_encoder(&texts, vvt_path("model"), c->text_dim, err));
    VVT_OK(vv_eval_run_masks(&b.e, texts, err));
    double both = 0, either = 0, sum = 0, half = 0, n = 0, unlike = 0;
    for (int i = 0; i < SCENES; i++)
        for (int64_t k = 0; k < b.scenes.at[i].n_referring; k++) {
            const vv_scene *s = &b.scenes.at[i];
            const vv_real *vector;
            const int32_t zero = 0;
            const int64_t dim[2] = {1, c->text_dim};
            vv_real logits[PIXELS];
            vv_tape *t = vv_tape_new(NULL, 0);
            VVT_OK(vv_texts_find(texts, s->referring[k].text, &vector, err));
            vv_tensor *x = vv_mask_forward(t, b.model.mask, tap_of(t, &b, &s->image, c->layer), 1, 4, 4,
                                           vv_input(t, "text", VV_REALS, 2, dim, vector), &zero, 1);
            x = vv_mask_resize(t, "m", x, SIDE, SIDE);
            VVT_OK(vv_tape_status(t, err));
            vvb_download(logits, vv_f(x), sizeof logits);
            vv_tape_free(t);
            double in = 0, un = 0;
            for (int p = 0; p < PIXELS; p++) {
                const int truth = s->object[s->referring[k].object].mask[p];
                in += truth && logits[p] > 0, un += truth || logits[p] > 0;
                unlike += logits[p] > 0;
            }
            both += in, either += un, sum += in / un, half += in / un >= 0.5, n++;
        }
    const double near = sizeof(vv_real) == 8 ? 1e-12 : 2e-3;
    ck_assert(unlike > 0.02 * n * PIXELS && unlike < 0.98 * n * PIXELS); /* the head says something */
    ck_assert_int_eq(b.r.samples, (int64_t)n);
    ck_assert_double_eq_tol(b.r.segmentation.head.ciou, both / either, near);
    ck_assert_double_eq_tol(b.r.segmentation.head.giou, sum / n, near);
    ck_assert_double_eq_tol(b.r.segmentation.head.precision_half, half / n, 2 * near);
    ck_assert(b.r.segmentation.head.ciou != b.r.segmentation.shuffled_texts.ciou);
    /* constants */
    unsigned char m[PIXELS] = {0};
    ck_assert(b.r.segmentation.nothing.ciou == 0 && b.r.segmentation.nothing.giou == 0);
    memset(m, 1, sizeof m);
    ck_assert_double_eq_tol(b.r.segmentation.whole.ciou, ciou_of(&b, m), 1e-12);
    for (int share = 1; share < 10; share++) { /* no rectangle in the middle is better */
        for (int p = 0; p < PIXELS; p++)
            m[p] = abs(2 * (p % SIDE) - SIDE) * 10 < share * SIDE && abs(2 * (p / SIDE) - SIDE) * 10 < share * SIDE;
        ck_assert(ciou_of(&b, m) <= b.r.segmentation.best_constant.ciou);
    }
    /* nor is any other level of the mean mask; its own is as good */
    double level[PIXELS] = {0}, best = 0;
    for (int i = 0; i < SCENES; i++)
        for (int64_t k = 0; k < b.scenes.at[i].n_referring; k++)
            for (int p = 0; p < PIXELS; p++)
                level[p] += b.scenes.at[i].object[b.scenes.at[i].referring[k].object].mask[p];
    for (int at = 0; at < (int)n; at++) {
        for (int p = 0; p < PIXELS; p++) m[p] = level[p] > at;
        best = fmax(best, ciou_of(&b, m));
    }
    ck_assert(b.r.segmentation.best_constant.ciou >= best && b.r.segmentation.best_constant.ciou < best + 0.01);
    ck_assert(b.r.segmentation.share > 0.05 && b.r.segmentation.share < 0.9);
    vv_texts_free(texts);
    bench_free(&b);
}
END_TEST

/* ---- answers --------------------------------------------------------------------------------------------------------------- */
static void features_of(const bench *b, const vv_image *image, vv_real *to)
{
    vv_batch batch = {0};
    vv_preprocess p = b->model.preprocess;
    p.fixed_h = p.fixed_w = SIDE;
    VVT_OK(vv_batch_add(&batch, &p, image, "x", err));
    vv_tape *t = vv_tape_new(NULL, 0);
    vv_tensor *x = vv_mllm_features(t, &b->model, &batch);
    VVT_OK(vv_tape_status(t, err));
    vvb_download(to, vv_f(x), x->n * (int64_t)sizeof *to);
    vv_tape_free(t);
    vv_batch_free(&batch);
}

enum { ROWS = 4, WIDTH = 16 };

/* the answer that generate.h gives, in fresh memory */
static char *generated(const bench *b, const char *question, const vv_real *features, int most, int *ended)
{
    const vv_turn turn = {.role = VV_USER, .text = question, .images = 1};
    const vv_chat_options o = {0};
    const int64_t rows = ROWS, dim[2] = {ROWS, WIDTH};
    vv_generate_options g = vv_generate_default();
    vv_chat chat = {.ids = {NULL, 0, 0}};
    vv_tape *t = vv_tape_new(NULL, 0);
    int32_t out[16];
    int64_t n;
    g.max_new_tokens = most;
    g.vocab_used = vv_tokenizer_size(b->model.tokenizer);
    VVT_OK(vv_chat_render(&chat, b->model.tokenizer, &turn, 1, &rows, 1, &o, err));
    VVT_OK(vv_chat_prompt(&chat, b->model.tokenizer, &o, err));
    vv_tensor *x = vv_mllm_splice(t, b->model.llm, chat.ids.id, chat.ids.n, vv_image_pad(&b->model),
                                  vv_input(t, "f", VV_REALS, 2, dim, features));
    VVT_OK(vv_generate(t, b->model.llm, x, chat.ids.id, chat.ids.n, &g, NULL, NULL, out, &n, ended, err));
    vv_tape_free(t);
    vv_chat_free(&chat);
    return vv_decode(b->model.tokenizer, out, n, 1, NULL);
}

/* The model's end tokens become tokens that it says often, so that some answers end and others do not. */
static void end_often(bench *b)
{
    vv_real f[ROWS * WIDTH];
    vv_qwen3_config *c = &b->model.llm->config;
    c->n_eos = 0;
    for (int i = 0; i < 4; i++) {
        int ended;
        features_of(b, &b->scenes.at[i].image, f);
        char *text = generated(b, b->scenes.at[i].question[0].question, f, 3, &ended);
        vv_ids ids = {0};
        VVT_OK(vv_encode(b->model.tokenizer, text, strlen(text), 0, &ids, err));
        if (ids.n) c->eos[c->n_eos++] = ids.id[ids.n - 1];
        vv_ids_free(&ids);
        free(text);
    }
    ck_assert(c->n_eos > 0);
}

/* Every second question becomes one that the model answers rightly. */
START_TEST(questions)
{
    bench b;
    vv_image grey;
    vv_real of_grey[ROWS * WIDTH], f[ROWS * WIDTH];
    bench_new(&b, VV_ALL_PARTS);
    end_often(&b);
    VVT_OK(vv_eval_grey(&b.e, &grey, err));
    features_of(&b, &grey, of_grey);
    double right[VV_EVAL_TYPES + 1] = {0}, grey_right[VV_EVAL_TYPES + 1] = {0}, n[VV_EVAL_TYPES + 1] = {0};
    static const char *const type[] = {"count", "color", "shape", "position", "depth_order", "existence"};
    int ended_count = 0, endless = 0, at = 0;
    int64_t most = 0;
    for (int i = 0; i < SCENES; i++)
        for (int64_t k = 0; k < b.scenes.at[i].n_questions; k++) {
            vv_ids ids = {0};
            const char *text = b.scenes.at[i].question[k].answer;
            VVT_OK(vv_encode(b.model.tokenizer, text, strlen(text), 0, &ids, err));
            most = ids.n + 1 > most ? ids.n + 1 : most;
            vv_ids_free(&ids);
        }
    for (int i = 0; i < SCENES; i++)
        for (int64_t k = 0; k < b.scenes.at[i].n_questions; k++) {
            vv_synth_question *q = &b.scenes.at[i].question[k];
            int ended, grey_ended, t = 0;
            features_of(&b, &b.scenes.at[i].image, f);
            char *a = generated(&b, q->question, f, (int)most, &ended),
                 *g = generated(&b, q->question, of_grey, (int)most, &grey_ended);
            if (++at % 2 && strlen(a) < sizeof q->answer) strcpy(q->answer, a);
            while (strcmp(q->type, type[t])) t++;
            ended ? ended_count++ : endless++;
            n[t]++, n[VV_EVAL_TYPES]++;
            right[t] += ended && !strcmp(a, q->answer), right[VV_EVAL_TYPES] += ended && !strcmp(a, q->answer);
            grey_right[t] += grey_ended && !strcmp(g, q->answer);
            grey_right[VV_EVAL_TYPES] += grey_ended && !strcmp(g, q->answer);
            free(a);
            free(g);
        }
    ck_assert_msg(ended_count > 5 && endless > 5, "%d answers end, %d do not", ended_count, endless);
    VVT_OK(vv_eval_run_vqa(&b.e, err));
    for (int t = 0; t <= VV_EVAL_TYPES; t++) {
        ck_assert_int_eq(b.r.vqa[t].n, (int64_t)n[t]);
        ck_assert_msg(fabs(b.r.vqa[t].accuracy - right[t] / n[t]) < 1e-12, "type %d: %g of %g", t,
                      b.r.vqa[t].accuracy * n[t], right[t]);
        ck_assert_double_eq_tol(b.r.vqa[t].grey, grey_right[t] / n[t], 1e-12);
    }
    ck_assert(right[VV_EVAL_TYPES] > 3 && right[VV_EVAL_TYPES] != grey_right[VV_EVAL_TYPES]);
    vv_image_free(&grey);
    bench_free(&b);
}
END_TEST

/* Many at a time, or one by one: the same texts, at every limit of their length. */
START_TEST(answers)
{
    bench b;
    bench_new(&b, VV_ALL_PARTS);
    end_often(&b);
    static vv_real f[SCENES][ROWS * WIDTH];
    static vv_asked asked[6 * SCENES];
    for (int most = 1; most <= 6; most += most < 3 ? 1 : 3) {
        int64_t n = 0;
        int longest = 0;
        for (int i = 0; i < SCENES; i++) {
            features_of(&b, &b.scenes.at[i].image, f[i]);
            for (int64_t k = 0; k < b.scenes.at[i].n_questions; k++)
                asked[n++] = (vv_asked){.question = b.scenes.at[i].question[k].question, .picture = i};
        }
        ck_assert(n > 64); /* more than a group */
        VVT_OK(vv_eval_answer(&b.e, asked, n, f[0], ROWS, most, err));
        for (int64_t i = 0; i < n; i++) {
            int ended;
            char *want = generated(&b, asked[i].question, f[asked[i].picture], most, &ended);
            ck_assert_msg(!strcmp(want, asked[i].text), "most %d, question %d: \"%s\", not \"%s\"", most, (int)i,
                          asked[i].text, want);
            ck_assert_int_eq(asked[i].ended, ended);
            longest += !ended;
            free(want);
            free(asked[i].text);
        }
        ck_assert(longest > 0);
    }
    bench_free(&b);
}
END_TEST

/* A decoder that copies its last token's row and says <|im_start|> for ever, which is no text: "" that never ends is no right answer "". */
START_TEST(what_never_ends_is_wrong)
{
    bench b;
    bench_new(&b, VV_ALL_PARTS);
    vv_chat chat = {.ids = {NULL, 0, 0}};
    VVT_OK(vv_chat_prompt(&chat, b.model.tokenizer, &(vv_chat_options){0}, err));
    const int64_t last = chat.ids.id[chat.ids.n - 1], start = vv_token_id(b.model.tokenizer, "<|im_start|>");
    for (int64_t i = 0; i < b.model.params->n; i++) {
        const vv_tensor *p = b.model.params->at[i];
        if (strncmp(p->name, "model.", 6)) continue;
        vv_real *v = vv_calloc(p->n, sizeof *v);
        if (p == b.model.llm->norm)
            for (int64_t k = 0; k < p->n; k++) v[k] = 1;
        if (p == b.model.llm->embed_tokens) v[last * WIDTH] = 1, v[start * WIDTH] = 2;
        vvb_upload(p->data, v, p->n * (int64_t)sizeof *v);
        free(v);
    }
    for (int i = 0; i < SCENES; i++) {
        b.scenes.at[i].n_questions = 1;
        b.scenes.at[i].question[0].answer[0] = 0;
    }
    VVT_OK(vv_eval_run_vqa(&b.e, err));
    ck_assert(b.r.vqa[VV_EVAL_TYPES].n == SCENES && b.r.vqa[VV_EVAL_TYPES].majority == 1);
    ck_assert(b.r.vqa[VV_EVAL_TYPES].accuracy == 0 && b.r.vqa[VV_EVAL_TYPES].grey == 0);
    vv_chat_free(&chat);
    bench_free(&b);
}
END_TEST

START_TEST(majority)
{
    static const char *const answer[8] = {"3", "1", "2", "2", "1", "1", "3", "3"};
    bench b;
    bench_new(&b, VV_ALL_PARTS);
    int at = 0;
    for (int i = 0; i < SCENES; i++) {
        vv_scene *s = &b.scenes.at[i];
        s->n_questions = i < 8;
        s->question[0] = (vv_synth_question){.type = "count", .question = "?"};
        if (i < 8) strcpy(s->question[0].answer, answer[at++]);
    }
    VVT_OK(vv_eval_run_vqa(&b.e, err));
    ck_assert_str_eq(b.r.vqa[0].majority_answer, "3"); /* of two equally frequent ones the first */
    ck_assert_double_eq_tol(b.r.vqa[0].majority, 3. / 8, 1e-12);
    ck_assert_double_eq_tol(b.r.vqa[VV_EVAL_TYPES].majority, 3. / 8, 1e-12);
    ck_assert(b.r.vqa[1].n == 0 && isnan(b.r.vqa[1].accuracy) && isnan(b.r.vqa[1].majority));
    bench_free(&b);
}
END_TEST

/* ---- captions -------------------------------------------------------------------------------------------------------------- */
START_TEST(captions)
{
    bench b;
    vv_image grey;
    bench_new(&b, VV_ALL_PARTS);
    VVT_OK(vv_eval_run_captions(&b.e, err));
    VVT_OK(vv_eval_grey(&b.e, &grey, err));
    for (int which = 0; which < 2; which++) {
        double sum = 0, tokens = 0;
        for (int i = 0; i < SCENES; i++) {
            const vv_scene *s = &b.scenes.at[i];
            const vv_turn turn[2] = {{.role = VV_USER, .text = "Describe the picture.", .images = 1},
                                     {.role = VV_ASSISTANT, .text = s->caption}};
            const int64_t rows = ROWS, dim[2] = {ROWS, WIDTH}, V = b.model.llm->config.vocab_size;
            vv_real f[ROWS * WIDTH];
            vv_chat chat = {.ids = {NULL, 0, 0}};
            VVT_OK(vv_chat_render(&chat, b.model.tokenizer, turn, 2, &rows, 1, NULL, err));
            features_of(&b, which ? &grey : &s->image, f);
            vv_tape *t = vv_tape_new(NULL, 0);
            const int32_t cu[2] = {0, (int32_t)chat.ids.n};
            vv_tensor *x = vv_mllm_splice(t, b.model.llm, chat.ids.id, chat.ids.n, vv_image_pad(&b.model),
                                          vv_input(t, "f", VV_REALS, 2, dim, f));
            vv_tensor *z = vv_qwen3_logits(t, b.model.llm, vv_qwen3_forward(t, b.model.llm, x, cu, 1));
            VVT_OK(vv_tape_status(t, err));
            vv_real *logits = vv_calloc(z->n, sizeof *logits);
            vvb_download(logits, vv_f(z), z->n * (int64_t)sizeof *logits);
            for (int64_t n = 1; n < chat.ids.n; n++) {
                double all = 0;
                if (chat.labels.id[n] == VV_IGNORED) continue;
                for (int64_t v = 0; v < V; v++) all += exp((double)logits[(n - 1) * V + v]);
                sum += log(all) - (double)logits[(n - 1) * V + chat.ids.id[n]];
                tokens++;
            }
            free(logits);
            vv_tape_free(t);
            vv_chat_free(&chat);
        }
        ck_assert_int_eq(b.r.tokens, (int64_t)tokens);
        ck_assert_double_eq_tol(which ? b.r.caption_grey : b.r.caption, sum / tokens,
                                sizeof(vv_real) == 8 ? 1e-12 : 1e-5);
    }
    ck_assert(b.r.caption != b.r.caption_grey);
    vv_image_free(&grey);
    bench_free(&b);
}
END_TEST

/* ---- the whole of it ------------------------------------------------------------------------------------------------------- */
static char *whole_text(const vv_model *m, const vv_eval_options *o, vv_eval_result *r)
{
    VVT_OK(vv_evaluate(r, m, o, err));
    json_t *json = vv_eval_json(r);
    char *text = vv_json_text(json, JSON_COMPACT);
    json_decref(json);
    ck_assert_ptr_nonnull(text);
    return text;
}

static vv_eval_options few(void)
{
    vv_eval_options o = vv_eval_default();
    o.scenes.size = SIDE;
    o.count = 6;
    o.model_dir = vvt_path("whole");
    return o;
}

START_TEST(whole)
{
    vv_eval_result r;
    vv_model m = micro(VV_ALL_PARTS);
    const vv_eval_options o = few();
    const int before = omp_get_max_threads();
    VVT_OK(vv_model_save(&m, vvt_path("whole"), VV_DT_F32, 0, err));
    VVT_OK(vv_tokenizer_copy(vvt_root("data/tokenizer"), vvt_path("whole"), err));
    omp_set_num_threads(1);
    char *one = whole_text(&m, &o, &r);
    omp_set_num_threads(2);
    char *two = whole_text(&m, &o, &r);
    omp_set_num_threads(before);
    ck_assert_str_eq(one, two);
    json_t *json = json_loads(one, 0, NULL);
    for (int k = 0; k < VV_EVAL_PARTS; k++)
        ck_assert(json_is_object(json_object_get(json, vv_eval_part_name[k])) && !r.left_out[k][0]);
    ck_assert(json_object_size(json_object_get(json, "left_out")) == 0);
    json_decref(json);
    free(one);
    free(two);
    vv_model_free(&m);
}
END_TEST

START_TEST(parts_that_are_not_there)
{
    static const struct {
        int parts;
        const char *left_out[VV_EVAL_PARTS];
    } cases[] = {{VV_VISION, {"depth head", "mask head", "language model", "language model"}},
                 {VV_VISION | VV_DEPTH | VV_MASK, {"", "text encoder", "language model", "language model"}},
                 {VV_VISION | VV_TEXT, {"depth head", "mask head", "projector", "projector"}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        vv_eval_result r;
        vv_model m = micro(cases[i].parts);
        const vv_eval_options o = few();
        char *text = whole_text(&m, &o, &r);
        json_t *json = json_loads(text, 0, NULL);
        for (int k = 0; k < VV_EVAL_PARTS; k++) {
            const int there = cases[i].left_out[k][0] == 0;
            ck_assert_msg(strstr(r.left_out[k], cases[i].left_out[k]) && there == !r.left_out[k][0], "%d %d: %s",
                          (int)i, k, r.left_out[k]);
            ck_assert(json_is_null(json_object_get(json, vv_eval_part_name[k])) == !there);
        }
        json_decref(json);
        free(text);
        vv_model_free(&m);
    }
}
END_TEST

START_TEST(refusals)
{
    vv_eval_result r;
    vv_model m = micro(VV_VISION);
    const vv_model empty = {.params = NULL};
    vv_eval_options size = few(), count = few(), first = few(), good = few();
    vv_error e = {0}, f = {0}, g = {0}, h = {0};
    size.scenes.size = 70;
    count.count = 0;
    first.first = -1;
    vvt_expect_error(&e, vv_evaluate(&r, &m, &size, &e), VV_USAGE, "multiple of 28", NULL);
    vvt_expect_error(&f, vv_evaluate(&r, &m, &count, &f), VV_USAGE, "count", NULL);
    vvt_expect_error(&g, vv_evaluate(&r, &m, &first, &g), VV_USAGE, "first", NULL);
    vvt_expect_error(&h, vv_evaluate(&r, &empty, &good, &h), VV_FILE, "vision", NULL);
    vv_model_free(&m);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("evaluate", &tc);
    tcase_add_test(tc, depth);
    tcase_add_test(tc, depth_of_the_truth);
    tcase_add_test(tc, masks);
    tcase_add_test(tc, questions);
    tcase_add_test(tc, answers);
    tcase_add_test(tc, what_never_ends_is_wrong);
    tcase_add_test(tc, majority);
    tcase_add_test(tc, captions);
    tcase_add_test(tc, whole);
    tcase_add_test(tc, parts_that_are_not_there);
    tcase_add_test(tc, refusals);
    return s;
}
VVT_MAIN(suite)
