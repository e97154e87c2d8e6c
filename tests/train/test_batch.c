/* Samples as tensors: squares, labels, instances, conversations, embeddings. */
#include <math.h>

#include "train.h"
#include "train/step.h"

static vv_model model;
static vv_train_config config;

static void set_up(void)
{
    char *path = vvt_config(vvt_micro(), "micro");
    VVT_OK(vv_train_config_load(&config, path, &vvt_as_written, err));
    VVT_OK(vv_model_from_config(&model, path, VV_ALL_PARTS, err));
    VVT_OK(vv_model_init(&model, 1, err));
    free(path);
}

static void tear_down(void)
{
    vv_model_free(&model);
    vv_train_config_free(&config);
}

static vv_task_config task_of(vv_task task, int64_t batch, int64_t micro)
{
    vv_task_config c = config.stage[3].task[task];
    c.batch = batch;
    c.micro_batch = micro;
    return c;
}

/* a picture of h x w with no two rows or columns alike */
static vv_sample picture(const char *name, int64_t h, int64_t w)
{
    vv_sample s = {.name = vv_strdup(name)};
    VVT_OK(vv_image_new(&s.image, h, w, err));
    for (int64_t i = 0; i < h * w * 3; i++)
        s.image.rgb[i] = (unsigned char)(7 * (i / 3 / w) + 13 * (i / 3 % w) + 90 * (i % 3));
    return s;
}

static void message(vv_sample *s, const char *role, const char *text)
{
    s->message = realloc(s->message, (size_t)(s->n_messages + 1) * sizeof *s->message);
    s->message[s->n_messages++] = (vv_message){vv_strdup(role), vv_strdup(text)};
}

static vv_instance instance(const char *text, int64_t h, int64_t w, int64_t from)
{
    vv_instance x = {vv_strdup(text), calloc((size_t)(h * w), 1)};
    for (int64_t i = from; i < h * w; i++) x.mask[i] = 1;
    return x;
}

static vv_texts *texts(void) /* of the micro model itself */
{
    vv_texts *t = NULL;
    VVT_OK(vv_model_save(&model, vvt_path("encoder"), VV_DT_REAL, 0, err));
    VVT_OK(vv_tokenizer_copy(model.tokenizer_dir, vvt_path("encoder"), err));
    VVT_OK(vv_texts_encoder(&t, vvt_path("encoder"), 16, err));
    return t;
}

/* Disparity by nearest centres: 3 x 5 to 28 x 28; unknown stays unknown. The picture is squashed as the preprocessor's fixed size does. */
START_TEST(test_depth_square)
{
    const vv_task_config c = task_of(VV_TASK_DEPTH, 1, 1);
    vv_sample s = picture("one", 30, 50);
    s.disparity = calloc(30 * 50, sizeof *s.disparity);
    for (int i = 0; i < 30 * 50; i++) s.disparity[i] = i % 7 == 3 ? NAN : (float)i;
    vv_task_batch b;
    VVT_OK(vv_task_batch_make(&b, &c, &model, &s, 28, 1, "s", 0, NULL, err));
    const vv_real *d = b.micro[0].disparity;
    for (int r = 0; r < 28; r++)
        for (int q = 0; q < 28; q++) {
            const int y = (int)floor((r + 0.5) * 30 / 28), x = (int)floor((q + 0.5) * 50 / 28);
            const float want = s.disparity[y * 50 + x];
            ck_assert(isnan(want) ? isnan(d[r * 28 + q]) : d[r * 28 + q] == (vv_real)want);
        }
    vv_preprocess p = model.preprocess;
    vv_batch want = {0};
    p.fixed_h = p.fixed_w = 28;
    VVT_OK(vv_batch_add(&want, &p, &s.image, "one", err));
    ck_assert_int_eq(b.micro[0].pictures.rows, want.rows);
    ck_assert_int_eq(b.micro[0].pictures.grid[0].h, 2);
    ck_assert(!memcmp(b.micro[0].pictures.pixel_values, want.pixel_values,
                      (size_t)(want.rows * want.width) * sizeof(vv_real)));
    vv_batch_free(&want);
    vv_task_batch_free(&b);
    vv_sample_free(&s);
}
END_TEST

/* No instance, an empty mask, and more than max_instances, of which the draw's number chooses. */
START_TEST(test_instances)
{
    vv_task_config c = task_of(VV_TASK_SEGMENTATION, 3, 2);
    c.max_instances = 3;
    vv_sample s[3] = {picture("none", 28, 28), picture("empty", 28, 28), picture("many", 56, 28)};
    s[1].instance = malloc(sizeof *s[1].instance);
    s[1].instance[s[1].n_instances++] = instance("a cup", 28, 28, 28 * 28);
    s[2].instance = malloc(8 * sizeof *s[2].instance);
    for (int k = 0; k < 8; k++) {
        char text[20];
        snprintf(text, sizeof text, "cup %d", k);
        s[2].instance[s[2].n_instances++] = instance(text, 56, 28, 28 * k);
    }
    vv_texts *t = texts();
    vv_task_batch b, again, other;
    VVT_OK(vv_task_batch_make(&b, &c, &model, s, 28, 1, "s", 30, t, err));
    ck_assert_int_eq(b.n, 2);
    ck_assert_int_eq(b.instances, 4);
    ck_assert_int_eq(b.micro[0].instances, 1);
    ck_assert_int_eq(b.micro[0].image_of[0], 1);
    for (int i = 0; i < 28 * 28; i++) ck_assert(b.micro[0].masks[i] == 0);
    ck_assert_int_eq(b.micro[1].instances, 3);
    ck_assert_str_eq(b.micro[1].instance[2], "many");
    for (int k = 0; k < 3; k++) { /* draw 32 of the order: its own three, each with its own mask and text */
        const int64_t chosen = vv_draw(1, "s/instances", 32, k, 8);
        const vv_real *vector;
        VVT_OK(vv_texts_find(t, s[2].instance[chosen].text, &vector, err));
        ck_assert(!memcmp(b.micro[1].embedded + 16 * k, vector, 16 * sizeof *vector));
        for (int i = 0; i < 28 * 28; i++) {
            const int y = (int)floor((i / 28 + 0.5) * 56 / 28);
            ck_assert(b.micro[1].masks[28 * 28 * k + i] == (vv_real)s[2].instance[chosen].mask[28 * y + i % 28]);
        }
    }
    c.micro_batch = 3; /* whatever the micro-batches are */
    VVT_OK(vv_task_batch_make(&again, &c, &model, s, 28, 1, "s", 30, t, err));
    VVT_OK(vv_task_batch_make(&other, &c, &model, s, 28, 1, "s", 33, t, err));
    ck_assert(!memcmp(again.micro[0].embedded + 16, b.micro[1].embedded, 48 * sizeof(vv_real)));
    ck_assert(memcmp(other.micro[0].embedded + 16, b.micro[1].embedded, 48 * sizeof(vv_real)));
    vv_task_batch_free(&b);
    vv_task_batch_free(&again);
    vv_task_batch_free(&other);
    for (int i = 0; i < 3; i++) vv_sample_free(&s[i]);
    vv_texts_free(t);
}
END_TEST

static vv_sample talk(void)
{
    vv_sample s = picture("talk", 56, 56);
    message(&s, "user", "What is this?");
    message(&s, "assistant", "A cup.");
    message(&s, "user", "And its colour?");
    message(&s, "assistant", "Red as the sphere.");
    return s;
}

static int64_t tokens_of(int64_t max_tokens, vv_status want, const char *word)
{
    vv_task_config c = task_of(VV_TASK_CAPTION, 1, 1);
    vv_sample s = talk();
    vv_task_batch b;
    vv_error why = {0};
    c.max_tokens = max_tokens;
    const vv_status st = vv_task_batch_make(&b, &c, &model, &s, 0, 1, "s", 0, NULL, &why);
    const int64_t n = st == VV_OK ? b.micro[0].text.N : 0;
    if (want == VV_OK) ck_assert_msg(st == VV_OK, "%s", why.msg);
    else vvt_expect_error(&why, st, want, word, "talk", NULL);
    vv_task_batch_free(&b);
    vv_sample_free(&s);
    return n;
}

/* What is too long loses its last turns; never a token of picture or answer. */
START_TEST(test_too_long)
{
    const int64_t whole = tokens_of(0, VV_OK, NULL);
    ck_assert_int_eq(tokens_of(whole, VV_OK, NULL), whole);
    const int64_t first = tokens_of(whole - 1, VV_OK, NULL);
    ck_assert(first < whole && first > 4);
    ck_assert_int_eq(tokens_of(first, VV_OK, NULL), first);
    ck_assert_int_eq(tokens_of(first - 1, VV_FILE, "max_tokens"), 0);
}
END_TEST

/* Text alone beside pictures, the two forms, and what they refuse. */
START_TEST(test_conversations)
{
    vv_task_config c = task_of(VV_TASK_CAPTION, 2, 2);
    vv_sample s[2] = {talk(), {.name = vv_strdup("words")}};
    vv_task_batch b;
    vv_error why = {0};
    message(&s[1], "user", "Hello");
    message(&s[1], "assistant", "Hello!");
    VVT_OK(vv_task_batch_make(&b, &c, &model, s, 0, 1, "s", 0, NULL, err));
    ck_assert_int_eq(b.micro[0].text.S, 2);
    ck_assert_int_eq(b.micro[0].text.pictures.n, 1);
    ck_assert_int_eq(b.window.sequences, 2);
    vv_task_batch_free(&b);
    c.plain = 1;
    vv_status st = vv_task_batch_make(&b, &c, &model, s, 0, 1, "s", 0, NULL, &why);
    vvt_expect_error(&why, st, VV_FILE, "words", "picture", "plain", NULL);
    c.batch = c.micro_batch = 1;
    VVT_OK(vv_task_batch_make(&b, &c, &model, s, 0, 1, "s", 0, NULL, err));
    ck_assert_int_eq(b.micro[0].text.ids[0], vv_image_pad(&model));
    ck_assert_int_eq(b.micro[0].text.labels[b.micro[0].text.N - 1], vv_token_id(model.tokenizer, "<|im_end|>"));
    vv_task_batch_free(&b);
    vv_sample quiet = picture("quiet", 56, 56); /* nothing to learn in the whole batch */
    message(&quiet, "user", "Hello");
    c.plain = 0;
    why = (vv_error){0};
    st = vv_task_batch_make(&b, &c, &model, &quiet, 0, 1, "s", 0, NULL, &why);
    vvt_expect_error(&why, st, VV_FILE, "quiet", NULL);
    vv_sample_free(&quiet);
    vv_sample_free(&s[0]);
    vv_sample_free(&s[1]);
}
END_TEST

/* max_pixels makes pictures smaller; without it the model's limits hold. */
START_TEST(test_max_pixels)
{
    vv_task_config c = task_of(VV_TASK_CAPTION, 1, 1);
    vv_sample s = picture("large", 200, 120);
    vv_task_batch b;
    message(&s, "user", "What?");
    message(&s, "assistant", "This.");
    VVT_OK(vv_task_batch_make(&b, &c, &model, &s, 0, 1, "s", 0, NULL, err));
    ck_assert_int_eq(b.micro[0].text.pictures.rows, (196 / 14) * (112 / 14));
    vv_task_batch_free(&b);
    c.max_pixels = 56 * 84;
    VVT_OK(vv_task_batch_make(&b, &c, &model, &s, 0, 1, "s", 0, NULL, err));
    ck_assert(b.micro[0].text.pictures.rows <= 56 * 84 / 196);
    vv_task_batch_free(&b);
    vv_sample_free(&s);
}
END_TEST

static const char *embeddings_file(const char *name, const char *list, int64_t rows, int64_t dim)
{
    const char *path = vvt_path(name), *const meta[] = {"texts", list, NULL};
    const vv_st_decl d = {"embeddings", VV_DT_F32, 2, {rows, dim}};
    float v[64];
    for (int i = 0; i < rows * dim; i++) v[i] = (float)(i % 5) - 1.5f;
    vv_stw *w = NULL;
    VVT_OK(vv_stw_open(&w, path, &d, 1, list ? meta : NULL, 0, err));
    VVT_OK(vv_stw_write(w, 0, v, err));
    VVT_OK(vv_stw_commit(w, err));
    return path;
}

/* A file is cut to the head's width, and each row has length 1 again; an unknown text is told. */
START_TEST(test_embeddings_file)
{
    vv_texts *t = NULL;
    const vv_real *v;
    VVT_OK(vv_texts_open(&t, embeddings_file("e", "[\"one\", \"t\\u00e9\"]", 2, 6), 4, err));
    VVT_OK(vv_texts_find(t, "t\xc3\xa9", &v, err));
    const double row[4] = {6 % 5 - 1.5, 7 % 5 - 1.5, 8 % 5 - 1.5, 9 % 5 - 1.5};
    const double length = sqrt(row[0] * row[0] + row[1] * row[1] + row[2] * row[2] + row[3] * row[3]);
    for (int i = 0; i < 4; i++) ck_assert(fabs((double)v[i] - row[i] / length) <= VV_U);
    vv_error why = {0};
    vv_status s = vv_texts_find(t, "three", &v, &why);
    vvt_expect_error(&why, s, VV_FILE, "three", "/e", NULL);
    vv_texts_free(t);
    const struct {
        const char *list;
        int64_t dim;
        const char *word;
    } bad[] = {{"[\"one\"]", 8, "embeddings [1"},
               {"[\"one\", \"two\"]", 16, "16"},
               {"{}", 4, "texts"},
               {NULL, 4, "texts"},
               {"[\"one\", 2]", 4, "texts"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        why = (vv_error){0};
        s = vv_texts_open(&t, embeddings_file("e", bad[i].list, 2, 6), bad[i].dim, &why);
        vvt_expect_error(&why, s, VV_FILE, "/e", bad[i].word, NULL);
        ck_assert_ptr_null(t);
    }
}
END_TEST

/* An encoder's vectors are those of embed-text, whatever was asked before; hundreds of texts fit. */
START_TEST(test_encoder)
{
    vv_texts *a = texts(), *b = texts();
    const vv_real *v, *w;
    char text[20];
    for (int i = 0; i < 300; i++) {
        snprintf(text, sizeof text, "the cup %d", i);
        VVT_OK(vv_texts_find(a, text, &v, err));
    }
    VVT_OK(vv_texts_find(a, "the cup 7", &v, err));
    VVT_OK(vv_texts_find(b, "the cup 7", &w, err));
    ck_assert(!memcmp(v, w, 16 * sizeof *v));
    const vv_embed_options o = {.dim = 16};
    vv_ids ids = {0};
    VVT_OK(vv_embed_ids(&model, "the cup 7", &o, &ids, err));
    const int32_t cu[2] = {0, (int32_t)ids.n};
    vv_tape *t = vv_tape_new(NULL, 0);
    const vv_tensor *e = vv_embed_texts(t, model.llm, ids.id, cu, 1, 16);
    for (int i = 0; i < 16; i++) ck_assert(fabs((double)v[i] - (double)vvt_peek(vv_f(e), i)) <= 2 * VV_U);
    vv_tape_free(t);
    vv_ids_free(&ids);
    vv_error why = {0};
    vv_texts *none;
    const vv_status s = vv_texts_encoder(&none, vvt_path("encoder"), 17, &why);
    vvt_expect_error(&why, s, VV_FILE, "17", "16", NULL);
    vv_texts_free(a);
    vv_texts_free(b);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("train/batch", &tc);
    tcase_add_unchecked_fixture(tc, set_up, tear_down);
    tcase_add_test(tc, test_depth_square);
    tcase_add_test(tc, test_instances);
    tcase_add_test(tc, test_too_long);
    tcase_add_test(tc, test_conversations);
    tcase_add_test(tc, test_max_pixels);
    tcase_add_test(tc, test_embeddings_file);
    tcase_add_test(tc, test_encoder);
    return s;
}

VVT_MAIN(suite)
