/* Every loss alone, on predictions that are inputs: nothing before it disturbs what is compared. "losses" is a list of
 *   {"name", "loss": "ce", "lengths", "vocab", "width", "scale": of the hidden states, "ignored": probability, "reduction": "sample"|"token"}
 *   {"name", "loss": "depth", "shape": [B,H,W], "prediction", "label": "noise"|"flat"|"same", "known": part of the pixels, or a
 *     list with one for each map, "how": as in a run}
 *       prediction: noise N(2, scale^2), flat, or tied: noise in which two pixels of each map share the value of the median. Which of them
 *       a program takes is free: the gradient and the medians of the other choice are kind alt
 *   {"name", "loss": "masks", "shape": [C], "targets": ["noise"|"empty"|"full", ...], "scale": of the logits, "how"}
 * Names: in/<name>.p (prediction), .d, .mask; .hidden, .table, .labels, .cu_seqlens; .x, .z; loss/<name>.ssi, .gm, .total and so on;
 * dact/<name>.p, .hidden, .table, .x: the gradient of total. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "golden/case_text.h"
#include "loss/cross_entropy.h"
#include "loss/loss.h"

/* One of the list: its case has the element as root; predictions are parameters, so that gradients come back to them. */
typedef struct {
    vv_case *c;
    const char *name;
    vv_params ps;
    vv_tape *t;
} subject;

/* "<name>.<part>", in buf */
static const char *part(const subject *s, const char *what, char buf[VV_NAME_MAX])
{
    snprintf(buf, VV_NAME_MAX, "%s%s%s", s->name, *what == '#' ? "" : ".", what);
    return buf;
}

/* A prediction: recorded as an input, and a parameter. values [n] are taken over. */
static vv_tensor *prediction(subject *s, const char *what, int ndim, const int64_t *dim, vv_real *values, vv_error *err)
{
    char name[VV_NAME_MAX];
    vv_tensor *x = values ? vv_param_new(&s->ps, what, ndim, dim, err) : NULL;
    if (!values) (void)vv_no_memory(err, s->name);
    if (x) {
        vv_record_reals(s->c->rec, "in", part(s, what, name), ndim, dim, values);
        vvb_upload(x->data, values, x->n * (int64_t)sizeof *values);
    }
    free(values);
    return x;
}

static void record_loss(subject *s, const char *what, const vv_tensor *x)
{
    char name[VV_NAME_MAX];
    vv_real v = 0;
    if (!vv_ready(s->t, 1, x)) return;
    vvb_download(&v, vv_f(x), sizeof v);
    vv_record_reals(s->c->rec, "loss", part(s, what, name), 0, NULL, &v);
}

/* the gradients of all predictions as `kind`; zeros where there is none */
static vv_status record_gradients(subject *s, const char *kind, vv_error *err)
{
    char name[VV_NAME_MAX];
    VV_TRY(vv_tape_status(s->t, err));
    for (int64_t i = 0; i < s->ps.n; i++) {
        const vv_tensor *x = s->ps.at[i];
        vv_real *host = vv_calloc(x->n, sizeof *host);
        if (!host) return vv_no_memory(err, s->name);
        if (x->has_grad) vvb_download(host, x->grad, x->n * (int64_t)sizeof *host);
        int any = 0;
        for (int64_t k = 0; k < x->n; k++) any |= host[k] != 0;
        vv_record_reals(s->c->rec, kind, part(s, x->name, name), x->ndim, x->dim, host);
        if (!any)
            vv_record_mark(s->c->rec, kind, name, "scale", json_real(1 / (double)x->n)); /* the gradient of a mean */
        free(host);
    }
    return VV_OK;
}

static int is(const json_t *obj, const char *key, const char *word)
{
    const char *found = json_string_value(json_object_get(obj, key));
    return found && !strcmp(found, word);
}

static vv_real *numbers(const subject *s, const char *what, double mean, double std, int64_t n)
{
    char name[VV_NAME_MAX];
    return vv_case_normals(s->c, part(s, what, name), mean, std, n);
}

/* ---- cross-entropy -------------------------------------------------------------------------------------------------------- */
static vv_status run_ce(subject *s, vv_error *err)
{
    static const char *const keys[] = {"name",  "loss",    "lengths",   "vocab", "width",
                                       "scale", "ignored", "reduction", NULL};
    vv_case *c = s->c;
    int64_t V = 11, h = 6;
    double scale = 1, ignored = 0;
    char name[VV_NAME_MAX];
    vv_case_tokens x = {0};
    VV_TRY(vv_json_only(c->root, c->path, keys, err));
    VV_TRY(vv_json_int(c->root, c->path, "vocab", 2, 1 << 16, &V, err));
    VV_TRY(vv_json_int(c->root, c->path, "width", 1, 1 << 12, &h, err));
    VV_TRY(vv_json_real(c->root, c->path, "scale", 0, 1e6, &scale, err));
    VV_TRY(vv_json_real(c->root, c->path, "ignored", 0, 1, &ignored, err));
    vv_status st = vv_case_sequences(c, V, &x, err);
    vv_tensor *hidden = NULL, *table = NULL;
    if (st == VV_OK) {
        hidden = prediction(s, "hidden", 2, (const int64_t[]){x.N, h}, numbers(s, "hidden", 0, scale, x.N * h), err);
        if (hidden) table = prediction(s, "table", 2, (const int64_t[]){V, h}, numbers(s, "table", 0, 1, V * h), err);
        st = table ? VV_OK : err->status;
    }
    if (st == VV_OK) {
        vv_ce_window w = {.reduction = is(c->root, "reduction", "token") ? VV_CE_TOKEN : VV_CE_SAMPLE};
        for (int64_t i = 0; i < x.N; i++) /* the ids are the labels */
            if (vv_random_uniform(c->seed, vv_stream("ignored"), (uint64_t)i) < ignored) x.ids[i] = VV_IGNORED;
        vv_case_record_ints(c, part(s, "labels", name), x.ids, x.N);
        vv_case_record_ints(c, part(s, "cu_seqlens", name), x.cu, x.S + 1);
        vv_ce_count(&w, x.ids, x.cu, x.S);
        vv_tensor *loss = vv_cross_entropy(s->t, "ce", hidden, table, x.ids, x.cu, x.S, &w, NULL);
        vv_backward(s->t, loss, 1);
        record_loss(s, "total", loss);
        st = record_gradients(s, "dact", err);
    }
    vv_case_tokens_free(&x);
    return st;
}

/* ---- depth maps ----------------------------------------------------------------------------------------------------------- */
typedef struct {
    int64_t dim[3], N; /* [B,H,W]; H W */
    vv_real *d;
    int32_t *mask, *other; /* other [2,B,2]: the other legal medians of tied predictions, or NULL */
    vv_depth_config how;
} depth_input;

/* Gives the next larger valid value of each map the median's: medians[map] is the first of the two pixels, other[map] the second. */
static vv_status tie(const subject *s, const depth_input *in, vv_real *p, int32_t *other, vv_error *err)
{
    const int64_t B = in->dim[0], N = in->N;
    for (int64_t b = 0; b < B; b++) {
        vv_real *x = p + b * N;
        int64_t M = 0, middle = -1, next = -1;
        for (int64_t i = 0; i < N; i++) M += in->mask[b * N + i];
        for (int64_t i = 0; i < N; i++) {
            int64_t below = 0;
            for (int64_t j = 0; j < N; j++) below += in->mask[b * N + j] && x[j] < x[i];
            if (in->mask[b * N + i] && below == (M - 1) / 2) middle = i;
            if (in->mask[b * N + i] && below == (M - 1) / 2 + 1) next = i;
        }
        if (M % 2 == 0 || middle < 0 || next < 0)
            return vv_fail(err, VV_FILE, "%s: expected an odd number of valid pixels of different values in a tied map",
                           s->c->path);
        x[next] = x[middle];
        other[2 * b] = other[2 * b + 1] = (int32_t)vv_max(middle, next);
    }
    return VV_OK;
}

static vv_status depth_input_make(subject *s, depth_input *in, vv_error *err)
{
    static const char *const keys[] = {"name", "loss", "shape", "prediction", "label", "scale", "known", "how", NULL};
    const vv_case *c = s->c;
    const json_t *how = NULL, *known = json_object_get(c->root, "known");
    int64_t *dim = NULL, n = 0;
    double all = 1;
    VV_TRY(vv_json_only(c->root, c->path, keys, err));
    if (!json_is_array(known)) VV_TRY(vv_json_real(c->root, c->path, "known", 0, 1, &all, err));
    VV_TRY(vv_json_object(c->root, c->path, "how", &how, err));
    in->how = vv_depth_config_default();
    if (how) VV_TRY(vv_depth_config_parse(&in->how, how, c->path, err));
    VV_TRY(vv_case_ints(c, "shape", 1, 1 << 12, &dim, &n, err));
    if (n == 3) memcpy(in->dim, dim, sizeof in->dim);
    free(dim);
    if (n != 3) return vv_fail(err, VV_FILE, "%s: shape: expected [B,H,W]", c->path);
    if (json_is_array(known) && (int64_t)json_array_size(known) != in->dim[0])
        return vv_fail(err, VV_FILE, "%s: known: expected a number from 0 to 1, or one for each map", c->path);
    in->N = in->dim[1] * in->dim[2];
    in->d = numbers(s, "d", 1, is(c->root, "label", "flat") ? 0 : 1, in->dim[0] * in->N);
    in->mask = vv_calloc(in->dim[0] * in->N, sizeof *in->mask);
    if (!in->d || !in->mask) return vv_no_memory(err, s->name);
    for (int64_t i = 0; i < in->dim[0] * in->N; i++)
        in->mask[i] = vv_random_uniform(c->seed, vv_stream("mask"), (uint64_t)i) <
                      (json_is_array(known) ? json_number_value(json_array_get(known, (size_t)(i / in->N))) : all);
    return VV_OK;
}

static vv_tensor *depth_prediction(subject *s, depth_input *in, vv_error *err)
{
    const json_t *root = s->c->root;
    const int64_t n = in->dim[0] * in->N;
    double scale = 1;
    if (vv_json_real(root, s->c->path, "scale", 0, 1e30, &scale, err) != VV_OK) return NULL;
    vv_real *p = numbers(s, "p", 2, is(root, "prediction", "flat") ? 0 : scale, n);
    if (p && is(root, "label", "same")) memcpy(p, in->d, (size_t)n * sizeof *p);
    if (p && is(root, "prediction", "tied")) {
        in->other = vv_calloc(4 * in->dim[0], sizeof *in->other);
        if (!in->other) (void)vv_no_memory(err, s->name);
        if (!in->other || tie(s, in, p, in->other, err) != VV_OK) {
            free(p);
            return NULL;
        }
    }
    return prediction(s, "p", 3, in->dim, p, err);
}

/* forward and backward; medians NULL: the losses' own. They are recorded as `kind`. */
static vv_status depth_once(subject *s, const depth_input *in, vv_tensor *p, const int32_t *medians, const char *kind,
                            int32_t *used, vv_error *err)
{
    char name[VV_NAME_MAX];
    const int64_t at[3] = {2, in->dim[0], 2};
    vv_depth_maps maps = {.p = p,
                          .d = vv_input(s->t, "d", VV_REALS, 3, in->dim, in->d),
                          .mask = vv_input(s->t, "mask", VV_INTS, 3, in->dim, in->mask)};
    if (medians) maps.medians = vv_input(s->t, NULL, VV_INTS, 3, at, medians);
    vv_tensor *ssi = vv_ssi(s->t, "ssi", &maps, &in->how, NULL);
    vv_tensor *gm = vv_gradient_matching(s->t, "gm", &maps, &in->how, NULL);
    vv_tensor *total = vv_weighted_sum(s->t, "total", in->how.lambda_ssi, ssi, in->how.lambda_gm, gm);
    vv_backward(s->t, total, 1);
    VV_TRY(vv_tape_status(s->t, err));
    vvb_download(used, vv_i(maps.medians), 4 * in->dim[0] * (int64_t)sizeof *used);
    vv_record_host(s->c->rec, kind, part(s, "#medians", name), VV_DT_I32, 3, at, used);
    if (!medians) {
        record_loss(s, "ssi", ssi);
        record_loss(s, "gm", gm);
        record_loss(s, "total", total);
    }
    return record_gradients(s, medians ? "alt" : "dact", err);
}

/* the truth with the other choice of tied medians, and who may have it */
static vv_status depth_other(subject *s, const depth_input *in, vv_tensor *p, int32_t *used, vv_error *err)
{
    char name[VV_NAME_MAX], key[VV_NAME_MAX + 64];
    int32_t *other = in->other;
    const int64_t half = 2 * in->dim[0];
    memcpy(other + half, used + half, (size_t)half * sizeof *other); /* those of the label stay */
    vv_tape_reset(s->t);
    vv_params_zero_grad(&s->ps);
    VV_TRY(depth_once(s, in, p, other, "alt", used, err));
    part(s, "p", name);
    vv_record_mark(s->c->rec, "dact", name, "alternatives",
                   json_pack("[s]", vv_record_key(s->c->rec, "alt", name, key)));
    part(s, "#medians", name);
    vv_record_mark(s->c->rec, "act", name, "alternatives",
                   json_pack("[s]", vv_record_key(s->c->rec, "alt", name, key)));
    return VV_OK;
}

static vv_status run_depth(subject *s, vv_error *err)
{
    depth_input in = {.d = NULL};
    char name[VV_NAME_MAX];
    vv_status st = depth_input_make(s, &in, err);
    vv_tensor *p = st == VV_OK ? depth_prediction(s, &in, err) : NULL;
    int32_t *used = vv_calloc(4 * in.dim[0] + 1, sizeof *used);
    if (st == VV_OK && !p) st = err->status;
    if (st == VV_OK && !used) st = vv_no_memory(err, s->name);
    if (st == VV_OK) {
        vv_record_reals(s->c->rec, "in", part(s, "d", name), 3, in.dim, in.d);
        vv_record_host(s->c->rec, "in", part(s, "mask", name), VV_DT_I32, 3, in.dim, in.mask);
        st = depth_once(s, &in, p, NULL, "act", used, err);
    }
    if (st == VV_OK && in.other) st = depth_other(s, &in, p, used, err);
    free(in.d);
    free(in.mask);
    free(in.other);
    free(used);
    return st;
}

/* ---- masks ---------------------------------------------------------------------------------------------------------------- */
static vv_status run_masks(subject *s, vv_error *err)
{
    static const char *const keys[] = {"name", "loss", "shape", "targets", "scale", "how", NULL};
    const vv_case *c = s->c;
    const json_t *targets = NULL, *how = NULL;
    vv_seg_config config = vv_seg_config_default();
    double scale = 1;
    int64_t *dim = NULL, n = 0;
    char name[VV_NAME_MAX];
    VV_TRY(vv_json_only(c->root, c->path, keys, err));
    VV_TRY(vv_json_real(c->root, c->path, "scale", 0, 1e6, &scale, err));
    VV_TRY(vv_json_object(c->root, c->path, "how", &how, err));
    if (how) VV_TRY(vv_seg_config_parse(&config, how, c->path, err));
    VV_TRY(vv_json_array(c->root, c->path, "targets", &targets, err));
    VV_TRY(vv_case_ints(c, "shape", 1, 1 << 16, &dim, &n, err));
    const int64_t R = (int64_t)json_array_size(targets), C = dim[0], shape[2] = {R, C};
    free(dim);
    if (!R) return vv_fail(err, VV_FILE, "%s: targets: expected at least one", c->path);
    vv_tensor *x = prediction(s, "x", 2, shape, numbers(s, "x", 0, scale, R * C), err);
    vv_real *z = vv_calloc(R * C, sizeof *z);
    if (!x || !z) {
        free(z);
        return x ? vv_no_memory(err, s->name) : err->status;
    }
    for (int64_t i = 0; i < R * C; i++) {
        const char *word = json_string_value(json_array_get(targets, (size_t)(i / C)));
        const double odds = word && !strcmp(word, "full") ? 1 : word && !strcmp(word, "empty") ? 0 : 0.5;
        z[i] = vv_random_uniform(c->seed, vv_stream(s->name), (uint64_t)i) < odds;
    }
    vv_record_reals(c->rec, "in", part(s, "z", name), 2, shape, z);
    vv_tensor *target = vv_input(s->t, "z", VV_REALS, 2, shape, z);
    free(z);
    vv_tensor *bce = vv_bce(s->t, "bce", x, target, NULL),
              *dice = vv_dice(s->t, "dice", x, target, config.smooth, NULL);
    vv_tensor *total = vv_weighted_sum(s->t, "total", config.lambda_bce, bce, config.lambda_dice, dice);
    vv_backward(s->t, total, 1);
    record_loss(s, "bce", bce);
    record_loss(s, "dice", dice);
    record_loss(s, "total", total);
    return record_gradients(s, "dact", err);
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------ */
static vv_status run_one(vv_case *c, const json_t *item, vv_error *err)
{
    subject s = {.c = c, .name = json_string_value(json_object_get(item, "name"))};
    vv_status st = VV_OK;
    if (!s.name) return vv_fail(err, VV_FILE, "%s: expected a name", c->path);
    if (!(s.t = vv_tape_new(&s.ps, c->tape_flags))) return vv_no_memory(err, s.name);
    if (is(item, "loss", "ce")) st = run_ce(&s, err);
    else if (is(item, "loss", "depth")) st = run_depth(&s, err);
    else if (is(item, "loss", "masks")) st = run_masks(&s, err);
    else st = vv_fail(err, VV_FILE, "%s: loss: expected ce, depth or masks", c->path);
    vv_tape_free(s.t);
    vv_params_free(&s.ps);
    return st;
}

static vv_status run_losses(vv_case *c, vv_error *err)
{
    const json_t *list = NULL;
    VV_TRY(vv_json_need(c->root, c->path, "losses", err));
    VV_TRY(vv_json_array(c->root, c->path, "losses", &list, err));
    for (size_t i = 0; i < json_array_size(list); i++) {
        vv_case item = *c;
        char *where = vv_asprintf("%s: losses[%d]", c->path, (int)i);
        item.root = json_array_get(list, i);
        item.path = where;
        const vv_status s = where ? run_one(&item, item.root, err) : vv_no_memory(err, c->path);
        free(where);
        VV_TRY(s);
    }
    return VV_OK;
}

static const char *const keys[] = {"losses", NULL};
const vv_case_kind vv_case_losses = {"losses", "losses", 0, keys, run_losses};
