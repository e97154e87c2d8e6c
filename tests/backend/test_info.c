/* What a backend says about itself, its memory, and how it keeps an error. */
#include "vvt_check.h"

START_TEST(information)
{
    const vvb_info *i = vvb_get_info();
    ck_assert(i->name && i->name[0] && i->device && i->device[0] && i->product && i->product[0] && i->core);
    ck_assert(i->unit_roundoff >= VV_U && i->unit_roundoff <= 0x1p-8);
    ck_assert_int_ge(i->threads, 1);
    vvb_init(3);
    ck_assert_int_eq(vvb_get_info()->threads, 3);
    vvb_init(0);
    ck_assert_int_ge(vvb_get_info()->threads, 1);
}
END_TEST

START_TEST(accounting)
{
    const int64_t before = vvb_get_info()->bytes;
    void *p[40];
    for (int i = 0; i < 40; i++) {
        p[i] = vvb_alloc(i * 37);
        ck_assert_ptr_nonnull(p[i]);
        ck_assert_uint_eq((uintptr_t)p[i] % 64, 0);
    }
    ck_assert_int_eq(vvb_get_info()->bytes - before, 37 * 39 * 40 / 2);
    ck_assert_int_ge(vvb_get_info()->peak_bytes, vvb_get_info()->bytes);
    for (int i = 0; i < 40; i++) vvb_free(p[i], i * 37);
    vvb_free(NULL, 0);
    ck_assert_int_eq(vvb_get_info()->bytes, before);
    ck_assert_int_ge(vvb_get_info()->peak_bytes, before + 37 * 39 * 40 / 2);
}
END_TEST

/* upload, copy, zero, download move the bytes that they are told to, and no others */
START_TEST(moving)
{
    enum { N = 300 };
    unsigned char host[N], back[N];
    for (int i = 0; i < N; i++) host[i] = (unsigned char)(i * 7 + 1);
    for (int64_t n = 0; n < N; n += n < 20 ? 1 : 37) {
        vvt_buffer a = vvt_buffer_new(host, n), b = vvt_buffer_new(host + N - n, n);
        vvb_copy(vvt_buffer_at(&b), vvt_buffer_at(&a), n);
        vvb_zero(vvt_buffer_at(&a), n / 2);
        vvb_sync();
        vvt_buffer_get(&b, back);
        ck_assert_mem_eq(back, host, (size_t)n);
        vvt_buffer_get(&a, back);
        for (int64_t i = 0; i < n; i++)
            if (back[i] != (i < n / 2 ? 0 : host[i])) ck_abort_msg("byte %d of %d", (int)i, (int)n);
        ck_assert(vvt_buffer_intact(&a) && vvt_buffer_intact(&b));
        vvt_buffer_free(&a);
        vvt_buffer_free(&b);
    }
}
END_TEST

START_TEST(kept_error)
{
    ck_assert_ptr_null(vvb_error());
    ck_assert_ptr_null(vvb_alloc(-1));
    ck_assert_ptr_null(vvb_alloc(INT64_MIN)); /* the first failure is the one that is kept */
    const char *error = vvb_error();
    ck_assert_ptr_nonnull(error);
    ck_assert_msg(!strncmp(error, "alloc: ", 7) && error[7], "%s", error);
    ck_assert_ptr_null(vvb_error()); /* asking has cleared it */
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("backend/info", &tc);
    tcase_add_test(tc, information);
    tcase_add_test(tc, accounting);
    tcase_add_test(tc, moving);
    tcase_add_test(tc, kept_error);
    return s;
}

VVT_MAIN(suite)
