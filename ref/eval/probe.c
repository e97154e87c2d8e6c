#include "eval/probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "eval/metrics.h"
#include "eval/probe_parts.h"

const char *const vv_probe_name[VV_PROBES] = {"tower", "mean_map", "position", "patches", "random_tower", "ceiling"};

enum { BLOCK = 64 };

typedef struct {
    const vv_model *model;
    vv_probe_result *r;
    vv_probe_set train, test;
    vv_scenes truth;
} job;

/* ---- scenes ---------------------------------------------------------------------------------------------------------------- */
static vv_status draw(job *j, vv_error *err)
{
    const vv_probe_options *o = &j->r->options;
    const int64_t patch = j->model->vit->config.patch_size, size = o->scenes.size;
    vv_synth_options seen = o->scenes;
    seen.held_out = 0;
    VV_TRY(vv_probe_set_new(&j->train, o->train, size, patch, err));
    VV_TRY(vv_probe_set_new(&j->test, o->test, size, patch, err));
    for (int64_t i = 0; i < o->train; i += BLOCK) {
        vv_scenes block;
        VV_TRY(vv_scenes_draw(&block, &seen, i, vv_min(BLOCK, o->train - i), err));
        for (int64_t k = 0; k < block.n; k++) vv_probe_set_put(&j->train, i + k, &block.at[k]);
        vv_scenes_free(&block);
        vv_progress("scenes", vv_min(i + BLOCK, o->train), o->train);
    }
    VV_TRY(vv_scenes_draw(&j->truth, &o->scenes, VV_PROBE_TEST, o->test, err));
    for (int64_t i = 0; i < o->test; i++) vv_probe_set_put(&j->test, i, &j->truth.at[i]);
    return VV_OK;
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------ */
/* what the source's features tell */
static vv_status fitted(const job *j, vv_probe_row *row, const vv_probe_source *from, vv_error *err)
{
    const int64_t D = vv_probe_columns(from, &j->train), tests = j->test.n * j->test.cells;
    vv_real *train = vv_calloc(vv_mul(j->train.n * j->train.cells, D), sizeof *train);
    vv_real *test = vv_calloc(vv_mul(tests, D), sizeof *test);
    vv_status s = train && test ? vv_probe_features(train, from, &j->train, err) : vv_no_memory(err, "features");
    if (s == VV_OK) s = vv_probe_features(test, from, &j->test, err);
    if (s == VV_OK) s = vv_probe_fit(row, j->r->task, &j->train, train, test, tests, D, err);
    free(train);
    free(test);
    return s;
}

/* a place of the grid that no training scene has depth for gets the mean of all */
static void mean_map(const job *j, vv_probe_row *row)
{
    const int64_t cells = j->train.cells, all = j->train.n * cells;
    vv_average everywhere = {0};
    for (int64_t i = 0; i < all; i++) vv_average_add(&everywhere, j->train.target[i]);
    for (int64_t c = 0; c < cells; c++) {
        vv_average here = {0};
        int64_t count[VV_SYNTH_CLASSES] = {0};
        int best = 0;
        for (int64_t i = c; i < all; i += cells) {
            count[j->train.label[i]]++;
            vv_average_add(&here, j->train.target[i]);
        }
        for (int k = 1; k < VV_SYNTH_CLASSES; k++)
            if (count[k] > count[best]) best = k;
        const double log_depth = vv_average_of(here.n > 0 ? &here : &everywhere);
        const double value = j->r->task == VV_PROBE_DEPTH ? vv_exp(log_depth) : best;
        for (int64_t i = c; i < j->test.n * cells; i += cells) row->prediction[i] = value;
    }
}

/* A tower of the model's configuration with random matrices N(0, 1/inputs). */
static vv_status random_tower(const job *j, vv_probe_row *row, vv_probe_source from, vv_error *err)
{
    vv_params params = {0};
    vv_vit *vit = NULL;
    vv_status s = vv_vit_new(&vit, &params, &j->model->vit->config, err);
    if (s == VV_OK) s = vv_vit_init(vit, j->r->options.random_seed, err);
    for (int64_t i = 0; s == VV_OK && i < params.n; i++) {
        vv_tensor *p = params.at[i];
        if (p->ndim < 2) continue;
        s = vv_param_fill(p, VV_FILL_NORMAL, 1 / sqrt((double)(p->n / p->dim[0])), j->r->options.random_seed, err);
    }
    from.vit = vit;
    if (s == VV_OK) s = fitted(j, row, &from, err);
    vv_vit_free(vit);
    vv_params_free(&params);
    return s;
}

static vv_status run(job *j, vv_probe_kind kind, vv_error *err)
{
    vv_probe_row *row = &j->r->row[kind];
    const vv_probe_source from = {kind, j->model->vit, &j->model->preprocess, j->r->options.layer};
    row->present = 1;
    if (!(row->prediction = vv_calloc(j->test.n * j->test.cells, sizeof *row->prediction)))
        return vv_no_memory(err, "predictions");
    if (kind == VV_PROBE_CEILING) return vv_probe_ceiling(row, j->r->task, &j->test, &j->truth, err);
    if (kind == VV_PROBE_MEAN_MAP) mean_map(j, row);
    else if (kind == VV_PROBE_RANDOM_TOWER) VV_TRY(random_tower(j, row, from, err));
    else VV_TRY(fitted(j, row, &from, err));
    return vv_probe_score(row, j->r->task, &j->test, &j->truth, &j->r->pairs, err);
}

/* ---- all of it ------------------------------------------------------------------------------------------------------------- */
vv_probe_options vv_probe_default(void)
{
    vv_probe_options o = {.scenes = vv_synth_default(), .train = 400, .test = 400, .layer = -1, .random_seed = 1};
    o.scenes.seed = VV_PROBE_SEED;
    return o;
}

static vv_status check(vv_probe_options *o, const vv_model *m, vv_error *err)
{
    VV_TRY(vv_model_need(m, VV_VISION, "probe", err));
    const vv_vit_config *c = &m->vit->config;
    const int64_t side = c->patch_size * c->spatial_merge_size;
    VV_TRY(vv_synth_check(&o->scenes, err));
    if (o->scenes.size % side)
        return vv_fail(err, VV_USAGE, "size: expected a multiple of %lld, the pixels of a merged patch; found %lld",
                       (long long)side, (long long)o->scenes.size);
    if (o->train < 5 || o->train > VV_PROBE_TEST)
        return vv_fail(err, VV_USAGE, "train: expected 5 to %d scenes; found %lld", VV_PROBE_TEST, (long long)o->train);
    if (o->test < 1) return vv_fail(err, VV_USAGE, "test: expected at least one scene; found %lld", (long long)o->test);
    if (o->layer < -1 || o->layer >= c->depth)
        return vv_fail(err, VV_USAGE, "layer: expected 0 to %lld; found %lld", (long long)c->depth - 1,
                       (long long)o->layer);
    if (o->layer < 0) o->layer = c->depth - 1;
    return VV_OK;
}

vv_status vv_probe(vv_probe_result *r, const vv_model *m, vv_probe_task task, const vv_probe_options *o, vv_error *err)
{
    *r = (vv_probe_result){.task = task, .options = *o};
    job j = {.model = m, .r = r};
    vv_status s = check(&r->options, m, err);
    if (s == VV_OK) s = draw(&j, err);
    r->gh = j.test.gh;
    r->gw = j.test.gw;
    for (int k = 0; s == VV_OK && k < VV_PROBES; k++)
        if (k == VV_PROBE_TOWER || !o->tower_alone) s = run(&j, (vv_probe_kind)k, err);
    vv_probe_set_free(&j.train);
    vv_probe_set_free(&j.test);
    vv_scenes_free(&j.truth);
    if (s != VV_OK) vv_probe_free(r);
    return s;
}

void vv_probe_free(vv_probe_result *r)
{
    for (int k = 0; k < VV_PROBES; k++) free(r->row[k].prediction);
    *r = (vv_probe_result){0};
}
