/* Causes inside attention, whose output is called #context: computed again from golden q, k, v with each known mistake, where the right form
 * reproduces the golden tensor. Pictures of the tower, sequences of the decoder, instances of the mask head. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "golden/fault_parts.h"

static const double REPRODUCED = 1e-5, WORK = 5e8; /* multiplications that trying a cause may cost */
enum { HEADS_MOST = 64 };

typedef struct {
    const double *q, *k, *v; /* rows of ldq, ldk, ldv numbers; heads side by side */
    int64_t N, M, ldq, ldk, ldv, H, Hkv, D;
    int64_t *first, *end, *at; /* [N] query i sees keys first ... end-1; causal: up to first + at */
    int causal;
} scene;

typedef enum { SCALE_ROOT, SCALE_NONE, SCALE_HEAD, SCALE_WIDTH, SCALE_BACK } scaling;
typedef struct {
    int across, mask; /* all keys; causal where it should not be, or the other way round */
    scaling scale;    /* 1/sqrt(D), none, 1/D, 1/sqrt(H D), sqrt(D) */
    int tiled, axis;  /* query head h reads key head h % Hkv; softmax over the queries of a key */
    const char *words;
} way;

static const way ways[] = {
    {0, 0, SCALE_ROOT, 0, 0, NULL},
    {1, 0, SCALE_ROOT, 0, 0, "attention goes across pictures (sequences, instances), where each must see only itself"},
    {0, 1, SCALE_ROOT, 0, 0, NULL},
    {0, 0, SCALE_NONE, 0, 0, "attention is not scaled by 1/sqrt(D)"},
    {0, 0, SCALE_HEAD, 0, 0, "attention is scaled by 1/D, where 1/sqrt(D) is due"},
    {0, 0, SCALE_WIDTH, 0, 0, "attention is scaled by the width of all heads, where 1/sqrt(D) of one head is due"},
    {0, 0, SCALE_BACK, 0, 0, "attention is scaled by sqrt(D), where 1/sqrt(D) is due"},
    {0, 0, SCALE_ROOT, 1, 0, "query head h reads key head h % K, where h / (H / K) is due"},
    {0, 0, SCALE_ROOT, 0, 1, "the softmax goes over queries, where keys are due"}};
enum { WAYS = sizeof ways / sizeof *ways };
static const char *const mask_words[] = {"attention is causal, where all tokens are due",
                                         "attention is not causal: tokens see what comes after them"};

static void softmax(double *x, int64_t n, int64_t stride)
{
    double top = -HUGE_VAL, sum = 0;
    for (int64_t i = 0; i < n; i++) top = x[i * stride] > top ? x[i * stride] : top;
    for (int64_t i = 0; i < n; i++) {
        double *e = &x[i * stride];
        *e = *e > -HUGE_VAL ? vv_exp(*e - top) : 0;
        sum += *e;
    }
    for (int64_t i = 0; i < n && sum > 0; i++) x[i * stride] /= sum;
}

static int sees(const scene *a, const way *w, int64_t i, int64_t k)
{
    if (!w->across && (k < a->first[i] || k >= a->end[i])) return 0;
    return !(a->causal ^ w->mask) || k <= a->first[i] + a->at[i];
}

static double factor(const scene *a, scaling s)
{
    const double D = (double)a->D;
    return s == SCALE_ROOT   ? 1 / sqrt(D)
           : s == SCALE_NONE ? 1
           : s == SCALE_HEAD ? 1 / D
           : s == SCALE_BACK ? sqrt(D)
                             : 1 / sqrt(D * (double)a->H);
}

/* y [N,H D]; p [N,M] is work */
static void attend(double *y, const scene *a, double *p, const way *w)
{
    const double scale = factor(a, w->scale);
    for (int64_t h = 0; h < a->H; h++) {
        const int64_t own = w->tiled ? h % a->Hkv : h / (a->H / a->Hkv), D = a->D;
        for (int64_t i = 0; i < a->N; i++)
            for (int64_t k = 0; k < a->M; k++) {
                double sum = 0;
                for (int64_t d = 0; d < D; d++) sum += a->q[i * a->ldq + h * D + d] * a->k[k * a->ldk + own * D + d];
                p[i * a->M + k] = sees(a, w, i, k) ? scale * sum : -HUGE_VAL;
            }
        for (int64_t i = 0; i < a->N && !w->axis; i++) softmax(p + i * a->M, a->M, 1);
        for (int64_t k = 0; k < a->M && w->axis; k++) softmax(p + k, a->N, a->M);
        for (int64_t i = 0; i < a->N; i++)
            for (int64_t d = 0; d < D; d++) {
                double o = 0;
                for (int64_t k = 0; k < a->M; k++) o += p[i * a->M + k] * a->v[k * a->ldv + own * D + d];
                y[i * a->H * D + h * D + d] = o;
            }
    }
}

/* the number of heads is what reproduces the golden tensor */
static void try_ways(vv_suspect *s, scene *a, double *p)
{
    const int64_t C = s->cols, given = vv_suspect_config(s, "num_heads");
    for (int64_t n = 0; n <= HEADS_MOST; n++) {
        a->H = n > 0 ? n : given;
        if (a->H < 1 || C % a->H) continue;
        a->D = C / a->H;
        a->Hkv = a->ldk == a->ldq ? a->H : a->ldk / a->D;
        if (a->Hkv < 1 || a->H % a->Hkv || a->Hkv * a->D > a->ldk) continue;
        attend(s->work, a, p, &ways[0]);
        if (!(vv_distance(s->r, s->work, s->n) < REPRODUCED)) continue;
        for (int k = 1; k < WAYS; k++) {
            if (ways[k].tiled && a->Hkv == a->H) continue;
            attend(s->work, a, p, &ways[k]);
            (void)vv_suspect_is(s, s->work, "%s", ways[k].words ? ways[k].words : mask_words[a->causal]);
        }
        return;
    }
}

/* ---- who sees whom --------------------------------------------------------------------------------------------------------- */
static void segment(scene *a, int64_t from, int64_t rows, int64_t first, int64_t keys)
{
    for (int64_t i = 0; i < rows; i++) {
        a->first[from + i] = first;
        a->end[from + i] = first + keys;
        a->at[from + i] = i;
    }
}

/* frames of the pictures of grid_thw; 0: it has not so many tokens */
static int by_grid(scene *a, const double *thw, int64_t n)
{
    int64_t at = 0;
    for (int64_t i = 0; i < n; i += 3)
        for (int64_t t = 0; t < (int64_t)thw[i]; t++) {
            const int64_t m = (int64_t)(thw[i + 1] * thw[i + 2]);
            if (m < 1 || m > a->N - at) return 0;
            segment(a, at, m, at, m);
            at += m;
        }
    return at == a->N;
}

static int by_sums(scene *a, const double *cu, int64_t n)
{
    if (n < 2 || cu[0] != 0 || (int64_t)cu[n - 1] != a->N) return 0;
    for (int64_t i = 0; i + 1 < n; i++) {
        const int64_t from = (int64_t)cu[i], rows = (int64_t)cu[i + 1] - from;
        if (rows < 0 || from + rows > a->N) return 0;
        segment(a, from, rows, from, rows);
    }
    a->causal = 1;
    return 1;
}

/* instances with keys of their own, or (shared) those of their picture */
static int by_instances(scene *a, const double *image_of, int64_t P, int shared)
{
    int64_t pictures = 0;
    for (int64_t p = 0; p < P; p++) pictures = vv_max(pictures, (int64_t)image_of[p] + 1);
    const int64_t sets = shared ? pictures : P;
    if (P < 1 || sets < 1 || a->N % P || a->M % sets) return 0;
    for (int64_t p = 0; p < P; p++)
        segment(a, p * (a->N / P), a->N / P, (shared ? (int64_t)image_of[p] : p) * (a->M / sets), a->M / sets);
    return 1;
}

static vv_status who_sees_whom(int *known, scene *a, const vv_suspect *s, const char *input, int shared, vv_error *err)
{
    char key[VV_FAULT_TEXT];
    double *v = NULL;
    *known = 0;
    snprintf(key, sizeof key, "%.*s/in/%s", s->e->task_n, s->e->task, input);
    const vv_golden_entry *e = vv_golden_find(&s->j->golden, key);
    if (!e || e->sample) return VV_OK;
    VV_TRY(vv_suspect_load(&v, s, e, err));
    if (!strcmp(input, "grid_thw")) *known = a->N == a->M && e->n % 3 == 0 && by_grid(a, v, e->n);
    else if (!strcmp(input, "cu_seqlens")) *known = a->N == a->M && by_sums(a, v, e->n);
    else *known = by_instances(a, v, e->n, shared);
    free(v);
    return VV_OK;
}

/* ---- q, k, v ------------------------------------------------------------------------------------------------------------------ */
/* the first of the names that is recorded beside the suspect; *ld its width */
static vv_status operand(double **v, int64_t *rows, int64_t *ld, const char **name, const vv_suspect *s,
                         const char *const *names, vv_error *err)
{
    char key[VV_FAULT_TEXT];
    for (*v = NULL; *names; names++) {
        snprintf(key, sizeof key, "%.*s%s", (int)(strlen(s->e->key) - strlen("#context")), s->e->key, *names);
        const vv_golden_entry *e = vv_golden_find(&s->j->golden, key);
        if (!e || e->sample || e->ndim != 2 || e->shape[1] < 1) continue;
        *rows = e->shape[0];
        *ld = e->shape[1];
        *name = *names;
        return vv_suspect_load(v, s, e, err);
    }
    return VV_OK;
}

static vv_status prepare(scene *a, const vv_suspect *s, double **memory, const char **input, int *shared, vv_error *err)
{
    static const char *const together[] = {".qkv#rotated", NULL}, *const q[] = {".q_norm#rotated", ".q_proj", NULL},
                             *const k[] = {".k_norm#rotated", ".k_proj", ".k_proj#pictures", NULL},
                             *const v[] = {".v_proj", ".v_proj#pictures", NULL};
    const char *name = "";
    int64_t rows_v = 0;
    VV_TRY(operand(&memory[0], &a->N, &a->ldq, &name, s, together, err));
    if (memory[0]) {
        *a =
            (scene){.q = memory[0], .k = memory[0] + s->cols, .v = memory[0] + 2 * s->cols, .N = s->rows, .M = s->rows};
        a->ldq = a->ldk = a->ldv = 3 * s->cols;
        *input = "grid_thw";
        return VV_OK;
    }
    VV_TRY(operand(&memory[0], &a->N, &a->ldq, &name, s, q, err));
    *input = !strcmp(name, ".q_norm#rotated") ? "cu_seqlens" : "image_of";
    VV_TRY(operand(&memory[1], &a->M, &a->ldk, &name, s, k, err));
    *shared = strstr(name, "#pictures") != NULL;
    VV_TRY(operand(&memory[2], &rows_v, &a->ldv, &name, s, v, err));
    if (rows_v != a->M || a->N != s->rows || a->ldq != s->cols || a->ldk != a->ldv) a->M = 0;
    a->q = memory[0];
    a->k = memory[1];
    a->v = memory[2];
    return VV_OK;
}

static vv_status try_scene(vv_suspect *s, scene *a, const char *input, int shared, vv_error *err)
{
    int known = 0;
    if (!a->q || !a->k || !a->v || a->M < 1 || (double)a->M * (double)s->n * WAYS * 2 > WORK) return VV_OK;
    a->first = vv_calloc(3 * a->N, sizeof *a->first);
    double *p = vv_calloc(a->N, (size_t)a->M * sizeof *p);
    if (!a->first || !p) {
        free(p);
        return vv_no_memory(err, s->e->key);
    }
    a->end = a->first + a->N;
    a->at = a->end + a->N;
    const vv_status status = who_sees_whom(&known, a, s, input, shared, err);
    if (status == VV_OK && known) try_ways(s, a, p);
    free(p);
    return status;
}

vv_status vv_cause_attention(vv_suspect *s, vv_error *err)
{
    const size_t n = strlen(s->e->key), mark = strlen("#context");
    double *memory[3] = {NULL};
    scene a = {.causal = 0};
    const char *input = "";
    int shared = 0;
    if (s->e->kind != VV_KIND_ACT || s->e->ndim != 2 || n < mark || strcmp(s->e->key + n - mark, "#context") != 0)
        return VV_OK;
    vv_status status = prepare(&a, s, memory, &input, &shared, err);
    if (status == VV_OK) status = try_scene(s, &a, input, shared, err);
    free(a.first);
    for (int i = 0; i < 3; i++) free(memory[i]);
    return status;
}
