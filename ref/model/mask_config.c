/* The object "mask_head" of config.json: reading with every limit checked, and writing. */
#include <math.h>
#include <string.h>

#include "model/mask_head.h"

static const char *const TEXT_PROJ[] = {"linear", "mlp", "none", NULL}; /* as in vv_text_proj */

static vv_status text_proj(vv_mask_config *c, const json_t *object, const char *where, vv_error *err)
{
    const char *name = NULL;
    VV_TRY(vv_json_string(object, where, "text_proj", &name, err));
    for (int i = 0; name && TEXT_PROJ[i]; i++)
        if (!strcmp(name, TEXT_PROJ[i])) {
            c->text_proj = (vv_text_proj)i;
            return VV_OK;
        }
    if (!name) return VV_OK;
    return vv_fail(err, VV_FILE, "%s: text_proj: expected \"linear\", \"mlp\" or \"none\"; found \"%.40s\"", where,
                   name);
}

static vv_status check(const vv_mask_config *c, const char *where, vv_error *err)
{
    if (c->dim % 8 || c->dim % (2 * c->heads))
        return vv_fail(
            err, VV_FILE,
            "%s: dim and heads: expected dim to be a multiple of 8 and of twice the heads; found %lld / %lld", where,
            (long long)c->dim, (long long)c->heads);
    if (c->text_proj == VV_TEXT_NONE && c->text_dim != c->dim)
        return vv_fail(err, VV_FILE, "%s: text_dim: expected dim, %lld, as text_proj is \"none\"; found %lld", where,
                       (long long)c->dim, (long long)c->text_dim);
    return VV_OK;
}

vv_status vv_mask_config_parse(vv_mask_config *c, const json_t *object, const char *where, vv_error *err)
{
    static const char *const keys[] = {"layer",    "dim",       "heads",    "blocks",     "mlp", "mask_tokens",
                                       "iou_head", "text_proj", "text_dim", "text_scale", NULL};
    const int64_t width = c->width, depth = c->depth;
    *c = (vv_mask_config){.width = width,
                          .depth = depth,
                          .layer = depth - 1,
                          .dim = 256,
                          .heads = 8,
                          .blocks = 2,
                          .mlp = 2048,
                          .mask_tokens = 4,
                          .iou_head = 1,
                          .text_dim = 4096,
                          .text_scale = sqrt(128)};
    if (!object) return VV_OK;
    VV_TRY(vv_json_only(object, where, keys, err));
    struct {
        const char *key;
        int64_t *at, min, max;
    } field[] = {
        {"layer", &c->layer, 0, depth - 1}, {"dim", &c->dim, 8, 1 << 16}, {"heads", &c->heads, 1, 1 << 12},
        {"blocks", &c->blocks, 1, 64},      {"mlp", &c->mlp, 1, 1 << 20}, {"mask_tokens", &c->mask_tokens, 1, 64},
    };
    for (size_t i = 0; i < sizeof field / sizeof *field; i++)
        VV_TRY(vv_json_int(object, where, field[i].key, field[i].min, field[i].max, field[i].at, err));
    VV_TRY(vv_json_bool(object, where, "iou_head", &c->iou_head, err));
    VV_TRY(text_proj(c, object, where, err));
    if (c->text_proj == VV_TEXT_NONE) c->text_dim = c->dim;
    VV_TRY(vv_json_int(object, where, "text_dim", 1, 1 << 20, &c->text_dim, err));
    c->text_scale = sqrt((double)c->dim / 2);
    VV_TRY(vv_json_real(object, where, "text_scale", -1e6, 1e6, &c->text_scale, err));
    return check(c, where, err);
}

json_t *vv_mask_config_to_json(const vv_mask_config *c)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:I, s:f}", "layer", (json_int_t)c->layer, "dim",
                     (json_int_t)c->dim, "heads", (json_int_t)c->heads, "blocks", (json_int_t)c->blocks, "mlp",
                     (json_int_t)c->mlp, "mask_tokens", (json_int_t)c->mask_tokens, "iou_head", c->iou_head,
                     "text_proj", TEXT_PROJ[c->text_proj], "text_dim", (json_int_t)c->text_dim, "text_scale",
                     c->text_scale);
}
