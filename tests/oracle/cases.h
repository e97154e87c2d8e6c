/* The cases that every function of the contract goes through. A test file says what one call is made of (vvt_op); this file
 * makes calls of all sizes and kinds, and lets the oracle judge them:
 *
 *   exact        integer operands: equal to the last bit
 *   oracle       random and positive data, sizes beyond the borders of tiles, blocks and grains
 *   sizes        0, 1, 2, 3, 5, 17, 50 in every combination, then 130 and 257 in each place; with and without row strides
 *   accumulate   twice into the same gradients is the sum of both
 *   null_grads   each gradient NULL in turn: the others are what they were
 *   alias        where the contract allows it
 *   nonfinite    a NaN or Inf in each input spreads as far as the formula says, and no further
 *   repeat       the same bits again
 *   threads      the same bits with 1, 2, 3 and 4 threads
 *   guard        what every call is checked for, and a broken guard is noticed
 *
 * Every single call is checked for this besides: the words around each buffer and the gaps between its rows are untouched,
 * inputs are unchanged, what is only written does not depend on what stood there (NaN), vvb_error is silent. Only functions
 * of the contract are called, so the same executables judge any backend that is linked in front of the CPU's. */
#ifndef VVT_CASES_H
#define VVT_CASES_H

#include "vvt_check.h"

enum { VVT_DIMS = 4, VVT_ARRAYS = 12 };

typedef enum {
    VVT_IN,    /* read only */
    VVT_OUT,   /* written: holds NaN before the call */
    VVT_GRAD,  /* written, or added to with acc: may be NULL */
    VVT_ADDED, /* added to: may be NULL when it is a gradient (not vvt_op.must) */
    VVT_ABSENT /* an optional input that is NULL in this variant */
} vvt_role;

typedef struct {
    const char *name;
    vvt_role role;
    int64_t rows, cols, ld;
    vvt_class class;
    double k;
    int zeros_expected;
    vv_real *host; /* what it holds before the call */
    vv_real *got;  /* and after it */
    vvo_out ref;   /* what it should hold */
    vvt_buffer buffer;
    vv_real *at; /* to pass to the backend; NULL: not wanted */
} vvt_array;

typedef struct {
    int64_t n[VVT_DIMS];
} vvt_dims;

/* How a call is made, besides its sizes. All 0 is the plainest. */
typedef struct {
    vvt_fill fill;
    int variant;   /* 0 .. vvt_op.variants-1 */
    int pad;       /* row strides are larger than rows, by different amounts */
    int acc;       /* gradients of activations are added to */
    int twice;     /* called twice */
    int drop;      /* the array of index drop-1 is NULL */
    int alias;     /* the first output shares the memory of the array of index alias-1 */
    int spoil;     /* the input of index spoil-1 has ... */
    vv_real value; /* ... this value in its middle */
    int exact;     /* judge as EXACT */
} vvt_how;

typedef struct vvt_op vvt_op;
typedef struct {
    const vvt_op *op;
    vvt_dims dim;
    vvt_how how;
    vvt_array a[VVT_ARRAYS];
    int count;
    int32_t *table; /* a table of the host, made by shape with vvt_table; freed with the call */
    int64_t table_n;
    vvt_buffer device_table; /* the same on the backend */
} vvt_call;

struct vvt_op {
    const char *name;
    int sizes;       /* the first so many dims take all the sizes; the others are the test file's own */
    vvt_dims least;  /* the smallest legal sizes */
    vvt_dims medium; /* middling ones, best none alike */
    int variants;    /* everything that is no size: flags, scalars, optional arguments */
    int exact;       /* the first so many variants are exact for integer operands */
    int strided;     /* arrays have row strides: pad is heard */
    int alias;       /* 1 + index of the input that the first output may share memory with; 0: none */
    int alias_with_acc;
    int must;          /* outputs that are added to are no gradients: never NULL */
    int any_nonfinite; /* whether it is Inf or NaN hangs on rounding: a difference that may be 0 is multiplied */
    int finite;        /* 1 + index of an input that the contract wants finite: never spoilt; 0: none */
    void (*shape)(vvt_call *c); /* declares the arrays, outputs first, with vvt_output and vvt_input */
    void (*prepare)(
        vvt_call *c); /* computes inputs that belong together (statistics saved by a forward); may be NULL */
    void (*run)(vvt_call *c);
    void (*oracle)(vvt_call *c);
    vvt_dims large[8]; /* beyond the borders; all zeros ends */
};

/* For run and oracle: array i on the backend, on the host (as before the call), and what it should become. NULL when absent. */
static inline vv_real *vvt_at(const vvt_call *c, int i) { return c->a[i].at; }
static inline vv_real *vvt_host(const vvt_call *c, int i) { return c->a[i].role == VVT_ABSENT ? NULL : c->a[i].host; }
static inline vvo_out vvt_want(const vvt_call *c, int i) { return c->a[i].ref; }
static inline int64_t vvt_ld(const vvt_call *c, int i) { return c->a[i].ld; }

/* For shape. The returned array may be adjusted (class, zeros_expected). */
vvt_array *vvt_output(vvt_call *c, const char *name, vvt_role role, int64_t rows, int64_t cols, double k);
vvt_array *vvt_input(vvt_call *c, const char *name, int64_t rows, int64_t cols);
vvt_array *vvt_strided(vvt_call *c, vvt_array *x, int64_t least); /* gives it a stride of its own >= least */
int32_t *vvt_table(vvt_call *c, int64_t n);

/* Makes one call, judges it, frees it. */
void vvt_case(const vvt_op *op, vvt_dims dim, vvt_how how);
/* A call with its buffers, ready to run: what vvt_case begins and ends with. */
vvt_call *vvt_call_new(const vvt_op *op, vvt_dims dim, vvt_how how);
void vvt_call_free(vvt_call *c);
/* Errors over allowed of the arrays of one function, since the caller cleared it: the largest of all calls. */
extern vvt_result vvt_worst[VVT_ARRAYS];
/* Unless NULL, makes the call in place of vvt_op.run: in another process, on copies of the buffers. */
extern void (*vvt_elsewhere)(vvt_call *c);

/* A suite of all the cases; add more to it with vvt_case or anything else. name: "backend/layernorm". */
Suite *vvt_op_suite(const char *name, const vvt_op *ops, int n);
/* A further case of that suite, "CK_RUN_CASE=name". */
TCase *vvt_more(Suite *s, const char *name);

#endif
