/* The index of a golden file: the bytes are the text of __metadata__.index, in a file with a few tensors, and that file is judged as a
 * candidate of its own. Bytes from 128 on become the characters of that number. */
#include "fuzz/targets.h"
#include "golden/judge.h"

#define HEAD                                                                                                           \
    "{\"u1/vision/act/a\":{\"dtype\":\"F64\",\"shape\":[2,3],\"data_offsets\":[0,48]},"                                \
    "\"u1/vision/alt/a.1\":{\"dtype\":\"F64\",\"shape\":[2,3],\"data_offsets\":[48,96]},"                              \
    "\"u1/vision/act/t\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[96,112]},"                                 \
    "\"u1/vision/in/n\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[112,120]},"                                 \
    "\"__metadata__\":{\"versavit_golden\":\"2\",\"index\":\""

static const unsigned char DATA[120] = {[6] = 0xf0,  [7] = 0x3f, [14] = 0x08,  [15] = 0x40,  [56] = 0xf0,
                                        [57] = 0x3f, [96] = 1,   [114] = 0xc0, [115] = 0x7f, [119] = 0x80};

static const char *write_golden(const uint8_t *bytes, size_t n)
{
    char *file = vv_calloc((int64_t)(8 + sizeof HEAD + 6 * n + 16 + sizeof DATA), 1);
    VVT_HOLDS(file);
    size_t at = 8;
    at += (size_t)sprintf(file + at, "%s", HEAD);
    for (size_t i = 0; i < n; i++) at += (size_t)sprintf(file + at, "\\u%04x", bytes[i]);
    at += (size_t)sprintf(file + at, "\"}}");
    for (int i = 0; i < 8; i++) file[i] = (char)((at - 8) >> 8 * i & 255);
    memcpy(file + at, DATA, sizeof DATA);
    const char *path = vvt_scratch("golden.safetensors", file, at + sizeof DATA);
    free(file);
    return path;
}

int VVT_TARGET(golden)(const uint8_t *bytes, size_t n)
{
    const vv_judge_options options = {.limit = 0, .scope = VV_SCOPE_UPDATE, .ignore_extra = 1};
    vv_golden g;
    vv_judged j;
    vv_error err = {0}, other = {0};
    const char *path = write_golden(bytes, n);
    const vv_status s = vv_golden_open(&g, path, &err);
    if (!vvt_outcome(s, &err)) {
        VVT_HOLDS(!g.entry && !g.st && !g.path);
        return 0;
    }
    VVT_HOLDS(!g.plain && g.n <= 4);
    for (int64_t i = 0; i < g.n; i++) {
        const vv_golden_entry *e = &g.entry[i];
        VVT_HOLDS(e->key && e->at && e->at->n <= 6 && e->ndim <= VV_ST_MAXDIM && e->n == e->at->n);
        VVT_HOLDS(vv_golden_find(&g, e->key) == e && e->kind != VV_KIND_OTHER);
    }
    vv_golden_close(&g);
    const vv_status judged = vv_judge(&j, path, path, &options, &other);
    VVT_HOLDS(judged == VV_OK || judged == VV_DIFFERS || judged == VV_FILE);
    VVT_HOLDS((judged == VV_FILE) == (j.at == NULL));
    vv_judged_free(&j);
    return 0;
}
