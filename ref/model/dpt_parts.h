/* The parameters of the depth head: what its own files share. */
#ifndef VV_DPT_PARTS_H
#define VV_DPT_PARTS_H

#include "model/dpt_head.h"

typedef struct {
    vv_affine conv1, conv2;
} vv_dpt_unit; /* resConfUnit */

typedef struct {
    vv_affine tap_norm, project, resize; /* what a level does not have is NULL */
    vv_affine rn;                        /* scratch.layer{i+1}_rn: no bias */
    vv_dpt_unit unit1, unit2;            /* of scratch.refinenet{i+1} */
    vv_affine out_conv;
} vv_dpt_level;

struct vv_dpt {
    vv_dpt_config config;
    vv_part part; /* "depth_head.": in the order of the table in the header */
    vv_dpt_level level[VV_DPT_LEVELS];
    vv_affine output_conv1, output_conv2_0, output_conv2_2;
};

/* A level's map is so many times as large as the grid; 0: half, rounded up. */
static inline int64_t vv_dpt_scale(const vv_dpt_config *c, int64_t level) { return c->first_scale >> level; }

#endif
