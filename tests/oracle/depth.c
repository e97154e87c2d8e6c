/* The losses of depth maps, in the words of the contract: sorted lists, plain sums, one pixel after the other. The least-squares fit is
 * the textbook's 2 x 2 system, not the centred sums of the backend. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle/oracle.h"

enum { COUNTED, EMPTY, NO_MEDIAN, SINGLE, FLAT_LABEL, FLAT_PREDICTION }; /* vvb_map */
enum { NORM, LS, PAPER, PAPER_SUM, MEGADEPTH };                          /* vvb_gm */

typedef struct {
    const vv_real *p, *d;
    const int32_t *mask;
    int64_t N, M;
    int state, counted, moves, clamped, by; /* by: NORM, LS, PAPER */
    int64_t mid[2];
    vvt_ref tp, sp, td, sd, s, o, A00, A01, det, slope_gauge, condition;
    vvt_ref *R, *Rg, *v, *vg; /* residuals and what came back to them, with gauges */
} map;

static int valid(const map *m, int64_t i) { return (!m->mask || m->mask[i] != 0) && isfinite(m->d[i]); }
static vvt_ref sign(vvt_ref x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }

/* ---- medians ------------------------------------------------------------------------------------------------------------ */
typedef struct {
    vv_real value;
    int64_t at;
} entry;

static int by_value(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

void vvo_medians(int32_t *at, const vv_real *x, const vv_real *d, const int32_t *mask, int64_t B, int64_t N)
{
    for (int64_t b = 0; b < B; b++) {
        const map m = {.d = d + b * N, .mask = mask ? mask + b * N : NULL};
        entry *list = calloc((size_t)N + 1, sizeof *list);
        int64_t M = 0;
        for (int64_t i = 0; i < N; i++)
            if (valid(&m, i)) list[M++] = (entry){x[b * N + i], i};
        qsort(list, (size_t)M, sizeof *list, by_value);
        for (int k = 0; k < 2; k++) {
            int64_t place = (M - 1 + k) / 2;
            while (M && place > 0 && list[place - 1].value == list[place].value) place--;
            at[2 * b + k] = M ? (int32_t)list[place].at : -1;
        }
        free(list);
    }
}

/* ---- one map ------------------------------------------------------------------------------------------------------------ */
static vvt_ref spread(const map *m, const vv_real *x, vvt_ref t)
{
    vvt_ref sum = 0;
    for (int64_t i = 0; i < m->N; i++)
        if (valid(m, i)) sum += fabsl((vvt_ref)x[i] - t);
    return sum / (vvt_ref)m->M;
}

static void fit(map *m)
{
    vvt_ref b0 = 0, b1 = 0, pa = 0, da = 0, CE = 0, CC = 0, A;
    const vvt_ref M = (vvt_ref)m->M;
    for (int64_t i = 0; i < m->N; i++) {
        const vvt_ref p = (vvt_ref)m->p[i], d = (vvt_ref)m->d[i];
        if (!valid(m, i)) continue;
        m->A00 += p * p;
        m->A01 += p;
        b0 += p * d;
        b1 += d;
        pa += fabsl(p) / M;
        da += fabsl(d) / M;
    }
    m->det = m->A00 * M - m->A01 * m->A01;
    A = m->det / M;
    if (m->det <= 1e-12L * fmaxl(m->A00 * M, 1)) {
        m->s = 0;
        m->o = b1 / M;
        return;
    }
    m->s = (M * b0 - m->A01 * b1) / m->det;
    m->o = (m->A00 * b1 - m->A01 * b0) / m->det;
    for (int64_t i = 0; i < m->N; i++) {
        if (!valid(m, i)) continue;
        CE += (fabsl((vvt_ref)m->p[i]) + pa) * (fabsl((vvt_ref)m->d[i]) + da);
        CC += (fabsl((vvt_ref)m->p[i]) + pa) * (fabsl((vvt_ref)m->p[i]) + pa);
    }
    m->condition = fmaxl(1, CC / A);
    m->slope_gauge = CE / A * m->condition;
}

static int classify(map *m, const int32_t *at_p, const int32_t *at_d, const vvo_depth *how)
{
    vvt_ref most = 0, rp, rd;
    for (int64_t i = 0; i < m->N; i++) m->M += valid(m, i);
    if (m->M == 0) return EMPTY;
    for (int k = 0; k < (how->average ? 2 : 1); k++)
        if (at_p[k] < 0 || at_p[k] >= m->N || !valid(m, at_p[k]) || at_d[k] < 0 || at_d[k] >= m->N ||
            !valid(m, at_d[k]))
            return NO_MEDIAN;
    if (m->M == 1) return SINGLE;
    m->mid[0] = at_p[0];
    m->mid[1] = how->average ? at_p[1] : at_p[0];
    m->tp = ((vvt_ref)m->p[m->mid[0]] + (vvt_ref)m->p[m->mid[1]]) / 2;
    m->td = ((vvt_ref)m->d[at_d[0]] + (vvt_ref)m->d[at_d[how->average ? 1 : 0]]) / 2;
    rp = spread(m, m->p, m->tp);
    rd = spread(m, m->d, m->td);
    m->sp = fmaxl(rp, (vvt_ref)how->eps);
    m->sd = fmaxl(rd, (vvt_ref)how->eps);
    m->clamped = rp <= (vvt_ref)how->eps;
    if (m->by == LS) fit(m);
    for (int64_t i = 0; i < m->N; i++)
        if (valid(m, i)) most = fmaxl(most, fabsl((vvt_ref)m->d[i]));
    const int flat = m->by == LS ? m->slope_gauge == 0 : m->clamped;
    const int flat_label = rd <= (vvt_ref)how->eps * fmaxl(1, most);
    m->counted = !flat_label || how->clamp;
    m->moves = m->counted && (!flat || (how->clamp && m->by != LS));
    return flat_label ? FLAT_LABEL : flat ? FLAT_PREDICTION : COUNTED;
}

static void residuals(map *m)
{
    vvt_ref pa = 0, da = 0;
    for (int64_t i = 0; i < m->N; i++)
        if (valid(m, i)) {
            pa += fabsl((vvt_ref)m->p[i]) / (vvt_ref)m->M;
            da += fabsl((vvt_ref)m->d[i]) / (vvt_ref)m->M;
        }
    for (int64_t i = 0; i < m->N; i++) {
        const vvt_ref p = (vvt_ref)m->p[i], d = (vvt_ref)m->d[i];
        if (!valid(m, i)) continue;
        if (m->by == LS) {
            m->R[i] = m->s * p + m->o - d;
            m->Rg[i] = m->slope_gauge * (fabsl(p) + pa) + fabsl(d) + da;
        } else if (m->by == PAPER) {
            m->R[i] = m->sp / m->sd * d - p;
            m->Rg[i] = m->sp / m->sd * fabsl(d) + fabsl(p);
        } else {
            m->R[i] = (p - m->tp) / m->sp - (d - m->td) / m->sd;
            m->Rg[i] = (fabsl(p) + fabsl(m->tp)) / m->sp + (fabsl(d) + fabsl(m->td)) / m->sd;
        }
    }
}

static map *maps(const vv_real *p, const vv_real *d, const int32_t *mask, const int32_t *at, int64_t B, int64_t N,
                 const vvo_depth *how, int by)
{
    map *all = calloc((size_t)B + 1, sizeof *all);
    for (int64_t b = 0; b < B; b++) {
        map *m = &all[b];
        *m = (map){.p = p + b * N, .d = d + b * N, .mask = mask ? mask + b * N : NULL, .N = N, .by = by};
        m->R = calloc(4 * (size_t)N + 1, sizeof *m->R);
        m->Rg = m->R + N;
        m->v = m->R + 2 * N;
        m->vg = m->R + 3 * N;
        m->state = classify(m, at + 2 * b, at + 2 * B + 2 * b, how);
        if (m->counted) residuals(m);
    }
    return all;
}

static void maps_free(map *all, int64_t B)
{
    for (int64_t b = 0; b < B; b++) free(all[b].R);
    free(all);
}

/* A result that is computed in double from terms with gauge G and rounded once, in the form DOT(4) wants (backend.h, Accuracy). */
static void result(vvo_out y, int64_t i, vvt_ref value, vvt_ref G, int64_t n)
{
    if (!y.v) return;
    y.v[i] += value;
    y.g[i] += fabsl(value) + sqrtl((vvt_ref)n) / 2 * (0x1p-53L / (vvt_ref)VV_U) * G;
}

/* ---- the way back: the formulas of backend.h, pixel by pixel ------------------------------------------------------------------ */
static void back_median(vvo_out dp, int64_t at, const map *m, int detach, vvt_ref dy, int64_t n)
{
    const vvt_ref M = (vvt_ref)m->M;
    vvt_ref U = 0, Ug = 0, h = 0, hg = 0, S = 0;
    for (int64_t i = 0; i < m->N && !detach; i++) {
        const vvt_ref p = (vvt_ref)m->p[i], d = (vvt_ref)m->d[i];
        if (!valid(m, i)) continue;
        S += sign(p - m->tp);
        U += m->by == PAPER ? 0 : m->v[i];
        Ug += m->by == PAPER ? 0 : m->vg[i];
        if (m->clamped) continue;
        h += m->by == PAPER ? m->v[i] * d / m->sd / M : m->v[i] * (p - m->tp) / m->sp / M;
        hg += m->by == PAPER ? m->vg[i] * fabsl(d) / m->sd / M : m->vg[i] * (fabsl(p) + fabsl(m->tp)) / m->sp / M;
    }
    for (int64_t k = 0; k < m->N; k++) {
        if (!valid(m, k)) continue;
        const vvt_ref w = ((k == m->mid[0] ? 1 : 0) + (k == m->mid[1] ? 1 : 0)) / 2.0L,
                      c = sign((vvt_ref)m->p[k] - m->tp);
        const vvt_ref g = m->by == PAPER ? -m->v[k] + h * (c - w * S) : (m->v[k] - w * U - h * (c - w * S)) / m->sp;
        const vvt_ref G = (m->vg[k] + w * Ug + hg * (1 + w * M)) / (m->by == PAPER ? 1 : m->sp);
        result(dp, at + k, dy * g, fabsl(dy) * G, n);
    }
}

static void back_fit(vvo_out dp, int64_t at, const map *m, int detach, vvt_ref dy, int64_t n)
{
    const vvt_ref M = (vvt_ref)m->M, A = m->det / M;
    vvt_ref vp = 0, v = 0, vpg = 0, vg = 0, pa = 0, da = 0;
    for (int64_t i = 0; i < m->N; i++) {
        if (!valid(m, i)) continue;
        vp += m->v[i] * (vvt_ref)m->p[i];
        v += m->v[i];
        vg += m->vg[i];
        pa += fabsl((vvt_ref)m->p[i]) / M;
        da += fabsl((vvt_ref)m->d[i]) / M;
    }
    for (int64_t i = 0; i < m->N; i++) vpg += m->vg[i] * (fabsl((vvt_ref)m->p[i]) + pa);
    const vvt_ref l0 = detach ? 0 : (M * vp - m->A01 * v) / m->det,
                  l1 = detach ? 0 : (m->A00 * v - m->A01 * vp) / m->det;
    for (int64_t k = 0; k < m->N; k++) {
        const vvt_ref p = (vvt_ref)m->p[k], d = (vvt_ref)m->d[k];
        if (!valid(m, k)) continue;
        const vvt_ref g = m->s * m->v[k] + l0 * (d - 2 * m->s * p - m->o) - l1 * m->s;
        const vvt_ref G = m->slope_gauge * (m->vg[k] + vg / M) +
                          vpg / A * m->condition * (fabsl(d) + da + 2 * m->slope_gauge * (fabsl(p) + pa));
        result(dp, at + k, dy * g, fabsl(dy) * G, n);
    }
}

static void back(vvo_out dp, const map *all, const vvo_depth *how, vvt_ref dy, int64_t B)
{
    for (int64_t b = 0; dp.v && b < B; b++) {
        if (!all[b].moves) continue;
        if (all[b].by == LS) back_fit(dp, b * all[b].N, &all[b], how->detach, dy, B * all[b].N);
        else back_median(dp, b * all[b].N, &all[b], how->detach, dy, B * all[b].N);
    }
}

/* ---- the losses ------------------------------------------------------------------------------------------------------------- */
static int by_size(const void *a, const void *b)
{
    const vvt_ref *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* whether pixel i is one of the floor((1 - trim) M) smallest residuals */
static int is_kept(const map *m, const vvt_ref *sorted, int64_t keep, int64_t i)
{
    const vvt_ref r = fabsl(m->R[i]);
    int64_t before = 0;
    if (keep == 0 || r > sorted[keep - 1]) return 0;
    if (r < sorted[keep - 1]) return 1;
    for (int64_t j = 0; j < m->N; j++) {
        const vvt_ref other = fabsl(m->R[j]);
        before += valid(m, j) && (j < i ? other <= r : other < r);
    }
    return before < keep;
}

void vvo_ssi(vvo_out y, vvo_out dp, vv_real dy, const vv_real *p, const vv_real *d, const int32_t *mask,
             const int32_t *at, int64_t B, int64_t N, const vvo_depth *how)
{
    map *all = maps(p, d, mask, at, B, N, how, how->ls ? LS : NORM);
    vvt_ref pixels = 0, count = 0, value = 0, G = 0;
    for (int64_t b = 0; b < B; b++) {
        pixels += all[b].counted ? (vvt_ref)all[b].M : 0;
        count += all[b].counted;
    }
    for (int64_t b = 0; b < B; b++) {
        map *m = &all[b];
        if (!m->counted) continue;
        const vvt_ref w = how->image ? 1 / count / (vvt_ref)m->M : 1 / pixels;
        const int64_t keep = (int64_t)((1 - how->trim) * (double)m->M);
        vvt_ref *sorted = calloc((size_t)N + 1, sizeof *sorted);
        int64_t n = 0;
        for (int64_t i = 0; i < N; i++)
            if (valid(m, i)) sorted[n++] = fabsl(m->R[i]);
        qsort(sorted, (size_t)n, sizeof *sorted, by_size);
        for (int64_t i = 0; i < N; i++) {
            if (!valid(m, i) || !is_kept(m, sorted, keep, i)) continue;
            value += w * fabsl(m->R[i]);
            G += w * m->Rg[i];
            m->v[i] = w * sign(m->R[i]);
            m->vg[i] = w;
        }
        free(sorted);
    }
    result(y, 0, value, G, B * N);
    back(dp, all, how, (vvt_ref)dy, B);
    maps_free(all, B);
}

/* the pair (i,j) of a scale: to the value, and to v of both */
static void pair(map *m, int64_t i, int64_t j, vvt_ref w, vvt_ref *value, vvt_ref *G)
{
    if (!valid(m, i) || !valid(m, j)) return;
    const vvt_ref difference = m->R[j] - m->R[i];
    *value += w * fabsl(difference);
    *G += w * (m->Rg[i] + m->Rg[j]);
    m->v[j] += w * sign(difference);
    m->v[i] -= w * sign(difference);
    m->vg[i] += w;
    m->vg[j] += w;
}

void vvo_gradient_matching(vvo_out y, vvo_out dp, vv_real dy, const vv_real *p, const vv_real *d, const int32_t *mask,
                           const int32_t *at, int64_t B, int64_t Hh, int64_t Ww, const vvo_depth *how)
{
    const int by = how->gm == LS ? LS : how->gm == PAPER || how->gm == PAPER_SUM ? PAPER : NORM;
    map *all = maps(p, d, mask, at, B, Hh * Ww, how, by);
    vvt_ref value = 0, G = 0;
    for (int64_t k = 0; k < how->scales; k++) {
        const int64_t step = how->gm == MEGADEPTH ? (k ? 2 * k : 1) : (int64_t)1 << k;
        const int64_t reach = how->gm == MEGADEPTH ? 2 : 1;
        vvt_ref n = 0;
        for (int64_t b = 0; b < B; b++)
            for (int64_t i = 0; i < Hh * Ww; i++)
                n += all[b].counted && i / Ww % step == 0 && i % Ww % step == 0 && valid(&all[b], i);
        const vvt_ref w = n == 0 ? 0 : how->gm == PAPER_SUM ? 1 : 1 / n;
        for (int64_t b = 0; b < B; b++)
            for (int64_t i = 0; i < Hh * Ww && all[b].counted; i++) {
                const int64_t row = i / Ww, col = i % Ww;
                if (row % step || col % step) continue;
                if (col + reach * step < Ww) pair(&all[b], i, i + reach * step, w, &value, &G);
                if (row + reach * step < Hh) pair(&all[b], i, i + reach * step * Ww, w, &value, &G);
            }
    }
    result(y, 0, value, G, B * Hh * Ww);
    back(dp, all, how, (vvt_ref)dy, B);
    maps_free(all, B);
}
