#include "tape/memory.h"

#include <stdlib.h>
#include <string.h>

/* ---- host arena ------------------------------------------------------------------------------------------------------ */
struct vv_block {
    vv_block *next;
    size_t size, used;
    double data[]; /* aligned for everything kept here */
};

enum { BLOCK_BYTES = 1 << 16 };

void *vv_arena_get(vv_arena *a, size_t bytes)
{
    bytes = (bytes + 15) / 16 * 16;
    while (a->now && a->now->used + bytes > a->now->size && a->now->next) a->now = a->now->next;
    if (!a->now || a->now->used + bytes > a->now->size) {
        const size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        vv_block *b = malloc(sizeof *b + size);
        if (!b) return NULL;
        *b = (vv_block){.size = size};
        if (a->now) a->now->next = b;
        else a->first = b;
        a->now = b;
    }
    char *p = (char *)a->now->data + a->now->used;
    a->now->used += bytes;
    return memset(p, 0, bytes);
}

void vv_arena_reset(vv_arena *a)
{
    for (vv_block *b = a->first; b; b = b->next) b->used = 0;
    a->now = a->first;
}

void vv_arena_free(vv_arena *a)
{
    for (vv_block *b = a->first; b;) {
        vv_block *next = b->next;
        free(b);
        b = next;
    }
    *a = (vv_arena){0};
}

/* ---- activation stack ------------------------------------------------------------------------------------------------- */
/* A new chunk is as large as all before it together (within these bounds), so that there are few of them. */
enum { CHUNK_MIN = 1 << 20, CHUNK_MAX = 1 << 28 };

void *vv_stack_get(vv_stack *s, int64_t bytes)
{
    bytes = (bytes + VV_ALIGN - 1) / VV_ALIGN * VV_ALIGN;
    while (s->now < s->n && s->chunk[s->now].used + bytes > s->chunk[s->now].size) s->now++;
    if (s->now == s->n) {
        int64_t size = 0;
        for (int i = 0; i < s->n; i++) size += s->chunk[i].size;
        size = vv_max(bytes, vv_max(CHUNK_MIN, vv_min(size, CHUNK_MAX)));
        vv_chunk *more = realloc(s->chunk, (size_t)(s->n + 1) * sizeof *more);
        if (!more) return NULL;
        s->chunk = more;
        void *p = vvb_alloc(size);
        if (!p) return NULL;
        s->chunk[s->n++] = (vv_chunk){p, size, 0};
    }
    vv_chunk *c = &s->chunk[s->now];
    void *p = (char *)c->p + c->used;
    c->used += bytes;
    s->used += bytes;
    return p;
}

void vv_stack_reset(vv_stack *s)
{
    for (int i = 0; i < s->n; i++) s->chunk[i].used = 0;
    s->now = 0;
    s->used = 0;
}

void vv_stack_free(vv_stack *s)
{
    for (int i = 0; i < s->n; i++) vvb_free(s->chunk[i].p, s->chunk[i].size);
    free(s->chunk);
    *s = (vv_stack){0};
}

/* ---- gradient pool ---------------------------------------------------------------------------------------------------- */
void *vv_pool_get(vv_pool *p, int64_t bytes)
{
    vv_buffer *best = NULL;
    for (int i = 0; i < p->n; i++) {
        vv_buffer *b = &p->buffer[i];
        if (!b->busy && b->size >= bytes && b->size <= 2 * bytes + 4096 && (!best || b->size < best->size)) best = b;
    }
    if (!best) {
        if (p->n == p->cap) {
            const int cap = p->cap ? 2 * p->cap : 16;
            vv_buffer *more = realloc(p->buffer, (size_t)cap * sizeof *more);
            if (!more) return NULL;
            p->buffer = more;
            p->cap = cap;
        }
        void *fresh = vvb_alloc(bytes);
        if (!fresh) return NULL;
        best = &p->buffer[p->n++];
        *best = (vv_buffer){.p = fresh, .size = bytes};
    }
    best->busy = 1;
    return best->p;
}

void vv_pool_release(vv_pool *p, const void *buffer)
{
    for (int i = 0; i < p->n; i++)
        if (p->buffer[i].p == buffer) p->buffer[i].busy = 0;
}

void vv_pool_free(vv_pool *p)
{
    for (int i = 0; i < p->n; i++) vvb_free(p->buffer[i].p, p->buffer[i].size);
    free(p->buffer);
    *p = (vv_pool){0};
}

/* ---- parameters -------------------------------------------------------------------------------------------------------- */
static void count(vv_params *ps, int64_t bytes)
{
    ps->bytes += bytes;
    if (ps->bytes > ps->peak) ps->peak = ps->bytes;
}

vv_tensor *vv_param_new(vv_params *ps, const char *name, int ndim, const int64_t *dim, vv_error *err)
{
    if (ps->n == ps->cap) {
        const int64_t cap = ps->cap ? 2 * ps->cap : 64;
        vv_tensor **more = realloc(ps->at, (size_t)cap * sizeof *more);
        if (!more) goto no_memory;
        ps->at = more;
        ps->cap = cap;
    }
    vv_tensor *x = vv_calloc(1, sizeof *x);
    if (!x) goto no_memory;
    *x = (vv_tensor){.name = vv_strdup(name), .kind = VV_REALS, .ndim = ndim, .n = 1, .needs_grad = 1, .is_param = 1};
    ps->at[ps->n++] = x; /* from here on vv_params_free frees it */
    for (int i = 0; i < ndim; i++) {
        x->dim[i] = dim[i];
        x->n = vv_mul(x->n, dim[i]);
    }
    const int64_t bytes = vv_mul(x->n, sizeof(vv_real));
    if (bytes < 0) x->n = 0; /* so that freeing it counts nothing */
    if (!x->name || bytes < 0) goto no_memory;
    if (!ps->dry && !(x->data = vvb_alloc(bytes))) {
        (void)vvb_error(); /* told here instead */
        goto no_memory;
    }
    count(ps, bytes);
    return x;
no_memory:
    vv_no_memory(err, name);
    return NULL;
}

vv_tensor *vv_param_find(const vv_params *ps, const char *name)
{
    for (int64_t i = 0; i < ps->n; i++)
        if (!strcmp(ps->at[i]->name, name)) return ps->at[i];
    return NULL;
}

int vv_param_grad(vv_params *ps, vv_tensor *x, int dry)
{
    const int64_t bytes = x->n * (int64_t)sizeof(vv_real);
    if (ps->dry || dry) {
        if (ps->dry && !x->grad_counted) count(ps, bytes);
        x->grad_counted = ps->dry;
        if (x->grad && !x->has_grad) vvb_zero(x->grad, bytes); /* a real pass may follow and add to it */
        x->has_grad = 1;
        return 1;
    }
    const int fresh = !x->grad;
    if (fresh) {
        if (!(x->grad = vvb_alloc(bytes))) return 0;
        count(ps, bytes);
    }
    if (fresh || !x->has_grad) vvb_zero(x->grad, bytes);
    x->has_grad = 1;
    return 1;
}

void vv_params_zero_grad(vv_params *ps)
{
    for (int64_t i = 0; i < ps->n; i++) ps->at[i]->has_grad = 0;
}

void vv_params_free(vv_params *ps)
{
    for (int64_t i = 0; i < ps->n; i++) {
        vv_tensor *x = ps->at[i];
        vvb_free(x->data, x->n * (int64_t)sizeof(vv_real));
        vvb_free(x->grad, x->n * (int64_t)sizeof(vv_real));
        free((char *)x->name);
        free(x);
    }
    free(ps->at);
    *ps = (vv_params){0};
}
