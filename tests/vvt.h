/* The test helpers: one executable per tests/FOLDER/test_NAME.c, each with a Check suite and VVT_MAIN. */
#ifndef VVT_H
#define VVT_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* Runs the suite in this process (OpenMP regions and fork do not mix), prints Check's closing line, 0 when all passed, VVT_SKIPPED
 * when the backend cannot start here. */
enum { VVT_SKIPPED = 77 };
int vvt_run(Suite *s);
int vvt_no_backend(void);
#define VVT_MAIN(suite_fn)                                                                                             \
    int main(void) { return vvt_run(suite_fn()); }

/* A suite with one test case of a generous time limit; add tests with tcase_add_test / tcase_add_loop_test. */
Suite *vvt_suite(const char *name, TCase **tc);

/* A folder for this process's files, made at the first call and removed at exit; vvt_path joins a file name to it
 * (one of 8 static buffers, reused in turn). */
const char *vvt_tmpdir(void);
const char *vvt_path(const char *name);
/* The folder of the project's sources (VVT_ROOT, or the current folder). */
const char *vvt_root(const char *name);

/* One number of the backend's memory, which the host does not read itself. */
vv_real vvt_peek(const void *x, int64_t i);
void vvt_poke(void *x, int64_t i, vv_real v);

/* Writes bytes to vvt_path(name) and returns that path. */
const char *vvt_write(const char *name, const void *bytes, size_t n);

/* The call failed with the status, and its one-line message contains every one of the words (NULL-terminated). */
void vvt_expect_error(const vv_error *err, vv_status got, vv_status want, const char *word, ...);

#define VVT_OK(call)                                                                                                   \
    do {                                                                                                               \
        vv_error err_ = {0};                                                                                           \
        vv_error *err = &err_;                                                                                         \
        (void)err;                                                                                                     \
        const vv_status s_ = (call);                                                                                   \
        ck_assert_msg(s_ == VV_OK, "%s: status %d: %s", #call, (int)s_, err_.msg);                                     \
    } while (0)

#endif
