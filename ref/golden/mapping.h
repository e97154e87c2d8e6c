/* Mapping files: how the tensors of another program become those of a golden file. JSON:
 *
 *   {"about": "one line", "rules": [RULE, ...]}
 *
 * Rules are applied one after the other, each to all tensors there are by then; what a rule makes is seen by the rules after it.
 *   "from"   a regular expression (PCRE2) that the whole name must match; always there
 *   "to"     the new name, with $1 .. $9 for its groups, $0 for the name, $T for u<update>/<task> of the golden file's first
 *            activation, $$ for a dollar. Without it the name stays.
 *            A list of names splits: equal pieces along "axis" (default 0), or those of "sizes".
 *   "with"   joins: names (with $1 ...) of tensors that are appended along "axis"; they are gone then, unless "keep" is true
 *   "drop"   true: the tensor is left out
 *   "do"     a list of steps, in order, before a split and after a join:
 *     {"reshape": [36, -1]}               -1: what is left; 0: as it is
 *     {"permute": [0, 3, 1, 2]}           as numpy.transpose
 *     {"transpose": true}                 the last two axes
 *     {"nchw": true}                      from [B,H,W,C]; the same as {"permute": [0, 3, 1, 2]}
 *     {"unpad": [axis, padded, size]}     the axis is heads of `padded` elements, of which the first `size` count
 *     {"scale": 0.125}                    times a factor
 *     {"cast": "BF16"}                    rounded to BF16, F16 or F32
 *     {"order": "raster"}                 rows are tokens in raster order: brings them into merge-block order (needs grid_thw)
 *     {"fit": true}                       the golden tensor's shape is taken when the number of elements is the same ([1,N,C] for [N,C])
 * No tensor may become larger than 64 times the candidate, and there may be 64 times as many and 4096. Errors name file, rule and
 * tensor. */
#ifndef VV_GOLDEN_MAPPING_H
#define VV_GOLDEN_MAPPING_H

#include "golden/candidate.h"
#include "golden/index.h"

typedef struct vv_mapping vv_mapping;
vv_status vv_mapping_load(vv_mapping **out, const char *path, vv_error *err) VV_MUST_USE;
void vv_mapping_free(vv_mapping *m); /* NULL is fine */
vv_status vv_mapping_apply(const vv_mapping *m, vv_candidate *c, const vv_golden *g, vv_error *err) VV_MUST_USE;

#endif
