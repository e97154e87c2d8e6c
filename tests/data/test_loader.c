/* Reading ahead: the order of batches, several sources, continuing, failures, warnings, and stopping at any moment. */
#include <pthread.h>
#include <time.h>

#include "manifests.h"

#define LINE                                                                                                           \
    "{\"image\": \"%d.png\", \"conversations\": [{\"role\": \"user\", \"content\": \"q\"}, "                           \
    "{\"role\": \"assistant\", \"content\": \"a\"}]}\n"

/* A manifest of n pictures, whose first bytes are base, base + 1, ...; that of `missing` is not there. */
static vv_dataset *numbered(const char *name, int base, int n, int missing, int64_t skip_bad)
{
    vv_dataset *d;
    char *text = calloc((size_t)n, 200), file[20];
    for (int i = base; i < base + n; i++) {
        sprintf(text + strlen(text), LINE, i == missing ? 999 : i);
        snprintf(file, sizeof file, "%d.png", i);
        if (i != missing) vvt_picture(file, 2, 3, i);
    }
    VVT_OK(vvt_open(&d, name, text, VV_TASK_CAPTION, skip_bad, err));
    free(text);
    return d;
}

static void take(vv_loader *l, int batch, int *pictures)
{
    vv_sample s[16];
    VVT_OK(vv_loader_next(l, s, err));
    for (int k = 0; k < batch; k++) {
        pictures[k] = s[k].image.rgb[0];
        vv_sample_free(&s[k]);
    }
}

static vv_loader *load(vv_dataset *const *d, const double *weights, int n, int batch, int64_t first)
{
    vv_loader *l;
    VVT_OK(vv_loader_new(&l, d, weights, n, 5, "caption", batch, first, err));
    ck_assert_int_eq(vv_loader_draws(l), first);
    return l;
}

START_TEST(batches_in_order)
{
    enum { N = 7, BATCH = 3 };
    vv_dataset *d = numbered("m.jsonl", 0, N, -1, 0);
    vv_loader *l = load(&d, NULL, 1, BATCH, 0);
    for (int j = 0; j < 60;) {
        int got[BATCH];
        take(l, BATCH, got);
        for (int k = 0; k < BATCH; k++, j++) ck_assert_int_eq(got[k], vv_draw(5, "caption", j / N, j % N, N));
        ck_assert_int_eq(vv_loader_draws(l), j);
    }
    vv_loader_free(l);
    vv_dataset_free(d);
}
END_TEST

/* Three sources of 1, 4 and 9 pictures; begun anywhere, the rest is the same. */
START_TEST(continues_from_any_draw)
{
    enum { DRAWS = 60 };
    const double weight[3] = {1, 2.5, 4};
    vv_dataset *d[3] = {numbered("a.jsonl", 0, 1, -1, 0), numbered("b.jsonl", 10, 4, -1, 0),
                        numbered("c.jsonl", 20, 9, -1, 0)};
    int whole[DRAWS], got[5], first = 0;
    vv_loader *l = load(d, weight, 3, 1, 0);
    for (int j = 0; j < DRAWS; j++) take(l, 1, &whole[j]);
    vv_loader_free(l);
    for (int j = 0; j < DRAWS; j++) first += whole[j] == 0;
    ck_assert_int_eq(first, 8); /* 60 / 7.5 */
    for (int from = 0; from < DRAWS - 10; from++) {
        const int batch = 1 + from % 5;
        l = load(d, weight, 3, batch, from);
        for (int j = from; j < from + 2 * batch; j += batch) {
            take(l, batch, got);
            for (int k = 0; k < batch; k++) ck_assert_int_eq(got[k], whole[j + k]);
        }
        vv_loader_free(l);
    }
    for (int i = 0; i < 3; i++) vv_dataset_free(d[i]);
}
END_TEST

/* Each epoch of every source shows each of its samples once, whatever the other sources do. */
START_TEST(epochs_of_each_source)
{
    vv_dataset *d[2] = {numbered("a.jsonl", 0, 5, -1, 0), numbered("b.jsonl", 10, 5, -1, 0)};
    vv_loader *l = load(d, NULL, 2, 1, 0);
    int order[2][10], n[2] = {0}, got;
    while (n[0] < 10 || n[1] < 10) {
        take(l, 1, &got);
        const int source = got / 10;
        order[source][n[source]++] = got % 10;
    }
    for (int source = 0; source < 2; source++)
        for (int e = 0; e < 2; e++) {
            int seen = 0;
            for (int k = 0; k < 5; k++) seen |= 1 << order[source][5 * e + k];
            ck_assert_int_eq(seen, 31);
        }
    ck_assert(memcmp(order[0], order[1], sizeof order[0]) != 0);
    vv_loader_free(l);
    for (int i = 0; i < 2; i++) vv_dataset_free(d[i]);
}
END_TEST

/* ---- failures and warnings ------------------------------------------------------------------------------------------------ */

START_TEST(a_failure_comes_in_its_turn)
{
    enum { N = 12, BATCH = 2 };
    int at = 0;
    vv_dataset *d = numbered("m.jsonl", 0, N, 4, 0);
    while (vv_draw(5, "caption", 0, at, N) != 4) at++;
    vv_loader *l = load(&d, NULL, 1, BATCH, 0);
    vv_sample s[BATCH];
    int got[BATCH];
    for (int j = 0; j + BATCH <= at; j += BATCH) take(l, BATCH, got);
    for (int k = 0; k < 3; k++) {
        vv_error e = {0};
        memset(s, 1, sizeof s);
        vvt_expect_error(&e, vv_loader_next(l, s, &e), VV_FILE, "m.jsonl:5: ", "999.png", NULL);
        ck_assert(!s[0].name && !s[1].image.rgb);
        ck_assert_int_eq(vv_loader_draws(l), at / BATCH * BATCH);
    }
    vv_loader_free(l);
    vv_dataset_free(d);
}
END_TEST

static pthread_t caller;
static int from_elsewhere;

static void where(void *ctx, const char *what, int64_t done, int64_t total)
{
    from_elsewhere += !pthread_equal(pthread_self(), caller);
    vvt_listener(ctx, what, done, total);
}

/* Two manifests, each with a bad sample: the same replacements in every run, each told once, at its batch, by this thread. */
START_TEST(bad_samples_are_replaced)
{
    enum { BATCH = 4, DRAWS = 40 };
    int first[DRAWS] = {0}, second[DRAWS] = {0};
    caller = pthread_self();
    for (int run = 0; run < 2; run++) {
        int *got = run ? second : first, before = 0;
        vv_dataset *d[2] = {numbered("a.jsonl", 0, 6, 3, 1), numbered("b.jsonl", 10, 4, 13, 1)};
        vv_loader *l = load(d, NULL, 2, BATCH, 0);
        vvt_hear();
        vv_listen(where, NULL);
        for (int j = 0; j < DRAWS; j += BATCH) {
            take(l, BATCH, got + j);
            if (vvt_heard.n > before) ck_assert(j < 12); /* both sources have been through by then */
            before = vvt_heard.n;
        }
        ck_assert_int_eq(vvt_heard.n, 2);
        ck_assert(strstr(vvt_heard.text, "a.jsonl:4: ") && strstr(vvt_heard.text, "b.jsonl:4: "));
        ck_assert_int_eq(from_elsewhere, 0);
        for (int j = 0; j < DRAWS; j++) ck_assert(got[j] != 3 && got[j] != 13);
        vv_loader_free(l);
        for (int i = 0; i < 2; i++) vv_dataset_free(d[i]);
    }
    ck_assert(!memcmp(first, second, sizeof first));
}
END_TEST

START_TEST(usage)
{
    vv_dataset *d = numbered("m.jsonl", 0, 1, -1, 0);
    vv_loader *l;
    const double bad[][2] = {{0, 1}, {-1, 1}, {1, 1 / 0.0}, {0 / 0.0, 1}};
    vv_dataset *const two[2] = {d, d};
    for (int i = 0; i < 4; i++) {
        vv_error e = {0};
        vvt_expect_error(&e, vv_loader_new(&l, two, bad[i], 2, 0, "x", 1, 0, &e), VV_USAGE, "weight", NULL);
        ck_assert(!l);
    }
    vv_error e = {0}, f = {0}, g = {0};
    vvt_expect_error(&e, vv_loader_new(&l, two, NULL, 0, 0, "x", 1, 0, &e), VV_USAGE, "sources", NULL);
    vvt_expect_error(&f, vv_loader_new(&l, two, NULL, 2, 0, "x", 0, 0, &f), VV_USAGE, "batch", NULL);
    vvt_expect_error(&g, vv_loader_new(&l, two, NULL, 2, 0, "x", 1, -1, &g), VV_USAGE, "draw", "-1", NULL);
    vv_loader_free(NULL);
    vv_dataset_free(d);
}
END_TEST

/* ---- stopping --------------------------------------------------------------------------------------------------------------- */

/* Freed before, while and after the thread reads, with batches taken or not; sanitizers see what leaks or is touched too late. */
START_TEST(stops_at_any_moment)
{
    vv_dataset *d[2] = {numbered("a.jsonl", 0, 9, -1, 0), numbered("b.jsonl", 10, 3, 11, 0)};
    for (int i = 0; i < 120; i++) {
        vv_loader *l = load(d, NULL, i % 2 ? 2 : 1, 1 + i % 7, i);
        vv_sample s[16];
        for (int k = 0; k < i % 4; k++) {
            vv_error e = {0};
            if (vv_loader_next(l, s, &e) == VV_OK)
                for (int j = 0; j < 1 + i % 7; j++) vv_sample_free(&s[j]);
        }
        nanosleep(&(struct timespec){0, i % 5 * 100000}, NULL);
        vv_loader_free(l);
    }
    for (int i = 0; i < 2; i++) vv_dataset_free(d[i]);
}
END_TEST

/* While both slots are full and nobody takes them, the thread uses no time. */
START_TEST(waits_without_working)
{
    vv_dataset *d = numbered("m.jsonl", 0, 5, -1, 0);
    vv_loader *l = load(&d, NULL, 1, 2, 0);
    int got[2];
    take(l, 2, got);
    nanosleep(&(struct timespec){0, 200000000}, NULL);
    const clock_t before = clock();
    nanosleep(&(struct timespec){0, 300000000}, NULL);
    ck_assert_msg(clock() - before < CLOCKS_PER_SEC / 20, "%g s of processor time",
                  (double)(clock() - before) / CLOCKS_PER_SEC);
    take(l, 2, got);
    vv_loader_free(l);
    vv_dataset_free(d);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("loader", &tc);
    tcase_add_test(tc, batches_in_order);
    tcase_add_test(tc, continues_from_any_draw);
    tcase_add_test(tc, epochs_of_each_source);
    tcase_add_test(tc, a_failure_comes_in_its_turn);
    tcase_add_test(tc, bad_samples_are_replaced);
    tcase_add_test(tc, usage);
    tcase_add_test(tc, stops_at_any_moment);
    tcase_add_test(tc, waits_without_working);
    return s;
}
VVT_MAIN(suite)
