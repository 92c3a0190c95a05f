/* SPDX-License-Identifier: Apache-2.0
 * blocks.h - the memory of a rank's weights, dense ones and its experts, and how they get there
 *
 * A CPU computes where the checkpoint is read to, and the dense block is one for all ranks of a node. A GPU's blocks are its
 * own. They are packed in windows in memory of the host that the GPU sees, two that take turns: one is packed while the other
 * travels. Windows of the dense block are packed by all ranks of a node together.
 */
#ifndef SY_ENGINE_BLOCKS_H
#define SY_ENGINE_BLOCKS_H

#include "base/pool.h"
#include "base/progress.h"
#include "comm/group.h"
#include "kernels.h"
#include "model/checkpoint.h"
#include "model/shard.h"

#define SY_WINDOW_BYTES ((size_t)64 << 20) /* unless one matrix needs more */

struct sy_blocks {
    const struct sy_kernels *kernels;
    struct sy_group *group;
    void *dense, *experts; /* where they are computed with */
    size_t dense_bytes, expert_bytes;
    int dense_shared; /* the dense block, or its windows, are one for the node */
    /* Of a GPU, until everything is loaded */
    struct sy_queue *queue;
    size_t window_bytes, dense_window, expert_window;
    uint8_t *common, *own; /* [2 * dense_window], [2 * expert_window] */
    bool seen;             /* common, by the GPU */
    int n_taken;           /* windows of the present kind */
    struct sy_error error; /* of a copy */
};

/* Make the blocks of a shard and place its weights in them. window_bytes: SY_WINDOW_BYTES, except in tests. Collective over
 * the node. Errors: as sy_group_share(); SY_ERR_SYSTEM. */
enum sy_status sy_blocks_make(struct sy_blocks *blocks, const struct sy_kernels *kernels, struct sy_group *group,
                              struct sy_shard *shard, size_t window_bytes, struct sy_error *err);

/* Bytes of the checkpoint that this rank will read. */
uint64_t sy_blocks_read_bytes(const struct sy_blocks *blocks, const struct sy_shard *shard);

/* Read this rank's part. All is there when every rank of the node is done. Collective over the node. Errors: as
 * sy_shard_load(), queue_sync() and sy_group_node_barrier(). */
enum sy_status sy_blocks_load(struct sy_blocks *blocks, struct sy_shard *shard, struct sy_checkpoint *ckpt,
                              struct sy_queue *queue, struct sy_pool *pool, struct sy_progress *progress,
                              struct sy_error *err);

void sy_blocks_free(struct sy_blocks *blocks);

#endif
