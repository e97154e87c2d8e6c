/* The switches of the losses: defaults, and reading them. */
#include <stdio.h>
#include <string.h>

#include "loss/loss.h"

vv_depth_config vv_depth_config_default(void)
{
    return (vv_depth_config){.how = {.scales = 4, .eps = 1e-6}, .lambda_ssi = 1, .lambda_gm = 0.5};
}

vv_seg_config vv_seg_config_default(void)
{
    return (vv_seg_config){.lambda_bce = 2, .lambda_dice = 0.5, .smooth = 1e-3};
}

/* One of the words of a NULL-terminated list; *out becomes its place. */
static vv_status choose(const json_t *obj, const char *where, const char *key, const char *const *words, int *out,
                        vv_error *err)
{
    const char *found = NULL;
    char list[200] = "";
    VV_TRY(vv_json_string(obj, where, key, &found, err));
    for (int i = 0; found && words[i]; i++) {
        if (!strcmp(found, words[i])) {
            *out = i;
            return VV_OK;
        }
        const size_t n = strlen(list);
        snprintf(list + n, sizeof list - n, "%s\"%s\"", i ? ", " : "", words[i]);
    }
    if (!found) return VV_OK;
    return vv_fail(err, VV_FILE, "%s: '%s': expected one of %s; found \"%.60s\"", where, key, list, found);
}

static vv_status read_ssi(vvb_depth_args *a, const json_t *obj, const char *where, vv_error *err)
{
    static const char
        *const keys[] = {"align", "median", "trim", "reduction", "eps", "degenerate", "detach_norm", NULL},
               *const align[] = {"median", "ls", NULL}, *const median[] = {"lower", "average", NULL},
               *const reduction[] = {"batch", "image", NULL}, *const degenerate[] = {"skip", "clamp", NULL};
    int by = (int)a->align;
    VV_TRY(vv_json_only(obj, where, keys, err));
    VV_TRY(choose(obj, where, "align", align, &by, err));
    VV_TRY(choose(obj, where, "median", median, &a->average, err));
    VV_TRY(vv_json_real(obj, where, "trim", 0, 0.999, &a->trim, err));
    VV_TRY(choose(obj, where, "reduction", reduction, &a->image, err));
    VV_TRY(vv_json_real(obj, where, "eps", 1e-12, 1, &a->eps, err));
    VV_TRY(choose(obj, where, "degenerate", degenerate, &a->clamp, err));
    VV_TRY(vv_json_bool(obj, where, "detach_norm", &a->detach, err));
    a->align = (vvb_align)by;
    return VV_OK;
}

static vv_status read_gm(vvb_depth_args *a, const json_t *obj, const char *where, vv_error *err)
{
    static const char *const keys[] = {"mode", "scales", NULL}, *const mode[] = {"norm",      "ls",        "paper",
                                                                                 "paper_sum", "megadepth", NULL};
    int by = (int)a->gm;
    VV_TRY(vv_json_only(obj, where, keys, err));
    VV_TRY(choose(obj, where, "mode", mode, &by, err));
    VV_TRY(vv_json_int(obj, where, "scales", 1, VVB_MAX_SCALES, &a->scales, err));
    a->gm = (vvb_gm)by;
    return VV_OK;
}

vv_status vv_depth_config_parse(vv_depth_config *c, const json_t *obj, const char *where, vv_error *err)
{
    static const char *const keys[] = {"ssi", "gm", "lambda_ssi", "lambda_gm", NULL};
    vv_depth_config read = *c;
    const json_t *ssi = NULL, *gm = NULL;
    char inner[300];
    VV_TRY(vv_json_only(obj, where, keys, err));
    VV_TRY(vv_json_object(obj, where, "ssi", &ssi, err));
    VV_TRY(vv_json_object(obj, where, "gm", &gm, err));
    snprintf(inner, sizeof inner, "%s: ssi", where);
    if (ssi) VV_TRY(read_ssi(&read.how, ssi, inner, err));
    snprintf(inner, sizeof inner, "%s: gm", where);
    if (gm) VV_TRY(read_gm(&read.how, gm, inner, err));
    VV_TRY(vv_json_real(obj, where, "lambda_ssi", 0, 1e6, &read.lambda_ssi, err));
    VV_TRY(vv_json_real(obj, where, "lambda_gm", 0, 1e6, &read.lambda_gm, err));
    *c = read;
    return VV_OK;
}

vv_status vv_seg_config_parse(vv_seg_config *c, const json_t *obj, const char *where, vv_error *err)
{
    static const char *const keys[] = {"lambda_bce", "lambda_dice", "dice", NULL}, *const dice_keys[] = {"smooth",
                                                                                                         NULL};
    vv_seg_config read = *c;
    const json_t *dice = NULL;
    char inner[300];
    VV_TRY(vv_json_only(obj, where, keys, err));
    VV_TRY(vv_json_object(obj, where, "dice", &dice, err));
    snprintf(inner, sizeof inner, "%s: dice", where);
    if (dice) {
        VV_TRY(vv_json_only(dice, inner, dice_keys, err));
        VV_TRY(vv_json_real(dice, inner, "smooth", 1e-12, 1e6, &read.smooth, err));
    }
    VV_TRY(vv_json_real(obj, where, "lambda_bce", 0, 1e6, &read.lambda_bce, err));
    VV_TRY(vv_json_real(obj, where, "lambda_dice", 0, 1e6, &read.lambda_dice, err));
    *c = read;
    return VV_OK;
}
