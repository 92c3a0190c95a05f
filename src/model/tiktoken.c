/* SPDX-License-Identifier: Apache-2.0
 * tiktoken.c - ranks and special tokens into the parts of a tokenizer
 *
 * tiktoken joins the neighbours whose joined bytes are the token of lowest rank, the leftmost first. So each way to cut a
 * token into two tokens is a merge, and all merges of one token have its rank.
 *
 * Where this differs on purpose: the Python code cuts a text every 400000 characters and runs of 25000 characters with
 * or without white space, because its library could not take longer ones; nothing is cut here.
 */
#include "model/tiktoken.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "model/tokenizer_impl.h"

#define N_SPECIAL       256
#define TOKEN_BYTES_MAX 1024              /* bounds the time to look for merges */
#define MERGES_MAX      ((size_t)4 << 20) /* published vocabularies have less than a tenth of it */

/* [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]] and [\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]], by what is not in them. */
#define UPPER       "[^\\p{Han}\\p{Ll}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}]"
#define LOWER       "[^\\p{Han}\\p{Lu}\\p{Lt}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}]"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

static const struct family {
    const char *code; /* what tokenizer_config.json names */
    const char *pattern;
} FAMILIES[] = {
    {"tokenization_kimi.TikTokenTokenizer", "[\\p{Han}]+"
                                            "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" CONTRACTION
                                            "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" CONTRACTION "|\\p{N}{1,3}"
                                            "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
                                            "|\\s*[\\r\\n]+"
                                            "|\\s+(?!\\S)"
                                            "|\\s+"},
};

struct reader {
    const struct sy_named_text *model;
    const char *config_name;
    struct sy_tokenizer *tok;
    int n_ranks;
    struct sy_error *err;
};

/* ---- ranks ---- */

static int base64_digit(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Decode padded base64 (RFC 4648, section 4). Returns the number of bytes, 0 when it is none. */
static size_t base64_decode(const char *text, size_t len, uint8_t *out)
{
    size_t n = 0, padding = len && text[len - 1] == '=' ? 1 + (len > 1 && text[len - 2] == '=') : 0;

    if (len % 4)
        return 0;
    for (size_t i = 0; i < len; i += 4) {
        uint32_t bits = 0;
        for (size_t k = i; k < i + 4; k++) {
            int digit = k >= len - padding ? 0 : base64_digit(text[k]);
            if (digit < 0)
                return 0;
            bits = bits << 6 | (uint32_t)digit;
        }
        for (int shift = 16; shift >= 0; shift -= 8)
            out[n++] = (uint8_t)(bits >> shift);
    }
    return n - padding;
}

static enum sy_status bad_line(const struct reader *r, int line, const char *what)
{
    return sy_error_set(r->err, SY_ERR_DATA, "%s:%d: %s", r->model->name, line, what);
}

static enum sy_status no_memory(const struct reader *r)
{
    return sy_error_set(r->err, SY_ERR_SYSTEM, "%s: no memory for a vocabulary", r->model->name);
}

static enum sy_status read_line(const struct reader *r, int line, const char *text, size_t len)
{
    uint8_t bytes[TOKEN_BYTES_MAX + 3];
    const char *space = memchr(text, ' ', len);
    size_t n = space ? (size_t)(space - text) : 0, i = n + 1;
    int64_t rank = i < len ? 0 : -1;

    for (; i < len && rank >= 0; i++)
        rank = text[i] >= '0' && text[i] <= '9' && rank < r->n_ranks ? rank * 10 + text[i] - '0' : -1;
    if (rank < 0 || n > (TOKEN_BYTES_MAX + 2) / 3 * 4)
        return bad_line(r, line, "expected a token of at most 1024 bytes in base64, a space and its rank");
    if (rank >= r->n_ranks || sy_vocab_has(&r->tok->vocab, (int32_t)rank))
        return bad_line(r, line, "expected each rank from 0 to the number of tokens less one, once");
    n = base64_decode(text, n, bytes);
    if (!n || n > TOKEN_BYTES_MAX)
        return bad_line(r, line, "expected a token of 1 to 1024 bytes in base64");
    if (sy_words_find(&r->tok->bpe.words, bytes, n) >= 0)
        return bad_line(r, line, "the token was there already");
    enum sy_status st = sy_vocab_set(&r->tok->vocab, (int32_t)rank, bytes, n, 0, r->err);
    if (n == 1)
        r->tok->bpe.byte_id[bytes[0]] = (int32_t)rank;
    return st ? st : sy_words_add(&r->tok->bpe.words, bytes, n, (int32_t)rank, r->err);
}

static enum sy_status read_ranks(struct reader *r)
{
    const char *end = r->model->text + r->model->len;
    size_t n_lines = 0;
    int line = 1;

    for (const char *s = r->model->text, *next; s < end; s = next + 1) {
        next = memchr(s, '\n', (size_t)(end - s));
        next = next ? next : end;
        n_lines += next > s;
    }
    if (!n_lines || n_lines > SY_VOCAB_ID_MAX - N_SPECIAL)
        return sy_error_set(r->err, SY_ERR_DATA, "%s: %zu tokens, expected 256 to %d", r->model->name, n_lines,
                            SY_VOCAB_ID_MAX - N_SPECIAL);
    r->n_ranks = (int)n_lines;
    enum sy_status st = sy_vocab_init(&r->tok->vocab, r->n_ranks + N_SPECIAL, r->err);
    if (!st)
        st = sy_words_init(&r->tok->bpe.words, n_lines, r->err);
    memset(r->tok->bpe.byte_id, 0xff, sizeof r->tok->bpe.byte_id);
    for (const char *s = r->model->text, *next; s < end && !st; s = next + 1, line++) {
        next = memchr(s, '\n', (size_t)(end - s));
        next = next ? next : end;
        if (next > s)
            st = read_line(r, line, s, (size_t)(next - s));
    }
    for (int b = 0; b < 256 && !st; b++) {
        if (r->tok->bpe.byte_id[b] < 0)
            st = sy_error_set(r->err, SY_ERR_DATA, "%s: the byte 0x%02x has no token", r->model->name, (unsigned)b);
    }
    return st;
}

/* ---- merges ---- */

struct merge {
    int32_t left, right, joined;
};

/* Append each way to cut token id into two tokens. */
static enum sy_status cut_token(const struct reader *r, int32_t id, struct sy_buf *merges)
{
    const struct sy_vocab_token *token = &r->tok->vocab.tokens[id];
    const uint8_t *bytes = r->tok->vocab.bytes.data + token->begin;

    for (uint32_t n = 1; n < token->len; n++) {
        struct merge merge = {.left = sy_words_find(&r->tok->bpe.words, bytes, n), .joined = id};
        if (merge.left < 0)
            continue;
        merge.right = sy_words_find(&r->tok->bpe.words, bytes + n, token->len - n);
        if (merge.right < 0)
            continue;
        if (merges->len / sizeof merge >= MERGES_MAX)
            return sy_error_set(r->err, SY_ERR_DATA, "%s: the tokens are joined from others in more than %zu ways",
                                r->model->name, MERGES_MAX);
        if (!sy_buf_append(merges, &merge, sizeof merge))
            return no_memory(r);
    }
    return SY_OK;
}

static enum sy_status make_merges(const struct reader *r)
{
    struct sy_buf merges = SY_BUF_INIT;
    enum sy_status st = SY_OK;

    for (int32_t id = 0; id < r->n_ranks && !st; id++)
        st = cut_token(r, id, &merges);
    size_t n = merges.len / sizeof(struct merge);
    if (!st)
        st = sy_bpe_init(&r->tok->bpe, n, (size_t)r->n_ranks, r->err);
    for (size_t i = 0; i < n && !st; i++) {
        struct merge merge;
        memcpy(&merge, merges.data + i * sizeof merge, sizeof merge);
        sy_bpe_add_merge(&r->tok->bpe, merge.left, merge.right, merge.joined, merge.joined);
    }
    sy_buf_fini(&merges);
    return st;
}

/* ---- special tokens ---- */

static enum sy_status add_special(const struct reader *r, const char *path, int32_t id, const char *text, size_t len,
                                  bool special)
{
    struct sy_tokenizer *tok = r->tok;
    struct sy_added_token token = {.text = (uint8_t *)(uintptr_t)text, .len = len, .id = id};

    for (int32_t other = r->n_ranks; other < id; other++) {
        const struct sy_vocab_token *t = &tok->vocab.tokens[other];
        if (t->len == len && !memcmp(tok->vocab.bytes.data + t->begin, text, len))
            return sy_error_set(r->err, SY_ERR_DATA, "%s.content is that of the token %d too", path, (int)other);
    }
    enum sy_status st = sy_vocab_set(&tok->vocab, id, text, len, special ? SY_TOKEN_SPECIAL : 0, r->err);
    return st ? st : sy_added_add(&tok->added_raw, &token, r->err);
}

/* The Python code hands the spelling alone to tiktoken. */
static enum sy_status read_special(const struct reader *r, const json_t *json, int32_t id)
{
    static const char *const FLAGS[] = {"lstrip", "rstrip", "single_word"};
    const json_t *content = json_object_get(json, "content");
    bool special = false;
    char path[4096 + 64], reserved[40];

    snprintf(path, sizeof path, "%s: added_tokens_decoder.%d", r->config_name, (int)id);
    if (!json) {
        int n = snprintf(reserved, sizeof reserved, "<|reserved_token_%d|>", (int)id);
        return add_special(r, path, id, reserved, (size_t)n, false);
    }
    if (!json_is_string(content) || !json_string_length(content) || json_string_length(content) > SY_ADDED_BYTES_MAX)
        return sy_error_set(r->err, SY_ERR_DATA, "%s.content: expected a string of 1 to %d bytes", path,
                            SY_ADDED_BYTES_MAX);
    enum sy_status st = sy_json_bool(path, json, "special", &special, r->err);
    for (size_t i = 0; i < sizeof FLAGS / sizeof *FLAGS && !st; i++) {
        bool flag = false;
        st = sy_json_bool(path, json, FLAGS[i], &flag, r->err);
        if (!st && flag)
            st = sy_error_set(r->err, SY_ERR_DATA, "%s.%s is true, supported: false", path, FLAGS[i]);
    }
    return st ? st : add_special(r, path, id, json_string_value(content), json_string_length(content), special);
}

static enum sy_status read_specials(const struct reader *r, const json_t *config)
{
    const json_t *added = json_object_get(config, "added_tokens_decoder");
    size_t n_known = 0;
    enum sy_status st = SY_OK;

    if (added && !json_is_null(added) && !json_is_object(added))
        return sy_error_set(r->err, SY_ERR_DATA, "%s: added_tokens_decoder is not an object of ids and their tokens",
                            r->config_name);
    for (int32_t id = r->n_ranks; id < r->n_ranks + N_SPECIAL && !st; id++) {
        char key[16];
        snprintf(key, sizeof key, "%d", (int)id);
        const json_t *json = json_object_get(added, key);
        n_known += json != NULL;
        st = read_special(r, json, id);
    }
    if (!st && n_known < json_object_size(added))
        st = sy_error_set(r->err, SY_ERR_DATA,
                          "%s: added_tokens_decoder has ids outside %d to %d, which are not supported", r->config_name,
                          r->n_ranks, r->n_ranks + N_SPECIAL - 1);
    sy_added_seal(&r->tok->added_raw);
    sy_added_seal(&r->tok->added_normalized);
    return st;
}

/* ---- the pattern ---- */

/* "auto_map": {"AutoTokenizer": ["FILE.CLASS", null]}, or the name alone; a repository may stand before it ("--"). */
static enum sy_status find_family(const struct reader *r, const json_t *config, const struct family **family)
{
    const json_t *named = json_object_get(json_object_get(config, "auto_map"), "AutoTokenizer");
    char shown[80];

    if (json_is_array(named))
        named = json_array_get(named, 0);
    const char *code = json_string_value(named), *dashes = code ? strstr(code, "--") : NULL;
    code = dashes ? dashes + 2 : code;
    for (size_t i = 0; code && i < sizeof FAMILIES / sizeof *FAMILIES; i++) {
        if (!strcmp(code, FAMILIES[i].code)) {
            *family = &FAMILIES[i];
            return SY_OK;
        }
    }
    return sy_error_set(r->err, SY_ERR_DATA, "%s: auto_map.AutoTokenizer is %s, supported beside tiktoken.model: %s",
                        r->config_name, named ? sy_json_show(named, shown, sizeof shown) : "missing", FAMILIES[0].code);
}

static enum sy_status make_pretokenizer(const struct reader *r, const struct family *family)
{
    json_t *json = json_pack("{s:s, s:[{s:s, s:{s:s}, s:s}, {s:s, s:b, s:b}]}", "type", "Sequence", "pretokenizers",
                             "type", "Split", "pattern", "Regex", family->pattern, "behavior", "Isolated", "type",
                             "ByteLevel", "add_prefix_space", 0, "use_regex", 0);

    if (!json)
        return no_memory(r);
    enum sy_status st = sy_pretokenizer_create(r->model->name, json, &r->tok->pretokenizer, r->err);
    json_decref(json);
    return st;
}

enum sy_status sy_tiktoken_read(const struct sy_named_text *model, const char *config_name, const json_t *config,
                                struct sy_tokenizer *tok, struct sy_error *err)
{
    struct reader r = {.model = model, .config_name = config_name, .tok = tok, .err = err};
    const struct family *family = NULL;
    enum sy_status st = find_family(&r, config, &family);

    tok->bpe.unk_id = -1;
    tok->bpe.ignore_merges = true; /* tiktoken looks the whole piece up first */
    tok->decoder.byte_level = true;
    if (!st)
        st = sy_normalizer_create(model->name, NULL, &tok->normalizer, err);
    if (!st)
        st = make_pretokenizer(&r, family);
    if (!st)
        st = read_ranks(&r);
    if (!st)
        st = make_merges(&r);
    return st ? st : read_specials(&r, config);
}
