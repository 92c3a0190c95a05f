# SPDX-License-Identifier: Apache-2.0
"""quantise.py - matrices as codes and scales, as they are published, and the numbers that these stand for"""
import torch

FP4 = torch.tensor([0, .5, 1, 1.5, 2, 3, 4, 6, -0., -.5, -1, -1.5, -2, -3, -4, -6])


def config(v):
    """quantization_config of a variant."""
    if v['quant'] == 'mxfp4':
        return dict(quant_method='mxfp4', modules_to_not_convert=['model.layers.*.self_attn', 'model.layers.*.mlp.router',
                                                                  'model.embed_tokens', 'lm_head'])
    if v['quant'] == 'fp8_block':
        return dict(quant_method='fp8', fmt='e4m3', activation_scheme='dynamic', weight_block_size=list(v['block']))
    kind, strategy = v['quant'].split('_')
    kind = 'int' if kind == 'int8' else 'float'
    weights = dict(num_bits=8, type=kind, strategy=strategy, symmetric=True, dynamic=False)
    return dict(quant_method='compressed-tensors', format='naive-quantized', ignore=['lm_head'], quantization_status='compressed',
                config_groups=dict(group_0=dict(targets=['Linear'], weights=weights,
                                                input_activations=dict(num_bits=8, type=kind, dynamic=True))))


def mxfp4(w):
    """Blocks, scales and values of w [.., K], in blocks of 32."""
    b = w.reshape(*w.shape[:-1], -1, 32)
    exponent = (torch.floor(torch.log2(b.abs().amax(-1).clamp_min(1e-20) / 6.0)) + 1).clamp(-126, 127)
    codes = ((b / torch.exp2(exponent)[..., None])[..., None] - FP4).abs().argmin(-1)
    wide = (FP4[codes] * torch.exp2(exponent)[..., None]).reshape(w.shape)
    codes = codes.to(torch.uint8)
    return codes[..., 0::2] | codes[..., 1::2] << 4, (exponent + 127).to(torch.uint8), wide


def matrix(w, v):
    """Codes, scales and values of w [n, k]."""
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


def wanted(name, t, v):
    """Whether a tensor of the state dict is quantised."""
    if not v['quant'] or '.layers.' not in name or 'norm' in name or 'bias' in name or t.dim() < 2:
        return False
    if v['quant'] == 'mxfp4':
        return t.dim() == 3
    return not name.endswith(('.gate.weight', 'router.weight', 'router.layer.weight', 'shared_expert_gate.weight')) and not any(
        part in name for part in v['plain'])


def tensors(name, w, v):
    """What a matrix, or a stack of them, is published as; w is made what that stands for."""
    if v['quant'] == 'mxfp4':
        blocks, scales, wide = mxfp4(w.transpose(1, 2))
        w.copy_(wide.transpose(1, 2))
        return {name + '_blocks': blocks, name + '_scales': scales}
    parts = [matrix(x, v) for x in (w if w.dim() == 3 else (w,))]
    w.copy_(torch.stack([p[2] for p in parts]) if w.dim() == 3 else parts[0][2])
    ending = '_scale_inv' if v['quant'] == 'fp8_block' else '_scale'
    join = torch.stack if w.dim() == 3 else (lambda x: x[0])
    return {name: join([p[0] for p in parts]), name + ending: join([p[1] for p in parts])}
