/* Between the files of the data set: warnings that wait for a thread that may tell them, manifests, masks, scenes. */
#ifndef VV_DATASET_PARTS_H
#define VV_DATASET_PARTS_H

#include "base/json.h"
#include "data/dataset.h"
#include "io/image.h"

enum { VV_PLACE = 300 }; /* room for "FILE:LINE" */

/* ---- warnings ---- */

/* Collected by any thread, told by the one that may: vv_warn's listener is called from the caller's thread only. */
typedef struct {
    char *text; /* one after the other, each with its NUL */
    size_t n;
    int coarse_depth; /* a depth map of 8 bits was read; the data set says so once */
} vv_notes;           /* zeroed: none */

vv_status vv_note(vv_notes *notes, vv_error *err, const char *fmt, ...) VV_MUST_USE VV_PRINTF(3, 4);
void vv_notes_tell(vv_notes *notes); /* vv_warn for each, and frees them */
void vv_notes_free(vv_notes *notes); /* zeroes it */

/* ---- manifests (manifest.c) ---- */

typedef struct {
    vv_task task;
    char *path, *folder; /* folder: "" for the current one */
    char *text;          /* the whole file, its samples cut apart by NULs */
    struct {
        const char *text;
        int64_t line; /* from 1, where it begins */
    } * item;
    int64_t n;
} vv_manifest;

/* JSON Lines, or one JSON list when path ends in .json. VV_FILE for a file that is no text or holds no sample; the samples are
 * not looked at. On failure *m is zeroed. */
vv_status vv_manifest_open(vv_manifest *m, const char *path, vv_task task, vv_error *err) VV_MUST_USE;
vv_status vv_manifest_parse(vv_manifest *m, const char *text, int64_t n, const char *path, vv_task task,
                            vv_error *err) VV_MUST_USE;
void vv_manifest_free(vv_manifest *m);

/* Whether sample i has the form of its task. *unknown receives a copy of the first key that means nothing here, or NULL. */
vv_status vv_manifest_check(const vv_manifest *m, int64_t i, char **unknown, vv_error *err) VV_MUST_USE;
/* The sample with its files. On failure *out is zeroed. */
vv_status vv_manifest_read(const vv_manifest *m, int64_t i, vv_sample *out, vv_notes *notes, vv_error *err) VV_MUST_USE;

/* "FILE:LINE" of sample i; returns buf. */
const char *vv_manifest_place(const vv_manifest *m, int64_t i, char buf[VV_PLACE]);
/* The path of a file that the manifest names, in fresh memory; NULL without memory. */
char *vv_manifest_file(const vv_manifest *m, const char *name);
/* What a function said in *why, behind "FILE:LINE: ", as the failure of err. */
vv_status vv_at_place(const char *place, vv_status s, const vv_error *why, vv_error *err) VV_MUST_USE;

/* One check and one reader for each task; place is "FILE:LINE". The readers may rely on the checks, and leave what they made in
 * *out when they fail. */
vv_status vv_caption_check(const json_t *o, const char *place, vv_error *err) VV_MUST_USE;
vv_status vv_caption_read(const json_t *o, const char *place, vv_sample *out, vv_error *err) VV_MUST_USE;
vv_status vv_depth_check(const json_t *o, const char *place, vv_error *err) VV_MUST_USE;
vv_status vv_depth_read(const vv_manifest *m, const json_t *o, const char *place, vv_sample *out, vv_notes *notes,
                        vv_error *err) VV_MUST_USE;
vv_status vv_segmentation_check(const json_t *o, const char *place, vv_error *err) VV_MUST_USE;
vv_status vv_segmentation_read(const vv_manifest *m, const json_t *o, const char *place, vv_sample *out,
                               vv_notes *notes, vv_error *err) VV_MUST_USE;

/* ---- masks (manifest_mask.c) ---- */

typedef struct {
    int64_t h, w;
    unsigned char *v; /* [h,w] 0 or 1 */
} vv_bitmap;
void vv_bitmap_free(vv_bitmap *m); /* zeroes it */

/* Run lengths as COCO has them: down the columns, from the left; a run of zeros first. counts is a list of integers or the
 * compressed string. The runs must fill h x w exactly, which the caller has bounded. On failure *out is zeroed. */
vv_status vv_bitmap_rle(vv_bitmap *out, const json_t *counts, int64_t h, int64_t w, const char *place,
                        vv_error *err) VV_MUST_USE;
/* The union of polygons [[x0,y0,x1,y1,...],...] in pixels of a picture of h x w, by COCO's rule (rleFrPoly). Corners may lie
 * outside by the sides of the picture, and what lies outside is cut off. */
vv_status vv_bitmap_polygons(vv_bitmap *out, const json_t *polygons, int64_t h, int64_t w, const char *place,
                             vv_error *err) VV_MUST_USE;

/* ---- scenes (dataset_scene.c) ---- */

vv_status vv_scene_sample(vv_sample *out, const vv_source *source, vv_task task, int64_t i, vv_error *err) VV_MUST_USE;

/* ---- data sets (dataset.c) ---- */

/* vv_dataset_get that leaves the warnings in notes. */
vv_status vv_dataset_read(vv_dataset *d, int64_t i, vv_sample *out, vv_notes *notes, vv_error *err) VV_MUST_USE;

#endif
