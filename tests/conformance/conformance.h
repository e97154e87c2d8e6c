/* The program that judges backends, in parts:
 *   conformance.c   the program: options, the table of functions, the verdict of each, the last line
 *   calls.c         which calls a function goes through, one line per shape
 *   remote.c        calls made in another process (the judge's side), for code that is not trusted
 *   serve.c         that process: this same program with the backend linked in
 *   speed.c         a function's time beside the reference's */
#ifndef VVT_CONFORMANCE_H
#define VVT_CONFORMANCE_H

#include <inttypes.h>

#include "oracle/cases.h"

typedef enum { PASS, FAIL, SKIP, UNTRUSTED } verdict;

/* ---- conformance.c ---------------------------------------------------------------------------------------------------- */
typedef struct {
    const char *program;
    int list, calls, summary; /* --list, --calls, --summary */
    char **words;             /* which calls to make */
    int n_words;
    const char *own;    /* "gelu_fwd layernorm_fwd": what is judged; NULL: everything */
    const char *runner; /* the program that has the backend, when this one has not; NULL: it is this one */
    double limit;       /* seconds that a call in another process may take */
    int backwards;      /* the calls of all shapes in the opposite order: the second time, in another process */
} conf_options;
extern conf_options conf;

/* A line of the report, counted. NULL for fmt ends after the shape. */
void conf_line(verdict v, const char *function, const char *shape, const char *fmt, ...) VV_PRINTF(4, 5);
/* "build/.../conformance --runner ... --seed 7": what to type before the name of a call */
const char *conf_again(void);
/* The function of this name, NULL when there is none. */
const vvt_op *conf_op(const char *name);
/* Whether the word stands in the list of words; in no list (NULL) every word stands. */
int conf_has(const char *list, const char *word);

/* ---- calls.c ------------------------------------------------------------------------------------------------------------ */
/* What one function's calls came to, for the summary. */
typedef struct {
    int lines, made, failed, skipped, untrusted;
    vvt_result worst[VVT_ARRAYS];
    char at[VVT_ARRAYS][160]; /* the call that had the worst error */
} conf_tally;
extern conf_tally conf_sum;

void conf_all_shapes(const vvt_op *op);
/* Which arrays this variant has, and as what; returns how many. */
int conf_arrays(const vvt_op *op, int variant, vvt_array *a);
/* Whether this is one of the calls that were asked for. */
int conf_wanted(const char *label);
/* Runs what Check has been given, out of the user's sight; words is the failure's sentence. test_case NULL: all of them. */
verdict conf_check(SRunner *r, const char *test_case, const char *label, char *words, size_t size);
/* "scale: unsupported" of the harness's sentence. */
const char *conf_backend_said(const char *words);
void conf_watch_signals(void);

/* ---- remote.c ----------------------------------------------------------------------------------------------------------- */
/* Where the calls are made; the other process is started when it is needed. */
typedef struct remote remote;
remote *remote_new(const char *program);
/* These return NULL, or what went wrong ("the process ended with status 0"); the process is gone then. */
const char *remote_load(remote *r, vvt_call *c,
                        int copies); /* gives it the buffers; copies: into memory of its backend */
const char *remote_run(remote *r, int64_t times);
const char *remote_fetch(remote *r, vvt_call *c); /* the buffers back */
/* Ends the process; NULL, or what was wrong with its end. */
const char *remote_end(remote *r);
void remote_free(remote *r);
/* How many processes did not live until they were asked to end. */
int remote_broken(const remote *r);

/* For vvt_elsewhere: calls go to this process. */
void remote_use(remote *r);
remote *remote_in_use(void);

/* ---- serve.c ------------------------------------------------------------------------------------------------------------ */
enum {
    SERVE_MEMORY = 3,
    SERVE_IN = 4,
    SERVE_OUT = 5
};                                       /* the files the process has, beside the usual three on /dev/null */
enum { SERVE_HEAD = 1 << 16 };           /* bytes before the buffers: a page on every machine */
enum { SERVE_REGIONS = VVT_ARRAYS + 2 }; /* arrays, table of the host, table of the backend */

typedef struct {
    int64_t at, bytes;   /* in the shared memory, with the guards */
    int64_t first, last; /* the whole pages around it */
} serve_region;

/* A request, at the beginning of the shared memory. */
typedef struct {
    char function[40];
    vvt_dims dim;
    vvt_how how;
    int64_t size;  /* of the shared memory */
    int64_t times; /* how often to run */
    int threads, copies;
    int64_t table_n;
    struct {
        vvt_role role;
        int64_t rows, cols, ld;
        int present, shares; /* a place to pass; shares - 1: the array whose memory this one has */
    } a[VVT_ARRAYS];
    serve_region region[SERVE_REGIONS];
    char error[200]; /* the answer: what the backend said */
} serve_request;
enum { SERVE_LOAD = 'l', SERVE_RUN = 'r', SERVE_FETCH = 'f' };

int serve(void);

/* ---- speed.c ------------------------------------------------------------------------------------------------------------ */
/* Times the function in both programs, one after the other in turns, and prints a line per shape. Returns whether the results agree. */
int speed_of(const vvt_op *op, const char *reference, const char *judged);

#endif
