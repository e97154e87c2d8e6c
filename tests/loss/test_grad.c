/* Gradients of the losses against central differences, pixel by pixel, under every switch. The points are taken at least 100 steps away
 * from every kink: from pixels equal to the median, from residuals and differences that are zero, from a tie at the trimmed end.
 * Differences prove something in the double build alone; the float build runs the same calls. */
#include "run.h"

enum { B = 2, HH = 9, WW = 7, MAP = HH * WW, N = B * MAP };
#define H 1e-5
#define MARGIN (100 * H)

/* {switches, spread of p}: the last one's scale is clamped */
static const struct {
    vvb_depth_args how;
    double spread;
} CASES[] = {
    {{.eps = 1e-6, .scales = 4}, 1},
    {{.eps = 1e-6, .scales = 4, .average = 1}, 1},
    {{.eps = 1e-6, .scales = 4, .image = 1}, 1},
    {{.eps = 1e-6, .scales = 4, .trim = 0.2}, 1},
    {{.eps = 1e-6, .scales = 4, .align = VVB_ALIGN_LS}, 1},
    {{.eps = 1e-6, .scales = 4, .align = VVB_ALIGN_LS, .trim = 0.3, .image = 1}, 1},
    {{.eps = 1e-6, .scales = 4, .gm = VVB_GM_LS}, 1},
    {{.eps = 1e-6, .scales = 4, .gm = VVB_GM_PAPER}, 1},
    {{.eps = 1e-6, .scales = 3, .gm = VVB_GM_PAPER_SUM, .average = 1}, 1},
    {{.eps = 1e-6, .scales = 4, .gm = VVB_GM_MEGADEPTH}, 1},
    {{.eps = 9, .scales = 4, .clamp = 1}, 1},
    {{.eps = 9, .scales = 4, .clamp = 1, .gm = VVB_GM_PAPER}, 1},
};
enum { N_CASES = sizeof CASES / sizeof *CASES };

static vv_real p[N], d[N];
static int32_t mask[N];

static void fill(int seed)
{
    char stream[2][16];
    snprintf(stream[0], sizeof stream[0], "p %d", seed);
    snprintf(stream[1], sizeof stream[1], "d %d", seed);
    vvt_fill_array(p, N, VVT_NORMAL, stream[0]);
    vvt_fill_array(d, N, VVT_NORMAL, stream[1]);
    for (int i = 0; i < N; i++) {
        mask[i] = i % 6 != 4;
        if (i % 13 == 5) d[i] = (vv_real)INFINITY;
    }
}

static depth_call call(const vvb_depth_args *how)
{
    depth_call c = {.B = B, .Hh = HH, .Ww = WW, .p = p, .d = d, .mask = mask, .how = vv_depth_config_default()};
    c.how.how = *how;
    return c;
}

/* ---- distance from kinks -------------------------------------------------------------------------------------------------- */
static int valid(int i) { return mask[i] && isfinite(d[i]); }

/* the least |R|, and the least difference at any distance that a grid has, in one map */
static double nearest_zero(const double *R, int first)
{
    static const int steps[] = {1, 2, 4, 6, 8, 12};
    double least = INFINITY;
    for (int i = 0; i < MAP; i++) {
        if (!valid(first + i)) continue;
        if (R[i] != 0) least = fmin(least, fabs(R[i])); /* 0: the median of both; it moves with both */
        for (int k = 0; k < 6; k++) {
            const int right = i + steps[k], below = i + steps[k] * WW;
            if (i % WW + steps[k] < WW && valid(first + right)) least = fmin(least, fabs(R[right] - R[i]));
            if (i / WW + steps[k] < HH && valid(first + below)) least = fmin(least, fabs(R[below] - R[i]));
        }
    }
    return least;
}

static int by_size(const void *a, const void *b)
{
    const double x = fabs(*(const double *)a), y = fabs(*(const double *)b);
    return (x > y) - (x < y);
}

static double gap_of_trim(const double *R, int first, double trim)
{
    double list[MAP] = {0};
    int M = 0;
    for (int i = 0; i < MAP; i++)
        if (valid(first + i)) list[M++] = R[i];
    qsort(list, (size_t)M, sizeof *list, by_size);
    const int keep = (int)((1 - trim) * M);
    return keep < M ? fabs(list[keep]) - fabs(list[keep - 1]) : INFINITY;
}

/* t and s of x on one map, as the switches say; gap: how far other pixels are from the median's values */
static void centre(const vv_real *x, int first, const int32_t *at, const vvb_depth_args *how, double *t, double *s,
                   double *gap)
{
    const vv_real lower = x[first + at[0]], upper = x[first + at[how->average ? 1 : 0]];
    int M = 0;
    *t = ((double)lower + (double)upper) / 2;
    *s = 0;
    *gap = INFINITY;
    for (int i = 0; i < MAP; i++) {
        const double v = (double)x[first + i];
        if (!valid(first + i)) continue;
        *s += fabs(v - *t);
        M++;
        if (i != at[0] && i != at[how->average ? 1 : 0])
            *gap = fmin(*gap, fmin(fabs(v - (double)lower), fabs(v - (double)upper)));
    }
    *s = fmax(*s / M, how->eps);
}

static void fit(int first, double *slope, double *shift)
{
    double M = 0, x = 0, y = 0, xx = 0, xy = 0;
    for (int i = first; i < first + MAP; i++) {
        if (!valid(i)) continue;
        M++;
        x += (double)p[i];
        y += (double)d[i];
        xx += (double)p[i] * (double)p[i];
        xy += (double)p[i] * (double)d[i];
    }
    *slope = (M * xy - x * y) / (M * xx - x * x);
    *shift = (y - *slope * x) / M;
}

/* the least of all distances, over the residuals that this case uses */
static double margin(const vvb_depth_args *how)
{
    int32_t at[4 * B];
    double least = INFINITY;
    vvo_medians(at, p, d, mask, B, MAP);
    vvo_medians(at + 2 * B, d, d, mask, B, MAP);
    for (int b = 0; b < B; b++) {
        double tp, sp, td, sd, gap, unused, slope, shift, R[3][MAP];
        centre(p, b * MAP, at + 2 * b, how, &tp, &sp, &gap);
        centre(d, b * MAP, at + 2 * B + 2 * b, how, &td, &sd, &unused);
        fit(b * MAP, &slope, &shift);
        for (int i = 0; i < MAP; i++) {
            const double x = (double)p[b * MAP + i], y = (double)d[b * MAP + i];
            R[0][i] = (x - tp) / sp - (y - td) / sd;
            R[1][i] = slope * x + shift - y;
            R[2][i] = sp / sd * y - x;
        }
        const double *ssi = R[how->align == VVB_ALIGN_LS ? 1 : 0];
        const double *gm = R[how->gm == VVB_GM_LS ? 1 : how->gm == VVB_GM_PAPER || how->gm == VVB_GM_PAPER_SUM ? 2 : 0];
        least = fmin(least, fmin(gap, fmin(nearest_zero(ssi, b * MAP), nearest_zero(gm, b * MAP))));
        least = fmin(least, gap_of_trim(ssi, b * MAP, how->trim));
    }
    return least;
}

START_TEST(depth)
{
    const vvb_depth_args *how = &CASES[_i].how;
    int seed = 0;
    fill(seed);
    /* with the scale clamped at 9, R is a ninth as large as usual and so are its distances */
    while (seed < 1000 && !(margin(how) > (how->eps > 1 ? MARGIN / 5 : MARGIN))) fill(++seed);
    ck_assert_msg(seed < 1000, "case %d: every point is near a kink", _i);
    const depth_call c = call(how);
    static depth_result r;
    r = depth_ok(&c, 1);
    double size = 0;
    for (int i = 0; i < N; i++) size += fabs((double)r.grad[i]);
    ck_assert(size > 0.01 && isfinite(size));
#ifdef VV_DOUBLE
    double off = 0, all = 0;
    for (int i = 0; i < N; i++) {
        const double x = p[i];
        p[i] = x + H;
        const double up = depth_ok(&c, 0).loss;
        p[i] = x - H;
        const double down = depth_ok(&c, 0).loss;
        p[i] = x;
        const double g = (up - down) / (2 * H);
        off += (g - r.grad[i]) * (g - r.grad[i]);
        all += g * g;
    }
    ck_assert_msg(all > 0 && sqrt(off / all) <= 1e-7, "case %d: relative error %.3g", _i, sqrt(off / all));
    printf("loss/grad, depth %d (point %d): relative error %.2g, allowed 1e-7\n", _i, seed, sqrt(off / all));
#else
    if (_i == 0) printf("skipped: loss/grad, differences: float is too coarse for them; repeat with REAL=double\n");
#endif
}
END_TEST

/* With `detach` medians, scales and fits are constants: the gradient of ssi is sign(R) / s, or slope sign(R), over the number of pixels;
 * that of the differences takes from one pixel what it gives to another. */
START_TEST(detached)
{
    static const vvb_depth_args how[] = {{.eps = 1e-6, .scales = 4, .detach = 1},
                                         {.eps = 1e-6, .scales = 4, .detach = 1, .gm = VVB_GM_PAPER},
                                         {.eps = 1e-6, .scales = 4, .detach = 1, .align = VVB_ALIGN_LS}};
    int32_t at[4 * B];
    fill(3);
    depth_call c = call(&how[_i]);
    c.how.lambda_ssi = _i == 1 ? 0 : 1;
    c.how.lambda_gm = _i == 1 ? 1 : 0;
    static depth_result r;
    r = depth_ok(&c, 1);
    vvo_medians(at, p, d, mask, B, MAP);
    vvo_medians(at + 2 * B, d, d, mask, B, MAP);
    int pixels = 0;
    for (int i = 0; i < N; i++) pixels += valid(i);
    for (int b = 0; b < B && _i != 1; b++) {
        double tp, sp, td, sd, gap, slope, shift;
        centre(p, b * MAP, at + 2 * b, &how[_i], &tp, &sp, &gap);
        centre(d, b * MAP, at + 2 * B + 2 * b, &how[_i], &td, &sd, &gap);
        fit(b * MAP, &slope, &shift);
        for (int i = b * MAP; i < (b + 1) * MAP; i++) {
            const double R =
                _i ? slope * (double)p[i] + shift - (double)d[i] : ((double)p[i] - tp) / sp - ((double)d[i] - td) / sd;
            const double want = !valid(i) || R == 0 ? 0 : (R > 0 ? 1 : -1) * (_i ? slope : 1 / sp) / pixels;
            ck_assert_msg(fabs((double)r.grad[i] - want) <= 16 * VV_U * fabs(want), "pixel %d: %.17g, expected %.17g",
                          i, (double)r.grad[i], want);
        }
    }
    double sum = 0, all = 0; /* differences add to one pixel what they take from another */
    for (int i = 0; i < N; i++) {
        sum += (double)r.grad[i];
        all += fabs((double)r.grad[i]);
    }
    ck_assert(all > 0 && (_i != 1 || fabs(sum) <= 16 * VV_U * all));
}
END_TEST

/* ---- masks ------------------------------------------------------------------------------------------------------------------- */
enum { R = 3, C = 40 };

static double seg(const vv_seg_config *how, const vv_real *x, const vv_real *z, vv_real *grad)
{
    const int64_t dim[3] = {R, 5, C / 5};
    vv_params params = {0};
    vv_error err = {0};
    vv_real value;
    vv_tensor *logits = vv_param_new(&params, "x", 3, dim, &err);
    vvb_upload(logits->data, x, R * C * (int64_t)sizeof(vv_real));
    vv_tape *t = vv_tape_new(&params, VV_RECORD);
    vv_tensor *loss = vv_seg_loss(t, "loss", logits, vv_input(t, NULL, VV_REALS, 3, dim, z), how, NULL);
    vv_backward(t, loss, 1);
    ck_assert_msg(vv_tape_status(t, &err) == VV_OK, "%s", err.msg);
    vvb_download(&value, loss->data, sizeof value);
    if (grad) vvb_download(grad, logits->grad, R * C * (int64_t)sizeof(vv_real));
    vv_tape_free(t);
    vv_params_free(&params);
    return (double)value;
}

START_TEST(masks)
{
    static const vv_seg_config how[] = {{2, 0.5, 1e-3}, {1, 0, 1e-3}, {0, 1, 1e-3}, {0, 1, 1}};
    vv_real x[R * C], z[R * C], grad[R * C];
    vvt_fill_array(x, R * C, VVT_NORMAL, "x");
    vvt_fill_array(z, R * C, VVT_NORMAL, "z");
    for (int i = 0; i < R * C; i++) z[i] = z[i] > 0 && i >= C; /* the first mask is empty */
    seg(&how[_i], x, z, grad);
#ifdef VV_DOUBLE
    double off = 0, all = 0;
    for (int i = 0; i < R * C; i++) {
        const double v = x[i];
        x[i] = v + H;
        const double up = seg(&how[_i], x, z, NULL);
        x[i] = v - H;
        const double g = (up - seg(&how[_i], x, z, NULL)) / (2 * H);
        x[i] = v;
        off += (g - grad[i]) * (g - grad[i]);
        all += g * g;
    }
    ck_assert_msg(all > 0 && sqrt(off / all) <= 1e-7, "case %d: relative error %.3g", _i, sqrt(off / all));
    printf("loss/grad, masks %d: relative error %.2g, allowed 1e-7\n", _i, sqrt(off / all));
#endif
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("loss/grad", &tc);
    tcase_add_loop_test(tc, depth, 0, N_CASES);
    tcase_add_loop_test(tc, detached, 0, 3);
    tcase_add_loop_test(tc, masks, 0, 4);
    return s;
}

VVT_MAIN(suite)
