/* SPDX-License-Identifier: Apache-2.0
 * exchange.c - dispatch and combine without anything in between, for measurements
 *
 * The same plan, chunks and rings as in a layer; the experts return the rows that they get.
 */
#include <string.h>

#include "base/clock.h"
#include "moe/moe.h"

static bool all_sent(const struct sy_moe *moe)
{
    for (int p = 0; p < moe->n_ranks; p++)
        if (!moe->peers[p].sent_last)
            return false;
    return true;
}

/* One look at the network, and a pause if nothing came of it. */
static enum sy_status turn(struct sy_moe *moe, struct sy_wait *wait, bool combine, struct sy_error *err)
{
    bool moved = false;
    enum sy_status st = combine ? sy_combine_push(moe, &moved, err) : sy_dispatch_push(moe, &moved, err);

    if (!st)
        st = sy_dispatch_drain(moe, &moved, err);
    if (!st && combine)
        st = sy_combine_drain(moe, &moved, err);
    if (st)
        return st;
    if (moved)
        sy_wait_reset(wait);
    return moved || sy_wait_pause(wait) ? SY_OK : sy_moe_overdue(moe, err);
}

enum sy_status sy_exchange_dispatch(struct sy_moe *moe, int layer, const int32_t *ids, int T, struct sy_error *err)
{
    enum sy_status st = SY_OK;
    struct sy_wait wait;

    moe->layer = layer;
    moe->T = T;
    moe->sequence++;
    sy_plan_make(&moe->plan, moe->config.placement, layer, moe->rank, ids, T);
    sy_dispatch_start(moe);
    sy_wait_begin(&wait, sy_group_timeout_ms(sy_fabric_group(moe->config.fabric)));
    while (!st && !(all_sent(moe) && sy_dispatch_arrived(moe)))
        st = turn(moe, &wait, false, err);
    return st;
}

/* Send a pair's row back to its source, or put it in place here. */
static enum sy_status give_back(struct sy_moe *moe, const struct sy_pair *pair, struct sy_wait *wait,
                                struct sy_error *err)
{
    size_t row_bytes = moe->rows.row_bytes;
    const uint8_t *row = moe->rows_in + pair->row * row_bytes;
    enum sy_status st;

    if (pair->source == moe->rank) {
        memcpy(moe->results + pair->index * row_bytes, row, row_bytes);
        moe->peers[moe->rank].n_outstanding--;
        moe->peers[moe->rank].n_returned++;
        return SY_OK;
    }
    while ((st = sy_combine_return(moe, pair, row, err)) == SY_AGAIN) {
        st = turn(moe, wait, true, err);
        if (st)
            return st;
    }
    return st;
}

enum sy_status sy_exchange_combine(struct sy_moe *moe, struct sy_error *err)
{
    enum sy_status st = SY_OK;
    struct sy_wait wait;

    sy_wait_begin(&wait, sy_group_timeout_ms(sy_fabric_group(moe->config.fabric)));
    for (int slot = 0; slot < moe->n_slots; slot++) {
        for (int i = moe->slot_head[slot]; i >= 0 && !st; i = moe->pairs[i].next)
            st = give_back(moe, &moe->pairs[i], &wait, err);
        moe->slot_head[slot] = -1;
        moe->slot_count[slot] = 0;
    }
    moe->n_pending = 0;
    while (!st && !sy_combine_done(moe))
        st = turn(moe, &wait, true, err);
    return st;
}
