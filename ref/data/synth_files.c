/* Synthetic scenes as files: pictures, maps, masks and the manifests that list them. The form is in data/README.md. */
#include <errno.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "data/synth.h"
#include "io/file.h"
#include "io/npy.h"

enum { CAPTIONS, VQA, DEPTH, SEGMENTATION, MANIFESTS, BLOCK = 32, MOST_THREADS = 64, NAME = 64 };
static const char *const manifest[MANIFESTS] = {"captions.jsonl", "vqa.jsonl", "depth.jsonl", "segmentation.jsonl"};
static const char *const folder[] = {"images", "depth", "classes", "masks"};

/* The names of a scene's files, as the manifests have them. */
typedef struct {
    char image[NAME], depth[NAME], classes[NAME], mask[VV_SYNTH_MOST][NAME];
} names;

static void name_files(names *n, int64_t index)
{
    snprintf(n->image, NAME, "images/%06lld.png", (long long)index);
    snprintf(n->depth, NAME, "depth/%06lld.npy", (long long)index);
    snprintf(n->classes, NAME, "classes/%06lld.png", (long long)index);
    for (int k = 0; k < VV_SYNTH_MOST; k++) snprintf(n->mask[k], NAME, "masks/%06lld_%d.png", (long long)index, k);
}

/* ---- lines of the manifests ---- */

static json_t *conversation(const names *n, const char *question, const char *answer, const char *type)
{
    return json_pack("{s:s, s:[{s:s, s:s}, {s:s, s:s}], s:s}", "image", n->image, "conversations", "role", "user",
                     "content", question, "role", "assistant", "content", answer, "type", type);
}

/* Appends the value to the lines in *text, and frees it. */
static vv_status add_line(char **text, json_t *value, vv_error *err)
{
    char *line = vv_json_text(value, 0);
    char *longer = line ? vv_asprintf("%s%s\n", *text ? *text : "", line) : NULL;
    json_decref(value);
    free(line);
    free(*text);
    *text = longer;
    return longer ? VV_OK : vv_no_memory(err, "manifest");
}

static vv_status make_lines(char *text[MANIFESTS], const vv_scene *s, const names *n, vv_error *err)
{
    VV_TRY(add_line(&text[CAPTIONS], conversation(n, "Describe the picture.", s->caption, "caption"), err));
    for (int k = 0; k < s->n_questions; k++) {
        const vv_synth_question *q = &s->question[k];
        VV_TRY(add_line(&text[VQA], conversation(n, q->question, q->answer, q->type), err));
    }
    json_t *depth =
        json_pack("{s:s, s:s, s:s, s:s}", "image", n->image, "depth", n->depth, "kind", "depth", "classes", n->classes);
    VV_TRY(add_line(&text[DEPTH], depth, err));
    if (s->n_referring == 0) return VV_OK;
    json_t *line = json_pack("{s:s, s:[]}", "image", n->image, "instances");
    for (int k = 0; k < s->n_referring; k++) {
        const vv_synth_referring *r = &s->referring[k];
        json_array_append_new(json_object_get(line, "instances"),
                              json_pack("{s:s, s:s}", "text", r->text, "mask", n->mask[r->object]));
    }
    return add_line(&text[SEGMENTATION], line, err);
}

/* ---- the files of a scene ---- */

static vv_status write_picture(const char *dir, const char *name, const vv_image *image, vv_error *err)
{
    char *path = vv_path_join(dir, name);
    const vv_status s = path ? vv_image_write_png(image, path, err) : vv_no_memory(err, dir);
    free(path);
    return s;
}

static vv_status write_grey(const char *dir, const char *name, int64_t size, const unsigned char *map, vv_error *err)
{
    char *path = vv_path_join(dir, name);
    const vv_status s = path ? vv_grey_write(path, size, size, 8, map, err) : vv_no_memory(err, dir);
    free(path);
    return s;
}

static vv_status write_depth(const char *dir, const char *name, int64_t size, const float *depth, vv_error *err)
{
    const int64_t shape[2] = {size, size};
    char *path = vv_path_join(dir, name);
    const vv_status s = path ? vv_npy_write(path, VV_DT_F32, 2, shape, depth, err) : vv_no_memory(err, dir);
    free(path);
    return s;
}

/* Masks are written white on black, so that a person sees them. */
static vv_status write_mask(const char *dir, const char *name, int64_t size, const unsigned char *mask, vv_error *err)
{
    unsigned char *white = vv_calloc(size * size, 1);
    if (!white) return vv_no_memory(err, name);
    for (int64_t i = 0; i < size * size; i++) white[i] = mask[i] ? 255 : 0;
    const vv_status s = write_grey(dir, name, size, white, err);
    free(white);
    return s;
}

static vv_status write_scene(char *text[MANIFESTS], const char *dir, const vv_synth_options *o, int64_t index,
                             vv_error *err)
{
    vv_scene s;
    names n = {.image = ""};
    VV_TRY(vv_synth_scene(&s, o, index, err));
    name_files(&n, index);
    vv_status r = write_picture(dir, n.image, &s.image, err);
    if (r == VV_OK) r = write_depth(dir, n.depth, o->size, s.depth, err);
    if (r == VV_OK) r = write_grey(dir, n.classes, o->size, s.classes, err);
    for (int k = 0; r == VV_OK && k < s.n_objects; k++) r = write_mask(dir, n.mask[k], o->size, s.object[k].mask, err);
    if (r == VV_OK) r = make_lines(text, &s, &n, err);
    vv_scene_free(&s);
    return r;
}

/* ---- all of them ---- */

static vv_status make_folders(const char *dir, int force, vv_error *err)
{
    struct stat st;
    if (!force && stat(dir, &st) == 0) return vv_fail(err, VV_USAGE, "%s: exists already; --force replaces it", dir);
    VV_TRY(vv_dir_make(dir, err));
    vv_status s = VV_OK;
    for (size_t i = 0; s == VV_OK && i < sizeof folder / sizeof *folder; i++) {
        char *path = vv_path_join(dir, folder[i]);
        s = path ? vv_dir_make(path, err) : vv_no_memory(err, dir);
        free(path);
    }
    for (int i = 0; s == VV_OK && i < MANIFESTS; i++) { /* what they name is about to change */
        char *path = vv_path_join(dir, manifest[i]);
        if (!path) s = vv_no_memory(err, dir);
        else if (unlink(path) && errno != ENOENT)
            s = vv_fail(err, VV_FILE, "%s: cannot be removed: %s", path, strerror(errno));
        free(path);
    }
    return s;
}

/* Scenes [first, first + n), n <= BLOCK, by several threads; their lines in order. */
static vv_status write_block(vv_out *out[MANIFESTS], const char *dir, const vv_synth_options *o, int64_t first, int n,
                             vv_error *err)
{
    char *text[BLOCK][MANIFESTS] = {{NULL}};
    vv_error errors[BLOCK];
    vv_status s = VV_OK;
    const int threads = (int)vv_min(omp_get_max_threads(), MOST_THREADS); /* so many files are open at a time */
    memset(errors, 0, sizeof errors);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int i = 0; i < n; i++) (void)!write_scene(text[i], dir, o, first + i, &errors[i]);
    for (int i = 0; i < n; i++) {
        if (s == VV_OK && errors[i].status != VV_OK) s = vv_fail(err, errors[i].status, "%s", errors[i].msg);
        for (int m = 0; m < MANIFESTS; m++) {
            if (s == VV_OK && text[i][m]) s = vv_out_write(out[m], text[i][m], strlen(text[i][m]), err);
            free(text[i][m]);
        }
    }
    return s;
}

vv_status vv_synth_write(const char *dir, const vv_synth_options *o, int64_t first, int64_t count, int force,
                         vv_error *err)
{
    VV_TRY(vv_synth_check(o, err));
    if (first < 0 || count < 1 || count > INT64_MAX - first)
        return vv_fail(err, VV_USAGE, "scenes: expected a first one from 0 and at least one, found %lld and %lld",
                       (long long)first, (long long)count);
    VV_TRY(make_folders(dir, force, err));
    vv_out *out[MANIFESTS] = {NULL};
    vv_status s = VV_OK;
    vv_out_group_begin();
    for (int m = 0; s == VV_OK && m < MANIFESTS; m++) {
        char *path = vv_path_join(dir, manifest[m]);
        s = path ? vv_out_open(&out[m], path, err) : vv_no_memory(err, dir);
        free(path);
    }
    for (int64_t i = 0; s == VV_OK && i < count; i += BLOCK) {
        vv_progress("scenes", i, count);
        s = write_block(out, dir, o, first + i, (int)vv_min(BLOCK, count - i), err);
    }
    vv_progress("scenes", count, count);
    vv_out_group_end(); /* all that the manifests name is on the disk */
    for (int m = 0; s == VV_OK && m < MANIFESTS; m++) s = vv_out_sync(out[m], err);
    for (int m = 0; m < MANIFESTS; m++) {
        if (s == VV_OK) s = vv_out_commit(out[m], err);
        else vv_out_abort(out[m]);
    }
    return s;
}
