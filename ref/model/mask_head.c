/* The forward of the segmentation head; the picture of it is in the header. */
#include "model/mask_head.h"

#include <math.h>
#include <stdlib.h>

#include "base/elementary.h"

static const double EPS = 1e-6, TWO_PI = 6.283185307179586;

static vv_tensor *affine(vv_tape *t, const char *name, const vv_affine *p, vv_tensor *x)
{
    return vv_linear(t, name, x, p->weight, p->bias, NULL);
}

/* rows [N h w, C] as maps [N,h,w,C] */
static vv_tensor *as_maps(vv_tape *t, vv_tensor *x, int64_t h, int64_t w)
{
    if (!vv_ready(t, 1, x)) return NULL;
    const int64_t dim[4] = {vv_rows(x) / (h * w), h, w, vv_last(x)};
    return vv_view(t, NULL, x, 4, dim);
}

/* and back */
static vv_tensor *as_rows(vv_tape *t, vv_tensor *x)
{
    if (!vv_ready(t, 1, x)) return NULL;
    const int64_t dim[2] = {vv_rows(x), vv_last(x)};
    return vv_view(t, NULL, x, 2, dim);
}

/* ---- pictures ----------------------------------------------------------------------------------------------------------- */
/* features [B h w, C] to E [B,h,w,D] */
static vv_tensor *neck(vv_tape *t, const vv_mask *m, vv_tensor *features, int64_t h, int64_t w)
{
    vv_enter(t, "image_encoder.neck", -1);
    vv_tensor *x = vv_linear(t, "0", as_maps(t, features, h, w), m->neck_0, NULL, NULL); /* 1x1: pixel by pixel */
    x = vv_layernorm(t, "1", x, m->neck_1.weight, m->neck_1.bias, EPS);
    x = vv_conv2d(t, "2", x, m->neck_2, NULL, 1, 1);
    x = vv_layernorm(t, "3", x, m->neck_3.weight, m->neck_3.bias, EPS);
    vv_leave(t);
    return x;
}

/* The code of every position, pe [h w, D]; 0 when an angle is too large for sin and cos. Doubles from the matrix to the last rounding:
 * an angle may be many turns. */
static int fourier_code(vv_real *pe, const vv_real *G, int64_t h, int64_t w, int64_t D)
{
    const int64_t half = D / 2;
    int ok = 1;
#pragma omp parallel for schedule(static) reduction(& : ok) if (h * w * D > 4096)
    for (int64_t i = 0; i < h * w; i++) {
        const double x = (double)(2 * (i % w) + 1 - w) / (double)w, y = (double)(2 * (i / w) + 1 - h) / (double)h;
        for (int64_t k = 0; k < half; k++) {
            const double z = TWO_PI * (x * (double)G[k] + y * (double)G[half + k]);
            ok &= fabs(z) <= 0x1p21;
            pe[i * D + k] = (vv_real)vv_sin(z);
            pe[i * D + half + k] = (vv_real)vv_cos(z);
        }
    }
    return ok;
}

static vv_tensor *image_pe(vv_tape *t, const vv_mask *m, int64_t h, int64_t w)
{
    const int64_t D = m->config.dim, dim[2] = {h * w, D};
    vv_real *pe = NULL;
    if (!vv_is_dry(t)) {
        pe = vv_calloc(h * w * D + D, sizeof *pe);
        if (!pe) return vv_tape_fail(t, VV_MEMORY, "prompt_encoder.pe_layer: out of memory");
        vvb_download(pe + h * w * D, m->gaussian->data, D * (int64_t)sizeof *pe);
        if (!fourier_code(pe, pe + h * w * D, h, w, D)) {
            free(pe);
            return vv_tape_fail(t, VV_NONFINITE, "%s: expected angles up to 2^21; found one beyond", m->gaussian->name);
        }
    }
    vv_tensor *x = vv_input(t, NULL, VV_REALS, 2, dim, pe);
    free(pe);
    if (!vv_ready(t, 1, x)) return NULL;
    return vv_view(t, "prompt_encoder.pe_layer", x, 2, dim);
}

/* ---- tokens ------------------------------------------------------------------------------------------------------------- */
static vv_tensor *text_tokens(vv_tape *t, const vv_mask *m, vv_tensor *text)
{
    if (m->config.text_proj == VV_TEXT_NONE) return vv_scale(t, "text_proj#scaled", text, m->config.text_scale);
    if (m->config.text_proj == VV_TEXT_LINEAR) return affine(t, "text_proj", &m->text[0], text);
    vv_tensor *x = vv_relu(t, "text_proj.1", affine(t, "text_proj.0", &m->text[0], text));
    return affine(t, "text_proj.2", &m->text[1], x);
}

/* a rows of x, b rows of y, the next a rows of x, ... */
static vv_tensor *join(vv_tape *t, const char *name, vv_tensor *x, int64_t a, vv_tensor *y, int64_t b, int64_t groups)
{
    int32_t *idx = vv_calloc(groups * (a + b), sizeof *idx);
    if (!idx) return vv_tape_fail(t, VV_MEMORY, "%s: out of memory", name ? name : "tokens");
    int32_t *ix = idx, *iy = idx + groups * a;
    for (int64_t g = 0; g < groups; g++) {
        for (int64_t i = 0; i < a; i++) *ix++ = (int32_t)(g * (a + b) + i);
        for (int64_t i = 0; i < b; i++) *iy++ = (int32_t)(g * (a + b) + a + i);
    }
    vv_tensor *z = vv_merge_rows(t, name, x, idx, y, idx + groups * a);
    free(idx);
    return z;
}

/* rows first, first + step, ... of x, modulo the number of its rows: R of them */
static vv_tensor *pick(vv_tape *t, const char *name, vv_tensor *x, int64_t first, int64_t step, int64_t R)
{
    if (!vv_ready(t, 1, x)) return NULL;
    int32_t *idx = vv_calloc(R, sizeof *idx);
    if (!idx) return vv_tape_fail(t, VV_MEMORY, "%s: out of memory", name ? name : "tokens");
    for (int64_t i = 0; i < R; i++) idx[i] = (int32_t)((first + i * step) % vv_rows(x));
    vv_tensor *y = vv_gather_rows(t, name, x, idx, R);
    free(idx);
    return y;
}

/* T [P n, D]: output tokens and the text of each instance */
static vv_tensor *tokens(vv_tape *t, const vv_mask *m, vv_tensor *text, int64_t P)
{
    const int64_t M = m->config.mask_tokens, outputs = M + (m->iou_token != NULL);
    vv_tensor *out = m->iou_token ? join(t, NULL, m->iou_token, 1, m->mask_tokens, M, 1) : m->mask_tokens;
    return join(t, "mask_decoder#tokens", pick(t, NULL, out, 0, 1, P * outputs), outputs, text, 1, P);
}

/* ---- masks -------------------------------------------------------------------------------------------------------------- */
/* K [P h w, D] to U [P, 16 h w, D/8] */
static vv_tensor *upscaling(vv_tape *t, const vv_mask *m, vv_tensor *K, int64_t h, int64_t w)
{
    vv_enter(t, "output_upscaling", -1);
    vv_tensor *x = vv_conv_transpose2d(t, "0", as_maps(t, K, h, w), m->upscale_0.weight, m->upscale_0.bias);
    x = vv_layernorm(t, "1", x, m->upscale_1.weight, m->upscale_1.bias, EPS);
    x = vv_gelu(t, "2", x, VVB_GELU_ERF);
    x = vv_conv_transpose2d(t, "3", x, m->upscale_3.weight, m->upscale_3.bias);
    x = vv_gelu(t, "4", x, VVB_GELU_ERF);
    vv_leave(t);
    return x;
}

/* mask token [P,D] to the weights of U's channels [P,D/8] */
static vv_tensor *hypernetwork(vv_tape *t, const vv_mask *m, vv_tensor *x)
{
    vv_enter(t, "output_hypernetworks_mlps.0.layers", -1);
    x = vv_relu(t, "0#relu", affine(t, "0", &m->hyper[0], x));
    x = vv_relu(t, "1#relu", affine(t, "1", &m->hyper[1], x));
    x = affine(t, "2", &m->hyper[2], x);
    vv_leave(t);
    return x;
}

static vv_tensor *decoder(vv_tape *t, const vv_mask *m, vv_tensor *T, vv_tensor *K, vv_tensor *pos, int64_t h,
                          int64_t w, const vv_two_way_layout *l)
{
    const int64_t P = l->P, C = m->config.dim / 8;
    vv_enter(t, "mask_decoder", -1);
    const vv_two_way_state s = vv_two_way_forward(t, &m->transformer, l, T, K, pos);
    vv_tensor *token = pick(t, "#mask_token", s.Q, m->iou_token != NULL, l->n, P);
    vv_tensor *weight = hypernetwork(t, m, token), *U = upscaling(t, m, s.K, h, w);
    vv_tensor *logits = NULL;
    if (vv_ready(t, 2, weight, U)) {
        const int64_t one[3] = {P, 1, C}, pixels[3] = {P, 16 * h * w, C}, map[3] = {P, 4 * h, 4 * w};
        logits = vv_batched_matmul(t, NULL, vv_view(t, NULL, weight, 3, one), vv_view(t, NULL, U, 3, pixels));
        logits = vv_view(t, "", logits, 3, map);
    }
    vv_leave(t);
    return logits;
}

/* ---- the whole ---------------------------------------------------------------------------------------------------------- */
static int fits(vv_tape *t, const vv_mask *m, const vv_tensor *features, int64_t B, int64_t h, int64_t w,
                const vv_tensor *text, const int32_t *image_of, int64_t P)
{
    const vv_mask_config *c = &m->config;
    const int64_t pixels = vv_mul(h, w), rows = vv_mul(B, pixels), most = vv_mul(vv_max(P, B), pixels);
    if (!vv_expect(t, "segmentation head", "features",
                   vv_last(features) == c->width && rows > 0 && vv_rows(features) == rows,
                   "rows of the tower's width, one for each pixel of the maps", "features", features) ||
        !vv_expect(t, "segmentation head", "text", P > 0 && vv_last(text) == c->text_dim && vv_rows(text) == P,
                   "a row of text_dim numbers for each instance, one at least", "text", text) ||
        !vv_expect(t, "segmentation head", "text", most <= INT32_MAX && P <= INT32_MAX / (c->mask_tokens + 2),
                   "fewer than 2^31 pixels of all instances", "features text", features, text))
        return 0;
    for (int64_t p = 0; p < P; p++)
        if (image_of[p] < (p ? image_of[p - 1] : 0) || image_of[p] >= B) {
            vv_tape_fail(t, VV_USAGE,
                         "image_of: expected numbers from 0 to %lld that do not decrease; got %d at place %lld",
                         (long long)B - 1, (int)image_of[p], (long long)p);
            return 0;
        }
    return 1;
}

vv_tensor *vv_mask_forward(vv_tape *t, const vv_mask *m, vv_tensor *features, int64_t B, int64_t h, int64_t w,
                           vv_tensor *text, const int32_t *image_of, int64_t P)
{
    if (!vv_ready(t, 2, features, text) || !fits(t, m, features, B, h, w, text, image_of, P)) return NULL;
    const int64_t n = m->config.mask_tokens + (m->iou_token != NULL) + 1;
    const vv_two_way_layout layout = {P, n, B, h * w, image_of};
    vv_enter(t, "mask_head", -1);
    vv_tensor *E = neck(t, m, features, h, w), *pos = image_pe(t, m, h, w);
    vv_tensor *K = vv_add(t, "mask_decoder#src", as_rows(t, E), m->no_mask);
    vv_tensor *T = tokens(t, m, text_tokens(t, m, text), P);
    vv_tensor *logits = decoder(t, m, T, K, pos, h, w, &layout);
    vv_leave(t);
    return logits;
}

vv_tensor *vv_mask_resize(vv_tape *t, const char *name, vv_tensor *logits, int64_t Hh, int64_t Ww)
{
    if (!vv_ready(t, 1, logits) || !vv_expect(t, "resize", name, logits->ndim == 3, "logits [P,H,W]", "logits", logits))
        return NULL;
    const int64_t P = logits->dim[0], map[4] = {P, logits->dim[1], logits->dim[2], 1}, out[3] = {P, Hh, Ww};
    vv_tensor *y = vv_resize_bilinear(t, NULL, vv_view(t, NULL, logits, 4, map), Hh, Ww, 0);
    return vv_view(t, name, y, 3, out);
}
