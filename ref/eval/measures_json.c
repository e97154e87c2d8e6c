#include "eval/measures_json.h"

#include <math.h>

json_t *vv_json_number(double x) { return isfinite(x) ? json_real(x) : json_null(); }

void vv_json_put(json_t **object, const char *key, json_t *value)
{
    if (!*object) json_decref(value);
    else if (!value || json_object_set_new(*object, key, value)) json_decref(*object), *object = NULL;
}

json_t *vv_json_scenes(const vv_synth_options *o)
{
    json_t *s = json_object();
    vv_json_put(&s, "seed", json_integer((json_int_t)o->seed));
    vv_json_put(&s, "closeups", vv_json_number(o->closeups));
    vv_json_put(&s, "min_objects", json_integer(o->min_objects));
    vv_json_put(&s, "max_objects", json_integer(o->max_objects));
    vv_json_put(&s, "held_out", json_boolean(o->held_out));
    return s;
}
