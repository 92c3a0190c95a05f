/* SPDX-License-Identifier: Apache-2.0
 * tokenizer_random.c - whole tokenizers against the definition of what they do, on random strings
 *
 * The definition is written out here in the plainest way, from the JSON alone: every place is searched for added tokens,
 * PCRE2 interprets the pattern over the whole text, and tokens are joined by looking up their spelling. The tokenizer has
 * a cache, JIT, windows, cuts and a heap instead. It encodes every string twice, the second time from its cache, and once
 * more without JIT.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "model/bytelevel.h"
#include "model/pattern.h"
#include "model/pretokenizer_impl.h"
#include "model/tokenizer_impl.h"
#include "tap.h"
#include "testrand.h"

enum { N_TEXTS = 5000, TEXT_MAX = 400, SYMBOLS_MAX = 4096, CODES_MAX = 4 };

#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

static struct sy_error err = SY_ERROR_INIT;

/* ---- the definition ---- */

struct definition {
    json_t *root, *ranks; /* of "left right" */
    const json_t *vocab, *added;
    pcre2_code *codes[CODES_MAX];
    int n_codes;
    bool nfc, by_char; /* by_char: spaces are U+2581, one is put in front, and there is no pre-tokenizer */
};

static void add_pattern(struct definition *d, const char *pattern)
{
    struct sy_buf text = SY_BUF_INIT;
    int code;
    size_t at;

    if (d->n_codes == CODES_MAX || sy_pattern_translate("pattern", pattern, strlen(pattern), &text, &err))
        bail("%s", err.text);
    d->codes[d->n_codes] = pcre2_compile(text.data, text.len, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code, &at,
                                         NULL);
    if (!d->codes[d->n_codes++])
        bail("a pattern does not compile");
    sy_buf_fini(&text);
}

static void read_stage(struct definition *d, const json_t *stage)
{
    const char *type = json_string_value(json_object_get(stage, "type"));
    size_t i;
    json_t *inner;

    if (!strcmp(type, "Sequence")) {
        json_array_foreach (json_object_get(stage, "pretokenizers"), i, inner)
            read_stage(d, inner);
    } else if (!strcmp(type, "Split")) {
        if (strcmp(json_string_value(json_object_get(stage, "behavior")), "Isolated"))
            bail("this test knows Isolated only");
        add_pattern(d, json_string_value(json_object_get(json_object_get(stage, "pattern"), "Regex")));
    } else if (json_is_true(json_object_get(stage, "use_regex"))) {
        add_pattern(d, GPT2);
    }
}

static void read_definition(struct definition *d, const char *path)
{
    char key[4096];
    size_t i;
    json_t *merge;

    *d = (struct definition){.root = json_load_file(path, 0, NULL), .ranks = json_object()};
    const json_t *model = json_object_get(d->root, "model"), *normalizer = json_object_get(d->root, "normalizer");
    const json_t *pre = json_object_get(d->root, "pre_tokenizer");
    if (!model)
        bail("%s: cannot be read", path);
    d->vocab = json_object_get(model, "vocab");
    d->added = json_object_get(d->root, "added_tokens");
    d->nfc = normalizer && !json_is_null(normalizer) &&
             !strcmp(json_string_value(json_object_get(normalizer, "type")), "NFC");
    d->by_char = json_is_null(pre);
    if (!d->by_char)
        read_stage(d, pre);
    json_array_foreach (json_object_get(model, "merges"), i, merge) {
        snprintf(key, sizeof key, "%s %s", json_string_value(json_array_get(merge, 0)),
                 json_string_value(json_array_get(merge, 1)));
        json_object_set_new(d->ranks, key, json_integer((json_int_t)i));
    }
}

static void free_definition(struct definition *d)
{
    for (int i = 0; i < d->n_codes; i++)
        pcre2_code_free(d->codes[i]);
    json_decref(d->ranks);
    json_decref(d->root);
}

static void put_id(const struct definition *d, const char *token, size_t len, struct sy_buf *out)
{
    const json_t *id = json_object_getn(d->vocab, token, len);

    if (!id)
        bail("\"%.*s\" is not in the vocabulary", (int)len, token);
    sy_buf_append(out, &(int32_t){(int32_t)json_integer_value(id)}, sizeof(int32_t));
}

/* The pair with the lowest rank is joined, the leftmost first. Symbols lie one after another in text: begin[i] to
 * begin[i + 1] - 1. */
static void merge(const struct definition *d, const char *text, size_t *begin, size_t n, struct sy_buf *out)
{
    for (;;) {
        json_int_t best = -1;
        size_t at = 0;
        for (size_t i = 0; i + 2 <= n; i++) {
            char key[2 * SYMBOLS_MAX];
            int len = snprintf(key, sizeof key, "%.*s %.*s", (int)(begin[i + 1] - begin[i]), text + begin[i],
                               (int)(begin[i + 2] - begin[i + 1]), text + begin[i + 1]);
            const json_t *rank = json_object_getn(d->ranks, key, (size_t)len);
            if (rank && (best < 0 || json_integer_value(rank) < best)) {
                best = json_integer_value(rank);
                at = i;
            }
        }
        if (best < 0)
            break;
        memmove(begin + at + 1, begin + at + 2, (n - at - 1) * sizeof *begin);
        n--;
    }
    for (size_t i = 0; i < n; i++)
        put_id(d, text + begin[i], begin[i + 1] - begin[i], out);
}

static void encode_piece(const struct definition *d, const uint8_t *piece, size_t len, struct sy_buf *out)
{
    static size_t begin[SYMBOLS_MAX + 1];
    char text[12 * SYMBOLS_MAX];
    size_t at = 0, n = 0;

    for (size_t i = 0, k; i < len; i += k) {
        uint32_t c;
        k = d->by_char ? (size_t)sy_utf8_get(piece + i, &c) : 1;
        if (n + 4 >= SYMBOLS_MAX)
            bail("a text is too long for this test");
        if (d->by_char && !json_object_getn(d->vocab, (const char *)piece + i, k)) {
            for (size_t b = 0; b < k; b++) {
                begin[n++] = at;
                at += (size_t)snprintf(text + at, 8, "<0x%02X>", piece[i + b]);
            }
            continue;
        }
        begin[n++] = at;
        if (d->by_char) {
            memcpy(text + at, piece + i, k);
            at += k;
        } else {
            at += (size_t)sy_utf8_put(sy_bytelevel_char(piece[i]), (uint8_t *)text + at);
        }
    }
    begin[n] = at;
    merge(d, text, begin, n, out);
}

/* Matches and what is between them are pieces for the next pattern. */
static void cut(const struct definition *d, int stage, const uint8_t *text, size_t len, struct sy_buf *out)
{
    if (!len)
        return;
    if (stage == d->n_codes) {
        encode_piece(d, text, len, out);
        return;
    }
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    const size_t *at = pcre2_get_ovector_pointer(match);
    size_t done = 0;
    while (pcre2_match(d->codes[stage], text, len, done, PCRE2_NO_JIT, match, NULL) > 0 && at[1] > done) {
        size_t begin = at[0], end = at[1];
        cut(d, stage + 1, text + done, begin - done, out);
        cut(d, stage + 1, text + begin, end - begin, out);
        done = end;
    }
    cut(d, stage + 1, text + done, len - done, out);
    pcre2_match_data_free(match);
}

static void encode_text(const struct definition *d, const uint8_t *text, size_t len, struct sy_buf *out)
{
    struct sy_buf normal = SY_BUF_INIT;
    utf8proc_uint8_t *composed = NULL;

    if (!len)
        return;
    if (d->nfc) {
        utf8proc_ssize_t n = utf8proc_map(text, (utf8proc_ssize_t)len, &composed, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        sy_buf_append(&normal, composed, (size_t)n);
    } else if (d->by_char) {
        sy_buf_append(&normal, "\xe2\x96\x81", 3);
        for (size_t i = 0; i < len; i++)
            sy_buf_append(&normal, text[i] == ' ' ? "\xe2\x96\x81" : (const char *)text + i, text[i] == ' ' ? 3 : 1);
    } else {
        sy_buf_append(&normal, text, len);
    }
    cut(d, 0, normal.data, normal.len, out);
    free(composed);
    sy_buf_fini(&normal);
}

static void encode(const struct definition *d, const char *text, size_t len, struct sy_buf *out)
{
    size_t done = 0;

    for (size_t at = 0; at < len;) {
        const json_t *longest = NULL, *token;
        size_t i;
        json_array_foreach (d->added, i, token) {
            const json_t *content = json_object_get(token, "content");
            size_t n = json_string_length(content);
            if (n <= len - at && !memcmp(text + at, json_string_value(content), n) &&
                (!longest || n > json_string_length(json_object_get(longest, "content"))))
                longest = token;
        }
        if (!longest) {
            at++;
            continue;
        }
        encode_text(d, (const uint8_t *)text + done, at - done, out);
        sy_buf_append(out, &(int32_t){(int32_t)json_integer_value(json_object_get(longest, "id"))}, sizeof(int32_t));
        done = at += json_string_length(json_object_get(longest, "content"));
    }
    encode_text(d, (const uint8_t *)text + done, len - done, out);
}

/* ---- random strings ---- */

static size_t random_char(struct testrand *rand, uint32_t low, uint32_t high, char *out)
{
    uint32_t c = low + (uint32_t)(testrand_next(rand) % (high - low + 1));

    /* Not U+11A7: after a Hangul syllable some versions of utf8proc drop it. */
    if ((c >= 0xd800 && c < 0xe000) || c == 0x11a7)
        c = 'x';
    return (size_t)sy_utf8_put(c, (uint8_t *)out);
}

/* Append one of the things that tokenizers stumble over, of at most 100 bytes. */
static size_t random_part(struct testrand *rand, const struct definition *d, char *out)
{
    static const char *const PARTS[] = {
        " ", "  ", "\n", "\r\n", " \n ", "\t", "\xc2\xa0", "\xe3\x80\x80", "\xe2\x80\xa8", "\xc2\x85",
        /* U+180E, which is no white space any more; contractions, with U+017F for s; joiners and variation selectors. */
        "\xe1\xa0\x8e", "'s", "'LL", "'\xc5\xbf", "'ve", "n't", "\xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd",
        "\xf0\x9f\x91\xa8\xe2\x80\x8d\xf0\x9f\x91\xa9", "\xf0\x9f\x87\xa9\xf0\x9f\x87\xaa", "1\xef\xb8\x8f\xe2\x83\xa3",
        "e\xcc\x81", "o\xcc\x82\xcc\xa3", "\xe1\x84\x80\xe1\x85\xa1", "\xe4\xbd\xa0\xe5\xa5\xbd",
        "\xe3\x82\xab\xe3\x82\x99", " the", " and", "return", "word", "WORD", "Word", " 12", "1234567", "!=", " ->",
        "/*", "0x1F", "...", "_a"};
    static const uint32_t RANGES[][2] = {
        {0x20, 0x7e},     {0, 0x2ff},       {0x300, 0x36f},     {0x370, 0x1fff},    {0x2000, 0x2fff},
        {0x3000, 0xffff}, {0xac00, 0xd7a3}, {0x10000, 0x1ffff}, {0x1f300, 0x1f6ff}, {0, 0x10ffff},
    };
    size_t n = 0, repeat = testrand_next(rand) % 6 ? 1 : 1 + testrand_next(rand) % 20;

    switch (testrand_next(rand) % 5) {
    case 0: { /* a token, or a piece of one */
        const json_t *token = json_array_get(d->added, testrand_next(rand) % json_array_size(d->added));
        const json_t *content = json_object_get(token, "content");
        const char *text = json_string_value(content);
        size_t len = testrand_next(rand) % 3 ? json_string_length(content) : 1;
        memcpy(out, text, len);
        return len;
    }
    case 1: { /* a run of one range */
        const uint32_t *range = RANGES[testrand_next(rand) % (sizeof RANGES / sizeof *RANGES)];
        for (; repeat-- > 0;)
            n += random_char(rand, range[0], range[1], out + n);
        return n;
    }
    case 2: /* a word, which may be too long for the cache, and for a search of its pairs */
        for (size_t len = 1 + testrand_next(rand) % 100; n < len; n++)
            out[n] = "etaoinsrhld"[testrand_next(rand) % 11];
        return n;
    default: {
        const char *part = PARTS[testrand_next(rand) % (sizeof PARTS / sizeof *PARTS)];
        for (; repeat-- > 0 && n + strlen(part) <= 100; n += strlen(part))
            memcpy(out + n, part, strlen(part));
        return n;
    }
    }
}

static size_t random_text(struct testrand *rand, const struct definition *d, char text[TEXT_MAX])
{
    size_t len = 0, parts = 1 + testrand_next(rand) % 16;

    while (parts-- > 0 && len + 100 <= TEXT_MAX)
        len += random_part(rand, d, text + len);
    return len;
}

/* ---- the check ---- */

static struct sy_tokenizer *open_tokenizer(const char *dir)
{
    struct sy_tokenizer *tok = NULL;

    if (sy_tokenizer_open(dir, &tok, &err) || !tok)
        bail("%s: %s", dir, err.text);
    return tok;
}

static bool encodes_to(const struct sy_tokenizer *tok, const char *text, size_t len, const struct sy_buf *expected)
{
    static struct sy_buf out;

    out.len = 0;
    if (sy_tokenizer_encode(tok, text, len, false, &out, &err))
        bail("%s", err.text);
    return out.len == expected->len && (!out.len || !memcmp(out.data, expected->data, out.len));
}

static void check(const char *name, struct testrand *rand)
{
    const char *top = getenv("SY_SRCDIR");
    char dir[4096], path[4200], text[TEXT_MAX];
    struct definition d;
    struct sy_buf ids = SY_BUF_INIT;
    int n_bad = 0, n_bad_cached = 0, n_bad_plain = 0;

    snprintf(dir, sizeof dir, "%s/tests/data/%s", top ? top : ".", name);
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    read_definition(&d, path);
    struct sy_tokenizer *tok = open_tokenizer(dir), *plain = open_tokenizer(dir);
    for (int s = 0; s < plain->pretokenizer->n_stages; s++)
        plain->pretokenizer->stages[s].jit = false;
    for (int i = 0; i < N_TEXTS; i++) {
        size_t len = random_text(rand, &d, text);
        ids.len = 0;
        encode(&d, text, len, &ids);
        bool same = encodes_to(tok, text, len, &ids);
        if (!same && n_bad < 3)
            diag("differs: \"%.*s\"", (int)len, text);
        n_bad += !same;
        n_bad_cached += !encodes_to(tok, text, len, &ids);
        n_bad_plain += !encodes_to(plain, text, len, &ids);
    }
    ok(!n_bad && !n_bad_cached, "%s: %d random texts have the ids of the definition, twice", name, N_TEXTS);
    ok(!n_bad_plain, "%s: and without JIT", name);
    sy_buf_fini(&ids);
    sy_tokenizer_close(tok);
    sy_tokenizer_close(plain);
    free_definition(&d);
}

int main(void)
{
    static const char *const NAMES[] = {"demo", "tokenizers/neox_style", "tokenizers/o200k_style",
                                        "tokenizers/deepseek_style", "tokenizers/mixtral_style"};
    struct testrand rand = testrand_begin();

    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        check(NAMES[i], &rand);
    done();
    return tap_exit();
}
