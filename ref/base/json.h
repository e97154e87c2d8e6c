/* Typed access to JSON (by jansson) with errors a person can act on: every message names the file, the field, what was
 * expected and what was found.
 *
 *   where   stands before the field in messages: a path, or a path and a field path ("config.json: vision_config")
 *   all     return VV_FILE for anything wrong with the text or a value, VV_MEMORY without memory
 *
 * Refused: duplicate keys, trailing text, \u0000, invalid UTF-8, a root that is no object, integers beyond int64.   */
#ifndef VV_JSON_H
#define VV_JSON_H

#include <jansson.h>

#include "base/base.h"

/* The whole regular file, at most max_bytes long, as one object. *out is the caller's (json_decref), NULL on
 * failure. */
vv_status vv_json_load(json_t **out, const char *path, int64_t max_bytes, vv_error *err) VV_MUST_USE;

/* The same from n bytes of memory; where is the name used in messages. */
vv_status vv_json_parse(json_t **out, const char *text, size_t n, const char *where, vv_error *err) VV_MUST_USE;

/* Getters. A key that is absent, or null (Python's None), leaves *out alone: the caller puts its default there first.
 * The limits lo and hi belong to the legal values. A real (1.0, 1e5) is refused where an integer is due; an integer is
 * fine where a real is due. Strings and objects belong to obj and live as long as it does. */
vv_status vv_json_int(const json_t *obj, const char *where, const char *key, int64_t lo, int64_t hi, int64_t *out,
                      vv_error *err) VV_MUST_USE;
vv_status vv_json_real(const json_t *obj, const char *where, const char *key, double lo, double hi, double *out,
                       vv_error *err) VV_MUST_USE;
vv_status vv_json_string(const json_t *obj, const char *where, const char *key, const char **out,
                         vv_error *err) VV_MUST_USE;
vv_status vv_json_bool(const json_t *obj, const char *where, const char *key, int *out, vv_error *err) VV_MUST_USE;
vv_status vv_json_object(const json_t *obj, const char *where, const char *key, const json_t **out,
                         vv_error *err) VV_MUST_USE;
vv_status vv_json_array(const json_t *obj, const char *where, const char *key, const json_t **out,
                        vv_error *err) VV_MUST_USE;

/* The key must be there and not null. */
vv_status vv_json_need(const json_t *obj, const char *where, const char *key, vv_error *err) VV_MUST_USE;

/* No other keys than those of the NULL-terminated list (for our own files, where an unknown key is a typing slip). */
vv_status vv_json_only(const json_t *obj, const char *where, const char *const *keys, vv_error *err) VV_MUST_USE;

/* json_dumps that fails without memory, where jansson 2.14 may leave out a character; free() it. NULL for NULL. */
char *vv_json_text(const json_t *value, size_t flags);

/* A value in few words for messages ("the string \"abc\"", "the real 1.5", "nothing" for NULL), cut to size;
 * returns buf. */
const char *vv_json_found(const json_t *value, char *buf, size_t size);

#endif
