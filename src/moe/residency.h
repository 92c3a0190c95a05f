/* SPDX-License-Identifier: Apache-2.0
 * residency.h - which experts' weights are where the kernels can reach them
 *
 * The MoE layer asks before it uses an expert and says when it is done. Today every expert of a rank is resident, so this
 * is a table lookup; loading on demand will live behind the same calls.
 */
#ifndef SY_MOE_RESIDENCY_H
#define SY_MOE_RESIDENCY_H

#include "model/shard.h"

struct sy_residency {
    int n_layers, max_slots;
    const struct sy_expert_weights *experts; /* [n_layers * max_slots], layer-major; empty for dense layers */
};

/* Weights of a slot of a layer, ready to use until released. */
static inline const struct sy_expert_weights *sy_residency_acquire(struct sy_residency *residency, int layer, int slot)
{
    return &residency->experts[layer * residency->max_slots + slot];
}

#endif
