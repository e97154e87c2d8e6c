/* A text file as its lines: lists of texts, and JSON Lines. */
#ifndef VV_LINES_H
#define VV_LINES_H

#include "base/json.h"

typedef struct {
    char **line; /* [n], NUL-terminated, without the line end (\n or \r\n); a last empty line is none */
    int64_t n;
    char *text; /* private */
} vv_lines;

/* VV_FILE for a file that cannot be read or holds a NUL. */
vv_status vv_lines_read(vv_lines *out, const char *path, vv_error *err) VV_MUST_USE;
void vv_lines_free(vv_lines *l); /* zeroes it */

/* Line i (from 0) as a JSON object; messages begin with "PATH:LINE". where [VV_WHERE] receives that. */
enum { VV_WHERE = 300 };
vv_status vv_lines_json(json_t **out, const vv_lines *l, int64_t i, const char *path, char *where,
                        vv_error *err) VV_MUST_USE;

#endif
