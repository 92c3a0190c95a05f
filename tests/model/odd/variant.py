# SPDX-License-Identifier: Apache-2.0
"""variant.py - what a variant is: a family's configuration, and how its checkpoint is written down"""
import torch

DTYPES = {'BF16': torch.bfloat16, 'F16': torch.float16, 'F32': torch.float32}
NOTHING = ('\0',)

BASE = dict(vocab_size=101, hidden_size=40, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, bos_token_id=1,
            eos_token_id=2, pad_token_id=0, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=False)
PRIMES = dict(hidden_size=37, num_attention_heads=5, num_key_value_heads=5, head_dim=6, vocab_size=89, num_hidden_layers=3)
LLAMA3 = dict(rope_type='llama3', factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
FACTORS = dict(short_factor=[1.0, 1.1, 1.25, 1.6, 2.5], long_factor=[1.0, 1.7, 3.0, 6.5, 20.0])
YARN = dict(rope_type='yarn', factor=4.0, original_max_position_embeddings=32)


def rope(theta=10000.0, **scaling):
    return dict(rope_type='default', rope_theta=theta) | scaling


def variant(base, config=(), rope_parameters=None, dtype='BF16', layout=None, shards=1, v4=True, architecture=None, keys=(),
            f32=(), patch=None, drop=(), extra_head=False, quant=None, block=(128, 128), plain=(), mtp=0, wrap=None,
            correction=0.2, generation=()):
    """What differs from a family's base, which is a dict of its configuration and of these arguments under '_' + name.

    config: for the class of transformers; rope_parameters: in transformers 5's style; dtype: that weights are stored in;
    layout: of experts (publish.py); v4: keys as transformers 4 writes them (rope_theta, rope_scaling, torch_dtype); keys: laid
    over config.json afterwards (None removes one); f32: endings of names that stay float32; patch: called with the model,
    may return what undoes it; drop: endings of names left out; extra_head: an lm_head that must be left alone, as the
    embedding is the head; quant: how matrices are quantised, in blocks of `block` where it is by blocks; plain: parts of names
    that are not; mtp: layers for multi-token prediction after the last; wrap: the multimodal model that this is the text
    part of (publish.py); correction: spread and, as a pair, mean of the choice's correction; generation: the keys of
    generation_config.json."""
    settings = {a[1:]: b for a, b in base.items() if a.startswith('_')}
    config = {a: b for a, b in base.items() if not a.startswith('_')} | dict(config)
    return dict(config=config, rope=rope_parameters or settings.get('rope') or rope(), dtype=dtype,
                layout=layout or settings.get('layout', 'per_expert'), shards=shards, v4=v4,
                architecture=architecture or settings['architecture'], keys=dict(keys), f32=tuple(f32) or NOTHING,
                patch=patch, drop=tuple(drop) or NOTHING, extra_head=extra_head, quant=quant, block=block, plain=tuple(plain),
                mtp=mtp, wrap=wrap, correction=correction if isinstance(correction, tuple) else (correction, 0.0),
                generation=dict(generation))
