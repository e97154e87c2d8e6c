/* Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3").
 * The i-th number of a stream is a pure function of (seed, stream, i): no state to save, any order, any number of threads. */
#ifndef VV_RNG_H
#define VV_RNG_H

#include "base/base.h"

/* A stream for a name: FNV-1a, 64 bits. */
uint64_t vv_stream(const char *name);

/* The block of four words at the counter. */
void vv_random_words(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t out[4]);

/* The i-th uniform number in (0,1), and the i-th of N(0,1) (Box-Muller in double with our own log, sin, cos: the same bits in
 * every build). */
double vv_random_uniform(uint64_t seed, uint64_t stream, uint64_t i);
double vv_random_normal(uint64_t seed, uint64_t stream, uint64_t i);

#endif
