/* SPDX-License-Identifier: Apache-2.0
 * bench_routing.c - experts for tokens, as routers choose them and as none should
 */
#include "cli/bench_exchange.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli/bench.h"

enum sy_status sy_routing_init(struct sy_routing *routing, const char *name, int n_experts, int top_k, uint64_t seed,
                               struct sy_error *err)
{
    double sum = 0;

    *routing = (struct sy_routing){.n_experts = n_experts, .top_k = top_k, .seed = seed};
    routing->one = !strcmp(name, "one");
    routing->below = malloc((size_t)n_experts * sizeof *routing->below);
    routing->order = malloc((size_t)n_experts * sizeof *routing->order);
    if (!routing->below || !routing->order)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the popularity of %d experts", n_experts);
    for (int e = 0; e < n_experts; e++) {
        sum += strcmp(name, "zipf") ? 1 : 1.0 / (e + 1);
        routing->below[e] = sum;
        routing->order[e] = e;
    }
    /* The popular ones should not all be on the first rank. */
    for (int e = n_experts - 1; e > 0; e--) {
        int other = (int)(sy_bench_random(seed, 3, (uint64_t)e, 0, 0) % (uint64_t)(e + 1));
        int swap = routing->order[e];
        routing->order[e] = routing->order[other];
        routing->order[other] = swap;
    }
    return SY_OK;
}

void sy_routing_fini(struct sy_routing *routing)
{
    free(routing->below);
    free(routing->order);
}

/* The expert whose part of the popularity holds the place x in 0 .. 1. */
static int32_t expert_at(const struct sy_routing *routing, double x)
{
    int low = 0, high = routing->n_experts - 1;

    x *= routing->below[high];
    while (low < high) {
        int mid = (low + high) / 2;
        if (routing->below[mid] > x)
            high = mid;
        else
            low = mid + 1;
    }
    return routing->order[low];
}

static bool among(const int32_t *ids, int n, int32_t id)
{
    for (int i = 0; i < n; i++)
        if (ids[i] == id)
            return true;
    return false;
}

void sy_routing_draw(struct sy_routing *routing, int rank, int T, int32_t *ids)
{
    uint64_t draw = routing->n_draws++;

    for (int t = 0; t < T; t++) {
        int32_t *own = ids + (size_t)t * (size_t)routing->top_k;
        for (int k = 0, tries = 0; k < routing->top_k; tries++) {
            uint64_t bits = sy_bench_random(routing->seed, 4 + draw, (uint64_t)rank, (uint64_t)t, (uint64_t)tries);
            int32_t id = routing->one ? k : expert_at(routing, (double)(bits >> 11) * 0x1p-53);
            if (!among(own, k, id))
                own[k++] = id;
        }
    }
}
