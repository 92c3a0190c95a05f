/* SPDX-License-Identifier: Apache-2.0
 * batch.h - sizes of one batch of expert tiles
 */
#ifndef SY_MOE_BATCH_H
#define SY_MOE_BATCH_H

/* Rows of one batch: bounds the buffers of activations and results, and how long chunks wait between two polls. */
#define SY_BATCH_ROWS 512

/* While rows still arrive, an expert runs once it has this many: enough to read its weights only a few times in all. */
#define SY_TILE_ROWS_MIN 32

#endif
