#include "train/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "io/safetensors.h"

/* ---- folders ------------------------------------------------------------------------------------------------------------ */
/* a folder of files; trainer_state.json first, so that half of one is no checkpoint */
static vv_status remove_folder(const char *path, vv_error *err)
{
    char *state = vv_path_join(path, "trainer_state.json");
    if (!state) return vv_no_memory(err, path);
    (void)unlink(state);
    free(state);
    DIR *d = opendir(path);
    if (!d) return errno == ENOENT ? VV_OK : vv_fail(err, VV_FILE, "%s: cannot be read: %s", path, strerror(errno));
    for (struct dirent *e; (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        char *file = vv_path_join(path, e->d_name);
        if (file) (void)unlink(file);
        free(file);
    }
    closedir(d);
    return rmdir(path) == 0 ? VV_OK : vv_fail(err, VV_FILE, "%s: cannot be removed: %s", path, strerror(errno));
}

static void sync_folder(const char *path)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    (void)fsync(fd); /* some file systems cannot */
    close(fd);
}

/* N of "checkpoint-N", 0 for another name */
static int64_t number_of(const char *name)
{
    char *end;
    if (strncmp(name, "checkpoint-", 11) || name[11] < '1' || name[11] > '9') return 0;
    const long long n = strtoll(name + 11, &end, 10);
    return *end ? 0 : n;
}

static int has_state(const char *folder, int64_t update)
{
    char *path = vv_asprintf("%s/checkpoint-%lld/trainer_state.json", folder, (long long)update);
    const int yes = path && access(path, R_OK) == 0;
    free(path);
    return yes;
}

/* the newest below `below`; how many there are in *count */
static int64_t newest(const char *folder, int64_t below, int64_t *count)
{
    int64_t best = 0;
    DIR *d = opendir(folder);
    *count = 0;
    if (!d) return 0;
    for (struct dirent *e; (e = readdir(d));) {
        const int64_t n = number_of(e->d_name);
        if (n == 0) continue;
        ++*count;
        if (n < below && n > best && has_state(folder, n)) best = n;
    }
    closedir(d);
    return best;
}

vv_status vv_checkpoint_newest(const char *folder, int64_t *update, vv_error *err)
{
    DIR *d = opendir(folder);
    vv_status s = VV_OK;
    *update = 0;
    if (!d) return VV_OK;
    for (struct dirent *e; s == VV_OK && (e = readdir(d));) {
        const size_t n = strlen(e->d_name);
        if (e->d_name[0] != '.' || n < 9 || strcmp(e->d_name + n - 8, ".partial")) continue;
        char *path = vv_path_join(folder, e->d_name);
        s = path ? remove_folder(path, err) : vv_no_memory(err, folder);
        free(path);
    }
    closedir(d);
    int64_t count;
    *update = newest(folder, INT64_MAX, &count);
    return s;
}

vv_status vv_checkpoint_prune(const char *folder, int64_t keep, vv_error *err)
{
    int64_t count, at = INT64_MAX;
    if (keep == 0) return VV_OK;
    for (int64_t i = 0; i < keep && at > 0; i++) at = newest(folder, at, &count);
    for (int64_t old; at > 0 && (old = newest(folder, at, &count)) > 0;) {
        char *path = vv_asprintf("%s/checkpoint-%lld", folder, (long long)old);
        const vv_status s = path ? remove_folder(path, err) : vv_no_memory(err, folder);
        free(path);
        VV_TRY(s);
    }
    return VV_OK;
}

int vv_stage_done(const char *folder)
{
    char *path = vv_path_join(folder, "model/model.safetensors"),
         *index = vv_path_join(folder, "model/model.safetensors.index.json");
    const int yes = (path && access(path, R_OK) == 0) || (index && access(index, R_OK) == 0);
    free(path);
    free(index);
    return yes;
}

/* ---- the optimizer -------------------------------------------------------------------------------------------------------- */
/* the parameters that have been updated, as a JSON list of names */
static json_t *updated(const vv_adamw *o)
{
    json_t *list = json_array();
    for (int64_t i = 0; list && i < o->params->n; i++)
        if (o->m[i] && json_array_append_new(list, json_string(o->params->at[i]->name))) {
            json_decref(list);
            return NULL;
        }
    return list;
}

/* opt.exp_avg.X, opt.exp_avg_sq.X for each of them, and opt.step; names [2n] are the caller's to free */
static int declare(const vv_adamw *o, vv_st_decl *decl, char **name)
{
    int64_t k = 0;
    int ok = 1;
    for (int64_t i = 0; i < o->params->n; i++) {
        const vv_tensor *p = o->params->at[i];
        if (!o->m[i]) continue;
        for (int which = 0; which < 2; which++, k++) {
            name[k] = vv_asprintf("opt.%s.%s", which ? "exp_avg_sq" : "exp_avg", p->name);
            decl[k] = (vv_st_decl){.name = name[k], .dtype = VV_DT_REAL, .ndim = p->ndim};
            for (int d = 0; d < p->ndim; d++) decl[k].shape[d] = p->dim[d];
            ok = ok && name[k];
        }
    }
    decl[k] = (vv_st_decl){.name = "opt.step", .dtype = VV_DT_I64, .ndim = 1, .shape = {k / 2}};
    return ok;
}

static vv_status write_moments(vv_stw *w, const vv_adamw *o, vv_error *err)
{
    int64_t k = 0, *step = vv_calloc(o->params->n, sizeof *step);
    vv_status s = step ? VV_OK : vv_no_memory(err, "moments");
    for (int64_t i = 0; s == VV_OK && i < o->params->n; i++) {
        const int64_t n = o->params->at[i]->n;
        if (!o->m[i]) continue;
        vv_real *host = vv_calloc(n, sizeof *host);
        s = host ? VV_OK : vv_no_memory(err, "moments");
        for (int which = 0; s == VV_OK && which < 2; which++) {
            vvb_download(host, which ? o->v[i] : o->m[i], n * (int64_t)sizeof *host);
            s = vv_stw_write_real(w, 2 * k + which, host, err);
        }
        step[k++] = o->t[i];
        free(host);
    }
    /* little-endian whatever the host is */
    unsigned char *bytes = vv_calloc(k, 8);
    if (s == VV_OK && !bytes) s = vv_no_memory(err, "moments");
    for (int64_t i = 0; s == VV_OK && i < 8 * k; i++) bytes[i] = (unsigned char)((uint64_t)step[i / 8] >> 8 * (i % 8));
    if (s == VV_OK) s = vv_stw_write(w, 2 * k, bytes, err);
    free(bytes);
    free(step);
    return s;
}

static vv_status write_optimizer(const char *folder, const vv_adamw *o, vv_error *err)
{
    const int64_t most = 2 * o->params->n + 1;
    json_t *list = updated(o);
    char *names = vv_json_text(list, JSON_COMPACT), **name = vv_calloc(most, sizeof *name);
    char *path = vv_path_join(folder, "optimizer.safetensors");
    vv_st_decl *decl = vv_calloc(most, sizeof *decl);
    vv_stw *w = NULL;
    vv_status s = names && name && path && decl && declare(o, decl, name) ? VV_OK : vv_no_memory(err, folder);
    const char *const meta[] = {"parameters", names, NULL};
    const int64_t n = 2 * (int64_t)json_array_size(list) + 1;
    if (s == VV_OK) s = vv_stw_open(&w, path, decl, n, meta, 0, err);
    if (s == VV_OK) s = write_moments(w, o, err);
    if (s == VV_OK) s = vv_stw_commit(w, err);
    else vv_stw_abort(w);
    for (int64_t i = 0; name && i < most; i++) free(name[i]);
    free(name);
    free(decl);
    free(path);
    free(names);
    json_decref(list);
    return s;
}

static vv_status read_moment(vv_real **to, vv_adamw *o, int64_t i, const char *which, const vv_st *file, vv_error *err)
{
    const vv_tensor *p = o->params->at[i];
    const int64_t bytes = p->n * (int64_t)sizeof(vv_real);
    char name[VV_NAME_MAX + 32];
    snprintf(name, sizeof name, "opt.%s.%s", which, p->name);
    const vv_st_entry *e = vv_st_find(file, name);
    if (!e || e->n != p->n)
        return vv_fail(err, VV_FILE, "%s: %s: expected %lld numbers; found %s", vv_st_path(file), name, (long long)p->n,
                       e ? "another size" : "none");
    vv_real *host = vv_calloc(p->n, sizeof *host);
    vv_status s = host ? vv_st_read_real(file, e, host, err) : vv_no_memory(err, name);
    if (s == VV_OK && !*to && !(*to = vvb_alloc(bytes))) s = vv_no_memory(err, name);
    if (s == VV_OK) {
        vvb_upload(*to, host, bytes);
        o->bytes += bytes;
    }
    free(host);
    return s;
}

static vv_status read_optimizer(const char *folder, vv_adamw *o, vv_error *err)
{
    char *path = vv_path_join(folder, "optimizer.safetensors");
    vv_st *file = NULL;
    vv_status s = path ? vv_st_open(&file, path, err) : vv_no_memory(err, folder);
    const char *names = s == VV_OK ? vv_st_metadata(file, "parameters") : NULL;
    json_t *list = names ? json_loads(names, 0, NULL) : NULL;
    const vv_st_entry *e = s == VV_OK ? vv_st_find(file, "opt.step") : NULL;
    const int64_t n = (int64_t)json_array_size(list);
    int64_t *step = vv_calloc(n, sizeof *step);
    if (s == VV_OK && !step) s = vv_no_memory(err, path);
    if (s == VV_OK && (!json_is_array(list) || !e || e->n != n))
        s = vv_fail(err, VV_FILE,
                    "%s: expected metadata parameters and as many numbers in opt.step; found something else", path);
    if (s == VV_OK) s = vv_st_read_i64(file, e, step, err);
    for (int64_t k = 0; s == VV_OK && k < n; k++) {
        const char *name = json_string_value(json_array_get(list, (size_t)k));
        int64_t i = 0;
        while (name && i < o->params->n && strcmp(o->params->at[i]->name, name)) i++;
        if (!name || i == o->params->n)
            s = vv_fail(err, VV_FILE, "%s: parameters: expected those of this model; found \"%.100s\"", path,
                        name ? name : "");
        if (s == VV_OK) s = read_moment(&o->m[i], o, i, "exp_avg", file, err);
        if (s == VV_OK) s = read_moment(&o->v[i], o, i, "exp_avg_sq", file, err);
        if (s == VV_OK) o->t[i] = step[k];
    }
    free(step);
    json_decref(list);
    vv_st_close(file);
    free(path);
    return s;
}

/* ---- the state -------------------------------------------------------------------------------------------------------------- */
static vv_status write_state(const char *folder, const char *stage, const vv_train_state *t, vv_error *err)
{
    json_t *draws = json_object();
    for (int k = 0; k < VV_TASKS; k++)
        if (t->draws[k]) json_object_set_new(draws, vv_task_name[k], json_integer(t->draws[k]));
    json_t *o = json_pack("{s:i, s:s, s:I, s:o, s:f, s:s}", "format", 1, "stage", stage, "update",
                          (json_int_t)t->update, "draws", draws, "seconds", t->seconds, "config", t->config);
    if (t->best_update)
        json_object_set_new(o, "best",
                            json_pack("{s:I, s:f}", "update", (json_int_t)t->best_update, "total", t->best_total));
    char *text = vv_json_text(o, JSON_INDENT(2)), *path = vv_path_join(folder, "trainer_state.json");
    json_decref(o);
    const vv_status s = text && path ? vv_out_text(path, text, err) : vv_no_memory(err, folder);
    free(text);
    free(path);
    return s;
}

static vv_status parse_state(vv_train_state *t, const json_t *root, const char *path, const vv_stage_config *stage,
                             vv_error *err)
{
    const json_t *draws = NULL, *best = NULL;
    const char *hash = "", *name = "";
    VV_TRY(vv_json_int(root, path, "update", 1, INT64_MAX, &t->update, err));
    VV_TRY(vv_json_real(root, path, "seconds", 0, 1e300, &t->seconds, err));
    VV_TRY(vv_json_string(root, path, "config", &hash, err));
    VV_TRY(vv_json_string(root, path, "stage", &name, err));
    VV_TRY(vv_json_object(root, path, "draws", &draws, err));
    VV_TRY(vv_json_object(root, path, "best", &best, err));
    if (best) {
        VV_TRY(vv_json_int(best, path, "update", 1, t->update, &t->best_update, err));
        VV_TRY(vv_json_real(best, path, "total", -1e300, 1e300, &t->best_total, err));
    }
    if (strcmp(name, stage->name))
        return vv_fail(err, VV_FILE, "%s: 'stage': expected %s; found \"%.80s\"", path, stage->name, name);
    for (int k = 0; k < VV_TASKS; k++) {
        const int64_t expected = stage->task[k].present ? t->update * stage->task[k].batch : 0;
        if (draws) VV_TRY(vv_json_int(draws, path, vv_task_name[k], 0, INT64_MAX, &t->draws[k], err));
        if (t->draws[k] != expected)
            return vv_fail(err, VV_FILE, "%s: draws of %s: expected %lld, update times batch; found %lld", path,
                           vv_task_name[k], (long long)expected, (long long)t->draws[k]);
    }
    snprintf(t->config, sizeof t->config, "%s", hash);
    return VV_OK;
}

static vv_status read_state(vv_train_state *t, const char *folder, const vv_stage_config *stage, vv_error *err)
{
    json_t *root = NULL;
    char *path = vv_path_join(folder, "trainer_state.json");
    vv_status s = path ? vv_json_load(&root, path, 1 << 20, err) : vv_no_memory(err, folder);
    if (s == VV_OK) s = parse_state(t, root, path, stage, err);
    json_decref(root);
    free(path);
    return s;
}

/* ---- all of it -------------------------------------------------------------------------------------------------------------- */
static vv_status write_files(const char *folder, const char *stage, const vv_model *m, const vv_adamw *o,
                             const vv_train_state *state, vv_error *err)
{
    VV_TRY(remove_folder(folder, err)); /* of a process that died */
    VV_TRY(vv_dir_make(folder, err));
    if (m->tokenizer) VV_TRY(vv_tokenizer_copy(m->tokenizer_dir, folder, err));
    VV_TRY(vv_model_save(m, folder, VV_DT_REAL, 0, err));
    if (!state) return VV_OK;
    VV_TRY(write_optimizer(folder, o, err));
    return write_state(folder, stage, state, err);
}

static vv_status write_folder(const char *stage_folder, const char *name, const char *stage, const vv_model *m,
                              const vv_adamw *o, const vv_train_state *state, vv_error *err)
{
    char *partial = vv_asprintf("%s/.%s.partial", stage_folder, name), *path = vv_path_join(stage_folder, name);
    vv_status s = partial && path ? write_files(partial, stage, m, o, state, err) : vv_no_memory(err, stage_folder);
    if (s == VV_OK) s = remove_folder(path, err); /* an older run's */
    if (s == VV_OK && rename(partial, path))
        s = vv_fail(err, VV_FILE, "%s: cannot be written: %s", path, strerror(errno));
    if (s == VV_OK) sync_folder(stage_folder);
    else if (partial) (void)remove_folder(partial, NULL);
    free(partial);
    free(path);
    return s;
}

vv_status vv_checkpoint_write(const char *stage_folder, const char *stage, const vv_model *m, const vv_adamw *o,
                              const vv_train_state *state, vv_error *err)
{
    char name[40];
    snprintf(name, sizeof name, "checkpoint-%lld", (long long)state->update);
    return write_folder(stage_folder, name, stage, m, o, state, err);
}

vv_status vv_checkpoint_model(const char *stage_folder, const char *name, const vv_model *m, vv_error *err)
{
    return write_folder(stage_folder, name, NULL, m, NULL, NULL, err);
}

vv_status vv_part_read(vv_model *m, int part, const char *folder, vv_error *err)
{
    vv_weights *w = NULL;
    VV_TRY(vv_weights_open(&w, folder, err));
    const vv_status s = part == VV_VISION      ? vv_vit_load_weights(m->vit, w, err)
                        : part == VV_PROJECTOR ? vv_projector_load_weights(m->projector, w, err)
                        : part == VV_TEXT      ? vv_qwen3_load_weights(m->llm, w, err)
                        : part == VV_DEPTH     ? vv_dpt_load_weights(m->depth, w, err)
                                               : vv_mask_load_weights(m->mask, w, VV_MASK_WHOLE, err);
    vv_weights_close(w);
    return s;
}

vv_status vv_checkpoint_read(const char *stage_folder, int64_t update, const vv_stage_config *stage, vv_model *m,
                             vv_adamw *o, vv_train_state *state, vv_error *err)
{
    const struct {
        int part;
        const void *there;
    } list[] = {
        {VV_VISION, m->vit}, {VV_PROJECTOR, m->projector}, {VV_TEXT, m->llm}, {VV_DEPTH, m->depth}, {VV_MASK, m->mask}};
    char *folder = vv_asprintf("%s/checkpoint-%lld", stage_folder, (long long)update);
    vv_status s = folder ? read_state(state, folder, stage, err) : vv_no_memory(err, stage_folder);
    if (s == VV_OK && state->update != update)
        s = vv_fail(err, VV_FILE, "%s: 'update': expected %lld; found %lld", folder, (long long)update,
                    (long long)state->update);
    for (size_t k = 0; s == VV_OK && k < sizeof list / sizeof *list; k++)
        if (list[k].there) s = vv_part_read(m, list[k].part, folder, err);
    if (s == VV_OK) s = read_optimizer(folder, o, err);
    free(folder);
    return s;
}
