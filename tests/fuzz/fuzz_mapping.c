/* A mapping file, applied to a candidate of four tensors: "a.0" and "a.1" [4,6], "b" [1,2,3,4], "ids" I64 [8]. The golden file has a grid of
 * eight tokens. */
#include "fuzz/targets.h"
#include "golden/mapping.h"
#include "io/npy.h"

static char candidate[400], golden[400];

static void make_files(void)
{
    static const struct {
        const char *key;
        int ndim;
        int64_t shape[4];
        vv_dtype type;
    } tensor[] = {{"a.0", 2, {4, 6}, VV_DT_F32},
                  {"a.1", 2, {4, 6}, VV_DT_F32},
                  {"b", 4, {1, 2, 3, 4}, VV_DT_F32},
                  {"ids", 1, {8}, VV_DT_I64}};
    static const float numbers[24] = {1, -2, 3e38f, 1e-45f, 0.5f, 65520};
    static const int64_t ids[8] = {7, -1}, grid[3] = {1, 2, 4};
    const vv_st_decl decl = {.name = "u1/vision/in/grid_thw", .dtype = VV_DT_I64, .ndim = 2, .shape = {1, 3}};
    const char *const meta[] = {"versavit_golden", "2", "index", "[{\"key\":\"u1/vision/in/grid_thw\"}]", NULL};
    vv_stw *w = NULL;
    vv_error err = {0};
    snprintf(candidate, sizeof candidate, "%s/c", vvt_scratch_dir());
    snprintf(golden, sizeof golden, "%s/g.safetensors", vvt_scratch_dir());
    vv_st_decl all[4] = {{0}};
    for (int i = 0; i < 4; i++) {
        all[i] = (vv_st_decl){.name = tensor[i].key, .dtype = tensor[i].type, .ndim = tensor[i].ndim};
        memcpy(all[i].shape, tensor[i].shape, sizeof tensor[i].shape);
    }
    VVT_HOLDS(vv_stw_open(&w, candidate, all, 4, NULL, 0, &err) == VV_OK);
    for (int i = 0; i < 4; i++)
        VVT_HOLDS(vv_stw_write(w, i, i < 3 ? (const void *)numbers : (const void *)ids, &err) == VV_OK);
    VVT_HOLDS(vv_stw_commit(w, &err) == VV_OK);
    VVT_HOLDS(vv_stw_open(&w, golden, &decl, 1, meta, 0, &err) == VV_OK);
    VVT_HOLDS(vv_stw_write(w, 0, grid, &err) == VV_OK && vv_stw_commit(w, &err) == VV_OK);
}

static void hold(const vv_candidate *c)
{
    for (int64_t i = 0; i < c->n; i++) {
        const vv_candidate_tensor *t = &c->at[i];
        int64_t n = 1;
        VVT_HOLDS(t->key && t->e.ndim >= 0 && t->e.ndim <= VV_ST_MAXDIM);
        VVT_HOLDS(i == 0 || strcmp(c->at[i - 1].key, t->key) <= 0);
        for (int k = 0; k < t->e.ndim; k++) n *= t->e.shape[k];
        VVT_HOLDS(n == t->e.n);
        double *v = NULL;
        vv_error err = {0};
        VVT_HOLDS(vv_candidate_read(&v, c, t, &err) == VV_OK);
        free(v);
    }
}

int VVT_TARGET(mapping)(const uint8_t *bytes, size_t n)
{
    static vv_golden g;
    vv_mapping *m = NULL;
    vv_candidate c;
    vv_error err = {0};
    if (!g.path) {
        make_files();
        VVT_HOLDS(vv_golden_open(&g, golden, &err) == VV_OK);
        VVT_HOLDS(g.n == 1);
    }
    const vv_status s = vv_mapping_load(&m, vvt_scratch("m.json", bytes, n), &err);
    VVT_HOLDS((s == VV_OK) == (m != NULL));
    if (!vvt_outcome(s, &err)) return 0;
    VVT_HOLDS(vv_candidate_open(&c, candidate, &err) == VV_OK);
    if (vvt_outcome(vv_mapping_apply(m, &c, &g, &err), &err)) hold(&c);
    vv_candidate_close(&c);
    vv_mapping_free(m);
    return 0;
}
