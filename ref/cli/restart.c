/* Two things that libraries read from the environment when they are loaded, so that the only way to set them is to start again. What
 * the user has set is left alone.
 *
 * OPENBLAS_CORETYPE: OpenBLAS 0.3.21 (Debian 12) does not know processors made after it and then takes kernels from 2004, five times
 * slower than those it has for the same instructions.
 *
 * OMP_WAIT_POLICY: threads of OpenMP that wait for work spin. Beside another busy thread (the one that reads samples ahead, other programs
 * of a shared machine) they spin away the time that it needs: training small models became 20 times slower. Sleeping costs
 * microseconds a region; only `bench` keeps spinning, because it measures what a program on an idle machine gets. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "cli/cli.h"

#if defined(__x86_64__) && defined(__linux__) && defined(__GNUC__)
static const char *wanted_core(const char *core)
{
    static const char *const old[] = {"Prescott", "Core2", "Penryn", "Dunnington", "Nehalem", "Sandybridge", "Katmai"};
    for (size_t i = 0; i < sizeof old / sizeof *old; i++) {
        if (strcmp(core, old[i])) continue;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
            __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
            return "SkylakeX";
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? "Haswell" : NULL;
    }
    return NULL;
}

static int set(const char *name, const char *value) { return value && !getenv(name) && setenv(name, value, 1) == 0; }

void cli_restart(char **argv, int sleep)
{
    const int core = set("OPENBLAS_CORETYPE", wanted_core(vvb_get_info()->core));
    const int wait = sleep && !getenv("GOMP_SPINCOUNT") && set("OMP_WAIT_POLICY", "passive");
    if (core || wait) execv("/proc/self/exe", argv); /* returns only when it cannot */
}
#else
void cli_restart(char **argv, int sleep)
{
    (void)argv;
    (void)sleep;
}
#endif
