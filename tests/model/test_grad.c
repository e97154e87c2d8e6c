/* The gradients of the whole tower against finite differences (double build), and that the loss is what it says (both). */
#include "model/tower.h"

static const vv_grid pictures[2] = {{1, 4, 2}, {1, 2, 4}};

typedef struct {
    vv_model m;
    vv_real *x, *c, *c_tap;
    tower_in in;
} setup;

static void start(setup *s)
{
    s->m = tower_micro();
    const int64_t N = tower_tokens(pictures, 2);
    s->x = tower_numbers("pixels", 0, 1, N * tower_width(s->m.vit));
    s->c = tower_numbers("c", 0, 1, N / 4 * s->m.vit->config.hidden_size);
    s->c_tap = tower_numbers("c_tap", 0, 1, N * s->m.vit->config.embed_dim);
    s->in =
        (tower_in){.vit = s->m.vit, .grid = pictures, .n = 2, .tap = 1, .pixels = s->x, .c = s->c, .c_tap = s->c_tap};
}

static void finish(setup *s)
{
    free(s->x);
    free(s->c);
    free(s->c_tap);
    vv_model_free(&s->m);
}

START_TEST(loss_is_the_sum)
{
    setup s;
    start(&s);
    tower_out o = tower_run(&s.in);
    double sum = 0, gauge = 0;
    for (int64_t i = 0; i < o.n_merged; i++)
        sum += (double)o.merged[i] * (double)s.c[i], gauge += fabs((double)o.merged[i] * (double)s.c[i]);
    for (int64_t i = 0; i < o.n_tap; i++)
        sum += (double)o.tap[i] * (double)s.c_tap[i], gauge += fabs((double)o.tap[i] * (double)s.c_tap[i]);
    ck_assert_double_le(fabs(sum - o.loss), 4 * VV_U * gauge);
    tower_out_free(&o);
    finish(&s);
}
END_TEST

#ifdef VV_DOUBLE
/* the loss with parameter x moved by h in one coordinate */
static double moved(const setup *s, vv_tensor *x, vv_real *v, int64_t at, double h)
{
    const vv_real keep = v[at];
    v[at] += h;
    vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
    tower_in in = s->in;
    in.forward_only = 1;
    tower_out o = tower_run(&in);
    v[at] = keep;
    vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
    tower_out_free(&o);
    return o.loss;
}

START_TEST(finite_differences)
{
    enum { SAMPLES = 8 };
    const double h = 1e-5;
    setup s;
    start(&s);
    tower_out o = tower_run(&s.in);
    const vv_params *ps = s.m.params;
    for (int64_t p = 0, at = 0; p < ps->n; at += ps->at[p++]->n) {
        vv_tensor *x = ps->at[p];
        vv_real *v = tower_get(x->data, x->n);
        double d2 = 0, g2 = 0;
        for (int k = 0; k < SAMPLES; k++) {
            const int64_t i = (int64_t)(vv_random_uniform(3, vv_stream(x->name), (uint64_t)k) * (double)x->n);
            const double fd = (moved(&s, x, v, i, h) - moved(&s, x, v, i, -h)) / (2 * h), g = o.grad[at + i];
            d2 += (fd - g) * (fd - g);
            g2 += g * g;
        }
        ck_assert_msg(g2 > 0 && sqrt(d2) <= 1e-6 * sqrt(g2), "%s: relative L2 %.2e", x->name, sqrt(d2 / g2));
        free(v);
    }
    tower_out_free(&o);
    finish(&s);
}
END_TEST
#endif

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("tower gradients", &tc);
    tcase_add_test(tc, loss_is_the_sum);
#ifdef VV_DOUBLE
    tcase_add_test(tc, finite_differences);
#endif
    return s;
}
VVT_MAIN(suite)
