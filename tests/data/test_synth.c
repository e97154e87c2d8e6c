/* Synthetic scenes: the same bytes everywhere, rays against the definition of each solid, maps that agree with each other and with the
 * promises of synth.h. Their words: test_synth_words.c; their files: test_synth_files.c. */
#include "vvt.h"

#include <math.h>

#include "base/rng.h"
#include "data/synth_parts.h"

/* ---- bytes --------------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h, uint64_t word) /* FNV-1a over eight bytes, the lowest first */
{
    for (int i = 0; i < 8; i++) h = (h ^ (word >> 8 * i & 255)) * 0x100000001b3u;
    return h;
}

static uint64_t mix_text(uint64_t h, const char *text)
{
    for (; *text; text++) h = mix(h, (unsigned char)*text);
    return mix(h, 256);
}

static uint64_t mix_real(uint64_t h, double v)
{
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    return mix(h, u);
}

static uint64_t hash(const vv_scene *s)
{
    const int64_t n = s->image.h * s->image.w;
    uint64_t h = 0xcbf29ce484222325u;
    for (int64_t i = 0; i < 3 * n; i++) h = mix(h, s->image.rgb[i]);
    for (int64_t i = 0; i < n; i++) h = mix(mix_real(h, (double)s->depth[i]), s->classes[i]);
    for (int64_t k = 0; k < s->n_objects; k++) {
        const vv_synth_object *b = &s->object[k];
        h = mix(mix(mix(mix(h, (uint64_t)b->colour), (uint64_t)b->shape), (uint64_t)b->size), (uint64_t)b->area);
        h = mix_real(mix_real(mix_real(mix_real(h, b->x), b->y), b->depth), b->nearest);
        for (int64_t i = 0; i < n; i++) h = mix(h, b->mask[i]);
    }
    h = mix_text(h, s->caption);
    for (int64_t k = 0; k < s->n_questions; k++)
        h = mix_text(mix_text(mix_text(h, s->question[k].type), s->question[k].question), s->question[k].answer);
    for (int64_t k = 0; k < s->n_referring; k++)
        h = mix(mix_text(h, s->referring[k].text), (uint64_t)s->referring[k].object);
    return h;
}

static vv_synth_options options(uint64_t seed, int64_t size)
{
    vv_synth_options o = vv_synth_default();
    o.seed = seed;
    o.size = size;
    return o;
}

/* Of this build and of all others: gcc and clang, float and double, any instruction set. A change of the renderer that is meant
 * changes these numbers; nothing else may. */
START_TEST(bytes)
{
    static const struct {
        uint64_t seed, hash;
        int64_t size, index;
        int held_out;
    } known[] = {{1, 0xbf5122d23d630a2cu, 112, 0, 0},
                 {1, 0x015cc617061511a9u, 112, 5, 0},
                 {1, 0x7770034647e97a57u, 112, 123456789012, 0},
                 {2, 0xdaf0e32087124c4du, 56, 7, 1},
                 {0xfedcba9876543210u, 0xd0cdcb988129038du, 33, 3, 1},
                 {3, 0xcabfc5f9760980a6u, 224, 11, 0}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        vv_synth_options o = options(known[i].seed, known[i].size);
        o.held_out = known[i].held_out;
        vv_scene s;
        VVT_OK(vv_synth_scene(&s, &o, known[i].index, err));
        const uint64_t h = hash(&s);
        ck_assert_msg(h == known[i].hash, "scene %zu: 0x%016llx, expected 0x%016llx", i, (unsigned long long)h,
                      (unsigned long long)known[i].hash);
        vv_scene_free(&s);
    }
}
END_TEST

/* Sixty small scenes in one number: every material, pattern, sky and kind of building. */
START_TEST(bytes_of_many)
{
    const vv_synth_options o = options(4, 28);
    uint64_t h = 0xcbf29ce484222325u;
    for (int64_t i = 0; i < 60; i++) {
        vv_scene s;
        VVT_OK(vv_synth_scene(&s, &o, i, err));
        h = mix(h, hash(&s));
        vv_scene_free(&s);
    }
    ck_assert_msg(h == 0x8d9bbcf06b108598u, "0x%016llx", (unsigned long long)h);
}
END_TEST

START_TEST(threads)
{
    enum { N = 24 };
    const vv_synth_options o = options(9, 48);
    uint64_t alone[N], together[N];
    int bad = 0;
    for (int i = 0; i < N; i++) {
        vv_scene s;
        VVT_OK(vv_synth_scene(&s, &o, i, err));
        alone[i] = hash(&s);
        vv_scene_free(&s);
    }
#pragma omp parallel for schedule(dynamic) num_threads(4) reduction(+ : bad)
    for (int i = 0; i < N; i++) {
        vv_scene s;
        bad += vv_synth_scene(&s, &o, N - 1 - i, NULL) != VV_OK;
        together[N - 1 - i] = hash(&s);
        vv_scene_free(&s);
    }
    ck_assert_int_eq(bad, 0);
    for (int i = 0; i < N; i++) {
        ck_assert_uint_eq(alone[i], together[i]);
        for (int k = 0; k < i; k++) ck_assert_uint_ne(alone[i], alone[k]);
    }
}
END_TEST

/* ---- rays ---------------------------------------------------------------------------------------------------------- */

/* By definition, in the solid's own coordinates. */
static int inside(const vv_solid *b, vv_vec p)
{
    const vv_vec from = vv_diff(p, b->centre);
    const double x = vv_inner(from, b->axis[0]) / b->half[0], y = vv_inner(from, b->axis[1]) / b->half[1],
                 z = vv_inner(from, b->axis[2]) / b->half[2], r = sqrt(x * x + z * z);
    switch (b->kind) {
    case VV_SYNTH_SPHERE:
        return r * r + y * y <= 1;
    case VV_SYNTH_CYLINDER:
        return r <= 1 && fabs(y) <= 1;
    case VV_SYNTH_CONE:
        return fabs(y) <= 1 && r <= 0.5 * (1 - y);
    default:
        return fabs(x) <= 1 && fabs(y) <= 1 && fabs(z) <= 1;
    }
}

/* Where the ray enters: the first of many steps that is inside, made exact by bisection. -1: none is. */
static double march(const vv_solid *b, vv_vec from, vv_vec ray, double end)
{
    enum { STEPS = 2000 };
    for (int i = 1; i <= STEPS; i++) {
        if (!inside(b, vv_sum(from, vv_times(ray, end * i / STEPS)))) continue;
        double lo = end * (i - 1) / STEPS, hi = end * i / STEPS;
        for (int k = 0; k < 60; k++) {
            const double mid = 0.5 * (lo + hi);
            if (inside(b, vv_sum(from, vv_times(ray, mid)))) hi = mid;
            else lo = mid;
        }
        return hi;
    }
    return -1;
}

static int on_surface(const vv_solid *b, vv_vec p)
{
    return inside(b, vv_blend(p, b->centre, 1e-6)) && !inside(b, vv_blend(p, b->centre, -1e-6));
}

/* Solids as scenes have them, seen from their own cameras and from their lights' side. A ray that grazes may step over the solid. */
START_TEST(rays)
{
    const vv_synth_options o = vv_synth_default();
    int hits = 0, misses = 0, grazed = 0;
    for (int i = 0; i < 60; i++) {
        vv_stage s;
        vv_dice d = {5, (uint64_t)i, 0};
        vv_stage_count(&s, &o, &d);
        vv_stage_cast(&s, 0, &d);
        if (!vv_stage_arrange(&s, &d)) continue;
        for (int k = 0; k < s.solids; k++) {
            const vv_solid *b = &s.solid[k];
            const vv_vec from = i % 2 ? s.camera.at : vv_sum(s.camera.at, vv_vec3(0.3, 5, -0.2));
            vv_origin eye;
            vv_origin_set(&eye, &s, from);
            for (int r = 0; r < 40; r++) {
                const double x = vv_between(&d, -1, 1), y = vv_between(&d, -1, 1), z = vv_between(&d, -1, 1);
                const vv_vec aim = vv_vec3(x, y, z);
                const vv_vec ray = vv_diff(vv_sum(b->centre, vv_times(aim, b->radius < 1 ? b->radius : 1)), from);
                int face;
                const double got = vv_ray_enter(&eye, k, ray, &face), want = march(b, from, ray, 3);
                if (want < 0 && got >= 3) misses++;
                else if (want < 0 && on_surface(b, vv_sum(from, vv_times(ray, got)))) grazed++;
                else {
                    ck_assert_msg(fabs(got - want) < 1e-9, "stage %d, solid %d (%s): entered at %.12g, expected %.12g",
                                  i, k, vv_synth_class_name[b->kind], got, want);
                    hits++;
                }
            }
        }
    }
    ck_assert_msg(hits > 500 && misses > 100 && grazed < 5, "%d hits, %d misses, %d grazed", hits, misses, grazed);
}
END_TEST

/* Depth is along the viewing axis: points of equal depth lie in a plane across it; the picture is square and upright. */
START_TEST(camera)
{
    const vv_synth_options o = vv_synth_default();
    vv_stage s;
    vv_dice d = {6, 0, 0};
    vv_stage_count(&s, &o, &d);
    do vv_stage_cast(&s, 0, &d);
    while (!vv_stage_arrange(&s, &d));
    const vv_camera *c = &s.camera;
    ck_assert(fabs(vv_length(c->forward) - 1) < 1e-12 && fabs(vv_inner(c->forward, c->right)) < 1e-12 &&
              fabs(vv_inner(c->right, c->up)) < 1e-12 && fabs(vv_inner(c->up, c->forward)) < 1e-12);
    ck_assert(vv_length(vv_diff(vv_cross(c->forward, c->right), c->up)) < 1e-12 && c->up.y > 0);
    for (int i = 0; i < 9; i++) {
        const vv_vec ray = vv_camera_ray(c, 0.5 * (i % 3), 0.5 * (i / 3));
        ck_assert(fabs(vv_inner(ray, c->forward) - 1) < 1e-12);
        ck_assert(fabs(vv_inner(ray, c->right) - c->slope * (i % 3 - 1)) < 1e-12);
        ck_assert(fabs(vv_inner(ray, c->up) - c->slope * (1 - i / 3)) < 1e-12);
    }
}
END_TEST

/* What sizes are called: tall and flat by proportion, large and small by volume, whatever the shape. */
START_TEST(sizes)
{
    const vv_synth_options o = vv_synth_default();
    double small = 0, large = 1e9;
    int seen[VV_SYNTH_SHAPES][VV_SYNTH_SIZES] = {{0}};
    for (int i = 0; i < 400; i++) {
        vv_stage s;
        vv_dice d = {8, (uint64_t)i, 0};
        vv_stage_count(&s, &o, &d);
        vv_stage_cast(&s, 0, &d);
        for (int k = 0; k < s.objects; k++) {
            const vv_solid *b = &s.solid[k];
            const double ratio = b->half[1] / b->half[0], volume = b->half[0] * b->half[1] * b->half[2];
            seen[b->kind - VV_SYNTH_SPHERE][b->size]++;
            ck_assert(b->size == 2 ? ratio > 2 : b->size == 3 ? ratio < 0.5 : ratio > 0.9 && ratio < 1.3);
            if (b->size == 0 && volume > small) small = volume;
            if (b->size == 1 && volume < large) large = volume;
        }
    }
    ck_assert_msg(large > 2 * small, "the least large volume %g, the most small one %g", large, small);
    for (int k = 0; k < VV_SYNTH_SHAPES; k++)
        for (int z = 0; z < VV_SYNTH_SIZES; z++) ck_assert(k == 0 && z >= 2 ? !seen[k][z] : seen[k][z] > 40);
}
END_TEST

/* ---- maps ---------------------------------------------------------------------------------------------------------- */

static void check_object(const vv_scene *s, const vv_synth_object *b)
{
    const int64_t size = s->image.w;
    double x = 0, y = 0, z = 0, nearest = HUGE_VAL;
    int64_t area = 0, bad = 0; /* one assertion for all pixels: each costs a microsecond or ten */
    for (int64_t i = 0; i < size * size; i++) {
        if (!b->mask[i]) continue;
        bad += b->mask[i] != 1 || s->classes[i] != VV_SYNTH_SPHERE + b->shape;
        area++;
        x += (double)(i % size) + 0.5;
        y += (double)(i / size) + 0.5;
        z += (double)s->depth[i];
        nearest = fmin(nearest, (double)s->depth[i]);
    }
    const double n = (double)area;
    ck_assert(bad == 0 && area == b->area && n >= VV_SYNTH_AREA_LEAST * (double)(size * size));
    ck_assert(fabs(x / n / (double)size - b->x) < 1e-9 && fabs(y / n / (double)size - b->y) < 1e-9);
    ck_assert(fabs(z / n - b->depth) < 1e-6 && nearest == b->nearest);
}

/* The masks are where the class map has shapes, each pixel once; only the sky has no depth; areas are within their limits. */
static void check_maps(const vv_scene *s)
{
    const int64_t n = s->image.h * s->image.w;
    double cover = 0, sky = 0;
    int64_t bad = 0;
    for (int64_t k = 0; k < s->n_objects; k++) check_object(s, &s->object[k]);
    for (int64_t i = 0; i < n; i++) {
        int owners = 0;
        for (int64_t k = 0; k < s->n_objects; k++) owners += s->object[k].mask[i];
        const int c = s->classes[i], shape = c >= VV_SYNTH_SPHERE && c <= VV_SYNTH_CONE;
        const int depth_ok = c == VV_SYNTH_SKY ? s->depth[i] == (float)HUGE_VAL
                                               : s->depth[i] > 0.05f && (double)s->depth[i] <= VV_SYNTH_FAR;
        bad += c >= VV_SYNTH_CLASSES || owners != shape || !depth_ok;
        cover += shape;
        sky += c == VV_SYNTH_SKY;
    }
    const double all = (double)n;
    ck_assert_int_eq(bad, 0);
    ck_assert(cover >= VV_SYNTH_COVER_LEAST * all && cover <= VV_SYNTH_COVER_MOST * all &&
              sky <= VV_SYNTH_SKY_MOST * all);
    if (s->closeup) ck_assert(s->n_objects == 1 && cover >= VV_SYNTH_CLOSE_LEAST * all);
}

START_TEST(maps)
{
    static const int64_t sides[] = {112, 64, 28};
    vv_synth_options o = options(11, sides[_i]);
    o.held_out = _i == 1;
    for (int64_t i = 0; i < 120; i++) {
        vv_scene s;
        VVT_OK(vv_synth_scene(&s, &o, i, err));
        ck_assert(s.image.h == sides[_i] && s.image.w == sides[_i]);
        ck_assert(s.n_objects >= (s.closeup ? 1 : 2) && s.n_objects <= VV_SYNTH_MOST);
        check_maps(&s);
        vv_scene_free(&s);
    }
}
END_TEST

/* In a picture the disparity 1/z of a plane is a + b x + c y, if z is along the viewing axis: the floor, fitted and compared. The
 * depth is a float: 1e-6 of it. */
START_TEST(floor_is_flat)
{
    const vv_synth_options o = options(16, 64);
    int floors = 0;
    for (int64_t i = 0; i < 40; i++) {
        vv_scene s;
        VVT_OK(vv_synth_scene(&s, &o, i, err));
        double m[3][4] = {{0}}, worst = 0; /* the normal equations, and Gauss */
        int n = 0;
        for (int p = 0; p < 64 * 64; p++) {
            if (s.classes[p] != VV_SYNTH_FLOOR) continue;
            const double v[4] = {1, (p % 64 - 31.5) / 32, (p / 64 - 31.5) / 32, 1 / (double)s.depth[p]};
            for (int a = 0; a < 3; a++)
                for (int b = 0; b < 4; b++) m[a][b] += v[a] * v[b];
            n++;
        }
        if (n > 800) {
            for (int a = 0; a < 3; a++)
                for (int r = 0; r < 3; r++) {
                    const double f = r == a ? 0 : m[r][a] / m[a][a];
                    for (int b = 0; b < 4; b++) m[r][b] -= f * m[a][b];
                }
            for (int p = 0; p < 64 * 64; p++) {
                if (s.classes[p] != VV_SYNTH_FLOOR) continue;
                const double x = (p % 64 - 31.5) / 32, y = (p / 64 - 31.5) / 32, z = (double)s.depth[p];
                const double fit = m[0][3] / m[0][0] + m[1][3] / m[1][1] * x + m[2][3] / m[2][2] * y;
                worst = fmax(worst, fabs(fit * z - 1));
            }
            ck_assert_msg(worst < 3e-6, "scene %d: %g", (int)i, worst);
            floors++;
        }
        vv_scene_free(&s);
    }
    ck_assert_int_gt(floors, 15);
}
END_TEST

/* The objects look like their colour words: which channels lead in the mean over many of each. */
START_TEST(colours)
{
    enum { RED, GREEN, BLUE, YELLOW, ORANGE, PURPLE, WHITE, BLACK, GREY, BROWN, PINK };
    double mean[VV_SYNTH_COLOURS][3] = {{0}};
    const vv_synth_options o = options(12, 56);
    for (int64_t i = 0; i < 150; i++) {
        vv_scene s;
        VVT_OK(vv_synth_scene(&s, &o, i, err));
        for (int64_t k = 0; k < s.n_objects; k++) {
            double sum[3] = {0};
            for (int64_t p = 0; p < 56 * 56; p++)
                for (int c = 0; c < 3 && s.object[k].mask[p]; c++) sum[c] += s.image.rgb[3 * p + c];
            for (int c = 0; c < 3; c++) mean[s.object[k].colour][c] += sum[c] / (double)s.object[k].area;
        }
        vv_scene_free(&s);
    }
#define LEADS(colour, a, b, factor)                                                                                    \
    ck_assert_msg(mean[colour][a] > (factor)*mean[colour][b], "%s", vv_synth_colour[colour])
    LEADS(RED, 0, 1, 2);
    LEADS(RED, 0, 2, 2);
    LEADS(GREEN, 1, 0, 1.4);
    LEADS(GREEN, 1, 2, 1.4);
    LEADS(BLUE, 2, 0, 1.6);
    LEADS(BLUE, 2, 1, 1.6);
    LEADS(YELLOW, 1, 2, 1.7);
    LEADS(ORANGE, 0, 1, 1.4);
    LEADS(ORANGE, 1, 2, 1.4);
    LEADS(PURPLE, 2, 1, 1.5);
    LEADS(PURPLE, 0, 1, 1.2);
    LEADS(BROWN, 0, 1, 1.2);
    LEADS(BROWN, 1, 2, 1.1);
    LEADS(PINK, 0, 1, 1.2);
    LEADS(PINK, 2, 1, 1.02);
#undef LEADS
}
END_TEST

/* ---- errors -------------------------------------------------------------------------------------------------------- */

START_TEST(bad_options)
{
    static const char *const word[] = {"size",      "size",      "objects",  "objects", "objects",
                                       "close-ups", "close-ups", "held-out", "index"};
    for (int i = 0; i < 9; i++) {
        vv_synth_options o = vv_synth_default();
        if (i == 0) o.size = 27;
        if (i == 1) o.size = 1 << 20;
        if (i == 2) o.min_objects = 0;
        if (i == 3) o.max_objects = 7;
        if (i == 4) o.min_objects = 4, o.max_objects = 3;
        if (i == 5) o.closeups = -0.1;
        if (i == 6) o.closeups = NAN;
        if (i == 7) o.held_out = 2;
        vv_scene s;
        vv_error e = {0};
        vvt_expect_error(&e, vv_synth_scene(&s, &o, i == 8 ? -1 : 0, &e), VV_USAGE, "scenes", word[i], NULL);
        ck_assert(!s.image.rgb && !s.depth && s.n_objects == 0);
        vv_scene_free(&s);
    }
}
END_TEST

/* All numbers of objects can be asked for alone, and close-ups always or never. */
START_TEST(narrow_options)
{
    for (int n = 1; n <= VV_SYNTH_MOST; n++) {
        vv_synth_options o = options(13, 32);
        o.min_objects = o.max_objects = n;
        for (int64_t i = 0; i < 10; i++) {
            vv_scene s;
            o.closeups = n == 1;
            VVT_OK(vv_synth_scene(&s, &o, i, err));
            ck_assert(s.n_objects == n && s.closeup == (n == 1));
            vv_scene_free(&s);
        }
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("synth", &tc);
    tcase_add_test(tc, bytes);
    tcase_add_test(tc, bytes_of_many);
    tcase_add_test(tc, threads);
    tcase_add_test(tc, rays);
    tcase_add_test(tc, camera);
    tcase_add_test(tc, sizes);
    tcase_add_loop_test(tc, maps, 0, 3);
    tcase_add_test(tc, floor_is_flat);
    tcase_add_test(tc, colours);
    tcase_add_test(tc, bad_options);
    tcase_add_test(tc, narrow_options);
    return s;
}
VVT_MAIN(suite)
