/* Inside loss/ only: what bce.c and dice.c share. */
#ifndef VV_LOSS_MASKS_H
#define VV_LOSS_MASKS_H

#include "loss/loss.h"

/* R masks of C pixels. */
typedef struct {
    int64_t R, C;
} vv_masks;
static inline vv_masks vv_masks_of(const vv_tensor *z)
{
    const int64_t R = z->ndim ? z->dim[0] : 1;
    return (vv_masks){R, R ? z->n / R : 0};
}

/* Logits and targets are as loss.h says: 0 after an error. */
int vv_masks_ready(vv_tape *t, const char *op, const char *name, const vv_tensor *x, const vv_tensor *z,
                   const char *const *sample);

#endif
