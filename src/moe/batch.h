/* SPDX-License-Identifier: Apache-2.0
 * batch.h - sizes of one batch of expert tiles
 */
#ifndef SY_MOE_BATCH_H
#define SY_MOE_BATCH_H

#include "moe/moe.h"

/* Most rows of one batch: bounds the buffers of activations and results. On a device a batch costs a wait of the host. */
static inline int sy_batch_rows(const struct sy_moe_config *config)
{
    return config->kernels->on_device ? 8192 : 512;
}

/* The same where results leave for other ranks when their batch is done, so that these need not wait long for the first;
 * small batches cost experts with many rows some speed. */
static inline int sy_batch_rows_shared(const struct sy_moe_config *config)
{
    return config->kernels->on_device ? 4096 : 128;
}

/* Most rows whose results wait for their peers' credit, and one batch more of this rank's own meanwhile. */
static inline int sy_waiting_rows(const struct sy_moe_config *config)
{
    return sy_batch_rows(config) + sy_batch_rows_shared(config);
}

/* Weights are most of what a layer reads, and an expert that runs apart for the rows of others, or before all have come,
 * will have them read again. So it does so only with this many rows, and before all have come only when nothing has moved
 * for so long. */
#define SY_TILE_ROWS_MIN 32
#define SY_PATIENCE_NS   50000

/* Rows of so many bytes are stored for a peer between devices ahead of the chunks that tell of them: the host waits for
 * copies once for all of those, and peers still begin while the rest is on its way. */
#define SY_AHEAD_BYTES ((size_t)16 << 20)

/* The same in whole chunks. */
static inline int sy_ahead_rows(const struct sy_moe_config *config)
{
    size_t row_bytes = (size_t)config->hidden * sy_dtype_bytes(config->wire);

    return (int)(SY_AHEAD_BYTES / row_bytes / (size_t)config->chunk_rows + 1) * config->chunk_rows;
}

#endif
