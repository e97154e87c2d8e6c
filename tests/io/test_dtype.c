/* The narrow number types against an independent reading of their definition: the value of a pattern by ldexp, and the
 * nearest pattern of a number by search among all of them. */
#include "vvt.h"

#include <math.h>

#include "io/dtype.h"

typedef struct {
    const char *name;
    int mb, eb; /* mantissa and exponent bits */
    float (*up)(uint16_t);
    uint16_t (*down32)(float);
    uint16_t (*down64)(double);
} format;

static const format formats[2] = {
    {"f16", 10, 5, vv_f16_to_f32, vv_f32_to_f16, vv_f64_to_f16},
    {"bf16", 7, 8, vv_bf16_to_f32, vv_f32_to_bf16, vv_f64_to_bf16},
};

/* The value of a finite or infinite pattern, from the definition. */
static double value(const format *f, unsigned h)
{
    const int bias = (1 << (f->eb - 1)) - 1, e = (int)(h >> f->mb) & ((1 << f->eb) - 1);
    const int m = (int)(h & ((1u << f->mb) - 1));
    const double sign = h >> 15 ? -1 : 1;
    if (e == (1 << f->eb) - 1) return sign * INFINITY;
    if (e == 0) return sign * ldexp(m, 1 - bias - f->mb);
    return sign * ldexp(m + (1 << f->mb), e - bias - f->mb);
}

/* The number that would follow the largest one: rounding treats the pattern of infinity as it. */
static double past_end(const format *f) { return ldexp(1, 1 << (f->eb - 1)); }

static unsigned inf_of(const format *f) { return ((1u << f->eb) - 1) << f->mb; }

/* The nearest pattern to |x|, ties to the even one; past the middle between the largest number and the next power
 * of two comes infinity. Found by bisection over the ordered patterns. */
static unsigned nearest(const format *f, double x)
{
    const unsigned sign = signbit(x) ? 0x8000u : 0;
    unsigned lo = 0, hi = inf_of(f);
    x = fabs(x);
    while (hi - lo > 1) {
        const unsigned mid = (lo + hi) / 2;
        if (value(f, mid) <= x) lo = mid;
        else hi = mid;
    }
    const double below = value(f, lo);
    const double above = hi == inf_of(f) ? past_end(f) : value(f, hi);
    if (x - below == above - x) return sign | (lo & 1 ? hi : lo);
    return sign | (x - below < above - x ? lo : hi);
}

START_TEST(all_patterns)
{
    const format *f = &formats[_i];
    for (unsigned h = 0; h < 65536; h++) {
        const float x = f->up((uint16_t)h);
        if ((h & 0x7fff) > inf_of(f)) {
            const unsigned quiet = h | 1u << (f->mb - 1);
            ck_assert_msg(isnan(x) && !!signbit(x) == h >> 15, "%s %04x is not the NaN of its sign", f->name, h);
            ck_assert_uint_eq(f->down32(x), quiet);
            ck_assert_uint_eq(f->down64((double)x), quiet);
        } else {
            const double v = value(f, h);
            ck_assert_msg((double)x == v && !!signbit(x) == h >> 15, "%s %04x: got %a, expected %a", f->name, h,
                          (double)x, v);
            ck_assert_uint_eq(f->down32(x), h);
            ck_assert_uint_eq(f->down64(v), h);
        }
    }
}
END_TEST

/* Around every pattern's upper neighbour: the middle, and the next doubles and floats beside it. */
START_TEST(rounding_at_every_middle)
{
    const format *f = &formats[_i];
    for (unsigned h = 0; h < inf_of(f); h++)
        for (int sign = 0; sign < 2; sign++) {
            const double next = h + 1 == inf_of(f) ? past_end(f) : value(f, h + 1);
            const double mid = (value(f, h) + next) / 2;
            const double at[3] = {nextafter(mid, 0), mid, nextafter(mid, INFINITY)};
            const unsigned s = sign ? 0x8000u : 0, want[3] = {h | s, (h & 1 ? h + 1 : h) | s, (h + 1) | s};
            for (int k = 0; k < 3; k++) {
                const double x = sign ? -at[k] : at[k];
                ck_assert_msg(f->down64(x) == want[k], "%s %a: got %04x, expected %04x", f->name, x, f->down64(x),
                              want[k]);
            }
            const float m32 = (float)mid; /* exact: one bit more than the format has */
            const float at32[3] = {nextafterf(m32, 0), m32, nextafterf(m32, INFINITY)};
            for (int k = 0; k < 3; k++) {
                const float x = sign ? -at32[k] : at32[k];
                ck_assert_msg(f->down32(x) == want[k], "%s %a: got %04x, expected %04x", f->name, (double)x,
                              f->down32(x), want[k]);
            }
        }
}
END_TEST

START_TEST(random_numbers)
{
    const format *f = &formats[_i];
    uint64_t r = 88172645463325252u;
    for (int i = 0; i < 400000; i++) {
        r ^= r << 13, r ^= r >> 7, r ^= r << 17;
        const int e = (int)(r >> 54) % 340 - 170; /* below, inside and above both formats */
        const double x = ldexp((double)(int64_t)(r << 10) * 0x1p-63, e);
        ck_assert_msg(f->down64(x) == nearest(f, x), "%s %a: got %04x, expected %04x", f->name, x, f->down64(x),
                      nearest(f, x));
        const float y = (float)x;
        ck_assert_msg(f->down32(y) == nearest(f, (double)y), "%s %a", f->name, (double)y);
    }
}
END_TEST

START_TEST(known_values)
{
    ck_assert_uint_eq(vv_f32_to_bf16(1 + 0x1p-8f), 0x3f80); /* tie to even */
    ck_assert_uint_eq(vv_f32_to_bf16(1 + 3 * 0x1p-8f), 0x3f82);
    ck_assert_uint_eq(vv_f32_to_bf16(3.4e38f), 0x7f80); /* past the last middle */
    ck_assert_uint_eq(vv_f32_to_bf16(-0.0f), 0x8000);
    ck_assert(vv_bf16_to_f32(vv_f32_to_bf16(1e-40f)) != 0);          /* subnormals are kept */
    ck_assert_uint_eq(vv_f64_to_bf16(1 + 0x1p-8 + 0x1p-40), 0x3f81); /* through float it would be the tie above */
    ck_assert_uint_eq(vv_f64_to_f16(1 + 0x1p-11 + 0x1p-40), 0x3c01);
    ck_assert_uint_eq(vv_f32_to_f16(65504), 0x7bff);
    ck_assert_uint_eq(vv_f32_to_f16(65519.996f), 0x7bff);
    ck_assert_uint_eq(vv_f32_to_f16(65520), 0x7c00);
    ck_assert_uint_eq(vv_f64_to_f16(0x1p-25), 0); /* half the smallest: tie to even */
    ck_assert_uint_eq(vv_f64_to_f16(0x1.0000001p-25), 1);
    ck_assert_uint_eq(vv_f64_to_f16(5e-324), 0);
    ck_assert_uint_eq(vv_f64_to_bf16(-1e300), 0xff80);
}
END_TEST

START_TEST(names_and_sizes)
{
    static const char *const names[VV_DT_COUNT] = {"BOOL", "U8",  "I8",  "I16", "U16", "F16", "BF16",
                                                   "I32",  "U32", "F32", "F64", "I64", "U64"};
    static const int sizes[VV_DT_COUNT] = {1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 8, 8, 8};
    vv_dtype t;
    for (int i = 0; i < VV_DT_COUNT; i++) {
        ck_assert_str_eq(vv_dtype_name((vv_dtype)i), names[i]);
        ck_assert_int_eq(vv_dtype_size((vv_dtype)i), sizes[i]);
        ck_assert(vv_dtype_parse(names[i], &t) && t == (vv_dtype)i);
        ck_assert_int_eq(vv_dtype_is_real((vv_dtype)i), strchr(names[i], 'F') != NULL);
    }
    ck_assert(!vv_dtype_parse("f32", &t) && !vv_dtype_parse("", &t) && !vv_dtype_parse("F8_E4M3", &t));
}
END_TEST

START_TEST(arrays)
{
    const vv_real src[5] = {1.5f, -0.25f, (vv_real)NAN, (vv_real)INFINITY, 0};
    static const vv_dtype reals[4] = {VV_DT_F16, VV_DT_BF16, VV_DT_F32, VV_DT_F64};
    unsigned char raw[41];
    for (int k = 0; k < 4; k++) {
        vv_real back[5];
        double wide[5];
        int64_t none[5];
        ck_assert_int_eq(vv_encode_real(raw + 1, src, reals[k], 5), 1); /* odd address */
        ck_assert_int_eq(vv_decode_real(back, raw + 1, reals[k], 5), 1);
        ck_assert_int_eq(vv_decode_f64(wide, raw + 1, reals[k], 5), 1);
        for (int i = 0; i < 5; i++) {
            ck_assert(i == 2 ? isnan(back[i]) && isnan(wide[i]) : back[i] == src[i] && wide[i] == (double)src[i]);
        }
        ck_assert_int_eq(vv_decode_i64(none, raw + 1, reals[k], 5), -1);
    }
    static const unsigned char one32[4] = {0, 0, 0x80, 0x3f};
    const vv_real one = 1;
    vv_encode_real(raw, &one, VV_DT_F32, 1);
    ck_assert(!memcmp(raw, one32, 4)); /* little-endian */
    vv_real nans[2] = {(vv_real)NAN, -(vv_real)NAN};
    vv_encode_real(raw, nans, VV_DT_BF16, 2);
    ck_assert(raw[0] == 0xc0 && raw[1] == 0x7f && raw[2] == 0xc0 && raw[3] == 0x7f); /* one canonical NaN */
    ck_assert_int_eq(vv_encode_real(raw, src, VV_DT_I32, 1), 0);
    ck_assert_int_eq(vv_decode_real(nans, raw, VV_DT_U8, 1), 0);
}
END_TEST

START_TEST(integers)
{
    static const unsigned char ff[16] = {255, 255, 255, 255, 255, 255, 255, 255,
                                         254, 255, 255, 255, 255, 255, 255, 127};
    static const struct {
        vv_dtype t;
        int64_t first;
    } cases[] = {{VV_DT_U8, 255},         {VV_DT_I8, -1},  {VV_DT_U16, 65535}, {VV_DT_I16, -1},
                 {VV_DT_U32, 4294967295}, {VV_DT_I32, -1}, {VV_DT_I64, -1}};
    int64_t x[2];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_int_eq(vv_decode_i64(x, ff, cases[i].t, 1), 1);
        ck_assert_int_eq(x[0], cases[i].first);
    }
    ck_assert_int_eq(vv_decode_i64(x, ff + 8, VV_DT_U64, 1), 1);
    ck_assert(x[0] == INT64_MAX - 1);
    ck_assert_int_eq(vv_decode_i64(x, ff, VV_DT_U64, 2), 0); /* the first one is too large */
    ck_assert_int_eq(vv_decode_i64(x, (const unsigned char *)"\1\2", VV_DT_BOOL, 2), 1);
    ck_assert_int_eq(x[0], 1);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("dtype", &tc);
    tcase_add_loop_test(tc, all_patterns, 0, 2);
    tcase_add_loop_test(tc, rounding_at_every_middle, 0, 2);
    tcase_add_loop_test(tc, random_numbers, 0, 2);
    tcase_add_test(tc, known_values);
    tcase_add_test(tc, names_and_sizes);
    tcase_add_test(tc, arrays);
    tcase_add_test(tc, integers);
    return s;
}

VVT_MAIN(suite)
