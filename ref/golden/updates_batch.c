/* Batches of random samples. Every sample is a function of seed, task and its place in the batch, not of how the batch is cut. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "golden/case_updates.h"

/* One batch on its way; of all its samples, for the recording: */
typedef struct {
    const vv_updates *u;
    vv_case c; /* with the seed of the data */
    int record;
    vv_task_batch *b;
    vv_mllm_batch text;
    vv_real *disparity, *masks, *embedded;
    int32_t *known, *image_of;
    int64_t P;
} making;

static void making_free(making *m)
{
    vv_mllm_batch_free(&m->text);
    free(m->disparity);
    free(m->masks);
    free(m->embedded);
    free(m->known);
    free(m->image_of);
}

static double uniform(const making *m, const char *stream, int64_t i)
{
    return vv_random_uniform(m->c.seed, vv_stream(stream), (uint64_t)i);
}

/* the picture of sample i, preprocessed to squares (fixed > 0) or as it comes, appended */
static vv_status picture(making *m, int64_t i, int64_t fixed, vv_batch *to, vv_error *err)
{
    vv_preprocess p = m->c.model.preprocess;
    vv_image image = {0};
    if (fixed) p.fixed_h = p.fixed_w = fixed;
    vv_status s = vv_case_draw(&m->c, &image, 29 + 23 * (i % 3), 60 - 17 * (i % 2), i, err);
    if (s == VV_OK && m->record) vv_case_record_image(&m->c, &image, i);
    if (s == VV_OK) s = vv_batch_add(to, &p, &image, m->c.path, err);
    vv_image_free(&image);
    return s;
}

/* ---- captions ------------------------------------------------------------------------------------------------------------- */
enum { BEFORE = 2, AFTER = 3, ANSWER = 4 };

/* Two ids, the picture (every third sample has none), a question of three, an answer of four to seven, which is learnt. */
static vv_status conversation(making *m, int64_t i, vv_micro *x, vv_error *err)
{
    const vv_model *model = &m->c.model;
    vv_batch pictures = {0};
    if (i % 3 != 2) VV_TRY(picture(m, i, 0, &pictures, err));
    const int64_t pads = pictures.rows / model->projector->config.cells, answer = ANSWER + i % 4,
                  n = BEFORE + pads + AFTER + answer;
    int32_t *ids = vv_calloc(2 * n, sizeof *ids), *labels = ids ? ids + n : NULL;
    vv_status s = ids ? VV_OK : vv_no_memory(err, m->c.path);
    for (int64_t k = 0; ids && k < n; k++) {
        const double draw = uniform(m, "ids", 1000 * i + k) * (double)model->llm->config.vocab_size;
        ids[k] = k >= BEFORE && k < BEFORE + pads ? vv_image_pad(model) : (int32_t)draw;
        if ((k < BEFORE || k >= BEFORE + pads) && ids[k] == vv_image_pad(model)) ids[k]--;
        labels[k] = k < n - answer ? VV_IGNORED : ids[k];
    }
    const vv_batch *own = pictures.n ? &pictures : NULL;
    if (s == VV_OK) s = vv_mllm_add(&x->text, model, "sample", ids, labels, n, own, err);
    if (s == VV_OK) s = vv_mllm_add(&m->text, model, "sample", ids, labels, n, own, err);
    free(ids);
    vv_batch_free(&pictures);
    return s;
}

/* ---- squares -------------------------------------------------------------------------------------------------------------- */
static vv_status make_disparity(making *m, vv_error *err)
{
    const int64_t n = m->b->samples * m->b->size * m->b->size;
    m->disparity = vv_case_normals(&m->c, "disparity", 2, 1, n);
    m->known = vv_calloc(n, sizeof *m->known);
    if (!m->disparity || !m->known) return vv_no_memory(err, m->c.path);
    for (int64_t i = 0; i < n; i++) m->known[i] = uniform(m, "known", i) < 0.85;
    return VV_OK;
}

/* how many masks sample i has */
static int64_t instances_of(int64_t i) { return i % 3 == 0 ? 2 : i % 3 == 1 ? 1 : 0; }

/* random boxes; every fifth mask has nothing in it */
static vv_status make_masks(making *m, vv_error *err)
{
    const int64_t size = m->b->size, N = size * size, dim = m->u->c->model.mask->config.text_dim;
    for (int64_t i = 0; i < m->b->samples; i++) m->P += instances_of(i);
    m->masks = vv_calloc(m->P * N, sizeof *m->masks);
    m->image_of = vv_calloc(m->P, sizeof *m->image_of);
    m->embedded = vv_case_normals(&m->c, "text", 0, 1, m->P * dim);
    if (!m->masks || !m->image_of || !m->embedded) return vv_no_memory(err, m->c.path);
    int64_t p = 0;
    for (int64_t i = 0; i < m->b->samples; i++)
        for (int64_t k = 0; k < instances_of(i); k++, p++) {
            const int64_t top = (int64_t)(uniform(m, "top", p) * (double)size / 2),
                          left = (int64_t)(uniform(m, "left", p) * (double)size / 2), side = size / 3 + p % 3;
            m->image_of[p] = (int32_t)i;
            for (int64_t y = top; p % 5 != 4 && y < top + side; y++)
                for (int64_t q = left; q < left + side; q++) m->masks[p * N + y * size + q] = 1;
        }
    return VV_OK;
}

/* samples first .. first + x->n - 1 */
static vv_status fill_depth(making *m, vv_micro *x, int64_t first, vv_error *err)
{
    const int64_t N = m->b->size * m->b->size;
    if (!(x->disparity = vv_calloc(x->n * N, sizeof *x->disparity))) return vv_no_memory(err, m->c.path);
    for (int64_t i = 0; i < x->n * N; i++)
        x->disparity[i] = m->known[first * N + i] ? m->disparity[first * N + i] : (vv_real)NAN;
    return VV_OK;
}

static vv_status fill_masks(making *m, vv_micro *x, int64_t first, vv_error *err)
{
    const int64_t N = m->b->size * m->b->size, dim = m->u->c->model.mask->config.text_dim;
    int64_t p = 0;
    while (p < m->P && m->image_of[p] < first) p++;
    for (int64_t i = 0; i < x->n; i++) x->instances += instances_of(first + i);
    x->masks = vv_calloc(x->instances * N, sizeof *x->masks);
    x->embedded = vv_calloc(x->instances * dim, sizeof *x->embedded);
    x->image_of = vv_calloc(x->instances, sizeof *x->image_of);
    x->instance = vv_calloc(x->instances, sizeof *x->instance);
    if (!x->masks || !x->embedded || !x->image_of || !x->instance) return vv_no_memory(err, m->c.path);
    memcpy(x->masks, m->masks + p * N, (size_t)(x->instances * N) * sizeof *x->masks);
    memcpy(x->embedded, m->embedded + p * dim, (size_t)(x->instances * dim) * sizeof *x->embedded);
    for (int64_t i = 0; i < x->instances; i++) {
        x->image_of[i] = m->image_of[p + i] - (int32_t)first;
        x->instance[i] = x->name[x->image_of[i]];
    }
    m->b->instances += x->instances;
    return VV_OK;
}

/* ---- the batch ------------------------------------------------------------------------------------------------------------- */
static vv_status fill(making *m, vv_micro *x, int64_t first, vv_error *err)
{
    const vv_task k = m->b->config->task;
    if (!(x->name = vv_calloc(x->n, sizeof *x->name))) return vv_no_memory(err, m->c.path);
    for (int64_t i = 0; i < x->n; i++) {
        if (!(x->name[i] = vv_asprintf("sample %lld", (long long)(first + i)))) return vv_no_memory(err, m->c.path);
        VV_TRY(k == VV_TASK_CAPTION ? conversation(m, first + i, x, err)
                                    : picture(m, first + i, m->b->size, &x->pictures, err));
    }
    if (k == VV_TASK_DEPTH) return fill_depth(m, x, first, err);
    if (k == VV_TASK_SEGMENTATION) return fill_masks(m, x, first, err);
    vv_ce_count(&m->b->window, x->text.labels, x->text.cu, x->text.S);
    return VV_OK;
}

static void record_inputs(making *m)
{
    const int64_t size = m->b->size, dim = m->u->c->model.mask->config.text_dim;
    const int64_t maps[3] = {m->b->samples, size, size}, masks[3] = {m->P, size, size}, text[2] = {m->P, dim};
    if (m->b->config->task == VV_TASK_CAPTION) {
        vv_case_record_ints(&m->c, "ids", m->text.ids, m->text.N);
        vv_case_record_ints(&m->c, "labels", m->text.labels, m->text.N);
        vv_case_record_ints(&m->c, "cu_seqlens", m->text.cu, m->text.S + 1);
    } else if (m->b->config->task == VV_TASK_DEPTH) {
        vv_record_reals(m->c.rec, "in", "disparity", 3, maps, m->disparity);
        vv_record_host(m->c.rec, "in", "mask", VV_DT_I32, 3, maps, m->known);
    } else {
        vv_record_reals(m->c.rec, "in", "target", 3, masks, m->masks);
        vv_record_reals(m->c.rec, "in", "text", 2, text, m->embedded);
        vv_case_record_ints(&m->c, "image_of", m->image_of, m->P);
    }
}

vv_status vv_updates_batch(const vv_updates *u, vv_task k, uint64_t seed, int record, vv_task_batch *b, vv_error *err)
{
    const vv_task_config *t = &u->task[k];
    making m = {.u = u, .c = *u->c, .record = record, .b = b};
    m.c.seed = seed;
    *b = (vv_task_batch){.config = t, .size = u->size, .samples = t->batch, .window.reduction = t->reduction};
    b->n = (t->batch + t->micro_batch - 1) / t->micro_batch;
    vv_status s = (b->micro = vv_calloc(b->n, sizeof *b->micro)) ? VV_OK : vv_no_memory(err, u->c->path);
    if (s == VV_OK && k == VV_TASK_DEPTH) s = make_disparity(&m, err);
    if (s == VV_OK && k == VV_TASK_SEGMENTATION) s = make_masks(&m, err);
    for (int64_t i = 0; s == VV_OK && i < b->n; i++) {
        const int64_t first = i * t->micro_batch;
        b->micro[i].n = vv_min(t->micro_batch, t->batch - first);
        s = fill(&m, &b->micro[i], first, err);
    }
    if (s == VV_OK && record) record_inputs(&m);
    making_free(&m);
    if (s != VV_OK) vv_task_batch_free(b);
    return s;
}
