#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "io/file.h"

int cli_quiet;

/* ---- progress: one line on a terminal, redrawn at most ten times a second; nothing elsewhere ------------------------------- */
static int line_open;

void cli_line(void)
{
    if (line_open) fprintf(stderr, "\r\033[K");
    line_open = 0;
}

static void listen(void *ctx, const char *what, int64_t done, int64_t total)
{
    static double last;
    (void)ctx;
    if (total == 0) {
        cli_line();
        fprintf(stderr, "versavit: warning: %s\n", what);
        return;
    }
    if (cli_quiet || !isatty(STDERR_FILENO)) return;
    if (done >= total) {
        cli_line();
    } else if (vv_seconds() - last > 0.1) {
        last = vv_seconds();
        fprintf(stderr, "\r\033[K%s %3d %%", what, (int)(100 * done / total));
        fflush(stderr);
        line_open = 1;
    }
}

/* ---- ends ------------------------------------------------------------------------------------------------------------------ */
/* Nothing half-written stays behind; then the signal does what it does, which gives the status 128 + n. */
static void on_signal(int n)
{
    vv_unlink_temporaries();
    signal(n, SIG_DFL);
    raise(n);
}

void cli_start(void)
{
    vv_listen(listen, NULL);
    static const int caught[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (size_t i = 0; i < sizeof caught / sizeof *caught; i++)
        if (signal(caught[i], SIG_IGN) != SIG_IGN) signal(caught[i], on_signal); /* nohup stays nohup */
}

int cli_end(vv_status s, const vv_error *err)
{
    cli_line();
    if (s != VV_OK && err && err->msg[0]) fprintf(stderr, "versavit: %s\n", err->msg);
    if ((fflush(stdout) || ferror(stdout)) && s == VV_OK) {
        fprintf(stderr, "versavit: standard output: cannot be written\n");
        return VV_FILE;
    }
    return (int)s;
}

/* ---- data files ------------------------------------------------------------------------------------------------------------ */
#ifdef __APPLE__
int _NSGetExecutablePath(char *path, uint32_t *size); /* of mach-o/dyld.h, which is not C99 */
#endif

/* the path of this program, links resolved; 0 when the system does not tell */
static int program(char *exe, size_t size)
{
#ifdef __APPLE__
    char raw[1024];
    uint32_t n = sizeof raw;
    char *real = _NSGetExecutablePath(raw, &n) == 0 ? realpath(raw, NULL) : NULL;
    const int ok = real && strlen(real) < size;
    if (ok) strcpy(exe, real);
    free(real);
    return ok;
#else
    const ssize_t n = readlink("/proc/self/exe", exe, size - 1);
    exe[n > 0 ? n : 0] = 0;
    return n > 0;
#endif
}

/* data/ above build/versavit and build/FLAVOUR/versavit; share/versavit/ above PREFIX/bin/versavit */
static char *beside_program(const char *folder, const char *name)
{
    static const char *const places[] = {"data", "share/versavit"};
    char exe[1024];
    if (!program(exe, sizeof exe)) return NULL;
    for (int up = 0; up < 3; up++) {
        char *slash = strrchr(exe, '/');
        if (!slash) return NULL;
        *slash = 0;
        for (int i = 0; i < 2; i++) {
            char *path = vv_asprintf("%s/%s/%s/%s.json", exe, places[i], folder, name);
            if (path && access(path, R_OK) == 0) return path;
            free(path);
        }
    }
    return NULL;
}

char *cli_data_file(const char *folder, const char *name)
{
    const size_t n = strlen(name);
    if (strchr(name, '/') || (n > 5 && !strcmp(name + n - 5, ".json"))) return vv_strdup(name);
    const char *data = getenv("VERSAVIT_DATA");
    char *here = vv_asprintf("%s/%s/%s.json", data ? data : "data", folder, name);
    if (!here || data || access(here, R_OK) == 0) return here;
    char *there = beside_program(folder, name);
    if (!there) return here; /* the error names the usual place */
    free(here);
    return there;
}

vv_status cli_output(const char *file, vv_error *err)
{
    vv_out *out = NULL;
    if (file) VV_TRY(vv_out_open(&out, file, err));
    vv_out_abort(out);
    return VV_OK;
}

void cli_number(int width, double x, int digits)
{
    if (isfinite(x)) printf(" %*.*f", width, digits, x);
    else printf(" %*s", width, "-");
}

vv_status cli_results(json_t *results, const char *model, int json, const char *out, vv_error *err)
{
    const int ok = results && json_object_set_new(results, "model", json_string(model)) == 0;
    char *text = ok ? vv_json_text(results, JSON_INDENT(1)) : NULL;
    json_decref(results);
    if (!text) return vv_no_memory(err, "results");
    cli_line();
    if (json) puts(text);
    const vv_status s = out ? vv_out_text(out, text, err) : VV_OK;
    free(text);
    return s;
}
