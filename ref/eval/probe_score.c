/* Predictions of patches against the truth of pixels. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "eval/metrics.h"
#include "eval/probe_parts.h"

/* A picture's truth, and room for a prediction. */
typedef struct {
    int64_t n; /* pixels */
    double *d, *z;
    unsigned char *valid, *object, *class;
} picture;

static void picture_free(picture *p)
{
    free(p->d);
    free(p->valid);
    *p = (picture){0};
}

static vv_status picture_new(picture *p, int64_t n, vv_error *err)
{
    *p = (picture){.n = n, .d = vv_calloc(2 * n, sizeof *p->d), .valid = vv_calloc(3 * n, 1)};
    if (!p->d || !p->valid) {
        picture_free(p);
        return vv_no_memory(err, "maps");
    }
    p->z = p->d + n;
    p->object = p->valid + n;
    p->class = p->object + n;
    return VV_OK;
}

/* each patch's number for all its pixels */
static void enlarge(double *z, const double *prediction, const vv_probe_set *s)
{
    for (int64_t y = 0; y < s->size; y++)
        for (int64_t x = 0; x < s->size; x++) z[y * s->size + x] = prediction[y / s->patch * s->gw + x / s->patch];
}

/* ---- depth ----------------------------------------------------------------------------------------------------------------- */
typedef struct {
    vv_average rmse, rmse_objects, rmse_log, abs_rel;
    int64_t pairs, correct;
} depth_sums;

enum { RMSE = 1, OBJECTS = 2, LOG = 4, RELATIVE = 8, ALL = 15 };

/* the measures named by bits of the map p->z; order goes with those of objects */
static void add_depth(depth_sums *sums, const picture *p, const vv_scene *scene, int measures)
{
    const vv_depth_errors e = vv_depth_compare(p->z, p->d, p->valid, p->n);
    if (measures & RMSE) vv_average_add(&sums->rmse, e.rmse);
    if (measures & LOG) vv_average_add(&sums->rmse_log, e.rmse_log);
    if (measures & RELATIVE) vv_average_add(&sums->abs_rel, e.abs_rel);
    if (!(measures & OBJECTS)) return;
    int64_t pairs = 0;
    vv_average_add(&sums->rmse_objects, vv_depth_compare(p->z, p->d, p->object, p->n).rmse);
    sums->correct += vv_scene_order(scene, p->z, &pairs);
    sums->pairs += pairs;
}

static void finish_depth(vv_probe_row *row, const depth_sums *sums)
{
    row->rmse = vv_average_of(&sums->rmse);
    row->rmse_objects = vv_average_of(&sums->rmse_objects);
    row->rmse_log = vv_average_of(&sums->rmse_log);
    row->abs_rel = vv_average_of(&sums->abs_rel);
    row->order = sums->pairs ? (double)sums->correct / (double)sums->pairs : (double)NAN;
}

/* ---- both tasks ------------------------------------------------------------------------------------------------------------ */
static void finish_classes(vv_probe_row *row, const vv_class_counts *c)
{
    row->miou = vv_mean_iou(c);
    row->accuracy = vv_pixel_accuracy(c);
    for (int k = 0; k < VV_SYNTH_CLASSES; k++) row->iou[k] = vv_class_iou(c, k);
}

vv_status vv_probe_score(vv_probe_row *row, vv_probe_task task, const vv_probe_set *s, const vv_scenes *truth,
                         int64_t *pairs, vv_error *err)
{
    depth_sums sums = {.pairs = 0};
    vv_class_counts counts = {.classes = VV_SYNTH_CLASSES};
    picture p;
    VV_TRY(picture_new(&p, s->size * s->size, err));
    for (int64_t i = 0; i < truth->n; i++) {
        const vv_scene *scene = &truth->at[i];
        enlarge(p.z, row->prediction + i * s->cells, s);
        if (task == VV_PROBE_DEPTH) {
            vv_scene_truth(scene, p.d, p.valid, p.object);
            add_depth(&sums, &p, scene, ALL);
        } else {
            for (int64_t k = 0; k < p.n; k++) p.class[k] = (unsigned char)p.z[k];
            vv_class_add(&counts, p.class, scene->classes, p.n);
        }
    }
    if (task == VV_PROBE_DEPTH) finish_depth(row, &sums);
    else finish_classes(row, &counts);
    *pairs = sums.pairs;
    picture_free(&p);
    return VV_OK;
}

/* ---- the ceiling ----------------------------------------------------------------------------------------------------------- */
static int rising(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The number z that minimises sum |z - d| / d: the median of d with weights 1 / d. */
static double relative_median(double *d, int64_t n)
{
    double all = 0, below = 0;
    int64_t i = 0;
    qsort(d, (size_t)n, sizeof *d, rising);
    for (int64_t k = 0; k < n; k++) all += 1 / d[k];
    for (; i < n - 1; i++)
        if ((below += 1 / d[i]) >= all / 2) break;
    return d[i];
}

/* the best number of patch c for one measure; list [patch^2] is room */
static double optimum(const picture *p, const vv_probe_set *s, int64_t c, int measure, double *list)
{
    double sum = 0, n = 0, object_sum = 0, objects = 0;
    for (int64_t y = c / s->gw * s->patch; y < (c / s->gw + 1) * s->patch; y++)
        for (int64_t x = c % s->gw * s->patch; x < (c % s->gw + 1) * s->patch; x++) {
            const int64_t at = y * s->size + x;
            if (!p->valid[at]) continue;
            list[(int64_t)n++] = p->d[at];
            sum += measure == LOG ? vv_log(p->d[at]) : p->d[at];
            if (p->object[at]) object_sum += p->d[at], objects++;
        }
    if (n == 0) return 1;
    if (measure == RELATIVE) return relative_median(list, (int64_t)n);
    if (measure == OBJECTS && objects > 0) return object_sum / objects;
    return measure == LOG ? vv_exp(sum / n) : sum / n;
}

static void best_depth(vv_probe_row *row, const vv_probe_set *s, const vv_scenes *truth, picture *p, double *list,
                       double *map)
{
    static const int measure[4] = {RMSE, OBJECTS, LOG, RELATIVE};
    depth_sums sums = {.pairs = 0};
    for (int64_t i = 0; i < truth->n; i++) {
        vv_scene_truth(&truth->at[i], p->d, p->valid, p->object);
        for (int m = 0; m < 4; m++) {
            for (int64_t c = 0; c < s->cells; c++) map[c] = optimum(p, s, c, measure[m], list);
            if (m == 0) memcpy(row->prediction + i * s->cells, map, (size_t)s->cells * sizeof *map);
            enlarge(p->z, map, s);
            add_depth(&sums, p, &truth->at[i], measure[m]);
        }
    }
    finish_depth(row, &sums);
}

vv_status vv_probe_ceiling(vv_probe_row *row, vv_probe_task task, const vv_probe_set *s, const vv_scenes *truth,
                           vv_error *err)
{
    int64_t pairs;
    if (task == VV_PROBE_SEGMENTATION) {
        for (int64_t i = 0; i < s->n * s->cells; i++) row->prediction[i] = s->label[i];
        return vv_probe_score(row, task, s, truth, &pairs, err);
    }
    picture p;
    VV_TRY(picture_new(&p, s->size * s->size, err));
    double *list = vv_calloc(s->patch * s->patch + s->cells, sizeof *list);
    if (list) best_depth(row, s, truth, &p, list, list + s->patch * s->patch);
    picture_free(&p);
    free(list);
    return list ? VV_OK : vv_no_memory(err, "maps");
}
