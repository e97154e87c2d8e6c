/* Causes between a projection and the next: a square weight transposed, rotary embeddings, attention of the tower. Computed again from
 * golden tensors; what is right must reproduce the golden tensor first. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
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
    return VV_OK;
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
        if (s->cols % heads || D % 4 || D < 4 || !turns(s, x, D)) continue;
        for (rotary k = ROTARY_NEIGHBOURS; k < ROTARIES; k++) {
            for (int64_t i = 0; i < s->n; i += D) turn(s->work + i, x + i, s->r + i, D, k);
            (void)vv_suspect_is(s, s->work, "%s", words[k]);
        }
    }
    free(x);
    return VV_OK;
}

/* ---- attention of the tower ---------------------------------------------------------------------------------------------------- */
typedef struct {
    int across, causal; /* pictures see one another; only what came before */
    int scale;          /* 0: 1/sqrt(D), 1: none, 2: 1/D */
    const char *words;
} way;

static const way ways[] = {{0, 0, 0, NULL},
                           {1, 0, 0, "attention goes across pictures, where each must see only itself"},
                           {0, 1, 0, "attention is causal, where all tokens of a picture are due"},
                           {0, 0, 1, "attention is not scaled by 1/sqrt(D)"},
                           {0, 0, 2, "attention is scaled by 1/D, where 1/sqrt(D) is due"}};
enum { WAYS = sizeof ways / sizeof *ways };

/* one query of one head over keys [first, end) */
static void query(double *out, const double *qkv, double *p, int64_t i, int64_t first, int64_t end, int64_t at,
                  int64_t C, int64_t D, double scale)
{
    double top = -HUGE_VAL, sum = 0;
    const double *q = qkv + i * 3 * C + at;
    for (int64_t k = first; k < end; k++) {
        p[k] = 0;
        for (int64_t d = 0; d < D; d++) p[k] += q[d] * qkv[k * 3 * C + C + at + d];
        p[k] *= scale;
        top = fmax(top, p[k]);
    }
    for (int64_t k = first; k < end; k++) sum += p[k] = vv_exp(p[k] - top);
    for (int64_t d = 0; d < D; d++) {
        double o = 0;
        for (int64_t k = first; k < end; k++) o += p[k] * qkv[k * 3 * C + 2 * C + at + d];
        out[d] = o / sum;
    }
}

static void attend(double *y, const double *qkv, double *p, const int64_t *begin, int64_t N, int64_t C, int64_t H,
                   const way *w)
{
    const int64_t D = C / H;
    const double scale = w->scale == 0 ? 1 / sqrt((double)D) : w->scale == 1 ? 1 : 1 / (double)D;
    for (int64_t i = 0; i < N; i++) {
        const int64_t first = w->across ? 0 : begin[i];
        int64_t end = i + 1;
        while (!w->causal && end < N && (w->across || begin[end] == first)) end++;
        for (int64_t h = 0; h < H; h++) query(y + i * C + h * D, qkv, p, i, first, end, h * D, C, D, scale);
    }
}

/* begin[i]: first token of the frame that token i belongs to; NULL: no grid of so many tokens */
static vv_status frames(int64_t **begin, const vv_suspect *s, int64_t N, vv_error *err)
{
    const vv_golden *g = &s->j->golden;
    *begin = NULL;
    for (int64_t k = 0; k < g->n; k++) {
        const vv_golden_entry *e = &g->entry[k];
        double *thw = NULL;
        if (e->kind != VV_KIND_IN || strcmp(e->name, "grid_thw") || e->n % 3) continue;
        VV_TRY(vv_suspect_load(&thw, s, e, err));
        int64_t at = 0;
        if (!(*begin = vv_calloc(N, sizeof **begin))) {
            free(thw);
            return vv_no_memory(err, e->key);
        }
        for (int64_t i = 0; i < e->n; i += 3)
            for (int64_t t = 0; t < (int64_t)thw[i] && at <= N; t++) {
                const int64_t first = at;
                for (int64_t m = (int64_t)(thw[i + 1] * thw[i + 2]); m > 0 && at <= N; m--, at++)
                    if (at < N) (*begin)[at] = first;
            }
        free(thw);
        if (at == N) return VV_OK;
        free(*begin);
        *begin = NULL;
    }
    return VV_OK;
}

static void try_heads(vv_suspect *s, const double *qkv, double *p, const int64_t *begin)
{
    const int64_t given = vv_suspect_config(s, "num_heads"), N = s->rows, C = s->cols;
    for (int64_t H = given > 0 ? given : 1; H <= (given > 0 ? given : 16); H++) {
        if (C % H) continue;
        attend(s->work, qkv, p, begin, N, C, H, &ways[0]);
        if (!(vv_distance(s->r, s->work, s->n) < REPRODUCED)) continue;
        for (int k = 1; k < WAYS; k++) {
            attend(s->work, qkv, p, begin, N, C, H, &ways[k]);
            (void)vv_suspect_is(s, s->work, "%s", ways[k].words);
        }
        return;
    }
}

vv_status vv_cause_attention(vv_suspect *s, vv_error *err)
{
    const char *mark = strstr(s->e->key, "#context");
    char key[VV_FAULT_TEXT];
    if (!mark || s->e->kind != VV_KIND_ACT || (double)s->rows * (double)s->n * WAYS * 2 > WORK) return VV_OK;
    snprintf(key, sizeof key, "%.*s.qkv#rotated", (int)(mark - s->e->key), s->e->key);
    const vv_golden_entry *in = vv_golden_find(&s->j->golden, key);
    double *qkv = NULL;
    int64_t *begin = NULL;
    if (!in || in->sample || in->n != 3 * s->n) return VV_OK;
    VV_TRY(vv_suspect_load(&qkv, s, in, err));
    vv_status status = frames(&begin, s, s->rows, err);
    double *p = vv_calloc(s->rows, sizeof *p);
    if (status == VV_OK && !p) status = vv_no_memory(err, s->e->key);
    if (status == VV_OK && begin) try_heads(s, qkv, p, begin);
    free(p);
    free(begin);
    free(qkv);
    return status;
}
