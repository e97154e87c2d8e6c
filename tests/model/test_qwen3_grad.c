/* The gradients of the whole decoder against finite differences (double build); their bits with checkpointing and on any number of
 * threads (both). */
#include "model/decoder.h"
#include "tape/small.h"

static const int32_t LENGTHS[4] = {0, 5, 6, 13};

#ifdef VV_DOUBLE
/* the loss with parameter x moved by h in one coordinate */
static double moved(decoder_in in, vv_tensor *x, vv_real *v, int64_t at, double h)
{
    const vv_real keep = v[at];
    v[at] += h;
    vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
    in.forward_only = 1;
    decoder_out o = decoder_run(&in);
    v[at] = keep;
    vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
    decoder_out_free(&o);
    return o.loss;
}

/* Tied: the table's gradient is that of its rows and that of the output projection. */
START_TEST(finite_differences)
{
    enum { SAMPLES = 8 };
    const double h = 1e-5;
    const vv_qwen3_config c = decoder_config(_i);
    vv_params ps = {0};
    vv_qwen3 *m = decoder_new(&ps, &c);
    int32_t *ids = decoder_ids(4, 40, 13), *wanted = decoder_ids(5, 40, 13);
    const decoder_in in = {.m = m, .ids = ids, .cu = LENGTHS, .S = 3, .wanted = wanted};
    decoder_out o = decoder_run(&in);
    for (int64_t p = 0, at = 0; p < ps.n; at += ps.at[p++]->n) {
        vv_tensor *x = ps.at[p];
        vv_real *v = tower_get(x->data, x->n);
        double d2 = 0, g2 = 0;
        for (int k = 0; k < SAMPLES; k++) {
            int64_t i = (int64_t)(vv_random_uniform(3, vv_stream(x->name), (uint64_t)k) * (double)x->n);
            if (x == m->embed_tokens) i = ids[k] * c.hidden_size + i % c.hidden_size; /* rows that were read */
            const double fd = (moved(in, x, v, i, h) - moved(in, x, v, i, -h)) / (2 * h), g = o.grad[at + i];
            d2 += (fd - g) * (fd - g);
            g2 += g * g;
        }
        ck_assert_msg(g2 > 0 && sqrt(d2) <= 1e-6 * sqrt(g2), "%s: relative L2 %.2e", x->name, sqrt(d2 / g2));
        free(v);
    }
    decoder_out_free(&o);
    free(ids);
    free(wanted);
    vv_qwen3_free(m);
    vv_params_free(&ps);
}
END_TEST
#endif

/* The loss is what it says: of logits on the host, in double. */
START_TEST(loss_of_logits)
{
    const vv_qwen3_config c = decoder_config(_i);
    vv_params ps = {0};
    vv_qwen3 *m = decoder_new(&ps, &c);
    int32_t *ids = decoder_ids(4, 40, 13), *wanted = decoder_ids(5, 40, 13);
    decoder_out o =
        decoder_run(&(decoder_in){.m = m, .ids = ids, .cu = LENGTHS, .S = 3, .wanted = wanted, .forward_only = 1});
    vv_tape *t = vv_tape_new(NULL, 0);
    vv_tensor *z = vv_qwen3_logits(t, m, vv_qwen3_forward(t, m, vv_qwen3_embed(t, m, ids, 13), LENGTHS, 3));
    VVT_OK(vv_tape_status(t, err));
    vv_real *logits = tower_get(z->data, z->n);
    double loss = 0, gauge = 0;
    for (int r = 0; r < 13; r++) {
        double sum = 0;
        for (int v = 0; v < 40; v++) sum += exp((double)logits[40 * r + v]);
        const double ce = log(sum) - (double)logits[40 * r + wanted[r]];
        loss += ce / (r + 1);
        gauge += (fabs(log(sum)) + fabs((double)logits[40 * r + wanted[r]]) + 16) / (r + 1);
    }
    ck_assert_double_le(fabs(loss - o.loss), 16 * VV_U * gauge);
    free(logits);
    vv_tape_free(t);
    decoder_out_free(&o);
    free(ids);
    free(wanted);
    vv_qwen3_free(m);
    vv_params_free(&ps);
}
END_TEST

/* ---- the same bits -------------------------------------------------------------------------------------------------------------- */
static void expect_same(const decoder_out *a, const decoder_out *b, int64_t n_hidden)
{
    ck_assert_double_eq(a->loss, b->loss);
    ck_assert_mem_eq(a->hidden, b->hidden, (size_t)n_hidden * sizeof *a->hidden);
    ck_assert_mem_eq(a->grad, b->grad, (size_t)a->n_grad * sizeof *a->grad);
}

/* a vv_trace_fn: counts events, and adds up a fingerprint of names and numbers that does not depend on the order */
typedef struct {
    int64_t n;
    uint64_t sum;
} fingerprint;

static void print_event(void *ctx, vv_event event, const vv_tensor *x)
{
    fingerprint *f = ctx;
    char name[VV_NAME_MAX];
    vv_real *v = tower_get(event == VV_EVENT_GRAD ? (const void *)x->grad : x->data, x->n);
    uint64_t h = vv_stream(vv_name(x, name)) + (uint64_t)event;
    for (int64_t i = 0; i < x->n; i++) {
        uint64_t bits = 0;
        memcpy(&bits, &v[i], sizeof v[i]);
        h = (h ^ bits) * 1099511628211u;
    }
    f->n++;
    f->sum += h;
    free(v);
}

START_TEST(checkpointing_changes_no_bit)
{
    const vv_qwen3_config c = decoder_config(_i);
    vv_params ps = {0};
    vv_qwen3 *m = decoder_new(&ps, &c);
    int32_t *ids = decoder_ids(4, 40, 13), *wanted = decoder_ids(5, 40, 13);
    decoder_out o[2];
    fingerprint f[2] = {{0}};
    for (int i = 0; i < 2; i++)
        o[i] = decoder_run(&(decoder_in){.m = m,
                                         .ids = ids,
                                         .cu = LENGTHS,
                                         .S = 3,
                                         .wanted = wanted,
                                         .flags = i ? VV_CHECKPOINT : 0,
                                         .trace = print_event,
                                         .trace_ctx = &f[i]});
    expect_same(&o[0], &o[1], 13 * c.hidden_size);
    ck_assert(f[0].n == f[1].n && f[0].sum == f[1].sum && f[0].n > 2 * 15 * c.num_hidden_layers);
    ck_assert_int_lt(o[1].memory.activations_peak, o[0].memory.activations_peak);
    for (int i = 0; i < 2; i++) decoder_out_free(&o[i]);
    free(ids);
    free(wanted);
    vv_qwen3_free(m);
    vv_params_free(&ps);
}
END_TEST

/* Small, and large enough that every operation is cut into parts. */
START_TEST(threads_change_no_bit)
{
    vv_qwen3_config c = decoder_config(_i);
    int32_t cu[4] = {0, 5, 6, 13};
    if (_i) {
        c.hidden_size = 160, c.intermediate_size = 416, c.head_dim = 40, c.vocab_size = 1500, c.num_hidden_layers = 2;
        c.max_position_embeddings = 512;
        cu[1] = 100, cu[2] = 101, cu[3] = 340;
    }
    const int64_t threads = vvb_get_info()->threads;
    vv_params ps = {0};
    vv_qwen3 *m = decoder_new(&ps, &c);
    int32_t *ids = decoder_ids(4, c.vocab_size, cu[3]), *wanted = decoder_ids(5, c.vocab_size, cu[3]);
    decoder_out first = {0};
    for (int run = 1; run <= 3; run++) {
        vvb_init(run);
        decoder_out o = decoder_run(&(decoder_in){.m = m, .ids = ids, .cu = cu, .S = 3, .wanted = wanted});
        if (run == 1) {
            first = o;
            continue;
        }
        expect_same(&first, &o, cu[3] * c.hidden_size);
        decoder_out_free(&o);
    }
    vvb_init((int)threads);
    decoder_out_free(&first);
    free(ids);
    free(wanted);
    vv_qwen3_free(m);
    vv_params_free(&ps);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("qwen3 gradients", &tc);
#ifdef VV_DOUBLE
    tcase_add_loop_test(tc, finite_differences, 0, 2);
#endif
    tcase_add_loop_test(tc, loss_of_logits, 0, 2);
    tcase_add_loop_test(tc, checkpointing_changes_no_bit, 0, 2);
    tcase_add_loop_test(tc, threads_change_no_bit, 0, 2);
    return s;
}
VVT_MAIN(suite)
