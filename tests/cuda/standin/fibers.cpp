/* The threads of a launch, on one thread of the host.
 *
 * A fiber takes one thread of the block after the other. A thread that waits keeps its fiber, and the scheduler starts another one;
 * when all threads of the block have ended or wait, the scheduler looks which groups are complete, exchanges their values and lets
 * them go on. So kernels without barriers run on one fiber, and between two barriers each thread runs alone: an unsynchronised read
 * sees what the order of the threads makes of it. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <vector>

#include "standin.h"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;
unsigned char *vvsi_dynamic;

/* ---- fibers ------------------------------------------------------------------------------------------------------------------------ */
static const size_t STACK = VVSI_ASAN ? 512 << 10 : 128 << 10, PAGE = 4096;

struct fiber {
    char *stack;
    jmp_buf env;
    bool started;
    unsigned thread; /* whose it is now */
    void *fake;      /* AddressSanitizer's */
};
static std::vector<fiber *> idle;
static fiber *current;
static jmp_buf scheduler;

#if VVSI_ASAN
static void *scheduler_fake;
static const void *scheduler_stack;
static size_t scheduler_size;
static void leave(void **fake, const void *to, size_t size) { __sanitizer_start_switch_fiber(fake, to, size); }
static void arrive(void *fake) { __sanitizer_finish_switch_fiber(fake, nullptr, nullptr); }
static void arrive_first() { __sanitizer_finish_switch_fiber(nullptr, &scheduler_stack, &scheduler_size); }
#else
static void *scheduler_fake;
static const void *scheduler_stack;
static size_t scheduler_size;
static void leave(void **, const void *, size_t) {}
static void arrive(void *) {}
static void arrive_first() {}
#endif

static void fiber_main();

static fiber *new_fiber()
{
    fiber *f = new fiber();
    f->stack =
        (char *)mmap(nullptr, STACK + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (f->stack == MAP_FAILED || mprotect(f->stack, PAGE, PROT_NONE)) vvsi_die("no memory for another fiber");
    f->stack += PAGE;
    return f;
}

static void enter(fiber *f)
{
    current = f;
    leave(&scheduler_fake, f->stack, STACK);
    if (!_setjmp(scheduler)) {
        if (f->started) _longjmp(f->env, 1);
        f->started = true;
        ucontext_t c;
        getcontext(&c);
        c.uc_stack.ss_sp = f->stack;
        c.uc_stack.ss_size = STACK;
        c.uc_link = nullptr;
        makecontext(&c, fiber_main, 0);
        setcontext(&c);
    }
    arrive(scheduler_fake);
}

static void back_to_scheduler()
{
    fiber *f = current;
    leave(&f->fake, scheduler_stack, scheduler_size);
    if (!_setjmp(f->env)) _longjmp(scheduler, 1);
    arrive(current->fake);
}

/* ---- the threads of the block ---------------------------------------------------------------------------------------------------------- */
enum what { STARTING, READY, AT_BARRIER, AT_EXCHANGE, AT_BALLOT, ENDED };
struct thread_state {
    what state;
    fiber *on;
    const char *file;
    int line, from;
    unsigned mask, bits;
    size_t size;
    unsigned char value[16];
};
static std::vector<thread_state> threads;
static std::vector<unsigned> order;
static unsigned n_threads, next_thread;
static bool synchronised; /* this block came to a barrier */
static const std::function<void()> *body;

static void become(unsigned t)
{
    threadIdx = {t % blockDim.x, t / blockDim.x % blockDim.y, t / blockDim.x / blockDim.y};
    current->thread = t;
    threads[t].on = current;
}

static void fiber_main()
{
    arrive_first();
    for (;;) {
        while (next_thread < n_threads) {
            const unsigned t = order[next_thread++];
            become(t);
            (*body)();
            threads[current->thread].state = ENDED;
        }
        idle.push_back(current);
        back_to_scheduler();
    }
}

static thread_state &wait_here(what state, const char *file, int line)
{
    thread_state &t = threads[current->thread];
    t.state = state;
    t.file = file;
    t.line = line;
    synchronised = true;
    return t;
}

static void until_released()
{
    back_to_scheduler();
    become(current->thread);
}

void vvsi_barrier(const char *file, int line)
{
    wait_here(AT_BARRIER, file, line);
    until_released();
}

static unsigned linear() { return current->thread; }
unsigned vvsi_lane() { return linear() % 32; }

void vvsi_exchange(unsigned mask, void *value, size_t size, int from, const char *file, int line)
{
    thread_state &t = wait_here(AT_EXCHANGE, file, line);
    if (size > sizeof t.value) vvsi_die("a shuffle of %zu bytes, %s:%d", size, file, line);
    t.mask = mask;
    t.from = from;
    t.size = size;
    memcpy(t.value, value, size);
    const unsigned me = linear();
    until_released();
    memcpy(value, threads[me].value, size);
}

unsigned vvsi_ballot(unsigned mask, int predicate, const char *file, int line)
{
    thread_state &t = wait_here(AT_BALLOT, file, line);
    t.mask = mask;
    t.bits = (unsigned)predicate;
    const unsigned me = linear();
    until_released();
    return threads[me].bits;
}

/* ---- who may go on ------------------------------------------------------------------------------------------------------------------------- */
static const char *where(const thread_state &t)
{
    static char text[4][300];
    static int k;
    char *s = text[k = (k + 1) % 4];
    if (t.state == ENDED) snprintf(s, sizeof *text, "ended");
    else
        snprintf(s, sizeof *text, "waits at %s, %s:%d", t.state == AT_BARRIER ? "a barrier" : "a shuffle", t.file,
                 t.line);
    return s;
}

[[noreturn]] static void divergent(unsigned a, unsigned b)
{
    vvsi_die("divergent: of block %u,%u,%u thread %u %s and thread %u %s", blockIdx.x, blockIdx.y, blockIdx.z, a,
             where(threads[a]), b, where(threads[b]));
}

static bool same_place(const thread_state &a, const thread_state &b)
{
    return a.state == b.state && a.line == b.line && !strcmp(a.file, b.file);
}

/* the threads of one warp that wait for each other: true if some of them may go on now */
static bool release_warp(unsigned first)
{
    bool released = false;
    for (unsigned t = first; t < first + 32 && t < n_threads; t++) {
        thread_state &me = threads[t];
        if (me.state != AT_EXCHANGE && me.state != AT_BALLOT) continue;
        if (!(me.mask >> (t - first) & 1))
            vvsi_die("thread %u is not in its own mask %08x, %s:%d", t, me.mask, me.file, me.line);
        unsigned bits = 0;
        bool complete = true;
        for (unsigned l = 0; l < 32 && complete; l++) {
            if (!(me.mask >> l & 1)) continue;
            if (first + l >= n_threads)
                vvsi_die("mask %08x names threads beyond the block, %s:%d", me.mask, me.file, me.line);
            const thread_state &other = threads[first + l];
            complete = same_place(me, other) && other.mask == me.mask;
            bits |= (other.bits & 1u) << l;
        }
        if (!complete) continue;
        unsigned char sent[32][sizeof me.value];
        for (unsigned l = 0; l < 32; l++)
            if (me.mask >> l & 1) memcpy(sent[l], threads[first + l].value, sizeof sent[l]);
        const unsigned mask = me.mask;
        for (unsigned l = 0; l < 32; l++) {
            if (!(mask >> l & 1)) continue;
            thread_state &to = threads[first + l];
            if (to.state == AT_EXCHANGE) {
                if (!(mask >> to.from & 1))
                    vvsi_die("thread %u reads from one that is not in the mask %08x, %s:%d", first + l, mask, to.file,
                             to.line);
                memcpy(to.value, sent[to.from], to.size);
            }
            to.bits = bits;
            to.state = READY;
        }
        released = true;
    }
    return released;
}

static bool release_block()
{
    for (unsigned t = 0; t < n_threads; t++)
        if (threads[t].state != AT_BARRIER || !same_place(threads[0], threads[t])) return false;
    for (unsigned t = 0; t < n_threads; t++) threads[t].state = READY;
    return true;
}

/* All threads have ended or wait. Whether any goes on; false: all have ended. */
static bool release()
{
    bool any = false;
    unsigned waiting = n_threads, ended = n_threads;
    for (unsigned w = 0; w < n_threads; w += 32) any = release_warp(w) || any;
    if (any) return true;
    for (unsigned t = n_threads; t-- > 0;)
        if (threads[t].state == ENDED) ended = t;
        else waiting = t;
    if (waiting == n_threads) return false;
    if (release_block()) return true;
    if (ended < n_threads) divergent(waiting, ended);
    for (unsigned t = 0; t < n_threads; t++)
        if (!same_place(threads[0], threads[t])) divergent(0, t);
    vvsi_die("divergent masks of a shuffle, block %u, %s", blockIdx.x, where(threads[0]));
}

static void run_block()
{
    for (unsigned t = 0; t < n_threads; t++) threads[t].state = STARTING;
    next_thread = 0;
    do {
        while (next_thread < n_threads) {
            if (idle.empty()) idle.push_back(new_fiber());
            fiber *f = idle.back();
            idle.pop_back();
            enter(f);
        }
        for (unsigned i = 0; i < n_threads; i++)
            if (threads[order[i]].state == READY) enter(threads[order[i]].on);
    } while (release());
}

/* ---- the grid -------------------------------------------------------------------------------------------------------------------------------- */
extern unsigned char __start_vvsi_shared[] __attribute__((weak)), __stop_vvsi_shared[] __attribute__((weak));

VVSI_UNCHECKED static void fill_shared(size_t dynamic)
{
    if (VVSI_ASAN) /* between the arrays lies poison: no memset */
        for (unsigned char *p = __start_vvsi_shared; p < __stop_vvsi_shared; p++) *(volatile unsigned char *)p = 0xff;
    else if (__start_vvsi_shared) memset(__start_vvsi_shared, 0xff, (size_t)(__stop_vvsi_shared - __start_vvsi_shared));
    memset(vvsi_dynamic, 0xff, dynamic);
}

void vvsi_run_grid(const vvsi_launch_shape &shape, const std::function<void()> &thread)
{
    const uint64_t blocks = (uint64_t)shape.grid.x * shape.grid.y * shape.grid.z;
    if (blocks > 1u << 26) vvsi_die("%llu blocks are more than the stand-in runs", (unsigned long long)blocks);
    std::vector<unsigned> block_order(blocks);
    vvsi_order(block_order.data(), (unsigned)blocks);
    gridDim = shape.grid;
    blockDim = shape.block;
    n_threads = blockDim.x * blockDim.y * blockDim.z;
    threads.assign(n_threads, thread_state());
    order.resize(n_threads);
    body = &thread;
    /* exactly as large as it was asked for, so that AddressSanitizer sees its ends */
    vvsi_dynamic = (unsigned char *)malloc(shape.shared + 1);
    synchronised = true;
    for (unsigned b : block_order) {
        blockIdx = {b % gridDim.x, b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y};
        if (synchronised) fill_shared(shape.shared); /* without a barrier a block cannot have used it together */
        synchronised = false;
        vvsi_order(order.data(), n_threads);
        run_block();
    }
    free(vvsi_dynamic);
    vvsi_dynamic = nullptr;
}
