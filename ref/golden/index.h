/* Golden files as they are read: the metadata, and the index as a list of entries in the order of execution.
 *
 * A golden file is FILE.safetensors, or a folder with golden.safetensors in it and the weights beside it (model.safetensors).
 * Format 2 only; any other is refused. A safetensors file without "versavit_golden" is read as well: every tensor CHAIN and required,
 * in the file's order. Everything wrong with an index names file, key and field; unknown fields are wrong (a floor misspelt would
 * judge nothing).
 *
 * One object of the index:
 *   "key"            u<update>/<task>/<kind>/<name>
 *   "class"          EXACT: equal. CHAIN: within a multiple of the floor. DISCRETE: equal, or a tie within the noise
 *   "required"       false: may be absent from a candidate
 *   "output"         true: belongs to the smallest scope
 *   "floor"          relative RMS at which correct float builds land; "local": the same with every tensor before it golden
 *   "bands"          {"tf32": [lo, hi], "bf16": ..., "fp16": ...}, "local_bands": the same of builds that round so
 *   "bound"          proven: no correct float build has a larger RMS error (not relative), in whatever order it sums
 *   "scale"          relative RMS = RMS(got - want) / max(RMS(want), scale)
 *   "of", "rule"     of DISCRETE: the tensor that decides, and how: argmax, sign, threshold (at "threshold", default 0), median
 *   "alternatives"   other legal values behind a tie, as keys of tensors of the file
 *   "sample"         4096: the tensor holds so many elements of a larger one, which has "shape", "rms", "max" (vv_sample_at) */
#ifndef VV_GOLDEN_INDEX_H
#define VV_GOLDEN_INDEX_H

#include "base/json.h"
#include "io/safetensors.h"

typedef enum { VV_EXACT, VV_CHAIN, VV_DISCRETE } vv_golden_class;
typedef enum { VV_RULE_NONE, VV_RULE_ARGMAX, VV_RULE_SIGN, VV_RULE_THRESHOLD, VV_RULE_MEDIAN } vv_rule;
typedef enum {
    VV_KIND_IN,
    VV_KIND_W,
    VV_KIND_M,
    VV_KIND_V,
    VV_KIND_ACT,
    VV_KIND_LOSS,
    VV_KIND_DACT,
    VV_KIND_DW,
    VV_KIND_DSTEP,
    VV_KIND_ALT,
    VV_KIND_OTHER /* of a file that is no golden one */
} vv_golden_kind;
/* what arithmetic a candidate is judged as */
typedef enum { VV_AS_FLOAT, VV_AS_TF32, VV_AS_BF16, VV_AS_FP16, VV_PRECISIONS } vv_precision;
const char *vv_precision_name(vv_precision p);             /* "float", "tf32", "bf16", "fp16" */
int vv_precision_parse(const char *name, vv_precision *p); /* 1 when the name is known */

typedef struct {
    double lo, hi; /* relative RMS of correct candidates; hi 0: not measured. float: lo 0, hi the floor */
} vv_band;

typedef struct {
    const char *key;  /* whole */
    const char *name; /* after the kind; key itself of other files */
    const char *task; /* in key, task_n characters: "u1/vision" */
    int task_n;
    vv_golden_kind kind;
    vv_golden_class class;
    int required, output;
    vv_band band[2][VV_PRECISIONS]; /* [1]: local */
    double scale, bound;            /* 0: none */
    const char *of;
    vv_rule rule;
    double threshold;
    const json_t *alternatives; /* list of keys, NULL: none */
    const vv_st_entry *at;
    int64_t sample; /* elements kept of `n`; 0: all */
    int64_t n, shape[VV_ST_MAXDIM];
    int ndim;
    double rms; /* of the whole, when sampled */
    json_t *item;
} vv_golden_entry;

typedef struct {
    vv_st *st;
    char *path;                     /* of the file */
    int plain;                      /* no golden file */
    json_t *index, *config, *cases; /* config, cases: of the metadata; NULL: none */
    json_t *digests;                /* {key: sha256 of the data}; NULL: none */
    vv_golden_entry *entry;
    int64_t n;
    vv_st *weights; /* the folder's model.safetensors, NULL: none */
} vv_golden;

vv_status vv_golden_open(vv_golden *g, const char *path, vv_error *err) VV_MUST_USE;
void vv_golden_close(vv_golden *g); /* zeroes it */
const vv_golden_entry *vv_golden_find(const vv_golden *g, const char *key);
/* A weight that the tensor `near` was computed with: u<k>/<task>/w/<name> beside it, else u1's, else the folder's. NULL: none. */
const vv_st_entry *vv_golden_weight(const vv_golden *g, const vv_golden_entry *near, const char *name);

/* All elements as doubles, in fresh memory; whole numbers beyond 2^53, which doubles would join, are refused. */
vv_status vv_entry_doubles(double **out, const char *path, const vv_st_entry *e, vv_error *err) VV_MUST_USE;

/* The same of a tensor of the golden file that is kept whole, whose data must have the digest that the file says, if it says any: a golden
 * file that was damaged judges nothing. */
vv_status vv_golden_doubles(double **out, const vv_golden *g, const vv_st_entry *e, vv_error *err) VV_MUST_USE;

/* FILE, or the golden.safetensors of a folder; in fresh memory. */
char *vv_golden_file(const char *path);

/* Rows in merge-block order: order[i] is the place in raster order of the i-th token. *order is NULL (and VV_OK) where no grid_thw of the
 * file has `rows` tokens. */
vv_status vv_golden_raster(int64_t **order, const vv_golden *g, int64_t rows, vv_error *err) VV_MUST_USE;

#endif
