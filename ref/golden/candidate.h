/* A candidate: the tensors that somebody else computed, from any of
 *   FILE.safetensors      a folder with golden.safetensors in it is that file
 *   FILE.npz              as numpy.savez and savez_compressed write it
 *   a folder of .npy      the key, "/" as folders: u1/vision/act/visual.blocks.0.npy
 * All types of numbers; whole ones too. Two tensors of one key stay both, and are a fault that the judge names. */
#ifndef VV_GOLDEN_CANDIDATE_H
#define VV_GOLDEN_CANDIDATE_H

#include "io/npy.h"
#include "io/safetensors.h"

typedef struct {
    char *key;
    vv_st_entry e;  /* type, shape; data in the file unless `values` */
    double *values; /* as computed by a mapping */
    int fits;       /* as many numbers in another shape are fine: a mapping says so */
} vv_candidate_tensor;

typedef struct {
    char *path;
    vv_st *st; /* or these: */
    vv_npy *npy;
    unsigned char **bytes; /* [n_npy] of an archive's members, unpacked */
    int64_t n_npy, cap_npy;
    vv_candidate_tensor *at; /* [n] sorted by key */
    int64_t n, cap;
} vv_candidate;

vv_status vv_candidate_open(vv_candidate *c, const char *path, vv_error *err) VV_MUST_USE;
void vv_candidate_close(vv_candidate *c); /* zeroes it */

/* The tensor of that key (the first of several, *same of them); NULL: none. */
const vv_candidate_tensor *vv_candidate_find(const vv_candidate *c, const char *key, int64_t *same);
/* Metadata of a safetensors file; NULL where there is none. */
const char *vv_candidate_metadata(const vv_candidate *c, const char *key);
/* Its numbers, in fresh memory. */
vv_status vv_candidate_read(double **out, const vv_candidate *c, const vv_candidate_tensor *t,
                            vv_error *err) VV_MUST_USE;

/* For mappings: takes over the key and the values (whatever happens). After the last one, sort. */
vv_status vv_candidate_add(vv_candidate *c, vv_candidate_tensor t, vv_error *err) VV_MUST_USE;
void vv_candidate_sort(vv_candidate *c);

#endif
