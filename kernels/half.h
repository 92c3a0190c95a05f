/* SPDX-License-Identifier: Apache-2.0
 * half.h - one 16-bit float at a time, in plain C
 *
 * What kernels/ref computes with, and what a SIMD kernel uses for the odd element.
 */
#ifndef SY_KERNELS_HALF_H
#define SY_KERNELS_HALF_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "kernels.h"

static inline float sy_bf16_widen(uint16_t h)
{
    uint32_t bits = (uint32_t)h << 16;
    float f;

    memcpy(&f, &bits, sizeof f);
    return f;
}

/* To nearest, ties to even. A NaN becomes quiet, so that cutting its low bits cannot make it an infinity. */
static inline uint16_t sy_bf16_round(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, sizeof bits);
    if (f != f)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float sy_f16_widen(uint16_t h)
{
    int exponent = h >> 10 & 31, mantissa = h & 1023;
    float f;

    if (exponent == 31)
        f = mantissa ? NAN : INFINITY;
    else if (exponent == 0)
        f = ldexpf((float)mantissa, -24);
    else
        f = ldexpf((float)(mantissa + 1024), exponent - 25);
    return h & 0x8000 ? -f : f;
}

/* Element i of an array of SY_F32, SY_F16 or SY_BF16 (of any alignment). */
static inline float sy_float_at(enum sy_dtype dtype, const void *data, size_t i)
{
    uint16_t h;
    float f;

    if (dtype == SY_F32) {
        memcpy(&f, (const char *)data + i * 4, sizeof f);
        return f;
    }
    memcpy(&h, (const char *)data + i * 2, sizeof h);
    return dtype == SY_BF16 ? sy_bf16_widen(h) : sy_f16_widen(h);
}

/* f as the consumer's compute type sees it. */
static inline float sy_round_float(float f, enum sy_round round)
{
    return round == SY_ROUND_BF16 ? sy_bf16_widen(sy_bf16_round(f)) : f;
}

#endif
