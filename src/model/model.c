/* SPDX-License-Identifier: Apache-2.0
 * model.c - an architecture made from a checkpoint
 */
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/bind.h"
#include "model/config.h"
#include "model/keys.h"

/* Read the keys, and note which were not read. */
static enum sy_status read_config(const struct sy_checkpoint *ckpt, struct sy_config *c, struct sy_model *m,
                                  struct sy_error *err)
{
    struct sy_buf names = SY_BUF_INIT;
    json_t *asked = json_object();

    sy_json_watch(asked);
    enum sy_status st = asked ? sy_config_read(ckpt, c, err) : SY_ERR_SYSTEM;
    sy_json_watch(NULL);
    if (!st)
        m->n_ignored = sy_keys_ignored(sy_checkpoint_config(ckpt), asked, &names);
    json_decref(asked);
    m->ignored = (char *)names.data;
    if (!asked || m->n_ignored < 0)
        return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory for its keys", sy_checkpoint_dir(ckpt));
    return st;
}

enum sy_status sy_model_create(const struct sy_checkpoint *ckpt, struct sy_model **out, struct sy_error *err)
{
    struct sy_config *c = malloc(sizeof *c);
    struct sy_model *m = calloc(1, sizeof *m);
    enum sy_status st;

    *out = NULL;
    if (!c || !m) {
        st = sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory for the model's description", sy_checkpoint_dir(ckpt));
        goto err_free;
    }
    if ((st = read_config(ckpt, c, m, err)))
        goto err_free;
    snprintf(m->architecture, sizeof m->architecture, "%s", c->family->architecture);
    m->n_layers = c->n_layers;
    m->hidden = c->hidden;
    m->n_heads = c->n_heads;
    m->n_kv_heads = c->n_kv_heads;
    m->mla = c->mla;
    m->head_dim = c->mla.kv_lora_rank ? c->mla.qk_nope_head_dim + c->mla.qk_rope_head_dim : c->head_dim;
    m->n_experts = c->n_experts;
    m->top_k = c->top_k;
    m->max_context = c->max_context;
    m->norm_eps = (float)c->norm_eps;
    m->attention_scale = (float)(c->attention_scale > 0 ? c->attention_scale
                                                        : c->rope.score_factor / sqrt(m->head_dim));
    m->embedding_scale = (float)c->embedding_scale;
    m->residual_scale = (float)c->residual_scale;
    m->logits_scale = (float)c->logits_scale;
    m->glu = c->glu;
    m->clip_qkv = (float)c->clip_qkv;
    m->quantization = c->quantization;
    m->rope = c->rope;
    m->router = (struct sy_router_rule){.kind = c->router,
                                        .top_k = c->top_k,
                                        .n_groups = c->n_groups,
                                        .n_kept = c->n_kept,
                                        .group_best = c->family->group_best,
                                        .jitter = (float)c->jitter,
                                        .normalise = c->normalise,
                                        .scale = (float)c->router_scale};
    m->n_eos = c->n_eos;
    memcpy(m->eos, c->eos, sizeof m->eos);
    m->bos = c->bos;
    if ((st = sy_model_bind(m, c, ckpt, err)))
        goto err_free;
    m->router.n_experts = m->n_experts;
    for (int l = 0, n[2] = {0}; l < m->n_layers; l++)
        m->layers[l].kv_index = n[m->layers[l].window > 0]++;
    free(c);
    *out = m;
    return SY_OK;

err_free:
    free(c);
    sy_model_destroy(m);
    return st;
}

void sy_model_destroy(struct sy_model *model)
{
    if (!model)
        return;
    for (int i = 0; model->layers && i < model->n_layers; i++)
        free(model->layers[i].experts);
    free(model->layers);
    free(model->ignored);
    free(model);
}

struct sy_kv_layer sy_model_kv_shape(const struct sy_model *model, enum sy_dtype kv_dtype)
{
    const struct sy_mla *mla = &model->mla;

    if (mla->kv_lora_rank)
        return (struct sy_kv_layer){.dtype = kv_dtype,
                                    .n_kv_heads = 1,
                                    .k_dim = mla->kv_lora_rank + mla->qk_rope_head_dim,
                                    .v_dim = mla->kv_lora_rank,
                                    .v_in_k = true};
    return (struct sy_kv_layer){
        .dtype = kv_dtype, .n_kv_heads = model->n_kv_heads, .k_dim = model->head_dim, .v_dim = model->head_dim};
}
