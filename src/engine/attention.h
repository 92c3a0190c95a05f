/* SPDX-License-Identifier: Apache-2.0
 * attention.h - the attention half of a layer
 */
#ifndef SY_ENGINE_ATTENTION_H
#define SY_ENGINE_ATTENTION_H

#include "engine/forward.h"

/* x[t] += attention output of row t of the batch (projected by o), for layer l and query heads [head_begin, head_end):
 * all of them, or one rank's range under tensor parallelism. Reads forward->h_rows (normalised rows); writes the keys and
 * values of the batch to the cache. Adds to forward->x. */
void sy_attention_run(struct sy_forward *forward, const struct sy_batch *batch, int l, int head_begin, int head_end);

#endif
