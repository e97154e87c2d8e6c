/* losses IN OUT: the cases of IN (scripts/torch/record_losses.py) computed here, for scripts/torch/check_losses.py. OUT: of each case
 * NAME/loss, its terms, NAME/dp or NAME/dx, and NAME/medians I32 [4 maps]. */
#include "torch_cases.h"

enum { PER_CASE = 5, CASES = 64 };

/* The values of a case in the order of their declarations, which this makes. */
static int64_t declare(vv_st_decl *decl, const void **at, const torch_case *c, char (*key)[64])
{
    const char *names[PER_CASE] = {"loss", TORCH_TERM[c->depth][0], TORCH_TERM[c->depth][1], c->depth ? "dp" : "dx",
                                   "medians"};
    const void *values[PER_CASE] = {&c->loss, &c->term[0], &c->term[1], c->grad, c->medians};
    const int64_t n[PER_CASE] = {1, 1, 1, c->n, 4 * c->B};
    const int count = c->depth ? PER_CASE : PER_CASE - 1;
    for (int i = 0; i < count; i++) {
        snprintf(key[i], sizeof key[i], "%.40s/%s", c->name, names[i]);
        decl[i] = (vv_st_decl){.name = key[i], .dtype = i < 4 ? VV_DT_REAL : VV_DT_I32, .ndim = 1, .shape = {n[i]}};
        at[i] = values[i];
    }
    return count;
}

static void write_file(const char *path, const torch_case *c, size_t n)
{
    static vv_st_decl decl[PER_CASE * CASES];
    static const void *at[PER_CASE * CASES];
    static char key[PER_CASE * CASES][64];
    int64_t count = 0;
    vv_stw *out;
    for (size_t i = 0; i < n; i++) count += declare(decl + count, at + count, &c[i], key + count);
    VVT_OK(vv_stw_open(&out, path, decl, count, NULL, 1, err));
    for (int64_t i = 0; i < count; i++) VVT_OK(vv_stw_write(out, i, at[i], err));
    VVT_OK(vv_stw_commit(out, err));
}

static char **words;

START_TEST(compute)
{
    vv_st *file;
    static torch_case c[CASES];
    size_t i;
    json_t *one;
    VVT_OK(vv_st_open(&file, words[1], err));
    json_t *root = torch_cases(file), *cases = json_object_get(root, "cases");
    ck_assert_uint_le(json_array_size(cases), CASES);
    json_array_foreach(cases, i, one) c[i] = torch_run(file, one, 0);
    write_file(words[2], c, json_array_size(cases));
    for (i = 0; i < json_array_size(cases); i++) torch_case_free(&c[i]);
    json_decref(root);
    vv_st_close(file);
}
END_TEST

int main(int argc, char **argv)
{
    TCase *tc;
    Suite *s = vvt_suite("losses", &tc);
    tcase_add_test(tc, compute);
    words = argv;
    if (argc == 3) return vvt_run(s);
    fprintf(stderr, "usage: %s IN.safetensors OUT.safetensors\n", argv[0]);
    return 2;
}
