/* SPDX-License-Identifier: Apache-2.0
 * batch.h - sizes of one batch of expert tiles
 */
#ifndef SY_MOE_BATCH_H
#define SY_MOE_BATCH_H

/* Rows of one batch: bounds the buffers of activations and results, and how long chunks wait between two polls. */
#define SY_BATCH_ROWS 512

/* While rows still arrive, an expert that runs will have its weights read again for those that come later, and weights are
 * most of what a layer reads. So only one with this many rows runs then, and only when nothing has moved for so long. */
#define SY_TILE_ROWS_MIN 32
#define SY_PATIENCE_NS   200000

#endif
