/* SPDX-License-Identifier: Apache-2.0
 * logits.c - largest logits and sums of exponentials over the vocabulary
 */
#include "ref/ref.h"

/* Sum over tokens begin .. end - 1 of exp((x - max) / temperature). */
static double sum_exp(const float *x, int begin, int end, float max, double temperature)
{
    double sum = 0.0;

    for (int i = begin; i < end && isfinite(max); i++) {
        if (!isnan(x[i]))
            sum += exp(((double)x[i] - (double)max) / temperature);
    }
    return sum;
}

void sy_ref_scan_logits(struct sy_queue *q, const float *logits, int T, int V, struct sy_logit_scan *scans)
{
    (void)q;
    for (int t = 0; t < T; t++) {
        const float *x = logits + (size_t)t * (size_t)V;
        struct sy_logit_scan *scan = &scans[t];
        scan->argmax = 0;
        for (int i = 1; i < V; i++) {
            if (x[i] > x[scan->argmax] || (isnan(x[scan->argmax]) && !isnan(x[i])))
                scan->argmax = i;
        }
        scan->max = isnan(x[scan->argmax]) ? -INFINITY : x[scan->argmax];
        if (scan->temperature > 0)
            scan->weight = 0.0;
        for (int b = 0; b < sy_logit_blocks(V); b++) {
            int begin = b * SY_LOGIT_BLOCK, end = V - begin < SY_LOGIT_BLOCK ? V : begin + SY_LOGIT_BLOCK;
            scan->block_max[b] = -INFINITY;
            for (int i = begin; i < end; i++)
                scan->block_max[b] = fmaxf(scan->block_max[b], x[i]);
            if (scan->temperature > 0) {
                scan->block_weight[b] = sum_exp(x, begin, end, scan->max, (double)scan->temperature);
                scan->weight += scan->block_weight[b];
            }
        }
        if (scan->want_log_sum)
            scan->log_sum = (double)scan->max + (isfinite(scan->max) ? log(sum_exp(x, 0, V, scan->max, 1.0)) : 0.0);
    }
}
