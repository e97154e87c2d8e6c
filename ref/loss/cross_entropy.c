#include "loss/cross_entropy.h"

#include <stdlib.h>

/* targets of one sequence: labels that an earlier position of it predicts */
static int64_t targets(const int32_t *labels, int64_t first, int64_t end)
{
    int64_t n = 0;
    for (int64_t i = first + 1; i < end; i++) n += labels[i] != VV_IGNORED;
    return n;
}

void vv_ce_count(vv_ce_window *w, const int32_t *labels, const int32_t *cu, int64_t S)
{
    for (int64_t s = 0; s < S; s++) {
        const int64_t n = targets(labels, cu[s], cu[s + 1]);
        w->tokens += n;
        w->sequences += n > 0;
        w->empty += n == 0;
    }
}

/* what predicts, what is predicted, and with which weight: one entry a target */
typedef struct {
    int32_t *row, *target;
    double *weight;
    int64_t n;
} predictions;

static predictions predict(const int32_t *labels, const int32_t *cu, int64_t S, const vv_ce_window *w)
{
    const int64_t N = cu[S];
    predictions p = {vv_calloc(N, sizeof *p.row), vv_calloc(N, sizeof *p.target), vv_calloc(N, sizeof *p.weight), 0};
    if (!p.row || !p.target || !p.weight) return p;
    for (int64_t s = 0; s < S; s++) {
        const double n = (double)targets(labels, cu[s], cu[s + 1]);
        for (int64_t i = cu[s] + 1; i < cu[s + 1]; i++) {
            if (labels[i] == VV_IGNORED) continue;
            p.row[p.n] = (int32_t)(i - 1);
            p.target[p.n] = labels[i];
            p.weight[p.n++] = w->reduction == VV_CE_SAMPLE ? 1 / (n * (double)w->sequences) : 1 / (double)w->tokens;
        }
    }
    return p;
}

vv_tensor *vv_cross_entropy(vv_tape *t, const char *name, vv_tensor *hidden, vv_tensor *table, const int32_t *labels,
                            const int32_t *cu, int64_t S, const vv_ce_window *w, vv_tensor **per_token)
{
    if (per_token) *per_token = NULL;
    if (!vv_ready(t, 2, hidden, table)) return NULL;
    if (!vv_expect(t, "cross_entropy", name, vv_rows(hidden) == cu[S], "a row for each token", "hidden", hidden))
        return NULL;
    const predictions p = predict(labels, cu, S, w);
    vv_tensor *loss = NULL;
    if (!p.row || !p.target || !p.weight) {
        vv_tape_fail(t, VV_MEMORY, "%s: out of memory", name);
    } else if (p.n == 0) {
        const vv_real zero = 0;
        loss = vv_input(t, name, VV_REALS, 0, NULL, &zero);
    } else {
        vv_tensor *rows = vv_gather_rows(t, NULL, hidden, p.row, p.n);
        loss = vv_linear_cross_entropy(t, name, rows, table, p.target, p.weight, p.n, per_token);
    }
    free(p.row);
    free(p.target);
    free(p.weight);
    return loss;
}
