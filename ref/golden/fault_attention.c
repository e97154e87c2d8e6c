/* Causes between a projection and attention: a square weight transposed, positions, rotary embeddings. Computed again from golden tensors;
 * what is right must reproduce the golden tensor first. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/fault_parts.h"

static const double REPRODUCED = 1e-5, WORK = 5e8; /* multiplications that trying a cause may cost */
enum { LOOK_BACK = 8, HEADS_MOST = 64 };

/* ---- a square weight ------------------------------------------------------------------------------------------------------- */
/* y = x W^T + b (turned: x W), rows of C */
static void square(double *y, const double *x, const double *w, const double *b, int64_t rows, int64_t C, int turned)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t o = 0; o < C; o++) {
            double sum = b ? b[o] : 0;
            for (int64_t k = 0; k < C; k++) sum += x[i * C + k] * (turned ? w[k * C + o] : w[o * C + k]);
            y[i * C + o] = sum;
        }
}

/* r - x W^T - b is nothing, or a recorded tensor that was added */
static vv_status with_input(vv_suspect *s, const double *x, const double *w, const double *b, const char *name,
                            int *done, vv_error *err)
{
    double *rest = vv_calloc(s->n, sizeof *rest), *residual = NULL;
    if (!rest) return vv_no_memory(err, name);
    square(s->work, x, w, b, s->rows, s->cols, 0);
    for (int64_t i = 0; i < s->n; i++) rest[i] = s->r[i] - s->work[i];
    *done = vv_distance(s->r, s->work, s->n) < REPRODUCED;
    vv_status status = VV_OK;
    const vv_golden_entry *e;
    for (int k = 0; status == VV_OK && !*done && (e = vv_suspect_before(s, VV_KIND_ACT, s->n, k)); k++) {
        status = vv_suspect_load(&residual, s, e, err);
        if (status == VV_OK) *done = vv_distance(residual, rest, s->n) < REPRODUCED;
        free(residual);
    }
    if (status == VV_OK && *done) { /* what is not the product stays */
        square(s->work, x, w, b, s->rows, s->cols, 1);
        for (int64_t i = 0; i < s->n; i++) {
            double right = b ? b[i % s->cols] : 0;
            for (int64_t k = 0; k < s->cols; k++) right += x[i / s->cols * s->cols + k] * w[i % s->cols * s->cols + k];
            s->work[i] += s->r[i] - right;
        }
        (void)vv_suspect_is(s, s->work, "%s is transposed: y = x W, where y = x W^T is due", name);
    }
    free(rest);
    return status;
}

/* the weight's name without ".weight" */
static vv_status with_weight(vv_suspect *s, const char *module, vv_error *err)
{
    char name[VV_FAULT_TEXT];
    double *w = NULL, *b = NULL;
    int done = 0;
    snprintf(name, sizeof name, "%s.bias", module);
    VV_TRY(vv_suspect_weight(&b, s, name, s->cols, err));
    snprintf(name, sizeof name, "%s.weight", module);
    vv_status status = vv_suspect_weight(&w, s, name, s->cols * s->cols, err);
    const vv_golden_entry *in;
    for (int k = 0; w && status == VV_OK && !done && k < LOOK_BACK && (in = vv_suspect_before(s, VV_KIND_ACT, s->n, k));
         k++) {
        double *x = NULL;
        status = vv_suspect_load(&x, s, in, err);
        if (status == VV_OK) status = with_input(s, x, w, b, name, &done, err);
        free(x);
    }
    free(w);
    free(b);
    return status;
}

/* ---- positions in front of a projection ------------------------------------------------------------------------------------ */
/* The mask head adds a code of the place to what queries and keys are made of: q = (x + P) W^T + b. Without it g = r - P W^T, and where
 * none is due but added g = r + P W^T. P repeats after e->n numbers: pixels of one picture, or all tokens. */
static vv_status with_code(vv_suspect *s, const vv_golden_entry *e, const double *w, const char *what, vv_error *err)
{
    const int64_t width = e->ndim == 2 ? e->shape[1] : 0, rows = width > 0 ? e->n / width : 0;
    double *code = NULL;
    if (rows == 0 || s->rows % rows || e->sample) return VV_OK;
    VV_TRY(vv_suspect_load(&code, s, e, err));
    for (int sign = -1; sign <= 1; sign += 2) {
        for (int64_t i = 0; i < s->n; i++) {
            const double *x = code + i / s->cols % rows * width, *to = w + i % s->cols * width;
            double sum = 0;
            for (int64_t k = 0; k < width; k++) sum += x[k] * to[k];
            s->work[i] = s->r[i] + sign * sum;
        }
        (void)vv_suspect_is(s, s->work, "%s (%s) is %s", what, e->name,
                            sign < 0 ? "not added before the projection" : "added where none is due");
    }
    free(code);
    return VV_OK;
}

static vv_status positions(vv_suspect *s, vv_error *err)
{
    static const char *const suffix[] = {"mask_decoder#tokens", "prompt_encoder.pe_layer"},
                             *const what[] = {"the position of tokens", "the position of pixels"};
    char name[VV_FAULT_TEXT];
    const int stem = (int)strcspn(s->e->name, "#");
    if (!strstr(s->e->name, "_proj")) return VV_OK;
    snprintf(name, sizeof name, "%.*s.weight", stem, s->e->name);
    for (int64_t i = 0; i < s->e - s->j->golden.entry; i++) {
        const vv_golden_entry *e = &s->j->golden.entry[i];
        const size_t n = strlen(e->name);
        double *w = NULL;
        int which = -1;
        for (int k = 0; k < 2; k++)
            if (n >= strlen(suffix[k]) && !strcmp(e->name + n - strlen(suffix[k]), suffix[k])) which = k;
        if (which < 0 || e->kind != VV_KIND_ACT || e->ndim != 2) continue;
        VV_TRY(vv_suspect_weight(&w, s, name, s->cols * e->shape[1], err));
        const vv_status status = w ? with_code(s, e, w, what[which], err) : VV_OK;
        free(w);
        if (status != VV_OK) return status;
    }
    return VV_OK;
}

vv_status vv_cause_linear(vv_suspect *s, vv_error *err)
{
    static const char *const parts[] = {"", ".proj", ".o_proj", ".out_proj"};
    char module[VV_FAULT_TEXT - 16];
    if (s->e->kind != VV_KIND_ACT || s->e->ndim != 2 || (double)s->n * (double)s->cols * LOOK_BACK > WORK) return VV_OK;
    const int stem = (int)strcspn(s->e->name, "#");
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(module, sizeof module, "%.*s%s", stem, s->e->name, parts[i]);
        VV_TRY(with_weight(s, module, err));
    }
    return positions(s, err);
}

/* ---- rotary embeddings ----------------------------------------------------------------------------------------------------- */
/* The golden pair of halves (j, j + D/2) says its angle; each mistake turns with the same angles another way. */
typedef enum { ROTARY_RIGHT, ROTARY_NEIGHBOURS, ROTARY_BACK, ROTARY_AXES, ROTARY_NONE, ROTARIES } rotary;

static void angle_of(const double *x, const double *y, int64_t j, int64_t half, double *c, double *s)
{
    const double a = x[j], b = x[j + half], p = y[j], q = y[j + half], size = a * a + b * b;
    *c = size > 0 ? (a * p + b * q) / size : 1;
    *s = size > 0 ? (a * q - b * p) / size : 0;
}

static void turn(double *out, const double *x, const double *y, int64_t D, rotary kind)
{
    const int64_t half = D / 2, quarter = D / 4;
    for (int64_t j = 0; j < half; j++) {
        double c, s;
        const int64_t from = kind == ROTARY_AXES ? (j + quarter) % half : j;
        angle_of(x, y, from, half, &c, &s);
        if (kind == ROTARY_BACK) s = -s;
        if (kind == ROTARY_NONE) {
            c = 1;
            s = 0;
        }
        const int64_t a = kind == ROTARY_NEIGHBOURS ? 2 * j : j, b = kind == ROTARY_NEIGHBOURS ? 2 * j + 1 : j + half;
        out[a] = x[a] * c - x[b] * s;
        out[b] = x[a] * s + x[b] * c;
    }
}

/* whether heads of D keep the lengths of their pairs */
static int turns(const vv_suspect *s, const double *x, int64_t D)
{
    double off = 0, all = 0;
    for (int64_t i = 0; i < s->n; i += D)
        for (int64_t j = 0; j < D / 2; j++) {
            const int64_t a = i + j, b = a + D / 2;
            const double before = x[a] * x[a] + x[b] * x[b], after = s->r[a] * s->r[a] + s->r[b] * s->r[b];
            off += fabs(after - before);
            all += before;
        }
    return all > 0 && off < REPRODUCED * all;
}

vv_status vv_cause_rotary(vv_suspect *s, vv_error *err)
{
    static const char *const words[ROTARIES] = {
        NULL, "the rotary embedding turns neighbours (2j, 2j+1), where halves (j, j + D/2) are due",
        "the rotary embedding turns backwards: the sign of the sine",
        "the rotary embedding has its two axes exchanged (height for width)", "the rotary embedding is left out"};
    char key[VV_FAULT_TEXT];
    const char *mark = strstr(s->e->name, "#rotated");
    if (!mark || s->e->kind != VV_KIND_ACT) return VV_OK;
    snprintf(key, sizeof key, "%.*s", (int)(strlen(s->e->key) - strlen("#rotated")), s->e->key);
    const vv_golden_entry *in = vv_golden_find(&s->j->golden, key);
    double *x = NULL;
    if (!in || in->n != s->n) return VV_OK;
    VV_TRY(vv_suspect_load(&x, s, in, err));
    for (int64_t heads = 1; heads <= HEADS_MOST * 3; heads++) {
        const int64_t D = s->cols / heads;
        if (s->cols % heads || D % 2 || D < 2 || !turns(s, x, D)) continue;
        for (rotary k = ROTARY_NEIGHBOURS; k < ROTARIES; k++) {
            if (k == ROTARY_AXES && D % 4) continue;
            for (int64_t i = 0; i < s->n; i += D) turn(s->work + i, x + i, s->r + i, D, k);
            (void)vv_suspect_is(s, s->work, "%s", words[k]);
        }
    }
    free(x);
    return VV_OK;
}
