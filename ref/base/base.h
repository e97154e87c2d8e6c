/* What every file of the library shares: the number type, statuses, errors and checked host memory.
 *
 * Letters used everywhere for sizes, all int64_t:
 *   B batch   N tokens of all images of a batch   C channels   H heads   D head dim   R rows (= all leading axes)
 *   Ci, Co input and output channels   K reduction length   Hh, Ww height and width                                */
#ifndef VV_BASE_H
#define VV_BASE_H

#include <stddef.h>
#include <stdint.h>

/* vv_real is the type of all tensor arithmetic: float (what users run), or double with `make REAL=double`
 * (the truth the float build is judged by). VV_U is its unit roundoff, VV_REAL_TAG part of every backend symbol. */
#ifdef VV_DOUBLE
typedef double vv_real;
#define VV_REAL_TAG f64
#define VV_REAL_NAME "double"
#define VV_U 0x1p-53
#else
typedef float vv_real;
#define VV_REAL_TAG f32
#define VV_REAL_NAME "float"
#define VV_U 0x1p-24
#endif

#if defined(__GNUC__)
#define VV_MUST_USE __attribute__((warn_unused_result))
#define VV_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define VV_MUST_USE
#define VV_PRINTF(fmt, args)
#endif

/* A status is also the exit status of the command. */
typedef enum {
    VV_OK = 0,       /* done, or equal                                              */
    VV_DIFFERS = 1,  /* compared and different, or a reference that proves nothing  */
    VV_USAGE = 2,    /* the caller asked for something impossible                   */
    VV_FILE = 3,     /* a file or its content: missing, damaged, unwritable         */
    VV_MEMORY = 4,   /* out of memory, a backend failure, no device                 */
    VV_NONFINITE = 5 /* a number that must be finite is not                         */
} vv_status;

/* The first failure, described once where it happened: what, where, expected, found. No newline. */
typedef struct {
    vv_status status;
    char msg[600];
} vv_error;

/* Records a failure (an earlier one is kept) and returns the status kept. err may be NULL: then s is returned. */
vv_status vv_fail(vv_error *err, vv_status s, const char *fmt, ...) VV_PRINTF(3, 4);

/* VV_MEMORY with the usual words. */
vv_status vv_no_memory(vv_error *err, const char *what);

#define VV_TRY(call)                                                                                                   \
    do {                                                                                                               \
        const vv_status vv_try_ = (call);                                                                              \
        if (vv_try_ != VV_OK) return vv_try_;                                                                          \
    } while (0)

/* n zeroed elements of the given size; NULL when n < 0, on overflow or without memory. n = 0 gives a valid pointer. */
void *vv_calloc(int64_t n, size_t size);

/* A copy of the string, NULL without memory. */
char *vv_strdup(const char *s);

/* Seconds of a clock that only goes forward, from some moment on. */
double vv_seconds(void);

/* printf into fresh memory, NULL without memory. */
char *vv_asprintf(const char *fmt, ...) VV_PRINTF(1, 2);

/* a*b for sizes: -1 when either is negative or the product does not fit. */
int64_t vv_mul(int64_t a, int64_t b);

enum { VV_IGNORED = -100 }; /* the label of a token that is not learnt, as in torch */

static inline int64_t vv_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t vv_max(int64_t a, int64_t b) { return a > b ? a : b; }

/* What the library has to tell a person while it works. It never prints: the command installs a listener.
 * done = total ends a progress line; total = 0 is a warning whose text is `what`. */
typedef void (*vv_listener)(void *ctx, const char *what, int64_t done, int64_t total);
void vv_listen(vv_listener fn, void *ctx);
void vv_progress(const char *what, int64_t done, int64_t total);
void vv_warn(const char *fmt, ...) VV_PRINTF(1, 2);

#endif
