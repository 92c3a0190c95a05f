# SPDX-License-Identifier: Apache-2.0
"""Qwen2-MoE"""
from odd.variant import BASE, PRIMES, YARN, rope, variant

QWEN2 = dict(BASE, model_type='qwen2_moe', num_experts=7, num_experts_per_tok=3, moe_intermediate_size=20, intermediate_size=56,
             shared_expert_intermediate_size=36, norm_topk_prob=False, mlp_only_layers=[], decoder_sparse_step=1,
             _architecture='Qwen2MoeForCausalLM')
# What a published config.json says beside the class's own keys, and what it leaves out.
HUB = dict(layer_types=None, max_window_layers=2, use_sliding_window=False, sliding_window=6, qkv_bias=None)
WINDOWS = dict(num_hidden_layers=5, use_sliding_window=True, sliding_window=6, max_window_layers=4)

VARIANTS = {
    'qwen2_hub': variant(QWEN2, dict(num_key_value_heads=4, num_experts=6, num_experts_per_tok=4), keys=HUB, shards=2),
    'qwen2_normalised': variant(QWEN2, dict(norm_topk_prob=True, shared_expert_intermediate_size=12), dtype='F32', v4=False),
    'qwen2_sparse_step': variant(QWEN2, dict(num_hidden_layers=5, decoder_sparse_step=2, mlp_only_layers=[3]), dtype='F16'),
    'qwen2_every_third': variant(QWEN2, dict(num_hidden_layers=6, decoder_sparse_step=3, shared_expert_intermediate_size=56),
                                 keys=HUB),
    'qwen2_no_bias': variant(QWEN2, dict(qkv_bias=False, head_dim=18, num_attention_heads=3, num_key_value_heads=1)),
    'qwen2_no_bias_unsaid': variant(QWEN2, dict(qkv_bias=False), keys=HUB),
    'qwen2_head_dim': variant(QWEN2, dict(head_dim=14, num_attention_heads=5, num_key_value_heads=5, hidden_size=44), v4=False),
    'qwen2_windows': variant(QWEN2, WINDOWS, shards=3),
    'qwen2_windows_unlisted': variant(QWEN2, dict(WINDOWS, num_hidden_layers=3, max_window_layers=2), keys=dict(layer_types=None)),
    'qwen2_windows_listed': variant(QWEN2, dict(WINDOWS, num_hidden_layers=3, layer_types=['full_attention', 'sliding_attention',
                                                                                            'full_attention'])),
    'qwen2_tied': variant(QWEN2, dict(tie_word_embeddings=True, eos_token_id=[2, 9]), v4=False, drop=('lm_head.weight',)),
    'qwen2_tied_saved': variant(QWEN2, dict(tie_word_embeddings=True, num_experts=2, num_experts_per_tok=2), dtype='F16'),
    'qwen2_fused': variant(QWEN2, dict(num_experts=5), layout='fused', shards=2, v4=False),
    'qwen2_transposed': variant(QWEN2, dict(num_experts=5, moe_intermediate_size=20), layout='transposed', keys=HUB),
    'qwen2_yarn': variant(QWEN2, rope_parameters=rope(1e6, **YARN), keys=HUB),
    'qwen2_dynamic': variant(QWEN2, rope_parameters=rope(rope_type='dynamic', factor=2.0)),
    'qwen2_one_expert': variant(QWEN2, dict(num_experts=1, num_experts_per_tok=1), v4=False),
    'qwen2_mixed_types': variant(QWEN2, f32=('norm.weight', 'gate.weight', '.bias')),
    'qwen2_fp8_block': variant(QWEN2, dict(hidden_size=200, moe_intermediate_size=136, shared_expert_intermediate_size=140,
                                           num_attention_heads=5, num_key_value_heads=5), quant='fp8_block'),
    'qwen2_int8': variant(QWEN2, dict(hidden_size=44, num_attention_heads=2, moe_intermediate_size=37), quant='int8_channel'),
    'qwen2_primes': variant(QWEN2, dict(PRIMES, num_experts=11, num_experts_per_tok=5, moe_intermediate_size=17,
                                        shared_expert_intermediate_size=19), v4=False),
    'qwen2_many_experts': variant(QWEN2, dict(num_experts=60, moe_intermediate_size=4, num_hidden_layers=4), shards=4),
    'qwen2_wrapped': variant(QWEN2, dict(WINDOWS, eos_token_id=[2, 7]), wrap='internvl', shards=2),
}
