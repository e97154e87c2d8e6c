#include "golden/discrete.h"

#include <math.h>

/* an index into its row of `width` deciding values, the first of which is row[0] */
static int legal_index(const double *row, int64_t width, double want, double got, double noise)
{
    const int inside = want >= 0 && got >= 0 && want < (double)width && got < (double)width;
    if (!inside || want != floor(want) || got != floor(got)) return 0;
    return fabs(row[(int64_t)want] - row[(int64_t)got]) <= noise;
}

void vv_count_ties(const vv_golden_entry *e, const double *want, const double *got, const double *of, int64_t of_n,
                   double noise, int64_t *ties, int64_t *wrong, int64_t *worst)
{
    const int64_t n = e->at->n, width = n > 0 ? of_n / n : 0;
    *ties = *wrong = *worst = 0;
    for (int64_t i = 0; i < n; i++) {
        if (want[i] == got[i]) continue;
        const int by_index = e->rule == VV_RULE_ARGMAX || e->rule == VV_RULE_MEDIAN;
        const int legal = by_index ? legal_index(of + i * width, width, want[i], got[i], noise)
                                   : isfinite(got[i]) && fabs(of[i] - e->threshold) <= noise;
        if (legal) ++*ties;
        else if ((*wrong)++ == 0) *worst = i;
    }
}
