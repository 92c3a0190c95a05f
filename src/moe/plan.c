/* SPDX-License-Identifier: Apache-2.0
 * plan.c - stable counting sort of a step's tokens by destination rank
 */
#include "moe/plan.h"

#include <string.h>

#include "moe/wire.h"

static int min_int(int a, int b)
{
    return a < b ? a : b;
}

size_t sy_plan_bytes(int max_tokens, int top_k, int n_ranks)
{
    size_t pairs = (size_t)max_tokens * (size_t)top_k;
    size_t rows = (size_t)max_tokens * (size_t)min_int(top_k, n_ranks);
    size_t ranks = (size_t)n_ranks;

    return sy_arena_round((ranks + 1) * sizeof(int)) + sy_arena_round(rows * sizeof(uint32_t)) +
           sy_arena_round((rows + 1) * sizeof(int)) + 2 * sy_arena_round(pairs * sizeof(uint32_t)) +
           3 * sy_arena_round(ranks * sizeof(int)) + sy_arena_round(pairs * sizeof(struct sy_home));
}

void sy_plan_init(struct sy_plan *plan, int max_tokens, int top_k, int n_ranks, struct sy_arena *arena)
{
    size_t pairs = (size_t)max_tokens * (size_t)top_k;
    size_t rows = (size_t)max_tokens * (size_t)min_int(top_k, n_ranks);
    size_t ranks = (size_t)n_ranks;

    *plan = (struct sy_plan){.n_ranks = n_ranks, .top_k = top_k, .max_tokens = max_tokens};
    plan->row_first = sy_arena_take(arena, (ranks + 1) * sizeof(int));
    plan->row_token = sy_arena_take(arena, rows * sizeof(uint32_t));
    plan->pair_first = sy_arena_take(arena, (rows + 1) * sizeof(int));
    plan->pair_slot = sy_arena_take(arena, pairs * sizeof(uint32_t));
    plan->pair_index = sy_arena_take(arena, pairs * sizeof(uint32_t));
    plan->row_next = sy_arena_take(arena, ranks * sizeof(int));
    plan->pair_next = sy_arena_take(arena, ranks * sizeof(int));
    plan->seen = sy_arena_take(arena, ranks * sizeof(int));
    plan->homes = sy_arena_take(arena, pairs * sizeof(struct sy_home));
}

/* Look every id up and count rows and pairs of each rank (into row_next and pair_next). */
static void count(struct sy_plan *plan, const struct sy_placement *placement, int layer, int source,
                  const int32_t *ids, int T)
{
    memset(plan->row_next, 0, (size_t)plan->n_ranks * sizeof(int));
    memset(plan->pair_next, 0, (size_t)plan->n_ranks * sizeof(int));
    memset(plan->seen, 0xff, (size_t)plan->n_ranks * sizeof(int));
    for (int t = 0; t < T; t++) {
        for (int k = 0; k < plan->top_k; k++) {
            int i = t * plan->top_k + k;
            struct sy_home home = sy_placement_choose(placement, layer, ids[i], source);
            plan->homes[i] = home;
            plan->pair_next[home.rank]++;
            if (plan->seen[home.rank] != t)
                plan->row_next[home.rank]++;
            plan->seen[home.rank] = t;
        }
    }
}

void sy_plan_make(struct sy_plan *plan, const struct sy_placement *placement, int layer, int source, const int32_t *ids,
                  int T)
{
    int rows = 0, pairs = 0;

    count(plan, placement, layer, source, ids, T);
    for (int p = 0; p < plan->n_ranks; p++) {
        int n_rows = plan->row_next[p], n_pairs = plan->pair_next[p];
        plan->row_first[p] = plan->row_next[p] = rows;
        plan->pair_next[p] = pairs;
        rows += n_rows;
        pairs += n_pairs;
    }
    plan->row_first[plan->n_ranks] = plan->n_rows = rows;
    plan->pair_first[rows] = plan->n_pairs = pairs;

    memset(plan->seen, 0xff, (size_t)plan->n_ranks * sizeof(int));
    for (int t = 0; t < T; t++) {
        for (int k = 0; k < plan->top_k; k++) {
            int i = t * plan->top_k + k, p = plan->homes[i].rank;
            if (plan->seen[p] != t) {
                int row = plan->row_next[p]++;
                plan->row_token[row] = (uint32_t)t;
                plan->pair_first[row] = plan->pair_next[p];
                plan->seen[p] = t;
            }
            int pair = plan->pair_next[p]++;
            plan->pair_slot[pair] = (uint32_t)plan->homes[i].slot;
            plan->pair_index[pair] = (uint32_t)i;
        }
    }
}

void sy_plan_peers(int rank, int n_ranks, const int *node_of, int *peers)
{
    int n = 0;

    for (int near = 0; near < 2; near++)
        for (int i = 1; i < n_ranks; i++) {
            int p = (rank + i) % n_ranks;
            if ((node_of[p] == node_of[rank]) == (near != 0))
                peers[n++] = p;
        }
}

int sy_plan_n_rows(const struct sy_plan *plan, int rank)
{
    return plan->row_first[rank + 1] - plan->row_first[rank];
}

int sy_plan_n_pairs(const struct sy_plan *plan, int rank)
{
    return plan->pair_first[plan->row_first[rank + 1]] - plan->pair_first[plan->row_first[rank]];
}

uint64_t sy_plan_wire_bytes(const struct sy_plan *plan, int source, int chunk_rows, size_t row_bytes,
                            const int *incoming)
{
    uint64_t bytes = 0;

    for (int p = 0; p < plan->n_ranks; p++) {
        if (p == source)
            continue;
        uint64_t rows = (uint64_t)sy_plan_n_rows(plan, p), pairs = (uint64_t)sy_plan_n_pairs(plan, p);
        uint64_t back = (uint64_t)incoming[p], chunk = (uint64_t)chunk_rows;
        uint64_t chunks = rows ? (rows + chunk - 1) / chunk : 1;
        bytes += sy_dispatch_chunk_bytes(0, 0, 0) * chunks + sy_dispatch_chunk_bytes(rows, pairs, row_bytes) -
                 sy_dispatch_chunk_bytes(0, 0, 0);
        bytes += sy_combine_chunk_bytes(0, 0) * ((back + chunk - 1) / chunk) + sy_combine_chunk_bytes(back, row_bytes) -
                 sy_combine_chunk_bytes(0, 0);
    }
    return bytes;
}
