/* Inside train/ only: reading an object key by key, while the same object with every default filled in is put together. */
#ifndef VV_TRAIN_READER_H
#define VV_TRAIN_READER_H

#include "train/config.h"

enum { VV_PLACE_MAX = 400 };

typedef struct {
    const json_t *in;         /* NULL: absent, all defaults */
    json_t *out;              /* the caller's, an object */
    char where[VV_PLACE_MAX]; /* "run.json: train.stages[1]" */
    const char *folder;       /* that paths are seen from */
    vv_error *err;
} vv_reader;

/* A reader of the object at `key` of r (index >= 0: the index-th of the list at key); out goes into r's. The object may be absent. */
vv_status vv_reader_enter(vv_reader *inner, const vv_reader *r, const char *key, int64_t index) VV_MUST_USE;
/* Only these keys, and "comment". */
vv_status vv_reader_only(const vv_reader *r, const char *const *keys) VV_MUST_USE;
vv_status vv_reader_need(const vv_reader *r, const char *key) VV_MUST_USE;
/* The key's value, or what *v holds before. */
vv_status vv_reader_int(const vv_reader *r, const char *key, int64_t lo, int64_t hi, int64_t *v) VV_MUST_USE;
vv_status vv_reader_real(const vv_reader *r, const char *key, double lo, double hi, double *v) VV_MUST_USE;
vv_status vv_reader_bool(const vv_reader *r, const char *key, int *v) VV_MUST_USE;
/* One of the words (NULL-terminated): its place. */
vv_status vv_reader_word(const vv_reader *r, const char *key, const char *const *words, int *v) VV_MUST_USE;
/* A text in fresh memory; absent: NULL. path: as seen from the current folder, a relative one from r->folder. */
vv_status vv_reader_text(const vv_reader *r, const char *key, int path, char **v) VV_MUST_USE;
/* A list of parts as bits. */
vv_status vv_reader_parts(const vv_reader *r, const char *key, int *v) VV_MUST_USE;
vv_status vv_reader_put(const vv_reader *r, const char *key, json_t *value) VV_MUST_USE; /* takes value */
/* VV_FILE: "PLACE: 'KEY': TEXT" */
vv_status vv_reader_wrong(const vv_reader *r, const char *key, const char *fmt, ...) VV_PRINTF(3, 4);

char *vv_config_path(const char *folder, const char *path); /* in fresh memory */

vv_status vv_task_config_read(vv_task_config *c, const vv_reader *r) VV_MUST_USE;
void vv_task_config_free(vv_task_config *c);

/* The stage's "validate", after its tasks. */
vv_status vv_validate_read(vv_stage_config *s, const vv_reader *r) VV_MUST_USE;
/* Held-out scenes for the tasks of all stages that validate and name no others, once the whole run is read. */
vv_status vv_hold_out(vv_train_config *c, vv_error *err) VV_MUST_USE;

#endif
