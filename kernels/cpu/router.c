/* SPDX-License-Identifier: Apache-2.0
 * router.c - which experts get a token, and with what weight
 */
#include <math.h>

#include "cpu/cpu.h"
#include "cpu/vec.h"

struct job {
    const struct sy_router_rule *rule;
    int n_rows, row_step;
    float *logits, *weights;
    int32_t *ids;
};

/* logits become probabilities. The lanes behind the last expert are -inf, which adds zero. */
static void softmax(float *logits, int n)
{
    const vf none = vec_set(-INFINITY);
    vf most = none, sum = vec_zero();

    for (int i = 0; i < n; i += VEC_N) {
        int lanes = vec_lanes(n, i);
        most = vec_max(vec_select_range(vec_load_upto(logits + i, lanes), none, 0, lanes), most);
    }
    most = vec_set(vec_largest(most));
    for (int i = 0; i < n; i += VEC_N) {
        int lanes = vec_lanes(n, i);
        vf e = vec_exp(vec_sub(vec_select_range(vec_load_upto(logits + i, lanes), none, 0, lanes), most));
        sum = vec_add(sum, e);
        vec_store_upto(logits + i, lanes, e);
    }
    sum = vec_set(vec_sum(sum));
    for (int i = 0; i < n; i += VEC_N) {
        int lanes = vec_lanes(n, i);
        vec_store_upto(logits + i, lanes, vec_div(vec_load_upto(logits + i, lanes), sum));
    }
}

/* The top_k largest scores in falling order. A later expert passes an earlier one only if it is strictly larger, so
 * that a tie goes to the lower id, and NaN never passes; the first top_k experts enter unasked, so ids are always valid
 * and distinct. */
static void top_k(const float *scores, int n, int top_k, int32_t *ids, float *best)
{
    for (int e = 0; e < n; e++) {
        int at = e;
        if (e >= top_k) {
            if (!(scores[e] > best[top_k - 1]))
                continue;
            at = top_k - 1;
        }
        for (; at > 0 && scores[e] > best[at - 1]; at--) {
            best[at] = best[at - 1];
            ids[at] = ids[at - 1];
        }
        best[at] = scores[e];
        ids[at] = e;
    }
}

static void sigmoid(float *logits, int n)
{
    for (int i = 0; i < n; i += VEC_N) {
        int lanes = vec_lanes(n, i);
        vec_store_upto(logits + i, lanes, vec_sigmoid(vec_load_upto(logits + i, lanes)));
    }
}

/* Choices of experts outside the kept groups become -inf. */
static void mask_groups(const struct sy_router_rule *rule, float *choice)
{
    int size = rule->n_experts / rule->n_groups;
    float scores[SY_GROUPS_MAX], best[SY_GROUPS_MAX];
    int32_t ids[SY_GROUPS_MAX];
    bool kept[SY_GROUPS_MAX] = {false};

    for (int g = 0; g < rule->n_groups; g++) {
        top_k(choice + g * size, size, rule->group_best, ids, best);
        scores[g] = 0.0f;
        for (int i = 0; i < rule->group_best; i++)
            scores[g] += best[i];
    }
    top_k(scores, rule->n_groups, rule->n_kept, ids, best);
    for (int i = 0; i < rule->n_kept; i++)
        kept[ids[i]] = true;
    for (int e = 0; e < rule->n_experts; e++)
        choice[e] = kept[e / size] ? choice[e] : -INFINITY;
}

/* The K best of one row. Where scores are changed for the choice alone, weights are looked up afterwards. */
static void choose(const struct sy_router_rule *rule, const float *scores, int32_t *ids, float *weights)
{
    float choice[SY_EXPERTS_MAX];

    if (!rule->correction && rule->n_groups <= 1) {
        top_k(scores, rule->n_experts, rule->top_k, ids, weights);
        return;
    }
    for (int e = 0; e < rule->n_experts; e++)
        choice[e] = scores[e] + (rule->correction ? rule->correction[e] : 0.0f);
    if (rule->n_groups > 1)
        mask_groups(rule, choice);
    top_k(choice, rule->n_experts, rule->top_k, ids, weights);
    for (int k = 0; k < rule->top_k; k++)
        weights[k] = scores[ids[k]];
}

/* Each chosen expert's share among those near it. logits of the chosen become -inf. Source: Liu et al., "Sparse
 * Backpropagation for MoE Training" (2023), as evaluated without noise. */
static void sparsemixer(const struct sy_router_rule *rule, float *logits, int32_t *ids, float *weights)
{
    float near[SY_EXPERTS_MAX];

    top_k(logits, rule->n_experts, rule->top_k, ids, weights);
    for (int k = 0; k < rule->top_k; k++) {
        float most = logits[ids[k]];
        for (int e = 0; e < rule->n_experts; e++) {
            float size = fmaxf(fabsf(logits[e]), most);
            near[e] = (most - logits[e]) / size > 2.0f * rule->jitter ? -INFINITY : logits[e];
        }
        for (int i = 0; i < k; i++)
            near[ids[i]] = -INFINITY;
        softmax(near, rule->n_experts);
        weights[k] = near[ids[k]];
    }
}

static void router_row(const struct sy_router_rule *rule, float *scores, int32_t *ids, float *weights)
{
    float sum = 0.0f;

    if (rule->kind == SY_ROUTER_SPARSEMIXER) {
        sparsemixer(rule, scores, ids, weights);
    } else {
        if (rule->kind == SY_ROUTER_SOFTMAX)
            softmax(scores, rule->n_experts);
        else if (rule->kind == SY_ROUTER_SIGMOID)
            sigmoid(scores, rule->n_experts);
        choose(rule, scores, ids, weights);
        if (rule->kind == SY_ROUTER_SOFTMAX_CHOSEN)
            softmax(weights, rule->top_k);
    }
    for (int k = 0; k < rule->top_k; k++)
        sum += weights[k];
    for (int k = 0; k < rule->top_k; k++)
        weights[k] = (rule->normalise ? weights[k] / sum : weights[k]) * rule->scale;
}

static void router_item(void *arg, int item, int thread)
{
    const struct job *job = arg;
    size_t E = (size_t)job->rule->n_experts, K = (size_t)job->rule->top_k;

    (void)thread;
    for (int t = item * job->row_step; t < job->n_rows && t < (item + 1) * job->row_step; t++)
        router_row(job->rule, job->logits + (size_t)t * E, job->ids + (size_t)t * K, job->weights + (size_t)t * K);
}

void SY_CPU(router)(struct sy_queue *q, const struct sy_router_rule *rule, const struct sy_weight *w, const float *x,
                    int T, float *logits, int32_t *ids, float *weights)
{
    int n = rule->n_experts, step = sy_row_step(16 * n);
    struct job job = {rule, T, step, logits, weights, ids};

    SY_CPU(gemm)(q, w, x, SY_F32, (size_t)w->k, T, 0, n, false, logits, (size_t)n);
    sy_queue_run(q, (T + step - 1) / step, 16.0 * T * n, router_item, &job);
}
