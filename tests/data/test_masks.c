/* Masks from run lengths and polygons: against recordings of the COCO API, by hand, and the illegal ones. */
#include "data/dataset_parts.h"

#include "coco_masks.h"
#include "vvt.h"

enum { COCO_CASES = sizeof COCO / sizeof *COCO };

static json_t *parse(const char *text)
{
    json_t *v = json_loads(text, JSON_DECODE_ANY, NULL);
    ck_assert_msg(v != NULL, "%s", text);
    return v;
}

static int area(const vv_bitmap *m)
{
    int n = 0;
    for (int64_t i = 0; i < m->h * m->w; i++) {
        ck_assert(m->v[i] <= 1);
        n += m->v[i];
    }
    return n;
}

/* ---- against the COCO API ---------------------------------------------------------------------------------------- */

START_TEST(recorded)
{
    const int h = COCO[_i].h, w = COCO[_i].w;
    json_t *polygons = parse(COCO[_i].polygons), *counts = json_string(COCO[_i].counts);
    vv_bitmap a, b;
    VVT_OK(vv_bitmap_polygons(&a, polygons, h, w, "x", err));
    VVT_OK(vv_bitmap_rle(&b, counts, h, w, "x", err));
    ck_assert(a.h == h && a.w == w && b.h == h && b.w == w);
    ck_assert_int_eq(area(&b), COCO[_i].area);
    for (int i = 0; i < h * w; i++)
        ck_assert_msg(a.v[i] == b.v[i], "%d x %d %s: y %d, x %d: %d", h, w, COCO[_i].polygons, i / w, i % w, a.v[i]);
    /* the same runs as a list */
    json_t *list = json_array();
    int run = 0, on = 0;
    for (int i = 0; i < h * w; i++, run++) {
        if (b.v[i % h * w + i / h] == on) continue;
        json_array_append_new(list, json_integer(run));
        on = !on;
        run = 0;
    }
    json_array_append_new(list, json_integer(run));
    vv_bitmap_free(&a);
    VVT_OK(vv_bitmap_rle(&a, list, h, w, "x", err));
    ck_assert(!memcmp(a.v, b.v, (size_t)(h * w)));
    vv_bitmap_free(&a);
    vv_bitmap_free(&b);
    vv_bitmap_free(&b); /* twice is fine */
    json_decref(polygons);
    json_decref(counts);
    json_decref(list);
}
END_TEST

/* ---- the same rule, naively --------------------------------------------------------------------------------------- */

/* All grid points of the outline in an array, then all crossings in an array, then runs of sorted crossings. */
static int by_position(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static void naive(unsigned char *mask, const double *xy, int corners, int h, int w)
{
    static int u[100000], v[100000], cross[100000];
    int n = 0, crossings = 0;
    for (int c = 0; c < corners; c++) {
        const int next = (c + 1) % corners;
        int x0 = (int)(5 * xy[2 * c] + .5), y0 = (int)(5 * xy[2 * c + 1] + .5);
        int x1 = (int)(5 * xy[2 * next] + .5), y1 = (int)(5 * xy[2 * next + 1] + .5), first = n;
        const int dx = abs(x1 - x0), dy = abs(y1 - y0), steps = dx > dy ? dx : dy;
        const int swap = dx >= dy ? x0 > x1 : y0 > y1;
        if (swap) {
            int t = x0;
            x0 = x1, x1 = t, t = y0, y0 = y1, y1 = t;
        }
        for (int d = 0; d <= steps; d++, n++) {
            const double s = steps ? (double)(dx >= dy ? y1 - y0 : x1 - x0) / steps : 0;
            u[n] = dx >= dy ? x0 + d : (int)(x0 + s * d + .5);
            v[n] = dx >= dy ? (int)(y0 + s * d + .5) : y0 + d;
        }
        for (int a = first, b = n - 1; swap && a < b; a++, b--) {
            int t = u[a];
            u[a] = u[b], u[b] = t, t = v[a], v[a] = v[b], v[b] = t;
        }
    }
    for (int i = 1; i < n; i++) {
        const double x = ((u[i] < u[i - 1] ? u[i] : u[i] - 1) + .5) / 5 - .5;
        double y = ((v[i] < v[i - 1] ? v[i] : v[i - 1]) + .5) / 5 - .5;
        if (u[i] == u[i - 1] || x != (int)x || x < 0 || x > w - 1) continue;
        y = y < 0 ? 0 : y > h ? h : y;
        cross[crossings++] = (int)x * h + (int)y + (y > (int)y);
    }
    qsort(cross, (size_t)crossings, sizeof *cross, by_position);
    for (int i = 0; i < crossings; i += 2)
        for (int k = cross[i]; k < (i + 1 < crossings ? cross[i + 1] : h * w); k++) mask[k % h * w + k / h] = 1;
}

START_TEST(random_polygons)
{
    enum { SIDE = 30, CORNERS = 12 };
    uint32_t state = 1;
    for (int t = 0; t < 400; t++) {
        double xy[2 * CORNERS] = {0};
        unsigned char want[SIDE * SIDE] = {0};
        const int h = 1 + t * 7 % SIDE, w = 1 + t * 11 % SIDE, corners = 3 + t % (CORNERS - 2);
        json_t *list = json_array(), *polygon = json_array();
        for (int i = 0; i < 2 * corners; i++) {
            state = state * 1664525u + 1013904223u;
            const double share =
                t % 3 ? (double)(state >> 8) / 0x1p24 : (double)(state >> 28) / 15; /* many equal ones */
            xy[i] = (2 * share - 0.5) * (i % 2 ? h : w);
            json_array_append_new(polygon, json_real(xy[i]));
        }
        json_array_append_new(list, polygon);
        naive(want, xy, corners, h, w);
        vv_bitmap m;
        VVT_OK(vv_bitmap_polygons(&m, list, h, w, "x", err));
        ck_assert_msg(!memcmp(m.v, want, (size_t)(h * w)), "polygon %d", t);
        vv_bitmap_free(&m);
        json_decref(list);
    }
}
END_TEST

/* ---- run lengths by hand ------------------------------------------------------------------------------------------- */

static const struct {
    const char *counts;
    const char *rows; /* 3 rows of 2 */
} runs[] = {
    {"[6]", "000000"},      {"[0,6]", "111111"},     {"[1,2,3]", "001010"},   {"[0,1,4,1]", "100001"},
    {"[3,1,2]", "010000"},  {"[0,3,0,3]", "111111"}, {"[5,1,0,0]", "000001"}, {"[0,0,0,0,2,4]", "010111"},
    {"\"6\"", "000000"},    {"\"06\"", "111111"},    {"\"123\"", "001010"},   {"\"014\\u0030\"", "100001"},
    {"\"0303\"", "111111"},
};
enum { RUNS = sizeof runs / sizeof *runs };

START_TEST(by_hand)
{
    json_t *counts = parse(runs[_i].counts);
    vv_bitmap m;
    if (!strcmp(runs[_i].counts, "\"0303\"")) { /* 0, 3, 0, then a difference: 3 + 3 is too many */
        vv_error e = {0};
        vvt_expect_error(&e, vv_bitmap_rle(&m, counts, 3, 2, "x", &e), VV_FILE, "x", "after 3", NULL);
    } else {
        VVT_OK(vv_bitmap_rle(&m, counts, 3, 2, "x", err));
        for (int i = 0; i < 6; i++) ck_assert_msg(m.v[i] == runs[_i].rows[i] - '0', "%s: pixel %d", runs[_i].counts, i);
    }
    vv_bitmap_free(&m);
    json_decref(counts);
}
END_TEST

static const struct {
    const char *counts, *words[2];
} bad_runs[] = {
    {"[]", {"3 x 2", "the end after 0"}},
    {"\"\"", {"3 x 2", "the end after 0"}},
    {"[5]", {"the end after 5"}},
    {"[7]", {"no possible run after 0"}},
    {"[3,4]", {"no possible run after 3"}},
    {"[-1,7]", {"no possible run after 0"}},
    {"[9223372036854775807]", {"no possible run"}},
    {"[6,9223372036854775807]", {"no possible run after 6"}},
    {"[3,3.0]", {"no possible run after 3"}},
    {"[3,\"3\"]", {"no possible run after 3"}},
    {"[3,null]", {"no possible run after 3"}},
    {"\"5\"", {"the end after 5"}},
    {"\"7\"", {"no possible run"}},
    {"\"O\"", {"no possible run"}},        /* -1 */
    {"\"P\"", {"no possible run"}},        /* another digit should follow */
    {"\"PPPPPPP0\"", {"no possible run"}}, /* too many digits */
    {"\"oooooo?\"", {"no possible run"}},  /* 2^30 and more */
    {"\"6 \"", {"no possible run after 6"}},
    {"\"p\"", {"no possible run"}},
    {"\"/\"", {"no possible run"}},
    {"\"\\u00e9\"", {"no possible run"}},
};
enum { BAD_RUNS = sizeof bad_runs / sizeof *bad_runs };

START_TEST(refused_runs)
{
    json_t *counts = parse(bad_runs[_i].counts);
    vv_bitmap m;
    vv_error e = {0};
    const vv_status s = vv_bitmap_rle(&m, counts, 3, 2, "m.jsonl:7", &e);
    for (int k = 0; k < 2 && bad_runs[_i].words[k]; k++)
        vvt_expect_error(&e, s, VV_FILE, "m.jsonl:7: 'counts'", bad_runs[_i].words[k], NULL);
    ck_assert(!m.v && m.h == 0);
    json_decref(counts);
}
END_TEST

/* ---- illegal polygons ----------------------------------------------------------------------------------------------- */

static const struct {
    const char *polygons, *words[2];
} bad_polygons[] = {
    {"[]", {"1 to 1000 lists", "found 0"}},
    {"null", {"1 to 1000 lists"}},
    {"{}", {"1 to 1000 lists"}},
    {"[[]]", {"at least 3 corners", "found 0"}},
    {"[7]", {"at least 3 corners"}},
    {"[[0,0,1,1]]", {"at least 3 corners", "found 4"}},
    {"[[0,0,1,1,1,0,1]]", {"at least 3 corners", "found 7"}},
    {"[[0,0,1,1,1,\"0\"]]", {"a number from -5 to 10", "\"0\""}},
    {"[[0,0,1,1,null,0]]", {"a number from -4 to 8", "null"}},
    {"[[0,0,1,1,8.1,0]]", {"a number from -4 to 8", "8.0999"}},
    {"[[0,0,1,1,1,-5.1]]", {"a number from -5 to 10"}},
    {"[[0,0,1,1,1e308,0]]", {"a number from -4 to 8", "1e+308"}},
    {"[[0,0,1,1,9223372036854775807,0]]", {"a number", "9223372036854775807"}},
    {"[[0,0,4,0,4,5],[0]]", {"at least 3 corners"}},
};
enum { BAD_POLYGONS = sizeof bad_polygons / sizeof *bad_polygons };

START_TEST(refused_polygons)
{
    json_t *polygons = parse(bad_polygons[_i].polygons);
    vv_bitmap m;
    vv_error e = {0};
    const vv_status s = vv_bitmap_polygons(&m, polygons, 5, 4, "m.jsonl:7", &e);
    for (int k = 0; k < 2 && bad_polygons[_i].words[k]; k++)
        vvt_expect_error(&e, s, VV_FILE, "m.jsonl:7: 'polygons'", bad_polygons[_i].words[k], NULL);
    ck_assert(!m.v && m.h == 0);
    json_decref(polygons);
}
END_TEST

START_TEST(too_many_polygons)
{
    json_t *polygons = json_array();
    for (int i = 0; i < 1001; i++) json_array_append_new(polygons, parse("[0,0,4,0,4,5]"));
    vv_bitmap m;
    vv_error e = {0};
    vvt_expect_error(&e, vv_bitmap_polygons(&m, polygons, 5, 4, "x", &e), VV_FILE, "found 1001", NULL);
    json_decref(polygons);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("masks", &tc);
    tcase_add_loop_test(tc, recorded, 0, COCO_CASES);
    tcase_add_test(tc, random_polygons);
    tcase_add_loop_test(tc, by_hand, 0, RUNS);
    tcase_add_loop_test(tc, refused_runs, 0, BAD_RUNS);
    tcase_add_loop_test(tc, refused_polygons, 0, BAD_POLYGONS);
    tcase_add_test(tc, too_many_polygons);
    return s;
}
VVT_MAIN(suite)
