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

static void router_item(void *arg, int item, int thread)
{
    const struct job *job = arg;
    const struct sy_router_rule *rule = job->rule;

    (void)thread;
    for (int t = item * job->row_step; t < job->n_rows && t < (item + 1) * job->row_step; t++) {
        float *scores = job->logits + (size_t)t * (size_t)rule->n_experts;
        float *weights = job->weights + (size_t)t * (size_t)rule->top_k, sum = 0.0f;
        softmax(scores, rule->n_experts);
        top_k(scores, rule->n_experts, rule->top_k, job->ids + (size_t)t * (size_t)rule->top_k, weights);
        for (int k = 0; k < rule->top_k; k++)
            sum += weights[k];
        for (int k = 0; k < rule->top_k; k++)
            weights[k] = (rule->normalise ? weights[k] / sum : weights[k]) * rule->scale;
    }
}

void SY_CPU(router)(struct sy_queue *q, const struct sy_router_rule *rule, const struct sy_weight *w, const float *x,
                    int T, float *logits, int32_t *ids, float *weights)
{
    int n = rule->n_experts, step = sy_row_step(16 * n);
    struct job job = {rule, T, step, logits, weights, ids};

    SY_CPU(gemm)(q, w, x, SY_F32, (size_t)w->k, T, 0, n, NULL, false, logits, (size_t)n);
    sy_queue_run(q, (T + step - 1) / step, 16.0 * T * n, router_item, &job);
}
