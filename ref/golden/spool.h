/* A nameless file that grows and is read back once: it has no entry in its folder, so that nothing is left of it however the
 * process ends. */
#ifndef VV_SPOOL_H
#define VV_SPOOL_H

#include "base/base.h"

typedef struct {
    int is_open, fd;
    char *path;
    int64_t bytes;
    void *mapping;
} vv_spool;

/* In the folder of `path`, which is named in messages. */
vv_status vv_spool_open(vv_spool *s, const char *path, vv_error *err) VV_MUST_USE;
vv_status vv_spool_add(vv_spool *s, const void *bytes, int64_t n, int64_t *offset, vv_error *err) VV_MUST_USE;
vv_status vv_spool_map(vv_spool *s, const unsigned char **data,
                       vv_error *err) VV_MUST_USE; /* all of it; nothing may be added */
void vv_spool_close(vv_spool *s);                  /* a zeroed one is fine */

#endif
