#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/pictures.h"
#include "data/resize.h"
#include "eval/pca.h"
#include "model/versavit.h"

static const cli_usage usage = {
    "encode --model DIR IMAGE... [-o FILE] [--pca FILE.png]",
    "Runs pictures through the vision tower.",
    "FILE receives, for picture i:  features.<i>     [tokens/4, hidden_size]  the merged features\n"
    "                               layers.<l>.<i>   [tokens, embed_dim]      the hidden state after block l\n"
    "Layers are in token order (2x2 merge blocks) unless --raster is given; merged features are always in raster "
    "order.\n"
    "--pca draws the first three principal components of the last layer named (or of the last block) at the picture's "
    "size;\n"
    "with several pictures, FILE.png becomes FILE.0.png, FILE.1.png ...",
    "versavit encode --model model cat.png -o cat.safetensors --layers 7,15,31 --pca cat-pca.png",
    1,
    -1};

enum { MOST_LAYERS = 64 };

typedef struct {
    const char *model_dir, *out, *pca, *layer_text;
    int raster;
    char **path;
    int64_t n; /* pictures */
    int64_t layer[MOST_LAYERS], n_layers;
    vv_model model;
    vv_image *image;
    vv_stw *writer;
    vv_st_decl *decl;
} encoder;

static vv_status parse_layers(encoder *e, vv_error *err)
{
    for (const char *p = e->layer_text; p && *p;) {
        char *end;
        const long long l = strtoll(p, &end, 10);
        if (end == p || (*end && *end != ',') || l < 0 || l >= e->model.vit->config.depth || e->n_layers == MOST_LAYERS)
            return vv_fail(
                err, VV_USAGE,
                "--layers: this model has %lld blocks: expected numbers from 0 to %lld, with commas; found \"%s\"",
                (long long)e->model.vit->config.depth, (long long)e->model.vit->config.depth - 1, e->layer_text);
        e->layer[e->n_layers++] = l;
        p = *end ? end + 1 : end;
    }
    return VV_OK;
}

/* every picture is decoded before anything is computed: one bad picture, and nothing is written */
static vv_status read_images(encoder *e, vv_error *err)
{
    if (!(e->image = vv_calloc(e->n, sizeof *e->image))) return vv_no_memory(err, "pictures");
    for (int64_t i = 0; i < e->n; i++) {
        int64_t h, w;
        VV_TRY(vv_image_read(&e->image[i], e->path[i], err));
        VV_TRY(vv_preprocess_size(&e->model.preprocess, e->image[i].h, e->image[i].w, &h, &w, e->path[i], err));
        vv_progress("read", i + 1, e->n);
    }
    return VV_OK;
}

static vv_status open_output(encoder *e, vv_error *err)
{
    const vv_vit_config *c = &e->model.vit->config;
    const int64_t each = 1 + e->n_layers;
    if (!(e->decl = vv_calloc(e->n * each, sizeof *e->decl))) return vv_no_memory(err, e->out);
    for (int64_t i = 0; i < e->n; i++) {
        int64_t h, w;
        VV_TRY(vv_preprocess_size(&e->model.preprocess, e->image[i].h, e->image[i].w, &h, &w, e->path[i], err));
        const int64_t tokens = h / c->patch_size * (w / c->patch_size),
                      merge = c->spatial_merge_size * c->spatial_merge_size;
        for (int64_t k = 0; k < each; k++) {
            char *name = k ? vv_asprintf("layers.%lld.%lld", (long long)e->layer[k - 1], (long long)i)
                           : vv_asprintf("features.%lld", (long long)i);
            if (!name) return vv_no_memory(err, e->out);
            e->decl[i * each + k] = (vv_st_decl){name,
                                                 sizeof(vv_real) == 8 ? VV_DT_F64 : VV_DT_F32,
                                                 2,
                                                 {k ? tokens : tokens / merge, k ? c->embed_dim : c->hidden_size}};
        }
    }
    return e->out ? vv_stw_open(&e->writer, e->out, e->decl, e->n * each, NULL, 0, err) : VV_OK;
}

static vv_status write_tensor(encoder *e, int64_t index, const vv_tensor *x, vv_error *err)
{
    if (!e->out) return VV_OK;
    vv_real *v = cli_download(x);
    if (!v) return vv_no_memory(err, e->out);
    const vv_status s = vv_stw_write_real(e->writer, index, v, err);
    free(v);
    return s;
}

/* FILE.png, or FILE.<i>.png for one of several */
static char *pca_path(const encoder *e, int64_t i)
{
    const char *dot = strrchr(e->pca, '.');
    const int stem = dot ? (int)(dot - e->pca) : (int)strlen(e->pca);
    return e->n == 1 ? vv_strdup(e->pca) : vv_asprintf("%.*s.%lld%s", stem, e->pca, (long long)i, dot ? dot : "");
}

static vv_status draw(const encoder *e, int64_t i, const vv_tensor *raster, vv_grid g, vv_error *err)
{
    const int64_t N = vv_rows(raster);
    char *path = pca_path(e, i);
    vv_real *v = cli_download(raster);
    double *x = vv_calloc(raster->n, sizeof *x);
    vv_image small = {0}, full = {0};
    vv_status s = path && v && x ? vv_image_new(&small, g.h, g.w, err) : vv_no_memory(err, e->pca);
    for (int64_t k = 0; s == VV_OK && k < raster->n; k++) x[k] = (double)v[k];
    if (s == VV_OK) s = vv_pca_image(x, N, vv_last(raster), small.rgb, err);
    if (s == VV_OK) s = vv_image_new(&full, e->image[i].h, e->image[i].w, err);
    if (s == VV_OK) s = vv_resize_bicubic_u8(full.rgb, full.h, full.w, small.rgb, small.h, small.w, err);
    if (s == VV_OK) s = vv_image_write_png(&full, path, err);
    vv_image_free(&small);
    vv_image_free(&full);
    free(path);
    free(v);
    free(x);
    return s;
}

static vv_status encode_one(encoder *e, vv_tape *t, int64_t i, vv_error *err)
{
    vv_batch b = {0};
    vv_tensor *tap[MOST_LAYERS + 1] = {0};
    int64_t layer[MOST_LAYERS + 1];
    memcpy(layer, e->layer, sizeof e->layer);
    layer[e->n_layers] = e->model.vit->config.depth - 1; /* for the picture, when no layer is named */
    const vv_vit_wanted want = {layer, e->n_layers + 1, tap, e->out != NULL};
    const vv_status added = vv_batch_add(&b, &e->model.preprocess, &e->image[i], e->path[i], err);
    if (added != VV_OK) {
        vv_batch_free(&b);
        return added;
    }
    const int64_t dim[2] = {b.rows, b.width};
    vv_tensor *x = vv_input(t, "pixel_values", VV_REALS, 2, dim, b.pixel_values);
    vv_tensor *merged = vv_vit_forward(t, e->model.vit, x, b.grid, b.n, &want);
    for (int64_t k = 0; k <= e->n_layers; k++)
        if (e->raster || k == (e->n_layers ? e->n_layers - 1 : 0)) {
            vv_tensor *r = vv_vit_raster(t, e->model.vit, NULL, tap[k], b.grid, b.n);
            if (k == (e->n_layers ? e->n_layers - 1 : 0)) tap[MOST_LAYERS] = r; /* the one to draw */
            if (e->raster) tap[k] = r;
        }
    vv_status s = vv_tape_status(t, err);
    const int64_t first = i * (1 + e->n_layers);
    if (s == VV_OK) s = write_tensor(e, first, merged, err);
    for (int64_t k = 0; s == VV_OK && k < e->n_layers; k++) s = write_tensor(e, first + 1 + k, tap[k], err);
    if (s == VV_OK && e->pca) s = draw(e, i, tap[MOST_LAYERS], b.grid[0], err);
    vv_batch_free(&b);
    vv_tape_reset(t);
    return s;
}

static vv_status run(encoder *e, vv_error *err)
{
    VV_TRY(cli_need("--model", e->model_dir, err));
    if (!e->out && !e->pca)
        return vv_fail(err, VV_USAGE, "encode: expected -o FILE or --pca FILE.png, or both; see --help");
    if (e->pca && (strlen(e->pca) < 5 || strcmp(e->pca + strlen(e->pca) - 4, ".png")))
        return vv_fail(err, VV_USAGE, "--pca: expected a name that ends in .png; found \"%s\"", e->pca);
    VV_TRY(vv_model_load(&e->model, e->model_dir, VV_VISION, err));
    VV_TRY(parse_layers(e, err));
    VV_TRY(read_images(e, err));
    VV_TRY(open_output(e, err));
    vv_tape *t = vv_tape_new(NULL, 0);
    vv_status s = t ? VV_OK : vv_no_memory(err, "tape");
    for (int64_t i = 0; s == VV_OK && i < e->n; i++) {
        s = encode_one(e, t, i, err);
        vv_progress("encode", i + 1, e->n);
    }
    vv_tape_free(t);
    if (s != VV_OK || !e->out) return s;
    vv_stw *w = e->writer;
    e->writer = NULL;
    return vv_stw_commit(w, err);
}

int cmd_encode(int argc, char **argv)
{
    encoder e = {0};
    const cli_option options[] = {
        {"model", 'm', "DIR", "Hugging Face folder of the model", &e.model_dir, NULL, NULL, NULL},
        {"output", 'o', "FILE", "features, as safetensors", &e.out, NULL, NULL, NULL},
        {"layers", 'l', "LIST", "blocks whose output is kept too: 7,15,31 (from 0)", &e.layer_text, NULL, NULL, NULL},
        {"raster", 'r', NULL, "layers in raster order", NULL, NULL, NULL, &e.raster},
        {"pca", 'p', "FILE.png", "draw the features", &e.pca, NULL, NULL, NULL},
        {0}};
    int n, status;
    if (!cli_parse(argc, argv, &usage, options, &e.path, &n, &status)) return status;
    vv_error err = {0};
    e.n = n;
    const vv_status s = run(&e, &err);
    if (s == VV_OK && !cli_quiet)
        for (int64_t i = 0; i < e.n; i++)
            printf("%s: %lldx%lld, %lld features of %lld numbers\n", e.path[i], (long long)e.image[i].w,
                   (long long)e.image[i].h, (long long)e.decl[i * (1 + e.n_layers)].shape[0],
                   (long long)e.decl[i * (1 + e.n_layers)].shape[1]);
    vv_stw_abort(e.writer);
    for (int64_t i = 0; e.decl && i < e.n * (1 + e.n_layers); i++) free((char *)e.decl[i].name);
    for (int64_t i = 0; e.image && i < e.n; i++) vv_image_free(&e.image[i]);
    free(e.decl);
    free(e.image);
    vv_model_free(&e.model);
    return cli_end(s, &err);
}
