/* The recorder by itself, on a tape of a few operations: keys, classes, order, maps, samples, digests, replaced values. */
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "golden/files.h"
#include "golden/record.h"
#include "ops/ops.h"

/* x [1,2,3,2] --conv 1x1--> m [1,2,3,3] under "net.conv"; loss = sum m cotangent; weight and bias are parameters */
typedef struct {
    vv_params ps;
    vv_real x[12], c[18];
} net;

static void net_new(net *n)
{
    *n = (net){.ps = {0}};
    vv_error err = {0};
    vv_tensor *w = vv_param_new(&n->ps, "net.conv.weight", 4, (int64_t[4]){3, 2, 1, 1}, &err),
              *b = vv_param_new(&n->ps, "net.conv.bias", 1, (int64_t[1]){3}, &err);
    vv_real v[6] = {1, -2, 3, 0.5, -1, 4}, bias[3] = {0.25, 0, -1};
    vvb_upload(w->data, v, sizeof v);
    vvb_upload(b->data, bias, sizeof bias);
    for (int i = 0; i < 12; i++) n->x[i] = (vv_real)(i - 5);
    for (int i = 0; i < 18; i++) n->c[i] = (vv_real)(i % 2 ? -1 : 1);
}

static void net_run(net *n, vv_recorder *r)
{
    static const int32_t ids[] = {7, -1};
    vv_tape *t = vv_tape_new(&n->ps, VV_RECORD);
    vv_params_zero_grad(&n->ps);
    vv_record_tape(r, t);
    (void)vv_input(t, "ids", VV_INTS, 1, (int64_t[1]){2}, ids);
    vv_tensor *x = vv_input(t, "x", VV_REALS, 4, (int64_t[4]){1, 2, 3, 2}, n->x);
    vv_tensor *c = vv_input(t, "cotangent", VV_REALS, 4, (int64_t[4]){1, 2, 3, 3}, n->c);
    vv_enter(t, "net", -1);
    vv_tensor *m = vv_conv2d(t, "conv", x, n->ps.at[0], n->ps.at[1], 1, 0);
    vv_tensor *y = vv_relu(t, "conv#relu", m);
    vv_leave(t);
    vv_backward(t, vv_scale(t, "total", vv_record_dot(r, t, y, c), 1), 1);
    VVT_OK(vv_tape_status(t, err));
    vv_record_gradients(r, &n->ps);
    vv_tape_free(t);
}

static vv_recorder *begin(const char *path, const vv_st *resync, int sample)
{
    const vv_record_options o = {.path = path, .resync = resync, .sample = sample};
    vv_recorder *r = NULL;
    VVT_OK(vv_record_begin(&r, &o, err));
    return r;
}

static void end(vv_recorder *r)
{
    VVT_OK(vv_record_finish(r, NULL, err));
    VVT_OK(vv_record_commit(r, err));
}

static const char *record_net(const char *name, const vv_st *resync)
{
    net n;
    net_new(&n);
    vv_recorder *r = begin(vvt_path(name), resync, 0);
    net_run(&n, r);
    end(r);
    vv_params_free(&n.ps);
    return vvt_path(name);
}

START_TEST(keys_in_order)
{
    static const char *const want[][3] = {{"in/ids", "EXACT", "1"},
                                          {"in/x", "EXACT", "1"},
                                          {"in/cotangent", "EXACT", "1"},
                                          {"act/net.conv", "CHAIN", "1"},
                                          {"act/net.conv#relu", "CHAIN", "0"},
                                          {"loss/total", "CHAIN", "1"},
                                          {"dact/net.conv#relu", "CHAIN", "0"},
                                          {"dact/net.conv", "CHAIN", "0"},
                                          {"dw/net.conv.weight", "CHAIN", "1"},
                                          {"dw/net.conv.bias", "CHAIN", "1"}};
    vv_st *st = gf_open(record_net("net.safetensors", NULL));
    json_t *index = gf_json(st, "index");
    ck_assert_str_eq(vv_st_metadata(st, "versavit_golden"), "2");
    ck_assert_str_eq(vv_st_metadata(st, "precision"), VV_REAL_NAME);
    ck_assert_ptr_null(vv_st_metadata(st, "resync"));
    ck_assert_int_eq((int)json_array_size(index), (int)(sizeof want / sizeof *want));
    for (size_t i = 0; i < json_array_size(index); i++) {
        const json_t *e = json_array_get(index, i);
        char key[100];
        snprintf(key, sizeof key, "u1/vision/%s", want[i][0]);
        ck_assert_str_eq(json_string_value(json_object_get(e, "key")), key);
        ck_assert_str_eq(json_string_value(json_object_get(e, "class")), want[i][1]);
        ck_assert_int_eq(json_is_true(json_object_get(e, "required")), atoi(want[i][2]));
    }
    ck_assert_int_eq(gf_at(st, "u1/vision/in/ids")->dtype, VV_DT_I32);
    ck_assert_int_eq(gf_at(st, "u1/vision/in/x")->dtype, VV_DT_F32);
    ck_assert_int_eq(gf_at(st, "u1/vision/act/net.conv")->dtype, VV_DT_REAL);
    json_decref(index);
    vv_st_close(st);
}
END_TEST

/* [B,H,W,C] on the tape, [B,C,H,W] in the file: inputs, activations and their gradients; kernels stay as they are */
START_TEST(maps_are_turned)
{
    net n;
    net_new(&n);
    vv_st *st = gf_open(record_net("net.safetensors", NULL));
    double *x = gf_values(st, "u1/vision/in/x"), *c = gf_values(st, "u1/vision/dact/net.conv#relu");
    ck_assert_int_eq(gf_at(st, "u1/vision/in/x")->shape[1], 2);
    ck_assert_int_eq(gf_at(st, "u1/vision/act/net.conv")->shape[1], 3);
    ck_assert_int_eq(gf_at(st, "u1/vision/dw/net.conv.weight")->shape[0], 3);
    for (int p = 0; p < 6; p++) {
        for (int k = 0; k < 2; k++) ck_assert_double_eq(x[6 * k + p], (double)n.x[2 * p + k]);
        for (int k = 0; k < 3; k++) ck_assert_double_eq(c[6 * k + p], (double)n.c[3 * p + k]);
    }
    free(x);
    free(c);
    vv_st_close(st);
    vv_params_free(&n.ps);
}
END_TEST

/* the scale of a bias: RMS over channels of sum |gradient that comes in|, counted here from the recorded one */
START_TEST(scale_of_a_bias)
{
    vv_st *st = gf_open(record_net("net.safetensors", NULL));
    json_t *index = gf_json(st, "index");
    double *d = gf_values(st, "u1/vision/dact/net.conv"), total = 0;
    for (int k = 0; k < 3; k++) {
        double sum = 0;
        for (int p = 0; p < 6; p++) sum += fabs(d[6 * k + p]);
        total += sum * sum / 3;
    }
    const json_t *e = gf_entry(index, "u1/vision/dw/net.conv.bias");
    ck_assert_double_gt(total, 0);
    ck_assert_double_eq_tol(json_number_value(json_object_get(e, "scale")), sqrt(total), 0.005 * sqrt(total));
    ck_assert_ptr_null(json_object_get(gf_entry(index, "u1/vision/dw/net.conv.weight"), "scale"));
    free(d);
    json_decref(index);
    vv_st_close(st);
}
END_TEST

/* of a linear loss: its terms taken absolutely */
START_TEST(scale_of_a_loss)
{
    vv_st *st = gf_open(record_net("net.safetensors", NULL));
    json_t *index = gf_json(st, "index");
    double *y = gf_values(st, "u1/vision/act/net.conv#relu"), *c = gf_values(st, "u1/vision/in/cotangent"),
           *loss = gf_values(st, "u1/vision/loss/total"), sum = 0, signed_sum = 0;
    for (int i = 0; i < 18; i++) {
        sum += fabs(y[i] * c[i]);
        signed_sum += y[i] * c[i];
    }
    ck_assert_double_eq_tol(*loss, signed_sum, 1e-5 * sum);
    ck_assert_double_lt(fabs(signed_sum), 0.99 * sum);
    ck_assert_double_eq_tol(json_number_value(json_object_get(gf_entry(index, "u1/vision/loss/total"), "scale")), sum,
                            0.005 * sum);
    free(y);
    free(c);
    free(loss);
    json_decref(index);
    vv_st_close(st);
}
END_TEST

START_TEST(digests)
{
    char hex[65];
    vv_sha256("abc", 3, hex); /* FIPS 180-2, appendix B.1 */
    ck_assert_str_eq(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    vv_st *st = gf_open(record_net("net.safetensors", NULL));
    json_t *sha = gf_json(st, "sha256");
    ck_assert_int_eq((int)json_object_size(sha), (int)vv_st_count(st));
    for (int64_t i = 0; i < vv_st_count(st); i++) {
        const vv_st_entry *e = vv_st_at(st, i);
        vv_sha256(e->data, (size_t)e->bytes, hex);
        ck_assert_str_eq(json_string_value(json_object_get(sha, e->name)), hex);
    }
    json_decref(sha);
    vv_st_close(st);
}
END_TEST

/* ---- resync ------------------------------------------------------------------------------------------------------------- */
/* With the golden activation tripled, what is recorded of it stays, and what reads it triples; the golden gradient, halved, halves
 * what comes of it. */
START_TEST(values_are_replaced)
{
    const char *plain = record_net("net.safetensors", NULL);
    gf_scaled_copy(plain, vvt_path("act.safetensors"), "u1/vision/act/net.conv", 3);
    gf_scaled_copy(plain, vvt_path("dact.safetensors"), "u1/vision/dact/net.conv", 0.5);
    vv_st *a = gf_open(vvt_path("act.safetensors")), *d = gf_open(vvt_path("dact.safetensors")), *was = gf_open(plain);
    vv_st *with_a = gf_open(record_net("with_act.safetensors", a)),
          *with_d = gf_open(record_net("with_dact.safetensors", d));
    ck_assert_str_eq(vv_st_metadata(with_a, "resync"), "layer");
    gf_same(was, with_a, "u1/vision/act/net.conv"); /* its own value */
    gf_same(was, with_d, "u1/vision/dact/net.conv");
    gf_same(was, with_a, "u1/vision/loss/total"); /* relu's golden value has taken over again */
    double *x = gf_values(was, "u1/vision/act/net.conv#relu"), *y = gf_values(with_a, "u1/vision/act/net.conv#relu"),
           *g = gf_values(was, "u1/vision/dw/net.conv.weight"), *h = gf_values(with_d, "u1/vision/dw/net.conv.weight"),
           most = 0;
    for (int i = 0; i < 18; i++) {
        ck_assert_double_eq(y[i], 3 * x[i]);
        most = fmax(most, fabs(x[i]));
    }
    for (int i = 0; i < 6; i++) {
        ck_assert_double_eq(h[i], 0.5 * g[i]);
        most = fmin(most, fabs(g[i]) + 1);
    }
    ck_assert_double_gt(most, 0);
    free(x);
    free(y);
    free(g);
    free(h);
    vv_st_close(a);
    vv_st_close(d);
    vv_st_close(was);
    vv_st_close(with_a);
    vv_st_close(with_d);
}
END_TEST

/* Where outputs are rounded, golden values come in rounded as outputs are: the loss, which is not rounded itself, is then that of the
 * rounded golden activation. */
START_TEST(replaced_values_are_rounded)
{
    static const vvb_placement where[] = {VVB_OPERANDS, VVB_OUTPUTS, VVB_BOTH};
    const char *plain = record_net("net.safetensors", NULL);
    gf_scaled_copy(plain, vvt_path("act.safetensors"), "u1/vision/act/net.conv#relu", 1.001);
    vv_st *a = gf_open(vvt_path("act.safetensors"));
    double *y = gf_values(a, "u1/vision/act/net.conv#relu"), *c = gf_values(a, "u1/vision/in/cotangent"),
           want[2] = {0, 0};
    for (int i = 0; i < 18; i++) {
        want[0] += y[i] * c[i];
        want[1] += (double)vv_bf16_to_f32(vv_f64_to_bf16(y[i])) * c[i];
    }
    ck_assert_double_gt(fabs(want[0] - want[1]), 1e-3);
    for (int k = 0; k < 3; k++) {
        vvb_set_precision(VVB_BF16, where[k]);
        vv_st *st = gf_open(record_net("with.safetensors", a));
        vvb_set_precision(VVB_FULL, VVB_BOTH);
        double *loss = gf_values(st, "u1/vision/loss/total");
        ck_assert_double_eq_tol(*loss, want[where[k] != VVB_OPERANDS], 1e-5);
        free(loss);
        vv_st_close(st);
    }
    free(y);
    free(c);
    vv_st_close(a);
}
END_TEST

START_TEST(host_values_are_replaced)
{
    vv_real v[2] = {1, 2}, w[2] = {3, 4};
    vv_recorder *r = begin(vvt_path("host.safetensors"), NULL, 0);
    vv_record_task(r, 3, "update");
    vv_record_reals(r, "dw", "a", 1, (int64_t[1]){2}, v);
    vv_record_reals(r, "m", "a", 1, (int64_t[1]){2}, v);
    end(r);
    vv_st *st = gf_open(vvt_path("host.safetensors"));
    r = begin(vvt_path("again.safetensors"), st, 0);
    vv_record_task(r, 3, "update");
    vv_record_reals(r, "dw", "a", 1, (int64_t[1]){2}, w);
    ck_assert_double_eq((double)w[1], 2);
    w[1] = 9;
    vv_record_reals(r, "m", "a", 1, (int64_t[1]){2}, w); /* states are inputs: never replaced */
    ck_assert_double_eq((double)w[1], 9);
    vv_error err = {0};
    vv_record_reals(r, "dw", "b", 1, (int64_t[1]){2}, w); /* not in the golden file: stays */
    ck_assert_double_eq((double)w[1], 9);
    ck_assert_int_eq(vv_record_status(r, &err), VV_OK);
    vv_record_abort(r);
    r = begin(vvt_path("again.safetensors"), st, 0);
    vv_record_task(r, 3, "update");
    vv_record_reals(r, "dw", "a", 2, (int64_t[2]){1, 2}, w);
    vvt_expect_error(&err, vv_record_finish(r, NULL, &err), VV_FILE, "host.safetensors", "u3/update/dw/a", "[1,2]",
                     "[2]", (char *)NULL);
    vv_record_abort(r);
    vv_st_close(st);
}
END_TEST

/* ---- samples ---------------------------------------------------------------------------------------------------------------- */
START_TEST(sampled_places)
{
    static const int64_t sizes[] = {4097, 5000, 8191, 1280 * 5120, (int64_t)1 << 40};
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        const int64_t n = sizes[k];
        for (int64_t i = 0; i < VV_SAMPLES;
             i++) { /* one in each stretch; i n / 4096 from quotient and rest, as 2^52 has room for it */
            const int64_t first = i * (n / VV_SAMPLES) + i * (n % VV_SAMPLES) / VV_SAMPLES,
                          next = (i + 1) * (n / VV_SAMPLES) + (i + 1) * (n % VV_SAMPLES) / VV_SAMPLES,
                          at = vv_sample_at(n, i);
            ck_assert_msg(at >= first && at < next, "%lld of %lld", (long long)i, (long long)n);
        }
    }
    int columns[1280] = {0}, hit = 0; /* a width that divides the stretches is met everywhere */
    for (int64_t i = 0; i < VV_SAMPLES; i++) hit += !columns[vv_sample_at(1280 * 5120, i) % 1280]++;
    ck_assert_int_gt(hit, 1200);
}
END_TEST

START_TEST(samples)
{
    enum { N = 10000 };
    vv_real *v = vv_calloc(N, sizeof *v);
    double sum = 0;
    for (int i = 0; i < N; i++) {
        v[i] = (vv_real)(i % 97 - 50);
        sum += (double)v[i] * (double)v[i];
    }
    vv_recorder *r = begin(vvt_path("s.safetensors"), NULL, 1);
    vv_record_reals(r, "in", "x", 1, (int64_t[1]){N}, v);
    vv_record_reals(r, "act", "y", 2, (int64_t[2]){100, 100}, v);
    vv_record_reals(r, "act", "small", 1, (int64_t[1]){VV_SAMPLES}, v);
    end(r);
    vv_st *st = gf_open(vvt_path("s.safetensors"));
    json_t *index = gf_json(st, "index"), *sha = gf_json(st, "sha256");
    const json_t *e = gf_entry(index, "u1/vision/act/y");
    ck_assert_int_eq(gf_at(st, "u1/vision/in/x")->n, N);
    ck_assert_int_eq(gf_at(st, "u1/vision/act/small")->n, VV_SAMPLES);
    ck_assert_ptr_null(json_object_get(gf_entry(index, "u1/vision/act/small"), "sample"));
    ck_assert_int_eq(json_integer_value(json_object_get(e, "sample")), VV_SAMPLES);
    ck_assert_int_eq((int)json_array_size(json_object_get(e, "shape")), 2);
    ck_assert_double_eq(json_number_value(json_object_get(e, "max")), 50);
    ck_assert_double_eq_tol(json_number_value(json_object_get(e, "rms")), sqrt(sum / N), 1e-12);
    double *got = gf_values(st, "u1/vision/act/y");
    for (int64_t i = 0; i < VV_SAMPLES; i++) ck_assert_double_eq(got[i], (double)v[vv_sample_at(N, i)]);
    char hex[65];
    vv_sha256(v, N * sizeof *v, hex); /* of the whole */
    ck_assert_str_eq(json_string_value(json_object_get(sha, "u1/vision/act/y")), hex);
    free(got);
    free(v);
    json_decref(index);
    json_decref(sha);
    vv_st_close(st);
}
END_TEST

/* ---- marks and errors --------------------------------------------------------------------------------------------------------- */
START_TEST(marks)
{
    const int32_t token[] = {3};
    vv_real v[] = {1};
    char key[VV_NAME_MAX + 64];
    vv_recorder *r = begin(vvt_path("m.safetensors"), NULL, 0);
    vv_record_task(r, 2, "generate");
    vv_record_reals(r, "act", "logits", 1, (int64_t[1]){1}, v);
    vv_record_host(r, "act", "tokens", VV_DT_I32, 1, (int64_t[1]){1}, token);
    vv_record_mark(r, "act", "tokens", "of", json_string(vv_record_key(r, "act", "logits", key)));
    vv_record_mark(r, "act", "tokens", "rule", json_string("argmax"));
    vv_record_mark(r, "act", "logits", "output", json_true());
    end(r);
    vv_st *st = gf_open(vvt_path("m.safetensors"));
    json_t *index = gf_json(st, "index");
    const json_t *e = gf_entry(index, "u2/generate/act/tokens");
    ck_assert_str_eq(json_string_value(json_object_get(e, "class")), "DISCRETE");
    ck_assert_str_eq(json_string_value(json_object_get(e, "of")), "u2/generate/act/logits");
    ck_assert_int_eq(json_is_true(json_object_get(gf_entry(index, "u2/generate/act/logits"), "output")), 1);
    json_decref(index);
    vv_st_close(st);
}
END_TEST

static void fails(vv_recorder *r, vv_status want, const char *a, const char *b)
{
    vv_error err = {0};
    vvt_expect_error(&err, vv_record_finish(r, NULL, &err), want, a, b, (char *)NULL);
    vv_record_abort(r);
    ck_assert_int_eq(gf_count(vvt_path("e")), 0);
}

START_TEST(errors_leave_nothing)
{
    vv_real v[4] = {0};
    vv_error err = {0};
    vv_recorder *r = NULL;
    ck_assert_int_eq(mkdir(vvt_path("e"), 0777), 0);
    r = begin(vvt_path("e/x"), NULL, 0); /* twice */
    vv_record_reals(r, "act", "a", 1, (int64_t[1]){4}, v);
    vv_record_reals(r, "act", "a", 1, (int64_t[1]){4}, v);
    fails(r, VV_USAGE, "u1/vision/act/a", "twice");
    r = begin(vvt_path("e/x"), NULL, 0);
    vv_record_mark(r, "act", "a", "output", json_true());
    fails(r, VV_USAGE, "u1/vision/act/a", "output");
    r = begin(vvt_path("e/x"), NULL, 0); /* the first failure is kept */
    vv_record_fail(r, &(vv_error){VV_NONFINITE, "the first"});
    vv_record_mark(r, "act", "a", "output", json_true());
    fails(r, VV_NONFINITE, "the first", "first");
    const vv_record_options nowhere = {.path = vvt_path("no/x")};
    vvt_expect_error(&err, vv_record_begin(&r, &nowhere, &err), VV_FILE, "no/x", (char *)NULL);
}
END_TEST

/* A disk that is full at any moment: while values come, while the file is written. */
START_TEST(full_disk)
{
    struct rlimit was, now;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, SIG_IGN);
    vv_real *v = vv_calloc(1000, sizeof *v);
    ck_assert_int_eq(mkdir(vvt_path("full"), 0777), 0);
    for (int64_t most = 1; most < 1 << 13; most += 501) {
        vv_error err = {0};
        const vv_record_options o = {.path = vvt_path("full/x")};
        vv_recorder *r = NULL;
        now = (struct rlimit){(rlim_t)most, was.rlim_max};
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &now), 0);
        vv_status s = vv_record_begin(&r, &o, &err);
        if (s == VV_OK) {
            for (int i = 0; i < 2; i++)
                vv_record_reals(r, "act", i ? "b" : "a", 1, (int64_t[1]){1000 * 4 / (int)sizeof *v}, v);
            s = vv_record_finish(r, NULL, &err);
            vv_record_abort(r);
        }
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
        ck_assert_int_eq(s, VV_FILE);
        ck_assert_ptr_nonnull(strstr(err.msg, "full/x"));
        ck_assert_int_eq(gf_count(vvt_path("full")), 0);
    }
    free(v);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("record", &tc);
    tcase_add_test(tc, keys_in_order);
    tcase_add_test(tc, maps_are_turned);
    tcase_add_test(tc, scale_of_a_bias);
    tcase_add_test(tc, scale_of_a_loss);
    tcase_add_test(tc, digests);
    tcase_add_test(tc, values_are_replaced);
    tcase_add_test(tc, replaced_values_are_rounded);
    tcase_add_test(tc, host_values_are_replaced);
    tcase_add_test(tc, sampled_places);
    tcase_add_test(tc, samples);
    tcase_add_test(tc, marks);
    tcase_add_test(tc, errors_leave_nothing);
    tcase_add_test(tc, full_disk);
    return s;
}
VVT_MAIN(suite)
