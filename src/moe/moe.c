/* SPDX-License-Identifier: Apache-2.0
 * moe.c - buffers of the mixture-of-experts layers, sized once
 */
#include "moe/moe.h"

#include <stdlib.h>

#include "moe/across.h"
#include "moe/batch.h"
#include "moe/whole.h"
#include "moe/wire.h"

#define CHUNK_ROWS      64
#define CHUNK_ROWS_MPI  512 /* from device to device */
#define CHUNK_ROWS_MOST 2048
#define RINGS_BYTES     ((size_t)1 << 30) /* of memory for chunks of more than CHUNK_ROWS rows */

static size_t row_bytes(const struct sy_moe_config *config)
{
    return (size_t)config->hidden * sy_dtype_bytes(config->wire);
}

static size_t less(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* A chunk costs the host and NCCL some 20 us whatever its rows are, and many go by in that time. By MPI and UCX from device to
 * device large chunks are faster too (cuda/RESULTS.md); where rows go through the host's memory they are slower. */
enum sy_status sy_moe_chunk_rows(const struct sy_moe_config *config, const struct sy_transport_config *transport,
                                 struct sy_group *group, int *rows, struct sy_error *err)
{
    struct sy_transport_config asked = {.choice = transport->choice, .porter = config->kernels->porter};
    size_t pairs = (size_t)config->max_tokens * (size_t)config->rule.top_k, step = CHUNK_ROWS, n = CHUNK_ROWS_MOST;
    /* Of both lanes and directions, chunks on their way and one that fills, for each rank. */
    size_t each = 2 * SY_N_LANES * ((size_t)transport->n_slots + 1) * (size_t)sy_group_size(group) * row_bytes(config);
    bool direct;
    enum sy_status status = sy_fabric_ask_direct(group, &asked, &direct, err);

    *rows = CHUNK_ROWS;
    if (status || (transport->choice != SY_TRANSPORT_NCCL && !direct))
        return status;
    if (transport->choice == SY_TRANSPORT_MPI)
        n = CHUNK_ROWS_MPI;
    n = less(less((pairs + step - 1) / step * step, RINGS_BYTES / each / step * step), n);
    *rows = n > step ? (int)n : CHUNK_ROWS;
    return SY_OK;
}

void sy_moe_transport(const struct sy_moe_config *config, int n_ranks, struct sy_transport_config *transport)
{
    size_t rows = (size_t)config->chunk_rows, pairs = rows * (size_t)config->rule.top_k, row = row_bytes(config);
    size_t T = (size_t)config->max_tokens;

    transport->chunk_bytes[SY_LANE_DISPATCH] = sy_dispatch_chunk_bytes(rows, pairs, row);
    transport->chunk_bytes[SY_LANE_COMBINE] = sy_combine_chunk_bytes(rows, row);
    transport->brief_bytes[SY_LANE_DISPATCH] = sy_dispatch_chunk_bytes(rows, pairs, 0);
    transport->brief_bytes[SY_LANE_COMBINE] = sy_combine_chunk_bytes(rows, 0);
    transport->lender = config->kernels->lender;
    transport->courier = config->kernels->courier;
    transport->porter = config->kernels->porter;
    transport->row_bytes = row;
    transport->chunk_rows = config->chunk_rows;
    /* Beside what is stored, of which chunks do not tell yet, that of chunks on their way and of one that fills. */
    rows *= (size_t)transport->n_slots + 1;
    transport->ahead_rows[SY_LANE_DISPATCH] = (size_t)sy_ahead_rows(config) + rows;
    transport->ahead_rows[SY_LANE_COMBINE] =
        less((size_t)sy_waiting_rows(config), (size_t)n_ranks * T * (size_t)config->rule.top_k) + rows;
    transport->window_bytes = ((size_t)n_ranks * T + T * (size_t)config->rule.top_k) * row;
    transport->window_bytes += sy_across_window_bytes(config, n_ranks);
}

/* Largest number of experts that this rank has in any layer. */
static int max_slots(const struct sy_placement *placement, int rank)
{
    int n = 0;

    for (int layer = 0; layer < placement->n_layers; layer++) {
        int local = sy_placement_n_local(placement, layer, rank);
        n = local > n ? local : n;
    }
    return n;
}

/* Give every buffer its place; without arenas only add the sizes up. What only kernels use lies on the device. */
static void lay_out(struct sy_moe *moe, struct sy_arena *arenas, size_t total[SY_N_PLACES])
{
    const struct sy_moe_config *config = &moe->config;
    size_t T = (size_t)config->max_tokens, R = (size_t)moe->n_ranks, C = (size_t)config->chunk_rows;
    size_t K = (size_t)config->rule.top_k, E = (size_t)config->rule.n_experts, F = (size_t)config->expert_width;
    size_t slots = (size_t)max_slots(config->placement, moe->rank), row = moe->rows.row_bytes;
    size_t pairs = R * T * (K < slots ? K : slots);
    size_t batch = less((size_t)sy_batch_rows(config), pairs), waiting = less((size_t)sy_waiting_rows(config), pairs);

    moe->max_pairs = (int)pairs;
    total[SY_PLACE_DEVICE] = total[SY_PLACE_HOST] = 0;
#define TAKE_AT(place, field, n)                            \
    (total[place] += sy_arena_round((n) * sizeof *(field)), \
     (field) = arenas ? sy_arena_take(&arenas[place], (n) * sizeof *(field)) : NULL)
#define TAKE(field, n)        TAKE_AT(SY_PLACE_HOST, field, n)
#define TAKE_DEVICE(field, n) TAKE_AT(SY_PLACE_DEVICE, field, n)
    TAKE_DEVICE(moe->logits, T * E);
    TAKE_DEVICE(moe->weights, T * K);
    TAKE(moe->ids, T * K);
    TAKE(moe->whole.n_active_seen, 1);
    TAKE(moe->order, R);
    TAKE(moe->peers, R);
    TAKE(moe->incoming, R);
    TAKE(moe->pairs, pairs);
    TAKE(moe->pending, slots);
    TAKE(moe->slot_mark, (size_t)config->placement->n_layers * slots);
    TAKE(moe->tiles, slots);
    if (config->shared_width) {
        TAKE_DEVICE(moe->shared_act, T * (size_t)config->shared_width * sy_dtype_bytes(config->wire));
        TAKE_DEVICE(moe->shared, T * (size_t)config->hidden);
        TAKE_DEVICE(moe->shared_gate, T);
    }
    TAKE(moe->batch_rows, waiting);
    TAKE_DEVICE(moe->batch_in, batch * row);
    TAKE_DEVICE(moe->act, batch * F * sy_dtype_bytes(config->wire));
    TAKE(moe->out, batch * row);
    if (config->in_turn)
        TAKE(moe->kept, pairs * row);
    TAKE(moe->out_at, waiting);
    TAKE(moe->out_pair, waiting);
    TAKE(moe->staged_index, R * C);
    TAKE(moe->staged_from, R * C);
    TAKE(moe->staged_rows, R * C * row);
    TAKE(moe->iov, C + 2);
    if (config->kernels->lender) {
        TAKE(moe->back_from, pairs);
        TAKE(moe->back_to, pairs);
    }
    TAKE(moe->meta, C + 2 * C * K);
    TAKE(moe->overdue, R * SY_OVERDUE_LINE + 1);
#undef TAKE_DEVICE
#undef TAKE
#undef TAKE_AT
    total[SY_PLACE_HOST] += sy_plan_bytes(config->max_tokens, config->rule.top_k, moe->n_ranks);
    if (sy_whole_fits(config, moe->n_ranks))
        total[SY_PLACE_DEVICE] += sy_whole_bytes(config);
    total[SY_PLACE_DEVICE] += sy_across_bytes(config, moe->rank, moe->n_ranks);
    if (arenas)
        sy_plan_init(&moe->plan, config->max_tokens, config->rule.top_k, moe->n_ranks, &arenas[SY_PLACE_HOST]);
}

static void init(struct sy_moe *moe, const struct sy_moe_config *config, int rank, int n_ranks)
{
    moe->config = *config;
    moe->rank = rank;
    moe->n_ranks = n_ranks;
    moe->rows = (struct sy_rows){.dtype = config->wire, .row_bytes = row_bytes(config)};
}

size_t sy_moe_bytes(const struct sy_moe_config *config, int rank, int n_ranks)
{
    struct sy_moe moe = {0};
    size_t total[SY_N_PLACES];

    init(&moe, config, rank, n_ranks);
    lay_out(&moe, NULL, total);
    return total[SY_PLACE_DEVICE] + total[SY_PLACE_HOST];
}

static void order_peers(struct sy_moe *moe, const struct sy_group *group)
{
    int node_of[moe->n_ranks];

    for (int p = 0; p < moe->n_ranks; p++)
        node_of[p] = sy_group_node_of(group, p);
    sy_plan_peers(moe->rank, moe->n_ranks, node_of, moe->order);
}

enum sy_status sy_moe_create(const struct sy_moe_config *config, struct sy_moe **out, struct sy_error *err)
{
    const struct sy_group *group = sy_fabric_group(config->fabric);
    struct sy_moe *moe = calloc(1, sizeof *moe);
    size_t total[SY_N_PLACES], block_bytes;

    if (!moe)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the expert layers");
    init(moe, config, sy_group_rank(group), sy_group_size(group));
    lay_out(moe, NULL, total);
    enum sy_status st = sy_arenas_init(moe->arenas, config->kernels, total, err);
    void *block = sy_fabric_block(config->fabric, &block_bytes);
    if (!st && block && !(st = config->kernels->share_host(block, block_bytes, err)))
        moe->shared_block = block;
    if (st) {
        sy_moe_destroy(moe);
        return st;
    }
    lay_out(moe, moe->arenas, total);
    order_peers(moe, group);
    moe->rows_in = sy_fabric_window(config->fabric);
    moe->results = moe->rows_in + (size_t)moe->n_ranks * (size_t)config->max_tokens * moe->rows.row_bytes;
    moe->in_turn = config->in_turn;
    moe->nudged_err = (struct sy_error)SY_ERROR_INIT;
    moe->max_slots = max_slots(config->placement, moe->rank);
    sy_moe_mark(moe);
    st = sy_whole_fits(config, moe->n_ranks) ? sy_whole_init(moe, err) : SY_OK;
    if (!st && sy_across_bytes(config, moe->rank, moe->n_ranks))
        st = sy_across_init(moe, err);
    if (st) {
        sy_moe_destroy(moe);
        return st;
    }
    *out = moe;
    return SY_OK;
}

int sy_moe_records(const struct sy_moe *moe)
{
    return moe->whole.workspace && !moe->in_turn ? 1 : sy_across_records(moe);
}

enum sy_status sy_moe_begin_step(struct sy_moe *moe, int T, struct sy_error *err)
{
    return sy_across_agree(moe, T, err);
}

enum sy_status sy_moe_wait(struct sy_moe *moe, struct sy_error *err)
{
    return moe->across.way ? sy_across_wait(moe, err) : SY_OK;
}

enum sy_status sy_moe_count(struct sy_moe *moe, struct sy_error *err)
{
    const struct sy_moe_config *config = &moe->config;

    if (!moe->whole.workspace)
        return sy_across_count(moe, err);
    config->kernels->copy(config->queue, moe->whole.n_active_seen, moe->whole.n_active, sizeof(uint64_t));
    enum sy_status st = config->kernels->queue_sync(config->queue, err);
    moe->work.n_experts = *moe->whole.n_active_seen;
    return st;
}

void sy_moe_mark(struct sy_moe *moe)
{
    moe->mark++;
}

void sy_moe_destroy(struct sy_moe *moe)
{
    if (!moe)
        return;
    if (moe->shared_block)
        moe->config.kernels->unshare_host(moe->shared_block);
    sy_arenas_fini(moe->arenas, moe->config.kernels);
    free(moe->across.peers);
    free(moe);
}
