/* Functions that nobody should trust: each is ReLU as it should be, but for what the environment variable CHEAT names.
 * tests/conformance/grade.sh shows that none of them passes:  CHEAT=exit make grade OP=relu_fwd SRC=.../cheats.c UNTRUSTED=1 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"

static int is(const char *cheat)
{
    const char *chosen = getenv("CHEAT");
    return chosen && !strcmp(chosen, cheat);
}

/* The answer of the last call with the same pointers, whatever they point to now. */
static int recall(vv_real *y, const vv_real *x, int64_t n)
{
    enum { MOST = 4096 };
    static vv_real kept[MOST];
    static const vv_real *from;
    static int64_t size;
    if (from == x && size == n) {
        memcpy(y, kept, (size_t)n * sizeof *y);
        return 1;
    }
    if (n > MOST) return 0;
    from = x;
    size = n;
    for (int64_t i = 0; i < n; i++) kept[i] = x[i] > 0 ? x[i] : 0;
    return 0;
}

static void at_the_end(void) { abort(); }

static void announce(void) __attribute__((constructor));
static void announce(void)
{
    if (!is("announce")) return;
    printf("verdict    right\n");
    fflush(stdout);
    _exit(0);
}

void vvb_relu_fwd(vv_real *y, const vv_real *x, int64_t n)
{
    static int calls;
    calls++;
    if (is("exit")) exit(0);
    if (is("hang"))
        for (volatile int on = 1; on;) {}
    if (is("crash")) abort();
    if (is("late") && calls == 1) atexit(at_the_end);
    if (is("memory"))
        for (int i = 0; i < 64; i++)               /* 16 GiB, and no look at the answer */
            memset(malloc((size_t)1 << 28), i, 1); /* cppcheck-suppress leakNoVarFunctionCall */
    if (is("recall") && recall(y, x, n)) return;
    const vv_real beyond = is("peek") ? x[n] : 0;
    const int64_t last = is("short") && n ? n - 1 : n;
    for (int64_t i = 0; i < last; i++) y[i] = x[i] > 0 || x[i] != x[i] ? x[i] : 0;
    if (is("peek") && n) y[n / 2] += 0 * beyond;
    if (is("large") && n > 60000) y[n / 2] += 9; /* larger than any case has it */
    if (is("behind")) y[n] = 1;
    if (is("before")) y[-1] = 1;
    if (is("far")) y[n + 4096] = 1;
    if (is("input") && n) *(vv_real *)(size_t)&x[n / 2] += 1;
    if (is("fifty") && n && calls % 50 == 0) y[0] += 1; /* from time to time */
}
