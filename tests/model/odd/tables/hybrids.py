# SPDX-License-Identifier: Apache-2.0
"""Architectures that nobody publishes: the arithmetic of one family under the name, tensor layout and keys of another"""
from odd.tables.deepseek_v3 import V3
from odd.tables.mixtral_olmoe import OLMOE
from odd.tables.qwen3 import QWEN
from odd.variant import YARN, rope, variant

VARIANTS = {
    # OLMoE's attention, Mixtral's name and tensor layout, un-normalised top-3
    'hybrid_mixtral': variant(OLMOE, dict(norm_topk_prob=False, num_experts_per_tok=3, clip_qkv=0.9, num_key_value_heads=2),
                              layout='mixtral', architecture='MixtralForCausalLM',
                              keys=dict(model_type='mixtral', num_experts=None, num_local_experts=6, norm_topk_prob=False)),
    # Qwen3's attention with biases and a dense layer, OLMoE's name, Mixtral's tensor layout, YaRN
    'hybrid_olmoe': variant(QWEN, dict(attention_bias=True, mlp_only_layers=[0], norm_topk_prob=True, num_experts_per_tok=2),
                            rope_parameters=rope(1e5, **YARN), layout='mixtral', architecture='OlmoeForCausalLM',
                            keys=dict(model_type='olmoe')),
    # DeepSeek-V3's attention and scores, all dims odd, Qwen3-MoE's name and choice
    'hybrid_mla': variant(V3, dict(num_attention_heads=3, num_key_value_heads=3, kv_lora_rank=27, qk_nope_head_dim=13,
                                   qk_rope_head_dim=10, v_head_dim=18, n_routed_experts=5, n_shared_experts=0, n_group=1,
                                   topk_group=1, num_experts_per_tok=2, routed_scaling_factor=1.0, vocab_size=83),
                          rope_parameters=rope(1e4, **YARN, beta_fast=8, mscale=0.8, mscale_all_dim=1.2),
                          architecture='Qwen3MoeForCausalLM', correction=0.0, drop=('e_score_correction_bias',),
                          keys=dict(model_type='qwen3_moe', scoring_func='sigmoid', mlp_only_layers=[0], decoder_sparse_step=1,
                                    n_group=None, topk_group=None, first_k_dense_replace=None, n_routed_experts=None,
                                    num_experts=5, n_shared_experts=None)),
}
