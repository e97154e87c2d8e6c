/* How far n numbers g are from those they should be, r:
 *   relative RMS = RMS(g - r) / max(RMS(r), scale); RMS(g - r) itself where both are 0
 *   cosine       of g and r as vectors; 1 where both are 0
 *   ULP          |g - r| in units of the last place of r as a float (24 bits, least exponent -126): percentiles
 * Squares neither overflow nor vanish: they are taken of numbers divided by the largest. */
#ifndef VV_GOLDEN_MEASURE_H
#define VV_GOLDEN_MEASURE_H

#include "base/base.h"

enum { VV_ULP_50, VV_ULP_99, VV_ULP_MAX, VV_ULPS };

typedef struct {
    double rel_rms, max_abs, cosine, rms; /* rms: of r */
    double base;                          /* what rel_rms is relative to; 1 where that would be 0 */
    double ulp[VV_ULPS];
    int64_t worst; /* index of the largest difference, or of the first number of g that is not finite */
    double want, got;
    int finite_r, finite_g, constant; /* constant: all of r are the same */
} vv_measure;

/* rms >= 0: that of the whole that r is a sample of, instead of r's own. */
vv_status vv_measure_pair(vv_measure *m, const double *r, const double *g, int64_t n, double scale, double rms,
                          vv_error *err) VV_MUST_USE;

/* RMS(g - r) / RMS(r), without all the rest; not a number where one of them is not. */
double vv_distance(const double *r, const double *g, int64_t n);

#endif
