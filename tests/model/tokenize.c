/* SPDX-License-Identifier: Apache-2.0
 * tokenize.c - many texts through one tokenizer, for compare_tokenizers.py
 *
 * usage: tokenize DIR <REQUESTS >ANSWERS
 *
 * A request is a letter, a number of bytes and the bytes: 't' a text, 'i' ids. An answer is numbers of bytes and the bytes:
 * for a text its ids with special tokens, its ids without, and what 'i' answers for the first; for ids the decoded text
 * with special tokens and without them. Before the first request comes one answer: why the tokenizer of DIR was refused,
 * empty when it was not. Numbers and ids have 32 bits, in this machine's order.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/tokenizer.h"

static struct sy_error err = SY_ERROR_INIT;

static void fail(const char *why)
{
    fprintf(stderr, "tokenize: %s\n", why);
    exit(1);
}

static void answer(const void *bytes, size_t n)
{
    uint32_t length = (uint32_t)n;

    if (fwrite(&length, sizeof length, 1, stdout) != 1 || (n && fwrite(bytes, n, 1, stdout) != 1))
        fail("cannot write an answer");
}

static void decode(const struct sy_tokenizer *tok, const struct sy_buf *ids)
{
    static struct sy_buf text;

    for (int skip_special = 0; skip_special < 2; skip_special++) {
        text.len = 0;
        if (sy_tokenizer_decode(tok, (const int32_t *)(const void *)ids->data, ids->len / sizeof(int32_t), skip_special,
                                &text, &err))
            fail(err.text);
        answer(text.data, text.len);
    }
}

static void encode(const struct sy_tokenizer *tok, const struct sy_buf *text)
{
    static struct sy_buf ids[2];

    for (int plain = 0; plain < 2; plain++) {
        ids[plain].len = 0;
        if (sy_tokenizer_encode(tok, text->data ? (const char *)text->data : "", text->len, !plain, &ids[plain], &err))
            fail(err.text);
        answer(ids[plain].data, ids[plain].len);
    }
    decode(tok, &ids[0]);
}

int main(int argc, char **argv)
{
    struct sy_tokenizer *tok = NULL;
    struct sy_buf request = SY_BUF_INIT;
    uint32_t length;

    if (argc != 2)
        fail("usage: tokenize DIR <REQUESTS >ANSWERS");
    if (!sy_tokenizer_open(argv[1], &tok, &err) && !tok)
        fail("no tokenizer there");
    answer(err.text, tok ? 0 : strlen(err.text));
    for (int kind; tok && (kind = getchar()) != EOF;) {
        request.len = 0;
        if ((kind != 't' && kind != 'i') || fread(&length, sizeof length, 1, stdin) != 1 ||
            !sy_buf_reserve(&request, length) || fread(request.data, 1, length, stdin) != length)
            fail("a request is cut off");
        request.len = length;
        if (kind == 't')
            encode(tok, &request);
        else
            decode(tok, &request);
    }
    sy_buf_fini(&request);
    sy_tokenizer_close(tok);
    return fflush(stdout) ? 1 : 0;
}
