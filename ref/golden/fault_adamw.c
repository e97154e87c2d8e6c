/* Causes inside AdamW: a step, or a moment after it, computed again from the golden weight, gradient and moments with each known mistake.
 * Numbers of the optimizer are those of the case; the right form must reproduce the golden tensor first.
 *
 *   g' = clip g;   m' = b1 m + (1 - b1) g';   v' = b2 v + (1 - b2) g'^2
 *   step / lr = - m' / (1 - b1^t) / (sqrt(v' / (1 - b2^t)) + eps) - decay w */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/fault_parts.h"

static const double REPRODUCED = 1e-5;

typedef enum { EPS_OUTSIDE, EPS_INSIDE, EPS_BEFORE } eps_place;
typedef enum { DECAY_APART, DECAY_AS_GRADIENT, DECAY_NONE, DECAY_WITHOUT_RATE } decay_form;
typedef struct {
    double b1, b2;    /* 0: as they are due */
    int raw_m, raw_v; /* no correction of that moment */
    eps_place eps;
    decay_form decay;
    int whole; /* the gradient is not clipped */
    int late;  /* added to t */
    const char *words;
} form;

static const form forms[] = {
    {.words = NULL},
    {.raw_m = 1, .words = "the first moment has no bias correction (1 / (1 - beta1^t))"},
    {.raw_v = 1, .words = "the second moment has no bias correction (1 / (1 - beta2^t))"},
    {.raw_m = 1, .raw_v = 1, .words = "the moments have no bias correction"},
    {.late = -1, .words = "the bias correction is that of the update before: t counts from 0"},
    {.late = 1, .words = "the bias correction is that of the next update"},
    {.eps = EPS_INSIDE, .words = "eps is inside the root, sqrt(v + eps), where sqrt(v) + eps is due"},
    {.eps = EPS_BEFORE, .words = "eps is added before the bias correction of the root"},
    {.decay = DECAY_AS_GRADIENT, .words = "weight decay goes through the moments (L2), where it is decoupled (AdamW)"},
    {.decay = DECAY_NONE, .words = "weight decay is left out"},
    {.decay = DECAY_WITHOUT_RATE, .words = "weight decay is not multiplied by the learning rate"},
    {.whole = 1, .words = "the gradient is not clipped"}};
enum { FORMS = sizeof forms / sizeof *forms };
static const double betas[] = {0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9999};

typedef enum { STEP, MOMENT_1, MOMENT_2 } part;
typedef struct {
    part what;
    const double *w, *m, *v, *g; /* [n]; m, v NULL: zero */
    double b1, b2, eps, decay, lr, clip;
    int64_t t;
} state;

static double power(double b, int64_t t)
{
    double p = 1;
    for (; t > 0; t--) p *= b;
    return p;
}

static void compute(double *y, const state *a, const form *f, int64_t n)
{
    const double b1 = f->b1 > 0 ? f->b1 : a->b1, b2 = f->b2 > 0 ? f->b2 : a->b2;
    const int64_t t = a->t + f->late;
    const double c1 = f->raw_m ? 1 : 1 - power(b1, t), c2 = f->raw_v ? 1 : 1 - power(b2, t);
    const double with = f->decay == DECAY_AS_GRADIENT ? a->decay : 0, apart = f->decay == DECAY_APART ? a->decay
                                                                              : f->decay == DECAY_WITHOUT_RATE
                                                                                  ? a->decay / a->lr
                                                                                  : 0;
    for (int64_t i = 0; i < n; i++) {
        const double g = (f->whole ? 1 : a->clip) * a->g[i] + with * a->w[i];
        const double m = b1 * (a->m ? a->m[i] : 0) + (1 - b1) * g, v = b2 * (a->v ? a->v[i] : 0) + (1 - b2) * g * g;
        const double root = f->eps == EPS_INSIDE   ? sqrt(v / c2 + a->eps)
                            : f->eps == EPS_BEFORE ? (sqrt(v) + a->eps) / sqrt(c2)
                                                   : sqrt(v / c2) + a->eps;
        y[i] = a->what == MOMENT_1 ? m : a->what == MOMENT_2 ? v : -m / c1 / root - apart * a->w[i];
    }
}

static int reproduced(vv_suspect *s, const state *a)
{
    compute(s->work, a, &forms[0], s->n);
    return vv_distance(s->r, s->work, s->n) < REPRODUCED;
}

static void try_betas(vv_suspect *s, const state *a)
{
    for (size_t k = 0; k < sizeof betas / sizeof *betas; k++)
        for (int second = 0; second < 2; second++) {
            const double due = second ? a->b2 : a->b1;
            form f = {.b1 = second ? 0 : betas[k], .b2 = second ? betas[k] : 0};
            if (fabs(betas[k] - due) < 1e-9) continue;
            compute(s->work, a, &f, s->n);
            (void)vv_suspect_is(s, s->work, "beta%d is %.6g, where %.6g is due", second + 1, betas[k], due);
        }
}

static void try_forms(vv_suspect *s, const state *a)
{
    for (int k = 1; k < FORMS; k++) {
        if (a->t + forms[k].late < 1) continue;
        compute(s->work, a, &forms[k], s->n);
        (void)vv_suspect_is(s, s->work, "%s", forms[k].words);
    }
    try_betas(s, a);
}

/* of a parameter that must not decay, when others do */
static void try_decay(vv_suspect *s, const state *a, double decay)
{
    state other = *a;
    other.decay = decay;
    compute(s->work, &other, &forms[0], s->n);
    (void)vv_suspect_is(s, s->work, "the weight decays (by %.6g), where none is due (biases, norms)", decay);
}

/* ---- the state ---------------------------------------------------------------------------------------------------------------- */
static vv_status load(double **out, const vv_suspect *s, const char *kind, const char *name, int64_t n, vv_error *err)
{
    char key[2 * VV_FAULT_TEXT];
    snprintf(key, sizeof key, "%.*s/%s/%s", s->e->task_n, s->e->task, kind, name);
    const vv_golden_entry *e = vv_golden_find(&s->j->golden, key);
    *out = NULL;
    return e && !e->sample && e->n == n ? vv_suspect_load(out, s, e, err) : VV_OK;
}

/* how the case clips: "max_grad_norm", or a norm for each update in "updates" */
static double max_norm(const json_t *c, int64_t t)
{
    size_t i;
    json_t *pair;
    json_array_foreach(json_object_get(c, "updates"), i, pair) if (json_integer_value(json_array_get(pair, 0)) ==
                                                                   t) return json_number_value(json_array_get(pair, 1));
    return json_number_value(json_object_get(c, "max_grad_norm"));
}

/* numbers of an array or object, or the number itself; returns how many */
static int numbers(const json_t *x, double *out, int most)
{
    int n = 0;
    size_t i;
    const char *key;
    json_t *value;
    if (json_is_number(x)) out[n++] = json_number_value(x);
    json_array_foreach(x, i, value) if (n < most) out[n++] = json_number_value(value);
    json_object_foreach((json_t *)x, key, value) if (n < most) out[n++] = json_number_value(value);
    return n;
}

/* a learning rate of the case is due, and a decay of it or none: the one that reproduces the golden tensor */
static void with_rates(vv_suspect *s, state *a, const json_t *c)
{
    enum { MOST = 8 };
    double rate[MOST] = {0}, decay[MOST + 1] = {0};
    const int rates = numbers(json_object_get(c, "lr"), rate, MOST),
              decays = numbers(json_object_get(c, "weight_decay"), decay, MOST) + 1; /* the last is 0 */
    for (int d = 0; d < decays; d++) {
        a->decay = decay[d];
        if (!reproduced(s, a)) continue;
        for (int r = 0; r < rates; r++) {
            a->lr = rate[r];
            try_forms(s, a);
        }
        for (int other = 0; other < decays && a->what == STEP; other++)
            if (a->decay == 0 && decay[other] > 0) try_decay(s, a, decay[other]);
        if (a->what == STEP || a->decay > 0) return; /* moments do not tell which decay is due: all are tried */
    }
}

static vv_status with_state(vv_suspect *s, state *a, const char *name, vv_error *err)
{
    const json_t *c = s->j->golden.cases;
    double *norm = NULL, *x[4] = {NULL};
    a->b1 = json_number_value(json_object_get(c, "beta1"));
    a->b2 = json_number_value(json_object_get(c, "beta2"));
    a->eps = json_number_value(json_object_get(c, "eps"));
    a->t = strtol(s->e->task + 1, NULL, 10);
    a->clip = 1;
    vv_status status = vv_suspect_weight(&x[0], s, name, s->n, err);
    if (status == VV_OK) status = load(&x[1], s, "m", name, s->n, err);
    if (status == VV_OK) status = load(&x[2], s, "v", name, s->n, err);
    if (status == VV_OK) status = load(&x[3], s, "dw", name, s->n, err);
    if (status == VV_OK && !x[3]) status = load(&x[3], s, "in", name, s->n, err);
    if (status == VV_OK) status = load(&norm, s, "loss", "grad_norm", 1, err);
    const double most = max_norm(c, a->t);
    if (norm && most > 0) a->clip = fmin(1, most / (norm[0] + 1e-6));
    a->w = x[0];
    a->m = x[1];
    a->v = x[2];
    a->g = x[3];
    if (status == VV_OK && a->w && a->g && a->b1 > 0 && a->b2 > 0 && a->t > 0) with_rates(s, a, c);
    for (int i = 0; i < 4; i++) free(x[i]);
    free(norm);
    return status;
}

vv_status vv_cause_adamw(vv_suspect *s, vv_error *err)
{
    char name[VV_FAULT_TEXT];
    state a = {.what = STEP};
    const size_t stem = strcspn(s->e->name, "#");
    snprintf(name, sizeof name, "%.*s", (int)stem, s->e->name);
    if (s->e->kind == VV_KIND_ACT && !strcmp(s->e->name + stem, "#m")) a.what = MOMENT_1;
    else if (s->e->kind == VV_KIND_ACT && !strcmp(s->e->name + stem, "#v")) a.what = MOMENT_2;
    else if (s->e->kind != VV_KIND_DSTEP) return VV_OK;
    return with_state(s, &a, name, err);
}
