/* SPDX-License-Identifier: Apache-2.0
 * logits.c - logits of rows of a batch, and what the host sees of them
 */
#include "base/clock.h"
#include "base/range.h"
#include "engine/forward.h"

bool sy_forward_picks(const struct sy_forward *forward)
{
    return forward->config.kernels->on_device && forward->config.kernels->pick_logits;
}

struct sy_logit_pick *sy_forward_pick(struct sy_forward *forward, int i)
{
    struct sy_logit_pick *pick = &forward->picks[forward->n_picks++];

    pick->row = i;
    return pick;
}

enum sy_status sy_forward_logits(struct sy_forward *forward, const int *rows, int n_rows, bool want_logits,
                                 struct sy_error *err)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_model *model = config->model;
    const struct sy_kernels *k = config->kernels;
    size_t D = (size_t)model->hidden, V = (size_t)model->vocab;
    int64_t begin_ns = sy_clock_ns();

    SY_RANGE("logits");
    for (int i = 0; i < n_rows; i++)
        forward->logit_index[i] = (uint32_t)rows[i];
    k->copy_rows(config->queue, forward->logit_rows, NULL, forward->x, forward->logit_index, n_rows, D * sizeof(float));
    sy_forward_norm(forward, forward->logit_rows, n_rows, config->shard->final_norm, config->shard->final_norm_bias,
                    forward->logit_h, config->logit_rows);
    k->gemm(config->queue, &config->shard->lm_head, forward->logit_h, config->logit_rows, D, n_rows, 0, model->vocab,
            false, forward->device_logits, V);
    if (model->logits_scale != 1)
        k->scale(config->queue, forward->device_logits, V, n_rows, model->vocab, model->logits_scale);
    k->scan_logits(config->queue, forward->device_logits, n_rows, model->vocab, forward->scans);
    if (sy_forward_picks(forward))
        k->pick_logits(config->queue, forward->device_logits, model->vocab, forward->scans, forward->picks,
                       forward->n_picks);
    if (want_logits && forward->logits != forward->device_logits)
        k->copy(config->queue, forward->logits, forward->device_logits, (size_t)n_rows * V * sizeof(float));
    enum sy_status st = k->queue_sync(config->queue, err);
    forward->work.n_logit_rows += (uint64_t)n_rows;
    forward->logits_ns += sy_clock_ns() - begin_ns;
    return st;
}

enum sy_status sy_forward_fetch(struct sy_forward *forward, int i, struct sy_error *err)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_kernels *k = config->kernels;
    const struct sy_logit_scan *scan = &forward->scans[i];
    size_t V = (size_t)config->model->vocab, n_blocks = (size_t)sy_logit_blocks(config->model->vocab);

    k->copy(config->queue, forward->logits + (size_t)i * V, forward->device_logits + (size_t)i * V, V * sizeof(float));
    k->copy(config->queue, forward->row_max, scan->block_max, n_blocks * sizeof *forward->row_max);
    k->copy(config->queue, forward->row_sums, scan->block_weight, 2 * n_blocks * sizeof *forward->row_sums);
    forward->row_scan = *scan;
    forward->row_scan.block_max = forward->row_max;
    forward->row_scan.block_weight = forward->row_sums;
    forward->row_scan.block_exp = forward->row_sums + n_blocks;
    return k->queue_sync(config->queue, err);
}
