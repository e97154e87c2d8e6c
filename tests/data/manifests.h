/* What the tests of samples share: small files, a manifest from a text, warnings caught. */
#ifndef VVT_MANIFESTS_H
#define VVT_MANIFESTS_H

#include "data/dataset.h"
#include "io/npy.h"
#include "vvt.h"

enum { VVT_ROWS = 4, VVT_COLS = 5 };

/* A picture of h x w whose first byte is `mark`, as vvt_path(name). */
static inline void vvt_picture(const char *name, int64_t h, int64_t w, int mark)
{
    vv_image m;
    VVT_OK(vv_image_new(&m, h, w, err));
    m.rgb[0] = (unsigned char)mark;
    VVT_OK(vv_image_write_png(&m, vvt_path(name), err));
    vv_image_free(&m);
}

/* A grey PNG of h x w with the values first, first + 1, ... */
static inline void vvt_grey(const char *name, int64_t h, int64_t w, int bits, int first)
{
    unsigned char small[64];
    uint16_t deep[64];
    ck_assert(h * w <= 64);
    for (int i = 0; i < h * w; i++) {
        small[i] = (unsigned char)(first + i);
        deep[i] = (uint16_t)(first + i);
    }
    VVT_OK(vv_grey_write(vvt_path(name), h, w, bits, bits == 8 ? (const void *)small : deep, err));
}

/* The warnings since the last call of vvt_hear, one a line, and the thread's own count of them. */
static struct {
    char text[4000];
    int n;
} vvt_heard;

static inline void vvt_listener(void *ctx, const char *what, int64_t done, int64_t total)
{
    (void)ctx, (void)done;
    if (total) return;
    const size_t n = strlen(vvt_heard.text);
    snprintf(vvt_heard.text + n, sizeof vvt_heard.text - n, "%s\n", what);
    vvt_heard.n++;
}

static inline void vvt_hear(void)
{
    vvt_heard.text[0] = 0;
    vvt_heard.n = 0;
    vv_listen(vvt_listener, NULL);
}

/* The manifest vvt_path(name) with this text, opened. */
static inline vv_status vvt_open(vv_dataset **d, const char *name, const char *text, vv_task task, int64_t skip_bad,
                                 vv_error *err)
{
    vv_source source = {.manifest = vvt_write(name, text, strlen(text))};
    return vv_dataset_open(d, &source, task, skip_bad, err);
}

/* The only sample of a manifest of one line. */
static inline vv_status vvt_one(vv_sample *s, const char *line, vv_task task, vv_error *err)
{
    vv_dataset *d;
    vv_status status = vvt_open(&d, "m.jsonl", line, task, 0, err);
    if (status == VV_OK) status = vv_dataset_get(d, 0, s, err);
    else memset(s, 0, sizeof *s);
    vv_dataset_free(d);
    return status;
}

#endif
