#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make_mla.py - a checkpoint with multi-head latent attention, and its logits in double precision (numpy)

usage: make_mla.py FOLDER         make the checkpoint hybrid_mla in FOLDER
       make_mla.py check GOLDEN   hold this file's attention against the first layer of a DeepSeek golden (dense there)

The definition here is the plain one: keys and values of every head are made from the latent, nothing is absorbed. Source:
DeepSeek-V2, arXiv 2405.04434, section 2.1; YaRN: arXiv 2309.00071. The name, the router and the experts are Qwen3-MoE's.
"""
import json
import math
import os
import struct
import sys

import numpy as np

LENGTHS, N_GREEDY = (1, 9, 33), 16
TYPES = {'F32': np.float32, 'I32': np.int32, 'BF16': np.uint16}
CONFIG = dict(
    architectures=['Qwen3MoeForCausalLM'], model_type='qwen3_moe', hidden_act='silu', hidden_size=40, num_hidden_layers=3,
    num_attention_heads=3, num_key_value_heads=3, q_lora_rank=28, kv_lora_rank=27, qk_nope_head_dim=13, qk_rope_head_dim=10,
    v_head_dim=18, num_experts=5, num_experts_per_tok=2, norm_topk_prob=True, moe_intermediate_size=20, intermediate_size=36,
    mlp_only_layers=[1], decoder_sparse_step=1, vocab_size=83, max_position_embeddings=128, rms_norm_eps=1e-5, eos_token_id=2,
    tie_word_embeddings=False, torch_dtype='bfloat16', rope_theta=10000.0,
    rope_scaling=dict(type='yarn', factor=4.0, original_max_position_embeddings=32, beta_fast=8, beta_slow=1, mscale=0.8,
                      mscale_all_dim=1.2))


def to_bf16(x):
    bits = x.astype(np.float32).view(np.uint32)
    return ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(x):
    return (x.astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def read(path):
    with open(path, 'rb') as f:
        header = json.loads(f.read(struct.unpack('<Q', f.read(8))[0]))
        data = f.read()
    out = {}
    for name, t in header.items():
        if name != '__metadata__' and t['dtype'] in TYPES:
            a = np.frombuffer(data[slice(*t['data_offsets'])], TYPES[t['dtype']]).reshape(t['shape'])
            out[name] = from_bf16(a) if t['dtype'] == 'BF16' else a
    return out


def write(path, tensors):
    header, at = {}, 0
    for name, a in tensors.items():
        dtype = {np.dtype(b): a for a, b in TYPES.items()}[a.dtype]
        header[name] = dict(dtype=dtype, shape=list(a.shape), data_offsets=[at, at + a.nbytes])
        at += a.nbytes
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text)
        for a in tensors.values():
            f.write(a.tobytes())


def norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def silu(x):
    return x / (1 + np.exp(-x))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def yarn(c):
    """Inverse frequencies, factor of cosines and sines, factor of the softmax's scale."""
    d, base, s = c['qk_rope_head_dim'], c['rope_theta'], c.get('rope_scaling')
    plain = base ** (-np.arange(0, d, 2) / d)
    if not s:
        return plain, 1.0, 1.0

    def growth(m):
        return 0.1 * m * math.log(s['factor']) + 1

    def dim(turns):
        return d * math.log(s['original_max_position_embeddings'] / (turns * 2 * math.pi)) / (2 * math.log(base))

    low, high = max(math.floor(dim(s['beta_fast'])), 0), min(math.ceil(dim(s['beta_slow'])), d - 1)
    ramp = np.clip((np.arange(d // 2) - low) / ((high - low) or 0.001), 0, 1)
    return (ramp * plain / s['factor'] + (1 - ramp) * plain, growth(s['mscale']) / growth(s['mscale_all_dim']),
            growth(s['mscale_all_dim']) ** 2)


def turn(x, c):
    """Dims 2i and 2i + 1 of x [T, heads, rope] turn together."""
    frequencies, factor, _ = yarn(c)
    angles = np.arange(len(x))[:, None, None] * frequencies
    z = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angles) * factor
    out = np.empty_like(x)
    out[..., 0::2], out[..., 1::2] = z.real, z.imag
    return out


def attention(x, w, c):
    """x: [T, D] normalised; w: the layer's self_attn tensors."""
    T, H = len(x), c['num_attention_heads']
    nope, rope, v_dim, rank = (c[k] for k in ('qk_nope_head_dim', 'qk_rope_head_dim', 'v_head_dim', 'kv_lora_rank'))
    if c['q_lora_rank']:
        q = norm(x @ w['q_a_proj.weight'].T, w['q_a_layernorm.weight'], 1e-6) @ w['q_b_proj.weight'].T
    else:
        q = x @ w['q_proj.weight'].T
    q = q.reshape(T, H, nope + rope)
    compressed = x @ w['kv_a_proj_with_mqa.weight'].T
    latent, rotary = norm(compressed[:, :rank], w['kv_a_layernorm.weight'], 1e-6), compressed[:, None, rank:]
    kv = (latent @ w['kv_b_proj.weight'].T).reshape(T, H, nope + v_dim)
    q = np.concatenate((q[..., :nope], turn(q[..., nope:], c)), -1)
    k = np.concatenate((kv[..., :nope], np.repeat(turn(rotary, c), H, 1)), -1)
    scores = np.einsum('thd,shd->hts', q, k) * (nope + rope) ** -0.5 * yarn(c)[2]
    scores = np.where(np.tril(np.ones((T, T), bool)), scores, -np.inf)
    return np.einsum('hts,shd->thd', softmax(scores), kv[..., nope:]).reshape(T, -1) @ w['o_proj.weight'].T


def mlp(x, w, prefix):
    gate, up, down = (w[f'{prefix}.{p}_proj.weight'] for p in ('gate', 'up', 'down'))
    return (silu(x @ gate.T) * (x @ up.T)) @ down.T


def part(w, prefix):
    return {a[len(prefix):]: b for a, b in w.items() if a.startswith(prefix)}


def layer(x, w, c, margin):
    """One layer of tensors w; margin[0]: the smallest distance of a router's choice from a tie."""
    eps = c['rms_norm_eps']
    x = x + attention(norm(x, w['input_layernorm.weight'], eps), part(w, 'self_attn.'), c)
    h = norm(x, w['post_attention_layernorm.weight'], eps)
    if 'mlp.gate.weight' not in w:
        return x + mlp(h, w, 'mlp')
    scores, K = softmax(h @ w['mlp.gate.weight'].T), c['num_experts_per_tok']
    order = np.argsort(-scores, -1)
    for t, row in enumerate(order):
        margin[0] = min(margin[0], scores[t, row[K - 1]] - scores[t, row[K]])
        chosen = scores[t, row[:K]] / scores[t, row[:K]].sum()
        x[t] += sum(a * mlp(h[t], w, f'mlp.experts.{e}') for a, e in zip(chosen, row[:K]))
    return x


def model(ids, w, c, margin):
    x = w['model.embed_tokens.weight'][ids]
    for i in range(c['num_hidden_layers']):
        x = layer(x, part(w, f'model.layers.{i}.'), c, margin)
    return norm(x, w['model.norm.weight'], c['rms_norm_eps']) @ w['lm_head.weight'].T


def random_weights(c, rng):
    D, H, V = c['hidden_size'], c['num_attention_heads'], c['vocab_size']
    nope, rope, v_dim, rank = (c[k] for k in ('qk_nope_head_dim', 'qk_rope_head_dim', 'v_head_dim', 'kv_lora_rank'))
    shapes = {'model.embed_tokens.weight': (V, D), 'model.norm.weight': (D,), 'lm_head.weight': (V, D)}
    for i in range(c['num_hidden_layers']):
        p = f'model.layers.{i}.'
        shapes |= {p + 'input_layernorm.weight': (D,), p + 'post_attention_layernorm.weight': (D,),
                   p + 'self_attn.q_a_proj.weight': (c['q_lora_rank'], D),
                   p + 'self_attn.q_a_layernorm.weight': (c['q_lora_rank'],),
                   p + 'self_attn.q_b_proj.weight': (H * (nope + rope), c['q_lora_rank']),
                   p + 'self_attn.kv_a_proj_with_mqa.weight': (rank + rope, D),
                   p + 'self_attn.kv_a_layernorm.weight': (rank,),
                   p + 'self_attn.kv_b_proj.weight': (H * (nope + v_dim), rank),
                   p + 'self_attn.o_proj.weight': (D, H * v_dim)}
        dense = i in c['mlp_only_layers']
        width = c['intermediate_size'] if dense else c['moe_intermediate_size']
        for m in ['mlp'] if dense else [f'mlp.experts.{e}' for e in range(c['num_experts'])]:
            shapes |= {f'{p}{m}.gate_proj.weight': (width, D), f'{p}{m}.up_proj.weight': (width, D),
                       f'{p}{m}.down_proj.weight': (D, width)}
        if not dense:
            shapes[p + 'mlp.gate.weight'] = (c['num_experts'], D)
    out = {}
    for name, shape in shapes.items():
        r = rng.standard_normal(shape)
        if len(shape) == 1:
            value = 1 + 0.2 * r
        elif 'embed' in name:
            value = r
        else:
            value = r * (2.0 if name.endswith(('gate.weight', 'lm_head.weight')) else 1.2) / math.sqrt(shape[1])
        out[name] = to_bf16(value)
    return out


def references(w, c, rng):
    out, margin = {}, [math.inf]
    for i, n in enumerate(LENGTHS):
        ids = list(rng.integers(3, c['vocab_size'], n))
        out[f'p{i}.input_ids'] = np.array(ids, np.int32)
        out[f'p{i}.logits'] = model(ids, w, c, margin).astype(np.float32)
        for _ in range(N_GREEDY):
            last = np.sort(model(ids, w, c, margin)[-1])
            margin[0] = min(margin[0], (last[-1] - last[-2]) / np.abs(last).max())
            ids.append(int(np.argmax(model(ids, w, c, margin)[-1])))
        out[f'p{i}.greedy'] = np.array(ids[n:], np.int32)
    return out, margin[0]


def make(folder):
    for seed in range(200):
        rng = np.random.default_rng(seed)
        stored = random_weights(CONFIG, rng)
        golden, margin = references({a: from_bf16(b) for a, b in stored.items()}, CONFIG, rng)
        if margin > 1e-4:
            break
    else:
        sys.exit('no seed without a tie')
    os.makedirs(folder, exist_ok=True)
    write(f'{folder}/model.safetensors', stored)
    write(f'{folder}/golden.safetensors', golden)
    with open(f'{folder}/config.json', 'w') as f:
        json.dump(CONFIG, f, indent=1)
        f.write('\n')
    print(f'hybrid_mla: seed {seed}, margin {margin:.1e}')


def check(folder):
    with open(f'{folder}/config.json') as f:
        c = json.load(f)
    w, golden = part(read(f'{folder}/model.safetensors'), 'model.layers.0.'), read(f'{folder}/golden.safetensors')
    for i in range(3):
        expected = golden[f'p{i}.hidden.1'].astype(np.float64)
        found = layer(golden[f'p{i}.hidden.0'].astype(np.float64), w, c, [math.inf])
        print(f'{folder}: prompt {i}: {np.abs(found - expected).max() / np.abs(expected).max():.1e} of the largest')


def main():
    if len(sys.argv) == 3 and sys.argv[1] == 'check':
        check(sys.argv[2])
    elif len(sys.argv) == 2:
        make(os.path.join(sys.argv[1], 'hybrid_mla'))
    else:
        sys.exit('usage: make_mla.py FOLDER | check GOLDEN')


main()
