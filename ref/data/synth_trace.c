/* Rays of the scene renderer: where they meet solids and planes. */
#include "data/synth_parts.h"

static const double TINY = 1e-12; /* a direction this small is taken as this: no division by 0 */

void vv_origin_set(vv_origin *o, const vv_stage *s, vv_vec at)
{
    o->stage = s;
    o->origin = at;
    for (int i = 0; i < s->solids; i++) {
        const vv_solid *b = &s->solid[i];
        const vv_vec from = vv_diff(at, b->centre);
        for (int k = 0; k < 3; k++) o->row[i][k] = vv_times(b->axis[k], 1 / b->half[k]);
        o->local[i] = vv_vec3(vv_inner(o->row[i][0], from), vv_inner(o->row[i][1], from), vv_inner(o->row[i][2], from));
        o->centre[i] = vv_times(from, -1);
        o->outside[i] = vv_inner(from, from) - b->radius * b->radius;
    }
}

/* ---- unit solids: the entry into a convex body, HUGE_VAL for a miss ---- */

static double enter_sphere(vv_vec o, vv_vec d)
{
    const double a = vv_inner(d, d), b = vv_inner(o, d), c = vv_inner(o, o) - 1, disc = b * b - a * c;
    return disc > 0 && b < 0 ? (-b - sqrt(disc)) / a : HUGE_VAL;
}

static double enter_box(vv_vec o, vv_vec d, int *face)
{
    const double from[3] = {o.x, o.y, o.z}, along[3] = {d.x, d.y, d.z};
    double in = -HUGE_VAL, out = HUGE_VAL;
    for (int k = 0; k < 3; k++) {
        const double inverse = 1 / (fabs(along[k]) > TINY ? along[k] : TINY);
        const double a = (-1 - from[k]) * inverse, b = (1 - from[k]) * inverse;
        const double lo = a < b ? a : b, hi = a < b ? b : a;
        if (lo > in) {
            in = lo;
            *face = 2 * k + (inverse < 0);
        }
        if (hi < out) out = hi;
    }
    return in < out && in > 0 ? in : HUGE_VAL;
}

/* x^2 + z^2 <= 1 and |y| <= 1: two intervals of t, both of which hold between the later entry and the earlier exit. */
static double enter_cylinder(vv_vec o, vv_vec d, int *face)
{
    const double square = d.x * d.x + d.z * d.z, a = square > TINY ? square : TINY;
    const double b = o.x * d.x + o.z * d.z, disc = b * b - a * (o.x * o.x + o.z * o.z - 1);
    if (disc <= 0) return HUGE_VAL;
    const double root = sqrt(disc), inverse = 1 / (fabs(d.y) > TINY ? d.y : TINY);
    const double y0 = (-1 - o.y) * inverse, y1 = (1 - o.y) * inverse;
    const double cap = y0 < y1 ? y0 : y1, cap_out = y0 < y1 ? y1 : y0;
    const double side = (-b - root) / a, side_out = (-b + root) / a;
    const double in = cap > side ? cap : side, out = cap_out < side_out ? cap_out : side_out;
    *face = cap > side;
    return in < out && in > 0 ? in : HUGE_VAL;
}

/* x^2 + z^2 <= (h/2)^2 with h = 1 - y in [0,2]: the first of the base and of the two roots of the double cone that lie on ours. */
static double enter_cone(vv_vec o, vv_vec d, int *face)
{
    const double h = 1 - o.y, hd = -d.y;
    double a = d.x * d.x + d.z * d.z - 0.25 * hd * hd, best = HUGE_VAL;
    const double b = o.x * d.x + o.z * d.z - 0.25 * h * hd, c = o.x * o.x + o.z * o.z - 0.25 * h * h;
    if (fabs(a) < TINY) a = TINY;
    const double disc = b * b - a * c;
    if (disc <= 0) return HUGE_VAL; /* misses the double cone, so the base too */
    const double root = sqrt(disc), first = (-b - root) / a, second = (-b + root) / a;
    const double h0 = h + first * hd, h1 = h + second * hd;
    if (first > 0 && h0 >= 0 && h0 <= 2) best = first;
    if (second > 0 && second < best && h1 >= 0 && h1 <= 2) best = second;
    *face = 0;
    const double base = (2 - h) / (fabs(hd) > TINY ? hd : TINY), x = o.x + base * d.x, z = o.z + base * d.z;
    if (base > 0 && base < best && x * x + z * z <= 1) {
        best = base;
        *face = 1;
    }
    return best;
}

/* Whether the ray comes near solid i at all: most do not. square is that of the direction. */
static inline int passes_near(const vv_origin *o, int i, vv_vec direction, double square)
{
    const double ahead = vv_inner(o->centre[i], direction);
    return o->outside[i] <= 0 || (ahead > 0 && ahead * ahead >= o->outside[i] * square);
}

static double enter(const vv_origin *o, int i, vv_vec direction, int *face)
{
    const vv_vec *row = o->row[i];
    const vv_vec d = vv_vec3(vv_inner(row[0], direction), vv_inner(row[1], direction), vv_inner(row[2], direction));
    switch (o->stage->solid[i].kind) {
    case VV_SYNTH_SPHERE:
        return enter_sphere(o->local[i], d);
    case VV_SYNTH_CYLINDER:
        return enter_cylinder(o->local[i], d, face);
    case VV_SYNTH_CONE:
        return enter_cone(o->local[i], d, face);
    default:
        return enter_box(o->local[i], d, face);
    }
}

double vv_ray_enter(const vv_origin *o, int i, vv_vec direction, int *face)
{
    return passes_near(o, i, direction, vv_inner(direction, direction)) ? enter(o, i, direction, face) : HUGE_VAL;
}

vv_hit vv_ray_trace(const vv_origin *o, vv_vec direction)
{
    const vv_stage *s = o->stage;
    const double square = vv_inner(direction, direction);
    vv_hit h = {VV_SYNTH_FAR, VV_NOTHING, 0};
    for (int i = 0; i < s->planes; i++) {
        const vv_plane *p = &s->plane[i];
        const double along = vv_inner(p->normal, direction);
        if (along > -TINY) continue;
        const double t = (p->offset - vv_inner(p->normal, o->origin)) / along;
        if (t <= 0 || t >= h.t || o->origin.y + t * direction.y > p->top) continue;
        h = (vv_hit){t, (unsigned char)(VV_SOLIDS + i), 0};
    }
    for (int i = 0; i < s->solids; i++) {
        int face = 0;
        if (!passes_near(o, i, direction, square)) continue;
        const double t = enter(o, i, direction, &face);
        if (t < h.t) h = (vv_hit){t, (unsigned char)i, (unsigned char)face};
    }
    return h;
}

int vv_ray_reaches(const vv_origin *o, vv_vec direction, int self)
{
    const double square = vv_inner(direction, direction);
    int face = 0;
    for (int i = 0; i < o->stage->solids; i++)
        if (i != self && passes_near(o, i, direction, square) && enter(o, i, direction, &face) < 1 - 1e-9) return 0;
    return 1;
}

vv_vec vv_camera_ray(const vv_camera *c, double x, double y)
{
    const vv_vec across = vv_times(c->right, (2 * x - 1) * c->slope), upward = vv_times(c->up, (1 - 2 * y) * c->slope);
    return vv_sum(c->forward, vv_sum(across, upward));
}

int vv_hit_class(const vv_stage *s, const vv_hit *h)
{
    if (h->what == VV_NOTHING) return VV_SYNTH_SKY;
    return h->what < VV_SOLIDS ? s->solid[h->what].kind : s->plane[h->what - VV_SOLIDS].kind;
}
