#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make_odd.py - tiny checkpoints that are odd in some way, with reference outputs of Hugging Face transformers

usage: make_odd.py FOLDER [NAME...]        needs torch, safetensors and transformers 5; nothing in the build or the tests runs it

For each variant FOLDER/NAME gets config.json, the weights as safetensors, and golden.safetensors with, for prompts i = 0, 1,
2: p{i}.input_ids int32 [T], p{i}.logits f32 [T, V] and p{i}.greedy int32 [16] (end of text ignored). The reference runs in
float32 on the weights as they are stored, quantised ones dequantised to float32. A variant whose router or greedy choice is close to a tie is made again from
another seed, so that rounding cannot tip it. tests/data/odd holds the smallest of them.

The hybrids are architectures that nobody publishes: the arithmetic of one family under the name, tensor layout and keys of
another. Where transformers has no class for a variant, a module is patched, and the variant says so.
"""
import json
import math
import os
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.models.qwen3_moe import modeling_qwen3_moe

torch.set_grad_enabled(False)
N_GREEDY, LENGTHS = 16, (1, 9, 33)
DTYPES = {'BF16': torch.bfloat16, 'F16': torch.float16, 'F32': torch.float32}
ARCHITECTURES = {'qwen3_moe': 'Qwen3MoeForCausalLM', 'mixtral': 'MixtralForCausalLM', 'olmoe': 'OlmoeForCausalLM'}

BASE = dict(vocab_size=101, hidden_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, bos_token_id=1,
            eos_token_id=2, pad_token_id=0, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=False)
QWEN = dict(BASE, model_type='qwen3_moe', head_dim=16, num_experts=7, num_experts_per_tok=3, moe_intermediate_size=20,
            intermediate_size=56, norm_topk_prob=True, mlp_only_layers=[], decoder_sparse_step=1)
MIXTRAL = dict(BASE, model_type='mixtral', num_local_experts=5, num_experts_per_tok=2, intermediate_size=28)
OLMOE = dict(BASE, model_type='olmoe', num_experts=6, num_experts_per_tok=3, intermediate_size=24, num_key_value_heads=4)


def rope(theta=10000.0, **scaling):
    return dict(rope_type='default', rope_theta=theta) | scaling


def variant(base, config=(), rope_parameters=None, dtype='BF16', layout=None, shards=1, v4=True, architecture=None, keys=(),
            f32=(), patch=None, drop=(), quant=None, block=(128, 128), plain=()):
    """config: for the class of transformers; keys: laid over config.json afterwards (None removes one); f32: endings of
    names that stay float32; drop: endings of names left out; v4: the older style of RoPE keys and torch_dtype; quant: how
    matrices are quantised, in blocks of `block` where it is by blocks; plain: parts of names that are not."""
    config = dict(base, **dict(config))
    model_type = config['model_type']
    return dict(config=config, rope=rope_parameters or rope(1e6 if model_type == 'mixtral' else 1e4), dtype=dtype,
                layout=layout or ('mixtral' if model_type == 'mixtral' else 'qwen'), shards=shards, v4=v4,
                architecture=architecture or ARCHITECTURES[model_type], keys=dict(keys), f32=tuple(f32), patch=patch,
                drop=tuple(drop), quant=quant, block=block, plain=tuple(plain))


YARN = dict(rope_type='yarn', factor=4.0, original_max_position_embeddings=32)
VARIANTS = {
    # Qwen3-MoE
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
    'qwen_extra_head': variant(QWEN, dict(tie_word_embeddings=True), patch='extra_head'),
    'qwen_partial': variant(QWEN, keys=dict(partial_rotary_factor=0.5), patch='partial'),
    'qwen_scaled': variant(QWEN, keys=dict(routed_scaling_factor=2.5), patch='scaled'),
    # Mixtral
    'mixtral_odd': variant(MIXTRAL, dict(hidden_size=72, num_attention_heads=6, num_key_value_heads=2, head_dim=20,
                                         num_local_experts=3, intermediate_size=52, vocab_size=77)),
    'mixtral_window': variant(MIXTRAL, dict(sliding_window=6), shards=4),
    'mixtral_top1_tied': variant(MIXTRAL, dict(num_experts_per_tok=1, tie_word_embeddings=True, num_hidden_layers=1), dtype='F16'),
    'mixtral_fused': variant(MIXTRAL, dict(num_local_experts=9, num_experts_per_tok=3), layout='fused', v4=False, dtype='F32'),
    # OLMoE
    'olmoe_clip': variant(OLMOE, dict(num_experts=11, clip_qkv=0.7, num_key_value_heads=2)),
    'olmoe_normalised': variant(OLMOE, dict(norm_topk_prob=True, tie_word_embeddings=True, eos_token_id=[2, 5]), dtype='F32'),
    'olmoe_yarn': variant(OLMOE, rope_parameters=rope(1e4, **YARN, mscale=0.7, mscale_all_dim=1.0), shards=2),
    'olmoe_linear_wide': variant(OLMOE, dict(hidden_size=56, num_attention_heads=7, num_key_value_heads=7),
                                 rope_parameters=rope(rope_type='linear', factor=2.0), v4=False),
    # Quantised
    'qwen_fp8_block': variant(QWEN, dict(hidden_size=200, num_attention_heads=9, num_key_value_heads=3,
                                         moe_intermediate_size=136), quant='fp8_block'),
    'qwen_fp8_block_fused': variant(QWEN, dict(hidden_size=152, moe_intermediate_size=72, num_experts=4), layout='fused',
                                    quant='fp8_block', block=(48, 64), v4=False),
    'qwen_fp8_channel': variant(QWEN, dict(attention_bias=True), quant='fp8_channel', shards=3),
    'qwen_int8': variant(QWEN, dict(hidden_size=44, moe_intermediate_size=37, mlp_only_layers=[0], intermediate_size=50),
                         quant='int8_channel'),
    'mixtral_int8_some': variant(MIXTRAL, dict(hidden_size=72, num_attention_heads=6, head_dim=20), quant='int8_channel',
                                 plain=('o_proj', 'layers.1.mlp', 'layers.0.self_attn')),
    'mixtral_fp8_tensor': variant(MIXTRAL, dict(intermediate_size=300, tie_word_embeddings=True), quant='fp8_tensor'),
    'olmoe_fp8_block': variant(OLMOE, dict(hidden_size=264, num_attention_heads=11, num_key_value_heads=11,
                                           intermediate_size=130), quant='fp8_block', shards=2),
    'olmoe_int8_f16': variant(OLMOE, dict(num_experts=3, clip_qkv=0.8), quant='int8_channel', dtype='F16'),
    # OLMoE's attention, Mixtral's name and tensor layout, un-normalised top-3
    'hybrid_mixtral': variant(OLMOE, dict(norm_topk_prob=False, num_experts_per_tok=3, clip_qkv=0.9, num_key_value_heads=2),
                              layout='mixtral', architecture='MixtralForCausalLM',
                              keys=dict(model_type='mixtral', num_experts=None, num_local_experts=6, norm_topk_prob=False)),
    # Qwen3's attention with biases and a dense layer, OLMoE's name, Mixtral's tensor layout, YaRN
    'hybrid_olmoe': variant(QWEN, dict(attention_bias=True, mlp_only_layers=[0], norm_topk_prob=True, num_experts_per_tok=2),
                            rope_parameters=rope(1e5, **YARN), layout='mixtral', architecture='OlmoeForCausalLM',
                            keys=dict(model_type='olmoe')),
}


def fill(model, generator, dtype, f32):
    """Random weights, rounded to the type that they are stored in."""
    for name, p in model.named_parameters():
        r = torch.randn(p.shape, generator=generator)
        if p.dim() == 1:
            value = 1 + 0.2 * r if 'norm' in name else 0.3 * r
        elif 'embed_tokens' in name:
            value = r
        else:
            value = r * (2.0 if name.endswith(('gate.weight', 'lm_head.weight')) else 1.2) / math.sqrt(p.shape[-1])
        p.copy_(value if name.endswith(f32) else value.to(dtype).float())


def group(kind, strategy):
    weights = dict(num_bits=8, type=kind, strategy=strategy, symmetric=True, dynamic=False)
    return dict(quant_method='compressed-tensors', format='naive-quantized', ignore=['lm_head'], quantization_status='compressed',
                config_groups=dict(group_0=dict(targets=['Linear'], weights=weights,
                                                input_activations=dict(num_bits=8, type=kind, dynamic=True))))


def quantization_config(v):
    if v['quant'] == 'fp8_block':
        return dict(quant_method='fp8', fmt='e4m3', activation_scheme='dynamic', weight_block_size=list(v['block']))
    kind, strategy = v['quant'].split('_')
    return group('int' if kind == 'int8' else 'float', strategy)


def quantise_matrix(w, v):
    """Codes, scales as they are published, and the numbers that these stand for, of w [n, k]."""
    kind, strategy = v['quant'].split('_')
    bn, bk = dict(block=v['block'], channel=(1, w.shape[1]), tensor=tuple(w.shape))[strategy]
    rows, columns = -(-w.shape[0] // bn), -(-w.shape[1] // bk)
    largest = torch.empty(rows, columns)
    for i in range(rows):
        for j in range(columns):
            largest[i, j] = w[i * bn:(i + 1) * bn, j * bk:(j + 1) * bk].abs().max().clamp_min(1e-12)
    scale = largest / (127.0 if kind == 'int8' else 448.0)
    if strategy == 'channel':
        scale = scale.to(torch.bfloat16)
    wide = scale.float().repeat_interleave(bn, 0)[:w.shape[0]].repeat_interleave(bk, 1)[:, :w.shape[1]]
    codes = ((w / wide).round().clamp(-127, 127).to(torch.int8) if kind == 'int8'
             else (w / wide).clamp(-448, 448).to(torch.float8_e4m3fn))
    return codes, scale.flatten() if strategy == 'tensor' else scale, codes.float() * wide


def quantise(model, v):
    """Put dequantised matrices into the model; their codes and scales by published name."""
    out, ending = {}, '_scale_inv' if v['quant'] == 'fp8_block' else '_scale'
    mixtral, fused = v['layout'] == 'mixtral', v['layout'] == 'fused'
    names = ('w1', 'w3', 'w2') if mixtral else ('gate_proj', 'up_proj', 'down_proj')

    def put(name, w):
        out[name], out[name + ending], wide = quantise_matrix(w, v)
        w.copy_(wide)

    for name, p in model.named_parameters():
        if '.layers.' not in name or 'norm' in name or p.dim() < 2 or name.endswith('.mlp.gate.weight') or any(
                part in name for part in v['plain']):
            continue
        if '.mlp.experts.' not in name:
            put(name, p)
            continue
        prefix = name.split('.mlp.')[0] + ('.block_sparse_moe.experts.' if mixtral else '.mlp.experts.')
        for e, w in enumerate(p):
            if fused:
                put(f'{e}', w)
            elif name.endswith('gate_up_proj'):
                for part, half in zip(names, w.chunk(2)):
                    put(f'{prefix}{e}.{part}.weight', half)
            else:
                put(f'{prefix}{e}.{names[2]}.weight', w)
        if fused:
            out[name] = torch.stack([out.pop(f'{e}') for e in range(len(p))])
            out[name + ending] = torch.stack([out.pop(f'{e}{ending}') for e in range(len(p))])
    return {a: b.contiguous().clone() for a, b in out.items()}


def partial_rotary(q, k, cos, sin, unsqueeze_dim=1):
    """The first half of a head's dims turn, as halves of their own; the rest stays."""
    dim = q.shape[-1] // 2

    def turn(x):
        a, b, rest = x[..., :dim // 2], x[..., dim // 2:dim], x[..., dim:]
        c, s = cos.unsqueeze(unsqueeze_dim)[..., :dim // 2], sin.unsqueeze(unsqueeze_dim)[..., :dim // 2]
        return torch.cat((a * c - b * s, b * c + a * s, rest), dim=-1)

    return turn(q), turn(k)


def build(v):
    config = {a: b for a, b in v['config'].items() if a != 'model_type'}
    c = AutoConfig.for_model(v['config']['model_type'], **config, rope_parameters=dict(v['rope']))
    c._experts_implementation = 'eager'
    model = AutoModelForCausalLM.from_config(c, dtype=torch.float32, attn_implementation='eager').eval()
    if v['patch'] == 'partial':
        dim = v['config']['head_dim'] // 2
        frequencies = 1.0 / v['rope']['rope_theta'] ** (torch.arange(0, dim, 2).float() / dim)
        model.model.rotary_emb.inv_freq = torch.cat((frequencies, frequencies * 0))
    return model, c


def routers(model):
    return [m for m in model.modules() if type(m).__name__.endswith('TopKRouter')]


def scale_router(module, inputs, output):
    return output[0], output[1] * 2.5, output[2]


def references(model, v, generator):
    """Tensors of golden.safetensors, and the smallest distance of any choice from a tie."""
    margin, out = [math.inf], {}
    vocab, top_k = v['config']['vocab_size'], v['config']['num_experts_per_tok']

    def watch(module, inputs, output):
        best = output[0].softmax(-1).sort(-1, descending=True).values
        if best.shape[-1] > top_k:
            margin[0] = min(margin[0], float((best[..., top_k - 1] - best[..., top_k]).min()))

    for m in routers(model):
        m.register_forward_hook(watch)
        if v['patch'] == 'scaled':
            m.register_forward_hook(scale_router)
    for i, n in enumerate(LENGTHS):
        ids = torch.randint(3, vocab, (1, n), generator=generator)
        logits = model(input_ids=ids, use_cache=False).logits[0]
        out[f'p{i}.input_ids'] = ids[0].to(torch.int32)
        out[f'p{i}.logits'] = logits.contiguous().clone()
        for _ in range(N_GREEDY):
            last = model(input_ids=ids, use_cache=False).logits[0, -1]
            best = last.sort(descending=True).values
            margin[0] = min(margin[0], float((best[0] - best[1]) / last.abs().max()))
            ids = torch.cat((ids, last.argmax().view(1, 1)), dim=1)
        out[f'p{i}.greedy'] = ids[0, n:].to(torch.int32).contiguous()
    return out, margin[0]


def published(model, v):
    """The state dict in the variant's layout and types."""
    out = {}
    for name, t in model.state_dict().items():
        if (name == 'lm_head.weight' and v['config']['tie_word_embeddings'] and v['patch'] != 'extra_head') or name.endswith(
                v['drop'] or ('\0',)):
            continue
        if name == 'lm_head.weight' and v['patch'] == 'extra_head':
            t = t.flip(0)                               # must be left alone: the embedding is the head
        stored = t if name.endswith(v['f32'] or ('\0',)) else t.to(DTYPES[v['dtype']])
        module = 'block_sparse_moe' if v['layout'] == 'mixtral' else 'mlp'
        names = ('w1', 'w3', 'w2') if v['layout'] == 'mixtral' else ('gate_proj', 'up_proj', 'down_proj')
        prefix = name.split('.mlp.')[0] + '.' + module
        if name.endswith('.mlp.gate.weight'):
            out[prefix + '.gate.weight'] = stored
        elif v['layout'] == 'fused' or '.mlp.experts.' not in name:
            out[name] = stored
        elif name.endswith('gate_up_proj'):
            for e, w in enumerate(stored):
                for part, half in zip(names, w.chunk(2)):
                    out[f'{prefix}.experts.{e}.{part}.weight'] = half
        else:
            for e, w in enumerate(stored):
                out[f'{prefix}.experts.{e}.{names[2]}.weight'] = w
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
    with open(f'{folder}/model.safetensors.index.json', 'w') as f:
        json.dump({'metadata': {'total_size': total}, 'weight_map': weight_map}, f, indent=1)


def write_config(folder, c, v):
    keep = set(v['config']) | {'hidden_act', 'attention_bias', 'sliding_window', 'use_sliding_window', 'norm_topk_prob', 'clip_qkv',
                               'head_dim'}
    j = {'architectures': [v['architecture']]} | {a: b for a, b in c.to_dict().items() if a in keep}
    j |= {a: b for a, b in v['config'].items() if a not in ('model_type',)}
    scaling = {a: b for a, b in v['rope'].items() if a != 'rope_theta'}
    if v['v4']:
        j |= {'rope_theta': v['rope']['rope_theta'], 'torch_dtype': str(DTYPES[v['dtype']]).split('.')[1],
              'rope_scaling': None if scaling['rope_type'] == 'default' else scaling}
    else:
        j |= {'rope_parameters': v['rope'], 'dtype': str(DTYPES[v['dtype']]).split('.')[1]}
    if v['quant']:
        j['quantization_config'] = quantization_config(v)
    for key, value in v['keys'].items():
        j.pop(key, None)
        if value is not None:
            j[key] = value
    with open(f'{folder}/config.json', 'w') as f:
        json.dump(j, f, indent=1)
        f.write('\n')


def make(folder, name, v):
    plain = modeling_qwen3_moe.apply_rotary_pos_emb
    if v['patch'] == 'partial':
        modeling_qwen3_moe.apply_rotary_pos_emb = partial_rotary
    number = list(VARIANTS).index(name)
    for attempt in range(200):
        generator = torch.Generator().manual_seed(1000 * number + attempt)
        model, c = build(v)
        fill(model, generator, DTYPES[v['dtype']], v['f32'] or ('\0',))
        codes = quantise(model, v) if v['quant'] else {}
        golden, margin = references(model, v, generator)
        if margin > 1e-4:
            break
    else:
        sys.exit(f'{name}: no seed without a tie')
    modeling_qwen3_moe.apply_rotary_pos_emb = plain
    os.makedirs(folder, exist_ok=True)
    save_file(golden, f'{folder}/golden.safetensors')
    write_weights(folder, published(model, v) | codes, v['shards'])
    write_config(folder, c, v)
    size = sum(os.path.getsize(f'{folder}/{f}') for f in os.listdir(folder))
    print(f'{name}: {size // 1024} KiB, seed {attempt}, margin {margin:.1e}')


def main():
    if len(sys.argv) < 2:
        sys.exit('usage: make_odd.py FOLDER [NAME...]')
    for name in sys.argv[2:] or VARIANTS:
        make(os.path.join(sys.argv[1], name), name, VARIANTS[name])


main()
