/* SPDX-License-Identifier: Apache-2.0
 * shapes.h - sizes of models that are known by name, for measurements without a checkpoint
 */
#ifndef SY_MODEL_SHAPES_H
#define SY_MODEL_SHAPES_H

#include <stddef.h>

#include "model/model.h"

/* Every layer has experts, no matrix has a bias, and the output projection is not the embedding. */
struct sy_shape {
    const char *name;
    const char *about;        /* what it is, for --help and messages */
    const char *architecture; /* as config.json has it */
    int n_layers, hidden, n_heads, n_kv_heads, head_dim;
    int n_experts, top_k, expert_width, vocab, max_context;
    enum sy_qk_norm qk_norm;
    bool normalise; /* divide the weights of the top-k by their sum */
    double norm_eps, rope_theta;
};

/* The table, and the row of a name (NULL when there is none). */
const struct sy_shape *sy_shapes(size_t *n_shapes);
const struct sy_shape *sy_shape_find(const char *name);

#endif
