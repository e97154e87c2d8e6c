/* Recordings of the built-in cases: the same bytes every time, with and without checkpointing, and as committed. */
#include <dirent.h>

#include "golden/recordings.h"
#include "golden/tower.h"
#include "io/file.h"

/* the names of data/cases/<name>.json that are cases: those with pictures */
static int each_case(int want, char *name, size_t size)
{
    DIR *d = opendir(vvt_root("data/cases"));
    ck_assert_ptr_nonnull(d);
    int n = 0;
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        const size_t len = strlen(e->d_name);
        if (strncmp(e->d_name, "tower-", 6) || len < 6 || strcmp(e->d_name + len - 5, ".json")) continue;
        char path[300];
        json_t *root = NULL;
        snprintf(path, sizeof path, "data/cases/%s", e->d_name);
        VVT_OK(vv_json_load(&root, vvt_root(path), 1 << 20, err));
        const int is_case = json_object_get(root, "pictures") != NULL;
        json_decref(root);
        if (is_case && n++ == want) snprintf(name, size, "%.*s", (int)(len - 5), e->d_name);
    }
    closedir(d);
    return n;
}

static const char *make(const char *name, const char *out, int flags)
{
    char path[300];
    snprintf(path, sizeof path, "data/cases/%s.json", name);
    VVT_OK(vv_golden_make(vvt_root(path), vvt_path(out), flags, err));
    return vvt_path(out);
}

static void same_as_first(const char *path)
{
    vv_map x, y;
    VVT_OK(vv_map_open(&x, vvt_path("first"), err));
    VVT_OK(vv_map_open(&y, path, err));
    ck_assert_int_eq(x.bytes, y.bytes);
    ck_assert_int_gt(x.bytes, 100000);
    ck_assert_msg(memcmp(x.data, y.data, (size_t)x.bytes) == 0, "%s differs", path);
    vv_map_close(&x);
    vv_map_close(&y);
}

START_TEST(same_bytes_again)
{
    char name[64];
    const int n = each_case(-1, name, sizeof name), threads = vvb_get_info()->threads;
    ck_assert_int_ge(n, 2);
    for (int i = 0; i < n; i++) {
        each_case(i, name, sizeof name);
        make(name, "first", 0);
        same_as_first(make(name, "again", 0));
        same_as_first(make(name, "checkpointed", VV_CHECKPOINT));
        vvb_init(3);
        same_as_first(make(name, "threads", 0));
        vvb_init(threads);
    }
}
END_TEST

/* The committed file: this build stands within its limits, and the build that writes such files makes the same values. */
START_TEST(as_committed)
{
    char name[64], path[128];
    for (int i = 0; i < each_case(i, name, sizeof name); i++) {
        snprintf(path, sizeof path, "golden/%s.safetensors", name);
        FILE *f = fopen(vvt_root(path), "rb");
        if (!f) continue; /* a case that is only recorded */
        fclose(f);
        rec_told told = {.used = 0};
        vv_compare_summary sum;
        make(name, "mine", 0);
        const vv_compare_options o = {.limit = -1};
        vv_error why = {0};
        const vv_status s = vv_compare(vvt_root(path), vvt_path("mine"), &o, rec_tell, &told, &sum, &why);
        ck_assert_msg(s == VV_OK, "%s: status %d %s, first %s, at most %.1f floors", name, (int)s, why.msg, sum.first,
                      told.most);
        ck_assert_int_gt(sum.tensors, 100);
        ck_assert_int_eq(sum.absent + sum.extra, 0);
        if (sizeof(vv_real) != 8 || strcmp(VV_BLAS_NAME, "none")) continue;
        vv_st *theirs = NULL, *ours = NULL;
        VVT_OK(vv_st_open(&theirs, vvt_root(path), err));
        VVT_OK(vv_st_open(&ours, vvt_path("mine"), err));
        ck_assert_int_eq(vv_st_count(theirs), vv_st_count(ours));
        for (int64_t k = 0; k < vv_st_count(theirs); k++) {
            const vv_st_entry *a = vv_st_at(theirs, k), *b = vv_st_at(ours, k);
            ck_assert_str_eq(a->name, b->name);
            ck_assert_msg(a->bytes == b->bytes && !memcmp(a->data, b->data, (size_t)a->bytes),
                          "%s: %s is not the same bytes", name, a->name);
        }
        vv_st_close(theirs);
        vv_st_close(ours);
    }
}
END_TEST

/* ---- the index ----------------------------------------------------------------------------------------------------------- */
static int place(const json_t *index, const char *key)
{
    size_t i;
    json_t *e;
    json_array_foreach((json_t *)index, i,
                       e) if (!strcmp(json_string_value(json_object_get(e, "key")), key)) return (int)i;
    ck_abort_msg("%s is not in the index", key);
    return -1;
}

static void expect_entry(const json_t *index, const char *key, const char *class, int required)
{
    const json_t *e = json_array_get(index, (size_t)place(index, key));
    ck_assert_str_eq(json_string_value(json_object_get(e, "class")), class);
    ck_assert_int_eq(json_is_true(json_object_get(e, "required")), required);
}

START_TEST(index_in_order_of_execution)
{
    vv_st *st = NULL;
    VVT_OK(vv_st_open(&st, make("tower-micro", "mine", 0), err));
    ck_assert_str_eq(vv_st_metadata(st, "versavit_golden"), "1");
    ck_assert_str_eq(vv_st_metadata(st, "precision"), VV_REAL_NAME);
    ck_assert_str_eq(vv_st_metadata(st, "tap"), "1");
    json_t *index = json_loads(vv_st_metadata(st, "index"), 0, NULL);
    ck_assert_int_eq((int)json_array_size(index), (int)vv_st_count(st)); /* every tensor once */
    static const char *const order[] = {"in/image.0",
                                        "in/image.1",
                                        "in/grid_thw",
                                        "w/visual.patch_embed.proj.weight",
                                        "w/visual.merger.mlp.2.bias",
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
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        char key[2][128];
        snprintf(key[0], sizeof key[0], "u1/vision/%s", order[i ? i - 1 : 0]);
        snprintf(key[1], sizeof key[1], "u1/vision/%s", order[i]);
        ck_assert_msg(i == 0 || place(index, key[0]) < place(index, key[1]), "%s does not come before %s", key[0],
                      key[1]);
    }
    expect_entry(index, "u1/vision/in/pixel_values", "EXACT", 1);
    expect_entry(index, "u1/vision/w/visual.merger.mlp.0.weight", "EXACT", 1);
    expect_entry(index, "u1/vision/act/visual.blocks.1", "CHAIN", 1);
    expect_entry(index, "u1/vision/act/visual.blocks.1.attn#context", "CHAIN", 0);
    expect_entry(index, "u1/vision/dact/visual.blocks.1", "CHAIN", 0);
    expect_entry(index, "u1/vision/dw/visual.blocks.1.mlp.fc1.bias", "CHAIN", 1);
    expect_entry(index, "u1/vision/loss/total", "CHAIN", 1);
    json_decref(index);
    vv_st_close(st);
}
END_TEST

/* ---- what is refused --------------------------------------------------------------------------------------------------------- */
static void refuse(const char *text, const char *a, const char *b)
{
    vv_error err = {0};
    vv_map config;
    ck_assert_int_eq(vv_map_open(&config, vvt_root("data/configs/micro.json"), &err), VV_OK);
    vvt_write("micro.json", config.data, (size_t)config.bytes);
    vv_map_close(&config);
    vvt_write("case.json", text, strlen(text));
    vvt_expect_error(&err, vv_golden_make(vvt_path("case.json"), vvt_path("never"), 0, &err), VV_FILE, "case.json", a,
                     b, (char *)NULL);
    FILE *f = fopen(vvt_path("never"), "rb");
    ck_assert_ptr_null(f);
}

START_TEST(wrong_cases)
{
    refuse("{\"config\": \"micro.json\", \"sed\": 1, \"pictures\": [[28,28]]}", "sed", "seed");
    refuse("{\"pictures\": [[28,28]], \"comment\": \"micro.json\"}", "config", "found");
    refuse("{\"config\": \"micro.json\"}", "pictures", "found none");
    refuse("{\"config\": \"micro.json\", \"pictures\": [[28]]}", "pictures[0]", "[height, width]");
    refuse("{\"config\": \"micro.json\", \"pictures\": [[28,28],[0,28]]}", "pictures[1]", "[height, width]");
    refuse("{\"config\": \"micro.json\", \"pictures\": [[28,28]], \"tap\": 3}", "tap", "2");
    vv_error err = {0};
    vvt_expect_error(&err, vv_golden_make(vvt_path("none.json"), vvt_path("never"), 0, &err), VV_FILE, "none.json",
                     (char *)NULL);
    err = (vv_error){0};
    vvt_expect_error(&err, vv_golden_make(vvt_root("data/cases/tower-micro.json"), vvt_path("no/never"), 0, &err),
                     VV_FILE, "no/never", (char *)NULL);
    err = (vv_error){0}; /* inputs that are not there */
    vvt_expect_error(&err,
                     vv_golden_record(vvt_root("golden/torch/micro"), vvt_root("golden/torch/micro/model.safetensors"),
                                      0, vvt_path("never"), &err),
                     VV_FILE, "model.safetensors", "in/grid_thw", "expected this input", (char *)NULL);
    err = (vv_error){0}; /* of another model: the cotangents have other sizes */
    vvt_expect_error(&err,
                     vv_golden_record(vvt_root("golden/torch/odd"),
                                      vvt_root("golden/torch/micro/recording.safetensors"), 1, vvt_path("never"), &err),
                     VV_FILE, "recording.safetensors", "expected", "numbers", (char *)NULL);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("golden", &tc);
    tcase_add_test(tc, same_bytes_again);
    tcase_add_test(tc, as_committed);
    tcase_add_test(tc, index_in_order_of_execution);
    tcase_add_test(tc, wrong_cases);
    return s;
}
VVT_MAIN(suite)
