# SPDX-License-Identifier: Apache-2.0
"""tokenizer_variants.py - forms of tokenizer.json for compare_tokenizers.py, made from those of tests/data/tokenizers

A variant is a name, the JSON, and the JSON path at which it must be refused, or '' where ids and text must be equal. What the
published families use must be equal: their patterns are here as they publish them.
"""
import base64
import copy
import json
import os

# Of families whose form is not in tests/data/tokenizers.
PATTERNS = {
    'glm': r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    'qwen3.5': r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    'llama4': r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
              r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
              r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    'tekken': r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|"
              r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|"
              r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    'ling': r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
}
# What the reference's engine reads in another way than PCRE2, and we do not rewrite.
REFUSED_PATTERNS = ['\\p{N}{1,3}+', '[\\p{L}&&[^\\p{Han}]]+', '[a[bc]]', 'a(?i)b|c', '\\X', '\\R', '(?~ab)', '[\\W]', '\\Ka', '(?<a>b)\\g<a>', '\\Ga', '\\x',
                    '(?i:ss)', '(?i:\u00df)', '(?i:\\p{L})']
# Of Kimi-K2's Python code, for tiktoken; ours is written without intersections.
KIMI = '|'.join([
    r"[\p{Han}]+",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
# DeepSeek-V2, six steps; the letters of its second are cut short here.
DEEPSEEK_V2 = ['[\r\n]', '\\s?[A-Za-z\xb5\xc0-\xd6\xd8-\xf6\xf8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0370-\u0373\u0400-\u0481\U00010400-\U0001044f]+',
               '\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+', '\\s+$', '[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+']


def byte_vocab():
    """The 256 bytes in the alphabet of ByteLevel, byte b with the id b."""
    plain = [*range(0x21, 0x7f), *range(0xa1, 0xad), *range(0xae, 0x100)]
    others = iter(range(0x100, 0x200))
    return {chr(b if b in plain else next(others)): b for b in range(256)}


def byte_level(prefix=False, regex=False):
    return {'type': 'ByteLevel', 'add_prefix_space': prefix, 'trim_offsets': True, 'use_regex': regex}


def root(vocab, merges, normalizer, pre_tokenizer, decoder, **model):
    model = {'type': 'BPE', 'dropout': None, 'unk_token': None, 'continuing_subword_prefix': None, 'end_of_word_suffix': None,
             'fuse_unk': False, 'byte_fallback': False, 'ignore_merges': False, 'vocab': vocab, 'merges': merges} | model
    return {'version': '1.0', 'truncation': None, 'padding': None, 'added_tokens': [], 'normalizer': normalizer,
            'pre_tokenizer': pre_tokenizer, 'post_processor': None, 'decoder': decoder, 'model': model}


def split(pattern, behavior='Isolated', invert=False, kind='Regex'):
    return {'type': 'Split', 'pattern': {kind: pattern}, 'behavior': behavior, 'invert': invert}


def sequence(key, *parts):
    return {'type': 'Sequence', key: list(parts)}


def stages(*parts):
    return sequence('pretokenizers', *parts, byte_level())


def replace(find, content, kind='String'):
    return {'type': 'Replace', 'pattern': {kind: find}, 'content': content}


def added(id, content, **flags):
    return {'id': id, 'content': content, 'single_word': False, 'lstrip': False, 'rstrip': False, 'normalized': False,
            'special': True} | flags


def special(name):
    return {'SpecialToken': {'id': name, 'type_id': 0}}


def template(single, **ids):
    return {'type': 'TemplateProcessing', 'single': single, 'pair': single + [{'Sequence': {'id': 'B', 'type_id': 0}}],
            'special_tokens': {name: {'id': name, 'ids': list, 'tokens': [name] * len(list)} for name, list in ids.items()}}


SEQUENCE_A = {'Sequence': {'id': 'A', 'type_id': 0}}
STRIP = {'type': 'Strip', 'content': ' ', 'start': 1, 'stop': 0}
UNDERLINE = '\u2581'


class Base:
    """A form of tests/data with parts put in their places: base(path=value) where path is a key of the root or of "model"."""

    def __init__(self, folder, style):
        self.json = json.load(open(os.path.join(folder, style, 'tokenizer.json')))

    def __call__(self, **parts):
        made = copy.deepcopy(self.json)
        for key, value in parts.items():
            (made if key in made else made['model'])[key] = value
        return made


def write_tiktoken(folder, out):
    """The vocabulary of a form as tiktoken.model, with tokens that can be joined in several ways. Returns the special tokens."""
    byte_of = byte_vocab()
    vocab = Base(folder, 'o200k_style').json['model']['vocab']
    tokens = [bytes(byte_of[c] for c in token) for token in sorted(vocab, key=vocab.get)]
    for extra in b'aaa', b'aaaaa', b'  ' * 9, 'Ab\u4e00'.encode(), '\u4e00\u4e8c\u4e00'.encode(), b'\n' * 5, b'ababa', b'012':
        if extra not in tokens:
            tokens.append(extra)
    with open(os.path.join(out, 'tiktoken.model'), 'w') as file:
        for rank, token in enumerate(tokens):
            file.write('%s %d\n' % (base64.b64encode(token).decode(), rank))
    names = {0: '[BOS]', 1: '[EOS]', 2: '<|im_end|>', 5: '<|im_user|>', 17: '<|tool_call_begin|>', 255: '[PAD]'}
    decoder = {str(len(tokens) + at): added(0, name, special='tool' not in name) for at, name in names.items()}
    for token in decoder.values():
        del token['id']
    config = {'auto_map': {'AutoTokenizer': ['tokenization_kimi.TikTokenTokenizer', None]}, 'added_tokens_decoder': decoder}
    json.dump(config, open(os.path.join(out, 'tokenizer_config.json'), 'w'))
    return list(names.values()) + ['<|reserved_token_%d|>' % (len(tokens) + 3), '<|reserved_token_7|>']


def pre_tokenizers(base):
    for regex in False, True:
        for prefix in False, True:
            yield 'ByteLevel regex %d prefix %d' % (regex, prefix), base(pre_tokenizer=byte_level(prefix, regex)), ''
            both = sequence('pretokenizers', split('\\p{N}'), byte_level(prefix, regex))
            yield 'Split and ByteLevel regex %d prefix %d' % (regex, prefix), base(pre_tokenizer=both), ''
    for behavior in 'Removed', 'Isolated', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous':
        for invert in False, True:
            for kind, pattern in ('String', ' '), ('Regex', '\\s+'), ('Regex', '[aeiou]'), ('Regex', 'x*'), ('Regex', '$|^'):
                name = 'Split %s %s %s invert %d' % (kind, ascii(pattern), behavior, invert)
                yield name, base(pre_tokenizer=stages(split(pattern, behavior, invert, kind))), ''
    for individual in False, True:
        digits = {'type': 'Digits', 'individual_digits': individual}
        yield 'Digits individual %d' % individual, base(pre_tokenizer=stages(digits)), ''
        yield 'Digits individual %d, GPT-2' % individual, base(
            pre_tokenizer=sequence('pretokenizers', digits, byte_level(regex=True))), ''
    for name, pattern in PATTERNS.items():
        yield 'pattern ' + name, base(pre_tokenizer=stages(split(pattern))), ''
        yield 'pattern %s, Removed and inverted' % name, base(pre_tokenizer=stages(split(pattern, 'Removed', True))), ''
    v2 = [split(p) for p in DEEPSEEK_V2] + [{'type': 'Digits', 'individual_digits': True}]
    yield 'pattern deepseek-v2', base(pre_tokenizer=stages(*v2)), ''
    for pattern in REFUSED_PATTERNS:
        yield 'pattern ' + pattern, base(pre_tokenizer=stages(split(pattern))), 'pre_tokenizer.pretokenizers[0].pattern.Regex'
    yield 'no pre-tokenizer', base(pre_tokenizer=None), ''
    for kind in ({'type': 'Punctuation', 'behavior': 'Isolated'}, {'type': 'Whitespace'}, {'type': 'WhitespaceSplit'},
                 {'type': 'BertPreTokenizer'}, {'type': 'UnicodeScripts'}, {'type': 'CharDelimiterSplit', 'delimiter': 'a'}):
        yield kind['type'], base(pre_tokenizer=kind), 'pre_tokenizer.type'
        yield kind['type'] + ' in sequence', base(pre_tokenizer=stages(kind)), 'pre_tokenizer.pretokenizers[0].type'
    yield 'after ByteLevel', base(pre_tokenizer=stages(byte_level())), 'pre_tokenizer.pretokenizers[1]'


def metaspaces(base):
    for scheme in 'always', 'first', 'never':
        for is_split in True, False:
            metaspace = {'type': 'Metaspace', 'replacement': UNDERLINE, 'prepend_scheme': scheme, 'split': is_split}
            name = 'Metaspace %s split %d' % (scheme, is_split)
            yield name, base(normalizer=None, pre_tokenizer=metaspace), ''
            yield name + ', ignore_merges', base(normalizer=None, pre_tokenizer=metaspace, ignore_merges=True), ''
            yield name + ' after NFC', base(normalizer={'type': 'NFC'}, pre_tokenizer=metaspace), ''
    old = {'type': 'Metaspace', 'replacement': UNDERLINE, 'add_prefix_space': True}
    yield 'Metaspace of old files', base(normalizer=None, pre_tokenizer=old), ''
    yield 'Metaspace and a normalizer that prepends', base(pre_tokenizer=old | {'prepend_scheme': 'first'}), ''
    yield 'Metaspace by another character', base(
        normalizer=None, pre_tokenizer=old | {'replacement': 'e', 'prepend_scheme': 'first'}), ''
    yield 'Metaspace in sequence', base(normalizer=None, pre_tokenizer=sequence('pretokenizers', split('x'), old)), \
        'pre_tokenizer.pretokenizers[1]'


def normalizers(base, metaspace):
    nfc = {'type': 'NFC'}
    yield 'NFC and Replace', base(normalizer=sequence('normalizers', nfc, replace('a', 'bb'), replace('b', ''))), ''
    yield 'Replace then NFC', base(normalizer=sequence('normalizers', replace('a', 'e\u0301'), nfc)), ''
    yield 'empty sequence', base(normalizer=sequence('normalizers')), ''
    yield 'nested sequence', base(normalizer=sequence('normalizers', sequence('normalizers', nfc), replace('o', ' o'))), ''
    yield 'Replace and Prepend', metaspace(normalizer=sequence(
        'normalizers', replace(' ', UNDERLINE), {'type': 'Prepend', 'prepend': UNDERLINE})), ''
    yield 'Prepend of several', metaspace(normalizer=sequence(
        'normalizers', {'type': 'Prepend', 'prepend': 'a' + UNDERLINE}, replace(' ', UNDERLINE), nfc)), ''
    for kind in ({'type': 'NFD'}, {'type': 'NFKC'}, {'type': 'NFKD'}, {'type': 'Lowercase'}, {'type': 'StripAccents'}, {'type': 'Nmt'},
                 {'type': 'Strip', 'strip_left': True, 'strip_right': True}, {'type': 'ByteLevel'},
                 {'type': 'BertNormalizer', 'clean_text': True, 'handle_chinese_chars': True, 'strip_accents': None, 'lowercase': True}):
        yield kind['type'] + ' normalizer', base(normalizer=kind), 'normalizer.type'
        yield kind['type'] + ' normalizer in sequence', base(normalizer=sequence('normalizers', nfc, kind)), \
            'normalizer.normalizers[1].type'
    yield 'Replace by pattern', base(normalizer=replace('a+', 'b', 'Regex')), 'normalizer.pattern'


def models(base, metaspace):
    vocab = metaspace.json['model']['vocab']
    without = lambda names: {t: i for t, i in vocab.items() if t not in names}
    some = ['<0x%02X>' % b for b in (0x0a, 0x80, 0xe4, 0xf0, 0xff)]
    all_bytes = ['<0x%02X>' % b for b in range(256)]
    yield 'ignore_merges', base(ignore_merges=True), ''
    yield 'ignore_merges of characters', metaspace(ignore_merges=True), ''
    yield 'unk unfused, some bytes missing', metaspace(vocab=without(some), fuse_unk=False), ''
    yield 'unk fused, some bytes missing', metaspace(vocab=without(some), fuse_unk=True), ''
    yield 'no bytes, unk fused', metaspace(vocab=without(all_bytes), fuse_unk=True), ''
    yield 'no fallback, unk', metaspace(byte_fallback=False, fuse_unk=False), ''
    yield 'no fallback, unk fused', metaspace(byte_fallback=False, fuse_unk=True), ''
    yield 'no fallback, no unk', metaspace(byte_fallback=False, unk_token=None), ''
    yield 'fallback, no unk', metaspace(unk_token=None), ''
    yield 'fallback, no unk, some bytes missing', metaspace(unk_token=None, vocab=without(some)), ''
    yield 'dropout', base(dropout=0.1), 'model.dropout'
    yield 'prefix of subwords', base(continuing_subword_prefix='##'), 'model.continuing_subword_prefix'
    yield 'suffix of words', base(end_of_word_suffix='</w>'), 'model.end_of_word_suffix'


def tokens_of(base, *tokens):
    """Added tokens from (content, flags): those of the vocabulary keep their ids, the others follow it without a gap, because the
    reference numbers them itself."""
    vocab, out = base.json['model']['vocab'], []
    free = max(vocab.values()) + 1
    for content, flags in tokens:
        out.append(added(vocab.get(content, free), content, **flags))
        free += content not in vocab
    return out


def added_tokens(base, metaspace):
    kinds = {'lstrip': dict(lstrip=True), 'rstrip': dict(rstrip=True), 'both': dict(lstrip=True, rstrip=True),
             'single_word': dict(single_word=True), 'normalized': dict(normalized=True, special=False), 'plain': dict(special=False),
             'single_word lstrip': dict(single_word=True, lstrip=True)}
    for name, flags in (kinds | {'normalized special': dict(normalized=True)}).items():
        tokens = tokens_of(base, ('<|a|>', flags), ('<|ab|>', flags), ('the', flags), ('<|', {}), ('<6>', flags))
        yield 'added tokens ' + name, base(added_tokens=tokens), ''
        yield 'added tokens %s, GPT-2 with prefix' % name, base(added_tokens=tokens, pre_tokenizer=byte_level(True, True)), ''
    mixed = [('<%d>' % i, flags) for i, flags in enumerate(kinds.values())]
    yield 'added tokens mixed', base(added_tokens=tokens_of(base, *mixed)), ''
    text = dict(special=False)
    accents = tokens_of(base, ('e\u0301', text | {'normalized': True}), ('\u00c5', {}), ('\u0301', text), (' ', text),
                        ('\n\n', dict(rstrip=True)))
    yield 'added tokens with marks', base(added_tokens=accents), ''
    # A special token that is normalized is not among these: where the normalizer changes its spelling, the reference no longer
    # leaves it out of decoded text as a special token, and we do.
    known = [(t['content'], {}) for t in metaspace.json['added_tokens']]
    tokens = tokens_of(metaspace, *known, *mixed)
    spaced = tokens_of(metaspace, *known, *mixed, ('a b', text | {'normalized': True}))
    first = {'type': 'Metaspace', 'replacement': UNDERLINE, 'prepend_scheme': 'first', 'split': True}
    yield 'added tokens and Prepend', metaspace(added_tokens=tokens), ''
    yield 'added tokens with spaces and Prepend', metaspace(added_tokens=spaced), ''
    yield 'added tokens and Metaspace first', metaspace(added_tokens=tokens, normalizer=None, pre_tokenizer=first), ''
    yield 'added tokens and Metaspace first, no split', metaspace(
        added_tokens=spaced, normalizer=None, pre_tokenizer=first | {'split': False}), ''


def post_processors(base):
    tokens = [t['id'] for t in base.json['added_tokens']]
    several = template([special('x'), special('y'), SEQUENCE_A, special('y'), special('x')], x=tokens[:2], y=tokens[2:])
    level = {'type': 'ByteLevel', 'add_prefix_space': True, 'trim_offsets': False, 'use_regex': True}
    yield 'template of several', base(post_processor=several), ''
    yield 'ByteLevel and template', base(post_processor=sequence('processors', level, several)), ''
    yield 'ByteLevel after', base(post_processor=level), ''
    yield 'two templates', base(post_processor=sequence('processors', several, several)), 'post_processor.processors[1]'
    for kind in 'BertProcessing', 'RobertaProcessing':
        processor = {'type': kind, 'sep': ['a', 1], 'cls': ['b', 2], 'trim_offsets': True, 'add_prefix_space': True}
        yield kind, base(post_processor=processor), 'post_processor.type'


def decoders(base, metaspace):
    space, fallback, fuse = replace(UNDERLINE, ' '), {'type': 'ByteFallback'}, {'type': 'Fuse'}
    in_order = lambda *parts: metaspace(decoder=sequence('decoders', *parts))
    yield 'decoder of four', in_order(space, fallback, fuse, STRIP), ''
    yield 'decoder without Strip', in_order(space, fallback, fuse), ''
    yield 'decoder without Fuse', in_order(space, fallback), ''
    yield 'decoder strips 3', in_order(space, fallback, fuse, STRIP | {'start': 3}), ''
    yield 'decoder Replace of several', in_order(replace('th', ' x '), fallback, fuse, STRIP), ''
    yield 'decoder Fuse and Strip', in_order(fuse, STRIP), ''
    yield 'decoder Strip alone', in_order(space, STRIP), 'decoder.decoders[1]'
    yield 'decoder Strip at the end', in_order(fuse, STRIP | {'stop': 1}), 'decoder.decoders[1]'
    yield 'decoder Strip of a', in_order(fuse, STRIP | {'content': 'a'}), 'decoder.decoders[1].content'
    yield 'decoder in another order', in_order(fallback, space), 'decoder.decoders[1]'
    yield 'decoder replaces twice', in_order(space, replace('a', 'b')), 'decoder.decoders[1]'
    yield 'decoder Replace by pattern', in_order(replace('a+', 'b', 'Regex')), 'decoder.decoders[0].pattern'
    yield 'decoder ByteLevel of characters', metaspace(decoder=byte_level()), ''
    yield 'no decoder', base(decoder=None), 'decoder.type'
    for kind in ({'type': 'Metaspace', 'replacement': UNDERLINE, 'prepend_scheme': 'always', 'split': True},
                 {'type': 'WordPiece', 'prefix': '##', 'cleanup': True}, {'type': 'BPEDecoder', 'suffix': '</w>'},
                 {'type': 'CTC', 'pad_token': 'a', 'word_delimiter_token': '|', 'cleanup': True}):
        yield 'decoder ' + kind['type'], metaspace(decoder=kind), 'decoder.type'


def variants(folder):
    base, metaspace = Base(folder, 'qwen_style'), Base(folder, 'mixtral_style')
    yield from pre_tokenizers(base)
    yield from metaspaces(metaspace)
    yield from normalizers(base, metaspace)
    yield from models(base, metaspace)
    yield from added_tokens(base, metaspace)
    yield from post_processors(base)
    yield from decoders(base, metaspace)
