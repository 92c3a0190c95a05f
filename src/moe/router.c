/* SPDX-License-Identifier: Apache-2.0
 * router.c - which experts each token goes to, and with what weight; always FP32
 */
#include "base/clock.h"
#include "base/range.h"
#include "moe/moe.h"

void sy_router_ask(struct sy_moe *moe, const struct sy_layer_weights *weights, const float *h)
{
    int64_t begin_ns = sy_clock_ns();
    struct sy_router_rule rule = moe->config.rule;

    SY_RANGE("router");
    rule.correction = weights->correction;
    moe->config.kernels->router(moe->config.queue, &rule, &weights->router, h, moe->T, moe->logits, moe->ids,
                                moe->weights);
    moe->times.router_ns += sy_clock_ns() - begin_ns;
}

enum sy_status sy_router_wait(struct sy_moe *moe, struct sy_error *err)
{
    int64_t begin_ns = sy_clock_ns();

    SY_RANGE("router wait");
    enum sy_status st = moe->config.kernels->queue_sync(moe->config.queue, err);
    moe->times.router_ns += sy_clock_ns() - begin_ns;
    return st;
}
