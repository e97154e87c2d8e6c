/* What the cases of the language side share: lists of the case's file, and token ids. */
#ifndef VV_GOLDEN_CASE_TEXT_H
#define VV_GOLDEN_CASE_TEXT_H

#include "golden/case.h"

/* A list of whole numbers from lo to hi, at least one; the caller's to free. VV_FILE naming case and key. */
vv_status vv_case_ints(const vv_case *c, const char *key, int64_t lo, int64_t hi, int64_t **list, int64_t *n,
                       vv_error *err) VV_MUST_USE;

/* Packed sequences. All arrays are its own. */
typedef struct {
    int64_t S, N;
    int32_t *ids, *cu; /* [N], [S+1] */
} vv_case_tokens;
void vv_case_tokens_free(vv_case_tokens *x);
/* As many sequences as the list "lengths" has numbers, of random ids below `vocab`. */
vv_status vv_case_sequences(const vv_case *c, int64_t vocab, vv_case_tokens *out, vv_error *err) VV_MUST_USE;

/* Kind in: n whole numbers as I64, which is what other frameworks index with. */
void vv_case_record_ints(vv_case *c, const char *name, const int32_t *x, int64_t n);

#endif
