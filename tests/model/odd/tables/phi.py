# SPDX-License-Identifier: Apache-2.0
"""Phi-3.5-MoE"""
from odd.variant import BASE, FACTORS, PRIMES, rope, variant

PHI = dict(BASE, model_type='phimoe', num_local_experts=6, num_experts_per_tok=2, intermediate_size=28, attention_bias=True,
           lm_head_bias=True, router_jitter_noise=0.01, _architecture='PhimoeForCausalLM', _layout='mixtral', _rope=rope(1e4))


def long_rope(original, theta=1e4, **more):
    return rope(theta, rope_type='longrope', original_max_position_embeddings=original, short_mscale=1.1, long_mscale=1.3,
                **FACTORS, **more)


def by_length(model):
    """Transformers 5 turns by short_factor at every length (PhimoeRotaryEmbedding.forward); its version 4 and the model's own
    code turn by long_factor where the sequence is longer than the original context. That is what inv_freq holds here."""
    rotary = model.model.rotary_emb
    rotary.rope_init_fn = lambda config: (rotary.inv_freq, 1.0)


VARIANTS = {
    'phi_odd': variant(PHI, dict(hidden_size=72, num_attention_heads=6, num_key_value_heads=3, num_local_experts=9), shards=2),
    'phi_no_bias': variant(PHI, dict(attention_bias=False, lm_head_bias=False), dtype='F32', v4=False),
    'phi_head_bias_only': variant(PHI, dict(attention_bias=False, num_key_value_heads=1), dtype='F16'),
    'phi_no_head_bias': variant(PHI, dict(lm_head_bias=False, num_local_experts=16, intermediate_size=12)),
    'phi_bias_unsaid': variant(PHI, keys=dict(attention_bias=None, lm_head_bias=None)),
    'phi_tied': variant(PHI, dict(tie_word_embeddings=True), drop=('lm_head.weight',), v4=False),
    'phi_window': variant(PHI, dict(sliding_window=6), shards=3),
    'phi_jitter': variant(PHI, dict(router_jitter_noise=0.3, input_jitter_noise=0.1)),
    'phi_jitter_large': variant(PHI, dict(router_jitter_noise=1.2, num_local_experts=4)),
    'phi_jitter_none': variant(PHI, dict(router_jitter_noise=0.0)),
    'phi_jitter_unsaid': variant(PHI, keys=dict(router_jitter_noise=None, num_experts_per_tok=None, rms_norm_eps=None)),
    'phi_two_experts': variant(PHI, dict(num_local_experts=2, eos_token_id=[2, 3, 4]), v4=False),
    'phi_as_saved': variant(PHI, dict(num_local_experts=5), layout='as_is', v4=False),
    'phi_qwen_names': variant(PHI, dict(num_local_experts=5), layout='per_expert', keys=dict(num_experts=5)),
    'phi_fused': variant(PHI, layout='fused', shards=2),
    'phi_transposed': variant(PHI, dict(intermediate_size=20, num_local_experts=3), layout='transposed'),
    'phi_long': variant(PHI, rope_parameters=long_rope(20), patch=by_length),
    'phi_long_new_keys': variant(PHI, rope_parameters=long_rope(9, 1e6), patch=by_length, v4=False, dtype='F32'),
    'phi_long_short_only': variant(PHI, rope_parameters=long_rope(64)),
    'phi_long_top_level': variant(PHI, rope_parameters=long_rope(20, type='longrope'), patch=by_length,
                                  keys=dict(original_max_position_embeddings=20)),
    'phi_long_window': variant(PHI, dict(sliding_window=7), rope_parameters=long_rope(20), patch=by_length, shards=2),
    'phi_fp8_block': variant(PHI, dict(hidden_size=200, num_attention_heads=5, num_key_value_heads=5, intermediate_size=72),
                             quant='fp8_block'),
    'phi_primes': variant(PHI, dict(PRIMES, num_local_experts=11, intermediate_size=17), v4=False),
    'phi_wrapped': variant(PHI, rope_parameters=long_rope(20), patch=by_length, wrap='deepseek_vl', v4=False),
}
