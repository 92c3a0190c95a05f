/* SPDX-License-Identifier: Apache-2.0
 * moe.c - buffers of the mixture-of-experts layers, sized once
 */
#include "moe/moe.h"

#include <stdlib.h>

#include "moe/batch.h"
#include "moe/wire.h"

static size_t row_bytes(const struct sy_moe_config *config)
{
    return (size_t)config->hidden * sy_dtype_bytes(config->wire);
}

void sy_moe_transport(const struct sy_moe_config *config, int n_ranks, struct sy_transport_config *transport)
{
    size_t rows = (size_t)config->chunk_rows, pairs = rows * (size_t)config->rule.top_k, row = row_bytes(config);
    size_t T = (size_t)config->max_tokens;

    transport->chunk_bytes[SY_LANE_DISPATCH] = sy_dispatch_chunk_bytes(rows, pairs, row);
    transport->chunk_bytes[SY_LANE_COMBINE] = sy_combine_chunk_bytes(rows, row);
    transport->brief_bytes[SY_LANE_DISPATCH] = sy_dispatch_chunk_bytes(rows, pairs, 0);
    transport->brief_bytes[SY_LANE_COMBINE] = sy_combine_chunk_bytes(rows, 0);
    transport->window_bytes = ((size_t)n_ranks * T + T * (size_t)config->rule.top_k) * row;
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

/* Give every buffer its place. With an arena of no bytes this only adds the sizes up: sy_arena_take() answers NULL. */
static size_t lay_out(struct sy_moe *moe, struct sy_arena *arena)
{
    const struct sy_moe_config *config = &moe->config;
    size_t T = (size_t)config->max_tokens, R = (size_t)moe->n_ranks, C = (size_t)config->chunk_rows;
    size_t K = (size_t)config->rule.top_k, E = (size_t)config->rule.n_experts, F = (size_t)config->expert_width;
    size_t slots = (size_t)max_slots(config->placement, moe->rank), row = moe->rows.row_bytes, total = 0;
    size_t pairs = R * T * (K < slots ? K : slots);

    moe->max_pairs = (int)pairs;
#define TAKE(field, n)                               \
    (total += sy_arena_round((n) * sizeof *(field)), \
     (field) = arena ? sy_arena_take(arena, (n) * sizeof *(field)) : NULL)
    TAKE(moe->logits, T * E);
    TAKE(moe->weights, T * K);
    TAKE(moe->ids, T * K);
    TAKE(moe->peers, R);
    TAKE(moe->incoming, R);
    TAKE(moe->pairs, pairs);
    TAKE(moe->pending, slots);
    TAKE(moe->slot_mark, (size_t)config->placement->n_layers * slots);
    TAKE(moe->tiles, slots);
    if (config->shared_width) {
        TAKE(moe->shared_act, T * (size_t)config->shared_width * sy_dtype_bytes(config->wire));
        TAKE(moe->shared, T * (size_t)config->hidden);
        TAKE(moe->shared_gate, T);
    }
    TAKE(moe->batch_rows, SY_WAITING_ROWS);
    TAKE(moe->batch_in, SY_BATCH_ROWS * row);
    TAKE(moe->act, SY_BATCH_ROWS * F * sy_dtype_bytes(config->wire));
    TAKE(moe->out, SY_BATCH_ROWS * row);
    if (config->in_turn)
        TAKE(moe->kept, pairs * row);
    TAKE(moe->out_at, SY_WAITING_ROWS);
    TAKE(moe->out_pair, SY_WAITING_ROWS);
    TAKE(moe->staged_index, R * C);
    TAKE(moe->staged_from, R * C);
    TAKE(moe->staged_rows, R * C * row);
    TAKE(moe->iov, C + 2);
    TAKE(moe->meta, C + 2 * C * K);
    TAKE(moe->overdue, R * SY_OVERDUE_LINE + 1);
#undef TAKE
    total += sy_plan_bytes(config->max_tokens, config->rule.top_k, moe->n_ranks);
    if (arena)
        sy_plan_init(&moe->plan, config->max_tokens, config->rule.top_k, moe->n_ranks, arena);
    return total;
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

    init(&moe, config, rank, n_ranks);
    return lay_out(&moe, NULL);
}

enum sy_status sy_moe_create(const struct sy_moe_config *config, struct sy_moe **out, struct sy_error *err)
{
    const struct sy_group *group = sy_fabric_group(config->fabric);
    struct sy_moe *moe = calloc(1, sizeof *moe);

    if (!moe)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the expert layers");
    init(moe, config, sy_group_rank(group), sy_group_size(group));
    enum sy_status st = sy_arena_init(&moe->arena, lay_out(moe, NULL), err);
    if (st) {
        free(moe);
        return st;
    }
    lay_out(moe, &moe->arena);
    moe->rows_in = sy_fabric_window(config->fabric);
    moe->results = moe->rows_in + (size_t)moe->n_ranks * (size_t)config->max_tokens * moe->rows.row_bytes;
    moe->in_turn = config->in_turn;
    moe->nudged_err = (struct sy_error)SY_ERROR_INIT;
    moe->max_slots = max_slots(config->placement, moe->rank);
    sy_moe_mark(moe);
    *out = moe;
    return SY_OK;
}

void sy_moe_mark(struct sy_moe *moe)
{
    moe->mark++;
}

void sy_moe_destroy(struct sy_moe *moe)
{
    if (!moe)
        return;
    sy_arena_fini(&moe->arena);
    free(moe);
}
