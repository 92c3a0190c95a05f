/* SPDX-License-Identifier: Apache-2.0
 * logits.c - largest logits and sums of exponentials over the vocabulary
 */
#include <float.h>
#include <math.h>

#include "cpu/cpu.h"
#include "cpu/vec.h"

/* Blocks of one item: a single row of a large vocabulary keeps several threads busy. */
#define PART 16

/* Partial sums of a block. So many that each adds up few terms: a block's sum of positive FP32 numbers is then off by at
 * most 9 roundings, 5.4e-7 of it. */
#define N_SUMS 8

/* Costs in multiply-adds: comparing a logit, its exponential, and the rescaling of a block. */
#define COMPARE_COST 0.5
#define EXP_COST     16.0
#define RESCALE_COST 256.0

struct job {
    const float *logits;
    int V, n_blocks, n_parts;
    struct sy_logit_scan *scans;
};

/* Elements i .. of x; those behind the n-th are -inf, which is never the largest and adds zero. */
VEC_INLINE vf load(const float *x, int n, int i)
{
    int lanes = vec_lanes(n, i);
    return lanes == VEC_N ? vec_load(x + i) : vec_select_range(vec_load_n(x + i, lanes), vec_set(-INFINITY), 0, lanes);
}

/* vec_max() keeps its second argument when the first is NaN: so do these. */
VEC_INLINE float largest(const float *x, int n)
{
    vf most[4];

    VEC_UNROLL
    for (int j = 0; j < 4; j++)
        most[j] = vec_set(-INFINITY);
    for (int i = 0; i < n; i += 4 * VEC_N) {
        VEC_UNROLL
        for (int j = 0; j < 4; j++) {
            if (i + j * VEC_N < n)
                most[j] = vec_max(load(x, n, i + j * VEC_N), most[j]);
        }
    }
    return vec_largest(vec_max(vec_max(most[0], most[1]), vec_max(most[2], most[3])));
}

/* Sum of exp((x - max) / temperature). NaN, and what is not finite after the subtraction, counts as exp(-104) = 0. */
VEC_INLINE float sum_exp(const float *x, int n, float max, float temperature)
{
    /* Where 1 / temperature is infinite, 0 times it must be 0 still. */
    vf inverse = vec_set(fminf(1.0f / temperature, FLT_MAX)), least = vec_set(-104.0f);
    vf sums[N_SUMS];

    VEC_UNROLL
    for (int j = 0; j < N_SUMS; j++)
        sums[j] = vec_zero();
    for (int i = 0; i < n; i += N_SUMS * VEC_N) {
        VEC_UNROLL
        for (int j = 0; j < N_SUMS; j++) {
            if (i + j * VEC_N < n) {
                vf depth = vec_mul(vec_sub(load(x, n, i + j * VEC_N), vec_set(max)), inverse);
                sums[j] = vec_add(sums[j], vec_exp(vec_max(depth, least)));
            }
        }
    }
    VEC_UNROLL
    for (int step = N_SUMS / 2; step > 0; step /= 2) {
        VEC_UNROLL
        for (int j = 0; j < step; j++)
            sums[j] = vec_add(sums[j], sums[j + step]);
    }
    return vec_sum(sums[0]);
}

/* One block: its largest logit and its sums relative to that. The compiler makes a straight line of it where n is a
 * constant. */
VEC_INLINE void scan_block(const struct sy_logit_scan *scan, int b, const float *x, int n)
{
    float most = largest(x, n);

    scan->block_max[b] = most;
    if (scan->temperature > 0)
        scan->block_weight[b] = (double)sum_exp(x, n, most, scan->temperature);
    if (scan->want_log_sum && scan->temperature != 1)
        scan->block_exp[b] = (double)sum_exp(x, n, most, 1.0f);
}

static void blocks_item(void *arg, int item, int thread)
{
    const struct job *job = arg;
    int row = item / job->n_parts, first = item % job->n_parts * PART;
    const float *x = job->logits + (size_t)row * (size_t)job->V;

    (void)thread;
    for (int b = first; b < job->n_blocks && b < first + PART; b++) {
        int begin = b * SY_LOGIT_BLOCK;
        if (job->V - begin >= SY_LOGIT_BLOCK)
            scan_block(&job->scans[row], b, x + begin, SY_LOGIT_BLOCK);
        else
            scan_block(&job->scans[row], b, x + begin, job->V - begin);
    }
}

/* Make sums that are relative to each block's largest logit relative to the row's. Returns their sum, in order of blocks
 * whoever computed them. */
static double add_blocks(const struct sy_logit_scan *scan, int n_blocks, double *sums, double temperature)
{
    double total = 0.0;

    for (int b = 0; b < n_blocks; b++) {
        sums[b] *= exp(((double)scan->block_max[b] - (double)scan->max) / temperature);
        total += sums[b];
    }
    return total;
}

/* A row's results from those of its blocks. */
static void row_item(void *arg, int item, int thread)
{
    const struct job *job = arg;
    struct sy_logit_scan *scan = &job->scans[item];
    const float *x = job->logits + (size_t)item * (size_t)job->V;
    int best = 0, id;

    (void)thread;
    for (int b = 1; b < job->n_blocks; b++)
        best = scan->block_max[b] > scan->block_max[best] ? b : best;
    scan->max = scan->block_max[best];
    /* Only in a row without a number, where block 0 is the best, is there none that is equal. */
    for (id = best * SY_LOGIT_BLOCK; id < job->V && x[id] != scan->max;)
        id++;
    scan->argmax = id < job->V ? id : 0;
    if (scan->temperature > 0)
        scan->weight = isfinite(scan->max) ? add_blocks(scan, job->n_blocks, scan->block_weight, scan->temperature) : 0;
    if (scan->want_log_sum) {
        double sum = scan->temperature == 1 ? scan->weight : 0;
        if (scan->temperature != 1 && isfinite(scan->max))
            sum = add_blocks(scan, job->n_blocks, scan->block_exp, 1.0);
        scan->log_sum = isfinite(scan->max) ? (double)scan->max + log(sum) : (double)scan->max;
    }
}

void SY_CPU(scan_logits)(struct sy_queue *q, const float *logits, int T, int V, struct sy_logit_scan *scans)
{
    int n_blocks = sy_logit_blocks(V);
    struct job job = {logits, V, n_blocks, (n_blocks + PART - 1) / PART, scans};
    double n_sums = 0;

    for (int t = 0; t < T; t++)
        n_sums += (scans[t].temperature > 0) + (scans[t].want_log_sum && scans[t].temperature != 1);
    sy_queue_run(q, T * job.n_parts, (COMPARE_COST * T + EXP_COST * n_sums) * V, blocks_item, &job);
    sy_queue_run(q, T, (COMPARE_COST * T + RESCALE_COST * n_sums) * n_blocks, row_item, &job);
}
