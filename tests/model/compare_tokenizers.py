#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""compare_tokenizers.py - our tokenizer against Hugging Face's on random strings

usage: compare_tokenizers.py [--strings N] [--seed S] [--only WORD] BUILD       needs the PyPI packages tokenizers and tiktoken

Each tokenizer gets N strings made from the seed (default 100000), and N lists of random ids. Ids with and without special
tokens, and decoded text with and without them, must be equal. The tokenizers are those of tests/data, then a tiktoken.model
with Kimi-K2's pattern against the package tiktoken, then the variants of tokenizer_variants.py, each of which must give the
same or be refused with the JSON path, as said there.

The two sides are built with different versions of Unicode. So first every code point goes through each class that patterns
ask for, and through NFC; the code points on which they disagree are listed. A string with a difference must agree once its
listed code points are replaced by 'x'; then it is counted as explained. Anything else is printed in full. Exit 1 if there was any.
"""
import argparse
import base64
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unicodedata

import tiktoken
import tokenizers
from tokenizers import Tokenizer

import random_strings
import tokenizer_variants

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), '..', '..')
FORMS = ['demo'] + ['tokenizers/%s_style' % s for s in ('qwen', 'neox', 'o200k', 'deepseek', 'mixtral')]
PROPERTIES = ['\\p{%s}' % p for p in ('L', 'Lu', 'Ll', 'Lt', 'Lm', 'Lo', 'M', 'N', 'Nd', 'P', 'S', 'Han')] + ['\\s', '\\w', '[\\w]', '\\p{Alpha}', '\\p{Lowercase}']
SHOWN = 5  # differences of a tokenizer printed in full

# ---- our side ----


class Ours:
    """The driver, tests/model/tokenize.c, on a folder with a tokenizer."""

    def __init__(self, build, folder):
        self.command = [os.path.join(build, 'tests/model/tokenize'), folder]

    def ask(self, requests):
        """Why the tokenizer was refused (empty: it was not), and the answers."""
        with tempfile.TemporaryFile() as file:
            for kind, data in requests:
                file.write(kind + struct.pack('=I', len(data)) + data)
            file.seek(0)
            out = subprocess.run(self.command, stdin=file, stdout=subprocess.PIPE, check=True).stdout
        answers, at = [], 0
        while at < len(out):
            n = struct.unpack_from('=I', out, at)[0]
            answers.append(out[at + 4:at + 4 + n])
            at += 4 + n
        return answers[0].decode(), answers[1:]

    def texts(self, texts):
        """(ids, ids without special tokens, decoded, decoded without special tokens) of each text."""
        why, answers = self.ask([(b't', t.encode()) for t in texts])
        if why:
            return why, []
        unpack = lambda b: list(struct.unpack('=%di' % (len(b) // 4), b))
        return '', [(unpack(a), unpack(b), c.decode(), d.decode()) for a, b, c, d in zip(*[iter(answers)] * 4)]

    def ids(self, lists):
        """(decoded, decoded without special tokens) of each list of ids."""
        why, answers = self.ask([(b'i', struct.pack('=%di' % len(ids), *ids)) for ids in lists])
        return why, [(a.decode(), b.decode()) for a, b in zip(*[iter(answers)] * 2)]


# ---- the reference ----


class Reference:
    def __init__(self, folder):
        self.tok = Tokenizer.from_file(os.path.join(folder, 'tokenizer.json'))
        self.tok.no_padding()
        self.tok.no_truncation()

    def texts(self, texts):
        ids = [e.ids for e in self.tok.encode_batch_fast(texts, add_special_tokens=True)]
        plain = [e.ids for e in self.tok.encode_batch_fast(texts, add_special_tokens=False)]
        return [(a, b, c, d) for a, b, (c, d) in zip(ids, plain, self.ids(ids))]

    def ids(self, lists):
        return list(zip(self.tok.decode_batch(lists, skip_special_tokens=False),
                        self.tok.decode_batch(lists, skip_special_tokens=True)))


class Tiktoken:
    """A folder with tiktoken.model and tokenizer_config.json, read as Kimi-K2's Python code does."""

    def __init__(self, folder):
        lines = [line.split() for line in open(os.path.join(folder, 'tiktoken.model'))]
        ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
        added = json.load(open(os.path.join(folder, 'tokenizer_config.json')))['added_tokens_decoder']
        contents = {i: added.get(str(i), {}).get('content', '<|reserved_token_%d|>' % i) for i in range(len(ranks), len(ranks) + 256)}
        self.n_ids = len(ranks) + 256
        self.special = {int(i) for i, token in added.items() if token['special']}
        self.tok = tiktoken.Encoding(name='kimi', pat_str=tokenizer_variants.KIMI, mergeable_ranks=ranks,
                                     special_tokens={content: i for i, content in contents.items()})

    def texts(self, texts):
        ids = self.tok.encode_batch(texts, allowed_special='all')
        return [(a, a, c, d) for a, (c, d) in zip(ids, self.ids(ids))]

    def ids(self, lists):
        return [(self.tok.decode(ids), self.tok.decode([i for i in ids if i not in self.special])) for ids in lists]


# ---- random ids ----


def id_lists(folder, n, seed):
    """Random ids. Of the tokens <0xNN> only whole characters: a run of them that is not UTF-8 is decoded differently on
    purpose (src/model/detokenizer.c)."""
    root, r = json.load(open(os.path.join(folder, 'tokenizer.json'))), random.Random(seed)
    vocab = dict(root['model']['vocab']) | {t['content']: t['id'] for t in root['added_tokens']}
    fallback = 'ByteFallback' in json.dumps(root['decoder'])
    is_byte = lambda t: fallback and len(t) == 6 and t.startswith('<0x') and t.endswith('>')
    units = [[i] for t, i in sorted(vocab.items(), key=lambda v: v[1]) if not is_byte(t)]
    for c in 'a \n\xe9\u4f60\U0001f600\ufffd\xdf':
        names = ['<0x%02X>' % b for b in c.encode()]
        if fallback and all(name in vocab for name in names):
            units += [[vocab[name] for name in names]] * 40
    return [[i for _ in range(r.randrange(20)) for i in r.choice(units)] for _ in range(n)]


# ---- comparing ----


def show(name, what, given, ours, reference):
    print('%s: %s differs\n  given     %s\n  ours      %s\n  reference %s' % (name, what, ascii(given), ascii(ours), ascii(reference)))
    if isinstance(given, str) and len(given) <= 40:
        print('  code points ' + ', '.join('U+%04X %s' % (ord(c), unicodedata.name(c, '?')) for c in given))


WHAT = 'ids with special tokens', 'ids', 'decoded text', 'decoded text without special tokens'


def shrink(text, differs):
    """Leave out what the difference does not need, at most 400 tries."""
    tries, step = 400, max(len(text) // 2, 1)
    while step:
        at, shorter = 0, False
        while at < len(text) and tries:
            tries -= 1
            candidate = text[:at] + text[at + step:]
            if differs(candidate):
                text, shorter = candidate, True
            else:
                at += step
        if not tries:
            break
        step = step if shorter and step == 1 else step // 2
    return text


def compare(name, ours, reference, texts, lists, listed):
    """Print the differences. Returns how many there are that the listed code points do not explain, and a count of the others."""
    why, mine = ours.texts(texts)
    if why:
        print('%s: refused: %s' % (name, why))
        return len(texts), 0
    theirs = reference.texts(texts)
    bad = [t for t, a, b in zip(texts, mine, theirs) if a != b]
    replaced = [''.join('x' if ord(c) in listed else c for c in t) for t in bad]
    again = list(zip(bad, replaced, ours.texts(replaced)[1], reference.texts(replaced)))
    open_cases = [t for t, r, a, b in again if a != b or t == r]
    for text in open_cases[:SHOWN]:
        text = shrink(text, lambda t: ours.texts([t])[1] != reference.texts([t]))
        a, b = ours.texts([text])[1][0], reference.texts([text])[0]
        which = next(i for i in range(4) if a[i] != b[i])
        show(name, WHAT[which], text if which < 2 else b[0], a[which], b[which])
    n_ids = 0
    for ids, a, b in zip(lists, ours.ids(lists)[1], reference.ids(lists)):
        if a != b:
            n_ids += 1
            if n_ids <= SHOWN:
                which = int(a[0] == b[0])
                show(name, WHAT[2 + which], ids, a[which], b[which])
    return len(open_cases) + n_ids, len(bad) - len(open_cases)


# ---- versions of Unicode ----

PROBE_BYTES = tokenizer_variants.byte_vocab()


def probe(build, normalizer, pre_tokenizer, texts):
    """What both sides make of texts when every token is a byte: the text after normalizer and pre-tokenizer."""
    root = tokenizer_variants.root(PROBE_BYTES, [], normalizer, pre_tokenizer, tokenizer_variants.byte_level())
    with tempfile.TemporaryDirectory() as folder:
        json.dump(root, open(os.path.join(folder, 'tokenizer.json'), 'w'))
        why, ours = Ours(build, folder).texts(texts)
        if why:
            sys.exit(why)
        return [a[2] for a in ours], [a[2] for a in Reference(folder).texts(texts)]


def blocks(make, size=4096):
    points = [c for c in range(1, 0x110000) if not 0xd800 <= c < 0xe000 and c != 10]
    return [make(points[i:i + size]) for i in range(0, len(points), size)]


def ranges(points):
    out, points = [], sorted(points)
    for c in points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return ' '.join('%04X' % a if a == b else '%04X-%04X' % (a, b) for a, b in out)


def unicode_differences(build):
    """The code points on which the two sides disagree, printed and returned."""
    listed = set()
    for pattern in PROPERTIES:
        split = {'type': 'Split', 'pattern': {'Regex': pattern}, 'behavior': 'Removed', 'invert': True}
        stages = {'type': 'Sequence', 'pretokenizers': [split, tokenizer_variants.byte_level()]}
        ours, theirs = probe(build, None, stages, blocks(lambda points: ''.join(map(chr, points))))
        more, fewer = set(''.join(ours)) - set(''.join(theirs)), set(''.join(theirs)) - set(''.join(ours))
        if more or fewer:
            print('%s: only ours has %d code points: %s' % (pattern, len(more), ranges(map(ord, more)) or '-'))
            print('%s: only the reference has %d: %s' % (pattern, len(fewer), ranges(map(ord, fewer)) or '-'))
        listed |= set(map(ord, more | fewer))
    nfc = set()
    for form in '%s', 'a%s', 'q\u0345%s', 'q%s\u0334':
        lines = blocks(lambda points: '\n'.join(form % chr(c) for c in points))
        given = [line for text in lines for line in text.split('\n')]
        ours, theirs = ([line for text in side for line in text.split('\n')] for side in
                        probe(build, {'type': 'NFC'}, tokenizer_variants.byte_level(), lines))
        nfc |= {max(map(ord, g.replace('\u0345', '').replace('\u0334', '') if len(g) > 1 else g))
                for g, a, b in zip(given, ours, theirs) if a != b}
    if nfc:
        print('NFC: differs for %d code points: %s' % (len(nfc), ranges(nfc)))
    return listed | nfc


# ---- all of it ----


def run_form(args, name, folder, listed):
    root = json.load(open(os.path.join(folder, 'tokenizer.json')))
    strings = random_strings.Strings('%s/%s' % (args.seed, name), [t['content'] for t in root['added_tokens'] if t['content']], listed)
    texts = [strings.text() for _ in range(args.strings)]
    bad, explained = compare(name, Ours(args.build, folder), Reference(folder), texts,
                             id_lists(folder, args.strings, args.seed), listed)
    print('%s: %d strings of %d code points: %d differ, %d more by the version of Unicode' %
          (name, len(texts), sum(map(len, texts)), bad, explained), flush=True)
    return bad


def run_tiktoken(args, listed):
    folder = tempfile.mkdtemp()
    try:
        special = tokenizer_variants.write_tiktoken(os.path.join(TOP, 'tests/data/tokenizers'), folder)
        strings, reference = random_strings.Strings(args.seed, special, listed), Tiktoken(folder)
        texts = [strings.text() for _ in range(args.strings)]
        lists = [[strings.r.randrange(reference.n_ids) for _ in range(strings.r.randrange(20))] for _ in range(args.strings)]
        bad, explained = compare('tiktoken', Ours(args.build, folder), reference, texts, lists, listed)
        print('tiktoken: %d strings of %d code points: %d differ, %d more by the version of Unicode' %
              (len(texts), sum(map(len, texts)), bad, explained), flush=True)
        return bad
    finally:
        shutil.rmtree(folder)


def run_variant(args, name, root, refusal, listed):
    """refusal: the JSON path that a refusal must name, '' for a variant that must be equal."""
    folder = tempfile.mkdtemp()
    try:
        json.dump(root, open(os.path.join(folder, 'tokenizer.json'), 'w'))
        if not refusal:
            return run_form(args, name, folder, listed)
        why = Ours(args.build, folder).texts([])[0]
        if 'tokenizer.json: ' + refusal in why:
            print('%s: refused, %s' % (name, why.split('tokenizer.json: ')[1]), flush=True)
            return 0
        print('%s: expected a refusal at %s, got "%s"' % (name, refusal, why), flush=True)
        return 1
    finally:
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('build')
    parser.add_argument('--strings', type=int, default=100000)
    parser.add_argument('--variant-strings', type=int, default=5000)
    parser.add_argument('--seed', default='1')
    parser.add_argument('--only', default='', help='tokenizers whose name has this in it')
    args = parser.parse_args()
    print('tokenizers %s, Python with Unicode %s' % (tokenizers.__version__, unicodedata.unidata_version))
    listed = unicode_differences(args.build)
    bad = 0
    for name in FORMS:
        if args.only in name:
            bad += run_form(args, name, os.path.join(TOP, 'tests/data', name), listed)
    if args.only in 'tiktoken':
        bad += run_tiktoken(args, listed)
    args.strings = args.variant_strings
    for name, root, refusal in tokenizer_variants.variants(os.path.join(TOP, 'tests/data/tokenizers')):
        if args.only in name:
            bad += run_variant(args, name, root, refusal, listed)
    sys.exit(bad > 0)


if __name__ == '__main__':
    main()
