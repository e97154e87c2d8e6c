/* Inside golden/mapping*.c only: arrays that change shape, and the steps. */
#ifndef VV_MAPPING_PARTS_H
#define VV_MAPPING_PARTS_H

#include "golden/mapping.h"

/* t's own numbers in memory. */
vv_status vv_map_load(const vv_candidate *c, vv_candidate_tensor *t, vv_error *err) VV_MUST_USE;
/* One step, {"name": value}; where names it in messages. */
vv_status vv_map_step(const vv_candidate *c, vv_candidate_tensor *t, const json_t *step, const vv_golden *g,
                      const char *where, vv_error *err) VV_MUST_USE;
/* Only whether it is one. */
vv_status vv_map_step_check(const json_t *step, const char *where, vv_error *err) VV_MUST_USE;
/* b is appended to a along the axis; a keeps its key. */
vv_status vv_map_join(vv_candidate_tensor *a, const vv_candidate_tensor *b, int axis, const char *where,
                      vv_error *err) VV_MUST_USE;
/* Elements [first, first + size) of the axis, in fresh memory of *piece (key not set). */
vv_status vv_map_piece(vv_candidate_tensor *piece, const vv_candidate_tensor *t, int axis, int64_t first, int64_t size,
                       const char *where, vv_error *err) VV_MUST_USE;

#endif
