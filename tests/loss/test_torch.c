/* Every loss and switch against torch's autograd in float64 (golden/torch/losses.safetensors), medians found here and forced. */
#include <math.h>

#include "torch_cases.h"

/* All is computed in double on the same float inputs. What the float build adds: rounding of the loss's terms and of their weighted
 * sum, of the upstream gradient of each, and of the gradient twice (two losses add into it). */
#define LIMIT (sizeof(vv_real) == 8 ? 1e-11 : 1e-6)

static vv_st *file;

static double number(const torch_case *c, const char *name)
{
    double x;
    const vv_st_entry *e = torch_entry(file, c->name, name);
    ck_assert_msg(e && e->n == 1, "%s/%s", c->name, name);
    VVT_OK(vv_st_read_f64(file, e, &x, err));
    return x;
}

static void expect_number(const torch_case *c, const char *name, vv_real got)
{
    const double want = number(c, name), off = fabs((double)got - want);
    ck_assert_msg(off <= LIMIT * fabs(want), "%s/%s: %.17g, torch %.17g", c->name, name, (double)got, want);
}

/* each element within LIMIT of the largest, and the RMS within LIMIT; where torch has no gradient there is none */
static double expect_gradient(const torch_case *c)
{
    const vv_st_entry *e = torch_entry(file, c->name, c->depth ? "dp" : "dx");
    double *want = vv_calloc(c->n, sizeof *want), most = 0, off = 0, sum = 0, sum_off = 0;
    ck_assert_int_eq(e->n, c->n);
    VVT_OK(vv_st_read_f64(file, e, want, err));
    for (int64_t i = 0; i < c->n; i++) {
        const double d = fabs((double)c->grad[i] - want[i]);
        most = fmax(most, fabs(want[i]));
        off = fmax(off, d);
        sum += want[i] * want[i];
        sum_off += d * d;
    }
    free(want);
    ck_assert_msg(off <= LIMIT * most && sqrt(sum_off) <= LIMIT * sqrt(sum), "%s: gradient off by %.3g of %.3g",
                  c->name, off, most);
    return sum > 0 ? sqrt(sum_off / sum) : 0;
}

static void expect_medians(const torch_case *c)
{
    const vv_st_entry *e = torch_input(file, c, "medians");
    int64_t *want = vv_calloc(e->n, sizeof *want);
    VVT_OK(vv_st_read_i64(file, e, want, err));
    ck_assert_int_eq(e->n, 4 * c->B);
    for (int64_t i = 0; i < e->n; i++)
        ck_assert_msg(c->medians[i] == want[i], "%s: median %lld: %d, torch %lld", c->in, (long long)i, c->medians[i],
                      (long long)want[i]);
    free(want);
}

START_TEST(same_as_torch)
{
    double worst = 0;
    VVT_OK(vv_st_open(&file, vvt_root("golden/torch/losses.safetensors"), err));
    json_t *root = torch_cases(file), *cases = json_object_get(root, "cases"), *one;
    size_t i;
    ck_assert_uint_ge(json_array_size(cases), 20);
    json_array_foreach(cases, i, one)
    {
        torch_case c = torch_run(file, one, _i);
        expect_number(&c, "loss", c.loss);
        for (int k = 0; k < 2; k++) expect_number(&c, TORCH_TERM[c.depth][k], c.term[k]);
        worst = fmax(worst, expect_gradient(&c));
        if (c.depth) expect_medians(&c);
        torch_case_free(&c);
    }
    printf("loss/torch: relative RMS of gradients at most %.2g, allowed %g\n", worst, LIMIT);
    json_decref(root);
    vv_st_close(file);
}
END_TEST

static Suite *suite(void)
{
    TCase *tc;
    Suite *s = vvt_suite("loss/torch", &tc);
    tcase_add_loop_test(tc, same_as_torch, 0, 2);
    return s;
}

VVT_MAIN(suite)
