/* Inside golden/fault*.c only: a suspect is the first divergent tensor while its causes are tried. */
#ifndef VV_FAULT_PARTS_H
#define VV_FAULT_PARTS_H

#include "golden/fault.h"

typedef struct {
    const vv_judged *j;
    const vv_golden_entry *e;
    const double *r, *g;   /* [n] golden, candidate */
    int64_t n, rows, cols; /* cols: the last dimension */
    double limit;          /* of its relative RMS */
    double error;          /* distance of g from r */
    double enough;         /* a mistake that g is so close to explains it */
    double *work;          /* [n] */
    vv_fault *f;
} vv_suspect;

/* y is what the mistake would have made of r: keeps the words when g is close to it, and closer than to an earlier one by far. Returns
 * whether they were kept. */
int vv_suspect_is(vv_suspect *s, const double *y, const char *fmt, ...) VV_PRINTF(3, 4);
/* The same with the distance known. */
int vv_suspect_at(vv_suspect *s, double left, const char *fmt, ...) VV_PRINTF(3, 4);

/* Golden values of an entry, in fresh memory. */
vv_status vv_suspect_load(double **out, const vv_suspect *s, const vv_golden_entry *e, vv_error *err) VV_MUST_USE;
/* A golden weight of n numbers, in fresh memory; *out NULL (and VV_OK) where there is none of that size. */
vv_status vv_suspect_weight(double **out, const vv_suspect *s, const char *name, int64_t n, vv_error *err) VV_MUST_USE;
/* The k-th recorded tensor of the kind and the task before the suspect, counted backwards from 0, with n numbers; NULL: none. */
const vv_golden_entry *vv_suspect_before(const vv_suspect *s, vv_golden_kind kind, int64_t n, int k);
/* Whole number of the configuration, wherever it stands ("vision_config" before others for the tower); 0: none. */
int64_t vv_suspect_config(const vv_suspect *s, const char *name);

/* Families of causes. */
vv_status vv_cause_layout(vv_suspect *s, vv_error *err) VV_MUST_USE;
vv_status vv_cause_factor(vv_suspect *s, vv_error *err) VV_MUST_USE;
vv_status vv_cause_left_out(vv_suspect *s, vv_error *err) VV_MUST_USE;
vv_status vv_cause_pointwise(vv_suspect *s, vv_error *err) VV_MUST_USE;
vv_status vv_cause_norm(vv_suspect *s, vv_error *err) VV_MUST_USE;
vv_status vv_cause_linear(vv_suspect *s, vv_error *err) VV_MUST_USE;
vv_status vv_cause_rotary(vv_suspect *s, vv_error *err) VV_MUST_USE;
vv_status vv_cause_attention(vv_suspect *s, vv_error *err) VV_MUST_USE;
vv_status vv_cause_adamw(vv_suspect *s, vv_error *err) VV_MUST_USE;

#endif
