/* Captions, questions and answers: a conversation, with a picture or without. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset_parts.h"

#define MARK "<image>" /* LLaVA's: the place of the picture in a person's text */

/* Turn i of the conversation: whether it is in LLaVA's form, its role (one of ours), its text. */
typedef struct {
    int llava;
    const char *role, *text;
} turn;

static vv_status get_turn(const json_t *list, size_t i, const char *place, turn *t, vv_error *err)
{
    static const char *const roles[][2] = {
        {"user", "user"}, {"assistant", "assistant"}, {"system", "system"}, {"human", "user"}, {"gpt", "assistant"}};
    enum { ROLES = sizeof roles / sizeof *roles };
    char where[VV_PLACE + 40];
    const json_t *o = json_array_get(list, i);
    snprintf(where, sizeof where, "%s: conversations[%zu]", place, i);
    t->llava = json_object_get(o, "from") != NULL;
    const char *role = NULL, *role_key = t->llava ? "from" : "role", *text_key = t->llava ? "value" : "content";
    VV_TRY(vv_json_need(o, where, role_key, err));
    VV_TRY(vv_json_need(o, where, text_key, err));
    VV_TRY(vv_json_string(o, where, role_key, &role, err));
    VV_TRY(vv_json_string(o, where, text_key, &t->text, err));
    t->role = NULL;
    for (int k = 0; k < ROLES; k++)
        if (!strcmp(role, roles[k][0])) t->role = roles[k][1];
    if (t->role) return VV_OK;
    return vv_fail(err, VV_FILE, "%s: '%s': expected user, assistant or system, found '%.60s'", where, role_key, role);
}

static int count_marks(const char *text)
{
    int n = 0;
    for (; (text = strstr(text, MARK)); text += strlen(MARK)) n++;
    return n;
}

vv_status vv_caption_check(const json_t *o, const char *place, vv_error *err)
{
    const char *image = NULL, *type = NULL, *expected = "user";
    const json_t *list = NULL;
    VV_TRY(vv_json_string(o, place, "image", &image, err));
    VV_TRY(vv_json_string(o, place, "type", &type, err));
    VV_TRY(vv_json_need(o, place, "conversations", err));
    VV_TRY(vv_json_array(o, place, "conversations", &list, err));
    const size_t n = json_array_size(list);
    int before = 0; /* a user's turn was there */
    for (size_t i = 0; i < n; i++) {
        turn t;
        VV_TRY(get_turn(list, i, place, &t, err));
        if (i == 0 && !strcmp(t.role, "system")) continue;
        if (strcmp(t.role, expected))
            return vv_fail(err, VV_FILE, "%s: conversations[%zu]: expected a turn of the %s, found one of the %s",
                           place, i, expected, t.role);
        if (!strcmp(t.role, "assistant")) {
            if (!*t.text) return vv_fail(err, VV_FILE, "%s: conversations[%zu]: the answer is empty", place, i);
            expected = "user";
            continue;
        }
        const int marks = t.llava ? count_marks(t.text) : 0, most = image && !before;
        if (marks > most)
            return vv_fail(err, VV_FILE, "%s: conversations[%zu]: expected %s " MARK ", found %d", place, i,
                           most    ? "at most one"
                           : image ? "only the first user turn to have an"
                                   : "no 'image' and no",
                           marks);
        before = 1;
        expected = "assistant";
    }
    if (n && before && !strcmp(expected, "user")) return VV_OK;
    return vv_fail(err, VV_FILE, "%s: 'conversations': expected turns of user and assistant that end with an answer",
                   place);
}

/* A copy of the text. llava: without the mark and the blanks around it, which LLaVA drops, too. */
static char *copy_text(const char *text, int llava)
{
    char *copy = vv_strdup(text), *mark = copy && llava ? strstr(copy, MARK) : NULL;
    if (!mark) return copy;
    const char *rest = mark + strlen(MARK);
    rest += strspn(rest, " \t\r\n");
    while (!*rest && mark > copy && strchr(" \t\r\n", mark[-1])) mark--; /* a mark at the end */
    memmove(mark, rest, strlen(rest) + 1);
    return copy;
}

vv_status vv_caption_read(const json_t *o, const char *place, vv_sample *out, vv_error *err)
{
    const json_t *list = json_object_get(o, "conversations");
    const char *type = json_string_value(json_object_get(o, "type"));
    const int image = json_string_value(json_object_get(o, "image")) != NULL;
    const size_t n = json_array_size(list);
    if (type && !(out->type = vv_strdup(type))) return vv_no_memory(err, place);
    if (!(out->message = vv_calloc((int64_t)n, sizeof *out->message))) return vv_no_memory(err, place);
    out->n_messages = (int64_t)n;
    for (size_t i = 0; i < n; i++) {
        turn t;
        VV_TRY(get_turn(list, i, place, &t, err));
        out->message[i].role = vv_strdup(t.role);
        out->message[i].text = copy_text(t.text, t.llava && image && !strcmp(t.role, "user"));
        if (!out->message[i].role || !out->message[i].text) return vv_no_memory(err, place);
    }
    return VV_OK;
}
