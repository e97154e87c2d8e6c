/* A picture of features: their first three principal components as red, green and blue.
 *
 * The customary way to look at dense features (Oquab et al. 2023, DINOv2, figure 1): tokens of one object share a
 * colour when the features separate the objects. */
#ifndef VV_PCA_H
#define VV_PCA_H

#include "base/base.h"

/* rgb [N,3] from x [N,C], both N and C at least 1. Features are centred; component j is the projection on the
 * eigenvector of the j-th largest eigenvalue of the covariance, its sign chosen so that the coordinate of largest
 * magnitude is positive; each component is scaled so that its 1st..99th percentile covers 0..255, clamped beyond. A
 * component without variance (C < 3, N < 4, constant features) is drawn as 128.
 *
 * Rows stay in their order: tokens are put in raster order first (vv_token_to_raster), and the picture is enlarged with
 * vv_resize_bicubic_u8 or vv_resize_nearest_u8 (data/resize.h).
 *
 * VV_NONFINITE when x has NaN, infinity or a magnitude beyond 1e150, VV_USAGE for sizes below 1, VV_MEMORY. The same
 * bits for any number of threads. */
VV_MUST_USE vv_status vv_pca_image(const double *x, int64_t N, int64_t C, unsigned char *rgb, vv_error *err);

/* The numbers behind it: comp [N,3] projections and, when not NULL, var [3] their variances (divided by N), largest
 * first, 0 for missing components. */
VV_MUST_USE vv_status vv_pca_components(const double *x, int64_t N, int64_t C, double *comp, double *var,
                                        vv_error *err);

#endif
