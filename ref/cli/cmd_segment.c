#include <stdlib.h>
#include <string.h>

#include "cli/pictures.h"
#include "eval/colormap.h"
#include "eval/draw.h"
#include "io/file.h"
#include "train/texts.h"

static const cli_usage usage = {
    "segment IMAGE... --model DIR -o DIR [--text TEXT]... [--text-embedding FILE | --text-encoder DIR] [--overlay] "
    "[--npy] [--size N]",
    "Finds what texts mean in pictures: a mask for every picture and every text.",
    "For every picture NAME.png or NAME.jpg and text K, from 0 in the order given, of the picture's size, in the "
    "folder DIR:\n"
    "  NAME.K.mask.png    8 bits: 255 where the logit is above 0, else 0\n"
    "  NAME.K.logits.npy  with --npy: the logits, float32\n"
    "  NAME.overlay.png   with --overlay: the picture, every mask in a colour of its own, and their texts\n"
    "Texts are embedded by the model's own language model, by that of the folder --text-encoder, or looked up in a "
    "file that embed-text "
    "wrote; then without --text all texts of the file are taken. Embeddings are cut to the width that the segmentation "
    "head reads.\n"
    "The model sees a picture in its own aspect ratio, within the limits of its preprocessor_config.json, or with "
    "--size squashed to N x "
    "N. Logits are resized bilinearly, first to the size that the model saw, then to the picture's.\n"
    "When one of several pictures cannot be used, nothing is written.",
    "versavit segment street.png --model model --text \"the red car\" --text \"a tree\" -o masks --overlay\n"
    "  versavit segment *.png --model model --text-embedding embeddings.safetensors -o masks",
    1,
    -1};

typedef struct {
    const char *model_dir, *out, *file, *encoder;
    int overlay, npy;
    int64_t size;
    const char **text; /* P of them */
    int64_t P;
    json_t *list;     /* which has them, when they are of the file */
    vv_real *vector;  /* [P, text_dim] */
    vv_real **logits; /* [P, 4h, 4w] of each picture */
    int64_t *found;   /* pixels of each mask, [pictures, P] */
    vv_model model;
    cli_pictures pictures;
} job;

/* ---- texts ----------------------------------------------------------------------------------------------------------------- */
/* all texts of the file; vv_texts_open, which came before, has found a list of texts there */
static vv_status all_texts(job *j, vv_error *err)
{
    vv_st *file = NULL;
    VV_TRY(vv_st_open(&file, j->file, err));
    const char *texts = vv_st_metadata(file, "texts");
    j->list = texts ? json_loads(texts, 0, NULL) : NULL;
    vv_st_close(file);
    if (!j->list) return vv_no_memory(err, j->file);
    const int64_t n = (int64_t)json_array_size(j->list);
    if (n == 0) return vv_fail(err, VV_FILE, "%s: expected a text at least; found none", j->file);
    free(j->text);
    if (!(j->text = vv_calloc(n, sizeof *j->text))) return vv_no_memory(err, j->file);
    for (; j->P < n; j->P++) j->text[j->P] = json_string_value(json_array_get(j->list, (size_t)j->P));
    return VV_OK;
}

static vv_status embed(job *j, vv_error *err)
{
    const int64_t dim = vv_mask_config_of(j->model.mask)->text_dim;
    vv_texts *texts = NULL;
    vv_status s = j->file ? vv_texts_open(&texts, j->file, dim, err)
                          : vv_texts_encoder(&texts, j->encoder ? j->encoder : j->model_dir, dim, err);
    if (s == VV_OK && j->P == 0) s = all_texts(j, err);
    if (s == VV_OK && !(j->vector = vv_calloc(vv_mul(j->P, dim), sizeof *j->vector))) s = vv_no_memory(err, "texts");
    for (int64_t k = 0; s == VV_OK && k < j->P; k++) {
        const vv_real *v = NULL;
        s = vv_texts_find(texts, j->text[k], &v, err);
        if (s == VV_OK) memcpy(j->vector + k * dim, v, (size_t)dim * sizeof *v);
        vv_progress("embed", k + 1, j->P);
    }
    vv_texts_free(texts);
    return s;
}

/* ---- masks ----------------------------------------------------------------------------------------------------------------- */
static vv_status find(void *ctx, vv_tape *t, int64_t i, vv_error *err)
{
    job *j = ctx;
    cli_picture *x = &j->pictures.at[i];
    const vv_mask_config *c = vv_mask_config_of(j->model.mask);
    const int64_t dim[2] = {j->P, c->text_dim};
    vv_tensor *h = NULL;
    VV_TRY(cli_tower(t, j->model.vit, &j->pictures, x, &c->layer, 1, &h, err));
    int32_t *image_of = vv_calloc(j->P, sizeof *image_of); /* all of picture 0 */
    if (!image_of) return vv_no_memory(err, x->path);
    vv_tensor *y = vv_mask_forward(t, j->model.mask, h, 1, x->grid.h, x->grid.w,
                                   vv_input(t, "text", VV_REALS, 2, dim, j->vector), image_of, j->P);
    free(image_of);
    VV_TRY(vv_tape_status(t, err));
    if (!(j->logits[i] = cli_download(y))) return vv_no_memory(err, x->path);
    return cli_finite(j->logits[i], y->n, "logits", x->path, err);
}

/* *v [H,W], the logits of text k at the picture's size */
static vv_status enlarge(float **v, const job *j, vv_tape *t, int64_t i, int64_t k, vv_error *err)
{
    const cli_picture *x = &j->pictures.at[i];
    const int64_t patch = j->model.vit->config.patch_size, H = x->image.h, W = x->image.w;
    const int64_t dim[3] = {1, 4 * x->grid.h, 4 * x->grid.w};
    vv_tensor *y = vv_input(t, NULL, VV_REALS, 3, dim, j->logits[i] + k * dim[1] * dim[2]);
    y = vv_mask_resize(t, "logits", y, patch * x->grid.h, patch * x->grid.w);
    y = vv_mask_resize(t, "logits", y, H, W);
    VV_TRY(vv_tape_status(t, err));
    vv_real *full = cli_download(y);
    vv_tape_reset(t);
    *v = full ? vv_calloc(H * W, sizeof **v) : NULL;
    for (int64_t p = 0; *v && p < H * W; p++) (*v)[p] = (float)full[p];
    free(full);
    return *v ? VV_OK : vv_no_memory(err, x->path);
}

static vv_status write_mask(job *j, const cli_picture *x, int64_t k, const unsigned char *mask, vv_error *err)
{
    const char *path;
    char ending[40];
    snprintf(ending, sizeof ending, "%lld.mask.png", (long long)k);
    VV_TRY(cli_file(&j->pictures, x, ending, &path, err));
    VV_TRY(vv_grey_write(path, x->image.h, x->image.w, 8, mask, err));
    j->pictures.files++;
    return VV_OK;
}

/* text k on picture i */
static vv_status write_text(job *j, vv_tape *t, int64_t i, int64_t k, vv_error *err)
{
    cli_picture *x = &j->pictures.at[i];
    const int64_t n = x->image.h * x->image.w;
    unsigned char rgb[3], *mask = vv_calloc(n, 1);
    char ending[40];
    float *v = NULL;
    vv_status s = mask ? enlarge(&v, j, t, i, k, err) : vv_no_memory(err, x->path);
    for (int64_t p = 0; s == VV_OK && p < n; p++) {
        mask[p] = v[p] > 0 ? 255 : 0;
        j->found[i * j->P + k] += v[p] > 0;
    }
    if (s == VV_OK) s = write_mask(j, x, k, mask, err);
    snprintf(ending, sizeof ending, "%lld.logits.npy", (long long)k);
    if (s == VV_OK && j->npy) s = cli_file_npy(&j->pictures, x, ending, v, err);
    vv_colour_of(k, rgb);
    if (s == VV_OK && j->overlay) vv_draw_mask(&x->image, mask, rgb);
    free(v);
    free(mask);
    return s;
}

static vv_status write(void *ctx, vv_tape *t, int64_t i, vv_error *err)
{
    job *j = ctx;
    cli_picture *x = &j->pictures.at[i];
    const char *path;
    for (int64_t k = 0; k < j->P; k++) VV_TRY(write_text(j, t, i, k, err));
    if (!j->overlay) return VV_OK;
    vv_draw_legend(&x->image, j->text, j->P);
    VV_TRY(cli_file(&j->pictures, x, "overlay.png", &path, err));
    VV_TRY(vv_image_write_png(&x->image, path, err));
    j->pictures.files++;
    return VV_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------- */
static vv_status run(job *j, char **path, int n, vv_error *err)
{
    VV_TRY(cli_need("--model", j->model_dir, err));
    VV_TRY(cli_need("-o", j->out, err));
    if (j->P == 0 && !j->file)
        return vv_fail(err, VV_USAGE, "segment: expected --text TEXT or --text-embedding FILE, or both; see --help");
    if (j->file && j->encoder)
        return vv_fail(err, VV_USAGE, "segment: expected --text-embedding or --text-encoder; found both");
    VV_TRY(cli_pictures_name(&j->pictures, path, n, j->out, err));
    VV_TRY(vv_model_load(&j->model, j->model_dir, VV_VISION | VV_MASK, err));
    VV_TRY(vv_model_need(&j->model, VV_VISION | VV_MASK, j->model_dir, err));
    VV_TRY(embed(j, err));
    j->pictures.keep = j->overlay;
    VV_TRY(cli_pictures_read(&j->pictures, &j->model, j->size, err));
    j->logits = vv_calloc(n, sizeof *j->logits);
    j->found = vv_calloc(vv_mul(n, j->P), sizeof *j->found);
    if (!j->logits || !j->found) return vv_no_memory(err, "masks");
    return cli_pictures_run(&j->pictures, "segment", find, write, j, err);
}

static void summarise(const job *j)
{
    cli_line();
    for (int64_t i = 0; i < j->pictures.n; i++) {
        const cli_picture *x = &j->pictures.at[i];
        const int64_t patch = j->model.vit->config.patch_size;
        printf("%s: %lldx%lld, seen at %lldx%lld\n", x->path, (long long)x->image.w, (long long)x->image.h,
               (long long)(patch * x->grid.w), (long long)(patch * x->grid.h));
        for (int64_t k = 0; k < j->P; k++)
            printf("  %lld: %5.1f %%  %s\n", (long long)k,
                   100 * (double)j->found[i * j->P + k] / (double)(x->image.h * x->image.w), j->text[k]);
    }
}

int cmd_segment(int argc, char **argv)
{
    job j = {.text = vv_calloc(argc, sizeof *j.text)};
    vv_error err = {0};
    if (!j.text) return cli_end(vv_no_memory(&err, "arguments"), &err);
    const cli_option options[] = {
        {"model", 'm', "DIR", "Hugging Face folder with a tower and a segmentation head", &j.model_dir, NULL, NULL,
         NULL},
        {"text", 't', "TEXT", "what to find; may be given many times", j.text, &j.P, NULL, NULL},
        {"text-embedding", 'e', "FILE", "embeddings of the texts, of embed-text", &j.file, NULL, NULL, NULL},
        {"text-encoder", 0, "DIR", "folder of another language model for the texts", &j.encoder, NULL, NULL, NULL},
        {"output", 'o', "DIR", "folder to write in", &j.out, NULL, NULL, NULL},
        {"overlay", 0, NULL, "the pictures with masks and texts on them too", NULL, NULL, NULL, &j.overlay},
        {"npy", 0, NULL, "the logits too", NULL, NULL, NULL, &j.npy},
        {"size", 's', "N", "squash to N x N (default: the picture's own aspect ratio)", NULL, &j.size, NULL, NULL},
        {0}};
    char **path;
    int n, status;
    if (!cli_parse(argc, argv, &usage, options, &path, &n, &status)) {
        free(j.text);
        return status;
    }
    const vv_status s = run(&j, path, n, &err);
    if (s == VV_OK && !cli_quiet) summarise(&j);
    for (int64_t i = 0; j.logits && i < n; i++) free(j.logits[i]);
    free(j.logits);
    free(j.found);
    free(j.vector);
    free(j.text);
    json_decref(j.list);
    cli_pictures_end(&j.pictures, s);
    vv_model_free(&j.model);
    return cli_end(s, &err);
}
