/* SPDX-License-Identifier: Apache-2.0
 * sampler.c - temperature, top-k and top-p sampling, and the most likely tokens
 */
#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>

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

/* Most likely first; equal ones in order of id, so that sorting has one answer. */
static int by_logit(const void *a, const void *b)
{
    const struct sy_candidate *x = a, *y = b;

    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* The end of a block of the scan that begins at token `begin`. */
static int32_t block_end(int32_t begin, int vocab)
{
    return vocab - begin < SY_LOGIT_BLOCK ? vocab : begin + SY_LOGIT_BLOCK;
}

static bool above(float a, float b)
{
    return a > b || (isnan(b) && !isnan(a));
}

void sy_top_tokens(const float *logits, int vocab, const struct sy_logit_scan *scan, int n, int32_t *ids)
{
    int found = 0;

    for (int32_t begin = 0; begin < vocab && n; begin += SY_LOGIT_BLOCK) {
        if (found == n && !above(scan->block_max[begin / SY_LOGIT_BLOCK], logits[ids[n - 1]]))
            continue;
        for (int32_t i = begin; i < block_end(begin, vocab); i++) {
            if (found == n && !above(logits[i], logits[ids[n - 1]]))
                continue;
            int at = found < n ? found++ : n - 1;
            for (; at && above(logits[i], logits[ids[at - 1]]); at--)
                ids[at] = ids[at - 1];
            ids[at] = i;
        }
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

/* Candidates with a logit of at least `floor`, in order of id. Returns how many. */
static int collect(const float *logits, int vocab, const struct sy_logit_scan *scan, float floor,
                   struct sy_candidate *out)
{
    int n = 0;

    for (int32_t begin = 0; begin < vocab; begin += SY_LOGIT_BLOCK) {
        if (scan->block_max[begin / SY_LOGIT_BLOCK] < floor)
            continue;
        for (int32_t i = begin; i < block_end(begin, vocab); i++)
            if (logits[i] >= floor)
                out[n++] = (struct sy_candidate){logits[i], i};
    }
    return n;
}

/* The k most likely of all tokens, sorted. k of the blocks have at least one logit each that is not below the k-th largest
 * of the blocks' largest, so that only blocks that reach it need a look. Returns how many there are: fewer than k where
 * most are NaN. */
static int collect_top(const float *logits, int vocab, const struct sy_logit_scan *scan, int k, struct sy_candidate *c)
{
    int n_blocks = sy_logit_blocks(vocab), n, n_kept = 0;
    float floor = -INFINITY;

    if (k <= n_blocks) {
        for (int b = 0; b < n_blocks; b++)
            c[b] = (struct sy_candidate){scan->block_max[b], b};
        floor = kth_logit(c, n_blocks, k);
    }
    n = collect(logits, vocab, scan, floor, c);
    if (n <= k) {
        n_kept = n;
    } else {
        floor = kth_logit(c, n, k);
        for (int i = 0; i < n; i++)
            if (c[i].logit >= floor)
                c[n_kept++] = c[i];
    }
    qsort(c, (size_t)n_kept, sizeof *c, by_logit);
    return n_kept < k ? n_kept : k;
}

static double weight(float logit, float max, float temperature)
{
    return exp(((double)logit - max) / temperature);
}

/* Reorder candidates so that the fewest likeliest whose weights reach `target` come first, the least likely of them last.
 * Returns how many they are, at least one, or all if those do not reach it; *mass: their weight. A quickselect that counts
 * weight. */
static int select_mass(struct sy_candidate *c, int n, float max, float temperature, double target, double *mass)
{
    int low = 0, high = n;

    *mass = 0; /* of the first `low`, which do not reach the target */
    while (low < high) {
        int at = low;
        struct sy_candidate pivot = c[low + (high - low) / 2];
        double above_pivot = 0, pivot_weight = weight(pivot.logit, max, temperature);
        c[low + (high - low) / 2] = c[high - 1];
        for (int i = low; i < high - 1; i++) {
            struct sy_candidate candidate = c[i];
            if (by_logit(&candidate, &pivot) > 0)
                continue;
            above_pivot += weight(candidate.logit, max, temperature);
            c[i] = c[at];
            c[at++] = candidate;
        }
        c[high - 1] = c[at];
        c[at] = pivot;
        if (at > low && *mass + above_pivot >= target) {
            high = at;
            continue;
        }
        *mass += above_pivot + pivot_weight;
        low = at + 1;
        if (*mass >= target)
            break;
    }
    return low;
}

/* Draw from the nucleus: the fewest likeliest of the candidates whose weights reach `enough`. */
static int32_t draw_nucleus(struct sy_candidate *c, int n, float max, float temperature, double enough, double u)
{
    double mass, part;

    n = select_mass(c, n, max, temperature, enough, &mass);
    return c[select_mass(c, n, max, temperature, u * mass, &part) - 1].id;
}

/* Draw from all tokens: the block first, then inside it, where the weights are made again. target: a place in 0 .. the sum
 * of all weights. */
static int32_t draw_any(const float *logits, int vocab, const struct sy_logit_scan *scan, double target)
{
    int n_blocks = sy_logit_blocks(vocab), b;
    double weights[SY_LOGIT_BLOCK], sum = 0;

    for (b = 0; b < n_blocks && target >= scan->block_weight[b]; b++)
        target -= scan->block_weight[b];
    /* Rounding may leave a little behind the last block: the likeliest token may have it. */
    if (b == n_blocks)
        return scan->argmax;
    int32_t begin = b * SY_LOGIT_BLOCK, n = block_end(begin, vocab) - begin, last = 0;
    for (int32_t i = 0; i < n; i++) {
        weights[i] = isnan(logits[begin + i]) ? 0 : weight(logits[begin + i], scan->block_max[b], scan->temperature);
        sum += weights[i];
    }
    target *= sum / scan->block_weight[b];
    for (int32_t i = 0; i < n; i++) {
        last = weights[i] > 0 ? i : last;
        target -= weights[i];
        if (target < 0)
            break;
    }
    return begin + last;
}

/* The candidates for a nucleus that weighs `enough` are usually few tokens: take those near the maximum, and lower the bar
 * until they weigh enough. Far down, where even a whole vocabulary weighs next to nothing, take all that are left. */
static int collect_mass(const float *logits, int vocab, const struct sy_logit_scan *scan, double enough,
                        struct sy_candidate *c)
{
    float depth = 0;
    double mass;
    int n;

    do {
        depth += 2;
        n = collect(logits, vocab, scan, depth > 40 ? -INFINITY : scan->max - depth * scan->temperature, c);
        mass = 0;
        for (int i = 0; i < n; i++)
            mass += weight(c[i].logit, scan->max, scan->temperature);
    } while (mass < enough && depth <= 40);
    return n;
}

/* 0: the request has none, or one that lets every token pass. */
static int top_k_of(const struct sy_request *request, int vocab)
{
    return request->top_k > 0 && request->top_k < vocab ? request->top_k : 0;
}

float sy_sample_scan_temperature(const struct sy_request *request, int vocab)
{
    return request->temperature > 0 && !top_k_of(request, vocab) ? request->temperature : 0;
}

int32_t sy_sample(const struct sy_request *request, int index, const float *logits, int vocab,
                  const struct sy_logit_scan *scan, struct sy_sampler_scratch *scratch)
{
    struct sy_candidate *c = scratch->candidates;
    float temperature = request->temperature;
    int top_k = top_k_of(request, vocab), n;
    double u = sy_sample_uniform(request->seed, (uint64_t)index), total = 0;

    if (!(temperature > 0) || !isfinite(scan->max))
        return scan->argmax;
    if (top_k) {
        n = collect_top(logits, vocab, scan, top_k, c);
        for (int i = 0; i < n; i++)
            total += weight(c[i].logit, scan->max, temperature);
    } else if (request->top_p < 1) {
        total = scan->weight;
        n = collect_mass(logits, vocab, scan, request->top_p * total, c);
    } else {
        return draw_any(logits, vocab, scan, u * scan->weight);
    }
    return draw_nucleus(c, n, scan->max, temperature, request->top_p * total, u);
}
