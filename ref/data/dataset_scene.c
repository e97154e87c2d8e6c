/* Samples of the renderer of scenes. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "data/dataset_parts.h"

/* One turn of the user and one answer: messages at and at + 1. */
static vv_status converse(vv_sample *out, int64_t at, const char *question, const char *answer, vv_error *err)
{
    out->message[at] = (vv_message){vv_strdup("user"), vv_strdup(question)};
    out->message[at + 1] = (vv_message){vv_strdup("assistant"), vv_strdup(answer)};
    for (int64_t i = at; i < at + 2; i++)
        if (!out->message[i].role || !out->message[i].text) return vv_no_memory(err, out->name);
    return VV_OK;
}

/* The caption, one of the questions, or all of them as one conversation. Which one, or in which order, is drawn: types are as frequent
 * as among all questions, and each is asked first as often as any other. */
static vv_status texts(vv_sample *out, const vv_scene *scene, const vv_source *source, int64_t i, vv_error *err)
{
    const int ask = source->questions;
    const int asks = ask == VV_ASK_ONE || ((ask == VV_ASK_BOTH || ask == VV_ASK_ALL) && i % 2 == 1);
    const int64_t n = !asks ? 0 : ask == VV_ASK_ALL ? scene->n_questions : vv_min(scene->n_questions, 1);
    int64_t order[VV_SYNTH_QUESTIONS];
    for (int64_t k = 0; k < scene->n_questions; k++) order[k] = k;
    for (int64_t k = 0; k < n; k++) { /* the first n of a Fisher-Yates shuffle */
        uint32_t words[4];
        vv_random_words(source->scenes.seed, vv_stream("question of a scene") + (uint64_t)k,
                        (uint64_t)(source->first + i), words);
        const int64_t pick = k + words[0] % (scene->n_questions - k), kept = order[k];
        order[k] = order[pick];
        order[pick] = kept;
    }
    out->n_messages = 2 * vv_max(n, 1);
    const char *type = n == 0 ? "caption" : n == 1 ? scene->question[order[0]].type : "questions";
    if (!(out->type = vv_strdup(type)) || !(out->message = vv_calloc(out->n_messages, sizeof *out->message)))
        return vv_no_memory(err, out->name);
    if (n == 0) return converse(out, 0, VV_CAPTION_PROMPT, scene->caption, err);
    for (int64_t k = 0; k < n; k++)
        VV_TRY(converse(out, 2 * k, scene->question[order[k]].question, scene->question[order[k]].answer, err));
    return VV_OK;
}

static vv_status maps(vv_sample *out, vv_scene *scene, vv_error *err)
{
    const int64_t n = scene->image.h * scene->image.w;
    if (!(out->disparity = vv_calloc(n, sizeof *out->disparity))) return vv_no_memory(err, out->name);
    for (int64_t k = 0; k < n; k++) out->disparity[k] = (float)(1 / (double)scene->depth[k]); /* 0 for the sky */
    out->classes = scene->classes;
    scene->classes = NULL;
    return VV_OK;
}

static vv_status instances(vv_sample *out, const vv_scene *scene, vv_error *err)
{
    const int64_t n = scene->image.h * scene->image.w;
    if (!(out->instance = vv_calloc(scene->n_referring, sizeof *out->instance))) return vv_no_memory(err, out->name);
    out->n_instances = scene->n_referring;
    for (int64_t k = 0; k < scene->n_referring; k++) {
        const vv_synth_referring *r = &scene->referring[k];
        out->instance[k] = (vv_instance){vv_strdup(r->text), vv_calloc(n, 1)};
        if (!out->instance[k].text || !out->instance[k].mask) return vv_no_memory(err, out->name);
        memcpy(out->instance[k].mask, scene->object[r->object].mask, (size_t)n);
    }
    return VV_OK;
}

vv_status vv_scene_sample(vv_sample *out, const vv_source *source, vv_task task, int64_t i, vv_error *err)
{
    vv_scene scene;
    *out = (vv_sample){0};
    VV_TRY(vv_synth_scene(&scene, &source->scenes, source->first + i, err));
    out->name = vv_asprintf("scene %lld", (long long)(source->first + i));
    vv_status s = !out->name                ? vv_no_memory(err, "a scene")
                  : task == VV_TASK_CAPTION ? texts(out, &scene, source, i, err)
                  : task == VV_TASK_DEPTH   ? maps(out, &scene, err)
                                            : instances(out, &scene, err);
    if (s == VV_OK && !(task == VV_TASK_CAPTION && source->text_alone)) {
        out->image = scene.image;
        scene.image = (vv_image){0};
    }
    vv_scene_free(&scene);
    if (s != VV_OK) vv_sample_free(out);
    return s;
}
