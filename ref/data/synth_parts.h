/* Between the files of the scene renderer: dice, vectors, and the stage that is set (synth_stage.c), photographed (synth_trace.c,
 * synth_shade.c) and described (synth_text.c). */
#ifndef VV_SYNTH_PARTS_H
#define VV_SYNTH_PARTS_H

#include <math.h>

#include "base/rng.h"
#include "data/synth.h"

/* ---- dice: numbers one after the other, a stream for each scene and purpose. Never two draws in one expression or list of
 * arguments: C leaves their order open, and compilers differ. ---- */

typedef struct {
    uint64_t seed, stream, next;
} vv_dice;

static inline double vv_roll(vv_dice *d) { return vv_random_uniform(d->seed, d->stream, d->next++); }
static inline double vv_between(vv_dice *d, double lo, double hi) { return lo + (hi - lo) * vv_roll(d); }
static inline int vv_below(vv_dice *d, int n) { return (int)(n * vv_roll(d)); }
static inline int vv_chance(vv_dice *d, double p) { return vv_roll(d) < p; }

/* ---- vectors: x to the right, y up, z away ---- */

typedef struct {
    double x, y, z;
} vv_vec;

static inline vv_vec vv_vec3(double x, double y, double z) { return (vv_vec){x, y, z}; }
static inline vv_vec vv_sum(vv_vec a, vv_vec b) { return vv_vec3(a.x + b.x, a.y + b.y, a.z + b.z); }
static inline vv_vec vv_diff(vv_vec a, vv_vec b) { return vv_vec3(a.x - b.x, a.y - b.y, a.z - b.z); }
static inline vv_vec vv_times(vv_vec a, double s) { return vv_vec3(a.x * s, a.y * s, a.z * s); }
static inline vv_vec vv_product(vv_vec a, vv_vec b) { return vv_vec3(a.x * b.x, a.y * b.y, a.z * b.z); }
static inline double vv_inner(vv_vec a, vv_vec b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
static inline double vv_length(vv_vec a) { return sqrt(vv_inner(a, a)); }
static inline vv_vec vv_unit(vv_vec a) { return vv_times(a, 1 / vv_length(a)); }
static inline vv_vec vv_blend(vv_vec a, vv_vec b, double s) { return vv_sum(vv_times(a, 1 - s), vv_times(b, s)); }
static inline vv_vec vv_cross(vv_vec a, vv_vec b)
{
    return vv_vec3(a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x);
}

/* ---- the stage ---- */

enum { VV_STEPS = 2, VV_SOLIDS = VV_SYNTH_MOST + VV_STEPS, VV_PLANES = 4, VV_LIGHTS = 2, VV_NOTHING = 255 };

typedef enum { VV_PLAIN, VV_CHECKER, VV_STRIPES, VV_TILES, VV_BRICKS, VV_PATTERNS } vv_pattern;

/* What a surface looks like; colours are linear (light, not its square root). */
typedef struct {
    vv_vec colour, other; /* of the pattern */
    vv_pattern pattern;
    double scale;        /* periods of the pattern per metre */
    double shine, metal; /* strength of the highlight, of the mirrored surroundings */
    int squarings;       /* the highlight is cos^(2^squarings) */
} vv_look;

/* A unit sphere, cube, cylinder or cone within [-1,1]^3, stretched by half[] along axis[], which are orthonormal. All are
 * convex. A cone's tip is at y = 1. The first stage.objects are the objects, steps follow. */
typedef struct {
    int kind; /* VV_SYNTH_SPHERE .. VV_SYNTH_STEP */
    int colour, size;
    vv_vec centre, axis[3];
    double half[3], radius; /* of a sphere around it */
    vv_look look;
} vv_solid;

/* The points p with p*normal = offset, seen from the side that the normal points to. */
typedef struct {
    int kind;            /* VV_SYNTH_FLOOR or VV_SYNTH_WALL */
    vv_vec normal, u, v; /* u and v: the axes of its pattern */
    double offset, top;  /* a wall ends at this height */
    vv_look look;
} vv_plane;

typedef struct {
    vv_vec at, colour;
    double reach; /* the colour is meant at this distance; it falls with the square */
} vv_light;

typedef struct {
    vv_vec at, right, up, forward;
    double slope; /* tangent of half the angle of view */
} vv_camera;

typedef struct {
    int closeup, objects, solids, planes, lights;
    int floor_colour;
    vv_solid solid[VV_SOLIDS];
    vv_plane plane[VV_PLANES];
    vv_light light[VV_LIGHTS];
    vv_camera camera;
    vv_vec zenith, horizon, ambient, bounce; /* sky above and at the horizon; light from above and from below */
} vv_stage;

/* Draws how many objects there are, on an empty stage. */
void vv_stage_count(vv_stage *s, const vv_synth_options *o, vv_dice *d);
/* Draws who plays: shapes, colours, sizes. */
void vv_stage_cast(vv_stage *s, int held_out, vv_dice *d);
/* Draws where everything stands, the camera and the walls. 0 when the picture would not keep the promises. */
int vv_stage_arrange(vv_stage *s, vv_dice *d);
/* Draws materials, patterns, sky and lights; no position changes. */
void vv_stage_paint(vv_stage *s, vv_dice *d);

/* ---- rays ---- */

/* Where rays of one origin start in the coordinates of each solid: computed once for the camera and for each light. */
typedef struct {
    const vv_stage *stage;
    vv_vec origin;
    vv_vec row[VV_SOLIDS][3];  /* world to the solid's own coordinates */
    vv_vec local[VV_SOLIDS];   /* the origin in these */
    vv_vec centre[VV_SOLIDS];  /* the centre as seen from the origin */
    double outside[VV_SOLIDS]; /* squared distance of the origin to the sphere around it along a tangent; <= 0 within */
} vv_origin;

typedef struct {
    double t; /* the point is origin + t * direction; VV_SYNTH_FAR and beyond: nothing */
    unsigned char what,
        face; /* index of the solid, VV_SOLIDS + index of the plane, or VV_NOTHING; which of its faces */
} vv_hit;

void vv_origin_set(vv_origin *o, const vv_stage *s, vv_vec at);
/* Where the ray enters solid i, > 0; HUGE_VAL for a miss. The origin is outside. */
double vv_ray_enter(const vv_origin *o, int i, vv_vec direction, int *face);
vv_hit vv_ray_trace(const vv_origin *o, vv_vec direction);
/* Whether nothing stands before origin + direction, a point on solid `self` (or on none: VV_SOLIDS and more) that faces the
 * origin: a convex solid does not hide such a point of itself. */
int vv_ray_reaches(const vv_origin *o, vv_vec direction, int self);
/* Through the point at (x, y), shares of the picture from the upper left. One long along the viewing axis, so that t is the depth. */
vv_vec vv_camera_ray(const vv_camera *c, double x, double y);
int vv_hit_class(const vv_stage *s, const vv_hit *h);

/* ---- light ---- */

/* The colour that a ray brings back, linear; pixel is the width of a pixel at depth 1. *lit receives one bit for each light that
 * reaches the point. `light` has an origin at each of the lights. */
vv_vec vv_shade(const vv_stage *s, const vv_origin *light, vv_vec direction, const vv_hit *h, double pixel, int *lit);
/* The whole picture, given what each pixel's centre hits; key is scratch of a word a pixel. */
void vv_photograph(const vv_stage *s, const vv_origin *eye, const vv_hit *hits, int64_t size, uint16_t *key,
                   unsigned char *rgb);

/* ---- words ---- */

/* Caption, questions and referring expressions of a scene whose objects are measured. held_out as in vv_synth_options. */
void vv_synth_words(vv_scene *s, int held_out, vv_dice *d);

#endif
