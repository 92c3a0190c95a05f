/* SPDX-License-Identifier: Apache-2.0
 * model.h - what an architecture is: shapes and variants, as data
 *
 * Made from config.json and the names and shapes of the tensors. A family is a row of the table in families.c plus, where
 * it needs one, a variant of an existing piece; nothing in the engine asks for a model's name.
 *
 * Letters: D hidden, E experts, K experts per token, F expert width, V vocabulary, L layers, Hq query heads, Hkv key and
 * value heads, dh head size.
 */
#ifndef SY_MODEL_MODEL_H
#define SY_MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "kernels.h"
#include "model/checkpoint.h"
#include "model/quantization.h"
#include "model/matrix.h"

#define SY_EOS_MAX 16

enum sy_qk_norm {
    SY_QK_NORM_NONE,
    SY_QK_NORM_HEAD, /* weight [dh], each head on its own (Qwen3) */
    SY_QK_NORM_FULL, /* weight [H * dh], over the whole projection (OLMoE) */
};

enum sy_norm_kind {
    SY_NORM_RMS,
    SY_NORM_LAYER, /* mean taken off, and a bias (Phi) */
};

enum sy_rope_kind { SY_ROPE_DEFAULT, SY_ROPE_LINEAR, SY_ROPE_YARN, SY_ROPE_LLAMA3, SY_ROPE_LONG };

struct sy_rope {
    enum sy_rope_kind kind;
    double theta, factor, original_context, beta_fast, beta_slow, attention_factor;
    bool truncate;  /* YaRN: whole dims at both ends of the ramp */
    int rotary_dim; /* dims of a head that turn */
    double score_factor; /* of the softmax's scale */
    bool interleaved; /* dims 2i and 2i + 1 turn together, else i and i + rotary_dim / 2 */
    double low_freq_factor, high_freq_factor;        /* Llama 3: turns over the original context */
    const json_t *short_factor, *long_factor;        /* LongRoPE: arrays of rotary_dim / 2 numbers in config.json */
    double long_attention_factor;                    /* LongRoPE: attention_factor is that of the short ones */
};

/* Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1): keys and values of all heads come from one
 * latent of kv_lora_rank dims and one rotary key of qk_rope_head_dim. kv_lora_rank 0: the model has none of it. */
struct sy_mla {
    int q_lora_rank; /* 0: queries come from the hidden state itself */
    int kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim;
};

struct sy_expert_sources {
    struct sy_matrix gate, up, down; /* [F, D], [F, D], [D, F] */
    struct sy_matrix gate_bias, up_bias, down_bias; /* rows of one element; tensor NULL without */
};

struct sy_layer_sources {
    bool moe;
    int window;   /* sliding window in tokens, 0: full */
    int kv_index; /* its number among the layers with a window, or among those without */
    const struct sy_tensor *attention_norm, *mlp_norm;            /* [D] */
    const struct sy_tensor *attention_norm_bias, *mlp_norm_bias;  /* NULL without */
    struct sy_matrix q, k, v, o;                                  /* [Hq*dh, D], [Hkv*dh, D] twice, [D, Hq*dh] */
    const struct sy_tensor *q_bias, *k_bias, *v_bias, *o_bias;    /* NULL without; MLA: q_a's, kv_a's, NULL, o's */
    const struct sy_tensor *q_norm, *k_norm;                      /* NULL without */
    const struct sy_tensor *sinks;                                /* [Hq], NULL without */
    struct sy_matrix q_a, q_b, kv_a, kv_b;        /* MLA: [q_lora, D], [Hq*(nope+rope), q_lora], [kv_lora+rope, D],
                                            * [Hq*(nope+v), kv_lora]; q_a and q_b, or q of [Hq*(nope+rope), D] */
    const struct sy_tensor *q_a_norm, *kv_a_norm; /* MLA: [q_lora], [kv_lora] */
    struct sy_matrix router;                                      /* [E, D], moe only */
    const struct sy_tensor *router_bias;                          /* [E] of the logits, NULL without */
    const struct sy_tensor *correction;                           /* [E] of the choice alone, NULL without */
    struct sy_expert_sources shared;                              /* [shared_width, D], ..; for every token; moe only */
    struct sy_matrix shared_gate;                                 /* [1, D]; its sigmoid weighs the shared expert */
    struct sy_expert_sources *experts;                            /* [E], moe only */
    struct sy_expert_sources dense;                               /* [dense_width, D], ..., dense only */
};

struct sy_model {
    char architecture[80];
    const char *root, *outer; /* of tensors' names: "model.", "" of lm_head; longer in multimodal models */
    int n_layers, n_moe_layers, hidden, n_heads, n_kv_heads, head_dim, vocab;
    int n_experts, top_k, expert_width, dense_width, shared_width; /* shared_width 0: no shared expert */
    int max_context; /* max_position_embeddings */
    enum sy_norm_kind norm;
    float norm_eps, attention_scale, clip_qkv; /* clip_qkv 0: none */
    float embedding_scale, residual_scale, logits_scale; /* Granite's multipliers; 1 elsewhere */
    struct sy_glu glu; /* of experts and dense MLPs */
    struct sy_rope rope;
    struct sy_mla mla; /* head_dim is then that of queries, nope + rope */
    enum sy_qk_norm qk_norm;
    struct sy_router_rule router;
    bool tied; /* lm_head is the embedding */
    enum sy_dtype dtype; /* of the embedding; each matrix has its own */
    struct sy_quantization quantization;
    int n_eos;
    int32_t eos[SY_EOS_MAX];
    int32_t bos; /* -1: none */
    int n_ignored; /* keys of config.json that nothing here knows */
    char *ignored; /* their names, "a, b.c" (keys.h); NULL: none */

    struct sy_matrix embed, lm_head; /* [V, D]; lm_head.tensor == embed.tensor when tied */
    const struct sy_tensor *final_norm, *final_norm_bias, *lm_head_bias;
    struct sy_layer_sources *layers; /* [n_layers] */
};

/* Read the architecture of a checkpoint and bind every tensor it needs. Checks each shape; a missing tensor, a wrong
 * shape or an unsupported architecture is SY_ERR_DATA that names the tensor or key, what was expected and what was found
 * (for an architecture: the key that decided it and the supported ones). The model keeps pointers into ckpt.
 * Source: shared facts of the families; config keys in both styles (rope_theta + rope_scaling, rope_parameters). */
enum sy_status sy_model_create(const struct sy_checkpoint *ckpt, struct sy_model **model, struct sy_error *err);

void sy_model_destroy(struct sy_model *model);

/* Parameters in all, and those that one token uses: all but the experts that it does not go to. anatomy.c */
void sy_model_parameters(const struct sy_model *model, int64_t *total, int64_t *active);

/* What a layer's cache holds of a token, for a cache type; base and stride are the cache's. */
struct sy_kv_layer sy_model_kv_shape(const struct sy_model *model, enum sy_dtype kv_dtype);

/* As config.json has it ("yarn"). rope.c */
const char *sy_rope_kind_name(enum sy_rope_kind kind);

/* The longest sequence that turns by the first part of the table; INT_MAX unless the model has LongRoPE, which turns all
 * positions of a sequence by other factors once it is longer than the original context. */
int sy_rope_short_context(const struct sy_rope *rope);

/* Rows of the table for sequences of up to n_positions: with LongRoPE, positions 0 .. short context - 1 by the short factors,
 * then (where a sequence can be that long) positions 0 .. n_positions - 1 by the long ones. */
size_t sy_rope_rows(const struct sy_rope *rope, int n_positions);

/* cos_sin[row][rotary_dim], as kernels.h wants it; angles in double, stored as float. */
void sy_rope_table(const struct sy_rope *rope, int n_positions, float *cos_sin);

#endif
