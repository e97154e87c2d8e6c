/* The files of a tokenizer: each field that is missing, wrong or asks for something else than Qwen's construction is refused
 * with its name; the two-file form gives the same ids; copies are the same bytes. */
#include "vvt.h"

#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/tokenizer.h"

#define BAD(call, status, ...)                                                                                         \
    do {                                                                                                               \
        vv_error e = {0};                                                                                              \
        const vv_status st_ = (call);                                                                                  \
        vvt_expect_error(&e, st_, status, __VA_ARGS__, (char *)NULL);                                                  \
    } while (0)

static json_t *whole(void)
{
    json_error_t e;
    json_t *root = json_load_file(vvt_root("data/tokenizer/tokenizer.json"), 0, &e);
    ck_assert_msg(root != NULL, "%s", e.text);
    return root;
}

/* Sets root/a/b/0/c to the value, a JSON text; NULL takes it away. */
static void edit(json_t *root, const char *path, const char *value)
{
    char part[80];
    for (;;) {
        const size_t n = strcspn(path, "/");
        ck_assert(n < sizeof part);
        memcpy(part, path, n);
        part[n] = 0;
        if (!path[n]) break;
        root = json_is_array(root) ? json_array_get(root, (size_t)atoi(part)) : json_object_get(root, part);
        ck_assert_msg(root != NULL, "no %s", part);
        path += n + 1;
    }
    json_t *v = value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL;
    ck_assert(!value || v);
    if (json_is_array(root)) ck_assert_int_eq(json_array_set_new(root, (size_t)atoi(part), v), 0);
    else if (v) ck_assert_int_eq(json_object_set_new(root, part, v), 0);
    else ck_assert_int_eq(json_object_del(root, part), 0);
}

static const char *save(json_t *root, const char *name)
{
    char *text = json_dumps(root, 0);
    const char *path = vvt_write(name, text, strlen(text));
    free(text);
    json_decref(root);
    return path;
}

/* ---- what is refused -------------------------------------------------------------------------------------------------- */

#define SPLIT "pre_tokenizer/pretokenizers/0/"
#define BYTES "pre_tokenizer/pretokenizers/1/"
#define TEMPLATE(single, specials)                                                                                     \
    "{\"type\":\"TemplateProcessing\",\"single\":" single ",\"pair\":[],\"special_tokens\":" specials "}"
#define A "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}"
#define END "{\"SpecialToken\":{\"id\":\"<|endoftext|>\",\"type_id\":0}}"

static const struct {
    const char *path, *value, *words[3];
} bad[] = {
    {"truncation", "{\"max_length\":8}", {"'truncation'", "null", "an object"}},
    {"padding", "{}", {"'padding'", "null"}},
    {"normalizer", "null", {"'normalizer'", "a value", "null"}},
    {"normalizer", NULL, {"'normalizer'", "a value", "nothing"}},
    {"normalizer", "\"NFC\"", {"'normalizer'", "an object"}},
    {"normalizer/type", "\"NFKC\"", {"normalizer: 'type'", "\"NFC\"", "NFKC"}},
    {"pre_tokenizer", "null", {"'pre_tokenizer'", "a value"}},
    {"pre_tokenizer/type", "\"ByteLevel\"", {"pre_tokenizer: 'type'", "Sequence", "ByteLevel"}},
    {"pre_tokenizer/pretokenizers", "[]", {"'pretokenizers'", "Split and ByteLevel", "an array of 0"}},
    {"pre_tokenizer/pretokenizers", NULL, {"'pretokenizers'", "nothing"}},
    {SPLIT "type", "\"Digits\"", {"pretokenizers[0]: 'type'", "Split", "Digits"}},
    {SPLIT "pattern", "{\"String\":\" \"}", {"pattern: 'Regex'", "nothing"}},
    {SPLIT "pattern/Regex", "\"\\\\s+\"", {"pattern: 'Regex'", "'s|'t|'re", "\\s+"}},
    {SPLIT "behavior", "\"Removed\"", {"'behavior'", "Isolated", "Removed"}},
    {SPLIT "invert", "true", {"'invert'", "false", "true"}},
    {BYTES "type", "\"Metaspace\"", {"pretokenizers[1]: 'type'", "ByteLevel", "Metaspace"}},
    {BYTES "add_prefix_space", "true", {"pretokenizers[1]: 'add_prefix_space'", "false"}},
    {BYTES "add_prefix_space", NULL, {"'add_prefix_space'", "false", "nothing"}},
    {BYTES "use_regex", "true", {"'use_regex'", "false", "true"}},
    {"decoder", "null", {"'decoder'", "a value"}},
    {"decoder/type", "\"Fuse\"", {"decoder: 'type'", "ByteLevel", "Fuse"}},
    {"post_processor", "[]", {"post_processor", "an object", "an array of 0"}},
    {"post_processor/type", "\"BertProcessing\"", {"post_processor: 'type'", "TemplateProcessing", "BertProcessing"}},
    {"post_processor/type", "\"Sequence\"", {"'processors'", "a value"}},
    {"post_processor",
     "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"Roberta\"}]}",
     {"processors[0]: 'type'", "Roberta"}},
    {"post_processor", "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"Sequence\"}]}", {"processors[0]: 'type'"}},
    {"post_processor", TEMPLATE("[]", "{}"), {"'single'", "$A", "an array of 0"}},
    {"post_processor", TEMPLATE("[" END "," A "]", "{}"), {"'single'", "$A"}},
    {"post_processor", TEMPLATE("[" A "," A "]", "{}"), {"'single'", "at most one token"}},
    {"post_processor", TEMPLATE("[" A "," END "," END "]", "{}"), {"'single'", "an array of 3"}},
    {"post_processor", TEMPLATE("[" A "," END "]", "{}"), {"special_tokens: '<|endoftext|>'", "a value"}},
    {"post_processor", TEMPLATE("[" A "," END "]", "{\"<|endoftext|>\":{\"ids\":[0]}}"), {"<|endoftext|>", "486"}},
    {"post_processor", TEMPLATE("[" A "," END "]", "{\"<|endoftext|>\":{\"ids\":[]}}"), {"<|endoftext|>", "one id"}},
    {"post_processor",
     TEMPLATE("[" A "," END "]", "{\"<|endoftext|>\":{\"ids\":[486,3]}}"),
     {"<|endoftext|>", "one id"}},
    {"model", "null", {"'model'", "a value"}},
    {"model", NULL, {"'model'", "a value", "nothing"}},
    {"model/type", "\"WordPiece\"", {"model: 'type'", "BPE", "WordPiece"}},
    {"model/type", NULL, {"model: 'type'", "BPE", "nothing"}},
    {"model/dropout", "0.1", {"model: 'dropout'", "null", "0.1"}},
    {"model/unk_token", "\"<unk>\"", {"model: 'unk_token'", "null", "<unk>"}},
    {"model/continuing_subword_prefix", "\"##\"", {"'continuing_subword_prefix'", "##"}},
    {"model/end_of_word_suffix", "\"</w>\"", {"'end_of_word_suffix'", "</w>"}},
    {"model/byte_fallback", "true", {"'byte_fallback'", "false"}},
    {"model/ignore_merges", "true", {"'ignore_merges'", "false"}},
    {"model/vocab", NULL, {"'vocab'", "a value"}},
    {"model/vocab", "[]", {"'vocab'", "an object"}},
    {"model/vocab", "{}", {"each of the 256 bytes", "U+0021"}},
    {"model/vocab/a", NULL, {"256 bytes", "61 (U+0061)"}},
    {"model/vocab/\xc4\xa0", NULL, {"256 bytes", "20 (U+0120)"}},
    {"model/vocab/a", "-1", {"vocab: 'a'", "0 to 1048575", "-1"}},
    {"model/vocab/a", "1048576", {"vocab: 'a'", "0 to 1048575"}},
    {"model/vocab/a", "64.0", {"vocab: 'a'", "an integer", "the real"}},
    {"model/vocab/a", "null", {"vocab: 'a'", "a value"}},
    {"model/vocab/a", "65", {"each id once", "65", "'a'"}},
    {"model/vocab/", "300000", {"300000", "empty"}},
    {"model/merges", "null", {"'merges'", "a value"}},
    {"model/merges", "{}", {"'merges'", "an array"}},
    {"model/merges/3", "\"ab\"", {"merges: number 3", "one space", "ab"}},
    {"model/merges/3", "\"a b c\"", {"merges: number 3", "one space"}},
    {"model/merges/3", "\" a\"", {"merges: number 3", "one space"}},
    {"model/merges/3", "\"a \"", {"merges: number 3", "one space"}},
    {"model/merges/3", "\"\"", {"merges: number 3", "one space"}},
    {"model/merges/3", "[\"a\"]", {"merges: number 3", "an array of 1"}},
    {"model/merges/3", "[\"a\", 1]", {"merges: number 3", "an array of 2"}},
    {"model/merges/3", "7", {"merges: number 3", "the integer 7"}},
    {"model/merges/3", "[\"qq\",\"a\"]", {"merges: number 3", "'qq' and 'a'", "the first is none"}},
    {"model/merges/3", "[\"a\",\"qq\"]", {"'a' and 'qq'", "the second is none"}},
    {"model/merges/3", "\"q q\"", {"'q' and 'q'", "what they make is none"}},
    {"model/merges/3", "[\"\",\"a\"]", {"'' and 'a'", "the first is none"}},
    {"added_tokens", "{}", {"'added_tokens'", "an array"}},
    {"added_tokens/2", "7", {"added_tokens[2]", "an object", "7"}},
    {"added_tokens/2/id", NULL, {"added_tokens[2]: 'id'", "a value"}},
    {"added_tokens/2/id", "\"488\"", {"added_tokens[2]: 'id'", "an integer"}},
    {"added_tokens/2/id", "1048576", {"added_tokens[2]: 'id'", "1048575"}},
    {"added_tokens/2/id", "487", {"each id once", "487", "<|im_start|>"}},
    {"added_tokens/2/id", "5", {"each id once", "5", "<|im_end|>"}},
    {"added_tokens/2/content", NULL, {"added_tokens[2]: 'content'", "a value"}},
    {"added_tokens/2/content", "7", {"added_tokens[2]: 'content'", "a string"}},
    {"added_tokens/2/content", "\"\"", {"488", "empty"}},
    {"added_tokens/2/content", "\"<|im_start|>\"", {"each token once", "<|im_start|>", "488"}},
    {"added_tokens/2/content", "\"a\"", {"each token once", "'a'", "488"}},
    {"added_tokens/2/special", "1", {"added_tokens[2]: 'special'", "true or false"}},
    {"added_tokens/2/lstrip", "true", {"added_tokens[2]: 'lstrip'", "false"}},
    {"added_tokens/2/rstrip", "true", {"added_tokens[2]: 'rstrip'", "false"}},
    {"added_tokens/2/single_word", "true", {"added_tokens[2]: 'single_word'", "false"}},
    {"added_tokens/2/normalized", "true", {"added_tokens[2]: 'normalized'", "false"}},
};
enum { BAD_COUNT = sizeof bad / sizeof *bad };

START_TEST(refused)
{
    json_t *root = whole();
    vv_tokenizer *t = NULL;
    vv_error e = {0};
    edit(root, bad[_i].path, bad[_i].value);
    const vv_status s = vv_tokenizer_load(&t, save(root, "bad.json"), &e);
    ck_assert_msg(s != VV_OK, "%s", bad[_i].path);
    vvt_expect_error(&e, s, VV_FILE, "bad.json", (char *)NULL);
    for (int k = 0; k < 3 && bad[_i].words[k]; k++) vvt_expect_error(&e, s, VV_FILE, bad[_i].words[k], (char *)NULL);
    ck_assert_ptr_null(t);
}
END_TEST

START_TEST(refused_files)
{
    vv_tokenizer *t;
    BAD(vv_tokenizer_load(&t, vvt_path("nothing.json"), &e), VV_FILE, "nothing.json", "cannot be opened");
    BAD(vv_tokenizer_load(&t, vvt_write("a.json", "{\"model\":", 9), &e), VV_FILE, "a.json", "no valid JSON");
    BAD(vv_tokenizer_load(&t, vvt_write("b.json", "[]", 2), &e), VV_FILE, "b.json", "an object");
    BAD(vv_tokenizer_load(&t, vvt_write("c.json", "", 0), &e), VV_FILE, "c.json");
    BAD(vv_tokenizer_load(&t, vvt_tmpdir(), &e), VV_FILE, "tokenizer.json, or vocab.json and merges.txt", "neither");
    BAD(vv_tokenizer_copy(vvt_tmpdir(), vvt_tmpdir(), &e), VV_FILE, "tokenizer.json, or vocab.json and merges.txt");
}
END_TEST

/* ---- what is understood ------------------------------------------------------------------------------------------------- */

static const char text[] = "Two red spheres, caf\xc3\xa9s and <|im_end|> 12\n\n<think> \xe4\xb8\xad\xe6\x96\x87's";

static void same_ids(const char *path)
{
    vv_tokenizer *a = NULL, *b = NULL;
    VVT_OK(vv_tokenizer_load(&a, vvt_root("data/tokenizer"), err));
    VVT_OK(vv_tokenizer_load(&b, path, err));
    ck_assert_int_eq(vv_tokenizer_size(a), vv_tokenizer_size(b));
    for (int specials = 0; specials < 2; specials++) {
        vv_ids x = {0}, y = {0};
        VVT_OK(vv_encode(a, text, strlen(text), specials, &x, err));
        VVT_OK(vv_encode(b, text, strlen(text), specials, &y, err));
        ck_assert(x.n == y.n && !memcmp(x.id, y.id, (size_t)x.n * sizeof *x.id));
        char *s = vv_decode(a, x.id, x.n, specials, NULL), *r = vv_decode(b, y.id, y.n, specials, NULL);
        ck_assert_str_eq(s, r);
        if (!specials) ck_assert_str_eq(s, text);
        else ck_assert(!strstr(s, "<|im_end|>") && strstr(s, "<think>")); /* special, and added but not special */
        free(s);
        free(r);
        vv_ids_free(&x);
        vv_ids_free(&y);
    }
    vv_tokenizer_free(a);
    vv_tokenizer_free(b);
}

static const struct {
    const char *path, *value;
} good[] = {
    {"post_processor", "null"},
    {"post_processor", NULL},
    {"truncation", NULL},
    {"model/dropout", NULL},
    {"model/continuing_subword_prefix", "null"},
    {"model/merges/0", "\"s p\""},
    {"model/vocab/\xc4\xa0\xc4\xa0", "1000"},
    {"added_tokens/0/special", "true"},
    {"post_processor", TEMPLATE("[" A "]", "{}")},
};

START_TEST(accepted)
{
    json_t *root = whole();
    if (!strcmp(good[_i].path, "model/merges/0")) { /* the older way to write the same merge */
        const json_t *m = json_array_get(json_object_get(json_object_get(root, "model"), "merges"), 0);
        char value[40];
        snprintf(value, sizeof value, "\"%s %s\"", json_string_value(json_array_get(m, 0)),
                 json_string_value(json_array_get(m, 1)));
        edit(root, good[_i].path, value);
    } else edit(root, good[_i].path, good[_i].value);
    const char *path = save(root, "good.json");
    if (strstr(good[_i].path, "\xa0")) { /* a token more: a larger table, a gap in it */
        vv_tokenizer *t;
        VVT_OK(vv_tokenizer_load(&t, path, err));
        ck_assert_int_eq(vv_tokenizer_size(t), 1001);
        ck_assert_ptr_null(vv_token_text(t, 700));
        ck_assert_int_eq(vv_token_id(t, "\xc4\xa0\xc4\xa0"), 1000);
        vv_tokenizer_free(t);
    } else same_ids(path);
}
END_TEST

START_TEST(what_is_appended)
{
    json_t *root = whole();
    vv_tokenizer *t;
    edit(root, "post_processor",
         "{\"type\":\"Sequence\",\"processors\":[{\"type\":\"ByteLevel\"}," TEMPLATE(
             "[" A "," END "]",
             "{\"<|endoftext|>\":{\"id\":\"<|endoftext|>\",\"ids\":[486],\"tokens\":[\"<|endoftext|>\"]}}") "]}");
    VVT_OK(vv_tokenizer_load(&t, save(root, "embedding.json"), err));
    ck_assert_int_eq(vv_token_appended(t), 486);
    vv_tokenizer_free(t);
}
END_TEST

START_TEST(the_last_of_two_equal_merges_counts)
{
    json_t *root = whole();
    vv_tokenizer *t;
    vv_ids ids = {0};
    json_t *model = json_object_get(root, "model");
    edit(root, "model/vocab/xy", "600");
    edit(root, "model/vocab/yz", "601");
    json_array_append_new(json_object_get(model, "merges"), json_string("x y"));
    json_array_append_new(json_object_get(model, "merges"), json_string("y z"));
    json_array_append_new(json_object_get(model, "merges"), json_string("x y"));
    VVT_OK(vv_tokenizer_load(&t, save(root, "twice.json"), err));
    VVT_OK(vv_encode(t, "xyz", 3, 0, &ids, err));
    ck_assert(ids.n == 2 && ids.id[0] == vv_token_id(t, "x") && ids.id[1] == 601);
    vv_ids_free(&ids);
    vv_tokenizer_free(t);
}
END_TEST

START_TEST(the_longest_added_token_wins)
{
    json_t *root = whole();
    vv_tokenizer *t;
    vv_ids ids = {0};
    static const char *const flags =
        "\"lstrip\":false,\"rstrip\":false,\"single_word\":false,\"normalized\":false,\"special\":true";
    static const char *const more[] = {"[a", "[a]", "[a][b", "a]"};
    for (int i = 0; i < 4; i++) {
        char one[300];
        snprintf(one, sizeof one, "{\"id\":%d,\"content\":\"%s\",%s}", 600 + i, more[i], flags);
        json_array_append_new(json_object_get(root, "added_tokens"), json_loads(one, 0, NULL));
    }
    VVT_OK(vv_tokenizer_load(&t, save(root, "long.json"), err));
    VVT_OK(vv_encode(t, "[a][b][a][[aa]", 14, 1, &ids, err));
    const int32_t want[] = {602, vv_token_id(t, "]"), 601, vv_token_id(t, "["), 600, 603};
    ck_assert(ids.n == 6 && !memcmp(ids.id, want, sizeof want));
    vv_ids_free(&ids);
    vv_tokenizer_free(t);
}
END_TEST

START_TEST(a_mark_does_not_compose_across_an_added_token)
{
    vv_tokenizer *t;
    vv_ids ids = {0};
    VVT_OK(vv_tokenizer_load(&t, vvt_root("data/tokenizer"), err));
    const char *s = "e<|im_end|>\xcc\x81";
    VVT_OK(vv_encode(t, s, strlen(s), 1, &ids, err));
    char *back = vv_decode(t, ids.id, ids.n, 0, NULL);
    ck_assert_str_eq(back, s);
    free(back);
    vv_ids_free(&ids);
    vv_tokenizer_free(t);
}
END_TEST

/* ---- two files ------------------------------------------------------------------------------------------------------------ */

static void put_line(FILE *f, const json_t *merge, const char *end)
{
    fprintf(f, "%s %s%s", json_string_value(json_array_get(merge, 0)), json_string_value(json_array_get(merge, 1)),
            end);
}

/* vocab.json, merges.txt, tokenizer_config.json of data/tokenizer in a folder of this name */
static const char *two_files(const char *name, const char *heading, const char *line_end, const char *last_end)
{
    char path[900];
    json_t *root = whole(), *map = json_object();
    const json_t *model = json_object_get(root, "model"), *merges = json_object_get(model, "merges");
    const char *folder = vvt_path(name);
    mkdir(folder, 0777);
    snprintf(path, sizeof path, "%s/vocab.json", folder);
    ck_assert_int_eq(json_dump_file(json_object_get(model, "vocab"), path, 0), 0);
    snprintf(path, sizeof path, "%s/merges.txt", folder);
    FILE *f = fopen(path, "wb");
    fputs(heading, f);
    for (size_t i = 0; i < json_array_size(merges); i++)
        put_line(f, json_array_get(merges, i), i + 1 < json_array_size(merges) ? line_end : last_end);
    fclose(f);
    size_t i;
    json_t *token;
    json_array_foreach(json_object_get(root, "added_tokens"), i, token)
    {
        snprintf(path, sizeof path, "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(token, "id")));
        json_object_set(map, path, token);
    }
    json_t *config = json_pack("{s:o}", "added_tokens_decoder", map);
    snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
    ck_assert_int_eq(json_dump_file(config, path, 0), 0);
    json_decref(config);
    json_decref(root);
    return folder;
}

START_TEST(two_files_are_the_same)
{
    same_ids(two_files("two", "#version: 0.2\n", "\n", "\n"));
    same_ids(two_files("bare", "", "\n", ""));
    same_ids(two_files("dos", "#version: 0.2\r\n", "\r\n", "\r\n"));
}
END_TEST

START_TEST(two_files_refused)
{
    vv_tokenizer *t;
    char path[900], folder[900];
    snprintf(folder, sizeof folder, "%s", two_files("half", "#version: 0.2\n", "\n", "\n\n"));
    BAD(vv_tokenizer_load(&t, folder, &e), VV_FILE, "merges.txt", "number 230", "one space");
    two_files("half", "#version: 0.2\n#version: 0.2\n", "\n", "\n");
    BAD(vv_tokenizer_load(&t, folder, &e), VV_FILE, "merges.txt", "number 0", "'#version:' and '0.2'");
    two_files("half", "", "\n", "\n");
    snprintf(path, sizeof path, "half/tokenizer_config.json");
    vvt_write(path, "{\"added_tokens_decoder\":{\"x\":{}}}", 33);
    BAD(vv_tokenizer_load(&t, folder, &e), VV_FILE, "tokenizer_config.json: added_tokens_decoder", "0 to 1048575",
        "'x'");
    vvt_write(path, "{\"added_tokens_decoder\":{\"700\":{}}}", 35);
    BAD(vv_tokenizer_load(&t, folder, &e), VV_FILE, "added_tokens_decoder: 700", "'content'");
    vvt_write(path, "{}", 2);
    VVT_OK(vv_tokenizer_load(&t, folder, err));
    ck_assert_int_eq(vv_tokenizer_size(t), 486);
    vv_tokenizer_free(t);
    unlink(vvt_path(path));
    VVT_OK(vv_tokenizer_load(&t, folder, err));
    vv_tokenizer_free(t);
    unlink(vvt_path("half/merges.txt"));
    BAD(vv_tokenizer_load(&t, folder, &e), VV_FILE, "merges.txt", "cannot be opened");
}
END_TEST

/* ---- copies ----------------------------------------------------------------------------------------------------------------- */

static void expect_same(const char *a, const char *b)
{
    FILE *f = fopen(a, "rb"), *g = fopen(b, "rb");
    ck_assert(f && g);
    for (int c = 0; c != EOF;) {
        c = getc(f);
        if (c != getc(g)) ck_abort_msg("%s and %s differ", a, b);
    }
    fclose(f);
    fclose(g);
}

START_TEST(copies_are_the_same_bytes)
{
    mkdir(vvt_path("copy"), 0777);
    VVT_OK(vv_tokenizer_copy(vvt_root("data/tokenizer"), vvt_path("copy"), err));
    expect_same(vvt_root("data/tokenizer/tokenizer.json"), vvt_path("copy/tokenizer.json"));
    expect_same(vvt_root("data/tokenizer/tokenizer_config.json"), vvt_path("copy/tokenizer_config.json"));
    expect_same(vvt_root("data/tokenizer/generation_config.json"), vvt_path("copy/generation_config.json"));
    ck_assert(access(vvt_path("copy/vocab.json"), F_OK) != 0 && access(vvt_path("copy/README.md"), F_OK) != 0);
    VVT_OK(vv_tokenizer_copy(vvt_path("copy"), vvt_path("copy"), err)); /* onto itself */
    same_ids(vvt_path("copy"));
    mkdir(vvt_path("copy2"), 0777);
    VVT_OK(vv_tokenizer_copy(two_files("from", "", "\n", "\n"), vvt_path("copy2"), err));
    same_ids(vvt_path("copy2"));
    BAD(vv_tokenizer_copy(vvt_path("copy"), vvt_path("no/such"), &e), VV_FILE, "no/such/tokenizer.json",
        "cannot be written");
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("tokenizer files", &tc);
    tcase_add_loop_test(tc, refused, 0, BAD_COUNT);
    tcase_add_test(tc, refused_files);
    tcase_add_loop_test(tc, accepted, 0, sizeof good / sizeof *good);
    tcase_add_test(tc, what_is_appended);
    tcase_add_test(tc, the_last_of_two_equal_merges_counts);
    tcase_add_test(tc, the_longest_added_token_wins);
    tcase_add_test(tc, a_mark_does_not_compose_across_an_added_token);
    tcase_add_test(tc, two_files_are_the_same);
    tcase_add_test(tc, two_files_refused);
    tcase_add_test(tc, copies_are_the_same_bytes);
    return s;
}
VVT_MAIN(suite)
