/* Where the weights of a stage come from. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "io/file.h"
#include "train/reader.h"
#include "train/stage.h"

char *vv_run_folder(const vv_run *r, const char *stage) { return vv_path_join(r->options->out, stage); }

static int has_part(const vv_model *m, int part)
{
    return part == VV_VISION      ? m->vit != NULL
           : part == VV_PROJECTOR ? m->projector != NULL
           : part == VV_TEXT      ? m->llm != NULL
           : part == VV_DEPTH     ? m->depth != NULL
                                  : m->mask != NULL;
}

/* ---- at random -------------------------------------------------------------------------------------------------------------- */
/* matrices of tower and decoder N(0, 1/inputs), when the configuration wants so */
static vv_status widen(const vv_model *m, int parts, uint64_t seed, vv_error *err)
{
    for (int64_t i = 0; i < m->params->n; i++) {
        vv_tensor *p = m->params->at[i];
        if (!(parts >> vv_part_of(p) & 1) || p->ndim < 2) continue;
        VV_TRY(vv_param_fill(p, VV_FILL_NORMAL, 1 / sqrt((double)(p->n / p->dim[0])), seed, err));
    }
    return VV_OK;
}

/* A map that starts below 0 everywhere has no gradient behind its last ReLU and stays there. So it starts near 1; the losses of depth are
 * blind to such a shift. */
static vv_status start_above_zero(const vv_model *m, uint64_t seed, vv_error *err)
{
    if (vv_dpt_config_of(m->depth)->final != VV_DPT_RELU) return VV_OK;
    vv_tensor *bias = vv_param_find(m->params, "depth_head.scratch.output_conv2.2.bias");
    return bias ? vv_param_fill(bias, VV_FILL_CONSTANT, 1, seed, err) : VV_OK;
}

static vv_status randomise(const vv_run *r, int parts, uint64_t seed, vv_error *err)
{
    const vv_model *m = &r->model;
    if (parts & VV_VISION && m->vit) VV_TRY(vv_vit_init(m->vit, seed, err));
    if (parts & VV_PROJECTOR && m->projector) VV_TRY(vv_projector_init(m->projector, seed, err));
    if (parts & VV_TEXT && m->llm) VV_TRY(vv_qwen3_init(m->llm, seed, err));
    if (parts & VV_DEPTH && m->depth) VV_TRY(vv_dpt_init(m->depth, seed, err));
    if (parts & VV_DEPTH && m->depth) VV_TRY(start_above_zero(m, seed, err));
    if (parts & VV_MASK && m->mask) VV_TRY(vv_mask_init(m->mask, seed, err));
    return r->config.fan_in ? widen(m, parts & (VV_VISION | VV_TEXT), seed, err) : VV_OK;
}

/* the seed of what a stage starts anew */
static uint64_t fresh_seed(const vv_run *r, const vv_stage_config *s)
{
    uint32_t words[4];
    char stream[80];
    snprintf(stream, sizeof stream, "fresh/%s", s->random);
    vv_random_words(r->config.seed, vv_stream(stream), 0, words);
    return (uint64_t)words[1] << 32 | words[0];
}

/* ---- from folders ----------------------------------------------------------------------------------------------------------- */
vv_status vv_stage_source(const vv_run *r, const vv_stage_config *s, const char *from, int part, const char *key,
                          char **folder, vv_error *err)
{
    const int64_t at = strchr(from, '/') ? -1 : vv_stage_find(&r->config, from);
    *folder = NULL;
    if (at < 0) {
        *folder = vv_config_path(r->config.folder, from);
    } else if (vv_stage_skipped(&r->config, &r->config.stage[at])) {
        const char *instead = part == VV_VISION ? r->config.init_tower : part == VV_TEXT ? r->config.init_llm : NULL;
        if (!instead)
            return vv_fail(err, VV_FILE, "%s: '%s': expected %s to have run; it is left out, and no %s replaces it",
                           s->where, key, from,
                           part == VV_TEXT     ? "init_llm"
                           : part == VV_VISION ? "init_tower"
                                               : "folder");
        *folder = vv_strdup(instead);
    } else {
        char *of = vv_run_folder(r, from);
        if (of && !vv_stage_done(of)) {
            const vv_status st =
                vv_fail(err, VV_FILE, "%s: expected the model of stage %s, which %s begins with; found none", of, from,
                        s->name);
            free(of);
            return st;
        }
        *folder = of ? vv_path_join(of, "model") : NULL;
        free(of);
    }
    return *folder ? VV_OK : vv_no_memory(err, from);
}

static vv_status read_part(vv_run *r, const vv_stage_config *s, const char *from, int k, vv_error *err)
{
    char *folder = NULL;
    VV_TRY(vv_stage_source(r, s, from, 1 << k, vv_part_key[k], &folder, err));
    const vv_status st = vv_part_read(&r->model, 1 << k, folder, err);
    free(folder);
    return st;
}

/* what given folders replace at the very beginning */
static vv_status read_given(vv_run *r, vv_error *err)
{
    if (r->config.init_tower && r->model.vit) VV_TRY(vv_part_read(&r->model, VV_VISION, r->config.init_tower, err));
    if (r->config.init_llm && r->model.llm) VV_TRY(vv_part_read(&r->model, VV_TEXT, r->config.init_llm, err));
    return VV_OK;
}

vv_status vv_stage_begin(vv_run *r, int64_t stage, vv_error *err)
{
    const vv_stage_config *s = &r->config.stage[stage], *before = NULL;
    for (int64_t i = 0; i < stage; i++)
        if (!vv_stage_skipped(&r->config, &r->config.stage[i])) before = &r->config.stage[i];
    if (!before) {
        VV_TRY(randomise(r, VV_ALL_PARTS, r->config.seed, err));
        VV_TRY(read_given(r, err));
    }
    for (int k = 0; k < VV_PARTS; k++) {
        if (!has_part(&r->model, 1 << k) || s->fresh >> k & 1) continue;
        if (s->load[k]) VV_TRY(read_part(r, s, s->load[k], k, err));
        else if (before) VV_TRY(read_part(r, s, before->name, k, err));
    }
    return randomise(r, s->fresh, fresh_seed(r, s), err);
}

void vv_stage_freeze(const vv_model *m, const int *trainable, int train)
{
    for (int64_t i = 0; i < m->params->n; i++) {
        vv_tensor *p = m->params->at[i];
        p->needs_grad = trainable[i] && train >> vv_part_of(p) & 1;
        p->has_grad = 0;
    }
}

int vv_stage_group(const void *ctx, const vv_tensor *p)
{
    (void)ctx;
    return 2 * vv_part_of(p) + vv_is_vector(p);
}
