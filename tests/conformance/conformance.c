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
 * with vvt_op_suite and vvt_run leading here, so that the tables of cases exist once. With --runner the backend is in another
 * program, a second build of this one, and is called there: scripts/grade. */
#include "conformance.h"

#include <stdarg.h>

/* "gelu_fwd layernorm_fwd" when an archive is judged, NULL for the CPU backend itself (made by the Makefile) */
extern const char *const vvt_own;
extern const vvt_op vvt_elementary; /* tests/conformance/elementary.c */

/* Calls the renamed main of every tests/backend/test_NAME.c (made by the Makefile). */
void vvt_all_files(void);
Suite *vvt_conformance_suite(const char *name, const vvt_op *ops, int n);
int vvt_conformance_run(Suite *s);

conf_options conf;
static int speed_only, serving;
static uint64_t seed = 1;
static int64_t count[4]; /* lines by verdict */

/* ---- verdicts ------------------------------------------------------------------------------------------------------- */
void conf_line(verdict v, const char *function, const char *shape, const char *fmt, ...)
{
    static const char *const word[] = {"PASS", "FAIL", "SKIP", "UNTRUSTED"};
    va_list ap;
    count[v]++;
    if (v == PASS && conf.summary) return;
    printf("%-10s %-16s %-14s ", word[v], function, shape);
    va_start(ap, fmt);
    vprintf(fmt, ap);
    va_end(ap);
    printf("\n");
    fflush(stdout);
}

const char *conf_again(void)
{
    static char text[1000];
    snprintf(text, sizeof text, "%s", conf.program);
    if (conf.runner) snprintf(text, sizeof text, "%s --runner %s --seed %" PRIu64, conf.program, conf.runner, vvt_seed);
    else if (seed != 1) snprintf(text, sizeof text, "%s --seed %" PRIu64, conf.program, seed);
    return text;
}

int conf_has(const char *list, const char *word)
{
    if (!list) return 1;
    const size_t n = strlen(word);
    for (const char *p = strstr(list, word); p; p = strstr(p + 1, word))
        if ((p == list || p[-1] == ' ') && (p[n] == ' ' || !p[n])) return 1;
    return 0;
}

/* ---- the functions that have cases ----------------------------------------------------------------------------------- */
static struct {
    const char *file; /* "backend/test_layernorm" */
    const vvt_op *op;
} known[200];
static int n_known;

static void know(const char *file, const vvt_op *op)
{
    if (n_known == sizeof known / sizeof *known) {
        fprintf(stderr, "too many functions\n");
        exit(1);
    }
    known[n_known].file = file;
    known[n_known++].op = op;
}

Suite *vvt_conformance_suite(const char *name, const vvt_op *ops, int n)
{
    for (int i = 0; i < n; i++) know(name, &ops[i]);
    return suite_create(name);
}

/* What a test file adds to the usual cases, s, is about the CPU backend: not run. */
int vvt_conformance_run(Suite *s)
{
    srunner_free(srunner_create(s));
    return 0;
}

const vvt_op *conf_op(const char *name)
{
    for (int i = 0; i < n_known; i++)
        if (!strcmp(known[i].op->name, name)) return known[i].op;
    return NULL;
}

/* ---- the verdict of one function --------------------------------------------------------------------------------------- */
/* A case over a function as a whole: "repeat", "threads": the same bits again, with any number of threads. */
static void whole_case(int i, const char *name)
{
    char words[400], label[200];
    const vvt_op *op = known[i].op;
    snprintf(label, sizeof label, "%s %s", op->name, name);
    if (!conf_wanted(label) || (conf.runner && remote_broken(remote_in_use()))) return;
    if (conf.list) {
        printf("%s\n", label);
        return;
    }
    if (!vvb_get_info()->deterministic) {
        conf_line(SKIP, op->name, name, "this backend does not promise the same bits");
        return;
    }
    const verdict v = conf_check(srunner_create(vvt_op_suite(known[i].file, op, 1)), name, label, words, sizeof words);
    if (v == PASS) conf_line(v, op->name, name, "the same bits");
    else if (v == SKIP) conf_line(v, op->name, name, "%s", conf_backend_said(words));
    else conf_line(v, op->name, name, "repeat with  %s '%s'\n           %s", conf_again(), label, words);
}

static void summarise(const vvt_op *op, int64_t failed)
{
    static const char *const class_name[] = {"EXACT", "ULP", "DOT"};
    const conf_tally *t = &conf_sum;
    if (!conf.summary || conf.list || !t->made) return;
    const char *word = failed ? "FAIL" : t->untrusted ? "UNTRUSTED" : t->skipped == t->made ? "SKIP" : "PASS";
    printf("%-10s %-16s %d calls, %d shapes", word, op->name, t->made, t->lines);
    if (t->failed || t->skipped) printf("; %d failed, %d not supported", t->failed, t->skipped);
    printf("\n");
    vvt_array a[VVT_ARRAYS];
    const int n = conf_arrays(op, 0, a);
    for (int i = 0; i < n; i++) {
        const vvt_array *x = &a[i];
        if (x->role == VVT_IN || x->role == VVT_ABSENT) continue;
        printf("           %-8s %-5s", x->name, class_name[x->class]);
        if (x->class == VVT_EXACT) printf(" equal wherever it passed\n");
        else {
            printf(" largest error %.3g of the bound", t->worst[i].worst);
            if (x->class == VVT_DOT) printf(", RMS %.3g of its own", t->worst[i].rms);
            printf("%s%s\n", t->worst[i].worst > 0 ? ", at " : "", t->worst[i].worst > 0 ? t->at[i] : "");
        }
    }
}

static void judge_here(int i)
{
    conf_all_shapes(known[i].op);
    whole_case(i, "repeat");
    whole_case(i, "threads");
}

/* Twice: all shapes in one process, then in another with other numbers in the opposite order. What a function keeps from call to
 * call, or leaves for later, meets other company there. */
static void judge_elsewhere(int i)
{
    const vvt_op *op = known[i].op;
    for (conf.backwards = 0; conf.backwards < 2; conf.backwards++) {
        remote *r = remote_new(conf.runner);
        vvt_seed = seed + (uint64_t)conf.backwards;
        remote_use(r);
        if (conf.backwards) conf_all_shapes(op);
        else judge_here(i);
        const int broken = remote_broken(r);
        const char *why = remote_end(r);
        if (why) conf_line(FAIL, op->name, "", "%s; repeat with  %s '%s'", why, conf_again(), op->name);
        remote_use(NULL);
        remote_free(r);
        if (broken) break;
    }
    vvt_seed = seed;
}

static void judge(int i)
{
    const vvt_op *op = known[i].op;
    if (!conf_has(conf.own, op->name)) {
        if (!conf.n_words && !conf.list && !conf.summary && !speed_only)
            conf_line(SKIP, op->name, "", "not in the archive: the CPU's stands in");
        return;
    }
    if (speed_only) {
        if (speed_of(op, conf.program, conf.runner)) count[PASS]++;
        return;
    }
    const int64_t failed = count[FAIL];
    conf_sum = (conf_tally){.lines = 0};
    if (conf.runner && !conf.list) judge_elsewhere(i);
    else judge_here(i);
    summarise(op, count[FAIL] - failed);
}

/* ---- the program ---------------------------------------------------------------------------------------------------------- */
static void help(void)
{
    printf("usage: %s [OPTION ...] [PART ...]\n\n"
           "Judges the backend it was linked with. Of each PART all must occur in a call's name (gelu, 130x257, acc);\n"
           "a PART with a space is a whole name, as the repeat lines give it.\n"
           "  --list         names the functions and shapes, with --calls every call\n"
           "  --calls        a line for every call\n"
           "  --summary      of what passes, only what it comes to: how close errors come to what is allowed\n"
           "  --own NAMES    judges these functions (default: those of the archive)\n"
           "  --seed N       of the random numbers (1)\n"
           "  --runner FILE  judges the backend that this other build of the program was linked with, in a process of "
           "its own\n"
           "                 (and has to be linked with the CPU's itself)\n"
           "  --limit S      seconds that a call there may take (10)\n"
           "  --speed        only times the functions, beside those of this program (with --runner)\n"
           "exit: 0 all passed, 1 a FAIL or UNTRUSTED, 2 nothing was judged\n",
           conf.program);
}

static void introduce(void)
{
    const vvb_info *i = vvb_get_info();
    if (conf.summary || speed_only) return;
    printf("backend    %s; %s; %s (%s)\n", i->name, i->device, i->product, i->core);
    printf("numbers    %s, products with unit roundoff %g; %s\n", VV_REAL_NAME, i->unit_roundoff,
           i->deterministic ? "the same bits every time" : "bits may differ from call to call");
    if (conf.runner) printf("calls      in the process of %s, seed %" PRIu64 "\n", conf.runner, seed);
    if (conf.own)
        printf("archive    brings%s%s\n", conf.own[0] == ' ' ? "" : " ",
               conf.own[0] ? conf.own : "none of the contract's functions");
    printf("\n");
}

/* Functions of the archive that no table of cases names. */
static void name_the_others(void)
{
    char copy[4000];
    snprintf(copy, sizeof copy, "%s", conf.own ? conf.own : "");
    for (char *name = strtok(copy, " "); name; name = strtok(NULL, " "))
        if (!conf_op(name)) conf_line(SKIP, name, "", "has no cases of its own");
}

/* Returns whether the option takes the argument behind it: 0, 1; -1 is none of ours. */
static int option(const char *name, const char *value)
{
    if (!strcmp(name, "--list")) conf.list = 1;
    else if (!strcmp(name, "--calls")) conf.calls = 1;
    else if (!strcmp(name, "--summary")) conf.summary = 1;
    else if (!strcmp(name, "--speed")) speed_only = 1;
    else {
        if (!value) return -1;
        if (!strcmp(name, "--own")) conf.own = value;
        else if (!strcmp(name, "--runner")) conf.runner = value;
        else if (!strcmp(name, "--seed")) seed = strtoull(value, NULL, 10);
        else if (!strcmp(name, "--limit")) conf.limit = atof(value);
        else if (!strcmp(name, "--serve")) serving = 1;
        else return -1;
        return 1;
    }
    return 0;
}

/* Returns 0, or the status to end with. */
static int arguments(int argc, char **argv)
{
    static char *words[64];
    conf = (conf_options){.program = argv[0], .words = words, .own = vvt_own, .limit = 10};
    for (int i = 1; i < argc; i++) {
        const int takes = argv[i][0] == '-' ? option(argv[i], argv[i + 1]) : 0;
        if (takes < 0 || (argv[i][0] != '-' && conf.n_words == 64)) {
            help();
            return strcmp(argv[i], "--help") ? 2 : -1;
        }
        if (argv[i][0] != '-') words[conf.n_words++] = argv[i];
        i += takes;
    }
    if ((speed_only && !conf.runner) || (conf.runner && vvt_own) || !(conf.limit > 0)) {
        help();
        return 2;
    }
    vvt_seed = seed;
    return 0;
}

int main(int argc, char **argv)
{
    const int status = arguments(argc, argv);
    if (status) return status < 0 ? 0 : status;
    vvt_all_files();
    know("conformance/elementary", &vvt_elementary);
    if (serving) return serve();
    if (vvt_no_backend()) return VVT_SKIPPED;
    conf_watch_signals();
    if (!conf.list) introduce();
    for (int i = 0; i < n_known; i++) judge(i);
    if (conf.list) return 0;
    if (!conf.n_words && !speed_only) name_the_others();
    if (!conf.summary && !speed_only)
        printf("\n%" PRId64 " passed, %" PRId64 " failed, %" PRId64 " skipped, %" PRId64 " untrusted\n", count[PASS],
               count[FAIL], count[SKIP], count[UNTRUSTED]);
    if (count[FAIL] || count[UNTRUSTED]) return 1;
    if (!count[PASS]) printf("nothing was judged\n");
    return count[PASS] ? 0 : 2;
}
