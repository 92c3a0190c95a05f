# SPDX-License-Identifier: Apache-2.0
"""DeepSeek-V2 and V2-Lite

The class of transformers has no use for norm_topk_prob and moe_layer_freq; where a variant sets one of them, DeepSeek's own code
decides: it normalises or scales, never both, and layers whose number is no multiple of moe_layer_freq are dense.
"""
from transformers.models.deepseek_v2.modeling_deepseek_v2 import DeepseekV2MLP

from odd.variant import BASE, YARN, rope, variant

V2 = dict(BASE, model_type='deepseek_v2', num_hidden_layers=3, num_key_value_heads=4, intermediate_size=52, moe_intermediate_size=20,
          n_routed_experts=8, n_shared_experts=2, num_experts_per_tok=3, first_k_dense_replace=1, q_lora_rank=None,
          kv_lora_rank=24, qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=12, topk_method='greedy', n_group=1, topk_group=1,
          norm_topk_prob=False, routed_scaling_factor=1.0, _architecture='DeepseekV2ForCausalLM')
GROUPS = dict(topk_method='group_limited_greedy', n_routed_experts=12, n_group=4, topk_group=2)


def normalised(model):
    def hook(module, inputs, output):
        return output[0], output[1] / (output[1].sum(-1, keepdim=True) + 1e-20), output[2]

    for m in model.modules():
        if type(m).__name__ == 'DeepseekV2TopkRouter':
            m.register_forward_hook(hook)


def every_second(model):
    for layer in model.model.layers[1::2]:
        layer.mlp = DeepseekV2MLP(model.config)


VARIANTS = {
    'dsv2_lite': variant(V2, dict(hidden_size=60, num_attention_heads=5, num_key_value_heads=5, v_head_dim=18), shards=2),
    'dsv2_groups': variant(V2, dict(GROUPS, q_lora_rank=22, routed_scaling_factor=1.7), dtype='F32', v4=False),
    'dsv2_one_group': variant(V2, dict(GROUPS, n_routed_experts=9, n_group=3, topk_group=1, num_experts_per_tok=2,
                                       first_k_dense_replace=0, n_shared_experts=3, routed_scaling_factor=16.0), dtype='F16'),
    'dsv2_groups_greedy': variant(V2, dict(GROUPS, topk_method='greedy', num_experts_per_tok=5)),
    'dsv2_yarn': variant(V2, rope_parameters=rope(**YARN, mscale=0.707, mscale_all_dim=0.707)),
    'dsv2_yarn_uneven': variant(V2, dict(q_lora_rank=30, qk_nope_head_dim=24, v_head_dim=20),
                                rope_parameters=rope(**YARN, mscale=1.2, mscale_all_dim=0.6, beta_fast=16, beta_slow=2), v4=False),
    'dsv2_yarn_mscale': variant(V2, rope_parameters=rope(5e5, **YARN, mscale=0.9), shards=3),
    'dsv2_linear': variant(V2, rope_parameters=rope(rope_type='linear', factor=3.0)),
    'dsv2_normalised': variant(V2, dict(norm_topk_prob=True), keys=dict(routed_scaling_factor=1.6), patch=normalised),
    'dsv2_layer_freq': variant(V2, dict(num_hidden_layers=4, first_k_dense_replace=0), keys=dict(moe_layer_freq=2),
                               patch=every_second),
    'dsv2_bias': variant(V2, dict(attention_bias=True, q_lora_rank=26)),
    'dsv2_bias_lite': variant(V2, dict(attention_bias=True, n_shared_experts=1), v4=False, dtype='F32'),
    'dsv2_two_dense': variant(V2, dict(first_k_dense_replace=2, num_hidden_layers=4, tie_word_embeddings=True)),
    'dsv2_eps': variant(V2, dict(rms_norm_eps=0.05, q_lora_rank=26)),
    'dsv2_unshared': variant(V2, dict(n_shared_experts=0, moe_intermediate_size=36)),
    'dsv2_unshared_null': variant(V2, dict(n_shared_experts=0, q_lora_rank=20), keys=dict(n_shared_experts=None, q_lora_rank=20)),
    'dsv2_fused': variant(V2, dict(n_routed_experts=5, q_lora_rank=30), layout='fused', v4=False, shards=2),
    'dsv2_transposed': variant(V2, dict(n_routed_experts=5, moe_intermediate_size=20, hidden_size=40), layout='transposed'),
    'dsv2_fp8_block': variant(V2, dict(hidden_size=200, num_attention_heads=5, num_key_value_heads=5, q_lora_rank=136,
                                       kv_lora_rank=140, moe_intermediate_size=72, intermediate_size=260, qk_nope_head_dim=40,
                                       v_head_dim=40), quant='fp8_block'),
    'dsv2_int8': variant(V2, dict(hidden_size=44, kv_lora_rank=34, v_head_dim=15, moe_intermediate_size=37), quant='int8_channel'),
    'dsv2_wrapped': variant(V2, dict(GROUPS, q_lora_rank=20, eos_token_id=[2, 7]), wrap='deepseek_vl', shards=2),
}
