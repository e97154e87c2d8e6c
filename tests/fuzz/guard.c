/* libpng and libjpeg are not compiled with the sanitizers, so nobody sees them write past the pixels they are given. In the
 * two picture programs the linker sends vv_calloc and free through here (--wrap): the pixels end where a page begins that
 * may not be touched. Only for libFuzzer. */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz/targets.h"

void *__real_vv_calloc(int64_t n, size_t size);
void *__wrap_vv_calloc(int64_t n, size_t size);
void __real_free(void *p);
void __wrap_free(void *p);

/* One picture lives at a time. */
static struct {
    unsigned char *pixels, *pages;
    size_t bytes;
} picture;

void *__wrap_vv_calloc(int64_t n, size_t size)
{
    const int64_t page = sysconf(_SC_PAGESIZE), bytes = vv_mul(n, (int64_t)size);
    /* pixels are n times 3 bytes, grey numbers n times 2 */
    if ((size != 3 && size != 2) || bytes <= 0 || picture.pixels) return __real_vv_calloc(n, size);
    const int64_t room = (bytes + page - 1) / page * page;
    unsigned char *p = mmap(NULL, (size_t)(room + page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
    if (p == MAP_FAILED) return NULL;
    VVT_HOLDS(mprotect(p + room, (size_t)page, PROT_NONE) == 0);
    picture.pages = p;
    picture.bytes = (size_t)(room + page);
    picture.pixels = p + room - bytes;
    return picture.pixels;
}

void __wrap_free(void *p)
{
    if (!p || p != picture.pixels) {
        __real_free(p);
        return;
    }
    munmap(picture.pages, picture.bytes);
    picture.pixels = NULL;
}
