#include "train/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"

void vv_log_close(vv_log *l)
{
    if (l->file) fclose(l->file);
    free(l->path);
    *l = (vv_log){0};
}

vv_status vv_log_open(vv_log *l, const char *folder, vv_error *err)
{
    *l = (vv_log){.path = vv_path_join(folder, "log.jsonl")};
    if (!l->path) return vv_no_memory(err, folder);
    l->file = fopen(l->path, "a");
    return l->file ? VV_OK : vv_fail(err, VV_FILE, "%s: cannot be written: %s", l->path, strerror(errno));
}

/* takes the object */
static vv_status put(vv_log *l, json_t *object, vv_error *err)
{
    char *text = vv_json_text(object, JSON_COMPACT), *line = text ? vv_asprintf("%s\n", text) : NULL;
    json_decref(object);
    free(text);
    if (!line) return vv_no_memory(err, l->path);
    errno = 0;
    const int ok = fwrite(line, strlen(line), 1, l->file) == 1 && fflush(l->file) == 0;
    free(line);
    return ok ? VV_OK : vv_fail(err, VV_FILE, "%s: cannot be written: %s", l->path, strerror(errno));
}

vv_status vv_log_start(vv_log *l, const char *stage, int64_t updates, int64_t parameters, int64_t trainable,
                       vv_error *err)
{
    return put(l,
               json_pack("{s:s, s:s, s:I, s:I, s:I, s:i}", "kind", "start", "stage", stage, "updates",
                         (json_int_t)updates, "parameters", (json_int_t)parameters, "trainable", (json_int_t)trainable,
                         "threads", vvb_get_info()->threads),
               err);
}

vv_status vv_log_resume(vv_log *l, const char *stage, int64_t update, vv_error *err)
{
    return put(l, json_pack("{s:s, s:s, s:I}", "kind", "resume", "stage", stage, "update", (json_int_t)update), err);
}

vv_status vv_log_end(vv_log *l, const char *stage, int64_t updates, double seconds, int64_t activations, vv_error *err)
{
    return put(l,
               json_pack("{s:s, s:s, s:I, s:f, s:I}", "kind", "end", "stage", stage, "updates", (json_int_t)updates,
                         "seconds", seconds, "activations", (json_int_t)activations),
               err);
}

static json_t *losses(int tasks, const double loss[VV_TASKS], double total)
{
    json_t *o = json_object();
    for (int k = 0; k < VV_TASKS; k++)
        if (tasks >> k & 1) json_object_set_new(o, vv_task_name[k], json_real(loss[k]));
    json_object_set_new(o, "total", json_real(total));
    return o;
}

static json_t *parts(const vv_update *u)
{
    json_t *o = json_object();
    if (u->tasks >> VV_TASK_DEPTH & 1) {
        json_object_set_new(o, "ssi", json_real(u->ssi));
        json_object_set_new(o, "gm", json_real(u->gm));
    }
    if (u->tasks >> VV_TASK_SEGMENTATION & 1) {
        json_object_set_new(o, "bce", json_real(u->bce));
        json_object_set_new(o, "dice", json_real(u->dice));
    }
    return o;
}

static json_t *rates(const vv_update *u)
{
    json_t *o = json_object();
    for (int k = 0; k < VV_PARTS; k++)
        if (u->train >> k & 1) json_object_set_new(o, vv_part_key[k], json_real(u->lr[k]));
    return o;
}

vv_status vv_log_update(vv_log *l, const vv_update *u, vv_error *err)
{
    return put(l,
               json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:f, s:f}", "kind", "update", "stage", u->stage, "update",
                         (json_int_t)u->update, "loss", losses(u->tasks, u->loss, u->total), "parts", parts(u), "lr",
                         rates(u), "grad_norm", u->grad_norm, "seconds", u->seconds),
               err);
}

vv_status vv_log_validation(vv_log *l, const vv_update *u, vv_error *err)
{
    return put(l,
               json_pack("{s:s, s:s, s:I, s:o, s:I}", "kind", "validation", "stage", u->stage, "update",
                         (json_int_t)u->held_out.update, "validation",
                         losses(u->tasks, u->held_out.loss, u->held_out.total), "best", (json_int_t)u->best.update),
               err);
}

vv_status vv_log_gradients(vv_log *l, const vv_update *u, const vv_gradients *g, vv_error *err)
{
    static const int pair[VV_TASKS][2] = {{0, 1}, {0, 2}, {1, 2}};
    json_t *layers = json_array();
    for (int64_t i = 0; i < g->n; i++) {
        json_t *norm = json_object(), *cosine = json_object();
        for (int k = 0; k < VV_TASKS; k++)
            if (u->tasks >> k & 1) json_object_set_new(norm, vv_task_name[k], json_real(g->layer[i].norm[k]));
        for (int k = 0; k < VV_TASKS; k++) {
            char key[64];
            if (!(u->tasks >> pair[k][0] & u->tasks >> pair[k][1] & 1)) continue;
            snprintf(key, sizeof key, "%s.%s", vv_task_name[pair[k][0]], vv_task_name[pair[k][1]]);
            json_object_set_new(cosine, key, json_real(g->layer[i].cosine[k]));
        }
        json_array_append_new(layers,
                              json_pack("{s:s, s:o, s:o}", "layer", g->layer[i].name, "norm", norm, "cosine", cosine));
    }
    return put(l,
               json_pack("{s:s, s:s, s:I, s:o}", "kind", "gradients", "stage", u->stage, "update",
                         (json_int_t)u->update, "layers", layers),
               err);
}

/* ---- going on ------------------------------------------------------------------------------------------------------------- */
static int stays(const json_t *line, const char *stage, int64_t update, const char *const *earlier, int64_t n)
{
    const char *of = json_string_value(json_object_get(line, "stage")),
               *kind = json_string_value(json_object_get(line, "kind"));
    if (!of || !kind) return 0; /* half a line: the process died over it */
    for (int64_t i = 0; i < n; i++)
        if (!strcmp(of, earlier[i])) return 1;
    if (strcmp(of, stage) || !strcmp(kind, "end")) return 0;
    return json_integer_value(json_object_get(line, "update")) <= update && (update > 0 || strcmp(kind, "start"));
}

vv_status vv_log_cut(const char *folder, const char *stage, int64_t update, const char *const *earlier, int64_t n,
                     vv_error *err)
{
    char *path = vv_path_join(folder, "log.jsonl");
    vv_map map = {0};
    vv_out *out = NULL;
    FILE *there = path ? fopen(path, "r") : NULL;
    vv_status s = path ? VV_OK : vv_no_memory(err, folder);
    if (there) fclose(there);
    if (there) {
        s = vv_map_open(&map, path, err);
        if (s == VV_OK) s = vv_out_open(&out, path, err);
        const char *p = (const char *)map.data, *end = p + map.bytes;
        while (s == VV_OK && p < end) {
            const char *stop = memchr(p, '\n', (size_t)(end - p));
            const size_t length = stop ? (size_t)(stop - p) + 1 : (size_t)(end - p);
            json_t *line = stop ? json_loadb(p, length, 0, NULL) : NULL;
            if (line && stays(line, stage, update, earlier, n)) s = vv_out_write(out, p, length, err);
            json_decref(line);
            p += length;
        }
        vv_map_close(&map);
        if (s == VV_OK) s = vv_out_commit(out, err);
        else vv_out_abort(out);
    }
    free(path);
    return s;
}
