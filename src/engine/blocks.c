/* SPDX-License-Identifier: Apache-2.0
 * blocks.c - where a rank's weights are read to, and where they are computed with
 */
#include "engine/blocks.h"

#include "arena.h"

/* A GPU's memory, and what windows of the dense block are packed in. */
static enum sy_status make_on_device(struct sy_blocks *blocks, struct sy_error *err)
{
    const struct sy_kernels *k = blocks->kernels;

    blocks->dense = k->alloc(blocks->dense_bytes);
    blocks->experts = k->alloc(blocks->expert_bytes);
    if (!blocks->dense || !blocks->experts)
        return sy_no_memory(k, blocks->dense_bytes + blocks->expert_bytes, "weights", err);
    enum sy_status st = blocks->common ? k->share_host(blocks->common, 2 * blocks->dense_window, err) : SY_OK;
    blocks->seen = blocks->common && !st;
    return st;
}

static enum sy_status make_experts(struct sy_blocks *blocks, struct sy_error *err)
{
    blocks->experts = blocks->kernels->alloc(blocks->expert_bytes);
    return blocks->experts ? SY_OK : sy_no_memory(blocks->kernels, blocks->expert_bytes, "experts", err);
}

enum sy_status sy_blocks_make(struct sy_blocks *blocks, const struct sy_kernels *kernels, struct sy_group *group,
                              struct sy_shard *shard, size_t window_bytes, struct sy_error *err)
{
    void *shared = NULL;

    *blocks = (struct sy_blocks){.kernels = kernels,
                                 .group = group,
                                 .dense_bytes = shard->dense_bytes,
                                 .expert_bytes = shard->expert_bytes,
                                 .window_bytes = window_bytes,
                                 .dense_window = sy_shard_window_bytes(shard, false, window_bytes),
                                 .expert_window = sy_shard_window_bytes(shard, true, window_bytes),
                                 .error = SY_ERROR_INIT};
    enum sy_status st = sy_group_share(group, kernels->on_device ? 2 * blocks->dense_window : blocks->dense_bytes,
                                       &shared, &blocks->dense_shared, err);
    if (kernels->on_device)
        blocks->common = shared;
    else
        blocks->dense = shared;
    if (!st)
        st = sy_group_agree(group, kernels->on_device ? make_on_device(blocks, err) : make_experts(blocks, err), err);
    if (!st)
        sy_shard_place(shard, blocks->dense, blocks->experts);
    return st;
}

static void free_windows(struct sy_blocks *blocks)
{
    const struct sy_kernels *k = blocks->kernels;

    if (blocks->seen)
        k->unshare_host(blocks->common);
    sy_group_unshare(blocks->common, 2 * blocks->dense_window);
    if (blocks->own)
        k->free_host(blocks->own, 2 * blocks->expert_window);
    blocks->common = blocks->own = NULL;
    blocks->seen = false;
}

/* Windows of experts come when those of the dense block are on their way. */
static enum sy_status begin_experts(struct sy_blocks *blocks, struct sy_error *err)
{
    enum sy_status st = blocks->kernels->queue_sync(blocks->queue, err);

    if (st)
        return st;
    free_windows(blocks);
    blocks->n_taken = 0;
    blocks->own = blocks->kernels->alloc_host(2 * blocks->expert_window);
    return blocks->own ? SY_OK
                       : sy_no_memory(blocks->kernels, 2 * blocks->expert_window, "pinned memory to load through", err);
}

static enum sy_status take(void *ctx, const struct sy_window *window, uint8_t **memory, struct sy_error *err)
{
    struct sy_blocks *blocks = ctx;
    enum sy_status st = window->expert && !blocks->own ? begin_experts(blocks, err) : SY_OK;

    if (!st)
        *memory = window->expert ? blocks->own + (size_t)(blocks->n_taken % 2) * blocks->expert_window
                                 : blocks->common + (size_t)(blocks->n_taken % 2) * blocks->dense_window;
    blocks->n_taken++;
    return st;
}

/* The window before this one has arrived by now, here and, after the barrier, on every rank of the node, so its memory is for
 * the next one. An error of this rank's own waits, for the others come to every barrier. */
static enum sy_status give(void *ctx, const struct sy_window *window, const uint8_t *memory, struct sy_error *err)
{
    struct sy_blocks *blocks = ctx;
    const struct sy_kernels *k = blocks->kernels;
    enum sy_status st = SY_OK;

    if (!blocks->error.status)
        k->queue_sync(blocks->queue, &blocks->error);
    if (!window->expert && blocks->dense_shared)
        st = sy_group_node_barrier(blocks->group, err);
    if (!st && memory && !blocks->error.status)
        k->copy(blocks->queue, (uint8_t *)(window->expert ? blocks->experts : blocks->dense) + window->begin, memory,
                window->bytes);
    return st;
}

/* Ranks that read the dense block together. */
static int n_readers(const struct sy_blocks *blocks)
{
    return blocks->dense_shared ? sy_group_node_size(blocks->group) : 1;
}

uint64_t sy_blocks_read_bytes(const struct sy_blocks *blocks, const struct sy_shard *shard)
{
    return shard->dense_read_bytes / (uint64_t)n_readers(blocks) + shard->expert_read_bytes;
}

enum sy_status sy_blocks_load(struct sy_blocks *blocks, struct sy_shard *shard, struct sy_checkpoint *ckpt,
                              struct sy_queue *queue, struct sy_pool *pool, struct sy_progress *progress,
                              struct sy_error *err)
{
    int n_parts = n_readers(blocks), part = n_parts > 1 ? sy_group_node_rank(blocks->group) : 0;
    struct sy_windows windows = {.bytes = blocks->window_bytes, .take = take, .give = give, .ctx = blocks};

    if (!blocks->kernels->on_device)
        return sy_shard_load(shard, ckpt, part, n_parts, pool, progress, NULL, err);
    blocks->queue = queue;
    enum sy_status st = sy_shard_load(shard, ckpt, part, n_parts, pool, progress, &windows, err);
    if (!blocks->error.status)
        blocks->kernels->queue_sync(queue, &blocks->error);
    if (!st && blocks->error.status) {
        st = blocks->error.status;
        *err = blocks->error;
    }
    free_windows(blocks);
    return st;
}

void sy_blocks_free(struct sy_blocks *blocks)
{
    const struct sy_kernels *k = blocks->kernels;

    if (!k)
        return;
    free_windows(blocks);
    if (k->on_device)
        k->free(blocks->dense, blocks->dense_bytes);
    else
        sy_group_unshare(blocks->dense, blocks->dense_bytes);
    k->free(blocks->experts, blocks->expert_bytes);
    *blocks = (struct sy_blocks){0};
}
