# SPDX-License-Identifier: Apache-2.0
"""Language models inside multimodal ones, made by the classes of the whole; the prompts are text"""
from odd.variant import BASE, variant

WHOLE = dict(tie_word_embeddings=False)
TEXT = dict(BASE, num_hidden_layers=3, head_dim=16, intermediate_size=52, moe_intermediate_size=20, num_experts_per_tok=3)
QWEN = dict(TEXT, num_experts=7, rope_parameters=dict(rope_type='default', rope_theta=10000.0, mrope_section=[3, 3, 2],
                                                      mrope_interleaved=True))
GLM = dict(TEXT, n_routed_experts=10, n_shared_experts=1, first_k_dense_replace=1, n_group=1, topk_group=1,
           rope_parameters=dict(rope_type='default', rope_theta=10000.0, partial_rotary_factor=0.5, mrope_section=[1, 1, 2]))
TOWER = dict(depth=1, hidden_size=24, num_heads=2, intermediate_size=16, out_hidden_size=40)
QWEN_TOWER = dict(TOWER, deepstack_visual_indexes=[0], num_position_embeddings=16)
QWEN_VL = dict(WHOLE, model_type='qwen3_vl_moe', text_config=QWEN, vision_config=QWEN_TOWER,
               _architecture='Qwen3VLMoeForConditionalGeneration', _layout='transposed')
GLM_V = dict(WHOLE, model_type='glm4v_moe', text_config=GLM, vision_config=TOWER,
             _architecture='Glm4vMoeForConditionalGeneration')

VARIANTS = {
    # Gate and up together are as wide as the model.
    'vl_qwen3': variant(QWEN_VL),
    'vl_qwen3_odd': variant(QWEN_VL, dict(text_config=dict(QWEN, hidden_size=36, num_experts=5, mlp_only_layers=[1]),
                                          vision_config=dict(QWEN_TOWER, out_hidden_size=36)), shards=2, dtype='F16'),
    'vl_qwen3_per_expert': variant(QWEN_VL, layout='per_expert', dtype='F32'),
    'vl_glm4': variant(GLM_V, shards=2),
    'vl_glm4_groups': variant(GLM_V, dict(text_config=dict(GLM, n_group=2, topk_group=1, n_shared_experts=2,
                                                           attention_bias=False)), layout='fused'),
}
