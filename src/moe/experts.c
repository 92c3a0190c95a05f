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

/* Make tiles of pending pairs: at most SY_BATCH_ROWS rows of slots that have at least min_rows. Only a slot that alone has
 * more than a batch is cut. */
static int fill_batch(struct sy_moe *moe, int min_rows)
{
    int n_tiles = 0, n_rows = 0;

    for (int slot = 0; slot < moe->n_slots && n_rows < SY_BATCH_ROWS; slot++) {
        int count = moe->slot_count[slot];
        if (!count || count < min_rows || (n_rows && n_rows + count > SY_BATCH_ROWS))
            continue;
        const struct sy_expert_weights *expert = sy_residency_acquire(moe->config.residency, moe->layer, slot);
        struct sy_tile *tile = &moe->tiles[n_tiles++];
        *tile = (struct sy_tile){&expert->gate_up, &expert->down, n_rows, 0};
        while (moe->slot_head[slot] >= 0 && n_rows < SY_BATCH_ROWS) {
            int pair = moe->slot_head[slot];
            moe->batch_rows[n_rows] = moe->pairs[pair].row;
            moe->out_pair[n_rows++] = pair;
            tile->n_rows++;
            moe->slot_head[slot] = moe->pairs[pair].next;
            moe->slot_count[slot]--;
        }
    }
    moe->n_out = n_rows;
    moe->n_pending -= n_rows;
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

/* How many rows an expert must have to run now; more than there can be when it should wait. */
static int rows_to_run(const struct sy_moe *moe, bool moved, int64_t now_ns)
{
    if (sy_dispatch_arrived(moe))
        return 1;
    return moved || now_ns - moe->arrival_ns < SY_PATIENCE_NS ? moe->max_pairs + 1 : SY_TILE_ROWS_MIN;
}

enum sy_status sy_experts_run_ready(struct sy_moe *moe, bool *moved, struct sy_error *err)
{
    int64_t begin_ns = sy_clock_ns();

    hand_back(moe, moved);
    int n_tiles = moe->n_out ? 0 : fill_batch(moe, rows_to_run(moe, *moved, begin_ns));
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
        int n_tiles = fill_batch(moe, 1);
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
