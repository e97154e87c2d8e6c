#include "io/pfm.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "io/image.h"

/* A cursor in the header. */
typedef struct {
    const unsigned char *p, *end;
} cursor;

static int is_blank(int c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

/* The next word, of at most size-1 characters and without its NUL; "" when there is none. Behind it stands one blank. */
static void next_word(cursor *c, char *word, size_t size)
{
    size_t n = 0;
    while (c->p < c->end && is_blank(*c->p)) c->p++;
    while (c->p < c->end && !is_blank(*c->p) && n + 1 < size) word[n++] = (char)*c->p++;
    word[n] = 0;
    if (c->p >= c->end || !is_blank(*c->p)) word[0] = 0;
}

/* A side of the picture, 0 for anything else. */
static int64_t side(const char *word)
{
    int64_t v = 0;
    for (; *word; word++) {
        if (*word < '0' || *word > '9' || v > VV_IMAGE_SIDE) return 0;
        v = 10 * v + *word - '0';
    }
    return v;
}

/* -1 or 1 for a decimal number that is not 0, 0 for anything else. Not strtod, which depends on the locale. */
static int sign(const char *word)
{
    const int s = *word == '-' ? -1 : 1;
    int digits = 0, other_than_0 = 0, points = 0;
    if (*word == '-' || *word == '+') word++;
    for (; (*word >= '0' && *word <= '9') || (*word == '.' && !points); word++) {
        points += *word == '.';
        digits += *word != '.';
        other_than_0 |= *word >= '1' && *word <= '9';
    }
    if (*word == 'e' || *word == 'E') {
        word += word[1] == '-' || word[1] == '+' ? 2 : 1;
        if (!*word) return 0;
        while (*word >= '0' && *word <= '9') word++;
    }
    return *word || !digits || !other_than_0 ? 0 : s;
}

vv_status vv_pfm_parse(vv_pfm *out, const unsigned char *bytes, int64_t n, const char *where, vv_error *err)
{
    cursor c = {bytes, bytes + n};
    char word[32];
    *out = (vv_pfm){0};
    next_word(&c, word, sizeof word);
    if (!strcmp(word, "PF")) return vv_fail(err, VV_FILE, "%s: expected a PFM of one channel (Pf), found PF", where);
    if (strcmp(word, "Pf")) return vv_fail(err, VV_FILE, "%s: no PFM: expected Pf at offset 0", where);
    next_word(&c, word, sizeof word);
    const int64_t w = side(word);
    next_word(&c, word, sizeof word);
    const int64_t h = side(word);
    next_word(&c, word, sizeof word);
    const int order = sign(word);
    if (h < 1 || w < 1 || h > VV_IMAGE_SIDE || w > VV_IMAGE_SIDE || !order)
        return vv_fail(err, VV_FILE,
                       "%s: expected the header of a PFM: width and height, 1..%d, and a scale other than 0", where,
                       VV_IMAGE_SIDE);
    const unsigned char *data = c.p + 1; /* behind the blank */
    if (c.end - data != 4 * h * w)
        return vv_fail(err, VV_FILE,
                       "%s: expected %" PRId64 " bytes for %" PRId64 " x %" PRId64
                       " (height x width) floats, found %" PRId64,
                       where, 4 * h * w, h, w, (int64_t)(c.end - data));
    if (!(out->v = vv_calloc(h * w, sizeof *out->v))) return vv_no_memory(err, where);
    out->h = h;
    out->w = w;
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++) {
            const unsigned char *b = data + 4 * ((h - 1 - y) * w + x);
            const uint32_t bits = order < 0 ? (uint32_t)b[3] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[1] << 8 | b[0]
                                            : (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
            memcpy(&out->v[y * w + x], &bits, 4);
        }
    return VV_OK;
}

void vv_pfm_free(vv_pfm *p)
{
    free(p->v);
    *p = (vv_pfm){0};
}
