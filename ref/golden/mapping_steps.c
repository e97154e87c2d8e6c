/* The steps of a mapping's rule: each takes a tensor's numbers and leaves them in another shape or order. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/mapping_parts.h"

static vv_status wrong(const vv_candidate_tensor *t, const char *where, const char *expected, vv_error *err)
{
    char shape[200];
    return vv_fail(err, VV_FILE, "%s: %s: expected %s; found %s", where, t->key, expected,
                   vv_shape_text(t->e.shape, t->e.ndim, shape, sizeof shape));
}

vv_status vv_map_load(const vv_candidate *c, vv_candidate_tensor *t, vv_error *err)
{
    if (t->values) return VV_OK;
    VV_TRY(vv_candidate_read(&t->values, c, t, err));
    if (vv_dtype_is_real(t->e.dtype)) t->e.dtype = VV_DT_F64;
    return VV_OK;
}

/* elements before and after the axis */
static void sides(const vv_candidate_tensor *t, int axis, int64_t *outer, int64_t *inner)
{
    *outer = *inner = 1;
    for (int i = 0; i < t->e.ndim; i++) *(i < axis ? outer : inner) *= i == axis ? 1 : t->e.shape[i];
}

static void take_over(vv_candidate_tensor *t, double *values)
{
    free(t->values);
    t->values = values;
}

/* ---- join and split ---------------------------------------------------------------------------------------------------- */
vv_status vv_map_join(vv_candidate_tensor *a, const vv_candidate_tensor *b, int axis, const char *where, vv_error *err)
{
    int same = a->e.ndim == b->e.ndim && axis < a->e.ndim;
    for (int i = 0; same && i < a->e.ndim; i++) same = i == axis || a->e.shape[i] == b->e.shape[i];
    if (!same) return wrong(b, where, "the shape of the tensors that it is joined with", err);
    int64_t outer, inner;
    sides(a, axis, &outer, &inner);
    const int64_t na = a->e.shape[axis] * inner, nb = b->e.shape[axis] * inner;
    double *v = vv_calloc(a->e.n + b->e.n, sizeof *v);
    if (!v) return vv_no_memory(err, a->key);
    for (int64_t o = 0; o < outer; o++) {
        memcpy(v + o * (na + nb), a->values + o * na, (size_t)na * sizeof *v);
        memcpy(v + o * (na + nb) + na, b->values + o * nb, (size_t)nb * sizeof *v);
    }
    take_over(a, v);
    a->e.shape[axis] += b->e.shape[axis];
    a->e.n += b->e.n;
    return VV_OK;
}

vv_status vv_map_piece(vv_candidate_tensor *piece, const vv_candidate_tensor *t, int axis, int64_t first, int64_t size,
                       const char *where, vv_error *err)
{
    if (axis >= t->e.ndim || first < 0 || size < 0 || size > t->e.shape[axis] - first)
        return wrong(t, where, "an axis that has all the pieces", err);
    int64_t outer, inner;
    sides(t, axis, &outer, &inner);
    piece->e = t->e;
    piece->fits = t->fits;
    piece->e.shape[axis] = size;
    piece->e.n = outer * size * inner;
    if (!(piece->values = vv_calloc(piece->e.n, sizeof *piece->values))) return vv_no_memory(err, t->key);
    for (int64_t o = 0; o < outer; o++)
        memcpy(piece->values + o * size * inner, t->values + (o * t->e.shape[axis] + first) * inner,
               (size_t)(size * inner) * sizeof *piece->values);
    return VV_OK;
}

/* ---- steps ------------------------------------------------------------------------------------------------------------------ */
typedef struct {
    const vv_candidate *c;
    vv_candidate_tensor *t;
    const json_t *arg;
    const vv_golden *g;
    const char *where;
} step_args;

static int64_t item(const json_t *list, int i) { return json_integer_value(json_array_get(list, (size_t)i)); }

static vv_status reshape(const step_args *a, vv_error *err)
{
    vv_candidate_tensor *t = a->t;
    int64_t shape[VV_ST_MAXDIM], known = 1;
    const int n = (int)json_array_size(a->arg);
    int open = -1, opens = 0;
    for (int i = 0; i < n; i++) {
        shape[i] = item(a->arg, i);
        if (shape[i] == 0) shape[i] = i < t->e.ndim ? t->e.shape[i] : -2;
        if (shape[i] == -1) {
            open = i;
            opens++;
        } else known = vv_mul(known, shape[i]);
    }
    if (opens == 1) {
        shape[open] = known > 0 ? t->e.n / known : -1;
        known = vv_mul(known, shape[open]);
    }
    if (opens > 1 || known != t->e.n) return wrong(t, a->where, "a tensor that can be reshaped so", err);
    memcpy(t->e.shape, shape, sizeof *shape * (size_t)n);
    t->e.ndim = n;
    return VV_OK;
}

static vv_status permuted(vv_candidate_tensor *t, const int *order, const char *where, vv_error *err)
{
    int64_t shape[VV_ST_MAXDIM], stride[VV_ST_MAXDIM], at[VV_ST_MAXDIM] = {0};
    int used = 0;
    for (int i = 0; i < t->e.ndim; i++) {
        if (order[i] < 0 || order[i] >= t->e.ndim || used & 1 << order[i])
            return wrong(t, where, "axes once each", err);
        used |= 1 << order[i];
        shape[i] = t->e.shape[order[i]];
        stride[i] = 1;
        for (int j = order[i] + 1; j < t->e.ndim; j++) stride[i] *= t->e.shape[j];
    }
    double *v = vv_calloc(t->e.n, sizeof *v);
    if (!v) return vv_no_memory(err, t->key);
    for (int64_t k = 0; k < t->e.n; k++) {
        int64_t from = 0;
        for (int i = 0; i < t->e.ndim; i++) from += at[i] * stride[i];
        v[k] = t->values[from];
        for (int i = t->e.ndim - 1; i >= 0 && ++at[i] == shape[i]; i--) at[i] = 0;
    }
    take_over(t, v);
    memcpy(t->e.shape, shape, sizeof *shape * (size_t)t->e.ndim);
    return VV_OK;
}

static vv_status permute(const step_args *a, vv_error *err)
{
    int order[VV_ST_MAXDIM];
    if ((int)json_array_size(a->arg) != a->t->e.ndim)
        return wrong(a->t, a->where, "as many axes as \"permute\" has", err);
    for (int i = 0; i < a->t->e.ndim; i++) {
        const int64_t axis = item(a->arg, i);
        order[i] = axis < 0 || axis > VV_ST_MAXDIM ? -1 : (int)axis;
    }
    return permuted(a->t, order, a->where, err);
}

static vv_status transpose(const step_args *a, vv_error *err)
{
    const int n = a->t->e.ndim;
    int order[VV_ST_MAXDIM] = {0, 1, 2, 3, 4, 5, 6, 7};
    if (n < 2) return wrong(a->t, a->where, "at least two axes", err);
    order[n - 1] = n - 2;
    order[n - 2] = n - 1;
    return permuted(a->t, order, a->where, err);
}

static vv_status nchw(const step_args *a, vv_error *err)
{
    static const int order[4] = {0, 3, 1, 2};
    return a->t->e.ndim == 4 ? permuted(a->t, order, a->where, err) : wrong(a->t, a->where, "[B,H,W,C]", err);
}

static vv_status unpad(const step_args *a, vv_error *err)
{
    vv_candidate_tensor *t = a->t;
    const int64_t axis = item(a->arg, 0), padded = item(a->arg, 1), size = item(a->arg, 2);
    if (axis < 0 || axis >= t->e.ndim || padded < 1 || size < 1 || size > padded || t->e.shape[axis] % padded)
        return wrong(t, a->where, "an axis of whole heads", err);
    int64_t outer, inner;
    sides(t, (int)axis, &outer, &inner);
    const int64_t heads = t->e.shape[axis] / padded;
    outer *= heads;
    for (int64_t o = 0; o < outer; o++) /* forward and to the left */
        memmove(t->values + o * size * inner, t->values + o * padded * inner,
                (size_t)(size * inner) * sizeof *t->values);
    t->e.shape[axis] = heads * size;
    t->e.n = outer * size * inner;
    return VV_OK;
}

static vv_status scale(const step_args *a, vv_error *err)
{
    (void)err;
    for (int64_t i = 0; i < a->t->e.n; i++) a->t->values[i] *= json_number_value(a->arg);
    return VV_OK;
}

static vv_status cast(const step_args *a, vv_error *err)
{
    const char *type = json_string_value(a->arg);
    (void)err;
    for (int64_t i = 0; i < a->t->e.n; i++) {
        const double x = a->t->values[i];
        a->t->values[i] = !strcmp(type, "F32")   ? (double)(float)x
                          : !strcmp(type, "F16") ? (double)vv_f16_to_f32(vv_f64_to_f16(x))
                                                 : (double)vv_bf16_to_f32(vv_f64_to_bf16(x));
    }
    return VV_OK;
}

static vv_status order(const step_args *a, vv_error *err)
{
    vv_candidate_tensor *t = a->t;
    int64_t *place = NULL;
    const int64_t rows = t->e.ndim > 0 ? t->e.shape[0] : 0;
    VV_TRY(vv_golden_raster(&place, a->g, rows, err));
    if (!place) return wrong(t, a->where, "as many rows as an input grid_thw of the golden file has tokens", err);
    const int64_t width = t->e.n / vv_max(rows, 1);
    double *v = vv_calloc(t->e.n, sizeof *v);
    for (int64_t i = 0; v && i < rows; i++)
        memcpy(v + i * width, t->values + place[i] * width, (size_t)width * sizeof *v);
    free(place);
    if (!v) return vv_no_memory(err, t->key);
    take_over(t, v);
    return VV_OK;
}

static vv_status fit(const step_args *a, vv_error *err)
{
    (void)err;
    a->t->fits = 1;
    return VV_OK;
}

/* ---- their table --------------------------------------------------------------------------------------------------------- */
static int whole_numbers(const json_t *v, size_t least, size_t most)
{
    size_t i;
    const json_t *x;
    if (json_array_size(v) < least || json_array_size(v) > most) return 0;
    json_array_foreach((json_t *)v, i, x) if (!json_is_integer(x)) return 0;
    return 1;
}
static int is_shape(const json_t *v) { return whole_numbers(v, 1, VV_ST_MAXDIM); }
static int is_three(const json_t *v) { return whole_numbers(v, 3, 3); }
static int is_true(const json_t *v) { return json_is_true(v); }
static int is_number(const json_t *v) { return json_is_number(v); }
static int is_raster(const json_t *v) { return json_is_string(v) && !strcmp(json_string_value(v), "raster"); }
static int is_type(const json_t *v)
{
    const char *s = json_string_value(v);
    return s && (!strcmp(s, "F32") || !strcmp(s, "F16") || !strcmp(s, "BF16"));
}

static const struct {
    const char *name, *expected;
    int (*legal)(const json_t *value);
    vv_status (*run)(const step_args *a, vv_error *err);
    int data; /* needs the numbers */
} steps[] = {{"reshape", "a list of 1 to 8 whole numbers", is_shape, reshape, 1},
             {"permute", "a list of axes", is_shape, permute, 1},
             {"transpose", "true", is_true, transpose, 1},
             {"nchw", "true", is_true, nchw, 1},
             {"unpad", "[axis, padded, size]", is_three, unpad, 1},
             {"scale", "a number", is_number, scale, 1},
             {"cast", "\"F32\", \"F16\" or \"BF16\"", is_type, cast, 1},
             {"order", "\"raster\"", is_raster, order, 1},
             {"fit", "true", is_true, fit, 0}};
enum { STEPS = sizeof steps / sizeof *steps };

static int find(const json_t *step, const json_t **arg)
{
    for (int i = 0; json_object_size(step) == 1 && i < STEPS; i++)
        if ((*arg = json_object_get(step, steps[i].name))) return i;
    return -1;
}

vv_status vv_map_step_check(const json_t *step, const char *where, vv_error *err)
{
    const json_t *arg = NULL;
    char found[80];
    const int i = find(step, &arg);
    if (i < 0)
        return vv_fail(err, VV_FILE,
                       "%s: do: expected {\"reshape\", \"permute\", \"transpose\", \"nchw\", \"unpad\", \"scale\", "
                       "\"cast\", \"order\" or \"fit\": value}; found %s",
                       where, vv_json_found(step, found, sizeof found));
    if (!steps[i].legal(arg))
        return vv_fail(err, VV_FILE, "%s: do: %s: expected %s; found %s", where, steps[i].name, steps[i].expected,
                       vv_json_found(arg, found, sizeof found));
    return VV_OK;
}

vv_status vv_map_step(const vv_candidate *c, vv_candidate_tensor *t, const json_t *step, const vv_golden *g,
                      const char *where, vv_error *err)
{
    step_args a = {c, t, NULL, g, where};
    const int i = find(step, &a.arg);
    if (steps[i].data) VV_TRY(vv_map_load(c, t, err));
    return steps[i].run(&a, err);
}
