#include "io/lines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

void vv_lines_free(vv_lines *l)
{
    free(l->line);
    free(l->text);
    *l = (vv_lines){0};
}

vv_status vv_lines_read(vv_lines *out, const char *path, vv_error *err)
{
    vv_map map;
    *out = (vv_lines){0};
    VV_TRY(vv_map_open(&map, path, err));
    const size_t n = (size_t)map.bytes;
    const unsigned char *nul = memchr(map.data, 0, n);
    vv_status s =
        nul ? vv_fail(err, VV_FILE, "%s: expected text; found a NUL at byte %lld", path, (long long)(nul - map.data))
            : VV_OK;
    int64_t count = 1;
    for (size_t i = 0; i < n; i++) count += map.data[i] == '\n';
    if (s == VV_OK && (!(out->text = malloc(n + 1)) || !(out->line = vv_calloc(count, sizeof *out->line))))
        s = vv_no_memory(err, path);
    if (s == VV_OK) {
        memcpy(out->text, map.data, n);
        out->text[n] = 0;
        for (char *p = out->text; *p;) {
            const size_t length = strcspn(p, "\n");
            char *next = p + length + (p[length] == '\n');
            p[length] = 0;
            if (length && p[length - 1] == '\r') p[length - 1] = 0;
            out->line[out->n++] = p;
            p = next;
        }
    }
    vv_map_close(&map);
    if (s != VV_OK) vv_lines_free(out);
    return s;
}

vv_status vv_lines_json(json_t **out, const vv_lines *l, int64_t i, const char *path, char *where, vv_error *err)
{
    snprintf(where, VV_WHERE, "%s:%lld", path, (long long)i + 1);
    return vv_json_parse(out, l->line[i], strlen(l->line[i]), where, err);
}
