/* SPDX-License-Identifier: Apache-2.0
 * weight.cuh - what a logit weighs
 */
#ifndef SY_KERNELS_CUDA_WEIGHT_CUH
#define SY_KERNELS_CUDA_WEIGHT_CUH

/* exp((x - max) / temperature) in FP32; of NaN zero. */
static __device__ __forceinline__ float sy_cuda_weight(float x, float max, float temperature)
{
    /* Where 1 / temperature is infinite, 0 times it must be 0 still. */
    float f = __fsub_rn(x, max) * fminf(__fdiv_rn(1.0f, temperature), 3.402823466e38f);

    return f > -104.0f ? expf(f) : 0.0f;
}

#endif
