/* An evaluation as JSON: the form is in evaluate.h. */
#include "eval/evaluate.h"
#include "eval/measures_json.h"

static json_t *depth_measures(const vv_eval_depth *d)
{
    json_t *o = json_object();
    vv_json_put(&o, "rmse", vv_json_number(d->rmse));
    vv_json_put(&o, "rmse_objects", vv_json_number(d->rmse_objects));
    vv_json_put(&o, "abs_rel", vv_json_number(d->abs_rel));
    vv_json_put(&o, "delta1", vv_json_number(d->delta1));
    vv_json_put(&o, "rmse_disparity", vv_json_number(d->rmse_disparity));
    vv_json_put(&o, "order", vv_json_number(d->order));
    return o;
}

static json_t *depth(const vv_eval_result *r)
{
    json_t *o = json_object();
    vv_json_put(&o, "pairs", json_integer(r->pairs));
    vv_json_put(&o, "head", depth_measures(&r->depth.head));
    vv_json_put(&o, "mean_map", depth_measures(&r->depth.mean_map));
    vv_json_put(&o, "constant", depth_measures(&r->depth.constant));
    return o;
}

static json_t *mask_measures(const vv_eval_masks *m)
{
    json_t *o = json_object();
    vv_json_put(&o, "ciou", vv_json_number(m->ciou));
    vv_json_put(&o, "giou", vv_json_number(m->giou));
    vv_json_put(&o, "precision_half", vv_json_number(m->precision_half));
    return o;
}

static json_t *segmentation(const vv_eval_result *r)
{
    json_t *o = json_object(), *best = mask_measures(&r->segmentation.best_constant);
    vv_json_put(&best, "share", vv_json_number(r->segmentation.share));
    vv_json_put(&o, "samples", json_integer(r->samples));
    vv_json_put(&o, "head", mask_measures(&r->segmentation.head));
    vv_json_put(&o, "shuffled_texts", mask_measures(&r->segmentation.shuffled_texts));
    vv_json_put(&o, "nothing", mask_measures(&r->segmentation.nothing));
    vv_json_put(&o, "whole", mask_measures(&r->segmentation.whole));
    vv_json_put(&o, "best_constant", best);
    return o;
}

static json_t *questions(const vv_eval_questions *q)
{
    json_t *o = json_object();
    vv_json_put(&o, "n", json_integer(q->n));
    vv_json_put(&o, "accuracy", vv_json_number(q->accuracy));
    vv_json_put(&o, "majority", vv_json_number(q->majority));
    if (q->type) vv_json_put(&o, "majority_answer", json_string(q->majority_answer));
    vv_json_put(&o, "grey", vv_json_number(q->grey));
    return o;
}

static json_t *vqa(const vv_eval_result *r)
{
    json_t *o = json_object(), *types = json_object();
    for (int t = 0; t < VV_EVAL_TYPES; t++) vv_json_put(&types, r->vqa[t].type, questions(&r->vqa[t]));
    vv_json_put(&o, "all", questions(&r->vqa[VV_EVAL_TYPES]));
    vv_json_put(&o, "types", types);
    return o;
}

static json_t *caption(const vv_eval_result *r)
{
    json_t *o = json_object();
    vv_json_put(&o, "tokens", json_integer(r->tokens));
    vv_json_put(&o, "loss", vv_json_number(r->caption));
    vv_json_put(&o, "loss_grey", vv_json_number(r->caption_grey));
    return o;
}

json_t *vv_eval_json(const vv_eval_result *r)
{
    static json_t *(*const part[VV_EVAL_PARTS])(const vv_eval_result *) = {depth, segmentation, vqa, caption};
    json_t *o = json_object(), *scenes = vv_json_scenes(&r->options.scenes), *left_out = json_object();
    vv_json_put(&scenes, "first", json_integer(r->options.first));
    vv_json_put(&scenes, "count", json_integer(r->options.count));
    vv_json_put(&o, "size", json_integer(r->options.scenes.size));
    vv_json_put(&o, "scenes", scenes);
    for (int k = 0; k < VV_EVAL_PARTS; k++) {
        const int there = r->left_out[k][0] == 0;
        vv_json_put(&o, vv_eval_part_name[k], there ? part[k](r) : json_null());
        if (!there) vv_json_put(&left_out, vv_eval_part_name[k], json_string(r->left_out[k]));
    }
    vv_json_put(&o, "left_out", left_out);
    return o;
}
