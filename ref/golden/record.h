/* Recording a run: every activation, every gradient, the loss, in the order of execution, as one safetensors file.
 *
 * Keys are u<update>/<task>/<kind>/<name>: kind in (inputs), w (weights), act, loss, dact (gradient of the loss with respect to
 * that activation), dw; name is the module path of the Hugging Face model, "#part" for a value that no module returns.
 * __metadata__ holds {"versavit_golden": format version, "precision": "float" or "double", "index": ...} and what the caller adds.
 * index is a JSON list in execution order, an entry a tensor: {"key", "class", "required", "floor"}:
 *   class     EXACT (inputs) or CHAIN: judged by a multiple of the floor
 *   required  inputs, module outputs, losses and weight gradients; the rest may be absent from a candidate
 *   floor     how far a correct float build lands from this file, relative RMS; absent when not measured (vv_golden_floors)
 * A file holds only what determines its values: no time, no machine.
 *
 * The run happens twice: once dry, which gives names and shapes and so the file's header, then for real, each tensor written
 * when it is final. Nothing but one tensor at a time is held for it. */
#ifndef VV_RECORD_H
#define VV_RECORD_H

#include "io/safetensors.h"
#include "tape/tape.h"

enum { VV_GOLDEN_FORMAT = 1 };

/* forward and backward on the tape; called twice, and must do the same both times */
typedef vv_status (*vv_run_fn)(vv_tape *t, void *ctx, vv_error *err);

/* An input from the host that the tape does not see (pictures, grids). */
typedef struct {
    vv_st_decl decl; /* name: what follows "in/" */
    const void *bytes;
} vv_record_extra;

typedef struct {
    const char *path, *task; /* file to write; "vision" */
    int update;              /* the number after "u" */
    int tape_flags;          /* VV_RECORD, VV_CHECKPOINT */
    const char *const *meta; /* more key, value, ..., NULL for __metadata__, or NULL */
    const vv_record_extra *extra;
    int64_t n_extra;
    vv_params *params; /* their values become kind w, their gradients kind dw */
} vv_record_options;

vv_status vv_record(const vv_record_options *o, vv_run_fn run, void *ctx, vv_error *err) VV_MUST_USE;

#endif
