#include "train/trainer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/file.h"
#include "train/stage.h"

/* ---- the folder --------------------------------------------------------------------------------------------------------------- */
/* the configuration of the run that out holds, or NULL */
static vv_status held(json_t **old, const char *path, vv_error *err)
{
    *old = NULL;
    return access(path, F_OK) == 0 ? vv_json_load(old, path, 16 << 20, err) : VV_OK;
}

static vv_status refuse(const vv_run *r, const json_t *old, const char *path, vv_error *err)
{
    const vv_train_options *o = r->options;
    if (!o->resume && !o->stage)
        return vv_fail(err, VV_FILE, "%s: expected no run there; found run.json (--resume goes on with it)", o->out);
    char *key = vv_config_difference(old, r->config.root);
    if (!key) return VV_OK;
    const vv_status s =
        vv_fail(err, VV_FILE, "%s: expected the configuration of the run that is there; '%s' has changed", path, key);
    free(key);
    return s;
}

/* out with its run.json: this run's own, or a new one */
static vv_status take_folder(const vv_run *r, vv_error *err)
{
    json_t *old = NULL;
    char *path = vv_path_join(r->options->out, "run.json");
    vv_status s = path ? held(&old, path, err) : vv_no_memory(err, r->options->out);
    if (s == VV_OK && old) {
        s = refuse(r, old, path, err);
    } else if (s == VV_OK) {
        char *text = vv_json_text(r->config.root, JSON_INDENT(2));
        s = text ? vv_dir_make(r->options->out, err) : vv_no_memory(err, path);
        if (s == VV_OK) s = vv_out_text(path, text, err);
        free(text);
    }
    json_decref(old);
    free(path);
    return s;
}

/* ---- stages ------------------------------------------------------------------------------------------------------------------- */
/* what the log may hold when stage `index` goes on: all of the stages that are done, and this one's up to its checkpoint */
static vv_status cut_log(const vv_run *r, int64_t index, const char *folder, vv_error *err)
{
    int64_t at = 0, n = 0;
    const char **done = vv_calloc(r->config.n_stages, sizeof *done);
    vv_status s = done ? vv_checkpoint_newest(folder, &at, err) : vv_no_memory(err, folder);
    for (int64_t i = 0; s == VV_OK && i < r->config.n_stages; i++) {
        char *other = vv_run_folder(r, r->config.stage[i].name);
        if (!other) s = vv_no_memory(err, folder);
        else if (i != index && vv_stage_done(other)) done[n++] = r->config.stage[i].name;
        free(other);
    }
    if (s == VV_OK) s = vv_log_cut(r->options->out, r->config.stage[index].name, at, done, n, err);
    free(done);
    return s;
}

static vv_status run_stage(vv_run *r, int64_t i, int *stopped, vv_error *err)
{
    const vv_stage_config *c = &r->config.stage[i];
    char *folder = vv_run_folder(r, c->name);
    int64_t at = 0;
    if (!folder) return vv_no_memory(err, c->name);
    vv_status s = VV_OK;
    const int done = vv_stage_done(folder);
    if (!done) s = vv_checkpoint_newest(folder, &at, err);
    if (s == VV_OK && r->options->stage && !r->options->resume && (done || at))
        s = vv_fail(err, VV_FILE, "%s: expected nothing of this stage there; found its %s (--resume goes on)", folder,
                    done ? "model" : "checkpoints");
    if (s == VV_OK && !done) {
        s = cut_log(r, i, folder, err);
        if (s == VV_OK) s = vv_log_open(&r->log, r->options->out, err);
        if (s == VV_OK) s = vv_stage_run(r, i, stopped, err);
        vv_log_close(&r->log);
    }
    free(folder);
    return s;
}

static vv_status note_trainable(vv_run *r, vv_error *err)
{
    const vv_params *ps = r->model.params;
    if (!(r->trainable = vv_calloc(ps->n, sizeof *r->trainable))) return vv_no_memory(err, "parameters");
    for (int64_t i = 0; i < ps->n; i++) r->trainable[i] = ps->at[i]->needs_grad;
    return VV_OK;
}

static vv_status train(vv_run *r, int *stopped, vv_error *err)
{
    const vv_train_options *o = r->options;
    VV_TRY(vv_train_config_load(&r->config, o->config, &o->overrides, err));
    const int64_t only = o->stage ? vv_stage_find(&r->config, o->stage) : -1;
    if (o->stage && only < 0)
        return vv_fail(err, VV_USAGE, "--stage: expected one of %s; found \"%.80s\"", o->config, o->stage);
    if (r->config.devices > 1)
        return vv_fail(err, VV_USAGE,
                       "%s: train.devices: expected 1; found %lld (a dry run tells what each would need)", o->config,
                       (long long)r->config.devices);
    VV_TRY(vv_config_hash(r->config.root, r->hash, err));
    VV_TRY(vv_model_from_config(&r->model, o->config, VV_ALL_PARTS, err));
    VV_TRY(note_trainable(r, err));
    for (int64_t i = 0; i < r->config.n_stages; i++) VV_TRY(vv_stage_check(&r->config.stage[i], &r->model, err));
    VV_TRY(take_folder(r, err));
    for (int64_t i = 0; i < r->config.n_stages && !*stopped; i++) {
        if (vv_stage_skipped(&r->config, &r->config.stage[i]) || (only >= 0 && i != only)) continue;
        VV_TRY(run_stage(r, i, stopped, err));
    }
    return VV_OK;
}

vv_status vv_train(const vv_train_options *o, int *stopped, vv_error *err)
{
    vv_run r = {.options = o};
    *stopped = 0;
    const vv_status s = train(&r, stopped, err);
    free(r.trainable);
    vv_model_free(&r.model);
    vv_train_config_free(&r.config);
    return s;
}
