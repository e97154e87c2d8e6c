#include "base/rng.h"

#include "base/elementary.h"

uint64_t vv_stream(const char *name)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name; name++) h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

void vv_random_words(uint64_t seed, uint64_t stream, uint64_t counter, uint32_t out[4])
{
    uint32_t x[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), (uint32_t)stream, (uint32_t)(stream >> 32)};
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53u * x[0], b = (uint64_t)0xCD9E8D57u * x[2];
        const uint32_t y[4] = {(uint32_t)(b >> 32) ^ x[1] ^ k0, (uint32_t)b, (uint32_t)(a >> 32) ^ x[3] ^ k1,
                               (uint32_t)a};
        for (int i = 0; i < 4; i++) x[i] = y[i];
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; i++) out[i] = x[i];
}

/* 53 bits of two words, moved off 0 by half a step */
static double uniform(uint32_t hi, uint32_t lo) { return ((double)(((uint64_t)hi << 32 | lo) >> 11) + 0.5) * 0x1p-53; }

double vv_random_uniform(uint64_t seed, uint64_t stream, uint64_t i)
{
    uint32_t w[4];
    vv_random_words(seed, stream, i / 2, w);
    return i % 2 ? uniform(w[2], w[3]) : uniform(w[0], w[1]);
}

double vv_random_normal(uint64_t seed, uint64_t stream, uint64_t i)
{
    uint32_t w[4];
    vv_random_words(seed, stream, i / 2, w);
    const double r = sqrt(-2 * vv_log(uniform(w[0], w[1]))), angle = 6.28318530717958647693 * uniform(w[2], w[3]);
    return r * (i % 2 ? vv_sin(angle) : vv_cos(angle));
}
