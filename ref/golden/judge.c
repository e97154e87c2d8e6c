#include "golden/judge.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/discrete.h"
#include "golden/mapping.h"
#include "golden/record.h"

static const double DEFAULT_MULTIPLE = 13;
enum { CONSTANT = 8 }; /* so many equal numbers may be an accident */

const char *vv_verdict_name(vv_verdict v)
{
    static const char *const name[] = {"PASS",   "FAIL",      "MISSING",   "SHAPE", "NOT FINITE",
                                       "absent", "UNTRUSTED", "DUPLICATE", "TIE"};
    return name[v];
}

int vv_verdict_fails(vv_verdict v) { return v != VV_PASS && v != VV_ABSENT && v != VV_TIE; }

int vv_scope_parse(const char *name, vv_judge_scope *s)
{
    static const char *const names[] = {"outputs", "forward", "backward", "update"};
    for (int i = 0; i < 4; i++)
        if (!strcmp(names[i], name)) {
            *s = (vv_judge_scope)i;
            return 1;
        }
    return 0;
}

double vv_multiple(const vv_judgement *x) { return x->measured && x->floor > 0 ? x->m.rel_rms / x->floor : NAN; }

double vv_proven(const vv_judgement *x)
{
    return x->measured && x->entry->bound > 0 ? x->entry->bound / x->m.base : NAN;
}

const char *vv_index_text(const vv_golden_entry *e, int64_t flat, char *buf, size_t size)
{
    int64_t at[VV_ST_MAXDIM] = {0}, whole = e->sample ? vv_sample_at(e->n, flat) : flat;
    for (int i = e->ndim - 1; i >= 0; i--) {
        at[i] = e->shape[i] > 0 ? whole % e->shape[i] : 0;
        whole /= vv_max(e->shape[i], 1);
    }
    return vv_shape_text(at, e->ndim, buf, size);
}

/* ---- numbers ------------------------------------------------------------------------------------------------------------- */
static int fits(const vv_golden_entry *e, const vv_candidate_tensor *t)
{
    if (t->fits && t->e.n == e->n) return 1;
    if (t->e.ndim != e->ndim) return 0;
    for (int i = 0; i < e->ndim; i++)
        if (t->e.shape[i] != e->shape[i]) return 0;
    return 1;
}

/* a sample of a sampled tensor: as the golden file holds it */
static int is_sample(const vv_golden_entry *e, const vv_candidate_tensor *t)
{
    return e->sample && t->e.ndim == 1 && t->e.n == e->sample;
}

/* the candidate's numbers, those that the golden file holds */
static vv_status candidate_numbers(double **out, const vv_judged *j, const vv_golden_entry *e,
                                   const vv_candidate_tensor *t, vv_error *err)
{
    VV_TRY(vv_candidate_read(out, &j->candidate, t, err));
    if (e->sample && !is_sample(e, t))
        for (int64_t i = 0; i < e->sample; i++) (*out)[i] = (*out)[vv_sample_at(e->n, i)]; /* never to the left of i */
    return VV_OK;
}

static vv_status limit_of(const vv_judged *j, const vv_golden_entry *e, double *floor, double *limit, vv_error *err)
{
    const vv_judge_options *o = &j->options;
    const vv_golden_entry *by = j->floors.n ? vv_golden_find(&j->floors, e->key) : e;
    *floor = by ? by->band[j->local][o->precision].hi : 0;
    if (o->limit >= 0) *limit = o->limit;
    else if (*floor > 0) *limit = *floor * (o->multiple > 0 ? o->multiple : DEFAULT_MULTIPLE);
    else
        return vv_fail(err, VV_FILE, "%s: %s: expected %s%s%s in the index; found none (give --limit, or add floors)",
                       j->floors.n ? j->floors.path : j->golden.path, e->key, j->local ? "local " : "",
                       o->precision == VV_AS_FLOAT ? "a floor" : "a band of ",
                       o->precision == VV_AS_FLOAT ? "" : vv_precision_name(o->precision));
    return VV_OK;
}

/* ---- one tensor ------------------------------------------------------------------------------------------------------------ */
static vv_status decide_discrete(const vv_judged *j, vv_judgement *x, const double *want, const double *got,
                                 vv_error *err)
{
    const vv_golden_entry *e = x->entry, *of = e->of ? vv_golden_find(&j->golden, e->of) : NULL;
    const vv_st_entry *at = e->of ? vv_st_find(j->golden.st, e->of) : NULL;
    double *v = NULL, noise = 0;
    int64_t wrong = 0, worst = 0;
    x->verdict = x->m.max_abs == 0 && x->m.finite_g ? VV_PASS : x->m.finite_g ? VV_FAIL : VV_NOT_FINITE;
    if (x->verdict != VV_FAIL || !of || of->sample || e->sample) return VV_OK;
    VV_TRY(limit_of(j, of, &x->floor, &x->limit, err));
    VV_TRY(vv_golden_doubles(&v, &j->golden, at, err));
    double squares = 0, top = 0;
    for (int64_t i = 0; i < at->n; i++) top = isfinite(v[i]) ? fmax(top, fabs(v[i])) : top;
    for (int64_t i = 0; i < at->n; i++) squares += isfinite(v[i]) && top > 0 ? v[i] / top * (v[i] / top) : 0;
    noise = x->limit * fmax(top * sqrt(squares / (double)vv_max(at->n, 1)), of->scale);
    vv_count_ties(e, want, got, v, at->n, noise, &x->ties, &wrong, &worst);
    free(v);
    if (wrong == 0) {
        x->verdict = VV_TIE;
    } else {
        x->m.worst = worst;
        x->m.want = want[worst];
        x->m.got = got[worst];
    }
    x->limit = x->floor = 0; /* they were the deciding tensor's */
    return VV_OK;
}

static void neighbours(vv_judgement *x, const double *want, const double *got)
{
    const vv_golden_entry *e = x->entry;
    const int64_t row = e->sample || e->ndim == 0 ? e->at->n : vv_max(1, e->shape[e->ndim - 1]), at = x->m.worst;
    const int64_t begin = at / row * row, end = vv_min(e->at->n, begin + row);
    x->near_first = vv_max(begin, vv_min(at - VV_NEAR / 2, end - VV_NEAR));
    for (int64_t i = x->near_first; i < end && x->near_n < VV_NEAR; i++, x->near_n++) {
        x->near_want[x->near_n] = want[i];
        x->near_got[x->near_n] = got[i];
    }
}

/* EXACT where the reference itself holds what is no number (unknown labels): equal, or the same bits. */
static void decide_exact(vv_judgement *x, const double *want, const double *got)
{
    int64_t at = 0;
    const int64_t n = x->entry->at->n;
    while (at < n && (want[at] == got[at] || !memcmp(&want[at], &got[at], sizeof *want))) at++;
    x->m.rel_rms = 0;
    if (at == n) return;
    x->verdict = isfinite(got[at]) ? VV_FAIL : VV_NOT_FINITE;
    x->m.rel_rms = NAN;
    x->m.worst = at;
    x->m.want = want[at];
    x->m.got = got[at];
}

static vv_status decide(const vv_judged *j, vv_judgement *x, const double *want, const double *got, vv_error *err)
{
    const vv_golden_entry *e = x->entry;
    VV_TRY(vv_measure_pair(&x->m, want, got, e->at->n, e->scale, e->sample ? e->rms : -1, err));
    x->measured = 1;
    if (e->class == VV_DISCRETE) return decide_discrete(j, x, want, got, err);
    if (e->class == VV_EXACT && !x->m.finite_r) {
        decide_exact(x, want, got);
        return VV_OK;
    }
    if (e->class == VV_CHAIN) {
        VV_TRY(limit_of(j, e, &x->floor, &x->limit, err));
        if (!x->m.finite_r || (x->m.constant && e->at->n > CONSTANT && !(e->scale > 0))) {
            x->verdict = VV_UNTRUSTED;
            return VV_OK;
        }
    }
    const int equal = x->limit == 0 ? x->m.max_abs == 0 && x->m.rel_rms == 0 && x->m.finite_g && x->m.finite_r
                                    : x->m.rel_rms <= x->limit; /* false for NaN */
    x->verdict = !x->m.finite_g ? VV_NOT_FINITE : equal ? VV_PASS : VV_FAIL;
    return VV_OK;
}

static int inside(const vv_golden_entry *e, vv_judge_scope scope)
{
    switch (e->kind) {
    case VV_KIND_ACT:
        return e->output || scope >= VV_SCOPE_FORWARD;
    case VV_KIND_DACT:
    case VV_KIND_DW:
        return e->output || scope >= VV_SCOPE_BACKWARD;
    case VV_KIND_DSTEP:
        return e->output || scope >= VV_SCOPE_UPDATE;
    default:
        return 1;
    }
}

static vv_status judge_one(const vv_judged *j, vv_judgement *x, const vv_golden_entry *e, int alternative,
                           vv_error *err)
{
    int64_t same = 0;
    const vv_candidate_tensor *t = vv_candidate_find(&j->candidate, e->key, &same);
    double *want = NULL, *got = NULL;
    *x = (vv_judgement){.entry = e, .alternative = alternative};
    if (!t) {
        x->verdict = e->required && inside(e, j->options.scope) && !j->options.present ? VV_MISSING : VV_ABSENT;
        return VV_OK;
    }
    if (same > 1) {
        x->verdict = VV_DUPLICATE;
        return VV_OK;
    }
    if (!fits(e, t) && !is_sample(e, t)) {
        x->verdict = VV_SHAPE;
        x->ndim = t->e.ndim;
        memcpy(x->shape, t->e.shape, sizeof x->shape);
        return VV_OK;
    }
    const char *key =
        alternative > 0 ? json_string_value(json_array_get(e->alternatives, (size_t)alternative - 1)) : NULL;
    const vv_st_entry *at = key ? vv_st_find(j->golden.st, key) : e->at;
    vv_status s = e->sample ? vv_entry_doubles(&want, j->golden.path, at, err) /* the digest is that of the whole */
                            : vv_golden_doubles(&want, &j->golden, at, err);
    if (s == VV_OK) s = candidate_numbers(&got, j, e, t, err);
    if (s == VV_OK) s = decide(j, x, want, got, err);
    if (s == VV_OK && e->at->n > 0) neighbours(x, want, got);
    free(want);
    free(got);
    return s;
}

/* ---- alternatives ---------------------------------------------------------------------------------------------------------- */
static int same_task(const vv_golden_entry *a, const vv_golden_entry *b)
{
    return a->task_n == b->task_n && !strncmp(a->task, b->task, (size_t)a->task_n);
}

/* Which alternative the candidate chose in the task of e: the one by which the fewest tensors fail. */
static vv_status choose(const vv_judged *j, const vv_golden_entry *e, int *chosen, vv_error *err)
{
    size_t most = 0;
    int64_t least = INT64_MAX;
    for (int64_t i = 0; i < j->golden.n; i++)
        if (same_task(&j->golden.entry[i], e))
            most = (size_t)vv_max((int64_t)most, (int64_t)json_array_size(j->golden.entry[i].alternatives));
    for (int k = 0; k <= (int)most; k++) {
        int64_t fails = 0;
        for (int64_t i = 0; i < j->golden.n; i++) {
            const vv_golden_entry *other = &j->golden.entry[i];
            vv_judgement x;
            if (!same_task(other, e) || json_array_size(other->alternatives) == 0) continue;
            VV_TRY(judge_one(j, &x, other, k <= (int)json_array_size(other->alternatives) ? k : 0, err));
            fails += vv_verdict_fails(x.verdict);
        }
        if (fails < least) {
            least = fails;
            *chosen = k;
        }
    }
    return VV_OK;
}

/* ---- all tensors ------------------------------------------------------------------------------------------------------------- */
static void count(vv_judged *j, const vv_judgement *x)
{
    j->judged++;
    j->absent += x->verdict == VV_ABSENT;
    j->ties += x->verdict == VV_TIE;
    if (x->verdict == VV_MISSING && j->missing++ == 0) j->first_missing = x;
    if (vv_verdict_fails(x->verdict) && x->verdict != VV_MISSING && j->failed++ == 0) j->first = x;
    if ((x->verdict == VV_PASS || x->verdict == VV_FAIL) && vv_multiple(x) > j->most) j->most = vv_multiple(x);
}

static vv_status judge_all(vv_judged *j, vv_error *err)
{
    const vv_golden *g = &j->golden;
    const char *task = "";
    int task_n = -1, chosen = 0;
    if (!(j->at = vv_calloc(g->n, sizeof *j->at))) return vv_no_memory(err, g->path);
    for (int64_t i = 0; i < g->n; i++) {
        const vv_golden_entry *e = &g->entry[i];
        const int ways = (int)json_array_size(e->alternatives);
        if (e->kind == VV_KIND_ALT) continue;
        if (ways > 0 && (task_n != e->task_n || strncmp(task, e->task, (size_t)task_n))) {
            task = e->task;
            task_n = e->task_n;
            chosen = 0;
            VV_TRY(choose(j, e, &chosen, err));
        }
        vv_judgement *x = &j->at[j->n++];
        VV_TRY(judge_one(j, x, e, ways > 0 && chosen <= ways ? chosen : 0, err));
        count(j, x);
    }
    for (int64_t k = 0; k < j->candidate.n; k++)
        if (!vv_st_find(g->st, j->candidate.at[k].key) && j->extra++ == 0) j->first_extra = j->candidate.at[k].key;
    return j->failed || j->missing || (j->extra && !j->options.ignore_extra) ? VV_DIFFERS : VV_OK;
}

static vv_status map(vv_judged *j, vv_error *err)
{
    vv_mapping *m = NULL;
    if (!j->options.map) return VV_OK;
    VV_TRY(vv_mapping_load(&m, j->options.map, err));
    const vv_status s = vv_mapping_apply(m, &j->candidate, &j->golden, err);
    vv_mapping_free(m);
    return s;
}

vv_status vv_judge(vv_judged *j, const char *golden, const char *candidate, const vv_judge_options *o, vv_error *err)
{
    *j = (vv_judged){.options = *o};
    vv_status s = vv_golden_open(&j->golden, golden, err);
    if (s == VV_OK && o->floors) s = vv_golden_open(&j->floors, o->floors, err);
    if (s == VV_OK) s = vv_candidate_open(&j->candidate, candidate, err);
    if (s == VV_OK) s = map(j, err);
    const char *resync = s == VV_OK ? vv_candidate_metadata(&j->candidate, "resync") : NULL;
    j->local = resync && !strcmp(resync, "layer");
    if (s == VV_OK) s = judge_all(j, err);
    if (s != VV_OK && s != VV_DIFFERS) vv_judged_free(j);
    return s;
}

void vv_judged_free(vv_judged *j)
{
    vv_golden_close(&j->golden);
    vv_golden_close(&j->floors);
    vv_candidate_close(&j->candidate);
    free(j->at);
    *j = (vv_judged){0};
}
