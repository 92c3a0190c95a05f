# SPDX-License-Identifier: Apache-2.0
"""gpt-oss"""
from odd.variant import BASE, YARN, rope, variant

OSS_YARN = dict(YARN, beta_fast=32.0, beta_slow=1.0)
S, F = 'sliding_attention', 'full_attention'
OSS = dict(BASE, model_type='gpt_oss', head_dim=16, num_local_experts=5, num_experts_per_tok=2, intermediate_size=28, sliding_window=6,
           layer_types=[S, F], swiglu_limit=7.0, _architecture='GptOssForCausalLM', _layout='as_is',
           _rope=rope(150000.0, **OSS_YARN, truncate=False))
HUB = dict(experts_per_token=2, initial_context_length=32, swiglu_limit=7.0, output_router_logits=False, router_aux_loss_coef=0.9)

VARIANTS = {
    'oss_types': variant(OSS, dict(num_hidden_layers=4, layer_types=[F, F, S, S], sliding_window=3, num_local_experts=3), keys=HUB),
    'oss_types_unsaid': variant(OSS, dict(num_hidden_layers=3, layer_types=[S, F, S], sliding_window=4), keys=dict(layer_types=None)),
    'oss_small': variant(OSS, dict(vocab_size=31, hidden_size=16, num_hidden_layers=3, layer_types=[S, F, S], sliding_window=4,
                                   head_dim=6, num_attention_heads=2, num_key_value_heads=1, intermediate_size=7,
                                   num_local_experts=4), keys=dict(layer_types=None)),
    'oss_full': variant(OSS, dict(layer_types=[F, F]), dtype='F16', shards=2),
    'oss_sliding': variant(OSS, dict(layer_types=[S, S], sliding_window=1), v4=False),
    'oss_truncated': variant(OSS, dict(tie_word_embeddings=True), rope_parameters=rope(**OSS_YARN, truncate=True), v4=False),
    'oss_plain_rope': variant(OSS, dict(num_local_experts=7, num_experts_per_tok=7), rope_parameters=rope(150000.0), dtype='F32'),
    'oss_no_bias': variant(OSS, dict(attention_bias=False, num_attention_heads=6, num_key_value_heads=1, head_dim=10)),
    'oss_glu': variant(OSS, dict(swiglu_limit=0.6, swiglu_alpha=1.1), v4=False),
    'oss_one_expert': variant(OSS, dict(num_local_experts=4, num_experts_per_tok=1, intermediate_size=20, hidden_size=40)),
    'oss_square': variant(OSS, dict(hidden_size=28, num_attention_heads=2, num_key_value_heads=2, intermediate_size=28), shards=3),
    'oss_mxfp4': variant(OSS, dict(hidden_size=96, intermediate_size=32), quant='mxfp4', keys=HUB),
    'oss_mxfp4_wide': variant(OSS, dict(hidden_size=32, intermediate_size=160, num_local_experts=9, num_experts_per_tok=4,
                                        layer_types=[F, S]), quant='mxfp4', shards=2, v4=False),
    'oss_wrapped': variant(OSS, dict(hidden_size=64, intermediate_size=96), quant='mxfp4', wrap='internvl'),
    'oss_eos': variant(OSS, dict(eos_token_id=[2, 9], num_hidden_layers=1, layer_types=[S]), keys=dict(num_experts=5)),
}
