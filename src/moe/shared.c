/* SPDX-License-Identifier: Apache-2.0
 * shared.c - the expert that every token goes to
 */
#include "base/clock.h"
#include "base/range.h"
#include "moe/moe.h"

void sy_shared_run(struct sy_moe *moe, const struct sy_layer_weights *weights, const float *h, const uint8_t *rows)
{
    const struct sy_moe_config *config = &moe->config;
    const struct sy_kernels *k = config->kernels;
    struct sy_tile tile = {&weights->dense_gate_up, &weights->dense_down, 0, moe->T};
    int64_t begin_ns = sy_clock_ns();

    if (!config->shared_width)
        return;
    SY_RANGE("shared expert");
    k->expert_gate_up(config->queue, &tile, 1, rows, config->wire, &config->glu, moe->shared_act);
    k->expert_down(config->queue, &tile, 1, moe->shared_act, config->wire, moe->shared, NULL, SY_F32);
    if (weights->shared_gate.n) {
        k->gemm(config->queue, &weights->shared_gate, h, SY_F32, (size_t)config->hidden, moe->T, 0, 1, false,
                moe->shared_gate, 1);
        k->weigh(config->queue, moe->shared, moe->T, config->hidden, moe->shared_gate);
    }
    moe->times.experts_ns += sy_clock_ns() - begin_ns;
}
