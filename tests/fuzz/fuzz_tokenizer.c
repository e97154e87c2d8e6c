/* Bytes that begin with '{' are a tokenizer.json. Others are a text for a small tokenizer: it is encoded, with and without
 * added tokens, and decoded again, at once and token by token. */
#include "fuzz/targets.h"
#include "io/tokenizer_parts.h"

/* The 256 bytes; merges over letters, spaces and the bytes of U+0301 and of Chinese; two added tokens. */
static vv_tokenizer *small(void)
{
    static const char *const merges[][2] = {{"a", "b"},
                                            {"b", "c"},
                                            {"ab", "c"},
                                            {"a", "bc"},
                                            {"abc", "abc"},
                                            {"\xc4\xa0", "a"},
                                            {"\xc4\x8a", "\xc4\x8a"},
                                            {"\xc3\x8c", "\xc4\xa3"},
                                            {"1", "2"},
                                            {"'", "s"},
                                            {"\xc3\xa4", "\xc2\xb8"}};
    enum { MERGES = sizeof merges / sizeof *merges, ENOUGH = 4096 };
    vv_error err = {0};
    vv_tokenizer *t = vv_calloc(1, sizeof *t);
    int64_t id = 0;
    VVT_HOLDS(t && vv_vocab_new(t, 302, 302, ENOUGH, "small", &err) == VV_OK);
    for (int c = 0x21; c < 0x144; c++) {
        const char one[] = {(char)c, 0}, two[] = {(char)(0xc0 | c >> 6), (char)(0x80 | (c & 63)), 0};
        if (c <= 0x7e || (c >= 0xa1 && c != 0xad))
            VVT_HOLDS(vv_vocab_add(t, c < 0x80 ? one : two, id++, 0, 0, "small", &err) == VV_OK);
    }
    VVT_HOLDS(id == 256);
    for (int i = 0; i < MERGES; i++) {
        char made[32];
        snprintf(made, sizeof made, "%s%s", merges[i][0], merges[i][1]);
        if (vv_token_id(t, made) < 0) VVT_HOLDS(vv_vocab_add(t, made, id++, 0, 0, "small", &err) == VV_OK);
    }
    VVT_HOLDS(vv_vocab_merges(t, MERGES, "small", &err) == VV_OK);
    for (int i = 0; i < MERGES; i++)
        VVT_HOLDS(vv_vocab_merge(t, merges[i][0], strlen(merges[i][0]), merges[i][1], strlen(merges[i][1]), "small",
                                 &err) == VV_OK);
    VVT_HOLDS(vv_vocab_add(t, "<e>", 300, 1, 1, "small", &err) == VV_OK);
    VVT_HOLDS(vv_vocab_add(t, "<e><e>", 301, 1, 0, "small", &err) == VV_OK);
    VVT_HOLDS(vv_vocab_done(t, &err) == VV_OK);
    return t;
}

/* Every text can be encoded; what comes back is in NFC and valid, and encodes to the same ids. */
static void round_trip(const vv_tokenizer *t, const char *text, size_t n, int specials)
{
    vv_ids ids = {0}, again = {0};
    vv_decoder d = {0};
    vv_error err = {0};
    size_t bytes;
    VVT_HOLDS(vv_encode(t, text, n, specials, &ids, &err) == VV_OK);
    for (int64_t i = 0; i < ids.n; i++) VVT_HOLDS(vv_token_text(t, ids.id[i]));
    char *back = vv_decode(t, ids.id, ids.n, 0, &bytes);
    VVT_HOLDS(back && vv_utf8_invalid(back, bytes) < 0);
    for (int64_t i = 0; i < ids.n; i++) {
        VVT_HOLDS(vv_decoder_push(&d, t, ids.id[i], 0, &err) == VV_OK);
        VVT_HOLDS(d.held_n <= 3 && (size_t)d.n <= bytes && !memcmp(d.text, back, (size_t)d.n));
    }
    VVT_HOLDS(vv_decoder_flush(&d, &err) == VV_OK);
    VVT_HOLDS((size_t)d.n == bytes && !memcmp(d.text, back, bytes));
    VVT_HOLDS(vv_encode(t, back, bytes, specials, &again, &err) == VV_OK);
    VVT_HOLDS(again.n == ids.n && (!ids.n || !memcmp(again.id, ids.id, (size_t)ids.n * sizeof *ids.id)));
    vv_decoder_free(&d);
    free(back);
    vv_ids_free(&ids);
    vv_ids_free(&again);
}

int VVT_TARGET(tokenizer)(const uint8_t *bytes, size_t n)
{
    static vv_tokenizer *kept;
    vv_tokenizer *t = NULL;
    vv_error err = {0};
    if (n == 0 || bytes[0] != '{') {
        if (!kept) kept = small();
        round_trip(kept, (const char *)bytes, n, 0);
        round_trip(kept, (const char *)bytes, n, 1);
        vvt_accepted = 1;
        return 0;
    }
    const vv_status s = vv_tokenizer_load(&t, vvt_scratch("tokenizer.json", bytes, n), &err);
    VVT_HOLDS((s == VV_OK) == (t != NULL));
    if (!vvt_outcome(s, &err)) return 0;
    for (int64_t i = 0; i < vv_tokenizer_size(t); i++) {
        const char *text = vv_token_text(t, (int32_t)i);
        VVT_HOLDS(!text || vv_token_id(t, text) == i);
    }
    VVT_HOLDS(vv_token_appended(t) < vv_tokenizer_size(t));
    round_trip(t, (const char *)bytes, n, 0); /* its own file as the text */
    vv_tokenizer_free(t);
    return 0;
}
