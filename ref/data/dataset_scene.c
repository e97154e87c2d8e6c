/* Samples of the renderer of scenes. */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "data/dataset_parts.h"

/* One turn of the user and one answer. */
static vv_status converse(vv_sample *out, const char *question, const char *answer, vv_error *err)
{
    if (!(out->message = vv_calloc(2, sizeof *out->message))) return vv_no_memory(err, out->name);
    out->n_messages = 2;
    out->message[0] = (vv_message){vv_strdup("user"), vv_strdup(question)};
    out->message[1] = (vv_message){vv_strdup("assistant"), vv_strdup(answer)};
    for (int i = 0; i < 2; i++)
        if (!out->message[i].role || !out->message[i].text) return vv_no_memory(err, out->name);
    return VV_OK;
}

/* The caption, or one of the questions: which one is drawn, so that types are as frequent as among all questions. */
static vv_status texts(vv_sample *out, const vv_scene *scene, const vv_source *source, int64_t i, vv_error *err)
{
    const int ask = source->questions == 1 || (source->questions == 2 && i % 2 == 1);
    const vv_synth_question *q = NULL;
    if (ask && scene->n_questions > 0) {
        uint32_t words[4];
        vv_random_words(source->scenes.seed, vv_stream("question of a scene"), (uint64_t)(source->first + i), words);
        q = &scene->question[words[0] % scene->n_questions];
    }
    if (!(out->type = vv_strdup(q ? q->type : "caption"))) return vv_no_memory(err, out->name);
    if (!q) return converse(out, VV_CAPTION_PROMPT, scene->caption, err);
    return converse(out, q->question, q->answer, err);
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
