/* SPDX-License-Identifier: Apache-2.0
 * blocks.h - the memory of a rank's weights: dense ones and its experts
 *
 * The checkpoint is read into memory of the host. A CPU computes from there, and the dense block is one for all ranks of a
 * node. A GPU gets copies; the host's experts go once they are there.
 */
#ifndef SY_ENGINE_BLOCKS_H
#define SY_ENGINE_BLOCKS_H

#include "base/pool.h"
#include "comm/group.h"
#include "kernels.h"
#include "model/shard.h"

struct sy_blocks {
    const struct sy_kernels *kernels;
    size_t dense_bytes, expert_bytes;
    void *dense, *experts;             /* of the host */
    int dense_shared;                  /* dense is one for the node */
    void *device_dense, *device_experts; /* NULL on a CPU */
};

/* Make the blocks of a shard and place its weights in them. Collective over the node. Errors: as sy_group_share();
 * SY_ERR_SYSTEM. */
enum sy_status sy_blocks_make(struct sy_blocks *blocks, const struct sy_kernels *kernels, struct sy_group *group,
                              struct sy_shard *shard, struct sy_error *err);

/* After loading, once all ranks of the node have read their parts: bring the weights to where they are used. */
enum sy_status sy_blocks_upload(struct sy_blocks *blocks, struct sy_queue *queue, struct sy_pool *pool,
                                struct sy_error *err);

void sy_blocks_free(struct sy_blocks *blocks);

#endif
