#include "cli/pictures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/file.h"
#include "io/npy.h"

/* ---- names ----------------------------------------------------------------------------------------------------------------- */
/* the last component without its last ending; ".png" is all stem */
static char *stem_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    return vv_asprintf("%.*s", dot && dot > name ? (int)(dot - name) : (int)strlen(name), name);
}

vv_status cli_pictures_name(cli_pictures *p, char **path, int n, const char *dir, vv_error *err)
{
    p->dir = dir;
    if (!(p->at = vv_calloc(n, sizeof *p->at))) return vv_no_memory(err, "pictures");
    for (; p->n < n; p->n++) {
        cli_picture *x = &p->at[p->n];
        x->path = path[p->n];
        if (!(x->stem = stem_of(x->path))) return vv_no_memory(err, x->path);
        for (int64_t i = 0; i < p->n; i++)
            if (!strcmp(p->at[i].stem, x->stem)) {
                p->n++; /* this one's stem is freed too */
                return vv_fail(err, VV_USAGE,
                               "expected pictures of different names, which name their files; found %s and %s",
                               p->at[i].path, x->path);
            }
    }
    return VV_OK;
}

/* ---- pictures -------------------------------------------------------------------------------------------------------------- */
static vv_status squash(vv_preprocess *p, int64_t size, vv_error *err)
{
    const int64_t factor = p->patch_size * p->merge_size;
    if (size == 0) return VV_OK;
    if (size % factor || size > VV_IMAGE_SIDE)
        return vv_fail(err, VV_USAGE,
                       "--size: expected a multiple of %lld, the model's patch and merge size, up to %d; found %lld",
                       (long long)factor, VV_IMAGE_SIDE, (long long)size);
    p->fixed_h = p->fixed_w = size;
    return VV_OK;
}

vv_status cli_pictures_read(cli_pictures *p, const vv_model *m, int64_t size, vv_error *err)
{
    struct stat st;
    int64_t h, w;
    p->how = m->preprocess;
    VV_TRY(squash(&p->how, size, err));
    for (int64_t i = 0; i < p->n; i++) {
        cli_picture *x = &p->at[i];
        VV_TRY(vv_image_read(&x->image, x->path, err));
        VV_TRY(vv_preprocess_size(&p->how, x->image.h, x->image.w, &h, &w, x->path, err));
        vv_progress("read", i + 1, p->n);
    }
    p->made_dir = stat(p->dir, &st) != 0;
    return vv_dir_make(p->dir, err);
}

static void raster_taps(vv_tape *t, const vv_vit *m, const vv_batch *b, const int64_t *taps, int64_t n,
                        vv_tensor **raster)
{
    const int64_t dim[2] = {b->rows, b->width};
    vv_tensor *tap[VV_DPT_LEVELS] = {NULL};
    const vv_vit_wanted want = {.taps = taps, .n_taps = n, .tap = tap};
    vv_vit_forward(t, m, vv_input(t, "pixel_values", VV_REALS, 2, dim, b->pixel_values), b->grid, b->n, &want);
    for (int64_t k = 0; k < n; k++) {
        raster[k] = NULL;
        for (int64_t j = 0; j < k && !raster[k]; j++)
            if (taps[j] == taps[k]) raster[k] = raster[j];
        if (!raster[k]) raster[k] = vv_vit_raster(t, m, NULL, tap[k], b->grid, b->n);
    }
}

vv_status cli_tower(vv_tape *t, const vv_vit *m, const cli_pictures *p, cli_picture *x, const int64_t *taps, int64_t n,
                    vv_tensor **raster, vv_error *err)
{
    vv_batch b = {0};
    const vv_status s = vv_batch_add(&b, &p->how, &x->image, x->path, err);
    if (s == VV_OK) {
        x->grid = b.grid[0];
        raster_taps(t, m, &b, taps, n, raster);
    }
    vv_batch_free(&b);
    if (!p->keep) {
        free(x->image.rgb);
        x->image.rgb = NULL;
    }
    return s;
}

vv_real *cli_download(const vv_tensor *x)
{
    vv_real *v = vv_calloc(x->n, sizeof *v);
    if (v) vvb_download(v, x->data, x->n * (int64_t)sizeof *v);
    return v;
}

vv_status cli_finite(const vv_real *v, int64_t n, const char *what, const char *path, vv_error *err)
{
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(v[i]))
            return vv_fail(err, VV_NONFINITE, "%s: %s: expected finite numbers; found %g at place %lld of %lld", path,
                           what, (double)v[i], (long long)i, (long long)n);
    return VV_OK;
}

/* ---- files ----------------------------------------------------------------------------------------------------------------- */
vv_status cli_file(cli_pictures *p, const cli_picture *x, const char *ending, const char **path, vv_error *err)
{
    if (p->files == p->room) {
        const int64_t room = 2 * p->room + 16;
        char **more = vv_calloc(room, sizeof *more);
        if (!more) return vv_no_memory(err, x->path);
        if (p->files) memcpy(more, p->file, (size_t)p->files * sizeof *more);
        free(p->file);
        p->file = more;
        p->room = room;
    }
    const size_t n = strlen(p->dir);
    char *made = vv_asprintf("%s%s%s.%s", p->dir, n && p->dir[n - 1] != '/' ? "/" : "", x->stem, ending);
    if (!made) return vv_no_memory(err, x->path);
    free(p->file[p->files]); /* of one that did not come to stand */
    *path = p->file[p->files] = made;
    return VV_OK;
}

vv_status cli_file_npy(cli_pictures *p, const cli_picture *x, const char *ending, const float *map, vv_error *err)
{
    const int64_t shape[2] = {x->image.h, x->image.w};
    const char *path;
    VV_TRY(cli_file(p, x, ending, &path, err));
    VV_TRY(vv_npy_write(path, VV_DT_F32, 2, shape, map, err));
    p->files++;
    return VV_OK;
}

void cli_pictures_end(cli_pictures *p, vv_status s)
{
    for (int64_t i = 0; i < p->files && s != VV_OK; i++) unlink(p->file[i]);
    if (s != VV_OK && p->made_dir) rmdir(p->dir); /* an empty one alone */
    for (int64_t i = 0; i < p->room; i++) free(p->file[i]);
    for (int64_t i = 0; i < p->n; i++) {
        free(p->at[i].stem);
        vv_image_free(&p->at[i].image);
    }
    free(p->file);
    free(p->at);
    *p = (cli_pictures){0};
}

vv_status cli_pictures_run(cli_pictures *p, const char *what, cli_picture_fn compute, cli_picture_fn write, void *job,
                           vv_error *err)
{
    vv_tape *t = vv_tape_new(NULL, 0);
    vv_status s = t ? VV_OK : vv_no_memory(err, "tape");
    for (int64_t i = 0; s == VV_OK && i < p->n; i++) {
        s = compute(job, t, i, err);
        vv_tape_reset(t);
        vv_progress(what, i + 1, p->n);
    }
    if (s == VV_OK) {
        vv_out_group_begin();
        for (int64_t i = 0; s == VV_OK && i < p->n; i++) s = write(job, t, i, err);
        vv_out_group_end();
    }
    vv_tape_free(t);
    return s;
}
