# SPDX-License-Identifier: Apache-2.0
"""DeepSeek-V3, R1 and Kimi-K2"""
from odd.variant import BASE, YARN, rope, variant

V3 = dict(BASE, model_type='deepseek_v3', num_hidden_layers=3, num_key_value_heads=4, intermediate_size=52, moe_intermediate_size=20,
          n_routed_experts=12, n_shared_experts=1, num_experts_per_tok=4, first_k_dense_replace=1, q_lora_rank=28, kv_lora_rank=24,
          qk_nope_head_dim=12, qk_rope_head_dim=8, v_head_dim=12, n_group=4, topk_group=2, norm_topk_prob=True,
          routed_scaling_factor=2.5, _architecture='DeepseekV3ForCausalLM')
KIMI = dict(n_routed_experts=11, n_group=1, topk_group=1, num_experts_per_tok=5, routed_scaling_factor=2.827)
WIDE = dict(hidden_size=200, num_attention_heads=5, num_key_value_heads=5, q_lora_rank=136, kv_lora_rank=140,
            moe_intermediate_size=72, intermediate_size=260, qk_nope_head_dim=40, v_head_dim=40)
BOTH_TYPES = dict(type='yarn', factor=8.0, original_max_position_embeddings=16, beta_fast=1, beta_slow=1, mscale=1.0, mscale_all_dim=1.0)
HUB = dict(scoring_func='sigmoid', topk_method='noaux_tc', moe_layer_freq=1, ep_size=1, seq_aux=True, num_nextn_predict_layers=1,
           aux_loss_alpha=0.001, pretraining_tp=1)

VARIANTS = {
    'dsv3_kimi': variant(V3, KIMI, rope_parameters=rope(5e4, **BOTH_TYPES, rope_type='yarn'), keys=dict(HUB, model_type='kimi_k2')),
    'dsv3_groups': variant(V3, dict(n_routed_experts=9, n_group=3, num_experts_per_tok=5), correction=(2.0, -3.0), keys=HUB),
    'dsv3_one_group': variant(V3, dict(topk_group=1, num_experts_per_tok=3), correction=5.0, dtype='F32', v4=False),
    'dsv3_pairs': variant(V3, dict(n_group=6, topk_group=5, num_experts_per_tok=7, moe_intermediate_size=12), dtype='F16'),
    'dsv3_halves': variant(V3, dict(rope_interleave=False, q_lora_rank=None, first_k_dense_replace=0)),
    'dsv3_halves_yarn': variant(V3, dict(rope_interleave=False), rope_parameters=rope(**YARN, mscale=0.5, mscale_all_dim=1.5),
                                v4=False),
    'dsv3_mtp': variant(V3, dict(first_k_dense_replace=2), mtp=1, keys=HUB, shards=3),
    'dsv3_mtp_fp8': variant(V3, dict(WIDE, n_shared_experts=2), mtp=2, quant='fp8_block', keys=HUB, shards=2,
                            f32=('e_score_correction_bias',)),
    'dsv3_unnormalised': variant(V3, dict(norm_topk_prob=False, routed_scaling_factor=0.7, n_shared_experts=2), v4=False),
    'dsv3_bias': variant(V3, dict(attention_bias=True)),
    'dsv3_bias_no_lora': variant(V3, dict(attention_bias=True, q_lora_rank=None), dtype='F16', shards=2),
    'dsv3_eps': variant(V3, dict(rms_norm_eps=0.05)),
    'dsv3_unshared': variant(V3, dict(n_shared_experts=0, tie_word_embeddings=True)),
    'dsv3_fused_tied': variant(V3, dict(n_routed_experts=8, tie_word_embeddings=True), layout='fused', v4=False),
    'dsv3_transposed': variant(V3, dict(n_routed_experts=8, moe_intermediate_size=40), layout='transposed', v4=False, shards=2),
    'dsv3_fp8_small_blocks': variant(V3, WIDE, quant='fp8_block', block=(48, 64), layout='fused', v4=False),
    'dsv3_fp8_channel': variant(V3, dict(attention_bias=True), quant='fp8_channel'),
    'dsv3_fp8_tensor': variant(V3, dict(KIMI, q_lora_rank=None), quant='fp8_tensor', plain=('kv_b_proj',)),
    'dsv3_int8': variant(V3, dict(hidden_size=44, kv_lora_rank=33, v_head_dim=14, moe_intermediate_size=37), quant='int8_channel'),
    'dsv3_aliases': variant(V3, keys=dict(num_experts=12, num_local_experts=12, num_experts_per_token=4, eos_token_id=[1, 2],
                                          e_score_correction_bias=None), generation=dict(eos_token_id=[3, 4])),
    'dsv3_wrapped': variant(V3, KIMI, wrap='kimi', quant='int8_channel', keys=dict(model_type='kimi_k2'), shards=2),
    'dsv3_wrapped_tied': variant(V3, dict(tie_word_embeddings=True), wrap='kimi', v4=False, drop=('lm_head.weight',),
                                 keys=dict(architectures=None)),
    'dsv3_small': variant(V3, dict(vocab_size=31, hidden_size=16, num_hidden_layers=2, intermediate_size=18, moe_intermediate_size=7,
                                   n_routed_experts=6, n_shared_experts=0, num_experts_per_tok=2, n_group=3, topk_group=2,
                                   q_lora_rank=10, kv_lora_rank=9, qk_nope_head_dim=5, qk_rope_head_dim=4, v_head_dim=6,
                                   num_attention_heads=2, num_key_value_heads=2, attention_bias=True, eos_token_id=[2, 3]),
                          wrap='kimi', keys=dict(model_type='kimi_k2', architectures=None)),
    'dsv3_wrapped_in_model': variant(V3, mtp=1, wrap='language_model', dtype='F16'),
}
