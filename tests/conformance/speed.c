/* A function's time beside the reference's, in two processes that take turns: each has its buffers in memory of its own backend,
 * and the judge's clock is the one that counts, around many calls at once. A time of wrong results is none: what both have after
 * equally many calls is compared, which also looks at sizes that are too large for the oracle. */
#include "conformance.h"

/* Sizes as they occur in this model or beside it, and FLOPs (by the contract's conventions) per element of the first output. */
typedef struct {
    const char *function;
    vvt_dims dim;
    int variant;
    double flops;
} shape;

enum { N = 1 << 20, TOKENS = 1600, WIDE = 1280, FEW = 197, NARROW = 384, KEYS = 300, MAPS = 4, SIDE = 224 };
#define ROWS(name, flops)                                                                                              \
    {name, {{TOKENS, WIDE}}, 0, flops}, { name, {{FEW, NARROW}}, 0, flops }
#define LINE(name, flops)                                                                                              \
    {name, {{TOKENS * WIDE}}, 0, flops}, { name, {{FEW * NARROW}}, 0, flops }
#define DEPTH (12. * MAPS * SIDE * SIDE)

static const shape SHAPES[] = {
    LINE("axpy", 2),
    LINE("scale", 1),
    LINE("dot", 2. * N),
    {"add_fwd", {{TOKENS, WIDE, 1}}, 0, 1},
    {"add_fwd", {{FEW, NARROW, FEW}}, 0, 1},
    {"add_bwd", {{TOKENS, WIDE, 1}}, 0, TOKENS},
    {"gather_rows_fwd", {{TOKENS, WIDE, 2000}}, 0, 1},
    {"gather_rows_bwd", {{TOKENS, WIDE, 2000}}, 0, 1},
    {"scatter_rows_fwd", {{TOKENS, WIDE, 400}}, 0, 1},
    {"scatter_rows_bwd", {{TOKENS, WIDE, 400}}, 0, 1},
    {"matmul", {{512, 512, 512}}, 0, 2. * 512},
    {"matmul", {{FEW, NARROW, 1536}}, 2, 2. * 1536},
    {"linear_fwd", {{400, WIDE, WIDE}}, 0, 2. * WIDE},
    {"linear_fwd", {{FEW, NARROW, 1536}}, 0, 2. * NARROW},
    {"linear_bwd", {{400, WIDE, WIDE}}, 0, 4. * WIDE},
    {"linear_bwd", {{FEW, NARROW, 1536}}, 0, 4. * 1536},
    ROWS("layernorm_fwd", 8),
    ROWS("layernorm_bwd", 14),
    ROWS("rmsnorm_fwd", 4),
    ROWS("rmsnorm_bwd", 10),
    ROWS("unit_rows_fwd", 3),
    ROWS("unit_rows_bwd", 3),
    LINE("gelu_fwd", 8),
    {"gelu_fwd", {{TOKENS * WIDE}}, VVB_GELU_QUICK, 8},
    LINE("gelu_bwd", 14),
    LINE("relu_fwd", 1),
    LINE("relu_bwd", 1),
    LINE("sigmoid_fwd", 4),
    LINE("sigmoid_bwd", 3),
    LINE("softplus_fwd", 10),
    LINE("softplus_bwd", 5),
    LINE("silu_mul_fwd", 8),
    LINE("silu_mul_bwd", 14),
    {"linear_cross_entropy_fwd", {{64, 256, 8000}}, 0, 64. * 8000 * (2 * 256 + 5)},
    {"linear_cross_entropy_bwd", {{64, 256, 8000}}, 0, 8000 * (6. + 5. / 256)},
    {"rope_table", {{TOKENS, 2, 20}}, 0, 2},
    {"rope_fwd", {{TOKENS, 16, 40}}, 0, 3},
    {"rope_fwd", {{FEW, 6, 32}}, 0, 3},
    {"rope_bwd", {{TOKENS, 16, 40}}, 0, 3},
    {"attention_fwd", {{16, 80, 1}}, 0, KEYS *(4 + 5. / 80)},
    {"attention_bwd", {{16, 80, 1}}, 0, KEYS *(10 + 8. / 80)},
    {"conv2d_fwd", {{56, 64, 64, 56}}, 1, 2. * 9 * 64},
    {"conv2d_bwd", {{56, 64, 64, 56}}, 1, 4. * 9 * 64},
    {"conv_transpose2d_fwd", {{28, 64, 64, 28}}, 0, 2. * 64},
    {"conv_transpose2d_bwd", {{28, 64, 64, 28}}, 0, 4. * 4 * 64},
    {"resize_bilinear_fwd", {{56, 112, 64, 56}}, 1, 9},
    {"resize_bilinear_bwd", {{56, 112, 64, 56}}, 1, 4 * 8},
    {"ssi_fwd", {{MAPS, SIDE *SIDE}}, 0, DEPTH},
    {"ssi_bwd", {{MAPS, SIDE *SIDE}}, 0, 20},
    {"gradient_matching_fwd", {{MAPS, SIDE, SIDE}}, 0, DEPTH / 12 * 20},
    {"gradient_matching_bwd", {{MAPS, SIDE, SIDE}}, 0, 30},
    {"bce_fwd", {{8, 65536}}, 0, 12. * 8 * 65536},
    {"bce_bwd", {{8, 65536}}, 0, 14},
    {"dice_fwd", {{8, 65536}}, 0, 12. * 8 * 65536},
    {"dice_bwd", {{8, 65536}}, 0, 16},
    {"adamw", {{N}}, 0, 14},
    {"elementary", {{N}}, VVB_EXP, 1},
    {"elementary", {{N}}, VVB_ERF, 1},
};

/* bytes read and written at least: each array once, what is added to twice */
static double bytes_of(const vvt_call *c)
{
    double n = 0;
    for (int i = 0; i < c->count; i++)
        if (c->a[i].at) n += (double)(c->a[i].rows * c->a[i].cols) * (c->a[i].role == VVT_ADDED ? 2 : 1);
    return n * (double)sizeof(vv_real);
}

static const char *timed_run(remote *r, int64_t n, double *seconds)
{
    const double t0 = vv_seconds();
    const char *why = remote_run(r, n);
    *seconds = (vv_seconds() - t0) / (double)n;
    return why;
}

typedef struct {
    remote *r;
    double best, next; /* seconds: the least, and the least but one */
} side;

static void note_time(side *s, double t)
{
    s->next = fmin(s->next, fmax(s->best, t));
    s->best = fmin(s->best, t);
}

/* The least time is that of an undisturbed run only when another run came close to it. */
static int unsteady(const side *s) { return s[0].next > 1.1 * s[0].best || s[1].next > 1.1 * s[1].best; }

enum { ROUNDS = 25, LEAST = 5 };

/* Both run equally often. */
static const char *take_turns(side *s, vvt_call **c)
{
    const double enough = 0.003, most = 2; /* seconds: of a round, in which the start of a command is lost; of all */
    double t = 0, slow = 0;
    const char *why = NULL;
    for (int i = 0; i < 2 && !why; i++) {
        why = remote_load(s[i].r, c[i], 1);
        if (!why) why = timed_run(s[i].r, 1, &t); /* pages are touched, threads are started */
        if (!why) why = timed_run(s[i].r, 1, &t);
        slow = fmax(slow, t);
        s[i].best = s[i].next = INFINITY;
    }
    const int64_t n = slow > 0 ? (int64_t)fmax(1, fmin(2000, enough / slow)) : 1;
    const double until = vv_seconds() + most;
    for (int k = 0; k < 2 * ROUNDS && !why && (k < 2 * LEAST || vv_seconds() < until); k++) {
        why = timed_run(s[k % 2].r, n, &t);
        note_time(&s[k % 2], t);
    }
    for (int i = 0; i < 2 && !why; i++) why = remote_fetch(s[i].r, c[i]);
    return why;
}

/* The name of an output that differs by more than summation order explains, or NULL. */
static const char *different(vvt_call *const *c)
{
    const double allowed = ldexp(1, sizeof(vv_real) == sizeof(float) ? -12 : -40);
    for (int i = 0; i < c[0]->count; i++) {
        double error = 0, all = 0;
        const vvt_array *a = &c[0]->a[i], *b = &c[1]->a[i];
        if (a->role == VVT_IN || !a->buffer.base) continue;
        const vv_real *want = vvt_buffer_at(&a->buffer), *got = vvt_buffer_at(&b->buffer);
        for (int64_t k = 0; k < a->rows * a->cols; k++) {
            const double w = (double)want[k], d = (double)got[k] - w;
            error += d * d;
            all += w * w;
        }
        if (!(sqrt(error) <= allowed * sqrt(all))) return a->name;
    }
    return NULL;
}

static int one_shape(const vvt_op *op, const shape *at, side *s)
{
    char name[60] = "";
    for (int i = 0; i < VVT_DIMS && (i < op->sizes || at->dim.n[i]); i++)
        snprintf(name + strlen(name), sizeof name - strlen(name), "%s%" PRId64, i ? "x" : "", at->dim.n[i]);
    const vvt_how how = {.fill = VVT_NORMAL, .variant = at->variant};
    vvt_call *c[2] = {vvt_call_new(op, at->dim, how), vvt_call_new(op, at->dim, how)};
    const char *why = take_turns(s, c);
    const char *wrong = why ? NULL : different(c);
    if (why) conf_line(FAIL, op->name, name, "%s", why);
    else if (wrong) conf_line(FAIL, op->name, name, "%s is not the reference's: no time", wrong);
    else {
        const double n = (double)(c[0]->a[0].rows * c[0]->a[0].cols), t = s[1].best;
        printf("%-10s %-16s %-14s %8.3f ms, reference %8.3f ms: %5.2f times its speed", "speed", op->name, name,
               1e3 * t, 1e3 * s[0].best, s[0].best / t);
        if (at->flops > 0) printf("; %.4g GFLOP/s", 1e-9 * at->flops * n / t);
        printf(", %.3g GB/s%s\n", 1e-9 * bytes_of(c[0]) / t,
               unsteady(s) ? " (unsteady: other work on this machine?)" : "");
    }
    vvt_call_free(c[0]);
    vvt_call_free(c[1]);
    return !why && !wrong;
}

/* Making a call asserts, which Check allows in a test only. */
static struct {
    const vvt_op *op;
    const shape *at;
    side *sides;
    int good;
} current;

START_TEST(timed) { current.good = one_shape(current.op, current.at, current.sides); }
END_TEST

static int shape_in_test(const vvt_op *op, const shape *at, side *s)
{
    TCase *tc;
    Suite *suite = vvt_suite("speed", &tc);
    tcase_add_test(tc, timed);
    SRunner *r = srunner_create(suite);
    srunner_set_fork_status(r, CK_NOFORK);
    current.op = op;
    current.at = at;
    current.sides = s;
    current.good = 0;
    srunner_run_all(r, CK_SILENT);
    if (srunner_ntests_failed(r)) {
        TestResult **t = srunner_failures(r);
        conf_line(FAIL, op->name, "", "%s", tr_msg(t[0]));
        free(t);
    }
    srunner_free(r);
    return current.good;
}

int speed_of(const vvt_op *op, const char *reference, const char *judged)
{
    int good = 1, any = 0;
    side s[2] = {{remote_new(reference), 0, 0}, {remote_new(judged), 0, 0}};
    for (size_t i = 0; i < sizeof SHAPES / sizeof *SHAPES && good; i++)
        if (!strcmp(SHAPES[i].function, op->name)) {
            good = shape_in_test(op, &SHAPES[i], s);
            any = 1;
        }
    if (!any) good = shape_in_test(op, &(shape){op->name, op->large[0], 0, 0}, s);
    remote_free(s[0].r);
    remote_free(s[1].r);
    return good;
}
