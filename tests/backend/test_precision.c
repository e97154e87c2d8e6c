/* Emulated precisions: the rounding against every number of each format, and what each placement touches. */
#include <math.h>

#include "ops/ops.h"
#include "vvt_check.h"

typedef struct {
    vvb_precision p;
    const char *name;
    int digits, exponent_bits;
    double unit_roundoff;
} format;
static const format FORMATS[] = {
    {VVB_TF32, "tf32", 10, 8, 0x1p-11}, {VVB_BF16, "bf16", 7, 8, 0x1p-8}, {VVB_FP16, "fp16", 10, 5, 0x1p-11}};
enum { N_FORMATS = 3 };

/* the value of an encoding of the format, by its definition (IEEE 754-2019, section 3.4); Inf for the first one beyond the finite */
static double value(const format *f, uint32_t code)
{
    const uint32_t fraction = code & ((1u << f->digits) - 1), exponent = code >> f->digits;
    const int bias = (1 << (f->exponent_bits - 1)) - 1;
    if (exponent == (1u << f->exponent_bits) - 1) return INFINITY;
    if (exponent == 0) return ldexp(fraction, 1 - bias - f->digits);
    return ldexp(1 + ldexp(fraction, -f->digits), (int)exponent - bias);
}

static vv_real rounded(double x)
{
    vv_real v = (vv_real)x;
    vvb_round(&v, 1);
    return v;
}

static int same(vv_real got, double want) { return (double)got == want && !signbit(got) == !signbit(want); }

/* Every number of the format stays; between neighbours the nearer one wins, at the middle the one with the even encoding; beyond the
 * largest finite number and half a place more is Inf. */
START_TEST(rounding)
{
    const format *f = &FORMATS[_i];
    const uint32_t beyond = ((1u << f->exponent_bits) - 1) << f->digits;
    vvb_set_precision(f->p, VVB_OUTPUTS);
    for (uint32_t code = 0; code < beyond; code++)
        for (int sign = 1; sign >= -1; sign -= 2) {
            const double lo = value(f, code), next = value(f, code + 1),
                         hi = code + 1 == beyond ? ldexp(1, 1 << (f->exponent_bits - 1)) : next,
                         middle = lo + (hi - lo) / 2, even = code & 1 ? next : lo;
            const vv_real below = (vv_real)middle, step = (vv_real)ldexp(hi - lo, -10);
            ck_assert_msg(same(rounded(sign * lo), sign * lo), "%s: %a becomes %a", f->name, sign * lo,
                          (double)rounded(sign * lo));
            if ((double)below != middle) continue; /* bf16 and tf32's smallest steps halved: not a float */
            ck_assert_msg(same(rounded(sign * middle), sign * even), "%s: %a becomes %a", f->name, sign * middle,
                          (double)rounded(sign * middle));
            if (step == 0 || below + step == below || below - step == below) continue;
            ck_assert_msg(same(rounded(sign * (double)(below + step)), sign * next), "%s: above %a", f->name, middle);
            ck_assert_msg(same(rounded(sign * (double)(below - step)), sign * lo), "%s: below %a", f->name, middle);
        }
    ck_assert(same(rounded(INFINITY), INFINITY) && same(rounded(-INFINITY), -INFINITY) && isnan(rounded(NAN)));
    ck_assert(same(rounded(-0.0), -0.0));
    vvb_set_precision(VVB_FULL, VVB_BOTH);
}
END_TEST

/* random bits, all exponents: the nearest of all numbers of the format, found by bisection */
START_TEST(random_bits)
{
    const format *f = &FORMATS[_i];
    vvb_set_precision(f->p, VVB_OUTPUTS);
    uint64_t state = 88172645463325252u;
    for (int i = 0; i < 200000; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        const uint32_t bits = (uint32_t)(state >> 20);
        float x;
        memcpy(&x, &bits, sizeof x);
        if (isnan(x)) continue;
        uint32_t lo = 0, hi = ((1u << f->exponent_bits) - 1) << f->digits; /* value(lo) <= |x| < value(hi) */
        while (hi - lo > 1) {
            const uint32_t mid = lo + (hi - lo) / 2;
            if (value(f, mid) <= fabs((double)x)) lo = mid;
            else hi = mid;
        }
        const double a = value(f, lo), b = isinf(value(f, hi)) ? ldexp(1, 1 << (f->exponent_bits - 1)) : value(f, hi);
        const double down = fabs((double)x) - a, up = b - fabs((double)x);
        const double want = isinf(x) ? INFINITY : down < up || (down == up && !(lo & 1)) ? a : value(f, hi);
        ck_assert_msg(same(rounded((double)x), signbit(x) ? -want : want), "%s: %a becomes %a, not %a", f->name,
                      (double)x, (double)rounded((double)x), want);
    }
    vvb_set_precision(VVB_FULL, VVB_BOTH);
}
END_TEST

/* ---- placements ------------------------------------------------------------------------------------------------------ */
enum { R = 9, C = 40, O = 24 };

static void fill(vv_real *x, int n, unsigned seed)
{
    for (int i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (vv_real)((float)(seed >> 8) / (float)(1 << 23) - 1);
    }
}

static int representable(const format *f, const vv_real *x, int n)
{
    vvb_set_precision(f->p, VVB_OUTPUTS);
    int yes = 1;
    for (int i = 0; i < n; i++) yes &= same(rounded((double)x[i]), (double)x[i]);
    vvb_set_precision(VVB_FULL, VVB_BOTH);
    return yes;
}

/* rows with rounding set: few, for which linear has a loop of its own, and many */
START_TEST(operands)
{
    const format *f = &FORMATS[_i % N_FORMATS];
    const int rows = _i < N_FORMATS ? R : 3;
    vv_real x[R * C], w[O * C], b[O], res[R * O], full[R * O], got[R * O], want[R * O];
    fill(x, rows * C, 1), fill(w, O * C, 2), fill(b, O, 3), fill(res, rows * O, 4);
    vvb_linear_fwd(full, x, w, b, res, rows, C, O);
    vvb_set_precision(f->p, VVB_OPERANDS);
    vvb_linear_fwd(got, x, w, b, res, rows, C, O);
    vv_real kept = (vv_real)0.1;
    vvb_round(&kept, 1);
    ck_assert(kept == (vv_real)0.1); /* outputs are not rounded here */
    ck_assert(vvb_get_info()->unit_roundoff == f->unit_roundoff);
    vvb_set_precision(f->p, VVB_OUTPUTS);
    vvb_round(x, rows * C), vvb_round(w, O * C); /* bias and residual stay */
    vvb_set_precision(VVB_FULL, VVB_BOTH);
    for (int r = 0; r < rows; r++)
        for (int o = 0; o < O; o++) {
            double sum = (double)b[o] + (double)res[r * O + o];
            for (int c = 0; c < C; c++) sum += (double)x[r * C + c] * (double)w[o * C + c];
            want[r * O + o] = (vv_real)sum;
        }
    int changed = 0;
    for (int i = 0; i < rows * O; i++) {
        changed += got[i] != full[i];
        ck_assert_msg(fabs((double)(got[i] - want[i])) <= 64 * VV_U * C, "%s: %d: %a, not %a", f->name, i,
                      (double)got[i], (double)want[i]);
    }
    ck_assert_int_gt(changed, rows * O / 2);
    ck_assert(!representable(f, got, rows * O));
}
END_TEST

/* All five products of attention round what they read; a function without a product does not change. */
START_TEST(operands_elsewhere)
{
    const format *f = &FORMATS[_i];
    const int32_t cu[2] = {0, R};
    const vvb_attention_args a = {.cu_q = cu, .S = 1, .H = 2, .Hkv = 2, .D = C / 2, .scale = 0.25};
    vv_real q[R * C], k[R * C], v[R * C], dO[R * C], w[C], o[2][R * C], lse[2][R * 2], d[2][3][R * C], n[2][R * C],
        mean[R], rstd[R];
    fill(q, R * C, 1), fill(k, R * C, 2), fill(v, R * C, 3), fill(dO, R * C, 4), fill(w, C, 5);
    for (int on = 0; on < 2; on++) {
        vvb_set_precision(on ? f->p : VVB_FULL, VVB_OPERANDS);
        vvb_attention_fwd(o[on], C, lse[on], q, C, k, C, v, C, &a);
        vvb_attention_bwd(d[on][0], d[on][1], d[on][2], dO, o[0], C, lse[0], q, C, k, C, v, C, &a);
        vvb_layernorm_fwd(n[on], mean, rstd, q, w, w, R, C, 1e-6);
    }
    vvb_set_precision(VVB_FULL, VVB_BOTH);
    ck_assert(memcmp(o[0], o[1], sizeof o[0]) && memcmp(lse[0], lse[1], sizeof lse[0]));
    for (int i = 0; i < 3; i++) ck_assert(memcmp(d[0][i], d[1][i], sizeof d[0][i]));
    ck_assert_mem_eq(n[0], n[1], sizeof n[0]);
}
END_TEST

/* ---- on a tape: y = linear(layernorm(x)), loss = y . c ------------------------------------------------------------------ */
typedef struct {
    vv_real norm[R * C], y[R * O], dnorm[R * C], dw[O * C], loss;
} values;

static void keep_gradient(void *ctx, vv_event event, const vv_tensor *x)
{
    values *v = ctx;
    if (event == VV_EVENT_GRAD && !strcmp(x->name, "norm")) vvb_download(v->dnorm, x->grad, (int64_t)sizeof v->dnorm);
}

static values run_tape(vvb_precision p, vvb_placement where)
{
    static values v;
    vv_real x[R * C], w[O * C], g[C], c[R * O];
    fill(x, R * C, 1), fill(w, O * C, 2), fill(g, C, 3), fill(c, R * O, 4);
    vv_params ps = {0};
    vv_error err = {0};
    vv_tensor *wt = vv_param_new(&ps, "w", 2, (int64_t[]){O, C}, &err),
              *gt = vv_param_new(&ps, "g", 1, (int64_t[]){C}, &err);
    ck_assert(wt && gt);
    vvb_upload(wt->data, w, (int64_t)sizeof w);
    vvb_upload(gt->data, g, (int64_t)sizeof g);
    vv_tape *t = vv_tape_new(&ps, VV_RECORD);
    vv_trace(t, keep_gradient, &v);
    vvb_set_precision(p, where);
    vv_tensor *in = vv_input(t, "x", VV_REALS, 2, (int64_t[]){R, C}, x),
              *ct = vv_input(t, "c", VV_REALS, 2, (int64_t[]){R, O}, c);
    vv_tensor *norm = vv_layernorm(t, "norm", in, gt, gt, 1e-6), *y = vv_linear(t, "y", norm, wt, NULL, NULL),
              *loss = vv_dot(t, "loss", y, ct);
    vv_backward(t, loss, 1);
    vvb_set_precision(VVB_FULL, VVB_BOTH);
    ck_assert_msg(vv_tape_status(t, &err) == VV_OK, "%s", err.msg);
    vvb_download(v.norm, norm->data, (int64_t)sizeof v.norm);
    vvb_download(v.y, y->data, (int64_t)sizeof v.y);
    vvb_download(v.dw, wt->grad, (int64_t)sizeof v.dw);
    vvb_download(&v.loss, loss->data, (int64_t)sizeof v.loss);
    vv_tape_free(t);
    vv_params_free(&ps);
    return v;
}

START_TEST(outputs)
{
    const format *f = &FORMATS[_i];
    const values full = run_tape(VVB_FULL, VVB_BOTH), out = run_tape(f->p, VVB_OUTPUTS),
                 in = run_tape(f->p, VVB_OPERANDS), both = run_tape(f->p, VVB_BOTH),
                 again = run_tape(VVB_FULL, VVB_OUTPUTS);
    ck_assert_mem_eq(&full, &again, sizeof full); /* off is off */
    ck_assert(representable(f, out.norm, R * C) && representable(f, out.y, R * O) &&
              representable(f, out.dnorm, R * C) && representable(f, out.dw, O * C) && !representable(f, &out.loss, 1));
    ck_assert_mem_eq(in.norm, full.norm, sizeof full.norm); /* no product before it */
    ck_assert(!representable(f, in.y, R * O) && memcmp(in.y, full.y, sizeof full.y));
    ck_assert_mem_eq(both.norm, out.norm, sizeof out.norm);
    ck_assert(representable(f, both.y, R * O) && memcmp(both.y, out.y, sizeof out.y)); /* w is rounded as well */
    vv_real norm[R * C]; /* rounded once, from what full precision gives */
    memcpy(norm, full.norm, sizeof norm);
    vvb_set_precision(f->p, VVB_OUTPUTS);
    vvb_round(norm, R * C);
    vvb_set_precision(VVB_FULL, VVB_BOTH);
    ck_assert_mem_eq(norm, out.norm, sizeof norm);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("backend/precision", &tc);
    tcase_add_loop_test(tc, rounding, 0, N_FORMATS);
    tcase_add_loop_test(tc, random_bits, 0, N_FORMATS);
    tcase_add_loop_test(tc, operands, 0, 2 * N_FORMATS);
    tcase_add_loop_test(tc, operands_elsewhere, 0, N_FORMATS);
    tcase_add_loop_test(tc, outputs, 0, N_FORMATS);
    return s;
}

VVT_MAIN(suite)
