/* SPDX-License-Identifier: Apache-2.0
 * experts.c - grouped expert MLPs over the rows that are here
 *
 * An expert runs once for all its rows where that can be, so that its weights are read once (batch.h). One batch at a time,
 * so that chunks move in between.
 */
#include "base/clock.h"
#include "base/range.h"
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

/* Rows of a batch at most. */
static int batch_rows(const struct sy_moe *moe)
{
    return moe->n_ranks > 1 && !moe->in_turn ? sy_batch_rows_shared(&moe->config) : sy_batch_rows(&moe->config);
}

/* Make tiles, behind the n_out rows that wait, of slots that have at least min_rows of first: with all rows there whose are
 * from first to last. Only a slot that alone has more than a batch is cut. */
static int fill_batch(struct sy_moe *moe, enum sy_whose first, enum sy_whose last, int min_rows)
{
    int n_tiles = 0, begin = moe->n_out, n_most = begin + batch_rows(moe);

    for (int slot = 0; slot < moe->n_slots && moe->n_out < n_most; slot++) {
        int count = 0;
        for (int whose = (int)first; whose <= (int)last; whose++)
            count += moe->pending[slot][whose].count;
        if (!count || moe->pending[slot][first].count < min_rows || (n_tiles && moe->n_out + count > n_most))
            continue;
        const struct sy_expert_weights *expert = sy_residency_acquire(moe->config.residency, moe->layer, slot);
        struct sy_tile *tile = &moe->tiles[n_tiles++];
        *tile = (struct sy_tile){&expert->gate_up, &expert->down, moe->n_out - begin, 0};
        for (int whose = (int)first; whose <= (int)last; whose++)
            take(moe, &moe->pending[slot][whose], tile, n_most);
    }
    moe->n_pending -= moe->n_out - begin;
    return n_tiles;
}

/* Run the tiles of the batch behind the first `begin` rows; results go to out_at. */
static enum sy_status compute(struct sy_moe *moe, int n_tiles, int begin, struct sy_error *err)
{
    const struct sy_moe_config *config = &moe->config;

    SY_RANGE("experts");
    config->kernels->copy_rows(config->queue, moe->batch_in, NULL, moe->rows_in, moe->batch_rows + begin,
                               moe->n_out - begin, moe->rows.row_bytes);
    config->kernels->expert_gate_up(config->queue, moe->tiles, n_tiles, moe->batch_in, config->wire, &config->glu,
                                    moe->act);
    config->kernels->expert_down(config->queue, moe->tiles, n_tiles, moe->act, config->wire, NULL, moe->out_at + begin,
                                 config->wire);
    return config->kernels->queue_sync(config->queue, err);
}

/* What to run now. While more rows of others are on their way: many of this rank's own, for links are busy with rows anyway,
 * or else many of others. Then experts that others wait for, with what is left of this rank's own for them, since they are
 * read once for both. The rest of its own is last, or next when there is no room for results of others. */
static int choose_batch(struct sy_moe *moe, bool moved, int64_t now_ns)
{
    int n_waiting = moe->n_out_used > moe->n_out ? moe->n_out_used : moe->n_out, n_tiles = 0;
    bool arrived = sy_dispatch_arrived(moe), room = n_waiting + batch_rows(moe) <= sy_batch_rows(&moe->config);

    if (!arrived && (moved || now_ns - moe->arrival_ns < SY_PATIENCE_NS))
        return 0;
    if (!arrived)
        n_tiles = fill_batch(moe, SY_OWN, SY_OWN, SY_TILE_ROWS_MIN);
    if (!n_tiles && room)
        n_tiles = arrived ? fill_batch(moe, SY_OTHERS, SY_OWN, 1)
                          : fill_batch(moe, SY_OTHERS, SY_OTHERS, SY_TILE_ROWS_MIN);
    if (!n_tiles && arrived)
        n_tiles = fill_batch(moe, SY_OWN, SY_OWN, room ? 1 : SY_TILE_ROWS_MIN);
    return n_tiles;
}

/* Where the batch behind the first `begin` rows puts its results. */
static void place_results(struct sy_moe *moe, int begin)
{
    for (int i = begin; i < moe->n_out; i++) {
        moe->out_at[i] = sy_combine_place(moe, &moe->pairs[moe->out_pair[i]]);
        if (!moe->out_at[i])
            moe->out_at[i] = moe->out + (size_t)moe->n_out_used++ * moe->rows.row_bytes;
    }
}

enum sy_status sy_experts_run_ready(struct sy_moe *moe, bool *moved, struct sy_error *err)
{
    int64_t begin_ns = sy_clock_ns();

    hand_back(moe, moved);
    int begin = moe->n_out;
    if (!begin && moe->n_out_used) {
        sy_combine_keep(moe);
        moe->n_out_used = 0;
    }
    int n_tiles = choose_batch(moe, *moved, begin_ns);
    if (n_tiles) {
        place_results(moe, begin);
        moe->computing = true;
        enum sy_status st = compute(moe, n_tiles, begin, err);
        moe->computing = false;
        if (st)
            return st;
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
        int n_tiles = fill_batch(moe, SY_OTHERS, SY_OWN, 0);
        for (int i = 0; i < moe->n_out; i++) {
            struct sy_pair *pair = &moe->pairs[moe->out_pair[i]];
            bool own = pair->source == moe->rank;
            pair->row = (uint32_t)n_done;
            moe->out_at[i] = own ? sy_combine_place(moe, pair) : moe->kept + n_done * moe->rows.row_bytes;
            n_done += !own;
        }
        enum sy_status st = compute(moe, n_tiles, 0, err);
        if (st)
            return st;
    }
    moe->n_out = 0;
    moe->times.experts_ns += sy_clock_ns() - begin_ns;
    if (moe->nudged)
        *err = moe->nudged_err;
    return moe->nudged;
}
