#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

vv_status vv_fail(vv_error *err, vv_status s, const char *fmt, ...)
{
    if (!err) return s;
    if (err->status != VV_OK) return err->status;
    err->status = s;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->msg, sizeof err->msg, fmt, ap);
    va_end(ap);
    for (char *c = err->msg; *c; c++) /* one line, whatever a file name or a tensor name contained */
        if ((unsigned char)*c < 0x20 || *c == 0x7f) *c = '?';
    return s;
}

vv_status vv_no_memory(vv_error *err, const char *what) { return vv_fail(err, VV_MEMORY, "%s: out of memory", what); }

int64_t vv_mul(int64_t a, int64_t b)
{
    if (a < 0 || b < 0) return -1;
    if (a != 0 && b > INT64_MAX / a) return -1;
    return a * b;
}

void *vv_calloc(int64_t n, size_t size)
{
    const int64_t bytes = vv_mul(n, (int64_t)size);
    if (bytes < 0) return NULL;
    return calloc(bytes ? (size_t)bytes : 1, 1);
}

char *vv_strdup(const char *s)
{
    const size_t n = strlen(s) + 1;
    char *copy = malloc(n);
    if (copy) memcpy(copy, s, n);
    return copy;
}

char *vv_asprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    const int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *s = n < 0 ? NULL : malloc((size_t)n + 1);
    if (!s) return NULL;
    va_start(ap, fmt);
    vsnprintf(s, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return s;
}

static struct {
    vv_listener fn;
    void *ctx;
} listener;

void vv_listen(vv_listener fn, void *ctx)
{
    listener.fn = fn;
    listener.ctx = ctx;
}

void vv_progress(const char *what, int64_t done, int64_t total)
{
    if (listener.fn && total > 0) listener.fn(listener.ctx, what, done, total);
}

void vv_warn(const char *fmt, ...)
{
    char text[600];
    if (!listener.fn) return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    listener.fn(listener.ctx, text, 0, 0);
}

double vv_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
