/* The parameters of the depth head: names and shapes, initialisation, checkpoints in two layouts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/dpt_parts.h"

enum { HIDDEN = 32 }; /* channels between output_conv2.0 and .2 */

/* ---- declaring ---------------------------------------------------------------------------------------------------------- */
/* weight [out,in,k,k] and bias; a transposed convolution [in,out,k,k] is square here */
static vv_affine conv(vv_declare *d, const char *scope, const char *name, int64_t out, int64_t in, int64_t k)
{
    char weight[64], bias[64];
    const int64_t dim[4] = {out, in, k, k};
    snprintf(weight, sizeof weight, "%s.weight", name);
    snprintf(bias, sizeof bias, "%s.bias", name);
    vv_tensor *w = vv_declare_shape(d, scope, weight, 4, dim);
    return (vv_affine){w, vv_declare_vector(d, scope, bias, out)};
}

static void reassemble(vv_dpt *m, vv_declare *d)
{
    const vv_dpt_config *c = &m->config;
    char name[32];
    for (int64_t i = 0; i < c->levels && c->tap_norm; i++) {
        snprintf(name, sizeof name, "tap_norm.%d", (int)i);
        m->level[i].tap_norm = vv_declare_affine(d, "", name, c->width, 0);
    }
    for (int64_t i = 0; i < c->levels; i++) {
        snprintf(name, sizeof name, "projects.%d", (int)i);
        m->level[i].project = conv(d, "", name, c->out_channels[i], c->width, 1);
    }
    for (int64_t i = 0; i < c->levels; i++) {
        const int64_t scale = vv_dpt_scale(c, i), oc = c->out_channels[i];
        snprintf(name, sizeof name, "resize_layers.%d", (int)i);
        if (scale != 1) m->level[i].resize = conv(d, "", name, oc, oc, scale ? scale : 3);
    }
}

static vv_dpt_unit unit(vv_declare *d, const char *scope, int64_t F)
{
    const vv_affine conv1 = conv(d, scope, "conv1", F, F, 3);
    return (vv_dpt_unit){conv1, conv(d, scope, "conv2", F, F, 3)};
}

static void fuse(vv_dpt *m, vv_declare *d)
{
    const vv_dpt_config *c = &m->config;
    const int64_t F = c->features;
    char name[64];
    for (int64_t i = 0; i < c->levels; i++) {
        const int64_t dim[4] = {F, c->out_channels[i], 3, 3};
        snprintf(name, sizeof name, "layer%d_rn.weight", (int)i + 1);
        m->level[i].rn.weight = vv_declare_shape(d, "scratch.", name, 4, dim);
    }
    for (int64_t i = 0; i < c->levels; i++) {
        vv_dpt_level *l = &m->level[i];
        snprintf(name, sizeof name, "scratch.refinenet%d.", (int)i + 1);
        l->out_conv = conv(d, name, "out_conv", F, F, 1);
        snprintf(name, sizeof name, "scratch.refinenet%d.resConfUnit1.", (int)i + 1);
        if (i < c->levels - 1 || c->unused_unit) l->unit1 = unit(d, name, F);
        snprintf(name, sizeof name, "scratch.refinenet%d.resConfUnit2.", (int)i + 1);
        l->unit2 = unit(d, name, F);
    }
}

vv_status vv_dpt_new(vv_dpt **out, vv_params *params, const vv_dpt_config *c, vv_error *err)
{
    vv_dpt *m = vv_calloc(1, sizeof *m);
    if (!m) return vv_no_memory(err, "depth head");
    m->config = *c;
    vv_declare d = vv_declare_begin(&m->part, params, "depth_head.");
    reassemble(m, &d);
    fuse(m, &d);
    m->output_conv1 = conv(&d, "scratch.", "output_conv1", c->output_features, c->features, 3);
    m->output_conv2_0 = conv(&d, "scratch.", "output_conv2.0", HIDDEN, c->output_features, 3);
    m->output_conv2_2 = conv(&d, "scratch.", "output_conv2.2", 1, HIDDEN, 1);
    const vv_status s = vv_declare_end(&d, err);
    if (s == VV_OK) *out = m;
    else vv_dpt_free(m);
    return s;
}

void vv_dpt_free(vv_dpt *m) { free(m); }

const vv_dpt_config *vv_dpt_config_of(const vv_dpt *m) { return &m->config; }

/* A bias follows its weight [o,...], and takes its bound. Of a transposed convolution torch counts w's second axis too. */
vv_status vv_dpt_init(vv_dpt *m, uint64_t seed, vv_error *err)
{
    double bound = 0;
    for (int64_t i = 0; i < m->part.n; i++) {
        vv_tensor *x = m->part.params->at[m->part.first + i];
        if (strstr(x->name, "tap_norm")) {
            VV_TRY(vv_param_fill(x, VV_FILL_CONSTANT, strstr(x->name, ".weight") != NULL, seed, err));
        } else {
            if (x->ndim == 4) bound = 1 / sqrt((double)(x->n / x->dim[0]));
            VV_TRY(vv_param_fill(x, VV_FILL_UNIFORM, bound, seed, err));
        }
    }
    return VV_OK;
}

/* ---- the layout of transformers -------------------------------------------------------------------------------------------
 * # is the level from 0 on, + from 1 on, - from the deepest on */
static const struct {
    const char *ours, *theirs;
} NAMES[] = {
    {"projects.#.", "neck.reassemble_stage.layers.#.projection."},
    {"resize_layers.#.", "neck.reassemble_stage.layers.#.resize."},
    {"scratch.layer+_rn.", "neck.convs.#."},
    {"scratch.refinenet+.out_conv.", "neck.fusion_stage.layers.-.projection."},
    {"scratch.refinenet+.resConfUnit1.conv1.", "neck.fusion_stage.layers.-.residual_layer1.convolution1."},
    {"scratch.refinenet+.resConfUnit1.conv2.", "neck.fusion_stage.layers.-.residual_layer1.convolution2."},
    {"scratch.refinenet+.resConfUnit2.conv1.", "neck.fusion_stage.layers.-.residual_layer2.convolution1."},
    {"scratch.refinenet+.resConfUnit2.conv2.", "neck.fusion_stage.layers.-.residual_layer2.convolution2."},
    {"scratch.output_conv1.", "head.conv1."},
    {"scratch.output_conv2.0.", "head.conv2."},
    {"scratch.output_conv2.2.", "head.conv3."},
};
enum { N_NAMES = sizeof NAMES / sizeof *NAMES };

static const char *spell(char *buf, const char *pattern, int64_t level, int64_t levels)
{
    char *to = buf;
    for (; *pattern; pattern++)
        *to++ = (char)(*pattern == '#'   ? '0' + level
                       : *pattern == '+' ? '1' + level
                       : *pattern == '-' ? '0' + levels - 1 - level
                                         : *pattern);
    *to = 0;
    return buf;
}

/* Parameter i as transformers calls it; a tap_norm, which it does not know, keeps its name. */
static void their_name(const vv_dpt *m, int64_t i, char *buf)
{
    const char *whole = m->part.params->at[m->part.first + i]->name, *own = whole + strlen(m->part.prefix);
    char ours[VV_NAME_MAX], theirs[VV_NAME_MAX];
    snprintf(buf, VV_NAME_MAX, "%s", whole);
    for (int64_t k = 0; k < N_NAMES * m->config.levels; k++) {
        const size_t n = strlen(spell(ours, NAMES[k % N_NAMES].ours, k / N_NAMES, m->config.levels));
        if (strncmp(own, ours, n)) continue;
        snprintf(buf, VV_NAME_MAX, "%s%s", spell(theirs, NAMES[k % N_NAMES].theirs, k / N_NAMES, m->config.levels),
                 own + n);
        return;
    }
}

static vv_status refuse_unknown(const vv_dpt *m, const vv_weights *w, vv_error *err)
{
    char name[VV_NAME_MAX];
    for (int64_t i = 0; i < vv_weights_count(w); i++) {
        const vv_st *file = NULL;
        const vv_st_entry *e = vv_weights_at(w, i, &file);
        int known = strncmp(e->name, "neck.", 5) && strncmp(e->name, "head.", 5);
        for (int64_t k = 0; !known && k < m->part.n; k++) {
            their_name(m, k, name);
            known = !strcmp(name, e->name);
        }
        if (!known)
            return vv_fail(err, VV_FILE, "%s: %s: expected only tensors of this configuration; found an unknown one",
                           vv_st_path(file), e->name);
    }
    return VV_OK;
}

vv_status vv_dpt_load_weights(vv_dpt *m, const vv_weights *w, vv_error *err)
{
    if (vv_weights_find(w, "depth_head.projects.0.weight", NULL))
        return vv_part_load(&m->part, w, m->part.prefix, NULL, NULL, err);
    const char *theirs = "neck.reassemble_stage.layers.0.projection.weight";
    if (!vv_weights_find(w, theirs, NULL))
        return vv_fail(err, VV_FILE, "%s: expected a depth head: depth_head.projects.0.weight or %s; found neither",
                       vv_weights_path(w), theirs);
    VV_TRY(refuse_unknown(m, w, err));
    for (int64_t i = 0; i < m->part.n; i++) {
        char name[VV_NAME_MAX];
        their_name(m, i, name);
        VV_TRY(vv_param_load(m->part.params->at[m->part.first + i], w, name, err));
    }
    return VV_OK;
}

static vv_status fetch(void *ctx, int64_t i, vv_real *dst, vv_error *err)
{
    const vv_dpt *m = ctx;
    const vv_tensor *x = m->part.params->at[m->part.first + i];
    (void)err;
    vvb_download(dst, x->data, x->n * (int64_t)sizeof *dst);
    return VV_OK;
}

vv_status vv_dpt_export(const vv_dpt *m, const char *dir, vv_error *err)
{
    const vv_dpt_config *c = &m->config;
    if (c->tap_norm || !c->unused_unit || c->output_features != c->features / 2 || c->final != VV_DPT_RELU)
        return vv_fail(err, VV_USAGE,
                       "%s: expected a head that transformers can hold (tap_norm none, unused_unit true, "
                       "output_features half of features, final_act relu); found another one",
                       dir);
    vv_st_decl *decl = vv_calloc(m->part.n, sizeof *decl);
    char(*name)[VV_NAME_MAX] = vv_calloc(m->part.n, sizeof *name);
    vv_status s = decl && name ? VV_OK : vv_no_memory(err, dir);
    for (int64_t i = 0; s == VV_OK && i < m->part.n; i++) {
        const vv_tensor *x = m->part.params->at[m->part.first + i];
        their_name(m, i, name[i]);
        decl[i] = (vv_st_decl){.name = name[i], .dtype = VV_DT_REAL, .ndim = x->ndim};
        for (int k = 0; k < x->ndim; k++) decl[i].shape[k] = x->dim[k];
    }
    if (s == VV_OK) s = vv_weights_save(dir, decl, m->part.n, 0, fetch, (void *)m, err);
    free(decl);
    free(name);
    return s;
}
