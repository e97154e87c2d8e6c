/* The stage of a synthetic scene: who plays, where all stand, the camera and the walls. See synth_parts.h. */
#include <string.h>

#include "base/elementary.h"
#include "data/synth_parts.h"

static const double RADIAN = 0.017453292519943295; /* of a degree */

/* Directions and frames. */
static vv_vec heading(double angle) { return vv_vec3(vv_sin(angle), 0, vv_cos(angle)); }

static double extent(const vv_solid *b, vv_vec direction)
{
    double sum = 0;
    for (int k = 0; k < 3; k++) sum += b->half[k] * fabs(vv_inner(b->axis[k], direction));
    return sum;
}

/* The solid's axes: turned about the vertical, then tilted about a horizontal axis. */
static void set_axes(vv_solid *b, double turn, double tilt, double tilt_heading)
{
    const vv_vec x = vv_vec3(vv_cos(turn), 0, -vv_sin(turn)), y = vv_vec3(0, 1, 0), z = heading(turn);
    const vv_vec about = heading(tilt_heading), part[3] = {x, y, z};
    const double c = vv_cos(tilt), s = vv_sin(tilt);
    for (int k = 0; k < 3; k++) /* Rodrigues' rotation */
        b->axis[k] = vv_sum(vv_sum(vv_times(part[k], c), vv_times(vv_cross(about, part[k]), s)),
                            vv_times(about, vv_inner(about, part[k]) * (1 - c)));
}

static void set_radius(vv_solid *b)
{
    const double x = b->half[0], y = b->half[1], z = b->half[2];
    b->radius = b->kind == VV_SYNTH_SPHERE                                 ? x
                : b->kind == VV_SYNTH_CYLINDER || b->kind == VV_SYNTH_CONE ? sqrt(x * x + y * y)
                                                                           : sqrt(x * x + y * y + z * z);
}

/* ---- who plays ----------------------------------------------------------------------------------------------------- */

/* Half width and half height in metres. Small and large are 1.9 apart in length, tall and flat between them in volume. */
static void set_half(vv_solid *b, double scale)
{
    static const double size[VV_SYNTH_SIZES] = {0.26, 0.50, 0.40, 0.40};
    static const double wide[VV_SYNTH_SHAPES] = {1, 0.80, 0.78, 0.92}, high[VV_SYNTH_SHAPES] = {1, 0.80, 0.85, 1.0};
    const int shape = b->kind - VV_SYNTH_SPHERE;
    const int tall = b->size == 2, flat = b->size == 3;
    b->half[0] = b->half[2] = size[b->size] * scale * wide[shape] * (tall ? 0.62 : flat ? 1.25 : 1);
    b->half[1] = size[b->size] * scale * high[shape] * (tall ? 1.75 : flat ? 0.38 : 1);
    set_radius(b);
}

/* Colour and shape are drawn independently, or now and then taken from an earlier object (so that there is something to count
 * and to tell apart); a pair that is held out is drawn again. */
static void cast_object(vv_stage *s, int i, int held_out, vv_dice *d)
{
    vv_solid *b = &s->solid[i];
    int shape;
    do {
        const int as = i && vv_chance(d, 0.25) ? vv_below(d, i) : -1,
                  like = i && vv_chance(d, 0.25) ? vv_below(d, i) : -1;
        shape = as >= 0 ? s->solid[as].kind - VV_SYNTH_SPHERE : vv_below(d, VV_SYNTH_SHAPES);
        b->colour = like >= 0 ? s->solid[like].colour : vv_below(d, VV_SYNTH_COLOURS);
    } while (!held_out && vv_synth_held_out(b->colour, shape));
    b->kind = VV_SYNTH_SPHERE + shape;
    b->size = vv_below(d, shape == 0 ? 2 : VV_SYNTH_SIZES); /* a sphere is neither tall nor flat */
    set_half(b, vv_between(d, 0.93, 1.07));
}

void vv_stage_count(vv_stage *s, const vv_synth_options *o, vv_dice *d)
{
    memset(s, 0, sizeof *s);
    s->closeup = vv_chance(d, o->closeups);
    s->objects = 1;
    if (!s->closeup) s->objects = (int)o->min_objects + vv_below(d, (int)(o->max_objects - o->min_objects) + 1);
}

void vv_stage_cast(vv_stage *s, int held_out, vv_dice *d)
{
    s->solids = s->objects;
    for (int i = 0; i < s->objects; i++) cast_object(s, i, held_out, d);
    s->planes = 1;
    s->plane[0] =
        (vv_plane){.kind = VV_SYNTH_FLOOR, .normal = {0, 1, 0}, .u = {1, 0, 0}, .v = {0, 0, 1}, .top = HUGE_VAL};
}

/* ---- who stands where --------------------------------------------------------------------------------------------- */

/* The height of the ground below a disc, or -1 where a step's edge runs through it. */
static double ground(const vv_stage *s, double x, double z, double r)
{
    double height = 0;
    for (int i = s->objects; i < s->solids; i++) {
        const vv_solid *b = &s->solid[i];
        const vv_vec from = vv_vec3(x - b->centre.x, 0, z - b->centre.z);
        const double u = fabs(vv_inner(from, b->axis[0])), v = fabs(vv_inner(from, b->axis[2]));
        if (u < b->half[0] - r && v < b->half[2] - r) height = b->centre.y + b->half[1];
        else if (u < b->half[0] + r && v < b->half[2] + r) return -1;
    }
    return height;
}

/* A stair of one or two treads that begins near the middle of the stage and rises away from it. */
static void set_steps(vv_stage *s, vv_dice *d)
{
    s->solids = s->objects;
    const int n = vv_chance(d, 0.35) ? 1 + vv_below(d, VV_STEPS) : 0;
    const double turn = vv_between(d, 0, 360) * RADIAN, rise = vv_between(d, 0.15, 0.45);
    double front = vv_between(d, -0.4, 0.9);
    for (int i = 0; i < n; i++) {
        vv_solid *b = &s->solid[s->solids++];
        b->kind = VV_SYNTH_STEP;
        b->half[0] = 3;
        b->half[1] = 0.5 * rise * (i + 1);
        b->half[2] = 3;
        set_axes(b, turn, 0, 0);
        set_radius(b);
        b->centre = vv_times(heading(turn), front + b->half[2]);
        b->centre.y = b->half[1];
        front += vv_between(d, 0.7, 1.4);
    }
}

static int apart(const vv_stage *s, int i)
{
    for (int k = 0; k < i; k++) {
        const vv_solid *a = &s->solid[k], *b = &s->solid[i];
        const double gap = vv_length(vv_diff(a->centre, b->centre)) - a->radius - b->radius;
        if (gap < 0.02) return 0;
    }
    return 1;
}

/* One object on the ground or in the air, clear of the others. */
static int place(vv_stage *s, int i, double spread, int airy, vv_dice *d)
{
    vv_solid *b = &s->solid[i];
    for (int attempt = 0; attempt < 30; attempt++) {
        const double r = spread * sqrt(vv_roll(d)), angle = vv_between(d, 0, 360) * RADIAN;
        const int floats = airy || vv_chance(d, 0.15), tilted = floats && vv_chance(d, 0.5);
        const double lift = vv_between(d, 0.25, airy ? 2.2 : 1.3), tilt = vv_between(d, 10, 45) * RADIAN;
        const double turn = vv_between(d, 0, 360) * RADIAN, tilt_heading = vv_between(d, 0, 360) * RADIAN;
        set_axes(b, turn, tilted ? tilt : 0, tilt_heading);
        b->centre = vv_times(heading(angle), r);
        const double foot = tilted ? b->radius : b->half[0] * (b->kind == VV_SYNTH_BOX ? 1.42 : 1);
        const double below = ground(s, b->centre.x, b->centre.z, foot);
        if (below < 0) continue;
        b->centre.y = below + extent(b, vv_vec3(0, 1, 0)) + (floats ? lift : 0);
        if (apart(s, i)) return 1;
    }
    return 0;
}

/* ---- the camera ---------------------------------------------------------------------------------------------------- */

static void set_camera(vv_stage *s, double pitch, double roll, double turn, vv_vec target, double distance)
{
    vv_camera *c = &s->camera;
    c->forward = vv_times(heading(turn), vv_cos(pitch));
    c->forward.y = -vv_sin(pitch);
    const vv_vec level = vv_vec3(vv_cos(turn), 0, -vv_sin(turn)), upright = vv_cross(c->forward, level);
    c->right = vv_sum(vv_times(level, vv_cos(roll)), vv_times(upright, vv_sin(roll)));
    c->up = vv_cross(c->forward, c->right);
    c->at = vv_diff(target, vv_times(c->forward, distance));
}

enum { GRID = 32, COARSE = 16 };

static vv_vec grid_ray(const vv_stage *s, int i, int side)
{
    return vv_camera_ray(&s->camera, (i % side + 0.5) / side, (i / side + 0.5) / side);
}

/* The share of the picture that the objects cover, roughly. */
static double coverage(const vv_stage *s)
{
    int covered = 0;
    vv_origin eye;
    vv_origin_set(&eye, s, s->camera.at);
    for (int i = 0; i < COARSE * COARSE; i++) covered += vv_ray_trace(&eye, grid_ray(s, i, COARSE)).what < s->objects;
    return (double)covered / (COARSE * COARSE);
}

/* Outside of every solid and above the ground, with room for the lens. */
static int camera_is_free(const vv_stage *s)
{
    const vv_vec at = s->camera.at;
    for (int i = 0; i < s->solids; i++) {
        const vv_solid *b = &s->solid[i];
        if (i < s->objects ? vv_length(vv_diff(at, b->centre)) < b->radius + 0.2
                           : fabs(vv_inner(vv_diff(at, b->centre), b->axis[0])) < b->half[0] + 0.1 &&
                                 fabs(vv_inner(vv_diff(at, b->centre), b->axis[2])) < b->half[2] + 0.1 &&
                                 at.y < b->centre.y + b->half[1] + 0.1)
            return 0;
    }
    return at.y > 0.12;
}

/* Points the camera at the objects from the distance at which they cover the wanted share. */
static int aim(vv_stage *s, int airy, vv_dice *d)
{
    const double want = s->closeup ? vv_between(d, 0.34, 0.385) : vv_between(d, 0.27, 0.38);
    const double pitch = (airy                ? vv_between(d, -30, 25)
                          : vv_chance(d, 0.4) ? vv_between(d, 25, 65)
                                              : vv_between(d, 2, 25)) *
                         RADIAN;
    const double slant = vv_between(d, -45, 45) * RADIAN, roll = slant * vv_roll(d);
    const double turn = vv_between(d, 0, 360) * RADIAN;
    s->camera.slope = vv_between(d, 0.3, 0.75);
    double area = 0, distance;
    vv_vec target = vv_vec3(0, 0, 0);
    for (int i = 0; i < s->objects; i++) {
        const double size = s->solid[i].half[0] * s->solid[i].half[1];
        target = vv_sum(target, vv_times(s->solid[i].centre, size));
        area += size;
    }
    target = vv_times(target, 1 / area);
    distance = sqrt(3 * area / want) / (2 * s->camera.slope);
    const double aside = vv_between(d, -0.25, 0.25) * distance * s->camera.slope,
                 above = vv_between(d, -0.25, 0.25) * distance * s->camera.slope;
    for (int step = 0; step < 6; step++) {
        set_camera(s, pitch, roll, turn, target, distance);
        if (step == 0) {
            target = vv_sum(target, vv_sum(vv_times(s->camera.right, aside), vv_times(s->camera.up, above)));
            set_camera(s, pitch, roll, turn, target, distance);
        }
        if (!camera_is_free(s)) return 0;
        const double share = coverage(s);
        if (share > want - 0.015 && share < want + 0.015) return 1;
        if (share < 0.02) return 0;
        distance *= sqrt(share / want);
    }
    return 0;
}

/* Whether most of each object is within the frame, and none is seen so much along its axis that it might be another shape: a
 * cylinder from its end, a cone from its base. */
static int in_view(const vv_stage *s)
{
    const vv_camera *c = &s->camera;
    for (int i = 0; i < s->objects; i++) {
        const vv_solid *b = &s->solid[i];
        const vv_vec to = vv_diff(b->centre, c->at);
        const double depth = vv_inner(to, c->forward), edge = c->slope * depth, most = s->closeup ? 0.45 : 0.55;
        if (depth <= 0 || fabs(vv_inner(to, c->right)) + most * extent(b, c->right) > edge ||
            fabs(vv_inner(to, c->up)) + most * extent(b, c->up) > edge)
            return 0;
        const double along = vv_inner(to, b->axis[1]) / vv_length(to);
        if (b->kind == VV_SYNTH_CYLINDER && fabs(along) > 0.88) return 0;
        if (b->kind == VV_SYNTH_CONE && (along > 0.65 || along < -0.96)) return 0;
    }
    return 1;
}

/* Coverage and sky within their limits; every object shows enough, and at least half of what no other object would hide. */
static int keeps_promises(const vv_stage *s)
{
    const double all = GRID * GRID, least = s->closeup ? VV_SYNTH_CLOSE_LEAST : VV_SYNTH_COVER_LEAST;
    int shown[VV_SYNTH_MOST] = {0}, alone[VV_SYNTH_MOST] = {0}, covered = 0, sky = 0, face;
    vv_origin eye;
    vv_origin_set(&eye, s, s->camera.at);
    for (int i = 0; i < GRID * GRID; i++) {
        const vv_vec ray = grid_ray(s, i, GRID);
        const vv_hit h = vv_ray_trace(&eye, ray);
        sky += h.what == VV_NOTHING;
        if (h.what >= s->objects) continue; /* the background, or a step in front of an object */
        shown[h.what]++;
        covered++;
        for (int k = 0; k < s->objects; k++) alone[k] += k == h.what || vv_ray_enter(&eye, k, ray, &face) < HUGE_VAL;
    }
    if (covered < (least + 0.01) * all || covered > (VV_SYNTH_COVER_MOST - 0.01) * all) return 0;
    if (sky > (VV_SYNTH_SKY_MOST - 0.02) * all) return 0;
    for (int i = 0; i < s->objects; i++)
        if (shown[i] < (VV_SYNTH_AREA_LEAST + 0.004) * all || shown[i] < 0.5 * alone[i]) return 0;
    return 1;
}

/* ---- the building -------------------------------------------------------------------------------------------------- */

static vv_plane *add_plane(vv_stage *s, int kind, vv_vec normal, double offset)
{
    vv_plane *p = &s->plane[s->planes++];
    p->kind = kind;
    p->normal = normal;
    p->offset = offset;
    p->top = HUGE_VAL;
    p->u = kind == VV_SYNTH_FLOOR || fabs(normal.y) > 0.5 ? s->plane[0].u : vv_cross(vv_vec3(0, 1, 0), normal);
    p->v = vv_cross(normal, p->u);
    return p;
}

/* A wall that faces against `away`, behind all objects and the camera. */
static vv_plane *add_wall(vv_stage *s, vv_vec away, double room)
{
    double behind = vv_inner(s->camera.at, away);
    for (int i = 0; i < s->objects; i++) {
        const double reach = vv_inner(s->solid[i].centre, away) + extent(&s->solid[i], away);
        if (reach > behind) behind = reach;
    }
    return add_plane(s, VV_SYNTH_WALL, vv_times(away, -1), -(behind + room));
}

/* The floor has been there since the cast; walls, a ceiling, or nothing but the sky. */
static void build(vv_stage *s, int airy, vv_dice *d)
{
    const vv_vec view = s->camera.forward;
    const double turn = vv_between(d, -38, 38) * RADIAN;
    const vv_vec flat = vv_unit(vv_vec3(view.x, 0, view.z)), level = vv_cross(vv_vec3(0, 1, 0), flat);
    const vv_vec away = vv_sum(vv_times(flat, vv_cos(turn)), vv_times(level, vv_sin(turn)));
    const vv_vec beside = vv_times(vv_cross(vv_vec3(0, 1, 0), away), turn > 0 ? -1 : 1);
    const double kind = vv_roll(d), near = vv_roll(d), close = vv_roll(d),
                 room = 0.1 + (airy ? 1.0 : 3.0) * near * near, side = 0.1 + 2 * close * close,
                 top = vv_between(d, 0.6, 2.2), over = vv_between(d, 0.15, 1.4);
    const int ceiling = vv_chance(d, 0.6);
    s->planes = 1;
    if (kind < 0.2) return;
    vv_plane *back = add_wall(s, away, room);
    if (kind < 0.35) {
        back->top = top; /* a wall in the open */
        return;
    }
    if (kind > 0.6) add_wall(s, beside, side);
    if (!ceiling) return;
    double height = s->camera.at.y;
    for (int i = 0; i < s->objects; i++) {
        const double reach = s->solid[i].centre.y + extent(&s->solid[i], vv_vec3(0, 1, 0));
        if (reach > height) height = reach;
    }
    add_plane(s, VV_SYNTH_WALL, vv_vec3(0, -1, 0), -(height + over));
}

int vv_stage_arrange(vv_stage *s, vv_dice *d)
{
    const int airy = vv_chance(d, 0.3);
    const double spread = 0.55 * sqrt(s->objects) * (airy ? 0.8 : 1.0);
    s->planes = 1;
    set_steps(s, d);
    for (int i = 0; i < s->objects; i++)
        if (!place(s, i, spread, airy, d)) return 0;
    if (!aim(s, airy, d) || !in_view(s)) return 0;
    build(s, airy, d);
    return keeps_promises(s);
}
