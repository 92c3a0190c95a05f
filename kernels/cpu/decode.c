/* SPDX-License-Identifier: Apache-2.0
 * decode.c - quantised panels to panels of floats, a step of inputs at a time
 *
 * Sixteen codes of one input are a panel's sixteen outputs, so a scale is a vector that serves scale_block inputs. Numbers are
 * made exactly (a power of two that a conversion leaves behind is put into the scale) and multiplied in FP32.
 */
#include "cpu/panel.h"

/* How far ahead of its use a panel is asked for. */
#define PREFETCH_BYTES 512

/* Scales of the block of inputs that begins at k, times the power of two that widening takes away. */
VEC_INLINE void load_scales(enum sy_dtype dtype, const struct panel_dot *dot, int panel, int k, vf *scales)
{
    size_t at = (size_t)(k / dot->scale_block * SY_PANEL);
    vf factor = vec_set(dtype == SY_MXFP4 ? 0.5f : dtype == SY_F8_E4M3 ? 256.0f : 1.0f);

    if (dtype == SY_MXFP4)
        vec_widen_e8m0(vec_codes(dot->scales[panel] + at), scales);
    for (int v = 0; v < PANEL_VECS; v++) {
        if (dtype != SY_MXFP4)
            scales[v] = vec_load((const float *)dot->scales[panel] + at + v * VEC_N);
        scales[v] = vec_mul(scales[v], factor);
    }
}

VEC_INLINE void widen(enum sy_dtype dtype, vq codes, vf *out)
{
    if (dtype == SY_F8_E4M3)
        vec_widen_e4m3(codes, out);
    else
        vec_widen_i8(codes, out);
}

/* Codes of two inputs, one byte each: of one input and zeros if `one`. */
VEC_INLINE void load_pair(enum sy_dtype dtype, const uint8_t *from, bool one, vq *even, vq *odd)
{
    static const uint8_t zeros[SY_PANEL];

    if (dtype == SY_MXFP4) {
        vec_codes_e2m1(from, even, odd);
        return;
    }
    *even = vec_codes(from);
    *odd = vec_codes(one ? zeros : from + SY_PANEL);
}

VEC_INLINE void store_f32(enum sy_dtype dtype, vq codes, const vf *scales, float *out)
{
    vf f[PANEL_VECS];

    widen(dtype, codes, f);
    for (int v = 0; v < PANEL_VECS; v++)
        vec_store(out + v * VEC_N, vec_mul(f[v], scales[v]));
}

/* n inputs of one block of scales; dtype is a constant of the caller. */
VEC_INLINE void block_f32(enum sy_dtype dtype, const uint8_t *from, int n, const vf *scales, float *out)
{
    const size_t step = dtype == SY_MXFP4 ? SY_PANEL : 2 * SY_PANEL;
    vq even, odd;

    for (int i = 0; i < n; i += 2, from += step, out += 2 * SY_PANEL) {
        __builtin_prefetch(from + PREFETCH_BYTES);
        load_pair(dtype, from, i + 1 == n, &even, &odd);
        store_f32(dtype, even, scales, out);
        store_f32(dtype, odd, scales, out + SY_PANEL);
    }
}

#if VEC_HAS_DOT
VEC_INLINE void block_bf16(enum sy_dtype dtype, const uint8_t *from, int n, const vf *scales, uint16_t *out)
{
    const size_t step = dtype == SY_MXFP4 ? SY_PANEL : 2 * SY_PANEL;
    vf first, second, lo, hi;
    vq even, odd;

    vec_pair_same(*scales, &first, &second);
    for (int i = 0; i < n; i += 2, from += step, out += 2 * SY_PANEL) {
        __builtin_prefetch(from + PREFETCH_BYTES);
        load_pair(dtype, from, i + 1 == n, &even, &odd);
        vec_pair_codes(even, odd, &even, &odd);
        widen(dtype, even, &lo);
        widen(dtype, odd, &hi);
        vec_store_bf16_two(out, vec_mul(lo, first), vec_mul(hi, second));
    }
}
#endif

VEC_INLINE void decode(enum sy_dtype from_dtype, const struct panel_dot *dot, int panel, int k, int n,
                       enum sy_dtype dtype, uint8_t *out)
{
    const uint8_t *from = dot->panels[panel] + sy_dtype_array_bytes(from_dtype, (size_t)(k * SY_PANEL));
    vf scales[PANEL_VECS];

    for (int end = k + n, count; k < end; k += count) {
        count = dot->scale_block - k % dot->scale_block;
        count = count < end - k ? count : end - k;
        load_scales(from_dtype, dot, panel, k, scales);
#if VEC_HAS_DOT
        if (dtype == SY_BF16)
            block_bf16(from_dtype, from, count, scales, (uint16_t *)out);
        else
#endif
            block_f32(from_dtype, from, count, scales, (float *)out);
        from += sy_dtype_array_bytes(from_dtype, (size_t)(count * SY_PANEL));
        out += (size_t)(count * SY_PANEL) * sy_dtype_bytes(dtype);
    }
}

void SY_CPU(panel_decode)(const struct panel_dot *dot, int panel, int k, int n, enum sy_dtype dtype, void *out)
{
    if (dot->w_dtype == SY_F8_E4M3)
        decode(SY_F8_E4M3, dot, panel, k, n, dtype, out);
    else if (dot->w_dtype == SY_MXFP4)
        decode(SY_MXFP4, dot, panel, k, n, dtype, out);
    else
        decode(SY_I8, dot, panel, k, n, dtype, out);
}
