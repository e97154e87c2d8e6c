/* What the files of `versavit bench` share. */
#ifndef VV_CLI_BENCH_H
#define VV_CLI_BENCH_H

#include "cli/cli.h"
#include "tape/tape.h"

typedef struct {
    const char *name;
    double seconds, flops; /* of one run, the best one */
    double sgemm;          /* FLOP/s */
    int64_t peak_bytes;    /* parameters, moments, activations, gradients */
    double extra;          /* what the case is about, when that is not a speed; named by extra_name */
    const char *extra_name;
} bench_result;

typedef struct {
    int64_t repeat, depth; /* depth: another number of blocks or layers; 0: the case's own */
    const char *record;    /* of train_*: a file for the batches, the weights and the losses; NULL: none */
} bench_settings;

double bench_least(double a, double b); /* of the times so far: 0 is none */
/* n numbers of the backend between -1/2 and 1/2: uninitialised memory may hold denormals, which are slow */
vv_real *bench_operand(int64_t n);
/* Weights as from N(0, 0.02), vectors 1: drawn faster than an initialisation does. */
vv_status bench_fill(vv_params *ps, vv_error *err);

/* Cases of the language model and of the dense heads; *known = 0 when the name is none of theirs. */
vv_status bench_language(int *known, bench_result *r, const bench_settings *s, vv_error *err);
/* A whole update of all three tasks; what it was made of goes to the file `record`, unless NULL (scripts/torch/bench_updates.py). */
vv_status bench_train(int *known, bench_result *r, const bench_settings *s, vv_error *err);
vv_status bench_heads(int *known, bench_result *r, const bench_settings *s, vv_error *err);

#endif
