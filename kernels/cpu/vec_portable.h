/* SPDX-License-Identifier: Apache-2.0
 * vec_portable.h - vec.h in the compiler's plain vector arithmetic
 *
 * Two vectors of four, the width that every 64-bit target has. There is no fused multiply-add: products are rounded.
 */
#ifndef SY_KERNELS_CPU_VEC_PORTABLE_H
#define SY_KERNELS_CPU_VEC_PORTABLE_H

#include "half.h"

#define VEC_N 8

/* Four registers of four floats are a row's sums of a panel; 8 of 16 registers are sums. */
#define VEC_TILE_ROWS  2
#define VEC_TILE_CELLS 2

#define VEC_HAS_DOT 0

typedef float vec_f4 __attribute__((vector_size(16)));
typedef uint32_t vec_u4 __attribute__((vector_size(16)));

typedef struct {
    vec_f4 lo, hi;
} vf;

VEC_INLINE vec_f4 vec_set4(float f)
{
    return (vec_f4){f, f, f, f};
}

VEC_INLINE vec_u4 vec_uset4(uint32_t u)
{
    return (vec_u4){u, u, u, u};
}

/* a where mask is all ones, b where it is zero */
VEC_INLINE vec_f4 vec_blend4(vec_u4 mask, vec_f4 a, vec_f4 b)
{
    return (vec_f4)((mask & (vec_u4)a) | (~mask & (vec_u4)b));
}

VEC_INLINE vf vec_set(float f)
{
    return (vf){vec_set4(f), vec_set4(f)};
}

VEC_INLINE vf vec_zero(void)
{
    return vec_set(0.0f);
}

VEC_INLINE vf vec_load(const float *p)
{
    vf a;
    memcpy(&a.lo, p, sizeof a.lo);
    memcpy(&a.hi, p + 4, sizeof a.hi);
    return a;
}

VEC_INLINE void vec_store(float *p, vf a)
{
    memcpy(p, &a.lo, sizeof a.lo);
    memcpy(p + 4, &a.hi, sizeof a.hi);
}

VEC_INLINE vf vec_load_n(const float *p, int lanes)
{
    float padded[VEC_N] = {0};
    memcpy(padded, p, (size_t)lanes * sizeof *p);
    return vec_load(padded);
}

VEC_INLINE void vec_store_n(float *p, int lanes, vf a)
{
    float padded[VEC_N];
    vec_store(padded, a);
    memcpy(p, padded, (size_t)lanes * sizeof *p);
}

VEC_INLINE vf vec_add(vf a, vf b)
{
    return (vf){a.lo + b.lo, a.hi + b.hi};
}

VEC_INLINE vf vec_sub(vf a, vf b)
{
    return (vf){a.lo - b.lo, a.hi - b.hi};
}

VEC_INLINE vf vec_mul(vf a, vf b)
{
    return (vf){a.lo * b.lo, a.hi * b.hi};
}

VEC_INLINE vf vec_div(vf a, vf b)
{
    return (vf){a.lo / b.lo, a.hi / b.hi};
}

/* a * b + c */
VEC_INLINE vf vec_fma(vf a, vf b, vf c)
{
    return (vf){a.lo * b.lo + c.lo, a.hi * b.hi + c.hi};
}

/* a < b ? a : b, so b where either is NaN */
VEC_INLINE vf vec_min(vf a, vf b)
{
    return (vf){vec_blend4((vec_u4)(a.lo < b.lo), a.lo, b.lo), vec_blend4((vec_u4)(a.hi < b.hi), a.hi, b.hi)};
}

/* a > b ? a : b, so b where either is NaN */
VEC_INLINE vf vec_max(vf a, vf b)
{
    return (vf){vec_blend4((vec_u4)(a.lo > b.lo), a.lo, b.lo), vec_blend4((vec_u4)(a.hi > b.hi), a.hi, b.hi)};
}

/* a in lanes begin .. end - 1, b in the others; begin and end may lie outside 0 .. 8 */
VEC_INLINE vf vec_select_range(vf a, vf b, int begin, int end)
{
    float la[VEC_N], lb[VEC_N];
    vec_store(la, a);
    vec_store(lb, b);
    for (int i = 0; i < VEC_N; i++)
        la[i] = i >= begin && i < end ? la[i] : lb[i];
    return vec_load(la);
}

VEC_INLINE float vec_sum(vf a)
{
    vec_f4 s = a.lo + a.hi;
    return (s[0] + s[2]) + (s[1] + s[3]);
}

/* The largest lane; if there are NaNs, either a NaN or the largest of some lanes. */
VEC_INLINE float vec_largest(vf a)
{
    vec_f4 s = vec_max(a, (vf){a.hi, a.lo}).lo;
    float x = s[0] > s[1] ? s[0] : s[1], y = s[2] > s[3] ? s[2] : s[3];
    return x > y ? x : y;
}

/* 2^a for a whole number a in -126 .. 127: a + 127 moved into the exponent's place. */
VEC_INLINE vf vec_pow2(vf a)
{
    vf biased = vec_add(a, vec_set(0x1.8p23f + 127.0f));
    return (vf){(vec_f4)((vec_u4)biased.lo << 23), (vec_f4)((vec_u4)biased.hi << 23)};
}

VEC_INLINE vf vec_load_bf16(const uint16_t *p)
{
    vec_u4 lo = {p[0], p[1], p[2], p[3]}, hi = {p[4], p[5], p[6], p[7]};
    return (vf){(vec_f4)(lo << 16), (vec_f4)(hi << 16)};
}

/* Sixteen BF16 values: those of even and those of odd index. */
VEC_INLINE void vec_load_bf16_pairs(const uint16_t *p, vf *even, vf *odd)
{
    vec_u4 lo, hi, high_half = vec_uset4(0xffff0000);
    memcpy(&lo, p, sizeof lo);
    memcpy(&hi, p + 8, sizeof hi);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    *even = (vf){(vec_f4)(lo << 16), (vec_f4)(hi << 16)};
    *odd = (vf){(vec_f4)(lo & high_half), (vec_f4)(hi & high_half)};
#else
    *even = (vf){(vec_f4)(lo & high_half), (vec_f4)(hi & high_half)};
    *odd = (vf){(vec_f4)(lo << 16), (vec_f4)(hi << 16)};
#endif
}

/* A half's exponent and mantissa in a float's place are 2^-112 of its value, subnormals too; infinity and NaN then
 * lack the float's top exponent bits. */
VEC_INLINE vec_f4 vec_widen_f16x4(vec_u4 h)
{
    vec_f4 magnitude = (vec_f4)((h & 0x7fff) << 13) * vec_set4(0x1p112f);
    vec_u4 special = (vec_u4)((h & 0x7c00) == 0x7c00) & 0x7f800000;
    return (vec_f4)((vec_u4)magnitude | special | (h & 0x8000) << 16);
}

VEC_INLINE vf vec_load_f16(const uint16_t *p)
{
    vec_u4 lo = {p[0], p[1], p[2], p[3]}, hi = {p[4], p[5], p[6], p[7]};
    return (vf){vec_widen_f16x4(lo), vec_widen_f16x4(hi)};
}

/* Sixteen codes of a byte each. */
typedef struct {
    uint8_t at[16];
} vq;

VEC_INLINE vq vec_codes(const uint8_t *p)
{
    vq codes;
    memcpy(codes.at, p, sizeof codes.at);
    return codes;
}

/* Sixteen pairs of 4-bit floats become twice their numbers as int8. */
VEC_INLINE void vec_codes_e2m1(const uint8_t *p, vq *even, vq *odd)
{
    static const int8_t twice[] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    for (int i = 0; i < 16; i++) {
        even->at[i] = (uint8_t)twice[p[i] & 15];
        odd->at[i] = (uint8_t)twice[p[i] >> 4];
    }
}

VEC_INLINE void vec_widen_i8(vq codes, vf *out)
{
    float wide[16];
    for (int i = 0; i < 16; i++)
        wide[i] = (float)(int8_t)codes.at[i];
    out[0] = vec_load(wide);
    out[1] = vec_load(wide + VEC_N);
}

/* 2^-8 of the numbers: an E4M3 code's exponent and mantissa in an F16's place, whose bias is 8 more. NaN is made one by a
 * carry from 0x7f into the exponent's highest bit. */
VEC_INLINE void vec_widen_e4m3(vq codes, vf *out)
{
    uint16_t half[16];
    for (int i = 0; i < 16; i++) {
        uint32_t code = codes.at[i], magnitude = (code & 0x7f) << 7;
        half[i] = (uint16_t)((code & 0x80) << 8 | magnitude | ((magnitude + 0x80) & 0x4000));
    }
    out[0] = vec_load_f16(half);
    out[1] = vec_load_f16(half + VEC_N);
}

/* 2^(code - 127) */
VEC_INLINE void vec_widen_e8m0(vq codes, vf *out)
{
    uint32_t bits[16];
    for (int i = 0; i < 16; i++)
        bits[i] = codes.at[i] ? (uint32_t)codes.at[i] << 23 : 0x400000;
    memcpy(out, bits, sizeof bits);
}

/* The upper half of each word is the BF16 value. To nearest, ties to even; a NaN becomes quiet and stays one. */
VEC_INLINE vec_u4 vec_round_bf16x4(vec_f4 a)
{
    vec_u4 bits = (vec_u4)a, nan = (vec_u4)(a != a);
    vec_u4 up = bits + 0x7fff + (bits >> 16 & 1);
    return ((nan & (bits | 0x400000)) | (~nan & up)) & 0xffff0000;
}

VEC_INLINE vf vec_round_bf16(vf a)
{
    return (vf){(vec_f4)vec_round_bf16x4(a.lo), (vec_f4)vec_round_bf16x4(a.hi)};
}

VEC_INLINE void vec_store_bf16(uint16_t *p, vf a)
{
    vec_u4 lo = vec_round_bf16x4(a.lo), hi = vec_round_bf16x4(a.hi);
    for (int i = 0; i < 4; i++) {
        p[i] = (uint16_t)(lo[i] >> 16);
        p[i + 4] = (uint16_t)(hi[i] >> 16);
    }
}

VEC_INLINE void vec_store_f16(uint16_t *p, vf a)
{
    for (int i = 0; i < 4; i++) {
        p[i] = sy_f16_round(a.lo[i]);
        p[i + 4] = sy_f16_round(a.hi[i]);
    }
}

#endif
