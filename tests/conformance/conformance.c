/* Judges a backend: every function of the contract that it brings, over many shapes, by the oracles and the cases of
 * tests/backend. A line per function and shape:
 *
 *   PASS       layernorm_fwd    130x257        4 calls
 *   FAIL       gelu_fwd         130            2 of 8 calls; repeat with  build/.../conformance 'gelu_fwd 130 normal variant 0'
 *   SKIP       gelu_bwd                        not in the archive: the CPU's stands in
 *   UNTRUSTED  ...                             the reference would prove nothing (nearly all zeros, or constant): a fault
 *                                              of the case, not of the backend
 *
 * tests/conformance.mk builds it: the files tests/backend/test_*.c are compiled a second time, with their main renamed and
 * with vvt_op_suite and vvt_run leading here, so that the tables of cases exist once. */
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <unistd.h>

#include "oracle/cases.h"

/* "gelu_fwd layernorm_fwd" when an archive is judged, NULL for the CPU backend itself (made by the Makefile) */
extern const char *const vvt_own;
extern const vvt_op vvt_elementary; /* tests/conformance/elementary.c */

/* Calls the renamed main of every tests/backend/test_NAME.c (made by the Makefile). */
void vvt_all_files(void);
Suite *vvt_conformance_suite(const char *name, const vvt_op *ops, int n);
int vvt_conformance_run(Suite *s);

static const char *program;
static int list_only, every_call;
static char **wanted; /* the arguments: which calls to make */
static int n_wanted;
static int64_t count[4]; /* lines by verdict */

/* ---- verdicts ------------------------------------------------------------------------------------------------------- */
typedef enum { PASS, FAIL, SKIP, UNTRUSTED } verdict;

static void print_line(verdict v, const char *function, const char *shape, const char *fmt, ...) VV_PRINTF(4, 5);
static void print_line(verdict v, const char *function, const char *shape, const char *fmt, ...)
{
    static const char *const word[] = {"PASS", "FAIL", "SKIP", "UNTRUSTED"};
    va_list ap;
    count[v]++;
    printf("%-10s %-16s %-14s ", word[v], function, shape);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
}

/* Whether the word stands in the list of words. */
static int has_word(const char *list, const char *word)
{
    const size_t n = strlen(word);
    for (const char *p = strstr(list, word); p; p = strstr(p + 1, word))
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n])) return 1;
    return 0;
}

static int is_own(const char *function) { return !vvt_own || has_word(vvt_own, function); }

/* An argument with a space is a whole call, as a repeat line gives it; others are parts of calls, and all must occur. */
static int is_wanted(const char *label)
{
    for (int i = 0; i < n_wanted; i++)
        if (strchr(wanted[i], ' ') ? strcmp(wanted[i], label) != 0 : !strstr(label, wanted[i])) return 0;
    return 1;
}

/* ---- a call under Check -------------------------------------------------------------------------------------------- */
static const vvt_op *op;
static vvt_dims dim;
static vvt_how how;
static char label[200]; /* "layernorm_bwd 11x19 normal variant 1 acc": unique */
static char reason[1200];

START_TEST(one_call) { vvt_case(op, dim, how); }
END_TEST

/* What the harness prints goes to a file meanwhile; of it the lines about elements are kept, up to the size of reason. */
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
    char line[300];
    fflush(stdout);
    dup2(screen, STDOUT_FILENO);
    close(screen);
    reason[0] = 0;
    if (!captured) return;
    rewind(captured);
    for (size_t n = 0; fgets(line, sizeof line, captured) && n + sizeof line < sizeof reason; n = strlen(reason))
        if (!strncmp(line, "  [", 3)) snprintf(reason + n, sizeof reason - n, "           %s", line + 2);
}

/* "scale: unsupported" of the harness's sentence. */
static const char *what_backend_said(const char *words)
{
    const char *mark = strstr(words, "backend error: ");
    return mark ? mark + strlen("backend error: ") : words;
}

/* Check stops a test at its first failure and keeps its words; one runner per call keeps the failure to that call. */
static verdict judge(SRunner *r, const char *test_case, char *words, size_t size)
{
    srunner_set_fork_status(r, CK_NOFORK);
    capture();
    if (test_case) srunner_run(r, NULL, test_case, CK_SILENT);
    else srunner_run_all(r, CK_SILENT);
    release();
    TestResult **t = srunner_failures(r);
    snprintf(words, size, "%s", srunner_ntests_failed(r) ? tr_msg(t[0]) : "");
    const verdict v = !srunner_ntests_failed(r)                                              ? PASS
                      : strstr(words, "backend error") && strstr(words, ": unsupported")     ? SKIP
                      : strlen(words) > 9 && !strcmp(words + strlen(words) - 9, "UNTRUSTED") ? UNTRUSTED
                                                                                             : FAIL;
    free(t);
    srunner_free(r);
    return v;
}

static verdict judge_call(char *words, size_t size)
{
    TCase *tc;
    Suite *s = vvt_suite("conformance", &tc);
    tcase_add_test(tc, one_call);
    return judge(srunner_create(s), NULL, words, size);
}

/* A backend that breaks the process has failed; the line says where. Only async-signal-safe calls. */
static void on_signal(int number)
{
    const char *part[] = {"\nFAIL       the process broke; repeat with  ", program, " '", label, "'\n"};
    (void)number;
    if (screen) dup2(screen, STDOUT_FILENO);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        if (write(STDOUT_FILENO, part[i], strlen(part[i])) < 0) break;
    _exit(1);
}

/* ---- the calls of one shape ---------------------------------------------------------------------------------------- */
typedef struct {
    char shape[60]; /* "130x257" */
    int made, failed, skipped, untrusted;
    char first[sizeof label], words[400], elements[sizeof reason]; /* of the first that did not pass */
} line;

static void shape_text(char *text, size_t size)
{
    int last = op->sizes > 0 ? op->sizes : 1;
    for (int i = last; i < VVT_DIMS; i++)
        if (dim.n[i]) last = i + 1;
    text[0] = 0;
    for (int i = 0; i < last; i++) {
        const size_t n = strlen(text);
        snprintf(text + n, size - n, "%s%" PRId64, i ? "x" : "", dim.n[i]);
    }
}

static void name_call(const char *extra)
{
    char shape[60];
    shape_text(shape, sizeof shape);
    snprintf(label, sizeof label, "%s %s %s variant %d%s%s%s%s", op->name, shape,
             how.exact ? "exact" : vvt_fill_name(how.fill), how.variant, how.acc ? " acc" : "",
             how.pad ? " strides" : "", how.twice ? " twice" : "", extra);
}

static void make_call(line *l, vvt_how h, const char *extra)
{
    char words[400];
    how = h;
    name_call(extra);
    if (!is_wanted(label)) return;
    l->made++;
    if (list_only) {
        if (every_call) printf("%s\n", label);
        return;
    }
    const verdict v = judge_call(words, sizeof words);
    l->failed += v == FAIL;
    l->skipped += v == SKIP;
    l->untrusted += v == UNTRUSTED;
    if (every_call) printf("  %s  %s\n", v == PASS ? "ok  " : v == SKIP ? "skip" : "NOT ", label);
    if (v == PASS || (l->first[0] && v != FAIL) || (l->first[0] && l->failed > 1)) return;
    snprintf(l->first, sizeof l->first, "%s", label);
    snprintf(l->words, sizeof l->words, "%s", words);
    snprintf(l->elements, sizeof l->elements, "%s", reason);
}

static void end_line(const line *l)
{
    if (!l->made) return;
    if (list_only) {
        if (!every_call) printf("%s %s\n", op->name, l->shape);
    } else if (l->failed) {
        print_line(FAIL, op->name, l->shape, "%d of %d calls; repeat with  %s '%s'", l->failed, l->made, program,
                   l->first);
        printf("           %s\n%s", l->words, l->elements);
    } else if (l->untrusted)
        print_line(UNTRUSTED, op->name, l->shape, "%d of %d calls; repeat with  %s '%s'", l->untrusted, l->made,
                   program, l->first);
    else if (l->skipped)
        print_line(SKIP, op->name, l->shape, "%d of %d calls: %s", l->skipped, l->made, what_backend_said(l->words));
    else print_line(PASS, op->name, l->shape, "%d calls", l->made);
}

/* Random and exact operands; gradients written and added to; with and without row strides. */
static void plain_calls(line *l, int thorough)
{
    for (int v = 0; v < op->variants; v++) {
        for (int acc = 0; acc < 2; acc++) {
            const int pad = op->strided && acc;
            if (v < op->exact && (thorough || !acc))
                make_call(l, (vvt_how){.fill = VVT_INTEGERS, .variant = v, .acc = acc, .pad = pad, .exact = 1}, "");
            for (vvt_fill f = VVT_UNIFORM; f <= VVT_POSITIVE; f++) /* of large shapes each variant has two */
                if (thorough || (acc ? f == VVT_POSITIVE : f == VVT_NORMAL))
                    make_call(l, (vvt_how){.fill = f, .variant = v, .acc = acc, .pad = pad}, "");
        }
    }
}

/* Which arrays this variant has, and as what. */
static int arrays_of(int variant, vvt_array *a)
{
    vvt_call c = {.op = op, .dim = dim, .how = {.variant = variant}};
    op->shape(&c);
    memcpy(a, c.a, sizeof c.a);
    free(c.table);
    return c.count;
}

/* Called twice, without a gradient, in place, with NaN and infinities. */
static void special_calls(line *l)
{
    static const struct {
        double value;
        const char *name;
    } bad[] = {{NAN, "NaN"}, {INFINITY, "Inf"}, {-INFINITY, "-Inf"}};
    vvt_array a[VVT_ARRAYS];
    char extra[60];
    for (int v = 0; v < op->variants; v++) {
        const int n = arrays_of(v, a);
        for (int acc = 0; acc < 2; acc++)
            make_call(l, (vvt_how){.fill = VVT_NORMAL, .variant = v, .acc = acc, .twice = 1}, "");
        for (int i = 0; i < n; i++) {
            snprintf(extra, sizeof extra, " NULL %s", a[i].name);
            if (a[i].role == VVT_GRAD || (a[i].role == VVT_ADDED && !op->must))
                make_call(l, (vvt_how){.fill = VVT_NORMAL, .variant = v, .drop = i + 1}, extra);
            for (int k = 0; k < 3 && i + 1 != op->finite && (a[i].role == VVT_IN || a[i].role == VVT_ADDED); k++) {
                snprintf(extra, sizeof extra, " %s in %s", bad[k].name, a[i].name);
                make_call(l,
                          (vvt_how){.fill = VVT_NORMAL, .variant = v, .spoil = i + 1, .value = (vv_real)bad[k].value},
                          extra);
            }
        }
        for (int acc = 0; op->alias && a[op->alias - 1].role != VVT_ABSENT && acc <= op->alias_with_acc; acc++)
            make_call(l,
                      (vvt_how){.fill = VVT_NORMAL, .variant = v, .pad = op->strided, .acc = acc, .alias = op->alias},
                      " in place");
    }
}

static void one_shape(vvt_dims d, int thorough)
{
    line l = {.made = 0};
    dim = d;
    shape_text(l.shape, sizeof l.shape);
    plain_calls(&l, thorough);
    if (thorough) special_calls(&l);
    end_line(&l);
}

/* 0, 1, 2, 3, 5, 17, 50 in every combination: one line for all, because they are hundreds. */
static void small_shapes(void)
{
    static const int64_t size[] = {0, 1, 2, 3, 5, 17, 50};
    enum { SIZES = sizeof size / sizeof size[0] };
    line l = {.shape = "0..50"};
    int combinations = 1;
    for (int d = 0; d < op->sizes; d++) combinations *= SIZES;
    for (int i = 0; i < combinations; i++) {
        int legal = 1, rest = i;
        dim = (vvt_dims){{0}};
        for (int d = 0; d < op->sizes; d++, rest /= SIZES) {
            dim.n[d] = size[rest % SIZES];
            legal = legal && dim.n[d] >= op->least.n[d];
        }
        for (int v = 0; v < op->variants && legal; v++)
            make_call(&l, (vvt_how){.fill = VVT_NORMAL, .variant = v, .pad = op->strided && i % 2, .acc = (v + i) % 2},
                      "");
    }
    end_line(&l);
}

static void all_shapes(void)
{
    static const vvt_dims end;
    one_shape(op->medium, 1);
    small_shapes();
    for (int d = 0; d < op->sizes; d++)
        for (int64_t n = 130; n <= 257; n += 127) {
            vvt_dims of = op->medium;
            of.n[d] = n;
            one_shape(of, 0);
        }
    for (size_t i = 0; i < sizeof op->large / sizeof *op->large && memcmp(&op->large[i], &end, sizeof end); i++)
        one_shape(op->large[i], 0);
}

/* ---- the files of tests/backend ---------------------------------------------------------------------------------------- */
static struct {
    const char *name; /* "backend/test_layernorm" */
    const vvt_op *ops;
    int n;
} file;
static char judged[4000]; /* the functions that had cases */

/* Cases of the test file as a whole: "threads", the same bits with any number of them. */
static void whole_case(const char *name)
{
    char words[400];
    how = (vvt_how){.fill = VVT_NORMAL};
    for (int i = 0; i < file.n; i++) {
        op = &file.ops[i];
        snprintf(label, sizeof label, "%s %s", op->name, name);
        if (!is_own(op->name) || !is_wanted(label)) continue;
        if (list_only) {
            printf("%s\n", label);
            continue;
        }
        if (!vvb_get_info()->deterministic) {
            print_line(SKIP, op->name, name, "this backend does not promise the same bits");
            continue;
        }
        const verdict v = judge(srunner_create(vvt_op_suite(file.name, op, 1)), name, words, sizeof words);
        if (v == PASS) print_line(v, op->name, name, "the same bits");
        else if (v == SKIP) print_line(v, op->name, name, "%s", what_backend_said(words));
        else print_line(v, op->name, name, "repeat with  %s '%s'\n           %s", program, label, words);
    }
}

Suite *vvt_conformance_suite(const char *name, const vvt_op *ops, int n)
{
    file.name = name;
    file.ops = ops;
    file.n = n;
    return suite_create(name);
}

static void judge_file(void)
{
    for (int i = 0; i < file.n; i++) {
        op = &file.ops[i];
        const size_t n = strlen(judged);
        snprintf(judged + n, sizeof judged - n, " %s", op->name);
        if (is_own(op->name)) all_shapes();
        else if (!n_wanted && !list_only) print_line(SKIP, op->name, "", "not in the archive: the CPU's stands in");
    }
    whole_case("repeat");
    whole_case("threads");
    file.n = 0;
}

/* What a test file adds to the usual cases, s, is about the CPU backend: not run. */
int vvt_conformance_run(Suite *s)
{
    srunner_free(srunner_create(s));
    judge_file();
    return 0;
}

/* ---- the program ---------------------------------------------------------------------------------------------------------- */
static void help(void)
{
    printf("usage: %s [--list] [--calls] [PART ...]\n\n"
           "Judges the backend it was linked with. Of each PART all must occur in a call's name (gelu, 130x257, acc);\n"
           "a PART with a space is a whole name, as the repeat lines give it.\n"
           "  --list    names the functions and shapes, with --calls every call\n"
           "  --calls   a line for every call\n"
           "exit: 0 all passed, 1 a FAIL or UNTRUSTED, 2 nothing was judged\n",
           program);
}

static void introduce(void)
{
    const vvb_info *i = vvb_get_info();
    printf("backend    %s; %s; %s (%s)\n", i->name, i->device, i->product, i->core);
    printf("numbers    %s, products with unit roundoff %g; %s\n", VV_REAL_NAME, i->unit_roundoff,
           i->deterministic ? "the same bits every time" : "bits may differ from call to call");
    if (vvt_own)
        printf("archive    brings%s%s\n", vvt_own[0] == ' ' ? "" : " ",
               vvt_own[0] ? vvt_own : "none of the contract's functions");
    printf("\n");
}

/* Functions of the archive that no table of cases names. */
static void name_the_others(void)
{
    char copy[4000];
    snprintf(copy, sizeof copy, "%s", vvt_own ? vvt_own : "");
    for (char *name = strtok(copy, " "); name; name = strtok(NULL, " "))
        if (!has_word(judged, name)) print_line(SKIP, name, "", "has no cases of its own");
}

int main(int argc, char **argv)
{
    static char *words[64];
    program = argv[0];
    wanted = words;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--list")) list_only = 1;
        else if (!strcmp(argv[i], "--calls")) every_call = 1;
        else if (argv[i][0] == '-' || n_wanted == 64) {
            help();
            return strcmp(argv[i], "--help") ? 2 : 0;
        } else words[n_wanted++] = argv[i];
    }
    signal(SIGSEGV, on_signal);
    signal(SIGBUS, on_signal);
    signal(SIGFPE, on_signal);
    signal(SIGABRT, on_signal);
    if (!list_only) introduce();
    vvt_all_files();
    file.name = "conformance/elementary";
    file.ops = &vvt_elementary;
    file.n = 1;
    judge_file();
    if (list_only) return 0;
    if (!n_wanted) name_the_others();
    printf("\n%" PRId64 " passed, %" PRId64 " failed, %" PRId64 " skipped, %" PRId64 " untrusted\n", count[PASS],
           count[FAIL], count[SKIP], count[UNTRUSTED]);
    if (count[FAIL] || count[UNTRUSTED]) return 1;
    if (!count[PASS]) printf("nothing was judged\n");
    return count[PASS] ? 0 : 2;
}
