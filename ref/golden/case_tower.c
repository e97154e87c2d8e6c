/* The tower alone, forward and backward (tower.h):
 *   {"kind": "tower", "config": "../configs/micro.json", "pictures": [[56,84],[84,28]], "tap": 1} */
#include "golden/case.h"
#include "golden/tower.h"

static vv_status run(vv_case *c, vv_error *err)
{
    vv_tower_run r = {.model = &c->model};
    int64_t merged[2], layer[2];
    vv_tape *t = NULL;
    vv_status s = vv_json_int(c->root, c->path, "tap", 0, c->model.vit->config.depth - 1, &r.tap, err);
    if (s == VV_OK) s = vv_case_pictures(c, "pictures", &r.batch, err);
    if (s == VV_OK) {
        vv_tower_sizes(&r, merged, layer);
        r.cotangent = vv_case_normals(c, "cotangent", 0, 1, merged[0] * merged[1]);
        r.cotangent_tap = vv_case_normals(c, "cotangent_tap", 0, 1, layer[0] * layer[1]);
        t = vv_case_tape(c, err);
        s = t && r.cotangent && r.cotangent_tap ? vv_tower_record(&r, c->rec, t, err) : vv_no_memory(err, c->path);
    }
    vv_tape_free(t);
    vv_tower_free(&r);
    return s;
}

static const char *const keys[] = {"pictures", "tap", NULL};
const vv_case_kind vv_case_tower = {"tower", "vision", VV_VISION, keys, run};
