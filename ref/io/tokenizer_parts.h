/* The parts of a tokenizer, for the files tokenizer*.c alone. */
#ifndef VV_TOKENIZER_PARTS_H
#define VV_TOKENIZER_PARTS_H

#include "io/tokenizer.h"

/* ---- tokenizer_text.c: characters -------------------------------------------------------------------------------- */

/* The first character of n > 0 bytes: its length 1..4, or -k when its first k bytes (1..3) are a maximal invalid subpart.
 * *cut: that subpart is a valid beginning which the end of the bytes cuts off. */
int vv_utf8_step(const unsigned char *s, size_t n, int *cut);

/* s in NFC: either s itself, or *fresh, which is the caller's. */
vv_status vv_nfc(const char *s, size_t n, const char **out, size_t *out_n, char **fresh, vv_error *err) VV_MUST_USE;

/* The pieces of a text by the pattern of Qwen2: *end of the one that begins at `from` < n. */
typedef struct vv_splitter vv_splitter;
extern const char vv_split_pattern[]; /* as tokenizer.json has it */
vv_status vv_splitter_new(vv_splitter **out, vv_error *err) VV_MUST_USE;
void vv_splitter_free(vv_splitter *p);
vv_status vv_split(vv_splitter *p, const char *s, size_t n, size_t from, size_t *end, vv_error *err) VV_MUST_USE;

/* ---- tokenizer_bpe.c: from bytes to ids -------------------------------------------------------------------------- */

typedef struct vv_bpe vv_bpe;
vv_status vv_bpe_new(vv_bpe **out, const int32_t byte_id[256], int64_t merges, vv_error *err) VV_MUST_USE;
void vv_bpe_free(vv_bpe *b);
/* The pair becomes made; a pair that is there already gets the new rank. At most as many as vv_bpe_new was told. */
void vv_bpe_add(vv_bpe *b, int32_t left, int32_t right, int32_t rank, int32_t made);
vv_status vv_bpe_piece(vv_bpe *b, const unsigned char *s, int64_t n, vv_ids *out, vv_error *err) VV_MUST_USE;

/* ---- tokenizer_vocab.c: the table of tokens ---------------------------------------------------------------------- */

typedef struct {
    const char *text;  /* in the blob; NULL: no such token */
    const char *bytes; /* what it decodes to */
    int32_t text_n, bytes_n;
    int added, special;
} vv_token;

struct vv_tokenizer {
    vv_token *token; /* [size] */
    int64_t size;
    char *blob; /* texts with their NUL, and bytes */
    size_t blob_n, blob_cap;
    int32_t *slot; /* open addressing by the hash of the text; -1 is free */
    int64_t slots;
    int32_t *added; /* ids, the longest text first */
    int64_t n_added;
    unsigned char begins[256]; /* whether an added token begins with this byte */
    int32_t appended;
    int64_t n_merges;
    vv_bpe *bpe;
    vv_splitter *split;
    int64_t *replaced;
};

/* Room for ids below size, for `tokens` tokens whose texts have text_bytes bytes together. */
vv_status vv_vocab_new(vv_tokenizer *t, int64_t size, int64_t tokens, size_t text_bytes, const char *where,
                       vv_error *err) VV_MUST_USE;
/* Refuses an id or a text that is there already; an added token may name one of the vocabulary again. */
vv_status vv_vocab_add(vv_tokenizer *t, const char *text, int64_t id, int added, int special, const char *where,
                       vv_error *err) VV_MUST_USE;
/* The id of a text in two parts, -1 when there is none. */
int32_t vv_vocab_find(const vv_tokenizer *t, const char *a, size_t an, const char *b, size_t bn);
/* After the vocabulary: the 256 bytes, room for the merges; then each merge; then the added tokens in their order. */
vv_status vv_vocab_merges(vv_tokenizer *t, int64_t merges, const char *where, vv_error *err) VV_MUST_USE;
vv_status vv_vocab_merge(vv_tokenizer *t, const char *a, size_t an, const char *b, size_t bn, const char *where,
                         vv_error *err) VV_MUST_USE;
vv_status vv_vocab_done(vv_tokenizer *t, vv_error *err) VV_MUST_USE;

#endif
