/* SPDX-License-Identifier: Apache-2.0
 * warp.cuh - over the lanes of a warp
 */
#ifndef SY_KERNELS_CUDA_WARP_CUH
#define SY_KERNELS_CUDA_WARP_CUH

static __device__ __forceinline__ float sy_warp_sum(float f)
{
    for (int i = 16; i; i /= 2)
        f = __fadd_rn(f, __shfl_xor_sync(0xffffffffu, f, i));
    return f;
}

static __device__ __forceinline__ float sy_warp_largest(float f)
{
    for (int i = 16; i; i /= 2)
        f = fmaxf(f, __shfl_xor_sync(0xffffffffu, f, i));
    return f;
}

#endif
