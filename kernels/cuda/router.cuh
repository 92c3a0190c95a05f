/* SPDX-License-Identifier: Apache-2.0
 * router.cuh - from the logits of one token to its experts and weights, by one warp
 */
#ifndef SY_KERNELS_CUDA_ROUTER_CUH
#define SY_KERNELS_CUDA_ROUTER_CUH

#include <math_constants.h>

#include "cuda/cuda.h"

/* Floats of shared memory that a warp needs: scores, what is chosen by, and scores of groups. */
static __host__ __device__ __forceinline__ int sy_router_floats(const struct sy_router_rule &rule)
{
    return 2 * rule.n_experts + (rule.n_groups > 1 ? rule.n_groups : 0);
}

/* What is taken has this score: nothing else has, for NaN counts as -inf. */
#define SY_TAKEN __int_as_float(0x7fc0dead)

static __device__ __forceinline__ bool sy_is_taken(float f)
{
    return __float_as_int(f) == 0x7fc0dead;
}

/* An integer that grows with a score, 0 for what is taken. */
static __device__ __forceinline__ uint32_t sy_order_of(float f)
{
    uint32_t bits = __float_as_uint(__fadd_rn(f == f ? f : -CUDART_INF_F, 0.0f)); /* -0 is 0 */

    return sy_is_taken(f) ? 0 : bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* The largest of n scores that is not taken, the lowest id of equals; by a warp. At least one is not taken. */
static __device__ __forceinline__ int sy_best_left(const float *scores, int n)
{
    uint32_t most = 0, id = 0xffffffffu;

    for (int i = (int)threadIdx.x % 32; i < n; i += 32) {
        uint32_t order = sy_order_of(scores[i]);
        if (order > most) {
            most = order;
            id = (uint32_t)i;
        }
    }
    uint32_t best = __reduce_max_sync(0xffffffffu, most);
    return (int)__reduce_min_sync(0xffffffffu, most == best ? id : 0xffffffffu);
}

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

/* Take experts of groups that are not kept. groups: [n_groups] of shared memory. */
static __device__ void sy_mask_groups(const struct sy_router_rule &rule, float *choice, float *groups)
{
    int size = rule.n_experts / rule.n_groups, lane = (int)threadIdx.x % 32;

    for (int g = lane; g < rule.n_groups; g += 32) {
        float best[SY_GROUP_BEST_MAX] = {-CUDART_INF_F, -CUDART_INF_F}, sum = 0.0f;
        for (int i = 0; i < size; i++) {
            float f = choice[g * size + i];
            if (f > best[0]) {
                best[1] = best[0];
                best[0] = f;
            } else if (f > best[1]) {
                best[1] = f;
            }
        }
        for (int i = 0; i < rule.group_best; i++)
            sum = __fadd_rn(sum, best[i]);
        groups[g] = sum;
    }
    __syncwarp();
    for (int i = 0; i < rule.n_kept; i++) {
        int best = sy_best_left(groups, rule.n_groups);
        __syncwarp();
        if (!lane)
            groups[best] = SY_TAKEN;
        __syncwarp();
    }
    for (int e = lane; e < rule.n_experts; e += 32)
        if (!sy_is_taken(groups[e / size]))
            choice[e] = -CUDART_INF_F;
    __syncwarp();
}

/* Source: Liu et al., "Sparse Backpropagation for MoE Training" (2023), as evaluated without noise. */
static __device__ void sy_choose_sparsemixer(const struct sy_router_rule &rule, const float *logits, float *choice,
                                             int32_t *ids, float *weights)
{
    int lane = (int)threadIdx.x % 32;

    for (int k = 0; k < rule.top_k; k++) {
        int best = sy_best_left(choice, rule.n_experts);
        float most = logits[best], sum = 0.0f;
        for (int e = lane; e < rule.n_experts; e += 32) {
            float size = fmaxf(fabsf(logits[e]), most);
            if (!sy_is_taken(choice[e]) && !(__fdiv_rn(__fsub_rn(most, logits[e]), size) > 2.0f * rule.jitter))
                sum = __fadd_rn(sum, expf(__fsub_rn(logits[e], most)));
        }
        sum = sy_warp_sum(sum);
        __syncwarp();
        if (!lane) {
            ids[k] = best;
            weights[k] = __fmul_rn(__fdiv_rn(1.0f, sum), rule.scale);
            choice[best] = SY_TAKEN;
        }
        __syncwarp();
    }
}

/* Scores of which weights are made, in place of the logits, and what experts are chosen by. */
static __device__ void sy_router_scores(const struct sy_router_rule &rule, float *scores, float *choice)
{
    int lane = (int)threadIdx.x % 32, E = rule.n_experts;
    float largest = -CUDART_INF_F, sum = 0.0f;

    if (rule.kind == SY_ROUTER_SOFTMAX) {
        for (int e = lane; e < E; e += 32)
            largest = fmaxf(largest, scores[e]);
        largest = sy_warp_largest(largest);
        for (int e = lane; e < E; e += 32)
            sum = __fadd_rn(sum, scores[e] = expf(__fsub_rn(scores[e], largest)));
        sum = sy_warp_sum(sum);
    }
    for (int e = lane; e < E; e += 32) {
        float f = scores[e];
        if (rule.kind == SY_ROUTER_SOFTMAX)
            f = __fdiv_rn(f, sum);
        else if (rule.kind == SY_ROUTER_SIGMOID)
            f = __fdiv_rn(1.0f, __fadd_rn(1.0f, expf(-f)));
        scores[e] = f;
        choice[e] = rule.correction ? __fadd_rn(f, rule.correction[e]) : f;
    }
    __syncwarp();
}

/* The sum, in order, of the chosen scores, of their exponentials if those are relative to the largest, or of what they are
 * over `divisor` if that is not 0. A lane makes every 32nd. */
static __device__ float sy_sum_chosen(const float *scores, const int32_t *ids, int K, bool relative, float largest,
                                      float divisor)
{
    float sum = 0.0f;

    for (int base = 0; base < K; base += 32) {
        int k = base + (int)threadIdx.x % 32;
        float f = k < K ? scores[ids[k]] : 0.0f;
        if (relative)
            f = expf(__fsub_rn(f, largest));
        if (divisor != 0.0f)
            f = __fdiv_rn(f, divisor);
        for (int i = 0; i < 32 && base + i < K; i++)
            sum = __fadd_rn(sum, __shfl_sync(0xffffffffu, f, i));
    }
    return sum;
}

/* The K best of E <= 32 N experts with the scores in registers: lane l has those of experts l, l + 32, .. */
template <int N>
static __device__ __forceinline__ void sy_take_best(const float *choice, int E, int K, int32_t *ids)
{
    int lane = (int)threadIdx.x % 32;
    uint32_t orders[N];

#pragma unroll
    for (int i = 0; i < N; i++)
        orders[i] = lane + i * 32 < E ? sy_order_of(choice[lane + i * 32]) : 0;
    for (int k = 0; k < K; k++) {
        uint32_t most = 0, id = 0xffffffffu;
#pragma unroll
        for (int i = 0; i < N; i++) {
            if (orders[i] > most) {
                most = orders[i];
                id = (uint32_t)(lane + i * 32);
            }
        }
        uint32_t best = __reduce_max_sync(0xffffffffu, most);
        uint32_t taken = __reduce_min_sync(0xffffffffu, most == best ? id : 0xffffffffu);
#pragma unroll
        for (int i = 0; i < N; i++)
            orders[i] = taken == (uint32_t)(lane + i * 32) ? 0 : orders[i];
        if (!lane)
            ids[k] = (int32_t)taken;
    }
    __syncwarp();
}

/* One warp: the experts of a token whose logits [E] are at the beginning of `shared`, sy_router_floats() of this warp's
 * shared memory; K ids and weights in order of falling score. */
static __device__ void sy_router_choose(const struct sy_router_rule &rule, float *shared, int32_t *ids, float *weights)
{
    int lane = (int)threadIdx.x % 32, E = rule.n_experts, K = rule.top_k;
    float *scores = shared, *choice = shared + E, largest = -CUDART_INF_F, sum = 0.0f;

    if (rule.kind == SY_ROUTER_SPARSEMIXER) {
        for (int e = lane; e < E; e += 32)
            choice[e] = scores[e];
        __syncwarp();
        sy_choose_sparsemixer(rule, scores, choice, ids, weights);
        return;
    }
    sy_router_scores(rule, scores, choice);
    if (rule.n_groups > 1)
        sy_mask_groups(rule, choice, shared + 2 * E);
    if (E <= 128)
        sy_take_best<4>(choice, E, K, ids);
    else if (E <= 256)
        sy_take_best<8>(choice, E, K, ids);
    for (int k = 0; k < K && E > 256; k++) {
        int best = sy_best_left(choice, E);
        __syncwarp();
        if (!lane) {
            choice[best] = SY_TAKEN;
            ids[k] = best;
        }
        __syncwarp();
    }
    for (int k = lane; k < K; k += 32)
        largest = fmaxf(largest, scores[ids[k]]);
    largest = sy_warp_largest(largest);
    bool relative = rule.kind == SY_ROUTER_SOFTMAX_CHOSEN;
    sum = sy_sum_chosen(scores, ids, K, relative, largest, 0.0f);
    float all = relative ? sy_sum_chosen(scores, ids, K, relative, largest, sum) : sum;
    for (int k = lane; k < K; k += 32) {
        float f = scores[ids[k]];
        if (relative)
            f = __fdiv_rn(expf(__fsub_rn(f, largest)), sum);
        weights[k] = __fmul_rn(rule.normalise ? __fdiv_rn(f, all) : f, rule.scale);
    }
}

#endif
