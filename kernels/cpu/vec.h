/* SPDX-License-Identifier: Apache-2.0
 * vec.h - VEC_N floats at once (8 or 16), whatever the instruction set
 *
 * A kernel in this folder is written once over vf and these functions and compiled for each instruction set. The flags
 * of the compilation pick the implementation: vec_avx512.h, vec_avx2.h, or vec_portable.h in plain vector arithmetic. Each
 * says what a register tile of a matrix may be: VEC_TILE_ROWS rows, and VEC_TILE_CELLS rows times panels; and whether it
 * multiplies BF16 pairs (VEC_HAS_DOT, vec_dot_bf16). A vq is sixteen codes of a quantised type, widened to one or two vf.
 *
 * A loop's tail is computed in padded lanes with the same arithmetic as its middle, so that a value's result never
 * depends on where in a row it stands: elementwise kernels use vec_load_n() and vec_store_n() with the count left.
 */
#ifndef SY_KERNELS_CPU_VEC_H
#define SY_KERNELS_CPU_VEC_H

#include <stdint.h>
#include <string.h>

#include "kernels.h"

#define VEC_INLINE static inline __attribute__((always_inline, unused))

/* Unroll a loop of a constant number of turns, so that arrays of vf become registers. */
#ifdef __clang__
#define VEC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define VEC_UNROLL _Pragma("GCC unroll 16")
#endif

#if defined(SY_ISA_avx512) || defined(SY_ISA_amx)
#include "vec_avx512.h"
#elif defined(SY_ISA_avx2)
#include "vec_avx2.h"
#else
#include "vec_portable.h"
#endif

/* How many of the lanes from element i on are inside n. */
VEC_INLINE int vec_lanes(int n, int i)
{
    return n - i < VEC_N ? n - i : VEC_N;
}

VEC_INLINE vf vec_load_upto(const float *p, int lanes)
{
    return lanes == VEC_N ? vec_load(p) : vec_load_n(p, lanes);
}

VEC_INLINE void vec_store_upto(float *p, int lanes, vf a)
{
    if (lanes == VEC_N)
        vec_store(p, a);
    else
        vec_store_n(p, lanes, a);
}

/* Elements of a type that the compiler knows, widened. */
VEC_INLINE vf vec_load_type(enum sy_dtype dtype, const void *data, size_t i)
{
    if (dtype == SY_F32)
        return vec_load((const float *)data + i);
    if (dtype == SY_BF16)
        return vec_load_bf16((const uint16_t *)data + i);
    return vec_load_f16((const uint16_t *)data + i);
}

/* The same for fewer lanes; the others are zero. */
VEC_INLINE vf vec_load_type_n(enum sy_dtype dtype, const void *data, size_t i, int lanes)
{
    uint16_t half[VEC_N] = {0};

    if (dtype == SY_F32)
        return vec_load_n((const float *)data + i, lanes);
    memcpy(half, (const uint16_t *)data + i, (size_t)lanes * sizeof *half);
    return vec_load_type(dtype, half, 0);
}

VEC_INLINE vf vec_load_type_upto(enum sy_dtype dtype, const void *data, size_t i, int lanes)
{
    return lanes == VEC_N ? vec_load_type(dtype, data, i) : vec_load_type_n(dtype, data, i, lanes);
}

VEC_INLINE void vec_store_half(enum sy_dtype dtype, uint16_t *p, vf a)
{
    if (dtype == SY_F16)
        vec_store_f16(p, a);
    else
        vec_store_bf16(p, a);
}

/* Store as SY_F32, or as SY_BF16 or SY_F16 rounded to nearest even; beyond F16's largest number is that number. */
VEC_INLINE void vec_store_type_upto(enum sy_dtype dtype, void *data, size_t i, int lanes, vf a)
{
    uint16_t half[VEC_N];

    if (dtype == SY_F32) {
        vec_store_upto((float *)data + i, lanes, a);
    } else if (lanes == VEC_N) {
        vec_store_half(dtype, (uint16_t *)data + i, a);
    } else {
        vec_store_half(dtype, half, a);
        memcpy((uint16_t *)data + i, half, (size_t)lanes * sizeof *half);
    }
}

/* The same as part of a row, or as SY_BF16X2: lo parts stand `stride` numbers behind hi parts. */
VEC_INLINE void vec_store_row_upto(enum sy_dtype dtype, void *data, size_t i, size_t stride, int lanes, vf a)
{
    vec_store_type_upto(dtype == SY_BF16X2 ? SY_BF16 : dtype, data, i, lanes, a);
    if (dtype == SY_BF16X2)
        vec_store_type_upto(SY_BF16, data, i + stride, lanes, vec_sub(a, vec_round_bf16(a)));
}

VEC_INLINE vf vec_round(vf a, enum sy_round round)
{
    return round == SY_ROUND_BF16 ? vec_round_bf16(a) : a;
}

/* e^a. Relative error under 2e-7 where the result is a normal number; 0 for -inf and below -103.98, inf from 88.73 on,
 * NaN for NaN. a = n ln 2 + r with |r| <= ln 2 / 2; e^r by a polynomial fitted for least relative error on that range;
 * 2^n in two factors, so that results near both ends of the range come out right. */
VEC_INLINE vf vec_exp(vf a)
{
    const vf shift = vec_set(0x1.8p23f); /* adding it rounds to an integer */
    vf x = vec_max(vec_set(-104.0f), vec_min(vec_set(89.0f), a));
    vf n = vec_sub(vec_fma(x, vec_set(0x1.715476p+0f), shift), shift);
    vf r = vec_fma(n, vec_set(-0x1.62e4p-1f), x);
    r = vec_fma(n, vec_set(-0x1.7f7d1cp-20f), r);
    vf q = vec_set(0x1.6a23dp-10f);
    q = vec_fma(q, r, vec_set(0x1.123a2p-7f));
    q = vec_fma(q, r, vec_set(0x1.5558f2p-5f));
    q = vec_fma(q, r, vec_set(0x1.555492p-3f));
    q = vec_fma(q, r, vec_set(0x1.fffffcp-2f));
    q = vec_fma(vec_mul(r, r), q, r);
    vf half = vec_sub(vec_fma(n, vec_set(0.5f), shift), shift);
    vf e = vec_mul(vec_add(q, vec_set(1.0f)), vec_pow2(half));
    return vec_mul(e, vec_pow2(vec_sub(n, half)));
}

/* a / (1 + e^-a) */
VEC_INLINE vf vec_sigmoid(vf a)
{
    return vec_div(vec_set(1.0f), vec_add(vec_set(1.0f), vec_exp(vec_sub(vec_zero(), a))));
}

VEC_INLINE vf vec_silu(vf a)
{
    return vec_div(a, vec_add(vec_set(1.0f), vec_exp(vec_sub(vec_zero(), a))));
}

#endif
