/* floors TRUTH_DIR OUT_DIR CASE... -- CANDIDATE_DIR...: floors of each case from its recordings in all of these folders. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/floors.h"

enum { MOST = 64 };

static vv_status floors_of(const char *name, char **argv, int n, char **dirs, vv_error *err)
{
    char *truth = vv_asprintf("%s/%s.safetensors", argv[1], name),
         *out = vv_asprintf("%s/%s.safetensors", argv[2], name);
    char *path[MOST];
    for (int k = 0; k < n; k++) path[k] = vv_asprintf("%s/%s.safetensors", dirs[k], name);
    const vv_status s = vv_golden_floors(truth, (const char *const *)path, n, out, err);
    for (int k = 0; k < n; k++) free(path[k]);
    free(truth);
    free(out);
    return s;
}

int main(int argc, char **argv)
{
    int split = 3, failed = 0;
    while (split < argc && strcmp(argv[split], "--")) split++;
    for (int i = 3; i < split && argc - split - 1 <= MOST; i++) {
        vv_error err = {0};
        if (floors_of(argv[i], argv, argc - split - 1, argv + split + 1, &err) == VV_OK) continue;
        fprintf(stderr, "%s\n", err.msg);
        failed = 1;
    }
    return failed;
}
