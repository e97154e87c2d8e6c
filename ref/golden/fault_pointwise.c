/* Causes inside one function of the golden input: activations and norms, computed again with each known mistake. A function counts only
 * where its right form reproduces the golden tensor. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "golden/fault_parts.h"

static const double REPRODUCED = 1e-5; /* golden tensors are double, or recorded in float */
enum { LOOK_BACK = 8 };

/* ---- activations --------------------------------------------------------------------------------------------------------- */
static double sigmoid(double x) { return x >= 0 ? 1 / (1 + vv_exp(-x)) : vv_exp(x) / (1 + vv_exp(x)); }
static double gelu(double x) { return 0.5 * x * (1 + vv_erf(x * 0.70710678118654752440)); }
static double gelu_tanh(double x)
{
    return 0.5 * x * (1 + vv_tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}
static double quick_gelu(double x) { return x * sigmoid(1.702 * x); }
static double silu(double x) { return x * sigmoid(x); }
static double relu(double x) { return x > 0 ? x : 0; }
static double identity(double x) { return x; }

static const struct {
    double (*f)(double x);
    const char *name;
} form[] = {{gelu, "GELU with erf"},
            {gelu_tanh, "the tanh approximation of GELU"},
            {quick_gelu, "quick GELU, x sigmoid(1.702 x)"},
            {silu, "SiLU"},
            {relu, "ReLU"},
            {sigmoid, "the sigmoid"},
            {identity, "no activation at all"}};
enum { FORMS = sizeof form / sizeof *form };

/* slope from both sides; wide enough for rounding, narrow enough for 9 digits */
static double derivative(double (*f)(double), double x)
{
    static const double h = 1e-5;
    return (f(x + h) - f(x - h)) / (2 * h);
}

/* y = f(x), or upstream * f'(x) */
static void compute(double *y, int k, const double *x, const double *upstream, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = upstream ? upstream[i] * derivative(form[k].f, x[i]) : form[k].f(x[i]);
}

static int one_input(vv_suspect *s, const double *x, const double *upstream)
{
    int right = -1;
    for (int k = 0; right < 0 && k < FORMS - 1; k++) {
        compute(s->work, k, x, upstream, s->n);
        if (vv_distance(s->r, s->work, s->n) < REPRODUCED) right = k;
    }
    for (int k = 0; right >= 0 && k < FORMS; k++) {
        if (k == right) continue;
        compute(s->work, k, x, upstream, s->n);
        (void)vv_suspect_is(s, s->work, "%s%s, where %s is due", upstream ? "the derivative of " : "", form[k].name,
                            form[right].name);
    }
    return right >= 0;
}

/* y = f(gate) up, of the decoder's MLP; exchanged: f(up) gate */
static void gate(double *y, int k, const double *gate, const double *up, int64_t n)
{
    for (int64_t i = 0; i < n; i++) y[i] = form[k].f(gate[i]) * up[i];
}

static void two_inputs(vv_suspect *s, const double *a, const double *b)
{
    int right = -1;
    for (int k = 0; right < 0 && k < FORMS; k++) {
        gate(s->work, k, a, b, s->n);
        if (vv_distance(s->r, s->work, s->n) < REPRODUCED) right = k;
    }
    for (int k = 0; right >= 0 && k < FORMS; k++) {
        if (k == right) continue;
        gate(s->work, k, a, b, s->n);
        (void)vv_suspect_is(s, s->work, "%s in the gate, where %s is due", form[k].name, form[right].name);
    }
    if (right < 0) return;
    gate(s->work, right, b, a, s->n);
    (void)vv_suspect_is(s, s->work, "gate_proj and up_proj are exchanged");
}

static vv_status gated(vv_suspect *s, vv_error *err)
{
    const int stem = (int)(strlen(s->e->key) - strlen("#gated"));
    char key[VV_FAULT_TEXT];
    double *x[2] = {NULL};
    vv_status status = VV_OK;
    for (int i = 0; i < 2 && status == VV_OK; i++) {
        snprintf(key, sizeof key, "%.*s.%s", stem, s->e->key, i ? "up_proj" : "gate_proj");
        const vv_golden_entry *e = vv_golden_find(&s->j->golden, key);
        if (e && !e->sample && e->n == s->n) status = vv_suspect_load(&x[i], s, e, err);
    }
    if (x[0] && x[1]) two_inputs(s, x[0], x[1]);
    free(x[0]);
    free(x[1]);
    return status;
}

static vv_status forward(vv_suspect *s, vv_error *err)
{
    int done = 0;
    if (strstr(s->e->name, "#gated")) return gated(s, err);
    const vv_golden_entry *in;
    for (int k = 0; !done && k < LOOK_BACK && (in = vv_suspect_before(s, VV_KIND_ACT, s->n, k)); k++) {
        double *x = NULL;
        VV_TRY(vv_suspect_load(&x, s, in, err));
        done = one_input(s, x, NULL);
        free(x);
    }
    return VV_OK;
}

/* the suspect is the gradient of what goes into an activation: that tensor's golden value, and the gradient of what comes out */
static vv_status backward(vv_suspect *s, vv_error *err)
{
    char key[VV_FAULT_TEXT];
    snprintf(key, sizeof key, "%.*s/act/%s", s->e->task_n, s->e->task, s->e->name);
    const vv_golden_entry *in = vv_golden_find(&s->j->golden, key), *out;
    double *x = NULL;
    if (!in || in->n != s->n) return VV_OK;
    VV_TRY(vv_suspect_load(&x, s, in, err));
    vv_status status = VV_OK;
    int done = 0;
    for (int k = 0; status == VV_OK && !done && k < 2 && (out = vv_suspect_before(s, VV_KIND_DACT, s->n, k)); k++) {
        double *upstream = NULL;
        status = vv_suspect_load(&upstream, s, out, err);
        if (status == VV_OK) done = one_input(s, x, upstream);
        free(upstream);
    }
    free(x);
    return status;
}

vv_status vv_cause_pointwise(vv_suspect *s, vv_error *err)
{
    if (s->e->kind == VV_KIND_ACT) return forward(s, err);
    return s->e->kind == VV_KIND_DACT ? backward(s, err) : VV_OK;
}

/* ---- norms ----------------------------------------------------------------------------------------------------------------- */
typedef struct {
    int centred, unbiased, shifted; /* the mean is taken off; divided by n-1; the bias is added */
    double eps;
    const char *name;
} norm;

static const norm norms[] = {{1, 0, 1, 1e-6, "LayerNorm with eps 1e-6"},
                             {1, 0, 1, 1e-5, "LayerNorm with eps 1e-5"},
                             {1, 0, 1, 1e-12, "LayerNorm with eps 1e-12"},
                             {1, 0, 1, 1e-3, "LayerNorm with eps 1e-3"},
                             {1, 1, 1, 1e-6, "LayerNorm with the unbiased variance (divided by n-1)"},
                             {1, 1, 1, 1e-5, "LayerNorm with the unbiased variance (divided by n-1)"},
                             {0, 0, 1, 1e-6, "RMSNorm (the mean is not taken off)"},
                             {0, 0, 1, 1e-5, "RMSNorm with eps 1e-5 (the mean is not taken off)"},
                             {1, 0, 0, 1e-6, "LayerNorm without its bias"},
                             {1, 0, 0, 1e-5, "LayerNorm without its bias"}};
enum { NORMS = sizeof norms / sizeof *norms };

/* rows of the weight's width: heads have norms of their own */
static void compute_norm(double *y, const norm *k, const double *x, const double *w, const double *b, int64_t n,
                         int64_t C)
{
    for (int64_t row = 0; row < n; row += C) {
        double mean = 0, var = 0;
        for (int64_t c = 0; k->centred && c < C; c++) mean += x[row + c] / (double)C;
        for (int64_t c = 0; c < C; c++) var += (x[row + c] - mean) * (x[row + c] - mean);
        const double r = 1 / sqrt(var / (double)(C - k->unbiased) + k->eps);
        for (int64_t c = 0; c < C; c++) y[row + c] = (x[row + c] - mean) * r * w[c] + (b && k->shifted ? b[c] : 0);
    }
}

static int one_norm(vv_suspect *s, const double *x, const double *w, const double *b, int64_t C)
{
    int right = -1;
    double best = REPRODUCED;
    for (int k = 0; k < NORMS; k++) {
        compute_norm(s->work, &norms[k], x, w, b, s->n, C);
        const double d = vv_distance(s->r, s->work, s->n);
        if (d < best) {
            best = d;
            right = k;
        }
    }
    for (int k = 0; right >= 0 && k < NORMS; k++) {
        if (k == right) continue;
        compute_norm(s->work, &norms[k], x, w, b, s->n, C);
        (void)vv_suspect_is(s, s->work, "%s, where %s is due", norms[k].name, norms[right].name);
    }
    return right >= 0;
}

vv_status vv_cause_norm(vv_suspect *s, vv_error *err)
{
    char name[VV_FAULT_TEXT];
    const vv_golden_entry *in;
    double *w = NULL, *b = NULL;
    snprintf(name, sizeof name, "%s.weight", s->e->name);
    const vv_st_entry *weight = s->e->kind == VV_KIND_ACT ? vv_golden_weight(&s->j->golden, s->e, name) : NULL;
    if (!weight || weight->ndim != 1 || weight->n < 2 || s->n % weight->n) return VV_OK;
    VV_TRY(vv_suspect_weight(&w, s, name, weight->n, err));
    snprintf(name, sizeof name, "%s.bias", s->e->name);
    vv_status status = vv_suspect_weight(&b, s, name, weight->n, err);
    int done = 0;
    for (int k = 0; status == VV_OK && !done && k < LOOK_BACK && (in = vv_suspect_before(s, VV_KIND_ACT, s->n, k));
         k++) {
        double *x = NULL;
        status = vv_suspect_load(&x, s, in, err);
        if (status == VV_OK) done = one_norm(s, x, w, b, weight->n);
        free(x);
    }
    free(w);
    free(b);
    return status;
}
