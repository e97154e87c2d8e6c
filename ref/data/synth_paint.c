/* The colours of a synthetic scene: objects, building, sky and lights. See synth_parts.h. */
#include "base/elementary.h"
#include "data/synth_parts.h"

static const double RADIAN = 0.017453292519943295; /* of a degree */

/* As on a screen, 0..255, in the order of vv_synth_colour. */
static const unsigned char PALETTE[VV_SYNTH_COLOURS][3] = {
    {205, 38, 38},   {48, 150, 60}, {42, 78, 205},   {240, 210, 45}, {240, 125, 25}, {125, 50, 165},
    {242, 242, 238}, {26, 26, 29},  {128, 128, 130}, {112, 68, 36},  {243, 150, 185}};

/* Light from a colour of the screen: the picture stores square roots (a gamma of 2). */
static vv_vec linear(double r, double g, double b)
{
    const vv_vec c = vv_vec3(r / 255, g / 255, b / 255);
    return vv_product(c, c);
}

static vv_vec named(int colour) { return linear(PALETTE[colour][0], PALETTE[colour][1], PALETTE[colour][2]); }

static vv_vec vary(vv_vec c, double by, vv_dice *d)
{
    const double r = vv_between(d, 1 - by, 1 + by), g = vv_between(d, 1 - by, 1 + by),
                 b = vv_between(d, 1 - by, 1 + by);
    return vv_product(c, vv_vec3(r, g, b));
}

/* Matte, glossy or metallic: how it shines is drawn independently of all that has a name. */
static vv_look material(int colour, vv_dice *d)
{
    const double kind = vv_roll(d);
    vv_look l = {.colour = vary(named(colour), 0.06, d)};
    l.shine = kind < 0.35 ? 0.04 : kind < 0.8 ? vv_between(d, 0.25, 0.6) : 0.7;
    l.squarings = kind < 0.35 ? 3 : 4 + vv_below(d, 3);
    l.metal = kind < 0.35 ? 0 : kind < 0.8 ? 0.03 : vv_between(d, 0.2, 0.35);
    return l;
}

/* A surface of the building: a washed-out colour, alone or in a pattern with a darker or lighter shade of itself. */
static vv_look surface(vv_vec colour, vv_pattern pattern, double scale, vv_dice *d)
{
    const double shade = vv_chance(d, 0.5) ? vv_between(d, 0.45, 0.75) : vv_between(d, 1.25, 1.6);
    vv_look l = {.colour = colour, .other = vv_times(colour, shade), .pattern = pattern, .scale = scale};
    l.shine = vv_chance(d, 0.3) ? 0.15 : 0.02;
    l.squarings = 4;
    l.metal = vv_chance(d, 0.25) ? 0.06 : 0;
    return l;
}

static vv_vec pastel(vv_dice *d)
{
    const double lightness = vv_between(d, 110, 225), tint = vv_between(d, 4, 40),
                 turn = vv_between(d, 0, 360) * RADIAN;
    const double third = 120 * RADIAN;
    return linear(lightness + tint * vv_cos(turn), lightness + tint * vv_cos(turn - third),
                  lightness + tint * vv_cos(turn + third));
}

static void paint_floor(vv_stage *s, vv_dice *d)
{
    /* grey, white, brown, green, blue, red, yellow: with the names that captions give them */
    static const int floors[7] = {8, 6, 9, 1, 2, 0, 3};
    s->floor_colour = floors[vv_below(d, 7)];
    const double wash = vv_between(d, 0.5, 0.75), strength = vv_between(d, 0.8, 1.1), scale = vv_between(d, 0.5, 2.2);
    const vv_vec washed = vv_blend(named(s->floor_colour), linear(150, 150, 148), wash);
    const vv_vec colour = s->floor_colour == 6 ? linear(222, 220, 214) : vv_times(washed, strength);
    s->plane[0].look = surface(colour, (vv_pattern)vv_below(d, VV_PATTERNS), scale, d);
    if (s->floor_colour == 6) s->plane[0].look.other = vv_times(colour, 0.7);
    const double turn = vv_between(d, 0, 360) * RADIAN;
    s->plane[0].u = vv_vec3(vv_cos(turn), 0, vv_sin(turn));
    s->plane[0].v = vv_vec3(-vv_sin(turn), 0, vv_cos(turn));
}

static void paint_sky(vv_stage *s, vv_dice *d)
{
    static const double sky[4][6] = {{70, 130, 215, 200, 222, 240},  /* clear */
                                     {150, 165, 185, 225, 228, 230}, /* overcast */
                                     {90, 95, 150, 250, 190, 140},   /* dusk */
                                     {40, 90, 150, 170, 205, 215}};  /* late afternoon */
    const double *c = sky[vv_below(d, 4)];
    s->zenith = vary(linear(c[0], c[1], c[2]), 0.15, d);
    s->horizon = vary(linear(c[3], c[4], c[5]), 0.1, d);
}

/* A strong light from the camera's side of the scene, high or low, left or right, and perhaps a weaker one. In the open it is far. */
static void paint_lights(vv_stage *s, vv_dice *d)
{
    const int indoors = s->planes > 1 && s->plane[1].top == HUGE_VAL;
    const vv_vec f = s->camera.forward, back = vv_unit(vv_vec3(-f.x, 0, -f.z)), side = vv_vec3(back.z, 0, -back.x);
    s->lights = 1 + vv_chance(d, 0.35);
    double turn = vv_between(d, -80, 80) * RADIAN;
    const double warm = vv_between(d, -0.08, 0.08);
    for (int i = 0; i < s->lights; i++) {
        const double rise = vv_between(d, 22, 72) * RADIAN, distance = indoors ? vv_between(d, 4, 9) : 40;
        const vv_vec flat = vv_sum(vv_times(back, vv_cos(turn)), vv_times(side, vv_sin(turn)));
        vv_light *l = &s->light[i];
        l->at = vv_times(flat, distance * vv_cos(rise));
        l->at.y = distance * vv_sin(rise) + 0.4;
        l->reach = distance;
        const double strength =
            (i ? vv_between(d, 0.15, 0.35) : vv_between(d, 0.65, 0.95)) * (s->lights > 1 ? 0.85 : 1);
        l->colour = vv_vec3(strength * (1 + warm), strength, strength * (1 - warm));
        turn += vv_between(d, 80, 160) * RADIAN * (turn > 0 ? -1 : 1);
    }
    const double fill = vv_between(d, 0.32, 0.5);
    s->ambient = vv_times(vv_blend(vv_vec3(1, 1, 1), s->horizon, indoors ? 0.15 : 0.35), fill);
    s->bounce = vv_times(vv_blend(s->plane[0].look.colour, vv_vec3(0.5, 0.5, 0.5), 0.7), fill);
}

void vv_stage_paint(vv_stage *s, vv_dice *d)
{
    for (int i = 0; i < s->objects; i++) s->solid[i].look = material(s->solid[i].colour, d);
    paint_floor(s, d);
    const vv_vec wall = pastel(d), stone = pastel(d);
    const vv_pattern pattern = vv_chance(d, 0.5) ? VV_PLAIN : (vv_pattern)vv_below(d, VV_PATTERNS);
    const double scale = vv_between(d, 0.8, 2.5);
    for (int i = 1; i < s->planes; i++) {
        const int ceiling = s->plane[i].normal.y < -0.5;
        s->plane[i].look = surface(ceiling ? pastel(d) : vary(wall, 0.05, d), ceiling ? VV_PLAIN : pattern, scale, d);
    }
    for (int i = s->objects; i < s->solids; i++) s->solid[i].look = surface(stone, VV_PLAIN, 1, d);
    paint_sky(s, d);
    paint_lights(s, d);
}
