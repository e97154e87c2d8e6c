/* Inside eval/ only: what the probe's files share. */
#ifndef VV_PROBE_PARTS_H
#define VV_PROBE_PARTS_H

#include "eval/probe.h"
#include "eval/scenes.h"

/* Scenes as pictures and targets of patches. */
typedef struct {
    int64_t n, size, gh, gw, cells; /* cells = gh gw */
    int64_t patch;                  /* pixels of a side */
    unsigned char *rgb;             /* [n, size, size, 3] */
    double *target;                 /* [n, cells] mean log depth; NaN where no pixel has a depth */
    unsigned char *label;           /* [n, cells] most frequent class */
} vv_probe_set;
vv_status vv_probe_set_new(vv_probe_set *s, int64_t n, int64_t size, int64_t patch, vv_error *err) VV_MUST_USE;
void vv_probe_set_put(vv_probe_set *s, int64_t i, const vv_scene *scene);
void vv_probe_set_free(vv_probe_set *s);

/* What makes features: only what the kind needs is read. */
typedef struct {
    vv_probe_kind kind;
    const vv_vit *vit; /* of the two towers */
    const vv_preprocess *preprocess;
    int64_t layer;
} vv_probe_source;
int64_t vv_probe_columns(const vv_probe_source *f, const vv_probe_set *s);
/* x [n cells, columns], patches in raster order */
vv_status vv_probe_features(vv_real *x, const vv_probe_source *f, const vv_probe_set *s, vv_error *err) VV_MUST_USE;

/* Fits features x [n cells, D] of the set to its targets, and sets the row's features, lambda, iterations and predictions for test [tests,D].
 * Both are overwritten. */
vv_status vv_probe_fit(vv_probe_row *row, vv_probe_task task, const vv_probe_set *s, vv_real *x, vv_real *test,
                       int64_t tests, int64_t D, vv_error *err) VV_MUST_USE;

/* The row's measures from its prediction [n, cells]. *pairs: of objects. */
vv_status vv_probe_score(vv_probe_row *row, vv_probe_task task, const vv_probe_set *s, const vv_scenes *truth,
                         int64_t *pairs, vv_error *err) VV_MUST_USE;
/* The row of the best prediction. */
vv_status vv_probe_ceiling(vv_probe_row *row, vv_probe_task task, const vv_probe_set *s, const vv_scenes *truth,
                           vv_error *err) VV_MUST_USE;

#endif
