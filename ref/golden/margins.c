#include "golden/margins.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

vv_margins vv_margins_begin(void) { return (vv_margins){.least = INFINITY}; }

void vv_margins_add(vv_margins *m, const char *where, const double *x, int64_t n, double scale)
{
    for (int64_t i = 0; i < n; i++) {
        if (!(fabs(x[i]) < m->least * scale)) continue;
        m->least = fabs(x[i]) / scale;
        snprintf(m->where, sizeof m->where, "%s", where);
    }
}

double vv_margins_rms(const double *x, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return n ? sqrt(sum / (double)n) : 0;
}

/* ---- ReLUs ------------------------------------------------------------------------------------------------------------- */
static int ends(const char *name, const char *end)
{
    const size_t n = strlen(name), k = strlen(end);
    return n >= k && !strcmp(name + n - k, end);
}

static int feeds_relu(const char *name)
{
    static const char *const depth[] = {"_rn", "#sum", ".conv1", "output_conv2.0", "output_conv2.2", NULL},
                             *const mask[] = {".lin1", ".layers.0", ".layers.1", "text_proj.0", NULL};
    const char *const *list = !strncmp(name, "depth_head.scratch.", 19) ? depth
                              : !strncmp(name, "mask_head.", 10)        ? mask
                                                                        : NULL;
    for (; list && *list; list++)
        if (ends(name, *list)) return list != mask || strstr(name, "hypernetworks") || !strstr(name, "transformer");
    return 0;
}

void vv_margins_trace(void *ctx, vv_event event, const vv_tensor *x)
{
    vv_margins *m = ctx;
    char name[VV_NAME_MAX];
    if (event != VV_EVENT_ACT || x->kind != VV_REALS || !x->data || !feeds_relu(vv_name(x, name))) return;
    const int64_t R = vv_rows(x), C = vv_last(x);
    vv_real *host = vv_calloc(x->n, sizeof *host);
    double *column = vv_calloc(R, sizeof *column);
    if (!host || !column) {
        (void)vv_no_memory(&m->err, name);
    } else {
        vvb_download(host, vv_f(x), x->n * (int64_t)sizeof *host);
        for (int64_t c = 0; c < C; c++) {
            for (int64_t r = 0; r < R; r++) column[r] = (double)host[r * C + c];
            vv_margins_add(m, name, column, R, vv_margins_rms(column, R));
        }
    }
    free(host);
    free(column);
}

/* ---- depth losses ------------------------------------------------------------------------------------------------------- */
static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* (x - median) / mean deviation of the valid pixels, in place; NaN elsewhere. work [N]. The median itself, or NaN when none is valid. */
static double standardise(double *x, const char *valid, int64_t N, double *work)
{
    int64_t n = 0;
    for (int64_t i = 0; i < N; i++)
        if (valid[i]) work[n++] = x[i];
    if (n == 0) return NAN;
    qsort(work, (size_t)n, sizeof *work, ascending);
    const double median = work[(n - 1) / 2];
    double spread = 0;
    for (int64_t i = 0; i < n; i++) spread += fabs(work[i] - median) / (double)n;
    for (int64_t i = 0; i < N; i++) x[i] = valid[i] ? (x[i] - median) / spread : NAN;
    return median;
}

/* what of x [n] is a number, moved to the front */
static int64_t compact(double *x, int64_t n)
{
    int64_t k = 0;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(x[i])) x[k++] = x[i];
    return k;
}

/* a and b of one map, R in place of b; work [2 N] */
static void one_map(vv_margins *m, double *a, double *b, const char *valid, int64_t Hh, int64_t Ww, int64_t scales,
                    double *work)
{
    const int64_t N = Hh * Ww;
    const double median = standardise(a, valid, N, work);
    if (isnan(median) || isnan(standardise(b, valid, N, work))) return;
    int64_t n = 0, itself = 0;
    for (int64_t i = 0; i < N; i++)
        if (valid[i] && (a[i] != 0 || itself++)) work[n++] = a[i]; /* not the median pixel itself */
    vv_margins_add(m, "the median of a prediction", work, n, vv_margins_rms(work, n));
    for (int64_t i = 0; i < N; i++) {
        const int both = a[i] == 0 && b[i] == 0; /* the median pixel of both: a residual of 0 in every program */
        b[i] = a[i] - b[i];
        work[i] = both ? NAN : b[i];
    }
    n = compact(work, N);
    const double scale = vv_margins_rms(work, n);
    vv_margins_add(m, "a residual of ssi", work, n, scale);
    for (int64_t g = 1; scales-- > 0; g *= 2) {
        n = 0;
        for (int64_t y = 0; y < Hh; y += g)
            for (int64_t x = 0; x < Ww; x += g) {
                work[n++] = x + g < Ww ? b[y * Ww + x + g] - b[y * Ww + x] : NAN;
                work[n++] = y + g < Hh ? b[(y + g) * Ww + x] - b[y * Ww + x] : NAN;
            }
        vv_margins_add(m, "a difference of gradient matching", work, compact(work, n), scale);
    }
}

void vv_margins_depth(vv_margins *m, const vv_real *p, const vv_real *d, const int32_t *mask, int64_t B, int64_t Hh,
                      int64_t Ww, int64_t scales)
{
    const int64_t N = Hh * Ww;
    double *room = vv_calloc(4 * N, sizeof *room);
    char *valid = vv_calloc(N, 1);
    for (int64_t i = 0; room && valid && i < B; i++) {
        for (int64_t k = 0; k < N; k++) {
            room[k] = (double)p[i * N + k];
            room[N + k] = (double)d[i * N + k];
            valid[k] = isfinite(d[i * N + k]) && (!mask || mask[i * N + k]);
        }
        one_map(m, room, room + N, valid, Hh, Ww, scales, room + 2 * N);
    }
    if (!room || !valid) (void)vv_no_memory(&m->err, "margins");
    free(room);
    free(valid);
}

/* ---- choices ------------------------------------------------------------------------------------------------------------ */
void vv_margins_argmax(vv_margins *m, const char *where, const vv_real *z, int64_t R, int64_t C)
{
    for (int64_t r = 0; r < R; r++, z += C) {
        double first = -INFINITY, second = -INFINITY, sum = 0;
        for (int64_t c = 0; c < C; c++) {
            const double v = (double)z[c];
            if (v > first) second = first, first = v;
            else if (v > second) second = v;
            sum += v * v;
        }
        const double gap = first - second;
        vv_margins_add(m, where, &gap, 1, sqrt(sum / (double)C));
    }
}

vv_status vv_margins_check(const vv_margins *m, const vv_case *c, double least, vv_error *err)
{
    if (m->err.status != VV_OK) return vv_fail(err, m->err.status, "%s", m->err.msg);
    if (!c->truth || m->least >= least) return VV_OK;
    return vv_fail(err, VV_FILE,
                   "%s: seed %llu: %s is %.2g of its RMS from a tie; expected %g at least: take another seed", c->path,
                   (unsigned long long)c->seed, m->where, m->least, least);
}
