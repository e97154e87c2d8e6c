/* Inside tape/ only: the three memories. */
#ifndef VV_TAPE_MEMORY_H
#define VV_TAPE_MEMORY_H

#include "tape/tape.h"

/* Host memory for tensors, nodes' tables and scopes: pieces are handed out one after the other, freed all together. */
typedef struct vv_block vv_block;
typedef struct {
    vv_block *first, *now;
} vv_arena;
void *vv_arena_get(vv_arena *a, size_t bytes); /* zeroed; NULL without memory */
void vv_arena_reset(vv_arena *a);
void vv_arena_free(vv_arena *a);

/* Backend memory for activations: the same idea, in large chunks. */
typedef struct {
    void *p;
    int64_t size, used;
} vv_chunk;
typedef struct {
    vv_chunk *chunk;
    int n, now;   /* chunks there are, the one being filled */
    int64_t used; /* bytes handed out */
} vv_stack;
enum { VV_ALIGN = 64 };
void *vv_stack_get(vv_stack *s, int64_t bytes); /* NULL without memory */
void vv_stack_reset(vv_stack *s);
void vv_stack_free(vv_stack *s);

/* Backend memory for gradients: buffers of about the size asked for, used again and again. */
typedef struct {
    void *p;
    int64_t size;
    int busy;
} vv_buffer;
typedef struct {
    vv_buffer *buffer;
    int n, cap;
} vv_pool;
void *vv_pool_get(vv_pool *p, int64_t bytes); /* NULL without memory */
void vv_pool_release(vv_pool *p, const void *buffer);
void vv_pool_free(vv_pool *p);

/* Makes sure that a parameter has a gradient to add to: allocated once, zeroed when the first contribution arrives.
 * Returns 0 without memory. */
int vv_param_grad(vv_params *ps, vv_tensor *x, int dry);

#endif
