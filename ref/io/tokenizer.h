/* The byte-level BPE tokenizer of Qwen2 and Qwen3: text to token ids and back.
 *
 *   text -> UTF-8 repaired -> [cut at added tokens] -> NFC -> pieces by the pattern -> BPE of each piece's bytes -> ids
 *
 *   repaired    each maximal subpart of invalid UTF-8 becomes U+FFFD (Unicode, chapter 3, "best practice"); counted
 *   cut         only when asked for (specials): leftmost, then longest. User text must be encoded without, or a question
 *               that contains "<|image_pad|>" adds a picture; only data/chat.c emits the ids of added tokens, by name
 *   pattern     (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
 *   BPE         the neighbours with the lowest rank are merged, the leftmost first, until none has a rank
 *
 * Read from a Hugging Face folder: tokenizer.json, or vocab.json and merges.txt with the added tokens of
 * tokenizer_config.json. A tokenizer.json that asks for anything else than the above is refused with the field's name.
 *
 * Sources: Qwen2's tokenization_qwen2.py in transformers; the BPE, AddedVocabulary and ByteLevel of huggingface/tokenizers.
 * Known difference: NFC follows the installed utf8proc, `tokenizers` the tables of Unicode 9; letters assigned after the
 * Unicode version of the installed PCRE2 (14 in 10.42) are punctuation to us.
 *
 * Easy to get wrong: `encode_special_tokens` of `tokenizers` still finds the added tokens that are not special, <think>
 * among them; without specials none is found here. PCRE2's \s contains U+180E, which is no white space.
 *
 * A loaded tokenizer is constant, but for working memory inside: one thread at a time. */
#ifndef VV_TOKENIZER_H
#define VV_TOKENIZER_H

#include "base/base.h"

typedef struct vv_tokenizer vv_tokenizer;

enum { VV_TOKEN_IDS = 1 << 20 }; /* ids are below this */

/* VV_FILE names file, field, expected and found. */
vv_status vv_tokenizer_load(vv_tokenizer **out, const char *dir_or_file, vv_error *err) VV_MUST_USE;
void vv_tokenizer_free(vv_tokenizer *t); /* NULL is fine */

/* The id of the token written so in the file ("<|im_end|>"; a space is "\xc4\xa0"), -1 when there is none. */
int32_t vv_token_id(const vv_tokenizer *t, const char *text);
/* As written in the file; NULL when no token has this id. */
const char *vv_token_text(const vv_tokenizer *t, int32_t id);
int64_t vv_tokenizer_size(const vv_tokenizer *t); /* largest id + 1 */
/* What the file's post-processor appends to every text (Qwen3-Embedding: <|endoftext|>), -1 when nothing. vv_encode does not. */
int32_t vv_token_appended(const vv_tokenizer *t);
/* Subparts of invalid UTF-8 replaced in all texts so far. */
int64_t vv_tokenizer_replaced(const vv_tokenizer *t);

typedef struct {
    int32_t *id;
    int64_t n, cap;
} vv_ids; /* zeroed to begin */

void vv_ids_free(vv_ids *ids); /* zeroes it */
vv_status vv_ids_push(vv_ids *ids, int32_t id, vv_error *err) VV_MUST_USE;
vv_status vv_ids_reserve(vv_ids *ids, int64_t more, vv_error *err) VV_MUST_USE;

/* Appends the ids of n bytes of text (at most 2^31 - 1; NUL is a character). specials: also find added tokens in it. On
 * failure nothing is appended. */
vv_status vv_encode(const vv_tokenizer *t, const char *text, size_t n, int specials, vv_ids *out,
                    vv_error *err) VV_MUST_USE;

/* The offset of the first byte that is not part of valid UTF-8, -1 when all of it is. */
int64_t vv_utf8_invalid(const char *text, size_t n);

/* Ids to text, one at a time: bytes that do not yet make a character (at most 3) are held back. Ids without a token give
 * nothing; neither do special ones when skip_special. Invalid UTF-8 becomes U+FFFD as above. The text is appended and ends
 * in a NUL that n does not count; whoever has used it may set n to 0. */
typedef struct {
    char *text;
    int64_t n, cap;
    unsigned char held[4];
    int held_n;
} vv_decoder; /* zeroed to begin */

vv_status vv_decoder_push(vv_decoder *d, const vv_tokenizer *t, int32_t id, int skip_special,
                          vv_error *err) VV_MUST_USE;
vv_status vv_decoder_flush(vv_decoder *d, vv_error *err) VV_MUST_USE; /* what is held back is incomplete: U+FFFD */
void vv_decoder_free(vv_decoder *d);                                  /* zeroes it */

/* All of it: malloc'd, NUL-terminated, *bytes (may be NULL) long. NULL without memory. */
char *vv_decode(const vv_tokenizer *t, const int32_t *id, int64_t n, int skip_special, size_t *bytes);

/* Copies the tokenizer of one folder into another, byte for byte: tokenizer.json, or vocab.json and merges.txt;
 * tokenizer_config.json and generation_config.json where there are. All are written before the first one appears. */
vv_status vv_tokenizer_copy(const char *from, const char *to, vv_error *err) VV_MUST_USE;

#endif
