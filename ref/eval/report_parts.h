/* Inside eval/report*.c only: the page as it grows, the log as numbers, the axes of figures, and the sections. */
#ifndef VV_REPORT_PARTS_H
#define VV_REPORT_PARTS_H

#include "eval/probe.h"
#include "eval/report.h"
#include "io/image.h"
#include "train/config.h"

/* ---- the page: well-formed as XML; a lack of memory sticks ---------------------------------------------------------------------- */
typedef struct {
    char *text; /* NUL-terminated */
    int64_t n, cap;
    int failed;
} vv_page; /* zeroed to begin */
void vv_page_free(vv_page *p);
void vv_page_put(vv_page *p, const char *fmt, ...)
    VV_PRINTF(2, 3); /* markup: texts of others must come through vv_page_text */
void vv_page_text(vv_page *p,
                  const char *text); /* & < > " escaped; what is no UTF-8 and control characters become U+FFFD */
void vv_page_head(vv_page *p, const char *title);
void vv_page_tail(vv_page *p);
void vv_page_key(vv_page *p, const char *colour, const char *name); /* an entry of a legend */
/* An img element of the class that shows rgb; alt and the element's title are `alt`. */
vv_status vv_page_image(vv_page *p, const vv_image *image, const char *class_name, const char *alt,
                        vv_error *err) VV_MUST_USE;
/* The same in a figure element, with alt as its caption. */
vv_status vv_page_figure(vv_page *p, const vv_image *image, const char *class_name, const char *alt,
                         vv_error *err) VV_MUST_USE;

/* ---- the log -------------------------------------------------------------------------------------------------------------------- */
typedef enum {
    VV_COLUMN_UPDATE,
    VV_COLUMN_LOSS, /* + task */
    VV_COLUMN_TOTAL = VV_COLUMN_LOSS + VV_TASKS,
    VV_COLUMN_SSI,
    VV_COLUMN_GM,
    VV_COLUMN_BCE,
    VV_COLUMN_DICE,
    VV_COLUMN_LR, /* + part */
    VV_COLUMN_GRAD_NORM = VV_COLUMN_LR + VV_PARTS,
    VV_COLUMN_SECONDS,
    VV_COLUMN_HELD_OUT, /* + task */
    VV_COLUMNS = VV_COLUMN_HELD_OUT + VV_TASKS
} vv_column;

typedef struct {
    char *name;
    int64_t updates, parameters, trainable, threads; /* as the log says at its start; 0: it does not */
    int64_t n, cap;                                  /* updates logged */
    double *row;                                     /* [n,VV_COLUMNS], NaN: not there */
    json_t *gradients;                               /* list of the lines of that kind */
} vv_log_stage;

typedef struct {
    vv_log_stage *stage;
    int64_t n;
} vv_run_log;

/* Without the file: no stages. A last line that is cut off, as a process that was ended leaves it, is left out. */
vv_status vv_run_log_read(vv_run_log *l, const char *folder, vv_error *err) VV_MUST_USE;
void vv_run_log_free(vv_run_log *l); /* zeroes it */
/* Mean of the column over the rows [first,end) that have it, NaN without. */
double vv_log_mean(const vv_log_stage *s, int column, int64_t first, int64_t end);

/* ---- axes ------------------------------------------------------------------------------------------------------------------------ */
enum { VV_SVG_WIDTH = 720, VV_SVG_LEFT = 56, VV_SVG_RIGHT = 8 };

/* From lo at y = bottom to hi at y = top. */
typedef struct {
    double lo, hi, top, bottom;
    int log;
} vv_axis;
/* An axis with round ends around lo..hi; logarithmic when asked for, then lo > 0. */
vv_axis vv_axis_around(double lo, double hi, int log, double top, double bottom);
double vv_axis_at(const vv_axis *a, double value);
void vv_axis_draw(vv_page *p, const vv_axis *a, double left, double right); /* lines across, numbers at the left */
double vv_round_step(double range, int count); /* 1, 2 or 5 times a power of ten: about `count` of it make the range */
void vv_svg_open(vv_page *p, double height, const char *title);

/* ---- predictions ------------------------------------------------------------------------------------------------------------------ */
enum { VV_SHOWN_MASKS = 3 };
typedef struct {
    vv_scene scene;
    vv_grid grid;                               /* of features, after vv_predict_tower */
    vv_real *features;                          /* [h w,C] of the last block, raster order */
    int64_t size;                               /* pixels a side of `disparity` */
    float *disparity;                           /* [size,size] as predicted; NULL: no depth head that trained */
    int64_t masks, referring[VV_SHOWN_MASKS];   /* how many, and which of the scene's expressions */
    unsigned char *mask[VV_SHOWN_MASKS];        /* [h,w] of the scene; NULL: no mask head that trained */
    char *caption, *answer[VV_SYNTH_QUESTIONS]; /* NULL: no language model */
} vv_shown;
void vv_shown_free(vv_shown *s);

/* A model, and what of it is asked. texts NULL: no masks. */
typedef struct {
    vv_model model;
    vv_tape *tape;
    struct vv_texts *texts;
    int depth, language;      /* whether to ask */
    int64_t size, max_pixels; /* of the squares that dense heads see; of pictures beside text, 0: the model's */
} vv_predictor;
vv_status vv_predict(vv_predictor *p, vv_shown *s, vv_error *err) VV_MUST_USE;
/* The tower alone: grid and features. */
vv_status vv_predict_tower(vv_predictor *p, vv_shown *s, vv_error *err) VV_MUST_USE;
void vv_predictor_free(vv_predictor *p);

/* ---- probes on the scenes that are shown --------------------------------------------------------------------------------------------- */
enum { VV_REPORT_PROBES = 2 };
typedef struct {
    int present;
    vv_probe_result result[VV_REPORT_PROBES]; /* depth, segmentation; their test scenes are those shown */
} vv_probed;
/* Of scenes [VV_PROBE_TEST, + n); not present when they have no size that the tower reads. On failure *p is empty. */
vv_status vv_probed_make(vv_probed *p, const vv_model *m, const vv_synth_options *scenes, int64_t n,
                         vv_error *err) VV_MUST_USE;
void vv_probed_free(vv_probed *p);
void vv_probed_introduce(vv_page *page, const vv_probed *base, const vv_probed *own);
/* Scene i of those; base may be not present. */
vv_status vv_probed_draw(vv_page *page, const vv_probed *base, const vv_probed *own, const vv_scene *scene, int64_t i,
                         vv_error *err) VV_MUST_USE;

/* ---- sections --------------------------------------------------------------------------------------------------------------------- */
typedef struct {
    const vv_report_options *options;
    int has_config;
    vv_train_config config; /* run.json */
    vv_run_log log;
    char *model, *base; /* folders, NULL: none */
    int64_t stage;      /* of the model, in the configuration; -1: unknown */
} vv_report;

void vv_report_curves(vv_page *p, const vv_report *r);
vv_status vv_report_gradients(vv_page *p, const vv_report *r, vv_error *err) VV_MUST_USE;
vv_status vv_report_scenes(vv_page *p, const vv_report *r, vv_error *err) VV_MUST_USE;
vv_status vv_report_tables(vv_page *p, const vv_report *r, vv_error *err) VV_MUST_USE;
vv_status vv_report_given(vv_page *p, const char *path, vv_error *err) VV_MUST_USE; /* path NULL: nothing */

#endif
