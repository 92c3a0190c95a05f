/* SPDX-License-Identifier: Apache-2.0
 * config.h - what config.json and generation_config.json say, before any tensor is looked at
 *
 * Both styles of keys are read (transformers 4 and 5). Numbers are checked for sense here; whether the tensors agree is
 * checked in bind.c. A key that would change the result and is not supported is refused by name.
 */
#ifndef SY_MODEL_CONFIG_H
#define SY_MODEL_CONFIG_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "model/families.h"
#include "model/model.h"

/* A tri-state key. */
enum sy_said { SY_NOT_SAID = -1, SY_SAID_NO, SY_SAID_YES };

struct sy_config {
    char path[PATH_MAX]; /* of config.json, for messages */
    const json_t *json;  /* the keys of the language model */
    const json_t *whole; /* the file, where those are in an object of it */
    const struct sy_family *family;
    /* 0 where the key is absent and a tensor decides. */
    int n_layers, hidden, n_heads, n_kv_heads, head_dim, vocab, n_experts, moe_width, width;
    int top_k, max_context, window, max_window_layers, sparse_step, layer_freq;
    int n_groups, n_kept, n_shared, shared_width;
    double norm_eps, clip_qkv, router_scale, jitter;
    double embedding_scale, residual_scale, logits_scale, attention_scale; /* attention_scale 0: the usual one */
    enum sy_router_kind router;
    struct sy_glu glu;
    bool normalise;
    enum sy_said tied, attention_bias, qkv_bias, qk_norm, lm_head_bias;
    const json_t *layer_types, *mlp_only, *first_dense; /* NULL where not given */
    struct sy_rope rope;
    struct sy_quantization quantization;
    struct sy_mla mla;
    int n_eos;
    int32_t eos[SY_EOS_MAX], bos;
};

/* Errors: SY_ERR_DATA with the path, the key, what was expected and what was found. config keeps pointers into ckpt. */
enum sy_status sy_config_read(const struct sy_checkpoint *ckpt, struct sy_config *config, struct sy_error *err);

/* Whether the keys ask for experts in a layer; *key is then the one that decides. SY_NOT_SAID when they are silent. */
enum sy_said sy_config_moe(const struct sy_config *config, int layer, const char **key);

/* Window of a layer in tokens, 0 for full attention. */
int sy_config_window(const struct sy_config *config, int layer);

/* The rotary part of config.json: rope_parameters (transformers 5) or rope_theta and rope_scaling (4). rope.c */
enum sy_status sy_rope_read(const struct sy_config *config, struct sy_rope *rope, struct sy_error *err);

#endif
