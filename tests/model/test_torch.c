/* The tower against recordings of PyTorch and transformers (golden/torch/README.md): fidelity, without Python. */
#include "vvt.h"

#include "golden/judge.h"
#include "golden/tower.h"

static const char *const cases[] = {"micro", "odd", "tall"};
enum { CASES = 3 };

static const char *file(const char *name, const char *what)
{
    char path[128];
    snprintf(path, sizeof path, "golden/torch/%s/%s", name, what);
    return vvt_root(path);
}

/* our recording against theirs; free *j with vv_judged_free */
static vv_status compare(vv_judged *j, const char *theirs, const char *ours, double limit)
{
    vv_error err = {0};
    const vv_judge_options o = {.limit = limit, .ignore_extra = 1, .scope = VV_SCOPE_UPDATE};
    const vv_status s = vv_judge(j, theirs, ours, &o, &err);
    ck_assert_msg(s == VV_OK || s == VV_DIFFERS, "%s", err.msg);
    return s;
}

static void agrees(const char *name, const char *recording, int from_pixel_values, double limit)
{
    vv_judged j;
    const char *ours = vvt_path("ours.safetensors");
    VVT_OK(vv_golden_record(file(name, ""), file(name, "recording.safetensors"), from_pixel_values, ours, err));
    const vv_status s = compare(&j, file(name, recording), ours, limit);
    ck_assert_msg(s == VV_OK, "%s/%s: first %s: %.2e, limit %.0e", name, recording,
                  j.first ? j.first->entry->key : "one missing", j.first ? j.first->m.rel_rms : 0, limit);
    ck_assert_int_gt(j.judged, 40); /* every activation, gradient and weight gradient of at least one block */
    ck_assert_int_eq(j.absent, 0);
    vv_judged_free(&j);
}

START_TEST(from_pictures)
{
    agrees(cases[_i], "recording.safetensors", 0, 1e-5);
    agrees(cases[_i], "recording64.safetensors", 0, 1e-5);
}
END_TEST

START_TEST(from_pixel_values) { agrees(cases[_i], "recording64.safetensors", 1, sizeof(vv_real) == 8 ? 1e-11 : 1e-5); }
END_TEST

/* The same comparison fails when one weight matrix is one per cent off, and names the first tensor that feels it. */
START_TEST(a_wrong_weight_shows)
{
    vv_model m;
    vv_judged j;
    VVT_OK(vv_model_load(&m, file("micro", ""), VV_VISION, err));
    vv_tensor *x = vv_param_find(m.params, "visual.blocks.1.attn.proj.weight");
    ck_assert_ptr_nonnull(x);
    vv_real *v = vv_calloc(x->n, sizeof *v);
    vvb_download(v, x->data, x->n * (int64_t)sizeof *v);
    for (int64_t i = 0; i < x->n; i++) v[i] *= (vv_real)1.01;
    vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
    VVT_OK(vv_model_save(&m, vvt_path("wrong"), VV_DT_REAL, 0, err));
    VVT_OK(vv_golden_record(vvt_path("wrong"), file("micro", "recording.safetensors"), 1, vvt_path("ours.safetensors"),
                            err));
    ck_assert_int_eq(compare(&j, file("micro", "recording.safetensors"), vvt_path("ours.safetensors"), 1e-5),
                     VV_DIFFERS);
    ck_assert_ptr_nonnull(j.first);
    const char *first = j.first->entry->key;
    ck_assert_msg(strstr(first, "blocks.1") || strstr(first, "loss") || strstr(first, "/d"), "%s", first);
    vv_judged_free(&j);
    free(v);
    vv_model_free(&m);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("torch", &tc);
    tcase_add_loop_test(tc, from_pictures, 0, CASES);
    tcase_add_loop_test(tc, from_pixel_values, 0, CASES);
    tcase_add_test(tc, a_wrong_weight_shows);
    return s;
}
VVT_MAIN(suite)
