/* Colours by formula: a perceptual colour map for numbers, and colours for things to be told apart.
 *
 * Both are chosen in OKLCh, the polar form of Oklab (lightness L, chroma C, hue h), where equal steps look equal, and converted to
 * sRGB of 8 bits, clipped where sRGB ends.
 *
 *   map      L = 0.15 + 0.8 t,   C = 0.04 + 0.13 sin(pi t),   h = 270 + 200 t degrees,   t = i / 255
 *            from a blue black over purple, red and orange to a pale yellow. Lightness alone tells the order: the map survives a
 *            grey print and every kind of colour blindness. Nothing of it is clipped.
 *   colour k L = 0.72,   C = 0.16,   h = 25 + 137.5 k degrees: the golden angle, so that any first few lie far apart
 *
 * Source: Ottosson 2020, "A perceptual color space for image processing" (Oklab): the three matrices; IEC 61966-2-1: sRGB's curve.
 *
 * Easy to get wrong: the curve of sRGB comes last, after linear light. A colour map is for looking: numbers are read from other files. */
#ifndef VV_COLORMAP_H
#define VV_COLORMAP_H

#include "base/base.h"

enum { VV_COLORMAP = 256 };

void vv_colormap(unsigned char rgb[VV_COLORMAP][3]);

/* rgb [n,3]: x [n] with lo in the first colour and hi in the last, clamped beyond; grey (128) for what is not finite, and for
 * everything when lo < hi does not hold. */
void vv_colormap_draw(unsigned char *rgb, const float *x, int64_t n, double lo, double hi);

/* Colour k, from 0, of any number. */
void vv_colour_of(int64_t k, unsigned char rgb[3]);

#endif
