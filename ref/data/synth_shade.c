/* Light of the scene renderer: patterns, materials, shadows, and the picture with smooth edges. */
#include <stdlib.h>

#include "data/synth_parts.h"

/* ---- patterns, averaged over the width of a pixel so that they do not flicker in the distance ---- */

/* The mean over [x - w/2, x + w/2] of the function that is 1 on [k, k + duty) for every whole k, else 0. */
static double pulse(double x, double w, double duty)
{
    const double a = x - 0.5 * w, b = x + 0.5 * w, fa = floor(a), fb = floor(b), ra = a - fa, rb = b - fb;
    return ((fb - fa) * duty + (rb < duty ? rb : duty) - (ra < duty ? ra : duty)) / w;
}

/* How much of the other colour the pattern has at (u, v), in periods. */
static double pattern_at(vv_pattern pattern, double u, double v, double w)
{
    if (w > 4) w = 4;
    switch (pattern) {
    case VV_CHECKER: {
        const double a = pulse(u, w, 0.5), b = pulse(v, w, 0.5);
        return a * (1 - b) + b * (1 - a);
    }
    case VV_STRIPES:
        return pulse(u, w, 0.5);
    case VV_TILES:
        return 1 - (1 - pulse(u, w, 0.07)) * (1 - pulse(v, w, 0.07));
    case VV_BRICKS: {
        const double row = floor(2 * v), shift = 0.5 * (row - 2 * floor(0.5 * row));
        return 1 - (1 - pulse(u + shift, w, 0.07)) * (1 - pulse(2 * v, 2 * w, 0.12));
    }
    default:
        return 0;
    }
}

/* Smooth noise in [0,1]: random values at whole numbers, blended between. */
static double lattice(int64_t x, int64_t y)
{
    uint64_t h = (uint64_t)x * 0x9e3779b97f4a7c15u ^ (uint64_t)y * 0xc2b2ae3d27d4eb4fu;
    h = (h ^ h >> 29) * 0xbf58476d1ce4e5b9u;
    return (double)(h >> 40) * 0x1p-24;
}

static double noise(double u, double v)
{
    const double fu = floor(u), fv = floor(v), a = u - fu, b = v - fv;
    const double s = a * a * (3 - 2 * a), t = b * b * (3 - 2 * b);
    const int64_t x = (int64_t)fu, y = (int64_t)fv;
    const double low = lattice(x, y) * (1 - s) + lattice(x + 1, y) * s;
    const double high = lattice(x, y + 1) * (1 - s) + lattice(x + 1, y + 1) * s;
    return low * (1 - t) + high * t;
}

/* ---- surfaces ---- */

static vv_vec sky(const vv_stage *s, vv_vec direction)
{
    const double rise = direction.y / vv_length(direction), up = rise > 0 ? rise : 0;
    return vv_blend(s->horizon, s->zenith, up * (2 - up));
}

/* What is mirrored: not the scene itself but its floor and its sky, paler, so that a grey object stays grey. */
static vv_vec surroundings(const vv_stage *s, vv_vec direction)
{
    const double rise = direction.y < -0.3 ? 0 : direction.y > 0.3 ? 1 : 0.5 + direction.y / 0.6;
    const vv_vec c = vv_blend(vv_times(s->plane[0].look.colour, 0.7), sky(s, direction), rise);
    const double mean = (c.x + c.y + c.z) / 3;
    return vv_blend(c, vv_vec3(mean, mean, mean), 0.6);
}

static vv_vec solid_normal(const vv_solid *b, vv_vec p, int face)
{
    const vv_vec from = vv_diff(p, b->centre);
    if (b->kind == VV_SYNTH_SPHERE) return vv_times(from, 1 / b->half[0]);
    if (b->kind == VV_SYNTH_BOX || b->kind == VV_SYNTH_STEP) return vv_times(b->axis[face / 2], face % 2 ? 1 : -1);
    const double y = vv_inner(from, b->axis[1]);
    if (face) return vv_times(b->axis[1], b->kind == VV_SYNTH_CYLINDER && y > 0 ? 1 : -1);
    const vv_vec across = vv_unit(vv_diff(from, vv_times(b->axis[1], y)));
    if (b->kind == VV_SYNTH_CYLINDER) return across;
    return vv_unit(vv_sum(vv_times(across, 2 * b->half[1]), vv_times(b->axis[1], b->half[0])));
}

/* The share of ambient light that solids nearby leave: each as a sphere seen from the point. */
static double openness(const vv_stage *s, vv_vec p, vv_vec n, int self)
{
    double open = 1;
    for (int i = 0; i < s->objects; i++) {
        if (i == self) continue;
        const vv_solid *b = &s->solid[i];
        const vv_vec to = vv_diff(b->centre, p);
        const double square = vv_inner(to, to), r = 0.5 * (b->half[0] + b->half[1]), above = vv_inner(to, n);
        if (above <= 0 || square > 16 * r * r) continue;
        const double covered = above * r * r / (square * sqrt(square));
        open *= 1 - 0.8 * (covered < 1 ? covered : 1);
    }
    return open;
}

/* A point to be lit, and the light that it sends back. */
static vv_vec light_up(const vv_stage *s, const vv_origin *light, vv_vec p, vv_vec n, vv_vec view, vv_vec colour,
                       const vv_look *look, int self, int *lit)
{
    const vv_vec ambient = vv_blend(s->bounce, s->ambient, 0.5 + 0.5 * n.y);
    vv_vec out = vv_times(vv_product(colour, ambient), openness(s, p, n, self));
    const vv_vec mirrored = vv_diff(view, vv_times(n, 2 * vv_inner(view, n)));
    *lit = 0;
    for (int i = 0; i < s->lights; i++) {
        const vv_light *l = &s->light[i];
        const vv_vec from = vv_diff(p, l->at);
        const double square = vv_inner(from, from), facing = -vv_inner(from, n);
        if (facing <= 0 || !vv_ray_reaches(&light[i], from, self)) continue;
        *lit |= 1 << i;
        const double inverse = 1 / sqrt(square), strength = l->reach * l->reach / square;
        double glint = -vv_inner(mirrored, from) * inverse;
        glint = glint > 0 ? glint : 0;
        for (int k = 0; k < look->squarings; k++) glint *= glint;
        const vv_vec diffuse = vv_times(colour, facing * inverse * (1 - 0.5 * look->metal));
        const vv_vec shine =
            vv_times(vv_blend(vv_vec3(1, 1, 1), colour, look->metal > 0.2 ? 0.6 : 0), glint * look->shine);
        out = vv_sum(out, vv_times(vv_product(l->colour, vv_sum(diffuse, shine)), strength));
    }
    if (look->metal > 0) {
        const double rim = 1 + vv_inner(view, n), edge = rim * rim * rim; /* Fresnel: more at grazing angles */
        const double share = look->metal + (1 - look->metal) * (edge > 0 ? 0.5 * edge : 0);
        const vv_vec tint = vv_blend(vv_vec3(1, 1, 1), colour, look->metal > 0.2 ? 0.6 : 0);
        out = vv_blend(out, vv_product(surroundings(s, mirrored), tint), share);
    }
    return out;
}

vv_vec vv_shade(const vv_stage *s, const vv_origin *light, vv_vec direction, const vv_hit *h, double pixel, int *lit)
{
    *lit = 0;
    if (h->what == VV_NOTHING) return sky(s, direction);
    const vv_vec p = vv_sum(s->camera.at, vv_times(direction, h->t)), view = vv_unit(direction);
    if (h->what < VV_SOLIDS) {
        const vv_solid *b = &s->solid[h->what];
        const vv_vec n = solid_normal(b, p, h->face);
        return light_up(s, light, p, n, view, b->look.colour, &b->look, h->what, lit);
    }
    const vv_plane *w = &s->plane[h->what - VV_SOLIDS];
    const double u = vv_inner(p, w->u), v = vv_inner(p, w->v), slant = -vv_inner(view, w->normal);
    const double width = h->t * pixel * w->look.scale / sqrt(slant > 0.01 ? slant : 0.01);
    const double other = pattern_at(w->look.pattern, u * w->look.scale, v * w->look.scale, width);
    const vv_vec colour = vv_times(vv_blend(w->look.colour, w->look.other, other), 0.9 + 0.2 * noise(1.7 * u, 1.7 * v));
    const vv_vec c = light_up(s, light, p, w->normal, view, colour, &w->look, h->what, lit);
    const double far = h->t / VV_SYNTH_FAR, haze = far * (2 - far) * far * 2; /* the floor fades into the horizon */
    return vv_blend(c, s->horizon, haze < 1 ? haze : 1);
}

/* ---- the picture ---- */

static unsigned char level(double light)
{
    const double v = light < 0 ? 0 : light > 1 ? 1 : light;
    return (unsigned char)(255 * sqrt(v) + 0.5);
}

static void store(unsigned char *rgb, vv_vec c)
{
    rgb[0] = level(c.x);
    rgb[1] = level(c.y);
    rgb[2] = level(c.z);
}

/* What of a hit makes an edge: another thing, another of its faces, another light that does not reach it. */
static uint16_t edge_key(const vv_hit *h, int lit) { return (uint16_t)(h->what << 5 | h->face << 2 | lit); }

static int on_edge(const uint16_t *key, int64_t size, int64_t y, int64_t x)
{
    const uint16_t k = key[y * size + x];
    return (x > 0 && key[y * size + x - 1] != k) || (x + 1 < size && key[y * size + x + 1] != k) ||
           (y > 0 && key[(y - 1) * size + x] != k) || (y + 1 < size && key[(y + 1) * size + x] != k);
}

/* Four samples on a turned grid: no two in a row or column. */
static vv_vec supersample(const vv_stage *s, const vv_origin *eye, const vv_origin *light, int64_t size, int64_t y,
                          int64_t x)
{
    static const double at[4][2] = {{0.375, 0.125}, {0.875, 0.375}, {0.125, 0.625}, {0.625, 0.875}};
    vv_vec sum = vv_vec3(0, 0, 0);
    for (int i = 0; i < 4; i++) {
        const vv_vec ray =
            vv_camera_ray(&s->camera, ((double)x + at[i][0]) / (double)size, ((double)y + at[i][1]) / (double)size);
        const vv_hit h = vv_ray_trace(eye, ray);
        int lit;
        const vv_vec c = vv_shade(s, light, ray, &h, 2 * s->camera.slope / (double)size, &lit);
        const vv_vec shown = vv_vec3(c.x < 1 ? c.x : 1, c.y < 1 ? c.y : 1, c.z < 1 ? c.z : 1);
        sum = vv_sum(sum, shown);
    }
    return vv_times(sum, 0.25);
}

void vv_photograph(const vv_stage *s, const vv_origin *eye, const vv_hit *hits, int64_t size, uint16_t *key,
                   unsigned char *rgb)
{
    vv_origin light[VV_LIGHTS];
    for (int i = 0; i < s->lights; i++) vv_origin_set(&light[i], s, s->light[i].at);
    const double pixel = 2 * s->camera.slope / (double)size;
    for (int64_t i = 0; i < size * size; i++) {
        const double x = ((double)(i % size) + 0.5) / (double)size, y = ((double)(i / size) + 0.5) / (double)size;
        int lit;
        store(rgb + 3 * i, vv_shade(s, light, vv_camera_ray(&s->camera, x, y), &hits[i], pixel, &lit));
        key[i] = edge_key(&hits[i], lit);
    }
    for (int64_t y = 0; y < size; y++)
        for (int64_t x = 0; x < size; x++)
            if (on_edge(key, size, y, x)) store(rgb + 3 * (y * size + x), supersample(s, eye, light, size, y, x));
}
