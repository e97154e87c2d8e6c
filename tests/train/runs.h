/* Whole runs of the micro configuration, and looking into their folders. */
#ifndef VVT_RUNS_H
#define VVT_RUNS_H

#include <math.h>

#include "train.h"
#include "train/checkpoint.h"

/* ---- running ----------------------------------------------------------------------------------------------------------------- */
typedef struct {
    int64_t stop_after; /* updates of all stages; 0: never */
    int64_t seen;
} watch;

static inline void told(void *ctx, const vv_update *u)
{
    watch *w = ctx;
    ck_assert(isfinite(u->total) && u->update >= 1 && u->update <= u->updates);
    w->seen++;
}

static inline int stop(void *ctx)
{
    const watch *w = ctx;
    return w->stop_after && w->seen >= w->stop_after;
}

static inline vv_status run(const char *config, const char *out, int resume, int64_t stop_after, int *stopped,
                            vv_error *err)
{
    watch w = {stop_after, 0};
    const vv_train_options o = {.config = config,
                                .out = out,
                                .resume = resume,
                                .overrides = vvt_as_written,
                                .told = told,
                                .stop = stop,
                                .ctx = &w};
    return vv_train(&o, stopped, err);
}

/* A whole run of the micro configuration, changed by `change`, in a folder NAME, made by the first who asks; returns the folder (the
 * caller's to free). "straight" is the unchanged one. */
static inline char *whole(const char *name, void (*change)(json_t *root))
{
    int stopped;
    char ready[80];
    snprintf(ready, sizeof ready, "%s/run.json", name);
    if (access(vvt_path(ready), F_OK) == 0) return vv_strdup(vvt_path(name));
    json_t *root = vvt_micro();
    if (change) change(root);
    char *config = vvt_config(root, name), *out = vv_strdup(vvt_path(name));
    VVT_OK(run(config, out, 0, 0, &stopped, err));
    ck_assert(!stopped);
    free(config);
    return out;
}

/* ---- looking ------------------------------------------------------------------------------------------------------------------ */
static inline char *inside(const char *out, const char *name) { return vv_asprintf("%s/%s", out, name); }

static inline int there(const char *out, const char *name)
{
    char *path = inside(out, name);
    const int yes = access(path, F_OK) == 0;
    free(path);
    return yes;
}

static inline char *read_all(const char *out, const char *name, size_t *n)
{
    char *path = inside(out, name);
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s", path);
    char *text = malloc(1 << 22);
    *n = fread(text, 1, (1 << 22) - 1, f);
    text[*n] = 0;
    fclose(f);
    free(path);
    return text;
}

static inline int same_file(const char *a, const char *b, const char *name)
{
    size_t n, m;
    char *x = read_all(a, name, &n), *y = read_all(b, name, &m);
    const int same = n == m && !memcmp(x, y, n);
    free(x);
    free(y);
    return same;
}

/* every tensor of the first model file is the same in the other, where the name begins so */
static inline int same_part(const char *out, const char *a, const char *b, const char *prefix)
{
    vv_st *x, *y;
    char *pa = vv_asprintf("%s/%s/model.safetensors", out, a), *pb = vv_asprintf("%s/%s/model.safetensors", out, b);
    VVT_OK(vv_st_open(&x, pa, err));
    VVT_OK(vv_st_open(&y, pb, err));
    int same = 1, n = 0;
    for (int64_t i = 0; i < vv_st_count(x); i++) {
        const vv_st_entry *e = vv_st_at(x, i), *f = vv_st_find(y, e->name);
        if (strncmp(e->name, prefix, strlen(prefix))) continue;
        n++;
        same = same && !memcmp(e->data, f->data, (size_t)e->bytes);
    }
    ck_assert_int_gt(n, 0);
    vv_st_close(x);
    vv_st_close(y);
    free(pa);
    free(pb);
    return same;
}

/* the lines of the log without what depends on the clock */
static inline char *log_without_time(const char *out)
{
    size_t n;
    char *text = read_all(out, "log.jsonl", &n), *result = calloc(n + 1, 1);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char *cut = strstr(line, ",\"seconds\"");
        if (strstr(line, "\"resume\"")) continue;
        if (cut) *cut = 0;
        cut = strstr(line, ",\"threads\"");
        if (cut) *cut = 0;
        strcat(strcat(result, line), "\n");
    }
    free(text);
    return result;
}

static inline void expect_same_run(const char *a, const char *b)
{
    static const char *const files[] = {"stage0/model/model.safetensors", "stage0b/model/model.safetensors",
                                        "stage1/model/model.safetensors", "stage2/model/model.safetensors",
                                        "stage2/checkpoint-2/optimizer.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) ck_assert_msg(same_file(a, b, files[i]), "%s", files[i]);
    char *x = log_without_time(a), *y = log_without_time(b);
    ck_assert_msg(!strcmp(x, y), "the logs differ");
    free(x);
    free(y);
}

#endif
