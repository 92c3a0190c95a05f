/* SPDX-License-Identifier: Apache-2.0
 * fuzz_tokenizer.c - any tokenizer.json or tiktoken.model, then any text through it
 *
 * The input is the JSON, a NUL byte and the text; or '#', the ranks, a NUL byte, tokenizer_config.json, a NUL byte and the
 * text. What is accepted must hold its promises: ids are in range, decoding
 * gives UTF-8, and pushing ids one by one gives the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "model/tokenizer.h"

/* A pattern may take a number of steps that grows with the square of the text; that is a limit of time, not a fault. */
#define TEXT_MAX 2048

/* So many shorter texts are tried too, each in memory of its own size: reading past the end shows only at an end. */
#define N_ENDS 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_decoding(const struct sy_tokenizer *tok, const int32_t *ids, size_t n, bool skip_special)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf whole = SY_BUF_INIT, parts = SY_BUF_INIT;
    struct sy_detokenizer d;

    if (sy_tokenizer_decode(tok, ids, n, skip_special, &whole, &err))
        abort();
    sy_buf_reserve(&parts, 64);
    sy_detokenizer_init(&d, tok, skip_special);
    for (size_t i = 0; i <= n; i++) {
        size_t before = parts.len;
        if (i < n ? sy_detokenizer_push(&d, ids[i], &parts, &err) : sy_detokenizer_finish(&d, &parts, &err))
            abort();
        if (sy_utf8_valid(parts.data + before, parts.len - before) < parts.len - before)
            abort();
    }
    if (parts.len != whole.len || (whole.len && memcmp(parts.data, whole.data, whole.len)))
        abort();
    sy_buf_fini(&whole);
    sy_buf_fini(&parts);
}

static void check_text(const struct sy_tokenizer *tok, const char *text, size_t len)
{
    struct sy_error err = SY_ERROR_INIT;
    struct sy_buf ids = SY_BUF_INIT, raw = SY_BUF_INIT;
    size_t valid = sy_utf8_valid(text, len);

    if (valid < len && sy_tokenizer_encode(tok, text, len, true, &ids, &err) != SY_ERR_DATA)
        abort();
    if (!sy_tokenizer_encode(tok, text, valid, true, &ids, &err)) {
        const int32_t *id = (const int32_t *)(const void *)ids.data;
        size_t n = ids.len / sizeof *id, bytes;
        for (size_t i = 0; i < n; i++) {
            if (id[i] < 0 || id[i] >= sy_tokenizer_n_ids(tok) || !sy_tokenizer_token(tok, id[i], &bytes))
                abort();
        }
        check_decoding(tok, id, n, false);
    }
    for (size_t k = 1; k <= N_ENDS && k < valid; k++) {
        size_t cut = sy_utf8_valid(text, valid - k);
        char *copy = malloc(cut + 1);
        if (!copy)
            abort();
        memcpy(copy + 1, text, cut);
        ids.len = 0;
        sy_tokenizer_encode(tok, copy + 1, cut, false, &ids, &err);
        free(copy);
    }
    /* Any ids, in range or not. */
    for (size_t i = 0; i < len && i < 256; i++) {
        int32_t id = (uint8_t)text[i];
        sy_buf_append(&raw, &id, sizeof id);
    }
    check_decoding(tok, (const int32_t *)(const void *)raw.data, raw.len / sizeof(int32_t), true);
    sy_buf_fini(&ids);
    sy_buf_fini(&raw);
}

/* The next part of the input, up to a NUL byte or the end. */
static struct sy_named_text take_part(const char **at, const char *end)
{
    const char *begin = *at, *stop = begin < end ? memchr(begin, 0, (size_t)(end - begin)) : NULL;

    stop = stop ? stop : end;
    *at = stop < end ? stop + 1 : end;
    return (struct sy_named_text){"fuzz", begin, (size_t)(stop - begin)};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool is_tiktoken = size && data[0] == '#';
    const char *at = (const char *)data + is_tiktoken, *end = (const char *)data + size;
    struct sy_named_text file = take_part(&at, end), config = {0};
    struct sy_error err = SY_ERROR_INIT;
    struct sy_tokenizer *tok;

    if (is_tiktoken)
        config = take_part(&at, end);
    if (is_tiktoken ? sy_tokenizer_parse_tiktoken(&file, &config, &tok, &err)
                    : sy_tokenizer_parse(file.name, file.text, file.len, &tok, &err)) {
        if (!err.text[0] || tok)
            abort();
        return 0;
    }
    check_text(tok, at, end - at < TEXT_MAX ? (size_t)(end - at) : TEXT_MAX);
    sy_tokenizer_close(tok);
    return 0;
}
