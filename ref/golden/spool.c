#include "golden/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/base.h"

vv_status vv_spool_open(vv_spool *s, const char *path, vv_error *err)
{
    *s = (vv_spool){.path = vv_strdup(path)};
    char *name = vv_asprintf("%s.XXXXXX", path);
    if (!s->path || !name) {
        free(name);
        return vv_no_memory(err, path);
    }
    const int fd = mkstemp(name), error = errno;
    if (fd >= 0) {
        unlink(name);
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        s->fd = fd;
        s->is_open = 1;
    }
    free(name);
    return fd >= 0 ? VV_OK : vv_fail(err, VV_FILE, "%s: cannot be written: %s", path, strerror(error));
}

vv_status vv_spool_add(vv_spool *s, const void *bytes, int64_t n, int64_t *offset, vv_error *err)
{
    *offset = s->bytes;
    for (int64_t done = 0; done < n;) {
        const ssize_t k = write(s->fd, (const char *)bytes + done, (size_t)vv_min(n - done, 1 << 30));
        if (k < 0 && errno == EINTR) continue;
        if (k <= 0)
            return vv_fail(err, VV_FILE, "%s: cannot be written: %s", s->path, k ? strerror(errno) : "no progress");
        done += k;
    }
    s->bytes += n;
    return VV_OK;
}

vv_status vv_spool_map(vv_spool *s, const unsigned char **data, vv_error *err)
{
    static const unsigned char nothing[1];
    *data = nothing;
    if (s->bytes == 0) return VV_OK; /* mmap refuses length 0 */
    void *p = mmap(NULL, (size_t)s->bytes, PROT_READ, MAP_PRIVATE, s->fd, 0);
    if (p == MAP_FAILED) return vv_fail(err, VV_FILE, "%s: cannot be read back: %s", s->path, strerror(errno));
    *data = s->mapping = p;
    return VV_OK;
}

void vv_spool_close(vv_spool *s)
{
    if (s->mapping) munmap(s->mapping, (size_t)s->bytes);
    if (s->is_open) close(s->fd);
    free(s->path);
    *s = (vv_spool){0};
}
