/* SPDX-License-Identifier: Apache-2.0
 * plan.c - the plan of a step against a slow and obvious one, over random routing
 */
#include <stdlib.h>
#include <string.h>

#include "moe/plan.h"
#include "moe/wire.h"
#include "tap.h"
#include "testrand.h"

/* Every pair must stand where counting says: rows of a rank by token, pairs of a row by k. */
static bool check_plan(const struct sy_plan *plan, const struct sy_placement *placement, int source, const int32_t *ids,
                       int T)
{
    int K = plan->top_k, row = 0, pair = 0;

    for (int p = 0; p < plan->n_ranks; p++) {
        if (plan->row_first[p] != row)
            return false;
        for (int t = 0; t < T; t++) {
            bool any = false;
            for (int k = 0; k < K; k++) {
                struct sy_home home = sy_placement_choose(placement, 0, ids[t * K + k], source);
                if (home.rank != p)
                    continue;
                if (!any && (plan->row_token[row] != (uint32_t)t || plan->pair_first[row] != pair))
                    return false;
                any = true;
                if (plan->pair_slot[pair] != (uint32_t)home.slot || plan->pair_index[pair] != (uint32_t)(t * K + k))
                    return false;
                pair++;
            }
            row += any;
        }
    }
    return row == plan->n_rows && pair == plan->n_pairs && pair == T * K && plan->row_first[plan->n_ranks] == row &&
           plan->pair_first[row] == pair;
}

/* Count chunks and bytes one by one. */
static uint64_t count_bytes(const struct sy_plan *plan, int source, int chunk_rows, size_t row_bytes,
                            const int *incoming)
{
    uint64_t bytes = 0;

    for (int p = 0; p < plan->n_ranks; p++) {
        int row = plan->row_first[p], end = plan->row_first[p + 1];
        if (p == source)
            continue;
        do {
            int n = end - row < chunk_rows ? end - row : chunk_rows;
            int pairs = plan->pair_first[row + n] - plan->pair_first[row];
            bytes += 16 + (uint64_t)n * (4 + row_bytes) + (uint64_t)pairs * 8;
            row += n;
        } while (row < end);
        for (int left = incoming[p]; left > 0; left -= chunk_rows)
            bytes += 16 + (uint64_t)(left < chunk_rows ? left : chunk_rows) * (4 + row_bytes);
    }
    return bytes;
}

static void one_case(struct testrand *rand, int E, int R, int K, int T, bool all_to_one)
{
    struct sy_placement *placement;
    struct sy_arena arena;
    struct sy_plan plan;
    int32_t *ids = malloc((size_t)T * (size_t)K * sizeof *ids + 4);
    int incoming[16], source = (int)(testrand_next(rand) % (uint64_t)R);

    if (sy_placement_even(1, E, R, &placement, NULL) || sy_arena_init(&arena, sy_plan_bytes(T, K, R), NULL))
        bail("no memory");
    memset(arena.base, 0xa5, arena.bytes);
    sy_plan_init(&plan, T, K, R, &arena);
    for (int t = 0; t < T; t++)
        for (int k = 0; k < K; k++) {
            bool again;
            do {
                ids[t * K + k] = all_to_one ? k : (int32_t)(testrand_next(rand) % (uint64_t)E);
                again = false;
                for (int j = 0; j < k; j++)
                    again |= ids[t * K + j] == ids[t * K + k];
            } while (again);
        }
    for (int r = 0; r < R; r++)
        incoming[r] = (int)(testrand_next(rand) % 40);
    sy_plan_make(&plan, placement, 0, source, ids, T);
    ok(check_plan(&plan, placement, source, ids, T), "plan of E=%d R=%d K=%d T=%d%s", E, R, K, T,
       all_to_one ? ", all to the same experts" : "");
    is_int((int64_t)sy_plan_wire_bytes(&plan, source, 7, 96, incoming),
           (int64_t)count_bytes(&plan, source, 7, 96, incoming), "wire bytes");
    sy_arena_fini(&arena);
    sy_placement_destroy(placement);
    free(ids);
}

/* Each other rank once; none of this node before one of another; else each begins behind itself. */
static void test_peers(struct testrand *rand)
{
    int node_of[16], peers[16], R = 1 + (int)(testrand_next(rand) % 16),
                                rank = (int)(testrand_next(rand) % (uint64_t)R);
    bool right = true;
    unsigned seen = 1u << rank;

    for (int p = 0; p < R; p++)
        node_of[p] = (int)(testrand_next(rand) % 3);
    sy_plan_peers(rank, R, node_of, peers);
    for (int i = 0; i < R - 1 && right; i++) {
        bool near = node_of[peers[i]] == node_of[rank], after = false;
        right = peers[i] >= 0 && peers[i] < R && !(seen >> peers[i] & 1);
        seen |= right ? 1u << peers[i] : 0;
        for (int j = 0; j < i; j++) {
            bool before_near = node_of[peers[j]] == node_of[rank];
            after = (peers[j] - rank + R) % R > (peers[i] - rank + R) % R;
            right = right && before_near <= near && !(before_near == near && after);
        }
    }
    ok(right && seen == (1u << R) - 1, "order of peers of rank %d of %d", rank, R);
}

int main(void)
{
    struct testrand rand = testrand_begin();

    for (int i = 0; i < 60; i++) {
        int E = 1 + (int)(testrand_next(&rand) % 40), K = 1 + (int)(testrand_next(&rand) % (E < 8 ? (uint64_t)E : 8));
        int R = 1 + (int)(testrand_next(&rand) % (E < 8 ? (uint64_t)E : 8));
        one_case(&rand, E, R, K, i % 4 == 0 ? i % 3 : (int)(testrand_next(&rand) % 100), i % 5 == 0);
    }
    for (int i = 0; i < 20; i++)
        test_peers(&rand);
    done();
    return tap_exit();
}
