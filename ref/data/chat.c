#include "data/chat.h"

#include <stdlib.h>
#include <string.h>

void vv_chat_free(vv_chat *c)
{
    vv_ids_free(&c->ids);
    vv_ids_free(&c->labels);
    vv_ids_free(&c->pads);
}

/* ---- ids with their labels --------------------------------------------------------------------------------------- */

typedef struct {
    vv_chat *c;
    const vv_tokenizer *t;
    vv_error *err;
} writer;

enum { SILENT, SUPERVISED };

/* Labels for the ids that have none yet. */
static vv_status label(writer w, int supervised)
{
    while (w.c->labels.n < w.c->ids.n)
        VV_TRY(vv_ids_push(&w.c->labels, supervised ? w.c->ids.id[w.c->labels.n] : VV_IGNORED, w.err));
    return VV_OK;
}

static vv_status text(writer w, const char *s, size_t n, int supervised)
{
    VV_TRY(vv_encode(w.t, s, n, 0, &w.c->ids, w.err));
    return label(w, supervised);
}

static vv_status words(writer w, const char *s, int supervised) { return text(w, s, strlen(s), supervised); }

static vv_status special(writer w, const char *name, int32_t *id)
{
    *id = vv_token_id(w.t, name);
    return *id >= 0 ? VV_OK
                    : vv_fail(w.err, VV_FILE, "the tokenizer: expected a token %s for conversations, found none", name);
}

static vv_status put(writer w, const char *name, int supervised)
{
    int32_t id;
    VV_TRY(special(w, name, &id));
    VV_TRY(vv_ids_push(&w.c->ids, id, w.err));
    return label(w, supervised);
}

static vv_status pads(writer w, int64_t n)
{
    int32_t id;
    VV_TRY(special(w, "<|image_pad|>", &id));
    if (n < 1 || n > INT32_MAX - w.c->ids.n)
        return vv_fail(w.err, VV_FILE, "a picture of %lld tokens: expected at least 1, and 2^31 - 1 tokens together",
                       (long long)n);
    for (int64_t i = 0; i < n; i++) {
        VV_TRY(vv_ids_push(&w.c->pads, (int32_t)w.c->ids.n, w.err));
        VV_TRY(vv_ids_push(&w.c->ids, id, w.err));
    }
    return label(w, SILENT);
}

static vv_status picture(writer w, int64_t tokens)
{
    VV_TRY(put(w, "<|vision_start|>", SILENT));
    VV_TRY(pads(w, tokens));
    return put(w, "<|vision_end|>", SILENT);
}

/* ---- turns ------------------------------------------------------------------------------------------------------- */

static vv_status thoughts(writer w)
{
    VV_TRY(put(w, "<think>", SILENT));
    VV_TRY(words(w, "\n\n", SILENT));
    VV_TRY(put(w, "</think>", SILENT));
    return words(w, "\n\n", SILENT);
}

static vv_status opening(writer w, const vv_chat_options *o)
{
    VV_TRY(put(w, "<|im_start|>", SILENT));
    VV_TRY(words(w, "assistant\n", SILENT));
    return o->think_empty ? thoughts(w) : VV_OK;
}

static vv_status answer(writer w, const char *s, const vv_chat_options *o)
{
    VV_TRY(opening(w, o));
    VV_TRY(words(w, s, SUPERVISED));
    VV_TRY(put(w, "<|im_end|>", SUPERVISED));
    return words(w, "\n", o->supervise_newline);
}

/* The header and the text after it are one text to the tokenizer. */
static vv_status headed(writer w, const char *header, const char *s, size_t n)
{
    const size_t h = strlen(header);
    char *joined = malloc(h + n + 1);
    if (!joined) return vv_no_memory(w.err, "a conversation");
    memcpy(joined, header, h);
    memcpy(joined + h, s, n);
    const vv_status r = text(w, joined, h + n, SILENT);
    free(joined);
    return r;
}

static const char mark[] = "<image>";

static int64_t count_marks(const char *s)
{
    int64_t n = 0;
    while ((s = strstr(s, mark))) n++, s += sizeof mark - 1;
    return n;
}

/* s without white space around, which marks may leave */
static const char *trimmed(const char *s, size_t *n)
{
    static const char space[] = " \t\r\n\v\f";
    while (*n > 0 && memchr(space, *s, sizeof space - 1)) s++, --*n;
    while (*n > 0 && memchr(space, s[*n - 1], sizeof space - 1)) --*n;
    return s;
}

static vv_status user(writer w, const vv_turn *turn, const int64_t *image_tokens)
{
    const char *header = "user\n", *s = turn->text;
    const int64_t marks = turn->marks ? count_marks(s) : turn->images;
    if (marks != turn->images)
        return vv_fail(w.err, VV_FILE,
                       "a user's turn: expected a mark <image> for each of its %lld pictures, found %lld",
                       (long long)turn->images, (long long)marks);
    VV_TRY(put(w, "<|im_start|>", SILENT));
    for (int64_t i = 0; i < turn->images; i++) {
        const char *at = turn->marks ? strstr(s, mark) : s;
        size_t n = (size_t)(at - s);
        if (turn->marks) s = trimmed(s, &n);
        VV_TRY(headed(w, header, s, n));
        VV_TRY(picture(w, image_tokens[i]));
        header = "";
        s = turn->marks ? at + sizeof mark - 1 : at;
    }
    size_t n = strlen(s);
    if (turn->marks) s = trimmed(s, &n);
    VV_TRY(headed(w, header, s, n));
    VV_TRY(put(w, "<|im_end|>", SILENT));
    return words(w, "\n", SILENT);
}

static vv_status system_turn(writer w, const char *s)
{
    VV_TRY(put(w, "<|im_start|>", SILENT));
    VV_TRY(headed(w, "system\n", s, strlen(s)));
    VV_TRY(put(w, "<|im_end|>", SILENT));
    return words(w, "\n", SILENT);
}

static vv_status check(const vv_turn *turns, int64_t n, int64_t images, vv_error *err)
{
    int64_t found = 0;
    if (n < 1) return vv_fail(err, VV_FILE, "a conversation: expected turns, found none");
    for (int64_t i = 0; i < n; i++) {
        if (turns[i].role == VV_SYSTEM && i > 0)
            return vv_fail(err, VV_FILE, "turn %lld: expected the system's turn first", (long long)i);
        if (turns[i].images < 0 || (turns[i].images > 0 && turns[i].role != VV_USER))
            return vv_fail(err, VV_FILE, "turn %lld: expected pictures in a user's turn only, found %lld", (long long)i,
                           (long long)turns[i].images);
        found += turns[i].images;
    }
    if (found != images)
        return vv_fail(err, VV_FILE, "a conversation with %lld pictures: expected as many in its turns, found %lld",
                       (long long)images, (long long)found);
    return VV_OK;
}

static vv_status render(writer w, const vv_turn *turns, int64_t n, const int64_t *image_tokens,
                        const vv_chat_options *o)
{
    if (o->system && *o->system && turns[0].role != VV_SYSTEM) VV_TRY(system_turn(w, o->system));
    for (int64_t i = 0; i < n; i++) {
        if (turns[i].role == VV_SYSTEM) VV_TRY(system_turn(w, turns[i].text));
        else if (turns[i].role == VV_USER) VV_TRY(user(w, &turns[i], image_tokens));
        else VV_TRY(answer(w, turns[i].text, o));
        if (turns[i].images > 0) image_tokens += turns[i].images;
    }
    return VV_OK;
}

/* ---- the public functions: all or nothing ------------------------------------------------------------------------ */

static const vv_chat_options defaults;

static vv_status kept(vv_chat *c, const vv_chat *before, vv_status r)
{
    if (r != VV_OK) c->ids.n = before->ids.n, c->labels.n = before->labels.n, c->pads.n = before->pads.n;
    return r;
}

vv_status vv_chat_render(vv_chat *c, const vv_tokenizer *t, const vv_turn *turns, int64_t n,
                         const int64_t *image_tokens, int64_t images, const vv_chat_options *o, vv_error *err)
{
    const vv_chat before = *c;
    VV_TRY(check(turns, n, images, err));
    return kept(c, &before, render((writer){c, t, err}, turns, n, image_tokens, o ? o : &defaults));
}

vv_status vv_chat_prompt(vv_chat *c, const vv_tokenizer *t, const vv_chat_options *o, vv_error *err)
{
    const vv_chat before = *c;
    return kept(c, &before, opening((writer){c, t, err}, o ? o : &defaults));
}

static vv_status plain(writer w, const char *caption, int64_t image_tokens)
{
    VV_TRY(pads(w, image_tokens));
    VV_TRY(words(w, caption, SUPERVISED));
    return put(w, "<|im_end|>", SUPERVISED);
}

vv_status vv_chat_plain(vv_chat *c, const vv_tokenizer *t, const char *caption, int64_t image_tokens, vv_error *err)
{
    const vv_chat before = *c;
    return kept(c, &before, plain((writer){c, t, err}, caption, image_tokens));
}
