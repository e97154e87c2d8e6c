/* The words of synthetic scenes, evaluated here by other code: every expression is read word by word and looked up among the objects,
 * whose places and depths are measured anew in the maps. Then what words must not give away: shares of answers, what is held out,
 * colour against shape, the image row against depth. */
#include "vvt.h"

#include <math.h>

#include "data/synth.h"

enum { SIZE = 56, PIXELS = SIZE * SIZE };

static vv_synth_options options(uint64_t seed, int held_out)
{
    vv_synth_options o = vv_synth_default();
    o.seed = seed;
    o.size = SIZE;
    o.held_out = held_out;
    return o;
}

/* ---- what stands in the picture, from its maps ---------------------------------------------------------------------- */

typedef struct {
    const char *colour, *shape, *size;
    double x, depth, nearest;
} fact;

typedef struct {
    int n;
    fact f[VV_SYNTH_MOST];
} facts;

static facts measure(const vv_scene *s)
{
    facts v = {(int)s->n_objects, {{0}}};
    for (int k = 0; k < v.n; k++) {
        const vv_synth_object *b = &s->object[k];
        fact *f = &v.f[k];
        double n = 0;
        *f = (fact){vv_synth_colour[b->colour], vv_synth_shape[b->shape], vv_synth_size[b->size], 0, 0, 1e9};
        for (int i = 0; i < PIXELS; i++) {
            if (!b->mask[i]) continue;
            n++;
            f->x += (i % SIZE + 0.5) / SIZE;
            f->depth += (double)s->depth[i];
            if ((double)s->depth[i] < f->nearest) f->nearest = (double)s->depth[i];
        }
        f->x /= n;
        f->depth /= n;
    }
    return v;
}

static int is_nearer(const fact *a, const fact *b)
{
    return a->depth * VV_SYNTH_DEPTH_MARGIN < b->depth * (1 + 1e-9) && a->nearest < b->nearest;
}

/* ---- reading phrases ------------------------------------------------------------------------------------------------ */

static int in_list(const char *word, const char *const *list, int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(word, list[i])) return 1;
    return 0;
}

/* The object that "the nearest large red sphere" means; fails the test when it is not exactly one, or a word is strange. */
static int look_up(const facts *v, const char *phrase)
{
    char copy[200], *words[8];
    int n = 0, found = -1, left = 0;
    int fits[VV_SYNTH_MOST];
    const char *most = "";
    snprintf(copy, sizeof copy, "%s", phrase);
    for (char *w = strtok(copy, " "); w && n < 8; w = strtok(NULL, " ")) words[n++] = w;
    if (n && !strcmp(words[0], "the")) words[0][0] = 0;
    for (int k = 0; k < v->n; k++) fits[k] = 1;
    for (int i = 0; i < n; i++) {
        const int colour = in_list(words[i], vv_synth_colour, VV_SYNTH_COLOURS),
                  shape = in_list(words[i], vv_synth_shape, VV_SYNTH_SHAPES),
                  size = in_list(words[i], vv_synth_size, VV_SYNTH_SIZES), last = i == n - 1;
        ck_assert_msg(!words[i][0] || colour || size || (shape && last) || (last && !strcmp(words[i], "object")) ||
                          strstr("leftmost rightmost nearest farthest", words[i]),
                      "\"%s\": a strange word: %s", phrase, words[i]);
        if (!colour && !shape && !size && words[i][0] && !last) most = words[i];
        for (int k = 0; k < v->n; k++) {
            if (colour && strcmp(words[i], v->f[k].colour)) fits[k] = 0;
            if (shape && strcmp(words[i], v->f[k].shape)) fits[k] = 0;
            if (size && strcmp(words[i], v->f[k].size)) fits[k] = 0;
        }
    }
    for (int k = 0; k < v->n; k++) {
        int ahead = fits[k];
        for (int j = 0; j < v->n && ahead; j++) {
            if (j == k || !fits[j]) continue;
            const fact *a = &v->f[k], *b = &v->f[j];
            ahead = !strcmp(most, "leftmost")    ? a->x < b->x - VV_SYNTH_SIDE_MARGIN + 1e-9
                    : !strcmp(most, "rightmost") ? a->x > b->x + VV_SYNTH_SIDE_MARGIN - 1e-9
                    : !strcmp(most, "nearest")   ? is_nearer(a, b)
                    : !strcmp(most, "farthest")  ? is_nearer(b, a)
                                                 : 1;
        }
        if (!ahead) continue;
        found = k;
        left++;
    }
    ck_assert_msg(left == 1, "\"%s\" names %d objects", phrase, left);
    return found;
}

/* Takes `text` apart at the given pieces: what stands between them goes to out[]. 0 when it has another form. */
static int parts(const char *text, const char *const *piece, int n, char out[][200])
{
    for (int i = 0; i < n; i++) {
        const char *at = *piece[i] ? strstr(text, piece[i]) : text + strlen(text); /* "": the rest */
        if (!at || (i == 0 && at != text)) return 0;
        if (i) snprintf(out[i - 1], 200, "%.*s", (int)(at - text), text);
        text = at + strlen(piece[i]);
    }
    return *text == 0;
}
#define PARTS(text, out, ...)                                                                                          \
    parts(text, (const char *const[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *), out)

static int count(const facts *v, const char *colour, const char *shape)
{
    int n = 0;
    for (int k = 0; k < v->n; k++)
        n += (!colour || !strcmp(colour, v->f[k].colour)) && (!shape || !strcmp(shape, v->f[k].shape));
    return n;
}

/* "red spheres", "objects", "box" as colour and shape, NULL where not said */
static void read_kind(const char *text, const char **colour, const char **shape)
{
    char last[40];
    const char *space = strrchr(text, ' ');
    *colour = *shape = NULL;
    snprintf(last, sizeof last, "%s", space ? space + 1 : text);
    for (int i = 0; space && i < VV_SYNTH_COLOURS; i++)
        if (!strncmp(text, vv_synth_colour[i], (size_t)(space - text)) && !vv_synth_colour[i][space - text])
            *colour = vv_synth_colour[i];
    ck_assert_msg(!space || *colour, "\"%s\": no colour", text);
    for (int i = 0; i < VV_SYNTH_SHAPES; i++) {
        char many[20];
        snprintf(many, sizeof many, "%s%s", vv_synth_shape[i], strcmp(vv_synth_shape[i], "box") ? "s" : "es");
        if (!strcmp(last, many) || !strcmp(last, vv_synth_shape[i])) *shape = vv_synth_shape[i];
    }
    ck_assert_msg(*shape || !strncmp(last, "object", 6), "\"%s\": no shape", text);
}

/* ---- questions ------------------------------------------------------------------------------------------------------- */

/* The answer found here; *first is set when two objects are mentioned and the answer is the one mentioned first. */
static void answer(const facts *v, const vv_synth_question *q, char *out, size_t size, int *first)
{
    char p[3][200];
    const char *colour, *shape;
    *first = -1;
    if (PARTS(q->question, p, "How many ", " are there?")) {
        read_kind(p[0], &colour, &shape);
        snprintf(out, size, "%d", count(v, colour, shape));
        ck_assert_str_eq(q->type, "count");
    } else if (PARTS(q->question, p, "Is there a", " ", " in the picture?")) {
        ck_assert_str_eq(p[0], strncmp(p[1], "orange", 6) ? "" : "n");
        read_kind(p[1], &colour, &shape);
        snprintf(out, size, "%s", count(v, colour, shape) ? "yes" : "no");
        ck_assert_str_eq(q->type, "existence");
    } else if (PARTS(q->question, p, "What colour is ", "?")) {
        snprintf(out, size, "%s", v->f[look_up(v, p[0])].colour);
        ck_assert_str_eq(q->type, "color");
    } else if (PARTS(q->question, p, "What shape is ", "?")) {
        snprintf(out, size, "%s", v->f[look_up(v, p[0])].shape);
        ck_assert_str_eq(q->type, "shape");
    } else if (PARTS(q->question, p, "Is ", " to the left or to the right of ", "?")) {
        const double a = v->f[look_up(v, p[0])].x, b = v->f[look_up(v, p[1])].x;
        ck_assert(fabs(a - b) > 2 * VV_SYNTH_SIDE_MARGIN - 1e-9);
        snprintf(out, size, "%s", a < b ? "left" : "right");
        ck_assert_str_eq(q->type, "position");
    } else if (PARTS(q->question, p, "Is ", " on the left or on the right?")) {
        const double a = v->f[look_up(v, p[0])].x;
        ck_assert(fabs(a - 0.5) > VV_SYNTH_SIDE_MARGIN - 1e-9);
        snprintf(out, size, "%s", a < 0.5 ? "left" : "right");
        ck_assert_str_eq(q->type, "position");
    } else {
        ck_assert_msg(PARTS(q->question, p, "Which object is ", ", ", " or ", "?"), "a strange question: %s",
                      q->question);
        const int a = look_up(v, p[1]), b = look_up(v, p[2]), near = !strcmp(p[0], "nearer");
        ck_assert(a != b && (near || !strcmp(p[0], "farther")));
        ck_assert(is_nearer(&v->f[a], &v->f[b]) || is_nearer(&v->f[b], &v->f[a]));
        *first = is_nearer(&v->f[a], &v->f[b]) == near;
        snprintf(out, size, "%s", *first ? p[1] : p[2]);
        ck_assert_str_eq(q->type, "depth_order");
    }
}

/* ---- captions -------------------------------------------------------------------------------------------------------- */

static const char *const number[] = {"no", "one", "two", "three", "four", "five", "six"};

/* "a large red sphere", "two red spheres": as many as there are, of a size that one of them has. */
static int check_item(const facts *v, const char *item)
{
    char rest[200], word[40];
    const char *colour, *shape, *size = NULL;
    int n = 0;
    ck_assert(sscanf(item, "%39s %199[^\n]", word, rest) == 2);
    for (int i = 1; i <= VV_SYNTH_MOST; i++)
        if (!strcmp(word, number[i])) n = i;
    if (!n) ck_assert_str_eq(word, strncmp(rest, "orange", 6) ? "a" : "an");
    for (int i = 0; i < VV_SYNTH_SIZES; i++) {
        const size_t l = strlen(vv_synth_size[i]);
        if (strncmp(rest, vv_synth_size[i], l) || rest[l] != ' ') continue;
        size = vv_synth_size[i];
        memmove(rest, rest + l + 1, strlen(rest + l + 1) + 1);
    }
    read_kind(rest, &colour, &shape);
    ck_assert_msg(count(v, colour, shape) == (n ? n : 1), "\"%s\": there are %d", item, count(v, colour, shape));
    for (int k = 0; size && k < v->n; k++)
        if (!strcmp(v->f[k].colour, colour) && !strcmp(v->f[k].shape, shape)) ck_assert_str_eq(v->f[k].size, size);
    return n ? n : 1;
}

/* One sentence without its full stop. */
static void check_sentence(const facts *v, const vv_scene *s, char *text)
{
    char p[3][200];
    if (!strncmp(text, "A scene with ", 13)) {
        int all = 0;
        char *item = text + 13, *end;
        for (; (end = strstr(item, ", ")) != NULL; item = end + 2) {
            *end = 0;
            all += check_item(v, item);
        }
        if ((end = strstr(item, " and ")) != NULL) {
            *end = 0;
            all += check_item(v, item);
            item = end + 5;
        }
        all += check_item(v, item);
        ck_assert_int_eq(all, v->n);
    } else if (PARTS(text, p, "There are ", " objects in the picture")) {
        ck_assert_str_eq(p[0], number[v->n]);
    } else if (PARTS(text, p, "There are ", " in the picture") || PARTS(text, p, "There is ", " in the picture")) {
        ck_assert_int_eq(check_item(v, p[0]), v->n);
    } else if (PARTS(text, p, "The floor is ", "")) {
        int seen = 0;
        for (int i = 0; i < PIXELS; i++) seen += s->classes[i] == VV_SYNTH_FLOOR;
        ck_assert(s->floor_colour >= 0 && !strcmp(p[0], vv_synth_colour[s->floor_colour]) && seen >= PIXELS / 10);
    } else if (PARTS(text, p, "The nearest object is a", " ", "")) {
        const int k = look_up(v, "the nearest object");
        char want[60];
        snprintf(want, sizeof want, "%s %s", v->f[k].colour, v->f[k].shape);
        ck_assert_str_eq(p[1], want);
    } else if (PARTS(text, p, "The ", " and the ", " have the same colour")) {
        const int a = look_up(v, p[0]), b = look_up(v, p[1]);
        ck_assert(a != b && !strcmp(v->f[a].colour, v->f[b].colour));
    } else if (PARTS(text, p, "The ", " is to the left of the ", "")) {
        ck_assert(v->f[look_up(v, p[0])].x < v->f[look_up(v, p[1])].x - VV_SYNTH_SIDE_MARGIN);
    } else if (PARTS(text, p, "The ", " is to the right of the ", "")) {
        ck_assert(v->f[look_up(v, p[0])].x > v->f[look_up(v, p[1])].x + VV_SYNTH_SIDE_MARGIN);
    } else if (PARTS(text, p, "The ", " is nearer than the ", "") ||
               PARTS(text, p, "The ", " is in front of the ", "")) {
        ck_assert(is_nearer(&v->f[look_up(v, p[0])], &v->f[look_up(v, p[1])]));
    } else {
        ck_assert_msg(PARTS(text, p, "The ", " is farther than the ", "") ||
                          PARTS(text, p, "The ", " is behind the ", ""),
                      "a strange sentence: %s", text);
        ck_assert(is_nearer(&v->f[look_up(v, p[1])], &v->f[look_up(v, p[0])]));
    }
}

static void check_caption(const facts *v, const vv_scene *s)
{
    char copy[sizeof s->caption], *sentence = copy;
    snprintf(copy, sizeof copy, "%s", s->caption);
    const size_t n = strlen(copy);
    ck_assert(n > 10 && n < sizeof copy - 60 && copy[n - 1] == '.');
    copy[n - 1] = 0;
    for (char *end; (end = strstr(sentence, ". ")) != NULL; sentence = end + 2) {
        *end = 0;
        check_sentence(v, s, sentence);
    }
    check_sentence(v, s, sentence);
}

/* ---- all words of many scenes ---------------------------------------------------------------------------------------- */

START_TEST(true_words)
{
    const vv_synth_options o = options(21, _i);
    for (int64_t i = 0; i < 500; i++) {
        vv_scene s;
        VVT_OK(vv_synth_scene(&s, &o, i, err));
        const facts v = measure(&s);
        for (int64_t k = 0; k < s.n_referring; k++)
            ck_assert_msg(look_up(&v, s.referring[k].text) == s.referring[k].object, "scene %d: \"%s\"", (int)i,
                          s.referring[k].text);
        for (int64_t k = 0; k < s.n_questions; k++) {
            char want[200];
            int first;
            answer(&v, &s.question[k], want, sizeof want, &first);
            ck_assert_msg(!strcmp(want, s.question[k].answer), "scene %d: %s %s, expected %s", (int)i,
                          s.question[k].question, s.question[k].answer, want);
        }
        check_caption(&v, &s);
        vv_scene_free(&s);
    }
}
END_TEST

static int mentions(const vv_scene *s, const char *pair)
{
    int n = strstr(s->caption, pair) != NULL;
    for (int64_t k = 0; k < s->n_questions; k++)
        n += strstr(s->question[k].question, pair) || strstr(s->question[k].answer, pair);
    for (int64_t k = 0; k < s->n_referring; k++) n += strstr(s->referring[k].text, pair) != NULL;
    return n;
}

/* Without the option a held-out pair occurs neither in a picture nor in a word; with it, they are as frequent as others. */
START_TEST(held_out)
{
    const vv_synth_options o = options(22, _i);
    int shown = 0, said = 0, objects = 0, pairs = 0;
    for (int64_t i = 0; i < 400; i++) {
        vv_scene s;
        VVT_OK(vv_synth_scene(&s, &o, i, err));
        for (int64_t k = 0; k < s.n_objects; k++) shown += vv_synth_held_out(s.object[k].colour, s.object[k].shape);
        objects += (int)s.n_objects;
        for (int c = 0; c < VV_SYNTH_COLOURS; c++)
            for (int h = 0; h < VV_SYNTH_SHAPES; h++) {
                char pair[40];
                snprintf(pair, sizeof pair, "%s %s", vv_synth_colour[c], vv_synth_shape[h]);
                if (vv_synth_held_out(c, h)) said += mentions(&s, pair);
                pairs += i == 0 && vv_synth_held_out(c, h);
            }
        vv_scene_free(&s);
    }
    ck_assert_int_eq(pairs, 8);
    if (!_i) ck_assert(shown == 0 && said == 0);
    else
        ck_assert_msg(said > 100 && fabs((double)shown / objects - 8.0 / 44) < 0.04, "%d of %d, said %d times", shown,
                      objects, said);
}
END_TEST

/* ---- what must not give itself away ---------------------------------------------------------------------------------- */

enum { SCENES = 1200, TYPES = 6, ANSWERS = 16 };
static const char *const type_name[TYPES] = {"count", "color", "shape", "position", "depth_order", "existence"};
/* The most that the most frequent answer may have; of depth_order: that the right one is mentioned first. */
static const double most_share[TYPES] = {0.35, 0.15, 0.32, 0.56, 0.56, 0.56};
/* The least share of scenes that have the question. */
static const double least_asked[TYPES] = {1, 0.95, 0.95, 0.75, 0.5, 0.98};

typedef struct {
    int asked[TYPES], n[TYPES][ANSWERS];
    char text[TYPES][ANSWERS][40];
    int objects[VV_SYNTH_MOST + 1], closeups, referring, nameless, colour_shape[VV_SYNTH_COLOURS][VV_SYNTH_SHAPES];
    double cover, cover_square, row[SIZE], mean, square;
} tally;

static void tally_questions(tally *t, const vv_scene *s, const facts *v)
{
    for (int64_t k = 0; k < s->n_questions; k++) {
        char found[200];
        int type = 0, a = 0, first;
        while (strcmp(s->question[k].type, type_name[type])) type++;
        answer(v, &s->question[k], found, sizeof found, &first);
        if (first >= 0) snprintf(found, sizeof found, "%s", first ? "first" : "second");
        while (t->text[type][a][0] && strcmp(t->text[type][a], found)) a++;
        ck_assert_int_lt(a, ANSWERS);
        snprintf(t->text[type][a], 40, "%.39s", found);
        t->n[type][a]++;
        t->asked[type]++;
    }
}

/* Disparity, less its mean in the picture, in units of its mean deviation there: how much of it do rows predict? */
static void tally_rows(tally *t, const vv_scene *s)
{
    double mean = 0, deviation = 0;
    for (int i = 0; i < PIXELS; i++) mean += 1 / (double)s->depth[i] / PIXELS;
    for (int i = 0; i < PIXELS; i++) deviation += fabs(1 / (double)s->depth[i] - mean) / PIXELS;
    for (int i = 0; i < PIXELS; i++) {
        const double z = (1 / (double)s->depth[i] - mean) / deviation;
        t->row[i / SIZE] += z / SIZE / SCENES;
        t->square += z * z / PIXELS / SCENES;
    }
}

static void tally_scene(tally *t, const vv_scene *s)
{
    const facts v = measure(s);
    int cover = 0, named[VV_SYNTH_MOST] = {0};
    for (int i = 0; i < PIXELS; i++) cover += s->classes[i] >= VV_SYNTH_SPHERE && s->classes[i] <= VV_SYNTH_CONE;
    t->cover += (double)cover / PIXELS / SCENES;
    t->cover_square += (double)cover * cover / PIXELS / PIXELS / SCENES;
    t->objects[s->n_objects]++;
    t->closeups += s->closeup;
    t->referring += (int)s->n_referring;
    for (int64_t k = 0; k < s->n_referring; k++) named[s->referring[k].object] = 1;
    for (int64_t k = 0; k < s->n_objects; k++) {
        t->nameless += !named[k];
        t->colour_shape[s->object[k].colour][s->object[k].shape]++;
    }
    tally_questions(t, s, &v);
    tally_rows(t, s);
}

/* Pearson's chi-square of independence over the table, in units of its degrees of freedom. */
static double dependence(int table[VV_SYNTH_COLOURS][VV_SYNTH_SHAPES])
{
    double all = 0, row[VV_SYNTH_COLOURS] = {0}, column[VV_SYNTH_SHAPES] = {0}, chi = 0;
    for (int c = 0; c < VV_SYNTH_COLOURS; c++)
        for (int h = 0; h < VV_SYNTH_SHAPES; h++) {
            row[c] += table[c][h];
            column[h] += table[c][h];
            all += table[c][h];
        }
    for (int c = 0; c < VV_SYNTH_COLOURS; c++)
        for (int h = 0; h < VV_SYNTH_SHAPES; h++) {
            const double want = row[c] * column[h] / all, off = table[c][h] - want;
            chi += off * off / want;
        }
    return chi / ((VV_SYNTH_COLOURS - 1) * (VV_SYNTH_SHAPES - 1));
}

START_TEST(nothing_given_away)
{
    static tally t;
    const vv_synth_options o = options(23, 1);
    for (int64_t i = 0; i < SCENES; i++) {
        vv_scene s;
        VVT_OK(vv_synth_scene(&s, &o, i, err));
        tally_scene(&t, &s);
        vv_scene_free(&s);
    }
    for (int k = 0; k < TYPES; k++) {
        int best = 0;
        for (int a = 1; a < ANSWERS; a++)
            if (t.n[k][a] > t.n[k][best]) best = a;
        const double share = (double)t.n[k][best] / t.asked[k], asked = (double)t.asked[k] / SCENES;
        printf("%-12s in %5.1f %% of the scenes, \"%s\" %4.1f %%\n", type_name[k], 100 * asked, t.text[k][best],
               100 * share);
        ck_assert_msg(share < most_share[k] && asked >= least_asked[k], "%s", type_name[k]);
    }
    /* 3.6: four standard deviations of a share of 1/4; objects: 1 is the close-ups, the others are equally many */
    ck_assert(fabs((double)t.closeups / SCENES - 0.25) < 0.05 && t.objects[1] == t.closeups);
    for (int n = 2; n <= VV_SYNTH_MOST; n++) ck_assert(fabs((double)t.objects[n] / SCENES - 0.15) < 0.042);
    double rows = 0, objects = 0;
    for (int y = 0; y < SIZE; y++) rows += t.row[y] * t.row[y] / SIZE;
    for (int n = 1; n <= VV_SYNTH_MOST; n++) objects += n * t.objects[n];
    const double sd = sqrt(t.cover_square - t.cover * t.cover), chi = dependence(t.colour_shape);
    printf("cover %.3f, standard deviation %.3f; rows explain %.3f of the disparity; colour and shape: chi-square / 30 "
           "= %.2f\n",
           t.cover, sd, rows / t.square, chi);
    printf("%.2f expressions a scene, %.1f %% of the objects have none\n", (double)t.referring / SCENES,
           100 * t.nameless / objects);
    ck_assert(t.cover > 0.30 && t.cover < 0.36 && sd > 0.02 && sd < 0.05);
    ck_assert(rows / t.square < 0.2);
    ck_assert(
        chi <
        2.5); /* copies of colours and shapes correlate objects of a scene: more than the 1.7 of chance at one in a hundred */
    ck_assert(t.nameless / objects < 0.1);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("synth_words", &tc);
    tcase_add_loop_test(tc, true_words, 0, 2);
    tcase_add_loop_test(tc, held_out, 0, 2);
    tcase_add_test(tc, nothing_given_away);
    return s;
}
VVT_MAIN(suite)
