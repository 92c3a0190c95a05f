/* SPDX-License-Identifier: Apache-2.0
 * experts.c - grouped expert MLPs over the rows that are here
 *
 * An expert runs once for all its rows where that can be, so that its weights are read once (batch.h). One batch at a time,
 * so that chunks move in between.
 */
#include "base/clock.h"
#include "moe/batch.h"
#include "moe/moe.h"

/* Hand back rows of the last batch to other ranks; those whose peer has no room stay for the next call. */
static enum sy_status hand_back(struct sy_moe *moe, bool *moved, struct sy_error *err)
{
    int kept = 0;

    for (int i = 0; i < moe->n_out; i++) {
        const struct sy_pair *pair = &moe->pairs[moe->out_pair[i]];
        const uint8_t *row = moe->out + (size_t)moe->out_row[i] * moe->rows.row_bytes;
        enum sy_status st = sy_combine_return(moe, pair, row, err);
        if (st && st != SY_AGAIN)
            return st;
        *moved = *moved || !st;
        if (st) {
            moe->out_row[kept] = moe->out_row[i];
            moe->out_pair[kept++] = moe->out_pair[i];
        }
    }
    moe->n_out = kept;
    return SY_OK;
}

/* Put this rank's own results of a batch in place, and keep the others' in out_row and out_pair. */
static void keep_own(struct sy_moe *moe)
{
    const struct sy_moe_config *config = &moe->config;
    int n_own = 0, kept = 0;

    for (int i = 0; i < moe->n_out; i++) {
        const struct sy_pair *pair = &moe->pairs[moe->out_pair[i]];
        if (pair->source == moe->rank) {
            moe->own_from[n_own] = (uint32_t)moe->out_row[i];
            moe->own_to[n_own++] = pair->index;
        } else {
            moe->out_row[kept] = moe->out_row[i];
            moe->out_pair[kept++] = moe->out_pair[i];
        }
    }
    moe->n_out = kept;
    config->kernels->copy_rows(config->queue, moe->results, moe->own_to, moe->out, moe->own_from, n_own,
                               moe->rows.row_bytes);
    moe->peers[moe->rank].n_outstanding -= n_own;
    moe->peers[moe->rank].n_returned += n_own;
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
            moe->out_row[n_rows] = n_rows;
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

/* Run the tiles of a batch; out: [n_out] rows. */
static void compute(struct sy_moe *moe, int n_tiles, uint8_t *out)
{
    const struct sy_moe_config *config = &moe->config;

    config->kernels->copy_rows(config->queue, moe->batch_in, NULL, moe->rows_in, moe->batch_rows, moe->n_out,
                               moe->rows.row_bytes);
    config->kernels->expert_gate_up(config->queue, moe->tiles, n_tiles, moe->batch_in, config->wire, &config->glu,
                                    moe->act);
    config->kernels->expert_down(config->queue, moe->tiles, n_tiles, moe->act, config->wire, out, config->wire);
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

    enum sy_status st = hand_back(moe, moved, err);
    if (st)
        return st;
    int n_tiles = moe->n_out ? 0 : fill_batch(moe, rows_to_run(moe, *moved, begin_ns));
    if (n_tiles) {
        sy_combine_keep(moe);
        moe->computing = true;
        compute(moe, n_tiles, moe->out);
        moe->computing = false;
        keep_own(moe);
        st = hand_back(moe, moved, err);
        *moved = true;
    }
    moe->times.experts_ns += sy_clock_ns() - begin_ns;
    if (!st && moe->nudged)
        *err = moe->nudged_err;
    return st ? st : moe->nudged;
}

enum sy_status sy_experts_run_all(struct sy_moe *moe, struct sy_error *err)
{
    int64_t begin_ns = sy_clock_ns();
    size_t n_done = 0;

    while (moe->n_pending) {
        int n_tiles = fill_batch(moe, 1);
        compute(moe, n_tiles, moe->kept + n_done * moe->rows.row_bytes);
        for (int i = 0; i < moe->n_out; i++)
            moe->pairs[moe->out_pair[i]].row = (uint32_t)n_done++;
    }
    moe->n_out = 0;
    moe->times.experts_ns += sy_clock_ns() - begin_ns;
    if (moe->nudged)
        *err = moe->nudged_err;
    return moe->nudged;
}
