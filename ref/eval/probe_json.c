/* A probe's result as JSON: the form is in probe.h. */
#include <math.h>

#include "eval/measures_json.h"
#include "eval/probe.h"

static json_t *depth_row(const vv_probe_row *row)
{
    json_t *o = json_object();
    vv_json_put(&o, "rmse", vv_json_number(row->rmse));
    vv_json_put(&o, "rmse_objects", vv_json_number(row->rmse_objects));
    vv_json_put(&o, "rmse_log", vv_json_number(row->rmse_log));
    vv_json_put(&o, "abs_rel", vv_json_number(row->abs_rel));
    vv_json_put(&o, "order", vv_json_number(row->order));
    return o;
}

static json_t *class_row(const vv_probe_row *row)
{
    json_t *o = json_object(), *iou = json_object();
    vv_json_put(&o, "miou", vv_json_number(row->miou));
    vv_json_put(&o, "accuracy", vv_json_number(row->accuracy));
    for (int k = 0; k < VV_SYNTH_CLASSES; k++) vv_json_put(&iou, vv_synth_class_name[k], vv_json_number(row->iou[k]));
    vv_json_put(&o, "iou", iou);
    return o;
}

json_t *vv_probe_json(const vv_probe_result *r)
{
    const vv_probe_options *p = &r->options;
    const int depth = r->task == VV_PROBE_DEPTH;
    json_t *o = json_object(), *rows = json_object(), *scenes = vv_json_scenes(&p->scenes);
    vv_json_put(&scenes, "train", json_integer(p->train));
    vv_json_put(&scenes, "test", json_integer(p->test));
    vv_json_put(&o, "probe", json_string(depth ? "depth" : "segmentation"));
    vv_json_put(&o, "layer", json_integer(p->layer));
    vv_json_put(&o, "size", json_integer(p->scenes.size));
    vv_json_put(&o, "grid", json_pack("[I,I]", (json_int_t)r->gh, (json_int_t)r->gw));
    vv_json_put(&o, "scenes", scenes);
    vv_json_put(&o, "target", json_string(depth ? "mean log depth of the patch" : "most frequent class of the patch"));
    vv_json_put(&o, "upsampling", json_string("nearest"));
    if (depth) vv_json_put(&o, "pairs", json_integer(r->pairs));
    for (int k = 0; k < VV_PROBES; k++) {
        const vv_probe_row *row = &r->row[k];
        if (!row->present) continue;
        json_t *of = depth ? depth_row(row) : class_row(row);
        vv_json_put(&of, "features", row->features ? json_integer(row->features) : json_null());
        vv_json_put(&of, "lambda", row->features ? vv_json_number(row->lambda) : json_null());
        if (!depth) vv_json_put(&of, "iterations", row->features ? json_integer(row->iterations) : json_null());
        vv_json_put(&rows, vv_probe_name[k], of);
    }
    vv_json_put(&o, "results", rows);
    return o;
}
