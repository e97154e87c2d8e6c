/* Known values of the normalisation, the order of patches against an independent loop, and the configuration file. */
#include "data/preprocess.h"

#include <math.h>

#include "vvt.h"

START_TEST(raster_ids)
{
    static const int want[16] = {0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15};
    for (int64_t n = 0; n < 32; n++) { /* two frames: the second runs like the first */
        int64_t y = -1, x = -1;
        vv_token_to_raster(n, (vv_grid){2, 4, 4}, 2, &y, &x);
        ck_assert_int_eq(4 * y + x, want[n % 16]);
    }
    static const int threes[18] = {0, 1, 2, 6, 7, 8, 12, 13, 14, 3, 4, 5, 9, 10, 11, 15, 16, 17};
    for (int64_t n = 0; n < 18; n++) {
        int64_t y = -1, x = -1;
        vv_token_to_raster(n, (vv_grid){1, 3, 6}, 3, &y, &x);
        ck_assert_int_eq(6 * y + x, threes[n]);
    }
}
END_TEST

/* Vision spec 1.1.4, the slow processor (its 0.07633615 is printed with one digit too few): equality. */
START_TEST(known_values)
{
    static const unsigned char grey[3] = {0, 128, 255};
    static const float want[3][3] = {{-1.7922626f, 0.076336145f, 1.9303361f},
                                     {-1.7520971f, 0.16889732f, 2.0748837f},
                                     {-1.4802198f, 0.33994877f, 2.145897f}};
    vv_preprocess p = vv_preprocess_default();
    p.patch_size = p.merge_size = p.temporal_patch_size = 1;
    for (int i = 0; i < 3; i++) {
        const unsigned char rgb[3] = {grey[i], grey[i], grey[i]};
        float out[3];
        vv_grid g;
        VVT_OK(vv_patchify(&p, rgb, 1, 1, out, &g, "x", err));
        for (int c = 0; c < 3; c++) ck_assert_msg(out[c] == want[c][i], "u=%d c=%d: %.9g", grey[i], c, (double)out[c]);
    }
}
END_TEST

/* Every number of pixel_values from the formula of spec 1.1.6, for several patch, frame and merge sizes. */
START_TEST(patch_order)
{
    static const int kind[][3] = {{14, 2, 2}, {3, 1, 2}, {4, 3, 1}, {2, 2, 3}};
    const int P = kind[_i][0], F = kind[_i][1], M = kind[_i][2], gh = 2 * M, gw = 3 * M;
    const int h = gh * P, w = gw * P;
    vv_preprocess p = vv_preprocess_default();
    p.patch_size = P;
    p.temporal_patch_size = F;
    p.merge_size = M;
    p.mean[0] = p.mean[1] = p.mean[2] = 0;
    p.std[0] = p.std[1] = p.std[2] = 1;
    unsigned char *rgb = malloc((size_t)(3 * h * w));
    for (int i = 0; i < 3 * h * w; i++) rgb[i] = (unsigned char)(i * 7 + i / 251);
    float *out = malloc(sizeof *out * (size_t)(3 * h * w * F));
    vv_grid g;
    VVT_OK(vv_patchify(&p, rgb, h, w, out, &g, "x", err));
    ck_assert(g.t == 1 && g.h == gh && g.w == gw);
    for (int Y = 0; Y < h; Y++)
        for (int X = 0; X < w; X++)
            for (int c = 0; c < 3; c++)
                for (int f = 0; f < F; f++) {
                    const int y = Y / P, x = X / P;
                    const int n = (y / M * (gw / M) + x / M) * M * M + y % M * M + x % M;
                    const int k = ((c * F + f) * P + Y % P) * P + X % P;
                    const int u = (int)lrint(255.0 * (double)out[n * 3 * F * P * P + k]);
                    ck_assert_int_eq(u, rgb[3 * (Y * w + X) + c]);
                }
    free(rgb);
    free(out);
}
END_TEST

START_TEST(whole_picture)
{
    vv_preprocess p = vv_preprocess_default();
    vv_image image;
    VVT_OK(vv_image_new(&image, 50, 100, err));
    for (int i = 0; i < 3 * 50 * 100; i++) image.rgb[i] = (unsigned char)(i % 3 == 0 ? 255 : i % 3 == 1 ? 128 : 0);
    float *rows = NULL;
    vv_grid g;
    VVT_OK(vv_preprocess_image(&p, &image, &rows, &g, "x", err));
    ck_assert(g.t == 1 && g.h == 4 && g.w == 8);
    for (int n = 0; n < 32; n++)
        for (int k = 0; k < 1176; k++)
            ck_assert(rows[n * 1176 + k] == (k < 392 ? 1.9303361f : k < 784 ? 0.16889732f : -1.4802198f));
    free(rows);
    p.fixed_h = 56;
    p.fixed_w = 84;
    vv_image seen;
    VVT_OK(vv_preprocess_resize(&p, &image, &seen, "x", err));
    ck_assert(seen.h == 56 && seen.w == 84 && seen.rgb[3 * 56 * 84 - 1] == 0 && seen.rgb[0] == 255);
    vv_image_free(&seen);
    vv_image_free(&image);
}
END_TEST

START_TEST(refusals)
{
    vv_preprocess p = vv_preprocess_default();
    vv_image image;
    VVT_OK(vv_image_new(&image, 1, 201, err));
    float *rows = (float *)&p;
    vv_grid g;
    vv_error e = {0};
    vvt_expect_error(&e, vv_preprocess_image(&p, &image, &rows, &g, "thin.png", &e), VV_FILE, "thin.png", "1 x 201",
                     NULL);
    ck_assert_ptr_null(rows);
    vv_image_free(&image);
    vv_error f = {0};
    unsigned char rgb[3] = {0};
    float out[6];
    vvt_expect_error(&f, vv_patchify(&p, rgb, 1, 1, out, &g, "x", &f), VV_USAGE, "multiples of 28", NULL);
    p.fixed_h = p.fixed_w = 57;
    vv_error k = {0};
    vvt_expect_error(&k, vv_preprocess_check(&p, &k), VV_USAGE, "multiples of 28", "57", NULL);
    p = vv_preprocess_default();
    p.std[1] = 0;
    vv_error l = {0};
    vvt_expect_error(&l, vv_preprocess_check(&p, &l), VV_USAGE, "channel 1", NULL);
    p = vv_preprocess_default();
    p.mean[2] = NAN;
    vv_error m = {0};
    vvt_expect_error(&m, vv_preprocess_check(&p, &m), VV_USAGE, "channel 2", NULL);
}
END_TEST

static vv_status load(vv_preprocess *p, const char *text, vv_error *err)
{
    return vv_preprocess_load(p, vvt_write("preprocessor_config.json", text, strlen(text)), err);
}

START_TEST(config_round_trip)
{
    vv_preprocess p = vv_preprocess_default(), q;
    memset(&q, 0, sizeof q);
    p.patch_size = 16;
    p.fixed_h = 64;
    p.fixed_w = 96;
    p.mean[1] = 1 / 3.0;
    VVT_OK(vv_preprocess_save(&p, vvt_path("p.json"), err));
    VVT_OK(vv_preprocess_load(&q, vvt_path("p.json"), err));
    ck_assert(memcmp(&p, &q, sizeof p) == 0);
    p.merge_size = 0;
    vv_error e = {0};
    vvt_expect_error(&e, vv_preprocess_save(&p, vvt_path("never.json"), &e), VV_USAGE, "merge_size", NULL);
}
END_TEST

START_TEST(config_files)
{
    vv_preprocess p;
    VVT_OK(load(&p, "{}", err)); /* transformers' class defaults */
    ck_assert(p.min_pixels == 3136 && p.max_pixels == 1003520 && p.patch_size == 14 && p.mean[2] == 0.40821073);
    /* as released with Qwen2-VL */
    VVT_OK(load(&p,
                "{\"min_pixels\": 3136, \"max_pixels\": 12845056, \"patch_size\": 14, \"temporal_patch_size\": 2, "
                "\"merge_size\": 2, \"image_mean\": [0.48145466, 0.4578275, 0.40821073], \"image_std\": [0.26862954, "
                "0.26130258, 0.27577711], \"image_processor_type\": \"Qwen2VLImageProcessor\"}",
                err));
    const vv_preprocess d = vv_preprocess_default();
    ck_assert(memcmp(&p, &d, sizeof p) == 0);
    VVT_OK(load(&p, "{\"size\": {\"shortest_edge\": 784, \"longest_edge\": 802816}, \"do_resize\": true}", err));
    ck_assert(p.min_pixels == 784 && p.max_pixels == 802816);
    VVT_OK(load(
        &p,
        "{\"size\": {\"shortest_edge\": 784, \"longest_edge\": 802816}, \"max_pixels\": 5000, \"min_pixels\": null}",
        err));
    ck_assert(p.min_pixels == 784 && p.max_pixels == 5000);
}
END_TEST

START_TEST(config_refusals)
{
    static const char *const bad[][2] = {{"{\"do_resize\": false}", "do_resize"},
                                         {"{\"do_convert_rgb\": false}", "do_convert_rgb"},
                                         {"{\"resample\": 2}", "resample"},
                                         {"{\"rescale_factor\": 0.5}", "rescale_factor"},
                                         {"{\"patch_size\": 0}", "patch_size"},
                                         {"{\"patch_size\": 1.5}", "patch_size"},
                                         {"{\"merge_size\": \"2\"}", "merge_size"},
                                         {"{\"image_mean\": [0.1, 0.2]}", "image_mean"},
                                         {"{\"image_std\": [1, 1, \"a\"]}", "image_std"},
                                         {"{\"image_std\": [1, 0, 1]}", "std"},
                                         {"{\"image_mean\": 0.5}", "image_mean"},
                                         {"{\"max_pixels\": 5}", "max_pixels"},
                                         {"{\"min_pixels\": 2000000}", "min_pixels"},
                                         {"{\"fixed_size\": [56]}", "fixed_size"},
                                         {"{\"fixed_size\": [56, 57]}", "multiples"},
                                         {"{\"fixed_size\": [0, 56]}", "fixed height"},
                                         {"{\"patch_size\": 1024, \"merge_size\": 1024}", "patch_size*merge_size"},
                                         {"[]", "preprocessor_config.json"},
                                         {"{\"patch_size\"", "preprocessor_config.json"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        vv_preprocess p = vv_preprocess_default();
        const vv_preprocess before = p;
        vv_error e = {0};
        vvt_expect_error(&e, load(&p, bad[i][0], &e), VV_FILE, "preprocessor_config.json", bad[i][1], NULL);
        ck_assert(memcmp(&p, &before, sizeof p) == 0);
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("preprocess", &tc);
    tcase_add_test(tc, raster_ids);
    tcase_add_test(tc, known_values);
    tcase_add_loop_test(tc, patch_order, 0, 4);
    tcase_add_test(tc, whole_picture);
    tcase_add_test(tc, refusals);
    tcase_add_test(tc, config_round_trip);
    tcase_add_test(tc, config_files);
    tcase_add_test(tc, config_refusals);
    return s;
}
VVT_MAIN(suite)
