#include "io/tokenizer_parts.h"

#include "io/file.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- what a tokenizer has ---------------------------------------------------------------------------------------- */

void vv_tokenizer_free(vv_tokenizer *t)
{
    if (!t) return;
    vv_bpe_free(t->bpe);
    vv_splitter_free(t->split);
    free(t->token);
    free(t->blob);
    free(t->slot);
    free(t->added);
    free(t->replaced);
    free(t);
}

int32_t vv_token_id(const vv_tokenizer *t, const char *text) { return vv_vocab_find(t, text, strlen(text), "", 0); }

static const vv_token *token_of(const vv_tokenizer *t, int64_t id)
{
    return id >= 0 && id < t->size && t->token[id].text ? &t->token[id] : NULL;
}

const char *vv_token_text(const vv_tokenizer *t, int32_t id)
{
    const vv_token *k = token_of(t, id);
    return k ? k->text : NULL;
}

int64_t vv_tokenizer_size(const vv_tokenizer *t) { return t->size; }
int32_t vv_token_appended(const vv_tokenizer *t) { return t->appended; }
int64_t vv_tokenizer_replaced(const vv_tokenizer *t) { return *t->replaced; }

/* ---- ids --------------------------------------------------------------------------------------------------------- */

void vv_ids_free(vv_ids *ids)
{
    free(ids->id);
    *ids = (vv_ids){0};
}

vv_status vv_ids_reserve(vv_ids *ids, int64_t more, vv_error *err)
{
    if (more <= ids->cap - ids->n) return VV_OK;
    const int64_t cap = vv_max(vv_max(64, 2 * ids->cap), ids->n + more), bytes = vv_mul(cap, sizeof *ids->id);
    int32_t *id = bytes < 0 ? NULL : realloc(ids->id, (size_t)bytes);
    if (!id) return vv_no_memory(err, "ids");
    ids->id = id;
    ids->cap = cap;
    return VV_OK;
}

vv_status vv_ids_push(vv_ids *ids, int32_t id, vv_error *err)
{
    VV_TRY(vv_ids_reserve(ids, 1, err));
    ids->id[ids->n++] = id;
    return VV_OK;
}

/* ---- text to ids ------------------------------------------------------------------------------------------------- */

/* A text without added tokens. */
static vv_status encode_plain(const vv_tokenizer *t, const char *text, size_t n, vv_ids *out, vv_error *err)
{
    const char *s;
    char *fresh;
    size_t length, end;
    VV_TRY(vv_nfc(text, n, &s, &length, &fresh, err));
    vv_status r = VV_OK;
    for (size_t from = 0; r == VV_OK && from < length; from = end) {
        r = vv_split(t->split, s, length, from, &end, err);
        if (r == VV_OK) r = vv_bpe_piece(t->bpe, (const unsigned char *)s + from, (int64_t)(end - from), out, err);
    }
    free(fresh);
    return r;
}

/* The longest added token that stands at s, -1 when none does. */
static int32_t added_at(const vv_tokenizer *t, const char *s, size_t n)
{
    if (!t->begins[(unsigned char)*s]) return -1;
    for (int64_t i = 0; i < t->n_added; i++) {
        const vv_token *k = &t->token[t->added[i]];
        if ((size_t)k->text_n <= n && !memcmp(k->text, s, (size_t)k->text_n)) return t->added[i];
    }
    return -1;
}

static vv_status encode_valid(const vv_tokenizer *t, const char *text, size_t n, int specials, vv_ids *out,
                              vv_error *err)
{
    size_t from = 0;
    for (size_t i = 0; specials && i < n;) {
        const int32_t id = added_at(t, text + i, n - i);
        if (id >= 0) {
            VV_TRY(encode_plain(t, text + from, i - from, out, err));
            VV_TRY(vv_ids_push(out, id, err));
            from = i += (size_t)t->token[id].text_n;
        } else i++;
    }
    return encode_plain(t, text + from, n - from, out, err);
}

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* A copy in which each maximal invalid subpart is U+FFFD; NULL without memory. */
static char *repaired(const char *text, size_t n, size_t *length, int64_t *replaced)
{
    const unsigned char *s = (const unsigned char *)text;
    char *copy = malloc(3 * n + 1), *to = copy;
    for (size_t i = 0; copy && i < n;) {
        int cut;
        const int step = vv_utf8_step(s + i, n - i, &cut);
        const size_t put = step > 0 ? (size_t)step : 3;
        memcpy(to, step > 0 ? text + i : replacement, put);
        *replaced += step < 0;
        to += put;
        i += (size_t)abs(step);
    }
    *length = (size_t)(to - copy);
    return copy;
}

vv_status vv_encode(const vv_tokenizer *t, const char *text, size_t n, int specials, vv_ids *out, vv_error *err)
{
    char *copy = NULL;
    const int64_t before = out->n;
    if (n > INT32_MAX) return vv_fail(err, VV_USAGE, "a text of %zu bytes: expected at most %d at once", n, INT32_MAX);
    if (vv_utf8_invalid(text, n) >= 0) {
        text = copy = repaired(text, n, &n, t->replaced);
        if (!copy) return vv_no_memory(err, "repairing a text");
    }
    const vv_status r = encode_valid(t, text, n, specials, out, err);
    free(copy);
    if (r != VV_OK) out->n = before;
    return r;
}

/* ---- ids to text ------------------------------------------------------------------------------------------------- */

void vv_decoder_free(vv_decoder *d)
{
    free(d->text);
    *d = (vv_decoder){0};
}

static void put(vv_decoder *d, const void *bytes, int n)
{
    memcpy(d->text + d->n, bytes, (size_t)n);
    d->n += n;
    d->text[d->n] = 0;
}

/* Room for the next n bytes: each may turn into a U+FFFD, and so may those held. */
static vv_status room(vv_decoder *d, int64_t n, vv_error *err)
{
    const int64_t need = d->n + 3 * (n + d->held_n) + 1;
    if (need <= d->cap) return VV_OK;
    const int64_t cap = vv_max(need, 2 * d->cap);
    char *more = realloc(d->text, (size_t)cap);
    if (!more) return vv_no_memory(err, "decoding");
    d->text = more;
    d->cap = cap;
    d->text[d->n] = 0;
    return VV_OK;
}

/* held never is a whole character, nor invalid: one more byte completes it, leaves it incomplete or proves it invalid */
static void next_byte(vv_decoder *d, unsigned char byte)
{
    int cut;
    d->held[d->held_n++] = byte;
    while (d->held_n > 0) {
        const int step = vv_utf8_step(d->held, (size_t)d->held_n, &cut);
        if (step < 0 && cut) break;
        if (step > 0) put(d, d->held, step);
        else put(d, replacement, 3);
        d->held_n -= abs(step);
        memmove(d->held, d->held + abs(step), (size_t)d->held_n);
    }
}

vv_status vv_decoder_push(vv_decoder *d, const vv_tokenizer *t, int32_t id, int skip_special, vv_error *err)
{
    const vv_token *k = token_of(t, id);
    const int32_t n = k && !(skip_special && k->special) ? k->bytes_n : 0;
    VV_TRY(room(d, n, err));
    for (int32_t i = 0; i < n; i++) next_byte(d, (unsigned char)k->bytes[i]);
    return VV_OK;
}

vv_status vv_decoder_flush(vv_decoder *d, vv_error *err)
{
    VV_TRY(room(d, 0, err));
    if (d->held_n > 0) put(d, replacement, 3); /* the beginning of one character is one subpart */
    d->held_n = 0;
    return VV_OK;
}

char *vv_decode(const vv_tokenizer *t, const int32_t *id, int64_t n, int skip_special, size_t *bytes)
{
    vv_decoder d = {0};
    vv_status r = VV_OK;
    for (int64_t i = 0; r == VV_OK && i < n; i++) r = vv_decoder_push(&d, t, id[i], skip_special, NULL);
    if (r == VV_OK) r = vv_decoder_flush(&d, NULL);
    if (r != VV_OK) vv_decoder_free(&d);
    if (bytes) *bytes = (size_t)d.n;
    return d.text;
}

/* ---- copying ----------------------------------------------------------------------------------------------------- */

/* The whole file, written but not yet visible. */
static vv_status copy_file(vv_out **out, const char *from, const char *to, vv_error *err)
{
    vv_map map;
    VV_TRY(vv_map_open(&map, from, err));
    vv_status r = vv_out_open(out, to, err);
    if (r == VV_OK) r = vv_out_write(*out, map.data, (size_t)map.bytes, err);
    if (r == VV_OK) r = vv_out_sync(*out, err);
    vv_map_close(&map);
    return r;
}

vv_status vv_tokenizer_copy(const char *from, const char *to, vv_error *err)
{
    static const char *const names[] = {"tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json",
                                        "generation_config.json"};
    enum { NAMES = sizeof names / sizeof *names };
    vv_out *out[NAMES] = {0};
    int there[NAMES] = {0};
    vv_status r = VV_OK;
    for (int i = 0; r == VV_OK && i < NAMES; i++) {
        struct stat st;
        char *source = vv_path_join(from, names[i]), *target = vv_path_join(to, names[i]);
        if (!source || !target) r = vv_no_memory(err, from);
        else if (stat(source, &st) == 0) {
            r = copy_file(&out[i], source, target, err);
            there[i] = 1;
        }
        free(source);
        free(target);
    }
    if (r == VV_OK && !there[0] && !(there[1] && there[2]))
        r = vv_fail(err, VV_FILE, "%s: expected tokenizer.json, or vocab.json and merges.txt; found neither", from);
    for (int i = 0; i < NAMES; i++) {
        if (r == VV_OK && out[i]) r = vv_out_commit(out[i], err);
        else vv_out_abort(out[i]);
    }
    return r;
}
