/* SPDX-License-Identifier: Apache-2.0
 * tokenizer.c - opening, encoding and decoding
 */
#include "model/tokenizer.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/utf8.h"
#include "model/tiktoken.h"
#include "model/tokenizer_impl.h"

#define JSON_DEPTH_MAX 64
#define KEEP_BYTES     ((size_t)4 << 20) /* of a normalised text, between two calls */

/* What one running encode changes. Taken from tok->idle, or made when all are in use. */
struct encoder {
    struct encoder *next;
    const struct sy_tokenizer *tok;
    struct sy_pretokenizer_scratch *pretokenizer;
    struct sy_bpe_scratch *bpe;
    struct sy_buf normalized[2];
    struct sy_buf *out; /* of this call */
};

/* ---- opening ---- */

/* Parse a JSON file of at most SY_TOKENIZER_BYTES_MAX and make room for the tokenizer in it. */
static enum sy_status begin_parse(const struct sy_named_text *file, json_t **root, struct sy_tokenizer **made,
                                  struct sy_error *err)
{
    if (file->len > SY_TOKENIZER_BYTES_MAX)
        return sy_error_set(err, SY_ERR_DATA, "%s: %zu bytes, at most %zu are supported", file->name, file->len,
                            SY_TOKENIZER_BYTES_MAX);
    enum sy_status st = sy_json_parse(file->name, file->text, file->len, JSON_DEPTH_MAX, root, err);
    if (st)
        return st;
    *made = calloc(1, sizeof **made);
    if (!*made) {
        json_decref(*root);
        return sy_error_set(err, SY_ERR_SYSTEM, "%s: no memory for a tokenizer", file->name);
    }
    pthread_mutex_init(&(*made)->lock, NULL);
    return SY_OK;
}

/* Hand the tokenizer over, or close it after an error. */
static enum sy_status end_parse(enum sy_status st, json_t *root, struct sy_tokenizer *made, struct sy_tokenizer **tok)
{
    json_decref(root);
    if (st)
        sy_tokenizer_close(made);
    else
        *tok = made;
    return st;
}

enum sy_status sy_tokenizer_parse(const char *name, const char *text, size_t len, struct sy_tokenizer **tok,
                                  struct sy_error *err)
{
    const struct sy_named_text file = {name, text, len};
    struct sy_tokenizer *made;
    json_t *root;

    *tok = NULL;
    enum sy_status st = begin_parse(&file, &root, &made, err);
    return st ? st : end_parse(sy_tokenizer_read(name, root, made, err), root, made, tok);
}

enum sy_status sy_tokenizer_parse_tiktoken(const struct sy_named_text *model, const struct sy_named_text *config,
                                           struct sy_tokenizer **tok, struct sy_error *err)
{
    struct sy_tokenizer *made;
    json_t *root;

    *tok = NULL;
    enum sy_status st = begin_parse(config, &root, &made, err);
    return st ? st : end_parse(sy_tiktoken_read(model, config->name, root, made, err), root, made, tok);
}

/* Read DIR/NAME. No such file: SY_OK, and file->name stays NULL. */
static enum sy_status read_file(const char *dir, const char *name, size_t max_bytes, char path[PATH_MAX],
                                struct sy_buf *bytes, struct sy_named_text *file, struct sy_error *err)
{
    *file = (struct sy_named_text){.text = ""};
    if (snprintf(path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return sy_error_set(err, SY_ERR_DATA, "%.200s...: the path of the checkpoint is too long", dir);
    if (!sy_file_exists(path))
        return SY_OK;
    enum sy_status st = sy_file_read(path, max_bytes, bytes, err);
    *file = (struct sy_named_text){path, bytes->data ? (const char *)bytes->data : "", bytes->len};
    return st;
}

enum sy_status sy_tokenizer_open(const char *dir, struct sy_tokenizer **tok, struct sy_error *err)
{
    struct sy_buf bytes = SY_BUF_INIT, config_bytes = SY_BUF_INIT;
    char path[PATH_MAX], config_path[PATH_MAX];
    struct sy_named_text file, config;

    *tok = NULL;
    enum sy_status st = read_file(dir, "tokenizer.json", SY_TOKENIZER_BYTES_MAX, path, &bytes, &file, err);
    if (!st && file.name) {
        st = sy_tokenizer_parse(path, file.text, file.len, tok, err);
        goto out;
    }
    if (!st)
        st = read_file(dir, "tiktoken.model", SY_TIKTOKEN_BYTES_MAX, path, &bytes, &file, err);
    if (st || !file.name)
        goto out;
    st = read_file(dir, "tokenizer_config.json", SY_TOKENIZER_BYTES_MAX, config_path, &config_bytes, &config, err);
    if (!st && !config.name)
        st = sy_error_set(err, SY_ERR_DATA, "%s: expected tokenizer_config.json beside it, which names the pattern",
                          path);
    if (!st)
        st = sy_tokenizer_parse_tiktoken(&file, &config, tok, err);
out:
    sy_buf_fini(&bytes);
    sy_buf_fini(&config_bytes);
    return st;
}

static void encoder_destroy(struct encoder *e)
{
    if (!e)
        return;
    sy_pretokenizer_scratch_destroy(e->pretokenizer);
    sy_bpe_scratch_destroy(e->bpe);
    sy_buf_fini(&e->normalized[0]);
    sy_buf_fini(&e->normalized[1]);
    free(e);
}

void sy_tokenizer_close(struct sy_tokenizer *tok)
{
    if (!tok)
        return;
    for (struct encoder *e = tok->idle, *next; e; e = next) {
        next = e->next;
        encoder_destroy(e);
    }
    pthread_mutex_destroy(&tok->lock);
    sy_added_fini(&tok->added_raw);
    sy_added_fini(&tok->added_normalized);
    sy_normalizer_destroy(tok->normalizer);
    sy_pretokenizer_destroy(tok->pretokenizer);
    sy_bpe_fini(&tok->bpe);
    sy_postprocessor_fini(&tok->post);
    sy_vocab_fini(&tok->vocab);
    sy_decoder_fini(&tok->decoder);
    free(tok);
}

int sy_tokenizer_n_ids(const struct sy_tokenizer *tok)
{
    return tok->vocab.n_ids;
}

const char *sy_tokenizer_token(const struct sy_tokenizer *tok, int32_t id, size_t *len)
{
    *len = 0;
    if (!sy_vocab_has(&tok->vocab, id))
        return NULL;
    *len = tok->vocab.tokens[id].len;
    return (const char *)tok->vocab.bytes.data + tok->vocab.tokens[id].begin;
}

bool sy_tokenizer_is_special(const struct sy_tokenizer *tok, int32_t id)
{
    return sy_vocab_has(&tok->vocab, id) && (tok->vocab.tokens[id].flags & SY_TOKEN_SPECIAL);
}

/* ---- encoding ---- */

static struct encoder *encoder_take(const struct sy_tokenizer *tok)
{
    /* The list of idle encoders is the one thing that changes in an opened tokenizer, under its lock. */
    struct sy_tokenizer *owner = (struct sy_tokenizer *)(uintptr_t)tok;

    pthread_mutex_lock(&owner->lock);
    struct encoder *e = owner->idle;
    if (e)
        owner->idle = e->next;
    pthread_mutex_unlock(&owner->lock);
    if (e)
        return e;
    e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->tok = tok;
    e->pretokenizer = sy_pretokenizer_scratch_create();
    e->bpe = sy_bpe_scratch_create();
    if (!e->pretokenizer || !e->bpe) {
        encoder_destroy(e);
        return NULL;
    }
    return e;
}

static void encoder_give(struct encoder *e)
{
    struct sy_tokenizer *owner = (struct sy_tokenizer *)(uintptr_t)e->tok;

    sy_bpe_scratch_trim(e->bpe);
    for (int i = 0; i < 2; i++) {
        if (e->normalized[i].cap > KEEP_BYTES)
            sy_buf_fini(&e->normalized[i]);
    }
    pthread_mutex_lock(&owner->lock);
    e->next = owner->idle;
    owner->idle = e;
    pthread_mutex_unlock(&owner->lock);
}

static enum sy_status emit(struct encoder *e, const void *ids, size_t bytes, struct sy_error *err)
{
    if (!sy_buf_append(e->out, ids, bytes))
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory for the ids of a text");
    return SY_OK;
}

static enum sy_status encode_piece(void *arg, const uint8_t *text, size_t len, struct sy_error *err)
{
    struct encoder *e = arg;

    return sy_bpe_encode(&e->tok->bpe, e->bpe, text, len, e->out, err);
}

/* Text between added tokens; at_begin: none is before it. */
static enum sy_status encode_text(struct encoder *e, const uint8_t *text, size_t len, bool at_begin,
                                  struct sy_error *err)
{
    struct sy_added_walk walk;
    size_t begin, end;
    int32_t id;
    enum sy_status st = sy_normalizer_apply(e->tok->normalizer, e->normalized, &text, &len, err);

    if (st)
        return st;
    sy_added_begin(&walk, text, len);
    while (!st && sy_added_next(&e->tok->added_normalized, &walk, &begin, &end, &id)) {
        if (id >= 0)
            st = emit(e, &id, sizeof id, err);
        else
            st = sy_pretokenizer_split(e->tok->pretokenizer, e->pretokenizer, text + begin, end - begin,
                                       at_begin && begin == 0, encode_piece, e, err);
    }
    return st;
}

static enum sy_status encode(struct encoder *e, const uint8_t *text, size_t len, bool add_special, struct sy_error *err)
{
    const struct sy_tokenizer *tok = e->tok;
    struct sy_added_walk walk;
    size_t begin, end;
    int32_t id;
    enum sy_status st = SY_OK;

    if (add_special)
        st = emit(e, tok->post.before.data, tok->post.before.len, err);
    sy_added_begin(&walk, text, len);
    while (!st && sy_added_next(&tok->added_raw, &walk, &begin, &end, &id))
        st = id >= 0 ? emit(e, &id, sizeof id, err) : encode_text(e, text + begin, end - begin, begin == 0, err);
    if (!st && add_special)
        st = emit(e, tok->post.after.data, tok->post.after.len, err);
    return st;
}

enum sy_status sy_tokenizer_encode(const struct sy_tokenizer *tok, const char *text, size_t len, bool add_special,
                                   struct sy_buf *out, struct sy_error *err)
{
    size_t valid = sy_utf8_valid(text, len), before = out->len;

    if (valid < len)
        return sy_error_set(err, SY_ERR_DATA, "the text is not valid UTF-8 at byte %zu", valid);
    struct encoder *e = encoder_take(tok);
    if (!e)
        return sy_error_set(err, SY_ERR_SYSTEM, "no memory to encode text");
    e->out = out;
    enum sy_status st = encode(e, (const uint8_t *)text, len, add_special, err);
    encoder_give(e);
    if (st)
        out->len = before;
    return st;
}

/* ---- decoding ---- */

enum sy_status sy_tokenizer_decode(const struct sy_tokenizer *tok, const int32_t *ids, size_t n, bool skip_special,
                                   struct sy_buf *out, struct sy_error *err)
{
    struct sy_detokenizer d;
    size_t before = out->len;
    enum sy_status st = SY_OK;

    sy_detokenizer_init(&d, tok, skip_special);
    for (size_t i = 0; i < n && !st; i++)
        st = sy_detokenizer_push(&d, ids[i], out, err);
    if (!st)
        st = sy_detokenizer_finish(&d, out, err);
    if (st)
        out->len = before;
    return st;
}
