/* Linear models on rows of features: what a linear probe is. Numbers in double, features in vv_real.
 *
 *   x [N,D] rows, w [D+1,K] weights, the last row of w the intercepts:   score[n,k] = sum_d x[n,d] w[d,k] + w[D,k]
 *
 *   ridge     K = 1: minimises  1/N sum_n (score[n] - y[n])^2 + lambda sum_d w[d]^2,  in closed form (Cholesky)
 *   softmax   minimises  1/N sum_n CE(score[n], label[n]) + lambda/2 sum_{d<D,k} w[d,k]^2 + mu/2 sum_k w[D,k]^2,  convex, by L-BFGS
 *
 * lambda > 0, so that both minima are unique. Ridge does not penalise its intercept; softmax hardly does (mu), so that a class that never
 * occurs has a finite one.
 * Every sum has one owner and a fixed order: the same bits for any number of threads. */
#ifndef VV_REGRESSION_H
#define VV_REGRESSION_H

#include "base/base.h"

/* Mean and 1 / standard deviation of each column; scale 0 for one that is constant to rounding. VV_NONFINITE naming row and column,
 * VV_USAGE for N or D below 1. */
vv_status vv_standard_fit(double *mean, double *scale, const vv_real *x, int64_t N, int64_t D,
                          vv_error *err) VV_MUST_USE;
/* x = (x - mean) scale, in place. */
void vv_standardise(vv_real *x, int64_t N, int64_t D, const double *mean, const double *scale);

/* score [N,K] */
void vv_linear_scores(double *score, const vv_real *x, const double *w, int64_t N, int64_t D, int64_t K);

/* w [n,D+1]: a solution for each lambda [n]. VV_USAGE for sizes below 1 or a lambda that is not positive. */
vv_status vv_ridge(double *w, const vv_real *x, const double *y, int64_t N, int64_t D, const double *lambda, int64_t n,
                   vv_error *err) VV_MUST_USE;

#define VV_SOFTMAX_INTERCEPT 1e-4 /* mu */

/* What a minimisation came to: `gradient` is the largest magnitude of a component. */
typedef struct {
    int64_t iterations;
    double loss, gradient;
    int converged;
} vv_softmax_info;
/* From the start in w [D+1,K] (zeros are fine) until no component of the gradient exceeds `tolerance`, or no step goes down any more, or
 * 1000 iterations. label [N] below K. */
vv_status vv_softmax(double *w, const vv_real *x, const unsigned char *label, int64_t N, int64_t D, int64_t K,
                     double lambda, double tolerance, vv_softmax_info *info, vv_error *err) VV_MUST_USE;
/* Mean cross-entropy of scores [N,K]. */
double vv_mean_cross_entropy(const double *score, const unsigned char *label, int64_t N, int64_t K);

/* ---- linear algebra -------------------------------------------------------------------------------------------------------- */
/* g [D,D] = sum_n (x[n] - mean) (x[n] - mean)^T. mean NULL: zeros. VV_MEMORY. */
vv_status vv_gram(double *g, const vv_real *x, const double *mean, int64_t N, int64_t D, vv_error *err) VV_MUST_USE;
/* The symmetric positive definite a [m,m] becomes R, upper, with R^T R = a; what is below the diagonal is not read and not written. 0: it
 * is not positive definite. */
int vv_cholesky(double *a, int64_t m);
/* x [m,K] becomes (R^T R)^-1 x. */
void vv_cholesky_solve(const double *r, double *x, int64_t m, int64_t K);

#endif
