/* SPDX-License-Identifier: Apache-2.0
 * forward.c - a batch through the layers
 */
#include "engine/forward.h"

#include <string.h>

#include "base/clock.h"
#include "engine/attention.h"

/* Positions that a sequence can reach: the model's context, or the whole KV cache. */
static int n_positions(const struct sy_forward_config *config)
{
    int cached = config->n_pages * SY_KV_PAGE;

    return cached < config->model->max_context ? cached : config->model->max_context;
}

/* Give every buffer its place; without an arena only add the sizes up. */
static size_t lay_out(struct sy_forward *forward, struct sy_arena *arena)
{
    const struct sy_model *model = forward->config.model;
    size_t T = (size_t)forward->config.max_tokens, D = (size_t)model->hidden, total = 0;
    size_t nq = (size_t)model->n_heads * (size_t)model->head_dim,
           nkv = (size_t)model->n_kv_heads * (size_t)model->head_dim;

#define TAKE(field, n)                               \
    (total += sy_arena_round((n) * sizeof *(field)), \
     (field) = arena ? sy_arena_take(arena, (n) * sizeof *(field)) : NULL)
    TAKE(forward->x, T * D);
    TAKE(forward->h, T * D);
    TAKE(forward->qkv, T * (nq + 2 * nkv));
    TAKE(forward->context, T * nq);
    TAKE(forward->delta, T * D);
    TAKE(forward->rows, model->dense_width ? T * D * sy_dtype_bytes(forward->config.rows) : 0);
    TAKE(forward->act, T * (size_t)model->dense_width);
    TAKE(forward->row_numbers, T);
    TAKE(forward->cos_sin, (size_t)n_positions(&forward->config) * (size_t)model->rope.rotary_dim);
    TAKE(forward->logit_rows, SY_LOGIT_ROWS * D);
    TAKE(forward->logits, SY_LOGIT_ROWS * (size_t)model->vocab);
#undef TAKE
    return total;
}

size_t sy_forward_bytes(const struct sy_forward_config *config)
{
    struct sy_forward forward = {.config = *config};

    return lay_out(&forward, NULL);
}

enum sy_status sy_forward_init(struct sy_forward *forward, const struct sy_forward_config *config,
                               struct sy_error *err)
{
    *forward = (struct sy_forward){.config = *config};
    enum sy_status st = sy_arena_init(&forward->arena, lay_out(forward, NULL), err);
    if (st)
        return st;
    lay_out(forward, &forward->arena);
    for (int t = 0; t < config->max_tokens; t++)
        forward->row_numbers[t] = (uint32_t)t;
    sy_rope_table(&config->model->rope, n_positions(config), forward->cos_sin);
    return SY_OK;
}

void sy_forward_fini(struct sy_forward *forward)
{
    sy_arena_fini(&forward->arena);
    *forward = (struct sy_forward){0};
}

/* delta = dense SwiGLU MLP of h: an expert that every row goes to. */
static void run_dense(struct sy_forward *forward, int T, const struct sy_layer_weights *weights)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_kernels *k = config->kernels;
    struct sy_tile tile = {&weights->dense_gate_up, &weights->dense_down, forward->row_numbers, T, 0};
    const void *rows = forward->h;

    if (config->rows != SY_F32) {
        k->convert(config->queue, forward->rows, config->rows, forward->h, SY_F32,
                   (size_t)T * (size_t)config->model->hidden);
        rows = forward->rows;
    }
    k->expert_gate_up(config->queue, &tile, 1, rows, config->rows, config->round, forward->act);
    k->expert_down(config->queue, &tile, 1, forward->act, forward->delta, SY_F32);
    k->add(config->queue, forward->x, forward->delta, T, config->model->hidden);
}

enum sy_status sy_forward_run(struct sy_forward *forward, const struct sy_batch *batch, struct sy_error *err)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_model *model = config->model;
    const struct sy_kernels *k = config->kernels;
    struct sy_queue *queue = config->queue;
    size_t D = (size_t)model->hidden;
    int T = batch->T;

    k->embed(queue, &config->shard->embed, batch->ids, T, forward->x);
    for (int l = 0; l < model->n_layers; l++) {
        const struct sy_layer_weights *weights = &config->shard->layers[l];
        int64_t begin_ns = sy_clock_ns();
        k->rmsnorm(queue, forward->x, D, T, 1, model->hidden, weights->attention_norm, model->norm_eps, config->round,
                   forward->h, D);
        sy_attention_run(forward, batch, l, 0, model->n_heads);
        k->add(queue, forward->x, forward->delta, T, model->hidden);
        k->rmsnorm(queue, forward->x, D, T, 1, model->hidden, weights->mlp_norm, model->norm_eps, SY_ROUND_NONE,
                   forward->h, D);
        int64_t mlp_ns = sy_clock_ns();
        forward->attention_ns += mlp_ns - begin_ns;
        if (model->layers[l].moe) {
            enum sy_status st = sy_moe_layer(config->moe, l, &weights->router, forward->h, T, forward->x, err);
            if (st)
                return st;
        } else {
            run_dense(forward, T, weights);
            forward->dense_ns += sy_clock_ns() - mlp_ns;
        }
    }
    return SY_OK;
}

void sy_forward_logits(struct sy_forward *forward, const int *rows, int n_rows)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_model *model = config->model;
    size_t D = (size_t)model->hidden;
    int64_t begin_ns = sy_clock_ns();

    for (int i = 0; i < n_rows; i++)
        memcpy(forward->logit_rows + (size_t)i * D, forward->x + (size_t)rows[i] * D, D * sizeof(float));
    config->kernels->rmsnorm(config->queue, forward->logit_rows, D, n_rows, 1, model->hidden, config->shard->final_norm,
                             model->norm_eps, config->round, forward->logit_rows, D);
    config->kernels->gemm(config->queue, &config->shard->lm_head, forward->logit_rows, D, n_rows, 0, model->vocab, NULL,
                          forward->logits, (size_t)model->vocab);
    config->kernels->queue_sync(config->queue);
    forward->logits_ns += sy_clock_ns() - begin_ns;
}
