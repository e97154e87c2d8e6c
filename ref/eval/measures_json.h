/* Inside eval/ only: building JSON of measures. A failure (no memory) makes the object NULL and stays so. */
#ifndef VV_MEASURES_JSON_H
#define VV_MEASURES_JSON_H

#include "base/json.h"
#include "data/synth.h"

/* null for a number that is not finite */
json_t *vv_json_number(double x);
/* Adds the value, which is taken. */
void vv_json_put(json_t **object, const char *key, json_t *value);
/* {"seed", "closeups", "min_objects", "max_objects", "held_out"} */
json_t *vv_json_scenes(const vv_synth_options *o);

#endif
