/* SPDX-License-Identifier: Apache-2.0
 * holding.h - the weights that each of R ranks holds
 *
 * A pure function of the model, the kernels and R: no other rank is asked, so that one process can tell what any number of
 * them would hold. A session lays out its own rank in the same way.
 */
#ifndef SY_ENGINE_HOLDING_H
#define SY_ENGINE_HOLDING_H

#include "model/shard.h"
#include "placement.h"

/* Lay out the weights of one rank of a placement (sy_shard_create()). */
enum sy_status sy_holding_shard(const struct sy_model *model, const struct sy_kernels *kernels,
                                const struct sy_placement *placement, int rank, struct sy_shard **shard,
                                struct sy_error *err);

struct sy_holding {
    int n_ranks;
    int experts_most, experts_least;              /* of each layer on a rank */
    size_t dense_bytes;                           /* once a node, in memory */
    size_t expert_bytes_most, expert_bytes_least; /* of a rank, in memory */
};

/* What n_ranks ranks would hold. Errors: SY_ERR_USAGE (more ranks than experts), SY_ERR_SYSTEM. */
enum sy_status sy_holding_count(const struct sy_model *model, const struct sy_kernels *kernels, int n_ranks,
                                struct sy_holding *holding, struct sy_error *err);

#endif
