#include <stdio.h>

#include "loss/loss.h"

int vv_is_finite(vv_tape *t, const char *op, const vv_tensor *x, int64_t R, int64_t Ww, const char *const *sample)
{
    int64_t at = -1;
    VV_RUN(t, x->n, at = vvb_first_nonfinite(vv_f(x), x->n));
    if (at < 0) return 1;
    const int64_t N = x->n / R, r = at / N, i = at % N;
    char full[VV_NAME_MAX], label[200] = "";
    if (sample && sample[r]) snprintf(label, sizeof label, " (%.190s)", sample[r]);
    vv_tape_fail(t, VV_NONFINITE, "%s: %s: sample %lld%s: prediction is not finite at pixel (%lld,%lld)",
                 vv_name(x, full), op, (long long)r, label, (long long)(i / Ww), (long long)(i % Ww));
    return 0;
}
