/* SPDX-License-Identifier: Apache-2.0
 * tokenizer_read.c - tokenizer.json into the parts of a tokenizer
 *
 * The form is that of the Hugging Face `tokenizers` library. "truncation" and "padding" are left aside on purpose: they
 * are settings of whoever wrote the file, and programs that load one reset both.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/utf8.h"
#include "model/bytelevel.h"
#include "model/tokenizer_impl.h"

struct reader {
    const char *name;
    struct sy_tokenizer *tok;
    const json_t *model, *vocab, *merges, *added;
    struct sy_error *err;
};

/* ---- messages ---- */

/* A token as it can be printed: control characters become '?', a long one is cut at a character. */
static const char *show(const char *text, size_t len, char out[64])
{
    size_t n = 0;

    while (n < len && n < 48) {
        uint32_t c;
        size_t k = (size_t)sy_utf8_get((const uint8_t *)text + n, &c);
        memcpy(out + n, text + n, k);
        if (c < 0x20 || c == 0x7f)
            out[n] = '?';
        else if (c >= 0x80 && c < 0xa0)
            memcpy(out + n, "??", 2);
        n += k;
    }
    memcpy(out + n, n < len ? "..." : "", n < len ? 4 : 1);
    return out;
}

static enum sy_status bad(const struct reader *r, const char *path, const char *what)
{
    return sy_error_set(r->err, SY_ERR_DATA, "%s: %s %s", r->name, path, what);
}

/* ---- vocabulary ---- */

/* The id at which the vocabulary has a spelling, -1 when it has none. */
static int32_t id_of(const struct reader *r, const char *text, size_t len)
{
    /* No key has a NUL in it, and a lookup ends at one. */
    const json_t *id = memchr(text, 0, len) ? NULL : json_object_getn(r->vocab, text, len);

    return id ? (int32_t)json_integer_value(id) : -1;
}

static enum sy_status set_token(const struct reader *r, int32_t id, const char *text, size_t len, uint32_t flags,
                                struct sy_buf *bytes)
{
    bool is_byte;

    bytes->len = 0;
    enum sy_status st = sy_decoder_token(&r->tok->decoder, text, len, bytes, &is_byte, r->err);
    if (!st)
        st = sy_vocab_set(&r->tok->vocab, id, bytes->data, bytes->len, flags | (is_byte ? SY_TOKEN_BYTE : 0), r->err);
    return st;
}

/* Check all ids and size the table: the largest id of "model.vocab" and "added_tokens". */
static enum sy_status size_vocab(const struct reader *r)
{
    const char *key;
    json_t *value;
    int64_t max = -1;
    char shown[64], found[80];

    json_object_foreach ((json_t *)(uintptr_t)r->vocab, key, value) {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id > SY_VOCAB_ID_MAX)
            return sy_error_set(r->err, SY_ERR_DATA,
                                "%s: model.vocab: the id of \"%s\" is %s, expected an integer from 0 "
                                "to %d",
                                r->name, show(key, strlen(key), shown), sy_json_show(value, found, sizeof found),
                                SY_VOCAB_ID_MAX);
        max = id > max ? id : max;
    }
    for (size_t i = 0; i < json_array_size(r->added); i++) {
        const json_t *token = json_array_get(r->added, i), *id = json_object_get(token, "id");
        if (!json_is_integer(id) || json_integer_value(id) < 0 || json_integer_value(id) > SY_VOCAB_ID_MAX)
            return sy_error_set(r->err, SY_ERR_DATA, "%s: added_tokens[%zu].id is %s, expected an integer from 0 to %d",
                                r->name, i, id ? sy_json_show(id, found, sizeof found) : "missing", SY_VOCAB_ID_MAX);
        max = json_integer_value(id) > max ? json_integer_value(id) : max;
    }
    if (max < 0)
        return bad(r, "model.vocab", "is empty");
    return sy_vocab_init(&r->tok->vocab, (int)max + 1, r->err);
}

static enum sy_status read_vocab(const struct reader *r)
{
    struct sy_buf bytes = SY_BUF_INIT;
    const char *key;
    json_t *value;
    char shown[64];
    enum sy_status st = size_vocab(r);

    if (st)
        return st;
    json_object_foreach ((json_t *)(uintptr_t)r->vocab, key, value) {
        int32_t id = (int32_t)json_integer_value(value);
        size_t len = strlen(key);
        if (sy_vocab_has(&r->tok->vocab, id)) {
            st = sy_error_set(r->err, SY_ERR_DATA,
                              "%s: model.vocab: the id of \"%s\" is %d, which another token has too", r->name,
                              show(key, len, shown), (int)id);
            break;
        }
        st = set_token(r, id, key, len, 0, &bytes);
        if (st)
            break;
    }
    sy_buf_fini(&bytes);
    return st;
}

/* ---- merges ---- */

struct pair {
    const char *left, *right;
    size_t left_len, right_len;
};

/* "left right" or ["left", "right"]. */
static bool parse_merge(const json_t *merge, struct pair *pair)
{
    if (json_is_string(merge)) {
        const char *text = json_string_value(merge);
        size_t len = json_string_length(merge);
        const char *space = memchr(text, ' ', len);
        if (!space || memchr(space + 1, ' ', len - (size_t)(space + 1 - text)))
            return false;
        *pair = (struct pair){text, space + 1, (size_t)(space - text), len - (size_t)(space + 1 - text)};
        return true;
    }
    const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
    if (json_array_size(merge) != 2 || !json_is_string(left) || !json_is_string(right))
        return false;
    *pair = (struct pair){json_string_value(left), json_string_value(right), json_string_length(left),
                          json_string_length(right)};
    return true;
}

static enum sy_status unknown_part(const struct reader *r, size_t i, const char *text, size_t len)
{
    char shown[64];

    return sy_error_set(r->err, SY_ERR_DATA, "%s: model.merges[%zu]: \"%s\" is not in model.vocab", r->name, i,
                        show(text, len, shown));
}

/* Does a merge involve what a character without a token falls back to? Then where text may be cut cannot be told from
 * its bytes. */
static bool is_fallback(const struct sy_bpe *bpe, int32_t id)
{
    for (int b = 0; bpe->by_char && b < 256; b++) {
        if (bpe->byte_id[b] == id)
            return true;
    }
    return id == bpe->unk_id;
}

static enum sy_status read_merge(const struct reader *r, size_t i, struct sy_buf *joined)
{
    struct sy_bpe *bpe = &r->tok->bpe;
    const json_t *merge = json_array_get(r->merges, i);
    struct pair pair;

    if (json_is_string(merge) && !strncmp(json_string_value(merge), "#version", 8))
        return SY_OK;
    if (!parse_merge(merge, &pair))
        return sy_error_set(r->err, SY_ERR_DATA,
                            "%s: model.merges[%zu]: expected \"left right\" or [\"left\", \"right\"]", r->name, i);
    int32_t left = id_of(r, pair.left, pair.left_len), right = id_of(r, pair.right, pair.right_len);
    if (left < 0)
        return unknown_part(r, i, pair.left, pair.left_len);
    if (right < 0)
        return unknown_part(r, i, pair.right, pair.right_len);
    joined->len = 0;
    if (!sy_buf_append(joined, pair.left, pair.left_len) || !sy_buf_append(joined, pair.right, pair.right_len))
        return sy_error_set(r->err, SY_ERR_SYSTEM, "%s: no memory for merges", r->name);
    int32_t id = id_of(r, (const char *)joined->data, joined->len);
    if (id < 0)
        return unknown_part(r, i, (const char *)joined->data, joined->len);
    sy_bpe_add_merge(bpe, left, right, (int32_t)i, id);
    if (!pair.left_len || !pair.right_len) {
        bpe->can_cut = false;
        return SY_OK;
    }
    uint8_t last = (uint8_t)pair.left[pair.left_len - 1], first = (uint8_t)pair.right[0];
    bpe->joins[last][first / 64] |= 1ull << (first % 64);
    if (bpe->can_cut && (is_fallback(bpe, left) || is_fallback(bpe, right)))
        bpe->can_cut = false;
    return SY_OK;
}

static enum sy_status read_merges(const struct reader *r)
{
    struct sy_buf joined = SY_BUF_INIT;
    size_t n = json_array_size(r->merges);
    enum sy_status st = sy_bpe_init(&r->tok->bpe, n, n, r->err);

    for (size_t i = 0; i < n && !st; i++)
        st = read_merge(r, i, &joined);
    sy_buf_fini(&joined);
    return st;
}

/* ---- first symbols ---- */

/* Spellings that are looked up while encoding. Byte-level words are kept as bytes, which is what text is then; a token
 * outside the alphabet cannot come out of the pre-tokenizer. */
static enum sy_status read_words(const struct reader *r)
{
    struct sy_bpe *bpe = &r->tok->bpe;
    struct sy_buf bytes = SY_BUF_INIT;
    const char *key;
    json_t *value;
    enum sy_status st;

    if (!bpe->by_char && !bpe->ignore_merges)
        return SY_OK;
    st = sy_words_init(&bpe->words, json_object_size(r->vocab), r->err);
    json_object_foreach ((json_t *)(uintptr_t)r->vocab, key, value) {
        size_t len = strlen(key), n = len;
        uint32_t c;
        if (st)
            break;
        if (!len || (!bpe->ignore_merges && (size_t)sy_utf8_get((const uint8_t *)key, &c) != len))
            continue;
        bytes.len = 0;
        if (!sy_buf_reserve(&bytes, len))
            st = sy_error_set(r->err, SY_ERR_SYSTEM, "%s: no memory for a vocabulary", r->name);
        else if (bpe->by_char)
            memcpy(bytes.data, key, len);
        else if (!sy_bytelevel_decode(key, len, bytes.data, &n))
            continue;
        if (!st)
            st = sy_words_add(&bpe->words, bytes.data, n, (int32_t)json_integer_value(value), r->err);
    }
    sy_buf_fini(&bytes);
    return st;
}

/* The id of each byte. Returns how many bytes have one. */
static int read_bytes(const struct reader *r)
{
    struct sy_bpe *bpe = &r->tok->bpe;
    int n = 0;

    for (int b = 0; b < 256; b++) {
        char text[8];
        int len = bpe->by_char ? snprintf(text, sizeof text, "<0x%02X>", (unsigned)b)
                               : sy_utf8_put(sy_bytelevel_char((uint8_t)b), (uint8_t *)text);
        bpe->byte_id[b] = id_of(r, text, (size_t)len);
        n += bpe->byte_id[b] >= 0;
    }
    return n;
}

static enum sy_status read_unknown(const struct reader *r, int n_bytes)
{
    struct sy_bpe *bpe = &r->tok->bpe;
    const json_t *unk = json_object_get(r->model, "unk_token");
    char shown[64];
    bool all_known = n_bytes == 256 && (!bpe->by_char || bpe->byte_fallback);

    bpe->unk_id = -1;
    if (unk && !json_is_null(unk) && !json_is_string(unk))
        return bad(r, "model.unk_token", "is not a string");
    if (json_is_string(unk))
        bpe->unk_id = id_of(r, json_string_value(unk), json_string_length(unk));
    /* A name without a token does no harm where every byte has one. */
    if (json_is_string(unk) && bpe->unk_id < 0 && !all_known)
        return sy_error_set(r->err, SY_ERR_DATA, "%s: model.unk_token \"%s\" is not in model.vocab", r->name,
                            show(json_string_value(unk), json_string_length(unk), shown));
    if (!bpe->by_char && bpe->byte_fallback && n_bytes < 256)
        return sy_error_set(r->err, SY_ERR_DATA,
                            "%s: model.byte_fallback with ByteLevel, and only %d of 256 bytes in model.vocab, is not "
                            "supported",
                            r->name, n_bytes);
    /* A symbol must stand for every character, or characters that are far apart could become neighbours; and unknown
     * ones that fuse must not be parted. */
    bpe->can_cut = bpe->by_char && !bpe->ignore_merges &&
                   (all_known || (!bpe->byte_fallback && bpe->unk_id >= 0 && !bpe->fuse_unk));
    return SY_OK;
}

/* ---- the model ---- */

/* Affixes and dropout change what merging means; no published model of today has them. */
static enum sy_status check_absent(const struct reader *r, const char *key)
{
    const json_t *value = json_object_get(r->model, key);
    char shown[80];

    if (!value || json_is_null(value) || (json_is_string(value) && !json_string_length(value)) ||
        (json_is_number(value) && json_number_value(value) == 0))
        return SY_OK;
    return sy_error_set(r->err, SY_ERR_DATA, "%s: model.%s is %s, supported: null", r->name, key,
                        sy_json_show(value, shown, sizeof shown));
}

static enum sy_status find_model(struct reader *r, const json_t *root)
{
    const json_t *type;
    char shown[80];

    r->model = json_object_get(root, "model");
    if (!json_is_object(r->model))
        return bad(r, "model", "is not an object: expected a BPE model");
    type = json_object_get(r->model, "type");
    r->vocab = json_object_get(r->model, "vocab");
    r->merges = json_object_get(r->model, "merges");
    /* Old files leave the type out; merges tell. */
    if (type ? !json_is_string(type) || strcmp(json_string_value(type), "BPE") : !r->merges)
        return sy_error_set(r->err, SY_ERR_DATA, "%s: model.type is %s, supported: BPE", r->name,
                            type ? sy_json_show(type, shown, sizeof shown) : "missing");
    if (!json_is_object(r->vocab))
        return bad(r, "model.vocab", "is not an object of tokens and their ids");
    if (!json_is_array(r->merges))
        return bad(r, "model.merges", "is not an array");
    r->added = json_object_get(root, "added_tokens");
    if (r->added && !json_is_null(r->added) && !json_is_array(r->added))
        return bad(r, "added_tokens", "is not an array");
    return SY_OK;
}

static enum sy_status read_model(const struct reader *r)
{
    struct sy_bpe *bpe = &r->tok->bpe;
    static const char *const ABSENT[] = {"dropout", "continuing_subword_prefix", "end_of_word_suffix"};
    char path[sizeof ": model" + 4096];
    enum sy_status st = SY_OK;

    bpe->by_char = !sy_pretokenizer_is_byte_level(r->tok->pretokenizer);
    for (size_t i = 0; i < sizeof ABSENT / sizeof *ABSENT && !st; i++)
        st = check_absent(r, ABSENT[i]);
    snprintf(path, sizeof path, "%s: model", r->name);
    if (!st)
        st = sy_json_bool(path, r->model, "ignore_merges", &bpe->ignore_merges, r->err);
    if (!st)
        st = sy_json_bool(path, r->model, "fuse_unk", &bpe->fuse_unk, r->err);
    if (!st)
        st = sy_json_bool(path, r->model, "byte_fallback", &bpe->byte_fallback, r->err);
    if (!st)
        st = read_vocab(r);
    if (!st)
        st = read_unknown(r, read_bytes(r));
    if (!st)
        st = read_words(r);
    return st ? st : read_merges(r);
}

/* ---- added tokens ---- */

/* A token that is looked for in normalised text, by its own normalised form; that is also what it is decoded to. */
static enum sy_status add_normalized(const struct reader *r, struct sy_added_token *token, uint32_t flags,
                                     struct sy_buf *bytes)
{
    struct sy_buf scratch[2] = {SY_BUF_INIT, SY_BUF_INIT};
    const uint8_t *text = token->text;
    enum sy_status st = sy_normalizer_apply(r->tok->normalizer, scratch, &text, &token->len, r->err);

    token->text = (uint8_t *)(uintptr_t)text;
    if (!st)
        st = set_token(r, token->id, (const char *)text, token->len, flags, bytes);
    if (!st && token->len)
        st = sy_added_add(&r->tok->added_normalized, token, r->err);
    sy_buf_fini(&scratch[0]);
    sy_buf_fini(&scratch[1]);
    return st;
}

static enum sy_status read_added_token(const struct reader *r, size_t i, bool want_special, struct sy_buf *bytes)
{
    const json_t *json = json_array_get(r->added, i), *content = json_object_get(json, "content");
    bool special = false, normalized;
    struct sy_added_token token = {.id = (int32_t)json_integer_value(json_object_get(json, "id"))};
    char path[4096], shown[64];

    snprintf(path, sizeof path, "%s: added_tokens[%zu]", r->name, i);
    if (!json_is_string(content) || json_string_length(content) > SY_ADDED_BYTES_MAX)
        return sy_error_set(r->err, SY_ERR_DATA, "%s.content: expected a string of at most %d bytes", path,
                            SY_ADDED_BYTES_MAX);
    enum sy_status st = sy_json_bool(path, json, "special", &special, r->err);
    normalized = !special;
    if (!st)
        st = sy_json_bool(path, json, "normalized", &normalized, r->err);
    if (!st)
        st = sy_json_bool(path, json, "lstrip", &token.lstrip, r->err);
    if (!st)
        st = sy_json_bool(path, json, "rstrip", &token.rstrip, r->err);
    if (!st)
        st = sy_json_bool(path, json, "single_word", &token.single_word, r->err);
    if (st || special != want_special)
        return st;
    const char *text = json_string_value(content);
    token.len = json_string_length(content);
    if (!token.len)
        return SY_OK;
    int32_t known = id_of(r, text, token.len);
    if (known < 0 ? sy_vocab_has(&r->tok->vocab, token.id) : known != token.id)
        return sy_error_set(r->err, SY_ERR_DATA, "%s: \"%s\" has the id %d, %s", path, show(text, token.len, shown),
                            (int)token.id,
                            known < 0 ? "which another token has too" : "but another one in model.vocab");
    uint32_t flags = special ? SY_TOKEN_SPECIAL : 0;
    token.text = (uint8_t *)(uintptr_t)text;
    if (normalized)
        return add_normalized(r, &token, flags, bytes);
    st = set_token(r, token.id, text, token.len, flags, bytes);
    return st ? st : sy_added_add(&r->tok->added_raw, &token, r->err);
}

/* Special tokens first: of two with the same text the reference takes these. */
static enum sy_status read_added(const struct reader *r)
{
    struct sy_buf bytes = SY_BUF_INIT;
    size_t n = json_array_size(r->added);
    enum sy_status st = SY_OK;

    for (size_t i = 0; i < 2 * n && !st; i++)
        st = read_added_token(r, i % n, i < n, &bytes);
    sy_added_seal(&r->tok->added_raw);
    sy_added_seal(&r->tok->added_normalized);
    sy_buf_fini(&bytes);
    return st;
}

enum sy_status sy_tokenizer_read(const char *name, const json_t *root, struct sy_tokenizer *tok, struct sy_error *err)
{
    struct reader r = {.name = name, .tok = tok, .err = err};
    enum sy_status st = SY_OK;

    if (!json_is_object(root))
        st = sy_error_set(err, SY_ERR_DATA, "%s: expected an object", name);
    if (!st)
        st = find_model(&r, root);
    if (!st)
        st = sy_normalizer_create(name, json_object_get(root, "normalizer"), &tok->normalizer, err);
    if (!st)
        st = sy_pretokenizer_create(name, json_object_get(root, "pre_tokenizer"), &tok->pretokenizer, err);
    if (!st)
        st = sy_decoder_init(&tok->decoder, name, json_object_get(root, "decoder"), err);
    if (!st)
        st = read_model(&r);
    if (!st)
        st = read_added(&r);
    return st ? st : sy_postprocessor_init(&tok->post, name, json_object_get(root, "post_processor"), &tok->vocab, err);
}
