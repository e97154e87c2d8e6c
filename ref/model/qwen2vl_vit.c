/* The forward of the tower; the picture of it is in the header. */
#include "model/qwen2vl_vit.h"

#include <stdlib.h>

static const double EPS = 1e-6;

/* what vv_segment keeps of one block until its backward */
typedef struct {
    const vv_vit *vit;
    int64_t index;
    vv_layout layout;
} block_ctx;

static vv_tensor *block(vv_tape *t, const void *ctx, vv_tensor *h)
{
    const block_ctx *c = ctx;
    const vv_vit_block *b = &c->vit->blocks[c->index];
    vv_enter(t, "blocks", c->index);
    vv_tensor *z = vv_layernorm(t, "norm1", h, b->norm1.weight, b->norm1.bias, EPS);
    h = vv_self_attention(t, &b->attn, &c->layout, z, h);
    z = vv_layernorm(t, "norm2", h, b->norm2.weight, b->norm2.bias, EPS);
    h = vv_mlp(t, &b->mlp, c->vit->config.hidden_act, z, h, "");
    vv_leave(t);
    return h;
}

static vv_tensor *merger(vv_tape *t, const vv_vit *m, vv_tensor *h)
{
    if (!vv_ready(t, 1, h)) return NULL;
    const int64_t block_tokens = m->config.spatial_merge_size * m->config.spatial_merge_size;
    const int64_t beside[2] = {vv_rows(h) / block_tokens, vv_last(h) * block_tokens};
    vv_enter(t, "merger", -1);
    vv_tensor *z = vv_layernorm(t, "ln_q", h, m->ln_q.weight, m->ln_q.bias, EPS);
    z = vv_view(t, NULL, z, 2, beside); /* the tokens of a block are consecutive: nothing moves */
    z = vv_linear(t, "mlp.0", z, m->merger_0.weight, m->merger_0.bias, NULL);
    z = vv_gelu(t, "mlp.1", z, VVB_GELU_ERF);
    z = vv_linear(t, "mlp.2", z, m->merger_2.weight, m->merger_2.bias, NULL);
    vv_leave(t);
    return z;
}

/* The row and column of every token, and where the segments end: each frame of each picture is one. */
static vv_status positions(int32_t **pos, int32_t **cu, int64_t *S, int64_t *N, const vv_grid *grid, int64_t n,
                           int64_t merge, vv_error *err)
{
    *N = *S = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t tokens = vv_mul(grid[i].t, vv_mul(grid[i].h, grid[i].w));
        if (tokens <= 0 || grid[i].h % merge || grid[i].w % merge)
            return vv_fail(err, VV_USAGE, "picture %lld: expected a grid of whole merge blocks; got %lldx%lldx%lld",
                           (long long)i, (long long)grid[i].t, (long long)grid[i].h, (long long)grid[i].w);
        *S += grid[i].t;
        if (tokens > INT32_MAX - *N) return vv_fail(err, VV_USAGE, "expected fewer than 2^31 patches in all");
        *N += tokens;
    }
    *pos = vv_calloc(2 * *N, sizeof **pos);
    *cu = vv_calloc(*S + 1, sizeof **cu);
    if (!*pos || !*cu) return vv_no_memory(err, "positions");
    int64_t token = 0, s = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t f = 0; f < grid[i].t; f++) {
            for (int64_t k = 0; k < grid[i].h * grid[i].w; k++, token++) {
                int64_t y, x;
                vv_token_to_raster(k, grid[i], merge, &y, &x);
                (*pos)[2 * token] = (int32_t)y;
                (*pos)[2 * token + 1] = (int32_t)x;
            }
            (*cu)[++s] = (int32_t)token;
        }
    return VV_OK;
}

static vv_tensor *blocks(vv_tape *t, const vv_vit *m, vv_tensor *h, const vv_layout *layout, const vv_vit_wanted *want)
{
    for (int64_t i = 0; i < m->config.depth; i++) {
        const block_ctx ctx = {m, i, *layout};
        h = vv_segment(t, block, &ctx, sizeof ctx, h);
        for (int64_t k = 0; k < want->n_taps; k++)
            if (want->taps[k] == i) want->tap[k] = h;
    }
    return h;
}

vv_tensor *vv_vit_forward(vv_tape *t, const vv_vit *m, vv_tensor *pixel_values, const vv_grid *grid, int64_t n,
                          const vv_vit_wanted *want)
{
    if (!vv_ready(t, 1, pixel_values)) return NULL;
    const vv_vit_config *c = &m->config;
    for (int64_t k = 0; k < want->n_taps; k++)
        if (want->taps[k] < 0 || want->taps[k] >= c->depth)
            return vv_tape_fail(t, VV_USAGE, "layer %lld: expected 0 to %lld", (long long)want->taps[k],
                                (long long)c->depth - 1);
    int32_t *pos = NULL, *cu = NULL;
    int64_t S = 0, N = 0;
    vv_error e = {0};
    vv_tensor *h = NULL;
    if (positions(&pos, &cu, &S, &N, grid, n, c->spatial_merge_size, &e)) {
        vv_tape_fail(t, e.status, "%s", e.msg);
    } else if (vv_expect(t, "vision tower", "pixel_values", vv_rows(pixel_values) == N,
                         "a row for each patch of the grids", "pixel_values", pixel_values)) {
        vv_enter(t, "visual", -1);
        const vv_layout layout = {vv_rope_table(t, pos, N, 2, c->embed_dim / c->num_heads, c->rope_theta),
                                  vv_keep(t, cu, (S + 1) * (int64_t)sizeof *cu), S, c->num_heads};
        h = vv_linear(t, "patch_embed", pixel_values, m->patch_embed, NULL, NULL);
        h = blocks(t, m, h, &layout, want);
        if (want->merged) h = merger(t, m, h);
        vv_leave(t);
    }
    free(pos);
    free(cu);
    return h;
}

vv_tensor *vv_vit_raster(vv_tape *t, const vv_vit *m, const char *name, vv_tensor *h, const vv_grid *grid, int64_t n)
{
    if (!vv_ready(t, 1, h)) return NULL;
    const int64_t merge = m->config.spatial_merge_size;
    int64_t N = 0;
    int whole = 1;
    for (int64_t i = 0; i < n; i++) {
        N += grid[i].t * grid[i].h * grid[i].w;
        whole &= grid[i].h % merge == 0 && grid[i].w % merge == 0;
    }
    if (!vv_expect(t, "raster", name, whole && vv_rows(h) == N, "a row for each patch of grids of whole merge blocks",
                   "x", h))
        return NULL;
    int32_t *idx = vv_calloc(N, sizeof *idx);
    if (!idx) return vv_tape_fail(t, VV_MEMORY, "%s: out of memory", name ? name : "raster");
    int64_t token = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t f = 0; f < grid[i].t; f++) {
            const int64_t first = token, frame = grid[i].h * grid[i].w;
            for (int64_t k = 0; k < frame; k++, token++) {
                int64_t y, x;
                vv_token_to_raster(k, grid[i], merge, &y, &x);
                idx[first + y * grid[i].w + x] = (int32_t)token;
            }
        }
    vv_tensor *r = vv_gather_rows(t, name, h, idx, N);
    free(idx);
    return r;
}
