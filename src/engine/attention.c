/* SPDX-License-Identifier: Apache-2.0
 * attention.c - projections, norms, rotary embedding, cache and attention of one layer
 */
#include "engine/attention.h"

#include "base/range.h"

/* Normalise queries and keys as the architecture wants it: each head on its own, or the whole projection. */
static void normalise_qk(struct sy_forward *forward, int T, const struct sy_layer_weights *weights, size_t stride)
{
    const struct sy_model *model = forward->config.model;
    const struct sy_kernels *k = forward->config.kernels;
    int dh = model->head_dim, nq = model->n_heads * dh, nkv = model->n_kv_heads * dh;
    float *q = forward->qkv, *key = forward->qkv + nq;

    if (model->qk_norm == SY_QK_NORM_NONE)
        return;
    bool full = model->qk_norm == SY_QK_NORM_FULL;
    k->rmsnorm(forward->config.queue, q, stride, T, full ? 1 : model->n_heads, full ? nq : dh, weights->q_norm,
               model->norm_eps, q, SY_F32, stride);
    k->rmsnorm(forward->config.queue, key, stride, T, full ? 1 : model->n_kv_heads, full ? nkv : dh, weights->k_norm,
               model->norm_eps, key, SY_F32, stride);
}

/* Norms, the rotation, and keys and values to the cache. The heads of the keys follow those of the queries. */
static void prepare_heads(struct sy_forward *forward, int T, const struct sy_layer_weights *weights,
                          struct sy_heads *heads)
{
    const struct sy_model *model = forward->config.model;
    const struct sy_kernels *k = forward->config.kernels;
    struct sy_queue *queue = forward->config.queue;
    size_t stride = heads->turn.x_stride;
    bool together = k->heads && model->qk_norm != SY_QK_NORM_FULL && model->clip_qkv <= 0;

    if (together && model->qk_norm != SY_QK_NORM_NONE) {
        heads->q_norm = weights->q_norm;
        heads->k_norm = weights->k_norm;
    }
    if (together) {
        k->heads(queue, heads);
        return;
    }
    normalise_qk(forward, T, weights, stride);
    if (model->clip_qkv > 0)
        k->clamp(queue, forward->qkv, stride, T, (int)stride, model->clip_qkv);
    k->rope(queue, &heads->turn);
    k->kv_write(queue, &heads->kv, heads->turn.rows, T, forward->qkv + model->n_heads * model->head_dim, heads->values,
                stride);
}

void sy_attention_rows(const struct sy_forward *forward, const struct sy_attention *all, int first)
{
    const struct sy_forward_config *config = &forward->config;
    size_t out_row = (size_t)(all->n_heads * all->kv.v_dim) * sy_dtype_bytes(all->out_dtype);

    if (!config->kernels->on_device) {
        config->kernels->attention(config->queue, all);
        return;
    }
    for (int i = 0; i < forward->inputs.n_runs; i++) {
        const struct sy_row_run *run = &forward->inputs.runs[i];
        int begin = run->first > first ? run->first - first : 0, end = run->first + run->n_rows - first;
        if (end > all->n_rows)
            end = all->n_rows;
        if (begin >= end)
            continue;
        struct sy_attention part = *all;
        part.n_rows = end - begin;
        part.decode = run->decode;
        part.n_keys = run->n_keys;
        part.rows += begin;
        part.q += (size_t)begin * all->q_stride;
        part.out = (uint8_t *)all->out + (size_t)begin * out_row;
        config->kernels->attention(config->queue, &part);
    }
}

void sy_attention_project(struct sy_forward *forward, int T, const struct sy_layer_weights *weights, int width)
{
    const struct sy_forward_config *config = &forward->config;
    bool direct = config->model->residual_scale == 1;
    size_t D = (size_t)config->model->hidden;

    config->kernels->gemm(config->queue, &weights->o, forward->context, config->rows, (size_t)width, T, 0, (int)D,
                          direct, direct ? forward->x : forward->delta, D);
    if (!direct)
        sy_forward_add_scaled(forward, T);
}

void sy_attention_run(struct sy_forward *forward, int l, int head_begin, int head_end)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_model *model = config->model;
    const struct sy_kernels *k = config->kernels;
    const struct sy_layer_weights *weights = &config->shard->layers[l];
    struct sy_kv_layer kv = sy_kv_cache_layer(config->cache, model->layers[l].kv_index);
    const struct sy_attention_row *rows = forward->inputs.rows[sy_kv_kind(&model->layers[l])];
    struct sy_queue *queue = config->queue;
    int T = forward->inputs.T, dh = model->head_dim, nq = model->n_heads * dh, nkv = model->n_kv_heads * dh;
    size_t stride = (size_t)(nq + 2 * nkv);
    enum sy_round round = kv.dtype == SY_BF16 ? SY_ROUND_BF16 : SY_ROUND_NONE;

    SY_RANGE("attention");
    k->gemm(queue, &weights->qkv, forward->h_rows, config->rows, (size_t)model->hidden, T, 0, (int)stride, false,
            forward->qkv, stride);
    prepare_heads(forward, T, weights,
                  &(struct sy_heads){.turn = {.n_rows = T,
                                              .n_heads = model->n_heads + model->n_kv_heads,
                                              .width = dh,
                                              .rotary_dim = model->rope.rotary_dim,
                                              .interleaved = model->rope.interleaved,
                                              .rows = rows,
                                              .cos_sin = forward->cos_sin,
                                              .round = round,
                                              .x = forward->qkv,
                                              .y = forward->qkv,
                                              .x_stride = stride,
                                              .x_head = (size_t)dh,
                                              .y_stride = stride,
                                              .y_head = (size_t)dh},
                                     .eps = model->norm_eps,
                                     .kv = kv,
                                     .values = forward->qkv + nq + nkv});
    struct sy_attention attention = {.n_rows = T,
                                     .n_heads = model->n_heads,
                                     .head_begin = head_begin,
                                     .head_end = head_end,
                                     .window = model->layers[l].window,
                                     .scale = model->attention_scale,
                                     .rows = rows,
                                     .kv = kv,
                                     .q = forward->qkv,
                                     .q_stride = stride,
                                     .sinks = weights->sinks,
                                     .out_dtype = config->rows,
                                     .out = forward->context};
    sy_attention_rows(forward, &attention, 0);
    sy_attention_project(forward, T, weights, nq);
}
