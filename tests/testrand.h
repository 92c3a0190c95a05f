/* SPDX-License-Identifier: Apache-2.0
 * testrand.h - fresh random numbers for tests, repeatable from the seed that is printed (SY_SEED=N)
 */
#ifndef SY_TESTS_TESTRAND_H
#define SY_TESTS_TESTRAND_H

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "tap.h"

struct testrand {
    uint64_t state;
};

static inline struct testrand testrand_begin(void)
{
    const char *given = getenv("SY_SEED");
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)now.tv_sec * 1000003u + (uint64_t)now.tv_nsec;
    diag("SY_SEED=%llu", (unsigned long long)seed);
    return (struct testrand){seed};
}

/* SplitMix64. */
static inline uint64_t testrand_next(struct testrand *rand)
{
    uint64_t x = rand->state += 0x9e3779b97f4a7c15u;

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Uniform in [-1, 1). */
static inline float testrand_float(struct testrand *rand)
{
    return (float)((double)(testrand_next(rand) >> 11) * 0x1p-52 - 1.0);
}

#endif
