/* A source of samples with its tolerance for bad ones, and the samples themselves. */
#include "data/dataset.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset_parts.h"

const char *const vv_task_name[VV_TASKS] = {"caption", "depth", "segmentation"};

void vv_sample_free(vv_sample *s)
{
    free(s->name);
    vv_image_free(&s->image);
    for (int64_t i = 0; i < s->n_messages; i++) {
        free(s->message[i].role);
        free(s->message[i].text);
    }
    free(s->message);
    free(s->type);
    free(s->disparity);
    free(s->classes);
    for (int64_t i = 0; i < s->n_instances; i++) {
        free(s->instance[i].text);
        free(s->instance[i].mask);
    }
    free(s->instance);
    *s = (vv_sample){0};
}

/* ---- scenes that were drawn before ----------------------------------------------------------------------------------- */
enum { KEEP_BYTES = 1 << 30 };

/* n items of the given size in fresh memory; NULL stays NULL, and *ok becomes 0 without memory */
static void *copy(const void *from, int64_t n, size_t size, int *ok, int64_t *bytes)
{
    if (!from || !*ok) return NULL;
    void *to = vv_calloc(n, size);
    if (to) memcpy(to, from, (size_t)n * size);
    *ok = to != NULL;
    *bytes += n * (int64_t)size;
    return to;
}

static char *copy_text(const char *from, int *ok, int64_t *bytes)
{
    return copy(from, from ? (int64_t)strlen(from) + 1 : 0, 1, ok, bytes);
}

/* *bytes: what it takes. 0 without memory; then *out is zeroed. */
static int copy_sample(vv_sample *out, const vv_sample *s, int64_t *bytes)
{
    const int64_t n = s->image.h * s->image.w;
    int ok = 1;
    *bytes = (int64_t)sizeof *out;
    *out = (vv_sample){.name = copy_text(s->name, &ok, bytes), .type = copy_text(s->type, &ok, bytes)};
    out->image = (vv_image){s->image.h, s->image.w, copy(s->image.rgb, 3 * n, 1, &ok, bytes)};
    out->disparity = copy(s->disparity, n, sizeof *out->disparity, &ok, bytes);
    out->classes = copy(s->classes, n, 1, &ok, bytes);
    if ((out->message = copy(s->message, s->n_messages, sizeof *out->message, &ok, bytes)))
        out->n_messages = s->n_messages;
    for (int64_t i = 0; i < out->n_messages; i++)
        out->message[i] =
            (vv_message){copy_text(s->message[i].role, &ok, bytes), copy_text(s->message[i].text, &ok, bytes)};
    if ((out->instance = copy(s->instance, s->n_instances, sizeof *out->instance, &ok, bytes)))
        out->n_instances = s->n_instances;
    for (int64_t i = 0; i < out->n_instances; i++)
        out->instance[i] =
            (vv_instance){copy_text(s->instance[i].text, &ok, bytes), copy(s->instance[i].mask, n, 1, &ok, bytes)};
    if (!ok) vv_sample_free(out);
    return ok;
}

/* ---- warnings ---------------------------------------------------------------------------------------------------- */

vv_status vv_note(vv_notes *notes, vv_error *err, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const size_t n = strlen(text) + 1;
    char *more = realloc(notes->text, notes->n + n);
    if (!more) return vv_no_memory(err, "a warning");
    notes->text = more;
    memcpy(more + notes->n, text, n);
    notes->n += n;
    return VV_OK;
}

void vv_notes_free(vv_notes *notes)
{
    free(notes->text);
    *notes = (vv_notes){0};
}

void vv_notes_tell(vv_notes *notes)
{
    for (size_t i = 0; i < notes->n; i += strlen(notes->text + i) + 1) vv_warn("%s", notes->text + i);
    vv_notes_free(notes);
}

/* ---- the data set ------------------------------------------------------------------------------------------------ */

struct vv_dataset {
    vv_source source;
    vv_task task;
    vv_manifest manifest; /* unless scenes */
    int64_t n, skip_bad;
    pthread_mutex_t lock; /* of what follows */
    int64_t n_bad;
    unsigned char *bad; /* [n] of a manifest: known to be bad */
    int coarse_told;
    vv_sample **
        kept; /* [n] of scenes: drawn before, until they take KEEP_BYTES; drawing costs more than a step of a small model */
    int64_t kept_bytes;
    int kept_full; /* one did not fit any more */
};

void vv_dataset_free(vv_dataset *d)
{
    if (!d) return;
    vv_manifest_free(&d->manifest);
    free(d->bad);
    for (int64_t i = 0; d->kept && i < d->n; i++) {
        if (d->kept[i]) vv_sample_free(d->kept[i]);
        free(d->kept[i]);
    }
    free(d->kept);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

int64_t vv_dataset_size(const vv_dataset *d) { return d->n; }

/* Sample i is bad: a warning while the tolerance lasts, then why becomes the error. */
static vv_status tolerate(vv_dataset *d, int64_t i, const vv_error *why, vv_notes *notes, vv_error *err)
{
    pthread_mutex_lock(&d->lock);
    const int known = d->bad[i], fine = known || d->n_bad < d->skip_bad;
    if (fine && !known) {
        d->bad[i] = 1;
        d->n_bad++;
    }
    pthread_mutex_unlock(&d->lock);
    if (fine) return known ? VV_OK : vv_note(notes, err, "%s (skipped)", why->msg);
    if (!d->skip_bad) return vv_fail(err, VV_FILE, "%s", why->msg);
    return vv_fail(err, VV_FILE, "%.450s (after %lld bad samples, all that may be skipped)", why->msg,
                   (long long)d->skip_bad);
}

/* The form of every line. */
static vv_status check_all(vv_dataset *d, vv_notes *notes, vv_error *err)
{
    int told = 0;
    for (int64_t i = 0; i < d->n; i++) {
        char *unknown = NULL, place[VV_PLACE];
        vv_error why = {0};
        const vv_status s = vv_manifest_check(&d->manifest, i, &unknown, &why);
        vv_status t = VV_OK;
        if (unknown && !told++)
            t = vv_note(notes, err, "%s: unknown key '%.100s' (and perhaps others) means nothing to the task %s",
                        vv_manifest_place(&d->manifest, i, place), unknown, vv_task_name[d->task]);
        free(unknown);
        VV_TRY(t);
        if (s == VV_FILE) VV_TRY(tolerate(d, i, &why, notes, err));
        else if (s != VV_OK) return vv_fail(err, s, "%s", why.msg);
    }
    return VV_OK;
}

static vv_status open_manifest(vv_dataset *d, const char *path, vv_error *err)
{
    vv_notes notes = {0};
    VV_TRY(vv_manifest_open(&d->manifest, path, d->task, err));
    d->n = d->manifest.n;
    if (!(d->bad = vv_calloc(d->n, 1))) return vv_no_memory(err, path);
    const vv_status s = check_all(d, &notes, err);
    vv_notes_tell(&notes);
    return s;
}

static vv_status open_scenes(vv_dataset *d, vv_error *err)
{
    const vv_source *s = &d->source;
    d->n = s->count;
    VV_TRY(vv_synth_check(&s->scenes, err));
    if (s->first < 0 || s->count < 1 || s->first > INT64_MAX - s->count)
        return vv_fail(err, VV_USAGE,
                       "scenes: expected a first one from 0 on and a count of at least 1, found %lld and %lld",
                       (long long)s->first, (long long)s->count);
    if (s->questions < VV_ASK_NOTHING || s->questions > VV_ASK_ALL)
        return vv_fail(err, VV_USAGE, "scenes: questions: expected 0, 1, 2 or 3, found %d", s->questions);
    if (d->n <= KEEP_BYTES / 4096 && !(d->kept = vv_calloc(d->n, sizeof *d->kept)))
        return vv_no_memory(err, "a data set");
    return VV_OK;
}

vv_status vv_dataset_open(vv_dataset **out, const vv_source *source, vv_task task, int64_t skip_bad, vv_error *err)
{
    *out = NULL;
    if (skip_bad < 0)
        return vv_fail(err, VV_USAGE, "samples to skip: expected 0 or more, found %lld", (long long)skip_bad);
    vv_dataset *d = vv_calloc(1, sizeof *d);
    if (!d) return vv_no_memory(err, "a data set");
    if (pthread_mutex_init(&d->lock, NULL)) {
        free(d);
        return vv_no_memory(err, "a data set");
    }
    d->source = *source;
    d->source.manifest = NULL; /* the caller's, and not needed again */
    d->task = task;
    d->skip_bad = skip_bad;
    const vv_status s = source->manifest ? open_manifest(d, source->manifest, err) : open_scenes(d, err);
    if (s == VV_OK) *out = d;
    else vv_dataset_free(d);
    return s;
}

/* A copy of the scene that was kept; 0 when there is none, or no memory for it. */
static int recall(vv_dataset *d, int64_t i, vv_sample *out)
{
    int64_t bytes;
    pthread_mutex_lock(&d->lock);
    const vv_sample *kept = d->kept ? d->kept[i] : NULL; /* once there it stays as it is */
    pthread_mutex_unlock(&d->lock);
    return kept && copy_sample(out, kept, &bytes);
}

/* Keeps a copy while there is room; without memory there is none. */
static void keep(vv_dataset *d, int64_t i, const vv_sample *s)
{
    int64_t bytes = 0;
    pthread_mutex_lock(&d->lock);
    const int wanted = d->kept && !d->kept_full;
    pthread_mutex_unlock(&d->lock);
    vv_sample *mine = wanted ? vv_calloc(1, sizeof *mine) : NULL;
    if (mine && copy_sample(mine, s, &bytes)) {
        pthread_mutex_lock(&d->lock);
        const int room = !d->kept[i] && d->kept_bytes + bytes <= KEEP_BYTES;
        if (room) {
            d->kept[i] = mine;
            d->kept_bytes += bytes;
        } else if (!d->kept[i]) {
            d->kept_full = 1;
        }
        pthread_mutex_unlock(&d->lock);
        if (room) return;
        vv_sample_free(mine);
    }
    free(mine);
}

static vv_status scene(vv_dataset *d, int64_t i, vv_sample *out, vv_error *err)
{
    if (recall(d, i, out)) return VV_OK;
    VV_TRY(vv_scene_sample(out, &d->source, d->task, i, err));
    keep(d, i, out);
    return VV_OK;
}

static int is_bad(vv_dataset *d, int64_t i)
{
    pthread_mutex_lock(&d->lock);
    const int bad = d->bad[i];
    pthread_mutex_unlock(&d->lock);
    return bad;
}

/* The first map of 8 bits that anyone reads is told. */
static vv_status note_coarse(vv_dataset *d, const vv_sample *s, vv_notes *notes, vv_error *err)
{
    pthread_mutex_lock(&d->lock);
    const int told = d->coarse_told;
    d->coarse_told = 1;
    pthread_mutex_unlock(&d->lock);
    notes->coarse_depth = 0;
    if (told) return VV_OK;
    return vv_note(notes, err, "%s: a depth map of 8 bits has 256 steps at most, coarse for gradients (said once)",
                   s->name);
}

vv_status vv_dataset_read(vv_dataset *d, int64_t i, vv_sample *out, vv_notes *notes, vv_error *err)
{
    *out = (vv_sample){0};
    if (i < 0 || i >= d->n)
        return vv_fail(err, VV_USAGE, "sample: expected 0 to %lld, found %lld", (long long)d->n - 1, (long long)i);
    if (!d->manifest.path) return scene(d, i, out, err);
    for (int64_t k = 0; k < d->n; k++) {
        const int64_t at = (i + k) % d->n;
        vv_error why = {0};
        if (is_bad(d, at)) continue;
        vv_status s = vv_manifest_read(&d->manifest, at, out, notes, &why);
        if (s == VV_FILE) VV_TRY(tolerate(d, at, &why, notes, err));
        if (s == VV_FILE) continue;
        if (s != VV_OK) return vv_fail(err, s, "%s", why.msg);
        if (notes->coarse_depth) s = note_coarse(d, out, notes, err);
        if (s != VV_OK) vv_sample_free(out);
        return s;
    }
    return vv_fail(err, VV_FILE, "%s: none of its %lld samples is good", d->manifest.path, (long long)d->n);
}

vv_status vv_dataset_get(vv_dataset *d, int64_t i, vv_sample *out, vv_error *err)
{
    vv_notes notes = {0};
    const vv_status s = vv_dataset_read(d, i, out, &notes, err);
    vv_notes_tell(&notes);
    return s;
}
