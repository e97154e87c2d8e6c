/* Linear probes on the scenes that are shown: depth and classes that a linear map reads from the base tower and from the trained one, side
 * by side (eval/probe.h; fitted on scenes of their own). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/elementary.h"
#include "eval/colormap.h"
#include "eval/report_parts.h"

static const vv_probe_task task_of[VV_REPORT_PROBES] = {VV_PROBE_DEPTH, VV_PROBE_SEGMENTATION};

void vv_probed_free(vv_probed *p)
{
    for (int k = 0; k < VV_REPORT_PROBES; k++) vv_probe_free(&p->result[k]);
    *p = (vv_probed){0};
}

vv_status vv_probed_make(vv_probed *p, const vv_model *m, const vv_synth_options *scenes, int64_t n, vv_error *err)
{
    const int64_t unit = m->preprocess.patch_size * m->preprocess.merge_size;
    *p = (vv_probed){0};
    if (scenes->size % unit) return VV_OK; /* no size that a probe takes */
    for (int k = 0; k < VV_REPORT_PROBES; k++) {
        vv_probe_options o = vv_probe_default();
        o.scenes = *scenes;
        o.test = n;
        o.tower_alone = 1;
        const vv_status s = vv_probe(&p->result[k], m, task_of[k], &o, err);
        if (s != VV_OK) vv_probed_free(p);
        VV_TRY(s);
    }
    p->present = 1;
    return VV_OK;
}

/* the prediction of scene i: a number for each patch */
static const double *prediction(const vv_probed *p, int k, int64_t i)
{
    const vv_probe_result *r = &p->result[k];
    return r->row[VV_PROBE_TOWER].prediction + i * r->gh * r->gw;
}

/* Disparities of the patches. A picture's metres are multiplied by what makes the mean of their logs the truth's, so that the order stays
 * and the colours are used. */
static vv_status depth_picture(vv_image *image, const double *metres, const vv_scene *s, const double limit[2],
                               vv_error *err)
{
    const int64_t h = s->image.h, w = s->image.w, cells = image->h * image->w;
    double sum = 0, n = 0;
    float *v = vv_calloc(cells, sizeof *v);
    if (!v) return vv_no_memory(err, "report");
    for (int64_t i = 0; i < h * w; i++) {
        const double z = metres[i / w * image->h / h * image->w + i % w * image->w / w];
        if (!isfinite(s->depth[i])) continue;
        sum += vv_log((double)s->depth[i] / z);
        n++;
    }
    const double factor = n > 0 ? vv_exp(sum / n) : 1;
    for (int64_t i = 0; i < cells; i++) v[i] = (float)(1 / (factor * metres[i]));
    vv_colormap_draw(image->rgb, v, cells, limit[0], limit[1]);
    free(v);
    return VV_OK;
}

static vv_status predicted(vv_page *page, const vv_probed *p, int k, int64_t i, const vv_scene *scene,
                           const double limit[2], const char *caption, vv_error *err)
{
    const double *v = prediction(p, k, i);
    vv_image image;
    VV_TRY(vv_image_new(&image, p->result[k].gh, p->result[k].gw, err));
    vv_status s = VV_OK;
    if (task_of[k] == VV_PROBE_DEPTH) s = depth_picture(&image, v, scene, limit, err);
    else
        for (int64_t c = 0; c < image.h * image.w; c++) vv_colour_of((int64_t)v[c], image.rgb + 3 * c);
    if (s == VV_OK) s = vv_page_figure(page, &image, "token", caption, err);
    vv_image_free(&image);
    return s;
}

static vv_status true_classes(vv_page *page, const vv_scene *s, vv_error *err)
{
    vv_image image;
    VV_TRY(vv_image_new(&image, s->image.h, s->image.w, err));
    for (int64_t i = 0; i < image.h * image.w; i++) vv_colour_of(s->classes[i], image.rgb + 3 * i);
    const vv_status st = vv_page_figure(page, &image, "map", "true classes", err);
    vv_image_free(&image);
    return st;
}

vv_status vv_probed_draw(vv_page *page, const vv_probed *base, const vv_probed *own, const vv_scene *scene, int64_t i,
                         vv_error *err)
{
    static const char *const name[VV_REPORT_PROBES] = {"depth", "classes"};
    const int64_t n = scene->image.h * scene->image.w;
    double limit[2] = {HUGE_VAL, -HUGE_VAL};
    char caption[80];
    if (!own->present) return VV_OK;
    for (int64_t k = 0; k < n; k++) {
        const double v = 1 / (double)scene->depth[k]; /* no fmin: gcc 12 for arm64 breaks down on it */
        if (v < limit[0]) limit[0] = v;
        if (v > limit[1]) limit[1] = v;
    }
    vv_page_put(page, "<div class=\"row\">\n");
    for (int k = 0; k < VV_REPORT_PROBES; k++) {
        if (task_of[k] == VV_PROBE_SEGMENTATION) VV_TRY(true_classes(page, scene, err));
        snprintf(caption, sizeof caption, "linear probe of %s, base tower", name[k]);
        if (base->present) VV_TRY(predicted(page, base, k, i, scene, limit, caption, err));
        snprintf(caption, sizeof caption, "linear probe of %s%s", name[k], base->present ? ", trained tower" : "");
        VV_TRY(predicted(page, own, k, i, scene, limit, caption, err));
    }
    vv_page_put(page, "</div>\n");
    return VV_OK;
}

void vv_probed_introduce(vv_page *page, const vv_probed *base, const vv_probed *own)
{
    if (!own->present) {
        vv_page_put(page,
                    "<p>No linear probes are shown: the scenes have no size that the tower reads as it is.</p>\n");
        return;
    }
    vv_page_put(
        page,
        "<p>Linear probes: depth (drawn as disparity, brought to the picture's mean log depth) and classes, as one "
        "linear map reads them from each patch's features, fitted on %lld other scenes%s.</p>\n<p>",
        (long long)own->result[0].options.train,
        base->present ? ": look at whether the trained tower's are sharper than the base's" : "");
    for (int k = 0; k < VV_SYNTH_CLASSES; k++) {
        unsigned char rgb[3];
        vv_colour_of(k, rgb);
        vv_page_put(
            page,
            "<span class=\"key\"><svg viewBox=\"0 0 16 7\" aria-hidden=\"true\"><rect width=\"16\" height=\"7\" "
            "fill=\"#%02x%02x%02x\"/></svg>%s</span> ",
            rgb[0], rgb[1], rgb[2], vv_synth_class_name[k]);
    }
    vv_page_put(page, "</p>\n");
}
