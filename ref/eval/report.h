/* A run as one page: RUN/log.jsonl and run.json (train/trainer.h), the model at its end, and what `versavit eval` and `versavit probe` wrote,
 * as a single HTML file that needs nothing else: no script, no font, no address; pictures are base64 PNG, figures inline SVG.
 *
 *   the stages in a table         curves of losses, learning rates and gradient norm
 *   the tasks' gradients          norms of each layer, cosines between tasks over time
 *   held-out scenes               picture, principal components of the features, depth, masks, caption and answers beside the truth
 *   tables                        probes of base and trained tower, questions by type, segmentation
 *
 * What the run does not have is left out, and a sentence says so. Scenes are those of a seed that no source of the run has.
 *
 * Colours of lines and bars are from the palette of Okabe and Ito 2008 ("Color Universal Design"), which people of every kind of
 * colour vision tell apart; maps of depth have the colours of eval/colormap.h. */
#ifndef VV_REPORT_H
#define VV_REPORT_H

#include "base/base.h"

typedef struct {
    const char *run, *out;    /* the run's folder; the file to write */
    const char *model;        /* a model's folder; NULL: of the last stage that has one */
    const char *base;         /* the tower to compare with; NULL: of the stage before the model's, where there is one */
    const char *eval;         /* a file of `versavit eval`; NULL: RUN/eval.json where it is there */
    const char *tables;       /* a file of finished tables, as scripts/table4 writes them; NULL: none */
    const char *const *probe; /* files of `versavit probe`; none: RUN/probe.json where it is there */
    int64_t n_probes, scenes; /* scenes 0: none */
} vv_report_options;

/* VV_FILE when the folder holds no run, or a file in it is not what it should be. */
vv_status vv_report_write(const vv_report_options *o, vv_error *err) VV_MUST_USE;

#endif
