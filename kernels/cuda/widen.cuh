/* SPDX-License-Identifier: Apache-2.0
 * widen.cuh - numbers of every type, one at a time, on the device
 */
#ifndef SY_KERNELS_CUDA_WIDEN_CUH
#define SY_KERNELS_CUDA_WIDEN_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "cuda/cuda.h"

static __device__ __forceinline__ float sy_widen_bf16(uint16_t bits)
{
    return __uint_as_float((uint32_t)bits << 16);
}

/* To nearest, ties to even; a NaN becomes quiet. */
static __device__ __forceinline__ uint16_t sy_narrow_bf16(float f)
{
    return f == f ? __bfloat16_as_ushort(__float2bfloat16_rn(f)) : (uint16_t)(__float_as_uint(f) >> 16 | 0x40);
}

/* 4 bits of exponent (bias 7), 3 of mantissa; 0x7f and 0xff are NaN. */
static __device__ __forceinline__ float sy_widen_e4m3(uint8_t code)
{
    /* As FP16 the code's bits stand for a number 2^8 times smaller, subnormal ones too. */
    float f = __half2float(__ushort_as_half((uint16_t)((code & 0x80) << 8 | (code & 0x7f) << 7))) * 256.0f;

    return (code & 0x7f) == 0x7f ? __uint_as_float(0x7fffffff) : f;
}

/* Low 4 bits: sign, 2 of exponent, 1 of mantissa. */
static __device__ __forceinline__ float sy_widen_e2m1(uint8_t code)
{
    /* As FP16 2^14 times smaller. */
    return __half2float(__ushort_as_half((uint16_t)((code & 8) << 12 | (code & 7) << 9))) * 16384.0f;
}

/* A scale of SY_MXFP4. 0 stands for 2^-127, which is subnormal. */
static __device__ __forceinline__ float sy_widen_e8m0(uint8_t code)
{
    return __uint_as_float(code ? (uint32_t)code << 23 : 0x00400000u);
}

/* Number `at` of an array; of two in a byte the first is in its low half. */
static __device__ __forceinline__ float sy_widen(enum sy_dtype dtype, const void *data, size_t at)
{
    switch (dtype) {
    case SY_F32:
        return ((const float *)data)[at];
    case SY_BF16:
        return sy_widen_bf16(((const uint16_t *)data)[at]);
    case SY_F16:
        return __half2float(((const __half *)data)[at]);
    case SY_I8:
        return (float)((const int8_t *)data)[at];
    case SY_F8_E4M3:
        return sy_widen_e4m3(((const uint8_t *)data)[at]);
    default:
        return sy_widen_e2m1((uint8_t)(((const uint8_t *)data)[at / 2] >> (at % 2 ? 4 : 0)));
    }
}

/* As sy_f16_round() of half.h: to nearest, what is too large becomes the largest number, and NaN stays what it is. */
static __device__ __forceinline__ uint16_t sy_narrow_f16(float f)
{
    uint32_t bits = __float_as_uint(f), sign = bits >> 16 & 0x8000;

    if (f != f)
        return (uint16_t)(sign | 0x7e00 | (bits >> 13 & 0x3ff));
    if (fabsf(f) >= 65504.0f)
        return (uint16_t)(sign | 0x7bff);
    return __half_as_ushort(__float2half_rn(f));
}

static __device__ __forceinline__ void sy_narrow(enum sy_dtype dtype, void *data, size_t at, float f)
{
    if (dtype == SY_F32)
        ((float *)data)[at] = f;
    else if (dtype == SY_F16)
        ((uint16_t *)data)[at] = sy_narrow_f16(f);
    else
        ((uint16_t *)data)[at] = sy_narrow_bf16(f);
}

/* f as element i of a row of SY_F32, SY_BF16 or SY_BF16X2. */
static __device__ __forceinline__ void sy_store_row(enum sy_dtype dtype, void *rows, size_t stride, size_t row,
                                                    size_t i, float f)
{
    if (dtype != SY_BF16X2) {
        sy_narrow(dtype, rows, row * stride + i, f);
        return;
    }
    uint16_t *at = (uint16_t *)rows + row * 2 * stride + i, hi = sy_narrow_bf16(f);
    at[0] = hi;
    at[stride] = sy_narrow_bf16(__fsub_rn(f, sy_widen_bf16(hi)));
}

static __device__ __forceinline__ float sy_round_to(float f, enum sy_round round)
{
    return round == SY_ROUND_BF16 ? sy_widen_bf16(sy_narrow_bf16(f)) : f;
}

/* Scale of output n, input k. */
static __device__ __forceinline__ float sy_weight_scale(const struct sy_weight &w, int n, int k)
{
    size_t n_blocks = (size_t)((w.k - 1) / w.scale_block + 1), block = (size_t)(k / w.scale_block);
    size_t at = w.layout == SY_LAYOUT_ROWS ? (size_t)n * n_blocks + block
                                           : ((size_t)(n / SY_PANEL) * n_blocks + block) * SY_PANEL + n % SY_PANEL;

    return w.dtype == SY_MXFP4 ? sy_widen_e8m0(((const uint8_t *)w.scales)[at]) : ((const float *)w.scales)[at];
}

/* w[n][k] in FP32, in either layout. */
static __device__ __forceinline__ float sy_weight_at(const struct sy_weight &w, int n, int k)
{
    const uint8_t *data = (const uint8_t *)w.data;
    int piece = sy_cuda_piece(w.dtype);
    float f;

    if (w.layout == SY_LAYOUT_ROWS)
        f = sy_widen(w.dtype, data,
                     (size_t)n * (w.dtype == SY_MXFP4 ? (size_t)(w.k + 1) / 2 * 2 : (size_t)w.k) + (size_t)k);
    else
        f = sy_widen(w.dtype, data + sy_cuda_piece_at(w.dtype, w.k, n, k), (size_t)(k % piece));
    return w.scale_block ? __fmul_rn(f, sy_weight_scale(w, n, k)) : f;
}

#endif
