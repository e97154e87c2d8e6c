/* Masks and words on pictures. Everything is clipped to the picture.
 *
 * Letters are 5 x 8 dots, the lowest row for what hangs below the line, in cells of 6 x 10 dots; a dot is `scale` pixels wide. All of
 * ASCII 32..126; anything else, a character of several bytes of UTF-8 too, is a hollow box, a line end a space. Letters have a dark
 * outline, so that they can be read on any picture. */
#ifndef VV_DRAW_H
#define VV_DRAW_H

#include "io/image.h"

enum { VV_CELL_W = 6, VV_CELL_H = 10 };

/* Pixels a dot, in proportion to the picture: 1 below 450 wide, 2 below 750 ... A line of 300 pixels or more holds 36 letters
 * and more. */
int64_t vv_draw_scale(const vv_image *image);

/* One line of text, NUL-terminated, its first cell's corner at column x, row y. */
void vv_draw_text(vv_image *image, int64_t x, int64_t y, const char *text, int64_t scale, const unsigned char rgb[3]);

/* Where mask [h,w] is not 0: the picture and the colour half and half, and an edge of the colour alone, vv_draw_scale wide. */
void vv_draw_mask(vv_image *image, const unsigned char *mask, const unsigned char rgb[3]);

/* "0: the first text" and so on down from the top left corner, each in its vv_colour_of, broken at spaces where it is too long; "..."
 * where there is no more room. */
void vv_draw_legend(vv_image *image, const char *const *text, int64_t n);

#endif
