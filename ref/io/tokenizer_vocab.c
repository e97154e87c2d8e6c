#include "io/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

/* ---- bytes as characters ------------------------------------------------------------------------------------------
 * A vocabulary writes the bytes 21-7E, A1-AC and AE-FF as the characters of the same number, and the other 68 in increasing
 * order as U+0100, U+0101, ... (byte 20, the space, is U+0120). */

static int printable(int c) { return (c >= 0x21 && c <= 0x7e) || (c >= 0xa1 && c <= 0xac) || (c >= 0xae && c <= 0xff); }

/* The byte that character c (below U+0800) stands for, -1 when for none. */
static int byte_of(int c)
{
    if (c < 0x100) return printable(c) ? c : -1;
    const int k = c - 0x100; /* the k-th of 00-20, 7F-A0, AD */
    return k <= 0x20 ? k : k <= 0x42 ? 0x7f + k - 0x21 : k == 0x43 ? 0xad : -1;
}

/* The bytes that a token decodes to: its characters' when all stand for bytes, else its own UTF-8. Returns their number. */
static size_t bytes_of(const char *text, size_t n, char *out)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t k = 0;
    for (size_t i = 0; i < n; k++) {
        const int c = s[i] < 0x80 ? s[i] : s[i] < 0xe0 ? (s[i] & 0x1f) << 6 | (s[i + 1] & 0x3f) : 0xffff;
        const int byte = byte_of(c);
        if (byte < 0) {
            memcpy(out, text, n);
            return n;
        }
        out[k] = (char)byte;
        i += s[i] < 0x80 ? 1 : 2;
    }
    return k;
}

/* ---- the table --------------------------------------------------------------------------------------------------- */

static uint64_t hash(uint64_t h, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)s[i]) * 0x100000001b3u; /* FNV-1a */
    return h;
}

/* The slot of the text a b, or the free one where it would stand. */
static int64_t slot_of(const vv_tokenizer *t, const char *a, size_t an, const char *b, size_t bn)
{
    const uint64_t h = hash(hash(0xcbf29ce484222325u, a, an), b, bn);
    const int64_t mask = t->slots - 1;
    for (int64_t i = (int64_t)((h ^ h >> 32) & (uint64_t)mask);; i = (i + 1) & mask) {
        if (t->slot[i] < 0) return i;
        const vv_token *k = &t->token[t->slot[i]];
        if ((size_t)k->text_n == an + bn && !memcmp(k->text, a, an) && !memcmp(k->text + an, b, bn)) return i;
    }
}

int32_t vv_vocab_find(const vv_tokenizer *t, const char *a, size_t an, const char *b, size_t bn)
{
    return t->slot[slot_of(t, a, an, b, bn)];
}

vv_status vv_vocab_new(vv_tokenizer *t, int64_t size, int64_t tokens, size_t text_bytes, const char *where,
                       vv_error *err)
{
    t->size = size;
    t->blob_cap = 2 * text_bytes + (size_t)tokens;
    for (t->slots = 16; t->slots < 2 * tokens;) t->slots *= 2;
    t->token = vv_calloc(size, sizeof *t->token);
    t->blob = vv_calloc((int64_t)t->blob_cap, 1);
    t->slot = vv_calloc(t->slots, sizeof *t->slot);
    t->added = vv_calloc(tokens, sizeof *t->added);
    t->replaced = vv_calloc(1, sizeof *t->replaced);
    if (!t->token || !t->blob || !t->slot || !t->added || !t->replaced) return vv_no_memory(err, where);
    for (int64_t i = 0; i < t->slots; i++) t->slot[i] = -1;
    t->appended = -1;
    return VV_OK;
}

vv_status vv_vocab_add(vv_tokenizer *t, const char *text, int64_t id, int added, int special, const char *where,
                       vv_error *err)
{
    const size_t n = strlen(text);
    vv_token *k = &t->token[id];
    if (n == 0)
        return vv_fail(err, VV_FILE, "%s: expected a text for id %lld, found an empty one", where, (long long)id);
    const int64_t s = slot_of(t, text, n, "", 0);
    const int known = t->slot[s] == id; /* an added token may stand in the vocabulary too */
    if (t->slot[s] >= 0 && (!known || !added || k->added))
        return vv_fail(err, VV_FILE, "%s: expected each token once, found '%.60s' as %d and as %lld", where, text,
                       t->slot[s], (long long)id);
    if (!known && k->text)
        return vv_fail(err, VV_FILE, "%s: expected each id once, found %lld for '%.60s' and for '%.60s'", where,
                       (long long)id, k->text, text);
    if (!known) {
        char *blob = t->blob + t->blob_n;
        memcpy(blob, text, n + 1);
        k->text = blob;
        k->bytes = blob + n + 1;
        k->text_n = (int32_t)n;
        k->bytes_n = (int32_t)bytes_of(text, n, blob + n + 1);
        t->blob_n += n + 1 + (size_t)k->bytes_n;
        t->slot[s] = (int32_t)id;
    }
    k->added = added;
    k->special = special;
    if (added) t->added[t->n_added++] = (int32_t)id;
    return VV_OK;
}

vv_status vv_vocab_merges(vv_tokenizer *t, int64_t merges, const char *where, vv_error *err)
{
    int32_t byte_id[256];
    for (int c = 0; c < 0x144; c++) {
        const char text[2] = {(char)(c < 0x80 ? c : 0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))};
        const int byte = byte_of(c);
        if (byte < 0) continue;
        byte_id[byte] = vv_vocab_find(t, text, c < 0x80 ? 1 : 2, "", 0);
        if (byte_id[byte] < 0)
            return vv_fail(err, VV_FILE, "%s: expected a token for each of the 256 bytes, found none for %02X (U+%04X)",
                           where, (unsigned)byte, (unsigned)c);
    }
    return vv_bpe_new(&t->bpe, byte_id, merges, err);
}

vv_status vv_vocab_merge(vv_tokenizer *t, const char *a, size_t an, const char *b, size_t bn, const char *where,
                         vv_error *err)
{
    const int32_t left = vv_vocab_find(t, a, an, "", 0), right = vv_vocab_find(t, b, bn, "", 0),
                  made = vv_vocab_find(t, a, an, b, bn);
    const char *missing = left < 0 ? "the first" : right < 0 ? "the second" : "what they make";
    if (left < 0 || right < 0 || made < 0)
        return vv_fail(
            err, VV_FILE, "%s: number %lld, '%.*s' and '%.*s': expected tokens of the vocabulary; %s is none", where,
            (long long)t->n_merges, (int)vv_min((int64_t)an, 40), a, (int)vv_min((int64_t)bn, 40), b, missing);
    vv_bpe_add(t->bpe, left, right, (int32_t)t->n_merges++, made);
    return VV_OK;
}

vv_status vv_vocab_done(vv_tokenizer *t, vv_error *err)
{
    for (int64_t i = 1; i < t->n_added; i++) { /* the longest first, in the order of the file among equals */
        const int32_t id = t->added[i];
        int64_t k = i;
        for (; k > 0 && t->token[t->added[k - 1]].text_n < t->token[id].text_n; k--) t->added[k] = t->added[k - 1];
        t->added[k] = id;
    }
    for (int64_t i = 0; i < t->n_added; i++) t->begins[(unsigned char)t->token[t->added[i]].text[0]] = 1;
    return vv_splitter_new(&t->split, err);
}
