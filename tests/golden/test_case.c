/* The built-in cases: the same bytes every time and on any number of threads, as committed, complete, in the order of execution; what
 * a wrong case is told; what --resync does to a tower. */
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

#include "golden/case.h"
#include "golden/files.h"
#include "golden/manifest.h"
#include "io/file.h"

enum { NAMES = 64 };
static char names[NAMES][64];
static int n_names;

/* data/cases/<name>.json without the full-size ones; before any test runs, so nothing is asserted here */
static void find_cases(void)
{
    DIR *d = opendir(vvt_root("data/cases"));
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        const size_t len = strlen(e->d_name);
        if (len < 6 || strcmp(e->d_name + len - 5, ".json") || strstr(e->d_name, "-full")) continue;
        if (n_names < NAMES) snprintf(names[n_names++], sizeof names[0], "%.*s", (int)(len - 5), e->d_name);
    }
    if (d) closedir(d);
}

static const char *case_file(const char *name)
{
    char path[300];
    snprintf(path, sizeof path, "data/cases/%s.json", name);
    return vvt_root(path);
}

/* vvt_path(out), or out itself when it is absolute */
static const char *make_with(const char *name, const char *out, vv_golden_options o)
{
    o.out = vvt_path(out);
    VVT_OK(vv_golden_make(case_file(name), &o, err));
    return o.out;
}
static const char *make(const char *name, const char *out) { return make_with(name, out, (vv_golden_options){0}); }

/* case.json in the test's folder, and the micro configuration beside it */
static void write_case(const char *text)
{
    vv_map config;
    VVT_OK(vv_map_open(&config, vvt_root("data/configs/micro.json"), err));
    vvt_write("micro.json", config.data, (size_t)config.bytes);
    vv_map_close(&config);
    vvt_write("case.json", text, strlen(text));
}

static void same_file(const char *a, const char *b)
{
    vv_map x, y;
    VVT_OK(vv_map_open(&x, a, err));
    VVT_OK(vv_map_open(&y, b, err));
    ck_assert_msg(x.bytes == y.bytes && !memcmp(x.data, y.data, (size_t)x.bytes), "%s and %s differ", a, b);
    vv_map_close(&x);
    vv_map_close(&y);
}

START_TEST(there_are_cases) { ck_assert_int_ge(n_names, 8); }
END_TEST

START_TEST(same_bytes_again)
{
    const char *name = names[_i];
    const int threads = vvb_get_info()->threads;
    char first[300];
    vvb_init(1);
    snprintf(first, sizeof first, "%s", make(name, "first.safetensors"));
    same_file(first, make(name, "again.safetensors"));
    same_file(first, make_with(name, "checkpointed.safetensors", (vv_golden_options){.tape_flags = VV_CHECKPOINT}));
    vvb_init(3);
    same_file(first, make(name, "threads.safetensors"));
    vvb_init(threads);
}
END_TEST

/* The build that writes the committed files makes the same values; any build the same weights and inputs. */
START_TEST(as_committed)
{
    char path[160], other[300];
    snprintf(path, sizeof path, "golden/%s/golden.safetensors", names[_i]);
    if (access(vvt_root(path), F_OK)) return; /* a case that is only recorded */
    make(names[_i], "mine");
    vv_st *theirs = gf_open(vvt_root(path)), *ours = gf_open(vvt_path("mine/golden.safetensors"));
    const int exact = sizeof(vv_real) == 8 && !strcmp(VV_BLAS_NAME, "none");
    ck_assert_int_eq(vv_st_count(theirs), vv_st_count(ours));
    for (int64_t k = 0; k < vv_st_count(theirs); k++) {
        const char *key = vv_st_at(theirs, k)->name;
        if (exact || strstr(key, "/in/")) gf_same(theirs, ours, key);
        else ck_assert_int_eq(gf_at(ours, key)->n, vv_st_at(theirs, k)->n);
    }
    vv_st_close(theirs);
    vv_st_close(ours);
    snprintf(path, sizeof path, "golden/%s/model.safetensors", names[_i]);
    snprintf(other, sizeof other, "%s", vvt_root(path));
    if (access(other, F_OK) == 0) same_file(other, vvt_path("mine/model.safetensors"));
    else ck_assert_int_ne(access(vvt_path("mine/model.safetensors"), F_OK), 0);
    (void)remove(vvt_path("mine/model.safetensors")); /* of this case, not of the next */
}
END_TEST

/* ---- the index ------------------------------------------------------------------------------------------------------------ */
/* update, then place of a kind: states before forward before backward before steps. -1: a kind in any place */
static int stage_of(const char *key)
{
    static const char *const kinds[] = {"/w/", "/m/", "/v/", "/in/", "/act/", "/loss/", "/dact/", "/dw/", "/dstep/"};
    static const int stage[] = {0, 0, 0, 0, 1, 1, 2, 3, 4};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strstr(key, kinds[i])) return stage[i];
    return -1;
}

START_TEST(index_is_complete)
{
    vv_st *st = gf_open(make(names[_i], "x.safetensors"));
    json_t *index = gf_json(st, "index"), *kind = gf_json(st, "case");
    ck_assert_int_eq((int)json_array_size(index), (int)vv_st_count(st)); /* every tensor once */
    int outputs = 0;
    for (size_t i = 0; i < json_array_size(index); i++) {
        const json_t *e = json_array_get(index, i);
        const char *key = json_string_value(json_object_get(e, "key")),
                   *of = json_string_value(json_object_get(e, "of"));
        ck_assert_int_eq(gf_place(index, key), (int)i);
        (void)gf_at(st, key);
        ck_assert_msg(stage_of(key) >= 0 || strstr(key, "/alt/"), "%s: of no known kind", key);
        if (of) ck_assert_msg(gf_place(index, of) >= 0, "%s: of %s, which is not there", key, of);
        outputs += json_is_true(json_object_get(e, "output")) || strstr(key, "/loss/") || strstr(key, "/dstep/");
        /* an activation that has a gradient got it after it was made */
        char grad[300];
        const char *at = strstr(key, "/act/");
        if (!at) continue;
        snprintf(grad, sizeof grad, "%.*s/dact/%s", (int)(at - key), key, at + 5);
        ck_assert_msg(gf_place(index, grad) < 0 || gf_place(index, grad) > (int)i, "%s before its activation", grad);
    }
    ck_assert_int_gt(outputs, 0);
    json_decref(index);
    json_decref(kind);
    vv_st_close(st);
}
END_TEST

/* Within a tape: stages in turn, activations forward, gradients backward; every weight of a tower has a gradient. */
START_TEST(tower_in_order_of_execution)
{
    static const char *const order[] = {"in/image.0",
                                        "in/image.1",
                                        "in/grid_thw",
                                        "in/pixel_values",
                                        "in/cotangent",
                                        "act/visual.patch_embed",
                                        "act/visual.blocks.0.norm1",
                                        "act/visual.blocks.0.attn.qkv",
                                        "act/visual.blocks.0.attn.qkv#rotated",
                                        "act/visual.blocks.0.attn#context",
                                        "act/visual.blocks.0.attn#residual",
                                        "act/visual.blocks.0.norm2",
                                        "act/visual.blocks.0.mlp.fc1",
                                        "act/visual.blocks.0.mlp.act",
                                        "act/visual.blocks.0",
                                        "act/visual.blocks.1",
                                        "act/visual.blocks.2",
                                        "act/visual.merger.ln_q",
                                        "act/visual.merger.mlp.2",
                                        "loss/total",
                                        "dact/visual.merger.mlp.2",
                                        "dact/visual.blocks.2",
                                        "dact/visual.blocks.1",
                                        "dact/visual.blocks.0",
                                        "dact/visual.patch_embed",
                                        "dw/visual.patch_embed.proj.weight",
                                        "dw/visual.merger.mlp.2.bias"};
    make("tower-micro", "tower");
    vv_st *st = gf_open(vvt_path("tower/golden.safetensors")), *w = gf_open(vvt_path("tower/model.safetensors"));
    json_t *index = gf_json(st, "index");
    int last = -1;
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        char key[128];
        snprintf(key, sizeof key, "u1/vision/%s", order[i]);
        const int at = gf_place(index, key);
        ck_assert_msg(at > last, "%s: expected behind %s", key, order[i ? i - 1 : 0]);
        last = at;
    }
    int stage = 0;
    for (size_t i = 0; i < json_array_size(index); i++) {
        const int s = stage_of(json_string_value(json_object_get(json_array_get(index, i), "key")));
        ck_assert_int_ge(s, stage);
        stage = s;
    }
    for (int64_t i = 0; i < vv_st_count(w); i++) {
        char key[300];
        snprintf(key, sizeof key, "u1/vision/dw/%s", vv_st_at(w, i)->name);
        ck_assert_int_eq(json_is_true(json_object_get(gf_entry(index, key), "required")), 1);
        ck_assert_int_eq(vv_st_at(w, i)->dtype, VV_DT_F32);
        snprintf(key, sizeof key, "u1/vision/w/%s", vv_st_at(w, i)->name);
        ck_assert_int_lt(gf_place(index, key), 0); /* in a folder weights are in their own file only */
    }
    json_decref(index);
    vv_st_close(st);
    /* in a single file they are in it */
    st = gf_open(make("tower-micro", "tower.safetensors"));
    for (int64_t i = 0; i < vv_st_count(w); i++) {
        char key[300];
        snprintf(key, sizeof key, "u1/vision/w/%s", vv_st_at(w, i)->name);
        const vv_st_entry *a = gf_at(st, key), *b = vv_st_at(w, i);
        ck_assert_int_eq(memcmp(a->data, b->data, (size_t)b->bytes), 0);
    }
    vv_st_close(st);
    vv_st_close(w);
}
END_TEST

/* ---- weights, emulation, resync -------------------------------------------------------------------------------------------- */
START_TEST(outlier_rows)
{
    json_t *root = NULL;
    VVT_OK(vv_json_load(&root, case_file("tower-outliers"), 1 << 20, err));
    json_object_set_new(root, "config", json_string("micro.json"));
    for (int plain = 0; plain < 2; plain++) {
        if (plain) json_object_del(root, "outliers");
        char *text = vv_json_text(root, 0);
        write_case(text);
        free(text);
        const vv_golden_options o = {.out = vvt_path(plain ? "plain" : "stretched")};
        VVT_OK(vv_golden_make(vvt_path("case.json"), &o, err));
    }
    vv_st *a = gf_open(vvt_path("stretched/model.safetensors")), *b = gf_open(vvt_path("plain/model.safetensors"));
    double *x = gf_values(a, "visual.blocks.1.mlp.fc2.weight"), *y = gf_values(b, "visual.blocks.1.mlp.fc2.weight");
    for (int row = 0; row < 16; row++)
        for (int i = 0; i < 64; i++)
            ck_assert_double_eq(x[64 * row + i], (float)(y[64 * row + i] * (row == 3 || row == 13 ? 30 : 1)));
    gf_same(a, b, "visual.blocks.1.mlp.fc1.weight");
    free(x);
    free(y);
    vv_st_close(a);
    vv_st_close(b);
    json_decref(root);
}
END_TEST

static double distance(const vv_st *a, const vv_st *b, const char *key)
{
    double *x = gf_values(a, key), *y = gf_values(b, key), d = 0, r = 0;
    const int64_t n = gf_at(a, key)->n;
    ck_assert_int_eq(gf_at(b, key)->n, n);
    for (int64_t i = 0; i < n; i++) {
        d += (x[i] - y[i]) * (x[i] - y[i]);
        r += x[i] * x[i];
    }
    free(x);
    free(y);
    return sqrt(d / r);
}

START_TEST(emulated_precision)
{
    static const double unit[] = {0, 0x1p-11, 0x1p-8, 0x1p-11};
    vv_st *plain = gf_open(make("tower-micro", "full.safetensors"));
    for (int p = VVB_TF32; p <= VVB_FP16; p++)
        for (int where = VVB_OPERANDS; where <= VVB_BOTH; where++) {
            const vv_golden_options o = {.precision = (vvb_precision)p, .placement = (vvb_placement)where};
            vv_st *st = gf_open(make_with("tower-micro", "less.safetensors", o));
            ck_assert_str_eq(vv_st_metadata(st, "emulated"), p == VVB_TF32 ? "tf32" : p == VVB_BF16 ? "bf16" : "fp16");
            ck_assert_str_eq(vv_st_metadata(st, "placement"), where == 1   ? "operands"
                                                              : where == 2 ? "outputs"
                                                                           : "both");
            const double d = distance(plain, st, "u1/vision/act/visual.blocks.1");
            ck_assert_msg(d > 0.1 * unit[p] && d < 20 * unit[p], "precision %d, placement %d: %.2e", p, where, d);
            gf_same(plain, st, "u1/vision/in/pixel_values");
            vv_st_close(st);
        }
    vv_st *after = gf_open(make("tower-micro", "after.safetensors")); /* it does not outlive the case */
    gf_same(plain, after, "u1/vision/act/visual.blocks.2");
    vv_st_close(after);
    vv_st_close(plain);
}
END_TEST

/* Against a golden file whose patch embedding is doubled: it is recorded as it is, what reads it directly moves, and what only reads
 * later golden values does not. */
START_TEST(resync)
{
    gf_scaled_copy(make("tower-micro", "golden.safetensors"), vvt_path("doubled.safetensors"),
                   "u1/vision/act/visual.patch_embed", 2);
    const vv_golden_options o = {.resync = vvt_path("doubled.safetensors")};
    vv_st *golden = gf_open(vvt_path("golden.safetensors")),
          *st = gf_open(make_with("tower-micro", "synced.safetensors", o));
    static const char *const stays[] = {
        "act/visual.patch_embed",       "act/visual.blocks.0.attn.qkv", "act/visual.blocks.0",
        "act/visual.blocks.1.attn.qkv", "act/visual.merger.mlp.2",      "loss/total",
        "dact/visual.blocks.2",         "dact/visual.blocks.0.mlp.fc1", "dw/visual.blocks.1.mlp.fc1.weight"};
    for (size_t i = 0; i < sizeof stays / sizeof *stays; i++) {
        char key[128];
        snprintf(key, sizeof key, "u1/vision/%s", stays[i]);
        gf_same(golden, st, key);
    }
    ck_assert_double_gt(distance(golden, st, "u1/vision/act/visual.blocks.0.attn#residual"), 0.1);
    vv_error err = {0};
    const vv_golden_options both = {
        .out = vvt_path("never"), .resync = vvt_path("golden.safetensors"), .tape_flags = VV_CHECKPOINT};
    vvt_expect_error(&err, vv_golden_make(case_file("tower-micro"), &both, &err), VV_USAGE, "resync", (char *)NULL);
    err = (vv_error){0};
    const vv_golden_options other = {.out = vvt_path("never"), .resync = vvt_path("golden.safetensors")};
    vvt_expect_error(&err, vv_golden_make(case_file("tower-one"), &other, &err), VV_FILE, "golden.safetensors",
                     "expected shape", (char *)NULL);
    ck_assert_int_ne(access(vvt_path("never"), F_OK), 0);
    vv_st_close(golden);
    vv_st_close(st);
}
END_TEST

/* ---- what is refused --------------------------------------------------------------------------------------------------------- */
static void refuse(const char *text, const char *a, const char *b)
{
    vv_error err = {0};
    write_case(text);
    const vv_golden_options o = {.out = vvt_path("never")};
    vvt_expect_error(&err, vv_golden_make(vvt_path("case.json"), &o, &err), VV_FILE, "case.json", a, b, (char *)NULL);
    ck_assert_msg(access(vvt_path("never"), F_OK) != 0, "a folder for: %s", text);
}

START_TEST(wrong_cases)
{
    refuse("{\"config\": \"micro.json\"}", "kind", "found nothing");
    refuse("{\"kind\": \"towers\"}", "kind", "\"towers\"");
    refuse("{\"kind\": \"tower\", \"config\": \"micro.json\", \"sed\": 1, \"pictures\": [[28,28]]}", "sed", "seed");
    refuse("{\"kind\": \"tower\", \"pictures\": [[28,28]]}", "config and model", "neither");
    refuse("{\"kind\": \"tower\", \"config\": \"micro.json\", \"model\": \"x\"}", "config and model", "both");
    refuse("{\"kind\": \"tower\", \"config\": \"micro.json\"}", "pictures", "found none");
    refuse("{\"kind\": \"tower\", \"config\": \"micro.json\", \"pictures\": [[28]]}", "pictures[0]", "[height, width]");
    refuse("{\"kind\": \"tower\", \"config\": \"micro.json\", \"pictures\": [[28,28],[0,28]]}", "pictures[1]",
           "[height, width]");
    refuse("{\"kind\": \"tower\", \"config\": \"micro.json\", \"pictures\": [[28,28]], \"tap\": 3}", "tap", "2");
    refuse("{\"kind\": \"tower\", \"config\": \"micro.json\", \"outliers\": [{\"name\": \"fc3\", \"factor\": 2}]}",
           "outliers[0]", "fc3");
    refuse("{\"kind\": \"tower\", \"config\": \"micro.json\", \"outliers\": [{\"name\": \"fc2\", \"rows\": [3, 3, 1], "
           "\"factor\": 2}]}",
           "outliers[0]", "rows");
    refuse("{\"kind\": \"pixels\", \"config\": \"micro.json\", \"pictures\": [[28,28]]}", "pixels", "no model");
    refuse("{\"kind\": \"pixels\", \"pictures\": []}", "pictures", "found none");
    refuse("{\"kind\": \"layers\"}", "layers", "found nothing");
    refuse("{\"kind\": \"layers\", \"layers\": [{\"op\": \"lineal\"}]}", "layers[0]", "lineal");
    refuse("{\"kind\": \"layers\", \"layers\": [{\"op\": \"relu\", \"x\": [2]}, {\"op\": \"relu\"}]}", "layers[1]",
           "x");
    refuse("{\"kind\": \"layers\", \"layers\": [{\"op\": \"relu\", \"x\": [0]}]}", "layers[0]", "shape");
    refuse("{\"kind\": \"layers\", \"layers\": [{\"op\": \"relu\", \"x\": [2], \"eps\": 1}]}", "layers[0]", "eps");
    refuse("{\"kind\": \"layers\", \"layers\": [{\"op\": \"relu\", \"x\": [2], \"values\": {\"x\": [1]}}]}",
           "values: x", "expected 2 numbers");
    refuse("{\"kind\": \"losses\", \"losses\": [{\"name\": \"a\", \"loss\": \"depth\", \"shape\": [2, 1, 3], "
           "\"known\": [1]}]}",
           "known", "one for each map");
    refuse("{\"kind\": \"layers\", \"layers\": [{\"op\": \"rmsnorm\", \"x\": [2], \"weight\": [2]}]}", "layers[0]",
           "eps");
    refuse("{\"kind\": \"layers\", \"layers\": [{\"op\": \"linear_cross_entropy\", \"x\": [2, 3], \"weight\": [4, 3], "
           "\"target\": [1], "
           "\"weights\": [1, 1]}]}",
           "target", "expected 2 numbers");
}
END_TEST

START_TEST(wrong_places)
{
    vv_error err = {0};
    vv_golden_options o = {.out = vvt_path("never")};
    vvt_expect_error(&err, vv_golden_make(vvt_path("none.json"), &o, &err), VV_FILE, "none.json", (char *)NULL);
    err = (vv_error){0};
    o.out = vvt_path("no/never");
    vvt_expect_error(&err, vv_golden_make(case_file("tower-one"), &o, &err), VV_FILE, "no/never", (char *)NULL);
    err = (vv_error){0};
    o.out = vvt_path("no/never.safetensors");
    vvt_expect_error(&err, vv_golden_make(case_file("tower-one"), &o, &err), VV_FILE, "no/never", (char *)NULL);
    err = (vv_error){0}; /* a folder stands where the weights belong: the golden file does not appear either */
    ck_assert_int_eq(mkdir(vvt_path("half"), 0777) | mkdir(vvt_path("half/model.safetensors"), 0777), 0);
    o.out = vvt_path("half");
    vvt_expect_error(&err, vv_golden_make(case_file("tower-one"), &o, &err), VV_FILE, "model.safetensors",
                     (char *)NULL);
    ck_assert_int_ne(access(vvt_path("half/golden.safetensors"), F_OK), 0);
    err = (vv_error){0}; /* and the other way round: nothing but the folder that was in the way */
    ck_assert_int_eq(mkdir(vvt_path("other"), 0777) | mkdir(vvt_path("other/golden.safetensors"), 0777), 0);
    o.out = vvt_path("other");
    vvt_expect_error(&err, vv_golden_make(case_file("tower-one"), &o, &err), VV_FILE, "golden.safetensors",
                     (char *)NULL);
    ck_assert_int_eq(gf_count(vvt_path("other")), 1);
    (void)rmdir(vvt_path("half/model.safetensors"));
    (void)rmdir(vvt_path("other/golden.safetensors"));
}
END_TEST

/* ---- the manifest ------------------------------------------------------------------------------------------------------------ */
START_TEST(manifest)
{
    json_t *root = NULL;
    const json_t *cases = NULL;
    ck_assert_int_eq(mkdir(vvt_path("all"), 0777) | mkdir(vvt_path("all/empty"), 0777), 0);
    make("tower-one", "all/one");
    make("layers", "all/layers");
    VVT_OK(vv_manifest_write(vvt_path("all"), err));
    VVT_OK(vv_manifest_load(&root, &cases, vvt_path("all"), err));
    ck_assert_int_eq((int)json_array_size(cases), 2);
    const json_t *one = json_array_get(cases, 1);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(cases, 0), "name")), "layers");
    ck_assert_str_eq(json_string_value(json_object_get(one, "name")), "one");
    ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(one, "about")), "one pixel"));
    ck_assert_str_eq(json_string_value(json_array_get(json_object_get(one, "tasks"), 0)), "u1/vision");
    vv_map map;
    char hex[65];
    VVT_OK(vv_map_open(&map, vvt_path("all/one/golden.safetensors"), err));
    vv_sha256(map.data, (size_t)map.bytes, hex);
    ck_assert_str_eq(json_string_value(json_object_get(one, "sha256")), hex);
    ck_assert_int_eq(json_integer_value(json_object_get(one, "bytes")), map.bytes);
    vv_map_close(&map);
    json_decref(root);
    vv_error err = {0};
    vvt_expect_error(&err, vv_manifest_write(vvt_path("nowhere"), &err), VV_FILE, "nowhere", (char *)NULL);
    err = (vv_error){0};
    vvt_write("manifest.json", "{\"cases\": [{\"name\": \"a\"}]}", 26);
    vvt_expect_error(&err, vv_manifest_load(&root, &cases, vvt_tmpdir(), &err), VV_FILE, "manifest.json", "about",
                     (char *)NULL);
}
END_TEST

/* Numbers given for an operand are taken, and a ReLU at exactly 0 lets nothing back, to a parameter or to an activation. */
START_TEST(layers_of_given_values)
{
    static const double x[4] = {0, -1.5, 2, -0.0};
    write_case("{\"kind\": \"layers\", \"layers\": [{\"op\": \"relu\", \"x\": [2, 2], \"values\": {\"x\": [0, -1.5, 2, "
               "-0.0]}},"
               "{\"op\": \"relu\", \"x\": [2, 2], \"values\": {\"x\": [0, -1.5, 2, -0.0]}, \"activation\": true}]}");
    const vv_golden_options o = {.out = vvt_path("given.safetensors")};
    VVT_OK(vv_golden_make(vvt_path("case.json"), &o, err));
    vv_st *st = gf_open(o.out);
    for (int k = 0; k < 2; k++) {
        char key[4][60];
        snprintf(key[0], sizeof key[0], "u1/layers/in/relu.%d.x", k);
        snprintf(key[1], sizeof key[1], "u1/layers/in/relu.%d.cotangent", k);
        snprintf(key[2], sizeof key[2], "u1/layers/act/relu.%d.y", k);
        snprintf(key[3], sizeof key[3], "u1/layers/dact/relu.%d.x", k);
        double *in = gf_values(st, key[0]), *c = gf_values(st, key[1]), *y = gf_values(st, key[2]),
               *dx = gf_values(st, key[3]);
        for (int i = 0; i < 4; i++) {
            ck_assert(in[i] == x[i] && y[i] == (x[i] > 0 ? x[i] : 0));
            ck_assert(dx[i] == (x[i] > 0 ? c[i] : 0) && c[i] != 0);
        }
        free(in), free(c), free(y), free(dx);
    }
    vv_st_close(st);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("case", &tc);
    find_cases();
    tcase_add_test(tc, there_are_cases);
    tcase_add_loop_test(tc, same_bytes_again, 0, n_names);
    tcase_add_loop_test(tc, as_committed, 0, n_names);
    tcase_add_loop_test(tc, index_is_complete, 0, n_names);
    tcase_add_test(tc, tower_in_order_of_execution);
    tcase_add_test(tc, outlier_rows);
    tcase_add_test(tc, emulated_precision);
    tcase_add_test(tc, resync);
    tcase_add_test(tc, layers_of_given_values);
    tcase_add_test(tc, wrong_cases);
    tcase_add_test(tc, wrong_places);
    tcase_add_test(tc, manifest);
    return s;
}
VVT_MAIN(suite)
