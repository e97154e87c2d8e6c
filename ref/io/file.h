/* Files: whole files mapped for reading, and writing that is all or nothing.
 *
 * Every error is VV_FILE with the path and the system's reason, or VV_MEMORY. A mapped file must not be shortened
 * while it is open (the system then ends the process with SIGBUS); files written through vv_out never are, because
 * the new content gets a new inode and the mapping keeps the old one. */
#ifndef VV_FILE_H
#define VV_FILE_H

#include "base/base.h"

/* A regular file, read-only. data is never NULL after a successful open; an empty file has bytes 0. */
typedef struct {
    const unsigned char *data;
    int64_t bytes;
    void *mapping; /* private */
} vv_map;

vv_status vv_map_open(vv_map *map, const char *path, vv_error *err) VV_MUST_USE;
/* These bytes have been read and will hardly be needed again: their memory may be taken back (they are read anew if they are). */
void vv_map_done(const vv_map *map, int64_t offset, int64_t bytes);
void vv_map_close(vv_map *map); /* zeroes it; a zeroed map is fine */

/* A file being written under a temporary name beside its target, which appears complete or not at all.
 * An existing regular file is replaced at the commit (a symbolic link is replaced, not followed); a folder or a device
 * in its place is refused at the open. Mode bits follow the umask. */
typedef struct vv_out vv_out;
enum { VV_OUT_MAX = 128 }; /* files open for writing at the same time */

vv_status vv_out_open(vv_out **out, const char *path, vv_error *err) VV_MUST_USE;
vv_status vv_out_write(vv_out *out, const void *bytes, size_t n, vv_error *err) VV_MUST_USE; /* after the last write */
vv_status vv_out_pwrite(vv_out *out, const void *bytes, size_t n, int64_t offset, vv_error *err) VV_MUST_USE;

/* Brings the content to the disk and closes the descriptor; only commit or abort may follow. With it, several files
 * are first all written safely and then renamed together. */
vv_status vv_out_sync(vv_out *out, vv_error *err) VV_MUST_USE;

/* Sync unless done, rename, sync the folder. Frees out, whatever it returns; after a failure the temporary is gone. */
vv_status vv_out_commit(vv_out *out, vv_error *err) VV_MUST_USE;

/* Many files that are worth something only together: between begin and end commits do not wait for the disk, at the end the disk
 * has them all. For the whole process; pairs may be nested. */
void vv_out_group_begin(void);
void vv_out_group_end(void);

/* A whole text file: the text and a newline, complete or not at all. */
vv_status vv_out_text(const char *path, const char *text, vv_error *err) VV_MUST_USE;

/* Removes the temporary and frees out. NULL is fine. */
void vv_out_abort(vv_out *out);

/* Removes the temporaries of all files still open for writing. Async-signal-safe: for the handler that ends the
 * process. */
void vv_unlink_temporaries(void);

/* Makes the folder (its last component only); one that exists is fine. */
vv_status vv_dir_make(const char *path, vv_error *err) VV_MUST_USE;

/* folder/name in fresh memory, NULL without memory. */
char *vv_path_join(const char *folder, const char *name);

#endif
