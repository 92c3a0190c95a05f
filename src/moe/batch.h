/* SPDX-License-Identifier: Apache-2.0
 * batch.h - sizes of one batch of expert tiles
 */
#ifndef SY_MOE_BATCH_H
#define SY_MOE_BATCH_H

/* Most rows of one batch: bounds the buffers of activations and results. Results for others leave when their batch is done,
 * so with several ranks a batch is smaller; small ones cost experts with many rows some speed. */
#define SY_BATCH_ROWS        512
#define SY_BATCH_ROWS_SHARED 128

/* Most rows whose results wait for their peers' credit, and one batch more of this rank's own meanwhile. */
#define SY_WAITING_ROWS (SY_BATCH_ROWS + SY_BATCH_ROWS_SHARED)

/* Weights are most of what a layer reads, and an expert that runs apart for the rows of others, or before all have come,
 * will have them read again. So it does so only with this many rows, and before all have come only when nothing has moved
 * for so long. */
#define SY_TILE_ROWS_MIN 32
#define SY_PATIENCE_NS   50000

#endif
