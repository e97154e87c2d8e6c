/* Which sample comes next: a keyed permutation for each epoch, and shares of several sources. No state but the number of draws. */
#include "base/rng.h"
#include "data/dataset.h"

/* On the two halves of x, (left, right) -> (right, left ^ F(right)) eight times. Whatever F is, this can be undone, so it
 * permutes the numbers of 2 * half bits. Four times are enough for large halves (Luby and Rackoff 1988); with few bits they
 * prefer some places (by a third for n = 5), which after eight is below 3 percent. */
static uint64_t feistel(uint64_t key, int half, uint64_t x)
{
    const uint64_t mask = ((uint64_t)1 << half) - 1;
    uint64_t left = x >> half, right = x & mask;
    for (uint64_t round = 0; round < 8; round++) {
        uint32_t f[4];
        vv_random_words(key, round, right, f);
        const uint64_t next = left ^ (f[0] & mask);
        left = right;
        right = next;
    }
    return left << half | right;
}

int64_t vv_draw(uint64_t seed, const char *task, int64_t epoch, int64_t position, int64_t n)
{
    uint32_t k[4];
    vv_random_words(seed, vv_stream(task), (uint64_t)epoch, k);
    const uint64_t key = (uint64_t)k[1] << 32 | k[0];
    int half = 1;
    while (half < 31 && (int64_t)1 << 2 * half < n) half++;
    uint64_t x = (uint64_t)position;
    do x = feistel(key, half, x); /* walks along a cycle that returns to position < n: it ends */
    while (x >= (uint64_t)n);
    return (int64_t)x;
}

int64_t vv_deal(const double *weights, int64_t *taken, int64_t n)
{
    double sum = 0, most = 0;
    int64_t draws = 1, best = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += weights[i];
        draws += taken[i];
    }
    for (int64_t i = 0; i < n; i++) {
        const double behind = weights[i] / sum * (double)draws - (double)taken[i];
        if (i && behind <= most) continue;
        most = behind;
        best = i;
    }
    taken[best]++;
    return best;
}
