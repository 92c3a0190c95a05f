/* SPDX-License-Identifier: Apache-2.0
 * bind_attention.c - names and shapes of norms and attention
 */
#include "model/bind_private.h"

#include <stdio.h>

enum sy_status sy_bind_norm(struct binder *b, const char *name, const struct sy_tensor **weight,
                            const struct sy_tensor **bias)
{
    enum sy_status st = sy_bind_vector(b, sy_bind_look(b, "%s.weight", name), b->model->hidden, "hidden_size", weight);
    const struct sy_tensor *t = sy_bind_look(b, "%s.bias", name);

    *bias = NULL;
    if (st || (!t && b->model->norm == SY_NORM_RMS))
        return st;
    if (b->model->norm == SY_NORM_RMS)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: tensor %s is there, but the final norm has no bias",
                            sy_checkpoint_shard_path(b->ckpt, t->shard), t->name);
    return sy_bind_vector(b, t, b->model->hidden, "hidden_size, as the final norm has a bias", bias);
}

/* qkv_bias says nothing of o_proj, and attention_bias is true of some models without one there. */
enum sy_status sy_bind_bias(struct binder *b, const char *module, bool needed, int n, const struct sy_tensor **out)
{
    const struct sy_tensor *t = sy_bind_look(b, "self_attn.%s.bias", module);
    bool by_qkv = needed && b->config->attention_bias == SY_NOT_SAID;
    enum sy_said said = by_qkv ? b->config->qkv_bias : b->config->attention_bias;
    const char *key = by_qkv ? "qkv_bias" : "attention_bias";
    char why[64];

    *out = NULL;
    snprintf(why, sizeof why, "but config.json has %s true", key);
    if (!t && said == SY_SAID_YES && needed)
        return sy_bind_missing(b, b->name, why);
    if (t && said == SY_SAID_NO)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: tensor %s is there, but config.json has %s false",
                            sy_checkpoint_shard_path(b->ckpt, t->shard), t->name, key);
    return t ? sy_bind_vector(b, t, n, "outputs of the projection", out) : SY_OK;
}

/* qk-norm by presence and width: [dh] is per head, [heads * dh] over the whole projection. */
static enum sy_status qk_norm(struct binder *b, int layer, struct sy_layer_sources *l)
{
    struct sy_model *m = b->model;
    const struct sy_tensor *q = sy_bind_look(b, "self_attn.q_norm.weight");
    const struct sy_tensor *k = sy_bind_look(b, "self_attn.k_norm.weight");
    enum sy_qk_norm kind = SY_QK_NORM_NONE;
    enum sy_status st;

    if (q || k) {
        if (!q || !k)
            return sy_error_set(b->err, SY_ERR_DATA,
                                "%s: tensor %sself_attn.%s_norm.weight is missing, but that of %s is there",
                                sy_checkpoint_dir(b->ckpt), b->prefix, q ? "k" : "q", q ? "q" : "k");
        bool full = q->n_dims == 1 && q->dims[0] != m->head_dim;
        kind = full ? SY_QK_NORM_FULL : SY_QK_NORM_HEAD;
        if ((st = sy_bind_vector(b, q, full ? m->n_heads * m->head_dim : m->head_dim,
                                 full ? "num_attention_heads * head_dim" : "head_dim", &l->q_norm)) ||
            (st = sy_bind_vector(b, k, full ? m->n_kv_heads * m->head_dim : m->head_dim,
                                 full ? "num_key_value_heads * head_dim" : "head_dim", &l->k_norm)))
            return st;
    }
    if (b->config->qk_norm != SY_NOT_SAID && (kind != SY_QK_NORM_NONE) != (b->config->qk_norm == SY_SAID_YES))
        return sy_error_set(b->err, SY_ERR_DATA, "%s: \"use_qk_norm\" is %s, but layer %d has %s q_norm",
                            b->config->path, b->config->qk_norm ? "true" : "false", layer, kind ? "a" : "no");
    if (layer && kind != m->qk_norm)
        return sy_error_set(b->err, SY_ERR_DATA, "%s: q_norm of layer %d is of another kind than that of layer 0",
                            sy_checkpoint_dir(b->ckpt), layer);
    m->qk_norm = kind;
    return SY_OK;
}

enum sy_status sy_bind_attention(struct binder *b, int layer, struct sy_layer_sources *l)
{
    const struct sy_model *m = b->model;
    int q = m->n_heads * m->head_dim, kv = m->n_kv_heads * m->head_dim;
    enum sy_status st;

    if ((st = sy_bind_norm(b, "input_layernorm", &l->attention_norm, &l->attention_norm_bias)) ||
        (st = sy_bind_norm(b, "post_attention_layernorm", &l->mlp_norm, &l->mlp_norm_bias)))
        return st;
    if (m->mla.kv_lora_rank)
        return sy_bind_mla(b, m, l);
    if ((st = sy_bind_matrix(b, sy_bind_look(b, "self_attn.q_proj.weight"), q, m->hidden,
                             "[num_attention_heads * head_dim, hidden_size]", &l->q)) ||
        (st = sy_bind_matrix(b, sy_bind_look(b, "self_attn.k_proj.weight"), kv, m->hidden,
                             "[num_key_value_heads * head_dim, hidden_size]", &l->k)) ||
        (st = sy_bind_matrix(b, sy_bind_look(b, "self_attn.v_proj.weight"), kv, m->hidden,
                             "[num_key_value_heads * head_dim, hidden_size]", &l->v)) ||
        (st = sy_bind_matrix(b, sy_bind_look(b, "self_attn.o_proj.weight"), m->hidden, q,
                             "[hidden_size, num_attention_heads * head_dim]", &l->o)) ||
        (st = sy_bind_bias(b, "q_proj", true, q, &l->q_bias)) ||
        (st = sy_bind_bias(b, "k_proj", true, kv, &l->k_bias)) ||
        (st = sy_bind_bias(b, "v_proj", true, kv, &l->v_bias)) ||
        (st = sy_bind_bias(b, "o_proj", false, m->hidden, &l->o_bias)))
        return st;
    const struct sy_tensor *sinks = sy_bind_look(b, "self_attn.sinks");
    if (sinks && (st = sy_bind_vector(b, sinks, m->n_heads, "num_attention_heads", &l->sinks)))
        return st;
    return qk_norm(b, layer, l);
}
