/* How far a case is from ties: places where rounding alone can change a choice and with it, by much more than rounding, what follows:
 * the sign of a ReLU's input, of a residual or a difference in a depth loss, which pixel is a median, which token is the largest.
 *
 * A distance is one of the deciding number from its tie, over the RMS of the numbers of its kind, which their rounding errors are
 * proportional to: of one channel, one map, one row. A correct float build's errors are about 4e-7 of that. A case whose nearest tie is
 * closer than VV_MARGIN, a thousand times as far, is refused: then no legal program makes another choice. Other seeds are tried until
 * one is far enough from all ties; with n choices that is one in exp(n VV_MARGIN 0.8). Ties that are meant are not told to these functions. */
#ifndef VV_GOLDEN_MARGINS_H
#define VV_GOLDEN_MARGINS_H

#include "golden/case.h"

#define VV_MARGIN 4e-4

typedef struct {
    double least; /* the smallest distance so far; of it: */
    char where[VV_NAME_MAX];
    vv_error err; /* memory */
} vv_margins;
vv_margins vv_margins_begin(void);

/* Tells the distances from 0 of n numbers, as large as scale. */
void vv_margins_add(vv_margins *m, const char *where, const double *x, int64_t n, double scale);
double vv_margins_rms(const double *x, int64_t n);

/* A vv_trace_fn whose ctx is a vv_margins: every activation that is a ReLU's input in one of the heads, channel by channel. */
void vv_margins_trace(void *ctx, vv_event event, const vv_tensor *x);

/* The depth losses of predictions p and labels d [B,Hh,Ww] (mask as in vv_depth_maps, or NULL) by the lower median: R = a - b of every
 * pixel, its differences between neighbours of every scale, and the predictions that could be the median. */
void vv_margins_depth(vv_margins *m, const vv_real *p, const vv_real *d, const int32_t *mask, int64_t B, int64_t Hh,
                      int64_t Ww, int64_t scales);

/* The largest of each row of z [R,C] from the next one. */
void vv_margins_argmax(vv_margins *m, const char *where, const vv_real *z, int64_t R, int64_t C);

/* VV_FILE: "CASE: seed 3: NAME is 1.2e-05 of its RMS from a tie; expected 0.0004 at least: take another seed". Candidates are not
 * asked (vv_case.truth): they may be on the other side of a tie, and are judged there. */
vv_status vv_margins_check(const vv_margins *m, const vv_case *c, double least, vv_error *err) VV_MUST_USE;

#endif
