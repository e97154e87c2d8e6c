/* Mutations that libpng does not refuse at once: after each, the check sums of the chunks are made right; some are made
 * to the pixels beneath the compression. Only for libFuzzer. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "fuzz/targets.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

enum { PIXELS = 1 << 14 }; /* the most bytes of filtered rows that are unpacked */

static uint32_t get32(const uint8_t *p) { return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | p[2] << 8 | p[3]; }

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)(v >> (24 - 8 * i));
}

/* The size of the chunk at offset `at` (length, type, data, check sum), 0 when it does not fit into n bytes. */
static size_t chunk(const uint8_t *p, size_t n, size_t at)
{
    if (n < 12 || at > n - 12) return 0;
    const uint32_t length = get32(p + at);
    return length > n - 12 - at ? 0 : (size_t)length + 12;
}

static void repair(uint8_t *p, size_t n)
{
    for (size_t at = 8, size; (size = chunk(p, n, at)) != 0; at += size)
        put32(p + at + size - 4, (uint32_t)crc32(0, p + at + 4, (uInt)(size - 8)));
}

/* Unpacks all IDAT chunks, mutates what was in them, packs it as one in the place of the first. Returns the new size,
 * or n when the picture cannot be unpacked or becomes too large. */
static size_t mutate_pixels(uint8_t *p, size_t n, size_t max)
{
    static uint8_t packed[1 << 16], pixels[PIXELS], out[1 << 16];
    size_t first = 0, used = 0, end = 8, total;
    uLongf count = PIXELS - 64, bytes = sizeof packed;
    if (n > sizeof out / 2) return n;
    for (size_t size; (size = chunk(p, n, end)) != 0; end += size)
        if (!memcmp(p + end + 4, "IDAT", 4)) {
            if (!first) first = end;
            memcpy(packed + used, p + end + 8, size - 12);
            used += size - 12;
        }
    if (!first || uncompress(pixels, &count, packed, (uLong)used) != Z_OK) return n;
    count = (uLongf)LLVMFuzzerMutate(pixels, (size_t)count, PIXELS);
    if (compress2(packed, &bytes, pixels, count, 6) != Z_OK || first + bytes + 12 > sizeof out / 2) return n;
    memcpy(out, p, first);
    put32(out + first, (uint32_t)bytes);
    memcpy(out + first + 4, "IDAT", 4);
    memcpy(out + first + 8, packed, bytes);
    total = first + bytes + 12;
    for (size_t at = first, size; (size = chunk(p, n, at)) != 0; at += size)
        if (memcmp(p + at + 4, "IDAT", 4)) {
            memcpy(out + total, p + at, size);
            total += size;
        }
    if (total > max) return n;
    memcpy(p, out, total);
    return total;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    if (seed % 4 == 0) size = mutate_pixels(data, size, max_size);
    else size = LLVMFuzzerMutate(data, size, max_size);
    if (seed % 16 != 1) repair(data, size); /* sometimes a wrong sum is what we want */
    return size;
}
