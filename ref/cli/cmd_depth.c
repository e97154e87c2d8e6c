#include <math.h>
#include <stdlib.h>

#include "cli/pictures.h"
#include "eval/colormap.h"
#include "io/file.h"

static const cli_usage usage = {
    "depth IMAGE... --model DIR -o DIR [--npy] [--colormap] [--size N]",
    "Estimates how near everything in a picture is: maps of relative disparity (larger is nearer; scale and shift are "
    "unknown).",
    "For every picture NAME.png or NAME.jpg, of its size, in the folder DIR:\n"
    "  NAME.depth.png        16 bits: 0 is the smallest disparity of the picture, 65535 the largest, linear between\n"
    "  NAME.depth.json       {\"min\", \"max\"}: these two numbers; \"size\" and \"seen_at\" [height, width]\n"
    "  NAME.depth.npy        with --npy: the disparities as they are, float32\n"
    "  NAME.depth-color.png  with --colormap: dark is far, bright is near\n"
    "The model sees a picture in its own aspect ratio, within the limits of its preprocessor_config.json, or with "
    "--size squashed to N x "
    "N. A map that is the same everywhere is drawn mid grey.\n"
    "When one of several pictures cannot be used, nothing is written.",
    "versavit depth cat.png dog.jpg --model model -o maps --colormap",
    1,
    -1};

/* Of one picture: disparities [patch h, patch w] as the model saw it, and their limits at the picture's size. */
typedef struct {
    vv_real *seen;
    double lo, hi;
} map;

typedef struct {
    const char *model_dir, *out;
    int npy, colormap;
    int64_t size;
    vv_model model;
    cli_pictures pictures;
    map *map;
} job;

static vv_status estimate(void *ctx, vv_tape *t, int64_t i, vv_error *err)
{
    job *j = ctx;
    cli_picture *x = &j->pictures.at[i];
    const vv_dpt_config *c = vv_dpt_config_of(j->model.depth);
    vv_tensor *tap[VV_DPT_LEVELS];
    VV_TRY(cli_tower(t, j->model.vit, &j->pictures, x, c->taps, c->levels, tap, err));
    vv_tensor *d = vv_dpt_forward(t, j->model.depth, tap, 1, x->grid.h, x->grid.w);
    VV_TRY(vv_tape_status(t, err));
    if (!(j->map[i].seen = cli_download(d))) return vv_no_memory(err, x->path);
    return cli_finite(j->map[i].seen, d->n, "disparity", x->path, err);
}

/* *v [H,W] at the picture's size, corners aligned as everywhere in this head */
static vv_status enlarge(float **v, const job *j, vv_tape *t, int64_t i, vv_error *err)
{
    const cli_picture *x = &j->pictures.at[i];
    const int64_t patch = j->model.vit->config.patch_size, H = x->image.h, W = x->image.w;
    const int64_t dim[4] = {1, patch * x->grid.h, patch * x->grid.w, 1};
    map *m = &j->map[i];
    vv_tensor *y = vv_resize_bilinear(t, "disparity", vv_input(t, NULL, VV_REALS, 4, dim, m->seen), H, W, 1);
    VV_TRY(vv_tape_status(t, err));
    vv_real *full = cli_download(y);
    vv_tape_reset(t);
    *v = full ? vv_calloc(H * W, sizeof **v) : NULL;
    m->lo = HUGE_VAL;
    m->hi = -HUGE_VAL;
    for (int64_t k = 0; *v && k < H * W; k++) {
        const float one = (*v)[k] = (float)full[k];
        if ((double)one < m->lo) m->lo = (double)one; /* no fmin: gcc 12 for arm64 breaks down on it */
        if ((double)one > m->hi) m->hi = (double)one;
    }
    free(full);
    return *v ? VV_OK : vv_no_memory(err, x->path);
}

static vv_status write_grey(job *j, const cli_picture *x, const map *m, const float *v, vv_error *err)
{
    const int64_t n = x->image.h * x->image.w;
    const char *path;
    uint16_t *grey = vv_calloc(n, sizeof *grey);
    if (!grey) return vv_no_memory(err, x->path);
    for (int64_t k = 0; k < n; k++)
        grey[k] = m->lo < m->hi ? (uint16_t)floor(65535 * (((double)v[k] - m->lo) / (m->hi - m->lo)) + 0.5) : 32768;
    vv_status s = cli_file(&j->pictures, x, "depth.png", &path, err);
    if (s == VV_OK) s = vv_grey_write(path, x->image.h, x->image.w, 16, grey, err);
    free(grey);
    if (s == VV_OK) j->pictures.files++;
    return s;
}

static vv_status write_limits(job *j, const cli_picture *x, const map *m, vv_error *err)
{
    const json_int_t patch = (json_int_t)j->model.vit->config.patch_size;
    json_t *o = json_pack("{s:f, s:f, s:[I,I], s:[I,I]}", "min", m->lo, "max", m->hi, "size", (json_int_t)x->image.h,
                          (json_int_t)x->image.w, "seen_at", patch * x->grid.h, patch * x->grid.w);
    char *text = vv_json_text(o, 0);
    const char *path;
    json_decref(o);
    if (!text) return vv_no_memory(err, x->path);
    vv_status s = cli_file(&j->pictures, x, "depth.json", &path, err);
    if (s == VV_OK) s = vv_out_text(path, text, err);
    free(text);
    if (s == VV_OK) j->pictures.files++;
    return s;
}

static vv_status write_colours(job *j, const cli_picture *x, const map *m, const float *v, vv_error *err)
{
    vv_image colours;
    const char *path;
    VV_TRY(vv_image_new(&colours, x->image.h, x->image.w, err));
    vv_colormap_draw(colours.rgb, v, colours.h * colours.w, m->lo, m->hi);
    vv_status s = cli_file(&j->pictures, x, "depth-color.png", &path, err);
    if (s == VV_OK) s = vv_image_write_png(&colours, path, err);
    vv_image_free(&colours);
    if (s == VV_OK) j->pictures.files++;
    return s;
}

static vv_status write(void *ctx, vv_tape *t, int64_t i, vv_error *err)
{
    job *j = ctx;
    const cli_picture *x = &j->pictures.at[i];
    const map *m = &j->map[i];
    float *v = NULL;
    vv_status s = enlarge(&v, j, t, i, err);
    if (s == VV_OK && !(m->lo < m->hi))
        vv_warn("%s: the disparity is %g everywhere: drawn as mid grey", x->path, m->lo);
    if (s == VV_OK) s = write_grey(j, x, m, v, err);
    if (s == VV_OK) s = write_limits(j, x, m, err);
    if (s == VV_OK && j->npy) s = cli_file_npy(&j->pictures, x, "depth.npy", v, err);
    if (s == VV_OK && j->colormap) s = write_colours(j, x, m, v, err);
    free(v);
    return s;
}

static vv_status run(job *j, char **path, int n, vv_error *err)
{
    VV_TRY(cli_need("--model", j->model_dir, err));
    VV_TRY(cli_need("-o", j->out, err));
    VV_TRY(cli_pictures_name(&j->pictures, path, n, j->out, err));
    VV_TRY(vv_model_load(&j->model, j->model_dir, VV_VISION | VV_DEPTH, err));
    VV_TRY(vv_model_need(&j->model, VV_VISION | VV_DEPTH, j->model_dir, err));
    VV_TRY(cli_pictures_read(&j->pictures, &j->model, j->size, err));
    if (!(j->map = vv_calloc(n, sizeof *j->map))) return vv_no_memory(err, "maps");
    return cli_pictures_run(&j->pictures, "depth", estimate, write, j, err);
}

static void summarise(const job *j)
{
    const int64_t patch = j->model.vit->config.patch_size;
    cli_line();
    for (int64_t i = 0; i < j->pictures.n; i++) {
        const cli_picture *x = &j->pictures.at[i];
        printf("%s: %lldx%lld, seen at %lldx%lld, disparity %g to %g\n", x->path, (long long)x->image.w,
               (long long)x->image.h, (long long)(patch * x->grid.w), (long long)(patch * x->grid.h), j->map[i].lo,
               j->map[i].hi);
    }
}

int cmd_depth(int argc, char **argv)
{
    job j = {0};
    const cli_option options[] = {
        {"model", 'm', "DIR", "Hugging Face folder with a tower and a depth head", &j.model_dir, NULL, NULL, NULL},
        {"output", 'o', "DIR", "folder to write in", &j.out, NULL, NULL, NULL},
        {"npy", 0, NULL, "the disparities as they are too", NULL, NULL, NULL, &j.npy},
        {"colormap", 'c', NULL, "a picture in colours too", NULL, NULL, NULL, &j.colormap},
        {"size", 's', "N", "squash to N x N (default: the picture's own aspect ratio)", NULL, &j.size, NULL, NULL},
        {0}};
    char **path;
    int n, status;
    if (!cli_parse(argc, argv, &usage, options, &path, &n, &status)) return status;
    vv_error err = {0};
    const vv_status s = run(&j, path, n, &err);
    if (s == VV_OK && !cli_quiet) summarise(&j);
    for (int64_t i = 0; j.map && i < n; i++) free(j.map[i].seen);
    free(j.map);
    cli_pictures_end(&j.pictures, s);
    vv_model_free(&j.model);
    return cli_end(s, &err);
}
