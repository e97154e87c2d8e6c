/* Reading "validate" of a stage, and the samples that are held out for it. */
#include <stdlib.h>

#include "train/reader.h"

enum { MOST_COUNT = 1 << 20 };

vv_status vv_validate_read(vv_stage_config *s, const vv_reader *r)
{
    static const char *const keys[] = {"every", "count", NULL};
    const int wanted = r->in && json_object_get(r->in, "validate") != NULL;
    vv_reader in;
    for (int k = 0; k < VV_TASKS; k++)
        if (s->task[k].n_validation && !wanted)
            return vv_fail(r->err, VV_FILE, "%s: 'validation': expected a stage with validate; this one never reads it",
                           s->task[k].where);
    if (!wanted) return VV_OK; /* nor in run.json: what does not ask for it is the same run as ever */
    VV_TRY(vv_reader_enter(&in, r, "validate", -1));
    VV_TRY(vv_reader_only(&in, keys));
    VV_TRY(vv_reader_need(&in, "every"));
    VV_TRY(vv_reader_int(&in, "every", 1, INT64_MAX, &s->validate_every));
    VV_TRY(vv_reader_need(&in, "count"));
    return vv_reader_int(&in, "count", 1, MOST_COUNT, &s->validate_count);
}

/* the first scene of that seed that no stage trains on */
static int64_t beyond(const vv_train_config *c, uint64_t seed)
{
    int64_t end = 0;
    for (int64_t i = 0; i < c->n_stages; i++)
        for (int k = 0; k < VV_TASKS; k++)
            for (int64_t j = 0; j < c->stage[i].task[k].n_sources; j++) {
                const vv_source *s = &c->stage[i].task[k].source[j];
                if (!s->manifest && s->scenes.seed == seed) end = vv_max(end, s->first + s->count);
            }
    return end;
}

static vv_status hold_out(const vv_train_config *c, vv_task_config *t, int64_t count, vv_error *err)
{
    if (!t->present || t->n_validation) return VV_OK;
    if (!(t->validation = vv_calloc(t->n_sources, sizeof *t->validation))) return vv_no_memory(err, t->where);
    for (int64_t i = 0; i < t->n_sources; i++) {
        const vv_source *s = &t->source[i];
        if (s->manifest)
            return vv_fail(
                err, VV_FILE,
                "%s: 'validation': expected sources of held-out samples, found none: sources[%lld] is a manifest",
                t->where, (long long)i);
        t->validation[i] = *s;
        t->validation[i].first = beyond(c, s->scenes.seed);
        t->validation[i].count = count;
        t->n_validation++;
    }
    return VV_OK;
}

vv_status vv_hold_out(vv_train_config *c, vv_error *err)
{
    for (int64_t i = 0; i < c->n_stages; i++)
        for (int k = 0; k < VV_TASKS && c->stage[i].validate_every; k++)
            VV_TRY(hold_out(c, &c->stage[i].task[k], c->stage[i].validate_count, err));
    return VV_OK;
}
