# SPDX-License-Identifier: Apache-2.0
"""random_strings.py - strings of what tokenizers stumble over, for compare_tokenizers.py"""
import random
import unicodedata


class Strings:
    """Strings of what tokenizers stumble over, from a seed."""
    SPACES = [' ', '  ', '   ', '\n', '\r\n', '\r', '\t', '\n\n ', ' \n', '\x0b', '\x0c', '\x85', '\xa0', '\u1680', '\u180e',
              '\u2000', '\u2007', '\u2009', '\u200b', '\u2028', '\u2029', '\u202f', '\u205f', '\u3000', '\ufeff', '\x1c', '\x1f']
    EMOJI = ['\U0001f600', '\U0001f44d\U0001f3fd', '\U0001f468\u200d\U0001f469\u200d\U0001f467', '\U0001f1e9\U0001f1ea',
             '\u2728', '\u2764\ufe0f', '1\ufe0f\u20e3', '\U0001f3f4\U000e0067\U000e0062\U000e007f', '\u200d', '\ufe0f']
    SHORT = ["'s", "'S", "'t", "'re", "'LL", "'\u017f", "'d", "'m", "'VE", '\u2019s', "n't", "'\u017f\u212a"]
    COMPOSED = ['\u00c5ngstr\u00f6m', 'na\u00efve', 'Vi\u1ec7t Nam', '\ud55c\uad6d\uc5b4', '\ufb01n', '\uac01', '\u3071\u3070\u304c',
                '\u1f70\u0313', '\u1e9b\u0323', '\u0344', '\u0958', '\u2126', '\uf900', '\U0001d15e', '\u0340']
    MARKS = [0x300, 0x301, 0x308, 0x316, 0x327, 0x334, 0x345, 0x3099, 0x94d, 0x200c, 0x200d, 0x20dd, 0x1161, 0x11a8, 0x11a7, 0x5b0]
    WORDS = 'the and of to in return import const World HTTPServer fooBar _x __init__ 0x1F 3.14 I\'m don\'t Über straße'.split()

    def __init__(self, seed, special, listed):
        self.r = random.Random(seed)
        self.listed = [chr(c) for c in sorted(listed)] or ['x']
        self.special = special or ['<|none|>']
        self.by_category = {}
        for c in range(0x110000):
            if not 0xd800 <= c < 0xe000:
                self.by_category.setdefault(unicodedata.category(chr(c)), []).append(chr(c))
        self.categories = sorted(self.by_category)
        self.numbers = [c for k in ('Nd', 'Nl', 'No') for c in self.by_category[k]]
        self.parts = [self.any_char, self.any_char, self.special_token, self.half_token, self.near_token, self.emoji, self.marks,
                      self.space, self.spaces, self.number, self.digits, self.short, self.cjk, self.composed, self.punctuation,
                      self.letters, self.word, self.words, self.run, self.long_word]
        self.disputed = [self.listed_char, self.listed_char, self.word, self.space, self.digits, self.marks, self.punctuation]

    def any_char(self):
        return self.r.choice(self.by_category[self.r.choice(self.categories)])

    def special_token(self):
        return self.r.choice(self.special)

    def half_token(self):
        token = self.r.choice(self.special)
        at = self.r.randrange(len(token) + 1)
        return token[at:] if self.r.random() < .5 else token[:at]

    def near_token(self):
        before, after = (self.r.choice(['', ' ', '\n', 'a', '_', '\u3000\t', '\xa0', '\u0301']) for _ in range(2))
        return before + self.r.choice(self.special) + after

    def emoji(self):
        return self.r.choice(self.EMOJI)

    def marks(self):
        return self.r.choice('aeiouEnN\xe4\u1ea1\u1112\u304b') + ''.join(chr(self.r.choice(self.MARKS)) for _ in range(self.r.randrange(5)))

    def space(self):
        return self.r.choice(self.SPACES)

    def spaces(self):
        return ''.join(self.r.choice(self.SPACES[:8]) for _ in range(self.r.randrange(8)))

    def number(self):
        return ''.join(self.r.choice(self.numbers) for _ in range(self.r.randrange(1, 6)))

    def digits(self):
        return str(self.r.randrange(10 ** self.r.randrange(1, 12)))

    def short(self):
        return self.r.choice(self.SHORT)

    def cjk(self):
        ranges = (0x4e00, 0x9fff), (0x3040, 0x30ff), (0x3000, 0x303f), (0xac00, 0xd7a3), (0xff00, 0xffef), (0x20000, 0x2a6df)
        return ''.join(chr(self.r.randint(*self.r.choice(ranges))) for _ in range(self.r.randrange(1, 7)))

    def composed(self):
        return unicodedata.normalize(self.r.choice(['NFD', 'NFC', 'NFKD']), self.r.choice(self.COMPOSED))

    def punctuation(self):
        return ''.join(self.r.choice('!@#$%^&*()_+-=[]{}|;:,./<>?`~"\\') for _ in range(self.r.randrange(1, 7)))

    def letters(self):
        kinds = ['Lu', 'Ll', 'Lt', 'Lm', 'Lo', 'Mn', 'Mc', 'Me', 'Nd', 'Nl', 'No']
        return ''.join(self.r.choice(self.by_category[self.r.choice(kinds)]) for _ in range(self.r.randrange(1, 9)))

    def word(self):
        return ''.join(self.r.choice('etaoinshrdluETAOIN') for _ in range(self.r.randrange(1, 20)))

    def words(self):
        return ' '.join(self.r.choice(self.WORDS) for _ in range(self.r.randrange(1, 6)))

    def run(self):
        return self.r.choice([self.any_char, self.space, self.emoji, self.special_token, self.word])() * self.r.randrange(1, 30)

    def long_word(self):
        if self.r.random() < .9:
            return self.word()
        alphabet = self.r.choice(['a', 'ab', 'etaoinshrdlu', '\u4e00\u4e8c', '0123456789', '=-', '\u0301a'])
        return ''.join(self.r.choice(alphabet) for _ in range(self.r.randrange(100, 3000)))

    def listed_char(self):
        return self.r.choice(self.listed)

    def text(self):
        """One in sixteen has code points on which the two sides disagree."""
        parts = self.disputed if self.r.random() < 1 / 16 else self.parts
        return ''.join(self.r.choice(parts)() for _ in range(self.r.randrange(13)))
