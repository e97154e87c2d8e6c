/* model.safetensors.index.json in a folder with the shards "a.safetensors" (tensors x, y) and "b.safetensors" (z). */
#include "fuzz/targets.h"
#include "io/hf_dir.h"

static void make_shards(void)
{
    static const char
        a[] = "\xff\x00\x00\x00\x00\x00\x00\x00"
              "{\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
              "\"y\":{\"dtype\":\"I16\",\"shape\":[1,2],\"data_offsets\":[8,12]}}",
        b[] = "\xff\x00\x00\x00\x00\x00\x00\x00{\"z\":{\"dtype\":\"BF16\",\"shape\":[],\"data_offsets\":[0,2]}}";
    static const struct {
        const char *name, *head;
        size_t length, data;
    } shard[] = {{"a.safetensors", a, sizeof a - 1, 12}, {"b.safetensors", b, sizeof b - 1, 2}};
    for (int i = 0; i < 2; i++) {
        char file[400] = {0};
        memcpy(file, shard[i].head, shard[i].length);
        file[0] = (char)(shard[i].length - 8);
        vvt_scratch(shard[i].name, file, shard[i].length + shard[i].data);
    }
}

static void heard(void *ctx, const char *what, int64_t done, int64_t total)
{
    (void)ctx;
    VVT_HOLDS(what[0] && done == 0 && total == 0);
}

int VVT_TARGET(index)(const uint8_t *bytes, size_t n)
{
    static int ready;
    if (!ready) make_shards();
    ready = 1;
    vv_weights *w = NULL;
    vv_error err = {0};
    vvt_scratch("model.safetensors.index.json", bytes, n);
    vv_listen(heard, NULL); /* so that warnings are worded */
    const vv_status s = vv_weights_open(&w, vvt_scratch_dir(), &err);
    vv_listen(NULL, NULL);
    VVT_HOLDS((s == VV_OK) == (w != NULL));
    if (!vvt_outcome(s, &err)) return 0;
    VVT_HOLDS(vv_weights_count(w) <= 3);
    for (int64_t i = 0; i < vv_weights_count(w); i++) {
        const vv_st *file = NULL, *same = NULL;
        const vv_st_entry *e = vv_weights_at(w, i, &file);
        union {
            double real[2];
            int64_t integer[2];
        } value;
        VVT_HOLDS(e && file && vv_weights_find(w, e->name, &same) == e && same == file);
        VVT_HOLDS(e->n <= 2);
        const vv_status read = vv_dtype_is_real(e->dtype) ? vv_st_read_f64(file, e, value.real, &err)
                                                          : vv_st_read_i64(file, e, value.integer, &err);
        VVT_HOLDS(read == VV_OK);
    }
    vv_weights_close(w);
    return 0;
}
