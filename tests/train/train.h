/* What the tests of training share: the micro configuration, changed here and there. */
#ifndef VVT_TRAIN_H
#define VVT_TRAIN_H

#include <unistd.h>

#include "io/safetensors.h"
#include "train/trainer.h"
#include "vvt.h"

/* The place of "train.stages[2].tasks[0].batch": the object or list that holds it, and its last step as key or index. */
static inline json_t *vvt_holder(json_t *root, const char *path, char last[64], int64_t *index)
{
    json_t *at = root;
    while (1) {
        const size_t n = strcspn(path, ".[");
        int bracket = 0;
        if (*path == '[') {
            *index = strtoll(path + 1, NULL, 10);
            path = strchr(path, ']') + 1;
            bracket = 1;
        } else {
            snprintf(last, 64, "%.*s", (int)n, path);
            path += n;
            *index = -1;
        }
        if (!*path) return at;
        at = bracket ? json_array_get(at, (size_t)*index) : json_object_get(at, last);
        ck_assert_msg(at != NULL, "no %s", last);
        path += *path == '.';
    }
}

/* root.path = JSON text; NULL removes it */
static inline void vvt_set(json_t *root, const char *path, const char *text)
{
    char last[64];
    int64_t index;
    json_t *at = vvt_holder(root, path, last, &index);
    json_t *value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    ck_assert_msg(!text || value, "%s", text);
    if (index >= 0) value ? json_array_set_new(at, (size_t)index, value) : json_array_remove(at, (size_t)index);
    else if (value) json_object_set_new(at, last, value);
    else json_object_del(at, last);
}

/* data/configs/micro.json as an object, its tokenizer as an absolute path */
static inline json_t *vvt_micro(void)
{
    json_t *root = NULL;
    char here[1024], tokenizer[1100];
    VVT_OK(vv_json_load(&root, vvt_root("data/configs/micro.json"), 1 << 20, err));
    const char *data = vvt_root("data/tokenizer");
    snprintf(tokenizer, sizeof tokenizer, "%s%s%s", *data == '/' ? "" : getcwd(here, sizeof here),
             *data == '/' ? "" : "/", data);
    json_object_set_new(root, "tokenizer", json_string(tokenizer));
    return root;
}

/* writes it as NAME.json among the test's files; consumes it; the path is the caller's to free */
static inline char *vvt_config(json_t *root, const char *name)
{
    char file[80];
    snprintf(file, sizeof file, "%s.json", name);
    char *text = json_dumps(root, JSON_INDENT(1));
    char *path = vv_strdup(vvt_write(file, text, strlen(text)));
    free(text);
    json_decref(root);
    return path;
}

/* keeps only the stages from first to last of the list */
static inline void vvt_stages(json_t *root, size_t first, size_t last)
{
    json_t *list = json_object_get(json_object_get(root, "train"), "stages");
    while (json_array_size(list) > last + 1) json_array_remove(list, last + 1);
    while (first--) json_array_remove(list, 0);
}

static const vv_train_overrides vvt_as_written = {.seed = -1};

#endif
