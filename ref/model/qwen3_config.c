/* config.json of the decoder: reading with every limit checked, and writing. */
#include <stdio.h>
#include <string.h>

#include "model/qwen3.h"

vv_qwen3_config vv_qwen3_config_default(void)
{
    return (vv_qwen3_config){.hidden_size = 4096,
                             .intermediate_size = 22016,
                             .num_hidden_layers = 32,
                             .num_attention_heads = 32,
                             .num_key_value_heads = 32,
                             .head_dim = 128,
                             .vocab_size = 151936,
                             .max_position_embeddings = 32768,
                             .rms_norm_eps = 1e-6,
                             .rope_theta = 10000,
                             .initializer_range = 0.02};
}

/* ---- what another model would have, and this one has not ------------------------------------------------------------- */
static vv_status only_false(const json_t *v, const char *where, const char *key, vv_error *err)
{
    int on = 0;
    VV_TRY(vv_json_bool(v, where, key, &on, err));
    return on ? vv_fail(err, VV_FILE, "%s: %s: expected false; found true", where, key) : VV_OK;
}

static vv_status only_word(const json_t *v, const char *where, const char *key, const char *word, vv_error *err)
{
    const char *found = word;
    VV_TRY(vv_json_string(v, where, key, &found, err));
    if (!strcmp(found, word)) return VV_OK;
    return vv_fail(err, VV_FILE, "%s: %s: expected \"%s\"; found \"%.60s\"", where, key, word, found);
}

static vv_status only_full_attention(const json_t *v, int64_t layers, const char *where, vv_error *err)
{
    const json_t *types = NULL;
    char found[120];
    VV_TRY(vv_json_array(v, where, "layer_types", &types, err));
    if (!types) return VV_OK;
    if ((int64_t)json_array_size(types) != layers)
        return vv_fail(err, VV_FILE, "%s: layer_types: expected one for each of %lld layers; found %zu", where,
                       (long long)layers, json_array_size(types));
    for (size_t i = 0; i < json_array_size(types); i++) {
        const json_t *type = json_array_get(types, i);
        if (!json_is_string(type) || strcmp(json_string_value(type), "full_attention"))
            return vv_fail(err, VV_FILE, "%s: layer_types: expected \"full_attention\"; found %s for layer %zu", where,
                           vv_json_found(type, found, sizeof found), i);
    }
    return VV_OK;
}

static vv_status refuse_others(const json_t *v, int64_t layers, const char *where, vv_error *err)
{
    double dropout = 0;
    VV_TRY(only_word(v, where, "model_type", "qwen3", err));
    VV_TRY(only_word(v, where, "hidden_act", "silu", err));
    VV_TRY(only_false(v, where, "attention_bias", err));
    VV_TRY(only_false(v, where, "use_sliding_window", err));
    VV_TRY(vv_json_real(v, where, "attention_dropout", 0, 0, &dropout, err));
    return only_full_attention(v, layers, where, err);
}

/* ---- keys with two forms ------------------------------------------------------------------------------------------------ */
/* "rope_theta" beside the sizes, or in "rope_parameters" (newer transformers) or "rope_scaling" (older): the object wins. */
static vv_status read_rotary(vv_qwen3_config *c, const json_t *v, const char *where, vv_error *err)
{
    static const char *const object[] = {"rope_parameters", "rope_scaling"}, *const keys[] = {"rope_type", "type",
                                                                                              "rope_theta", NULL};
    const double most = 1e12;
    VV_TRY(vv_json_real(v, where, "rope_theta", 1, most, &c->rope_theta, err));
    for (int i = 0; i < 2; i++) {
        const json_t *r = NULL;
        char inside[400];
        snprintf(inside, sizeof inside, "%.300s: %s", where, object[i]);
        VV_TRY(vv_json_object(v, where, object[i], &r, err));
        if (!r) continue;
        VV_TRY(only_word(r, inside, "rope_type", "default", err));
        VV_TRY(only_word(r, inside, "type", "default", err));
        VV_TRY(vv_json_only(r, inside, keys, err)); /* a section or a factor belongs to another rotary */
        VV_TRY(vv_json_real(r, inside, "rope_theta", 1, most, &c->rope_theta, err));
    }
    return VV_OK;
}

static vv_status read_eos(vv_qwen3_config *c, const json_t *v, const char *where, vv_error *err)
{
    const json_t *eos = json_object_get(v, "eos_token_id");
    char found[120];
    if (!eos || json_is_null(eos)) return VV_OK;
    const size_t n = json_is_array(eos) ? json_array_size(eos) : 1;
    if (n > VV_MAX_EOS)
        return vv_fail(err, VV_FILE, "%s: eos_token_id: expected at most %d ids; found %zu", where, (int)VV_MAX_EOS, n);
    for (size_t i = 0; i < n; i++) {
        const json_t *id = json_is_array(eos) ? json_array_get(eos, i) : eos;
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) >= c->vocab_size)
            return vv_fail(err, VV_FILE, "%s: eos_token_id: expected an id from 0 to %lld; found %s", where,
                           (long long)c->vocab_size - 1, vv_json_found(id, found, sizeof found));
        c->eos[i] = (int32_t)json_integer_value(id);
    }
    c->n_eos = (int)n;
    return VV_OK;
}

vv_status vv_qwen3_config_parse(vv_qwen3_config *c, const json_t *object, const char *where, vv_error *err)
{
    struct {
        const char *key;
        int64_t *at, max;
    } field[] = {
        {"hidden_size", &c->hidden_size, 1 << 20},
        {"intermediate_size", &c->intermediate_size, 1 << 24},
        {"num_hidden_layers", &c->num_hidden_layers, 1024},
        {"num_attention_heads", &c->num_attention_heads, 1 << 16},
        {"num_key_value_heads", &c->num_key_value_heads, 1 << 16},
        {"head_dim", &c->head_dim, 1 << 16},
        {"vocab_size", &c->vocab_size, 1 << 30},
        {"max_position_embeddings", &c->max_position_embeddings, 1 << 30},
    };
    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        VV_TRY(vv_json_int(object, where, field[i].key, 1, field[i].max, field[i].at, err));
    if (json_is_null(json_object_get(object, "num_key_value_heads"))) c->num_key_value_heads = c->num_attention_heads;
    VV_TRY(vv_json_real(object, where, "rms_norm_eps", 0, 1, &c->rms_norm_eps, err));
    VV_TRY(vv_json_real(object, where, "initializer_range", 0, 1e3, &c->initializer_range, err));
    VV_TRY(vv_json_bool(object, where, "tie_word_embeddings", &c->tie_word_embeddings, err));
    VV_TRY(refuse_others(object, c->num_hidden_layers, where, err));
    VV_TRY(read_rotary(c, object, where, err));
    VV_TRY(read_eos(c, object, where, err));
    if (c->num_attention_heads % c->num_key_value_heads)
        return vv_fail(err, VV_FILE,
                       "%s: num_attention_heads and num_key_value_heads: expected a multiple; found %lld and %lld",
                       where, (long long)c->num_attention_heads, (long long)c->num_key_value_heads);
    if (c->head_dim % 2)
        return vv_fail(err, VV_FILE, "%s: head_dim: expected an even number (rotary pairs); found %lld", where,
                       (long long)c->head_dim);
    return VV_OK;
}

json_t *vv_qwen3_config_to_json(const vv_qwen3_config *c)
{
    json_t *eos = c->n_eos ? json_array() : json_null();
    for (int i = 0; i < c->n_eos && eos; i++)
        if (json_array_append_new(eos, json_integer(c->eos[i]))) {
            json_decref(eos);
            eos = NULL;
        }
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:f, s:f, s:b, s:b, s:b, s:o}",
                     "model_type", "qwen3", "vocab_size", (json_int_t)c->vocab_size, "hidden_size",
                     (json_int_t)c->hidden_size, "intermediate_size", (json_int_t)c->intermediate_size,
                     "num_hidden_layers", (json_int_t)c->num_hidden_layers, "num_attention_heads",
                     (json_int_t)c->num_attention_heads, "num_key_value_heads", (json_int_t)c->num_key_value_heads,
                     "head_dim", (json_int_t)c->head_dim, "max_position_embeddings",
                     (json_int_t)c->max_position_embeddings, "hidden_act", "silu", "rms_norm_eps", c->rms_norm_eps,
                     "rope_theta", c->rope_theta, "initializer_range", c->initializer_range, "tie_word_embeddings",
                     c->tie_word_embeddings, "attention_bias", 0, "use_sliding_window", 0, "eos_token_id", eos);
}
