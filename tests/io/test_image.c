/* Pictures encoded here through libpng and libjpeg, decoded and compared; damaged and hostile files. */
#include "io/image.h"

#include <png.h>

#include <jpeglib.h>

#include "vvt.h"

/* ---- an encoder ------------------------------------------------------------------------------------------------- */

typedef struct {
    unsigned char *data;
    size_t n;
} bytes;

static void png_put(png_structp png, png_bytep from, size_t n)
{
    bytes *b = png_get_io_ptr(png);
    b->data = realloc(b->data, b->n + n);
    memcpy(b->data + b->n, from, n);
    b->n += n;
}

static void png_flush_nothing(png_structp png) { (void)png; }

enum { H = 13, W = 11 };

/* H x W samples, packed in rows as PNG has them, of the given type and depth. */
static bytes encode_png(int type, int depth, int interlace, const unsigned char *packed, size_t row, int colours)
{
    bytes b = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, &b, png_put, png_flush_nothing);
    png_set_IHDR(png, info, W, H, depth, type, interlace, 0, 0);
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_color palette[256];
        png_byte alpha[256];
        for (int i = 0; i < 256; i++) {
            palette[i] = (png_color){(png_byte)(3 * i + 1), (png_byte)(255 - i), (png_byte)(i * i)};
            alpha[i] = (png_byte)i;
        }
        png_set_PLTE(png, info, palette, colours);
        png_set_tRNS(png, info, alpha, colours, NULL);
    } else if (!(type & PNG_COLOR_MASK_ALPHA)) {
        png_color_16 key = {0, 1, 1, 1, 1};
        png_set_tRNS(png, info, NULL, 0, &key);
    }
    png_set_check_for_invalid_index(png, 0); /* one test writes them */
    png_set_gAMA(png, info, 1.0);            /* must change nothing */
    png_write_info(png, info);
    png_bytep rows[H];
    for (int y = 0; y < H; y++) rows[y] = (png_bytep)packed + (size_t)y * row;
    png_write_image(png, rows);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return b;
}

/* Sample c of a pixel, and the packing of samples of any depth, most significant bit first. */
static unsigned sample(int y, int x, int c, int depth)
{
    return (unsigned)(y * 7919 + x * 104729 + c * 1299709 + 12345) * 2654435761u >> (32 - depth);
}

static void pack(unsigned char *row, int i, int depth, unsigned v)
{
    if (depth == 16) {
        row[2 * i] = (unsigned char)(v >> 8);
        row[2 * i + 1] = (unsigned char)v;
    } else row[i * depth / 8] |= (unsigned char)(v << (8 - depth - i * depth % 8));
}

static const struct {
    int type, depth, channels;
} KIND[] = {{PNG_COLOR_TYPE_GRAY, 1, 1},       {PNG_COLOR_TYPE_GRAY, 2, 1},        {PNG_COLOR_TYPE_GRAY, 4, 1},
            {PNG_COLOR_TYPE_GRAY, 8, 1},       {PNG_COLOR_TYPE_GRAY, 16, 1},       {PNG_COLOR_TYPE_PALETTE, 1, 1},
            {PNG_COLOR_TYPE_PALETTE, 2, 1},    {PNG_COLOR_TYPE_PALETTE, 4, 1},     {PNG_COLOR_TYPE_PALETTE, 8, 1},
            {PNG_COLOR_TYPE_GRAY_ALPHA, 8, 2}, {PNG_COLOR_TYPE_GRAY_ALPHA, 16, 2}, {PNG_COLOR_TYPE_RGB, 8, 3},
            {PNG_COLOR_TYPE_RGB, 16, 3},       {PNG_COLOR_TYPE_RGB_ALPHA, 8, 4},   {PNG_COLOR_TYPE_RGB_ALPHA, 16, 4}};
enum { KINDS = sizeof KIND / sizeof *KIND };

static bytes kind_png(int k, int interlace, int colours)
{
    unsigned char packed[H][W * 8];
    memset(packed, 0, sizeof packed);
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            for (int c = 0; c < KIND[k].channels; c++)
                pack(packed[y], x * KIND[k].channels + c, KIND[k].depth, sample(y, x, c, KIND[k].depth));
    return encode_png(KIND[k].type, KIND[k].depth, interlace, packed[0], sizeof packed[0], colours);
}

static int want_png(int k, int y, int x, int c)
{
    const int depth = KIND[k].depth;
    const unsigned v = sample(y, x, KIND[k].channels >= 3 ? c : 0, depth);
    if (KIND[k].type == PNG_COLOR_TYPE_PALETTE) return (int)(c == 0 ? 3 * v + 1 : c == 1 ? 255 - v : v * v) & 255;
    return (int)(depth == 16 ? v >> 8 : v * (255u / ((1u << depth) - 1)));
}

/* ---- PNG -------------------------------------------------------------------------------------------------------- */

START_TEST(png_kinds)
{
    for (int interlace = 0; interlace < 2; interlace++) {
        bytes b = kind_png(_i, interlace, 1 << (KIND[_i].depth < 8 ? KIND[_i].depth : 8));
        b.data = realloc(b.data, b.n + 5);
        memcpy(b.data + b.n, "after", 5); /* tolerated */
        vv_image m;
        VVT_OK(vv_image_decode(&m, b.data, (int64_t)b.n + 5, "x", err));
        ck_assert(m.h == H && m.w == W);
        for (int y = 0; y < H; y++)
            for (int x = 0; x < W; x++)
                for (int c = 0; c < 3; c++)
                    ck_assert_msg(m.rgb[3 * (W * y + x) + c] == want_png(_i, y, x, c),
                                  "kind %d, y %d, x %d, c %d: %d, want %d", _i, y, x, c, m.rgb[3 * (W * y + x) + c],
                                  want_png(_i, y, x, c));
        vv_image_free(&m);
        free(b.data);
    }
}
END_TEST

/* Cut anywhere, or with any one byte changed: never a crash, and every cut is an error with a message. */
START_TEST(png_damage)
{
    bytes b = kind_png(_i, 1, 1 << (KIND[_i].depth < 8 ? KIND[_i].depth : 8));
    for (size_t n = 0; n < b.n; n++) {
        unsigned char *cut = malloc(n + 1); /* of its own, so that a read beyond it is seen */
        memcpy(cut, b.data, n);
        vv_image m;
        vv_error e = {0};
        vvt_expect_error(&e, vv_image_decode(&m, cut, (int64_t)n, "cut.png", &e), VV_FILE, "cut.png", NULL);
        ck_assert(m.rgb == NULL && m.h == 0);
        free(cut);
    }
    for (size_t i = 8; i < b.n; i++) {
        b.data[i] ^= 0x41;
        vv_image m;
        vv_error e = {0};
        if (vv_image_decode(&m, b.data, (int64_t)b.n, "bad.png", &e) == VV_OK) vv_image_free(&m);
        else ck_assert(m.rgb == NULL && strstr(e.msg, "bad.png"));
        b.data[i] ^= 0x41;
    }
    free(b.data);
}
END_TEST

START_TEST(png_palette_index)
{
    bytes b = kind_png(8, 0, 200); /* indices up to 255 */
    vv_image m;
    vv_error e = {0};
    vvt_expect_error(&e, vv_image_decode(&m, b.data, (int64_t)b.n, "p.png", &e), VV_FILE, "p.png", "palette", NULL);
    free(b.data);
}
END_TEST

/* The CRC of PNG, to forge headers that are intact but lie. */
static void png_header(unsigned char png[33], uint32_t w, uint32_t h)
{
    static const unsigned char start[16] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n',
                                            0,    0,   0,   13,  'I',  'H',  'D',  'R'};
    memcpy(png, start, 16);
    for (int i = 0; i < 4; i++) {
        png[16 + i] = (unsigned char)(w >> (24 - 8 * i));
        png[20 + i] = (unsigned char)(h >> (24 - 8 * i));
    }
    memcpy(png + 24, "\x08\x02\0\0\0", 5);
    uint32_t crc = 0xffffffffu;
    for (int i = 12; i < 29; i++) {
        crc ^= png[i];
        for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    for (int i = 0; i < 4; i++) png[29 + i] = (unsigned char)(~crc >> (24 - 8 * i));
}

START_TEST(png_hostile_sizes)
{
    static const struct {
        uint32_t w, h;
        const char *word;
    } bad[] = {
        {65536, 1, "sides"},       {1, 65536, "sides"}, {65535, 65535, "pixels"}, {0x7fffffff, 0x7fffffff, "sides"},
        {16384, 16384, "at most"}, {0, 5, "PNG"},       {0x80000000u, 1, "PNG"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        /* the header, a first IDAT so that libpng gets there, nothing else */
        unsigned char png[33 + 12] = {0};
        png_header(png, bad[i].w, bad[i].h);
        memcpy(png + 37, "IDAT", 4);
        vv_image m;
        vv_error e = {0};
        vvt_expect_error(&e, vv_image_decode(&m, png, sizeof png, "big.png", &e), VV_FILE, "big.png", bad[i].word,
                         NULL);
    }
}
END_TEST

START_TEST(png_write)
{
    vv_image m, back;
    VVT_OK(vv_image_new(&m, 37, 23, err));
    for (int i = 0; i < 3 * 37 * 23; i++) m.rgb[i] = (unsigned char)(i * i >> 3);
    VVT_OK(vv_image_write_png(&m, vvt_path("a.png"), err));
    VVT_OK(vv_image_write_png(&m, vvt_path("b.png"), err));
    VVT_OK(vv_image_read(&back, vvt_path("a.png"), err));
    ck_assert(back.h == 37 && back.w == 23 && memcmp(m.rgb, back.rgb, 3 * 37 * 23) == 0);
    char a[8192], b[8192];
    FILE *fa = fopen(vvt_path("a.png"), "rb"), *fb = fopen(vvt_path("b.png"), "rb");
    const size_t na = fread(a, 1, sizeof a, fa), nb = fread(b, 1, sizeof b, fb);
    fclose(fa);
    fclose(fb);
    ck_assert(na == nb && na < sizeof a && memcmp(a, b, na) == 0);
    unsigned char *memory = NULL;
    int64_t n = 0;
    VVT_OK(vv_image_encode_png(&m, &memory, &n, err));
    ck_assert(n == (int64_t)na && memcmp(a, memory, na) == 0);
    free(memory);
    vv_error e = {0}, f = {0}, g = {0};
    vvt_expect_error(&e, vv_image_write_png(&m, vvt_path("no/such/folder.png"), &e), VV_FILE, "folder.png", NULL);
    vv_image_free(&m);
    vvt_expect_error(&f, vv_image_write_png(&m, vvt_path("c.png"), &f), VV_USAGE, "c.png", NULL);
    vvt_expect_error(&g, vv_image_encode_png(&m, &memory, &n, &g), VV_USAGE, "0 x 0", NULL);
    ck_assert(memory == NULL && n == 0);
    vv_image_free(&back);
}
END_TEST

/* Read back by libpng alone: type, depth and every sample, high bytes included (our reader keeps 8 bits of three channels). */
START_TEST(gray_write)
{
    enum { GH = 19, GW = 23 };
    const int bits = _i ? 16 : 8;
    unsigned char small[GH * GW];
    uint16_t deep[GH * GW];
    for (int i = 0; i < GH * GW; i++) {
        small[i] = (unsigned char)(i * 7);
        deep[i] = (uint16_t)(i * 149 + 3);
    }
    VVT_OK(vv_grey_write(vvt_path("g.png"), GH, GW, bits, _i ? (const void *)deep : small, err));
    FILE *f = fopen(vvt_path("g.png"), "rb");
    png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_init_io(png, f);
    png_read_info(png, info);
    ck_assert(png_get_image_height(png, info) == GH && png_get_image_width(png, info) == GW);
    ck_assert(png_get_color_type(png, info) == PNG_COLOR_TYPE_GRAY && png_get_bit_depth(png, info) == bits);
    for (int y = 0; y < GH; y++) {
        unsigned char row[2 * GW];
        png_read_row(png, row, NULL);
        for (int x = 0; x < GW; x++)
            ck_assert_int_eq(_i ? row[2 * x] << 8 | row[2 * x + 1] : row[x], _i ? deep[GW * y + x] : small[GW * y + x]);
    }
    png_destroy_read_struct(&png, &info, NULL);
    fclose(f);
    vv_error e = {0}, g = {0}, h = {0};
    vvt_expect_error(&e, vv_grey_write(vvt_path("h.png"), GH, GW, 12, small, &e), VV_USAGE, "h.png", "12", NULL);
    vvt_expect_error(&g, vv_grey_write(vvt_path("h.png"), 0, GW, 8, small, &g), VV_USAGE, "h.png", "0 x 23", NULL);
    vvt_expect_error(&h, vv_grey_write(vvt_path("no/h.png"), GH, GW, 8, small, &h), VV_FILE, "h.png", NULL);
}
END_TEST

/* ---- grey numbers ----------------------------------------------------------------------------------------------- */

START_TEST(grey_kinds)
{
    for (int interlace = 0; interlace < 2; interlace++) {
        bytes b = kind_png(_i, interlace, 1 << (KIND[_i].depth < 8 ? KIND[_i].depth : 8));
        vv_grey g;
        if (KIND[_i].type == PNG_COLOR_TYPE_GRAY) {
            VVT_OK(vv_grey_decode(&g, b.data, (int64_t)b.n, "x", err));
            ck_assert(g.h == H && g.w == W && g.bits == KIND[_i].depth);
            for (int y = 0; y < H; y++)
                for (int x = 0; x < W; x++) ck_assert_uint_eq(g.v[W * y + x], sample(y, x, 0, KIND[_i].depth));
            vv_grey_free(&g);
            vv_grey_free(&g); /* twice is fine */
        } else {
            vv_error e = {0};
            vvt_expect_error(&e, vv_grey_decode(&g, b.data, (int64_t)b.n, "x.png", &e), VV_FILE, "x.png", "grey",
                             KIND[_i].type & PNG_COLOR_MASK_PALETTE ? "palette"
                             : KIND[_i].type & PNG_COLOR_MASK_COLOR ? "colours"
                                                                    : "alpha",
                             NULL);
        }
        ck_assert(!g.v && g.h == 0);
        free(b.data);
    }
}
END_TEST

START_TEST(grey_damage)
{
    bytes b = kind_png(_i, 1, 2); /* the five grey ones come first */
    for (size_t n = 0; n < b.n; n++) {
        unsigned char *cut = malloc(n + 1);
        memcpy(cut, b.data, n);
        vv_grey g;
        vv_error e = {0};
        vvt_expect_error(&e, vv_grey_decode(&g, cut, (int64_t)n, "cut.png", &e), VV_FILE, "cut.png", NULL);
        ck_assert(!g.v && g.h == 0);
        free(cut);
    }
    vv_grey g;
    VVT_OK(vv_grey_read(&g, vvt_write("g.png", b.data, b.n), err));
    ck_assert(g.h == H && g.bits == KIND[_i].depth);
    vv_grey_free(&g);
    free(b.data);
    vv_error e = {0};
    vvt_expect_error(&e, vv_grey_read(&g, vvt_path("no.png"), &e), VV_FILE, "no.png", NULL);
}
END_TEST

/* ---- JPEG ------------------------------------------------------------------------------------------------------- */

static bytes encode_jpeg(J_COLOR_SPACE in, J_COLOR_SPACE as, int components, int progressive, int arithmetic)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr errors;
    unsigned char *data = NULL;
    unsigned long n = 0;
    c.err = jpeg_std_error(&errors);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &data, &n);
    c.image_width = 37;
    c.image_height = 29;
    c.input_components = components;
    c.in_color_space = in;
    jpeg_set_defaults(&c);
    jpeg_set_colorspace(&c, as);
    jpeg_set_quality(&c, 95, TRUE);
    if (progressive) jpeg_simple_progression(&c);
    c.arith_code = arithmetic ? TRUE : FALSE;
    jpeg_start_compress(&c, TRUE);
    while (c.next_scanline < c.image_height) {
        unsigned char row[37 * 4];
        for (int i = 0; i < 37 * components; i++)
            row[i] = (unsigned char)(40 + 2 * (i / components) + 2 * (int)c.next_scanline + 20 * (i % components));
        JSAMPROW r = row;
        jpeg_write_scanlines(&c, &r, 1);
    }
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    bytes b = {malloc(n), n};
    memcpy(b.data, data, n);
    free(data);
    return b;
}

START_TEST(jpeg_kinds)
{
    static const struct {
        J_COLOR_SPACE in, as;
        int components;
    } kind[3] = {{JCS_GRAYSCALE, JCS_GRAYSCALE, 1}, {JCS_RGB, JCS_YCbCr, 3}, {JCS_RGB, JCS_RGB, 3}};
    bytes b = encode_jpeg(kind[_i / 2].in, kind[_i / 2].as, kind[_i / 2].components, _i % 2, 0);
    b.data = realloc(b.data, b.n + 5);
    memcpy(b.data + b.n, "after", 5);
    vv_image m;
    VVT_OK(vv_image_decode(&m, b.data, (int64_t)b.n + 5, "x", err));
    ck_assert(m.h == 29 && m.w == 37);
    for (int y = 0; y < 29; y++)
        for (int x = 0; x < 37; x++)
            for (int c = 0; c < 3; c++) {
                const int want = 40 + 2 * x + 2 * y + (_i / 2 == 0 ? 0 : 20 * c), got = m.rgb[3 * (37 * y + x) + c];
                ck_assert_msg(abs(got - want) <= 4, "kind %d, y %d, x %d, c %d: %d, want %d", _i, y, x, c, got, want);
            }
    vv_image_free(&m);
    free(b.data);
}
END_TEST

START_TEST(jpeg_refused_kinds)
{
    bytes cmyk = encode_jpeg(JCS_CMYK, JCS_CMYK, 4, 0, 0), ycck = encode_jpeg(JCS_CMYK, JCS_YCCK, 4, 0, 0);
    vv_image m;
    vv_error e = {0}, f = {0};
    vvt_expect_error(&e, vv_image_decode(&m, cmyk.data, (int64_t)cmyk.n, "k.jpg", &e), VV_FILE, "k.jpg", "CMYK", NULL);
    vvt_expect_error(&f, vv_image_decode(&m, ycck.data, (int64_t)ycck.n, "k.jpg", &f), VV_FILE, "k.jpg", "YCCK", NULL);
    free(cmyk.data);
    free(ycck.data);
}
END_TEST

START_TEST(jpeg_damage)
{
    bytes b = encode_jpeg(JCS_RGB, JCS_YCbCr, 3, _i, 0);
    for (size_t n = 0; n < b.n; n++) {
        unsigned char *cut = malloc(n + 1);
        memcpy(cut, b.data, n);
        vv_image m;
        vv_error e = {0};
        vvt_expect_error(&e, vv_image_decode(&m, cut, (int64_t)n, "cut.jpg", &e), VV_FILE, "cut.jpg", NULL);
        ck_assert(m.rgb == NULL);
        free(cut);
    }
    for (size_t i = 3; i < b.n; i++) {
        b.data[i] ^= 0x55;
        vv_image m;
        vv_error e = {0};
        if (vv_image_decode(&m, b.data, (int64_t)b.n, "bad.jpg", &e) == VV_OK) vv_image_free(&m);
        else ck_assert(m.rgb == NULL && strstr(e.msg, "bad.jpg"));
        b.data[i] ^= 0x55;
    }
    free(b.data);
}
END_TEST

/* A header that claims 16,384 x 16,384 pixels over a few hundred bytes of data. */
START_TEST(jpeg_hostile_size)
{
    bytes b = encode_jpeg(JCS_RGB, JCS_YCbCr, 3, 0, 0);
    size_t i = 2;
    while (b.data[i + 1] != 0xc0) i += 2 + (size_t)(b.data[i + 2] << 8 | b.data[i + 3]); /* from marker to marker */
    memcpy(b.data + i + 5, "\x40\0\x40\0", 4);
    vv_image m;
    vv_error e = {0}, f = {0};
    vvt_expect_error(&e, vv_image_decode(&m, b.data, (int64_t)b.n, "big.jpg", &e), VV_FILE, "big.jpg", "16384",
                     "at most", NULL);
    memcpy(b.data + i + 5, "\xff\xff\xff\xff", 4);
    vvt_expect_error(&f, vv_image_decode(&m, b.data, (int64_t)b.n, "big.jpg", &f), VV_FILE, "big.jpg", NULL);
    free(b.data);
}
END_TEST

/* ---- both ------------------------------------------------------------------------------------------------------- */

START_TEST(other_content)
{
    vv_image m;
    vv_error a = {0}, b = {0}, c = {0}, d = {0};
    vvt_expect_error(&a, vv_image_read(&m, vvt_write("x.png", "GIF89a etc", 10), &a), VV_FILE, "x.png", "PNG or JPEG",
                     "47 49 46 38 39 61 20 65", NULL);
    vvt_expect_error(&b, vv_image_read(&m, vvt_write("y.png", "", 0), &b), VV_FILE, "y.png", "PNG or JPEG", "empty",
                     NULL);
    vvt_expect_error(&c, vv_image_read(&m, vvt_path("none.png"), &c), VV_FILE, "none.png", NULL);
    vvt_expect_error(&d, vv_image_read(&m, vvt_write("z.png", "\x89P", 2), &d), VV_FILE, "89 50", NULL);
    ck_assert(m.rgb == NULL);
    ck_assert(vv_image_read(&m, vvt_path("none.png"), NULL) == VV_FILE); /* no message wanted */
}
END_TEST

/* The sample pictures of the project: sizes, and a pixel of the sky. */
START_TEST(samples)
{
    static const struct {
        const char *path;
        int h, w;
    } sample_file[3] = {{"data/samples/shapes.png", 336, 448},
                        {"data/samples/street.png", 480, 360},
                        {"data/samples/stripes.png", 220, 300}};
    for (int i = 0; i < 3; i++) {
        vv_image m;
        VVT_OK(vv_image_read(&m, vvt_root(sample_file[i].path), err));
        ck_assert(m.h == sample_file[i].h && m.w == sample_file[i].w);
        if (i == 0) ck_assert(m.rgb[0] == 96 && m.rgb[1] == 150 && m.rgb[2] == 214);
        vv_image_free(&m);
    }
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("image", &tc);
    tcase_add_loop_test(tc, png_kinds, 0, KINDS);
    tcase_add_loop_test(tc, png_damage, 0, KINDS);
    tcase_add_test(tc, png_palette_index);
    tcase_add_test(tc, png_hostile_sizes);
    tcase_add_test(tc, png_write);
    tcase_add_loop_test(tc, gray_write, 0, 2);
    tcase_add_loop_test(tc, grey_kinds, 0, KINDS);
    tcase_add_loop_test(tc, grey_damage, 0, 5);
    tcase_add_loop_test(tc, jpeg_kinds, 0, 6);
    tcase_add_test(tc, jpeg_refused_kinds);
    tcase_add_loop_test(tc, jpeg_damage, 0, 2);
    tcase_add_test(tc, jpeg_hostile_size);
    tcase_add_test(tc, other_content);
    tcase_add_test(tc, samples);
    return s;
}
VVT_MAIN(suite)
