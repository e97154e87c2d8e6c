/* The letters are drawn below, sixteen side by side in each band, as they look. */
#include "eval/draw.h"

#include <stdio.h>
#include <string.h>

#include "eval/colormap.h"

enum { BAND = 16, GLYPHS = 96, DOTS = 5, ROWS = 8, BOX = 127 };

static const char *const FONT[GLYPHS / BAND][ROWS] = {
    {"        #    # #   # #    #   ##     ##     #      #   #                                      # ",
     "        #    # #   # #   #### ##  # #  #    #     #     #   # # #   #                         # ",
     "        #         ##### # #      #  # #          #       #   ###    #                        #  ",
     "        #          # #   ###    #    #           #       #  ##### #####       #####         #   ",
     "        #         #####   # #  #    # # #        #       #   ###    #                      #    ",
     "                   # #  ####  #  ## #  #          #     #   # # #   #    ##          ##   #     ",
     "        #          # #    #      ##  ## #          #   #                  #          ##   #     ",
     "                                                                         #                      "},
    {" ###    #    ###   ###     #  #####  ###  #####  ###   ###                 #         #     ###  ",
     "#   #  ##   #   # #   #   ##  #     #         # #   # #   #  ##    ##     #           #   #   # ",
     "#  ## # #       #     #  # #  ####  #        #  #   # #   #  ##    ##    #    #####    #      # ",
     "# # #   #     ##    ##  #  #      # ####    #    ###   ####             #               #    #  ",
     "##  #   #    #        # #####     # #   #   #   #   #     #  ##    ##    #    #####    #    #   ",
     "#   #   #   #     #   #    #  #   # #   #  #    #   #     #  ##     #     #           #         ",
     " ###  ##### #####  ###     #   ###   ###   #     ###   ###         #       #         #      #   ",
     "                                                                                                "},
    {" ###   ###  ####   ###  ####  ##### #####  ###  #   #  ###    ### #   # #     #   # #   #  ###  ",
     "#   # #   # #   # #   # #   # #     #     #   # #   #   #      #  #  #  #     ## ## ##  # #   # ",
     "# ### #   # #   # #     #   # #     #     #     #   #   #      #  # #   #     # # # ##  # #   # ",
     "# # # ##### ####  #     #   # ####  ####  # ### #####   #      #  ##    #     # # # # # # #   # ",
     "# ##  #   # #   # #     #   # #     #     #   # #   #   #      #  # #   #     #   # #  ## #   # ",
     "#     #   # #   # #   # #   # #     #     #   # #   #   #   #  #  #  #  #     #   # #  ## #   # ",
     " #### #   # ####   ###  ####  ##### #      #### #   #  ###   ##   #   # ##### #   # #   #  ###  ",
     "                                                                                                "},
    {"####   ###  ####   #### ##### #   # #   # #   # #   # #   # #####  ###  #      ###    #         ",
     "#   # #   # #   # #       #   #   # #   # #   # #   # #   #     #  #    #        #   # #        ",
     "#   # #   # #   # #       #   #   # #   # #   #  # #   # #     #   #     #       #  #   #       ",
     "####  #   # ####   ###    #   #   # #   # # # #   #     #     #    #      #      #              ",
     "#     # # # # #       #   #   #   #  # #  # # #  # #    #    #     #       #     #              ",
     "#     #  ## #  #      #   #   #   #  # #  ## ## #   #   #   #      #        #    #              ",
     "#      #### #   # ####    #    ###    #   #   # #   #   #   #####  ###      #  ###        ##### ",
     "                                                                                                "},
    {" #          #               #         ##        #       #      #  #      ##                     ",
     "  #         #               #        #          #                 #       #                     ",
     "   #   ###  ####   ####  ####  ###  ####   #### ####   ##     ##  #  #    #   ## #  ####   ###  ",
     "          # #   # #     #   # #   #  #    #   # #   #   #      #  # #     #   # # # #   # #   # ",
     "       #### #   # #     #   # #####  #    #   # #   #   #      #  ##      #   # # # #   # #   # ",
     "      #   # #   # #     #   # #      #     #### #   #   #      #  # #     #   # # # #   # #   # ",
     "       #### ####   ####  ####  ####  #        # #   #  ###  #  #  #  #   ###  # # # #   #  ###  ",
     "                                           ###               ##                                 "},
    {"                         #                                           ##   #   ##          ##### ",
     "                         #                                          #     #     #         #   # ",
     "####   #### # ##   #### ####  #   # #   # #   # #   # #   # #####   #     #     #    #    #   # ",
     "#   # #   # ##    #      #    #   # #   # #   #  # #  #   #    #   #      #      #  # # # #   # ",
     "#   # #   # #      ###   #    #   #  # #  # # #   #   #   #   #     #     #     #      #  #   # ",
     "####   #### #         #  #    #   #  # #  # # #  # #   ####  #      #     #     #         #   # ",
     "#         # #     ####    ##   ####   #    # #  #   #     # #####    ##   #   ##          ##### ",
     "#         #                                            ###                                      "},
};

static const unsigned char DARK[3] = {16, 16, 16};

int64_t vv_draw_scale(const vv_image *image) { return vv_max(1, (image->w + 150) / 300); }

static void fill(vv_image *image, int64_t x, int64_t y, int64_t w, int64_t h, const unsigned char rgb[3])
{
    const int64_t right = vv_min(x + w, image->w), bottom = vv_min(y + h, image->h);
    for (int64_t r = vv_max(y, 0); r < bottom; r++)
        for (int64_t c = vv_max(x, 0); c < right; c++) memcpy(image->rgb + 3 * (r * image->w + c), rgb, 3);
}

/* ---- words ----------------------------------------------------------------------------------------------------------------- */
/* The character at text as a code of the font, and its length in bytes. */
static int character(const char *text, int64_t *bytes)
{
    const unsigned char c = (unsigned char)*text;
    *bytes = 1;
    if (c == '\n' || c == '\r' || c == '\t') return ' ';
    if (c >= 128)
        while (((unsigned char)text[*bytes] & 0xC0) == 0x80) ++*bytes;
    return c >= 32 && c < BOX ? c : BOX;
}

/* the dots of a character, each grown by `more` pixels on every side */
static void draw_glyph(vv_image *image, int64_t x, int64_t y, int code, int64_t scale, int64_t more,
                       const unsigned char rgb[3])
{
    const int glyph = code - 32;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < DOTS; c++)
            if (FONT[glyph / BAND][r][glyph % BAND * VV_CELL_W + c] == '#')
                fill(image, x + c * scale - more, y + r * scale - more, scale + 2 * more, scale + 2 * more, rgb);
}

/* n bytes of text */
static void draw_line(vv_image *image, int64_t x, int64_t y, const char *text, int64_t n, int64_t scale,
                      const unsigned char rgb[3])
{
    const int64_t outline = (scale + 1) / 2;
    for (int pass = 0; pass < 2; pass++) /* all outlines, then all letters */
        for (int64_t i = 0, at = x, bytes; i < n && at - outline < image->w; i += bytes, at += VV_CELL_W * scale)
            draw_glyph(image, at, y + scale, character(text + i, &bytes), scale, pass ? 0 : outline, pass ? rgb : DARK);
}

void vv_draw_text(vv_image *image, int64_t x, int64_t y, const char *text, int64_t scale, const unsigned char rgb[3])
{
    draw_line(image, x, y, text, (int64_t)strlen(text), scale, rgb);
}

/* The bytes of text that go on a line of so many cells (at least one): all, or up to a space, or as many as fit. */
static int64_t line_length(const char *text, int64_t cells)
{
    int64_t n = 0, space = 0, bytes;
    for (int64_t k = 0; text[n]; k++, n += bytes) {
        const int code = character(text + n, &bytes);
        if (code == ' ' && k) space = n;
        if (k == cells) return space ? space : n;
    }
    return n;
}

void vv_draw_legend(vv_image *image, const char *const *text, int64_t n)
{
    const int64_t scale = vv_draw_scale(image), height = VV_CELL_H * scale, edge = 2 * scale;
    const int64_t cells = (image->w - 2 * edge) / (VV_CELL_W * scale);
    int64_t y = edge;
    for (int64_t k = 0; k < n; k++) {
        unsigned char rgb[3];
        char number[24];
        const int64_t indent = snprintf(number, sizeof number, "%lld: ", (long long)k),
                      x = edge + indent * VV_CELL_W * scale;
        const char *p = text[k];
        vv_colour_of(k, rgb);
        for (int first = 1; first || *p; first = 0, y += height) {
            const int64_t length = line_length(p, vv_max(1, cells - indent));
            const int more = k + 1 < n || p[length];
            if (more && y + 2 * height > image->h) {
                vv_draw_text(image, edge, y, "...", scale, rgb);
                return;
            }
            if (first) vv_draw_text(image, edge, y, number, scale, rgb);
            draw_line(image, x, y, p, length, scale, rgb);
            p += length;
            while (*p == ' ') p++;
        }
    }
}

/* ---- masks ----------------------------------------------------------------------------------------------------------------- */
/* whether a pixel of the picture no further than `reach` along its row or column is outside the mask */
static int at_edge(const vv_image *image, const unsigned char *mask, int64_t x, int64_t y, int64_t reach)
{
    for (int64_t d = -reach; d <= reach; d++) {
        if (x + d >= 0 && x + d < image->w && !mask[y * image->w + x + d]) return 1;
        if (y + d >= 0 && y + d < image->h && !mask[(y + d) * image->w + x]) return 1;
    }
    return 0;
}

void vv_draw_mask(vv_image *image, const unsigned char *mask, const unsigned char rgb[3])
{
    const int64_t reach = vv_draw_scale(image);
    for (int64_t y = 0; y < image->h; y++)
        for (int64_t x = 0; x < image->w; x++) {
            unsigned char *p = image->rgb + 3 * (y * image->w + x);
            if (!mask[y * image->w + x]) continue;
            const int edge = at_edge(image, mask, x, y, reach);
            for (int k = 0; k < 3; k++) p[k] = edge ? rgb[k] : (unsigned char)((p[k] + rgb[k] + 1) / 2);
        }
}
