/* SPDX-License-Identifier: Apache-2.0
 * experts.c - grouped expert MLPs over the rows that are here
 *
 * While rows still arrive, only experts with a good number of rows run, so that weights are read for many rows at once;
 * when everything has arrived the rest runs. One batch at a time, so that chunks move in between.
 */
#include "base/clock.h"
#include "moe/batch.h"
#include "moe/moe.h"

/* Hand back rows of the last batch; those whose peer has no room stay for the next call. */
static void hand_back(struct sy_moe *moe, bool *moved)
{
    int kept = 0;

    for (int i = 0; i < moe->n_out; i++) {
        const struct sy_pair *pair = &moe->pairs[moe->out_pair[i]];
        const uint8_t *row = moe->out + (size_t)moe->out_row[i] * moe->rows.row_bytes;
        if (sy_combine_return(moe, pair, row)) {
            *moved = true;
        } else {
            moe->out_row[kept] = moe->out_row[i];
            moe->out_pair[kept++] = moe->out_pair[i];
        }
    }
    moe->n_out = kept;
}

/* Make tiles of pending pairs: at most SY_BATCH_ROWS rows of slots that have at least min_rows. */
static int fill_batch(struct sy_moe *moe, int min_rows)
{
    int n_tiles = 0, n_rows = 0;

    for (int slot = 0; slot < moe->n_slots && n_rows < SY_BATCH_ROWS; slot++) {
        if (!moe->slot_count[slot] || moe->slot_count[slot] < min_rows)
            continue;
        const struct sy_expert_weights *expert = sy_residency_acquire(moe->config.residency, moe->layer, slot);
        struct sy_tile *tile = &moe->tiles[n_tiles++];
        *tile = (struct sy_tile){&expert->gate_up, &expert->down, moe->tile_rows + n_rows, 0, n_rows};
        while (moe->slot_head[slot] >= 0 && n_rows < SY_BATCH_ROWS) {
            int pair = moe->slot_head[slot];
            moe->tile_rows[n_rows] = moe->pairs[pair].row;
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

void sy_experts_run_ready(struct sy_moe *moe, bool *moved)
{
    const struct sy_moe_config *config = &moe->config;
    int64_t begin_ns = sy_clock_ns();

    hand_back(moe, moved);
    int n_tiles = moe->n_out ? 0 : fill_batch(moe, sy_dispatch_arrived(moe) ? 1 : SY_TILE_ROWS_MIN);
    if (n_tiles) {
        enum sy_round round = config->wire == SY_F32 ? SY_ROUND_NONE : SY_ROUND_BF16;
        config->kernels->expert_gate_up(config->queue, moe->tiles, n_tiles, moe->rows_in, config->wire, round,
                                        moe->act);
        config->kernels->expert_down(config->queue, moe->tiles, n_tiles, moe->act, moe->out, config->wire);
        config->kernels->queue_sync(config->queue);
        hand_back(moe, moved);
        *moved = true;
    }
    moe->times.experts_ns += sy_clock_ns() - begin_ns;
}
