/* SPDX-License-Identifier: Apache-2.0
 * router.c - which experts get a token, and with what weight
 */
#include "ref/ref.h"

static void softmax(float *x, int n)
{
    float largest = -INFINITY, sum = 0.0f;

    for (int i = 0; i < n; i++)
        largest = fmaxf(largest, x[i]);
    for (int i = 0; i < n; i++) {
        x[i] = expf(x[i] - largest);
        sum += x[i];
    }
    for (int i = 0; i < n; i++)
        x[i] /= sum;
}

static bool taken(const int32_t *ids, int n, int e)
{
    for (int k = 0; k < n; k++) {
        if (ids[k] == e)
            return true;
    }
    return false;
}

/* The expert of the largest score that is not among ids yet: the lowest of equals, and some expert even for NaN. */
static int best_left(const float *scores, int n_experts, const int32_t *ids, int n_ids)
{
    int best = -1;

    for (int e = 0; e < n_experts; e++) {
        if (!taken(ids, n_ids, e) && (best < 0 || scores[e] > scores[best]))
            best = e;
    }
    return best;
}

/* Scores of experts outside the kept groups become -inf. */
static void mask_groups(const struct sy_router_rule *rule, float *choice)
{
    int size = rule->n_experts / rule->n_groups, n_kept = 0;
    int32_t kept[SY_GROUPS_MAX];
    float scores[SY_GROUPS_MAX];

    for (int g = 0; g < rule->n_groups; g++) {
        int32_t best[SY_GROUP_BEST_MAX];
        scores[g] = 0.0f;
        for (int i = 0; i < rule->group_best; i++) {
            best[i] = best_left(choice + g * size, size, best, i);
            scores[g] += choice[g * size + best[i]];
        }
    }
    for (; n_kept < rule->n_kept; n_kept++)
        kept[n_kept] = best_left(scores, rule->n_groups, kept, n_kept);
    for (int e = 0; e < rule->n_experts; e++)
        choice[e] = taken(kept, n_kept, e / size) ? choice[e] : -INFINITY;
}

/* scores: logits, which become the scores of which weights are made. */
static void choose(const struct sy_router_rule *rule, float *scores, int32_t *ids, float *weights)
{
    int E = rule->n_experts, K = rule->top_k;
    float choice[SY_EXPERTS_MAX], sum = 0.0f;

    if (rule->kind == SY_ROUTER_SOFTMAX)
        softmax(scores, E);
    for (int e = 0; e < E; e++) {
        if (rule->kind == SY_ROUTER_SIGMOID)
            scores[e] = 1.0f / (1.0f + expf(-scores[e]));
        choice[e] = scores[e] + (rule->correction ? rule->correction[e] : 0.0f);
    }
    if (rule->n_groups > 1)
        mask_groups(rule, choice);
    for (int k = 0; k < K; k++) {
        ids[k] = best_left(choice, E, ids, k);
        weights[k] = scores[ids[k]];
    }
    if (rule->kind == SY_ROUTER_SOFTMAX_CHOSEN)
        softmax(weights, K);
    for (int k = 0; k < K; k++)
        sum += weights[k];
    for (int k = 0; k < K; k++)
        weights[k] = (rule->normalise ? weights[k] / sum : weights[k]) * rule->scale;
}

/* Source: Liu et al., "Sparse Backpropagation for MoE Training" (2023), as evaluated without noise. */
static void sparsemixer(const struct sy_router_rule *rule, const float *logits, int32_t *ids, float *weights)
{
    for (int k = 0; k < rule->top_k; k++) {
        float sum = 0.0f;
        ids[k] = best_left(logits, rule->n_experts, ids, k);
        float most = logits[ids[k]];
        for (int e = 0; e < rule->n_experts; e++) {
            float size = fmaxf(fabsf(logits[e]), most);
            if (!taken(ids, k, e) && !((most - logits[e]) / size > 2.0f * rule->jitter))
                sum += expf(logits[e] - most);
        }
        weights[k] = 1.0f / sum * rule->scale;
    }
}

void sy_ref_router(struct sy_queue *q, const struct sy_router_rule *rule, const struct sy_weight *w, const float *x,
                   int T, float *logits, int32_t *ids, float *weights)
{
    int E = rule->n_experts, K = rule->top_k;

    (void)q;
    for (int t = 0; t < T; t++, logits += E, ids += K, weights += K, x += w->k) {
        for (int e = 0; e < E; e++)
            logits[e] = sy_ref_dot(w, e, x, SY_F32, (size_t)w->k) + (w->bias ? w->bias[e] : 0.0f);
        if (rule->kind == SY_ROUTER_SPARSEMIXER)
            sparsemixer(rule, logits, ids, weights);
        else
            choose(rule, logits, ids, weights);
    }
}
