# SPDX-License-Identifier: Apache-2.0
"""oracle.py - the model of transformers: made, filled with random weights, and run for reference outputs"""
import math
import re

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from odd.variant import DTYPES

N_GREEDY, LENGTHS = 16, (1, 9, 33)
NOISE, N_NOISY = 1e-4, 4


def build(v):
    """The model of a variant, its configuration, and what undoes its patch."""
    config = {a: b for a, b in v['config'].items() if a != 'model_type'}
    if 'text_config' not in config:
        config['rope_parameters'] = dict(v['rope'])
    c = AutoConfig.for_model(v['config']['model_type'], **config)
    c._experts_implementation = 'eager'
    kind = AutoModelForImageTextToText if 'text_config' in config else AutoModelForCausalLM
    model = kind.from_config(c, dtype=torch.float32, attn_implementation='eager').eval()
    return model, c, (v['patch'] and v['patch'](model)) or (lambda: None)


def parameters(model):
    """Those of training, and the routers' corrections, which are not trained."""
    yield from model.named_parameters()
    yield from ((n, b) for n, b in model.named_buffers() if n.endswith('e_score_correction_bias'))


def fill(model, v, generator):
    """Random weights, rounded to the type that they are stored in."""
    for name, p in parameters(model):
        r = torch.randn(p.shape, generator=generator)
        if name.endswith('e_score_correction_bias'):
            value = v['correction'][0] * r + v['correction'][1]
        elif p.dim() == 1 and 'norm' in name and name.endswith('weight'):
            value = 1 + 0.2 * r
        elif name.endswith('sinks') or 'embed_tokens' in name:
            value = r
        elif p.dim() == 1 or 'bias' in name:
            value = 0.3 * r
        else:
            # Experts that lie transposed are larger in the last dim; either way this is near the number of inputs.
            inputs = p.shape[-1] if p.dim() == 2 else min(p.shape[1:])
            gain = 2.0 if re.search(r'(\.gate|router|router\.layer|lm_head)\.weight$', name) else 1.2
            value = r * gain / math.sqrt(max(inputs, 1))
        p.copy_(value if name.endswith(v['f32']) else value.to(DTYPES[v['dtype']]).float())


def chosen(output):
    """The experts in a router's output: its integers, in no order."""
    return next(o for o in output if o.dtype in (torch.int32, torch.int64)).sort(-1).values


class Ties:
    """Watches the routers of a model: whether noise on what they are given changes whom they choose, or jumps
    in the weights (which Phi's have where an expert is masked)."""

    def __init__(self, model, generator):
        self.generator, self.found = generator, False
        for m in model.modules():
            if re.search(r'(Router|TopKGating)$', type(m).__name__):
                m.register_forward_hook(self.watch)

    def watch(self, module, inputs, output):
        def route(x):                                   # without the hooks of a patch
            return type(module).forward(module, x)

        before = route(inputs[0])
        for _ in range(N_NOISY):
            after = route(inputs[0] * (1 + NOISE * torch.randn(inputs[0].shape, generator=self.generator)))
            self.found |= not torch.equal(chosen(after), chosen(before))
            self.found |= not torch.allclose(after[1], before[1], atol=0.01)


def references(model, v, generator):
    """Tensors of golden.safetensors, and the smallest distance of any choice from a tie."""
    ties, margin, out = Ties(model, torch.Generator().manual_seed(0)), math.inf, {}
    for i, n in enumerate(LENGTHS):
        ids = torch.randint(3, v['config'].get('text_config', v['config'])['vocab_size'], (1, n), generator=generator)
        result = model(input_ids=ids, use_cache=False, output_hidden_states=True)
        out[f'p{i}.input_ids'] = ids[0].to(torch.int32)
        out[f'p{i}.logits'] = result.logits[0].contiguous().clone()
        for l, h in enumerate(result.hidden_states):
            out[f'p{i}.hidden.{l}'] = h[0].contiguous().clone()
        for _ in range(N_GREEDY):
            last = model(input_ids=ids, use_cache=False).logits[0, -1]
            best = last.sort(descending=True).values
            margin = min(margin, float((best[0] - best[1]) / last.abs().max()))
            ids = torch.cat((ids, last.argmax().view(1, 1)), dim=1)
            if ties.found or margin < NOISE:
                return out, 0.0
        out[f'p{i}.greedy'] = ids[0, n:].to(torch.int32).contiguous()
    return out, margin
