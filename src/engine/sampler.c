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

/* Put a token among the n most likely ones. Tokens come in order of id. */
static void insert(struct sy_candidate *best, int n, int *found, float logit, int32_t id)
{
    if (*found == n && !above(logit, best[n - 1].logit))
        return;
    int at = *found < n ? (*found)++ : n - 1;
    for (; at && above(logit, best[at - 1].logit); at--)
        best[at] = best[at - 1];
    best[at] = (struct sy_candidate){logit, id};
}

static int top_of_all(const struct sy_logit_row *row, int n, struct sy_candidate *best)
{
    int found = 0;

    for (int32_t begin = 0; begin < row->vocab; begin += SY_LOGIT_BLOCK) {
        if (found == n && !above(row->scan->block_max[begin / SY_LOGIT_BLOCK], best[n - 1].logit))
            continue;
        for (int32_t i = begin; i < block_end(begin, row->vocab); i++)
            insert(best, n, &found, row->logits[i], i);
    }
    return found;
}

bool sy_top_tokens(const struct sy_logit_row *row, int n, int32_t *ids, float *logits)
{
    struct sy_candidate best[SY_TOP_LOGPROBS_MAX];
    const struct sy_logit_pick *pick = row->top;
    int found = 0;

    if (!n)
        return true;
    if (row->logits)
        found = top_of_all(row, n, best);
    for (int i = 0; !row->logits && pick->n_found <= pick->room && i < pick->n_found; i++)
        insert(best, n, &found, pick->logits[i], pick->ids[i]);
    for (int i = 0; i < found; i++) {
        ids[i] = best[i].id;
        if (logits)
            logits[i] = best[i].logit;
    }
    return found == n;
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

/* Candidates with a logit of at least `floor`, in order of id. Returns how many, or SY_LOGITS_MISSING. */
static int collect(const struct sy_logit_row *row, float floor, struct sy_candidate *out)
{
    const struct sy_logit_pick *pick = row->draw;
    int n = 0;

    if (!row->logits && (pick->n_found > pick->room || floor < pick->floor))
        return SY_LOGITS_MISSING;
    for (int i = 0; !row->logits && i < pick->n_found; i++)
        if (pick->logits[i] >= floor)
            out[n++] = (struct sy_candidate){pick->logits[i], pick->ids[i]};
    for (int32_t begin = 0; row->logits && begin < row->vocab; begin += SY_LOGIT_BLOCK) {
        if (row->scan->block_max[begin / SY_LOGIT_BLOCK] < floor)
            continue;
        for (int32_t i = begin; i < block_end(begin, row->vocab); i++)
            if (row->logits[i] >= floor)
                out[n++] = (struct sy_candidate){row->logits[i], i};
    }
    return n;
}

/* What the k most likely tokens reach: k of the blocks have at least one logit each that is not below the k-th largest of
 * the blocks' largest, so that only blocks that reach it need a look. */
static float top_floor(const struct sy_logit_row *row, int k, struct sy_candidate *c)
{
    int n_blocks = sy_logit_blocks(row->vocab);

    if (!row->logits)
        return row->draw->floor;
    if (k > n_blocks)
        return -INFINITY;
    for (int b = 0; b < n_blocks; b++)
        c[b] = (struct sy_candidate){row->scan->block_max[b], b};
    return kth_logit(c, n_blocks, k);
}

/* The k most likely of all tokens, sorted. Returns how many there are: fewer than k where most are NaN; or
 * SY_LOGITS_MISSING. */
static int collect_top(const struct sy_logit_row *row, int k, struct sy_candidate *c)
{
    int n = collect(row, top_floor(row, k, c), c), n_kept = 0;

    if (n < 0)
        return n;
    if (n <= k) {
        n_kept = n;
    } else {
        float floor = kth_logit(c, n, k);
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

/* Draw from a block's n logits. left: a place in 0 .. the block's weight, which they have at the scan's temperature. */
static int32_t draw_in_block(const float *logits, int n, const struct sy_logit_scan *scan, float block_max,
                             double block_weight, double left)
{
    double weights[SY_LOGIT_BLOCK], sum = 0;
    int32_t last = 0;

    for (int32_t i = 0; i < n; i++) {
        weights[i] = isnan(logits[i]) ? 0 : weight(logits[i], block_max, scan->temperature);
        sum += weights[i];
    }
    left *= sum / block_weight;
    for (int32_t i = 0; i < n; i++) {
        last = weights[i] > 0 ? i : last;
        left -= weights[i];
        if (left < 0)
            break;
    }
    return last;
}

/* Draw from all tokens: the block first, then inside it, where the weights are made again. u: a place in 0 .. 1. */
static int32_t draw_any(const struct sy_logit_row *row, double u)
{
    const struct sy_logit_scan *scan = row->scan;
    const struct sy_logit_pick *pick = row->draw;
    int n_blocks = sy_logit_blocks(row->vocab), b;
    double left = u * scan->weight;

    if (!row->logits && pick->n_found > pick->room)
        return SY_LOGITS_MISSING;
    /* Rounding may leave a little behind the last block: the likeliest token may have it. */
    if (!row->logits)
        return pick->block == n_blocks
                   ? scan->argmax
                   : pick->block * SY_LOGIT_BLOCK + draw_in_block(pick->logits, pick->n_found, scan, pick->block_max,
                                                                  pick->block_weight, pick->left);
    for (b = 0; b < n_blocks && left >= scan->block_weight[b]; b++)
        left -= scan->block_weight[b];
    if (b == n_blocks)
        return scan->argmax;
    int32_t begin = b * SY_LOGIT_BLOCK;
    return begin + draw_in_block(row->logits + begin, block_end(begin, row->vocab) - begin, scan, scan->block_max[b],
                                 scan->block_weight[b], left);
}

/* The candidates for a nucleus that weighs `enough` are usually few tokens: take those near the maximum, and lower the bar
 * until they weigh enough. Far down, where even a whole vocabulary weighs next to nothing, take all that are left. */
static int collect_mass(const struct sy_logit_row *row, double enough, struct sy_candidate *c)
{
    const struct sy_logit_scan *scan = row->scan;
    int depth = 0, n;
    double mass;

    do {
        depth += SY_PICK_STEP;
        n = collect(row, depth > SY_PICK_DEPTH ? -INFINITY : scan->max - (float)depth * scan->temperature, c);
        mass = 0;
        for (int i = 0; i < n; i++)
            mass += weight(c[i].logit, scan->max, scan->temperature);
    } while (n >= 0 && mass < enough && depth <= SY_PICK_DEPTH);
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

bool sy_sample_pick(const struct sy_request *request, int index, int vocab, struct sy_logit_pick *pick)
{
    pick->n = top_k_of(request, vocab);
    if (pick->n) {
        pick->kind = SY_PICK_TOP;
    } else if (request->top_p < 1) {
        pick->kind = SY_PICK_NEAR;
        pick->share = request->top_p;
    } else {
        pick->kind = SY_PICK_BLOCK;
        pick->share = sy_sample_uniform(request->seed, (uint64_t)index);
    }
    return request->temperature > 0;
}

int32_t sy_sample(const struct sy_request *request, int index, const struct sy_logit_row *row,
                  struct sy_sampler_scratch *scratch)
{
    const struct sy_logit_scan *scan = row->scan;
    struct sy_candidate *c = scratch->candidates;
    float temperature = request->temperature;
    int top_k = top_k_of(request, row->vocab), n;
    double u = sy_sample_uniform(request->seed, (uint64_t)index), total = 0;

    if (!(temperature > 0) || !isfinite(scan->max))
        return scan->argmax;
    if (top_k) {
        n = collect_top(row, top_k, c);
        for (int i = 0; i < n; i++)
            total += weight(c[i].logit, scan->max, temperature);
    } else if (request->top_p < 1) {
        total = scan->weight;
        n = collect_mass(row, request->top_p * total, c);
    } else {
        return draw_any(row, u);
    }
    return n < 0 ? n : draw_nucleus(c, n, scan->max, temperature, request->top_p * total, u);
}

float sy_drawn_logit(const struct sy_logit_row *row, int32_t token)
{
    const struct sy_logit_pick *pick = row->draw;
    int low = 0, high = row->logits || !pick ? 0 : pick->n_found;

    if (row->logits)
        return row->logits[token];
    while (high - low > 1) {
        int mid = low + (high - low) / 2;
        if (pick->ids[mid] <= token)
            low = mid;
        else
            high = mid;
    }
    return high && pick->ids[low] == token ? pick->logits[low] : row->scan->max;
}
