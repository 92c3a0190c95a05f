/* SPDX-License-Identifier: Apache-2.0
 * placement.c - which rank holds which expert
 */
#include "placement.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

void sy_placement_destroy(struct sy_placement *placement)
{
    if (!placement)
        return;
    free(placement->first);
    free(placement->homes);
    free(placement);
}

enum sy_status sy_placement_even(int n_layers, int n_experts, int n_ranks, struct sy_placement **out,
                                 struct sy_error *err)
{
    if (n_layers < 0 || n_experts < 1 || n_ranks < 1)
        return sy_error_set(err, SY_ERR_USAGE,
                            "no placement of %d layers of %d experts on %d ranks: one expert and one "
                            "rank at least are needed",
                            n_layers, n_experts, n_ranks);
    if (n_ranks > n_experts)
        return sy_error_set(err, SY_ERR_USAGE,
                            "%d ranks cannot share %d experts, since a rank without experts would do "
                            "nothing; start at most %d ranks",
                            n_ranks, n_experts, n_experts);
    size_t n_homes = (size_t)n_layers * (size_t)n_experts;
    if (n_homes >= INT_MAX)
        return sy_error_set(err, SY_ERR_USAGE, "%d layers of %d experts are more than a placement can have", n_layers,
                            n_experts);
    struct sy_placement *placement = calloc(1, sizeof *placement);
    if (!placement)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a placement");
    placement->n_layers = n_layers;
    placement->n_experts = n_experts;
    placement->n_ranks = n_ranks;
    placement->first = malloc((n_homes + 1) * sizeof *placement->first);
    placement->homes = malloc((n_homes + 1) * sizeof *placement->homes);
    if (!placement->first || !placement->homes) {
        sy_placement_destroy(placement);
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the placement of %zu experts", n_homes);
    }
    size_t at = 0;
    for (int layer = 0; layer < n_layers; layer++) {
        for (int expert = 0, rank = -1, slot = 0; expert < n_experts; expert++, slot++) {
            int owner = (int)((int64_t)expert * n_ranks / n_experts);
            if (owner != rank) {
                rank = owner;
                slot = 0;
            }
            placement->first[at] = (int)at;
            placement->homes[at++] = (struct sy_home){rank, slot};
        }
    }
    placement->first[at] = (int)at;
    *out = placement;
    return SY_OK;
}

int sy_placement_n_local(const struct sy_placement *placement, int layer, int rank)
{
    const int *first = placement->first + (size_t)layer * (size_t)placement->n_experts;
    int n = 0;

    for (int i = first[0]; i < first[placement->n_experts]; i++)
        n += placement->homes[i].rank == rank;
    return n;
}

int sy_placement_expert_at(const struct sy_placement *placement, int layer, int rank, int slot)
{
    const int *first = placement->first + (size_t)layer * (size_t)placement->n_experts;

    for (int expert = 0; expert < placement->n_experts; expert++)
        for (int i = first[expert]; i < first[expert + 1]; i++)
            if (placement->homes[i].rank == rank && placement->homes[i].slot == slot)
                return expert;
    return -1;
}

/* A home on the source itself costs no traffic; otherwise replicas are taken in turn by the sources, so that they share the
 * load and the choice does not depend on anything but the arguments. */
struct sy_home sy_placement_choose(const struct sy_placement *placement, int layer, int expert, int source)
{
    const int *first = placement->first + (size_t)layer * (size_t)placement->n_experts + expert;
    int n = first[1] - first[0];

    /* Of most there is one, and dividing would take longer than all else here. */
    if (n == 1)
        return placement->homes[first[0]];
    for (int i = first[0]; i < first[1]; i++)
        if (placement->homes[i].rank == source)
            return placement->homes[i];
    return placement->homes[first[0] + source % n];
}
