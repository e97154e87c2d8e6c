/* rules GOLDEN_DIR CANDIDATE_DIR CASE...: judges DIR/<case>.safetensors of both as `versavit golden check` does, a line a tensor:
 *     CASE TAB KEY TAB VERDICT TAB multiple of the floor TAB one digit for each common rule, 1 when it is content ("-" where nothing is measured)
 * and a line "CASE TAB TAB what is wrong" for a candidate that cannot be judged.
 * The rules, as their sources have them, on the numbers in double:
 *   cosine   cosine similarity >= 0.999                             (customary for converted models; insensitive to scale)
 *   torch    |g - r| <= 1e-5 + 1.3e-6 |r| everywhere                (torch.testing.assert_close, defaults of float32)
 *   onnx     |g - r| <= 1e-7 + 1e-3 |r| everywhere                  (onnx/backend/test/runner, defaults of a test case)
 *   ggml     sum (g - r)^2 / sum r^2 <= 1e-7                        (ggml-org/llama.cpp, tests/test-backend-ops.cpp, max_nmse_err)
 *   llm.c    |g - r| <= 1e-2 everywhere, gradients 2e-2            (karpathy/llm.c, test_gpt2.c: logits and losses, check_tensor)
 * And NumPy's allclose (|g - r| <= 1e-8 + 1e-5 |r|), the sixth digit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden/judge.h"

enum { COSINE, TORCH, ONNX, GGML, LLMC, NUMPY, RULES };

static void apply_rules(char digits[RULES + 1], const double *r, const double *g, int64_t n, int gradient)
{
    double rr = 0, gg = 0, rg = 0, dd = 0;
    int content[RULES] = {1, 1, 1, 1, 1, 1};
    for (int64_t i = 0; i < n; i++) {
        const double d = fabs(g[i] - r[i]), size = fabs(r[i]);
        if (g[i] == r[i] || (isnan(g[i]) && isnan(r[i]))) {
            if (isfinite(r[i])) rr += r[i] * r[i], gg += g[i] * g[i], rg += r[i] * g[i];
            continue;
        }
        rr += r[i] * r[i];
        gg += g[i] * g[i];
        rg += r[i] * g[i];
        dd += d * d;
        content[TORCH] &= d <= 1e-5 + 1.3e-6 * size;
        content[ONNX] &= d <= 1e-7 + 1e-3 * size;
        content[LLMC] &= d <= (gradient ? 2e-2 : 1e-2);
        content[NUMPY] &= d <= 1e-8 + 1e-5 * size;
    }
    content[COSINE] = dd == 0 || rg >= 0.999 * sqrt(rr) * sqrt(gg);
    content[GGML] = dd <= 1e-7 * rr;
    for (int k = 0; k < RULES; k++) digits[k] = (char)('0' + content[k]);
    digits[RULES] = 0;
}

static vv_status by_rules(char digits[RULES + 1], const vv_golden_entry *e, vv_st *candidate, vv_error *err)
{
    const vv_st_entry *r = e->at, *g = vv_st_find(candidate, e->key);
    strcpy(digits, g && g->n == r->n ? "-" : "000000");
    if (!g || g->n != r->n || e->kind == VV_KIND_IN || e->kind == VV_KIND_W || e->kind == VV_KIND_M ||
        e->kind == VV_KIND_V)
        return VV_OK;
    double *x = NULL, *y = NULL;
    vv_status s = vv_entry_doubles(&x, "golden", r, err);
    if (s == VV_OK) s = vv_entry_doubles(&y, "candidate", g, err);
    if (s == VV_OK) apply_rules(digits, x, y, r->n, e->kind >= VV_KIND_DACT);
    free(x);
    free(y);
    return s;
}

static vv_status judge(const char *name, const char *golden, const char *candidate, vv_error *err)
{
    vv_judged j;
    vv_st *st = NULL;
    const vv_judge_options o = {.limit = -1, .ignore_extra = 1, .scope = VV_SCOPE_UPDATE};
    vv_status s = vv_judge(&j, golden, candidate, &o, err);
    if (s != VV_OK && s != VV_DIFFERS) return s;
    s = vv_st_open(&st, candidate, err);
    for (int64_t i = 0; s == VV_OK && i < j.n; i++) {
        char digits[RULES + 1];
        const vv_judgement *x = &j.at[i];
        s = by_rules(digits, x->entry, st, err);
        printf("%s\t%s\t%s\t%.4g\t%s\n", name, x->entry->key, vv_verdict_name(x->verdict), vv_multiple(x), digits);
    }
    vv_st_close(st);
    vv_judged_free(&j);
    return s;
}

int main(int argc, char **argv)
{
    for (int i = 3; i < argc; i++) {
        char *golden = vv_asprintf("%s/%s.safetensors", argv[1], argv[i]),
             *candidate = vv_asprintf("%s/%s.safetensors", argv[2], argv[i]);
        vv_error err = {0};
        if (!golden || !candidate || judge(argv[i], golden, candidate, &err) != VV_OK)
            printf("%s\t\t%s\n", argv[i], err.msg);
        free(golden);
        free(candidate);
    }
    return argc < 4;
}
