#define _DEFAULT_SOURCE /* madvise: POSIX has no advice that takes pages back */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading --------------------------------------------------------------------------------------------------- */

static vv_status map_fd(vv_map *map, int fd, const char *path, vv_error *err)
{
    static const unsigned char nothing[1];
    struct stat st;
    if (fstat(fd, &st)) return vv_fail(err, VV_FILE, "%s: cannot be read: %s", path, strerror(errno));
    if (S_ISDIR(st.st_mode)) return vv_fail(err, VV_FILE, "%s: expected a file, found a folder", path);
    if (!S_ISREG(st.st_mode)) return vv_fail(err, VV_FILE, "%s: expected a regular file, found a pipe or device", path);
    map->data = nothing;
    map->bytes = (int64_t)st.st_size;
    if (st.st_size == 0) return VV_OK; /* mmap refuses length 0 */
    void *p =
        (uintmax_t)st.st_size > SIZE_MAX ? MAP_FAILED : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
        memset(map, 0, sizeof *map);
        return vv_fail(err, VV_FILE, "%s: cannot be mapped (%" PRId64 " bytes): %s", path, (int64_t)st.st_size,
                       strerror(errno));
    }
    map->data = map->mapping = p;
    return VV_OK;
}

vv_status vv_map_open(vv_map *map, const char *path, vv_error *err)
{
    memset(map, 0, sizeof *map);
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a FIFO must not make us wait */
    if (fd < 0) return vv_fail(err, VV_FILE, "%s: cannot be opened: %s", path, strerror(errno));
    const vv_status s = map_fd(map, fd, path, err);
    close(fd); /* the mapping stays */
    return s;
}

void vv_map_done(const vv_map *map, int64_t offset, int64_t bytes)
{
    const int64_t page = (int64_t)sysconf(_SC_PAGESIZE);
    if (!map->mapping || page <= 0 || offset < 0 || bytes < 0 || offset > map->bytes - bytes) return;
    const int64_t first = (offset + page - 1) / page * page,
                  end = (offset + bytes) / page * page; /* whole pages only */
    if (end > first) (void)madvise((char *)map->mapping + first, (size_t)(end - first), MADV_DONTNEED);
}

void vv_map_close(vv_map *map)
{
    if (map->mapping) munmap(map->mapping, (size_t)map->bytes);
    memset(map, 0, sizeof *map);
}

/* ---- the table of temporaries ---------------------------------------------------------------------------------- */

/* A signal handler may not touch the heap, so the names stand in a static table. `used` is set after the name is
 * complete and cleared before it changes; the lock orders threads, blocked signals keep a file from existing
 * unlisted. */
enum { NAME_MAX_BYTES = 4096 };
static struct {
    volatile sig_atomic_t used;
    char name[NAME_MAX_BYTES];
} temporaries[VV_OUT_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned serial;

void vv_unlink_temporaries(void)
{
    for (int i = 0; i < VV_OUT_MAX; i++)
        if (temporaries[i].used) unlink(temporaries[i].name);
}

struct vv_out {
    int fd; /* -1 once synced */
    int slot;
    int64_t end; /* where vv_out_write goes on */
    char *path;
};

/* Makes PATH.PID-SERIAL.tmp; a leftover of that name is stepped over. Runs with the lock held and signals blocked. */
static int create_temporary(const char *path, int *slot)
{
    int i = 0;
    while (i < VV_OUT_MAX && temporaries[i].used) i++;
    *slot = i;
    if (i == VV_OUT_MAX) {
        errno = EMFILE;
        return -1;
    }
    for (int attempt = 0; attempt < 1000; attempt++) {
        const int n = snprintf(temporaries[i].name, NAME_MAX_BYTES, "%s.%ld-%u.tmp", path, (long)getpid(), serial++);
        if (n < 0 || n >= NAME_MAX_BYTES) {
            errno = ENAMETOOLONG;
            return -1;
        }
        const int fd = open(temporaries[i].name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd >= 0) temporaries[i].used = 1;
        if (fd >= 0 || errno != EEXIST) return fd;
    }
    return -1;
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

vv_status vv_out_open(vv_out **out, const char *path, vv_error *err)
{
    struct stat st;
    *out = NULL;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) /* renaming over /dev/null would end it */
        return vv_fail(err, VV_FILE, "%s: cannot be written: expected a file or nothing there, found a %s", path,
                       S_ISDIR(st.st_mode) ? "folder" : "pipe or device");
    vv_out *o = vv_calloc(1, sizeof *o);
    if (o) o->path = vv_strdup(path);
    if (!o || !o->path) {
        free(o);
        return vv_no_memory(err, path);
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    pthread_mutex_lock(&lock);
    o->fd = create_temporary(path, &o->slot);
    const int why = errno;
    pthread_mutex_unlock(&lock);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (o->fd < 0) {
        free(o->path);
        free(o);
        return vv_fail(err, VV_FILE, "%s: cannot be written: %s", path, strerror(why));
    }
    *out = o;
    return VV_OK;
}

vv_status vv_out_pwrite(vv_out *out, const void *bytes, size_t n, int64_t offset, vv_error *err)
{
    const unsigned char *p = bytes;
    while (n > 0) {
        const size_t step = n < (1u << 30) ? n : 1u << 30; /* macOS refuses 2 GiB and more in one call */
        const ssize_t put = pwrite(out->fd, p, step, (off_t)offset);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0)
            return vv_fail(err, VV_FILE, "%s: cannot be written: %s (%zu bytes at offset %" PRId64 ")", out->path,
                           put < 0 ? strerror(errno) : "nothing accepted", n, offset);
        p += put;
        n -= (size_t)put;
        offset += put;
    }
    return VV_OK;
}

vv_status vv_out_write(vv_out *out, const void *bytes, size_t n, vv_error *err)
{
    VV_TRY(vv_out_pwrite(out, bytes, n, out->end, err));
    out->end += (int64_t)n;
    return VV_OK;
}

static int groups; /* open ones; guarded by the lock */

static int in_group(void)
{
    pthread_mutex_lock(&lock);
    const int n = groups;
    pthread_mutex_unlock(&lock);
    return n > 0;
}

void vv_out_group_begin(void)
{
    pthread_mutex_lock(&lock);
    groups++;
    pthread_mutex_unlock(&lock);
}

void vv_out_group_end(void)
{
    pthread_mutex_lock(&lock);
    groups--;
    pthread_mutex_unlock(&lock);
    sync();
}

vv_status vv_out_sync(vv_out *out, vv_error *err)
{
    if (out->fd < 0) return VV_OK;
    int bad = in_group() ? 0 : fsync(out->fd), why = errno;
    if (close(out->fd) && !bad) bad = -1, why = errno;
    out->fd = -1;
    return bad ? vv_fail(err, VV_FILE, "%s: cannot be brought to the disk: %s", out->path, strerror(why)) : VV_OK;
}

/* A rename lasts only when the folder is on the disk too. Some file systems cannot sync folders (EINVAL): not our
 * error. */
static vv_status sync_folder(const char *path, vv_error *err)
{
    char folder[NAME_MAX_BYTES]; /* no allocation: the file stands already */
    if (in_group()) return VV_OK;
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash) slash[slash == folder] = 0; /* "/x" is in "/" */
    const int fd = open(slash ? folder : ".", O_RDONLY | O_CLOEXEC);
    const int bad = fd >= 0 && fsync(fd) && errno != EINVAL && errno != ENOTSUP;
    const int why = errno;
    if (fd >= 0) close(fd);
    return bad ? vv_fail(err, VV_FILE, "%s: written, but its folder cannot be synced: %s", path, strerror(why)) : VV_OK;
}

vv_status vv_out_commit(vv_out *out, vv_error *err)
{
    vv_status s = vv_out_sync(out, err);
    if (s == VV_OK && rename(temporaries[out->slot].name, out->path))
        s = vv_fail(err, VV_FILE, "%s: cannot be written: %s", out->path, strerror(errno));
    if (s != VV_OK) {
        vv_out_abort(out);
        return s;
    }
    temporaries[out->slot].used = 0;
    s = sync_folder(out->path, err);
    free(out->path);
    free(out);
    return s;
}

void vv_out_abort(vv_out *out)
{
    if (!out) return;
    if (out->fd >= 0) close(out->fd);
    unlink(temporaries[out->slot].name);
    temporaries[out->slot].used = 0;
    free(out->path);
    free(out);
}

vv_status vv_out_text(const char *path, const char *text, vv_error *err)
{
    vv_out *out = NULL;
    VV_TRY(vv_out_open(&out, path, err));
    vv_status s = vv_out_write(out, text, strlen(text), err);
    if (s == VV_OK) s = vv_out_write(out, "\n", 1, err);
    if (s == VV_OK) return vv_out_commit(out, err);
    vv_out_abort(out);
    return s;
}

vv_status vv_dir_make(const char *path, vv_error *err)
{
    struct stat st;
    if (mkdir(path, 0777) == 0) return VV_OK;
    const int why = errno;
    if (stat(path, &st)) return vv_fail(err, VV_FILE, "%s: the folder cannot be made: %s", path, strerror(why));
    if (!S_ISDIR(st.st_mode))
        return vv_fail(err, VV_FILE, "%s: expected a folder or nothing there, found a file", path);
    return VV_OK;
}

char *vv_path_join(const char *folder, const char *name)
{
    const size_t n = strlen(folder);
    return vv_asprintf("%s%s%s", folder, n && folder[n - 1] != '/' ? "/" : "", name);
}
