/* SPDX-License-Identifier: Apache-2.0
 * experts.c - grouped expert MLPs over the rows that are here
 *
 * An expert runs once for all its rows where that can be, so that its weights are read once (batch.h). One batch at a time,
 * so that chunks move in between.
 */
#include "base/clock.h"
#include "moe/batch.h"
#include "moe/moe.h"

/* Hand back what the last batch computed; rows whose peer has no room stay for the next call. */
static void hand_back(struct sy_moe *moe, bool *moved)
{
    int kept = 0;

    for (int i = 0; i < moe->n_out; i++) {
        if (sy_combine_return(moe, &moe->pairs[moe->out_pair[i]], moe->out_at[i]) == SY_OK) {
            *moved = true;
            continue;
        }
        moe->out_at[kept] = moe->out_at[i];
        moe->out_pair[kept++] = moe->out_pair[i];
    }
    moe->n_out = kept;
}

/* Put pending pairs of a slot into its tile, until the batch has n_most. */
static void take(struct sy_moe *moe, struct sy_pending *pending, struct sy_tile *tile, int n_most)
{
    while (pending->head >= 0 && moe->n_out < n_most) {
        const struct sy_pair *pair = &moe->pairs[pending->head];
        moe->batch_rows[moe->n_out] = pair->row;
        moe->out_pair[moe->n_out++] = pending->head;
        tile->n_rows++;
        pending->head = pair->next;
        pending->count--;
    }
}

/* Make tiles of slots that have at least min_rows of whose is from first to last. Only a slot that alone has more than a
 * batch is cut. */
static int fill_batch(struct sy_moe *moe, enum sy_whose first, enum sy_whose last, int min_rows)
{
    int n_tiles = 0, n_most = moe->n_ranks > 1 && !moe->in_turn ? SY_BATCH_ROWS_SHARED : SY_BATCH_ROWS;

    for (int slot = 0; slot < moe->n_slots && moe->n_out < n_most; slot++) {
        int count = 0;
        for (int whose = (int)first; whose <= (int)last; whose++)
            count += moe->pending[slot][whose].count;
        if (count < min_rows || (n_tiles && moe->n_out + count > n_most))
            continue;
        const struct sy_expert_weights *expert = sy_residency_acquire(moe->config.residency, moe->layer, slot);
        struct sy_tile *tile = &moe->tiles[n_tiles++];
        *tile = (struct sy_tile){&expert->gate_up, &expert->down, moe->n_out, 0};
        for (int whose = (int)first; whose <= (int)last; whose++)
            take(moe, &moe->pending[slot][whose], tile, n_most);
    }
    moe->n_pending -= moe->n_out;
    return n_tiles;
}

/* Run the tiles of a batch; results go to out_at. */
static void compute(struct sy_moe *moe, int n_tiles)
{
    const struct sy_moe_config *config = &moe->config;

    config->kernels->copy_rows(config->queue, moe->batch_in, NULL, moe->rows_in, moe->batch_rows, moe->n_out,
                               moe->rows.row_bytes);
    config->kernels->expert_gate_up(config->queue, moe->tiles, n_tiles, moe->batch_in, config->wire, &config->glu,
                                    moe->act);
    config->kernels->expert_down(config->queue, moe->tiles, n_tiles, moe->act, config->wire, NULL, moe->out_at,
                                 config->wire);
    config->kernels->queue_sync(config->queue);
}

/* What to run now: many rows of others, whose results have a way to go; many of this rank's own, while more of others
 * are on their way; and at last whatever there is. */
static int choose_batch(struct sy_moe *moe, bool moved, int64_t now_ns)
{
    bool arrived = sy_dispatch_arrived(moe);

    if (!arrived && (moved || now_ns - moe->arrival_ns < SY_PATIENCE_NS))
        return 0;
    int n_tiles = fill_batch(moe, SY_OTHERS, SY_OTHERS, SY_TILE_ROWS_MIN);
    if (!n_tiles && !arrived)
        n_tiles = fill_batch(moe, SY_OWN, SY_OWN, SY_TILE_ROWS_MIN);
    return n_tiles || !arrived ? n_tiles : fill_batch(moe, SY_OTHERS, SY_OWN, 1);
}

enum sy_status sy_experts_run_ready(struct sy_moe *moe, bool *moved, struct sy_error *err)
{
    int64_t begin_ns = sy_clock_ns();

    hand_back(moe, moved);
    int n_tiles = moe->n_out ? 0 : choose_batch(moe, *moved, begin_ns);
    if (n_tiles) {
        sy_combine_keep(moe);
        for (int i = 0; i < moe->n_out; i++) {
            uint8_t *place = sy_combine_place(moe, &moe->pairs[moe->out_pair[i]]);
            moe->out_at[i] = place ? place : moe->out + (size_t)i * moe->rows.row_bytes;
        }
        moe->computing = true;
        compute(moe, n_tiles);
        moe->computing = false;
        hand_back(moe, moved);
        *moved = true;
    }
    moe->times.experts_ns += sy_clock_ns() - begin_ns;
    if (moe->nudged)
        *err = moe->nudged_err;
    return moe->nudged;
}

enum sy_status sy_experts_run_all(struct sy_moe *moe, struct sy_error *err)
{
    int64_t begin_ns = sy_clock_ns();
    size_t n_done = 0;

    while (moe->n_pending) {
        moe->n_out = 0;
        int n_tiles = fill_batch(moe, SY_OTHERS, SY_OWN, 1);
        for (int i = 0; i < moe->n_out; i++) {
            struct sy_pair *pair = &moe->pairs[moe->out_pair[i]];
            bool own = pair->source == moe->rank;
            pair->row = (uint32_t)n_done;
            moe->out_at[i] = own ? sy_combine_place(moe, pair) : moe->kept + n_done * moe->rows.row_bytes;
            n_done += !own;
        }
        compute(moe, n_tiles);
    }
    moe->n_out = 0;
    moe->times.experts_ns += sy_clock_ns() - begin_ns;
    if (moe->nudged)
        *err = moe->nudged_err;
    return moe->nudged;
}
