/* A thread that reads batches ahead. It fills a ring of slots in the order of the batches; the caller empties them. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "data/dataset_parts.h"

enum { AHEAD = 2 };

typedef struct {
    vv_sample *sample; /* [batch] */
    vv_notes notes;    /* warnings, for the caller's thread */
    vv_error err;      /* status VV_OK: the samples are there */
} slot;

struct vv_loader {
    vv_dataset **source;
    double *weight;
    int64_t *taken; /* draws of each source before `draw` */
    char **stream;  /* the name of each source's permutations */
    int64_t n_sources, batch;
    uint64_t seed;
    int64_t handed; /* draws of the batches handed out: the caller's */
    slot slot[AHEAD];
    pthread_t thread;
    int started;

    pthread_mutex_t lock; /* of what follows; the slots change hands with it */
    pthread_cond_t changed;
    int first, full; /* the oldest full slot, and how many are */
    int stop;
};

/* ---- the thread --------------------------------------------------------------------------------------------------- */

static int stopped(vv_loader *l)
{
    pthread_mutex_lock(&l->lock);
    const int stop = l->stop;
    pthread_mutex_unlock(&l->lock);
    return stop;
}

/* The next batch; ends early when it is stopped, or at the first failure. */
static void fill(vv_loader *l, slot *s)
{
    for (int64_t k = 0; k < l->batch && !stopped(l); k++) {
        const int64_t i = vv_deal(l->weight, l->taken, l->n_sources), n = vv_dataset_size(l->source[i]);
        const int64_t j = l->taken[i] - 1, at = vv_draw(l->seed, l->stream[i], j / n, j % n, n);
        if (vv_dataset_read(l->source[i], at, &s->sample[k], &s->notes, &s->err) != VV_OK) return;
    }
}

static void *run(void *ctx)
{
    vv_loader *l = ctx;
    int failed = 0;
    pthread_mutex_lock(&l->lock);
    while (!l->stop && !failed) {
        if (l->full == AHEAD) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        slot *s = &l->slot[(l->first + l->full) % AHEAD];
        pthread_mutex_unlock(&l->lock);
        fill(l, s);
        failed = s->err.status != VV_OK;
        pthread_mutex_lock(&l->lock);
        l->full++;
        pthread_cond_signal(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- the caller's side -------------------------------------------------------------------------------------------- */

static void free_samples(slot *s, int64_t n)
{
    for (int64_t k = 0; s->sample && k < n; k++) vv_sample_free(&s->sample[k]);
}

void vv_loader_free(vv_loader *l)
{
    if (!l) return;
    if (l->started) {
        pthread_mutex_lock(&l->lock);
        l->stop = 1;
        pthread_cond_signal(&l->changed);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL); /* waits for the sample that is being read */
    }
    for (int i = 0; i < AHEAD; i++) {
        free_samples(&l->slot[i], l->batch);
        free(l->slot[i].sample);
        vv_notes_free(&l->slot[i].notes);
    }
    for (int64_t i = 0; l->stream && i < l->n_sources; i++) free(l->stream[i]);
    free(l->stream);
    free(l->source);
    free(l->weight);
    free(l->taken);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static vv_status allocate(vv_loader *l, const char *stream, vv_error *err)
{
    int fine = 1;
    l->source = vv_calloc(l->n_sources, sizeof *l->source);
    l->weight = vv_calloc(l->n_sources, sizeof *l->weight);
    l->taken = vv_calloc(l->n_sources, sizeof *l->taken);
    l->stream = vv_calloc(l->n_sources, sizeof *l->stream);
    for (int64_t i = 0; l->stream && i < l->n_sources;
         i++) /* each its own order; the first one's does not depend on others */
        fine &= (l->stream[i] = i ? vv_asprintf("%s/%lld", stream, (long long)i) : vv_strdup(stream)) != NULL;
    for (int i = 0; i < AHEAD; i++) fine &= (l->slot[i].sample = vv_calloc(l->batch, sizeof(vv_sample))) != NULL;
    return fine && l->source && l->weight && l->taken && l->stream ? VV_OK : vv_no_memory(err, "reading ahead");
}

/* A signal is for the threads of the program, which know what to do. */
static vv_status start(vv_loader *l, vv_error *err)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    l->started = !pthread_create(&l->thread, NULL, run, l);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return l->started ? VV_OK : vv_fail(err, VV_MEMORY, "reading ahead: no thread can be started");
}

static vv_status check(const double *weights, int64_t n_sources, int64_t batch, int64_t first_draw, vv_error *err)
{
    if (n_sources < 1 || batch < 1 || first_draw < 0)
        return vv_fail(err, VV_USAGE,
                       "reading ahead: expected sources, a batch of at least 1 and a draw from 0 on, found "
                       "%lld, %lld and %lld",
                       (long long)n_sources, (long long)batch, (long long)first_draw);
    for (int64_t i = 0; weights && i < n_sources; i++)
        if (!(weights[i] > 0 && weights[i] <= 1e100))
            return vv_fail(err, VV_USAGE, "weight of source %lld: expected more than 0 and at most 1e100, found %g",
                           (long long)i, weights[i]);
    return VV_OK;
}

vv_status vv_loader_new(vv_loader **out, vv_dataset *const *sources, const double *weights, int64_t n_sources,
                        uint64_t seed, const char *stream, int64_t batch, int64_t first_draw, vv_error *err)
{
    *out = NULL;
    VV_TRY(check(weights, n_sources, batch, first_draw, err));
    vv_loader *l = vv_calloc(1, sizeof *l);
    if (!l) return vv_no_memory(err, "reading ahead");
    l->n_sources = n_sources;
    l->batch = batch;
    l->seed = seed;
    l->handed = first_draw;
    if (pthread_mutex_init(&l->lock, NULL)) {
        free(l);
        return vv_no_memory(err, "reading ahead");
    }
    if (pthread_cond_init(&l->changed, NULL)) {
        pthread_mutex_destroy(&l->lock);
        free(l);
        return vv_no_memory(err, "reading ahead");
    }
    vv_status s = allocate(l, stream, err);
    if (s == VV_OK) {
        memcpy(l->source, sources, (size_t)n_sources * sizeof *sources);
        for (int64_t i = 0; i < n_sources; i++) l->weight[i] = weights ? weights[i] : 1;
        for (int64_t j = 0; j < first_draw; j++) vv_deal(l->weight, l->taken, n_sources);
        s = start(l, err);
    }
    if (s == VV_OK) *out = l;
    else vv_loader_free(l);
    return s;
}

vv_status vv_loader_next(vv_loader *l, vv_sample *out, vv_error *err)
{
    pthread_mutex_lock(&l->lock);
    while (!l->full) pthread_cond_wait(&l->changed, &l->lock);
    pthread_mutex_unlock(&l->lock);
    slot *s = &l->slot[l->first]; /* ours until full says otherwise */
    const size_t bytes = (size_t)l->batch * sizeof *out;
    vv_notes_tell(&s->notes);
    if (s->err.status != VV_OK) { /* the thread has ended: the slot stays, and the next call fails the same */
        memset(out, 0, bytes);
        return vv_fail(err, s->err.status, "%s", s->err.msg);
    }
    memcpy(out, s->sample, bytes);
    memset(s->sample, 0, bytes);
    l->handed += l->batch;
    pthread_mutex_lock(&l->lock);
    l->first = (l->first + 1) % AHEAD;
    l->full--;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    return VV_OK;
}

int64_t vv_loader_draws(const vv_loader *l) { return l->handed; }
