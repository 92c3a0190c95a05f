/* SPDX-License-Identifier: Apache-2.0
 * small.c - one small checkpoint, made again and again with a key or a tensor changed
 */
#include "small.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tap.h"

void small_layer(struct tensor_list *t, int i, enum layout layout, bool dense)
{
    const char *module = layout == SPLIT_MIXTRAL ? "block_sparse_moe" : "mlp";

    list_add(t, "BF16", D, 0, 0, "model.layers.%d.input_layernorm.weight", i);
    list_add(t, "BF16", D, 0, 0, "model.layers.%d.post_attention_layernorm.weight", i);
    list_add(t, "BF16", HQ * DH, D, 0, "model.layers.%d.self_attn.q_proj.weight", i);
    list_add(t, "BF16", HKV * DH, D, 0, "model.layers.%d.self_attn.k_proj.weight", i);
    list_add(t, "BF16", HKV * DH, D, 0, "model.layers.%d.self_attn.v_proj.weight", i);
    list_add(t, "BF16", D, HQ * DH, 0, "model.layers.%d.self_attn.o_proj.weight", i);
    if (dense) {
        list_add(t, "BF16", DENSE, D, 0, "model.layers.%d.mlp.gate_proj.weight", i);
        list_add(t, "BF16", DENSE, D, 0, "model.layers.%d.mlp.up_proj.weight", i);
        list_add(t, "BF16", D, DENSE, 0, "model.layers.%d.mlp.down_proj.weight", i);
        return;
    }
    list_add(t, "BF16", E, D, 0, "model.layers.%d.%s.gate.weight", i, module);
    if (layout == FUSED) {
        list_add(t, "BF16", E, 2 * F, D, "model.layers.%d.mlp.experts.gate_up_proj", i);
        list_add(t, "BF16", E, D, F, "model.layers.%d.mlp.experts.down_proj", i);
    }
    for (int e = 0; e < E && layout != FUSED; e++) {
        bool m = layout == SPLIT_MIXTRAL;
        list_add(t, "BF16", F, D, 0, "model.layers.%d.%s.experts.%d.%s.weight", i, module, e, m ? "w1" : "gate_proj");
        list_add(t, "BF16", F, D, 0, "model.layers.%d.%s.experts.%d.%s.weight", i, module, e, m ? "w3" : "up_proj");
        list_add(t, "BF16", D, F, 0, "model.layers.%d.%s.experts.%d.%s.weight", i, module, e, m ? "w2" : "down_proj");
    }
}

struct tensor_list *small_list(enum layout layout, int dense_layer)
{
    struct tensor_list *t = calloc(1, sizeof *t);

    list_add(t, "BF16", V, D, 0, "model.embed_tokens.weight");
    list_add(t, "BF16", D, 0, 0, "model.norm.weight");
    list_add(t, "BF16", V, D, 0, "lm_head.weight");
    for (int i = 0; i < L; i++)
        small_layer(t, i, layout, i == dense_layer);
    return t;
}

/* The keys of the base checkpoint with an object of changes laid over; null there removes a key. */
static json_t *make_config(const char *architecture, const char *changes)
{
    json_t *config = json_pack("{s:[s] s:s s:i s:i s:i s:i s:i s:i s:i s:i s:i s:i s:b}", "architectures", architecture,
                               "model_type", "ignored", "hidden_size", D, "num_hidden_layers", L, "num_attention_heads",
                               HQ, "num_key_value_heads", HKV, "head_dim", DH, "vocab_size", V, "num_local_experts", E,
                               "num_experts_per_tok", 3, "moe_intermediate_size", F, "intermediate_size", DENSE,
                               "tie_word_embeddings", 0);
    json_t *over, *value;
    const char *key;
    struct sy_error err = SY_ERROR_INIT;

    if (!config || sy_json_parse("changes", changes, strlen(changes), 16, &over, &err))
        bail("the test's own config: %s", err.text);
    json_object_foreach (over, key, value) {
        if (json_is_null(value))
            json_object_del(config, key);
        else
            json_object_set(config, key, value);
    }
    json_decref(over);
    return config;
}

struct small small_make(struct tensor_list *list, const char *architecture, const char *changes, const char *generation)
{
    struct small m = {.dir = folder_make(), .err = SY_ERROR_INIT};
    json_t *config = make_config(architecture, changes);
    char *text = json_dumps(config, 0);

    folder_text(m.dir, "config.json", text);
    if (generation)
        folder_text(m.dir, "generation_config.json", generation);
    list_write(list, m.dir, "model.safetensors");
    m.st = folder_open(m.dir, &m.ckpt, &m.err);
    if (m.st)
        bail("the test's own checkpoint: %s", m.err.text);
    m.st = sy_model_create(m.ckpt, &m.model, &m.err);
    free(text);
    json_decref(config);
    return m;
}

void small_unmake(struct small *m)
{
    sy_model_destroy(m->model);
    sy_checkpoint_close(m->ckpt);
    folder_remove(m->dir);
}
