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
    size_t element = sy_dtype_bytes(forward->config.rows), n_blocks = (size_t)sy_logit_blocks(model->vocab);
    size_t nq = (size_t)model->n_heads * (size_t)model->head_dim,
           nkv = (size_t)model->n_kv_heads * (size_t)model->head_dim;

#define TAKE_BYTES(field, bytes) (total += sy_arena_round(bytes), (field) = arena ? sy_arena_take(arena, bytes) : NULL)
#define TAKE(field, n)           TAKE_BYTES(field, (n) * sizeof *(field))
    TAKE(forward->x, T * D);
    TAKE(forward->h, T * D);
    TAKE(forward->qkv, T * (nq + 2 * nkv));
    TAKE_BYTES(forward->h_rows, T * D * element);
    TAKE_BYTES(forward->context, T * nq * element);
    TAKE(forward->delta, model->dense_width ? T * D : 0);
    TAKE_BYTES(forward->act, T * (size_t)model->dense_width * element);
    TAKE(forward->cos_sin, (size_t)n_positions(&forward->config) * (size_t)model->rope.rotary_dim);
    TAKE(forward->logit_rows, SY_LOGIT_ROWS * D);
    TAKE_BYTES(forward->logit_h, SY_LOGIT_ROWS * D * element);
    TAKE(forward->logits, SY_LOGIT_ROWS * (size_t)model->vocab);
    TAKE(forward->block_max, SY_LOGIT_ROWS * n_blocks);
    TAKE(forward->block_sums, 2 * SY_LOGIT_ROWS * n_blocks);
#undef TAKE
#undef TAKE_BYTES
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
    size_t n_blocks = (size_t)sy_logit_blocks(config->model->vocab);
    for (size_t i = 0; i < SY_LOGIT_ROWS; i++) {
        forward->scans[i].block_max = forward->block_max + i * n_blocks;
        forward->scans[i].block_weight = forward->block_sums + 2 * i * n_blocks;
        forward->scans[i].block_exp = forward->scans[i].block_weight + n_blocks;
    }
    sy_rope_table(&config->model->rope, n_positions(config), forward->cos_sin);
    return SY_OK;
}

void sy_forward_fini(struct sy_forward *forward)
{
    sy_arena_fini(&forward->arena);
    *forward = (struct sy_forward){0};
}

/* x += dense SwiGLU MLP of the rows: an expert that every row goes to. */
static void run_dense(struct sy_forward *forward, int T, const struct sy_layer_weights *weights)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_kernels *k = config->kernels;
    struct sy_tile tile = {&weights->dense_gate_up, &weights->dense_down, 0, T};

    k->expert_gate_up(config->queue, &tile, 1, forward->h_rows, config->rows, forward->act);
    k->expert_down(config->queue, &tile, 1, forward->act, config->rows, forward->delta, SY_F32);
    k->add(config->queue, forward->x, forward->delta, T, config->model->hidden);
}

static void count(struct sy_forward_work *work, const struct sy_batch *batch)
{
    work->n_rows += (uint64_t)batch->T;
    for (int i = 0; i < batch->n_spans; i++) {
        uint64_t first = (uint64_t)batch->spans[i].first_position, n = (uint64_t)batch->spans[i].n_rows;
        work->n_keys += n * first + n * (n + 1) / 2;
        work->n_cached += first + n;
    }
}

enum sy_status sy_forward_run(struct sy_forward *forward, const struct sy_batch *batch, struct sy_error *err)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_model *model = config->model;
    const struct sy_kernels *k = config->kernels;
    struct sy_queue *queue = config->queue;
    size_t D = (size_t)model->hidden;
    int T = batch->T;

    count(&forward->work, batch);
    k->embed(queue, &config->shard->embed, batch->ids, T, forward->x);
    for (int l = 0; l < model->n_layers; l++) {
        const struct sy_layer_weights *weights = &config->shard->layers[l];
        int64_t begin_ns = sy_clock_ns();
        k->rmsnorm(queue, forward->x, D, T, 1, model->hidden, weights->attention_norm, model->norm_eps,
                   forward->h_rows, config->rows, D);
        sy_attention_run(forward, batch, l, 0, model->n_heads);
        bool moe = model->layers[l].moe;
        k->rmsnorm(queue, forward->x, D, T, 1, model->hidden, weights->mlp_norm, model->norm_eps,
                   moe ? forward->h : forward->h_rows, moe ? SY_F32 : config->rows, D);
        int64_t mlp_ns = sy_clock_ns();
        forward->attention_ns += mlp_ns - begin_ns;
        if (moe) {
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
                             model->norm_eps, forward->logit_h, config->rows, D);
    config->kernels->gemm(config->queue, &config->shard->lm_head, forward->logit_h, config->rows, D, n_rows, 0,
                          model->vocab, NULL, false, forward->logits, (size_t)model->vocab);
    config->kernels->scan_logits(config->queue, forward->logits, n_rows, model->vocab, forward->scans);
    config->kernels->queue_sync(config->queue);
    forward->work.n_logit_rows += (uint64_t)n_rows;
    forward->logits_ns += sy_clock_ns() - begin_ns;
}
