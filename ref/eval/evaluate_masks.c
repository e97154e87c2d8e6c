/* Referring segmentation against exact masks. */
#include <stdlib.h>
#include <string.h>

#include "eval/evaluate_parts.h"
#include "eval/metrics.h"

enum { BATCH = 16 }; /* scenes */

/* A referring text and its truth. */
typedef struct {
    int64_t scene;
    const char *text;
    const unsigned char *mask;
} sample;

typedef struct {
    const vv_evaluation *e;
    vv_texts *texts;
    int64_t n, pixels;
    sample *at;
    unsigned char *predicted; /* [pixels] */
} job;

static vv_status collect(job *j, vv_error *err)
{
    for (int64_t i = 0; i < j->e->scenes->n; i++) j->n += j->e->scenes->at[i].n_referring;
    if (j->n == 0) return vv_fail(err, VV_USAGE, "segmentation: expected referring texts in the scenes; found none");
    j->at = vv_calloc(j->n, sizeof *j->at);
    j->predicted = vv_calloc(j->pixels, 1);
    if (!j->at || !j->predicted) return vv_no_memory(err, "masks");
    j->n = 0;
    for (int64_t i = 0; i < j->e->scenes->n; i++) {
        const vv_scene *s = &j->e->scenes->at[i];
        for (int64_t k = 0; k < s->n_referring; k++)
            j->at[j->n++] = (sample){i, s->referring[k].text, s->object[s->referring[k].object].mask};
    }
    return VV_OK;
}

/* The text of another scene that sample k is given instead: the first different one from half of all samples away. Its own when there is
 * none. */
static const char *shuffled(const job *j, int64_t k)
{
    for (int64_t i = 0; i < j->n; i++) {
        const sample *other = &j->at[(k + j->n / 2 + i) % j->n];
        if (other->scene != j->at[k].scene && strcmp(other->text, j->at[k].text)) return other->text;
    }
    return j->at[k].text;
}

/* ---- the head -------------------------------------------------------------------------------------------------------------- */
/* logits [n,pixels] of samples first .. first+n, which are of scenes from `scene` on */
static vv_status predict(const job *j, vv_tensor *h, int64_t scene, int64_t scenes, int64_t first, int64_t n,
                         int shuffle, vv_real *logits, vv_error *err)
{
    const vv_mask *mask = j->e->model->mask;
    const int64_t dim = mask->config.text_dim, side = j->e->size / j->e->model->vit->config.patch_size;
    const int64_t shape[2] = {n, dim};
    vv_tape *t = j->e->tape;
    vv_real *text = vv_calloc(n * dim, sizeof *text);
    int32_t *image_of = vv_calloc(n, sizeof *image_of);
    vv_status s = text && image_of ? VV_OK : vv_no_memory(err, "texts");
    for (int64_t i = 0; s == VV_OK && i < n; i++) {
        const vv_real *vector;
        s = vv_texts_find(j->texts, shuffle ? shuffled(j, first + i) : j->at[first + i].text, &vector, err);
        if (s == VV_OK) memcpy(text + i * dim, vector, (size_t)dim * sizeof *text);
        image_of[i] = (int32_t)(j->at[first + i].scene - scene);
    }
    if (s == VV_OK) {
        vv_tensor *x =
            vv_mask_forward(t, mask, h, scenes, side, side, vv_input(t, "text", VV_REALS, 2, shape, text), image_of, n);
        x = vv_mask_resize(t, "masks", x, j->e->size, j->e->size);
        s = vv_tape_status(t, err);
        if (s == VV_OK) vvb_download(logits, vv_f(x), x->n * (int64_t)sizeof *logits);
    }
    free(text);
    free(image_of);
    return s;
}

static void add(const job *j, vv_mask_counts *to, const vv_real *logits, int64_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        for (int64_t p = 0; p < j->pixels; p++) j->predicted[p] = logits[i * j->pixels + p] > 0;
        vv_mask_add(to, j->predicted, j->at[first + i].mask, j->pixels);
    }
}

/* samples first .. first+n of scenes scene .. scene+scenes, with their texts and with others */
static vv_status batch(const job *j, int64_t scene, int64_t scenes, int64_t first, int64_t n, vv_mask_counts to[2],
                       vv_error *err)
{
    vv_real *logits = vv_calloc(vv_mul(n, j->pixels), sizeof *logits);
    vv_tensor *h = NULL;
    vv_status s = logits ? vv_eval_tower(j->e, scene, scenes, &j->e->model->mask->config.layer, 1, &h, err)
                         : vv_no_memory(err, "masks");
    for (int shuffle = 0; s == VV_OK && shuffle < 2; shuffle++) {
        s = predict(j, h, scene, scenes, first, n, shuffle, logits, err);
        if (s == VV_OK) add(j, &to[shuffle], logits, first, n);
    }
    vv_tape_reset(j->e->tape);
    free(logits);
    return s;
}

/* ---- constants ------------------------------------------------------------------------------------------------------------- */
typedef struct {
    int64_t count, pixel;
} place;

static int frequent_first(const void *a, const void *b)
{
    const place *x = a, *y = b;
    return x->count != y->count ? (x->count < y->count ? 1 : -1) : (x->pixel > y->pixel) - (x->pixel < y->pixel);
}

/* the mask of the header into j->predicted; returns its pixels */
static int64_t best_constant(const job *j, place *at)
{
    double area = 0, both = 0, best = -1;
    int64_t size = 0;
    for (int64_t p = 0; p < j->pixels; p++) at[p] = (place){0, p};
    for (int64_t k = 0; k < j->n; k++)
        for (int64_t p = 0; p < j->pixels; p++) at[p].count += j->at[k].mask[p] != 0;
    qsort(at, (size_t)j->pixels, sizeof *at, frequent_first);
    for (int64_t p = 0; p < j->pixels; p++) area += (double)at[p].count;
    for (int64_t p = 0; p < j->pixels; p++) {
        both += (double)at[p].count;
        const double iou = both / ((double)j->n * (double)(p + 1) + area - both);
        if (iou > best) best = iou, size = p + 1;
    }
    for (int64_t p = 0; p < j->pixels; p++) j->predicted[at[p].pixel] = p < size;
    return size;
}

static vv_eval_masks finish(const vv_mask_counts *c)
{
    return (vv_eval_masks){vv_ciou(c), vv_giou(c), vv_precision_half(c)};
}

/* the mask in j->predicted as the answer to everything */
static vv_eval_masks always(const job *j)
{
    vv_mask_counts c = {0};
    for (int64_t k = 0; k < j->n; k++) vv_mask_add(&c, j->predicted, j->at[k].mask, j->pixels);
    return finish(&c);
}

static vv_status constants(const job *j, vv_error *err)
{
    vv_eval_result *r = j->e->r;
    place *at = vv_calloc(j->pixels, sizeof *at);
    if (!at) return vv_no_memory(err, "masks");
    memset(j->predicted, 0, (size_t)j->pixels);
    r->segmentation.nothing = always(j);
    memset(j->predicted, 1, (size_t)j->pixels);
    r->segmentation.whole = always(j);
    r->segmentation.share = (double)best_constant(j, at) / (double)j->pixels;
    r->segmentation.best_constant = always(j);
    free(at);
    return VV_OK;
}

/* ---- all of it ------------------------------------------------------------------------------------------------------------- */
vv_status vv_eval_run_masks(const vv_evaluation *e, vv_texts *texts, vv_error *err)
{
    job j = {.e = e, .texts = texts, .pixels = e->size * e->size};
    vv_mask_counts counts[2] = {{0}, {0}};
    vv_status s = collect(&j, err);
    for (int64_t scene = 0, first = 0; s == VV_OK && scene < e->scenes->n; scene += BATCH) {
        const int64_t scenes = vv_min(BATCH, e->scenes->n - scene);
        int64_t n = 0;
        while (first + n < j.n && j.at[first + n].scene < scene + scenes) n++;
        if (n) s = batch(&j, scene, scenes, first, n, counts, err);
        first += n;
        vv_progress("segmentation", scene + scenes, e->scenes->n);
    }
    if (s == VV_OK) s = constants(&j, err);
    e->r->segmentation.head = finish(&counts[0]);
    e->r->segmentation.shuffled_texts = finish(&counts[1]);
    e->r->samples = j.n;
    free(j.at);
    free(j.predicted);
    return s;
}
