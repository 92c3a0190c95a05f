/* SPDX-License-Identifier: Apache-2.0
 * router.cuh - from the logits of one token to its experts and weights, by one warp
 */
#ifndef SY_KERNELS_CUDA_ROUTER_CUH
#define SY_KERNELS_CUDA_ROUTER_CUH

#include <math_constants.h>

#include "cuda/cuda.h"
#include "cuda/warp.cuh"

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

/* ---- with the scores in registers: lane l has those of experts l, l + 32, .. ---- */

#define SY_IN_REGISTERS 256 /* experts at most */

static inline __host__ __device__ bool sy_router_in_registers(const struct sy_router_rule &rule)
{
    return rule.n_experts <= SY_IN_REGISTERS && rule.top_k <= 32 && rule.kind != SY_ROUTER_SPARSEMIXER;
}

/* Scores as sy_router_scores() makes them, of E <= 32 N experts. */
template <int N>
static __device__ __forceinline__ void sy_scores_here(const struct sy_router_rule &rule, const float *logits,
                                                      float (&score)[N])
{
    int lane = (int)threadIdx.x % 32, E = rule.n_experts;
    float largest = -CUDART_INF_F, sum = 0.0f;

#pragma unroll
    for (int i = 0; i < N; i++)
        score[i] = lane + i * 32 < E ? logits[lane + i * 32] : -CUDART_INF_F;
    if (rule.kind == SY_ROUTER_SIGMOID) {
#pragma unroll
        for (int i = 0; i < N; i++)
            score[i] = __fdiv_rn(1.0f, __fadd_rn(1.0f, expf(-score[i])));
    }
    if (rule.kind != SY_ROUTER_SOFTMAX)
        return;
#pragma unroll
    for (int i = 0; i < N; i++)
        largest = fmaxf(largest, score[i]);
    largest = sy_warp_largest(largest);
#pragma unroll
    for (int i = 0; i < N; i++) {
        score[i] = expf(__fsub_rn(score[i], largest));
        sum = lane + i * 32 < E ? __fadd_rn(sum, score[i]) : sum;
    }
    sum = sy_warp_sum(sum);
#pragma unroll
    for (int i = 0; i < N; i++)
        score[i] = __fdiv_rn(score[i], sum);
}

/* The sum over lanes 0 .. n - 1, in order. */
static __device__ __forceinline__ float sy_sum_lanes(float f, int n)
{
    float sum = 0.0f;

    for (int i = 0; i < n; i++)
        sum = __fadd_rn(sum, __shfl_sync(0xffffffffu, f, i));
    return sum;
}

/* Returns the score of choice number `lane`, and its expert; 0 for lanes that have none. */
template <int N>
static __device__ __forceinline__ float sy_take_best(const float (&score)[N], uint32_t (&order)[N], int K, int *id)
{
    int lane = (int)threadIdx.x % 32;
    float chosen = 0.0f;

    *id = 0;
#pragma unroll 1
    for (int k = 0; k < K; k++) {
        uint32_t most = 0, at = 0xffffffffu;
        float its_score = 0.0f;
#pragma unroll
        for (int i = 0; i < N; i++) {
            if (order[i] > most) {
                most = order[i];
                at = (uint32_t)(lane + i * 32);
                its_score = score[i];
            }
        }
        uint32_t best = __reduce_max_sync(0xffffffffu, most);
        uint32_t taken = __reduce_min_sync(0xffffffffu, most == best ? at : 0xffffffffu);
        its_score = __shfl_sync(0xffffffffu, its_score, (int)(taken % 32));
#pragma unroll
        for (int i = 0; i < N; i++)
            order[i] = taken == (uint32_t)(lane + i * 32) ? 0 : order[i];
        if (k == lane) {
            *id = (int)taken;
            chosen = its_score;
        }
    }
    return chosen;
}

/* One warp: lane k gets the expert and weight of choice k. logits: [E]. shared: E floats and one for each group, if there are
 * groups. */
template <int N>
static __device__ __forceinline__ float sy_choose_here(const struct sy_router_rule &rule, const float *logits,
                                                       float *shared, int *id)
{
    int lane = (int)threadIdx.x % 32, E = rule.n_experts, K = rule.top_k;
    float score[N], choice[N];
    uint32_t order[N];

    sy_scores_here<N>(rule, logits, score);
#pragma unroll
    for (int i = 0; i < N; i++)
        choice[i] = rule.correction && lane + i * 32 < E ? __fadd_rn(score[i], rule.correction[lane + i * 32])
                                                         : score[i];
    if (rule.n_groups > 1) {
        for (int i = 0; i < N && lane + i * 32 < E; i++)
            shared[lane + i * 32] = choice[i];
        __syncwarp();
        sy_mask_groups(rule, shared, shared + E);
        for (int i = 0; i < N && lane + i * 32 < E; i++)
            choice[i] = shared[lane + i * 32];
    }
#pragma unroll
    for (int i = 0; i < N; i++)
        order[i] = lane + i * 32 < E ? sy_order_of(choice[i]) : 0;
    float f = sy_take_best<N>(score, order, K, id);
    if (rule.kind == SY_ROUTER_SOFTMAX_CHOSEN) {
        float largest = sy_warp_largest(lane < K ? f : -CUDART_INF_F);
        float e = lane < K ? expf(__fsub_rn(f, largest)) : 0.0f;
        f = __fdiv_rn(e, sy_sum_lanes(e, K));
    }
    if (rule.normalise)
        f = __fdiv_rn(f, sy_sum_lanes(f, K));
    return __fmul_rn(f, rule.scale);
}

/* One warp: the experts of a token with these logits [E]; K ids and weights in order of falling score. shared:
 * sy_router_floats() of this warp's. */
static __device__ void sy_router_choose(const struct sy_router_rule &rule, const float *logits, float *shared,
                                        int32_t *ids, float *weights)
{
    int lane = (int)threadIdx.x % 32, E = rule.n_experts, K = rule.top_k;
    float *scores = shared, *choice = shared + E, largest = -CUDART_INF_F, sum = 0.0f;

    if (sy_router_in_registers(rule)) {
        int id;
        float weight = E <= 128 ? sy_choose_here<4>(rule, logits, shared, &id)
                                : sy_choose_here<8>(rule, logits, shared, &id);
        if (lane < K) {
            ids[lane] = id;
            weights[lane] = weight;
        }
        return;
    }
    for (int e = lane; e < E; e += 32)
        choice[e] = scores[e] = logits[e];
    __syncwarp();
    if (rule.kind == SY_ROUTER_SPARSEMIXER) {
        sy_choose_sparsemixer(rule, scores, choice, ids, weights);
        return;
    }
    sy_router_scores(rule, scores, choice);
    if (rule.n_groups > 1)
        sy_mask_groups(rule, choice, shared + 2 * E);
    for (int k = 0; k < K; k++) {
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
