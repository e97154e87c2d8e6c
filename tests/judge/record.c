/* record DIR TRUTH CASE.json...: records cases one after the other as DIR/<case>.safetensors, weights included; updates start from the
 * states in TRUTH/<case>.safetensors ("-": from their own). A case that fails is told and left out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/case.h"

int main(int argc, char **argv)
{
    int failed = argc < 4;
    for (int i = 3; i < argc; i++) {
        const char *slash = strrchr(argv[i], '/'), *base = slash ? slash + 1 : argv[i];
        const int n = (int)strcspn(base, ".");
        char *out = vv_asprintf("%s/%.*s.safetensors", argv[1], n, base),
             *truth = vv_asprintf("%s/%.*s.safetensors", argv[2], n, base);
        vv_golden_options o = {.out = out, .precision = VVB_FULL, .placement = VVB_BOTH};
        if (strcmp(argv[2], "-")) o.from = truth;
        vv_error err = {0};
        if (!out || !truth || vv_golden_make(argv[i], &o, &err) != VV_OK) {
            fprintf(stderr, "%.*s: %s\n", n, base, err.msg);
            failed = 1;
        }
        free(out);
        free(truth);
    }
    return failed;
}
