/* SPDX-License-Identifier: Apache-2.0
 * vec_avx2.h - vec.h over AVX2, FMA and F16C
 */
#ifndef SY_KERNELS_CPU_VEC_AVX2_H
#define SY_KERNELS_CPU_VEC_AVX2_H

#include <immintrin.h>

#define VEC_N 8

/* 12 accumulators (a panel is two vectors), a widened panel row and a broadcast fill the 16 registers. */
#define VEC_TILE_ROWS  6
#define VEC_TILE_CELLS 6

#define VEC_HAS_DOT 0

typedef __m256 vf;

VEC_INLINE vf vec_zero(void)
{
    return _mm256_setzero_ps();
}

VEC_INLINE vf vec_set(float f)
{
    return _mm256_set1_ps(f);
}

VEC_INLINE vf vec_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

VEC_INLINE void vec_store(float *p, vf a)
{
    _mm256_storeu_ps(p, a);
}

VEC_INLINE __m256i vec_first(int lanes)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

VEC_INLINE vf vec_load_n(const float *p, int lanes)
{
    return _mm256_maskload_ps(p, vec_first(lanes));
}

VEC_INLINE void vec_store_n(float *p, int lanes, vf a)
{
    _mm256_maskstore_ps(p, vec_first(lanes), a);
}

VEC_INLINE vf vec_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}

VEC_INLINE vf vec_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}

VEC_INLINE vf vec_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}

VEC_INLINE vf vec_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}

/* a * b + c */
VEC_INLINE vf vec_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}

/* a < b ? a : b, so b where either is NaN */
VEC_INLINE vf vec_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}

/* a > b ? a : b, so b where either is NaN */
VEC_INLINE vf vec_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}

/* a in lanes begin .. end - 1, b in the others; begin and end may lie outside 0 .. 8 */
VEC_INLINE vf vec_select_range(vf a, vf b, int begin, int end)
{
    __m256i in = _mm256_andnot_si256(vec_first(begin), vec_first(end));
    return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(in));
}

VEC_INLINE float vec_sum(vf a)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

/* The largest lane; if there are NaNs, either a NaN or the largest of some lanes. */
VEC_INLINE float vec_largest(vf a)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

/* 2^a for a whole number a in -126 .. 127: a + 127 moved into the exponent's place. */
VEC_INLINE vf vec_pow2(vf a)
{
    __m256 biased = _mm256_add_ps(a, _mm256_set1_ps(0x1.8p23f + 127.0f));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(biased), 23));
}

VEC_INLINE vf vec_load_bf16(const uint16_t *p)
{
    __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}

/* Sixteen BF16 values: those of even and those of odd index. Cheaper than two of vec_load_bf16(). */
VEC_INLINE void vec_load_bf16_pairs(const uint16_t *p, vf *even, vf *odd)
{
    __m256i both = _mm256_loadu_si256((const __m256i *)p);
    *even = _mm256_castsi256_ps(_mm256_slli_epi32(both, 16));
    *odd = _mm256_and_ps(_mm256_castsi256_ps(both), _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000)));
}

VEC_INLINE vf vec_load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
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
    out[0] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));
    out[1] = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_unpackhi_epi64(codes, codes)));
}

/* 2^-8 of the numbers: an E4M3 code's exponent and mantissa in an F16's place, whose bias is 8 more. NaN is made one by a
 * carry from 0x7f into the exponent's highest bit. */
VEC_INLINE void vec_widen_e4m3(vq codes, vf *out)
{
    const __m256i high = _mm256_set1_epi16(0x4000);
    __m256i half = _mm256_andnot_si256(high, _mm256_slli_epi16(_mm256_cvtepi8_epi16(codes), 7));
    half = _mm256_or_si256(half, _mm256_and_si256(high, _mm256_add_epi16(half, _mm256_set1_epi16(0x80))));
    out[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(half));
    out[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(half, 1));
}

/* 2^(code - 127) */
VEC_INLINE void vec_widen_e8m0(vq codes, vf *out)
{
    for (int i = 0; i < 2; i++, codes = _mm_unpackhi_epi64(codes, codes)) {
        __m256i wide = _mm256_cvtepu8_epi32(codes), none = _mm256_cmpeq_epi32(wide, _mm256_setzero_si256());
        __m256i least = _mm256_and_si256(none, _mm256_set1_epi32(0x400000));
        out[i] = _mm256_castsi256_ps(_mm256_or_si256(_mm256_slli_epi32(wide, 23), least));
    }
}

/* To nearest, ties to even; a NaN becomes quiet and stays one. */
VEC_INLINE vf vec_round_bf16(vf a)
{
    __m256i bits = _mm256_castps_si256(a);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, odd), _mm256_set1_epi32(0x7fff));
    __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    __m256 result = _mm256_blendv_ps(_mm256_castsi256_ps(up), _mm256_castsi256_ps(quiet),
                                     _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
    return _mm256_and_ps(result, _mm256_castsi256_ps(_mm256_set1_epi32((int)0xffff0000)));
}

VEC_INLINE void vec_store_bf16(uint16_t *p, vf a)
{
    __m256i high = _mm256_srli_epi32(_mm256_castps_si256(vec_round_bf16(a)), 16);
    __m128i packed = _mm_packus_epi32(_mm256_castsi256_si128(high), _mm256_extracti128_si256(high, 1));
    _mm_storeu_si128((__m128i *)p, packed);
}

VEC_INLINE void vec_store_f16(uint16_t *p, vf a)
{
    vf most = vec_set(65504.0f), least = vec_set(-65504.0f);
    __m128i half = _mm256_cvtps_ph(vec_max(least, vec_min(most, a)), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128((__m128i *)p, half);
}

#endif
