/* SPDX-License-Identifier: Apache-2.0
 * sampler.c - greedy, temperature, top-k and top-p sampling
 */
#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>

int32_t sy_sample_greedy(const float *logits, int vocab)
{
    int32_t best = 0;

    for (int32_t i = 1; i < vocab; i++)
        if (logits[i] > logits[best] || (isnan(logits[best]) && !isnan(logits[i])))
            best = i;
    return best;
}

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

double sy_sample_uniform(uint64_t seed, uint64_t index)
{
    return (double)(mix(mix(seed) ^ index) >> 11) * 0x1p-53;
}

double sy_log_sum_exp(const float *logits, int vocab)
{
    double max = -INFINITY, sum = 0;

    for (int i = 0; i < vocab; i++)
        max = logits[i] > max ? logits[i] : max;
    for (int i = 0; i < vocab; i++)
        sum += exp((double)logits[i] - max);
    return max + log(sum);
}

/* Most likely first; equal ones in order of id, so that sorting has one answer. */
static int by_logit(const void *a, const void *b)
{
    const struct sy_candidate *x = a, *y = b;

    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

void sy_top_tokens(const float *logits, int vocab, int n, int32_t *ids)
{
    int found = 0;

    for (int32_t i = 0; i < vocab; i++) {
        int at = found;
        while (at && logits[i] > logits[ids[at - 1]])
            at--;
        if (at >= n)
            continue;
        if (found < n)
            found++;
        for (int j = found - 1; j > at; j--)
            ids[j] = ids[j - 1];
        ids[at] = i;
    }
}

/* The k-th largest logit (k >= 1), by quickselect over the candidates. */
static float kth_logit(struct sy_candidate *c, int n, int k)
{
    int low = 0, high = n - 1;

    k--;
    while (low < high) {
        float pivot = c[low + (high - low) / 2].logit;
        int i = low, j = high;
        while (i <= j) {
            while (c[i].logit > pivot)
                i++;
            while (c[j].logit < pivot)
                j--;
            if (i <= j) {
                struct sy_candidate swap = c[i];
                c[i++] = c[j];
                c[j--] = swap;
            }
        }
        if (k <= j)
            high = j;
        else if (k >= i)
            low = i;
        else
            break;
    }
    return c[k].logit;
}

/* Candidates with a logit of at least `floor`, sorted. */
static int collect(const float *logits, int vocab, float floor, struct sy_candidate *out)
{
    int n = 0;

    for (int32_t i = 0; i < vocab; i++)
        if (logits[i] >= floor)
            out[n++] = (struct sy_candidate){logits[i], i};
    qsort(out, (size_t)n, sizeof *out, by_logit);
    return n;
}

static double weight(float logit, float max, float temperature)
{
    return exp(((double)logit - max) / temperature);
}

/* How many of the sorted candidates top_p keeps: the fewest whose weights reach p of `total`. *mass: their weight. */
static int nucleus(const struct sy_candidate *c, int n, float max, float temperature, double p, double total,
                   double *mass)
{
    *mass = 0;
    for (int i = 0; i < n; i++) {
        *mass += weight(c[i].logit, max, temperature);
        if (*mass >= p * total)
            return i + 1;
    }
    return n;
}

static int32_t draw_sorted(const struct sy_candidate *c, int n, float max, float temperature, double target)
{
    for (int i = 0; i < n; i++) {
        target -= weight(c[i].logit, max, temperature);
        if (target < 0)
            return c[i].id;
    }
    return c[n - 1].id;
}

int32_t sy_sample(const struct sy_request *request, int index, const float *logits, int vocab,
                  struct sy_sampler_scratch *scratch)
{
    struct sy_candidate *c = scratch->candidates;
    float temperature = request->temperature, max = logits[sy_sample_greedy(logits, vocab)];
    int top_k = request->top_k > 0 && request->top_k < vocab ? request->top_k : 0, n = 0;
    double u = sy_sample_uniform(request->seed, (uint64_t)index), total = 0, mass = 0;

    if (!(temperature > 0) || !isfinite(max))
        return sy_sample_greedy(logits, vocab);
    if (top_k) {
        for (int32_t i = 0; i < vocab; i++)
            if (logits[i] >= -INFINITY)
                c[n++] = (struct sy_candidate){logits[i], i};
        float floor = kth_logit(c, n, top_k < n ? top_k : n);
        n = collect(logits, vocab, floor, c);
        n = n < top_k ? n : top_k;
        for (int i = 0; i < n; i++)
            total += weight(c[i].logit, max, temperature);
        n = nucleus(c, n, max, temperature, request->top_p, total, &mass);
        return draw_sorted(c, n, max, temperature, u * mass);
    }
    for (int i = 0; i < vocab; i++)
        if (logits[i] >= -INFINITY)
            total += weight(logits[i], max, temperature);
    if (request->top_p < 1) {
        /* The nucleus is usually a few tokens: look among those near the maximum first, and lower the bar until it fits. */
        for (float depth = 8;; depth *= 2) {
            n = collect(logits, vocab, depth < 1e6f ? max - depth * temperature : -INFINITY, c);
            int kept = nucleus(c, n, max, temperature, request->top_p, total, &mass);
            if (mass >= request->top_p * total || depth >= 1e6f)
                return draw_sorted(c, kept, max, temperature, u * mass);
        }
    }
    double target = u * total;
    int32_t last = 0;
    for (int32_t i = 0; i < vocab; i++) {
        if (!(logits[i] >= -INFINITY))
            continue;
        target -= weight(logits[i], max, temperature);
        last = i;
        if (target < 0)
            return i;
    }
    return last;
}
