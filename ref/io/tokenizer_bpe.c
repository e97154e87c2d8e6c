#include "io/tokenizer_parts.h"

#include <stdlib.h>
#include <string.h>

/* A pair of neighbours becomes one symbol when the table has it. `order` carries what the search needs in one number: the
 * rank above, the new id below, so that the smallest is the pair to merge. */
typedef struct {
    uint64_t pair, order;
} rule;

#define NONE UINT64_MAX

static uint64_t pair_of(int32_t left, int32_t right) { return (uint64_t)(uint32_t)left << 32 | (uint32_t)right; }

/* Pieces repeat: those of few bytes and few ids are remembered, each in the one place that its hash gives it. */
enum { CACHE_BITS = 15, CACHE_BYTES = 46, CACHE_IDS = 20 };
typedef struct {
    unsigned char bytes_n, ids_n, bytes[CACHE_BYTES]; /* bytes_n 0: nothing here */
    int32_t id[CACHE_IDS];
} remembered;

/* Long pieces: a list of symbols and a heap of pairs. */
typedef struct {
    int32_t id, before, after; /* neighbours; after -1: the last one; id -1: merged into another */
} symbol;
typedef struct {
    uint64_t key; /* rank above, position below: the lowest rank first, the leftmost among equals */
    int32_t made;
} candidate;

struct vv_bpe {
    int32_t byte_id[256];
    rule *rules;
    uint64_t mask; /* slots - 1, a power of two */
    int shift;
    remembered *cache;
    symbol *symbols;
    candidate *heap;
    int64_t symbols_cap, heap_cap, heap_n;
};

vv_status vv_bpe_new(vv_bpe **out, const int32_t byte_id[256], int64_t merges, vv_error *err)
{
    vv_bpe *b = *out = vv_calloc(1, sizeof *b);
    if (!b) return vv_no_memory(err, "tokenizer");
    memcpy(b->byte_id, byte_id, sizeof b->byte_id);
    b->shift = 60;
    while ((int64_t)1 << (64 - b->shift) < 2 * merges) b->shift--; /* at least half of the slots stay free */
    b->mask = ((uint64_t)1 << (64 - b->shift)) - 1;
    b->rules = vv_calloc((int64_t)b->mask + 1, sizeof *b->rules);
    b->cache = vv_calloc((int64_t)1 << CACHE_BITS, sizeof *b->cache);
    if (!b->rules || !b->cache) return vv_no_memory(err, "tokenizer");
    for (uint64_t i = 0; i <= b->mask; i++) b->rules[i].pair = NONE;
    return VV_OK;
}

void vv_bpe_free(vv_bpe *b)
{
    if (!b) return;
    free(b->rules);
    free(b->cache);
    free(b->symbols);
    free(b->heap);
    free(b);
}

/* The rule of the pair, or the free slot where it would stand. */
static rule *rule_of(const vv_bpe *b, int32_t left, int32_t right)
{
    const uint64_t pair = pair_of(left, right);
    uint64_t i = pair * 0x9e3779b97f4a7c15u >> b->shift;
    while (b->rules[i].pair != pair && b->rules[i].pair != NONE) i = (i + 1) & b->mask;
    return &b->rules[i];
}

void vv_bpe_add(vv_bpe *b, int32_t left, int32_t right, int32_t rank, int32_t made)
{
    *rule_of(b, left, right) = (rule){pair_of(left, right), (uint64_t)(uint32_t)rank << 32 | (uint32_t)made};
}

static uint64_t order_of(const vv_bpe *b, int32_t left, int32_t right)
{
    const rule *r = rule_of(b, left, right);
    return r->pair == NONE ? NONE : r->order;
}

/* ---- short pieces: all pairs are looked at for each merge -------------------------------------------------------- */

enum { SHORT = 96 };

static int64_t merge_short(const vv_bpe *b, const unsigned char *s, int64_t n, int32_t id[SHORT])
{
    uint64_t order[SHORT]; /* of id[i] with id[i + 1] */
    for (int64_t i = 0; i < n; i++) id[i] = b->byte_id[s[i]];
    for (int64_t i = 0; i + 1 < n; i++) order[i] = order_of(b, id[i], id[i + 1]);
    while (n > 1) {
        int64_t best = 0;
        for (int64_t i = 1; i + 1 < n; i++)
            if (order[i] < order[best]) best = i;
        if (order[best] == NONE) break;
        id[best] = (int32_t)(order[best] & 0xffffffffu);
        n--;
        memmove(id + best + 1, id + best + 2, (size_t)(n - best - 1) * sizeof *id);
        if (best + 1 < n) {
            memmove(order + best, order + best + 1, (size_t)(n - 1 - best) * sizeof *order);
            order[best] = order_of(b, id[best], id[best + 1]);
        }
        if (best > 0) order[best - 1] = order_of(b, id[best - 1], id[best]);
    }
    return n;
}

/* ---- long pieces: a heap, so that a million letters take n log n ------------------------------------------------- */

static int heap_push(vv_bpe *b, candidate c)
{
    if (b->heap_n == b->heap_cap) {
        const int64_t cap = b->heap_cap ? 2 * b->heap_cap : 1024, bytes = vv_mul(cap, sizeof *b->heap);
        candidate *more = bytes < 0 ? NULL : realloc(b->heap, (size_t)bytes);
        if (!more) return 0;
        b->heap = more;
        b->heap_cap = cap;
    }
    int64_t i = b->heap_n++;
    for (; i > 0 && b->heap[(i - 1) / 2].key > c.key; i = (i - 1) / 2) b->heap[i] = b->heap[(i - 1) / 2];
    b->heap[i] = c;
    return 1;
}

static candidate heap_pop(vv_bpe *b)
{
    const candidate top = b->heap[0], last = b->heap[--b->heap_n];
    int64_t i = 0;
    for (int64_t k; (k = 2 * i + 1) < b->heap_n; i = k) {
        if (k + 1 < b->heap_n && b->heap[k + 1].key < b->heap[k].key) k++;
        if (b->heap[k].key >= last.key) break;
        b->heap[i] = b->heap[k];
    }
    b->heap[i] = last;
    return top;
}

/* Puts the pair that begins at i on the heap, when there is a rule for it. */
static int heap_pair(vv_bpe *b, int32_t i)
{
    const symbol *s = b->symbols;
    if (i < 0 || s[i].after < 0) return 1;
    const uint64_t order = order_of(b, s[i].id, s[s[i].after].id);
    if (order == NONE) return 1;
    return heap_push(b, (candidate){(order & ~(uint64_t)0xffffffffu) | (uint32_t)i, (int32_t)(order & 0xffffffffu)});
}

/* Whether the pair is still the one that was put on the heap: its symbols only grow, so the same result means the same pair. */
static int still_there(const vv_bpe *b, candidate c)
{
    const symbol *s = &b->symbols[(uint32_t)c.key];
    if (s->id < 0 || s->after < 0) return 0;
    const uint64_t order = order_of(b, s->id, b->symbols[s->after].id);
    return order != NONE && (int32_t)(order & 0xffffffffu) == c.made;
}

static int merge_long(vv_bpe *b, const unsigned char *s, int32_t n)
{
    if (n > b->symbols_cap) {
        free(b->symbols);
        b->symbols_cap = 0;
        b->symbols = vv_calloc(n, sizeof *b->symbols);
        if (!b->symbols) return 0;
        b->symbols_cap = n;
    }
    symbol *y = b->symbols;
    b->heap_n = 0;
    for (int32_t i = 0; i < n; i++) y[i] = (symbol){b->byte_id[s[i]], i - 1, i + 1 < n ? i + 1 : -1};
    for (int32_t i = 0; i < n; i++)
        if (!heap_pair(b, i)) return 0;
    while (b->heap_n > 0) {
        const candidate c = heap_pop(b);
        const int32_t left = (int32_t)(uint32_t)c.key;
        if (!still_there(b, c)) continue;
        symbol *right = &y[y[left].after];
        y[left].id = c.made;
        right->id = -1;
        y[left].after = right->after;
        if (right->after >= 0) y[right->after].before = left;
        if (!heap_pair(b, y[left].before) || !heap_pair(b, left)) return 0;
    }
    return 1;
}

/* ---- a piece ----------------------------------------------------------------------------------------------------- */

static remembered *place(const vv_bpe *b, const unsigned char *s, int64_t n)
{
    uint64_t h = (uint64_t)n;
    for (; n >= 8; s += 8, n -= 8) {
        uint64_t w;
        memcpy(&w, s, 8);
        h = (h ^ w) * 0x9e3779b97f4a7c15u;
        h ^= h >> 32;
    }
    for (; n > 0; s++, n--) h = (h ^ *s) * 0x9e3779b97f4a7c15u;
    return &b->cache[h >> (64 - CACHE_BITS)];
}

static vv_status append(vv_ids *out, const int32_t *id, int64_t n, vv_error *err)
{
    VV_TRY(vv_ids_reserve(out, n, err));
    memcpy(out->id + out->n, id, (size_t)n * sizeof *id);
    out->n += n;
    return VV_OK;
}

vv_status vv_bpe_piece(vv_bpe *b, const unsigned char *s, int64_t n, vv_ids *out, vv_error *err)
{
    int32_t id[SHORT];
    if (n > SHORT) {
        if (n > INT32_MAX || !merge_long(b, s, (int32_t)n)) return vv_no_memory(err, "a piece of text");
        for (int32_t i = 0; i >= 0; i = b->symbols[i].after) VV_TRY(vv_ids_push(out, b->symbols[i].id, err));
        return VV_OK;
    }
    remembered *r = n <= CACHE_BYTES ? place(b, s, n) : NULL;
    if (r && r->bytes_n == n && !memcmp(r->bytes, s, (size_t)n)) return append(out, r->id, r->ids_n, err);
    const int64_t k = merge_short(b, s, n, id);
    if (r && k <= CACHE_IDS) {
        r->bytes_n = (unsigned char)n;
        r->ids_n = (unsigned char)k;
        memcpy(r->bytes, s, (size_t)n);
        memcpy(r->id, id, (size_t)k * sizeof *id);
    }
    return append(out, id, k, err);
}
