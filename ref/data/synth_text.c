/* The words of a synthetic scene: referring expressions, questions and a caption, from what was measured in its picture. */
#include <stdio.h>
#include <string.h>

#include "data/synth_parts.h"

/* ---- phrases: "the nearest large red sphere" -------------------------------------------------------------------------- */

typedef enum { ANY, LEFTMOST, RIGHTMOST, NEAREST, FARTHEST, EXTREMES } extreme;
static const char *const extreme_word[EXTREMES] = {"", "leftmost ", "rightmost ", "nearest ", "farthest "};

/* -1: not said */
typedef struct {
    int size, colour, shape;
    extreme most;
} phrase;

static int nearer(const vv_synth_object *a, const vv_synth_object *b)
{
    return b->depth >= VV_SYNTH_DEPTH_MARGIN * a->depth && a->nearest < b->nearest;
}

static int left_of(const vv_synth_object *a, const vv_synth_object *b, double margin) { return b->x - a->x >= margin; }

static int more(extreme most, const vv_synth_object *a, const vv_synth_object *b)
{
    return most == LEFTMOST    ? left_of(a, b, VV_SYNTH_SIDE_MARGIN)
           : most == RIGHTMOST ? left_of(b, a, VV_SYNTH_SIDE_MARGIN)
           : most == NEAREST   ? nearer(a, b)
                               : nearer(b, a);
}

static int fits(const phrase *p, const vv_synth_object *b)
{
    return (p->size < 0 || p->size == b->size) && (p->colour < 0 || p->colour == b->colour) &&
           (p->shape < 0 || p->shape == b->shape);
}

/* The words fit object i and no other; or the others that they fit are clearly less near (far, left, right). */
static int names(const vv_scene *s, const phrase *p, int i)
{
    int others = 0;
    if (!fits(p, &s->object[i])) return 0;
    for (int k = 0; k < s->n_objects; k++) {
        if (k == i || !fits(p, &s->object[k])) continue;
        others++;
        if (p->most == ANY || !more(p->most, &s->object[i], &s->object[k])) return 0;
    }
    return p->most == ANY || others > 0;
}

static void say(const phrase *p, char *text, size_t size)
{
    snprintf(text, size, "%s%s%s%s%s%s", extreme_word[p->most], p->size < 0 ? "" : vv_synth_size[p->size],
             p->size < 0 ? "" : " ", p->colour < 0 ? "" : vv_synth_colour[p->colour], p->colour < 0 ? "" : " ",
             p->shape < 0 ? "object" : vv_synth_shape[p->shape]);
}

/* Small and large mean something only beside each other. */
static int size_tells(const vv_scene *s, int i)
{
    int seen[VV_SYNTH_SIZES] = {0};
    for (int k = 0; k < s->n_objects; k++) seen[s->object[k].size] = 1;
    return s->object[i].size >= 2 || (seen[0] && seen[1]);
}

enum { SIZE = 1, COLOUR = 2, SHAPE = 4, PLAIN_FORMS = 5, FORMS = PLAIN_FORMS + 3 * (EXTREMES - 1) };

static void make_form(phrase *p, const vv_synth_object *b, int form)
{
    static const int plain[PLAIN_FORMS] = {COLOUR | SHAPE, COLOUR, SHAPE, SIZE | SHAPE, SIZE | COLOUR | SHAPE};
    static const int beside[3] = {0, COLOUR, SHAPE}; /* an extreme */
    const int says = form < PLAIN_FORMS ? plain[form] : beside[(form - PLAIN_FORMS) % 3];
    p->size = says & SIZE ? b->size : -1;
    p->colour = says & COLOUR ? b->colour : -1;
    p->shape = says & SHAPE ? b->shape : -1;
    p->most = form < PLAIN_FORMS ? ANY : (extreme)(1 + (form - PLAIN_FORMS) / 3);
}

/* A phrase that names object i, among the forms [first, end), without the words of `without`; 0 when there is none. The forms are
 * tried in a drawn order: a prime number of them is walked with a drawn stride. */
static int refer(const vv_scene *s, int i, int first, int end, int without, vv_dice *d, phrase *p)
{
    const int start = vv_below(d, FORMS), stride = 1 + vv_below(d, FORMS - 1);
    for (int k = 0; k < FORMS; k++) {
        const int form = (start + k * stride) % FORMS;
        if (form < first || form >= end) continue;
        make_form(p, &s->object[i], form);
        if ((without & COLOUR && p->colour >= 0) || (without & SHAPE && p->shape >= 0)) continue;
        if (p->size >= 0 && !size_tells(s, i)) continue;
        if (names(s, p, i)) return 1;
    }
    return 0;
}

static void referring_expressions(vv_scene *s, vv_dice *d)
{
    for (int i = 0; i < s->n_objects; i++)
        for (int kind = 0; kind < 2; kind++) { /* by what it is, by where it is */
            phrase p;
            if (!refer(s, i, kind ? PLAIN_FORMS : 0, kind ? FORMS : PLAIN_FORMS, 0, d, &p)) continue;
            vv_synth_referring *r = &s->referring[s->n_referring++];
            char text[40];
            say(&p, text, sizeof text);
            snprintf(r->text, sizeof r->text, "the %s", text);
            r->object = i;
        }
}

/* ---- questions ------------------------------------------------------------------------------------------------------------- */

/* cone, cones; box, boxes */
static void plural(char *text, size_t size, const char *before, int shape)
{
    snprintf(text, size, "%s%s%s", before, shape < 0 ? "object" : vv_synth_shape[shape],
             shape == VV_SYNTH_BOX - VV_SYNTH_SPHERE ? "es" : "s");
}

static const char *article(int colour) { return !strcmp(vv_synth_colour[colour], "orange") ? "an" : "a"; }

static vv_synth_question *ask(vv_scene *s, const char *type)
{
    vv_synth_question *q = &s->question[s->n_questions++];
    q->type = type;
    return q;
}

static int count(const vv_scene *s, int colour, int shape)
{
    const phrase p = {-1, colour, shape, ANY};
    int n = 0;
    for (int i = 0; i < s->n_objects; i++) n += fits(&p, &s->object[i]);
    return n;
}

/* The answer is drawn first, large ones more often since fewer scenes have them, then one of the questions that have it: all
 * objects, those of a colour, those of a shape. */
static void ask_count(vv_scene *s, vv_dice *d)
{
    enum { CANDIDATES = 1 + VV_SYNTH_COLOURS + VV_SYNTH_SHAPES };
    int answer[CANDIDATES], have[VV_SYNTH_MOST + 1] = {0}, total = 0, want = 0;
    for (int k = 0; k < CANDIDATES; k++) {
        const int colour = k >= 1 && k <= VV_SYNTH_COLOURS ? k - 1 : -1,
                  shape = k > VV_SYNTH_COLOURS ? k - 1 - VV_SYNTH_COLOURS : -1;
        have[answer[k] = count(s, colour, shape)]++;
    }
    for (int v = 0; v <= VV_SYNTH_MOST; v++) total += have[v] ? (v < 2 ? 1 : 2) : 0;
    for (int at = vv_below(d, total); want < VV_SYNTH_MOST; want++) {
        at -= have[want] ? (want < 2 ? 1 : 2) : 0;
        if (at < 0) break;
    }
    int k = 0;
    for (int left = vv_below(d, have[want]); k < CANDIDATES; k++)
        if (answer[k] == want && left-- == 0) break;
    char colour[16] = "", what[40];
    if (k >= 1 && k <= VV_SYNTH_COLOURS) snprintf(colour, sizeof colour, "%s ", vv_synth_colour[k - 1]);
    plural(what, sizeof what, colour, k > VV_SYNTH_COLOURS ? k - 1 - VV_SYNTH_COLOURS : -1);
    vv_synth_question *q = ask(s, "count");
    snprintf(q->question, sizeof q->question, "How many %s are there?", what);
    snprintf(q->answer, sizeof q->answer, "%d", want);
}

/* "Is there a red sphere in the picture?" Pairs for "no" share a colour or a shape with an object, or neither. A pair that is held
 * out would give itself away by its answer: it is not asked for. */
static void ask_existence(vv_scene *s, int held_out, vv_dice *d)
{
    const int yes = vv_chance(d, 0.5);
    for (int attempt = 0; attempt < 40; attempt++) {
        const vv_synth_object *b = &s->object[vv_below(d, (int)s->n_objects)];
        const int like = vv_below(d, 3), any_colour = vv_below(d, VV_SYNTH_COLOURS),
                  any_shape = vv_below(d, VV_SYNTH_SHAPES);
        const int colour = yes || like == 0 ? b->colour : any_colour, shape = yes || like == 1 ? b->shape : any_shape;
        if ((count(s, colour, shape) > 0) != yes || (!held_out && vv_synth_held_out(colour, shape))) continue;
        vv_synth_question *q = ask(s, "existence");
        snprintf(q->question, sizeof q->question, "Is there %s %s %s in the picture?", article(colour),
                 vv_synth_colour[colour], vv_synth_shape[shape]);
        snprintf(q->answer, sizeof q->answer, yes ? "yes" : "no");
        return;
    }
}

/* "What colour is the nearest box?", "What shape is the red object?" of the first object, from a drawn one on, that can be named
 * without the answer. */
static void ask_attribute(vv_scene *s, int attribute, vv_dice *d)
{
    const int start = vv_below(d, (int)s->n_objects), colour = attribute == COLOUR;
    for (int k = 0; k < s->n_objects; k++) {
        const int i = (start + k) % (int)s->n_objects;
        phrase p;
        char what[40] = "object"; /* alone, it needs no other words */
        if (s->n_objects > 1) {
            if (!refer(s, i, 0, FORMS, attribute, d, &p)) continue;
            say(&p, what, sizeof what);
        }
        vv_synth_question *q = ask(s, colour ? "color" : "shape");
        snprintf(q->question, sizeof q->question, "What %s is the %s?", colour ? "colour" : "shape", what);
        snprintf(q->answer, sizeof q->answer, "%s",
                 colour ? vv_synth_colour[s->object[i].colour] : vv_synth_shape[s->object[i].shape]);
        return;
    }
}

/* Two objects, each with a phrase of what it is, for which `holds(a, b)`. 0 when none is found. */
static int find_pair(const vv_scene *s, int (*holds)(const vv_synth_object *, const vv_synth_object *), vv_dice *d,
                     int *a, int *b, char text[2][40])
{
    for (int attempt = 0; attempt < 12 && s->n_objects > 1; attempt++) {
        phrase p, q;
        *a = vv_below(d, (int)s->n_objects);
        *b = vv_below(d, (int)s->n_objects);
        if (!holds(&s->object[*a], &s->object[*b])) continue;
        if (!refer(s, *a, 0, PLAIN_FORMS, 0, d, &p) || !refer(s, *b, 0, PLAIN_FORMS, 0, d, &q)) continue;
        say(&p, text[0], 40);
        say(&q, text[1], 40);
        return 1;
    }
    return 0;
}

/* Twice the margin of a superlative: the other object is not looked for but named. */
static int beside(const vv_synth_object *a, const vv_synth_object *b)
{
    return left_of(a, b, 2 * VV_SYNTH_SIDE_MARGIN) || left_of(b, a, 2 * VV_SYNTH_SIDE_MARGIN);
}

/* Left or right: of another object, or of the picture's middle. */
static void ask_position(vv_scene *s, vv_dice *d)
{
    char text[2][40];
    int a, b;
    if (vv_chance(d, 0.6) && find_pair(s, beside, d, &a, &b, text)) {
        vv_synth_question *q = ask(s, "position");
        snprintf(q->question, sizeof q->question, "Is the %s to the left or to the right of the %s?", text[0], text[1]);
        snprintf(q->answer, sizeof q->answer, s->object[a].x < s->object[b].x ? "left" : "right");
        return;
    }
    const int start = vv_below(d, (int)s->n_objects);
    for (int k = 0; k < s->n_objects; k++) {
        phrase p;
        const int i = (start + k) % (int)s->n_objects;
        if (fabs(s->object[i].x - 0.5) < VV_SYNTH_SIDE_MARGIN || !refer(s, i, 0, PLAIN_FORMS, 0, d, &p)) continue;
        say(&p, text[0], sizeof text[0]);
        vv_synth_question *q = ask(s, "position");
        snprintf(q->question, sizeof q->question, "Is the %s on the left or on the right?", text[0]);
        snprintf(q->answer, sizeof q->answer, s->object[i].x < 0.5 ? "left" : "right");
        return;
    }
}

static void ask_depth_order(vv_scene *s, vv_dice *d)
{
    char text[2][40]; /* of the nearer one, of the farther one */
    int a, b;
    if (!find_pair(s, nearer, d, &a, &b, text)) return;
    const int first = vv_below(d, 2), far = vv_below(d, 2);
    vv_synth_question *q = ask(s, "depth_order");
    snprintf(q->question, sizeof q->question, "Which object is %s, the %s or the %s?", far ? "farther" : "nearer",
             text[first], text[1 - first]);
    snprintf(q->answer, sizeof q->answer, "the %s", text[far]);
}

/* ---- the caption ------------------------------------------------------------------------------------------------------------ */

static void add(vv_scene *s, const char *a, const char *b, const char *c, const char *e, const char *f)
{
    const size_t n = strlen(s->caption);
    snprintf(s->caption + n, sizeof s->caption - n, "%s%s%s%s%s", a, b, c, e, f);
}

static const char *const number_word[VV_SYNTH_MOST + 1] = {"no", "one", "two", "three", "four", "five", "six"};

/* The objects from left to right, in groups of the same colour and shape. */
static int group(const vv_scene *s, int order[VV_SYNTH_MOST])
{
    int n = 0;
    for (int i = 0; i < s->n_objects; i++) {
        int k = n;
        for (int j = 0; j < n; j++)
            if (s->object[order[j]].colour == s->object[i].colour && s->object[order[j]].shape == s->object[i].shape)
                k = -1;
        if (k < 0) continue; /* stands for its group already */
        for (; k > 0 && s->object[order[k - 1]].x > s->object[i].x; k--) order[k] = order[k - 1];
        order[k] = i;
        n++;
    }
    return n;
}

/* "a large red sphere", "two red spheres" */
static void say_group(const vv_scene *s, int i, vv_dice *d, char *text, size_t size)
{
    const vv_synth_object *b = &s->object[i];
    const int n = count(s, b->colour, b->shape), sized = vv_chance(d, 0.35) && n == 1 && size_tells(s, i);
    char before[32];
    if (n > 1) {
        snprintf(before, sizeof before, "%s %s ", number_word[n], vv_synth_colour[b->colour]);
        plural(text, size, before, b->shape);
    } else {
        const phrase p = {sized ? b->size : -1, b->colour, b->shape, ANY};
        say(&p, before, sizeof before);
        snprintf(text, size, "%s %s", sized ? "a" : article(b->colour), before);
    }
}

static void list_objects(vv_scene *s, const int *order, int n, vv_dice *d)
{
    add(s, "A scene with ", "", "", "", "");
    for (int k = 0; k < n; k++) {
        char text[48];
        say_group(s, order[k], d, text, sizeof text);
        add(s, text, k + 1 == n ? "." : k + 2 == n ? " and " : ", ", "", "", "");
    }
}

static int same_colour(const vv_synth_object *a, const vv_synth_object *b) { return a != b && a->colour == b->colour; }

/* " The red sphere is to the left of the blue box." and the like. */
static void relate(vv_scene *s, int kind, vv_dice *d)
{
    char text[2][40];
    int a, b;
    if (kind == 0 && find_pair(s, beside, d, &a, &b, text))
        add(s, " The ", text[0],
            s->object[a].x < s->object[b].x ? " is to the left of the " : " is to the right of the ", text[1], ".");
    if (kind == 1 && find_pair(s, nearer, d, &a, &b, text)) {
        const int far = vv_below(d, 2), in_line = fabs(s->object[a].x - s->object[b].x) < VV_SYNTH_SIDE_MARGIN;
        const char *const words[2][2] = {{" is nearer than the ", " is farther than the "},
                                         {" is in front of the ", " is behind the "}};
        add(s, " The ", text[far], words[in_line][far], text[1 - far], ".");
    }
    if (kind == 2 && find_pair(s, same_colour, d, &a, &b, text))
        add(s, " The ", text[0], " and the ", text[1], " have the same colour.");
    if (kind != 3) return;
    const phrase nearest = {-1, -1, -1, NEAREST};
    for (int i = 0; i < s->n_objects; i++) {
        if (!names(s, &nearest, i)) continue;
        const phrase p = {-1, s->object[i].colour, s->object[i].shape, ANY};
        say(&p, text[0], sizeof text[0]);
        add(s, " The nearest object is ", article(p.colour), " ", text[0], ".");
    }
}

static void caption(vv_scene *s, vv_dice *d)
{
    int order[VV_SYNTH_MOST];
    const int groups = group(s, order), listed = groups <= 4 && vv_chance(d, 0.75), first = vv_below(d, 4);
    if (listed) {
        list_objects(s, order, groups, d);
    } else if (groups == 1) {
        char text[48], before[32];
        const vv_synth_object *b = &s->object[0];
        snprintf(before, sizeof before, "%s %s ", number_word[s->n_objects], vv_synth_colour[b->colour]);
        plural(text, sizeof text, before, b->shape);
        if (s->n_objects == 1) snprintf(text, sizeof text, "%s%s", before, vv_synth_shape[b->shape]);
        add(s, s->n_objects == 1 ? "There is " : "There are ", text, " in the picture.", "", "");
    } else {
        add(s, "There are ", number_word[s->n_objects], " objects in the picture.", "", "");
    }
    for (int k = 0; k < (listed ? 1 : 2); k++) relate(s, (first + k) % 4, d);
    if (s->floor_colour >= 0 && vv_chance(d, 0.3))
        add(s, " The floor is ", vv_synth_colour[s->floor_colour], ".", "", "");
}

void vv_synth_words(vv_scene *s, int held_out, vv_dice *d)
{
    caption(s, d);
    ask_count(s, d);
    ask_attribute(s, COLOUR, d);
    ask_attribute(s, SHAPE, d);
    ask_position(s, d);
    ask_depth_order(s, d);
    ask_existence(s, held_out, d);
    referring_expressions(s, d);
}
