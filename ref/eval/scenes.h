/* Synthetic scenes as the truth of an evaluation. */
#ifndef VV_EVAL_SCENES_H
#define VV_EVAL_SCENES_H

#include "data/synth.h"

/* Scenes [first, first + count), drawn by several threads; zeroed on failure. */
typedef struct {
    int64_t n;
    vv_scene *at;
} vv_scenes;
vv_status vv_scenes_draw(vv_scenes *s, const vv_synth_options *o, int64_t first, int64_t count,
                         vv_error *err) VV_MUST_USE;
void vv_scenes_free(vv_scenes *s);

/* The truth in double: depth d [h,w] (1 where it is infinite), valid [h,w] where it is finite, and `object` [h,w] where an object shows (it
 * is valid there). */
void vv_scene_truth(const vv_scene *s, double *d, unsigned char *valid, unsigned char *object);

/* Of the pairs of objects of which one is nearer (VV_SYNTH_DEPTH_MARGIN, as in the questions): how many the mean of z [h,w] over their
 * pixels puts in that order, a tie being wrong. *pairs: how many there are. */
int64_t vv_scene_order(const vv_scene *s, const double *z, int64_t *pairs);

#endif
