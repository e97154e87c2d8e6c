/* Floors: how far correct candidates land from a golden file.
 *
 * Candidates say in their metadata what they are, and go into the field of the index that this belongs to:
 *   no "emulated"           floor: the largest relative RMS of them all
 *   "emulated": "tf32"      bands.tf32: the smallest and the largest (of several placements of rounding)
 *   "resync": "layer"       local and local_bands instead: every tensor before it was replaced by the golden one
 * A floor is at least 2^-24, one rounding of a float, so that none is small by accident. A step (dstep) is a difference of weights that
 * were rounded, over the learning rate: its error is c RMS(w) / RMS(dstep) with one c for all tensors of an update. c is the median of
 * what was measured, and no step's floor is below that. Three digits. */
#ifndef VV_GOLDEN_FLOORS_H
#define VV_GOLDEN_FLOORS_H

#include "golden/index.h"

/* Writes a copy of `truth` with these fields. Fields that no candidate belongs to stay as they are. A candidate that lacks a required
 * tensor, or in which one is not finite or mis-shaped, is VV_FILE: it makes no floor. */
vv_status vv_golden_floors(const char *truth, const char *const *candidate, int64_t n, const char *out,
                           vv_error *err) VV_MUST_USE;

#endif
