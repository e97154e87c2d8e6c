#include "oracle/cases.h"

/* ck_assert writes to a file even when all is well; there are a million checks here. */
#define MUST(ok, ...)                                                                                                  \
    do {                                                                                                               \
        if (!(ok)) ck_abort_msg(__VA_ARGS__);                                                                          \
    } while (0)

/* ---- one call --------------------------------------------------------------------------------------------------------- */
static vvt_array *declare(vvt_call *c, vvt_array a)
{
    MUST(c->count < VVT_ARRAYS, "too many arrays");
    a.ld = a.cols;
    c->a[c->count] = a;
    return &c->a[c->count++];
}

vvt_array *vvt_output(vvt_call *c, const char *name, vvt_role role, int64_t rows, int64_t cols, double k)
{
    return declare(c, (vvt_array){.name = name, .role = role, .rows = rows, .cols = cols, .class = VVT_DOT, .k = k});
}

vvt_array *vvt_input(vvt_call *c, const char *name, int64_t rows, int64_t cols)
{
    return declare(c, (vvt_array){.name = name, .role = VVT_IN, .rows = rows, .cols = cols});
}

vvt_array *vvt_strided(vvt_call *c, vvt_array *x, int64_t least)
{
    x->ld = least + (c->how.pad ? c->how.pad + (x - c->a) : 0);
    return x;
}

int32_t *vvt_table(vvt_call *c, int64_t n)
{
    c->table = vv_calloc(n, sizeof *c->table);
    MUST(c->table, "out of memory");
    c->table_n = n;
    return c->table;
}

static int64_t length(const vvt_array *x) { return x->rows && x->cols ? (x->rows - 1) * x->ld + x->cols : 0; }

static int is_written(const vvt_call *c, const vvt_array *x)
{
    return x->role == VVT_OUT || (x->role == VVT_GRAD && !c->how.acc);
}

static void fill(vvt_call *c, vvt_array *x)
{
    char stream[64];
    snprintf(stream, sizeof stream, "%s %s", c->op->name, x->name);
    const int64_t n = length(x);
    x->host = vv_calloc(n, sizeof *x->host);
    x->got = vv_calloc(n, sizeof *x->got);
    x->ref.v = vv_calloc(n, sizeof *x->ref.v);
    x->ref.g = vv_calloc(n, sizeof *x->ref.g);
    MUST(x->host && x->got && x->ref.v && x->ref.g, "out of memory");
    vvt_fill_array(x->host, n, c->how.fill, stream);
    for (int64_t i = 0; i < n && is_written(c, x); i++)
        if (i % x->ld < x->cols) x->host[i] = (vv_real)NAN;
}

/* before prepare, so that what depends on it is spoilt too, and after it, so that what it makes can be */
static void spoil(vvt_call *c)
{
    if (!c->how.spoil) return;
    vvt_array *x = &c->a[c->how.spoil - 1];
    if (length(x)) x->host[x->rows / 2 * x->ld + x->cols / 2] = c->how.value;
}

vvt_call *vvt_call_new(const vvt_op *op, vvt_dims dim, vvt_how how)
{
    vvt_call *c = vv_calloc(1, sizeof *c);
    MUST(c, "out of memory");
    c->op = op;
    c->dim = dim;
    c->how = how;
    op->shape(c);
    vvt_array *alias = how.alias ? &c->a[how.alias - 1] : NULL;
    if (alias) c->a[0].ld = alias->ld;
    for (int i = 0; i < c->count; i++) fill(c, &c->a[i]);
    spoil(c);
    if (op->prepare) op->prepare(c);
    spoil(c);
    for (int i = alias ? 1 : 0; i < c->count; i++) {
        vvt_array *x = &c->a[i];
        x->buffer = vvt_buffer_new(x->host, length(x) * (int64_t)sizeof(vv_real));
        x->at = how.drop == i + 1 || x->role == VVT_ABSENT ? NULL : vvt_buffer_at(&x->buffer);
    }
    if (alias) {
        memcpy(c->a[0].host, alias->host, (size_t)length(alias) * sizeof(vv_real));
        c->a[0].at = alias->at;
    }
    c->device_table = vvt_buffer_new(c->table, c->table_n * (int64_t)sizeof *c->table);
    return c;
}

void vvt_call_free(vvt_call *c)
{
    if (!c) return;
    for (int i = 0; i < c->count; i++) {
        vvt_array *x = &c->a[i];
        vvt_buffer_free(&x->buffer);
        free(x->host);
        free(x->got);
        free(x->ref.v);
        free(x->ref.g);
    }
    vvt_buffer_free(&c->device_table);
    free(c->table);
    free(c);
}

/* "layernorm_bwd dx (3 5 0 0, variant 1, normal, acc)" */
static const char *describe(const vvt_call *c, const vvt_array *x)
{
    static char text[200];
    const vvt_how *h = &c->how;
    snprintf(text, sizeof text, "%s %s (%lld %lld %lld %lld, variant %d, %s%s%s%s, NULL %s, alias %s, spoilt %s)",
             c->op->name, x->name, (long long)c->dim.n[0], (long long)c->dim.n[1], (long long)c->dim.n[2],
             (long long)c->dim.n[3], h->variant, vvt_fill_name(h->fill), h->pad ? ", strides" : "",
             h->acc ? ", acc" : "", h->twice ? ", twice" : "", h->drop ? c->a[h->drop - 1].name : "-",
             h->alias ? c->a[h->alias - 1].name : "-", h->spoil ? c->a[h->spoil - 1].name : "-");
    return text;
}

/* Everything outside the rows and columns of an output, and everything in an input, is as before. */
static void check_untouched(const vvt_call *c, const vvt_array *x)
{
    const int changes = x->role != VVT_IN && x->at; /* an absent or dropped one has no place to change */
    int64_t i = 0;
    while (i < length(x) && ((changes && i % x->ld < x->cols) || !memcmp(&x->got[i], &x->host[i], sizeof *x->got))) i++;
    MUST(i == length(x), "%s: element %lld should not be written to", describe(c, x), (long long)i);
}

void (*vvt_elsewhere)(vvt_call *c);

static void call_run(vvt_call *c)
{
    if (vvt_elsewhere) vvt_elsewhere(c);
    else
        for (int k = 0; k <= c->how.twice; k++) c->op->run(c);
    vvb_sync();
    const char *error = vvb_error();
    MUST(!error, "%s: backend error: %s", describe(c, &c->a[0]), error);
    for (int i = 0; i < c->count; i++) {
        vvt_array *x = &c->a[i], *owner = c->how.alias && i == 0 ? &c->a[c->how.alias - 1] : x;
        MUST(vvt_buffer_intact(&owner->buffer), "%s: a word outside the buffer was written to", describe(c, x));
        vvt_buffer_get(&owner->buffer, x->got);
        if (c->how.alias != i + 1) check_untouched(c, x);
    }
    MUST(vvt_buffer_intact(&c->device_table), "%s: a word beside the table was written to", c->op->name);
}

/* ---- judging ------------------------------------------------------------------------------------------------------------ */
static const char *suite_name = "/"; /* "backend/layernorm"; none yet */
vvt_result vvt_worst[VVT_ARRAYS];

static void start_reference(const vvt_call *c, vvt_array *x, int again)
{
    const int keep = !is_written(c, x);
    for (int64_t i = 0; i < length(x) && !(keep && again); i++) {
        x->ref.v[i] = keep ? (vvt_ref)x->host[i] : 0;
        x->ref.g[i] = fabsl(x->ref.v[i]);
    }
}

static void judge(const vvt_call *c, const vvt_array *x)
{
    char again[200];
    const int folder = (int)strcspn(suite_name, "/");
    snprintf(again, sizeof again, "CK_RUN_CASE=%s $BUILD/tests/%.*s/test_%s", tcase_name(), folder, suite_name,
             suite_name + folder + 1);
    const vvt_spec spec = {.name = describe(c, x),
                           .repeat = again,
                           .class = c->how.exact ? VVT_EXACT : x->class,
                           .k = x->k,
                           .rows = x->rows,
                           .cols = x->cols,
                           .ld = x->ld,
                           .zeros_expected = x->zeros_expected || c->how.exact || c->how.spoil,
                           .nonfinite_expected = c->how.spoil ? (c->op->any_nonfinite ? 2 : 1) : 0};
    const vvt_result r = vvt_compare(x->got, x->ref.v, x->ref.g, &spec);
    vvt_result *w = &vvt_worst[x - c->a];
    w->worst = fmax(w->worst, r.worst);
    w->rms = fmax(w->rms, r.rms);
    MUST(r.verdict == VVT_PASS, "%s: %s", spec.name, r.verdict == VVT_FAIL ? "FAIL" : "UNTRUSTED");
}

static void print_worst(const vvt_op *op)
{
    vvt_call *c = vvt_call_new(op, op->medium, (vvt_how){.variant = 0});
    printf("%s %s, error over allowed (largest, RMS):", op->name, VV_REAL_NAME);
    for (int i = 0; i < c->count && c->a[i].role != VVT_IN; i++)
        printf("  %s %.3f %.3f", c->a[i].name, vvt_worst[i].worst, vvt_worst[i].rms);
    printf("\n");
    vvt_call_free(c);
}

static void call_judge(vvt_call *c)
{
    for (int k = 0; k <= c->how.twice; k++) {
        for (int i = 0; i < c->count; i++) start_reference(c, &c->a[i], k);
        c->op->oracle(c);
    }
    for (int i = 0; i < c->count; i++)
        if (c->a[i].role != VVT_IN && c->a[i].at) judge(c, &c->a[i]);
}

void vvt_case(const vvt_op *op, vvt_dims dim, vvt_how how)
{
    vvt_call *c = vvt_call_new(op, dim, how);
    call_run(c);
    call_judge(c);
    vvt_call_free(c);
}

/* ---- the cases ------------------------------------------------------------------------------------------------------------ */
static const vvt_op *ops;

static int is_end(const vvt_dims *d) { return !d->n[0] && !d->n[1] && !d->n[2] && !d->n[3]; }

static const vvt_dims *large(const vvt_op *op, int i)
{
    const int end = (int)(sizeof op->large / sizeof op->large[0]);
    return i < end && !is_end(&op->large[i]) ? &op->large[i] : NULL;
}

/* of a call with the plainest arguments: how many arrays, and what each is */
static int roles(const vvt_op *op, int variant, vvt_role role[VVT_ARRAYS])
{
    vvt_call *c = vvt_call_new(op, op->medium, (vvt_how){.variant = variant});
    const int n = c->count;
    for (int i = 0; i < n; i++) role[i] = c->a[i].role;
    vvt_call_free(c);
    return n;
}

/* The reference of a large call takes its time: of many variants, each size meets a quarter, another one each time. */
static int has_turn(const vvt_op *op, int variant, int i) { return op->variants <= 4 || variant % 4 == i % 4; }

START_TEST(exact)
{
    const vvt_op *op = &ops[_i];
    for (int v = 0; v < op->exact; v++)
        for (int acc = 0; acc < 2; acc++) {
            const vvt_how how = {.fill = VVT_INTEGERS, .variant = v, .pad = op->strided && acc, .acc = acc, .exact = 1};
            vvt_case(op, op->medium, how);
            for (int i = 0; large(op, i) && acc == 0; i++)
                if (has_turn(op, v, i)) vvt_case(op, *large(op, i), how);
        }
}
END_TEST

START_TEST(oracle)
{
    const vvt_op *op = &ops[_i];
    memset(vvt_worst, 0, sizeof vvt_worst);
    for (int i = 0; large(op, i); i++)
        for (int v = 0; v < op->variants; v++)
            for (int k = 0; k < 2 && has_turn(op, v, i); k++)
                vvt_case(op, *large(op, i),
                         (vvt_how){.fill = k ? VVT_POSITIVE : VVT_NORMAL,
                                   .variant = v,
                                   .acc = (v + i + k) / 2 % 2,
                                   .pad = op->strided && (v + k) % 2});
    for (int v = 0; v < op->variants; v++)
        for (vvt_fill f = VVT_UNIFORM; f <= VVT_POSITIVE; f++)
            for (int acc = 0; acc < 2; acc++)
                vvt_case(op, op->medium, (vvt_how){.fill = f, .variant = v, .acc = acc, .pad = op->strided});
    print_worst(op);
}
END_TEST

/* all variants; strides and acc take turns */
static void all_variants(const vvt_op *op, vvt_dims d, int turn)
{
    for (int v = 0; v < op->variants; v++, turn++) {
        const vvt_how how = {
            .fill = VVT_UNIFORM, .variant = v, .pad = op->strided && turn % 2, .acc = (turn + 1) / 2 % 2};
        vvt_case(op, d, how);
    }
}

START_TEST(sizes)
{
    static const int64_t size[] = {0, 1, 2, 3, 5, 17, 50};
    enum { SIZES = sizeof size / sizeof size[0] };
    const vvt_op *op = &ops[_i];
    int combinations = 1;
    for (int d = 0; d < op->sizes; d++) combinations *= SIZES;
    for (int i = 0; i < combinations; i++) {
        vvt_dims dim = {{0}};
        int legal = 1, rest = i;
        for (int d = 0; d < op->sizes; d++, rest /= SIZES) {
            dim.n[d] = size[rest % SIZES];
            legal = legal && dim.n[d] >= op->least.n[d];
        }
        if (legal) all_variants(op, dim, i);
    }
    for (int d = 0; d < op->sizes; d++)
        for (int64_t n = 130; n <= 257; n += 127) {
            vvt_dims dim = op->medium;
            dim.n[d] = n;
            for (int turn = 0; turn < 2; turn++) all_variants(op, dim, turn);
        }
}
END_TEST

START_TEST(accumulate)
{
    const vvt_op *op = &ops[_i];
    for (int v = 0; v < op->variants; v++)
        for (int acc = 0; acc < 2; acc++)
            vvt_case(op, op->medium, (vvt_how){.fill = VVT_NORMAL, .variant = v, .acc = acc, .twice = 1});
}
END_TEST

START_TEST(null_grads)
{
    const vvt_op *op = &ops[_i];
    vvt_role role[VVT_ARRAYS];
    for (int v = 0; v < op->variants; v++)
        for (int i = 0; i < roles(op, v, role); i++)
            if (role[i] == VVT_GRAD || (role[i] == VVT_ADDED && !op->must))
                vvt_case(op, op->medium, (vvt_how){.fill = VVT_NORMAL, .variant = v, .drop = i + 1});
}
END_TEST

START_TEST(alias)
{
    const vvt_op *op = &ops[_i];
    vvt_role role[VVT_ARRAYS];
    for (int v = 0; v < op->variants && op->alias; v++)
        for (int acc = 0; acc <= op->alias_with_acc; acc++) {
            roles(op, v, role);
            if (role[op->alias - 1] == VVT_ABSENT) continue;
            const vvt_how how = {.fill = VVT_NORMAL, .variant = v, .pad = op->strided, .acc = acc, .alias = op->alias};
            vvt_case(op, op->medium, how);
            if (large(op, 0)) vvt_case(op, *large(op, 0), how);
        }
}
END_TEST

START_TEST(nonfinite)
{
    static const double value[] = {NAN, INFINITY, -INFINITY};
    const vvt_op *op = &ops[_i];
    vvt_role role[VVT_ARRAYS];
    int big = 0; /* once, in the first input */
    for (int v = 0; v < op->variants; v++)
        for (int i = 0; i < roles(op, v, role); i++)
            for (int k = 0; k < 3 && i + 1 != op->finite && (role[i] == VVT_IN || role[i] == VVT_ADDED); k++) {
                const vvt_how how = {.fill = VVT_NORMAL, .variant = v, .spoil = i + 1, .value = (vv_real)value[k]};
                vvt_case(op, op->medium, how);
                if (role[i] == VVT_IN && !big++) vvt_case(op, *large(op, 0), how);
            }
}
END_TEST

/* The same call with each number of threads has the bits of the first. */
static void same_bits(const vvt_op *op, vvt_dims dim, int variant, const int *threads, int n)
{
    const vvt_how how = {.fill = VVT_NORMAL, .variant = variant, .acc = variant % 2};
    vvt_call *first = NULL;
    for (int k = 0; k < n; k++) {
        vvb_init(threads[k]);
        vvt_call *c = vvt_call_new(op, dim, how);
        call_run(c);
        for (int i = 0; first && i < c->count; i++)
            MUST(!memcmp(c->a[i].got, first->a[i].got, (size_t)length(&c->a[i]) * sizeof(vv_real)),
                 "%s: with %d threads other bits than with %d", describe(c, &c->a[i]), threads[k], threads[0]);
        if (first) vvt_call_free(c);
        else first = c;
    }
    vvt_call_free(first);
    vvb_init(0);
}

static void same_bits_of_all(const vvt_op *op, const int *threads, int n)
{
    if (!vvb_get_info()->deterministic) {
        printf("skipped: %s: this backend does not promise the same bits\n", op->name);
        return;
    }
    for (int v = 0; v < op->variants; v++) same_bits(op, op->medium, v, threads, n);
    for (int i = 0; large(op, i); i++) same_bits(op, *large(op, i), i % op->variants, threads, n);
}

START_TEST(repeat)
{
    static const int counts[] = {0, 0};
    same_bits_of_all(&ops[_i], counts, 2);
}
END_TEST

START_TEST(threads)
{
    static const int counts[] = {1, 2, 3, 4};
    same_bits_of_all(&ops[_i], counts, 4);
}
END_TEST

/* Every call has looked at the guards; here they are broken on purpose, one word on each side of each buffer. */
START_TEST(guard)
{
    const vv_real word = 1;
    vvt_call *c = vvt_call_new(&ops[_i], ops[_i].medium, (vvt_how){.fill = VVT_NORMAL});
    for (int i = 0; i < c->count; i++)
        for (int side = 0; side < 2; side++) {
            vvt_buffer b = vvt_buffer_new(c->a[i].host, length(&c->a[i]) * (int64_t)sizeof word);
            ck_assert(vvt_buffer_intact(&b));
            vvb_upload((char *)vvt_buffer_at(&b) + (side ? b.bytes : -(int64_t)sizeof word), &word, sizeof word);
            ck_assert(!vvt_buffer_intact(&b));
            vvt_buffer_free(&b);
        }
    call_run(c);
    vvt_call_free(c);
}
END_TEST

/* ---- the suite --------------------------------------------------------------------------------------------------------------- */
TCase *vvt_more(Suite *s, const char *name)
{
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 300);
    suite_add_tcase(s, tc);
    return tc;
}

#define ADD(test) tcase_add_loop_test(vvt_more(s, #test), test, 0, n)

Suite *vvt_op_suite(const char *name, const vvt_op *op, int n)
{
    Suite *s = suite_create(name);
    suite_name = name;
    ops = op;
    ADD(guard);
    ADD(exact);
    ADD(oracle);
    ADD(sizes);
    ADD(accumulate);
    ADD(null_grads);
    ADD(alias);
    ADD(nonfinite);
    ADD(repeat);
    ADD(threads);
    return s;
}
