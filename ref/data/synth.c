/* A synthetic scene from its index: redraw until it keeps its promises, photograph, measure, describe. See synth.h. */
#include "data/synth.h"

#include <stdlib.h>
#include <string.h>

#include "data/synth_parts.h"

const char *const vv_synth_class_name[VV_SYNTH_CLASSES] = {"sky", "floor",    "wall", "sphere",
                                                           "box", "cylinder", "cone", "step"};
const char *const vv_synth_colour[VV_SYNTH_COLOURS] = {"red",   "green", "blue", "yellow", "orange", "purple",
                                                       "white", "black", "grey", "brown",  "pink"};
const char *const vv_synth_shape[VV_SYNTH_SHAPES] = {"sphere", "box", "cylinder", "cone"};
const char *const vv_synth_size[VV_SYNTH_SIZES] = {"small", "large", "tall", "flat"};

int vv_synth_held_out(int colour, int shape)
{
    /* blue and orange spheres, yellow and grey boxes, red and pink cylinders, green and white cones */
    static const unsigned char pair[VV_SYNTH_SHAPES][2] = {{2, 4}, {3, 8}, {0, 10}, {1, 6}};
    return colour == pair[shape][0] || colour == pair[shape][1];
}

vv_synth_options vv_synth_default(void)
{
    return (vv_synth_options){.size = 112, .min_objects = 2, .max_objects = VV_SYNTH_MOST, .closeups = 0.25};
}

vv_status vv_synth_check(const vv_synth_options *o, vv_error *err)
{
    if (o->size < VV_SYNTH_SIDE_LEAST || o->size > VV_SYNTH_SIDE_MOST)
        return vv_fail(err, VV_USAGE, "scenes: size: expected %d..%d pixels, found %lld", VV_SYNTH_SIDE_LEAST,
                       VV_SYNTH_SIDE_MOST, (long long)o->size);
    if (o->min_objects < 1 || o->min_objects > o->max_objects || o->max_objects > VV_SYNTH_MOST)
        return vv_fail(err, VV_USAGE, "scenes: objects: expected 1 <= least <= most <= %d, found %lld and %lld",
                       VV_SYNTH_MOST, (long long)o->min_objects, (long long)o->max_objects);
    if (!(o->closeups >= 0 && o->closeups <= 1))
        return vv_fail(err, VV_USAGE, "scenes: share of close-ups: expected 0..1, found %g", o->closeups);
    if (o->held_out != 0 && o->held_out != 1)
        return vv_fail(err, VV_USAGE, "scenes: held-out pairs: expected 0 or 1, found %d", o->held_out);
    return VV_OK;
}

void vv_scene_free(vv_scene *s)
{
    vv_image_free(&s->image);
    free(s->depth);
    free(s->classes);
    free(s->masks);
    memset(s, 0, sizeof *s);
}

/* ---- what the picture shows ---- */

static void trace_all(vv_hit *hits, const vv_stage *stage, const vv_origin *eye, int64_t size)
{
    for (int64_t i = 0; i < size * size; i++) {
        const double x = ((double)(i % size) + 0.5) / (double)size, y = ((double)(i / size) + 0.5) / (double)size;
        hits[i] = vv_ray_trace(eye, vv_camera_ray(&stage->camera, x, y));
    }
}

/* Areas, centroids and depths of the objects; 0 when they break a promise at this size of picture. */
static int measure(vv_scene *s, const vv_stage *stage, const vv_hit *hits, int64_t size)
{
    const double all = (double)(size * size);
    int64_t cover = 0, sky = 0, floor_area = 0;
    s->n_objects = stage->objects;
    s->closeup = stage->closeup;
    for (int k = 0; k < stage->objects; k++) {
        const vv_solid *b = &stage->solid[k];
        s->object[k] = (vv_synth_object){
            .colour = b->colour, .shape = b->kind - VV_SYNTH_SPHERE, .size = b->size, .nearest = VV_SYNTH_FAR};
    }
    for (int64_t i = 0; i < size * size; i++) {
        sky += hits[i].what == VV_NOTHING;
        floor_area += hits[i].what == VV_SOLIDS;
        if (hits[i].what >= stage->objects) continue;
        vv_synth_object *b = &s->object[hits[i].what];
        const float depth = (float)hits[i].t;
        cover++;
        b->area++;
        b->x += ((double)(i % size) + 0.5) / (double)size;
        b->y += ((double)(i / size) + 0.5) / (double)size;
        b->depth += (double)depth;
        if ((double)depth < b->nearest) b->nearest = (double)depth;
    }
    s->floor_colour = (double)floor_area >= 0.1 * all ? stage->floor_colour : -1;
    const double least = stage->closeup ? VV_SYNTH_CLOSE_LEAST : VV_SYNTH_COVER_LEAST;
    if ((double)cover < least * all || (double)cover > VV_SYNTH_COVER_MOST * all ||
        (double)sky > VV_SYNTH_SKY_MOST * all)
        return 0;
    for (int k = 0; k < stage->objects; k++) {
        vv_synth_object *b = &s->object[k];
        if ((double)b->area < VV_SYNTH_AREA_LEAST * all) return 0;
        b->x /= (double)b->area;
        b->y /= (double)b->area;
        b->depth /= (double)b->area;
    }
    return 1;
}

static void fill_maps(vv_scene *s, const vv_stage *stage, const vv_hit *hits, int64_t n)
{
    for (int64_t k = 0; k < s->n_objects; k++) s->object[k].mask = s->masks + k * n;
    for (int64_t i = 0; i < n; i++) {
        s->depth[i] = hits[i].what == VV_NOTHING ? (float)HUGE_VAL : (float)hits[i].t;
        s->classes[i] = (unsigned char)vv_hit_class(stage, &hits[i]);
        if (hits[i].what < stage->objects) s->object[hits[i].what].mask[i] = 1;
    }
}

/* ---- redrawing ---- */

enum { CASTS = 64, ARRANGEMENTS = 200 };

/* Each purpose and each attempt has a part of its own in the scene's stream, so that none depends on how much another drew. */
static vv_dice dice(const vv_synth_options *o, int64_t index, uint64_t cast, uint64_t arrangement, uint64_t purpose)
{
    return (vv_dice){o->seed, vv_stream("synthetic scene") + (uint64_t)index,
                     cast << 40 | arrangement << 32 | purpose << 28};
}

/* The first arrangement that keeps the promises. How many play is drawn once, who plays is redrawn only when no arrangement is
 * found, so that promises about areas hardly change how often a shape or a size occurs. */
static vv_status set_stage(vv_scene *s, vv_stage *stage, vv_origin *eye, vv_hit *hits, const vv_synth_options *o,
                           int64_t index, vv_dice *paint, vv_error *err)
{
    vv_dice d = dice(o, index, 0, 0, 4);
    vv_stage_count(stage, o, &d);
    for (uint64_t cast = 0; cast < CASTS; cast++) {
        d = dice(o, index, cast, 0, 0);
        vv_stage_cast(stage, o->held_out, &d);
        for (uint64_t k = 0; k < ARRANGEMENTS; k++) {
            d = dice(o, index, cast, k, 1);
            if (!vv_stage_arrange(stage, &d)) continue;
            vv_origin_set(eye, stage, stage->camera.at);
            trace_all(hits, stage, eye, o->size);
            *paint = dice(o, index, cast, k, 2);
            vv_stage_paint(stage, paint);
            if (measure(s, stage, hits, o->size)) return VV_OK;
        }
    }
    return vv_fail(err, VV_USAGE, "scenes: no scene %lld of seed %llu was found with these numbers of objects",
                   (long long)index, (unsigned long long)o->seed);
}

vv_status vv_synth_scene(vv_scene *out, const vv_synth_options *o, int64_t index, vv_error *err)
{
    memset(out, 0, sizeof *out);
    VV_TRY(vv_synth_check(o, err));
    if (index < 0) return vv_fail(err, VV_USAGE, "scenes: index: expected 0 or more, found %lld", (long long)index);
    const int64_t n = o->size * o->size;
    vv_stage stage;
    vv_origin eye;
    vv_dice d;
    vv_hit *hits = vv_calloc(n, sizeof *hits);
    uint16_t *key = vv_calloc(n, sizeof *key);
    out->depth = vv_calloc(n, sizeof *out->depth);
    out->classes = vv_calloc(n, 1);
    out->masks = vv_calloc(n * VV_SYNTH_MOST, 1);
    vv_status s = vv_image_new(&out->image, o->size, o->size, err);
    if (s == VV_OK && !(hits && key && out->depth && out->classes && out->masks)) s = vv_no_memory(err, "scene");
    if (s == VV_OK) s = set_stage(out, &stage, &eye, hits, o, index, &d, err);
    if (s == VV_OK) {
        fill_maps(out, &stage, hits, n);
        vv_photograph(&stage, &eye, hits, o->size, key, out->image.rgb);
        d = dice(o, index, 0, 0, 3);
        vv_synth_words(out, o->held_out, &d);
    }
    free(hits);
    free(key);
    if (s != VV_OK) vv_scene_free(out);
    return s;
}
