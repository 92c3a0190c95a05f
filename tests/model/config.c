/* SPDX-License-Identifier: Apache-2.0
 * config.c - tests of the model description: what keys and tensors decide, and what is refused with which words
 *
 * small.h has the checkpoint that is changed.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/model.h"
#include "small.h"
#include "tap.h"

#define QWEN    "Qwen3MoeForCausalLM"
#define MIXTRAL "MixtralForCausalLM"
#define OLMOE   "OlmoeForCausalLM"
#define QWEN2   "Qwen2MoeForCausalLM"
#define GRANITE "GraniteMoeForCausalLM"
#define PHI     "PhimoeForCausalLM"

static bool is_source(const struct sy_matrix *s, const char *name, int64_t slice, int64_t row, int n, int k)
{
    return s->tensor && !strcmp(s->tensor->name, name) && s->n == n && s->k == k && s->k_stride == 1 &&
           s->row_stride == k && s->offset == (slice * s->tensor->dims[s->tensor->n_dims - 2] + row) * k;
}

static void test_layouts(void)
{
    static const struct {
        enum layout layout;
        const char *what, *gate, *up, *down;
        int slice, up_row;
    } layouts[] = {
        {SPLIT_QWEN, "mlp.experts.E.gate_proj", "model.layers.1.mlp.experts.4.gate_proj.weight",
         "model.layers.1.mlp.experts.4.up_proj.weight", "model.layers.1.mlp.experts.4.down_proj.weight", 0, 0},
        {SPLIT_MIXTRAL, "block_sparse_moe.experts.E.w1", "model.layers.1.block_sparse_moe.experts.4.w1.weight",
         "model.layers.1.block_sparse_moe.experts.4.w3.weight", "model.layers.1.block_sparse_moe.experts.4.w2.weight",
         0, 0},
        {FUSED, "mlp.experts.gate_up_proj", "model.layers.1.mlp.experts.gate_up_proj",
         "model.layers.1.mlp.experts.gate_up_proj", "model.layers.1.mlp.experts.down_proj", 4, F},
    };

    for (size_t i = 0; i < 3; i++) {
        for (int a = 0; a < 3; a++) {
            const char *architecture = a == 0 ? QWEN : a == 1 ? MIXTRAL : OLMOE;
            struct tensor_list *list = small_list(layouts[i].layout, -1);
            struct small m = small_make(list, architecture, "{}", NULL);
            if (!ok(!m.st, "%s with layout %s", architecture, layouts[i].what)) {
                diag("%s", m.err.text);
            } else {
                struct sy_expert_sources *x = &m.model->layers[1].experts[4];
                ok(is_source(&x->gate, layouts[i].gate, layouts[i].slice, 0, F, D) &&
                       is_source(&x->up, layouts[i].up, layouts[i].slice, layouts[i].up_row, F, D) &&
                       is_source(&x->down, layouts[i].down, layouts[i].slice, 0, D, F),
                   "gate, up and down of the last expert");
            }
            small_unmake(&m);
            free(list);
        }
    }
}

static void test_shapes(void)
{
    struct tensor_list *list = small_list(SPLIT_QWEN, 1);
    struct small m = small_make(list, QWEN, "{\"mlp_only_layers\":[1]}", NULL);
    int64_t total, active;

    if (!ok(!m.st, "experts in layer 0, a dense MLP in layer 1"))
        bail("%s", m.err.text);
    const struct sy_model *x = m.model;
    is_str(x->architecture, QWEN, "architecture");
    ok(x->n_layers == L && x->n_moe_layers == 1 && x->hidden == D && x->n_heads == HQ && x->n_kv_heads == HKV &&
           x->head_dim == DH && x->vocab == V,
       "sizes of the decoder");
    ok(x->n_experts == E && x->router.n_experts == E && x->top_k == 3 && x->router.top_k == 3 && x->expert_width == F &&
           x->dense_width == DENSE,
       "sizes of the experts");
    ok(x->layers[0].moe && x->layers[0].experts && !x->layers[0].dense.gate.tensor, "layer 0 has experts");
    ok(!x->layers[1].moe && !x->layers[1].experts && x->layers[1].dense.down.n == D &&
           x->layers[1].dense.down.k == DENSE,
       "layer 1 is dense");
    is_close(x->attention_scale, 0.5, 1e-7, 0, "attention scale is head_dim^-0.5");
    ok(x->dtype == SY_BF16 && !x->tied && !strcmp(x->lm_head.tensor->name, "lm_head.weight"), "dtype and lm_head");
    ok(is_source(&x->layers[0].q, "model.layers.0.self_attn.q_proj.weight", 0, 0, HQ * DH, D) &&
           is_source(&x->layers[0].o, "model.layers.0.self_attn.o_proj.weight", 0, 0, D, HQ * DH),
       "q and o although head_dim is not hidden_size / heads");
    sy_model_parameters(x, &total, &active);
    int64_t attention = 2 * D + 2 * HQ * DH * D + 2 * HKV * DH * D;
    is_int(total, 2 * V * D + D + 2 * attention + E * D + E * 3 * F * D + 3 * DENSE * D, "parameters in all");
    is_int(total - active, (E - 3) * 3 * F * D, "parameters that one token leaves out");
    small_unmake(&m);
    free(list);
}

static void test_fused_cut(void)
{
    struct tensor_list *list = small_list(FUSED, -1);
    struct small m;

    list_find(list, "model.layers.0.mlp.experts.gate_up_proj")->dims[1] = 2 * F + 1;
    m = small_make(list, QWEN, "{}", NULL);
    ok(m.st == SY_ERR_DATA && strstr(m.err.text, "has shape [5, 15, 12], expected [5, 14, 12]"),
       "refused: an odd number of fused gate and up rows (%s)", m.err.text);
    small_unmake(&m);
    list_find(list, "model.layers.0.mlp.experts.gate_up_proj")->dims[1] = D;
    list_find(list, "model.layers.0.mlp.experts.gate_up_proj")->dims[2] = 2 * F;
    m = small_make(list, QWEN, "{}", NULL);
    ok(m.st == SY_ERR_DATA && strstr(m.err.text, "down_proj has shape [5, 12, 7], expected [5, 7, 12]"),
       "refused: gate and up stored transposed, but down not (%s)", m.err.text);
    small_unmake(&m);
    free(list);
}

/* Defaults of the rows, and keys that go before them. */
static void test_defaults(void)
{
    static const struct {
        const char *architecture;
        bool normalise;
        double eps, theta;
        int eos, bos, window, context;
    } rows[] = {
        {QWEN, false, 1e-6, 1e4, -1, -1, 0, 32768},
        {MIXTRAL, true, 1e-5, 1e6, 2, 1, 3, 131072},
        {OLMOE, false, 1e-5, 1e4, -1, -1, 0, 4096}, /* its eos, 50279, is not in this vocabulary */
    };
    struct tensor_list *list = small_list(SPLIT_QWEN, -1);

    for (int i = 0; i < 3; i++) {
        struct small m = small_make(list, rows[i].architecture, "{\"sliding_window\":3}", NULL);
        if (m.st)
            bail("%s", m.err.text);
        const struct sy_model *x = m.model;
        ok(x->router.normalise == rows[i].normalise && fabs(x->norm_eps - rows[i].eps) < 1e-12 &&
               x->rope.theta == rows[i].theta,
           "%s: norm_topk_prob, rms_norm_eps and rope_theta by default", rows[i].architecture);
        ok(x->n_eos == (rows[i].eos >= 0) && (!x->n_eos || x->eos[0] == rows[i].eos) && x->bos == rows[i].bos,
           "%s: eos and bos by default", rows[i].architecture);
        is_int(x->layers[0].window, rows[i].window, "%s: whether sliding_window counts by itself",
               rows[i].architecture);
        is_int(x->max_context, rows[i].context, "%s: context by default", rows[i].architecture);
        ok(x->router.scale == 1 && x->clip_qkv == 0 && x->qk_norm == SY_QK_NORM_NONE && !x->layers[0].q_bias &&
               x->rope.rotary_dim == DH && x->rope.kind == SY_ROPE_DEFAULT,
           "%s: nothing else", rows[i].architecture);
        small_unmake(&m);
        m = small_make(list, rows[i].architecture,
                 "{\"norm_topk_prob\":true,\"rms_norm_eps\":0.25,\"rope_theta\":77,\"sliding_window\":9,\"use_sliding_"
                 "window\":true,"
                 "\"clip_qkv\":6.5,\"routed_scaling_factor\":2.5,\"max_position_embeddings\":99,\"partial_rotary_"
                 "factor\":0.5,"
                 "\"eos_token_id\":[4,5],\"bos_token_id\":6,\"hidden_act\":\"silu\"}",
                 NULL);
        if (m.st)
            bail("%s", m.err.text);
        x = m.model;
        ok(x->router.normalise && x->norm_eps == 0.25f && x->rope.theta == 77 && x->layers[1].window == 9 &&
               x->clip_qkv == 6.5f && x->router.scale == 2.5f && x->max_context == 99 && x->rope.rotary_dim == 2 &&
               x->n_eos == 2 && x->eos[1] == 5 && x->bos == 6,
           "%s: keys go before defaults", rows[i].architecture);
        small_unmake(&m);
        m = small_make(list, rows[i].architecture,
                 "{\"norm_topk_prob\":false,\"sliding_window\":9,\"use_sliding_window\":false}", NULL);
        ok(!m.st && !m.model->router.normalise && m.model->layers[0].window == 0, "%s: and false is a value",
           rows[i].architecture);
        small_unmake(&m);
    }
    free(list);
}

/* Presence and shape of optional tensors. */
static void test_optional(void)
{
    struct tensor_list *list = small_list(SPLIT_MIXTRAL, -1);
    struct small m;

    for (int i = 0; i < L; i++) {
        list_add(list, "F32", DH, 0, 0, "model.layers.%d.self_attn.q_norm.weight", i);
        list_add(list, "F32", DH, 0, 0, "model.layers.%d.self_attn.k_norm.weight", i);
        list_add(list, "F32", HQ * DH, 0, 0, "model.layers.%d.self_attn.q_proj.bias", i);
        list_add(list, "F32", HKV * DH, 0, 0, "model.layers.%d.self_attn.v_proj.bias", i);
    }
    m = small_make(list, MIXTRAL, "{}", NULL);
    ok(!m.st && m.model->qk_norm == SY_QK_NORM_HEAD && m.model->layers[1].q_norm->dtype == SY_F32,
       "per-head qk-norm in FP32");
    ok(!m.st && m.model->layers[1].q_bias && !m.model->layers[1].k_bias && m.model->layers[1].v_bias &&
           !m.model->layers[1].o_bias,
       "biases of q and v alone");
    small_unmake(&m);
    for (int i = 0; i < L; i++) {
        char name[80];
        snprintf(name, sizeof name, "model.layers.%d.self_attn.q_norm.weight", i);
        list_find(list, name)->dims[0] = HQ * DH;
        snprintf(name, sizeof name, "model.layers.%d.self_attn.k_norm.weight", i);
        list_find(list, name)->dims[0] = HKV * DH;
    }
    m = small_make(list, MIXTRAL, "{}", NULL);
    ok(!m.st && m.model->qk_norm == SY_QK_NORM_FULL, "qk-norm over the full width");
    small_unmake(&m);
    list_drop(list, "lm_head.weight");
    m = small_make(list, MIXTRAL, "{\"tie_word_embeddings\":null}", NULL);
    ok(!m.st && m.model->tied && m.model->lm_head.tensor == m.model->embed.tensor, "no key and no lm_head: tied");
    small_unmake(&m);
    list_add(list, "BF16", V, D, 0, "lm_head.weight");
    m = small_make(list, MIXTRAL, "{\"tie_word_embeddings\":null}", NULL);
    ok(!m.st && !m.model->tied && m.model->lm_head.tensor != m.model->embed.tensor, "no key and an lm_head: not tied");
    small_unmake(&m);
    m = small_make(list, MIXTRAL, "{\"tie_word_embeddings\":true}", NULL);
    ok(!m.st && m.model->tied && m.model->lm_head.tensor == m.model->embed.tensor, "the key goes before an lm_head");
    small_unmake(&m);
    list_add(list, "F32", 2, 0, 0, "model.layers.1.self_attn.rotary_emb.inv_freq");
    list_add(list, "F32", 2, 0, 0, "model.layers.7.something.weight");
    list_add(list, "F32", 2, 0, 0, "visual.patch.weight");
    m = small_make(list, MIXTRAL, "{}", NULL);
    ok(!m.st, "tensors that cannot change the result are left out");
    small_unmake(&m);
    free(list);
}

static void test_windows(void)
{
    struct tensor_list *list = small_list(SPLIT_QWEN, -1);
    struct small m = small_make(list, MIXTRAL,
                         "{\"sliding_window\":5,\"layer_types\":[\"sliding_attention\",\"full_attention\"]}", NULL);

    ok(!m.st && m.model->layers[0].window == 5 && m.model->layers[1].window == 0, "windows by layer_types");
    small_unmake(&m);
    m = small_make(list, QWEN, "{\"sliding_window\":5,\"use_sliding_window\":true,\"max_window_layers\":1}", NULL);
    ok(!m.st && m.model->layers[0].window == 5 && m.model->layers[1].window == 5,
       "Qwen3-MoE's window is on every layer");
    small_unmake(&m);
    m = small_make(list, QWEN2, "{\"sliding_window\":5,\"use_sliding_window\":true}", NULL);
    ok(!m.st && m.model->layers[0].window == 5 && m.model->layers[1].window == 0,
       "Qwen2-MoE's is on every second layer");
    small_unmake(&m);
    m = small_make(list, QWEN2, "{\"sliding_window\":5,\"use_sliding_window\":true,\"max_window_layers\":0}", NULL);
    ok(!m.st && m.model->layers[0].window == 0, "of the first max_window_layers");
    small_unmake(&m);
    m = small_make(
        list, QWEN2,
        "{\"sliding_window\":5,\"use_sliding_window\":true,\"layer_types\":[\"full_attention\",\"sliding_attention\"]}",
        NULL);
    ok(!m.st && m.model->layers[0].window == 0 && m.model->layers[1].window == 5, "or by layer_types");
    small_unmake(&m);
    m = small_make(list, QWEN, "{\"use_sliding_window\":true}", NULL);
    ok(!m.st && m.model->layers[0].window == 4096, "a window by default, once it is asked for");
    small_unmake(&m);
    free(list);
}

/* Granite-MoE's names and multipliers, and its shared MLP, whose gate and up are one matrix. */
static void test_granite(void)
{
    struct tensor_list *list = small_list(FUSED, -1);
    struct small m;

    for (int i = 0; i < list->n; i++) {
        char name[sizeof list->items[i].name];
        const char *at = strstr(list->items[i].name, ".mlp.");
        if (!at)
            continue;
        snprintf(name, sizeof name, "%.*s.block_sparse_moe.%s", (int)(at - list->items[i].name), list->items[i].name,
                 strstr(at, "gate.weight") ? "router.weight" : at + strlen(".mlp."));
        memcpy(list->items[i].name, name, sizeof name);
    }
    m = small_make(list, GRANITE, "{\"shared_intermediate_size\":0}", NULL);
    if (!ok(!m.st && m.model->attention_scale == 1,
            "names as transformers 5 has them; attention_multiplier is 1 by default"))
        diag("%s", m.err.text);
    small_unmake(&m);
    m = small_make(list, GRANITE, "{\"attention_multiplier\":0.25,\"logits_scaling\":4}", NULL);
    ok(!m.st && m.model->attention_scale == 0.25f && m.model->logits_scale == 0.25f, "and a key before that");
    small_unmake(&m);
    m = small_make(list, GRANITE, "{\"shared_intermediate_size\":3}", NULL);
    ok(m.st == SY_ERR_DATA && strstr(m.err.text, "is missing, but config.json gives the shared expert a width"),
       "refused: a shared MLP that is not there (%s)", m.err.text);
    small_unmake(&m);
    for (int i = 0; i < L; i++) {
        list_add(list, "BF16", 6, D, 0, "model.layers.%d.shared_mlp.input_linear.weight", i);
        list_add(list, "BF16", D, 3, 0, "model.layers.%d.shared_mlp.output_linear.weight", i);
    }
    m = small_make(list, "GraniteMoeSharedForCausalLM", "{\"shared_intermediate_size\":3}", NULL);
    if (!ok(!m.st, "a shared MLP"))
        bail("%s", m.err.text);
    const struct sy_expert_sources *x = &m.model->layers[1].shared;
    ok(is_source(&x->gate, "model.layers.1.shared_mlp.input_linear.weight", 0, 0, 3, D) &&
           is_source(&x->up, "model.layers.1.shared_mlp.input_linear.weight", 0, 3, 3, D) &&
           is_source(&x->down, "model.layers.1.shared_mlp.output_linear.weight", 0, 0, D, 3) &&
           m.model->shared_width == 3 && !m.model->layers[1].shared_gate.tensor,
       "gate, up and down of it");
    small_unmake(&m);
    m = small_make(list, GRANITE, "{\"shared_intermediate_size\":4}", NULL);
    ok(m.st == SY_ERR_DATA && strstr(m.err.text, "has shape [6, 12], expected [8, 12] = [2 * width of the shared"),
       "refused: one of another width (%s)", m.err.text);
    small_unmake(&m);
    free(list);
}

/* Biases that config.json denies or asks for in vain, and a shared expert without what weighs it. */
static void test_denied(void)
{
    struct tensor_list *list = small_list(SPLIT_QWEN, -1);
    struct small m;

    list_add(list, "BF16", V, 0, 0, "lm_head.bias");
    m = small_make(list, PHI, "{\"num_experts_per_tok\":2,\"lm_head_bias\":false}", NULL);
    ok(m.st == SY_ERR_DATA && strstr(m.err.text, "lm_head.bias is there, but config.json has lm_head_bias false"),
       "refused: a bias of the head that the config denies");
    small_unmake(&m);
    m = small_make(list, PHI, "{\"num_experts_per_tok\":2}", NULL);
    ok(!m.st && m.model->lm_head_bias, "which is used where the config is silent");
    small_unmake(&m);
    list_drop(list, "lm_head.bias");
    m = small_make(list, PHI, "{}", NULL);
    ok(m.st == SY_ERR_DATA &&
           strstr(m.err.text, "\"num_experts_per_tok\" is 3, but the router of PhimoeForCausalLM takes 2"),
       "refused: three choices of a router that makes two");
    small_unmake(&m);
    list_add(list, "BF16", HQ * DH, 0, 0, "model.layers.0.self_attn.q_proj.bias");
    m = small_make(list, QWEN2, "{\"qkv_bias\":false}", NULL);
    ok(m.st == SY_ERR_DATA && strstr(m.err.text, "q_proj.bias is there, but config.json has qkv_bias false"),
       "refused: a bias of q that the config denies");
    small_unmake(&m);
    m = small_make(list, QWEN2, "{\"qkv_bias\":true}", NULL);
    ok(m.st == SY_ERR_DATA && strstr(m.err.text, "k_proj.bias is missing, but config.json has qkv_bias true"),
       "refused: one of k that is not there");
    small_unmake(&m);
    list_drop(list, "model.layers.0.self_attn.q_proj.bias");
    for (int i = 0; i < 3; i++)
        list_add(list, "BF16", i < 2 ? 7 : D, i < 2 ? D : 7, 0, "model.layers.0.mlp.shared_expert.%s_proj.weight",
                 i == 0   ? "gate"
                 : i == 1 ? "up"
                          : "down");
    m = small_make(list, QWEN2, "{}", NULL);
    ok(m.st == SY_ERR_DATA && strstr(m.err.text, "mlp.shared_expert_gate.weight is missing, expected shape [1, 12]"),
       "refused: a shared expert of Qwen2-MoE that nothing weighs");
    small_unmake(&m);
    free(list);
}

static void test_aliases(void)
{
    static const char *const keys[] = {"num_local_experts", "num_experts", "n_routed_experts"};
    struct tensor_list *list = small_list(SPLIT_QWEN, -1);
    struct small m;
    char changes[200];

    for (int i = 0; i < 3; i++) {
        snprintf(changes, sizeof changes,
                 "{\"num_local_experts\":null,\"moe_intermediate_size\":null,\"intermediate_size\":%d}", F);
        char *end = strrchr(changes, '}');
        if (i)
            snprintf(end, sizeof changes - (size_t)(end - changes), ",\"%s\":%d}", keys[i], E);
        m = small_make(list, OLMOE, changes, NULL);
        ok(!m.st && m.model->n_experts == E && m.model->expert_width == F,
           "experts by %s, their width by intermediate_size", i ? keys[i] : "the router's shape");
        small_unmake(&m);
    }
    m = small_make(list, OLMOE, "{\"num_attention_heads\":3,\"head_dim\":null,\"num_key_value_heads\":null}", NULL);
    ok(m.st == SY_ERR_DATA && strstr(m.err.text, "has shape [16, 12], expected [12, 12]"),
       "head_dim and key heads come from hidden_size and heads when absent (%s)", m.err.text);
    small_unmake(&m);
    m = small_make(list, OLMOE, "{\"architectures\":null,\"model_type\":\"mixtral\"}", NULL);
    ok(!m.st && !strcmp(m.model->architecture, MIXTRAL), "model_type decides where architectures is absent");
    small_unmake(&m);
    m = small_make(list, OLMOE, "{\"eos_token_id\":3,\"bos_token_id\":1}",
             "{\"eos_token_id\":[7,8,-1,99],\"bos_token_id\":2}");
    ok(!m.st && m.model->n_eos == 2 && m.model->eos[0] == 7 && m.model->eos[1] == 8 && m.model->bos == 2,
       "generation_config.json goes first; ids outside the vocabulary cannot come");
    small_unmake(&m);
    m = small_make(list, OLMOE, "{\"eos_token_id\":3}", "{\"eos_token_id\":null}");
    ok(!m.st && m.model->n_eos == 1 && m.model->eos[0] == 3, "unless it says nothing");
    small_unmake(&m);
    free(list);
}

/* Keys that are refused, with a part of the message. */
static const struct {
    const char *changes, *part;
} refused[] = {
    {"{\"architectures\":[\"LlamaForCausalLM\"]}", "architecture \"LlamaForCausalLM\" (key architectures[0]) is not "
                                                   "supported, supported: Qwen3MoeForCausalLM (qwen3_moe), "
                                                   "MixtralForCausalLM (mixtral), OlmoeForCausalLM (olmoe)"},
    {"{\"architectures\":null,\"model_type\":\"llama\"}", "architecture \"llama\" (key model_type) is not supported"},
    {"{\"architectures\":[3]}", "architecture 3 (key architectures[0])"},
    {"{\"architectures\":null,\"model_type\":null}", "neither \"architectures\" nor \"model_type\""},
    {"{\"quantization_config\":{}}", "\"quantization_config\" has quant_method not given"},
    {"{\"hidden_act\":\"gelu\"}", "\"hidden_act\" is \"gelu\", supported: \"silu\""},
    {"{\"hidden_act\":1}", "\"hidden_act\" is 1, supported"},
    {"{\"n_group\":4}", "groups of experts (n_group 4) are not supported for Qwen3MoeForCausalLM"},
    {"{\"scoring_func\":\"tanh\"}", "\"scoring_func\" is \"tanh\", supported: \"softmax\", \"sigmoid\""},
    {"{\"n_shared_experts\":1}", "shared_experts.gate_proj.weight is missing, but config.json has n_shared_experts"},
    {"{\"shared_expert_intermediate_size\":8}", "is missing, but config.json gives the shared expert a width"},
    {"{\"attn_logit_softcapping\":30.0}", "\"attn_logit_softcapping\" is 30"},
    {"{\"no_rope_layers\":[1]}", "\"no_rope_layers\" is an array of 1"},
    {"{\"hidden_size\":0}", "\"hidden_size\" is 0, expected an integer from 1 to 1048576"},
    {"{\"hidden_size\":-12}", "\"hidden_size\" is -12"},
    {"{\"hidden_size\":null}", "\"hidden_size\" is missing"},
    {"{\"hidden_size\":\"12\"}", "\"hidden_size\" is \"12\""},
    {"{\"num_hidden_layers\":4097}", "\"num_hidden_layers\" is 4097, expected an integer from 1 to 4096"},
    {"{\"num_hidden_layers\":null}", "\"num_hidden_layers\" is missing"},
    {"{\"num_attention_heads\":null}", "\"num_attention_heads\" is missing"},
    {"{\"num_attention_heads\":3}", "\"num_attention_heads\" 3 is not a multiple of \"num_key_value_heads\" 2"},
    {"{\"num_attention_heads\":10,\"head_dim\":null}",
     "\"hidden_size\" 12 must be a multiple of \"num_attention_heads\" 10"},
    {"{\"hidden_size\":1048576,\"num_attention_heads\":1,\"num_key_value_heads\":1,\"head_dim\":null}",
     "heads of 1048576 dims"},
    {"{\"num_local_experts\":4097}", "\"num_local_experts\" is 4097, expected an integer from 1 to 4096"},
    {"{\"num_experts\":6}", "\"num_local_experts\" is 5, but \"num_experts\" is 6"},
    {"{\"num_local_experts\":6}", "mlp.gate.weight has shape [5, 12], expected [6, 12] = [experts, hidden_size]"},
    {"{\"num_experts_per_tok\":6}", "\"num_experts_per_tok\" is 6, but there are 5 experts"},
    {"{\"num_experts_per_tok\":0}", "\"num_experts_per_tok\" is 0"},
    {"{\"moe_intermediate_size\":8}", "has experts of width 7, but config.json has moe_intermediate_size 8"},
    {"{\"moe_intermediate_size\":null}", "has experts of width 7, but config.json has intermediate_size 9"},
    {"{\"vocab_size\":21}", "tensor model.embed_tokens.weight has shape [20, 12], expected [21, 12]"},
    {"{\"vocab_size\":2147483648}", "\"vocab_size\" is 2147483648"},
    {"{\"hidden_size\":13}", "tensor model.embed_tokens.weight has shape [20, 12], expected [20, 13]"},
    {"{\"num_hidden_layers\":3}", "tensor model.layers.2.input_layernorm.weight is missing, expected shape [12]"},
    {"{\"num_hidden_layers\":4096}", "tensor model.layers.2.input_layernorm.weight is missing"},
    {"{\"head_dim\":8}",
     "self_attn.q_proj.weight has shape [16, 12], expected [32, 12] = [num_attention_heads * head_dim"},
    {"{\"num_key_value_heads\":4}", "self_attn.k_proj.weight has shape [8, 12], expected [16, 12]"},
    {"{\"rms_norm_eps\":-1}", "\"rms_norm_eps\" is -1"},
    {"{\"clip_qkv\":0}", "\"clip_qkv\" is 0"},
    {"{\"kv_lora_rank\":8,\"qk_rope_head_dim\":4,\"v_head_dim\":4}", "\"qk_nope_head_dim\" is missing"},
    {"{\"kv_lora_rank\":1,\"qk_rope_head_dim\":2,\"qk_nope_head_dim\":1,\"v_head_dim\":1,\"num_hidden_layers\":33,"
     "\"num_attention_heads\":4096}",
     "4096 heads of latent attention in each of 33 layers, the limit is 131072 in all layers"},
    {"{\"kv_lora_rank\":8,\"qk_nope_head_dim\":4,\"v_head_dim\":4}", "\"qk_rope_head_dim\" is missing"},
    {"{\"kv_lora_rank\":8,\"qk_nope_head_dim\":4,\"qk_rope_head_dim\":4}", "\"v_head_dim\" is missing"},
    {"{\"kv_lora_rank\":-8}", "\"kv_lora_rank\" is -8"},
    {"{\"kv_lora_rank\":16384,\"qk_nope_head_dim\":4,\"qk_rope_head_dim\":4,\"v_head_dim\":4}",
     "\"kv_lora_rank\" and \"qk_rope_head_dim\" are 16388 together, the limit is 16384"},
    {"{\"kv_lora_rank\":8,\"qk_nope_head_dim\":4,\"qk_rope_head_dim\":5,\"v_head_dim\":4}",
     "5 of the 5 dims of a head turn, expected an even number"},
    {"{\"kv_lora_rank\":8,\"q_lora_rank\":6,\"qk_nope_head_dim\":4,\"qk_rope_head_dim\":4,\"v_head_dim\":4}",
     "tensor model.layers.0.self_attn.q_a_proj.weight is missing, expected shape [6, 12] = [q_lora_rank, hidden_size]"},
    {"{\"rope_interleave\":\"yes\"}", "\"rope_interleave\" is \"yes\", expected true or false"},
    {"{\"norm_topk_prob\":1}", "\"norm_topk_prob\" is 1, expected true or false"},
    {"{\"tie_word_embeddings\":\"no\"}", "\"tie_word_embeddings\" is \"no\", expected true or false"},
    {"{\"attention_bias\":true}", "self_attn.q_proj.bias is missing, but config.json has attention_bias true"},
    {"{\"use_qk_norm\":true}", "\"use_qk_norm\" is true, but layer 0 has no q_norm"},
    {"{\"mlp_only_layers\":[1]}",
     "\"mlp_only_layers\" makes layer 1 a dense layer, but the checkpoint has tensor model.layers.1.mlp.gate.weight"},
    {"{\"decoder_sparse_step\":2}",
     "\"decoder_sparse_step\" makes layer 0 a dense layer, but the checkpoint has tensor"},
    {"{\"first_k_dense_replace\":1}", "\"first_k_dense_replace\" makes layer 0 a dense layer"},
    {"{\"decoder_sparse_step\":0}", "\"decoder_sparse_step\" is 0"},
    {"{\"mlp_only_layers\":3}", "\"mlp_only_layers\" is 3, expected an array"},
    {"{\"mlp_only_layers\":[\"a\"]}", "mlp_only_layers[0] is \"a\""},
    {"{\"use_sliding_window\":true,\"sliding_window\":0}", "\"sliding_window\" is 0"},
    {"{\"layer_types\":[\"full_attention\"]}",
     "\"layer_types\" is an array of 1, expected an array of num_hidden_layers 2"},
    {"{\"layer_types\":[\"full_attention\",\"linear_attention\"]}",
     "layer_types[1] is \"linear_attention\", supported"},
    {"{\"layer_types\":[\"full_attention\",\"sliding_attention\"]}", "layer_types[1] is \"sliding_attention\", but"},
    {"{\"eos_token_id\":\"x\"}", "\"eos_token_id\" is \"x\", expected an integer or a list"},
    {"{\"eos_token_id\":[1,[2]]}", "\"eos_token_id\" is an array of 1"},
    {"{\"eos_token_id\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}", "\"eos_token_id\" has over 16 ids"},
    {"{\"bos_token_id\":\"x\"}", "\"bos_token_id\" is \"x\", expected an integer"},
    {"{\"rope_scaling\":{\"rope_type\":\"proportional\"}}",
     "rope type \"proportional\" (key rope_scaling.rope_type) is not supported, supported: "
     "default, linear, yarn, dynamic, llama3, longrope, su"},
    {"{\"rope_parameters\":{\"type\":\"axial\"}}", "rope type \"axial\" (key rope_parameters.rope_type)"},
    {"{\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2,\"original_max_position_embeddings\":9}}",
     "rope_scaling.original_max_position_embeddings is 9, which is not supported for this rope type"},
    {"{\"rope_scaling\":{\"type\":\"dynamic\",\"alpha\":9}}", "rope_scaling.alpha is 9, which is not supported"},
    {"{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":2,\"low_freq_factor\":1}}",
     "\"rope_scaling\" of type llama3 has factor 2, low_freq_factor 1 and high_freq_factor 0"},
    {"{\"rope_scaling\":{\"type\":\"llama3\",\"factor\":2,\"low_freq_factor\":4,\"high_freq_factor\":4}}",
     "of type llama3 has factor 2, low_freq_factor 4 and high_freq_factor 4"},
    {"{\"rope_scaling\":{\"type\":\"longrope\"}}",
     "rope_scaling.short_factor is missing, expected an array of 2 numbers"},
    {"{\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,2],\"long_factor\":[1,2,3]}}",
     "rope_scaling.long_factor is an array of 3, expected an array of 2 numbers"},
    {"{\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,0],\"long_factor\":[1,2]}}",
     "rope_scaling.short_factor[1] is 0, expected a number from 1e-6 to 1e9"},
    {"{\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,2],\"long_factor\":[1,\"2\"]}}",
     "rope_scaling.long_factor[1] is \"2\""},
    {"{\"rope_scaling\":{\"type\":\"longrope\",\"short_factor\":[1,2],\"long_factor\":[1,2],\"long_mscale\":1.2}}",
     "\"rope_scaling\" has only one of short_mscale and long_mscale"},
    {"{\"rope_scaling\":{\"type\":\"linear\"}}", "\"factor\" is missing in \"rope_scaling\" of type linear"},
    {"{\"rope_scaling\":{\"type\":\"linear\",\"factor\":0}}", "\"factor\" is 0"},
    {"{\"rope_scaling\":{\"type\":\"yarn\",\"low_freq_factor\":1}}",
     "rope_scaling.low_freq_factor is 1, which is not supported"},
    {"{\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}}",
     "rope_parameters.full_attention is an object"},
    {"{\"rope_scaling\":7}", "\"rope_scaling\" is 7, expected an object"},
    {"{\"rope_theta\":-1}", "\"rope_theta\" is -1"},
    {"{\"partial_rotary_factor\":0.25}", "1 of the 4 dims of a head turn, expected an even number from 2"},
    {"{\"partial_rotary_factor\":2}", "\"partial_rotary_factor\" is 2"},
    {"{\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2,\"mscale\":1,\"mscale_all_dim\":-14.426950408889634}}",
     "the attention factor of YaRN is "},
};

static void test_refused(void)
{
    struct tensor_list *list = small_list(SPLIT_QWEN, -1);

    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct small m = small_make(list, QWEN, refused[i].changes, NULL);
        if (!ok(m.st == SY_ERR_DATA && strstr(m.err.text, refused[i].part) && !m.model, "refused: %s",
                refused[i].changes))
            diag("status %d, text \"%s\"", m.st, m.err.text);
        small_unmake(&m);
    }
    free(list);
}

/* A tensor dropped (no dtype), changed or added, and what is then said. */
static const struct {
    const char *name, *dtype;
    int64_t dims[3];
    const char *part;
} wrong[] = {
    {"model.embed_tokens.weight", NULL, {0}, "tensor model.embed_tokens.weight is missing, expected shape [20, 12]"},
    {"model.norm.weight", NULL, {0}, "tensor model.norm.weight is missing, expected shape [12] = hidden_size"},
    {"lm_head.weight", NULL, {0}, "tensor lm_head.weight is missing, expected shape [20, 12]"},
    {"model.layers.1.self_attn.o_proj.weight", NULL, {0}, "tensor model.layers.1.self_attn.o_proj.weight is missing"},
    {"model.layers.1.mlp.gate.weight", NULL, {0}, "tensor model.layers.1.mlp.gate.weight is missing, and so are"},
    {"model.layers.1.mlp.experts.3.up_proj.weight",
     NULL,
     {0},
     "tensor model.layers.1.mlp.experts.3.up_proj.weight is missing, expected shape [7, 12] = [expert width, "
     "hidden_size]"},
    {"model.layers.0.mlp.experts.0.gate_proj.weight",
     NULL,
     {0},
     "tensor model.layers.0.mlp.experts.0.gate_proj.weight is missing, expected shape [*, 12]"},
    {"model.layers.1.mlp.experts.0.down_proj.weight",
     "BF16",
     {7, 12},
     "tensor model.layers.1.mlp.experts.0.down_proj.weight has shape [7, 12], expected [12, 7]"},
    {"model.layers.0.input_layernorm.weight", "BF16", {13}, "has shape [13], expected [12] = hidden_size"},
    {"model.layers.0.input_layernorm.weight", "BF16", {12, 1}, "has shape [12, 1], expected [12]"},
    {"model.layers.0.input_layernorm.weight", "I32", {12}, "is I32, expected F32, F16 or BF16"},
    {"model.embed_tokens.weight",
     "F8_E4M3",
     {20, 12},
     "tensor model.embed_tokens.weight is F8_E4M3, expected F32, F16 or BF16"},
    {"model.layers.1.mlp.experts.2.gate_proj.weight",
     "F32",
     {7, 12},
     "experts.2.gate_proj.weight is F32 and tensor model.layers.1.mlp.experts.2.up_proj.weight is BF16; matrices"},
    {"model.layers.0.self_attn.k_norm.weight",
     "BF16",
     {4},
     "model.layers.0.self_attn.q_norm.weight is missing, but that of k is there"},
    {"model.layers.0.self_attn.q_norm.weight",
     "BF16",
     {4},
     "model.layers.0.self_attn.k_norm.weight is missing, but that of q is there"},
    {"model.layers.1.self_attn.k_proj.bias", "BF16", {9}, "self_attn.k_proj.bias has shape [9], expected [8]"},
    {"model.layers.1.self_attn.sinks",
     "BF16",
     {5},
     "self_attn.sinks has shape [5], expected [4] = num_attention_heads"},
    {"model.layers.1.self_attn.sink",
     "BF16",
     {4},
     "tensor model.layers.1.self_attn.sink has no place in Qwen3MoeForCausalLM as supported; leaving it out would "
     "change"},
    {"model.layers.1.mlp.gate.tid2eid", "BF16", {5}, "tensor model.layers.1.mlp.gate.tid2eid has no place"},
    {"model.layers.0.mlp.shared_expert.up_proj.weight",
     "BF16",
     {7, 12},
     "mlp.shared_expert.up_proj.weight has no place"},
    {"model.layers.0.mlp.experts.5.up_proj.weight", "BF16", {7, 12}, "mlp.experts.5.up_proj.weight has no place"},
    {"lm_head.scale", "BF16", {20}, "tensor lm_head.scale has no place"},
    {"model.norm.bias", "BF16", {12}, "as the final norm has a bias"},
    {"model.layers.0.mlp.gate_proj.weight",
     "BF16",
     {9, 12},
     "layer 0 has both a router (model.layers.0.mlp.gate.weight)"},
};

static void test_wrong(void)
{
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct tensor_list *list = small_list(SPLIT_QWEN, -1);
        if (!wrong[i].dtype)
            list_drop(list, wrong[i].name);
        for (int t = 0; wrong[i].dtype && t < list->n; t++) {
            if (!strcmp(list->items[t].name, wrong[i].name)) {
                list_drop(list, wrong[i].name);
                break;
            }
        }
        if (wrong[i].dtype)
            list_add(list, wrong[i].dtype, wrong[i].dims[0], wrong[i].dims[1], wrong[i].dims[2], "%s", wrong[i].name);
        struct small m = small_make(list, QWEN, "{}", NULL);
        if (!ok(m.st == SY_ERR_DATA && strstr(m.err.text, wrong[i].part), "refused: %s %s", wrong[i].name,
                wrong[i].dtype ? wrong[i].dtype : "missing"))
            diag("status %d, text \"%s\"", m.st, m.err.text);
        small_unmake(&m);
        free(list);
    }
    struct tensor_list *list = small_list(SPLIT_QWEN, -1);
    list_add(list, "BF16", HQ * DH, 0, 0, "model.layers.0.self_attn.q_proj.bias");
    struct small m = small_make(list, QWEN, "{\"attention_bias\":false}", NULL);
    ok(m.st == SY_ERR_DATA && strstr(m.err.text, "q_proj.bias is there, but config.json has attention_bias false"),
       "refused: a bias that the config denies");
    small_unmake(&m);
    free(list);
    list = small_list(SPLIT_QWEN, 1);
    m = small_make(list, QWEN, "{\"num_hidden_layers\":2,\"mlp_only_layers\":[]}", NULL);
    ok(m.st == SY_ERR_DATA &&
           strstr(m.err.text, "\"mlp_only_layers\" makes layer 1 a layer with experts, but the checkpoint has "
                              "tensor model.layers.1.mlp.gate_proj.weight"),
       "refused: a dense layer that the config denies (%s)", m.err.text);
    small_unmake(&m);
    m = small_make(list, QWEN, "{\"intermediate_size\":8}", NULL);
    ok(m.st == SY_ERR_DATA &&
           strstr(m.err.text, "mlp.gate_proj.weight has shape [9, 12], expected [8, 12] = [intermediate_size"),
       "refused: a dense layer of another width than the config says");
    small_unmake(&m);
    free(list);
}

/* A checkpoint that claims more experts than could ever be, in a file of no size to speak of. */
static void test_absurd(void)
{
    struct tensor_list *list = calloc(1, sizeof *list);
    struct small m;

    list_add(list, "BF16", V, D, 0, "model.embed_tokens.weight");
    list_add(list, "BF16", D, 0, 0, "model.norm.weight");
    for (int i = 0; i < 30; i++)
        small_layer(list, i, FUSED, false);
    for (int i = 0; i < list->n; i++) {
        struct tensor_spec *t = &list->items[i];
        /* A width of zero makes the tensor's bytes none, but its experts many. */
        if (t->n_dims == 3) {
            t->dims[0] = 4096;
            t->dims[t->dims[1] == 2 * F ? 1 : 2] = 0;
        }
    }
    m = small_make(list, QWEN,
                   "{\"num_hidden_layers\":30,\"num_local_experts\":4096,\"tie_word_embeddings\":true}", NULL);
    ok(m.st == SY_ERR_DATA && strstr(m.err.text, "mlp.gate.weight has shape [5, 12], expected [4096, 12]"),
       "the router's own size bounds the number of experts");
    small_unmake(&m);
    free(list);

    list = calloc(1, sizeof *list);
    list_add(list, "BF16", V, D, 0, "model.embed_tokens.weight");
    list_add(list, "BF16", D, 0, 0, "model.norm.weight");
    for (int i = 0; i < 33; i++)
        small_layer(list, i, FUSED, false);
    for (int i = 0; i < list->n; i++) {
        struct tensor_spec *t = &list->items[i];
        if (t->n_dims == 3 || strstr(t->name, "mlp.gate.weight"))
            t->dims[0] = 4096;
    }
    m = small_make(list, QWEN,
                   "{\"num_hidden_layers\":33,\"num_local_experts\":4096,\"tie_word_embeddings\":true}", NULL);
    ok(m.st == SY_ERR_DATA && strstr(m.err.text, "over 131072 experts in all layers"),
       "and all layers' together have a limit (%s)", m.err.text);
    small_unmake(&m);
    free(list);
}

int main(void)
{
    test_layouts();
    test_shapes();
    test_fused_cut();
    test_defaults();
    test_optional();
    test_windows();
    test_granite();
    test_denied();
    test_aliases();
    test_refused();
    test_wrong();
    test_absurd();
    done();
    return tap_exit();
}
