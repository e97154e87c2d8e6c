/* A manifest, taken for each of the three tasks in turn: JSON Lines, or one list when the first byte is '['. Its samples may
 * name a.png, a picture of 5 x 7; b.png, a grey one of that size; c.png, a grey one too wide by one; d.npy and e.pfm, depth
 * maps. Bytes that begin with 'P' are a PFM. */
#include "data/dataset_parts.h"
#include "fuzz/targets.h"
#include "io/npy.h"
#include "io/pfm.h"

enum { H = 5, W = 7 };

static void make_files(void)
{
    static const unsigned char zeros[H * (W + 1)];
    static const float depth[H * W] = {1, 0, -1, 1e-45f, 3};
    static const int64_t shape[2] = {H, W};
    static unsigned char pfm[11 + 4 * H * W] = "Pf 7 5 -1\n";
    char path[600];
    vv_image image;
    vv_error err = {0};
    VVT_HOLDS(vv_image_new(&image, H, W, &err) == VV_OK);
    snprintf(path, sizeof path, "%s/a.png", vvt_scratch_dir());
    VVT_HOLDS(vv_image_write_png(&image, path, &err) == VV_OK);
    snprintf(path, sizeof path, "%s/b.png", vvt_scratch_dir());
    VVT_HOLDS(vv_grey_write(path, H, W, 8, zeros, &err) == VV_OK);
    snprintf(path, sizeof path, "%s/c.png", vvt_scratch_dir());
    VVT_HOLDS(vv_grey_write(path, H, W + 1, 8, zeros, &err) == VV_OK);
    snprintf(path, sizeof path, "%s/d.npy", vvt_scratch_dir());
    VVT_HOLDS(vv_npy_write(path, VV_DT_F32, 2, shape, depth, &err) == VV_OK);
    vvt_scratch("e.pfm", pfm, 10 + 4 * H * W);
    vv_image_free(&image);
}

/* What every sample keeps, whatever its line said. */
static void hold(const vv_sample *s, vv_task task)
{
    const int64_t n = s->image.h * s->image.w;
    VVT_HOLDS(s->name && (n > 0) == (s->image.rgb != NULL));
    VVT_HOLDS((task == VV_TASK_CAPTION) == (s->n_messages >= 2) &&
              (task == VV_TASK_SEGMENTATION) == (s->n_instances >= 1));
    for (int64_t i = 0; i < s->n_messages; i++) VVT_HOLDS(s->message[i].role && s->message[i].text);
    VVT_HOLDS((task == VV_TASK_DEPTH) == (s->disparity != NULL));
    for (int64_t i = 0; s->disparity && i < n; i++)
        VVT_HOLDS(s->disparity[i] != s->disparity[i] || (s->disparity[i] >= 0 && s->disparity[i] <= 3.4028235e38f));
    for (int64_t k = 0; k < s->n_instances; k++) {
        VVT_HOLDS(s->instance[k].text[0]);
        for (int64_t i = 0; i < n; i++) VVT_HOLDS(s->instance[k].mask[i] <= 1);
    }
}

/* 1 when the manifest and all its samples are good. */
static int run(const uint8_t *bytes, size_t n, vv_task task)
{
    char path[600];
    vv_manifest m;
    vv_error err = {0};
    snprintf(path, sizeof path, "%s/m.json%s", vvt_scratch_dir(), n && bytes[0] == '[' ? "" : "l");
    if (!vvt_outcome(vv_manifest_parse(&m, (const char *)bytes, (int64_t)n, path, task, &err), &err)) {
        VVT_HOLDS(!m.text && !m.item && m.n == 0);
        return 0;
    }
    int good = 1;
    for (int64_t i = 0; i < m.n && i < 8; i++) {
        char *unknown;
        vv_error why = {0};
        vv_notes notes = {0};
        vv_sample s;
        const int form = vvt_outcome(vv_manifest_check(&m, i, &unknown, &why), &why);
        free(unknown);
        if (form && vvt_outcome(vv_manifest_read(&m, i, &s, &notes, &why), &why)) {
            hold(&s, task);
            vv_sample_free(&s);
        }
        good &= vvt_accepted;
        vv_notes_free(&notes);
    }
    vv_manifest_free(&m);
    return good;
}

int VVT_TARGET(manifest)(const uint8_t *bytes, size_t n)
{
    static int files;
    if (!files++) make_files();
    if (n && bytes[0] == 'P') {
        vv_pfm p;
        vv_error err = {0};
        if (vvt_outcome(vv_pfm_parse(&p, bytes, (int64_t)n, "input", &err), &err))
            VVT_HOLDS(4 * p.h * p.w < (int64_t)n);
        vv_pfm_free(&p);
        return 0;
    }
    int good = 0;
    for (int task = 0; task < VV_TASKS; task++) good |= run(bytes, n, (vv_task)task);
    vvt_accepted = good;
    return 0;
}
