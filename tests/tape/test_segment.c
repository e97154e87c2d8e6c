/* Segments and checkpointing, dry runs, and the memory that each way takes. */
#include "tape/small.h"

enum { BLOCKS = 4, N = 24, C = 40 };
static const int64_t UNIT = (N * C * sizeof(vv_real) + 63) / 64 * 64; /* an activation on the stack */

typedef struct {
    vv_tensor *w[BLOCKS], *b[BLOCKS], *v[BLOCKS];
} net;
typedef struct {
    const net *m;
    int64_t i;
    int depth; /* segments within the block's segment */
} block_ctx;

/* h + v gelu(w h + b): three activations a block */
static vv_tensor *block(vv_tape *t, const void *ctx, vv_tensor *h)
{
    const block_ctx *c = ctx;
    vv_enter(t, "blocks", c->i);
    vv_tensor *z = vv_linear(t, "fc1", h, c->m->w[c->i], c->m->b[c->i], NULL);
    h = vv_linear(t, "", vv_gelu(t, "act", z, VVB_GELU_ERF), c->m->v[c->i], NULL, h);
    vv_leave(t);
    return h;
}

static vv_tensor *nested(vv_tape *t, const void *ctx, vv_tensor *h)
{
    block_ctx c = *(const block_ctx *)ctx;
    if (c.depth == 0) return block(t, &c, h);
    c.depth--;
    return vv_segment(t, nested, &c, sizeof c, h);
}

static void new_net(net *m, vv_params *ps)
{
    for (int i = 0; i < BLOCKS; i++) {
        char name[3][16];
        for (int k = 0; k < 3; k++) snprintf(name[k], sizeof name[k], "%c%d", "wbv"[k], i);
        m->w[i] = small_param(ps, name[0], 2, DIM(C, C), 0.02 * (i + 1), -0.00003);
        m->b[i] = small_param(ps, name[1], 1, DIM(C), 0.1, -0.007);
        m->v[i] = small_param(ps, name[2], 2, DIM(C, C), -0.03, 0.00004);
    }
}

/* Names, shapes and a hash of the values of every event. */
static void hash_event(void *ctx, vv_event event, const vv_tensor *x)
{
    small_events *e = ctx;
    const vv_real *data = event == VV_EVENT_GRAD ? x->grad : vv_f(x);
    small_event(ctx, event, x);
    if (!data) return; /* a dry run */
    uint64_t hash = 14695981039346656037u;
    vv_real *v = small_get(data, x->n);
    const unsigned char *byte = (const unsigned char *)v;
    for (size_t i = 0; i < (size_t)x->n * sizeof *v; i++) hash = (hash ^ byte[i]) * 1099511628211u;
    free(v);
    e->used += (size_t)snprintf(e->text + e->used, sizeof e->text - e->used, "%016llx\n", (unsigned long long)hash);
}

typedef struct {
    vv_memory memory;
    int64_t params_bytes;
    small_events events;
    vv_real *grad; /* of all parameters, one after the other; NULL in a dry run */
    int64_t grads;
} outcome;

/* The whole net, forward and, with VV_RECORD, backward. The output of block 1 has two readers. depth < 0: no segments. */
static vv_status try_net(outcome *o, int flags, int dry_params, int depth, vv_error *err)
{
    vv_params ps = {.dry = dry_params};
    net m;
    new_net(&m, &ps);
    vv_tape *t = vv_tape_new(&ps, flags);
    *o = (outcome){.grads = 0};
    vv_trace(t, hash_event, &o->events);
    vv_tensor *h = small_input(t, "x", 2, DIM(N, C), -1, 0.002), *tap = NULL;
    vv_tensor *c = small_input(t, "c", 2, DIM(N, C), 2, -0.003);
    for (int64_t i = 0; i < BLOCKS; i++) {
        const block_ctx ctx = {&m, i, vv_max(depth - 1, 0)};
        h = depth < 0    ? block(t, &ctx, h)
            : depth == 0 ? nested(t, &ctx, h)
                         : vv_segment(t, nested, &ctx, sizeof ctx, h);
        if (i == 1) tap = h;
    }
    if (flags & VV_RECORD) vv_backward(t, vv_add(t, "loss", vv_dot(t, NULL, h, c), vv_dot(t, NULL, tap, c)), 0.5);
    const vv_status s = vv_tape_status(t, err);
    o->memory = *vv_tape_memory(t);
    o->params_bytes = ps.peak;
    o->grad = vv_calloc((2 * C * C + C) * BLOCKS, sizeof *o->grad);
    for (int64_t i = 0; i < ps.n; o->grads += ps.at[i++]->n)
        if (ps.at[i]->grad) vvb_download(o->grad + o->grads, ps.at[i]->grad, ps.at[i]->n * (int64_t)sizeof(vv_real));
    vv_tape_free(t);
    vv_params_free(&ps);
    return s;
}

static outcome run_net(int flags, int dry_params, int depth)
{
    outcome o;
    VVT_OK(try_net(&o, flags, dry_params, depth, err));
    return o;
}

/* ---- inference ------------------------------------------------------------------------------------------------------- */
START_TEST(inference_keeps_only_outputs)
{
    outcome plain = run_net(0, 0, -1), seg = run_net(0, 0, 1);
    ck_assert_int_eq(plain.memory.activations_peak, (2 + 3 * BLOCKS) * UNIT);
    /* two inputs, the outputs of the blocks before, the last block's three, and the copy of its output */
    ck_assert_int_eq(seg.memory.activations_peak, (2 + (BLOCKS - 1) + 3 + 1) * UNIT);
    ck_assert_int_eq(seg.memory.activations, (2 + BLOCKS) * UNIT);
    ck_assert_str_eq(plain.events.text, seg.events.text);
    ck_assert_int_eq(seg.memory.gradients_peak, 0);
    free(plain.grad);
    free(seg.grad);
}
END_TEST

/* ---- checkpointing ------------------------------------------------------------------------------------------------------ */
START_TEST(checkpointing_changes_no_bit)
{
    outcome plain = run_net(VV_RECORD, 0, -1);
    ck_assert_ptr_nonnull(strstr(plain.events.text, "grad blocks.1[24,40]"));
    for (int depth = -1; depth <= 3; depth++)
        for (int check = 0; check < 2; check++) {
            outcome o = run_net(VV_RECORD | (check ? VV_CHECKPOINT : 0), 0, depth);
            ck_assert_str_eq(o.events.text, plain.events.text);
            ck_assert_int_eq(o.grads, plain.grads);
            ck_assert_mem_eq(o.grad, plain.grad, (size_t)o.grads * sizeof *o.grad);
            ck_assert_double_eq(o.memory.flops_forward, plain.memory.flops_forward);
            ck_assert_int_eq(o.memory.gradients, 0);
            free(o.grad);
        }
    free(plain.grad);
}
END_TEST

START_TEST(checkpointing_saves_memory)
{
    outcome plain = run_net(VV_RECORD, 0, 1), check = run_net(VV_RECORD | VV_CHECKPOINT, 0, 1);
    const int64_t scalars = 3 * 64;
    ck_assert_int_eq(plain.memory.activations_peak, (2 + 3 * BLOCKS) * UNIT + scalars);
    /* at the end of the forward all outputs stand; then one block at a time runs again */
    ck_assert_int_eq(check.memory.activations_peak, (2 + BLOCKS + 3) * UNIT + scalars);
    /* what runs again counts as backward: all of the forward but the two dots and their sum */
    ck_assert_double_eq(check.memory.flops_backward,
                        plain.memory.flops_backward + plain.memory.flops_forward - (2 * 2 * N * C + 1));
    /* the tap's, waiting for its other reader, and of the last block the output's, act's and fc1's */
    ck_assert_int_eq(check.memory.gradients_peak, 4 * N * C * (int64_t)sizeof(vv_real));
    ck_assert_int_eq(plain.memory.gradients_peak, 4 * N * C * (int64_t)sizeof(vv_real));
    free(plain.grad);
    free(check.grad);
}
END_TEST

static void too_deep(int flags)
{
    outcome o;
    vv_error err = {0};
    vvt_expect_error(&err, try_net(&o, flags, 0, 4, &err), VV_USAGE, "segment", "3", (char *)NULL);
    free(o.grad);
}

START_TEST(nested_too_deep)
{
    too_deep(0);
    too_deep(VV_RECORD | VV_CHECKPOINT);
    outcome o = run_net(VV_RECORD, 0, 4); /* without checkpointing a segment is a plain call */
    free(o.grad);
}
END_TEST

/* A segment that fails when it runs again: the error is kept, and the tape works after a reset. */
static int calls, fails_at;
static vv_tensor *failing(vv_tape *t, const void *ctx, vv_tensor *h)
{
    if (++calls == fails_at) return vv_tape_fail(t, VV_MEMORY, "call %d", calls);
    return block(t, ctx, h);
}

START_TEST(failure_inside_a_segment)
{
    vv_params ps = {0};
    net m;
    new_net(&m, &ps);
    vv_tape *t = vv_tape_new(&ps, VV_RECORD | VV_CHECKPOINT);
    for (fails_at = 1; fails_at <= 5; fails_at++) { /* 1, 2: forward; 3, 4: backward; 5: never */
        calls = 0;
        const block_ctx c0 = {&m, 0, 0}, c1 = {&m, 1, 0};
        vv_tensor *x = small_input(t, "x", 2, DIM(N, C), -1, 0.002);
        vv_tensor *h = vv_segment(t, failing, &c1, sizeof c1, vv_segment(t, failing, &c0, sizeof c0, x));
        vv_backward(t, vv_dot(t, "loss", h, x), 1);
        char want[16];
        snprintf(want, sizeof want, "call %d", fails_at);
        vv_error err = {0};
        if (fails_at == 5) small_ok(t);
        else vvt_expect_error(&err, vv_tape_status(t, &err), VV_MEMORY, want, (char *)NULL);
        vv_tape_reset(t);
        ck_assert_int_eq(vv_tape_memory(t)->activations, 0);
    }
    vv_tape_free(t);
    vv_params_free(&ps);
}
END_TEST

/* ---- dry runs --------------------------------------------------------------------------------------------------------------- */
static void without_hashes(small_events *e)
{
    char *to = e->text;
    for (char *line = e->text; *line;) {
        const size_t n = strcspn(line, "\n") + 1;
        if (n != 17) { /* a hash */
            memmove(to, line, n);
            to += n;
        }
        line += n;
    }
    *to = 0;
}

START_TEST(dry_run_counts_the_same)
{
    const int64_t bytes = vvb_get_info()->bytes;
    for (int flags = 0; flags < 4; flags++) {
        if (flags == VV_CHECKPOINT) continue;
        outcome dry = run_net(flags | VV_DRY, 1, 1);
        outcome real = run_net(flags, 0, 1);
        without_hashes(&real.events);
        ck_assert_str_eq(dry.events.text, real.events.text);
        ck_assert_int_eq(dry.memory.activations_peak, real.memory.activations_peak);
        ck_assert_int_eq(dry.memory.activations, real.memory.activations);
        ck_assert_int_eq(dry.memory.gradients_peak, real.memory.gradients_peak);
        ck_assert_int_eq(dry.memory.gradients, 0);
        ck_assert_double_eq(dry.memory.flops_forward, real.memory.flops_forward);
        ck_assert_double_eq(dry.memory.flops_backward, real.memory.flops_backward);
        ck_assert_int_eq(dry.params_bytes, real.params_bytes);
        free(dry.grad);
        free(real.grad);
    }
    ck_assert_int_eq(vvb_get_info()->bytes, bytes); /* everything was given back */
}
END_TEST

START_TEST(dry_run_takes_no_memory)
{
    vv_params ps = {.dry = 1};
    vv_tape *t = vv_tape_new(&ps, VV_RECORD | VV_DRY);
    const int64_t before = vvb_get_info()->bytes, big = 1 << 20; /* 4 TB a matrix */
    vv_tensor *w = small_param(&ps, "norm", 1, DIM(2), 1, 0);
    vv_error err = {0};
    w = vv_param_new(&ps, "w", 2, DIM(big, big), &err);
    vv_tensor *x = vv_input(t, "x", VV_REALS, 2, DIM(big, big), NULL);
    vv_tensor *y = vv_linear(t, "y", x, w, NULL, NULL);
    ck_assert_ptr_nonnull(y);
    ck_assert_ptr_null(y->data);
    ck_assert_int_eq(vv_is_dry(t), 1);
    vv_backward(t, vv_dot(t, "loss", y, x), 1);
    small_ok(t);
    ck_assert_int_eq(vvb_get_info()->bytes, before);
    ck_assert_int_eq(vv_tape_memory(t)->activations, 2 * big * big * (int64_t)sizeof(vv_real) + 64);
    ck_assert_int_eq(ps.bytes, (2 * big * big + 2) * (int64_t)sizeof(vv_real));
    vv_tape_free(t);
    vv_params_free(&ps);
}
END_TEST

/* A dry pass before the real one, on the same parameters (as a recording does), leaves no trace in the gradients. */
START_TEST(dry_then_real)
{
    vv_params ps = {0};
    vv_tensor *w = small_param(&ps, "w", 2, DIM(2, 2), 1, 1);
    for (int update = 0; update < 2; update++) {
        for (int dry = 1; dry >= 0; dry--) {
            vv_tape *t = vv_tape_new(&ps, VV_RECORD | (dry ? VV_DRY : 0));
            vv_tensor *x = small_input(t, "x", 2, DIM(1, 2), 3, 2), *c = small_input(t, NULL, 2, DIM(1, 2), 1, 6);
            vv_backward(t, vv_dot(t, "loss", vv_linear(t, "y", x, w, NULL, NULL), c), 1);
            small_ok(t);
            vv_tape_free(t);
        }
        small_expect(w->grad, 4, (const double[]){3, 5, 21, 35});
        vv_params_zero_grad(&ps);
    }
    vv_params_free(&ps);
}
END_TEST

/* Two updates: gradients are allocated once, and a dry run counts them once too. */
START_TEST(gradients_are_counted_once)
{
    for (int dry = 0; dry < 2; dry++) {
        vv_params ps = {.dry = dry};
        vv_tensor *w = small_param(&ps, "w", 2, DIM(2, 2), 1, 1);
        vv_tape *t = vv_tape_new(&ps, VV_RECORD | (dry ? VV_DRY : 0));
        for (int update = 0; update < 2; update++) {
            vv_tensor *x = small_input(t, "x", 2, DIM(1, 2), 3, 2);
            vv_backward(t, vv_dot(t, "loss", vv_linear(t, "y", x, w, NULL, NULL), x), 1);
            small_ok(t);
            vv_tape_reset(t);
            vv_params_zero_grad(&ps);
        }
        ck_assert_int_eq(ps.peak, 8 * (int64_t)sizeof(vv_real));
        vv_tape_free(t);
        vv_params_free(&ps);
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("segment", &tc);
    tcase_add_test(tc, inference_keeps_only_outputs);
    tcase_add_test(tc, checkpointing_changes_no_bit);
    tcase_add_test(tc, checkpointing_saves_memory);
    tcase_add_test(tc, nested_too_deep);
    tcase_add_test(tc, failure_inside_a_segment);
    tcase_add_test(tc, dry_run_counts_the_same);
    tcase_add_test(tc, dry_run_takes_no_memory);
    tcase_add_test(tc, dry_then_real);
    tcase_add_test(tc, gradients_are_counted_once);
    return s;
}
VVT_MAIN(suite)
