/* The safetensors format: 8 bytes N (u64 little-endian), N bytes of JSON, the tensors' bytes to the end of the
 * file.
 *
 *   {"__metadata__": {string: string}, "name": {"dtype": "F32", "shape": [2,3], "data_offsets": [0,24]}, ...}
 *
 * Reading maps the file, so only what is used is read from the disk. Everything the format forbids is refused with
 * an error (VV_FILE) naming file, tensor, offset, expected and found: holes, overlaps, missing and trailing bytes,
 * duplicate names, sizes that do not match the shape, overflow. Nothing is allocated in proportion to a number
 * from the file before that number was compared with the file's size.
 * Source: huggingface/safetensors, safetensors/src/tensor.rs (SafeTensors::deserialize, Metadata::validate).
 *
 * Easy to get wrong: data may be unaligned (use the read functions); a name may be empty or contain '/', never use
 * it as a path; a shape of rank 0 is one element, a 0 in a shape an empty tensor. */
#ifndef VV_SAFETENSORS_H
#define VV_SAFETENSORS_H

#include "base/base.h"
#include "io/dtype.h"

#define VV_ST_MAXDIM 8

typedef struct {
    const char *name;
    vv_dtype dtype;
    int ndim;
    int64_t shape[VV_ST_MAXDIM]; /* [d0,d1,...], the last one innermost */
    int64_t n;                   /* elements */
    const unsigned char *data;   /* little-endian, in the mapped file, maybe unaligned */
    int64_t bytes;               /* n times the size of the type */
    int64_t offset;              /* of data in the file */
} vv_st_entry;

typedef struct vv_st vv_st;

vv_status vv_st_open(vv_st **out, const char *path, vv_error *err) VV_MUST_USE;

/* The same from n bytes of memory (not NULL), which must stay as long as *out; where names them in messages. */
vv_status vv_st_parse(vv_st **out, const unsigned char *bytes, int64_t n, const char *where, vv_error *err) VV_MUST_USE;

void vv_st_close(vv_st *st); /* NULL is fine; entries, names and metadata are gone with it */
const char *vv_st_path(const vv_st *st);
int64_t vv_st_count(const vv_st *st);
const vv_st_entry *vv_st_at(const vv_st *st, int64_t i);          /* in the order of their data; NULL out of range */
const vv_st_entry *vv_st_find(const vv_st *st, const char *name); /* NULL when absent */
const char *vv_st_metadata(const vv_st *st, const char *key);     /* NULL when absent */

/* The tensor has been used: the file's pages under it may leave memory (a mapped checkpoint would double what loading takes). */
void vv_st_done(const vv_st *st, const vv_st_entry *e);

/* All n elements. real and f64: from F16, BF16, F32, F64, each value rounded once at most. i64: from the integer
 * types and BOOL. Another type, a U64 beyond int64 and a BOOL other than 0 or 1 are VV_FILE. st may be NULL (then
 * messages name no file). */
vv_status vv_st_read_real(const vv_st *st, const vv_st_entry *e, vv_real *dst, vv_error *err) VV_MUST_USE;
vv_status vv_st_read_f64(const vv_st *st, const vv_st_entry *e, double *dst, vv_error *err) VV_MUST_USE;
vv_status vv_st_read_i64(const vv_st *st, const vv_st_entry *e, int64_t *dst, vv_error *err) VV_MUST_USE;

/* The same with the file's name given: what npy files share with these. */
vv_status vv_entry_read_real(const char *path, const vv_st_entry *e, vv_real *dst, vv_error *err) VV_MUST_USE;
vv_status vv_entry_read_f64(const char *path, const vv_st_entry *e, double *dst, vv_error *err) VV_MUST_USE;
vv_status vv_entry_read_i64(const char *path, const vv_st_entry *e, int64_t *dst, vv_error *err) VV_MUST_USE;

/* "[2,3]" into buf (cut to size), for messages; returns buf. 200 bytes hold every shape. */
const char *vv_shape_text(const int64_t *shape, int ndim, char *buf, size_t size);

/* ---- writing ------------------------------------------------------------------------------------------------------
 * All tensors are declared first, then written in any order; the file appears at the commit, complete or not at all. */
typedef struct {
    const char *name;
    vv_dtype dtype;
    int ndim;
    int64_t shape[VV_ST_MAXDIM];
} vv_st_decl;

typedef struct vv_stw vv_stw;

/* The data stands in the order of the declarations with keep_order, else by size of type descending, then by name,
 * which aligns every tensor. meta is key, value, ..., NULL, or NULL; "format": "pt" is always added (old readers
 * ask for it). The same declarations give the same header bytes. Declarations and meta are copied. A wrong
 * declaration (duplicate name, "__metadata__", invalid UTF-8, negative size, overflow) is VV_USAGE. */
vv_status vv_stw_open(vv_stw **out, const char *path, const vv_st_decl *decls, int64_t n, const char *const *meta,
                      int keep_order, vv_error *err) VV_MUST_USE;

/* The whole tensor of declaration `index`, once: little-endian bytes of the declared type, or vv_real converted to the
 * declared F16, BF16, F32 or F64 (NaNs in one canonical form). src may be NULL for an empty tensor. */
vv_status vv_stw_write(vv_stw *w, int64_t index, const void *bytes, vv_error *err) VV_MUST_USE;
vv_status vv_stw_write_real(vv_stw *w, int64_t index, const vv_real *src, vv_error *err) VV_MUST_USE;

/* The content is complete and on the disk; only commit or abort may follow (see vv_out_sync). */
vv_status vv_stw_sync(vv_stw *w, vv_error *err) VV_MUST_USE;
/* VV_USAGE naming the tensor when one was not written. Frees w, whatever it returns. */
vv_status vv_stw_commit(vv_stw *w, vv_error *err) VV_MUST_USE;
void vv_stw_abort(vv_stw *w); /* NULL is fine */

#endif
