/* Comparing two recordings tensor by tensor, in the order of execution.
 *
 * For a reference r and a candidate g:  relative RMS = RMS(g - r) / RMS(r); RMS(g - r) itself where r is all zero.
 * Limits: EXACT tensors must be equal. CHAIN tensors stand below a multiple of their floor, the relative RMS at which a correct float
 * build lands. In an experiment with planted bugs, legal variants (other summation orders, other exp) stayed within 4 floors and
 * the weakest bug stood at 69: the default multiple 16 is their geometric mean.
 * A tensor is UNTRUSTED when the reference itself is not finite or constant: agreeing with it proves nothing. */
#ifndef VV_COMPARE_H
#define VV_COMPARE_H

#include "io/safetensors.h"

typedef enum { VV_PASS, VV_FAIL, VV_MISSING, VV_SHAPE, VV_NOT_FINITE, VV_ABSENT, VV_UNTRUSTED } vv_verdict;
const char *vv_verdict_name(vv_verdict v);

typedef struct {
    const char *key;
    vv_verdict verdict; /* ABSENT: optional, not in the candidate; not a failure */
    double rel_rms, max_abs, limit;
    double floor;  /* 0: none known */
    int64_t worst; /* flat index of the largest difference, and the two numbers there */
    double want, got;
} vv_comparison;

typedef struct {
    double multiple;  /* of the floor; 0: 16 */
    double limit;     /* >= 0: one relative RMS for all CHAIN tensors instead; < 0: floors, without which is VV_FILE */
    int present;      /* judge only what the candidate holds: a required tensor may be absent */
    int ignore_extra; /* tensors of the candidate that the reference has not are no failure */
} vv_compare_options;

typedef struct {
    int64_t tensors, failed, missing, absent, extra; /* failed: present and different; missing: required and absent */
    char first[256];                                 /* key of the first that failed, "" when none */
    char first_missing[256];
} vv_compare_summary;

/* Tells every comparison to fn (NULL is fine). VV_OK: equal within the limits; VV_DIFFERS: not (no error text); anything else: one
 * of the files could not be used. Without an index in the reference, tensors come in the order of the file. */
typedef void (*vv_compare_fn)(void *ctx, const vv_comparison *c);
vv_status vv_compare(const char *reference, const char *candidate, const vv_compare_options *o, vv_compare_fn fn,
                     void *ctx, vv_compare_summary *sum, vv_error *err) VV_MUST_USE;

/* Copies the reference to `out` with floors in its index: of each CHAIN tensor the largest relative RMS of the candidates, and at least
 * 2^-24, the rounding of a single float, so that no floor is small by accident. */
vv_status vv_golden_floors(const char *reference, const char *const *candidate, int64_t n, const char *out,
                           vv_error *err) VV_MUST_USE;

#endif
