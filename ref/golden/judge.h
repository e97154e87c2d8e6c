/* Judging a candidate against a golden file, tensor by tensor, in the order of execution.
 *
 *   EXACT      must be equal; what is no number (unknown labels) has equal bits.
 *   CHAIN      relative RMS (measure.h) at most  multiple * floor  for float, multiple * the band's upper end for tf32, bf16, fp16. A
 *              candidate whose metadata says "resync": "layer" computed each layer from golden inputs: "local" floors and bands.
 *              The default multiple 13 is the geometric middle of right programs with other bits (at most 10.3 floors) and planted
 *              mistakes (the weakest at 16.4, the next at 54): golden/JUDGED.md.
 *   DISCRETE   equal, or each differing element a tie: the values that decide it lie closer together in the golden file than the
 *              noise that is granted to them, multiple * floor * RMS of that tensor. Where such a tie has further consequences, the golden
 *              file has "alternatives"; all tensors of a task are judged by the same one, the one that fails least.
 *   UNTRUSTED  the reference is not finite, or it is constant and has no scale: agreeing with it proves nothing.
 *
 * Scopes, each with all before it: outputs (inputs, weights, moments, losses, entries marked "output"), forward (act), backward (dact, dw),
 * update (dstep). The scope says what must be there: what lies outside it may be absent, and is judged when it is there. */
#ifndef VV_GOLDEN_JUDGE_H
#define VV_GOLDEN_JUDGE_H

#include "golden/candidate.h"
#include "golden/index.h"
#include "golden/measure.h"

typedef enum {
    VV_PASS,
    VV_FAIL,
    VV_MISSING,    /* required and absent */
    VV_SHAPE,      /* not the golden shape */
    VV_NOT_FINITE, /* the candidate holds a NaN or an infinity */
    VV_ABSENT,     /* optional or outside the scope, and not there: no failure */
    VV_UNTRUSTED,
    VV_DUPLICATE, /* several tensors of this key */
    VV_TIE        /* other choices, all of them legal */
} vv_verdict;
const char *vv_verdict_name(vv_verdict v);
int vv_verdict_fails(vv_verdict v);

typedef enum { VV_SCOPE_OUTPUTS, VV_SCOPE_FORWARD, VV_SCOPE_BACKWARD, VV_SCOPE_UPDATE } vv_judge_scope;
int vv_scope_parse(const char *name, vv_judge_scope *s); /* 1 when the name is known */

enum { VV_NEAR = 5 };
typedef struct {
    const vv_golden_entry *entry;
    vv_verdict verdict;
    int measured; /* m holds numbers */
    vv_measure m;
    double limit;    /* of the relative RMS */
    double floor;    /* the limit is so many times this; 0: none known */
    int alternative; /* 0: the golden value; k: alternatives[k-1] */
    int64_t ties;    /* elements that differ and may */
    double near_want[VV_NEAR],
        near_got[VV_NEAR]; /* [near_n] around the worst, in its row, from flat index near_first on */
    int64_t near_first;
    int near_n;
    int ndim; /* the candidate's, with SHAPE */
    int64_t shape[VV_ST_MAXDIM];
} vv_judgement;

typedef struct {
    vv_precision precision;
    vv_judge_scope scope;
    double multiple;  /* of the floor; 0: 13 */
    double limit;     /* >= 0: one relative RMS for all CHAIN tensors instead; < 0: floors, without which is VV_FILE */
    int present;      /* judge only what the candidate holds: a required tensor may be absent */
    int ignore_extra; /* tensors of the candidate that the reference has not are no failure */
    const char *map;  /* a mapping file, NULL: none */
    const char
        *floors; /* a file as vv_golden_floors writes it: its floors and bands instead of the golden file's; NULL */
} vv_judge_options;

typedef struct {
    vv_golden golden;
    vv_golden floors; /* open only with that option */
    vv_candidate candidate;
    vv_judge_options options;
    int local; /* by local floors */
    vv_judgement *at;
    int64_t n;
    int64_t judged, failed, missing, absent, extra,
        ties;                                  /* failed: present and different; missing: required and absent */
    const vv_judgement *first, *first_missing; /* the first that failed, NULL: none */
    const char *first_extra;
    double most; /* the largest multiple of a floor among those that pass or fail */
} vv_judged;

/* VV_OK: equal within the limits; VV_DIFFERS: not (no error text); anything else: one of the files could not be used, and *j is empty. */
vv_status vv_judge(vv_judged *j, const char *golden, const char *candidate, const vv_judge_options *o,
                   vv_error *err) VV_MUST_USE;
void vv_judged_free(vv_judged *j); /* zeroes it */

/* rel_rms over the floor; NaN without one */
double vv_multiple(const vv_judgement *x);
/* the proven bound of a float build's relative RMS; NaN without one */
double vv_proven(const vv_judgement *x);

/* "[3,17]" of the flat index into buf; returns it. 200 bytes hold every index. */
const char *vv_index_text(const vv_golden_entry *e, int64_t flat, char *buf, size_t size);

#endif
