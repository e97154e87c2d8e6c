#define PCRE2_CODE_UNIT_WIDTH 8
#include "io/tokenizer_parts.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* ---- UTF-8 ------------------------------------------------------------------------------------------------------- */

int vv_utf8_step(const unsigned char *s, size_t n, int *cut)
{
    const unsigned char a = s[0];
    const int length = a < 0x80 ? 1 : a < 0xc2 ? 0 : a < 0xe0 ? 2 : a < 0xf0 ? 3 : a < 0xf5 ? 4 : 0;
    *cut = 0;
    if (length == 0) return -1;
    /* the second byte: no overlong forms, no surrogates, nothing above U+10FFFF */
    const unsigned char lo = a == 0xe0   ? 0xa0
                             : a == 0xf0 ? 0x90
                                         : 0x80,
                        hi = a == 0xed   ? 0x9f
                             : a == 0xf4 ? 0x8f
                                         : 0xbf;
    for (int i = 1; i < length; i++) {
        *cut = (size_t)i == n;
        if (*cut || s[i] < (i == 1 ? lo : 0x80) || s[i] > (i == 1 ? hi : 0xbf)) return -i;
    }
    return length;
}

int64_t vv_utf8_invalid(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    int cut;
    for (size_t i = 0; i < n;) {
        uint64_t eight;
        if (i + 8 <= n && (memcpy(&eight, s + i, 8), !(eight & 0x8080808080808080u))) {
            i += 8;
            continue;
        }
        const int length = vv_utf8_step(s + i, n - i, &cut);
        if (length < 0) return (int64_t)i;
        i += (size_t)length;
    }
    return -1;
}

/* ---- NFC --------------------------------------------------------------------------------------------------------- */

/* Characters below U+0300, and those of three blocks that Chinese text consists of, stay what they are wherever they stand:
 * they neither compose with anything before them nor move, and what could follow and compose (U+0300 and later) is in
 * none of these ranges. */
static int surely_nfc(const unsigned char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        const unsigned char a = s[i];
        if (a < 0x80) i += 1;
        else if (a < 0xcc) i += 2;
        else if (a >= 0xe4 && a <= 0xe9) i += 3;                           /* U+4000..9FFF */
        else if (a == 0xe3 && s[i + 1] == 0x80 && s[i + 2] < 0xaa) i += 3; /* U+3000..3029, after which come marks */
        else if (a == 0xef && s[i + 1] == 0xbc) i += 3;                    /* U+FF00..FF3F */
        else return 0;
    }
    return 1;
}

vv_status vv_nfc(const char *s, size_t n, const char **out, size_t *out_n, char **fresh, vv_error *err)
{
    *out = s;
    *out_n = n;
    *fresh = NULL;
    if (surely_nfc((const unsigned char *)s, n)) return VV_OK;
    /* utf8proc_map, but for where memory comes from */
    const utf8proc_option_t nfc = (utf8proc_option_t)(UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    utf8proc_ssize_t count = utf8proc_decompose((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, NULL, 0, nfc),
                     got = count;
    utf8proc_int32_t *decomposed = count < 0 ? NULL : vv_calloc(count + 1, sizeof *decomposed);
    if (count >= 0 && !decomposed) return vv_no_memory(err, "normalising a text");
    if (count >= 0)
        count = got = utf8proc_decompose((const utf8proc_uint8_t *)s, (utf8proc_ssize_t)n, decomposed, count, nfc);
    if (count >= 0) got = utf8proc_reencode(decomposed, count, nfc); /* in place */
    if (got < 0) {
        free(decomposed);
        return vv_fail(err, VV_FILE, "a text cannot be normalised (NFC): %s", utf8proc_errmsg(got));
    }
    *out = *fresh = (char *)decomposed;
    *out_n = (size_t)got;
    return VV_OK;
}

/* ---- the pattern ------------------------------------------------------------------------------------------------- */

const char vv_split_pattern[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|"
    "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/* The same for PCRE2, \s being the 25 characters of Unicode's White_Space. */
#define S "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
static const char pattern[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^" S
                              "\\p{L}\\p{N}]+[\\r\\n]*|[" S "]*[\\r\\n]+|[" S "]+(?![^" S "])|[" S "]+";

enum { JIT_STACK_FIRST = 32 << 10, JIT_STACK_MOST = 1 << 20, HEAP_KIB = 1 << 20 };

struct vv_splitter {
    int no_memory; /* one of PCRE2's allocations failed, which its statuses do not always tell apart */
    int jit;
    pcre2_general_context *general;
    pcre2_code *code;
    pcre2_match_context *context;
    pcre2_match_data *match;
    pcre2_jit_stack *stack;
};

static void *allocate(PCRE2_SIZE n, void *ctx)
{
    void *p = malloc(n);
    if (!p) ((vv_splitter *)ctx)->no_memory = 1;
    return p;
}

static void release(void *p, void *ctx)
{
    (void)ctx;
    free(p);
}

/* A system that forbids memory to be written and executed has no JIT; the interpreter finds the same pieces. */
static void start_jit(vv_splitter *p)
{
    if (pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE) != 0) return;
    p->stack = pcre2_jit_stack_create(JIT_STACK_FIRST, JIT_STACK_MOST, p->general);
    if (!p->stack) return;
    pcre2_jit_stack_assign(p->context, NULL, p->stack);
    p->jit = 1;
}

vv_status vv_splitter_new(vv_splitter **out, vv_error *err)
{
    int code = 0;
    PCRE2_SIZE at = 0;
    vv_splitter *p = *out = vv_calloc(1, sizeof *p);
    if (!p) return vv_no_memory(err, "tokenizer");
    p->general = pcre2_general_context_create(allocate, release, p);
    pcre2_compile_context *c = p->general ? pcre2_compile_context_create(p->general) : NULL;
    /* anchored: a piece begins where the last one ended */
    if (c) p->code = pcre2_compile((PCRE2_SPTR)pattern, sizeof pattern - 1, PCRE2_UTF | PCRE2_ANCHORED, &code, &at, c);
    if (p->code) p->context = pcre2_match_context_create(p->general);
    if (p->context) p->match = pcre2_match_data_create_from_pattern(p->code, p->general);
    pcre2_compile_context_free(c);
    if (p->match) {
        pcre2_set_match_limit(p->context, UINT32_MAX);
        pcre2_set_depth_limit(p->context, UINT32_MAX);
        pcre2_set_heap_limit(p->context, HEAP_KIB);
        start_jit(p);
    }
    if (p->no_memory) return vv_no_memory(err, "tokenizer");
    if (p->match) return VV_OK;
    return vv_fail(err, VV_MEMORY,
                   "the pattern of the tokenizer is refused by this PCRE2 (error %d at %zu): expected one with Unicode",
                   code, (size_t)at);
}

void vv_splitter_free(vv_splitter *p)
{
    if (!p) return;
    pcre2_jit_stack_free(p->stack);
    pcre2_match_data_free(p->match);
    pcre2_match_context_free(p->context);
    pcre2_code_free(p->code);
    pcre2_general_context_free(p->general);
    free(p);
}

vv_status vv_split(vv_splitter *p, const char *s, size_t n, size_t from, size_t *end, vv_error *err)
{
    int got = PCRE2_ERROR_JIT_STACKLIMIT;
    if (p->jit) got = pcre2_jit_match(p->code, (PCRE2_SPTR)s, n, from, 0, p->match, p->context);
    if (got == PCRE2_ERROR_JIT_STACKLIMIT)
        got = pcre2_match(p->code, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, p->match, p->context);
    if (got == PCRE2_ERROR_NOMEMORY) return vv_no_memory(err, "splitting a text");
    if (got < 0 && got != PCRE2_ERROR_NOMATCH)
        return vv_fail(err, VV_MEMORY, "byte %zu of a text of %zu: the pattern gives up (PCRE2 error %d)", from, n,
                       got);
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(p->match);
    if (got < 0 || span[0] != from || span[1] <= from || span[1] > n)
        return vv_fail(err, VV_FILE, "byte %zu of a text of %zu: expected a piece of the pattern, found none", from, n);
    *end = span[1];
    return VV_OK;
}
