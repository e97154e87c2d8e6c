/* The data set of synthetic scenes: files and manifests against the scenes in memory, and what is left after a failure. */
#include "vvt.h"

#include <dirent.h>
#include <jansson.h>
#include <unistd.h>

#include "data/synth.h"
#include "io/lines.h"
#include "io/npy.h"

static vv_synth_options options(uint64_t seed)
{
    vv_synth_options o = vv_synth_default();
    o.seed = seed;
    o.size = 32;
    return o;
}

static void clear_folder(const char *dir, const char *sub)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", dir, sub);
    DIR *d = opendir(path);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        char file[900];
        snprintf(file, sizeof file, "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.') {
            ck_assert_msg(!strstr(e->d_name, "tmp"), "%s was left behind", file);
            remove(file);
        }
    }
    if (d) closedir(d);
    rmdir(path);
}

static void clear(const char *dir)
{
    static const char *const sub[] = {"images", "depth", "classes", "masks", ""};
    for (int i = 0; i < 5; i++) clear_folder(dir, sub[i]);
}

static const char *text_of(const json_t *o, const char *key) { return json_string_value(json_object_get(o, key)); }

static void read_grey(const char *dir, const char *name, const unsigned char *want, int scale, int64_t n)
{
    char path[900];
    vv_image m;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    VVT_OK(vv_image_read(&m, path, err));
    ck_assert_int_eq(m.h * m.w, n);
    int64_t bad = 0;
    for (int64_t i = 0; i < n; i++) bad += m.rgb[3 * i] != scale * want[i];
    ck_assert_int_eq(bad, 0);
    vv_image_free(&m);
}

/* The line of a conversation, and the line of depth, of the scene: equal to what the renderer gives in memory. */
static void check_conversation(const json_t *line, const char *question, const char *answer, const char *type)
{
    const json_t *c = json_object_get(line, "conversations"), *user = json_array_get(c, 0),
                 *model = json_array_get(c, 1);
    ck_assert(json_array_size(c) == 2 && !strcmp(text_of(line, "type"), type));
    ck_assert(!strcmp(text_of(user, "role"), "user") && !strcmp(text_of(model, "role"), "assistant"));
    ck_assert(!strcmp(text_of(user, "content"), question) && !strcmp(text_of(model, "content"), answer));
}

static void check_depth(const char *dir, const json_t *line, const vv_scene *s)
{
    const int64_t n = s->image.h * s->image.w;
    char path[900];
    vv_image m;
    vv_npy npy;
    double *depth = vv_calloc(n, sizeof *depth);
    ck_assert_str_eq(text_of(line, "kind"), "depth");
    snprintf(path, sizeof path, "%s/%s", dir, text_of(line, "image"));
    VVT_OK(vv_image_read(&m, path, err));
    ck_assert(memcmp(m.rgb, s->image.rgb, (size_t)(3 * n)) == 0);
    snprintf(path, sizeof path, "%s/%s", dir, text_of(line, "depth"));
    VVT_OK(vv_npy_open(&npy, path, err));
    ck_assert(npy.e.ndim == 2 && npy.e.shape[0] == s->image.h && npy.e.shape[1] == s->image.w);
    VVT_OK(vv_npy_read_f64(&npy, depth, err));
    int64_t bad = 0;
    for (int64_t i = 0; i < n; i++) bad += depth[i] != (double)s->depth[i];
    ck_assert_int_eq(bad, 0);
    read_grey(dir, text_of(line, "classes"), s->classes, 1, n);
    vv_npy_close(&npy);
    vv_image_free(&m);
    free(depth);
}

static json_t *line_of(const vv_lines *l, int64_t i)
{
    char where[VV_WHERE];
    json_t *o = NULL;
    VVT_OK(vv_lines_json(&o, l, i, "manifest", where, err));
    return o;
}

START_TEST(files)
{
    enum { FIRST = 3, COUNT = 40 }; /* more than a block */
    static const char *const name[4] = {"captions.jsonl", "vqa.jsonl", "depth.jsonl", "segmentation.jsonl"};
    const vv_synth_options o = options(14);
    char dir[600], path[900];
    snprintf(dir, sizeof dir, "%s", vvt_path("scenes"));
    VVT_OK(vv_synth_write(dir, &o, FIRST, COUNT, 0, err));
    vv_lines lines[4];
    int64_t at[4] = {0};
    for (int m = 0; m < 4; m++) {
        snprintf(path, sizeof path, "%s/%s", dir, name[m]);
        VVT_OK(vv_lines_read(&lines[m], path, err));
    }
    for (int64_t i = FIRST; i < FIRST + COUNT; i++) {
        vv_scene s;
        VVT_OK(vv_synth_scene(&s, &o, i, err));
        json_t *line = line_of(&lines[0], at[0]++);
        snprintf(path, sizeof path, "images/%06d.png", (int)i);
        ck_assert_str_eq(text_of(line, "image"), path);
        check_conversation(line, "Describe the picture.", s.caption, "caption");
        json_decref(line);
        for (int64_t k = 0; k < s.n_questions; k++, json_decref(line)) {
            line = line_of(&lines[1], at[1]++);
            check_conversation(line, s.question[k].question, s.question[k].answer, s.question[k].type);
        }
        line = line_of(&lines[2], at[2]++);
        check_depth(dir, line, &s);
        json_decref(line);
        line = line_of(&lines[3], at[3]++);
        const json_t *instances = json_object_get(line, "instances");
        ck_assert_uint_eq(json_array_size(instances), s.n_referring);
        for (int64_t k = 0; k < s.n_referring; k++) {
            const json_t *v = json_array_get(instances, (size_t)k);
            ck_assert_str_eq(text_of(v, "text"), s.referring[k].text);
            read_grey(dir, text_of(v, "mask"), s.object[s.referring[k].object].mask, 255, 32 * 32);
        }
        json_decref(line);
        vv_scene_free(&s);
    }
    for (int m = 0; m < 4; m++) {
        ck_assert_int_eq(at[m], lines[m].n);
        vv_lines_free(&lines[m]);
    }
    vv_error e = {0}, f = {0}, g = {0};
    vvt_expect_error(&e, vv_synth_write(dir, &o, 0, 1, 0, &e), VV_USAGE, "scenes", "exists", "--force", NULL);
    VVT_OK(vv_synth_write(dir, &o, 0, 1, 1, err));
    vvt_expect_error(&f, vv_synth_write(vvt_path("no/scenes"), &o, 0, 1, 0, &f), VV_FILE, "no/scenes", NULL);
    vvt_expect_error(&g, vv_synth_write(vvt_path("other"), &o, 0, 0, 0, &g), VV_USAGE, "at least one", NULL);
    clear(dir);
}
END_TEST

/* A file that cannot be written: the error names it, and no manifest appears. */
START_TEST(files_that_fail)
{
    const vv_synth_options o = options(15);
    char dir[600], path[900];
    snprintf(dir, sizeof dir, "%s", vvt_path("half"));
    VVT_OK(vv_synth_write(dir, &o, 0, 1, 0, err));
    snprintf(path, sizeof path, "%s/depth/000005.npy", dir);
    ck_assert(vv_dir_make(path, NULL) == VV_OK); /* a folder in its place */
    vv_error e = {0};
    vvt_expect_error(&e, vv_synth_write(dir, &o, 0, 9, 1, &e), VV_FILE, "000005.npy", "folder", NULL);
    DIR *d = opendir(dir);
    ck_assert_ptr_nonnull(d);
    for (struct dirent *f = readdir(d); f; f = readdir(d)) ck_assert_msg(!strstr(f->d_name, "jsonl"), "%s", f->d_name);
    closedir(d);
    rmdir(path);
    clear(dir);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("synth_files", &tc);
    tcase_add_test(tc, files);
    tcase_add_test(tc, files_that_fail);
    return s;
}
VVT_MAIN(suite)
