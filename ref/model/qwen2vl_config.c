/* config.json of the vision tower: reading with every limit checked, and writing. */
#include <string.h>

#include "model/qwen2vl_vit.h"

vv_vit_config vv_vit_config_default(void)
{
    return (vv_vit_config){.depth = 32,
                           .embed_dim = 1280,
                           .hidden_size = 3584,
                           .mlp_ratio = 4,
                           .num_heads = 16,
                           .in_channels = 3,
                           .patch_size = 14,
                           .temporal_patch_size = 2,
                           .spatial_merge_size = 2,
                           .hidden_act = VVB_GELU_QUICK,
                           .initializer_range = 0.02,
                           .rope_theta = 10000};
}

static vv_status check(const vv_vit_config *c, const char *where, vv_error *err)
{
    if (c->embed_dim % c->num_heads || c->embed_dim / c->num_heads % 4)
        return vv_fail(
            err, VV_FILE,
            "%s: embed_dim and num_heads: expected a head width divisible by 4 (2-D rotary); found %lld / %lld", where,
            (long long)c->embed_dim, (long long)c->num_heads);
    if (c->in_channels != 3)
        return vv_fail(err, VV_FILE, "%s: in_channels: expected 3; found %lld", where, (long long)c->in_channels);
    return VV_OK;
}

vv_status vv_vit_config_parse(vv_vit_config *c, const json_t *root, const char *where, vv_error *err)
{
    const json_t *v = NULL;
    VV_TRY(vv_json_object(root, where, "vision_config", &v, err));
    if (!v) v = root;
    VV_TRY(vv_json_need(v, where, "embed_dim", err)); /* Qwen2.5-VL has none: its tower is another one */
    struct {
        const char *key;
        int64_t *at, max;
    } field[] = {
        {"depth", &c->depth, 1024},
        {"embed_dim", &c->embed_dim, 1 << 20},
        {"hidden_size", &c->hidden_size, 1 << 20},
        {"num_heads", &c->num_heads, 1 << 16},
        {"in_chans", &c->in_channels, 1 << 16}, /* as some checkpoints call it */
        {"in_channels", &c->in_channels, 1 << 16},
        {"patch_size", &c->patch_size, 1024},
        {"temporal_patch_size", &c->temporal_patch_size, 1024},
        {"spatial_merge_size", &c->spatial_merge_size, 1024},
    };
    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        VV_TRY(vv_json_int(v, where, field[i].key, 1, field[i].max, field[i].at, err));
    double ratio = (double)c->mlp_ratio; /* an integer that some files write as 4.0 */
    VV_TRY(vv_json_real(v, where, "mlp_ratio", 1, 1024, &ratio, err));
    c->mlp_ratio = (int64_t)ratio;
    if ((double)c->mlp_ratio != ratio)
        return vv_fail(err, VV_FILE, "%s: mlp_ratio: expected a whole number; found %g", where, ratio);
    VV_TRY(vv_json_real(v, where, "initializer_range", 0, 1e3, &c->initializer_range, err));
    VV_TRY(vv_json_real(v, where, "rope_theta", 1, 1e12, &c->rope_theta, err));
    const char *act = NULL;
    VV_TRY(vv_json_string(v, where, "hidden_act", &act, err));
    if (act && !strcmp(act, "gelu")) c->hidden_act = VVB_GELU_ERF;
    else if (act && !strcmp(act, "quick_gelu")) c->hidden_act = VVB_GELU_QUICK;
    else if (act)
        return vv_fail(err, VV_FILE, "%s: hidden_act: expected \"quick_gelu\" or \"gelu\"; found \"%s\"", where, act);
    return check(c, where, err);
}

json_t *vv_vit_config_to_json(const vv_vit_config *c)
{
    /* written only where it is not the published one: other programs know no such key */
    json_t *theta = c->rope_theta == vv_vit_config_default().rope_theta ? NULL : json_real(c->rope_theta);
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:f, s:o*}", "model_type", "qwen2_vl",
                     "depth", (json_int_t)c->depth, "embed_dim", (json_int_t)c->embed_dim, "hidden_size",
                     (json_int_t)c->hidden_size, "mlp_ratio", (json_int_t)c->mlp_ratio, "num_heads",
                     (json_int_t)c->num_heads, "in_channels", (json_int_t)c->in_channels, "patch_size",
                     (json_int_t)c->patch_size, "temporal_patch_size", (json_int_t)c->temporal_patch_size,
                     "spatial_merge_size", (json_int_t)c->spatial_merge_size, "hidden_act",
                     c->hidden_act == VVB_GELU_QUICK ? "quick_gelu" : "gelu", "initializer_range", c->initializer_range,
                     "rope_theta", theta);
}
