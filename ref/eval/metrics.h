/* Measures of depth maps and masks, in double on host arrays.
 *
 * Pixels whose `valid` is 0 count nowhere; valid NULL: all count. Depth is positive and finite where it is valid. A measure of nothing
 * (no pixel, no pair, no sample) is NaN.
 *
 *   RMSE      sqrt(mean (z - d)^2)                      RMSE of logs   sqrt(mean (log z - log d)^2)
 *   AbsRel    mean |z - d| / d                          delta1         mean [max(z/d, d/z) < 1.25]
 *   mIoU      mean of I_c / U_c over the classes with U_c > 0; I_c, U_c summed over all pictures
 *   cIoU      sum I / sum U over all samples            gIoU           mean of I / U of each sample
 *   P@0.5     share of the samples with I / U >= 0.5
 *
 * Sources: RMSE, AbsRel, delta1 as in Eigen et al. 2014 (arXiv:1406.2283); alignment in disparity as in MiDaS (arXiv:1907.01341) and
 * prs-eth/Marigold, src/util/alignment.py; ordered pairs as in DA-2K of Depth Anything V2; mIoU as in mmsegmentation; cIoU and gIoU as in
 * dvlab-research/LISA, where a sample without truth and prediction has IoU 1 (0 in LAVT).
 *
 * Easy to get wrong: cIoU weighs large masks more, gIoU does not. mIoU is no mean over pictures. An IoU of a class that neither truth nor
 * prediction has does not exist; one that the truth alone has is 0. */
#ifndef VV_METRICS_H
#define VV_METRICS_H

#include "base/base.h"

/* A mean of what exists: NaN is passed over. */
typedef struct {
    double sum, n;
} vv_average; /* zeroed to begin */
void vv_average_add(vv_average *a, double x);
double vv_average_of(const vv_average *a);

/* ---- depth ----------------------------------------------------------------------------------------------------------------- */
typedef struct {
    int64_t pixels;
    double rmse, rmse_log, abs_rel, delta1;
} vv_depth_errors;
/* z [n] against the truth d [n]. */
vv_depth_errors vv_depth_compare(const double *z, const double *d, const unsigned char *valid, int64_t n);

/* The s and o that minimise the sum of (s q + o - p)^2. Of a constant q (or one pixel): s = 0 and o = mean p. 0: no pixel is valid, and
 * both are 0. */
int vv_align(double *s, double *o, const double *q, const double *p, const unsigned char *valid, int64_t n);

/* z = 1 / (s q + o), at least `least` and at most `most`, which is also what stands for a disparity that is not positive. */
void vv_depth_from_disparity(double *z, const double *q, int64_t n, double s, double o, double least, double most);

/* Two points of a picture, at (y,x) in pixels, a whole number being a pixel's centre; `nearer` says which of the two. */
typedef struct {
    double y[2], x[2];
    int nearer;
} vv_point_pair;
/* The pairs that depth z [h,w] orders as they are; read at the nearest pixel (halves go up; points outside at the border). A tie is
 * wrong. */
int64_t vv_order_correct(const double *z, int64_t h, int64_t w, const vv_point_pair *pair, int64_t n);

/* ---- classes --------------------------------------------------------------------------------------------------------------- */
enum { VV_IGNORED_CLASS = 255 };
typedef struct {
    int64_t classes, pixels, correct;
    int64_t both[VV_IGNORED_CLASS], predicted[VV_IGNORED_CLASS], labelled[VV_IGNORED_CLASS];
} vv_class_counts; /* zeroed but for classes, at most 255, to begin */
/* Pixels whose label is no class (VV_IGNORED_CLASS) are left out. A prediction that is no class is wrong. */
void vv_class_add(vv_class_counts *c, const unsigned char *predicted, const unsigned char *label, int64_t n);
double vv_class_iou(const vv_class_counts *c, int64_t class); /* NaN for a class that is absent */
double vv_mean_iou(const vv_class_counts *c);
double vv_pixel_accuracy(const vv_class_counts *c);

/* ---- masks ----------------------------------------------------------------------------------------------------------------- */
typedef struct {
    int empty_is_wrong; /* a sample without truth and prediction: IoU 0 instead of 1 */
    int64_t samples, both, either, half;
    double sum;   /* of IoUs */
} vv_mask_counts; /* zeroed to begin */
/* A sample by its pixels in both masks and in either. */
void vv_mask_add_counts(vv_mask_counts *c, int64_t both, int64_t either);
/* By its masks, [n] of 0 or not 0. */
void vv_mask_add(vv_mask_counts *c, const unsigned char *predicted, const unsigned char *label, int64_t n);
double vv_ciou(const vv_mask_counts *c); /* NaN when all masks were empty */
double vv_giou(const vv_mask_counts *c);
double vv_precision_half(const vv_mask_counts *c); /* P@0.5 */

#endif
