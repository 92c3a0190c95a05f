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

void sy_ref_router(struct sy_queue *q, const struct sy_router_rule *rule, const struct sy_weight *w, const float *x,
                   int T, float *logits, int32_t *ids, float *weights)
{
    int E = rule->n_experts, K = rule->top_k;

    (void)q;
    for (int t = 0; t < T; t++, logits += E, ids += K, weights += K, x += w->k) {
        float sum = 0.0f;
        for (int e = 0; e < E; e++)
            logits[e] = sy_ref_dot(w, e, x, SY_F32);
        softmax(logits, E);
        for (int k = 0; k < K; k++) {
            ids[k] = best_left(logits, E, ids, k);
            weights[k] = logits[ids[k]];
            sum += weights[k];
        }
        for (int k = 0; k < K; k++)
            weights[k] = (rule->normalise ? weights[k] / sum : weights[k]) * rule->scale;
    }
}
