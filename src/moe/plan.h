/* SPDX-License-Identifier: Apache-2.0
 * plan.h - from the top-k ids of a step: who gets which row
 *
 * A token travels once to each distinct rank that holds one of its experts (a row); with it go the (slot, k) pairs that
 * it meets there. A pure function of ids and placement: a stable counting sort over (rank, token, k) without atomics, so
 * the order is the same every time.
 *
 * Letters: T tokens of this rank, K experts per token, R ranks.
 */
#ifndef SY_MOE_PLAN_H
#define SY_MOE_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "placement.h"

struct sy_plan {
    int n_ranks, top_k, max_tokens;
    int n_rows, n_pairs;
    int *row_first;       /* [R + 1] rows for rank p are row_first[p] .. row_first[p + 1] - 1 */
    uint32_t *row_token;  /* [n_rows] the token of a row, rising within a rank */
    int *pair_first;      /* [n_rows + 1] pairs of row i */
    uint32_t *pair_slot;  /* [n_pairs] slot of the expert on its rank */
    uint32_t *pair_index; /* [n_pairs] t * K + k, where the result goes */
    /* Scratch of sy_plan_make(), all [R]. */
    int *row_next, *pair_next, *seen;
    struct sy_home *homes; /* [T * K] */
};

/* Bytes of an arena that sy_plan_init() takes. */
size_t sy_plan_bytes(int max_tokens, int top_k, int n_ranks);
void sy_plan_init(struct sy_plan *plan, int max_tokens, int top_k, int n_ranks, struct sy_arena *arena);

/* Plan T <= max_tokens tokens of rank `source`. ids: [T, K] expert ids. */
void sy_plan_make(struct sy_plan *plan, const struct sy_placement *placement, int layer, int source, const int32_t *ids,
                  int T);

/* The order in which `rank` serves the other n_ranks - 1: those of other nodes first, whose rows take longest, and among both
 * from its right neighbour on, so that not all send to one at first. node_of: [n_ranks] */
void sy_plan_peers(int rank, int n_ranks, const int *node_of, int *peers);

/* Rows and pairs for one rank. */
int sy_plan_n_rows(const struct sy_plan *plan, int rank);
int sy_plan_n_pairs(const struct sy_plan *plan, int rank);

/* The formula of what this rank puts on the wire for one layer, headers included:
 *   dispatch: for each other rank p, max(1, ceil(rows_p / chunk_rows)) headers, rows_p (row_bytes + 4), pairs_p * 8
 *   combine:  for each other rank p, ceil(n_p / chunk_rows) headers and n_p (row_bytes + 4), n_p the pairs that p sent here
 * incoming[p] is n_p. */
uint64_t sy_plan_wire_bytes(const struct sy_plan *plan, int source, int chunk_rows, size_t row_bytes,
                            const int *incoming);

#endif
