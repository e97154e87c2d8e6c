#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "data/preprocess.h"
#include "io/file.h"
#include "io/safetensors.h"

static const cli_usage usage = {
    "pixels IMAGE -o FILE [--model DIR]",
    "What the vision tower sees of a picture: the resized pixels and the patches, for comparing preprocessing.",
    "FILE receives resized U8 [h,w,3], pixel_values F32 [patches,1176] and grid_thw I64 [1,3].\n"
    "Sizes and normalisation are those of DIR/preprocessor_config.json, else the published ones.",
    "versavit pixels cat.png -o cat-pixels.safetensors",
    1,
    1};

static vv_status run(const char *path, const char *model, const char *out, vv_error *err)
{
    vv_preprocess p = vv_preprocess_default();
    vv_image image = {0}, resized = {0};
    float *values = NULL;
    vv_grid g = {0};
    vv_stw *w = NULL;
    char *config = model ? vv_path_join(model, "preprocessor_config.json") : NULL;
    vv_status s = cli_need("-o", out, err);
    if (s == VV_OK && model) s = config ? vv_preprocess_load(&p, config, err) : vv_no_memory(err, model);
    if (s == VV_OK) s = vv_image_read(&image, path, err);
    if (s == VV_OK) s = vv_preprocess_resize(&p, &image, &resized, path, err);
    if (s == VV_OK) s = vv_preprocess_image(&p, &image, &values, &g, path, err);
    const int64_t thw[3] = {g.t, g.h, g.w};
    const vv_st_decl decl[3] = {
        {"resized", VV_DT_U8, 3, {resized.h, resized.w, 3}},
        {"pixel_values", VV_DT_F32, 2, {g.t * g.h * g.w, 3 * p.temporal_patch_size * p.patch_size * p.patch_size}},
        {"grid_thw", VV_DT_I64, 2, {1, 3}}};
    if (s == VV_OK) s = vv_stw_open(&w, out, decl, 3, NULL, 0, err);
    if (s == VV_OK) s = vv_stw_write(w, 0, resized.rgb, err);
    if (s == VV_OK) s = vv_stw_write(w, 1, values, err);
    if (s == VV_OK) s = vv_stw_write(w, 2, thw, err);
    if (s == VV_OK) s = vv_stw_commit(w, err);
    else vv_stw_abort(w);
    if (s == VV_OK && !cli_quiet)
        printf("%s: %lldx%lld seen as %lldx%lld, %lld patches\n", path, (long long)image.w, (long long)image.h,
               (long long)resized.w, (long long)resized.h, (long long)(g.t * g.h * g.w));
    vv_image_free(&image);
    vv_image_free(&resized);
    free(values);
    free(config);
    return s;
}

int cmd_pixels(int argc, char **argv)
{
    const char *model = NULL, *out = NULL;
    const cli_option options[] = {{"model", 'm', "DIR", "model whose preprocessing to use", &model, NULL, NULL, NULL},
                                  {"output", 'o', "FILE", "safetensors file to write", &out, NULL, NULL, NULL},
                                  {0}};
    char **args;
    int n, status;
    if (!cli_parse(argc, argv, &usage, options, &args, &n, &status)) return status;
    vv_error err = {0};
    return cli_end(run(args[0], model, out, &err), &err);
}
