#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make_odd.py - tiny checkpoints that are odd in some way, with reference outputs of Hugging Face transformers

usage: make_odd.py FOLDER [NAME...]        a name that ends in * stands for all that begin so
       make_odd.py --list [NAME...]           prints the names

Needs torch, safetensors and transformers 5; nothing in the build or the tests runs it (check-odd does). For each variant
FOLDER/NAME gets config.json, the weights as safetensors, and golden.safetensors with, for prompts i = 0, 1, 2: p{i}.input_ids
int32 [T], p{i}.logits f32 [T, V], p{i}.hidden.{l} f32 [T, D] (l = 0 the embedding, the last after the final norm) and p{i}.greedy
int32 [16] (end of text ignored). The reference runs in float32 on the weights as they are stored, quantised ones dequantised
to float32. A variant whose router or greedy choice is close to a tie is made again from another seed, so that rounding cannot tip
it. Variants are tables in odd/tables, one module for a group of families. tests/data/odd holds the smallest.
"""
import importlib
import os
import pathlib
import sys
import zlib

import torch
from safetensors.torch import save_file

from odd import oracle, publish

torch.set_grad_enabled(False)
torch.set_num_threads(1)                              # more of them only wait for one another here


def all_variants():
    out = {}
    for path in sorted((pathlib.Path(__file__).parent / 'odd' / 'tables').glob('*.py')):
        mine = importlib.import_module(f'odd.tables.{path.stem}').VARIANTS
        if set(mine) & set(out):
            sys.exit(f'{path}: a name of another module: {set(mine) & set(out)}')
        out |= mine
    return out


def make(folder, name, v):
    for attempt in range(200):
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()) + attempt)
        model, c, undo = oracle.build(v)
        oracle.fill(model, v, generator)
        tensors = publish.weights(model, v)
        golden, margin = oracle.references(model, v, generator)
        undo()
        if margin > oracle.NOISE:
            break
    else:
        raise ValueError('no seed without a tie')
    os.makedirs(folder, exist_ok=True)
    save_file(golden, f'{folder}/golden.safetensors')
    publish.write_weights(folder, tensors, v['shards'])
    publish.write_config(folder, c, v)
    size = sum(os.path.getsize(f'{folder}/{f}') for f in os.listdir(folder))
    print(f'{name}: {size // 1024} KiB, seed {attempt}, margin {margin:.1e}', flush=True)


def main():
    if len(sys.argv) < 2:
        sys.exit('usage: make_odd.py FOLDER [NAME...] | --list [NAME...]')
    variants, names = all_variants(), []
    for wanted in sys.argv[2:] or ['*']:
        mine = [n for n in variants if n == wanted or (wanted.endswith('*') and n.startswith(wanted[:-1]))]
        if not mine:
            sys.exit(f'make_odd.py: no variant {wanted}')
        names += mine
    if sys.argv[1] == '--list':
        print('\n'.join(names))
        return
    failed = 0
    for name in names:
        try:
            make(os.path.join(sys.argv[1], name), name, variants[name])
        except Exception as e:                          # the others are made all the same
            print(f'{name}: not made: {type(e).__name__}: {e}', flush=True)
            failed += 1
    sys.exit(failed > 0)


main()
