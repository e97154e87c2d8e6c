/* The three memories under the tape, and what happens when there is none. */
#include "tape/small.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tape/memory.h"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef SANITIZED /* a refused allocation must look as it does without the sanitizer */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "allocator_may_return_null=1"; }
#endif

static int zeros(const unsigned char *p, size_t n)
{
    while (n > 0 && p[n - 1] == 0) n--;
    return n == 0;
}

/* ---- arena ------------------------------------------------------------------------------------------------------------ */
START_TEST(arena)
{
    enum { COUNT = 300 };
    vv_arena a = {0};
    unsigned char *p[COUNT], *first = NULL;
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < COUNT; i++) { /* 0, 1 ... and two pieces larger than a block */
            const size_t n = i == 100 || i == 250 ? 200000 + i : i * 7;
            p[i] = vv_arena_get(&a, n);
            ck_assert_ptr_nonnull(p[i]);
            ck_assert_uint_eq((uintptr_t)p[i] % sizeof(double), 0);
            ck_assert(zeros(p[i], n)); /* also when the memory was used before */
            memset(p[i], (int)(i % 255) + 1, n);
        }
        for (size_t i = 0; i < COUNT; i++) {
            const size_t n = i == 100 || i == 250 ? 200000 + i : i * 7;
            size_t same = 0; /* nobody wrote into it */
            while (same < n && p[i][same] == (int)(i % 255) + 1) same++;
            ck_assert_uint_eq(same, n);
        }
        if (round == 0) first = p[0];
        ck_assert_ptr_eq(p[0], first);
        vv_arena_reset(&a);
    }
    vv_arena_free(&a);
    ck_assert_ptr_null(a.first);
    vv_arena_free(&a);
}
END_TEST

/* ---- stack ------------------------------------------------------------------------------------------------------------- */
START_TEST(stack)
{
    enum { COUNT = 200 };
    const int64_t before = vvb_get_info()->bytes;
    vv_stack s = {0};
    unsigned char *p[COUNT], *first = NULL, *bytes = malloc(3 << 20);
    int chunks = 0;
    for (int round = 0; round < 3; round++) {
        int64_t used = 0;
        for (int64_t i = 0; i < COUNT; i++) { /* 12 MB in all, the largest beyond the first chunk */
            const int64_t n = i == 150 ? 3 << 20 : i * 500;
            p[i] = vv_stack_get(&s, n);
            ck_assert_ptr_nonnull(p[i]);
            ck_assert_uint_eq((uintptr_t)p[i] % VV_ALIGN, 0);
            memset(bytes, (int)(i % 255) + 1, (size_t)n);
            vvb_upload(p[i], bytes, n);
            used += (n + 63) / 64 * 64;
        }
        ck_assert_int_eq(s.used, used);
        for (int64_t i = 0; i < COUNT; i++) {
            const int64_t n = i == 150 ? 3 << 20 : i * 500;
            vvb_download(bytes, p[i], n);
            if (n) ck_assert_int_eq(bytes[0] + bytes[n - 1], 2 * ((int)(i % 255) + 1));
        }
        if (round == 0) first = p[0], chunks = s.n;
        ck_assert_ptr_eq(p[0], first); /* filled again from the start, without new memory */
        ck_assert_int_eq(s.n, chunks);
        vv_stack_reset(&s);
        ck_assert_int_eq(s.used, 0);
    }
    ck_assert_int_lt(chunks, 8);
    free(bytes);
    vv_stack_free(&s);
    ck_assert_int_eq(vvb_get_info()->bytes, before);
}
END_TEST

/* ---- pool -------------------------------------------------------------------------------------------------------------- */
START_TEST(pool)
{
    const int64_t before = vvb_get_info()->bytes;
    vv_pool p = {0};
    void *a = vv_pool_get(&p, 10000), *b = vv_pool_get(&p, 10000);
    ck_assert_ptr_ne(a, b);
    vv_pool_release(&p, a);
    ck_assert_ptr_eq(vv_pool_get(&p, 9000), a); /* used again ... */
    ck_assert_ptr_ne(vv_pool_get(&p, 9000), a); /* ... but not while it is busy */
    vv_pool_release(&p, a);
    void *large = vv_pool_get(&p, 10001);
    ck_assert_ptr_ne(large, a); /* too small */
    vv_pool_release(&p, large);
    ck_assert_ptr_eq(vv_pool_get(&p, 9990), a);    /* the smallest that does */
    ck_assert_ptr_ne(vv_pool_get(&p, 100), large); /* a much larger one is not wasted on it */
    vv_pool_release(&p, NULL);
    for (int i = 0; i < 100; i++) ck_assert_ptr_nonnull(vv_pool_get(&p, 64)); /* grows */
    ck_assert_int_eq(p.n, 105);
    vv_pool_free(&p);
    ck_assert_int_eq(vvb_get_info()->bytes, before);
}
END_TEST

/* ---- parameters ---------------------------------------------------------------------------------------------------------- */
START_TEST(parameters)
{
    const int64_t before = vvb_get_info()->bytes, R = sizeof(vv_real);
    vv_params ps = {0};
    char name[16];
    for (int i = 0; i < 200; i++) { /* beyond the first table */
        snprintf(name, sizeof name, "p.%d", i);
        const vv_tensor *x = small_param(&ps, name, 2, DIM(3, 5), i, 1);
        ck_assert(x->is_param && x->needs_grad && !x->has_grad && !x->grad);
    }
    snprintf(name, sizeof name, "gone"); /* names are copies */
    vv_tensor *x = vv_param_find(&ps, "p.117");
    ck_assert_ptr_eq(x, ps.at[117]);
    ck_assert_ptr_null(vv_param_find(&ps, "p.200"));
    ck_assert_int_eq(ps.bytes, 200 * 15 * R);
    for (int i = 0; i < 2; i++) ck_assert_int_eq(vv_param_grad(&ps, x, 0), 1);
    ck_assert_int_eq(ps.bytes, 201 * 15 * R);
    ck_assert_int_eq(ps.peak, ps.bytes);
    const double none[15] = {0};
    small_expect(x->grad, 15, none);
    vvb_upload(x->grad, (const vv_real[]){7}, R);
    vv_param_grad(&ps, x, 0); /* has one: kept */
    vv_real *v = small_get(x->grad, 15);
    ck_assert(v[0] == 7);
    free(v);
    vv_params_zero_grad(&ps);
    vv_param_grad(&ps, x, 0); /* none: starts from zero */
    small_expect(x->grad, 15, none);
    vv_params_free(&ps);
    ck_assert_int_eq(vvb_get_info()->bytes, before);
}
END_TEST

/* ---- no memory ------------------------------------------------------------------------------------------------------------- */
START_TEST(impossible_sizes)
{
    const int64_t much[4][2] = {{INT64_MAX, 1}, {INT64_MAX / 2, 3}, {(int64_t)1 << 40, 1 << 10}, {-1, 3}};
    for (int i = 0; i < 4; i++) {
        vv_error err = {0};
        vv_params ps = {0};
        ck_assert_ptr_null(vv_param_new(&ps, "visual.w", 2, much[i], &err));
        vvt_expect_error(&err, err.status, VV_MEMORY, "visual.w", "memory", (char *)NULL);
        vv_params_free(&ps);
        vv_tape *t = vv_tape_new(NULL, 0);
        vv_enter(t, "visual", -1);
        ck_assert_ptr_null(vv_input(t, "x", VV_REALS, 2, much[i], NULL));
        err = (vv_error){0};
        vvt_expect_error(&err, vv_tape_status(t, &err), VV_MEMORY, "visual.x", "memory", (char *)NULL);
        vv_tape_reset(t);
        small_expect(vv_f(small_input(t, "x", 1, DIM(2), 4, 1)), 2, (const double[]){4, 5});
        small_ok(t);
        vv_tape_free(t);
        ck_assert_ptr_null(vvb_error()); /* told once, not kept for the next one who asks */
    }
}
END_TEST

#if defined(__linux__) && !defined(SANITIZED)
static vv_tensor *grow(vv_tape *t, const void *ctx, vv_tensor *h)
{
    const int64_t *n = ctx;
    for (int64_t i = 0; i < *n; i++) {
        vv_enter(t, "step", i);
        h = vv_gelu(t, "act", h, VVB_GELU_QUICK);
        vv_leave(t);
    }
    return h;
}

static void limit_memory(int64_t bytes)
{
    struct rlimit r;
    getrlimit(RLIMIT_AS, &r);
    r.rlim_cur = bytes < 0 ? r.rlim_max : (rlim_t)bytes;
    setrlimit(RLIMIT_AS, &r);
}

static int64_t address_space(void)
{
    long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%lld", &pages) != 1) pages = 0;
    if (f) fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* One pass under a limit: OK or VV_MEMORY with a name, and the tape works afterwards. Returns the status. */
static vv_status pass_within(int64_t more, int flags, int64_t pixels)
{
    vv_params ps = {0};
    vv_error err = {0};
    vv_tape *t = vv_tape_new(&ps, flags);
    vv_tensor *w = small_param(&ps, "w", 1, &pixels, 0.1, 0), *one = NULL;
    const int64_t steps = 3;
    limit_memory(address_space() + more);
    vv_tensor *h = vv_input(t, "x", VV_REALS, 1, &pixels, NULL);
    if (h) vvb_zero(vv_f(h), pixels * (int64_t)sizeof(vv_real));
    for (int i = 0; i < 4; i++) h = vv_segment(t, grow, &steps, sizeof steps, i ? h : vv_add(t, "sum", h, w));
    one = vv_input(t, "one", VV_REALS, 1, &pixels, NULL);
    if (one) vvb_zero(vv_f(one), pixels * (int64_t)sizeof(vv_real));
    vv_backward(t, vv_dot(t, "loss", h, one), 1);
    const vv_status s = vv_tape_status(t, &err);
    limit_memory(-1);
    if (s != VV_OK && (s != VV_MEMORY || !strstr(err.msg, "memory") || err.msg[0] == ':'))
        fprintf(stderr, "%s\n", err.msg), _exit(3);
    vv_tape_reset(t);
    const vv_real two[2] = {2, 2};
    vv_real got = 0;
    vv_tensor *x = vv_input(t, "x", VV_REALS, 1, DIM(2), two), *y = vv_dot(t, "y", x, x);
    if (vv_tape_status(t, NULL) != VV_OK) _exit(4);
    vvb_download(&got, vv_f(y), sizeof got);
    if (got != 8) _exit(5);
    vv_tape_free(t);
    vv_params_free(&ps);
    return s;
}

/* exits with 0 when both ends were seen: too little memory, and enough */
static void child(int flags)
{
    int failed = 0, done = 0;
    vvb_init(1); /* threads do not survive a fork */
    alarm(60);
    for (int64_t step = 0; step < 200 && done < 2; step++) {
        const vv_status s = pass_within(step << 19, flags, 1 << 16);
        failed += s != VV_OK;
        done += s == VV_OK;
    }
    _exit(failed > 3 && done == 2 ? 0 : 2);
}

START_TEST(limited_memory)
{
    static const int flags[] = {0, VV_RECORD, VV_RECORD | VV_CHECKPOINT};
    const pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) child(flags[_i]);
    int status = 0;
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "exit %d, signal %d", WEXITSTATUS(status),
                  WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}
END_TEST
#endif

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("memory", &tc);
#if defined(__linux__) && !defined(SANITIZED)
    /* first: it forks. The limit is of the host's memory */
    if (strcmp(vvb_get_info()->name, "cpu") == 0) tcase_add_loop_test(tc, limited_memory, 0, 3);
#endif
    tcase_add_test(tc, arena);
    tcase_add_test(tc, stack);
    tcase_add_test(tc, pool);
    tcase_add_test(tc, parameters);
    tcase_add_test(tc, impossible_sizes);
    return s;
}
VVT_MAIN(suite)
