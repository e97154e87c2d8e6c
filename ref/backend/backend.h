/* THE CONTRACT. Every function that does arithmetic on tensor data stands here and nowhere else: formula, shapes, what may
 * be NULL or alias, what happens at size 0 and with NaN, FLOPs, accuracy. backend/cpu/ is one implementation of it, the
 * reference; another is linked in front of it and replaces it function by function (CPU definitions are weak symbols).
 *
 * Rules for all of them
 *  - Pointers are memory of the backend (vvb_alloc), row-major, last axis contiguous. Nothing but the backend reads them.
 *    Arguments marked (host) are ordinary host arrays. Buffers do not overlap unless the text says so.
 *  - Outputs come first, then saved outputs, inputs, sizes, scalars; in _bwd: gradients, dy, forward tensors, sizes.
 *  - *Parameter* gradients (dw, db) are ADDED to. *Activation* gradients (dx, dq ...) are written, or added to when acc != 0.
 *    A NULL gradient is not wanted and costs no time.
 *  - A size of 0 is legal wherever a size is: nothing is read, sums are 0. NaN and Inf spread as IEEE 754 says, never hidden.
 *  - Nothing is returned. A failure (memory, device) is kept, with the function's name, until vvb_error() is asked.
 *  - A function not provided by another backend and not by the CPU archive is a link error with its name; so is a wrong
 *    version or precision, because both are part of every symbol (vvb_gelu_fwd is vvb2_f32_gelu_fwd).
 *  - The same call gives the same bits on any number of threads. Calls come from one thread; a backend starts its own.
 *
 * Accuracy, with u = vvb_get_info()->unit_roundoff and every error measured against exact arithmetic on the given inputs:
 *  EXACT     equal
 *  ULP(n)    at most n units in the last place
 *  DOT(K)    |error| <= 4 sqrt(K) u gauge for each element, and RMS(error) <= sqrt(K) u RMS(gauge) over many elements (over
 *            n of them times 1 + 3/sqrt(n): of few it is a matter of chance), plus K*2^-149 for underflow in float. K = 0
 *            counts as 1. The gauge is the same formula with every term taken absolutely; what is added to (dw, acc) is one
 *            of the terms, named below or not.
 *            (4x the worst sequential float sum measured; the provable 2K would hide one dropped term once K > 2900.)
 * Scalars (a, alpha, eps, scale) come in double and may be rounded to vv_real first: that too is error.                 */
#ifndef VV_BACKEND_H
#define VV_BACKEND_H

#include "base/base.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VVB_ABI 2
#define VVB_PASTE2(tag, f) vvb2_##tag##_##f
#define VVB_PASTE(tag, f) VVB_PASTE2(tag, f)
#define VVB_SYM(f) VVB_PASTE(VV_REAL_TAG, f)
#define VVB_DEF __attribute__((weak)) /* in front of each CPU definition */

#define vvb_init VVB_SYM(init)
#define vvb_get_info VVB_SYM(get_info)
#define vvb_error VVB_SYM(error)
#define vvb_set_precision VVB_SYM(set_precision)
#define vvb_round VVB_SYM(round)
#define vvb_alloc VVB_SYM(alloc)
#define vvb_free VVB_SYM(free)
#define vvb_zero VVB_SYM(zero)
#define vvb_upload VVB_SYM(upload)
#define vvb_download VVB_SYM(download)
#define vvb_copy VVB_SYM(copy)
#define vvb_sync VVB_SYM(sync)
#define vvb_elementary VVB_SYM(elementary)
#define vvb_axpy VVB_SYM(axpy)
#define vvb_dot VVB_SYM(dot)
#define vvb_scale VVB_SYM(scale)
#define vvb_add_fwd VVB_SYM(add_fwd)
#define vvb_add_bwd VVB_SYM(add_bwd)
#define vvb_gather_rows_fwd VVB_SYM(gather_rows_fwd)
#define vvb_gather_rows_bwd VVB_SYM(gather_rows_bwd)
#define vvb_scatter_rows_fwd VVB_SYM(scatter_rows_fwd)
#define vvb_scatter_rows_bwd VVB_SYM(scatter_rows_bwd)
#define vvb_matmul VVB_SYM(matmul)
#define vvb_linear_fwd VVB_SYM(linear_fwd)
#define vvb_linear_bwd VVB_SYM(linear_bwd)
#define vvb_layernorm_fwd VVB_SYM(layernorm_fwd)
#define vvb_layernorm_bwd VVB_SYM(layernorm_bwd)
#define vvb_rmsnorm_fwd VVB_SYM(rmsnorm_fwd)
#define vvb_rmsnorm_bwd VVB_SYM(rmsnorm_bwd)
#define vvb_gelu_fwd VVB_SYM(gelu_fwd)
#define vvb_gelu_bwd VVB_SYM(gelu_bwd)
#define vvb_relu_fwd VVB_SYM(relu_fwd)
#define vvb_relu_bwd VVB_SYM(relu_bwd)
#define vvb_sigmoid_fwd VVB_SYM(sigmoid_fwd)
#define vvb_sigmoid_bwd VVB_SYM(sigmoid_bwd)
#define vvb_softplus_fwd VVB_SYM(softplus_fwd)
#define vvb_softplus_bwd VVB_SYM(softplus_bwd)
#define vvb_silu_mul_fwd VVB_SYM(silu_mul_fwd)
#define vvb_silu_mul_bwd VVB_SYM(silu_mul_bwd)
#define vvb_linear_cross_entropy_fwd VVB_SYM(linear_cross_entropy_fwd)
#define vvb_linear_cross_entropy_bwd VVB_SYM(linear_cross_entropy_bwd)
#define vvb_rope_table VVB_SYM(rope_table)
#define vvb_rope_fwd VVB_SYM(rope_fwd)
#define vvb_rope_bwd VVB_SYM(rope_bwd)
#define vvb_attention_fwd VVB_SYM(attention_fwd)
#define vvb_attention_bwd VVB_SYM(attention_bwd)
#define vvb_conv2d_fwd VVB_SYM(conv2d_fwd)
#define vvb_conv2d_bwd VVB_SYM(conv2d_bwd)
#define vvb_conv_transpose2d_fwd VVB_SYM(conv_transpose2d_fwd)
#define vvb_conv_transpose2d_bwd VVB_SYM(conv_transpose2d_bwd)
#define vvb_resize_bilinear_fwd VVB_SYM(resize_bilinear_fwd)
#define vvb_resize_bilinear_bwd VVB_SYM(resize_bilinear_bwd)
#define vvb_first_nonfinite VVB_SYM(first_nonfinite)
#define vvb_masked_medians VVB_SYM(masked_medians)
#define vvb_ssi_fwd VVB_SYM(ssi_fwd)
#define vvb_ssi_bwd VVB_SYM(ssi_bwd)
#define vvb_gradient_matching_fwd VVB_SYM(gradient_matching_fwd)
#define vvb_gradient_matching_bwd VVB_SYM(gradient_matching_bwd)
#define vvb_bce_fwd VVB_SYM(bce_fwd)
#define vvb_bce_bwd VVB_SYM(bce_bwd)
#define vvb_dice_fwd VVB_SYM(dice_fwd)
#define vvb_dice_bwd VVB_SYM(dice_bwd)
#define vvb_unit_rows_fwd VVB_SYM(unit_rows_fwd)
#define vvb_unit_rows_bwd VVB_SYM(unit_rows_bwd)
#define vvb_sum_squares VVB_SYM(sum_squares)
#define vvb_adamw VVB_SYM(adamw)
#define vvb_library_product VVB_SYM(library_product)

/* ---- start and information --------------------------------------------------------------------------------------
 * vvb_init sets the number of threads (0: as many as this process may use) and prepares the device. It may be called
 * again to change the number. The other functions may be called without it.                                          */
void vvb_init(int threads);

typedef struct {
    const char *name;     /* "cpu"                                                                       */
    const char *device;   /* processor or device, as precisely as it is known                            */
    const char *product;  /* who multiplies matrices: "OpenBLAS 0.3.21 pthread", "own blocked product"   */
    const char *core;     /* the kernel set chosen at run time: "SkylakeX", "none"                       */
    double unit_roundoff; /* of matrix products: 2^-53, 2^-24, 2^-11 (tf32, fp16), 2^-8 (bf16)           */
    int deterministic;    /* same call, same bits                                                        */
    int threads;
    int64_t bytes, peak_bytes; /* allocated with vvb_alloc now, and at most so far                        */
} vvb_info;
const vvb_info *vvb_get_info(void);

/* The first failure since the last call ("attention_fwd: out of memory"), or NULL. Asking clears it. */
const char *vvb_error(void);

/* ---- emulated precision -----------------------------------------------------------------------------------------
 * What arithmetic with fewer digits would have given, to know how far a backend that uses it may land. Numbers are rounded to the
 * nearest one of the format, ties to even; what lies beyond its largest becomes Inf, what lies below its normal numbers subnormal.
 *   TF32 8 bits of exponent, 10 stored digits    BF16 8 and 7    FP16 5 and 10
 * OPERANDS: every product rounds both matrices and adds up in vv_real: vvb_matmul, linear (not its bias and residual), convolutions,
 *   the scores of linear_cross_entropy, and all five products of attention, so that p and ds are rounded, lse and the sum of p not.
 * OUTPUTS: what an operation writes is rounded: its result, the gradient of each activation once all readers have added to it,
 *   and that of each parameter after a backward. The tape calls vvb_round for that, which rounds x [n] in place, or
 *   leaves it alone when outputs are not rounded. Norms, softmax and pointwise functions compute in vv_real inside; row
 *   statistics (mean, rstd, lse, tables of cos and sin), single numbers (losses), AdamW and its moments stay vv_real.
 * BOTH. Not set, or VVB_FULL: no operation does anything else. vvb_get_info()->unit_roundoff is that of the format.
 * A backend without this mode leaves both to the CPU's definitions and must not be asked for operands.               */
typedef enum { VVB_FULL, VVB_TF32, VVB_BF16, VVB_FP16 } vvb_precision;
typedef enum { VVB_OPERANDS = 1, VVB_OUTPUTS = 2, VVB_BOTH = 3 } vvb_placement;
void vvb_set_precision(vvb_precision p, vvb_placement where);
void vvb_round(vv_real *x, int64_t n);

/* ---- memory -----------------------------------------------------------------------------------------------------
 * alloc: 64-byte aligned, not initialised, NULL (and an error kept) without memory; 0 bytes give a valid pointer.
 * upload: host to backend. download: backend to host. copy: backend to backend, no overlap. zero: all bytes 0.
 * sync: waits until everything before it has been done.                                                              */
void *vvb_alloc(int64_t bytes);
void vvb_free(void *p, int64_t bytes);
void vvb_zero(void *p, int64_t bytes);
void vvb_upload(void *dst, const void *host, int64_t bytes);
void vvb_download(void *host, const void *src, int64_t bytes);
void vvb_copy(void *dst, const void *src, int64_t bytes);
void vvb_sync(void);

/* ---- elementary functions ---------------------------------------------------------------------------------------
 * y[i] = f(x[i]), i < n. y may be x. f: exp, log, tanh, erf, sin, cos; sin and cos for |x| <= 2^21, NaN beyond.
 * n FLOPs by convention. Class ULP(1), subnormal results included; the same bits in every build of this precision.   */
typedef enum { VVB_EXP, VVB_LOG, VVB_TANH, VVB_ERF, VVB_SIN, VVB_COS } vvb_function;
void vvb_elementary(vv_real *y, const vv_real *x, int64_t n, vvb_function f);

/* ---- pointwise, sums, rows --------------------------------------------------------------------------------------
 * axpy:   y[i] += a x[i].                     2n FLOPs, DOT(2), gauge |y| + |a||x|.
 * scale:  y[i] = a x[i]; y may be x.           n FLOPs, ULP(2).
 * dot:    y[0] = sum_i x[i] w[i]; w NULL: sum_i x[i]. Lanes and blocks are added in double in a fixed tree.
 *         2n FLOPs, DOT(n), gauge sum |x||w|.
 * add:    y[r,c] = x[r,c] + b[r mod Rb, c]: b [Rb,C] is repeated along the rows (Rb = 1: a bias; Rb = R: a plain sum; Rb = 0
 *         only with R = 0).
 *         y may be x. bwd: db[k,c] += sum of dy over the rows r with r mod Rb = k (dx is dy itself: nothing to compute);
 *         R C FLOPs each; fwd ULP(1), bwd DOT(R/Rb), gauge sum |dy|.
 * gather_rows: y[i,:] = x[idx[i],:], i < R, x [Rx,C], idx [R] with 0 <= idx < Rx (checked by the caller). EXACT.
 *         bwd: dx[idx[i],:] += dy[i,:] in the order of i; dx is first set to 0 unless acc. R C FLOPs, DOT(R), gauge sum |dy|.
 * scatter_rows: y[idx[i],:] = x[i,:], i < R, for distinct idx [R] within y (checked by the caller); y's other rows stay as they
 *         are. EXACT. bwd: dx[i,:] = dy[idx[i],:]; EXACT, with acc DOT(2), gauge |dx| + |dy|, R C FLOPs.               */
void vvb_axpy(vv_real *y, const vv_real *x, double a, int64_t n);
void vvb_scale(vv_real *y, const vv_real *x, double a, int64_t n);
void vvb_dot(vv_real *y, const vv_real *x, const vv_real *w, int64_t n);
void vvb_add_fwd(vv_real *y, const vv_real *x, const vv_real *b, int64_t R, int64_t C, int64_t Rb);
void vvb_add_bwd(vv_real *db, const vv_real *dy, int64_t R, int64_t C, int64_t Rb);
void vvb_gather_rows_fwd(vv_real *y, const vv_real *x, const int32_t *idx, int64_t R, int64_t C);
void vvb_gather_rows_bwd(vv_real *dx, const vv_real *dy, const int32_t *idx, int64_t R, int64_t C, int64_t Rx, int acc);
void vvb_scatter_rows_fwd(vv_real *y, const vv_real *x, const int32_t *idx, int64_t R, int64_t C);
void vvb_scatter_rows_bwd(vv_real *dx, const vv_real *dy, const int32_t *idx, int64_t R, int64_t C, int acc);

/* ---- matrix product ---------------------------------------------------------------------------------------------
 * c[m,n] = alpha sum_k op(a)[m,k] op(b)[k,n] + beta c[m,n];  op transposes when ta / tb != 0. a, b, c have the row strides
 * lda, ldb, ldc >= their number of columns as stored. beta = 0 does not read c. K = 0 gives beta c.
 * 2 M N K FLOPs. DOT(K), gauge |alpha| |a||b| + |beta c|.                                                             */
void vvb_matmul(vv_real *c, int64_t ldc, const vv_real *a, int64_t lda, int ta, const vv_real *b, int64_t ldb, int tb,
                int64_t M, int64_t N, int64_t K, double alpha, double beta);

/* ---- Linear, with an optional residual --------------------------------------------------------------------------
 * y[r,o] = sum_i x[r,i] w[o,i] + b[o] + res[r,o]      (torch.nn.Linear: the weight is [out, in])
 *   x [R,Ci]  w [Co,Ci]  b [Co] or NULL  res [R,Co] or NULL; y may be res.
 * dx[r,i] = sum_o dy[r,o] w[o,i];  dw[o,i] += sum_r dy[r,o] x[r,i];  db[o] += sum_r dy[r,o];  (dres is dy itself)
 * FLOPs 2 R Ci Co forward; 2 R Ci Co for dx, the same for dw. DOT(Ci+2), gauge |x||w| + |b| + |res|; dx DOT(Co), gauge
 * |dy||w|; dw DOT(R), gauge |dw| + |dy|'|x|; db DOT(R), gauge |db| + sum |dy|.                                         */
void vvb_linear_fwd(vv_real *y, const vv_real *x, const vv_real *w, const vv_real *b, const vv_real *res, int64_t R,
                    int64_t Ci, int64_t Co);
void vvb_linear_bwd(vv_real *dx, vv_real *dw, vv_real *db, const vv_real *dy, const vv_real *x, const vv_real *w,
                    int64_t R, int64_t Ci, int64_t Co, int acc);

/* ---- LayerNorm over the last axis (Ba, Kiros, Hinton 2016, arXiv:1607.06450; torch.nn.LayerNorm) ----------------------
 * y[r,c] = (x[r,c] - mean[r]) rstd[r] w[c] + b[c];   rstd = 1 / sqrt(var + eps), var biased (divided by C).
 *   x,y,dx,dy [R,C]   w,b,dw,db [C]   mean,rstd [R] written by fwd, read by bwd.   C >= 1.
 * NaN and Inf stay in their row. FLOPs 8RC fwd, 14RC bwd.
 * fwd DOT(C), gauge (|x| + mean|x|) rstd |w| + |b|; of mean: mean|x|; of rstd: rstd (1 + rstd mean|x|).
 * bwd with n = (x - mean) rstd, N = (|x| + mean|x|) rstd:
 * dx DOT(C), gauge rstd (G + mean G + N mean(G N)), G = |dy||w|; dw DOT(R+C), gauge sum_r |dy| N; db DOT(R), gauge sum_r |dy|. */
void vvb_layernorm_fwd(vv_real *y, vv_real *mean, vv_real *rstd, const vv_real *x, const vv_real *w, const vv_real *b,
                       int64_t R, int64_t C, double eps);
void vvb_layernorm_bwd(vv_real *dx, vv_real *dw, vv_real *db, const vv_real *dy, const vv_real *x, const vv_real *w,
                       const vv_real *mean, const vv_real *rstd, int64_t R, int64_t C, int acc);

/* ---- RMSNorm over the last axis (Zhang, Sennrich 2019, arXiv:1910.07467, section 4) ----------------------------------
 * y[r,c] = w[c] (x[r,c] rstd[r]);   rstd[r] = 1 / sqrt(mean_c x[r,c]^2 + eps).   No mean is subtracted.
 *   x,y,dx,dy [R,C]   w,dw [C]   rstd [R] written by fwd, read by bwd.   C >= 1.
 * NaN and Inf stay in their row. FLOPs 4RC fwd, 10RC bwd.
 * fwd DOT(C+2), gauge |x| rstd |w|; of rstd: rstd.
 * bwd with n = x rstd, g = dy w: dx = rstd (g - n mean(g n)), dw += sum_r dy n; with N = |n|, G = |g|:
 * dx DOT(C+2), gauge rstd (G + N mean(G N)); dw DOT(R+2), gauge sum_r |dy| N.                                           */
void vvb_rmsnorm_fwd(vv_real *y, vv_real *rstd, const vv_real *x, const vv_real *w, int64_t R, int64_t C, double eps);
void vvb_rmsnorm_bwd(vv_real *dx, vv_real *dw, const vv_real *dy, const vv_real *x, const vv_real *w,
                     const vv_real *rstd, int64_t R, int64_t C, int acc);

/* ---- Rows of length 1 (torch.nn.functional.normalize) -----------------------------------------------------------------
 * The first D of C numbers of each row: y[r,d] = x[r,d] / n[r], d < D, with n[r] = max(sqrt(sum_{d<D} x[r,d]^2), 1e-12).
 *   x,dx [R,C]   y,dy [R,D]   n [R] written by fwd, read by bwd.   0 <= D <= C.
 * bwd: dx[r,d] = (dy[r,d] - y[r,d] sum_e y[r,e] dy[r,e]) / n[r] for d < D, without the second term where n is 1e-12; 0 for d >= D.
 * FLOPs 3RD fwd, 6RD bwd. fwd DOT(D+2), gauge |x| / n; of n: n. bwd DOT(2D+2), gauge (|dy| + |y| sum |y||dy|) / n.              */
void vvb_unit_rows_fwd(vv_real *y, vv_real *n, const vv_real *x, int64_t R, int64_t C, int64_t D);
void vvb_unit_rows_bwd(vv_real *dx, const vv_real *dy, const vv_real *y, const vv_real *n, int64_t R, int64_t C,
                       int64_t D, int acc);

/* ---- GELU (Hendrycks, Gimpel 2016, arXiv:1606.08415) -------------------------------------------------------------
 * ERF:   y = x Phi(x) = x/2 (1 + erf(x / sqrt 2))      dy/dx = Phi(x) + x phi(x),   phi(x) = exp(-x^2/2) / sqrt(2 pi)
 * QUICK: y = x s(1.702 x), s the logistic sigmoid       dy/dx = s + 1.702 x s (1 - s)  at 1.702 x
 * y may be x; dx may be dy (not with acc). -Inf gives NaN as the formulas do (0 times Inf).
 * FLOPs 8n fwd, 14n bwd. DOT(16) with gauge |x| (1 + |x|) fwd, |dy| (1 + x^2) bwd: the factor is the function's own
 * condition number, a relative change of u in x moves the exponent by |x| u.                                           */
typedef enum { VVB_GELU_ERF, VVB_GELU_QUICK } vvb_gelu_kind;
void vvb_gelu_fwd(vv_real *y, const vv_real *x, int64_t n, vvb_gelu_kind kind);
void vvb_gelu_bwd(vv_real *dx, const vv_real *dy, const vv_real *x, int64_t n, vvb_gelu_kind kind, int acc);

/* ---- ReLU, and the logistic sigmoid ------------------------------------------------------------------------------------
 * relu:    y = max(x, 0); a NaN stays one. bwd: dx = dy where x > 0 or x is NaN, else 0: the slope at 0 is 0. x may be the y of
 *          the forward. n FLOPs each. EXACT, with acc DOT(2), gauge |dx| + |dy|.
 * sigmoid: y = 1 / (1 + exp(-x)), ULP(4). bwd takes y: dx = dy y (1 - y), DOT(3), gauge |dy||y||1 - y|. FLOPs 4n fwd, 3n bwd.
 * y may be x; dx may be dy (not with acc).                                                                               */
void vvb_relu_fwd(vv_real *y, const vv_real *x, int64_t n);
void vvb_relu_bwd(vv_real *dx, const vv_real *dy, const vv_real *x, int64_t n, int acc);
void vvb_sigmoid_fwd(vv_real *y, const vv_real *x, int64_t n);
void vvb_sigmoid_bwd(vv_real *dx, const vv_real *dy, const vv_real *y, int64_t n, int acc);

/* ---- softplus (Dugas et al. 2001, NIPS 13, section 3): a ReLU without a kink ------------------------------------------------
 * y = log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|));    dy/dx = s(x), s the logistic sigmoid.
 * Small results are exact to the last places too. y may be x; dx may be dy (not with acc). FLOPs 10n fwd, 5n bwd.
 * fwd ULP(8); bwd DOT(4), gauge |dy| s(x).                                                                               */
void vvb_softplus_fwd(vv_real *y, const vv_real *x, int64_t n);
void vvb_softplus_bwd(vv_real *dx, const vv_real *dy, const vv_real *x, int64_t n, int acc);

/* ---- the gate of SwiGLU (Shazeer 2020, arXiv:2002.05202, section 2) ---------------------------------------------------
 * y = silu(g) u,   silu(g) = g s(g),   s the logistic sigmoid.
 *   dg = dy u s (1 + g (1 - s)),   du = dy silu(g);   acc_g and acc_u say of each whether it is added.
 * -Inf in g gives NaN as the formula does. FLOPs 8n fwd, 14n bwd. DOT(16), gauge |g||u| fwd; |dy||u| (1 + |g|) for dg, |dy||g|
 * for du: s is wrong by a few ulp of itself, 1 - s by a few of 1.                                                       */
void vvb_silu_mul_fwd(vv_real *y, const vv_real *g, const vv_real *u, int64_t n);
void vvb_silu_mul_bwd(vv_real *dg, vv_real *du, const vv_real *dy, const vv_real *g, const vv_real *u, int64_t n,
                      int acc_g, int acc_u);

/* ---- Rotary position embedding (Su et al. 2021, arXiv:2104.09864; Qwen2-VL section 2.1 for two axes) ----------------
 * table: pos (host) [N,P] holds P coordinates of each token. With F = D / (2P) frequencies an axis, angle d = a F + k of
 *   token n is pos[n,a] theta^(-k/F), a < P, k < F;  cos, sin [N, D/2]. P = 2: the first F angles turn with the row, the
 *   others with the column. P = 1 is the usual rotary. Angles, cos and sin are computed in double, rounded once.
 *   D divisible by 2P. N D FLOPs by convention. For angles below 2^21: ULP(1), and besides 2^-48 |angle|,
 *   because exponent, frequency and angle are rounded to double (theta up to 10^7).
 * fwd: every head of every row is rotated, pairs are (d, d + D/2), d < D/2 ("rotate half", not neighbours):
 *   y[d] = x[d] cos - x[d+D/2] sin;   y[d+D/2] = x[d+D/2] cos + x[d] sin.
 *   x, y: N rows with the strides ldx, ldy >= H D, heads side by side. y may be x.
 * bwd is the transposed rotation: dx[d] = dy[d] cos + dy[d+D/2] sin;  dx[d+D/2] = dy[d+D/2] cos - dy[d] sin. dx may be dy.
 * FLOPs 3 N H D. DOT(2), gauge |x[d]||cos| + |x[d+D/2]||sin| and so on.                                               */
void vvb_rope_table(vv_real *cos, vv_real *sin, const int32_t *pos, int64_t N, int64_t P, int64_t D, double theta);
void vvb_rope_fwd(vv_real *y, int64_t ldy, const vv_real *x, int64_t ldx, const vv_real *cos, const vv_real *sin,
                  int64_t N, int64_t H, int64_t D);
void vvb_rope_bwd(vv_real *dx, int64_t lddx, const vv_real *dy, int64_t lddy, const vv_real *cos, const vv_real *sin,
                  int64_t N, int64_t H, int64_t D);

/* ---- Attention within segments of variable length (Vaswani et al. 2017, arXiv:1706.03762; Dao et al. 2022, arXiv:2205.14135
 *      for keeping row statistics instead of the matrix; Ainslie et al. 2023, arXiv:2305.13245 for heads that share keys) -----
 * Queries come in S segments, cu_q (host) [S+1] the prefix sums of their lengths, cu_q[0] = 0, cu_q[S] = Nq; keys and values in Sk
 * segments, cu_k [Sk+1]. Segment s looks at key segment k_of[s], numbers that do not decrease (several may look at one). NULL for
 * k_of: at number s; NULL for cu_k besides: queries and keys have the same segments. Query head h looks at key head h / (H / Hkv).
 * For each segment and head, with q [n,D] and k, v [m,D] those blocks (row strides ldq, ldo >= H D; ldk, ldv >= Hkv D):
 *   s = scale q k^T;   p = softmax over each row;   o = p v;   lse[n,h] = log sum_j exp(s[n,j])      (lse [Nq,H] is saved)
 * A query sees all keys of its segment and no others; causal: query i of n sees the keys j <= i + m - n, m >= n, so that the
 * last query sees all (with n < m the first m - n tokens were seen before: a cache). A query without keys has o = 0, lse = -Inf.
 * Memory grows with Nq and Nk: scores live in tiles of query rows. A NaN or Inf of a key or value that a causal query must not
 * see may still reach it.
 * bwd, p recomputed from lse, delta = sum_d dO o:   dv = p^T dO;  ds = p (dO v^T - delta);  dq = scale ds k;  dk = scale ds^T q,
 *   dk and dv summed over the segments and heads that look there.
 *   dq, dk, dv are written (there is no acc), with the strides ldq, ldk, ldv of q, k, v; dO and o with ldo.
 * FLOPs, with n2 the number of pairs that see each other: fwd H n2 (4D + 5); bwd H n2 (10D + 8).
 * With E = 1 + 2 max_j scale |q||k|_j of the row (how much rounding of the scores moves p), m the keys a query sees, n the
 * queries that see a key, their heads counted apart:
 *   o DOT(m+D), gauge E p|v|;  dv DOT(n+D), gauge sum_i E p |dO|;  dq DOT(2m+2D), dk DOT(2n+2D), gauge scale |ds||k|, scale
 *   |ds|'|q|, |ds| = E p (|dO||v| + sum |dO||o|);  lse DOT(m+D), gauge |lse| + E. Probabilities below 2^-126 (float) may be 0. */
typedef struct {
    const int32_t *cu_q, *cu_k, *k_of; /* host */
    int64_t S, Sk, H, Hkv, D;          /* Sk is not read when cu_k is NULL */
    double scale;
    int causal;
} vvb_attention_args;
void vvb_attention_fwd(vv_real *o, int64_t ldo, vv_real *lse, const vv_real *q, int64_t ldq, const vv_real *k,
                       int64_t ldk, const vv_real *v, int64_t ldv, const vvb_attention_args *a);
void vvb_attention_bwd(vv_real *dq, vv_real *dk, vv_real *dv, const vv_real *dO, const vv_real *o, int64_t ldo,
                       const vv_real *lse, const vv_real *q, int64_t ldq, const vv_real *k, int64_t ldk,
                       const vv_real *v, int64_t ldv, const vvb_attention_args *a);

/* ---- Linear and cross-entropy in one: the loss of a language model without its [R,V] matrix of scores -----------------
 * z[r,v] = sum_c x[r,c] w[v,c];   lse[r] = log sum_v exp z[r,v];   ce[r] = lse[r] - z[r,target[r]];   loss = sum_r weight[r] ce[r]
 *   x [R,C]   w [V,C], V >= 1   target [R], 0 <= target < V (checked by the caller)   weight [R]   loss [1]; ce and lse [R]
 *   are written too, lse is read by bwd. Sums over v and r are in double. exp never overflows: lse is right for any finite z.
 * bwd, z and p = exp(z - lse) computed again, with dloss [1]:
 *   dz[r,v] = dloss weight[r] (p[r,v] - [v = target[r]]);   dx = dz w;   dw += dz^T x.
 * Scores are never held for all of R and V. FLOPs: fwd R V (2C + 5); bwd R V (2C + 5) and 2 R V C for each of dx, dw.
 * With Z[r,v] = sum_c |x||w|, E[r] = 1 + 2 max_v Z[r,v] and D[r,v] = |dloss weight| ((1 + Z) p + [v = target]):
 *   lse DOT(C+4), gauge |lse| + E;  ce DOT(C+4), gauge |ce| + E;  loss DOT(C+4+R), gauge sum |weight| (|ce| + E);
 *   dx DOT(C+V), gauge D|w|;  dw DOT(C+R), gauge |dw| + D'|x|.                                                        */
void vvb_linear_cross_entropy_fwd(vv_real *loss, vv_real *ce, vv_real *lse, const vv_real *x, const vv_real *w,
                                  const int32_t *target, const vv_real *weight, int64_t R, int64_t V, int64_t C);
void vvb_linear_cross_entropy_bwd(vv_real *dx, vv_real *dw, const vv_real *dloss, const vv_real *x, const vv_real *w,
                                  const int32_t *target, const vv_real *weight, const vv_real *lse, int64_t R,
                                  int64_t V, int64_t C, int acc);

/* ---- Convolution in two dimensions, and its transpose (Dumoulin, Visin 2016, arXiv:1603.07285; torch.nn.Conv2d and
 *      ConvTranspose2d) -------------------------------------------------------------------------------------------
 * conv2d:  y[b,i,j,o] = bias[o] + sum_{u<kh, v<kw, c<Ci} x[b, i stride + u - pad, j stride + v - pad, c] w[o,c,u,v]
 *   x [B,Hh,Ww,Ci]  w [Co,Ci,kh,kw]  bias b [Co] or NULL  y [B,Ho,Wo,Co], Ho = vvb_conv_size(Hh, kh, stride, pad)
 *   kh, kw, stride >= 1, pad >= 0
 *   dx[b,r,q,c] = sum_{u,v,o} dy[b,i,j,o] w[o,c,u,v] over integers i, j: i stride + u - pad = r, j stride + v - pad = q
 *   dw[o,c,u,v] += sum_{b,i,j} dy[b,i,j,o] x[b, i stride + u - pad, j stride + v - pad, c];   db[o] += sum dy[b,i,j,o]
 *   What lies outside x, or in dx outside dy, is zeros that take part in the products: a NaN in w reaches the border too.
 *   FLOPs 2 P Co kh kw Ci with P = B Ho Wo; the same for dx and for dw. DOT(kh kw Ci + 1), gauge |x||w| + |bias|;
 *   dx DOT(kh kw Co), gauge |dy||w|;  dw DOT(P), gauge |dw| + |dy||x|;  db DOT(P), gauge |db| + sum |dy|.
 * conv_transpose2d, kernel = stride = k >= 1 (a pixel becomes k x k pixels):
 *   y[b, k i + u, k j + v, o] = bias[o] + sum_{c<Ci} x[b,i,j,c] w[c,o,u,v],  u, v < k
 *   x [B,Hh,Ww,Ci]  w [Ci,Co,k,k]  bias b [Co] or NULL  y [B, k Hh, k Ww, Co]
 *   dx[b,i,j,c] = sum_{u,v,o} dy[b, k i + u, k j + v, o] w[c,o,u,v]
 *   dw[c,o,u,v] += sum_{b,i,j} x[b,i,j,c] dy[b, k i + u, k j + v, o];   db[o] += sum of dy over all pixels
 *   FLOPs 2 P k^2 Ci Co with P = B Hh Ww; the same for dx and for dw. DOT(Ci + 1), gauge |x||w| + |bias|;
 *   dx DOT(k^2 Co), gauge |dy||w|;  dw DOT(P), gauge |dw| + |x||dy|;  db DOT(k^2 P), gauge |db| + sum |dy|.             */
typedef struct {
    int64_t B, Hh, Ww, Ci, Co, kh, kw, stride, pad;
} vvb_conv_shape;
static inline int64_t vvb_conv_size(int64_t size, int64_t k, int64_t stride, int64_t pad)
{
    return size + 2 * pad < k ? 0 : (size + 2 * pad - k) / stride + 1;
}
void vvb_conv2d_fwd(vv_real *y, const vv_real *x, const vv_real *w, const vv_real *b, const vvb_conv_shape *s);
void vvb_conv2d_bwd(vv_real *dx, vv_real *dw, vv_real *db, const vv_real *dy, const vv_real *x, const vv_real *w,
                    const vvb_conv_shape *s, int acc);
void vvb_conv_transpose2d_fwd(vv_real *y, const vv_real *x, const vv_real *w, const vv_real *b, int64_t B, int64_t Hh,
                              int64_t Ww, int64_t Ci, int64_t Co, int64_t k);
void vvb_conv_transpose2d_bwd(vv_real *dx, vv_real *dw, vv_real *db, const vv_real *dy, const vv_real *x,
                              const vv_real *w, int64_t B, int64_t Hh, int64_t Ww, int64_t Ci, int64_t Co, int64_t k,
                              int acc);

/* ---- Bilinear interpolation (torch.nn.functional.interpolate, mode "bilinear", antialias False) ----------------------
 * x [B,Hh,Ww,C] -> y [B,Ho,Wo,C];  Hh, Ww >= 1. Row i of y has the place s in x
 *   align_corners:  s = i (Hh - 1) / (Ho - 1), 0 if Ho = 1;      otherwise  s = max(0, (i + 1/2) Hh / Ho - 1/2)
 * between r0 = floor(s) and r1 = min(r0 + 1, Hh - 1), with the shares a0 = 1 - (s - r0), a1 = s - r0; columns likewise:
 *   y[b,i,j,c] = a0 (b0 x[b,r0,q0,c] + b1 x[b,r0,q1,c]) + a1 (b0 x[b,r1,q0,c] + b1 x[b,r1,q1,c])
 *   bwd: dx at each of these four is added its share of dy[b,i,j,c].
 * s is computed in double or better, and floor is that of the exact s. (With s in float, as torch has it for float maps,
 * shares are off by up to 2^-24 s.) All four are read, also where a share is 0. FLOPs 9n fwd, 8n bwd, n numbers of y.
 * DOT(4), gauge the same of |x|;  bwd DOT((2 Ho/Hh + 1) (2 Wo/Ww + 1)), gauge the same of |dy|.                       */
void vvb_resize_bilinear_fwd(vv_real *y, const vv_real *x, int64_t B, int64_t Hh, int64_t Ww, int64_t Ho, int64_t Wo,
                             int64_t C, int align_corners);
void vvb_resize_bilinear_bwd(vv_real *dx, const vv_real *dy, int64_t B, int64_t Hh, int64_t Ww, int64_t Ho, int64_t Wo,
                             int64_t C, int align_corners, int acc);

/* ---- Losses of depth maps, blind to scale and shift --------------------------------------------------------------------------
 * (Ranftl et al. 2020, arXiv:1907.01341, section 5; the median form: Yang et al. 2024, Depth Anything, arXiv:2401.10891, section 3.1)
 * B maps of N = Hh Ww pixels: p prediction, d label [B,N]; mask int32 [B,N] or NULL. V, the valid pixels of a map, have mask != 0
 * and a finite label; M = |V|. p is finite (the caller asks vvb_first_nonfinite). All is computed in double and rounded once.
 *
 * masked_medians: at[b,0] and at[b,1], the pixels that hold the lower and the upper middle of x over V: places (M-1)/2 and M/2,
 *   from 0, of the sorted values; of equal values the first pixel; -1 when M = 0. x is p or d. N < 2^31. EXACT.
 * The losses take at [2,B,2]: these pixels for p, then for d; found by the function above, or given, to repeat another
 *   run's choice. In each map, sums and means over V, sign(0) = 0:
 *     t_x = x[at[.,0]], or with `average` the mean of both middles;   r_x = mean |x - t_x|;   s_x = max(r_x, eps)
 *     a = (p - t_p) / s_p;   b = (d - t_d) / s_d
 *   A map is one of vvb_map, the first that holds of
 *     EMPTY  M = 0            NO_MEDIAN  a middle of p or d (both with `average`) is no pixel of V            SINGLE  M = 1
 *     FLAT_LABEL  r_d <= eps max(1, max |d|)        FLAT_PREDICTION  r_p <= eps, or by least squares A <= 1e-12 max(sum p^2, 1/M),
 *                                                   A = sum (p - mean p)^2                       COUNTED
 *   The first three are left out: of sums, denominators and gradients; so is FLAT_LABEL unless `clamp`. A FLAT_PREDICTION has no
 *   gradient unless `clamp`, but counts in value and denominators: a dead head shall not look like a perfect one.
 *   info [B,2], unless NULL: the vvb_map and M of each map.
 * R on V:   MEDIAN  a - b        LS  s p + o - d, the s and o that minimise sum R^2 (s = 0, o = mean d where A is as above)
 * ssi:  y = sum |R| / sum_b M, or with `image` the mean over the maps that count of mean |R|. trim > 0: in each map only the
 *   floor((1 - trim) M) smallest |R| are summed (of equal ones the first pixels), the denominators stay.
 * gradient_matching:  y = sum_k sum |R_j - R_i| / sum_b M_k,  k < scales (at most VVB_MAX_SCALES). Scale k sees the pixels of
 *   the rows and columns 0, g, 2g ... with g = 2^k; M_k of them are valid; i and j are two of them, both valid, neighbours in a row
 *   or column. A scale without valid pixels adds nothing. R by mode:
 *     NORM  a - b       LS  as above       PAPER  (s_p / s_d) d - p       PAPER_SUM  the same, without the denominators
 *     MEGADEPTH  a - b, but g = 1, 2, 4, 6 .. 2(scales - 1), and j is the next but one of the pixels seen
 * bwd: dp = dy dy/dp, 0 outside V. With v = dy/dR from the signs above (v at j grows by the sign, at i it shrinks), w = 1 at at_p[b,0],
 *   or with `average` 1/2 at each middle, c = sign(p - t_p):
 *     a - b      (v - w sum v - h (c - w sum c)) / s_p,   h = sum v a / M
 *     PAPER      -v + h (c - w sum c),                    h = sum v d / (s_d M);           h = 0 in both where r_p <= eps
 *     LS         s (v - mean v) + sum(v q) (d - mean d - 2 s q) / A,   q = p - mean p;     0 where A is as above
 *   `detach` differentiates neither t_p nor s_p, nor s and o:  v / s_p,  -v,  s v.
 * FLOPs by convention, N counted over all maps: medians 8N; ssi fwd 12N, bwd 20N; gradient_matching fwd 20N, bwd 30N.
 * Accuracy: DOT(4), gauge the terms that are added (|dp|, |g|), and besides 4 sqrt(N) 2^-53 G; G is the value with every term taken
 * absolutely, a as (|p| + |t_p|) / s_p. Where two neighbours or a and b are equal to rounding, either sign is right.               */
typedef enum { VVB_ALIGN_MEDIAN, VVB_ALIGN_LS } vvb_align;
typedef enum { VVB_GM_NORM, VVB_GM_LS, VVB_GM_PAPER, VVB_GM_PAPER_SUM, VVB_GM_MEGADEPTH } vvb_gm;
typedef enum {
    VVB_MAP_COUNTED,
    VVB_MAP_EMPTY,
    VVB_MAP_NO_MEDIAN,
    VVB_MAP_SINGLE,
    VVB_MAP_FLAT_LABEL,
    VVB_MAP_FLAT_PREDICTION
} vvb_map;
enum { VVB_MAX_SCALES = 16 };
typedef struct {
    vvb_align align; /* of ssi */
    vvb_gm gm;       /* mode of gradient_matching */
    int average, image, clamp, detach;
    int64_t scales;
    double trim, eps;
} vvb_depth_args;
void vvb_masked_medians(int32_t *at, const vv_real *x, const vv_real *d, const int32_t *mask, int64_t B, int64_t N);
void vvb_ssi_fwd(vv_real *y, int32_t *info, const vv_real *p, const vv_real *d, const int32_t *mask, const int32_t *at,
                 int64_t B, int64_t N, const vvb_depth_args *a);
void vvb_ssi_bwd(vv_real *dp, const vv_real *dy, const vv_real *p, const vv_real *d, const int32_t *mask,
                 const int32_t *at, int64_t B, int64_t N, const vvb_depth_args *a, int acc);
void vvb_gradient_matching_fwd(vv_real *y, int32_t *info, const vv_real *p, const vv_real *d, const int32_t *mask,
                               const int32_t *at, int64_t B, int64_t Hh, int64_t Ww, const vvb_depth_args *a);
void vvb_gradient_matching_bwd(vv_real *dp, const vv_real *dy, const vv_real *p, const vv_real *d, const int32_t *mask,
                               const int32_t *at, int64_t B, int64_t Hh, int64_t Ww, const vvb_depth_args *a, int acc);

/* ---- Losses of masks on logits (reductions: dvlab-research/LISA, model/LISA.py, sigmoid_ce_loss and dice_loss) --------------------
 * R masks of C pixels: x logits, z target in [0,1] [R,C]. s the logistic sigmoid, q = s(x). Computed in double, rounded once.
 * bce:   y = (1/R) sum_r mean_c ( max(x,0) - x z + log(1 + exp(-|x|)) );    dx = dy (q - z) / (R C)
 * dice:  num = 2 sum_c q z + smooth,  den = sum_c q + sum_c z + smooth  (sums [R,2] written by fwd, read by bwd);  smooth > 0
 *        y = (1/R) sum_r (1 - num/den);    dx = dy (num - 2 z den) / den^2 q (1 - q) / R
 * R = 0 or C = 0: y = 0. NaN spreads to y, and in dx along its mask at most. FLOPs 12RC, 14RC; 12RC, 16RC.
 * DOT(4), gauge the terms that are added, and besides 4 sqrt(RC) 2^-53 G (of dx 16 2^-53 G), G the value with every term taken
 * absolutely: of dx |dy| (|1 - z| q + |z| (1 - q)) / (R C) and |dy| (|num| + 2 |z den|) / den^2 q (1 - q) / R.                         */
void vvb_bce_fwd(vv_real *y, const vv_real *x, const vv_real *z, int64_t R, int64_t C);
void vvb_bce_bwd(vv_real *dx, const vv_real *dy, const vv_real *x, const vv_real *z, int64_t R, int64_t C, int acc);
void vvb_dice_fwd(vv_real *y, vv_real *sums, const vv_real *x, const vv_real *z, int64_t R, int64_t C, double smooth);
void vvb_dice_bwd(vv_real *dx, const vv_real *dy, const vv_real *x, const vv_real *z, const vv_real *sums, int64_t R,
                  int64_t C, int acc);

/* The first i < n (host) with x[i] not finite; -1: there is none. */
int64_t vvb_first_nonfinite(const vv_real *x, int64_t n);

/* ---- AdamW (Loshchilov, Hutter 2019, arXiv:1711.05101; the form of torch.optim.AdamW) --------------------------------------
 * With g' = grad_scale g and t >= 1 the number of this update of the parameter:
 *   m = beta1 m + (1 - beta1) g';   v = beta2 v + (1 - beta2) g'^2
 *   p = p - lr weight_decay p - lr m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + eps)      eps OUTSIDE the corrected root
 *   p, m, v [n] are updated, g [n] read. The moments and the sum for p are computed in double and rounded once, the quotient in
 *   vv_real. Memory bound: 28 bytes a float parameter. 14n FLOPs. DOT(4); gauge of m: beta1|m| + (1-beta1)|g'|, of v: itself, of
 *   p: |p| + 4 |update|.
 * sum_squares: sum x^2 as a host double, lanes and blocks in a fixed tree; 2n FLOPs; DOT(n) with u = 2^-53.                     */
typedef struct {
    double lr, beta1, beta2, eps, weight_decay, grad_scale;
    int64_t t;
} vvb_adamw_args;
void vvb_adamw(vv_real *p, vv_real *m, vv_real *v, const vv_real *g, int64_t n, const vvb_adamw_args *a);
double vvb_sum_squares(const vv_real *x, int64_t n);

/* ---- for benchmarks ---------------------------------------------------------------------------------------------------------
 * c [M,N] = a [M,K] b^T, b [N,K], by one plain call of the matrix library with its own threading at the current number of threads:
 * the speed that others are fractions of. Its bits may depend on the number of threads.                                           */
void vvb_library_product(vv_real *c, const vv_real *a, const vv_real *b, int64_t M, int64_t N, int64_t K);

#ifdef __cplusplus
}
#endif
#endif
