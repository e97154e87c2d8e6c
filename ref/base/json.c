#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

vv_status vv_json_parse(json_t **out, const char *text, size_t n, const char *where, vv_error *err)
{
    json_error_t e;
    *out = NULL;
    errno = 0;
    json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES, &e);
    if (errno == ENOMEM) { /* jansson calls that a wrong text, or goes on with part of a string */
        json_decref(root);
        return vv_no_memory(err, where);
    }
    if (!root)
        return vv_fail(err, VV_FILE, "%s: line %d, column %d: no valid JSON: %s", where, e.line, e.column, e.text);
    if (!json_is_object(root)) {
        char buf[80];
        vv_fail(err, VV_FILE, "%s: expected an object { }, found %s", where, vv_json_found(root, buf, sizeof buf));
        json_decref(root);
        return VV_FILE;
    }
    *out = root;
    return VV_OK;
}

/* The open file's whole content, n bytes, in fresh memory. The size is checked before memory is asked for. */
static vv_status slurp(int fd, const char *path, int64_t max_bytes, char **text, size_t *n, vv_error *err)
{
    struct stat st;
    *text = NULL;
    *n = 0;
    if (fstat(fd, &st)) return vv_fail(err, VV_FILE, "%s: cannot be read: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) return vv_fail(err, VV_FILE, "%s: expected a JSON file, found a folder", path);
    if (!S_ISREG(st.st_mode)) return vv_fail(err, VV_FILE, "%s: expected a JSON file, found no regular file", path);
    if ((int64_t)st.st_size > max_bytes)
        return vv_fail(err, VV_FILE, "%s: expected a JSON file of at most %" PRId64 " bytes, found %" PRId64, path,
                       max_bytes, (int64_t)st.st_size);
    char *buf = malloc((size_t)st.st_size + 1);
    if (!buf) return vv_no_memory(err, path);
    while (*n < (size_t)st.st_size) {
        const ssize_t got = read(fd, buf + *n, (size_t)st.st_size - *n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            free(buf);
            return vv_fail(err, VV_FILE, "%s: cannot be read: %s", path, strerror(errno));
        }
        if (got == 0) break; /* shortened meanwhile: the parser judges what is there */
        *n += (size_t)got;
    }
    *text = buf;
    return VV_OK;
}

vv_status vv_json_load(json_t **out, const char *path, int64_t max_bytes, vv_error *err)
{
    *out = NULL;
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a FIFO must not make us wait */
    if (fd < 0) return vv_fail(err, VV_FILE, "%s: cannot be opened: %s", path, strerror(errno));
    char *text;
    size_t n;
    vv_status s = slurp(fd, path, max_bytes, &text, &n, err);
    close(fd);
    if (s == VV_OK) s = vv_json_parse(out, text, n, path, err);
    free(text);
    return s;
}

char *vv_json_text(const json_t *value, size_t flags)
{
    errno = 0;
    char *text = value ? json_dumps(value, flags) : NULL;
    if (errno != ENOMEM) return text;
    free(text);
    return NULL;
}

const char *vv_json_found(const json_t *value, char *buf, size_t size)
{
    if (!value) snprintf(buf, size, "nothing");
    else switch (json_typeof(value)) {
        case JSON_OBJECT:
            snprintf(buf, size, "an object");
            break;
        case JSON_ARRAY:
            snprintf(buf, size, "an array of %zu", json_array_size(value));
            break;
        case JSON_STRING: {
            const char *s = json_string_value(value);
            snprintf(buf, size, "the string \"%.60s%s\"", s, strlen(s) > 60 ? "..." : "");
            break;
        }
        case JSON_INTEGER:
            snprintf(buf, size, "the integer %" JSON_INTEGER_FORMAT, json_integer_value(value));
            break;
        case JSON_REAL:
            snprintf(buf, size, "the real %.17g", json_real_value(value));
            break;
        case JSON_TRUE:
            snprintf(buf, size, "true");
            break;
        case JSON_FALSE:
            snprintf(buf, size, "false");
            break;
        case JSON_NULL:
            snprintf(buf, size, "null");
            break;
        }
    return buf;
}

static vv_status wrong(const char *where, const char *key, const char *expected, const json_t *found, vv_error *err)
{
    char buf[120];
    return vv_fail(err, VV_FILE, "%s: '%s': expected %s, found %s", where, key, expected,
                   vv_json_found(found, buf, sizeof buf));
}

/* The value, or NULL in *v when the key is absent or null. */
static vv_status lookup(const json_t *obj, const char *where, const char *key, const json_t **v, vv_error *err)
{
    char buf[120];
    *v = NULL;
    if (!json_is_object(obj))
        return vv_fail(err, VV_FILE, "%s: expected an object with '%s', found %s", where, key,
                       vv_json_found(obj, buf, sizeof buf));
    *v = json_object_get(obj, key);
    if (json_is_null(*v)) *v = NULL;
    return VV_OK;
}

vv_status vv_json_int(const json_t *obj, const char *where, const char *key, int64_t lo, int64_t hi, int64_t *out,
                      vv_error *err)
{
    const json_t *v;
    char expected[100];
    VV_TRY(lookup(obj, where, key, &v, err));
    if (!v) return VV_OK;
    const int64_t x = json_is_integer(v) ? (int64_t)json_integer_value(v) : 0;
    if (!json_is_integer(v) || x < lo || x > hi) {
        if (lo == INT64_MIN && hi == INT64_MAX) snprintf(expected, sizeof expected, "an integer");
        else if (hi == INT64_MAX) snprintf(expected, sizeof expected, "an integer of at least %" PRId64, lo);
        else snprintf(expected, sizeof expected, "an integer from %" PRId64 " to %" PRId64, lo, hi);
        return wrong(where, key, expected, v, err);
    }
    *out = x;
    return VV_OK;
}

vv_status vv_json_real(const json_t *obj, const char *where, const char *key, double lo, double hi, double *out,
                       vv_error *err)
{
    const json_t *v;
    char expected[100];
    VV_TRY(lookup(obj, where, key, &v, err));
    if (!v) return VV_OK;
    const double x = json_number_value(v);
    if (!json_is_number(v) || !(x >= lo && x <= hi)) {
        snprintf(expected, sizeof expected, "a number from %g to %g", lo, hi);
        return wrong(where, key, expected, v, err);
    }
    *out = x;
    return VV_OK;
}

vv_status vv_json_string(const json_t *obj, const char *where, const char *key, const char **out, vv_error *err)
{
    const json_t *v;
    VV_TRY(lookup(obj, where, key, &v, err));
    if (!v) return VV_OK;
    if (!json_is_string(v)) return wrong(where, key, "a string", v, err);
    *out = json_string_value(v);
    return VV_OK;
}

vv_status vv_json_bool(const json_t *obj, const char *where, const char *key, int *out, vv_error *err)
{
    const json_t *v;
    VV_TRY(lookup(obj, where, key, &v, err));
    if (!v) return VV_OK;
    if (!json_is_boolean(v)) return wrong(where, key, "true or false", v, err);
    *out = json_is_true(v);
    return VV_OK;
}

vv_status vv_json_object(const json_t *obj, const char *where, const char *key, const json_t **out, vv_error *err)
{
    const json_t *v;
    VV_TRY(lookup(obj, where, key, &v, err));
    if (!v) return VV_OK;
    if (!json_is_object(v)) return wrong(where, key, "an object", v, err);
    *out = v;
    return VV_OK;
}

vv_status vv_json_array(const json_t *obj, const char *where, const char *key, const json_t **out, vv_error *err)
{
    const json_t *v;
    VV_TRY(lookup(obj, where, key, &v, err));
    if (!v) return VV_OK;
    if (!json_is_array(v)) return wrong(where, key, "an array", v, err);
    *out = v;
    return VV_OK;
}

vv_status vv_json_need(const json_t *obj, const char *where, const char *key, vv_error *err)
{
    const json_t *v;
    VV_TRY(lookup(obj, where, key, &v, err));
    if (!v) return wrong(where, key, "a value", json_object_get(obj, key), err);
    return VV_OK;
}

vv_status vv_json_only(const json_t *obj, const char *where, const char *const *keys, vv_error *err)
{
    const char *key;
    json_t *value;
    char known[240] = "";
    if (!json_is_object(obj)) {
        char buf[120];
        return vv_fail(err, VV_FILE, "%s: expected an object, found %s", where, vv_json_found(obj, buf, sizeof buf));
    }
    json_object_foreach((json_t *)obj, key, value)
    {
        const char *const *k = keys;
        while (*k && strcmp(*k, key)) k++;
        if (*k) continue;
        for (k = keys; *k; k++) {
            const size_t n = strlen(known);
            snprintf(known + n, sizeof known - n, "%s%s", k == keys ? "" : ", ", *k);
        }
        return vv_fail(err, VV_FILE, "%s: unknown key '%.100s'; expected one of: %s", where, key, known);
    }
    return VV_OK;
}
