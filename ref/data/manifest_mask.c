/* Masks from run lengths and from polygons, with the rules of the COCO API (cocoapi, common/maskApi.c). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset_parts.h"

void vv_bitmap_free(vv_bitmap *m)
{
    free(m->v);
    *m = (vv_bitmap){0};
}

static vv_status new_mask(vv_bitmap *m, int64_t h, int64_t w, const char *place, vv_error *err)
{
    *m = (vv_bitmap){h, w, vv_calloc(vv_mul(h, w), 1)};
    return m->v ? VV_OK : vv_no_memory(err, place);
}

/* ---- run lengths ------------------------------------------------------------------------------------------------ */

/* Where the next run begins, counted down the columns, and its value. */
typedef struct {
    vv_bitmap *m;
    int64_t at;
    int on;
} painter;

/* Paints the next run; 0 when it is negative or leads beyond the picture. */
static int paint(painter *p, int64_t run)
{
    vv_bitmap *m = p->m;
    if (run < 0 || run > m->h * m->w - p->at) return 0;
    for (int64_t k = p->at; p->on && k < p->at + run; k++) m->v[k % m->h * m->w + k / m->h] = 1;
    p->at += run;
    p->on = !p->on;
    return 1;
}

/* A number of the compressed form: digits of 6 bits, each a character from '0' on, the lowest first. 32 says that another one
 * follows; of the last, 16 is the sign. NULL when it does not end. */
static const char *number(const char *s, int64_t *out)
{
    enum { DIGITS = 7 }; /* the writers' numbers have 32 bits */
    int64_t x = 0, unit = 1;
    for (int i = 0; i < DIGITS; i++, unit *= 32) {
        const int digit = *s - '0';
        if (digit < 0 || digit > 63) return NULL;
        s++;
        x += (digit & 31) * unit;
        if (digit & 32) continue;
        *out = digit & 16 ? x - 32 * unit : x;
        return s;
    }
    return NULL;
}

/* From the fourth on, the string holds the difference to the run two before. */
static int paint_string(painter *p, const char *s)
{
    int64_t before[2] = {0, 0};
    for (int64_t i = 0; *s; i++) {
        int64_t x;
        if (!(s = number(s, &x))) return 0;
        if (i > 2) x += before[i % 2];
        before[i % 2] = x;
        if (!paint(p, x)) return 0;
    }
    return 1;
}

static int paint_list(painter *p, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *run = json_array_get(list, i);
        if (!json_is_integer(run) || !paint(p, (int64_t)json_integer_value(run))) return 0;
    }
    return 1;
}

vv_status vv_bitmap_rle(vv_bitmap *out, const json_t *counts, int64_t h, int64_t w, const char *place, vv_error *err)
{
    VV_TRY(new_mask(out, h, w, place, err));
    painter p = {.m = out};
    const int fine = json_is_string(counts) ? paint_string(&p, json_string_value(counts)) : paint_list(&p, counts);
    if (fine && p.at == h * w) return VV_OK;
    const int64_t at = p.at;
    vv_bitmap_free(out);
    return vv_fail(err, VV_FILE,
                   "%s: 'counts': expected runs that fill %lld x %lld pixels, found %s after %lld of them", place,
                   (long long)h, (long long)w, fine ? "the end" : "no possible run", (long long)at);
}

/* ---- polygons --------------------------------------------------------------------------------------------------- */

/* The rule works on a grid of 5 x 5 points a pixel. The outline is walked from grid point to grid point; wherever it goes from
 * the middle of a pixel's width to the next point, or back, it crosses that column. The pixels of a column from the first
 * crossing to the second are inside, and so on by pairs, so that a point on the right or lower edge is outside: a square of
 * side 9 has 81 pixels. */
enum { GRID = 5, MIDDLE = 2, POLYGONS_MOST = 1000 };

/* turn[x * h + y] says whether, going down column x, the inside begins or ends at row y; row h is the next column's first. */
typedef struct {
    unsigned char *turn;
    int64_t h, w;
    int64_t first, last; /* of the turns, counted down the columns */
    int64_t x, y;        /* the grid point where the walk is */
    int started;
} walk;

static void go_to(walk *k, int64_t x, int64_t y)
{
    const int64_t left = vv_min(x, k->x), upper = vv_min(y, k->y);
    if (k->started && x != k->x && left >= 0 && left % GRID == MIDDLE && left / GRID < k->w) {
        const int64_t row = upper < 0 ? 0 : vv_min((upper + MIDDLE) / GRID, k->h), at = left / GRID * k->h + row;
        k->turn[at] ^= 1;
        k->first = vv_min(k->first, at);
        k->last = vv_max(k->last, at);
    }
    k->x = x;
    k->y = y;
    k->started = 1;
}

/* A side of the polygon, in the order of the corners but with its points computed from the left or the top end: this and the
 * truncation towards 0 decide the rule's last pixel. */
static void go_along(walk *k, int64_t x0, int64_t y0, int64_t x1, int64_t y1)
{
    const int64_t dx = x1 > x0 ? x1 - x0 : x0 - x1, dy = y1 > y0 ? y1 - y0 : y0 - y1;
    const int flat = dx >= dy, back = flat ? x0 > x1 : y0 > y1;
    const int64_t n = flat ? dx : dy, xa = back ? x1 : x0, ya = back ? y1 : y0, xb = back ? x0 : x1,
                  yb = back ? y0 : y1;
    const double slope = n == 0 ? 0 : (double)(flat ? yb - ya : xb - xa) / (double)n;
    for (int64_t i = 0; i <= n; i++) {
        const int64_t t = back ? n - i : i;
        const int64_t across = (int64_t)((double)(flat ? ya : xa) + slope * (double)t + 0.5);
        if (flat) go_to(k, xa + t, across);
        else go_to(k, across, ya + t);
    }
}

/* Adds what is inside, and leaves no turns. */
static void fill(vv_bitmap *m, walk *k)
{
    int inside = 0;
    for (int64_t i = k->first; i < m->h * m->w && (i <= k->last || inside); i++) {
        inside ^= k->turn[i];
        k->turn[i] = 0;
        if (inside) m->v[i % m->h * m->w + i / m->h] = 1;
    }
    k->turn[m->h * m->w] = 0;
}

/* Coordinate i of a polygon on the grid; corners far outside would make the walk long. */
static vv_status coordinate(const json_t *polygon, size_t i, int64_t side, const char *place, int64_t *out,
                            vv_error *err)
{
    char found[80];
    const json_t *v = json_array_get(polygon, i);
    const double x = json_number_value(v);
    if (!json_is_number(v) || !(x >= (double)-side && x <= 2 * (double)side))
        return vv_fail(err, VV_FILE, "%s: 'polygons': expected a number from %lld to %lld, found %s", place,
                       (long long)-side, (long long)(2 * side), vv_json_found(v, found, sizeof found));
    *out = (int64_t)(GRID * x + 0.5);
    return VV_OK;
}

static vv_status outline(walk *k, const json_t *polygon, const char *place, vv_error *err)
{
    const size_t n = json_array_size(polygon);
    if (n < 6 || n % 2)
        return vv_fail(err, VV_FILE,
                       "%s: 'polygons': expected lists of x and y of at least 3 corners, found %zu numbers", place, n);
    int64_t x0 = 0, y0 = 0, x1, y1;
    for (size_t i = 0; i <= n; i += 2) { /* back to the first corner at the end */
        VV_TRY(coordinate(polygon, i % n, k->w, place, &x1, err));
        VV_TRY(coordinate(polygon, i % n + 1, k->h, place, &y1, err));
        if (i) go_along(k, x0, y0, x1, y1);
        x0 = x1;
        y0 = y1;
    }
    return VV_OK;
}

vv_status vv_bitmap_polygons(vv_bitmap *out, const json_t *polygons, int64_t h, int64_t w, const char *place,
                             vv_error *err)
{
    const size_t n = json_array_size(polygons);
    *out = (vv_bitmap){0};
    if (n < 1 || n > POLYGONS_MOST)
        return vv_fail(err, VV_FILE, "%s: 'polygons': expected 1 to %d lists, found %zu", place, POLYGONS_MOST, n);
    VV_TRY(new_mask(out, h, w, place, err));
    unsigned char *turn = vv_calloc(h * w + 1, 1);
    vv_status s = turn ? VV_OK : vv_no_memory(err, place);
    for (size_t i = 0; i < n && s == VV_OK; i++) {
        walk k = {.turn = turn, .h = h, .w = w, .first = h * w, .last = -1};
        s = outline(&k, json_array_get(polygons, i), place, err);
        if (s == VV_OK) fill(out, &k);
    }
    free(turn);
    if (s != VV_OK) vv_bitmap_free(out);
    return s;
}
