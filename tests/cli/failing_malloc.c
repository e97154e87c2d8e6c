/* Makes one allocation fail, for tests/cli/alloc.sh (LD_PRELOAD; Linux with glibc).
 *
 *   VVT_FAIL_AT=n       the n-th counted allocation, from 1, returns NULL; 0 or unset: none
 *   VVT_COUNT_TO=FILE   receives the number of counted allocations when the process ends
 *
 * Counted are calls of malloc, calloc, realloc, posix_memalign and aligned_alloc from the program itself and from libpng,
 * libjpeg and jansson, whose failures the program has to handle. Not counted are libgomp, OpenBLAS and the loader, which end
 * the process themselves when they get no memory; libc, whose stdio goes on without its buffers; and jansson's parser
 * (version 2.14 ignores that a token's buffer could not grow, and reads beyond it). *
 * With VVT_WRAP it is an object to link with -Wl,--wrap=malloc and so on instead: then only the program's own calls are
 * counted, and the leak sanitizer can watch. */
#define _GNU_SOURCE /* dl_iterate_phdr */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef VVT_WRAP
#define NAME(f) __wrap_##f
#define REAL(f) __real_##f
void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
int __real_posix_memalign(void **, size_t, size_t);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);
int __wrap_posix_memalign(void **, size_t, size_t);
#else
#define NAME(f) f
#define REAL(f) __libc_##f
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
#endif

static const char *const counted_libraries[] = {"libpng", "libjpeg", "libjansson"};
static struct {
    uintptr_t from, to;
} range[64];
static int ranges;
static long fail_at, calls; /* of one thread: the tests run with --threads 1 */

static int add_module(struct dl_phdr_info *m, size_t size, void *ctx)
{
    int wanted = m->dlpi_name[0] == 0; /* the program */
    (void)size, (void)ctx;
    for (size_t i = 0; i < sizeof counted_libraries / sizeof *counted_libraries; i++)
        wanted |= strstr(m->dlpi_name, counted_libraries[i]) != NULL;
    for (int i = 0; wanted && i < m->dlpi_phnum && ranges < 64; i++) {
        const ElfW(Phdr) *p = &m->dlpi_phdr[i];
        if (p->p_type != PT_LOAD || !(p->p_flags & PF_X)) continue;
        range[ranges].from = (uintptr_t)(m->dlpi_addr + p->p_vaddr);
        range[ranges].to = range[ranges].from + p->p_memsz;
        ranges++;
    }
    return 0;
}

__attribute__((constructor)) static void start(void)
{
    const char *at = getenv("VVT_FAIL_AT");
    fail_at = at ? strtol(at, NULL, 10) : 0;
    dl_iterate_phdr(add_module, NULL);
}

__attribute__((destructor)) static void finish(void)
{
    char text[32];
    const char *path = getenv("VVT_COUNT_TO");
    const int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
    if (fd < 0) return;
    const int n = snprintf(text, sizeof text, "%ld\n", calls);
    if (write(fd, text, (size_t)n) != n) abort();
    close(fd);
}

/* The parser's two entries that the program uses, in front of jansson's. */
static int parsing;
struct json_t *json_loadb(const char *text, size_t n, size_t flags, void *error);
struct json_t *json_loads(const char *text, size_t flags, void *error);

struct json_t *json_loadb(const char *text, size_t n, size_t flags, void *error)
{
    struct json_t *(*real)(const char *, size_t, size_t, void *);
    *(void **)&real = dlsym(RTLD_NEXT, "json_loadb");
    parsing = 1;
    struct json_t *root = real(text, n, flags, error);
    parsing = 0;
    return root;
}

struct json_t *json_loads(const char *text, size_t flags, void *error)
{
    struct json_t *(*real)(const char *, size_t, void *);
    *(void **)&real = dlsym(RTLD_NEXT, "json_loads");
    parsing = 1;
    struct json_t *root = real(text, flags, error);
    parsing = 0;
    return root;
}

/* a place for a breakpoint */
__attribute__((noinline)) static void failing_here(void) { errno = ENOMEM; }

static int fails(const void *caller)
{
    const uintptr_t p = (uintptr_t)caller;
    int counted = 0;
    for (int i = 0; i < ranges; i++) counted |= p >= range[i].from && p < range[i].to;
    if (!counted || parsing || ++calls != fail_at) return 0;
    failing_here();
    return 1;
}

#define FAIL_HERE()                                                                                                    \
    if (fails(__builtin_return_address(0))) return NULL

void *NAME(malloc)(size_t n)
{
    FAIL_HERE();
    return REAL(malloc)(n);
}

void *NAME(calloc)(size_t n, size_t size)
{
    FAIL_HERE();
    return REAL(calloc)(n, size);
}

void *NAME(realloc)(void *p, size_t n)
{
    FAIL_HERE();
    return REAL(realloc)(p, n);
}

#ifndef VVT_WRAP
void *aligned_alloc(size_t align, size_t n)
{
    FAIL_HERE();
    return __libc_memalign(align, n);
}
#endif

int NAME(posix_memalign)(void **out, size_t align, size_t n)
{
    if (fails(__builtin_return_address(0))) return ENOMEM;
#ifdef VVT_WRAP
    return __real_posix_memalign(out, align, n);
#else
    void *p = __libc_memalign(align, n);
    if (!p) return ENOMEM;
    *out = p;
    return 0;
#endif
}
