#include "fuzz/targets.h"

#include <dirent.h>
#include <unistd.h>

int vvt_accepted;

int vvt_outcome(vv_status s, const vv_error *err)
{
    VVT_HOLDS(s == VV_OK || s == VV_FILE);
    VVT_HOLDS(err->status == s);
    VVT_HOLDS((s == VV_OK) == (err->msg[0] == 0));
    VVT_HOLDS(!strchr(err->msg, '\n'));
    return vvt_accepted = s == VV_OK;
}

static char dir[200];

static void remove_dir(void)
{
    DIR *d = opendir(dir);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d)) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (e->d_name[0] != '.') unlink(path);
    }
    if (d) closedir(d);
    rmdir(dir);
}

const char *vvt_scratch_dir(void)
{
    if (dir[0]) return dir;
    const char *base = getenv("TMPDIR");
    snprintf(dir, sizeof dir, "%s/vvt-fuzz-XXXXXX", base ? base : "/tmp");
    VVT_HOLDS(mkdtemp(dir));
    atexit(remove_dir);
    return dir;
}

const char *vvt_scratch(const char *name, const void *bytes, size_t n)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/%s", vvt_scratch_dir(), name);
    FILE *f = fopen(path, "wb");
    VVT_HOLDS(f);
    VVT_HOLDS(fwrite(bytes, 1, n, f) == n);
    VVT_HOLDS(fclose(f) == 0);
    return path;
}
