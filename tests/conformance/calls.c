/* The calls that one function goes through: planned shape by shape, then made in that order or in the opposite one. */
#include "conformance.h"

#include <signal.h>
#include <unistd.h>

conf_tally conf_sum;

/* ---- the plan ------------------------------------------------------------------------------------------------------- */
typedef struct {
    vvt_dims dim;
    vvt_how how;
    char extra[40]; /* " NULL dw": what no flag says */
} planned;

typedef struct {
    char shape[60]; /* "130x257" */
    int64_t first, n;
} line;

static const vvt_op *op;
static planned *plan;
static int64_t n_plan, room;
static line *lines;
static int n_lines;

static void shape_text(char *text, size_t size, const vvt_dims *d)
{
    int last = op->sizes > 0 ? op->sizes : 1;
    for (int i = last; i < VVT_DIMS; i++)
        if (d->n[i]) last = i + 1;
    text[0] = 0;
    for (int i = 0; i < last; i++) {
        const size_t n = strlen(text);
        snprintf(text + n, size - n, "%s%" PRId64, i ? "x" : "", d->n[i]);
    }
}

static const char *label_of(const planned *p) /* "layernorm_bwd 11x19 normal variant 1 acc": unique */
{
    static char label[200];
    char shape[60];
    const vvt_how *h = &p->how;
    shape_text(shape, sizeof shape, &p->dim);
    snprintf(label, sizeof label, "%s %s %s variant %d%s%s%s%s", op->name, shape,
             h->exact ? "exact" : vvt_fill_name(h->fill), h->variant, h->acc ? " acc" : "", h->pad ? " strides" : "",
             h->twice ? " twice" : "", p->extra);
    return label;
}

/* An argument with a space is a whole call, as a repeat line gives it; others are parts of calls, and all must occur. */
int conf_wanted(const char *label)
{
    for (int i = 0; i < conf.n_words; i++)
        if (strchr(conf.words[i], ' ') ? strcmp(conf.words[i], label) != 0 : !strstr(label, conf.words[i])) return 0;
    return 1;
}

static void *grown(void *p, int64_t n, size_t size)
{
    p = realloc(p, (size_t)n * size);
    if (p) return p;
    fprintf(stderr, "out of memory\n");
    exit(4);
}

static void new_line(const char *shape, const vvt_dims *d)
{
    lines = grown(lines, n_lines + 1, sizeof *lines);
    line *l = &lines[n_lines++];
    *l = (line){.first = n_plan};
    if (shape) snprintf(l->shape, sizeof l->shape, "%s", shape);
    else shape_text(l->shape, sizeof l->shape, d);
}

static void add(vvt_dims d, vvt_how h, const char *extra)
{
    planned p = {.dim = d, .how = h};
    snprintf(p.extra, sizeof p.extra, "%s", extra);
    if (!conf_wanted(label_of(&p))) return;
    if (n_plan == room) plan = grown(plan, room = 2 * room + 64, sizeof *plan);
    plan[n_plan++] = p;
    lines[n_lines - 1].n++;
}

/* Random and exact operands; gradients written and added to; with and without row strides. */
static void plain_calls(vvt_dims d, int thorough)
{
    for (int v = 0; v < op->variants; v++) {
        for (int acc = 0; acc < 2; acc++) {
            const int pad = op->strided && acc;
            if (v < op->exact && (thorough || !acc))
                add(d, (vvt_how){.fill = VVT_INTEGERS, .variant = v, .acc = acc, .pad = pad, .exact = 1}, "");
            for (vvt_fill f = VVT_UNIFORM; f <= VVT_POSITIVE; f++) /* of large shapes each variant has two */
                if (thorough || (acc ? f == VVT_POSITIVE : f == VVT_NORMAL))
                    add(d, (vvt_how){.fill = f, .variant = v, .acc = acc, .pad = pad}, "");
        }
    }
}

int conf_arrays(const vvt_op *of, int variant, vvt_array *a)
{
    vvt_call c = {.op = of, .dim = of->medium, .how = {.variant = variant}};
    of->shape(&c);
    memcpy(a, c.a, sizeof c.a);
    free(c.table);
    return c.count;
}

static void spoilt_calls(int v, int i, const vvt_array *x)
{
    static const struct {
        double value;
        const char *name;
    } bad[] = {{NAN, "NaN"}, {INFINITY, "Inf"}, {-INFINITY, "-Inf"}};
    char extra[60];
    for (int k = 0; k < 3 && i + 1 != op->finite && (x->role == VVT_IN || x->role == VVT_ADDED); k++) {
        const vvt_how how = {.fill = VVT_NORMAL, .variant = v, .spoil = i + 1, .value = (vv_real)bad[k].value};
        snprintf(extra, sizeof extra, " %s in %s", bad[k].name, x->name);
        add(op->medium, how, extra);
    }
}

/* Called twice, without a gradient, in place, with NaN and infinities. */
static void special_calls(void)
{
    vvt_array a[VVT_ARRAYS];
    char extra[60];
    for (int v = 0; v < op->variants; v++) {
        const int n = conf_arrays(op, v, a);
        for (int acc = 0; acc < 2; acc++)
            add(op->medium, (vvt_how){.fill = VVT_NORMAL, .variant = v, .acc = acc, .twice = 1}, "");
        for (int i = 0; i < n; i++) {
            snprintf(extra, sizeof extra, " NULL %s", a[i].name);
            if (a[i].role == VVT_GRAD || (a[i].role == VVT_ADDED && !op->must))
                add(op->medium, (vvt_how){.fill = VVT_NORMAL, .variant = v, .drop = i + 1}, extra);
            spoilt_calls(v, i, &a[i]);
        }
        for (int acc = 0; op->alias && a[op->alias - 1].role != VVT_ABSENT && acc <= op->alias_with_acc; acc++)
            add(op->medium,
                (vvt_how){.fill = VVT_NORMAL, .variant = v, .pad = op->strided, .acc = acc, .alias = op->alias},
                " in place");
    }
}

static void plan_shape(vvt_dims d, int thorough)
{
    new_line(NULL, &d);
    plain_calls(d, thorough);
    if (thorough) special_calls();
}

/* 0, 1, 2, 3, 5, 17, 50 in every combination: one line for all, because they are hundreds. */
static void plan_small_shapes(void)
{
    static const int64_t size[] = {0, 1, 2, 3, 5, 17, 50};
    enum { SIZES = sizeof size / sizeof size[0] };
    int combinations = 1;
    new_line("0..50", NULL);
    for (int d = 0; d < op->sizes; d++) combinations *= SIZES;
    for (int i = 0; i < combinations; i++) {
        vvt_dims dim = {{0}};
        int legal = 1, rest = i;
        for (int d = 0; d < op->sizes; d++, rest /= SIZES) {
            dim.n[d] = size[rest % SIZES];
            legal = legal && dim.n[d] >= op->least.n[d];
        }
        for (int v = 0; v < op->variants && legal; v++)
            add(dim, (vvt_how){.fill = VVT_NORMAL, .variant = v, .pad = op->strided && i % 2, .acc = (v + i) % 2}, "");
    }
}

static void plan_all(void)
{
    static const vvt_dims end;
    n_plan = n_lines = 0;
    plan_shape(op->medium, 1);
    plan_small_shapes();
    for (int d = 0; d < op->sizes; d++)
        for (int64_t n = 130; n <= 257; n += 127) {
            vvt_dims of = op->medium;
            of.n[d] = n;
            plan_shape(of, 0);
        }
    for (size_t i = 0; i < sizeof op->large / sizeof *op->large && memcmp(&op->large[i], &end, sizeof end); i++)
        plan_shape(op->large[i], 0);
}

/* ---- a call under Check -------------------------------------------------------------------------------------------- */
static planned current;
static const char *running = ""; /* its label, for a signal */
static char elements[1200];      /* the lines about elements of what the harness printed */

START_TEST(one_call) { vvt_case(op, current.dim, current.how); }
END_TEST

/* What the harness prints goes to a file meanwhile; of it the lines about elements are kept, up to the size of their room. */
static int screen;
static FILE *captured;

static void capture(void)
{
    fflush(stdout);
    if (!captured) captured = tmpfile();
    screen = dup(STDOUT_FILENO);
    if (captured && ftruncate(fileno(captured), 0) == 0) {
        rewind(captured);
        dup2(fileno(captured), STDOUT_FILENO);
    }
}

static void release(void)
{
    char text[300];
    fflush(stdout);
    dup2(screen, STDOUT_FILENO);
    close(screen);
    elements[0] = 0;
    if (!captured) return;
    rewind(captured);
    for (size_t n = 0; n + sizeof text < sizeof elements && fgets(text, sizeof text, captured); n = strlen(elements))
        if (!strncmp(text, "  [", 3)) snprintf(elements + n, sizeof elements - n, "           %s", text + 2);
}

const char *conf_backend_said(const char *words)
{
    const char *mark = strstr(words, "backend error: ");
    return mark ? mark + strlen("backend error: ") : words;
}

static int ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* Check stops a test at its first failure and keeps its words; one runner per call keeps the failure to that call. */
verdict conf_check(SRunner *r, const char *test_case, const char *label, char *words, size_t size)
{
    running = label;
    srunner_set_fork_status(r, CK_NOFORK);
    capture();
    if (test_case) srunner_run(r, NULL, test_case, CK_SILENT);
    else srunner_run_all(r, CK_SILENT);
    release();
    TestResult **t = srunner_failures(r);
    snprintf(words, size, "%s", srunner_ntests_failed(r) ? tr_msg(t[0]) : "");
    const verdict v = !srunner_ntests_failed(r)                                          ? PASS
                      : strstr(words, "backend error") && strstr(words, ": unsupported") ? SKIP
                      : ends_with(words, ": UNTRUSTED")                                  ? UNTRUSTED
                                                                                         : FAIL;
    free(t);
    srunner_free(r);
    return v;
}

static verdict check_call(const planned *p, char *words, size_t size)
{
    static char label[200];
    TCase *tc;
    Suite *s = vvt_suite("conformance", &tc);
    tcase_add_test(tc, one_call);
    current = *p;
    snprintf(label, sizeof label, "%s", label_of(p));
    memset(vvt_worst, 0, sizeof vvt_worst);
    return conf_check(srunner_create(s), NULL, label, words, size);
}

/* A backend that breaks the process has failed; the line says where. Only async-signal-safe calls. */
static void on_signal(int number)
{
    const char *part[] = {"\nFAIL       the process broke; repeat with  ", conf.program, " '", running, "'\n"};
    (void)number;
    if (screen) dup2(screen, STDOUT_FILENO);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        if (write(STDOUT_FILENO, part[i], strlen(part[i])) < 0) break;
    _exit(1);
}

void conf_watch_signals(void)
{
    static const int number[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    for (size_t i = 0; i < sizeof number / sizeof *number; i++) signal(number[i], on_signal);
}

/* ---- making them ------------------------------------------------------------------------------------------------------ */
typedef struct {
    int made, failed, skipped, untrusted;
    char first[200], words[400], elements[sizeof elements], history[400]; /* of the first that did not pass */
} outcome;

static void remember_worst(const planned *p)
{
    for (int i = 0; i < VVT_ARRAYS; i++) {
        vvt_result *w = &conf_sum.worst[i];
        if (vvt_worst[i].worst > w->worst || !conf_sum.at[i][0]) {
            w->worst = vvt_worst[i].worst;
            snprintf(conf_sum.at[i], sizeof conf_sum.at[i], "%s", label_of(p) + strlen(op->name) + 1);
        }
        w->rms = fmax(w->rms, vvt_worst[i].rms);
    }
}

/* In a process of its own, does the call pass? Then it failed because of the calls before it, and alone it would not repeat. */
static int passes_alone(const planned *p)
{
    char words[400], kept[sizeof elements];
    remote *here = remote_in_use(), *fresh = remote_new(conf.runner);
    memcpy(kept, elements, sizeof kept);
    remote_use(fresh);
    const verdict v = check_call(p, words, sizeof words);
    const int passes = v == PASS && !remote_end(fresh);
    remote_use(here);
    remote_free(fresh);
    memcpy(elements, kept, sizeof kept);
    return passes;
}

static void make_call(outcome *o, const planned *p)
{
    char words[400];
    const verdict v = check_call(p, words, sizeof words);
    o->made++;
    o->failed += v == FAIL;
    o->skipped += v == SKIP;
    o->untrusted += v == UNTRUSTED;
    if (v == PASS || v == FAIL) remember_worst(p);
    if (conf.calls) printf("  %s  %s\n", v == PASS ? "ok  " : v == SKIP ? "skip" : "NOT ", label_of(p));
    if (v == PASS || (o->first[0] && v != FAIL) || (o->first[0] && o->failed > 1)) return;
    snprintf(o->first, sizeof o->first, "%s", label_of(p));
    snprintf(o->words, sizeof o->words, "%s", words);
    snprintf(o->elements, sizeof o->elements, "%s", elements);
    if (v == FAIL && conf.runner && n_plan > 1 && passes_alone(p)) {
        snprintf(o->first, sizeof o->first, "%s", op->name);
        snprintf(o->history, sizeof o->history,
                 "           '%s' is right alone and wrong after other calls: something is kept\n", label_of(p));
    }
}

static void report(const line *l, const outcome *o)
{
    const char *again = conf_again();
    if (o->failed) {
        conf_line(FAIL, op->name, l->shape, "%d of %d calls; repeat with  %s '%s'", o->failed, o->made, again,
                  o->first);
        printf("           %s\n%s%s", o->words, o->history, o->elements);
    } else if (o->untrusted)
        conf_line(UNTRUSTED, op->name, l->shape, "%d of %d calls; repeat with  %s '%s'", o->untrusted, o->made, again,
                  o->first);
    else if (o->skipped)
        conf_line(SKIP, op->name, l->shape, "%d of %d calls: %s", o->skipped, o->made, conf_backend_said(o->words));
    else conf_line(PASS, op->name, l->shape, "%d calls", o->made);
}

static void do_line(const line *l)
{
    enum { ENOUGH = 3 }; /* broken processes, each of which may have taken its time limit */
    outcome o = {.made = 0};
    if (!l->n) return;
    for (int64_t i = 0; i < l->n; i++) {
        const planned *p = &plan[l->first + (conf.backwards ? l->n - 1 - i : i)];
        if (conf.runner && remote_broken(remote_in_use()) >= ENOUGH) break;
        if (!conf.list) make_call(&o, p);
        else if (conf.calls) printf("%s\n", label_of(p));
    }
    if (conf.list && !conf.calls) printf("%s %s\n", op->name, l->shape);
    if (!o.made) return;
    conf_sum.lines += !conf.backwards;
    conf_sum.made += o.made;
    conf_sum.failed += o.failed;
    conf_sum.skipped += o.skipped;
    conf_sum.untrusted += o.untrusted;
    report(l, &o);
    if (conf.runner && remote_broken(remote_in_use()) >= ENOUGH)
        printf("           the process broke %d times: no further shapes are tried\n", ENOUGH);
}

void conf_all_shapes(const vvt_op *of)
{
    op = of;
    plan_all();
    for (int i = 0; i < n_lines; i++) do_line(&lines[conf.backwards ? n_lines - 1 - i : i]);
}
