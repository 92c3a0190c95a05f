/* SPDX-License-Identifier: Apache-2.0
 * config.c - reading config.json
 */
#include "model/config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"

/* Limits that keep every product of two of these inside an int. */
#define LAYERS_MAX 4096
#define EXPERTS_MAX SY_EXPERTS_MAX
#define HIDDEN_MAX (1 << 20)
#define HEADS_MAX (1 << 12)
#define HEAD_DIM_MAX (1 << 14)
#define WIDTH_MAX (1 << 24)
#define VOCAB_MAX (1 << 28)
#define CONTEXT_MAX (1 << 30)
/* A head of latent attention has two matrices of its own to lay out, which may be tiny, so that a small file could ask for
 * gigabytes of tables. DeepSeek-V3 has 7808 heads in all layers. */
#define MLA_HEADS_MAX (1 << 17)

/* Keys of other architectures that change the arithmetic, and the value with which they do not. */
static const struct {
    const char *key;
    double number; /* this number, null and false are harmless */
    const char *text;
} foreign[] = {
    {"use_expert_bias", 0, NULL},
    {"attn_logit_softcapping", 0, NULL},
    {"final_logit_softcapping", 0, NULL},
    {"query_pre_attn_scalar", 0, NULL},
    {"logit_scale", 1, NULL},
    {"attention_chunk_size", 0, NULL},
    {"attn_temperature_tuning", 0, NULL},
    {"attn_output_gate", 0, NULL},
    {"no_rope_layers", 0, NULL},
    {"no_rope_layer_interval", 0, NULL},
    {"alibi", 0, NULL},
    {"parallel_attn", 0, NULL},
    {"use_parallel_residual", 0, NULL},
};

static enum sy_status check_foreign(const struct sy_config *c, struct sy_error *err)
{
    char shown[80];

    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        const json_t *value = sy_json_get(c->json, foreign[i].key);
        if (!value || json_is_null(value) || json_is_false(value) ||
            (json_is_number(value) && json_number_value(value) == foreign[i].number) ||
            (json_is_string(value) && foreign[i].text && !strcmp(json_string_value(value), foreign[i].text)))
            continue;
        return sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" is %s, which %s does not support here", c->path,
                            foreign[i].key, sy_json_show(value, shown, sizeof shown), c->family->architecture);
    }
    const json_t *act = sy_json_get(c->json, "hidden_act");
    if (act && !json_is_null(act) &&
        (!json_is_string(act) || (strcmp(json_string_value(act), "silu") && strcmp(json_string_value(act), "swish"))))
        return sy_error_set(err, SY_ERR_DATA, "%s: \"hidden_act\" is %s, supported: \"silu\"", c->path,
                            sy_json_show(act, shown, sizeof shown));
    return SY_OK;
}

/* An int key in [1, max]; absent or null leaves *out. */
static enum sy_status read_int(const struct sy_config *c, const char *key, int max, int *out, struct sy_error *err)
{
    int64_t value = *out;
    enum sy_status st = sy_json_int(c->path, c->json, key, 1, max, &value, err);

    *out = (int)value;
    return st;
}

/* The first of several names for one number; two that differ are refused. */
static enum sy_status read_alias(const struct sy_config *c, const char *const *keys, int n_keys, int max, int *out,
                                 struct sy_error *err)
{
    const char *from = NULL;

    for (int i = 0; i < n_keys; i++) {
        int value = 0;
        enum sy_status st = read_int(c, keys[i], max, &value, err);
        if (st)
            return st;
        if (!value)
            continue;
        if (from && value != *out)
            return sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" is %d, but \"%s\" is %d", c->path, from, *out, keys[i],
                                value);
        *out = value;
        from = keys[i];
    }
    return SY_OK;
}

/* A word for one of the kinds; absent or null leaves *out. */
static enum sy_status read_word(const struct sy_config *c, const char *key, const char *const *words, int n_words,
                                int *out, struct sy_error *err)
{
    const json_t *value = sy_json_get(c->json, key);
    char shown[80], known[160] = "";

    if (!value || json_is_null(value))
        return SY_OK;
    for (int i = 0; i < n_words; i++) {
        if (json_is_string(value) && !strcmp(json_string_value(value), words[i])) {
            *out = i;
            return SY_OK;
        }
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s\"%s\"", i ? ", " : "", words[i]);
    }
    return sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" is %s, supported: %s", c->path, key,
                        sy_json_show(value, shown, sizeof shown), known);
}

static enum sy_status read_said(const struct sy_config *c, const json_t *json, const char *key, enum sy_said *out,
                                struct sy_error *err)
{
    const json_t *value = sy_json_get(json, key);
    bool yes = false;
    enum sy_status st = sy_json_bool(c->path, json, key, &yes, err);

    *out = !value || json_is_null(value) ? SY_NOT_SAID : yes ? SY_SAID_YES : SY_SAID_NO;
    return st;
}

/* A multimodal model says it of itself, of its language model or of both; where they differ, the tensors decide. */
static enum sy_status read_tied(struct sy_config *c, struct sy_error *err)
{
    static const char key[] = "tie_word_embeddings";
    enum sy_said whole;
    enum sy_status st;

    if ((st = read_said(c, c->json, key, &c->tied, err)) || (st = read_said(c, c->whole, key, &whole, err)))
        return st;
    if (c->tied == SY_NOT_SAID)
        c->tied = whole;
    else if (whole != SY_NOT_SAID && whole != c->tied)
        c->tied = SY_NOT_SAID;
    return SY_OK;
}

/* The value of a key that a multimodal model may have beside its language model's keys or among them. */
static const json_t *either(const struct sy_config *c, const char *key)
{
    const json_t *value = sy_json_get(c->json, key);

    return value && !json_is_null(value) ? value : sy_json_get(c->whole, key);
}

static enum sy_status missing(const struct sy_config *c, const char *key, struct sy_error *err)
{
    return sy_error_set(err, SY_ERR_DATA, "%s: \"%s\" is missing", c->path, key);
}

/* Multi-head latent attention, where there is a kv_lora_rank. Its rotary part is what turns, whatever head_dim says. */
static enum sy_status read_mla(struct sy_config *c, struct sy_error *err)
{
    struct sy_mla *mla = &c->mla;
    enum sy_status st;

    if ((st = read_int(c, "kv_lora_rank", HEAD_DIM_MAX, &mla->kv_lora_rank, err)) || !mla->kv_lora_rank)
        return st;
    if ((st = read_int(c, "q_lora_rank", HIDDEN_MAX, &mla->q_lora_rank, err)) ||
        (st = read_int(c, "qk_nope_head_dim", HEAD_DIM_MAX, &mla->qk_nope_head_dim, err)) ||
        (st = read_int(c, "qk_rope_head_dim", HEAD_DIM_MAX, &mla->qk_rope_head_dim, err)) ||
        (st = read_int(c, "v_head_dim", HEAD_DIM_MAX, &mla->v_head_dim, err)))
        return st;
    if (!mla->qk_nope_head_dim || !mla->qk_rope_head_dim || !mla->v_head_dim)
        return missing(c,
                       !mla->qk_nope_head_dim   ? "qk_nope_head_dim"
                       : !mla->qk_rope_head_dim ? "qk_rope_head_dim"
                                                : "v_head_dim",
                       err);
    if (mla->kv_lora_rank + mla->qk_rope_head_dim > HEAD_DIM_MAX)
        return sy_error_set(err, SY_ERR_DATA,
                            "%s: \"kv_lora_rank\" and \"qk_rope_head_dim\" are %d together, the limit "
                            "is %d",
                            c->path, mla->kv_lora_rank + mla->qk_rope_head_dim, HEAD_DIM_MAX);
    c->head_dim = mla->qk_rope_head_dim;
    return SY_OK;
}

/* Of the expert that every token goes to, as Qwen2-MoE and as Granite-MoE call it; 0: there is none. */
static enum sy_status read_shared_width(struct sy_config *c, struct sy_error *err)
{
    int64_t qwen = 0, granite = 0;
    enum sy_status st;

    if ((st = sy_json_int(c->path, c->json, "shared_expert_intermediate_size", 0, WIDTH_MAX, &qwen, err)) ||
        (st = sy_json_int(c->path, c->json, "shared_intermediate_size", 0, WIDTH_MAX, &granite, err)))
        return st;
    c->shared_width = (int)(qwen ? qwen : granite);
    return SY_OK;
}

static enum sy_status read_shape(struct sy_config *c, struct sy_error *err)
{
    int64_t n_shared = 0;
    static const char *const experts[] = {"num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"};
    static const char *const top_k[] = {"num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k"};
    enum sy_status st;

    c->top_k = c->family->top_k;
    c->max_context = c->family->max_context;
    if ((st = read_int(c, "num_hidden_layers", LAYERS_MAX, &c->n_layers, err)) ||
        (st = read_int(c, "hidden_size", HIDDEN_MAX, &c->hidden, err)) ||
        (st = read_int(c, "num_attention_heads", HEADS_MAX, &c->n_heads, err)) ||
        (st = read_int(c, "num_key_value_heads", HEADS_MAX, &c->n_kv_heads, err)) ||
        (st = read_int(c, "head_dim", HEAD_DIM_MAX, &c->head_dim, err)) ||
        (st = read_int(c, "vocab_size", VOCAB_MAX, &c->vocab, err)) ||
        (st = read_int(c, "moe_intermediate_size", WIDTH_MAX, &c->moe_width, err)) ||
        (st = read_int(c, "intermediate_size", WIDTH_MAX, &c->width, err)) ||
        (st = sy_json_int(c->path, c->json, "n_shared_experts", 0, EXPERTS_MAX, &n_shared, err)) ||
        (st = read_shared_width(c, err)) ||
        (st = read_int(c, "max_position_embeddings", CONTEXT_MAX, &c->max_context, err)) ||
        (st = read_alias(c, experts, 4, EXPERTS_MAX, &c->n_experts, err)) ||
        (st = read_alias(c, top_k, 4, EXPERTS_MAX, &c->top_k, err)) || (st = read_mla(c, err)))
        return st;
    c->n_shared = (int)n_shared;
    if (!c->n_layers || !c->hidden || !c->n_heads)
        return missing(c, !c->n_layers ? "num_hidden_layers" : !c->hidden ? "hidden_size" : "num_attention_heads", err);
    if (c->mla.kv_lora_rank && c->n_layers * c->n_heads > MLA_HEADS_MAX)
        return sy_error_set(err, SY_ERR_DATA,
                            "%s: %d heads of latent attention in each of %d layers, the limit is %d in all layers",
                            c->path, c->n_heads, c->n_layers, MLA_HEADS_MAX);
    if (!c->n_kv_heads)
        c->n_kv_heads = c->n_heads;
    if (c->n_heads % c->n_kv_heads)
        return sy_error_set(err, SY_ERR_DATA,
                            "%s: \"num_attention_heads\" %d is not a multiple of \"num_key_value_heads\" %d", c->path,
                            c->n_heads, c->n_kv_heads);
    if (!c->head_dim && c->hidden % c->n_heads)
        return sy_error_set(err, SY_ERR_DATA, "%s: without \"head_dim\", \"hidden_size\" %d must be a multiple of "
                            "\"num_attention_heads\" %d", c->path, c->hidden, c->n_heads);
    if (!c->head_dim)
        c->head_dim = c->hidden / c->n_heads;
    if (c->head_dim > HEAD_DIM_MAX)
        return sy_error_set(err, SY_ERR_DATA, "%s: heads of %d dims, the limit is %d", c->path, c->head_dim,
                            HEAD_DIM_MAX);
    return SY_OK;
}

/* A token id, or -1 for one that the vocabulary does not have and that can therefore never come. */
static int32_t token_id(const struct sy_config *c, json_int_t id)
{
    return id >= 0 && id < (c->vocab ? c->vocab : VOCAB_MAX) ? (int32_t)id : -1;
}

static enum sy_status add_eos(struct sy_config *c, const char *path, const json_t *value, struct sy_error *err)
{
    char shown[80];

    if (!json_is_integer(value))
        return sy_error_set(err, SY_ERR_DATA, "%s: \"eos_token_id\" is %s, expected an integer or a list of integers",
                            path, sy_json_show(value, shown, sizeof shown));
    int32_t id = token_id(c, json_integer_value(value));
    if (id < 0)
        return SY_OK;
    if (c->n_eos == SY_EOS_MAX)
        return sy_error_set(err, SY_ERR_DATA, "%s: \"eos_token_id\" has over %d ids", path, SY_EOS_MAX);
    c->eos[c->n_eos++] = id;
    return SY_OK;
}

/* generation_config.json goes before config.json, that before the family's own. */
static enum sy_status read_tokens(struct sy_config *c, const struct sy_checkpoint *ckpt, struct sy_error *err)
{
    const json_t *generation = sy_checkpoint_generation_config(ckpt);
    const json_t *eos = generation ? sy_json_get(generation, "eos_token_id") : NULL;
    const json_t *bos = generation ? sy_json_get(generation, "bos_token_id") : NULL;
    char path[PATH_MAX], shown[80];
    enum sy_status st = SY_OK;
    bool overridden = eos && !json_is_null(eos);

    snprintf(path, sizeof path, "%.4000s/%s", sy_checkpoint_dir(ckpt),
             overridden ? "generation_config.json" : "config.json");
    if (!overridden)
        eos = either(c, "eos_token_id");
    if (!bos || json_is_null(bos))
        bos = either(c, "bos_token_id");
    if (!eos && c->family->eos >= 0 && token_id(c, c->family->eos) >= 0)
        c->eos[c->n_eos++] = c->family->eos;
    if (json_is_array(eos)) {
        for (size_t i = 0; !st && i < json_array_size(eos); i++)
            st = add_eos(c, path, json_array_get(eos, i), err);
    } else if (eos && !json_is_null(eos)) {
        st = add_eos(c, path, eos, err);
    }
    if (st)
        return st;
    c->bos = bos ? -1 : token_id(c, c->family->bos);
    if (bos && !json_is_null(bos) && !json_is_integer(bos))
        return sy_error_set(err, SY_ERR_DATA, "%s: \"bos_token_id\" is %s, expected an integer", c->path,
                            sy_json_show(bos, shown, sizeof shown));
    if (json_is_integer(bos))
        c->bos = token_id(c, json_integer_value(bos));
    return SY_OK;
}

/* sliding_window, use_sliding_window, max_window_layers and layer_types. transformers gives every Qwen3-MoE layer the window
 * and has no use for max_window_layers there, so neither has this; in Qwen2-MoE it has (configuration_qwen2_moe.py). */
static enum sy_status read_window(struct sy_config *c, struct sy_error *err)
{
    const json_t *types = sy_json_get(c->json, "layer_types");
    bool use = c->family->windowed;
    int64_t max_layers = c->family->alternating;
    char shown[80];
    enum sy_status st = sy_json_bool(c->path, c->json, "use_sliding_window", &use, err);

    if (!st && use) {
        c->window = sy_json_get(c->json, "sliding_window") ? 0 : c->family->window;
        st = read_int(c, "sliding_window", CONTEXT_MAX, &c->window, err);
    }
    if (!st && c->family->alternating)
        st = sy_json_int(c->path, c->json, "max_window_layers", 0, CONTEXT_MAX, &max_layers, err);
    c->max_window_layers = (int)max_layers;
    if (st || !types || json_is_null(types))
        return st;
    if (!json_is_array(types) || json_array_size(types) != (size_t)c->n_layers)
        return sy_error_set(err, SY_ERR_DATA, "%s: \"layer_types\" is %s, expected an array of num_hidden_layers %d",
                            c->path, sy_json_show(types, shown, sizeof shown), c->n_layers);
    c->layer_types = types;
    for (int i = 0; i < c->n_layers; i++) {
        const json_t *type = json_array_get(types, (size_t)i);
        const char *text = json_is_string(type) ? json_string_value(type) : "";
        bool sliding = !strcmp(text, "sliding_attention");
        if (!sliding && strcmp(text, "full_attention"))
            return sy_error_set(err, SY_ERR_DATA, "%s: layer_types[%d] is %s, supported: \"full_attention\", "
                                "\"sliding_attention\"", c->path, i, sy_json_show(type, shown, sizeof shown));
        if (sliding && !c->window)
            return sy_error_set(err, SY_ERR_DATA,
                                "%s: layer_types[%d] is \"sliding_attention\", but \"sliding_window\" gives "
                                "no window",
                                c->path, i);
    }
    return SY_OK;
}

int sy_config_window(const struct sy_config *c, int layer)
{
    const char *type = c->layer_types ? json_string_value(json_array_get(c->layer_types, (size_t)layer)) : NULL;

    if (type)
        return strcmp(type, "full_attention") ? c->window : 0;
    return c->family->alternating && (layer % 2 || layer >= c->max_window_layers) ? 0 : c->window;
}

/* Keys that say which layers have experts. */
static enum sy_status read_sparsity(struct sy_config *c, struct sy_error *err)
{
    const json_t *only = sy_json_get(c->json, "mlp_only_layers");
    char shown[80];
    int64_t unused = 0;
    enum sy_status st;

    if (only && !json_is_null(only)) {
        if (!json_is_array(only) || json_array_size(only) > LAYERS_MAX)
            return sy_error_set(err, SY_ERR_DATA, "%s: \"mlp_only_layers\" is %s, expected an array of layer numbers",
                                c->path, sy_json_show(only, shown, sizeof shown));
        for (size_t i = 0; i < json_array_size(only); i++)
            if (!json_is_integer(json_array_get(only, i)))
                return sy_error_set(err, SY_ERR_DATA, "%s: mlp_only_layers[%zu] is %s, expected a layer number",
                                    c->path, i, sy_json_show(json_array_get(only, i), shown, sizeof shown));
        c->mlp_only = only;
    }
    if ((st = read_int(c, "decoder_sparse_step", INT_MAX, &c->sparse_step, err)) ||
        (st = read_int(c, "moe_layer_freq", INT_MAX, &c->layer_freq, err)) ||
        (st = sy_json_int(c->path, c->json, "first_k_dense_replace", 0, LAYERS_MAX, &unused, err)))
        return st;
    c->first_dense = sy_json_get(c->json, "first_k_dense_replace");
    return SY_OK;
}

enum sy_said sy_config_moe(const struct sy_config *c, int layer, const char **key)
{
    bool speaks = c->mlp_only || c->sparse_step || c->layer_freq > 1 || json_is_integer(c->first_dense);
    enum sy_said said = speaks ? SY_SAID_YES : SY_NOT_SAID;

    *key = c->sparse_step ? "decoder_sparse_step" : c->mlp_only ? "mlp_only_layers" : "first_k_dense_replace";
    if (c->sparse_step && (layer + 1) % c->sparse_step)
        said = SY_SAID_NO;
    if (c->layer_freq > 1 && layer % c->layer_freq) {
        *key = "moe_layer_freq";
        said = SY_SAID_NO;
    }
    for (size_t i = 0; c->mlp_only && i < json_array_size(c->mlp_only); i++) {
        if (json_integer_value(json_array_get(c->mlp_only, i)) == layer) {
            *key = "mlp_only_layers";
            said = SY_SAID_NO;
        }
    }
    if (json_is_integer(c->first_dense) && layer < json_integer_value(c->first_dense)) {
        *key = "first_k_dense_replace";
        said = SY_SAID_NO;
    }
    return said;
}

/* Groups of experts. Where a method is named it must fit the family's. */
static enum sy_status read_groups(struct sy_config *c, struct sy_error *err)
{
    static const char *const methods[] = {"greedy", "group_limited_greedy", "noaux_tc"};
    int method = c->family->group_best == 1 ? 0 : 2;
    enum sy_status st;

    c->n_groups = c->n_kept = 1;
    if ((st = read_int(c, "n_group", SY_GROUPS_MAX, &c->n_groups, err)) ||
        (st = read_int(c, "topk_group", SY_GROUPS_MAX, &c->n_kept, err)) ||
        (st = read_word(c, "topk_method", methods, 3, &method, err)))
        return st;
    if (c->n_groups > 1 && c->family->group_best && (c->family->group_best == 1) == (method == 2))
        return sy_error_set(err, SY_ERR_DATA, "%s: \"topk_method\" \"%s\" is not supported for %s", c->path,
                            methods[method], c->family->architecture);
    if (!c->family->group_best && c->n_groups > 1)
        return sy_error_set(err, SY_ERR_DATA, "%s: groups of experts (n_group %d) are not supported for %s", c->path,
                            c->n_groups, c->family->architecture);
    if (c->family->group_best == 1 && method == 0)
        c->n_groups = c->n_kept = 1;
    if (c->n_kept > c->n_groups)
        return sy_error_set(err, SY_ERR_DATA, "%s: \"topk_group\" is %d, but \"n_group\" is %d", c->path, c->n_kept,
                            c->n_groups);
    return SY_OK;
}

static enum sy_status read_router(struct sy_config *c, struct sy_error *err)
{
    static const char *const scores[] = {"softmax", "sigmoid"};
    int kind = (int)c->family->router;
    enum sy_status st;

    c->router_scale = 1;
    c->normalise = c->family->normalise;
    c->jitter = 0.01;
    if ((st = sy_json_real(c->path, c->json, "routed_scaling_factor", -1e6, 1e6, &c->router_scale, err)) ||
        (st = sy_json_bool(c->path, c->json, "norm_topk_prob", &c->normalise, err)) ||
        (st = sy_json_real(c->path, c->json, "router_jitter_noise", 0, 1e6, &c->jitter, err)) ||
        (st = read_word(c, "scoring_func", scores, 2, &kind, err)))
        return st;
    c->router = (enum sy_router_kind)kind;
    if (c->router == SY_ROUTER_SPARSEMIXER && c->top_k != 2)
        return sy_error_set(err, SY_ERR_DATA, "%s: \"num_experts_per_tok\" is %d, but the router of %s takes 2",
                            c->path, c->top_k, c->family->architecture);
    if (c->family->scale_or_normalise && c->normalise && c->top_k > 1)
        c->router_scale = 1;
    return read_groups(c, err);
}

/* Granite's multipliers, and what gates an MLP. */
static enum sy_status read_multipliers(struct sy_config *c, struct sy_error *err)
{
    double alpha = c->family->glu.alpha, limit = c->family->glu.limit, logits = 1;
    enum sy_status st;

    c->embedding_scale = c->residual_scale = 1;
    c->attention_scale = c->family->attention_scale;
    if ((st = sy_json_real(c->path, c->json, "embedding_multiplier", -1e6, 1e6, &c->embedding_scale, err)) ||
        (st = sy_json_real(c->path, c->json, "residual_multiplier", -1e6, 1e6, &c->residual_scale, err)) ||
        (st = sy_json_real(c->path, c->json, "attention_multiplier", 1e-9, 1e6, &c->attention_scale, err)) ||
        (st = sy_json_real(c->path, c->json, "logits_scaling", 1e-6, 1e6, &logits, err)) ||
        (st = sy_json_real(c->path, c->json, "swiglu_alpha", 0, 1e6, &alpha, err)) ||
        (st = sy_json_real(c->path, c->json, "swiglu_limit", 0, 1e6, &limit, err)))
        return st;
    c->logits_scale = 1 / logits;
    if ((limit > 0) != (c->family->glu.limit > 0))
        return sy_error_set(err, SY_ERR_DATA, "%s: \"swiglu_limit\" is %g, which %s does not support here", c->path,
                            limit, c->family->architecture);
    c->glu = (struct sy_glu){(float)alpha, (float)limit};
    return SY_OK;
}

/* Multimodal models keep the keys of their language model in an object of one of these names. */
static void find_text(struct sy_config *c, const json_t *config)
{
    static const char *const names[] = {"text_config", "language_config", "llm_config"};

    c->json = c->whole = config;
    for (int i = 0; i < 3 && c->json == config && !sy_json_get(config, "num_hidden_layers"); i++) {
        size_t n = strlen(c->path);
        if (json_is_object(sy_json_get(config, names[i]))) {
            c->json = sy_json_get(config, names[i]);
            snprintf(c->path + n, sizeof c->path - n, ": %s", names[i]);
        }
    }
}

enum sy_status sy_config_read(const struct sy_checkpoint *ckpt, struct sy_config *c, struct sy_error *err)
{
    enum sy_status st;

    memset(c, 0, sizeof *c);
    snprintf(c->path, sizeof c->path, "%.4000s/config.json", sy_checkpoint_dir(ckpt));
    find_text(c, sy_checkpoint_config(ckpt));
    if ((st = sy_family_find(c->path, c->json, &c->family, err)) || (st = check_foreign(c, err)) ||
        (st = sy_quantization_read(c->path, either(c, "quantization_config"), &c->quantization, err)) ||
        (st = read_shape(c, err)) || (st = read_window(c, err)) || (st = read_sparsity(c, err)) ||
        (st = read_tokens(c, ckpt, err)))
        return st;
    c->norm_eps = c->family->norm_eps;
    if ((st = sy_json_real(c->path, c->json, "rms_norm_eps", 0, 1, &c->norm_eps, err)) ||
        (st = sy_json_real(c->path, c->json, "clip_qkv", 1e-30, 1e30, &c->clip_qkv, err)) ||
        (st = read_tied(c, err)) ||
        (st = read_said(c, c->json, "attention_bias", &c->attention_bias, err)) ||
        (st = read_said(c, c->json, "qkv_bias", &c->qkv_bias, err)) ||
        (st = read_said(c, c->json, "use_qk_norm", &c->qk_norm, err)) ||
        (st = read_said(c, c->json, "lm_head_bias", &c->lm_head_bias, err)) || (st = read_router(c, err)) ||
        (st = read_multipliers(c, err)))
        return st;
    return sy_rope_read(c, &c->rope, err);
}
