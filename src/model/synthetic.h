/* SPDX-License-Identifier: Apache-2.0
 * synthetic.h - a checkpoint that exists only as a shape and a seed
 *
 * It has the config.json and the table of tensors that a published checkpoint of this shape would have, and goes through the
 * same parser; its tensors are computed when they are fetched. A byte of a tensor depends on the seed, the tensor and the
 * byte's place alone, so all ranks see the same weights, whatever part of them they fetch.
 *
 * Weights are random BF16: symmetric about zero with a standard deviation of about 1 for the embedding and 1 / sqrt(K) for
 * a matrix of K inputs, so that activations stay near 1 and every expert is chosen about as often; norm weights are about 1.
 */
#ifndef SY_MODEL_SYNTHETIC_H
#define SY_MODEL_SYNTHETIC_H

#include "model/checkpoint.h"
#include "model/shapes.h"

/* Make the checkpoint of a shape. Errors: SY_ERR_SYSTEM; SY_ERR_DATA when the parser refuses the shape (more tensors than
 * it takes, for example). The caller closes it. */
enum sy_status sy_checkpoint_synthetic(const struct sy_shape *shape, uint64_t seed, struct sy_checkpoint **ckpt,
                                       struct sy_error *err);

#endif
