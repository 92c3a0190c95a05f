/* SPDX-License-Identifier: Apache-2.0
 * attention.h - the attention half of a layer
 */
#ifndef SY_ENGINE_ATTENTION_H
#define SY_ENGINE_ATTENTION_H

#include "engine/forward.h"

/* x[t] += attention output of row t of the batch (projected by o), for layer l and query heads [head_begin, head_end):
 * all of them, or one rank's range under tensor parallelism. Reads forward->h_rows (normalised rows); writes the keys and
 * values of the batch to the cache. Adds to forward->x. */
void sy_attention_run(struct sy_forward *forward, int l, int head_begin, int head_end);

/* Attention of rows first .. first + all->n_rows - 1 of the batch, which `all` describes but for `decode`; q and out are of
 * row `first`. A GPU takes rows of prompts and of generated tokens apart. */
void sy_attention_rows(const struct sy_forward *forward, const struct sy_attention *all, int first);

/* x[t] += residual_scale * o(context[t]), T rows of context with `width` elements each: how both end. */
void sy_attention_project(struct sy_forward *forward, int T, const struct sy_layer_weights *weights, int width);

/* sy_attention_run() with multi-head latent attention, for a model with mla.kv_lora_rank. */
void sy_mla_run(struct sy_forward *forward, int l, int head_begin, int head_end);

#endif
