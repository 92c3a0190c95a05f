/* SPDX-License-Identifier: Apache-2.0
 * half.h - one short float at a time, in plain C
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

/* To nearest, ties to even; what is beyond F16's largest number becomes that number. A NaN becomes quiet. */
static inline uint16_t sy_f16_round(float f)
{
    uint16_t sign = signbit(f) ? 0x8000 : 0;
    uint32_t bits;
    float size = fabsf(f);

    memcpy(&bits, &f, sizeof bits);
    if (f != f)
        return (uint16_t)(sign | 0x7e00 | (bits >> 13 & 0x3ff));
    if (size >= 65504.0f)
        return sign | 0x7bff;
    /* Below 2^-14 all numbers are as far apart as 2^-24: adding 2^-1 rounds to that. */
    if (size < 0x1p-14f)
        return (uint16_t)(sign | (uint16_t)((size + 0.5f - 0.5f) * 0x1p24f));
    return (uint16_t)(sign | (((bits & 0x7fffffff) + 0xfff + (bits >> 13 & 1) - (112u << 23)) >> 13));
}

static inline float sy_f16_widen(uint16_t h)
{
    /* Exponent and mantissa in a float's place, whose bias is 112 more; so for subnormal numbers too. */
    uint32_t bits = (uint32_t)(h & 0x7fff) << 13;
    float f;

    memcpy(&f, &bits, sizeof f);
    if ((h & 0x7c00) == 0x7c00)
        f = h & 0x3ff ? NAN : INFINITY;
    else
        f *= 0x1p112f;
    return h & 0x8000 ? -f : f;
}

/* 4 bits of exponent (bias 7), 3 of mantissa; 0x7f and 0xff are NaN, and there is no infinity. */
static inline float sy_e4m3_widen(uint8_t code)
{
    int exponent = code >> 3 & 15, mantissa = code & 7;
    float f = exponent ? ldexpf((float)(mantissa + 8), exponent - 10) : ldexpf((float)mantissa, -9);

    if ((code & 0x7f) == 0x7f)
        f = NAN;
    return code & 0x80 ? -f : f;
}

/* Low 4 bits: sign, 2 of exponent, 1 of mantissa. */
static inline float sy_e2m1_widen(uint8_t code)
{
    static const float numbers[] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};

    return code & 8 ? -numbers[code & 7] : numbers[code & 7];
}

/* A scale of SY_MXFP4. */
static inline float sy_e8m0_widen(uint8_t code)
{
    return ldexpf(1.0f, code - 127);
}

/* Element i of an array of floats or codes (of any alignment). */
static inline float sy_float_at(enum sy_dtype dtype, const void *data, size_t i)
{
    const uint8_t *bytes = data;
    uint16_t h;
    float f;

    if (dtype == SY_I8)
        return (float)(int8_t)bytes[i];
    if (dtype == SY_F8_E4M3)
        return sy_e4m3_widen(bytes[i]);
    if (dtype == SY_MXFP4)
        return sy_e2m1_widen(i % 2 ? bytes[i / 2] >> 4 : bytes[i / 2]);
    if (dtype == SY_F32) {
        memcpy(&f, (const char *)data + i * 4, sizeof f);
        return f;
    }
    memcpy(&h, (const char *)data + i * 2, sizeof h);
    return dtype == SY_BF16 ? sy_bf16_widen(h) : sy_f16_widen(h);
}

/* Element i of a row whose stride is `stride` elements. */
static inline float sy_row_float(enum sy_dtype dtype, const void *row, size_t stride, size_t i)
{
    if (dtype == SY_BF16X2)
        return sy_float_at(SY_BF16, row, i) + sy_float_at(SY_BF16, row, stride + i);
    return sy_float_at(dtype, row, i);
}

/* f as the consumer's compute type sees it. */
static inline float sy_round_float(float f, enum sy_round round)
{
    return round == SY_ROUND_BF16 ? sy_bf16_widen(sy_bf16_round(f)) : f;
}

#endif
