/* The independent judge of backend/backend.h: every function again, as naive loops written from the formulas of the contract,
 * each with its gauge (the same formula, every term taken absolutely). No code is shared with ref/ but the number type, no
 * BLAS, no blocks, no threads: slow and plain. All arrays are host memory, laid out as the contract says.
 *
 * Every result is ADDED to the value and its gauge: the caller starts from zeros where the contract writes, from what stood
 * there (and its absolute value) where it adds. */
#ifndef VVT_ORACLE_H
#define VVT_ORACLE_H

#include "base/base.h"

/* Reference values. A judge must be better than what it judges, and the double build is judged too: hence long double, which
 * has 11 bits more than double on x86-64. Where it has none to spare (arm64 of macOS, valgrind) the reference is as rough as
 * the double build, so every tolerance is widened by the reference's own bound, K LDBL_EPSILON gauge: nothing on x86-64. */
typedef long double vvt_ref;

typedef struct {
    vvt_ref *v, *g; /* values and gauges, both with the layout of the array they judge */
} vvo_out;

void vvo_axpy(vvo_out y, const vv_real *x, double a, int64_t n);
void vvo_scale(vvo_out y, const vv_real *x, double a, int64_t n);
void vvo_dot(vvo_out y, const vv_real *x, const vv_real *w, int64_t n);
void vvo_add_fwd(vvo_out y, const vv_real *x, const vv_real *b, int64_t R, int64_t C, int64_t Rb);
void vvo_add_bwd(vvo_out db, const vv_real *dy, int64_t R, int64_t C, int64_t Rb);
void vvo_gather_rows_fwd(vvo_out y, const vv_real *x, const int32_t *idx, int64_t R, int64_t C);
void vvo_gather_rows_bwd(vvo_out dx, const vv_real *dy, const int32_t *idx, int64_t R, int64_t C);
/* y holds what stood there: the rows named are replaced */
void vvo_scatter_rows_fwd(vvo_out y, const vv_real *x, const int32_t *idx, int64_t R, int64_t C);
void vvo_scatter_rows_bwd(vvo_out dx, const vv_real *dy, const int32_t *idx, int64_t R, int64_t C);

vvt_ref vvo_sum_squares(const vv_real *x, int64_t n);

/* p, m, v hold what stood there, and are updated here */
void vvo_adamw(vvo_out p, vvo_out m, vvo_out v, const vv_real *g, int64_t n, double lr, double beta1, double beta2,
               double eps, double weight_decay, double grad_scale, int64_t t);

/* c holds what stood there; beta multiplies it here */
void vvo_matmul(vvo_out c, int64_t ldc, const vv_real *a, int64_t lda, int ta, const vv_real *b, int64_t ldb, int tb,
                int64_t M, int64_t N, int64_t K, double alpha, double beta);
void vvo_linear_fwd(vvo_out y, const vv_real *x, const vv_real *w, const vv_real *b, const vv_real *res, int64_t R,
                    int64_t Ci, int64_t Co);
void vvo_linear_bwd(vvo_out dx, vvo_out dw, vvo_out db, const vv_real *dy, const vv_real *x, const vv_real *w,
                    int64_t R, int64_t Ci, int64_t Co);

void vvo_layernorm_fwd(vvo_out y, vvo_out mean, vvo_out rstd, const vv_real *x, const vv_real *w, const vv_real *b,
                       int64_t R, int64_t C, double eps);
void vvo_layernorm_bwd(vvo_out dx, vvo_out dw, vvo_out db, const vv_real *dy, const vv_real *x, const vv_real *w,
                       const vv_real *mean, const vv_real *rstd, int64_t R, int64_t C);
void vvo_unit_rows_fwd(vvo_out y, vvo_out n, const vv_real *x, int64_t R, int64_t C, int64_t D);
void vvo_unit_rows_bwd(vvo_out dx, const vv_real *dy, const vv_real *y, const vv_real *n, int64_t R, int64_t C,
                       int64_t D);
void vvo_rmsnorm_fwd(vvo_out y, vvo_out rstd, const vv_real *x, const vv_real *w, int64_t R, int64_t C, double eps);
void vvo_rmsnorm_bwd(vvo_out dx, vvo_out dw, const vv_real *dy, const vv_real *x, const vv_real *w, const vv_real *rstd,
                     int64_t R, int64_t C);
void vvo_silu_mul_fwd(vvo_out y, const vv_real *g, const vv_real *u, int64_t n);
void vvo_silu_mul_bwd(vvo_out dg, vvo_out du, const vv_real *dy, const vv_real *g, const vv_real *u, int64_t n);
void vvo_linear_cross_entropy_fwd(vvo_out loss, vvo_out ce, vvo_out lse, const vv_real *x, const vv_real *w,
                                  const int32_t *target, const vv_real *weight, int64_t R, int64_t V, int64_t C);
void vvo_linear_cross_entropy_bwd(vvo_out dx, vvo_out dw, const vv_real *dloss, const vv_real *x, const vv_real *w,
                                  const int32_t *target, const vv_real *weight, const vv_real *lse, int64_t R,
                                  int64_t V, int64_t C);
void vvo_gelu_fwd(vvo_out y, const vv_real *x, int64_t n, int quick);
void vvo_gelu_bwd(vvo_out dx, const vv_real *dy, const vv_real *x, int64_t n, int quick);

/* Depth maps: the switches of vvb_depth_args. at [2,B,2]. Value and gradient in one; y.v or dp.v may be NULL. */
typedef struct {
    int ls, gm, average, image, clamp, detach;
    int64_t scales;
    double trim, eps;
} vvo_depth;
void vvo_medians(int32_t *at, const vv_real *x, const vv_real *d, const int32_t *mask, int64_t B, int64_t N);
void vvo_ssi(vvo_out y, vvo_out dp, vv_real dy, const vv_real *p, const vv_real *d, const int32_t *mask,
             const int32_t *at, int64_t B, int64_t N, const vvo_depth *how);
void vvo_gradient_matching(vvo_out y, vvo_out dp, vv_real dy, const vv_real *p, const vv_real *d, const int32_t *mask,
                           const int32_t *at, int64_t B, int64_t Hh, int64_t Ww, const vvo_depth *how);
void vvo_bce_fwd(vvo_out y, const vv_real *x, const vv_real *z, int64_t R, int64_t C);
void vvo_bce_bwd(vvo_out dx, const vv_real *dy, const vv_real *x, const vv_real *z, int64_t R, int64_t C);
void vvo_dice_fwd(vvo_out y, vvo_out sums, const vv_real *x, const vv_real *z, int64_t R, int64_t C, double smooth);
void vvo_dice_bwd(vvo_out dx, const vv_real *dy, const vv_real *x, const vv_real *z, const vv_real *sums, int64_t R,
                  int64_t C);

/* sizes of a convolution, as the members of vvb_conv_shape */
typedef struct {
    int64_t B, Hh, Ww, Ci, Co, kh, kw, stride, pad;
} vvo_conv;
void vvo_conv2d_fwd(vvo_out y, const vv_real *x, const vv_real *w, const vv_real *b, const vvo_conv *s);
void vvo_conv2d_bwd(vvo_out dx, vvo_out dw, vvo_out db, const vv_real *dy, const vv_real *x, const vv_real *w,
                    const vvo_conv *s);
void vvo_conv_transpose2d_fwd(vvo_out y, const vv_real *x, const vv_real *w, const vv_real *b, int64_t B, int64_t H,
                              int64_t W, int64_t Ci, int64_t Co, int64_t k);
void vvo_conv_transpose2d_bwd(vvo_out dx, vvo_out dw, vvo_out db, const vv_real *dy, const vv_real *x, const vv_real *w,
                              int64_t B, int64_t H, int64_t W, int64_t Ci, int64_t Co, int64_t k);
void vvo_resize_bilinear_fwd(vvo_out y, const vv_real *x, int64_t B, int64_t H, int64_t W, int64_t Ho, int64_t Wo,
                             int64_t C, int align_corners);
void vvo_resize_bilinear_bwd(vvo_out dx, const vv_real *dy, int64_t B, int64_t H, int64_t W, int64_t Ho, int64_t Wo,
                             int64_t C, int align_corners);
void vvo_relu_fwd(vvo_out y, const vv_real *x, int64_t n);
void vvo_relu_bwd(vvo_out dx, const vv_real *dy, const vv_real *x, int64_t n);
void vvo_sigmoid_fwd(vvo_out y, const vv_real *x, int64_t n);
void vvo_sigmoid_bwd(vvo_out dx, const vv_real *dy, const vv_real *y, int64_t n);
void vvo_softplus_fwd(vvo_out y, const vv_real *x, int64_t n);
void vvo_softplus_bwd(vvo_out dx, const vv_real *dy, const vv_real *x, int64_t n);

/* The gauges of the tables are the errors allowed besides one ulp. */
void vvo_rope_table(vvo_out cos, vvo_out sin, const int32_t *pos, int64_t N, int64_t P, int64_t D, double theta);
void vvo_rope_fwd(vvo_out y, int64_t ldy, const vv_real *x, int64_t ldx, const vv_real *cos, const vv_real *sin,
                  int64_t N, int64_t H, int64_t D);
void vvo_rope_bwd(vvo_out dx, int64_t lddx, const vv_real *dy, int64_t lddy, const vv_real *cos, const vv_real *sin,
                  int64_t N, int64_t H, int64_t D);

/* Who sees whom: the numbers of vvb_attention_args. cu_k is never NULL here, and k_of is filled. */
typedef struct {
    const int32_t *cu_q, *cu_k, *k_of;
    int64_t S, Sk, H, Hkv, D;
    double scale;
    int causal;
} vvo_attention;

/* Gauges of rows whose K is smaller are multiplied by sqrt(K / largest K), so that one K serves the whole array: K counts the keys
 * of a query's segment (o, lse, dq), and the queries of all heads that look at a key's segment (dk, dv). */
int64_t vvo_attention_most_keys(const vvo_attention *a);
int64_t vvo_attention_most_queries(const vvo_attention *a);
void vvo_attention_fwd(vvo_out o, int64_t ldo, vvo_out lse, const vv_real *q, int64_t ldq, const vv_real *k,
                       int64_t ldk, const vv_real *v, int64_t ldv, const vvo_attention *a);
void vvo_attention_bwd(vvo_out dq, vvo_out dk, vvo_out dv, const vv_real *dO, const vv_real *o, int64_t ldo,
                       const vv_real *lse, const vv_real *q, int64_t ldq, const vv_real *k, int64_t ldk,
                       const vv_real *v, int64_t ldv, const vvo_attention *a);

#endif
