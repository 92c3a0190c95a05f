/* SPDX-License-Identifier: Apache-2.0
 * holding.c - the weights that each of R ranks holds
 */
#include "engine/holding.h"

struct share {
    const struct sy_placement *placement;
    int rank;
};

static int slots_of(const void *ctx, int layer)
{
    const struct share *share = ctx;

    return sy_placement_n_local(share->placement, layer, share->rank);
}

static int expert_in(const void *ctx, int layer, int slot)
{
    const struct share *share = ctx;

    return sy_placement_expert_at(share->placement, layer, share->rank, slot);
}

enum sy_status sy_holding_shard(const struct sy_model *model, const struct sy_kernels *kernels,
                                const struct sy_placement *placement, int rank, struct sy_shard **shard,
                                struct sy_error *err)
{
    struct share share = {placement, rank};
    struct sy_shard_experts experts = {slots_of, expert_in, &share,
                                       (model->n_experts + placement->n_ranks - 1) / placement->n_ranks};

    return sy_shard_create(model, kernels, &experts, shard, err);
}

/* One rank of those with the most experts, or with the least: all that have as many hold as much. */
static enum sy_status count_rank(const struct sy_model *model, const struct sy_kernels *kernels,
                                 const struct sy_placement *placement, int rank, size_t *dense_bytes,
                                 size_t *expert_bytes, struct sy_error *err)
{
    struct sy_shard *shard;
    enum sy_status st = sy_holding_shard(model, kernels, placement, rank, &shard, err);

    if (st)
        return st;
    *dense_bytes = shard->dense_bytes;
    *expert_bytes = shard->expert_bytes;
    sy_shard_destroy(shard);
    return SY_OK;
}

enum sy_status sy_holding_count(const struct sy_model *model, const struct sy_kernels *kernels, int n_ranks,
                                struct sy_holding *h, struct sy_error *err)
{
    struct sy_placement *placement;
    enum sy_status st = sy_placement_even(model->n_layers, model->n_experts, n_ranks, &placement, err);
    int most = 0, least = 0;

    if (st)
        return st;
    *h = (struct sy_holding){.n_ranks = n_ranks, .experts_least = model->n_experts};
    /* Every layer is placed alike. */
    for (int rank = 0; rank < n_ranks; rank++) {
        int n = sy_placement_n_local(placement, 0, rank);
        if (n > h->experts_most) {
            h->experts_most = n;
            most = rank;
        }
        if (n <= h->experts_least) {
            h->experts_least = n;
            least = rank;
        }
    }
    st = count_rank(model, kernels, placement, most, &h->dense_bytes, &h->expert_bytes_most, err);
    if (!st)
        st = count_rank(model, kernels, placement, least, &h->dense_bytes, &h->expert_bytes_least, err);
    sy_placement_destroy(placement);
    return st;
}
