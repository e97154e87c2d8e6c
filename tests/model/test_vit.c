/* The tower: packing, taps, raster order, threads, and what it refuses. */
#include "model/tower.h"

/* Two summation orders of the same few layers part by some tens of roundings. */
static const double ROUNDING = 256 * VV_U;

/* ---- packing --------------------------------------------------------------------------------------------------------- */
static const vv_grid three[] = {{1, 4, 6}, {1, 2, 2}, {2, 8, 2}}; /* the last is a video of two frames */

START_TEST(packed_equals_alone)
{
    vv_model m = tower_micro();
    const int64_t N = tower_tokens(three, 3), W = tower_width(m.vit), C = m.vit->config.embed_dim,
                  M = m.vit->config.hidden_size;
    vv_real *x = tower_numbers("pixels", 0, 1, N * W), *c = tower_numbers("c", 0, 1, N / 4 * M);
    vv_real *c_tap = tower_numbers("c_tap", 0, 1, N * C);
    tower_out all = tower_run(&(tower_in){m.vit, three, 3, 1, x, c, c_tap, 0, 0});
    vv_real *sum = vv_calloc(all.n_grad, sizeof *sum);
    for (int64_t i = 0, at = 0; i < 3; at += tower_tokens(three + i++, 1)) {
        tower_out one =
            tower_run(&(tower_in){m.vit, three + i, 1, 1, x + at * W, c + at / 4 * M, c_tap + at * C, 0, 0});
        ck_assert_double_lt(tower_distance(all.merged + at / 4 * M, one.merged, one.n_merged), ROUNDING);
        ck_assert_double_lt(tower_distance(all.tap + at * C, one.tap, one.n_tap), ROUNDING);
        for (int64_t k = 0; k < one.n_grad; k++) sum[k] += one.grad[k];
        tower_out_free(&one);
    }
    ck_assert_double_lt(tower_distance(all.grad, sum, all.n_grad), ROUNDING);
    tower_out_free(&all);
    free(sum);
    free(x);
    free(c);
    free(c_tap);
    vv_model_free(&m);
}
END_TEST

/* Other pictures in the batch, and the other frame of a video, change no bit of this one. */
START_TEST(segments_do_not_leak)
{
    vv_model m = tower_micro();
    const int64_t N = tower_tokens(three, 3), W = tower_width(m.vit), M = m.vit->config.hidden_size;
    const int64_t start[5] = {0, 24, 28, 44, 60};
    vv_real *x = tower_numbers("pixels", 0, 1, N * W);
    tower_out before = tower_run(&(tower_in){m.vit, three, 3, 2, x, NULL, NULL, 0, 0});
    for (int changed = 0; changed < 4; changed++) {
        vv_real *y = tower_numbers("pixels", 0, 1, N * W), *other = tower_numbers("others", 0, 3, N * W);
        for (int64_t i = start[changed] * W; i < start[changed + 1] * W; i++) y[i] = other[i];
        tower_out after = tower_run(&(tower_in){m.vit, three, 3, 2, y, NULL, NULL, 0, 0});
        for (int k = 0; k < 4; k++) {
            const int64_t from = start[k] / 4 * M, n = (start[k + 1] - start[k]) / 4 * M;
            const int same = !memcmp(before.merged + from, after.merged + from, (size_t)n * sizeof *y);
            ck_assert_int_eq(same, k != changed);
            if (k == changed) ck_assert_double_gt(tower_distance(after.merged + from, before.merged + from, n), 0.1);
        }
        tower_out_free(&after);
        free(y);
        free(other);
    }
    tower_out_free(&before);
    free(x);
    vv_model_free(&m);
}
END_TEST

/* Attention is there at all: within a picture every token sees every other. */
START_TEST(tokens_of_a_picture_mix)
{
    vv_model m = tower_micro();
    const vv_grid g = {1, 4, 6};
    const int64_t W = tower_width(m.vit), C = m.vit->config.embed_dim;
    vv_real *x = tower_numbers("pixels", 0, 1, 24 * W);
    tower_out before = tower_run(&(tower_in){m.vit, &g, 1, 0, x, NULL, NULL, 0, 0});
    x[23 * W] += 4;
    tower_out after = tower_run(&(tower_in){m.vit, &g, 1, 0, x, NULL, NULL, 0, 0});
    for (int64_t i = 0; i < 24; i++)
        ck_assert(memcmp(before.tap + i * C, after.tap + i * C, (size_t)C * sizeof *x) != 0);
    tower_out_free(&before);
    tower_out_free(&after);
    free(x);
    vv_model_free(&m);
}
END_TEST

/* ---- taps -------------------------------------------------------------------------------------------------------------- */
typedef struct {
    vv_real *block[3];
} seen;

static void see_blocks(void *ctx, vv_event event, const vv_tensor *x)
{
    seen *s = ctx;
    char name[VV_NAME_MAX];
    if (event != VV_EVENT_ACT || strncmp(vv_name(x, name), "visual.blocks.", 14) || strlen(name) != 15) return;
    ck_assert_ptr_null(s->block[name[14] - '0']);
    s->block[name[14] - '0'] = tower_get(x->data, x->n);
}

START_TEST(taps)
{
    static const int64_t list[][4] = {{0, 1, 2, 2}, {2, 0, 2, 1}, {1, 1, 1, 1}};
    vv_model m = tower_micro();
    const vv_grid g = {1, 4, 6};
    const int64_t dim[2] = {24, tower_width(m.vit)};
    vv_real *x = tower_numbers("pixels", 0, 1, 24 * dim[1]);
    for (int i = 0; i < 3; i++)
        for (int merged = 0; merged < 2; merged++) {
            seen s = {{NULL}};
            vv_tensor *tap[4] = {NULL};
            vv_tape *t = vv_tape_new(NULL, 0);
            vv_trace(t, see_blocks, &s);
            const vv_vit_wanted want = {list[i], 4, tap, merged};
            vv_tensor *y = vv_vit_forward(t, m.vit, vv_input(t, "x", VV_REALS, 2, dim, x), &g, 1, &want);
            VVT_OK(vv_tape_status(t, err));
            ck_assert_int_eq(y->dim[0], merged ? 6 : 24);
            ck_assert_int_eq(y->dim[1], merged ? 32 : 16);
            for (int k = 0; k < 4; k++) {
                vv_real *v = tower_get(tap[k]->data, tap[k]->n);
                ck_assert_int_eq(tap[k]->n, 24 * 16);
                ck_assert_mem_eq(v, s.block[list[i][k]], (size_t)tap[k]->n * sizeof *v);
                if (!merged && list[i][k] == 2) ck_assert_ptr_eq(tap[k], y); /* the last block is the result */
                free(v);
            }
            for (int k = 0; k < 3; k++) free(s.block[k]);
            vv_tape_free(t);
        }
    free(x);
    vv_model_free(&m);
}
END_TEST

/* ---- raster order ---------------------------------------------------------------------------------------------------------- */
/* token -> raster place of a 4x6 grid in 2x2 blocks, by hand */
static const int by_hand[24] = {0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11, 12, 13, 18, 19, 14, 15, 20, 21, 16, 17, 22, 23};

START_TEST(raster_order)
{
    vv_model m = tower_micro();
    const vv_grid g[2] = {{1, 2, 2}, {2, 4, 6}}; /* the second begins at row 4 and has two frames */
    vv_real h[52 * 2], want[52 * 2];
    for (int i = 0; i < 52; i++) {
        const int frame = i < 4 ? 0 : 4 + (i - 4) / 24 * 24, to = i < 4 ? i : frame + by_hand[i - frame];
        h[2 * i] = (vv_real)i, h[2 * i + 1] = (vv_real)-i;
        want[2 * to] = (vv_real)i, want[2 * to + 1] = (vv_real)-i;
    }
    for (int n = 0; n < 24; n++) {
        int64_t y, x;
        vv_token_to_raster(n, (vv_grid){1, 4, 6}, 2, &y, &x);
        ck_assert_int_eq(y * 6 + x, by_hand[n]);
    }
    vv_tape *t = vv_tape_new(NULL, 0);
    const int64_t dim[2] = {52, 2};
    vv_tensor *r = vv_vit_raster(t, m.vit, "raster", vv_input(t, "h", VV_REALS, 2, dim, h), g, 2);
    VVT_OK(vv_tape_status(t, err));
    vv_real *got = tower_get(r->data, r->n);
    ck_assert_mem_eq(got, want, sizeof want);
    free(got);
    vv_error err = {0};
    ck_assert_ptr_null(
        vv_vit_raster(t, m.vit, "short", vv_input(t, "h", VV_REALS, 2, dim, h), g, 1)); /* 4 tokens, 52 rows */
    vvt_expect_error(&err, vv_tape_status(t, &err), VV_USAGE, "short", "[52,2]", (char *)NULL);
    vv_tape_free(t);
    vv_model_free(&m);
}
END_TEST

/* ---- threads ----------------------------------------------------------------------------------------------------------------- */
static void same_on_any_threads(const vv_vit *vit, const vv_grid *g, int64_t n)
{
    const int64_t N = tower_tokens(g, n), W = tower_width(vit), threads = vvb_get_info()->threads;
    vv_real *x = tower_numbers("pixels", 0, 1, N * W), *c = tower_numbers("c", 0, 1, N / 4 * vit->config.hidden_size);
    vv_real *c_tap = tower_numbers("c_tap", 0, 1, N * vit->config.embed_dim);
    tower_out first = {0};
    for (int run = 1; run <= 4; run++) {
        vvb_init(run);
        tower_out o = tower_run(&(tower_in){vit, g, n, 0, x, c, c_tap, run % 2 ? 0 : VV_CHECKPOINT, 0});
        if (run == 1) {
            first = o;
            continue;
        }
        ck_assert_double_eq(o.loss, first.loss);
        ck_assert_mem_eq(o.merged, first.merged, (size_t)o.n_merged * sizeof *x);
        ck_assert_mem_eq(o.tap, first.tap, (size_t)o.n_tap * sizeof *x);
        ck_assert_mem_eq(o.grad, first.grad, (size_t)o.n_grad * sizeof *x);
        tower_out_free(&o);
    }
    vvb_init((int)threads);
    tower_out_free(&first);
    free(x);
    free(c);
    free(c_tap);
}

START_TEST(threads_change_no_bit)
{
    vv_model m = tower_micro();
    same_on_any_threads(m.vit, three, 3);
    vv_model_free(&m);
    /* products of several tiles, attention of several, rows and columns beyond one strip */
    vv_vit_config c = vv_vit_config_default();
    c.depth = 2;
    c.embed_dim = 80;
    c.num_heads = 5;
    c.hidden_size = 96;
    c.patch_size = 4;
    const vv_grid wide[2] = {{1, 20, 16}, {1, 2, 4}};
    vv_vit *vit = NULL;
    vv_params params = {0};
    VVT_OK(vv_vit_new(&vit, &params, &c, err));
    tower_fill(&params);
    same_on_any_threads(vit, wide, 2);
    vv_vit_free(vit);
    vv_params_free(&params);
}
END_TEST

/* ---- what it refuses ------------------------------------------------------------------------------------------------------------ */
START_TEST(wrong_grids)
{
    static const struct {
        vv_grid g[2];
        int64_t n, tap;
        const char *word[3];
    } bad[] = {{{{1, 4, 5}}, 1, 0, {"picture 0", "merge", "1x4x5"}},
               {{{1, 4, 6}, {1, 3, 2}}, 2, 0, {"picture 1", "merge", "1x3x2"}},
               {{{0, 4, 6}}, 1, 0, {"picture 0", "0x4x6", "got"}},
               {{{1, -4, -6}}, 1, 0, {"picture 0", "-4", "got"}},
               {{{1, 4, 4}}, 1, 0, {"pixel_values", "row", "[24,1176]"}},
               {{{1, 4, 6}, {1, 2, 2}}, 2, 0, {"pixel_values", "row", "[24,1176]"}},
               {{{1, 4, 6}}, 1, 3, {"layer 3", "0 to 2", "expected"}},
               {{{1, 4, 6}}, 1, -1, {"layer -1", "0 to 2", "expected"}},
               {{{1, (int64_t)1 << 31, (int64_t)1 << 31}}, 1, 0, {"2^31", "expected", "patches"}},
               {{{1, 4, 6}, {(int64_t)1 << 61, 2, 2}}, 2, 0, {"picture 1", "expected", "grid"}},
               {{{1, 4, 6}, {((int64_t)1 << 61) - 1, 2, 2}}, 2, 0, {"2^31", "expected", "patches"}}};
    vv_model m = tower_micro();
    const int64_t dim[2] = {24, tower_width(m.vit)};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vv_tape *t = vv_tape_new(NULL, 0);
        vv_tensor *tap = NULL;
        const vv_vit_wanted want = {&bad[i].tap, 1, &tap, 1};
        vv_error err = {0};
        ck_assert_ptr_null(
            vv_vit_forward(t, m.vit, vv_input(t, "pixel_values", VV_REALS, 2, dim, NULL), bad[i].g, bad[i].n, &want));
        vvt_expect_error(&err, vv_tape_status(t, &err), VV_USAGE, bad[i].word[0], bad[i].word[1], bad[i].word[2],
                         (char *)NULL);
        vv_tape_free(t);
    }
    vv_model_free(&m);
}
END_TEST

START_TEST(wrong_pixels)
{
    vv_model m = tower_micro();
    const vv_grid g = {1, 4, 6};
    const int64_t dim[2] = {24, 1175};
    vv_tape *t = vv_tape_new(NULL, 0);
    const vv_vit_wanted want = {NULL, 0, NULL, 1};
    vv_error err = {0};
    ck_assert_ptr_null(vv_vit_forward(t, m.vit, vv_input(t, "pixel_values", VV_REALS, 2, dim, NULL), &g, 1, &want));
    vvt_expect_error(&err, vv_tape_status(t, &err), VV_USAGE, "visual.patch_embed: linear", "[24,1175]",
                     "[16,3,2,14,14]", (char *)NULL);
    vv_tape_free(t);
    vv_model_free(&m);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("vit", &tc);
    tcase_add_test(tc, packed_equals_alone);
    tcase_add_test(tc, segments_do_not_leak);
    tcase_add_test(tc, tokens_of_a_picture_mix);
    tcase_add_test(tc, taps);
    tcase_add_test(tc, raster_order);
    tcase_add_test(tc, threads_change_no_bit);
    tcase_add_test(tc, wrong_grids);
    tcase_add_test(tc, wrong_pixels);
    return s;
}
VVT_MAIN(suite)
