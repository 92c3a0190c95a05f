#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make_seeds.py - family-* seeds of the fuzz harnesses, from the reference checkpoints, tokenizers and chat templates

usage: tests/fuzz/make_seeds.py OUT        writes OUT/config, OUT/safetensors, OUT/tokenizer, OUT/template

Needs nothing but Python. Tensors become lists as shards.h has them; vocabularies are cut down to what a short text needs.
"""
import itertools
import json
import math
import pathlib
import re
import struct
import sys

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
KEYS_WITHOUT_EFFECT = ["attention_dropout", "initializer_range", "router_aux_loss_coef", "output_router_logits",
                       "transformers_version", "use_cache", "pretraining_tp", "pad_token_id"]


def header(path):
    with open(path, "rb") as file:
        (n,) = struct.unpack("<Q", file.read(8))
        tensors = json.loads(file.read(n))
    tensors.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"]) for name, t in tensors.items()}


def read_checkpoint(folder):
    config = json.loads((folder / "config.json").read_text())
    for key in KEYS_WITHOUT_EFFECT:
        config.pop(key, None)
    tensors = {}
    for path in sorted(folder.glob("model*.safetensors")):
        tensors.update(header(path))
    return config, tensors


def ranges(numbers):
    """{a-b} for each run of consecutive numbers."""
    numbers = sorted(numbers)
    begin = numbers[0]
    for i, number in enumerate(numbers):
        if i + 1 == len(numbers) or numbers[i + 1] != number + 1:
            yield f"{{{begin}-{number}}}" if number > begin else str(begin)
            begin = numbers[i + 1] if i + 1 < len(numbers) else None


def as_lines(tensors):
    """Lines of a list, tensors that differ in layer and expert alone taken together."""
    groups = {}
    for name, (dtype, shape) in tensors.items():
        numbers = tuple(int(n) for n in re.findall(r"(?<=\.)\d+(?=\.)", name))
        groups.setdefault((re.sub(r"(?<=\.)\d+(?=\.)", "%s", name), dtype, tuple(shape)), []).append(numbers)
    for (pattern, dtype, shape), numbers in groups.items():
        layers = {}
        for n in numbers:
            layers.setdefault(n[1:], []).append(n[:1])
        by_layers = {}
        for rest, firsts in layers.items():
            by_layers.setdefault(tuple(sorted(firsts)), []).append(rest)
        for firsts, rests in by_layers.items():
            parts = [list(ranges([f[0] for f in firsts]))] if firsts[0] else []
            parts += [list(ranges([r[0] for r in rests]))] if rests[0] else []
            for choice in itertools.product(*parts):
                yield " ".join([pattern % choice, dtype, *map(str, shape)])


def shrink_fp8(config, tensors):
    """Blocks of 32 x 32, and a fourth of the large dims, so that loading takes little."""
    small = {256: 64, 384: 96, 144: 36}
    for key in ("hidden_size", "intermediate_size", "moe_intermediate_size"):
        config[key] = small[config[key]]
    config["quantization_config"]["weight_block_size"] = [32, 32]
    out = {name: (dtype, [small.get(d, d) for d in shape]) for name, (dtype, shape) in tensors.items()}
    for name, (dtype, shape) in out.items():
        if name.endswith("_scale_inv"):
            of = out[name[:-len("_scale_inv")]][1]
            out[name] = (dtype, [math.ceil(d / 32) for d in of])
    return config, out


def compress(config, tensors, dtype, kind):
    """As compressed-tensors publishes a model: the matrices of layers as codes with scales for each output or one."""
    config = dict(config, quantization_config={
        "quant_method": "compressed-tensors", "format": "int-quantized" if dtype == "I8" else "float-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": {
            "num_bits": 8, "type": "int" if dtype == "I8" else "float", "strategy": kind, "symmetric": True}}}})
    out = {}
    for name, (old, shape) in tensors.items():
        if re.search(r"(_proj|_with_mqa)\.weight$", name):
            out[name] = (dtype, shape)
            out[name + "_scale"] = ("BF16", [shape[0], 1] if kind == "channel" else [1])
        else:
            out[name] = (old, shape)
    return config, out


def checkpoints():
    for folder in sorted((DATA / "goldens").iterdir()):
        if not folder.is_dir():
            continue
        config, tensors = read_checkpoint(folder)
        if folder.name.endswith("fp8"):
            config, tensors = shrink_fp8(config, tensors)
        yield folder.name, config, tensors
        if folder.name == "qwen3_moe":
            yield "int8", *compress(config, tensors, "I8", "channel")
        if folder.name == "deepseek_v2":
            yield "fp8_tensor", *compress(config, tensors, "F8_E4M3", "tensor")
        if folder.name == "mixtral":
            yield "text_config", {"architectures": config["architectures"], "model_type": "mixtral",
                                  "text_config": config}, tensors
    for folder in sorted((DATA / "odd").iterdir()):
        if folder.is_dir():
            yield "odd_" + folder.name, *read_checkpoint(folder)


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def write_checkpoints(out):
    for name, config, tensors in checkpoints():
        lines = list(as_lines(tensors))
        text = compact(config) + "\n--\n\n--\n" + "\n".join(lines)
        (out / "config" / f"family-{name}").write_text(text + "\n")
        # Every second one in two shards.
        if len(name) % 2:
            shards = "\n--\n{}\n--\na.safetensors\n" + "\n".join(lines[0::2]) + "\n--\nb.safetensors\n" + "\n".join(lines[1::2])
        else:
            shards = "\n--\n\n--\nmodel.safetensors\n" + "\n".join(lines)
        (out / "safetensors" / f"family-{name}").write_text("l0" + compact(config) + shards + "\n")


def cut_vocabulary(tokenizer, n_merges):
    """The first merges that the vocabulary has, and the tokens that they need beside those of one character and bytes."""
    model = tokenizer["model"]
    merges = model["merges"][:n_merges]
    pairs = [m if isinstance(m, list) else m.split(" ") for m in merges]
    added = {t["content"] for t in tokenizer["added_tokens"]}
    need = set("".join("".join(p) for p in pairs)) | {"".join(p) for p in pairs} | {part for p in pairs for part in p}
    need |= {t for t in model["vocab"] if len(t) == 1 and ord(t) < 0x180}
    if model.get("byte_fallback"):
        need |= {f"<0x{b:02X}>" for b in range(256)}
    keep = [t for t in model["vocab"] if t in need or t in added]
    numbers = {t: i for i, t in enumerate(keep)}
    n = len(keep)
    for token in tokenizer["added_tokens"]:
        token["id"] = numbers.get(token["content"], n)
        n += token["id"] == n
    model["vocab"] = numbers
    model["merges"] = merges
    return tokenizer


TEXT = "Don't  stop 12345!\r\n\tThe \u0141\u00f3d\u017a caf\u0065\u0301 \u4f60\u597d\U0001f600 <|im_end|></s><\uff5cUser\uff5c> it's"


def write_tokenizers(out):
    for folder in sorted((DATA / "tokenizers").iterdir()):
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        cut = cut_vocabulary(tokenizer, 12)
        (out / "tokenizer" / f"family-{folder.name}").write_bytes(compact(cut).encode() + b"\0" + TEXT.encode())


def write_templates(out):
    for path in sorted((DATA / "chat").glob("*.jinja")):
        (out / "template" / f"family-{path.stem}").write_bytes(path.read_bytes())
    chatml = (DATA / "chat" / "one_line.jinja").read_text()
    for name, template in (("string", chatml), ("list", [{"name": "default", "template": "{{ bos_token }}"},
                                                         {"name": "tool_use", "template": chatml}])):
        config = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "unk_token": None,
                  "additional_special_tokens": ["<x>"], "chat_template": template}
        (out / "template" / f"family-config-{name}").write_bytes(b"\0" + compact(config).encode())


def main():
    out = pathlib.Path(sys.argv[1])
    for name in ("config", "safetensors", "tokenizer", "template"):
        (out / name).mkdir(parents=True, exist_ok=True)
    write_checkpoints(out)
    write_tokenizers(out)
    write_templates(out)


main()
