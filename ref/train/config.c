/* Reading the section "train": the run and its stages. The tasks are config_task.c's. */
#include "train/config.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/reader.h"

static const int64_t CONFIG_BYTES = 16 << 20, MOST_UPDATES = (int64_t)1 << 40;
enum { MOST_STAGES = 32, NAME_BYTES = 64 };

int64_t vv_stage_find(const vv_train_config *c, const char *name)
{
    for (int64_t i = 0; i < c->n_stages; i++)
        if (c->stage[i].name && !strcmp(c->stage[i].name, name)) return i;
    return -1;
}

int vv_stage_skipped(const vv_train_config *c, const vv_stage_config *s)
{
    return (s->skip_if == VV_SKIP_INIT_TOWER && c->init_tower) || (s->skip_if == VV_SKIP_INIT_LLM && c->init_llm);
}

static void free_stage(vv_stage_config *s)
{
    for (int k = 0; k < VV_PARTS; k++) free(s->load[k]);
    for (int k = 0; k < VV_TASKS; k++) vv_task_config_free(&s->task[k]);
    free(s->name);
    free(s->random);
    free(s->where);
}

void vv_train_config_free(vv_train_config *c)
{
    for (int64_t i = 0; c->stage && i < c->n_stages; i++) free_stage(&c->stage[i]);
    free(c->stage);
    free(c->path);
    free(c->folder);
    free(c->init_tower);
    free(c->init_llm);
    json_decref(c->root);
    *c = (vv_train_config){0};
}

/* ---- a stage ------------------------------------------------------------------------------------------------------------ */
/* a name that is a folder's on every system */
static vv_status read_name(const vv_train_config *c, vv_stage_config *s, const vv_reader *r)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    char *name;
    VV_TRY(vv_reader_need(r, "name"));
    VV_TRY(vv_reader_text(r, "name", 0, &name));
    const int64_t twin = vv_stage_find(c, name);
    s->name = name;
    if (strspn(name, letters) != strlen(name) || strlen(name) > NAME_BYTES)
        return vv_reader_wrong(r, "name", "expected up to %d letters, digits, _ and -, found \"%.80s\"", NAME_BYTES,
                               name);
    return twin < 0 ? VV_OK : vv_reader_wrong(r, "name", "expected another name than stage %lld's", (long long)twin);
}

static vv_status read_load(const vv_train_config *c, vv_stage_config *s, const vv_reader *r)
{
    vv_reader in;
    VV_TRY(vv_reader_enter(&in, r, "load", -1));
    const char *keys[VV_PARTS + 1] = {NULL};
    for (int k = 0; k < VV_PARTS; k++) keys[k] = vv_part_key[k];
    VV_TRY(vv_reader_only(&in, keys));
    for (int k = 0; k < VV_PARTS; k++) {
        char *from;
        VV_TRY(vv_reader_text(&in, keys[k], 0, &from));
        s->load[k] = from;
        if (!from) continue;
        if (s->fresh >> k & 1) return vv_reader_wrong(&in, keys[k], "expected it here or in fresh, found it in both");
        const int64_t at = strchr(from, '/') ? 0 : vv_stage_find(c, from);
        if (at < 0 || (s->name && !strcmp(from, s->name)))
            return vv_reader_wrong(&in, keys[k], "expected an earlier stage, or a folder (with a /), found \"%.80s\"",
                                   from);
    }
    return VV_OK;
}

static vv_status read_tasks(vv_stage_config *s, const vv_reader *r)
{
    const json_t *list = NULL;
    VV_TRY(vv_reader_need(r, "tasks"));
    VV_TRY(vv_json_array(r->in, r->where, "tasks", &list, r->err));
    const int64_t n = (int64_t)json_array_size(list);
    if (n == 0) return vv_reader_wrong(r, "tasks", "expected at least one, found none");
    for (int64_t i = 0; i < n; i++) {
        vv_reader in;
        vv_task_config task = {0};
        VV_TRY(vv_reader_enter(&in, r, "tasks", i));
        const vv_status st = vv_task_config_read(&task, &in);
        const int twice = st == VV_OK && s->task[task.task].present;
        if (st == VV_OK && !twice) s->task[task.task] = task;
        else vv_task_config_free(&task);
        if (twice) return vv_reader_wrong(&in, "task", "expected each task once: several data sets are sources of one");
        VV_TRY(st);
    }
    return VV_OK;
}

/* every part that trains is reached by a task, and every task reaches one */
static vv_status check_reach(const vv_stage_config *s, const vv_reader *r)
{
    int reached = 0;
    for (int k = 0; k < VV_TASKS; k++) {
        if (!s->task[k].present) continue;
        reached |= vv_task_parts(&s->task[k]);
        if (!(vv_task_parts(&s->task[k]) & s->train))
            return vv_fail(r->err, VV_FILE, "%s: expected a part that trains among those it reaches, found none",
                           s->task[k].where);
    }
    for (int k = 0; k < VV_PARTS; k++)
        if (s->train & ~reached & 1 << k)
            return vv_reader_wrong(r, "train", "expected a task that reaches %s, found none", vv_part_key[k]);
    return s->train ? VV_OK : vv_reader_wrong(r, "train", "expected at least one part, found none");
}

static vv_status read_optimizer(vv_stage_config *s, const vv_reader *r)
{
    static const char *const keys[] = {"betas", "eps", "weight_decay", "max_grad_norm", "decay_unused", NULL};
    vv_reader in;
    const json_t *betas = NULL;
    VV_TRY(vv_reader_enter(&in, r, "optimizer", -1));
    VV_TRY(vv_reader_only(&in, keys));
    if (in.in) VV_TRY(vv_json_array(in.in, in.where, "betas", &betas, r->err));
    s->beta1 = betas ? json_number_value(json_array_get(betas, 0)) : 0.9;
    s->beta2 = betas ? json_number_value(json_array_get(betas, 1)) : 0.999;
    for (size_t k = 0; betas && k < 2; k++)
        if (json_array_size(betas) != 2 || !json_is_number(json_array_get(betas, k)) ||
            !(json_number_value(json_array_get(betas, k)) >= 0 && json_number_value(json_array_get(betas, k)) < 1))
            return vv_reader_wrong(&in, "betas", "expected two numbers from 0 to less than 1, found something else");
    VV_TRY(vv_reader_put(&in, "betas", json_pack("[ff]", s->beta1, s->beta2)));
    s->eps = 1e-8;
    s->weight_decay = 0.01;
    s->max_grad_norm = 1;
    VV_TRY(vv_reader_real(&in, "eps", 1e-30, 1, &s->eps));
    VV_TRY(vv_reader_real(&in, "weight_decay", 0, 1e3, &s->weight_decay));
    VV_TRY(vv_reader_real(&in, "max_grad_norm", 0, 1e30, &s->max_grad_norm));
    return vv_reader_bool(&in, "decay_unused", &s->decay_unused);
}

static vv_status read_lr(vv_stage_config *s, const vv_reader *r)
{
    vv_reader in;
    const char *keys[VV_PARTS + 1] = {NULL};
    for (int k = 0; k < VV_PARTS; k++) keys[k] = vv_part_key[k];
    VV_TRY(vv_reader_enter(&in, r, "lr", -1));
    VV_TRY(vv_reader_only(&in, keys));
    for (int k = 0; k < VV_PARTS; k++) {
        const int there = in.in && json_object_get(in.in, keys[k]) != NULL;
        if (there && !(s->train >> k & 1))
            return vv_reader_wrong(&in, keys[k], "expected rates of parts that train alone, and this one does not");
        if (!(s->train >> k & 1)) continue;
        VV_TRY(vv_reader_need(&in, keys[k]));
        VV_TRY(vv_reader_real(&in, keys[k], 0, 1e3, &s->lr[k]));
    }
    return VV_OK;
}

static vv_status read_schedule(vv_schedule *s, const vv_reader *r)
{
    static const char *const keys[] = {"type", "warmup_ratio", "min_lr_ratio", NULL}, *const types[] = {
                                                                                          "cosine", "linear",
                                                                                          "constant", NULL};
    vv_reader in;
    int type = VV_COSINE;
    s->warmup_ratio = 0.03;
    VV_TRY(vv_reader_enter(&in, r, "schedule", -1));
    VV_TRY(vv_reader_only(&in, keys));
    VV_TRY(vv_reader_word(&in, "type", types, &type));
    s->type = (vv_schedule_type)type;
    VV_TRY(vv_reader_real(&in, "warmup_ratio", 0, 1, &s->warmup_ratio));
    return vv_reader_real(&in, "min_lr_ratio", 0, 1, &s->min_lr_ratio);
}

/* how long: updates or epochs, or less when the caller wants less */
static vv_status read_length(vv_stage_config *s, int64_t most, const vv_reader *r)
{
    const int updates = json_object_get(r->in, "updates") != NULL, epochs = json_object_get(r->in, "epochs") != NULL;
    if (updates == epochs)
        return vv_reader_wrong(r, "updates", "expected it or epochs, found %s", updates ? "both" : "none");
    if (updates) VV_TRY(vv_json_int(r->in, r->where, "updates", 1, MOST_UPDATES, &s->updates, r->err));
    else VV_TRY(vv_json_int(r->in, r->where, "epochs", 1, MOST_UPDATES, &s->epochs, r->err));
    if (most && (epochs || s->updates > most)) {
        s->updates = most;
        s->epochs = 0;
    }
    return vv_reader_put(r, s->updates ? "updates" : "epochs", json_integer(s->updates + s->epochs));
}

static vv_status read_stage(vv_train_config *c, vv_stage_config *s, int64_t most, const vv_reader *r)
{
    static const char *const
        keys[] = {"name",       "random",    "skip_if",         "load",     "fresh",    "train",         "updates",
                  "epochs",     "tasks",     "optimizer",       "lr",       "schedule", "checkpointing", "precision",
                  "save_every", "keep_last", "gradients_every", "validate", NULL},
        *const skips[] = {"never", "init_tower", "init_llm", NULL}, *const precisions[] = {"float", "bf16", NULL};
    int skip = 0;
    VV_TRY(vv_reader_only(r, keys));
    VV_TRY(read_name(c, s, r));
    if (!(s->where = vv_strdup(r->where))) return vv_no_memory(r->err, r->where);
    VV_TRY(vv_reader_text(r, "random", 0, &s->random));
    if (!s->random && !(s->random = vv_strdup(s->name))) return vv_no_memory(r->err, r->where);
    VV_TRY(vv_reader_put(r, "random", json_string(s->random)));
    VV_TRY(vv_reader_word(r, "skip_if", skips, &skip));
    s->skip_if = (vv_skip)skip;
    VV_TRY(vv_reader_parts(r, "fresh", &s->fresh));
    VV_TRY(vv_reader_parts(r, "train", &s->train));
    VV_TRY(read_load(c, s, r));
    VV_TRY(read_length(s, most, r));
    VV_TRY(read_tasks(s, r));
    VV_TRY(check_reach(s, r));
    VV_TRY(read_optimizer(s, r));
    VV_TRY(read_lr(s, r));
    VV_TRY(read_schedule(&s->schedule, r));
    VV_TRY(vv_reader_bool(r, "checkpointing", &s->checkpointing));
    VV_TRY(vv_reader_word(r, "precision", precisions, &s->bf16));
    s->save_every = 100;
    s->keep_last = 2;
    VV_TRY(vv_reader_int(r, "save_every", 0, MOST_UPDATES, &s->save_every));
    VV_TRY(vv_reader_int(r, "keep_last", 0, MOST_UPDATES, &s->keep_last));
    VV_TRY(vv_reader_int(r, "gradients_every", 0, MOST_UPDATES, &s->gradients_every));
    return vv_validate_read(s, r);
}

/* ---- the run ------------------------------------------------------------------------------------------------------------ */
/* a path that does not depend on the current folder, in fresh memory */
static char *absolute(const char *path)
{
    char here[PATH_MAX];
    if (*path == '/' || !getcwd(here, sizeof here)) return vv_strdup(path);
    return strcmp(path, ".") ? vv_asprintf("%s/%s", here, path) : vv_strdup(here);
}

static vv_status read_init(vv_train_config *c, const vv_train_overrides *o, const vv_reader *r)
{
    static const char *const keys[] = {"std", NULL}, *const stds[] = {"config", "fan_in", NULL};
    const struct {
        const char *key, *other;
        char **to;
    } folder[] = {{"init_tower", o->init_tower, &c->init_tower}, {"init_llm", o->init_llm, &c->init_llm}};
    vv_reader in;
    VV_TRY(vv_reader_enter(&in, r, "init", -1));
    VV_TRY(vv_reader_only(&in, keys));
    VV_TRY(vv_reader_word(&in, "std", stds, &c->fan_in));
    for (int i = 0; i < 2; i++) {
        VV_TRY(vv_reader_text(r, folder[i].key, 1, folder[i].to));
        if (!folder[i].other) continue;
        free(*folder[i].to);
        if (!(*folder[i].to = absolute(folder[i].other))) return vv_no_memory(r->err, r->where);
        VV_TRY(vv_reader_put(r, folder[i].key, json_string(*folder[i].to)));
    }
    return VV_OK;
}

static vv_status read_run(vv_train_config *c, const vv_train_overrides *o, const vv_reader *r)
{
    static const char *const keys[] = {"seed", "devices", "init", "init_tower", "init_llm", "folder", "stages", NULL};
    const json_t *list = NULL;
    int64_t seed = 0;
    VV_TRY(vv_reader_only(r, keys));
    VV_TRY(vv_reader_put(r, "folder", json_string(c->folder)));
    VV_TRY(vv_json_int(r->in, r->where, "seed", 0, INT64_MAX, &seed, r->err));
    if (o->seed >= 0) seed = o->seed;
    c->seed = (uint64_t)seed;
    c->devices = 1;
    VV_TRY(vv_reader_put(r, "seed", json_integer(seed)));
    VV_TRY(vv_reader_int(r, "devices", 1, 1 << 20, &c->devices));
    VV_TRY(read_init(c, o, r));
    VV_TRY(vv_reader_need(r, "stages"));
    VV_TRY(vv_json_array(r->in, r->where, "stages", &list, r->err));
    const int64_t n = (int64_t)json_array_size(list);
    if (n < 1 || n > MOST_STAGES)
        return vv_reader_wrong(r, "stages", "expected 1 to %d, found %lld", MOST_STAGES, (long long)n);
    if (!(c->stage = vv_calloc(n, sizeof *c->stage))) return vv_no_memory(r->err, r->where);
    for (int64_t i = 0; i < n; i++) {
        vv_reader in;
        VV_TRY(vv_reader_enter(&in, r, "stages", i));
        c->n_stages = i + 1; /* so that it is freed */
        VV_TRY(read_stage(c, &c->stage[i], o->updates, &in));
    }
    return vv_hold_out(c, r->err);
}

/* the folder of the file, or the one that a finished run's run.json names */
static vv_status find_folder(vv_train_config *c, const json_t *train, vv_error *err)
{
    const char *slash = strrchr(c->path, '/'), *named = NULL;
    VV_TRY(vv_json_string(train, c->path, "folder", &named, err));
    char *of = named              ? vv_strdup(named)
               : !slash           ? vv_strdup(".")
               : slash == c->path ? vv_strdup("/")
                                  : vv_asprintf("%.*s", (int)(slash - c->path), c->path);
    if (!of) return vv_no_memory(err, c->path);
    c->folder = absolute(of);
    free(of);
    return c->folder ? VV_OK : vv_no_memory(err, c->path);
}

static vv_status load(vv_train_config *c, const char *path, const vv_train_overrides *o, vv_error *err)
{
    json_t *root = NULL;
    vv_reader r = {.err = err};
    if (!(c->path = vv_strdup(path))) return vv_no_memory(err, path);
    VV_TRY(vv_json_load(&root, path, CONFIG_BYTES, err));
    c->root = root;
    snprintf(r.where, sizeof r.where, "%.300s: train", path);
    VV_TRY(vv_json_need(root, path, "train", err));
    VV_TRY(vv_json_object(root, path, "train", &r.in, err));
    VV_TRY(find_folder(c, r.in, err));
    r.folder = c->folder;
    if (!(r.out = json_object())) return vv_no_memory(err, path);
    vv_status s = read_run(c, o, &r);
    if (s == VV_OK && json_object_set(root, "train", r.out)) s = vv_no_memory(err, path); /* r.in is gone */
    json_decref(r.out);
    return s;
}

vv_status vv_train_config_load(vv_train_config *c, const char *path, const vv_train_overrides *o, vv_error *err)
{
    *c = (vv_train_config){0};
    const vv_status s = load(c, path, o, err);
    if (s != VV_OK) vv_train_config_free(c);
    return s;
}
