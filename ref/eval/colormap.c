#include "eval/colormap.h"

#include <math.h>
#include <string.h>

#include "base/elementary.h"

static const double PI = 3.141592653589793;

/* a number of linear light as sRGB's byte */
static unsigned char byte(double light)
{
    const double x = light > 0 ? fmin(light, 1) : 0;
    const double s = x <= 0.0031308 ? 12.92 * x : 1.055 * vv_pow(x, 1 / 2.4) - 0.055;
    return (unsigned char)floor(255 * s + 0.5);
}

/* L in 0..1, chroma C, hue in degrees. The first matrix leads to the cube roots of the eye's three answers to light, the second from
 * these answers to red, green and blue. */
static void from_oklch(unsigned char rgb[3], double L, double C, double hue)
{
    const double a = C * vv_cos(PI / 180 * hue), b = C * vv_sin(PI / 180 * hue);
    const double l = L + 0.3963377774 * a + 0.2158037573 * b;
    const double m = L - 0.1055613458 * a - 0.0638541728 * b;
    const double s = L - 0.0894841775 * a - 1.2914855480 * b;
    const double l3 = l * l * l, m3 = m * m * m, s3 = s * s * s;
    rgb[0] = byte(4.0767416621 * l3 - 3.3077115913 * m3 + 0.2309699292 * s3);
    rgb[1] = byte(-1.2684380046 * l3 + 2.6097574011 * m3 - 0.3413193965 * s3);
    rgb[2] = byte(-0.0041960863 * l3 - 0.7034186147 * m3 + 1.7076147010 * s3);
}

void vv_colormap(unsigned char rgb[VV_COLORMAP][3])
{
    for (int i = 0; i < VV_COLORMAP; i++) {
        const double t = i / (VV_COLORMAP - 1.0);
        from_oklch(rgb[i], 0.15 + 0.8 * t, 0.04 + 0.13 * vv_sin(PI * t), 270 + 200 * t);
    }
}

void vv_colormap_draw(unsigned char *rgb, const float *x, int64_t n, double lo, double hi)
{
    unsigned char map[VV_COLORMAP][3];
    const int some = lo < hi && hi - lo <= DBL_MAX;
    vv_colormap(map);
    for (int64_t i = 0; i < n; i++) {
        if (!some || !isfinite(x[i])) {
            memset(rgb + 3 * i, 128, 3);
            continue;
        }
        const double t = fmax(0, fmin(1, ((double)x[i] - lo) / (hi - lo)));
        memcpy(rgb + 3 * i, map[(int)floor((VV_COLORMAP - 1) * t + 0.5)], 3);
    }
}

void vv_colour_of(int64_t k, unsigned char rgb[3]) { from_oklch(rgb, 0.72, 0.16, fmod(25 + 137.5 * (double)k, 360)); }
