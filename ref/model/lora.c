#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/lora.h"

#include <math.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "io/file.h"

static const char PREFIX[] = "base_model.model.", WEIGHT[] = ".weight";

typedef struct {
    vv_tensor *weight; /* of the base */
    vv_adapter adapter;
    vv_real *original; /* while merged, on the host */
} adapted;

struct vv_lora {
    vv_params *base, params;
    int64_t r, n, n_base;
    double alpha;
    int rslora;
    char **target; /* as given, for adapter_config.json */
    int64_t n_target;
    char *regex;
    adapted *at;
    int *trainable; /* [n_base] needs_grad of the base before */
};

vv_lora_config vv_lora_default(void)
{
    static const char *const target[] = {"q_proj", "v_proj"};
    return (vv_lora_config){.r = 8, .alpha = 8, .target = target, .n_target = 2};
}

vv_params *vv_lora_params(vv_lora *l) { return &l->params; }

void vv_lora_free(vv_lora *l)
{
    if (!l) return;
    for (int64_t i = 0; i < l->n; i++) {
        l->at[i].weight->adapter = NULL;
        free(l->at[i].original);
    }
    for (int64_t i = 0; l->trainable && i < l->n_base; i++) l->base->at[i]->needs_grad = l->trainable[i];
    for (int64_t i = 0; l->target && i < l->n_target; i++) free(l->target[i]);
    vv_params_free(&l->params);
    free(l->trainable);
    free(l->target);
    free(l->regex);
    free(l->at);
    free(l);
}

/* ---- which modules -------------------------------------------------------------------------------------------------------- */
/* the length of "model.layers.0.self_attn.q_proj" in a matrix's name, 0 for anything else */
static size_t module_length(const vv_tensor *x)
{
    const size_t n = strlen(x->name), tail = sizeof WEIGHT - 1;
    return x->ndim == 2 && n > tail && !strcmp(x->name + n - tail, WEIGHT) ? n - tail : 0;
}

static int ends_in(const char *name, size_t n, const char *entry)
{
    const size_t k = strlen(entry);
    return n >= k && !strncmp(name + n - k, entry, k) && (n == k || name[n - k - 1] == '.');
}

static vv_status compile(pcre2_code **re, const char *regex, vv_error *err)
{
    int code;
    PCRE2_SIZE at;
    PCRE2_UCHAR words[200];
    *re = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED, PCRE2_ANCHORED | PCRE2_ENDANCHORED, &code, &at, NULL);
    if (*re) return VV_OK;
    pcre2_get_error_message(code, words, sizeof words);
    return vv_fail(err, VV_USAGE, "target_modules: \"%s\": expected a regular expression; %s at %d", regex, words,
                   (int)at);
}

/* chosen [base->n] */
static vv_status by_regex(int *chosen, const vv_params *base, const char *regex, vv_error *err)
{
    pcre2_code *re = NULL;
    VV_TRY(compile(&re, regex, err));
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(re, NULL);
    for (int64_t i = 0; match && i < base->n; i++) {
        const size_t n = module_length(base->at[i]);
        chosen[i] = n && pcre2_match(re, (PCRE2_SPTR)base->at[i]->name, n, 0, 0, match, NULL) > 0;
    }
    pcre2_match_data_free(match);
    pcre2_code_free(re);
    return match ? VV_OK : vv_no_memory(err, regex);
}

static vv_status by_names(int *chosen, const vv_params *base, const vv_lora_config *c, vv_error *err)
{
    for (int64_t k = 0; k < c->n_target; k++) {
        int any = 0;
        for (int64_t i = 0; i < base->n; i++) {
            const size_t n = module_length(base->at[i]);
            if (!n || !ends_in(base->at[i]->name, n, c->target[k])) continue;
            chosen[i] = any = 1;
        }
        if (!any)
            return vv_fail(err, VV_USAGE, "target_modules: expected the name of a Linear; \"%s\" matches none",
                           c->target[k]);
    }
    return VV_OK;
}

/* ---- making --------------------------------------------------------------------------------------------------------------- */
static vv_status add_adapter(vv_lora *l, vv_tensor *w, vv_error *err)
{
    char name[2][VV_NAME_MAX];
    const int module = (int)module_length(w);
    for (int i = 0; i < 2; i++)
        snprintf(name[i], sizeof name[i], "%s%.*s.lora_%c.weight", PREFIX, module, w->name, "AB"[i]);
    const int64_t a[2] = {l->r, w->dim[1]}, b[2] = {w->dim[0], l->r};
    adapted *x = &l->at[l->n];
    x->weight = w;
    x->adapter.scale = l->alpha / (l->rslora ? sqrt((double)l->r) : (double)l->r);
    if (!(x->adapter.a = vv_param_new(&l->params, name[0], 2, a, err))) return err ? err->status : VV_MEMORY;
    if (!(x->adapter.b = vv_param_new(&l->params, name[1], 2, b, err))) return err ? err->status : VV_MEMORY;
    w->adapter = &x->adapter;
    l->n++;
    return VV_OK;
}

static vv_status keep_config(vv_lora *l, const vv_lora_config *c, vv_error *err)
{
    l->r = c->r;
    l->alpha = c->alpha;
    l->rslora = c->rslora;
    if (c->regex && !(l->regex = vv_strdup(c->regex))) return vv_no_memory(err, "adapters");
    if (!(l->target = vv_calloc(c->n_target, sizeof *l->target))) return vv_no_memory(err, "adapters");
    for (; !c->regex && l->n_target < c->n_target; l->n_target++)
        if (!(l->target[l->n_target] = vv_strdup(c->target[l->n_target]))) return vv_no_memory(err, "adapters");
    return VV_OK;
}

static vv_status attach(vv_lora *l, const vv_lora_config *c, int *chosen, vv_error *err)
{
    vv_params *base = l->base;
    VV_TRY(c->regex ? by_regex(chosen, base, c->regex, err) : by_names(chosen, base, c, err));
    int64_t count = 0;
    for (int64_t i = 0; i < base->n; i++) count += chosen[i];
    if (count == 0) return vv_fail(err, VV_USAGE, "target_modules: expected names of Linear layers; nothing matches");
    l->at = vv_calloc(count, sizeof *l->at);
    l->trainable = vv_calloc(base->n, sizeof *l->trainable);
    if (!l->at || !l->trainable) return vv_no_memory(err, "adapters");
    l->n_base = base->n;
    for (int64_t i = 0; i < base->n; i++) {
        l->trainable[i] = base->at[i]->needs_grad;
        base->at[i]->needs_grad = 0;
    }
    for (int64_t i = 0; i < base->n; i++)
        if (chosen[i]) VV_TRY(add_adapter(l, base->at[i], err));
    return VV_OK;
}

vv_status vv_lora_new(vv_lora **out, vv_params *base, const vv_lora_config *c, vv_error *err)
{
    if (c->r < 1) return vv_fail(err, VV_USAGE, "r: expected at least 1; found %lld", (long long)c->r);
    vv_lora *l = vv_calloc(1, sizeof *l);
    int *chosen = vv_calloc(base->n, sizeof *chosen);
    vv_status s = l && chosen ? VV_OK : vv_no_memory(err, "adapters");
    if (s == VV_OK) {
        l->base = base;
        l->params.dry = base->dry;
        s = keep_config(l, c, err);
    }
    if (s == VV_OK) s = attach(l, c, chosen, err);
    free(chosen);
    if (s == VV_OK) *out = l;
    else vv_lora_free(l);
    return s;
}

vv_status vv_lora_init(vv_lora *l, uint64_t seed, vv_error *err)
{
    for (int64_t i = 0; i < l->n; i++) {
        const vv_adapter *a = &l->at[i].adapter;
        VV_TRY(vv_param_fill(a->a, VV_FILL_UNIFORM, 1 / sqrt((double)a->a->dim[1]), seed, err));
        VV_TRY(vv_param_fill(a->b, VV_FILL_CONSTANT, 0, seed, err));
    }
    return VV_OK;
}

/* ---- merging -------------------------------------------------------------------------------------------------------------- */
static vv_status merge_one(adapted *x, vv_error *err)
{
    const int64_t out = x->weight->dim[0], in = x->weight->dim[1], r = x->adapter.a->dim[0];
    vv_real *w = vv_calloc(out * in, sizeof *w), *a = vv_calloc(r * in, sizeof *a), *b = vv_calloc(out * r, sizeof *b);
    x->original = vv_calloc(out * in, sizeof *x->original);
    const vv_status s = w && a && b && x->original ? VV_OK : vv_no_memory(err, x->weight->name);
    if (s == VV_OK) {
        vvb_download(x->original, x->weight->data, out * in * (int64_t)sizeof *w);
        vvb_download(a, x->adapter.a->data, r * in * (int64_t)sizeof *a);
        vvb_download(b, x->adapter.b->data, out * r * (int64_t)sizeof *b);
        for (int64_t i = 0; i < out; i++)
            for (int64_t j = 0; j < in; j++) {
                double sum = 0;
                for (int64_t k = 0; k < r; k++) sum += (double)b[i * r + k] * (double)a[k * in + j];
                w[i * in + j] = (vv_real)((double)x->original[i * in + j] + x->adapter.scale * sum);
            }
        vvb_upload(x->weight->data, w, out * in * (int64_t)sizeof *w);
        x->weight->adapter = NULL;
    } else {
        free(x->original);
        x->original = NULL;
    }
    free(w);
    free(a);
    free(b);
    return s;
}

vv_status vv_lora_merge(vv_lora *l, vv_error *err)
{
    vv_status s = VV_OK;
    for (int64_t i = 0; s == VV_OK && i < l->n; i++)
        if (!l->at[i].original) s = merge_one(&l->at[i], err);
    if (s != VV_OK) vv_lora_unmerge(l);
    return s;
}

void vv_lora_unmerge(vv_lora *l)
{
    for (int64_t i = 0; i < l->n; i++) {
        adapted *x = &l->at[i];
        if (!x->original) continue;
        vvb_upload(x->weight->data, x->original, x->weight->n * (int64_t)sizeof *x->original);
        free(x->original);
        x->original = NULL;
        x->weight->adapter = &x->adapter;
    }
}

/* ---- files ---------------------------------------------------------------------------------------------------------------- */
static json_t *config_json(const vv_lora *l, const char *base_model)
{
    json_t *targets = l->regex ? json_string(l->regex) : json_array();
    for (int64_t i = 0; i < l->n_target; i++)
        if (targets && json_array_append_new(targets, json_string(l->target[i]))) {
            json_decref(targets);
            targets = NULL;
        }
    return json_pack("{s:s, s:n, s:I, s:f, s:f, s:o, s:s, s:b, s:b, s:b, s:n, s:s, s:b, s:b, s:{}, s:{}}", "peft_type",
                     "LORA", "task_type", "r", (json_int_t)l->r, "lora_alpha", l->alpha, "lora_dropout", 0.0,
                     "target_modules", targets, "bias", "none", "fan_in_fan_out", 0, "use_rslora", l->rslora,
                     "use_dora", 0, "modules_to_save", "base_model_name_or_path", base_model ? base_model : "",
                     "inference_mode", 1, "init_lora_weights", 1, "rank_pattern", "alpha_pattern");
}

static vv_status save_config(const vv_lora *l, const char *path, const char *base_model, vv_error *err)
{
    json_t *root = config_json(l, base_model);
    char *text = vv_json_text(root, JSON_INDENT(2));
    const vv_status s = text ? vv_out_text(path, text, err) : vv_no_memory(err, path);
    json_decref(root);
    free(text);
    return s;
}

static vv_status save_weights(const vv_lora *l, const char *path, vv_error *err)
{
    const vv_params *ps = &l->params;
    vv_st_decl *decl = vv_calloc(ps->n, sizeof *decl);
    vv_stw *w = NULL;
    vv_status s = decl ? VV_OK : vv_no_memory(err, path);
    for (int64_t i = 0; s == VV_OK && i < ps->n; i++)
        decl[i] = (vv_st_decl){ps->at[i]->name, VV_DT_F32, 2, {ps->at[i]->dim[0], ps->at[i]->dim[1]}};
    if (s == VV_OK) s = vv_stw_open(&w, path, decl, ps->n, NULL, 0, err);
    for (int64_t i = 0; s == VV_OK && i < ps->n; i++) {
        const vv_tensor *x = ps->at[i];
        vv_real *host = vv_calloc(x->n, sizeof *host);
        if (!host) s = vv_no_memory(err, path);
        if (host) vvb_download(host, x->data, x->n * (int64_t)sizeof *host);
        if (host) s = vv_stw_write_real(w, i, host, err);
        free(host);
    }
    if (s == VV_OK) s = vv_stw_commit(w, err);
    else vv_stw_abort(w);
    free(decl);
    return s;
}

vv_status vv_lora_save(const vv_lora *l, const char *dir, const char *base_model, vv_error *err)
{
    VV_TRY(vv_dir_make(dir, err));
    char *config = vv_path_join(dir, "adapter_config.json"), *weights = vv_path_join(dir, "adapter_model.safetensors");
    vv_status s = config && weights ? save_config(l, config, base_model, err) : vv_no_memory(err, dir);
    if (s == VV_OK) s = save_weights(l, weights, err);
    free(config);
    free(weights);
    return s;
}

/* keys whose only supported value is their default */
static vv_status refuse_variants(const json_t *root, const char *where, vv_error *err)
{
    const char *type = NULL, *bias = "none";
    const json_t *rank = NULL, *alpha = NULL, *save = json_object_get(root, "modules_to_save");
    int dora = 0, transposed = 0;
    VV_TRY(vv_json_need(root, where, "peft_type", err));
    VV_TRY(vv_json_string(root, where, "peft_type", &type, err));
    VV_TRY(vv_json_string(root, where, "bias", &bias, err));
    VV_TRY(vv_json_object(root, where, "rank_pattern", &rank, err));
    VV_TRY(vv_json_object(root, where, "alpha_pattern", &alpha, err));
    VV_TRY(vv_json_bool(root, where, "use_dora", &dora, err));
    VV_TRY(vv_json_bool(root, where, "fan_in_fan_out", &transposed, err));
    if (strcmp(type, "LORA"))
        return vv_fail(err, VV_FILE, "%s: peft_type: expected \"LORA\"; found \"%s\"", where, type);
    if (strcmp(bias, "none")) return vv_fail(err, VV_FILE, "%s: bias: expected \"none\"; found \"%s\"", where, bias);
    const struct {
        const char *key;
        int wrong;
    } list[] = {{"use_dora", dora},
                {"fan_in_fan_out", transposed},
                {"rank_pattern", json_object_size(rank) > 0},
                {"alpha_pattern", json_object_size(alpha) > 0},
                {"modules_to_save", save && !json_is_null(save)}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (list[i].wrong)
            return vv_fail(err, VV_FILE, "%s: %s: expected none (plain LoRA); found one", where, list[i].key);
    return VV_OK;
}

/* names [json_array_size] points into root */
static vv_status read_config(vv_lora_config *c, const char ***names, const json_t *root, const char *where,
                             vv_error *err)
{
    double dropout = 0;
    const json_t *list = json_object_get(root, "target_modules");
    VV_TRY(refuse_variants(root, where, err));
    VV_TRY(vv_json_int(root, where, "r", 1, 1 << 20, &c->r, err));
    VV_TRY(vv_json_real(root, where, "lora_alpha", -1e9, 1e9, &c->alpha, err));
    VV_TRY(vv_json_real(root, where, "lora_dropout", 0, 1, &dropout, err));
    VV_TRY(vv_json_bool(root, where, "use_rslora", &c->rslora, err));
    if (dropout > 0) vv_warn("%s: lora_dropout %g is ignored", where, dropout);
    c->regex = json_string_value(list);
    c->n_target = (int64_t)json_array_size(list);
    if (!c->regex && c->n_target == 0)
        return vv_fail(err, VV_FILE, "%s: target_modules: expected a list of names or a regular expression", where);
    if (!(*names = vv_calloc(c->n_target, sizeof **names))) return vv_no_memory(err, where);
    for (int64_t i = 0; i < c->n_target; i++)
        if (!((*names)[i] = json_string_value(json_array_get(list, (size_t)i))))
            return vv_fail(err, VV_FILE, "%s: target_modules[%lld]: expected a string", where, (long long)i);
    c->target = *names;
    return VV_OK;
}

/* under our name, or without "model." (the adapter of a bare encoder) */
static vv_status load_weights(vv_lora *l, const char *dir, vv_error *err)
{
    vv_weights *w = NULL;
    char *path = vv_path_join(dir, "adapter_model.safetensors");
    vv_status s = path ? vv_weights_open(&w, path, err) : vv_no_memory(err, dir);
    for (int64_t i = 0; s == VV_OK && i < l->params.n; i++) {
        vv_tensor *x = l->params.at[i];
        const char *module = x->name + sizeof PREFIX - 1;
        char bare[VV_NAME_MAX];
        snprintf(bare, sizeof bare, "%s%s", PREFIX, strncmp(module, "model.", 6) ? module : module + 6);
        const int whole = vv_weights_find(w, x->name, NULL) || !vv_weights_find(w, bare, NULL);
        s = vv_param_load(x, w, whole ? x->name : bare, err);
    }
    if (s == VV_OK && vv_weights_count(w) != l->params.n)
        s = vv_fail(err, VV_FILE, "%s: expected %lld tensors, two for each adapted module; found %lld", path,
                    (long long)l->params.n, (long long)vv_weights_count(w));
    vv_weights_close(w);
    free(path);
    return s;
}

vv_status vv_lora_load(vv_lora **out, vv_params *base, const char *dir, vv_error *err)
{
    vv_lora_config c = vv_lora_default();
    const char **names = NULL;
    json_t *root = NULL;
    vv_lora *l = NULL;
    char *path = vv_path_join(dir, "adapter_config.json");
    vv_status s = path ? vv_json_load(&root, path, 1 << 20, err) : vv_no_memory(err, dir);
    if (s == VV_OK) s = read_config(&c, &names, root, path, err);
    if (s == VV_OK) s = vv_lora_new(&l, base, &c, err);
    if (s == VV_OK) s = load_weights(l, dir, err);
    json_decref(root);
    free(names);
    free(path);
    if (s == VV_OK) *out = l;
    else vv_lora_free(l);
    return s;
}
