/* SPDX-License-Identifier: Apache-2.0
 * bind.h - from a config and a table of tensors to the sources of every weight
 */
#ifndef SY_MODEL_BIND_H
#define SY_MODEL_BIND_H

#include "model/config.h"

/* Find every tensor that model needs and fill in its sources, layers and the shapes that tensors decide (V, E, F, dense
 * width, kind of qk-norm, tied, dtype). The scalar fields that config decides must be set. On error the caller destroys
 * model, which is in a state that sy_model_destroy() takes.
 * Errors: SY_ERR_DATA with file, tensor, expected and found shape or type; SY_ERR_SYSTEM. */
enum sy_status sy_model_bind(struct sy_model *model, const struct sy_config *config, const struct sy_checkpoint *ckpt,
                             struct sy_error *err);

/* Why a tensor that nothing asked for may be left out; NULL where that would change what the model computes. */
const char *sy_bind_aside(const struct sy_model *model, const char *name);

#endif
