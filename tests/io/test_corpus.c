/* The committed inputs of tests/fuzz/corpus, replayed through the fuzz targets: ok-* must be accepted, bad-* refused,
 * the others (found by fuzzing) may be either; nothing may break. */
#include "vvt.h"

#include <dirent.h>

#include "fuzz/targets.h"

static const struct {
    const char *name;
    int (*run)(const uint8_t *bytes, size_t n);
} targets[] = {
    {"safetensors", vvt_fuzz_safetensors},
    {"npy", vvt_fuzz_npy},
    {"png", vvt_fuzz_png},
    {"jpeg", vvt_fuzz_jpeg},
    {"config", vvt_fuzz_config},
    {"index", vvt_fuzz_index},
    {"tokenizer", vvt_fuzz_tokenizer},
    {"manifest", vvt_fuzz_manifest},
    {"golden", vvt_fuzz_golden},
    {"mapping", vvt_fuzz_mapping},
};
enum { TARGETS = sizeof targets / sizeof *targets };

/* The whole file in a block of exactly its size, so that the sanitizers see a read past its end. */
static unsigned char *slurp(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s: cannot be opened", path);
    ck_assert_int_eq(fseek(f, 0, SEEK_END), 0);
    *n = (size_t)ftell(f);
    rewind(f);
    unsigned char *bytes = malloc(*n ? *n : 1);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_uint_eq(fread(bytes, 1, *n, f), *n);
    fclose(f);
    return bytes;
}

START_TEST(replay)
{
    char folder[600], path[1000];
    int files = 0;
    snprintf(folder, sizeof folder, "%s/%s", vvt_root("tests/fuzz/corpus"), targets[_i].name);
    DIR *d = opendir(folder);
    ck_assert_msg(d != NULL, "%s: cannot be opened", folder);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (e->d_name[0] == '.') continue;
        size_t n;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        unsigned char *bytes = slurp(path, &n);
        fprintf(stderr, "%s\n", path); /* when it breaks, this was the last */
        ck_assert_int_eq(targets[_i].run(bytes, n), 0);
        if (!strncmp(e->d_name, "ok-", 3)) ck_assert_msg(vvt_accepted, "%s: was refused", path);
        if (!strncmp(e->d_name, "bad-", 4)) ck_assert_msg(!vvt_accepted, "%s: was accepted", path);
        free(bytes);
        files++;
    }
    closedir(d);
    ck_assert_int_ge(files, 20);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("corpus", &tc);
    tcase_add_loop_test(tc, replay, 0, TARGETS);
    return s;
}
VVT_MAIN(suite)
