/* Between the files of the stand-in. */
#ifndef VV_STANDIN_H
#define VV_STANDIN_H

#include "cuda_runtime.h"

/* One line about the running kernel or call, and the end of the process. */
[[noreturn]] void vvsi_die(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Work of a stream: done at once, or with VVSI_ASYNC=1 when the host waits. */
void vvsi_enqueue(std::function<void()> work);
void vvsi_drain();

/* Where the stand-in itself reads and writes the device memory at p. */
char *vvsi_alias(const void *p);

/* Whether p .. p + bytes lies in one live allocation; dies with `what` if not. */
void vvsi_inside(const char *what, const void *p, size_t bytes);
bool vvsi_is_device(const void *p);

/* The order in which n things are done: order[0 .. n-1]. */
void vvsi_order(unsigned *order, unsigned n);

/* All threads of all blocks of a launch. */
void vvsi_run_grid(const vvsi_launch_shape &shape, const std::function<void()> &thread);

#if defined(__SANITIZE_ADDRESS__)
#define VVSI_ASAN 1
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define VVSI_ASAN 0
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif
#define VVSI_UNCHECKED __attribute__((no_sanitize("address"))) /* reads and fills what is poisoned */

#endif
