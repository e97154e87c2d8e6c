/* Calls made in another process, the runner: this same program with the backend linked in (serve.c). The judge, which has only the
 * reference, keeps the expected values to itself: the runner sees what a caller of the contract would pass, in memory that both share,
 * and gets nothing else: no files, standard streams on /dev/null, limits on memory and time. The judge copies the buffers back
 * before it looks at them, guard words and inputs included, so nothing that the runner does later can change a verdict.
 *
 * Buffers lie between pages that the runner cannot touch, flush with the page before them or with the page behind them in turns.
 * It guards against mistakes and against cheating within the rules of a process; it is no jail for hostile programs: the runner
 * has the user's rights on files and network. */
#include "conformance.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT_GIB = 4, FILES = 64 }; /* address space besides the shared memory; open files, for the libraries' start */

struct remote {
    const char *program;
    pid_t process; /* 0: none */
    int to, from;  /* pipes */
    int memory;    /* the shared memory's file */
    char *shared;
    int64_t size;
    int64_t loads;
    int broken;
    serve_request request;
    char words[200];
};

static remote *in_use;

remote *remote_new(const char *program)
{
    remote *r = vv_calloc(1, sizeof *r);
    if (!r) return NULL;
    r->program = program;
    r->memory = -1;
    return r;
}

int remote_broken(const remote *r) { return r ? r->broken : 0; }
remote *remote_in_use(void) { return in_use; }

/* ---- the process --------------------------------------------------------------------------------------------------------- */
static void limit(int what, int64_t most)
{
    const struct rlimit l = {(rlim_t)most, (rlim_t)most};
    (void)setrlimit(what, &l);
}

/* After fork, before exec: only async-signal-safe calls. */
static void become_runner(const remote *r, const char *limit_s, int in, int out)
{
    static const int wanted[] = {0, 0, 0, SERVE_MEMORY, SERVE_IN, SERVE_OUT};
    const int nothing = open("/dev/null", O_RDWR), high = 20; /* out of the way of the numbers to be filled */
    const int from[] = {fcntl(r->memory, F_DUPFD, high), fcntl(in, F_DUPFD, high), fcntl(out, F_DUPFD, high)};
    setpgid(0, 0);
    for (int i = 0; i < 3; i++) dup2(nothing, i);
    for (int i = 0; i < 3; i++) dup2(from[i], wanted[3 + i]);
    for (int i = SERVE_OUT + 1; i < 4096; i++) close(i);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0); /* nothing is written to files */
    limit(RLIMIT_NOFILE, FILES);
#ifndef __SANITIZE_ADDRESS__ /* which reserves terabytes */
    limit(RLIMIT_AS, r->size + ((int64_t)LIMIT_GIB << 30));
#endif
    execl(r->program, r->program, "--serve", limit_s, (char *)NULL);
    _exit(127);
}

static const char *start(remote *r)
{
    static char seconds[32];
    int in[2], out[2];
    snprintf(seconds, sizeof seconds, "%g", conf.limit);
    if (pipe(in)) return "no pipe";
    if (pipe(out)) {
        close(in[0]);
        close(in[1]);
        return "no pipe";
    }
    fflush(stdout);
    r->process = fork();
    if (r->process == 0) become_runner(r, seconds, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    r->to = in[1];
    r->from = out[0];
    if (r->process > 0) return NULL;
    r->process = 0;
    close(r->to);
    close(r->from);
    return "no further process can be started";
}

/* Waits for its end, at most so long, then ends it and whatever it started. Returns the status of wait, -1 when it had to be killed. */
static int finish(remote *r, double patience)
{
    int status = 0, ended = 0;
    const double until = vv_seconds() + patience;
    while (!ended && vv_seconds() < until) {
        ended = waitpid(r->process, &status, WNOHANG) == r->process;
        if (!ended) poll(NULL, 0, 5);
    }
    kill(-r->process, SIGKILL);
    kill(r->process, SIGKILL);
    if (!ended) waitpid(r->process, &status, 0);
    close(r->to);
    close(r->from);
    r->process = 0;
    return ended ? status : -1;
}

/* It is gone, or must go. */
static const char *gone(remote *r, const char *when, int answers)
{
    const int status = finish(r, answers ? 1 : 0);
    r->broken++;
    if (status == -1)
        snprintf(r->words, sizeof r->words, "no answer within %g s; its process was ended (%s)", conf.limit, when);
    else if (WIFSIGNALED(status))
        snprintf(r->words, sizeof r->words, "its process ended with signal %d, %s (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)), when);
    else snprintf(r->words, sizeof r->words, "its process ended itself with status %d (%s)", WEXITSTATUS(status), when);
    return r->words;
}

static const char *command(remote *r, char what, const char *when)
{
    char answer = 0;
    struct pollfd p = {.fd = r->from, .events = POLLIN};
    memcpy(r->shared, &r->request, sizeof r->request);
    if (write(r->to, &what, 1) != 1) return gone(r, when, 1);
    const double until = vv_seconds() + conf.limit;
    int ready = 0;
    do {
        const double left = until - vv_seconds();
        ready = left > 0 ? poll(&p, 1, (int)(left * 1000) + 1) : 0;
    } while (ready < 0 && errno == EINTR);
    if (ready <= 0) return gone(r, when, 0);
    if (read(r->from, &answer, 1) != 1) return gone(r, when, 1);
    if (answer == what) return NULL;
    finish(r, 0);
    r->broken++;
    snprintf(r->words, sizeof r->words, "its process gave an answer that is none (%s)", when);
    return r->words;
}

const char *remote_end(remote *r)
{
    if (!r->process) return NULL;
    close(r->to);
    r->to = open("/dev/null", O_WRONLY); /* finish closes it */
    const int status = finish(r, conf.limit);
    if (status == 0) return NULL;
    snprintf(r->words, sizeof r->words,
             status == -1 ? "its process did not end when it was done"
                          : "its process did not end well when it was done");
    return r->words;
}

void remote_free(remote *r)
{
    if (!r) return;
    (void)remote_end(r);
    if (r->shared) munmap(r->shared, (size_t)r->size);
    if (r->memory >= 0) close(r->memory);
    free(r);
}

/* ---- the shared memory ---------------------------------------------------------------------------------------------------- */
static int64_t up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/* The memory is a file without a name; it grows by ending the process, which has the old size mapped. */
static const char *make_room(remote *r, int64_t size)
{
    if (size <= r->size) return NULL;
    (void)remote_end(r);
    if (r->shared) munmap(r->shared, (size_t)r->size);
    r->shared = NULL;
    r->size = up(2 * size, 1 << 22);
    if (r->memory < 0) {
        FILE *f = tmpfile();
        r->memory = f ? dup(fileno(f)) : -1;
        if (f) fclose(f);
    }
    if (r->memory < 0 || ftruncate(r->memory, (off_t)r->size)) return "no file for the shared memory";
    void *p = mmap(NULL, (size_t)r->size, PROT_READ | PROT_WRITE, MAP_SHARED, r->memory, 0);
    if (p == MAP_FAILED) return "no shared memory";
    r->shared = p;
    return NULL;
}

/* A region between two pages out of bounds: its end, or in turns its beginning, at the border of a page. */
static serve_region place(int64_t *at, int64_t bytes, int64_t page, int turn)
{
    const int64_t all = up(bytes, VVT_GUARD), whole = up(all, page);
    serve_region g = {.bytes = bytes, .first = *at + page};
    g.last = g.first + whole;
    g.at = turn ? g.first : g.last - all;
    *at = g.last;
    return g;
}

static const char *lay_out(remote *r, const vvt_call *c, int copies)
{
    const int64_t page = sysconf(_SC_PAGESIZE);
    const int turn =
        (int)(r->loads++ / 3 % 2); /* not each time another: calls alike should meet the same addresses again */
    int64_t at = SERVE_HEAD;
    serve_request *q = &r->request;
    *q = (serve_request){.dim = c->dim, .how = c->how, .copies = copies, .table_n = c->table_n};
    snprintf(q->function, sizeof q->function, "%s", c->op->name);
    q->threads = vvb_get_info()->threads;
    for (int i = 0; i < c->count; i++) {
        const vvt_array *x = &c->a[i];
        q->a[i].role = x->role;
        q->a[i].rows = x->rows;
        q->a[i].cols = x->cols;
        q->a[i].ld = x->ld;
        q->a[i].present = x->at != NULL;
        q->a[i].shares = c->how.alias && i == 0 ? c->how.alias : 0;
        if (x->buffer.base) q->region[i] = place(&at, x->buffer.bytes + 2 * VVT_GUARD, page, turn);
    }
    const int64_t table = c->table_n * (int64_t)sizeof *c->table;
    q->region[VVT_ARRAYS] = place(&at, table + 2 * VVT_GUARD, page, turn);
    q->region[VVT_ARRAYS + 1] = place(&at, table + 2 * VVT_GUARD, page, turn);
    const char *why = make_room(r, at + page);
    q->size = r->size;
    return why;
}

const char *remote_load(remote *r, vvt_call *c, int copies)
{
    const char *why = lay_out(r, c, copies);
    if (!why && !r->process) why = start(r);
    if (why) return why;
    const serve_region *g = r->request.region;
    for (int i = 0; i < c->count; i++)
        if (g[i].bytes) memcpy(r->shared + g[i].at, c->a[i].buffer.base, (size_t)g[i].bytes);
    for (int i = VVT_ARRAYS; i < SERVE_REGIONS; i++)
        memcpy(r->shared + g[i].at, c->device_table.base, (size_t)g[i].bytes);
    return command(r, SERVE_LOAD, "before the call");
}

const char *remote_run(remote *r, int64_t times)
{
    r->request.times = times;
    return command(r, SERVE_RUN, "in the call");
}

const char *remote_fetch(remote *r, vvt_call *c)
{
    const serve_region *g = r->request.region, *table = &g[VVT_ARRAYS];
    const char *why = command(r, SERVE_FETCH, "after the call");
    if (why) return why;
    for (int i = 0; i < c->count; i++)
        if (g[i].bytes) memcpy(c->a[i].buffer.base, r->shared + g[i].at, (size_t)g[i].bytes);
    if (memcmp(r->shared + table[0].at, c->device_table.base, (size_t)table[0].bytes) ||
        memcmp(r->shared + table[1].at, c->device_table.base, (size_t)table[1].bytes))
        return "a table of whole numbers, or a word beside it, was written to";
    memcpy(r->words, r->shared + offsetof(serve_request, error), sizeof r->request.error);
    r->words[sizeof r->words - 1] = 0;
    return NULL;
}

/* ---- for the cases ----------------------------------------------------------------------------------------------------------- */
static void call_elsewhere(vvt_call *c)
{
    remote *r = in_use;
    const char *why = remote_load(r, c, 0);
    if (!why) why = remote_run(r, 1 + c->how.twice);
    if (!why) why = remote_fetch(r, c);
    if (why) ck_abort_msg("%s: %s", c->op->name, why);
    if (r->words[0]) ck_abort_msg("%s: backend error: %s", c->op->name, r->words);
}

void remote_use(remote *r)
{
    in_use = r;
    vvt_elsewhere = r ? call_elsewhere : NULL;
}
