/* The public interface: handles around model/, tape/ and optim/. */
#include "versavit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/versavit.h"
#include "optim/adamw.h"

struct versavit_model {
    vv_model model;
    vv_tape *tape;      /* of the last forward, with what its backward needs */
    vv_tensor *merged;  /* its features; NULL when there is nothing to go back from */
    vv_tape *inference; /* of encode: records nothing */
    vv_adamw *optimizer;
    float *features;
};

/* vv_error and versavit_error have the same meaning; the public one does not depend on internal headers */
static int told(versavit_error *e, vv_status s, const vv_error *err)
{
    if (s == VV_OK || !e) return (int)s;
    if (e->status == 0) {
        e->status = (int)s;
        snprintf(e->message, sizeof e->message, "%s", err->msg);
    }
    return (int)s;
}

const char *versavit_version(void) { return VERSAVIT_VERSION; }
void versavit_threads(int n) { vvb_init(n > 0 ? n : 0); }
const char *versavit_matrix_library(void) { return vvb_get_info()->product; }

/* ---- models --------------------------------------------------------------------------------------------------------------- */
static int group_of(const void *ctx, const vv_tensor *p)
{
    (void)ctx;
    return vv_is_vector(p); /* group 0 decays, group 1 does not */
}

static vv_status finish(versavit_model *m, vv_error *err)
{
    const vv_adamw_group groups[2] = {vv_adamw_default(), vv_adamw_default()};
    vv_params *params = m->model.params;
    m->tape = vv_tape_new(params, VV_RECORD);
    m->inference = vv_tape_new(NULL, 0);
    if (!m->tape || !m->inference) return vv_no_memory(err, "model");
    return vv_adamw_new(&m->optimizer, params, groups, 2, group_of, NULL, err);
}

static int open_model(versavit_model **out, const char *path, int from_config, uint64_t seed, versavit_error *e)
{
    vv_error err = {0};
    (void)vvb_get_info(); /* the number of threads, before anything uses them */
    versavit_model *m = vv_calloc(1, sizeof *m);
    *out = NULL;
    vv_status s = m ? VV_OK : vv_no_memory(&err, "model");
    if (s == VV_OK)
        s = from_config ? vv_model_from_config(&m->model, path, VV_VISION, &err)
                        : vv_model_load(&m->model, path, VV_VISION, &err);
    if (s == VV_OK && from_config) s = vv_vit_init(m->model.vit, seed, &err);
    if (s == VV_OK) s = finish(m, &err);
    if (s == VV_OK) *out = m;
    else versavit_free(m);
    return told(e, s, &err);
}

int versavit_load(versavit_model **m, const char *dir, versavit_error *e) { return open_model(m, dir, 0, 0, e); }

int versavit_new(versavit_model **m, const char *config, uint64_t seed, versavit_error *e)
{
    return open_model(m, config, 1, seed, e);
}

int versavit_save(const versavit_model *m, const char *dir, versavit_error *e)
{
    vv_error err = {0};
    return told(e, vv_model_save(&m->model, dir, VV_DT_F32, 0, &err), &err);
}

void versavit_free(versavit_model *m)
{
    if (!m) return;
    vv_tape_free(m->tape);
    vv_tape_free(m->inference);
    vv_adamw_free(m->optimizer);
    vv_model_free(&m->model);
    free(m->features);
    free(m);
}

/* ---- weights ----------------------------------------------------------------------------------------------------------------- */
static vv_tensor *tensor(const versavit_model *m, int64_t i)
{
    const vv_params *ps = m->model.params;
    return i >= 0 && i < ps->n ? ps->at[i] : NULL;
}

int64_t versavit_tensors(const versavit_model *m) { return m->model.params->n; }

const char *versavit_tensor_name(const versavit_model *m, int64_t i)
{
    return tensor(m, i) ? tensor(m, i)->name : NULL;
}

int64_t versavit_find(const versavit_model *m, const char *name)
{
    for (int64_t i = 0; i < versavit_tensors(m); i++)
        if (!strcmp(tensor(m, i)->name, name)) return i;
    return -1;
}

int versavit_tensor_shape(const versavit_model *m, int64_t i, int64_t shape[5])
{
    const vv_tensor *x = tensor(m, i);
    for (int k = 0; x && k < x->ndim; k++) shape[k] = x->dim[k];
    return x ? x->ndim : 0;
}

static vv_status no_such(const versavit_model *m, int64_t i, vv_error *err)
{
    return vv_fail(err, VV_USAGE, "tensor %lld: expected 0 to %lld", (long long)i, (long long)versavit_tensors(m) - 1);
}

/* n numbers of the backend as floats; from NULL: zeros */
static vv_status to_floats(float *out, const vv_real *from, int64_t n, vv_error *err)
{
    vv_real *host = vv_calloc(n, sizeof *host);
    if (!host) return vv_no_memory(err, "copy");
    if (from) vvb_download(host, from, n * (int64_t)sizeof *host);
    for (int64_t i = 0; i < n; i++) out[i] = (float)host[i];
    free(host);
    return VV_OK;
}

static vv_status from_floats(vv_real *to, const float *in, int64_t n, vv_error *err)
{
    vv_real *host = vv_calloc(n, sizeof *host);
    if (!host) return vv_no_memory(err, "copy");
    for (int64_t i = 0; i < n; i++) host[i] = (vv_real)in[i];
    vvb_upload(to, host, n * (int64_t)sizeof *host);
    free(host);
    return VV_OK;
}

int versavit_get(const versavit_model *m, int64_t i, float *values, versavit_error *e)
{
    vv_error err = {0};
    const vv_tensor *x = tensor(m, i);
    return told(e, x ? to_floats(values, vv_f(x), x->n, &err) : no_such(m, i, &err), &err);
}

int versavit_set(versavit_model *m, int64_t i, const float *values, versavit_error *e)
{
    vv_error err = {0};
    const vv_tensor *x = tensor(m, i);
    return told(e, x ? from_floats(vv_f(x), values, x->n, &err) : no_such(m, i, &err), &err);
}

int versavit_gradient(const versavit_model *m, int64_t i, float *values, versavit_error *e)
{
    vv_error err = {0};
    const vv_tensor *x = tensor(m, i);
    return told(e, x ? to_floats(values, x->has_grad ? x->grad : NULL, x->n, &err) : no_such(m, i, &err), &err);
}

int versavit_freeze(versavit_model *m, int64_t i, int frozen, versavit_error *e)
{
    vv_error err = {0};
    vv_tensor *x = tensor(m, i);
    if (!x) return told(e, no_such(m, i, &err), &err);
    x->needs_grad = !frozen;
    if (frozen) x->has_grad = 0; /* or the next step would still move it */
    return 0;
}

/* ---- features ------------------------------------------------------------------------------------------------------------------ */
static vv_status run(versavit_model *m, vv_tape *t, const vv_batch *b, vv_tensor **merged, versavit_features *f,
                     vv_error *err)
{
    const int64_t dim[2] = {b->rows, b->width};
    const vv_vit_wanted want = {.merged = 1};
    vv_tensor *x = vv_input(t, "pixel_values", VV_REALS, 2, dim, b->pixel_values);
    *merged = vv_vit_forward(t, m->model.vit, x, b->grid, b->n, &want);
    VV_TRY(vv_tape_status(t, err));
    float *features = realloc(m->features, (size_t)(*merged)->n * sizeof *features);
    if (!features) return vv_no_memory(err, "features");
    m->features = features;
    *f = (versavit_features){features, vv_rows(*merged), vv_last(*merged)};
    return to_floats(features, vv_f(*merged), (*merged)->n, err);
}

static vv_status add_pictures(vv_batch *b, const versavit_model *m, const versavit_picture *pictures, int64_t n,
                              vv_error *err)
{
    if (n < 1) return vv_fail(err, VV_USAGE, "pictures: expected at least one; got %lld", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        char where[48];
        const vv_image image = {pictures[i].height, pictures[i].width, (unsigned char *)pictures[i].rgb};
        snprintf(where, sizeof where, "picture %lld", (long long)i);
        if (!image.rgb || image.h < 1 || image.w < 1)
            return vv_fail(err, VV_USAGE, "%s: expected pixels and a size from 1", where);
        VV_TRY(vv_batch_add(b, &m->model.preprocess, &image, where, err));
    }
    return VV_OK;
}

/* one forward on the given tape; a failure leaves the tape empty */
static vv_status forward(versavit_model *m, vv_tape *t, const versavit_picture *pictures, int64_t n, vv_tensor **merged,
                         versavit_features *f, vv_error *err)
{
    vv_batch b = {0};
    vv_tape_reset(t);
    vv_status s = add_pictures(&b, m, pictures, n, err);
    if (s == VV_OK) s = run(m, t, &b, merged, f, err);
    vv_batch_free(&b);
    if (s != VV_OK) {
        *merged = NULL;
        vv_tape_reset(t);
    }
    return s;
}

int versavit_encode(versavit_model *m, const versavit_picture *picture, versavit_features *f, versavit_error *e)
{
    vv_error err = {0};
    vv_tensor *merged;
    return told(e, forward(m, m->inference, picture, 1, &merged, f, &err), &err);
}

int versavit_encode_file(versavit_model *m, const char *path, versavit_features *f, versavit_error *e)
{
    vv_error err = {0};
    vv_image image;
    vv_tensor *merged;
    vv_status s = vv_image_read(&image, path, &err);
    const versavit_picture picture = {image.rgb, image.h, image.w};
    if (s == VV_OK) s = forward(m, m->inference, &picture, 1, &merged, f, &err);
    vv_image_free(&image);
    return told(e, s, &err);
}

/* ---- training ------------------------------------------------------------------------------------------------------------------ */
versavit_adamw versavit_adamw_default(void)
{
    const vv_adamw_group g = vv_adamw_default();
    return (versavit_adamw){g.lr, g.beta1, g.beta2, g.eps, g.weight_decay, 1};
}

int versavit_forward(versavit_model *m, const versavit_picture *pictures, int64_t n, versavit_features *f,
                     versavit_error *e)
{
    vv_error err = {0};
    return told(e, forward(m, m->tape, pictures, n, &m->merged, f, &err), &err);
}

/* the gradient of sum(features * dfeatures) is dfeatures */
int versavit_backward(versavit_model *m, const float *dfeatures, versavit_error *e)
{
    vv_error err = {0};
    if (!m->merged) return told(e, vv_fail(&err, VV_USAGE, "backward: expected a forward before it"), &err);
    vv_tensor *d = vv_input(m->tape, "dfeatures", VV_REALS, m->merged->ndim, m->merged->dim, NULL);
    vv_status s = d ? from_floats(vv_f(d), dfeatures, d->n, &err) : vv_tape_status(m->tape, &err);
    if (s == VV_OK) {
        vv_backward(m->tape, vv_dot(m->tape, NULL, m->merged, d), 1);
        s = vv_tape_status(m->tape, &err);
    }
    vv_tape_reset(m->tape);
    m->merged = NULL;
    return told(e, s, &err);
}

int versavit_step(versavit_model *m, const versavit_adamw *a, double *norm, versavit_error *e)
{
    vv_error err = {0};
    for (int g = 0; g < 2; g++)
        m->optimizer->group[g] = (vv_adamw_group){a->lr, a->beta1, a->beta2, a->eps, g == 0 ? a->weight_decay : 0};
    const vv_status s = vv_adamw_step(m->optimizer, a->max_norm, norm, &err);
    vv_params_zero_grad(m->model.params); /* after a failure too: what is not finite would stay so for ever */
    return told(e, s, &err);
}
