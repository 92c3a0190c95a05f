/* SPDX-License-Identifier: Apache-2.0
 * placement.h - which rank holds which expert
 *
 * A pure function of its inputs, the same on every rank; no MPI. The table maps each logical expert of each layer to its
 * physical homes (rank, slot); there may be several (replicas), and the plan picks one by a fixed rule.
 */
#ifndef SY_TOPO_PLACEMENT_H
#define SY_TOPO_PLACEMENT_H

#include "base/status.h"

struct sy_home {
    int rank, slot; /* slot counts a rank's experts of one layer from 0 */
};

struct sy_placement {
    int n_layers, n_experts, n_ranks;
    int *first; /* [n_layers * n_experts + 1]: homes of expert e of layer l start at first[l * n_experts + e] */
    struct sy_home *homes; /* [first[n_layers * n_experts]] */
};

/* Even blocks: expert e of every layer lives on rank floor(e * R / E); ranks differ by at most one expert.
 * R > E is SY_ERR_USAGE: a rank without experts would do nothing. */
enum sy_status sy_placement_even(int n_layers, int n_experts, int n_ranks, struct sy_placement **placement,
                                 struct sy_error *err);

/* Experts of one layer on a rank. */
int sy_placement_n_local(const struct sy_placement *placement, int layer, int rank);

/* The logical expert in a slot of a rank, -1 when there is none. */
int sy_placement_expert_at(const struct sy_placement *placement, int layer, int rank, int slot);

/* The home that `source` rank sends its rows to. */
struct sy_home sy_placement_choose(const struct sy_placement *placement, int layer, int expert, int source);

void sy_placement_destroy(struct sy_placement *placement);

#endif
