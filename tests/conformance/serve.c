/* The process that has the backend under judgement: it makes the calls that the judge (remote.c) describes, on the buffers in the
 * memory they share, and decides nothing. It ends when the judge closes the pipe. */
#include "conformance.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static char *shared;
static int64_t size;
static vvt_call *call;                 /* what was loaded */
static vvt_buffer copy[SERVE_REGIONS]; /* the regions in memory of the backend, when the request wants that */
static int copies;

static int64_t bytes_of(const serve_request *q, int i) { return q->region[i].bytes; }
static char *place(const serve_request *q, int i) { return copies ? copy[i].base : shared + q->region[i].at; }

static void unload(void)
{
    for (int i = 0; i < SERVE_REGIONS; i++) {
        if (copy[i].base) vvb_free(copy[i].base, copy[i].bytes);
        copy[i].base = NULL;
    }
    free(call);
    call = NULL;
}

/* Only the pages of the buffers can be touched. */
static int open_pages(const serve_request *q)
{
    if (mprotect(shared + SERVE_HEAD, (size_t)(size - SERVE_HEAD), copies ? PROT_READ | PROT_WRITE : PROT_NONE))
        return 0;
    for (int i = 0; i < SERVE_REGIONS && !copies; i++) {
        const serve_region *g = &q->region[i];
        if (g->bytes && mprotect(shared + g->first, (size_t)(g->last - g->first), PROT_READ | PROT_WRITE)) return 0;
    }
    return 1;
}

static int make_copies(const serve_request *q)
{
    for (int i = 0; i < SERVE_REGIONS; i++) {
        if (!bytes_of(q, i)) continue;
        copy[i] = (vvt_buffer){vvb_alloc(bytes_of(q, i)), bytes_of(q, i)};
        if (!copy[i].base) return 0;
        vvb_upload(copy[i].base, shared + q->region[i].at, bytes_of(q, i));
    }
    return 1;
}

static int load(const serve_request *q)
{
    unload();
    call = vv_calloc(1, sizeof *call);
    if (!call) return 0;
    *call = (vvt_call){.op = conf_op(q->function), .dim = q->dim, .how = q->how};
    /* a backend with memory of its own gets its buffers there always */
    copies = q->copies || (conf.own && conf_has(conf.own, "alloc"));
    if (!call->op || !open_pages(q) || (copies && !make_copies(q))) return 0;
    call->op->shape(call); /* names and number of the arrays; what else it says the judge knows better */
    free(call->table);
    call->table = (int32_t *)(void *)(shared + q->region[VVT_ARRAYS].at + VVT_GUARD);
    call->table_n = q->table_n;
    call->device_table = (vvt_buffer){place(q, VVT_ARRAYS + 1), q->table_n * (int64_t)sizeof *call->table};
    for (int i = 0; i < call->count; i++) {
        vvt_array *x = &call->a[i];
        const int memory = q->a[i].shares ? q->a[i].shares - 1 : i;
        x->role = q->a[i].role;
        x->rows = q->a[i].rows;
        x->cols = q->a[i].cols;
        x->ld = q->a[i].ld;
        x->at = q->a[i].present ? (vv_real *)(void *)(place(q, memory) + VVT_GUARD) : NULL;
    }
    if (vvb_get_info()->threads != q->threads) vvb_init(q->threads);
    return 1;
}

static void run(int64_t times)
{
    for (int64_t k = 0; k < times; k++) call->op->run(call);
    vvb_sync();
}

static void fetch(const serve_request *q)
{
    for (int i = 0; i < SERVE_REGIONS && copies; i++)
        if (copy[i].base && i != VVT_ARRAYS) vvb_download(shared + q->region[i].at, copy[i].base, bytes_of(q, i));
    const char *error = vvb_error();
    char *answer = shared + offsetof(serve_request, error);
    snprintf(answer, sizeof q->error, "%s", error ? error : "");
}

int serve(void)
{
    struct stat s;
    if (fstat(SERVE_MEMORY, &s)) return 1;
    size = s.st_size;
    void *p = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, SERVE_MEMORY, 0);
    if (p == MAP_FAILED) return 1;
    close(SERVE_MEMORY);
    shared = p;
    char what;
    while (read(SERVE_IN, &what, 1) == 1) {
        const serve_request q = *(const serve_request *)p;
        if (what == SERVE_LOAD && !load(&q)) return 1;
        if (what == SERVE_RUN && call) run(q.times);
        if (what == SERVE_FETCH && call) fetch(&q);
        if (write(SERVE_OUT, &what, 1) != 1) return 1;
    }
    unload();
    return 0;
}
