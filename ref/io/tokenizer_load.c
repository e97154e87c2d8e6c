#include "base/json.h"
#include "io/file.h"
#include "io/tokenizer_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_BYTES = 1 << 27, ADDED = 4096, MERGES = 4 * VV_TOKEN_IDS };

typedef struct {
    int64_t id;
    const char *text;
    int special;
} added_token;

/* What the files say, in the files' own memory. */
typedef struct {
    const char *path; /* of the vocabulary */
    const json_t *vocab;
    const json_t *merges; /* of tokenizer.json; NULL: merges_text */
    vv_map merges_text;
    const char *merges_path;
    added_token added[ADDED];
    int64_t n_added;
} source;

/* "PATH: field", which stands before a key in messages */
typedef struct {
    char text[600];
} place;
static const char *in(place *p, const char *where, const char *field)
{
    snprintf(p->text, sizeof p->text, "%.400s: %s", where, field);
    return p->text;
}

/* ---- only what is implemented here ------------------------------------------------------------------------------- */

static vv_status other(const json_t *obj, const char *where, const char *key, const char *expected, vv_error *err)
{
    char buf[120];
    return vv_fail(err, VV_FILE, "%s: '%s': expected %s, found %s", where, key, expected,
                   vv_json_found(json_object_get(obj, key), buf, sizeof buf));
}

static vv_status need_nothing(const json_t *obj, const char *where, const char *key, vv_error *err)
{
    const json_t *v = json_object_get(obj, key);
    return !v || json_is_null(v) ? VV_OK : other(obj, where, key, "null (anything else is not supported)", err);
}

static vv_status need_empty(const json_t *obj, const char *where, const char *key, vv_error *err)
{
    const char *text = "";
    VV_TRY(vv_json_string(obj, where, key, &text, err));
    return !*text ? VV_OK : other(obj, where, key, "null or \"\" (anything else is not supported)", err);
}

/* absent: what the original takes an absent key for */
static vv_status need_false(const json_t *obj, const char *where, const char *key, int absent, vv_error *err)
{
    int v = absent;
    VV_TRY(vv_json_bool(obj, where, key, &v, err));
    return !v ? VV_OK : other(obj, where, key, "false (anything else is not supported)", err);
}

static vv_status need_text(const json_t *obj, const char *where, const char *key, const char *text, vv_error *err)
{
    const char *found = "";
    char expected[200];
    VV_TRY(vv_json_string(obj, where, key, &found, err));
    if (!strcmp(found, text)) return VV_OK;
    snprintf(expected, sizeof expected, "\"%s\" (anything else is not supported)", text);
    return other(obj, where, key, expected, err);
}

/* The object under the key, whose "type" is as given. */
static vv_status need_type(const json_t *obj, const char *where, const char *key, const char *type, const json_t **out,
                           vv_error *err)
{
    place p = {""};
    VV_TRY(vv_json_need(obj, where, key, err));
    VV_TRY(vv_json_object(obj, where, key, out, err));
    return need_text(*out, in(&p, where, key), "type", type, err);
}

static vv_status check_pre_tokenizer(const json_t *root, const char *path, vv_error *err)
{
    const json_t *pre = NULL, *list = NULL, *pattern = NULL;
    place p = {""}, q = {""};
    const char *where = in(&p, path, "pre_tokenizer");
    VV_TRY(need_type(root, path, "pre_tokenizer", "Sequence", &pre, err));
    VV_TRY(vv_json_array(pre, where, "pretokenizers", &list, err));
    if (!list || json_array_size(list) != 2)
        return other(pre, where, "pretokenizers", "an array of 2: Split and ByteLevel", err);
    const json_t *split = json_array_get(list, 0), *bytes = json_array_get(list, 1);
    where = in(&p, path, "pre_tokenizer: pretokenizers[0]");
    VV_TRY(need_text(split, where, "type", "Split", err));
    VV_TRY(vv_json_need(split, where, "pattern", err));
    VV_TRY(vv_json_object(split, where, "pattern", &pattern, err));
    VV_TRY(need_text(pattern, in(&q, where, "pattern"), "Regex", vv_split_pattern, err));
    VV_TRY(need_text(split, where, "behavior", "Isolated", err));
    VV_TRY(need_false(split, where, "invert", 0, err));
    where = in(&p, path, "pre_tokenizer: pretokenizers[1]");
    VV_TRY(need_text(bytes, where, "type", "ByteLevel", err));
    VV_TRY(need_false(bytes, where, "add_prefix_space", 1, err));
    return need_false(bytes, where, "use_regex", 1, err);
}

static vv_status check_model(const json_t *model, const char *where, vv_error *err)
{
    VV_TRY(need_text(model, where, "type", "BPE", err));
    VV_TRY(need_nothing(model, where, "dropout", err));
    VV_TRY(need_nothing(model, where, "unk_token", err));
    VV_TRY(need_empty(model, where, "continuing_subword_prefix", err));
    VV_TRY(need_empty(model, where, "end_of_word_suffix", err));
    VV_TRY(need_false(model, where, "byte_fallback", 0, err));
    VV_TRY(need_false(model, where, "ignore_merges", 0, err));
    VV_TRY(vv_json_need(model, where, "vocab", err));
    return vv_json_need(model, where, "merges", err);
}

/* ---- the post-processor: nothing, or one token at the end -------------------------------------------------------- */

static const char *id_in(const json_t *piece, const char *kind)
{
    return json_string_value(json_object_get(json_object_get(piece, kind), "id"));
}

static vv_status read_template(vv_tokenizer *t, const json_t *post, const char *where, vv_error *err)
{
    const json_t *single = NULL, *specials = NULL, *known = NULL, *ids = NULL;
    place p = {""};
    VV_TRY(vv_json_array(post, where, "single", &single, err));
    VV_TRY(vv_json_object(post, where, "special_tokens", &specials, err));
    const char *a = id_in(json_array_get(single, 0), "Sequence"),
               *name = id_in(json_array_get(single, 1), "SpecialToken");
    const size_t n = json_array_size(single);
    if (n < 1 || n > 2 || !a || strcmp(a, "A") || (n == 2 && !name))
        return other(post, where, "single", "the text $A and at most one token after it", err);
    if (n == 1) return VV_OK;
    where = in(&p, where, "special_tokens");
    VV_TRY(vv_json_need(specials, where, name, err));
    VV_TRY(vv_json_object(specials, where, name, &known, err));
    VV_TRY(vv_json_array(known, where, "ids", &ids, err));
    const int32_t id = vv_token_id(t, name);
    const json_t *first = json_array_get(ids, 0);
    if (json_array_size(ids) != 1 || !json_is_integer(first) || id < 0 || json_integer_value(first) != id)
        return vv_fail(err, VV_FILE, "%s: '%.60s': expected the one id of this token, %d", where, name, id);
    t->appended = id;
    return VV_OK;
}

static vv_status read_post_processor(vv_tokenizer *t, const json_t *post, const char *where, int depth, vv_error *err)
{
    const char *type = "";
    const json_t *list = NULL;
    if (!post || json_is_null(post)) return VV_OK;
    VV_TRY(vv_json_string(post, where, "type", &type, err));
    if (!strcmp(type, "ByteLevel")) return VV_OK; /* it moves offsets only */
    if (!strcmp(type, "TemplateProcessing") && t->appended < 0) return read_template(t, post, where, err);
    if (strcmp(type, "Sequence") || depth > 0)
        return other(post, where, "type", "ByteLevel, TemplateProcessing or a Sequence of them", err);
    VV_TRY(vv_json_need(post, where, "processors", err));
    VV_TRY(vv_json_array(post, where, "processors", &list, err));
    for (size_t i = 0; i < json_array_size(list); i++) {
        place p = {""};
        char field[40];
        snprintf(field, sizeof field, "processors[%zu]", i);
        VV_TRY(read_post_processor(t, json_array_get(list, i), in(&p, where, field), 1, err));
    }
    return VV_OK;
}

/* ---- added tokens ------------------------------------------------------------------------------------------------ */

static vv_status read_added(source *s, const json_t *token, int64_t id, const char *where, vv_error *err)
{
    static const char *const flags[] = {"single_word", "lstrip", "rstrip", "normalized"};
    if (s->n_added == ADDED) return vv_fail(err, VV_FILE, "%s: expected at most %d added tokens", where, ADDED);
    added_token *a = &s->added[s->n_added];
    *a = (added_token){.id = id};
    VV_TRY(vv_json_need(token, where, "content", err));
    VV_TRY(vv_json_string(token, where, "content", &a->text, err));
    VV_TRY(vv_json_bool(token, where, "special", &a->special, err));
    for (int i = 0; i < 4; i++) VV_TRY(need_false(token, where, flags[i], 0, err));
    s->n_added++;
    return VV_OK;
}

static vv_status read_added_array(source *s, const json_t *root, vv_error *err)
{
    const json_t *list = NULL;
    VV_TRY(vv_json_array(root, s->path, "added_tokens", &list, err));
    for (size_t i = 0; i < json_array_size(list); i++) {
        place p = {""};
        char field[40];
        int64_t id = 0;
        snprintf(field, sizeof field, "added_tokens[%zu]", i);
        const char *where = in(&p, s->path, field);
        VV_TRY(vv_json_need(json_array_get(list, i), where, "id", err));
        VV_TRY(vv_json_int(json_array_get(list, i), where, "id", 0, VV_TOKEN_IDS - 1, &id, err));
        VV_TRY(read_added(s, json_array_get(list, i), id, where, err));
    }
    return VV_OK;
}

/* of tokenizer_config.json: {"151643": {"content": ...}, ...} */
static vv_status read_added_decoder(source *s, const json_t *root, const char *path, vv_error *err)
{
    const json_t *map = NULL;
    const char *key;
    json_t *token;
    place p = {""};
    const char *where = in(&p, path, "added_tokens_decoder");
    VV_TRY(vv_json_object(root, path, "added_tokens_decoder", &map, err));
    json_object_foreach((json_t *)map, key, token)
    {
        place q = {""};
        char *end = NULL;
        const long id = strtol(key, &end, 10);
        if (*key < '0' || *key > '9' || *end || id >= VV_TOKEN_IDS)
            return vv_fail(err, VV_FILE, "%s: expected ids from 0 to %d as keys, found '%.40s'", where,
                           VV_TOKEN_IDS - 1, key);
        VV_TRY(read_added(s, token, id, in(&q, where, key), err));
    }
    return VV_OK;
}

/* ---- merges ------------------------------------------------------------------------------------------------------ */

static vv_status merge_line(vv_tokenizer *t, const char *line, size_t n, const char *where, vv_error *err)
{
    const char *space = memchr(line, ' ', n);
    const size_t first = space ? (size_t)(space - line) : 0;
    if (!space || first == 0 || first + 1 == n || memchr(space + 1, ' ', n - first - 1))
        return vv_fail(err, VV_FILE, "%s: number %lld: expected two tokens with one space between, found '%.*s'", where,
                       (long long)t->n_merges, (int)vv_min((int64_t)n, 60), line);
    return vv_vocab_merge(t, line, first, space + 1, n - first - 1, where, err);
}

static vv_status merges_array(vv_tokenizer *t, const json_t *list, const char *where, vv_error *err)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i), *a = json_array_get(m, 0), *b = json_array_get(m, 1);
        char buf[120];
        if (json_is_string(m)) VV_TRY(merge_line(t, json_string_value(m), json_string_length(m), where, err));
        else if (json_array_size(m) == 2 && json_is_string(a) && json_is_string(b))
            VV_TRY(vv_vocab_merge(t, json_string_value(a), json_string_length(a), json_string_value(b),
                                  json_string_length(b), where, err));
        else
            return vv_fail(err, VV_FILE, "%s: number %zu: expected \"a b\" or [\"a\", \"b\"], found %s", where, i,
                           vv_json_found(m, buf, sizeof buf));
    }
    return VV_OK;
}

/* The line from *at on, without its end; NULL after the last. */
static const char *next_line(const vv_map *map, int64_t *at, size_t *n)
{
    if (*at >= map->bytes) return NULL;
    const char *line = (const char *)map->data + *at, *end = memchr(line, '\n', (size_t)(map->bytes - *at));
    *n = end ? (size_t)(end - line) : (size_t)(map->bytes - *at);
    *at += (int64_t)*n + 1;
    if (*n > 0 && line[*n - 1] == '\r') --*n;
    return line;
}

static vv_status merges_lines(vv_tokenizer *t, const vv_map *map, const char *path, vv_error *err)
{
    static const char version[] = "#version";
    int64_t at = 0;
    size_t n;
    for (const char *line; (line = next_line(map, &at, &n));) {
        const int heading =
            line == (const char *)map->data && n >= sizeof version - 1 && !memcmp(line, version, sizeof version - 1);
        if (!heading) VV_TRY(merge_line(t, line, n, path, err));
    }
    return VV_OK;
}

static vv_status read_merges(vv_tokenizer *t, const source *s, vv_error *err)
{
    place p = {""};
    const char *where = s->merges ? in(&p, s->path, "model: merges") : s->merges_path;
    int64_t at = 0, n = s->merges ? (int64_t)json_array_size(s->merges) : 0;
    size_t length;
    while (!s->merges && next_line(&s->merges_text, &at, &length)) n++;
    if (n > MERGES)
        return vv_fail(err, VV_FILE, "%s: expected at most %d merges, found %lld", where, MERGES, (long long)n);
    VV_TRY(vv_vocab_merges(t, n, s->path, err));
    return s->merges ? merges_array(t, s->merges, where, err) : merges_lines(t, &s->merges_text, where, err);
}

/* ---- the tokenizer ----------------------------------------------------------------------------------------------- */

static vv_status build(vv_tokenizer *t, const source *s, vv_error *err)
{
    const char *key;
    json_t *value;
    place p = {""};
    const char *where = in(&p, s->path, "vocab");
    int64_t size = 0, tokens = s->n_added;
    size_t bytes = 0;
    json_object_foreach((json_t *)s->vocab, key, value)
    {
        int64_t id = 0;
        VV_TRY(vv_json_need(s->vocab, where, key, err));
        VV_TRY(vv_json_int(s->vocab, where, key, 0, VV_TOKEN_IDS - 1, &id, err));
        size = vv_max(size, id + 1);
        bytes += strlen(key);
        tokens++;
    }
    for (int64_t i = 0; i < s->n_added; i++) {
        size = vv_max(size, s->added[i].id + 1);
        bytes += strlen(s->added[i].text);
    }
    VV_TRY(vv_vocab_new(t, size, tokens, bytes, where, err));
    json_object_foreach((json_t *)s->vocab, key, value)
        VV_TRY(vv_vocab_add(t, key, (int64_t)json_integer_value(value), 0, 0, where, err));
    VV_TRY(read_merges(t, s, err));
    for (int64_t i = 0; i < s->n_added; i++)
        VV_TRY(vv_vocab_add(t, s->added[i].text, s->added[i].id, 1, s->added[i].special, s->path, err));
    return vv_vocab_done(t, err);
}

static vv_status load_one(vv_tokenizer *t, source *s, const char *path, vv_error *err)
{
    json_t *root = NULL;
    const json_t *model = NULL, *part = NULL;
    place p = {""}, q = {""};
    s->path = path;
    VV_TRY(vv_json_load(&root, path, FILE_BYTES, err));
    const char *where = in(&p, path, "model");
    vv_status r = need_type(root, path, "model", "BPE", &model, err);
    if (r == VV_OK) r = check_model(model, where, err);
    if (r == VV_OK) r = vv_json_object(model, where, "vocab", &s->vocab, err);
    if (r == VV_OK) r = vv_json_array(model, where, "merges", &s->merges, err);
    if (r == VV_OK) r = need_nothing(root, path, "truncation", err);
    if (r == VV_OK) r = need_nothing(root, path, "padding", err);
    if (r == VV_OK) r = need_type(root, path, "normalizer", "NFC", &part, err);
    if (r == VV_OK) r = check_pre_tokenizer(root, path, err);
    if (r == VV_OK) r = need_type(root, path, "decoder", "ByteLevel", &part, err);
    if (r == VV_OK) r = read_added_array(s, root, err);
    if (r == VV_OK) r = build(t, s, err);
    if (r == VV_OK)
        r = read_post_processor(t, json_object_get(root, "post_processor"), in(&q, path, "post_processor"), 0, err);
    json_decref(root);
    return r;
}

static vv_status load_two(vv_tokenizer *t, source *s, const char *vocab, const char *merges, const char *config,
                          vv_error *err)
{
    json_t *root = NULL, *more = NULL;
    struct stat st;
    s->path = vocab;
    s->merges_path = merges;
    vv_status r = vv_json_load(&root, vocab, FILE_BYTES, err);
    s->vocab = root;
    if (r == VV_OK) r = vv_map_open(&s->merges_text, merges, err);
    if (r == VV_OK && stat(config, &st) == 0) {
        r = vv_json_load(&more, config, FILE_BYTES, err);
        if (r == VV_OK) r = read_added_decoder(s, more, config, err);
    }
    if (r == VV_OK) r = build(t, s, err);
    vv_map_close(&s->merges_text);
    json_decref(root);
    json_decref(more);
    return r;
}

static vv_status load_folder(vv_tokenizer *t, source *s, const char *dir, vv_error *err)
{
    struct stat st;
    char *one = vv_path_join(dir, "tokenizer.json"), *vocab = vv_path_join(dir, "vocab.json"),
         *merges = vv_path_join(dir, "merges.txt"), *config = vv_path_join(dir, "tokenizer_config.json");
    vv_status r;
    if (!one || !vocab || !merges || !config) r = vv_no_memory(err, dir);
    else if (stat(one, &st) == 0) r = load_one(t, s, one, err);
    else if (stat(vocab, &st) == 0) r = load_two(t, s, vocab, merges, config, err);
    else r = vv_fail(err, VV_FILE, "%s: expected tokenizer.json, or vocab.json and merges.txt; found neither", dir);
    free(one);
    free(vocab);
    free(merges);
    free(config);
    return r;
}

vv_status vv_tokenizer_load(vv_tokenizer **out, const char *dir_or_file, vv_error *err)
{
    struct stat st;
    *out = NULL;
    vv_tokenizer *t = vv_calloc(1, sizeof *t);
    source *s = vv_calloc(1, sizeof *s);
    vv_status r = VV_MEMORY;
    if (!t || !s) r = vv_no_memory(err, dir_or_file);
    else if (stat(dir_or_file, &st) == 0 && S_ISDIR(st.st_mode)) r = load_folder(t, s, dir_or_file, err);
    else r = load_one(t, s, dir_or_file, err);
    free(s);
    if (r == VV_OK) *out = t;
    else vv_tokenizer_free(t);
    return r;
}
