/* Ties of discrete values: whether another choice than the golden one is legal. */
#ifndef VV_GOLDEN_DISCRETE_H
#define VV_GOLDEN_DISCRETE_H

#include "golden/index.h"

/* e: a DISCRETE entry with a rule; want, got: its n values; of: the golden values of the deciding tensor; noise: the difference between
 * two of them that means nothing. Counts legal and other differing elements; *worst is the first of the latter. */
void vv_count_ties(const vv_golden_entry *e, const double *want, const double *got, const double *of, int64_t of_n,
                   double noise, int64_t *ties, int64_t *wrong, int64_t *worst);

#endif
