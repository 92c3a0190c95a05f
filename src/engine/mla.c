/* SPDX-License-Identifier: Apache-2.0
 * mla.c - multi-head latent attention of one layer, with absorbed projections
 *
 * Source: DeepSeek-V2, arXiv 2405.04434, sections 2.1.2 and 2.1.3, and appendix C. The cache holds one latent c and one
 * rotary key r of each token, for all heads. A head's key is [W_k c, r] and its value W_v c; so its query may go through
 * W_k instead and meet c itself, and W_v may follow the sum over tokens. Then all heads share one key, [c, r], of which c is
 * the value. Prompts take this way too: a chunk's bits must not depend on whether its keys are in the cache already.
 */
#include "engine/attention.h"

#include "base/range.h"

/* The norms of the latents have an epsilon of their own, whatever rms_norm_eps is: DeepSeek's code and transformers
 * (modeling_deepseek_v3.py) leave it at its default. */
#define LATENT_EPS 1e-6f

/* Queries [n, q_stride] before their product. */
static void narrow(struct sy_forward *forward, int n, const float *q, size_t q_stride)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_kernels *k = config->kernels;
    int width = config->model->n_heads * config->model->head_dim;

    if (config->rows == SY_BF16X2)
        k->split(config->queue, q, q_stride, n, width, forward->mla.q_rows, q_stride);
    else
        k->convert(config->queue, forward->mla.q_rows, config->rows, q, SY_F32, (size_t)n * q_stride);
}

/* Rows row .. row + n - 1 of the batch: q in the latent's dims, attention, and back to the dims of values. q: their queries,
 * [n, q_stride], of which the rotary part has not turned yet. */
static void attend(struct sy_forward *forward, int l, int row, int n, const float *q, size_t q_stride, int head_begin,
                   int head_end)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_model *model = config->model;
    const struct sy_mla *mla = &model->mla;
    const struct sy_kernels *k = config->kernels;
    const struct sy_layer_weights *weights = &config->shard->layers[l];
    struct sy_mla_buffers *to = &forward->mla;
    struct sy_kv_layer kv = sy_kv_cache_layer(config->cache, model->layers[l].kv_index);
    enum sy_round round = kv.dtype == SY_BF16 ? SY_ROUND_BF16 : SY_ROUND_NONE;
    size_t key = (size_t)kv.k_dim, latent = (size_t)mla->kv_lora_rank, value = (size_t)mla->v_head_dim;
    size_t head = (size_t)model->head_dim, H = (size_t)model->n_heads;
    const struct sy_attention_row *rows = forward->inputs.rows[sy_kv_kind(&model->layers[l])];

    narrow(forward, n, q, q_stride);
    k->gemm_heads(config->queue, &(struct sy_head_gemm){.w = &weights->k_up,
                                                        .w_head = weights->k_up_head,
                                                        .n_rows = n,
                                                        .head_begin = head_begin,
                                                        .head_end = head_end,
                                                        .x = to->q_rows,
                                                        .x_dtype = config->rows,
                                                        .x_stride = q_stride,
                                                        .x_head = head,
                                                        .y = to->q_latent,
                                                        .y_dtype = SY_F32,
                                                        .round = round,
                                                        .y_stride = H * key,
                                                        .y_head = key});
    k->rope(config->queue, &(struct sy_rotation){.n_rows = n,
                                                 .n_heads = model->n_heads,
                                                 .width = mla->qk_rope_head_dim,
                                                 .rotary_dim = model->rope.rotary_dim,
                                                 .interleaved = model->rope.interleaved,
                                                 .rows = rows + row,
                                                 .cos_sin = forward->cos_sin,
                                                 .round = round,
                                                 .x = q + mla->qk_nope_head_dim,
                                                 .x_stride = q_stride,
                                                 .x_head = head,
                                                 .y = to->q_latent + latent,
                                                 .y_stride = H * key,
                                                 .y_head = key});
    struct sy_attention attention = {.n_rows = n,
                                     .n_heads = model->n_heads,
                                     .head_begin = head_begin,
                                     .head_end = head_end,
                                     .window = model->layers[l].window,
                                     .scale = model->attention_scale,
                                     .rows = rows + row,
                                     .kv = kv,
                                     .q = to->q_latent,
                                     .q_stride = H * key,
                                     .out_dtype = config->rows,
                                     .out = to->latent};
    sy_attention_rows(forward, &attention, row);
    k->gemm_heads(config->queue, &(struct sy_head_gemm){.w = &weights->v_up,
                                                        .w_head = weights->v_up_head,
                                                        .n_rows = n,
                                                        .head_begin = head_begin,
                                                        .head_end = head_end,
                                                        .x = to->latent,
                                                        .x_dtype = config->rows,
                                                        .x_stride = H * latent,
                                                        .x_head = latent,
                                                        .y = (uint8_t *)forward->context +
                                                             (size_t)row * H * value * sy_dtype_bytes(config->rows),
                                                        .y_dtype = config->rows,
                                                        .y_stride = H * value,
                                                        .y_head = value});
}

void sy_mla_run(struct sy_forward *forward, int l, int head_begin, int head_end)
{
    const struct sy_forward_config *config = &forward->config;
    const struct sy_model *model = config->model;
    const struct sy_mla *mla = &model->mla;
    const struct sy_kernels *k = config->kernels;
    const struct sy_layer_weights *weights = &config->shard->layers[l];
    struct sy_kv_layer kv = sy_kv_cache_layer(config->cache, model->layers[l].kv_index);
    const struct sy_attention_row *rows = forward->inputs.rows[sy_kv_kind(&model->layers[l])];
    int T = forward->inputs.T, nq = model->n_heads * model->head_dim, first = mla->q_lora_rank ? mla->q_lora_rank : nq;
    size_t stride = (size_t)(first + kv.k_dim), q_stride = mla->q_lora_rank ? (size_t)nq : stride;
    float *latent = forward->qkv + first, *rotary = latent + mla->kv_lora_rank, *q = forward->qkv;

    SY_RANGE("attention");
    k->gemm(config->queue, &weights->qkv, forward->h_rows, config->rows, (size_t)model->hidden, T, 0, (int)stride,
            false, forward->qkv, stride);
    k->rmsnorm(config->queue, latent, stride, T, 1, mla->kv_lora_rank, weights->kv_a_norm, LATENT_EPS, latent, SY_F32,
               stride);
    k->rope(config->queue, &(struct sy_rotation){.n_rows = T,
                                                 .n_heads = 1,
                                                 .width = mla->qk_rope_head_dim,
                                                 .rotary_dim = model->rope.rotary_dim,
                                                 .interleaved = model->rope.interleaved,
                                                 .rows = rows,
                                                 .cos_sin = forward->cos_sin,
                                                 .x = rotary,
                                                 .y = rotary,
                                                 .x_stride = stride,
                                                 .y_stride = stride});
    k->kv_write(config->queue, &kv, rows, T, latent, NULL, stride);
    if (mla->q_lora_rank) {
        size_t rank = (size_t)mla->q_lora_rank;
        k->rmsnorm(config->queue, forward->qkv, stride, T, 1, mla->q_lora_rank, weights->q_a_norm, LATENT_EPS,
                   forward->mla.q_a, config->rows, rank);
        q = forward->mla.q;
        k->gemm(config->queue, &weights->q_b, forward->mla.q_a, config->rows, rank, T, 0, nq, false, q, q_stride);
    }
    for (int row = 0; row < T; row += SY_MLA_ROWS)
        attend(forward, l, row, T - row < SY_MLA_ROWS ? T - row : SY_MLA_ROWS, q + (size_t)row * q_stride,
               q_stride, head_begin, head_end);
    int width = model->n_heads * mla->v_head_dim;
    sy_attention_project(forward, T, weights, width);
}
