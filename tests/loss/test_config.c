/* Reading the switches of the losses: defaults, every value of every switch, what is refused. */
#include "loss/loss.h"
#include "vvt.h"

static vv_status depth(vv_depth_config *c, const char *text, vv_error *err)
{
    json_t *obj = NULL;
    *c = vv_depth_config_default();
    VV_TRY(vv_json_parse(&obj, text, strlen(text), "run.json", err));
    const vv_status s = vv_depth_config_parse(c, obj, "run.json: depth", err);
    json_decref(obj);
    return s;
}

static vv_status seg(vv_seg_config *c, const char *text, vv_error *err)
{
    json_t *obj = NULL;
    *c = vv_seg_config_default();
    VV_TRY(vv_json_parse(&obj, text, strlen(text), "run.json", err));
    const vv_status s = vv_seg_config_parse(c, obj, "run.json: seg", err);
    json_decref(obj);
    return s;
}

START_TEST(defaults)
{
    vv_depth_config c;
    vv_seg_config m;
    VVT_OK(depth(&c, "{}", err));
    VVT_OK(seg(&m, "{}", err));
    ck_assert(c.how.align == VVB_ALIGN_MEDIAN && c.how.gm == VVB_GM_NORM && c.how.scales == 4 && c.how.trim == 0 &&
              c.how.eps == 1e-6 && !c.how.average && !c.how.image && !c.how.clamp && !c.how.detach);
    ck_assert(c.lambda_ssi == 1 && c.lambda_gm == 0.5 && m.lambda_bce == 2 && m.lambda_dice == 0.5 && m.smooth == 1e-3);
}
END_TEST

START_TEST(values)
{
    vv_depth_config c;
    vv_seg_config m;
    static const char *const modes[] = {"norm", "ls", "paper", "paper_sum", "megadepth"};
    VVT_OK(depth(&c,
                 "{\"ssi\": {\"align\": \"ls\", \"median\": \"average\", \"trim\": 0.2, \"reduction\": \"image\", "
                 "\"eps\": 1e-3, "
                 "\"degenerate\": \"clamp\", \"detach_norm\": true}, \"gm\": {\"scales\": 7}, \"lambda_ssi\": 3, "
                 "\"lambda_gm\": 0}",
                 err));
    ck_assert(c.how.align == VVB_ALIGN_LS && c.how.average && c.how.trim == 0.2 && c.how.image && c.how.eps == 1e-3 &&
              c.how.clamp && c.how.detach && c.how.scales == 7 && c.lambda_ssi == 3 && c.lambda_gm == 0);
    VVT_OK(depth(
        &c,
        "{\"ssi\": {\"align\": \"median\", \"median\": \"lower\", \"reduction\": \"batch\", \"degenerate\": \"skip\"}}",
        err));
    ck_assert(c.how.align == VVB_ALIGN_MEDIAN && !c.how.average && !c.how.image && !c.how.clamp);
    for (int i = 0; i < 5; i++) {
        char text[60];
        snprintf(text, sizeof text, "{\"gm\": {\"mode\": \"%s\"}}", modes[i]);
        VVT_OK(depth(&c, text, err));
        ck_assert_int_eq(c.how.gm, i);
    }
    VVT_OK(seg(&m, "{\"lambda_bce\": 1, \"lambda_dice\": 2.5, \"dice\": {\"smooth\": 1}}", err));
    ck_assert(m.lambda_bce == 1 && m.lambda_dice == 2.5 && m.smooth == 1);
}
END_TEST

static const struct {
    const char *text, *words[2];
} WRONG[] = {
    {"{\"ssim\": {}}", {"run.json: depth", "ssim"}},
    {"{\"ssi\": {\"trime\": 0}}", {"run.json: depth: ssi", "trime"}},
    {"{\"gm\": {\"step\": 2}}", {"run.json: depth: gm", "step"}},
    {"{\"ssi\": {\"align\": \"mean\"}}", {"'align': expected one of \"median\", \"ls\"", "found \"mean\""}},
    {"{\"ssi\": {\"median\": \"upper\"}}", {"'median': expected one of \"lower\", \"average\"", "found \"upper\""}},
    {"{\"ssi\": {\"reduction\": \"sum\"}}", {"\"batch\", \"image\"", "found \"sum\""}},
    {"{\"ssi\": {\"degenerate\": \"no\"}}", {"\"skip\", \"clamp\"", "found \"no\""}},
    {"{\"gm\": {\"mode\": \"sobel\"}}",
     {"\"norm\", \"ls\", \"paper\", \"paper_sum\", \"megadepth\"", "found \"sobel\""}},
    {"{\"gm\": {\"mode\": 3}}", {"'mode'", "string"}},
    {"{\"gm\": {\"scales\": 17}}", {"'scales'", "1 to 16"}},
    {"{\"gm\": {\"scales\": 0}}", {"'scales'", "1 to 16"}},
    {"{\"gm\": 4}", {"'gm'", "object"}},
    {"{\"ssi\": {\"trim\": 1}}", {"'trim'", "1"}},
    {"{\"ssi\": {\"eps\": 0}}", {"'eps'", "0"}},
    {"{\"ssi\": {\"detach_norm\": 1}}", {"'detach_norm'", "1"}},
    {"{\"lambda_ssi\": -1}", {"'lambda_ssi'", "-1"}},
};

START_TEST(wrong)
{
    vv_depth_config c, before = vv_depth_config_default();
    vv_error err = {0};
    vvt_expect_error(&err, depth(&c, WRONG[_i].text, &err), VV_FILE, WRONG[_i].words[0], WRONG[_i].words[1],
                     (char *)NULL);
    ck_assert(c.how.align == before.how.align && c.how.scales == 4 && c.lambda_ssi == 1); /* nothing of it was taken */
}
END_TEST

START_TEST(wrong_seg)
{
    static const char *const text[] = {"{\"smooth\": 1}", "{\"dice\": {\"smooth\": 0}}", "{\"dice\": {\"eps\": 1}}",
                                       "{\"lambda_dice\": \"x\"}"};
    static const char *const word[] = {"smooth", "'smooth'", "eps", "'lambda_dice'"};
    vv_seg_config c;
    vv_error err = {0};
    vvt_expect_error(&err, seg(&c, text[_i], &err), VV_FILE, "run.json: seg", word[_i], (char *)NULL);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("loss/config", &tc);
    tcase_add_test(tc, defaults);
    tcase_add_test(tc, values);
    tcase_add_loop_test(tc, wrong, 0, sizeof WRONG / sizeof *WRONG);
    tcase_add_loop_test(tc, wrong_seg, 0, 4);
    return s;
}

VVT_MAIN(suite)
