/* SPDX-License-Identifier: Apache-2.0
 * pick.c - the few logits of a row that the host wants to see
 */
#include "ref/ref.h"

#include <stdlib.h>

static void list(struct sy_logit_pick *pick, const float *x, int begin, int end, float floor)
{
    pick->floor = floor;
    pick->n_found = 0;
    for (int i = begin; i < end; i++) {
        if (pick->kind != SY_PICK_BLOCK && !(x[i] >= floor))
            continue;
        if (pick->n_found < pick->room) {
            pick->ids[pick->n_found] = i;
            pick->logits[pick->n_found] = x[i];
        }
        pick->n_found++;
    }
}

/* The n-th largest: the largest number that n of them reach. */
static float nth_largest(const float *x, int n_x, int n)
{
    float found = -INFINITY;

    for (int i = 0; i < n_x; i++) {
        int n_reach = 0;
        for (int j = 0; j < n_x; j++)
            n_reach += x[j] >= x[i];
        if (n_reach >= n && x[i] > found)
            found = x[i];
    }
    return found;
}

/* How far down the likeliest tokens go that weigh `enough`. */
static float near_floor(const float *x, int V, const struct sy_logit_scan *scan, double enough)
{
    for (int depth = SY_PICK_STEP; depth <= SY_PICK_DEPTH; depth += SY_PICK_STEP) {
        float floor = scan->max - (float)depth * scan->temperature;
        double mass = 0.0;
        for (int i = 0; i < V; i++)
            mass += x[i] >= floor ? exp(((double)x[i] - (double)scan->max) / (double)scan->temperature) : 0.0;
        if (mass >= enough)
            return floor;
    }
    return -INFINITY;
}

static void pick_block(struct sy_logit_pick *pick, const float *x, int V, const struct sy_logit_scan *scan)
{
    int b, n_blocks = sy_logit_blocks(V);
    double left = pick->share * scan->weight;

    for (b = 0; b < n_blocks && left >= scan->block_weight[b]; b++)
        left -= scan->block_weight[b];
    pick->block = b;
    pick->left = left;
    if (b == n_blocks)
        return;
    pick->block_weight = scan->block_weight[b];
    pick->block_max = scan->block_max[b];
    list(pick, x, b * SY_LOGIT_BLOCK, V - b * SY_LOGIT_BLOCK < SY_LOGIT_BLOCK ? V : (b + 1) * SY_LOGIT_BLOCK, 0.0f);
}

void sy_ref_pick_logits(struct sy_queue *q, const float *logits, int V, const struct sy_logit_scan *scans,
                        struct sy_logit_pick *picks, int n_picks)
{
    (void)q;
    for (int i = 0; i < n_picks; i++) {
        struct sy_logit_pick *pick = &picks[i];
        const struct sy_logit_scan *scan = &scans[pick->row];
        const float *x = logits + (size_t)pick->row * (size_t)V;
        int n_blocks = sy_logit_blocks(V);
        pick->n_found = 0;
        if (pick->kind == SY_PICK_TOKEN) {
            pick->n_found = 1;
            pick->ids[0] = pick->n;
            pick->logits[0] = x[pick->n];
        } else if (pick->kind == SY_PICK_TOP) {
            list(pick, x, 0, V, pick->n <= n_blocks ? nth_largest(scan->block_max, n_blocks, pick->n) : -INFINITY);
        } else if (!isfinite(scan->max)) {
            continue;
        } else if (pick->kind == SY_PICK_NEAR) {
            list(pick, x, 0, V, near_floor(x, V, scan, pick->share * scan->weight));
        } else {
            pick_block(pick, x, V, scan);
        }
    }
}
