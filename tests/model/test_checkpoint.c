/* Models as Hugging Face folders: saved, loaded, renamed, damaged. */
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"
#include "model/tower.h"

/* ---- saving and loading ------------------------------------------------------------------------------------------------ */
static double rounded(double x, vv_dtype d)
{
    switch (d) {
    case VV_DT_F32:
        return (double)(float)x;
    case VV_DT_BF16:
        return (double)vv_bf16_to_f32(vv_f64_to_bf16(x));
    case VV_DT_F16:
        return (double)vv_f16_to_f32(vv_f64_to_f16(x));
    default:
        return x;
    }
}

static void expect_loaded(const vv_model *m, const char *dir, vv_dtype d)
{
    vv_model back;
    VVT_OK(vv_model_load(&back, dir, VV_VISION, err));
    ck_assert_int_eq(back.params->n, m->params->n);
    ck_assert_int_eq(back.preprocess.max_pixels, m->preprocess.max_pixels);
    ck_assert(back.vit->config.hidden_act == m->vit->config.hidden_act && back.vit->config.depth == 3);
    for (int64_t p = 0; p < m->params->n; p++) {
        const vv_tensor *x = m->params->at[p], *y = back.params->at[p];
        ck_assert_str_eq(x->name, y->name);
        vv_real *a = tower_get(x->data, x->n), *b = tower_get(y->data, y->n);
        for (int64_t i = 0; i < x->n; i++)
            ck_assert_msg((double)b[i] == rounded((double)a[i], d), "%s[%d]: %.17g, saved %.17g", x->name, (int)i,
                          (double)b[i], (double)a[i]);
        free(a);
        free(b);
    }
    vv_model_free(&back);
}

START_TEST(saved_and_loaded)
{
    static const vv_dtype type[] = {VV_DT_F32, VV_DT_F64, VV_DT_BF16, VV_DT_F16};
    vv_model m = tower_micro();
    if (sizeof(vv_real) == 8) { /* so that F32 has something to round */
        vv_real *v = tower_get(m.vit->merger_2.weight->data, m.vit->merger_2.weight->n);
        for (int64_t i = 0; i < m.vit->merger_2.weight->n; i++) v[i] /= 3;
        vvb_upload(m.vit->merger_2.weight->data, v, m.vit->merger_2.weight->n * (int64_t)sizeof *v);
        free(v);
    }
    for (int i = 0; i < 4; i++)
        for (int shards = 0; shards < 2; shards++) {
            char name[32];
            snprintf(name, sizeof name, "saved-%d-%d", i, shards);
            const char *dir = vvt_path(name);
            VVT_OK(vv_model_save(&m, dir, type[i], shards ? 40000 : 0, err));
            char index[1200];
            snprintf(index, sizeof index, "%s/model.safetensors.index.json", dir);
            ck_assert_int_eq(access(index, F_OK) == 0, shards);
            expect_loaded(&m, dir, type[i]);
        }
    /* saved again as one file: the shards' index is out of date and gone */
    VVT_OK(vv_model_save(&m, vvt_path("saved-0-1"), VV_DT_F64, 0, err));
    expect_loaded(&m, vvt_path("saved-0-1"), VV_DT_F64);
    vv_model_free(&m);
}
END_TEST

/* ---- rewriting the file of weights -------------------------------------------------------------------------------------- */
typedef struct {
    const char *drop, *rename, *renamed; /* a tensor that is left out; one that gets another name */
    const char *reshape, *extra;         /* one that gets another shape; one more */
    const char *prefix;                  /* instead of "visual." */
} change;

/* base/model.safetensors with the change into dir, which gets base's config too */
static const char *rewrite(const char *dir, const change *c)
{
    static char path[1200];
    static const float one[1] = {1};
    vv_st *st = NULL;
    VVT_OK(vv_st_open(&st, vvt_path("base/model.safetensors"), err));
    const int64_t n = vv_st_count(st);
    vv_st_decl *d = vv_calloc(n + 1, sizeof *d);
    const void **bytes = vv_calloc(n + 1, sizeof *bytes);
    char(*name)[128] = vv_calloc(n + 1, sizeof *name);
    int64_t k = 0;
    for (int64_t i = 0; i < n; i++) {
        const vv_st_entry *e = vv_st_at(st, i);
        if (c->drop && !strcmp(c->drop, e->name)) continue;
        if (c->rename && !strcmp(c->rename, e->name)) snprintf(name[k], sizeof name[k], "%s", c->renamed);
        else snprintf(name[k], sizeof name[k], "%s%s", c->prefix ? c->prefix : "visual.", e->name + strlen("visual."));
        d[k] = (vv_st_decl){.name = name[k], .dtype = e->dtype, .ndim = e->ndim};
        memcpy(d[k].shape, e->shape, sizeof e->shape);
        if (c->reshape && !strcmp(c->reshape, e->name)) { /* as many numbers: flat, or a vector as a column */
            d[k].ndim = e->ndim == 1 ? 2 : 1;
            d[k].shape[0] = e->n, d[k].shape[1] = 1;
        }
        bytes[k++] = e->data;
    }
    if (c->extra) d[k] = (vv_st_decl){c->extra, VV_DT_F32, 1, {1}}, bytes[k++] = one;
    vv_stw *w = NULL;
    VVT_OK(vv_dir_make(vvt_path(dir), err));
    snprintf(path, sizeof path, "%s/model.safetensors", vvt_path(dir));
    VVT_OK(vv_stw_open(&w, path, d, k, NULL, 0, err));
    for (int64_t i = 0; i < k; i++) VVT_OK(vv_stw_write(w, i, bytes[i], err));
    VVT_OK(vv_stw_commit(w, err));
    vv_st_close(st);
    free(d);
    free(bytes);
    free(name);
    snprintf(path, sizeof path, "%s/config.json", vvt_path(dir));
    unlink(path);
    ck_assert_int_eq(link(vvt_path("base/config.json"), path), 0);
    snprintf(path, sizeof path, "%s", vvt_path(dir));
    return path;
}

static vv_model base_model(void)
{
    vv_model m = tower_micro();
    VVT_OK(vv_model_save(&m, vvt_path("base"), VV_DT_F32, 0, err));
    return m;
}

START_TEST(prefixes)
{
    static const char *const prefix[] = {"visual.", "model.visual.", ""};
    vv_model m = base_model();
    m.preprocess = vv_preprocess_default(); /* no preprocessor_config.json: the published settings */
    for (int i = 0; i < 3; i++) {
        char dir[32];
        snprintf(dir, sizeof dir, "prefix-%d", i);
        expect_loaded(&m, rewrite(dir, &(change){.prefix = prefix[i]}), VV_DT_F32);
    }
    /* a language model beside the tower, and what older checkpoints keep, are no concern of ours */
    expect_loaded(&m, rewrite("beside", &(change){.extra = "model.layers.0.weight"}), VV_DT_F32);
    expect_loaded(&m, rewrite("old", &(change){.extra = "visual.rotary_pos_emb.inv_freq"}), VV_DT_F32);
    vv_model_free(&m);
}
END_TEST

/* ---- what is refused ----------------------------------------------------------------------------------------------------------- */
static void refuse(const char *dir, const char *a, const char *b, const char *c)
{
    vv_model m;
    vv_error err = {0};
    const int64_t bytes = vvb_get_info()->bytes;
    vvt_expect_error(&err, vv_model_load(&m, dir, VV_VISION, &err), VV_FILE, a, b, c, (char *)NULL);
    ck_assert_ptr_null(m.vit);
    ck_assert_int_eq(vvb_get_info()->bytes, bytes);
}

START_TEST(wrong_tensors)
{
    vv_model m = base_model();
    vv_model_free(&m);
    const char *qkv = "visual.blocks.2.attn.qkv.weight", *last = "visual.merger.mlp.2.bias";
    refuse(rewrite("w1", &(change){.drop = qkv}), "w1", qkv, "expected");
    refuse(rewrite("w2", &(change){.drop = last}), "w2", last, "found none");
    refuse(rewrite("w3", &(change){.reshape = qkv}), "w3/model.safetensors", qkv,
           "expected shape [48,16]; found [768]");
    refuse(rewrite("w8", &(change){.reshape = last}), "w8/model.safetensors", last,
           "expected shape [32]; found [32,1]");
    refuse(rewrite("w4", &(change){.extra = "visual.blocks.3.norm1.weight"}), "w4/model.safetensors",
           "visual.blocks.3.norm1.weight", "unknown");
    refuse(rewrite("w5", &(change){.rename = qkv, .renamed = "visual.blocks.2.attn.qvk.weight"}),
           "w5/model.safetensors", "qvk", "unknown");
    refuse(rewrite("w6", &(change){.prefix = "vision_tower."}), "w6", "patch_embed.proj.weight",
           "found no such tensor");
    refuse(rewrite("w7", &(change){.drop = "visual.patch_embed.proj.weight"}), "w7", "patch_embed.proj.weight",
           "found");
}
END_TEST

/* replaces the file dir/name, or removes it when text is NULL */
static const char *edit(const char *dir, const char *name, const char *text)
{
    static char path[1200];
    snprintf(path, sizeof path, "%s/%s", vvt_path(dir), name);
    unlink(path);
    FILE *f = text ? fopen(path, "w") : NULL;
    if (f) fputs(text, f), fclose(f);
    snprintf(path, sizeof path, "%s", vvt_path(dir));
    return path;
}

START_TEST(damaged_folders)
{
    vv_model m = base_model();
    VVT_OK(vv_model_save(&m, vvt_path("shards"), VV_DT_F32, 40000, err));
    vv_model_free(&m);
    refuse(vvt_path("nowhere"), "nowhere/config.json", "cannot be opened", "No such file");
    refuse(vvt_write("flat", "x", 1), "flat/config.json", "cannot be opened", "Not a directory");
    refuse(edit("shards", "model-00002-of-00003.safetensors", NULL), "model-00002-of-00003.safetensors", "named by",
           "index.json");
    rewrite("d1", &(change){.drop = NULL});
    refuse(edit("d1", "config.json", NULL), "d1/config.json", "cannot be opened", "No such file");
    refuse(edit("d1", "config.json", "{\"vision_config\": {\"embed_dim\": 16, }}"), "d1/config.json", "line 1", "JSON");
    refuse(edit("d1", "config.json", "{\"model_type\": \"bert\"}"), "d1/config.json", "embed_dim", "found");
    /* the weights of another configuration */
    refuse(edit("d1", "config.json", "{\"embed_dim\": 24, \"num_heads\": 2, \"depth\": 3, \"hidden_size\": 32}"),
           "d1/model.safetensors", "patch_embed.proj.weight", "expected shape [24,3,2,14,14]; found [16,3,2,14,14]");
    rewrite("d2", &(change){.drop = NULL});
    refuse(edit("d2", "preprocessor_config.json", "{\"patch_size\": 16}"), "d2/preprocessor_config.json", "14, 2, 2",
           "16, 2, 2");
    refuse(edit("d2", "preprocessor_config.json", "{\"merge_size\": 4}"), "d2/preprocessor_config.json", "14, 2, 2",
           "14, 2, 4");
    refuse(edit("d2", "preprocessor_config.json", "{\"image_mean\": 3}"), "d2/preprocessor_config.json", "image_mean",
           "expected");
    rewrite("d3", &(change){.drop = NULL});
    refuse(edit("d3", "model.safetensors", NULL), "d3", "model.safetensors", "found neither");
    refuse(edit("d3", "model.safetensors", "short"), "d3/model.safetensors", "expected", "found");
}
END_TEST

START_TEST(shapes_only)
{
    vv_model m = base_model();
    vv_model_free(&m);
    rewrite("s1", &(change){.drop = NULL});
    const char *dir = edit("s1", "model.safetensors", NULL); /* not needed */
    const int64_t bytes = vvb_get_info()->bytes;
    VVT_OK(vv_model_load(&m, dir, VV_VISION | VV_SHAPES_ONLY, err));
    ck_assert_ptr_null(m.vit->patch_embed->data);
    ck_assert_int_eq(vvb_get_info()->bytes, bytes);
    vv_model_free(&m);
    ck_assert_ptr_null(m.vit);
}
END_TEST

START_TEST(unwritable)
{
    vv_model m = tower_micro();
    vv_error err = {0};
    vvt_expect_error(&err, vv_model_save(&m, vvt_path("no/such/place"), VV_DT_F32, 0, &err), VV_FILE, "no/such/place",
                     (char *)NULL);
    err = (vv_error){0};
    vvt_expect_error(&err, vv_model_save(&m, vvt_write("taken", "x", 1), VV_DT_F32, 0, &err), VV_FILE, "taken",
                     "folder", (char *)NULL);
    err = (vv_error){0};
    ck_assert_int_eq(mkdir(vvt_path("half"), 0700), 0);
    ck_assert_int_eq(mkdir(vvt_path("half/model.safetensors"), 0700), 0);
    vvt_expect_error(&err, vv_model_save(&m, vvt_path("half"), VV_DT_F32, 0, &err), VV_FILE, "half/model.safetensors",
                     "folder", (char *)NULL);
    vv_model_free(&m);
}
END_TEST

/* ---- initialisation --------------------------------------------------------------------------------------------------------------- */
START_TEST(initialised)
{
    vv_model m = tower_micro();
    VVT_OK(vv_vit_init(m.vit, 5, err));
    double sum = 0, squares = 0;
    int64_t n = 0;
    for (int64_t p = 0; p < m.params->n; p++) {
        const vv_tensor *x = m.params->at[p];
        vv_real *v = tower_get(x->data, x->n);
        const int matrix = x->ndim > 1, bias = strstr(x->name, ".bias") != NULL;
        for (int64_t i = 0; i < x->n; i++) {
            ck_assert(v[i] == (vv_real)(float)v[i]);
            if (!matrix) ck_assert_double_eq((double)v[i], bias ? 0 : 1);
            else sum += (double)v[i], squares += (double)v[i] * (double)v[i], n++;
        }
        free(v);
    }
    const double std = sqrt(squares / (double)n); /* 4 standard errors */
    ck_assert_double_le(fabs(std - 0.02), 4 * 0.02 / sqrt(2.0 * (double)n));
    ck_assert_double_le(fabs(sum / (double)n), 4 * 0.02 / sqrt((double)n));
    vv_model_free(&m);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("checkpoints", &tc);
    tcase_add_test(tc, saved_and_loaded);
    tcase_add_test(tc, prefixes);
    tcase_add_test(tc, wrong_tensors);
    tcase_add_test(tc, damaged_folders);
    tcase_add_test(tc, shapes_only);
    tcase_add_test(tc, unwritable);
    tcase_add_test(tc, initialised);
    return s;
}
VVT_MAIN(suite)
