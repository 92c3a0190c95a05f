/* SPDX-License-Identifier: Apache-2.0
 * moe_combine.cu - results of a layer's experts to its tokens
 */
#include "cuda/launch.cuh"
#include "cuda/moe.cuh"
#include "cuda/widen.cuh"

#define FEW      8 /* tokens that take smaller blocks */
#define TOGETHER 8 /* loads that a thread has on the way at once */

static __device__ __forceinline__ float2 widen_pair(uint32_t both)
{
    return make_float2(__uint_as_float(both << 16), __uint_as_float(both & 0xffff0000u));
}

static __device__ __forceinline__ void add_weighted(float (&sum)[8], float weight, const uint4 &y)
{
    const uint32_t words[4] = {y.x, y.y, y.z, y.w};

#pragma unroll
    for (int j = 0; j < 4; j++) {
        float2 two = widen_pair(words[j]);
        sum[2 * j] = __fmaf_rn(weight, two.x, sum[2 * j]);
        sum[2 * j + 1] = __fmaf_rn(weight, two.y, sum[2 * j + 1]);
    }
}

/* As combine() does it, 8 numbers to a thread. */
static __global__ void __launch_bounds__(256) combine_kernel(const struct sy_cuda_combination c)
{
    size_t n = (size_t)c.T * (size_t)c.D / 8, each = (size_t)c.D / 8;

    sy_begin();
    for (size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
        size_t t = i / each, at = i % each;
        __align__(16) float x[8];
        float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
#pragma unroll
        for (int j = 0; j < 8; j += 4)
            *(float4 *)(x + j) = *(const float4 *)(c.x + i * 8 + j);
        for (int k = 0; k < c.K; k += TOGETHER) {
            float weight[TOGETHER];
            uint4 y[TOGETHER];
#pragma unroll
            for (int j = 0; j < TOGETHER && k + j < c.K; j++) {
                size_t pair = t * (size_t)c.K + (size_t)(k + j);
                weight[j] = c.weights[pair];
                y[j] = ((const uint4 *)c.results)[pair * each + at];
            }
#pragma unroll
            for (int j = 0; j < TOGETHER && k + j < c.K; j++)
                add_weighted(sum, weight[j], y[j]);
        }
#pragma unroll
        for (int j = 0; j < 8; j++)
            x[j] = __fadd_rn(x[j], c.shared ? __fadd_rn(sum[j], c.shared[i * 8 + (size_t)j]) : sum[j]);
#pragma unroll
        for (int j = 0; j < 8; j += 4)
            *(float4 *)(c.x + i * 8 + j) = make_float4(x[j], x[j + 1], x[j + 2], x[j + 3]);
    }
}

void sy_cuda_moe_combine(struct sy_queue *q, const struct sy_cuda_combination *c)
{
    SY_RANGE("combine");
    if (c->D % 8 || ((uintptr_t)c->x | (uintptr_t)c->shared) % 16) {
        sy_cuda_combine(q, c->results, SY_BF16, c->weights, c->T, c->K, c->D, c->shared, false, c->x);
        return;
    }
    unsigned n_threads = c->T <= FEW ? 64 : 256, most = 8 * (unsigned)q->n_sms;
    unsigned n_blocks = (unsigned)(((size_t)c->T * (size_t)c->D / 8 + n_threads - 1) / n_threads);
    sy_launch(q, "combining", combine_kernel, n_blocks < most ? n_blocks : most, n_threads, 0, *c);
}
