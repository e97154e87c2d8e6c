/* From a picture to the rows the vision tower reads: resize, rescale, normalise, cut into patches.
 *
 * Source: transformers models/qwen2_vl/image_processing_qwen2_vl.py ("slow", PIL processor), whose numbers these are.
 * Its "fast" twin resizes with torchvision and differs by a grey level here and there.
 *
 * Easy to get wrong: rows come in merge-block order, not in raster order (see vv_token_to_raster). */
#ifndef VV_PREPROCESS_H
#define VV_PREPROCESS_H

#include "base/json.h"
#include "io/image.h"

/* Patches of one picture or video: t frames (pairs, for temporal_patch_size 2), h rows, w columns. */
typedef struct {
    int64_t t, h, w;
} vv_grid;

typedef struct {
    int64_t patch_size, temporal_patch_size, merge_size; /* 14, 2, 2                                        */
    int64_t min_pixels, max_pixels;                      /* area bounds of the smart resize                 */
    int64_t fixed_h, fixed_w;                            /* > 0: resize to exactly this; 0: smart resize    */
    double mean[3], std[3];                              /* of values in 0..1, per channel                  */
} vv_preprocess;

/* Patches 14, 2 frames, merge 2; min_pixels 3136 and max_pixels 12,845,056 as in the released
 * preprocessor_config.json of Qwen2-VL (the default of the Python class is 1,003,520); OPENAI_CLIP mean and std. */
vv_preprocess vv_preprocess_default(void);

/* Reads a Hugging Face preprocessor_config.json. Read: patch_size, temporal_patch_size, merge_size, image_mean,
 * image_std, the area bounds as min_pixels and max_pixels or as size {shortest_edge, longest_edge} (the former win, as
 * in transformers), and our own fixed_size [h,w], which transformers ignores. null means absent.
 * What is absent has the value of vv_preprocess_default, except max_pixels: 1,003,520, the class default, as
 * transformers would take. Keys that would change the computation must have the usual value when present: do_resize,
 * do_rescale, do_normalize, do_convert_rgb true, resample 3 (bicubic), rescale_factor 1/255. Others are ignored.
 * VV_FILE naming file, key, expected and found. */
VV_MUST_USE vv_status vv_preprocess_load(vv_preprocess *p, const char *path, vv_error *err);

/* The same keys from an object that is part of another file; what is absent keeps the value it has in *p. */
VV_MUST_USE vv_status vv_preprocess_parse(vv_preprocess *p, const json_t *root, const char *where, vv_error *err);

/* Writes such a file, which transformers and vv_preprocess_load read back to the same values. Atomic. */
VV_MUST_USE vv_status vv_preprocess_save(const vv_preprocess *p, const char *path, vv_error *err);

/* VV_USAGE naming the first field that makes no sense: sizes not in 1..1024, a fixed size that is no multiple of
 * patch_size*merge_size or beyond the limits of a picture, std not positive, numbers not finite. */
VV_MUST_USE vv_status vv_preprocess_check(const vv_preprocess *p, vv_error *err);

/* The size at which the model sees a picture of h x w. `where` names the picture in messages. */
VV_MUST_USE vv_status vv_preprocess_size(const vv_preprocess *p, int64_t h, int64_t w, int64_t *oh, int64_t *ow,
                                         const char *where, vv_error *err);

/* The picture as the model sees it, still 8 bits: a new picture of that size. */
VV_MUST_USE vv_status vv_preprocess_resize(const vv_preprocess *p, const vv_image *image, vv_image *resized,
                                           const char *where, vv_error *err);

/* All of it. *pixel_values is malloc'd, [grid.t*grid.h*grid.w, 3*temporal*patch*patch] float32 in every build:
 *   row n     patches in the order of vv_token_to_raster
 *   column k  ((c*temporal + frame)*patch + y)*patch + x
 * A still picture is one frame repeated: grid.t = 1 and all `temporal` frames are equal. On failure *pixel_values is
 * NULL. */
VV_MUST_USE vv_status vv_preprocess_image(const vv_preprocess *p, const vv_image *image, float **pixel_values,
                                          vv_grid *grid, const char *where, vv_error *err);

/* The second half alone: rgb [h,w,3], sides multiples of patch*merge, into pixel_values as above (h*w*3*temporal
 * numbers). VV_USAGE when a side is no such multiple. */
VV_MUST_USE vv_status vv_patchify(const vv_preprocess *p, const unsigned char *rgb, int64_t h, int64_t w,
                                  float *pixel_values, vv_grid *grid, const char *where, vv_error *err);

/* Where token n of grid g lies in its frame: patch row *y, column *x (its frame is n/(g.h*g.w)). Tokens run frame by
 * frame, then over merge x merge blocks in raster order, then in raster order inside the block; g.h and g.w are
 * multiples of merge. To draw features f [N,C] as a map: for every n, map[y][x] = f[n].
 * A 4x4 grid with merge 2 has the raster ids 0,1,4,5, 2,3,6,7, 8,9,12,13, 10,11,14,15. */
void vv_token_to_raster(int64_t n, vv_grid g, int64_t merge, int64_t *y, int64_t *x);

#endif
