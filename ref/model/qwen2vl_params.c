/* The parameters of the tower: names and shapes, initialisation, checkpoints. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "model/qwen2vl_vit.h"

static const char PREFIX[] = "visual.";

/* ---- names and shapes ------------------------------------------------------------------------------------------------- */
/* out x in, or a vector when in is 0; NULL after a failure, which err keeps */
static vv_tensor *param(vv_vit *m, vv_error *err, const char *name, int64_t out, int64_t in)
{
    char full[VV_NAME_MAX];
    const int64_t dim[2] = {out, in};
    if (err->status != VV_OK) return NULL;
    snprintf(full, sizeof full, "%s%s", PREFIX, name);
    return vv_param_new(&m->params, full, in ? 2 : 1, dim, err);
}

static vv_affine affine(vv_vit *m, vv_error *err, const char *scope, const char *name, int64_t out, int64_t in)
{
    char weight[128], bias[128];
    snprintf(weight, sizeof weight, "%s%s.weight", scope, name);
    snprintf(bias, sizeof bias, "%s%s.bias", scope, name);
    vv_tensor *w = param(m, err, weight, out, in);
    return (vv_affine){w, param(m, err, bias, out, 0)};
}

static void block_params(vv_vit *m, vv_error *err, int64_t i)
{
    const int64_t C = m->config.embed_dim, hidden = C * m->config.mlp_ratio;
    char scope[32];
    snprintf(scope, sizeof scope, "blocks.%lld.", (long long)i);
    vv_vit_block *b = &m->blocks[i];
    b->norm1 = affine(m, err, scope, "norm1", C, 0);
    b->norm2 = affine(m, err, scope, "norm2", C, 0);
    b->attn.qkv = affine(m, err, scope, "attn.qkv", 3 * C, C);
    b->attn.proj = affine(m, err, scope, "attn.proj", C, C);
    b->mlp.fc1 = affine(m, err, scope, "mlp.fc1", hidden, C);
    b->mlp.fc2 = affine(m, err, scope, "mlp.fc2", C, hidden);
}

vv_status vv_vit_new(vv_vit **out, const vv_vit_config *c, int dry, vv_error *err)
{
    vv_error local = {0};
    vv_vit *m = vv_calloc(1, sizeof *m);
    if (!m || !(m->blocks = vv_calloc(c->depth, sizeof *m->blocks))) {
        vv_vit_free(m);
        return vv_no_memory(err, "vision tower");
    }
    m->config = *c;
    m->params.dry = dry;
    const int64_t C = c->embed_dim, beside = C * c->spatial_merge_size * c->spatial_merge_size;
    const int64_t kernel[5] = {C, c->in_channels, c->temporal_patch_size, c->patch_size, c->patch_size};
    m->patch_embed = vv_param_new(&m->params, "visual.patch_embed.proj.weight", 5, kernel, &local);
    for (int64_t i = 0; i < c->depth; i++) block_params(m, &local, i);
    m->ln_q = affine(m, &local, "merger.", "ln_q", C, 0);
    m->merger_0 = affine(m, &local, "merger.", "mlp.0", beside, beside);
    m->merger_2 = affine(m, &local, "merger.", "mlp.2", c->hidden_size, beside);
    if (local.status != VV_OK) {
        vv_vit_free(m);
        return vv_fail(err, local.status, "%s", local.msg);
    }
    *out = m;
    return VV_OK;
}

void vv_vit_free(vv_vit *m)
{
    if (!m) return;
    vv_params_free(&m->params);
    free(m->blocks);
    free(m);
}

/* ---- initialisation --------------------------------------------------------------------------------------------------- */
vv_status vv_vit_init(vv_vit *m, uint64_t seed, vv_error *err)
{
    for (int64_t p = 0; p < m->params.n; p++) {
        vv_tensor *x = m->params.at[p];
        const int norm = strstr(x->name, ".norm") || strstr(x->name, ".ln_q"), bias = strstr(x->name, ".bias") != NULL;
        const uint64_t stream = vv_stream(x->name);
        vv_real *v = vv_calloc(x->n, sizeof *v);
        if (!v) return vv_no_memory(err, x->name);
        if (!norm && !bias) {
            const double std = m->config.initializer_range;
#pragma omp parallel for schedule(static) if (x->n > 4096)
            for (int64_t i = 0; i < x->n; i++) v[i] = (float)(std * vv_random_normal(seed, stream, (uint64_t)i));
        } else if (norm && !bias) {
            for (int64_t i = 0; i < x->n; i++) v[i] = 1;
        }
        vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
        free(v);
        vv_progress("initialise", p + 1, m->params.n);
    }
    return VV_OK;
}

/* ---- checkpoints ------------------------------------------------------------------------------------------------------ */
static const char *const prefixes[] = {"model.visual.", "visual.", ""};

/* the prefix under which the file keeps the tower: decided by its first parameter */
static const char *find_prefix(const vv_vit *m, const vv_weights *w)
{
    char name[VV_NAME_MAX];
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        snprintf(name, sizeof name, "%s%s", prefixes[i], m->params.at[0]->name + strlen(PREFIX));
        if (vv_weights_find(w, name, NULL)) return prefixes[i];
    }
    return NULL;
}

static vv_status load_one(vv_tensor *x, const vv_weights *w, const char *name, vv_error *err)
{
    const vv_st *file = NULL;
    const vv_st_entry *e = vv_weights_find(w, name, &file);
    if (!e) return vv_fail(err, VV_FILE, "%s: %s: expected this tensor; found none", vv_weights_path(w), name);
    int same = e->ndim == x->ndim;
    for (int i = 0; same && i < x->ndim; i++) same = e->shape[i] == x->dim[i];
    if (!same) {
        char want[200], got[200];
        return vv_fail(err, VV_FILE, "%s: %s: expected shape %s; found %s", vv_st_path(file), name,
                       vv_shape_text(x->dim, x->ndim, want, sizeof want),
                       vv_shape_text(e->shape, e->ndim, got, sizeof got));
    }
    vv_real *v = vv_calloc(x->n, sizeof *v);
    if (!v) return vv_no_memory(err, name);
    const vv_status s = vv_st_read_real(file, e, v, err);
    if (s == VV_OK) vvb_upload(x->data, v, x->n * (int64_t)sizeof *v);
    vv_st_done(file, e);
    free(v);
    return s;
}

/* every tensor under the prefix must be one of ours: a name we do not know is a model we do not know */
static vv_status refuse_unknown(const vv_vit *m, const vv_weights *w, const char *prefix, vv_error *err)
{
    char name[VV_NAME_MAX];
    for (int64_t i = 0; i < vv_weights_count(w); i++) {
        const vv_st *file = NULL;
        const vv_st_entry *e = vv_weights_at(w, i, &file);
        if (strncmp(e->name, prefix, strlen(prefix)) || strstr(e->name, "rotary_pos_emb.inv_freq")) continue;
        snprintf(name, sizeof name, "%s%s", PREFIX, e->name + strlen(prefix));
        if (!vv_param_find(&m->params, name))
            return vv_fail(err, VV_FILE, "%s: %s: expected only tensors of this configuration; found an unknown one",
                           vv_st_path(file), e->name);
    }
    return VV_OK;
}

vv_status vv_vit_load_weights(vv_vit *m, const vv_weights *w, vv_error *err)
{
    const char *prefix = find_prefix(m, w);
    if (!prefix)
        return vv_fail(err, VV_FILE,
                       "%s: expected patch_embed.proj.weight under \"visual.\", \"model.visual.\" or no prefix; found "
                       "no such tensor",
                       vv_weights_path(w));
    VV_TRY(refuse_unknown(m, w, prefix, err));
    for (int64_t i = 0; i < m->params.n; i++) {
        char name[VV_NAME_MAX];
        snprintf(name, sizeof name, "%s%s", prefix, m->params.at[i]->name + strlen(PREFIX));
        VV_TRY(load_one(m->params.at[i], w, name, err));
        vv_progress("load", i + 1, m->params.n);
    }
    return VV_OK;
}

static vv_status fetch(void *ctx, int64_t i, vv_real *dst, vv_error *err)
{
    (void)err;
    const vv_tensor *x = ((const vv_vit *)ctx)->params.at[i];
    vvb_download(dst, x->data, x->n * (int64_t)sizeof *dst);
    return VV_OK;
}

vv_status vv_vit_save_weights(const vv_vit *m, const char *dir, vv_dtype dtype, int64_t max_shard_bytes, vv_error *err)
{
    vv_st_decl *decl = vv_calloc(m->params.n, sizeof *decl);
    if (!decl) return vv_no_memory(err, dir);
    for (int64_t i = 0; i < m->params.n; i++) {
        const vv_tensor *x = m->params.at[i];
        decl[i] = (vv_st_decl){.name = x->name, .dtype = dtype, .ndim = x->ndim};
        for (int k = 0; k < x->ndim; k++) decl[i].shape[k] = x->dim[k];
    }
    const vv_status s = vv_weights_save(dir, decl, m->params.n, max_shard_bytes, fetch, (void *)m, err);
    free(decl);
    return s;
}
