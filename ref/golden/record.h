/* Recording a run as one safetensors file: inputs, activations, losses, gradients, steps, in the order of execution.
 *
 * Keys are u<update>/<task>/<kind>/<name>: name is the module path of the Hugging Face model, "#part" for a value that no module
 * returns. Kinds: in (inputs), w (weights), m, v (moments of AdamW before an update), act, loss, dact (gradient of the loss with
 * respect to that activation), dw, dstep ((weights after - before) / lr), alt (another legal value of a tensor behind a tie).
 *
 * __metadata__ holds {"versavit_golden": format version, "precision": "float" or "double", "index": ..., "sha256": ...} and what the
 * caller adds. index is a JSON list in the order of recording, an entry a tensor: {"key", "class", "required", ...}:
 *   class     EXACT (in, w, m, v), DISCRETE (other whole numbers: tokens, medians) or CHAIN: judged by a multiple of the floor
 *   required  inputs, module outputs, losses, weight gradients and steps; the rest may be absent from a candidate
 *   scale     of the gradient of a bias, always: the RMS of its sums with every term taken absolutely. A sum that is truly zero is
 *             judged by it. Of a loss made by vv_record_dot: the sum of its terms taken absolutely
 * and what vv_record_mark adds. sha256 is {key: digest of the data}. A file holds only what determines its values: no time, no
 * machine.
 *
 * Real numbers: in, w, m, v are float values in both builds and stored as F32; the rest as F64 by the double build. What
 * has four dimensions and is no weight is a feature map: [B,H,W,C] here, written [B,C,H,W].
 *
 * Memory: values go to a nameless file beside the target as they come, and behind the header at the end. One tensor at a time is
 * held. The target appears complete or not at all.
 *
 * Errors are sticky, as on a tape: recording goes on doing nothing, and vv_record_finish says what happened. */
#ifndef VV_RECORD_H
#define VV_RECORD_H

#include "base/json.h"
#include "io/safetensors.h"
#include "tape/tape.h"

enum { VV_GOLDEN_FORMAT = 2, VV_SAMPLES = 4096 };

/* Says that activation x, called `name`, is a feature map of these sizes (which multiply with the channels to x->n), or (0) not. */
typedef int (*vv_map_fn)(const char *name, const vv_tensor *x, int64_t bhw[3]);

typedef struct {
    const char *path; /* file to write */
    const vv_st *
        resync; /* a recording of the same case, or NULL: what is recorded is at once replaced by its value there, so that each
                            layer is computed from golden inputs (activations, their gradients, losses, weight gradients; not
                            what is kept in samples). Where the backend imitates a precision whose outputs are rounded, rounded
                            alike: as a program of that precision can hold it */
    int sample; /* keep VV_SAMPLES elements of each larger tensor (kind in excepted), with "shape", "rms", "max" (largest absolute
                            value) and "sample": VV_SAMPLES in its entry; sha256 is that of the whole */
    int lean;      /* no kind dact and no "#part" */
    vv_map_fn map; /* NULL: four dimensions */
} vv_record_options;

typedef struct vv_recorder vv_recorder;
vv_status vv_record_begin(vv_recorder **out, const vv_record_options *o, vv_error *err) VV_MUST_USE;

/* What comes now belongs to u<update>/<task>. Before the first call: u1/vision. Tasks and updates in any order; a key twice is
 * an error. */
void vv_record_task(vv_recorder *r, int update, const char *task);

/* What the tape does from now on: inputs (int32 ones too), activations, losses (scalars outside every module), gradients. */
void vv_record_tape(vv_recorder *r, vv_tape *t);

/* sum x w: a term of the linear loss that is recorded next. Its terms cancel, so it is judged by their sum taken absolutely. */
vv_tensor *vv_record_dot(vv_recorder *r, vv_tape *t, vv_tensor *x, vv_tensor *w);

/* The parameters' values as `kind` (w), or the gradients of those that have one as dw. */
void vv_record_params(vv_recorder *r, const char *kind, const vv_params *ps);
void vv_record_gradients(vv_recorder *r, const vv_params *ps);

/* One tensor that no trace tells of, or its gradient. */
void vv_record_tensor(vv_recorder *r, const char *kind, const char *name, const vv_tensor *x, int gradient);

/* Host arrays: of any type, as they are; and of vv_real (replaced in place when resynchronising; kinds in, w, m, v never are). */
void vv_record_host(vv_recorder *r, const char *kind, const char *name, vv_dtype type, int ndim, const int64_t *shape,
                    const void *bytes);
void vv_record_reals(vv_recorder *r, const char *kind, const char *name, int ndim, const int64_t *shape,
                     vv_real *values);

/* Sets a field of an entry recorded under the present task: "output": json_true(), "scale": json_real(..), "rule", "of",
 * "alternatives" (whole keys: vv_record_key), "required". Takes the value over. An entry that is not there is an error. */
void vv_record_mark(vv_recorder *r, const char *kind, const char *name, const char *field, json_t *value);

/* u<update>/<task>/<kind>/<name> of the present task, in buf [VV_NAME_MAX + 64]. */
const char *vv_record_key(const vv_recorder *r, const char *kind, const char *name, char *buf);

vv_status vv_record_status(const vv_recorder *r, vv_error *err);
void vv_record_fail(vv_recorder *r, const vv_error *why); /* keeps it, unless there is an earlier one */

/* The file is complete and on the disk, not yet in its place. meta: more key, value, ..., NULL for __metadata__, or NULL. */
vv_status vv_record_finish(vv_recorder *r, const char *const *meta, vv_error *err) VV_MUST_USE;
/* Puts it into its place; frees r, whatever it returns. */
vv_status vv_record_commit(vv_recorder *r, vv_error *err) VV_MUST_USE;
void vv_record_abort(vv_recorder *r); /* NULL is fine */

/* Which element of n is the i-th of VV_SAMPLES: one of each of VV_SAMPLES equal stretches, where in it by the golden ratio, so that no
 * stride of a shape is met:   first + ((i 2654435769 mod 2^32) (next - first)) / 2^32,   first = i n / 4096, next = (i + 1) n / 4096 */
int64_t vv_sample_at(int64_t n, int64_t i);

/* The digest of n bytes as 64 hexadecimal digits and a 0. */
void vv_sha256(const void *bytes, size_t n, char hex[65]);

#endif
