/* SPDX-License-Identifier: Apache-2.0
 * vec_avx512.h - vec.h over AVX-512 F, BW, DQ, VL and BF16
 */
#ifndef SY_KERNELS_CPU_VEC_AVX512_H
#define SY_KERNELS_CPU_VEC_AVX512_H

#include <immintrin.h>

#define VEC_N 16

/* 24 accumulators, four panels and a broadcast fill the 32 registers. */
#define VEC_TILE_ROWS  6
#define VEC_TILE_CELLS 24

#define VEC_HAS_DOT 1

typedef __m512 vf;

VEC_INLINE vf vec_zero(void)
{
    return _mm512_setzero_ps();
}

VEC_INLINE vf vec_set(float f)
{
    return _mm512_set1_ps(f);
}

VEC_INLINE vf vec_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

VEC_INLINE void vec_store(float *p, vf a)
{
    _mm512_storeu_ps(p, a);
}

/* The first lanes, 0 .. 16 of them. */
VEC_INLINE __mmask16 vec_first(int lanes)
{
    return lanes <= 0 ? 0 : lanes >= 16 ? 0xffff : (__mmask16)((1u << lanes) - 1);
}

VEC_INLINE vf vec_load_n(const float *p, int lanes)
{
    return _mm512_maskz_loadu_ps(vec_first(lanes), p);
}

VEC_INLINE void vec_store_n(float *p, int lanes, vf a)
{
    _mm512_mask_storeu_ps(p, vec_first(lanes), a);
}

VEC_INLINE vf vec_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}

VEC_INLINE vf vec_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}

VEC_INLINE vf vec_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}

VEC_INLINE vf vec_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}

/* a * b + c */
VEC_INLINE vf vec_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

/* c + products of the lanes' two BF16 values, a's with b's, in FP32; subnormal inputs and results count as zero (Intel's
 * Instruction Set Reference, VDPBF16PS). */
VEC_INLINE vf vec_dot_bf16(vf a, vf b, vf c)
{
    return _mm512_dpbf16_ps(c, (__m512bh)_mm512_castps_si512(a), (__m512bh)_mm512_castps_si512(b));
}

/* a < b ? a : b, so b where either is NaN */
VEC_INLINE vf vec_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}

/* a > b ? a : b, so b where either is NaN */
VEC_INLINE vf vec_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

/* a in lanes begin .. end - 1, b in the others; begin and end may lie outside 0 .. 16 */
VEC_INLINE vf vec_select_range(vf a, vf b, int begin, int end)
{
    return _mm512_mask_blend_ps((__mmask16)(vec_first(end) & ~vec_first(begin)), b, a);
}

VEC_INLINE float vec_sum(vf a)
{
    __m256 s = _mm256_add_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
}

/* The largest lane; if there are NaNs, either a NaN or the largest of some lanes. */
VEC_INLINE float vec_largest(vf a)
{
    __m256 s = _mm256_max_ps(_mm512_castps512_ps256(a), _mm512_extractf32x8_ps(a, 1));
    __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_max_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
}

/* 2^a for a whole number a in -126 .. 127: a + 127 moved into the exponent's place. */
VEC_INLINE vf vec_pow2(vf a)
{
    __m512 biased = _mm512_add_ps(a, _mm512_set1_ps(0x1.8p23f + 127.0f));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(biased), 23));
}

VEC_INLINE vf vec_load_bf16(const uint16_t *p)
{
    __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

/* 32 BF16 values: those of even and those of odd index. */
VEC_INLINE void vec_load_bf16_pairs(const uint16_t *p, vf *even, vf *odd)
{
    __m512i both = _mm512_loadu_si512(p);
    *even = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
    *odd = _mm512_castsi512_ps(_mm512_and_si512(both, _mm512_set1_epi32((int)0xffff0000)));
}

VEC_INLINE vf vec_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

/* Sixteen codes of a byte each. */
typedef __m128i vq;

VEC_INLINE vq vec_codes(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)p);
}

/* Sixteen pairs of 4-bit floats become twice their numbers as int8. */
VEC_INLINE void vec_codes_e2m1(const uint8_t *p, vq *even, vq *odd)
{
    const __m128i twice = _mm_setr_epi8(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);
    const __m128i low = _mm_set1_epi8(15);
    vq codes = vec_codes(p);
    *even = _mm_shuffle_epi8(twice, _mm_and_si128(codes, low));
    *odd = _mm_shuffle_epi8(twice, _mm_and_si128(_mm_srli_epi16(codes, 4), low));
}

VEC_INLINE void vec_widen_i8(vq codes, vf *out)
{
    *out = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes));
}

/* 2^-8 of the numbers: an E4M3 code's exponent and mantissa in an F16's place, whose bias is 8 more. NaN is made one by a
 * carry from 0x7f into the exponent's highest bit. */
VEC_INLINE void vec_widen_e4m3(vq codes, vf *out)
{
    const __m256i high = _mm256_set1_epi16(0x4000);
    __m256i half = _mm256_andnot_si256(high, _mm256_slli_epi16(_mm256_cvtepi8_epi16(codes), 7));
    half = _mm256_or_si256(half, _mm256_and_si256(high, _mm256_add_epi16(half, _mm256_set1_epi16(0x80))));
    *out = _mm512_cvtph_ps(half);
}

/* 2^(code - 127) */
VEC_INLINE void vec_widen_e8m0(vq codes, vf *out)
{
    __m512i wide = _mm512_cvtepu8_epi32(codes), power = _mm512_slli_epi32(wide, 23);
    __mmask16 none = _mm512_testn_epi32_mask(wide, wide);
    *out = _mm512_castsi512_ps(_mm512_mask_mov_epi32(power, none, _mm512_set1_epi32(0x400000)));
}

/* a[0] b[0] a[1] b[1] .. a[7] b[7], and the same of the upper halves. */
VEC_INLINE void vec_pair_codes(vq a, vq b, vq *lo, vq *hi)
{
    *lo = _mm_unpacklo_epi8(a, b);
    *hi = _mm_unpackhi_epi8(a, b);
}

/* a[0] a[0] a[1] a[1] .. a[7] a[7], and the same of the upper half. */
VEC_INLINE void vec_pair_same(vf a, vf *lo, vf *hi)
{
    const __m512i first = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    *lo = _mm512_permutexvar_ps(first, a);
    *hi = _mm512_permutexvar_ps(_mm512_add_epi32(first, _mm512_set1_epi32(8)), a);
}

/* Two vectors as BF16, for products: to nearest, ties to even, subnormal values as zero, which is how vec_dot_bf16() and AMX
 * take them. */
VEC_INLINE void vec_store_bf16_two(uint16_t *p, vf lo, vf hi)
{
    __m512bh both = _mm512_cvtne2ps_pbh(hi, lo);
    memcpy(p, &both, sizeof both);
}

/* To nearest, ties to even; a NaN becomes quiet and stays one. In integers, because VCVTNEPS2BF16 takes subnormal values
 * as zero, and a row's rounding should not depend on the instruction set. */
VEC_INLINE vf vec_round_bf16(vf a)
{
    __m512i bits = _mm512_castps_si512(a);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, odd), _mm512_set1_epi32(0x7fff));
    __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    __m512i result = _mm512_mask_blend_epi32(_mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q), up, quiet);
    return _mm512_castsi512_ps(_mm512_and_si512(result, _mm512_set1_epi32((int)0xffff0000)));
}

VEC_INLINE void vec_store_bf16(uint16_t *p, vf a)
{
    __m512i high = _mm512_srli_epi32(_mm512_castps_si512(vec_round_bf16(a)), 16);
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi32_epi16(high));
}

VEC_INLINE void vec_store_f16(uint16_t *p, vf a)
{
    vf most = vec_set(65504.0f), least = vec_set(-65504.0f);
    __m256i half = _mm512_cvtps_ph(vec_max(least, vec_min(most, a)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_storeu_si256((__m256i *)p, half);
}

#endif
