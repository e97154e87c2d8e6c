#include "model/projector.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double EPS = 1e-6;

vv_status vv_projector_config_parse(vv_projector_config *c, const json_t *object, const char *where, vv_error *err)
{
    static const char *const keys[] = {"norm", "hidden", NULL};
    const char *norm = "ln";
    c->hidden = c->cells * c->width;
    if (object) {
        VV_TRY(vv_json_only(object, where, keys, err));
        VV_TRY(vv_json_string(object, where, "norm", &norm, err));
        VV_TRY(vv_json_int(object, where, "hidden", 1, 1 << 20, &c->hidden, err));
    }
    c->norm = !strcmp(norm, "ln");
    if (!c->norm && strcmp(norm, "none"))
        return vv_fail(err, VV_FILE, "%s: norm: expected \"ln\" or \"none\"; found \"%s\"", where, norm);
    return VV_OK;
}

json_t *vv_projector_config_to_json(const vv_projector_config *c)
{
    return json_pack("{s:s, s:I}", "norm", c->norm ? "ln" : "none", "hidden", (json_int_t)c->hidden);
}

vv_status vv_projector_new(vv_projector **out, vv_params *params, const vv_projector_config *c, vv_error *err)
{
    vv_projector *m = vv_calloc(1, sizeof *m);
    if (!m) return vv_no_memory(err, "projector");
    m->config = *c;
    vv_declare d = vv_declare_begin(&m->part, params, "projector.");
    if (c->norm) m->norm = vv_declare_affine(&d, "", "norm", c->width, 0);
    m->fc1 = vv_declare_affine(&d, "", "fc1", c->hidden, c->cells * c->width);
    m->fc2 = vv_declare_affine(&d, "", "fc2", c->out, c->hidden);
    const vv_status s = vv_declare_end(&d, err);
    if (s == VV_OK) *out = m;
    else vv_projector_free(m);
    return s;
}

void vv_projector_free(vv_projector *m) { free(m); }

vv_status vv_projector_init(vv_projector *m, uint64_t seed, vv_error *err)
{
    if (m->norm.weight) {
        VV_TRY(vv_param_fill(m->norm.weight, VV_FILL_CONSTANT, 1, seed, err));
        VV_TRY(vv_param_fill(m->norm.bias, VV_FILL_CONSTANT, 0, seed, err));
    }
    const vv_affine layer[2] = {m->fc1, m->fc2};
    for (int i = 0; i < 2; i++) {
        VV_TRY(vv_param_fill(layer[i].weight, VV_FILL_NORMAL, 1 / sqrt((double)layer[i].weight->dim[1]), seed, err));
        VV_TRY(vv_param_fill(layer[i].bias, VV_FILL_CONSTANT, 0, seed, err));
    }
    return VV_OK;
}

vv_status vv_projector_load_weights(vv_projector *m, const vv_weights *w, vv_error *err)
{
    return vv_part_load(&m->part, w, m->part.prefix, NULL, NULL, err);
}

vv_tensor *vv_projector_forward(vv_tape *t, const vv_projector *m, vv_tensor *h)
{
    if (!vv_ready(t, 1, h)) return NULL;
    const vv_projector_config *c = &m->config;
    if (!vv_expect(t, "projector", "features", vv_last(h) == c->width && vv_rows(h) % c->cells == 0,
                   "rows of the tower's width, whole merge blocks of them", "h", h))
        return NULL;
    const int64_t beside[2] = {vv_rows(h) / c->cells, c->cells * c->width};
    vv_enter(t, "projector", -1);
    vv_tensor *z = m->norm.weight ? vv_layernorm(t, "norm", h, m->norm.weight, m->norm.bias, EPS) : h;
    z = vv_view(t, NULL, z, 2, beside); /* the tokens of a block are consecutive: nothing moves */
    z = vv_linear(t, "fc1", z, m->fc1.weight, m->fc1.bias, NULL);
    z = vv_gelu(t, "act", z, VVB_GELU_ERF);
    z = vv_linear(t, "fc2", z, m->fc2.weight, m->fc2.bias, NULL);
    vv_leave(t);
    return z;
}
