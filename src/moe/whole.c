/* SPDX-License-Identifier: Apache-2.0
 * whole.c - all experts of a layer in one call, without a look from the host
 */
#include "moe/whole.h"

#include <stdlib.h>

/* The first expert of the first layer that has any; NULL without. */
static const struct sy_expert_weights *any_expert(const struct sy_residency *residency)
{
    for (int i = 0; i < residency->n_layers * residency->max_slots; i++)
        if (residency->experts[i].gate_up.n)
            return &residency->experts[i];
    return NULL;
}

bool sy_whole_one_type(const struct sy_moe_config *config)
{
    const struct sy_residency *residency = config->residency;
    const struct sy_expert_weights *first = residency ? any_expert(residency) : NULL;

    for (int i = 0; first && i < residency->n_layers * residency->max_slots; i++) {
        const struct sy_expert_weights *expert = &residency->experts[i];
        if (expert->gate_up.n &&
            (expert->gate_up.dtype != first->gate_up.dtype || expert->down.dtype != first->gate_up.dtype))
            return false;
    }
    return first != NULL;
}

enum sy_dtype sy_whole_type(const struct sy_moe_config *config)
{
    return any_expert(config->residency)->gate_up.dtype;
}

bool sy_whole_fits(const struct sy_moe_config *config, int n_ranks)
{
    return config->kernels->moe_run && n_ranks == 1 && !config->in_turn && !config->reverse_k &&
           config->wire == SY_BF16 && sy_whole_one_type(config);
}

static struct sy_moe_shape shape_of(const struct sy_moe_config *config, int T)
{
    return (struct sy_moe_shape){.T = T,
                                 .D = config->hidden,
                                 .F = config->expert_width,
                                 .E = config->rule.n_experts,
                                 .K = config->rule.top_k,
                                 .w_dtype = sy_whole_type(config)};
}

static size_t table_bytes(const struct sy_moe_config *config)
{
    return sy_arena_round(config->kernels->moe_table_bytes(config->rule.n_experts));
}

static size_t workspace_bytes(const struct sy_moe_config *config)
{
    struct sy_moe_shape shape = shape_of(config, config->max_tokens);

    return sy_arena_round(config->kernels->moe_bytes(&shape));
}

static size_t own_bytes(const struct sy_moe_config *config)
{
    return config->shared_width ? sy_arena_round((size_t)config->max_tokens * (size_t)config->hidden * sizeof(uint16_t))
                                : 0;
}

size_t sy_whole_bytes(const struct sy_moe_config *config)
{
    return workspace_bytes(config) + (size_t)config->residency->n_layers * table_bytes(config) + own_bytes(config) +
           sy_arena_round(sizeof(uint64_t));
}

static const struct sy_expert_weights *weights_of(const struct sy_moe *moe, int layer, int expert)
{
    const struct sy_moe_config *config = &moe->config;
    struct sy_home home = sy_placement_choose(config->placement, layer, expert, moe->rank);

    return sy_residency_acquire(config->residency, layer, home.slot);
}

enum sy_status sy_whole_init(struct sy_moe *moe, struct sy_error *err)
{
    const struct sy_moe_config *config = &moe->config;
    struct sy_arena *arena = &moe->arenas[SY_PLACE_DEVICE];
    int E = config->rule.n_experts;
    struct sy_expert *experts = calloc((size_t)E, sizeof *experts);

    if (!experts)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for a table of %d experts", E);
    moe->whole.workspace = sy_arena_take(arena, workspace_bytes(config));
    moe->whole.tables = sy_arena_take(arena, (size_t)config->residency->n_layers * table_bytes(config));
    moe->whole.own = own_bytes(config) ? sy_arena_take(arena, own_bytes(config)) : NULL;
    moe->whole.n_active = sy_arena_take(arena, sizeof(uint64_t));
    for (int l = 0; l < config->residency->n_layers; l++) {
        if (!sy_residency_acquire(config->residency, l, 0)->gate_up.n)
            continue;
        for (int e = 0; e < E; e++) {
            const struct sy_expert_weights *weights = weights_of(moe, l, e);
            experts[e] = (struct sy_expert){&weights->gate_up, &weights->down};
        }
        config->kernels->moe_table(config->queue, experts, E, moe->whole.tables + (size_t)l * table_bytes(config));
    }
    enum sy_status st = config->kernels->queue_sync(config->queue, err);
    free(experts);
    return st;
}

void sy_whole_run(struct sy_moe *moe, int layer, const struct sy_layer_weights *weights, const float *h, int T,
                  float *x)
{
    const struct sy_moe_config *config = &moe->config;
    struct sy_router_rule rule = config->rule;

    moe->T = T;
    if (config->shared_width) {
        config->kernels->convert(config->queue, moe->whole.own, SY_BF16, h, SY_F32, (size_t)T * (size_t)config->hidden);
        sy_shared_run(moe, weights, h, moe->whole.own);
    }
    rule.correction = weights->correction;
    config->kernels->moe_run(config->queue,
                             &(struct sy_moe_run){.shape = shape_of(config, T),
                                                  .from = moe->whole.from,
                                                  .rule = &rule,
                                                  .router = &weights->router,
                                                  .h = h,
                                                  .logits = moe->logits,
                                                  .ids = moe->ids,
                                                  .weights = moe->weights,
                                                  .table = moe->whole.tables + (size_t)layer * table_bytes(config),
                                                  .glu = config->glu,
                                                  .shared = config->shared_width ? moe->shared : NULL,
                                                  .x = x,
                                                  .n_active = moe->whole.n_active,
                                                  .workspace = moe->whole.workspace});
    moe->work.n_pairs += (uint64_t)T * (uint64_t)config->rule.top_k;
}

enum sy_status sy_whole_truth(struct sy_moe *moe, int layer, const float *h, int t, float *y, struct sy_error *err)
{
    const struct sy_moe_config *config = &moe->config;
    const struct sy_kernels *k = config->kernels;
    size_t K = (size_t)config->rule.top_k, D = (size_t)config->hidden, F = (size_t)config->expert_width;
    size_t n = F + K * D + D; /* activations of one expert, results of all, and their sum */
    float *act = k->alloc(n * sizeof *act), *results, *sum;
    int32_t *ids = calloc(K, sizeof *ids);
    enum sy_status st = act && ids ? SY_OK : sy_error_set(err, SY_ERR_SYSTEM, "no memory for results in FP32");

    if (!st) {
        k->copy(config->queue, ids, moe->ids + (size_t)t * K, K * sizeof *ids);
        st = k->queue_sync(config->queue, err);
    }
    results = st ? NULL : act + F;
    sum = st ? NULL : results + K * D;
    for (size_t i = 0; i < K && !st; i++) {
        const struct sy_expert_weights *weights = weights_of(moe, layer, ids[i]);
        struct sy_tile tile = {&weights->gate_up, &weights->down, 0, 1};
        k->expert_gate_up(config->queue, &tile, 1, h + (size_t)t * D, SY_F32, &config->glu, act);
        k->expert_down(config->queue, &tile, 1, act, SY_F32, results + i * D, NULL, SY_F32);
    }
    if (!st) {
        k->combine(config->queue, results, SY_F32, moe->weights + (size_t)t * K, 1, (int)K, (int)D, NULL, false, sum);
        k->copy(config->queue, y, sum, D * sizeof *y);
        st = k->queue_sync(config->queue, err);
    }
    k->free(act, n * sizeof *act);
    free(ids);
    return st;
}
