/* Reading one task of a stage and its sources. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/reader.h"

const char *const vv_part_key[VV_PARTS] = {"visual", "projector", "model", "depth_head", "mask_head"};

static const int64_t LARGE = (int64_t)1 << 40;
enum { MOST_BATCH = 1 << 20, MOST_SIZE = 16384 };

int vv_part_of(const vv_tensor *p)
{
    for (int k = 0; k < VV_PARTS; k++) {
        const size_t n = strlen(vv_part_key[k]);
        if (!strncmp(p->name, vv_part_key[k], n) && p->name[n] == '.') return k;
    }
    return 2; /* lm_head.weight */
}

int vv_task_parts(const vv_task_config *t)
{
    if (t->task == VV_TASK_DEPTH) return VV_VISION | VV_DEPTH;
    if (t->task == VV_TASK_SEGMENTATION) return VV_VISION | VV_MASK;
    return t->text_alone ? VV_TEXT : VV_VISION | VV_PROJECTOR | VV_TEXT;
}

void vv_task_config_free(vv_task_config *c)
{
    for (int64_t i = 0; i < c->n_sources; i++) free((char *)c->source[i].manifest);
    for (int64_t i = 0; i < c->n_validation; i++) free((char *)c->validation[i].manifest);
    free(c->source);
    free(c->validation);
    free(c->size);
    free(c->embeddings);
    free(c->text_encoder);
    free(c->where);
    *c = (vv_task_config){0};
}

/* ---- sources ------------------------------------------------------------------------------------------------------------ */
static vv_status read_scenes(vv_source *s, const vv_reader *r)
{
    static const char *const keys[] = {"seed", "size", "min_objects", "max_objects", "closeups", "held_out", NULL};
    vv_reader in;
    int64_t seed = 0;
    s->scenes = vv_synth_default();
    VV_TRY(vv_reader_enter(&in, r, "scenes", -1));
    VV_TRY(vv_reader_only(&in, keys));
    VV_TRY(vv_reader_int(&in, "seed", 0, INT64_MAX, &seed));
    s->scenes.seed = (uint64_t)seed;
    VV_TRY(vv_reader_int(&in, "size", VV_SYNTH_SIDE_LEAST, VV_SYNTH_SIDE_MOST, &s->scenes.size));
    VV_TRY(vv_reader_int(&in, "min_objects", 1, VV_SYNTH_MOST, &s->scenes.min_objects));
    VV_TRY(vv_reader_int(&in, "max_objects", 1, VV_SYNTH_MOST, &s->scenes.max_objects));
    VV_TRY(vv_reader_real(&in, "closeups", 0, 1, &s->scenes.closeups));
    VV_TRY(vv_reader_bool(&in, "held_out", &s->scenes.held_out));
    vv_error why = {0};
    if (vv_synth_check(&s->scenes, &why) == VV_OK) return VV_OK;
    return vv_fail(r->err, VV_FILE, "%s: %.300s", in.where, why.msg);
}

static vv_status read_source(vv_source *s, vv_task task, const vv_reader *r)
{
    static const char *const keys[] = {"manifest", "scenes", "first", "count", "questions", "images", "weight", NULL},
                             *const manifest_keys[] = {"manifest", "weight", NULL},
                             *const questions[] = {"captions", "questions", "both", "all", NULL};
    char *manifest;
    int images = 1;
    VV_TRY(vv_reader_only(r, keys));
    s->weight = 1;
    VV_TRY(vv_reader_text(r, "manifest", 1, &manifest));
    s->manifest = manifest;
    VV_TRY(vv_reader_real(r, "weight", 1e-9, 1e9, &s->weight));
    if (manifest) return vv_reader_only(r, manifest_keys);
    VV_TRY(vv_reader_need(r, "scenes"));
    VV_TRY(read_scenes(s, r));
    VV_TRY(vv_reader_int(r, "first", 0, LARGE, &s->first));
    VV_TRY(vv_reader_need(r, "count"));
    VV_TRY(vv_reader_int(r, "count", 1, LARGE, &s->count));
    if (task != VV_TASK_CAPTION) {
        if (json_object_get(r->in, "questions") || json_object_get(r->in, "images"))
            return vv_reader_wrong(r, "questions", "expected questions and images with the task caption alone");
        return VV_OK;
    }
    VV_TRY(vv_reader_word(r, "questions", questions, &s->questions));
    VV_TRY(vv_reader_bool(r, "images", &images));
    s->text_alone = !images;
    return VV_OK;
}

static vv_status read_list(vv_source **source, int64_t *n, const char *key, vv_task task, const vv_reader *r)
{
    const json_t *list = NULL;
    VV_TRY(vv_json_array(r->in, r->where, key, &list, r->err));
    const int64_t all = (int64_t)json_array_size(list);
    if (all == 0) return vv_reader_wrong(r, key, "expected at least one, found none");
    if (!(*source = vv_calloc(all, sizeof **source))) return vv_no_memory(r->err, r->where);
    while (*n < all) {
        vv_reader in;
        VV_TRY(vv_reader_enter(&in, r, key, *n));
        VV_TRY(read_source(&(*source)[(*n)++], task, &in));
    }
    return VV_OK;
}

static vv_status read_sources(vv_task_config *c, const vv_reader *r)
{
    VV_TRY(vv_reader_need(r, "sources"));
    VV_TRY(read_list(&c->source, &c->n_sources, "sources", c->task, r));
    c->text_alone = c->task == VV_TASK_CAPTION;
    for (int64_t i = 0; i < c->n_sources; i++) c->text_alone &= c->source[i].text_alone;
    if (!json_object_get(r->in, "validation")) return VV_OK;
    VV_TRY(read_list(&c->validation, &c->n_validation, "validation", c->task, r));
    for (int64_t i = 0; i < c->n_validation; i++)
        if (c->text_alone && !c->validation[i].text_alone)
            return vv_reader_wrong(r, "validation", "expected text alone, as in sources; found pictures");
    return VV_OK;
}

/* ---- the three tasks ------------------------------------------------------------------------------------------------------ */
static vv_status read_caption(vv_task_config *c, const vv_reader *r)
{
    static const char *const reduction[] = {"token", "sample", NULL}, *const form[] = {"chat", "plain", NULL};
    int by = VV_CE_SAMPLE;
    VV_TRY(vv_reader_word(r, "reduction", reduction, &by));
    c->reduction = (vv_ce_reduction)by;
    VV_TRY(vv_reader_word(r, "form", form, &c->plain));
    VV_TRY(vv_reader_int(r, "max_tokens", 0, LARGE, &c->max_tokens));
    VV_TRY(vv_reader_int(r, "max_pixels", 0, LARGE, &c->max_pixels));
    if (c->plain && c->text_alone)
        return vv_reader_wrong(r, "form", "expected \"chat\" for text alone: a plain caption follows a picture");
    return VV_OK;
}

/* a number, or a list of them */
static vv_status read_size(vv_task_config *c, const vv_reader *r)
{
    const json_t *v = r->in ? json_object_get(r->in, "size") : NULL;
    const int64_t n = json_is_array(v) ? (int64_t)json_array_size(v) : 1;
    char found[120];
    VV_TRY(vv_reader_need(r, "size"));
    if (!(c->size = vv_calloc(n, sizeof *c->size))) return vv_no_memory(r->err, r->where);
    for (c->n_sizes = 0; c->n_sizes < n; c->n_sizes++) {
        const json_t *one = json_is_array(v) ? json_array_get(v, (size_t)c->n_sizes) : v;
        const int64_t size = json_is_integer(one) ? (int64_t)json_integer_value(one) : 0;
        if (size < 1 || size > MOST_SIZE)
            return vv_reader_wrong(r, "size", "expected a number of pixels up to %d, or a list of them, found %s",
                                   MOST_SIZE, vv_json_found(one, found, sizeof found));
        c->size[c->n_sizes] = size;
    }
    if (n == 0) return vv_reader_wrong(r, "size", "expected a number of pixels, found an empty list");
    return vv_reader_put(r, "size", json_deep_copy(v));
}

/* the loss with its defaults: those that loss/config.c has */
static const char DEPTH_LOSS[] =
    "{\"ssi\":{\"align\":\"median\",\"median\":\"lower\",\"trim\":0.0,\"reduction\":\"batch\",\"eps\":1e-6,"
    "\"degenerate\":\"skip\",\"detach_norm\":false},\"gm\":{\"mode\":\"norm\",\"scales\":4},"
    "\"lambda_ssi\":1.0,\"lambda_gm\":0.5}";
static const char SEGMENTATION_LOSS[] = "{\"lambda_bce\":2.0,\"lambda_dice\":0.5,\"dice\":{\"smooth\":1e-3}}";

static vv_status read_loss(vv_task_config *c, const vv_reader *r)
{
    const json_t *loss = NULL;
    const int depth = c->task == VV_TASK_DEPTH;
    char where[VV_PLACE_MAX];
    snprintf(where, sizeof where, "%.380s.loss", r->where);
    VV_TRY(vv_json_object(r->in, r->where, "loss", &loss, r->err));
    c->depth = vv_depth_config_default();
    c->segmentation = vv_seg_config_default();
    if (loss && depth) VV_TRY(vv_depth_config_parse(&c->depth, loss, where, r->err));
    if (loss && !depth) VV_TRY(vv_seg_config_parse(&c->segmentation, loss, where, r->err));
    json_t *all = json_loads(depth ? DEPTH_LOSS : SEGMENTATION_LOSS, 0, NULL);
    if (all && loss) json_object_update_recursive(all, (json_t *)loss);
    return vv_reader_put(r, "loss", all);
}

static vv_status read_texts(vv_task_config *c, const vv_reader *r)
{
    VV_TRY(vv_reader_int(r, "max_instances", 1, MOST_BATCH, &c->max_instances));
    VV_TRY(vv_reader_text(r, "embeddings", 1, &c->embeddings));
    VV_TRY(vv_reader_text(r, "text_encoder", 0, &c->text_encoder));
    if (!c->embeddings == !c->text_encoder)
        return vv_reader_wrong(r, "embeddings", "expected it or text_encoder, found %s",
                               c->embeddings ? "both" : "none");
    return VV_OK;
}

vv_status vv_task_config_read(vv_task_config *c, const vv_reader *r)
{
    static const char *const keys[VV_TASKS][20] = {{"task", "lambda", "batch", "micro_batch", "skip_bad", "sources",
                                                    "validation", "reduction", "form", "max_tokens", "max_pixels"},
                                                   {"task", "lambda", "batch", "micro_batch", "skip_bad", "sources",
                                                    "validation", "size", "loss"},
                                                   {"task", "lambda", "batch", "micro_batch", "skip_bad", "sources",
                                                    "validation", "size", "loss", "max_instances", "embeddings",
                                                    "text_encoder"}},
                             *const names[] = {"caption", "depth", "segmentation", NULL};
    int task = 0;
    VV_TRY(vv_reader_need(r, "task"));
    VV_TRY(vv_reader_word(r, "task", names, &task));
    VV_TRY(vv_reader_only(r, keys[task]));
    *c = (vv_task_config){.present = 1, .task = (vv_task)task, .lambda = 1.0 / 3, .max_instances = 8};
    if (!(c->where = vv_strdup(r->where))) return vv_no_memory(r->err, r->where);
    VV_TRY(vv_reader_real(r, "lambda", 1e-12, 1e12, &c->lambda));
    VV_TRY(vv_reader_need(r, "batch"));
    VV_TRY(vv_reader_int(r, "batch", 1, MOST_BATCH, &c->batch));
    VV_TRY(vv_reader_int(r, "micro_batch", 0, c->batch, &c->micro_batch));
    if (c->micro_batch == 0) c->micro_batch = c->batch;
    VV_TRY(vv_reader_int(r, "skip_bad", 0, LARGE, &c->skip_bad));
    VV_TRY(read_sources(c, r));
    if (c->task == VV_TASK_CAPTION) return read_caption(c, r);
    VV_TRY(read_size(c, r));
    VV_TRY(read_loss(c, r));
    return c->task == VV_TASK_SEGMENTATION ? read_texts(c, r) : VV_OK;
}
