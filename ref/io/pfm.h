/* Portable Float Map, one channel: what MiDaS and its successors write for a depth map.
 *
 *   "Pf" blank WIDTH blank HEIGHT blank SCALE one blank | HEIGHT * WIDTH floats of 32 bits, the lowest row first
 *
 * The sign of SCALE tells the order of the bytes: negative little-endian, positive big-endian. Its size is a unit that
 * readers leave alone, as here. Three channels ("PF") are refused. The data must end where the file does.
 * Source: Debevec's description of the format. */
#ifndef VV_PFM_H
#define VV_PFM_H

#include "base/base.h"

typedef struct {
    int64_t h, w;
    float *v; /* [h,w], the highest row first, as they stand in the file: NaN and infinities too */
} vv_pfm;

/* From n bytes of memory; where names them in messages. VV_FILE naming expected and found, VV_MEMORY; then *out is zeroed. */
vv_status vv_pfm_parse(vv_pfm *out, const unsigned char *bytes, int64_t n, const char *where,
                       vv_error *err) VV_MUST_USE;
void vv_pfm_free(vv_pfm *p); /* zeroes it; a zeroed one is fine */

#endif
