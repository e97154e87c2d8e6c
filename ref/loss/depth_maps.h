/* Inside loss/ only: what ssi.c and gradient_matching.c share. */
#ifndef VV_LOSS_DEPTH_MAPS_H
#define VV_LOSS_DEPTH_MAPS_H

#include "loss/loss.h"

/* Shapes, switches and numbers of the batch are as loss.h says, and its medians are there: 0 after an error. */
int vv_depth_ready(vv_tape *t, const char *op, const char *name, vv_depth_maps *m, const vv_depth_config *c);

/* What the backend says of each map, [B,2]: to be allocated before and read after the forward. */
vv_tensor *vv_depth_info(vv_tape *t, const vv_depth_maps *m);
int vv_depth_reported(vv_tape *t, const char *op, const char *name, const vv_tensor *info, const vv_depth_maps *m,
                      vv_depth_report *report);

#endif
