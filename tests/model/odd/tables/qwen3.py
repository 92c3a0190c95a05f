# SPDX-License-Identifier: Apache-2.0
"""Qwen3-MoE"""
import torch
from transformers.models.qwen3_moe import modeling_qwen3_moe

from odd.variant import BASE, FACTORS, LLAMA3, PRIMES, YARN, rope, variant

QWEN = dict(BASE, model_type='qwen3_moe', head_dim=16, num_experts=7, num_experts_per_tok=3, moe_intermediate_size=20,
            intermediate_size=56, norm_topk_prob=True, mlp_only_layers=[], decoder_sparse_step=1,
            _architecture='Qwen3MoeForCausalLM')


def partial(model):
    """The class has no partial_rotary_factor: the first half of a head's dims turns, as halves of its own."""
    dim = model.config.head_dim // 2
    frequencies = 1.0 / model.config.rope_parameters['rope_theta'] ** (torch.arange(0, dim, 2).float() / dim)
    plain = modeling_qwen3_moe.apply_rotary_pos_emb

    def turn(x, c, s):
        a, b, rest = x[..., :dim // 2], x[..., dim // 2:dim], x[..., dim:]
        return torch.cat((a * c - b * s, b * c + a * s, rest), dim=-1)

    def rotary(q, k, cos, sin, unsqueeze_dim=1):
        c, s = cos.unsqueeze(unsqueeze_dim)[..., :dim // 2], sin.unsqueeze(unsqueeze_dim)[..., :dim // 2]
        return turn(q, c, s), turn(k, c, s)

    def undo():
        modeling_qwen3_moe.apply_rotary_pos_emb = plain

    model.model.rotary_emb.inv_freq = torch.cat((frequencies, frequencies * 0))
    modeling_qwen3_moe.apply_rotary_pos_emb = rotary
    return undo


def scaled(model):
    """Nor has it a routed_scaling_factor: 2.5."""
    for m in model.modules():
        if type(m).__name__.endswith('TopKRouter'):
            m.register_forward_hook(lambda module, inputs, output: (output[0], output[1] * 2.5, output[2]))


VARIANTS = {
    'qwen_tied_f32': variant(QWEN, dict(tie_word_embeddings=True, norm_topk_prob=False), dtype='F32'),
    'qwen_dense_layer': variant(QWEN, dict(num_hidden_layers=3, mlp_only_layers=[1], num_experts=5), dtype='F16', shards=3),
    'qwen_sparse_step': variant(QWEN, dict(num_hidden_layers=4, decoder_sparse_step=2, num_experts_per_tok=1), v4=False),
    'qwen_window': variant(QWEN, dict(use_sliding_window=True, sliding_window=5), keys=dict(max_window_layers=1)),
    'qwen_window_off': variant(QWEN, dict(use_sliding_window=False), keys=dict(sliding_window=5, use_sliding_window=False)),
    'qwen_linear': variant(QWEN, rope_parameters=rope(rope_type='linear', factor=4.0), keys=dict(bos_token_id=None)),
    'qwen_yarn': variant(QWEN, rope_parameters=rope(1e6, **YARN), v4=False),
    'qwen_yarn_slow': variant(QWEN, dict(head_dim=24), rope_parameters=rope(500.0, **YARN, beta_fast=8, beta_slow=2,
                                                                              attention_factor=1.3, truncate=False)),
    'qwen_bias': variant(QWEN, dict(attention_bias=True, num_attention_heads=3, num_key_value_heads=1)),
    'qwen_fused': variant(QWEN, dict(num_experts=3, norm_topk_prob=False), layout='fused', shards=2, v4=False),
    'qwen_one_expert': variant(QWEN, dict(num_experts=1, num_experts_per_tok=1, norm_topk_prob=False)),
    'qwen_all_experts': variant(QWEN, dict(num_experts=3, num_experts_per_tok=3)),
    'qwen_mixed_types': variant(QWEN, f32=('norm.weight', 'mlp.gate.weight')),
    'qwen_tied_unsaid': variant(QWEN, dict(tie_word_embeddings=True), keys=dict(tie_word_embeddings=None),
                                drop=('lm_head.weight',)),
    'qwen_extra_head': variant(QWEN, dict(tie_word_embeddings=True), extra_head=True),
    'qwen_partial': variant(QWEN, keys=dict(partial_rotary_factor=0.5), patch=partial),
    'qwen_scaled': variant(QWEN, keys=dict(routed_scaling_factor=2.5), patch=scaled),
    'qwen_fp8_block': variant(QWEN, dict(hidden_size=200, num_attention_heads=9, num_key_value_heads=3,
                                         moe_intermediate_size=136), quant='fp8_block'),
    'qwen_fp8_block_fused': variant(QWEN, dict(hidden_size=152, moe_intermediate_size=72, num_experts=4), layout='fused',
                                    quant='fp8_block', block=(48, 64), v4=False),
    'qwen_fp8_channel': variant(QWEN, dict(attention_bias=True), quant='fp8_channel', shards=3),
    'qwen_int8': variant(QWEN, dict(hidden_size=44, moe_intermediate_size=37, mlp_only_layers=[0], intermediate_size=50),
                         quant='int8_channel'),
    'qwen_hub': variant(QWEN, dict(num_key_value_heads=1), keys=dict(max_window_layers=2, use_sliding_window=False,
                                                                     sliding_window=None, num_experts=7, num_local_experts=None)),
    'qwen_window_unsaid': variant(QWEN, dict(use_sliding_window=True, sliding_window=4096), keys=dict(sliding_window=None)),
    'qwen_dynamic': variant(QWEN, rope_parameters=rope(1e6, rope_type='dynamic', factor=2.0)),
    'qwen_llama3': variant(QWEN, rope_parameters=rope(5e5, **LLAMA3), v4=False),
    'qwen_transposed': variant(QWEN, dict(moe_intermediate_size=20), layout='transposed', shards=2),
    'qwen_mixtral_names': variant(QWEN, dict(mlp_only_layers=[0]), layout='mixtral'),
    'qwen_defaults': variant(QWEN, dict(num_experts=9, num_experts_per_tok=8, rms_norm_eps=1e-6, norm_topk_prob=False),
                             keys=dict(num_experts_per_tok=None, rms_norm_eps=None, norm_topk_prob=None, mlp_only_layers=None,
                                       decoder_sparse_step=None, rope_theta=None, tie_word_embeddings=None)),
    'qwen_model_type': variant(QWEN, keys=dict(architectures=None), dtype='F16'),
    'qwen_longrope': variant(QWEN, dict(head_dim=10), rope_parameters=rope(rope_type='longrope', factor=4.0,
                                                                           original_max_position_embeddings=20, **FACTORS)),
    'qwen_primes': variant(QWEN, dict(PRIMES, num_experts=11, num_experts_per_tok=5, moe_intermediate_size=17), shards=2),
    'qwen_many_experts': variant(QWEN, dict(num_experts=131, num_experts_per_tok=16, moe_intermediate_size=4), dtype='F16'),
    'qwen_large_heads': variant(QWEN, dict(head_dim=256, num_attention_heads=3, num_key_value_heads=1), v4=False),
    'qwen_small_heads': variant(QWEN, dict(head_dim=2, num_attention_heads=16, num_key_value_heads=8)),
    'qwen_wrapped': variant(QWEN, dict(tie_word_embeddings=True), wrap='language_model', layout='transposed', v4=False,
                            keys=dict(architectures=None), drop=('lm_head.weight',)),
}
