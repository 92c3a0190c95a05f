/* SPDX-License-Identifier: Apache-2.0
 * layer.c - one mixture-of-experts layer: router, plan, dispatch, experts, combine
 *
 *   h ──> router ──> plan ──> dispatch ──> experts, shared ──> combine ──> x
 *                              └── chunks travel while tiles are computed ──┘
 *
 * On a GPU that has all experts whole.c takes all of it in one call, and on GPUs that write to each other's memory across.c
 * in some. Elsewhere the kernels up to the plan can be recorded: they are a part of their own.
 */
#include "base/clock.h"
#include "base/range.h"
#include "moe/across.h"
#include "moe/moe.h"
#include "moe/whole.h"

/* Whatever can move now, in both directions; in between, experts whose rows are here, if those may run. */
static enum sy_status move(struct sy_moe *moe, bool may_compute, bool *moved, struct sy_error *err)
{
    enum sy_status st = sy_dispatch_move(moe, moved, err);

    if (!st && may_compute)
        st = sy_experts_run_ready(moe, moved, err);
    if (!st)
        st = sy_combine_push(moe, moved, err);
    if (!st)
        st = sy_combine_drain(moe, moved, err);
    return st;
}

void sy_moe_nudge(void *arg)
{
    struct sy_moe *moe = arg;
    int64_t begin_ns = sy_clock_ns();
    bool moved = false;

    if (moe->nudged)
        return;
    if (!moe->computing) {
        moe->nudged = sy_fabric_progress(moe->config.fabric, &moe->nudged_err);
        return;
    }
    moe->nudged = move(moe, false, &moved, &moe->nudged_err);
    /* move() counts it where it belongs. */
    moe->times.experts_ns -= sy_clock_ns() - begin_ns;
}

/* Chunks travel while tiles are computed. */
static enum sy_status overlapped(struct sy_moe *moe, const struct sy_layer_weights *weights, const float *h,
                                 struct sy_error *err)
{
    struct sy_wait wait;
    bool moved = false;
    SY_RANGE("exchange");
    enum sy_status st = sy_dispatch_move(moe, &moved, err);

    if (st)
        return st;
    sy_shared_run(moe, weights, h, sy_dispatch_own(moe, 0));
    sy_wait_begin(&wait, sy_group_timeout_ms(sy_fabric_group(moe->config.fabric)));
    while (!sy_combine_done(moe)) {
        moved = false;
        if ((st = move(moe, true, &moved, err)))
            return st;
        int64_t begin_ns = sy_clock_ns();
        if (moved) {
            moe->arrival_ns = begin_ns;
            sy_wait_reset(&wait);
            continue;
        }
        if (!sy_wait_pause(&wait))
            return sy_moe_overdue(moe, err);
        moe->times.wait_ns += sy_clock_ns() - begin_ns;
    }
    return SY_OK;
}

static enum sy_status between(struct sy_moe *moe, struct sy_error *err)
{
    return moe->between ? moe->between(moe->between_ctx, err) : SY_OK;
}

/* Each part when the one before it is done: what overlap is measured against. */
static enum sy_status in_turn(struct sy_moe *moe, const struct sy_layer_weights *weights, const float *h,
                              struct sy_error *err)
{
    enum sy_status st;

    if ((st = between(moe, err)) || (st = sy_exchange_rows(moe, err)) || (st = between(moe, err)))
        return st;
    sy_shared_run(moe, weights, h, sy_dispatch_own(moe, 0));
    if ((st = sy_experts_run_all(moe, err)) || (st = between(moe, err)) ||
        (st = sy_exchange_results(moe, moe->kept, err)))
        return st;
    return between(moe, err);
}

void sy_moe_ask(struct sy_moe *moe, const struct sy_layer_weights *weights, const float *h, int T)
{
    moe->T = T;
    if (sy_moe_records(moe))
        return;
    sy_router_ask(moe, weights, h);
    sy_dispatch_round(moe, h);
}

enum sy_status sy_moe_answer(struct sy_moe *moe, int layer, const struct sy_layer_weights *weights, const float *h,
                             int T, float *x, struct sy_error *err)
{
    moe->layer = layer;
    moe->T = T;
    if (moe->across.way)
        return sy_across_run(moe, layer, weights, h, T, x, err);
    if (sy_moe_records(moe)) {
        sy_whole_run(moe, layer, weights, h, T, x);
        return SY_OK;
    }
    moe->sequence++;
    enum sy_status st = sy_router_wait(moe, err);
    if (st)
        return st;
    sy_plan_make(&moe->plan, moe->config.placement, layer, moe->rank, moe->ids, T);
    sy_dispatch_start(moe);
    st = moe->in_turn ? in_turn(moe, weights, h, err) : overlapped(moe, weights, h, err);
    if (st)
        return st;
    sy_combine_finish(moe, x);
    return SY_OK;
}

enum sy_status sy_moe_layer(struct sy_moe *moe, int layer, const struct sy_layer_weights *weights, const float *h,
                            int T, float *x, struct sy_error *err)
{
    sy_moe_ask(moe, weights, h, T);
    return sy_moe_answer(moe, layer, weights, h, T, x, err);
}
