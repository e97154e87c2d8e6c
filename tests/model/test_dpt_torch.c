/* The depth head against torch (golden/torch/dpt-*.safetensors, README.md there): activations, result, gradients.
 *
 * VVT_EXPORT=DIR keeps what the last test writes there, and VVT_WEIGHTS=PATH makes it read its weights from PATH: so
 * scripts/torch/check_depth_head.py lets transformers and versavit read each other's heads. */
#include "model/dpt.h"

static const char *const cases[] = {"micro", "three"};
enum { CASES = sizeof cases / sizeof *cases };

/* Float rounding alone leaves 1.2e-6. What the file holds in float32 is itself rounded. */
#define LIMIT (sizeof(vv_real) == 8 ? 1e-11 : 1e-5)
static const double FLOAT_STORED = 1e-7;

typedef struct {
    vv_weights *file;
    dpt_setup s;
    int wrong, seen; /* tensors beyond the limit, and compared */
    char first[256];
} recording;

static const char *meta(const vv_weights *w, const char *key)
{
    const vv_st *st = NULL;
    ck_assert_ptr_nonnull(vv_weights_at(w, 0, &st));
    ck_assert_ptr_nonnull(vv_st_metadata(st, key));
    return vv_st_metadata(st, key);
}

static const vv_st_entry *entry(const recording *r, const char *kind, const char *name, const vv_st **st)
{
    char key[VV_NAME_MAX + 32];
    snprintf(key, sizeof key, "u1/depth/%s/%s", kind, name);
    return vv_weights_find(r->file, key, st);
}

static void wrong(recording *r, const char *what)
{
    if (r->wrong++ == 0) snprintf(r->first, sizeof r->first, "%s", what);
}

/* got [n] in the order of the file */
static void compare(recording *r, const char *kind, const char *name, const vv_real *got, int64_t n)
{
    const vv_st *st = NULL;
    const vv_st_entry *e = entry(r, kind, name, &st);
    ck_assert_msg(e && e->n == n, "%s of %s: not in the file, or of another size", kind, name);
    double d = 0, sum = 0, *want = vv_calloc(n, sizeof *want);
    VVT_OK(vv_st_read_f64(st, e, want, err));
    for (int64_t i = 0; i < n; i++) {
        d += (want[i] - (double)got[i]) * (want[i] - (double)got[i]);
        sum += want[i] * want[i];
    }
    const double limit = e->dtype == VV_DT_F32 ? fmax(LIMIT, FLOAT_STORED) : LIMIT;
    char words[256];
    snprintf(words, sizeof words, "%s of %.180s: relative RMS %.3e, limit %.1e", kind, name, sqrt(d / sum), limit);
    if (!(sqrt(d / sum) <= limit)) wrong(r, words);
    r->seen++;
    free(want);
}

/* An activation [B,H,W,C]: its last picture is in the file as [1,C,H,W]. Rows [N,C] are there as they are. */
static void see(void *ctx, vv_event event, const vv_tensor *x)
{
    recording *r = ctx;
    char name[VV_NAME_MAX];
    if (event != VV_EVENT_ACT || !entry(r, "act", vv_name(x, name), NULL)) return;
    vv_real *v = tower_get(x->data, x->n);
    if (x->ndim == 4) {
        const int64_t P = x->dim[1] * x->dim[2], C = x->dim[3], from = (x->dim[0] - 1) * P * C;
        vv_real *turned = vv_calloc(P * C, sizeof *turned);
        for (int64_t p = 0; p < P; p++)
            for (int64_t c = 0; c < C; c++) turned[c * P + p] = v[from + p * C + c];
        compare(r, "act", name, turned, P * C);
        free(turned);
    } else compare(r, "act", name, v, x->n);
    free(v);
}

static void begin(recording *r, const char *name)
{
    char file[64];
    long long B, h, w;
    *r = (recording){0};
    snprintf(file, sizeof file, "golden/torch/dpt-%s.safetensors", name);
    VVT_OK(vv_weights_open(&r->file, vvt_root(file), err));
    ck_assert_int_eq(sscanf(meta(r->file, "grid"), "[%lld, %lld, %lld]", &B, &h, &w), 3);
    dpt_start(&r->s, meta(r->file, "depth_head"),
              &(dpt_size){atoll(meta(r->file, "width")), 3, atoll(meta(r->file, "patch")), B, h, w});
    const vv_part part = {&r->s.params, "depth_head.", 3, r->s.params.n - 3};
    VVT_OK(vv_part_load(&part, r->file, "u1/depth/w/depth_head.", NULL, NULL, err));
    for (int k = 0; k < 3; k++) {
        char key[32];
        snprintf(key, sizeof key, "u1/depth/in/tap.%d", k);
        VVT_OK(vv_param_load(r->s.tap[k], r->file, key, err));
    }
    const vv_st *st = NULL;
    const vv_st_entry *c = entry(r, "in", "cotangent", &st);
    ck_assert_ptr_nonnull(c);
    ck_assert_int_eq(c->n, B * h * w * r->s.config.patch * r->s.config.patch);
    VVT_OK(vv_st_read_real(st, c, r->s.cotangent, err));
}

static void end(recording *r)
{
    dpt_finish(&r->s);
    vv_weights_close(r->file);
}

static void run(recording *r)
{
    const vv_st *st = NULL;
    double loss;
    dpt_out o = dpt_run(&r->s, VV_RECORD, see, r);
    compare(r, "act", "depth_head", o.d, o.n);
    VVT_OK(vv_st_read_f64(st, entry(r, "loss", "total", &st), &loss, err));
    if (!(fabs(o.loss - loss) <= LIMIT * o.gauge)) wrong(r, "the loss");
    for (int64_t i = 0; i < r->s.params.n; i++) {
        const vv_tensor *x = r->s.params.at[i];
        const char *kind = i < 3 ? "dact" : "dw";
        ck_assert_msg(x->has_grad == (entry(r, kind, x->name, NULL) != NULL), "%s: has %s gradient", x->name,
                      x->has_grad ? "a" : "no");
        if (!x->has_grad) continue;
        vv_real *g = tower_get(x->grad, x->n);
        compare(r, kind, x->name, g, x->n);
        free(g);
    }
    free(o.d);
}

/* every tensor that the file holds and that is computed, once */
static int computed(const vv_weights *w)
{
    int n = 0;
    for (int64_t i = 0; i < vv_weights_count(w); i++) {
        const char *key = vv_weights_at(w, i, NULL)->name;
        n += !strncmp(key, "u1/depth/act/", 13) || !strncmp(key, "u1/depth/dact/", 14) ||
             !strncmp(key, "u1/depth/dw/", 12);
    }
    return n;
}

START_TEST(same_as_torch)
{
    recording r;
    begin(&r, cases[_i]);
    ck_assert_double_ge(atof(meta(r.file, "relu_margin")), 5e-5); /* rounding in float changes no sign */
    run(&r);
    ck_assert_msg(!r.wrong, "%s: %d of %d tensors differ, first %s", cases[_i], r.wrong, r.seen, r.first);
    ck_assert_int_eq(r.seen, computed(r.file));
    end(&r);
}
END_TEST

/* The same comparison fails when one kernel is one per cent off, and names the first map that feels it. */
START_TEST(a_wrong_weight_shows)
{
    recording r;
    begin(&r, "micro");
    vv_tensor *x = vv_param_find(&r.s.params, "depth_head.scratch.refinenet2.resConfUnit1.conv2.weight");
    ck_assert_ptr_nonnull(x);
    vv_real *v = tower_get(x->data, x->n);
    for (int64_t i = 0; i < x->n; i++) v[i] *= (vv_real)1.01;
    dpt_set(x, v);
    free(v);
    vv_params_zero_grad(&r.s.params);
    free(dpt_run(&r.s, 0, see, &r).d);
    ck_assert_int_gt(r.wrong, 0);
    ck_assert_msg(strstr(r.first, "refinenet2.resConfUnit1.conv2:") != NULL, "%s", r.first);
    end(&r);
}
END_TEST

/* ---- the layout of transformers --------------------------------------------------------------------------------------- */
static void write_run(const dpt_setup *s, const vv_real *d, const char *path)
{
    vv_st_decl decl[4] = {{"tap.0", VV_DT_REAL, 2, {0}}, {"tap.1", VV_DT_REAL, 2, {0}}, {"tap.2", VV_DT_REAL, 2, {0}}};
    char grid[64];
    const char *const words[] = {"grid", grid, NULL};
    vv_stw *w = NULL;
    snprintf(grid, sizeof grid, "[%d, %d, %d]", (int)s->B, (int)s->h, (int)s->w);
    for (int k = 0; k < 3; k++) decl[k].shape[0] = s->tap[k]->dim[0], decl[k].shape[1] = s->tap[k]->dim[1];
    decl[3] = (vv_st_decl){"depth", VV_DT_REAL, 3, {s->B, s->h * s->config.patch, s->w * s->config.patch}};
    VVT_OK(vv_stw_open(&w, path, decl, 4, words, 0, err));
    for (int k = 0; k < 3; k++) {
        vv_real *v = tower_get(s->tap[k]->data, s->tap[k]->n);
        VVT_OK(vv_stw_write_real(w, k, v, err));
        free(v);
    }
    VVT_OK(vv_stw_write_real(w, 3, d, err));
    VVT_OK(vv_stw_commit(w, err));
}

START_TEST(exported_and_loaded)
{
    const char *weights = getenv("VVT_WEIGHTS"), *keep = getenv("VVT_EXPORT");
    char dir[400], path[500];
    recording r;
    vv_weights *w = NULL;
    begin(&r, "micro");
    if (weights) {
        VVT_OK(vv_weights_open(&w, weights, err));
        VVT_OK(vv_dpt_load_weights(r.s.head, w, err));
        vv_weights_close(w);
    }
    snprintf(dir, sizeof dir, "%s", keep ? keep : vvt_path("head"));
    snprintf(path, sizeof path, "%s/run.safetensors", dir);
    VVT_OK(vv_dpt_export(r.s.head, dir, err));
    dpt_out before = dpt_run(&r.s, 0, NULL, NULL);
    write_run(&r.s, before.d, path);
    for (int64_t i = 3; i < r.s.params.n; i++)
        vvb_zero(r.s.params.at[i]->data, r.s.params.at[i]->n * (int64_t)sizeof(vv_real));
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    VVT_OK(vv_weights_open(&w, path, err));
    VVT_OK(vv_dpt_load_weights(r.s.head, w, err));
    vv_weights_close(w);
    dpt_out after = dpt_run(&r.s, 0, NULL, NULL);
    ck_assert_mem_eq(after.d, before.d, (size_t)after.n * sizeof *after.d);
    free(before.d);
    free(after.d);
    end(&r);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("depth head, torch", &tc);
    tcase_add_loop_test(tc, same_as_torch, 0, CASES);
    tcase_add_test(tc, a_wrong_weight_shows);
    tcase_add_test(tc, exported_and_loaded);
    return s;
}
VVT_MAIN(suite)
