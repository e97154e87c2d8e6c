/* Judging arrays: guarded buffers on the backend, deterministic fills, and one comparator for the accuracy classes of
 * backend/backend.h. */
#ifndef VVT_CHECK_H
#define VVT_CHECK_H

#include <math.h>

#include "backend/backend.h"
#include "oracle/oracle.h"
#include "vvt.h"

/* ---- buffers ------------------------------------------------------------------------------------------------------ */
/* Memory of the backend between two rows of guard words. */
typedef struct {
    char *base;
    int64_t bytes;
} vvt_buffer;
enum { VVT_GUARD = 64 }; /* bytes on either side: keeps the alignment of vvb_alloc */

vvt_buffer vvt_buffer_new(const void *host, int64_t bytes); /* holds the bytes of host */
void vvt_buffer_free(vvt_buffer *b);
void *vvt_buffer_at(const vvt_buffer *b);             /* the pointer to pass to the backend */
void vvt_buffer_get(const vvt_buffer *b, void *host); /* its bytes, to the host */
int vvt_buffer_intact(const vvt_buffer *b);           /* no guard word was overwritten */

/* ---- fills -------------------------------------------------------------------------------------------------------- */
typedef enum {
    VVT_INTEGERS, /* -4 .. 4: products and short sums are exact in any order */
    VVT_UNIFORM,  /* (-1, 1) */
    VVT_NORMAL,   /* N(0,1) */
    VVT_POSITIVE  /* (0.5, 1.5): nothing cancels, errors pile up */
} vvt_fill;
const char *vvt_fill_name(vvt_fill f);
/* n numbers of the stream with this name and seed: the same in every build and on every platform. */
extern uint64_t vvt_seed; /* 1 */
void vvt_fill_array(vv_real *x, int64_t n, vvt_fill f, const char *stream);

/* ---- comparison --------------------------------------------------------------------------------------------------- */
typedef enum { VVT_EXACT, VVT_ULP, VVT_DOT } vvt_class;
typedef enum { VVT_PASS, VVT_FAIL, VVT_UNTRUSTED } vvt_verdict; /* the last: the reference would prove nothing */

typedef struct {
    const char *name;   /* "layernorm_bwd dx" */
    const char *repeat; /* how to run just this again */
    vvt_class class;
    double k;               /* n of ULP(n), K of DOT(K) */
    int64_t rows, cols, ld; /* row i is at i * ld, in got, ref and gauge */
    int zeros_expected;     /* more than 30 % zeros in the reference, or all the same, is meant so */
    int nonfinite_expected; /* NaN or Inf in the reference is meant so: got has the same at the same places; 2: has either */
    int quiet;              /* print nothing */
} vvt_spec;

typedef struct {
    vvt_verdict verdict;
    double worst, rms; /* largest error, and RMS of the errors, over what is allowed */
    int64_t failures;
} vvt_result;

/* Non-finite values are decided first. gauge: for DOT as in the contract; for ULP an error allowed besides, or NULL; for EXACT
 * not looked at. Prints the first 10 failures. */
vvt_result vvt_compare(const vv_real *got, const vvt_ref *ref, const vvt_ref *gauge, const vvt_spec *s);

#endif
