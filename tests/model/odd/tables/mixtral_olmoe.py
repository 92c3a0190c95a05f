# SPDX-License-Identifier: Apache-2.0
"""Mixtral and OLMoE"""
from odd.variant import BASE, FACTORS, LLAMA3, YARN, rope, variant

MIXTRAL = dict(BASE, model_type='mixtral', num_local_experts=5, num_experts_per_tok=2, intermediate_size=28,
               _architecture='MixtralForCausalLM', _layout='mixtral', _rope=rope(1e6))
OLMOE = dict(BASE, model_type='olmoe', num_experts=6, num_experts_per_tok=3, intermediate_size=24, num_key_value_heads=4,
             _architecture='OlmoeForCausalLM')

VARIANTS = {
    'mixtral_odd': variant(MIXTRAL, dict(hidden_size=72, num_attention_heads=6, num_key_value_heads=2, head_dim=20,
                                         num_local_experts=3, intermediate_size=52, vocab_size=77)),
    'mixtral_window': variant(MIXTRAL, dict(sliding_window=6), shards=4),
    'mixtral_top1_tied': variant(MIXTRAL, dict(num_experts_per_tok=1, tie_word_embeddings=True, num_hidden_layers=1), dtype='F16'),
    'mixtral_fused': variant(MIXTRAL, dict(num_local_experts=9, num_experts_per_tok=3), layout='fused', v4=False, dtype='F32'),
    'mixtral_int8_some': variant(MIXTRAL, dict(hidden_size=72, num_attention_heads=6, head_dim=20), quant='int8_channel',
                                 plain=('o_proj', 'layers.1.mlp', 'layers.0.self_attn')),
    'mixtral_fp8_tensor': variant(MIXTRAL, dict(intermediate_size=300, tie_word_embeddings=True), quant='fp8_tensor'),
    'mixtral_window_tied': variant(MIXTRAL, dict(sliding_window=1, tie_word_embeddings=True, num_key_value_heads=4), v4=False),
    'mixtral_window_wide': variant(MIXTRAL, dict(sliding_window=32, head_dim=12, num_key_value_heads=1), dtype='F32'),
    'mixtral_alias': variant(MIXTRAL, keys=dict(num_local_experts=None, num_experts=5, router_jitter_noise=0.1)),
    'mixtral_defaults': variant(MIXTRAL, dict(num_local_experts=8, num_experts_per_tok=2, rms_norm_eps=1e-5),
                                keys=dict(num_local_experts=None, num_experts_per_tok=None, rms_norm_eps=None, rope_theta=None,
                                          head_dim=None, sliding_window=None)),
    'mixtral_null_heads': variant(MIXTRAL, dict(num_key_value_heads=4), keys=dict(num_key_value_heads=None)),
    'mixtral_as_saved': variant(MIXTRAL, layout='as_is', v4=False, shards=3),
    'mixtral_transposed': variant(MIXTRAL, dict(intermediate_size=20), layout='transposed'),
    'mixtral_llama3': variant(MIXTRAL, rope_parameters=rope(5e5, **LLAMA3)),
    'olmoe_clip': variant(OLMOE, dict(num_experts=11, clip_qkv=0.7, num_key_value_heads=2)),
    'olmoe_normalised': variant(OLMOE, dict(norm_topk_prob=True, tie_word_embeddings=True, eos_token_id=[2, 5]), dtype='F32'),
    'olmoe_yarn': variant(OLMOE, rope_parameters=rope(1e4, **YARN, mscale=0.7, mscale_all_dim=1.0), shards=2),
    'olmoe_linear_wide': variant(OLMOE, dict(hidden_size=56, num_attention_heads=7, num_key_value_heads=7),
                                 rope_parameters=rope(rope_type='linear', factor=2.0), v4=False),
    'olmoe_fp8_block': variant(OLMOE, dict(hidden_size=264, num_attention_heads=11, num_key_value_heads=11,
                                           intermediate_size=130), quant='fp8_block', shards=2),
    'olmoe_int8_f16': variant(OLMOE, dict(num_experts=3, clip_qkv=0.8), quant='int8_channel', dtype='F16'),
    'olmoe_bias': variant(OLMOE, dict(attention_bias=True, num_key_value_heads=1, clip_qkv=1.5), v4=False),
    'olmoe_one_head': variant(OLMOE, dict(num_attention_heads=1, num_key_value_heads=1, hidden_size=24)),
    'olmoe_defaults': variant(OLMOE, dict(num_experts=12, num_experts_per_tok=8, rms_norm_eps=1e-5),
                              keys=dict(num_experts_per_tok=None, rms_norm_eps=None, norm_topk_prob=None, rope_theta=None,
                                        num_key_value_heads=None, clip_qkv=None)),
    'olmoe_fused': variant(OLMOE, dict(num_experts=4), layout='fused', dtype='F16', v4=False),
    'olmoe_transposed': variant(OLMOE, dict(intermediate_size=20), layout='transposed', shards=2),
    'olmoe_mixtral_names': variant(OLMOE, layout='mixtral'),
    'olmoe_window_ignored': variant(OLMOE, keys=dict(sliding_window=4)),
    'olmoe_longrope': variant(OLMOE, rope_parameters=rope(rope_type='longrope', attention_factor=1.2,
                                                          original_max_position_embeddings=9, **FACTORS), v4=False),
}
