/* OpenBLAS 0.3.21 (Debian 12) does not know processors made after it and then takes kernels from 2004, five times slower than
 * those it has for the same instructions. The kernel set is chosen when the library is loaded, so the only cure is to say
 * OPENBLAS_CORETYPE and start again. Anything the user has said is left alone. */
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

void cli_better_core(char **argv)
{
    const char *core = getenv("OPENBLAS_CORETYPE") ? NULL : wanted_core(vvb_get_info()->core);
    if (!core || setenv("OPENBLAS_CORETYPE", core, 1)) return;
    execv("/proc/self/exe", argv); /* returns only when it cannot */
    unsetenv("OPENBLAS_CORETYPE");
}
#else
void cli_better_core(char **argv) { (void)argv; }
#endif
