/* Tensors and the reverse-mode tape.
 *
 * Every operation runs at once (a debugger steps through a model), notes itself as a node in an array, and the backward walks
 * that array from its end. Models state only their forward; each derivative stands in its operation's file under ops/.
 *
 *   vv_tensor *h = vv_layernorm(t, "norm1", x, w, b, eps);     model code: expressions, no error ladders
 *   ...
 *   vv_backward(t, loss, 1);                                    gradients stand in the parameters' ->grad
 *   vv_tape_reset(t);                                           activations are gone, parameters stay
 *
 * Names. A tensor has a short name and the scopes that were open when it was made; the full name, "visual.blocks.3.attn.qkv",
 * is built only when somebody asks; names are not copied (string literals, or memory that outlives the next reset). It is the module path of the Hugging Face model; "#part" marks a value no module returns.
 *
 * Errors are sticky: the first failure is kept with operation, tensor and shapes, later operations return NULL at once, and
 * the caller asks once, with vv_tape_status.
 *
 * Three memories, each with its peak (vv_memory): parameters and their gradients, which live until freed; activations, a
 * stack emptied by vv_tape_reset; gradients of activations, a pool to which each buffer returns when its node's backward ran.
 *
 * Gradients. Backwards ADD into parameter gradients, and ASSIGN the gradient of an activation unless it already has one: the
 * first consumer to come back assigns, the others add. A tensor that no trainable parameter reaches needs no gradient: it
 * costs neither memory nor time. A node whose output received no gradient is skipped.                                    */
#ifndef VV_TAPE_H
#define VV_TAPE_H

#include "backend/backend.h"

enum { VV_MAXDIM = 5, VV_MAX_IN = 4, VV_MAX_SAVED = 2, VV_NAME_MAX = 256 };

typedef struct vv_tape vv_tape;
typedef struct vv_scope vv_scope;
typedef enum { VV_REALS, VV_INTS } vv_kind; /* vv_real, or int32 for indices */

/* LoRA (Hu et al. 2022, arXiv:2106.09685): a Linear of this weight adds scale b (a x), a [r,in], b [out,r]. */
typedef struct {
    struct vv_tensor *a, *b;
    double scale;
} vv_adapter;

typedef struct vv_tensor {
    const char *name;      /* whole name of a parameter; short name of an activation; NULL: not traced */
    const vv_scope *scope; /* the scopes it was made in; NULL for a parameter */
    vv_kind kind;
    int ndim;
    int64_t dim[VV_MAXDIM], n; /* sizes, and their product */
    void *data;                /* backend memory: read through vv_f and vv_i, never by host code; NULL in a dry run */
    vv_real *grad;             /* backend memory, NULL until a gradient arrives */
    int needs_grad, has_grad, is_param;
    int grad_counted;          /* of a parameter without memory: its gradient is in vv_params' bytes */
    const vv_adapter *adapter; /* of a weight; NULL: none */
} vv_tensor;

static inline vv_real *vv_f(const vv_tensor *x) { return x && x->kind == VV_REALS ? x->data : NULL; }
static inline int32_t *vv_i(const vv_tensor *x) { return x && x->kind == VV_INTS ? x->data : NULL; }
static inline int64_t vv_last(const vv_tensor *x)
{
    return x->ndim ? x->dim[x->ndim - 1] : 1;
} /* size of the last axis */
static inline int64_t vv_rows(const vv_tensor *x) { return vv_last(x) ? x->n / vv_last(x) : 0; } /* all leading axes */

/* ---- parameters ------------------------------------------------------------------------------------------------------ */
typedef struct {
    vv_tensor **at;
    int64_t n, cap;
    int dry;             /* names and shapes only, no memory */
    int64_t bytes, peak; /* of data and gradients */
} vv_params;

/* A new parameter, trainable, its data not initialised. The name is copied. NULL without memory (err says so). */
vv_tensor *vv_param_new(vv_params *ps, const char *name, int ndim, const int64_t *dim, vv_error *err);
vv_tensor *vv_param_find(const vv_params *ps, const char *name);
void vv_params_zero_grad(vv_params *ps); /* gradients keep their memory and become "none" */
void vv_params_free(vv_params *ps);

/* ---- a tape ---------------------------------------------------------------------------------------------------------- */
typedef struct {
    int64_t activations, activations_peak; /* bytes on the stack, now and at most since vv_tape_new */
    int64_t gradients, gradients_peak;     /* bytes of activation gradients in use */
    double flops_forward, flops_backward;  /* since the last reset; a recomputed forward counts as backward */
} vv_memory;

enum {
    VV_RECORD = 1,     /* gradients will be asked for */
    VV_CHECKPOINT = 2, /* segments keep only their output and run again in the backward */
    VV_DRY = 4
}; /* shapes, bytes and FLOPs without data */

/* ps: where parameter gradients are counted and allocated (may be NULL when nothing is recorded). */
vv_tape *vv_tape_new(vv_params *ps, int flags);
void vv_tape_free(vv_tape *t);
void vv_tape_reset(vv_tape *t); /* drops all activations and nodes; keeps peaks and memory for the next pass */
vv_status vv_tape_status(const vv_tape *t, vv_error *err);
const vv_memory *vv_tape_memory(const vv_tape *t);
int vv_is_dry(const vv_tape *t);

/* Opens a scope: "blocks", 3 makes names "....blocks.3.x"; index -1: no number. */
void vv_enter(vv_tape *t, const char *name, int64_t index);
void vv_leave(vv_tape *t);
/* The whole name, in buf [VV_NAME_MAX]. A short name "" is the scope's own name; "#part" is joined without a dot. */
const char *vv_name(const vv_tensor *x, char *buf);

/* An input that needs no gradient, copied from the host (vv_real or int32). data NULL: not initialised. */
vv_tensor *vv_input(vv_tape *t, const char *name, vv_kind kind, int ndim, const int64_t *dim, const void *data);

/* Gradients of scale * loss (a scalar) for every parameter that needs one. */
void vv_backward(vv_tape *t, vv_tensor *loss, double scale);

/* Runs y = f(t, ctx, x) keeping only y: everything else in it is dropped at once when nothing is recorded, kept when it is,
 * and dropped and run again in the backward with VV_CHECKPOINT. ctx (size bytes) is copied. f depends on ctx,
 * x and parameters alone, changes nothing of x in place and closes the scopes it opens: it may run twice. Gradients are the same bits and
 * traces the same events either way. */
typedef vv_tensor *(*vv_segment_fn)(vv_tape *t, const void *ctx, vv_tensor *x);
vv_tensor *vv_segment(vv_tape *t, vv_segment_fn f, const void *ctx, size_t size, vv_tensor *x);

/* ---- traces ---------------------------------------------------------------------------------------------------------- */
typedef enum { VV_EVENT_IN, VV_EVENT_ACT, VV_EVENT_GRAD } vv_event; /* GRAD: x->grad is final and about to be used */
typedef void (*vv_trace_fn)(void *ctx, vv_event event, const vv_tensor *x);
void vv_trace(vv_tape *t, vv_trace_fn fn, void *ctx);

/* ---- for operations (ops/) -------------------------------------------------------------------------------------------- */
typedef struct vv_node vv_node;
typedef struct {
    const char *name;
    void (*backward)(vv_tape *t, vv_node *nd);
} vv_opdef;

struct vv_node {
    const vv_opdef *op;
    vv_tensor *in[VV_MAX_IN], *out, *saved[VV_MAX_SAVED]; /* unused places are NULL */
    int64_t n[2];                                         /* the operation's own sizes and switches */
    double s;                                             /* and scalars */
    const void *ctx;                                      /* and more of them, copied with vv_keep; vv_segment's */
    vv_segment_fn f;
    const vv_scope *scope;
};

/* All inputs exist and no error is kept: otherwise the operation returns NULL. */
int vv_ready(const vv_tape *t, int count, ...);
/* Keeps the error "NAME: OP: expected RULE; got SHAPES" unless ok, where SHAPES lists the tensors under the letters of
 * `letters` ("x w b"). Returns ok. */
int vv_expect(vv_tape *t, const char *op, const char *name, int ok, const char *rule, const char *letters, ...);
/* Keeps any other error. Returns NULL, so that an operation can `return vv_tape_fail(...)`. */
vv_tensor *vv_tape_fail(vv_tape *t, vv_status s, const char *fmt, ...) VV_PRINTF(3, 4);

vv_tensor *vv_new(vv_tape *t, const char *name, int ndim, const int64_t *dim); /* a new activation, not initialised */
vv_tensor *vv_saved(vv_tape *t, int64_t n);                                    /* what only the backward reads */
vv_tensor *vv_indices(vv_tape *t, const int32_t *idx, int64_t n); /* a host table of indices, on the backend */
vv_tensor *vv_alias(vv_tape *t, const char *name, const vv_tensor *x, int ndim,
                    const int64_t *dim);                          /* x's memory, other shape */
const void *vv_keep(vv_tape *t, const void *host, int64_t bytes); /* a copy that lives as long as the nodes */
vv_tensor *vv_done(vv_tape *t,
                   vv_node nd); /* records the node if gradients will come back; tells the trace; returns out */

/* Where the gradient of x goes: p NULL when it is not wanted, acc when it must be added. Asking is promising to write. */
typedef struct {
    vv_real *p;
    int acc;
} vv_into;
vv_into vv_grad(vv_tape *t, vv_tensor *x);
/* y's gradient is x's too (a view, a residual): hands the buffer over when x has none yet, adds it otherwise. The last thing
 * that a backward does with y's gradient. */
void vv_grad_hand_over(vv_tape *t, vv_tensor *x, vv_tensor *y);

/* Counts the FLOPs of a backend call and runs it, unless the tape is dry or has failed. */
int vv_runs(vv_tape *t, double flops);
#define VV_RUN(t, flops, call)                                                                                         \
    do {                                                                                                               \
        if (vv_runs(t, (double)(flops))) {                                                                             \
            call;                                                                                                      \
        }                                                                                                              \
    } while (0)

#endif
