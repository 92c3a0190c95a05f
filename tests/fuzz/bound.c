/* SPDX-License-Identifier: Apache-2.0
 * bound.c - checks of a bound model, and loading it
 */
#include "bound.h"

#include <stdlib.h>
#include <string.h>

#include "model/shard.h"
#include "shards.h"

/* ---- sources ---- */

static void check_source(const struct sy_matrix *s, int64_t n, int64_t k)
{
    const struct sy_tensor *t = s->tensor;

    promise(t && s->n == n && s->k == k && n > 0 && k > 0);
    promise(s->offset >= 0 && s->row_stride > 0 && s->k_stride > 0);
    promise(sy_matrix_stretch(s, 0, s->n, 0, s->k).end <= t->bytes);
    promise(!s->scales.tensor == !sy_dtype_quantised(sy_matrix_dtype(s)));
    if (!s->scales.tensor)
        return;
    promise(s->scales.block_k % SY_SCALE_UNIT == 0 || s->scales.block_k >= k);
    promise(s->scales.offset >= 0 && s->scales.row >= 0 && s->scales.row_step > 0 && s->scales.block_n > 0);
    promise(sy_scales_stretch(s, 0, s->n).end <= s->scales.tensor->bytes);
}

static void check_vector(const struct sy_tensor *t, int64_t n)
{
    promise(t && t->n_dims == 1 && t->dims[0] == n);
}

/* One that may be missing. */
static void check_optional(const struct sy_tensor *t, int64_t n)
{
    if (t)
        check_vector(t, n);
}

static void check_mlp(const struct sy_expert_sources *x, int width, int hidden)
{
    check_source(&x->gate, width, hidden);
    check_source(&x->up, width, hidden);
    check_source(&x->down, hidden, width);
    promise(!x->gate_bias.tensor == !x->up_bias.tensor);
    if (x->gate_bias.tensor) {
        check_source(&x->gate_bias, width, 1);
        check_source(&x->up_bias, width, 1);
    }
    if (x->down_bias.tensor)
        check_source(&x->down_bias, hidden, 1);
}

static void check_mla(const struct sy_model *m, const struct sy_layer_sources *l)
{
    const struct sy_mla *mla = &m->mla;
    int64_t q = (int64_t)m->n_heads * (mla->qk_nope_head_dim + mla->qk_rope_head_dim);

    promise(m->head_dim == mla->qk_nope_head_dim + mla->qk_rope_head_dim);
    if (mla->q_lora_rank) {
        check_source(&l->q_a, mla->q_lora_rank, m->hidden);
        check_vector(l->q_a_norm, mla->q_lora_rank);
        check_source(&l->q_b, q, mla->q_lora_rank);
    } else {
        check_source(&l->q, q, m->hidden);
    }
    check_source(&l->kv_a, mla->kv_lora_rank + mla->qk_rope_head_dim, m->hidden);
    check_vector(l->kv_a_norm, mla->kv_lora_rank);
    check_source(&l->kv_b, (int64_t)m->n_heads * (mla->qk_nope_head_dim + mla->v_head_dim), mla->kv_lora_rank);
    check_source(&l->o, m->hidden, (int64_t)m->n_heads * mla->v_head_dim);
}

static void check_attention(const struct sy_model *m, const struct sy_layer_sources *l)
{
    int64_t q = (int64_t)m->n_heads * m->head_dim, kv = (int64_t)m->n_kv_heads * m->head_dim;

    check_source(&l->q, q, m->hidden);
    check_source(&l->k, kv, m->hidden);
    check_source(&l->v, kv, m->hidden);
    check_source(&l->o, m->hidden, q);
    check_optional(l->q_bias, q);
    check_optional(l->k_bias, kv);
    check_optional(l->v_bias, kv);
    check_optional(l->o_bias, m->hidden);
    check_optional(l->sinks, m->n_heads);
    promise(!l->q_norm == (m->qk_norm == SY_QK_NORM_NONE) && !l->k_norm == !l->q_norm);
    check_optional(l->q_norm, m->qk_norm == SY_QK_NORM_HEAD ? m->head_dim : q);
    check_optional(l->k_norm, m->qk_norm == SY_QK_NORM_HEAD ? m->head_dim : kv);
}

static void check_layer(const struct sy_model *m, const struct sy_layer_sources *l)
{
    bool layer_norm = m->norm == SY_NORM_LAYER;

    check_vector(l->attention_norm, m->hidden);
    check_vector(l->mlp_norm, m->hidden);
    promise(!l->attention_norm_bias == !layer_norm && !l->mlp_norm_bias == !layer_norm);
    check_optional(l->attention_norm_bias, m->hidden);
    check_optional(l->mlp_norm_bias, m->hidden);
    promise(l->window >= 0 && l->kv_index >= 0 && l->kv_index < m->n_layers);
    if (m->mla.kv_lora_rank)
        check_mla(m, l);
    else
        check_attention(m, l);
    if (!l->moe) {
        check_mlp(&l->dense, m->dense_width, m->hidden);
        return;
    }
    check_source(&l->router, m->n_experts, m->hidden);
    check_optional(l->router_bias, m->n_experts);
    check_optional(l->correction, m->n_experts);
    if (l->shared.gate.tensor)
        check_mlp(&l->shared, m->shared_width, m->hidden);
    if (l->shared_gate.tensor)
        check_source(&l->shared_gate, 1, m->hidden);
    for (int e = 0; e < m->n_experts; e++)
        check_mlp(&l->experts[e], m->expert_width, m->hidden);
}

/* ---- the model ---- */

static void check_rope(const struct sy_rope *rope, int head_dim)
{
    size_t n = sy_rope_rows(rope, 4) * (size_t)rope->rotary_dim;
    float *table = calloc(n, sizeof *table);

    promise(table && rope->rotary_dim > 0 && rope->rotary_dim <= head_dim);
    sy_rope_table(rope, 4, table);
    for (size_t i = 0; i < n; i++)
        promise(table[i] == table[i] && table[i] <= 1e6f && table[i] >= -1e6f);
    free(table);
}

static void check_router(const struct sy_router_rule *r)
{
    promise(r->top_k > 0 && r->top_k <= r->n_experts && r->n_experts <= SY_EXPERTS_MAX);
    promise(r->n_groups > 0 && r->n_kept > 0 && r->n_kept <= r->n_groups && r->n_groups <= SY_GROUPS_MAX);
    promise(r->n_experts % r->n_groups == 0 && r->n_experts / r->n_groups * r->n_kept >= r->top_k);
}

void bound_check(const struct sy_model *m)
{
    int64_t total, active;
    char shown[80];
    int n_moe = 0;

    check_source(&m->embed, m->vocab, m->hidden);
    check_source(&m->lm_head, m->vocab, m->hidden);
    check_vector(m->final_norm, m->hidden);
    promise(!m->final_norm_bias == (m->norm != SY_NORM_LAYER));
    check_optional(m->final_norm_bias, m->hidden);
    check_optional(m->lm_head_bias, m->vocab);
    promise(m->n_eos >= 0 && m->n_eos <= SY_EOS_MAX && m->max_context > 0 && m->n_heads % m->n_kv_heads == 0);
    promise(m->attention_scale == m->attention_scale && m->logits_scale == m->logits_scale);
    check_router(&m->router);
    for (int i = 0; i < m->n_layers; i++) {
        check_layer(m, &m->layers[i]);
        n_moe += m->layers[i].moe;
    }
    promise(n_moe > 0 && n_moe == m->n_moe_layers);
    sy_model_parameters(m, &total, &active);
    promise(active > 0 && active <= total);
    promise(strlen(sy_quantization_show(&m->quantization, shown, sizeof shown)) < sizeof shown);
    check_rope(&m->rope, m->head_dim);
}

/* ---- loading ---- */

#define N_PARTS 3

/* Small numbers of every type; in odd seeds some bytes make what is no number. */
static void make_data(uint64_t seed, const struct sy_tensor *tensor, uint64_t begin, size_t n, void *out)
{
    uint8_t *to = out;

    for (size_t i = 0; i < n; i++) {
        uint64_t place = tensor->offset + begin + i, x = (place / 4 + seed) * UINT64_C(0x9e3779b97f4a7c15);
        to[i] = seed % 2 && x >> 52 == 0 ? 0xff : (uint8_t)((x >> (8 * (place % 4))) & 0x3f);
    }
}

static int n_slots(const void *ctx, int layer)
{
    const struct sy_model *m = ctx;

    return m->layers[layer].moe ? m->n_experts : 0;
}

static int expert_at(const void *ctx, int layer, int slot)
{
    (void)ctx;
    (void)layer;
    return slot;
}

/* Both blocks, one behind the other. The caller frees them. */
static enum sy_status load(struct sy_checkpoint *ckpt, struct sy_shard *shard, int n_parts, uint8_t **blocks)
{
    const struct sy_kernels *kernels = shard->kernels;
    enum sy_status st = SY_OK;
    struct sy_pool *pool = NULL;
    struct sy_error err = SY_ERROR_INIT;

    *blocks = kernels->alloc(shard->dense_bytes + shard->expert_bytes);
    promise(*blocks && !sy_pool_create(1, NULL, 0, &pool, &err));
    sy_shard_place(shard, *blocks, *blocks + shard->dense_bytes);
    for (int part = 0; part < n_parts && !st; part++)
        st = sy_shard_load(shard, ckpt, part, n_parts, pool, NULL, NULL, &err);
    promise(!st || (st == SY_ERR_DATA && err.text[0]));
    sy_pool_destroy(pool);
    return st;
}

static struct sy_shard *lay_out(const struct sy_model *model)
{
    struct sy_shard_experts experts = {n_slots, expert_at, model, model->n_experts};
    struct sy_error err = SY_ERROR_INIT;
    struct sy_shard *shard;

    promise(!sy_shard_create(model, sy_kernels_ref(), &experts, &shard, &err));
    promise(shard->n_jobs <= shard->max_jobs);
    return shard;
}

void bound_load(struct sy_checkpoint *ckpt, const struct sy_model *model, uint64_t seed)
{
    struct sy_shard *whole = lay_out(model), *parts = lay_out(model);
    size_t n = whole->dense_bytes + whole->expert_bytes;

    if (whole->dense_bytes <= BOUND_LOAD_MAX && whole->expert_bytes <= BOUND_LOAD_MAX) {
        uint8_t *once, *in_parts;
        sy_checkpoint_set_source(ckpt, make_data, seed);
        enum sy_status st = load(ckpt, whole, 1, &once);
        promise(st == load(ckpt, parts, N_PARTS, &in_parts));
        promise(st || !memcmp(once, in_parts, n));
        whole->kernels->free(once, n);
        whole->kernels->free(in_parts, n);
    }
    sy_shard_destroy(whole);
    sy_shard_destroy(parts);
}
