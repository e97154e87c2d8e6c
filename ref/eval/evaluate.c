#include "eval/evaluate.h"

#include <stdlib.h>
#include <string.h>

#include "eval/evaluate_parts.h"

const char *const vv_eval_part_name[VV_EVAL_PARTS] = {"depth", "segmentation", "vqa", "caption"};

vv_eval_options vv_eval_default(void)
{
    vv_eval_options o = {.scenes = vv_synth_default(), .first = VV_EVAL_FIRST, .count = 400};
    o.scenes.seed = VV_EVAL_SEED;
    return o;
}

/* ---- pictures -------------------------------------------------------------------------------------------------------------- */
enum { MOST_TAPS = VV_DPT_LEVELS };

vv_status vv_eval_tower(const vv_evaluation *e, int64_t first, int64_t n, const int64_t *taps, int64_t n_taps,
                        vv_tensor **raster, vv_error *err)
{
    vv_batch b = {0};
    vv_preprocess p = e->model->preprocess;
    vv_status s = VV_OK;
    p.fixed_h = p.fixed_w = e->size;
    for (int64_t i = first; s == VV_OK && i < first + n; i++)
        s = vv_batch_add(&b, &p, &e->scenes->at[i].image, "a scene", err);
    if (s == VV_OK) {
        const int64_t dim[2] = {b.rows, b.width};
        vv_tensor *tap[MOST_TAPS] = {NULL};
        const vv_vit_wanted want = {.taps = taps, .n_taps = n_taps, .tap = tap};
        vv_vit_forward(e->tape, e->model->vit, vv_input(e->tape, "pixel_values", VV_REALS, 2, dim, b.pixel_values),
                       b.grid, b.n, &want);
        for (int64_t k = 0; k < n_taps; k++) {
            raster[k] = NULL;
            for (int64_t j = 0; j < k && !raster[k]; j++)
                if (taps[j] == taps[k]) raster[k] = raster[j];
            if (!raster[k]) raster[k] = vv_vit_raster(e->tape, e->model->vit, NULL, tap[k], b.grid, b.n);
        }
    }
    vv_batch_free(&b);
    return s;
}

vv_status vv_eval_grey(const vv_evaluation *e, vv_image *image, vv_error *err)
{
    const int64_t n = 3 * e->size * e->size;
    *image = (vv_image){.h = e->size, .w = e->size, .rgb = vv_calloc(n, 1)};
    if (!image->rgb) return vv_no_memory(err, "a grey picture");
    memset(image->rgb, 127, (size_t)n);
    return VV_OK;
}

/* ---- parts ----------------------------------------------------------------------------------------------------------------- */
static vv_status check(const vv_model *m, const vv_eval_options *o, vv_error *err)
{
    VV_TRY(vv_model_need(m, VV_VISION, o->model_dir ? o->model_dir : "evaluation", err));
    VV_TRY(vv_synth_check(&o->scenes, err));
    const int64_t side = m->vit->config.patch_size * m->vit->config.spatial_merge_size;
    if (o->scenes.size % side)
        return vv_fail(err, VV_USAGE, "size: expected a multiple of %lld, the pixels of a merged patch; found %lld",
                       (long long)side, (long long)o->scenes.size);
    if (o->count < 1)
        return vv_fail(err, VV_USAGE, "count: expected at least one scene; found %lld", (long long)o->count);
    if (o->first < 0 || o->first > INT64_MAX - o->count)
        return vv_fail(err, VV_USAGE, "first: expected a scene from 0; found %lld", (long long)o->first);
    return VV_OK;
}

static void leave_out(vv_eval_result *r, int part, const char *why)
{
    snprintf(r->left_out[part], sizeof r->left_out[part], "%s", why);
}

/* Where the texts' embeddings come from; *texts stays NULL, and the part is left out, when nothing was named and the model has no language
 * model of its own that fits. */
static vv_status open_texts(const vv_evaluation *e, vv_texts **texts, vv_error *err)
{
    const vv_eval_options *o = &e->r->options;
    const int64_t dim = e->model->mask->config.text_dim;
    if (o->embeddings) return vv_texts_open(texts, o->embeddings, dim, err);
    if (o->text_encoder) return vv_texts_encoder(texts, o->text_encoder, dim, err);
    if (!e->model->llm || !o->model_dir)
        leave_out(e->r, VV_EVAL_SEGMENTATION, "no text encoder is given, and the model has no language model");
    else if (e->model->llm->config.hidden_size < dim)
        leave_out(e->r, VV_EVAL_SEGMENTATION,
                  "no text encoder is given, and the model's own is narrower than the mask head's text_dim");
    else return vv_texts_encoder(texts, o->model_dir, dim, err);
    return VV_OK;
}

static vv_status masks(const vv_evaluation *e, vv_error *err)
{
    vv_texts *texts = NULL;
    VV_TRY(open_texts(e, &texts, err));
    const vv_status s = texts ? vv_eval_run_masks(e, texts, err) : VV_OK;
    vv_texts_free(texts);
    return s;
}

static vv_status run(const vv_evaluation *e, vv_error *err)
{
    const vv_model *m = e->model;
    if (m->depth) VV_TRY(vv_eval_run_depth(e, err));
    else leave_out(e->r, VV_EVAL_DEPTH, "the model has no depth head");
    if (m->mask) VV_TRY(masks(e, err));
    else leave_out(e->r, VV_EVAL_SEGMENTATION, "the model has no mask head");
    if (m->llm && m->projector) {
        VV_TRY(vv_eval_run_vqa(e, err));
        return vv_eval_run_captions(e, err);
    }
    for (int part = VV_EVAL_VQA; part <= VV_EVAL_CAPTION; part++)
        leave_out(e->r, part, m->llm ? "the model has no projector" : "the model has no language model");
    return VV_OK;
}

vv_status vv_evaluate(vv_eval_result *r, const vv_model *m, const vv_eval_options *o, vv_error *err)
{
    vv_scenes scenes = {0};
    *r = (vv_eval_result){.options = *o};
    VV_TRY(check(m, o, err));
    vv_evaluation e = {.model = m, .scenes = &scenes, .size = o->scenes.size, .tape = vv_tape_new(NULL, 0), .r = r};
    vv_status s = e.tape ? vv_scenes_draw(&scenes, &o->scenes, o->first, o->count, err) : vv_no_memory(err, "tape");
    if (s == VV_OK) s = run(&e, err);
    vv_scenes_free(&scenes);
    vv_tape_free(e.tape);
    return s;
}
