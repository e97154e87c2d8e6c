/* The readers of what comes from outside, each as one function that is fed arbitrary bytes. libFuzzer drives them
 * (make fuzz: one program per target); tests/io/test_corpus.c replays the committed inputs of tests/fuzz/corpus/ through
 * the same functions in every build.
 *
 * A target opens the bytes as a file of its kind and, when that succeeds, reads everything the reader offers. What must
 * hold for every input stands there as VVT_HOLDS; the rest is for the sanitizers to see: the bytes lie in a block of
 * exactly n bytes. */
#ifndef VVT_TARGETS_H
#define VVT_TARGETS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#ifdef VVT_LIBFUZZER
#define VVT_TARGET(name) LLVMFuzzerTestOneInput
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);
#else
#define VVT_TARGET(name) vvt_fuzz_##name
#endif

/* All return 0, as libFuzzer wants. */
int vvt_fuzz_safetensors(const uint8_t *bytes, size_t n);
int vvt_fuzz_npy(const uint8_t *bytes, size_t n);
int vvt_fuzz_png(const uint8_t *bytes, size_t n);
int vvt_fuzz_jpeg(const uint8_t *bytes, size_t n);
int vvt_fuzz_config(const uint8_t *bytes, size_t n);    /* config.json, preprocessor_config.json, a run configuration */
int vvt_fuzz_index(const uint8_t *bytes, size_t n);     /* model.safetensors.index.json beside two shards */
int vvt_fuzz_tokenizer(const uint8_t *bytes, size_t n); /* a tokenizer.json from '{' on, else a text */
int vvt_fuzz_manifest(const uint8_t *bytes, size_t n);  /* a manifest of samples for each task, or a PFM */
int vvt_fuzz_golden(const uint8_t *bytes, size_t n);    /* the index of a golden file, which then judges itself */
int vvt_fuzz_mapping(const uint8_t *bytes, size_t n);   /* a mapping file, applied to four tensors */

/* Whether the last input was accepted. */
extern int vvt_accepted;

/* The outcome of a reader: success, or VV_FILE with one line that says why. Sets vvt_accepted and returns it. */
int vvt_outcome(vv_status s, const vv_error *err);

#define VVT_HOLDS(condition)                                                                                           \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);                             \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* A file of that name in a folder of this process (in TMPDIR, or /tmp), removed at exit. */
const char *vvt_scratch(const char *name, const void *bytes, size_t n);
const char *vvt_scratch_dir(void);

#endif
