/* SPDX-License-Identifier: Apache-2.0
 * bind_mla.c - names and shapes of multi-head latent attention
 */
#include "model/bind_private.h"

enum sy_status sy_bind_mla(struct binder *b, const struct sy_model *m, struct sy_layer_sources *l)
{
    const struct sy_mla *mla = &m->mla;
    int q = m->n_heads * m->head_dim, kv = m->n_heads * (mla->qk_nope_head_dim + mla->v_head_dim);
    enum sy_status st;

    /* Nothing has a bias after the latents. */
    if (mla->q_lora_rank) {
        if ((st = sy_bind_matrix(b, sy_bind_look(b, "self_attn.q_a_proj.weight"), mla->q_lora_rank, m->hidden,
                                 "[q_lora_rank, hidden_size]", &l->q_a)) ||
            (st = sy_bind_vector(b, sy_bind_look(b, "self_attn.q_a_layernorm.weight"), mla->q_lora_rank, "q_lora_rank",
                                 &l->q_a_norm)) ||
            (st = sy_bind_matrix(b, sy_bind_look(b, "self_attn.q_b_proj.weight"), q, mla->q_lora_rank,
                                 "[num_attention_heads * (qk_nope_head_dim + qk_rope_head_dim), q_lora_rank]",
                                 &l->q_b)) ||
            (st = sy_bind_bias(b, "q_a_proj", true, mla->q_lora_rank, &l->q_bias)))
            return st;
    } else if ((st = sy_bind_matrix(b, sy_bind_look(b, "self_attn.q_proj.weight"), q, m->hidden,
                                    "[num_attention_heads * (qk_nope_head_dim + qk_rope_head_dim), hidden_size]",
                                    &l->q))) {
        return st;
    }
    if ((st = sy_bind_matrix(b, sy_bind_look(b, "self_attn.kv_a_proj_with_mqa.weight"),
                             mla->kv_lora_rank + mla->qk_rope_head_dim, m->hidden,
                             "[kv_lora_rank + qk_rope_head_dim, hidden_size]", &l->kv_a)) ||
        (st = sy_bind_vector(b, sy_bind_look(b, "self_attn.kv_a_layernorm.weight"), mla->kv_lora_rank, "kv_lora_rank",
                             &l->kv_a_norm)) ||
        (st = sy_bind_matrix(b, sy_bind_look(b, "self_attn.kv_b_proj.weight"), kv, mla->kv_lora_rank,
                             "[num_attention_heads * (qk_nope_head_dim + v_head_dim), kv_lora_rank]", &l->kv_b)) ||
        (st = sy_bind_bias(b, "kv_a_proj_with_mqa", true, mla->kv_lora_rank + mla->qk_rope_head_dim, &l->k_bias)) ||
        (st = sy_bind_bias(b, "o_proj", true, m->hidden, &l->o_bias)))
        return st;
    return sy_bind_matrix(b, sy_bind_look(b, "self_attn.o_proj.weight"), m->hidden, m->n_heads * mla->v_head_dim,
                          "[hidden_size, num_attention_heads * v_head_dim]", &l->o);
}
