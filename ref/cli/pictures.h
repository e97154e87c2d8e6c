/* What depth and segment share: pictures that are all read before anything is computed, one of them through the tower, and files that
 * stand together or not at all. */
#ifndef VV_CLI_PICTURES_H
#define VV_CLI_PICTURES_H

#include "cli/cli.h"
#include "model/versavit.h"

typedef struct {
    const char *path;
    char *stem;     /* "cat" of photos/cat.jpg: its files are DIR/cat.ENDING */
    vv_image image; /* rgb is NULL when the tower has seen it, unless all are kept; the sizes stay */
    vv_grid grid;   /* of the patches that the tower saw */
} cli_picture;

typedef struct {
    cli_picture *at;
    int64_t n;
    vv_preprocess how;
    int keep;        /* their pixels */
    const char *dir; /* to write in */
    int made_dir;
    char **file; /* what was written */
    int64_t files, room;
} cli_pictures;

/* Names and nothing else: VV_USAGE for two pictures of the same stem. */
vv_status cli_pictures_name(cli_pictures *p, char **path, int n, const char *dir, vv_error *err);
/* Reads them all and makes the folder. size: 0, or every picture is squashed to size x size. */
vv_status cli_pictures_read(cli_pictures *p, const vv_model *m, int64_t size, vv_error *err);
/* The outputs of blocks taps [n], at most VV_DPT_LEVELS, on one picture: raster[k] [h w, C] in raster order; equal taps are one tensor.
 * Errors of the computation stay with the tape. */
vv_status cli_tower(vv_tape *t, const vv_vit *m, const cli_pictures *p, cli_picture *x, const int64_t *taps, int64_t n,
                    vv_tensor **raster, vv_error *err);

/* Each picture i of the job: first `compute` for all, which is what can fail of its own accord, then `write` for all. The tape is empty
 * for each compute. */
typedef vv_status (*cli_picture_fn)(void *job, vv_tape *t, int64_t i, vv_error *err);
vv_status cli_pictures_run(cli_pictures *p, const char *what, cli_picture_fn compute, cli_picture_fn write, void *job,
                           vv_error *err);

/* The path of the file DIR/STEM.ENDING, which is about to be written. When it stands: p->files++. */
vv_status cli_file(cli_pictures *p, const cli_picture *x, const char *ending, const char **path, vv_error *err);
/* A map of float [h,w] as npy, DIR/STEM.ENDING. */
vv_status cli_file_npy(cli_pictures *p, const cli_picture *x, const char *ending, const float *map, vv_error *err);
/* Unless s is VV_OK, what was written is removed again. Frees everything. */
void cli_pictures_end(cli_pictures *p, vv_status s);

/* n numbers of the backend as fresh memory of the host, NULL without. */
vv_real *cli_download(const vv_tensor *x);
/* VV_NONFINITE, naming the picture, when one of n numbers is not finite. */
vv_status cli_finite(const vv_real *v, int64_t n, const char *what, const char *path, vv_error *err);

#endif
