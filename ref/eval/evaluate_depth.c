/* The depth head against exact depth. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/evaluate_parts.h"
#include "eval/metrics.h"

enum { BATCH = 16 };
static const double nearest = 0.1;

/* A picture's truth and a prediction; maps [n]. */
typedef struct {
    int64_t n;
    double *depth, *disparity, *q, *z, *mean; /* mean: of the disparities of all scenes */
    vv_real *heads;                           /* [BATCH, n] */
    unsigned char *valid, *object;
} maps;

typedef struct {
    vv_average rmse, rmse_objects, abs_rel, delta1, rmse_disparity;
    int64_t pairs, correct;
} sums;

static void free_maps(maps *m)
{
    free(m->depth);
    free(m->heads);
    free(m->valid);
}

static vv_status new_maps(maps *m, int64_t n, vv_error *err)
{
    *m = (maps){.n = n};
    m->depth = vv_calloc(5 * n, sizeof *m->depth);
    m->heads = vv_calloc(BATCH * n, sizeof *m->heads);
    m->valid = vv_calloc(2 * n, 1);
    if (!m->depth || !m->heads || !m->valid) {
        free_maps(m);
        return vv_no_memory(err, "maps");
    }
    m->disparity = m->depth + n;
    m->q = m->disparity + n;
    m->z = m->q + n;
    m->mean = m->z + n;
    m->object = m->valid + n;
    return VV_OK;
}

static void read_truth(maps *m, const vv_scene *s)
{
    vv_scene_truth(s, m->depth, m->valid, m->object);
    for (int64_t i = 0; i < m->n; i++) m->disparity[i] = m->valid[i] ? 1 / m->depth[i] : 0;
}

/* the disparity m->q, up to scale and shift, against the truth */
static void measure(sums *to, maps *m, const vv_scene *scene)
{
    double s, o, square = 0, n = 0;
    int64_t pairs = 0;
    if (!vv_align(&s, &o, m->q, m->disparity, m->valid, m->n)) return;
    for (int64_t i = 0; i < m->n; i++) {
        if (!m->valid[i]) continue;
        const double off = s * m->q[i] + o - m->disparity[i];
        square += off * off;
        n++;
    }
    vv_depth_from_disparity(m->z, m->q, m->n, s, o, nearest, VV_SYNTH_FAR);
    const vv_depth_errors all = vv_depth_compare(m->z, m->depth, m->valid, m->n);
    vv_average_add(&to->rmse, all.rmse);
    vv_average_add(&to->abs_rel, all.abs_rel);
    vv_average_add(&to->delta1, all.delta1);
    vv_average_add(&to->rmse_disparity, sqrt(square / n));
    vv_average_add(&to->rmse_objects, vv_depth_compare(m->z, m->depth, m->object, m->n).rmse);
    to->correct += vv_scene_order(scene, m->z, &pairs);
    to->pairs += pairs;
}

static vv_eval_depth finish(const sums *s)
{
    return (vv_eval_depth){.rmse = vv_average_of(&s->rmse),
                           .rmse_objects = vv_average_of(&s->rmse_objects),
                           .abs_rel = vv_average_of(&s->abs_rel),
                           .delta1 = vv_average_of(&s->delta1),
                           .rmse_disparity = vv_average_of(&s->rmse_disparity),
                           .order = s->pairs ? (double)s->correct / (double)s->pairs : (double)NAN};
}

/* the head's maps of scenes first .. first+n */
static vv_status predict(const vv_evaluation *e, maps *m, int64_t first, int64_t n, vv_error *err)
{
    const vv_dpt_config *c = vv_dpt_config_of(e->model->depth);
    const int64_t side = e->size / c->patch;
    vv_tensor *raster[VV_DPT_LEVELS] = {NULL};
    vv_status s = vv_eval_tower(e, first, n, c->taps, c->levels, raster, err);
    if (s == VV_OK) {
        vv_tensor *d = vv_dpt_forward(e->tape, e->model->depth, raster, n, side, side);
        s = vv_tape_status(e->tape, err);
        if (s == VV_OK) vvb_download(m->heads, vv_f(d), d->n * (int64_t)sizeof *m->heads);
    }
    vv_tape_reset(e->tape);
    for (int64_t i = 0; s == VV_OK && i < n * m->n; i++)
        if (!isfinite(m->heads[i]))
            s = vv_fail(err, VV_NONFINITE, "depth head: scene %lld, pixel %lld: expected a finite number; found %g",
                        (long long)(e->r->options.first + first + i / m->n), (long long)(i % m->n),
                        (double)m->heads[i]);
    return s;
}

vv_status vv_eval_run_depth(const vv_evaluation *e, vv_error *err)
{
    sums head = {.pairs = 0}, mean_map = {.pairs = 0}, constant = {.pairs = 0};
    maps m;
    VV_TRY(new_maps(&m, e->size * e->size, err));
    for (int64_t i = 0; i < e->scenes->n; i++) {
        read_truth(&m, &e->scenes->at[i]);
        for (int64_t k = 0; k < m.n; k++) m.mean[k] += m.disparity[k] / (double)e->scenes->n;
    }
    vv_status s = VV_OK;
    for (int64_t i = 0; s == VV_OK && i < e->scenes->n; i++) {
        const int64_t at = i % BATCH, n = vv_min(BATCH, e->scenes->n - i);
        if (at == 0) s = predict(e, &m, i, n, err);
        if (s != VV_OK) break;
        const vv_scene *scene = &e->scenes->at[i];
        read_truth(&m, scene);
        for (int64_t k = 0; k < m.n; k++) m.q[k] = (double)m.heads[at * m.n + k];
        measure(&head, &m, scene);
        memcpy(m.q, m.mean, (size_t)m.n * sizeof *m.q);
        measure(&mean_map, &m, scene);
        memset(m.q, 0, (size_t)m.n * sizeof *m.q);
        measure(&constant, &m, scene);
        vv_progress("depth", i + 1, e->scenes->n);
    }
    e->r->depth.head = finish(&head);
    e->r->depth.mean_map = finish(&mean_map);
    e->r->depth.constant = finish(&constant);
    e->r->pairs = head.pairs;
    free_maps(&m);
    return s;
}
