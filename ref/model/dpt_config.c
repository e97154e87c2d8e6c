/* The object "depth_head" of config.json: reading with every limit checked, and writing. */
#include <string.h>

#include "model/dpt_head.h"

static const char *const TAP_NORMS[] = {"none", "ln", NULL};
static const char *const FINALS[] = {"relu", "softplus", "none", NULL}; /* as vv_dpt_final */

/* A list of 3 or 4 numbers from lo to hi; *n is 0 when there is none. */
static vv_status list(const json_t *object, const char *where, const char *key, int64_t lo, int64_t hi, int64_t *v,
                      int64_t *n, vv_error *err)
{
    const json_t *a = NULL;
    char found[120];
    *n = 0;
    VV_TRY(vv_json_array(object, where, key, &a, err));
    if (!a) return VV_OK;
    *n = (int64_t)json_array_size(a);
    if (*n != 3 && *n != VV_DPT_LEVELS)
        return vv_fail(err, VV_FILE, "%s: %s: expected a number for each of 3 or 4 levels; found %lld", where, key,
                       (long long)*n);
    for (int64_t i = 0; i < *n; i++) {
        const json_t *x = json_array_get(a, (size_t)i);
        v[i] = json_is_integer(x) ? (int64_t)json_integer_value(x) : lo - 1;
        if (v[i] < lo || v[i] > hi)
            return vv_fail(err, VV_FILE, "%s: %s[%lld]: expected an integer from %lld to %lld; found %s", where, key,
                           (long long)i, (long long)lo, (long long)hi, vv_json_found(x, found, sizeof found));
    }
    return VV_OK;
}

/* *index: the place of the word in the list; unchanged when the key is absent. */
static vv_status word(const json_t *object, const char *where, const char *key, const char *const *words, int *index,
                      vv_error *err)
{
    const char *w = NULL;
    char known[80] = "";
    VV_TRY(vv_json_string(object, where, key, &w, err));
    if (!w) return VV_OK;
    for (int i = 0; words[i]; i++) {
        if (!strcmp(w, words[i])) {
            *index = i;
            return VV_OK;
        }
        strcat(strcat(strcat(strcat(known, i ? ", " : ""), "\""), words[i]), "\"");
    }
    return vv_fail(err, VV_FILE, "%s: %s: expected one of %s; found \"%.100s\"", where, key, known, w);
}

/* the lists that were not given, for the number of levels that the others, or nothing, say */
static vv_status levels(vv_dpt_config *c, const json_t *object, const char *where, vv_error *err)
{
    int64_t taps, channels;
    VV_TRY(list(object, where, "taps", 0, c->depth - 1, c->taps, &taps, err));
    VV_TRY(list(object, where, "out_channels", 1, 1 << 16, c->out_channels, &channels, err));
    if (taps && channels && taps != channels)
        return vv_fail(err, VV_FILE, "%s: out_channels: expected as many as taps, %lld; found %lld", where,
                       (long long)taps, (long long)channels);
    c->levels = taps ? taps : channels ? channels : VV_DPT_LEVELS;
    for (int64_t i = 0; i < c->levels; i++) {
        if (!channels) c->out_channels[i] = i < 2 ? 256 << i : c->width;
        if (!taps) c->taps[i] = (2 * vv_min(i + 1, 3) * (c->depth - 1) + 3) / 6; /* thirds of the last, rounded */
    }
    return VV_OK;
}

vv_status vv_dpt_config_parse(vv_dpt_config *c, const json_t *object, const char *where, vv_error *err)
{
    static const char *const keys[] = {"taps",        "out_channels", "features", "output_features",
                                       "first_scale", "unused_unit",  "tap_norm", "final_act",
                                       NULL};
    int final = VV_DPT_RELU;
    c->features = 256;
    c->first_scale = 4;
    c->unused_unit = 1;
    c->tap_norm = 0;
    VV_TRY(vv_json_only(object, where, keys, err));
    VV_TRY(levels(c, object, where, err));
    VV_TRY(vv_json_int(object, where, "features", 2, 1 << 16, &c->features, err));
    c->output_features = c->features / 2;
    VV_TRY(vv_json_int(object, where, "output_features", 1, 1 << 16, &c->output_features, err));
    VV_TRY(vv_json_int(object, where, "first_scale", 2, 4, &c->first_scale, err));
    VV_TRY(vv_json_bool(object, where, "unused_unit", &c->unused_unit, err));
    VV_TRY(word(object, where, "tap_norm", TAP_NORMS, &c->tap_norm, err));
    VV_TRY(word(object, where, "final_act", FINALS, &final, err));
    c->final = (vv_dpt_final) final;
    if (c->first_scale == 3 || (c->first_scale == 2 && c->levels != 3))
        return vv_fail(err, VV_FILE, "%s: first_scale: expected 4, or 2 with three levels; found %lld with %lld", where,
                       (long long)c->first_scale, (long long)c->levels);
    return VV_OK;
}

static json_t *list_to_json(const int64_t *v, int64_t n)
{
    json_t *a = json_array();
    for (int64_t i = 0; a && i < n; i++)
        if (json_array_append_new(a, json_integer((json_int_t)v[i]))) {
            json_decref(a);
            return NULL;
        }
    return a;
}

json_t *vv_dpt_config_to_json(const vv_dpt_config *c)
{
    json_t *o = json_pack("{s:I, s:I, s:I, s:b, s:s, s:s}", "features", (json_int_t)c->features, "output_features",
                          (json_int_t)c->output_features, "first_scale", (json_int_t)c->first_scale, "unused_unit",
                          c->unused_unit, "tap_norm", TAP_NORMS[c->tap_norm], "final_act", FINALS[c->final]);
    if (o && (json_object_set_new(o, "taps", list_to_json(c->taps, c->levels)) ||
              json_object_set_new(o, "out_channels", list_to_json(c->out_channels, c->levels)))) {
        json_decref(o);
        return NULL;
    }
    return o;
}
