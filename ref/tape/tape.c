#include "tape/tape.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tape/memory.h"

struct vv_scope {
    const vv_scope *parent;
    const char *name;
    int64_t index;
};

enum { MAX_DEPTH = 4 }; /* segments within segments */

struct vv_tape {
    vv_params *params;
    int flags;
    int recording; /* nodes are kept: the flag, except inside a segment that will run again */
    int replaying; /* a segment runs again: its activation events have been told already */
    vv_error error;
    const vv_scope *scope;
    vv_arena host;
    vv_stack stack[MAX_DEPTH];
    int depth; /* which stack is filled */
    vv_pool pool;
    vv_node *node;
    int64_t n, cap;
    vv_memory memory;
    double *flops; /* forward or backward */
    vv_trace_fn trace;
    void *trace_ctx;
};

vv_tape *vv_tape_new(vv_params *ps, int flags)
{
    vv_tape *t = vv_calloc(1, sizeof *t);
    if (!t) return NULL;
    t->params = ps;
    t->flags = flags;
    t->recording = (flags & VV_RECORD) != 0;
    t->flops = &t->memory.flops_forward;
    return t;
}

void vv_tape_reset(vv_tape *t)
{
    t->n = 0;
    t->scope = NULL;
    t->error = (vv_error){0};
    for (int d = 0; d < MAX_DEPTH; d++) vv_stack_reset(&t->stack[d]);
    for (int i = 0; i < t->pool.n; i++) t->pool.buffer[i].busy = 0;
    vv_arena_reset(&t->host);
    t->depth = 0;
    t->replaying = 0;
    t->recording = (t->flags & VV_RECORD) != 0;
    t->memory.activations = t->memory.gradients = 0;
    t->memory.flops_forward = t->memory.flops_backward = 0;
    t->flops = &t->memory.flops_forward;
}

void vv_tape_free(vv_tape *t)
{
    if (!t) return;
    for (int d = 0; d < MAX_DEPTH; d++) vv_stack_free(&t->stack[d]);
    vv_pool_free(&t->pool);
    vv_arena_free(&t->host);
    free(t->node);
    free(t);
}

const vv_memory *vv_tape_memory(const vv_tape *t) { return &t->memory; }
int vv_is_dry(const vv_tape *t) { return (t->flags & VV_DRY) != 0; }

int vv_runs(vv_tape *t, double flops)
{
    *t->flops += flops;
    return !vv_is_dry(t) && t->error.status == VV_OK;
}

void vv_trace(vv_tape *t, vv_trace_fn fn, void *ctx)
{
    t->trace = fn;
    t->trace_ctx = ctx;
}

static void tell(vv_tape *t, vv_event event, const vv_tensor *x)
{
    if (t->trace && x->name && !(t->replaying && event != VV_EVENT_GRAD)) t->trace(t->trace_ctx, event, x);
}

/* ---- errors ---------------------------------------------------------------------------------------------------------- */
vv_status vv_tape_status(const vv_tape *t, vv_error *err)
{
    if (t->error.status != VV_OK && err && err->status == VV_OK) *err = t->error;
    return t->error.status;
}

vv_tensor *vv_tape_fail(vv_tape *t, vv_status s, const char *fmt, ...)
{
    char text[sizeof t->error.msg];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    vv_fail(&t->error, s, "%s", text);
    return NULL;
}

int vv_ready(const vv_tape *t, int count, ...)
{
    int ok = t->error.status == VV_OK;
    va_list ap;
    va_start(ap, count);
    for (int i = 0; i < count; i++) ok = va_arg(ap, const vv_tensor *) != NULL && ok;
    va_end(ap);
    return ok;
}

int vv_expect(vv_tape *t, const char *op, const char *name, int ok, const char *rule, const char *letters, ...)
{
    if (ok) return 1;
    const vv_tensor here = {.name = name, .scope = t->scope};
    char full[VV_NAME_MAX], shapes[256] = "";
    size_t used = 0;
    va_list ap;
    va_start(ap, letters);
    for (const char *l = letters; *l; l += strcspn(l, " "), l += *l == ' ') {
        const vv_tensor *x = va_arg(ap, const vv_tensor *);
        used += (size_t)snprintf(shapes + used, sizeof shapes - used, "%s%.*s [", used ? ", " : "",
                                 (int)strcspn(l, " "), l);
        for (int i = 0; x && i < x->ndim && used < sizeof shapes; i++)
            used += (size_t)snprintf(shapes + used, sizeof shapes - used, "%s%lld", i ? "," : "", (long long)x->dim[i]);
        if (used < sizeof shapes) used += (size_t)snprintf(shapes + used, sizeof shapes - used, "]");
        if (used >= sizeof shapes) break;
    }
    va_end(ap);
    vv_tape_fail(t, VV_USAGE, "%s: %s: expected %s; got %s", vv_name(&here, full), op, rule, shapes);
    return 0;
}

static void ask_backend(vv_tape *t, const vv_tensor *x)
{
    char full[VV_NAME_MAX];
    const char *what = vvb_error();
    if (what) vv_tape_fail(t, VV_MEMORY, "%s: %s", vv_name(x, full), what);
}

static void *no_memory(vv_tape *t, const char *name)
{
    const vv_tensor here = {.name = name, .scope = t->scope};
    char full[VV_NAME_MAX];
    (void)vvb_error();
    return vv_tape_fail(t, VV_MEMORY, "%s: out of memory", vv_name(&here, full));
}

/* ---- names ------------------------------------------------------------------------------------------------------------ */
void vv_enter(vv_tape *t, const char *name, int64_t index)
{
    vv_scope *s = vv_arena_get(&t->host, sizeof *s);
    if (!s) {
        no_memory(t, name);
        return;
    }
    *s = (vv_scope){t->scope, name, index};
    t->scope = s;
}

void vv_leave(vv_tape *t)
{
    if (t->scope && t->error.status == VV_OK)
        t->scope = t->scope->parent; /* after an error the place is kept for messages */
}

static size_t put(char *buf, size_t used, const char *word)
{
    const char *dot = used && word[0] && word[0] != '#' ? "." : "";
    const int n = snprintf(buf + used, VV_NAME_MAX - used, "%s%s", dot, word);
    return n < 0 || used + (size_t)n >= VV_NAME_MAX ? VV_NAME_MAX - 1 : used + (size_t)n;
}

static size_t put_scope(char *buf, const vv_scope *s)
{
    if (!s) return 0;
    size_t used = put(buf, put_scope(buf, s->parent), s->name);
    if (s->index >= 0) {
        char number[24];
        snprintf(number, sizeof number, "%lld", (long long)s->index);
        used = put(buf, used, number);
    }
    return used;
}

const char *vv_name(const vv_tensor *x, char *buf)
{
    buf[0] = 0;
    put(buf, put_scope(buf, x->scope), x->name ? x->name : "");
    return buf;
}

/* ---- tensors ------------------------------------------------------------------------------------------------------------ */
static void *activation_memory(vv_tape *t, int64_t bytes)
{
    t->memory.activations += (bytes + VV_ALIGN - 1) / VV_ALIGN * VV_ALIGN;
    if (t->memory.activations > t->memory.activations_peak) t->memory.activations_peak = t->memory.activations;
    return vv_is_dry(t) ? NULL : vv_stack_get(&t->stack[t->depth], bytes);
}

static vv_tensor *new_tensor(vv_tape *t, const char *name, vv_kind kind, int ndim, const int64_t *dim)
{
    vv_tensor *x = vv_arena_get(&t->host, sizeof *x);
    if (!x) return no_memory(t, name);
    *x = (vv_tensor){.name = name, .scope = t->scope, .kind = kind, .ndim = ndim, .n = 1};
    for (int i = 0; i < ndim; i++) {
        x->dim[i] = dim[i];
        x->n = vv_mul(x->n, dim[i]);
    }
    return x;
}

static vv_tensor *make(vv_tape *t, const char *name, vv_kind kind, int ndim, const int64_t *dim)
{
    vv_tensor *x = new_tensor(t, name, kind, ndim, dim);
    if (!x) return NULL;
    const int64_t bytes = vv_mul(x->n, kind == VV_INTS ? sizeof(int32_t) : sizeof(vv_real));
    if (bytes < 0) return no_memory(t, name);
    x->data = activation_memory(t, bytes);
    if (!x->data && !vv_is_dry(t)) return no_memory(t, name);
    return x;
}

vv_tensor *vv_new(vv_tape *t, const char *name, int ndim, const int64_t *dim)
{
    return make(t, name, VV_REALS, ndim, dim);
}
vv_tensor *vv_saved(vv_tape *t, int64_t n) { return make(t, NULL, VV_REALS, 1, &n); }

vv_tensor *vv_indices(vv_tape *t, const int32_t *idx, int64_t n)
{
    vv_tensor *x = make(t, NULL, VV_INTS, 1, &n);
    if (x && x->data) vvb_upload(x->data, idx, n * (int64_t)sizeof *idx);
    return x;
}

vv_tensor *vv_alias(vv_tape *t, const char *name, const vv_tensor *x, int ndim, const int64_t *dim)
{
    vv_tensor *y = new_tensor(t, name, x->kind, ndim, dim);
    if (y) y->data = x->data;
    return y;
}

vv_tensor *vv_input(vv_tape *t, const char *name, vv_kind kind, int ndim, const int64_t *dim, const void *data)
{
    if (!vv_ready(t, 0)) return NULL;
    vv_tensor *x = make(t, name, kind, ndim, dim);
    if (!x) return NULL;
    if (data && x->data)
        vvb_upload(x->data, data, x->n * (int64_t)(kind == VV_INTS ? sizeof(int32_t) : sizeof(vv_real)));
    tell(t, VV_EVENT_IN, x);
    return x;
}

const void *vv_keep(vv_tape *t, const void *host, int64_t bytes)
{
    void *copy = vv_arena_get(&t->host, (size_t)bytes);
    if (!copy) return no_memory(t, "");
    return memcpy(copy, host, (size_t)bytes);
}

/* ---- recording ----------------------------------------------------------------------------------------------------------- */
static void record(vv_tape *t, const vv_node *nd)
{
    if (t->n == t->cap) {
        const int64_t cap = t->cap ? 2 * t->cap : 256;
        vv_node *more = realloc(t->node, (size_t)cap * sizeof *more);
        if (!more) {
            no_memory(t, "");
            return;
        }
        t->node = more;
        t->cap = cap;
    }
    t->node[t->n++] = *nd;
}

/* Does nothing but where a precision is emulated: the one place where results and gradients are rounded. */
static void round_values(const vv_tensor *x, vv_real *values)
{
    if (values && x->kind == VV_REALS && x->n > 1) vvb_round(values, x->n);
}

vv_tensor *vv_done(vv_tape *t, vv_node nd)
{
    round_values(nd.out, nd.out->data);
    ask_backend(t, nd.out);
    int wanted = 0;
    for (int i = 0; i < VV_MAX_IN; i++) wanted |= nd.in[i] && nd.in[i]->needs_grad;
    nd.out->needs_grad = wanted;
    tell(t, VV_EVENT_ACT, nd.out);
    if (wanted && t->recording) record(t, &nd);
    return t->error.status == VV_OK ? nd.out : NULL;
}

/* ---- gradients ------------------------------------------------------------------------------------------------------------ */
static void release_grad(vv_tape *t, vv_tensor *x)
{
    if (!x->has_grad || x->is_param) return;
    t->memory.gradients -= x->n * (int64_t)sizeof(vv_real);
    vv_pool_release(&t->pool, x->grad);
    x->grad = NULL;
    x->has_grad = 0;
}

static void give_grad(vv_tape *t, vv_tensor *x)
{
    const int64_t bytes = x->n * (int64_t)sizeof(vv_real);
    if (!vv_is_dry(t) && !(x->grad = vv_pool_get(&t->pool, bytes))) {
        no_memory(t, x->name);
        return;
    }
    x->has_grad = 1;
    t->memory.gradients += bytes;
    if (t->memory.gradients > t->memory.gradients_peak) t->memory.gradients_peak = t->memory.gradients;
}

vv_into vv_grad(vv_tape *t, vv_tensor *x)
{
    if (!x || !x->needs_grad || t->error.status != VV_OK) return (vv_into){NULL, 0};
    if (x->is_param) {
        if (!vv_param_grad(t->params, x, vv_is_dry(t))) no_memory(t, x->name);
        return (vv_into){x->grad, 1};
    }
    const int acc = x->has_grad;
    if (!acc) give_grad(t, x);
    return (vv_into){x->grad, acc};
}

void vv_grad_hand_over(vv_tape *t, vv_tensor *x, vv_tensor *y)
{
    if (!x->needs_grad) return;
    if (!x->is_param && !x->has_grad) {
        x->grad = y->grad;
        x->has_grad = 1;
        y->grad = NULL;
        y->has_grad = 0;
        return;
    }
    const vv_into dx = vv_grad(t, x);
    VV_RUN(t, 2 * x->n, vvb_axpy(dx.p, y->grad, 1, x->n));
}

static void run_backward(vv_tape *t, int64_t from)
{
    while (t->n > from && t->error.status == VV_OK) {
        vv_node nd = t->node[--t->n]; /* a copy: a segment that runs again records behind it */
        if (!nd.out->has_grad) continue;
        round_values(nd.out, nd.out->grad);
        if (!nd.f) tell(t, VV_EVENT_GRAD, nd.out); /* a segment's output is told by the node that made it */
        nd.op->backward(t, &nd);
        ask_backend(t, nd.out);
        release_grad(t, nd.out);
    }
}

void vv_backward(vv_tape *t, vv_tensor *loss, double scale)
{
    if (!vv_ready(t, 1, loss)) return;
    if (!vv_expect(t, "backward", loss->name, loss->n == 1, "one number", "loss", loss)) return;
    if (!loss->needs_grad) return;
    give_grad(t, loss);
    const vv_real seed = (vv_real)scale;
    if (loss->grad) vvb_upload(loss->grad, &seed, sizeof seed);
    t->flops = &t->memory.flops_backward;
    run_backward(t, 0);
    t->flops = &t->memory.flops_forward;
    for (int64_t i = 0; t->params && i < t->params->n; i++)
        if (t->params->at[i]->has_grad) round_values(t->params->at[i], t->params->at[i]->grad);
}

/* ---- segments ------------------------------------------------------------------------------------------------------------- */
static void run_again(vv_tape *t, vv_node *nd);
static const vv_opdef SEGMENT = {"segment", run_again};

static int descend(vv_tape *t)
{
    if (t->depth + 1 == MAX_DEPTH) {
        vv_tape_fail(t, VV_USAGE, "segment: more than %d within each other", MAX_DEPTH - 1);
        return 0;
    }
    t->depth++;
    return 1;
}

static void ascend(vv_tape *t, int64_t activations)
{
    vv_stack_reset(&t->stack[t->depth]);
    t->memory.activations = activations;
    t->depth--;
}

vv_tensor *vv_segment(vv_tape *t, vv_segment_fn f, const void *ctx, size_t size, vv_tensor *x)
{
    if (!vv_ready(t, 1, x)) return NULL;
    if (t->recording && !(t->flags & VV_CHECKPOINT)) return f(t, ctx, x);
    if (!descend(t)) return NULL;
    const vv_scope *scope = t->scope;
    const int64_t activations = t->memory.activations;
    const int recording = t->recording;
    t->recording = 0;
    vv_tensor *inner = f(t, ctx, x);
    t->recording = recording;
    t->scope = t->error.status == VV_OK ? scope : t->scope;
    if (!inner) return NULL;
    const int64_t inside = t->memory.activations;
    t->depth--; /* the output goes one stack up, where it stays */
    vv_tensor *y = make(t, inner->name, VV_REALS, inner->ndim, inner->dim);
    t->depth++;
    const int64_t kept = t->memory.activations - inside;
    if (y && !vv_is_dry(t)) vvb_copy(y->data, inner->data, y->n * (int64_t)sizeof(vv_real));
    ascend(t, activations + kept);
    void *copy = vv_arena_get(&t->host, size);
    if (!y || !copy) return no_memory(t, inner->name);
    y->scope = inner->scope;
    y->needs_grad = inner->needs_grad;
    if (y->needs_grad && t->recording)
        record(t,
               &(vv_node){.op = &SEGMENT, .in = {x}, .out = y, .f = f, .ctx = memcpy(copy, ctx, size), .scope = scope});
    return t->error.status == VV_OK ? y : NULL;
}

static void run_again(vv_tape *t, vv_node *nd)
{
    const int64_t mark = t->n, activations = t->memory.activations;
    const vv_scope *scope = t->scope;
    if (!descend(t)) return;
    t->scope = nd->scope;
    t->replaying++;
    vv_tensor *y = nd->f(t, nd->ctx, nd->in[0]);
    if (y) {
        y->grad = nd->out->grad;
        y->has_grad = 1;
        nd->out->grad = NULL;
        nd->out->has_grad = 0;
        run_backward(t, mark);
    }
    t->replaying--;
    t->scope = scope;
    ascend(t, activations);
}
