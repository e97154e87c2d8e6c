/* The parameters of the tower: names and shapes, initialisation, checkpoints. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/qwen2vl_vit.h"

static void block_params(vv_vit *m, vv_declare *d, int64_t i)
{
    const int64_t C = m->config.embed_dim, hidden = C * m->config.mlp_ratio;
    char scope[32];
    snprintf(scope, sizeof scope, "blocks.%lld.", (long long)i);
    vv_vit_block *b = &m->blocks[i];
    b->norm1 = vv_declare_affine(d, scope, "norm1", C, 0);
    b->norm2 = vv_declare_affine(d, scope, "norm2", C, 0);
    b->attn.qkv = vv_declare_affine(d, scope, "attn.qkv", 3 * C, C);
    b->attn.proj = vv_declare_affine(d, scope, "attn.proj", C, C);
    b->mlp.fc1 = vv_declare_affine(d, scope, "mlp.fc1", hidden, C);
    b->mlp.fc2 = vv_declare_affine(d, scope, "mlp.fc2", C, hidden);
}

vv_status vv_vit_new(vv_vit **out, vv_params *params, const vv_vit_config *c, vv_error *err)
{
    vv_vit *m = vv_calloc(1, sizeof *m);
    if (!m || !(m->blocks = vv_calloc(c->depth, sizeof *m->blocks))) {
        vv_vit_free(m);
        return vv_no_memory(err, "vision tower");
    }
    m->config = *c;
    const int64_t C = c->embed_dim, beside = C * c->spatial_merge_size * c->spatial_merge_size;
    const int64_t kernel[5] = {C, c->in_channels, c->temporal_patch_size, c->patch_size, c->patch_size};
    vv_declare d = vv_declare_begin(&m->part, params, "visual.");
    m->patch_embed = vv_declare_shape(&d, "", "patch_embed.proj.weight", 5, kernel);
    for (int64_t i = 0; i < c->depth; i++) block_params(m, &d, i);
    m->ln_q = vv_declare_affine(&d, "merger.", "ln_q", C, 0);
    m->merger_0 = vv_declare_affine(&d, "merger.", "mlp.0", beside, beside);
    m->merger_2 = vv_declare_affine(&d, "merger.", "mlp.2", c->hidden_size, beside);
    const vv_status s = vv_declare_end(&d, err);
    if (s == VV_OK) *out = m;
    else vv_vit_free(m);
    return s;
}

void vv_vit_free(vv_vit *m)
{
    if (!m) return;
    free(m->blocks);
    free(m);
}

vv_status vv_vit_init(vv_vit *m, uint64_t seed, vv_error *err)
{
    for (int64_t i = 0; i < m->part.n; i++) {
        vv_tensor *x = m->part.params->at[m->part.first + i];
        const int norm = strstr(x->name, ".norm") || strstr(x->name, ".ln_q"), bias = strstr(x->name, ".bias") != NULL;
        const vv_fill fill = norm || bias ? VV_FILL_CONSTANT : VV_FILL_NORMAL;
        VV_TRY(vv_param_fill(x, fill, bias ? 0 : norm ? 1 : m->config.initializer_range, seed, err));
        vv_progress("initialise", i + 1, m->part.n);
    }
    return VV_OK;
}

static int is_table(const void *ctx, const char *name)
{
    (void)ctx;
    return strstr(name, "rotary_pos_emb.inv_freq") != NULL;
}

vv_status vv_vit_load_weights(vv_vit *m, const vv_weights *w, vv_error *err)
{
    static const char *const prefixes[] = {"model.visual.", "visual.", "", NULL};
    const char *prefix = vv_part_prefix(&m->part, w, prefixes);
    if (!prefix)
        return vv_fail(err, VV_FILE,
                       "%s: expected patch_embed.proj.weight under \"visual.\", \"model.visual.\" or no prefix; found "
                       "no such tensor",
                       vv_weights_path(w));
    return vv_part_load(&m->part, w, prefix, is_table, NULL, err);
}
