/* Small tapes whose numbers can be computed by hand: tensors from literals, downloads, a list of events as text. */
#ifndef VVT_SMALL_H
#define VVT_SMALL_H

#include "ops/ops.h"
#include "vvt.h"

#define DIM(...) ((const int64_t[]){__VA_ARGS__})

/* A parameter holding first, first + step, first + 2 step ... */
static inline vv_tensor *small_param(vv_params *ps, const char *name, int ndim, const int64_t *dim, double first,
                                     double step)
{
    vv_error err = {0};
    vv_tensor *x = vv_param_new(ps, name, ndim, dim, &err);
    ck_assert_msg(x != NULL, "%s", err.msg);
    vv_real *v = vv_calloc(x->n, sizeof *v);
    ck_assert_ptr_nonnull(v);
    for (int64_t i = 0; i < x->n; i++) v[i] = (vv_real)(first + step * (double)i);
    if (x->data) vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
    free(v);
    return x;
}

/* An input of the same kind. */
static inline vv_tensor *small_input(vv_tape *t, const char *name, int ndim, const int64_t *dim, double first,
                                     double step)
{
    int64_t n = 1;
    for (int i = 0; i < ndim; i++) n *= dim[i];
    vv_real *v = vv_calloc(n, sizeof *v);
    ck_assert_ptr_nonnull(v);
    for (int64_t i = 0; i < n; i++) v[i] = (vv_real)(first + step * (double)i);
    vv_tensor *x = vv_input(t, name, VV_REALS, ndim, dim, v);
    free(v);
    return x;
}

/* n numbers of the backend in fresh host memory. */
static inline vv_real *small_get(const void *p, int64_t n)
{
    vv_real *v = vv_calloc(n, sizeof *v);
    ck_assert_ptr_nonnull(v);
    ck_assert_ptr_nonnull(p);
    vvb_download(v, p, n * (int64_t)sizeof *v);
    return v;
}

/* The backend's numbers are exactly these: for sums of small whole numbers. */
static inline void small_expect(const void *p, int64_t n, const double *want)
{
    vv_real *v = small_get(p, n);
    for (int64_t i = 0; i < n; i++)
        ck_assert_msg((double)v[i] == want[i], "at %d: %.17g, expected %.17g", (int)i, (double)v[i], want[i]);
    free(v);
}

static inline void small_ok(const vv_tape *t)
{
    vv_error err = {0};
    ck_assert_msg(vv_tape_status(t, &err) == VV_OK, "%s", err.msg);
}

/* A vv_trace_fn: appends "act name[2,3] " and so on to a text. */
typedef struct {
    char text[8192];
    size_t used;
} small_events;

static inline void small_event(void *ctx, vv_event event, const vv_tensor *x)
{
    static const char *const word[] = {"in", "act", "grad"};
    small_events *e = ctx;
    char name[VV_NAME_MAX];
    e->used += (size_t)snprintf(e->text + e->used, sizeof e->text - e->used, "%s %s[", word[event], vv_name(x, name));
    for (int i = 0; i < x->ndim; i++)
        e->used +=
            (size_t)snprintf(e->text + e->used, sizeof e->text - e->used, "%s%lld", i ? "," : "", (long long)x->dim[i]);
    e->used += (size_t)snprintf(e->text + e->used, sizeof e->text - e->used, "]\n");
    ck_assert_uint_lt(e->used, sizeof e->text);
}

#endif
