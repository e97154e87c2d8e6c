/* Synthetic scenes: small ray-traced pictures of spheres, boxes, cylinders and cones on a floor, on steps or in the air, before
 * walls, below ceilings or under a sky, with everything that the three tasks learn from: a caption, questions with answers,
 * depth, classes, and the masks of objects with expressions that name one of them.
 *
 * Scene `index` is a pure function of (options, index): the same bytes with every compiler, number type and number of threads.
 * The arithmetic is double in a fixed order; of libm only sqrt, floor and fabs are used, which are exact.
 *
 * What a scene promises, by redrawing those that do not:
 *   - its objects cover VV_SYNTH_COVER_LEAST to VV_SYNTH_COVER_MOST of the picture; a share of the scenes are close-ups of
 *     one object, which cover at least VV_SYNTH_CLOSE_LEAST;
 *   - every object shows at least VV_SYNTH_AREA_LEAST of the picture;
 *   - the sky covers at most VV_SYNTH_SKY_MOST of it (so that a median of disparities is not the sky's 0);
 *   - every sentence is true by a margin (below), and every referring expression names exactly one object.
 * Colour and shape are independent but for the held-out pairs, which an option keeps out of the scenes and of the texts.     */
#ifndef VV_SYNTH_H
#define VV_SYNTH_H

#include "io/image.h"

/* The class map. A ceiling counts as wall; "step" is a stair or platform in the colours of the building. */
typedef enum {
    VV_SYNTH_SKY,
    VV_SYNTH_FLOOR,
    VV_SYNTH_WALL,
    VV_SYNTH_SPHERE, /* + shape for the four shapes */
    VV_SYNTH_BOX,
    VV_SYNTH_CYLINDER,
    VV_SYNTH_CONE,
    VV_SYNTH_STEP,
    VV_SYNTH_CLASSES
} vv_synth_class;

enum {
    VV_SYNTH_COLOURS = 11,
    VV_SYNTH_SHAPES = 4,
    VV_SYNTH_SIZES = 4,
    VV_SYNTH_MOST = 6,       /* objects of a scene */
    VV_SYNTH_QUESTIONS = 6,  /* of a scene: at most one of each type */
    VV_SYNTH_REFERRING = 12, /* of a scene: at most two for each object */
    VV_SYNTH_SIDE_LEAST = 28,
    VV_SYNTH_SIDE_MOST = 2048
};

#define VV_SYNTH_COVER_LEAST 0.25
#define VV_SYNTH_COVER_MOST 0.40
#define VV_SYNTH_CLOSE_LEAST 0.32
#define VV_SYNTH_AREA_LEAST 0.01
#define VV_SYNTH_SKY_MOST 0.40
#define VV_SYNTH_FAR                                                                                                   \
    60.0 /* metres along the viewing axis: beyond, the floor has faded into the sky and counts as sky */

/* Margins of what texts say. Left and right: centroids differ by at least this share of the width. Nearer: the mean depth is
 * smaller by at least this factor, and the nearest pixel is nearer too. */
#define VV_SYNTH_SIDE_MARGIN 0.08
#define VV_SYNTH_DEPTH_MARGIN 1.12

extern const char *const vv_synth_class_name[VV_SYNTH_CLASSES];
extern const char *const vv_synth_colour[VV_SYNTH_COLOURS];
extern const char *const vv_synth_shape[VV_SYNTH_SHAPES];
extern const char *const vv_synth_size[VV_SYNTH_SIZES]; /* small, large, tall, flat */

/* Whether the pair is one of the eight held out, two of each shape. */
int vv_synth_held_out(int colour, int shape);

typedef struct {
    uint64_t seed;
    int64_t size;                     /* pixels of a side */
    int64_t min_objects, max_objects; /* of the scenes that are not close-ups */
    double closeups;                  /* share of close-ups, 0..1 */
    int held_out;                     /* 1: the held-out pairs are drawn like all others; 0: they occur nowhere */
} vv_synth_options;

/* seed 0, 112 pixels, 2 to 6 objects, a quarter close-ups, nothing held out is drawn */
vv_synth_options vv_synth_default(void);

/* VV_USAGE naming the option that is out of range. */
vv_status vv_synth_check(const vv_synth_options *o, vv_error *err) VV_MUST_USE;

typedef struct {
    int colour, shape,
        size;              /* indices of the words above; small and large are by volume, tall and flat by proportion */
    int64_t area;          /* pixels that show it */
    double x, y;           /* their centroid, as shares of width and height from the upper left */
    double depth, nearest; /* their mean and least depth, metres */
    unsigned char *mask;   /* [h,w] 1 where it shows, else 0; belongs to the scene */
} vv_synth_object;

typedef struct {
    const char *type; /* "count", "color", "shape", "position", "depth_order", "existence" */
    char question[128], answer[40];
} vv_synth_question;

typedef struct {
    char text[48];
    int64_t object;
} vv_synth_referring;

typedef struct {
    vv_image image;         /* size x size */
    float *depth;           /* [h,w] along the viewing axis, metres; +infinity for sky, whose disparity 1/depth is 0 */
    unsigned char *classes; /* [h,w] vv_synth_class */
    int64_t n_objects;
    vv_synth_object object[VV_SYNTH_MOST];
    int closeup;
    int floor_colour; /* the colour word of the floor, -1 where too little of it shows */
    char caption[400];
    int64_t n_questions;
    vv_synth_question question[VV_SYNTH_QUESTIONS];
    int64_t n_referring;
    vv_synth_referring referring[VV_SYNTH_REFERRING];
    unsigned char *masks; /* private: all of them */
} vv_scene;

/* Draws scene `index` (from 0). From any thread; there is no state. On failure *out is zeroed. VV_USAGE: as vv_synth_check, or a
 * negative index. */
vv_status vv_synth_scene(vv_scene *out, const vv_synth_options *o, int64_t index, vv_error *err) VV_MUST_USE;
void vv_scene_free(vv_scene *s); /* zeroes it; a zeroed one is fine */

/* Scenes [first, first + count) as files in the folder dir, in the form of data/README.md. A folder that exists is VV_USAGE
 * unless force is set. The pictures are written by several threads; the manifests appear last, when all they name is there. */
vv_status vv_synth_write(const char *dir, const vv_synth_options *o, int64_t first, int64_t count, int force,
                         vv_error *err) VV_MUST_USE;

#endif
