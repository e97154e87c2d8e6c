/* Every operation alone, forward and backward:
 *   {"kind": "layers", "layers": [{"op": "conv2d", "x": [1,5,7,3], "weight": [4,3,3,3], "stride": 2, "pad": 1}, ...]}
 * A layer names its operation (those of ops/ops.h), the shapes of its operands and its settings. The n-th of an operation is called
 * op.n: operands x, weight ... of N(0,1) are conv2d.0.x, conv2d.0.weight ..., the result conv2d.0.y, and the gradients are those of sum
 * y cotangent. "values": {"x": [...]} gives an operand's numbers, all of them. "activation": true: operands but weights are copied
 * first, so that their gradients are those of activations, which are set, not those of parameters, which are added to. "magnitude":
 * {"x": 1} says how large the terms are of a gradient (or of y) that is truly zero, as a norm of one number has: its "scale". Feature
 * maps are [B,H,W,C] in the case's file, as in ops.h, and [B,C,H,W] in the recording. Where the error of a float build has a proven
 * bound, the entry says it ("bound"). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/case.h"

enum { OPERANDS = 4, LISTS = 3 };

typedef struct {
    const json_t *json;
    char where[300], name[64];
    vv_tape *t;
    vv_tensor *param[OPERANDS], *in[OPERANDS]; /* NULL: an optional one that is not there. in: param, or a copy of it */
    int activation;
    int32_t *list[LISTS]; /* to be freed */
    double *weights;
    vv_error err; /* the first thing wrong with the settings */
} layer;

/* ---- settings: all of them must be there ------------------------------------------------------------------------------------ */
static int64_t whole(layer *l, const char *key, int64_t lo, int64_t hi)
{
    int64_t v = lo;
    if (vv_json_need(l->json, l->where, key, &l->err) == VV_OK)
        l->err.status = vv_json_int(l->json, l->where, key, lo, hi, &v, &l->err);
    return v;
}

static double number(layer *l, const char *key)
{
    double v = 0;
    if (vv_json_need(l->json, l->where, key, &l->err) == VV_OK)
        l->err.status = vv_json_real(l->json, l->where, key, -1e9, 1e9, &v, &l->err);
    return v;
}

static const json_t *array(layer *l, const char *key, int64_t n)
{
    const json_t *a = NULL;
    if (l->err.status != VV_OK || vv_json_need(l->json, l->where, key, &l->err) != VV_OK) return NULL;
    l->err.status = vv_json_array(l->json, l->where, key, &a, &l->err);
    if (a && n >= 0 && (int64_t)json_array_size(a) != n) {
        vv_fail(&l->err, VV_FILE, "%s: %s: expected %lld numbers; found %d", l->where, key, (long long)n,
                (int)json_array_size(a));
        return NULL;
    }
    return a;
}

/* int32 numbers; n < 0: any count; *found becomes the count. Freed with the layer. */
static int32_t *integers(layer *l, const char *key, int64_t n, int64_t *found)
{
    const json_t *a = array(l, key, n);
    int k = 0;
    while (k < LISTS - 1 && l->list[k]) k++;
    int32_t *v = a ? l->list[k] = vv_calloc((int64_t)json_array_size(a), sizeof *v) : NULL;
    if (a && !v) (void)vv_no_memory(&l->err, l->where);
    for (size_t i = 0; v && i < json_array_size(a); i++) v[i] = (int32_t)json_integer_value(json_array_get(a, i));
    if (found) *found = (int64_t)json_array_size(a);
    return v;
}

/* ---- operations ----------------------------------------------------------------------------------------------------------------- */
/* Operations that work in place, or need an activation, get a copy of the operand. */
static vv_tensor *copy(layer *l, int i) { return l->in[i] ? vv_scale(l->t, NULL, l->in[i], 1) : NULL; }

static vv_tensor *linear(layer *l) { return vv_linear(l->t, "y", l->in[0], l->in[1], l->in[2], l->in[3]); }
static vv_tensor *layernorm(layer *l)
{
    return vv_layernorm(l->t, "y", l->in[0], l->in[1], l->in[2], number(l, "eps"));
}
static vv_tensor *rmsnorm(layer *l) { return vv_rmsnorm(l->t, "y", l->in[0], l->in[1], number(l, "eps")); }
static vv_tensor *unit_rows(layer *l) { return vv_unit_rows(l->t, "y", l->in[0], whole(l, "width", 1, 1 << 20)); }
static vv_tensor *silu_mul(layer *l) { return vv_silu_mul(l->t, "y", l->in[0], l->in[1]); }
static vv_tensor *gelu_erf(layer *l) { return vv_gelu(l->t, "y", l->in[0], VVB_GELU_ERF); }
static vv_tensor *gelu_quick(layer *l) { return vv_gelu(l->t, "y", l->in[0], VVB_GELU_QUICK); }
static vv_tensor *relu(layer *l) { return vv_relu(l->t, "y", l->in[0]); }
static vv_tensor *sigmoid(layer *l) { return vv_sigmoid(l->t, "y", l->in[0]); }
static vv_tensor *softplus(layer *l) { return vv_softplus(l->t, "y", l->in[0]); }
static vv_tensor *batched_matmul(layer *l) { return vv_batched_matmul(l->t, "y", l->in[0], l->in[1]); }
static vv_tensor *conv2d(layer *l)
{
    const int64_t stride = whole(l, "stride", 1, 64), pad = whole(l, "pad", 0, 64);
    return vv_conv2d(l->t, "y", l->in[0], l->in[1], l->in[2], stride, pad);
}
static vv_tensor *conv_transpose2d(layer *l) { return vv_conv_transpose2d(l->t, "y", l->in[0], l->in[1], l->in[2]); }
static vv_tensor *resize_bilinear(layer *l)
{
    const int32_t *size = integers(l, "size", 2, NULL);
    const int64_t corners = whole(l, "align_corners", 0, 1);
    return size ? vv_resize_bilinear(l->t, "y", l->in[0], size[0], size[1], (int)corners) : NULL;
}
static vv_tensor *rope(layer *l) /* positions: P numbers a row, row by row */
{
    const int64_t heads = whole(l, "heads", 1, 1024), D = whole(l, "width", 2, 1024), P = whole(l, "coordinates", 1, 2),
                  N = vv_rows(l->in[0]);
    const double theta = number(l, "theta");
    const int32_t *at = integers(l, "positions", N * P, NULL);
    return at ? vv_rope(l->t, "y", copy(l, 0), vv_rope_table(l->t, at, N, P, D, theta), heads) : NULL;
}
static vv_tensor *attention(layer *l) /* q, k, v; or q alone with all three side by side */
{
    vvb_attention_args a = {.H = whole(l, "heads", 1, 1024), .Hkv = whole(l, "kv_heads", 1, 1024)};
    a.scale = number(l, "scale");
    a.causal = (int)whole(l, "causal", 0, 1);
    a.cu_q = integers(l, "cu_q", -1, &a.S);
    if (l->in[1]) a.cu_k = integers(l, "cu_k", -1, &a.Sk);
    a.S--;
    a.Sk--;
    if (l->err.status != VV_OK || a.S < 0 || (a.cu_k && a.Sk != a.S)) {
        vv_fail(&l->err, VV_FILE, "%s: cu_q, cu_k: expected the prefix sums of as many lengths", l->where);
        return NULL;
    }
    return vv_attention(l->t, "y", copy(l, 0), copy(l, 1), copy(l, 2), &a);
}
static vv_tensor *gather_rows(layer *l)
{
    int64_t n = 0;
    const int32_t *index = integers(l, "index", -1, &n);
    return index ? vv_gather_rows(l->t, "y", l->in[0], index, n) : NULL;
}
static vv_tensor *merge_rows(layer *l)
{
    const int32_t *a = integers(l, "index_a", vv_rows(l->in[0]), NULL),
                  *b = integers(l, "index_b", vv_rows(l->in[1]), NULL);
    return a && b ? vv_merge_rows(l->t, "y", l->in[0], a, l->in[1], b) : NULL;
}
static vv_tensor *add(layer *l) { return vv_add(l->t, "y", l->in[0], l->in[1]); }
static vv_tensor *scale(layer *l) { return vv_scale(l->t, "y", l->in[0], number(l, "factor")); }
static vv_tensor *linear_cross_entropy(layer *l) /* weights: of the rows' terms */
{
    const int64_t R = vv_rows(l->in[0]);
    const int32_t *target = integers(l, "target", R, NULL);
    const json_t *a = array(l, "weights", R);
    vv_tensor *terms = NULL;
    if (!target || !a) return NULL;
    if (!(l->weights = vv_calloc(R, sizeof *l->weights))) (void)vv_no_memory(&l->err, l->where);
    for (int64_t i = 0; l->weights && i < R; i++) l->weights[i] = json_number_value(json_array_get(a, (size_t)i));
    return l->weights ? vv_linear_cross_entropy(l->t, "y", l->in[0], l->in[1], target, l->weights, R, &terms) : NULL;
}

static const struct {
    const char *op;
    vv_tensor *(*build)(layer *l);
    int sums; /* y and the gradients are sums of terms that are rounded so often before they are added; 0: they are not */
    int ulp;                       /* y has at most so many units in the last place (backend.h); 0: not said */
    const char *operand[OPERANDS]; /* a ? before it: may be absent */
    const char *setting[8];
} ops[] = {
    {"linear", linear, 1, 0, {"x", "weight", "?bias", "?residual"}, {0}},
    {"layernorm", layernorm, 0, 0, {"x", "weight", "bias"}, {"eps"}},
    {"rmsnorm", rmsnorm, 0, 0, {"x", "weight"}, {"eps"}},
    {"unit_rows", unit_rows, 0, 0, {"x"}, {"width"}},
    {"silu_mul", silu_mul, 0, 0, {"gate", "up"}, {0}},
    {"gelu_erf", gelu_erf, 0, 0, {"x"}, {0}},
    {"gelu_quick", gelu_quick, 0, 0, {"x"}, {0}},
    {"relu", relu, 0, 0, {"x"}, {0}},
    {"sigmoid", sigmoid, 0, 4, {"x"}, {0}},
    {"softplus", softplus, 0, 8, {"x"}, {0}},
    {"batched_matmul", batched_matmul, 1, 0, {"a", "b"}, {0}},
    {"conv2d", conv2d, 1, 0, {"x", "weight", "?bias"}, {"stride", "pad"}},
    {"conv_transpose2d", conv_transpose2d, 1, 0, {"x", "weight", "?bias"}, {0}},
    {"resize_bilinear", resize_bilinear, 0, 0, {"x"}, {"size", "align_corners"}},
    {"rope", rope, 0, 0, {"x"}, {"positions", "coordinates", "heads", "width", "theta"}},
    {"attention", attention, 0, 0, {"q", "?k", "?v"}, {"heads", "kv_heads", "cu_q", "cu_k", "scale", "causal"}},
    {"gather_rows", gather_rows, 1, 0, {"x"}, {"index"}},
    {"merge_rows", merge_rows, 1, 0, {"a", "b"}, {"index_a", "index_b"}},
    {"add", add, 1, 0, {"x", "other"}, {0}},
    {"scale", scale, 2, 0, {"x"}, {"factor"}},
    {"linear_cross_entropy", linear_cross_entropy, 0, 0, {"x", "weight"}, {"target", "weights"}},
};
enum { OPS = sizeof ops / sizeof *ops };

/* ---- one layer ------------------------------------------------------------------------------------------------------------------- */
static int is_weight(const char *operand) { return !strcmp(operand, "weight") || !strcmp(operand, "bias"); }

/* the numbers that "values" has for an operand, in place of v [n] */
static vv_status given(layer *l, const char *operand, vv_real *v, int64_t n)
{
    const json_t *values = NULL, *list = NULL;
    VV_TRY(vv_json_object(l->json, l->where, "values", &values, &l->err));
    if (values) VV_TRY(vv_json_array(values, l->where, operand, &list, &l->err));
    if (list && (int64_t)json_array_size(list) != n)
        return vv_fail(&l->err, VV_FILE, "%s: values: %s: expected %lld numbers; found %d", l->where, operand,
                       (long long)n, (int)json_array_size(list));
    for (size_t i = 0; list && i < json_array_size(list); i++) v[i] = (float)json_number_value(json_array_get(list, i));
    return VV_OK;
}

static vv_status make_operand(vv_case *c, layer *l, vv_params *ps, int i, const char *operand)
{
    const int optional = *operand == '?';
    const char *name = operand + optional;
    const json_t *shape = NULL;
    int64_t dim[VV_MAXDIM];
    char full[128];
    if (!optional) VV_TRY(vv_json_need(l->json, l->where, name, &l->err));
    VV_TRY(vv_json_array(l->json, l->where, name, &shape, &l->err));
    if (!shape) return VV_OK;
    const size_t n = json_array_size(shape);
    for (size_t k = 0; k < n && k < VV_MAXDIM; k++) dim[k] = json_integer_value(json_array_get(shape, k));
    for (size_t k = 0; k < n && k < VV_MAXDIM; k++)
        if (dim[k] < 1 || dim[k] > 4096) dim[0] = -1;
    if (n < 1 || n > 4 || dim[0] < 0)
        return vv_fail(&l->err, VV_FILE, "%s: %s: expected a shape of one to four sizes", l->where, name);
    snprintf(full, sizeof full, "%s.%s", l->name, name);
    vv_tensor *x = l->param[i] = vv_param_new(ps, full, (int)n, dim, &l->err);
    vv_real *v = x ? vv_case_normals(c, full, 0, 1, x->n) : NULL;
    if (!v) return vv_no_memory(&l->err, full);
    const vv_status s = given(l, name, v, x->n);
    vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
    free(v);
    vv_record_tensor(c->rec, is_weight(name) ? "w" : "in", full, x, 0);
    l->in[i] = l->activation && !is_weight(name) ? vv_scale(l->t, NULL, x, 1) : x;
    return s == VV_OK && !l->in[i] ? vv_tape_status(l->t, &l->err) : s;
}

/* the entry of an operand's gradient or of the result, with its magnitude */
static void mark(vv_case *c, layer *l, const char *kind, const char *full, const char *operand, const char *field)
{
    const json_t *sizes = NULL;
    double size = 0;
    vv_record_mark(c->rec, kind, full, field, json_true());
    if (vv_json_object(l->json, l->where, "magnitude", &sizes, &l->err) != VV_OK || !sizes) return;
    l->err.status = vv_json_real(sizes, l->where, operand, 0, 1e9, &size, &l->err);
    if (size > 0) vv_record_mark(c->rec, kind, full, "scale", json_real(size));
}

/* ---- proven bounds -------------------------------------------------------------------------------------------------------------- */
/* A sum of K products, in any order, fused with their additions or not, is off by at most K u / (1 - K u) sum |term| (Higham, Accuracy
 * and Stability of Numerical Algorithms, 2nd edition, section 3.1), u = 2^-24. Of operations that are such sums, forward and backward,
 * the layer runs twice more: on absolute values, cotangent included, which gives every sum |term|, and on ones, which gives every K. */
typedef struct {
    layer l;
    vv_params ps;
    vv_tensor *y;
} rerun;

static vv_real *host(const vv_tensor *x, int gradient, vv_error *err)
{
    vv_real *v = vv_calloc(x->n, sizeof *v);
    if (v) vvb_download(v, gradient ? x->grad : vv_f(x), x->n * (int64_t)sizeof *v);
    else (void)vv_no_memory(err, x->name);
    return v;
}

static void turn(vv_real *v, int64_t n, int ones)
{
    for (int64_t i = 0; v && i < n; i++) v[i] = ones ? 1 : v[i] < 0 ? -v[i] : v[i];
}

static vv_status run_again(rerun *r, const vv_case *c, const layer *of, int op, int ones)
{
    layer *l = &r->l;
    *l = (layer){.json = of->json, .t = vv_tape_new(&r->ps, VV_RECORD)};
    snprintf(l->where, sizeof l->where, "%s", of->where);
    if (!l->t) return vv_no_memory(&l->err, l->where);
    for (int i = 0; i < OPERANDS && l->err.status == VV_OK; i++) {
        const vv_tensor *x = of->param[i];
        vv_real *v = x ? host(x, 0, &l->err) : NULL;
        if (!v || !(l->in[i] = l->param[i] = vv_param_new(&r->ps, x->name, x->ndim, x->dim, &l->err))) {
            free(v);
            continue;
        }
        turn(v, x->n, ones);
        vvb_upload(l->in[i]->data, v, x->n * (int64_t)sizeof *v);
        free(v);
    }
    r->y = l->err.status == VV_OK ? ops[op].build(l) : NULL;
    if (l->err.status != VV_OK || vv_tape_status(l->t, &l->err) != VV_OK) return l->err.status;
    vv_real *w = vv_case_normals(c, "cotangent", 0, 1, r->y->n);
    if (!w) return vv_no_memory(&l->err, l->where);
    turn(w, r->y->n, ones);
    vv_backward(l->t, vv_dot(l->t, NULL, r->y, vv_input(l->t, NULL, VV_REALS, r->y->ndim, r->y->dim, w)), 1);
    free(w);
    return vv_tape_status(l->t, &l->err);
}

static void end_again(rerun *r)
{
    vv_tape_free(r->l.t);
    vv_params_free(&r->ps);
    for (int k = 0; k < LISTS; k++) free(r->l.list[k]);
}

/* the bound of the RMS error of x, from the sums of |term| and their counts; rounded to three digits, upwards */
static void mark_bound(vv_case *c, layer *l, const char *kind, const char *full, double squares, double most, int64_t n)
{
    const double u = 0x1p-24, bound = sqrt(squares / (double)vv_max(n, 1)) * u / (1 - most * u);
    char text[32];
    snprintf(text, sizeof text, "%.2e", 1.005 * bound);
    if (bound > 0 && l->err.status == VV_OK) vv_record_mark(c->rec, kind, full, "bound", json_real(strtod(text, NULL)));
}

static void bound_sum(vv_case *c, layer *l, int op, const char *kind, const char *full, const vv_tensor *gauge,
                      const vv_tensor *count)
{
    const int gradient = gauge->is_param;
    vv_real *g = host(gauge, gradient, &l->err), *k = host(count, gradient, &l->err);
    double squares = 0, most = 0;
    for (int64_t i = 0; g && k && i < gauge->n; i++) {
        const double rounded = fmax(1, fabs((double)k[i])) - 1 + ops[op].sums, e = rounded * (double)g[i];
        squares += e * e;
        most = fmax(most, rounded);
    }
    mark_bound(c, l, kind, full, squares, most, gauge->n);
    free(g);
    free(k);
}

static void bound_ulp(vv_case *c, layer *l, int op, const char *full, const vv_tensor *y)
{
    vv_real *v = host(y, 0, &l->err);
    double squares = 0;
    for (int64_t i = 0; v && i < y->n; i++) squares += (double)v[i] * (double)v[i];
    const double units = 2.0 * ops[op].ulp; /* a unit in the last place is at most 2 u |y| */
    mark_bound(c, l, "act", full, units * units * squares, 0, y->n);
    free(v);
}

static void prove(vv_case *c, layer *l, int op, const vv_tensor *y)
{
    rerun gauge = {.y = NULL}, count = {.y = NULL};
    char full[128];
    snprintf(full, sizeof full, "%s.y", l->name);
    if (ops[op].ulp) bound_ulp(c, l, op, full, y);
    if (!ops[op].sums || l->err.status != VV_OK) return;
    if (run_again(&gauge, c, l, op, 0) != VV_OK) l->err = gauge.l.err;
    else if (run_again(&count, c, l, op, 1) != VV_OK) l->err = count.l.err;
    else bound_sum(c, l, op, "act", full, gauge.y, count.y);
    for (int i = 0; i < OPERANDS && l->err.status == VV_OK && l->param[i]; i++)
        if (l->param[i]->has_grad)
            bound_sum(c, l, op, is_weight(l->param[i]->name + strlen(l->name) + 1) ? "dw" : "dact", l->param[i]->name,
                      gauge.l.param[i], count.l.param[i]);
    end_again(&gauge);
    end_again(&count);
}

static vv_status run_layer(vv_case *c, layer *l, vv_params *ps, int op)
{
    VV_TRY(vv_json_bool(l->json, l->where, "activation", &l->activation, &l->err));
    for (int i = 0; i < OPERANDS && ops[op].operand[i]; i++) VV_TRY(make_operand(c, l, ps, i, ops[op].operand[i]));
    vv_enter(l->t, l->name, -1);
    vv_tensor *y = ops[op].build(l);
    vv_tensor *loss = vv_case_dot(c, l->t, "cotangent", y);
    if (l->err.status == VV_OK) vv_backward(l->t, loss, 1);
    vv_leave(l->t);
    char full[128];
    snprintf(full, sizeof full, "%s.y", l->name);
    if (l->err.status == VV_OK && vv_tape_status(l->t, &l->err) == VV_OK) mark(c, l, "act", full, "y", "output");
    for (int i = 0; i < OPERANDS && l->param[i] && l->err.status == VV_OK; i++) {
        const char *name = l->param[i]->name, *operand = name + strlen(l->name) + 1,
                   *kind = is_weight(operand) ? "dw" : "dact";
        if (!l->param[i]->has_grad) continue;
        vv_record_tensor(c->rec, kind, name, l->param[i], 1);
        mark(c, l, kind, name, operand, "required");
    }
    if (l->err.status == VV_OK) prove(c, l, op, y);
    return l->err.status;
}

static vv_status check_layer(const layer *l, int *op, vv_error *err)
{
    const char *name = NULL, *keys[OPERANDS + 13] = {"op", "magnitude", "values", "activation"};
    int n = 4;
    VV_TRY(vv_json_need(l->json, l->where, "op", err));
    VV_TRY(vv_json_string(l->json, l->where, "op", &name, err));
    for (*op = 0; *op < OPS && strcmp(ops[*op].op, name) != 0;) ++*op;
    if (*op == OPS) return vv_fail(err, VV_FILE, "%s: op: expected one of ref/ops; found \"%.40s\"", l->where, name);
    for (int i = 0; i < OPERANDS && ops[*op].operand[i]; i++)
        keys[n++] = ops[*op].operand[i] + (*ops[*op].operand[i] == '?');
    for (int i = 0; i < 8 && ops[*op].setting[i]; i++) keys[n++] = ops[*op].setting[i];
    return vv_json_only(l->json, l->where, keys, err);
}

static vv_status run(vv_case *c, vv_error *err)
{
    const json_t *list = NULL;
    int count[OPS] = {0};
    vv_status s = vv_json_need(c->root, c->path, "layers", err);
    if (s == VV_OK) s = vv_json_array(c->root, c->path, "layers", &list, err);
    for (size_t i = 0; s == VV_OK && i < json_array_size(list); i++) {
        layer l = {.json = json_array_get(list, i)};
        vv_params ps = {0};
        int op = 0;
        snprintf(l.where, sizeof l.where, "%.200s: layers[%d]", c->path, (int)i);
        if ((s = check_layer(&l, &op, err)) != VV_OK) break;
        snprintf(l.name, sizeof l.name, "%s.%d", ops[op].op, count[op]++);
        if ((l.t = vv_tape_new(&ps, VV_RECORD))) vv_record_tape(c->rec, l.t);
        s = l.t ? run_layer(c, &l, &ps, op) : vv_no_memory(&l.err, c->path);
        if (s != VV_OK) s = vv_fail(err, s, "%s", l.err.msg);
        vv_tape_free(l.t);
        vv_params_free(&ps);
        for (int k = 0; k < LISTS; k++) free(l.list[k]);
        free(l.weights);
    }
    return s;
}

static const char *const keys_of_case[] = {"layers", NULL};
const vv_case_kind vv_case_layers = {"layers", "layers", 0, keys_of_case, run};
