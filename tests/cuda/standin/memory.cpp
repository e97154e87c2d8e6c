/* Device memory: a range of addresses whose pages are closed unless a launch has opened them. The same memory has other addresses
 * that are always open and that only the stand-in knows: copies, fills and checks go there. Closing pages costs time for each of them:
 * large allocations have a part of the range of their own, where a launch opens those only that it was given. */
#include <deque>
#include <execinfo.h>
#include <map>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "standin.h"

static const size_t ROOM = (size_t)64 << 30, ALIGN = 256, GUARD = 256, LARGE = 1 << 20, QUARANTINE = 64 << 20,
                    PAGE = 4096;
static const uint32_t GUARD_WORD = 0x7fd0dead; /* a NaN */
static const unsigned char FRESH = 0xff, FREED = 0xfe;

struct allocation {
    size_t bytes, room; /* room: with the tail up to the next guard */
    long number;
    void *frames[12];
    int depth;
};
/* never taken down: they are looked at after everything else */
static std::map<char *, allocation> &live = *new std::map<char *, allocation>;
static std::deque<std::pair<char *, allocation>> &freed =
    *new std::deque<std::pair<char *, allocation>>; /* not handed out again yet */
static std::multimap<size_t, char *> &reusable = *new std::multimap<size_t, char *>;
static char *base, *large_base, *top, *large_top; /* top: what was ever handed out */
static ptrdiff_t to_alias;
static size_t freed_bytes, live_bytes;
static long allocations;
static const char *at_work = "host code";

/* ---- messages ------------------------------------------------------------------------------------------------------------------------- */
void vvsi_die(const char *format, ...)
{
    char text[800];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    fflush(stdout);
    fprintf(stderr, "stand-in: %s: %s\n", at_work, text);
    void *frames[30];
    backtrace_symbols_fd(frames, backtrace(frames, 30), STDERR_FILENO);
    _exit(70);
}

static void tell_who(const allocation &a)
{
    fprintf(stderr, "stand-in: allocation number %ld of %zu bytes was made here:\n", a.number, a.bytes);
    backtrace_symbols_fd(a.frames + 2, a.depth > 2 ? a.depth - 2 : 0, STDERR_FILENO);
}

/* ---- pages ------------------------------------------------------------------------------------------------------------------------------ */
static struct sigaction before;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    char *at = (char *)info->si_addr;
    if (at >= base && at < base + ROOM) vvsi_die("touched device memory at %p", (void *)at);
    if (before.sa_flags & SA_SIGINFO) before.sa_sigaction(signal, info, context);
    else {
        sigaction(SIGSEGV, &before, nullptr);
        raise(signal);
    }
}

static void reserve()
{
    const int fd = (int)syscall(SYS_memfd_create, "device memory", 0u);
    if (fd < 0 || ftruncate(fd, (off_t)ROOM)) vvsi_die("no memory for the device");
    char *alias = (char *)mmap(nullptr, ROOM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    base = top = (char *)mmap(nullptr, ROOM, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    large_base = large_top = base + ROOM / 4;
    if (base == MAP_FAILED || alias == MAP_FAILED) vvsi_die("no addresses for device memory");
    to_alias = alias - base;
    close(fd);
    struct sigaction s = {};
    s.sa_sigaction = on_fault;
    s.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &s, &before);
}

char *vvsi_alias(const void *p) { return (char *)p + to_alias; }

static void set_pages(const char *from, const char *to, int protection)
{
    char *first = (char *)((uintptr_t)from / PAGE * PAGE);
    if (to > from && mprotect(first, (size_t)(to - first + (ptrdiff_t)PAGE - 1) / PAGE * PAGE, protection))
        vvsi_die("mprotect failed");
}

/* ---- guards --------------------------------------------------------------------------------------------------------------------------- */
static char guard_byte(const char *p) { return (char)(GUARD_WORD >> 8 * ((uintptr_t)p % 4)); }

static void fill_guard(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) *vvsi_alias(p + i) = guard_byte(p + i);
}

static bool intact(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (*vvsi_alias(p + i) != guard_byte(p + i)) return false;
    return true;
}

static void check_guards(char *p, const allocation &a)
{
    const bool low = intact(p - GUARD, GUARD), high = intact(p + a.bytes, a.room - a.bytes + GUARD);
    if (low && high) return;
    tell_who(a);
    vvsi_die("wrote %s an allocation of %zu bytes", low ? "beyond the end of" : "before", a.bytes);
}

/* ---- finding an address ---------------------------------------------------------------------------------------------------------------- */
bool vvsi_is_device(const void *p) { return base && (const char *)p >= base && (const char *)p < base + ROOM; }

static std::map<char *, allocation>::iterator find(const void *p)
{
    auto it = live.upper_bound((char *)p);
    if (it == live.begin()) return live.end();
    --it;
    return (char *)p <= it->first + it->second.bytes ? it : live.end();
}

void vvsi_inside(const char *what, const void *p, size_t bytes)
{
    if (bytes == 0) return;
    if (!p) vvsi_die("%s: NULL for %zu bytes", what, bytes);
    if (!vvsi_is_device(p)) vvsi_die("%s: %p is not device memory", what, p);
    const auto it = find(p);
    if (it == live.end()) {
        for (const auto &f : freed)
            if ((char *)p >= f.first && (char *)p < f.first + f.second.room) {
                tell_who(f.second);
                vvsi_die("%s: memory that was freed", what);
            }
        vvsi_die("%s: %p lies in no allocation", what, p);
    }
    const size_t from = (size_t)((char *)p - it->first);
    if (from + bytes > it->second.bytes) {
        tell_who(it->second);
        vvsi_die("%s: bytes %zu to %zu of an allocation of %zu", what, from, from + bytes, it->second.bytes);
    }
}

/* ---- a kernel's arguments ---------------------------------------------------------------------------------------------------------------- */
static std::deque<char *> given; /* allocations that the running kernel knows of */

static bool mapped(const void *p)
{
    unsigned char in_core;
    return mincore((void *)((uintptr_t)p & ~(uintptr_t)4095), 1, &in_core) == 0;
}

void vvsi_check_pointer(const char *kernel, int number, const void *p)
{
    char what[200];
    if (!p) return;
    snprintf(what, sizeof what, "%s, argument %d", kernel, number);
    const auto it = vvsi_is_device(p) ? find(p) : live.end();
    if (it == live.end()) vvsi_inside(what, p, 1);
    else given.push_back(it->first);
}

/* Words of a struct that are addresses: of device memory they must be live, of the host's they have no business here. */
void vvsi_check_bytes(const char *kernel, int number, const void *bytes, size_t size)
{
    for (size_t i = 0; i + sizeof(void *) <= size; i += sizeof(void *)) {
        const void *p;
        memcpy(&p, (const char *)bytes + i, sizeof p);
        if (vvsi_is_device(p)) vvsi_check_pointer(kernel, number, p);
        else if ((uintptr_t)p >> 40 >= 0x55 && (uintptr_t)p >> 47 == 0 && mapped(p))
            vvsi_die("%s, argument %d: a struct that holds an address of the host, %p", kernel, number, p);
    }
}

/* Device memory as the running kernel may see it. */
static void set_pages_of_launch(int protection)
{
    set_pages(base, top, protection);
    for (char *p : given)
        if (p >= large_base) set_pages(p - GUARD, p + live.at(p).room + GUARD, protection);
}

static void launch_now(const vvsi_launch_shape &shape, const std::function<void()> &check,
                       const std::function<void()> &thread)
{
    char name[200];
    snprintf(name, sizeof name, "%s, kernel %s", shape.function, shape.kernel);
    at_work = name;
    given.clear();
    check();
    set_pages_of_launch(PROT_READ | PROT_WRITE);
    vvsi_run_grid(shape, thread);
    set_pages_of_launch(PROT_NONE);
    for (char *p : given) check_guards(p, live.at(p));
    at_work = "host code";
}

static std::map<const void *, int> shared_limit;
cudaError_t vvsi_shared_limit(const void *kernel, int bytes)
{
    if (bytes > 64 << 10) return cudaErrorInvalidValue; /* of the smallest device that is built for */
    shared_limit[kernel] = bytes;
    return cudaSuccess;
}

void vvsi_launch(const vvsi_launch_shape &shape, std::function<void()> check, std::function<void()> thread)
{
    const dim3 g = shape.grid, b = shape.block;
    const size_t n = (size_t)b.x * b.y * b.z,
                 limit = shared_limit.count(shape.address) ? (size_t)shared_limit[shape.address] : 48 << 10;
    if (n < 1 || n > 1024 || b.z > 64 || g.x > 0x7fffffffu || g.y > 65535 || g.z > 65535 || shape.shared > limit)
        vvsi_die("%s: grid %u,%u,%u, blocks of %u,%u,%u threads and %zu bytes of shared memory cannot be launched",
                 shape.kernel, g.x, g.y, g.z, b.x, b.y, b.z, shape.shared);
    vvsi_enqueue([=] { launch_now(shape, check, thread); });
}

/* ---- allocation --------------------------------------------------------------------------------------------------------------------------- */
static size_t memory_limit()
{
    const char *text = getenv("VVSI_MEMORY");
    return text ? (size_t)strtoull(text, nullptr, 10) : ROOM / 2;
}

/* The oldest of what was freed may be handed out again; nobody may have written there. */
static void recycle()
{
    char *p = freed.front().first;
    const allocation a = freed.front().second;
    for (size_t i = 0; i < a.room; i++)
        if ((unsigned char)*vvsi_alias(p + i) != FREED) {
            tell_who(a);
            vvsi_die("wrote to byte %zu of memory that had been freed", i);
        }
    freed_bytes -= a.room;
    reusable.emplace(a.room, p);
    freed.pop_front();
}

/* Addresses for so many bytes; *room becomes what they have. */
static char *find_room(size_t *room)
{
    const auto it = reusable.lower_bound(*room);
    if (it != reusable.end() && it->first <= 2 * *room) {
        char *p = it->second;
        *room = it->first;
        reusable.erase(it);
        return p;
    }
    char *&end = *room < LARGE ? top : large_top;
    char *p = end + GUARD;
    end = p + *room + GUARD;
    if (top > large_base || large_top > base + ROOM) vvsi_die("the addresses of device memory are used up");
    return p;
}

cudaError_t vvsi_malloc(void **out, size_t bytes, cudaStream_t)
{
    if (!base) reserve();
    *out = nullptr;
    if (bytes > memory_limit() || live_bytes + bytes > memory_limit()) return cudaErrorMemoryAllocation;
    size_t room = (bytes + ALIGN - 1) / ALIGN * ALIGN;
    char *p = find_room(&room);
    allocation a = {bytes, room, ++allocations, {}, 0};
    a.depth = backtrace(a.frames, 12);
    memset(vvsi_alias(p), FRESH, bytes);
    fill_guard(p - GUARD, GUARD);
    fill_guard(p + bytes, room - bytes + GUARD);
    ASAN_UNPOISON_MEMORY_REGION(p, bytes);
    ASAN_POISON_MEMORY_REGION(p - GUARD, GUARD);
    ASAN_POISON_MEMORY_REGION(p + bytes, room - bytes + GUARD);
    live[p] = a;
    live_bytes += bytes;
    *out = p;
    return cudaSuccess;
}

static void free_now(char *p)
{
    const auto it = live.find(p);
    if (it == live.end()) {
        for (const auto &f : freed)
            if (f.first == p) {
                tell_who(f.second);
                vvsi_die("freed twice: %p", (void *)p);
            }
        vvsi_die("freed %p, which was not allocated", (void *)p);
    }
    const allocation a = it->second;
    check_guards(p, a);
    memset(vvsi_alias(p), FREED, a.room);
    ASAN_POISON_MEMORY_REGION(p, a.room);
    live.erase(it);
    live_bytes -= a.bytes;
    freed.emplace_back(p, a);
    freed_bytes += a.room;
    while (freed_bytes > QUARANTINE || freed.size() > 4096) recycle();
}

cudaError_t cudaFreeAsync(void *p, cudaStream_t)
{
    if (p) vvsi_enqueue([=] { free_now((char *)p); });
    return cudaSuccess;
}

/* After everything else: nothing may be left. */
__attribute__((destructor)) static void at_the_end()
{
    if (!base) return;
    at_work = "end of the program";
    while (!freed.empty()) recycle();
    for (const auto &l : live) check_guards(l.first, l.second);
    if (live.empty()) return;
    size_t n = 0;
    for (const auto &l : live)
        if (++n <= 5) tell_who(l.second);
    vvsi_die("leak: %zu allocations, %zu bytes, were not freed", live.size(), live_bytes);
}
