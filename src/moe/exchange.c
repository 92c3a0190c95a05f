/* SPDX-License-Identifier: Apache-2.0
 * exchange.c - dispatch and combine without anything in between: for layers in turn, and for measurements
 *
 * The same plan, chunks and rings as with overlap. In measurements of the exchange alone experts return the rows that they get.
 */
#include <string.h>

#include "base/clock.h"
#include "base/range.h"
#include "moe/across.h"
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
    enum sy_status st = sy_dispatch_move(moe, &moved, err);

    if (!st && combine)
        st = sy_combine_push(moe, &moved, err);
    if (!st && combine)
        st = sy_combine_drain(moe, &moved, err);
    if (st)
        return st;
    if (moved)
        sy_wait_reset(wait);
    return moved || sy_wait_pause(wait) ? SY_OK : sy_moe_overdue(moe, err);
}

enum sy_status sy_exchange_rows(struct sy_moe *moe, struct sy_error *err)
{
    enum sy_status st = SY_OK;
    struct sy_wait wait;

    SY_RANGE("dispatch");
    sy_wait_begin(&wait, sy_group_timeout_ms(sy_fabric_group(moe->config.fabric)));
    while (!st && !(all_sent(moe) && sy_dispatch_arrived(moe)))
        st = turn(moe, &wait, false, err);
    return st;
}

/* n rows to their places at rank p, between devices. */
static void copy_back(struct sy_moe *moe, int p, const uint8_t *rows, const uint32_t *from, const uint32_t *to, int n)
{
    const struct sy_moe_config *config = &moe->config;
    size_t row_bytes = moe->rows.row_bytes, results = (size_t)(moe->results - moe->rows_in);
    bool stores = sy_fabric_stores(config->fabric);

    while (n > 0) {
        int together;
        sy_fabric_room(config->fabric, p, SY_LANE_COMBINE, &together);
        together = n < together ? n : together;
        /* Those that are stored here first are one behind the other; their own places are asked for one by one. */
        void *base = sy_fabric_place(config->fabric, p, SY_LANE_COMBINE, results + (stores ? to[0] * row_bytes : 0),
                                     stores ? row_bytes : (size_t)together * row_bytes);
        for (int i = 1; i < together && stores; i++)
            sy_fabric_place(config->fabric, p, SY_LANE_COMBINE, results + to[i] * row_bytes, row_bytes);
        config->kernels->copy_rows(config->queue, base, stores ? NULL : to, rows, from, together, row_bytes);
        from += together;
        to += together;
        n -= together;
    }
}

/* Rows of pairs from begin on to their places at the sources, between devices, as far as there is room. Returns how many. */
static int write_on_device(struct sy_moe *moe, int begin, const uint8_t *rows)
{
    uint32_t *from = moe->back_from, *to = moe->back_to;
    int end = begin, room[moe->n_ranks], together;

    for (int p = 0; p < moe->n_ranks; p++)
        room[p] = sy_fabric_room(moe->config.fabric, p, SY_LANE_COMBINE, &together);
    while (end < moe->n_pairs && room[moe->pairs[end].source]-- > 0)
        end++;
    for (int p = 0; p < moe->n_ranks; p++) {
        int n = 0;
        for (int i = begin; i < end && p != moe->rank; i++) {
            if (moe->pairs[i].source != p)
                continue;
            from[n] = moe->pairs[i].row;
            to[n++] = moe->pairs[i].index;
        }
        copy_back(moe, p, rows, from, to, n);
        from += n;
        to += n;
    }
    return end - begin;
}

/* Send a pair's row back to its source, or straight to its place there; own results are in place. */
static enum sy_status give_back(struct sy_moe *moe, const struct sy_pair *pair, const uint8_t *row,
                                struct sy_wait *wait, struct sy_error *err)
{
    bool there = pair->source == moe->rank || sy_fabric_on_device(moe->config.fabric);
    uint8_t *place = there ? NULL : sy_combine_place(moe, pair);
    enum sy_status st;

    if (place)
        memcpy(place, row, moe->rows.row_bytes);
    while ((st = sy_combine_return(moe, pair, row)) == SY_AGAIN)
        if ((st = turn(moe, wait, true, err)))
            return st;
    return st;
}

/* Some pairs' rows from begin on, none when there is no room. Returns how many through n. */
static enum sy_status give_some_back(struct sy_moe *moe, int begin, const uint8_t *rows, int *n, struct sy_wait *wait,
                                     struct sy_error *err)
{
    enum sy_status st = SY_OK;

    *n = moe->n_pairs - begin;
    if (sy_fabric_on_device(moe->config.fabric)) {
        *n = write_on_device(moe, begin, rows);
        st = *n ? moe->config.kernels->queue_sync(moe->config.queue, err) : turn(moe, wait, true, err);
    }
    for (int i = begin; i < begin + *n && !st; i++)
        st = give_back(moe, &moe->pairs[i], rows + moe->pairs[i].row * moe->rows.row_bytes, wait, err);
    return st;
}

enum sy_status sy_exchange_results(struct sy_moe *moe, const uint8_t *rows, struct sy_error *err)
{
    enum sy_status st = SY_OK;
    struct sy_wait wait;

    SY_RANGE("combine");
    sy_wait_begin(&wait, sy_group_timeout_ms(sy_fabric_group(moe->config.fabric)));
    for (int i = 0, n; i < moe->n_pairs && !st; i += n)
        st = give_some_back(moe, i, rows, &n, &wait, err);
    while (!st && !sy_combine_done(moe))
        st = turn(moe, &wait, true, err);
    return st;
}

enum sy_status sy_exchange_ready(struct sy_moe *moe, int layer, const int32_t *ids, int T, struct sy_error *err)
{
    moe->layer = layer;
    moe->T = T;
    sy_plan_make(&moe->plan, moe->config.placement, layer, moe->rank, ids, T);
    enum sy_status st = sy_across_agree(moe, T, err);
    return !st && moe->across.way ? sy_across_ready(moe, ids, err) : st;
}

enum sy_status sy_exchange_dispatch(struct sy_moe *moe, const int32_t *ids, struct sy_error *err)
{
    if (moe->across.way)
        return sy_across_dispatch(moe, err);
    moe->sequence++;
    sy_plan_make(&moe->plan, moe->config.placement, moe->layer, moe->rank, ids, moe->T);
    sy_dispatch_start(moe);
    return sy_exchange_rows(moe, err);
}

enum sy_status sy_exchange_combine(struct sy_moe *moe, struct sy_error *err)
{
    if (moe->across.way)
        return sy_across_combine(moe, err);
    /* Nothing will be computed. */
    moe->n_pending = 0;
    return sy_exchange_results(moe, moe->rows_in, err);
}
