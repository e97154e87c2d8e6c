/* Held-out scenes: what the model sees, and what it says, beside the truth. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/colormap.h"
#include "eval/draw.h"
#include "eval/metrics.h"
#include "eval/pca.h"
#include "eval/probe.h"
#include "eval/report_parts.h"
#include "io/file.h"
#include "train/texts.h"

/* ---- which scenes, which parts ----------------------------------------------------------------------------------------------------- */
static int seed_used(const vv_train_config *c, uint64_t seed)
{
    for (int64_t i = 0; i < c->n_stages; i++)
        for (int k = 0; k < VV_TASKS; k++)
            for (int64_t s = 0; s < c->stage[i].task[k].n_sources; s++) {
                const vv_source *of = &c->stage[i].task[k].source[s];
                if (!of->manifest && of->scenes.seed == seed) return 1;
            }
    return 0;
}

/* the stage that the model is of, or the last one; NULL without a configuration */
static const vv_stage_config *stage_of(const vv_report *r)
{
    return r->has_config ? &r->config.stage[r->stage >= 0 ? r->stage : r->config.n_stages - 1] : NULL;
}

/* like those that the stage was trained on, of a seed that nothing was trained on: the probes' where it can be */
static vv_synth_options scenes_of(const vv_report *r)
{
    static const vv_task order[VV_TASKS] = {VV_TASK_DEPTH, VV_TASK_SEGMENTATION, VV_TASK_CAPTION};
    const vv_stage_config *stage = stage_of(r);
    vv_synth_options o = vv_synth_default();
    for (int k = VV_TASKS - 1; stage && k >= 0; k--)
        for (int64_t s = stage->task[order[k]].n_sources - 1; s >= 0; s--)
            if (!stage->task[order[k]].source[s].manifest) o = stage->task[order[k]].source[s].scenes;
    o.seed = VV_PROBE_SEED;
    while (r->has_config && seed_used(&r->config, o.seed)) o.seed++;
    return o;
}

/* whether the part learnt something until the model's stage; a model without a run is taken as it is */
static int trained(const vv_report *r, int part)
{
    if (!r->has_config || r->stage < 0) return 1;
    for (int64_t i = 0; i <= r->stage; i++)
        if (r->config.stage[i].train & part) return 1;
    return 0;
}

/* the size that dense heads were trained at, or the nearest one that the tower takes */
static int64_t size_of(const vv_report *r, const vv_model *m, int64_t pixels)
{
    const vv_stage_config *stage = stage_of(r);
    const int64_t unit = m->preprocess.patch_size * m->preprocess.merge_size;
    for (int k = VV_TASK_DEPTH; stage && k <= VV_TASK_SEGMENTATION; k++)
        if (stage->task[k].present) return stage->task[k].size[0];
    return vv_max((pixels + unit / 2) / unit, 1) * unit;
}

/* what referring expressions were embedded with; NULL when nothing says so, or its folder is gone */
static vv_status open_texts(vv_texts **texts, const vv_report *r, const vv_model *m, vv_error *err)
{
    const vv_stage_config *stage = stage_of(r);
    const vv_task_config *t = stage ? &stage->task[VV_TASK_SEGMENTATION] : NULL;
    *texts = NULL;
    if (!t || !t->present) return VV_OK;
    const int64_t dim = m->mask->config.text_dim,
                  at = t->embeddings || strchr(t->text_encoder, '/') ? -1 : vv_stage_find(&r->config, t->text_encoder);
    if (t->embeddings) return vv_texts_open(texts, t->embeddings, dim, err);
    char *folder =
        at < 0 ? *t->text_encoder == '/' ? vv_strdup(t->text_encoder) : vv_path_join(r->config.folder, t->text_encoder)
        : vv_stage_skipped(&r->config, &r->config.stage[at])
            ? vv_strdup(r->config.init_llm ? r->config.init_llm : "")
            : vv_asprintf("%s/%s/model", r->options->run, t->text_encoder);
    if (!folder) return vv_no_memory(err, "report");
    const vv_status s = vv_texts_encoder(texts, folder, dim, err);
    free(folder);
    return s;
}

static vv_status open_predictor(vv_predictor *p, const vv_report *r, int64_t pixels, vv_error *err)
{
    const vv_stage_config *stage = stage_of(r);
    *p = (vv_predictor){0};
    VV_TRY(vv_model_load(&p->model, r->model, VV_ALL_PARTS, err));
    VV_TRY(vv_model_need(&p->model, VV_VISION, r->model, err));
    if (!(p->tape = vv_tape_new(NULL, 0))) return vv_no_memory(err, "report");
    p->size = size_of(r, &p->model, pixels);
    p->max_pixels = stage ? stage->task[VV_TASK_CAPTION].max_pixels : 0;
    p->depth = p->model.depth && trained(r, VV_DEPTH);
    p->language = p->model.llm && p->model.projector && p->model.tokenizer && trained(r, VV_PROJECTOR);
    return p->model.mask && trained(r, VV_MASK) ? open_texts(&p->texts, r, &p->model, err) : VV_OK;
}

/* ---- features ---------------------------------------------------------------------------------------------------------------------- */
/* One picture for each scene, all in the colours of one basis. */
static vv_status pca(vv_image *out, const vv_shown *s, int64_t n, int64_t C, vv_error *err)
{
    int64_t N = 0, at = 0;
    for (int64_t i = 0; i < n; i++) N += s[i].grid.h * s[i].grid.w;
    double *x = vv_calloc(vv_mul(N, C), sizeof *x);
    unsigned char *rgb = vv_calloc(N, 3);
    vv_status st = x && rgb ? VV_OK : vv_no_memory(err, "principal components");
    for (int64_t i = 0; st == VV_OK && i < n; i++)
        for (int64_t k = 0; k < s[i].grid.h * s[i].grid.w * C; k++) x[at++] = (double)s[i].features[k];
    if (st == VV_OK) st = vv_pca_image(x, N, C, rgb, err);
    at = 0;
    for (int64_t i = 0; st == VV_OK && i < n; i++) {
        const int64_t cells = s[i].grid.h * s[i].grid.w;
        st = vv_image_new(&out[i], s[i].grid.h, s[i].grid.w, err);
        if (st == VV_OK) memcpy(out[i].rgb, rgb + 3 * at, (size_t)(3 * cells));
        at += cells;
    }
    free(x);
    free(rgb);
    return st;
}

/* All that is shown. */
typedef struct {
    vv_shown *at;         /* [n] */
    vv_image *own, *base; /* [n] features of the model's tower and of the base's */
    vv_probed probe, base_probe;
    int64_t n;
    vv_synth_options options;
} scenes;

/* the base's tower on the same scenes */
static vv_status see_base(scenes *z, const vv_report *r, int64_t size, vv_error *err)
{
    const int64_t n = z->n;
    vv_predictor p = {.size = size};
    vv_shown *of = vv_calloc(n, sizeof *of);
    vv_status st = of ? vv_model_load(&p.model, r->base, VV_VISION, err) : vv_no_memory(err, "report");
    if (st == VV_OK) st = vv_model_need(&p.model, VV_VISION, r->base, err);
    if (st == VV_OK && !(p.tape = vv_tape_new(NULL, 0))) st = vv_no_memory(err, "report");
    for (int64_t i = 0; st == VV_OK && i < n; i++) {
        of[i].scene.image = z->at[i].scene.image; /* lent */
        st = vv_predict_tower(&p, &of[i], err);
    }
    if (st == VV_OK) st = pca(z->base, of, n, p.model.vit->config.embed_dim, err);
    if (st == VV_OK) st = vv_probed_make(&z->base_probe, &p.model, &z->options, n, err);
    for (int64_t i = 0; of && i < n; i++) free(of[i].features);
    free(of);
    vv_predictor_free(&p);
    return st;
}

/* ---- pictures ----------------------------------------------------------------------------------------------------------------------- */
static vv_status colours(vv_page *p, const float *v, int64_t side, const double limit[2], const char *caption,
                         vv_error *err)
{
    vv_image image;
    VV_TRY(vv_image_new(&image, side, side, err));
    vv_colormap_draw(image.rgb, v, side * side, limit[0], limit[1]);
    const vv_status s = vv_page_figure(p, &image, "map", caption, err);
    vv_image_free(&image);
    return s;
}

static const double NEAREST = 0.1; /* metres; as in an evaluation (eval/evaluate.h), so is the alignment */

/* Numbers of a depth map: all [n] with n = size size. */
typedef struct {
    double *truth, *depth, *predicted, *z; /* disparity and depth; disparity predicted, aligned depth */
    float *shown_truth, *shown;            /* disparities: true, predicted and aligned */
    unsigned char *valid;                  /* not the sky */
} maps;

static void maps_free(maps *m)
{
    free(m->truth);
    free(m->depth);
    free(m->predicted);
    free(m->z);
    free(m->shown_truth);
    free(m->shown);
    free(m->valid);
}

/* the truth by nearest samples at the size of the prediction, as in training; limits: of the true disparity */
static vv_status maps_make(maps *m, const vv_shown *s, double limit[2], vv_error *err)
{
    const int64_t n = s->size * s->size;
    double scale = 0, shift = 0;
    *m = (maps){vv_calloc(n, sizeof(double)),
                vv_calloc(n, sizeof(double)),
                vv_calloc(n, sizeof(double)),
                vv_calloc(n, sizeof(double)),
                vv_calloc(n, sizeof(float)),
                vv_calloc(n, sizeof(float)),
                vv_calloc(n, 1)};
    if (!m->truth || !m->depth || !m->predicted || !m->z || !m->shown_truth || !m->shown || !m->valid)
        return vv_no_memory(err, "depth");
    limit[0] = HUGE_VAL;
    limit[1] = -HUGE_VAL;
    for (int64_t i = 0; i < n; i++) {
        const int64_t y = (2 * (i / s->size) + 1) * s->scene.image.h / (2 * s->size),
                      x = (2 * (i % s->size) + 1) * s->scene.image.w / (2 * s->size);
        m->depth[i] = (double)s->scene.depth[y * s->scene.image.w + x];
        m->valid[i] = isfinite(m->depth[i]) != 0;
        m->truth[i] = 1 / m->depth[i];
        m->predicted[i] = (double)s->disparity[i];
        limit[0] = fmin(limit[0], m->truth[i]);
        limit[1] = fmax(limit[1], m->truth[i]);
    }
    (void)vv_align(&scale, &shift, m->predicted, m->truth, m->valid, n);
    for (int64_t i = 0; i < n; i++) {
        m->shown_truth[i] = (float)m->truth[i];
        m->shown[i] = (float)(scale * m->predicted[i] + shift);
    }
    vv_depth_from_disparity(m->z, m->predicted, n, scale, shift, NEAREST, VV_SYNTH_FAR);
    return VV_OK;
}

static vv_status draw_depth(vv_page *p, const vv_shown *s, vv_error *err)
{
    maps m;
    double limit[2] = {0, 0};
    vv_status st = maps_make(&m, s, limit, err);
    if (st == VV_OK) st = colours(p, m.shown_truth, s->size, limit, "true disparity", err);
    if (st == VV_OK) {
        const vv_depth_errors e = vv_depth_compare(m.z, m.depth, m.valid, s->size * s->size);
        char caption[120];
        snprintf(caption, sizeof caption, "predicted, aligned: AbsRel %.3f, %.0f %% within a quarter", e.abs_rel,
                 100 * e.delta1);
        st = colours(p, m.shown, s->size, limit, caption, err);
    }
    maps_free(&m);
    return st;
}

/* the inner edge of the mask in black and white dots, to be seen on everything */
static void outline(vv_image *image, const unsigned char *mask)
{
    for (int64_t y = 0; y < image->h; y++)
        for (int64_t x = 0; x < image->w; x++) {
            const unsigned char *at = mask + y * image->w + x;
            const int inside = x > 0 && x < image->w - 1 && y > 0 && y < image->h - 1 && at[-1] && at[1] &&
                               at[-image->w] && at[image->w];
            if (*at && !inside) memset(image->rgb + 3 * (y * image->w + x), (x + y) / 2 % 2 ? 255 : 0, 3);
        }
}

static vv_status draw_mask(vv_page *p, const vv_shown *s, int64_t k, vv_error *err)
{
    static const unsigned char green[3] = {0, 158, 115};
    const vv_synth_referring *r = &s->scene.referring[s->referring[k]];
    const unsigned char *truth = s->scene.object[r->object].mask;
    vv_mask_counts c = {0};
    char caption[sizeof r->text + 20];
    vv_image image;
    VV_TRY(vv_image_new(&image, s->scene.image.h, s->scene.image.w, err));
    memcpy(image.rgb, s->scene.image.rgb, (size_t)(3 * image.h * image.w));
    vv_draw_mask(&image, s->mask[k], green);
    outline(&image, truth);
    vv_mask_add(&c, s->mask[k], truth, image.h * image.w);
    snprintf(caption, sizeof caption, "%s: IoU %.2f", r->text, vv_giou(&c));
    const vv_status st = vv_page_figure(p, &image, "map", caption, err);
    vv_image_free(&image);
    return st;
}

/* ---- a scene ------------------------------------------------------------------------------------------------------------------------ */
static void words(vv_page *p, const char *asked, const char *truth, const char *answer, int judged)
{
    const char *cells[3] = {asked, truth, answer};
    vv_page_put(p, "<tr>");
    for (int k = 0; k < 3; k++) {
        vv_page_put(p, "<td>");
        vv_page_text(p, cells[k]);
        vv_page_put(p, "</td>");
    }
    vv_page_put(p, "<td>%s</td></tr>\n", !judged ? "" : strcmp(truth, answer) ? "wrong" : "right");
}

static vv_status draw_scene(vv_page *p, const scenes *z, int64_t number, int has_base, vv_error *err)
{
    const vv_shown *s = &z->at[number];
    vv_page_put(p, "<div class=\"scene\">\n<h3>Scene %lld%s</h3>\n<div class=\"row\">\n", (long long)number,
                s->scene.closeup ? ", a close-up" : "");
    VV_TRY(vv_page_figure(p, &s->scene.image, "map", "picture", err));
    if (has_base) VV_TRY(vv_page_figure(p, &z->base[number], "token", "features, base tower", err));
    VV_TRY(vv_page_figure(p, &z->own[number], "token", has_base ? "features, trained tower" : "features", err));
    if (s->disparity) VV_TRY(draw_depth(p, s, err));
    vv_page_put(p, "</div>\n");
    VV_TRY(vv_probed_draw(p, &z->base_probe, &z->probe, &s->scene, number, err));
    if (s->masks > 0 && s->mask[0]) {
        vv_page_put(p, "<div class=\"row\">\n");
        for (int64_t k = 0; k < s->masks; k++) VV_TRY(draw_mask(p, s, k, err));
        vv_page_put(p, "</div>\n");
    }
    if (s->caption) {
        vv_page_put(p, "<table><tr><th>asked</th><th>truth</th><th>model</th><th></th></tr>\n");
        words(p, VV_CAPTION_PROMPT, s->scene.caption, s->caption, 0);
        for (int64_t k = 0; k < s->scene.n_questions; k++)
            words(p, s->scene.question[k].question, s->scene.question[k].answer, s->answer[k], 1);
        vv_page_put(p, "</table>\n");
    }
    vv_page_put(p, "</div>\n");
    return VV_OK;
}

/* ---- the section ---------------------------------------------------------------------------------------------------------------------- */
static vv_status introduce(vv_page *p, const vv_report *r, const vv_predictor *m, const scenes *z, vv_error *err)
{
    vv_image bar;
    vv_page_put(p, "<p>Scenes of seed %llu, which no source of the run has, through ",
                (unsigned long long)z->options.seed);
    vv_page_text(p, r->model);
    if (r->base) {
        vv_page_put(p, "; the base tower is that of ");
        vv_page_text(p, r->base);
    }
    vv_page_put(p,
                ". Features of the last block are drawn as their first three principal components, one basis for all "
                "pictures of a tower: look at whether things, and only things, have colours of their own.</p>\n");
    if (m->depth) {
        vv_page_put(
            p, "<p>Disparity (1 / depth) is predicted up to scale and shift; both are fitted to the truth by least "
               "squares, and truth and prediction have the same colours: look at the edges and the order of "
               "things.</p>\n");
        VV_TRY(vv_image_new(&bar, 1, VV_COLORMAP, err));
        unsigned char map[VV_COLORMAP][3];
        vv_colormap(map);
        memcpy(bar.rgb, map, sizeof map);
        vv_page_put(p, "<div style=\"max-width:15rem;font-size:.8rem\">");
        const vv_status s = vv_page_image(p, &bar, "scale", "colours from far to near", err);
        vv_image_free(&bar);
        VV_TRY(s);
        vv_page_put(p, "far <span style=\"float:right\">near</span></div>\n");
    } else vv_page_put(p, "<p>No depth is shown: the model has no depth head that trained.</p>\n");
    vv_probed_introduce(p, &z->base_probe, &z->probe);
    if (m->texts)
        vv_page_put(
            p, "<p>Masks: green is predicted for the words below, the dotted outline is the truth; look at whether "
               "the words, not the size of a thing, decide.</p>\n");
    else
        vv_page_put(p,
                    "<p>No masks are shown: the model has no mask head that trained, or nothing tells how texts were "
                    "embedded.</p>\n");
    if (m->language)
        vv_page_put(p, "<p>Words are generated greedily; an answer is right when it is the true one letter by "
                       "letter.</p>\n");
    else vv_page_put(p, "<p>No captions are shown: the model has no language model and trained projector.</p>\n");
    return VV_OK;
}

static vv_status draw_all(vv_page *p, const vv_report *r, vv_predictor *m, scenes *z, vv_error *err)
{
    for (int64_t i = 0; i < z->n; i++) {
        VV_TRY(vv_synth_scene(&z->at[i].scene, &z->options, VV_PROBE_TEST + i, err));
        VV_TRY(vv_predict(m, &z->at[i], err));
        vv_progress("scenes", i + 1, z->n);
    }
    VV_TRY(pca(z->own, z->at, z->n, m->model.vit->config.embed_dim, err));
    VV_TRY(vv_probed_make(&z->probe, &m->model, &z->options, z->n, err));
    if (r->base) VV_TRY(see_base(z, r, m->size, err));
    VV_TRY(introduce(p, r, m, z, err));
    for (int64_t i = 0; i < z->n; i++) VV_TRY(draw_scene(p, z, i, r->base != NULL, err));
    return VV_OK;
}

vv_status vv_report_scenes(vv_page *p, const vv_report *r, vv_error *err)
{
    scenes z = {.n = r->options->scenes, .options = scenes_of(r)};
    vv_predictor m = {0};
    vv_page_put(p, "<h2>Held-out scenes</h2>\n");
    if (!r->model || z.n == 0) {
        vv_page_put(p, "<p>%s</p>\n",
                    r->model ? "No scenes were asked for."
                             : "The run has no model yet: there is nothing to show on scenes.");
        return VV_OK;
    }
    z.at = vv_calloc(z.n, sizeof *z.at);
    z.own = vv_calloc(z.n, sizeof *z.own);
    z.base = vv_calloc(z.n, sizeof *z.base);
    vv_status st = z.at && z.own && z.base ? open_predictor(&m, r, z.options.size, err) : vv_no_memory(err, "scenes");
    if (st == VV_OK) st = draw_all(p, r, &m, &z, err);
    for (int64_t i = 0; i < z.n; i++) {
        if (z.at) vv_shown_free(&z.at[i]);
        if (z.own) vv_image_free(&z.own[i]);
        if (z.base) vv_image_free(&z.base[i]);
    }
    free(z.at);
    free(z.own);
    free(z.base);
    vv_probed_free(&z.probe);
    vv_probed_free(&z.base_probe);
    vv_predictor_free(&m);
    return st;
}
