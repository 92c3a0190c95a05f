/* SPDX-License-Identifier: Apache-2.0
 * families.c - tests of what DeepSeek, GLM and gpt-oss leave unsaid, and of language models inside multimodal ones
 *
 * small.h has the checkpoint that is changed. The families' numbers are held against transformers by tests/mpi/golden.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "small.h"
#include "tap.h"

#define QWEN "Qwen3MoeForCausalLM"
#define V2   "DeepseekV2ForCausalLM"
#define V3   "DeepseekV3ForCausalLM"
#define GLM  "Glm4MoeForCausalLM"
#define OSS  "GptOssForCausalLM"

/* The list makes no model, and the message has this part. */
static void refused(struct tensor_list *list, const char *architecture, const char *changes, const char *part)
{
    struct small m = small_make(list, architecture, changes, NULL);

    if (!ok(m.st == SY_ERR_DATA && strstr(m.err.text, part), "refused: %s", part))
        diag("status %d, text \"%s\"", m.st, m.err.text);
    small_unmake(&m);
}

static bool is_named(const struct sy_tensor *t, const char *name)
{
    return t && !strcmp(t->name, name);
}

/* ---- inside multimodal models ---- */

/* The keys of the language model, in an object of this name; what is left beside it is the whole's. */
#define INSIDE(name, more)                                                                                  \
    "{\"" name "\":{\"hidden_size\":12,\"num_hidden_layers\":2,\"num_attention_heads\":4,"                  \
    "\"num_key_value_heads\":2,\"head_dim\":4,\"vocab_size\":20,\"num_experts\":5,"                         \
    "\"num_experts_per_tok\":3,\"moe_intermediate_size\":7," more "},\"hidden_size\":null,\"model_type\":\"whole\"," \
    "\"num_hidden_layers\":null,\"num_local_experts\":null,\"eos_token_id\":[3,4]}"

static struct tensor_list *inside(const char *root, const char *outer)
{
    struct tensor_list *list = small_list(SPLIT_QWEN, -1);
    char name[sizeof list->items[0].name];

    for (int i = 0; i < list->n; i++) {
        bool in = !strncmp(list->items[i].name, "model.", 6);
        snprintf(name, sizeof name, "%s%s", in ? root : outer, list->items[i].name + (in ? 6 : 0));
        memcpy(list->items[i].name, name, sizeof name);
    }
    list_add(list, "BF16", 3, 5, 0, "model.visual.blocks.0.attn.qkv.weight");
    list_add(list, "BOOL", 3, 0, 0, "vision_tower.mask");
    return list;
}

static void test_inside(void)
{
    static const struct {
        const char *root, *outer, *changes;
    } places[] = {
        {"model.language_model.", "", INSIDE("text_config", "\"model_type\":\"qwen3_moe\"")},
        {"language_model.model.", "language_model.", INSIDE("llm_config", "\"architectures\":[\"" QWEN "\"]")},
        {"language.model.", "language.", INSIDE("language_config", "\"model_type\":\"qwen3_moe\"")},
        {"model.", "", INSIDE("text_config", "\"model_type\":\"qwen3_moe\"")},
    };
    char name[100];

    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        struct tensor_list *list = inside(places[i].root, places[i].outer);
        struct small m = small_make(list, "AnyForConditionalGeneration", places[i].changes, NULL);
        if (!ok(!m.st, "read below %s", places[i].root))
            bail("%s", m.err.text);
        snprintf(name, sizeof name, "%slayers.1.mlp.experts.4.up_proj.weight", places[i].root);
        is_str(m.model->layers[1].experts[4].up.tensor->name, name, "an expert");
        snprintf(name, sizeof name, "%slm_head.weight", places[i].outer);
        is_str(m.model->lm_head.tensor->name, name, "the output projection");
        is_str(m.model->architecture, QWEN, "the family is that of the language model");
        ok(m.model->n_eos == 2 && m.model->eos[1] == 4, "the end of text is the whole's, where its part has none");
        small_unmake(&m);
        snprintf(name, sizeof name, "%slayers.1.self_attn.gate.weight", places[i].root);
        list_add(list, "BF16", 4, 0, 0, "%s", name);
        refused(list, "AnyForConditionalGeneration", places[i].changes, name);
        list_drop(list, name);
        snprintf(name, sizeof name, "%slm_head.scale", places[i].outer);
        list_add(list, "BF16", 4, 0, 0, "%s", name);
        refused(list, "AnyForConditionalGeneration", places[i].changes, name);
        free(list);
    }
    struct tensor_list *list = inside("model.language_model.", "");
    refused(list, "A", INSIDE("text_config", "\"model_type\":\"odd\""),
            "config.json: text_config: architecture \"odd\" (key model_type) is not supported");
    refused(list, "A", INSIDE("text_config", "\"model_type\":\"qwen3_moe\",\"num_heads\":3,\"rms_norm_eps\":-1"),
            "config.json: text_config: \"rms_norm_eps\"");
    free(list);
}

/* The whole says whether embeddings are tied, or its part; the tensors where they differ. */
static void test_inside_tied(void)
{
    static const struct {
        const char *what, *changes;
        bool head, tied;
    } cases[] = {
        {"said by the whole alone", "\"tie_word_embeddings\":true", true, true},
        {"denied by its part, and a head is there", "\"tie_word_embeddings\":true", true, false},
        {"denied by its part, and no head is there", "\"tie_word_embeddings\":true", false, true},
        {"denied by the whole, and a head is there", "\"tie_word_embeddings\":false", true, false},
        {"denied by the whole, and no head is there", "\"tie_word_embeddings\":false", false, true},
    };
    static const char *const part[] = {"", ",\"tie_word_embeddings\":false", ",\"tie_word_embeddings\":false",
                                       ",\"tie_word_embeddings\":true", ",\"tie_word_embeddings\":true"};
    char changes[1024], keys[200];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct tensor_list *list = inside("model.language_model.", "");
        if (!cases[i].head)
            list_drop(list, "lm_head.weight");
        snprintf(keys, sizeof keys, "\"model_type\":\"qwen3_moe\"%s", part[i]);
        snprintf(changes, sizeof changes,
                 "{\"text_config\":{\"hidden_size\":12,\"num_hidden_layers\":2,\"num_attention_heads\":4,"
                 "\"num_key_value_heads\":2,\"head_dim\":4,\"num_experts\":5,\"num_experts_per_tok\":3,%s},"
                 "\"num_hidden_layers\":null,%s}",
                 keys, cases[i].changes);
        struct small m = small_make(list, "A", changes, NULL);
        ok(!m.st && m.model->tied == cases[i].tied, "tied embeddings %s%s", cases[i].what, m.st ? m.err.text : "");
        small_unmake(&m);
        free(list);
    }
}

/* ---- latent attention ---- */

enum { Q_LORA = 5, KV_LORA = 6, ROPE = 2, NOPE = 3, VALUE = 4 };

#define LATENT "\"kv_lora_rank\":6,\"qk_rope_head_dim\":2,\"qk_nope_head_dim\":3,\"v_head_dim\":4"

static struct tensor_list *latent(bool q_lora)
{
    static const char *const gone[] = {"q_proj", "k_proj", "v_proj", "o_proj"};
    struct tensor_list *list = small_list(SPLIT_QWEN, -1);
    char name[80];

    for (int i = 0; i < L; i++) {
        for (int g = 0; g < 4; g++) {
            snprintf(name, sizeof name, "model.layers.%d.self_attn.%s.weight", i, gone[g]);
            list_drop(list, name);
        }
        if (q_lora) {
            list_add(list, "BF16", Q_LORA, D, 0, "model.layers.%d.self_attn.q_a_proj.weight", i);
            list_add(list, "BF16", Q_LORA, 0, 0, "model.layers.%d.self_attn.q_a_proj.bias", i);
            list_add(list, "BF16", Q_LORA, 0, 0, "model.layers.%d.self_attn.q_a_layernorm.weight", i);
            list_add(list, "BF16", HQ * (NOPE + ROPE), Q_LORA, 0, "model.layers.%d.self_attn.q_b_proj.weight", i);
        } else {
            list_add(list, "BF16", HQ * (NOPE + ROPE), D, 0, "model.layers.%d.self_attn.q_proj.weight", i);
        }
        list_add(list, "BF16", KV_LORA + ROPE, D, 0, "model.layers.%d.self_attn.kv_a_proj_with_mqa.weight", i);
        list_add(list, "BF16", KV_LORA + ROPE, 0, 0, "model.layers.%d.self_attn.kv_a_proj_with_mqa.bias", i);
        list_add(list, "BF16", KV_LORA, 0, 0, "model.layers.%d.self_attn.kv_a_layernorm.weight", i);
        list_add(list, "BF16", HQ * (NOPE + VALUE), KV_LORA, 0, "model.layers.%d.self_attn.kv_b_proj.weight", i);
        list_add(list, "BF16", D, HQ * VALUE, 0, "model.layers.%d.self_attn.o_proj.weight", i);
        list_add(list, "BF16", D, 0, 0, "model.layers.%d.self_attn.o_proj.bias", i);
    }
    return list;
}

static void test_latent_biases(void)
{
    for (int q_lora = 0; q_lora < 2; q_lora++) {
        const char *yes = q_lora ? "{\"attention_bias\":true,\"q_lora_rank\":5," LATENT "}"
                                 : "{\"attention_bias\":true,\"q_lora_rank\":null," LATENT "}";
        const char *no = q_lora ? "{\"attention_bias\":false,\"q_lora_rank\":5," LATENT "}"
                                : "{\"attention_bias\":false," LATENT "}";
        struct tensor_list *list = latent(q_lora);
        struct small m = small_make(list, V3, yes, NULL);
        if (!ok(!m.st, "latent attention with biases, %s query compression", q_lora ? "with" : "without"))
            bail("%s", m.err.text);
        const struct sy_layer_sources *l = &m.model->layers[1];
        ok(q_lora ? is_named(l->q_bias, "model.layers.1.self_attn.q_a_proj.bias") : !l->q_bias,
           "that of the queries is before their latent");
        ok(is_named(l->k_bias, "model.layers.1.self_attn.kv_a_proj_with_mqa.bias") &&
               is_named(l->o_bias, "model.layers.1.self_attn.o_proj.bias") && !l->v_bias,
           "those of the keys' latent and of the output");
        small_unmake(&m);
        refused(list, V3, no, ".bias is there, but config.json has attention_bias false");
        list_add(list, "BF16", HQ * (NOPE + VALUE), 0, 0, "model.layers.1.self_attn.kv_b_proj.bias");
        refused(list, V3, yes, "model.layers.1.self_attn.kv_b_proj.bias has no place");
        list_drop(list, "model.layers.1.self_attn.kv_b_proj.bias");
        list_drop(list, "model.layers.0.self_attn.o_proj.bias");
        refused(list, V3, yes, "layers.0.self_attn.o_proj.bias is missing, but config.json has attention_bias true");
        list_drop(list, "model.layers.0.self_attn.kv_a_proj_with_mqa.bias");
        refused(list, V3, yes, "kv_a_proj_with_mqa.bias is missing, but config.json has attention_bias true");
        free(list);
    }
}

/* ---- what keys say, and what families say where they are absent ---- */

static void test_layers(void)
{
    struct tensor_list *list = small_list(SPLIT_QWEN, 1);
    struct small m = small_make(list, V2, "{\"moe_layer_freq\":2,\"n_shared_experts\":0}", NULL);

    ok(!m.st && m.model->layers[0].moe && !m.model->layers[1].moe, "every second layer has experts, none a shared one");
    small_unmake(&m);
    refused(list, V2, "{\"moe_layer_freq\":2,\"first_k_dense_replace\":1}",
            "\"first_k_dense_replace\" makes layer 0 a dense layer");
    free(list);
    list = small_list(SPLIT_QWEN, -1);
    m = small_make(list, V2, "{\"moe_layer_freq\":1}", NULL);
    ok(!m.st, "every layer has experts");
    small_unmake(&m);
    refused(list, V2, "{\"moe_layer_freq\":2}",
            "\"moe_layer_freq\" makes layer 1 a dense layer, but the checkpoint has");
    refused(list, V2, "{\"moe_layer_freq\":[1,0]}", "\"moe_layer_freq\" is ");
    refused(list, V2, "{\"n_group\":5,\"topk_group\":5,\"topk_method\":\"noaux_tc\"}",
            "\"topk_method\" \"noaux_tc\" is not supported for " V2);
    refused(list, V3, "{\"n_group\":5,\"topk_group\":5,\"topk_method\":\"group_limited_greedy\"}",
            "\"topk_method\" \"group_limited_greedy\" is not supported for " V3);
    free(list);
}

static void test_alternating(void)
{
    struct tensor_list *list = small_list(FUSED, -1);
    bool in_turn = true;

    for (int i = L; i < 36; i++)
        small_layer(list, i, FUSED, false);
    struct small m = small_make(list, OSS, "{\"num_hidden_layers\":36,\"rope_scaling\":{\"type\":\"default\"}}", NULL);
    if (!ok(!m.st, "gpt-oss with neither layer_types nor sliding_window"))
        bail("%s", m.err.text);
    for (int i = 0; i < 36; i++)
        in_turn &= m.model->layers[i].window == (i % 2 ? 0 : 128);
    ok(in_turn, "has a window of 128 in every second layer, to the last");
    small_unmake(&m);
    refused(list, OSS, "{\"num_hidden_layers\":36}",
            "\"rope_parameters\" is missing, and so is \"rope_scaling\"; " OSS " needs one");
    free(list);
}

static void test_rotary(void)
{
    static const struct {
        const char *architecture, *changes;
        int dims;
    } cases[] = {
        {GLM, "{}", DH / 2},
        {GLM, "{\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":10000.0}}", DH / 2},
        {GLM, "{\"partial_rotary_factor\":1.0}", DH},
        {QWEN, "{}", DH},
        {QWEN, "{\"rope_scaling\":{\"type\":\"default\",\"mrope_section\":[1,1],\"mrope_interleaved\":true}}", DH},
    };
    struct tensor_list *list = small_list(SPLIT_QWEN, -1);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct small m = small_make(list, cases[i].architecture, cases[i].changes, NULL);
        ok(!m.st && m.model->rope.rotary_dim == cases[i].dims, "%s %s turns %d dims", cases[i].architecture,
           cases[i].changes, cases[i].dims);
        small_unmake(&m);
    }
    free(list);
}

static void test_types(void)
{
    static const struct {
        const char *type, *architecture;
    } types[] = {
        {"kimi_k2", V3},
        {"deepseek_v3", V3},
        {"glm4v_moe_text", GLM},
        {"glm4_moe_lite", "Glm4MoeLiteForCausalLM"},
        {"qwen3_vl_moe_text", "Qwen3VLMoeForConditionalGeneration"},
    };
    struct tensor_list *list = small_list(SPLIT_QWEN, -1);
    char changes[100];

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        snprintf(changes, sizeof changes, "{\"architectures\":null,\"model_type\":\"%s\"}", types[i].type);
        struct small m = small_make(list, QWEN, changes, NULL);
        ok(!m.st && !strcmp(m.model->architecture, types[i].architecture) && m.model->router.normalise,
           "model_type %s", types[i].type);
        small_unmake(&m);
    }
    free(list);
}

int main(void)
{
    test_inside();
    test_inside_tied();
    test_latent_biases();
    test_layers();
    test_alternating();
    test_rotary();
    test_types();
    done();
    return tap_exit();
}
