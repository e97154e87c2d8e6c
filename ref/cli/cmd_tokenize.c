#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "cli/cli.h"
#include "io/tokenizer.h"

static const cli_usage usage = {"tokenize --tokenizer DIR|FILE [--decode] [--special] [--json] [INPUT]",
                                "Text to token ids, and back.",
                                "DIR has tokenizer.json, or vocab.json and merges.txt; FILE is a tokenizer.json. INPUT "
                                "is a file; without it, standard input.\n"
                                "Every line is a text, its ids a line of the output; with --json every line is a JSON "
                                "string, or an object with the text\n"
                                "under \"text\", and its ids a JSON array. --decode goes the other way.",
                                "echo 'two red spheres' | versavit tokenize --tokenizer data/tokenizer",
                                0,
                                1};

typedef struct {
    const char *tokenizer, *input;
    int decode, special, json, whole, strict, time;
    vv_tokenizer *t;
    vv_ids ids; /* of the line */
    int64_t line, bytes, tokens;
    double seconds;
} job;

/* ---- one line -------------------------------------------------------------------------------------------------------------- */

static vv_status encode(job *j, const char *text, size_t n, vv_error *err)
{
    const int64_t bad = j->strict ? vv_utf8_invalid(text, n) : -1;
    if (bad >= 0)
        return vv_fail(err, VV_FILE,
                       "%s: line %" PRId64 ": expected UTF-8, found an invalid byte %02X at offset %" PRId64, j->input,
                       j->line, (unsigned)(unsigned char)text[bad], bad);
    j->ids.n = 0;
    const double start = vv_seconds();
    VV_TRY(vv_encode(j->t, text, n, j->special, &j->ids, err));
    j->seconds += vv_seconds() - start;
    j->bytes += (int64_t)n;
    j->tokens += j->ids.n;
    if (j->time) return VV_OK;
    for (int64_t i = 0; i < j->ids.n; i++)
        printf("%s%" PRId32, i ? j->json ? "," : " " : j->json ? "[" : "", j->ids.id[i]);
    puts(!j->json ? "" : j->ids.n ? "]" : "[]");
    return VV_OK;
}

static vv_status decode(job *j, vv_error *err)
{
    size_t n;
    const double start = vv_seconds();
    char *text = vv_decode(j->t, j->ids.id, j->ids.n, !j->special, &n);
    if (!text) return vv_no_memory(err, j->input);
    j->seconds += vv_seconds() - start;
    j->bytes += (int64_t)n;
    j->tokens += j->ids.n;
    vv_status s = VV_OK;
    if (!j->time && j->json) {
        json_t *value = json_stringn(text, n);
        char *line = vv_json_text(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        if (line) puts(line);
        else s = vv_no_memory(err, j->input);
        free(line);
        json_decref(value);
    } else if (!j->time) {
        fwrite(text, 1, n, stdout);
        if (!j->whole) putchar('\n');
    }
    free(text);
    return s;
}

static vv_status wrong(const job *j, const char *expected, const char *found, vv_error *err)
{
    return vv_fail(err, VV_FILE, "%s: line %" PRId64 ": expected %s, found %.80s", j->input, j->line, expected, found);
}

static vv_status ids_of_text(job *j, const char *line, vv_error *err)
{
    j->ids.n = 0;
    for (const char *at = line;;) {
        char *end;
        at += strspn(at, " \t\r\n");
        if (!*at) return VV_OK;
        errno = 0;
        const long id = strtol(at, &end, 10);
        if (end == at || errno || id < 0 || id > INT32_MAX || (*end && !strchr(" \t\r\n", *end)))
            return wrong(j, "ids with spaces between", at, err);
        VV_TRY(vv_ids_push(&j->ids, (int32_t)id, err));
        at = end;
    }
}

static vv_status ids_of_json(job *j, const json_t *array, vv_error *err)
{
    char buf[120];
    j->ids.n = 0;
    if (!json_is_array(array)) return wrong(j, "a JSON array of ids", vv_json_found(array, buf, sizeof buf), err);
    for (size_t i = 0; i < json_array_size(array); i++) {
        const json_t *v = json_array_get(array, i);
        const int64_t id = json_is_integer(v) ? (int64_t)json_integer_value(v) : -1;
        if (id < 0 || id > INT32_MAX) return wrong(j, "a JSON array of ids", vv_json_found(v, buf, sizeof buf), err);
        VV_TRY(vv_ids_push(&j->ids, (int32_t)id, err));
    }
    return VV_OK;
}

static vv_status json_line(job *j, const char *line, size_t n, vv_error *err)
{
    char buf[120];
    json_error_t e;
    errno = 0;
    json_t *root = json_loadb(line, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &e);
    vv_status s;
    const json_t *text = json_is_object(root) ? json_object_get(root, "text") : root;
    if (errno == ENOMEM) s = vv_no_memory(err, j->input);
    else if (!root) s = wrong(j, "JSON", e.text, err);
    else if (j->decode) s = ids_of_json(j, root, err);
    else if (json_is_string(text)) s = encode(j, json_string_value(text), json_string_length(text), err);
    else s = wrong(j, "a JSON string, or an object with \"text\"", vv_json_found(text, buf, sizeof buf), err);
    if (s == VV_OK && j->decode) s = decode(j, err);
    json_decref(root);
    return s;
}

static vv_status take(job *j, char *line, size_t n, vv_error *err)
{
    j->line++;
    if (j->json) return json_line(j, line, n, err);
    if (!j->decode) return encode(j, line, n, err);
    line[n] = 0;
    if (strlen(line) != n) return wrong(j, "ids with spaces between", "a NUL", err);
    VV_TRY(ids_of_text(j, line, err));
    return decode(j, err);
}

/* ---- all lines ------------------------------------------------------------------------------------------------------------- */

/* What follows up to the newline (left out), or all of it; 0 at the end of the file, -1 without memory. */
static int next(FILE *f, int whole, char **text, size_t *cap, size_t *n)
{
    int c = 0, any = whole;
    for (*n = 0; (c = getc(f)) != EOF && (whole || c != '\n'); (*text)[(*n)++] = (char)c) {
        any = 1;
        if (*n + 2 > *cap) {
            const size_t more = *cap ? 2 * *cap : 4096;
            char *grown = realloc(*text, more);
            if (!grown) return -1;
            *text = grown;
            *cap = more;
        }
    }
    return any || c == '\n';
}

static vv_status each(job *j, FILE *f, vv_error *err)
{
    size_t cap = 4096, n;
    char *text = malloc(cap);
    int got = text ? 1 : -1;
    vv_status s = VV_OK;
    while (got > 0 && s == VV_OK && (got = next(f, j->whole, &text, &cap, &n)) > 0) {
        s = take(j, text, n, err);
        if (j->whole) break;
    }
    free(text);
    if (got < 0) return vv_no_memory(err, j->input);
    if (s == VV_OK && ferror(f)) return vv_fail(err, VV_FILE, "%s: cannot be read: %s", j->input, strerror(errno));
    return s;
}

static vv_status run(job *j, const char *path, vv_error *err)
{
    VV_TRY(cli_need("--tokenizer", j->tokenizer, err));
    if (j->whole && j->json) return vv_fail(err, VV_USAGE, "--whole: expected without --json, whose texts are lines");
    j->input = path ? path : "standard input";
    VV_TRY(vv_tokenizer_load(&j->t, j->tokenizer, err));
    FILE *f = path ? fopen(path, "rb") : stdin;
    vv_status s = f ? each(j, f, err) : vv_fail(err, VV_FILE, "%s: cannot be opened: %s", path, strerror(errno));
    if (f && path) fclose(f);
    const int64_t replaced = vv_tokenizer_replaced(j->t);
    if (s == VV_OK && replaced > 0 && !cli_quiet)
        vv_warn("%s: invalid UTF-8 became U+FFFD at %" PRId64 " place%s", j->input, replaced, replaced == 1 ? "" : "s");
    if (s == VV_OK && j->time)
        printf("%" PRId64 " bytes, %" PRId64 " tokens, %.3f s, %.1f MB/s\n", j->bytes, j->tokens, j->seconds,
               j->seconds > 0 ? 1e-6 * (double)j->bytes / j->seconds : 0.0);
    return s;
}

int cmd_tokenize(int argc, char **argv)
{
    job j = {0};
    const cli_option options[] = {
        {"tokenizer", 't', "PATH", "the tokenizer: a folder or a tokenizer.json", &j.tokenizer, NULL, NULL, NULL},
        {"decode", 'd', NULL, "ids in, text out", NULL, NULL, NULL, &j.decode},
        {"special", 's', NULL, "find special tokens in the text; show them when decoding", NULL, NULL, NULL,
         &j.special},
        {"json", 'j', NULL, "lines of JSON", NULL, NULL, NULL, &j.json},
        {"whole", 'w', NULL, "the whole input is one text", NULL, NULL, NULL, &j.whole},
        {"strict-utf8", 0, NULL, "refuse invalid UTF-8 instead of replacing it", NULL, NULL, NULL, &j.strict},
        {"time", 0, NULL, "only counts and the speed", NULL, NULL, NULL, &j.time},
        {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    const vv_status s = run(&j, n ? args[0] : NULL, &err);
    vv_tokenizer_free(j.t);
    vv_ids_free(&j.ids);
    return cli_end(s, &err);
}
