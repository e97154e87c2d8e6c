/* What goes wrong in a run: numbers, disks, folders, damaged and other files. */
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "runs.h"

START_TEST(test_refused)
{
    int stopped;
    vv_error why = {0};
    json_t *root = vvt_micro();
    vvt_stages(root, 0, 1);
    char *config = vvt_config(root, "refused"), *out = vv_strdup(vvt_path("refused"));
    VVT_OK(run(config, out, 0, 2, &stopped, err));
    vv_status s = run(config, out, 0, 0, &stopped, &why); /* a run is there */
    vvt_expect_error(&why, s, VV_FILE, "run.json", "--resume", NULL);
    free(config);
    root = vvt_micro();
    vvt_stages(root, 0, 1);
    vvt_set(root, "train.stages[1].lr.model", "2e-3");
    config = vvt_config(root, "refused");
    why = (vv_error){0};
    s = run(config, out, 1, 0, &stopped, &why);
    vvt_expect_error(&why, s, VV_FILE, "run.json", "train.stages[1].lr.model", NULL);
    free(config);
    root = vvt_micro();
    vvt_set(root, "train.devices", "2");
    config = vvt_config(root, "refused");
    why = (vv_error){0};
    s = run(config, out, 1, 0, &stopped, &why);
    vvt_expect_error(&why, s, VV_USAGE, "devices", NULL);
    free(config);
    free(out);
}
END_TEST

/* Rates that blow the weights up: the run stops with the update and the place, and the checkpoint before is whole. */
START_TEST(test_not_finite)
{
    json_t *root = vvt_micro();
    vvt_stages(root, 0, 0);
    vvt_set(root, "train.stages[0].updates", "9");
    vvt_set(root, "train.stages[0].save_every", "1");
    vvt_set(root, "train.stages[0].keep_last", "0");
    vvt_set(root, "train.stages[0].lr", "{\"visual\": 1e3, \"projector\": 1e3, \"model\": 1e3}");
    vvt_set(root, "train.stages[0].optimizer.weight_decay", "1e3"); /* p (1 - 1e6) in each update */
    char *config = vvt_config(root, "explodes"), *out = vv_strdup(vvt_path("explodes"));
    vv_error why = {0};
    int stopped;
    const vv_status s = run(config, out, 0, 0, &stopped, &why);
    vvt_expect_error(&why, s, VV_NONFINITE, "stage stage0, update", "not finite", NULL);
    ck_assert(!there(out, "stage0/model"));
    char *folder = inside(out, "stage0");
    int64_t newest;
    VVT_OK(vv_checkpoint_newest(folder, &newest, err));
    ck_assert_int_ge(newest, 1);
    char place[40];
    snprintf(place, sizeof place, "update %d:", (int)newest + 1);
    ck_assert_msg(strstr(why.msg, place) != NULL, "%s after checkpoint %d", why.msg, (int)newest);
    free(folder);
    free(config);
    free(out);
}
END_TEST

/* A disk that takes no more: a message with the file, the checkpoint before untouched, nothing half-done left. */
START_TEST(test_full_disk)
{
    json_t *root = vvt_micro();
    vvt_stages(root, 0, 0);
    vvt_set(root, "train.stages[0].save_every", "1");
    char *config = vvt_config(root, "full"), *out = vv_strdup(vvt_path("full"));
    vv_error why = {0};
    int stopped;
    VVT_OK(run(config, out, 0, 1, &stopped, err));
    struct rlimit before, little;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    little = before;
    little.rlim_cur = 100000; /* less than the weights */
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &little), 0);
    const vv_status s = run(config, out, 1, 0, &stopped, &why);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    vvt_expect_error(&why, s, VV_FILE, "model.safetensors", "cannot be written", NULL);
    char *folder = inside(out, "stage0");
    int n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(d);
    ck_assert_int_eq(n, 1);                        /* checkpoint-1 alone */
    VVT_OK(run(config, out, 1, 0, &stopped, err)); /* with room again it goes on */
    ck_assert(there(out, "stage0/model"));
    free(folder);
    free(config);
    free(out);
}
END_TEST

START_TEST(test_unwritable)
{
    vv_error why = {0};
    int stopped;
    char *config = vvt_config(vvt_micro(), "unwritable"), *out = vv_strdup(vvt_write("a file", "", 0));
    vv_status s = run(config, out, 0, 0, &stopped, &why);
    vvt_expect_error(&why, s, VV_FILE, "a file", NULL);
    free(out);
    out = vv_strdup(vvt_path("no/such"));
    why = (vv_error){0};
    s = run(config, out, 0, 0, &stopped, &why);
    vvt_expect_error(&why, s, VV_FILE, "no/such", NULL);
    free(out);
    out = vv_strdup(vvt_path("full log")); /* a log that takes nothing */
    ck_assert_int_eq(mkdir(out, 0777), 0);
    char *log = inside(out, "log.jsonl");
    if (symlink("/dev/full", log) == 0 && access("/dev/full", W_OK) == 0) {
        why = (vv_error){0};
        s = run(config, out, 0, 0, &stopped, &why);
        ck_assert_int_eq(s, VV_FILE);
        ck_assert_msg(strstr(why.msg, "log.jsonl") != NULL, "%s", why.msg);
    }
    free(log);
    free(out);
    free(config);
}
END_TEST

/* Damaged checkpoints are told by file and field. */
START_TEST(test_damaged)
{
    static const struct {
        const char *file, *text, *word;
    } cases[] = {
        {"trainer_state.json", "{\"stage\": \"stage1\", \"update\": 1}", "stage1"},
        {"trainer_state.json", "{\"stage\": \"stage0\", \"update\": 2, \"draws\": {\"caption\": 8}}", "update"},
        {"trainer_state.json", "{\"stage\": \"stage0\", \"update\": 1, \"draws\": {\"caption\": 9}}", "draws"},
        {"trainer_state.json", "{\"stage\": \"stage0\", \"update\": 1, \"draws\": {\"caption\": 4}, \"config\": \"0\"}",
         "configuration"},
        {"optimizer.safetensors", "", "optimizer.safetensors"},
        {"model.safetensors", "junk", "model.safetensors"},
    };
    json_t *root = vvt_micro();
    vvt_stages(root, 0, 0);
    char *config = vvt_config(root, "damaged"), *out = vv_strdup(vvt_path("damaged"));
    int stopped;
    VVT_OK(run(config, out, 0, 1, &stopped, err));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *name = vv_asprintf("stage0/checkpoint-1/%s", cases[i].file), *path = inside(out, name);
        size_t n;
        char *kept = read_all(out, name, &n);
        FILE *f = fopen(path, "wb");
        fputs(cases[i].text, f);
        fclose(f);
        vv_error why = {0};
        const vv_status s = run(config, out, 1, 0, &stopped, &why);
        vvt_expect_error(&why, s, VV_FILE, "checkpoint-1", cases[i].word, NULL);
        f = fopen(path, "wb");
        fwrite(kept, 1, n, f);
        fclose(f);
        free(kept);
        free(name);
        free(path);
    }
    VVT_OK(run(config, out, 1, 0, &stopped, err));
    free(config);
    free(out);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("train/trouble", &tc);
    tcase_add_test(tc, test_refused);
    tcase_add_test(tc, test_not_finite);
    tcase_add_test(tc, test_full_disk);
    tcase_add_test(tc, test_unwritable);
    tcase_add_test(tc, test_damaged);
    return s;
}

VVT_MAIN(suite)
