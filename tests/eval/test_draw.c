/* Letters, masks and legends, pixel by pixel. */
#include "eval/draw.h"

#include "eval/colormap.h"
#include "vvt.h"

static const unsigned char INK[3] = {250, 200, 20}, DARK[3] = {16, 16, 16};

/* a picture of one grey */
static vv_image blank(int64_t h, int64_t w)
{
    vv_image im;
    VVT_OK(vv_image_new(&im, h, w, err));
    memset(im.rgb, 90, (size_t)(3 * h * w));
    return im;
}

static const unsigned char *at(const vv_image *im, int64_t x, int64_t y) { return im->rgb + 3 * (y * im->w + x); }
static int is(const vv_image *im, int64_t x, int64_t y, const unsigned char rgb[3])
{
    return memcmp(at(im, x, y), rgb, 3) == 0;
}

/* im, and free both, are the same picture */
static void expect_same(vv_image im, vv_image want)
{
    ck_assert(im.h == want.h && im.w == want.w);
    for (int64_t i = 0; i < im.h * im.w; i++)
        ck_assert_msg(memcmp(im.rgb + 3 * i, want.rgb + 3 * i, 3) == 0, "column %d, row %d", (int)(i % im.w),
                      (int)(i / im.w));
    vv_image_free(&im);
    vv_image_free(&want);
}

/* the dots of a text at a scale: '#' where the middle of a dot has ink; columns of the first cell begin at out[..][0] */
static void dots(char *out, const char *text, int cells, int64_t scale)
{
    const int64_t w = 6 * cells;
    vv_image im = blank(10 * scale, w * scale);
    vv_draw_text(&im, 0, 0, text, scale, INK);
    for (int64_t r = 0; r < 10; r++)
        for (int64_t c = 0; c < w; c++)
            out[r * w + c] = is(&im, c * scale + scale / 2, r * scale + scale / 2, INK) ? '#' : '.';
    vv_image_free(&im);
}

START_TEST(letters)
{
    static const char want[] = "............"
                               ".###........"
                               "#...#......."
                               "#...#..####."
                               "#####.#...#."
                               "#...#.#...#."
                               "#...#..####."
                               "#...#.....#."
                               ".......###.."
                               "............";
    char got[sizeof want] = {0};
    for (int64_t scale = 1; scale <= 4; scale++) {
        dots(got, "Ag", 2, scale);
        ck_assert_str_eq(got, want);
    }
}
END_TEST

/* Every character is drawn, inside its cell, and no two look the same. */
START_TEST(alphabet)
{
    char all[128][61] = {{0}};
    for (int c = 32; c < 127; c++) {
        const char text[2] = {(char)c, 0};
        dots(all[c], text, 1, 2);
        ck_assert_msg((strchr(all[c], '#') != NULL) == (c != ' '), "'%c'", c);
        for (int r = 0; r < 10; r++)
            ck_assert_msg(all[c][6 * r + 5] == '.' && (r && r < 9 ? 1 : all[c][6 * r] == '.'), "'%c'", c);
        for (int b = 32; b < c; b++) ck_assert_msg(strcmp(all[b], all[c]) != 0, "'%c' and '%c'", b, c);
    }
}
END_TEST

START_TEST(other_characters)
{
    static const struct {
        const char *text, *same;
    } pair[] = {{"\xc3\xa9t\xc3\xa9", "\x7ft\x7f"},
                {"\xe7\x8c\xab!", "\x7f!"},
                {"\xf0\x9f\x90\x88\x01", "\x7f\x7f"},
                {"a\nb\tc", "a b c"},
                {"\xff\xc3", "\x7f\x7f"}};
    for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) {
        vv_image a = blank(12, 40), b = blank(12, 40);
        vv_draw_text(&a, 1, 1, pair[i].text, 1, INK);
        vv_draw_text(&b, 1, 1, pair[i].same, 1, INK);
        expect_same(a, b);
    }
}
END_TEST

/* Ink has dark pixels or ink all around, as far as the outline goes, and nothing beyond it. */
START_TEST(outline)
{
    const int64_t scale = _i, o = (scale + 1) / 2, h = 16 * scale, w = 60 * scale;
    vv_image im = blank(h, w);
    vv_draw_text(&im, 3 * scale, 3 * scale, "Quick&fox", scale, INK);
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++) {
            int near = 0;
            for (int64_t v = vv_max(0, y - o); v <= vv_min(h - 1, y + o); v++)
                for (int64_t u = vv_max(0, x - o); u <= vv_min(w - 1, x + o); u++) near |= is(&im, u, v, INK);
            if (is(&im, x, y, INK)) continue;
            ck_assert_msg(near ? is(&im, x, y, DARK) : at(&im, x, y)[0] == 90, "column %d, row %d", (int)x, (int)y);
        }
    vv_image_free(&im);
}
END_TEST

/* What lies outside is cut off: every place around a small picture, against the same cut out of a large one. */
START_TEST(clipped)
{
    enum { H = 9, W = 14, MARGIN = 60 };
    for (int64_t y = -24; y <= H + 3; y += 3)
        for (int64_t x = -40; x <= W + 3; x += 3) {
            vv_image small = blank(H, W), cut = blank(H, W), large = blank(H + 2 * MARGIN, W + 2 * MARGIN);
            vv_draw_text(&small, x, y, "wg", 2, INK);
            vv_draw_text(&large, x + MARGIN, y + MARGIN, "wg", 2, INK);
            for (int64_t r = 0; r < H; r++) memcpy(cut.rgb + 3 * W * r, at(&large, MARGIN, MARGIN + r), 3 * W);
            vv_image_free(&large);
            expect_same(small, cut);
        }
}
END_TEST

START_TEST(masks)
{
    static const char *const mask[6] = {"######.", "#######", "#######", "####...", "####...", "####..#"};
    static const char *const want[6] = {"xxxxxo.", "xxxxxxo", "xxxxooo", "xxxo...", "xxxo...", "xxxo..o"};
    unsigned char m[42];
    for (int i = 0; i < 42; i++) m[i] = mask[i / 7][i % 7] == '#' ? 3 : 0;
    vv_image im = blank(6, 7);
    vv_draw_mask(&im, m, INK);
    for (int i = 0; i < 42; i++)
        for (int k = 0; k < 3; k++) {
            const int kind = want[i / 7][i % 7];
            ck_assert_int_eq(im.rgb[3 * i + k], kind == '.' ? 90 : kind == 'o' ? INK[k] : (90 + INK[k] + 1) / 2);
        }
    vv_image_free(&im);
    vv_image wide = blank(2, 900); /* an edge of three */
    unsigned char *half = calloc(1800, 1);
    memset(half, 1, 450);
    memset(half + 900, 1, 450);
    vv_draw_mask(&wide, half, INK);
    for (int x = 0; x < 900; x++)
        ck_assert_int_eq(at(&wide, x, 1)[0], x < 447 ? (90 + INK[0] + 1) / 2 : x < 450 ? INK[0] : 90);
    free(half);
    vv_image_free(&wide);
}
END_TEST

START_TEST(legend)
{
    static const char *const text[] = {"red ball", "a very long line of words, andalongwordthatfitsnowhere x", "",
                                       "last"};
    static const struct {
        int line, text, cells; /* where, whose colour, how far from the left */
        const char *words;
    } want[] = {{0, 0, 0, "0: "},
                {0, 0, 3, "red ball"},
                {1, 1, 0, "1: "},
                {1, 1, 3, "a very long"},
                {2, 1, 3, "line of words,"},
                {3, 1, 3, "andalongwordth"},
                {4, 1, 3, "atfitsnowhere"},
                {5, 1, 3, "x"},
                {6, 2, 0, "2: "},
                {7, 3, 0, "3: "},
                {7, 3, 3, "last"}};
    const int64_t w = 4 + 6 * 17; /* 17 cells, 14 beside the number */
    for (int lines = 8; lines >= 1; lines--) {
        vv_image a = blank(2 + 10 * lines, w), b = blank(2 + 10 * lines, w);
        vv_draw_legend(&a, text, 4);
        for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
            unsigned char rgb[3];
            vv_colour_of(want[i].text, rgb);
            const int cut = lines < 8 && want[i].line == lines - 1;
            if (want[i].line >= lines || (cut && want[i].cells && want[i].line == (i ? want[i - 1].line : -1)))
                continue;
            vv_draw_text(&b, 2 + (cut ? 0 : 6 * want[i].cells), 2 + 10 * want[i].line, cut ? "..." : want[i].words, 1,
                         rgb);
        }
        expect_same(a, b);
    }
    vv_image none = blank(3, 3), same = blank(3, 3);
    vv_draw_legend(&none, text, 0);
    expect_same(none, same);
    vv_image tiny = blank(1, 1); /* not even a letter */
    vv_draw_legend(&tiny, text, 4);
    vv_image_free(&tiny);
}
END_TEST

START_TEST(scale)
{
    static const int64_t want[][2] = {{1, 1}, {299, 1}, {449, 1}, {450, 2}, {749, 2}, {4000, 13}};
    for (int i = 0; i < 6; i++) ck_assert_int_eq(vv_draw_scale(&(vv_image){1, want[i][0], NULL}), want[i][1]);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("draw", &tc);
    tcase_add_test(tc, letters);
    tcase_add_test(tc, alphabet);
    tcase_add_test(tc, other_characters);
    tcase_add_loop_test(tc, outline, 1, 5);
    tcase_add_test(tc, clipped);
    tcase_add_test(tc, masks);
    tcase_add_test(tc, legend);
    tcase_add_test(tc, scale);
    return s;
}
VVT_MAIN(suite)
