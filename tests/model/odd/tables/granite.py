# SPDX-License-Identifier: Apache-2.0
"""Granite-MoE, and the same with a shared MLP"""
from odd.variant import BASE, LLAMA3, PRIMES, YARN, rope, variant

GRANITE = dict(BASE, model_type='granitemoe', num_local_experts=7, num_experts_per_tok=3, intermediate_size=20,
               embedding_multiplier=6.0, logits_scaling=3.0, residual_multiplier=0.3, attention_multiplier=0.2,
               tie_word_embeddings=True, _architecture='GraniteMoeForCausalLM', _layout='granite')
SHARED = dict(GRANITE, model_type='granitemoeshared', shared_intermediate_size=28, _architecture='GraniteMoeSharedForCausalLM')
# Multipliers of 1 are left out by some writers.
ONES = dict(embedding_multiplier=1.0, logits_scaling=1.0, residual_multiplier=1.0, attention_multiplier=1.0)

VARIANTS = {
    'granite_tied': variant(GRANITE, dict(num_local_experts=9, num_experts_per_tok=4, hidden_size=48), shards=2,
                            drop=('lm_head.weight',)),
    'granite_untied': variant(GRANITE, dict(tie_word_embeddings=False, logits_scaling=0.35, num_key_value_heads=1), dtype='F32'),
    'granite_bias': variant(GRANITE, dict(attention_bias=True, num_attention_heads=5, num_key_value_heads=5), v4=False),
    'granite_ones': variant(GRANITE, ONES, keys={a: None for a in ONES}),
    'granite_shrinking': variant(GRANITE, dict(embedding_multiplier=0.5, residual_multiplier=1.7, attention_multiplier=0.6)),
    'granite_head_dim': variant(GRANITE, keys=dict(head_dim=10), dtype='F16'),
    'granite_defaults': variant(GRANITE, dict(num_local_experts=8, num_experts_per_tok=2, rms_norm_eps=1e-6, num_key_value_heads=4),
                                keys=dict(num_local_experts=None, num_experts_per_tok=None, rms_norm_eps=None,
                                          num_key_value_heads=None, tie_word_embeddings=None), drop=('lm_head.weight',)),
    'granite_as_saved': variant(GRANITE, dict(num_local_experts=5), layout='as_is', v4=False, shards=3),
    'granite_per_expert': variant(GRANITE, dict(num_local_experts=3), layout='mixtral'),
    'granite_yarn': variant(GRANITE, rope_parameters=rope(1e6, **YARN), v4=False),
    'granite_llama3': variant(GRANITE, rope_parameters=rope(5e5, **LLAMA3 | dict(factor=8.0))),
    'granite_top1': variant(GRANITE, dict(num_experts_per_tok=1, num_hidden_layers=1)),
    'granite_window_ignored': variant(GRANITE, keys=dict(sliding_window=4)),
    'granite_int8': variant(GRANITE, dict(intermediate_size=36), quant='int8_channel'),
    'granite_shared': variant(SHARED, shards=2),
    'granite_shared_untied': variant(SHARED, dict(tie_word_embeddings=False, shared_intermediate_size=13, attention_bias=True,
                                                  num_local_experts=5), v4=False),
    'granite_shared_wide': variant(SHARED, dict(shared_intermediate_size=60, intermediate_size=44), dtype='F32'),
    'granite_shared_none': variant(SHARED, dict(shared_intermediate_size=0)),
    'granite_shared_as_saved': variant(SHARED, ONES, layout='as_is', v4=False, dtype='F16'),
    'granite_shared_fp8': variant(SHARED, dict(hidden_size=136, intermediate_size=72, shared_intermediate_size=140),
                                  quant='fp8_channel'),
    'granite_primes': variant(GRANITE, dict(PRIMES, num_local_experts=11, num_experts_per_tok=5, intermediate_size=17)),
    'granite_many_experts': variant(GRANITE, dict(num_local_experts=40, num_experts_per_tok=8, intermediate_size=8,
                                                  num_hidden_layers=4), v4=False),
    'granite_wrapped': variant(GRANITE, wrap='kimi', drop=('lm_head.weight',), keys=dict(architectures=None)),
}
