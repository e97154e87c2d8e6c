/* From logits to tokens; the rules are in the header. */
#include "model/generate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "base/rng.h"

/* ---- options ------------------------------------------------------------------------------------------------------------ */
vv_generate_options vv_generate_default(void)
{
    return (vv_generate_options){.top_p = 1, .repetition_penalty = 1, .max_new_tokens = 128};
}

vv_status vv_generate_check(const vv_generate_options *o, vv_error *err)
{
    if (!(o->temperature >= 0 && o->temperature < INFINITY))
        return vv_fail(err, VV_USAGE, "temperature: expected 0 (greedy) or more; got %g", o->temperature);
    if (!(o->top_p > 0 && o->top_p <= 1))
        return vv_fail(err, VV_USAGE, "top_p: expected more than 0 and at most 1; got %g", o->top_p);
    if (!(o->repetition_penalty > 0 && o->repetition_penalty < INFINITY))
        return vv_fail(err, VV_USAGE, "repetition_penalty: expected more than 0; got %g", o->repetition_penalty);
    const struct {
        const char *name;
        int64_t value, least;
    } count[] = {{"top_k", o->top_k, 0},
                 {"max_new_tokens", o->max_new_tokens, 1},
                 {"vocab_used", o->vocab_used, 0},
                 {"n_stop", o->n_stop, 0},
                 {"n_no_penalty", o->n_no_penalty, 0}};
    for (size_t i = 0; i < sizeof count / sizeof *count; i++)
        if (count[i].value < count[i].least)
            return vv_fail(err, VV_USAGE, "%s: expected at least %lld; got %lld", count[i].name,
                           (long long)count[i].least, (long long)count[i].value);
    return VV_OK;
}

/* ---- probabilities ------------------------------------------------------------------------------------------------------ */
/* z = logits after the repetition penalty, which is taken from the logits themselves: an id seen twice is penalised once. */
static vv_status penalised(double *z, const vv_real *logits, int64_t V, const int32_t *seen, int64_t n_seen,
                           const vv_generate_options *o, vv_error *err)
{
    const double p = o->repetition_penalty;
    for (int64_t i = 0; i < V; i++) z[i] = (double)logits[i];
    for (int64_t i = 0; i < n_seen; i++) {
        if (seen[i] < 0 || seen[i] >= V)
            return vv_fail(err, VV_USAGE, "token %lld: expected an id from 0 to %lld; got %d", (long long)i,
                           (long long)V - 1, (int)seen[i]);
        const double logit = (double)logits[seen[i]];
        z[seen[i]] = logit < 0 ? logit * p : logit / p;
    }
    for (int64_t i = 0; i < o->n_no_penalty; i++)
        if (o->no_penalty[i] >= 0 && o->no_penalty[i] < V) z[o->no_penalty[i]] = (double)logits[o->no_penalty[i]];
    for (int64_t i = 0; i < V; i++)
        if (!(z[i] < INFINITY))
            return vv_fail(err, VV_NONFINITE, "logit of id %lld: expected a finite number; found %g", (long long)i,
                           z[i]);
    return VV_OK;
}

static int64_t largest(const double *z, int64_t n)
{
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (z[i] > z[best]) best = i;
    return best;
}

/* p = softmax of the scores p, the largest of them 0; -Inf becomes 0 */
static void softmax(double *p, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += p[i] = vv_exp(p[i]);
    for (int64_t i = 0; i < n; i++) p[i] /= sum;
}

/* Few of many candidates are ever wanted in order: they stay in a heap, the largest score on top, of equal ones the lowest id. */
typedef struct {
    double z;
    int64_t id;
} candidate;

static int goes_first(candidate a, candidate b) { return a.z > b.z || (a.z == b.z && a.id < b.id); }

static void swap(candidate *a, candidate *b)
{
    const candidate keep = *a;
    *a = *b;
    *b = keep;
}

/* Moves candidate i of the heap c[0..n) down to its place. */
static void sift(candidate *c, int64_t n, int64_t i)
{
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && goes_first(c[child + 1], c[child])) child++;
        if (!goes_first(c[child], c[i])) return;
        swap(&c[child], &c[i]);
    }
}

/* Takes the top of the heap c[0..*n), which becomes one smaller: it now stands behind it. */
static void take(candidate *c, int64_t *n)
{
    swap(&c[0], &c[--*n]);
    sift(c, *n, 0);
}

static void forget(double *z, const candidate *c, int64_t n)
{
    for (int64_t i = 0; i < n; i++) z[c[i].id] = -INFINITY;
}

/* Sets the scores z [n], the largest of them 0, that top_k and top_p drop to -Inf. */
static vv_status drop(double *z, int64_t n, const vv_generate_options *o, vv_error *err)
{
    candidate *c = vv_calloc(n, sizeof *c);
    if (!c) return vv_no_memory(err, "candidates");
    for (int64_t i = 0; i < n; i++) c[i] = (candidate){z[i], i};
    for (int64_t i = n / 2 - 1; i >= 0; i--) sift(c, n, i);
    int64_t left = n; /* c[0..left) is the heap, behind it what was taken, the first at the end */
    int64_t i = n;    /* goes through that, taking more when it is used up */
    double sum = 0, mass = 0;
    if (o->top_k && o->top_k < n) {
        while (left > 0 && (n - left < o->top_k || c[0].z == c[left].z)) take(c, &left);
        forget(z, c, left);
    }
    if (o->top_p < 1) {
        for (int64_t k = 0; k < n; k++) sum += vv_exp(z[k]);
        for (; i > 0 && mass < o->top_p; mass += vv_exp(c[i].z) / sum)
            if (--i < left) take(c, &left);
        forget(z, c, i);
    }
    free(c);
    return VV_OK;
}

vv_status vv_next_probabilities(double *p, const vv_real *logits, int64_t V, const int32_t *seen, int64_t n_seen,
                                const vv_generate_options *o, vv_error *err)
{
    VV_TRY(vv_generate_check(o, err));
    if (V < 1 || o->vocab_used > V)
        return vv_fail(err, VV_USAGE, "vocab_used: expected at most the %lld ids of the table; got %lld", (long long)V,
                       (long long)o->vocab_used);
    const int64_t n = o->vocab_used ? o->vocab_used : V;
    VV_TRY(penalised(p, logits, V, seen, n_seen, o, err));
    for (int64_t i = n; i < V; i++) p[i] = 0;
    const int64_t best = largest(p, n);
    if (p[best] == -INFINITY)
        return vv_fail(err, VV_NONFINITE, "logits: expected a finite one; found none of %lld", (long long)n);
    if (o->temperature == 0) {
        memset(p, 0, (size_t)n * sizeof *p);
        p[best] = 1;
        return VV_OK;
    }
    const double most = p[best]; /* subtracted first: no quotient overflows */
    for (int64_t i = 0; i < n; i++) p[i] = (p[i] - most) / o->temperature;
    if (o->top_k || o->top_p < 1) VV_TRY(drop(p, n, o, err));
    softmax(p, n);
    return VV_OK;
}

int32_t vv_draw_token(const double *p, int64_t V, uint64_t seed, int64_t position)
{
    const double u = vv_random_uniform(seed, vv_stream("generate"), (uint64_t)position);
    double sum = 0;
    int64_t last = 0;
    for (int64_t i = 0; i < V; i++) {
        if (p[i] > 0) last = i;
        sum += p[i];
        if (sum > u) return (int32_t)i;
    }
    return (int32_t)last; /* the sum is 1 to rounding only */
}

/* ---- generating --------------------------------------------------------------------------------------------------------- */
/* What one text needs while it grows. */
typedef struct {
    vv_tape *t;
    const vv_qwen3 *m;
    const vv_generate_options *o;
    vv_kv_cache *cache;
    vv_real *logits; /* [V] */
    double *p;       /* [V] */
    int32_t *seen;   /* [n + max_new_tokens]: ids of the prompt and of what came */
    int64_t n_seen;
} writer;

static int ends_text(const writer *w, int32_t id)
{
    for (int i = 0; i < w->m->config.n_eos; i++)
        if (w->m->config.eos[i] == id) return 1;
    for (int64_t i = 0; i < w->o->n_stop; i++)
        if (w->o->stop[i] == id) return 1;
    return 0;
}

/* Runs the tokens x and chooses the one that follows the last of them. The tape is reset: x is gone. */
static vv_status next(writer *w, vv_tensor *x, int32_t *id, vv_error *err)
{
    const int64_t V = w->m->config.vocab_size;
    const int32_t last = x ? (int32_t)vv_rows(x) - 1 : 0;
    vv_tensor *hidden = vv_qwen3_decode(w->t, w->m, x, w->cache);
    vv_tensor *z = vv_qwen3_logits(w->t, w->m, vv_gather_rows(w->t, NULL, hidden, &last, 1));
    if (z) vvb_download(w->logits, vv_f(z), V * (int64_t)sizeof *w->logits);
    VV_TRY(vv_tape_status(w->t, err));
    vv_tape_reset(w->t);
    VV_TRY(vv_next_probabilities(w->p, w->logits, V, w->seen, w->n_seen, w->o, err));
    *id = vv_draw_token(w->p, V, w->o->seed, vv_kv_cache_length(w->cache));
    return VV_OK;
}

static vv_status write_text(writer *w, vv_tensor *x, int64_t most, vv_token_fn fn, void *ctx, int32_t *out,
                            int64_t *n_out, int *stopped, vv_error *err)
{
    while (*n_out < most) {
        int32_t id = 0;
        VV_TRY(next(w, x, &id, err));
        *stopped = ends_text(w, id);
        if (*stopped) break;
        out[(*n_out)++] = w->seen[w->n_seen++] = id;
        if (fn && fn(ctx, id)) break;
        x = vv_qwen3_embed(w->t, w->m, &id, 1);
    }
    return VV_OK;
}

vv_status vv_generate(vv_tape *t, const vv_qwen3 *m, vv_tensor *x, const int32_t *ids, int64_t n,
                      const vv_generate_options *o, vv_token_fn fn, void *ctx, int32_t *out, int64_t *n_out,
                      int *stopped, vv_error *err)
{
    *n_out = 0;
    *stopped = 0;
    VV_TRY(vv_generate_check(o, err));
    VV_TRY(vv_tape_status(t, err));
    if (vv_is_dry(t)) return vv_fail(err, VV_USAGE, "generate: expected a tape with data; got a dry one");
    if (n < 1 || !x || vv_rows(x) != n)
        return vv_fail(err, VV_USAGE,
                       "generate: expected a row of x for each of at least one id; got %lld rows, %lld ids",
                       x ? (long long)vv_rows(x) : 0LL, (long long)n);
    /* the last token is not read again: it may stand behind the last position */
    const int64_t room = vv_max(m->config.max_position_embeddings - n + 1, 1), most = vv_min(o->max_new_tokens, room);
    writer w = {.t = t, .m = m, .o = o};
    w.logits = vv_calloc(m->config.vocab_size, sizeof *w.logits);
    w.p = vv_calloc(m->config.vocab_size, sizeof *w.p);
    w.seen = vv_calloc(n + most, sizeof *w.seen);
    vv_status s = vv_kv_cache_new(&w.cache, m, n + vv_min(most, 512), err);
    if (s == VV_OK && (!w.logits || !w.p || !w.seen)) s = vv_no_memory(err, "text");
    if (s == VV_OK) {
        if (!o->penalty_on_output_only) memcpy(w.seen, ids, (size_t)n * sizeof *ids), w.n_seen = n;
        s = write_text(&w, x, most, fn, ctx, out, n_out, stopped, err);
    }
    vv_kv_cache_free(w.cache);
    free(w.logits);
    free(w.p);
    free(w.seen);
    return s;
}
