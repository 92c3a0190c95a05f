/* SPDX-License-Identifier: Apache-2.0
 * blocks.c - where a rank's weights are read to, and where they are computed with
 */
#include "engine/blocks.h"

#include <string.h>

#include "arena.h"

/* Two pieces of pinned memory take turns: one is filled while the other travels. */
#define PIECE_BYTES ((size_t)64 << 20)
#define ITEM_BYTES  ((size_t)2 << 20)

static enum sy_status make_private(struct sy_blocks *blocks, struct sy_error *err)
{
    const struct sy_kernels *k = blocks->kernels;

    /* A GPU's pages are not for reading files into: these are plain memory for as long as loading takes. */
    blocks->experts = k->on_device ? sy_kernels_ref()->alloc(blocks->expert_bytes) : k->alloc(blocks->expert_bytes);
    if (!blocks->experts)
        return sy_no_memory(sy_kernels_ref(), blocks->expert_bytes, "experts", err);
    if (!k->on_device)
        return SY_OK;
    blocks->device_dense = k->alloc(blocks->dense_bytes);
    blocks->device_experts = k->alloc(blocks->expert_bytes);
    return blocks->device_dense && blocks->device_experts
               ? SY_OK
               : sy_no_memory(blocks->kernels, blocks->dense_bytes + blocks->expert_bytes, "weights", err);
}

enum sy_status sy_blocks_make(struct sy_blocks *blocks, const struct sy_kernels *kernels, struct sy_group *group,
                              struct sy_shard *shard, struct sy_error *err)
{
    *blocks = (struct sy_blocks){
        .kernels = kernels, .dense_bytes = shard->dense_bytes, .expert_bytes = shard->expert_bytes};
    enum sy_status st = sy_group_share(group, blocks->dense_bytes, &blocks->dense, &blocks->dense_shared, err);
    if (!st)
        st = sy_group_agree(group, make_private(blocks, err), err);
    if (st)
        return st;
    if (!kernels->on_device) {
        sy_shard_place(shard, blocks->dense, blocks->experts);
        return SY_OK;
    }
    sy_shard_place(shard, blocks->device_dense, blocks->device_experts);
    sy_shard_stage(shard, blocks->dense, blocks->experts);
    return SY_OK;
}

struct piece {
    uint8_t *to;
    const uint8_t *from;
    size_t bytes;
};

static void fill(void *arg, int item, int thread)
{
    const struct piece *piece = arg;
    size_t at = (size_t)item * ITEM_BYTES, left = piece->bytes - at;

    (void)thread;
    memcpy(piece->to + at, piece->from + at, left < ITEM_BYTES ? left : ITEM_BYTES);
}

static enum sy_status upload(const struct sy_blocks *blocks, struct sy_queue *queue, struct sy_pool *pool,
                             uint8_t *pieces, const void *from, void *to, size_t bytes, struct sy_error *err)
{
    enum sy_status st = SY_OK;

    for (size_t at = 0, n = 0; at < bytes && !st; at += PIECE_BYTES, n++) {
        struct piece piece = {pieces + n % 2 * PIECE_BYTES, (const uint8_t *)from + at,
                              bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES};
        sy_pool_run(pool, (int)((piece.bytes + ITEM_BYTES - 1) / ITEM_BYTES), fill, &piece);
        /* The one before has had that long to arrive, and gives its place to the next one. */
        st = blocks->kernels->queue_sync(queue, err);
        blocks->kernels->copy(queue, (uint8_t *)to + at, piece.to, piece.bytes);
    }
    return st ? st : blocks->kernels->queue_sync(queue, err);
}

enum sy_status sy_blocks_upload(struct sy_blocks *blocks, struct sy_queue *queue, struct sy_pool *pool,
                                struct sy_error *err)
{
    const struct sy_kernels *k = blocks->kernels;

    if (!k->on_device)
        return SY_OK;
    uint8_t *pieces = k->alloc_host(2 * PIECE_BYTES);
    if (!pieces)
        return sy_no_memory(blocks->kernels, 2 * PIECE_BYTES, "pinned memory to load through", err);
    enum sy_status st = upload(blocks, queue, pool, pieces, blocks->dense, blocks->device_dense, blocks->dense_bytes,
                               err);
    if (!st)
        st = upload(blocks, queue, pool, pieces, blocks->experts, blocks->device_experts, blocks->expert_bytes, err);
    k->free_host(pieces, 2 * PIECE_BYTES);
    sy_kernels_ref()->free(blocks->experts, blocks->expert_bytes);
    blocks->experts = NULL;
    return st;
}

void sy_blocks_free(struct sy_blocks *blocks)
{
    const struct sy_kernels *k = blocks->kernels;

    if (!k)
        return;
    sy_group_unshare(blocks->dense, blocks->dense_bytes);
    if (blocks->experts)
        (k->on_device ? sy_kernels_ref() : k)->free(blocks->experts, blocks->expert_bytes);
    if (blocks->device_dense)
        k->free(blocks->device_dense, blocks->dense_bytes);
    if (blocks->device_experts)
        k->free(blocks->device_experts, blocks->expert_bytes);
    *blocks = (struct sy_blocks){0};
}
