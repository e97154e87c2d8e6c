/* The command: killed at random moments, asked to end, watched. Needs the environment variable VERSAVIT, its path.
 * VVT_KILLS=50 kills more often than the usual 4 times; VVT_SEED=N at other moments. */
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "base/rng.h"
#include "runs.h"

static const char *command(void) { return getenv("VERSAVIT"); }

static void pause_for(double seconds)
{
    const struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* starts versavit with these arguments, its stderr in the file `says` */
static pid_t start(const char *const *args)
{
    const char *argv[24] = {command()};
    int n = 1;
    while (*args) argv[n++] = *args++;
    const char *says = vvt_path("says");
    const pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        const int to = open(says, O_WRONLY | O_CREAT | O_TRUNC, 0666), nothing = open("/dev/null", O_WRONLY);
        dup2(to, 2);
        dup2(nothing, 1);
        execv(argv[0], (char *const *)argv);
        _exit(127);
    }
    return child;
}

static const char *said(void)
{
    static char text[4000];
    FILE *f = fopen(vvt_path("says"), "r");
    text[f ? fread(text, 1, sizeof text - 1, f) : 0] = 0;
    if (f) fclose(f);
    return text;
}

/* the exit status; after `patience` seconds (0: for ever) a signal, and then 128 + n when it ended the process */
static int finish(pid_t child, double patience, int sig)
{
    int status;
    const double until = now() + patience;
    while (waitpid(child, &status, patience > 0 ? WNOHANG : 0) == 0) {
        if (now() >= until) {
            kill(child, sig);
            patience = 0;
        } else {
            pause_for(1e-3);
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int call(const char *const *args) { return finish(start(args), 0, 0); }

/* one update that makes a text encoder, then 20 of all three tasks with a checkpoint after every third and held-out losses after every
 * fourth */
static char *twenty(void)
{
    json_t *root = vvt_micro();
    vvt_stages(root, 0, 3);
    json_t *list = json_object_get(json_object_get(root, "train"), "stages");
    json_array_remove(list, 2);
    json_array_remove(list, 1);
    vvt_set(root, "train.stages[0].updates", "1");
    vvt_set(root, "train.stages[1].updates", "20");
    vvt_set(root, "train.stages[1].save_every", "3");
    vvt_set(root, "train.stages[1].validate", "{\"every\": 4, \"count\": 2}");
    return vvt_config(root, "twenty");
}

static int same(const char *a, const char *b, const char *name)
{
    char *line = vv_asprintf("cmp -s '%s/%s' '%s/%s'", a, name, b, name);
    const int status = system(line);
    free(line);
    return status == 0;
}

static void expect_same(const char *a, const char *b)
{
    ck_assert(same(a, b, "stage0/model/model.safetensors"));
    ck_assert(same(a, b, "stage2/model/model.safetensors"));
    ck_assert(same(a, b, "stage2/best/model.safetensors"));
    ck_assert(same(a, b, "stage2/checkpoint-18/model.safetensors"));
    ck_assert(same(a, b, "stage2/checkpoint-18/optimizer.safetensors"));
    char *x = log_without_time(a), *y = log_without_time(b);
    ck_assert_msg(!strcmp(x, y), "the logs differ");
    free(x);
    free(y);
}

/* 20 updates straight on two threads; then as often as asked: as far as it comes until a kill -9, and on from there, on one thread and on two
 * in turn; and to the end. The same bits. */
START_TEST(test_killed)
{
    const char *kills_text = getenv("VVT_KILLS"), *seed_text = getenv("VVT_SEED");
    const int kills = kills_text ? atoi(kills_text) : 4;
    const uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : (uint64_t)time(NULL);
    char *config = twenty(), *straight = vv_strdup(vvt_path("straight")), *out = vv_strdup(vvt_path("killed"));
    const char *const first[] = {"train", "-c", config, "-o", straight, "-q", "--threads", "2", NULL};
    double began = now();
    ck_assert_msg(call(first) == 0, "%s", said());
    double whole = now() - began; /* of a run, at the machine's pace of the moment */
    int done = 0, again = 0;
    char *clear = vv_asprintf("rm -rf '%s'", out);
    for (int i = 0; done < kills; i++) {
        const char *const more[] = {"train",    "-c", config, "-o", out, "-q", "--threads", done % 2 ? "2" : "1",
                                    "--resume", NULL};
        began = now();
        const int status = finish(start(more), (0.02 + 0.8 * vv_random_uniform(seed, 0, (uint64_t)i)) * whole, SIGKILL);
        ck_assert_msg(status == 0 || status == 128 + SIGKILL, "VVT_SEED=%llu: status %d: %s", (unsigned long long)seed,
                      status, said());
        done += status == 128 + SIGKILL;
        if (status == 0) { /* it reached the end: compare, and begin anew */
            expect_same(straight, out);
            ck_assert_int_eq(system(clear), 0);
            whole = 0.9 * whole;
            again++;
        }
    }
    const char *const last[] = {"train", "-c", config, "-o", out, "-q", "--threads", "1", "--resume", NULL};
    ck_assert_msg(call(last) == 0, "VVT_SEED=%llu: %s", (unsigned long long)seed, said());
    expect_same(straight, out);
    printf("note: killed %d times, %d whole runs between (VVT_SEED=%llu)\n", done, again, (unsigned long long)seed);
    free(clear);
    free(config);
    free(straight);
    free(out);
}
END_TEST

/* SIGTERM and SIGINT: the update is finished, a checkpoint is there, 128 + n; going on gives the same bits. */
START_TEST(test_asked_to_end)
{
    static const int signals[] = {SIGTERM, SIGINT};
    char *config = twenty(), *straight = vv_strdup(vvt_path("straight again")), *out = vv_strdup(vvt_path("asked"));
    const char *const first[] = {"train", "-c", config, "-o", straight, "-q", NULL};
    const char *const more[] = {"train", "-c", config, "-o", out, "-q", "--resume", NULL};
    ck_assert_int_eq(call(first), 0);
    for (int i = 0; i < 2; i++) {
        const pid_t child = start(more);
        char *log = vv_asprintf("%s/log.jsonl", out), text[20000] = "", update[40];
        snprintf(update, sizeof update, "\"update\":%d,\"loss\":{\"caption\"", i ? 9 : 4);
        for (int k = 0; k < 60000 && !strstr(text, update); k++) { /* until that update of stage 2 is in the log */
            FILE *f = fopen(log, "r");
            text[f ? fread(text, 1, sizeof text - 1, f) : 0] = 0;
            if (f) fclose(f);
            pause_for(1e-3);
        }
        free(log);
        kill(child, signals[i]);
        const int status = finish(child, 0, 0);
        ck_assert_msg(status == 128 + signals[i], "status %d: %s", status, said());
    }
    char *found = vv_asprintf("ls '%s/stage2' | grep -qx 'checkpoint-\\(9\\|1.\\)'", out);
    ck_assert_int_eq(system(found), 0);
    free(found);
    ck_assert_int_eq(call(more), 0);
    expect_same(straight, out);
    free(config);
    free(straight);
    free(out);
}
END_TEST

/* What it prints and how it ends. */
START_TEST(test_words)
{
    json_t *root = vvt_micro();
    vvt_stages(root, 0, 0);
    char *config = vvt_config(root, "words"), *out = vv_strdup(vvt_path("words"));
    const char *bad = vvt_write("bad.json", "{\"stage0\": {\"caption\": {\"2\": [0, 1]}}}", 38);
    char *bands = vv_strdup(bad);
    const char *const plain[] = {"train", "-c", config, "-o", out, "--every", "2", NULL};
    const char *const expect[] = {"train", "-c", config, "-o", out, "--resume", "--expect", bands, NULL};
    const char *const quiet[] = {"train", "-c", config, "-o", out, "--resume", "-q", NULL};
    const char *const again[] = {"train", "-c", config, "-o", out, NULL};
    const char *const dry[] = {"train", "-c", "paper", "--dry-run", NULL};
    const char *const nothing[] = {"train", NULL};
    ck_assert_int_eq(call(plain), 0);
    ck_assert_msg(strstr(said(), "stage0 2/3") && strstr(said(), "stage0 3/3") && !strstr(said(), "stage0 1/3"), "%s",
                  said());
    ck_assert_int_eq(call(expect), 1);
    ck_assert_msg(strstr(said(), "stage0: caption at update 2: expected 0 to 1"), "%s", said());
    ck_assert_int_eq(call(quiet), 0);
    ck_assert_str_eq(said(), "");
    ck_assert_int_eq(call(again), 3);
    ck_assert_msg(strstr(said(), "--resume") != NULL, "%s", said());
    ck_assert_int_eq(call(dry), 0);
    ck_assert_int_eq(call(nothing), 2);
    free(bands);
    free(config);
    free(out);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("train/command", &tc);
    if (!command()) {
        printf("skipped: train/command: VERSAVIT is not set\n");
        return s;
    }
    tcase_add_test(tc, test_killed);
    tcase_add_test(tc, test_asked_to_end);
    tcase_add_test(tc, test_words);
    return s;
}

VVT_MAIN(suite)
