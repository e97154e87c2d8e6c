/* The tokenizer against the recording of the `tokenizers` library (golden/torch/tokenizer-ids.json), and its parts against
 * plain loops written from their definitions. */
#include "vvt.h"

#include <jansson.h>
#include <time.h>

#include "io/tokenizer_parts.h"

static vv_tokenizer *t;
static json_t *recording;

static void load(void)
{
    if (t) return;
    json_error_t e;
    VVT_OK(vv_tokenizer_load(&t, vvt_root("data/tokenizer"), err));
    recording = json_load_file(vvt_root("golden/torch/tokenizer-ids.json"), JSON_ALLOW_NUL, &e);
    ck_assert_msg(recording != NULL, "%s", e.text);
}

static void unload(void)
{
    vv_tokenizer_free(t);
    json_decref(recording);
    t = NULL;
    recording = NULL;
}

/* ---- the recording -------------------------------------------------------------------------------------------------- */

static void expect_ids(const char *what, size_t i, const json_t *want, const vv_ids *got)
{
    ck_assert_msg((size_t)got->n == json_array_size(want), "%s %zu: %lld ids, expected %zu", what, i, (long long)got->n,
                  json_array_size(want));
    for (int64_t k = 0; k < got->n; k++)
        ck_assert_msg(got->id[k] == json_integer_value(json_array_get(want, (size_t)k)), "%s %zu: id %lld: %d", what, i,
                      (long long)k, got->id[k]);
}

START_TEST(recorded_ids)
{
    const json_t *cases = json_object_get(recording, "encode");
    vv_ids ids = {0};
    ck_assert_uint_ge(json_array_size(cases), 500);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i), *text = json_array_get(c, 0), *plain = json_array_get(c, 1),
                     *special = json_array_get(c, 2);
        ids.n = 0;
        VVT_OK(vv_encode(t, json_string_value(text), json_string_length(text), 0, &ids, err));
        expect_ids("encode", i, plain, &ids);
        ids.n = 0;
        VVT_OK(vv_encode(t, json_string_value(text), json_string_length(text), 1, &ids, err));
        expect_ids("encode with added tokens", i, json_is_null(special) ? plain : special, &ids);
    }
    ck_assert_int_eq(vv_tokenizer_replaced(t), 0);
    vv_ids_free(&ids);
}
END_TEST

START_TEST(recorded_pieces)
{
    const json_t *cases = json_object_get(recording, "encode");
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i), *text = json_array_get(c, 0), *pieces = json_array_get(c, 3);
        const char *s;
        char *fresh;
        size_t n, k = 0, end;
        VVT_OK(vv_nfc(json_string_value(text), json_string_length(text), &s, &n, &fresh, err));
        for (size_t from = 0; from < n; from = end, k++) {
            VVT_OK(vv_split(t->split, s, n, from, &end, err));
            ck_assert_msg((json_int_t)(end - from) == json_integer_value(json_array_get(pieces, k)),
                          "text %zu, piece %zu: %zu bytes", i, k, end - from);
        }
        ck_assert_uint_eq(k, json_array_size(pieces));
        free(fresh);
    }
}
END_TEST

START_TEST(recorded_texts)
{
    const json_t *cases = json_object_get(recording, "decode");
    ck_assert_uint_ge(json_array_size(cases), 100);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i), *list = json_array_get(c, 0);
        int32_t id[64];
        const size_t n = json_array_size(list);
        for (size_t k = 0; k < n; k++) id[k] = (int32_t)json_integer_value(json_array_get(list, k));
        for (int skip = 0; skip < 2; skip++) {
            const json_t *want = json_array_get(c, json_is_null(json_array_get(c, 2)) ? 1 : (size_t)(1 + skip));
            size_t bytes;
            char *text = vv_decode(t, id, (int64_t)n, skip, &bytes);
            ck_assert_ptr_nonnull(text);
            ck_assert_uint_eq(bytes, json_string_length(want));
            ck_assert(memcmp(text, json_string_value(want), bytes + 1) == 0);
            free(text);
        }
    }
}
END_TEST

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------------ */

/* What one character must be, from the definition: the bytes of some code point, or the longest beginning of such bytes
 * (one byte where there is none). */
static int bytes_of(uint32_t c, unsigned char *s)
{
    if (c < 0x80) return s[0] = (unsigned char)c, 1;
    if (c < 0x800) return s[0] = (unsigned char)(0xc0 | c >> 6), s[1] = (unsigned char)(0x80 | (c & 63)), 2;
    if (c < 0x10000) {
        s[0] = (unsigned char)(0xe0 | c >> 12);
        s[1] = (unsigned char)(0x80 | (c >> 6 & 63));
        s[2] = (unsigned char)(0x80 | (c & 63));
        return 3;
    }
    s[0] = (unsigned char)(0xf0 | c >> 18);
    s[1] = (unsigned char)(0x80 | (c >> 12 & 63));
    s[2] = (unsigned char)(0x80 | (c >> 6 & 63));
    s[3] = (unsigned char)(0x80 | (c & 63));
    return 4;
}

START_TEST(every_character_is_valid)
{
    int wrong = 0; /* a check for each would take long */
    for (uint32_t c = 0; c < 0x110000; c++) {
        unsigned char s[5];
        int cut;
        if (c >= 0xd800 && c < 0xe000) continue;
        const int n = bytes_of(c, s);
        s[n] = 0xff;
        wrong += vv_utf8_step(s, (size_t)n, &cut) != n;
        wrong += vv_utf8_step(s, (size_t)n + 1, &cut) != n;
        wrong += vv_utf8_invalid((char *)s, (size_t)n) != -1;
        wrong += vv_utf8_invalid((char *)s, (size_t)n + 1) != n;
        for (int k = 1; k < n; k++) { /* its beginnings, cut off by the end or by another byte */
            wrong += vv_utf8_step(s, (size_t)k, &cut) != -k || !cut;
            const unsigned char kept = s[k];
            s[k] = '(';
            wrong += vv_utf8_step(s, (size_t)n, &cut) != -k || cut;
            s[k] = kept;
        }
        if (wrong) ck_abort_msg("U+%04X", c);
    }
}
END_TEST

static const struct {
    const char *bytes, *want;
    int replaced;
} repairs[] = {
    {"\xe4\xb8", "\xef\xbf\xbd", 1},
    {"\xff"
     "A\xe4\xb8",
     "\xef\xbf\xbd"
     "A\xef\xbf\xbd",
     2},
    {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 3}, /* a surrogate */
    {"\xf0\x9f\x98"
     "A",
     "\xef\xbf\xbd"
     "A",
     1},
    {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd", 2},                                 /* overlong */
    {"\xe0\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 3},                 /* overlong */
    {"\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 4}, /* above U+10FFFF */
    {"\x80 a\xc3\xa9\xc3", "\xef\xbf\xbd a\xc3\xa9\xef\xbf\xbd", 2},
    {"\xf0\x9f\x98\xf0\x9f\x98\x80", "\xef\xbf\xbd\xf0\x9f\x98\x80", 1},
    {"12345678\xc3(12345678", "12345678\xef\xbf\xbd(12345678", 1},
};

START_TEST(invalid_bytes_are_replaced)
{
    const int64_t before = vv_tokenizer_replaced(t);
    const size_t n = strlen(repairs[_i].bytes);
    vv_ids ids = {0}, want = {0};
    size_t bytes;
    VVT_OK(vv_encode(t, repairs[_i].bytes, n, 0, &ids, err));
    ck_assert_int_eq(vv_tokenizer_replaced(t) - before, repairs[_i].replaced);
    VVT_OK(vv_encode(t, repairs[_i].want, strlen(repairs[_i].want), 0, &want, err));
    ck_assert_int_eq(ids.n, want.n);
    ck_assert(!memcmp(ids.id, want.id, (size_t)ids.n * sizeof *ids.id));
    char *text = vv_decode(t, ids.id, ids.n, 0, &bytes);
    ck_assert_str_eq(text, repairs[_i].want);
    free(text);
    ids.n = 0; /* the same through the decoder: bytes as tokens */
    for (size_t i = 0; i < n; i++) {
        const unsigned char b = (unsigned char)repairs[_i].bytes[i];
        int32_t id = 0;
        while (t->token[id].bytes_n != 1 || (unsigned char)t->token[id].bytes[0] != b) id++;
        VVT_OK(vv_ids_push(&ids, id, err));
    }
    text = vv_decode(t, ids.id, ids.n, 0, &bytes);
    ck_assert_str_eq(text, repairs[_i].want);
    ck_assert_uint_eq(bytes, strlen(text));
    free(text);
    vv_ids_free(&ids);
    vv_ids_free(&want);
}
END_TEST

START_TEST(a_decoder_holds_incomplete_characters_back)
{
    const char text[] = "a\xe4\xb8\xad\xf0\x9f\x98\x80\xc3\xa9"; /* each byte a token of its own in this vocabulary */
    vv_decoder d = {0};
    vv_ids ids = {0};
    VVT_OK(vv_encode(t, text, strlen(text), 0, &ids, err));
    ck_assert_int_eq(ids.n, 10);
    static const int visible[] = {1, 1, 1, 4, 4, 4, 4, 8, 8, 10};
    for (int64_t i = 0; i < ids.n; i++) {
        VVT_OK(vv_decoder_push(&d, t, ids.id[i], 0, err));
        ck_assert_int_eq(d.n, visible[i]);
        ck_assert(!memcmp(d.text, text, (size_t)d.n) && !d.text[d.n]);
    }
    VVT_OK(vv_decoder_push(&d, t, ids.id[1], 0, err)); /* begins and never ends */
    VVT_OK(vv_decoder_push(&d, t, 400000, 0, err));    /* no such token, not even an id */
    VVT_OK(vv_decoder_push(&d, t, -1, 0, err));
    ck_assert_int_eq(d.n, 10);
    VVT_OK(vv_decoder_flush(&d, err));
    ck_assert_str_eq(d.text + 10, "\xef\xbf\xbd");
    d.n = 0; /* taken */
    VVT_OK(vv_decoder_push(&d, t, ids.id[0], 0, err));
    ck_assert_str_eq(d.text, "a");
    vv_decoder_free(&d);
    vv_ids_free(&ids);
}
END_TEST

/* ---- BPE against the definition ------------------------------------------------------------------------------------------ */

enum { LETTERS = 3, RULES = 60, LONGEST = 400 };

/* Rules over the bytes a, b, c whose sides are earlier results, in an order that need not be one that training gives. */
typedef struct {
    char text[LETTERS + RULES][64];
    int left[RULES], right[RULES], made[RULES], n, symbols;
} grammar;

/* a number below n */
static int draw(uint64_t *state, int n)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (int)((*state >> 33) % (uint64_t)n);
}

static void random_grammar(grammar *g, uint64_t *r)
{
    g->n = 0;
    g->symbols = LETTERS;
    for (int i = 0; i < LETTERS; i++) g->text[i][0] = (char)('a' + i), g->text[i][1] = 0;
    while (g->n < RULES) {
        const int a = draw(r, g->symbols), b = draw(r, g->symbols);
        char made[128];
        int there = 0, k = 0;
        snprintf(made, sizeof made, "%s%s", g->text[a], g->text[b]);
        for (int i = 0; i < g->n; i++) there |= g->left[i] == a && g->right[i] == b;
        if (there || strlen(made) > 12) continue;
        while (k < g->symbols && strcmp(g->text[k], made)) k++;
        if (k == g->symbols) strcpy(g->text[g->symbols++], made);
        g->left[g->n] = a, g->right[g->n] = b, g->made[g->n++] = k;
    }
}

/* Again and again the leftmost pair of the lowest rank. */
static int naive(const grammar *g, const char *s, int n, int *id)
{
    for (int i = 0; i < n; i++) id[i] = s[i] - 'a';
    for (;;) {
        int best = RULES, at = 0;
        for (int i = 0; i + 1 < n; i++)
            for (int k = 0; k < best; k++)
                if (g->left[k] == id[i] && g->right[k] == id[i + 1]) best = k, at = i;
        if (best == RULES) return n;
        id[at] = g->made[best];
        for (int i = at + 1; i + 1 < n; i++) id[i] = id[i + 1];
        n--;
    }
}

START_TEST(merging_is_what_it_is_defined_to_be)
{
    uint64_t r = 1000 + (uint64_t)_i;
    grammar g;
    vv_bpe *b = NULL;
    vv_ids ids = {0};
    int32_t byte_id[256] = {0};
    random_grammar(&g, &r);
    for (int i = 0; i < LETTERS; i++) byte_id['a' + i] = i;
    VVT_OK(vv_bpe_new(&b, byte_id, RULES, err));
    for (int k = 0; k < RULES; k++) vv_bpe_add(b, g.left[k], g.right[k], k, g.made[k]);
    for (int round = 0; round < 400; round++) {
        static const int most[] = {4, 20, 60, 96, 97, LONGEST};
        char s[LONGEST];
        int want[LONGEST];
        const int n = 1 + draw(&r, most[round % 6]), letters = 1 + draw(&r, LETTERS);
        for (int i = 0; i < n; i++) s[i] = (char)('a' + draw(&r, letters));
        const int k = naive(&g, s, n, want);
        for (int twice = 0; twice < 2; twice++) { /* the second time out of the cache */
            ids.n = 0;
            VVT_OK(vv_bpe_piece(b, (unsigned char *)s, n, &ids, err));
            ck_assert_int_eq(ids.n, k);
            for (int i = 0; i < k; i++) ck_assert_int_eq(ids.id[i], want[i]);
        }
    }
    vv_bpe_free(b);
    vv_ids_free(&ids);
}
END_TEST

START_TEST(a_million_letters)
{
    enum { N = 1000000 };
    vv_bpe *b = NULL;
    vv_ids ids = {0};
    char *s = malloc(N);
    int32_t byte_id[256] = {0};
    ck_assert_ptr_nonnull(s);
    memset(s, 'a', N);
    VVT_OK(vv_bpe_new(&b, byte_id, 19, err));
    for (int k = 0; k < 19; k++) vv_bpe_add(b, k, k, k, k + 1); /* 2, 4, 8, ... letters */
    const clock_t start = clock();
    VVT_OK(vv_bpe_piece(b, (unsigned char *)s, N, &ids, err));
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    int64_t letters = 0;
    for (int64_t i = 0; i < ids.n; i++) letters += (int64_t)1 << ids.id[i];
    ck_assert_int_eq(letters, N);
    ck_assert_int_eq(ids.n, 7); /* 524288 + 262144 + 131072 + 65536 + 16384 + 512 + 64 */
    ck_assert_msg(seconds < 20, "%.1f s", seconds);
    vv_bpe_free(b);
    vv_ids_free(&ids);
    ids.n = 0;
    VVT_OK(vv_encode(t, s, N, 0, &ids, err)); /* and through the pattern */
    ck_assert_int_gt(ids.n, 0);
    memset(s, ' ', N);
    VVT_OK(vv_encode(t, s, N, 0, &ids, err));
    vv_ids_free(&ids);
    free(s);
}
END_TEST

/* ---- the table ------------------------------------------------------------------------------------------------------------ */

START_TEST(names_and_ids)
{
    ck_assert_int_eq(vv_tokenizer_size(t), 512);
    ck_assert_int_eq(vv_token_id(t, "<|im_end|>"), 488);
    ck_assert_int_eq(vv_token_id(t, "\xc4\xa0sphere"), 277);
    ck_assert_int_eq(vv_token_id(t, "<|im_end|"), -1);
    ck_assert_int_eq(vv_token_id(t, ""), -1);
    ck_assert_str_eq(vv_token_text(t, 488), "<|im_end|>");
    ck_assert_ptr_null(vv_token_text(t, -1));
    ck_assert_ptr_null(vv_token_text(t, 512));
    ck_assert_int_eq(vv_token_appended(t), -1);
    for (int32_t i = 0; i < 512; i++) ck_assert_int_eq(vv_token_id(t, vv_token_text(t, i)), i);
    for (int b = 0; b < 256; b++) { /* each byte is somebody's */
        int n = 0;
        for (int32_t i = 0; i < 256; i++) n += t->token[i].bytes_n == 1 && (unsigned char)t->token[i].bytes[0] == b;
        ck_assert_int_eq(n, 1);
    }
}
END_TEST

START_TEST(ids_are_appended_or_nothing_is)
{
    vv_ids ids = {0};
    vv_error e = {0};
    VVT_OK(vv_encode(t, "a", 1, 0, &ids, err));
    VVT_OK(vv_encode(t, "", 0, 1, &ids, err));
    VVT_OK(vv_encode(t, "<think>\0", 8, 1, &ids, err));
    ck_assert_int_eq(ids.n, 3);
    ck_assert_int_eq(ids.id[1], vv_token_id(t, "<think>"));
    vvt_expect_error(&e, vv_encode(t, "a", (size_t)INT32_MAX + 1, 0, &ids, &e), VV_USAGE, "2147483648", "2147483647",
                     NULL);
    ck_assert_int_eq(ids.n, 3);
    vv_ids_free(&ids);
    vv_tokenizer_free(NULL);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("tokenizer", &tc);
    tcase_add_unchecked_fixture(tc, load, unload);
    tcase_add_test(tc, recorded_ids);
    tcase_add_test(tc, recorded_pieces);
    tcase_add_test(tc, recorded_texts);
    tcase_add_test(tc, every_character_is_valid);
    tcase_add_loop_test(tc, invalid_bytes_are_replaced, 0, sizeof repairs / sizeof *repairs);
    tcase_add_test(tc, a_decoder_holds_incomplete_characters_back);
    tcase_add_loop_test(tc, merging_is_what_it_is_defined_to_be, 0, 12);
    tcase_add_test(tc, a_million_letters);
    tcase_add_test(tc, names_and_ids);
    tcase_add_test(tc, ids_are_appended_or_nothing_is);
    return s;
}
VVT_MAIN(suite)
