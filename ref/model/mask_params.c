/* The parameters of the segmentation head: names and shapes, initialisation, checkpoints in three layouts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/mask_head.h"

enum { MASK_CHANNELS = 16 }; /* between the convolutions of mask_downscaling */

/* ---- declaring ---------------------------------------------------------------------------------------------------------- */
static vv_tensor *kernel(vv_declare *d, const char *name, int64_t a, int64_t b, int64_t k)
{
    const int64_t dim[4] = {a, b, k, k};
    return vv_declare_shape(d, "", name, 4, dim);
}

/* NAME.weight [a,b,k,k] and NAME.bias [out] */
static vv_affine kernel_affine(vv_declare *d, const char *name, int64_t a, int64_t b, int64_t k, int64_t out)
{
    char weight[96], bias[96];
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    vv_tensor *w = kernel(d, weight, a, b, k);
    return (vv_affine){w, vv_declare_vector(d, "", bias, out)};
}

static void neck_params(vv_mask *m, vv_declare *d)
{
    const int64_t D = m->config.dim;
    m->neck_0 = kernel(d, "image_encoder.neck.0.weight", D, m->config.width, 1);
    m->neck_1 = vv_declare_affine(d, "image_encoder.neck.", "1", D, 0);
    m->neck_2 = kernel(d, "image_encoder.neck.2.weight", D, D, 3);
    m->neck_3 = vv_declare_affine(d, "image_encoder.neck.", "3", D, 0);
}

static void prompt_params(vv_mask *m, vv_declare *d)
{
    static const char scope[] = "prompt_encoder.";
    const int64_t D = m->config.dim, S = MASK_CHANNELS;
    m->gaussian = vv_declare_matrix(d, scope, "pe_layer.positional_encoding_gaussian_matrix", 2, D / 2);
    if (m->gaussian) m->gaussian->needs_grad = 0;
    for (int i = 0; i < 4; i++) {
        char name[48];
        snprintf(name, sizeof name, "point_embeddings.%d.weight", i);
        vv_declare_matrix(d, scope, name, 1, D);
    }
    vv_declare_matrix(d, scope, "not_a_point_embed.weight", 1, D);
    kernel_affine(d, "prompt_encoder.mask_downscaling.0", S / 4, 1, 2, S / 4);
    vv_declare_affine(d, scope, "mask_downscaling.1", S / 4, 0);
    kernel_affine(d, "prompt_encoder.mask_downscaling.3", S, S / 4, 2, S);
    vv_declare_affine(d, scope, "mask_downscaling.4", S, 0);
    kernel_affine(d, "prompt_encoder.mask_downscaling.6", D, S, 1, D);
    m->no_mask = vv_declare_matrix(d, scope, "no_mask_embed.weight", 1, D);
}

static vv_cross_attn attn_params(vv_declare *d, const char *scope, const char *name, int64_t D, int64_t inner)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s.", scope, name);
    const vv_affine q = vv_declare_affine(d, full, "q_proj", inner, D),
                    k = vv_declare_affine(d, full, "k_proj", inner, D),
                    v = vv_declare_affine(d, full, "v_proj", inner, D),
                    out = vv_declare_affine(d, full, "out_proj", D, inner);
    return (vv_cross_attn){q, k, v, out};
}

static void block_params(vv_mask *m, vv_declare *d, int64_t i)
{
    const int64_t D = m->config.dim;
    vv_two_way_block *b = &m->transformer.blocks[i];
    char scope[64];
    snprintf(scope, sizeof scope, "mask_decoder.transformer.layers.%lld.", (long long)i);
    b->self_attn = attn_params(d, scope, "self_attn", D, D);
    b->norm1 = vv_declare_affine(d, scope, "norm1", D, 0);
    b->token_to_image = attn_params(d, scope, "cross_attn_token_to_image", D, D / 2);
    b->norm2 = vv_declare_affine(d, scope, "norm2", D, 0);
    b->lin1 = vv_declare_affine(d, scope, "mlp.lin1", m->config.mlp, D);
    b->lin2 = vv_declare_affine(d, scope, "mlp.lin2", D, m->config.mlp);
    b->norm3 = vv_declare_affine(d, scope, "norm3", D, 0);
    b->norm4 = vv_declare_affine(d, scope, "norm4", D, 0);
    b->image_to_token = attn_params(d, scope, "cross_attn_image_to_token", D, D / 2);
}

/* three layers D -> D -> D -> out under mask_decoder.NAME; layer [3], or NULL for one that nothing reads */
static void mlp_params(vv_declare *d, vv_affine *layer, const char *name, int64_t D, int64_t out)
{
    char scope[80];
    snprintf(scope, sizeof scope, "mask_decoder.%s.layers.", name);
    const vv_affine first = vv_declare_affine(d, scope, "0", D, D), second = vv_declare_affine(d, scope, "1", D, D),
                    third = vv_declare_affine(d, scope, "2", out, D);
    if (!layer) return;
    layer[0] = first;
    layer[1] = second;
    layer[2] = third;
}

static void decoder_params(vv_mask *m, vv_declare *d)
{
    static const char scope[] = "mask_decoder.";
    const vv_mask_config *c = &m->config;
    const int64_t D = c->dim;
    if (c->iou_head) m->iou_token = vv_declare_matrix(d, scope, "iou_token.weight", 1, D);
    m->mask_tokens = vv_declare_matrix(d, scope, "mask_tokens.weight", c->mask_tokens, D);
    for (int64_t i = 0; i < c->blocks; i++) block_params(m, d, i);
    m->transformer.final_attn = attn_params(d, "mask_decoder.transformer.", "final_attn_token_to_image", D, D / 2);
    m->transformer.norm_final_attn = vv_declare_affine(d, "mask_decoder.transformer.", "norm_final_attn", D, 0);
    m->upscale_0 = kernel_affine(d, "mask_decoder.output_upscaling.0", D, D / 4, 2, D / 4);
    m->upscale_1 = vv_declare_affine(d, scope, "output_upscaling.1", D / 4, 0);
    m->upscale_3 = kernel_affine(d, "mask_decoder.output_upscaling.3", D / 4, D / 8, 2, D / 8);
    for (int64_t i = 0; i < c->mask_tokens; i++) {
        char name[48];
        snprintf(name, sizeof name, "output_hypernetworks_mlps.%lld", (long long)i);
        mlp_params(d, i ? NULL : m->hyper, name, D, D / 8);
    }
    if (c->iou_head) mlp_params(d, NULL, "iou_prediction_head", D, c->mask_tokens);
}

static void text_params(vv_mask *m, vv_declare *d)
{
    const int64_t D = m->config.dim, wide = m->config.text_dim;
    if (m->config.text_proj == VV_TEXT_LINEAR) m->text[0] = vv_declare_affine(d, "", "text_proj", D, wide);
    if (m->config.text_proj != VV_TEXT_MLP) return;
    m->text[0] = vv_declare_affine(d, "text_proj.", "0", wide, wide);
    m->text[1] = vv_declare_affine(d, "text_proj.", "2", D, wide);
}

vv_status vv_mask_new(vv_mask **out, vv_params *params, const vv_mask_config *c, vv_error *err)
{
    vv_mask *m = vv_calloc(1, sizeof *m);
    if (!m || !(m->transformer.blocks = vv_calloc(c->blocks, sizeof *m->transformer.blocks))) {
        vv_mask_free(m);
        return vv_no_memory(err, "segmentation head");
    }
    m->config = *c;
    m->transformer.depth = c->blocks;
    m->transformer.heads = c->heads;
    vv_declare d = vv_declare_begin(&m->part, params, "mask_head.");
    neck_params(m, &d);
    prompt_params(m, &d);
    decoder_params(m, &d);
    text_params(m, &d);
    const vv_status s = vv_declare_end(&d, err);
    if (s == VV_OK) *out = m;
    else vv_mask_free(m);
    return s;
}

void vv_mask_free(vv_mask *m)
{
    if (!m) return;
    free(m->transformer.blocks);
    free(m);
}

const vv_mask_config *vv_mask_config_of(const vv_mask *m) { return &m->config; }

/* ---- starting ----------------------------------------------------------------------------------------------------------- */
/* nn.Embedding, nn.Parameter(randn), and the buffer of the Fourier code */
static int starts_normal(const char *name)
{
    static const char *const part[] = {".iou_token.", ".mask_tokens.", "_embeddings.", "_embed.", "gaussian_matrix"};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        if (strstr(name, part[i])) return 1;
    return 0;
}

vv_status vv_mask_init(vv_mask *m, uint64_t seed, vv_error *err)
{
    const vv_tensor *weight = NULL; /* the last one: a bias stands behind its weight */
    for (int64_t i = 0; i < m->part.n; i++) {
        vv_tensor *x = m->part.params->at[m->part.first + i];
        const int bias = strstr(x->name, ".bias") != NULL;
        if (!bias) weight = x;
        if (starts_normal(x->name)) VV_TRY(vv_param_fill(x, VV_FILL_NORMAL, 1, seed, err));
        else if (weight->ndim == 1) VV_TRY(vv_param_fill(x, VV_FILL_CONSTANT, bias ? 0 : 1, seed, err));
        else VV_TRY(vv_param_fill(x, VV_FILL_UNIFORM, 1 / sqrt((double)(weight->n / weight->dim[0])), seed, err));
        vv_progress("initialise", i + 1, m->part.n);
    }
    return VV_OK;
}

/* ---- checkpoints -------------------------------------------------------------------------------------------------------- */
typedef enum { OURS, SAM, TRANSFORMERS, LISA, LAYOUTS } layout;

/* SAM's names and those of transformers' SamModel: in a name that contains `in`, `ours` becomes `theirs`; the first that fits. */
static const struct {
    const char *in, *ours, *theirs;
} RENAME[] = {
    {"", "image_encoder.neck.0.", "vision_encoder.neck.conv1."},
    {"", "image_encoder.neck.1.", "vision_encoder.neck.layer_norm1."},
    {"", "image_encoder.neck.2.", "vision_encoder.neck.conv2."},
    {"", "image_encoder.neck.3.", "vision_encoder.neck.layer_norm2."},
    {"", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", "shared_image_embedding.positional_embedding"},
    {"", ".point_embeddings.", ".point_embed."},
    {"", ".mask_downscaling.0.", ".mask_embed.conv1."},
    {"", ".mask_downscaling.1.", ".mask_embed.layer_norm1."},
    {"", ".mask_downscaling.3.", ".mask_embed.conv2."},
    {"", ".mask_downscaling.4.", ".mask_embed.layer_norm2."},
    {"", ".mask_downscaling.6.", ".mask_embed.conv3."},
    {"", ".norm1.", ".layer_norm1."},
    {"", ".norm2.", ".layer_norm2."},
    {"", ".norm3.", ".layer_norm3."},
    {"", ".norm4.", ".layer_norm4."},
    {"", ".norm_final_attn.", ".layer_norm_final_attn."},
    {"", ".output_upscaling.0.", ".upscale_conv1."},
    {"", ".output_upscaling.1.", ".upscale_layer_norm."},
    {"", ".output_upscaling.3.", ".upscale_conv2."},
    {"_hypernetworks_mlps.", ".layers.0.", ".proj_in."},
    {"_hypernetworks_mlps.", ".layers.1.", ".layers.0."},
    {"_hypernetworks_mlps.", ".layers.2.", ".proj_out."},
    {"_prediction_head.", ".layers.0.", ".proj_in."},
    {"_prediction_head.", ".layers.1.", ".layers.0."},
    {"_prediction_head.", ".layers.2.", ".proj_out."},
};
static const char G_AGAIN[] = "prompt_encoder.shared_embedding.positional_embedding"; /* G, a second time */

/* dvlab-research/LISA keeps SAM's own names inside its language model, and the first of a list of projections */
#define LISA_SAM "model.visual_model."
#define LISA_TEXT "model.text_hidden_fcs.0."

/* the name in a file of that layout */
static const char *file_name(char buf[VV_NAME_MAX], layout l, const char *ours)
{
    const char *own = ours + strlen("mask_head.");
    if (l == LISA && !strncmp(own, "text_proj.", 10)) snprintf(buf, VV_NAME_MAX, "%s%s", LISA_TEXT, own + 10);
    else snprintf(buf, VV_NAME_MAX, "%s%s", l == LISA ? LISA_SAM : "", l == OURS ? ours : own);
    for (size_t i = 0; l == TRANSFORMERS && i < sizeof RENAME / sizeof *RENAME; i++) {
        const char *at = strstr(own, RENAME[i].ours);
        if (!at || !strstr(own, RENAME[i].in)) continue;
        snprintf(buf, VV_NAME_MAX, "%.*s%s%s", (int)(at - own), own, RENAME[i].theirs, at + strlen(RENAME[i].ours));
        break;
    }
    return buf;
}

static vv_status find_layout(layout *l, const vv_mask *m, const vv_weights *w, vv_error *err)
{
    char name[LAYOUTS][VV_NAME_MAX];
    for (int i = OURS; i < LAYOUTS; i++) {
        *l = (layout)i;
        if (vv_weights_find(w, file_name(name[i], *l, m->neck_0->name), NULL)) return VV_OK;
    }
    return vv_fail(err, VV_FILE, "%s: expected the tensor %s, %s, %s or %s; found none of them", vv_weights_path(w),
                   name[OURS], name[SAM], name[TRANSFORMERS], name[LISA]);
}

/* tensors that must be ours: those of the parts, of the image encoder the neck only */
static int belongs(layout l, const char *name)
{
    static const char *const part[LAYOUTS][6] = {
        {"mask_head."},
        {"image_encoder.neck.", "prompt_encoder.", "mask_decoder.", "text_proj."},
        {"vision_encoder.neck.", "prompt_encoder.", "mask_decoder.", "text_proj.", "shared_image_embedding."},
        {LISA_SAM "image_encoder.neck.", LISA_SAM "prompt_encoder.", LISA_SAM "mask_decoder.", LISA_TEXT},
    };
    for (int i = 0; part[l][i]; i++)
        if (!strncmp(name, part[l][i], strlen(part[l][i]))) return 1;
    return 0;
}

static vv_status refuse_unknown(const vv_mask *m, const vv_weights *w, layout l, vv_error *err)
{
    for (int64_t i = 0; i < vv_weights_count(w); i++) {
        const vv_st *file = NULL;
        const vv_st_entry *e = vv_weights_at(w, i, &file);
        int known = !belongs(l, e->name) || (l == TRANSFORMERS && !strcmp(e->name, G_AGAIN));
        for (int64_t k = 0; !known && k < m->part.n; k++) {
            char name[VV_NAME_MAX];
            known = !strcmp(e->name, file_name(name, l, m->part.params->at[m->part.first + k]->name));
        }
        if (!known)
            return vv_fail(err, VV_FILE, "%s: %s: expected only tensors of this configuration; found an unknown one",
                           vv_st_path(file), e->name);
    }
    return VV_OK;
}

vv_status vv_mask_load_weights(vv_mask *m, const vv_weights *w, int stock, vv_error *err)
{
    layout l = OURS;
    VV_TRY(find_layout(&l, m, w, err));
    VV_TRY(refuse_unknown(m, w, l, err));
    for (int64_t i = 0; i < m->part.n; i++) {
        vv_tensor *x = m->part.params->at[m->part.first + i];
        char buf[VV_NAME_MAX];
        const char *name = file_name(buf, l, x->name);
        const int there = vv_weights_find(w, name, NULL) != NULL;
        vv_progress("load", i + 1, m->part.n);
        if (!there && stock == VV_MASK_STOCK && strstr(x->name, ".text_proj.")) continue;
        if (!there && x == m->gaussian && l == TRANSFORMERS && vv_weights_find(w, G_AGAIN, NULL)) name = G_AGAIN;
        VV_TRY(vv_param_load(x, w, name, err));
    }
    return VV_OK;
}
