# SPDX-License-Identifier: Apache-2.0
"""publish.py - a model's weights and configuration as files, in the layout and style of a variant

Layouts of experts: per_expert (mlp.experts.E.gate_proj ..), mixtral (block_sparse_moe.experts.E.w1 ..), fused (stacked, gate's
half first), transposed (the same with outputs last), granite (as fused, under the names of Granite-MoE), as_is (transformers'
own names).
"""
import json

import torch
from safetensors.torch import save_file

from odd import quantise
from odd.oracle import parameters
from odd.variant import DTYPES

# What the text part of a multimodal model is called: the key of its configuration, its tensors' prefixes, the whole's class,
# type and one tensor of its other parts.
WRAPS = {
    'language_model': ('text_config', 'model.language_model.', 'lm_head.', 'Glm4vMoeForConditionalGeneration', 'glm4v_moe',
                       'model.visual.patch_embed.proj.weight'),
    'kimi': ('text_config', 'language_model.model.', 'language_model.lm_head.', 'KimiK25ForConditionalGeneration', 'kimi_k25',
             'vision_tower.encoder.norm.weight'),
    'deepseek_vl': ('language_config', 'language.model.', 'language.lm_head.', 'DeepseekVLV2ForCausalLM', 'deepseek_vl_v2',
                    'vision.norm.weight'),
    'internvl': ('llm_config', 'language_model.model.', 'language_model.lm_head.', 'InternVLChatModel', 'internvl_chat',
                 'vision_model.embeddings.class_embedding'),
}


# What transformers calls the tensors of Granite-MoE's experts, and what they are published as.
GRANITE = (('experts.gate_up_proj', 'input_linear.weight'), ('experts.down_proj', 'output_linear.weight'),
           ('moe.router.weight', 'moe.router.layer.weight'))


def pieces(name, t, v):
    """The published tensors (name, view) that hold a tensor of the model."""
    mixtral = v['layout'] == 'mixtral'
    if v['layout'] == 'granite':
        for inside, outside in GRANITE:
            name = name.replace(inside, outside)
        yield name, t
        return
    if v['layout'] != 'as_is':
        name = name.replace('.block_sparse_moe.', '.mlp.').replace('.mlp.router.', '.mlp.gate.')
    if v['layout'] != 'as_is' and '.mlp.experts.' in name and t.dim() == 3:
        if v['layout'] == 'fused':
            yield name, t
        elif v['layout'] == 'transposed':
            yield name, t.transpose(1, 2)
        else:
            prefix = name.split('.mlp.')[0] + ('.block_sparse_moe' if mixtral else '.mlp')
            gate, up, down = ('w1', 'w3', 'w2') if mixtral else ('gate_proj', 'up_proj', 'down_proj')
            for e, w in enumerate(t):
                for part, x in zip((gate, up), w.chunk(2)) if name.endswith('gate_up_proj') else ((down, w),):
                    yield f'{prefix}.experts.{e}.{part}.weight', x
    else:
        yield name.replace('.mlp.gate.', '.block_sparse_moe.gate.') if mixtral else name, t


def mtp(tensors, v):
    """Layers after the last, for multi-token prediction: copies of the last one, and what joins them to it."""
    n, hidden = v['config']['num_hidden_layers'], v['config']['hidden_size']
    last = f'model.layers.{n - 1}.'
    out = {}
    for i in range(n, n + v['mtp']):
        p = f'model.layers.{i}.'
        out |= {name.replace(last, p): t for name, t in tensors.items() if name.startswith(last)}
        out |= {p + 'enorm.weight': torch.ones(hidden), p + 'hnorm.weight': torch.ones(hidden),
                p + 'eh_proj.weight': torch.ones(hidden, 2 * hidden), p + 'shared_head.norm.weight': torch.ones(hidden),
                p + 'shared_head.head.weight': tensors['model.embed_tokens.weight'],
                p + 'embed_tokens.weight': tensors['model.embed_tokens.weight']}
    return out


def weights(model, v):
    """Published tensors by name. Where they are quantised, the model's own become what the codes stand for."""
    out = {}
    for name, t in parameters(model):
        if name.endswith(v['drop']) or not t.numel():
            continue
        for published, x in pieces(name, t, v):
            if quantise.wanted(name, t, v):
                out |= quantise.tensors(published, x, v)
            else:
                out[published] = x if name.endswith(v['f32']) else x.to(DTYPES[v['dtype']])
    if v['extra_head']:
        out['lm_head.weight'] = out['model.embed_tokens.weight'].flip(0)
    if v['mtp']:
        out |= mtp(out, v)
    if v['wrap']:
        _, inner, head, _, _, other = WRAPS[v['wrap']]
        out = {a.replace('model.', inner, 1) if a.startswith('model.') else a.replace('lm_head.', head, 1): b
               for a, b in out.items()}
        out[other] = torch.ones(3, 5)
    return {a: b.contiguous().clone() for a, b in out.items()}


def write_weights(folder, tensors, n_shards):
    if n_shards == 1:
        save_file(tensors, f'{folder}/model.safetensors', metadata={'format': 'pt'})
        return
    names, weight_map = sorted(tensors), {}
    for s in range(n_shards):
        mine = names[s::n_shards]                       # dealt out, so that a layer's tensors lie in several shards
        file = f'model-{s + 1:05d}-of-{n_shards:05d}.safetensors'
        save_file({n: tensors[n] for n in mine}, f'{folder}/{file}', metadata={'format': 'pt'})
        weight_map |= {n: file for n in mine}
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    write_json(f'{folder}/model.safetensors.index.json', {'metadata': {'total_size': total}, 'weight_map': weight_map})


def write_json(path, j):
    with open(path, 'w') as f:
        json.dump(j, f, indent=1)
        f.write('\n')


def laid_over(j, keys):
    return {a: b for a, b in j.items() if a not in keys} | {a: b for a, b in keys.items() if b is not None}


def write_config(folder, c, v):
    """config.json as transformers writes it, in the variant's style."""
    dropped = ('transformers_version', '_experts_implementation', 'rope_parameters', 'dtype')
    j = {'architectures': [v['architecture']]} | {a: b for a, b in json.loads(c.to_json_string()).items() if a not in dropped}
    dtype, style = str(DTYPES[v['dtype']]).split('.')[1], dict(v['rope'])
    if 'text_config' in j:
        j['dtype'] = dtype
    elif v['v4']:
        j |= {a: style.pop(a) for a in ('rope_theta', 'partial_rotary_factor') if a in style}
        j |= {'torch_dtype': dtype, 'rope_scaling': None if style['rope_type'] == 'default' else style}
    else:
        j |= {'rope_parameters': style, 'dtype': dtype}
    if v['quant']:
        j['quantization_config'] = quantise.config(v)
    j = laid_over(j, v['keys'])
    if v['wrap']:
        key, _, _, architecture, model_type, _ = WRAPS[v['wrap']]
        top = {a: j.pop(a) for a in ('torch_dtype', 'dtype', 'tie_word_embeddings', 'quantization_config') if a in j}
        j = {'architectures': [architecture], 'model_type': model_type, key: j, 'vision_config': {'hidden_size': 24}} | top
    write_json(f'{folder}/config.json', j)
    if v['generation']:
        write_json(f'{folder}/generation_config.json', v['generation'])
