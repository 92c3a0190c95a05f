# SPDX-License-Identifier: Apache-2.0
"""GLM-4.5, 4.6, 4.7 and 4.7-Flash"""
from odd.tables.deepseek_v3 import KIMI, V3, WIDE
from odd.variant import BASE, YARN, rope, variant


def partial(share, theta=1e6, **scaling):
    return rope(theta, **scaling, partial_rotary_factor=share)


GLM = dict(BASE, model_type='glm4_moe', num_hidden_layers=3, head_dim=16, intermediate_size=52, moe_intermediate_size=20,
           n_routed_experts=10, n_shared_experts=1, num_experts_per_tok=3, first_k_dense_replace=1, n_group=1, topk_group=1,
           norm_topk_prob=True, routed_scaling_factor=1.0, use_qk_norm=True, attention_bias=True,
           _architecture='Glm4MoeForCausalLM', _rope=partial(0.5))

# Latent attention and routers as in DeepSeek-V3; first_k_dense_replace is a list of words.
LITE = {a: b for a, b in V3.items() if a != 'first_k_dense_replace'} | dict(
    KIMI, model_type='glm4_moe_lite', mlp_layer_types=['dense', 'sparse', 'sparse'], _architecture='Glm4MoeLiteForCausalLM')

VARIANTS = {
    'glm_air': variant(GLM, dict(use_qk_norm=False, hidden_size=44, num_attention_heads=6, num_key_value_heads=2), shards=2),
    'glm_quarter': variant(GLM, dict(head_dim=24, attention_bias=False), rope_parameters=partial(0.25), v4=False),
    'glm_three_quarters': variant(GLM, dict(head_dim=24, routed_scaling_factor=2.5), rope_parameters=partial(0.75), dtype='F32'),
    'glm_full': variant(GLM, dict(use_qk_norm=False, attention_bias=False), rope_parameters=partial(1.0), dtype='F16'),
    'glm_partial_unsaid': variant(GLM, keys=dict(partial_rotary_factor=None)),
    'glm_yarn': variant(GLM, rope_parameters=partial(0.5, 1e4, **YARN)),
    'glm_groups': variant(GLM, dict(n_routed_experts=12, n_group=3, topk_group=2, num_experts_per_tok=5), correction=(1.5, -2.0)),
    'glm_mtp': variant(GLM, dict(first_k_dense_replace=0, n_shared_experts=2), mtp=1, keys=dict(num_nextn_predict_layers=1),
                       f32=('mlp.gate.weight', 'e_score_correction_bias')),
    'glm_two_dense': variant(GLM, dict(first_k_dense_replace=2, num_hidden_layers=4, norm_topk_prob=False,
                                       tie_word_embeddings=True), v4=False),
    'glm_one_kv_head': variant(GLM, dict(num_key_value_heads=1, num_attention_heads=3, rms_norm_eps=0.05), shards=4),
    'glm_fused': variant(GLM, dict(n_routed_experts=7), layout='fused', v4=False),
    'glm_transposed': variant(GLM, dict(moe_intermediate_size=20), layout='transposed', v4=False),
    'glm_unshared': variant(GLM, dict(n_shared_experts=0)),
    'glm_fp8_block': variant(GLM, dict(hidden_size=200, num_attention_heads=9, num_key_value_heads=3, moe_intermediate_size=136),
                             quant='fp8_block', mtp=1),
    'glm_fp8_channel': variant(GLM, quant='fp8_channel', shards=2),
    'glm_int8': variant(GLM, dict(hidden_size=44, moe_intermediate_size=37), quant='int8_channel', plain=('shared_experts',)),
    'glm_flash': variant(LITE, dict(v_head_dim=20, routed_scaling_factor=1.8), mtp=1, shards=2),
    'glm_flash_groups': variant(LITE, dict(n_routed_experts=12, n_group=4, topk_group=2, q_lora_rank=None,
                                           mlp_layer_types=['sparse', 'dense', 'sparse']), v4=False),
    'glm_flash_fp8': variant(LITE, WIDE, rope_parameters=rope(**YARN, mscale=1.0, mscale_all_dim=0.8), quant='fp8_block'),
    'glm_wrapped': variant(GLM, dict(use_qk_norm=False, eos_token_id=[2, 3, 4]), wrap='language_model',
                           keys=dict(model_type='glm4v_moe_text', architectures=None, use_qk_norm=None)),
}
